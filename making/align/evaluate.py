"""What alignment brings: retrieval on held-out studio images, and zero-shot segmentation."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm

from making.align.collage import whole_images
from making.align.studio import Studio, TextBank
from scrapseg import metrics
from scrapseg.data.base import SegDataset
from scrapseg.data.classes import IMPURITIES
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.models.predict import eval_transform, log_odds
from scrapseg.models.scrapseg import ScrapSeg


@torch.inference_mode()
def retrieval(
    model: ScrapSeg, studio: Studio, bank: TextBank, *, size: int = 192, batch_size: int = 16
) -> dict[str, float]:
    """Find each caption's image among a split's images, and each image's caption.

    Images with the same sentence are right for each other. Every result is a fraction of 1.

    Args:
        bank: texts of (at least) this split. size: side in pixels at which images are shown.

    Returns:
        r1_text_to_image, r5_text_to_image, r1_image_to_text, r5_image_to_text, what a random
        order reaches (chance_r1, chance_r5), and images, their number.
    """
    device = next(model.parameters()).device
    model.eval()
    loader = DataLoader(whole_images(studio, size, model.mean, model.std), batch_size=batch_size)
    pooled = torch.cat([model.encoder(images.to(device)).pooled.cpu() for images in loader])
    sentences = [record.caption for record in studio.records]
    text = bank.vectors[[bank.captions[s] for s in sentences]]
    number = {s: i for i, s in enumerate(dict.fromkeys(sentences))}
    same = torch.tensor([number[s] for s in sentences])
    right = same[:, None] == same[None, :]
    cosines = F.normalize(pooled, dim=1) @ text.T
    found = {"text_to_image": _ranks(cosines.T, right), "image_to_text": _ranks(cosines, right)}
    result = {
        f"r{k}_{way}": float((ranks < k).double().mean())
        for way, ranks in found.items()
        for k in (1, 5)
    }
    n, counts = len(sentences), right.sum(1).tolist()
    for k in (1, 5):
        misses = [math.comb(n - m, k) / math.comb(n, k) if n >= k else 0.0 for m in counts]
        result[f"chance_r{k}"] = 1 - sum(misses) / n
    return result | {"images": n}


def _ranks(scores: Tensor, right: Tensor) -> Tensor:
    """Wrong candidates ahead of the best right one, per row; a tie counts as ahead."""
    best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    return ((scores >= best) & ~right).sum(1)


@torch.inference_mode()
def class_log_odds(model: ScrapSeg, split: ScrapSim, *, batch_size: int = 4) -> np.ndarray:
    """log p_c / (1 - p_c) of every class at every pixel, float16 (classes, N, H, W)."""
    device = next(model.parameters()).device
    model.eval()
    images = SegDataset(split, split.ids, eval_transform(model.mean, model.std))
    parts = []
    for batch, _ in tqdm(DataLoader(images, batch_size), desc="zero-shot", mininterval=2):
        parts.append(log_odds(model(batch.to(device)).logits.float()).half().cpu().numpy())
    return np.concatenate(parts).swapaxes(0, 1)


def zero_shot(model: ScrapSeg, split: ScrapSim) -> dict[str, float]:
    """How well the class prompts alone find impurities in a split of ScrapSim.

    The model's class vectors are those of `CLASSES`, in that order.

    Returns:
        ap, auroc: of the anomaly score 1 - p[normal], over pixels. prior: the share of impurity
        pixels, which is a random score's AP. For each impurity ap/<slug>: of the class's own
        probability for the class's own pixels; and prior/<slug>.
    """
    labels = np.stack([sample.label for sample in split])
    odds = class_log_odds(model, split)
    ranking = metrics.rank(-odds[0], labels > 0)
    result = {
        "ap": metrics.average_precision(ranking),
        "auroc": metrics.auroc(ranking),
        "prior": float((labels > 0).mean()),
    }
    for c in IMPURITIES:
        result[f"ap/{c.slug}"] = metrics.average_precision(
            metrics.rank(odds[c.index], labels == c.index)
        )
        result[f"prior/{c.slug}"] = float((labels == c.index).mean())
    return result
