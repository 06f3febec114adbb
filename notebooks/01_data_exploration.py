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
#
# The outputs shown in the `.ipynb` are those of the laptop run (`notebooks/profiles/laptop.yaml`); run as
# it stands, the notebook takes the small smoke settings in the parameters cell.

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"
limit = 8  # images per split whose pixels are read; None for all of them

# %%
import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Markdown
from matplotlib.patches import Patch, Rectangle
from PIL import Image
from scipy import ndimage

from scrapseg import metrics
from scrapseg.data import base, scrapsim, shots
from scrapseg.data.classes import CLASSES, IMPURITIES, SLUGS
from scrapseg.experiments.records import save_figure
from scrapseg.report import style

mpl.rcParams.update(style.STYLE)
NAMES, COLOURS = [c.name for c in IMPURITIES], list(style.class_colours()[1:])
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
def pictures(rows, names=(), titles=(), height=None, cols=0):
    """Rows of pictures without axes; names stand left of the rows, titles above the columns."""
    cols = max(cols, *(len(row) for row in rows))
    figure = style.figure(style.FULL, height or style.FULL * len(rows) / cols)
    grid = figure.subplots(len(rows), cols, squeeze=False)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    for line, row in zip(grid, rows):
        for axes in line:
            style.bare(axes)
        for axes, picture in zip(line, row):
            axes.imshow(picture)
    for line, name in zip(grid, names):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for axes, title in zip(grid[0], titles):
        axes.set_title(title)
    return figure, grid


some = scrapsim.ScrapSim(data_dir, "train", limit=12)
tinted = [style.overlay(s.image, s.label, alpha=0.25) for s in some]
figure, _ = pictures([tinted[:4], tinted[4:8], tinted[8:]], height=0.8 * style.FULL)
style.legend_below(figure, style.class_handles(range(1, len(CLASSES))))
style.as_jpeg(figure, 120)

