"""Figures that the paper and more than one notebook share, in the style of `style`.

Each takes data frames and returns a figure. A picture that one notebook uses stands there.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from scrapseg.experiments.methods import METHODS
from scrapseg.report.style import (
    COLUMN,
    FULL,
    SPARE_COLOURS,
    Figure,
    figure,
    legend_below,
    method_style,
    styled,
)
from scrapseg.report.tables import (
    METRIC_LABELS,
    main_runs,
    method_order,
    shots_order,
)

# -------------------------------------------------------------------------------------- results


def centre_and_range(rows: pd.DataFrame, metric: str) -> tuple[float, float, float, int]:
    """Mean over seeds, lower and upper bound, and the number of seeds.

    Bounds are the smallest and largest seed where there are several, the bootstrap interval
    (`<metric>_lo`, `<metric>_hi`) where there is one, and the mean itself where there is neither.
    """
    values = rows.loc[rows["metric"] == metric, "value"]
    if len(values) == 0:
        return (math.nan, math.nan, math.nan, 0)
    if len(values) > 1:
        return (values.mean(), values.min(), values.max(), len(values))
    value = float(values.iloc[0])
    low = rows.loc[rows["metric"] == f"{metric}_lo", "value"]
    high = rows.loc[rows["metric"] == f"{metric}_hi", "value"]
    return (
        value,
        float(low.iloc[0]) if len(low) else value,
        float(high.iloc[0]) if len(high) else value,
        1,
    )


@styled
def fewshot_curve(
    metrics_table: pd.DataFrame,
    metrics: Sequence[str] = ("ap", "miou_impurity"),
    dataset: str = "scrapsim",
    methods: Sequence[str] | None = None,
    shot: str = "labelled scenes per impurity class",
    bands: pd.DataFrame | None = None,
) -> Figure:
    """Quality against labelled scenes per impurity class: a line per method, a panel per metric.

    Several seeds: mean with the 95 % band of `bands`, without these from the worst to the best
    seed. One seed: error bars are the bootstrap 95 % interval over scenes. A method that was run at
    shots=all only is a dashed level.

    Args:
        metrics_table: `metrics.csv`.
        metrics: metric names, one panel each.
        dataset: rows of this dataset.
        methods: slugs to draw; all by default.
        shot: what is counted along the axis.
        bands: `tables.fewshot_bands` of the same runs.
    """
    tidy = main_runs(metrics_table, dataset)
    known = {} if bands is None else bands.groupby(["method", "shots", "metric"]).first()
    known = {key: (row.lo, row.hi) for key, row in known.iterrows()} if len(known) else {}
    shots = shots_order(tidy["shots"])
    wide = len(metrics) > 1
    fig = figure(FULL * 0.8 if wide else COLUMN, 2.5)
    fig.get_layout_engine().set(wspace=0.08)
    grid = fig.subplots(1, len(metrics), squeeze=False)[0]
    handles = {}
    for axes, metric in zip(grid, metrics, strict=True):
        names = method_order(tidy.loc[tidy["metric"] == metric, "method"])
        names = [n for n in names if methods is None or n in methods]
        highest = 0.0
        for k, name in enumerate(names):
            rows = tidy[tidy["method"] == name]
            points = [
                (x, *centre_and_range(rows[rows["shots"] == s], metric))
                for x, s in enumerate(shots)
            ]
            points = [p for p in points if p[4] > 0]
            points = [
                (x, mean, *known.get((name, shots[x], metric), (low, high)), seeds)
                for x, mean, low, high, seeds in points
            ]
            x, mean, low, high, seeds = (np.array(v, float) for v in zip(*points, strict=True))
            highest = max(highest, np.nanmax(high, initial=0))
            style = method_style(name)
            if len(points) == 1 and shots[int(x[0])] == "all" and len(shots) > 1:
                (line,) = axes.plot(
                    [0, len(shots) - 1], [mean[0]] * 2, "--", color=style["color"], lw=1
                )
                line.set_label(style["label"])
                handles.setdefault(name, line)
                continue
            nudge = x + 0.06 * (
                k - (len(names) - 1) / 2
            )  # so that error bars do not hide each other
            several = seeds > 1
            (line,) = axes.plot(nudge, mean, **style)
            handles.setdefault(name, line)
            if several.any():
                axes.fill_between(
                    nudge, low, high, where=several, color=style["color"], alpha=0.18, linewidth=0
                )
            one = ~several & (high > low)
            if one.any():
                bars = np.maximum([mean[one] - low[one], high[one] - mean[one]], 0)
                axes.errorbar(
                    nudge[one],
                    mean[one],
                    yerr=bars,
                    fmt="none",
                    ecolor=style["color"],
                    lw=0.8,
                    capsize=2,
                )
        axes.set_xticks(range(len(shots)), shots)
        axes.set_xlabel(shot)
        axes.set_ylabel(METRIC_LABELS.get(metric, metric))
        axes.set_ylim(0, min(1, 1.1 * highest) or 1)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    legend_below(fig, list(handles.values()), cols=None if wide else 2)
    return fig


@styled
def ablation_dots(table: pd.DataFrame, metric: str = "miou_impurity") -> Figure:
    """What each single change does to ours on val: a dot per change, in points, grouped.

    A line spans the seeds from worst to best where there are several.

    Args:
        table: see `tables.ablation`.
        metric: ap or miou_impurity.
    """
    rows = table[table["group"] != ""].reset_index(drop=True)
    starts = rows["group"].ne(rows["group"].shift())
    y = np.arange(len(rows)) + 0.6 * (starts.cumsum() - 1)
    fig = figure(COLUMN, 0.7 + 0.17 * (len(rows) + 0.6 * starts.sum()))
    axes = fig.subplots()
    colour = METHODS["scrapseg"].colour
    axes.axvline(0, color="0.4", linewidth=0.8)
    gap = {end: 100 * rows[f"{metric}_diff{end}"] for end in ("", "_lo", "_hi")}
    axes.hlines(y, gap["_lo"], gap["_hi"], color=colour, linewidth=1)
    axes.plot(gap[""], y, "o", color=colour, markersize=4)
    axes.set_yticks(y, rows["label"])
    for _, group in rows.groupby("group", sort=False):
        axes.annotate(
            group["group"].iloc[0],
            (1.0, y[group.index[0]]),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            style="italic",
            color="0.35",
        )
    axes.invert_yaxis()
    name = METRIC_LABELS[metric]
    axes.set_xlabel(f"change of {name} on val, points")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    return fig


@styled
def training_curves(history: pd.DataFrame) -> Figure:
    """A training run: losses on the left, validation metrics on the right.

    Args:
        history: what `train.fit` returns, one row per logged step with columns step, loss (the
            sum), its parts focal, dice and image, and val; empty cells are skipped.
    """
    losses = [c for c in history if c in ("loss", "focal", "dice", "image")]
    quality = [c for c in history if c.startswith("val")]
    fig = figure(FULL * 0.8, 2.3)
    left, right = fig.subplots(1, 2)
    names = {"loss": "sum", "focal": "cross-entropy", "image": "image level", "val": "validation"}
    palette = [*(m.colour for m in METHODS.values() if m.colour), *SPARE_COLOURS]
    for axes, columns in ((left, losses), (right, quality)):
        for column, colour in zip(columns, palette, strict=False):
            rows = history[["step", column]].dropna()
            marker = "o" if len(rows) < 30 else None
            label = names.get(column, column)
            axes.plot(
                rows["step"], rows[column], color=colour, marker=marker, markersize=3, label=label
            )
        axes.set_xlabel("training step")
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        if columns:
            axes.legend(loc="best")
    left.set_ylabel("loss")
    left.set_ylim(bottom=0)
    right.set_ylabel("validation quality")
    right.set_ylim(0, 1)
    return fig
