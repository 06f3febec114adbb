"""SteelDS on a small set in its format: 4K frames, overlaps, an empty label file, bad lines."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from PIL import Image

from scrapseg.data import steelds
from scrapseg.data.base import DataError, EmptySplit, MissingFile
from scrapseg.data.shots import few_shot_ids
from scrapseg.data.steelds import BrokenLabel, Polygon, SteelDS, deal, rasterise, read_polygons

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
    sample = SteelDS("train", root, size=None, materials=True, limit=1).sample(id)
    assert sample.image.shape == (2160, 3840, 3)
    steel, hole, copper = 0.4 * 0.4, 0.1 * 0.1, 0.1 * 0.1
    shares = np.bincount(sample.label.ravel(), minlength=3) / sample.label.size
    np.testing.assert_allclose(shares[1:], [steel - hole - copper, copper + 0.0012], atol=1e-4)
    assert sample.label[1080, 1920] == 2  # copper, though the steel comes later in the file
    assert sample.label[800, 1420] == 0  # the hole
    small = SteelDS("train", root, materials=True).sample(id)
    assert small.image.shape == (576, 1024, 3)
    assert small.label[288, 512] == 2 and small.label[213, 379] == 0


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(3, 40))
def test_a_triangle_holds_the_pixels_whose_centre_it_holds(seed, height, width):
    points = np.random.default_rng(seed).uniform(-0.005, 1.005, (3, 2))
    label, owner, pixels = rasterise([Polygon(2, points)], height, width)
    y, x = np.mgrid[:height, :width] + 0.5
    centres = np.stack([x / width, y / height], -1).reshape(-1, 2)
    # Matplotlib's answer, for all centres that are not within rounding of an edge.
    inner = Outline(points).contains_points(centres, radius=1e-7)
    outer = Outline(points).contains_points(centres, radius=-1e-7)
    sure = (inner == outer).reshape(height, width)
    assert ((label == 2) == inner.reshape(height, width))[sure].all()
    assert (owner > 0).sum() == pixels[0] == (label == 2).sum()


def test_normal_is_all_but_copper_and_instances_are_the_copper_polygons(small):
    data = SteelDS("train", small, size=(216, 384))
    assert [c.slug for c in data.classes] == ["steel", "copper"]
    for sample in (data.sample(i) for i in data.ids[:6]):
        assert set(np.unique(sample.label)) <= {0, 1}
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
        ("2 0.5 0.5 0.1 0.1", "line 2: 4 coordinates"),  # a YOLO box, not a polygon
        ("7 0.1 0.1 0.9 0.1 0.9 0.9", "line 2: no class 7"),
        ("1 0.1 0.1 0.9 zero 0.9 0.9", "line 2: not numbers"),
        ("1.0 0.1 0.1 0.9 0.1 0.9 0.9", "line 2: not numbers"),
        ("1 10 10 90 10 90 90", "line 2: coordinates outside"),
        ("1 0.1 0.1 nan 0.1 0.9 0.9", "line 2: coordinates outside"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, problem):
    path = tmp_path / "frame_1.txt"
    path.write_text(f"1 0.1 0.1 0.9 0.1 0.9 0.9\n{line}\n")
    with pytest.raises(BrokenLabel, match=problem) as caught:
        read_polygons(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_frame_without_a_label_file_is_not_taken_for_an_empty_one(small, tmp_path):
    with pytest.raises(MissingFile, match=r"frame_9\.txt"):
        read_polygons(tmp_path / "frame_9.txt")


@given(
    st.lists(st.integers(0, 3000), min_size=20, max_size=300, unique=True), st.integers(0, 2**32)
)
def test_frames_of_different_splits_are_never_neighbours(positions, seed):
    splits = deal(sorted(positions), seed)
    taken = [(p, s) for p, s in zip(sorted(positions), splits, strict=True) if s]
    for (p, s), (q, t) in pairwise(taken):
        assert q - p >= (steelds.STEP if s == t else 2 * steelds.MARGIN)


def test_splits_are_disjoint_fixed_and_near_their_shares(small):
    splits = {s: SteelDS(s, small, size=None) for s in steelds.SPLITS}
    ids = [set(d.ids) for d in splits.values()]
    assert not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
    total = sum(map(len, ids))
    assert abs(len(splits["train"]) / total - 0.6) < 0.2
    assert SteelDS("val", small, size=None).ids == splits["val"].ids
    assert len({d.sha256 for d in splits.values()}) == 1


def test_what_is_missing_is_named(tmp_path, small, monkeypatch):
    monkeypatch.setenv("SCRAPSEG_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(MissingFile, match=r"nowhere/steelds: no steelds data here.*--download"):
        SteelDS("train")
    with pytest.raises(MissingFile, match="no subset a7"):
        SteelDS("train", small, subsets=["a1", "a7"])
    with pytest.raises(MissingFile, match="no subset a1"):
        SteelDS("train", tmp_path)
    few = write_steelds(tmp_path / "few", 2)
    with pytest.raises(EmptySplit, match="too few frames"):
        SteelDS("test", few)
    with pytest.raises(ValueError, match="'all'"):
        SteelDS("all", small)
    assert issubclass(EmptySplit, DataError)
