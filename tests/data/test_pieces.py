"""The library of pieces as it is read: drawn here, so that the test knows every pixel."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from slugs import by_slug

from scrapseg.data.errors import BrokenImage, MissingFile
from scrapseg.data.pieces import load_pieces


def draw(path, height, width, colour):
    """A piece that fills the left half of its picture; its colour goes on outside."""
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[..., :3] = colour
    rgba[:, : width // 2, 3] = 255
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(rgba, "RGBA").save(path, lossless=True, exact=True)


def test_pieces_are_read_by_class_with_their_outlines(tmp_path):
    draw(tmp_path / "wood" / "000.webp", 20, 40, (150, 110, 60))
    draw(tmp_path / "motor" / "001.webp", 30, 10, (20, 60, 120))
    draw(tmp_path / "motor" / "000.webp", 16, 16, (200, 90, 40))
    (tmp_path / "README.md").write_text("not a piece")
    pieces = load_pieces(tmp_path)
    motor, wood = by_slug("motor").index, by_slug("wood").index
    assert [(p.label, tuple(p.pixels.shape)) for p in pieces] == [
        (motor, (3, 16, 16)), (motor, (3, 30, 10)), (wood, (3, 20, 40))]  # fmt: skip
    assert pieces[0].pixels[:, 3, 12].tolist() == [200, 90, 40]  # outside the outline, too
    assert pieces[2].outline[:, :20].all() and not pieces[2].outline[:, 20:].any()


def test_a_missing_library_and_a_broken_piece_are_named(tmp_path):
    with pytest.raises(MissingFile, match=r"nowhere: no pieces; .*make render-pieces"):
        load_pieces(tmp_path / "nowhere")
    (tmp_path / "cable").mkdir()
    (tmp_path / "cable" / "000.webp").write_bytes(b"RIFF cut short")
    with pytest.raises(BrokenImage, match=r"cable/000\.webp"):
        load_pieces(tmp_path)
