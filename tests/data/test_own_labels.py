"""Label formats against pycocotools and scikit-image, which know nothing of this package."""

from __future__ import annotations

import base64
import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from skimage import draw

from scrapseg.data import labels as formats
from scrapseg.data.classes import CLASSES, IGNORED, class_finder, read_classes
from scrapseg.data.errors import LabelFileError
from scrapseg.data.folder import open_folder

SIZE = (60, 80)  # height, width
FIND = class_finder(CLASSES)
TRIANGLE = [10.0, 5.0, 60.0, 12.0, 30.0, 50.0]
BOX = [20.0, 30.0, 44.0, 30.0, 44.0, 42.0, 20.0, 42.0]


def drawn(flat: list[float], size: tuple[int, int] = SIZE) -> np.ndarray:
    """A polygon by scikit-image, which puts pixel centres on whole numbers, we on halves."""
    points = np.array(flat).reshape(-1, 2)[:, ::-1] - 0.5
    return draw.polygon2mask(size, points)


def alike(mask: np.ndarray, other: np.ndarray, perimeter: float) -> None:
    """Equal but for pixels that the outline cuts: at most half of those it runs through."""
    assert (mask != other).sum() <= 0.5 * perimeter + 2
    assert (mask & other).sum() / (mask | other).sum() > 0.9


def length(flat: list[float]) -> float:
    points = np.array(flat).reshape(-1, 2)
    return float(np.linalg.norm(points - np.roll(points, 1, 0), axis=1).sum())


@pytest.mark.parametrize("flat", [TRIANGLE, BOX])
def test_polygons_are_drawn_as_scikit_image_does(flat):
    mask = formats.polygon_mask([np.array(flat).reshape(-1, 2)], SIZE)
    alike(mask, drawn(flat), length(flat))
    if flat is BOX:
        assert mask.sum() == 24 * 12 and mask[30:42, 20:44].all()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(3, 27), min_size=8, max_size=8),
    st.integers(0, 10),
    st.integers(0, 20),
)
def test_star_shaped_polygons_of_any_form(radii, dx, dy):
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    x = 30 + dx + np.array(radii) * np.cos(angles)
    y = 30 + dy * 0.1 + np.array(radii) * np.sin(angles)
    flat = np.stack([x, y], 1).clip(0, [80, 60]).ravel().tolist()
    mask = formats.polygon_mask([np.array(flat).reshape(-1, 2)], SIZE)
    assert (mask != drawn(flat)).sum() <= 0.5 * length(flat) + 2


