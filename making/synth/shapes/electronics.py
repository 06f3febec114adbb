"""Shapes of electronics."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth.impurity_mesh import box, grid, revolve, rotation, rounded, tube
from making.synth.shapes.base import (
    PI,
    Build,
    arc,
    circle,
    curve,
    lathe,
    pick,
    ring,
    rod,
    shape,
    sheet,
    slab,
)


def _keys(nx: int, ny: int, w: float, d: float, z: float, name: str) -> Build:
    for i in range(nx):
        for j in range(ny):
            at = ((i + 0.5) / nx * w - w / 2, (j + 0.5) / ny * d - d / 2, z)
            yield name, box((w / nx * 0.78, d / ny * 0.78, 0.02), at)


@shape("laptop")
def _(rng: Generator) -> Build:
    yield "main", box((1.0, 0.7, 0.045), (0, 0, 0.022), corner=0.012)
    for name, part in _keys(12, 4, 0.86, 0.3, 0.045, "dark"):
        yield name, part.moved((0, 0.1, 0))
    yield "grey", box((0.26, 0.18, 0.006), (0, -0.2, 0.045))
    turn = rotation("x", rng.uniform(-0.5, -0.05))  # about the hinge
    hinge = (0, 0.35, 0.045)
    yield "main", box((1.0, 0.03, 0.68), (0, 0.0, 0.34)).moved(hinge, turn)
    yield "screen", box((0.92, 0.006, 0.58), (0, -0.018, 0.35)).moved(hinge, turn)


@shape("keyboard")
def _(rng: Generator) -> Build:
    yield "main", box((1.3, 0.46, 0.05), (0, 0, 0.025), corner=0.012)
    for name, part in _keys(14, 4, 1.2, 0.3, 0.056, "contrast"):
        yield name, part.moved((0, 0.05, 0))
    yield "contrast", box((0.5, 0.06, 0.02), (0, -0.165, 0.056))
    for x in (-0.42, 0.42):
        yield "contrast", box((0.26, 0.06, 0.02), (x, -0.165, 0.056))


@shape("computer mouse")
def _(rng: Generator) -> Build:
    t = np.linspace(-1, 1, 15)
    u, v = np.meshgrid(t, np.linspace(0, PI, 13), indexing="ij")
    width = np.clip(1 - np.abs(u) ** 4, 0.02, 1) ** 0.5
    points = np.stack([0.45 * u, 0.26 * width * np.cos(v),
                       0.22 * width * np.sin(v) * (1.05 - 0.25 * u)], -1)  # fmt: skip
    yield "main", grid(points, ring=False)
    yield "dark", rod((0.2, -0.02, 0.2), (0.2, 0.02, 0.2), 0.05)
    yield (
        "dark",
        tube(np.array([(0.44, 0, 0.09), (0.3, 0, 0.185), (0.1, 0, 0.222)]), 0.008, sides=5),
    )
    if rng.random() < 0.7:
        path = curve(
            (0.44, 0, 0.04),
            (0.65, rng.uniform(-0.2, 0.2), 0.02),
            (0.95, rng.uniform(-0.3, 0.3), 0.02),
            n=16,
        )
        yield "black", tube(path, 0.018, sides=6)


@shape("monitor")
def _(rng: Generator) -> Build:
    yield "main", box((1.1, 0.06, 0.68), (0, 0, 0.6), corner=0.01)
    yield "screen", box((1.02, 0.01, 0.58), (0, -0.032, 0.61))
    yield "main", box((0.1, 0.05, 0.4), (0, 0.04, 0.25))
    yield "main", lathe([0.26, 0.26, 0.22], [0, 0.02, 0.03], 30)


@shape("mobile phone")
def _(rng: Generator) -> Build:
    outline = rounded(0.5, 1.0, 0.08, steps=4)
    yield "main", slab(outline, 0.05)
    yield "screen", slab(rounded(0.45, 0.84, 0.02), 0.004, 0.049)
    for i in range(3):
        for j in range(4):
            icon = slab(rounded(0.08, 0.08, 0.02), 0.002, 0.053)
            yield (
                pick(rng, "white", "red", "leaf", "yolk", "sky"),
                icon.moved((-0.14 + 0.14 * i, 0.3 - 0.18 * j, 0)),
            )
    yield "dark", slab(circle(0.025) + (0, -0.46), 0.003, 0.049)


@shape("light bulb")
def _(rng: Generator) -> Build:
    t = np.linspace(0.0, 0.86, 14) * PI
    yield "main", lathe([*(0.32 * np.sin(t) + 1e-3)][::-1] + [], [*(0.75 + 0.32 * np.cos(t))][::-1])
    yield "main", lathe([0.13, 0.136], [0.3, 0.46])
    z = np.linspace(0.06, 0.32, 14)
    yield "bright", lathe(np.where(np.arange(14) % 2, 0.14, 0.12), z)
    yield "dark", lathe([0.04, 0.1, 0.12], [0, 0.04, 0.06])
    for s in (-1, 1):
        yield "bright", rod((0, 0, 0.3), (s * 0.1, 0, 0.72), 0.01, 5)
    coil = np.linspace(-1, 1, 40)
    yield (
        "flame",
        tube(
            np.stack([0.1 * coil, 0.02 * np.sin(30 * coil), 0.72 + 0.02 * np.cos(30 * coil)], -1),
            0.01,
            sides=4,
        ),
    )


@shape("battery")
def _(rng: Generator) -> Build:
    r, h = 0.2, rng.uniform(0.7, 1.0)
    yield "main", lathe([r, r], [0, h * 0.7])
    yield pick(rng, "brass", "dark", "bright"), lathe([r, r, r * 0.9], [h * 0.7, h * 0.97, h])
    yield "bright", lathe([0.07, 0.07, 0.05], [h, h + 0.05, h + 0.06])
    yield "bright", lathe([r * 0.9, r * 0.9], [-0.01, 0.0])


@shape("circuit board")
def _(rng: Generator) -> Build:
    yield "main", box((1.1, 0.8, 0.03), (0, 0, 0.015))
    for _k in range(int(rng.integers(7, 12))):
        at = np.array([rng.uniform(-0.42, 0.42), rng.uniform(-0.28, 0.28), 0.05])
        kind = rng.random()
        if kind < 0.45:
            w = rng.uniform(0.1, 0.25)
            yield "dark", box((w, w * rng.uniform(0.5, 1), 0.05), at)
            for s in (-1, 1):
                yield "bright", box((w, 0.02, 0.015), at + (0, s * w * 0.45, -0.02))
        elif kind < 0.75:
            yield (
                pick(rng, "dark", "sky", "bright"),
                lathe([0.06, 0.06], [0.03, 0.2], 14).moved(at * [1, 1, 0]),
            )
        else:
            yield "yolk", box((0.09, 0.04, 0.04), at)
    for y in np.linspace(-0.3, 0.3, 9):
        yield "brass", box((0.06, 0.04, 0.005), (-0.52, y, 0.032))
        yield "bright", box((rng.uniform(0.2, 0.7), 0.008, 0.003), (-0.1, y, 0.031))


@shape("headphones")
def _(rng: Generator) -> Build:
    yield "main", tube(arc(0.42, 0.1, PI - 0.1, 20), np.full(20, 0.04))
    for s in (-1, 1):
        cup = lathe([0.2, 0.2, 0.12], [-0.04, 0.05, 0.09]).moved(
            (0, 0, 0), rotation("y", s * PI / 2)
        )
        yield "main", cup.moved((s * 0.44, -0.06, 0))
        pad = tube(arc(0.14, 0, 2 * PI, 21)[:-1], 0.06, closed=True).moved(
            (0, 0, 0), rotation("y", PI / 2)
        )
        yield "black", pad.moved((s * 0.38, -0.06, 0))
    if rng.random() < 0.5:
        yield (
            "black",
            tube(
                curve((0.44, -0.25, 0), (0.3, -0.5, -0.1), (0.5, -0.7, -0.15), n=14), 0.014, sides=5
            ),
        )


@shape("loudspeaker")
def _(rng: Generator) -> Build:
    yield "main", box((0.6, 0.5, 1.0), (0, 0, 0.5))
    face = rotation("x", PI / 2)
    for z, r in ((0.33, 0.23), (0.76, 0.13)):
        yield "grey", ring(circle(r, 32), circle(r * 0.85, 32), 0.03).moved((0, -0.25, z), face)
        cone = lathe([r * 0.87, r * 0.35, r * 0.34, 0.01], [0.012, 0.004, 0.02, 0.03], 32)
        yield "dark", cone.moved((0, -0.25, z), face)


@shape("camera")
def _(rng: Generator) -> Build:
    yield "main", box((0.9, 0.3, 0.5), (0, 0, 0.27), corner=0.05)
    yield "bright", box((0.9, 0.28, 0.1), (0, 0, 0.53), corner=0.02)
    yield "black", box((0.3, 0.26, 0.13), (0, 0, 0.6), corner=0.03)
    face = rotation("x", PI / 2)
    yield (
        "black",
        lathe([0.21, 0.21, 0.19, 0.19], [0, 0.18, 0.2, 0.3]).moved((0, -0.15, 0.27), face),
    )
    yield "screen", lathe([0.15, 0.1, 0.001], [0.301, 0.32, 0.325]).moved((0, -0.15, 0.27), face)
    yield "bright", lathe([0.05, 0.05], [0.58, 0.62]).moved((0.33, 0, 0))


@shape("radio")
def _(rng: Generator) -> Build:
    yield "main", box((1.1, 0.34, 0.62), (0, 0, 0.31), corner=0.05)
    face = rotation("x", PI / 2)
    yield "dark", lathe([0.23, 0.01], [0, 0.01], 30).moved((-0.26, -0.17, 0.3), face)
    for k in (0.06, 0.12, 0.18):
        loop = tube(arc(k, 0, 2 * PI, 25)[:-1], 0.012, closed=True)
        yield "bright", loop.moved((-0.26, -0.182, 0.3), face)
    yield "cream", box((0.42, 0.01, 0.16), (0.27, -0.17, 0.44))
    yield "red", box((0.012, 0.012, 0.14), (0.2, -0.174, 0.44))
    for x in (0.15, 0.39):
        yield "bright", lathe([0.06, 0.05], [0, 0.06]).moved((x, -0.17, 0.2), face)
    yield "bright", rod((0.45, 0.1, 0.6), (0.75, 0.1, 1.1), 0.012)
    yield (
        "black",
        tube(curve((-0.45, 0, 0.6), (-0.4, 0, 0.75), (0.3, 0, 0.75), (0.35, 0, 0.6)), 0.026),
    )


@shape("fan")
def _(rng: Generator) -> Build:
    yield "main", lathe([0.26, 0.26, 0.06, 0.035], [0, 0.04, 0.07, 0.1])
    yield "main", rod((0, 0.04, 0.08), (0, 0.04, 0.7), 0.035)
    face = rotation("x", PI / 2)
    centre = np.array([0, 0, 0.75])
    yield "main", lathe([0.1, 0.1, 0.03], [-0.16, 0.04, 0.07]).moved(centre, face)
    for k in range(4):
        u, v = np.meshgrid(np.linspace(0.15, 1, 6), np.linspace(-1, 1, 5), indexing="ij")
        w = 0.17 * np.sin(PI * (0.15 + 0.7 * u))
        blade = sheet(np.stack([0.34 * u, v * w, 0.3 * v * w], -1), 0.012)
        yield "blade", blade.moved((0, 0, 0), rotation("z", k * PI / 2)).moved(centre, face)
    for r, z in ((0.42, 0.0), (0.3, 0.075), (0.15, 0.09), (0.3, -0.075)):
        loop = tube(arc(r, 0, 2 * PI, 33)[:-1] + (0, 0, z), 0.013, sides=5, closed=True)
        yield "main", loop.moved(centre, face)
    for a in np.arange(14) * 2 * PI / 14:
        wire = tube(curve((0, 0, 0.09), (0.3, 0, 0.075), (0.42, 0, 0), n=8), 0.008, sides=4)
        yield "main", wire.moved((0, 0, 0), rotation("z", a)).moved(centre, face)


@shape("remote control")
def _(rng: Generator) -> Build:
    yield "main", box((1.1, 0.3, 0.1), (0, 0, 0.05), corner=0.03)
    for name, part in _keys(5, 3, 0.5, 0.22, 0.105, "contrast"):
        yield name, part.moved((-0.12, 0, 0))
    yield "red", lathe([0.035, 0.035], [0.1, 0.12], 14).moved((0.47, -0.08, 0))
    yield "contrast", ring(circle(0.09), circle(0.05), 0.02, 0.098).moved((0.27, 0, 0))


@shape("torch")
def _(rng: Generator) -> Build:
    r = rng.uniform(0.09, 0.12)
    yield "main", lathe([r, r, r * 1.05, r * 1.9, r * 1.9], [0, 0.75, 0.8, 0.98, 1.12])
    yield "bright", lathe([r * 1.85, r * 1.85, r * 1.75], [1.12, 1.14, 1.15])
    yield "pale", lathe([r * 1.7, 0.01], [1.152, 1.156])
    for z in np.linspace(0.15, 0.55, 7):
        yield "dark", lathe([r * 1.02] * 2, [z, z + 0.02])
    yield "red", box((0.05, 0.03, 0.1), (r, 0, 0.68))


@shape("calculator")
def _(rng: Generator) -> Build:
    yield "main", box((0.7, 1.0, 0.08), (0, 0, 0.04), corner=0.02)
    yield "lcd", box((0.58, 0.18, 0.01), (0, 0.34, 0.08))
    for name, part in _keys(4, 4, 0.6, 0.6, 0.085, "contrast"):
        yield name, part.moved((0, -0.13, 0))
    yield "yolk", box((0.11, 0.11, 0.025), (0.225, -0.355, 0.086))


@shape("power plug")
def _(rng: Generator) -> Build:
    yield "main", revolve([0.1, 0.2, 0.26, 0.26, 0.2], [-0.3, -0.2, 0, 0.1, 0.11])
    for s in (-1, 1):
        yield "bright", rod((0.1, s * 0.11, 0), (0.42, s * 0.11, 0), 0.034)
    path = curve(
        (-0.28, 0, 0),
        (-0.5, 0, -0.1),
        (-0.7, 0.3, -0.18),
        (-0.3, 0.6, -0.19),
        (0.2, 0.55, -0.19),
        n=40,
    )
    yield "main", tube(path, 0.05)


@shape("microwave oven")
def _(rng: Generator) -> Build:
    yield "main", box((1.1, 0.7, 0.6), (0, 0, 0.32), corner=0.02)
    yield "screen", box((0.72, 0.02, 0.42), (-0.14, -0.35, 0.32))
    yield "grey", box((0.22, 0.02, 0.52), (0.39, -0.35, 0.32))
    yield "bright", rod((0.25, -0.39, 0.12), (0.25, -0.39, 0.52), 0.02)
    yield "lcd", box((0.16, 0.02, 0.07), (0.39, -0.356, 0.51))
    for i in range(3):
        for j in range(4):
            yield "dark", box((0.04, 0.02, 0.04), (0.33 + 0.06 * i, -0.356, 0.16 + 0.075 * j))
