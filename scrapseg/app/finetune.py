"""From a handful of labelled images to a segmenter with a known miss rate, in so many minutes.

With few labels there is none to spare for a fixed validation set. So the images are dealt into
folds, and each fold is predicted by a model trained on the others. On those predictions three
things are chosen, by the IoU of the classes: the model to start from, after a short race of all
that are offered; when to stop, which may be before the first step, where learning makes a start no
better; and the threshold. And what is missed is measured; but never on the same ones. A fold is
measured with what the *other* folds chose (cross-fitting): each labelled image counts once, judged
by a model that was not trained on it and by a start, a stop and a threshold that were not chosen on
its predictions. (It did help to train the models on whose predictions they were chosen, and to
choose their starts; to spare it that too would take three times the trainings.)

The model that is kept is trained on all labelled images, from the start that all folds together
choose. Stop and threshold are chosen by the folds that went on from that start, since another's
scores may lie elsewhere. Where none did, which needs three starts, all choose, on predictions of
other starts than the kept one: its own would take another training. Likewise a fold is measured
with what the others of its own start chose; where there are none, as with two folds that went on
from different starts, with what the other chose. Promises rest on the predictions of all folds. The
last training goes on from the mean of the folds' weights, so that what was spent on them is not
lost: trainings from one start stay near enough to one another to be averaged (Wortsman et al.,
arXiv:2203.05482). Photographs without labels that show mostly the normal class, where there are
any, raise the threshold of each fold, as far as the labels of the others allow. The last training
has seen more than theirs, so it should miss no more; where it does, even of what it was trained on,
its threshold is lowered, and `doubt` says so.
"""

from __future__ import annotations

import copy
import functools
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from scrapseg import metrics
from scrapseg.app.judge import Scores, counts, judge, miss_rate, object_scores
from scrapseg.data.base import DataError, Renumbered, SegDataset
from scrapseg.data.folder import OwnFolder, OwnImages
from scrapseg.data.shots import balanced_weights
from scrapseg.metrics import risk
from scrapseg.models.segmenter import Segmenter
from scrapseg.train.adapt import (
    THRESHOLD_PHOTOS,
    AdaptConfig,
    held_back,
    photo_labels,
    quiet_threshold,
    with_photos,
)
from scrapseg.train.augment import train_transform
from scrapseg.train.budget import seconds_a_step
from scrapseg.train.loop import TrainConfig, fit
from scrapseg.train.paste import cutouts

#: Thresholds that are tried: evenly spaced in the log-odds of the score around 0.5, none far off: a
#: fold's model has seen half as much as the one that is kept, and is less sure.
THRESHOLDS = expit(np.arange(-1, 1.01, 0.25))
#: Mean IoU that a few images cannot tell apart: so much must an earlier stop gain over the last,
#: and another threshold over 0.5, where training put it.
NOISE = 0.02
#: Rates of the head and of the encoder's deepest layer: so few steps need larger ones than many.
RATES = {"lr": 5e-3, "encoder_lr": 2.5e-3}
#: Share of the time for the race of the starts, and of what is then left for the folds. A race of
#: fewer steps tells what the first ones spoil, not what is learned: the first start is kept then. A
#: fold takes so many in any case, or it would say nothing of learning.
RACE, FOLDS, SHORTEST_RACE, SHORTEST_FOLD = 0.1, 0.2, 5, 10
#: Photographs of steel that are worth reading; each is looked at before it is learned from, and
#: that may take so much of the time.
MOST_STEEL, LABELLING = 80, 0.1
#: The threshold rises for photographs of steel no further than this share of the labelled objects
#: is found by the folds: more than without labels, since who draws objects wants them found.
STILL_FOUND = 0.5
#: A fold of so many images is looked at whole, however long that takes.
SMALLEST_FOLD = 4


class TooFewLabels(DataError):
    """There is not enough labelled to train on."""


