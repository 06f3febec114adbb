"""Composites: exact masks, no photograph in both splits, as many distractors as impurities."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from drawn_sets import REAL_COLOURS, draw_real

from making.studies.composite import PIECE_SIDE, SPLIT, Composites, steel_photos
from scrapseg.data.classes import CLASSES
from scrapseg.data.errors import MissingFile


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Path:
    return draw_real(tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="module")
def test_split(real):
    return Composites(real, "test", number=12)


def test_every_pixel_has_the_class_of_its_piece(test_split):
    value = {c.slug: c.index for c in CLASSES}
    for sample in test_split:
        grey = np.ptp(sample.image.astype(int), axis=-1) < 40
        for slug, colour in REAL_COLOURS.items():
            strong = np.array(colour) > 0
            # Steel is 60 or brighter here: where it is darker than 25, a piece covers over half.
            shown = (sample.image[..., strong].min(-1) > 150) & (
                sample.image[..., ~strong].max(-1) < 25
            )
            assert shown.any() == (value[slug] in sample.label)
            assert (sample.label[shown] == value[slug]).all()
        assert (sample.label[grey] == 0).mean() > 0.99


def test_two_impurities_a_picture_classes_in_turn(test_split):
    slugs = [r["class"] for m in test_split.meta.values() for r in m["instances"]]
    assert {slug: slugs.count(slug) for slug in PIECE_SIDE} == dict.fromkeys(PIECE_SIDE, 6)
    for sample in test_split:
        assert set(np.unique(sample.instances)) == {0, 1, 2}


def test_as_much_foreign_steel_as_impurities(real):
    """Each photograph of steel has a grey of its own, so foreign grey is a distractor."""
    foreign, impure = 0, 0
    for sample in Composites(real, "test", number=40):
        values, counts = np.unique(sample.image[sample.label == 0], return_counts=True)
        background = values[counts.argmax()]
        foreign += (np.abs(sample.image[..., 0].astype(int) - background) > 0)[
            (sample.label == 0) & (np.ptp(sample.image.astype(int), axis=-1) == 0)
        ].sum()
        impure += (sample.label > 0).sum()
    assert 0.6 < foreign / impure < 1.5


def test_the_same_picture_each_time_whatever_the_number(real, test_split):
    again = Composites(real, "test", number=3)
    for sample in again:
        other = test_split.sample(sample.id)
        np.testing.assert_array_equal(sample.image, other.image)
        np.testing.assert_array_equal(sample.label, other.label)
    assert (Composites(real, "test", 1, seed=1)[0].image != again[0].image).any()


def test_no_photograph_in_both_splits(real, test_split):
    val = Composites(real, "val", number=40)
    used = [
        {m["background"] for m in split.meta.values()}
        | {s for m in split.meta.values() for s in m["sources"]}
        for split in (val, Composites(real, "test", number=40))
    ]
    assert not used[0] & used[1]
    rows = list(csv.DictReader(SPLIT.open()))
    halves: dict[str, set[str]] = {}
    for row in rows:
        halves.setdefault(row["group"], set()).add(row["half"])
    assert all(len(h) == 1 for h in halves.values()) and len(rows) == 86


def test_a_missing_photograph_is_named(real, tmp_path):
    with pytest.raises(MissingFile, match=r"yard/steel-.* is missing"):
        steel_photos(tmp_path, "val")
    (tmp_path / "yard").symlink_to(real / "yard")
    with pytest.raises(MissingFile, match="no outlined motor"):
        Composites(tmp_path, "val")
