"""A folder of one's own images, with or without labels, as data sets of this package.

    folder/                     or   folder/
      images/  a.jpg  b.jpg            a.jpg  b.jpg
      masks/   a.png                   annotations.json
      classes.yaml                     classes.yaml

Labels are of one of the `LAYOUTS`: PNG masks of the same names in `masks/` or `labels/`; YOLO
polygons there or beside the images, with a `classes.txt`; labelme json likewise; one or more COCO
json files; or a CVAT for images XML. One kind in a folder. What a label file does not mention has
no label; what it mentions without objects is labelled as free of impurities. Nothing in the folder
is ever written to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from skimage.measure import label as connected
from tqdm import tqdm

from scrapseg.data import base
from scrapseg.data import labels as formats
from scrapseg.data.base import MIN_PIXELS, Sample, SamplesById, shrunk
from scrapseg.data.classes import CLASSES, ScrapClass, class_finder, read_classes
from scrapseg.data.errors import BrokenImage, DataError, LabelFileError, MissingFile
from scrapseg.data.labels import ImageLabels

IMAGE_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
IMAGE_ENDINGS |= {".jfif", ".jp2", ".ppm", ".pgm"}
#: Pictures and films that are there for a reason but cannot be read.
OTHER_ENDINGS = {".heic", ".heif", ".avif", ".gif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw"}
OTHER_ENDINGS |= {".mp4", ".mov", ".avi", ".mkv", ".pdf", ".psd", ".svg", ".zip"}
LABEL_FOLDERS = ("labels", "masks", "annotations")
SMALLEST_SIDE = 32
#: Label and instances (H, W) of an image.
Masks = tuple[np.ndarray, np.ndarray]


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
        numbers = {id: k for k, id in enumerate(folder.files)}
        for id in self.ids:
            label, instances = self._masks(id)
            rows = [] if label is None else base.instance_rows(label, instances, self.classes)
            self.meta[id] = {"id": id, "scene": numbers[id], "instances": rows}

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
        image = read_photo(self.files[id])
        image = shrunk(image, self.limit_side) if self.limit_side else image
        label, instances = self._masks(id)
        if label is None:
            label, instances = np.zeros(image.shape[:2], np.uint8), np.zeros(image.shape[:2], int)
        return Sample(id, image, label, instances, self.meta[id]["scene"], self.meta[id])

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
        files: image path of each id, in order of names.
        labelled: for each labelled id a function that gives label and instances (H, W).
        free: the labelled ids without an impurity.
        unchecked: number of label files that are a model's proposals which nobody has checked.
    """

    root: Path
    classes: list[ScrapClass]
    kind: str | None
    files: dict[str, Path]
    labelled: dict[str, Callable[[], Masks]]
    free: list[str]
    unchecked: int = 0

    def __str__(self) -> str:
        seen = f"{len(self.labelled)} of them labelled ({self.kind})" if self.kind else "no labels"
        seen += f", {len(self.free)} of those as free of impurities" if self.free else ""
        left_out = "files of proposals that nobody has checked are left out"
        seen += f", {self.unchecked} {left_out}" if self.unchecked else ""
        classes = f"{len(self.classes)} classes with {self.classes[0].name} the normal one"
        return f"{self.root}: {len(self.files)} images, {seen}, {classes}"

    def images(self, ids: Sequence[str] | None = None, split: str = "own", **options) -> OwnImages:
        """Some of the images, all by default."""
        return OwnImages(self, list(self.files) if ids is None else ids, split, **options)


def open_folder(
    root: str | Path,
    classes: str | Path | None = None,
    default: Sequence[ScrapClass] = CLASSES,
) -> OwnFolder:
    """Find images, labels and classes in a folder, and check every one of them.

    Args:
        classes: a class list; by default `classes.yaml` in the folder.
        default: the classes where there is neither, the benchmark's nine.

    Raises:
        DataError: something is wrong; the message is one line: file, fault, remedy.
    """
    root = Path(root)
    if root.is_file():
        raise DataError(f"{root}: is a file; name the folder that holds the images")
    if not root.is_dir():
        raise MissingFile(f"{root}: no such folder; name one that holds images")
    listed = [root / name for name in ("classes.yaml", "classes.yml") if (root / name).is_file()]
    listed = [Path(classes)] if classes else listed
    known = read_classes(listed[0]) if listed else list(default)
    files = find_images(root)
    bar = tqdm(files.items(), desc="check", unit="image", delay=2, leave=False)
    sizes = {id: read_photo(path).shape[:2] for id, path in bar}
    there = label_files(root, files)
    checked = [f for f in there if not f.is_proposal]
    kind, labelled = find_labels(root, checked, files, sizes, known)
    # All are painted once, so that a bad one is known before anything is trained.
    bar = tqdm(labelled.items(), desc="labels", unit="image", delay=2, leave=False)
    free = [id for id, masks in bar if not masks()[0].any()]
    return OwnFolder(root, known, kind, files, labelled, free, len(there) - len(checked))


