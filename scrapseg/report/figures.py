"""Figures that the paper and more than one notebook share, in the style of `style`.

Each takes data frames and returns a figure. A picture that one notebook uses stands there.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from scrapseg.data.classes import CLASSES, ScrapClass
from scrapseg.experiments.methods import METHODS
from scrapseg.report.style import (
    COLUMN,
    FULL,
    SPARE_COLOURS,
    Figure,
    as_jpeg,  # noqa: F401
    class_colours,
    class_handles,
    faded,
    figure,
    heat,
    legend_below,
    method_style,
    overlay,
    panel,  # noqa: F401
    styled,
)
from scrapseg.report.tables import (
    METRIC_LABELS,
    main_runs,
    method_order,
    shots_order,
)

# ------------------------------------------------------------------------------------- the data


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


def method_rows(width: float, names: Sequence[str], panels: int) -> tuple[Figure, np.ndarray]:
    """A figure of `panels` axes beside each other with a row per method, the first on top."""
    fig = figure(width, 0.75 + 0.16 * len(names))
    row = fig.subplots(1, panels, sharey=True, squeeze=False)[0]
    for axes in row:
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    row[0].set_yticks(range(len(names)), [method_style(n)["label"] for n in names])
    row[0].invert_yaxis()
    return fig, row


@styled
def methods_dots(
    metrics_table: pd.DataFrame,
    metrics: Sequence[str] = ("ap", "miou_binary", "miou_impurity", "object_recall_1fa"),
    dataset: str = "scrapsim",
    shots: str = "all",
) -> Figure:
    """Many methods: a row each, a panel per metric, with the range of `fewshot_curve`.

    A method without a metric (it names no classes) has an empty place. Lines part the families.
    """
    tidy = main_runs(metrics_table, dataset)
    tidy = tidy[tidy["shots"] == str(shots)]
    names = method_order(tidy["method"])
    family = tidy.drop_duplicates("method").set_index("method")["family"]
    fig, panels = method_rows(FULL, names, len(metrics))
    for axes, metric in zip(panels, metrics, strict=True):
        for y, name in enumerate(names):
            mean, low, high, seeds = centre_and_range(tidy[tidy["method"] == name], metric)
            if seeds == 0 or not np.isfinite(mean):
                continue
            style = method_style(name)
            axes.plot([low, high], [y, y], color=style["color"], linewidth=1)
            axes.plot(mean, y, linestyle="none", **style)
            text, place = f"{mean:.2f}".lstrip("0"), (max(high, mean), y)
            beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate(text, place, fontsize=6, **beside)
        for y in range(1, len(names)):
            if family[names[y]] != family[names[y - 1]]:
                axes.axhline(y - 0.5, color="0.75", linewidth=0.5)
        axes.set_xlim(-0.03, 1.17)
        axes.set_xticks([0, 0.5, 1])
        axes.set_title(METRIC_LABELS.get(metric, metric).replace(" at ", "\nat "))
    fig.supxlabel("value (1 is best)", fontsize=8)
    return fig


@styled
def class_iou(
    metrics_table: pd.DataFrame,
    dataset: str = "scrapsim",
    shots: str = "all",
    classes: Sequence[ScrapClass] = CLASSES,
) -> Figure:
    """IoU per class, one marker per method, mean over seeds."""
    tidy = main_runs(metrics_table, dataset)
    tidy = tidy[(tidy["shots"] == str(shots)) & tidy["metric"].str.startswith("iou/")]
    fig = figure(FULL * 0.8, 2.6)
    axes = fig.subplots()
    names = method_order(tidy["method"])
    for k, name in enumerate(names):
        mean = tidy[tidy["method"] == name].groupby("metric")["value"].mean()
        values = [mean.get(f"iou/{c.slug}", np.nan) for c in classes]
        nudge = np.arange(len(classes)) + min(0.12, 0.8 / len(names)) * (k - (len(names) - 1) / 2)
        axes.plot(nudge, values, linestyle="none", **method_style(name))
    axes.set_xticks(range(len(classes)), [c.name.replace(" ", "\n") for c in classes])
    axes.set_ylim(0, 1)
    axes.set_ylabel("IoU")
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    legend_below(fig, axes.get_legend_handles_labels()[0])
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
def recall_by_size(
    metrics_table: pd.DataFrame, dataset: str = "scrapsim", shots: str = "all"
) -> Figure:
    """Object recall at one false alarm per image, by size of the object, mean over seeds."""
    tidy = main_runs(metrics_table, dataset)
    tidy = tidy[tidy["shots"] == str(shots)]
    sizes = ("small", "medium", "large")
    fig = figure(COLUMN, 2.4)
    axes = fig.subplots()
    names = method_order(tidy["method"])
    for k, name in enumerate(names):
        mean = tidy[tidy["method"] == name].groupby("metric")["value"].mean()
        values = [mean.get(f"object_recall_1fa/{s}", np.nan) for s in sizes]
        nudge = np.arange(3) + min(0.08, 0.5 / len(names)) * (k - (len(names) - 1) / 2)
        axes.plot(nudge, values, **method_style(name))
    axes.set_xticks(range(3), ["small", "medium", "large"])
    axes.set_xlabel("size of the object")
    axes.set_ylabel("object recall\nat 1 false alarm/image")
    axes.set_ylim(0, 1)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    legend_below(fig, axes.get_legend_handles_labels()[0], cols=2)
    return fig


def _heat_grid(
    axes: Axes, matrix: np.ndarray, rows: Sequence[str], cols: Sequence[str], digits: int, **limits
):
    """A matrix as coloured cells with their values written in, dark on light and light on dark."""
    drawn = axes.imshow(matrix, cmap="cividis", aspect="auto", **limits)
    axes.set_xticks(range(len(cols)), cols, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for (i, j), value in np.ndenumerate(matrix):
        if math.isfinite(value):
            r, g, b, _ = drawn.cmap(drawn.norm(value))
            ink = "black" if 0.3 * r + 0.59 * g + 0.11 * b > 0.5 else "white"
            axes.text(j, i, f"{value:.{digits}f}", ha="center", va="center", color=ink, fontsize=6)
    return drawn


@styled
def confusion_heatmap(matrix: np.ndarray, names: Sequence[str] | None = None) -> Figure:
    """Where the pixels of each class went, in per cent of the true class.

    Args:
        matrix: pixel counts (classes, classes), row = truth, column = prediction. A class without
            pixels gives an empty row.
        names: class names; those of `classes.py` by default.
    """
    matrix = np.asarray(matrix, float)
    names = list(names) if names is not None else [c.name for c in CLASSES]
    total = matrix.sum(axis=1, keepdims=True)
    share = np.divide(100 * matrix, total, out=np.full_like(matrix, np.nan), where=total > 0)
    fig = figure(FULL * 0.65, FULL * 0.55)
    axes = fig.subplots()
    drawn = _heat_grid(axes, share, names, names, 0, vmin=0, vmax=100)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    fig.colorbar(drawn, ax=axes, label="% of the true class's pixels", shrink=0.9)
    return fig


@styled
def text_similarity_heatmap(
    matrix: np.ndarray, names: Sequence[str], cols: Sequence[str] | None = None
) -> Figure:
    """Cosine similarities between text embeddings.

    Args:
        matrix: (rows, columns), values in -1..1.
        names: one name per row, and per column unless `cols` is given.
        cols: one name per column.
    """
    matrix = np.asarray(matrix, float)
    cols = list(names if cols is None else cols)
    fig = figure(min(FULL, 0.42 * len(cols) + 2.0), min(7.0, 0.27 * len(names) + 1.3))
    axes = fig.subplots()
    drawn = _heat_grid(axes, matrix, list(names), cols, 2)
    fig.colorbar(drawn, ax=axes, label="cosine similarity", shrink=0.9)
    return fig


@styled
def stage_weights(
    weights: Mapping[str, Sequence[float]] | Sequence[float], names: Sequence[str] | None = None
) -> Figure:
    """The learned weights of the encoder's stages (they sum to 1) against equal weights (dashed).

    Args:
        weights: weights of one model, or method slug -> weights.
        names: names of the stages; "stage 1" ... by default.
    """
    groups = weights if isinstance(weights, Mapping) else {"scrapseg": weights}
    count = len(next(iter(groups.values())))
    names = list(names) if names is not None else [f"stage {s + 1}" for s in range(count)]
    fig = figure(COLUMN, 2.0 + (0.3 if len(groups) > 1 else 0))
    axes = fig.subplots()
    width = 0.75 / len(groups)
    handles = []
    for k, (slug, values) in enumerate(groups.items()):
        style = method_style(slug)
        x = np.arange(count) + (k - (len(groups) - 1) / 2) * width
        handles.append(
            axes.bar(x, values, width * 0.95, color=style["color"], label=style["label"])
        )
        for at, value in zip(x, values, strict=True):
            axes.text(at, value + 0.01, f"{value:.2f}", ha="center", va="bottom", fontsize=6.5)
    axes.axhline(1 / count, color="0.3", linestyle="--", linewidth=0.8)
    axes.set_xticks(range(count), names)
    axes.set_ylabel("weight $w_s$")
    axes.set_ylim(0, max(0.6, 1.15 * max(max(v) for v in groups.values())))
    if len(groups) > 1:
        legend_below(fig, handles, cols=2)
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
    palette = [*(m.colour for m in METHODS.values() if m.colour), *SPARE_COLOURS]
    for axes, columns in ((left, losses), (right, quality)):
        for column, colour in zip(columns, palette, strict=False):
            rows = history[["step", column]].dropna()
            marker = "o" if len(rows) < 30 else None
            label = {"loss": "sum", "val": "validation", "image": "image level"}.get(column, column)
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


# ----------------------------------------------------------------------------------- the method


@styled
def method_figure(
    image: np.ndarray | None = None,
    label: np.ndarray | None = None,
    scores: np.ndarray | None = None,
) -> Figure:
    """The method as a diagram, at full width.

    Image encoder, read at four stages; each stage projected to the joint space of image and text
    and compared with the text embedding of every class; similarities summed with learned weights.

    Args:
        image: uint8 (H, W, 3), a real input shown at its place; a drawn stand-in by default.
        label: integers (H, W), the predicted classes.
        scores: floating (H, W) in 0..1, the anomaly score.
    """
    trained, frozen, line = "#CFE3F1", "#E4E4E4", "#333333"
    if image is None:
        image, label, scores = _stand_in()
    fig = Figure(figsize=(FULL, 3.05))
    axes = fig.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 14)
    axes.set_ylim(0, 6.1)
    axes.axis("off")

    def box(x, y, w, h, text, colour, size=7.0):
        axes.add_patch(
            FancyBboxPatch(
                (x, y),
                w,
                h,
                boxstyle="round,pad=0,rounding_size=0.08",
                facecolor=colour,
                edgecolor=line,
                lw=0.7,
            )
        )
        axes.text(
            x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=size, linespacing=1.2
        )

    def arrow(a, b, bend=0.0):
        style = f"arc3,rad={bend}"
        axes.add_patch(
            FancyArrowPatch(
                a,
                b,
                arrowstyle="-|>",
                mutation_scale=7,
                lw=0.8,
                color=line,
                connectionstyle=style,
                shrinkA=0,
                shrinkB=0,
            )
        )

    def picture(array, x, y, side, title, above=True):
        axes.imshow(
            array,
            extent=(x, x + side, y, y + side),
            aspect="auto",
            interpolation="bilinear",
            zorder=2,
        )
        axes.add_patch(Rectangle((x, y), side, side, fill=False, edgecolor=line, lw=0.7, zorder=3))
        at = y + side + 0.1 if above else y - 0.12
        axes.text(x + side / 2, at, title, ha="center", va="bottom" if above else "top", fontsize=7)

    heights = (4.82, 3.97, 3.12, 2.27)  # middle of each stage's row
    half = 0.29
    picture(image, 0.15, 3.9, 1.7, "image")
    arrow((1.85, heights[0]), (2.45, heights[0]))
    axes.text(3.4, 5.62, "image encoder", ha="center", va="center", fontsize=7)
    axes.text(5.78, 5.62, "pyramid,\nprojection", ha="center", va="center", fontsize=7)
    axes.text(7.6, 5.62, "cosine", ha="center", va="center", fontsize=7)
    axes.text(9.3, 5.62, "similarities", ha="center", va="center", fontsize=7)
    axes.add_patch(
        FancyBboxPatch(
            (7.15, heights[-1] - 0.42),
            0.9,
            heights[0] - heights[-1] + 0.84,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor="white",
            edgecolor=line,
            lw=0.7,
            linestyle="--",
        )
    )
    for s, (y, width) in enumerate(zip(heights, (1.9, 1.6, 1.3, 1.0), strict=True), start=1):
        box(3.4 - width / 2, y - half, width, 2 * half, f"stage {s}", trained)
        if s > 1:
            arrow((3.4, heights[s - 2] - half), (3.4, y + half))
        arrow((3.4 + width / 2, y), (5.3, y))
        axes.text(4.83, y + 0.1, f"$F_{s}$", ha="center", va="bottom", fontsize=7)
        box(5.3, y - half, 0.95, 2 * half, f"$P_{s}$", trained)
        if s > 1:
            arrow((5.775, y + half), (5.775, heights[s - 2] - half))
        arrow((6.25, y), (7.36, y))
        axes.add_patch(Circle((7.6, y), 0.24, facecolor="white", edgecolor=line, lw=0.7))
        axes.text(7.6, y, r"$\langle\,\cdot\,\rangle$", ha="center", va="center", fontsize=6.5)
        arrow((7.84, y), (8.9, y))
        _class_stack(axes, 8.95, y - 0.2, cell=0.4 - 0.05 * (s - 1))
        axes.text(9.86, y, f"$L_{s}$", ha="center", va="center", fontsize=7)
        arrow((10.1, y), (10.72, 3.545 + 0.1 * (2.5 - s)))
    axes.text(10.5, 4.62, "$w_1$", fontsize=7, ha="left", va="center")
    axes.text(10.5, 2.47, "$w_4$", fontsize=7, ha="left", va="center")
    axes.add_patch(Circle((11.0, 3.545), 0.3, facecolor=trained, edgecolor=line, lw=0.7))
    axes.text(11.0, 3.53, "$\\Sigma$", ha="center", va="center", fontsize=9)
    softmax = "softmax\n($\\,\\cdot\\,/\\tau$)"
    axes.text(11.05, 3.12, softmax, ha="center", va="top", fontsize=7)
    arrow((11.3, 3.6), (12.0, 4.4), 0.0)
    arrow((11.3, 3.49), (12.0, 2.7), 0.0)
    picture(overlay(faded(image), label, 0.75), 12.05, 3.75, 1.7, "class per pixel")
    picture(heat(scores), 12.05, 1.55, 1.7, "anomaly score", above=False)

    prompts = "\n".join(
        [
            "“steel in a pile of scrap metal”",
            "“a photo of electric motor”",
            "“a close-up of a piece of copper wire” …",
        ]
    )
    box(0.15, 0.3, 3.9, 1.15, prompts, "white", 6.6)
    axes.text(2.1, 1.53, "prompts, one set per class", ha="center", va="bottom", fontsize=7)
    arrow((4.05, 0.87), (4.75, 0.87))
    box(4.75, 0.45, 1.45, 0.85, "text tower\n(frozen)", frozen)
    arrow((6.2, 0.87), (6.68, 0.87))
    cell = 0.2
    for c, colour in enumerate(class_colours()):
        axes.add_patch(
            Rectangle(
                (6.7 + c * cell, 0.67), cell, 0.4, facecolor=colour, edgecolor="white", lw=0.4
            )
        )
    axes.text(7.6, 0.58, "class embeddings $t_c$", ha="center", va="top", fontsize=7)
    arrow((7.6, 1.07), (7.6, heights[-1] - 0.42))
    handles = [
        Patch(facecolor=trained, edgecolor=line, lw=0.7, label="trained"),
        Patch(facecolor=frozen, edgecolor=line, lw=0.7, label="frozen"),
    ]
    axes.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(0.995, 0.02), ncols=2, fontsize=7
    )
    return fig


def _class_stack(axes: Axes, x: float, y: float, cell: float) -> None:
    """A few offset squares in class colours: one similarity map per class, smaller by stage."""
    for k in range(4, -1, -1):
        at = (x + 0.09 * k, y + 0.05 * k)
        axes.add_patch(
            Rectangle(
                at,
                cell,
                cell,
                facecolor=class_colours()[k],
                edgecolor="white",
                lw=0.4,
                zorder=3 - 0.1 * k,
            )
        )


def _stand_in() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A drawn heap for the diagram where no real image is at hand: image, label, scores."""
    rng = np.random.default_rng(3)
    size = 96
    y, x = np.mgrid[:size, :size]
    image = np.full((size, size, 3), 118.0)
    label = np.zeros((size, size), int)
    for k in range(60):
        cx, cy, angle = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(0, math.pi)
        along = (x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)
        across = -(x - cx) * math.sin(angle) + (y - cy) * math.cos(angle)
        piece = (abs(along) < rng.uniform(6, 20)) & (abs(across) < rng.uniform(2, 7))
        image[piece] = rng.uniform(90, 190) + np.array([4, 0, -4]) * rng.uniform(0, 3)
        label[piece] = 0
        if k in (48, 53, 57):
            value = {48: 1, 53: 4, 57: 3}[k]
            image[piece] = (
                np.array(to_rgb("#8a5a3c")) * 255 if value == 3 else class_colours()[value] * 200
            )
            label[piece] = value
    scores = np.where(label > 0, 0.92, 0.06) + rng.normal(0, 0.03, label.shape)
    return image.clip(0, 255).astype(np.uint8), label, scores.clip(0, 1)


