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
# # 01 · The data
#
# **What is in the data, and what makes finding impurities in steel scrap hard?**
#
# Steel is recycled more than any other metal. Scrap from cars, buildings, machines and workshops is
# sorted, shredded, and melted again in an electric arc furnace. What goes into the furnace with the
# steel decides what comes out of it, and scrap never comes clean. Three kinds of company are unwelcome:
#
# - **tramp elements**, copper first of all: copper is nobler than iron, so no furnace can oxidise it
#   out of the melt. It stays, gathers with every round of recycling, and makes steel crack when it is
#   rolled hot. It arrives as motors, cables and pipes;
# - **hazards**: a closed spray can bursts in the heat;
# - **non-metals**: rubber, plastic and wood burn to smoke and slag and bring no iron.
#
# So somebody, or something, has to look at the scrap before it is melted and point at what has to come
# out. To point at it is to give every pixel of a camera image a class: *semantic segmentation*, with
# one class that is nearly everywhere (steel) and eight that are rare. This notebook looks at the data
# before any model does.

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"
limit = 60  # images per split whose pixels are read; None for all of them

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown
from PIL import Image
from scipy import ndimage

from scrapseg import metrics
from scrapseg.data import base, scrapsim, shots
from scrapseg.data.classes import CLASSES, IMPURITIES, SLUGS
from scrapseg.experiments.records import save_figure, save_table
from scrapseg.report import figures as plots

splits = {name: scrapsim.ScrapSim(data_dir, name) for name in base.SPLITS}
train_px, val_px = (list(scrapsim.ScrapSim(data_dir, s, limit=limit)) for s in ("train", "val"))

# %% [markdown]
# ## Rendered images, and how honest they are
#
# No public set of labelled photographs covers all of these impurities, and the data of the
# [paper](https://arxiv.org/abs/2506.13282) that this project follows is private. **ScrapSim** is
# rendered instead. For each scene a seed draws pieces of steel and some impurities, a rigid-body
# simulation drops them into a heap in a yard or onto a conveyor belt, and a path tracer photographs the
# result from two sides, in sun, under an overcast sky or by lamps.
#
# What rendering gives: labels that are exact to the pixel even where objects overlap, the share of each
# object that is buried, any number of rare cases, and a benchmark that everybody may have. What it does
# not give: a real camera's lens, compression and dirt, or the endless variety of a real yard, since each
# kind of object comes from one small generator. **A number measured here says how methods compare on
# rendered scrap; it is no promise for a yard.**

# %%
some = scrapsim.ScrapSim(data_dir, "train", limit=12)
plots.as_jpeg(plots.contact_sheet(some, cols=4, alpha=0.25), 120)

# %% [markdown]
# The tint and the rim show where the impurities are. Without them they are easy to miss, and some of
# these images hold none at all. Heaps are deep, so that things hide below one another; belts are
# sparse, and things are seen whole but small.
#
# ## One image taken apart
#
# Each image comes with two maps of its size: the **label** gives each pixel a class, and the
# **instances** tell one object from the next, which is what a sorter picks.


# %%
def variety(sample):
    """How many classes an image shows well, then how much of them."""
    pixels = np.bincount(sample.label.ravel())[1:]
    return (pixels >= 150).sum(), pixels.sum()


example = max(train_px, key=variety)
plots.as_jpeg(plots.dissection(example), 130)

# %%
about = example.meta
Markdown(
    f"Image `{example.id}`: view {about['view']} of scene {about['scene']} ({about['setting']}; ground: "
    f"{about['ground']}; light: {about['light']['kind']}). {about['impurity_fraction']:.1%} of its pixels "
    f"belong to {len(about['instances'])} impurity objects; all the rest, steel and ground, is class 0."
)

# %% [markdown]
# ## The eight impurities
#
# One row per class, from small to large. Each has its own geometry and material; none looks the
# same twice.

# %%
plots.as_jpeg(plots.class_crops(train_px, per_class=9, size=96, min_pixels=150), 130)

