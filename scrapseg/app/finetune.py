"""From a handful of labelled images to a segmenter with a known miss rate.

With few labels there is none to spare for a fixed validation set. So the images are dealt into
folds, and each fold is predicted by a model trained on the others, at several numbers of steps. On
those predictions two things are chosen, the number of steps and the threshold, and what is missed
is measured; but never on the same ones. A fold is measured with what the *other* folds chose
(cross-fitting): each labelled image counts once, judged by a model that was not trained on it and
by steps and a threshold that were not chosen on its predictions. (It did help to train the models
on whose predictions they were chosen; to spare it that too would take three times the trainings.)
The model that is kept is trained on all labelled images, with what all folds together choose: it
has seen more, so it should miss no more.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from torch import nn

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
        segmenter: trained on all labelled images, with the number of steps and the threshold that
            all folds together choose.
        history: of the folds' training, with columns fold, step, loss, its parts, and val: the
            pixel AP on the fold left out.
        objects: one row per labelled object that counts: image, class, pixels, and whether it was
            found.
        summary: step and threshold of `segmenter`; and, measured on each fold by a model that was
            not trained on it, with steps and threshold that the other folds chose: ap, objects,
            found, miss_rate with its 95 % interval (Wilson) miss_low and miss_high, false_alarms
            per image; images and folds say on how many images in how many folds, and small how
            many objects are too small to count.
    """

    segmenter: Segmenter
    history: pd.DataFrame
    objects: pd.DataFrame
    summary: dict[str, float]


