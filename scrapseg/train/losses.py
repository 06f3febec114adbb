"""The training loss: softmax focal + Dice over the impurities + an image-level term."""

from __future__ import annotations

from typing import NamedTuple

import torch
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor
from torch.nn import functional as F

from scrapseg.data.classes import IGNORED


class LossParts(NamedTuple):
    """Scalar tensors; `total` is what is minimised."""

    total: Tensor
    focal: Tensor
    dice: Tensor
    image: Tensor


def focal_loss(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Multi-class focal loss (Lin et al. 2017, eq. 5, with a softmax), mean over pixels.

    Written here because library versions treat a class as one-against-rest with a sigmoid.
    `gamma = 0` is plain cross-entropy.

    Args:
        logits: (B, C, H, W) unnormalised log-probabilities.
        labels: (B, H, W) int64, 0..C-1, or `IGNORED`.
    """
    ce = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    loss = (1 - torch.exp(-ce)) ** gamma * ce if gamma else ce
    return loss.sum() / (labels != IGNORED).sum().clamp_min(1)


def image_loss(image_logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of 'this image holds an impurity' from the pooled token.

    With p = softmax(image_logits), the log-odds of 1 - p[normal] are
    logsumexp(impurity logits) - normal logit.

    Args:
        image_logits: (B, C). labels: (B, H, W) int64.
    """
    log_odds = image_logits[:, 1:].logsumexp(1) - image_logits[:, 0]
    found = ((labels > 0) & (labels != IGNORED)).flatten(1).any(1)
    # An image with nothing but unlabelled things may hold an impurity or not.
    known = found | ~(labels == IGNORED).flatten(1).any(1)
    target = found.to(log_odds.dtype)
    loss = F.binary_cross_entropy_with_logits(log_odds, target, reduction="none")
    return (loss * known).sum() / known.sum().clamp_min(1)


def segmentation_loss(
    logits: Tensor,
    image_logits: Tensor | None,
    labels: Tensor,
    *,
    gamma: float = 0.0,
    dice_weight: float = 1.0,
    image_weight: float = 0.1,
    binary: bool = False,
) -> LossParts:
    """focal + dice_weight * Dice(impurity classes) + image_weight * image-level BCE.

    Dice is segmentation-models-pytorch's, over the batch; a class absent from the batch adds
    nothing. Models without a pooled token pass `image_logits=None` and skip the last term. Pixels
    labelled `IGNORED` add nothing to the pixel terms.

    Args:
        binary: the pixel terms ask only for normal or impurity, p[impurity] = 1 - p[normal]; which
            one is left to the class vectors (the ablation of multi-class supervision).
    """
    image = logits.new_zeros(()) if image_logits is None else image_loss(image_logits, labels)
    if binary:
        logits = torch.stack([logits[:, 0], logits[:, 1:].logsumexp(1)], dim=1)
        labels = labels.where(labels == IGNORED, labels.clamp_max(1))
    classes = list(range(1, logits.shape[1]))
    focal = focal_loss(logits, labels, gamma)
    dice_loss = DiceLoss("multiclass", classes=classes, from_logits=True, ignore_index=IGNORED)
    dice = dice_loss(logits, labels)
    return LossParts(focal + dice_weight * dice + image_weight * image, focal, dice, image)
