# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 · Does it hold on photographs?
#
# **Question.** Does what works on rendered scrap work on photographs? And what is rendered data worth
# there: does a model that has seen ScrapSim learn a new material from fewer photographs?
#
# The photographs are Magnetic-Tile (Huang et al. 2018), magnetic tiles with five kinds of surface defect:
# no scrap, but real metal under a real camera, public, and with a mask for every defect. The outputs shown
# here are those of the run `notebooks/profiles/real.yaml` (`make reproduce PROFILE=real`). Run as it stands, the
# notebook trains nothing and shows the committed results.

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"  # not read here; every notebook has it
batch_size = 4
crop = 128  # side of the training crops in pixels
tile_methods = []  # of scrapseg/experiments/methods.yaml; none: show what is committed
tile_shots = [1]  # labelled photographs per defect, beside all
tile_seeds = [0]
tile_steps = 4  # optimiser steps with all photographs
tile_few_steps = 3  # with few
tile_limit = None  # photographs per split; None for all
start_shots = ["all"]  # at which ours is started from ImageNet, from words and from ScrapSim

# %%
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Image, Markdown, display

from making.tiles.drawn import draw_tiles, load_drawn
from scrapseg.data import fetch
from scrapseg.data.magnetic_tile import CLASSES
from scrapseg.data.shots import few_shot_ids
from scrapseg.experiments.methods import METHODS
from scrapseg.experiments.records import collect, read_metrics, save_figure
from scrapseg.experiments.run import load_maps, run_all
from scrapseg.experiments.splits import label_stack, load_splits
from scrapseg.experiments.studies import plan
from scrapseg.report import figures, scene_tables, style, tables

TILES = tables.TILES
matplotlib.rcParams.update(style.STYLE | {"axes.axisbelow": True})

# %% [markdown]
# ## The photographs
#
# They are looked for in the folder that the environment variable `SCRAPSEG_DATA` names, then in the
# user's cache. Where they are not, the pictures below show a small set drawn in the same layout, to see
# that the loader works; **nothing is measured on it**.

# %%
here = fetch.found(TILES)
if here or tile_methods:
    splits = load_splits(TILES, tile_limit, data_dir)  # says how to get them where they are not
else:
    splits = load_drawn(draw_tiles(Path(results_dir) / "cache/drawn-tiles"))
Markdown(
    "**Photographs of Magnetic-Tile.**"
    if here
    else "**A drawn stand-in.** To get the photographs (60 MB): `python -m scrapseg fetch "
    "magnetic-tile`, or set `SCRAPSEG_DATA` to the folder that holds `magnetic-tile/`."
)

# %%
rows = []
for part in (splits.train, splits.val, splits.test):
    kinds = pd.Series([part.meta[i]["folder"].removeprefix("MT_") for i in part.ids])
    row = {"split": part.split, "photographs": len(part)}
    row["tiles"] = len({part.meta[i]["scene"] for i in part.ids})
    rows.append(row | kinds.value_counts().sort_index().to_dict())
pd.DataFrame(rows).set_index("split")

# %% [markdown]
# A tile was photographed several times. All photographs of one tile are in one split (otherwise a
# method would be tested on tiles that it has learned), and intervals are drawn over tiles.
# Below, one photograph per defect with its mask, the one where the defect covers most:

# %%
labels = label_stack(splits.test)
cover = np.stack([(labels == c.index).mean((1, 2)) for c in CLASSES])
chosen = list(dict.fromkeys(int(i) for i in cover[1:].argmax(1)))
images = [splits.test[i].image for i in chosen]
figure = style.panel(images, {"truth": [labels[i] for i in chosen]}, classes=CLASSES)
if tile_methods:
    save_figure(figure, results_dir, "tile_examples")
figure

# %% [markdown]
# ## The runs
#
# The protocol is that of ScrapSim: the same loop, loss, augmentation and learning rates (chosen on
# ScrapSim's val split, not on these photographs), the same images for every method, at 256 × 256 pixels;
# weights and thresholds chosen on val, test looked at once per run. A *shot* is one labelled photograph
# per defect, with photographs of sound tiles at the rate of the whole set. In the metrics' names an
# *impurity* is a defect.

