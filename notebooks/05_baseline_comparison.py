# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · Against the baselines
#
# **Question.** On the same images, at the same size, with the same weights to start from: how does
# the fine-tuned vision-language model compare with what industry would use, a supervised U-Net and
# an unsupervised PatchCore, and how much of its result is owed to language?

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"
limit = 8  # images per split; None for all
steps = 4  # optimiser steps
batch_size = 4
crop = 128  # side of the training crops in pixels
seed = 0

# %%
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from scrapseg import plots, tables
from scrapseg.classes import CLASSES
from scrapseg.experiment import FAMILIES, Splits, label_stack, load_maps, run, tuned
from scrapseg.metrics import ImageStats, paired_difference
from scrapseg.results import collect, save_figure, save_table
from scrapseg.train import TrainConfig

splits = Splits.load(data_dir, limit)

# %% [markdown]
# ## The contestants
#
# | method | what it is given |
# |---|---|
# | ScrapSeg | all training images with labels; image tower fine-tuned; class vectors from text |
# | ScrapSeg, frozen encoder | the same, image tower kept at its ImageNet weights |
# | ScrapSeg, random vectors | the same as ScrapSeg, with random class vectors in place of text |
# | U-Net | all training images with labels; the same encoder weights; segmentation-models-pytorch |
# | PatchCore | normal training images only, no labels; the same encoder weights; anomalib |
#
# All trained methods share loop, augmentation, sampler, loss, number of steps and number of learning
# rates tried on val. PatchCore chooses among three settings on val. Thresholds come from val. Each
# method sees test once. Runs that notebook 03 has made are read back, not repeated.

# %%
records = {}
for method in FAMILIES:
    config = TrainConfig(steps=steps, batch_size=batch_size, crop=crop, **tuned(method))
    records[method] = run(method, splits, config, results_dir, seed=seed)
frame = collect(results_dir)

# %% [markdown]
# ## The table

# %%
overview = tables.TABLES["methods"](frame)
save_table(overview, results_dir, "methods")
overview.round(3)

# %%
runs = [record.name() for record in records.values()]
figure = plots.methods_bars(frame)
save_figure(figure, results_dir, "methods", runs=runs)
figure

# %% [markdown]
# Bars carry 95 % intervals, bootstrapped over test *scenes*: the two views of one scene are alike,
# so counting images as independent would make the intervals too narrow.
#
# ## Are the differences real?
#
# Two methods meet the same easy and hard scenes, so the difference is bootstrapped in pairs.

# %%
stats = {
    method: ImageStats.load(Path(results_dir) / "runs" / f"{record.name()}.npz")
    for method, record in records.items()
}
rows = []
for method in [m for m in FAMILIES if m != "scrapseg"]:
    named = ["ap", "miou_binary"] + ["miou", "miou_impurity"] * (stats[method].classes is not None)
    for metric in named:
        d = paired_difference(stats["scrapseg"], stats[method], metric)
        rows.append({"scrapseg minus": method, "metric": metric, **d._asdict()})
paired = pd.DataFrame(rows)
save_table(paired, results_dir, "paired")
paired.round(3)

# %% [markdown]
# An interval that holds 0 is no difference that these scenes can show. The interval speaks of the
# test scenes only: these are single runs, and another training seed moves every method by a little.
#
# ## Class by class, and by size

# %%
figure = plots.class_iou(frame)
save_figure(figure, results_dir, "class_iou", runs=runs)
figure

# %%
figure = plots.recall_by_size(frame)
save_figure(figure, results_dir, "recall_by_size", runs=runs)
figure

# %%
plots.confusion_heatmap(stats["scrapseg"].classes.sum(0))

# %% [markdown]
# The first column is what goes wrong most: pixels of an impurity taken for steel.
#
# ## What it looks like
#
# One test image for each of six classes, the one where that class covers most:

# %%
labels = label_stack(splits.test)
cover = np.stack([(labels == c.index).mean((1, 2)) for c in CLASSES])
chosen = list(dict.fromkeys(int(i) for i in cover[1:].argmax(1)))[:6]
maps = {method: load_maps(results_dir, record.name()) for method, record in records.items()}
distance = maps["patchcore"].score_maps.astype(np.float32)
low, high = np.quantile(distance, [0.02, 0.998])
figure = plots.panel(
    [splits.test[i].image for i in chosen],
    {
        "truth": [labels[i] for i in chosen],
        "ScrapSeg": [maps["scrapseg"].labels[i] for i in chosen],
        "frozen": [maps["scrapseg-frozen"].labels[i] for i in chosen],
        "U-Net": [maps["unet"].labels[i] for i in chosen],
        "PatchCore": [((distance[i] - low) / (high - low)).clip(0, 1) for i in chosen],
    },
)
save_figure(figure, results_dir, "qualitative", runs=runs)
figure

# %% [markdown]
# ## The answer

# %%
value = {m: r.metrics for m, r in records.items()}
best = max((m for m in value if m != "patchcore"), key=lambda m: value[m]["miou_impurity"])


def points(method: str, metric: str) -> str:
    row = paired[(paired["scrapseg minus"] == method) & (paired["metric"] == metric)].iloc[0]
    return f"{100 * row['value']:+.1f} points ({100 * row['lo']:+.1f} to {100 * row['hi']:+.1f})"


display(
    Markdown(
        f"In this `{profile}` run the highest impurity mIoU is that of "
        f"**{plots.METHOD_LABELS[best]}** ({value[best]['miou_impurity']:.3f}). ScrapSeg against "
        f"PatchCore: binary mIoU **{points('patchcore', 'miou_binary')}**; against the frozen "
        f"encoder: pixel AP **{points('scrapseg-frozen', 'ap')}**; against U-Net: impurity mIoU "
        f"**{points('unet', 'miou_impurity')}**, AP {points('unet', 'ap')}; against random "
        f"class vectors: impurity mIoU **{points('scrapseg-random', 'miou_impurity')}**, which is "
        "what language brings when every class is trained and the towers are not aligned."
    )
)
