"""Is the frozen encoder behind because its learning rates were chosen for ours?

    python -m making.studies own_rates --results results/full

A variant of ours has the rates of ours (`settings_of` in `methods.yaml`). Here such a method is
given the trials that ours chose its own by, steps and images alike, scored on val; and one more,
since the highest rate of those was the best.
The runs keep the rates of ours: what lies between those and the best is what that costs it. Trials
that are done stand in the git-ignored `cache`, where a stopped series goes on.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from making.tune import tune
from scrapseg.experiments.methods import METHODS, rates
from scrapseg.experiments.splits import Splits

OF, STEPS = ("scrapseg-frozen",), 200
KEPT = ["steps", "seconds", "inputs", "val"]
CANDIDATES = (*METHODS["scrapseg"].candidates, {"lr": 0.016, "encoder_lr": 0.008})


def make(
    data_dir: Path, results_dir: Path, steps: int = STEPS, limit: int | None = None
) -> tuple[pd.DataFrame, dict[str, object]]:
    """The study in full: a row for each trial, and what stands beside it.

    Args:
        steps, limit: optimiser steps of a trial, images of a split; less for a quick look.

    Returns:
        Columns method, lr, encoder_lr, used (whether the method's runs have them), steps, seconds,
        inputs (hash of the sources that a trial was made with) and val, impurity mIoU.
    """
    table = {method: CANDIDATES for method in OF}
    trials = tune(data_dir, results_dir / "cache/own_rates.csv", steps, table, limit=limit)
    settings = pd.DataFrame([json.loads(text) for text in trials["settings"]])
    used = [rates(m) == json.loads(s) for m, s in zip(trials["method"], trials["settings"])]
    told = pd.concat([trials[["method"]], settings], axis=1).assign(used=used)
    told[KEPT] = trials[KEPT]
    return told, {"split": "val", "sha256": Splits.load(data_dir).val.sha256}
