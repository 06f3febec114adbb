"""What baselines that see normal images only have in common, and how those of them that learn do.

Each asks one question of a patch: how unlike normal is it? None of them is told what an impurity
looks like, so none names classes. Their models are anomalib's (`anomalib_models`, `winclip`), on
the encoder weights that the other methods start from (`ENCODER`); those with a network to train are
trained by the loop that trains ours (`train.optimise`).
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from timm.models import register_model
from timm.models.efficientnet import tf_efficientnet_lite0
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset
from tqdm import tqdm

from scrapseg.models.predict import Predictions
from scrapseg.models.weights import EFFICIENTNET, MEAN, STD, load_encoder
from scrapseg.train.loop import Draws, LoopConfig, optimise


@contextmanager
def without_warnings() -> Iterator[None]:
    """For importing anomalib: it has names in use that it or timm has deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@register_model
def packaged_efficientnet_lite0(pretrained: bool = False, **options) -> nn.Module:
    """timm's `tf_efficientnet_lite0` by another name, whose weights come with our packages.

    anomalib asks timm for an encoder and its weights by name, and timm would download them.
    """
    model = tf_efficientnet_lite0(pretrained=False, **options)
    if pretrained:
        load_encoder(model)
    return model


ENCODER = packaged_efficientnet_lite0.__name__


class OneClass(ABC):
    """What learns from normal images alone; see `baselines.Baseline` for the protocol.

    Args:
        layers: stages of the encoder, finest first: `blocks.1`, `.2`, `.4`, `.6` at stride 4, 8,
            16, 32.
        seed: of everything drawn.
        batch_size: images at a time.
        device: torch device to run on.

    Attributes:
        model: anomalib's, once `fit` has made it.
    """

    mean, std = MEAN, STD
    model: nn.Module

    def __init__(
        self,
        layers: Sequence[str] = ("blocks.2", "blocks.4"),
        *,
        seed: int = 0,
        batch_size: int = 4,
        device: str | torch.device = "cpu",
    ) -> None:
        known = [f"blocks.{i}" for i in (0, 1, 2, 4, 6)]
        if not set(layers) <= set(known):  # anomalib only warns and drops those it does not know
            raise ValueError(f"layers {tuple(layers)}: {EFFICIENTNET} has only {known}")
        self.layers, self.seed, self.batch_size = list(layers), seed, batch_size
        self.device = torch.device(device)

    def fit(
        self, images: Sequence[np.ndarray], labels: Sequence[np.ndarray] | None = None
    ) -> OneClass:
        """Learn from the images that hold no impurity; the others are not looked at.

        Args:
            images: N images, (H, W, 3) uint8 each, all of one size.
            labels: class index per pixel, (H, W) each; without them all images are normal.

        Raises:
            ValueError: no image is normal.
        """
        if labels is not None:
            normal = [not np.any(label) for label in labels]
            images = [image for image, keep in zip(images, normal, strict=True) if keep]
        if not len(images):
            raise ValueError(f"{type(self).__name__} needs at least one normal image to fit")
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.model = self._build(images[0].shape[:2]).to(self.device)
            self._learn(images)
        self.model.eval()
        return self

    @abstractmethod
    def _build(self, size: tuple[int, int]) -> nn.Module:
        """anomalib's model for images of (height, width)."""

    @abstractmethod
    def _learn(self, images: Sequence[np.ndarray]) -> None:
        """Fill or train `model`."""

    def score_maps(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Unlikeness to normal per pixel, upsampled and smoothed by the model's own rule.

        Args:
            images: N images, (H, W, 3) uint8 each, all of the size `fit` saw.

        Returns:
            (N, H, W) float32, unbounded: higher is less normal.

        Raises:
            ValueError: `fit` has not been called.
        """
        if not hasattr(self, "model"):
            raise ValueError(f"{type(self).__name__} is not fitted: call fit(images) first")
        batches = self._batches(images, f"{type(self).__name__} score")
        with torch.inference_mode():
            maps = [self.model.eval()(batch).anomaly_map for batch in batches]
        return torch.cat([m.reshape(-1, *m.shape[-2:]).cpu() for m in maps]).numpy()

    def predict(self, images: Sequence[np.ndarray]) -> Predictions:
        """Score maps without class labels."""
        return Predictions(self.score_maps(images), None)

    @property
    def parameters(self) -> int:
        """Number of the network's weights; a memory bank is not counted."""
        return sum(p.numel() for p in self.model.parameters())

    def _batches(self, images: Sequence[np.ndarray], what: str) -> Iterator[Tensor]:
        starts = range(0, len(images), self.batch_size)
        for start in tqdm(starts, desc=what, mininterval=2, leave=False):
            yield self._input(images[start : start + self.batch_size]).to(self.device)

    def _input(self, images: Sequence[np.ndarray]) -> Tensor:
        """A batch as the model takes it, (B, 3, h, w)."""
        return normalised(images)


class Loss(NamedTuple):
    """What `train.optimise` minimises."""

    total: Tensor


class TrainedOneClass(OneClass):
    """One-class models with a network to train, by AdamW, warm-up, cosine and weight average.

    Args:
        steps: optimiser steps. lr, weight_decay: of AdamW.
    """

    weight_decay = 1e-5

    def __init__(
        self,
        layers: Sequence[str] = ("blocks.1", "blocks.2", "blocks.4"),
        *,
        lr: float,
        steps: int = 400,
        **common,
    ) -> None:
        super().__init__(layers, **common)
        self.lr, self.steps = lr, steps

    @abstractmethod
    def _loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """Scalar loss of a batch of normal images (B, 3, H, W), by anomalib's loss."""

    def _learn(self, images: Sequence[np.ndarray]) -> None:
        config = LoopConfig(
            steps=self.steps,
            batch_size=self.batch_size,
            lr=self.lr,
            weight_decay=self.weight_decay,
            evals=1,
            seed=self.seed,
        )
        data, weights = TensorDataset(normalised(images)), torch.ones(len(images))
        draws = Draws(data, weights, self.steps * self.batch_size, self.seed)

        def batches(step: int) -> DataLoader:
            rest = Subset(draws, range(step * self.batch_size, len(draws)))
            return DataLoader(rest, batch_size=self.batch_size)

        # There is no look at val: what is learned is the weight average at the end.
        optimise(
            Trainable(self.model),
            batches,
            lambda model, batch: Loss(self._loss(model, batch[0])),
            lambda model: 0.0,
            config,
            label=type(self).__name__,
        )
        self.model.to(self.device)


class Trainable(nn.Module):
    """A model of anomalib as `train.optimise` wants one: with the groups of its parameters."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args, **named):
        """The model's own."""
        return self.model(*args, **named)

    def param_groups(self, lr: float, layer_decay: float, encoder_lr: float) -> list[dict]:
        """One group, of all that learns: the encoder does not."""
        return [{"params": [p for p in self.parameters() if p.requires_grad], "lr": lr}]


def normalised(images: Sequence[np.ndarray]) -> Tensor:
    """Images (H, W, 3) uint8 as the encoder takes them: (N, 3, H, W) float32."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    return (batch - mean) / std
