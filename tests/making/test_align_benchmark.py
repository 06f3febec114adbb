"""The benchmark's longest run as a model that is loaded: what its temperature does and leaves."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

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


def test_errors_are_those_of_the_libraries(drawn):
    logits, labels = drawn
    table = pd.DataFrame(benchmark.errors(logits, labels, 2.5)).set_index(["pixels", "temperature"])
    called = (logits.argmax(1) > 0).numpy()
    for pixels, some in (("all", np.ones(len(labels), bool)), ("called an impurity", called)):
        for when, t in (("before", 1.0), ("after", 2.5)):
            p, truth = (logits.double() / t).softmax(1)[some], labels[some]
            row, bins = table.loc[(pixels, when)], benchmark.BINS
            by_library = multiclass_calibration_error(p, truth, num_classes=4, n_bins=bins)
            assert row["ece"] == pytest.approx(float(by_library), abs=1e-3)
            p = p.numpy()
            assert row["sure"] == pytest.approx(p.max(1).mean(), rel=1e-4)
            assert row["right"] == (p.argmax(1) == truth.numpy()).mean()
            by_sklearn = log_loss(labels.numpy()[some], p, labels=range(4))
            assert row["log_loss"] == pytest.approx(by_sklearn, rel=1e-4)
        assert table.loc[(pixels, "after"), "ece"] < 0.2 * table.loc[(pixels, "before"), "ece"]


def test_the_error_of_millions_of_pixels_is_no_less_than_their_mean_gap():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.96, 1.0, 4_000_000)  # all in one bin
    right = rng.random(len(sure)) < 0.985
    gap = abs(sure.mean() - right.mean())
    assert benchmark.calibration_error(sure, right) == pytest.approx(gap, rel=1e-6)


def test_a_cooled_model_divides_the_logits_of_pixels():
    model, image = build("scrapseg", seed=0).eval(), torch.rand(1, 3, 64, 64)
    model.normal_bias.data.fill_(1.5)
    with torch.inference_mode():
        before, after = (m(image) for m in (model, benchmark.cooled(model, 1.7)))
    torch.testing.assert_close(after.logits, before.logits / 1.7, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(after.image_logits, before.image_logits, atol=0, rtol=0)
    assert math.isclose(model.normal_bias.item(), 1.5)  # the one given stays as it is


def test_a_run_is_shipped_with_what_val_chose(tiny_scrapsim, tmp_path):
    of = ("scrapseg", "ours", "pocket", "scrapsim", "test", "all", 0)
    origin = source_state() | {"date": "2026-01-01"}
    record = RunRecord(*of, {"ap": 0.5, "miou_impurity": 0.4}, {"steps": 7}, origin)
    record.config["data"] = {"images": [5, 2, 3]}
    path = write_run(record, tmp_path / "results", "7-steps")
    folder = tmp_path / "results" / "cache" / path.stem
    folder.mkdir(parents=True)
    build("scrapseg", seed=0).eval().save(folder / "model.safetensors")
    (folder / "done").write_text("2026-01-01")
    target = tmp_path / "benchmark.safetensors"
    made, table = benchmark.ship_run(
        path.stem, tmp_path / "results", tiny_scrapsim, tmp_path / "told", target
    )
    back = load(target)
    assert "7 steps" in back.origin and "5 images" in back.origin
    assert back.origin == made.origin
    assert back.promises == made.promises and 0 < back.threshold < 1
    beside = json.loads((tmp_path / "told/tables/calibration.json").read_text())
    assert beside["record"] == record.metrics
    assert f"divided by {beside['divided_by']:.2f}" in back.origin
    quality = pd.read_csv(tmp_path / "told/tables/longest.csv", index_col="split")
    assert list(quality.index) == ["train", "val", "test"]
    assert f"pixel AP {quality.loc['test', 'ap']:.3f}" in back.origin
    val = table[(table["split"] == "val") & (table["pixels"] == "all")].set_index("temperature")
    assert val.loc["after", "log_loss"] <= val.loc["before", "log_loss"]


def test_weights_of_another_run_are_not_shipped(tiny_scrapsim, tmp_path):
    of = ("scrapseg", "ours", "pocket", "scrapsim", "test", "all", 0)
    record = RunRecord(*of, {}, {}, {"date": "2026-01-01"})
    run = write_run(record, tmp_path, "7-steps").stem
    (tmp_path / "cache" / run).mkdir(parents=True)
    (tmp_path / "cache" / run / "done").write_text("2025-12-31")
    with pytest.raises(FileNotFoundError, match="not the weights of its record"):
        benchmark.ship_run(run, tmp_path, tiny_scrapsim, tmp_path, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()
