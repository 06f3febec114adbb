"""Tiled prediction against blending whole arrays, plainly; and what it costs in memory."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.transforms.v2 import functional as F2

from scrapseg.models.scrapseg import SegOutput
from scrapseg.models.tiles import positions, predict_large, window


class Conv(nn.Module):
    """A model whose answer depends on the place in the tile, as padding makes real ones do."""

    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)

    def __init__(self, classes=4, kernel=9):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Conv2d(3, classes, kernel, padding=kernel // 2)

    def forward(self, x):
        return SegOutput(3 * self.net(x), None)


def brute_force(model, image, tile, overlap, scales):
    """Every tile by itself, weights and probabilities summed over the whole frame in float64."""
    height, width = image.shape[:2]
    total = 0
    for scale in scales:
        side = round(tile / scale)
        share = min(round(overlap / scale), side - 1)
        y = max(height, side), max(width, side)
        padded = np.pad(image, ((0, y[0] - height), (0, y[1] - width), (0, 0)), mode="symmetric")
        x = F2.to_dtype(F2.to_image(padded), torch.float32, scale=True)
        x = F2.normalize(x, model.mean, model.std)
        top = torch.zeros(4, *y, dtype=torch.float64)
        low = torch.zeros(*y, dtype=torch.float64)
        for r in positions(height, side, share):
            for c in positions(width, side, share):
                part = F2.resize(x[:, r : r + side, c : c + side], [tile, tile], antialias=True)
                p = model(part[None]).logits.softmax(1)
                p = F2.resize(p, [side, side], antialias=True)[0]
                near = [min(i + 1, side - i, share + 1) / (share + 1) for i in range(side)]
                w = torch.tensor([[a * b for b in near] for a in near], dtype=torch.float64)
                top[:, r : r + side, c : c + side] += p * w
                low[r : r + side, c : c + side] += w
        total = total + (top / low)[:, :height, :width] / len(scales)
    return total


@torch.no_grad()
@settings(deadline=None, max_examples=15)
@given(
    st.integers(5, 90),
    st.integers(5, 90),
    st.sampled_from([(32, 0), (32, 8), (32, 20), (64, 16)]),
    st.sampled_from([(1.0,), (2.0,), (0.5,), (1.0, 1.5, 0.75)]),
    st.integers(1, 5),
)
def test_equal_to_brute_force(height, width, tiling, scales, batch_size):
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    model = Conv()
    tile, overlap = tiling
    found = predict_large(
        model, image, tile=tile, overlap=overlap, scales=scales, batch_size=batch_size
    )
    expected = brute_force(model, image, tile, overlap, scales)
    np.testing.assert_allclose(found.score_map, 1 - expected[0], atol=1e-3)  # half precision
    top = expected.topk(2, dim=0).values
    sure = top[0] - top[1] > 1e-5
    assert (torch.from_numpy(found.label) == expected.argmax(0))[sure].all()
    best = expected[1:].topk(2, dim=0).values
    sure = best[0] - best[1] > 1e-5
    assert (torch.from_numpy(found.impurity) == 1 + expected[1:].argmax(0))[sure].all()
    entropy = torch.distributions.Categorical(expected.movedim(0, -1)).entropy() / np.log(4)
    np.testing.assert_allclose(found.entropy, entropy, atol=1e-3)


def test_one_tile_is_the_plain_prediction():
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    model = Conv()
    found = predict_large(model, image, tile=64, overlap=16)
    x = F2.to_dtype(F2.to_image(image), torch.float32, scale=True)
    logits = model(F2.normalize(x, model.mean, model.std)[None]).logits[0]
    assert (torch.from_numpy(found.label) == logits.argmax(0)).all()
    np.testing.assert_allclose(found.score_map, 1 - logits.softmax(0)[0].detach(), atol=1e-3)


@given(st.integers(1, 5000), st.integers(1, 500), st.data())
def test_tiles_cover_a_side_and_overlap_enough(length, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    starts = positions(length, tile, overlap)
    assert starts[0] == 0
    assert len(starts) == 1 if length <= tile else starts[-1] == length - tile
    assert all(0 < b - a <= tile - overlap for a, b in pairwise(starts))


def test_weights_are_positive_and_symmetric():
    w = window(48, 12)
    assert (w > 0).all() and w.max() == 1
    torch.testing.assert_close(w, w.flip(0))
    torch.testing.assert_close(w, w.T)


def test_bad_arguments_are_named():
    image = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(ValueError, match="uint8"):
        predict_large(Conv(), image.astype(float))
    with pytest.raises(ValueError, match="scales"):
        predict_large(Conv(), image, tile=32, scales=(1.0, 0.0))
    with pytest.raises(ValueError, match="overlap is 32"):
        predict_large(Conv(), np.zeros((90, 90, 3), np.uint8), tile=32, overlap=32)


MEASURE = """
import resource, sys, numpy as np
sys.path.insert(0, "tests/models")
from test_large import Conv
from scrapseg.models.tiles import predict_large
model = Conv(9, 3)
predict_large(model, np.zeros((384, 384, 3), np.uint8))
def peak(height):
    predict_large(model, np.zeros((height, 3840, 3), np.uint8))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(peak(768) - base, peak(2160) - base)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux gives it")
def test_memory_of_a_4k_frame_is_bounded():
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    low, full = map(float, done.stdout.split())
    # 1,392 rows more: only the photograph (16 MB) and what is returned (48 MB) grow, give or take
    # what the allocator keeps (40 MB from one machine to another); nine float32 probabilities of
    # every pixel would be another 192 MB.
    assert full < 500
    assert full - low < 160
