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
# # 07 · What is in my own scrap?
#
# **Question.** I have a folder of photographs of my own, and labels for a few of them or for none. What
# is in them that is not steel, how often is something missed, and which images should I label next?
#
# `make apply DATA=folder` runs this notebook on a folder. The outputs shown here are those of the laptop run, on a
# small demonstration folder made of ScrapSim's test images; so is what it does as it stands.

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"
images_dir = None  # your folder; None makes a demonstration folder
classes_file = None  # class list; None takes classes.yaml of the folder, else ScrapSim's nine
out_dir = None  # folder made for what comes out; None makes one below results_dir
side = None  # longer side in pixels to look at images with; None takes the model's
demo_images = 12
demo_labels = 4
own_steps = 6  # twelfths of a minute to train
folds = 2  # of the labelled images
batch_size = 4
crop = 128  # side of the training crops in pixels
next_images = 4  # how many to label next
seed = 0

# %%
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from matplotlib.patches import Patch
from PIL import Image
from tqdm.auto import tqdm

from scrapseg.app.finetune import tune
from scrapseg.app.outputs import Writer, new_folder
from scrapseg.app.report import write_report
from scrapseg.app.suggest import label_next
from scrapseg.data.folder import open_folder
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.methods import rates
from scrapseg.models.segmenter import starting_model
from scrapseg.report import figures, style
from scrapseg.train.loop import TrainConfig


# %%
def demo_folder(folder):
    """Copies of test images, and of the masks of some; what was made before is left as it is.

    Like a person's first labels, the masks are of images that together show as many classes as that
    many images can.
    """
    if folder.is_dir():
        return folder
    chosen = ScrapSim(data_dir, "test", limit=demo_images)
    held = {i: {o["class"] for o in chosen.meta[i]["instances"]} for i in chosen.ids}
    labelled, times = [], Counter()
    for _ in range(min(demo_labels, len(chosen))):
        rest = [i for i in chosen.ids if i not in labelled]
        labelled.append(max(rest, key=lambda i: sum(1 / (1 + times[c]) ** 2 for c in held[i])))
        times.update(held[labelled[-1]])
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of an interrupted run of this very function
    for part, kind, ids in (("images", "images", chosen.ids), ("masks", "labels", labelled)):
        (partial / part).mkdir(parents=True)
        for file in (chosen.path(i, kind) for i in ids):
            shutil.copyfile(file, partial / part / file.name)
    return partial.rename(folder)


# %%
if images_dir is None:
    name = f"demo-scrap-{demo_images}-{demo_labels}"
    images_dir = demo_folder(Path(results_dir) / "cache" / name)
folder = open_folder(images_dir, classes_file)
Markdown(f"**{folder.root.name}**: {len(folder.files)} images, {len(folder.labelled)} labelled.")

# %% [markdown]
# ## The classes
#
# They are words, not weights: `classes.yaml` in the folder names them, the normal one first. Without one
# they are ScrapSim's.

# %%
counts = pd.Series(
    [
        o["class"]
        for r in folder.images(list(folder.labelled)).meta.values()
        for o in r["instances"]
    ],
    dtype=object,
).value_counts()
pd.DataFrame(
    {
        "class": [c.name for c in folder.classes],
        "words": [", ".join(c.words) for c in folder.classes],
        "labelled objects": [int(counts.get(c.slug, 0)) for c in folder.classes],
    }
)

# %% [markdown]
# ## The model to start from

# %%
segmenter = starting_model(folder.classes)
segmenter = replace(segmenter, side=side or segmenter.side)
Markdown(
    f"Start: {segmenter.origin}. Images are looked at with at most {segmenter.side} pixels a side."
)

# %% [markdown]
# ## Training on the labels, if there are any
#
# The labelled images are dealt into folds, and each fold is predicted by a model that was trained on the
# others. Those predictions choose the number of steps and the threshold, and they say what is missed; but
# a fold is measured with what the *other* folds chose, never with what was chosen on its own predictions.
# The model that is kept then learns from all labelled images, with what all folds together choose.

# %%
options = {"steps": own_steps, "batch_size": batch_size, "crop": crop, "seed": seed}
config = TrainConfig(**options, evals=3, **rates("scrapseg"))
tuned = (
    tune(segmenter, folder, config, minutes=own_steps / 12, folds=folds)
    if folder.labelled
    else None
)
curve = None
if tuned:
    segmenter = tuned.segmenter
    mean = (
        tuned.history.groupby("step", as_index=False).mean(numeric_only=True).drop(columns="fold")
    )
    curve = figures.training_curves(mean)
    display(curve)

# %% [markdown]
# ## What is missed
#
# Each labelled image is judged by a model that was not trained on it, with steps and a threshold that were
# not chosen on it. An object counts as found when half of its pixels are flagged, as everywhere in ScrapSeg.

