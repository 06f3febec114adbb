"""The benchmark's longest run as a model that is loaded: what its temperature does and leaves."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import log_loss

from making.align import benchmark
from scrapseg.experiments.build import build
from scrapseg.experiments.records import RunRecord, source_state, write_run
from scrapseg.models.segmenter import load


@pytest.fixture(scope="module")
def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels drawn from them once they are divided by 2.5."""
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(20_000, 4, generator=generator)
    p = (logits / 2.5).softmax(1)
    return logits, torch.multinomial(p, 1, generator=generator)[:, 0]


def test_the_temperature_that_labels_were_drawn_at_is_found(drawn):
    assert benchmark.best_temperature(*drawn) == pytest.approx(2.5, rel=0.05)


def test_errors_are_those_counted_by_hand(drawn):
    logits, labels = drawn
    table = pd.DataFrame(benchmark.errors(logits, labels, 2.5)).set_index(["pixels", "temperature"])
    called = (logits.argmax(1) > 0).numpy()
    for pixels, some in (("all", np.ones(len(labels), bool)), ("called an impurity", called)):
        for when, t in (("before", 1.0), ("after", 2.5)):
            p = (logits.double() / t).softmax(1).numpy()[some]
            right, sure = p.argmax(1) == labels.numpy()[some], p.max(1)
            bins = np.minimum((sure * benchmark.BINS).astype(int), benchmark.BINS - 1)
            gaps = [abs(right[bins == b].mean() - sure[bins == b].mean()) * (bins == b).mean()
                    for b in set(bins)]  # fmt: skip
            row = table.loc[(pixels, when)]
            assert row["ece"] == pytest.approx(sum(gaps), abs=1e-3)
            by_sklearn = log_loss(labels.numpy()[some], p, labels=range(4))
            assert row["log_loss"] == pytest.approx(by_sklearn, rel=1e-4)
        assert table.loc[(pixels, "after"), "ece"] < 0.2 * table.loc[(pixels, "before"), "ece"]


def test_a_cooled_model_divides_the_logits_of_pixels():
    model, image = build("scrapseg", seed=0).eval(), torch.rand(1, 3, 64, 64)
    model.normal_bias.data.fill_(1.5)
    with torch.inference_mode():
        before, after = (m(image).logits for m in (model, benchmark.cooled(model, 1.7)))
    torch.testing.assert_close(after, before / 1.7, atol=1e-5, rtol=1e-4)
    assert math.isclose(model.normal_bias.item(), 1.5)  # the one given stays as it is


def test_a_run_is_shipped_with_what_val_chose(tiny_scrapsim, tmp_path):
    of = ("scrapseg", "ours", "pocket", "scrapsim", "test", "all", 0)
    record = RunRecord(*of, {"ap": 0.5}, {"steps": 7}, source_state())
    path = write_run(record, tmp_path / "results", "7-steps")
    folder = tmp_path / "results" / "cache" / path.stem
    folder.mkdir(parents=True)
    build("scrapseg", seed=0).eval().save(folder / "model.safetensors")
    target = tmp_path / "benchmark.safetensors"
    made, table = benchmark.ship_run(path.stem, tmp_path / "results", tiny_scrapsim, target)
    back = load(target)
    assert "7 steps" in back.origin and back.origin == made.origin
    assert back.promises == made.promises and 0 < back.threshold < 1
    beside = json.loads((tmp_path / "results/tables/calibration.json").read_text())
    assert f"divided by {beside['divided_by']:.2f}" in back.origin
    assert list(beside["quality"]) == ["train", "val", "test"]
    assert f"pixel AP {beside['quality']['test']['ap']:.3f}" in back.origin
    val = table[(table["split"] == "val") & (table["pixels"] == "all")].set_index("temperature")
    assert val.loc["after", "log_loss"] <= val.loc["before", "log_loss"]
