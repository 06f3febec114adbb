"""The training loss: softmax focal + Dice over the impurities + an image-level term."""

from __future__ import annotations

from typing import NamedTuple

import torch
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor
from torch.nn import functional as F


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
        labels: (B, H, W) int64, 0..C-1.
    """
    ce = F.cross_entropy(logits, labels, reduction="none")
    return ((1 - torch.exp(-ce)) ** gamma * ce).mean() if gamma else ce.mean()


def image_loss(image_logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of 'this image holds an impurity' from the pooled token.

    With p = softmax(image_logits), the log-odds of 1 - p[normal] are
    logsumexp(impurity logits) - normal logit.

    Args:
        image_logits: (B, C). labels: (B, H, W) int64.
    """
    log_odds = image_logits[:, 1:].logsumexp(1) - image_logits[:, 0]
    target = (labels > 0).flatten(1).any(1).to(log_odds.dtype)
    return F.binary_cross_entropy_with_logits(log_odds, target)


def segmentation_loss(
    logits: Tensor,
    image_logits: Tensor | None,
    labels: Tensor,
    *,
    gamma: float = 0.0,
    dice_weight: float = 1.0,
    image_weight: float = 0.1,
) -> LossParts:
    """focal + dice_weight * Dice(impurity classes) + image_weight * image-level BCE.

    Dice is segmentation-models-pytorch's, over the batch; a class absent from the batch adds
    nothing. Models without a pooled token pass `image_logits=None` and skip the last term.
    """
    classes = list(range(1, logits.shape[1]))
    focal = focal_loss(logits, labels, gamma)
    dice = DiceLoss("multiclass", classes=classes, from_logits=True)(logits, labels)
    image = focal.new_zeros(()) if image_logits is None else image_loss(image_logits, labels)
    return LossParts(focal + dice_weight * dice + image_weight * image, focal, dice, image)
