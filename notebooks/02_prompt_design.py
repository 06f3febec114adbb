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
# # 02 · Prompt design
#
# **Which words should stand for a class, and how much hangs on them?**
#
# A vision-language model knows a class by its *prompt*: words for the class in a sentence template, turned
# into a vector by the text tower. A pixel belongs to the class whose vector it points to. The pocket model
# has been aligned with words on rendered everyday things (notebook a2) and has seen no scrap; here its
# weights stay as they are. What changes is the text. All choices are made on words and validation
# images; test images are asked what a class by words alone is worth, in two sections, and nothing is chosen by the answer.
#
# The outputs shown in the `.ipynb` are those of the laptop run (`notebooks/profiles/laptop.yaml`); run as
# it stands, the notebook takes the small smoke settings in the parameters cell.

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"
limit = 8  # validation images that are scored; None for all of them
context_shots = [1]  # labelled scenes per class that a context is learned from
context_seeds = [0]  # draws of these scenes
context_steps = 4
held_out = ["cable"]  # classes that lose their labels, one at a time
words_steps = 2  # training steps of these runs
batch_size = 4
crop = 128
study_dir = "../results/full"  # whose runs without labels are shown where none are made here

# %%
import io
from pathlib import Path

import ipywidgets
import matplotlib as mpl
import numpy as np
import pandas as pd
import PIL.Image
import seaborn as sns
import torch
from IPython.display import Markdown, display
from open_clip.tokenizer import HFTokenizer
from torch.nn.functional import cross_entropy, interpolate, normalize, one_hot

# %%
from scrapseg import metrics
from scrapseg.data.base import SegDataset
from scrapseg.data.classes import CLASSES, IMPURITIES, SLUGS
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.data.shots import few_shot_ids
from scrapseg.experiments.records import collect, read_metrics, save_figure, save_table
from scrapseg.experiments.run import run_all
from scrapseg.experiments.studies import plan
from scrapseg.models import wording
from scrapseg.models.pocket import load_aligned, pocket_model
from scrapseg.models.predict import eval_transform
from scrapseg.models.prompts import DEFAULT_TEMPLATES, TEMPLATES, random_embeddings, sentences
from scrapseg.models.towers import encode_texts, text_tower
from scrapseg.models.weights import minilm_dir
from scrapseg.report import style, tables

mpl.rcParams.update(style.STYLE)
COLOURS = dict(zip(SLUGS, style.class_colours()))

# %% [markdown]
# ## The candidates
#
# Each template has a sentence for steel and one for impurities. Two pairs make them differ: that of the
# [paper](https://arxiv.org/abs/2506.13282), `paper`, and `clean`. The *ensemble* averages several templates,
# as is usual since CLIP.

# %% tags=["nbval-check-output"]
for name, (normal, impurity) in TEMPLATES.items():
    print(f"{name:9s} {normal.format('steel')!r:38s} {impurity.format('wood')!r}")
print("ensemble ", " + ".join(DEFAULT_TEMPLATES))
print()
for c in CLASSES:
    print(f"{c.slug:12s}", ", ".join(c.words))

# %% [markdown]
# ## Text geometry
#
# Every word of every class in every template goes through the text tower once. A class vector is the mean of
# its words' vectors, at unit length.

# %%
words = [(word, c.index) for c in CLASSES for word in c.words]
owner = torch.tensor([index for _, index in words])
member = one_hot(owner, len(CLASSES)).T.float()  # (classes, words)

texts = [s for t in TEMPLATES for c in CLASSES for s in sentences(c, [t])]
vectors = dict(zip(TEMPLATES, encode_texts(texts).split(len(words))))
vectors["ensemble"] = normalize(sum(vectors[t] for t in DEFAULT_TEMPLATES), dim=1)
vectors["all"] = normalize(sum(vectors[t] for t in TEMPLATES), dim=1)
classes = {name: normalize(member @ v, dim=1) for name, v in vectors.items()}

