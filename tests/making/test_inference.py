"""The bench of predictions: all inputs are there, peaks and ratios are what they are called."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from making import inference

FRAME = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)


@pytest.mark.parametrize(("case", "more"), [("unet", 0), ("scrapseg", 1)])
def test_each_input_is_predicted(case, more, tmp_path):
    works = list(inference.works(case, "torch", tmp_path, FRAME, 64))
    inputs = [(kind, batch, count) for kind, batch, count, _ in works]
    assert inputs[:4] == [
        ("image", 1, 1), ("frame, tiles", 1, 1), ("image", 16, 16), ("frame, tiles", 16, 1),
    ]  # fmt: skip
    assert len(inputs) == 5 + more
    one, tiled, many, together = (call() for *_, call in works[:4])
    assert many.shape == (16, *one.shape[1:]) and one.shape[2:] == (64, 64)
    assert tiled.label.shape == FRAME.shape[:2]
    np.testing.assert_allclose(tiled.score_map, together.score_map, atol=2e-3)
    small = works[4][3]()
    assert small.shape[2:] == (96, 128)  # 77 x 128, filled up to whole steps of 32


def test_a_peak_is_that_of_its_own_call():
    def held(megabytes: int) -> float:
        # Pages of its own: an array may lie where memory was freed before, and raise no peak.
        pages = np.frombuffer(mmap.mmap(-1, megabytes * 1_000_000), np.uint8)
        pages[:] = 1
        return float(pages.sum())

    large, small = (inference.with_peak(lambda m=m: held(m)) for m in (100, 1))
    assert large[0] == 100 * small[0]
    if np.isnan(small[1]):
        pytest.skip("this system does not tell a process's peak")
    assert 80 < large[1] - small[1] < 120


def test_ratios_are_to_unet_for_the_same_input():
    cells = [("unet", "torch", 1, 80), ("unet", "onnxruntime", 1, 60), ("scrapseg", "torch", 1, 20)]
    cells += [("scrapseg", "torch", 16, 5)]
    names = ("model", "runtime", "batch", "ms")
    rows = [dict(zip(names, cell, strict=True)) | {"input": "image"} for cell in cells]
    ratios = inference.compared(rows).of_unet
    assert list(ratios[:3]) == [1, 0.75, 0.25] and np.isnan(ratios[3])


def test_a_start_is_timed_with_its_process(monkeypatch):
    given = {"nothing": ("-c", "pass"), "slow": ("-c", "import time; time.sleep(0.3)")}
    monkeypatch.setattr(inference, "STARTS", given)
    table = inference.starts(times=1).set_index("start").seconds
    assert list(table.index) == ["nothing", "slow"]
    assert table.nothing > 0 and table.slow > 0.3
