"""One run of one method: train on train, choose on val, report on test, keep a record.

A run is done when its record and its local cache (weights, maps) carry the same key: a hash of
configuration, data and the code that a result depends on. So a rerun repeats only what changed,
a killed series goes on where it stopped, and a fresh clone, which has no cache, runs everything.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms import v2

from scrapseg import metrics
from scrapseg.baselines.registry import make
from scrapseg.data.base import LabelledImages, SegDataset
from scrapseg.data.classes import CLASSES, ScrapClass
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.data.shots import balanced_weights, few_shot_ids
from scrapseg.experiments.build import OURS, POCKET, Backbone, Variant, build
from scrapseg.experiments.methods import METHODS
from scrapseg.experiments.records import RunRecord, provenance, read_run, write_run
from scrapseg.files import atomic_write
from scrapseg.models.calibrate import best_normal_offset, shifted
from scrapseg.models.predict import CLASS_STRIDE, Predictions, eval_transform, predict
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.weights import WeightsMissing
from scrapseg.sources import digest, hash_code, imported_modules
from scrapseg.train.augment import train_transform
from scrapseg.train.budget import announce
from scrapseg.train.loop import TrainConfig, fit
from scrapseg.train.losses import IGNORED
from scrapseg.train.paste import cutouts


@dataclass(frozen=True)
class Splits:
    """The three splits of one dataset, of which test is looked at once per run."""

    train: LabelledImages
    val: LabelledImages
    test: LabelledImages

    @classmethod
    def load(cls, root: str | Path, limit: int | None = None) -> Splits:
        """ScrapSim's splits; `limit` keeps the first images of each, for a quick look."""
        return cls(*(ScrapSim(root, s, limit=limit) for s in ("train", "val", "test")))


def run(
    method: str,
    splits: Splits,
    config: TrainConfig,
    results_dir: str | Path,
    *,
    shots: int | str = "all",
    seed: int = 0,
    backbone: Backbone = POCKET,
    variant: Variant = OURS,
    split: str = "test",
    tag: str = "",
    start: Path | None = None,
) -> RunRecord:
    """Train and test one method, or return the record if that very run is already done.

    Writes the run record and, on test, per-image statistics to `results_dir`/runs; weights, history
    and maps to `results_dir`/cache/<run>.

    Args:
        method: a slug of `methods.yaml`.
        config: training configuration (its seed is replaced by `seed`); of it a method with a
            `fit` of its own takes steps and batch size, the rest is in `methods.yaml`.
        shots: labelled scenes per impurity class, or "all".
        backbone, variant: of ours.
        split: "test", or "val" where runs are compared to choose among them.
        tag: ends the run's name; whatever is no plain run of its method needs one, so that tables
            do not average it with those that are.
        start: see `build`.

    Raises:
        BudgetError: another backbone than the pocket one, and no GPU that is large enough.
    """
    results_dir = Path(results_dir)
    config = replace(config, seed=seed)
    backbone = backbone if METHODS[method].is_ours else POCKET
    settings = asdict(config)
    if not METHODS[method].is_trained:
        settings = {
            "steps": config.steps,
            "batch_size": config.batch_size,
            **METHODS[method].settings,
        }
    if backbone != POCKET:
        settings["backbone"] = asdict(backbone) | weights_identity(backbone)
    if METHODS[method].is_ours:
        settings["variant"] = asdict(variant)
    if start:
        settings["start"] = hashlib.sha256(Path(start).read_bytes()).hexdigest()
    record = RunRecord(
        method,
        METHODS[method].family,
        backbone.name,
        splits.test.name,
        split,
        shots,
        seed,
        metrics={},
        config=settings,
    )
    record_path = results_dir / "runs" / f"{record.name(tag)}.json"
    cache = results_dir / "cache" / record.name(tag)
    key = run_key(method, splits, settings, shots, seed, split)
    if (cache / "key").is_file() and (cache / "key").read_text() == key and record_path.is_file():
        return read_run(record_path)

    started, clock = datetime.now(UTC), time.perf_counter()
    cache.mkdir(parents=True, exist_ok=True)
    scored: LabelledImages = getattr(splits, split)
    slugs = [c.slug for c in scored.classes]
    if not METHODS[method].is_trained:
        maps, val_scores, costs = _fitted(method, splits, scored, settings, shots, seed)
        chosen = {}
    else:
        maps, val_scores, costs, chosen = _trained(
            method, splits, scored, config, cache, key, shots, backbone, variant, start
        )
    labels, instances = truth(scored)
    threshold = metrics.best_threshold(val_scores, label_stack(splits.val) > 0)
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
    record.metrics = values | metrics.bootstrap_intervals(stats) | costs
    record.config = settings | chosen | {"threshold": threshold, "key": key}
    record.provenance = provenance(
        time.perf_counter() - clock, scored.sha256, device_name(method), started
    )
    save_maps(cache / "maps.npz", maps)
    write_run(record, results_dir, tag)
    if split == "test":  # differences between ablations are too many to keep all of this for
        stats.save(record_path.with_suffix(".npz"))
    atomic_write(cache / "key", key)
    return record


