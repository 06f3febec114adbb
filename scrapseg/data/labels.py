"""Label files of other tools: COCO json, YOLO polygons, labelme json, CVAT for images, PNG masks.

Each reader turns its files into `ImageLabels`: per image a list of shapes with the class names
that the tool wrote. `paint` makes label and instance images of them. Coordinates are in pixels with
the image's corner at (0, 0), so that a box from 2 to 5 covers the pixels 2, 3 and 4, as in COCO;
polygons are drawn by pycocotools whatever they come from. A file that cannot be understood raises
`LabelFileError`, one line with file, place and remedy.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from scrapseg.data.base import open_image
from scrapseg.data.classes import ScrapClass
from scrapseg.data.errors import LabelFileError, SizeMismatch, UnknownLabel

#: Polygons may leave the image by this share of its sides; tools round, and mice slip.
MARGIN = 0.02
#: What PyYAML and Pillow raise on broken files beside Python's usual errors.
_OF_LIBRARIES = (yaml.YAMLError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Shape:
    """One labelled object.

    Attributes:
        name: the class as the file names it.
        where: file and place, for messages.
        rings: polygons (N, 2) of x, y in pixels; the shape is all of them together.
        mask: bool (H, W) of the whole image instead of rings.
        relative: the rings are in shares of the image's sides.
    """

    name: str
    where: str
    rings: tuple[np.ndarray, ...] = ()
    mask: np.ndarray | None = None
    relative: bool = False


@dataclass
class ImageLabels:
    """All shapes of one image, and the size (height, width) that the file says it has."""

    source: Path
    shapes: list[Shape] = field(default_factory=list)
    size: tuple[int, int] | None = None


@contextlib.contextmanager
def _understood(where: str | Path, fault: str, remedy: str = "export it anew") -> Iterator[None]:
    """What a broken file makes Python raise becomes one line."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OSError, *_OF_LIBRARIES) as error:
        raise LabelFileError(f"{where}: {fault} ({error!r}); {remedy}") from None


def _check_size(
    what: str, size: Sequence[int], image_size: Sequence[int], remedy: str = "export it anew"
) -> None:
    """`SizeMismatch` where a label of `size` (H, W) is not as large as its image."""
    if tuple(size) != tuple(image_size):
        raise SizeMismatch(
            f"{what} {size[1]} x {size[0]} pixels, its image {image_size[1]} x {image_size[0]}; "
            f"{remedy}"
        )


def stem_of(name: str) -> str:
    """`a` of `folder/a.jpg`, whichever way the slashes lean."""
    return Path(str(name).replace("\\", "/")).stem


def _text(path: Path) -> str:
    with _understood(path, "cannot be read as text", "save it as UTF-8"):
        return path.read_text(encoding="utf-8-sig")


def read_json(path: Path) -> dict[str, Any]:
    """A json file that is an object; `LabelFileError` when it is not."""
    text = _text(path)
    with _understood(path, "not JSON"):
        content = json.loads(text)
    if not isinstance(content, dict):
        raise LabelFileError(f"{path}: neither COCO nor labelme; export it as one of them")
    return content


# --- shapes -----------------------------------------------------------------------------------


def ring(values: Sequence, where: str) -> np.ndarray:
    """Numbers x1 y1 x2 y2 ... as a polygon (N, 2), checked."""
    with _understood(where, "a coordinate is no number"):
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


def _placed(part: np.ndarray, left: float, top: float, size: tuple[int, int], where: str):
    """A mask of a window in an empty mask of the image."""
    whole = np.zeros(size, bool)
    left, top = round(left), round(top)
    bottom, right = top + part.shape[0], left + part.shape[1]
    if left < 0 or top < 0 or bottom > size[0] or right > size[1]:
        raise LabelFileError(f"{where}: the mask leaves the image; export it anew")
    whole[top:bottom, left:right] = part
    return whole


# --- COCO -------------------------------------------------------------------------------------


