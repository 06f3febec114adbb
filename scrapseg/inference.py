"""Prediction over a set of images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from scrapseg.model import ScrapSeg


class Predictions(NamedTuple):
    """score_maps: float32 (N, H, W), 1 - p[normal]. labels: uint8 (N, H, W), most likely class."""

    score_maps: np.ndarray
    labels: np.ndarray


@torch.inference_mode()
def predict(
    model: nn.Module, dataset: Dataset, *, batch_size: int = 4, progress: bool = False
) -> Predictions:
    """Class map and anomaly score of every image of a dataset of (image, mask) items.

    `model` is put in eval mode and left there; it predicts on the device it is on.
    """
    device = next(model.parameters()).device
    model.eval()
    scores, labels = [], []
    loader = DataLoader(dataset, batch_size=batch_size)
    for images, _ in tqdm(loader, desc="predict", disable=not progress, mininterval=2):
        images = images.to(device, memory_format=torch.channels_last)
        probabilities = model(images).logits.float().softmax(1)
        scores.append((1 - probabilities[:, 0]).cpu().numpy())
        labels.append(probabilities.argmax(1).to(torch.uint8).cpu().numpy())
    return Predictions(np.concatenate(scores), np.concatenate(labels))


@torch.inference_mode()
def predict_by_stage(model: ScrapSeg, dataset: Dataset) -> list[Predictions]:
    """What each stage alone would say, fine to coarse: `predict` with all weight on that stage."""
    model.eval()
    scale = model.log_scale.exp()
    parts: list[list[Predictions]] = []
    for image, mask in DataLoader(dataset, batch_size=1):
        maps, _ = model.stage_similarities(image.to(model.text.device))
        logits = [F.interpolate(scale * m, size=mask.shape[-2:], mode="bilinear") for m in maps]
        p = [x.softmax(1)[0].cpu() for x in logits]
        parts.append([Predictions(1 - q[0].numpy(), q.argmax(0).byte().numpy()) for q in p])
    return [
        Predictions(*(np.stack(arrays) for arrays in zip(*stage, strict=True)))
        for stage in zip(*parts, strict=True)
    ]
