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
# **Question.** I have a folder of photographs of my own, and labels for a few of them or for none. What in
# them is not what it should be, and how much of that is missed?
#
# `make apply DATA=folder` runs this notebook on a folder. As it stands, and in the outputs shown here, it runs on a
# small demonstration folder: belt waste where that has been downloaded (`python -m scrapseg fetch belt-waste`), else
# some of ScrapSim's test images.

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"
images_dir = None  # your folder; None makes a demonstration folder
classes_file = None  # class list; None takes classes.yaml of the folder, else the model's
model_file = None  # a saved model to go on with; None takes the one that comes along
out_dir = None  # folder made for what comes out; None makes one below results_dir
side = None  # longer side in pixels to look at images with; None takes the model's
adapt = None  # to the images without labels: True, False, or None for where they show mostly steel
minutes = 0.6  # for everything
threshold = None  # by hand
empty = "clean"  # images that labels mention without an object: clean, or unlabelled
recall = None  # or the threshold that finds this share of the labelled objects
demo_images = 12
demo_labels = 4
batch_size = 4
crop = 128  # side of the training crops in pixels
next_images = 4  # how many to label next
seed = 0

# %%
import html
import json
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from matplotlib.patches import Patch
from PIL import Image
from tqdm import tqdm

# %%
from scrapseg.app.finetune import MOST_STEEL, RATES, Tuned, doubt, in_words, tune
from scrapseg.app.outputs import Writer, new_folder, save_image, tinted
from scrapseg.app.plan import plan
from scrapseg.app.report import write_report
from scrapseg.app.suggest import label_next
from scrapseg.data import fetch
from scrapseg.data.belt_waste import BeltWaste
from scrapseg.data.folder import open_folder
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.files import atomic_write
from scrapseg.metrics import risk
from scrapseg.models.segmenter import WHOLE_SIDE, load, starting_model
from scrapseg.report import figures, style
from scrapseg.train import adapt as adaptation
from scrapseg.train.loop import TrainConfig

began = time.perf_counter()


def plain(text):
    """Text for Markdown, which passes HTML on: a file or class may be called anything."""
    return html.escape(str(text), quote=False).replace("[", "&#91;")


# %% [markdown]
# ## The folder
#
# The demonstration needs no more than a person would bring: photographs, a few labels as the tool saved them, and a
# class list of five lines.

# %%
BELT = """belt: {words: [conveyor belt, dark conveyor belt]}
wood: {words: [wood, timber]}
rubber: {words: [rubber, rubber hose]}
brick: {words: [brick, red brick], colour: "#f0e442"}
concrete: {words: [concrete, stone]}
"""


def demo_files():
    """Of each image the photograph, its label file and its classes; class list; whose they are."""
    if fetch.found("belt-waste"):
        data = BeltWaste("test", limit=demo_images)
        files = {i: data.files(data.root, data.meta[i]) for i in data.ids}
        credit = "github.com/Bazenr/Dataset-of-stacked-construction-solid-waste, CC BY-NC-SA 4.0"
    else:
        data, credit = ScrapSim(data_dir, "test", limit=demo_images), ""
        files = {i: (data.path(i, "images"), data.path(i, "labels")) for i in data.ids}
    held = {i: {o["class"] for o in data.meta[i]["instances"]} for i in data.ids}
    return files, held, BELT if credit else None, credit


# %%
def demo_folder(folder, files, held, class_list):
    """Copies of the images and of some labels; what was made before is left as it is.

    Like a person's first labels, they are of images that together show as many classes as that
    many images can.
    """
    if folder.is_dir():
        return folder
    labelled, times = [], Counter()
    for _ in range(min(demo_labels, len(files))):
        rest = [i for i in files if i not in labelled]
        labelled.append(max(rest, key=lambda i: sum(1 / (1 + times[c]) ** 2 for c in held[i])))
        times.update(held[labelled[-1]])
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of an interrupted run of this very function
    for name, ids, part in (("images", files, 0), ("labels", labelled, 1)):
        (partial / name).mkdir(parents=True)
        for source in (files[i][part] for i in ids):
            shutil.copyfile(source, partial / name / source.name)
    if class_list:
        (partial / "classes.yaml").write_text(class_list)
    return partial.rename(folder)


# %%
credit = ""
if images_dir is None:
    files, held, class_list, credit = demo_files()
    name = f"demo-{'belt' if credit else 'scrapsim'}-{demo_images}-{demo_labels}"
    images_dir = demo_folder(Path(results_dir) / "cache" / name, files, held, class_list)
    adapt = False  # these are no photographs of steel, or renders themselves
start = load(model_file) if model_file else starting_model()
start = replace(start, side=side or start.side)
folder = open_folder(images_dir, classes_file, start.classes, empty=empty)
whose = f"The photographs, and so their pictures here: {credit}." if credit else ""
Markdown(plain(folder).replace("\n  note:", "\n-") + f"\n\n{whose}")

