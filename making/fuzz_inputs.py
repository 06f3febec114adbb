"""What `making.fuzz` feeds the readers: a valid input of each kind, ways to break it, and bombs."""

from __future__ import annotations

import base64
import copy
import functools
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from safetensors.torch import save as to_safetensors

from scrapseg.data.base import Sample
from scrapseg.data.classes import CLASSES, as_yaml, read_classes
from scrapseg.data.errors import DataError
from scrapseg.data.folder import open_folder
from scrapseg.experiments import leaderboard, records
from scrapseg.files import ResultsError
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.segmenter import SegmenterError, load
from scrapseg.models.towers import encoder_from_spec

W, H = 48, 40
EVIL = "<img src=x onerror=alert(1)>"
Draw = Callable[[st.SearchStrategy], Any]


@dataclass(frozen=True)
class Reader:
    """A reader and what is tried on it.

    Attributes:
        write: writes a broken input into an empty folder, as `draw` decides.
        read: reads a folder as a user's is read. named: the exceptions that it may raise.
        bombs: each writes one input that is meant to exhaust memory or time.
    """

    name: str
    write: Callable[[Path, Draw], None]
    read: Callable[[Path], None]
    named: tuple[type[Exception], ...]
    bombs: tuple[Callable[[Path], None], ...] = ()

    def valid(self, folder: Path) -> None:
        """Write the input as it is before it is broken."""
        folder.mkdir()
        self.write(folder, None)


# --- ways to break things ---------------------------------------------------------------------

#: Stand in a tree for what no json writer can write.
DEEP, HUGE = "@deep@", "@huge@"
STRINGS = (
    "",
    "..",
    "../../x",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    "\u202e\x1b[2J",
    EVIL,
    "a\nb",
    "1e400",
)
STRINGS += ("x" * 100_000, "9" * 5000, "-1", "٣", "nan", "steel", "cable", "a.png", DEEP, HUGE)
NUMBERS = (
    -1,
    0,
    1,
    2,
    255,
    65535,
    10**12,
    -(10**12),
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    0.5,
)
ODD = st.one_of(
    st.sampled_from([None, True, False, [], {}, [[]], [None], [[0, 0]], {"a": 1}]),
    st.sampled_from(NUMBERS),
    st.sampled_from(STRINGS),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
)


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Containers and keys of all that is in a tree of lists and dicts."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from places(tree[key])


def edited(tree: Any, draw: Draw | None) -> Any:
    """A copy of a tree with up to three things dropped, doubled, swapped, renamed or made odd."""
    tree = {"": copy.deepcopy(tree)}
    for _ in range(draw(st.integers(0, 3)) if draw else 0):
        all_places = list(places(tree))
        holder, key = draw(st.sampled_from(all_places))
        way = draw(st.sampled_from(["odd", "odd", "drop", "twice", "swap", "rename"]))
        if way == "drop" and holder is not tree:
            del holder[key]
        elif way == "twice" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif way == "swap":
            other, place = draw(st.sampled_from(all_places))
            mine, theirs = copy.deepcopy(holder[key]), copy.deepcopy(other[place])
            holder[key], other[place] = theirs, mine
        elif way == "rename" and isinstance(holder, dict) and holder is not tree:
            holder[str(draw(ODD))] = holder.pop(key)
        else:
            holder[key] = copy.deepcopy(draw(ODD))
    return tree[""]


def as_json(tree: Any) -> bytes:
    """Json of a tree, in which `DEEP` and `HUGE` become what they stand for."""
    text = json.dumps(tree)
    text = text.replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000).replace(f'"{HUGE}"', "9" * 5000)
    return text.encode()


