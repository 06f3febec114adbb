"""Folders as people have them that could be misread without a word: read rightly, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scrapseg.data.base import DataError, MissingFile
from scrapseg.data.classes import CLASSES
from scrapseg.data.folder import open_folder, read_photo

SIZE = (50, 70)  # height, width


@pytest.fixture
def root(tmp_path):
    """Two photographs a and b in images/."""
    (tmp_path / "mine" / "images").mkdir(parents=True)
    for name in "ab":
        Image.new("RGB", SIZE[::-1], (90, 80, 70)).save(tmp_path / "mine/images" / f"{name}.jpg")
    return tmp_path / "mine"


def square(value: int) -> np.ndarray:
    """An object of 12 x 20 pixels."""
    label = np.zeros(SIZE, np.uint8)
    label[10:22, 30:50] = value
    return label


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def objects(root: Path) -> dict[str, int]:
    """Class and pixels of the objects of image a."""
    meta = open_folder(root).images(["a"]).meta["a"]
    return {o["class"]: o["pixels"] for o in meta["instances"]}


def test_a_palette_in_another_order_counts_by_its_colours(root):
    """A drawing program keeps the colours it finds in the order in which it finds them."""
    order = [0, 5, 3]  # steel, aluminium, copper coil
    index = Image.fromarray(square(1))
    index.putpalette([v for k in order for v in CLASSES[k].colour])
    (root / "masks").mkdir()
    index.save(root / "masks/a.png")
    assert objects(root) == {"aluminium": 240}
    # With colours of no class, the numbers count.
    index.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    index.save(root / "masks/a.png")
    assert objects(root) == {"motor": 240}
    # And where all colours are alike, as in a palette that nobody filled.
    index.putpalette([0] * 768)
    index.save(root / "masks/a.png")
    assert objects(root) == {"motor": 240}


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_in_a_mask_is_normal(root, mode):
    (root / "classes.yaml").write_text('steel:\ncopper: {colour: "#ffffff"}\n')
    white = np.full((*SIZE, len(mode)), 255, np.uint8)
    white[..., -1] = square(255)
    save(root / "masks/a.png", white)
    assert objects(root) == {"copper": 240}


def test_other_files_do_not_hinder(root):
    (root / "notes").mkdir()
    (root / "notes/furnace.txt").write_text("belt 2")
    save(root / "originals/a.png", square(1))
    folder = open_folder(root)
    assert folder.kind is None and "passed over: 1, such as" in str(folder)


@pytest.mark.parametrize("labelled", [False, True])
def test_an_image_that_cannot_be_read_is_passed_over_and_named(root, labelled):
    whole = (root / "images/a.jpg").read_bytes()
    Image.fromarray(np.full(SIZE, 4000, np.uint16)).save(root / "images/deep.png")
    broken = {"short.jpg": whole[: len(whole) // 2], "text.jpg": b"hello", "empty.png": b""}
    broken["deep.png"] = (root / "images/deep.png").read_bytes()[:-30]
    for name, content in broken.items():
        (root / "images" / name).write_bytes(content)
    page = Image.new("L", SIZE)
    page.save(root / "images/pages.tif", save_all=True, append_images=[Image.new("L", SIZE, 9)])
    Image.fromarray(np.zeros(SIZE, np.float32)).save(root / "images/float.tif")
    page.resize((9, 9)).save(root / "images/tiny.png")
    said = dict.fromkeys(broken, "cannot be decoded")
    said["deep.png"] = "more than 8 bits a channel, that cannot be decoded"
    said |= {"pages.tif": "2 pages", "float.tif": "float32", "tiny.png": "9 x 9 pixels"}
    save(root / "masks/a.png", square(1))
    if labelled:
        save(root / "masks/short.png", square(1)[:20])  # nobody knows whether that is its size
    folder = open_folder(root)
    assert list(folder.files) == ["a", "b"] and list(folder.labelled) == ["a"]
    for name, fault in said.items():
        assert sum(f"{name}: " in note and fault in note for note in folder.notes) == 1
    assert labelled == any("masks/short.png" in note for note in folder.notes)
    assert all("\n" not in note for note in folder.notes) and len(folder.images()) == 2
    (root / "masks/a.png").unlink()
    assert not open_folder(root).labelled
    for name in "ab":
        (root / "images" / f"{name}.jpg").write_text("hello")
    with pytest.raises(DataError, match=r"none of its 9 images can be read"):
        open_folder(root)


def test_a_copy_of_an_image_is_told(root):
    save(root / "images/c.jpg", np.full((*SIZE, 3), 40, np.uint8))
    (note,) = (n for n in open_folder(root).notes if n.startswith("copies of another image"))
    assert note.endswith("1, such as b")  # of a


def test_a_label_of_a_whole_image_is_an_error_beside_a_broken_one(root):
    (root / "images/short.jpg").write_text("hello")
    save(root / "masks/a.png", square(1)[:20])
    with pytest.raises(DataError, match=r"masks/a\.png: is 70 x 20 pixels"):
        open_folder(root)
    save(root / "masks/a.png", square(77))
    with pytest.raises(DataError, match=r"masks/a\.png: values \[77\]"):
        open_folder(root)


def test_all_classes_that_the_list_lacks_are_told_at_once(root):
    (root / "classes.yaml").write_text("steel:\ncable:\n")
    for image, names in {"a": ("cable", "gold", "zinc"), "b": ("gold", "tin")}.items():
        shapes = [{"label": n, "points": [*SMALL], "shape_type": "polygon"} for n in names]
        size = {"imagePath": f"{image}.jpg", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
        (root / f"{image}.json").write_text(json.dumps(size | {"shapes": shapes}))
    with pytest.raises(DataError) as caught:
        open_folder(root)
    said = str(caught.value)
    assert all(said.count(f"'{name}'") == 1 for name in ("gold", "zinc", "tin"))
    assert "a.json" in said and "none of steel, cable" in said and "\n" not in said
    for image in "ab":
        (root / f"{image}.json").unlink()
    (root / "_classes.csv").write_text("Pixel Value, Class\n0, steel\n1, gold\n2, zinc\n")
    save(root / "masks/a.png", square(1))
    save(root / "masks/b.png", square(2))
    with pytest.raises(DataError, match=r"a\.png: class ' ?gold'.*' ?zinc'"):
        open_folder(root)


def test_one_name_from_two_tasks_is_no_label_of_one_image(root):
    size = {"height": SIZE[0], "width": SIZE[1]}
    images = [{"id": k, "file_name": f"{day}/a.jpg"} | size for k, day in enumerate(("mon", "tue"))]
    coco = {"images": images, "categories": [{"id": 1, "name": "wood"}], "annotations": []}
    (root / "c.json").write_text(json.dumps(coco))
    with pytest.raises(DataError, match="a has labels in two places"):
        open_folder(root)
    (root / "c.json").unlink()
    image = f'<image name="{{}}/a.jpg" height="{SIZE[0]}" width="{SIZE[1]}"/>'
    both = image.format("mon") + image.format("tue")
    (root / "c.xml").write_text(f"<annotations>{both}</annotations>")
    with pytest.raises(DataError, match="a has labels in two places"):
        open_folder(root)


def test_all_that_is_labelled_twice_is_told_at_once(root):
    for name in "ab":
        save(root / f"masks/{name}.png", square(1))
        save(root / f"masks/more/{name}.png", square(1))
    with pytest.raises(DataError) as caught:
        open_folder(root)
    said = str(caught.value)
    assert all(f"{name} has labels in two places" in said for name in "ab")
    assert said.endswith("; keep one") and "\n" not in said


def test_an_image_that_is_not_there_cannot_be_saved_anew(root):
    with pytest.raises(MissingFile, match=r"none\.jpg: file is missing; is the name right, or was"):
        read_photo(root / "none.jpg")
    folder = open_folder(root)
    (root / "images/a.jpg").unlink()
    with pytest.raises(MissingFile, match=r"a\.jpg: .* moved or deleted meanwhile\?$"):
        folder.photo("a")


def test_images_labelled_as_free_are_told(root):
    save(root / "masks/a.png", square(1))
    assert "free of" not in str(open_folder(root))
    save(root / "masks/b.png", square(0))
    folder = open_folder(root)
    assert folder.free == ["b"] and "1 of those as free of impurities" in str(folder)


SMALL = [[20, 10], [40, 10], [40, 22], [20, 22]]
LARGE = [[10, 5], [60, 5], [60, 45], [10, 45]]


def coco(root: Path, rings: list[tuple[int, list]]) -> None:
    """Image a with polygons of class 1, wood, or 2, cable."""
    annotations = [
        {"id": k, "image_id": 1, "category_id": c, "segmentation": [np.ravel(ring).tolist()]}
        for k, (c, ring) in enumerate(rings)
    ]
    annotations.append(  # made and never drawn
        {"id": 9, "image_id": 1, "category_id": 1, "segmentation": [], "area": 0, "bbox": [0] * 4}
    )
    image = {"id": 1, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}
    categories = [{"id": 1, "name": "wood"}, {"id": 2, "name": "cable"}]
    content = {"images": [image], "categories": categories, "annotations": annotations}
    (root / "c.json").write_text(json.dumps(content))


def test_a_small_object_within_a_later_large_one_does_not_vanish(root):
    whole, part = 50 * 40, 20 * 12
    for order in ([(2, SMALL), (1, LARGE)], [(1, LARGE), (2, SMALL)]):
        coco(root, order)
        assert objects(root) == {"cable": part, "wood": whole - part}
    coco(root, [(1, SMALL), (2, SMALL)])  # the same outline twice: the later one, as ever
    assert objects(root) == {"cable": part}
    coco(root, [(2, LARGE), (1, [[x + 5, y] for x, y in LARGE])])  # overlap: the later on top
    assert objects(root) == {"wood": whole, "cable": 5 * 40}


def test_labelme_parts_of_a_group_are_one_object(root):
    def shape(left, group):
        ring = [[left, 10], [left + 8, 10], [left + 8, 20], [left, 20]]
        return {"label": "cable", "points": ring, "shape_type": "polygon", "group_id": group}

    shapes = [shape(5, 1), shape(20, None), shape(35, 1), shape(50, None)]
    size = {"imagePath": "a.jpg", "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    (root / "a.json").write_text(json.dumps(size | {"shapes": shapes}))
    rows = open_folder(root).images(["a"]).meta["a"]["instances"]
    assert sorted(o["pixels"] for o in rows) == [80, 80, 160]


def test_the_normal_class_is_told(root):
    """A list without one loses the objects of its first class: the word shows which that is."""
    (root / "classes.yaml").write_text("wood:\nrubber:\n")
    assert "2 classes with wood the normal one" in str(open_folder(root))


def test_a_class_list_called_yml_is_used(root):
    (root / "classes.yml").write_text("steel:\nbattery:\n")
    save(root / "masks/a.png", square(1))
    assert objects(root) == {"battery": 240}


@pytest.mark.parametrize("ending", ["jfif", "jp2", "ppm"])
def test_less_common_endings_are_read(root, ending):
    kind = {"jfif": "jpeg", "jp2": "jpeg2000", "ppm": "ppm"}[ending]
    Image.new("RGB", SIZE[::-1], (90, 80, 70)).save(root / f"images/c.{ending}", format=kind)
    assert list(open_folder(root).files) == ["a", "b", "c"]
    assert abs(read_photo(root / f"images/c.{ending}").mean(axis=(0, 1)) - [90, 80, 70]).max() < 3
