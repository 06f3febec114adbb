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
# **Which words should stand for a class?**
#
# A vision-language model knows a class by its *prompt*: some words for the class in a sentence template,
# turned into a vector by the text tower. A pixel belongs to the class whose vector it points to. Two
# things can go wrong before any training: the vectors of two classes may lie so close together that no pixel
# can tell them apart, and the image tower may not speak the text tower's language at all. This notebook
# looks at both. All choices are made on words and validation images; test images play no part.

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"
limit = 6  # validation images that are scored; None for all of them

# %%
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch.nn.functional import normalize, one_hot
from torch.utils.data import DataLoader

from scrapseg import augment, data, metrics, plots
from scrapseg.classes import CLASSES, SLUGS
from scrapseg.encoders import encode_texts, pocket_image_encoder
from scrapseg.model import ScrapSeg
from scrapseg.prompts import DEFAULT_TEMPLATES, TEMPLATES, random_embeddings, sentences
from scrapseg.results import save_figure, save_table

# %% [markdown]
# ## The candidates
#
# Each template has a sentence for steel and one for impurities; only the pair of the
# [paper](https://arxiv.org/abs/2506.13282), `paper`, makes them differ. The *ensemble* averages
# several templates, as is usual since CLIP.

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
classes = {name: normalize(member @ v, dim=1) for name, v in vectors.items()}

# %%
names = [c.name for c in CLASSES]
plots.text_similarity_heatmap(classes["ensemble"] @ classes["ensemble"].T, names)

# %%
plots.text_similarity_heatmap(classes["paper"] @ classes["paper"].T, names)

# %% [markdown]
# The first map is the ensemble's, the second the paper's pair (mind the scales: each has its own). The more
# of a sentence all classes share, the more their vectors point the same way, and the less is left for the class word. In numbers, for each template:
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
_, spread, axes = torch.linalg.svd(plain, full_matrices=False)
explained = float((spread[:2] ** 2).sum() / (spread**2).sum())
plots.word_map((plain @ axes[:2].T).numpy(), [word for word, _ in words], owner.tolist())

# %%
Markdown(
    f"Two dimensions hold only {explained:.0%} of the variance, so distances here are a sketch. Still, words of a "
    "class lie together: the text tower knows what these things are."
)

# %% [markdown]
# ## Zero-shot: does the untrained model find anything?
#
# The *pocket* model joins an image tower that learnt ImageNet's classes with a text tower that
# learnt sentences. In this first form nobody has shown the one to the other: between them stand projections
# drawn at random. Zero-shot maps made with it can be about anything; we expect a pixel AP near the
# share of impurity pixels, whatever the prompt. It would be easy to skip this and let the reader
# believe otherwise, so here it is measured, over three draws of the projections, with random
# vectors in place of text as one more row.

# %%
prompts = classes | {"random vectors": random_embeddings(len(CLASSES), seed=0)}
val = data.ScrapSim(data_dir, "val", limit=limit)
encoder = pocket_image_encoder()
loader = DataLoader(
    data.SegDataset(val, transform=augment.eval_transform(encoder.mean, encoder.std))
)
masks = np.stack([s.label[::2, ::2] > 0 for s in val])  # every fourth pixel is plenty


@torch.inference_mode()
def zero_shot(seed):
    """Scores (prompts, images, H/2, W/2) of an untrained model; `seed` draws its new layers."""
    torch.manual_seed(seed)
    model = ScrapSeg(encoder, torch.cat(list(prompts.values()))).eval()
    maps = []
    for image, _ in loader:
        logits = model(image).logits[0].unflatten(0, (len(prompts), len(CLASSES)))
        maps.append(1 - logits[..., ::2, ::2].softmax(1)[:, 0])
    return torch.stack(maps, 1).numpy()


# %%
draws, ap, first = 3, [], None
for seed in range(draws):
    maps = zero_shot(seed)
    first = maps if first is None else first
    ap.append([metrics.average_precision(metrics.rank(m, masks)) for m in maps])
ap, prior = np.array(ap), masks.mean()
found = pd.DataFrame(
    {"template": list(prompts), "ap": ap.mean(0), "ap_min": ap.min(0), "ap_max": ap.max(0)}
)
table = geometry.merge(found, how="right", on="template").assign(prior=prior)
random = (prompts["random vectors"] @ prompts["random vectors"].T).numpy()[off].mean()
table.loc[table["template"] == "random vectors", "cosine"] = random

# %%
save_table(table, results_dir, "prompts")
figure = plots.prompt_comparison(table)
save_figure(figure, results_dir, "prompts")
figure


# %% [markdown]
# Dots are means over the draws and bars run from the worst draw to the best. And what the maps look like, each
# stretched from its lowest score to its highest:


# %%
def stretched(m):
    """Scores moved and scaled to 0..1."""
    return (m - m.min()) / (m.max() - m.min())


where = {name: k for k, name in enumerate(prompts)}
shown = np.argsort(-masks.mean((1, 2)))[:4]
panel = {"label": [val[i].label for i in shown]}
for name in ("ensemble", "paper", "random vectors"):
    panel[name] = [stretched(first[where[name], i]) for i in shown]
plots.as_jpeg(plots.panel([val[i].image for i in shown], panel), 100)

# %% [markdown]
# ## Answer

# %%
texts_only = table[table["template"] != "random vectors"].set_index("template")
best, worst = texts_only["cosine"].idxmin(), texts_only["cosine"].idxmax()
control = table.set_index("template").loc["random vectors"]
low, high = texts_only["ap_min"].min(), texts_only["ap_max"].max()
between = texts_only["ap"].max() - texts_only["ap"].min()
within = (texts_only["ap_max"] - texts_only["ap_min"]).mean()
Markdown(
    f"**Words.** The plainer the sentence, the further apart the classes: `{best}` keeps a mean cosine of "
    f"{texts_only.loc[best, 'cosine']:.2f}, `{worst}` {texts_only.loc[worst, 'cosine']:.2f}. Whether a class's words "
    f"belong together hardly depends on the template ({texts_only['words_at_home'].min():.0%} to "
    f"{texts_only['words_at_home'].max():.0%} of the words are at home). The default is the ensemble over "
    f"{', '.join(f'`{t}`' for t in DEFAULT_TEMPLATES)} with all words of a class, at "
    f"{texts_only.loc['ensemble', 'cosine']:.2f}: no single wording decides, and it is further apart than the "
    f"paper's pair ({texts_only.loc['paper', 'cosine']:.2f}).\n\n"
    f"**Zero-shot.** On {len(val)} validation images the untrained model's pixel AP lies between {low:.3f} and "
    f"{high:.3f} for all templates and draws; random vectors reach {control['ap']:.3f} on average; the share of "
    f"impurity pixels, which a random score would reach, is {prior:.3f}. The templates' means differ by at most "
    f"{between:.3f}; merely drawing the projections anew moves one template by {within:.3f}.\n\n"
    "**What follows.** Without aligned towers, prompts cannot find anything by themselves: whatever the "
    "trained model finds it learns from labels. Language has to *earn* its place, so every table that might credit "
    "it carries the same model with random class vectors (`scrapseg-random`, notebooks 03 and 05). Good geometry is "
    "needed, not sufficient."
)
