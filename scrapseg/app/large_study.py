"""Do tiles at several magnifications find small objects? Measured with the model that comes along.

    python -m scrapseg.app.large_study --results results/full

On val: it is a choice between ways to predict. An image of ScrapSim is one tile at scale 1, so what
is compared is the plain prediction with its average over a magnified look, see `predict_large`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn
from tqdm import tqdm

from scrapseg import metrics
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.records import provenance, save_table
from scrapseg.experiments.run import device_name
from scrapseg.files import atomic_write
from scrapseg.models.segmenter import SHIPPED, load
from scrapseg.models.tiles import predict_large

SCALES = ((1.0,), (1.0, 1.5), (1.0, 2.0))


def by_scales(
    model: nn.Module, images: ScrapSim, scales: Sequence[Sequence[float]] = SCALES
) -> pd.DataFrame:
    """A row for each set of scales: scales, images, s_per_image, ap, miou_impurity and
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
        kept = ("ap", "miou_impurity", "object_recall_1fa")
        rows.append(row | {k: v for k, v in found.items() if k.startswith(kept)})
    return pd.DataFrame(rows)


def main() -> None:
    """Command line; writes `tables/large_scales.csv` with its provenance beside it."""
    parser = argparse.ArgumentParser(prog="python -m scrapseg.app.large_study", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--results", type=Path, required=True, help="results folder")
    parser.add_argument("--data", type=Path, default=Path("data/scrapsim"))
    given = parser.parse_args()
    clock, started = time.perf_counter(), datetime.now(UTC)
    val, segmenter = ScrapSim(given.data, "val"), load(SHIPPED)
    table = by_scales(segmenter.model, val)
    save_table(table, given.results, "large_scales")
    made = provenance(time.perf_counter() - clock, val.sha256, device_name("scrapseg"), started)
    record = {"model": segmenter.origin, "split": "val", "provenance": made}
    atomic_write(given.results / "tables/large_scales.json", json.dumps(record, indent=1) + "\n")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
