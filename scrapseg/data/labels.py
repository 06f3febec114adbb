"""Label files of other tools: COCO json, YOLO polygons, labelme json, CVAT for images.

Each reader turns its files into `ImageLabels`: per image a list of shapes with the class names
that the tool wrote. `paint` makes label and instance images of them; what does not fit the image is
cut at its border. Coordinates are in pixels with the image's corner at (0, 0), so that a box from 2
to 5 covers the pixels 2, 3 and 4, as in COCO; polygons are drawn by pycocotools whatever they come
from. A file that cannot be understood raises `LabelFileError`, one line with file, place and
remedy; what is left out on purpose is noted. Masks stay packed until they are painted.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from scrapseg.data.classes import IGNORED
from scrapseg.data.errors import LabelFileError, UnknownLabel, check_sizes
from scrapseg.files import OneLine, small_text

#: Polygons may leave the image by this share of its sides, where nothing says its size; tools
#: round, and mice slip. Further out, they are of another image or in another unit.
MARGIN = 0.1
#: And by this share where the file says the image's size.
MARGIN_OF_KNOWN_SIZE = 1.0
#: What Python and libraries raise on broken files.
_OF_PYTHON = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, OSError)
_OF_LIBRARIES = (yaml.YAMLError, SyntaxError, Image.DecompressionBombError, RecursionError)

#: Note on shapes that are not painted.
OF_NORMAL = "shapes of the normal class, which mark nothing"

#: Function from the size (H, W) of an image to a shape's mask, bool (H, W).
MaskMaker = Callable[[tuple[int, int]], np.ndarray]


@dataclass(frozen=True)
class Shape:
    """One labelled object.

    Attributes:
        name: the class as the file names it.
        where: file and place, for messages.
        rings: polygons (N, 2) of x, y in pixels.
        masks: what makes masks; the shape is all of rings and masks together.
        relative: the rings are in shares of the image's sides.
    """

    name: str
    where: str
    rings: tuple[np.ndarray, ...] = ()
    masks: tuple[MaskMaker, ...] = ()
    relative: bool = False


@dataclass
class ImageLabels:
    """All shapes of one image, and the size (height, width) that the file says it has."""

    source: Path
    shapes: list[Shape] = field(default_factory=list)
    size: tuple[int, int] | None = None


class Notes(defaultdict[str, list[str]]):
    """What was left out or changed on purpose: places by what was done there."""

    def __init__(self) -> None:
        super().__init__(list)

    def lines(self) -> list[str]:
        """One line for each kind."""
        lines = (f"{kind}: {len(at)}, such as {at[0]}" for kind, at in self.items() if at)
        return [str(OneLine(line)) for line in lines]


@contextlib.contextmanager
def understood(where: str | Path, fault: str, remedy: str = "export it anew") -> Iterator[None]:
    """What a broken file makes Python raise becomes one line."""
    try:
        yield
    except (*_OF_PYTHON, *_OF_LIBRARIES) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error) or repr(error)
        raise LabelFileError(f"{where}: {fault} ({' '.join(said.split())}); {remedy}") from None


def find_all(find: Callable[[str, str], int], named: Mapping[Any, tuple[str, str]]) -> dict:
    """Class index of each name with the place where it stands; the keys may be anything.

    Args:
        find: from `classes.class_finder`.

    Raises:
        UnknownLabel: all names of no class, in one line, and the place of the first.
    """
    found, unknown = {}, {}
    for key, (name, where) in named.items():
        try:
            found[key] = find(name, where)
        except UnknownLabel as error:
            unknown.setdefault(name, str(error))
    if unknown:
        told = [*unknown.values()][:1] + [repr(name) for name in unknown][1:]
        raise UnknownLabel(", and ".join(told))
    return found


def read_text(path: Path) -> str:
    """Text of a label file; `LabelFileError` when it is none."""
    with understood(path, "cannot be read as text", "save it as UTF-8"):
        return path.read_text(encoding="utf-8-sig")


def read_json(path: Path) -> Any:
    """What a json file holds; `LabelFileError` when it is none."""
    text = read_text(path)
    with understood(path, "not JSON"):
        return json.loads(text)


def xml_root(path: Path) -> str:
    """The name of an XML file's outermost element; `LabelFileError` when it is none."""
    with understood(path, "not XML"):  # a ParseError is a SyntaxError
        return next(ElementTree.iterparse(path, ("start",)))[1].tag


