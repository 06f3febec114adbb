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
# # 05 · How do the methods compare?
#
# **Question.** On the same images, at the same size: how does the fine-tuned vision-language model compare
# with what industry would use, supervised networks, models of what is normal and a random forest, and
# which of the differences are more than luck?
#
# The outputs shown here are those of the laptop run (`notebooks/profiles/laptop.yaml`). Run as it stands, the
# notebook takes the small settings of the next cell, a minute's work whose numbers say nothing. What the best
# model misses, and what that means at the furnace, is notebook 05b.

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"
limit = 8  # images per split; None for all
steps = 4  # optimiser steps
batch_size = 4
crop = 128  # side of the training crops in pixels
seed = 0
# methods, of scrapseg/experiments/methods.yaml
compared = [
    "scrapseg",
    "scrapseg-random",
    "scrapseg-imagenet",
    "scrapseg-frozen",
    "unet",
    "patchcore",
]
backbone = "pocket"  # see notebook 03, as for the rest
pretrained = None
weights_path = None
precision = "32-true"
grad_checkpointing = False
lr = None
encoder_lr = None
study_dir = "../results/full"  # whose comparison is shown where it has more methods than this run

# %%
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Markdown, display
from sklearn.metrics import average_precision_score

from scrapseg import metrics
from scrapseg.data.classes import CLASSES, SLUGS
from scrapseg.experiments import leaderboard
from scrapseg.experiments.methods import METHODS, NOT_RUN
from scrapseg.experiments.records import collect, read_metrics, save_figure, save_table
from scrapseg.experiments.run import load_maps, run_all
from scrapseg.experiments.splits import Splits, label_stack
from scrapseg.experiments.stats import read as scene_stats
from scrapseg.experiments.studies import plan
from scrapseg.report import scene_tables, style, tables

matplotlib.rcParams.update(style.STYLE | {"axes.axisbelow": True})
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
# | U-Net, FPN, DeepLabV3+, SegFormer decoder | all training images with labels; ImageNet's encoder weights; segmentation-models-pytorch |
# | U-Net, SegFormer decoder, aligned tower | the same with the image tower that ours starts from |
# | random forest | all training images with labels; colours and textures at several scales; scikit-image, scikit-learn |
# | PatchCore, PaDiM, STFPM, FastFlow, CFA | normal training images only; ImageNet's encoder weights; anomalib |
#
# Ours starts from an image side that learned words on rendered everyday things (notebook a2), which no
# other method has seen. *Not aligned* and *aligned tower* say what that is worth (words alone: notebook 04): the first is the fair
# comparison with the networks that start from ImageNet, the second gives two of them the tower too.
#
# The networks with labels share loop, augmentation, sampler, loss and number of steps; those of anomalib
# that are trained share loop and number of steps, and have their own losses. Every method chose among
# four candidates on val (both in `scrapseg/experiments/methods.yaml`, the trials in `results/tuning`). Thresholds come from val. Each run sees test once. Runs that notebook 03 has
# made are read back, not repeated. Profiles differ in which of these they run.
#
# anomalib has more models than these. Why the others are not here:

# %%
with pd.option_context("display.max_colwidth", None):
    reasons = pd.Series(NOT_RUN, name="why it is not run").rename_axis("model")
    display(reasons.to_frame())

# %% [markdown]
# ## The runs

# %%
specs = plan("compared", globals())
methods = [spec.method for spec in specs]
records = dict(zip(methods, run_all(specs, results_dir, data_dir), strict=True))
frame = collect(results_dir)

# %% [markdown]
# ## The table
#
# Two runs shared the machine in the laptop run: its times compare nothing, those of profile `full` and the README do.

# %%
overview = tables.TABLES["methods"](frame)
save_table(overview, results_dir, "methods")
overview.round(3)


