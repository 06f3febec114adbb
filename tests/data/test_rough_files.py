"""Photographs as they come: in every form read as they look, or refused in one clear line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scrapseg.data.errors import DataError
from scrapseg.data.folder import open_folder, read_photo

RED = np.full((48, 64, 3), (200, 30, 20), np.uint8)
RED[:24] = (40, 60, 190)


def saved(kind: str, ending: str, **options) -> Callable[[Path], Path]:
    """A picture, red below and blue above, as an image of a mode and ending."""

    def make(folder: Path) -> Path:
        path = folder / f"photo{ending}"
        Image.fromarray(RED).convert(kind).save(path, **options)
        return path

    return make


def palette(folder: Path) -> Path:
    """Of two colours by number."""
    Image.fromarray(RED).quantize(4).save(folder / "photo.png")
    return folder / "photo.png"


def turned(folder: Path) -> Path:
    """Stored upside down, and EXIF says so."""
    path, exif = folder / "photo.jpg", Image.Exif()
    exif[274] = 3
    Image.fromarray(RED[::-1, ::-1]).save(path, exif=exif, quality=95)
    return path


def animated(folder: Path) -> Path:
    """A GIF of three frames."""
    frames = [Image.fromarray(np.roll(RED, k, axis=0)) for k in range(3)]
    frames[0].save(folder / "photo.gif", save_all=True, append_images=frames[1:])
    return folder / "photo.gif"


def heic(folder: Path) -> Path:
    """What a telephone makes, by its first bytes."""
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    return folder / "photo.heic"


LOOK_ALIKE = {
    "CMYK": saved("CMYK", ".jpg", quality=95),
    "palette": palette,
    "transparent": saved("RGBA", ".png"),
    "WebP": saved("RGB", ".webp", quality=95),
    "turned by EXIF": turned,
}


@pytest.mark.parametrize("make", LOOK_ALIKE.values(), ids=LOOK_ALIKE)
def test_a_photograph_is_read_as_it_looks(make, tmp_path):
    folder = open_folder(make(tmp_path).parent)
    read = folder.photo("photo").astype(int)
    assert read.shape == RED.shape
    inside = np.abs(read - RED)[4:-4, 4:-4].reshape(-1, 3)
    assert np.median(inside, 0).max() < 12  # CMYK has no profile: colours are near, not equal
    assert read[8, 8, 2] > read[8, 8, 0] and read[-8, 8, 0] > read[-8, 8, 2]


@pytest.mark.parametrize("make", [animated, heic])
def test_what_is_no_photograph_is_said_with_its_name(make, tmp_path):
    path = make(tmp_path)
    Image.fromarray(RED).save(tmp_path / "other.jpg")
    try:
        said = str(open_folder(tmp_path))
    except DataError as error:
        said = str(error)
    lines = [line for line in said.splitlines() if path.name in line]
    assert len(lines) == 1, said


def test_formats_not_read_are_passed_over_with_their_labels_and_named(tmp_path):
    """Of a folder with a telephone's and a camera's files, a film and an archive among the rest."""
    other = ["b.HEIC", "c.dng", "d.mp4", "all.zip", "a.cr2"]  # a.cr2 as a camera puts beside a.jpg
    for name in other:
        (tmp_path / name).write_bytes(b"x")
    Image.fromarray(RED).save(tmp_path / "a.jpg")
    (tmp_path / "masks").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.eye(48, 64, dtype=np.uint8)).save(tmp_path / f"masks/{name}.png")
    folder = open_folder(tmp_path)
    assert list(folder.files) == list(folder.labelled) == ["a"]
    assert folder.files["a"].name == "a.jpg"
    for name in other:
        said = [
            n for n in folder.notes if n.startswith(f"passed over: {tmp_path / name}: of a form")
        ]
        assert len(said) == 1 and "save images as JPEG or PNG" in said[0]
    assert f"labels of images that cannot be read, left out: 1, such as {tmp_path}" in str(folder)


def test_a_panorama_of_30_000_pixels_is_read_and_said_to_be_a_strip(tmp_path):
    Image.new("RGB", (30_000, 300), (90, 90, 90)).save(tmp_path / "photo.png")
    said = str(open_folder(tmp_path))
    assert "such as photo" in said and "SIDE=30000" in said
    assert read_photo(tmp_path / "photo.png").shape == (300, 30_000, 3)


def test_odd_paths_and_links_are_paths_like_others(tmp_path):
    real = tmp_path / "données du 12 mars" / "железо № 1 (50 %)"
    real.mkdir(parents=True)
    Image.fromarray(RED).save(real / "Träger, Bühne's 1.png")
    (real / "classes.yaml").write_text("steel:\r\ncopper:\r\n")  # as Windows ends lines
    link = tmp_path / "link"
    os.symlink(real, link, target_is_directory=True)
    for root in (real, link):
        folder = open_folder(root)
        assert list(folder.files) == ["Träger, Bühne's 1"]
        assert [c.slug for c in folder.classes] == ["steel", "copper"]
        assert (folder.photo("Träger, Bühne's 1") == RED).all()


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    Image.fromarray(RED).save(tmp_path / "a.png")
    os.symlink(tmp_path / "gone.png", tmp_path / "b.png")
    try:
        said = str(open_folder(tmp_path))
    except DataError as error:
        said = str(error)
    assert re.search(r"b\.png", said)
