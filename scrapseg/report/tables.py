"""Every table of the paper and the README, computed from `metrics.csv` alone.

    python -m scrapseg.report.tables --results results/laptop      # writes tables/*.csv
    python -m scrapseg.report.tables --readme                      # and brings README.md up to date

`TABLES` maps a table's name to the function that makes it from the tidy metrics; `data_tables`
counts the dataset itself. Values are fractions of 1 (costs in their own units), means over seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from scrapseg import files
from scrapseg.data.classes import SLUGS, STEEL
from scrapseg.experiments import records
from scrapseg.experiments.methods import METHODS, method_label
from scrapseg.experiments.studies import ABLATIONS

if TYPE_CHECKING:
    from scrapseg.metrics.bootstrap import ImageStats

ROOT = Path(__file__).resolve().parents[2]
DATASET = "scrapsim"
OURS = "scrapseg"

METRIC_LABELS = {
    "ap": "pixel AP",
    "auroc": "pixel AUROC",
    "f1_max": "F1-max",
    "aupro_30": "AUPRO@0.3",
    "miou_binary": "binary mIoU",
    "miou": "mIoU",
    "miou_impurity": "impurity mIoU",
    "object_recall_1fa": "object recall at 1 FA/image",
    "image_auroc": "image AUROC",
    "train_s": "training time (s)",
    "ms_per_image": "time per image (ms)",
    "params_m": "parameters (millions)",
}
QUALITY = tuple(m for m in METRIC_LABELS if m not in ("train_s", "ms_per_image", "params_m"))
COSTS = ("train_s", "ms_per_image", "params_m")
HEADLINE = ("ap", "miou_binary", "miou", "miou_impurity", "object_recall_1fa")
WITH_INTERVAL = ("ap", "miou_binary", "miou", "miou_impurity")
SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class Reported:
    """A figure that the reference paper is said to report. It is theirs, never ours.

    Attributes:
        quantity: what is reported, in words.
        source: where the figure stands.
        bound: "=" or "<".
        value: fraction of 1 (a difference of mIoU in fractions of 1 for points).
        method, minus, metric: our number beside it is this metric of `method`, less that of
            `minus` where one is named.
        differs: what else than the model differs, in plain words, theirs first; {encoder} stands
            for the image encoder of our runs.
    """

    quantity: str
    source: str
    bound: str
    value: float
    method: str
    metric: str
    differs: str
    minus: str = ""


ABSTRACT = "abstract of arXiv:2506.13282"
SUMMARY = "machine-written summary, not checked against the paper"
#: The one place for numbers that are not ours (Tanaka et al. 2025, other data).
REFERENCE = (
    Reported(
        "pixel AP, encoder fine-tuned",
        ABSTRACT,
        "=",
        0.286,
        OURS,
        "ap",
        "Data: images of real scrap, kept private, against rendered ones. Encoder: CLIP ViT-L/14 "
        "at 336 px against {encoder}. AP depends on the share of impurity pixels; theirs is not "
        "known.",
    ),
    Reported(
        "pixel AP, encoder frozen",
        ABSTRACT,
        "<",
        0.01,
        "scrapseg-frozen",
        "ap",
        "Data and encoder as above. Theirs are earlier methods by others; ours is our own model, "
        "whose head learned from all labels while its encoder was frozen.",
    ),
    Reported(
        "mIoU",
        SUMMARY,
        "=",
        0.923,
        OURS,
        "miou",
        "Data and encoder as above. Theirs is said to be few-shot, over classes that are not "
        "named; ours has all labels and counts steel and the eight impurities.",
    ),
    Reported(
        "mIoU above an industrial inspection model, in points",
        SUMMARY,
        "=",
        0.117,
        OURS,
        "miou_binary",
        "Data and encoder as above. Theirs is against a model that is not named; ours is against "
        "PatchCore, in binary mIoU.",
        minus="patchcore",
    ),
)

#: Backbone -> its image encoder in words; any other is open_clip's name and speaks for itself.
ENCODERS = {"pocket": "EfficientNet-lite0 at 384 px"}


class TableError(Exception):
    """A table cannot be made or placed; the message is one line and names the file."""


# ------------------------------------------------------------------------------ choosing rows


def method_order(slugs: Iterable[str]) -> list[str]:
    """The methods in the order of every table and legend: ours first, unknown ones last by name."""
    known = list(METHODS)
    return sorted(set(slugs), key=lambda s: (known.index(s) if s in known else len(known), s))


def shots_order(shots: Iterable) -> list[str]:
    """Shot counts in order, as text, "all" last."""
    return sorted({str(s) for s in shots}, key=lambda s: math.inf if s == "all" else float(s))


def main_runs(metrics: pd.DataFrame, dataset: str = DATASET) -> pd.DataFrame:
    """Rows of one dataset without ablations, `shots` as text.

    A run that differs from its method's usual settings carries a tag at the end of its name
    (`RunRecord.name`); it must not be averaged with the others.
    """
    rows = metrics[metrics["dataset"] == dataset].assign(shots=lambda d: d["shots"].astype(str))
    backbone = rows["backbone"].map(lambda b: re.sub(r"[^A-Za-z0-9.-]+", "-", b))
    stem = rows["shots"] + "shots_s" + rows["seed"].astype(str)
    plain = [
        run.endswith(f"_{s}") or run.endswith(f"_{s}_{b}")
        for run, s, b in zip(rows["run"], stem, backbone, strict=True)
    ]
    return rows[pd.Series(plain, index=rows.index, dtype=bool)]


def mean_over_seeds(
    metrics: pd.DataFrame,
    names: Sequence[str],
    by_shots: bool = False,
    dataset: str = DATASET,
) -> pd.DataFrame:
    """One row per method (and shots): method, label, family, [shots,] seeds, then the metrics.

    A metric that a method has no value for is nan.
    """
    rows = main_runs(metrics, dataset)
    if not by_shots:
        rows = rows[rows["shots"] == "all"]
    out = []
    for method in method_order(rows["method"]):
        of_method = rows[rows["method"] == method]
        for shots in shots_order(of_method["shots"]):
            of_shots = of_method[of_method["shots"] == shots]
            mean = of_shots.groupby("metric")["value"].mean()
            out.append(
                {
                    "method": method,
                    "label": method_label(method),
                    "family": of_shots["family"].iloc[0],
                    "shots": shots,
                    "seeds": of_shots["seed"].nunique(),
                    **{name: mean.get(name, math.nan) for name in names},
                }
            )
    table = pd.DataFrame(out, columns=["method", "label", "family", "shots", "seeds", *names])
    return table if by_shots else table.drop(columns="shots")


# ------------------------------------------------------------------------------------- tables


def methods(metrics: pd.DataFrame, dataset: str = DATASET) -> pd.DataFrame:
    """All methods trained on everything, all common metrics, and what they cost."""
    return mean_over_seeds(metrics, [*QUALITY, *COSTS], dataset=dataset)


def intervals(metrics: pd.DataFrame) -> pd.DataFrame:
    """95 % bootstrap intervals (over scenes) of the headline metrics at shots=all.

    Bounds are means over seeds of each seed's bounds.
    """
    columns = [f"{m}{end}" for m in WITH_INTERVAL for end in ("", "_lo", "_hi")]
    return mean_over_seeds(metrics, columns)


def fewshot(metrics: pd.DataFrame, dataset: str = DATASET) -> pd.DataFrame:
    """Quality by labelled scenes per impurity class; the range is over seeds."""
    names = ("ap", "miou_impurity", "miou")
    table = mean_over_seeds(metrics, names, by_shots=True, dataset=dataset)
    rows = main_runs(metrics, dataset)
    for name in names[:2]:
        ends = (
            rows[rows["metric"] == name].groupby(["method", "shots"])["value"].agg(["min", "max"])
        )
        ends = ends.reindex(pd.MultiIndex.from_frame(table[["method", "shots"]]))
        table[f"{name}_min"], table[f"{name}_max"] = ends["min"].to_numpy(), ends["max"].to_numpy()
    return table


def per_class(metrics: pd.DataFrame) -> pd.DataFrame:
    """IoU of every class, for the methods that name classes."""
    table = mean_over_seeds(metrics, [f"iou/{slug}" for slug in SLUGS])
    table.columns = [c.removeprefix("iou/") for c in table.columns]
    return table[table[list(SLUGS)].notna().any(axis=1)].reset_index(drop=True)


def recall_by_size(metrics: pd.DataFrame) -> pd.DataFrame:
    """Object recall at one false alarm per image, for small, medium and large objects."""
    table = mean_over_seeds(
        metrics, ["object_recall_1fa", *(f"object_recall_1fa/{s}" for s in SIZES)]
    )
    table.columns = [c.removeprefix("object_recall_1fa/") for c in table.columns]
    return table.rename(columns={"object_recall_1fa": "all"})


def differences(metrics: pd.DataFrame) -> pd.DataFrame:
    """Ours minus every other method at the same shots, in fractions of 1."""
    table = mean_over_seeds(metrics, HEADLINE, by_shots=True)
    ours = table[table["method"] == OURS].set_index("shots")
    others = table[(table["method"] != OURS) & table["shots"].isin(ours.index)].copy()
    for name in HEADLINE:
        others[name] = others["shots"].map(ours[name]) - others[name]
    return others.drop(columns=["family", "seeds"]).reset_index(drop=True)


def ablation(metrics: pd.DataFrame) -> pd.DataFrame:
    """One thing changed at a time, scored on val: means over seeds, and less those of ours.

    The difference is the mean over the seeds that both have; lo and hi are the worst and the best
    seed. No rows where no ablation was run.
    """
    names = ("ap", "miou_impurity", "miou", "object_recall_1fa")
    values: dict[str, pd.DataFrame] = {}
    for tag in ABLATIONS:
        rows = metrics[metrics["run"].str.endswith(f"_{tag}")]
        if len(rows):
            values[tag] = rows.pivot(index="seed", columns="metric", values="value")[list(names)]
    out = []
    for tag, of_tag in values.items():
        row = {"group": ABLATIONS[tag].question, "label": ABLATIONS[tag].label}
        row |= {"tag": tag, "seeds": len(of_tag), **of_tag.mean()}
        if "ours" in values:
            gap = (of_tag - values["ours"]).dropna()[["ap", "miou_impurity"]]
            for name in gap:
                row |= {f"{name}_diff": gap[name].mean()}
                row |= {f"{name}_diff_lo": gap[name].min(), f"{name}_diff_hi": gap[name].max()}
        out.append(row)
    ends = [f"{m}_diff{end}" for m in names[:2] for end in ("", "_lo", "_hi")]
    return pd.DataFrame(out, columns=["group", "label", "tag", "seeds", *names, *ends])


def class_by_words(metrics: pd.DataFrame) -> pd.DataFrame:
    """AP of a class that had no labels in training, found by its prompt alone.

    Columns: class, prior (its share of the pixels: a random score), words (trained without the
    class), supervised (trained with it, the same steps), words_over_prior. Rows are the classes for
    which both runs exist; means over seeds.
    """

    def mean(run_end: str, slug: str) -> pd.Series:
        rows = metrics[metrics["run"].str.endswith(run_end)]
        wanted = rows["metric"].isin([f"class_ap/{slug}", f"class_prior/{slug}"])
        return rows[wanted].groupby("metric")["value"].mean()

    out = []
    for slug in SLUGS[1:]:
        # Run names have no underscore within a part, see `RunRecord.name`.
        tag = "_without-" + slug.replace("_", "-")
        words, labels = mean(tag, slug), mean("_with-all", slug)
        if len(words) and len(labels):
            prior, ap = words[f"class_prior/{slug}"], words[f"class_ap/{slug}"]
            out.append(
                (slug, prior, ap, labels[f"class_ap/{slug}"], ap / prior if prior else math.nan)
            )
    return pd.DataFrame(out, columns=["class", "prior", "words", "supervised", "words_over_prior"])


def long(metrics: pd.DataFrame) -> pd.DataFrame:
    """Runs that were trained for longer than the comparison's: means over seeds.

    Columns: method, label, steps, seeds, the headline metrics, recall by size, IoU by class, and
    train_s. No rows where no such run was made.
    """
    steps = metrics["run"].str.extract(r"_(\d+)-steps$")[0]
    rows = metrics.assign(steps=steps).dropna(subset=["steps"])
    names = [*HEADLINE, *(f"object_recall_1fa/{s}" for s in SIZES)]
    names += [*(f"iou/{s}" for s in SLUGS), "train_s"]
    out = []
    for method in method_order(rows["method"]):
        for count in shots_order(rows.loc[rows["method"] == method, "steps"]):
            of = rows[(rows["method"] == method) & (rows["steps"] == count)]
            mean = of.groupby("metric")["value"].mean()
            values = [mean.get(name, math.nan) for name in names]
            label = method_label(method)
            out.append((method, label, int(count), of["seed"].nunique(), *values))
    return pd.DataFrame(out, columns=["method", "label", "steps", "seeds", *names])


#: Assumptions about the work of labelling: outlining one piece takes 79 s (22 hours for 1,000
#: segments in COCO, Lin et al., arXiv:1405.0312, section 4.3), and looking at an image, to say that
#: nothing or nothing more is in it, ten seconds.
SECONDS_PER_PIECE = 79
SECONDS_PER_IMAGE = 10


def label_cost(metrics: pd.DataFrame, subsets: pd.DataFrame) -> pd.DataFrame:
    """Quality against the minutes that labelling the training images would take.

    Args:
        subsets: columns shots, images and pieces (to outline).

    Returns:
        Columns method, label, family, shots, minutes, ap, miou_impurity; means over seeds. A method
        that learns from normal images alone needs these to be looked at, and nothing outlined.
    """
    table = mean_over_seeds(metrics, ["ap", "miou_impurity"], by_shots=True)
    work = subsets.assign(shots=subsets["shots"].astype(str)).set_index("shots")
    table = table[table["shots"].isin(work.index)].copy()
    work = work.loc[table["shots"]]
    pieces = (work["pieces"] * SECONDS_PER_PIECE).to_numpy()
    looks = (work["images"] * SECONDS_PER_IMAGE).to_numpy()
    one_class = (table["family"] == "unsupervised").to_numpy()
    seconds = looks + pieces
    # To find its normal images somebody has looked at all.
    seconds[one_class] = looks[one_class]
    table.insert(4, "minutes", seconds / 60)
    return table.drop(columns="seeds").reset_index(drop=True)


def reference(metrics: pd.DataFrame) -> pd.DataFrame:
    """What the reference paper is said to report, the same quantity of ours, and what differs."""
    mean = mean_over_seeds(metrics, QUALITY).set_index("method")
    runs = main_runs(metrics)
    names = sorted(set(runs[runs["method"] == OURS]["backbone"]))
    encoder = " or ".join(ENCODERS.get(name, name) for name in names) or "none yet"
    rows = []
    for r in REFERENCE:
        ours = mean[r.metric].get(r.method, math.nan)
        if r.minus:
            ours -= mean[r.metric].get(r.minus, math.nan)
        differs = r.differs.format(encoder=encoder)
        rows.append((r.quantity, r.source, r.bound, r.value, r.metric, ours, differs))
    columns = ["quantity", "source", "bound", "theirs", "metric", "ours", "differs"]
    return pd.DataFrame(rows, columns=columns)


TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "methods": methods,
    "intervals": intervals,
    "fewshot": fewshot,
    "per_class": per_class,
    "recall_by_size": recall_by_size,
    "differences": differences,
    "reference": reference,
    "ablation": ablation,
    "class_by_words": class_by_words,
    "long": long,
}


def paired(results_dir: Path | str) -> pd.DataFrame:
    """Ours minus every other method on the same test scenes, all labels, with 95 % intervals.

    Unlike the others this table needs more than `metrics.csv`: the statistics per image that each
    run leaves beside its record (`runs/<run>.npz`). The lowest seed of each method counts.

    Returns:
        Columns "scrapseg minus" (method), metric, value, lo, hi, p and p_holm (corrected for the
        number of methods compared); see `metrics.paired_difference` and `metrics.holm`.
    """
    runs = main_runs(records.read_metrics(results_dir))
    runs = runs[runs["shots"] == "all"].sort_values("seed").drop_duplicates("method")
    table = paired_rows(results_dir, runs)
    return table.drop(columns=["shots", "seeds"])


def paired_fewshot(results_dir: Path | str) -> pd.DataFrame:
    """As `paired` at every number of shots but all, over all seeds that both methods have.

    Returns:
        Columns shots, "scrapseg minus", seeds, metric, value, lo, hi, p, p_holm (per number of
        shots and metric).
    """
    runs = main_runs(records.read_metrics(results_dir))
    runs = runs[runs["shots"] != "all"].drop_duplicates("run")
    return paired_rows(results_dir, runs)


def scene_stats(results_dir: Path | str, run: str) -> ImageStats | None:
    """What a run left for the bootstrap, a scene each; None where it left nothing."""
    from scrapseg.metrics.bootstrap import ImageStats

    path = Path(results_dir) / "runs" / f"{run}.npz"
    if not path.is_file():
        return None
    of_images = ImageStats.load(path)
    # An image's id is <scene>_<view>; the views of a scene are drawn together.
    return of_images.grouped([int(i.split("_")[0]) for i in of_images.ids])


def fewshot_bands(results_dir: Path | str) -> pd.DataFrame:
    """Quality by labelled scenes per impurity class, with 95 % intervals of the mean over seeds.

    Returns:
        Columns method, shots, seeds, metric (ap, miou_impurity), value, lo, hi; the interval covers
        test scenes and, where there are several, seeds, see `metrics.mean_interval`.
    """
    from scrapseg.metrics.bootstrap import mean_interval

    runs = main_runs(records.read_metrics(results_dir)).drop_duplicates("run")
    rows = []
    for method in method_order(runs["method"]):
        of_method = runs[runs["method"] == method]
        for shots in shots_order(of_method["shots"]):
            names = of_method.loc[of_method["shots"] == shots, "run"]
            stats = [s for s in (scene_stats(results_dir, name) for name in names) if s]
            for metric in ("ap", "miou_impurity") if stats else ():
                if metric == "ap" or stats[0].classes is not None:
                    found = mean_interval(stats, metric)
                    rows.append((method, shots, len(stats), metric, *found))
    columns = ["method", "shots", "seeds", "metric", "value", "lo", "hi"]
    return pd.DataFrame(rows, columns=columns)


def domains(results_dir: Path | str, data_dir: Path | str) -> pd.DataFrame:
    """Trained on images of one setting (heap or belt), tested on those of both.

    Returns:
        Columns method, label, source, target, seeds, metric (ap, miou_impurity), value, lo, hi (see
        `metrics.mean_interval`), and gap, gap_lo, gap_hi: ours minus the method, paired. No rows
        where no such run was made.
    """
    from scrapseg.data.scrapsim import ScrapSim
    from scrapseg.metrics.bootstrap import mean_interval, paired_difference

    setting = {str(m["scene"]): m["setting"] for m in ScrapSim(data_dir, "test").meta.values()}
    runs = records.read_metrics(results_dir).drop_duplicates("run")
    runs["source"] = runs["run"].str.extract(r"_from-(heap|belt)$")[0]
    runs = runs.dropna(subset=["source"])
    found: dict[tuple[str, str], dict[int, ImageStats]] = {}
    for row in runs.itertuples():
        stats = scene_stats(results_dir, row.run)
        if stats:
            found.setdefault((row.method, row.source), {})[row.seed] = stats
    rows = []
    for method, source, target in itertools.product(
        method_order(runs["method"]), ("heap", "belt"), ("heap", "belt")
    ):
        parts = {
            name: {seed: _part(s, setting, target) for seed, s in by_seed.items()}
            for name in {method, OURS}
            if (by_seed := found.get((name, source)))
        }
        for metric in ("ap", "miou_impurity") if method in parts else ():
            theirs = parts[method]
            if metric != "ap" and any(s.classes is None for s in theirs.values()):
                continue
            mean = mean_interval(list(theirs.values()), metric)
            seeds = sorted(theirs.keys() & parts.get(OURS, {}).keys()) if method != OURS else []
            gap = [math.nan] * 3
            if seeds:
                sides = [parts[OURS][s] for s in seeds], [theirs[s] for s in seeds]
                gap = paired_difference(*sides, metric)[:3]
            label = method_label(method)
            rows.append((method, label, source, target, len(theirs), metric, *mean, *gap))
    columns = ["method", "label", "source", "target", "seeds", "metric", "value", "lo", "hi"]
    return pd.DataFrame(rows, columns=[*columns, "gap", "gap_lo", "gap_hi"])


def _part(stats: ImageStats, setting: Mapping[str, str], target: str) -> ImageStats:
    """The statistics of the scenes of one setting."""
    keep = [setting[scene] == target for scene in stats.ids]
    return replace(
        stats,
        ids=tuple(itertools.compress(stats.ids, keep)),
        binary=stats.binary[keep],
        positives=stats.positives[keep],
        negatives=stats.negatives[keep],
        classes=None if stats.classes is None else stats.classes[keep],
    )


def paired_rows(results_dir: Path | str, runs: pd.DataFrame) -> pd.DataFrame:
    """Paired differences between ours and each other method among `runs`, shots by shots."""
    from scrapseg.metrics.bootstrap import holm, paired_difference

    stats: dict[tuple[str, str], dict[int, ImageStats]] = {}
    for row in runs.itertuples():
        of_scenes = scene_stats(results_dir, row.run)
        if of_scenes:
            stats.setdefault((row.shots, row.method), {})[row.seed] = of_scenes
    rows = []
    for shots in shots_order({k for k, _ in stats}):
        ours = stats.get((shots, OURS), {})
        for method in method_order(m for k, m in stats if k == shots and m != OURS):
            theirs = stats[shots, method]
            seeds = sorted(ours.keys() & theirs.keys())
            for metric in WITH_INTERVAL if seeds else ():
                named = theirs[seeds[0]].classes is not None
                if named or metric in ("ap", "miou_binary"):
                    sides = [ours[s] for s in seeds], [theirs[s] for s in seeds]
                    rows.append(
                        (shots, method, len(seeds), metric, *paired_difference(*sides, metric))
                    )
    columns = ["shots", "scrapseg minus", "seeds", "metric", "value", "lo", "hi", "p"]
    table = pd.DataFrame(rows, columns=columns)
    corrected = table.groupby(["shots", "metric"])["p"].transform(holm)
    return table.assign(p_holm=corrected.astype(float))


def dataset_counts(datasets: Iterable) -> pd.DataFrame:
    """Per split: scenes, images, images that hold an impurity, instances, share of their pixels.

    Args:
        datasets: splits of `data.ScrapSim`.
    """
    from scrapseg.data.scrapsim import composition

    rows = []
    for data in datasets:
        table = composition([data]).set_index("class")
        mixed = sum(any(k["pixels"] > 0 for k in data.meta[i]["instances"]) for i in data.ids)
        rows.append(
            {
                "split": data.split,
                "scenes": len({data.meta[i]["scene"] for i in data.ids}),
                "images": len(data.ids),
                "images_with_impurities": mixed,
                "images_without": len(data.ids) - mixed,
                "instances": int(table["instances"].sum()),
                "impurity_pixel_share": 1 - table.loc[STEEL.slug, "pixel_share"],
            }
        )
    return pd.DataFrame(rows)


def data_tables(data_dir: Path | str) -> dict[str, pd.DataFrame]:
    """The tables of the dataset itself: `composition` (by class), `dataset` (by split), `outlines`.

    The last is what the true test masks score when their outlines are a pixel off, see
    `failures.boundary_ceiling`.

    Raises:
        DataError: see `data.ScrapSim`.
    """
    import numpy as np

    from scrapseg.data.base import SPLITS
    from scrapseg.data.scrapsim import ScrapSim, composition
    from scrapseg.metrics.failures import boundary_ceiling

    splits = [ScrapSim(data_dir, split) for split in SPLITS]
    masks = np.stack([sample.label for sample in splits[SPLITS.index("test")]])
    return {
        "composition": composition(splits),
        "dataset": dataset_counts(splits),
        "outlines": boundary_ceiling(masks)[["outline", "miou", "miou_impurity"]],
    }


def table_text(table: pd.DataFrame) -> str:
    """The bytes that `records.save_table` writes, as text."""
    with tempfile.TemporaryDirectory() as folder:
        return records.save_table(table, folder, "table").read_text(encoding="utf-8")


def build_all(results_dir: Path | str, data_dir: Path | str | None = None) -> list[Path]:
    """Write `tables/<name>.csv` for every table; return the paths.

    Args:
        results_dir: holds `metrics.csv`.
        data_dir: ScrapSim's folder; without it the tables that look into it are left alone.

    Raises:
        BrokenRecord: no readable `metrics.csv`.
        WriteFailed: a table could not be written.
    """
    metrics = records.read_metrics(results_dir)
    made = {name: make(metrics) for name, make in TABLES.items()}
    made["paired_fewshot"] = paired_fewshot(results_dir)
    made["fewshot_bands"] = fewshot_bands(results_dir)
    if data_dir is not None:
        made |= data_tables(data_dir)
        made["domains"] = domains(results_dir, data_dir)
    return [records.save_table(table, results_dir, name) for name, table in made.items()]


# ------------------------------------------------------------------------------------- README


def percent(value: float) -> str:
    """A fraction of 1 as per cent with one digit; a dash for nan."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def markdown_methods(metrics: pd.DataFrame, names: Sequence[str] = QUALITY) -> str:
    """The `methods` table for the README: per cent, the best of each column in bold.

    Args:
        names: metrics to show.
    """
    table = methods(metrics)
    if table.empty:
        return "Not run yet."
    head = ["method", *(METRIC_LABELS[m] for m in names), "training", "per image", "parameters"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for _, row in table.iterrows():
        cells = [row["label"]]
        for name in names:
            text = percent(row[name])
            best = text != "–" and text == percent(table[name].max())
            cells.append(f"**{text}**" if best else text)
        units = (("train_s", 60, "{:.1f} min"), ("ms_per_image", 1, "{:.0f} ms"))
        units += (("params_m", 1, "{:.1f} M"),)
        for name, scale, form in units:
            cells.append("–" if math.isnan(row[name]) else form.format(row[name] / scale))
        lines.append("| " + " | ".join(cells) + " |")
    seeds = sorted(set(table["seeds"]))
    note = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    unit = "seed" if seeds == [1] else "seeds"
    lines += [
        "",
        f"In per cent (the last three columns apart), mean over {note} {unit}; bold: best.",
    ]
    return "\n".join(lines)


def markdown_times(path: Path) -> str:
    """The table of measured times from `times.json`; says so where nothing was measured yet.

    `times.json`: `{"reproduce_first_s", "reproduce_second_s", "test_s": seconds, "machine": text}`.

    Raises:
        TableError: the file is there but cannot be read.
    """
    if not path.is_file():
        return "Not measured yet."
    try:
        times = json.loads(path.read_text(encoding="utf-8"))
        rows = [
            ("`make reproduce`, first time, after set-up", times["reproduce_first_s"]),
            ("`make reproduce`, nothing changed", times["reproduce_second_s"]),
            ("`make test`, after set-up", times["test_s"]),
        ]
        machine = times["machine"]
    except (ValueError, KeyError, TypeError) as error:
        raise TableError(f"{path}: not a readable table of times ({error!r})") from error
    lines = [f"| command | time on {machine} |", "|---|---:|"]
    for name, seconds in rows:
        text = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
        lines.append(f"| {name} | {text} |")
    return "\n".join(lines)


def fresh_readme(text: str, results_dir: Path) -> str:
    """README text with the blocks between `<!-- NAME:begin -->` and `<!-- NAME:end -->` made anew.

    Raises:
        TableError: a block's markers are missing.
        BrokenRecord: no readable `metrics.csv`.
    """
    blocks = {
        "results": markdown_methods(records.read_metrics(results_dir)),
        "times": markdown_times(results_dir / "times.json"),
    }
    if "<!-- full:begin -->" in text:
        from scrapseg.report import paper

        study = records.read_metrics(paper.study_of(results_dir))
        blocks["full"] = markdown_methods(study, HEADLINE)
    if "<!-- real:begin -->" in text:
        from scrapseg.report import tables_real

        blocks["real"] = tables_real.markdown(tables_real.real_of(results_dir))
    for name, block in blocks.items():
        pattern = rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)"
        text, count = re.subn(
            pattern, lambda m, block=block: m[1] + block + "\n" + m[2], text, flags=re.DOTALL
        )
        if count != 1:
            raise TableError(f"README.md: needs the marks <!-- {name}:begin --> and :end once")
    return text


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m scrapseg.report.tables", description="Make the tables."
    )
    parser.add_argument("--results", type=Path, default=ROOT / "results/laptop")
    parser.add_argument("--data", type=Path, default=ROOT / "data/scrapsim")
    parser.add_argument("--readme", action="store_true", help="bring README.md up to date too")
    options = parser.parse_args(arguments)
    from scrapseg.data.base import DataError

    try:
        build_all(options.results, options.data)
        if options.readme:
            readme = ROOT / "README.md"
            text = fresh_readme(readme.read_text(encoding="utf-8"), options.results)
            files.atomic_write(readme, text)
    except (files.ResultsError, TableError, DataError) as error:
        print(f"tables: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