# %%
source = Path(results_dir) if tile_methods else Path("../results/real")
if tile_methods:
    records = run_all(plan("tiles", globals()), results_dir, data_dir)
    collect(results_dir)
    scene_tables.build_all(results_dir)
frame = read_metrics(source) if tables.has_tiles(source) else None
if frame is None:
    display(
        Markdown("**No results on photographs yet**: `make reproduce PROFILE=real` makes them.")
    )

# %% [markdown]
# ## The methods, with all labels

# %%
if frame is not None:
    overview = tables.TABLES["tile_methods"](frame)
    names = frame[frame["dataset"] == TILES]["run"].unique()
    display(overview.drop(columns="family").round(3))

# %%
if frame is not None:
    measures = ["ap", "miou_binary", "miou_impurity", "object_recall_1fa"]
    ends = [f"{name}{end}" for name in measures for end in ("", "_lo", "_hi")]
    table = tables.mean_over_seeds(frame, ends, dataset=TILES)
    looks = [style.method_style(m) for m in table["method"]]
    dots = {"hue": "label", "palette": [k["color"] for k in looks], "legend": False}
    dots |= {"markers": [k["marker"] for k in looks], "linestyles": "none", "markersize": 4}
    figure = style.figure(style.FULL, 0.75 + 0.16 * len(table))
    for axes, name in zip(figure.subplots(1, 4, sharey=True), measures, strict=True):
        sns.pointplot(table, x=name, y="label", errorbar=None, ax=axes, **dots)
        low, high = table[f"{name}_lo"], table[f"{name}_hi"]
        axes.hlines(range(len(table)), low, high, colors=dots["palette"], lw=1)
        title = tables.METRIC_LABELS[name].replace("impurity", "defect").replace(" at ", "\nat ")
        axes.set(title=title, xlim=(0, 1), xlabel="", ylabel="", ylim=(len(table) - 0.5, -0.5))
        axes.grid(axis="x")
    figure.supxlabel("value (1 is best)", fontsize=8)
    if tile_methods:
        save_figure(figure, results_dir, "tile_methods", names)
    display(figure)

# %% [markdown]
# Lines are 95 % intervals over test tiles. Methods meet the same tiles, so their differences are
# bootstrapped in pairs; `p_holm` is p corrected for the number of methods:

# %%
if frame is not None:
    paired = scene_tables.tile_paired(source)
    display(paired.round(3))

# %%
if frame is not None:
    slugs = {c.slug: c.name.replace(" ", "\n") for c in CLASSES}
    by_class = tables.TABLES["tile_classes"](frame).melt(
        ["method", "label"], list(slugs), "class", "IoU"
    )
    by_class["class"] = by_class["class"].map(slugs)
    looks = [style.method_style(m) for m in by_class["method"].unique()]
    dots = {"palette": [k["color"] for k in looks], "markers": [k["marker"] for k in looks]}
    figure = style.figure(0.8 * style.FULL, 2.6)
    axes = figure.subplots()
    dots |= {"dodge": 0.3, "linestyles": "none", "errorbar": None, "markersize": 4, "ax": axes}
    sns.pointplot(by_class, x="class", y="IoU", hue="label", **dots)
    axes.set(xlabel="", ylim=(-0.02, 1))
    axes.grid(axis="y")
    style.legend_below(figure, axes.get_legend_handles_labels()[0])
    axes.get_legend().remove()
    if tile_methods:
        save_figure(figure, results_dir, "tile_classes", names)
    display(figure)

# %% [markdown]
# ## With few labels

# %%
if frame is not None:
    shot = "labelled photographs per defect"
    shown = frame[frame["method"] != "scrapseg-imagenet"]  # it has its own place below
    figure = figures.fewshot_curve(shown, dataset=TILES, shot=shot)
    if tile_methods:
        save_figure(figure, results_dir, "tile_fewshot", names)
    display(figure)
