"""Every number by which a method is judged: pixels, classes, objects, images, and intervals.

Shapes and meanings, the same in all functions:

- ``score_maps``: float, N x H x W, any finite range, higher = more likely an impurity;
- ``masks``: bool, N x H x W, True where a pixel belongs to an impurity (``labels > 0``);
- ``predictions``, ``labels``: integer, N x H x W, class index 0 .. C-1, 0 = steel (normal);
- ``instances``: integer, N x H x W, 0 = no object, k = object k of that image.

A pixel counts as flagged when its score >= threshold. All results are fractions of 1. Ranking
metrics are exact, ties included: nothing is binned. They are written here, on numpy and scipy,
because the thresholded curves of torchmetrics and the AUPRO of anomalib index-sort all pixels once
per metric; the tests hold these against scikit-learn, torchmetrics and anomalib. Only the bootstrap
works on binned scores (see `ImageStats`).

Undefined values are nan, never 0 or 1: `average_precision`, F1-max, AUPRO and object recall
without impurities; AUROC and AUPRO without either kind of pixel (or image); the IoU of a class that
is neither in truth nor prediction, which is then left out of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scrapseg.classes import SLUGS

FPR_LIMIT = 0.3
"""Upper false-positive rate of AUPRO (Bergmann et al. 2021)."""
TOP_SHARE = 0.001
"""Share of an image's pixels whose mean score is the image's score."""
ALARM_AREA = 25
"""Smallest false alarm, in pixels: a flagged speck below it would not be picked."""
SIZES = {"small": (1, 299), "medium": (300, 1500), "large": (1501, np.inf)}
"""Object sizes in visible pixels, both ends included."""
LARGE_AREA = 1500
"""A false alarm that spreads counts once more for each such area, in pixels."""
SCORE_BINS = 512
"""Score bins of `ImageStats`, half of them quantiles of impurity pixels, half of normal ones."""

_EIGHT = np.zeros((3, 3, 3), bool)
_EIGHT[1] = True  # 8-connected within an image, never across images


def _checked(score_maps: NDArray, *others: NDArray | None) -> NDArray[np.float32]:
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
    scores = _checked(score_maps, masks)
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
    regions, count = ndimage.label(masks, _EIGHT)
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
    mean = _mean(_iou(table.reshape(-1, 2, 2)))
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


def _iou(table: NDArray) -> NDArray:
    """IoU of each class, ... x C, from confusion ... x C x C; nan for a class nowhere seen."""
    hit = np.diagonal(table, axis1=-2, axis2=-1).astype(float)
    union = table.sum(-1) + table.sum(-2) - hit
    return np.divide(hit, union, out=np.full_like(hit, np.nan), where=union > 0)


def _mean(values: NDArray) -> NDArray:
    """Mean over the last axis of the defined values; nan where there is none."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(-1)
    count = known.sum(-1)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def class_metrics(table: NDArray, slugs: Sequence[str] = SLUGS) -> dict[str, float]:
    """``iou/<slug>``, ``miou`` and ``miou_impurity`` (all but class 0) from a C x C confusion."""
    iou = _iou(table)
    named = {f"iou/{slug}": float(value) for slug, value in zip(slugs, iou, strict=True)}
    return {"miou": float(_mean(iou)), "miou_impurity": float(_mean(iou[1:])), **named}


# ---------------------------------------------------------------- objects and images


class Objects(NamedTuple):
    """All objects of a stack, in order: image, number in it, visible pixels, found or not."""

    image: NDArray
    number: NDArray
    pixels: NDArray
    found: NDArray


