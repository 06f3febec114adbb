"""Every number by which a method is judged; the modules say what each means.

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
)
