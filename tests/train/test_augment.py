"""Pasting pieces of other images: what is cut out, and what an image and its mask become."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slugs import by_slug
from torchvision import tv_tensors

from scrapseg.data.scrapsim import ScrapSim
from scrapseg.train.augment import train_transform
from scrapseg.train.paste import SMALLEST, Cutout, PasteCutouts, cutouts, paste


@pytest.fixture
def train(tiny_scrapsim) -> ScrapSim:
    return ScrapSim(tiny_scrapsim, "train")


def square(label: int, value: int, side: int = 8) -> Cutout:
    """A full square of one grey value."""
    pixels = torch.full((3, side, side), value, dtype=torch.uint8)
    return Cutout(pixels, torch.ones(side, side, dtype=torch.bool), label)


def blank(size: int = 64) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    return (
        tv_tensors.Image(torch.zeros(3, size, size, dtype=torch.uint8)),
        tv_tensors.Mask(torch.zeros(size, size, dtype=torch.uint8)),
    )


def test_cutouts_are_the_instances_of_the_given_images_and_as_much_steel(train):
    pieces = cutouts(train, train.ids)
    wanted = [
        (by_slug(i["class"]).index, i["pixels"])
        for id in train.ids
        for i in train.meta[id]["instances"]
        if i["pixels"] >= SMALLEST
    ]
    impurities = [(p.label, int(p.outline.sum())) for p in pieces if p.label]
    assert sorted(impurities) == sorted(wanted) and wanted
    assert sum(p.label == 0 for p in pieces) == len(wanted)
    for piece in pieces:
        assert piece.pixels.shape[1:] == piece.outline.shape


def test_cutouts_hold_the_pixels_of_their_image(train):
    id = next(i for i in train.ids if train.meta[i]["instances"])
    sample = train.sample(id)
    piece = next(p for p in cutouts(train, [id]) if p.label)
    inside = piece.pixels[:, piece.outline].numpy().T
    candidates = [
        sample.image[sample.instances == i["id"]]
        for i in train.meta[id]["instances"]
        if by_slug(i["class"]).index == piece.label
    ]
    assert any(np.array_equal(inside, c) for c in candidates)


def test_no_normal_image_no_steel_pieces(train):
    with_impurity = [i for i in train.ids if train.meta[i]["instances"]]
    assert all(p.label for p in cutouts(train, with_impurity))


@settings(max_examples=60, deadline=None)
@given(st.integers(-6, 9), st.integers(-6, 9), st.integers(0, 99))
def test_a_piece_is_blended_pixel_by_pixel_and_cut_off_at_the_edges(top, left, seed):
    rng = np.random.default_rng(seed)
    image, piece = rng.integers(0, 256, (3, 8, 8)), rng.uniform(0, 255, (3, 5, 4))
    opacity = rng.choice([0, 0.25, 0.75, 1], (5, 4))
    blended, written = image.copy(), np.zeros((8, 8), int)
    for y in range(5):
        for x in range(4):
            row, column, a = top + y, left + x, opacity[y, x]
            if 0 <= row < 8 and 0 <= column < 8:
                new = image[:, row, column] * (1 - a) + piece[:, y, x] * a
                blended[:, row, column] = new.astype(int)
                written[row, column] = 7 if a > 0.5 else 0
    onto, mask = torch.from_numpy(image).byte(), torch.zeros(8, 8, dtype=torch.uint8)
    paste(onto, torch.from_numpy(piece), torch.from_numpy(opacity), top, left)
    paste(mask, 7, torch.from_numpy(opacity), top, left)
    assert np.array_equal(onto.numpy(), blended) and np.array_equal(mask.numpy(), written)


def test_mask_and_pixels_change_together():
    paste = PasteCutouts([square(3, 200)], most=4, scale=(1.0, 1.0))
    changed = 0
    for seed in range(20):
        torch.manual_seed(seed)
        image, mask = paste(*blank())
        touched = image[0] > 0
        assert torch.equal(touched, mask == 3)
        assert set(mask.unique().tolist()) <= {0, 3}
        changed += int(touched.any())
    assert 10 <= changed < 20  # the number of pieces is drawn from 0 to 4


def test_steel_pieces_erase_the_label_beneath():
    paste = PasteCutouts([square(0, 90, 200), square(1, 90, 200)], most=1, steel=1.0)
    image, _ = blank(32)
    mask = tv_tensors.Mask(torch.full((32, 32), 5, dtype=torch.uint8))
    pasted = 0
    for seed in range(20):
        torch.manual_seed(seed)
        out, labels = paste(image, mask)
        covered = out[0] > 0
        assert (labels[covered] == 0).all() and (labels[~covered] == 5).all()
        pasted += int(covered.any())
    assert 3 < pasted < 17  # none or one, alike


def test_the_given_image_is_left_alone_and_a_seed_repeats():
    paste = PasteCutouts([square(2, 250), square(0, 60)], most=6)
    image, mask = blank()
    torch.manual_seed(3)
    first = paste(image, mask)
    torch.manual_seed(3)
    second = paste(image, mask)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert first[0].any() and first[1].any()  # something was pasted
    assert image.sum() == 0 and mask.sum() == 0


def test_without_pieces_nothing_is_pasted(train):
    def draw(**kwargs):
        torch.manual_seed(0)
        transform = train_transform(32, (0.5,) * 3, (0.5,) * 3, impurity_p=0.0, **kwargs)
        return transform(*blank())

    pieces = [square(4, 255, 32)]
    assert torch.equal(draw()[1], draw(pieces=pieces, paste=0)[1])
    assert (draw(pieces=pieces, paste=8)[1] == 4).any()