# %%
def methods_dots(table, names=("ap", "miou_binary", "miou_impurity", "object_recall_1fa")):
    """A row a method, a panel a metric. Thin lines part the families."""
    looks = [style.method_style(m) for m in table["method"]]
    drawn = {"hue": "label", "palette": [look["color"] for look in looks], "legend": False}
    drawn |= {"markers": [look["marker"] for look in looks], "linestyles": "none"}
    fig = style.figure(style.FULL, 0.75 + 0.16 * len(table))
    for axes, name in zip(fig.subplots(1, len(names), sharey=True), names, strict=True):
        sns.pointplot(table, x=name, y="label", errorbar=None, ax=axes, markersize=4, **drawn)
        high = table[name]
        if f"{name}_hi" in table:
            high = table[f"{name}_hi"].fillna(high)
            colours = drawn["palette"]
            axes.hlines(range(len(table)), table[f"{name}_lo"], high, colors=colours, lw=1)
        for row in np.flatnonzero(table[name].notna()):
            text = f"{table[name][row]:.2f}".lstrip("0")
            axes.text(high[row] + 0.06, row, text, fontsize=6, va="center")
        for row in np.flatnonzero(table["family"].ne(table["family"].shift()))[1:]:
            axes.axhline(row - 0.5, color="0.75", lw=0.5)
        title = tables.METRIC_LABELS[name].replace(" at ", "\nat ")
        axes.set(xlim=(-0.03, 1.2), ylim=(len(table) - 0.5, -0.5), xlabel="", ylabel="")
        axes.set(title=title, xticks=[0, 0.5, 1])
        axes.grid(axis="x")
    fig.supxlabel("value (1 is best)", fontsize=8)
    return fig


# %%
def with_intervals(metrics_table):
    """A row a method: its metrics, with the ends of their intervals where there are any."""
    names = ("ap", "miou_binary", "miou_impurity", "object_recall_1fa")
    columns = [f"{name}{end}" for name in names for end in ("", "_lo", "_hi")]
    return tables.mean_over_seeds(metrics_table, columns)


runs = [record.name() for record in records.values()]
figure = methods_dots(with_intervals(frame))
save_figure(figure, results_dir, "methods", runs=runs)
figure

# %% [markdown]
# Lines are 95 % intervals, bootstrapped over test *scenes*: the two views of one scene are alike,
# so counting images as independent would make the intervals too narrow.
#
# ## What the first column is
#
# Impurities are some per cent of the pixels, so a method that calls everything steel is right nearly always, and
# accuracy says nothing. Average precision asks something else: go through all pixels from the highest anomaly score
# down; each time an impurity pixel is met, how large a share of the pixels so far were impurities?


# %%
def average_precision(scores, masks):
    """Precision times step of recall, summed from the highest score down.

    Pixels with equal scores enter together. Returns the sum, and precision and recall at each step.
    """
    order = np.argsort(-scores, axis=None, kind="stable")
    score, hit = scores.ravel()[order], masks.ravel()[order]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # pixel of each distinct score
    true = np.cumsum(hit)[last]
    precision, recall = true / (last + 1), true / hit.sum()
    return np.sum(precision * np.diff(recall, prepend=0)), precision, recall


# %% [markdown]
# Worked out on the first twenty test images, it is what the library has, and what scikit-learn has:

# %%
labels = label_stack(splits.test)
masks = labels[:20] > 0
curves = {}
for method, run in records.items():
    scores = load_maps(results_dir, run.name()).score_maps[:20].astype(np.float32)
    ap, *curve = average_precision(scores, masks)
    assert np.isclose(ap, metrics.average_precision(metrics.rank(scores, masks)))
    if method == "scrapseg":  # once is enough: it sorts all pixels again
        assert np.isclose(ap, average_precision_score(masks.ravel(), scores.ravel()))
    curves[method] = ap, *curve