# ------------------------------------------------------------------ for notebooks 01 and 02


@styled
def word_map(points: np.ndarray, words: Sequence[str], classes: Sequence[int]) -> Figure:
    """Words as dots in two dimensions, in the colours of their classes, with their names.

    Args:
        points: float (words, 2).
        words: name of each dot.
        classes: label value of each dot's class.
    """
    fig = figure(FULL, 4.4)
    axes = fig.subplots()
    colours = class_colours()
    for (x, y), word, value in zip(points, words, classes, strict=True):
        axes.plot(x, y, "o", color=colours[value], markeredgecolor="0.2", markeredgewidth=0.4)
        axes.annotate(
            word,
            (x, y),
            xytext=(3, 2),
            textcoords="offset points",
            fontsize=5.5,
            color=colours[value] * 0.6,
        )
    axes.set_xlabel("first principal component")
    axes.set_ylabel("second principal component")
    legend_below(fig, class_handles(classes, with_steel=True), cols=9)
    return fig


@styled
def prompt_scores(table: pd.DataFrame, single: Mapping[str, Sequence[float]]) -> Figure:
    """Prompt sets side by side: how alike their class vectors are, and what they find untrained.

    Args:
        table: columns template, cosine (mean between two classes), ap (all words of a class
            averaged), ap_unaligned (the same vectors, towers that never met; may be nan) and
            prior (the share of impurity pixels).
        single: template -> APs of prompt sets with one word per class; may lack templates.
    """
    fig = figure(FULL, 0.19 * len(table) + 0.85)
    left, right = fig.subplots(1, 2, sharey=True)
    names = table["template"].tolist()
    left.barh(names, table["cosine"], color="#56B4E9", edgecolor="0.3", linewidth=0.4)
    for y, value in enumerate(table["cosine"]):
        left.text(max(value, 0) + 0.01, y, f"{value:.2f}", va="center", fontsize=6.5)
    left.set_xlim(min(0, table["cosine"].min() * 1.2), 1)
    left.set_xlabel("mean cosine between two classes")
    alone = [(ap, y) for y, name in enumerate(names) for ap in single.get(name, ())]
    if alone:
        right.plot(*zip(*alone), "|", color="0.45", markersize=6, label="one word per class")
    right.plot(table["ap"], range(len(names)), "o", color="#0072B2", label="all words, aligned")
    style = {"color": "#D55E00", "markersize": 4.5, "markeredgewidth": 1}
    right.plot(table["ap_unaligned"], range(len(names)), "x", label="all words, unaligned", **style)
    prior = float(table["prior"].iloc[0])
    right.axvline(prior, color="0.3", linestyle="--", linewidth=0.8, label="share of impurities")
    right.set_xlim(left=0)
    right.set_xlabel("zero-shot pixel AP on val")
    left.invert_yaxis()
    legend_below(fig, right.get_legend_handles_labels()[0], cols=4)
    return fig


