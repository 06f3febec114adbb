"""The normal class's offset, chosen on val once training is over.

Impurities are a few per cent of the pixels, and where a method draws the line between steel and the
rest decides its class map. Training sets that line by its sampler, crops and loss, none of which
know how rare impurities are on whole images; so one number per model is chosen anew on val, where
the score's threshold is chosen too. It moves the class map alone: all rankings by anomaly score
stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from scrapseg import metrics

#: Offsets tried, added to the normal class's logit.
OFFSETS = tuple(np.arange(-4.0, 4.01, 0.25).tolist())


def best_normal_offset(
    class_scores: np.ndarray,
    labels: np.ndarray,
    kept: Sequence[bool],
    offsets: Sequence[float] = OFFSETS,
) -> float:
    """The offset with the highest impurity mIoU; of equals the one nearest to 0.

    Args:
        class_scores: float (C, N, H, W), log p_c / (1 - p_c), see `inference.Predictions`.
        labels: int (N, H, W), at the same pixels.
        kept: for each of the C - 1 impurity classes, whether its IoU counts.
        offsets: what is tried.
    """
    classes = len(class_scores)
    log_p = np.log(expit(class_scores.astype(np.float32)) + 1e-30)
    # An offset changes nothing among the impurities: the best of them is what normal has to beat.
    impurity = log_p[1:].argmax(0) + 1
    lead = log_p[0] - log_p[1:].max(0)
    # A pixel is normal from its first sufficient offset on: all offsets are counted at once.
    tried = np.sort(np.asarray(offsets))
    first = np.searchsorted(tried, -lead)
    cells = (first * classes + labels.astype(np.int64)) * classes + impurity
    shape = len(tried) + 1, classes, classes
    counts = np.bincount(cells.ravel(), minlength=np.prod(shape)).reshape(shape)
    normal = counts.sum(2).cumsum(0)
    found = {}
    for k, offset in enumerate(tried):
        table = counts[k + 1 :].sum(0)
        table[:, 0] += normal[k]
        ious = list(metrics.class_metrics(table, range(classes)).values())[3:]
        found[float(offset)] = float(np.nanmean(np.asarray(ious)[list(kept)]))
    return max(sorted(found, key=abs), key=found.get)


def shifted(score_maps: np.ndarray, offset: float) -> np.ndarray:
    """Scores 1 - p[normal] as they are once `offset` is added to the normal class's logit."""
    rest, normal = score_maps, (1 - score_maps) * np.float32(np.exp(offset))
    return rest / (rest + normal)
