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
# # 03 · The method: fine-tuning the image encoder at several scales
#
# **Question.** Vision-language models are usually asked to find anomalies with their image encoder
# *frozen*. Does fine-tuning it, read at several scales, find impurities in scrap that the frozen
# one misses, and what does each scale contribute?
#
# The outputs shown in the `.ipynb` are those of the laptop run (`notebooks/profiles/laptop.yaml`), as are
# the numbers in the paper. Run as it stands, the notebook takes the small smoke settings in the parameters
# cell and trains for a handful of steps on a few images: enough to see every step work, not to learn.

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"
limit = 8  # images per split; None for all
steps = 4  # optimiser steps
batch_size = 4
crop = 128  # side of the training crops in pixels
seed = 0
backbone = "pocket"  # or any open_clip model, with the weights named by `pretrained` or a file
pretrained = None
weights_path = None
precision = "32-true"  # of Lightning Fabric, such as bf16-mixed
grad_checkpointing = False
lr = None  # learning rates of ours; None: those tuned for the pocket backbone
encoder_lr = None
ablations = ["ours", "stages-1"]  # tags of scrapseg/experiments/studies.yaml to run here
ablation_steps = 2
ablation_seeds = [0]
long_methods = []  # those that are trained for longer as well
long_seeds = [0]
long_once = []  # those that are with all of them and one seed
long_steps = 5
longest_methods = []  # those that are trained for longer still, with one seed
longest_steps = 5
study_dir = "../results/full"  # whose ablations are shown where none are run here

# %%
import copy
import json
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython.display import Markdown, display
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle
from torch.nn import functional as F

# %%
from scrapseg import metrics
from scrapseg.data.base import SegDataset
from scrapseg.data.classes import CLASSES
from scrapseg.experiments.build import build
from scrapseg.experiments.fit import whole_images
from scrapseg.experiments.records import collect, read_metrics, read_run, save_figure, save_table
from scrapseg.experiments.run import load_maps, run_all
from scrapseg.experiments.splits import Splits, label_stack
from scrapseg.experiments.studies import Backbone, plan
from scrapseg.files import REPOSITORY
from scrapseg.models.clip import load_clip
from scrapseg.models.predict import eval_transform, predict
from scrapseg.models.prompts import TEMPLATES, class_embeddings, random_embeddings, sentences
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.segmenter import load
from scrapseg.models.wording import pixel_vectors, score_sets
from scrapseg.report import figures, scene_tables, style, tables
from scrapseg.train.augment import train_transform
from scrapseg.train.loop import TrainConfig
from scrapseg.train.losses import segmentation_loss
from scrapseg.train.paste import cutouts

# %%
mpl.rcParams.update(style.STYLE)
splits = Splits.load(data_dir, limit)
towers = Backbone(backbone, pretrained, weights_path, grad_checkpointing)
specs = plan("finetuning", globals())  # ours and the same with the encoder frozen
config = TrainConfig(**specs[0].changes, seed=seed)

# %% [markdown]
# ## The idea in one picture
#
# An open_clip model has two towers that end in one joint space: an image encoder and a text encoder.
# The text tower turns a sentence about each class into a vector $t_c$, once, and is never trained.
# The image encoder is read at four **stages** $F_s$, from fine and local to coarse and global. A
# small top-down pyramid and a projection $P_s$ take each stage to the joint space, where every
# place is compared with every class:
#
# $$L_s[c] = \langle\,\mathrm{norm}\,P_s(F_s),\; t_c\,\rangle / \tau,\qquad
#   L=\sum_s w_s\,\mathrm{up}(L_s)+b\,e_0,\qquad p=\mathrm{softmax}_c\,L,\qquad
#   \text{anomaly score} = 1-p[\text{steel}].$$
#
# The temperature $\tau$, the weights $w=\mathrm{softmax}(a)$ and one offset $b$ of the normal class are
# learned. Classes are data, not weights: a new class is a new sentence. As a drawing, on the test image with
# most classes, whose own labels stand on the right for what a perfect model would say:

# %%
labels = label_stack(splits.test)
kinds = [len(np.unique(label)) for label in labels]
shown = np.argsort(kinds, kind="stable")[::-1][:5]
example = splits.test[int(shown[0])]
labelled = style.overlay(style.faded(example.image), example.label, 0.75)

# %%
TRAINED, FROZEN = "#CFE3F1", "#E4E4E4"
canvas = (figure := style.figure(style.FULL, 3.0)).subplots()
canvas.set(xlim=(0, 14), ylim=(0, 6))
canvas.axis("off")


def box(x, y, width, height, text, colour="white"):
    """A box around (x, y) with a text in it."""
    corner = x - width / 2, y - height / 2
    shape = {"boxstyle": "round,pad=0,rounding_size=0.1", "fc": colour, "ec": "0.2", "lw": 0.7}
    canvas.add_patch(FancyBboxPatch(corner, width, height, **shape))
    canvas.text(x, y, text, ha="center", va="center", fontsize=7)