@dataclass(frozen=True)
class Tuned:
    """What `tune` gives.

    Attributes:
        segmenter: trained on all labelled images, with the start, the stop and the threshold that
            the folds of its start choose, and with what `promised` makes of all, unless `doubt`
            says that it is less sure than theirs; or, with a stop before the first step, the start.
        history: of the folds' training, with columns fold, start (its name), step, loss, its parts,
            and val: the mean IoU of the classes on the fold left out, at its best threshold. Step 0
            is the start's, without losses.
        objects: one row per labelled object that counts: image, class, pixels, and whether it was
            found.
        summary: step (of the last training; 0 where the start stays as it is) and threshold of
            `segmenter`, which folds_threshold was before it was lowered; and, measured on each fold
            by a model that was not trained on it, with a start, a stop and a threshold that the
            other folds chose: objects, found, miss_rate with its 95 % interval (Wilson) miss_low
            and miss_high, false_alarms per image; images and folds say on how many images in how
            many folds, and small how many objects are too small to count. Of the images it was
            trained on `segmenter` finds own_found of own_objects.
    """

    segmenter: Segmenter
    history: pd.DataFrame
    objects: pd.DataFrame
    summary: dict[str, float]


Normal = tuple[Sequence[np.ndarray], Sequence[Tensor]]
"""Photographs of mostly the normal class, and their labels, see `adapt.photo_labels`."""


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
            f"{metrics.ALARM_AREA} pixels or more at the size they are looked at; "
            f"label at least {2 * folds}, {folds} of them with one"
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
    start: Segmenter,
    images: OwnImages,
    ids: Sequence[str],
    config: TrainConfig,
    score,
    label: str,
    normal: Normal = ((), ()),
) -> tuple[Segmenter, list[dict[str, float]]]:
    """`start` trained on some of the images; `start` itself stays as it is.

    A class that no labelled image shows takes no part: trained as one that is never there, its
    words may be lost (notebook 02). It is back wherever the model is looked at. One without
    English words, whose vector means nothing, is learned to be absent.
    """
    model = copy.deepcopy(start.model)
    words = getattr(model, "text", None)  # a rival of a study has none
    absent = {c.slug for c in images.classes[1:] if any(map(str.isascii, c.words))}
    absent -= {o["class"] for id in images.ids for o in images.meta[id]["instances"]}
    learned = [c.index for c in images.classes if words is None or c.slug not in absent]

    def use(model: nn.Module, some: Sequence[int] | slice) -> None:
        if words is not None:
            model.set_classes(words[some])

    use(model, learned)
    torch.manual_seed(config.seed)
    pieces = cutouts(images, ids) if config.paste else ()
    transform = train_transform(config.crop, model.mean, model.std, pieces, config.paste)
    data, weights = SegDataset(images, ids, transform), balanced_weights(images, ids)
    if normal[0]:
        laid = AdaptConfig(**asdict(config))
        data, weights = with_photos(data, weights, *normal, pieces, model, laid)

    def val(candidate: nn.Module) -> float:
        use(candidate, slice(None))
        value = score(replace(start, model=candidate))
        use(candidate, learned)
        return value

    data = Renumbered(data, {k: n for n, k in enumerate(learned)})
    history = fit(model, data, weights, val, config, label=label)
    use(model, slice(None))
    return replace(start, model=model.eval(), promises={}), history


Maps = dict[str, tuple[np.ndarray, np.ndarray]]
"""Anomaly score, float (H, W), and most likely impurity, uint8 (H, W), by image id."""
ThresholdRule = Callable[[OwnImages, Scores], float]
"""What chooses a threshold on some images by their scores."""


def at_recall(images: OwnImages, scores: Scores, recall: float) -> float:
    """The highest threshold at which this share (0..1] of the labelled objects is found."""
    reached = sorted((at for _, _, at in object_scores(images, scores)), reverse=True)
    return float(reached[max(0, math.ceil(recall * len(reached) - 1e-9) - 1)])


def scores_of(maps: Maps) -> Scores:
    """The scores alone."""
    return {id: score for id, (score, _) in maps.items()}


def predict_maps(segmenter: Segmenter, images: OwnImages, ids: Sequence[str]) -> Maps:
    """What a model says about some images."""
    said = {id: segmenter.predict(images.sample(id).image) for id in ids}
    return {id: (p.score, p.impurity) for id, p in said.items()}


def class_iou(images: OwnImages, maps: Maps) -> np.ndarray:
    """Mean IoU of all classes over some images at each of `THRESHOLDS`."""
    classes = len(images.classes)
    passed_by = np.zeros((len(THRESHOLDS) + 1, classes, classes), np.int64)
    for id, (score, impurity) in maps.items():
        label = images.sample(id).label
        known = label < classes  # not those to be ignored
        passed = np.searchsorted(THRESHOLDS, score[known], side="right")
        cells = (passed * classes + label[known]) * classes + impurity[known]
        passed_by += np.bincount(cells, minlength=passed_by.size).reshape(passed_by.shape)
    tables = passed_by[::-1].cumsum(0)[-2::-1]  # impurities at each threshold: it or more passed
    tables[..., 0] += passed_by.sum(2).cumsum(0)[:-1]
    return np.array([metrics.class_metrics(t, range(classes))["miou"] for t in tables])


