"""Novelty: scikit-learn's PCA gives the same, what is unlike steel stands out, models keep it."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn import functional as F

from scrapseg.models import novelty
from scrapseg.models.export import to_onnx
from scrapseg.models.novelty import Novelty, learned
from scrapseg.models.segmenter import Segmenter, load

#: A model whose images are normalised as here.
LIKE = load().model


def steel(seed: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Grey noise with stripes."""
    draw = np.random.default_rng(seed)
    stripes = 40 * (np.arange(size[1]) // 6 % 2)
    grey = np.clip(draw.normal(110, 12, size) + stripes, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2)


@pytest.fixture(scope="module")
def known() -> Novelty:
    images = [steel(k) for k in range(12)]
    return learned(LIKE, images, [torch.ones(96, 128, dtype=torch.bool)] * len(images), rank=16)


@pytest.fixture(scope="module")
def segmenter(known) -> Segmenter:
    """The model that comes along with a novelty."""
    start = load()
    model = copy.deepcopy(start.model)
    model.set_novelty(known)
    return replace(start, model=model).compiled()


def as_input(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_the_error_is_that_of_scikit_learns_pca():
    places = torch.randn(300, 472, generator=torch.Generator().manual_seed(0)) * torch.arange(
        1, 473
    )
    model = Novelty(20)
    model._span(places)
    x = ((places - places.mean(0)) / places.std(0)).numpy().astype(np.float64)
    pca = PCA(20, svd_solver="full").fit(x)
    expected = ((x - pca.inverse_transform(pca.transform(x))) ** 2).sum(1)
    found = model.outside(places[..., None, None]).flatten()
    np.testing.assert_allclose(found.exp().numpy(), expected, rtol=1e-3)


def test_on_steel_that_it_did_not_see_it_is_about_0_and_what_is_unlike_stands_out(known):
    new = steel(99)
    new[32:64, 32:64] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    with torch.inference_mode():
        found = known(as_input(new))[0, 0]
        plain = known(as_input(steel(98)))[0, 0]
    assert found.shape == (6, 8)
    assert plain.abs().median() < 1.5
    assert found[2:4, 2:4].min() > plain.max() and found[2:4, 2:4].mean() > 3


def test_places_that_may_be_no_steel_are_not_learned(known):
    """A patch in every photograph would be usual."""
    images, masks = [steel(k) for k in range(12)], []
    for k, image in enumerate(images):
        image[32:64, 32:64] = np.random.default_rng(k).integers(0, 256, (32, 32, 3))
        masks.append(torch.ones(96, 128, dtype=torch.bool))
        masks[-1][16:80, 16:80] = False
    without = learned(LIKE, images, masks, rank=16)
    among = learned(LIKE, images, [torch.ones_like(m) for m in masks], rank=16)
    with torch.inference_mode():
        there = [m(as_input(images[0]))[0, 0, 2:4, 2:4].mean() for m in (without, among)]
    assert there[0] > there[1] + 1


def test_too_little_steel_is_none():
    none = torch.zeros(96, 128, dtype=torch.bool)
    assert learned(LIKE, [steel(0)], [none], rank=16) is None
    assert learned(LIKE, [steel(0), steel(1)], [~none, none], rank=8) is None
    assert learned(LIKE, [steel(0)], [~none], rank=8)
    assert learned(LIKE, [steel(0)], [~none], rank=200) is None


def test_it_is_added_to_the_log_odds_of_an_impurity(segmenter, known):
    image = as_input(steel(3))
    model = copy.deepcopy(segmenter.model)
    with torch.inference_mode():
        after, added = model(image).logits, known(image)
        model.set_novelty(None)
        before = model(image).logits
    difference = (before - after)[0]
    assert difference[1:].abs().max() == 0
    for size in ((24, 32), (96, 128)):  # by way of the finest stage
        added = F.interpolate(added, size=size, mode="bilinear")
    torch.testing.assert_close(difference[:1], added[0], atol=1e-4, rtol=0)
    assert "novelty" not in model.config


def test_a_saved_model_keeps_it_and_onnxruntime_says_the_same(segmenter, tmp_path, capfd):
    segmenter.save(tmp_path / "a.safetensors")
    again = load(tmp_path / "a.safetensors")
    image = steel(5, (80, 112))
    expected = replace(segmenter, runtime=None).probabilities(image)[0]
    torch.testing.assert_close(replace(again, runtime=None).probabilities(image)[0], expected)
    torch.testing.assert_close(segmenter.probabilities(image)[0], expected, atol=1e-4, rtol=0)
    full = segmenter.model.novelty.basis.shape[1] == novelty.RANK
    assert (segmenter.runtime.session is not None) == full


def test_the_graph_that_comes_along_is_of_the_usual_rank(capfd):
    """Else make it anew: python -m making.align graph."""
    model = copy.deepcopy(load().model)
    model.set_novelty(Novelty().eval())
    assert Segmenter(model).compiled().runtime.model is model
    runtime = Segmenter(model).compiled().runtime
    runtime.run(torch.zeros(1, 3, 64, 64))
    assert runtime.session is not None
    assert capfd.readouterr().err == ""


def test_it_can_be_exported(segmenter, tmp_path):
    path = to_onnx(segmenter.model, tmp_path / "a.onnx")
    assert onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
