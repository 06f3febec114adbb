"""SteelDS: photographs of shredded steel scrap with copper on a belt, labelled by polygons.

Zenodo, doi:10.5281/zenodo.20271102, CC BY 4.0 (arXiv:2605.26682). On disk, in subsets ``a1`` to
``a5``: ``SteelDS/<subset>/{train,test}/images/<frame>.jpg`` of 3840 x 2160 pixels, and for each a
file ``labels/<frame>.txt`` of YOLO polygons, read and drawn by `scrapseg.data.labels`; class 0 is
background, 1 steel, 2 copper.

    python -m scrapseg fetch steelds

*From polygons to masks.* A pixel belongs to the smallest polygon that holds it, and to the
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

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from scrapseg.data import base, fetch
from scrapseg.data.base import SPLITS, Sample, SamplesById, read_image
from scrapseg.data.classes import ScrapClass, class_finder, read_classes
from scrapseg.data.errors import EmptySplit, MissingFile
from scrapseg.data.labels import paint, read_yolo
from scrapseg.data.shots import first_mixed

NAME = "steelds"
DOI = "10.5281/zenodo.20271102"
SIZE = (576, 1024)
"""Height and width to work at by default: the frames' own shape, multiples of 64."""
SHARES = {"train": 0.6, "val": 0.15, "test": 0.25}
BLOCK, STEP, MARGIN = 100, 10, 15
_AGAIN = fetch.again(NAME)

MATERIALS: tuple[ScrapClass, ...] = tuple(read_classes(Path(__file__).with_suffix(".yaml")))
"""The labels as they come: background, steel, copper."""
CLASSES: tuple[ScrapClass, ...] = tuple(replace(c, index=c.index - 1) for c in MATERIALS[1:])
"""As in ScrapSim: what is no impurity is normal, the background like the steel."""
_NAMES = [c.slug for c in MATERIALS]
_find = class_finder(MATERIALS)