# %%
kinds = {"tramp": "foreign metal", "hazard": "hazard", "non-metal": "non-metal"}
rows = [f"| **{c.name}** | {kinds[c.kind]} | {c.why} |" for c in IMPURITIES]
Markdown("\n".join(["| impurity | kind | why it has to come out |", "|---|---|---|", *rows]))

# %% [markdown]
# ## How much there is of everything
#
# The data is split by *scene*: both views of a scene go to the same split. Otherwise a model could pass
# the test by remembering a heap it saw in training from the other side.

# %% tags=["nbval-check-output"]
scenes = {name: {m["scene"] for m in split.meta.values()} for name, split in splits.items()}
for name, split in splits.items():
    print(f"{name:5s} {len(scenes[name]):4d} scenes {len(split):4d} images")
shared = [scenes[a] & scenes[b] for a in scenes for b in scenes if a < b]
print("scenes in more than one split:", sum(map(len, shared)))
assert not any(shared)


# %%
def totals(split, part):
    """One line of the table: all images of a split, or those without impurity."""
    ids = split.ids if part == "all" else shots.normal_ids(split)
    instances = sum(len(split.meta[i]["instances"]) for i in ids)
    pixels = len(ids) * example.label.size
    return dict(zip(("split", "class", "images", "instances", "pixels"),
                    (split.split, part, len(ids), instances, pixels)))  # fmt: skip


per_class = scrapsim.composition(splits.values())
extra = pd.DataFrame([totals(s, part) for s in splits.values() for part in ("all", "none")])
composition = pd.concat([per_class[extra.columns], extra], ignore_index=True)
save_table(composition, results_dir, "composition")
plots.composition_chart(composition)

# %% tags=["nbval-check-output"]
order = ["all", "none", *SLUGS[1:]]
images = composition.pivot(index="class", columns="split", values="images")
print(images.loc[order, list(base.SPLITS)].to_string())

# %% [markdown]
# (`all` counts every image and `none` those without any impurity.) The classes are about
# equally frequent by design, so that none is judged on a handful of objects; in a yard they are not.
#
# ## Difficulty 1: impurities are rare

# %%
shares = {n: [m["impurity_fraction"] for m in s.meta.values()] for n, s in splits.items()}
plots.impurity_share(shares)

# %%
everything = np.concatenate(list(shares.values()))
impure = everything[everything > 0]
prior = everything.mean()
Markdown(
    f"{np.mean(everything == 0):.0%} of the images hold no impurity. In the others impurities cover "
    f"{np.median(impure):.1%} of the pixels (median; the middle nine tenths lie between "
    f"{np.quantile(impure, 0.05):.1%} and {np.quantile(impure, 0.95):.1%}). A map that calls everything "
    f"steel is right for **{1 - prior:.1%} of all pixels** and useless, and random scores have an average "
    f"precision (AP) of {prior:.3f}. That is why accuracy appears nowhere in this project, and why the "
    "headline numbers are AP, the IoU of the impurities alone, and the share of objects found."
)

# %% [markdown]
# ## Difficulty 2: they are small and half buried

# %%
objects = pd.concat([scrapsim.instances_table(s).assign(split=n) for n, s in splits.items()])
plots.size_against_visibility(objects)

# %%
small, large = metrics.SIZES["small"], metrics.SIZES["large"]
buried = objects["visible_fraction"] < 0.5
Markdown(
    f"Half of the {len(objects)} objects show fewer than {objects['pixels'].median():.0f} pixels, a square "
    f"{objects['pixels'].median() ** 0.5:.0f} pixels wide in an image of {example.label.shape[1]}; "
    f"{(objects['pixels'] <= small[1]).mean():.0%} are *small* (up to {small[1]} pixels) and "
    f"{(objects['pixels'] >= large[0]).mean():.0%} *large* (from {large[0]}; dashed lines). "
    f"{buried.mean():.0%} are more than half hidden by what lies on them. "
    "A network whose finest features have a stride of 8 sees the median object as "
    f"{objects['pixels'].median() / 64:.0f} cells, which is why the method reads the encoder at several "
    "scales. Recall is reported by size for the same reason."
)

