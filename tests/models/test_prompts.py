"""Class prompts against sentence embeddings made by hand from the text tower's own files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from slugs import by_slug
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from scrapseg.data.classes import CLASSES, classes_from
from scrapseg.models import prompts, weights
from scrapseg.models.towers import encode_texts


@pytest.fixture(scope="module")
def sentence_vectors():
    """The model card's recipe: mean of the token vectors under the attention mask, unit length."""
    folder = str(weights.minilm_dir())
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    model.eval()

    @torch.no_grad()
    def embed(texts: list[str]) -> torch.Tensor:
        rows = []
        for text in texts:  # one by one, so that padding cannot matter
            tokens = tokenizer(text, return_tensors="pt")
            rows.append(model(**tokens).last_hidden_state[0].mean(0))
        return F.normalize(torch.stack(rows), dim=1)

    return embed


def test_text_tower_gives_the_sentence_embedding(sentence_vectors):
    texts = ["wood", "object which is not steel but electric motor", "a close-up of a spray can"]
    torch.testing.assert_close(encode_texts(texts), sentence_vectors(texts), atol=2e-6, rtol=0)


def test_class_vector_is_the_normalised_mean_over_words_and_templates(sentence_vectors, tmp_path):
    cable = by_slug("cable")
    expected = sum(
        sentence_vectors([form.format(word)])[0]
        for form in ("{}", "a photo of {}")
        for word in cable.words[:2]
    )
    got = prompts.class_embeddings([cable], ("word", "photo"), words=2, cache_dir=tmp_path)
    torch.testing.assert_close(got[0], expected / expected.norm(), atol=2e-6, rtol=0)


def test_paper_pair_uses_one_sentence_for_steel_and_another_for_impurities():
    steel, wood = CLASSES[0], by_slug("wood")
    assert prompts.sentences(steel, ["paper"], 1) == ["object which is made of steel scrap"]
    assert prompts.sentences(wood, ["paper"], 1) == ["object which is not steel but wood"]


def test_every_word_of_a_class_stands_in_every_template():
    motor = by_slug("motor")
    made = prompts.sentences(motor, list(prompts.TEMPLATES))
    assert len(made) == len(set(made)) == len(prompts.TEMPLATES) * len(motor.words)
    assert all(any(word in sentence for sentence in made) for word in motor.words)


def test_cache_gives_the_same_vectors_without_the_text_tower(tmp_path, monkeypatch):
    first = prompts.class_embeddings(CLASSES[:3], ("word",), words=1, cache_dir=tmp_path)
    assert first.shape == (3, 384)
    (file,) = tmp_path.iterdir()  # the answer, and no half-written neighbour
    np.testing.assert_array_equal(np.load(file), first.numpy())

    def no_tower(texts):
        raise AssertionError("the text tower was asked although the answer is cached")

    monkeypatch.setattr(prompts, "encode_texts", no_tower)
    again = prompts.class_embeddings(CLASSES[:3], ("word",), words=1, cache_dir=tmp_path)
    assert torch.equal(first, again)
    with pytest.raises(AssertionError, match="text tower was asked"):  # other words, other key
        prompts.class_embeddings(CLASSES[:3], ("word",), words=2, cache_dir=tmp_path)


def test_random_vectors_are_unit_deterministic_and_unlike_each_other():
    a, b = prompts.random_embeddings(9, seed=3), prompts.random_embeddings(9, seed=3)
    assert torch.equal(a, b)
    assert not torch.equal(a, prompts.random_embeddings(9, seed=4))
    torch.testing.assert_close(a.norm(dim=1), torch.ones(9))
    # Independent directions in 384 dimensions: cosines scatter around 0 by about 1 / sqrt(384).
    off = (a @ a.T)[~torch.eye(9, dtype=torch.bool)]
    assert off.abs().max() < 5 / 384**0.5


def test_random_vectors_leave_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    prompts.random_embeddings(9, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_no_text_is_cut_without_a_word(sentence_vectors):
    short = "a photo of wood"
    long = " ".join([short] * 12)  # 50 tokens
    other = f"{long} and of an electric motor"
    alone, both = encode_texts([short]), encode_texts([short, long, other])
    torch.testing.assert_close(both[0], alone[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(both[1:], sentence_vectors([long, other]), atol=2e-6, rtol=0)
    assert both[1] @ both[2] < 0.99
    with pytest.raises(ValueError, match=r"more than 256 tokens: 'a photo of wood"):
        encode_texts([short, " ".join([short] * 80)])


def test_words_that_the_tower_does_not_know_are_told_apart_by_chance_and_that_is_said(tmp_path):
    """All Chinese is one unknown word to it: labels must still be able to tell classes apart."""
    classes = classes_from({"steel": {}, "废钢": {}, "铜线": {}, "橡胶": {}, "copper": {}}, "")
    with pytest.warns(UserWarning, match="铜线, 橡胶 for those of classes before"):
        first = prompts.class_embeddings(classes, ("word",), cache_dir=tmp_path)
    with pytest.warns(UserWarning):  # and the same when they come from the disk
        assert torch.equal(first, prompts.class_embeddings(classes, ("word",), cache_dir=tmp_path))
    assert (first @ first.T - torch.eye(5)).max() < 0.9  # not one of them is another
    assert torch.allclose(first.norm(dim=1), torch.ones(5))
    english = prompts.class_embeddings([classes[0], classes[4]], ("word",), cache_dir=tmp_path)
    torch.testing.assert_close(first[[0, 4]], english, atol=2e-6, rtol=0)
