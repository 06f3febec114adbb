"""Make the model that comes along: trained on renders, ready to be adapted to photographs.

    python -m making.align ship
    python -m making.align promise      # its calibration alone, the weights stay as they are

It is not the benchmark's. That one starts from the aligned tower and trains all of it at the rates
that are best on ScrapSim. This one starts from ImageNet's weights, which know photographs, and its
tower learns forty times more slowly than what reads it, so that it still knows them when it is
adapted. The threshold is chosen on val, and so are those that promise how much is missed at most
(`scrapseg.metrics.risk`); test is looked at once, for the card.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from scrapseg import metrics
from scrapseg.data.classes import CLASSES
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.records import source_state
from scrapseg.metrics import risk
from scrapseg.models.pocket import pocket_model
from scrapseg.models.prompts import class_embeddings
from scrapseg.models.segmenter import SHIPPED, Segmenter, load
from scrapseg.train.adapt import AdaptConfig, adapt_model

CONFIG = AdaptConfig(steps=700, lr=4e-3, encoder_lr=1e-4)


def imagenet() -> Segmenter:
    """The pocket model with ImageNet's weights in its tower and nothing learned beside them."""
    model = pocket_model().eval()
    model.set_classes(class_embeddings(CLASSES))
    return Segmenter(model, CLASSES, origin="ImageNet's weights")


def ship(data_dir: Path, target: Path = SHIPPED, config: AdaptConfig = CONFIG) -> Segmenter:
    """Train the model and save it in half precision as `target`, with its card beside it.

    Raises:
        DataError: ScrapSim is not there.
    """
    commit = source_state()["commit"][:7]
    train, val, test = (ScrapSim(data_dir, split) for split in ("train", "val", "test"))
    segmenter = adapt_model(imagenet(), [], [], train, config)
    scores, truths, _ = predicted(segmenter, val)
    segmenter = replace(segmenter, threshold=metrics.best_threshold(scores, truths))
    scores, truths, table = predicted(segmenter, test)
    ap = metrics.average_precision(metrics.rank(scores, truths))
    miou = metrics.class_metrics(table)["miou_impurity"]
    origin = (
        f"trained on ScrapSim's training scenes ({config.steps} steps from "
        f"ImageNet's weights, commit {commit}), to be adapted to photographs; on ScrapSim's test "
        f"images pixel AP {ap:.3f}, impurity mIoU {miou:.3f}"
    )
    segmenter = replace(segmenter, origin=origin)
    segmenter.save(target, half=True)
    return calibrate(data_dir, target)


def calibrate(data_dir: Path, target: Path = SHIPPED) -> Segmenter:
    """Write into a saved model's card what it promises of scenes like ScrapSim's, from val.

    As it is loaded: half precision moves scores a little.
    """
    segmenter, val = load(target), ScrapSim(data_dir, "val")
    losses = risk.all_losses((s, segmenter.predict(s.image).score) for s in val)
    promises = {of: risk.promise(some, "ScrapSim's val") for of, (_, some) in losses.items()}
    segmenter = replace(segmenter, promises=promises)
    segmenter.save_card(target)
    return segmenter


def predicted(segmenter: Segmenter, images: ScrapSim) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores and truth (N, H, W), and the confusion of the most likely classes."""
    scores, table = [], np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for sample in images:
        p = segmenter.probabilities(sample.image)[0].numpy()
        scores.append(1 - p[0])
        table += metrics.confusion(p.argmax(0)[None], sample.label[None], len(CLASSES))[0]
    return np.stack(scores), np.stack([s.label > 0 for s in images]), table