@dataclass(frozen=True)
class Folds:
    """Predictions of each fold by a model trained on the others.

    Attributes:
        images: the labelled images.
        maps: for each fold, by number of steps, of the fold's images.
        starts: name of the start of each fold's model.
        threshold_of: chooses the threshold; without it the classes' IoU does.
    """

    images: OwnImages
    maps: list[dict[int, Maps]]
    starts: list[str]
    threshold_of: ThresholdRule | None = None

    def choose(self, folds: Sequence[int], start: str) -> tuple[int, float]:
        """Steps and threshold that some folds (by number, from 0) choose for a start: those that
        went on from it if there are any, since the scores of another may lie elsewhere."""
        folds = [k for k in folds if self.starts[k] == start] or folds
        steps = {
            n: {id: m for k in folds for id, m in self.maps[k][n].items()}
            for n in self.maps[folds[0]]
        }
        curves = {n: class_iou(self.images, maps) for n, maps in steps.items()}
        best = max(curve.max() for curve in curves.values()) - NOISE
        step = max(n for n, curve in curves.items() if curve.max() >= best)
        if self.threshold_of:
            return step, self.threshold_of(self.images, scores_of(steps[step]))
        good = THRESHOLDS[curves[step] >= best]
        return step, float(good[np.abs(good - 0.5).argmin()])

    def measured(self) -> tuple[Maps, dict[str, float]]:
        """Maps and threshold of every image, by what the folds without it chose."""
        maps, thresholds = {}, {}
        for k, (by_step, start) in enumerate(zip(self.maps, self.starts, strict=True)):
            step, threshold = self.choose([j for j in range(len(self.maps)) if j != k], start)
            maps |= by_step[step]
            thresholds |= dict.fromkeys(by_step[step], threshold)
        return maps, thresholds


def mean_weights(models: Sequence[Segmenter]) -> Segmenter:
    """The mean of trainings from one start, weight by weight."""
    mean = AveragedModel(models[0].model, use_buffers=True)
    for trained in models:
        mean.update_parameters(trained.model)
    return replace(models[0], model=mean.module)


class Clock:
    """The minutes that there are, and what may be done in them.

    Args:
        minutes: from now on. now: the time in seconds.
    """

    def __init__(self, minutes: float, now: Callable[[], float]) -> None:
        self.now, self.end = now, now() + 60 * minutes
        self.step_s = self.image_s = 0.0

    def time_step(
        self, start: Segmenter, images: OwnImages, config: TrainConfig, normal: Normal = ((), ())
    ) -> None:
        """See how long a step takes."""

        def train(steps: int) -> None:
            few = replace(config, steps=steps, evals=1)
            train_on(start, images, images.ids, few, lambda _: 0.0, "time a step", normal)

        self.step_s = seconds_a_step(train, self.now)

    def steps(
        self, share: float, trainings: int = 1, images: int = 0, looks: int = 1
    ) -> tuple[int, int]:
        """How many steps each of some trainings gets for a share of the time that is left, and how
        many images are looked at each time: all, or as many as half of that time allows."""
        seconds = share * (self.end - self.now()) / trainings
        most = max(SMALLEST_FOLD, int(seconds / 2 / looks / max(self.image_s, 1e-3)))
        seconds -= looks * min(images, most) * self.image_s
        return max(1, int(seconds / self.step_s)), most


