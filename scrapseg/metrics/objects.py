"""Which objects are found at one false alarm per image; and `evaluate`, all metrics at once.

Shapes and undefined values: see `scrapseg.metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scrapseg.data.classes import SLUGS
from scrapseg.metrics.pixels import (
    EIGHT_CONNECTED,
    aupro,
    auroc,
    average_precision,
    checked_scores,
    class_iou,
    class_metrics,
    confusion,
    f1_max,
    image_scores,
    mean_of_defined,
    rank,
)

ALARM_AREA = 25
"""Smallest false alarm, in pixels: a flagged speck below it would not be picked."""
SIZES = {"small": (1, 299), "medium": (300, 1500), "large": (1501, np.inf)}
"""Object sizes in visible pixels, both ends included."""
LARGE_AREA = 1500
"""A false alarm that spreads counts once more for each such area, in pixels."""


# ---------------------------------------------------------------- objects and images


class Objects(NamedTuple):
    """All objects of a stack, in order: image, number in it, visible pixels, found or not."""

    image: NDArray
    number: NDArray
    pixels: NDArray
    found: NDArray


def object_score(pixels: NDArray) -> np.floating:
    """The highest threshold at which an object is found: half of its pixels, rounded up, reach it.

    The one meaning of *found*, in the benchmark and on a user's own images: an object is found at
    a threshold when ``object_score(scores[object]) >= threshold``.

    Args:
        pixels: scores of the object's visible pixels, at least one, in any order.
    """
    middle = len(pixels) // 2
    return np.partition(pixels, middle)[middle]


def objects(score_maps: NDArray, masks: NDArray, instances: NDArray) -> Objects:
    """Which objects are found at one false alarm per image.

    *Found*: at least half of an object's visible pixels are flagged (`object_score`).
    *False alarm*: an 8-connected flagged region of at least `ALARM_AREA` pixels that touches no
    impurity pixel. Every `LARGE_AREA` flagged normal pixels of one region, whether it touches an
    impurity or not, count as one false alarm more: flagging a whole image must cost something.
    *Operating point*: thresholds are tried from high to low until the mean over all images first
    exceeds one false alarm; the last one before counts, for all sizes alike. Recall changes only
    at an object's own score (the median of its pixels), so these scores are the thresholds:
    with n different ones, first each sqrt(n)-th, then each one in the last interval.

    Raises:
        ValueError: shapes differ, or a score is not finite.
    """
    scores = checked_scores(score_maps, masks, instances)
    normal = ~np.asarray(masks, dtype=bool)
    rows = []
    for i, (image, numbered) in enumerate(zip(scores, instances, strict=True)):
        for k, box in enumerate(ndimage.find_objects(numbered), start=1):
            if box is None:  # numbers may be missing
                continue
            pixels = image[box][numbered[box] == k]
            rows.append((i, k, len(pixels), object_score(pixels)))
    image, number, areas, medians = np.array(rows).reshape(-1, 4).T
    medians = medians.astype(np.float32)

    def too_many(threshold: np.float32) -> bool:
        flagged = scores >= threshold
        regions, count = ndimage.label(flagged, EIGHT_CONNECTED)
        region, outside = regions[flagged], normal[flagged]
        area = np.bincount(region, minlength=count + 1)
        wrong = np.bincount(region[outside], minlength=count + 1)
        alarms = ((wrong == area) & (area >= ALARM_AREA)) + wrong // LARGE_AREA
        return alarms[1:].sum() > len(scores)

    tries = np.unique(medians)[::-1]
    stride = max(1, int(np.sqrt(len(tries))))
    start = 0
    while start < len(tries) and not too_many(tries[min(start + stride, len(tries)) - 1]):
        start += stride
    for threshold in tries[start : start + stride - 1]:
        if too_many(threshold):
            break
        start += 1
    lowest = tries[min(start, len(tries)) - 1] if start else np.inf
    return Objects(image.astype(int), number.astype(int), areas.astype(int), medians >= lowest)


def object_recall(score_maps: NDArray, masks: NDArray, instances: NDArray) -> dict[str, float]:
    """Share of objects found at one false alarm per image (see `objects`), in all and by size.

    Returns:
        ``object_recall_1fa`` and ``object_recall_1fa/<size>`` for `SIZES`; nan without objects.

    Raises:
        ValueError: shapes differ, or a score is not finite.
    """
    _, _, areas, found = objects(score_maps, masks, instances)
    parts = {f"/{size}": (areas >= lo) & (areas <= hi) for size, (lo, hi) in SIZES.items()}
    parts = {"": np.ones(len(areas), bool), **parts}
    return {
        f"object_recall_1fa{name}": float(found[part].mean()) if part.any() else np.nan
        for name, part in parts.items()
    }


# ---------------------------------------------------------------- all together


def evaluate(
    score_maps: NDArray,
    predictions: NDArray | None,
    labels: NDArray,
    instances: NDArray,
    *,
    threshold: float,
    slugs: Sequence[str] = SLUGS,
) -> dict[str, float]:
    """All metrics of one method on one set of images.

    Args:
        score_maps: float, N x H x W.
        predictions: class per pixel, or None for a method that names no classes.
        labels: true class per pixel.
        instances: object number per pixel, 0 = none.
        threshold: for ``miou_binary``, from `best_threshold` on validation images.
        slugs: names of the C classes.

    Returns:
        ap, auroc, f1_max, aupro_30, miou_binary, object_recall_1fa (and ``/small``, ``/medium``,
        ``/large``), image_auroc; with predictions also miou, miou_impurity and ``iou/<slug>``.
        Undefined ones are nan.

    Raises:
        ValueError: shapes differ, a score is not finite, or a class index is unknown.
    """
    scores, labels = checked_scores(score_maps, labels, instances, predictions), np.asarray(labels)
    masks = labels > 0
    ranking = rank(scores, masks)
    binary = confusion(scores >= np.float32(threshold), masks, 2).sum(0)
    metrics = {
        "ap": average_precision(ranking),
        "auroc": auroc(ranking),
        "f1_max": f1_max(ranking)[0],
        "aupro_30": aupro(ranking, masks),
        "miou_binary": float(mean_of_defined(class_iou(binary))),
    }
    del ranking
    if predictions is not None:
        table = confusion(predictions, labels, len(slugs)).sum(0)
        metrics |= class_metrics(table, slugs)
    metrics |= object_recall(scores, masks, instances)
    image = image_scores(scores)[:, None, None]
    metrics["image_auroc"] = auroc(rank(image, masks.any(axis=(1, 2))[:, None, None]))
    return metrics
