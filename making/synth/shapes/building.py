"""Shapes of building materials."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth.impurities.wood import plank as splintered
from making.synth.impurity_mesh import Shape, box, revolve, rotation, rounded, tube, wobble
from making.synth.shapes.base import (
    PI,
    Build,
    ball,
    circle,
    lathe,
    pillow,
    ring,
    shape,
    sheet,
    slab,
)


@shape("brick")
def _(rng: Generator) -> Build:
    if rng.random() < 0.5:
        yield "main", box((1.0, 0.48, 0.3), (0, 0, 0.15), corner=0.01)
        yield "hole", box((0.62, 0.2, 0.01), (0, 0, 0.297))
    else:
        yield "main", box((1.0, 0.48, 0.3), (0, 0, 0.15), corner=0.01)
        for x in (-0.3, -0.1, 0.1, 0.3):
            for y in (-0.11, 0.11):
                yield "hole", lathe([0.05, 0.001], [0.3, 0.302], 14).moved((x, y, 0))


@shape("concrete block")
def _(rng: Generator) -> Build:
    for x in (-0.47, 0, 0.47):
        yield "main", box((0.09, 0.31, 0.5), (x, 0, 0.25))
    for y in (-0.2, 0.2):
        yield "main", box((1.03, 0.09, 0.5), (0, y, 0.25))


@shape("roof tile")
def _(rng: Generator) -> Build:
    v = np.linspace(-0.5, 0.5, 30)
    z = 0.11 * np.sin(v * 2 * PI) if rng.random() < 0.5 else 0.3 * np.cos(v * PI)  # S or half round
    points = np.stack([np.stack([np.full(30, x), v * 0.8, z], -1) for x in (-0.55, 0, 0.55)])
    yield "main", sheet(points, 0.05)


@shape("floor tile")
def _(rng: Generator) -> Build:
    yield "main", box((1, 1, 0.05), (0, 0, 0.025), corner=0.008)
    if rng.random() < 0.6:
        diamond = slab([(0.35, 0), (0, 0.35), (-0.35, 0), (0, -0.35)], 0.002, 0.05)
        yield "paint", diamond
        for x in (-0.5, 0.5):
            for y in (-0.5, 0.5):
                yield "paint", slab([(x, y), (x * 0.6, y), (x, y * 0.6)], 0.002, 0.05)


@shape("plank")
def _(rng: Generator) -> Build:
    ends = (bool(rng.random() < 0.3), bool(rng.random() < 0.3))
    w = rng.uniform(0.16, 0.3)
    yield "main", splintered(rng, rng.uniform(1.0, 1.6), w, rng.uniform(0.03, 0.07), ends)


@shape("pallet")
def _(rng: Generator) -> Build:
    n = int(rng.integers(5, 8))
    for y in np.linspace(-0.36, 0.36, n):
        yield "main", box((1.2, 0.1, 0.025), (0, y, 0.155))
    for x in (-0.55, 0, 0.55):
        yield "main", box((0.1, 0.82, 0.022), (x, 0, 0.131))
        for y in (-0.36, 0, 0.36):
            yield "main", box((0.12, 0.1, 0.1), (x, y, 0.07))
        yield "main", box((0.1, 0.82, 0.02), (x, 0, 0.01))


@shape("beam")
def _(rng: Generator) -> Build:
    w = rng.uniform(0.16, 0.24)
    yield (
        "main",
        splintered(
            rng, rng.uniform(0.8, 1.5), w, w * rng.uniform(0.7, 1), (False, rng.random() < 0.3)
        ),
    )


@shape("log")
def _(rng: Generator) -> Build:
    r, length = rng.uniform(0.14, 0.25), rng.uniform(0.7, 1.2)
    x = np.linspace(-length / 2, length / 2, 12)
    path = np.c_[x, 0.02 * np.sin(4 * x), 0 * x]
    rough = r * (1 + 0.05 * rng.normal(size=(1, 18)) + 0.03 * rng.normal(size=(12, 18)))
    yield "bark", tube(path, rough, sides=18, caps=False)
    for s, k in ((1, -1), (-1, 0)):
        for share, name in (
            (0.97, "main"),
            (0.7, "bark"),
            (0.64, "main"),
            (0.4, "bark"),
            (0.34, "main"),
        ):
            disc = revolve([r * share, 1e-3], [0, s * 1e-3], sides=18)
            yield name, disc.moved(path[k] + np.array([s * (1 - share) * 0.01, 0, 0]))


@shape("window")
def _(rng: Generator) -> Build:
    a, b, w = rng.uniform(0.35, 0.5), rng.uniform(0.45, 0.6), 0.08
    turn = rotation("x", PI / 2 if rng.random() < 0.7 else 0.0)
    for s in (-1, 1):
        yield "main", box((2 * a + w, w, 0.08), (0, s * b, 0)).moved(turn=turn)
        yield "main", box((w, 2 * b - w, 0.08), (s * a, 0, 0)).moved(turn=turn)
    yield "main", box((0.04, 2 * b, 0.05), (0, 0, 0)).moved(turn=turn)
    yield "main", box((2 * a, 0.04, 0.05), (0, 0, 0)).moved(turn=turn)
    yield "pane", box((2 * a, 2 * b, 0.01), (0, 0, 0)).moved(turn=turn)


@shape("door")
def _(rng: Generator) -> Build:
    turn = rotation("x", PI / 2 if rng.random() < 0.75 else 0.0)
    yield "main", box((0.6, 1.3, 0.06)).moved(turn=turn)
    for y, h in ((0.35, 0.4), (-0.25, 0.6)):
        for s in (-1, 1):
            for z in (-0.035, 0.035):
                yield "main", box((0.2, h, 0.02), (s * 0.13, y, z)).moved(turn=turn)
    for z in (-0.08, 0.08):
        yield "brass", ball(0.04, (0.25, 0.02, z)).moved(turn=turn)


@shape("traffic cone")
def _(rng: Generator) -> Build:
    r = np.array([0.27, 0.21, 0.21, 0.13, 0.13, 0.05, 0.03])
    z = np.array([0.05, 0.25, 0.26, 0.55, 0.56, 0.92, 0.95])
    for k, name in ((0, "main"), (2, "white"), (4, "main")):
        stop = k + 2 if k < 4 else 7
        yield name, lathe(r[k:stop], z[k:stop])
    yield "main", box((0.72, 0.72, 0.05), (0, 0, 0.025), corner=0.01)


@shape("fence")
def _(rng: Generator) -> Build:
    n = int(rng.integers(5, 9))
    x = (np.arange(n) - (n - 1) / 2) * 0.2
    for v in x:
        picket = np.array([(-0.06, 0), (0.06, 0), (0.06, 0.68), (0, 0.8), (-0.06, 0.68)])
        board = slab(picket, 0.03).moved((0, 0, 0), rotation("x", PI / 2))
        yield "main", board.moved((v, 0, 0))
    for z in (0.18, 0.56):
        yield "main", box((n * 0.2, 0.03, 0.07), (0, 0.03, z))


@shape("stairs")
def _(rng: Generator) -> Build:
    n = int(rng.integers(3, 6))
    for k in range(n):
        yield "main", box((0.22 * (n - k), 0.8, 0.17), (0.11 * (n - k), 0, 0.17 * k + 0.085))


@shape("sack")
def _(rng: Generator) -> Build:
    body = pillow(0.55, 0.36, 0.16, 5.0)
    yield "main", Shape(wobble(body.verts, rng, 0.03, 0.4), body.faces)
    yield "paint", slab(rounded(0.5, 0.3, 0.05), 0.01, 0.155)
    yield "main", box((0.05, 0.62, 0.03), (0.56, 0, 0))


@shape("manhole cover")
def _(rng: Generator) -> Build:
    yield "main", lathe([0.5, 0.5, 0.46], [0, 0.06, 0.06], 44)
    yield "main", ring(circle(0.5, 44), circle(0.44, 44), 0.08)
    for x in np.arange(-4, 5) * 0.1:
        for y in np.arange(-4, 5) * 0.1:
            if np.hypot(x, y) < 0.42:
                yield "main", box((0.055, 0.055, 0.02), (x, y, 0.07))
    for s in (-1, 1):
        yield "hole", box((0.12, 0.04, 0.004), (0, s * 0.37, 0.081))


@shape("paving stone")
def _(rng: Generator) -> Build:
    yield "main", box((1.0, rng.uniform(0.5, 1), 0.14), (0, 0, 0.07), corner=0.02)
