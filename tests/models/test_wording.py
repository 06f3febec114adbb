"""Wordings, against the model asked in the ordinary way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from scrapseg.data.base import SegDataset
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.models import wording
from scrapseg.models.pocket import load_aligned, pocket_model
from scrapseg.models.predict import eval_transform, predict
from scrapseg.models.prompts import class_embeddings, random_embeddings


@pytest.fixture(scope="module")
def model():
    return load_aligned(pocket_model()).eval()


@pytest.fixture(scope="module")
def split(tiny_scrapsim):
    return ScrapSim(tiny_scrapsim, "val")


@pytest.fixture(scope="module")
def whole(model, split):
    """The images as the model reads them."""
    return SegDataset(split, split.ids, eval_transform(model.mean, model.std))


@pytest.fixture(scope="module")
def labels(split):
    return np.stack([sample.label for sample in split])


@pytest.fixture(scope="module")
def pixels(model, split):
    return wording.pixel_vectors(model, split, every=1, dtype=torch.float32)


def test_pixel_vectors_give_the_models_own_logits(model, whole, labels, pixels):
    text = random_embeddings(9, seed=3)
    kept = model.text
    try:
        model.set_classes(text)
        images = torch.stack([image for image, _ in whole])
        with torch.no_grad():
            expected = model(images).logits.transpose(0, 1)
    finally:
        model.set_classes(kept)
    torch.testing.assert_close(wording.logits(pixels, text), expected, atol=2e-3, rtol=1e-3)
    assert (pixels.labels == labels).all()
    assert pixels.prior == pytest.approx((labels > 0).mean())


def test_scores_are_those_of_set_classes_and_predict(model, whole, labels, pixels):
    sets = {"words": class_embeddings(), "random": random_embeddings(9, seed=1)}
    table = wording.score_sets(pixels, sets).set_index("prompts")
    kept = model.text
    try:
        for name, text in sets.items():
            model.set_classes(text)
            maps = predict(model, whole)
            ap = average_precision_score(labels.ravel() > 0, maps.score_maps.ravel())
            assert table.loc[name, "ap"] == pytest.approx(ap, abs=5e-3)
    finally:
        model.set_classes(kept)