# %% [markdown]
# The outline matters too: of a thin cable nearly every pixel is rim. Suppose a model finds every object but
# draws each one pixel too wide. What IoU would it get?


# %%
def iou_one_pixel_wide(samples, value):
    """IoU of a class with itself grown by one pixel all round."""
    true = grown = 0
    for sample in samples:
        mask = sample.label == value
        if mask.any():
            true += mask.sum()
            grown += ndimage.binary_dilation(mask, np.ones((3, 3), bool)).sum()
    return true / grown if grown else np.nan


rim = {c.slug: iou_one_pixel_wide(val_px, c.index) for c in IMPURITIES}
plots.class_bars(rim, "IoU, outline one pixel too wide", 1, "perfect")

# %% [markdown]
# Read IoUs against these bars: a cable's IoU far below 1 can be a cable found.
#
# ## Difficulty 3: steel in disguise
#
# Copper is red-brown, plastic is bright, rubber is black. Would colour alone do? Steel scrap
# is painted in the same bright colours, rust is red-brown, galvanised sheet is as pale as aluminium, and
# shadows are black. These *hard negatives* are in the data on purpose.
#
# To put a number on it, give colour its best chance: count how often each colour occurs in each class on
# training images, and score each pixel of the validation images by Bayes' rule. Among all scores that look at
# one pixel's colour and nothing else, none ranks better, as far as the counts go.


# %%
SIZES = {"hue": 64, "saturation": 64, "brightness": 64, "full colour": 16**3}


