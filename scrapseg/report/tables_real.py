"""The tables of Magnetic-Tile, computed from `metrics.csv` and the runs of `results/real`.

They are those of `scrapseg.report.tables` for another data set, and two on what a method starts
from. In the metrics' names an *impurity* is a defect here, and a *shot* is a labelled photograph.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from scrapseg.experiments import records
from scrapseg.experiments.methods import METHODS
from scrapseg.report import tables

DATASET = "magnetic-tile"
PROFILE = "real"

#: What ours starts from -> method, tag of the run, words for a reader.
STARTS = {
    "imagenet": ("scrapseg-imagenet", "", "ImageNet"),
    "aligned": ("scrapseg", "", "aligned to words"),
    "scrapsim": ("scrapseg", "from-scrapsim", "trained on ScrapSim"),
}
_MEASURED = ("ap", "miou_impurity", "miou", "object_recall_1fa")


def starts_runs(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rows of the runs that differ in what ours starts from alone, with a column `start`.

    Only shots that have a run from every start are kept, where one was trained on ScrapSim at all.
    """
    plain = tables.main_runs(metrics, DATASET)
    parts = []
    for start, (method, tag, _) in STARTS.items():
        of = metrics[metrics["run"].str.endswith(f"_{tag}")] if tag else plain
        of = of[(of["method"] == method) & (of["dataset"] == DATASET)]
        parts.append(of.assign(start=start, shots=of["shots"].astype(str)))
    rows = pd.concat(parts)
    begun = rows.loc[rows["start"] != "aligned"].groupby("start")["shots"].agg(set)
    both = set.intersection(*begun) if len(begun) else set()
    return rows[rows["shots"].isin(both)]


def starts(metrics: pd.DataFrame) -> pd.DataFrame:
    """Quality by what ours starts from: columns start, label, shots, seeds, metrics as means."""
    rows = starts_runs(metrics)
    out = []
    for shots in tables.shots_order(rows["shots"]):
        for start, (_, _, label) in STARTS.items():
            of = rows[(rows["start"] == start) & (rows["shots"] == shots)]
            if len(of):
                mean = of.groupby("metric")["value"].mean()
                values = [mean.get(name, float("nan")) for name in _MEASURED]
                out.append((start, label, shots, of["seed"].nunique(), *values))
    return pd.DataFrame(out, columns=["start", "label", "shots", "seeds", *_MEASURED])


def classes(metrics: pd.DataFrame) -> pd.DataFrame:
    """IoU of every class with all labels, for the methods that name classes."""
    from scrapseg.data.magnetic_tile import CLASSES

    slugs = [c.slug for c in CLASSES]
    table = tables.mean_over_seeds(metrics, [f"iou/{s}" for s in slugs], dataset=DATASET)
    table.columns = [c.removeprefix("iou/") for c in table.columns]
    return table[table[slugs].notna().any(axis=1)].reset_index(drop=True)


def paired(results_dir: Path | str) -> pd.DataFrame:
    """Ours minus every other method at every number of shots, see `tables.paired_fewshot`."""
    runs = tables.main_runs(records.read_metrics(results_dir), DATASET)
    return tables.paired_rows(results_dir, runs.drop_duplicates("run"))


def starts_paired(results_dir: Path | str) -> pd.DataFrame:
    """The start from ScrapSim minus each other start, on the same test tiles.

    Returns:
        Columns shots, "scrapsim minus" (start), and as in `tables.paired_fewshot`; no rows where
        there is no run that starts from ScrapSim.
    """
    runs = starts_runs(records.read_metrics(results_dir)).drop_duplicates("run")
    # The comparison is of ours against methods; here the starts stand for them.
    runs = runs.assign(method=runs["start"].replace("scrapsim", tables.OURS))
    table = tables.paired_rows(results_dir, runs)
    return table.rename(columns={"scrapseg minus": "scrapsim minus"})


TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "tile_methods": partial(tables.methods, dataset=DATASET),
    "tile_fewshot": partial(tables.fewshot, dataset=DATASET),
    "tile_classes": classes,
    "tile_starts": starts,
}
"""From `metrics.csv` alone."""
PER_IMAGE: dict[str, Callable[[Path | str], pd.DataFrame]] = {
    "tile_paired": paired,
    "tile_starts_paired": starts_paired,
}
"""From the statistics that runs leave beside their records."""


