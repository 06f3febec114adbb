"""The training loop: what it learns, that it resumes bit-equal, and its schedule."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from scrapseg.models.scrapseg import SegOutput
from scrapseg.train.loop import (
    Draws,
    TrainConfig,
    TrainingDiverged,
    eval_steps,
    fit,
    learning_rate_factor,
)


class Squares(Dataset):
    """Class 1 where the image is bright; a little noise from torch's generator as augmentation."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int):
        labels = torch.zeros(16, 16, dtype=torch.int64)
        labels[2 + index : 8 + index, 4:12] = 1
        return (labels + 0.1 * torch.randn(3, 16, 16)).float(), labels


class Pixelwise(nn.Module):
    """A 1x1 convolution with a batch norm before it: the least that can learn `Squares`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))

    def forward(self, images):
        return SegOutput(self.net(images), None)

    def param_groups(self, lr, layer_decay, encoder_lr):
        return [{"params": list(self.parameters()), "lr": lr}]


CONFIG = TrainConfig(steps=30, batch_size=2, crop=16, lr=0.05, evals=3)


def accuracy(model: nn.Module) -> float:
    images, labels = zip(*[Squares()[i] for i in range(6)], strict=True)
    with torch.no_grad():
        guess = model(torch.stack(images)).logits.argmax(1)
    return (guess == torch.stack(labels)).float().mean().item()


def test_it_learns_and_keeps_the_best_weights():
    model = Pixelwise()
    seen = []

    def score(candidate: nn.Module) -> float:
        # A val metric that prefers the second look, whatever the weights.
        seen.append({k: v.clone() for k, v in candidate.state_dict().items()})
        return 1.0 if len(seen) == 2 else 0.0

    history = fit(model, Squares(), torch.ones(6), score, CONFIG)
    assert len(seen) == 3
    assert all(torch.equal(v, seen[1][k]) for k, v in model.state_dict().items())
    assert not model.training
    assert history[-1]["step"] == 30
    assert history[-1]["loss"] < 0.5 * math.log(2)
    assert accuracy(model) > 0.95


def test_an_interrupted_run_resumes_to_the_same_weights(tmp_path):
    straight = Pixelwise()
    expected = fit(straight, Squares(), torch.ones(6), accuracy, CONFIG)
    state = tmp_path / "run.state"
    looks = []

    def power_cut(candidate: nn.Module) -> float:
        looks.append(1)
        if len(looks) == 2:
            raise KeyboardInterrupt
        return accuracy(candidate)

    with pytest.raises(KeyboardInterrupt):
        fit(Pixelwise(), Squares(), torch.ones(6), power_cut, CONFIG, state_path=state)
    assert state.is_file()
    resumed = Pixelwise()
    history = fit(resumed, Squares(), torch.ones(6), accuracy, CONFIG, state_path=state)
    assert not state.exists()
    assert [row["step"] for row in history] == [row["step"] for row in expected]
    for key, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_a_draw_does_not_depend_on_who_asks():
    a, b = (Draws(Squares(), torch.ones(6), 10, seed=4) for _ in range(2))
    for i in (7, 0, 3):
        torch.manual_seed(i)
        first = a[i]
        torch.manual_seed(99)
        assert torch.equal(first[0], b[i][0])
    assert not torch.equal(a[0][0], Draws(Squares(), torch.ones(6), 10, seed=5)[0][0])


def test_draws_follow_the_weights():
    order = Draws(Squares(), torch.tensor([0, 0, 3.0, 0, 1.0, 0]), 4000, seed=0).order
    assert set(order.tolist()) == {2, 4}
    assert (order == 2).float().mean().item() == pytest.approx(0.75, abs=0.03)


def test_schedule_by_hand():
    factors = [learning_rate_factor(s, 100, 0.1) for s in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == pytest.approx(1)
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0, abs=1e-7)
    assert max(factors) <= 1


def test_val_is_looked_at_in_the_last_two_thirds():
    assert eval_steps(90, 3) == {50, 70, 90}
    assert eval_steps(10, 1) == {10}


def test_divergence_is_named():
    class Nan(Pixelwise):
        def forward(self, images):
            return SegOutput(self.net(images) * float("nan"), None)

    with pytest.raises(TrainingDiverged, match=r"step 0.*lower lr"):
        fit(Nan(), Squares(), torch.ones(6), accuracy, CONFIG)
