"""The science of one run: fit a method on train, choose on val, predict, measure.

Nothing is kept here but the weights and the history of training; see `run` for records.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from scrapseg import metrics
from scrapseg.baselines.registry import Baseline, make
from scrapseg.data.base import DataError, LabelledImages, Renumbered, Sample, SegDataset
from scrapseg.data.classes import CLASSES, ScrapClass
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.data.shots import balanced_weights, few_shot_ids
from scrapseg.experiments.build import build
from scrapseg.experiments.methods import MethodsError
from scrapseg.experiments.methods import method as find
from scrapseg.experiments.splits import Splits, label_stack, truth
from scrapseg.experiments.studies import OURS, POCKET, Backbone, RunSpec, Variant
from scrapseg.files import REPOSITORY, atomic_write
from scrapseg.models.calibrate import best_normal_offset, shifted
from scrapseg.models.predict import CLASS_STRIDE, Predictions, eval_transform, predict
from scrapseg.models.runtime import Runtime
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.segmenter import load
from scrapseg.train import processes
from scrapseg.train.adapt import FIRST, MOST_PHOTOS, AdaptConfig, adapt_model, photo_labels
from scrapseg.train.augment import train_transform
from scrapseg.train.budget import announce
from scrapseg.train.loop import TrainConfig, fit
from scrapseg.train.paste import cutouts


class NothingToChooseBy(DataError):
    """No image of val shows an impurity, so that neither weights nor a threshold can be chosen."""


@dataclass
class Outcome:
    """What a fitted method gives.

    Attributes:
        maps: predictions on the split that is scored.
        val_scores: its score maps of val, float32 (N, H, W).
        costs: train_s, ms_per_image, params_m.
        chosen: what training chose on val, by name.
    """

    maps: Predictions
    val_scores: np.ndarray
    costs: dict[str, float]
    chosen: dict[str, Any]


def check_val(splits: Splits, without: str | None = None) -> None:
    """See that val shows an impurity other than the class `without`.

    Raises:
        NothingToChooseBy: it does not.
    """
    known = [c.index for c in splits.val.classes[1:] if c.slug != without]
    if not np.isin(label_stack(splits.val), known).any():
        raise NothingToChooseBy(
            f"{splits.val.root}: no image of split 'val' shows an impurity to choose weights and "
            "threshold by; label some that do"
        )


def outcome(
    spec: RunSpec,
    splits: Splits,
    config: TrainConfig,
    cache: Path,
    state_path: Path,
    start: Path | None = None,
) -> Outcome:
    """Fit the run's method and predict; weights and history of a trained one go to `cache`.

    Args:
        start: a saved model that ours begins with.

    Raises:
        ProcessesError: torchrun started several processes, and this is not trained by our loop.
    """
    if processes.COUNT > 1 and (spec.shots == 0 or not find(spec.method).is_trained):
        raise processes.ProcessesError(f"{spec.name} is made by one process: leave out torchrun")
    scored: LabelledImages = getattr(splits, spec.split)
    if not find(spec.method).is_trained:
        return _fitted(spec, splits, scored, config)
    return _trained(spec, splits, scored, config, cache, state_path, start)


def _trained(
    spec: RunSpec,
    splits: Splits,
    scored: LabelledImages,
    config: TrainConfig,
    cache: Path,
    state_path: Path,
    start: Path | None,
) -> Outcome:
    started = time.perf_counter()
    model, history, val_scores = train(
        spec.method,
        splits,
        config,
        shots=spec.shots,
        backbone=spec.backbone,
        variant=spec.variant,
        state_path=state_path,
        start=start,
    )
    train_s = time.perf_counter() - started
    if isinstance(model, ScrapSeg):
        model.save(cache / "model.safetensors")
    else:
        buffer = io.BytesIO()
        torch.save(model.state_dict(), buffer)
        atomic_write(cache / "model.pt", buffer.getvalue())
    atomic_write(cache / "history.json", json.dumps(history))
    dataset = whole_images(scored, model)
    # Where it can, onnxruntime predicts, to 1e-4 the same; what a model costs is torch's time.
    network = Runtime(model) if isinstance(model, ScrapSeg) else model
    maps = predict(network, dataset, progress=True, class_scores=True)
    costs = {
        "train_s": train_s,
        "ms_per_image": milliseconds_per_image(partial(predict_one, model), dataset),
        "params_m": sum(p.numel() for p in model.parameters()) / 1e6,
    }
    look = best_look(history)
    chosen = {"best_step": look["step"], "val": look["val"]}
    return Outcome(maps, val_scores, costs, chosen | {"normal_offset": look["normal_offset"]})


def _fitted(spec: RunSpec, splits: Splits, scored: LabelledImages, config: TrainConfig) -> Outcome:
    """A method with a `fit` of its own has nothing to choose on val any more."""
    of = find(spec.method)
    started = time.perf_counter()
    samples = [splits.train.sample(i) for i in few_shot_ids(splits.train, spec.shots, spec.seed)]
    length = {"steps": config.steps, "batch_size": config.batch_size}
    model = make(of.maker, seed=spec.seed, **length, **of.settings(spec.dataset))
    learn(model, samples, of.family)
    train_s = time.perf_counter() - started
    images = [s.image for s in scored]
    maps = model.predict(images)
    val_maps = maps if scored is splits.val else model.predict([s.image for s in splits.val])
    costs = {
        "train_s": train_s,
        "ms_per_image": milliseconds_per_image(lambda x: model.predict([x]), images),
        "params_m": model.parameters / 1e6,
    }
    return Outcome(maps, val_maps.score_maps, costs, {})


def learn(model: Baseline, samples: Sequence[Sample], family: str) -> None:
    """Fit a method that has a `fit` of its own.

    One that sees normal images alone gets, where there is none, the windows of a quarter of the
    sides in which nothing is labelled.
    """
    images, labels = [s.image for s in samples], [s.label for s in samples]
    if family == "unsupervised" and all(map(np.any, labels)):
        h, w = (n // 4 for n in labels[0].shape)
        corners = product(range(len(images)), range(0, 4 * h, h), range(0, 4 * w, w))
        clear = [at for at in corners if not _window(labels, at, h, w).any()]
        images = [_window(images, at, h, w) for at in clear]
        labels = [np.zeros((h, w), np.uint8)] * len(images)
    model.fit(images, labels)


def _window(arrays: Sequence[np.ndarray], at: tuple[int, int, int], h: int, w: int) -> np.ndarray:
    k, y, x = at
    return arrays[k][y : y + h, x : x + w]


def train(
    method: str,
    splits: Splits,
    config: TrainConfig,
    *,
    shots: int | str = "all",
    backbone: Backbone = POCKET,
    variant: Variant = OURS,
    state_path: Path | None = None,
    start: Path | None = None,
) -> tuple[nn.Module, list[dict[str, float]], np.ndarray]:
    """Fit a trained method on train, keeping the weights with the best impurity mIoU on val.

    The normal class's offset is then chosen on val too, see `calibrate`. The words of a class that
    is not to be learned join before that, after training: were they in its softmax, as they are of
    a method whose `unlearned` is "named", every labelled pixel would teach that they are wrong.
    With no shots nothing is trained or chosen: the model is what it starts from, `adapted` where
    the method says so. With another backbone than the pocket one, what the run will need is printed
    first.

    Returns:
        The model in eval mode; the history of `train.fit`, with normal_offset at its best look; the
        model's score maps of val, float32 (N, H, W).

    Raises:
        NothingToChooseBy: see `check_val`.
        BudgetError: another backbone than the pocket one, and no GPU that is large enough.
        MethodsError: a class is not to be learned, and the method has no words for it.
    """
    check_val(splits, config.without)
    if config.without and not find(method).is_ours:
        raise MethodsError(f"method {method!r} has no words to find {config.without!r} by")
    classes, templates = splits.train.classes, splits.train.templates
    slugs = [c.slug for c in classes]
    model = build(
        method, config.seed, backbone, variant, classes=classes, templates=templates, start=start
    )
    if backbone != POCKET and not processes.RANK:
        each = replace(config, batch_size=processes.share(config.batch_size))
        announce(model.train(), each)
    val_set, val_labels = whole_images(splits.val, model), label_stack(splits.val)
    # A class that is not to be learned has no say in what is chosen either.
    kept = [slug != config.without for slug in slugs[1:]]
    named = shots == 0 or find(method).options.get("unlearned") == "named"
    learned = np.flatnonzero([named or slug != config.without for slug in slugs])

    def val_score(candidate: nn.Module) -> float:
        labels = learned[predict(candidate, val_set).labels]
        table = metrics.confusion(labels, val_labels, len(classes)).sum(0)
        values = metrics.class_metrics(table, slugs)
        return float(np.nanmean([values[f"iou/{s}"] for s, k in zip(slugs[1:], kept) if k]))

    if shots == 0:
        if find(method).options.get("start") == "adapted":
            model.load_state_dict(adapted(start, splits.train, config) | {"text": model.text})
        history = [{"step": 0, "val": val_score(model.eval()), "normal_offset": 0.0}]
        return model, history, predict(model, val_set).score_maps
    ids = few_shot_ids(splits.train, shots, config.seed)
    pieces = cutouts(splits.train, ids) if config.paste else []
    pieces = [piece for piece in pieces if slugs[piece.label] != config.without]
    transform = train_transform(config.crop, model.mean, model.std, pieces, config.paste)
    data = SegDataset(splits.train, ids, transform)
    if config.without:
        words = model.text
        model.set_classes(words[learned])
        numbers = {k: n for n, k in enumerate(learned) if slugs[k] != config.without}
        data = Renumbered(data, numbers)
    history = fit(
        model,
        data,
        balanced_weights(splits.train, ids),
        val_score,
        config,
        state_path=state_path,
        label=f"{method}, {shots} shots, seed {config.seed}",
    )
    processes.finish()
    if config.without:
        model.set_classes(words)
    seen = predict(model, val_set, class_scores=True)
    coarse = val_labels[:, ::CLASS_STRIDE, ::CLASS_STRIDE]
    offset = best_normal_offset(seen.class_scores, coarse, kept)
    model.shift_normal(offset)
    best_look(history)["normal_offset"] = offset
    return model, history, shifted(seen.score_maps, offset)


def adapted(start: Path, split: LabelledImages, config: TrainConfig) -> dict[str, Tensor]:
    """Weights of a saved model adapted to a split's photographs, whose labels are not looked at."""
    images = [split.sample(i).image for i in split.ids[:: -(-len(split) // MOST_PHOTOS)]]
    renders = ScrapSim(REPOSITORY / "data/scrapsim", "train")
    same = {k: getattr(config, k) for k in ("seed", "steps", "batch_size", "crop")}
    own, before = AdaptConfig(**same, **FIRST), load(start)
    labels = photo_labels(before, images, own.surer)
    return adapt_model(before, images, labels, renders, own).model.state_dict()


def best_look(history: list[dict[str, float]]) -> dict[str, float]:
    """The row of a history with the best val score."""
    return max((row for row in history if "val" in row), key=lambda row: row["val"])


def whole_images(split: LabelledImages, model: nn.Module) -> SegDataset:
    """Every image of a split at its own size, normalised for `model`."""
    return SegDataset(split, split.ids, eval_transform(model.mean, model.std))


def measure(
    found: Outcome, splits: Splits, scored: LabelledImages
) -> tuple[dict[str, float], float, metrics.ImageStats]:
    """All metrics of an outcome, the threshold chosen on val, and what the bootstrap drew from."""
    maps, slugs = found.maps, [c.slug for c in scored.classes]
    labels, instances = truth(scored)
    threshold = metrics.best_threshold(found.val_scores, label_stack(splits.val) > 0)
    values = metrics.evaluate(
        maps.score_maps, maps.labels, labels, instances, threshold=threshold, slugs=slugs
    )
    stats = metrics.image_stats(
        maps.score_maps, maps.labels, labels, threshold=threshold, ids=scored.ids, slugs=slugs
    )
    # Views of one scene are alike, so intervals and paired differences draw scenes.
    stats = stats.grouped([scored.meta[i]["scene"] for i in scored.ids])
    if maps.class_scores is not None:
        values |= class_precision(maps.class_scores, labels, scored.classes)
    return values | metrics.bootstrap_intervals(stats) | found.costs, threshold, stats


def class_precision(
    class_scores: np.ndarray, labels: np.ndarray, classes: Sequence[ScrapClass] = CLASSES
) -> dict[str, float]:
    """How well each impurity class is found among everything else, whatever it is taken for.

    Args:
        class_scores: see `Predictions`. labels: (N, H, W).

    Returns:
        class_ap/<slug>: pixel AP of the class's own score; class_prior/<slug>: its share of the
        pixels, which is the AP of a random score.
    """
    labels = labels[:, ::CLASS_STRIDE, ::CLASS_STRIDE]
    found = {}
    for c in classes[1:]:
        ranking = metrics.rank(class_scores[c.index].astype(np.float32), labels == c.index)
        found[f"class_ap/{c.slug}"] = metrics.average_precision(ranking)
        found[f"class_prior/{c.slug}"] = float((labels == c.index).mean())
    return found


def predict_one(model: nn.Module, item: tuple[Tensor, Tensor]) -> Tensor:
    """Class logits of one dataset item, back on the CPU."""
    return model(item[0][None].to(next(model.parameters()).device)).logits.cpu()


@torch.inference_mode()
def milliseconds_per_image(one: Callable, items: Sequence | Dataset, n: int = 8) -> float:
    """Median wall time of one image at a time over `n` images, after two to warm up."""
    times = []
    for i in range(min(n + 2, len(items))):
        item = items[i]
        start = time.perf_counter()
        one(item)
        times.append(1000 * (time.perf_counter() - start))
    return median(times[2:] or times)