def objects(score_maps: NDArray, masks: NDArray, instances: NDArray) -> Objects:
    """Which objects are found at one false alarm per image.

    *Found*: at least half of an object's visible pixels are flagged.
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
    scores = _checked(score_maps, masks, instances)
    normal = ~np.asarray(masks, dtype=bool)
    rows = []
    for i, (image, numbered) in enumerate(zip(scores, instances, strict=True)):
        for box, k in _boxes(numbered):
            pixels = np.sort(image[box][numbered[box] == k])
            # Half of the pixels, rounded up, reach this score.
            rows.append((i, k, len(pixels), pixels[len(pixels) // 2]))
    image, number, areas, medians = np.array(rows).reshape(-1, 4).T
    medians = medians.astype(np.float32)

    def too_many(threshold: np.float32) -> bool:
        flagged = scores >= threshold
        regions, count = ndimage.label(flagged, _EIGHT)
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


def _boxes(objects: NDArray) -> list[tuple[tuple[slice, slice], int]]:
    """Bounding box and number of each object of one image."""
    found = ndimage.find_objects(objects)
    return [(box, k) for k, box in enumerate(found, start=1) if box is not None]


def image_scores(score_maps: NDArray, share: float = TOP_SHARE) -> NDArray[np.float64]:
    """Score of each image: mean of the highest ``share`` of its pixels (at least one), length N."""
    flat = _checked(score_maps).reshape(len(score_maps), -1)
    top = max(1, round(share * flat.shape[1]))
    return np.partition(flat, -top, axis=1)[:, -top:].mean(axis=1, dtype=np.float64)


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
    scores, labels = _checked(score_maps, labels, instances, predictions), np.asarray(labels)
    masks = labels > 0
    ranking = rank(scores, masks)
    binary = confusion(scores >= np.float32(threshold), masks, 2).sum(0)
    metrics = {
        "ap": average_precision(ranking),
        "auroc": auroc(ranking),
        "f1_max": f1_max(ranking)[0],
        "aupro_30": aupro(ranking, masks),
        "miou_binary": float(_mean(_iou(binary))),
    }
    del ranking
    if predictions is not None:
        table = confusion(predictions, labels, len(slugs)).sum(0)
        metrics |= class_metrics(table, slugs)
    metrics |= object_recall(scores, masks, instances)
    image = image_scores(scores)[:, None, None]
    metrics["image_auroc"] = auroc(rank(image, masks.any(axis=(1, 2))[:, None, None]))
    return metrics


# ---------------------------------------------------------------- intervals


@dataclass(frozen=True)
class ImageStats:
    """What the bootstrap needs of each image; small enough to keep beside a run record.

    Scores are binned at quantiles (`SCORE_BINS`), half of them of impurity pixels and half of
    normal ones; the AP of the bins is within 0.0005 of the exact one at the benchmark's
    size, and exact when each bin holds one score.

    Attributes:
        ids: N names, in order; what `paired_difference` pairs by.
        binary: int, N x 2 x 2 confusion of normal and impurity at the threshold.
        positives, negatives: int, N x K, pixels per score bin, highest scores first.
        mixed: bool, K, True for a bin that holds several different scores.
        classes: int, N x C x C confusion, or None for a method that names no classes.
    """

    ids: tuple[str, ...]
    binary: NDArray
    positives: NDArray
    negatives: NDArray
    mixed: NDArray
    classes: NDArray | None = None

    def grouped(self, groups: Sequence[object]) -> ImageStats:
        """Sums over images with the same group (such as a scene), to draw whole groups instead."""
        names, index = np.unique([str(g) for g in groups], return_inverse=True)
        if len(index) != len(self.ids):
            raise ValueError(f"{len(index)} groups for {len(self.ids)} images")
        member = (index == np.arange(len(names))[:, None]).astype(np.int64)
        return ImageStats(
            ids=tuple(names.tolist()),
            binary=np.tensordot(member, self.binary, 1),
            positives=member @ self.positives,
            negatives=member @ self.negatives,
            mixed=self.mixed,
            classes=None if self.classes is None else np.tensordot(member, self.classes, 1),
        )

    def save(self, path: Path) -> None:
        """Write a compressed npz (about 100 kB for 180 images)."""
        arrays = {name: value for name, value in vars(self).items() if value is not None}
        with Path(path).open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> ImageStats:
        """Read what `save` wrote."""
        with np.load(path) as file:
            return cls(**{**file, "ids": tuple(file["ids"].tolist())})


def image_stats(
    score_maps: NDArray,
    predictions: NDArray | None,
    labels: NDArray,
    *,
    threshold: float,
    ids: Sequence[str] | None = None,
    slugs: Sequence[str] = SLUGS,
) -> ImageStats:
    """Per-image counts; arguments and errors as for `evaluate`, ``ids`` default to 0 .. N-1."""
    scores, labels = _checked(score_maps, labels, predictions), np.asarray(labels)
    masks = labels > 0
    kinds = [np.sort(scores[masks]), np.sort(scores[~masks])]
    edges = np.unique(np.concatenate([_quantiles(values, SCORE_BINS // 2) for values in kinds]))
    upper = np.append(edges[1:], np.inf)  # bin k: edges[k] <= score < upper[k]
    inner = [np.searchsorted(v, upper) - np.searchsorted(v, edges, side="right") for v in kinds]
    histograms = np.zeros((2, len(scores), len(edges)), np.uint32)
    for i, (image, mask) in enumerate(zip(scores, masks, strict=True)):
        for part, values in enumerate((image[mask], image[~mask])):
            bins = np.searchsorted(edges, values, side="right") - 1
            histograms[part, i] = np.bincount(bins, minlength=len(edges))
    return ImageStats(
        ids=tuple(ids) if ids is not None else tuple(str(i) for i in range(len(scores))),
        binary=confusion(scores >= np.float32(threshold), masks, 2),
        positives=histograms[0][:, ::-1],
        negatives=histograms[1][:, ::-1],
        mixed=(sum(inner) > 0)[::-1],
        classes=None if predictions is None else confusion(predictions, labels, len(slugs)),
    )


def _quantiles(ordered: NDArray, count: int) -> NDArray:
    """``count`` evenly spaced values of an ascending array, its first and last among them."""
    if not len(ordered):
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, count).round().astype(int)]


def _resampled(stats: ImageStats, metric: str, weights: NDArray) -> NDArray[np.float64]:
    """``metric`` under each row of image ``weights`` (R x N): R values."""
    if metric == "ap":
        step = weights @ stats.positives.astype(float)
        false_step = weights @ stats.negatives.astype(float)
        # Precision at the end of a bin of equal scores, at the middle of one of several.
        back = stats.mixed / 2
        true = np.cumsum(step, axis=1) - back * np.maximum(step - 1, 0)
        false = np.cumsum(false_step, axis=1) - back * false_step
        total = (step * true / np.maximum(true + false, 1)).sum(1)
        positives = step.sum(1)
        return np.divide(total, positives, out=np.full_like(total, np.nan), where=positives > 0)
    table = stats.binary if metric == "miou_binary" else stats.classes
    if table is None:
        raise ValueError(f"{metric}: this method names no classes")
    iou = _iou(np.tensordot(weights, table.astype(float), 1))
    return _mean(iou[:, 1:] if metric == "miou_impurity" else iou)


def _draws(images: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each image is drawn, resamples x images, each row summing to ``images``."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), resamples).astype(float)


def _interval(values: NDArray) -> tuple[float, float]:
    """The middle 95 % of the defined values."""
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_intervals(
    stats: ImageStats, *, resamples: int = 1000, seed: int = 0
) -> dict[str, float]:
    """95 % percentile intervals over images: ``<name>_lo`` and ``<name>_hi``.

    For ap, miou_binary and, where classes are named, miou and miou_impurity. Images of one scene
    are alike; ``stats.grouped(scenes)`` draws scenes and gives the wider, honest interval.
    Resamples in which the metric is undefined are left out.
    """
    draws = _draws(len(stats.ids), resamples, seed)
    result = {}
    for metric in ("ap", "miou_binary", "miou", "miou_impurity"):
        if stats.classes is not None or metric in ("ap", "miou_binary"):
            low, high = _interval(_resampled(stats, metric, draws))
            result |= {f"{metric}_lo": low, f"{metric}_hi": high}
    return result


class Mean(NamedTuple):
    """A mean over runs, with the ends of its 95 % interval."""

    value: float
    lo: float
    hi: float


def mean_interval(
    runs: Sequence[ImageStats], metric: str, *, resamples: int = 1000, seed: int = 0
) -> Mean:
    """Mean over the runs of one method, such as its training seeds, on the same images.

    Images and runs are both drawn anew for the interval, so that with few shots it covers the luck
    of which scenes were labelled. Of three runs that luck is underestimated, of one it is left out.

    Args:
        runs: of the same images in the same order.
        metric: ap, miou_binary, miou or miou_impurity.

    Raises:
        ValueError: other images, another order, or no classes named.
    """
    if any(stats.ids != runs[0].ids for stats in runs):
        raise ValueError("the runs were not evaluated on the same images in the same order")
    n = len(runs[0].ids)
    draws = np.vstack([np.ones(n), _draws(n, resamples, seed)])
    values = np.stack([_resampled(stats, metric, draws) for stats in runs], axis=1)
    shares = np.vstack([np.ones(len(runs)), _draws(len(runs), resamples, seed + 1)]) / len(runs)
    means = (values * shares).sum(1)
    return Mean(float(means[0]), *_interval(means[1:]))


class Difference(NamedTuple):
    """A minus B, with the ends of its 95 % interval and p of no difference (two-sided)."""

    value: float
    lo: float
    hi: float
    p: float


def paired_difference(
    a: ImageStats | Sequence[ImageStats],
    b: ImageStats | Sequence[ImageStats],
    metric: str,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """Difference of two methods on the same images, which are drawn together.

    Several training seeds: the mean over the pairs of runs. The interval is that of the images;
    the seeds are not drawn, since three of them say little about all others.

    Args:
        a, b: of the same images, in the same order; or one each per training seed.
        metric: ap, miou_binary, miou or miou_impurity.

    Raises:
        ValueError: other images or another order, an unknown metric, or no classes named.
    """
    pairs = list(zip(*([s] if isinstance(s, ImageStats) else s for s in (a, b)), strict=True))
    if any(stats.ids != pairs[0][0].ids for pair in pairs for stats in pair):
        raise ValueError("the two methods were not evaluated on the same images in the same order")
    if metric not in ("ap", "miou_binary", "miou", "miou_impurity"):
        raise ValueError(f"no paired difference for metric {metric!r}")
    n = len(pairs[0][0].ids)
    draws = np.vstack([np.ones(n), _draws(n, resamples, seed)])
    values = np.mean(
        [_resampled(x, metric, draws) - _resampled(y, metric, draws) for x, y in pairs], axis=0
    )
    return Difference(float(values[0]), *_interval(values[1:]), _p_value(values[1:]))


def _p_value(differences: NDArray) -> float:
    """Two-sided bootstrap p: twice the share of resamples on the other side of 0, never 0."""
    known = differences[~np.isnan(differences)]
    if not len(known):
        return np.nan
    beyond = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1, 2 * (beyond + 1) / (len(known) + 1)))


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Holm's step-down correction of p values for having made several comparisons.

    The smallest is multiplied by their number, the next by one less, and so on; none may fall
    below the one before (Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure").
    nan stays nan and is no comparison.
    """
    p = np.asarray(p_values, float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    scaled = p[order] * np.arange(len(order), 0, -1)
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.minimum(1, np.maximum.accumulate(scaled))
    return corrected
