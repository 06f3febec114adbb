"""Adaptation without labels: from renders to the photographs of one plant.

What is assumed: the photographs show mostly steel, and what else is in view (walls, ground, sky) is
no impurity either. Then they are labelled images of "no impurity", and impurities that they do not
show can be laid on them: pieces cut out of rendered scenes. Half of the training crops are such
photographs, half are rendered scenes, so that what was learned there is kept.

Three things keep the model from learning what it should not:
- *A cut edge is not the mark of an impurity.* As often as a rendered piece, a piece of another
  photograph is laid down, cut along the outline of a rendered one; and each piece is blended in
  another way (Dwibedi et al., arXiv:1708.01642).
- *What may be an impurity is not called steel.* Where the model is sure of one beforehand,
  the photograph has no label.
- *Rendered is not the mark, either.* Pieces take on the light of the place where they lie; then
  the whole crop is blurred, made noisy and compressed as cameras do.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F2

from scrapseg.data.base import LabelledImages, SegDataset, shrunk
from scrapseg.data.folder import read_photo
from scrapseg.data.shots import balanced_weights
from scrapseg.models.predict import to_float
from scrapseg.models.segmenter import Segmenter
from scrapseg.train.augment import ImpurityCrop, RandomQuarterTurn, train_transform
from scrapseg.train.loop import TrainConfig, fit
from scrapseg.train.losses import IGNORED
from scrapseg.train.paste import Cutout, PasteCutouts, cutouts

#: At most so many photographs are learned from; of more, this many are drawn.
MOST_PHOTOS = 200


@dataclass(frozen=True)
class AdaptConfig(TrainConfig):
    """What adaptation is made of; `TrainConfig` has the rest.

    Attributes:
        photos: share of the training crops that are photographs, 0..1.
        distractors: share of the pasted pieces that are cut out of photographs, 0..1.
        surer: pixels whose score is above this before adaptation have no label; 1 ignores none.
        scale: bounds of a rendered piece's magnification.
        lit: how far a piece takes on the light of its place, 0 not at all, 1 fully.
        camera: probability of each of blur, noise and compression on a photograph's crop.
    """

    steps: int = 300
    lr: float = 1e-3
    encoder_lr: float = 5e-4
    evals: int = 1
    photos: float = 0.5
    distractors: float = 0.5
    surer: float = 0.9
    scale: tuple[float, float] = (0.5, 2.2)
    lit: float = 0.7
    camera: float = 0.3


class PasteOntoPhotos(PasteCutouts):
    """Paste rendered impurities, and as distractors pieces of photographs with like outlines.

    Args:
        pieces: rendered, from `paste.cutouts`; those of steel are left out.
        photos: uint8 (3, H, W) each, what distractors are cut out of.
    """

    def __init__(self, pieces: Sequence[Cutout], photos: Sequence[Tensor], config: AdaptConfig):
        impurities = [p for p in pieces if p.label]
        super().__init__(impurities, config.paste, 0.0, config.scale)
        self.photos, self.config = photos, config
        self.outlines = impurities

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the pieces; some become distractors. Each is blended in its own way."""
        params = super().make_params(flat_inputs)
        placed = []
        for pixels, alpha, label, top, left in params["placed"]:
            if float(torch.rand(())) < self.config.distractors:
                pixels, alpha, top, left = self._distractor(flat_inputs[0].shape[-2:])
                label = 0
            under = _patch(flat_inputs[0], alpha, top, left)
            pixels = _lit(pixels, alpha > 0.5, under, self.config.lit * float(torch.rand(())))
            placed.append((pixels, _blended(alpha), label, top, left))
        return {"placed": placed}

    def _distractor(self, size: Sequence[int]) -> tuple[Tensor, Tensor, int, int]:
        outline = self.outlines[int(torch.randint(len(self.outlines), ()))]
        _, alpha = self._varied(outline)
        photo = self.photos[int(torch.randint(len(self.photos), ()))]
        h, w = (min(n, m) for n, m in zip(alpha.shape, photo.shape[1:], strict=True))
        alpha = alpha[:h, :w]
        y, x = (int(torch.randint(m - n + 1, ())) for n, m in zip((h, w), photo.shape[1:]))
        top = int(torch.randint(-h // 2, size[0] - h // 2, ()))
        left = int(torch.randint(-w // 2, size[1] - w // 2, ()))
        gain = 0.8 + 0.4 * torch.rand(())
        return (photo[:, y : y + h, x : x + w] * gain).clamp(0, 255), alpha, top, left


def _patch(image: Tensor, alpha: Tensor, top: int, left: int) -> Tensor:
    """The part of an image (3, H, W) below a piece, (3, n) float; at least one pixel."""
    (height, width), (h, w) = image.shape[-2:], alpha.shape
    y, x = (min(max(v, 0), n - 1) for v, n in ((top, height), (left, width)))
    part = image[:, y : max(y + 1, top + h), x : max(x + 1, left + w)]
    return part.as_subclass(Tensor).flatten(1).float()


def _lit(pixels: Tensor, inside: Tensor, under: Tensor, strength: float) -> Tensor:
    """A piece (3, h, w) moved towards the brightness and contrast of what it lies on."""
    grey = pixels[:, inside].mean(0) if inside.any() else pixels.mean(0).flatten()
    there = under.mean(0)
    gain = (there.mean() / grey.mean().clamp_min(1)).clamp(0.4, 2.5) ** strength
    return (pixels * gain).clamp(0, 255)


def _blended(alpha: Tensor) -> Tensor:
    """An outline (h, w) blended hard, softly, or softly inwards: one of three, drawn."""
    kind = int(torch.randint(3, ()))
    if kind == 0:
        return (alpha > 0.5).float()
    sigma = 0.5 + 1.5 * float(torch.rand(()))
    soft = F2.gaussian_blur(alpha[None, None], [7, 7], [sigma, sigma])[0, 0]
    return soft if kind == 1 else (2 * soft - 1).clamp_min(0) * 0.999 + 0.001 * (alpha > 0.5)


class Photos(Dataset[tuple[Tensor, Tensor]]):
    """Photographs as images of steel: label 0, `IGNORED` where there may be an impurity.

    Args:
        images: uint8 (3, H, W). unknown: bool (H, W) each. transform: see `SegDataset`.
    """

    def __init__(self, images: Sequence[Tensor], unknown: Sequence[Tensor], transform: Any) -> None:
        self.images, self.unknown, self.transform = images, unknown, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        label = torch.where(self.unknown[index], IGNORED, 0).to(torch.uint8)
        image = tv_tensors.Image(self.images[index].clone())
        return self.transform(image, tv_tensors.Mask(label))


def photo_transform(model: Any, pieces: Sequence[Cutout], photos: Sequence[Tensor], config):
    """What a photograph goes through: a crop, pieces, turns, colour, what cameras do."""
    some = config.camera
    return v2.Compose(
        [
            ImpurityCrop(config.crop, scale=(0.5, 1.6), p=0.0),
            PasteOntoPhotos(pieces, photos, config),
            v2.RandomHorizontalFlip(),
            RandomQuarterTurn(),
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
            v2.RandomApply([v2.ColorJitter(hue=0.02)], p=0.25),
            v2.RandomApply([v2.GaussianBlur(7, sigma=(0.3, 2.0))], p=some),
            v2.RandomApply([v2.JPEG((40, 95))], p=some),
            to_float(),
            v2.RandomApply([v2.GaussianNoise(sigma=0.04)], p=some),
            v2.Normalize(list(model.mean), list(model.std)),
            v2.ToPureTensor(),
        ]
    )


def read_photos(paths: Sequence[Path], side: int, seed: int = 0) -> list[np.ndarray]:
    """At most `MOST_PHOTOS` photographs, uint8 (H, W, 3), the longer side at most `side`."""
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(seed))
    return [shrunk(read_photo(paths[int(i)]), side) for i in order[:MOST_PHOTOS]]


def adapt_model(
    start: Segmenter,
    images: Sequence[np.ndarray],
    scrapsim: LabelledImages,
    config: AdaptConfig,
    label: str = "adapt",
) -> Segmenter:
    """`start` adapted to photographs of mostly steel; `start` itself stays as it is."""
    model = copy.deepcopy(start.model)
    torch.manual_seed(config.seed)
    photos = [torch.from_numpy(image.copy()).permute(2, 0, 1).contiguous() for image in images]
    unknown = [torch.zeros(p.shape[1:], dtype=torch.bool) for p in photos]
    if config.surer < 1:
        unknown = [1 - start.probabilities(image)[0][0] > config.surer for image in images]
    pieces = cutouts(scrapsim, scrapsim.ids)
    rendered = SegDataset(
        scrapsim,
        transform=train_transform(config.crop, model.mean, model.std, pieces, config.paste),
    )
    real = Photos(photos, unknown, photo_transform(model, pieces, photos, config))
    weights = torch.cat(
        [
            (1 - config.photos) * balanced_weights(scrapsim, scrapsim.ids),
            torch.full((len(real),), config.photos / len(real), dtype=torch.float64),
        ]
    )
    fit(model, ConcatDataset([rendered, real]), weights, lambda _: 0.0, config, label=label)
    origin = f"adapted to {len(images)} photographs without labels, from: {start.origin}"
    return replace(start, model=model.eval(), origin=origin)