# %%
names = [c.name for c in CLASSES]
figure = style.figure(style.FULL, 3.9)
for axes, name in zip(figure.subplots(1, 2, sharey=True), ("ensemble", "paper")):
    cosines = pd.DataFrame(classes[name] @ classes[name].T, names, names)
    sns.heatmap(cosines, vmin=0, vmax=1, cmap="cividis", annot=True, fmt=".2f",
                annot_kws={"size": 6}, square=True, cbar=False, ax=axes)  # fmt: skip
    axes.set_title(f"cosines, {name}")
    axes.set_xticklabels(names, rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
figure

# %% [markdown]
# The first map is the ensemble's, the second the paper's pair. The more of a sentence all classes share,
# the more their vectors point the same way, and the less is left for the class word. In numbers, for each
# template:
#
# - the **mean cosine** between two different classes (lower: better apart) and the closest pair;
# - **words at home**: take a word out of its class; is the class that its vector is then closest to still
#   its own? This asks whether the words of a class belong together, however alike all classes are.


# %%
def words_at_home(v):
    """Per word: is its own class, made without it, the nearest one?"""
    sums = member @ v
    without = sums.repeat(len(v), 1, 1)  # (words, classes, width)
    without[torch.arange(len(v)), owner] -= v
    return ((normalize(without, dim=2) * v[:, None]).sum(2).argmax(1) == owner).numpy()


rows, off = [], ~np.eye(len(CLASSES), dtype=bool)
for name, t in classes.items():
    cosine = (t @ t.T).numpy()
    i, j = np.unravel_index(np.where(off, cosine, -1).argmax(), cosine.shape)
    pair = f"{SLUGS[i]} / {SLUGS[j]}"
    home = words_at_home(vectors[name]).mean()
    rows.append((name, cosine[off].mean(), cosine[i, j], pair, home))
columns = ["template", "cosine", "closest_cosine", "closest_pair", "words_at_home"]
geometry = pd.DataFrame(rows, columns=columns)

# %% tags=["nbval-check-output"]
print(geometry.round(2).to_string(index=False))
lost = [word for (word, _), right in zip(words, words_at_home(vectors["ensemble"])) if not right]
print("\nnot at home in the ensemble:", ", ".join(lost))

# %% [markdown]
# Most of the words that are not at home fit two classes: copper wire is in cables and in coils, and a
# canister may be pressurised. They stay in, since sorters use them, and the mean outvotes them.
#
# ## The words as a picture
#
# The first two principal components of all words, in the plainest template (the word alone):

# %%
plain = vectors["word"] - vectors["word"].mean(0)
_, spread, directions = torch.linalg.svd(plain, full_matrices=False)
explained = float((spread[:2] ** 2).sum() / (spread**2).sum())
x, y = (plain @ directions[:2].T).T.numpy()
slugs = [SLUGS[index] for _, index in words]

# %%
figure = style.figure(style.FULL, 4.4)
axes = figure.subplots()
sns.scatterplot(x=x, y=y, hue=slugs, palette=COLOURS, edgecolor="0.2", s=18, legend=False, ax=axes)
placed = []
for left, at, (word, index) in sorted(zip(x, y, words), key=lambda one: one[1]):
    right, up = left + 0.0095 * len(word), at
    while any(left < b and a < right and abs(up - c) < 0.025 for a, b, c in placed):
        up += 0.005  # above the words that are there
    placed.append((left, right, up))
    axes.text(left + 0.01, up, word, fontsize=6, color=0.6 * COLOURS[SLUGS[index]])
axes.set(xlabel="first principal component", ylabel="second principal component")
style.legend_below(figure, style.class_handles(range(len(CLASSES)), with_steel=True), cols=9)
figure

# %%
Markdown(
    f"Two dimensions hold only {explained:.0%} of the variance, so distances here are a sketch. Still, words of a "
    "class lie together: the text tower knows what these things are."
)

# %% [markdown]
# ## One vector per pixel
#
# Whether good geometry finds anything, images must say. A model's logit is linear in the class vector: each
# stage's cosine is a dot product, and their weighted sum and its upsampling are linear too. So every pixel
# $x$ has one vector $g(x)$ with $L(x)[c] = \langle g(x), t_c\rangle$, computed once per image
# (`scrapseg/models/wording.py`); after that, a new wording costs one matrix product. Every fourth pixel in
# both directions is scored, which is the step of the model's finest stage.
#
# Two controls show what a score is worth: **random vectors** in place of text, and the
# **unaligned** model, whose image side never met the text tower.

# %%
val = ScrapSim(data_dir, "val", limit=limit)
model = load_aligned(pocket_model())
pixels = wording.pixel_vectors(model, val)
unaligned = wording.pixel_vectors(pocket_model(), val)

# %% [markdown]
# Is it true? The model is given the ensemble's vectors and asked in the ordinary way, and its logits are
# held against the products $\langle g(x), t_c\rangle$, plus the offset of steel:

# %%
as_trained = model.text
model.set_classes(classes["ensemble"])
image, _ = SegDataset(val, val.ids[:1], eval_transform(model.mean, model.std))[0]
with torch.no_grad():
    asked = model(image[None]).logits[0, :, ::4, ::4]
model.set_classes(as_trained)
products = torch.einsum("hwd,cd->chw", pixels.vectors[0].float(), classes["ensemble"])
products[0] += pixels.offset
assert torch.allclose(asked, products, atol=0.05)  # g is kept in half precision
print(f"logits from {asked.min():.1f} to {asked.max():.1f}, largest difference "
      f"{(asked - products).abs().max():.4f}")  # fmt: skip

# %% [markdown]
# ## Which template?
#
# The AP is that of the anomaly score $1-p[\text{steel}]$; a random score reaches the share of impurity
# pixels. *Lift* looks at the classes one by one: the AP of a class's own probability over the class's
# share of pixels, averaged over the impurities. Bars on the right are prompt sets with a single word per
# class (the first, the second, ... of its list).
#
# Only the order of the scores counts for an AP, so in place of $p$ its log-odds $\log p_c/(1-p_c)$ are
# ranked: they are $L_c - \log\sum_{k\ne c} e^{L_k}$, and do not round to 1 where the model is sure.

# %%
logits = wording.logits(pixels, classes["ensemble"])
p = logits.double().softmax(0)
for index in range(len(CLASSES)):
    odds = (p[index] / (1 - p[index])).log()
    assert torch.allclose(odds.float(), wording.log_odds(logits, index), rtol=1e-3, atol=1e-3)


# %%
def anomaly_ap(found, text):
    """Pixel AP of the anomaly score."""
    return wording.average_precision(found, -wording.log_odds(wording.logits(found, text), 0), 0)


draws, single = 5, {}
first = torch.tensor([words.index((c.words[0], c.index)) for c in CLASSES])
length = torch.tensor([len(c.words) for c in CLASSES])
picks = [first + k % length for k in range(draws)]
for name, v in vectors.items():
    single[name] = [anomaly_ap(pixels, v[pick]) for pick in picks]
noise = [random_embeddings(len(CLASSES), seed) for seed in range(draws)]
single["random vectors"] = [anomaly_ap(pixels, r) for r in noise]

# %%
scores = wording.score_sets(pixels, classes).rename(columns={"prompts": "template"})
scores["ap_unaligned"] = [anomaly_ap(unaligned, text) for text in classes.values()]
control = {
    "template": "random vectors",
    "cosine": np.mean([(r @ r.T).numpy()[off].mean() for r in noise]),
    "ap": np.mean(single["random vectors"]),
    "lift": wording.score_sets(pixels, dict(enumerate(noise)))["lift"].mean(),
    "ap_unaligned": np.mean([anomaly_ap(unaligned, r) for r in noise]),
}
table = pd.concat([geometry.merge(scores, on="template"), pd.DataFrame([control])])
table["ap_one_word"] = [np.mean(single[name]) for name in table["template"]]
table = table.assign(prior=pixels.prior).reset_index(drop=True)
save_table(table, results_dir, "prompts")

# %%
figure = style.figure(style.FULL, 0.19 * len(table) + 0.85)
left, right = figure.subplots(1, 2, sharey=True)
sns.barplot(table, x="cosine", y="template", color="#56B4E9", ax=left)
left.bar_label(left.containers[0], fmt="%.2f", fontsize=6.5, padding=2)
left.set(
    xlim=(min(0, table["cosine"].min()), 1), xlabel="mean cosine between two classes", ylabel=""
)
one_word = pd.DataFrame(single).melt(var_name="template", value_name="ap")
right.plot(
    one_word["ap"], one_word["template"], "|", color="0.45", ms=6, label="one word per class"
)
right.plot(table["ap"], table["template"], "o", color="#0072B2", label="all words, aligned")
right.plot(
    table["ap_unaligned"], table["template"], "x", color="#D55E00", label="all words, unaligned"
)
right.axvline(pixels.prior, color="0.3", ls="--", lw=0.8, label="share of impurities")
right.set(xlim=(0, None), xlabel="zero-shot pixel AP on val")
style.legend_below(figure, right.get_legend_handles_labels()[0], cols=4)
save_figure(figure, results_dir, "prompts")
figure

# %%
shown = ["ap", "ap_one_word", "lift", "miou_impurity", "ap_unaligned", "words_at_home"]
texts_only = table[table["template"] != "random vectors"].set_index("template")
texts_only[shown].sort_values("ap", ascending=False).round(3)

# %% [markdown]
# Is the best of these better, or lucky with these images? Scenes are drawn anew a thousand times, for both
# together.


# %%
def statistics(text):
    """What the bootstrap needs of one prompt set, per scene."""
    score = -wording.log_odds(wording.logits(pixels, text), 0).numpy()
    stats = metrics.image_stats(score, None, pixels.labels, threshold=0.0, ids=val.ids)
    return stats.grouped([val.meta[i]["scene"] for i in val.ids])


by_ap = texts_only["ap"].sort_values()
best, worst, default = by_ap.index[-1], by_ap.index[0], by_ap["ensemble"]
gain = metrics.paired_difference(statistics(classes[best]), statistics(classes["ensemble"]), "ap")
Markdown(
    f"The best template, `{best}`, reaches {by_ap[best]:.3f}, the default ensemble {default:.3f}: a difference of "
    f"{gain.value:+.3f}, with a 95 % interval from {gain.lo:+.3f} to {gain.hi:+.3f} over scenes. "
    + ("The interval holds zero." if gain.lo <= 0 <= gain.hi else "The interval leaves zero out.")
)

# %% [markdown]
# ## Which words?
#
# Each word alone stands for its class in the default templates, while the other classes keep all of theirs.
# The mean of a class's words needs no choice among them, and its rank among the single words says what
# choosing could have gained or lost.


# %%
def word_scores(index, candidates):
    """AP of one class for each of some vectors (K, D) in its place, the other classes unchanged."""
    scores = wording.logits(pixels, torch.cat([classes["ensemble"], candidates]))
    mine, rest = scores[len(CLASSES) :], [i for i in range(len(CLASSES)) if i != index]
    against = scores[rest].logsumexp(0)
    return [wording.average_precision(pixels, own - against, index) for own in mine]


rows, in_sets = [], table.set_index("template")
for c in IMPURITIES:
    share = (pixels.labels == c.index).mean()
    if not share:
        continue
    mine = torch.cat([classes["ensemble"][c.index][None], vectors["ensemble"][owner == c.index]])
    found = word_scores(c.index, mine)
    assert np.isclose(found[0], in_sets.loc["ensemble", f"ap/{c.slug}"])  # nothing is replaced
    rows += [(c.slug, word, ap, ap / share) for word, ap in zip(("", *c.words), found)]
by_word = pd.DataFrame(rows, columns=["class", "word", "ap", "lift"])
save_table(by_word, results_dir, "wordings")
alone = by_word[by_word["word"] != ""]

# %%
known = list(by_word["class"].unique())
figure = style.figure(style.FULL, 0.3 * len(known) + 0.85)
axes = figure.subplots()
sns.stripplot(alone, x="lift", y="class", hue="class", palette=COLOURS, order=known, jitter=False,
              edgecolor="0.2", linewidth=0.4, log_scale=(10, None), ax=axes)  # fmt: skip
averaged = by_word[by_word["word"] == ""].set_index("class")["lift"]
axes.plot(averaged[known], range(len(known)), "|", color="black", ms=13, mew=1.6)
for y, slug in enumerate(known):
    ranked = alone[alone["class"] == slug].sort_values("lift")
    for end, side, gap in ((ranked.iloc[0], "right", -6), (ranked.iloc[-1], "left", 6)):
        axes.annotate(end["word"], (end["lift"], y), (gap, 0), textcoords="offset points",
                      ha=side, va="center", fontsize=6)  # fmt: skip
axes.axvline(1, color="0.3", linestyle="--", linewidth=0.8)
low, high = axes.get_xlim()
axes.set_xlim(low / (high / low) ** 0.32, high * (high / low) ** 0.16)  # room for the words
axes.set_yticks(range(len(known)), [CLASSES[SLUGS.index(slug)].name for slug in known])
axes.set(xlabel="AP of the class / its share of pixels (dashed: a random score)", ylabel="")
style.legend_below(figure, [
    mpl.lines.Line2D([], [], ls="", marker="o", color="0.7", mec="0.2", label="one word"),
    mpl.lines.Line2D([], [], ls="", marker="|", color="black", ms=9, label="all words averaged"),
])  # fmt: skip
save_figure(figure, results_dir, "wordings")
figure

# %%
span = alone.loc[alone.groupby("class")["ap"].idxmax()].set_index("class")[["word", "ap"]]
span = span.rename(columns={"word": "best word", "ap": "its AP"})
low = alone.loc[alone.groupby("class")["ap"].idxmin()].set_index("class")
span["worst word"], span["its AP "] = low["word"], low["ap"]
span["all words"] = by_word[by_word["word"] == ""].set_index("class")["ap"]
span["words it beats"] = [
    (alone.loc[alone["class"] == slug, "ap"] < ap).mean() for slug, ap in span["all words"].items()
]
span.loc[[c.slug for c in IMPURITIES if c.slug in span.index]].round(3)

# %% [markdown]
# ## Could labels write the prompt?
#
# [CoOp](https://arxiv.org/abs/2109.01134) puts learned vectors in front of the class words, a prompt being
# $[v_1]\,[v_2]\,[v_3]\,$[class word] in the space of the text tower's token embeddings, and trains them on a
# few labelled images. Here three of them start from "a photo of" and learn on pixels of training scenes,
# $k$ for each class; image side and text tower stay frozen, so a step costs no more than the text tower
# on the class words.

# %%
language = text_tower().text
embedding = language.transformer.embeddings.word_embeddings
tokenizer = HFTokenizer(str(minilm_dir()), context_length=32)
padding = language.config.pad_token_id


def tokens(sentences):
    """Token numbers (sentences, L) with the marks of start and end, padded to the longest."""
    ids = tokenizer(list(sentences))
    return ids[:, : (ids != padding).sum(1).max()]


def prompt_vectors(context, ids):
    """Unit vectors (words, D) of the sentences: token vectors `context` (M, width), then a word."""
    word, context = embedding(ids), context.expand(len(ids), -1, -1)
    whole = torch.cat([word[:, :1], context, word[:, 1:]], 1)  # after the mark of start
    mask = torch.cat([torch.ones(context.shape[:2]), ids != padding], 1).long()
    out = language.transformer(inputs_embeds=whole, attention_mask=mask)
    return normalize(language.proj(language.pooler(out, mask)), dim=1)


start = embedding(tokens(["a photo of"])[0, 1:-1]).detach()  # (3, width)
spoken = tokens(word for word, _ in words)
written = encode_texts([f"a photo of {word}" for word, _ in words])
assert torch.allclose(prompt_vectors(start, spoken), written, atol=1e-5)

# %% [markdown]
# The control is **free vectors**: class vectors that start from the default ensemble and learn from the
# same pixels without a text tower. What they gain is what labels bring without language. Both learn by
# cross-entropy on pixels drawn evenly from each class; the offset of steel stands for how common it is, so
# it is left out where classes are drawn evenly.


# %%
class LearnedContext(torch.nn.Module):
    """Class vectors (C, D): the mean over a class's words, each behind the learned context."""

    def __init__(self):
        super().__init__()
        self.context = torch.nn.Parameter(start.clone())

    def forward(self):
        each = prompt_vectors(self.context, spoken).split([len(c.words) for c in CLASSES])
        return normalize(torch.stack([sentences.mean(0) for sentences in each]), dim=1)


class FreeVectors(torch.nn.Module):
    """Class vectors (C, D) without a text tower."""

    def __init__(self):
        super().__init__()
        self.vectors = torch.nn.Parameter(classes["ensemble"].clone())

    def forward(self):
        return normalize(self.vectors, dim=1)


# %%
def learn(module, known, steps, seed, batch_size=1152, lr=3e-3):
    """Train `module` to name the labelled pixels in `known`; the loss of each step."""
    generator, losses = torch.Generator().manual_seed(seed), []
    vectors, labels = known.vectors.flatten(0, 2), torch.from_numpy(known.labels).flatten()
    where = [torch.nonzero(labels == c)[:, 0] for c in labels.unique()]
    each = max(1, batch_size // len(where))
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        drawn = torch.cat([w[torch.randint(len(w), (each,), generator=generator)] for w in where])
        loss = cross_entropy(vectors[drawn].float() @ module().T, labels[drawn].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


# %%
def learned(shots, seed, known):
    """Class vectors learned from `shots` scenes per class, by name."""
    wanted = set(few_shot_ids(train, shots, seed))
    some = known.take([i for i, name in enumerate(drawn) if name in wanted])
    context, free = LearnedContext(), FreeVectors()
    for module, steps in ((context, context_steps), (free, 4 * context_steps)):
        losses = learn(module, some, steps, seed)  # the free vectors' steps are cheap
        name = type(module).__name__
        print(f"{shots} shots, draw {seed}: {name} from {losses[0]:.2f} to {losses[-1]:.2f}")
    assert all(parameter.grad is None for parameter in text_tower().parameters())
    return {"learned context": context, "free vectors": free}


# %%
train, rows, contexts = ScrapSim(data_dir, "train"), [], []
for seed in context_seeds:
    drawn = few_shot_ids(train, max(context_shots), seed)  # holds the sets of fewer shots
    known = wording.pixel_vectors(model, train, drawn)
    for shots in context_shots:
        for name, module in learned(shots, seed, known).items():
            result = wording.score_sets(pixels, {name: module().detach()})
            rows.append({"learned": name, "shots": shots, "seed": seed, **result.iloc[0]})
            if name == "learned context":
                contexts.append(module)
by_shots = pd.DataFrame(rows).drop(columns="prompts")
save_table(by_shots, results_dir, "context")
by_shots.groupby(["learned", "shots"], sort=False)[["ap", "miou_impurity", "lift"]].mean().round(3)

# %%
lines = {"hand-written, default": default, f"hand-written, best ({best})": by_ap[best]}
figure = style.figure(style.COLUMN, 2.5)
axes = figure.subplots()
look = {"x": "shots", "y": "ap", "hue": "learned", "palette": ["#0072B2", "#D55E00"], "ax": axes}
sns.stripplot(by_shots, **look, dodge=True, jitter=False, alpha=0.4, size=4, legend=False)
sns.pointplot(by_shots, **look, dodge=0.4, errorbar=None, markers=["o", "s"], markersize=4)
for (name, value), line in zip(lines.items(), ("--", ":")):
    axes.axhline(value, color="0.3", linestyle=line, linewidth=0.9, label=name)
top = 1.15 * max(by_shots["ap"].max(), *lines.values())
axes.set(ylim=(0, top), xlabel="labelled scenes per class", ylabel="pixel AP on val")
axes.get_legend().remove()
style.legend_below(figure, axes.get_legend_handles_labels()[0], cols=2)
save_figure(figure, results_dir, "context")
figure

# %% [markdown]
# Light marks are single draws of scenes. What did the context become? The vocabulary's nearest words to its
# vectors, which [CoOp](https://arxiv.org/abs/2109.01134) found hard to read, too:

# %%
distance = torch.cdist(contexts[-1].context.detach(), embedding.weight)
for k, ids in enumerate(distance.topk(3, largest=False).indices.tolist()):
    print(f"v{k + 1}: {', '.join(tokenizer.tokenizer.convert_ids_to_tokens(ids))}")

# %% [markdown]
# ## A class by words alone
#
# The hardest question one can put to the words. A model is trained on scrap with the labels of all classes
# but one; the pixels of that one count neither as steel nor as anything else, and its prompt takes no part. At test time it
# joins. Does the name find it? The measure is the pixel AP of the class's own score on **test**, against its share
# of the pixels, the name alone *before* any scrap, and a model that had all labels for as many steps. A control, *named*, has
# the prompt among the classes in training, too, where no pixel is of it. One run each; where a
# profile trains none of these, those of profile `full` are shown.

# %%
specs = plan("words", globals())
run_all(specs, results_dir, data_dir)
source = Path(results_dir if specs else study_dir)
if specs:
    collect(results_dir)
by_name = pd.DataFrame()
if (source / "metrics.csv").is_file():
    by_name = tables.class_by_words(read_metrics(source))
by_name.round(4)

# %%
summary = "No such runs are at hand."
if len(by_name):
    mean = by_name.drop(columns="class").mean()
    told = [
        f"{r['class']} {r.before:.3f}, {r.words:.3f}, {r.named:.3f}" for _, r in by_name.iterrows()
    ]
    summary = (
        f"Over {len(by_name)} class(es) the name alone reaches a mean AP of {mean['words']:.3f}, which is "
        f"{mean['words'] / mean['prior']:.1f} times the mean share of pixels; before any scrap it reached "
        f"{mean['before']:.3f}, and with labels it is {mean['supervised']:.3f}. Named among the classes in training "
        f"it has {mean['named']:.3f}: there every labelled pixel says that its words are wrong. Before scrap, after, named: "
        f"{'; '.join(told)} (`{source.name}`, one run of each)."
    )
Markdown(summary)

# %% [markdown]
# ## Can training keep the words?
#
# Training on scrap may forget words. For each class left out, as above, there are two models, one before and one after
# training, and three things may be made of them (`python -m making.studies words_kept`): their **weights** may be mixed
# ([WiSE-FT](https://arxiv.org/abs/2109.01903)), their **outputs**, or each may name its own, the first the class without
# labels and the second the others; outputs take two passes. Each point is the mean over the classes left out, on test. The
# ringed one (per cent: the share of the trained model; 75 and 90 follow without a label) was chosen on val: it finds the class left out best among those that cost the others at most a point of mean
# IoU. The aim: to lose at most a quarter of the AP that the words had before.


# %%
def kept_figure(of):
    """AP of the class left out against the mean IoU of the others, a point a kind and share."""
    figure = style.figure(style.COLUMN, 2.6)
    axes, kinds = figure.subplots(), of.groupby("kind", sort=False)
    for marker, below, (kind, points) in zip("os*x", (-10, 4, 4, 4), kinds):
        axes.plot(points["miou_others"], points["ap"], marker, ls=":", label=kind, mfc="none")
        # Labels of what lies close to the right end would lie over its own.
        apart = points[~points.index.isin([0.75, 0.9], level="share")]
        for (_, share), row in apart.iterrows() if len(points) > 1 else ():
            at = row["miou_others"], row["ap"]
            axes.annotate(f"{share:.0%}", at, (4, below), textcoords="offset points", size=7)
    ringed = of[of["chosen"] == 1]
    axes.plot(ringed["miou_others"], ringed["ap"], "o", ms=13, mfc="none", color="0.5")
    axes.set(xlabel="mIoU of the classes with labels", ylabel="AP of the class without", ylim=0)
    style.legend_below(figure, axes.get_legend_handles_labels()[0], cols=3)
    return figure


kept_file = Path(study_dir) / "tables/words_kept.csv"
kept_means = None
if kept_file.is_file():
    kept_means = pd.read_csv(kept_file).query("split == 'test'")
    kept_means = kept_means.groupby(["kind", "share"], sort=False)[["ap", "miou_others", "chosen"]]
    kept_means = kept_means.mean()
    display(kept_figure(kept_means))


# %%
def kept_words(of):
    """What val chooses, and what it keeps and costs."""
    ringed = of[of["chosen"] == 1]
    (kind, share), there = ringed.index[0], ringed.iloc[0]
    first, last = of.loc[("weights", 0.0)], of.loc[("weights", 1.0)]
    how = f"{share:.0%} of the trained model"
    if kind == "each its own":
        how = "two passes; the class without labels keeps its AP by construction"
    named = of.loc["named"].iloc[0]
    return (
        f"Val chooses *{kind}* ({how}). The class without labels has an AP of "
        f"{there['ap']:.3f} ({first['ap']:.3f} before scrap, {last['ap']:.3f} after training: "
        f"{there['ap'] / first['ap'] - 1:+.0%} in place of {last['ap'] / first['ap'] - 1:+.0%}), at "
        f"{100 * (there['miou_others'] - last['miou_others']):+.1f} points of the others' mIoU. Named in training it has "
        f"{named['ap']:.3f}, the others {100 * (named['miou_others'] - last['miou_others']):+.1f} points."
    )


Markdown("It was not measured." if kept_means is None else kept_words(kept_means))

# %% [markdown]
# ## What to write
#
# Three rules for someone who adds a class, each with what it was worth here.

# %%
one, everything = texts_only["ap_one_word"]["ensemble"], texts_only["ap"]["ensemble"]
widest = (span["its AP"] / span["its AP "]).idxmax()
top, bottom = span["its AP"][widest], span["its AP "][widest]
means = by_shots.groupby(["learned", "shots"])["ap"].mean()
taught = {k: means["learned context", k] for k in context_shots}
few = min(taught)
better = "better" if everything > one else "no better"
Markdown(
    f"1. **Write several words and average them.** All words of each class reach an AP of {everything:.3f}, one "
    f"word per class {one:.3f} on average ({better} than one). The choice of a single word matters most for "
    f"*{widest}*: {top:.3f} with '{span['best word'][widest]}', {bottom:.3f} with '{span['worst word'][widest]}'.\n"
    f"2. **Try a few sentences on labelled images.** Templates alone move the AP from {by_ap[worst]:.3f} "
    f"(`{worst}`) to {by_ap[best]:.3f} (`{best}`: '{TEMPLATES[best][1].format('...') if best in TEMPLATES else best}'); "
    f"an average over templates ({default:.3f}) beats {(by_ap[list(TEMPLATES)] < default).sum()} of the "
    f"{len(TEMPLATES)} single ones without a choice.\n"
    f"3. **With {few} labelled scene{'s' * (few > 1)} per class, compare before you polish words.** A learned context reaches "
    f"{taught[few]:.3f} there, {taught[few] - by_ap[best]:+.3f} against the best hand-written template; vectors without a "
    f"text tower reach {means['free vectors', few]:.3f}."
)

# %% [markdown]
# ## Try it
#
# In JupyterLab: choose an image, type any phrase and press Enter. The images have been through their tower
# already, so a phrase costs one pass of the text tower and a product. *Against* is what else there might
# be, by default the class of steel.


# %%
def phrase_vector(phrase):
    """A phrase in the default templates as a vector (D,) of unit length."""
    return normalize(
        encode_texts([TEMPLATES[t][1].format(phrase) for t in DEFAULT_TEMPLATES]).mean(0), dim=0
    )


def log_odds_map(i, phrase, against=""):
    """How much more image i of val is like one phrase than like another, (H, W)."""
    other = phrase_vector(against) if against.strip() else classes["ensemble"][0]
    odds = pixels.vectors[i].float() @ (phrase_vector(phrase) - other)
    return interpolate(odds[None, None], scale_factor=wording.EVERY, mode="bilinear")[0, 0]


def stretched(odds):
    """A map in 0..1 from its 1 % to its 99.5 % quantile, so that the best place is bright."""
    low, high = odds.quantile(torch.tensor([0.01, 0.995]))
    return ((odds - low) / (high - low)).clamp(0, 1).numpy()


# %%
choose = ipywidgets.Dropdown(options=val.ids, description="image")
find = ipywidgets.Text("wood", description="find", continuous_update=False)  # on Enter
rival = ipywidgets.Text(description="against", placeholder="steel", continuous_update=False)
contrast = ipywidgets.Checkbox(True, description="stretch contrast", indent=False)
picture, message = ipywidgets.Image(format="jpeg", width=576), ipywidgets.Label()


def show(_change=None):
    """Show the chosen image with the map of the phrase over it."""
    i, wanted, other = choose.index, find.value.strip(), rival.value.strip()
    mixed, message.value = val[i].image, "Type a phrase to look for, such as: rusty pipe"
    if wanted:
        odds = log_odds_map(i, wanted, other)
        heat = style.heat(stretched(odds) if contrast.value else odds.sigmoid().numpy())
        mixed = (0.4 * style.faded(mixed) + 0.6 * heat).astype(np.uint8)
        share = (odds > 0).float().mean()
        message.value = (
            f"{wanted!r} is nearer than {other or 'steel'!r} on {share:.1%} of the image"
        )
    PIL.Image.fromarray(mixed).save(file := io.BytesIO(), "jpeg", quality=88)
    picture.value = file.getvalue()


# %%
controls = [choose, find, rival, contrast]
for control in controls:
    control.observe(show, names="value")
show()
first_picture = picture.value
find.value = "a copper coil"  # as if typed
assert picture.value != first_picture and "copper coil" in message.value
ipywidgets.VBox([ipywidgets.HBox(controls), picture, message])

# %% [markdown]
# For readers of a plain page, four phrases on the validation images with most impurities, by the same
# functions. Each map is stretched to its own range: the brightest spot is the best place, not
# necessarily a good one.

# %%
phrases = ["copper", "wood", "something red", "electric motor"]
chosen = np.argsort(-(pixels.labels > 0).mean((1, 2)))[:4]
panel = {"label": [val[i].label for i in chosen]}
for phrase in phrases:
    panel[phrase] = [stretched(log_odds_map(i, phrase)) for i in chosen]
style.as_jpeg(style.panel([val[i].image for i in chosen], panel), 80)

# %% [markdown]
# ## Answer

# %%
control, found = table.set_index("template").loc["random vectors"], span["all words"]
hit = [c.name for c in IMPURITIES if c.slug in found and found[c.slug] > 0.1]
miss = [c.name for c in IMPURITIES if c.slug in found and found[c.slug] <= 0.1]
Markdown(
    f"**What do words find, once the towers are aligned?** {len(hit)} of {len(hit) + len(miss)} impurities with an AP "
    f"above 0.1. On {len(val)} validation images the default prompts "
    f"reach a pixel AP of {default:.3f} without a label; random vectors {control['ap']:.3f}, the unaligned model "
    f"{texts_only['ap_unaligned']['ensemble']:.3f}, a random score {pixels.prior:.3f}. Found: "
    f"{', '.join(hit) or 'none'}; not found: {', '.join(miss) or 'none'}.\n\n"
    f"**Which words?** Across templates the AP runs from {by_ap[worst]:.3f} to {by_ap[best]:.3f}, with a single word "
    f"per class from {min(map(min, [single[t] for t in classes])):.3f} to {max(map(max, [single[t] for t in classes])):.3f}. "
    f"The correlation of AP with the mean cosine between classes is {texts_only['ap'].corr(texts_only['cosine']):+.2f}: "
    "geometry is a hint, and images decide. The paper's pair reaches "
    f"{by_ap['paper']:.3f}, the default ensemble over {', '.join(f'`{t}`' for t in DEFAULT_TEMPLATES)} {default:.3f}; "
    "it stays the default, since it was fixed before any image was scored.\n\n"
    f"**Learned or written?** A learned context reaches {', '.join(f'{ap:.3f} with {k}' for k, ap in taught.items())} "
    "labelled scene(s) per class. What words add to a model that is then trained is the question of "
    f"notebook 04.\n\n**By name alone.** {summary}"
)
