"""Every number by which a method is judged: pixels, classes, objects, images, and intervals.

Shapes and meanings, the same in all functions:

- ``score_maps``: float, N x H x W, any finite range, higher = more likely an impurity;
- ``masks``: bool, N x H x W, True where a pixel belongs to an impurity (``labels > 0``);
- ``predictions``, ``labels``: integer, N x H x W, class index 0 .. C-1, 0 = steel (normal);
- ``instances``: integer, N x H x W, 0 = no object, k = object k of that image.

A pixel counts as flagged when its score >= threshold. All results are fractions of 1. Undefined
values are nan, never 0 or 1: `average_precision`, F1-max, AUPRO and object recall without
impurities; AUROC and AUPRO without either kind of pixel (or image); the IoU of a class that is
neither in truth nor prediction, which is then left out of the mean.

>>> from scrapseg import metrics
>>> metrics.rank(scores, masks)                              # doctest: +SKIP
"""

from scrapseg.metrics.bootstrap import (
    SCORE_BINS,
    Difference,
    ImageStats,
    Mean,
    bootstrap_intervals,
    holm,
    image_stats,
    mean_interval,
    paired_difference,
)
from scrapseg.metrics.objects import (
    ALARM_AREA,
    LARGE_AREA,
    SIZES,
    Objects,
    evaluate,
    object_recall,
    object_score,
    objects,
)
from scrapseg.metrics.pixels import (
    FPR_LIMIT,
    TOP_SHARE,
    Ranking,
    aupro,
    auroc,
    average_precision,
    best_threshold,
    class_metrics,
    confusion,
    f1_max,
    image_scores,
    rank,
    rank_streamed,
)
