"""What a choice of words does to a model: many prompt sets scored on the same images at once.

The logit of a class is linear in its class vector: cosines are dot products with unit vectors, and
both the sum over stages and the upsampling are linear. So every pixel x has one vector g(x) in the
joint space with logit_c(x) = <g(x), t_c>. It is computed once per image; after that a wording
costs a matrix product, whether it comes from a hand-written prompt, a learned context or a
phrase that somebody just typed (notebook 02). This holds for any `ScrapSeg`, fine-tuned or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm

from scrapseg import metrics
from scrapseg.data.base import LabelledImages, SegDataset
from scrapseg.data.classes import CLASSES, IMPURITIES
from scrapseg.models.predict import eval_transform
from scrapseg.models.scrapseg import ScrapSeg

EVERY = 4
"""Pixels are scored on a grid of this step: the model's finest stage knows no more than that."""


@torch.inference_mode()
def joint_field(model: ScrapSeg, images: Tensor) -> Tensor:
    """g of every cell of the finest stage: images (B, 3, H, W) to (B, D, h, w).

    A model whose class vectors are the axes of the joint space says the vectors themselves.
    `model` is in eval mode and is left as it was.
    """
    text = model.text
    model.text = torch.eye(model.encoder.width, dtype=text.dtype, device=text.device)
    try:
        return model.fuse(model.stage_similarities(images)[0])
    finally:
        model.text = text


@dataclass(frozen=True)
class PixelVectors:
    """g of the pixels of some images, and what the pixels show.

    Attributes:
        vectors: float (N, h, w, D).
        labels: uint8 (N, h, w), class index 0 .. C-1.
        offset: of the normal class's logit.
    """

    vectors: Tensor
    labels: np.ndarray
    offset: float

    def take(self, numbers: Sequence[int]) -> PixelVectors:
        """Those of some of the images, by number."""
        return PixelVectors(self.vectors[list(numbers)], self.labels[list(numbers)], self.offset)

    @property
    def prior(self) -> float:
        """Share of impurity pixels: the AP of a random score."""
        return float((self.labels > 0).mean())


def grid_matrix(cells: int, size: int, every: int) -> Tensor:
    """Bilinear interpolation of `cells` values to `size`, each `every`-th of them: (n, cells)."""
    return F.interpolate(torch.eye(cells)[None], size=size, mode="linear")[0].T[::every]


def pixel_vectors(
    model: ScrapSeg,
    split: LabelledImages,
    ids: Sequence[str] | None = None,
    *,
    every: int = EVERY,
    dtype: torch.dtype = torch.float16,
) -> PixelVectors:
    """g of each `every`-th row and column of labelled images, as the model would upsample it.

    Half precision keeps 60 images of 384 x 384 within half a gigabyte; its rounding moves an
    AP by less than 0.001.

    Args:
        ids: which images, all by default; all of one size.
        every: 1 scores every pixel.
        dtype: in which the vectors are kept.

    Raises:
        DataError: an image cannot be read.
    """
    device = model.text.device
    model.eval()
    images = SegDataset(split, ids, eval_transform(model.mean, model.std))
    vectors, labels = [], []
    for image, mask in tqdm(DataLoader(images, 1), desc="pixel vectors", mininterval=2):
        field = joint_field(model, image.to(device)).cpu()[0]
        rows, columns = (
            grid_matrix(cells, size, every)
            for cells, size in zip(field.shape[1:], mask.shape[1:], strict=True)
        )
        on_grid = rows @ field @ columns.T  # (D, h, w)
        vectors.append(on_grid.permute(1, 2, 0).to(dtype))
        labels.append(mask[0, ::every, ::every].byte().numpy())
    return PixelVectors(torch.stack(vectors), np.stack(labels), float(model.normal_bias.detach()))


def logits(pixels: PixelVectors, text: Tensor) -> Tensor:
    """Logits float32 (C, N, h, w) of class vectors (C, D), row 0 the normal class."""
    result = torch.stack([text.float() @ v.flatten(0, 1).float().T for v in pixels.vectors], 1)
    result[0] += pixels.offset
    return result.unflatten(2, pixels.labels.shape[1:])


def log_odds(logits: Tensor, index: int) -> Tensor:
    """log p_c / (1 - p_c) of the class at `index`, from logits (C, ...): never saturated."""
    others = [i for i in range(len(logits)) if i != index]
    return logits[index] - logits[others].logsumexp(0)


def average_precision(pixels: PixelVectors, odds: Tensor, index: int) -> float:
    """Pixel AP of scores (N, h, w) for one class; index 0 stands for any impurity."""
    wanted = pixels.labels == index if index else pixels.labels > 0
    return metrics.average_precision(metrics.rank(odds.numpy(), wanted))


def score_sets(pixels: PixelVectors, prompt_sets: Mapping[str, Tensor]) -> pd.DataFrame:
    """How well each prompt set finds and names the impurities.

    Args:
        prompt_sets: name -> class vectors (C, D) in the order of `CLASSES`.

    Returns:
        One row per prompt set: ``prompts`` (its name), ``ap`` of the anomaly score,
        ``miou_impurity`` of the most likely class, ``lift`` (mean over the impurities of a
        class's AP over its share of pixels, which is 1 for a random score) and
        ``ap/<slug>`` of each class's own probability. Classes without pixels are nan.
    """
    shares = {c.index: (pixels.labels == c.index).mean() for c in IMPURITIES}
    rows = []
    for name, text in prompt_sets.items():
        scores = logits(pixels, text)
        table = metrics.confusion(scores.argmax(0).numpy(), pixels.labels, len(CLASSES)).sum(0)
        ap = average_precision(pixels, -log_odds(scores, 0), 0)
        named = metrics.class_metrics(table)["miou_impurity"]
        own = {c: average_precision(pixels, log_odds(scores, c.index), c.index) for c in IMPURITIES}
        lifts = [ap / shares[c.index] for c, ap in own.items() if shares[c.index]]
        row = {"prompts": name, "ap": ap, "miou_impurity": named}
        row["lift"] = float(np.mean(lifts)) if lifts else np.nan
        rows.append(row | {f"ap/{c.slug}": ap for c, ap in own.items()})
    return pd.DataFrame(rows)
