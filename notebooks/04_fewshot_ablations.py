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
# # 04 · How many labels does it take?
#
# **Question.** A plant that starts has a handful of labelled scenes, not hundreds. How do ours and
# supervised baselines compare at each number of labelled scenes per impurity? And
# what does it help that the image side was aligned with words before it saw scrap?
#
# The outputs shown here are those of the laptop run (`notebooks/profiles/laptop.yaml`). Run as it stands, the
# notebook takes the small settings of the next cell, whose numbers say nothing.

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
methods = ["scrapseg", "unet"]  # of scrapseg/experiments/methods.yaml
controls = []  # likewise, with seeds of their own
control_seeds = [0]
even_methods = []  # those trained for `steps` steps at every number of labels
even_seeds = [0]
domain_methods = []  # those trained on one setting, heaps or belts, and tested on the other
domain_steps = 3
backbone = "pocket"  # see notebook 03, as for the rest
pretrained = None
weights_path = None
precision = "32-true"
grad_checkpointing = False
lr = None
encoder_lr = None
study_dir = "../results/full"  # whose runs with several seeds are shown where one is made here

# %%
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from scrapseg.data.classes import IMPURITIES
from scrapseg.data.shots import few_shot_ids
from scrapseg.experiments.methods import METHODS
from scrapseg.experiments.records import collect, read_metrics, save_figure, save_table
from scrapseg.experiments.run import run_all
from scrapseg.experiments.splits import Splits
from scrapseg.experiments.stats import read as scene_stats
from scrapseg.experiments.studies import plan
from scrapseg.report import figures, scene_tables, style, tables

matplotlib.rcParams.update(style.STYLE | {"axes.axisbelow": True})
splits = Splits.load(data_dir, limit)

# %% [markdown]
# ## The subsets
#
# *k shots* means at least *k* labelled scenes for each of the eight impurities, both views of a
# scene, plus normal scenes at the rate of the whole set. A scene often holds several impurities, so
# eight classes need fewer than 8 *k* scenes. The subsets are nested: what is in 1 shot is in 4.


# %%
def few_shot_sizes(split, shots, seed):
    """Per number of shots: images, pieces to outline, and images that hold each class."""
    rows = []
    for k in shots:
        ids = few_shot_ids(split, k, seed)
        pieces = [split.meta[i]["instances"] for i in ids]
        held = [{o["class"] for o in objects} for objects in pieces]
        row = {"shots": k, "images": len(ids), "pieces": sum(map(len, pieces))}
        row["without impurity"] = sum(not classes for classes in held)
        rows.append(row | {c.slug: sum(c.slug in h for h in held) for c in IMPURITIES})
    return pd.DataFrame(rows)


subsets = few_shot_sizes(splits.train, [*shots, "all"], seeds[0])
save_table(subsets, results_dir, "subsets")
subsets.set_index("shots")

# %% [markdown]
# ## The runs
#
# Same loop, same augmentation, same sampler and the same number of steps for every method. Runs with few shots
# take `few_steps`, those with all images `steps`, so that along a curve labels and steps grow together: methods can
# be compared at one number of labels, but the rise to `all` is not what labels alone are worth. Model choice and threshold use the whole
# val split at every number of shots, for all methods alike: this measures what the *training*
# labels bring. Which methods run is the profile's choice: `full` has U-Net, DeepLabV3+, SegFormer's decoder
# (the strongest of four on val, see `results/tuning`) and a random forest on colours and textures beside ours,
# and, as controls with fewer seeds, ours with one thing changed each: started from ImageNet's weights alone
# (`scrapseg-imagenet`), random class vectors, a frozen image tower; and SegFormer's decoder on the image tower
# that ours starts from.

# %%
specs = plan("fewshot", globals())
records = run_all(specs, results_dir, data_dir)
frame = collect(results_dir)
tables.TABLES["fewshot"](frame).round(3)

# %%
figure = figures.quality_curve(scene_tables.fewshot_bands(results_dir), [*methods, *controls])
save_figure(figure, results_dir, "fewshot", runs=[r.name() for r in records])
figure

# %% [markdown]
# With one seed the bars are 95 % bootstrap intervals over test scenes alone.
#
# ## Over several seeds
#
# Which scenes are labelled is luck, and with one scene per class much of it. Where a profile has one
# seed, the study of profile `full` is shown: every method with few shots over several seeds, and one run with all labels
# (its mean over seeds, where there is one, is in the next part). A band is
# the 95 % interval of the mean, for which seeds and test scenes are drawn anew (what
# seeds add is widened, since drawing three of three gives two thirds of its variance; so few still tell their luck smaller than it
# is, for the ends are a percentile's and not Student's). The table below it has ours minus each other method on the same test scenes, paired by
# seed, in points with 95 % intervals over seeds and scenes; a star: p below 0.05, corrected (Holm) for all
# methods and numbers of labels. Of AP 1,000 draws are kept, so that its p is 0.002 at least: among more than 25 rows none of AP can have a star.

