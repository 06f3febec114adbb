"""The library of rendered pieces, ``data/pieces``: impurities with outlines, to be pasted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scrapseg.data.base import open_image
from scrapseg.data.classes import IMPURITIES
from scrapseg.data.errors import MissingFile
from scrapseg.files import REPOSITORY

PIECES = REPOSITORY / "data" / "pieces"


class RenderedPiece(NamedTuple):
    """Pixels uint8 (3, h, w), whose colours go on outside the outline bool (h, w); class index."""

    pixels: Tensor
    outline: Tensor
    label: int


def load_pieces(root: str | os.PathLike[str] = PIECES) -> list[RenderedPiece]:
    """All pieces ``<root>/<class slug>/*.webp`` (RGBA), in the order of classes and names.

    Raises:
        MissingFile: there is no piece in `root`. BrokenImage: a piece cannot be read.
    """
    paths = [(p, c.index) for c in IMPURITIES for p in sorted(Path(root, c.slug).glob("*.webp"))]
    if not paths:
        raise MissingFile(f"{root}: no pieces; restore it with git, or `make render-pieces`")
    pieces = []
    for path, label in paths:
        with open_image(path, "restore it with git") as image:
            rgba = torch.from_numpy(np.array(image.convert("RGBA"))).permute(2, 0, 1)
        pieces.append(RenderedPiece(rgba[:3].contiguous(), rgba[3] > 127, label))
    return pieces
