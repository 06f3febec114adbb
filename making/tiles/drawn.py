"""A drawn stand-in for Magnetic-Tile, for a look at the loader without the photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from making.tiles.index import build_index
from scrapseg.data.base import SPLITS
from scrapseg.data.magnetic_tile import MagneticTile
from scrapseg.experiments.splits import Splits
from scrapseg.files import atomic_write


def draw_tiles(root: Path, tiles: int = 6, seed: int = 0) -> Path:
    """Draw a small set in Magnetic-Tile's layout, two exposures a tile, and its `index.csv`.

    For a look at the loader where the photographs are not at hand; what is measured on it says
    nothing. A folder that is already there is left as it is.
    """
    if (root / "index.csv").is_file():
        return root
    rng = np.random.default_rng(seed)
    kinds = ["Free", "Blowhole", "Break", "Crack", "Fray", "Uneven"]
    for number in range(len(kinds) * tiles):
        kind = kinds[number % len(kinds)]
        place = root / f"MT_{kind}" / "Imgs"
        place.mkdir(parents=True, exist_ok=True)
        height, width = rng.integers(110, 160, 2)
        ground = 110 + 14 * ndimage.gaussian_filter(rng.normal(0, 3, (height, width)), (0.6, 4))
        mask, change = _defect(kind, height, width, rng)
        for exposure, light in ((1, 0.75), (2, 1.15)):
            noisy = light * (ground + change * mask) + rng.normal(0, 2, mask.shape)
            stem = place / f"exp{exposure}_num_{1000 * number + 20 * exposure}"
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(f"{stem}.jpg", quality=95)
            Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(f"{stem}.png")
    atomic_write(root / "index.csv", build_index(root).to_csv(index=False, lineterminator="\n"))
    return root


def _defect(
    kind: str, height: int, width: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Where a defect is, bool (height, width), and how much brighter it is."""
    y, x = np.mgrid[:height, :width]
    cy, cx = rng.uniform(0.3, 0.7, 2) * (height, width)
    shapes = {
        "Free": (np.zeros((height, width), bool), 0),
        "Blowhole": (np.hypot(y - cy, x - cx) < rng.uniform(4, 8), -70),
        "Break": (x + y < rng.uniform(35, 55), 90),
        "Crack": (np.abs(x - cx - 0.3 * (y - cy) - 4 * np.sin(y / 9)) < 1.6, -60),
        "Fray": ((np.abs(y - cy) < 12) & (np.abs(x - cx) < 30), 40),
        "Uneven": (np.hypot((y - cy) / 1.6, (x - cx)) < rng.uniform(18, 28), -30),
    }
    return shapes[kind]


def load_drawn(root: Path, size: int = 128) -> Splits:
    """The splits of what `draw_tiles` drew."""
    index = root / "index.csv"
    return Splits(*(MagneticTile(split, root, size=size, index=index) for split in SPLITS))
