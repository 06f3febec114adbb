"""Folders as people and tools leave them: all that is there is read, or what is not is said."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from scrapseg.data.base import DataError, turned
from scrapseg.data.folder import open_folder, read_photo
from scrapseg.data.layouts import image_finder

SIZE = (50, 70)  # height, width
RING = [30, 10, 50, 10, 50, 22, 30, 22]
SHARES = " ".join(str(v / SIZE[1 - k % 2]) for k, v in enumerate(RING))


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (90, 80, 70)).save(path)


def mask(path: Path, value: int = 1) -> None:
    label = np.zeros(SIZE, np.uint8)
    label[10:22, 30:50] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label).save(path)


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")


def coco(name: str = "a.jpg", names: tuple[str, ...] = (), **changes) -> dict:
    size = {"height": SIZE[0], "width": SIZE[1]}
    annotation = {"id": 5, "image_id": 0, "category_id": 1, "segmentation": [RING]} | changes
    return {
        "images": [{"id": k, "file_name": n} | size for k, n in enumerate((name, *names))],
        "categories": [{"id": 1, "name": "wood"}],
        "annotations": [annotation],
    }


def pixels(root: Path) -> dict[str, int]:
    """Pixels of the objects of each labelled image."""
    folder = open_folder(root)
    meta = folder.images(list(folder.labelled)).meta
    return {id: sum(o["pixels"] for o in row["instances"]) for id, row in meta.items()}


# Where photographs a and b lie, and where the label of a.
PLACES = {
    "ground_truth": ("images/a.jpg", "images/b.jpg", "ground_truth/a.png"),
    "Masks": ("images/a.jpg", "images/b.jpg", "Masks/a.PNG"),
    "mask beside": ("a.jpg", "b.jpg", "mask/a.bmp"),
    "subfolders": ("monday/a.jpg", "tuesday/b.jpg", "masks/monday/a.tif"),
    "suffixes": ("a.jpg", "b.jpg", "a_mask.png"),
    "suffixes in a folder": ("images/a.jpg", "images/b.jpg", "labels/a_labelIds.png"),
    "both endings": ("images/a.jpg", "images/b.jpg", "masks/a.jpg.png"),
    "Roboflow masks": ("train/a_jpg.rf.1.jpg", "train/b.jpg", "train/a_jpg.rf.1_mask.png"),
    "YOLO of Roboflow": ("train/images/a.jpg", "valid/images/b.jpg", "train/labels/a.txt"),
    "YOLO of Ultralytics": ("images/train/a.jpg", "images/val/b.jpg", "labels/train/a.txt"),
    "YOLO of CVAT": ("obj_train_data/a.jpg", "obj_train_data/b.jpg", "obj_train_data/a.txt"),
    "COCO of Roboflow": ("train/a.jpg", "valid/b.jpg", "train/_annotations.coco.json"),
    "a folder in a folder": ("mine/images/a.jpg", "mine/images/b.jpg", "mine/masks/a.png"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_labels_are_found_where_tools_put_them(tmp_path, kind):
    first, second, place = PLACES[kind]
    photo(tmp_path / first)
    photo(tmp_path / second)
    if place.endswith(".txt"):
        write(tmp_path / place, f"0 {SHARES}\n")
        write(tmp_path / "data.yaml", "names: {0: wood, 2: glass}")
    elif place.endswith(".json"):
        write(tmp_path / place, coco())
    else:
        mask(tmp_path / place)
    assert pixels(tmp_path) == {Path(first).stem: 240}


def test_what_is_passed_over_is_said(tmp_path):
    photo(tmp_path / "images/a.jpg")
    mask(tmp_path / "masks/a.png")
    photo(tmp_path / "originals/b.jpg")
    write(tmp_path / "notes.json", {"categories": []})
    write(tmp_path / "annotations/a.xml", "<annotation><object/></annotation>")  # VOC's boxes
    write(tmp_path / "__MACOSX/._a.jpg", "")
    write(tmp_path / "masks/._a.png", "")
    folder = open_folder(tmp_path)
    assert list(folder.files) == list(folder.labelled) == ["a"]
    said = "\n".join(folder.notes)
    assert f"passed over: 1, such as {tmp_path / 'originals/b.jpg'}" in said
    assert "known here, passed over: 2, such as" in said and "MACOSX" not in said
    assert "images that show motor 1" in said


@pytest.mark.parametrize("name", ["labels.csv", "labels/a.npy", "notes.json", "masks/a.mat"])
def test_labels_that_are_not_understood_are_not_no_labels(tmp_path, name):
    photo(tmp_path / "a.jpg")
    write(tmp_path / name, "[]")
    with pytest.raises(DataError, match=f"{name}: neither COCO nor labelme nor CVAT"):
        open_folder(tmp_path)


def test_labels_of_images_that_are_not_there(tmp_path):
    photo(tmp_path / "a.jpg")
    write(tmp_path / "c.json", coco("a.jpg", ("z.jpg",)))
    assert pixels(tmp_path) == {"a": 240}
    assert "labels an image 'z.jpg' that is not there" in str(open_folder(tmp_path))
    write(tmp_path / "c.json", coco("y.jpg", ("z.jpg",)))
    with pytest.raises(DataError, match=r"c\.json: labels an image 'y\.jpg' that is not there"):
        open_folder(tmp_path)


def test_images_not_yet_worked_on_may_be_told_from_clean_ones(tmp_path):
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "b.jpg")
    write(tmp_path / "c.json", coco("a.jpg", ("b.jpg",)))
    folder = open_folder(tmp_path)
    assert folder.free == ["b"] and "EMPTY=unlabelled if not worked on yet): 1" in str(folder)
    folder = open_folder(tmp_path, empty="unlabelled")
    assert list(folder.labelled) == ["a"] and folder.free == []


NAMES = {
    "exactly": ("a.b.jpg", "a.b"),
    "by path": ("..\\..\\media\\upload\\4\\a.b.jpg", "a.b"),
    "by address": ("/data/local-files/?d=belt%2Fa.b.jpg", "a.b"),
    "by address with a key": ("https://x.org/belt/a.b.jpg?key=1/2", "a.b"),
    "by upload": ("cb0618f0-a.b.jpg", "a.b"),
    "with a per cent sign": ("50% Kühler.png", "50% Kühler"),
    "decomposed": (unicodedata.normalize("NFD", "50% Kühler.png"), "50% Kühler"),
    "in another case": ("A.B.JPG", "a.b"),
    "the nearest": ("Img.jpg", "Img"),
    "as a mask": ("a.b_GT.png", "a.b"),
    "nobody": ("c.jpg", None),
}


@pytest.mark.parametrize("how", NAMES)
def test_names_are_matched(how):
    name, expected = NAMES[how]
    files = dict.fromkeys(("a.b", "50% Kühler", "img", "Img", "IMG"), Path())
    assert image_finder(files)(name, "here") == expected


def test_names_that_fit_two_images_are_an_error():
    with pytest.raises(DataError, match="here: 'iMg' may be img or IMG"):
        image_finder(dict.fromkeys(("img", "IMG"), Path()))("iMg", "here")


def test_two_class_lists_are_an_error(tmp_path):
    photo(tmp_path / "a.jpg")
    write(tmp_path / "classes.yaml", "steel:\ncable:\n")
    write(tmp_path / "Classes.yml", "steel:\nwood:\n")
    with pytest.raises(DataError, match="a class list beside"):
        open_folder(tmp_path)


def test_blank_lines_shift_no_class(tmp_path):
    photo(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", f"2 {SHARES}\n")
    write(tmp_path / "classes.txt", "steel\n\nwood\nrubber\n\n")
    with pytest.raises(DataError, match=r"classes\.txt, line 2: is blank"):
        open_folder(tmp_path)
    write(tmp_path / "classes.txt", "steel\nwood\nrubber\n\n")
    assert "images that show rubber 1" in str(open_folder(tmp_path))
    write(tmp_path / "data.yaml", "names: [steel, rubber, wood]")
    with pytest.raises(DataError, match=r"data\.yaml: lists other classes than"):
        open_folder(tmp_path)


@pytest.mark.parametrize("list_of_names", ["classes.txt", "obj.names", "data.yaml"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_windows_line_ends_and_marks_change_no_label(tmp_path, list_of_names, mark):
    listed = "names: [wood, rubber]\n" if list_of_names == "data.yaml" else "wood\nrubber\n"
    texts = {"a.txt": f"0 {SHARES}\n1 0.1 0.1 0.3 0.1 0.3 0.2\n", list_of_names: listed}
    found = []
    for name, end in (("unix", "\n"), ("windows", "\r\n")):
        photo(tmp_path / name / "a.jpg")
        for file, text in texts.items():
            text = (mark if name == "windows" else "") + text.replace("\n", end)
            (tmp_path / name / file).write_bytes(text.encode())
        images = open_folder(tmp_path / name).images(["a"])
        found.append((images.meta["a"]["instances"], images.sample("a").label.tolist()))
    assert found[0] == found[1]
    assert [o["class"] for o in found[0][0]] == ["wood", "rubber"]


def test_objects_of_the_first_class_are_not_lost_in_silence(tmp_path):
    photo(tmp_path / "a.jpg")
    write(tmp_path / "c.json", coco())
    write(tmp_path / "classes.yaml", "wood:\nrubber:\n")
    with pytest.raises(DataError, match="annotation 5: is a wood, the first class"):
        open_folder(tmp_path)
    write(tmp_path / "classes.yaml", "belt: {words: [wood]}\nrubber:\n")  # it says so
    assert "of the normal class, which mark nothing: 1" in str(open_folder(tmp_path))


def test_words_that_are_not_english_are_told(tmp_path):
    photo(tmp_path / "a.jpg")
    write(tmp_path / "classes.yaml", "废钢:\n铜线: {words: [铜线, copper wire]}\n")
    assert "classes without English words, so found by labels alone" in str(open_folder(tmp_path))
    assert ": 1, such as 废钢" in str(open_folder(tmp_path))


def test_classes_that_no_label_shows_are_told(tmp_path):
    photo(tmp_path / "a.jpg")
    write(tmp_path / "classes.yaml", "steel:\nmotor:\nwood:\n铜线: {words: [铜线]}\nrubber:\n")
    assert "no label shows" not in str(open_folder(tmp_path))  # without labels none does
    mask(tmp_path / "masks/a.png", 2)
    notes = [n for n in open_folder(tmp_path).notes if n.startswith("no label shows")]
    assert [n.partition(", unless")[0] for n in notes] == [
        "no label shows motor, rubber: found by their words alone",
        "no label shows 铜线: not found at all without English words",
    ]
    write(tmp_path / "classes.yaml", "steel:\nmotor:\nwood:\n")
    photo(tmp_path / "b.jpg")
    mask(tmp_path / "masks/b.png", 1)
    assert "no label shows" not in str(open_folder(tmp_path))


def test_long_strips_are_told(tmp_path):
    Image.new("RGB", (900, 40)).save(tmp_path / "strip.png")
    assert "long strips; SIDE=900 looks at them in full: 1" in str(open_folder(tmp_path))


# --- cameras of more than 8 bits --------------------------------------------------------------


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("colour", [True, False])
def test_cameras_of_more_bits_are_scaled_by_their_range(tmp_path, bits, ending, colour):
    """By a whole folder's range: a dark image stays dark."""
    import cv2  # it alone writes 16 bits of colour

    true = np.linspace(0, 1, SIZE[0] * SIZE[1]).reshape(SIZE)
    for name, share in (("bright", 1), ("dark", 0.25)):
        values = (share * true * (2**bits - 1)).round().astype(np.uint16)
        values = np.stack([0 * values, values // 2, values], -1) if colour else values  # BGR
        assert cv2.imwrite(str(tmp_path / f"{name}.{ending}"), values)
    folder = open_folder(tmp_path)
    assert f"over 8 bits, read as a camera's {bits}: 2" in str(folder)
    for name, share in (("bright", 1), ("dark", 0.25)):
        seen = folder.images().sample(name).image / 255
        assert np.abs(seen[..., 0] - share * true).max() < 0.01
        assert np.abs(seen[..., 2] - (0 if colour else share * true)).max() < 0.01


def test_one_image_is_scaled_by_its_own_range(tmp_path):
    Image.fromarray(np.full(SIZE, 900, np.uint16)).save(tmp_path / "a.png")
    assert (read_photo(tmp_path / "a.png") == 900 // 4).all()
    assert (read_photo(tmp_path / "a.png", bits=12) == 900 // 16).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_is_as_pillow_does_it(orientation):
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6))
    image.getexif()[274] = orientation
    assert (turned(np.array(image), orientation) == np.array(ImageOps.exif_transpose(image))).all()
