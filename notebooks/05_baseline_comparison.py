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
compared = None  # methods, of scrapseg.experiment.FAMILIES; None for all of them
backbone = "pocket"  # see notebook 03, as for the rest
pretrained = None
weights_path = None
precision = "32-true"
grad_checkpointing = False
lr = None
encoder_lr = None

# %%
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from scrapseg import plots, tables
from scrapseg.classes import CLASSES
from scrapseg.experiment import FAMILIES, Backbone, Splits, label_stack, load_maps
from scrapseg.grid import Job, run_jobs
from scrapseg.metrics import ImageStats
from scrapseg.results import collect, save_figure, save_table
from scrapseg.train import TrainConfig

splits = Splits.load(data_dir, limit)

# %% [markdown]
# ## The contestants
#
# | method | what it is given |
# |---|---|
# | ScrapSeg | all training images with labels; image tower fine-tuned; class vectors from text |
# | ScrapSeg, random vectors | the same as ScrapSeg, with random class vectors in place of text |
# | ScrapSeg, not aligned | the same, started from ImageNet's weights, its head from nothing |
# | ScrapSeg, frozen encoder | the same as ScrapSeg, its image tower kept as it was before scrap |
# | U-Net | all training images with labels; ImageNet's encoder weights; segmentation-models-pytorch |
# | U-Net, aligned tower | the same with the image tower that ours starts from |
# | PatchCore | normal training images only, no labels; ImageNet's encoder weights; anomalib |
#
# Ours starts from an image side that learned words on rendered everyday things (notebook a2), which no
# other method has seen. *Not aligned* and *U-Net, aligned tower* say what that is worth: the
# first is the fair comparison with U-Net, the second gives U-Net the tower too.
#
# All trained methods share loop, augmentation, sampler, loss, number of steps and number of learning
# rates tried on val. PatchCore chooses among three settings on val. Thresholds come from val. Each
# method sees test once. Runs that notebook 03 has made are read back, not repeated. Profiles differ in
# which of these they run.

# %%
towers = Backbone(backbone, pretrained, weights_path, grad_checkpointing)
methods = compared or list(FAMILIES)
shared = TrainConfig(steps=steps, batch_size=batch_size, crop=crop, precision=precision)
jobs, own = [Job(m, seed=seed) for m in methods], {"lr": lr, "encoder_lr": encoder_lr}
done = run_jobs(jobs, splits, shared, results_dir, backbone=towers, own=own)
records = dict(zip(methods, done, strict=True))
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
paired = tables.paired(results_dir)
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
# ## Beside the paper's own figures
#
# What the paper that this work follows ([arXiv:2506.13282](https://arxiv.org/abs/2506.13282)) is said to
# report, the same quantity of ours, and what differs. This is **no comparison**: only the metrics'
# names are the same. The first two figures stand in its abstract; the others come from a machine-written
# summary and are listed because they circulate.

# %%
beside = tables.TABLES["reference"](frame)
save_table(beside, results_dir, "reference")
beside["theirs"] = beside["bound"].replace("=", "") + beside["theirs"].astype(str)
with pd.option_context("display.max_colwidth", None):
    display(beside.set_index("quantity")[["theirs", "ours", "differs", "source"]].round(3))

# %% [markdown]
# ## The answer

# %%
value = {m: r.metrics for m, r in records.items()}
best = max((m for m in value if m != "patchcore"), key=lambda m: value[m]["miou_impurity"])


def points(method: str, metric: str) -> str:
    found = paired[(paired["scrapseg minus"] == method) & (paired["metric"] == metric)]
    if found.empty:
        return "not measured"
    row = found.iloc[0]
    return f"{100 * row['value']:+.1f} points ({100 * row['lo']:+.1f} to {100 * row['hi']:+.1f})"


display(
    Markdown(
        f"In this `{profile}` run the highest impurity mIoU is that of "
        f"**{plots.METHOD_LABELS[best]}** ({value[best]['miou_impurity']:.3f}). ScrapSeg against "
        f"PatchCore: binary mIoU **{points('patchcore', 'miou_binary')}**; against the frozen "
        f"encoder: pixel AP **{points('scrapseg-frozen', 'ap')}**; against U-Net: impurity mIoU "
        f"**{points('unet', 'miou_impurity')}**, AP {points('unet', 'ap')}; against ours without "
        f"alignment: impurity mIoU **{points('scrapseg-imagenet', 'miou_impurity')}**; against "
        f"random class vectors: impurity mIoU **{points('scrapseg-random', 'miou_impurity')}**, "
        "which is what the words themselves bring when every class is trained."
    )
)