def find_images(root: Path) -> dict[str, Path]:
    """Images of `root/images`, or of `root` itself, by name without ending.

    Raises:
        DataError: none, two of one name, or some that cannot be read or lie in subfolders.
    """
    folder = root / "images" if (root / "images").is_dir() else root
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = path.suffix.casefold()
        if path.name.startswith((".", "__MACOSX")):
            continue
        if path.is_dir():
            inside = {p.suffix.casefold() for p in path.iterdir()} & IMAGE_ENDINGS
            if inside and path.name not in LABEL_FOLDERS:
                raise DataError(f"{path}: a subfolder with images; put all images into {folder}")
        elif ending in OTHER_ENDINGS:
            raise DataError(f"{path}: cannot be read; save it as JPEG or PNG, or move it away")
        elif ending in IMAGE_ENDINGS:
            if path.stem in files:
                raise DataError(
                    f"{path}: {files[path.stem].name} has the same name but for its ending; rename "
                    "one, or do masks lie beside the images? They belong in masks/"
                )
            files[path.stem] = path
    if not files:
        kinds = ", ".join(sorted(e[1:] for e in IMAGE_ENDINGS))
        raise DataError(f"{folder}: holds no images ({kinds})")
    return files


def read_photo(path: str | Path) -> np.ndarray:
    """A photograph of one's own as uint8 (H, W, 3), turned as the camera says.

    Raises:
        MissingFile, BrokenImage: see `base.read_image`; or it is too small.
    """
    image = base.read_image(path, as_rgb=True, upright=True, remedy="save it anew")
    if min(image.shape[:2]) < SMALLEST_SIDE:
        raise BrokenImage(f"{path}: {image.shape[1]} x {image.shape[0]} pixels are too few to see")
    return image


# --- labels -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelFile:
    """A file that may hold labels.

    Attributes:
        path: of it. ending: of its name, in lower case, such as `.png`.
        in_labels: it lies in one of `LABEL_FOLDERS`. of_image: it has an image's name.
        content: what a json file holds, else empty.
    """

    path: Path
    ending: str
    in_labels: bool
    of_image: bool
    content: dict[str, Any]

    @property
    def is_proposal(self) -> bool:
        """Whether it is a model's proposal (`app.proposals`) that nobody has checked: no label."""
        said = [self.content.get(key) for key in ("flags", "info")]
        return any(isinstance(part, dict) and part.get("checked") is False for part in said)


@dataclass(frozen=True)
class Layout:
    """One way in which labels lie in a folder.

    Attributes:
        kind: its name in messages.
        holds: whether a file is of it.
        read: from the folder, its files, and the images by id to pairs of stem and labels; a mask
            image is read only when it is painted, and stands here by its path.
    """

    kind: str
    holds: Callable[[LabelFile], bool]
    read: Callable[[Path, list[LabelFile], dict[str, Path]], list[tuple[str, ImageLabels | Path]]]


def _is_yolo(f: LabelFile) -> bool:
    """Any text file in a label folder; elsewhere one that an image has the name of."""
    return f.ending == ".txt" and f.path.name != "classes.txt" and (f.in_labels or f.of_image)


def _read_yolo(root: Path, found: list[LabelFile], _: dict[str, Path]):
    names = formats.read_yolo_names([root, *dict.fromkeys(f.path.parent for f in found)])
    if names is None:
        raise LabelFileError(
            f"{found[0].path.parent}: YOLO labels number their classes; put a classes.txt there, "
            "with one name a line, in the order of the numbers"
        )
    return [(f.path.stem, formats.read_yolo(f.path, names)) for f in found]


def _read_labelme(_: Path, found: list[LabelFile], files: dict[str, Path]):
    read = [(f.path.stem, *formats.read_labelme(f.path, f.content)) for f in found]
    return [(stem if stem in files else own, labels) for own, stem, labels in read]


def _read_coco(_: Path, found: list[LabelFile], __: dict[str, Path]):
    return [pair for f in found for pair in formats.read_coco(f.path, f.content)]


