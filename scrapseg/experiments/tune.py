"""Choose every method's settings on val, with equal effort: four candidates each.

    python -m scrapseg.experiments.tune

Candidates stand in `methods.yaml`. Short runs on all training images; the one with the best score
on val is written there too, every trial to `results/tuning/tuning.csv`. The score is the impurity
mIoU, or pixel AP for a method that names no classes. Test is not touched. A stopped series goes on with the trials that are missing from that
file; a trial made by other code is made again. `--methods` leaves those of the others, and what was
chosen by them, as they are.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scrapseg import metrics
from scrapseg.baselines.registry import make
from scrapseg.data.classes import CLASSES
from scrapseg.experiments.methods import METHODS, write_chosen
from scrapseg.experiments.run import Splits, best_look, label_stack, train
from scrapseg.files import atomic_write
from scrapseg.sources import hash_code, imported_modules
from scrapseg.train.loop import TrainConfig


def tune(
    data_dir: Path,
    out: Path,
    steps: int,
    table: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    limit: int | None = None,
) -> pd.DataFrame:
    """Try what is missing from `out` of the candidates in `table` (method -> settings).

    Returns:
        All trials, a row each: method, settings (JSON), steps, metric, val, best_step, seconds and
        code, a hash of the sources.
    """
    splits = Splits.load(data_dir, limit)
    root = Path(__file__).parents[2]
    code = hash_code(imported_modules(["import scrapseg.experiments.run"], root), root)[:12]
    trials = pd.read_csv(out).to_dict("records") if out.is_file() else []
    trials = [t for t in trials if t.get("code") == code or t["method"] not in table]
    done = {(t["method"], t.get("settings"), t["steps"]) for t in trials}
    for method, choices in table.items():
        for settings in choices:
            text = json.dumps(settings, sort_keys=True)
            if (method, text, steps) in done:
                continue
            started = time.perf_counter()
            found = trial(method, splits, settings, steps)
            found |= {"seconds": round(time.perf_counter() - started, 1), "code": code}
            trials.append({"method": method, "settings": text, "steps": steps} | found)
            atomic_write(out, pd.DataFrame(trials).to_csv(index=False))
    return pd.DataFrame(trials)


def trial(method: str, splits: Splits, settings: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """One candidate's score on val: metric, val and best_step."""
    if METHODS[method].is_trained:
        look = best_look(train(method, splits, TrainConfig(steps=steps, evals=1, **settings))[1])
        return {"metric": "miou_impurity", "val": look["val"], "best_step": look["step"]}
    samples = list(splits.train)
    model = make(
        METHODS[method].maker, seed=0, steps=steps, batch_size=TrainConfig.batch_size, **settings
    )
    model.fit([s.image for s in samples], [s.label for s in samples])
    maps, labels = model.predict([s.image for s in splits.val]), label_stack(splits.val)
    if maps.labels is None:
        value = metrics.average_precision(metrics.rank(maps.score_maps, labels > 0))
        return {"metric": "ap", "val": value, "best_step": np.nan}
    table = metrics.confusion(maps.labels, labels, len(CLASSES)).sum(0)
    value = metrics.class_metrics(table)["miou_impurity"]
    return {"metric": "miou_impurity", "val": value, "best_step": np.nan}


def choose(trials: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The settings with the best val score of each method, among its longest trials."""
    longest = trials[trials["steps"] == trials.groupby("method")["steps"].transform("max")]
    best = longest.loc[longest.groupby("method")["val"].idxmax()]
    return {row.method: json.loads(row.settings) for row in best.itertuples()}


def main() -> None:
    """Command line."""
    table = {slug: m.candidates for slug, m in METHODS.items() if m.candidates}
    parser = argparse.ArgumentParser(
        prog="python -m scrapseg.experiments.tune", description=__doc__
    )
    parser.add_argument("--data", type=Path, default=Path("data/scrapsim"))
    parser.add_argument("--out", type=Path, default=Path("results/tuning/tuning.csv"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--methods", nargs="+", choices=list(table), default=list(table))
    given = parser.parse_args()
    wanted = {method: table[method] for method in given.methods}
    trials = tune(given.data, given.out, given.steps, wanted)
    chosen = choose(trials)
    write_chosen({method: chosen[method] for method in wanted})
    print(trials.to_string(index=False))


if __name__ == "__main__":
    main()
