"""Images and labels: reading ScrapSim, counting it, drawing few shots, feeding a network.

From top to bottom: named errors; the checksum check; ``Sample`` and ``ScrapSim``, which read a
data set from disk; ``composition`` and ``instances_table``, which count it; ``few_shot_ids`` and
``normal_ids``, which choose images; and last the torch side, the weights of class-balanced drawing
and ``SegDataset``.

On disk, a ScrapSim folder holds ``images/<id>.jpg``, ``labels/<id>.png`` (palette image whose
values are the class indices of ``scrapseg.data.classes``), ``instances/<id>.png`` (0 is no impurity,
``k`` is instance ``k`` of the image), ``metadata.jsonl`` (one JSON object per image) and
``checksums.sha256`` (in the format of ``sha256sum``, over all files but itself). An id is
``<scene>_<view>``; the split goes by scene, so the two views of a scene never part.

    >>> from scrapseg.data import ScrapSim
    >>> train = ScrapSim("data/scrapsim", "train")          # doctest: +SKIP
    >>> train[0].image.shape, train[0].label.max()          # doctest: +SKIP
    ((384, 384, 3), 8)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image

from scrapseg.data.base import (
    MIN_PIXELS,
    RESTORE,
    SPLITS,
    BrokenImage,
    DataError,
    EmptySplit,
    MissingFile,
    Sample,
    SamplesById,
    SizeMismatch,
    UnknownLabel,
    read_image,
    read_text,
    verify_checksums,
)
from scrapseg.data.classes import CLASSES, SLUGS, STEEL
from scrapseg.data.shots import class_pixels


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
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, must be one of {', '.join(SPLITS)}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit is {limit}, must be at least 1")
        self.root = Path(root)
        self.split = split
        self.settings: dict[str, Any] = {}
        if not self.root.is_dir():
            raise MissingFile(f"{self.root}: no such folder; {RESTORE}")
        self.sha256: str | None = None
        if verify:
            self.sha256 = verify_checksums(self.root)
        elif (self.root / "checksums.sha256").exists():
            self.sha256 = hashlib.sha256((self.root / "checksums.sha256").read_bytes()).hexdigest()

        path = self.root / "metadata.jsonl"
        records = [r for r in _read_records(path) if r["split"] == split]
        if not records:
            raise EmptySplit(f"{path}: no image of split {split!r}; {RESTORE}")
        records.sort(key=lambda r: r["id"])
        if limit is not None:
            records = first_mixed(records, limit)
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
            if mask.shape != image.shape[:2]:
                raise SizeMismatch(
                    f"{path}: is {mask.shape[1]} x {mask.shape[0]} pixels, its image "
                    f"{image.shape[1]} x {image.shape[0]}; save the mask at the image's size"
                )
            masks.append(mask)
        label, instances = masks
        if label.max() >= len(CLASSES):
            values = sorted(int(v) for v in np.unique(label) if v >= len(CLASSES))
            raise UnknownLabel(
                f"{self.path(id, 'labels')}: label values {values} are outside "
                f"0..{len(CLASSES) - 1}; map them to the classes of scrapseg/classes.py"
            )
        return Sample(id, image, label.astype(np.uint8), instances, int(meta["scene"]), meta)


def _read_records(path: Path) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
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


def first_mixed(records: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """The first ``limit`` records of a fixed order that mixes normal images and all classes.

    Normal images come at the rate they have in ``records``; the others so that the classes seen
    least so far come next. The records chosen keep the order they had.
    """
    normal = [r for r in records if not r["instances"]]
    impure = [r for r in records if r["instances"]]
    rate = len(normal) / len(records)
    seen: Counter[str] = Counter()
    chosen: list[dict[str, Any]] = []
    normals_taken = 0
    while len(chosen) < min(limit, len(records)):
        due = rate * (len(chosen) + 1) - normals_taken >= 1
        if normals_taken < len(normal) and (due or not impure):
            chosen.append(normal[normals_taken])
            normals_taken += 1
            continue
        best = max(impure, key=lambda r: sum(1 / (1 + seen[c]) ** 2 for c in class_pixels(r)))
        impure.remove(best)
        seen.update(set(class_pixels(best)))
        chosen.append(best)
    return sorted(chosen, key=lambda r: r["id"])


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
        total = sum(_pixel_count(data.path(i, "images")) for i in data.ids)
        counts = {i: class_pixels(data.meta[i]) for i in data.ids}
        for c in CLASSES:
            if c is STEEL:
                holding, instances = data.ids, 0
                pixels = total - sum(n.total() for n in counts.values())
            else:
                holding = [i for i in data.ids if counts[i][c.slug] > 0]
                pixels = sum(counts[i][c.slug] for i in data.ids)
                instances = sum(
                    k["class"] == c.slug for i in data.ids for k in data.meta[i]["instances"]
                )
            rows.append(
                {
                    "split": data.split,
                    "class": c.slug,
                    "scenes": len({data.meta[i]["scene"] for i in holding}),
                    "images": len(holding),
                    "instances": instances,
                    "pixels": pixels,
                    "pixel_share": pixels / total,
                }
            )
    return pd.DataFrame(rows)


def _pixel_count(path: Path) -> int:
    """Width times height, from the file's header alone."""
    try:
        with Image.open(path) as opened:
            return opened.width * opened.height
    except FileNotFoundError:
        raise MissingFile(f"{path}: file is missing; {RESTORE}") from None
    except OSError as error:
        raise BrokenImage(f"{path}: cannot be decoded ({error}); {RESTORE}") from None


def instances_table(dataset: ScrapSim) -> pd.DataFrame:
    """Every impurity instance of a split, one row each.

    Returns:
        Columns ``id`` (of the image), ``scene``, ``setting`` (``heap`` or ``belt``), ``instance``
        (its number in the instance image), ``class`` (slug), ``pixels`` (visible),
        ``visible_fraction`` (visible pixels over those it would show with nothing in front of
        it, 0..1) and ``mass_kg``.
    """
    columns = ["id", "scene", "setting", "instance", "class", "pixels", "visible_fraction"]
    rows = [
        {
            "id": id,
            "scene": record["scene"],
            "setting": record["setting"],
            "instance": k["id"],
            **{key: k[key] for key in ("class", "pixels", "visible_fraction", "mass_kg")},
        }
        for id, record in dataset.meta.items()
        for k in record["instances"]
    ]
    return pd.DataFrame(rows, columns=[*columns, "mass_kg"])
