"""Where labels lie in a folder as people and tools have it; where images do is in `listing`.

Images may lie in subfolders; where one is called `images`, as in tools' exports, only what lies in
such ones counts. Labels are masks of the images' names in a folder called so (`masks`,
`labels`, `ground_truth`, ...) or beside the images as `a_mask.png`; YOLO polygons with a
`classes.txt` or `data.yaml`; labelme json; one or more COCO json files; or CVAT for images XML.
What a label file does not mention has no label; what it mentions without objects is labelled as
free of impurities.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from skimage.measure import label as connected

from scrapseg.data import base, listing
from scrapseg.data import labels as formats
from scrapseg.data.classes import IGNORED, ScrapClass, class_finder
from scrapseg.data.errors import DataError, LabelFileError, MissingFile, check_sizes, several
from scrapseg.data.labels import ImageLabels, Notes
from scrapseg.data.listing import IMAGE_ENDINGS, LABEL_FOLDER, OTHER_ENDINGS, SUFFIX
from scrapseg.data.masks import read_coding, read_table

#: Pictures that hold a mask's values as they were.
MASK_ENDINGS = {".png", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".pnm"}
#: Files in which some tools keep labels and which are not understood.
UNREAD_ENDINGS = {".csv", ".jsonl", ".ndjson", ".npy", ".npz", ".mat", ".pkl", ".tfrecord", ".h5"}
#: Masks of single objects, and pictures of masks to look at.
OBJECT_FOLDER = re.compile("segmentationobject.*|.*visuali[sz]ation")
_LABEL_WORD = re.compile("label|annot|mask|via_", re.IGNORECASE)
#: Text files that lie beside YOLO labels and are none.
_NO_YOLO = re.compile(r"(classes|class_names|labels?|labelmap|notes|readme.*|licen[cs]e)\.txt")
#: Kinds of labels, as messages name them.
MASKS, YOLO, COCO = "PNG masks", "YOLO polygons", "COCO json"
LABELME, CVAT = "labelme json", "CVAT XML"
#: Label and instances (H, W) of an image.
Masks = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class LabelFile:
    """A file that may hold labels.

    Attributes:
        path: of it. kind: of its labels, None where it is none known here.
        image: id of the image that it is named after, if it is.
        content: what a json file holds.
    """

    path: Path
    kind: str | None
    image: str | None
    content: Any = None


def _folders(root: Path, found: Sequence[LabelFile]) -> list[Path]:
    """The folder, and all between it and some files."""
    above = (p for f in found for p in reversed(f.path.parents) if p.is_relative_to(root))
    return list(dict.fromkeys([root, *above]))


def read_labels(
    root: Path, kind: str, found: list[LabelFile], notes: Notes
) -> list[tuple[str, ImageLabels | Path]]:
    """Pairs of the name that labels give their image and labels; a mask stands by its path."""
    if kind == YOLO:
        names = formats.read_yolo_names(_folders(root, found))
        if names is None:
            raise LabelFileError(
                f"{found[0].path.parent}: YOLO labels number their classes; put a classes.txt "
                "there, with one name a line, in the order of the numbers"
            )
        return [(f.image or f.path.name, formats.read_yolo(f.path, names)) for f in found]
    if kind == COCO:
        return [pair for f in found for pair in formats.read_coco(f.path, f.content, notes)]
    if kind == CVAT:
        return [pair for f in found for pair in formats.read_cvat(f.path, notes)]
    if kind == LABELME:
        read = [(f.image, *formats.read_labelme(f.path, f.content, notes)) for f in found]
        return [(image or said, labels) for image, said, labels in read]
    return [(f.image or f.path.name, f.path) for f in found]


def find_labels(
    root: Path,
    paths: Sequence[Path],
    files: dict[str, Path],
    sizes: dict[str, tuple[int, int]],
    classes: Sequence[ScrapClass],
    notes: Notes,
) -> tuple[str | None, dict[str, Callable[..., Masks]]]:
    """The kinds of labels in a folder, and for each labelled id what makes its masks.

    Args:
        files: of all images. sizes: (H, W) of those that can be read; labels of others are left
            out.

    Raises:
        DataError: two labels of an image, labels of none, or a file that cannot be understood.
    """
    find_image = image_finder(files)
    found: dict[str | None, list[LabelFile]] = defaultdict(list)
    for f in label_files(root, paths, files, find_image, notes):
        found[f.kind].append(f)
    unread = [str(f.path) for f in found.pop(None, ())]
    if not found and unread:
        raise LabelFileError(
            f"{unread[0]}: neither COCO nor labelme nor CVAT for images; export it as one of them, "
            "or move it away"
        )
    notes["files of no kind known here, passed over"] += unread
    by_id: dict[str, ImageLabels | Path] = {}
    missing, twice = [], []
    for name, labels in chain(*(read_labels(root, *of, notes) for of in found.items())):
        source, id = _source(labels), find_image(name, _source(labels))
        if id is None:
            missing.append(f"{source}: labels an image {name!r} that is not there")
        elif id in by_id:
            twice.append(f"{source}: {id} has labels in two places, {_source(by_id[id])} too")
        else:
            by_id[id] = labels
    if twice:
        raise DataError(f"{several(twice)}; keep one")
    if missing and not by_id:
        raise MissingFile(f"{missing[0]}; renamed? The mask of a.jpg is a.png or a_mask.png")
    notes["labels of images that are not there, left out"] += missing
    left = [f"{_source(by_id.pop(id))}: of {id}" for id in sorted(by_id.keys() - sizes.keys())]
    notes["labels of images that cannot be read, left out"] += left
    if not by_id:
        return None, {}
    find = class_finder(classes)
    shapes = (s for v in by_id.values() if isinstance(v, ImageLabels) for s in v.shapes)
    formats.find_all(find, {k: (s.name, s.where) for k, s in enumerate(shapes)})
    paints = dict.fromkeys(by_id, partial(formats.paint, find=find))
    turns = {id: base.photo_turn(files[id]) for id in by_id}
    if masks := {id: path for id, path in by_id.items() if isinstance(path, Path)}:
        measured = {}
        for id, path in masks.items():  # before a pixel is decoded
            size = base.image_size(path, base.ANEW)
            of_sensor = turns[id] >= 5 and size == sizes[id][::-1]
            measured[f"{path}: is"] = size, size if of_sensor else sizes[id]
        check_sizes(measured, "save masks at their images' size")
        table = read_table(_folders(root, found[MASKS]))
        coding = read_coding([*masks.values()], classes, table, notes)
        paints |= dict.fromkeys(masks, partial(_read_mask, coding))
    painted = {i: partial(_painted, paints[i], by_id[i], sizes[i], turns[i]) for i in by_id}
    return " and ".join(found), {id: painted[id] for id in files if id in painted}


def _source(labels: ImageLabels | Path) -> Path:
    return labels.source if isinstance(labels, ImageLabels) else labels


def _read_mask(
    read: Callable[[Path], np.ndarray], path: Path, _: tuple[int, int], notes: Notes | None = None
) -> Masks:
    """A mask image has no objects: each connected part of one class is taken for one."""
    label = read(path)
    if notes is not None and (label == IGNORED).any():
        notes["masks with pixels that are ignored, by 255 or as void"].append(str(path))
    return label, connected(np.where(label == IGNORED, 0, label), background=0, connectivity=2)


def _painted(
    paint: Callable[..., Masks],
    labels: ImageLabels | Path,
    size: tuple[int, int],
    turn: int,
    notes: Notes | None = None,
) -> Masks:
    """Labels of an image, turned with it where they are of the size of its sensor."""
    made = labels.size if isinstance(labels, ImageLabels) else base.image_size(labels, base.ANEW)
    if turn >= 5 and made == size[::-1] != size:
        return tuple(base.turned(m, turn) for m in paint(labels, made, notes=notes))
    if notes is not None and turn > 1 and (turn < 5 or not made or made[0] == made[1]):
        what = "turned by EXIF, labels taken as drawn on what is shown"
        notes[what].append(str(_source(labels)))
    return paint(labels, size, notes=notes)


def image_finder(files: dict[str, Path]) -> Callable[[str, Any], str | None]:
    """A function that finds the id of the image that labels name, or None.

    Tools write paths, addresses, other endings and suffixes (`a.jpg.png`, `a_mask.png`), systems
    other letter case and other forms of one letter; the nearest to what is written wins. It takes
    the name and a place for messages, and raises `DataError` where two images fit.
    """

    def plain(stem: str) -> str:
        return unicodedata.normalize("NFC", stem).casefold()

    by_plain: dict[str, list[str]] = defaultdict(list)
    for id in files:
        by_plain[plain(id)].append(id)

    def find(name: str, where: Any) -> str | None:
        name = str(name).replace("\\", "/")
        asked = re.split(r"[?&]d=", name)[-1]
        names = [name, unquote(asked), unquote(name.partition("?")[0])]
        stems = [name, *(Path(n).stem for n in names)]
        stems += [Path(s).stem for s in stems if Path(s).suffix.casefold() in IMAGE_ENDINGS]
        stems += [SUFFIX.sub("", s) for s in stems]
        stems += [Path(s).stem for s in stems if Path(s).suffix.casefold() in IMAGE_ENDINGS]
        stems += [re.sub("^[0-9a-f]{8}-", "", s) for s in stems]  # of Label Studio's uploads
        for stem in stems:
            if stem in files:
                return stem
        for stem in stems:
            if len(ids := by_plain.get(plain(stem), [])) > 1:
                raise DataError(f"{where}: {name!r} may be {' or '.join(ids)}; rename one")
            if ids:
                return ids[0]
        return None

    return find


def _is_proposal(content: Any) -> bool:
    """Whether it is a model's proposal (`app.proposals`) that nobody has checked: no label."""
    said = [content.get(key) for key in ("flags", "info")] if isinstance(content, dict) else ()
    return any(isinstance(part, dict) and part.get("checked") is False for part in said)