def weights_identity(backbone: Backbone) -> dict[str, str]:
    """`{"weights_sha256": ...}` of a local weight file, which may change behind its path.

    Raises:
        weights.WeightsMissing: there is no such file.
    """
    if backbone.weights_path is None:
        return {}
    path = Path(backbone.weights_path).resolve()
    try:
        seen = path.stat()
        return {"weights_sha256": file_sha256(path, seen.st_size, seen.st_mtime_ns)}
    except (FileNotFoundError, IsADirectoryError) as error:
        raise WeightsMissing(f"{backbone.weights_path}: no such weight file") from error


@lru_cache
def file_sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Sha256 of a file, read once per process as long as its size and time stay what they are."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def run_key(
    method: str, splits: Splits, settings: dict, shots: int | str, seed: int, split: str
) -> str:
    """Hash of everything a run's numbers depend on: settings, data, sources, machine aside."""
    root = Path(__file__).parents[2]
    code = hash_code(imported_modules(["import scrapseg.experiments.run"], root), root)
    ids = [part.ids for part in (splits.train, splits.val, splits.test)]
    parts = [method, settings, shots, seed, split, splits.test.sha256, ids, code]
    return digest(json.loads(json.dumps(parts)))[:16]


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

    The normal class's offset is then chosen on val too, see `calibrate`.

    With another backbone than the pocket one, what the run will need is printed first.

    Returns:
        The model in eval mode; the history of `train.fit`, with normal_offset at its best look; the
        model's score maps of val, float32 (N, H, W).
    """
    classes, templates = splits.train.classes, splits.train.templates
    slugs = [c.slug for c in classes]
    model = build(
        method, config.seed, backbone, variant, classes=classes, templates=templates, start=start
    )
    if backbone != POCKET:
        announce(model.train(), config)
    ids = few_shot_ids(splits.train, shots, config.seed)
    pieces = cutouts(splits.train, ids) if config.paste else ()
    held_out = slugs.index(config.without) if config.without else None
    if held_out:
        pieces = [piece for piece in pieces if piece.label != held_out]
    transform = train_transform(config.crop, model.mean, model.std, pieces, config.paste)
    if held_out:
        transform = v2.Compose([transform, partial(unlabelled, index=held_out)])
    val_set = whole_images(splits.val, model)
    val_labels = label_stack(splits.val)
    # A class that is not to be learned has no say in what is chosen either.
    kept = [slug != config.without for slug in slugs[1:]]

    def val_score(candidate: nn.Module) -> float:
        labels = predict(candidate, val_set).labels
        table = metrics.confusion(labels, val_labels, len(classes)).sum(0)
        values = metrics.class_metrics(table, slugs)
        return float(np.nanmean([values[f"iou/{s}"] for s, k in zip(slugs[1:], kept) if k]))

    history = fit(
        model,
        SegDataset(splits.train, ids, transform),
        balanced_weights(splits.train, ids),
        val_score,
        config,
        state_path=state_path,
        label=f"{method}, {shots} shots, seed {config.seed}",
    )
    seen = predict(model, val_set, class_scores=True)
    coarse = val_labels[:, ::CLASS_STRIDE, ::CLASS_STRIDE]
    offset = best_normal_offset(seen.class_scores, coarse, kept)
    model.shift_normal(offset)
    best_look(history)["normal_offset"] = offset
    return model, history, shifted(seen.score_maps, offset)


def unlabelled(image: Tensor, mask: Tensor, *, index: int) -> tuple[Tensor, Tensor]:
    """The pair with the pixels of class `index` without a label."""
    return image, mask.masked_fill(mask == index, IGNORED)


def best_look(history: list[dict[str, float]]) -> dict[str, float]:
    """The row of a history with the best val score."""
    return max((row for row in history if "val" in row), key=lambda row: row["val"])


def whole_images(split: LabelledImages, model: nn.Module) -> SegDataset:
    """Every image of a split at its own size, normalised for `model`."""
    return SegDataset(split, split.ids, eval_transform(model.mean, model.std))


def _trained(
    method: str,
    splits: Splits,
    scored: LabelledImages,
    config: TrainConfig,
    cache: Path,
    key: str,
    shots: int | str,
    backbone: Backbone,
    variant: Variant,
    start: Path | None,
) -> tuple[Predictions, np.ndarray, dict[str, float], dict]:
    """Fit a trained method; predictions on `scored`, val score maps, costs, and what val chose."""
    started = time.perf_counter()
    model, history, val_scores = train(
        method,
        splits,
        config,
        shots=shots,
        backbone=backbone,
        variant=variant,
        state_path=cache / f"{key}.state",
        start=start,
    )
    train_s = time.perf_counter() - started
    if isinstance(model, ScrapSeg):
        model.save(cache / "model.safetensors")
    else:
        torch.save(model.state_dict(), cache / "model.pt")
    atomic_write(cache / "history.json", json.dumps(history))
    dataset = whole_images(scored, model)
    maps = predict(model, dataset, progress=True, class_scores=True)
    costs = {
        "train_s": train_s,
        "ms_per_image": milliseconds_per_image(partial(predict_one, model), dataset),
        "params_m": sum(p.numel() for p in model.parameters()) / 1e6,
    }
    look = best_look(history)
    chosen = {"best_step": look["step"], "val": look["val"]}
    return maps, val_scores, costs, chosen | {"normal_offset": look["normal_offset"]}


def _fitted(
    method: str,
    splits: Splits,
    scored: LabelledImages,
    settings: dict,
    shots: int | str,
    seed: int,
) -> tuple[Predictions, np.ndarray, dict[str, float]]:
    """As `_trained` for a method of `baselines`, which has nothing to choose on val any more."""
    started = time.perf_counter()
    samples = [splits.train.sample(i) for i in few_shot_ids(splits.train, shots, seed)]
    model = make(METHODS[method].maker, seed=seed, **settings)
    model.fit([s.image for s in samples], [s.label for s in samples])
    train_s = time.perf_counter() - started
    images = [s.image for s in scored]
    maps = model.predict(images)
    val_maps = maps if scored is splits.val else model.predict([s.image for s in splits.val])
    costs = {
        "train_s": train_s,
        "ms_per_image": milliseconds_per_image(lambda x: model.predict([x]), images),
        "params_m": model.parameters / 1e6,
    }
    return maps, val_maps.score_maps, costs


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


def label_stack(split: LabelledImages) -> np.ndarray:
    """All label images of a split, uint8 (N, H, W), not to be written to."""
    return truth(split)[0]


@lru_cache(maxsize=4)
def truth(split: LabelledImages) -> tuple[np.ndarray, np.ndarray]:
    """All label images and all instance images of a split, read once for all runs."""
    samples = [(s.label, s.instances) for s in split]
    labels, instances = (np.stack(maps) for maps in zip(*samples, strict=True))
    labels.flags.writeable = instances.flags.writeable = False
    return labels, instances


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


def device_name(method: str) -> str:
    """Where a run computes: on the GPU when there is one; a forest stays on the CPU."""
    on_gpu = torch.cuda.is_available() and METHODS[method].family != "classical"
    return torch.cuda.get_device_name() if on_gpu else "cpu"


def save_maps(path: Path, maps: Predictions) -> None:
    """Test maps for pictures: scores as float16 (N, H, W), labels as uint8 or absent."""
    arrays = {"score_maps": maps.score_maps.astype(np.float16)}
    if maps.labels is not None:
        arrays["labels"] = maps.labels
    np.savez(path, **arrays)


def load_maps(results_dir: str | Path, name: str) -> Predictions:
    """Test maps of a finished run, as `save_maps` wrote them."""
    with np.load(Path(results_dir) / "cache" / name / "maps.npz") as arrays:
        return Predictions(arrays["score_maps"], arrays.get("labels"))
