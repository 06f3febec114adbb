"""Data sets of photographs that are fetched, not shipped: what they share.

Each names its photographs and their splits in a csv beside its source, an image a line; what one
tile, one stretch of a belt or one arrangement shows never parts. Where that list has checksums the
files are held against them. All are read at one size, so that aspect ratios may change a little and
nothing is cut off; a pixel of the label is the class that covers most of it. Objects are connected
parts of one class: those that touch count as one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from scrapseg.data import base, fetch
from scrapseg.data.base import Sample, SamplesById, components, read_image
from scrapseg.data.classes import ScrapClass
from scrapseg.data.errors import ChecksumMismatch, EmptySplit, MissingFile, several
from scrapseg.data.shots import first_mixed


class Photographs(SamplesById):
    """One split of such a data set, as a sequence of ``Sample`` at one size.

    A shot is one labelled photograph; a scene, over which intervals are drawn, whatever the set
    calls so. A subclass gives the attributes down to ``bytes``, ``files`` and ``full_label``.

    Args:
        root: folder of the data set; by default where `scrapseg.data.fetch` finds it.
        split: ``train``, ``val`` or ``test``.
        size: height in pixels that photographs and masks are resized to; the width follows.
        limit: keep only this many photographs, see ``ScrapSim``.
        index: the list of photographs: id, scene, split and what ``files`` asks for.

    Attributes:
        digest: `check`'s of what results were measured on, where the index has no checksums.
        height, aspect: the usual size, and the width for each pixel of height.
        url, inside, bytes: the archive, a folder that tells the data set's own in it, and about how
            much there is to download.
        See ``data.LabelledImages`` for the others. ``sha256`` is that of the index where it has
        checksums, else of the index and all files.

    Raises:
        ValueError: no such split, or a limit or size below 1.
        MissingFile: the data set, or files of it, are not there.
        ChecksumMismatch: files are not those of the index.
        EmptySplit: the index has no photograph in the split.
    """

    name: str
    classes: Sequence[ScrapClass]
    index: Path
    height: int
    aspect: float = 1.0
    url: str
    inside: str
    bytes: int
    digest: str | None = None
    templates = ("word", "photo", "this")
    min_pixels = 1

    def __init__(
        self,
        split: str,
        root: str | os.PathLike[str] | None = None,
        *,
        size: int | None = None,
        limit: int | None = None,
        index: Path | None = None,
    ) -> None:
        base.check_choice(split, limit)
        self.size = self.height if size is None else size
        if self.size < 1:
            raise ValueError(f"size is {size}, must be at least 1")
        self.root = Path(root) if root else fetch.required(self.name)
        self.split, self.index = split, index or self.index
        self.settings: dict[str, Any] = {"size": self.size}
        table = pd.read_csv(self.index).assign(shot=lambda t: range(len(t)))
        wanted = table[table["split"] == split]
        if wanted.empty:
            raise EmptySplit(f"{self.index}: no photograph of split {split!r}")
        checked = wanted if "sha256" in table else table
        self.sha256: str | None = self.check(self.root, checked, self.index)
        records = wanted.drop(columns=["split"]).to_dict("records")
        self.meta: dict[str, dict[str, Any]] = {r["id"]: r for r in records}
        for record in records:
            label = self._label(record)
            found = base.instance_rows(label, components(label, self.classes), self.classes)
            record["instances"] = found
        self.ids = [r["id"] for r in (first_mixed(records, limit) if limit else records)]
        self.meta = {id: self.meta[id] for id in self.ids}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.split!r}): {len(self)} photographs"

    @classmethod
    @abstractmethod
    def files(cls, root: Path, record: dict[str, Any]) -> tuple[Path, Path]:
        """A record's photograph and the file of its label."""

    @abstractmethod
    def full_label(self, record: dict[str, Any], path: Path) -> np.ndarray:
        """Class per pixel of the photograph at its own size, from the file of its label."""

    def sample(self, id: str) -> Sample:
        """Read one photograph with its label.

        Raises:
            KeyError: no such id in this split.
            MissingFile, BrokenImage: the file is not there or cannot be decoded.
        """
        meta = self.meta[id]
        path, _ = self.files(self.root, meta)
        image = Image.fromarray(read_image(path, as_rgb=True, remedy=fetch.again(self.name)))
        image = np.array(image.resize(self._extent, Image.Resampling.BILINEAR))
        label = self._label(meta)
        return Sample(id, image, label, components(label, self.classes), meta["scene"], meta)

    @property
    def _extent(self) -> tuple[int, int]:
        """Width and height."""
        return round(self.aspect * self.size), self.size

    def _label(self, record: dict[str, Any]) -> np.ndarray:
        """Class per pixel, uint8 (H, W) at the size that is read."""
        full = self.full_label(record, self.files(self.root, record)[1])
        present = np.unique(full)[::-1]  # half a pixel of an object is one of it
        masks = [Image.fromarray((full == k).astype(np.float32)) for k in present]
        shares = [np.array(m.resize(self._extent, Image.Resampling.BOX)) for m in masks]
        return present[np.argmax(shares, 0)].astype(np.uint8)

    @classmethod
    def check(cls, root: Path, table: pd.DataFrame, index: Path) -> str:
        """Hash that names the data; see the class for the errors."""
        text = index.read_bytes()
        records = table.to_dict("records")
        found = [files_sha256(cls.files(root, r), fetch.again(cls.name)) for r in records]
        if "sha256" not in table:
            return hashlib.sha256(text + "".join(found).encode()).hexdigest()
        wrong = [r["id"] for r, digest in zip(records, found, strict=True) if digest != r["sha256"]]
        if wrong:
            fault = f"photographs or masks are not those of the index: {several(wrong)}"
            raise ChecksumMismatch(f"{root}: {fault}; {fetch.again(cls.name)}")
        return hashlib.sha256(text).hexdigest()

    @classmethod
    def download(cls, where: Path | None = None) -> Path:
        """Fetch the archive from GitHub, unpack it and check every file; what is there is kept.

        Args:
            where: the data set's folder; by default where `scrapseg.data.fetch` looks for it.

        Raises:
            DownloadFailed, NoSpace, ChecksumMismatch, MissingFile: see there.
        """
        where, table = where or fetch.folder(cls.name), pd.read_csv(cls.index)
        if where.is_dir():
            cls.check(where, table, cls.index)
            return where
        fetch.announce(cls.name, [cls.bytes], where)
        partial = fetch.unzipped(cls.url, where.with_name(f".{where.name}.partial"))
        inside = next(partial.rglob(cls.inside), partial / cls.inside).parent
        found = cls.check(inside, table, cls.index)
        if found != (cls.digest or found):
            raise ChecksumMismatch(f"{cls.url}: what came is not what results were measured on")
        inside.replace(where)
        shutil.rmtree(partial, ignore_errors=True)
        return where


def files_sha256(paths: Iterable[Path], remedy: str) -> str:
    """Sha256 over the bytes of some files, one after the other; `MissingFile` without one."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(path.read_bytes())
        except FileNotFoundError:
            raise MissingFile(f"{path}: file is missing; {remedy}") from None
    return digest.hexdigest()
