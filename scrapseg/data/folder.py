"""A folder of one's own images, with or without labels, as data sets of this package.

    folder/                     or   folder/
      images/  a.jpg  b.jpg            a.jpg  b.jpg
      masks/   a.png                   annotations.json
      classes.yaml                     classes.yaml

Labels are PNG masks of the same names in `masks/` or `labels/`; YOLO polygons there or beside the
images, with a `classes.txt`; labelme json likewise; one or more COCO json files; or a CVAT for
images XML. One kind in a folder. What a label file does not mention has no label; what it mentions
without objects is labelled as free of impurities. Nothing in the folder is ever written to.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from skimage.measure import label as connected
from tqdm import tqdm

from scrapseg.data import labels as formats
from scrapseg.data.base import MIN_PIXELS, BrokenImage, DataError, MissingFile, Sample, SamplesById
from scrapseg.data.class_list import class_finder, read_classes
from scrapseg.data.classes import CLASSES, ScrapClass

IMAGE_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
#: Pictures and films that are there for a reason but cannot be read.
OTHER_ENDINGS = {".heic", ".heif", ".avif", ".gif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw"}
OTHER_ENDINGS |= {".mp4", ".mov", ".avi", ".mkv", ".pdf", ".psd", ".svg", ".zip"}
LABEL_FOLDERS = ("labels", "masks", "annotations")
SMALLEST_SIDE = 32


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
        self._samples: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.meta: dict[str, dict[str, Any]] = {}
        numbers = {id: k for k, id in enumerate(folder.files)}
        for id in self.ids:
            self.meta[id] = {"id": id, "scene": numbers[id], "instances": self._instances(id)}

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
        image = read_image(self.files[id])
        if self.limit_side:
            image = shrunk(image, self.limit_side)
        label, instances = self._masks(id)
        if label is None:
            label, instances = np.zeros(image.shape[:2], np.uint8), np.zeros(image.shape[:2], int)
        return Sample(id, image, label, instances, self.meta[id]["scene"], self.meta[id])

    def _masks(self, id: str) -> tuple[np.ndarray | None, np.ndarray | None]:
        if id not in self._folder.labelled:
            return None, None
        if id not in self._samples:
            label, instances = self._folder.labelled[id]()
            if self.limit_side and max(label.shape) > self.limit_side:
                label, instances = (shrunk(m, self.limit_side) for m in (label, instances))
            self._samples[id] = label, instances
        return self._samples[id]

    def _instances(self, id: str) -> list[dict[str, Any]]:
        label, instances = self._masks(id)
        if label is None:
            return []
        numbers, first, pixels = np.unique(instances, return_index=True, return_counts=True)
        return [
            {
                "id": int(n),
                "class": self.classes[label.flat[at]].slug,
                "pixels": int(size),
            }
            for n, at, size in zip(numbers, first, pixels, strict=True)
            if n
        ]


@dataclass(frozen=True)
class OwnFolder:
    """What `open_folder` found.

    Attributes:
        root: the folder. classes: the class list. kind: of labels, such as "COCO json", or None.
        files: image path of each id, in order of names.
        labelled: for each labelled id a function that gives label and instances (H, W).
    """

    root: Path
    classes: list[ScrapClass]
    kind: str | None
    files: dict[str, Path]
    labelled: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]]

    def __str__(self) -> str:
        seen = f"{len(self.labelled)} of them labelled ({self.kind})" if self.kind else "no labels"
        return f"{self.root}: {len(self.files)} images, {seen}, {len(self.classes)} classes"

    def images(self, ids: Sequence[str] | None = None, split: str = "own", **options) -> OwnImages:
        """Some of the images, all by default."""
        return OwnImages(self, list(self.files) if ids is None else ids, split, **options)


def open_folder(root: str | Path, classes: str | Path | None = None) -> OwnFolder:
    """Find images, labels and classes in a folder, and check every one of them.

    Args:
        classes: a class list; by default `classes.yaml` in the folder, else the benchmark's nine.

    Raises:
        DataError: something is wrong; the message is one line: file, fault, remedy.
    """
    root = Path(root)
    if root.is_file():
        raise DataError(f"{root}: is a file; name the folder that holds the images")
    if not root.is_dir():
        raise MissingFile(f"{root}: no such folder; name one that holds images")
    listed = Path(classes) if classes else root / "classes.yaml"
    known = read_classes(listed) if classes or listed.is_file() else list(CLASSES)
    files = find_images(root)
    sizes = {}
    for id, path in tqdm(files.items(), desc="check", unit="image", delay=2, leave=False):
        sizes[id] = read_image(path).shape[:2]
    kind, labelled = find_labels(root, files, sizes, known)
    for masks in tqdm(labelled.values(), desc="labels", unit="image", delay=2, leave=False):
        masks()  # so that a bad one is known before anything is trained
    return OwnFolder(root, known, kind, files, labelled)


def find_images(root: Path) -> dict[str, Path]:
    """Images of `root/images`, or of `root` itself, by name without ending.

    Raises:
        DataError: none, two of one name, or some that cannot be read or lie in subfolders.
    """
    folder = root / "images" if (root / "images").is_dir() else root
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = path.suffix.casefold()
        if path.name.startswith("."):
            continue
        if path.is_dir():
            inside = path.name not in LABEL_FOLDERS and any(
                p.suffix.casefold() in IMAGE_ENDINGS for p in path.iterdir()
            )
            if inside:
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


def read_image(path: str | Path) -> np.ndarray:
    """An image as uint8 (H, W, 3), turned as the camera says.

    Raises:
        MissingFile, BrokenImage: naming the file.
        DataError: it is too small, or has 16 bits a channel.
    """
    path = Path(path)
    try:
        with Image.open(path) as opened:
            if opened.mode.startswith(("I", "F")):
                raise DataError(f"{path}: has more than 8 bits a channel; save it with 8")
            image = np.array(ImageOps.exif_transpose(opened).convert("RGB"))
    except FileNotFoundError:
        raise MissingFile(f"{path}: no such image") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: has over 170 million pixels; cut it into parts") from None
    except (OSError, SyntaxError, ValueError) as error:
        reason = str(error).replace(str(path), path.name)
        raise BrokenImage(f"{path}: cannot be decoded ({reason}); save it anew") from None
    if min(image.shape[:2]) < SMALLEST_SIDE:
        raise DataError(f"{path}: {image.shape[1]} x {image.shape[0]} pixels are too few to see")
    return image


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """An image (H, W, 3) or a map of numbers (H, W) with its longer side at most `side` pixels."""
    factor = side / max(image.shape[:2])
    if factor >= 1:
        return image
    size = [max(1, round(factor * n)) for n in image.shape[1::-1]]
    if image.ndim == 3:
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    rows = ((np.arange(size[1]) + 0.5) * image.shape[0] / size[1]).astype(int)
    columns = ((np.arange(size[0]) + 0.5) * image.shape[1] / size[0]).astype(int)
    return image[rows[:, None], columns]


def find_labels(
    root: Path,
    files: dict[str, Path],
    sizes: dict[str, tuple[int, int]],
    classes: Sequence[ScrapClass],
) -> tuple[str | None, dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]]]:
    """The kind of labels in a folder, and for each labelled id what makes its masks.

    Raises:
        DataError: two kinds, a label without an image, or a file that cannot be understood.
    """
    folders = [root, *(root / name for name in LABEL_FOLDERS)]
    images = next(iter(files.values())).parent
    folders += [images] if images != root else []
    there = [p for f in folders if f.is_dir() for p in sorted(f.iterdir()) if p.is_file()]
    there = [p for p in there if not p.name.startswith(".") and p not in files.values()]
    masks = [p for p in there if p.suffix.casefold() == ".png" and p.parent not in (root, images)]
    texts = [p for p in there if p.suffix.casefold() == ".txt" and _is_yolo(p, files)]
    jsons = [(p, formats.read_json(p)) for p in there if p.suffix.casefold() == ".json"]
    cvat = [p for p in there if p.suffix.casefold() == ".xml"]
    coco = [(p, c) for p, c in jsons if "annotations" in c]
    labelme = [(p, c) for p, c in jsons if "shapes" in c]
    strange = [p for p, c in jsons if "annotations" not in c and "shapes" not in c]
    jpegs = [p for p in there if p.parent.name in LABEL_FOLDERS and _is_jpeg(p)]
    if strange or jpegs:
        what = "neither COCO nor labelme" if strange else "a mask as JPEG, which blurs classes"
        remedy = "move it away" if strange else "save masks as PNG"
        raise DataError(f"{(strange or jpegs)[0]}: {what}; {remedy}")
    found = {
        "PNG masks": masks,
        "YOLO polygons": texts,
        "COCO json": coco,
        "labelme json": labelme,
        "CVAT XML": cvat,
    }
    kinds = [kind for kind, paths in found.items() if paths]
    if len(kinds) > 1:
        raise DataError(f"{root}: holds {' and '.join(kinds)}; keep one kind of labels")
    if not kinds:
        return None, {}
    find = class_finder(classes)
    if masks:
        _check_known({p.stem: p for p in masks}, files)
        return kinds[0], {p.stem: _png_masks(p, sizes[p.stem], classes) for p in masks}
    read: list[tuple[str, formats.ImageLabels]] = []
    if texts:
        names = formats.read_yolo_names([root, *{p.parent for p in texts}])
        if names is None:
            raise DataError(
                f"{texts[0].parent}: YOLO labels number their classes; put a classes.txt there, "
                "with one name a line, in the order of the numbers"
            )
        read += formats.read_yolo(texts, names[1]).items()
    for path, content in coco:
        read += formats.read_coco(path, content).items()
    for path, content in labelme:
        stem, labels = formats.read_labelme(path, content)
        read.append((stem if stem in files else path.stem, labels))
    for path in cvat:
        read += formats.read_cvat(path).items()
    twice = [stem for stem, n in Counter(stem for stem, _ in read).items() if n > 1]
    if twice:
        raise DataError(f"{root}: {twice[0]} has labels in two places; keep one")
    by_stem = dict(read)
    _check_known({s: labels.source for s, labels in by_stem.items()}, files)
    return kinds[0], {
        stem: _painted(by_stem[stem], sizes[stem], find) for stem in files if stem in by_stem
    }


def _is_yolo(path: Path, files: dict[str, Path]) -> bool:
    """Any text file in a label folder; elsewhere one that an image has the name of."""
    if path.name == "classes.txt":
        return False
    return path.parent.name in LABEL_FOLDERS or path.stem in files


def _is_jpeg(path: Path) -> bool:
    return path.suffix.casefold() in (".jpg", ".jpeg")


def _check_known(sources: dict[str, Path], files: dict[str, Path]) -> None:
    for stem, source in sources.items():
        if stem not in files:
            raise MissingFile(f"{source}: labels an image {stem!r} that is not there; add it")


def _painted(labels: formats.ImageLabels, size: tuple[int, int], find: Callable):
    return lambda: formats.paint(labels, size, find)


def _png_masks(path: Path, size: tuple[int, int], classes: Sequence[ScrapClass]):
    """A PNG has no objects: each connected part of one class is taken for one."""

    def masks() -> tuple[np.ndarray, np.ndarray]:
        label = formats.read_png(path, size, classes)
        return label, connected(label, background=0, connectivity=2)

    return masks
