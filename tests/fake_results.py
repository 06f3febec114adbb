"""Made-up results in the real layout, for the tests of tables, plots, paper and verify."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scrapseg import metrics
from scrapseg.data.classes import SLUGS
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments import records, stats
from scrapseg.experiments.records import RunRecord
from scrapseg.metrics import mass
from scrapseg.metrics.bootstrap import ImageStats
from scrapseg.report import tables

#: method -> family, AP and impurity mIoU with all labels (None: names no classes).
METHODS = {
    "scrapseg": ("ours", 0.9, 0.66),
    "scrapseg-random": ("ours", 0.885, 0.64),
    "scrapseg-imagenet": ("ours", 0.85, 0.6),
    "scrapseg-frozen": ("vlm-frozen", 0.8, 0.45),
    "unet": ("supervised", 0.91, 0.63),
    "unet-aligned": ("supervised", 0.9, 0.62),
    "patchcore": ("unsupervised", 0.3, None),
}
SHARE = {1: 0.45, 4: 0.65, 16: 0.85, "all": 1.0}
FIGURES = ("method", "data", "fewshot", "qualitative", "ablation")
#: Tagged runs: tag, seed, by what the values of ours are multiplied.
STUDY = (
    ("ours", 0, 1.0),
    ("ours", 1, 1.0),
    ("frozen", 0, 0.8),
    ("frozen", 1, 0.7),
    ("stages-1", 0, 0.9),
    ("with-all", 0, 1.0),
    ("without-copper_coil", 0, 0.5),
    ("zero-shot", 0, 0.6),
)
CONFIG = {
    "steps": 600,
    "batch_size": 8,
    "crop": 256,
    "paste": 4,
    "lr": 2e-3,
    "encoder_lr": 1e-3,
    "layer_decay": 0.9,
    "warmup": 0.05,
    "gamma": 0.0,
    "dice_weight": 1.0,
    "image_weight": 0.1,
    "ema": 0.998,
}


def record(method: str, shots: int | str, seed: int) -> RunRecord:
    """One run; its numbers depend on method, shots and seed alone."""
    family, ap, miou_impurity = METHODS[method]
    ap = ap * SHARE[shots] + 0.01 * seed
    values = {
        "ap": ap,
        "auroc": 0.5 + ap / 2,
        "f1_max": 0.9 * ap,
        "aupro_30": 0.8 * ap,
        "miou_binary": 0.5 + 0.4 * ap,
        "object_recall_1fa": 0.7 * ap,
        "image_auroc": 0.9,
        "train_s": 700.0 * SHARE[shots],
        "ms_per_image": 33.25,
        "params_m": 4.21,
    }
    values |= {
        f"object_recall_1fa/{s}": q * ap
        for s, q in zip(("small", "medium", "large"), (0.3, 0.6, 0.9))
    }
    if miou_impurity is not None:
        miou_impurity = miou_impurity * SHARE[shots] + 0.01 * seed
        values |= {"miou_impurity": miou_impurity, "miou": (0.97 + 8 * miou_impurity) / 9}
        for i, slug in enumerate(SLUGS):
            values |= {f"iou/{slug}": miou_impurity * (0.6 + 0.1 * i)}
            values |= {f"class_ap/{slug}": miou_impurity, f"class_prior/{slug}": 0.004} if i else {}
    for name in ("ap", "miou_binary", "miou", "miou_impurity"):
        if name in values:
            values |= {f"{name}_lo": values[name] - 0.03, f"{name}_hi": values[name] + 0.025}
    provenance = {
        "commit": "0" * 40,
        "packages": {"torch": "2.15.0"},
        "python": "3.11.7",
        "device": "cpu",
        "cpus": 2,
        "wall_s": 700.0,
        "date": "2026-01-01T00:00:00+00:00",
        "data_sha256": "0" * 64,
    }
    return RunRecord(
        method, family, "pocket", "scrapsim", "test", shots, seed, values, CONFIG, provenance
    )


def image_stats(method: str) -> ImageStats:
    """Statistics per scene of small random maps, better ones for a method with higher AP."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, len(SLUGS), (12, 8, 8)).astype(np.uint8)
    labels[:, :4] = 0
    noise = rng.random((12, 8, 8)).astype(np.float32)
    share = METHODS[method][1]
    scores = share * (labels > 0) + (1 - share) * noise
    named = None if METHODS[method][2] is None else np.where(noise < share, labels, 0)
    of_images = metrics.image_stats(scores, named, labels, threshold=0.5)
    return of_images.grouped([i // 2 for i in range(12)])


def save_paired(folder: Path) -> None:
    """Write `tables/paired.csv`, as notebook 05 does."""
    known = {m: image_stats(m) for m in METHODS}
    rows = []
    for method in list(METHODS)[1:]:
        for metric in ("ap", "miou_binary", "miou", "miou_impurity"):
            if known[method].classes is not None or metric in ("ap", "miou_binary"):
                d = metrics.paired_difference(known["scrapseg"], known[method], metric)
                row = {"scrapseg minus": method, "seeds": 1, "metric": metric}
                rows.append(row | d._asdict())
    table = pd.DataFrame(rows)
    table["p_holm"] = table.groupby("metric")["p"].transform(metrics.holm)
    records.save_table(table, folder, "paired")


def write_controls(folder: Path) -> None:
    """Runs that start from controls of the alignment, and those they stand beside; two seeds with
    all labels. To numbers, the first seed is the worse, with no words both are."""
    names = ("scrapseg-to-text", "scrapseg-to-numbers", "scrapseg-no-words")
    tags = dict.fromkeys(names, tables.CONTROL)
    for method, tag in (tags | {"scrapseg": tables.EVEN, "scrapseg-frozen": tables.EVEN}).items():
        for shots, seed in ((0, 0), ("all", 0), ("all", 1)):
            of = method if method in METHODS else "scrapseg"
            one = replace(record(of, "all", seed), method=method, shots=shots)
            records.write_run(one, folder, tag)
            worse = method == "scrapseg-to-numbers" and (shots, seed) == ("all", 0)
            worse |= method == "scrapseg-no-words"
            of_scenes = image_stats("scrapseg-frozen" if worse else "scrapseg")
            stats.write(folder, one.name(tag), {"": of_scenes})
    records.collect(folder)


def save_furnace(folder: Path, data: Path | None = None) -> None:
    """Write `tables/mass.csv` and `tables/heat.csv`, as notebook 05b does.

    Args:
        data: ScrapSim's folder, for the row of the true masks; without it that is invented too.
    """
    rng = np.random.default_rng(5)
    materials = [m for m in ("copper", "aluminium", "non-metal") for _ in range(12)]
    truth = 0.02 * rng.random(len(materials))
    of = {}
    for method in (*METHODS, "true masks"):
        guess = truth + 0.005 * rng.standard_normal(len(truth))
        columns = {"material": materials, "truth": truth, "estimate": guess}
        of[method] = mass.errors(pd.DataFrame(columns))
    if data:
        of["true masks"] = mass.floor(ScrapSim(data, "train"), ScrapSim(data, "test"))
    weighed = pd.concat(of, names=["method"]).reset_index(level=0).reset_index(drop=True)
    records.save_table(weighed, folder, "mass")
    recalls = ((method, 0.7 * ap, 0.5 * ap) for method, (_, ap, _) in METHODS.items())
    records.save_table(mass.heat_table(recalls), folder, "heat")


def save_corruptions(folder: Path, worse: float = 0.05) -> None:
    """Table, what stands beside it, and figure of the study of corruptions.

    Args:
        worse: what each rival and each adaptation has less AP than the one before it.
    """
    models = {"scrapseg": range(6), "segformer": range(6), "fpn": range(6)}
    models |= {"shipped": (0, 3), "adapted-clean": (0, 3), "adapted": (0, 3)}
    rows = [
        (m, f"the {m}", c, level, 180, 0.8 / (1 + level) - k * worse)
        for k, (m, levels) in enumerate(models.items())
        for c in ("dust", "glare")
        for level in levels
    ]
    columns = ["method", "label", "corruption", "level", "images", "ap"]
    records.save_table(pd.DataFrame(rows, columns=columns), folder, "corruptions")
    (folder / "tables/corruptions.json").write_text(json.dumps({"adapted": {"level": 3}}))
    records.save_figure(Figure(figsize=(3, 3)), folder, "corruptions")


def write_results(folder: Path, figures: tuple[str, ...] = FIGURES) -> pd.DataFrame:
    """Run records, `metrics.csv`, blank figures of the right kind; returns the metrics."""
    names = []
    for method in METHODS:
        few = method in ("scrapseg", "unet")
        for shots in SHARE if few else ("all",):
            for seed in (0, 1) if few and shots == 1 else (0,):
                one = record(method, shots, seed)
                records.write_run(one, folder)
                stats.write(folder, one.name(), {"": image_stats(method)})
                names.append(one.name())
    for tag, seed, share in STUDY:
        one = record("scrapseg", "all", seed)
        one.metrics = {k: share * v for k, v in one.metrics.items()}
        records.write_run(one, folder, tag)
    one = record("scrapseg", "all", 0)
    one.method, one.metrics = "scrapseg-named", {k: 0.1 * v for k, v in one.metrics.items()}
    records.write_run(one, folder, "without-copper_coil")
    save_paired(folder)
    save_furnace(folder)
    for name in figures:
        fig = Figure(figsize=(7, 3))
        fig.text(0.5, 0.5, name)
        records.save_figure(fig, folder, name, () if name in ("method", "data") else names[:2])
    return records.collect(folder)
