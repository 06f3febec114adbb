"""Wordings, learned context and playground, against the model asked in the ordinary way."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score
from torch.nn import functional as F

from scrapseg.app import playground
from scrapseg.data.classes import IMPURITIES
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.run import label_stack, whole_images
from scrapseg.models import context, wording
from scrapseg.models.pocket import load_aligned, pocket_model
from scrapseg.models.predict import predict
from scrapseg.models.prompts import class_embeddings, random_embeddings
from scrapseg.models.towers import encode_texts, text_tower

WORDS = [["steel", "iron"], ["electric motor"], ["cable", "wire", "insulated cable"]]


@pytest.fixture(scope="module")
def model():
    return load_aligned(pocket_model()).eval()


@pytest.fixture(scope="module")
def split(tiny_scrapsim):
    return ScrapSim(tiny_scrapsim, "val")


@pytest.fixture(scope="module")
def pixels(model, split):
    return wording.pixel_vectors(model, split, every=1, dtype=torch.float32)


def test_pixel_vectors_give_the_models_own_logits(model, split, pixels):
    text = random_embeddings(9, seed=3)
    kept = model.text
    try:
        model.set_classes(text)
        images = torch.stack([image for image, _ in whole_images(split, model)])
        with torch.no_grad():
            expected = model(images).logits.transpose(0, 1)
    finally:
        model.set_classes(kept)
    torch.testing.assert_close(wording.logits(pixels, text), expected, atol=2e-3, rtol=1e-3)
    assert (pixels.labels == label_stack(split)).all()
    assert pixels.prior == pytest.approx((label_stack(split) > 0).mean())


def test_scores_are_those_of_set_classes_and_predict(model, split, pixels):
    sets = {"words": class_embeddings(), "random": random_embeddings(9, seed=1)}
    table = wording.score_sets(pixels, sets).set_index("prompts")
    labels, kept = label_stack(split), model.text
    try:
        for name, text in sets.items():
            model.set_classes(text)
            maps = predict(model, whole_images(split, model))
            ap = average_precision_score(labels.ravel() > 0, maps.score_maps.ravel())
            assert table.loc[name, "ap"] == pytest.approx(ap, abs=5e-3)
    finally:
        model.set_classes(kept)


def test_rewording_one_class_is_as_replacing_its_row(pixels):
    text, other = class_embeddings(), random_embeddings(1, seed=5)
    seen = next(c for c in IMPURITIES if (pixels.labels == c.index).any())
    changed = text.clone()
    changed[seen.index] = other[0]
    expected = wording.score_sets(pixels, {"changed": changed})[f"ap/{seen.slug}"][0]
    candidates = torch.cat([text[seen.index, None], other])
    found = wording.word_scores(pixels, text, seen.index, candidates)
    assert found[1] == pytest.approx(expected, abs=1e-4)


# ---------------------------------------------------------------- learned context


def test_context_starts_at_the_sentence_it_is_made_of():
    prompts = context.LearnedContext(WORDS, "a photo of")
    assert prompts.context.shape == (3, 384)
    expected = encode_texts([f"a photo of {word}" for group in WORDS for word in group])
    torch.testing.assert_close(prompts.sentences(), expected, atol=1e-5, rtol=1e-5)
    means = [part.mean(0) for part in expected.split([2, 1, 3])]
    torch.testing.assert_close(
        prompts(), F.normalize(torch.stack(means), dim=1), atol=1e-5, rtol=1e-5
    )


def test_gradients_reach_the_context_alone():
    prompts = context.LearnedContext(WORDS)
    prompts()[0, 0].backward()
    assert prompts.context.grad.abs().sum() > 0
    assert [name for name, _ in prompts.named_parameters()] == ["context"]
    assert all(p.grad is None for p in text_tower().parameters())
    assert len(context.nearest_words(prompts.context, k=2)) == 3


@pytest.mark.parametrize("kind", ["context", "free"])
def test_learning_lowers_the_loss(pixels, kind):
    torch.manual_seed(0)
    words = [[f"thing {i}"] for i in range(9)]
    free = context.FreeVectors(class_embeddings())
    prompts = context.LearnedContext(words) if kind == "context" else free
    losses = context.learn(prompts, pixels, context.ContextConfig(steps=20, batch_size=90))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    torch.testing.assert_close(prompts().norm(dim=1), torch.ones(9))


# ---------------------------------------------------------------- playground


def test_heat_is_the_softmax_of_two(model, split):
    image = split[0].image
    heat = playground.heat_map(model, image, " copper coil ", against="rusty steel", stretch=False)
    assert heat.shape == image.shape[:2] and heat.min() >= 0 and heat.max() <= 1
    pair = torch.stack([playground.phrase_vector(p) for p in ("rusty steel", "copper coil")])
    one = wording.pixel_vectors(model, split, [split.ids[0]], every=1, dtype=torch.float32)
    one = wording.PixelVectors(one.vectors, one.labels, offset=0.0)
    expected = wording.logits(one, pair).softmax(0)[1, 0]
    np.testing.assert_allclose(heat, expected.numpy(), atol=1e-3)
    read = playground.features(model, image)
    again = playground.heat_map(model, read, "copper coil", "rusty steel", stretch=False)
    np.testing.assert_allclose(heat, again, atol=1e-6)


def test_typing_changes_the_picture_and_an_empty_phrase_is_asked_for(model, split):
    app = playground.Playground(model, split)
    first = app.picture.value
    assert Image.open(io.BytesIO(first)).size == split[0].image.shape[1::-1]
    app.phrase.value = "a copper coil"
    second = app.picture.value
    assert second != first and "copper coil" in app.message.value
    app.against.value = "rusty steel"
    assert app.picture.value != second
    app.image_id.value = split.ids[1]
    third = app.picture.value
    app.phrase.value = "  "
    assert "Type a phrase" in app.message.value
    app.phrase.value = "wood"
    assert app.picture.value not in (first, second, third)
    with pytest.raises(playground.EmptyPhrase):
        playground.heat_map(model, split[0].image, " ")
