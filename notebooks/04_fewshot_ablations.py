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
# # 04 · How many labels does it take?
#
# **Question.** A plant that starts has a handful of labelled scenes, not hundreds. How does quality
# grow with the number of labelled scenes per impurity, for ours and for a supervised U-Net?

# %% tags=["parameters"]
profile = "smoke"
results_dir = "../results/smoke"
data_dir = "../data/scrapsim"
limit = 8  # images per split; None for all
steps = 4  # optimiser steps with all images
few_steps = 3  # optimiser steps with few shots
batch_size = 4
crop = 128  # side of the training crops in pixels
shots = [1]  # labelled scenes per impurity class, beside all
seeds = [0]

# %%
import pandas as pd
from IPython.display import Markdown, display

from scrapseg import plots, tables
from scrapseg.classes import IMPURITIES
from scrapseg.data import few_shot_ids
from scrapseg.experiment import Splits, run, tuned
from scrapseg.results import collect, save_figure, save_table
from scrapseg.train import TrainConfig

METHODS = ["scrapseg", "unet"]
splits = Splits.load(data_dir, limit)

# %% [markdown]
# ## The subsets
#
# *k shots* means at least *k* labelled scenes for each of the eight impurities, both views of a
# scene, plus normal scenes at the rate of the whole set. A scene often holds several impurities, so
# eight classes need fewer than 8 *k* scenes. The subsets are nested: what is in 1 shot is in 4.

# %%
rows = []
for k in [*shots, "all"]:
    ids = few_shot_ids(splits.train, k, seeds[0])
    held = [{o["class"] for o in splits.train.meta[i]["instances"]} for i in ids]
    row = {"shots": k, "images": len(ids), "without impurity": sum(not h for h in held)}
    rows.append(row | {c.slug: sum(c.slug in h for h in held) for c in IMPURITIES})
subsets = pd.DataFrame(rows).set_index("shots")
save_table(subsets.reset_index(), results_dir, "subsets")
subsets

# %% [markdown]
# ## The runs
#
# Same loop, same augmentation, same sampler and the same number of steps for both methods; fewer
# steps with few shots, since there is less to learn from. Model choice and threshold use the whole
# val split at every number of shots, for both methods alike: this measures what the *training*
# labels bring.

# %%
records = []
for k in [*shots, "all"]:
    for method in METHODS:
        for seed in seeds if k != "all" else seeds[:1]:
            n = steps if k == "all" else few_steps
            config = TrainConfig(steps=n, batch_size=batch_size, crop=crop, **tuned(method))
            records.append(run(method, splits, config, results_dir, shots=k, seed=seed))
frame = collect(results_dir)
tables.TABLES["fewshot"](frame).round(3)

# %%
figure = plots.fewshot_curve(frame, methods=METHODS)
save_figure(figure, results_dir, "fewshot", runs=[r.name() for r in records])
figure

# %% [markdown]
# With one seed the bars are 95 % bootstrap intervals over test scenes; with several, the band is the
# range over seeds, which also moves the choice of scenes.
#
# ## Which classes are learned first

# %%
ours = [r for r in records if r.method == "scrapseg" and r.seed == seeds[0]]
first = pd.DataFrame(
    {c.name: [r.metrics[f"iou/{c.slug}"] for r in ours] for c in IMPURITIES},
    index=pd.Index([r.shots for r in ours], name="shots"),
).T
first.sort_values("all", ascending=False).round(3)

# %% [markdown]
# ## The answer

# %%
mean = (
    pd.DataFrame([{"method": r.method, "shots": str(r.shots), **r.metrics} for r in records])
    .groupby(["shots", "method"])[["ap", "miou_impurity"]]
    .mean()
)
lines = []
for k in [*map(str, shots), "all"]:
    ours_k, unet_k = mean.loc[(k, "scrapseg")], mean.loc[(k, "unet")]
    gap = 100 * (ours_k - unet_k)
    lines.append(
        f"- **{k} shots**: ScrapSeg AP {ours_k['ap']:.3f} ({gap['ap']:+.1f} points against U-Net), "
        f"impurity mIoU {ours_k['miou_impurity']:.3f} ({gap['miou_impurity']:+.1f})"
    )
share = mean.loc[(str(shots[-1]), "scrapseg")] / mean.loc[("all", "scrapseg")]
display(
    Markdown(
        f"In this `{profile}` run:\n\n" + "\n".join(lines) + f"\n\nWith {shots[-1]} labelled "
        f"scenes per class, ScrapSeg reaches {100 * share['ap']:.0f} % of the AP and "
        f"{100 * share['miou_impurity']:.0f} % of the impurity mIoU that it has with all of them."
    )
)