def coco(annotations: list[dict]) -> dict:
    return {
        "images": [{"id": 7, "file_name": "sub/a.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 3, "name": "cable"}, {"id": 4, "name": "Wood"}],
        "annotations": [
            {"id": k, "image_id": 7, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]} | a
            for k, a in enumerate(annotations, start=1)
        ],
    }


def test_coco_as_pycocotools_reads_it(tmp_path):
    blob = np.zeros(SIZE, np.uint8)
    blob[draw.ellipse(30, 60, 12, 9)] = 1
    packed = coco_mask.encode(np.asfortranarray(blob))
    rle = {"size": packed["size"], "counts": packed["counts"].decode()}
    flat = blob.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    content = coco(
        [
            {"category_id": 3, "segmentation": [TRIANGLE, BOX]},
            {"category_id": 4, "segmentation": rle},
            {"category_id": 4, "segmentation": {"size": list(SIZE), "counts": runs}, "iscrowd": 1},
        ]
    )
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    labels = dict(formats.read_coco(path, formats.read_json(path)))["sub/a.jpg"]
    reference = COCO(str(path))
    for number, shape in enumerate(labels.shapes, start=1):
        label, instances = formats.paint(
            formats.ImageLabels(path, [shape], labels.size), SIZE, FIND
        )
        expected = reference.annToMask(reference.anns[number]).astype(bool)
        assert ((label > 0) == expected).all() and ((instances > 0) == expected).all()
    label, instances = formats.paint(labels, SIZE, FIND)
    assert label[30, 60] == 8 and label[15, 20] == 2  # later on top; names whatever their case
    assert set(np.unique(instances)) <= {0, 1, 2, 3}


def test_yolo_shares_of_any_size(tmp_path):
    path = tmp_path / "a.txt"
    shares = (np.array(TRIANGLE).reshape(-1, 2) / SIZE[::-1]).ravel()
    path.write_text("1 " + " ".join(f"{v:.6f}" for v in shares) + "\n\n")
    labels = formats.read_yolo(path, ["steel", "cable"])
    for factor in (1, 3):
        size = (SIZE[0] * factor, SIZE[1] * factor)
        label, _ = formats.paint(labels, size, FIND)
        flat = [v * factor for v in TRIANGLE]
        alike(label == 2, drawn(flat, size), length(flat))


def test_labelme_shapes(tmp_path):
    part = np.zeros((10, 20), np.uint8)
    part[2:8, 5:15] = 1
    buffer = io.BytesIO()
    Image.fromarray(part).save(buffer, format="png")
    shapes = [
        {
            "label": "cable",
            "points": np.reshape(TRIANGLE, (-1, 2)).tolist(),
            "shape_type": "polygon",
        },
        {"label": "wood", "points": [[70, 55], [50, 40]], "shape_type": "rectangle"},
        {"label": "plastic", "points": [[15, 45], [15, 52]], "shape_type": "circle"},
        {
            "label": "rubber",
            "points": [[60, 0], [79, 9]],
            "shape_type": "mask",
            "mask": base64.b64encode(buffer.getvalue()).decode(),
        },
    ]
    content = {"imagePath": "..\\photos\\a.jpg", "imageHeight": 60, "imageWidth": 80}
    name, labels = formats.read_labelme(tmp_path / "a.json", content | {"shapes": shapes})
    label, _ = formats.paint(labels, SIZE, FIND)
    assert name == "..\\photos\\a.jpg"
    assert (label == 8).sum() == 20 * 15 and (label[40:55, 50:70] == 8).all()
    disk = np.zeros(SIZE, bool)
    disk[draw.disk((44.5, 14.5), 7, shape=SIZE)] = True
    alike(label == 7, disk, 2 * np.pi * 7)
    assert (label == 6).sum() == 60 and label[2, 65] == 6 and label[1, 65] == 0
    free = label != 7
    alike((label == 2) & free, drawn(TRIANGLE) & free & (label != 8), length(TRIANGLE))


def test_cvat_shapes(tmp_path):
    points = ";".join(f"{x},{y}" for x, y in np.reshape(TRIANGLE, (-1, 2)))
    path = tmp_path / "annotations.xml"
    path.write_text(
        f"""<?xml version="1.0"?><annotations><version>1.1</version><meta/>
        <image id="0" name="x/a.jpg" width="80" height="60">
          <box label="wood" xtl="50" ytl="40" xbr="70" ybr="55" z_order="1"/>
          <polygon label="cable" points="{points}" z_order="2"/>
          <ellipse label="plastic" cx="15" cy="45" rx="9" ry="4" rotation="90" z_order="0"/>
          <mask label="rubber" rle="3, 2, 5, 4" left="60" top="2" width="7" height="2"/>
          <tag label="whatever"/>
        </image><image id="1" name="b.jpg" width="80" height="60"/></annotations>"""
    )
    found = dict(formats.read_cvat(path))
    assert set(found) == {"x/a.jpg", "b.jpg"} and not found["b.jpg"].shapes
    label, _ = formats.paint(found["x/a.jpg"], SIZE, FIND)
    alike(label == 2, drawn(TRIANGLE), length(TRIANGLE))
    ellipse = np.zeros(SIZE, bool)
    ellipse[draw.ellipse(44.5, 14.5, 9, 4, shape=SIZE)] = True
    alike(label == 7, ellipse & (label != 2), 50)
    # Runs go row by row: three empty, two full | five empty over the row's end, four full.
    assert np.argwhere(label == 6).tolist() == [
        [2, 63],
        [2, 64],
        [3, 63],
        [3, 64],
        [3, 65],
        [3, 66],
    ]


def test_steel_hides_nothing():
    shapes = [
        formats.Shape("cable", "", (np.reshape(TRIANGLE, (-1, 2)),)),
        formats.Shape("steel", "", (np.reshape(BOX, (-1, 2)),)),
    ]
    label, _ = formats.paint(formats.ImageLabels(Path("a"), shapes), SIZE, FIND)
    assert (label == 2).sum() == formats.polygon_mask(shapes[0].rings, SIZE).sum()


def test_the_five_line_class_list(tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text(
        "steel: {words: [steel scrap, rusty steel]}\n"
        'copper wire: {words: [bare copper], colour: "#e69f00"}\n'
        "battery: {words: car battery, colour: [213, 94, 0]}\n"
        "wood:\n"
    )
    classes = read_classes(path)
    assert [c.slug for c in classes] == ["steel", "copper_wire", "battery", "wood"]
    assert [c.index for c in classes] == [0, 1, 2, 3]
    assert classes[1].colour == (230, 159, 0) and classes[2].colour == (213, 94, 0)
    assert classes[2].words == ("car battery",) and classes[3].words == ("wood",)
    find = class_finder(classes)
    assert [find(n, "") for n in ("Copper-Wire", "bare copper", "WOOD", "rusty steel")] == [
        1,
        1,
        3,
        0,
    ]


def test_the_same_objects_by_every_format_are_the_same_folder(tmp_path):
    """One scene written in four formats: label maps agree, and so do the instances."""
    maps = {}
    box = np.reshape(BOX, (-1, 2))
    for kind in ("coco", "yolo", "labelme", "cvat", "png"):
        root = tmp_path / kind
        (root / "labels").mkdir(parents=True)
        Image.new("RGB", SIZE[::-1], (90, 90, 90)).save(root / "a.jpg")
        Image.new("RGB", SIZE[::-1], (90, 90, 90)).save(root / "b.jpg")
        if kind == "coco":
            content = coco([{"category_id": 3, "segmentation": [BOX]}])
            (root / "instances.json").write_text(json.dumps(content))
        elif kind == "yolo":
            shares = (box / SIZE[::-1]).ravel()
            (root / "labels/a.txt").write_text("0 " + " ".join(map(str, shares)))
            (root / "classes.txt").write_text("cable\n")
        elif kind == "labelme":
            shape = {"label": "cable", "points": box.tolist(), "shape_type": "polygon"}
            size = {"imageHeight": SIZE[0], "imageWidth": SIZE[1], "imagePath": "a.jpg"}
            (root / "a.json").write_text(json.dumps(size | {"shapes": [shape]}))
        elif kind == "cvat":
            points = ";".join(f"{x},{y}" for x, y in box)
            (root / "a.xml").write_text(
                f'<annotations><image name="a.jpg" width="80" height="60"><polygon label="cable" '
                f'points="{points}"/></image></annotations>'
            )
        else:
            label = np.zeros(SIZE, np.uint8)
            label[30:42, 20:44] = 2
            Image.fromarray(label).save(root / "labels/a.png")
        folder = open_folder(root)
        assert list(folder.files) == ["a", "b"] and list(folder.labelled) == ["a"], kind
        images = folder.images()
        maps[kind] = images.sample("a").label
        assert images.meta["a"]["instances"] == [{"id": 1, "class": "cable", "pixels": 288}]
        assert images.meta["b"]["instances"] == [] and not images.sample("b").label.any()
    assert all((m == maps["png"]).all() for m in maps.values())


# --- what tools write beyond the plain case ---------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**30))
def test_packed_run_lengths_of_any_mask(height, width, seed):
    mask = np.random.default_rng(seed).random((height, width)) < seed % 10 / 9
    packed = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    rle = {"size": packed["size"], "counts": packed["counts"].decode()}
    assert (formats._from_rle(rle, "", (height, width)) == mask).all()


@pytest.mark.parametrize("counts", ["", "~~~~~", "1000000000", [10**12, 10**12], [-5, 4805]])
def test_run_lengths_that_do_not_fill_the_image(counts):
    """pycocotools gives what lies in memory beyond such text."""
    with pytest.raises(LabelFileError, match=r"c\.json, annotation 1: broken run lengths"):
        formats._from_rle({"size": SIZE, "counts": counts}, "c.json, annotation 1", SIZE)


def test_many_masks_stay_packed_until_they_are_painted(tmp_path):
    """Hundreds of small texts stand for gigabytes."""
    size, count = (4000, 3000), 300
    content = coco([])
    content["images"][0] |= {"height": size[0], "width": size[1]}
    runs = {"size": size, "counts": [100, 50, size[0] * size[1] - 150]}
    content["annotations"] = [
        {"id": k, "image_id": 7, "category_id": 3, "segmentation": runs} for k in range(count)
    ]
    tracemalloc.start()
    read = formats.read_coco(tmp_path / "c.json", content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(read[0][1].shapes) == count and most < 2e6


def painted(shapes: list[dict], **size) -> tuple[np.ndarray, np.ndarray, formats.Notes]:
    """Labels of labelme shapes."""
    notes, content = formats.Notes(), {"shapes": shapes} | size
    _, labels = formats.read_labelme(Path("a.json"), content, notes)
    return *formats.paint(labels, SIZE, FIND, notes=notes), notes


KNOWN = {"imageHeight": SIZE[0], "imageWidth": SIZE[1]}


@pytest.mark.parametrize("size", [KNOWN, {"imageHeight": None, "imageWidth": None}, {}])
def test_labelme_shapes_are_cut_at_the_border(size):
    circle = {"label": "motor", "shape_type": "circle", "points": [[0, 30], [7, 30]]}
    label, _, _ = painted([circle], **size)
    disk = np.zeros(SIZE, bool)
    disk[draw.disk((29.5, -0.5), 7, shape=SIZE)] = True
    alike(label == 1, disk, np.pi * 7)


def test_polygons_leave_an_image_of_known_size_only():
    ring = [[-30, 10], [20, 10], [20, 20], [-30, 20]]  # a third of the width beyond the border
    shape = {"label": "motor", "points": ring}
    assert (painted([shape], **KNOWN)[0] == 1).sum() == 20 * 10
    with pytest.raises(LabelFileError, match="shape 1: the polygon leaves the image"):
        painted([shape])
    far = {"label": "motor", "points": (100 * np.array(ring)).tolist()}
    with pytest.raises(LabelFileError, match="shape 1: the polygon leaves the image"):
        painted([far], **KNOWN)
    shares = {"label": "motor", "points": [[0.1, 0.1], [0.5, 0.1], [0.5, 0.9]]}
    with pytest.raises(LabelFileError, match="shape 1: covers one pixel; are its coordinates sha"):
        painted([shares], **KNOWN)


def test_turned_boxes_of_x_anylabeling():
    corners = [[40, 10], [60, 30], [50, 40], [30, 20]]
    shape = {"label": "wood", "shape_type": "rotation", "direction": 0.8, "points": corners}
    label, _, _ = painted([shape], **KNOWN)
    assert (label == 8).sum() == pytest.approx(np.hypot(20, 20) * np.hypot(10, 10), abs=12)


def test_masks_of_one_group_are_one_object_and_are_cut_at_the_border():
    buffer = io.BytesIO()
    Image.fromarray(np.full((10, 20), 255, np.uint8)).save(buffer, format="png")
    mask = base64.b64encode(buffer.getvalue()).decode()
    shapes = [
        {"label": "cable", "shape_type": "mask", "points": [corner], "group_id": 4, "mask": mask}
        for corner in ([5, 5], [70, 55])
    ]
    label, instances, _ = painted(shapes, **KNOWN)
    assert (label == 2).sum() == 10 * 20 + 5 * 10 and len(np.unique(instances)) == 2


def test_what_is_to_be_ignored_and_what_covers_nothing_is_noted():
    square = [[10, 10], [30, 10], [30, 20], [10, 20]]
    shapes = [
        {"label": "__ignore__", "points": square},
        {"label": "_background_", "points": square},
        {"label": "motor", "shape_type": "point", "points": [[5, 5]]},
        {"label": "motor", "points": [[-9, -9], [-5, -9], [-5, -5]]},
    ]
    label, instances, notes = painted(shapes, **KNOWN)
    assert (label == IGNORED).sum() == 20 * 10 and set(np.unique(label)) == {0, IGNORED}
    assert not instances.any()
    assert sorted(place[-1] for at in notes.values() for place in at) == ["1", "2", "3", "4"]


def test_objects_that_do_not_show_are_noted():
    def box(left, top, right, bottom):
        return {
            "label": "motor",
            "points": [[left, top], [right, top], [right, bottom], [left, bottom]],
        }

    _, instances, notes = painted([box(20, 20, 30, 30), box(10, 10, 50, 50)], **KNOWN)
    assert (instances == 1).sum() == 100  # laid on top
    assert notes["objects covered by later ones, laid on top of them"] == ["a.json, shape 1"]
    _, _, notes = painted([box(20, 20, 30, 30), box(20, 20, 30, 30)], **KNOWN)
    assert notes["objects hidden by later ones, left out"] == ["a.json, shape 1"]


def test_cvat_shapes_are_cut_at_the_border(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(
        """<annotations><image id="0" name="a.jpg" width="80" height="60">
          <ellipse label="motor" cx="80" cy="30" rx="9" ry="5"/>
          <box label="wood" xtl="-10" ytl="20" xbr="10" ybr="40" rotation="45"/>
          <points label="motor" points="1,1"/></image></annotations>"""
    )
    notes = formats.Notes()
    ((_, labels),) = formats.read_cvat(path, notes)
    label, _ = formats.paint(labels, SIZE, FIND)
    assert (label == 1).sum() == pytest.approx(np.pi * 9 * 5 / 2, rel=0.06)
    assert (label == 8).sum() == pytest.approx(20 * 20 / 2, rel=0.06)
    assert sum(map(len, notes.values())) == 1


def test_coco_without_sizes_and_with_numbers_as_text(tmp_path):
    content = coco([{"category_id": "3", "segmentation": [BOX, [1, 1]]}])
    del content["images"][0]["height"], content["images"][0]["width"]
    content["images"][0]["id"] = "7"
    notes = formats.Notes()
    ((_, labels),) = formats.read_coco(tmp_path / "c.json", content, notes)
    label, _ = formats.paint(labels, SIZE, FIND)
    assert (label == 2).sum() == 24 * 12 and len(notes) == 1
    content["images"] *= 2
    with pytest.raises(LabelFileError, match="two categories or images share one id"):
        formats.read_coco(tmp_path / "c.json", content)
