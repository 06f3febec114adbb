"""Copy-paste augmentation (Ghiasi et al., arXiv:2012.07177): pieces of other images in a crop.

Impurities cover a few per cent of an image, so most of a step's pixels are steel. Pasting pieces
cut out along their instance masks shows each step several impurities before other backgrounds.
A pasted piece has a cut edge, which must not become the mark of an impurity: so a share of the
pieces is steel, cut along the same outlines.

`cut_out` and `paste` are all there is to cutting and pasting; what is drawn, and how it is varied,
is up to who calls them: `PasteCutouts` here, the collages of the alignment elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from scrapseg.data.base import LabelledImages
from scrapseg.data.classes import STEEL

#: Pieces smaller than this many pixels are not cut out: nobody could tell what they are.
SMALLEST = 60


def cut_out(image: np.ndarray, mask: np.ndarray) -> tuple[Tensor, Tensor]:
    """The smallest box of an image (H, W, 3) that holds all of a mask (H, W), at least one pixel.

    Returns:
        Its pixels uint8 (3, h, w) and its part of the mask, the outline, bool (h, w).
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pixels = torch.from_numpy(image[box].copy()).permute(2, 0, 1).contiguous()
    return pixels, torch.from_numpy(mask[box].copy())


def paste(onto: Tensor, piece: Tensor | int, opacity: Tensor, top: int, left: int) -> None:
    """Lay a piece on an image, or write its number into a mask, in place; the rest is cut off.

    Args:
        onto: image (3, H, W), or mask (..., H, W).
        piece: for an image its pixels (3, h, w) in the image's range, blended by `opacity`; for a
            mask a number, written where the opacity is more than a half.
        opacity: float (h, w), 0..1.
        top, left: where the piece's corner lies, in pixels; it may stick out on all sides.
    """
    (height, width), (h, w) = onto.shape[-2:], opacity.shape
    y0, y1 = (min(max(y, 0), height) for y in (top, top + h))
    x0, x1 = (min(max(x, 0), width) for x in (left, left + w))
    inside = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    view, alpha = onto[..., y0:y1, x0:x1], opacity[inside]
    if isinstance(piece, int):
        view[..., alpha > 0.5] = piece
    else:
        view.copy_(view * (1 - alpha) + piece[:, *inside] * alpha)


@dataclass(frozen=True)
class Cutout:
    """A piece of an image: pixels uint8 (3, h, w), outline bool (h, w), class index."""

    pixels: Tensor
    outline: Tensor
    label: int


def cutouts(dataset: LabelledImages, ids: Sequence[str]) -> list[Cutout]:
    """Every impurity of these images that is large enough, and for each the same outline of steel.

    The steel comes from images without impurity, at a place drawn with the outline; without such
    images there are only impurities.
    """
    pieces = []
    index_of = {c.slug: c.index for c in dataset.classes}
    generator = torch.Generator().manual_seed(0)
    normal = [i for i in ids if not dataset.meta[i]["instances"]]
    for id in ids:
        sample = dataset.sample(id) if dataset.meta[id]["instances"] else None
        for instance in dataset.meta[id]["instances"]:
            if instance["pixels"] < SMALLEST:
                continue
            pixels, outline = cut_out(sample.image, sample.instances == instance["id"])
            pieces.append(Cutout(pixels, outline, index_of[instance["class"]]))
            if normal:
                other = normal[int(torch.randint(len(normal), (), generator=generator))]
                image = torch.from_numpy(dataset.sample(other).image).permute(2, 0, 1)
                h, w = outline.shape
                if h > image.shape[1] or w > image.shape[2]:
                    continue  # images of different sizes
                top = int(torch.randint(image.shape[1] - h + 1, (), generator=generator))
                left = int(torch.randint(image.shape[2] - w + 1, (), generator=generator))
                steel = image[:, top : top + h, left : left + w].clone()
                pieces.append(Cutout(steel, outline, STEEL.index))
    return pieces


class PasteCutouts(v2.Transform):
    """Paste up to `most` pieces into an image and its mask.

    Each piece is of a class drawn uniformly (steel counts as `steel` of all), mirrored, turned by
    quarters, resized by a factor in `scale` and made brighter or darker by up to a fifth.

    Args:
        pieces: from `cutouts`. most: the number is drawn uniformly from 0 to `most`.
        steel: share of steel pieces, 0..1. scale: bounds of the magnification.
    """

    def __init__(
        self,
        pieces: Sequence[Cutout],
        most: int = 4,
        steel: float = 0.3,
        scale: tuple[float, float] = (0.7, 1.4),
    ) -> None:
        super().__init__()
        self.by_class: dict[int, list[Cutout]] = {}
        for piece in pieces:
            self.by_class.setdefault(piece.label, []).append(piece)
        self.most, self.steel, self.scale = most, steel, scale

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the pieces as they will lie: pixels, soft outline, class, top left corner."""
        height, width = flat_inputs[0].shape[-2:]
        impurities = sorted(c for c in self.by_class if c != STEEL.index)
        placed = []
        for _ in range(int(torch.randint(self.most + 1, ()))):
            label = impurities[int(torch.randint(len(impurities), ()))]
            if STEEL.index in self.by_class and float(torch.rand(())) < self.steel:
                label = STEEL.index
            group = self.by_class[label]
            pixels, alpha = self._varied(group[int(torch.randint(len(group), ()))])
            h, w = alpha.shape
            top = int(torch.randint(-h // 2, height - h // 2, ()))
            left = int(torch.randint(-w // 2, width - w // 2, ()))
            placed.append((pixels, alpha, label, top, left))
        return {"placed": placed}

    def _magnification(self, piece: Cutout) -> float:
        """Log-uniform within `scale`, whatever the piece."""
        low, high = (math.log(s) for s in self.scale)
        return math.exp(low + (high - low) * float(torch.rand(())))

    def _varied(self, piece: Cutout) -> tuple[Tensor, Tensor]:
        """Pixels float (3, h', w') 0..255 and outline float (h', w') 0..1 of a varied piece."""
        factor = self._magnification(piece)
        h, w = (max(2, round(factor * side)) for side in piece.outline.shape)
        stack = torch.cat([piece.pixels.float(), piece.outline[None].float()])[None]
        stack = F.interpolate(stack, size=(h, w), mode="bilinear", antialias=True)[0]
        stack = torch.rot90(stack, int(torch.randint(4, ())), (1, 2))
        if torch.rand(()) < 0.5:
            stack = stack.flip(2)
        gain = 0.8 + 0.4 * torch.rand(())
        return (stack[:3] * gain).clamp(0, 255), stack[3]

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Paste into an image (3, H, W) uint8, or write the classes into a mask (H, W)."""
        out = inpt.as_subclass(Tensor).clone()
        for pixels, alpha, label, top, left in params["placed"]:
            paste(out, label if isinstance(inpt, tv_tensors.Mask) else pixels, alpha, top, left)
        return tv_tensors.wrap(out, like=inpt)
