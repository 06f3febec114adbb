"""The split of Magnetic-Tile: which photographs show one tile, and where each tile goes.

    python -m making.tiles.index        # writes scrapseg/data/magnetic_tile.csv anew

A tile was photographed several times: a stem is ``exp<exposure>_num_<frame>``, frames of one tile
follow one another, and some tiles come twice. Photographs of one tile never part: those whose frame
numbers lie within `SAME_RUN` of the next, or that look alike (`SAME_LOOK`), are one *tile*. Tiles
are dealt out class by class, so that each split gets its share of every class.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from scrapseg.data import fetch
from scrapseg.data.base import SPLITS, read_image
from scrapseg.data.errors import DataError, MissingFile
from scrapseg.data.magnetic_tile import FOLDERS, MagneticTile
from scrapseg.data.photographs import files_sha256
from scrapseg.files import atomic_write

STEM = re.compile(r"exp(\d+)_num_(\d+)")
SHARES = {"train": 0.6, "val": 0.15, "test": 0.25}
AGAIN = fetch.again(MagneticTile.name)
SAME_RUN = 100
"""Photographs whose frame numbers are no further apart belong to one run over one tile."""
SAME_LOOK = 0.65
"""Correlation of the fine structure (`_fine_structure`) above which two photographs show one tile:
of pairs from different runs 1 in 500 lies above, of pairs within a run about half."""


def build_index(root: Path, seed: int = 0) -> pd.DataFrame:
    """Which photograph shows which tile and belongs to which split.

    Photographs in a defect's folder whose mask marks nothing (4 of 1,344) are left out: they are
    neither normal nor of use as that defect.

    Returns:
        Columns id (stem), folder, scene (the tile), split, sha256; sorted by frame number.

    Raises:
        DataError: a photograph has no mask, or its name is no such stem.
    """
    rows, looks = [], []
    paths = sorted(root.glob("MT_*/Imgs/*.jpg"))
    if not paths:
        raise MissingFile(f"{root}: no MT_<Defect>/Imgs/*.jpg below it; {AGAIN}")
    for path in tqdm(paths, desc="looking", mininterval=2):
        match, folder = STEM.fullmatch(path.stem), path.parent.parent.name
        if not match or folder not in FOLDERS:
            raise DataError(f"{path}: not named MT_<Defect>/Imgs/exp<n>_num_<n>.jpg; rename it")
        sha256 = files_sha256([path, path.with_suffix(".png")], AGAIN)
        marked = (read_image(path.with_suffix(".png"), remedy=AGAIN) > 127).any()
        if folder == "MT_Free" or marked:
            rows.append((path.stem, folder, int(match[2]), sha256))
            looks.append(_fine_structure(read_image(path, remedy=AGAIN)))
    table = pd.DataFrame(rows, columns=["id", "folder", "frame", "sha256"])
    order = table["frame"].argsort(kind="stable")
    table, look = table.iloc[order].reset_index(drop=True), np.array(looks)[order]
    run = (table["frame"].diff() > SAME_RUN).cumsum().to_numpy()
    same = (run[:, None] == run) | (look @ look.T > SAME_LOOK)
    table["scene"] = connected_components(same, directed=False)[1]
    table["split"] = table["scene"].map(_deal(table, seed))
    return table[["id", "folder", "scene", "split", "sha256"]]


def _fine_structure(image: np.ndarray, side: int = 96) -> np.ndarray:
    """The inner three quarters of a photograph, side x side pixels, without its large shapes.

    Flat, of zero mean and unit length, so that a product of two is their correlation.
    """
    h, w = image.shape[:2]
    inner = image[h * 12 // 100 : h * 88 // 100, w * 12 // 100 : w * 88 // 100]
    small = Image.fromarray(inner).resize((side, side), Image.Resampling.BILINEAR)
    small = np.array(small, dtype=float)
    fine = ndimage.gaussian_filter(small, 0.7) - ndimage.gaussian_filter(small, 5)
    fine -= fine.mean()
    return (fine / max(np.linalg.norm(fine), 1e-9)).ravel()


def _deal(table: pd.DataFrame, seed: int) -> dict[int, str]:
    """Tile -> split. Rare classes first, a tile goes where its class lacks most of its share."""
    rng = np.random.default_rng(seed)
    counts = pd.crosstab(table["scene"], table["folder"])
    total = counts.sum()
    have = {s: dict.fromkeys(counts.columns, 0) for s in SPLITS}
    split_of: dict[int, str] = {}
    for folder in total.sort_values().index:
        tiles = [t for t in counts.index if counts.loc[t, folder] and t not in split_of]
        tiles = sorted(rng.permutation(tiles), key=lambda t: -counts.loc[t, folder])
        for tile in tiles:
            lack = {s: SHARES[s] - have[s][folder] / total[folder] for s in SPLITS}
            split = max(SPLITS, key=lack.__getitem__)
            split_of[int(tile)] = split
            for name in counts.columns:
                have[split][name] += counts.loc[tile, name]
    return split_of


# ---------------------------------------------------------------- download


if __name__ == "__main__":
    table = build_index(fetch.required(MagneticTile.name))
    print(atomic_write(MagneticTile.index, table.to_csv(index=False, lineterminator="\n")))
