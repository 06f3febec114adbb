"""The recipe on CLIP ViT-L/14: what a run is expected to need, and a rehearsal in small."""

from __future__ import annotations

import json
from dataclasses import replace

import open_clip
import pytest
import torch
import yaml
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import Dataset

from scrapseg.files import REPOSITORY
from scrapseg.models import prompts
from scrapseg.models.clip import load_clip
from scrapseg.models.scrapseg import ScrapSeg, SegOutput
from scrapseg.models.towers import default_indices, image_encoder
from scrapseg.train import budget
from scrapseg.train.loop import TrainConfig, fit

#: The paper's recipe; the learning rates are customary for fine-tuning CLIP.
PROFILE = yaml.safe_load((REPOSITORY / "notebooks/profiles/clip.yaml").read_text())
CONFIG = TrainConfig(
    **{k: PROFILE[k] for k in ("steps", "batch_size", "crop", "lr", "encoder_lr", "precision")}
)


@pytest.fixture(scope="module")
def shallow(tmp_path_factory):
    """The profile's architecture, four layers deep and half as wide, random weights."""
    config = open_clip.get_model_config(PROFILE["backbone"])
    config["vision_cfg"] |= {"layers": 4, "width": 512}
    config["text_cfg"] |= {"layers": 1, "vocab_size": 64}
    path = tmp_path_factory.mktemp("configs") / "shallow-ViT-L-14-336.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    torch.manual_seed(0)
    return load_clip(path.stem)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """As `shallow`, and narrow."""
    config = open_clip.get_model_config(PROFILE["backbone"])
    config["vision_cfg"] |= {"layers": 4, "width": 128, "image_size": 112}
    config["text_cfg"] |= {"layers": 1, "vocab_size": 64}
    path = tmp_path_factory.mktemp("configs") / "small-ViT-L-14-336.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    return load_clip(path.stem)


def segmenter(clip, **options: bool) -> ScrapSeg:
    text = prompts.random_embeddings(9, seed=0, width=clip.width)
    return ScrapSeg(image_encoder(clip, **options), text).train()


def test_open_clip_knows_the_papers_encoder_at_this_size():
    assert PROFILE["crop"] == open_clip.get_model_config("ViT-L-14-336")["vision_cfg"]["image_size"]
    assert open_clip.get_pretrained_cfg("ViT-L-14-336", "openai")


class Noise(Dataset):
    """Two images with a bright square of class 1 or 2 on noise."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.zeros(self.side, self.side, dtype=torch.int64)
        labels[40:200, 40:200] = index + 1
        return torch.randn(3, self.side, self.side) + labels, labels


def test_rehearsal_of_three_steps(shallow):
    """The whole recipe on random weights: 336 px, mixed precision, every layer trained."""
    model = segmenter(shallow)
    assert model.encoder.indices == default_indices(shallow.model.visual) == [0, 1, 2, 3]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    config = replace(CONFIG, steps=3, batch_size=1, evals=1, warmup=0.0, ema=0.5)
    looks = []

    def score(candidate: nn.Module) -> float:
        looks.append(candidate)
        return 1.0

    history = fit(model, Noise(PROFILE["crop"]), torch.ones(2), score, config)
    assert [row["step"] for row in history] == [3] and len(looks) == 1
    assert torch.isfinite(torch.tensor(history[-1]["loss"]))
    same = [k for k, v in model.state_dict().items() if torch.equal(v, before[k])]
    assert same == ["text"]  # class vectors are no weights
    assert all(v.dtype == torch.float32 for v in model.state_dict().values())
    assert all(p.grad is None for n, p in shallow.model.named_parameters() if "visual" not in n)


# ---------------------------------------------------------------- what a run will need


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_counted_memory_is_what_torch_allocates(small, precision, checkpointing):
    """Against the profiler's record of allocations in a real step on the CPU."""
    model = segmenter(small, grad_checkpointing=checkpointing)
    config = replace(CONFIG, precision=precision, batch_size=2, crop=112)
    images, labels = budget.noise(config, "cpu")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        budget.training_step(model, images, labels, config)
    live = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    model.zero_grad()
    small.model.visual.set_grad_checkpointing(False)
    found = budget.counted(segmenter(small, grad_checkpointing=checkpointing), config)
    small.model.visual.set_grad_checkpointing(False)
    assert found.step_bytes == pytest.approx(peak, rel=0.02)
    assert all(p.grad is None for p in model.parameters())


