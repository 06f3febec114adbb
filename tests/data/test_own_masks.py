"""Mask images as tools code them: the right classes, or a line that says what cannot be known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from scrapseg.data.base import DataError, SizeMismatch
from scrapseg.data.classes import CLASSES, IGNORED
from scrapseg.data.folder import open_folder

SIZE = (50, 70)  # height, width
TWO = "steel:\nimpurity:\n"
OBJECT = np.s_[10:22, 30:50]  # 240 pixels
OTHER = np.s_[30:40, 5:20]  # 150 pixels


@pytest.fixture
def root(tmp_path):
    """Two photographs a and b in images/."""
    for name in "ab":
        save(tmp_path / f"mine/images/{name}.png", np.full((*SIZE, 3), 90, np.uint8))
    return tmp_path / "mine"


def save(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def drawn(value, background=0, dtype=np.uint8) -> np.ndarray:
    label = np.full((*SIZE, *np.shape(value)), background, dtype)
    label[OBJECT] = value
    return label


def objects(root: Path, id: str = "a") -> dict[str, int]:
    """Class and pixels of an image's objects."""
    return {o["class"]: o["pixels"] for o in open_folder(root).images([id]).meta[id]["instances"]}


def palette(values: np.ndarray, *colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(values)
    image.putpalette([v for colour in colours for v in colour])
    return image


def white_on_transparent(colour: tuple[int, ...]) -> np.ndarray:
    pixels = np.full((*SIZE, len(colour) + 1), (*colour, 0), np.uint8)
    pixels[OBJECT][..., -1] = 255
    return pixels


BINARY = {
    "0 and 255": drawn(255),
    "0 and 1": drawn(1),
    "16 bits": drawn(65535, dtype=np.uint16),
    "one bit": drawn(True, dtype=bool),
    "three channels": drawn((255, 255, 255)),
    "cut out, white": white_on_transparent((255,)),
    "cut out, white, in colour": white_on_transparent((255, 255, 255)),
    "cut out, black": white_on_transparent((0, 0, 0)),
    "opaque": drawn((255, 255, 255, 255), (0, 0, 0, 255)),
}


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_two_classes_in_black_and_white(root, kind, ending):
    (root / "classes.yaml").write_text(TWO)
    save(root / f"masks/a.{ending}", BINARY[kind])
    assert objects(root) == {"impurity": 240}


def test_a_palette_with_white_first(root):
    (root / "classes.yaml").write_text(TWO)
    (root / "masks").mkdir()
    palette(drawn(0, 1), (255, 255, 255), (0, 0, 0)).save(root / "masks/a.png")
    assert objects(root) == {"impurity": 240}


def test_soft_edges_are_cut_at_one_half_and_that_is_said(root):
    (root / "classes.yaml").write_text(TWO)
    save(root / "masks/a.png", gaussian_filter(drawn(255), 1))
    assert objects(root)["impurity"] == pytest.approx(240, abs=12)
    assert "soft edges, cut at one half: 1, such as" in str(open_folder(root))


def test_void_is_neither_steel_nor_impurity(root):
    label = drawn(3)
    label[OTHER] = 255
    save(root / "masks/a.png", label)
    folder = open_folder(root)
    images = folder.images(["a"])
    assert images.meta["a"]["instances"] == [{"id": 1, "class": "copper_coil", "pixels": 240}]
    assert (images.sample("a").label[OTHER] == IGNORED).all()
    said = "masks with pixels that are ignored, by 255 or as void: "
    assert f"{said}1, such as {root / 'masks/a.png'}" in str(folder)
    save(root / "masks/b.png", label)
    assert f"{said}2, such as {root / 'masks/a.png'}" in str(open_folder(root))


def test_of_two_classes_255_is_void_only_beside_numbers(root):
    (root / "classes.yaml").write_text(TWO)
    save(root / "masks/b.png", drawn(255))
    assert objects(root, "b") == {"impurity": 240}
    save(root / "masks/a.png", drawn(1))  # now all masks together count by numbers
    assert objects(root, "b") == {} and objects(root, "a") == {"impurity": 240}


@pytest.mark.parametrize("channels", [1, 3])
def test_numbers_in_one_channel_or_three(root, channels):
    save(root / "masks/a.png", drawn(5) if channels == 1 else drawn((5, 5, 5)))
    assert objects(root) == {"aluminium": 240}


def test_the_classes_colours(root):
    save(root / "masks/a.png", drawn(CLASSES[4].colour, CLASSES[0].colour))
    save(root / "masks/b.png", np.full((*SIZE, 3), CLASSES[0].colour, np.uint8))
    folder = open_folder(root)
    assert objects(root) == {"spray_can": 240} and folder.free == ["b"]


TABLES = {
    "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nwood:9,8,7::\n",
    "_classes.csv": "Pixel Value, Class\n0, background\n1, wood\n",
    "class_names.txt": "_background_\nwood\n",
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("windows", [False, True], ids=["unix", "windows"])
def test_lists_of_classes_beside_masks(root, name, windows):
    """Windows ends lines by two characters, and its programs begin a text with a mark."""
    text = "\ufeff" + TABLES[name].replace("\n", "\r\n") if windows else TABLES[name]
    (root / name).write_bytes(text.encode())
    value = (9, 8, 7) if name == "labelmap.txt" else 1
    save(root / "SegmentationClass/a.png", drawn(value))
    save(root / "SegmentationObject/a.png", drawn((99, 88, 77)))
    assert objects(root) == {"wood": 240}
    assert "single objects, passed over: 1" in str(open_folder(root))
    (root / name).write_text(TABLES[name].replace("wood", "gold"))
    with pytest.raises(DataError, match=r"class ' ?gold' is none of steel, motor"):
        open_folder(root)


def transparent() -> np.ndarray:
    return np.concatenate([drawn((9, 9, 9)), np.zeros((*SIZE, 1), np.uint8)], axis=-1)


# What cannot be known: class list (or none), mask, and what is said.
UNKNOWN = {
    "two values, nine classes": (None, drawn(255), "put a classes.yaml of two"),
    "one bit, nine classes": (None, drawn(True, dtype=bool), "put a classes.yaml of two"),
    "a grey between": (
        TWO,
        np.maximum(drawn(255), np.rot90(drawn(128), 2)),
        "values .128. are out",
    ),
    "no normal class": ("wood:\nrubber:\n", np.rot90(drawn(2), 2), "normal class missing at its h"),
    "mostly white": (TWO, drawn(0, 255), "white for the most part"),
    "transparent": (None, transparent(), "transparent all over"),
    "instance numbers": (None, drawn(1001, dtype=np.uint16), "values .1001. are outside 0..8"),
    "fractions": (TWO, drawn(0.5, dtype=np.float32), "not whole"),
    "a colour of no class": (None, drawn((1, 2, 3)), "colour #010203 is no class's"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_cannot_be_known_is_an_error(root, kind):
    classes, mask, said = UNKNOWN[kind]
    if classes:
        (root / "classes.yaml").write_text(classes)
    ending = "tif" if mask.dtype == np.float32 else "png"
    save(root / f"masks/a.{ending}", mask)
    with pytest.raises(DataError, match=rf"masks/a\.{ending}: .*{said}") as error:
        open_folder(root)
    assert "\n" not in str(error.value)


def test_a_palette_of_some_classes_colours_is_an_error(root):
    (root / "masks").mkdir()
    image = palette(drawn(1, 2), (0, 0, 0), CLASSES[5].colour, (1, 2, 3))
    image.save(root / "masks/a.png")
    with pytest.raises(DataError, match=r"a\.png: its palette has colours of classes and others"):
        open_folder(root)


def test_white_may_be_the_normal_class_if_the_list_says_so(root):
    (root / "classes.yaml").write_text('steel: {colour: "#ffffff"}\nimpurity:\n')
    for name, mask in (("grey", drawn(0, 255)), ("colour", drawn((0, 0, 0), 255))):
        save(root / "masks/a.png", mask)
        assert objects(root) == {"impurity": 240}, name


def test_a_mask_of_another_size_is_an_error(root):
    save(root / "masks/a.png", drawn(1)[::2])
    with pytest.raises(SizeMismatch, match=r"a\.png: is 70 x 25 pixels, its image 70 x 50"):
        open_folder(root)


def test_masks_of_another_size_are_told_at_once(root):
    for name in "abcdefg":
        save(root / f"images/{name}.png", np.full((*SIZE, 3), 90, np.uint8))
        save(root / f"masks/{name}.png", drawn(1)[::2] if name != "b" else drawn(1))
    save(root / "masks/c.png", np.rot90(drawn(1)).copy())  # nothing says that its image lies
    with pytest.raises(SizeMismatch) as error:
        open_folder(root)
    said = str(error.value)
    for name, size in {"a": "70 x 25", "c": "50 x 70", "d": "70 x 25"}.items():
        assert f"{root / 'masks' / name}.png: is {size} pixels, its image 70 x 50" in said
    assert "b.png" not in said and "e.png" not in said
    assert said.endswith(", and 3 more; save masks at their images' size") and "\n" not in said


@pytest.mark.parametrize("orientation", [6, 8])
def test_masks_of_the_sensor_are_turned_with_the_photograph(root, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    photo = np.full((*SIZE, 3), 90, np.uint8)
    photo[OBJECT] = 250
    save(root / "images/a.png", photo, exif=exif)
    save(root / "masks/a.png", drawn(1))
    sample = open_folder(root).images(["a"]).sample("a")
    assert sample.image.shape[:2] == sample.label.shape == SIZE[::-1]
    assert ((sample.image[..., 0] > 200) == (sample.label == 1)).all()
    # Drawn on what is shown, they are left as they are.
    save(root / "masks/a.png", np.ascontiguousarray(sample.label))
    assert (open_folder(root).images(["a"]).sample("a").label == sample.label).all()