@styled
def word_lifts(table: pd.DataFrame) -> Figure:
    """What each single word of a class finds, against all its words averaged.

    Args:
        table: columns class (slug), word and lift (the class's AP over its share of pixels, above
            0); in rows whose word is empty, the lift of all words averaged.
    """
    known = [c for c in CLASSES if c.slug in set(table["class"])]
    fig = figure(FULL, 0.3 * len(known) + 0.85)
    axes = fig.subplots()
    for y, c in enumerate(known):
        rows = table[table["class"] == c.slug]
        words = rows[rows["word"] != ""].sort_values("lift")
        mean = rows.loc[rows["word"] == "", "lift"]
        colour = np.array(c.colour) / 255
        axes.plot(words["lift"], [y] * len(words), "o", color=colour, mec="0.2", mew=0.4)
        axes.plot(mean, [y] * len(mean), "|", color="black", markersize=13, markeredgewidth=1.6)
        for end, side, gap in ((words.iloc[0], "right", -6), (words.iloc[-1], "left", 6)):
            at = {"xytext": (gap, 0), "textcoords": "offset points", "va": "center", "ha": side}
            axes.annotate(end["word"], (end["lift"], y), fontsize=6, **at)
    axes.axvline(1, color="0.3", linestyle="--", linewidth=0.8)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / (high / low) ** 0.32, high * (high / low) ** 0.16)  # room for the words
    axes.set_yticks(range(len(known)), [c.name for c in known])
    axes.invert_yaxis()
    axes.set_xlabel("AP of the class / its share of pixels (dashed: a random score)")
    legend_below(
        fig,
        [
            Line2D([], [], ls="", marker="o", color="0.7", mec="0.2", label="one word"),
            Line2D([], [], ls="", marker="|", color="black", ms=9, label="all words averaged"),
        ],
    )
    return fig