# %%
if tuned:
    s = tuned.summary
    display(
        tuned.objects.groupby("class")["found"]
        .agg(["size", "sum"])
        .set_axis(["objects", "found"], axis=1)
    )
    text = (
        f"{s['found']:.0f} of {s['objects']:.0f} objects found, miss rate {100 * s['miss_rate']:.0f} % "
        f"(95 % interval {100 * s['miss_low']:.0f} to {100 * s['miss_high']:.0f} %), "
        f"{s['false_alarms']:.1f} false alarms an image, pixel AP {s['ap']:.2f}, on {s['images']} images "
        f"in {s['folds']} folds. The model that is kept: {s['step']} steps, threshold {s['threshold']:.3f}."
    )
else:
    text = "No labels: nothing is measured. Look at the pictures, and label a few images."
Markdown(text)

# %% [markdown]
# ## All images

# %%
out = Path(out_dir or new_folder(Path(results_dir) / f"cache/applied-{folder.root.name}"))
writer, embeddings = Writer(out, folder.classes), []
for id, file in tqdm(folder.files.items(), desc="predict", unit="image"):
    prediction = segmenter.predict(file)
    writer.add(id, file, prediction, propose=id not in folder.labelled)
    embeddings.append(prediction.embedding)
images, objects = writer.finish()
images["stem"] = list(folder.files)
objects.drop(columns=["left", "top", "right", "bottom"]).head(10).round(3)

# %% [markdown]
# The most suspicious ones:


# %%
@style.styled
def sheet(stems, cols=4):
    """Thumbnails of some images, with a legend of the classes that they show."""
    rows, width = max(1, -(-len(stems) // cols)), style.FULL / cols
    fig = style.figure(style.FULL, rows * (0.75 * width + 0.18) + 0.45)
    present = set()
    for axes in (grid := fig.subplots(rows, cols, squeeze=False)).flat:
        axes.set_axis_off()
    for axes, stem in zip(grid.flat, stems, strict=False):
        axes.imshow(np.asarray(Image.open(out / "thumbnails" / f"{stem}.jpg")))
        axes.set_title(stem if len(stem) < 24 else f"{stem[:10]}…{stem[-11:]}", pad=2)
        present |= set(np.unique(Image.open(out / "labels" / f"{stem}.png")).tolist())
    look = {"edgecolor": "0.3", "linewidth": 0.4}
    shown = [c for c in folder.classes[1:] if c.index in present]
    style.legend_below(
        fig, [Patch(facecolor=np.array(c.colour) / 255, label=c.name, **look) for c in shown]
    )
    return style.as_jpeg(fig, dpi=130)


sheet(list(images.sort_values("score", ascending=False)["stem"].head(8)))

# %% [markdown]
# ## Which to label next
#
# Those the model is least sure of, as unlike as possible to one another and to what is labelled already.

# %%
ids = list(folder.files)
order = label_next(
    np.stack(embeddings),
    images["uncertainty"],
    [ids.index(i) for i in folder.labelled],
    next_images,
)
to_label = list(images["stem"].iloc[order])
sheet(to_label)

# %% [markdown]
# Is such a list better than random picks? Measured on ScrapSim (`python -m making.studies label_help`): from 4
# to 8 shots in two rounds, either way from the same start; means over the seeds, and help minus
# random for each of them.

# %%
study = Path("../results/full/tables/label_help.csv")
if study.is_file():
    rounds = pd.read_csv(study)
    last = rounds[rounds["round"] == rounds["round"].max()].pivot(index="seed", columns="arm")
    gain = pd.DataFrame({m: last[m]["help"] - last[m]["random"] for m in ("ap", "miou_impurity")})
    means = rounds.groupby(["round", "arm"])[["images", "ap", "miou_impurity"]].mean()
    better = int((gain["ap"] > 0).sum())
    verdict = f"The list beat random picks in {better} of {len(gain)} seeds, in pixel AP by "
    verdict += f"{100 * gain['ap'].mean():+.1f} points on average"
    verdict += "." if better == len(gain) else ": no gain to rely on."
    display(means.round(3), gain.round(3), Markdown(verdict))

# %% [markdown]
# ## The report and the model

# %%
segmenter.save(out / "model" / "model.safetensors")
report = write_report(
    out, folder.root.name, images, folder.classes,
    origin=segmenter.origin, threshold=segmenter.threshold, to_label=to_label,
    summary=tuned.summary if tuned else None, curve=curve._repr_png_() if curve else None,
)  # fmt: skip
found = images[images["objects"] > 0]
Markdown(
    f"**Answer.** {len(found)} of {len(images)} images show something that is not steel, {len(objects)} "
    f"objects in all. {text} Everything is in `{report.parent.name}/`, `report.html` first."
)
