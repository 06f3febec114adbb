"""The promise of conformal risk control, by simulation and against a search by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scrapseg.data.scrapsim import ScrapSim
from scrapseg.metrics import risk
from scrapseg.models.segmenter import SegmenterError, load, starting_model


def population(rng: np.random.Generator, scenes: int) -> np.ndarray:
    """Losses of scenes whose pieces differ in number, and whose scores share a scene's luck."""
    count = rng.integers(1, 6, scenes)
    scene = np.repeat(np.arange(scenes), count)
    luck = rng.normal(size=scenes)[scene]
    score = 1 / (1 + np.exp(-luck - rng.normal(size=len(scene))))
    return risk.scene_losses(scene, score)[1]


@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_the_expected_share_missed_keeps_to_alpha_and_is_near_it(alpha):
    rng, missed, n = np.random.default_rng(0), [], 40
    for _ in range(1500):
        losses = population(rng, n + 1)
        threshold = risk.controlled_threshold(losses[:-1], alpha)
        missed.append(losses[-1, np.searchsorted(risk.THRESHOLDS, threshold)])
    error = np.std(missed) / np.sqrt(len(missed))
    assert alpha - 1 / (n + 1) - 0.03 - 3 * error < np.mean(missed) < alpha + 3 * error


pieces = st.lists(
    st.tuples(st.integers(0, 5), st.floats(0, 1), st.floats(0.1, 9)), min_size=1, max_size=30
)


@given(pieces)
def test_losses_are_shares_that_never_fall_and_agree_with_a_count(some):
    scene, score, weight = map(np.array, zip(*some, strict=True))
    scenes, losses = risk.scene_losses(scene, score, weight)
    assert (np.diff(losses, axis=1) >= 0).all() and (losses[:, 0] == 0).all()
    for row, number in zip(losses, scenes, strict=True):
        own = scene == number
        for k in (1, 60, len(risk.THRESHOLDS) - 1):
            missed = weight[own & (score < risk.THRESHOLDS[k])].sum() / weight[own].sum()
            assert row[k] == pytest.approx(missed)


@given(st.integers(0, 999), st.floats(0.02, 0.9), st.integers(1, 60))
def test_the_threshold_is_the_highest_that_a_search_finds(seed, alpha, n):
    losses = population(np.random.default_rng(seed), n)
    best = None
    for k, threshold in enumerate(risk.THRESHOLDS):
        bound = n / (n + 1) * losses[:, k].mean() + 1 / (n + 1)
        assume(abs(bound - alpha) > 1e-12)  # which of two roundings of a tie is less says nothing
        if bound <= alpha:
            best = threshold
    assert risk.controlled_threshold(losses, alpha) == best
    assert (best is None) == (n < risk.scenes_needed(alpha))


def test_how_many_scenes_a_promise_needs():
    assert [risk.scenes_needed(a) for a in (0.05, 0.1, 0.2, 0.3, 0.5)] == [19, 9, 4, 3, 1]
    for alpha in (0, 1, -0.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            risk.scenes_needed(alpha)


def test_objects_are_found_as_the_benchmark_says_and_copper_weighs(tiny_scrapsim):
    samples = list(ScrapSim(tiny_scrapsim, "test"))
    rng = np.random.default_rng(0)
    maps = [rng.random(s.label.shape).astype(np.float32) for s in samples]
    k = int(np.searchsorted(risk.THRESHOLDS, 0.5))
    threshold = risk.THRESHOLDS[k]
    losses = risk.all_losses(zip(samples, maps, strict=True))
    weights = {"motor": 0.1, "cable": 0.5, "copper_coil": 1.0}
    for of, (scenes, table) in losses.items():
        for number, row in zip(scenes, table, strict=True):
            missed = total = 0.0
            for sample, score in zip(samples, maps, strict=True):
                for o in sample.meta["instances"] if sample.scene == number else ():
                    hit = score[sample.instances == o["id"]] >= threshold
                    share = weights.get(o["class"], 0.0)
                    total += 1 if of == "objects" else share * hit.size
                    missed += 2 * hit.sum() < hit.size if of == "objects" else share * (~hit).sum()
            assert row[k] == pytest.approx(missed / total)


def test_a_model_carries_its_promise_and_refuses_what_it_cannot_keep(tmp_path):
    made = {"objects": {"on": "a test", "scenes": 12, "thresholds": {0.2: 0.125, 0.4: 0.5}}}
    start = replace(starting_model(shipped=False), promises=made)
    start.save(tmp_path / "model.safetensors")
    model, image = load(tmp_path), np.zeros((40, 40, 3), np.uint8)
    assert model.promises == made
    assert model.promising(0.2).threshold == model.promising(0.39).threshold == 0.125
    first = model.predict(image, max_miss=0.2)
    assert np.array_equal(first.label, replace(model, threshold=0.125).predict(image).label)
    for asked, of, says in (
        (0.05, "objects", "takes 19 labelled scenes, and there were 12"),
        (0.1, "objects", "short of flagging every pixel"),
        (0.2, "copper", "has promises of objects; .*copper come with the model that comes along"),
    ):
        with pytest.raises(SegmenterError, match=says):
            model.predict(image, max_miss=asked, of=of)
    with pytest.raises(ValueError, match=r"^of is 'gold'; it may be objects or copper$"):
        model.predict(image, max_miss=0.2, of="gold")
    for odd in (0, 1, "x", float("nan")):
        with pytest.raises(ValueError, match=rf"lies between 0 and 1, not {odd!r}$"):
            model.predict(image, max_miss=odd)
    # Other classes, another promise: none.
    other = model.with_classes(model.classes[:2])
    assert not other.promises
    with pytest.raises(SegmenterError, match=r"promises of nothing; .*take 4 labelled images"):
        other.promising(0.2)


def test_what_is_said_of_a_promise_is_what_it_holds():
    losses = population(np.random.default_rng(0), 9)
    said = risk.in_words(risk.promise(losses, "a test"))
    assert f"20 % from a score of {risk.controlled_threshold(losses, 0.2):.2g} on" in said
    assert "from 9 labelled images" in said and said.endswith("it takes 19 for 5 %.")
    nothing = risk.in_words(None)
    assert "fold" not in nothing and "19 for 5 %, 9 for 10 %, 4 for 20 %" in nothing
    # One scene whose objects no threshold above 0 finds.
    blind = risk.scene_losses(np.arange(19), np.repeat([0.9, 0.0], [10, 9]))[1]
    assert "not 5 %, 10 %, 20 %" in risk.in_words(risk.promise(blind, "a test"))