# %%
alone = len(seeds) == 1 and (Path(study_dir) / "metrics.csv").is_file()
source = Path(study_dir if alone else results_dir)
study = read_metrics(source)
few = tables.main_runs(study)
names = tables.method_order(few.loc[few["shots"] != "all", "method"])
made = source / "tables"
bands = (
    pd.read_csv(made / "fewshot_bands.csv", dtype={"shots": str})
    if alone
    else scene_tables.fewshot_bands(source)
)
figures.quality_curve(bands, names)

# %% [markdown]
# What stands behind one end of one band, in the open: ours with the fewest labels. Scenes are drawn anew, and so are
# the runs, each with a seed and so with labelled scenes of its own; the band is the middle 95 % of the means.

# %%
fewest = tables.shots_order(few["shots"])[0]
of_ours = few[(few["method"] == "scrapseg") & (few["shots"] == fewest)]
stats = [scene_stats(source, run) for run in of_ours["run"].unique()]
counts = np.stack([s.classes for s in stats])  # runs x scenes x true class x predicted class
runs, scenes = counts.shape[:2]


def draws(n, seed, size=10_000):
    """How often each of n things is drawn, a row a draw; the library's generator."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size)


table = np.tensordot(draws(scenes, 0), counts, (1, 1))  # draws x runs x classes x classes
hit = np.diagonal(table, axis1=-2, axis2=-1)
with np.errstate(invalid="ignore"):  # a class that is nowhere has no IoU
    iou = hit / (table.sum(-1) + table.sum(-2) - hit)
each = np.nanmean(iou[..., 1:], axis=-1)  # draws x runs
away = (each * draws(runs, 1)).sum(1) / runs - each.mean(1)  # (runs - 1) / runs of the variance
means = each.mean(1) + np.sqrt(runs / max(1, runs - 1)) * away
low, high = np.nanpercentile(means, [2.5, 97.5])
library = bands.set_index(["method", "shots", "metric"]).loc[("scrapseg", fewest, "miou_impurity")]
assert np.allclose([low, high], library[["lo", "hi"]].astype(float), atol=1e-5)  # of a csv
print(f"{fewest} shots, {runs} runs, {scenes} scenes: impurity mIoU {low:.3f} to {high:.3f}")

# %% [markdown]
# Ours minus each other method, in points:

# %%
gaps = (
    pd.read_csv(made / "paired_fewshot.csv", dtype={"shots": str})
    if alone
    else scene_tables.paired_fewshot(source)
)
gaps["points"] = [
    f"{100 * g.value:+.1f}{'*' * (g.p_holm < 0.05 and g.seeds > 1)} ({100 * g.lo:.1f} to {100 * g.hi:.1f}), {g.seeds} seed(s)"
    for g in gaps.itertuples()
]
gaps = gaps[gaps["metric"].isin(["ap", "miou_impurity"])]
wide = gaps.pivot(index=["scrapseg minus", "metric"], columns="shots", values="points")
wide[tables.shots_order(wide.columns)]

# %% [markdown]
# ## What labels alone are worth
#
# Above, labels and steps grow together. In the study `labels` every run takes as many steps as one with all images,
# whatever number of labels it has: along these curves nothing but the labels changes (in brackets the images that have them, those
# of val among them). Seeds of one method are all or the first of another's
# (how many each has, by number of labels, stands in the table; the curves are of those that all of them have). Controls are run at 4 labels, 16 and all: *random vectors* in the place of the text's, drawn anew with each seed; the
# *words permuted*, likewise, so that each impurity goes by another's (the tower was aligned to them: only their meaning is
# wrong); ours *not aligned*; and SegFormer's decoder on the *aligned tower*.

# %%
run_all(plan("labels", globals()), results_dir, data_dir)
collect(results_dir)
even = tables.main_runs(study, tag=tables.EVEN)
even_bands = scene_tables.labels(source)
if len(even):
    drawn = scene_tables.shared_seeds(even[even["method"].isin(scene_tables.SHOWN)])
    alike = scene_tables.bands(source, drawn)
    display(figures.quality_curve(tables.with_images(alike, drawn, data_dir)))

# %% [markdown]
# In points of impurity mIoU: ours minus each other method at the same steps, a star as above, and below it what the study's steps in
# place of few bring each method with the same labels (means over the seeds that each has). From 16 labelled scenes a class to all, most of what the curve
# further above gains is steps.


# %%
def points(row):
    """A difference with its interval; a star where p, corrected over its table, is below 0.05."""
    value = f"{100 * row.value:+.1f}{'*' * (row.p_holm < 0.05)}"
    return f"{value} ({100 * row.lo:.1f} to {100 * row.hi:.1f})"


if len(even):
    even_gaps = scene_tables.labels_paired(source)
    even_gaps = even_gaps[even_gaps["metric"] == "miou_impurity"]
    even_gaps = even_gaps.assign(points=[points(g) for g in even_gaps.itertuples()])
    even_wide = even_gaps.pivot(index=["scrapseg minus", "seeds"], columns="shots", values="points")
    display(even_wide[tables.shots_order(even_wide.columns)])

# %%
if len(even):
    both = even_bands.merge(bands, on=["method", "shots", "metric"], suffixes=("", "_few"))
    both = both[(both["metric"] == "miou_impurity") & (both["shots"] != "all")]
    both["more steps"] = both["value"] - both["value_few"]
    steps_worth = 100 * both.pivot(index="method", columns="shots", values="more steps")
    display(steps_worth[tables.shots_order(steps_worth.columns)].round(1))

# %% [markdown]
# ## Words, or classes?
#
# Ours starts aligned, and that is worth points. What of it? Five alignments of equal length, on rendered
# pictures of everyday things (`data/controls`), take apart what it could be:
#
# - *words*: the *text* of captions and objects; *permuted text*, in which each noun has another noun's name throughout, so
#   that things are told apart as before and no word is right; *class numbers*, a direction for each noun that has
#   nothing to do with its name (so without captions, materials and colours, too);
# - *pictures*: text, and numbers, *without* the pictures that show a noun made after one of the impurities, a fifth of all with
#   what stood beside it (planks, canisters and the like stay).
#
# There is one alignment of each. Each is then fine-tuned on scrap, to its text, with the same steps, labels and seeds; with *no
# words at all* the one to class numbers is fine-tuned to random vectors in place of text. Six impurities are *taught*: all
# but those *without* saw things made after them. Spray can and rubber hose are not, though rubber was there as a
# material. Beside them ours as it is shipped (aligned twice as long, to fuller captions) and *not aligned*.

# %%
run_all(plan("alignment", globals()), results_dir, data_dir)
collect(results_dir)
worth = scene_tables.alignment(source)
between = scene_tables.alignment_paired(source)


def by_start(axes, rows, group):
    """Quality of each start, a line each: hollow with few labels, filled with all."""
    starts = tables.method_order(rows["method"])
    for number, (shots, of) in enumerate(rows.groupby("shots")):
        for row in of.itertuples():
            colour = style.method_style(row.method)["color"]
            fill = colour if shots == "all" else "white"
            y = starts.index(row.method) + 0.2 * number
            axes.hlines(y, row.lo, row.hi, colour, lw=1)
            axes.plot(row.value, y, "o", color=colour, mfc=fill)
    axes.set(title=f"{group} classes", xlabel="mean IoU")
    axes.set_yticks(range(len(starts)), [style.method_style(m)["label"] for m in starts])
    axes.grid(axis="x")


# %%
if len(worth):
    fig = style.figure(style.FULL, 3.0)
    for axes, group in zip(fig.subplots(1, 2, sharey=True), tables.TAUGHT, strict=True):
        by_start(axes, worth[(worth["metric"] == f"miou_{group}") & (worth["shots"] != "0")], group)
    fig.axes[0].invert_yaxis()
    display(fig)

# %% [markdown]
# Hollow: 4 labelled scenes an impurity class, filled: all. One *start* minus another, in points of mean IoU, paired by
# seed, with 95 % intervals over seeds and scenes; a star: p below 0.05 after Holm's correction over all of a measure here, with labels or
# without; 0 labels is what the class prompts find by themselves, in one run each.

# %%
if len(between):
    gaps = between[between["metric"].str.startswith("miou_")].copy()
    gaps["points"] = [points(g) for g in gaps.itertuples()]
    gaps = gaps.pivot(index=["metric", "start", "minus"], columns="shots", values="points")
    display(gaps[tables.shots_order(gaps.columns)])

# %%
QUESTIONS = {
    ("scrapseg-to-text", "scrapseg-to-permuted"): "right words, not wrong ones",
    ("scrapseg-to-text", "scrapseg-to-numbers"): "text, not numbers",
    ("scrapseg-to-text", "scrapseg-no-words"): "words in both places, not in none",
    (
        "scrapseg-to-text-without",
        "scrapseg-to-numbers-without",
    ): "text, not numbers, without the pictures",
    ("scrapseg-to-text", "scrapseg-to-text-without"): "the pictures, with text",
    ("scrapseg-to-numbers", "scrapseg-to-numbers-without"): "the pictures, with numbers",
    ("scrapseg-to-numbers-without", "scrapseg-imagenet"): "numbers without the pictures, not none",
}
if len(between):
    trained = between[(between["shots"] != "0") & between["metric"].isin(["ap", "miou_impurity"])]
    told = [
        "Once trained, p below 0.05 after Holm's correction (AP, impurity mIoU, 4 and all labels):\n"
    ]
    for (start, minus), what in QUESTIONS.items():
        rows = trained[(trained["start"] == start) & (trained["minus"] == minus)]
        sure = rows.loc[rows["p_holm"] < 0.05, "value"]
        more, less = (sure > 0).sum(), (sure < 0).sum()
        told += [f"- {what}: better in {more} of {len(rows)} cases, worse in {less}"]
    display(Markdown("\n".join(told)))

# %% [markdown]
# ## Class by class
#
# The IoU of ours, class by class, mean over seeds, in the order of the last column; of the runs with the same steps
# where there are any, else of those above, whose last column takes more steps than the others.

# %%
by_class = even if len(even) else few
ours = by_class[(by_class["method"] == "scrapseg") & by_class["metric"].str.startswith("iou/")]
first = ours.pivot_table(values="value", index="metric", columns="shots")
first = first[tables.shots_order(first.columns)].rename(index=lambda m: m.removeprefix("iou/"))
first = first.drop(index="steel").rename_axis("class").sort_values(first.columns[-1])[::-1]
first.round(3)

# %% [markdown]
# ## From heaps to belts
#
# A plant films a belt; the images it can get beforehand show heaps in a yard. Here a method learns from
# one setting, chooses on val images of that setting, and is tested on both. Profiles that do not run it
# show what profile `full` has, if anything. A cell is the AP with its 95 % interval over test scenes, in per cent, of one run each.

# %%
across = plan("domains", globals())
run_all(across, results_dir, data_dir)
collect(results_dir)
save_table(scene_tables.domains(results_dir), results_dir, "domains")
moved = scene_tables.domains(results_dir if across else source)
moved["shown"] = [
    f"{100 * m.value:.1f} ({100 * m.lo:.1f} to {100 * m.hi:.1f})" for m in moved.itertuples()
]
moved[moved["metric"] == "ap"].pivot(index="label", columns=["source", "target"], values="shown")

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
    ours_k = mean.loc[(k, "scrapseg")]
    gaps = [
        f"{100 * (ours_k['miou_impurity'] - mean.loc[(k, m), 'miou_impurity']):+.1f} points against "
        f"{METHODS[m].label}"
        for m in methods
        if m != "scrapseg"
    ]
    lines.append(
        f"- **{k} shots**: ScrapSeg AP {ours_k['ap']:.3f}, impurity mIoU "
        f"{ours_k['miou_impurity']:.3f} ({', '.join(gaps)})"
    )

# %%
told = f"In this `{profile}` run ({len(seeds)} seed(s); {few_steps} steps with few labels, {steps} with all; U-Net is the weakest network of profile `full`):"
display(Markdown(told + "\n\n" + "\n".join(lines)))

# %%
RIVALS = {"scrapseg-frozen": "itself, frozen", "fpn": "FPN", "segformer": "SegFormer's decoder",
          "segformer-aligned": "the same on our tower", "scrapseg-imagenet": "itself, not aligned",
          "scrapseg-random": "itself with random vectors", "scrapseg-permuted": "itself with words permuted"}  # fmt: skip
if len(even):
    told = [
        f"At equal steps (`{source.name}`), impurity mIoU of ours less that of another, in points by labels:\n"
    ]
    for rival, name in RIVALS.items():
        rows = even_gaps[even_gaps["scrapseg minus"] == rival]
        each = "; ".join(f"{row.points} at {row.shots}" for row in rows.itertuples())
        told += (
            [f"- {name} ({' and '.join(map(str, sorted(set(rows['seeds']))))} seeds): {each}"]
            if each
            else []
        )
    pairs = between[between["metric"].eq("miou_impurity") & (between["shots"] != "0")]
    for (start, minus), what in QUESTIONS.items():
        rows = pairs[(pairs["start"] == start) & (pairs["minus"] == minus)]
        each = "; ".join(f"{points(row)} at {row.shots}" for row in rows.itertuples())
        told += [f"- of an alignment (one each), {what}: {each}"]
    display(Markdown("\n".join(told)))
