"""A playground for JupyterLab: type any phrase and see where the model finds it in an image.

    from scrapseg.app.playground import Playground
    Playground(model, val)

The image goes through its tower once, when it is chosen; a phrase then costs one pass of the text
tower and a product of matrices (see `wording`).
"""

from __future__ import annotations

import functools
import io
import time
from collections.abc import Mapping
from typing import NamedTuple

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors

from scrapseg.data.base import LabelledImages
from scrapseg.models.predict import eval_transform
from scrapseg.models.prompts import DEFAULT_TEMPLATES, TEMPLATES
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.towers import encode_texts
from scrapseg.models.wording import joint_field
from scrapseg.report import style


class EmptyPhrase(ValueError):
    """There is nothing to look for."""


class Features(NamedTuple):
    """What the image side says about one image: g (D, h, w) and the image's size (H, W)."""

    field: Tensor
    size: tuple[int, int]


def features(model: ScrapSeg, image: np.ndarray) -> Features:
    """An image, uint8 (H, W, 3), as `Features`."""
    pixels = tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1))
    batch = eval_transform(model.mean, model.std)(pixels)[None].to(model.text)
    return Features(joint_field(model.eval(), batch)[0], image.shape[:2])


@functools.lru_cache(maxsize=256)
def phrase_vector(phrase: str) -> Tensor:
    """A phrase in the default templates as a class vector (D,) of unit length.

    Raises:
        EmptyPhrase: nothing but blanks.
        weights.WeightsMissing: the text tower's weights are not on this machine.
    """
    phrase = phrase.strip()
    if not phrase:
        raise EmptyPhrase("Type a phrase to look for, such as: rusty pipe")
    sentences = [TEMPLATES[t][1].format(phrase) for t in DEFAULT_TEMPLATES]
    return F.normalize(encode_texts(sentences).mean(0), dim=0)


@torch.inference_mode()
def heat_map(
    model: ScrapSeg,
    image: np.ndarray | Features,
    phrase: str,
    against: str = "",
    *,
    stretch: bool = True,
) -> np.ndarray:
    """Where the image is more like one phrase than like another.

    Args:
        image: uint8 (H, W, 3), or what `features` made of it.
        phrase: what to look for.
        against: what else there is; the model's normal class if empty.
        stretch: from the image's 1 % to its 99.5 % quantile, so that the best place is bright
            even where no place is good. If False, the phrase's share of a softmax over the two,
            above 0.5 where it is the nearer one; phrases differ much in how near they are to
            everything, so few of them use the whole range.

    Returns:
        float32 (H, W), 0..1.

    Raises:
        EmptyPhrase: no phrase.
    """
    found = image if isinstance(image, Features) else features(model, image)
    other = phrase_vector(against).to(model.text) if against.strip() else model.text[0]
    direction = phrase_vector(phrase).to(model.text) - other
    difference = torch.einsum("d,dhw->hw", direction, found.field)
    full = F.interpolate(difference[None, None], size=found.size, mode="bilinear")[0, 0]
    if stretch:
        low, high = full.quantile(torch.tensor([0.01, 0.995]).to(full))
        return ((full - low) / (high - low).clamp_min(1e-6)).clamp(0, 1).cpu().numpy()
    return full.sigmoid().cpu().numpy()


def blend(image: np.ndarray, heat: np.ndarray, alpha: float = 0.6) -> np.ndarray:
    """A heat map (H, W) in 0..1 over its image in grey, uint8 (H, W, 3)."""
    mixed = (1 - alpha) * style.faded(image) + alpha * style.heat(heat)
    return (mixed + 0.5).astype(np.uint8)


class Playground(widgets.VBox):
    """Choose an image, type a phrase, see the heat map.

    Args:
        model: any `ScrapSeg` of the pocket backbone.
        split: whose images can be chosen.
        phrase: looked for first.

    Attributes:
        image_id, phrase, against, stretch: the inputs; set their ``value`` to use them from code.
        picture: the picture shown, a JPEG in ``picture.value``.
        message: one line on what is shown, or on what is wrong.
    """

    def __init__(self, model: ScrapSeg, split: LabelledImages, phrase: str = "wood") -> None:
        self._model, self._split = model, split
        self._features: dict[str, Features] = {}
        texts = {"continuous_update": False, "layout": {"width": "20em"}}  # on Enter
        self.image_id = widgets.Dropdown(options=split.ids, description="image")
        self.phrase = widgets.Text(phrase, description="find", **texts)
        self.against = widgets.Text(description="against", placeholder="steel scrap", **texts)
        self.stretch = widgets.Checkbox(True, description="stretch contrast", indent=False)
        self.picture = widgets.Image(format="jpeg", width=576)
        self.message = widgets.Label()
        controls = [self.image_id, self.phrase, self.against, self.stretch]
        for control in controls:
            control.observe(self._show, names="value")
        super().__init__([widgets.HBox(controls), self.picture, self.message])
        self._show()

    def _show(self, _change: Mapping | None = None) -> None:
        image = self._split.sample(self.image_id.value).image
        phrase, against = self.phrase.value, self.against.value
        start = time.perf_counter()
        try:
            phrase_vector(phrase)  # nothing to look for: do not bother the image tower
            found = self._features_of(self.image_id.value, image)
            share = heat_map(self._model, found, phrase, against, stretch=False)
            shown = heat_map(self._model, found, phrase, against) if self.stretch.value else share
        except EmptyPhrase as nothing:
            self.message.value = str(nothing)
            self.picture.value = _jpeg(image)
            return
        seconds = time.perf_counter() - start
        self.message.value = (
            f"{phrase.strip()!r} is nearer than {against.strip() or 'the normal class'!r} on "
            f"{(share > 0.5).mean():.1%} of the pixels ({seconds:.2f} s)"
        )
        self.picture.value = _jpeg(blend(image, shown))

    def _features_of(self, name: str, image: np.ndarray) -> Features:
        if name not in self._features:
            self._features = {name: features(self._model, image)}  # 14 MB: only the last one's
        return self._features[name]


def _jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="jpeg", quality=88)
    return buffer.getvalue()
