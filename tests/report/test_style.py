"""Labels and scores laid over images: each pixel gets the colour it should."""

from __future__ import annotations

import numpy as np
import pytest

from scrapseg.data.classes import CLASSES
from scrapseg.report import style


def test_overlay_leaves_steel_tints_inside_and_rims_the_edge():
    image = np.full((9, 9, 3), 100, np.uint8)
    label = np.zeros((9, 9), np.uint8)
    label[2:7, 2:7] = 4
    out = style.overlay(image, label, alpha=0.5)
    colour = np.array(CLASSES[4].colour)
    assert (out[label == 0] == 100).all()
    assert (out[2, 2] == colour).all() and (out[6, 4] == colour).all()  # the rim is opaque
    assert np.abs(out[4, 4].astype(float) - (100 + colour) / 2).max() <= 1
    assert (image == 100).all()


@pytest.mark.parametrize(
    ("label", "message"),
    [(np.zeros((4, 5), int), r"\(4, 4\).*\(4, 5\)"), (np.full((4, 4), 9), "0..8")],
)
def test_overlay_refuses_what_does_not_fit(label, message):
    with pytest.raises(ValueError, match=message):
        style.overlay(np.zeros((4, 4, 3), np.uint8), label)


def test_faded_is_grey_light_and_keeps_the_order_of_brightness():
    image = np.array([[[0, 0, 0], [200, 30, 30], [30, 200, 30], [255, 255, 255]]], np.uint8)
    grey = style.faded(image)[0].astype(int)
    assert (grey == grey[:, :1]).all() and (np.diff(grey[:, 0]) > 0).all()
    assert grey[0, 0] > 80 and grey[3, 0] == 255


def test_heat_is_brighter_for_higher_scores_and_takes_nan():
    rows = style.heat(np.array([[0.0, 0.5, 1.0, np.nan]])).astype(int).sum(-1)[0]
    assert rows[0] < rows[1] < rows[2] and rows[3] == rows[0]


def test_photographs_are_jpeg_in_a_pdf_and_drawings_are_not(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (300, 300, 3)).astype(np.uint8)
    flat = np.repeat(np.repeat(noise[:5, :5], 60, 0), 60, 1)
    sizes = {}
    for name, picture in (("noise", noise), ("flat", flat)):
        fig = style.figure(3, 3)
        fig.subplots().imshow(picture, interpolation="nearest")
        fig.savefig(tmp_path / name, format="pdf", dpi=100)
        content = (tmp_path / name).read_bytes()
        assert (b"DCTDecode" in content) == (name == "noise")
        sizes[name] = len(content)
    assert sizes["noise"] < noise.size  # matplotlib's own, lossless, is larger than the pixels
