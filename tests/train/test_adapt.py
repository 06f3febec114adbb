"""Adaptation without labels: what is pasted where, what has no label, what stays as it was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from scrapseg.data.classes import CLASSES, ScrapClass
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.models.segmenter import Prediction, Segmenter, starting_model
from scrapseg.train import adapt, loop
from scrapseg.train.adapt import AdaptConfig, PasteOntoPhotos, photo_labels
from scrapseg.train.losses import IGNORED
from scrapseg.train.paste import Cutout


def piece(label: int, side: int = 20) -> Cutout:
    """A white square."""
    pixels = torch.full((3, side, side), 255, dtype=torch.uint8)
    return Cutout(pixels, torch.ones(side, side, dtype=torch.bool), label)


def pasted(config: AdaptConfig, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """White impurities and grey distractors on black, with every other column unlabelled."""
    grey = torch.full((3, 90, 90), 128, dtype=torch.uint8)
    lay = PasteOntoPhotos([piece(2), piece(5), piece(0)], [grey], config)
    mask = torch.zeros(96, 96, dtype=torch.uint8)
    mask[:, ::2] = IGNORED
    torch.manual_seed(seed)
    return lay(tv_tensors.Image(torch.zeros(3, 96, 96, dtype=torch.uint8)), tv_tensors.Mask(mask))


def test_impurities_are_labelled_and_distractors_are_steel():
    config = AdaptConfig(paste=5, sides=(16, 40))
    only = {d: [pasted(replace(config, distractors=d), s) for s in range(12)] for d in (0.0, 1.0)}
    for image, mask in only[0.0]:
        assert set(mask.unique().tolist()) <= {0, 2, 5, IGNORED}
        assert ((mask == 2) | (mask == 5))[image[0] > 130].all()
    assert any((mask == 2).any() for _, mask in only[0.0])
    for image, mask in only[1.0]:
        assert set(mask.unique().tolist()) <= {0, IGNORED}
        # A piece of a photograph is known to be steel, though the photograph below is not.
        assert (mask[(image[0] > 100)] == 0).all()
        assert image.max() <= 1.21 * 128
    assert any((image > 0).any() for image, _ in only[1.0])


@pytest.mark.parametrize("side", [5, 80, 400])
def test_pieces_have_the_asked_for_size_but_are_not_blown_up(side):
    lay = PasteOntoPhotos([piece(1, side)], [torch.zeros(3, 9, 9)], AdaptConfig(sides=(30, 60)))
    found = [max(lay._varied(piece(1, side))[1].shape) for _ in range(40)]
    low, high = (12, 13) if side == 5 else (29, 61)
    assert low <= min(found) and max(found) <= high


@pytest.fixture(scope="module")
def start():
    return replace(starting_model(shipped=False), side=64)


def test_labels_follow_the_score(start):
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    p = start.probabilities(image)[0]
    score = 1 - p[0]
    low, high = (float(score.quantile(q)) for q in (0.5, 0.9))
    (label,) = photo_labels(start, [image], low, high)
    assert (label[score <= low] == 0).all()
    assert (label[(score > low) & (score <= high)] == IGNORED).all()
    best = (p[1:].argmax(0) + 1).to(torch.uint8)
    torch.testing.assert_close(label[score > high], best[score > high])
    assert (photo_labels(start, [image], 1.0)[0] == 0).all()


def test_it_adapts_a_copy_and_keeps_classes(start, tiny_scrapsim: Path, tmp_path, monkeypatch):
    monkeypatch.setattr(adapt, "STEPS", (2, 2))
    for k in range(3):
        photo = np.random.default_rng(k).integers(0, 256, (40, 64, 3), np.uint8)
        Image.fromarray(photo).save(tmp_path / f"{k}.png")
    own = [*CLASSES[:2], ScrapClass(2, "brick", "brick", ("brick", "red brick"), (9, 9, 9))]
    before = {k: v.clone() for k, v in start.model.state_dict().items()}
    photos = sorted(tmp_path.glob("*.png"))
    monkeypatch.setattr(adapt.novelty, "learned", partial(adapt.novelty.learned, rank=4))
    mine = start.with_classes(own)
    adapted = adapt.adapt(mine, photos, ScrapSim(tiny_scrapsim, "train"), minutes=0.01)
    for name, value in start.model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert [c.slug for c in adapted.classes] == ["steel", "motor", "brick"]
    torch.testing.assert_close(adapted.model.text, mine.model.text)
    assert "3 photographs without labels" in adapted.origin and 0 < adapted.threshold <= 1
    assert adapted.model.novelty and start.model.novelty is None
    assert adapt.held_back(adapted).model.novelty is None and adapted.model.novelty
    changed = adapted.model.state_dict()
    assert any((changed[k] != before[k]).any() for k in before if k.endswith("weight"))


def test_an_interrupt_costs_what_came_after_the_last_state(
    start, tiny_scrapsim, tmp_path, monkeypatch
):
    """The next call takes as many steps as the first one had planned, whatever it would itself."""
    photo = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.png")
    scenes, seen = ScrapSim(tiny_scrapsim, "train"), []
    told, state = loop.training_loss, tmp_path / "work/adapting.ckpt"

    def adapted(stop: int, steps: int, **options):
        def loss(*arguments, **keywords):
            seen.append(1)
            if len(seen) == stop:
                raise KeyboardInterrupt
            return told(*arguments, **keywords)

        seen.clear()
        monkeypatch.setattr(loop, "training_loss", loss)
        monkeypatch.setattr(adapt, "STEPS", (steps, steps))
        return adapt.adapt(start, [tmp_path / "a.png"], scenes, minutes=0.01, **options)

    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    monkeypatch.setattr(adapt, "seconds_a_step", lambda *_: 1.0)
    expected = adapted(0, 6).model.state_dict()
    with pytest.raises(KeyboardInterrupt):
        adapted(4, 6, state=state)
    resumed = adapted(0, 99, state=state).model.state_dict()
    assert len(seen) == 4 and not state.exists()
    for name, value in expected.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


@dataclass(frozen=True)
class Squares:
    """A square of score .32 in each photograph, one of .62 in every second; two of .99, if sure."""

    sure: bool
    threshold: float = 0.5
    classes = CLASSES
    thresholded, objects = Segmenter.thresholded, Segmenter.objects

    def predict(self, image: float) -> Prediction:
        score = np.zeros((60, 60), np.float32)
        score[:10, :10], score[20:30, :10] = 0.32, 0.62 * image
        score[:10, 40:50] = score[20:30, 40:50] = 0.99 * self.sure
        ones = np.ones((60, 60), np.uint8)
        return Prediction(score, ones, score, ones, ones, [], 0.0, 0.0, score[0])


def test_the_threshold_rises_until_photographs_of_steel_are_quiet():
    photos = [0.0, 1.0, 0.0, 1.0]
    assert adapt.quiet_threshold(Squares(False), photos, 0.1, 1.0) == adapt.THRESHOLDS[5]
    assert adapt.quiet_threshold(Squares(False), photos, 0.7, 1.0) == 0.7
    assert adapt.quiet_threshold(Squares(True), photos, 0.1, 1.0) == adapt.THRESHOLDS[-1]
    assert adapt.quiet_threshold(Squares(True), photos, 0.985, 1.0) == 0.985


class Laid:
    """The left half of each photograph is a piece."""

    def __init__(self, *_):
        pass

    def __call__(self, image, mask):
        mask[:, : mask.shape[1] // 2] = 3
        return image, mask


class Bright:
    """A pixel's score is its brightness."""

    def probabilities(self, image):
        score = torch.from_numpy(image[..., 0] / 255.0)
        return torch.stack([1 - score, score])[None]