def read_coco(path: Path, content: dict[str, Any]) -> list[tuple[str, ImageLabels]]:
    """COCO instances: polygons, or run lengths, compressed or not. Every listed image is labelled.
    Pairs of stem and labels: one name may be listed twice, from two folders.

    Raises:
        LabelFileError: a key is missing, or an annotation has no mask or no image.
    """
    with _understood(path, "not COCO instances"):
        names = {c["id"]: c["name"] for c in content["categories"]}
        stems = {i["id"]: stem_of(i["file_name"]) for i in content["images"]}
        sizes = {i["id"]: (int(i["height"]), int(i["width"])) for i in content["images"]}
        rows = [(a["id"], a["image_id"], a["category_id"], a) for a in content["annotations"]]
    found = {k: ImageLabels(path, [], size) for k, size in sizes.items()}
    for number, image, category, annotation in rows:
        where = f"{path}, annotation {number}"
        if image not in found or category not in names:
            raise LabelFileError(
                f"{where}: image {image} or category {category} is not listed; export it anew"
            )
        segmentation = annotation.get("segmentation")
        if segmentation == [] and annotation.get("area") == 0:
            continue  # made and never drawn
        if not segmentation:
            raise LabelFileError(f"{where}: has a box but no mask; export instance segmentation")
        if isinstance(segmentation, list):
            shape = Shape(names[category], where, tuple(ring(v, where) for v in segmentation))
        else:
            mask = _from_rle(segmentation, sizes[image], where)
            shape = Shape(names[category], where, mask=mask)
        found[image].shapes.append(shape)
    return [(stems[k], labels) for k, labels in found.items()]


def _from_rle(rle: dict, size: tuple[int, int], where: str) -> np.ndarray:
    with _understood(where, "broken run lengths"):
        _check_size(f"{where}: its mask is", rle["size"], size)
        if isinstance(rle["counts"], list):
            if sum(rle["counts"]) != math.prod(size):
                raise ValueError("the runs do not fill the image")
            rle = coco_mask.frPyObjects(rle, *size)
        return coco_mask.decode(rle).astype(bool)


# --- YOLO -------------------------------------------------------------------------------------


def read_yolo_names(folders: Sequence[Path]) -> list[str] | None:
    """Class names by number from `classes.txt`, or `names` of `data.yaml`; None without either."""
    for folder in folders:
        path = folder / "classes.txt"
        if path.is_file():
            return [line.strip() for line in _text(path).splitlines() if line.strip()]
        for path in (folder / "data.yaml", folder / "dataset.yaml"):
            if path.is_file():
                with _understood(path, "has no list of names", "name the classes there"):
                    names = yaml.load(_text(path), yaml.BaseLoader)["names"]
                    if isinstance(names, dict):
                        names = [names[str(k)] for k in range(len(names))]
                    return list(names)
    return None


def read_yolo(path: Path, names: Sequence[str]) -> ImageLabels:
    """YOLO polygons, `class x1 y1 x2 y2 ...` with coordinates as shares; an empty file is an
    image without objects.

    Raises:
        LabelFileError: a line is no polygon, or its class number has no name.
    """
    labels = ImageLabels(path)
    for number, line in enumerate(_text(path).splitlines(), start=1):
        where, parts = f"{path}, line {number}", line.split()
        if not parts:
            continue
        if len(parts) == 5:
            raise LabelFileError(f"{where}: is a box, not a polygon; export segmentation labels")
        if not parts[0].isdigit() or int(parts[0]) >= len(names):
            raise LabelFileError(
                f"{where}: class {parts[0]!r} is no number from 0 to {len(names) - 1}, the classes "
                f"{', '.join(names)}; add its name to the list, or mend the line"
            )
        rings = (ring(parts[1:], where),)
        labels.shapes.append(Shape(names[int(parts[0])], where, rings, relative=True))
    return labels


# --- labelme ----------------------------------------------------------------------------------


def read_labelme(path: Path, content: dict[str, Any]) -> tuple[str, ImageLabels]:
    """labelme json of one image: polygons, rectangles, circles and masks. Returns stem and labels.

    Raises:
        LabelFileError: a shape has no area, such as a line, or cannot be read.
    """
    with _understood(path, "not a labelme file", "save it anew"):
        size = (int(content["imageHeight"]), int(content["imageWidth"]))
        stem = stem_of(content.get("imagePath") or path.name)
        shapes: dict[Any, Shape] = {}
        for number, raw in enumerate(content["shapes"], start=1):
            shape = _labelme_shape(raw, size, f"{path}, shape {number}")
            group = (raw.get("group_id"), shape.name)  # parts of one object share it
            key = number if group[0] is None or shape.mask is not None else group
            before = shapes[key].rings if key in shapes else ()
            shapes[key] = replace(shape, rings=before + shape.rings)
    return stem, ImageLabels(path, list(shapes.values()), size)


