"""Magnetic-Tile: photographs of magnetic tiles with five kinds of surface defect, for each a mask.

Huang, Qiu, Yuan: Surface defect saliency of magnetic tile, The Visual Computer 36 (2020); on
GitHub as abin24/Magnetic-tile-defect-datasets. (with the full stop). On disk, a photograph
``MT_<Defect>/Imgs/<stem>.jpg`` lies beside its mask ``<stem>.png``, above 127 where the defect is;
``MT_Free`` holds tiles without one.

    python -m scrapseg fetch magnetic-tile

*The split.* Photographs of one tile never part; ``magnetic_tile.csv`` has it, with a checksum of
every photograph and its mask. `making.tiles.index` made it.

*Size.* Photographs are 103 to 632 pixels wide and 222 to 403 high. All methods see them resized
to a square, 256 pixels by default, not cropped: the aspect ratio changes, the whole tile stays.
Metrics are taken at that size.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from scrapseg.data import base, fetch
from scrapseg.data.base import Sample, SamplesById, components, read_image
from scrapseg.data.classes import ScrapClass, read_classes
from scrapseg.data.errors import ChecksumMismatch, EmptySplit, MissingFile, SizeMismatch
from scrapseg.data.shots import first_mixed

NAME = "magnetic-tile"
URL = "https://github.com/abin24/Magnetic-tile-defect-datasets./archive/refs/heads/master.zip"
BYTES = 60_000_000
"""About; GitHub packs the archive when asked, so it has no checksum. The index has."""
INDEX = Path(__file__).with_suffix(".csv")
SIZE = 256

CLASSES: tuple[ScrapClass, ...] = tuple(read_classes(Path(__file__).with_suffix(".yaml")))
FOLDERS = {"MT_" + c.slug.capitalize(): c for c in CLASSES}
AGAIN = fetch.again(NAME)


class MagneticTile(SamplesById):
    """One split of Magnetic-Tile, as a sequence of ``Sample`` at one size.

    A shot is one labelled photograph; a scene, over which intervals are drawn, one tile.

    Args:
        root: folder of the data set; by default where `scrapseg.data.fetch` finds it.
        split: ``train``, ``val`` or ``test``.
        size: side in pixels that photographs and masks are resized to.
        limit: keep only this many photographs, see ``ScrapSim``.
        index: the list of photographs, tiles and splits.
        verify: check the files of the split against the index.

    Attributes:
        See ``data.LabelledImages``; ids are stems. ``sha256`` is that of the index.

    Raises:
        ValueError: no such split, or a limit or size below 1.
        MissingFile: the data set, or files of it, are not there.
        ChecksumMismatch: files are not those of the index.
        EmptySplit: the index has no photograph in the split.
    """

    name = NAME
    classes = CLASSES
    templates = ("word", "photo", "this")
    min_pixels = 1

    def __init__(
        self,
        split: str,
        root: str | os.PathLike[str] | None = None,
        *,
        size: int = SIZE,
        limit: int | None = None,
        index: Path = INDEX,
        verify: bool = True,
    ) -> None:
        base.check_choice(split, limit)
        if size < 1:
            raise ValueError(f"size is {size}, must be at least 1")
        self.root = Path(root) if root else fetch.required(NAME)
        self.split, self.size = split, size
        self.settings: dict[str, Any] = {"size": size}
        self.sha256: str | None = hashlib.sha256(index.read_bytes()).hexdigest()
        table = pd.read_csv(index)
        table["shot"] = range(len(table))
        table = table[table["split"] == split]
        if table.empty:
            raise EmptySplit(f"{index}: no photograph of split {split!r}")
        if verify:
            _verify(self.root, table)
        records = [
            {"id": row.id, "scene": int(row.tile), "shot": int(row.shot), "folder": row.folder}
            for row in table.itertuples()
        ]
        for record in records:
            record["instances"] = []
            if record["folder"] != "MT_Free":
                label = self._label(record)
                record["instances"] = base.instance_rows(label, components(label, CLASSES), CLASSES)
        if limit is not None:
            records = first_mixed(records, limit)
        self.ids: list[str] = [r["id"] for r in records]
        self.meta = {r["id"]: r for r in records}

    def __repr__(self) -> str:
        return f"MagneticTile({self.split!r}): {len(self)} photographs at {self.size} pixels"

    def path(self, id: str, ending: str = "jpg") -> Path:
        """The file of a photograph (``jpg``) or of its mask (``png``)."""
        return self.root / self.meta[id]["folder"] / "Imgs" / f"{id}.{ending}"

    def sample(self, id: str) -> Sample:
        """Read one photograph with its label.

        Raises:
            KeyError: no such id in this split.
            MissingFile, BrokenImage: the file is not there or cannot be decoded.
        """
        meta = self.meta[id]
        image = Image.fromarray(read_image(self.path(id), as_rgb=True, remedy=AGAIN))
        image = np.array(image.resize((self.size, self.size), Image.Resampling.BILINEAR))
        label = self._label(meta)
        return Sample(id, image, label, components(label, CLASSES), meta["scene"], meta)

    def _label(self, record: dict) -> np.ndarray:
        """Class per pixel, uint8 (size, size): defect where half of what a pixel covers is."""
        path = self.root / record["folder"] / "Imgs" / f"{record['id']}.png"
        mask = read_image(path, remedy=AGAIN)
        if mask.ndim != 2:
            raise SizeMismatch(f"{path}: has {mask.shape[2]} channels, not one; {AGAIN}")
        full = Image.fromarray(np.where(mask > 127, 255, 0).astype(np.uint8))
        small = np.array(full.resize((self.size, self.size), Image.Resampling.BOX))
        return np.where(small >= 128, FOLDERS[record["folder"]].index, 0).astype(np.uint8)


def files_sha256(root: Path, folder: str, stem: str) -> str:
    """Sha256 over a photograph's bytes followed by its mask's."""
    digest = hashlib.sha256()
    for ending in ("jpg", "png"):
        path = root / folder / "Imgs" / f"{stem}.{ending}"
        try:
            digest.update(path.read_bytes())
        except FileNotFoundError:
            raise MissingFile(f"{path}: file is missing; {AGAIN}") from None
    return digest.hexdigest()


def _verify(root: Path, table: pd.DataFrame) -> None:
    wrong = [
        f"{row.folder}/Imgs/{row.id}"
        for row in table.itertuples()
        if files_sha256(root, row.folder, row.id) != row.sha256
    ]
    if wrong:
        named = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise ChecksumMismatch(
            f"{root}: photographs or masks are not those of the index: {named}; {AGAIN}"
        )


def download(where: Path | None = None) -> Path:
    """Fetch the archive from GitHub, unpack it and check every file; what is there is kept.

    Args:
        where: the data set's folder; by default where `scrapseg.data.fetch` looks for it.

    Raises:
        DownloadFailed, NoSpace, ChecksumMismatch, MissingFile: see there.
    """
    where, index = where or fetch.folder(NAME), pd.read_csv(INDEX)
    if where.is_dir():
        _verify(where, index)
        return where
    fetch.announce("Magnetic-Tile", [BYTES], where)
    partial = fetch.unzipped(URL, where.with_name(f".{where.name}.partial"))
    inside = next(partial.glob("*/MT_Free"), partial / "MT_Free").parent  # a folder of its own
    _verify(inside, index)
    inside.replace(where)
    shutil.rmtree(partial, ignore_errors=True)
    return where
