"""Shapes of food."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth.impurity_mesh import Shape, extrude, grid, rotation, rounded, tube, wobble
from making.synth.shapes.base import (
    PI,
    Build,
    arc,
    ball,
    circle,
    curve,
    lathe,
    pick,
    ring,
    rod,
    shape,
    slab,
)


@shape("apple")
def _(rng: Generator) -> Build:
    t = np.linspace(0.02, 0.98, 16) * PI
    r = 0.42 * np.sin(t) ** 0.85
    z = -0.38 * np.cos(t) + 0.09 * (np.abs(np.cos(t)) ** 8) * -np.sign(np.cos(t)) * -1.6
    yield "main", lathe(r * np.where(t < PI / 2, 0.92, 1), z)
    yield "stem", tube(curve((0, 0, 0.2), (0.01, 0, 0.4), (0.05, 0, 0.5), n=8), 0.02)
    if rng.random() < 0.6:
        leaf = slab(circle(0.14, 14, 0.45) + (0.14, 0), 0.012).moved(turn=rotation("y", -0.4))
        yield "leaf", leaf.moved((0.03, 0, 0.42))


@shape("banana")
def _(rng: Generator) -> Build:
    n = int(rng.integers(1, 4))
    for k in range(n):
        path = arc(0.55, 0.45, 2.5, 22)
        thick = np.interp(
            np.linspace(0, 1, 22),
            [0, 0.06, 0.2, 0.8, 0.94, 1],
            [0.02, 0.05, 0.105, 0.11, 0.04, 0.03],
        )
        fruit = tube(path, thick, sides=6).moved((0, -0.35, 0), rotation("x", k * 0.36))
        yield "main", fruit
        for end in (slice(0, 2), slice(-2, None)):
            tip = tube(path[end], 0.036, sides=6).moved((0, -0.35, 0), rotation("x", k * 0.36))
            yield "stem", tip


@shape("loaf of bread")
def _(rng: Generator) -> Build:
    if rng.random() < 0.6:
        outline = np.array(
            [
                (-0.24, 0),
                (0.24, 0),
                (0.25, 0.22),
                (0.3, 0.32),
                (0.24, 0.44),
                (0.1, 0.5),
                (-0.1, 0.5),
                (-0.24, 0.44),
                (-0.3, 0.32),
                (-0.25, 0.22),
            ]
        )
        yield "crust", extrude(outline, 0.9, sections=8)
        yield "cream", extrude(outline * [0.93, 0.94] + [0, 0.015], 0.905)
    else:
        x = np.linspace(-0.6, 0.6, 20)
        r = 0.21 * np.sqrt(np.clip(1.02 - (x / 0.6) ** 4, 0.02, 1))
        loaf = tube(np.c_[x, 0 * x, 0 * x + 0.18], r, sides=18)
        loaf.verts[:, 2] = np.maximum(loaf.verts[:, 2] * 0.8, 0.02)
        yield "crust", loaf
        for v in (-0.35, -0.1, 0.15, 0.38):
            yield (
                "cream",
                tube(curve((v - 0.07, -0.1, 0.285), (v, 0, 0.312), (v + 0.07, 0.1, 0.285)), 0.022),
            )


@shape("cheese")
def _(rng: Generator) -> Build:
    wedge = np.array([(0, 0), (0.95, -0.3), (1.0, -0.1), (1.0, 0.1), (0.95, 0.3)])
    h = rng.uniform(0.3, 0.45)
    yield "main", slab(wedge, h)
    normal = np.arctan2(0.3, 0.95)
    for s in (-1, 1):
        for _k in range(6):
            along, z = rng.uniform(0.25, 0.9), rng.uniform(0.07, h - 0.07)
            hole = lathe([rng.uniform(0.03, 0.07), 0.001], [0, 0.004], 14)
            hole = hole.moved((0, 0, 0), rotation("x", -s * PI / 2))
            hole = hole.moved((along, 0, z), None).moved((0, 0, 0), rotation("z", s * normal))
            yield "crust", hole
    for _k in range(5):
        x = rng.uniform(0.35, 0.9)
        y = rng.uniform(-0.2, 0.2) * x
        yield "crust", lathe([rng.uniform(0.03, 0.06), 0.001], [h, h + 0.004], 14).moved((x, y, 0))


@shape("egg")
def _(rng: Generator) -> Build:
    t = np.linspace(0, PI, 18)
    yield (
        "main",
        lathe(0.36 * np.sin(t) * (1 + 0.14 * np.cos(t)) + 1e-4, -0.48 * np.cos(t)).moved(
            (0, 0, 0), rotation("y", 1.45)
        ),
    )


@shape("carrot")
def _(rng: Generator) -> Build:
    x = np.linspace(-0.6, 0.5, 24)
    r = np.interp(x, [-0.6, -0.3, 0.3, 0.46, 0.5], [0.01, 0.06, 0.13, 0.13, 0.06])
    r = r * (1 + 0.03 * rng.normal(size=24))
    yield "main", tube(np.c_[x, 0.03 * np.sin(3 * x), 0 * x], r, sides=14)
    for _k in range(7):
        end = (0.95 + rng.uniform(-0.1, 0.15), rng.normal(0, 0.13), rng.normal(0.03, 0.06))
        mid = (0.7, end[1] * 0.4, 0.05)
        yield (
            "leaf",
            tube(curve((0.48, 0, 0), mid, end, n=8), np.linspace(0.018, 0.035, 8), sides=5),
        )


@shape("pear")
def _(rng: Generator) -> Build:
    yield "main", lathe([0.05, 0.28, 0.38, 0.36, 0.24, 0.16, 0.13, 0.08, 0.01],
                        [0, 0.04, 0.22, 0.38, 0.56, 0.7, 0.82, 0.9, 0.91])  # fmt: skip
    yield "stem", tube(curve((0, 0, 0.88), (0.02, 0, 0.98), (0.06, 0, 1.06), n=8), 0.018)


@shape("pumpkin")
def _(rng: Generator) -> Build:
    n, a = 10, np.linspace(0, 2 * PI, 60, endpoint=False)
    lobe = 0.82 + 0.18 * np.abs(np.sin(a * n / 2)) ** 0.7
    t = np.linspace(0.04, 0.97, 13) * PI
    points = np.stack([
        np.c_[0.5 * np.sin(u) ** 0.8 * lobe * np.cos(a), 0.5 * np.sin(u) ** 0.8 * lobe * np.sin(a),
              np.full(60, -0.36 * np.cos(u))] for u in t
    ])  # fmt: skip
    yield "main", grid(points)
    yield (
        "stem",
        tube(curve((0, 0, 0.3), (0.02, 0, 0.45), (0.1, 0, 0.52), n=8), np.linspace(0.07, 0.045, 8)),
    )


@shape("mushroom")
def _(rng: Generator) -> Build:
    yield "cream", lathe([0.14, 0.13, 0.11, 0.11], [0, 0.1, 0.3, 0.5])
    t = np.linspace(0, PI / 2, 9)
    yield "main", lathe([0.1, *(0.42 * np.cos(t) + 1e-3)], [0.42, *(0.4 + 0.34 * np.sin(t))])
    if rng.random() < 0.5:
        for _k in range(12):
            u, v = rng.uniform(0.3, 1.2), rng.uniform(0, 6.28)
            at = (
                0.42 * np.cos(u) * np.cos(v),
                0.42 * np.cos(u) * np.sin(v),
                0.4 + 0.34 * np.sin(u),
            )
            yield "white", ball(0.035, at, sides=8)


@shape("doughnut")
def _(rng: Generator) -> Build:
    yield "crust", tube(arc(0.33, 0, 2 * PI, 33)[:-1], 0.17, sides=16, closed=True)
    icing = tube(arc(0.33, 0, 2 * PI, 33)[:-1] + (0, 0, 0.025), 0.168, sides=16, closed=True)
    icing.verts[:, 2] = np.maximum(icing.verts[:, 2], 0.02)
    yield "main", icing
    for _k in range(26):
        a, b = rng.uniform(0, 2 * PI), rng.uniform(0.5, 2.6)
        r = 0.33 + 0.172 * np.cos(b)
        sprinkle = rod((-0.03, 0, 0), (0.03, 0, 0), 0.012, 5).moved(
            turn=rotation("z", rng.uniform(0, 3))
        )
        at = (r * np.cos(a), r * np.sin(a), 0.03 + 0.172 * np.sin(b))
        yield pick(rng, "white", "red", "yolk", "paint"), sprinkle.moved(at)


@shape("ice cream cone")
def _(rng: Generator) -> Build:
    yield "crust", lathe([0.02, 0.25, 0.27, 0.27], [0, 0.62, 0.62, 0.68], 20)
    for k in range(8):
        a = k * PI / 4
        twist = [
            (0.258 * v * np.cos(a + v), 0.258 * v * np.sin(a + v), 0.62 * v)
            for v in np.linspace(0.1, 1, 8)
        ]
        yield "wood", tube(np.array(twist), 0.008, sides=4)
    n = int(rng.integers(1, 3))
    for k in range(n):
        scoop = ball(0.28 - 0.04 * k, (0, 0, 0.8 + 0.34 * k))
        yield (
            "main" if k == 0 else pick(rng, "main", "cream"),
            Shape(wobble(scoop.verts, rng, 0.03, 0.25), scoop.faces),
        )


@shape("watermelon slice")
def _(rng: Generator) -> Build:
    a = np.linspace(0, PI, 20)
    half = np.stack([np.cos(a), -np.sin(a)], -1)
    turn = rotation("x", pick(rng, PI / 2, 0.0, PI / 2))
    t = 0.16
    yield "main", slab(half * 0.48, t).moved(turn=turn)
    for r, name in ((0.52, "cream"), (0.58, "leaf")):
        band = np.concatenate([half * r, half[::-1] * (r - 0.06)])
        yield name, slab(band, t).moved(turn=turn)
    for _k in range(14):
        b, r = rng.uniform(0.2, PI - 0.2), rng.uniform(0.1, 0.42)
        for z in (-0.004, t):
            seed = slab(circle(0.018, 8) + (r * np.cos(b), -r * np.sin(b)), 0.004, z)
            yield "dark", seed.moved(turn=turn)


@shape("pizza")
def _(rng: Generator) -> Build:
    yield "crust", tube(arc(0.5, 0, 2 * PI, 41)[:-1] + (0, 0, 0.04), 0.05, closed=True)
    yield "crust", lathe([0.5, 0.5], [0, 0.03], 40)
    top = lathe([0.48, 0.01], [0.045, 0.05], 40)
    yield "yolk", Shape(top.verts, top.faces)
    for _k in range(14):
        a, r = rng.uniform(0, 2 * PI), 0.42 * np.sqrt(rng.random())
        at = (r * np.cos(a), r * np.sin(a), 0)
        yield (
            pick(rng, "red", "red", "leaf", "crust"),
            lathe([rng.uniform(0.04, 0.075), 0.01], [0.05, 0.066], 14).moved(at),
        )


@shape("cake")
def _(rng: Generator) -> Build:
    yield "main", lathe([0.45, 0.45], [0, 0.16], 36)
    yield "cream", lathe([0.455, 0.455], [0.16, 0.21], 36)
    yield "main", lathe([0.45, 0.45], [0.21, 0.38], 36)
    yield "cream", ring(circle(0.46, 36), circle(0.3, 36), 0.06, 0.36)
    yield "main", lathe([0.31, 0.31], [0.36, 0.41], 36)
    for a in np.arange(10) * 2 * PI / 10:
        yield "cream", ball(0.055, (0.37 * np.cos(a), 0.37 * np.sin(a), 0.45), sides=10)
    kind = rng.random()
    for a in np.arange(6) * 2 * PI / 6:
        at = np.array([0.2 * np.cos(a), 0.2 * np.sin(a), 0.44])
        if kind < 0.6:
            yield "paint", rod(at, at + (0, 0, 0.22), 0.02, 8)
            yield "flame", ball(0.024, at + (0, 0, 0.25), 1.6, 8)
        else:
            yield "red", ball(0.05, at + (0, 0, 0.03), sides=10)


@shape("pineapple")
def _(rng: Generator) -> Build:
    t = np.linspace(0.12, 0.9, 24) * PI
    a = np.linspace(0, 2 * PI, 40, endpoint=False)
    points = []
    for k, u in enumerate(t):
        bump = 1 + 0.05 * np.sign(np.sin(a * 10 + PI * (k // 2 % 2))) * (1 if k % 2 else 0.4)
        r = 0.3 * np.sin(u) ** 0.6 * bump
        points.append(np.c_[r * np.cos(a), r * np.sin(a), np.full(40, 0.45 - 0.45 * np.cos(u))])
    yield "main", grid(np.stack(points))
    for k in range(18):
        reach, up = 0.06 + 0.2 * (k % 3) / 2, 0.5 - 0.12 * (k % 3)
        path = curve((0.03, 0, 0.85), (reach * 0.6, 0, 0.9 + up * 0.6), (reach, 0, 0.9 + up), n=7)
        yield (
            "leaf",
            tube(path, np.linspace(0.05, 0.008, 7), sides=5).moved(turn=rotation("z", k * 2.4)),
        )


@shape("grapes")
def _(rng: Generator) -> Build:
    for row in range(6):
        count, x = 7 - row, 0.14 * row
        for k in range(count):
            y = (k - (count - 1) / 2) * 0.15 + rng.normal(0, 0.02)
            z = 0.1 + rng.uniform(0, 0.12) * (abs(y) < 0.25)
            yield "main", ball(rng.uniform(0.085, 0.105), (x, y, z), sides=12)
            if abs(y) < 0.22 and row < 4:
                yield "main", ball(0.09, (x + 0.06, y + 0.05, z + 0.13), sides=12)
    yield "stem", tube(curve((0, 0, 0.2), (-0.15, 0, 0.2), (-0.3, 0.06, 0.22), n=8), 0.022)


@shape("hamburger")
def _(rng: Generator) -> Build:
    yield "crust", lathe([0.4, 0.44, 0.44], [0, 0.04, 0.13], 32)
    yield "leaf", lathe([0.47, 0.5], [0.13, 0.16], 32)
    yield "meat", lathe([0.45, 0.47, 0.45], [0.16, 0.22, 0.28], 32)
    cheese = slab(rounded(0.8, 0.8, 0.01), 0.015, 0.285)
    yield "yolk", cheese
    yield "red", lathe([0.42, 0.42], [0.3, 0.34], 32)
    t = np.linspace(0, PI / 2, 9)
    yield "crust", lathe(0.46 * np.cos(t) + 1e-3, 0.34 + 0.26 * np.sin(t), 32)
    for _k in range(22):
        u, v = rng.uniform(0.5, 1.4), rng.uniform(0, 6.28)
        at = (0.46 * np.cos(u) * np.cos(v), 0.46 * np.cos(u) * np.sin(v), 0.343 + 0.26 * np.sin(u))
        yield "cream", ball(0.016, at, sides=6)