counted = {k: len(few_shot_ids(splits.train, k, 0)) for k in (*tile_shots, "all")}
pd.Series(counted, name="training photographs").rename_axis("shots").to_frame()

# %% [markdown]
# ## What it looks like
#
# The photographs of above, and what each method makes of them with all labels:

# %%
if tile_methods:
    maps = {
        m: load_maps(results_dir, f"{m}_{TILES}_allshots_s{tile_seeds[0]}") for m in tile_methods
    }
    panels = {"truth": [labels[i] for i in chosen]}
    for method, of in maps.items():
        shown = of.labels
        if shown is None:  # distances, which no class goes with
            score = of.score_maps.astype(np.float32)
            low, high = np.quantile(score, [0.02, 0.998])
            shown = ((score - low) / (high - low)).clip(0, 1)
        panels[METHODS[method].label.replace(" (ours)", "")] = [shown[i] for i in chosen]
    figure = style.panel(images, panels, classes=CLASSES)
    save_figure(figure, results_dir, "tile_qualitative", [n for n in names if "_allshots" in n])
    display(figure)
elif (source / "figures/tile_qualitative.png").is_file():
    display(Image(source / "figures/tile_qualitative.png", width=800))

# %% [markdown]
# ## What rendered data is worth
#
# One model, three pasts: weights of ImageNet alone (photographs, no scrap); the pocket model aligned to
# words on rendered everyday things (notebook a2); and that model after it was trained on ScrapSim. Only the
# class prompts are new. If ScrapSim is a good school for metal under a camera, the last should win,
# with few photographs most of all.

# %%
if frame is not None:
    starts = tables.starts(frame)
    display(starts.drop(columns="start").round(3), scene_tables.tile_starts_paired(source).round(3))

# %% [markdown]
# ## Real scrap
#
# Magnetic tiles are not scrap. SteelDS is: 4K frames of shredded scrap on a belt, copper outlined.
# `python -m scrapseg fetch steelds` gets it (its images have not been at hand here, so there are no numbers),
# `scrapseg.data.steelds.SteelDS` reads it, and frames of that size go through the model tile by tile.
#
# Are small objects found better if tiles are magnified as well? Measured on ScrapSim's val images with the
# model that comes along (`python -m making.studies large_scales`), averaged over the scales in the first column:

# %%
study = Path("../results/full/tables/large_scales.csv")
if study.is_file():
    display(pd.read_csv(study).set_index("scales").round(3))

# %% [markdown]
# ## The answer


# %%
def in_words(table, shots, column, labels):
    """The differences of a paired table at some shots: mIoU, or AP where no classes are named."""
    parts = []
    for name, rows in table[table["shots"] == shots].groupby(column, sort=False):
        of = rows.set_index("metric")
        metric = "miou" if "miou" in of.index else "ap"
        value, low, high = 100 * of.loc[metric, ["value", "lo", "hi"]].astype(float)
        text = f"{tables.METRIC_LABELS[metric]} {value:+.1f} points ({low:+.1f} to {high:+.1f})"
        parts.append(f"{text} against {labels.get(name, name)}")
    return "; ".join(parts)


# %%
lines = ["Not measured yet."]
if frame is not None:
    lines = ["On photographs of magnetic tiles, differences with 95 % intervals:", ""]
    few = tables.TABLES["tile_fewshot"](frame)
    names = {slug: method.label for slug, method in METHODS.items()}
    for row in few[few["method"] == tables.OURS].itertuples():
        gaps = in_words(paired, row.shots, "scrapseg minus", names)
        lines += [f"- **{row.shots} shots**: ScrapSeg AP {row.ap:.3f}, mIoU {row.miou:.3f}; {gaps}"]
    names = {start: label for start, (_, _, label) in tables.STARTS.items()}
    begun = scene_tables.tile_starts_paired(source)
    for shots in tables.shots_order(begun["shots"]):
        gaps = in_words(begun, shots, "scrapsim minus", names)
        lines += [f"- **{shots} shots, started from ScrapSim**: {gaps}"]
    if begun.empty:
        lines += ["- What a start from ScrapSim is worth has not been measured."]
Markdown("\n".join(lines))
