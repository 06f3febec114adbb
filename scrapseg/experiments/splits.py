"""The three splits of a data set, as a run takes them: all of it, a part, or one setting alone."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from scrapseg.data.base import SPLITS, EmptySplit, LabelledImages
from scrapseg.data.belt_waste import BeltWaste
from scrapseg.data.cables import Cables
from scrapseg.data.magnetic_tile import MagneticTile
from scrapseg.data.photographs import Photographs
from scrapseg.data.scrapsim import ScrapSim

#: Data sets of photographs, by name.
PHOTOGRAPHS: dict[str, type[Photographs]] = {c.name: c for c in (BeltWaste, Cables, MagneticTile)}


@dataclass(frozen=True)
class Splits:
    """The three splits of one data set, of which test is looked at once per run."""

    train: LabelledImages
    val: LabelledImages
    test: LabelledImages

    @classmethod
    def load(cls, root: str | Path, limit: int | None = None) -> Splits:
        """ScrapSim's splits; `limit` keeps the first images of each, for a quick look."""
        return cls(*(ScrapSim(root, split, limit=limit) for split in SPLITS))


def load_splits(dataset: str, limit: int | None, data_dir: str | Path) -> Splits:
    """The splits of a data set by its slug; `data_dir` is ScrapSim's.

    Raises:
        DataError: the data is not here; the message says how to get it.
    """
    if dataset in PHOTOGRAPHS:
        return Splits(*(PHOTOGRAPHS[dataset](split, limit=limit) for split in SPLITS))
    return Splits.load(data_dir, limit)


def only_from(splits: Splits, source: str) -> Splits:
    """Train and val images of one setting, and all test images.

    What is chosen on val is chosen on the source: the other setting is new to the method.

    Raises:
        EmptySplit: a split has no image of the setting it needs.
    """

    def only(split: LabelledImages) -> LabelledImages:
        part = copy(split)
        part.ids = [i for i in split.ids if split.meta[i]["setting"] == source]
        part.meta = {i: split.meta[i] for i in part.ids}
        if not part.ids:
            raise EmptySplit(f"{split.root}: no image of a {source!r} in split {split.split!r}")
        return part

    return Splits(only(splits.train), only(splits.val), splits.test)


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
