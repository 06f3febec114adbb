"""What alignment minimises: two softmax losses with several right answers each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from making.align.collage import Batch
from scrapseg.models.scrapseg import ScrapSeg


class AlignLoss(NamedTuple):
    """Scalar tensors; `total` is what is minimised."""

    total: Tensor
    dense: Tensor
    caption: Tensor


def multi_positive_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Softmax cross-entropy with several right answers: -log of the right ones' common share.

    Candidates of which it cannot be told are left out. A row without a right answer gives inf.

    Args:
        logits: (N, C). truth: (N, C), 1 right, -1 wrong, 0 not to be told.

    Returns:
        (N,), non-negative.
    """
    right = logits.masked_fill(truth <= 0, -torch.inf).logsumexp(1)
    known = logits.masked_fill(truth == 0, -torch.inf).logsumexp(1)
    return known - right


def dense_loss(logits: Tensor, regions: Tensor, truth: Tensor) -> Tensor:
    """`multi_positive_loss` of every cell, mean over a region's cells, then over regions.

    So a bolt counts as much as a table, and an object as much as a background.

    Args:
        logits: (B, C, h, w). regions: int64 (B, h, w), 0..R-1, -1 for none. truth: (R, C).
    """
    inside = regions >= 0
    cells, owner = logits.permute(0, 2, 3, 1)[inside], regions[inside]
    losses = multi_positive_loss(cells, truth[owner])
    sums = losses.new_zeros(len(truth)).index_add(0, owner, losses)
    counts = torch.bincount(owner, minlength=len(truth))
    return (sums / counts.clamp_min(1))[counts > 0].mean()


def caption_loss(images: Tensor, captions: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
    """Contrast images with captions, and captions with images (CLIP, arXiv:2103.00020, fig. 3).

    Args:
        images: (P, D) unit vectors. captions: (M, D) unit vectors, the images' own first.
        truth: (P, M). scale: one over the temperature.
    """
    if not len(images):
        return images.sum()  # 0, and still part of the graph
    logits = scale * images @ captions.T
    own = len(images)
    to_text = multi_positive_loss(logits, truth)
    to_image = multi_positive_loss(logits[:, :own].T, truth[:, :own].T)
    return (to_text.mean() + to_image.mean()) / 2


class Aligner(nn.Module):
    """`ScrapSeg` as alignment uses it: texts come with each batch, not with the model."""

    def __init__(self, model: ScrapSeg) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W), text (C, D) -> logits (B, C, H/4, W/4), unit vectors (B, D)."""
        model = self.model
        stages = model.encoder(images)
        maps = [
            project(h, text)
            for project, h in zip(model.projections, model.pyramid(stages.maps), strict=True)
        ]
        return model.fuse(maps), F.normalize(stages.pooled, dim=1)

    def param_groups(self, lr: float, layer_decay: float, encoder_lr: float) -> list[dict]:
        """As `ScrapSeg.param_groups`."""
        return self.model.param_groups(lr, layer_decay, encoder_lr)


def align_loss(aligner: nn.Module, batch: Batch, caption_weight: float) -> AlignLoss:
    """Both terms on one batch; `aligner` is an `Aligner`, perhaps wrapped by Fabric."""
    images = batch.images.contiguous(memory_format=torch.channels_last)
    logits, pooled = aligner(images, batch.text)
    dense = dense_loss(logits.float(), batch.regions, batch.truth)
    scale = aligner.model.image_log_scale.exp()
    plain = pooled.float()[batch.plain]
    caption = caption_loss(plain, batch.captions, batch.caption_truth, scale)
    return AlignLoss(dense + caption_weight * caption, dense, caption)
