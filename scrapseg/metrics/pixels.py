"""How well pixels are ranked and named: AP, AUROC, F1-max, AUPRO, IoU; and an image's own score.

Ranking metrics are exact, ties included: nothing is binned. They are written here, on numpy and
scipy, because the thresholded curves of torchmetrics and the AUPRO of anomalib index-sort all
pixels once per metric; the tests hold these against scikit-learn, torchmetrics and anomalib.
Shapes and undefined values: see `scrapseg.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scrapseg.data.classes import SLUGS

FPR_LIMIT = 0.3
"""Upper false-positive rate of AUPRO (Bergmann et al. 2021)."""
TOP_SHARE = 0.001
"""Share of an image's pixels whose mean score is the image's score."""

EIGHT_CONNECTED = np.zeros((3, 3, 3), bool)
EIGHT_CONNECTED[1] = True  # 8-connected within an image, never across images


def checked_scores(score_maps: NDArray, *others: NDArray | None) -> NDArray[np.float32]:
    """The scores as float32 (the precision they are compared at); ValueError on bad input."""
    scores = np.asarray(score_maps, dtype=np.float32)
    if scores.ndim != 3 or scores.size == 0:
        raise ValueError(f"score maps must be a non-empty N x H x W array, not {scores.shape}")
    for other in others:
        if other is not None and np.shape(other) != scores.shape:
            raise ValueError(f"shapes differ: score maps {scores.shape}, other {np.shape(other)}")
    if not np.isfinite(scores).all():
        raise ValueError("score maps hold nan or infinite values")
    return scores


# ---------------------------------------------------------------- pixels, ranked by score


@dataclass(frozen=True)
class Ranking:
    """Counts at each distinct score of an impurity pixel, highest score first (K of them).

    No other threshold can matter to the metrics below: between two such scores only normal pixels
    are added.

    Attributes:
        scores: float32, K. The thresholds.
        true: int, K. Impurity pixels at or above each threshold.
        false: int, K. Normal pixels at or above it.
        false_above: int, K. Normal pixels strictly above it.
        where: int, positives. For each impurity pixel in C order, the index of its score.
        positives, negatives: number of impurity and normal pixels.
        highest: highest score of any pixel.
    """

    scores: NDArray
    true: NDArray
    false: NDArray
    false_above: NDArray
    where: NDArray
    positives: int
    negatives: int
    highest: float


def rank(score_maps: NDArray, masks: NDArray) -> Ranking:
    """Sort all pixels once; every ranking metric is read from the result.

    Raises:
        ValueError: shapes differ, or a score is not finite.
    """
    scores = checked_scores(score_maps, masks)
    masks = np.asarray(masks, dtype=bool)
    positive, negative = scores[masks], np.sort(scores[~masks])
    values, where, counts = np.unique(positive, return_inverse=True, return_counts=True)
    false = len(negative) - np.searchsorted(negative, values, side="left")
    above = len(negative) - np.searchsorted(negative, values, side="right")
    return Ranking(
        scores=values[::-1],
        true=np.cumsum(counts[::-1]),
        false=false[::-1],
        false_above=above[::-1],
        where=len(values) - 1 - where,
        positives=len(positive),
        negatives=len(negative),
        highest=float(scores.max()),
    )


def rank_streamed(maps: Iterable[tuple[NDArray, NDArray]]) -> Ranking:
    """`rank` of any number of images that come one by one, in the memory of one and 0.1 GB.

    Scores are told apart to one part in 8,192 or finer (the first 22 bits of a float32), so
    exactly where they come in half precision; thresholds are the lower ends of such bins. Of the
    metrics below `aupro` alone cannot be had from it.

    Args:
        maps: score map (H, W) and mask (H, W) of each image.

    Raises:
        ValueError: shapes differ, or a score is not finite.
    """
    counts = np.zeros((2, 1 << 22), np.int64)
    for score_map, mask in maps:
        scores = checked_scores(score_map[None], mask[None]) + np.float32(0)  # no -0
        bits = scores.view(np.int32)
        keys = (bits ^ (bits >> 31 & 0x7FFFFFFF)) >> 10  # in the order of the scores, from -2**21
        for kind in (0, 1):
            keyed, times = np.unique(keys[0][np.asarray(mask, bool) == kind], return_counts=True)
            counts[kind, keyed + (1 << 21)] += times
    false, true = counts[:, ::-1].cumsum(1)
    at = np.flatnonzero(counts[1, ::-1])  # bins with an impurity pixel, the highest first
    keys = ((1 << 21) - 1 - np.array([*at, counts.any(0)[::-1].argmax()])).astype(np.int32) << 10
    *scores, highest = (keys ^ (keys >> 31 & 0x7FFFFFFF)).view(np.float32)
    return Ranking(
        scores=np.array(scores, np.float32),
        true=true[at],
        false=false[at],
        false_above=false[at] - counts[0, ::-1][at],
        where=np.zeros(0, int),
        positives=int(true[-1]),
        negatives=int(false[-1]),
        highest=float(highest),
    )


def average_precision(ranking: Ranking) -> float:
    """Pixel AP: the sum of precision times step of recall, as scikit-learn defines it."""
    if not ranking.positives:
        return np.nan
    precision = ranking.true / (ranking.true + ranking.false)
    return float(np.sum(np.diff(ranking.true, prepend=0) * precision) / ranking.positives)


def auroc(ranking: Ranking) -> float:
    """Chance that an impurity pixel outscores a normal one, ties counted half."""
    if not ranking.positives or not ranking.negatives:
        return np.nan
    outscored_by = (ranking.false + ranking.false_above) / 2
    wins = np.diff(ranking.true, prepend=0) * (ranking.negatives - outscored_by)
    return float(wins.sum() / (ranking.positives * ranking.negatives))


def f1_max(ranking: Ranking) -> tuple[float, float]:
    """Highest F1 over all thresholds, and the (highest) threshold that reaches it."""
    if not ranking.positives:
        return np.nan, np.nan
    f1 = 2 * ranking.true / (ranking.positives + ranking.true + ranking.false)
    best = int(np.argmax(f1))
    return float(f1[best]), float(ranking.scores[best])


def aupro(ranking: Ranking, masks: NDArray, limit: float = FPR_LIMIT) -> float:
    """Area under the per-region-overlap curve up to false-positive rate ``limit``, over ``limit``.

    The overlap is the share of a region's pixels that are flagged, averaged over all regions
    (8-connected parts of ``masks``, in all images together); the rate is over all normal
    pixels. Straight lines between thresholds. Bergmann et al. 2021, "The MVTec Anomaly Detection
    Dataset", section 5.1.

    Args:
        ranking: of the same ``masks``.
        limit: in (0, 1].
    """
    if not ranking.positives or not ranking.negatives:
        return np.nan
    regions, count = ndimage.label(masks, EIGHT_CONNECTED)
    region = regions[np.asarray(masks, dtype=bool)]
    share = 1 / np.bincount(region)[region] / count  # what each pixel adds to the mean overlap
    step = np.bincount(ranking.where, weights=share, minlength=len(ranking.scores))
    # The curve climbs by `step` from rate `left` to rate `right`: the area it adds up to the limit.
    left, right = ranking.false_above / ranking.negatives, ranking.false / ranking.negatives
    inside = np.maximum(limit - left, 0)
    width = np.maximum(right - left, np.finfo(float).tiny)
    area = np.where(right <= limit, limit - (left + right) / 2, inside**2 / (2 * width))
    return float(np.sum(step * area) / limit)


def best_threshold(score_maps: NDArray, masks: NDArray) -> float:
    """The threshold with the highest binary mIoU; the highest such one when several tie.

    To be chosen on validation images. Without any impurity it is the least float32 above all
    scores, so that nothing is flagged.

    Raises:
        ValueError: shapes differ, or a score is not finite.
    """
    r = rank(score_maps, masks)
    nothing = np.nextafter(np.float32(r.highest), np.float32(np.inf))
    true, false = np.append(0, r.true), np.append(0, r.false)
    table = np.stack([r.negatives - false, false, r.positives - true, true], -1)
    mean = mean_of_defined(class_iou(table.reshape(-1, 2, 2)))
    return float(np.append(nothing, r.scores)[int(np.nanargmax(mean))])


# ---------------------------------------------------------------- classes


def confusion(predictions: NDArray, labels: NDArray, classes: int) -> NDArray[np.int64]:
    """Pixel counts per image: N x C x C, row = true class, column = predicted class.

    Raises:
        ValueError: shapes differ, or a value is outside 0 .. ``classes`` - 1.
    """
    if np.shape(predictions) != np.shape(labels):
        raise ValueError(f"shapes differ: {np.shape(predictions)} and {np.shape(labels)}")
    table = np.empty((len(labels), classes, classes), np.int64)
    for i, (prediction, label) in enumerate(zip(predictions, labels, strict=True)):
        for values in (prediction, label):
            if values.min() < 0 or values.max() >= classes:
                raise ValueError(f"image {i} holds a class index outside 0..{classes - 1}")
        pairs = label.astype(np.int64) * classes + prediction
        table[i] = np.bincount(pairs.ravel(), minlength=classes**2).reshape(classes, classes)
    return table


def class_iou(table: NDArray) -> NDArray:
    """IoU of each class, ... x C, from confusion ... x C x C; nan for a class nowhere seen."""
    hit = np.diagonal(table, axis1=-2, axis2=-1).astype(float)
    union = table.sum(-1) + table.sum(-2) - hit
    return np.divide(hit, union, out=np.full_like(hit, np.nan), where=union > 0)


def mean_of_defined(values: NDArray) -> NDArray:
    """Mean over the last axis of the defined values; nan where there is none."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(-1)
    count = known.sum(-1)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def class_metrics(table: NDArray, slugs: Sequence[str] = SLUGS) -> dict[str, float]:
    """``iou/<slug>``, ``miou`` and ``miou_impurity`` (all but class 0) from a C x C confusion."""
    iou = class_iou(table)
    named = {f"iou/{slug}": float(value) for slug, value in zip(slugs, iou, strict=True)}
    return {
        "miou": float(mean_of_defined(iou)),
        "miou_impurity": float(mean_of_defined(iou[1:])),
        **named,
    }


def image_scores(score_maps: NDArray, share: float = TOP_SHARE) -> NDArray[np.float64]:
    """Score of each image: mean of the highest ``share`` of its pixels (at least one), length N."""
    flat = checked_scores(score_maps).reshape(len(score_maps), -1)
    top = max(1, round(share * flat.shape[1]))
    return np.partition(flat, -top, axis=1)[:, -top:].mean(axis=1, dtype=np.float64)
