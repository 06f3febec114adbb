"""How good a saved model is on a folder of labelled images, which it looks at one after another.

Of an image only counts are kept, so that memory does not grow with the folder. Nothing is learned
and nothing chosen: the threshold is the model's own, or the one that it was given. Images are
looked at and measured at the model's working size.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from scrapseg import metrics
from scrapseg.app.judge import judge, miss_rate
from scrapseg.data.base import DataError
from scrapseg.data.classes import IGNORED
from scrapseg.data.folder import OwnFolder
from scrapseg.models.segmenter import Segmenter, SegmenterError

#: Images are drawn anew so often for an interval.
RESAMPLES = 1000
#: Fewer images have no interval: their resamples are too much alike.
FEWEST = 5


def evaluate(folder: OwnFolder, segmenter: Segmenter) -> dict[str, float]:
    """Measure a model on the labelled images of a folder; pixels marked "ignore" have no say.

    Returns:
        images and megapixels that were measured, threshold; ap, auroc and f1_max (see
        `metrics.rank_streamed`), image_auroc; miou_binary, miou, miou_impurity, ``iou/<slug>``, the
        first three from `FEWEST` images on with _lo and _hi, 95 % over images (where several show
        one heap, it is wider in truth); objects, found, miss_rate (see `miss_rate`),
        false_per_image. What is undefined is nan.

    Raises:
        DataError: nothing is labelled, or a file cannot be read. SegmenterError: the model has
            other classes.
    """
    known, wanted = ([c.slug for c in of.classes] for of in (segmenter, folder))
    if known != wanted:
        raise SegmenterError(
            f"{folder.root}: its class list names {', '.join(wanted)}, but the model knows "
            f"{', '.join(known)}; they must be the same, in the same order"
        )
    if not folder.labelled:
        raise DataError(f"{folder.root}: no image of it is labelled, so nothing can be measured")
    objects, alarms, tables, tops, pixels = [], 0, [], [], 0

    def looked_at() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal alarms, pixels
        for id in tqdm(folder.labelled, desc="images", unit="image", delay=5):
            alone = folder.images([id], limit_side=segmenter.side)
            sample = alone.sample(id)
            told = (sample.label != IGNORED)[None]
            if not told.any():
                continue
            seen = segmenter.predict(sample.image)
            rows, false = judge(segmenter, alone, {id: seen.score}, {id: segmenter.threshold})
            objects.append(rows)
            alarms, pixels = alarms + false, pixels + told.sum()
            maps = (seen.score, sample.label, seen.label)
            score, truth, label = (of[None][told][None] for of in maps)
            binary = metrics.confusion(score >= segmenter.threshold, truth > 0, 2)[0]
            tables.append((binary, metrics.confusion(label, truth, len(known))[0]))
            tops.append((metrics.image_scores(score[None])[0], (truth > 0).any()))
            yield score, truth > 0

    ranking = metrics.rank_streamed(looked_at())
    if not tables:
        raise DataError(f"{folder.root}: every labelled pixel is marked to be ignored")
    values = {"images": len(tables), "megapixels": pixels / 1e6}
    values |= {"threshold": segmenter.threshold, "ap": metrics.average_precision(ranking)}
    values |= {"auroc": metrics.auroc(ranking), "f1_max": metrics.f1_max(ranking)[0]}
    top, impure = (np.array(a)[:, None, None] for a in zip(*tops, strict=True))
    values["image_auroc"] = metrics.auroc(metrics.rank(top, impure))
    values |= named(*map(np.stack, zip(*tables, strict=True)), known)
    values["false_per_image"] = alarms / len(tables)
    found = pd.concat(objects)
    return values | (miss_rate(found) if len(found) else {"objects": 0, "miss_rate": np.nan})


def named(binary: np.ndarray, classes: np.ndarray, slugs: list[str]) -> dict[str, float]:
    """IoU from confusions of each image, N x 2 x 2 and N x C x C, with intervals over images."""
    values = {"miou_binary": metrics.class_metrics(binary.sum(0), ("normal", "impurity"))["miou"]}
    values |= metrics.class_metrics(classes.sum(0), slugs)
    stats = metrics.ImageStats(tuple(map(str, range(len(binary)))), binary, classes=classes)
    for name in ("miou_binary", "miou", "miou_impurity") if len(binary) >= FEWEST else ():
        drawn = stats.drawn(name, RESAMPLES)[1:]
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        values |= {f"{name}_lo": float(low), f"{name}_hi": float(high)}
    return values
