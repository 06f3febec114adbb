"""Shapes of tools."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth.impurity_mesh import box, extrude, revolve, rotation, rounded, tube
from making.synth.shapes.base import (
    PI,
    Build,
    circle,
    curve,
    hexagon,
    lathe,
    ring,
    rod,
    shape,
    sheet,
    slab,
)


@shape("hammer")
def _(rng: Generator) -> Build:
    u = rng.uniform(0.85, 1.2)
    yield "grip", tube(curve((-0.6, 0, 0), (0, 0.005, 0), (0.5, 0, 0)), 0.036 * u, sides=8)
    if rng.random() < 0.5:
        yield "black", rod((-0.62, 0, 0), (-0.25, 0, 0), 0.046 * u)
    yield "main", box((0.12 * u, 0.20, 0.11), (0.48, 0, 0), corner=0.02)
    face = revolve([0.04, 0.04, 0.07, 0.07], [0.08, 0.14, 0.16, 0.24], sides=14)
    yield "main", face.moved((0.48, 0, 0), rotation("z", PI / 2))
    if rng.random() < 0.75:  # claw
        for s in (-1, 1):
            path = curve((0.48, -0.08, s * 0.02), (0.47, -0.18, s * 0.03), (0.40, -0.30, s * 0.055))
            yield "main", tube(path, np.linspace(0.05, 0.012, 24), sides=6)
    else:
        yield "main", slab([(0.43, -0.08), (0.53, -0.08), (0.5, -0.27), (0.46, -0.27)], 0.1, -0.05)


@shape("wrench")
def _(rng: Generator) -> Build:
    t = 0.07
    yield "main", slab([(-0.5, -0.05), (0.45, -0.06), (0.45, 0.06), (-0.5, 0.05)], t)
    a, r = np.linspace(0.55, 2 * PI - 0.55, 22), 0.17
    jaw = np.stack([r * np.cos(a) * 1.05, r * np.sin(a)], -1)
    slot = [(0.02, -0.075), (-0.03, -0.05), (-0.03, 0.05), (0.02, 0.075)]
    head = np.concatenate([jaw, slot]) @ rotation("z", 0.26)[:2, :2].T
    yield "main", slab(head + (0.56, 0), t * 1.25, -t * 0.12)
    if rng.random() < 0.6:
        hole = ring(circle(0.14, 24), hexagon(0.09, 4), t * 1.25, -t * 0.12)
        yield "main", hole.moved((-0.58, 0, 0))
    else:
        yield "main", slab(head * [-0.85, 0.85] - (0.54, 0), t * 1.2, -t * 0.1)


@shape("screwdriver")
def _(rng: Generator) -> Build:
    r = rng.uniform(0.06, 0.09)
    a = np.arange(24) * 2 * PI / 24
    flute = 1 - 0.12 * (np.arange(24) % 4 == 0)
    section = np.stack([np.cos(a) * flute, np.sin(a) * flute], -1) * r
    yield "main", extrude(section, 0.36).moved((-0.3, 0, 0))
    yield "main", revolve([r * 0.6, r, r * 0.95], [-0.52, -0.49, -0.47])
    yield "main", revolve([r, r * 0.6, r * 0.55, r * 0.85, r * 0.7], [-0.13, -0.08, -0.05, 0, 0.02])
    shaft = rng.uniform(0.4, 0.65)
    yield "bright", rod((0, 0, 0), (shaft, 0, 0), r * 0.3)
    yield "bright", slab([(shaft - 0.02, -0.03), (shaft + 0.07, -0.035),
                          (shaft + 0.07, 0.035), (shaft - 0.02, 0.03)], 0.014, -0.007)  # fmt: skip


@shape("saw")
def _(rng: Generator) -> Build:
    teeth = 26
    x = np.linspace(-0.25, 0.75, 2 * teeth + 1)
    y = np.where(np.arange(len(x)) % 2, -0.05, 0.0)
    blade = [*zip(x, y, strict=True), (0.75, 0.1), (-0.25, 0.27)]
    yield "main", slab(blade, 0.012)
    outer = rounded(0.34, 0.36, 0.1, steps=5)
    inner = rounded(0.16, 0.19, 0.06, steps=5)
    yield "grip", ring(outer, inner, 0.06, -0.024).moved((-0.36, 0.1, 0))


@shape("pliers")
def _(rng: Generator) -> Build:
    opening = rng.uniform(0.05, 0.25)
    for s in (-1, 1):
        turn = rotation("z", s * opening)
        handle = curve((0, 0, 0), (-0.15, s * 0.09, 0), (-0.4, s * 0.15, 0), (-0.62, s * 0.11, 0))
        yield "main", tube(handle[:9], 0.034).moved(turn=turn)
        yield "handle", tube(handle[6:], 0.048).moved(turn=turn)
        jaw = [(-0.08, -s * 0.08), (0.08, -s * 0.05), (0.35, -s * 0.005), (0.35, -s * 0.05),
               (0.1, -s * 0.13), (-0.04, -s * 0.13)]  # fmt: skip
        yield "main", slab(jaw, 0.07, -0.035).moved(turn=turn)
    yield "main", lathe([0.09, 0.09], [-0.045, 0.045])


@shape("axe")
def _(rng: Generator) -> Build:
    yield (
        "grip",
        tube(curve((-0.75, 0.04, 0), (-0.3, -0.02, 0), (0.1, 0.02, 0), (0.5, 0, 0)), 0.034),
    )
    outline = np.array([(0.5, 0.08), (0.33, 0.08), (0.31, -0.04), (0.2, -0.32), (0.35, -0.37),
                        (0.52, -0.33), (0.48, -0.04)])  # fmt: skip
    thin = slab(outline, 0.1, -0.05)
    thin.verts[:, 2] *= np.clip(1 + thin.verts[:, 1] * 2.6, 0.08, 1)
    yield "main", thin


@shape("shovel")
def _(rng: Generator) -> Build:
    yield "grip", rod((-0.9, 0, 0.03), (0.35, 0, 0.03), 0.028)
    if rng.random() < 0.6:
        yield "handle", rod((-0.9, -0.12, 0.03), (-0.9, 0.12, 0.03), 0.032)
    u, v = np.meshgrid(np.linspace(0, 1, 12), np.linspace(-1, 1, 11), indexing="ij")
    width = 0.17 * (np.clip(1.05 - u**4, 0, 1)) if rng.random() < 0.6 else 0.17 * np.ones_like(u)
    points = np.stack([0.33 + 0.5 * u, v * width, 0.07 * v**2 - 0.02 * u + 0.02], -1)
    yield "main", sheet(points, 0.012)
    yield "main", rod((0.2, 0, 0.03), (0.42, 0, 0.025), 0.036)


@shape("paintbrush")
def _(rng: Generator) -> Build:
    w = rng.uniform(0.1, 0.22)
    handle = [(-0.62, -0.04), (-0.66, 0), (-0.62, 0.04), (-0.3, 0.035), (-0.05, w * 0.9),
              (-0.05, -w * 0.9), (-0.3, -0.035)]  # fmt: skip
    yield "main", slab(handle, 0.06, -0.03)
    yield "bright", box((0.17, 2 * w, 0.08), (0.02, 0, 0))
    hair = box((0.34, 1.94 * w, 0.07), (0.26, 0, 0))
    hair.verts[hair.verts[:, 0] > 0.2, 2] *= 0.45
    yield "bristle", hair
    if rng.random() < 0.5:
        yield "paint", box((0.12, 1.96 * w, 0.05), (0.39, 0, 0))


@shape("ladder")
def _(rng: Generator) -> Build:
    n, w = int(rng.integers(5, 9)), 0.2

    def side(lean: float, rungs: bool) -> Build:
        turn = rotation("y", lean)
        for y in (-w, w):
            yield "main", box((0.05, 0.06, 1.4), (0, y, -0.7)).moved(turn=turn)
        for z in np.linspace(-1.28, -0.1, n if rungs else 2):
            if rungs:
                yield "main", box((0.07, 2 * w, 0.03), (0, 0, z)).moved(turn=turn)
            else:
                yield "main", rod((0, -w, z), (0, w, z), 0.02).moved(turn=turn)

    if rng.random() < 0.5:  # step ladder
        yield from side(0.25, True)
        yield from side(-0.25, False)
        yield "main", box((0.2, 0.48, 0.05))
    else:
        for name, part in side(0.0, True):
            yield name, part.moved(turn=rotation("y", PI / 2))


@shape("trowel")
def _(rng: Generator) -> Build:
    yield "main", slab([(0, -0.2), (0.55, 0), (0, 0.2), (-0.08, 0.05), (-0.08, -0.05)], 0.014)
    yield "main", tube(curve((0.05, 0, 0.01), (-0.15, 0, 0.03), (-0.2, 0, 0.12), (-0.3, 0, 0.14)),
                       0.022)  # fmt: skip
    grip = revolve([0.03, 0.05, 0.055, 0.045, 0.05, 0.03], [-0.72, -0.7, -0.6, -0.45, -0.33, -0.28])
    yield "grip", grip.moved((0, 0, 0.14))


@shape("scissors")
def _(rng: Generator) -> Build:
    opening = rng.uniform(0.06, 0.4)
    for s in (-1, 1):
        turn = rotation("z", s * opening)
        blade = slab([(-0.1, -0.035), (0.62, 0), (-0.1, 0.04)], 0.018, s * 0.01 - 0.009)
        yield "bright", blade.moved(turn=turn)
        path = curve((-0.05, 0, 0), (-0.2, -s * 0.04, 0), (-0.3, -s * 0.05, 0))
        yield "main", tube(path, 0.032).moved(turn=turn)
        loop = circle(1.0, 20)
        loop = np.c_[loop * [0.17, 0.11] + (-0.44, -s * 0.09), np.zeros(20)]
        yield "main", tube(loop, 0.032, closed=True).moved(turn=turn)
    yield "bright", lathe([0.025, 0.025], [-0.03, 0.03], 12)


@shape("pickaxe")
def _(rng: Generator) -> Build:
    yield "grip", rod((-0.8, 0, 0), (0.42, 0, 0), 0.034)
    path = curve((0.2, -0.5, 0), (0.38, -0.2, 0), (0.4, 0, 0), (0.38, 0.2, 0), (0.2, 0.5, 0), n=31)
    thick = 0.055 * (1 - 0.8 * np.abs(np.linspace(-1, 1, 31)) ** 1.5)
    yield "main", tube(path, thick, sides=6)
    yield "main", box((0.12, 0.13, 0.12), (0.4, 0, 0))


@shape("power drill")
def _(rng: Generator) -> Build:
    yield (
        "main",
        revolve([0.09, 0.14, 0.15, 0.15, 0.13], [-0.32, -0.28, -0.1, 0.12, 0.18]).moved(
            (0, 0, 0.55)
        ),
    )
    yield "black", revolve([0.11, 0.11, 0.07, 0.05], [0.18, 0.27, 0.36, 0.4]).moved((0, 0, 0.55))
    yield "bright", rod((0.38, 0, 0.55), (0.72, 0, 0.55), 0.02, 6)
    grip = box((0.16, 0.13, 0.42), (0, 0, 0), corner=0.04).moved(turn=rotation("y", 0.2))
    yield "main", grip.moved((-0.14, 0, 0.28))
    yield "black", box((0.3, 0.2, 0.14), (-0.13, 0, 0.07), corner=0.03)
    yield "black", box((0.05, 0.05, 0.1), (-0.02, 0, 0.38))


@shape("clamp")
def _(rng: Generator) -> Build:
    w = box((0.1, 0.8, 0.09), (-0.4, 0, 0))
    yield "main", w
    for y in (-0.4, 0.4):
        yield "main", box((0.6, 0.1, 0.09), (-0.15, y, 0), corner=0.02)
    gap = rng.uniform(-0.05, 0.2)
    yield "bright", rod((0.1, gap - 0.2, 0), (0.1, 0.75, 0), 0.035)
    yield "main", lathe([0.06, 0.06], [0.3, 0.5]).moved((0.1, 0, 0), rotation("x", -PI / 2))
    yield "bright", rod((-0.05, 0.74, 0), (0.25, 0.74, 0), 0.022)
    yield (
        "bright",
        lathe([0.08, 0.08], [gap - 0.22, gap - 0.16]).moved((0.1, 0, 0), rotation("x", -PI / 2)),
    )
    yield "main", rod((0.1, -0.36, 0), (0.1, -0.28, 0), 0.06)


@shape("broom")
def _(rng: Generator) -> Build:
    yield "main", rod((-0.9, 0, 0.06), (0.42, 0, 0.06), 0.022)
    yield "main", box((0.09, 0.46, 0.07), (0.44, 0, 0.05))
    for y in np.linspace(-0.21, 0.21, 15):
        for z in (0.03, 0.07):
            end = (0.75 + rng.normal(0, 0.015), y * 1.2 + rng.normal(0, 0.01), z * 1.1)
            yield "bristle", rod((0.47, y, z), end, 0.014, 5)


@shape("rake")
def _(rng: Generator) -> Build:
    yield "grip", rod((-0.9, 0, 0.03), (0.5, 0, 0.03), 0.024)
    yield "main", box((0.05, 0.56, 0.05), (0.5, 0, 0.03))
    for y in np.linspace(-0.26, 0.26, 11):
        yield (
            "main",
            tube(curve((0.5, y, 0.03), (0.58, y, 0.05), (0.62, y, 0.16), n=8), 0.014, sides=5),
        )
