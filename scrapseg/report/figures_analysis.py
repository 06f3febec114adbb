"""The pictures of notebook 05 beyond the bars, from tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from scrapseg.metrics import mass
from scrapseg.report import tables
from scrapseg.report.figures import method_rows
from scrapseg.report.style import COLUMN, FULL, Figure, figure, legend_below, method_style, styled
from scrapseg.report.tables import METRIC_LABELS, method_order


@styled
def differences(paired: pd.DataFrame, metrics: Sequence[str] = ("ap", "miou_binary")) -> Figure:
    """Ours minus each method in points, with 95 % intervals; hollow where p (Holm) is over 0.05.

    Args:
        paired: from `tables.paired`.
    """
    names = method_order(paired["scrapseg minus"])
    fig, panels = method_rows(FULL * 0.8, names, len(metrics))
    for axes, metric in zip(panels, metrics, strict=True):
        axes.axvline(0, color="0.4", linewidth=0.8)
        for y, name in enumerate(names):
            found = paired[(paired["scrapseg minus"] == name) & (paired["metric"] == metric)]
            if found.empty:
                continue
            row, colour = found.iloc[0], method_style(name)["color"]
            axes.plot([100 * row["lo"], 100 * row["hi"]], [y, y], color=colour, linewidth=1)
            fill = colour if row["p_holm"] < 0.05 else "white"
            axes.plot(100 * row["value"], y, "o", color=colour, markerfacecolor=fill)
        axes.set_title(METRIC_LABELS[metric])
    fig.supxlabel("ours minus the other, points", fontsize=8)
    return fig


@styled
def reliability(by_method: Mapping[str, pd.DataFrame], errors: Mapping[str, float]) -> Figure:
    """Reliability diagram: how often a pixel with a given probability is an impurity.

    Args:
        by_method: method -> `failures.reliability`.
        errors: method -> calibration error, for the legend.
    """
    fig = figure(COLUMN, 3.4)
    axes = fig.subplots()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":")
    for name in method_order(by_method):
        rows = by_method[name][by_method[name]["pixels"] >= 100]  # fewer say little
        style = method_style(name)
        style["label"] += f" ({100 * errors[name]:.1f} %)"
        axes.plot(rows["probability"], rows["frequency"], **style)
    axes.set_xlabel("probability of an impurity, as predicted")
    axes.set_ylabel("share of such pixels\nthat are one")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.grid()
    legend_below(fig, axes.get_legend_handles_labels()[0], cols=2)
    return fig


@styled
def recall_curves(
    by_method: Mapping[str, pd.DataFrame], label: str, per_cent: bool = False
) -> Figure:
    """Object recall over bins of a number, a line a method, Wilson's 95 % interval as bars.

    Args:
        by_method: method -> `failures.recall_by`, all with the same bins.
        label: of the axis, with its unit.
        per_cent: write the bins' edges in per cent.
    """
    fig = figure(COLUMN, 2.7)
    axes = fig.subplots()
    names = method_order(by_method)
    for k, name in enumerate(names):
        rows = by_method[name]
        x = np.arange(len(rows)) + 0.06 * (k - (len(names) - 1) / 2)
        style = method_style(name)
        axes.plot(x, rows["recall"], **style)
        axes.vlines(x, rows["lo"], rows["hi"], color=style["color"], linewidth=0.7)
    rows = by_method[names[0]]
    scale = 100 if per_cent else 1
    ticks = [
        f"over {scale * low:g}" if np.isinf(high) else f"{scale * low:g}–{scale * high:g}"
        for low, high in zip(rows["from"], rows["to"], strict=True)
    ]
    ticks = [f"{t}\n({n})" for t, n in zip(ticks, rows["objects"], strict=True)]
    axes.set_xticks(range(len(rows)), ticks)
    axes.set_xlabel(f"{label} (number of objects)")
    axes.set_ylabel("object recall\nat 1 false alarm/image")
    axes.set_ylim(0, 1)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    legend_below(fig, axes.get_legend_handles_labels()[0], cols=2)
    return fig


@styled
def mass_scatter(estimates: pd.DataFrame) -> Figure:
    """Estimated against true share of each material, a dot a picture.

    Args:
        estimates: from `mass.estimates`.
    """
    names = list(dict.fromkeys(estimates["material"]))
    fig = figure(FULL, 2.7)
    for axes, name in zip(fig.subplots(1, len(names)), names, strict=True):
        rows = estimates[estimates["material"] == name]
        top = 105 * max(rows["truth"].max(), rows["estimate"].max(), 1e-4)
        axes.plot([0, top], [0, top], color="0.6", linewidth=0.8, linestyle=":")
        axes.plot(
            100 * rows["truth"],
            100 * rows["estimate"],
            "o",
            color=method_style("scrapseg")["color"],
            markersize=2.5,
            alpha=0.5,
            markeredgewidth=0,
        )
        axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
        axes.locator_params(nbins=4)
        axes.set_title(name)
        axes.set_xlabel("true, % of visible mass")
        axes.grid()
    fig.axes[0].set_ylabel("estimated, %")
    return fig


@styled
def heat_lines(recalls: Mapping[str, float], most: float = 0.015) -> Figure:
    """Copper left in a heat against copper in the scrap, a line a method, and E40's limit.

    Args:
        recalls: method -> share of the copper found, by mass.
        most: largest share of copper before sorting that is drawn.
    """
    fig = figure(COLUMN, 2.9)
    axes = fig.subplots()
    share = np.linspace(0, most, 50)
    axes.plot(100 * share, mass.heat(share, 0), color="0.6", linestyle=":", label="no sorting")
    for name in method_order(recalls):
        style = method_style(name) | {"markevery": 12}
        style["label"] += f" ({100 * recalls[name]:.0f} %)"
        axes.plot(100 * share, mass.heat(share, recalls[name]), **style)
    limit = mass.COPPER_LIMIT * mass.HEAT_T * 1000
    axes.axhline(limit, color="black", linewidth=0.8, linestyle="--")
    axes.annotate("limit of E40", (0, limit), xytext=(2, 2), textcoords="offset points", fontsize=7)
    axes.set_xlabel("copper in the scrap before sorting, % of mass")
    axes.set_ylabel(f"copper in a heat of {mass.HEAT_T:.0f} t, kg")
    axes.set(xlim=(0, 100 * most), ylim=(0, None))
    axes.grid()
    legend_below(fig, axes.get_legend_handles_labels()[0], cols=2)
    return fig


@styled
def label_cost(table: pd.DataFrame, metric: str = "ap") -> Figure:
    """Quality against minutes of annotation, a line a method.

    Args:
        table: from `tables.label_cost`.
    """
    names = method_order(table["method"])
    fig = figure(COLUMN, 2.1 + 0.085 * len(names))
    axes = fig.subplots()
    for name in names:
        rows = table[table["method"] == name].sort_values("minutes")
        axes.plot(rows["minutes"], rows[metric], **method_style(name))
    axes.set_xscale("log")
    ticks = sorted(set(table["minutes"]))
    axes.set_xticks(ticks, [f"{t:.2g}" if t < 10 else f"{t:.0f}" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("minutes of annotation")
    axes.set_ylabel(tables.METRIC_LABELS[metric])
    axes.set_ylim(0, 1)
    axes.grid()
    legend_below(fig, axes.get_legend_handles_labels()[0], cols=2)
    return fig