# %%
fig = style.figure(style.COLUMN, 3.2)
axes = fig.subplots()
for method, (ap, precision, recall) in curves.items():
    look = style.method_style(method) | {"marker": None}
    look["label"] += f" {ap:.2f}"
    few = slice(None, None, max(1, len(recall) // 400))
    sns.lineplot(x=recall[few], y=precision[few], ax=axes, errorbar=None, **look)
chance = masks.mean()
axes.axhline(chance, color="0.4", lw=0.8, ls="--", label=f"share of impurities {chance:.2f}")
axes.set(xlabel="recall: impurity pixels flagged", ylabel="precision", xlim=(0, 1), ylim=(0, 1))
style.legend_below(fig, axes.get_legend_handles_labels()[0], cols=2)
axes.get_legend().remove()
fig

# %% [markdown]
# AP is the area under the curve. A score that knows nothing lies on the dashed line, which differs from data set to
# data set: that is why an AP says little beside one of other images.
#
# ## What an interval is
#
# Other test scenes would have given other numbers. How different? Draw as many scenes as there are, with
# replacement, compute the metric anew, and again; the middle 95 % of the results are the interval. Scenes are drawn,
# not images. Of each scene only its table of pixels is needed, true class by predicted class:


# %%
def miou_impurity(table):
    """Mean IoU of the impurities from pixel counts (..., classes, classes), row = truth."""
    hit = np.diagonal(table, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):  # a class that is nowhere has no IoU
        iou = hit / (table.sum(-1) + table.sum(-2) - hit)
    return np.nanmean(iou[..., 1:], axis=-1)


# %%
ours = scene_stats(results_dir, records["scrapseg"].name())
# Where a profile has several seeds of a method, its row is of those.
ours = scene_stats(results_dir, records["scrapseg"].name(tables.EVEN)) or ours
scenes = len(ours.ids)
# How often each scene is drawn, a row a draw; the same generator as the library's, so the same draws.
draws = np.random.default_rng(0).multinomial(scenes, np.full(scenes, 1 / scenes), size=10_000)
drawn = miou_impurity(np.tensordot(draws, ours.classes, 1))
low, high = np.nanpercentile(drawn, [2.5, 97.5])
library = metrics.bootstrap_intervals(ours)
assert np.allclose([low, high], [library["miou_impurity_lo"], library["miou_impurity_hi"]])
value = miou_impurity(ours.classes.sum(0))
print(f"{scenes} scenes: impurity mIoU {value:.3f}, {low:.3f} to {high:.3f}")

# %% [markdown]
# ## Are the differences real?
#
# Two methods meet the same easy and hard scenes, so the difference is bootstrapped in pairs: the same drawn scenes
# for both. It is surer than two intervals that overlap would have one think.

# %%
paired = scene_tables.paired(results_dir)
save_table(paired, results_dir, "paired")
named = paired[paired["metric"] == "miou_impurity"].set_index("scrapseg minus")
rival = named.index[-1]
theirs = scene_stats(results_dir, records[rival].name())
gaps = drawn - miou_impurity(np.tensordot(draws, theirs.classes, 1))
gaps = gaps[~np.isnan(gaps)]
beyond = min((gaps <= 0).sum(), (gaps >= 0).sum())
by_hand = [*np.percentile(gaps, [2.5, 97.5]), min(1, 2 * (beyond + 1) / (len(gaps) + 1))]
assert np.allclose(by_hand, named.loc[rival, ["lo", "hi", "p"]].astype(float))

# %%
fig = style.figure(style.COLUMN, 2.2)
axes = fig.subplots()
sns.histplot(x=100 * gaps, bins=40, color=style.method_style("scrapseg")["color"], lw=0, ax=axes)
axes.axvline(0, color="0.3", lw=0.8)
for end in by_hand[:2]:
    axes.axvline(100 * end, color="0.3", lw=0.8, ls="--")
axes.set(
    xlabel=f"ours minus {METHODS[rival].label}, impurity mIoU, points", ylabel="draws of 10,000"
)
fig

# %% [markdown]
# p is twice the share of draws on the other side of 0. Who compares with many methods often finds something by
# chance, so p is corrected for their number (Holm 1979): the smallest is multiplied by how many there are, the next
# by one less, and none may fall below the one before.

# %%
ordered = named["p"].dropna().sort_values()  # of pairs in a wider table that one counts, see below
corrected, least = {}, 0.0
for rank, (method, p) in enumerate(ordered.items()):
    least = max(least, min(1.0, (len(ordered) - rank) * p))
    corrected[method] = least
alone = scene_tables.corrected(paired, ["metric"])  # over this table
alone = alone[alone["metric"] == "miou_impurity"].set_index("scrapseg minus")["p_holm"]
assert np.allclose(pd.Series(corrected), alone[ordered.index])
pd.DataFrame({"p": ordered, "p, corrected": corrected}).round(4)


# %%
def differences(table, names=("ap", "miou_binary", "miou_impurity")):
    """Ours minus each method, a panel a metric; hollow where the corrected p is over 0.05."""
    table = table.assign(**{end: 100 * table[end] for end in ("value", "lo", "hi")})
    others = tables.method_order(table["scrapseg minus"])
    looks = [style.method_style(m) for m in others]
    colours = [look["color"] for look in looks]
    fig = style.figure(0.8 * style.FULL, 0.75 + 0.16 * len(others))
    for axes, name in zip(fig.subplots(1, len(names), sharey=True), names, strict=True):
        rows = table[table["metric"] == name].set_index("scrapseg minus").reindex(others)
        axes.axvline(0, color="0.4", lw=0.8)
        axes.hlines(range(len(rows)), rows["lo"], rows["hi"], colors=colours, lw=1)
        dots = {"hue": others, "palette": colours, "legend": False, "ax": axes, "lw": 0, "s": 20}
        sns.scatterplot(x=rows["value"].to_numpy(), y=range(len(rows)), **dots)
        unsure = np.flatnonzero(~(rows["p_holm"] < 0.05))
        rims = [colours[row] for row in unsure]
        axes.scatter(rows["value"].iloc[unsure], unsure, 16, "white", edgecolors=rims, zorder=3)
        axes.set(title=tables.METRIC_LABELS[name], xlabel="", ylabel="")
        axes.grid(axis="x")
    axes.set_yticks(range(len(others)), [look["label"] for look in looks])
    axes.set_ylim(len(others) - 0.5, -0.5)
    fig.supxlabel("ours minus the other, points", fontsize=8)
    return fig


# %%
figure = differences(paired)
save_figure(figure, results_dir, "differences", runs=runs)
display(paired.round(3), figure)

# %% [markdown]
# A hollow dot is a difference whose corrected p is not below 0.05, or that is not tested (U-Net's in AP below, whose
# draws are too few for more rows). An interval that holds 0 is no difference that these scenes can show. Where the
# column `seeds` says 1 the interval is over scenes alone, and says nothing of how far another training seed would move
# a method; Holm's correction is over the methods of the table, or over the wider table of equal steps (notebook 04)
# for a pair that stands in that.
#
# ## The whole field
#
# A laptop has twenty minutes, and runs ours, frozen and trained, the plainest network and a model of what is normal.
# Profile `full` runs all methods and the controls by the same protocol; where its runs are at hand, here they are,
# with ours minus each on the same scenes and over the seeds that both have. Lines beside the dots are means over the
# seeds of intervals over scenes; the lines of differences draw seeds, too.

# %%
every, every_paired, source = frame, paired, profile
if (Path(study_dir) / "tables/paired.csv").is_file():
    theirs = read_metrics(study_dir)
    if set(tables.TABLES["methods"](theirs)["method"]) > set(methods):
        every, source = theirs, Path(study_dir).name
        every_paired = pd.read_csv(Path(study_dir) / "tables/paired.csv")
field = tables.TABLES["methods"](every)
print(f"profile {source}: {len(field)} methods")
field.drop(columns=["method", "family"]).set_index("label").round(3)

# %%
methods_dots(with_intervals(every))

# %%
differences(every_paired)

# %% [markdown]
# ## Class by class
#
# A mean hides a class that a method gave up: its dot lies at 0. Of the runs of this profile, one seed each.

# %%
by_class = tables.per_class(frame).melt(["method", "label"], list(SLUGS), "class", "IoU")
by_class["class"] = by_class["class"].map({c.slug: c.name.replace(" ", "\n") for c in CLASSES})
looks = [style.method_style(m) for m in by_class["method"].unique()]
dots = {"palette": [k["color"] for k in looks], "markers": [k["marker"] for k in looks]}
figure = style.figure(0.8 * style.FULL, 2.6)
axes = figure.subplots()
dots |= {"dodge": 0.5, "linestyles": "none", "errorbar": None, "markersize": 4, "ax": axes}
sns.pointplot(by_class, x="class", y="IoU", hue="label", **dots)
axes.set(xlabel="", ylim=(-0.02, 1))
axes.grid(axis="y")
style.legend_below(figure, axes.get_legend_handles_labels()[0])
axes.get_legend().remove()
save_figure(figure, results_dir, "class_iou", runs=runs)
figure

# %% [markdown]
# ## What it looks like
#
# One test image for each of six classes, the one where that class covers most:

# %%
cover = np.stack([(labels == c.index).mean((1, 2)) for c in CLASSES])
chosen = list(dict.fromkeys(int(i) for i in cover[1:].argmax(1)))[:6]
rows = {"truth": [labels[i] for i in chosen]}
titles = {"scrapseg": "ScrapSeg", "scrapseg-frozen": "frozen", "unet": "U-Net"}
for method, title in titles.items():
    named_pixels = load_maps(results_dir, records[method].name()).labels
    rows[title] = [named_pixels[i] for i in chosen]
distance = load_maps(results_dir, records["patchcore"].name()).score_maps.astype(np.float32)
least, most = np.quantile(distance, [0.02, 0.998])  # a distance has no scale of its own
rows["PatchCore"] = [((distance[i] - least) / (most - least)).clip(0, 1) for i in chosen]
figure = style.panel([splits.test[i].image for i in chosen], rows)
save_figure(figure, results_dir, "qualitative", runs=runs)
figure

# %%
said = load_maps(results_dir, records["scrapseg"].name()).labels
first = max(chosen, key=lambda i: len(np.unique(labels[i])))  # the one with the most classes
shown = {"truth": labels[first], "ours": said[first]}
figure = style.strip(splits.test[first].image, shown)
save_figure(figure, results_dir, "readme", runs=[records["scrapseg"].name()])
figure

# %% [markdown]
# ## One map, six numbers
#
# Papers report "IoU" of different things. The very same maps of ours, scored by six definitions: what counts is
# which classes are averaged, and whether over all pixels or image by image.


# %%
def class_iou(table):
    """IoU of each class from pixel counts, row = truth; nan for a class that is nowhere."""
    hit = np.diagonal(table)
    with np.errstate(invalid="ignore"):
        return hit / (table.sum(0) + table.sum(1) - hit)


images = metrics.confusion(said, labels, len(SLUGS))  # images x true class x predicted class
table, binary = images.sum(0), metrics.confusion(said > 0, labels > 0, 2).sum(0)
iou, share = class_iou(table), table.sum(1) / table.sum()
present = [np.nanmean(class_iou(one)[one.sum(1) > 0]) for one in images]
accuracy, weighted = np.trace(table) / table.sum(), np.nansum(share * iou)
rows = [
    ("pixel accuracy", "share of the pixels named rightly, most of them steel", accuracy),
    ("frequency-weighted IoU", "IoU of the classes, weighted by their pixels", weighted),
    ("per-image mIoU", "mean over images of the IoU of the classes present", np.mean(present)),
    ("binary mIoU", "mean IoU of steel and impurity, whichever it is", np.mean(class_iou(binary))),
    ("mIoU", "mean IoU of steel and the impurities, over all pixels", np.nanmean(iou)),
    ("impurity mIoU", "mean IoU of the impurities alone", np.nanmean(iou[1:])),
]
definitions = pd.DataFrame(rows, columns=["definition", "meaning", "value"])
values = records["scrapseg"].metrics
assert np.allclose(definitions["value"].iloc[-2:], [values["miou"], values["miou_impurity"]])
save_table(definitions, results_dir, "definitions")
definitions.round(3)

# %% [markdown]
# ## The leaderboard
#
# Forty test images, one view a scene, and every method's predictions on them in a small file: enough to
# compare a method of your own without training the others again (`python -m scrapseg leaderboard`).

# %%
folder = Path(results_dir) / "leaderboard"
if len(leaderboard.chosen_ids(splits.test)) == leaderboard.IMAGES:
    leaderboard.collect(results_dir, folder, splits.test)
    display(leaderboard.board(folder, splits.test).round(3))

# %% [markdown]
# ## Beside the paper's own figures
#
# What the paper that this work follows ([arXiv:2506.13282](https://arxiv.org/abs/2506.13282)) is said to
# report, the same quantity of ours (in the whole field above), and what differs. This is **no comparison**: only the metrics'
# names are the same. The first two figures stand in its abstract; the others come from a machine-written
# summary and are listed because they circulate.

# %%
save_table(tables.TABLES["reference"](frame), results_dir, "reference")
beside = tables.TABLES["reference"](every)
beside["theirs"] = beside["bound"].replace("=", "") + beside["theirs"].astype(str)
with pd.option_context("display.max_colwidth", None):
    display(beside.set_index("quantity")[["theirs", "ours", "differs", "source"]].round(3))

# %% [markdown]
# ## The answer


# %%
def points(method: str | None, metric: str) -> str:
    """Ours minus a method in words."""
    rows = every_paired[
        every_paired["scrapseg minus"].eq(method) & every_paired["metric"].eq(metric)
    ]
    if rows.empty:
        return "not measured"
    row = rows.iloc[0]
    interval = f"{100 * row['lo']:+.1f} to {100 * row['hi']:+.1f}, p {row['p_holm']:.3f}"
    return f"{100 * row['value']:+.1f} points ({interval})"


def leader(family: str, metric: str) -> tuple[str, str]:
    """The family's best method in the whole field, and ours minus it."""
    known = field[(field["family"] == family) & field[metric].notna()].set_index("method")
    known = known[~known.index.str.endswith("-aligned")]  # controls: they start from our tower
    method = known[metric].idxmax() if len(known) else None
    return METHODS[method].label if method else "none", points(method, metric)


# %%
path = Path(study_dir) / "tables/labels_rival.csv"
unaligned = pd.read_csv(path, dtype={"shots": str}) if path.is_file() else pd.DataFrame()
said = "not measured"
if len(unaligned):
    rows = unaligned[
        unaligned["segformer minus"].eq("scrapseg-imagenet") & unaligned["shots"].eq("all")
    ]
    row = rows[rows["metric"] == "miou_impurity"].iloc[0]
    ends = f"{-100 * row['hi']:+.1f} to {-100 * row['lo']:+.1f}, {row['seeds']} seeds, p {row['p_holm']:.3f}"
    said = f"{-100 * row['value']:+.1f} points ({ends})"
path = Path(study_dir) / "tables/long.csv"
long = pd.read_csv(path).query("shots == 'all'") if path.is_file() else pd.DataFrame()
later = ""
for steps, pair in long.groupby("steps") if len(long) else ():
    value = 100 * pair.set_index("method")["miou_impurity"]
    if {"scrapseg-imagenet", "segformer"} <= set(value.index):
        later += f" After {steps} steps these two have {value['scrapseg-imagenet']:.1f} and {value['segformer']:.1f} %"
        seeds = pair.set_index("method")["seeds"]
        later += f" (seeds: {seeds['scrapseg-imagenet']}, {seeds['segformer']})."
display(Markdown(f"**Where ours loses:** started from ImageNet's weights as SegFormer is, ours has **{said}** of impurity mIoU "
                 f"(profile `full`, equal steps, those of the comparison; p over all pairs with SegFormer at all numbers of labels).{later}"))  # fmt: skip

# %%
best = overview.loc[overview["miou_impurity"].idxmax()]
normal, normal_points = leader("unsupervised", "miou_binary")
labelled, labelled_points = leader("supervised", "miou_impurity")
display(
    Markdown(
        f"In this `{profile}` run the highest impurity mIoU is that of **{best['label']}** "
        f"({best['miou_impurity']:.3f}). ScrapSeg against the best model of normal alone among "
        f"{len(field)} methods (profile `{source}`; {normal}): binary mIoU **{normal_points}**; "
        f"against the best supervised network there ({labelled}): impurity mIoU "
        f"**{labelled_points}**; against the frozen encoder: pixel AP "
        f"**{points('scrapseg-frozen', 'ap')}**; against ours without alignment: impurity mIoU "
        f"**{points('scrapseg-imagenet', 'miou_impurity')}**; against random class vectors: impurity mIoU "
        f"**{points('scrapseg-random', 'miou_impurity')}** (the tower was aligned to "
        "the text vectors and to no random ones, so that the meaning of the words need not be the cause)."
    )
)