@styled
def context_scores(table: pd.DataFrame, hand_written: Mapping[str, float], label: str) -> Figure:
    """What labels add to prompts: learned class vectors by the number of labelled scenes.

    Args:
        table: columns learned (name), shots, seed and value.
        hand_written: name -> value of prompts that no label touched, drawn as lines.
        label: what the value is.
    """
    fig = figure(COLUMN, 2.5)
    axes = fig.subplots()
    shots = sorted(table["shots"].unique())
    styles = [("o", "#0072B2"), ("s", "#D55E00"), ("^", "#009E73")]
    for k, (name, rows) in enumerate(table.groupby("learned", sort=False)):
        marker, colour = styles[k % len(styles)]
        at = rows["shots"].map({s: i for i, s in enumerate(shots)}) + 0.12 * (k - 0.5)
        axes.plot(at, rows["value"], marker, color=colour, alpha=0.4, mew=0)
        means = rows.groupby("shots")["value"].mean()
        x = [shots.index(s) + 0.12 * (k - 0.5) for s in means.index]
        axes.plot(x, means, marker, color=colour, ls="-", mec="black", mew=0.5, label=name)
    for (name, value), line in zip(hand_written.items(), ("--", ":", "-."), strict=False):
        axes.axhline(value, color="0.3", linestyle=line, linewidth=0.9, label=name)
    axes.set_xticks(range(len(shots)), [str(s) for s in shots])
    axes.set_xlim(-0.5, len(shots) - 0.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("labelled scenes per class")
    axes.set_ylabel(label)
    legend_below(fig, axes.get_legend_handles_labels()[0], cols=2)
    return fig


@styled
def wording_dots(tables: Mapping[str, pd.DataFrame], prior: float) -> Figure:
    """The same prompt sets before and after training: what is left to the choice of words.

    Args:
        tables: the untrained and the trained model, by name -> columns prompts, ap and
            miou_impurity, the same prompt sets in the same order. A line marks what the trained
            one reaches with the first.
        prior: the share of impurity pixels, a random score's AP.
    """
    names = next(iter(tables.values()))["prompts"].tolist()
    fig = figure(FULL, 0.17 * len(names) + 0.85)
    panels = fig.subplots(1, 2, sharey=True)
    styles = (("D", "0.55"), ("o", METHODS["scrapseg"].colour))
    for axes, metric in zip(panels, ("ap", "miou_impurity"), strict=True):
        for (state, table), (marker, colour) in zip(tables.items(), styles, strict=True):
            axes.plot(table[metric], range(len(names)), marker, color=colour, label=state)
        axes.axvline(table[metric].iloc[0], color=colour, linewidth=0.8, alpha=0.6, zorder=0)
        axes.set_xlabel(f"{METRIC_LABELS[metric]} on val")
        axes.set_xlim(left=0)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    panels[0].axvline(prior, color="0.3", ls="--", linewidth=0.8, label="share of impurities")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    legend_below(fig, panels[0].get_legend_handles_labels()[0], cols=3)
    return fig
