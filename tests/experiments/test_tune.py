"""Tuning: equal effort, what is done is not repeated, the best of the longest trials is chosen."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from scrapseg.experiments import tune
from scrapseg.experiments.methods import METHODS


def test_a_series_goes_on_where_it_stopped(tiny_scrapsim, tmp_path, monkeypatch):
    tried = []

    def pretend(method, splits, settings, steps):
        tried.append((method, settings["lr"]))
        if len(tried) == 2:
            raise KeyboardInterrupt
        return {"metric": "ap", "val": 1 - settings["lr"], "best_step": steps}

    monkeypatch.setattr(tune, "trial", pretend)
    out = tmp_path / "tuning.csv"
    table = {"a": [{"lr": 0.1}, {"lr": 0.2}], "b": [{"lr": 0.3}]}
    with pytest.raises(KeyboardInterrupt):
        tune.tune(tiny_scrapsim, out, 5, table)
    trials = tune.tune(tiny_scrapsim, out, 5, table)
    assert tried == [("a", 0.1), ("a", 0.2), ("a", 0.2), ("b", 0.3)]
    assert tune.choose(trials) == {"a": {"lr": 0.1}, "b": {"lr": 0.3}}


def test_long_trials_outweigh_short_ones():
    rows = [("a", 1, 20, 0.9), ("a", 2, 200, 0.5), ("a", 3, 200, 0.6)]
    trials = pd.DataFrame(rows, columns=["method", "lr", "steps", "val"])
    trials["settings"] = [json.dumps({"lr": lr}) for lr in trials["lr"]]
    assert tune.choose(trials) == {"a": {"lr": 3}}


@pytest.mark.parametrize("method", ["random-forest", "patchcore"])
def test_a_trial_scores_on_val(tiny_scrapsim, method):
    splits = tune.Splits.load(tiny_scrapsim)
    found = tune.trial(method, splits, METHODS[method].candidates[0], 1)
    assert found["metric"] == ("ap" if method == "patchcore" else "miou_impurity")
    assert 0 <= found["val"] <= 1
