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
# # A2 · How the pocket model learned its words
#
# **Question.** The pocket model pairs an image tower that knows ImageNet with a sentence encoder that has
# never seen a picture. Can its image side learn the sentence encoder's words from *rendered everyday
# things* alone, and do those words then find impurities in scrap that it has never seen?
#
# The weights in `data/pocket` were made by `python -m making.align train` from the studio set (`make
# render-studio`), which is not shipped because anyone can render it. **As it stands, this notebook shows
# every step in small:** if the studio set is there, it draws batches from it and aligns for a handful of
# steps, too few to learn anything; if it is not, those cells say so and are skipped. Everything from
# *What was shipped* on needs nothing but this repository.

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"
studio_dir = "../data/studio"
pocket_dir = "../data/pocket"
limit = 8  # ScrapSim images that are scored; None for all of them
steps = 4  # alignment steps to watch, where the studio set is there

# %%
import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython.display import Image, Markdown, display

from making.align.align import AlignConfig, align
from making.align.collage import CollageConfig, draw_view
from making.align.evaluate import class_log_odds, retrieval, zero_shot
from making.align.studio import Facts, Studio, TextBank, relation, wordings
from scrapseg.data.classes import CLASSES, IMPURITIES
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.records import save_table
from scrapseg.models.pocket import load_aligned, pocket_model
from scrapseg.report import style

mpl.rcParams.update(style.STYLE)
record = json.loads((Path(pocket_dir) / "alignment.json").read_text())
has_studio = (Path(studio_dir) / "metadata.jsonl").is_file()

# %% [markdown]
# ## The idea
#
# The text tower is locked: its vectors $t$ are the target, and all of the image side learns to land on
# them ([LiT](https://arxiv.org/abs/2111.07991), there with the image tower locked). Two terms do it. The
# **caption** term takes the pooled token of a picture to its caption, away from 512 others. The
# **dense** term takes every cell $x$ of a picture to the texts $T^+_x$ that are true of what it shows, away
# from those $T^-_x$ that are not (the idea of [dino.txt](https://arxiv.org/abs/2412.16334)):
#
# $$-\log\frac{\sum_{t\in T^+_x} e^{L_x[t]}}{\sum_{t\in T^+_x\cup T^-_x} e^{L_x[t]}},$$
#
# averaged over the cells of each object, then over objects, so that a bolt counts as much as a table.
# $L_x[t]$ is the model's own logit, the weighted sum over its four scales.
#
# ## The studio set
#
# One to three everyday things on a plain ground, with a caption from a grammar. No scrap, no ScrapSim
# scene; no spray can and no rubber hose either, so that two of the eight impurities stay untaught.

# %%
sheet = Path(studio_dir) / "contact_sheet.jpg"
if sheet.is_file():
    display(Image(filename=str(sheet), width=900))
made_from = pd.DataFrame({k: record["studio"][k] for k in ("train", "heldout")})
made_from

# %% [markdown]
# ## What is true of a thing
#
# A "bucket" is a right answer for a red plastic bucket, "plastic" is too, and both are wrong for a steel
# pipe. Counting the first two as mistakes would teach the model to avoid general words. So each text
# carries what it claims, and a table says what is true (1), untrue (-1) or not to be told from the records
# (0): the pipe shows the colour of its rust, which nobody wrote down.

# %% tags=["nbval-check-output"]
bucket = Facts("bucket", "plastic", "red", not_steel=True)
pipe = Facts("pipe", "rusty steel")
table = Facts(background="a wooden table")
claims = {text.sentence: text.facts for group in wordings(bucket) for text in group[:1]}
claims |= {"pipe": Facts("pipe"), "brown pipe": Facts("pipe", None, "brown")}
claims |= {name: Facts(material=name) for name in ("plastic", "steel", "wood")}
things = {"red plastic bucket": bucket, "rusty steel pipe": pipe, "a wooden table": table}
truth = [[relation(claim, thing) for thing in things.values()] for claim in claims.values()]
pd.DataFrame(truth, index=list(claims), columns=list(things))

# %% [markdown]
# ## Collages
#
# A studio picture shows one thing, large; scrap is a heap of small things that hide each other. Half of
# the training images are therefore collages: objects cut out by their masks and pasted on other
# pictures, smaller, turned, in a light of their own. Labels follow.

# %%
if has_studio:
    import random

    train, heldout = Studio(studio_dir, "train"), Studio(studio_dir, "heldout")
    torch.manual_seed(0)
    every = CollageConfig(collage_p=1.0)
    views = [draw_view(train, every, random.Random(i)) for i in range(6)]
    images = [(255 * v.image.permute(1, 2, 0)).byte().numpy() for v in views]
    tinted = [
        style.overlay(i, v.marks.numpy() % len(CLASSES)) for i, v in zip(images, views, strict=True)
    ]
    display(style.as_jpeg(style.panel(images, {"regions": tinted}), dpi=150))
else:
    display(Image(filename=str(Path(studio_dir) / "collages.jpg"), width=900))
    display(Markdown("*No studio set here, so this picture is the shipped one.*"))

# %% [markdown]
# Each tinted region is one object with texts of its own, without what other objects hide of it.
#
# ## Some steps of alignment
#
# The real run is `python -m making.align train --studio data/studio --steps 2000`; this is the same function
# on a corner of the set. A loss falls a little in the first steps because temperatures settle.

# %%
no_studio = (
    f"*No studio set in `{studio_dir}`, so this step is skipped; `make render-studio` makes it.*"
)
if has_studio:
    small = CollageConfig(size=96, texts=64, captions=64)
    config = AlignConfig(steps=steps, batch_size=4, evals=1, collage=small)
    corner, corner_heldout = (
        Studio(studio_dir, "train", limit=12),
        Studio(studio_dir, "heldout", limit=8),
    )
    bank = TextBank(corner, corner_heldout)
    display(pd.DataFrame(align(pocket_model(), corner, corner_heldout, bank, config)).round(3))
