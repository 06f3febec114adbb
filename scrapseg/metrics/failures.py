"""What lies behind a comparison: which objects are found, what is confused, how sure a method is.

Functions take arrays and a split and return tables, which the notebooks draw. Shapes and names are
those of `scrapseg.metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import binomtest

from scrapseg import metrics
from scrapseg.data.classes import CLASSES, IMPURITIES, SLUGS, STEEL
from scrapseg.data.scrapsim import ScrapSim, instances_table
from scrapseg.data.shots import few_shot_ids

#: Bins of an object's visible fraction, both ends of the last one included.
BURIAL = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
#: Bins of an object's visible pixels.
PIXELS = (1, 100, 300, 700, 1500, np.inf)


# ---------------------------------------------------------------- subsets


def few_shot_sizes(split: ScrapSim, shots: Sequence[int | str], seed: int) -> pd.DataFrame:
    """What is in the few-shot subsets of one seed, a row each.

    Returns:
        Columns shots, images, pieces (to outline), "without impurity" (images), and per class the
        images that hold it.

    Raises:
        NotEnoughShots: see `data.few_shot_ids`.
    """
    rows = []
    for k in shots:
        ids = few_shot_ids(split, k, seed)
        pieces = [split.meta[i]["instances"] for i in ids]
        held = [{o["class"] for o in objects} for objects in pieces]
        row = {"shots": k, "images": len(ids), "pieces": sum(map(len, pieces))}
        row |= {"without impurity": sum(not h for h in held)}
        rows.append(row | {c.slug: sum(c.slug in h for h in held) for c in IMPURITIES})
    return pd.DataFrame(rows)


# ---------------------------------------------------------------- objects


def found_objects(split: ScrapSim, score_maps: NDArray) -> pd.DataFrame:
    """Every object of a split, and whether it is found at one false alarm per image.

    Args:
        score_maps: (N, H, W), in the order of `split.ids`.

    Returns:
        `data.instances_table` with a column `found`, see `metrics.object_recall`.

    Raises:
        ValueError: there are not as many maps as images.
    """
    samples = list(split)
    labels = np.stack([s.label for s in samples])
    instances = np.stack([s.instances for s in samples])
    objects = metrics.objects(score_maps, labels > 0, instances)
    found = {
        (split.ids[i], int(k)): bool(f)
        for i, k, f in zip(objects.image, objects.number, objects.found, strict=True)
    }
    table = instances_table(split)
    keys = zip(table["id"], table["instance"], strict=True)
    return table.assign(found=[found.get(key, False) for key in keys])


def recall_by(objects: pd.DataFrame, column: str, edges: Sequence[float]) -> pd.DataFrame:
    """Object recall in bins of a number, with Wilson's 95 % interval.

    Args:
        objects: from `found_objects`.
        column: pixels or visible_fraction.
        edges: of the bins; a bin holds its lower edge, the last one its upper edge too.

    Returns:
        Columns from, to, objects, recall, lo, hi; nan for a bin without objects.
    """
    edges = np.asarray(edges, float)
    place = np.digitize(objects[column], edges) - 1
    place = np.where(objects[column] == edges[-1], len(edges) - 2, place)
    rows = []
    for k, (low, high) in enumerate(pairwise(edges)):
        hits = objects["found"][place == k]
        row = {"from": low, "to": high, "objects": len(hits)}
        row |= dict.fromkeys(("recall", "lo", "hi"), np.nan)
        if len(hits):
            test = binomtest(int(hits.sum()), len(hits))
            row["recall"] = test.statistic
            row["lo"], row["hi"] = test.proportion_ci(method="wilson")
        rows.append(row)
    return pd.DataFrame(rows)


# ---------------------------------------------------------------- classes


def steel_confusion(table: NDArray) -> pd.DataFrame:
    """What becomes of each impurity's pixels, and where its false pixels come from.

    Args:
        table: (C, C) pixels, row = truth, column = prediction; class 0 is steel.

    Returns:
        A row an impurity: class, right, as_steel and as_other (shares of its true pixels, sum 1),
        from_steel and from_other (shares of the pixels that are given its name). nan where there
        are none.
    """
    table = np.asarray(table, float)
    rows = []
    for c in CLASSES[1:]:
        true, named, hit = table[c.index].sum(), table[:, c.index].sum(), table[c.index, c.index]
        missed, false = table[c.index, STEEL.index], table[STEEL.index, c.index]
        of_true = np.array([hit, missed, true - hit - missed]) / (true or np.nan)
        of_named = np.array([false, named - hit - false]) / (named or np.nan)
        rows.append((c.slug, *of_true, *of_named))
    columns = ["class", "right", "as_steel", "as_other", "from_steel", "from_other"]
    return pd.DataFrame(rows, columns=columns)


def boundary_ceiling(labels: NDArray, classes: int = len(CLASSES)) -> pd.DataFrame:
    """How good the truth itself is when its outlines are one pixel off.

    Every impurity loses (or gains) one pixel all along its outline, to (or from) steel: what a
    method can hardly do better than if labels are that exact.

    Args:
        labels: (N, H, W) class index.

    Returns:
        Rows eroded and dilated; columns outline, miou, miou_impurity and iou/<slug>.
    """
    labels = np.asarray(labels)
    cross = ndimage.generate_binary_structure(2, 1)
    rows = []
    for name in ("eroded", "dilated"):
        moved = np.empty_like(labels)
        for i, label in enumerate(labels):
            around = ndimage.maximum_filter(label, footprint=cross)
            if name == "dilated":
                moved[i] = np.where(label == 0, around, label)
            else:
                edge = ndimage.minimum_filter(label, footprint=cross) == 0
                moved[i] = np.where(edge, 0, label)
        table = metrics.confusion(moved, labels, classes).sum(0)
        rows.append({"outline": name} | metrics.class_metrics(table, SLUGS[:classes]))
    return pd.DataFrame(rows)


# ---------------------------------------------------------------- how sure


def reliability(probabilities: NDArray, masks: NDArray, bins: int = 15) -> pd.DataFrame:
    """How often a pixel with a given probability of being an impurity is one.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2, for the binary question.

    Args:
        probabilities: (N, H, W) in 0..1.
        masks: (N, H, W) bool.
        bins: number of equal bins of 0..1.

    Returns:
        Columns from, to, pixels, probability (mean in the bin) and frequency; nan in empty bins.

    Raises:
        ValueError: a value is not a probability.
    """
    p = np.asarray(probabilities, np.float64).ravel()
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"not probabilities: {p.min():.3g} to {p.max():.3g}")
    place = np.minimum((p * bins).astype(int), bins - 1)
    pixels = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights=w, minlength=bins) for w in (p, np.ravel(masks))]
    mean = [np.divide(s, pixels, out=np.full(bins, np.nan), where=pixels > 0) for s in sums]
    edges = np.linspace(0, 1, bins + 1)
    return pd.DataFrame(
        {
            "from": edges[:-1],
            "to": edges[1:],
            "pixels": pixels,
            "probability": mean[0],
            "frequency": mean[1],
        }
    )


def calibration_error(table: pd.DataFrame, over: float = 0.0) -> float:
    """Expected calibration error of a `reliability` table: mean gap, weighted by pixels.

    Args:
        over: leave out bins below this probability. Nearly all pixels are surely steel; without
            them the error speaks of what might be an impurity.
    """
    rows = table[(table["pixels"] > 0) & (table["from"] >= over - 1e-9)]
    if rows.empty:
        return np.nan
    gap = (rows["probability"] - rows["frequency"]).abs()
    return float(np.average(gap, weights=rows["pixels"]))


# ---------------------------------------------------------------- failures


def worst_images(predictions: NDArray, labels: NDArray, count: int = 10) -> pd.DataFrame:
    """The images with the most wrongly named pixels, worst first.

    Returns:
        Columns index (in the stack), wrong (share of the image's pixels), missed (impurity taken
        for steel), invented (steel taken for an impurity) and misnamed; all shares of the image.
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    axes = (1, 2)
    table = pd.DataFrame(
        {
            "index": np.arange(len(labels)),
            "wrong": (predictions != labels).mean(axes),
            "missed": ((predictions == 0) & (labels > 0)).mean(axes),
            "invented": ((predictions > 0) & (labels == 0)).mean(axes),
        }
    )
    table["misnamed"] = table["wrong"] - table["missed"] - table["invented"]
    return table.nlargest(count, "wrong").reset_index(drop=True)
