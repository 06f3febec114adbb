"""Novelty: how far a place lies outside of what a plant's own steel looks like.

A model that was taught rendered impurities overlooks those that look otherwise. But a plant has
photographs of steel, and what looks like nothing in them is suspicious, whatever it is. Features of
ImageNet's image tower at three strides describe a place; those of steel fill a subspace, and the
share of a place's features that lies outside of it is its reconstruction error (Ndiour et al.,
arXiv:2012.04250). Its logarithm, less its mean on steel and in units of its spread there, is
added to the log-odds that a place is an impurity. Nothing is trained: a mean, a covariance and its
eigenvectors are all there is to learn.

The tower is one of its own, since the model's changes as it is trained: a quarter of its layers
would do, but what ImageNet taught of all things is what tells the unknown from steel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scrapseg.models.weights import EFFICIENTNET, MEAN, STD, load_encoder

#: Dimensions of the subspace, of 472. On val 64 to 330 of them differ by a hundredth of AP.
RANK = 160
#: Photographs learned from at most, and places drawn of each.
PHOTOS, PLACES = 40, 500
#: Share of the places, those least like the others, that is left out when steel is learned: the
#: photographs may show impurities.
TRIMMED = 0.05


class Novelty(nn.Module):
    """Normalised images to how unlike steel each place is.

    Args:
        rank: dimensions of the subspace of steel.
    """

    def __init__(self, rank: int = RANK) -> None:
        super().__init__()
        self.tower = timm.create_model(EFFICIENTNET, features_only=True, out_indices=(2, 3, 4))
        width = sum(self.tower.feature_info.channels())
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.register_buffer("basis", torch.zeros(width, rank))
        self.register_buffer("level", torch.tensor([0.0, 1.0]))
        self.requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W), normalised by ImageNet's statistics, to (B, width, H / 16, W / 16),
        the towers' finest map averaged and its coarsest magnified."""
        maps = self.tower(images)
        size = maps[1].shape[-2:]
        return torch.cat([F.interpolate(m, size=size, mode="bilinear") for m in maps], dim=1)

    def outside(self, features: Tensor) -> Tensor:
        """Features (B, width, h, w) to the log of their squared length outside of the subspace,
        (B, 1, h, w)."""
        x = (features - self.mean[:, None, None]) / self.std[:, None, None]
        inside = F.conv2d(x, self.basis.T[:, :, None, None])
        rest = x.square().sum(1, keepdim=True) - inside.square().sum(1, keepdim=True)
        return rest.clamp_min(1e-6).log()

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to (B, 1, H / 16, W / 16), of mean 0 and spread 1 on steel."""
        center, spread = self.level
        return (self.outside(self.features(images)) - center) / spread

    def _span(self, places: Tensor) -> None:
        """Take the subspace from places (N, width)."""
        std, mean = torch.std_mean(places, 0)
        self.mean, self.std = mean, std.clamp_min(1e-6)
        x = (places - mean) / self.std
        rank = self.basis.shape[1]
        self.basis = torch.linalg.eigh(x.T @ x).eigenvectors[:, -rank:].contiguous()


@torch.no_grad()
def learned(
    images: Sequence[np.ndarray], steel: Sequence[Tensor], seed: int = 0, rank: int = RANK
) -> Novelty | None:
    """The novelty of what these images do not show; None where there is too little steel in them.

    Args:
        images: uint8 (H, W, 3). steel: bool (H, W) each, what of them may be steel.
        seed: of the places that are drawn.

    What is normal for the subspace is measured on images that it was not taken from: of the even
    ones on the odd ones, and the other way round.
    """
    model = Novelty(rank).eval()
    load_encoder(model.tower)
    generator = torch.Generator().manual_seed(seed)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    places = []
    for image, of in list(zip(images, steel, strict=True))[:PHOTOS]:
        x = (torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255 - mean) / std
        features = model.features(x[None])[0]
        shown = F.interpolate(of[None, None].float(), size=features.shape[1:], mode="area")[0, 0]
        kept = features[:, shown > 0.9].T
        places.append(kept[torch.randperm(len(kept), generator=generator)[:PLACES]])
    if sum(map(len, places)) < 4 * rank:
        return None
    halves = [torch.cat(places[k::2]) for k in (0, 1) if places[k::2]]
    unseen = []
    for mine, other in zip(halves, reversed(halves), strict=True):
        model._span(mine)
        model._span(mine[_usual(model, mine)])
        unseen.append(model.outside(other.T[None, :, None])[0, 0, 0])
    every = torch.cat(halves)
    model._span(every)
    model._span(every[_usual(model, every)])
    rest = torch.cat(unseen)
    rest = rest[rest <= rest.quantile(1 - TRIMMED)]
    model.level = torch.stack([rest.mean(), rest.std()])
    return model


def _usual(model: Novelty, places: Tensor) -> Tensor:
    """Which of the places (N, width) are not among the least usual ones."""
    rest = model.outside(places.T[None, :, None])[0, 0, 0]
    return rest <= rest.quantile(1 - TRIMMED)
