"""Are small objects found more often by a finer stage, a closer look, or by being drawn more often?

    python -m making.studies small_things --results results/full

Most misses are objects of under 300 pixels. Ours for `STEPS` steps on all training images, at its
own rates, scored on val, for it is a choice:

    as it is: stages of stride 4 to 32
    finer stage: one of stride 2 besides, which begins as a copy of the next but for its own way
        from the tower
    magnified: 1.5 times the size, crops of 192 pixels (`size-576-small` of the ablations)
    drawn by size: images are drawn so that each class and size (`metrics.SIZES`), not each class
        alone, comes equally often; crops look at an object of a size that is drawn first, not at a
        pixel of a class, which lies on a large object more often than on a small one

Runs that are done stand in the git-ignored `cache`, where a stopped series goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torchvision import tv_tensors

from making.studies.towers import step_s
from scrapseg import metrics
from scrapseg.data.base import LabelledImages
from scrapseg.data.shots import balanced_weights
from scrapseg.experiments.build import build
from scrapseg.experiments.fit import best_look, train
from scrapseg.experiments.methods import rates
from scrapseg.experiments.splits import Splits, truth
from scrapseg.experiments.studies import ABLATIONS, OURS, RunSpec, inputs_sha256
from scrapseg.files import atomic_write
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.train.augment import ImpurityCrop
from scrapseg.train.loop import TrainConfig

METHOD, STEPS, SEEDS = "scrapseg", 200, (0, 1, 2)
CLOSER = ABLATIONS["size-576-small"]


@contextmanager
def finer_stage() -> Iterator[None]:
    """The pocket model reads its tower at stride 2 as well, from here to the end."""
    aligned = build(METHOD, 0).state_dict()

    def load(model: ScrapSeg, _: Path) -> ScrapSeg:
        own, weights = model.state_dict(), aligned["stage_logits"]
        state = {k: v for k, v in aligned.items() if not k.startswith(("pyramid.", "projections."))}
        state |= {"stage_logits": torch.cat([weights[:1], weights]), "text": model.text}
        for key in own.keys() - state.keys():  # pyramid.lateral.<stage>..., projections.<stage>...
            part, number, rest = _stage(key)
            new = number == 0 and part == "pyramid.lateral"
            state[key] = own[key] if new else aligned[f"{part}.{max(0, number - 1)}.{rest}"]
        model.load_state_dict(state)
        return model

    with (
        patch("scrapseg.models.towers.POCKET_STAGES", (0, 1, 2, 3, 4)),
        patch("scrapseg.experiments.build.load_aligned", load),
    ):
        yield


def _stage(key: str) -> tuple[str, int, str]:
    """What a weight belongs to, its stage, and the rest of its name."""
    parts = key.split(".")
    at = next(i for i, part in enumerate(parts) if part.isdigit())
    return ".".join(parts[:at]), int(parts[at]), ".".join(parts[at + 1 :])


def size_of(pixels: int) -> str:
    """Which of `metrics.SIZES` an object of so many pixels has."""
    return next(size for size, (low, high) in metrics.SIZES.items() if low <= pixels <= high)


def kinds(record: Mapping[str, Any]) -> Counter[tuple[str, str]]:
    """Objects of each class and size in one image."""
    seen = [x for x in record["instances"] if x["pixels"]]
    return Counter((x["class"], size_of(x["pixels"])) for x in seen)


def weights_by_size(dataset: LabelledImages, ids: Sequence[str]) -> torch.Tensor:
    """`shots.balanced_weights`, with a class and a size in the place of a class."""
    with patch("scrapseg.data.shots.class_pixels", kinds):
        return balanced_weights(dataset, ids)


class CropBySize(ImpurityCrop):
    """An `ImpurityCrop` that draws a class, a size that it has in the image, and an object."""

    def _impurity_pixel(self, flat_inputs: list[Any]) -> tuple[int, int] | None:
        mask = next(x for x in flat_inputs if isinstance(x, tv_tensors.Mask)).numpy()
        present = np.unique(mask[mask > 0])
        if not len(present):
            return None
        parts, _ = ndimage.label(mask == _one(present), np.ones((3, 3)))
        pixels = np.bincount(parts.ravel())
        sizes = [""] + [size_of(n) for n in pixels[1:]]
        size = _one(sorted(set(sizes[1:])))
        number = _one([k for k, of in enumerate(sizes) if of == size])
        row, column = _one(np.argwhere(parts == number))
        return int(row), int(column)


def _one(choices: Sequence) -> Any:
    """One of them, all alike, by torch's generator as all augmentation."""
    return choices[int(torch.randint(len(choices), ()))]


@contextmanager
def by_size() -> Iterator[None]:
    """Images and crops are drawn by size as well, from here to the end."""
    with (
        patch("scrapseg.experiments.fit.balanced_weights", weights_by_size),
        patch("scrapseg.train.augment.ImpurityCrop", CropBySize),
    ):
        yield


#: What is changed while a run trains. Magnified, it is the run's own options.
ARMS: dict[str, Callable] = {
    "as it is": nullcontext,
    "finer stage": finer_stage,
    "magnified": nullcontext,
    "drawn by size": by_size,
}


def row(splits: Splits, config: TrainConfig, arm: str) -> dict[str, object]:
    """One run: seconds of a step, and on val AP, impurity mIoU and recall of objects by size."""
    closer = arm == "magnified"
    variant = replace(OURS, **CLOSER.variant) if closer else OURS
    config = replace(config, **CLOSER.changes) if closer else config
    with ARMS[arm]():
        step = step_s({arm: build(METHOD, config.seed, variant=variant)}, config)[arm]
        _, history, scores = train(METHOD, splits, config, variant=variant)
    labels, instances = truth(splits.val)
    found = {"ap": metrics.average_precision(metrics.rank(scores, labels > 0))}
    found["miou_impurity"] = best_look(history)["val"]
    found |= metrics.object_recall(scores, labels > 0, instances)
    told = {"arm": arm, "seed": config.seed, "steps": config.steps, "step_s": round(step, 3)}
    return told | found


def make(
    data_dir: Path, results_dir: Path, config: TrainConfig | None = None, limit: int | None = None
) -> tuple[pd.DataFrame, dict[str, object]]:
    """The study in full: a row for each arm and seed, and what stands beside it.

    Args:
        config, limit: of the runs, images of a split; less for a quick look.
    """
    splits = Splits.load(data_dir, limit)
    config = config or TrainConfig(steps=STEPS, **rates(METHOD))
    inputs, out = inputs_sha256(RunSpec(METHOD))[:12], results_dir / "cache/small_things.csv"
    done = pd.read_csv(out).to_dict("records") if out.is_file() else []
    done = [r for r in done if r["inputs"] == inputs and r["steps"] == config.steps]
    for seed, arm in ((seed, arm) for seed in SEEDS for arm in ARMS):
        if not any(r["arm"] == arm and r["seed"] == seed for r in done):
            done.append(row(splits, replace(config, seed=seed), arm) | {"inputs": inputs})
            atomic_write(out, pd.DataFrame(done).to_csv(index=False))
    seen = [kinds(splits.val.meta[i]) for i in splits.val.ids]
    counts = Counter(size for of in seen for _, size in of.elements())
    beside = {"split": "val", "sha256": splits.val.sha256, "objects": dict(counts)}
    return pd.DataFrame(done), beside
