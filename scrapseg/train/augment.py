"""What a training image goes through: a crop, pasted pieces, turns, colour, normalisation.

Random numbers come from torch's global generator, so that ``torch.manual_seed`` fixes a draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from scrapseg.models.predict import to_float
from scrapseg.train.paste import Cutout, PasteCutouts


class ImpurityCrop(v2.Transform):
    """Random resized crop that often looks at an impurity.

    Impurities cover a few per cent of an image, so a blind crop misses most of them. With
    probability ``p`` this one draws one of the impurity classes in the mask, all alike, then one
    of its pixels, and places the window around it, off centre by up to a third of its size;
    otherwise, and in images without impurity, it places the window anywhere. The window is kept
    inside the image. The image is resized bilinearly with antialiasing, the mask by nearest
    neighbour.

    Args:
        size: height and width of the crop in pixels.
        scale: bounds of the magnification, drawn log-uniformly; 1 is native scale. A window
            larger than the image is cut to the image.
        ratio: bounds of height over width of the window, drawn log-uniformly.
        p: probability of looking at an impurity, 0..1.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.6, 1.6),
        ratio: tuple[float, float] = (0.8, 1.25),
        p: float = 0.5,
    ) -> None:
        super().__init__()
        self.size, self.scale, self.ratio, self.p = size, scale, ratio, p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, int]:
        """Draw the window: its top left corner and size in pixels of the image."""
        height, width = flat_inputs[0].shape[-2:]
        side = self.size / _log_uniform(*self.scale)
        stretch = math.sqrt(_log_uniform(*self.ratio))
        h = min(height, max(1, round(side * stretch)))
        w = min(width, max(1, round(side / stretch)))
        centre = self._impurity_pixel(flat_inputs) if _uniform(0, 1) < self.p else None
        if centre is None:
            top, left = round(_uniform(0, height - h)), round(_uniform(0, width - w))
        else:
            top = round(centre[0] + h * _uniform(-1 / 3, 1 / 3) - h / 2)
            left = round(centre[1] + w * _uniform(-1 / 3, 1 / 3) - w / 2)
            top, left = min(max(top, 0), height - h), min(max(left, 0), width - w)
        return {"top": top, "left": left, "height": h, "width": w}

    def _impurity_pixel(self, flat_inputs: list[Any]) -> tuple[int, int] | None:
        """Row and column of a random pixel of a random impurity class; none if there is none."""
        for mask in flat_inputs:
            if isinstance(mask, tv_tensors.Mask):
                present = mask.unique()
                present = present[present > 0]
                if len(present) == 0:
                    return None
                pixels = (mask == present[torch.randint(len(present), ())]).nonzero()
                row, column = pixels[torch.randint(len(pixels), ())].tolist()
                return row, column
        return None

    def transform(self, inpt: Any, params: dict[str, int]) -> Any:
        """Cut the window out of image or mask and resize it to the crop."""
        return self._call_kernel(
            v2.functional.resized_crop, inpt, **params, size=[self.size, self.size], antialias=True
        )


class RandomQuarterTurn(v2.Transform):
    """Turn image and mask together by 0, 90, 180 or 270 degrees, all alike."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, int]:
        """Draw the number of quarter turns, 0..3."""
        return {"turns": int(torch.randint(4, ()))}

    def transform(self, inpt: Any, params: dict[str, int]) -> Any:
        """Turn image or mask."""
        return tv_tensors.wrap(torch.rot90(inpt, params["turns"], (-2, -1)), like=inpt)


def _uniform(low: float, high: float) -> float:
    """One draw from torch's global generator, which ``torch.manual_seed`` controls."""
    return low + (high - low) * float(torch.rand(()))


def _log_uniform(low: float, high: float) -> float:
    return math.exp(_uniform(math.log(low), math.log(high)))


def train_transform(
    crop: int,
    mean: Sequence[float],
    std: Sequence[float],
    pieces: Sequence[Cutout] = (),
    paste: int = 0,
    impurity_p: float = 0.5,
) -> v2.Compose:
    """Augmentation for training: geometry on image and mask together, colour on the image.

    A crop near native scale (``ImpurityCrop``), pieces of other images pasted in
    (``PasteCutouts``), flips and quarter turns, since scrap has no up; brightness, contrast and
    saturation by up to 30 %; now and then hue by only 2 %, because hue is what tells copper from
    rust and aluminium from steel; now and then blur or noise. The network's normalisation comes
    last.

    Args:
        crop: height and width of the result in pixels.
        mean, std: normalisation of the encoder, per channel, for images in 0..1.
        pieces: what may be pasted, from ``paste.cutouts``. paste: how many at most; 0 is none.
        impurity_p: probability that the crop looks at an impurity.

    Returns:
        ``transform(image, mask)`` from uint8 ``tv_tensors`` to a float32 (3, crop, crop) and an
        int64 (crop, crop).
    """
    return v2.Compose(
        [
            ImpurityCrop(crop, p=impurity_p),
            *([PasteCutouts(pieces, paste)] if pieces and paste else []),
            v2.RandomHorizontalFlip(),
            RandomQuarterTurn(),  # with the flip: all eight symmetries of the square, all alike
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
            # Turning the hue takes as long as all the rest, so only every fourth image pays for it.
            v2.RandomApply([v2.ColorJitter(hue=0.02)], p=0.25),
            v2.RandomApply([v2.GaussianBlur(5, sigma=(0.3, 1.2))], p=0.15),
            to_float(),
            v2.RandomApply([v2.GaussianNoise(sigma=0.03)], p=0.15),
            v2.Normalize(list(mean), list(std)),
            v2.ToPureTensor(),
        ]
    )