def test_checkpointing_and_freezing_need_less(small):
    config = replace(CONFIG, batch_size=8, crop=112)
    plain = budget.counted(segmenter(small), config)
    saving = budget.counted(segmenter(small, grad_checkpointing=True), config)
    small.model.visual.set_grad_checkpointing(False)
    text = prompts.random_embeddings(9, seed=0, width=small.width)
    frozen = ScrapSeg(image_encoder(small), text, trained="head").train()
    frozen = budget.counted(frozen, config)
    small.model.visual.requires_grad_(True)
    assert saving.step_bytes < 0.9 * plain.step_bytes
    assert saving.step_flops > 1.1 * plain.step_flops
    assert frozen.step_bytes < plain.step_bytes and frozen.state_bytes < plain.state_bytes
    assert frozen.step_flops < 0.5 * plain.step_flops


def test_counted_arithmetic_by_hand(shallow):
    """Per block and token 12 w^2 multiplications for weights and 2 n w for attention."""
    config = replace(CONFIG, batch_size=2)
    found = budget.counted(segmenter(shallow), config)
    tokens, width, depth = 24 * 24 + 1, 512, 4
    block = tokens * (12 * width**2 + 2 * tokens * width)
    patches = 24 * 24 * width * (3 * 14**2 + 2 * 4 * 768)  # embedding; head and residuals of 4
    forward = 2 * (depth * block + patches)
    assert found.step_flops == pytest.approx(2 * 3 * forward, rel=0.05)
    parameters = sum(p.numel() for p in segmenter(shallow).parameters())
    # Weights, their average and the best of them; two moments of AdamW; 4 bytes each.
    assert found.state_bytes == pytest.approx(4 * 5 * parameters, rel=0.01)


class Counter(nn.Module):
    """The least that can be trained; it counts in a buffer how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> SegOutput:
        self.asked += 1
        return SegOutput(images * self.scale, None)


def test_live_bytes_are_counted_as_they_come_and_go():
    start = torch.zeros(1000)
    with budget.LiveBytes([start]) as memory:
        a = start + 1
        b = a * 2
        assert memory.live == 8000
        view = b[10:].view(-1, 2)
        assert memory.live == 8000
        del a
        assert memory.live == 4000
        del b
        assert memory.live == 4000  # the view holds it
        del view
        assert (memory.live, memory.peak) == (0, 8000)


def test_without_a_gpu_the_need_is_printed_and_the_run_stops(small, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(budget.BudgetError, match=r"needs a GPU of .* GB or more") as caught:
        budget.announce(segmenter(small), CONFIG)
    assert "\n" not in str(caught.value)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    for part in ("estimate", "GB of GPU memory", "min for 4000 steps", "no GPU here to measure"):
        assert part in said


def test_measuring_gives_a_time_and_changes_nothing():
    model = Counter()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    config = replace(CONFIG, batch_size=1, crop=8, precision="32-true")
    before = budget.counted(model, config)
    found = budget.measured(before, model, config, "cpu")
    assert before.step_s is None and found.step_s > 0
    assert "measured" in str(found) and "no GPU" not in str(found)
    assert model.scale.item() == 1 and model.scale.grad is None and model.asked.item() == 0
    assert torch.equal(torch.rand(3), expected)


def test_a_step_that_does_not_fit_is_said_in_one_line(monkeypatch):
    def full(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB ...")

    monkeypatch.setattr(budget, "training_step", full)
    nothing = budget.Budget(0, 0, 0, 1)
    with pytest.raises(budget.BudgetError, match=r"8 images of 336 px does not fit.*batch_size"):
        budget.measured(nothing, Counter(), CONFIG, "cpu")
