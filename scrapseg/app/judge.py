"""Which labelled objects of one's own images are found, and what is found that is none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from scrapseg import metrics
from scrapseg.data.folder import OwnImages
from scrapseg.models.segmenter import Segmenter

Scores = dict[str, np.ndarray]
"""Anomaly score of each image by its id, float (H, W)."""


def counts(instance: dict) -> bool:
    """Whether a labelled object is large enough to be measured, `metrics.ALARM_AREA` pixels."""
    return instance["pixels"] >= metrics.ALARM_AREA


def object_scores(images: OwnImages, scores: Scores) -> Iterator[tuple[str, dict, np.floating]]:
    """Image id, instance, and the highest threshold at which it is found, of each that counts."""
    for id, score in scores.items():
        sample = images.sample(id)
        for o in filter(counts, sample.meta["instances"]):
            yield id, o, metrics.object_score(score[sample.instances == o["id"]])


def judge(
    segmenter: Segmenter, images: OwnImages, scores: Scores, thresholds: dict[str, float]
) -> tuple[pd.DataFrame, int]:
    """Labelled objects and whether they are found (as in `metrics.object_score`), and the number
    of objects that `segmenter` would report and that touch no labelled one.

    Objects of fewer than `metrics.ALARM_AREA` pixels at working size do not count.
    """
    rows, false_alarms = [], 0
    for id, o, at in object_scores(images, scores):
        rows.append((id, o["class"], o["pixels"], bool(at >= thresholds[id])))
    for id, score in scores.items():
        sample, threshold = images.sample(id), thresholds[id]
        hit = (score >= threshold).astype(np.uint8)
        _, instances, alarms = segmenter.objects(hit, score)
        touched = set(np.unique(instances[sample.label > 0]).tolist())
        false_alarms += sum(o.number not in touched for o in alarms)
    return pd.DataFrame(rows, columns=["image", "class", "pixels", "found"]), false_alarms


def miss_rate(objects: pd.DataFrame) -> dict[str, float]:
    """Share of objects not found, with its 95 % interval (Wilson 1927)."""
    total, found = len(objects), int(objects["found"].sum())
    low, high = binomtest(total - found, total).proportion_ci(0.95, "wilson")
    rate = {"miss_rate": (total - found) / total, "miss_low": float(low), "miss_high": float(high)}
    return {"objects": total, "found": found} | rate