def _labelme_shape(shape: dict, size: tuple[int, int], where: str) -> Shape:
    kind, name, points = shape.get("shape_type") or "polygon", shape["label"], shape["points"]
    flat = [float(v) for point in points for v in point]
    if kind == "polygon":
        return Shape(name, where, (ring(flat, where),))
    if kind == "rectangle":
        xs, ys = flat[::2], flat[1::2]
        return Shape(name, where, (box_ring(min(xs), min(ys), max(xs), max(ys)),))
    if kind == "circle":
        (cx, cy), (x, y) = points
        radius = math.hypot(x - cx, y - cy)
        return Shape(name, where, (ellipse_ring(cx, cy, radius, radius),))
    if kind == "mask":
        with _understood(where, "broken mask", "save it anew"):
            part = np.array(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))) > 0
        return Shape(name, where, mask=_placed(part, flat[0], flat[1], size, where))
    raise LabelFileError(f"{where}: a {kind} covers no area; draw a polygon")


# --- CVAT -------------------------------------------------------------------------------------


def read_cvat(path: Path) -> list[tuple[str, ImageLabels]]:
    """The XML of "CVAT for images": polygons, boxes, ellipses, masks. Listed images are labelled.
    Pairs of stem and labels, as of `read_coco`.

    Raises:
        LabelFileError: not such a file (a video's has tracks), or a shape that has no area.
    """
    with _understood(path, "not XML"):  # a ParseError is a SyntaxError
        root = ElementTree.parse(path).getroot()
    if root.tag != "annotations" or root.find("track") is not None or root.find("image") is None:
        raise LabelFileError(f"{path}: lists no images; export as 'CVAT for images 1.1'")
    found = []
    for image in root.iter("image"):
        where = f"{path}, image {image.get('name')!r}"
        with _understood(where, "cannot be read"):
            size = (int(image.attrib["height"]), int(image.attrib["width"]))
            drawn = [s for s in image if s.tag not in ("tag", "attribute")]
            drawn.sort(key=lambda s: int(s.get("z_order", 0)))
            shapes = [_cvat_shape(s, size, f"{where}, {s.tag}") for s in drawn]
            found.append((stem_of(image.attrib["name"]), ImageLabels(path, shapes, size)))
    return found


def _cvat_shape(shape: ElementTree.Element, size: tuple[int, int], where: str) -> Shape:
    value, name = shape.attrib, shape.attrib["label"]

    def numbers(*keys: str) -> list[float]:
        return [float(value[k]) for k in keys]

    if shape.tag == "polygon":
        return Shape(name, where, (ring(value["points"].replace(";", ",").split(","), where),))
    if shape.tag in ("box", "ellipse"):
        box = shape.tag == "box"
        keys = ("xtl", "ytl", "xbr", "ybr") if box else ("cx", "cy", "rx", "ry")
        points = (box_ring if box else ellipse_ring)(*numbers(*keys))
        return Shape(name, where, (turned(points, float(value.get("rotation", 0))),))
    if shape.tag == "mask":
        runs = [int(v) for v in value["rle"].split(",")]  # row by row, the first run is empty
        part = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        part = part.reshape(int(value["height"]), int(value["width"]))
        return Shape(name, where, mask=_placed(part, *numbers("left", "top"), size, where))
    raise LabelFileError(f"{where}: a {shape.tag} covers no area; draw a polygon")


# --- painting ---------------------------------------------------------------------------------


