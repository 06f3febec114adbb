"""SteelDS on a small set in its format: 4K frames, overlaps, an empty label file, bad lines."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scrapseg.data.base import SPLITS, DataError, EmptySplit, LabelFileError, MissingFile
from scrapseg.data.classes import class_finder
from scrapseg.data.labels import ImageLabels, Shape, paint, read_yolo
from scrapseg.data.shots import few_shot_ids
from scrapseg.data.steelds import MATERIALS, SteelDS, deal

FIND = class_finder(MATERIALS)

HOLED = (
    "2 0.45 0.45 0.55 0.45 0.55 0.55 0.45 0.55\n"  # copper on the steel, listed before it
    "1 0.3 0.3 0.7 0.3 0.7 0.7 0.3 0.7\n"
    "0 0.32 0.32 0.42 0.32 0.42 0.42 0.32 0.42\n"  # a hole in the steel
    "2 0.02 0.02 0.06 0.02 0.04 0.08\n"
)


def write_steelds(root, frames, size=(216, 384), labels=lambda k: HOLED):
    """Frames 0, 5, 10, ... of two subsets, in train and test by turns."""
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    for subset in ("a1", "a2"):
        for k in range(frames):
            folder = root / "SteelDS" / subset / ("train", "test")[k % 2]
            for part in ("images", "labels"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            stem = f"frame_{5 * k:06d}"
            Image.fromarray(image).save(folder / "images" / f"{stem}.jpg")
            (folder / "labels" / f"{stem}.txt").write_text(labels(k))
    return root


@pytest.fixture
def small_copy(small, tmp_path):
    """To break; frame 15 is in some split."""
    return Path(shutil.copytree(small, tmp_path / "copy"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("steelds")
    return write_steelds(root, 160, (54, 96), lambda k: "" if k % 3 == 0 else HOLED)


def test_a_4k_frame_at_its_own_size_and_smaller(tmp_path):
    root = tmp_path / "data"
    folder = root / "a1" / "train"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for k in range(15, 300, 10):  # enough for every split
        (folder / "labels" / f"f{k}.txt").write_text("")
        Image.new("RGB", (16, 9)).save(folder / "images" / f"f{k}.jpg")
    id = SteelDS("train", root).ids[0]
    (folder / "labels" / f"{id[3:]}.txt").write_text(HOLED)
    Image.new("RGB", (3840, 2160), "grey").save(folder / "images" / f"{id[3:]}.jpg")
    sample = SteelDS("train", root, size=(2160, 3840), limit=1).sample(id)
    assert sample.image.shape == (2160, 3840, 3)
    assert (sample.label > 0).mean() == pytest.approx(0.1 * 0.1 + 0.0012, abs=1e-4)
    assert sample.label[1080, 1920] == 1  # copper, though the steel comes later in the file
    small = SteelDS("train", root).sample(id)
    assert small.image.shape == (576, 1024, 3) and small.label[288, 512] == 1


def test_a_polygon_lies_on_larger_ones_and_background_cuts_holes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(HOLED)
    labels = read_yolo(path, [c.slug for c in MATERIALS])
    label, _ = paint(labels, (2160, 3840), FIND, nested=True)
    steel, hole, copper = 0.4 * 0.4, 0.1 * 0.1, 0.1 * 0.1
    shares = np.bincount(label.ravel(), minlength=3) / label.size
    np.testing.assert_allclose(shares[1:], [steel - hole - copper, copper + 0.0012], atol=1e-4)
    assert label[1080, 1920] == 2 and label[800, 1420] == 0  # copper; the hole


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.integers(8, 40))
def test_a_triangle_holds_the_pixels_that_lie_in_it(seed, height, width):
    points = np.random.default_rng(seed).uniform(-0.005, 1.005, (3, 2)) * (width, height)
    shape = Shape("copper", "", (points,))
    label, owner = paint(ImageLabels(Path("a"), [shape]), (height, width), FIND, nested=True)
    # Distance of each pixel's centre from the three edges' lines, above 0 on the inner side.
    y, x = np.mgrid[:height, :width] + 0.5
    inward = []
    for (ax, ay), (bx, by), (cx, cy) in (np.roll(points, -k, axis=0) for k in range(3)):
        distance = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / np.hypot(bx - ax, by - ay)
        inward.append(distance * np.sign((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)))
    nearest = np.min(inward, axis=0)
    assert (label == 2)[nearest > 0.75].all() and not (label == 2)[nearest < -0.75].any()
    assert ((owner == 1) == (label == 2)).all()


def test_normal_is_all_but_copper_and_instances_are_the_copper_polygons(small):
    data = SteelDS("train", small, size=(216, 384))
    assert [(c.index, c.slug) for c in data.classes] == [(0, "steel"), (1, "copper")]
    for sample in (data.sample(i) for i in data.ids[:6]):
        written = data.meta[sample.id]["label"].read_text()
        assert set(np.unique(sample.label)) == ({0, 1} if written else {0})
        assert len(sample.meta["instances"]) == (2 if written else 0)  # as HOLED has copper
        assert ((sample.instances > 0) == (sample.label > 0)).all()
        for row in sample.meta["instances"]:
            assert row["pixels"] == (sample.instances == row["id"]).sum()
    empty = next(i for i in data.ids if not data.meta[i]["label"].read_text())
    assert data.meta[empty]["instances"] == [] and data.sample(empty).label.max() == 0
    assert len(few_shot_ids(data, 2, 0)) >= 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1 0.1 0.1 0.9 0.1 0.9", "line 2: 5 coordinates"),
        ("2 0.5 0.5 0.1 0.1", "line 2: is a box, not a polygon"),
        ("7 0.1 0.1 0.9 0.1 0.9 0.9", "line 2: class '7' is no number from 0 to 2"),
        ("1 0.1 0.1 0.9 zero 0.9 0.9", "line 2: a coordinate is no number"),
        ("1.0 0.1 0.1 0.9 0.1 0.9 0.9", "line 2: class '1.0' is no number"),
        ("1 10 10 90 10 90 90", "line 2: the polygon leaves the image"),
        ("1 0.1 0.1 nan 0.1 0.9 0.9", "line 2: 6 coordinates make no polygon"),
    ],
)
def test_a_malformed_line_is_named(small_copy, line, problem):
    path = next(small_copy.rglob("frame_000015.txt"))
    path.write_text(f"1 0.1 0.1 0.9 0.1 0.9 0.9\n{line}\n")
    with pytest.raises(LabelFileError, match=problem) as caught:
        [SteelDS(split, small_copy) for split in SPLITS]
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_frame_without_a_label_file_is_not_taken_for_an_empty_one(small_copy):
    next(small_copy.rglob("frame_000015.txt")).unlink()
    with pytest.raises(MissingFile, match=r"frame_000015\.txt.*scrapseg fetch steelds"):
        [SteelDS(split, small_copy) for split in SPLITS]


@given(st.integers(1, 60), st.integers(0, 50), st.sampled_from([1, 5]), st.integers(0, 2**32))
def test_whole_blocks_are_dealt_and_frames_at_their_ends_left_out(blocks, first, stride, seed):
    positions = range(100 * first, 100 * (first + blocks), stride)
    splits = deal(positions, seed)
    taken = [(p, s) for p, s in zip(positions, splits, strict=True) if s]
    # Of each block of 100 the seven frames 15, 25, ... 75, whatever the split.
    whole = [p for p in positions if p % 100 in (15, 25, 35, 45, 55, 65, 75)]
    assert [p for p, _ in taken] == whole and len(whole) == 7 * blocks
    of_block = {p // 100: s for p, s in taken}
    assert all(of_block[p // 100] == s for p, s in taken)
    count = Counter(of_block.values())
    for split, share in {"train": 0.6, "val": 0.15, "test": 0.25}.items():
        assert abs(count[split] - share * blocks) < 1
    for (p, s), (q, t) in pairwise(taken):
        assert q - p >= (10 if s == t else 40)


def test_the_deal_is_that_of_its_seed():
    """As it always was, so that a number measured today is measured on the same frames."""

    def blocks(seed):
        return "".join(s[1] for s in deal(range(15, 1200, 100), seed))

    assert blocks(0) == "ererarrrerar"
    assert blocks(0) != blocks(1)


def test_splits_are_disjoint_fixed_and_near_their_shares(small):
    splits = {s: SteelDS(s, small, size=(54, 96)) for s in SPLITS}
    ids = [set(d.ids) for d in splits.values()]
    assert not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
    assert sum(map(len, ids)) == 2 * 8 * 7  # subsets, blocks, frames of a block
    assert abs(len(splits["train"]) / 112 - 0.6) < 0.1
    assert SteelDS("val", small).ids == splits["val"].ids
    assert len({d.sha256 for d in splits.values()}) == 1
    frames = [(i[:2], int(i[-6:]), s) for s, d in splits.items() for i in d.ids]
    for (a, p, s), (b, q, t) in pairwise(sorted(frames)):
        assert a != b or s == t or q - p >= 40


def test_settings_say_what_else_decides_what_is_read(small):
    assert SteelDS("val", small).settings == {"size": [576, 1024]}
    assert json.loads(json.dumps(SteelDS("val", small, size=(54, 96)).settings)) == {
        "size": [54, 96]
    }


def test_what_is_missing_is_named(tmp_path, small, monkeypatch):
    monkeypatch.setenv("SCRAPSEG_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(
        MissingFile, match=r"nowhere/steelds: no steelds data here.*scrapseg fetch steelds"
    ):
        SteelDS("train")
    with pytest.raises(MissingFile, match="no subset a1"):
        SteelDS("train", tmp_path)
    few = write_steelds(tmp_path / "few", 2)
    with pytest.raises(EmptySplit, match="too few frames"):
        SteelDS("test", few)
    with pytest.raises(ValueError, match="'all'"):
        SteelDS("all", small)
    assert issubclass(EmptySplit, DataError)
