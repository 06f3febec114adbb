"""Prediction over a set of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from tqdm import tqdm

#: Every how many pixels class scores are kept: there are as many maps as classes.
CLASS_STRIDE = 2


class Predictions(NamedTuple):
    """What a model says about N images.

    score_maps: float32 (N, H, W), 1 - p[normal].
    labels: uint8 (N, H, W), most likely class; None if the method names no classes.
    class_scores: float16 (C, N, H / 2, W / 2), log p_c / (1 - p_c) at every second pixel; None
        where they were not asked for.
    """

    score_maps: np.ndarray
    labels: np.ndarray | None
    class_scores: np.ndarray | None = None


def to_float() -> v2.ToDtype:
    """Image to float32 in 0..1, mask to int64, its values untouched."""
    return v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64}, scale=True)


def eval_transform(mean: Sequence[float], std: Sequence[float]) -> v2.Compose:
    """Whole image at its own size, normalised; nothing random.

    Args:
        mean, std: normalisation of the encoder, per channel, for images in 0..1.

    Returns:
        ``transform(image, mask)`` from uint8 ``tv_tensors`` to a float32 (3, H, W) and an int64
        (H, W).
    """
    return v2.Compose([to_float(), v2.Normalize(list(mean), list(std)), v2.ToPureTensor()])


@torch.inference_mode()
def predict(
    model: nn.Module,
    dataset: Dataset,
    *,
    batch_size: int = 4,
    progress: bool = False,
    class_scores: bool = False,
) -> Predictions:
    """Class map and anomaly score of every image of a dataset of (image, mask) items.

    `model` is put in eval mode and left there; it predicts on the device it is on.
    """
    device = next(model.parameters()).device
    model.eval()
    scores, labels, odds = [], [], []
    loader = DataLoader(dataset, batch_size=batch_size)
    for images, _ in tqdm(loader, desc="predict", disable=not progress, mininterval=2):
        images = images.to(device, memory_format=torch.channels_last)
        logits = model(images).logits.float()
        probabilities = logits.softmax(1)
        scores.append((1 - probabilities[:, 0]).cpu().numpy())
        labels.append(probabilities.argmax(1).to(torch.uint8).cpu().numpy())
        if class_scores:
            odds.append(log_odds(logits[..., ::CLASS_STRIDE, ::CLASS_STRIDE]).half().cpu().numpy())
    by_class = np.concatenate(odds).swapaxes(0, 1) if odds else None
    return Predictions(np.concatenate(scores), np.concatenate(labels), by_class)


def log_odds(logits: Tensor) -> Tensor:
    """log p_c / (1 - p_c) of the softmax over dimension 1; finer than p_c where that is near 1."""
    log_p = logits.log_softmax(1)
    return log_p - torch.log(-torch.expm1(log_p.clamp_max(-1e-6)))
