"""The bench: what it measures is there, and a case's process sees the policy it is meant to see."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from making import bench
from scrapseg.experiments.build import build
from scrapseg.train.loop import TrainConfig


def test_a_larger_crop_takes_longer_and_parameters_are_counted():
    small, large = (
        bench.measure("unet", TrainConfig(batch_size=2, crop=crop), size=32, seconds=0.05)
        for crop in (32, 256)
    )
    assert 0 < small["step_s"] < large["step_s"]
    assert small["train_images_s"] == pytest.approx(2 / small["step_s"])
    parameters = sum(p.numel() for p in build("unet", seed=1).parameters())
    assert small["params_m"] == large["params_m"] == parameters / 1e6


def test_each_case_has_its_policy_and_ends_the_busy_process(monkeypatch):
    """With a measurement that tells its policy's length as the seconds of its step."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *arguments, **more) -> None:
            super().__init__(*arguments, **more)
            started.append(self)

    def run(command, **more):
        assert all(process.poll() is None for process in started)  # it is busy meanwhile
        tell = "import os; print('{\"step_s\": %d}' % len(os.environ.get('OMP_WAIT_POLICY', '')))"
        out = subprocess.check_output([command[0], "-c", tell], env=more["env"], text=True)
        return SimpleNamespace(stdout=out)

    fake = SimpleNamespace(Popen=Popen, run=run, PIPE=subprocess.PIPE)
    monkeypatch.setattr(bench, "subprocess", fake)
    assert bench.step_in_a_process("", False, TrainConfig(), 1) == 0
    assert bench.step_in_a_process("PASSIVE", False, TrainConfig(), 1) == len("PASSIVE")
    assert not started
    assert bench.step_in_a_process("PASSIVE", True, TrainConfig(), 1) == len("PASSIVE")
    assert len(started) == 1 and started[0].poll() is not None


@pytest.mark.parametrize("name", bench.METHODS)
def test_every_method_that_is_timed_takes_a_step(name):
    method, variant = bench.METHODS[name]
    model = build(method, seed=0, variant=variant)
    told = []
    bench.training_step(model, TrainConfig(batch_size=2, crop=32))(told.append)
    assert told[-1] == "optimiser" and told.index("loss") < told.index("loss, back")


def test_every_part_of_a_step_takes_time():
    table = bench.profile(TrainConfig(batch_size=2, crop=32), steps=1).set_index("part")
    assert list(table.index) == bench.PARTS
    assert (table > 0).all(axis=None)


def test_the_parts_are_told_in_their_order():
    told = []
    model = build("scrapseg", seed=0)
    before = [p.clone() for p in model.parameters()]
    bench.training_step(model, TrainConfig(batch_size=2, crop=32))(told.append)
    assert told == bench.PARTS
    assert any(not p.equal(b) for p, b in zip(model.parameters(), before, strict=True))
