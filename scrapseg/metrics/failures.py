"""What lies behind a comparison: which objects are found, and what no method can well beat.

Shapes and names are those of `scrapseg.metrics`; notebook 05b shows them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from scrapseg import metrics
from scrapseg.data.classes import CLASSES
from scrapseg.data.scrapsim import ScrapSim, instances_table


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


def boundary_ceiling(labels: NDArray) -> pd.DataFrame:
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
        table = metrics.confusion(moved, labels, len(CLASSES)).sum(0)
        rows.append({"outline": name} | metrics.class_metrics(table))
    return pd.DataFrame(rows)
