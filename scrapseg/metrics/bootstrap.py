"""How sure a metric is: intervals over scenes and seeds, paired differences, Holm's correction.

The bootstrap draws whole images (or scenes) anew some thousand times. Sorting all pixels each time
would take hours, so it works on counts per image in score bins (`ImageStats`), which are small
enough to keep beside a run's record. Shapes and undefined values: see `scrapseg.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import compress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scrapseg.data.classes import SLUGS
from scrapseg.metrics.pixels import checked_scores, class_iou, confusion, mean_of_defined

SCORE_BINS = 512
"""Score bins of `ImageStats`, half of them quantiles of impurity pixels, half of normal ones."""
RESAMPLES = 10_000
AP_RESAMPLES = 1000
"""Of AP fewer are drawn: what is kept of a run holds so many, see `ImageStats.arrays`."""
UNDEFINED = -32768
"""Stands for nan among the steps that `ImageStats.arrays` keeps."""


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
        ap: in place of the histograms where these were not kept, what `drawn` gives for "ap".
    """

    ids: tuple[str, ...]
    binary: NDArray
    positives: NDArray | None = None
    negatives: NDArray | None = None
    mixed: NDArray | None = None
    classes: NDArray | None = None
    ap: NDArray | None = None

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

    def only(self, keep: NDArray) -> ImageStats:
        """Those of some images.

        Args:
            keep: bool, N.

        Raises:
            ValueError: of statistics without histograms, whose resamples are those of all images.
        """
        if self.ap is not None:
            raise ValueError("statistics that were kept without histograms cannot be parted")
        return replace(
            self,
            ids=tuple(compress(self.ids, keep)),
            binary=self.binary[keep],
            positives=self.positives[keep],
            negatives=self.negatives[keep],
            classes=None if self.classes is None else self.classes[keep],
        )

    def drawn(
        self, metric: str, resamples: int | None = None, seed: int = 0
    ) -> NDArray[np.float64]:
        """``metric`` over all images, then over each of the resamples: 1 + R values.

        Args:
            metric: ap, miou_binary, miou, miou_impurity, or the mean IoU of some of ScrapSim's
                classes, as in ``miou/motor+wood``.
            resamples: by default `AP_RESAMPLES` of ap, `RESAMPLES` of what confusions give.

        Raises:
            ValueError: an unknown metric, no classes named, or other resamples than those kept.
        """
        resamples = resamples or (AP_RESAMPLES if metric == "ap" else RESAMPLES)
        if self.ap is not None and metric == "ap":
            if (resamples, seed) != (AP_RESAMPLES, 0):
                raise ValueError(f"AP is kept for {AP_RESAMPLES} resamples of seed 0 only")
            return self.ap
        n = len(self.ids)
        return resampled(self, metric, np.vstack([np.ones(n), _draws(n, resamples, seed)]))

    def arrays(self) -> dict[str, NDArray]:
        """What is kept of a run: confusions exactly, and AP over the standard resamples.

        The histograms behind the APs are twenty times as large. The resamples are always the same,
        so that their APs are all that an interval or a paired difference needs. Their distances
        from the AP of all images are kept as 16-bit fixed-point numbers: the last digit is a
        millionth or so. Counts take the smallest unsigned integers that hold them.
        """
        ap = self.drawn("ap")
        away = ap[1:] - ap[0]
        scale = np.nanmax(np.abs(away), initial=0) / 32767 or 1.0
        steps = np.where(np.isnan(away), UNDEFINED, np.rint(away / scale)).astype(np.int16)
        counts = {"binary": self.binary, "classes": self.classes}
        counts = {k: v for k, v in counts.items() if v is not None}
        return {
            "ids": np.array(self.ids),
            **{k: v.astype(np.min_scalar_type(v.max())) for k, v in counts.items()},
            "ap": np.array([ap[0], scale]),
            "ap_steps": steps,
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray]) -> ImageStats:
        """What `arrays` kept."""
        value, scale = arrays["ap"]
        steps = arrays["ap_steps"].astype(float)
        steps[steps == UNDEFINED] = np.nan
        return cls(
            ids=tuple(arrays["ids"].tolist()),
            binary=arrays["binary"].astype(np.int64),
            classes=arrays["classes"].astype(np.int64) if "classes" in arrays else None,
            ap=np.append(value, value + scale * steps),
        )


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
    scores, labels = checked_scores(score_maps, labels, predictions), np.asarray(labels)
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


