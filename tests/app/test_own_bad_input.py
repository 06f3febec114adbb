"""Bad folders and files: one clear line each, naming the file; nothing of the user is touched."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scrapseg.app.apply import apply
from scrapseg.data.base import DataError

W, H = 80, 60
LABELME = {"imagePath": "a.jpg", "imageHeight": H, "imageWidth": W}
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": H, "width": W}],
    "categories": [{"id": 1, "name": "cable"}],
}


def photo(path: Path, size: tuple[int, int] = (W, H)) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def mask(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(values).save(path)


def box(value: int, size: tuple[int, int] = (H, W)) -> np.ndarray:
    label = np.zeros(size, np.uint8)
    label[10:30, 10:40] = value
    return label


def write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def annotated(**changes) -> dict:
    annotation = {"id": 5, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
    return COCO | {"annotations": [annotation | changes]}


def labelme(**changes) -> dict:
    shape = {"label": "cable", "shape_type": "polygon", "points": [[1, 1], [9, 1], [9, 9]]}
    return LABELME | {"shapes": [shape | changes]}


def yolo(root: Path, line: str) -> None:
    write(root / "labels/a.txt", line)
    write(root / "classes.txt", "cable\n")


def bomb() -> str:
    """The head of a PNG of 30,000 x 30,000 pixels, as labelme writes masks."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk).decode()


def cvat(shape: str) -> str:
    return (
        f'<annotations><image name="a.jpg" width="{W}" height="{H}">{shape}</image></annotations>'
    )