def deal(positions: Sequence[int], seed: int) -> list[str | None]:
    """Split of each frame of one video, None for those left out; see the top of this file.

    Args:
        positions: frame numbers.
        seed: of the order in which blocks are dealt.
    """
    blocks = sorted({p // BLOCK for p in positions})
    have, split_of = dict.fromkeys(SPLITS, 0), {}
    for block in np.random.default_rng(seed).permutation(blocks).tolist():
        split = max(SPLITS, key=lambda s: SHARES[s] * (len(split_of) + 1) - have[s])
        split_of[block], have[split] = split, have[split] + 1

    def taken(p: int) -> bool:
        inside = p % BLOCK - MARGIN
        return 0 <= inside < BLOCK - 2 * MARGIN and inside % STEP == 0

    return [split_of[p // BLOCK] if taken(p) else None for p in positions]


class SteelDS(SamplesById):
    """One split of SteelDS, as a sequence of ``Sample``.

    A shot is one labelled frame; a scene, over which intervals are drawn, a block of frames.

    Args:
        split: ``train``, ``val`` or ``test``, dealt by this project (see the top of the file).
        root: folder of the data set, which holds SteelDS/ or the subsets themselves; by default
            where `scrapseg.data.fetch` finds it.
        size: height and width that frames are resized to, masks drawn at.
        limit: keep only this many frames, see ``ScrapSim``.

    Attributes:
        See ``data.LabelledImages``; ids are ``<subset>_<frame>``. ``sha256`` is that of all label
        files and of the images' names and sizes.

    Raises:
        ValueError: no such split, or a limit below 1.
        MissingFile: the data set or a label file is not there.
        LabelFileError: a line is no polygon of a known class, or leaves the frame.
        EmptySplit: there are too few frames to give this split one.
    """

    name = NAME
    classes = CLASSES
    templates = ("word", "photo", "scrap", "close-up")
    min_pixels = 1

    def __init__(
        self,
        split: str,
        root: str | os.PathLike[str] | None = None,
        *,
        size: tuple[int, int] = SIZE,
        limit: int | None = None,
    ) -> None:
        base.check_choice(split, limit)
        self.root = Path(root) if root else fetch.required(NAME)
        self.split, self.size = split, size
        self.settings: dict[str, Any] = {"size": list(size)}
        digest = hashlib.sha256()
        records = []
        for number, folder in enumerate(_subsets(self.root)):
            frames = _frames(folder)
            parts = deal([position for _, position in frames], seed=number)
            for (image, position), part in zip(frames, parts, strict=True):
                label = image.parent.parent / "labels" / f"{image.stem}.txt"
                digest.update(f"{folder.name}/{image.name} {image.stat().st_size} ".encode())
                digest.update(label.read_bytes() if label.is_file() else b"missing")
                if part == split:
                    scene = 1_000_000 * number + position // BLOCK
                    record = {"id": f"{folder.name}_{image.stem}", "scene": scene}
                    record |= {"shot": len(records), "image": image, "label": label}
                    records.append(record)
        if not records:
            raise EmptySplit(f"{self.root}: too few frames for split {split!r}; add subsets")
        self.sha256: str | None = digest.hexdigest()
        for record in tqdm(records, desc="labels", delay=2, leave=False):
            record["instances"] = base.instance_rows(*self._masks(record), CLASSES)
        records = first_mixed(records, limit) if limit else records
        self.ids: list[str] = [r["id"] for r in records]
        self.meta: dict[str, dict[str, Any]] = {r["id"]: r for r in records}

    def __repr__(self) -> str:
        return f"SteelDS({self.split!r}): {len(self)} frames"

    def sample(self, id: str) -> Sample:
        """Read one frame with its label; instances are the polygons of impurities.

        Raises:
            KeyError: no such id in this split.
            MissingFile, BrokenImage, LabelFileError: a file is not there or is damaged.
        """
        meta = self.meta[id]
        image = Image.fromarray(read_image(meta["image"], as_rgb=True, remedy=_AGAIN))
        image = np.array(image.resize(self.size[::-1], Image.Resampling.BILINEAR))
        return Sample(id, image, *self._masks(meta), meta["scene"], meta)

    def _masks(self, record: dict) -> tuple[np.ndarray, np.ndarray]:
        """Label and instances; instances are the polygons of impurities."""
        if not record["label"].is_file():  # a frame without objects has an empty one
            raise MissingFile(f"{record['label']}: file is missing; {_AGAIN}")
        label, instances = paint(read_yolo(record["label"], _NAMES), self.size, _find, nested=True)
        label = np.maximum(label, 1) - 1
        return label, np.where(label > 0, instances, 0)


def _subsets(root: Path) -> list[Path]:
    """The folders a1 .. a5, in order; ``MissingFile`` where there is none."""
    inside = root / "SteelDS" if (root / "SteelDS").is_dir() else root
    found = [p for p in sorted(inside.glob("a[0-9]*")) if p.is_dir()]
    if not found:
        raise MissingFile(f"{inside}: no subset a1 .. a5; {_AGAIN}")
    return found


def _frames(subset: Path) -> list[tuple[Path, int]]:
    """Image files of a subset, train and test together, with their places in the video."""
    images = [p for ext in ("jpg", "jpeg", "png") for p in subset.glob(f"*/images/*.{ext}")]
    numbers = [re.search(r"(\d+)\D*$", p.stem) for p in images]
    if all(numbers) and len({int(n[1]) for n in numbers}) == len(images):
        return sorted(zip(images, (int(n[1]) for n in numbers), strict=True), key=lambda f: f[1])
    # Names do not tell the place: the order of the names must do.
    return [(p, k) for k, p in enumerate(sorted(images, key=lambda p: p.name))]


def download(where: Path | None = None) -> Path:
    """Fetch the record's files from Zenodo, check them and unpack the archives among them.

    The size is told first. What is unpacked is not fetched again.

    Raises:
        DownloadFailed, NoSpace: see `scrapseg.data.fetch`. MissingFile: there is no subset in it.
    """
    where = fetch.from_zenodo(DOI, "SteelDS", where or fetch.folder(NAME))
    _subsets(where)
    return where
