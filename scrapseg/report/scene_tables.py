"""Tables of intervals and paired differences, from the statistics that runs keep a scene each.

`TABLES` maps a table's name to the function that makes it from a results folder; `build_all` writes
these and those of `tables`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scrapseg.experiments import records, stats
from scrapseg.experiments.methods import method_label
from scrapseg.metrics.bootstrap import ImageStats, holm, mean_interval, paired_difference
from scrapseg.report import figures, tables
from scrapseg.report.tables import main_runs

#: Mean IoU of groups of classes, by its name in statistics.
GROUPS = {"miou/" + "+".join(group): f"miou_{name}" for name, group in tables.TAUGHT.items()}
#: What is drawn along labels or steps.
CURVES = ("ap", "miou_impurity")
AMONG_STARTS = (*CURVES, *GROUPS)
#: What `labels_paired` does not test in AP: the weakest network, on which no claim rests, and with
#: one labelled scene a class controls.
UNTESTED = "unet", "scrapseg-random", "scrapseg-permuted", "scrapseg-imagenet", "segformer-aligned"


def paired(results_dir: Path | str) -> pd.DataFrame:
    """Ours minus every other method on the same test scenes, all labels, with 95 % intervals.

    Returns:
        Columns "scrapseg minus" (method), seeds (that both have), metric, value, lo, hi, p and
        p_holm (corrected for the number of methods, or for all of `labels_paired` where the pair
        is in that table, so that the two tables do not disagree); see `paired_difference`.
    """
    runs = tables.all_labels(records.read_metrics(results_dir))
    pairs = paired_rows(results_dir, runs[~runs["metric"].isin(tables.COSTS)])
    keys = ["shots", "scrapseg minus", "metric"]
    both = pairs.merge(labels_paired(results_dir), "left", keys, suffixes=("", "_2"))
    told = {p: both[f"{p}_2"].where(both["seeds_2"].notna(), both[p]) for p in ("p", "p_holm")}
    return pairs.assign(**told).drop(columns="shots").astype({"p": float})


def paired_fewshot(results_dir: Path | str) -> pd.DataFrame:
    """As `paired` at every number of shots but all, over all seeds that both methods have.

    Returns:
        Columns shots, "scrapseg minus", seeds, metric, value, lo, hi, p, p_holm (over all methods
        and numbers of shots of a metric, which are read together).
    """
    runs = main_runs(records.read_metrics(results_dir))
    return paired_rows(results_dir, runs[runs["shots"] != "all"])


def fewshot_bands(results_dir: Path | str) -> pd.DataFrame:
    """Quality by labelled scenes per impurity class, with 95 % intervals of the mean over seeds.

    Returns:
        Columns method, shots, seeds, metric (ap, miou_impurity), value, lo, hi; the interval covers
        test scenes and, where there are several, seeds, see `metrics.mean_interval`.
    """
    return bands(results_dir, main_runs(records.read_metrics(results_dir)))


def bands(
    results_dir: Path | str, runs: pd.DataFrame, among: Sequence[str] = CURVES, part: str = ""
) -> pd.DataFrame:
    """As `fewshot_bands`, of some runs on a part of the test images, or all, see `stats.read`."""
    runs, rows = runs.drop_duplicates("run"), []
    for method in tables.method_order(runs["method"]):
        of_method = runs[runs["method"] == method]
        for shots in tables.shots_order(of_method["shots"]):
            names = of_method.loc[of_method["shots"] == shots, "run"]
            known = [s for s in (stats.read(results_dir, name, part) for name in names) if s]
            for metric in measured(known, among):
                found = mean_interval(known, metric)
                rows.append((method, shots, len(known), metric, *found))
    return pd.DataFrame(rows, columns=["method", "shots", "seeds", "metric", "value", "lo", "hi"])


def shared_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """Those of the seeds that all methods among `runs` have at a number of labels: seeds draw the
    labelled scenes, so that means over others are not to be drawn side by side."""
    having = runs.groupby(["shots", "seed"])["method"].transform("nunique")
    return runs[having == runs.groupby("shots")["method"].transform("nunique")]


def labels(results_dir: Path | str) -> pd.DataFrame:
    """As `fewshot_bands` where all numbers of labels have the same steps."""
    return bands(results_dir, main_runs(records.read_metrics(results_dir), tag=tables.EVEN))


def labels_paired(results_dir: Path | str, own: str = tables.OURS) -> pd.DataFrame:
    """As `paired_fewshot` where all numbers of labels have the same steps, all labels too.

    The first of `UNTESTED`, and all with one labelled scene a class, have no p in AP: its smallest,
    2 / (`AP_RESAMPLES` + 1), is above 0.05 after Holm's correction for more than 25 rows.
    """
    runs = main_runs(records.read_metrics(results_dir), tag=tables.EVEN)
    rows = paired_rows(results_dir, runs, own)
    few = rows["shots"].eq("1") | rows["scrapseg minus"].eq(UNTESTED[0])
    rows.loc[few & rows["scrapseg minus"].isin(UNTESTED) & rows["metric"].eq("ap"), "p"] = np.nan
    return corrected(rows, ["metric"])


def labels_rival(results_dir: Path | str) -> pd.DataFrame:
    """As `labels_paired`, with the strongest rival in the place of ours."""
    table = labels_paired(results_dir, tables.RIVAL)
    return table.rename(columns={"scrapseg minus": "segformer minus"})


def alignment(results_dir: Path | str) -> pd.DataFrame:
    """What the alignment is worth by what it aligns to, on classes it was shown and others.

    The controls of `making.align.controls`, all alike long, and beside them ours as shipped and
    without alignment, all with the same steps.

    Returns:
        As `fewshot_bands`, metric one of ap, miou_impurity, miou_taught, miou_untaught.
    """
    return bands(results_dir, starts(results_dir), AMONG_STARTS).replace({"metric": GROUPS})


def alignment_paired(results_dir: Path | str) -> pd.DataFrame:
    """Aligned to text minus every other start of `alignment`, and the pairs of `CROSSED`.

    Returns:
        As `labels_paired`, in place of "scrapseg minus" start and minus; p_holm is over all pairs
        of a metric with labels, or without: what prompts find by themselves is another question.
    """
    runs, parts = starts(results_dir), []
    for start, *others in ((tables.TO_TEXT, *runs["method"]), *tables.CROSSED):
        both = runs[runs["method"].isin([start, *others])]
        gaps = paired_rows(results_dir, both, start, AMONG_STARTS)
        parts.append(gaps.rename(columns={"scrapseg minus": "minus"}).assign(start=start))
    table = pd.concat(parts)
    return corrected(table, ["metric", table["shots"] != "0"]).replace({"metric": GROUPS})


def starts(results_dir: Path | str) -> pd.DataFrame:
    """Runs from the alignment's controls; of their seeds from ours as shipped or not aligned."""
    frame = records.read_metrics(results_dir)
    tags = (tables.CONTROL, tables.EVEN, "zero-shot")
    controls, *others = (main_runs(frame, tag=tag) for tag in tags)
    beside = pd.concat(others)
    beside = beside[beside["method"].isin(tables.STARTS) & beside["shots"].isin(controls["shots"])]
    return pd.concat([controls, beside[beside["seed"].isin(controls["seed"])]])


