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


def by_scales(
    model: nn.Module, images: ScrapSim, scales: Sequence[Sequence[float]] = SCALES
) -> pd.DataFrame:
    """A row for each set of scales: scales, images, s_per_image, ap, miou, miou_impurity and
    object_recall_1fa, in all and for `metrics.SIZES`."""
    samples = list(images)
    labels, instances = (np.stack([getattr(s, n) for s in samples]) for n in ("label", "instances"))
    rows = []
    for some in scales:
        name, begun = " + ".join(f"{s:g}" for s in some), time.perf_counter()
        seen = [predict_large(model, s.image, scales=some) for s in tqdm(samples, desc=name)]
        row = {"scales": name, "images": len(samples)}
        row["s_per_image"] = (time.perf_counter() - begun) / len(samples)
        scores = np.stack([p.score_map for p in seen]).astype(np.float32)
        found = metrics.evaluate(
            scores, np.stack([p.label for p in seen]), labels, instances, threshold=0.5
        )
        kept = ("ap", "miou", "miou_impurity", "object_recall_1fa")
        rows.append(row | {k: v for k, v in found.items() if k.split("/")[0] in kept})
    return pd.DataFrame(rows)


def make(data_dir: Path, _: Path) -> tuple[pd.DataFrame, dict]:
    """The study in full: its table, and what stands beside it."""
    val, segmenter = ScrapSim(data_dir, "val"), load()
    beside = {"model": segmenter.origin, "split": "val", "sha256": val.sha256}
    return by_scales(segmenter.model, val), beside


def of_benchmark(data_dir: Path, _: Path) -> tuple[pd.DataFrame, dict]:
    """The same of the benchmark's longest run, with what val chose, by impurity mIoU, on test."""
    val, test, segmenter = ScrapSim(data_dir, "val"), ScrapSim(data_dir, "test"), load(BENCHMARK)
    on_val = by_scales(segmenter.model, val, SCALES)
    chosen = SCALES[on_val["miou_impurity"].idxmax()]
    on_test = by_scales(segmenter.model, test, (SCALES[0], *({chosen} - {SCALES[0]})))
    table = pd.concat([on_val.assign(split="val"), on_test.assign(split="test")])
    beside = {"model": segmenter.origin, "chosen": list(chosen), "sha256": test.sha256}
    return table, beside
