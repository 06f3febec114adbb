"""Do tiles at several magnifications find small objects?

    python -m making.studies large_scales --results results/full      # the model that comes along
    python -m making.studies magnified --results results/full         # the benchmark's longest run

On val: it is a choice between ways to predict. An image of ScrapSim is one tile at scale 1, so what
is compared is the plain prediction with its average over a magnified look, see `predict_large`. Of
the benchmark's model, what val chose is measured on test beside the plain prediction.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn
from tqdm import tqdm

from making.align.benchmark import BENCHMARK
from scrapseg import metrics
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.models.segmenter import load
from scrapseg.models.tiles import predict_large

SCALES = ((1.0,), (1.0, 1.5), (1.0, 2.0))
KEPT = ("ap", "miou_impurity", "object_recall_1fa")


def seen_at(
    model: nn.Module, images: ScrapSim, scales: Sequence[float], kept: Sequence[str] = KEPT
) -> tuple[dict[str, str | float], metrics.ImageStats]:
    """What a model says of images at some scales: scales, images, s_per_image and the metrics
    `kept`, in all and for `metrics.SIZES`; and statistics, a scene each."""
    samples = list(images)
    labels, instances = (np.stack([getattr(s, n) for s in samples]) for n in ("label", "instances"))
    name, begun = " + ".join(f"{s:g}" for s in scales), time.perf_counter()
    seen = [predict_large(model, s.image, scales=scales) for s in tqdm(samples, desc=name)]
    row = {"scales": name, "images": len(samples)}
    row["s_per_image"] = (time.perf_counter() - begun) / len(samples)
    scores = np.stack([p.score_map for p in seen]).astype(np.float32)
    named = np.stack([p.label for p in seen])
    found = metrics.evaluate(scores, named, labels, instances, threshold=0.5)
    of_images = metrics.image_stats(scores, named, labels, threshold=0.5)
    row |= {k: v for k, v in found.items() if k.split("/")[0] in kept}
    return row, of_images.grouped([s.scene for s in samples])


def by_scales(
    model: nn.Module, images: ScrapSim, scales: Sequence[Sequence[float]] = SCALES
) -> pd.DataFrame:
    """A row of `seen_at` for each set of scales."""
    return pd.DataFrame([seen_at(model, images, some)[0] for some in scales])


def make(data_dir: Path, _: Path) -> tuple[pd.DataFrame, dict]:
    """The study in full: its table, and what stands beside it."""
    val, segmenter = ScrapSim(data_dir, "val"), load()
    beside = {"model": segmenter.origin, "split": "val", "sha256": val.sha256}
    return by_scales(segmenter.model, val), beside


def of_benchmark(data_dir: Path, _: Path) -> tuple[pd.DataFrame, dict]:
    """The same of the benchmark's longest run on val, and on test what val chose by impurity mIoU
    beside the plain prediction: its gain of AP and impurity mIoU, with 95 % intervals over scenes.
    """
    val, test, segmenter = ScrapSim(data_dir, "val"), ScrapSim(data_dir, "test"), load(BENCHMARK)
    kept = (*KEPT, "miou")
    rows = [seen_at(segmenter.model, val, some, kept)[0] | {"split": "val"} for some in SCALES]
    chosen = SCALES[max(range(len(SCALES)), key=lambda k: rows[k]["miou_impurity"])]
    told = [seen_at(segmenter.model, test, some, kept) for some in (SCALES[0], chosen)]
    rows += [row | {"split": "test"} for row, _ in told]
    for metric in ("ap", "miou_impurity"):
        gap = metrics.paired_difference(told[1][1], told[0][1], metric)
        rows[-1] |= dict(zip([f"{metric}_{end}" for end in ("gap", "lo", "hi", "p")], gap))
    beside = {"model": segmenter.origin, "chosen": list(chosen), "sha256": test.sha256}
    return pd.DataFrame(rows), beside
