"""What a baseline is, and how one is built from its class and the settings it was given.

A baseline that learns from images and labels at once has `fit`, then `predict`. The supervised
networks (`scrapseg.baselines.supervised`) are trained by the loop that trains ours instead, so
that augmentation, sampler and steps are the same for all. `experiments/methods.yaml` lists both.

    >>> class Redness:
    ...     parameters = 0
    ...     def fit(self, images, labels):
    ...         return self
    ...     def predict(self, images):
    ...         return Predictions(np.stack(images)[..., 0].astype(np.float32), None)
    >>> make(Redness, seed=0, steps=1, batch_size=1).predict([np.ones((2, 2, 3))]).score_maps
    array([[[1., 1.],
            [1., 1.]]], dtype=float32)
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from scrapseg.models.predict import Predictions


class MakerError(ValueError):
    """What should build a method cannot be imported; the message is one line and names it."""


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


def load_maker(name: str) -> Callable[..., Any]:
    """The class or function of that dotted name.

    Raises:
        MakerError: it cannot be imported.
    """
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MakerError(f"{name}: cannot be imported as a method ({error})") from error


def make(
    maker: str | Callable[..., Baseline], *, seed: int, steps: int, batch_size: int, **settings: Any
) -> Baseline:
    """A baseline that has not been fitted yet.

    Args:
        maker: its class, or the dotted name of it.
        seed, steps, batch_size: given to it, with the device, where its constructor names them.
        settings: keyword arguments of its class.

    Raises:
        MakerError: see `load_maker`.
    """
    maker = load_maker(maker) if isinstance(maker, str) else maker
    device = "cuda" if torch.cuda.is_available() else "cpu"
    common = {"seed": seed, "steps": steps, "batch_size": batch_size, "device": device}
    # A subclass hands on what it does not name itself.
    makers = [c.__init__ for c in maker.__mro__] if inspect.isclass(maker) else [maker]
    named = {name for one in makers for name in inspect.signature(one).parameters}
    return maker(**{k: v for k, v in common.items() if k in named} | settings)
