"""From a handful of labelled images to a segmenter with a known miss rate.

With few labels there is none to spare for a fixed validation set. So the images are dealt into
folds; each fold is predicted by a model trained on the others. Those predictions choose how long
to train and the threshold, and say what is missed; the model that is kept is then trained on all
labelled images. Its miss rate should be no worse, since it has seen more.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest

from scrapseg import metrics
from scrapseg.data.base import DataError, SegDataset
from scrapseg.data.folder import OwnFolder, OwnImages
from scrapseg.data.shots import balanced_weights
from scrapseg.models.segmenter import Segmenter
from scrapseg.train.augment import train_transform
from scrapseg.train.loop import TrainConfig, fit
from scrapseg.train.paste import cutouts


class TooFewLabels(DataError):
    """There is not enough labelled to train on."""


@dataclass(frozen=True)
class Tuned:
    """What `tune` gives.

    Attributes:
        segmenter: trained on all labelled images, with the chosen threshold.
        history: of the folds' training, with columns fold, step, loss, its parts, and val: the
            pixel AP on the fold left out.
        objects: one row per labelled object: image, class, pixels, and whether it was found.
        summary: step, threshold, ap, objects, found, miss_rate with its 95 % interval (Wilson)
            miss_low and miss_high, false_alarms per image, and images; all on images that the
            model in question had not seen.
    """

    segmenter: Segmenter
    history: pd.DataFrame
    objects: pd.DataFrame
    summary: dict[str, float]


def deal(images: OwnImages, folds: int) -> list[list[str]]:
    """Ids in `folds` groups of like size and like classes, the rarest class dealt first.

    Raises:
        TooFewLabels: fewer than two images per fold, or fewer than `folds` with an impurity.
    """
    held = {i: {o["class"] for o in images.meta[i]["instances"]} for i in images.ids}
    impure = sum(bool(h) for h in held.values())
    if len(held) < 2 * folds or impure < folds:
        raise TooFewLabels(
            f"{images.root}: {len(held)} labelled images, {impure} of them with an impurity; label "
            f"at least {2 * folds}, {folds} of them with one, or take the labels away"
        )
    counts = {c: sum(c in h for h in held.values()) for c in set().union(*held.values())}
    groups: list[list[str]] = [[] for _ in range(folds)]

    def rarest(id: str) -> tuple:
        return (min((counts[c] for c in held[id]), default=len(held)), sorted(held[id]), id)

    for id in sorted(held, key=rarest):
        # To the group that has these classes least, and among those to the smallest.
        def need(group: list[str], id: str = id) -> tuple:
            return (sum(len(held[id] & held[other]) for other in group), len(group))

        room = [g for g in groups if len(g) < -(-len(held) // folds)]
        min(room, key=need).append(id)
    return [sorted(group) for group in groups]


def train_on(
    start: Segmenter, images: OwnImages, ids: Sequence[str], config: TrainConfig, score, label: str
) -> tuple[Segmenter, list[dict[str, float]]]:
    """`start` trained on some of the images; `start` itself stays as it is."""
    model = copy.deepcopy(start.model)
    torch.manual_seed(config.seed)
    pieces = cutouts(images, ids) if config.paste else ()
    transform = train_transform(config.crop, model.mean, model.std, pieces, config.paste)
    history = fit(
        model,
        SegDataset(images, ids, transform),
        balanced_weights(images, ids),
        lambda candidate: score(replace(start, model=candidate)),
        config,
        label=label,
    )
    return replace(start, model=model.eval()), history


def pixel_ap(segmenter: Segmenter, images: OwnImages, ids: Sequence[str]) -> float:
    """Pixel AP of the anomaly score on some images; 0 where none shows an impurity."""
    scores = [segmenter.predict(images.sample(i).image).score.ravel() for i in ids]
    masks = [(images.sample(i).label > 0).ravel() for i in ids]
    flat, truth = np.concatenate(scores)[None, None], np.concatenate(masks)[None, None]
    return float(np.nan_to_num(metrics.average_precision(metrics.rank(flat, truth))))


def tune(start: Segmenter, folder: OwnFolder, config: TrainConfig, *, folds: int = 2) -> Tuned:
    """Train on a folder's labelled images and say, by folds, what is missed.

    Args:
        start: model to start from, with the folder's classes.
        config: of each training; its steps are the most that are tried.

    Raises:
        TooFewLabels: see `deal`.
    """
    images = folder.images(list(folder.labelled), "labelled", limit_side=start.side)
    groups = deal(images, folds)
    histories, held_out = [], []
    for k, group in enumerate(groups, start=1):
        rest = [i for i in images.ids if i not in group]
        trained, history = train_on(
            start,
            images,
            rest,
            config,
            lambda s, group=group: pixel_ap(s, images, group),
            f"fold {k} of {folds}",
        )
        histories.append(pd.DataFrame(history).assign(fold=k))
        held_out += [(i, trained.predict(images.sample(i).image)) for i in group]
    history = pd.concat(histories, ignore_index=True)
    looks = history.dropna(subset="val").groupby("step")["val"].mean()
    steps = int(looks.idxmax())

    scores = np.concatenate([p.score.ravel() for _, p in held_out])[None, None]
    truth = np.concatenate([(images.sample(i).label > 0).ravel() for i, _ in held_out])[None, None]
    threshold = metrics.best_threshold(scores, truth)
    summary = {"step": steps, "threshold": threshold, "images": len(images)}
    summary["ap"] = metrics.average_precision(metrics.rank(scores, truth))
    objects, false_alarms = found_objects(start, images, held_out, threshold)
    summary |= miss_rate(objects) | {"false_alarms": false_alarms / len(images)}

    final = replace(config, steps=steps, evals=1)
    trained, _ = train_on(start, images, images.ids, final, lambda _: 0.0, "all labelled images")
    origin = f"fine-tuned on {len(images)} labelled images for {steps} steps, from: {start.origin}"
    return Tuned(replace(trained, threshold=threshold, origin=origin), history, objects, summary)


def found_objects(
    segmenter: Segmenter, images: OwnImages, predictions: Sequence, threshold: float
) -> tuple[pd.DataFrame, int]:
    """Labelled objects, found where a tenth of their pixels or more reach the threshold, and the
    number of found objects that touch no labelled one.

    Objects of fewer than `metrics.ALARM_AREA` pixels at working size do not count.
    """
    rows, false_alarms = [], 0
    for id, p in predictions:
        sample, hit = images.sample(id), p.score >= threshold
        for o in sample.meta["instances"]:
            if o["pixels"] < metrics.ALARM_AREA:
                continue
            inside = sample.instances == o["id"]
            rows.append(
                {
                    "image": id,
                    "class": o["class"],
                    "pixels": o["pixels"],
                    "found": bool(hit[inside].mean() >= 0.1),
                }
            )
        _, instances, alarms = segmenter.objects(hit.astype(np.uint8), p.score)
        touched = set(np.unique(instances[sample.label > 0]).tolist())
        false_alarms += sum(o.number not in touched for o in alarms)
    columns = ["image", "class", "pixels", "found"]
    return pd.DataFrame(rows, columns=columns), false_alarms


def miss_rate(objects: pd.DataFrame) -> dict[str, float]:
    """Share of objects not found, with its 95 % interval (Wilson 1927)."""
    total, found = len(objects), int(objects["found"].sum())
    if not total:
        raise TooFewLabels(f"all labelled objects are smaller than {metrics.ALARM_AREA} pixels")
    interval = binomtest(total - found, total).proportion_ci(0.95, "wilson")
    return {
        "objects": total,
        "found": found,
        "miss_rate": (total - found) / total,
        "miss_low": float(interval.low),
        "miss_high": float(interval.high),
    }