def resampled(stats: ImageStats, metric: str, weights: NDArray) -> NDArray[np.float64]:
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
    iou = class_iou(np.tensordot(weights, table.astype(float), 1))
    if metric.startswith("miou/"):
        iou = iou[:, [SLUGS.index(slug) for slug in metric[5:].split("+")]]
    return mean_of_defined(iou[:, 1:] if metric == "miou_impurity" else iou)


@lru_cache(maxsize=8)
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
    stats: ImageStats, *, resamples: int | None = None, seed: int = 0
) -> dict[str, float]:
    """95 % percentile intervals over images: ``<name>_lo`` and ``<name>_hi``.

    For ap, miou_binary and, where classes are named, miou and miou_impurity. Images of one scene
    are alike; ``stats.grouped(scenes)`` draws scenes and gives the wider, honest interval.
    Resamples in which the metric is undefined are left out.
    """
    result = {}
    for metric in ("ap", "miou_binary", "miou", "miou_impurity"):
        if stats.classes is not None or metric in ("ap", "miou_binary"):
            low, high = _interval(stats.drawn(metric, resamples, seed)[1:])
            result |= {f"{metric}_lo": low, f"{metric}_hi": high}
    return result


class Mean(NamedTuple):
    """A mean over runs, with the ends of its 95 % interval."""

    value: float
    lo: float
    hi: float


def mean_interval(
    runs: Sequence[ImageStats], metric: str, *, resamples: int | None = None, seed: int = 0
) -> Mean:
    """Mean over the runs of one method, such as its training seeds, on the same images.

    Images and runs are both drawn anew for the interval, so that with few shots it covers the luck
    of which scenes were labelled. Of one run that luck is left out, and of a few it is told smaller
    than it is: the ends are percentiles, not Student's (where runs alone vary, 95 % are some 81 %
    of three runs, 88 % of five).

    Args:
        runs: of the same images in the same order.
        metric: see `ImageStats.drawn`.

    Raises:
        ValueError: other images, another order, or no classes named.
    """
    if any(stats.ids != runs[0].ids for stats in runs):
        raise ValueError("the runs were not evaluated on the same images in the same order")
    means = _over_runs([stats.drawn(metric, resamples, seed) for stats in runs], seed)
    return Mean(float(means[0]), *_interval(means[1:]))


def _over_runs(drawn: Sequence[NDArray], seed: int) -> NDArray[np.float64]:
    """Means of runs' values (1 + R each); in the resamples the runs are drawn anew as well.

    Drawing n of n runs gives their mean (n - 1) / n of the variance it has, two thirds with three.
    So how far a drawing of runs leads away from their mean is scaled (T. Hesterberg, "Unbiasing the
    Bootstrap", 2004).
    """
    values = np.stack(drawn, axis=1)
    resamples, runs = len(values) - 1, len(drawn)
    shares = np.vstack([np.ones(runs), _draws(runs, resamples, seed + 1)]) / runs
    mean, wider = values.mean(1), np.sqrt(runs / max(1, runs - 1))
    return mean + wider * ((values * shares).sum(1) - mean)


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
    resamples: int | None = None,
    seed: int = 0,
) -> Difference:
    """Difference of two methods on the same images, which are drawn together.

    Several training seeds: the mean over the pairs of runs; for the interval pairs are drawn anew
    as images are, see `mean_interval`.

    Args:
        a, b: of the same images, in the same order; or one each per training seed.
        metric: see `ImageStats.drawn`.

    Raises:
        ValueError: other images or another order, an unknown metric, or no classes named.
    """
    pairs = list(zip(*([s] if isinstance(s, ImageStats) else s for s in (a, b)), strict=True))
    if any(stats.ids != pairs[0][0].ids for pair in pairs for stats in pair):
        raise ValueError("the two methods were not evaluated on the same images in the same order")
    known = ("ap", "miou_binary", "miou", "miou_impurity")
    if metric not in known and not metric.startswith("miou/"):
        raise ValueError(f"no paired difference for metric {metric!r}")
    drawn = [x.drawn(metric, resamples, seed) - y.drawn(metric, resamples, seed) for x, y in pairs]
    values = _over_runs(drawn, seed)
    return Difference(float(values[0]), *_interval(values[1:]), p_value(values[1:]))


def p_value(differences: NDArray) -> float:
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