# %% [markdown]
# ## The classes
#
# They are words, not weights: `classes.yaml` in the folder names them, the normal one first.

# %%
own = folder.images(list(folder.labelled))
counts = Counter(o["class"] for record in own.meta.values() for o in record["instances"])
pd.DataFrame(
    {
        "class": [c.name for c in folder.classes],
        "words": [", ".join(c.words) for c in folder.classes],
        "labelled objects": [counts[c.slug] for c in folder.classes],
    }
)

# %% [markdown]
# ## What will be done
#
# What is learned, what that assumes and how long it takes is decided in `scrapseg/app/plan.py`.

# %%
planned = plan(
    folder, start, own=bool(model_file), adapt=adapt, minutes=minutes,
    threshold=threshold, recall=recall, made=out_dir,
)  # fmt: skip
Markdown("\n".join(f"- {plain(note)}" for note in planned.notes))

# %% [markdown]
# ## Adaptation without labels
#
# Rendered impurities are pasted into the photographs, and the photographs' own pieces as distractors, so that no
# edge becomes the mark of an impurity; what the model is sure of already is not called steel. What is pasted is of
# ScrapSim's eight classes; of others the model may unlearn some.

# %%
out = Path(out_dir or new_folder(Path(results_dir) / f"cache/applied-{folder.root.name}"))
kept = out / "model/model.safetensors"
interrupted = kept.with_suffix(".yaml").is_file()  # a run had learned; it is what is written last
unfinished = out / "unfinished"  # of learning
before, starts = start.with_classes(folder.classes), {}
if planned.adapt and not interrupted:
    photos, scenes = list(folder.files.values()), ScrapSim(data_dir, "train")
    options = {"minutes": planned.adapt, "seed": seed, "side": min(start.side, WHOLE_SIDE)}
    options |= {"bits": folder.bits, "state": unfinished / "adapting.ckpt"}
    if not unfinished.joinpath("adapted.yaml").is_file():
        adapted = adaptation.adapt(before, photos, scenes, **options)
        adapted.save(unfinished / "adapted.safetensors")
    starts["adapted"] = replace(load(unfinished / "adapted.safetensors"), side=start.side)
starts["own" if model_file else "scrapsim"] = before
segmenter = load(kept) if interrupted else next(iter(starts.values()))
if threshold is not None:
    segmenter = replace(segmenter, threshold=threshold)
Markdown(f"Now: {plain(segmenter.origin)}.")

# %% [markdown]
# ## Training on the labels
#
# The labelled images are dealt into folds, and each fold is predicted by a model that was trained on the others. Those
# predictions choose where to start, how long to train, which may be not at all, and the threshold; and they say what is
# missed. But a fold is measured with what the *other* folds chose, never with what was chosen on its own predictions.
# The model that is kept then learns from all labelled images, with what all folds together choose. Where a class has
# words and no label, so that the folds cannot judge it, and where there is no time for a race of starts, it starts from
# the model that knows rendered scrap; else from the better of that one and the one before it, which knows words and
# ImageNet alone.
# Where images are taken to show mostly steel, those without labels are half of what is learned from: pieces of the
# labelled ones are laid on them, what the model is sure of is not called steel, and the threshold rises until they are
# quiet, as far as half of the labelled objects is still found.

# %%
config = TrainConfig(batch_size=batch_size, crop=crop, seed=seed, **RATES)
tuned, curve, measured = None, None, out / "model/measured.json"
if planned.train and interrupted:
    said = json.loads(measured.read_text())
    tables = [pd.DataFrame(said[name]) for name in ("history", "objects")]
    tuned = Tuned(segmenter, *tables, said["summary"])
elif planned.train:
    named = [c for c in folder.classes[1:] if any(map(str.isascii, c.words))]
    if not model_file and all(counts[c.slug] for c in named):
        starts["aligned"] = replace(starting_model(folder.classes, shipped=False), side=start.side)
    steel = [folder.files[i] for i in planned.steel]
    looked_at = min(start.side, WHOLE_SIDE), seed, folder.bits, MOST_STEEL
    steel = adaptation.read_photos(steel, *looked_at)
    given = {"minutes": planned.train, "threshold_of": planned.threshold_of, "steel": steel}
    tuned = tune(starts, folder, config, **given)
    segmenter = tuned.segmenter
    said = {name: getattr(tuned, name).to_dict("list") for name in ("history", "objects")}
    atomic_write(measured, json.dumps(said | {"summary": tuned.summary}, default=float))
if tuned:
    mean = tuned.history.groupby("step", as_index=False).mean(numeric_only=True)
    curve = figures.training_curves(mean.drop(columns="fold"))
    display(curve)
if not interrupted:
    segmenter = load(segmenter.save(kept))
shutil.rmtree(unfinished, ignore_errors=True)

# %% [markdown]
# ## What is missed
#
# An object counts as found when half of its pixels are flagged, as everywhere in ScrapSeg. What is promised of
# other images like these (conformal risk control, arXiv:2208.02814) rests on the same predictions of the folds: it
# assumes that the model that is kept scores an object no lower than theirs, which need not be so: check it on images
# that it has not seen.

