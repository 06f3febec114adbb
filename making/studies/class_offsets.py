"""Does an offset for each class bring back the classes that a method has given up?

    python -m making.studies class_offsets --results results/real

On Magnetic-Tile ours ranks the pixels of a class (its class AP) whose IoU is near 0, since another
class outbids it. The benchmark chooses one offset on val, that of the normal class. Here each class
gets one, chosen on val too, by coordinate ascent on the impurity mIoU. Nothing is trained: the
models are those of the finished runs, and every method gets what ours gets. Test is looked at once
per model, at every second pixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from torch import nn

from making.finished import finished
from scrapseg import metrics
from scrapseg.experiments import studies
from scrapseg.experiments.build import build
from scrapseg.experiments.fit import label_stack, whole_images
from scrapseg.experiments.methods import method as find
from scrapseg.experiments.splits import load_splits
from scrapseg.models.predict import CLASS_STRIDE, predict
from scrapseg.models.scrapseg import ScrapSeg

DATASET, SHOTS = "magnetic-tile", 4
#: Ours from three starts, and the best rival.
METHODS = ("scrapseg-scrapsim", "scrapseg", "scrapseg-imagenet", "segformer")
#: Offsets tried, added to a class's logit, and how often all classes are gone through.
OFFSETS = np.arange(-4.0, 4.01, 0.25)
ROUNDS = 3


def best_offsets(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Offsets of the C classes with the highest impurity mIoU, each chosen while the others stand.

    Args:
        log_p: float (C, K), log-probabilities of K pixels. labels: int (K,), their classes.
    """
    classes = len(log_p)
    offsets = np.zeros(classes)
    for c in np.tile(range(classes), ROUNDS):
        others = log_p + offsets[:, None].astype(np.float32)
        others[c] = -np.inf
        rival = others.argmax(0)
        # A pixel is of the class from its first sufficient offset on: all are counted at once.
        first = np.searchsorted(OFFSETS, others.max(0) - log_p[c])
        cells = (first * classes + labels) * classes + rival
        shape = len(OFFSETS) + 1, classes, classes
        counts = np.bincount(cells, minlength=np.prod(shape)).reshape(shape)
        taken = counts.sum(2).cumsum(0)
        found = {}
        for k, offset in enumerate(OFFSETS):
            table = counts[k + 1 :].sum(0)
            table[:, c] += taken[k]
            found[offset] = metrics.class_metrics(table, range(classes))["miou_impurity"]
        offsets[c] = max(sorted(found, key=lambda o: abs(o - offsets[c])), key=found.get)
    return offsets


def pixels(model: nn.Module, split) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities (C, K) and classes (K,) of every second pixel of a split."""
    odds = predict(model, whole_images(split, model), progress=True, class_scores=True)
    log_p = np.log(expit(odds.class_scores.astype(np.float32)) + 1e-30)
    labels = label_stack(split)[:, ::CLASS_STRIDE, ::CLASS_STRIDE]
    return log_p.reshape(len(log_p), -1), labels.ravel().astype(np.int64)


def trained(spec: studies.RunSpec, cache: Path, split) -> nn.Module:
    """The model of a finished run."""
    if find(spec.method).is_ours:
        return ScrapSeg.load(cache / "model.safetensors").eval()
    model = build(spec.method, spec.seed, classes=split.classes, templates=split.templates)
    model.load_state_dict(torch.load(cache / "model.pt", weights_only=True))
    return model.eval()


def rows_of(model: nn.Module, val, test) -> list[dict[str, object]]:
    """A row before and one after the offsets: miou, miou_impurity and each class's IoU on test."""
    slugs = [c.slug for c in test.classes]
    offsets = best_offsets(*pixels(model, val))
    log_p, labels = pixels(model, test)
    rows = []
    for name, added in (("normal", np.zeros(len(slugs))), ("each class", offsets)):
        named = (log_p + added[:, None].astype(np.float32)).argmax(0)
        table = metrics.confusion(named[None], labels[None], len(slugs))[0]
        rows.append({"offsets": name} | metrics.class_metrics(table, slugs))
    return rows


def make(data_dir: Path, results: Path) -> tuple[pd.DataFrame, dict]:
    """A row per method, seed and kind of offsets: of the runs whose models are in the cache."""
    splits, rows = load_splits(DATASET, None, data_dir), []
    for name, spec in studies.plan_profile("real").items():
        here = spec.dataset == DATASET and spec.shots == SHOTS and spec.method in METHODS
        if here and (cache := finished(results, name)):
            model = trained(spec, cache, splits.test)
            of = {"method": spec.method, "shots": spec.shots, "seed": spec.seed}
            rows += [of | row for row in rows_of(model, splits.val, splits.test)]
    if not rows:
        raise FileNotFoundError(f"{results / 'cache'}: no weights of these runs; make them first")
    return pd.DataFrame(rows), {"dataset": DATASET, "sha256": splits.test.sha256}