def label_files(
    root: Path,
    paths: Sequence[Path],
    files: dict[str, Path],
    find_image: Callable[[str, Any], str | None],
    notes: Notes,
) -> list[LabelFile]:
    """All files that may hold labels, wherever they lie.

    Raises:
        LabelFileError: a mask that was saved with losses, or json that cannot be read.
    """
    taken, stems, found = set(files.values()), set(files), []
    for path in (p for p in paths if p not in taken and p.name != "_classes.csv"):
        ending, kind, content = path.suffix.casefold(), None, None
        in_labels = listing.within(path, root, LABEL_FOLDER)
        beside = listing.is_mask_of(path.stem, stems)
        image = find_image(path.name, path)
        if ending in IMAGE_ENDINGS | OTHER_ENDINGS:
            if listing.within(path, root, OBJECT_FOLDER):
                notes["pictures of single objects, passed over"].append(str(path))
            if not (in_labels or beside) or listing.within(path, root, OBJECT_FOLDER):
                continue
            if ending not in MASK_ENDINGS:
                raise LabelFileError(
                    f"{path}: a mask as JPEG or the like, which blurs classes; save masks as PNG"
                )
            kind = MASKS
        elif ending == ".txt":
            # Any in a label folder; elsewhere one that an image has the name of.
            if _NO_YOLO.fullmatch(path.name.casefold()) or not (in_labels or image):
                continue
            kind = YOLO
        elif ending == ".json":
            content = formats.read_json(path)
            if _is_proposal(content):
                notes["files of proposals that nobody has checked, left out"].append(str(path))
                continue
            keys = set(content) if isinstance(content, dict) else ()
            kind = COCO if "annotations" in keys else LABELME if "shapes" in keys else None
        elif ending == ".xml":
            kind = CVAT if formats.xml_root(path) == "annotations" else None
        elif ending not in UNREAD_ENDINGS or not (in_labels or _LABEL_WORD.search(path.name)):
            continue
        found.append(LabelFile(path, kind, image, content))
    return found
