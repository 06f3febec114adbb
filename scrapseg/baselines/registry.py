"""The baselines, and the protocol by which one more is entered.

A baseline that learns from images and labels at once is a `Baseline`: `fit`, then `predict`.
`FITTED` names them. The supervised networks (`scrapseg.baselines.supervised`) are trained by the loop that
trains ours instead, so that augmentation, sampler and steps are the same for all.

To enter a method of your own, write the two functions, add a line to `FITTED` and to
`experiment.FAMILIES`, and, if it has settings to choose, to `notebooks/candidates.yaml`:

    >>> from scrapseg.baselines.registry import FITTED
    >>> class Redness:
    ...     parameters = 0
    ...     def fit(self, images, labels):
    ...         return self
    ...     def predict(self, images):
    ...         return Predictions(np.stack(images)[..., 0].astype(np.float32), None)
    >>> FITTED["redness"] = lambda seed, steps, batch_size, **settings: Redness()
    >>> make("redness", seed=0, steps=1, batch_size=1).predict([np.ones((2, 2, 3))]).score_maps
    array([[[1., 1.],
            [1., 1.]]], dtype=float32)
    >>> del FITTED["redness"]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from scrapseg.baselines import anomalib_models, one_class
from scrapseg.baselines.forest import RandomForest
from scrapseg.baselines.winclip import WinClip
from scrapseg.models.predict import Predictions


class Baseline(Protocol):
    """A method that is fitted to labelled images and then scores others.

    Attributes:
        parameters: how many numbers it has learned or was given, after `fit`.
    """

    parameters: int

    def fit(self, images: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> Baseline:
        """Learn from N images (H, W, 3) uint8 and their class indices (H, W); return itself.

        One-class methods leave out the images that hold an impurity.
        """

    def predict(self, images: Sequence[np.ndarray]) -> Predictions:
        """Score maps, and labels where the method names classes, of images of one size."""


def _one_class(kind: type[one_class.OneClass]) -> Callable[..., Baseline]:
    """A maker of a one-class model; only those with a network to train have steps."""

    def build(seed: int, steps: int, batch_size: int, **settings: Any) -> Baseline:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if issubclass(kind, one_class.TrainedOneClass):
            settings["steps"] = steps
        return kind(seed=seed, batch_size=batch_size, device=device, **settings)

    return build


FITTED: dict[str, Callable[..., Baseline]] = {
    "patchcore": _one_class(anomalib_models.PatchCore),
    "padim": _one_class(anomalib_models.Padim),
    "stfpm": _one_class(anomalib_models.Stfpm),
    "fastflow": _one_class(anomalib_models.FastFlow),
    "cfa": _one_class(anomalib_models.Cfa),
    "supersimplenet": _one_class(anomalib_models.SuperSimpleNet),
    "winclip": _one_class(WinClip),
    "random-forest": lambda seed, steps, batch_size, **settings: RandomForest(
        seed=seed, **settings
    ),
}
"""Method -> maker, called with seed, steps, batch_size and the settings chosen on val."""


def make(method: str, *, seed: int, steps: int, batch_size: int, **settings: Any) -> Baseline:
    """A baseline that has not been fitted yet.

    Args:
        method: key of `FITTED`.
        steps, batch_size: of training, for those that train a network.
        settings: keyword arguments of its class.

    Raises:
        ValueError: no such method.
    """
    if method not in FITTED:
        raise ValueError(f"method {method!r} is none of the fitted ones in {sorted(FITTED)}")
    return FITTED[method](seed, steps, batch_size, **settings)