def _size(height: Any, width: Any) -> tuple[int, int] | None:
    """A size, or None where a file leaves it out or writes nought."""
    return (int(height), int(width)) if height and width else None


# --- shapes -----------------------------------------------------------------------------------


def ring(values: Sequence, where: str) -> np.ndarray:
    """Numbers x1 y1 x2 y2 ... as a polygon (N, 2), checked."""
    with understood(where, "a coordinate is no number"):
        points = np.array([float(v) for v in values])
    if len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
        raise LabelFileError(
            f"{where}: {len(points)} coordinates make no polygon; it needs x and y of at least "
            "three points, all of them finite"
        )
    return points.reshape(-1, 2)


def box_ring(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """A box as a polygon (4, 2)."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def ellipse_ring(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    """An ellipse as a polygon (64, 2)."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return np.stack([cx + rx * np.cos(angle), cy + ry * np.sin(angle)], 1)


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """A polygon turned clockwise, as an image shows it, about its centre."""
    a, centre = math.radians(degrees), (points.min(0) + points.max(0)) / 2
    turn = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    return (points - centre) @ turn + centre


def _filled(runs: Sequence[Any], shape: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Run lengths, the first one empty, as a bool mask of `shape`, row by row.

    Raises:
        ValueError: they do not fill it, or it is far larger than an image of `size`.
    """
    runs = [int(n) for n in runs]
    if min(runs, default=0) < 0 or not sum(runs) == math.prod(shape) <= 4 * math.prod(size):
        raise ValueError("they do not fill the mask, or it is far larger than the image")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)


def _placed(part: np.ndarray, corner: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """A mask of a window with its upper left `corner` (x, y), cut to an image of `size`."""
    left, top = (round(v) for v in corner)
    part = part[max(0, -top) : max(0, size[0] - top), max(0, -left) : max(0, size[1] - left)]
    whole, (top, left) = np.zeros(size, bool), (max(0, top), max(0, left))
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return whole


# --- COCO -------------------------------------------------------------------------------------


def read_coco(
    path: Path, content: dict[str, Any], notes: Notes | None = None
) -> list[tuple[str, ImageLabels]]:
    """COCO instances: polygons, or run lengths, compressed or not. Every listed image is labelled.
    Pairs of file name and labels: one name may be listed twice, from two folders.

    Raises:
        LabelFileError: a key is missing, or an annotation has no mask or no image.
    """
    notes = Notes() if notes is None else notes
    with understood(path, "not COCO instances"):
        names = {str(c["id"]): str(c["name"]) for c in content["categories"]}
        images = {str(i["id"]): (str(i["file_name"]), i) for i in content["images"]}
        found = {
            k: (name, ImageLabels(path, [], _size(i.get("height"), i.get("width"))))
            for k, (name, i) in images.items()
        }
        if len(names) < len(content["categories"]) or len(images) < len(content["images"]):
            raise ValueError("two categories or images share one id")
        rows = [
            (f"{path}, annotation {a.get('id', number)}", str(a["image_id"]), a)
            for number, a in enumerate(content["annotations"], start=1)
        ]
    for where, image, a in rows:
        category, drawn = str(a.get("category_id")), a.get("segmentation")
        if image not in found or category not in names:
            raise LabelFileError(
                f"{where}: image {image} or category {category} is not listed; export it anew"
            )
        with understood(where, "its box cannot be read"):
            box = [float(v) for v in a.get("bbox") or []]
            if not drawn and not any(box[2:]) and (box or a.get("area") == 0):
                continue  # made and never drawn
        if not drawn:
            raise LabelFileError(f"{where}: has a box but no mask; export instance segmentation")
        shape = Shape(names[category], where)
        if isinstance(drawn, Mapping):
            shape = replace(shape, masks=(partial(_from_rle, drawn, where),))
        else:
            with understood(where, "its polygon cannot be read"):
                whole = [r for r in drawn if len(r) not in (0, 2, 4)]
            if whole and len(whole) < len(drawn):
                notes["polygons of one or two points in objects of more, left out"].append(where)
            shape = replace(shape, rings=tuple(ring(r, where) for r in whole or drawn))
        found[image][1].shapes.append(shape)
    return list(found.values())


def _from_rle(rle: Mapping, where: str, size: tuple[int, int]) -> np.ndarray:
    with understood(where, "broken run lengths"):
        counts, (height, width) = rle["counts"], rle["size"]
        check_sizes({f"{where}: its mask is": ((height, width), size)})
        runs = counts if isinstance(counts, list) else _unpacked(counts)
        return _filled(runs, size[::-1], size).T  # column by column


def _unpacked(counts: str) -> list[int]:
    """Run lengths of COCO's text: groups of five bits, from the third on differences to the run
    before the last. (pycocotools reads beyond the end of what is cut short.)"""
    runs, value, shift = [], 0, 0
    for letter in counts:
        if shift > 60:
            raise ValueError("a number of them has no end")
        bits = ord(letter) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


# --- YOLO -------------------------------------------------------------------------------------


def read_lines(path: Path) -> list[str]:
    """Class names by number, one a line; `LabelFileError` where a blank line shifts them."""
    names = [line.strip() for line in read_text(path).rstrip().splitlines()]
    if "" in names:
        raise LabelFileError(
            f"{path}, line {names.index('') + 1}: is blank, and classes count by lines; take it out"
            " if it counts for none, or write a name"
        )
    return names


def read_yolo_names(folders: Sequence[Path]) -> list[str] | None:
    """Class names by number from `classes.txt`, `obj.names`, or `names` of a `data.yaml`; blank
    where a number has none. None without any.

    Raises:
        LabelFileError: a list cannot be read, or two differ.
    """
    listed: dict[Path, list[str]] = {}
    for path in (p for folder in folders for p in sorted(folder.iterdir()) if p.is_file()):
        name = path.name.casefold()
        if name in ("classes.txt", "obj.names"):
            listed[path] = read_lines(path)
        elif name.endswith((".yaml", ".yml")) and not name.startswith("classes."):
            with understood(path, "has no list of names", "name the classes there"):
                content = yaml.load(small_text(path), yaml.BaseLoader)
                names = content.get("names") if isinstance(content, dict) else None
                if isinstance(names, dict):
                    by_number = {int(k): n for k, n in names.items()}
                    names = [by_number.get(k, "") for k in range(min(max(by_number), 9999) + 1)]
                if names:  # a TypeError where one is no text
                    listed[path] = ["".join((n,)) for n in names]
    first = next(iter(listed), None)
    if other := [path for path, names in listed.items() if names != listed[first]]:
        raise LabelFileError(f"{other[0]}: lists other classes than {first}; keep the right one")
    return listed.get(first)


def read_yolo(path: Path, names: Sequence[str]) -> ImageLabels:
    """YOLO polygons, `class x1 y1 x2 y2 ...` with coordinates as shares; an empty file is an
    image without objects.

    Raises:
        LabelFileError: a line is no polygon, or its class number has no name.
    """
    labels = ImageLabels(path)
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        where, parts = f"{path}, line {number}", line.split()
        if not parts:
            continue
        if len(parts) == 5:
            raise LabelFileError(f"{where}: is a box, not a polygon; export segmentation labels")
        index = parts[0]
        known = index.isdecimal() and len(index) < 9 and int(index) < len(names)
        if not known or not names[int(index)]:
            raise LabelFileError(
                f"{where}: class {parts[0]!r} is no number from 0 to {len(names) - 1}, the classes "
                f"{', '.join(filter(None, names))}; add its name to the list, or mend the line"
            )
        rings = (ring(parts[1:], where),)
        labels.shapes.append(Shape(names[int(index)], where, rings, relative=True))
    return labels


# --- labelme ----------------------------------------------------------------------------------


def read_labelme(
    path: Path, content: dict[str, Any], notes: Notes | None = None
) -> tuple[str, ImageLabels]:
    """labelme json of one image, X-AnyLabeling's too: polygons, rectangles, turned ones, circles
    and masks. Returns the image's name, as the file says it, and labels.

    Raises:
        LabelFileError: a shape has no area, such as a line, or cannot be read.
    """
    notes = Notes() if notes is None else notes
    with understood(path, "not a labelme file", "save it anew"):
        size = _size(content.get("imageHeight"), content.get("imageWidth"))
        shapes: dict[Any, Shape] = {}
        for number, raw in enumerate(content["shapes"], start=1):
            where = f"{path}, shape {number}"
            if raw.get("shape_type") in ("point", "points"):
                notes["points, which cover no area, left out"].append(where)
                continue
            shape = _labelme_shape(raw, where)
            group = (raw.get("group_id"), shape.name)  # parts of one object share it
            key = number if group[0] is None else group
            if before := shapes.get(key):
                rings, masks = before.rings + shape.rings, before.masks + shape.masks
                shape = replace(shape, rings=rings, masks=masks)
            shapes[key] = shape
    return str(content.get("imagePath") or path.name), ImageLabels(path, [*shapes.values()], size)


def _labelme_shape(shape: dict, where: str) -> Shape:
    kind, name = shape.get("shape_type") or "polygon", str(shape["label"])
    with understood(where, "its points cannot be read", "draw it anew"):
        flat = [float(v) for point in shape["points"] for v in point]
        xs, ys = flat[::2], flat[1::2]
        if kind in ("polygon", "rotation", "quadrilateral", "oriented_rectangle"):
            return Shape(name, where, (ring(flat, where),))
        if kind == "rectangle":
            flat = box_ring(min(xs), min(ys), max(xs), max(ys)).ravel()
            return Shape(name, where, (ring(flat, where),))
        if kind == "circle":
            (cx, x), (cy, y) = xs, ys
            radius = math.hypot(x - cx, y - cy)
            return Shape(name, where, (ring(ellipse_ring(cx, cy, radius, radius).ravel(), where),))
        if kind == "mask":
            return Shape(name, where, masks=(partial(_from_png, shape["mask"], flat[:2], where),))
    raise LabelFileError(f"{where}: a {kind} covers no area; draw a polygon")


def _from_png(text: str, corner: Sequence[float], where: str, size: tuple[int, int]) -> np.ndarray:
    with understood(where, "broken mask", "save it anew"):
        part = Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"])
        if math.prod(part.size) > 4 * math.prod(size):
            raise ValueError("it is far larger than the image")
        return _placed(np.array(part.convert("L")) > 0, corner, size)


# --- CVAT -------------------------------------------------------------------------------------


def read_cvat(path: Path, notes: Notes | None = None) -> list[tuple[str, ImageLabels]]:
    """The XML of "CVAT for images": polygons, boxes, ellipses, masks. Listed images are labelled.
    Pairs of file name and labels, as of `read_coco`.

    Raises:
        LabelFileError: not such a file (a video's has tracks), or a shape that has no area.
    """
    notes = Notes() if notes is None else notes
    with understood(path, "not XML"):
        root = ElementTree.parse(path).getroot()
    if root.tag != "annotations" or root.find("track") is not None or root.find("image") is None:
        raise LabelFileError(f"{path}: lists no images; export as 'CVAT for images 1.1'")
    found = []
    for image in root.iter("image"):
        where = f"{path}, image {image.get('name')!r}"
        with understood(where, "cannot be read"):
            size = (int(image.attrib["height"]), int(image.attrib["width"]))
            drawn = [s for s in image if s.tag not in ("tag", "attribute", "points")]
            notes["points, which cover no area, left out"] += [where] * len(image.findall("points"))
            drawn.sort(key=lambda s: int(s.get("z_order", 0)))
            shapes = [_cvat_shape(s, f"{where}, {s.tag}") for s in drawn]
            found.append((image.attrib["name"], ImageLabels(path, shapes, size)))
    return found


def _cvat_shape(shape: ElementTree.Element, where: str) -> Shape:
    value, name = shape.attrib, shape.attrib["label"]
    if shape.tag == "polygon":
        return Shape(name, where, (ring(value["points"].replace(";", ",").split(","), where),))
    if shape.tag in ("box", "ellipse"):
        box = shape.tag == "box"
        keys = ("xtl", "ytl", "xbr", "ybr") if box else ("cx", "cy", "rx", "ry")
        points = (box_ring if box else ellipse_ring)(*(float(value[k]) for k in keys))
        points = turned(points, float(value.get("rotation", 0)))
        return Shape(name, where, (ring(points.ravel(), where),))
    if shape.tag == "mask":
        return Shape(name, where, masks=(partial(_from_window, value, where),))
    raise LabelFileError(f"{where}: a {shape.tag} covers no area; draw a polygon")


def _from_window(value: Mapping, where: str, size: tuple[int, int]) -> np.ndarray:
    with understood(where, "broken mask"):
        height, width, left, top = (float(value[k]) for k in ("height", "width", "left", "top"))
        part = _filled(value["rle"].split(","), (int(height), int(width)), size)
        return _placed(part, (left, top), size)


# --- painting ---------------------------------------------------------------------------------


def paint(
    labels: ImageLabels,
    size: tuple[int, int],
    find: Callable[[str, str], int],
    *,
    nested: bool = False,
    notes: Notes | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Label uint8 and instances int32, each (H, W), of an image of `size` (H, W).

    Later shapes lie on earlier ones, except that one which would vanish within a larger one stays
    on top; shapes of the normal class hide nothing. Numbers are places in the list, with gaps.
    Where a shape is to be ignored the label is `IGNORED`, and there is no instance.

    Args:
        find: from `classes.class_finder`.
        nested: smaller polygons lie on larger ones instead, whatever their order, and those of the
            normal class cut holes.
        notes: takes what does not show as it was drawn.

    Raises:
        SizeMismatch: the file was made for another image size.
        LabelFileError: a shape is far out of the image. UnknownLabel: a class has another name.
    """
    notes = Notes() if notes is None else notes
    if labels.size:
        made = f"{labels.source}: made for an image of"
        check_sizes({made: (labels.size, size)}, "label the image as it is")
    label, instances = np.zeros(size, np.uint8), np.zeros(size, np.int32)
    shapes = [(k, find(s.name, s.where), s) for k, s in enumerate(labels.shapes, start=1)]
    if nested:
        shapes.sort(key=lambda row: -_area(row[2].rings))
    margin = MARGIN_OF_KNOWN_SIZE if labels.size else MARGIN
    for number, index, shape in shapes:
        if index or nested:
            box, mask = _mask(shape, size, margin)
            label[box][mask] = index
            instances[box][mask] = number if index not in (0, IGNORED) else 0
            if index == IGNORED:
                notes["shapes that mark what is to be ignored"].append(shape.where)
        else:
            notes[OF_NORMAL].append(shape.where)
    if nested:
        return label, instances
    left = np.bincount(instances.ravel(), minlength=len(shapes) + 1)
    for number, index, shape in shapes:
        if left[number] or index in (0, IGNORED):
            continue
        box, mask = _mask(shape, size, margin)
        over = np.bincount(instances[box][mask], minlength=len(left))
        if not mask.any():
            notes["shapes that cover no pixel of the image"].append(shape.where)
        elif (left > over)[over > 0].all():  # what lies over it does not vanish in its place
            label[box][mask], instances[box][mask] = index, number
            left -= over
            left[number] = mask.sum()
            notes["objects covered by later ones, laid on top of them"].append(shape.where)
        else:
            notes["objects hidden by later ones, left out"].append(shape.where)
    return label, instances


def _area(rings: Sequence[np.ndarray]) -> float:
    """Area of polygons (N, 2) by the shoelace formula."""
    return sum(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2 for x, y in (r.T for r in rings))


def _mask(
    shape: Shape, size: tuple[int, int], margin: float
) -> tuple[tuple[slice, slice], np.ndarray]:
    """The box of an image that holds a shape, and the shape's mask in it."""
    extent = np.array(size[::-1], float)
    rings = [r * extent if shape.relative else r for r in shape.rings]
    points = np.concatenate([*rings, np.empty((0, 2))])
    if (points < -margin * extent).any() or (points > (1 + margin) * extent).any():
        raise LabelFileError(
            f"{shape.where}: the polygon leaves the image; are these labels of an image of "
            "another size, or coordinates of another unit?"
        )
    # pycocotools keeps forty bytes of each pixel that a side crosses, and crashes at memory's end.
    if sum(np.abs(np.diff(r, axis=0)).max(1).sum() for r in rings) > 5e6:
        raise LabelFileError(f"{shape.where}: the polygon is longer than any outline; draw it anew")
    if shape.masks:
        drawn = [polygon_mask(rings, size)] if rings else []
        return np.s_[:, :], np.logical_or.reduce([make(size) for make in shape.masks] + drawn)
    if not shape.relative and points.min() >= 0 and points.max() <= 1 < min(size) / 8:
        raise LabelFileError(
            f"{shape.where}: covers one pixel; are its coordinates shares of the image's sides? "
            "They are read in pixels"
        )
    x0, y0 = np.clip(np.floor(points.min(0)) - 1, 0, extent - 1).astype(int)
    x1, y1 = np.clip(np.ceil(points.max(0)) + 2, (x0 + 1, y0 + 1), extent).astype(int)
    return np.s_[y0:y1, x0:x1], polygon_mask([r - (x0, y0) for r in rings], (y1 - y0, x1 - x0))


def polygon_mask(rings: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Union of polygons (N, 2) of x, y as a bool mask (H, W); what lies outside is cut off."""
    flat, (height, width) = [r.ravel().tolist() for r in rings], map(int, size)
    drawn = coco_mask.merge(coco_mask.frPyObjects(flat, height, width))
    return coco_mask.decode(drawn).astype(bool)