def arrow(start, end):
    """An arrow from one point to another."""
    line = {"arrowstyle": "-|>", "color": "0.2", "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    canvas.annotate("", end, start, arrowprops=line)


def picture(array, x, y, side, title):
    """A picture around (x, y) with its title above."""
    middle = x - side / 2, x + side / 2, y - side / 2, y + side / 2
    canvas.imshow(array, extent=middle, aspect="auto", zorder=2)
    canvas.text(x, y + side / 2 + 0.1, title, ha="center", va="bottom", fontsize=7)


# %%
heads = ((3.4, "image encoder"), (5.8, "pyramid,\nprojection"), (7.6, "cosine"), (9.4, "logits"))
for x, title in heads:
    canvas.text(x, 5.45, title, ha="center", va="center", fontsize=7)
rows = (4.75, 3.9, 3.05, 2.2)
for s, (y, width) in enumerate(zip(rows, (1.9, 1.6, 1.3, 1.0)), start=1):
    box(3.4, y, width, 0.55, f"stage {s}", TRAINED)
    box(5.8, y, 0.95, 0.55, f"$P_{s}$", TRAINED)
    box(7.6, y, 0.6, 0.45, r"$\langle\,\cdot\,\rangle$")
    side = 0.42 - 0.05 * (s - 1)  # a map for each class, coarser from stage to stage
    for k in range(4, -1, -1):
        style_of = {"fc": style.class_colours()[k], "ec": "white", "lw": 0.4}
        at = 9.0 + 0.09 * k, y - 0.25 + 0.05 * k
        canvas.add_patch(Rectangle(at, side, side, **style_of))
    canvas.text(9.95, y, f"$L_{s}$", ha="center", va="center", fontsize=7)
    canvas.text(4.83, y + 0.08, f"$F_{s}$", ha="center", va="bottom", fontsize=7)
    for start, end in ((3.4 + width / 2, 5.32), (6.28, 7.3), (7.9, 8.95)):
        arrow((start, y), (end, y))
    arrow((10.2, y), (10.75, 3.47 + 0.1 * (2.5 - s)))
    if s < len(rows):
        arrow((3.4, y - 0.27), (3.4, y - 0.58))
        arrow((5.8, y - 0.58), (5.8, y - 0.27))

# %%
prompts = """“steel in a pile of scrap metal”
“a photo of electric motor”
“a close-up of a piece of copper wire” …"""
canvas.text(2.2, 1.5, "prompts, one set per class", ha="center", va="bottom", fontsize=7)
box(2.2, 0.8, 4.2, 1.2, prompts)
arrow((4.3, 0.8), (4.75, 0.8))
box(5.4, 0.8, 1.3, 0.8, "text tower\n(frozen)", FROZEN)
arrow((6.05, 0.8), (6.65, 0.8))
for k, colour in enumerate(style.class_colours()):
    canvas.add_patch(Rectangle((6.7 + 0.2 * k, 0.6), 0.2, 0.4, fc=colour, ec="white", lw=0.4))
canvas.text(7.6, 0.5, "class vectors $t_c$", ha="center", va="top", fontsize=7)
arrow((7.6, 1.0), (7.6, 1.95))

# %%
picture(example.image, 1.0, 4.3, 1.7, "image")
arrow((1.87, 4.75), (2.45, 4.75))
box(11.05, 3.47, 0.6, 0.6, r"$\Sigma$", TRAINED)
canvas.text(11.1, 3.1, "softmax", ha="center", va="top", fontsize=7)
canvas.text(10.55, 4.5, "$w_1$", fontsize=7)
canvas.text(10.6, 2.4, "$w_4$", fontsize=7)
arrow((11.37, 3.6), (12.05, 4.2))
arrow((11.37, 3.35), (12.05, 2.4))
picture(labelled, 12.95, 4.3, 1.7, "class per pixel")
picture(style.heat(example.label > 0), 12.95, 1.95, 1.7, "anomaly score")
key = {"trained": TRAINED, "frozen": FROZEN}
key = [Patch(fc=colour, ec="0.2", lw=0.7, label=name) for name, colour in key.items()]
canvas.legend(handles=key, loc="lower right", ncols=2)
save_figure(figure, results_dir, "method")
figure

# %% [markdown]
# ## The encoder's stages
#
# The `pocket` backbone pairs EfficientNet-lite0 with the MiniLM sentence encoder. It is small enough to
# fine-tune on a laptop, and its image side has learned the sentence encoder's words from rendered
# everyday things (notebook a2). Each stage halves the resolution of the one before. Stride 4 still
# sees a cable as a line; at stride 32 a whole motor is one or two cells.

# %% tags=["nbval-check-output"]
fresh = build("scrapseg", seed, towers).eval()
with torch.no_grad():
    stages = fresh.encoder(torch.zeros(1, 3, 384, 384))
strides = [round(384 / features.shape[-1]) for features in stages.maps]
for stage, (stride, features) in enumerate(zip(strides, stages.maps), start=1):
    channels, height, width = features.shape[1:]
    print(
        f"stage {stage}: stride {stride:2d}, {height:2d} x {width:2d} places, {channels} channels"
    )
print(f"joint space: {stages.pooled.shape[1]} dimensions, {len(CLASSES)} class vectors")

# %% [markdown]
# ## The class vectors
#
# Each class is a handful of words in a handful of sentences (notebook 02 asks which). Its vector is
# the normalised mean of the sentence embeddings. Two of the sentences per class:

# %% tags=["nbval-check-output"]
for scrap_class in CLASSES:
    wording = sentences(scrap_class, ["photo", "scrap"], words=1)
    print(f"{scrap_class.slug:12s} {wording[0]!r}, {wording[1]!r}")

# %% [markdown]
# ## From stages and words to logits
#
# The formulas above in a few lines of torch, for the example image, against the model's own answer. The
# model never forms the map $P_s(F_s)$ of the joint space: the cosines come from $W^\top t_c$ and $W^\top W$,
# which is the same number for less work.


# %%
def joint_maps(model, image):
    """P_s(F_s) of each stage, (1, D, h, w), fine to coarse."""
    stages = model.encoder(image)
    if hasattr(model, "neck"):  # a transformer: the tower's own head plus a linear residual
        parts = zip(model.neck.residuals, stages.maps, stages.joint)
        return [head + residual(tokens) for residual, tokens, head in parts]
    maps = zip(model.projections, model.pyramid(stages.maps))
    return [torch.einsum("jc,bchw->bjhw", project.weight, h) for project, h in maps]


as_read = eval_transform(fresh.mean, fresh.std)
image, mask = SegDataset(splits.test, [example.id], as_read)[0]
with torch.no_grad():
    maps, total = joint_maps(fresh, image[None]), 0
    for w, joint in zip(fresh.stage_weights(), maps):
        cosine = torch.einsum("bdhw,cd->bchw", F.normalize(joint, dim=1), fresh.text)
        total += w * F.interpolate(cosine, size=maps[0].shape[-2:], mode="bilinear")
    logits = total * fresh.log_scale.exp()  # 1 / tau
    logits[:, 0] += fresh.normal_bias
    logits = F.interpolate(logits, size=image.shape[-2:], mode="bilinear")
    asked = fresh(image[None]).logits
assert torch.allclose(logits, asked, atol=1e-3)
score = 1 - logits.softmax(1)[0, 0]
print(f"largest difference of the logits: {(logits - asked).abs().max():.0e}; anomaly score "
      f"{score[mask > 0].mean():.3f} on impurities, {score[mask == 0].mean():.3f} on steel")  # fmt: skip

# %% [markdown]
# ## What the trainer sees
#
# Impurities are a few per cent of the pixels and some classes are rarer than others, so images are
# drawn with every class equally likely, half of the crops look at an impurity on purpose, and pieces
# cut out of other training images are pasted in (copy-paste augmentation, Ghiasi et al.,
# arXiv:2012.07177). A third of the pasted pieces is steel, so that a cut edge gives nothing away.
# Image and mask go through the same flips, turns and rescaling; hue is hardly touched, because hue
# is what tells copper from rust.

# %%
pieces = cutouts(splits.train, splits.train.ids)
transform = train_transform(crop, fresh.mean, fresh.std, pieces, paste=4)
view = SegDataset(splits.train, splits.train.ids, transform)
torch.manual_seed(seed)
with_impurity = [i for i, k in enumerate(splits.train.ids) if splits.train.meta[k]["instances"]]
tiles = []
for i in with_impurity[:6]:
    image, mask = view[i]
    std, mean = (torch.tensor(v)[:, None, None] for v in (fresh.std, fresh.mean))
    rgb = image * std + mean
    rgb = (255 * rgb.clip(0, 1)).byte().permute(1, 2, 0).numpy()
    tiles.append((rgb, style.overlay(rgb, mask.numpy())))
images, overlays = zip(*tiles, strict=True)
style.as_jpeg(style.panel(images, {"with mask": overlays}), 130)

# %% [markdown]
# ## The loss
#
# Three terms: cross-entropy per pixel; Dice over the impurity classes, so that a rare class counts as much
# as a common one; and a small image-level term on the pooled token, *does this image hold an impurity?*
# Four of the crops as a batch, and the terms by hand beside the library's:

# %%
batch, masks = (torch.stack(parts) for parts in zip(*(view[i] for i in with_impurity[:4])))


def loss_by_hand(out, masks):
    """Cross-entropy, Dice and image term of logits (B, C, H, W) and image logits (B, C)."""
    p, truth = out.logits.softmax(1), F.one_hot(masks, len(CLASSES)).permute(0, 3, 1, 2)
    pixel = -p.gather(1, masks[:, None]).log().mean()
    both, sizes = (p * truth).sum((0, 2, 3)), (p + truth).sum((0, 2, 3))
    present = truth.sum((0, 2, 3)) > 0  # a class absent from the batch adds nothing
    dice = ((1 - 2 * both / sizes) * present)[1:].mean()
    steel, impure = out.image_logits.softmax(1)[:, 0], (masks > 0).flatten(1).any(1)
    image = -torch.where(impure, 1 - steel, steel).log().mean()
    return pixel, dice, image


with torch.no_grad():
    out = fresh(batch)
    pixel, dice, image = loss_by_hand(out, masks)
    by_hand = pixel + config.dice_weight * dice + config.image_weight * image
    library = segmentation_loss(out.logits, out.image_logits, masks)
assert torch.allclose(by_hand, library.total, atol=1e-3)  # its Dice sums in single precision
print(f"{by_hand:.4f} = {pixel:.4f} + {dice:.4f} + {config.image_weight} * {image:.4f}")

# %% [markdown]
# ## One step
#
# All of the image tower learns, earlier layers more slowly (layer-wise decay). One step of AdamW on a copy
# of the model, at a twentieth of the rates as at the start of the warm-up:

# %%
student = copy.deepcopy(fresh).train()
groups = student.param_groups(config.lr / 20, config.layer_decay, config.encoder_lr / 20)
optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
loss = []
for _ in range(2):
    out = student(batch)
    loss.append(segmentation_loss(out.logits, out.image_logits, masks).total)
    optimizer.zero_grad()
    loss[-1].backward()
    optimizer.step()
assert loss[1] < loss[0]
rates_of = [group["lr"] for group in groups]
print(f"loss on this batch: {loss[0]:.3f} before the step, {loss[1]:.3f} after it")
print(
    f"rates from {min(rates_of):.1e} (first layers) to {max(rates_of):.1e} (stage weights, tau, b)"
)

# %% [markdown]
# ## Training
#
# The whole run is such steps, with warm-up and a cosine. The weights kept are those with the best
# impurity mIoU on val. Last, the offset $b$ is chosen anew on val: crops that look for impurities on
# purpose do not show how rare they are on whole images. Every trained method gets this, baselines too.

# %%
ours, frozen = run_all(specs, results_dir, data_dir)
history = json.loads((Path(results_dir) / "cache" / ours.name() / "history.json").read_text())
figures.training_curves(pd.DataFrame(history))

# %% [markdown]
# The sum is what is minimised, of cross-entropy, Dice and the image level's term; the picture on the right is the impurity mIoU on val, of
# the averaged weights, by which they are kept. As long as its last look is its best, training has not ended.
#
# ## The same model with the encoder frozen
#
# Everything else stays: the same stages, pyramid, projections, text, loss, images and steps. Only
# the image tower keeps the weights that it had before it saw scrap.

# %%
records = {"fine-tuned": ours, "frozen": frozen}
names = ["ap", "auroc", "f1_max", "aupro_30", "miou_binary", "miou", "miou_impurity"]
table = pd.DataFrame({k: pd.Series(r.metrics)[names] for k, r in records.items()}).T
table["object recall"] = [r.metrics["object_recall_1fa"] for r in records.values()]
table.round(3)

# %% [markdown]
# `ap` is the average precision over pixels, `miou_impurity` the mean IoU over the eight impurities:
# these two and the object recall are the hard ones. Area under ROC and mIoU with steel in it look
# good early, because nearly everything *is* steel.
#
# ## What each scale contributes
#
# The trained model can be asked what a single stage alone would have said: all weight is on that one, and steel has
# no offset. First on val, with the learned weights beside it:

# %%
model = ScrapSeg.load(Path(results_dir) / "cache" / ours.name() / "model.safetensors")
val_set = SegDataset(splits.val, splits.val.ids, eval_transform(model.mean, model.std))
val_labels = label_stack(splits.val)


def alone_at(k):
    """The model with all weight on its stage k."""
    one = copy.deepcopy(model)
    with torch.no_grad():
        one.normal_bias.zero_()
        one.stage_logits.fill_(-1e4)[k] = 0
    return one


seen = [*(alone_at(k) for k in range(len(strides))), model]
assert all(one.stage_weights()[k] == 1 for k, one in enumerate(seen[:-1]))
by_stage = dict(zip([*range(1, len(seen)), "all"], (predict(one, val_set) for one in seen)))

# %%
rows = []
for stage, predictions in by_stage.items():
    counts = metrics.confusion(predictions.labels, val_labels, len(CLASSES)).sum(0)
    ap = metrics.average_precision(metrics.rank(predictions.score_maps, val_labels > 0))
    miou = metrics.class_metrics(counts)["miou_impurity"]
    rows.append({"stage": stage, "val AP": ap, "val impurity mIoU": miou})
alone = pd.DataFrame(rows).set_index("stage")
alone.round(3)

# %%
learned = model.stage_weights().tolist()
figure = style.figure(style.COLUMN, 2.0)
axes = figure.subplots()
sns.barplot(
    x=[f"stride {s}" for s in strides],
    y=learned,
    color=style.method_style("scrapseg")["color"],
    saturation=1,
    ax=axes,
)
axes.bar_label(axes.containers[0], fmt="%.2f", fontsize=6.5, padding=2)
equal = axes.axhline(1 / len(learned), color="0.3", linestyle="--", linewidth=0.8, label="equal")
axes.set(ylabel="weight $w_s$", ylim=(0, 1.2 * max(learned)))
style.legend_below(figure, [equal])
figure

# %% [markdown]
# And on one test image, the anomaly score of each stage and of their sum:

# %%
test_set = SegDataset(splits.test, [example.id], eval_transform(model.mean, model.std))
single = [predict(one, test_set) for one in seen]
titles = [f"stage {n}, stride {s}" for n, s in enumerate(strides, start=1)] + ["sum"]
figure = style.panel(
    [style.overlay(example.image, example.label)] * len(single),
    {"score": [p.score_maps[0] for p in single]},
    titles=titles,
)
style.as_jpeg(figure, 130)

# %%
first = alone.drop(index="all").idxmax()
last = alone.drop(index="all").idxmin()
Markdown(
    f"Alone, stage {first['val impurity mIoU']} names impurities best and stage {last['val impurity mIoU']} worst; by AP "
    f"it is stage {first['val AP']} and stage {last['val AP']}. The sum is better than the best of them by "
    f"{100 * (alone.loc['all'] - alone.drop(index='all').max())['val impurity mIoU']:.1f} points of impurity mIoU on val: "
    "they were trained to be summed, so that one alone is not what a model of that stage alone would be (below)."
)

# %% [markdown]
# ## Fine-tuned and frozen, side by side
#
# The test images with the most classes in them:

# %%
maps = {name: load_maps(results_dir, record.name()) for name, record in records.items()}
chosen = [int(i) for i in shown]
figure = style.panel(
    [splits.test[i].image for i in chosen],
    {"truth": [labels[i] for i in chosen]}
    | {name: [m.labels[i] for i in chosen] for name, m in maps.items()}
    | {"score": [maps["fine-tuned"].score_maps[i].astype(float) for i in chosen]},
)
style.as_jpeg(figure, 130)

# %%
per_class = pd.DataFrame(
    {
        name: {c.name: record.metrics[f"iou/{c.slug}"] for c in CLASSES}
        for name, record in records.items()
    }
)
per_class["difference"] = per_class["fine-tuned"] - per_class["frozen"]
per_class.sort_values("fine-tuned", ascending=False).round(3)

# %% [markdown]
# ## Does the trained model still listen to words?
#
# It was trained with one set of class vectors: all words of a class in four templates. A plant will write
# its own prompts, so the trained model is asked again on val with other wordings: each template
# alone, and a single word per class (the first, second, third of its list). Nothing is trained for
# it; a wording is one matrix product per image (notebook 02). The control is random vectors in
# place of text.

# %%
clip = None if backbone == "pocket" else load_clip(backbone, pretrained, weights_path=weights_path)
sets = {"as trained": class_embeddings(clip=clip)}
sets |= {f"template '{t}'": class_embeddings(templates=[t], clip=clip) for t in TEMPLATES}
for k, nth in enumerate(("first", "second", "third")):
    single_word = [replace(c, words=(c.words[k],)) for c in CLASSES]
    sets[f"{nth} word only"] = class_embeddings(single_word, clip=clip)
sets["random vectors"] = random_embeddings(len(CLASSES), seed, fresh.encoder.width)
listening = {
    name: score_sets(pixel_vectors(asked, splits.val), sets)
    for name, asked in (("before it saw scrap", fresh), ("fine-tuned", model))
}

# %%
long = pd.concat(listening, names=["model"]).reset_index("model")
figure = style.figure(style.FULL, 0.17 * len(sets) + 0.85)
panels = figure.subplots(1, 2, sharey=True)
palette = {"before it saw scrap": "0.55", "fine-tuned": style.method_style("scrapseg")["color"]}
for axes, metric in zip(panels, ("ap", "miou_impurity")):
    sns.pointplot(long, x=metric, y="prompts", hue="model", palette=palette, markers=["D", "o"],
                  linestyle="none", errorbar=None, markersize=4.5, legend=False, ax=axes)  # fmt: skip
    trained = listening["fine-tuned"][metric][0]  # with the words that it was trained with
    axes.axvline(trained, color=palette["fine-tuned"], linewidth=0.8, alpha=0.6, zorder=0)
    axes.set(xlim=(0, None), xlabel=f"{tables.METRIC_LABELS[metric]} on val", ylabel="")
    axes.grid(axis="y")
prior = (val_labels > 0).mean()
prior = panels[0].axvline(prior, color="0.3", ls="--", linewidth=0.8, label="share of impurities")
dots = [mpl.lines.Line2D([], [], ls="", c=palette[name], marker=marker, label=name)
        for name, marker in zip(palette, ("D", "o"))]  # fmt: skip
style.legend_below(figure, [*dots, prior], cols=3)
save_figure(figure, results_dir, "wording_finetuned", runs=[ours.name()])
figure

# %%
columns = ["ap", "miou_impurity", "lift"]
asked = pd.concat({k: t.set_index("prompts")[columns] for k, t in listening.items()}, axis=1)
save_table(long, results_dir, "wording_finetuned")
asked.round(3)

# %%
words_only = asked.drop(index="random vectors")
spread = words_only.max() - words_only.min()
after = asked["fine-tuned"]["miou_impurity"]
worst_words = words_only["fine-tuned"]["miou_impurity"].idxmin()
Markdown(
    f"Before training, the choice of words moves AP by up to {100 * spread['before it saw scrap', 'ap']:.1f} "
    f"points; in the trained model by {100 * spread['fine-tuned', 'ap']:.1f}, and impurity mIoU by "
    f"{100 * spread['fine-tuned', 'miou_impurity']:.1f}. The worst wording is *{worst_words}* "
    f"({after[worst_words]:.3f}, as trained {after['as trained']:.3f}); random vectors reach "
    f"{after['random vectors']:.3f}. Dots that stay on the blue lines are wordings that may be used "
    "without retraining. The drop to random vectors shows that the model uses the vectors that it was trained "
    "with, whatever they are; what text is worth beside vectors that mean nothing is asked in notebook 04."
)

# %% [markdown]
# ## One change at a time
#
# What of all this matters? Each row below is ours with one thing changed, trained on all training images
# for the same number of steps and scored on **val**, so that test stays untouched by the choice. Rows
# that carry a claim have several seeds; their lines span the seeds. The steps are fewer than above: the
# rows are to be compared with each other, not with the tables. Where a profile runs no ablations of its
# own, those of profile `full` are shown.

# %%
specs = plan("ablations", globals())
run_all(specs, results_dir, data_dir)
drawn = [spec.name for spec in specs]
frame = collect(results_dir)
ran_here = bool(specs) or not (Path(study_dir) / "metrics.csv").is_file()
study = tables.ablation(frame if ran_here else read_metrics(study_dir))
study.drop(columns=["tag"]).set_index(["group", "label"]).round(3)

# %%
if len(study) > 1:
    figure = figures.ablation_dots(study)
    if ran_here:
        save_figure(figure, results_dir, "ablation", runs=drawn)
    display(figure)

# %% [markdown]
# Would a larger tower find more in the same time? EfficientNet-lite1 and -lite2 come in packages like that of -lite0. From ImageNet's
# weights, none of them aligned, each makes as many steps on all training images as it has time for while -lite0 makes 200; at -lite0's
# rates, scored on val, means over the seeds (`python -m making.studies towers --results results/full`):

# %%
sizes = pd.read_csv(REPOSITORY / "results/full/tables/towers.csv")
parts = {"seeds": ("seed", "size"), "steps": ("steps", "first")}
parts |= {k: (k, "mean") for k in ("params_m", "step_s", "ap", "miou_impurity")}
sizes = sizes.groupby("tower").agg(**parts)
assert sizes["ap"].idxmax() == "lite0" != sizes["miou_impurity"].idxmax()
sizes.round(3)

# %% [markdown]
# No larger tower is ahead in both, so -lite0 stays.
#
# Most misses are objects of under 300 pixels. Does a finer stage (stride 2 besides, its way from the tower new), a closer look while training (1.5
# times the size, crops of 192 pixels) or drawing by size (each class and size equally often, crops look at small objects as often as at large ones) find
# more of them? 200 steps on all training images, at ours' rates, scored on val (`python -m making.studies small_things --results results/full`):
# means over the seeds of AP, impurity mIoU and the recall of objects at one false alarm an image, by size.

# %%
small = pd.read_csv(REPOSITORY / "results/full/tables/small_things.csv")
counted = json.loads((REPOSITORY / "results/full/tables/small_things.json").read_text())["objects"]
recalls = [f"object_recall_1fa/{size}" for size in tables.SIZES]
by_arm = small.groupby("arm", sort=False)
parts = ["step_s", "ap", "miou_impurity", "object_recall_1fa", *recalls]
display(by_arm[parts].mean().assign(seeds=by_arm.size()).round(3))
plain, *tried = small["arm"].unique()
of_seed = small.set_index(["arm", "seed"])[["miou_impurity", recalls[0]]]
for arm in tried:
    gaps = 100 * (of_seed.loc[arm] - of_seed.loc[plain])
    ends = [f"{x.mean():+.1f} ({x.min():+.1f} to {x.max():+.1f})" for _, x in gaps.items()]
    assert gaps[recalls[0]].min() <= 0  # not with each seed
    told = f"{ends[0]} points of impurity mIoU, {ends[1]} of the recall of small objects"
    display(Markdown(f"*{arm}* less *{plain}*, by seed: {told} ({counted['small']} on val)."))

# %% [markdown]
# Val has few small objects, so that one more of them is some points of recall. Neither the finer stage, whose steps take twice as long, nor
# drawing by size finds more of them in each seed; neither is taken. Magnifying is what the longest run further down was trained with once more.
#
# Is the frozen encoder behind because its learning rates were chosen for ours? Its runs have those of ours. Here it gets the trials
# that ours chose by, and one more since the highest of those was best: all training images, scored on val, one seed
# (`python -m making.studies own_rates --results results/full`; the encoder's rate does nothing to it):

# %%
trials = pd.read_csv(REPOSITORY / "results/full/tables/own_rates.csv")
display(trials.set_index(["method", "lr"]).round(4))
best, used = trials["val"].max(), trials.loc[trials["used"], "val"].item()
told = f"At its best rates it has {100 * (best - used):.1f} points of impurity mIoU more than at those used"
display(Markdown(f"{told}, after {trials['steps'].max()} steps."))

# %% [markdown]
# ## Is it trained long enough?
#
# The comparison gives every method the same steps, as many as a laptop has time for. The longer runs of
# profile `full` ask two things. Does the order hold with more steps? Ours, ours with the tower frozen and SegFormer's decoder on the
# image tower that ours starts from, its strongest rival, are trained for longer with three of the comparison's seeds, with 4 and 16
# labelled scenes a class and with all. With all alone there are SegFormer from ImageNet's weights, ours not aligned and U-Net, which gives
# classes up in the comparison's steps and none with more (how many seeds each has stands below). And when does it end? One run of ours
# goes on for longer still. Each run has a learning rate that falls to zero at its own end, so a point is no look at a longer run.

# %%
specs = plan("long", globals())
run_all(specs, results_dir, data_dir)
own = bool(specs) or not (Path(study_dir) / "metrics.csv").is_file()
if own:
    collect(results_dir)
    by_steps, gaps = scene_tables.long_bands(results_dir), scene_tables.long_paired(results_dir)
else:
    saved = [Path(study_dir) / "tables" / f"long_{name}.csv" for name in ("bands", "paired")]
    by_steps, gaps = (pd.read_csv(path, dtype={"steps": str, "shots": str}) for path in saved)
for shots, of_shots in by_steps.groupby("shots", sort=False):
    display(
        Markdown(f"**Labelled scenes a class: {shots}**"),
        figures.quality_curve(of_shots, along="steps"),
    )

# %% [markdown]
# Bands and bars are 95 % intervals, of several seeds of the mean over seeds and test scenes, of one over scenes. Ours minus each
# rival with as many steps, in points, paired by seed and scene (p corrected for all rivals and numbers of labels of a metric):

# %%
gaps = gaps[gaps["metric"].isin(["ap", "miou_impurity"])]
shown = 100 * gaps[["value", "lo", "hi"]]
told = shown.apply(lambda r: f"{r['value']:+.1f} ({r['lo']:+.1f} to {r['hi']:+.1f})", axis=1)
columns = ["shots", "steps", "scrapseg minus", "seeds"]
gaps.astype({"steps": int}).assign(points=told).pivot(
    index=columns, columns="metric", values=["points", "p_holm"]
)

# %%
others = {
    "segformer-aligned": "SegFormer on the same tower",
    "scrapseg-frozen": "ours with it frozen",
}
lead = gaps[gaps["metric"].eq("miou_impurity") & gaps["seeds"].gt(1)]
for other, rows in lead.groupby("scrapseg minus", sort=False):
    for row in rows.itertuples():
        holds = "beyond" if row.p_holm < 0.05 else "not shown to be beyond"
        ends = f"{100 * row.value:+.1f} points of impurity mIoU ({100 * row.lo:.1f} to "
        ends += f"{100 * row.hi:.1f}) from {others.get(other, other)}"
        told = f"After {row.steps} steps, labelled scenes a class: {row.shots}, ours is {ends}"
        display(Markdown(f"{told} ({row.seeds} seeds): {holds} what seeds and scenes vary."))

# %% [markdown]
# Is the lead over SegFormer the head's? The alignment trains tower, pyramid and projections, and ours begins with all of them; a rival's decoder
# on that tower is drawn anew. So ours once more, with the aligned tower and a head drawn anew (the one that *not aligned* has of the
# same seed), at the steps and seeds of the others (`python -m making.studies new_head --results results/full`). In points with 95 %
# intervals over seeds and scenes, p corrected over all rows of a metric. This table is of before the draws of seeds were widened
# (notebook 04): its intervals are too narrow, its p too small; what is not shown here is not shown by wider ones:

# %%
path = REPOSITORY / "results/full/tables/new_head.csv"
new = pd.read_csv(path, dtype={"shots": str}).dropna(subset="p")
ends = 100 * new[["value", "lo", "hi"]]
told = ends.apply(lambda r: f"{r['value']:+.1f} ({r['lo']:+.1f} to {r['hi']:+.1f})", axis=1)
new = new.assign(points=told)
columns = ["shots", "steps", "method", "minus", "seeds"]
new.pivot(index=columns, columns="metric", values=["points", "p_holm"])

# %% [markdown]
# Rows of `scrapseg` less the new head say what that start is worth, rows of the new head less `segformer-aligned` what ours has over
# the rival once both heads are new. Where p is not below 0.05 in the latter, the lead is that of a model that was aligned as a whole,
# and not shown to be its decoder's.

# %% [markdown]
# Had they ended? Of the longer runs, how many there are, at which step val was best, and in how many that is the last look: there
# the budget ended the training, and not val.

# %%
ended = [
    {"method": run.method, "shots": str(run.shots), "steps": run.config["steps"]}
    | {"best": run.config["best_step"], "last": run.config["best_step"] == run.config["steps"]}
    for run in map(
        read_run, sorted((Path(results_dir if own else study_dir) / "runs").glob("*-steps.json"))
    )
]
if ended:
    parts = {
        "runs": ("best", "size"),
        "best at step, mean": ("best", "mean"),
        "last is best": ("last", "sum"),
    }
    display(pd.DataFrame(ended).groupby(["shots", "method", "steps"]).agg(**parts).round(0))

# %% [markdown]
# Which classes and sizes hold the rest back (means over the seeds in brackets; objects by visible pixels: *small* below 300,
# *large* above 1500; recall at one false alarm an image):

# %%
longer = tables.long(read_metrics(results_dir if own else study_dir))
parts = ["ap", "miou", "miou_impurity", "object_recall_1fa"]
parts += [f"object_recall_1fa/{s}" for s in tables.SIZES] + [f"iou/{c.slug}" for c in CLASSES]
columns = {f"{ours.config['steps']} steps, here (1)": {k: ours.metrics[k] for k in parts}}
for _, row in longer.iterrows():
    of = f"{row['shots']} labels, {row['steps']} steps ({row['seeds']})"
    columns[f"{row['label']}: {of}"] = row[parts]
pd.DataFrame(columns).astype(float).round(3)

# %% [markdown]
# ## The longest run on most scenes, measured here
#
# Further down is what more scenes bring. The weights of the longest run with them are shipped (`data/pocket/benchmark.safetensors`,
# half precision), so that it is measured anew without its training. Its logits are divided by a temperature that val chose (Guo et
# al. 2017), which leaves the most likely class as it is; pixels ranked by the chance of any impurity may change places. *Here* it is
# measured on test; beside it stand what its making measured, on ScrapSim's train and val too, and the run's record.

# %%
shipped = load(REPOSITORY / "data/pocket/benchmark.safetensors")
test_set, test_labels = whole_images(splits.test, shipped.model), label_stack(splits.test)
found = predict(shipped.runtime, test_set)
kinds = metrics.confusion(found.labels, test_labels, len(CLASSES)).sum(0)
anew = {"ap": metrics.average_precision(metrics.rank(found.score_maps, test_labels > 0))}
anew |= {"miou_impurity": metrics.class_metrics(kinds)["miou_impurity"]}
study_tables = REPOSITORY / "results/full/tables"
made = pd.read_csv(study_tables / "longest.csv", index_col="split")[list(anew)].T
told = json.loads((study_tables / "calibration.json").read_text())
beside = made.add_prefix("made, ").assign(record=pd.Series(told["record"]), here=pd.Series(anew))
if limit is None:
    assert np.allclose(beside["here"], beside["made, test"], atol=0.002)
print(f"{told['run']}: {shipped.origin}")
beside.round(4)

# %% [markdown]
# How sure it is, before the temperature and after: *sure* is the mean probability of the most likely class, *right* how often that is
# true, `ece` the expected calibration error over fifteen bins. Of all pixels, nearly all of them steel, and of those that it calls an
# impurity; chosen on val, so test says what it is worth.

# %%
table = pd.read_csv(study_tables / "calibration.csv")
table.set_index(["split", "pixels", "temperature"]).round(4)

# %% [markdown]
# ## What would bring more: scenes, or a closer look?
#
# What lies between its training images and test is at most what more scenes could bring. The same generator made further ones, from
# another seed, for training only; a run's settings are as before (`python -m making.studies more_scenes --results results/full`; they are not in the
# repository; the strongest rival with them comes last). Below: runs with and without them, one seed each; `val` is what a run's weights were
# chosen by, `train_miou_impurity` is of ScrapSim's own training images (empty where the weights are gone).

# %%
more = pd.read_csv(study_tables / "more_scenes.csv")
pair = {n: f"{n} images" for n in sorted(more["images"].unique())}
hues = dict(zip(pair.values(), ("0.55", style.method_style("scrapseg")["color"])))
figure = style.figure(style.FULL * 0.8, 2.3)
for axes, metric in zip(figure.subplots(1, 2), ("ap", "miou_impurity")):
    sns.lineplot(more.assign(train=more["images"].map(pair)), x="steps", y=metric, hue="train", style="train",
                 palette=hues, markers=["o", "s"], dashes=False, legend=metric == "ap", ax=axes)  # fmt: skip
    axes.set(xscale="log", ylim=(0, 1.15 * more[metric].max()), xlabel=figures.ALONG["steps"])
    axes.set_xticks(more["steps"].unique(), more["steps"].unique(), minor=False)
    axes.set_ylabel(f"{tables.METRIC_LABELS[metric]} on test")
    axes.minorticks_off()
    axes.grid(axis="y")
figure.axes[0].legend(title="learned from", loc="lower right")
figure

# %%
NAMES = {"miou_impurity": "impurity mIoU", "ap": "AP"}


def in_words(row):
    """The gaps of a row with their intervals, in points, and which hold after Holm's correction."""
    gap = {m: [100 * getattr(row, f"{m}_{end}") for end in ("gap", "lo", "hi")] for m in NAMES}
    told = [f"{v:+.1f} of {NAMES[m]} ({lo:+.1f} to {hi:+.1f})" for m, (v, lo, hi) in gap.items()]
    shown = [name for m, name in NAMES.items() if getattr(row, f"{m}_p_holm") < 0.05]
    return f"{', '.join(told)}; shown over scenes: {' and '.join(shown) or 'neither'}."


of_run, found = ["seed", "best_step", "val"], ["ap", "miou_impurity", "object_recall_1fa"]
display(more.set_index(["steps", "images"])[[*of_run, *found, "train_miou_impurity"]].round(4))
for row in more.dropna(subset=["ap_gap"]).itertuples():
    display(Markdown(f"More scenes after {row.steps} steps, points on test: {in_words(row)}"))

# %% [markdown]
# Gaps are paired by test scene, with 95 % intervals over scenes alone: how much a seed varies is not in them. What holds goes by p
# after Holm's correction over all pairs of a metric.

# %% [markdown]
# And a closer look: the longest run's model sees each image as it is and magnified, and the probabilities are averaged; val chooses
# how, by impurity mIoU (`python -m making.studies magnified --results results/full`). What of that holds on test, by the size
# of objects (gaps to the plain look are paired by scene, with 95 % intervals over scenes):

# %%
magnified = pd.read_csv(study_tables / "magnified.csv").set_index(["split", "scales"])
sizes = [f"object_recall_1fa/{size}" for size in tables.SIZES]
on_test = magnified.loc["test", sizes].T.rename_axis("size").reset_index()
on_test["size"] = [*tables.SIZES]
on_test = on_test.melt("size", var_name="seen at", value_name="recall")
figure = style.figure(style.COLUMN, 2.4)
axes = figure.subplots()
sns.barplot(on_test, x="size", y="recall", hue="seen at",
            palette=["0.6", style.method_style("scrapseg")["color"]], legend=False, ax=axes)  # fmt: skip
axes.set(
    ylim=(0, 1), xlabel="visible size of an object", ylabel="object recall\nat 1 false alarm/image"
)
for bars, name in zip(axes.containers, on_test["seen at"].unique()):
    bars.set_label("as it is" if name == "1" else f"magnifications {name}")
style.legend_below(figure, axes.containers)
display(figure)
magnified.drop(columns="images").round(3)

# %% [markdown]
# And magnified while it learns? The longest run on more scenes, once more with each crop at 1.5 times its size (it shows less of the
# scene, so that a step takes a quarter more pixels and not twice as many), and that run as it was; each is seen plain, at the size that it learned
# at, and at the magnifications of it that val chooses (`python -m making.studies more_magnified --results results/full`). One run each, so a seed's luck is not in the intervals.

# %%
larger = pd.read_csv(study_tables / "more_magnified.csv")
of_row = ["trained_at", "look", "scales"]
display(larger.set_index(of_row)[[*found, "object_recall_1fa/small", "s_per_image"]].round(3))
for row in larger.dropna(subset=["ap_gap"]).itertuples():
    look = f"trained at {larger['trained_at'].max():g} minus at {row.trained_at:g}, {row.look} look"
    display(Markdown(f"More scenes, {row.steps} steps, {look}, points on test: {in_words(row)}"))

# %% [markdown]
# Are more scenes and a closer look ours alone? SegFormer's decoder on our tower, at its own rates, has learned from the same scenes for as many steps with
# the same seed; *plain* is the image as it is, *chosen* the magnifications that val chooses for each of the two, as training left them,
# without a temperature (`python -m making.studies more_rivals --results results/full`); SegFormer from ImageNet's weights has for the shorter
# of the two (`second_rival`). One run each; gaps are ours minus it, with 95 % intervals over scenes.

# %%
alike = pd.concat(pd.read_csv(study_tables / f"{n}.csv") for n in ("more_rivals", "second_rival"))
of_row = ["steps", "images", "method", "look", "scales"]
display(alike.set_index(of_row)[[*found, "object_recall_1fa/small"]].round(3))
for row in alike.dropna(subset=["ap_gap"]).itertuples():
    look = f"{row.steps} steps, {row.look} ({row.scales}), ours minus {row.method}"
    display(Markdown(f"More scenes, {look}, points on test: {in_words(row)}"))

# %% [markdown]
# What was tried on val and dropped, its numbers not kept: a stage fused of all four beside them; distilling the aligned model's scores of
# everyday words while training, which cost the classes with labels more than it kept of words; for U-Net a wider last stage and instance
# norms, with which it gave classes up all the same in few steps. Not tried: a pull towards the first weights (L2-SP). Of rivals SegFormer
# alone was given more scenes: on our tower for 2,000 and 8,000 steps, from ImageNet's weights for 2,000.
#
# ## The answer

# %%
gain = {
    k: ours.metrics[k] - frozen.metrics[k] for k in ("ap", "miou_impurity", "object_recall_1fa")
}
helps, hurts = "", ""
if len(study) > 1:
    ranked = study[(study["group"] != "") & (study["seeds"] == study["seeds"].max())]
    ranked = ranked.set_index("label")["miou_impurity_diff"].sort_values()
    worst, best = ranked.index[0], ranked.index[-1]
    hurts = f" Of single changes (seeds: {study['seeds'].max()}), *{worst}* costs most ({100 * ranked[worst]:+.1f} points"
    helps = f" of impurity mIoU on val); the best is *{best}* ({100 * ranked[best]:+.1f})."
best_stage = alone.drop(index="all")["val AP"].idxmax()
alone_ap, sum_ap = alone["val AP"].drop(index="all").max(), alone.loc["all", "val AP"]
display(
    Markdown(
        f"In this `{profile}` run ({len(splits.train)} training images, {steps} steps), fine-tuning "
        f"the image encoder changes pixel AP by **{100 * gain['ap']:+.1f} points** (to "
        f"{ours.metrics['ap']:.3f}), impurity mIoU by **{100 * gain['miou_impurity']:+.1f}** (to "
        f"{ours.metrics['miou_impurity']:.3f}) and object recall at one false alarm per image by "
        f"**{100 * gain['object_recall_1fa']:+.1f}** (to {ours.metrics['object_recall_1fa']:.3f}) "
        f"against the frozen encoder. The best single stage on val is stage {best_stage} with AP "
        f"{alone_ap:.3f}; all four together reach {sum_ap:.3f}. Hardest class: "
        f"{per_class['fine-tuned'].drop('steel scrap').idxmin()}.{hurts}{helps}"
    )
)

# %%
path = study_tables / "labels_paired.csv"
over = pd.read_csv(path, dtype={"shots": str}).query("`scrapseg minus` == 'scrapseg-frozen'")
for metric, rows in over[over["metric"].isin(NAMES)].groupby("metric"):
    told = "; ".join(
        f"{100 * r.value:+.1f} ({100 * r.lo:+.1f} to {100 * r.hi:+.1f}{', shown' * (r.p_holm < 0.05)}) with {r.shots}"
        for r in rows.itertuples()
    )
    seeds = " and ".join(map(str, sorted(set(rows["seeds"]))))
    display(
        Markdown(f"Profile `full`, {seeds} seeds, points of {NAMES[metric]}, by labels: {told}.")
    )
