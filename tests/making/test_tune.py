"""Tuning: equal effort, what is done is not repeated, the best of the longest trials is chosen."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from making import tune
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
    table = {"unet": [{"lr": 0.1}, {"lr": 0.2}], "fpn": [{"lr": 0.3}]}
    with pytest.raises(KeyboardInterrupt):
        tune.tune(tiny_scrapsim, out, 5, table)
    trials = tune.tune(tiny_scrapsim, out, 5, table)
    assert tried == [("unet", 0.1), ("unet", 0.2), ("unet", 0.2), ("fpn", 0.3)]
    assert tune.choose(trials) == {"unet": {"lr": 0.1}, "fpn": {"lr": 0.3}}


def test_a_trial_is_made_again_when_its_settings_or_data_changed_never_when_a_file_moved(
    tiny_scrapsim, tmp_path, monkeypatch
):
    tried = []

    def pretend(method, splits, settings, steps):
        tried.append((method, settings["lr"]))
        return {"metric": "ap", "val": 0.5, "best_step": steps}

    monkeypatch.setattr(tune, "trial", pretend)
    out, table = tmp_path / "tuning.csv", {"unet": [{"lr": 0.1}, {"lr": 0.2}], "fpn": [{"lr": 0.3}]}
    tune.tune(tiny_scrapsim, out, 5, table)
    monkeypatch.setattr(tune, "inputs_sha256", lambda spec: "moved")
    tune.tune(tiny_scrapsim, out, 5, table)
    assert len(tried) == 3
    trials = tune.tune(tiny_scrapsim, out, 5, {"unet": [{"lr": 0.1}, {"lr": 0.4}]})
    assert tried[3:] == [("unet", 0.4)]
    assert sorted(trials["method"]) == ["fpn", "unet", "unet"]  # one is no candidate any more
    tune.tune(tiny_scrapsim, out, 5, {"fpn": [{"lr": 0.3}]}, fresh=True)
    assert tried[4:] == [("fpn", 0.3)]
    out.write_text(out.read_text().replace(trials["data"][0], "other data"))
    tune.tune(tiny_scrapsim, out, 5, {"fpn": [{"lr": 0.3}]})
    assert tried[5:] == [("fpn", 0.3)]


def test_the_committed_trials_stand(tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "trial", lambda *args: pytest.fail("a trial is made again"))
    before = pd.read_csv(tune.TRIALS)
    tried = set(before["method"])
    table = {m: METHODS[m].candidates for m in tried}
    out = tmp_path / "tuning.csv"
    out.write_bytes(tune.TRIALS.read_bytes())
    after = tune.tune(tune.SCRAPSIM, out, 200, table)
    assert len(after) == len(before) == 4 * len(tried)
    assert tune.choose(after) == {m: METHODS[m].chosen for m in tried}


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
