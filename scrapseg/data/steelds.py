"""SteelDS: photographs of shredded steel scrap with copper on a belt, labelled by polygons.

Zenodo, doi:10.5281/zenodo.20271102, CC BY 4.0 (arXiv:2605.26682). On disk, in subsets ``a1`` to
``a5``: ``SteelDS/<subset>/{train,test}/images/<frame>.jpg`` of 3840 x 2160 pixels, and for each a
file ``labels/<frame>.txt`` of YOLO polygons: a line ``class x1 y1 x2 y2 ...`` each, coordinates as
fractions of width and height; class 0 background, 1 steel, 2 copper.

    python -m scrapseg.data.steelds --download

*From polygons to masks.* A pixel belongs to the smallest polygon that holds its centre, and to the
background where there is none. So copper on steel stays visible, and a background polygon inside a
steel one is a hole, whatever the order of the lines.

*The split.* Neighbouring frames of a video are nearly one photograph. The published folders train
and test are pooled; the frames of a subset, by their numbers, are cut into blocks of `BLOCK`, whole
blocks are dealt to train, val and test, and of a block every `STEP`-th frame is taken, none within
`MARGIN` of its ends. So frames of different splits are at least twice `MARGIN` apart.

Nobody of this project has had the data in hand: layout and labels are as documented, the tests run
on a small set in that format.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from skimage.draw import polygon2mask
from tqdm import tqdm

from scrapseg.data import fetch
from scrapseg.data.base import (
    SPLITS,
    DataError,
    EmptySplit,
    MissingFile,
    Sample,
    SamplesById,
    read_image,
)
from scrapseg.data.classes import ScrapClass
from scrapseg.data.scrapsim import first_mixed

NAME = "steelds"
DOI = "10.5281/zenodo.20271102"
SIZE = (576, 1024)
"""Height and width to work at by default: the frames' own shape, multiples of 64."""
SHARES = {"train": 0.6, "val": 0.15, "test": 0.25}
BLOCK, STEP, MARGIN = 100, 10, 15
_RESTORE = "download the data set again: python -m scrapseg.data.steelds --download"
_TOLERANCE = 0.01  # annotation tools let a polygon run over the frame's edge by a little

_BACKGROUND = ScrapClass(
    0, "background", "conveyor belt", ("conveyor belt", "empty belt", "background"), (120, 120, 120)
)
_STEEL = ("steel scrap", "steel", "scrap iron", "shredded steel", "ferrous scrap")
_COPPER = ("copper", "copper wire", "bare copper", "copper coil", "copper winding", "copper pipe")
MATERIALS: tuple[ScrapClass, ...] = (
    _BACKGROUND,
    ScrapClass(1, "steel", "steel scrap", _STEEL, (200, 200, 200)),
    ScrapClass(2, "copper", "copper", _COPPER, (230, 159, 0)),
)
"""The labels as they come."""
IMPURITY: tuple[ScrapClass, ...] = (
    ScrapClass(0, "steel", "steel scrap", _STEEL, (200, 200, 200)),
    ScrapClass(1, "copper", "copper", _COPPER, (230, 159, 0)),
)
"""As in ScrapSim: what is no impurity is normal."""


class BrokenLabel(DataError):
    """A label file has a line that is no YOLO polygon; the message names file and line."""


class Polygon(NamedTuple):
    """label: index in `MATERIALS`. points: float (n, 2), x and y as fractions, n >= 3."""

    label: int
    points: np.ndarray


def read_polygons(path: Path) -> list[Polygon]:
    """The polygons of a label file; none for an empty file.

    Raises:
        MissingFile: no such file (a frame without objects has an empty one).
        BrokenLabel: a line is no polygon of a known class, or lies outside the frame.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFile(f"{path}: file is missing; {_RESTORE}") from None
    except UnicodeDecodeError:
        raise BrokenLabel(f"{path}: is no text; {_RESTORE}") from None
    return [
        _polygon(line.split(), f"{path}, line {number}")
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]


def _polygon(words: list[str], where: str) -> Polygon:
    try:
        label, numbers = int(words[0]), np.array(words[1:], dtype=float)
    except ValueError:
        raise BrokenLabel(f"{where}: not numbers; write 'class x1 y1 x2 y2 ...'") from None
    if label not in range(len(MATERIALS)):
        known = ", ".join(f"{c.index} {c.slug}" for c in MATERIALS)
        raise BrokenLabel(f"{where}: no class {label}; known are {known}")
    if len(numbers) < 6 or len(numbers) % 2:
        raise BrokenLabel(
            f"{where}: {len(numbers)} coordinates, not an even number of at least 6; "
            "write 'class x1 y1 x2 y2 ...'"
        )
    if not (np.isfinite(numbers) & (numbers >= -_TOLERANCE) & (numbers <= 1 + _TOLERANCE)).all():
        raise BrokenLabel(f"{where}: coordinates outside 0..1; give them as fractions of the size")
    return Polygon(label, numbers.reshape(-1, 2))


def rasterise(
    polygons: Sequence[Polygon], height: int, width: int
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Polygons as images, at any size.

    Returns:
        label uint8 (height, width), index in `MATERIALS`; owner int32 (height, width), 0 where no
        polygon is, else 1 + the polygon's index; and the polygons' visible pixels.
    """
    label = np.zeros((height, width), np.uint8)
    owner = np.zeros((height, width), np.int32)
    for k in sorted(range(len(polygons)), key=lambda k: -_area(polygons[k].points)):
        xy = polygons[k].points * (width, height) - 0.5  # pixel (0, 0) has its centre at 0.5
        # Only the polygon's own window: frames are large, pieces are small.
        low = np.clip(np.floor(xy.min(0)), 0, (width - 1, height - 1)).astype(int)
        high = np.clip(np.ceil(xy.max(0)) + 1, 1, (width, height)).astype(int)
        inside = polygon2mask((high - low)[::-1], (xy - low)[:, ::-1])
        window = slice(low[1], high[1]), slice(low[0], high[0])
        label[window][inside] = polygons[k].label
        owner[window][inside] = k + 1
    return label, owner, np.bincount(owner.ravel(), minlength=len(polygons) + 1)[1:].tolist()


