"""Figures that the paper and more than one notebook share, in the style of `style`.

Each takes data frames and returns a figure. A picture that one notebook uses stands there.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from scrapseg.experiments.methods import METHODS
from scrapseg.report import style
from scrapseg.report.tables import METRIC_LABELS, OURS, RIVAL, method_order, shots_order

#: So that lines are told apart without their colours, too.
LINES = ("-", (0, (5, 1)), "--", "-.", ":")


#: What quality is drawn along, and the axis' label.
ALONG = {"shots": "labelled scenes per class", "steps": "training steps"}
#: Whose bands are drawn where there are more lines than two, so that bands can be told apart.
BANDED = (OURS, RIVAL)


@style.styled
def quality_curve(
    bands: pd.DataFrame, methods: Sequence[str] | None = None, along: str = "shots"
) -> style.Figure:
    """AP and impurity mIoU against labels, or steps: a line per method.

    Several seeds: the mean with its 95 % band over seeds and scenes; where there are more methods
    than two, those that are not `BANDED` have bars. One seed: bars are the interval over scenes.

    Args:
        bands: `scene_tables.fewshot_bands` or `long_bands`; where it has a column images, how many
            have labels is told below each place.
        methods: slugs to draw; all by default. along: a column of `ALONG`.
    """
    places = shots_order(bands[along])
    count = bands.groupby(along)["images"].mean() if "images" in bands else {}
    ticks = [f"{place}\n({count[place]:.0f})" if place in count else place for place in places]
    fig = style.figure(style.FULL * 0.62, 2.2)
    fig.get_layout_engine().set(wspace=0.08)
    handles = {}
    for axes, metric in zip(fig.subplots(1, 2), ("ap", "miou_impurity")):
        rows = bands[bands["metric"] == metric]
        names = [n for n in method_order(rows["method"]) if methods is None or n in methods]
        for k, name in enumerate(names):
            points = rows[rows["method"] == name].set_index(along)
            points = points.reindex([p for p in places if p in points.index])
            mean, low, high = (points[c].to_numpy() for c in ("value", "lo", "hi"))
            look = style.method_style(name) | {"linestyle": LINES[k % len(LINES)]}
            hue = look["color"]
            # Beside each other, so that error bars do not hide each other.
            shift = 0.06 * (k - (len(names) - 1) / 2)
            x = np.array([places.index(p) for p in points.index]) + shift
            handles.setdefault(name, axes.plot(x, mean, **look)[0])
            # A band needs two neighbours with several seeds; what has none gets a bar as well.
            several = (points["seeds"] > 1).to_numpy()
            one = ~several | (np.convolve(several, [1, 1, 1])[1:-1] < 2)
            if len(names) > len(BANDED) and name not in BANDED:
                one = np.ones_like(several)
            else:
                axes.fill_between(x, low, high, where=several, color=hue, alpha=0.18, linewidth=0)
            bars = np.maximum([mean[one] - low[one], high[one] - mean[one]], 0)
            axes.errorbar(x[one], mean[one], bars, fmt="none", ecolor=hue, lw=0.8, capsize=2)
        axes.set_xticks(range(len(places)), ticks)
        top = min(1, 1.1 * rows.loc[rows["method"].isin(names), "hi"].max()) or 1
        axes.set(xlabel=ALONG[along], ylabel=METRIC_LABELS[metric], ylim=(0, top))
        axes.grid(axis="y")
    style.legend_below(fig, list(handles.values()), cols=min(3, len(handles)))
    return fig


@style.styled
def ablation_dots(table: pd.DataFrame) -> style.Figure:
    """What each single change does to impurity mIoU on val: a dot per change, in points, grouped.

    A line spans the seeds from worst to best where there are several.

    Args:
        table: see `tables.ablation`.
    """
    rows = table[table["group"] != ""].reset_index(drop=True)
    starts = rows["group"].ne(rows["group"].shift())
    y = np.arange(len(rows)) + 0.6 * (starts.cumsum() - 1)
    fig = style.figure(style.COLUMN, 0.7 + 0.17 * (len(rows) + 0.6 * starts.sum()))
    axes = fig.subplots()
    colour = METHODS["scrapseg"].colour
    axes.axvline(0, color="0.4", linewidth=0.8)
    gap = {end: 100 * rows[f"miou_impurity_diff{end}"] for end in ("", "_lo", "_hi")}
    axes.hlines(y, gap["_lo"], gap["_hi"], color=colour, linewidth=1)
    axes.plot(gap[""], y, "o", color=colour, markersize=4)
    axes.set_yticks(y, rows["label"])
    for _, group in rows.groupby("group", sort=False):
        beside = offset_copy(axes.get_yaxis_transform(), fig, x=3, units="points")
        words = {"va": "center", "style": "italic", "color": "0.35"}
        axes.text(1.0, y[group.index[0]], group["group"].iloc[0], transform=beside, **words)
    axes.invert_yaxis()
    axes.set_xlabel("change of impurity mIoU on val, points")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.grid(axis="x")
    return fig


@style.styled
def training_curves(history: pd.DataFrame) -> style.Figure:
    """A training run: losses on the left, validation metrics on the right.

    Args:
        history: what `train.fit` returns, one row per logged step with columns step, loss (the
            sum), its parts focal, dice and image, and val; empty cells are skipped.
    """
    losses = [c for c in history if c in ("loss", "focal", "dice", "image")]
    fig = style.figure(style.FULL * 0.8, 2.3)
    left, right = fig.subplots(1, 2)
    names = {"loss": "sum", "focal": "cross-entropy", "image": "image level"}
    # Each once: two methods that never meet may share one.
    palette = dict.fromkeys(m.colour for m in METHODS.values() if m.colour)
    for axes, columns in ((left, losses), (right, ["val"])):
        for column, colour in zip(columns, palette, strict=False):
            rows = history[["step", column]].dropna()
            look = {"marker": "o" if len(rows) < 30 else None, "markersize": 3, "color": colour}
            axes.plot(rows["step"], rows[column], label=names.get(column, column), **look)
        axes.set_xlabel("training step")
        axes.grid(axis="y")
    left.legend(loc="upper right", ncols=2)
    # The legend above the curves.
    left.set(ylabel="loss", ylim=(0, 1.35 * np.nanmax(history[losses].to_numpy())))
    right.set(ylabel="validation quality", ylim=(0, 1))
    return fig