# Each takes a folder with two good images, a.jpg and b.jpg, and breaks it; then what is printed.
BAD = {
    # the folder and its images
    "no such folder": (lambda r: "elsewhere", "no such folder"),
    "a file for a folder": (lambda r: "a.jpg", "is a file"),
    "no images": (lambda r: [(r / n).unlink() for n in ("a.jpg", "b.jpg")] and None, "no images"),
    "broken images alone": (
        lambda r: write(r / "a.jpg", "hello") or write(r / "b.jpg", ""),
        "none of its 2 images can be read; ",
    ),
    "two images of one name": (lambda r: photo(r / "a.png"), "a.png: a.jpg has the same name"),
    "two images of one name in subfolders": (
        lambda r: [(r / d).mkdir() or photo(r / d / "c.jpg") for d in ("mon", "tue")] and None,
        "tue/c.jpg: mon/c.jpg has the same name",
    ),
    "formats that cannot be read alone": (
        lambda r: [p.rename(p.with_suffix(".HEIC")) for p in list(r.iterdir())] and None,
        "HEIC is of a format that is not read here; save images as JPEG or PNG",
    ),
    # the class list
    "classes.yaml is no YAML": (lambda r: write(r / "classes.yaml", "a: [1"), "not YAML"),
    "classes.yaml is a list": (lambda r: write(r / "classes.yaml", "- a\n- b"), "not a list of cl"),
    "one class only": (lambda r: write(r / "classes.yaml", "steel:"), "1 classes"),
    "a colour that is none": (
        lambda r: write(r / "classes.yaml", "steel:\ncable: {colour: bluish}"),
        "'bluish' is no colour",
    ),
    "a misspelt key": (
        lambda r: write(r / "classes.yaml", "steel:\ncable: {wrods: [x]}"),
        "class 'cable': has an unknown key 'wrods', is words meant?; write lines",
    ),
    "a key like none": (
        lambda r: write(r / "classes.yaml", "steel:\ncable: {weight: 3}"),
        "class 'cable': has an unknown key 'weight'; write lines",
    ),
    "a list for a class": (
        lambda r: write(r / "classes.yaml", "steel:\ncable: [x]"),
        "class 'cable': not of words and colour",
    ),
    "a class without a name": (lambda r: write(r / "classes.yaml", "steel:\n'!':"), "no letter"),
    "a class twice": (
        lambda r: write(r / "classes.yaml", "steel:\nCable:\ncable:"),
        "as one before it",
    ),
    "classes.yaml in another encoding": (
        lambda r: (r / "classes.yaml").write_bytes("stähl:\nküpfer:".encode("latin-1")) and None,
        "save it as UTF-8",
    ),
    # PNG masks
    "a mask of another size": (
        lambda r: mask(r / "masks/a.png", box(1, (W, H))),
        f"a.png: is {H} x {W} pixels, its image {W} x {H}",
    ),
    "a mask value beyond the classes": (
        lambda r: mask(r / "masks/a.png", box(77)),
        "a.png: values [77] are outside 0..8",
    ),
    "a mask in strange colours": (
        lambda r: mask(r / "masks/a.png", np.stack([box(7), box(8), box(9)], -1)),
        "a.png: colour #070809 is no class's",
    ),
    "a mask without an image": (
        lambda r: mask(r / "masks/z.png", box(1)),
        "z.png: labels an image 'z.png' that is not there",
    ),
    "a mask as JPEG": (
        lambda r: (r / "masks").mkdir() or photo(r / "masks/a.jpg"),
        "masks/a.jpg: a mask as JPEG",
    ),
    "a broken mask": (lambda r: write(r / "masks/a.png", "x"), "a.png: cannot be decoded"),
    "two kinds of labels of an image": (
        lambda r: mask(r / "masks/a.png", box(1)) or write(r / "a.json", labelme()),
        "a has labels in two places",
    ),
    # COCO
    "json cut short": (lambda r: write(r / "coco.json", '{"images": ['), "coco.json: not JSON"),
    "json of neither kind": (lambda r: write(r / "x.json", {"a": 1}), "neither COCO nor labelme"),
    "COCO without categories": (
        lambda r: write(r / "c.json", {"images": [], "annotations": []}),
        "c.json: not COCO instances",
    ),
    "a COCO annotation of no image": (
        lambda r: write(r / "c.json", annotated(image_id=9)),
        "annotation 5: image 9",
    ),
    "a COCO annotation with a box only": (
        lambda r: write(r / "c.json", annotated(segmentation=[])),
        "annotation 5: has a box but no mask",
    ),
    "a COCO polygon of two points": (
        lambda r: write(r / "c.json", annotated(segmentation=[[1, 1, 2, 2]])),
        "annotation 5: 4 coordinates make no polygon",
    ),
    "broken COCO run lengths": (
        lambda r: write(r / "c.json", annotated(segmentation={"size": [H, W], "counts": [3, 4]})),
        "annotation 5: broken run lengths",
    ),
    "a COCO class that is not listed": (
        lambda r: write(r / "c.json", annotated() | {"categories": [{"id": 1, "name": "gold"}]}),
        "class 'gold' is none of steel, motor",
    ),
    "COCO made for another image size": (
        lambda r: write(
            r / "c.json",
            annotated() | {"images": [COCO["images"][0] | {"width": 640, "height": 480}]},
        ),
        "c.json: made for an image of 640 x 480",
    ),
    # YOLO
    "YOLO without class names": (
        lambda r: write(r / "labels/a.txt", "0 0 0 1 0 1 1"),
        "put a classes.txt there",
    ),
    "YOLO with a data.yaml that is no YAML": (
        lambda r: write(r / "labels/a.txt", "0 0 0 1 0 1 1") or write(r / "data.yaml", "names: [a"),
        "data.yaml: has no list of names",
    ),
    "a YOLO box": (lambda r: yolo(r, "0 0.5 0.5 0.2 0.2"), "a.txt, line 1: is a box"),
    "a YOLO line with an odd number": (
        lambda r: yolo(r, "0 0 0 1 0 1 1\n0 0 0 1 0 1 1 1"),
        "a.txt, line 2: 7 coordinates",
    ),
    "words in a YOLO line": (lambda r: yolo(r, "0 0 0 1 x 1 1"), "line 1: a coordinate is no numb"),
    "a YOLO class without a name": (lambda r: yolo(r, "4 0 0 1 0 1 1"), "class '4' is no number"),
    "YOLO in pixels": (lambda r: yolo(r, "0 3 3 40 3 40 40"), "line 1: the polygon leaves the ima"),
    # labelme
    "a labelme line": (
        lambda r: write(r / "a.json", labelme(shape_type="linestrip")),
        "shape 1: a linestrip covers no area",
    ),
    "a labelme shape without a label": (
        lambda r: write(r / "a.json", LABELME | {"shapes": [{}]}),
        "a.json: not a labelme file ('label' is missing)",
    ),
    "a labelme mask that is no picture": (
        lambda r: write(r / "a.json", labelme(shape_type="mask", mask="aGVsbG8=")),
        "shape 1: broken mask",
    ),
    "a labelme mask of far too many pixels": (
        lambda r: write(r / "a.json", labelme(shape_type="mask", mask=bomb())),
        "shape 1: broken mask",
    ),
    # CVAT
    "broken XML": (lambda r: write(r / "a.xml", "<annotations><image>"), "a.xml: not XML"),
    "a CVAT video": (
        lambda r: write(r / "a.xml", "<annotations><track/></annotations>"),
        "export as 'CVAT for images 1.1'",
    ),
    "a CVAT line": (
        lambda r: write(r / "a.xml", cvat('<polyline label="cable" points="1,1;2,2"/>')),
        "polyline: a polyline covers no area",
    ),
}


def content(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", BAD)
def test_one_clear_line(kind, tmp_path):
    root = tmp_path / "mine"
    root.mkdir()
    photo(root / "a.jpg")
    photo(root / "b.jpg")
    spoil, expected = BAD[kind]
    where = spoil(root)
    before = content(root)
    folder = root / where if isinstance(where, str) else root
    with pytest.raises(DataError) as caught:
        apply(folder, tmp_path / "out")
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert content(root) == before and not (tmp_path / "out").exists()


def test_there_are_enough_kinds():
    assert len(BAD) >= 25


def test_an_output_folder_that_cannot_be_made(tmp_path):
    root = tmp_path / "mine"
    root.mkdir()
    photo(root / "a.jpg")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="cannot be made"):
        apply(root, tmp_path / "file/out")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_new_folder_never_is_an_old_one(tmp_path):
    from scrapseg.app.outputs import new_folder

    first = new_folder(tmp_path / "out")
    (first / "mine.txt").write_text("mine")
    assert [new_folder(tmp_path / "out").name for _ in range(2)] == ["out-2", "out-3"]
    assert (first / "mine.txt").read_text() == "mine"