def has_runs(folder: Path | str) -> bool:
    """Whether a results folder holds a run of ours on all photographs."""
    if not (Path(folder) / "metrics.csv").is_file():
        return False
    rows = tables.main_runs(records.read_metrics(folder), DATASET)
    return bool(((rows["method"] == tables.OURS) & (rows["shots"] == "all")).any())


def real_of(results_dir: Path | str) -> Path | None:
    """The folder `real` beside a results folder, if it has runs."""
    folder = Path(results_dir).parent / PROFILE
    return folder if has_runs(folder) else None


def build_all(results_dir: Path | str) -> list[Path]:
    """Write `tables/<name>.csv` for every table; return the paths.

    Raises:
        BrokenRecord: no readable `metrics.csv`.
        WriteFailed: a table could not be written.
    """
    metrics = records.read_metrics(results_dir)
    made = {name: make(metrics) for name, make in TABLES.items()}
    made |= {name: make(results_dir) for name, make in PER_IMAGE.items()}
    return [records.save_table(table, results_dir, name) for name, table in made.items()]


def answer(
    metrics: pd.DataFrame,
    of_methods: pd.DataFrame,
    of_starts: pd.DataFrame,
) -> str:
    """Notebook 06's answer in words.

    Args:
        of_methods, of_starts: from `paired` and `starts_paired`.
    """
    table = TABLES["tile_fewshot"](metrics)
    ours = table[table["method"] == tables.OURS].set_index("shots")
    lines = []
    names = {slug: m.label for slug, m in METHODS.items()}
    for shots, row in ours.iterrows():
        value = f"ScrapSeg AP {row['ap']:.3f}, mIoU {row['miou']:.3f}; "
        gaps = _gaps(of_methods, shots, "scrapseg minus", names)
        lines.append(f"- **{shots} shots**: {value}{gaps}")
    labels = {start: label for start, (_, _, label) in STARTS.items()}
    for shots in tables.shots_order(of_starts["shots"]):
        gaps = _gaps(of_starts, shots, "scrapsim minus", labels)
        lines.append(f"- **{shots} shots, started from ScrapSim**: {gaps}")
    if of_starts.empty:
        lines.append("- What a start from ScrapSim is worth has not been measured.")
    return "On photographs of magnetic tiles, differences with 95 % intervals:\n\n" + "\n".join(
        lines
    )


def _gaps(table: pd.DataFrame, shots: str, column: str, labels: dict[str, str]) -> str:
    """The differences of a paired table at some shots as text: mIoU, or AP where there is none."""
    parts = []
    of_shots = table[table["shots"] == shots]
    for name, rows in of_shots.groupby(column, sort=False):
        of = rows.set_index("metric")
        metric = "miou" if "miou" in of.index else "ap"
        gap = of.loc[metric]
        text = f"{tables.METRIC_LABELS[metric]} {100 * gap['value']:+.1f} points"
        ends = f"{100 * gap['lo']:+.1f} to {100 * gap['hi']:+.1f}"
        parts.append(f"{text} ({ends}) against {labels.get(name, name)}")
    return "; ".join(parts)


def markdown(results_dir: Path | None) -> str:
    """The README's table of methods on Magnetic-Tile, per cent; empty without results."""
    if results_dir is None:
        return ""
    table = TABLES["tile_methods"](records.read_metrics(results_dir))
    names = ("ap", "f1_max", "miou_binary", "miou", "miou_impurity", "object_recall_1fa")
    heads = [tables.METRIC_LABELS[n].replace("impurity", "defect") for n in names]
    lines = [
        "On photographs of magnetic tiles with five kinds of defect "
        "([Huang et al.](https://github.com/abin24/Magnetic-tile-defect-datasets.)), by the same "
        f"protocol (notebook 06, [`results/{results_dir.name}`](results/{results_dir.name})):",
        "",
        "| method | " + " | ".join(heads) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for _, row in table.iterrows():
        best = [row[n] == table[n].max() for n in names]
        cells = [f"**{tables.percent(row[n])}**" if b else tables.percent(row[n])
                 for n, b in zip(names, best, strict=True)]  # fmt: skip
        lines.append("| " + " | ".join([row["label"], *cells]) + " |")
    return "\n".join(lines)