def test_the_highest_threshold_still_finds_a_share_of_what_was_laid(monkeypatch):
    monkeypatch.setattr(adapt, "PasteOntoPhotos", Laid)
    draw = np.random.default_rng(0)
    photos = [draw.integers(0, 256, (30, 40, 3), dtype=np.uint8) for _ in range(5)]
    labels = [torch.zeros(30, 40, dtype=torch.uint8) for _ in photos]
    _, highest = adapt.choose_threshold(Bright(), photos, labels, [])
    laid = np.concatenate([photo[:, :20, 0].ravel() for photo in photos]) / 255
    assert np.mean(laid >= highest) == pytest.approx(adapt.LEAST_FOUND, abs=0.01)


def test_it_does_not_rise_where_too_many_of_the_pieces_would_be_missed():
    photos = [0.0, 1.0, 0.0, 1.0]
    assert adapt.quiet_threshold(Squares(True), photos, 0.1, 0.85) == adapt.THRESHOLDS[9]
    assert adapt.THRESHOLDS[9] <= 0.85 < adapt.THRESHOLDS[10]
    assert adapt.quiet_threshold(Squares(True), photos, 0.9, 0.3) == 0.9


def test_no_photographs_are_an_error(start, tiny_scrapsim):
    with pytest.raises(ValueError, match="no photographs"):
        adapt.adapt(start, [], ScrapSim(tiny_scrapsim, "train"))


def test_photographs_of_a_deep_camera_are_read_by_its_range(tmp_path):
    Image.fromarray(np.full((40, 48), 900, np.uint16)).save(tmp_path / "a.png")  # of 12 bits
    (image,) = adapt.read_photos([tmp_path / "a.png"], 48, bits=12)
    assert (image == 900 // 16).all()


def test_colours_change_as_far_as_asked():
    photo = torch.full((3, 64, 64), 100, dtype=torch.uint8)
    plain = replace(adapt.AdaptConfig(), crop=64, paste=0, camera=0.0)
    seen = {}
    for colour in (0.0, 0.6):
        torch.manual_seed(0)
        made = adapt.photo_transform(
            (0, 0, 0), (1, 1, 1), [], [photo], replace(plain, colour=colour)
        )
        label = torch.zeros(64, 64, dtype=torch.uint8)
        seen[colour] = [
            float(made(tv_tensors.Image(photo), tv_tensors.Mask(label))[0].mean())
            for _ in range(20)
        ]
    assert np.allclose(seen[0.0], 100 / 255, atol=0.01) and np.ptp(seen[0.6]) > 0.2
