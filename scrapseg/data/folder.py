"""A folder of one's own images, with or without labels, as data sets of this package.

    folder/                     or   folder/                 or   folder/
      images/  a.jpg  b.jpg            a.jpg  b.jpg                 train/images/  train/labels/
      masks/   a.png                   annotations.json             valid/images/  valid/labels/
      classes.yaml                     classes.yaml                 data.yaml  classes.yaml

Where images and labels may lie, and of which kinds, is in `scrapseg.data.layouts`. What is passed
over, left out or assumed is said by the folder's `notes`. Nothing in it is ever written to.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from scrapseg.data import base, listing
from scrapseg.data.base import MIN_PIXELS, Sample, SamplesById, shrunk
from scrapseg.data.classes import CLASSES, ScrapClass, looks_normal, read_classes
from scrapseg.data.errors import BrokenImage, LabelFileError
from scrapseg.data.labels import OF_NORMAL, Notes
from scrapseg.data.layouts import Masks, find_labels
from scrapseg.data.listing import check_empty, class_list, find_images, list_files

SMALLEST_SIDE = 32
#: What becomes of classes that no label shows, those with English words and those without.
BY_WORDS = "found by their words alone, unless the model knew them before"
BY_NOTHING = "not found at all without English words, unless the model knew them before"
#: Images with one side so many times the other are looked at with very few pixels across.
STRIP = 8


class OwnImages(SamplesById):
    """Some images of a folder with their labels; the package's `LabelledImages`.

    Attributes:
        root, split, ids: the folder; what these images are for; their names without endings.
        classes: the class list. files: path of each id.
        meta: record of each id: `scene` (its number) and `instances`; empty for one not labelled.
        sha256: hash over the images and labels.
    """

    name = "own"
    templates = ("word", "photo", "scrap", "close-up")
    min_pixels = MIN_PIXELS

    def __init__(
        self, folder: OwnFolder, ids: Sequence[str], split: str, limit_side: int | None = None
    ) -> None:
        self.root, self.split, self.ids = folder.root, split, list(ids)
        self.classes, self.files, self.limit_side = folder.classes, folder.files, limit_side
        self.settings: dict[str, Any] = {"limit_side": limit_side}
        self._folder = folder
        self._samples: dict[str, Masks] = {}
        self.meta: dict[str, dict[str, Any]] = {}
        self._last: Sample | None = None
        for id in self.ids:
            label, instances = self._masks(id)
            rows = [] if label is None else base.instance_rows(label, instances, self.classes)
            self.meta[id] = {"id": id, "scene": folder.numbers[id], "instances": rows}

    @property
    def sha256(self) -> str:
        """Hash over the content of the images and labels."""
        found = hashlib.sha256()
        for id in self.ids:
            found.update(self.files[id].read_bytes())
            if id in self._folder.labelled:
                found.update(self._masks(id)[0].tobytes())
        return found.hexdigest()

    def sample(self, id: str) -> Sample:
        """Read one image; without labels it has none but the normal class.

        Raises:
            DataError: a file cannot be read; the message names it.
        """
        if self._last and self._last.id == id:  # it is often asked for twice in a row
            return self._last
        image = self._folder.photo(id)
        image = shrunk(image, self.limit_side) if self.limit_side else image
        label, instances = self._masks(id)
        if label is None:
            label, instances = np.zeros(image.shape[:2], np.uint8), np.zeros(image.shape[:2], int)
        self._last = Sample(id, image, label, instances, self.meta[id]["scene"], self.meta[id])
        return self._last

    def _masks(self, id: str) -> tuple[np.ndarray | None, np.ndarray | None]:
        if id not in self._folder.labelled:
            return None, None
        if id not in self._samples:
            masks, side = self._folder.labelled[id](), self.limit_side
            self._samples[id] = tuple(shrunk(m, side) for m in masks) if side else masks
        return self._samples[id]


@dataclass(frozen=True)
class OwnFolder:
    """What `open_folder` found.

    Attributes:
        root: the folder. classes: the class list. kind: of labels, such as "COCO json", or None.
        files: image path of each id, in order of names; of those that can be read.
        labelled: for each labelled id a function that gives label and instances (H, W).
        free: the labelled ids without an impurity.
        bits: of the camera, where images have more than 8.
        notes: what was passed over, left out or assumed, one line each.
    """

    root: Path
    classes: list[ScrapClass]
    kind: str | None
    files: dict[str, Path]
    labelled: dict[str, Callable[..., Masks]]
    free: list[str]
    bits: int = 8
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        seen = f"{len(self.labelled)} of them labelled ({self.kind})" if self.kind else "no labels"
        seen += f", {len(self.free)} of those as free of impurities" if self.free else ""
        classes = f"{len(self.classes)} classes with {self.classes[0].name} the normal one"
        number = f"{len(self.files)} image{'s' * (len(self.files) > 1)}"
        first = f"{self.root}: {number}, {seen}, {classes}"
        return "\n  note: ".join([first, *self.notes])

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """The place of each id."""
        return {id: k for k, id in enumerate(self.files)}

    def photo(self, id: str) -> np.ndarray:
        """One of the images, uint8 (H, W, 3)."""
        return read_photo(self.files[id], self.bits)

    def images(self, ids: Sequence[str] | None = None, split: str = "own", **options) -> OwnImages:
        """Some of the images, all by default."""
        return OwnImages(self, list(self.files) if ids is None else ids, split, **options)


def open_folder(
    root: str | Path,
    classes: str | Path | None = None,
    default: Sequence[ScrapClass] = CLASSES,
    *,
    empty: str = "clean",
) -> OwnFolder:
    """Find images, labels and classes in a folder, and check every one of them.

    An image that cannot be decoded, is of a format that is not read here, or has several pages or
    too few pixels, is passed over, with its label, and named in the notes.

    Args:
        classes: a class list; by default `classes.yaml` in the folder.
        default: the classes where there is neither, the benchmark's nine.
        empty: what an image is that the labels mention without an object: `clean`, which is free
            of impurities, or `unlabelled`, which is not yet worked on.

    Raises:
        DataError: something is wrong; the message is one line: file, fault, remedy.
    """
    root = Path(root)
    check_empty(empty)
    paths, notes = list_files(root), Notes()
    listed = class_list(paths, classes)
    known = read_classes(listed) if listed else list(default)
    foreign = [c.name for c in known if not any(word.isascii() for word in c.words)]
    wordless = "classes without English words, so found by labels alone; add some to the list"
    notes[wordless] += foreign
    files = find_images(root, paths, notes)
    depths, sizes, seen = {}, {}, {}
    broken = [f"{BrokenImage(f'{path}: {listing.UNREAD}')}" for path in notes.pop(listing.UNREAD)]
    for id, path in tqdm(files.items(), desc="check", unit="image", delay=2, leave=False):
        if path.suffix.casefold() in listing.OTHER_ENDINGS:
            continue
        try:
            depths[id], sizes[id] = base.camera_bits(path), read_photo(path).shape[:2]
        except BrokenImage as error:
            broken.append(f"{error}")
            continue
        first = seen.setdefault(hashlib.sha256(path.read_bytes()).digest(), id)
        notes["copies of another image, which is so counted twice"] += [id] * (first != id)
    if not sizes:
        some = "; ".join(broken[:3])
        raise BrokenImage(f"{root}: none of its {len(files)} images can be read; {some}")
    deep, bits = [id for id in depths if depths[id] > 8], max(depths.values())
    notes[f"images of over 8 bits, read as a camera's {bits}"] += deep
    for id, size in sizes.items():
        if max(size) > STRIP * min(size):
            notes[f"long strips; SIDE={max(size)} looks at them in full"].append(id)
    kind, labelled = find_labels(root, paths, files, sizes, known, notes)
    # All are painted once, so that a bad one is known before anything is trained.
    free, held = [], Counter()
    for id, masks in tqdm(labelled.items(), desc="labels", unit="image", delay=2, leave=False):
        label, instances = masks(notes)
        held.update(np.flatnonzero(np.bincount(label[instances > 0])).tolist())
        free += [] if instances.any() else [id]
    if notes[OF_NORMAL] and not looks_normal(known[0]):
        raise LabelFileError(
            f"{notes[OF_NORMAL][0]}: is a {known[0].slug}, the first class of the list and so the "
            "normal one; put the normal class, such as steel, first in classes.yaml"
        )
    if empty == "unlabelled":
        labelled, free = {id: m for id, m in labelled.items() if id not in free}, []
    notes["labelled as free of impurities (EMPTY=unlabelled if not worked on yet)"] += free
    shown = [f"{known[k].slug} {n}" for k, n in sorted(held.items())]
    lines = [f"passed over: {line}" for line in broken] + notes.lines()
    lines += [f"images that show {', '.join(shown)}"] if shown else []
    unseen = [c for c in known[1:] if labelled and c.index not in held]
    for how, worded in ((BY_WORDS, True), (BY_NOTHING, False)):
        some = [c.slug for c in unseen if worded != (c.name in foreign)]
        lines += [f"no label shows {', '.join(some)}: {how}"] if some else []
    files = {id: files[id] for id in sizes}
    return OwnFolder(root, known, kind, files, labelled, free, bits, lines)


def read_photo(path: str | Path, bits: int | None = None) -> np.ndarray:
    """A photograph of one's own as uint8 (H, W, 3), turned as the camera says.

    Args:
        bits: of the camera, see `base.read_image`.

    Raises:
        MissingFile, BrokenImage: see `base.read_image`; or it is too small.
    """
    image = base.read_image(path, as_rgb=True, upright=True, bits=bits, remedy=base.ANEW)
    if min(image.shape[:2]) < SMALLEST_SIDE:
        raise BrokenImage(f"{path}: {image.shape[1]} x {image.shape[0]} pixels are too few to see")
    return image
