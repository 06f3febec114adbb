"""Magnetic-Tile: photographs of magnetic tiles with five kinds of surface defect, for each a mask.

Huang, Qiu, Yuan: Surface defect saliency of magnetic tile, The Visual Computer 36 (2020); on
GitHub as abin24/Magnetic-tile-defect-datasets. (with the full stop). On disk, a photograph
``MT_<Defect>/Imgs/<stem>.jpg`` lies beside its mask ``<stem>.png``, above 127 where the defect is;
``MT_Free`` holds tiles without one.

    python -m scrapseg fetch magnetic-tile

*The split.* Photographs of one tile never part; ``magnetic_tile.csv`` has it, with a checksum of
every photograph and its mask. `making.tiles.index` made it.

*Size.* Photographs are 103 to 632 pixels wide and 222 to 403 high. All methods see them resized
to a square, 256 pixels by default: the aspect ratio changes, the whole tile stays.
Metrics are taken at that size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scrapseg.data import fetch
from scrapseg.data.base import read_image
from scrapseg.data.classes import read_classes
from scrapseg.data.errors import SizeMismatch
from scrapseg.data.photographs import Photographs

CLASSES = tuple(read_classes(Path(__file__).with_suffix(".yaml")))
FOLDERS = {"MT_" + c.slug.capitalize(): c for c in CLASSES}


class MagneticTile(Photographs):
    """One split of Magnetic-Tile; a scene is one tile."""

    name = "magnetic-tile"
    classes = CLASSES
    index = Path(__file__).with_suffix(".csv")
    height = 256
    # GitHub packs the archive when asked, so it has no checksum. The index has.
    url = "https://github.com/abin24/Magnetic-tile-defect-datasets./archive/refs/heads/master.zip"
    inside = "MT_Free"
    bytes = 60_000_000

    @classmethod
    def files(cls, root: Path, record: dict[str, Any]) -> tuple[Path, Path]:
        """Photograph and mask."""
        stem = root / record["folder"] / "Imgs" / record["id"]
        return stem.with_suffix(".jpg"), stem.with_suffix(".png")

    def full_label(self, record: dict[str, Any], path: Path) -> np.ndarray:
        """The folder's defect where the mask is bright; `SizeMismatch` of a mask in colours."""
        mask, remedy = read_image(path, remedy=fetch.again(self.name)), fetch.again(self.name)
        if mask.ndim != 2:
            raise SizeMismatch(f"{path}: has {mask.shape[2]} channels, not one; {remedy}")
        return np.where(mask > 127, FOLDERS[record["folder"]].index, 0)
