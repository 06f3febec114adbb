"""Other ways of laying rendered pieces on photographs, which the study of adaptation tries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F2

from scrapseg.train.adapt import AdaptConfig, PasteOntoPhotos
from scrapseg.train.paste import Cutout, PasteCutouts, paste


class WithSteel(PasteOntoPhotos):
    """Three tenths of the pieces are rendered steel."""

    def __init__(self, pieces: Sequence[Cutout], photos: Sequence[Tensor], config: AdaptConfig):
        super().__init__(pieces, photos, config)
        PasteCutouts.__init__(self, pieces, config.paste, steel=0.3)


class Changed(PasteOntoPhotos):
    """Each piece, but for distractors, is changed once more before it is laid."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """As of `PasteOntoPhotos`, changed."""
        photo = flat_inputs[0].as_subclass(Tensor)
        placed = []
        for pixels, alpha, label, top, left in super().make_params(flat_inputs)["placed"]:
            pixels = self.changed(pixels, photo) if label else pixels
            placed.append((pixels, alpha, label, top, left))
        return {"placed": placed}

    def changed(self, pixels: Tensor, photo: Tensor) -> Tensor:
        """Pixels (3, h, w) 0..255 of a piece that will lie on this crop of a photograph."""
        raise NotImplementedError


class Tinted(Changed):
    """Another hue, saturation and contrast."""

    def changed(self, pixels: Tensor, photo: Tensor) -> Tensor:
        """See `Changed`."""
        jitter = v2.ColorJitter(saturation=1.0, contrast=0.5, hue=0.5 / 6)
        return 255 * jitter((pixels / 255).clamp(0, 1))


class Dirty(Changed):
    """Patches of dust, rust and oil as the photographs show it: in a yard everything takes on the
    colour of what it lies in."""

    most = 0.8

    def changed(self, pixels: Tensor, photo: Tensor) -> Tensor:
        """See `Changed`."""
        h, w = (dust := self._part(pixels.shape[1:])).shape[1:]
        patches = F.interpolate(torch.rand(1, 1, 4, 4), size=(h, w), mode="bicubic")[0, 0]
        cover = (self.most * (torch.rand(()) + patches - 0.5)).clamp(0, 1)
        pixels = pixels.clone()
        paste(pixels, dust.float(), cover, 0, 0)
        return pixels


class HalfDirty(Dirty):
    """Half as much."""

    most = 0.4


class Matched(Changed):
    """The light, the sharpness and the noise of the photograph that it will lie on.

    The light's colour is the photograph's mean against grey. Sharpness is the spread of a Laplacian
    over that of brightness. The noise of the channels' mean is added to each of them, so coloured
    noise comes out weaker than it was. How large impurities are in it, no photograph of steel says:
    sizes stay drawn.
    """

    def changed(self, pixels: Tensor, photo: Tensor) -> Tensor:
        """See `Changed`."""
        photo = photo.float()
        light = photo.mean((1, 2))
        pixels = pixels * (light / light.mean().clamp_min(1))[:, None, None].clamp(0.7, 1.4)
        wanted, sharp = sharpness(photo), pixels
        for sigma in (0.5, 1.0, 1.5, 2.0):
            if sharpness(pixels) <= wanted:
                break
            pixels = F2.gaussian_blur(sharp, [9, 9], [sigma, sigma])
        more = max(noise(photo) ** 2 - noise(pixels) ** 2, 0.0) ** 0.5
        return (pixels + more * torch.randn(pixels.shape)).clamp(0, 255)


def sharpness(pixels: Tensor) -> float:
    """Spread of the Laplacian over the spread of brightness, of (3, h, w); 0 if it is tiny."""
    if min(pixels.shape[1:]) < 9:
        return 0.0
    grey = pixels.mean(0)[None, None]
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return float(F.conv2d(grey, kernel).std() / grey.std().clamp_min(1))


def noise(pixels: Tensor) -> float:
    """Standard deviation of what is noise in (3, h, w), by Immerkaer's mask (Computer Vision and
    Image Understanding 64, 1996), in median; 0 if it is tiny."""
    if min(pixels.shape[1:]) < 9:
        return 0.0
    mask = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]])[None, None]
    found = F.conv2d(pixels.mean(0)[None, None], mask).abs().median()
    return float(found) / (6 * 0.6745)  # of a normal distribution the median is .6745 sigma
