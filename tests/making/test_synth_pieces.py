"""The maker of the library of pieces: plan, development, finishing need no Blender."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image
from test_synth import blender, needs_blender

from making.synth import dataset, pieces
from scrapseg.data.classes import IMPURITIES


def test_any_beginning_of_the_plan_has_all_classes_alike():
    specs = pieces.plan()
    assert len(specs) == len({spec.rng().random() for spec in specs}) == sum(pieces.COUNTS.values())
    assert {spec.slug for spec in specs[:8]} == {c.slug for c in IMPURITIES}
    share = pieces.plan(0.1)
    assert set(share) < set(specs) and len(share) == 0.1 * len(specs)


def test_development_keeps_the_outline_and_leaves_no_dark_rim():
    rgba = np.zeros((90, 90, 4), np.uint8)
    rows, columns = np.mgrid[:90, :90]
    inside = (rows - 40) ** 2 + (columns - 50) ** 2 < 20**2
    rgba[inside] = (200, 100, 50, 255)
    made = np.asarray(pieces.developed(Image.fromarray(rgba, "RGBA"), np.random.default_rng(3)))
    assert made.shape == (43, 43, 4)  # the disc's box and two pixels on each side
    outline = made[..., 3] > 127
    assert (outline != inside[19:62, 29:72]).mean() < 0.01
    inner = made[outline, :3].astype(float).mean(0)
    assert np.abs(made[~outline, :3] - inner).max() < 30
    with pytest.raises(ValueError, match="outside the picture"):
        pieces.developed(Image.new("RGBA", (8, 8)), np.random.default_rng(0))


def test_finishing_sums_up_what_is_there(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no finished piece"):
        pieces.finish(tmp_path)
    for spec in pieces.plan(0.03):
        colour = tuple(int(c) for c in spec.rng().integers(0, 256, 3))
        tile = Image.new("RGBA", (60, 40), (*colour, 255))
        dataset.write(spec.path(tmp_path), dataset.encoded(tile, "WEBP"))
    (tmp_path / "README.md").write_text(f"a\n{dataset.MARKS[0]}\nold\n{dataset.MARKS[1]}\nb\n")
    pieces.finish(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "| motor | 7 |" in text and "| plastic | 3 |" in text and "old" not in text
    sums = dict(
        line.split("  ")[::-1] for line in (tmp_path / "checksums.sha256").read_text().splitlines()
    )
    assert set(sums) == {str(p.relative_to(tmp_path)) for p in tmp_path.glob("*/*.webp")}
    for name, digest in sums.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    assert pieces.render_all(tmp_path, 0.03, jobs=1) == 0  # nothing is made again
    monkeypatch.setattr(pieces, "MEGABYTES", 1e-6)
    with pytest.raises(ValueError, match="MB, wanted at most"):
        pieces.finish(tmp_path)


TWO_PIECES = """
import sys
from pathlib import Path
from making.synth import pieces
specs = [pieces.PieceSpec(slug, 5, 11) for slug in ("motor", "cable")]
pieces.render_batch(specs, Path(sys.argv[1]))
"""


@needs_blender
def test_same_seed_same_outline_and_the_piece_is_whole(tmp_path):
    for name in ("a", "b"):
        blender(TWO_PIECES, tmp_path / name)
    for slug in ("motor", "cable"):
        first, second = (
            np.asarray(Image.open(tmp_path / name / slug / "005.webp")) for name in ("a", "b")
        )
        outline = first[..., 3] > 127
        assert np.array_equal(outline, second[..., 3] > 127)
        assert max(outline.shape) > 150 and outline.mean() > 0.05
        rim = np.r_[outline[0], outline[-1], outline[:, 0], outline[:, -1]]
        assert not rim.any()  # nothing is cut off
        assert first[outline, :3].std() > 5
