"""Ways of laying pieces that the study of adaptation tries: what each changes of a piece."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F
from torchvision import tv_tensors

from making.studies.laid import Dirty, Matched, Tinted, WithSteel, noise, sharpness
from scrapseg.train.adapt import AdaptConfig
from scrapseg.train.paste import Cutout

CLEAN = AdaptConfig(paste=5, sides=(16, 40), distractors=0.0)


def laid(kind, onto: torch.Tensor, seed: int = 0, value: int = 255):
    """White squares of class 2, and black ones of steel, on a photograph; grey is what dirt is."""
    square = torch.ones(20, 20, dtype=torch.bool)
    pieces = [Cutout(torch.full((3, 20, 20), value * (c > 0), dtype=torch.uint8), square, c)
              for c in (2, 0)]  # fmt: skip
    grey = torch.full((3, 90, 90), 128, dtype=torch.uint8)
    mask = tv_tensors.Mask(torch.full(onto.shape[1:], 9, dtype=torch.uint8))
    torch.manual_seed(seed)
    return kind(pieces, [grey], CLEAN)(tv_tensors.Image(onto), mask)


def test_dirt_covers_a_piece_in_part_with_what_the_photographs_show():
    seen = []
    for seed in range(12):
        image, mask = laid(Dirty, torch.zeros(3, 96, 96, dtype=torch.uint8), seed)
        inside = image[0][mask == 2]
        assert inside.numel() == 0 or inside.min() >= 64  # grey, at an edge over black
        seen.append(inside)
    seen = torch.cat(seen).float()
    assert (seen < 190).float().mean() > 0.2  # grey lies on white, which alone is 204 or more
    assert (seen > 204).float().mean() > 0.05  # and some shows through
    assert seen.unique().numel() > 50


def test_rendered_steel_is_laid_where_asked_for_alone():
    blue = torch.full((3, 96, 96), 200, dtype=torch.uint8)
    masks = {k: torch.stack([laid(k, blue, s)[1] for s in range(12)]) for k in (WithSteel, Dirty)}
    assert (masks[WithSteel] == 0).any() and not (masks[Dirty] == 0).any()


def test_a_tint_changes_a_coloured_piece_and_keeps_its_range():
    pixels = torch.stack([torch.full((12, 12), v) for v in (200.0, 90.0, 30.0)])
    torch.manual_seed(0)
    made = [Tinted([], [], CLEAN).changed(pixels, pixels) for _ in range(6)]
    assert all(m.min() >= 0 and m.max() <= 255 for m in made)
    assert len({round(float(m.mean()), 3) for m in made}) == 6


def textured(seed: int, blur: bool = False, sigma: float = 0.0) -> torch.Tensor:
    """Checks of grey, (3, 96, 96), that are blurred and noisy, if asked for."""
    generator = torch.Generator().manual_seed(seed)
    checks = torch.arange(96) // 8 % 2
    image = 60 + 120 * (checks[:, None] ^ checks).float().repeat(3, 1, 1)
    image = F.avg_pool2d(image, 7, 1, 3, count_include_pad=False) if blur else image
    return image + sigma * torch.randn(image.shape, generator=generator)


def test_noise_is_told_where_there_is_little_else():
    for sigma in (2.0, 8.0):
        flat = 128 + sigma * torch.randn(1, 200, 200, generator=torch.Generator().manual_seed(0))
        assert abs(noise(flat.expand(3, -1, -1)) - sigma) < 0.1 * sigma
    assert noise(torch.zeros(3, 5, 5)) == sharpness(torch.zeros(3, 5, 5)) == 0


def test_a_piece_takes_the_light_the_sharpness_and_the_noise_of_the_photograph():
    lay = Matched([], [], CLEAN)
    red = textured(0) * torch.tensor([1.2, 0.9, 0.9])[:, None, None]
    means = lay.changed(textured(1), red).mean((1, 2))
    np.testing.assert_allclose(means / means.mean(), [1.2, 0.9, 0.9], atol=0.02)
    soft = lay.changed(textured(1), textured(2, blur=True))
    assert sharpness(soft) < 0.6 * sharpness(textured(1))
    torch.testing.assert_close(lay.changed(textured(1), textured(1)), textured(1))
    torch.manual_seed(0)
    noisy = lay.changed(torch.full((3, 64, 64), 99.0), 128 + 6 * torch.randn(3, 96, 96))
    # What is told of the channels' mean, 6 / 3**.5, is added to each: their mean has 6 / 3.
    assert abs(noise(noisy) - 2) < 0.2
