"""Two processes, started by torchrun, train what one process trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.towers import pocket_image_encoder
from scrapseg.train import processes
from scrapseg.train.loop import TrainConfig, fit

#: In 64 bit: Adam's first steps turn rounding of gradients near zero into whole steps.
CONFIG = TrainConfig(steps=2, batch_size=4, crop=32, evals=2, precision="64-true")


class Scenes(torch.utils.data.Dataset):
    """Noise with a patch of one class each, which one of them alone leaves out, and some of no
    label: what is of a share is not of the batch."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int):
        labels = torch.zeros(32, 32, dtype=torch.int64)
        labels[8 : 12 + 4 * index, 8:24] = index % 3
        labels[:index] = 255
        return torch.randn(3, 32, 32) * (1 + index) + labels.clamp_max(3), labels


def trained(folder: Path) -> None:
    """Train the pocket model, as each of the processes does, and keep what came of it."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    rank, text = processes.RANK, nn.functional.normalize(torch.eye(3, 384) + 0.1, dim=1)
    model = ScrapSeg(pocket_image_encoder(0), text, stages=3)
    looks = []

    def score(candidate: nn.Module) -> float:
        looks.append(candidate)
        return float(len(looks))

    state = folder / "run.state"
    history = fit(model, Scenes(), torch.ones(5), score, CONFIG, state_path=state)
    kept = {"weights": model.state_dict(), "history": history, "looks": len(looks)}
    torch.save(kept, folder / f"{rank} of {processes.COUNT}.pt")
    processes.finish()
    (folder / f"finished {rank} of {processes.COUNT}").touch()


def test_two_processes_give_the_losses_and_weights_of_one(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    command = [*torchrun, __file__, str(tmp_path)]
    two = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        trained(tmp_path)
    finally:
        torch.set_default_dtype(torch.float32)
    _, told = two.communicate(timeout=120)
    assert two.returncode == 0, told
    one, first, second = (
        torch.load(tmp_path / f"{name}.pt") for name in ("0 of 1", "0 of 2", "1 of 2")
    )
    assert [len(run["history"]) for run in (one, first, second)] == [2, 2, 2]
    for mine, theirs in zip(one["history"], first["history"], strict=True):
        assert theirs == pytest.approx(mine, abs=1e-9)
    for name, weights in one["weights"].items():
        torch.testing.assert_close(first["weights"][name], weights, rtol=1e-8, atol=1e-8)
        assert torch.equal(first["weights"][name], second["weights"][name]), name
    # The first process alone scores, saves and goes on; nothing half-written is left.
    assert [run["looks"] for run in (one, first, second)] == [2, 2, 0]
    left = {path.name for path in tmp_path.iterdir() if path.suffix != ".pt"}
    assert left == {"finished 0 of 1", "finished 0 of 2"}


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "COUNT", 3)
    with pytest.raises(processes.ProcessesError, match="3 processes cannot share a batch of 4"):
        processes.share(4)


if __name__ == "__main__":
    trained(Path(sys.argv[1]))