def _read_cvat(_: Path, found: list[LabelFile], __: dict[str, Path]):
    return [pair for f in found for pair in formats.read_cvat(f.path)]


def _list_masks(_: Path, found: list[LabelFile], __: dict[str, Path]):
    return [(f.path.stem, f.path) for f in found]


#: Every layout that is understood.
LAYOUTS = (
    Layout("PNG masks", lambda f: f.ending == ".png" and f.in_labels, _list_masks),
    Layout("YOLO polygons", _is_yolo, _read_yolo),
    Layout("COCO json", lambda f: "annotations" in f.content, _read_coco),
    Layout("labelme json", lambda f: "shapes" in f.content, _read_labelme),
    Layout("CVAT XML", lambda f: f.ending == ".xml", _read_cvat),
)


def find_labels(
    root: Path,
    there: Sequence[LabelFile],
    files: dict[str, Path],
    sizes: dict[str, tuple[int, int]],
    classes: Sequence[ScrapClass],
) -> tuple[str | None, dict[str, Callable[[], Masks]]]:
    """The kind of labels in a folder, and for each labelled id what makes its masks.

    Args:
        there: from `label_files`.

    Raises:
        DataError: two kinds, a label without an image, or a file that cannot be understood.
    """
    for f in there:  # what looks like labels and is none
        if f.ending == ".json" and not {"annotations", "shapes"} & set(f.content):
            raise LabelFileError(f"{f.path}: neither COCO nor labelme; move it away")
        if f.ending in (".jpg", ".jpeg") and f.in_labels:
            raise LabelFileError(
                f"{f.path}: a mask as JPEG, which blurs classes; save masks as PNG"
            )
    found = {layout: [f for f in there if layout.holds(f)] for layout in LAYOUTS}
    found = {layout: held for layout, held in found.items() if held}
    if len(found) > 1:
        kinds = " and ".join(layout.kind for layout in found)
        raise DataError(f"{root}: holds {kinds}; keep one kind of labels")
    if not found:
        _check_elsewhere(root, files)
        return None, {}
    ((layout, held),) = found.items()
    by_stem: dict[str, ImageLabels | Path] = {}
    for stem, labels in layout.read(root, held, files):
        if stem in by_stem:
            raise DataError(f"{root}: {stem} has labels in two places; keep one")
        if stem not in files:
            source = getattr(labels, "source", labels)
            raise MissingFile(f"{source}: labels an image {stem!r} that is not there; add it")
        by_stem[stem] = labels
    labelled = {id: (by_stem[id], sizes[id], classes) for id in files if id in by_stem}
    return layout.kind, {id: partial(_painted, *labels) for id, labels in labelled.items()}


def _painted(
    labels: ImageLabels | Path, size: tuple[int, int], classes: Sequence[ScrapClass]
) -> Masks:
    """A mask image has no objects: each connected part of one class is taken for one."""
    if isinstance(labels, ImageLabels):
        return formats.paint(labels, size, class_finder(classes))
    label = formats.read_png(labels, size, classes)
    return label, connected(label, background=0, connectivity=2)


def _check_elsewhere(root: Path, files: dict[str, Path]) -> None:
    """Labels that lie where none are looked for must not be passed over in silence."""
    kinds = {".png", ".tif", ".tiff", ".bmp", ".txt", ".json", ".xml"}
    for path in sorted(root.rglob("*")):
        folders = "/".join(path.relative_to(root).parts[:-1]).casefold()
        named_so = re.search("mask|label|annot|truth|seg", folders)
        of_image = any(path.stem.startswith(id) for id in files)
        if named_so and of_image and path.suffix.casefold() in kinds:
            raise LabelFileError(
                f"{path}: looks like a label and lies where none is looked for; PNG masks of the "
                "images' names go into masks/, other label files into labels/, without subfolders"
            )


def label_files(root: Path, files: dict[str, Path]) -> list[LabelFile]:
    """All files that may hold labels: in the folder, its label folders, and beside the images."""
    images = next(iter(files.values())).parent
    folders = dict.fromkeys([root, *(root / name for name in LABEL_FOLDERS), images])
    taken, found = set(files.values()), []
    for path in (p for f in folders if f.is_dir() for p in sorted(f.iterdir()) if p.is_file()):
        if not path.name.startswith(".") and path not in taken:
            ending, in_labels = path.suffix.casefold(), path.parent not in (root, images)
            content = formats.read_json(path) if ending == ".json" else {}
            found.append(LabelFile(path, ending, in_labels, path.stem in files, content))
    return found