# %% [markdown]
# The tint and the rim show where the impurities are. Without them they are easy to miss, and some of
# these images hold none at all. Heaps are deep, so that things hide below one another and little of them
# shows; belts are sparse, and things are seen whole.
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
apart = np.where(example.instances[..., None] > 0, example.image, style.faded(example.image))
three = [example.image, style.overlay(example.image, example.label, 0.6), apart]
titles = "image", "label: class of every pixel", "instances, and how much is in sight"
figure, grid = pictures([three], titles=titles, height=2.8)
for item in example.meta["instances"]:
    rows, cols = np.nonzero(example.instances == item["id"])
    top, left, right = rows.min() - 3, cols.min() - 3, cols.max() + 3
    over = {"y": top - 3, "va": "bottom"} if top > 25 else {"y": rows.max() + 6, "va": "top"}
    colour = 0.8 * COLOURS[SLUGS.index(item["class"]) - 1]
    box = Rectangle((left, top), right - left, np.ptp(rows) + 6, fill=False, ec=colour, lw=1.2)
    grid[0, 2].add_patch(box)
    flush = {"x": right, "ha": "right"} if left > 230 else {"x": left, "ha": "left"}
    name = f"{NAMES[SLUGS.index(item['class']) - 1]} {item['visible_fraction']:.0%}"
    label = grid[0, 2].text(s=name, fontsize=6, **over, **flush)
    label.set_bbox({"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6})
style.legend_below(figure, style.class_handles(np.unique(example.label)))
style.as_jpeg(figure, 130)

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
def crop(sample, item, size=96):
    """A square around one object with a margin, `size` pixels wide."""
    where = np.nonzero(sample.instances == item["id"])
    side = min(int(1.3 * max(map(np.ptp, where))) + 16, *sample.label.shape)
    top, left = (
        int(np.clip((v.min() + v.max() - side) // 2, 0, n - side))
        for v, n in zip(where, sample.label.shape)
    )
    square = Image.fromarray(sample.image[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


found = pd.DataFrame(
    {"class": k["class"], "pixels": k["pixels"], "scene": s.scene, "object": (s, k)}
    for s in train_px
    for k in s.meta["instances"]
)
found = found[found["pixels"] >= 150].sample(frac=1, random_state=0)
found["again"] = found.duplicated(["class", "scene"])  # another scene's object comes first
nine = found.sort_values("again", kind="stable").groupby("class").head(9).sort_values("pixels")
rows = [[crop(*k) for k in nine.loc[nine["class"] == slug, "object"]] for slug in SLUGS[1:]]
figure, _ = pictures(rows, [name.replace(" ", "\n") for name in NAMES], height=5.6, cols=9)
style.as_jpeg(figure, 130)

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
    ids = [i for i in split.ids if part == "all" or not split.meta[i]["instances"]]
    instances = sum(len(split.meta[i]["instances"]) for i in ids)
    pixels = len(ids) * example.label.size
    return dict(zip(("split", "class", "images", "instances", "pixels"),
                    (split.split, part, len(ids), instances, pixels)))  # fmt: skip


per_class = scrapsim.composition(splits.values())
extra = pd.DataFrame([totals(s, part) for s in splits.values() for part in ("all", "none")])
composition = pd.concat([per_class[extra.columns], extra], ignore_index=True)

# %%
SHADES = dict(zip(base.SPLITS, sns.color_palette("blend:#5B8DB8,#DCE8F2", 3)))
SPLIT_KEY = [Patch(color=shade, label=split) for split, shade in SHADES.items()]
STACK = {"hue": "split", "palette": SHADES, "multiple": "stack", "legend": False}
STACK |= {"alpha": 1, "linewidth": 0.4, "edgecolor": "white"}
named = composition.assign(name=composition["class"].map(dict(zip(SLUGS[1:], NAMES))))
named = named.dropna(subset="name").iloc[::-1]  # of a stack, the last group lies at the bottom


def count_bars(column, axes):
    """Bars of `column` for each class, one part for each split."""
    sns.histplot(named, y="name", weights=column, shrink=0.75, **STACK, ax=axes)
    for bars in axes.containers:
        axes.bar_label(bars, fmt="%.0f", label_type="center", fontsize=6, color="0.1")
    axes.set(xlabel=column, ylabel="", ylim=(-0.5, len(NAMES) - 0.5))


figure = style.figure(style.FULL, 2.4)
left, right = figure.subplots(1, 2, sharey=True)
count_bars("images", left)
count_bars("instances", right)
right.set_xlim(right=1.3 * right.get_xlim()[1])  # room for the legend
right.legend(handles=SPLIT_KEY, loc="center right")
figure

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
long = pd.concat(pd.DataFrame({"split": n, "share": 100 * np.array(v)}) for n, v in shares.items())
figure = style.figure(style.COLUMN, 2.2)
axes = figure.subplots()
sns.histplot(long.iloc[::-1], x="share", bins=24, **STACK, ax=axes)
axes.legend(handles=SPLIT_KEY)
axes.set(xlabel="impurity, % of the image's pixels", ylabel="images")
figure

# %%
everything = np.concatenate(list(shares.values()))
impure = everything[everything > 0]
prior = everything.mean()
Markdown(
    f"{np.mean(everything == 0):.0%} of the images hold no impurity. In the others impurities cover "
    f"{np.median(impure):.1%} of the pixels (median; the middle nine tenths lie between "
    f"{np.quantile(impure, 0.05):.1%} and {np.quantile(impure, 0.95):.1%}). A map that calls everything "
    f"steel is right for **{1 - prior:.1%} of all pixels** and useless, and random scores have an average "
    f"precision (AP) of {prior:.3f}. That is why accuracy ranks no method here, and why the "
    "headline numbers are AP, the IoU of the impurities alone, and the share of objects found."
)

# %% [markdown]
# ## Difficulty 2: they are small and half buried

# %%
objects = pd.concat([scrapsim.instances_table(s).assign(split=n) for n, s in splits.items()])
dots = objects.assign(seen=100 * objects["visible_fraction"]).sample(frac=1, random_state=0)
figure = style.figure(0.7 * style.FULL, 2.8)
axes = figure.subplots()
sns.scatterplot(dots, x="pixels", y="seen", hue="class", palette=dict(zip(SLUGS[1:], COLOURS)),
                s=12, alpha=0.85, edgecolor="0.2", linewidth=0.25, legend=False, ax=axes)  # fmt: skip
for edge in (metrics.SIZES["small"][1], metrics.SIZES["large"][0]):
    axes.axvline(edge, color="0.35", linewidth=0.8, linestyle="--")
axes.set(xscale="log", ylim=(0, 104), xlabel="visible pixels of the object",
         ylabel="share of the object in sight, %")  # fmt: skip
style.legend_below(figure, style.class_handles(range(1, len(CLASSES))), cols=4)
figure

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


# %%
def class_bars(values, label, level, meaning):
    """A bar for each class, and a dashed line to compare it with."""
    figure = style.figure(style.COLUMN, 2.4)
    axes = figure.subplots()
    sns.barplot(x=[values[slug] for slug in SLUGS[1:]], y=NAMES, hue=NAMES, palette=COLOURS,
                saturation=1, edgecolor="0.3", linewidth=0.4, ax=axes)  # fmt: skip
    for bar in axes.containers:
        axes.bar_label(bar, fmt="%.2f", fontsize=6.5, padding=2)
    line = axes.axvline(level, color="0.3", linestyle="--", linewidth=0.8, label=meaning)
    axes.set(xlim=(0, 1.12), xlabel=label)
    style.legend_below(figure, [line])
    return figure


class_bars(rim, "IoU, outline one pixel too wide", 1, "perfect")

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
class_bars(alone, "AUROC of colour alone, class against steel", 0.5, "chance")


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
pairs = [[genuine(val_px, v) for v in values], [lookalike(val_px, v) for v in values]]
figure, _ = pictures(pairs, ["impurity", "steel of\nthat colour"], titles=NAMES, height=1.9)
style.as_jpeg(figure, 130)

# %% [markdown]
# Shape, sheen, texture and what lies around tell the pairs apart; the colour of one pixel does not. That
# is what a model has to learn.
#
# ## Few labels
#
# A plant that starts has no labels. How a method does with few of them is measured with *k shots*: $k$
# labelled scenes for each impurity class. The draw walks the classes in rounds and adds a scene for every
# class that has too few, so that the scenes of fewer shots are among those of more; scenes without
# impurity come along at their rate in the data set.

# %% tags=["nbval-check-output"]
train = splits["train"]
view = scrapsim.instances_table(train).groupby(["class", "scene", "id"])["pixels"].sum()
clear = view[view >= train.min_pixels].reset_index()[["class", "scene"]].drop_duplicates()
drawn, counts = {}, {}
for k in (1, 4, 16):
    drawn[k] = {train.meta[i]["scene"] for i in shots.few_shot_ids(train, k, seed=0)}
    counts[k] = clear[clear["scene"].isin(drawn[k])].groupby("class").size()
    assert (counts[k] >= k).all()  # what k shots promise
    counts[k]["scenes"] = len(drawn[k])
assert drawn[1] < drawn[4] < drawn[16]
pd.DataFrame(counts).loc[[*SLUGS[1:], "scenes"]].rename_axis(columns="shots")

# %% [markdown]
# The rows count the drawn scenes that show a class clearly in one view, the last one all drawn scenes. A
# scene often holds several classes, so most classes get more than they were promised, none gets less.
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

# %%
width = style.FULL / len(chosen)
figure = style.figure(style.FULL, 2 * width + 1.95)
figure.get_layout_engine().set(w_pad=0.01, h_pad=0.02, wspace=0, hspace=0)
upper, lower = figure.subfigures(2, 1, height_ratios=(2 * width, 1.95))
for (above, below), sample in zip(upper.subplots(2, len(chosen)).T, chosen):
    above.imshow(sample.image)
    below.imshow(style.overlay(style.faded(sample.image), sample.label, 0.75))
    style.bare(above)
    style.bare(below)
left, middle, right = lower.subplots(1, 3, width_ratios=(1.15, 1.0, 1.1))
count_bars("images", left)
count_bars("instances", middle)
left.set_xlabel("images with the class")
left.tick_params(axis="y", length=0, pad=10)
key = {"marker": "s", "s": 30, "clip_on": False, "transform": left.get_yaxis_transform()}
left.scatter(np.full(len(NAMES), -0.03), NAMES, c=COLOURS, **key)
middle.set(yticks=[], xlabel="objects", xlim=(0, 1.45 * middle.get_xlim()[1]))
middle.legend(handles=SPLIT_KEY, loc="center right", fontsize=6, handlelength=1)
sns.histplot(objects, x="pixels", hue="class", hue_order=SLUGS[1:], palette=COLOURS, bins=20,
             multiple="stack", log_scale=True, alpha=1, linewidth=0.2, edgecolor="white",
             legend=False, ax=right)  # fmt: skip
right.set(xlabel="visible pixels of an object", ylabel="objects")
save_figure(figure, results_dir, "data")
style.as_jpeg(figure, 140)

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
