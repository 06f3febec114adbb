"""Belt waste and cables on drawn pictures in both layouts, and on the real ones where they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn_sets import draw_belt, draw_cables

from scrapseg.data import fetch
from scrapseg.data.base import SPLITS
from scrapseg.data.belt_waste import BeltWaste
from scrapseg.data.cables import Cables
from scrapseg.data.errors import MissingFile
from scrapseg.data.shots import few_shot_ids

DRAW = {BeltWaste: draw_belt, Cables: draw_cables}
both = pytest.mark.parametrize("kind", [BeltWaste, Cables], ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return {kind: draw(folder / kind.name) for kind, draw in DRAW.items()}


def test_pixels_of_the_belt_are_where_its_polygons_are(roots):
    sample = BeltWaste("train", roots[BeltWaste], size=32)[0]  # half of what was drawn
    assert sample.image.shape == (32, 32, 3) and sample.label.shape == (32, 32)
    assert [r["class"] for r in sample.meta["instances"]] == ["wood", "rubber", "brick", "concrete"]
    for row in sample.meta["instances"]:  # squares of 10 x 10, whose edges may halve a pixel
        assert 16 <= row["pixels"] <= 36
        assert (sample.instances == row["id"]).sum() == row["pixels"]
    inside = sample.image[sample.instances == 1].astype(int).mean(0)
    assert np.abs(inside - (160, 110, 60)).max() < 40  # wood


def test_cables_keep_their_aspect_and_their_mask(roots):
    data = Cables("val", roots[Cables], size=48)
    assert {s.image.shape for s in data} == {(48, 64, 3)}
    assert all((s.label > 0).sum() == 4 * 64 for s in data)
    assert data.settings == {"size": 48} and len(Cables("val", roots[Cables], limit=3)) == 3


@both
def test_the_archive_as_it_comes_reads_the_same(kind, roots, tmp_path):
    published = DRAW[kind](tmp_path / "it", as_published=True)
    for a, b in zip(kind("test", roots[kind]), kind("test", published), strict=True):
        assert a.id == b.id and (a.label == b.label).all()


@both
def test_splits_part_no_scene_and_leave_nothing_out(kind, roots):
    index = pd.read_csv(kind.index)
    assert index["id"].is_unique and index.groupby("scene")["split"].nunique().max() == 1
    splits = [kind(split, roots[kind], size=24) for split in SPLITS]
    assert sorted(i for part in splits for i in part.ids) == sorted(index["id"])
    few = few_shot_ids(splits[0], 4, seed=0)
    assert set(few) < set(few_shot_ids(splits[0], 8, seed=0)) <= set(splits[0].ids)


@both
def test_what_is_read_has_a_name_and_what_lacks_is_told(kind, tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.VARIABLE, str(tmp_path))
    with pytest.raises(MissingFile, match=f"scrapseg fetch {kind.name}"):
        kind("test")
    root = DRAW[kind](tmp_path / "real" / kind.name)  # found there as well
    data = kind("test")
    first, _ = kind.files(root, data[0].meta)
    first.write_bytes(first.read_bytes() + b" ")
    assert kind("test").sha256 != data.sha256
    assert kind.download() == root  # what is there is checked and kept
    first.unlink()
    with pytest.raises(MissingFile, match=f"{first.stem}.*scrapseg fetch {kind.name}"):
        kind.download()


@pytest.mark.parametrize("kind, scenes", [(BeltWaste, 25), (Cables, 8)])
def test_the_photographs_themselves(kind, scenes):
    if not fetch.found(kind.name):
        pytest.skip(f"{kind.name} is not on this machine")
    test = kind("test")
    assert {m["scene"] for m in test.meta.values()} == {s.scene for s in test}
    assert len({s.scene for s in test}) == scenes
    share = np.mean([s.label > 0 for s in test])
    assert 0.03 < share < 0.15
