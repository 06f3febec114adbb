"""Make a run's model ready to be loaded: probabilities that mean what they say, half precision.

    python -m making.align benchmark --run scrapseg_scrapsim_allshots_s0_8000-steps-more \\
        --results results/full/cache/more/...      # where its record and its cache lie

It is ours as the benchmark measures it, trained for longer, and on more scenes
(`making.studies.more_scenes`). One temperature for all logits, chosen
on val by the likelihood of its labels (Guo et al., arXiv:1706.04599, section 4.2), makes it less
sure of itself; which class is the most likely stays as it is, while pixels ranked by the chance of
any impurity may change places a little. What that does to the calibration error, of the run's
weights in full precision, is `results/full/tables/calibration.csv`.
"""

from __future__ import annotations

import copy
import json
import math
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from making.align.ship import calibrate, predicted
from making.finished import needed
from scrapseg import metrics
from scrapseg.data.classes import CLASSES
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.fit import whole_images
from scrapseg.experiments.records import provenance, read_run, save_table, source_state
from scrapseg.files import atomic_write, shipped
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.segmenter import Segmenter, load

BENCHMARK = shipped("benchmark.safetensors")
BINS = 15
#: Of the pixels of an image, every so many along each side.
STRIDE = 2


@torch.inference_mode()
def logits_of(model: ScrapSeg, images: ScrapSim) -> tuple[Tensor, Tensor]:
    """Logits (N, C) and classes (N,) of every `STRIDE`th pixel along both sides of all images."""
    logits, labels = [], []
    for image, label in tqdm(whole_images(images, model), desc=images.split, unit="image"):
        found = model(image[None]).logits[0, :, ::STRIDE, ::STRIDE]
        logits.append(found.flatten(1).T)
        labels.append(label[::STRIDE, ::STRIDE].flatten())
    return torch.cat(logits), torch.cat(labels).long()


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """What logits (N, C) are divided by so that labels (N,) are the most likely; 1/8 to 8."""

    def cost(log_t: float) -> float:
        return float(F.cross_entropy(logits / math.exp(log_t), labels))

    return math.exp(minimize_scalar(cost, bounds=(-math.log(8), math.log(8)), method="bounded").x)


@torch.no_grad()
def cooled(model: ScrapSeg, temperature: float) -> ScrapSeg:
    """The same model, which has no novelty, with its pixels' logits divided by a temperature."""
    assert model.novelty is None
    model = copy.deepcopy(model)
    model.log_scale -= math.log(temperature)
    model.normal_bias /= temperature
    return model


def errors(logits: Tensor, labels: Tensor, temperature: float) -> list[dict]:
    """Calibration error and mean log-loss, before and after, of all pixels and of those that are
    called an impurity; sure is the mean probability of the most likely class, right how often that
    is true."""
    rows, called = [], logits.argmax(1) > 0
    for pixels, some in (("all", torch.ones_like(called)), ("called an impurity", called)):
        for what, t in (("before", 1.0), ("after", temperature)) if some.any() else ():
            log_p, truth = (logits[some] / t).log_softmax(1), labels[some]
            loss = -log_p.gather(1, truth[:, None]).double().mean()
            sure, named = log_p.max(1)
            sure, right = sure.exp().double().numpy(), (named == truth).numpy()
            row = {"pixels": pixels, "temperature": what, "sure": sure.mean()}
            row |= {"right": right.mean(), "ece": calibration_error(sure, right)}
            rows.append(row | {"log_loss": float(loss)})
    return rows


def calibration_error(sure: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error over `BINS` bins: how far sure (N,) is from right (N,), bool.

    In double precision: a library's single one is off by as much as the error over millions of
    pixels.
    """
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, weights=sure - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(sure))


def quality_on(segmenter: Segmenter, images: ScrapSim) -> dict[str, str | float]:
    """Split, images, pixel AP and impurity mIoU."""
    scores, truths, table = predicted(segmenter, images)
    ap = metrics.average_precision(metrics.rank(scores, truths))
    miou = metrics.class_metrics(table)["miou_impurity"]
    return {"split": images.split, "images": len(images), "ap": ap, "miou_impurity": miou}


def ship_run(
    run: str, results_dir: Path, data_dir: Path, told_dir: Path, target: Path = BENCHMARK
) -> tuple[Segmenter, pd.DataFrame]:
    """Save the model of a finished run, cooled, with threshold and promises from val; and the table
    of calibration errors, which is written to `told_dir` as `calibration.csv`, beside it what the
    saved model scores on ScrapSim's train, val and test as `longest.csv`.

    Raises:
        DataError: ScrapSim is not there. FileNotFoundError: the run's weights are not.
        BrokenRecord: its record cannot be read.
    """
    clock, started, source = time.perf_counter(), datetime.now(UTC), source_state()
    record = read_run(results_dir / "runs" / f"{run}.json")
    model = ScrapSeg.load(needed(results_dir, run) / "model.safetensors")
    val, test = (ScrapSim(data_dir, split) for split in ("val", "test"))
    seen = {split.split: logits_of(model, split) for split in (val, test)}
    temperature = best_temperature(*seen["val"])
    rows = [
        {"split": split} | row for split, pair in seen.items() for row in errors(*pair, temperature)
    ]
    commit, config = record.provenance["commit"][:7], record.config
    segmenter = Segmenter(cooled(model, temperature).eval(), CLASSES)
    scores, truths, _ = predicted(segmenter, val)
    segmenter = replace(segmenter, threshold=metrics.best_threshold(scores, truths))
    splits = (ScrapSim(data_dir, "train"), val, test)
    with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder:
        made = segmenter.save(Path(folder) / target.name, half=True)
        quality = [quality_on(load(made), split) for split in splits]
        ap, miou = quality[-1]["ap"], quality[-1]["miou_impurity"]
        origin = (
            f"trained on {config['data']['images'][0]} images of ScrapSim's generator, none of val "
            f"or test ({config['steps']} steps from the aligned weights, seed {record.seed}, "
            f"commit {commit}), its logits divided by {temperature:.2f}, chosen on "
            f"val; on ScrapSim's test images pixel AP {ap:.3f}, impurity mIoU {miou:.3f}"
        )
        replace(load(made), origin=origin).save_card(made)
        segmenter = calibrate(data_dir, made)
        for path in Path(folder).iterdir():  # the old one stays until all of the new is there
            path.replace(target.parent / path.name)
    table = pd.DataFrame(rows)
    save_table(table, told_dir, "calibration")
    save_table(pd.DataFrame(quality), told_dir, "longest")
    beside = {"run": run, "divided_by": temperature, "bins": BINS}
    beside["record"] = {k: record.metrics[k] for k in ("ap", "miou_impurity")}
    wall_s = time.perf_counter() - clock
    beside["provenance"] = provenance(wall_s, val.sha256, "cpu", started, source)
    text = json.dumps(beside, indent=1) + "\n"
    atomic_write(told_dir / "tables" / "calibration.json", text)
    return segmenter, table
