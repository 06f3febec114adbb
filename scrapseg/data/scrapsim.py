"""ScrapSim: rendered scenes of steel scrap with eight kinds of impurity, as shipped.

A folder holds ``images/<id>.jpg``, ``labels/<id>.png`` (palette image whose values are the class
indices of ``scrapseg.data.classes``), ``instances/<id>.png`` (0 is no impurity, ``k`` is instance
``k`` of the image), ``metadata.jsonl`` (one JSON object per image) and ``checksums.sha256`` (in the
format of ``sha256sum``, over all files but itself). An id is ``<scene>_<view>``; the split goes by
scene, so the two views of a scene never part.

    >>> from scrapseg.data.scrapsim import ScrapSim
    >>> train = ScrapSim("data/scrapsim", "train")          # doctest: +SKIP
    >>> train[0].image.shape, train[0].label.max()          # doctest: +SKIP
    ((384, 384, 3), 8)
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from scrapseg.data import base
from scrapseg.data.base import MIN_PIXELS, RESTORE, Sample, SamplesById, read_image
from scrapseg.data.classes import CLASSES, SLUGS, STEEL
from scrapseg.data.errors import DataError, EmptySplit, MissingFile, UnknownLabel, check_sizes
from scrapseg.data.shots import class_pixels, first_mixed


class ScrapSim(SamplesById):
    """One split of a ScrapSim folder, as a sequence of ``Sample``; images are read when asked for.

    Args:
        root: folder of the data set.
        split: ``train``, ``val`` or ``test``.
        verify: check the folder with ``verify_checksums`` first.
        limit: keep only this many images, for quick runs. The choice is fixed, holds the split's
            share of images without impurities, covers the classes as evenly as it can, and a
            larger limit contains a smaller one.

    Attributes:
        name, classes, templates, min_pixels: see ``LabelledImages``.
        root, split: as given.
        ids: ids of the images, in the order of the sequence (ascending).
        meta: metadata record of each id.
        sha256: hash of the checksum file, the data set's name in run records; ``None`` when
            there is no such file and ``verify`` is off.

    Raises:
        ValueError: no such split, or a limit below 1.
        EmptySplit: no image belongs to the split.
        MissingFile, ChecksumMismatch, UnknownLabel, DataError: the folder is damaged.
    """

    name = "scrapsim"
    classes = CLASSES
    templates = ("word", "photo", "scrap", "close-up")
    min_pixels = MIN_PIXELS

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str,
        *,
        verify: bool = True,
        limit: int | None = None,
    ) -> None:
        base.check_choice(split, limit)
        self.root, self.split = Path(root), split
        self.settings: dict[str, Any] = {}
        if not self.root.is_dir():
            raise MissingFile(f"{self.root}: no such folder; {RESTORE}")
        self.sha256: str | None = None
        if verify:
            self.sha256 = base.verify_checksums(self.root)
        elif (self.root / "checksums.sha256").exists():
            self.sha256 = hashlib.sha256((self.root / "checksums.sha256").read_bytes()).hexdigest()

        path = self.root / "metadata.jsonl"
        records = [r for r in _read_records(path) if r["split"] == split]
        if not records:
            raise EmptySplit(f"{path}: no image of split {split!r}; {RESTORE}")
        records.sort(key=lambda r: r["id"])
        records = first_mixed(records, limit) if limit else records
        self.ids: list[str] = [r["id"] for r in records]
        self.meta: dict[str, dict[str, Any]] = {r["id"]: r for r in records}

    def __repr__(self) -> str:
        return f"ScrapSim({str(self.root)!r}, {self.split!r}): {len(self)} images"

    def path(self, id: str, part: Literal["images", "labels", "instances"]) -> Path:
        """The file of an image (``images``), its label or its instances."""
        return self.root / part / f"{id}{'.jpg' if part == 'images' else '.png'}"

    def sample(self, id: str) -> Sample:
        """Read one image with its label and instances.

        Raises:
            KeyError: no such id in this split.
            MissingFile: one of the three files is not there.
            BrokenImage: one of them cannot be decoded.
            SizeMismatch: label or instances differ in size from the image.
            UnknownLabel: the label is no single-channel image, or has a value beyond the classes.
        """
        meta = self.meta[id]
        image = read_image(self.path(id, "images"), as_rgb=True)
        masks = []
        for part in ("labels", "instances"):
            path = self.path(id, part)
            mask = read_image(path)
            if mask.ndim != 2:
                raise UnknownLabel(
                    f"{path}: has {mask.shape[2]} channels, not one; "
                    "save it as a palette or grey PNG"
                )
            sizes = {f"{path}: is": (mask.shape, image.shape[:2])}
            check_sizes(sizes, "save the mask at the image's size")
            masks.append(mask)
        label, instances = masks
        if label.max() >= len(CLASSES):
            values = sorted(int(v) for v in np.unique(label) if v >= len(CLASSES))
            raise UnknownLabel(
                f"{self.path(id, 'labels')}: label values {values} are outside "
                f"0..{len(CLASSES) - 1}; map them to those of scrapseg/data/classes.yaml"
            )
        return Sample(id, image, label.astype(np.uint8), instances, int(meta["scene"]), meta)


def _read_records(path: Path) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate(base.read_text(path).splitlines(), start=1):
        try:
            record = json.loads(line)
            record["id"], record["scene"], record["split"]
            slugs = {i["class"] for i in record["instances"]}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}, line {number}: not a record ({error!r}); {RESTORE}") from None
        if not slugs <= set(SLUGS):
            raise UnknownLabel(
                f"{path}, line {number}: unknown classes {sorted(slugs - set(SLUGS))}; "
                f"known are {', '.join(SLUGS)}"
            )
        records.append(record)
    return records


def composition(datasets: Iterable[ScrapSim]) -> pd.DataFrame:
    """What each split holds, class by class.

    Args:
        datasets: splits of ScrapSim.

    Returns:
        One row per split and class, with columns ``split``, ``class`` (slug), ``scenes``,
        ``images`` and ``instances`` that show it, ``pixels``, and ``pixel_share`` (of all pixels
        of the split, 0..1). Steel counts every image and no instances.

    Raises:
        MissingFile, BrokenImage: an image's header cannot be read (steel's pixels need its size).
    """
    rows = []
    for data in datasets:
        total = sum(math.prod(base.image_size(data.path(i, "images"))) for i in data.ids)
        counts = {i: class_pixels(data.meta[i]) for i in data.ids}
        kinds = [k["class"] for i in data.ids for k in data.meta[i]["instances"]]
        for c in CLASSES:
            holding = [i for i in data.ids if c is STEEL or counts[i][c.slug] > 0]
            pixels = sum(counts[i][c.slug] for i in data.ids)
            if c is STEEL:
                pixels = total - sum(n.total() for n in counts.values())
            scenes = len({data.meta[i]["scene"] for i in holding})
            numbers = (scenes, len(holding), kinds.count(c.slug), pixels, pixels / total)
            rows.append((data.split, c.slug, *numbers))
    columns = ["split", "class", "scenes", "images", "instances", "pixels", "pixel_share"]
    return pd.DataFrame(rows, columns=columns)


def instances_table(dataset: ScrapSim) -> pd.DataFrame:
    """Every impurity instance of a split, one row each.

    Returns:
        Columns ``id`` (of the image), ``scene``, ``setting`` (``heap`` or ``belt``), ``instance``
        (its number in the instance image), ``class`` (slug), ``pixels`` (visible),
        ``visible_fraction`` (visible pixels over those it would show with nothing in front of
        it, 0..1) and ``mass_kg``.
    """
    of_image = ["id", "scene", "setting"]
    of_instance = ["class", "pixels", "visible_fraction", "mass_kg"]
    rows = [
        [*(record[key] for key in of_image), k["id"], *(k[key] for key in of_instance)]
        for record in dataset.meta.values()
        for k in record["instances"]
    ]
    return pd.DataFrame(rows, columns=[*of_image, "instance", *of_instance])
