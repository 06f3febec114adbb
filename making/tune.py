"""Choose every method's settings on val, with equal effort: four candidates each.

    make tune                       # or python -m making.tune [--method unet ...]

Candidates stand in `methods.yaml`. Short runs on all training images; the one with the best score
on val becomes the method's `chosen`, every trial goes to `results/tuning/tuning.csv`; on data sets
of photographs these are `chosen_on` and `<data set>.csv`. The score is the impurity mIoU, or pixel
AP for a method that names no classes. Test is not touched.

A stopped series goes on with the trials that are missing from that file. A trial is one method with
these settings, for so many steps, on this data; it is made again when one of them is another, or
when all are asked for anew, never because a source file moved.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from scrapseg import metrics
from scrapseg.baselines.registry import make
from scrapseg.data.base import DataError
from scrapseg.experiments.fit import best_look, learn, train
from scrapseg.experiments.methods import METHODS, PATH, MethodsError, load
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


def write_chosen(
    choice: dict[str, dict[str, Any]], path: Path = PATH, dataset: str = "scrapsim"
) -> None:
    """Write settings chosen on val as the `chosen` lines of their entries, of another data set than
    ScrapSim as `chosen_on`; all else stays as it is.

    Raises:
        MethodsError: a method has no entry.
    """
    text, before = path.read_text(encoding="utf-8"), load(path)
    key = "chosen" if dataset == "scrapsim" else "chosen_on"
    for slug, settings in choice.items():
        if dataset != "scrapsim" and slug in before:
            settings = before[slug].chosen_on | {dataset: settings}
        flow = yaml.safe_dump(settings, default_flow_style=True, width=1000).strip()
        entry = re.search(rf"^{re.escape(slug)}:[^\n]*\n(?:(?: [^\n]*)?\n)*?(?=\S|\Z)", text, re.M)
        if not entry:
            raise MethodsError(f"{path}: no entry {slug!r} to write the chosen settings to")
        block, line = entry.group(), f"  {key}: {flow}\n"
        fresh, found = re.subn(rf"^  {key}:[^\n]*\n", lambda _, line=line: line, block, flags=re.M)
        if not found:
            fresh = block.rstrip("\n") + "\n" + line + block[len(block.rstrip("\n")) + 1 :]
        text = text.replace(block, fresh)
    atomic_write(path, text)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m making.tune", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, default=SCRAPSIM, help="ScrapSim's folder")
    parser.add_argument("--out", type=Path, help="csv of the trials")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--method", nargs="+", help="only these")
    parser.add_argument("--fresh", action="store_true", help="make all trials anew")
    parser.add_argument("--dataset", default="scrapsim", help="scrapsim, or one of photographs")
    parser.add_argument("--crop", type=int, default=TrainConfig.crop, help="side of the crops")
    of = parser.parse_args()
    try:
        trials = choose_all(of.data, of.out, of.steps, of.method, of.fresh, of.dataset, of.crop)
    except (DataError, MethodsError) as error:
        sys.exit(f"tune: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on with the trials that are missing")
    print(trials.to_string(index=False))


if __name__ == "__main__":
    main()
