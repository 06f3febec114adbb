"""Choose every method's settings on val, with equal effort: four candidates each.

Candidates stand in `methods.yaml`. Short runs on all training images; the one with the best score
on val becomes the method's `chosen`, every trial goes to `results/tuning/tuning.csv`; on data sets
of photographs these are `chosen_on` and `<data set>.csv`. The score is the impurity mIoU, or pixel
AP for a method that names no classes. Test is not touched.

A stopped series goes on with the trials that are missing from that file. A trial is one method with
these settings, for so many steps, on this data; it is made again when one of them is another, or
when all are asked for anew, never because a source file moved.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scrapseg import metrics
from scrapseg.baselines.registry import make
from scrapseg.experiments.fit import best_look, learn, train
from scrapseg.experiments.methods import METHODS, write_chosen
from scrapseg.experiments.methods import method as find
from scrapseg.experiments.splits import Splits, label_stack, load_splits
from scrapseg.experiments.studies import RunSpec, inputs_sha256
from scrapseg.files import REPOSITORY, atomic_write
from scrapseg.train.loop import TrainConfig

TRIALS = REPOSITORY / "results" / "tuning" / "tuning.csv"
SCRAPSIM = REPOSITORY / "data" / "scrapsim"


def choose_all(
    data_dir: Path = SCRAPSIM,
    out: Path | None = None,
    steps: int = 200,
    slugs: Sequence[str] | None = None,
    fresh: bool = False,
    dataset: str = "scrapsim",
    crop: int = TrainConfig.crop,
) -> pd.DataFrame:
    """Try the candidates of methods (of all by default) and write the choice to `methods.yaml`.

    Args:
        out: the csv of trials; by default that of the data set in `results/tuning`.
        crop: side of the training crops; see `tune` for the rest.

    Returns:
        All trials, see `tune`.

    Raises:
        MethodsError: there is no such method.
    """
    named = [find(slug) for slug in slugs or ()] or [m for m in METHODS.values() if m.candidates]
    table = {of.slug: of.tried for of in named}
    out = out or (TRIALS if dataset == "scrapsim" else TRIALS.with_name(f"{dataset}.csv"))
    given = {} if crop == TrainConfig.crop else {"crop": crop}
    trials = tune(data_dir, out, steps, table, fresh=fresh, dataset=dataset, **given)
    write_chosen(choose(trials[trials["method"].isin(list(table))]), dataset=dataset)
    return trials


def tune(
    data_dir: Path,
    out: Path,
    steps: int,
    table: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    limit: int | None = None,
    fresh: bool = False,
    dataset: str = "scrapsim",
    **given: Any,
) -> pd.DataFrame:
    """Try what is missing from `out` of the candidates in `table` (method -> settings).

    Args:
        data_dir: of ScrapSim. dataset: whose train and val are used.
        fresh: try all of them anew.
        given: fields of `TrainConfig` that differ from its defaults.

    Returns:
        All trials, a row each: method, settings (JSON), steps, metric, val, best_step, seconds,
        data (its hash) and, for information, inputs (hash of sources and packages).
    """
    splits = load_splits(dataset, limit, data_dir)
    data = splits.val.sha256
    texts = {m: [json.dumps(s, sort_keys=True) for s in choices] for m, choices in table.items()}

    def stands(trial: Mapping[str, Any]) -> bool:
        if trial["method"] not in table:
            return True
        # Trials from before their data was written down are of the data set as it was shipped.
        known = pd.isna(trial.get("data")) or trial["data"] == data
        return known and not fresh and trial["settings"] in texts[trial["method"]]

    trials = pd.read_csv(out).to_dict("records") if out.is_file() else []
    trials = [trial for trial in trials if stands(trial)]
    done = {(t["method"], t["settings"], t["steps"]) for t in trials}
    for method, choices in table.items():
        for settings, text in zip(choices, texts[method], strict=True):
            if (method, text, steps) in done:
                continue
            started = time.perf_counter()
            found = trial(method, splits, settings, steps, **given)
            found |= {"seconds": round(time.perf_counter() - started, 1), "data": data}
            found["inputs"] = inputs_sha256(RunSpec(method, dataset=dataset))[:12]
            trials.append({"method": method, "settings": text, "steps": steps} | found)
            atomic_write(out, pd.DataFrame(trials).to_csv(index=False))
    return pd.DataFrame(trials)


def trial(
    method: str, splits: Splits, settings: Mapping[str, Any], steps: int, **given: Any
) -> dict[str, Any]:
    """One candidate's score on val: metric, val and best_step."""
    of = find(method)
    if of.is_trained:
        config = TrainConfig(steps=steps, evals=1, **settings, **given)
        start = RunSpec(method).start(Path())
        look = best_look(train(method, splits, config, start=start)[1])
        return {"metric": "miou_impurity", "val": look["val"], "best_step": look["step"]}
    samples = list(splits.train)
    model = make(of.maker, seed=0, steps=steps, batch_size=TrainConfig.batch_size, **settings)
    learn(model, samples, of.family)
    maps, labels = model.predict([s.image for s in splits.val]), label_stack(splits.val)
    if maps.labels is None:
        value = metrics.average_precision(metrics.rank(maps.score_maps, labels > 0))
        return {"metric": "ap", "val": value, "best_step": np.nan}
    slugs = [c.slug for c in splits.val.classes]
    table = metrics.confusion(maps.labels, labels, len(slugs)).sum(0)
    value = metrics.class_metrics(table, slugs)["miou_impurity"]
    return {"metric": "miou_impurity", "val": value, "best_step": np.nan}


def choose(trials: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The settings with the best val score of each method, among its longest trials."""
    longest = trials[trials["steps"] == trials.groupby("method")["steps"].transform("max")]
    best = longest.loc[longest.groupby("method")["val"].idxmax()]
    return {row.method: json.loads(row.settings) for row in best.itertuples()}
