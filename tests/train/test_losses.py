"""Losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scrapseg.train.losses import IGNORED, focal_loss, image_loss, segmentation_loss


def logits_of(probabilities: list[list[float]]) -> torch.Tensor:
    """Pixels' class probabilities -> logits (1, C, 1, pixels)."""
    return torch.tensor(probabilities).log().T[None, :, None, :]


def test_focal_by_hand():
    logits = logits_of([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]])
    labels = torch.tensor([[[0, 2]]])
    expected = (0.3**2 * -math.log(0.7) + 0.75**2 * -math.log(0.25)) / 2
    assert focal_loss(logits, labels, gamma=2).item() == pytest.approx(expected, rel=1e-5)


@given(st.integers(0, 10_000))
def test_focal_with_gamma_zero_is_cross_entropy(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 3, 3, generator=generator)
    labels = torch.randint(0, 4, (2, 3, 3), generator=generator)
    p = logits.double().softmax(1).gather(1, labels[:, None])
    assert focal_loss(logits, labels, 0).item() == pytest.approx(-p.log().mean().item(), rel=1e-4)
    assert focal_loss(logits, labels, 2.0) <= focal_loss(logits, labels, 0) + 1e-6


def test_image_loss_by_hand():
    image_logits = torch.tensor([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1]]).log()
    labels = torch.zeros(2, 2, 2, dtype=torch.int64)
    labels[1, 0, 0] = 2
    expected = (-math.log(0.6) - math.log(0.4)) / 2
    assert image_loss(image_logits, labels).item() == pytest.approx(expected, rel=1e-5)


def test_dice_by_hand_counts_impurities_only():
    # Two pixels; Dice of class 1 = 2 * 0.8 / ((0.8 + 0.1) + 1); class 2 is absent: adds nothing.
    logits = logits_of([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])
    labels = torch.tensor([[[1, 0]]])
    dice_class_1 = 1 - 2 * 0.8 / (0.9 + 1)
    parts = segmentation_loss(logits, None, labels)
    assert parts.dice.item() == pytest.approx(dice_class_1 / 2, rel=1e-3)
    assert parts.image.item() == 0


def test_total_is_the_weighted_sum():
    logits, image_logits = torch.randn(2, 3, 4, 4), torch.randn(2, 3)
    labels = torch.randint(0, 3, (2, 4, 4))
    parts = segmentation_loss(
        logits, image_logits, labels, gamma=1.0, dice_weight=0.5, image_weight=0.25
    )
    expected = parts.focal + 0.5 * parts.dice + 0.25 * parts.image
    torch.testing.assert_close(parts.total, expected)


def test_perfect_prediction_costs_nothing():
    labels = torch.randint(0, 3, (2, 8, 8))
    logits = 50 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    image_logits = torch.tensor([[-50.0, 50, 0]]).expand(2, 3)
    assert segmentation_loss(logits, image_logits, labels).total.item() < 1e-4


def test_ignored_pixels_do_not_count():
    torch.manual_seed(0)
    logits, image_logits = torch.randn(2, 3, 6, 6), torch.randn(2, 3)
    labels = torch.randint(1, 3, (2, 6, 6))
    labels[:, 3:] = IGNORED
    parts = segmentation_loss(logits, image_logits, labels)
    upper = segmentation_loss(logits[:, :, :3], image_logits, labels[:, :3])
    torch.testing.assert_close(parts.total, upper.total)


def test_an_image_with_only_unlabelled_things_is_no_clean_image():
    image_logits = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]).log()
    labels = torch.zeros(2, 2, 2, dtype=torch.int64)
    labels[1, 0, 0] = IGNORED
    assert image_loss(image_logits, labels).item() == pytest.approx(-math.log(0.6), rel=1e-5)
    assert image_loss(image_logits[1:], labels[1:]).item() == 0


def test_binary_supervision_leaves_the_kind_of_impurity_open():
    p = [[0.7, 0.2, 0.1], [0.3, 0.5, 0.2]]
    labels = torch.tensor([[[0, 2]]])
    parts = segmentation_loss(logits_of(p), None, labels, binary=True)
    assert parts.focal.item() == pytest.approx(-(math.log(0.7) + math.log(0.7)) / 2, rel=1e-5)
    assert parts.dice.item() == pytest.approx(1 - 2 * 0.7 / (0.3 + 0.7 + 1), rel=1e-3)
    swapped = segmentation_loss(logits_of([[a, c, b] for a, b, c in p]), None, labels, binary=True)
    assert swapped.total.item() == pytest.approx(parts.total.item(), rel=1e-5)