def long_bands(results_dir: Path | str) -> pd.DataFrame:
    """As `fewshot_bands` of longer runs and the comparison's of their methods, labels and seeds, by
    steps."""
    frame, folder = records.read_metrics(results_dir), Path(results_dir) / "runs"
    long, even = tables.longer(frame), main_runs(frame, tag=tables.EVEN)
    even = even.merge(long[["method", "shots", "seed"]].drop_duplicates())
    steps = {r: records.read_run(folder / f"{r}.json").config["steps"] for r in set(even["run"])}
    both = pd.concat([even.assign(steps=even["run"].map(steps)), long]).astype({"steps": str})
    return by_steps(both, lambda runs: bands(results_dir, runs))


def long_paired(results_dir: Path | str) -> pd.DataFrame:
    """As `labels_paired` for the longer runs, by steps; p_holm is over all steps and labels."""
    long = tables.longer(records.read_metrics(results_dir))
    return corrected(by_steps(long, lambda runs: paired_rows(results_dir, runs)), ["metric"])


def by_steps(runs: pd.DataFrame, make: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """A table by shots, made for each number of labels by steps in their place; column steps."""
    parts = [
        make(of.assign(shots=of["steps"])).rename(columns={"shots": "steps"}).assign(shots=shots)
        for shots, of in [*runs.groupby("shots", sort=False)] or [("", runs)]
    ]
    return pd.concat(parts, ignore_index=True)


def photographs(results_dir: Path | str) -> pd.DataFrame:
    """As `fewshot_bands` on every data set of photographs, and mIoU, with dataset, label and
    scenes: how many there are in the test, such as arrangements of cables."""
    sets = tables.photo_sets(frame := records.read_metrics(results_dir))
    of = {d: main_runs(frame, d) for d in sets or [""]}
    parts = [bands(results_dir, r, tables.WITH_INTERVAL).assign(dataset=d) for d, r in of.items()]
    table = pd.concat(parts, ignore_index=True)
    table["label"] = table["method"].map(tables.label_there)
    first = frame.drop_duplicates("dataset").set_index("dataset")["run"]
    table["scenes"] = table["dataset"].map(lambda d: len(stats.read(results_dir, first[d]).ids))
    columns = ["dataset", "method", "label", "shots", "seeds", "scenes", "metric"]
    return table[[*columns, "value", "lo", "hi"]]


def photo_paired(results_dir: Path | str) -> pd.DataFrame:
    """As `paired` on every data set of photographs, at every number of shots; p_holm is over all of
    a metric on one data set.

    There ours begins with the model trained on renders; its other starts are among the methods.
    """
    frame, parts = records.read_metrics(results_dir), []
    for dataset in tables.photo_sets(frame) or [""]:
        gaps = paired_rows(results_dir, main_runs(frame, dataset), tables.OURS_THERE)
        parts.append(gaps.assign(dataset=dataset))
    table = pd.concat(parts, ignore_index=True)
    return table[["dataset", *table.columns.drop("dataset")]]


def domains(results_dir: Path | str) -> pd.DataFrame:
    """Trained on images of one setting (heap or belt), tested on those of both.

    Returns:
        Columns method, label, source, target, seeds, metric (ap, miou_impurity), value, lo, hi (see
        `metrics.mean_interval`), and gap, gap_lo, gap_hi: ours minus the method, paired. No rows
        where no such run was made.
    """
    frame, parts = records.read_metrics(results_dir), []
    for source, target in itertools.product(("heap", "belt"), repeat=2):
        runs = main_runs(frame, tag=f"from-{source}")
        gaps = paired_rows(results_dir, runs, among=CURVES, part=target)
        gaps = gaps.rename(columns={"scrapseg minus": "method"}).drop(columns="seeds")
        both = bands(results_dir, runs, part=target).merge(
            gaps, "left", ["method", "shots", "metric"], suffixes=("", "_gap")
        )
        parts.append(both.assign(source=source, target=target))
    table = pd.concat(parts, ignore_index=True)
    table.insert(1, "label", table["method"].map(method_label))
    table["method"] = pd.Categorical(table["method"], tables.method_order(table["method"]))
    columns = ["method", "label", "source", "target", "seeds", "metric", "value", "lo", "hi"]
    gaps = {"value_gap": "gap", "lo_gap": "gap_lo", "hi_gap": "gap_hi"}
    table = table.sort_values("method", kind="stable").rename(columns=gaps)
    return table[[*columns, *gaps.values()]]


def wrong_pixels(results_dir: Path | str) -> pd.DataFrame:
    """What the pixels are that are named wrongly, with all labels: means over seeds.

    Returns:
        Columns method, label, seeds, wrong (their share of all pixels) and, as shares of these,
        missed (an impurity called normal), invented (normal called an impurity), misnamed. No rows
        for methods that name no classes.
    """
    runs = tables.all_labels(records.read_metrics(results_dir))
    runs, rows = runs[~runs["metric"].isin(tables.COSTS)].drop_duplicates("run"), []
    for row in runs.itertuples():
        of_scenes = stats.read(results_dir, row.run)
        if of_scenes is not None and of_scenes.classes is not None:
            table = of_scenes.classes.sum(0).astype(float)
            wrong = table * (1 - np.eye(len(table)))
            kinds = [wrong[1:, 0].sum(), wrong[0].sum(), wrong[1:, 1:].sum()]
            rows.append((row.method, wrong.sum() / table.sum(), *(kinds / wrong.sum())))
    names = ["wrong", "missed", "invented", "misnamed"]
    table = pd.DataFrame(rows, columns=["method", *names]).groupby("method")
    found = table[names].mean().assign(seeds=table.size())
    found = found.loc[tables.method_order(found.index)].reset_index()
    found["label"] = found["method"].map(method_label)
    return found[["method", "label", "seeds", *names]]


def measured(known: Iterable[ImageStats], among: Sequence[str] = tables.WITH_INTERVAL) -> list[str]:
    """Those of some metrics that statistics tell of: none without any, few where classes lack."""
    named = {of_scenes.classes is not None for of_scenes in known}
    return [m for m in among if named and (all(named) or m in ("ap", "miou_binary"))]


def paired_rows(
    results_dir: Path | str,
    runs: pd.DataFrame,
    own: str = tables.OURS,
    among: Sequence[str] = tables.WITH_INTERVAL,
    part: str = "",
) -> pd.DataFrame:
    """Paired differences between `own` and each other method among `runs`, shots by shots, on a
    part of the test images or all, see `stats.read`."""
    known: dict[tuple[str, str], dict[int, ImageStats]] = {}
    for row in runs.drop_duplicates("run").itertuples():
        of_scenes = stats.read(results_dir, row.run, part)
        if of_scenes:
            known.setdefault((row.shots, row.method), {})[row.seed] = of_scenes
    rows = []
    for shots in tables.shots_order({k for k, _ in known}):
        ours = known.get((shots, own), {})
        for method in tables.method_order(m for k, m in known if k == shots and m != own):
            theirs = known[shots, method]
            seeds = sorted(ours.keys() & theirs.keys())
            sides = [ours[s] for s in seeds], [theirs[s] for s in seeds]
            for metric in measured(sides[1], among) if seeds else ():
                found = paired_difference(*sides, metric)
                rows.append((shots, method, len(seeds), metric, *found))
    columns = ["shots", "scrapseg minus", "seeds", "metric", "value", "lo", "hi", "p"]
    return corrected(pd.DataFrame(rows, columns=columns), ["metric"])


def corrected(table: pd.DataFrame, by: list) -> pd.DataFrame:
    """With p_holm, corrected over the rows that are alike in `by`."""
    return table.assign(p_holm=table.groupby(by)["p"].transform(holm).astype(float))


#: Of more methods with few labels than these, those of the figure; the table has all.
SHOWN = (tables.OURS, "scrapseg-frozen", "scrapseg-random", "segformer", "segformer-aligned")
MAKERS = (paired, paired_fewshot, fewshot_bands, labels, labels_paired, labels_rival, photo_paired)
MAKERS += (alignment, alignment_paired, long_bands, long_paired, domains, wrong_pixels, photographs)
TABLES: dict[str, Callable[[Path | str], pd.DataFrame]] = {make.__name__: make for make in MAKERS}


def build_all(results_dir: Path | str, data_dir: Path | str | None = None) -> list[Path]:
    """Write `tables/<name>.csv` for every table of the data sets that have runs; return the paths.

    Args:
        results_dir: holds `metrics.csv`.
        data_dir: ScrapSim's folder; without it, or without runs on it, the tables that count it
            are left alone.

    Raises:
        BrokenRecord, BrokenStats: `metrics.csv` or `stats.npz` cannot be read.
        WriteFailed: a table could not be written.
    """
    metrics = records.read_metrics(results_dir)
    made = {n: tables.TABLES[n](metrics) for n in tables.of_data_sets(tables.TABLES, metrics)}
    made |= {n: TABLES[n](results_dir) for n in tables.of_data_sets(TABLES, metrics)}
    if data_dir is not None and set(metrics["dataset"]) - set(tables.photo_sets(metrics)):
        made |= tables.data_tables(data_dir)
    return [records.save_table(table, results_dir, name) for name, table in made.items()]


def make(results_dir: Path | str, data_dir: Path | str) -> list[Path]:
    """Join a folder's records, write its tables, and draw the two figures that need no maps.

    Raises:
        see `records.collect` and `build_all`.
    """
    frame = records.collect(results_dir)
    written = build_all(results_dir, data_dir)
    study = tables.ablation(frame)
    if len(study) > 1:
        of = [r for r in records.read_runs(results_dir) if r.endswith(tuple(study["tag"]))]
        written += [records.save_figure(figures.ablation_dots(study), results_dir, "ablation", of)]
    for name, tag in (("fewshot", ""), ("labels", tables.EVEN)):
        few = main_runs(frame, tag=tag)
        names = sorted(set(few.loc[few["shots"] != "all", "method"]))
        if names:
            shown = [n for n in names if n in SHOWN or len(names) <= len(SHOWN)] or names
            few = shared_seeds(few[few["method"].isin(shown)]) if tag else few
            known = bands(results_dir, few)
            counted = tables.with_images(known, few, data_dir) if tag else known
            fig = figures.quality_curve(counted, shown)
            drawn = few.loc[few["method"].isin(shown), "run"]
            written.append(records.save_figure(fig, results_dir, name, drawn))
    return written
