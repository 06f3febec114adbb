"""What a camera over scrap does to its pictures: five corruptions, five levels each.

`STRENGTHS` says how strong each level is, in the units beside it; level 0 is the picture itself.
Light adds up, blurs and fades in linear light, so the three that are about light go there and back.
What is drawn at random depends on the picture's name and the corruption alone, never on the level:
level 3 has the specks of level 2 and some more.
"""

from __future__ import annotations

import zlib
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRENGTHS: dict[str, tuple[float, ...]] = {
    "dust": (20, 40, 80, 160, 320),  # grains on the lens, out of focus
    "motion blur": (0.01, 0.02, 0.035, 0.055, 0.08),  # way during the exposure, of the width
    "glare": (0.15, 0.3, 0.6, 1.2, 2.4),  # light that a lamp adds in its middle, of white
    "low light": (1, 2, 3, 4, 5),  # stops below the right exposure
    "JPEG": (40, 20, 12, 7, 4),  # Pillow's quality
}
UNITS = dict(
    zip(STRENGTHS, ("grains", "of the width", "of white", "stops", "quality"), strict=True)
)
LEVELS = range(1, 6)
GAMMA = 2.2
#: A grain's radius, of the width; how much of the light it keeps off; its own colour, linear.
GRAIN, DENSITY, COLOUR = (0.008, 0.045), (0.4, 0.95), (0.12, 0.1, 0.08)
#: Radius of a lamp's glare, of the width, and what it spreads over the whole picture, of its peak.
LAMP, VEIL = 0.3, 0.1
#: Electrons that make a white pixel of the right exposure, and the noise of reading them.
FULL_WELL, READ_NOISE = 4000.0, 4.0


def corrupted(image: NDArray, corruption: str, level: int, name: str) -> NDArray:
    """An image uint8 (H, W, 3) as a corruption of `STRENGTHS` at a level of 0..5 leaves it.

    Args:
        name: of the image; its corruption is the same each time.

    Raises:
        ValueError: no such level. KeyError: no such corruption.
    """
    strengths = STRENGTHS[corruption]
    if not 0 <= level <= len(strengths):
        raise ValueError(f"levels of {corruption} are 0 to {len(strengths)}, not {level}")
    if level == 0:
        return image
    rng = np.random.default_rng([zlib.crc32(name.encode()), zlib.crc32(corruption.encode())])
    return _MAKERS[corruption](image, strengths[level - 1], rng)


def _linear(image: NDArray) -> NDArray:
    return (image / np.float32(255)) ** GAMMA


def _picture(light: NDArray) -> NDArray:
    return np.rint(255 * light.clip(0, 1) ** (1 / GAMMA)).astype(np.uint8)


def _dust(image: NDArray, grains: float, rng: np.random.Generator) -> NDArray:
    """Soft grains, too near to be sharp, that keep light off and add a little of their own."""
    h, w = image.shape[:2]
    rows, columns = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)
    passed = np.ones((h, w), np.float32)
    drawn = rng.random((int(max(STRENGTHS["dust"])), 4))[: int(grains)]
    for x, y, size, dense in drawn:
        radius = w * (GRAIN[0] + (GRAIN[1] - GRAIN[0]) * size**2)
        top, left = (max(0, int(at - 2 * radius)) for at in (y * h, x * w))
        part = np.s_[top : int(y * h + 2 * radius) + 1, left : int(x * w + 2 * radius) + 1]
        away = np.hypot(rows[part[0]] - y * h, columns[part[1]] - x * w)
        soft = (1.2 - away / radius).clip(0, 1)
        passed[part] *= 1 - (DENSITY[0] + (DENSITY[1] - DENSITY[0]) * dense) * soft
    return _picture(_linear(image) * passed[..., None] + (1 - passed[..., None]) * COLOUR)


def _motion_blur(image: NDArray, way: float, _: np.random.Generator) -> NDArray:
    """The belt runs along the width while the shutter is open."""
    length = max(1, round(way * image.shape[1]))
    return _picture(cv2.blur(_linear(image), (length, 1), borderType=cv2.BORDER_REFLECT_101))


def _glare(image: NDArray, peak: float, rng: np.random.Generator) -> NDArray:
    """A lamp's light off a wet or bare plate, and its veil over everything."""
    h, w = image.shape[:2]
    x, y = rng.random(2) * (w, h)
    away = (np.arange(w) - x) ** 2 + (np.arange(h)[:, None] - y) ** 2
    spot = np.exp(-away / (2 * (LAMP * w / 2) ** 2)).astype(np.float32)
    return _picture(_linear(image) + peak * (spot + VEIL)[..., None])


def _low_light(image: NDArray, stops: float, rng: np.random.Generator) -> NDArray:
    """Fewer electrons, with the noise of counting them and of reading them; no gain brings them
    back."""
    electrons = _linear(image) * (FULL_WELL / 2**stops)
    counted = rng.poisson(electrons) + READ_NOISE * rng.standard_normal(image.shape)
    return _picture(counted / FULL_WELL)


def _jpeg(image: NDArray, quality: float, _: np.random.Generator) -> NDArray:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=int(quality))
    return np.asarray(Image.open(buffer))


_MAKERS = dict(zip(STRENGTHS, (_dust, _motion_blur, _glare, _low_light, _jpeg), strict=True))
