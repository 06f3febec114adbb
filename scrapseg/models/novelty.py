"""Novelty: how far a place lies outside of what a plant's own steel looks like.

A model that was taught rendered impurities overlooks those that look otherwise. But a plant has
photographs of steel, and what looks like nothing in them is suspicious, whatever it is. Features of
ImageNet's image tower at three strides describe a place; those of steel fill a subspace, and the
share of a place's features that lies outside of it is its reconstruction error (Ndiour et al.,
arXiv:2012.04250). Its logarithm, less its mean on steel and in units of its spread there, is
added to the log-odds that a place is an impurity. Nothing is trained: a mean, a covariance and its
eigenvectors are all there is to learn.

The tower is one of its own and keeps ImageNet's weights: the model's changes as it is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scrapseg.models.tiles import normalised
from scrapseg.models.weights import EFFICIENTNET, load_encoder

#: Dimensions of the subspace, of 472.
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
        """Images (B, 3, H, W), normalised as the model's, to (B, width, H / 16, W / 16): the
        tower's finest map averaged, its coarsest magnified."""
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
        """Take the subspace from the features of places, (N, width)."""
        std, self.mean = torch.std_mean(places, 0)
        self.std = std.clamp_min(1e-6)
        x = (places - self.mean) / self.std
        self.basis = torch.linalg.eigh(x.T @ x).eigenvectors[:, -self.basis.shape[1] :].contiguous()

    def _span_usual(self, places: Tensor) -> None:
        """Take the subspace from places (N, width), then from those not among the least usual."""
        self._span(places)
        rest = self.outside(places[..., None, None]).flatten()
        self._span(places[rest <= rest.quantile(1 - TRIMMED)])


@torch.no_grad()
def learned(
    like: nn.Module,
    images: Sequence[np.ndarray],
    steel: Sequence[Tensor],
    seed: int = 0,
    rank: int = RANK,
) -> Novelty | None:
    """The novelty of what these images do not show; None where there is too little steel in them.

    Args:
        like: the model that it is for, whose images are normalised by its `mean` and `std`.
        images: uint8 (H, W, 3). steel: bool (H, W) each, what of them may be steel.
        seed: of the places that are drawn.

    What is normal for the subspace is measured on images that it was not taken from: of the even
    ones on the odd ones, and the other way round.
    """
    model = Novelty(rank).eval()
    load_encoder(model.tower)
    generator = torch.Generator().manual_seed(seed)
    places = []
    for image, of in list(zip(images, steel, strict=True))[:PHOTOS]:
        features = model.features(normalised(like, image[None].copy()))[0]
        shown = F.interpolate(of[None, None].float(), size=features.shape[1:], mode="area")[0, 0]
        kept = features[:, shown > 0.9].T
        places.append(kept[torch.randperm(len(kept), generator=generator)[:PLACES]])
    halves = [torch.cat(places[k::2]) for k in (0, 1) if places[k::2]]
    if min(map(len, halves)) < 2 * rank:
        return None
    unseen = []
    for mine, other in zip(halves, reversed(halves), strict=True):
        model._span_usual(mine)
        unseen.append(model.outside(other[..., None, None]).flatten())
    model._span_usual(torch.cat(halves))
    rest = torch.cat(unseen)
    rest = rest[rest <= rest.quantile(1 - TRIMMED)]
    model.level = torch.stack([rest.mean(), rest.std()])
    return model