# %%
text = "Nothing is measured, for want of labels: look at the pictures, and label a few images."
if tuned:
    found = tuned.objects.groupby("class")["found"].agg(["size", "sum"])
    display(found.set_axis(["objects", "found"], axis=1))
    text = in_words(tuned.summary)
promise = risk.in_words(tuned.segmenter.promises.get("objects") if tuned else None)
Markdown(f"{text} {promise}")

# %% [markdown]
# ## All images
#
# Some are looked at with the model as it was before, too: where did it change its mind? An interrupted run of
# `make apply` goes on here: what it wrote of an image counts if image and model are still the same.

# %%
writer = Writer(out, folder.classes, f"{segmenter.fingerprint()} {folder.bits}")
changes, found_before, ids = {}, {}, list(folder.files)
for id, file in tqdm(folder.files.items(), desc="predict", unit="image"):
    propose = id not in folder.labelled
    if id not in planned.compared and writer.kept(id, file, propose=propose):
        continue
    prediction = segmenter.predict(folder.photo(id))
    writer.add(id, file, prediction, propose=propose)
    if id in planned.compared:
        first = before.predict(prediction.image)
        changes[id] = (first.label != prediction.label).mean()
        counts = Counter(o.index for o in first.objects)
        found_before[id] = {f"{c.slug}_objects": counts[c.index] for c in folder.classes[1:]}
        thumbnail = Image.fromarray(tinted(first, folder.classes, 320))
        save_image(out / "before" / f"{id}.jpg", thumbnail, format="jpeg", quality=82)
images, objects = writer.finish()
images["stem"] = ids
objects.drop(columns=["left", "top", "right", "bottom"]).head(10).round(3)


# %%
@style.styled
def sheet(pictures, cols=4):
    """Thumbnails by title (folder, id), with a legend of the classes and whose they are."""
    rows, width = max(1, -(-len(pictures) // cols)), style.FULL / cols
    fig = style.figure(style.FULL, rows * (0.75 * width + 0.18) + 0.6)
    grid, present = fig.subplots(rows, cols, squeeze=False), set()
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, (part, id)) in zip(grid.flat, pictures.items(), strict=False):
        axes.imshow(np.asarray(Image.open(out / part / f"{id}.jpg")))
        axes.set_title(title if len(title) < 26 else f"{title[:14]}…{title[-10:]}", pad=2)
        present |= set(np.unique(Image.open(out / "labels" / f"{id}.png")).tolist())
    look = {"edgecolor": "0.3", "linewidth": 0.4}
    shown = [c for c in folder.classes[1:] if c.index in present]
    colours = [Patch(facecolor=np.array(c.colour) / 255, label=c.name, **look) for c in shown]
    style.legend_below(fig, colours)
    if credit:
        fig.suptitle(f"photographs: {credit}", fontsize=6)
    return style.as_jpeg(fig, dpi=130)


# %%
changed = sorted(changes, key=changes.get, reverse=True)[:4]
if changed:
    pairs = {f"before: {id}": ("before", id) for id in changed}
    display(sheet(pairs | {f"after: {id}": ("thumbnails", id) for id in changed}))

# %% [markdown]
# The most suspicious ones now:

# %%
suspicious = list(images.sort_values("score", ascending=False)["stem"].head(8))
sheet({id: ("thumbnails", id) for id in suspicious})

# %% [markdown]
# ## Which to label next
#
# Those the model is unsure of, as unlike as possible to one another and to what is labelled. On ScrapSim such a
# list was not better than random picks (`results/full/tables/label_help.csv`): a convenience, no promise.

# %%
labelled = [ids.index(i) for i in folder.labelled]
order = label_next(writer.embeddings, images["uncertainty"], labelled, next_images)
to_label = list(images["stem"].iloc[order])
Markdown(plain(", ".join(to_label)))

# %% [markdown]
# ## The report

# %%
doubts = [line for line in [doubt(tuned.summary) if tuned else ""] if line]
took = f"It took {(time.perf_counter() - began) / 60:.1f} minutes."
report = write_report(
    out, folder.root.name, images, folder.classes, origin=segmenter.origin,
    threshold=segmenter.threshold, credit=credit, to_label=to_label,
    changed={id: found_before[id] for id in changed},
    notes=[*doubts, *folder.notes, *planned.notes[:-1], promise, took],  # not how long it would take
    summary=tuned.summary if tuned else None,
    curve=curve._repr_png_() if curve else None,
)  # fmt: skip
found = images[images["objects"] > 0]
Markdown(
    f"**Answer.** {len(found)} of {len(images)} images show something that is not "
    f"{plain(folder.classes[0].name)}, {len(objects)} objects in all. {text} Everything is in "
    f"<code>{plain(report.parent.name)}/</code>, `report.html` first."
)