def _area(points: np.ndarray) -> float:
    """Area of a polygon (n, 2) by the shoelace formula."""
    x, y = points.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def deal(positions: Sequence[int], seed: int) -> list[str | None]:
    """Split of each frame of one video, None for those left out; see the top of this file.

    Args:
        positions: frame numbers.
        seed: of the order in which blocks are dealt.
    """
    blocks = sorted({p // BLOCK for p in positions})
    order = np.random.default_rng(seed).permutation(blocks).tolist()
    have, split_of = dict.fromkeys(SPLITS, 0), {}
    for block in order:
        split = max(SPLITS, key=lambda s: SHARES[s] * (len(split_of) + 1) - have[s])
        split_of[block], have[split] = split, have[split] + 1
    found: list[str | None] = []
    for p in positions:
        inside = p % BLOCK - MARGIN
        taken = 0 <= inside < BLOCK - 2 * MARGIN and inside % STEP == 0
        found.append(split_of[p // BLOCK] if taken else None)
    return found


class SteelDS(SamplesById):
    """One split of SteelDS, as a sequence of ``Sample``.

    A shot is one labelled frame; a scene, over which intervals are drawn, a block of frames.

    Args:
        split: ``train``, ``val`` or ``test``, dealt by this project (see the top of the file).
        root: folder of the data set, which holds SteelDS/ or the subsets themselves; by default
            where `scrapseg.data.fetch` finds it.
        subsets: which of a1 .. a5; those there are by default.
        size: height and width that frames are resized to, masks drawn at; None for their own.
        materials: keep background and steel apart (`MATERIALS`), so that everything but the belt
            counts as impurity; by default both are normal (`IMPURITY`).
        limit: keep only this many frames, see ``ScrapSim``.
        seed: of the split.

    Attributes:
        See ``data.LabelledImages``; ids are ``<subset>_<frame>``. ``sha256`` is that of all label
        files and of the images' names and sizes.

    Raises:
        ValueError: no such split, or a limit below 1.
        MissingFile: the data set, a subset or a label file is not there.
        BrokenLabel: see `read_polygons`.
        EmptySplit: there are too few frames to give this split one.
    """

    name = NAME
    templates = ("word", "photo", "scrap", "close-up")
    min_pixels = 1

    def __init__(
        self,
        split: str,
        root: str | os.PathLike[str] | None = None,
        *,
        subsets: Sequence[str] | None = None,
        size: tuple[int, int] | None = SIZE,
        materials: bool = False,
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, must be one of {', '.join(SPLITS)}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit is {limit}, must be at least 1")
        self.root = Path(root) if root else fetch.required(NAME, "scrapseg.data.steelds")
        self.split, self.size = split, size
        self.settings: dict[str, Any] = {
            "size": list(size) if size else None,
            "materials": materials,
            "subsets": list(subsets) if subsets else None,
            "seed": seed,
        }
        self.classes = MATERIALS if materials else IMPURITY
        digest = hashlib.sha256()
        records = []
        for number, folder in enumerate(_subsets(self.root, subsets)):
            frames = _frames(folder)
            for image, position, part in zip(
                [f for f, _ in frames],
                [p for _, p in frames],
                deal([p for _, p in frames], seed + number),
                strict=True,
            ):
                label = image.parent.parent / "labels" / f"{image.stem}.txt"
                digest.update(f"{folder.name}/{image.name} {image.stat().st_size} ".encode())
                digest.update(label.read_bytes() if label.is_file() else b"missing")
                if part == split:
                    records.append(
                        {
                            "id": f"{folder.name}_{image.stem}",
                            "scene": 1_000_000 * number + position // BLOCK,
                            "shot": len(records),
                            "image": image,
                            "label": label,
                        }
                    )
        if not records:
            raise EmptySplit(f"{self.root}: too few frames for split {split!r}; add subsets")
        self.sha256: str | None = digest.hexdigest()
        for record in tqdm(records, desc="labels", delay=2, leave=False):
            _, _, rows = self._masks(record, self.size or _image_size(record["image"]))
            record["instances"] = rows
        if limit is not None:
            records = first_mixed(records, limit)
        self.ids: list[str] = [r["id"] for r in records]
        self.meta: dict[str, dict[str, Any]] = {r["id"]: r for r in records}

    def __repr__(self) -> str:
        return f"SteelDS({self.split!r}): {len(self)} frames"

    def sample(self, id: str) -> Sample:
        """Read one frame with its label; instances are the polygons of impurities.

        Raises:
            KeyError: no such id in this split.
            MissingFile, BrokenImage, BrokenLabel: a file is not there or is damaged.
        """
        meta = self.meta[id]
        image = read_image(meta["image"], as_rgb=True, remedy=_RESTORE)
        if self.size:
            resized = Image.fromarray(image).resize(self.size[::-1], Image.Resampling.BILINEAR)
            image = np.array(resized)
        label, instances, _ = self._masks(meta, image.shape[:2])
        return Sample(id, image, label, instances, meta["scene"], meta)

    def _masks(
        self, record: dict[str, Any], size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, list[dict]]:
        """Label and instances at a size, and the instances' records."""
        polygons = read_polygons(record["label"])
        label, owner, pixels = rasterise(polygons, *size)
        shift = len(MATERIALS) - len(self.classes)  # 1 where steel is normal like the background
        label = np.maximum(label.astype(int) - shift, 0).astype(np.uint8)
        rows = []
        for k, (polygon, count) in enumerate(zip(polygons, pixels, strict=True), start=1):
            index = max(polygon.label - shift, 0)
            if index and count:
                rows.append({"id": k, "class": self.classes[index].slug, "pixels": count})
        return label, np.where(label > 0, owner, 0), rows


def _subsets(root: Path, wanted: Sequence[str] | None) -> list[Path]:
    """The folders a1 .. a5, in order.

    Raises:
        MissingFile: none is there, or a wanted one is not.
    """
    base = root / "SteelDS" if (root / "SteelDS").is_dir() else root
    found = {p.name: p for p in sorted(base.glob("a[0-9]*")) if p.is_dir()}
    missing = [name for name in wanted or () if name not in found]
    if missing or not found:
        raise MissingFile(f"{base}: no subset {', '.join(missing) or 'a1 .. a5'}; {_RESTORE}")
    return [found[name] for name in wanted or found]


def _frames(subset: Path) -> list[tuple[Path, int]]:
    """Image files of a subset, train and test together, with their places in the video."""
    images = [p for ext in ("jpg", "jpeg", "png") for p in subset.glob(f"*/images/*.{ext}")]
    numbers = [re.search(r"(\d+)\D*$", p.stem) for p in images]
    if all(numbers) and len({int(n[1]) for n in numbers}) == len(images):
        return sorted(zip(images, (int(n[1]) for n in numbers), strict=True), key=lambda f: f[1])
    # Names do not tell the place: the order of the names must do.
    return [(p, k) for k, p in enumerate(sorted(images, key=lambda p: p.name))]


def _image_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as opened:
        return opened.height, opened.width


# ---------------------------------------------------------------- download


def download(where: Path | None = None) -> Path:
    """Fetch the record's files from Zenodo, check them and unpack the archives among them.

    The size is told first. Stopped, it goes on where it was; what is unpacked is not unpacked
    again.

    Raises:
        DownloadFailed, NoSpace, DataError: see `scrapseg.data.fetch`.
    """
    where = where or fetch.folder(NAME)
    files = fetch.zenodo_files(fetch.zenodo_record(DOI))
    fetch.announce(f"SteelDS (doi:{DOI})", files, where)
    for file in files:
        unpacked = where / f".{file.name}.unpacked"
        if unpacked.is_file():
            continue
        archive = fetch.download(file, where)
        if archive.suffix == ".zip":
            _unpack(archive, where)
            archive.unlink()
            unpacked.touch()
    _subsets(where, None)
    return where


def _unpack(archive: Path, where: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as packed:
            for name in tqdm(packed.namelist(), desc=f"unpacking {archive.name}", mininterval=2):
                packed.extract(name, where)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive}: no zip archive ({error}); remove it, run it again") from None


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m scrapseg.data.steelds", description="Fetch SteelDS from Zenodo."
    )
    parser.add_argument("--download", action="store_true", help="its size is told first")
    if not parser.parse_args(arguments).download:
        parser.print_help()
        return 0
    try:
        print(download())
    except (DataError, OSError) as error:
        print(f"steelds: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("steelds: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