else:
    display(Markdown(no_studio))

# %% [markdown]
# ## What was shipped
#
# The record of the run that made the shipped weights. The loss on held-out studio images chose among
# the weights along the way; ScrapSim had no say.

# %%
history = pd.DataFrame(record["history"]).set_index("step")
figure = style.figure(0.8 * style.FULL, 2.4)
axes = figure.subplots()
palette = {"palette": ["#56B4E9", "#E69F00"], "dashes": False, "errorbar": None}
sns.lineplot(history[["dense", "caption"]], **palette, ax=axes)
held_out = history["heldout"].dropna()
sns.lineplot(held_out, color="#0072B2", marker="o", label="held out, both", ax=axes)
axes.set(xlabel="step", ylabel="loss")
axes.legend(title="")
axes.set_ylim(bottom=0)
figure

# %%
run = {k: record["config"][k] for k in ("steps", "batch_size", "lr", "encoder_lr", "seed")}
run |= {"MB": record["weights"]["bytes"] / 1e6, "minutes": record["provenance"]["wall_s"] / 60}
pd.Series(run).round(4).to_frame("shipped run")

# %% [markdown]
# ## Does it know captions?
#
# Each held-out caption must find its picture among all held-out pictures, and the other way round. With the
# set on disk this is measured again; otherwise it is the record's.

# %%
aligned = load_aligned(pocket_model(), Path(pocket_dir) / "pocket-aligned.safetensors")
found = record["retrieval"]
if has_studio and profile != "smoke":
    found = retrieval(aligned, heldout, TextBank(heldout), size=record["config"]["collage"]["size"])
retrieved = pd.DataFrame(
    {
        f"R@{k}": {
            "text to image": found[f"r{k}_text_to_image"],
            "image to text": found[f"r{k}_image_to_text"],
            "chance": found[f"chance_r{k}"],
        }
        for k in (1, 5)
    }
)
retrieved.round(3)

# %% [markdown]
# ## Does it find impurities by their names?
#
# Now ScrapSim's validation images, which played no part so far. The model gets the class prompts of
# notebook 02, no label and no training. The anomaly score is $1-p[\text{steel}]$; a random score's pixel AP
# is the share of impurity pixels. The *unaligned* model is what the pocket backbone was before.

# %%
val = ScrapSim(data_dir, "val", limit=limit)
unaligned = pocket_model()
scores = {name: zero_shot(m, val) for name, m in (("unaligned", unaligned), ("aligned", aligned))}
rows = {"any impurity": ("prior", "ap")}
rows |= {c.name: (f"prior/{c.slug}", f"ap/{c.slug}") for c in IMPURITIES}
table = pd.DataFrame(
    {
        "share of pixels": {name: scores["aligned"][p] for name, (p, _) in rows.items()},
        **{m: {name: s[ap] for name, (_, ap) in rows.items()} for m, s in scores.items()},
    }
)
table["aligned / share"] = table["aligned"] / table["share of pixels"]
save_table(table.rename_axis("class").reset_index(), results_dir, "zero_shot_alignment")
table.round(4)

# %% [markdown]
# A class row asks less of the words than it seems to: every pixel is given the class's own share of
# the softmax, and the AP says how well that share ranks the class's pixels above all others.
#
# The scores of both models on some of these images, each stretched to its own range:

# %%
shown = [i for i, sample in enumerate(val) if sample.label.any()][:4]
maps = {}
for name, model in (("unaligned", unaligned), ("aligned", aligned)):
    score = -class_log_odds(model, val)[0][shown].astype(np.float32)
    low, high = np.quantile(score, [0.01, 0.995])
    maps[name] = list(((score - low) / (high - low)).clip(0, 1))
truths = [val[i].label for i in shown]
style.as_jpeg(style.panel([val[i].image for i in shown], {"truth": truths} | maps), dpi=130)

# %% [markdown]
# ## Words that were not taught
#
# The studio set has no spray can and no rubber hose. If their names work, they work through what
# the sentence encoder knows of them: a spray can is a can, a hose is of rubber.
# What the alignment's words, and its pictures of the six other impurities, are worth to a model that is then
# trained on scrap is measured with alignments that lack them (`data/controls`), in notebook 04.

# %%
lift = table["aligned / share"].drop(index="any impurity")
untaught = lift[[c.name for c in CLASSES if c.slug in ("spray_can", "rubber")]]
taught = lift.drop(index=untaught.index)
pd.DataFrame(
    {
        "classes": [len(taught), len(untaught)],
        "AP over share of pixels": [taught.mean(), untaught.mean()],
    },
    index=["taught", "untaught"],
).round(2)

# %% [markdown]
# ## The answer

# %%
ap = {name: s["ap"] for name, s in scores.items()}
display(
    Markdown(
        f"From rendered everyday things alone, the image side finds the picture of a held-out "
        f"caption among {found['images']} within five guesses in "
        f"**{100 * found['r5_text_to_image']:.0f} %** of cases (chance "
        f"{100 * found['chance_r5']:.1f} %). In this `{profile}` run, on {len(val)} validation images of "
        f"scrap it has never seen, the class prompts alone reach a pixel AP of **{ap['aligned']:.3f}**, "
        f"against {ap['unaligned']:.3f} before alignment and {scores['aligned']['prior']:.3f} for a "
        f"random score. Over its share of pixels, a taught class's AP is "
        f"{taught.mean():.1f} times as high on average, an untaught one's {untaught.mean():.1f} times."
    )
)