def deal(images: OwnImages, folds: int) -> list[list[str]]:
    """Ids in `folds` groups of like size and like classes, the rarest class dealt first.

    Raises:
        DataError: fewer than two folds.
        TooFewLabels: fewer than two images per fold, or fewer than `folds` with an impurity that is
            large enough to count.
    """
    if folds < 2:
        raise DataError(f"folds is {folds}: what is chosen on one is measured on another, so 2")
    held = {
        i: {o["class"] for o in filter(counts, images.meta[i]["instances"])} for i in images.ids
    }
    impure = sum(bool(h) for h in held.values())
    if len(held) < 2 * folds or impure < folds:
        raise TooFewLabels(
            f"{images.root}: {len(held)} labelled images, {impure} of them with an impurity of "
            f"{metrics.ALARM_AREA} pixels or more at the size they are looked at; training takes "
            f"at least {2 * folds}, {folds} of them with one"
        )
    times = Counter(c for h in held.values() for c in h)
    rarest = {i: min((times[c] for c in h), default=len(held)) for i, h in held.items()}
    groups: list[list[str]] = [[] for _ in range(folds)]
    for id in sorted(held, key=lambda i: (rarest[i], sorted(held[i]), i)):
        # To the group that has these classes least, and among those to the smallest.
        room = [g for g in groups if len(g) < -(-len(held) // folds)]
        min(room, key=lambda g: (sum(len(held[id] & held[o]) for o in g), len(g))).append(id)
    return [sorted(group) for group in groups]


def train_on(
    start: Segmenter, images: OwnImages, ids: Sequence[str], config: TrainConfig, score, label: str
) -> tuple[Segmenter, list[dict[str, float]]]:
    """`start` trained on some of the images; `start` itself stays as it is."""
    model = copy.deepcopy(start.model)
    torch.manual_seed(config.seed)
    pieces = cutouts(images, ids) if config.paste else ()
    transform = train_transform(config.crop, model.mean, model.std, pieces, config.paste)
    data, weights = SegDataset(images, ids, transform), balanced_weights(images, ids)

    def val(candidate: nn.Module) -> float:
        return score(replace(start, model=candidate))

    history = fit(model, data, weights, val, config, label=label)
    return replace(start, model=model.eval()), history


Scores = dict[str, np.ndarray]
"""Anomaly scores, float (H, W), by image id."""
ThresholdRule = Callable[[OwnImages, Scores], float]
"""What chooses a threshold on some images by their scores."""


def best_f1(images: OwnImages, scores: Scores) -> float:
    """The threshold of the highest F1 over the pixels."""
    return metrics.best_threshold(*pixels(images, scores))


def at_recall(images: OwnImages, scores: Scores, recall: float) -> float:
    """The highest threshold at which this share (0..1] of the labelled objects is found."""
    reached = sorted((at for _, _, at in object_scores(images, scores)), reverse=True)
    return float(reached[max(0, math.ceil(recall * len(reached) - 1e-9) - 1)])


@dataclass(frozen=True)
class Folds:
    """Predictions of each fold by a model trained on the others.

    Attributes:
        images: the labelled images.
        history: see `Tuned`.
        scores: for each fold, by number of steps, of the fold's images.
        threshold_of: chooses the threshold.
    """

    images: OwnImages
    history: pd.DataFrame
    scores: list[dict[int, Scores]]
    threshold_of: ThresholdRule = best_f1

    def choose(self, folds: Sequence[int]) -> tuple[int, float]:
        """Steps and threshold that some folds (by number, from 0) choose: the highest mean of their
        pixel APs, then `threshold_of` on that step."""
        val = self.history[self.history["fold"].isin([k + 1 for k in folds])].dropna(subset="val")
        step = int(val.groupby("step")["val"].mean().idxmax())
        chosen_on = {id: s for k in folds for id, s in self.scores[k][step].items()}
        return step, self.threshold_of(self.images, chosen_on)

    def measured(self) -> tuple[Scores, dict[str, float]]:
        """Scores and threshold of every image, by what the folds without it chose."""
        scores, thresholds = {}, {}
        for k, by_step in enumerate(self.scores):
            step, threshold = self.choose([j for j in range(len(self.scores)) if j != k])
            scores |= by_step[step]
            thresholds |= dict.fromkeys(by_step[step], threshold)
        return scores, thresholds


def pixels(images: OwnImages, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth of all pixels of some images, of any sizes, as one image (1, 1, pixels)."""
    masks = [(images.sample(id).label > 0).ravel() for id in scores]
    flat = np.concatenate([s.ravel() for s in scores.values()])
    return flat[None, None], np.concatenate(masks)[None, None]


def pixel_ap(images: OwnImages, scores: Scores) -> float:
    """Pixel AP over some images; 0 where none shows an impurity."""
    return float(np.nan_to_num(metrics.average_precision(metrics.rank(*pixels(images, scores)))))


def train_folds(start: Segmenter, images: OwnImages, config: TrainConfig, folds: int) -> Folds:
    """Train once for each fold, on the others, and predict it at every evaluation."""
    histories, predicted = [], []
    for k, group in enumerate(deal(images, folds), start=1):
        scores: list[Scores] = []

        def val(s: Segmenter, group: list[str] = group, scores: list[Scores] = scores) -> float:
            scores.append({id: s.predict(images.sample(id).image).score for id in group})
            return pixel_ap(images, scores[-1])

        rest, label = [id for id in images.ids if id not in group], f"fold {k} of {folds}"
        history = pd.DataFrame(train_on(start, images, rest, config, val, label)[1])
        histories.append(history.assign(fold=k))
        predicted.append(dict(zip(history.dropna(subset="val")["step"], scores, strict=True)))
    return Folds(images, pd.concat(histories, ignore_index=True), predicted)


def tune(
    start: Segmenter,
    folder: OwnFolder,
    config: TrainConfig,
    *,
    folds: int = 2,
    threshold_of: ThresholdRule = best_f1,
) -> Tuned:
    """Train on a folder's labelled images and say, by folds, what is missed.

    Args:
        start: model to start from, with the folder's classes.
        config: of each training; its steps are the most that are tried.
        threshold_of: chooses the threshold, of each fold on the others, of what is kept on all.

    Raises:
        TooFewLabels: see `deal`.
    """
    images = folder.images(list(folder.labelled), "labelled", limit_side=start.side)
    trained = replace(train_folds(start, images, config, folds), threshold_of=threshold_of)
    scores, thresholds = trained.measured()
    objects, false_alarms = judge(start, images, scores, thresholds)
    steps, threshold = trained.choose(range(folds))
    summary = {"step": steps, "threshold": threshold, "images": len(scores), "folds": folds}
    summary |= {"ap": pixel_ap(images, scores), "false_alarms": false_alarms / len(scores)}
    summary |= miss_rate(objects)
    summary["small"] = sum(not counts(o) for r in images.meta.values() for o in r["instances"])

    final = replace(config, steps=steps, evals=1)
    kept, _ = train_on(start, images, images.ids, final, lambda _: 0.0, "all labelled images")
    origin = f"fine-tuned on {len(images)} labelled images for {steps} steps, from: {start.origin}"
    kept = replace(kept, threshold=threshold, origin=origin)
    return Tuned(kept, trained.history, objects, summary)


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