def cues(sample):
    """Cue -> its code at every pixel, 0 .. SIZES[cue] - 1."""
    hsv = np.asarray(Image.fromarray(sample.image).convert("HSV")) // 4
    r, g, b = np.moveaxis(sample.image.astype(np.int64) // 16, 2, 0)
    return {**dict(zip(SIZES, np.moveaxis(hsv, 2, 0))), "full colour": (r * 16 + g) * 16 + b}


counts = {cue: np.zeros(len(CLASSES) * size, int) for cue, size in SIZES.items()}
for sample in train_px:
    for cue, code in cues(sample).items():
        pairs = sample.label.astype(int) * SIZES[cue] + code
        counts[cue] += np.bincount(pairs.ravel(), minlength=len(counts[cue]))

# %%
val_codes = [cues(s) for s in val_px]
labels = np.stack([s.label[::2, ::2] for s in val_px])  # every fourth pixel is plenty
val_prior = (labels > 0).mean()
likelihood, lines = {}, []
for cue, size in SIZES.items():
    table = counts[cue].reshape(len(CLASSES), size)
    # One part in a hundred spread evenly: a colour never seen in training speaks for no class.
    likelihood[cue] = 0.99 * table / table.sum(1, keepdims=True).clip(1) + 0.01 / size
    joint = likelihood[cue] * table.sum(1, keepdims=True)
    score = 1 - joint[0] / joint.sum(0)  # P(impurity | code)
    ranking = metrics.rank(np.stack([score[c[cue][::2, ::2]] for c in val_codes]), labels > 0)
    lines.append((cue, metrics.average_precision(ranking), metrics.auroc(ranking)))
quality = pd.DataFrame(lines, columns=["cue", "AP", "AUROC"]).set_index("cue")
rows = [f"| {cue} | {ap:.3f} | {auroc:.3f} |" for cue, ap, auroc in lines]
chance = f"| *chance* | *{val_prior:.3f}* | *0.500* |"
Markdown("\n".join(["| cue, one pixel at a time | AP | AUROC |", "|---|---|---|", *rows, chance]))

# %% [markdown]
# AUROC asks whether a random impurity pixel outscores a random steel pixel; AP asks how clean the flagged
# pixels are, and with impurities this rare it is the harder question. Next, each class on its own
# against steel:

# %%
evidence = np.log(likelihood["full colour"] / likelihood["full colour"][0])  # for each class
codes = np.stack([c["full colour"][::2, ::2] for c in val_codes])
steel = codes[labels == 0][::4]
alone = {}
for c in IMPURITIES:
    own = codes[labels == c.index]
    scores = evidence[c.index][np.concatenate([own, steel])]
    truth = np.arange(len(scores)) < len(own)
    alone[c.slug] = metrics.auroc(metrics.rank(scores[None, None], truth[None, None]))
plots.class_bars(alone, "AUROC of colour alone, class against steel", 0.5, "chance")


# %% [markdown]
# And this is what fools it. For each class: a real one, and below it the patch of plain
# steel or ground whose colours look most like that class.


# %%
def lookalike(samples, value, side=64):
    """The impurity-free square whose colours speak most for a class."""
    best, half = (-np.inf, None), side // 2
    for sample, code in zip(samples, val_codes):
        speaks = ndimage.uniform_filter(evidence[value].clip(-3, 3)[code["full colour"]], side)
        speaks[ndimage.maximum_filter(sample.label, side) > 0] = -np.inf
        inside = speaks[half:-half, half:-half]
        top, left = np.unravel_index(inside.argmax(), inside.shape)
        if inside.max() > best[0]:
            best = inside.max(), sample.image[top : top + side, left : left + side]
    return best[1]


def genuine(samples, value, side=64):
    """A square around the middle of the largest piece of a class in these images."""
    sample = max(samples, key=lambda s: (s.label == value).sum())
    depth = ndimage.distance_transform_edt(sample.label == value)
    where = np.unravel_index(depth.argmax(), depth.shape)
    top, left = (int(np.clip(p - side // 2, 0, n - side)) for p, n in zip(where, depth.shape))
    return sample.image[top : top + side, left : left + side]


# %%
values = [c.index for c in IMPURITIES]
pictures = {
    "impurity": [genuine(val_px, v) for v in values],
    "steel of\nthat colour": [lookalike(val_px, v) for v in values],
}
plots.as_jpeg(plots.crop_rows(pictures, [c.name for c in IMPURITIES]), 130)

# %% [markdown]
# Shape, sheen, texture and what lies around tell the pairs apart; the colour of one pixel does not. That
# is what a model has to learn.
#
# ## The data in one picture
#
# This is the data figure of the paper: five training images and their labels, images and objects per class
# and split, and the sizes of all objects.

# %%
ranked = sorted(train_px, key=variety, reverse=True)
chosen, seen = [], set()
for setting, count in (("heap", 3), ("belt", 2)):
    for sample in ranked:
        if sample.meta["setting"] == setting and sample.scene not in seen and count:
            chosen.append(sample)
            seen.add(sample.scene)
            count -= 1
figure = plots.data_figure(chosen, composition, objects)
save_figure(figure, results_dir, "data")
plots.as_jpeg(figure, 140)

# %% [markdown]
# ## Answer

# %%
total = composition[composition["class"] == "all"]["images"].sum()
hardest = min(alone, key=alone.get)
names = {c.slug: c.name for c in CLASSES}
Markdown(
    f"**In the data:** {total} rendered images of steel scrap in heaps and on belts, split by scene, with "
    f"{len(objects)} objects of {len(IMPURITIES)} impurity classes, exact labels and known burial.\n\n"
    "**What makes it hard:**\n\n"
    f"1. Impurities are rare: {prior:.1%} of all pixels, and {np.mean(everything == 0):.0%} of the images "
    "hold none. Each false alarm competes with very few true ones.\n"
    f"2. They are small and hidden: half of them show fewer than {objects['pixels'].median():.0f} pixels, "
    f"and {buried.mean():.0%} are more than half out of sight.\n"
    "3. Steel wears their colours: the best use of colour alone reaches a pixel AP of "
    f"{quality.loc['full colour', 'AP']:.2f} where chance is {val_prior:.2f} and a perfect map 1 "
    f"(hue alone {quality.loc['hue', 'AP']:.2f}). It does worst for {names[hardest]} "
    f"(AUROC {alone[hardest]:.2f} against steel).\n\n"
    "So a useful model needs fine resolution for small things, context and shape for look-alikes, and a "
    "loss and metrics that do not drown in steel."
)