def damaged(content: bytes, draw: Draw | None) -> bytes:
    """As it is in two of three cases; else with bytes changed, or cut short, or with more of it."""
    way = draw(st.sampled_from(["none"] * 6 + ["flip", "cut", "insert"])) if draw else "none"
    if way == "none" or not content:
        return content
    at = draw(st.integers(0, len(content) - 1))
    if way == "cut":
        return content[:at]
    if way == "insert":
        return content[:at] + draw(st.binary(max_size=8)) + content[at:]
    out = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        out[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(out)


# --- folders of images and labels -------------------------------------------------------------


def encoded(pixels: np.ndarray, kind: str = "png", **options: Any) -> bytes:
    """An image file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


PHOTO = np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)
PNG = encoded(PHOTO)
LIST = b'steel:\ncable: {words: [cable, cable wire], colour: "#e69f00"}\nmotor: {}\n'


def images(folder: Path) -> None:
    """Two photographs and a class list, to which labels are added."""
    for name in "ab":
        (folder / f"{name}.png").write_bytes(PNG)
    (folder / "classes.yaml").write_bytes(LIST)


def read_folder(folder: Path) -> None:
    """Open a folder as `make apply` does, and read each image with its labels."""
    opened = open_folder(folder)
    str(opened).encode()
    for sample in opened.images():
        sample.image.sum(), sample.label.sum(), sample.instances.sum()


PACKED = coco_mask.encode(np.asfortranarray(np.eye(H, W, dtype=np.uint8)))["counts"].decode()
POLYGON = [4, 4, 20, 4, 20, 20, 4, 20]
COCO = {
    "info": {"description": "x"},
    "images": [
        {"id": k, "file_name": f"{name}.png", "height": H, "width": W}
        for k, name in enumerate("ab")
    ],
    "categories": [{"id": 1, "name": "cable"}, {"id": 2, "name": "motor"}],
    "annotations": [
        {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [POLYGON], "iscrowd": 0,
         "bbox": [4, 4, 16, 16], "area": 256},
        {"id": 2, "image_id": 0, "category_id": 2, "iscrowd": 1,
         "segmentation": {"size": [H, W], "counts": [100, 30, H * W - 130]}},
        {"id": 3, "image_id": 1, "category_id": 2,
         "segmentation": {"size": [H, W], "counts": PACKED}},
    ],
}  # fmt: skip
STUDIO_NAMES = ("../../label-studio/data/media/upload/1/0a1b2c3d-a.png",
                "/data/local-files/?d=plant%2Fb.png")  # fmt: skip
TASK = {
    "id": 1,
    "data": {"image": "/data/upload/1/0a1b2c3d-a.png"},
    "annotations": [{"result": [{"type": "polygonlabels", "original_width": W, "original_height": H,
                                 "value": {"points": [[1, 1], [40, 1], [40, 40]],
                                           "polygonlabels": ["cable"]}}]}],
}  # fmt: skip
LABELME = {
    "version": "5.4.1", "flags": {}, "imagePath": "a.png", "imageData": None,
    "imageHeight": H, "imageWidth": W,
    "shapes": [
        {"label": "cable", "shape_type": "polygon", "group_id": None,
         "points": [[4, 4], [20, 4], [20, 20]]},
        {"label": "motor", "shape_type": "rectangle", "group_id": 1, "points": [[1, 1], [9, 9]]},
        {"label": "motor", "shape_type": "circle", "group_id": 1, "points": [[20, 20], [25, 20]]},
        {"label": "cable", "shape_type": "mask", "points": [[2, 2], [11, 11]],
         "mask": base64.b64encode(encoded(np.full((10, 10), 255, np.uint8))).decode()},
        {"label": "cable", "shape_type": "point", "points": [[3, 3]]},
    ],
}  # fmt: skip
SHAPES = [
    ["polygon", {"label": "cable", "points": "4,4;20,4;20,20", "z_order": "0"}, []],
    ["box", {"label": "motor", "xtl": "1", "ytl": "1", "xbr": "9", "ybr": "9",
             "rotation": "5"}, []],
    ["ellipse", {"label": "motor", "cx": "20", "cy": "20", "rx": "5", "ry": "4"}, []],
    ["mask", {"label": "cable", "rle": "10, 80, 10", "left": "3", "top": "3", "width": "10",
              "height": "10"}, []],
    ["points", {"label": "cable", "points": "3,3"}, []],
]  # fmt: skip
CVAT = ["annotations", {}, [
    ["version", {}, []],
    ["image", {"id": "0", "name": "a.png", "width": str(W), "height": str(H)}, SHAPES],
    ["image", {"id": "1", "name": "b.png", "width": str(W), "height": str(H)}, []],
]]  # fmt: skip
LOL = '<!DOCTYPE l [<!ENTITY a "lol">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
OUTSIDE = '<!DOCTYPE l [<!ENTITY j SYSTEM "file:///etc/passwd">'


def as_xml(node: Any) -> str:
    """XML of [tag, attributes, children]; what is none of these is written as it comes."""
    if not (isinstance(node, list) and len(node) == 3 and isinstance(node[1], dict)):
        return str(node)
    tag, attributes, children = node
    inside = "".join(map(as_xml, children)) if isinstance(children, list) else str(children)
    given = "".join(f" {k}={quoteattr(str(v))}" for k, v in attributes.items())
    return f"<{tag}{given}>{inside}</{tag}>"


def write_coco(folder: Path, draw: Draw | None) -> None:
    """COCO instances."""
    images(folder)
    (folder / "annotations.json").write_bytes(damaged(as_json(edited(COCO, draw)), draw))


def write_studio(folder: Path, draw: Draw | None) -> None:
    """Label Studio's COCO export, whose names are addresses; sometimes its own json, which is no
    kind that is read."""
    images(folder)
    content: Any = copy.deepcopy(COCO)
    for image, name in zip(content["images"], STUDIO_NAMES, strict=True):
        image["file_name"] = name
    if draw and draw(st.integers(0, 4)) == 0:
        content = [TASK]
    elif draw:
        content["images"][0]["file_name"] = draw(
            st.sampled_from(STUDIO_NAMES + STRINGS) | st.text("ab./\\%?&=d2Fgnp-0", max_size=30)
        )
    (folder / "result.json").write_bytes(damaged(as_json(edited(content, draw)), draw))


def write_labelme(folder: Path, draw: Draw | None) -> None:
    """labelme json beside its image."""
    images(folder)
    (folder / "a.json").write_bytes(damaged(as_json(edited(LABELME, draw)), draw))


def write_cvat(folder: Path, draw: Draw | None) -> None:
    """CVAT for images, sometimes with entities."""
    images(folder)
    text = as_xml(edited(CVAT, draw))
    if draw and draw(st.integers(0, 9)) == 0:
        text = draw(st.sampled_from([LOL, OUTSIDE])) + "]>" + text.replace("a.png", "&j;")
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-16", "latin-1"])) if draw else "utf-8"
    content = f"<?xml version='1.0'?>{text}".encode(encoding, "backslashreplace")
    (folder / "annotations.xml").write_bytes(damaged(content, draw))


def write_yolo(folder: Path, draw: Draw | None) -> None:
    """YOLO polygons with a classes.txt or a data.yaml."""
    images(folder)
    (folder / "labels").mkdir()
    lines = [[0, 0.1, 0.1, 0.5, 0.1, 0.5, 0.5], [1, 0.6, 0.6, 0.9, 0.6, 0.9, 0.9, 0.7, 0.9]]
    lines = [line if isinstance(line, list) else [line] for line in aslist(edited(lines, draw))]
    text = "\n".join(" ".join(map(str, line)) for line in lines)
    content = damaged(text.encode(errors="surrogatepass"), draw)
    (folder / "labels/a.txt").write_bytes(content)
    if draw and draw(st.booleans()):
        tree = {"names": draw(st.sampled_from([["cable", "motor"], {"0": "cable", "1": "motor"}]))}
        (folder / "data.yaml").write_bytes(damaged(as_yaml_text(edited(tree, draw), draw), draw))
    else:
        names = "\n".join(map(str, aslist(edited(["cable", "motor"], draw))))
        names = damaged(names.encode(errors="surrogatepass"), draw)
        (folder / "labels/classes.txt").write_bytes(names)


def aslist(tree: Any) -> list:
    """A tree as a list, whatever it has become."""
    return tree if isinstance(tree, list) else [tree]


#: What YAML can do that json cannot: objects, references to itself, references that double.
BILLION = "a0: &a0 [lol, lol]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12)
)
YAML_TRICKS = ("x: !!python/object/apply:os.system ['touch pwned']\n", "x: &x [*x]\n", "<<: *y\n",
               "? [1, 2]\n: 3\n", "x: !!binary /w==\n", "--- a\n--- b\n", "&x x: *x\n",
               "%YAML 9.9\n", "x: " + "[" * 400 + "\n", BILLION + "cable: {name: *a11}\n",
               BILLION + "names: [*a11, *a11]\n", BILLION + "origin: *a11\n")  # fmt: skip


def as_yaml_text(tree: Any, draw: Draw | None) -> bytes:
    """A dict as YAML, a line each, sometimes with a line that is a trick."""
    if not isinstance(tree, dict):
        return as_json(tree)
    lines = [f"{json.dumps(k)}: ".encode() + as_json(v) + b"\n" for k, v in tree.items()]
    lines = [line[:1500] for line in lines]  # YAML is slow
    if draw and draw(st.integers(0, 9)) == 5:
        at = draw(st.integers(0, len(lines)))
        lines.insert(at, draw(st.sampled_from(YAML_TRICKS)).encode())
    return b"".join(lines)


CLASS_LIST = {
    "steel": {"words": ["steel scrap", "rusty steel"]},
    "copper": {"words": "bare copper wire", "colour": "#e69f00", "kind": "tramp", "why": "it is"},
    "battery": {"name": "car battery", "color": [213, 94, 0]},
    "wood": {},
}


def write_classes(folder: Path, draw: Draw | None) -> None:
    """A class list."""
    text = as_yaml_text(edited(CLASS_LIST, draw), draw)
    (folder / "classes.yaml").write_bytes(damaged(text, draw))


def read_list(folder: Path) -> None:
    """Read a class list, and what is read once more as it is written beside a model."""
    classes = read_classes(folder / "classes.yaml")
    json.dumps([asdict(c) for c in classes]).encode()
    for c in classes:
        " ".join((c.slug, c.name, *c.words, c.why)).encode()
    hash(tuple(classes))


# --- pictures ---------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, data: bytes, *more: bytes) -> bytes:
    """A PNG file of any header, whether or not the data fit it."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [
        chunk(b"IHDR", head),
        *more,
        chunk(b"IDAT", zlib.compress(data, 9)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


MODES = ("1", "L", "P", "LA", "RGB", "RGBA", "I", "I;16", "F", "CMYK", "PA", "YCbCr")
KINDS = ("PNG", "TIFF", "BMP", "PPM")


def write_masks(folder: Path, draw: Draw | None) -> None:
    """Masks of any mode and size, PNGs of any header, tables of classes beside them."""
    images(folder)
    (folder / "masks").mkdir()
    label = np.zeros((H, W), np.uint8)
    label[5:20, 5:20] = 1
    content = encoded(label)
    if draw and draw(st.booleans()):
        label[:] = draw(st.sampled_from([0, 1, 2, 3, 255])) if draw(st.booleans()) else label
        size = draw(st.sampled_from([(W, H)] * 4 + [(H, W), (1, 1), (W + 1, H), (4000, 1)]))
        image = Image.fromarray(label).resize(size, 0)
        with_palette = draw(st.booleans())
        if with_palette:
            image.putpalette(draw(st.lists(st.integers(0, 255), max_size=12)) or [0, 0, 0])
        kind, buffer = draw(st.sampled_from(KINDS)), io.BytesIO()
        try:
            if (mode := draw(st.sampled_from(MODES))) != "P":
                image = image.convert(mode)
            image.save(buffer, kind)
        except (ValueError, OSError):  # not every file holds every mode
            image, kind = image.convert("RGB"), "PNG"
            image.save(buffer := io.BytesIO(), kind)
        content = damaged(buffer.getvalue(), draw)
        ending = {"PNG": "png", "TIFF": "tif", "BMP": "bmp", "PPM": "ppm"}[kind]
    elif draw:
        width, height = (draw(st.sampled_from([n, n, n, 0, 1, 10**5, 2**31 - 1])) for n in (W, H))
        depth, colour = draw(st.sampled_from([1, 2, 4, 8, 16, 3])), draw(st.integers(0, 6))
        kinds = st.sampled_from([b"PLTE", b"tRNS", b"zTXt", b"eXIf", b"acTL", b"gAMA"])
        more = [
            chunk(draw(kinds), draw(st.binary(max_size=12))) for _ in range(draw(st.integers(0, 2)))
        ]
        content, ending = png(width, height, depth, colour, bytes(W * H * 4), *more), "png"
    else:
        ending = "png"
    (folder / f"masks/a.{ending}").write_bytes(content)
    if draw and draw(st.integers(0, 3)) == 0:
        name, tree = draw(st.sampled_from([
            ("labelmap.txt", ["# label:color_rgb", "cable:230,159,0::", "motor:1,1,1::"]),
            ("_classes.csv", ["Pixel Value, Class", "0, steel", "1, cable", "2, motor"]),
            ("classes.txt", ["steel", "cable", "motor"]),
        ]))  # fmt: skip
        text = "\n".join(map(str, aslist(edited(tree, draw)))).encode(errors="surrogatepass")
        (folder / "masks" / name).write_bytes(damaged(text, draw))


def _photos() -> dict[str, bytes]:
    """One picture in each format that is read, and in some that are not, by ending."""
    exif = Image.Exif()
    exif[274] = 6
    found = {k: encoded(PHOTO, v) for k, v in (("png", "PNG"), ("bmp", "BMP"), ("webp", "WEBP"))}
    found |= {"jpg": encoded(PHOTO, "JPEG", exif=exif), "jp2": encoded(PHOTO, "JPEG2000")}
    found |= {"tif": encoded(PHOTO, "TIFF", compression="tiff_lzw"), "ppm": encoded(PHOTO, "PPM")}
    found |= {
        "tiff": encoded(PHOTO[..., 0].astype(np.uint16) * 9, "TIFF"),
        "jpe": encoded(PHOTO, "GIF"),
    }
    found["png2"] = encoded(PHOTO[..., 0].astype(np.uint16) * 9, "PNG", exif=exif)
    return found


PHOTOS = _photos()
#: PostScript under another ending: Pillow would have Ghostscript run it.
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"


def write_photos(folder: Path, draw: Draw | None) -> None:
    """A photograph with damage, under its own ending or another's."""
    ending = draw(st.sampled_from(sorted(PHOTOS))) if draw else "png"
    content = damaged(damaged(PHOTOS[ending], draw), draw)
    if draw and draw(st.integers(0, 19)) == 0:
        content = POSTSCRIPT
    if draw and draw(st.integers(0, 9)) == 0:
        ending = draw(st.sampled_from(sorted(PHOTOS)))
    (folder / f"a.{ending.removesuffix('2') if ending == 'png2' else ending}").write_bytes(content)


# --- models, results --------------------------------------------------------------------------

VISION = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}
SPEC = {"model": "tiny", "embed_dim": 16, "vision_cfg": VISION, "quick_gelu": False,
        "image_size": None, "mean": [0.5] * 3, "std": [0.5] * 3, "temperature": 0.07,
        "indices": [0], "value_stages": 0}  # fmt: skip
PROMISES = {"objects": {"scenes": 30, "thresholds": {0.1: 0.3}}}
CARD = {"classes": as_yaml(CLASSES[:3]), "threshold": 0.5, "side": 64, "origin": "a test",
        "mirrored": False, "promises": PROMISES}  # fmt: skip


@functools.cache
def tiny_model() -> tuple[dict, dict, bytes]:
    """A model of a narrow ViT: its config, its file's header, and the numbers after it."""
    torch.manual_seed(0)
    model = ScrapSeg(encoder_from_spec(copy.deepcopy(SPEC)), torch.eye(3, 16))
    content = to_safetensors({k: v.contiguous() for k, v in model.state_dict().items()})
    (length,) = struct.unpack("<Q", content[:8])
    config = json.loads(json.dumps(model.config))
    return config, json.loads(content[8 : 8 + length]), content[8 + length :]


def write_model(folder: Path, draw: Draw | None) -> None:
    """A saved model: weights, config and card, one or two of them broken."""
    config, header, numbers = tiny_model()
    which = draw(st.sampled_from(["config", "card", "weights", "weights and card"])) if draw else ""
    for name, tree in (("json", config), ("yaml", CARD)):
        broken = (name == "json" and which == "config") or (name == "yaml" and "card" in which)
        of = draw if broken else None
        content = (
            as_json(edited(tree, of)) if name == "json" else as_yaml_text(edited(tree, of), of)
        )
        (folder / f"model.{name}").write_bytes(damaged(content, of))
    of = draw if "weights" in which else None
    head = as_json(edited(header, of))
    length = draw(st.sampled_from([len(head)] * 9 + [0, 2**40, 2**63])) if of else len(head)
    content = struct.pack("<Q", length) + head + damaged(numbers, of)
    (folder / "model.safetensors").write_bytes(damaged(content, of))


def read_model(folder: Path) -> None:
    """Load a model and predict with it."""
    model = load(folder)
    with np.errstate(all="ignore"):
        model.predict(PHOTO)
    model.origin.encode()


RECORD = {"method": "unet", "family": "supervised", "backbone": "pocket", "dataset": "scrapsim",
          "split": "test", "shots": "all", "seed": 0, "metrics": {"ap": 0.5, "iou/cable": None},
          "config": {"steps": 4, "data": {"images": [2, 2]}},
          "provenance": {"commit": "0"}}  # fmt: skip


def write_records(folder: Path, draw: Draw | None) -> None:
    """Two run records, and a table of metrics."""
    (folder / "runs").mkdir()
    for name, of in (("unet_scrapsim_allshots_s0", draw), ("unet_scrapsim_allshots_s1", None)):
        content = damaged(as_json(edited(RECORD, of)), of)
        (folder / f"runs/{name}.json").write_bytes(content)
    rows = [
        records.COLUMNS,
        ["unet", "supervised", "pocket", "scrapsim", "all", "0", "ap", ".5", "u"],
    ]
    rows = [[str(v) for v in aslist(row)] for row in aslist(edited(rows, draw))]
    text = "\n".join(",".join(row) for row in rows).encode(errors="surrogatepass")
    (folder / "metrics.csv").write_bytes(damaged(text, draw))


def read_records(folder: Path) -> None:
    """Join the records as `collect` does, and read the table; either may be refused."""
    try:
        records.joined(folder).encode()
    finally:
        records.read_metrics(folder)


BOARD = tuple(f"{k:04d}_0" for k in range(3))
TRUTH = np.zeros((3, 16, 16), np.uint8)
TRUTH[:, 4:12, 4:12] = 1
ENTRY = {
    "ids": np.array(BOARD), "edges": np.linspace(0, 1, 128, dtype=np.float32),
    "levels": np.arange(48, dtype=np.uint8).reshape(3, 4, 4), "threshold": np.float64(0.5),
    "labels": TRUTH,
}  # fmt: skip


def odd_array(value: np.ndarray, draw: Draw) -> np.ndarray:
    """Another type, another shape or other numbers."""
    way = draw(st.sampled_from(["type", "shape", "fill", "slice", "empty", "odd"]))
    if way == "type":
        kinds = ["f8", "f2", "i8", "u8", "bool", "U3", "S3", "O", "c16", "M8[s]", "i4,f4"]
        with np.errstate(all="ignore"):
            try:
                return value.astype(draw(st.sampled_from(kinds)))
            except (ValueError, TypeError):
                return np.array(None)
    if way == "shape":
        return value.reshape(-1) if draw(st.booleans()) else value[None]
    if way == "fill" and value.dtype.kind in "fiu":
        with np.errstate(all="ignore"):
            return np.full_like(value, draw(st.sampled_from([0, 1, 200, 255, np.nan])))
    if way == "slice" and value.ndim:
        return value[: draw(st.integers(0, len(value)))]
    return (
        value[:0] if way == "empty" and value.ndim else np.array(draw(st.sampled_from(NUMBERS[:6])))
    )


def write_board(folder: Path, draw: Draw | None) -> None:
    """A leaderboard of ours and another method, whose file is broken."""
    entry = dict(ENTRY)
    for _ in range(draw(st.integers(0, 2)) if draw else 0):
        key = draw(st.sampled_from([*ENTRY, "more"]))
        way = draw(st.sampled_from(["drop", "odd", "odd"]))
        entry[key] = odd_array(ENTRY.get(key, TRUTH), draw)
        if way == "drop":
            del entry[key]
    buffer = io.BytesIO()
    (np.savez_compressed if draw and draw(st.booleans()) else np.savez)(buffer, **entry)
    (folder / "other.npz").write_bytes(damaged(buffer.getvalue(), draw))
    np.savez(folder / "scrapseg.npz", **ENTRY)


def read_board(folder: Path) -> None:
    """Score a folder of entries against a test split of three images."""
    meta = {i: {"view": 0} for i in BOARD}
    truth = {i: Sample(i, PHOTO, TRUTH[k], TRUTH[k], k, {}) for k, i in enumerate(BOARD)}
    leaderboard.board(folder, SimpleNamespace(ids=list(BOARD), meta=meta, sample=truth.get))


# --- bombs ------------------------------------------------------------------------------------


def a_json(name: str, text: str) -> Callable[[Path], None]:
    """Images with a json file of some text."""

    def write(folder: Path) -> None:
        images(folder)
        (folder / name).write_text(text)

    return write


def a_polygon(points: int) -> Callable[[Path], None]:
    """A polygon that runs to and fro over a large image; pycocotools keeps each step of it."""
    drawn = [[(0, 1999)[k % 2], k % 1999] for k in range(points)]
    shape = {"label": "cable", "shape_type": "polygon", "points": drawn}

    def write(folder: Path) -> None:
        (folder / "classes.yaml").write_bytes(LIST)
        (folder / "a.png").write_bytes(encoded(np.zeros((2000, 2000), np.uint8)))
        (folder / "a.json").write_text(json.dumps({"imagePath": "a.png", "shapes": [shape]}))

    return write


def a_mask(width: int, height: int) -> Callable[[Path], None]:
    """A mask of some kilobytes that claims to be of this size, and is."""

    def write(folder: Path) -> None:
        images(folder)
        (folder / "masks").mkdir()
        content = png(width, height, 8, 2, bytes(min(width * height * 3, 10**8)))
        (folder / "masks/a.png").write_bytes(content)

    return write


def rle(**segmentation: Any) -> Callable[[Path], None]:
    """COCO run lengths."""
    content = copy.deepcopy(COCO)
    content["annotations"][1]["segmentation"] |= segmentation
    return a_json("annotations.json", json.dumps(content))


def links(folder: Path) -> None:
    """Folders that lead back to where they lie, so that paths have no end."""
    images(folder)
    for name in ("again", "anew", "once_more"):
        (folder / name).symlink_to(folder)


def pipe(folder: Path) -> None:
    """A pipe that nobody writes to, named like labels."""
    images(folder)
    os.mkfifo(folder / "a.json")


def a_list(text: str) -> Callable[[Path], None]:
    """A class list of some text."""
    return lambda folder: folder.joinpath("classes.yaml").write_text(text) and None


def an_entry(claimed: int, zeros: int) -> Callable[[Path], None]:
    """An npz whose scores claim so many bytes and hold so many, which deflate packs."""

    def write(folder: Path) -> None:
        header = io.BytesIO()
        of = {"descr": "|u1", "fortran_order": False, "shape": (claimed,)}
        np.lib.format.write_array_header_1_0(header, of)
        with (
            zipfile.ZipFile(folder / "other.npz", "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("levels.npy", "w", force_zip64=True) as stream,
        ):
            stream.write(header.getvalue())
            for _ in range(zeros >> 20):
                stream.write(bytes(1 << 20))

    return write


def a_model(card: str | None = None, **vision: Any) -> Callable[[Path], None]:
    """A saved model with another card, or whose tower is said to be another."""

    def write(folder: Path) -> None:
        write_model(folder, None)
        if card:
            (folder / "model.yaml").write_text(card)
        content = copy.deepcopy(tiny_model()[0])
        content["encoder"]["vision_cfg"] |= vision
        (folder / "model.json").write_text(json.dumps(content))

    return write


MILLION = 1_000_000
READERS = (
    Reader("coco", write_coco, read_folder, (DataError,), (
        a_json("annotations.json", json.dumps(COCO | {"annotations": [{}] * MILLION})),
        rle(counts=[10**12]), rle(size=[10**6, 10**6], counts=[10**12]),
        rle(counts="o" * MILLION), rle(counts="0" * MILLION), links, pipe)),
    Reader("label-studio", write_studio, read_folder, (DataError,), (
        a_json("result.json", json.dumps([TASK] * 20_000)),)),
    Reader("yolo", write_yolo, read_folder, (DataError,), (
        a_json("a.txt", "0 " + "0.5 " * MILLION),)),
    Reader("labelme", write_labelme, read_folder, (DataError,), (
        a_json("a.json", json.dumps({"shapes": [{}] * MILLION})),
        a_json("a.json", json.dumps({"shapes": [{"shape_type": "point"}] * MILLION})),
        a_json("a.json", "[" * 10 * MILLION), a_polygon(100_000))),
    Reader("cvat", write_cvat, read_folder, (DataError,), (
        a_json("annotations.xml", LOL + "]><annotations><image name='&j;'/></annotations>"),
        a_json("annotations.xml", "<annotations>" + "<a>" * MILLION),)),
    Reader("classes", write_classes, read_list, (DataError,), (
        a_list(BILLION + "classes: {steel: {}, cable: {name: *a11}}\n"),
        a_list("steel: {}\ncable: " + "[" * MILLION),
        a_list("".join(f"c{k}: {{}}\n" for k in range(MILLION))))),
    Reader("masks", write_masks, read_folder, (DataError,), (
        a_mask(40_000, 40_000), a_mask(12_000, 12_000))),
    Reader("photographs", write_photos, read_folder, (DataError,), (
        lambda folder: (folder / "a.png").write_bytes(png(40_000, 40_000, 8, 0, b"")) and None,
        lambda folder: (folder / "a.jpg").write_bytes(POSTSCRIPT) and None)),
    Reader("models", write_model, read_model, (SegmenterError,), (
        a_model(width=65_536, head_width=64), a_model(layers=MILLION),
        a_model(image_size=10**6), a_model(BILLION + "origin: *a11\n"),
        a_model(timm_model_name="hf-hub:nobody/model", timm_model_pretrained=True))),
    Reader("records", write_records, read_records, (ResultsError,), (
        lambda folder: (folder / "metrics.csv").write_text("a,b\n" * MILLION) and None,)),
    Reader("leaderboard", write_board, read_board, (ResultsError,), (
        an_entry(10**12, 10), an_entry(3 * 10**9, 2 * 10**9))),
)  # fmt: skip
