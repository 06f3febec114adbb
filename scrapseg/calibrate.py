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
    log_p = np.log(expit(class_scores.astype(np.float32)) + 1e-30)
    # An offset changes nothing among the impurities: the best of them is what normal has to beat.
    impurity = (log_p[1:].argmax(0) + 1).astype(np.uint8)
    lead = log_p[0] - log_p[1:].max(0)
    found = {}
    for offset in sorted(offsets, key=abs):
        named = np.where(lead + offset >= 0, np.uint8(0), impurity)
        table = metrics.confusion(named, labels, len(log_p)).sum(0)
        ious = list(metrics.class_metrics(table, range(len(log_p))).values())[3:]
        found[offset] = float(np.nanmean(np.asarray(ious)[list(kept)]))
    return max(found, key=found.get)
