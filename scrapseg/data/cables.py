"""Cables: loose electric cables on tables, paper and printed pictures, with masks.

De Gregorio, Palli, Di Stefano: Let's take a walk on superpixels graphs, arXiv:1810.04461; on GitHub
as m4nh/cables_dataset. No licence is stated: numbers with the source named, no pictures. 70
photographs of 640 x 480 pixels: 60 are ten arrangements on plain ground, seen from six places
each; ten more lie on three printed pictures, a new arrangement each.

    python -m scrapseg fetch cables

*The split.* A scene is an arrangement, and photographs of one never part. Test has four
arrangements, one of them on a green ground that train and val have not, and one or two on
each of the printed pictures; those pictures are in train or val too, under other cables.

*What was tried.* Copies as ``images/simple_00000.jpg`` and ``masks/simple_00000.png`` are what the
results are from. The archive is pinned by its commit and has not been downloaded here, so there are
no checksums of its files, and its size is a guess.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scrapseg.data import fetch
from scrapseg.data.base import read_image
from scrapseg.data.classes import read_classes
from scrapseg.data.photographs import Photographs

CLASSES = tuple(read_classes(Path(__file__).with_suffix(".yaml")))


class Cables(Photographs):
    """One split of the photographs of cables."""

    name = "cables"
    classes = CLASSES
    index = Path(__file__).with_suffix(".csv")
    height, aspect = 384, 4 / 3
    url = (
        "https://github.com/m4nh/cables_dataset/archive/"
        "0b45a7aabfca7bd625ff75be4374ea7a59eb1fad.zip"
    )
    inside = "cable_dataset_simple"
    bytes = 50_000_000
    digest = "75461d7ccd0b147e3d498f3b0d410ec3a67be31f3ef1de50b0490175b30e2f9a"

    @classmethod
    def files(cls, root: Path, record: dict[str, Any]) -> tuple[Path, Path]:
        """Photograph and the mask of all its cables, as they come or in two folders."""
        id = record["id"]
        part, _, number = id.partition("_")
        folder = root / f"cable_dataset_{part}"
        if folder.is_dir():
            return folder / f"{number}.jpg", folder / f"{number}_mask_all.png"
        return root / "images" / f"{id}.jpg", root / "masks" / f"{id}.png"

    def full_label(self, record: dict[str, Any], path: Path) -> np.ndarray:
        """A cable is whatever the mask has above 0, in any channel."""
        mask = read_image(path, remedy=fetch.again(self.name))
        return (mask > 0 if mask.ndim == 2 else (mask[..., :3] > 0).any(-1)).astype(np.uint8)
