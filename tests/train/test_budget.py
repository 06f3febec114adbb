"""How long a step takes."""

from __future__ import annotations

import pytest

from scrapseg.train.budget import seconds_a_step


def test_a_step_is_timed_without_what_comes_before_the_steps():
    """Two seconds before any step, and each step half a second."""
    clock = [0.0]

    def train(steps):
        clock[0] += 2 + 0.5 * steps

    assert seconds_a_step(train, lambda: clock[0]) == pytest.approx(0.5)
