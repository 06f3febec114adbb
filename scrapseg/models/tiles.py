"""Prediction on photographs larger than a model was trained on, tile by tile, in bounded memory.

A frame of 3840 x 2160 pixels does not go through the network whole: it would take gigabytes, and
objects would be larger than in training. `predict_large` cuts it into overlapping tiles of the
training size, blends their class probabilities with weights that fall towards a tile's edges, and
keeps only a band of rows at a time: what it holds grows with the frame's width, not its height.

With several scales, the frame is seen magnified (for small objects) or reduced (for large ones)
too, and the probabilities are averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LargePrediction(NamedTuple):
    """What a model says about one photograph.

    score_map: float16 (H, W), 1 - p[normal].
    label: uint8 (H, W), most likely class.
    impurity: uint8 (H, W), most likely class but the normal one.
    entropy: float16 (H, W), of the class probabilities, as a share of the most there can be.
    """

    score_map: np.ndarray
    label: np.ndarray
    impurity: np.ndarray
    entropy: np.ndarray


def positions(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along one side, evenly, the first at 0 and the last at the end.

    Neighbours share at least `overlap` pixels, less than `tile`; a shorter side gets one tile.
    """
    if length <= tile:
        return [0]
    count = -(-(length - tile) // (tile - overlap)) + 1
    return np.linspace(0, length - tile, count).round().astype(int).tolist()


def window(tile: int, overlap: int) -> Tensor:
    """Weights of a tile's pixels, (tile, tile): 1 inside, falling linearly over the overlap."""
    ramp = torch.arange(1, tile + 1).float()
    ramp = torch.minimum(ramp, ramp.flip(0)).clamp_max(overlap + 1) / (overlap + 1)
    return ramp[:, None] * ramp


@torch.inference_mode()
def predict_large(
    model: nn.Module,
    image: np.ndarray,
    *,
    tile: int = 384,
    overlap: int = 64,
    scales: Sequence[float] = (1.0,),
    batch_size: int = 4,
) -> LargePrediction:
    """Class map and anomaly score of one photograph of any size.

    Args:
        model: normalised images (B, 3, tile, tile) -> `SegOutput`, with `mean` and `std`; it is put
            in eval mode, and predicts on the device it is on.
        image: uint8 (H, W, 3). Sides shorter than a tile are filled up by reflection.
        tile: side in pixels of what the model sees, a multiple of 32.
        overlap: of neighbouring tiles, in pixels the model sees.
        scales: magnifications at which the photograph is seen; their probabilities are averaged.
        batch_size: tiles at a time.

    Returns:
        `LargePrediction` at the photograph's size. Beside it, the photograph and one batch in the
        network, two bands of tile / scale rows of C + 1 floats per scale are held: 110 MB for 9
        classes, 3840 pixels across and scale 1.

    Raises:
        ValueError: no uint8 (H, W, 3) image, or an overlap or scale that cannot be.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} {image.shape}, must be uint8 (H, W, 3)")
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales are {list(scales)}, must be above 0, at least one")
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap is {overlap}, must be in 0..{tile - 1}")
    model.eval()
    height, width = image.shape[:2]
    kinds = np.float16, np.uint8, np.uint8, np.float16
    found = LargePrediction(*(np.empty((height, width), kind) for kind in kinds))
    streams = [_bands(model, image, s, tile, overlap, batch_size) for s in scales]
    waiting = [next(stream) for stream in streams]
    row = 0
    while row < height:
        n = min(p.shape[1] for p in waiting)  # rows that every scale has finished
        p = sum(p[:, :n] for p in waiting) / len(waiting)
        entropy = -torch.xlogy(p, p).sum(0) / np.log(len(p))
        for whole, rows in zip(found, (1 - p[0], p.argmax(0), 1 + p[1:].argmax(0), entropy)):
            whole[row : row + n] = rows.numpy()
        row += n
        if row < height:
            rest = zip(waiting, streams, strict=True)
            waiting = [p[:, n:] if p.shape[1] > n else next(stream) for p, stream in rest]
    return found


def _bands(
    model: nn.Module, image: np.ndarray, scale: float, tile: int, overlap: int, batch_size: int
) -> Iterator[Tensor]:
    """Class probabilities at one scale, (C, rows, W) each, from top to bottom without a gap."""
    height, width = image.shape[:2]
    side = max(1, round(tile / scale))  # of a tile, in pixels of the photograph
    shared = min(round(overlap / scale), side - 1)
    tops, lefts = positions(height, side, shared), positions(width, side, shared)
    weight = window(side, shared)
    band: Tensor | None = None
    for k, top in enumerate(tops):
        for first in range(0, len(lefts), batch_size):
            some = lefts[first : first + batch_size]
            tiles = np.stack([_cut(image, top, left, side) for left in some])
            for left, p in zip(some, _probabilities(model, tiles, tile), strict=True):
                if band is None:  # the weights' own sum is the last layer
                    band = torch.zeros(len(p) + 1, side, max(width, side))
                band[:-1, :, left : left + side] += p * weight
                band[-1, :, left : left + side] += weight
        done = (tops[k + 1] if k + 1 < len(tops) else height) - top
        yield (band[:-1, :done] / band[-1:, :done])[..., :width]
        band[:, : -done or None] = band[:, done:].clone()
        band[:, side - done :] = 0


def _cut(image: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """A tile (side, side, 3), filled up by reflection where the image ends before it."""
    part = image[top : top + side, left : left + side]
    missing = side - part.shape[0], side - part.shape[1]
    if not any(missing):
        return part
    return np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def normalised(model: nn.Module, images: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) as a model takes it, (B, 3, H, W), on the device it is on."""
    device = next(model.parameters()).device
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (model.mean, model.std))
    x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()
    return ((x / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def _probabilities(model: nn.Module, tiles: np.ndarray, tile: int) -> Tensor:
    """uint8 (B, side, side, 3), seen by the model as (B, 3, tile, tile), to (B, C, side, side)."""
    x, side = normalised(model, tiles), tiles.shape[1]
    if side != tile:
        x = F.interpolate(x, size=(tile, tile), mode="bilinear", antialias=True)
    p = model(x.contiguous(memory_format=torch.channels_last)).logits.float().softmax(1)
    if side != tile:
        p = F.interpolate(p, size=(side, side), mode="bilinear", antialias=True)
    return p.cpu()