def spread(images: OwnImages, ids: Sequence[str], most: int) -> list[str]:
    """About `most` of some images, those with and those without an impurity at their rate."""
    order = sorted(ids, key=lambda i: not any(map(counts, images.meta[i]["instances"])))
    return order[:: -(-len(order) // most)]


def tune(
    start: Segmenter | dict[str, Segmenter],
    folder: OwnFolder,
    config: TrainConfig,
    *,
    minutes: float = 5.0,
    folds: int = 2,
    threshold_of: ThresholdRule | None = None,
    steel: Sequence[np.ndarray] = (),
    now: Callable[[], float] = time.perf_counter,
) -> Tuned:
    """Train on a folder's labelled images and say, by folds, what is missed.

    Args:
        start: model to start from, with the folder's classes, or several by name.
        config: of each training, but for its steps.
        minutes: for everything; a few steps are taken in any case.
        threshold_of: chooses the threshold, of each fold on the others, of what is kept on all;
            by default the one of the highest mean IoU of the classes.
        steel: photographs uint8 (H, W, 3) without labels that show mostly the normal class, as
            large as they are looked at. They are half of what is learned from, pieces of the
            labelled images laid on them; and the threshold, where `threshold_of` does not choose
            it, rises until they are quiet, see `adapt.quiet_threshold`, for the folds as well, as
            far as `STILL_FOUND` of the labelled objects are found.
        now: the time in seconds.

    Raises:
        TooFewLabels: see `deal`.
    """
    clock = Clock(minutes, now)
    given = start if isinstance(start, dict) else {"start": start}
    starts = {name: held_back(s) for name, s in given.items()}
    first = next(iter(starts.values()))
    images = folder.images(list(folder.labelled), "labelled", limit_side=first.side)
    images.sample = functools.lru_cache(64)(images.sample)  # each is looked at many times
    groups = deal(images, folds)
    size = max(map(len, groups))
    began = now()
    predict_maps(first, images, images.ids[:1])
    clock.image_s = now() - began
    steel = steel[: max(SMALLEST_FOLD, int(60 * LABELLING * minutes / max(clock.image_s, 1e-3)))]
    normal = (steel, photo_labels(first, steel, AdaptConfig.surer)) if steel else ((), ())
    clock.time_step(first, images, config, normal)

    def on_fold(k: int, name: str, model: Segmenter, config: TrainConfig, most: int, label: str):
        """`model`, from a start, trained on all but fold k; and what it says of the fold, by number
        of steps: at 0 what its start says, which is untrained."""
        said, ids = [], spread(images, groups[k], most)

        def val(s: Segmenter) -> float:
            said.append(predict_maps(s, images, ids))
            return float(class_iou(images, said[-1]).max())

        history = [{"step": 0, "val": val(given[name])}]
        rest, label = [i for i in images.ids if i not in groups[k]], f"{label}, fold {k + 1}"
        model, rows = train_on(model, images, rest, config, val, label, normal)
        history = [row | {"fold": k + 1, "start": name} for row in history + rows]
        looked = [row["step"] for row in history if "val" in row]
        return model, history, dict(zip(looked, said, strict=True))

    # The race: every start, trained a little on each fold's rest. Of equal ones the first wins.
    few, most = clock.steps(RACE, folds * len(starts), size, looks=2)
    raced = {(k, name): s for k in range(folds) for name, s in starts.items()}
    race = dict.fromkeys(raced, 0.0)
    if len(starts) > 1 and few >= SHORTEST_RACE:
        config = replace(config, steps=few, evals=1)
        for k, name in raced:
            raced[k, name], history, _ = on_fold(k, name, starts[name], config, most, name)
            race[k, name] = max(row.get("val", 0.0) for row in history)

    def best(of: Sequence[int]) -> str:
        return max(starts, key=lambda name: sum(race[k, name] for k in of))

    # Each fold goes on from the start that the others chose.
    few, most = clock.steps(FOLDS, folds, size, looks=3)
    config = replace(config, steps=max(few, SHORTEST_FOLD), evals=2)
    chosen = [best([j for j in range(folds) if j != k]) for k in range(folds)]
    trained = [on_fold(k, n, raced[k, n], config, most, "on") for k, n in enumerate(chosen)]
    history = pd.DataFrame([row for _, rows, _ in trained for row in rows])
    results = Folds(images, [maps for *_, maps in trained], chosen, threshold_of)
    maps, thresholds = results.measured()
    name = best(range(folds))
    stop, threshold = results.choose(range(folds), name)

    # What is kept goes on from the folds' mean, as far as they shared its start.
    heard = steel[:THRESHOLD_PHOTOS] if threshold_of is None else ()
    few, most = clock.steps(1.0, images=len(images.ids) + len(heard))
    kept, steps = given[name], stop and max(1, round(few * stop / config.steps))
    if steps:
        before = [m for n, (m, *_) in zip(chosen, trained, strict=True) if n == name]
        before = mean_weights(before or [raced[k, name] for k in range(folds)])
        last, config = "all labelled images", replace(config, steps=steps, evals=1)
        kept, _ = train_on(before, images, images.ids, config, lambda _: 0.0, last, normal)
    kept = replace(kept, mirrored=True).compiled()
    if heard:
        quiet = quiet_threshold(kept, heard[:most], min(threshold, *thresholds.values()), 1.0)

        def raised(to: float, without: Sequence[str] = ()) -> float:
            """As quiet as can be, by the labels of the other images."""
            found = scores_of({i: m for i, m in maps.items() if i not in without})
            return max(to, min(quiet, at_recall(images, found, STILL_FOUND)))

        threshold = raised(threshold)
        thresholds = {i: raised(thresholds[i], g) for g in groups for i in g if i in maps}

    objects, alarms = judge(first, images, scores_of(maps), thresholds)
    summary = miss_rate(objects) | {"folds_threshold": threshold}
    origin = f"kept as it was with {len(images)} labelled images, from {name}: "
    if steps:
        own = scores_of(predict_maps(kept, images, spread(images, images.ids, most)))
        # To find as much of what it was trained on as the folds' models found of what was new.
        lowest = THRESHOLDS[0] if summary["found"] else 1.0
        rule = threshold_of or (lambda *_: max(lowest, at_recall(*_, 1 - summary["miss_rate"])))
        threshold = min(threshold, rule(images, own))
        found = judge(first, images, own, dict.fromkeys(own, threshold))[0]["found"]
        summary |= {"own_objects": len(found), "own_found": int(found.sum())}
        origin = f"fine-tuned on {len(images)} labelled images, {len(steel)} without labels, for "
        origin += f"{minutes:.2g} minutes, from {name}: "
    summary |= {"threshold": threshold, "images": len(maps), "folds": folds, "step": steps}
    summary["false_alarms"] = alarms / len(maps)
    summary["small"] = sum(not counts(o) for i in maps for o in images.meta[i]["instances"])
    kept = replace(kept, threshold=threshold, origin=origin + starts[name].origin)
    if not (steps and doubt(summary)):
        kept = replace(kept, promises={"objects": promised(images, scores_of(maps))})
    return Tuned(kept, history, objects, summary)


def promised(images: OwnImages, scores: Scores) -> dict[str, Any]:
    """What `risk.promise` makes of the folds' predictions, each image a scene of its own.

    The model that is kept was trained on these images, so it cannot be calibrated on them; the
    promise is that of the folds' models. It passes to the kept one as far as that scores an object
    no lower; but having trained for longer it is surer of its misses, too, and may miss more. Check
    it on images that it has not seen. And it is of images that are new as a fold's are to its
    model: where several show one heap, there are fewer scenes than images, and it is weaker.
    """
    pieces = [(id, reached) for id, _, reached in object_scores(images, scores)]
    _, losses = risk.scene_losses(*zip(*pieces, strict=True))
    return risk.promise(losses, "labelled images, each by a model that had not learned from it")


def in_words(s: dict[str, float]) -> str:
    """What a summary of `Tuned` measured, and `doubt`."""
    text = (
        f"{s['found']:.0f} of {s['objects']:.0f} labelled objects are found, miss rate "
        f"{100 * s['miss_rate']:.0f} % (95 % interval {100 * s['miss_low']:.0f} to "
        f"{100 * s['miss_high']:.0f} %), with {s['false_alarms']:.1f} false alarms an image, on "
        f"{s['images']:.0f} images in {s['folds']:.0f} folds."
    )
    small = f"Not counted: {s['small']:.0f} of fewer than {metrics.ALARM_AREA} pixels."
    return " ".join(filter(None, [text, small if s["small"] else "", doubt(s)]))


def doubt(s: dict[str, float]) -> str:
    """What to say where nothing was learned, or where the model that is kept is less sure of what
    it was trained on than the folds' models, of which the miss rate is, were of what was new to
    them; else nothing."""
    if not s["step"]:
        return (
            "These labels made the model no better on images that it had not learned from: it "
            "stays as it was. What is measured is of what the folds chose for one another, which "
            "may be one that learned. More labels or MINUTES may help."
        )
    found, objects = (s.get(f"own_{k}", 0) for k in ("found", "objects"))
    lowered = s["threshold"] < (before := s.get("folds_threshold", 0))
    if not lowered and objects - found <= objects * s["miss_rate"] + 1e-9:
        return ""
    lower = f"with its threshold lowered from {before:.3f}, " if lowered else ""
    return (
        f"After {s['step']} steps the model that is kept is less sure of what it was trained on "
        f"than those measured were of what was new to them: {lower}it finds {found} of {objects} "
        "objects of that. Miss rate and false alarms are not its own. Give it more MINUTES."
    )