def paint(
    labels: ImageLabels,
    size: tuple[int, int],
    find: Callable[[str, str], int],
    *,
    nested: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Label uint8 and instances int32, each (H, W), of an image of `size` (H, W).

    Later shapes lie on earlier ones, except that one which would vanish within a larger one stays
    on top; shapes of the normal class hide nothing. Numbers are places in the list, with gaps.

    Args:
        find: from `classes.class_finder`.
        nested: smaller polygons lie on larger ones instead, whatever their order, and those of the
            normal class cut holes.

    Raises:
        SizeMismatch: the file was made for another image size.
        LabelFileError: a polygon leaves the image. UnknownLabel: a class has another name.
    """
    if labels.size:
        made = f"{labels.source}: made for an image of"
        _check_size(made, labels.size, size, "label the image as it is")
    label, instances = np.zeros(size, np.uint8), np.zeros(size, np.int32)
    shapes = [(k, find(s.name, s.where), s) for k, s in enumerate(labels.shapes, start=1)]
    if nested:
        shapes.sort(key=lambda row: -_area(row[2].rings))
    for number, index, shape in shapes:
        if index or nested:
            mask = _mask(shape, size)
            label[mask], instances[mask] = index, number if index else 0
    if nested:
        return label, instances
    for number, index, shape in shapes:
        left = np.bincount(instances.ravel())
        if index and (number >= len(left) or not left[number]):
            mask = _mask(shape, size)
            over = np.bincount(instances[mask], minlength=len(left))
            if (left > over)[over > 0].all():  # and what lies over it does not vanish in its place
                label[mask], instances[mask] = index, number
    return label, instances


def _area(rings: Sequence[np.ndarray]) -> float:
    """Area of polygons (N, 2) by the shoelace formula."""
    return sum(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2 for x, y in (r.T for r in rings))


def _mask(shape: Shape, size: tuple[int, int]) -> np.ndarray:
    """A shape as a bool mask (H, W); its polygons may leave the image by `MARGIN` only."""
    if shape.mask is not None:
        return shape.mask
    extent = np.array(size[::-1], float)
    rings = [r * extent if shape.relative else r for r in shape.rings]
    if max(max(-(r / extent).min(), (r / extent).max() - 1) for r in rings) > MARGIN:
        raise LabelFileError(
            f"{shape.where}: the polygon leaves the image; are these labels of an image of "
            "another size, or coordinates of another unit?"
        )
    return polygon_mask(rings, size)


def polygon_mask(rings: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Union of polygons (N, 2) of x, y as a bool mask (H, W)."""
    extent = np.array(size[::-1], float)
    flat = [np.clip(r, 0, extent).ravel().tolist() for r in rings]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, *size))).astype(bool)


# --- PNG --------------------------------------------------------------------------------------


def read_png(path: Path, size: tuple[int, int], classes: Sequence[ScrapClass]) -> np.ndarray:
    """A mask image as class indices uint8 (H, W).

    Palette and grey images hold the indices themselves; of two classes, a mask of 0 and 255 is
    also understood. Colour images must be in the classes' colours; black is then normal too. So is
    what is transparent. A palette of the classes' colours counts by them, whatever its order.

    Raises:
        BrokenImage, SizeMismatch, UnknownLabel: naming the file.
    """
    with open_image(path, "save the mask anew") as opened:
        coloured = opened.mode == "P" and _by_colour(opened, classes)
        values = np.array(opened.convert("RGB") if coloured else opened)
        if opened.mode in ("RGBA", "LA"):
            values[values[..., -1] < 128] = 0
            values = values[..., :3] if opened.mode == "RGBA" else values[..., 0]
    _check_size(f"{path}: is", values.shape[:2], size, "save the mask at the image's size")
    if values.ndim == 3:
        return _from_colours(path, values, classes)
    values = values.astype(np.int64)
    present = np.unique(values)
    if len(classes) == 2 and set(present.tolist()) <= {0, 255}:
        return (values > 0).astype(np.uint8)
    if present[-1] >= len(classes):
        wrong = [int(v) for v in present if v >= len(classes)]
        raise UnknownLabel(
            f"{path}: values {wrong[:8]} are outside 0..{len(classes) - 1}, the classes "
            f"{', '.join(c.slug for c in classes)}; a pixel's value is its class's place there"
        )
    return values.astype(np.uint8)


def _by_colour(opened: Image.Image, classes: Sequence[ScrapClass]) -> bool:
    """Whether the colours that a palette image uses are all of classes, or black."""
    palette = np.array(opened.getpalette("RGB"), int).reshape(-1, 3)
    used = np.unique(np.array(opened))
    colours = {tuple(palette[k]) if k < len(palette) else None for k in used.tolist()}
    known = {c.colour for c in classes}
    return bool(colours & known) and colours <= known | {(0, 0, 0)} and len(colours) == len(used)


def _from_colours(path: Path, values: np.ndarray, classes: Sequence[ScrapClass]) -> np.ndarray:
    code = values.astype(np.int64) @ [65536, 256, 1]
    label = np.full(code.shape, -1, np.int64)
    label[code == 0] = 0
    for c in reversed(classes):
        label[code == np.array(c.colour) @ [65536, 256, 1]] = c.index
    if (label < 0).any():
        red, green, blue = values[label < 0][0]
        raise UnknownLabel(
            f"{path}: colour #{red:02x}{green:02x}{blue:02x} is no class's; save a palette or grey "
            "PNG of class numbers (and not a JPEG, which blurs colours)"
        )
    return label.astype(np.uint8)
