"""Shapes of household things and furniture."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth.impurity_mesh import box, grid, rotation, rounded, smooth_curve, tube
from making.synth.shapes.base import (
    PI,
    Build,
    arc,
    ball,
    circle,
    curve,
    hollow,
    lathe,
    pick,
    pillow,
    ring,
    rod,
    shape,
    sheet,
    slab,
)


@shape("mug")
def _(rng: Generator) -> Build:
    r, h = 0.3, rng.uniform(0.55, 0.8)
    belly = rng.uniform(0.9, 1.15)
    yield "main", hollow([r * 0.9, r, r * belly, r], [0, 0.03, h * 0.5, h], 0.03)
    handle = curve((r * 0.95, 0, h * 0.85), (r + 0.2, 0, h * 0.8), (r + 0.22, 0, h * 0.35),
                   (r * 0.95, 0, h * 0.18))  # fmt: skip
    yield "main", tube(handle, 0.04)


@shape("bowl")
def _(rng: Generator) -> Build:
    t = np.linspace(0.25, 1, 9)
    h = rng.uniform(0.25, 0.4)
    yield (
        "main",
        hollow(
            [0.18, *(0.5 * np.sin(t * PI / 2))], [0, *(0.02 + h * (1 - np.cos(t * PI / 2)))], 0.025
        ),
    )


@shape("dinner plate")
def _(rng: Generator) -> Build:
    yield "main", hollow([0.3, 0.34, 0.52, 0.54], [0, 0.03, 0.075, 0.08], 0.018, 40)
    if rng.random() < 0.5:
        yield "paint", lathe([0.50, 0.535], [0.081, 0.086], 40)


@shape("spoon")
def _(rng: Generator) -> Build:
    handle = tube(curve((-0.65, 0, 0.05), (-0.2, 0, 0.07), (0.2, 0, 0.03)),
                  np.linspace(0.045, 0.025, 24))  # fmt: skip
    handle.verts[:, 2] = 0.05 + (handle.verts[:, 2] - 0.05) * 0.6
    yield "main", handle
    u, v = np.meshgrid(np.linspace(0.08, 1, 9), np.linspace(0, 2 * PI, 24), indexing="ij")
    points = np.stack([0.34 + 0.2 * u * np.cos(v), 0.13 * u * np.sin(v), 0.07 * u**2], -1)
    yield "main", sheet(points, 0.018)


@shape("fork")
def _(rng: Generator) -> Build:
    handle = tube(curve((-0.65, 0, 0.05), (-0.2, 0, 0.07), (0.2, 0, 0.03)),
                  np.linspace(0.045, 0.025, 24))  # fmt: skip
    handle.verts[:, 2] = 0.05 + (handle.verts[:, 2] - 0.05) * 0.6
    yield "main", handle
    yield "main", box((0.16, 0.2, 0.022), (0.26, 0, 0.03), corner=0.01)
    for y in (-0.087, -0.029, 0.029, 0.087):
        path = curve((0.3, y, 0.03), (0.45, y, 0.035), (0.6, y, 0.07), n=8)
        yield "main", tube(path, np.linspace(0.02, 0.01, 8), sides=6)


@shape("knife")
def _(rng: Generator) -> Build:
    w = rng.uniform(0.06, 0.1)
    yield "main", slab([(0, -w), (0.5, -w), (0.68, w * 0.4), (0.6, w), (0, w)], 0.016, 0.02)
    yield "grip", box((0.42, 1.5 * w, 0.055), (-0.2, 0.2 * w, 0.028), corner=0.02)
    for x in (-0.3, -0.12):
        yield "bright", lathe([0.014, 0.014], [0.05, 0.06], 8).moved((x, 0.2 * w, 0))


@shape("teapot")
def _(rng: Generator) -> Build:
    f = rng.uniform(0.8, 1.1)
    t = np.linspace(0.2, 0.9, 10) * PI
    yield "main", lathe([0.2, *(0.42 * np.sin(t))], [0, *(0.33 - 0.36 * np.cos(t) * f)])
    top = 0.33 + 0.36 * f * 0.95
    yield (
        "main",
        lathe(
            [0.17, 0.15, 0.06, 0.03, 0.06, 0.01],
            np.array([0, 0.04, 0.07, 0.09, 0.13, 0.17]) + top - 0.03,
        ),
    )
    spout = curve((0.3, 0, 0.2), (0.52, 0, 0.3), (0.58, 0, 0.48), (0.72, 0, 0.6))
    yield "main", tube(spout, np.linspace(0.1, 0.04, 24))
    handle = curve((-0.33, 0, 0.52), (-0.6, 0, 0.56), (-0.66, 0, 0.32), (-0.36, 0, 0.16))
    yield "main", tube(handle, 0.04)


@shape("saucepan")
def _(rng: Generator) -> Build:
    h = rng.uniform(0.3, 0.5)
    yield "main", hollow([0.38, 0.4, 0.4, 0.42], [0, 0.03, h - 0.02, h], 0.02)
    if rng.random() < 0.7:
        yield "black", tube(curve((0.4, 0, h * 0.8), (0.6, 0, h * 0.9), (1.05, 0, h)), 0.04)
    else:
        for s in (-1, 1):
            path = curve(
                (s * 0.4, -0.1, h * 0.75), (s * 0.52, 0, h * 0.8), (s * 0.4, 0.1, h * 0.75)
            )
            yield "black", tube(path, 0.025)
    if rng.random() < 0.4:
        yield (
            "main",
            lathe([0.42, 0.3, 0.05, 0.05, 0.03], [h, h + 0.06, h + 0.09, h + 0.15, h + 0.16]),
        )


@shape("frying pan")
def _(rng: Generator) -> Build:
    yield "main", hollow([0.4, 0.44, 0.5], [0, 0.02, 0.11], 0.02, 36)
    yield "dark", lathe([0.42, 0.01], [0.024, 0.025], 36)
    yield "black", tube(curve((0.47, 0, 0.08), (0.7, 0, 0.12), (1.15, 0, 0.16)), 0.04)


@shape("vase")
def _(rng: Generator) -> Build:
    z = np.linspace(0, 1, 16)
    knots = [0.2, rng.uniform(0.25, 0.42), rng.uniform(0.2, 0.38), rng.uniform(0.08, 0.14),
             rng.uniform(0.12, 0.22)]  # fmt: skip
    r = smooth_curve(np.c_[np.linspace(0, 1, 5), knots, np.zeros(5)], 16)[:, 1]
    yield "main", hollow(r, z * 1.1, 0.025)


@shape("chair")
def _(rng: Generator) -> Build:
    yield "main", box((0.46, 0.46, 0.04), (0, 0, 0.46), corner=0.01)
    for x in (-0.2, 0.2):
        for y in (-0.2, 0.2):
            yield "main", box((0.04, 0.04, 0.46), (x, y, 0.23))
    for y in (-0.2, 0.2):
        yield "main", box((0.035, 0.04, 0.5), (-0.21, y, 0.7))
    if rng.random() < 0.5:
        for z in (0.62, 0.76, 0.92):
            yield "main", box((0.025, 0.42, 0.07), (-0.21, 0, z))
    else:
        yield "main", box((0.025, 0.42, 0.3), (-0.21, 0, 0.8))


@shape("table")
def _(rng: Generator) -> Build:
    a, b, h = rng.uniform(0.45, 0.8), rng.uniform(0.35, 0.45), rng.uniform(0.5, 0.75)
    if rng.random() < 0.3:
        yield "main", lathe([0.5, 0.5], [h, h + 0.05])
        yield "main", lathe([0.3, 0.28, 0.05, 0.05], [0, 0.03, 0.06, h])
        return
    yield "main", box((2 * a, 2 * b, 0.05), (0, 0, h))
    for x in (-a + 0.06, a - 0.06):
        for y in (-b + 0.06, b - 0.06):
            yield "main", box((0.06, 0.06, h), (x, y, h / 2))
    for y in (-b + 0.06, b - 0.06):
        yield "main", box((2 * a - 0.1, 0.03, 0.09), (0, y, h - 0.07))


@shape("stool")
def _(rng: Generator) -> Build:
    h = rng.uniform(0.5, 0.8)
    yield "main", lathe([0.24, 0.26, 0.25], [h, h + 0.02, h + 0.06])
    n = int(rng.integers(3, 5))
    feet = [np.array([np.cos(a), np.sin(a), 0]) for a in np.arange(n) * 2 * PI / n]
    for foot in feet:
        yield "main", rod(foot * 0.3, foot * 0.17 + (0, 0, h), 0.025)
    for a, b in zip(feet, [*feet[1:], feet[0]], strict=True):
        yield "main", rod(a * 0.25 + (0, 0, 0.3 * h), b * 0.25 + (0, 0, 0.3 * h), 0.015)


@shape("lamp")
def _(rng: Generator) -> Build:
    w = rng.uniform(0.06, 0.18)
    yield "main", lathe([0.24, 0.24, 0.05, 0.03, w, w, 0.03, 0.03],
                        [0, 0.04, 0.07, 0.12, 0.22, 0.4, 0.52, 0.8])  # fmt: skip
    low, high = 0.36, rng.uniform(0.15, 0.3)
    shade = np.array([(low, 0.6), (high, 1.05), (high - 0.01, 1.05), (low - 0.01, 0.6)])
    points = np.stack([np.c_[circle(r, 32), np.full(32, z)] for r, z in shade])
    yield "shade", grid(points, closed=True)


@shape("candle")
def _(rng: Generator) -> Build:
    r, h = rng.uniform(0.09, 0.2), rng.uniform(0.5, 0.9)
    yield "main", lathe([r, r, r * 0.9, r * 0.4], [0, h, h + 0.02, h - 0.01])
    yield "dark", tube(curve((0, 0, h - 0.02), (0, 0, h + 0.06), (0.02, 0, h + 0.1), n=6), 0.012)
    if rng.random() < 0.6:
        flame = lathe([0.01, 0.045, 0.05, 0.02, 0.002], np.array([0, 0.04, 0.09, 0.17, 0.22]), 12)
        yield "flame", flame.moved((0.01, 0, h + 0.07))
    if rng.random() < 0.5:
        yield "brass", hollow([r * 1.8, r * 2.1], [-0.02, 0.05], 0.02)


@shape("book")
def _(rng: Generator) -> Build:
    a, b, t = rng.uniform(0.38, 0.5), rng.uniform(0.27, 0.36), rng.uniform(0.06, 0.2)
    yield "pages", box((2 * a - 0.05, 2 * b - 0.03, t), (0.0, 0.0, t / 2 + 0.015))
    for z in (0.0075, t + 0.0225):
        yield "main", box((2 * a, 2 * b, 0.018), (0, 0, z))
    yield "main", box((2 * a, 0.02, t + 0.03), (0, -b, t / 2 + 0.015))
    if rng.random() < 0.7:
        yield "pages", box((a * 0.35, b * 1.2, 0.003), (-a * 0.3, 0, t + 0.033))
        yield "dark", box((a * 0.07, b * 0.8, 0.005), (-a * 0.3, 0, t + 0.033))


@shape("key")
def _(rng: Generator) -> Build:
    outer = circle(0.22, 28) if rng.random() < 0.6 else rounded(0.42, 0.4, 0.1, steps=6)
    inner = circle(0.1, len(outer))
    yield "main", ring(outer, inner, 0.06).moved((-0.5, 0, 0))
    yield "main", box((0.75, 0.09, 0.055), (0.06, 0, 0.03))
    for x, d in zip((0.2, 0.28, 0.36, 0.42), rng.uniform(0.08, 0.2, 4), strict=True):
        yield "main", box((0.05, d, 0.05), (x, -0.03 - d / 2, 0.03))


@shape("clock")
def _(rng: Generator) -> Build:
    def parts() -> Build:
        yield "main", lathe([0.5, 0.52, 0.5, 0.46, 0.45], [0, 0.06, 0.13, 0.13, 0.09], 40)
        yield "white", lathe([0.46, 0.01], [0.09, 0.091], 40)
        for k in range(12):
            tick = box((0.09 if k % 3 == 0 else 0.05, 0.025, 0.012), (0.38, 0, 0.097))
            yield "dark", tick.moved(turn=rotation("z", k * PI / 6))
        for length, width, a in ((0.34, 0.022, rng.uniform(0, 6)), (0.24, 0.04, rng.uniform(0, 6))):
            yield (
                "dark",
                box((length, width, 0.01), (length / 2 - 0.03, 0, 0.105)).moved(
                    turn=rotation("z", a)
                ),
            )

    standing = rng.random() < 0.45
    for name, part in parts():
        yield name, part.moved(turn=rotation("x", 1.35)) if standing else part
    if standing:
        for s in (-1, 1):
            yield "bright", rod((s * 0.25, 0, -0.4), (s * 0.36, 0.03, -0.58), 0.03)
            yield "bright", ball(0.14, (s * 0.24, 0.05, 0.56), 0.8)


@shape("ball")
def _(rng: Generator) -> Build:
    yield "main", ball(0.4, sides=32)
    if rng.random() < 0.5:
        for turn in (rotation("x", 0), rotation("x", PI / 2), rotation("y", PI / 2)):
            t = np.linspace(-0.03, 0.03, 3)
            yield "dark", lathe(0.403 * np.cos(t), 0.403 * np.sin(t), 32).moved(turn=turn)


@shape("boot")
def _(rng: Generator) -> Build:
    leg = rng.uniform(0.25, 0.7)
    path = curve((0.45, 0, 0.09), (0.3, 0, 0.13), (0.12, 0, 0.17), (0.0, 0, 0.24),
                 (-0.06, 0, 0.4), (-0.07, 0, 0.4 + leg), n=30)  # fmt: skip
    size = np.interp(
        np.linspace(0, 1, 30), [0, 0.1, 0.3, 0.5, 0.7, 1], [0.05, 0.11, 0.14, 0.17, 0.15, 0.18]
    )
    leg_shape = tube(path, size, sides=18, caps=False)
    leg_shape.verts[:, 2] = np.maximum(leg_shape.verts[:, 2], 0.03)
    yield "main", leg_shape
    yield "main", ball(0.17, (-0.04, 0, 0.18))
    a = np.linspace(0, 2 * PI, 28, endpoint=False)
    sole = np.stack([0.17 + 0.37 * np.cos(a), (0.13 + 0.03 * np.cos(a)) * np.sin(a)], -1)
    yield "dark", slab(sole, 0.06)
    yield "dark", slab(circle(0.14) - (0.07, 0), 0.08, -0.03)
    top = lathe([0.17, 0.01], [0, 0.002], 18).moved((-0.07, 0, 0.39 + leg))
    yield "dark", top


@shape("coat hanger")
def _(rng: Generator) -> Build:
    thick = rng.uniform(0.02, 0.05)
    for s in (-1, 1):
        path = curve((0, 0.02, 0), (s * 0.3, -0.1, 0), (s * 0.58, -0.27, 0), n=14)
        yield "main", tube(path, thick)
    yield "main", rod((-0.57, -0.27, 0), (0.57, -0.27, 0), thick * 0.7)
    path = np.concatenate(
        [[(0, 0, 0), (0, 0.08, 0)], arc(0.1, -PI / 2, PI * 0.95, 14) + (0, 0.2, 0)]
    )
    yield "bright", tube(path, 0.016)


@shape("picture frame")
def _(rng: Generator) -> Build:
    a, b, w = rng.uniform(0.35, 0.5), rng.uniform(0.3, 0.5), rng.uniform(0.06, 0.12)
    lean = rotation("x", 1.2 if rng.random() < 0.6 else 0.0)
    for s in (-1, 1):
        yield "main", box((2 * a + 2 * w, w, 0.06), (0, s * (b + w / 2), 0)).moved(turn=lean)
        yield "main", box((w, 2 * b, 0.06), (s * (a + w / 2), 0, 0)).moved(turn=lean)
    yield "sky", box((2 * a, 2 * b, 0.02), (0, 0, 0)).moved(turn=lean)
    hills = [
        (-a, -b),
        (a, -b),
        (a, -0.1 * b),
        (a * 0.5, 0.2 * b),
        (0.1 * a, -0.15 * b),
        (-0.5 * a, 0.3 * b),
        (-a, -0.2 * b),
    ]
    yield "leaf", slab(hills, 0.006, 0.009).moved(turn=lean)
    yield "yolk", slab(circle(0.2 * b) + (0.4 * a, 0.6 * b), 0.006, 0.009).moved(turn=lean)


@shape("padlock")
def _(rng: Generator) -> Build:
    yield "main", box((0.55, 0.22, 0.45), (0, 0, 0.23), corner=0.04)
    up = rng.uniform(0.0, 0.15)
    path = np.concatenate([[(0.18, 0, 0.3)], arc(0.18, 0, PI, 14, "xz") + (0, 0, 0.6 + up),
                           [(-0.18, 0, 0.44)]])  # fmt: skip
    yield "bright", tube(path, 0.05)
    yield "dark", box((0.05, 0.01, 0.12), (0, -0.112, 0.18))
    yield "dark", rod((0, -0.1, 0.24), (0, -0.116, 0.24), 0.04)


@shape("wine glass")
def _(rng: Generator) -> Build:
    w = rng.uniform(0.22, 0.3)
    z = np.array([0, 0.02, 0.04, 0.5, 0.54, 0.64, 0.78, 1.0])
    r = np.array([0.25, 0.25, 0.025, 0.025, 0.08, w * 0.85, w, w * 0.8])
    yield "main", lathe([1e-3, *r], [0, *z], 32)
    if rng.random() < 0.4:
        yield "wine", lathe([0.01, 0.07, w * 0.82, w * 0.95, 0.01], [0.55, 0.55, 0.65, 0.78, 0.781])


@shape("hat")
def _(rng: Generator) -> Build:
    brim, h = rng.uniform(0.42, 0.6), rng.uniform(0.22, 0.5)
    t = rng.uniform(0.85, 1.02)
    yield "main", lathe([0.25, brim, brim, 0.28, 0.28 * t, 0.25 * t, 0.1, 0.001],
                        [0.0, 0.03, 0.045, 0.02, h, h + 0.05, h + 0.07, h + 0.03], 36)  # fmt: skip
    yield "dark", lathe([0.285, 0.285], [0.03, 0.1], 36)


@shape("cushion")
def _(rng: Generator) -> Build:
    yield "main", pillow(0.5, rng.uniform(0.35, 0.5), 0.17)


@shape("umbrella")
def _(rng: Generator) -> Build:
    n, k = 8, 8
    a = np.linspace(0, 2 * PI, n * 6, endpoint=False)
    scallop = 1 - 0.10 * np.abs(np.sin(a * n / 2))
    t = np.linspace(0.02, 1, k)
    points = np.stack([
        np.c_[0.65 * np.sin(u * 1.25) * scallop[:, None] * np.c_[np.cos(a), np.sin(a)],
              np.full(len(a), 0.55 + 0.42 * np.cos(u * 1.25)) - 0.05 * u**2 * (1 - scallop) * 4]
        for u in t
    ])  # fmt: skip
    yield "main", grid(points, caps=False)
    yield "main", grid(points * [0.99, 0.99, 1] - [0, 0, 0.01], caps=False)
    yield "bright", rod((0, 0, 0), (0, 0, 1.05), 0.018)
    yield (
        "wood",
        tube(np.concatenate([[(0, 0, 0.15)], arc(0.08, 0, -PI, 10, "xz") - (0.08, 0, 0)]), 0.03),
    )


@shape("bell")
def _(rng: Generator) -> Build:
    yield "main", lathe([0.44, 0.45, 0.33, 0.27, 0.25, 0.2, 0.08, 0.01],
                        [0.05, 0.1, 0.2, 0.4, 0.6, 0.7, 0.75, 0.76], 32)  # fmt: skip
    yield "dark", lathe([0.42, 0.01], [0.06, 0.07], 32)
    if rng.random() < 0.6:
        yield "grip", lathe([0.05, 0.05, 0.09, 0.05], [0.74, 0.85, 1.05, 1.2], 16)
    else:
        yield "main", tube(arc(0.1, 0, PI, 12, "xz") + (0, 0, 0.74), 0.03)
    yield "main", ball(0.08, (0, 0, 0.05))


@shape("dice")
def _(rng: Generator) -> Build:
    yield "main", box((1, 1, 1), (0, 0, 0), corner=0.08)
    spots = {1: [(0, 0)], 2: [(-1, -1), (1, 1)], 3: [(-1, -1), (0, 0), (1, 1)],
             4: [(-1, -1), (1, 1), (-1, 1), (1, -1)],
             5: [(-1, -1), (1, 1), (-1, 1), (1, -1), (0, 0)],
             6: [(-1, -1), (1, 1), (-1, 1), (1, -1), (-1, 0), (1, 0)]}  # fmt: skip
    turns = [np.eye(3), rotation("y", PI / 2), rotation("x", PI / 2), rotation("x", -PI / 2),
             rotation("y", -PI / 2), rotation("y", PI)]  # fmt: skip
    for number, turn in zip(spots, turns, strict=True):
        for x, y in spots[number]:
            dot = lathe([0.1, 0.001], [0.501, 0.504], 14).moved((0.27 * x, 0.27 * y, 0))
            yield "contrast", dot.moved(turn=turn)


@shape("chess piece")
def _(rng: Generator) -> Build:
    yield "main", lathe([0.3, 0.3, 0.25, 0.25, 0.16, 0.1, 0.1, 0.19, 0.19, 0.08],
                        [0, 0.08, 0.1, 0.14, 0.25, 0.45, 0.58, 0.6, 0.64, 0.66])  # fmt: skip
    yield "main", ball(0.17, (0, 0, 0.78))


@shape("paper roll")
def _(rng: Generator) -> Build:
    h = rng.uniform(0.5, 1.1)
    yield "main", ring(circle(0.36, 36), circle(0.14, 36), h)
    yield "cardboard", ring(circle(0.145, 36), circle(0.12, 36), h + 0.004, -0.002)
    a = rng.uniform(0, 6)
    flap = box((0.005, 0.3, h), (0.36, 0.15, h / 2)).moved(turn=rotation("z", a))
    yield "main", flap


@shape("washing machine")
def _(rng: Generator) -> Build:
    yield "main", box((0.8, 0.75, 1.05), (0, 0, 0.53), corner=0.02)
    face = rotation("x", PI / 2)
    yield "bright", ring(circle(0.29, 36), circle(0.22, 36), 0.05).moved((0, -0.375, 0.48), face)
    yield "dark", lathe([0.22, 0.15, 0.01], [0, 0.03, 0.04], 36).moved((0, -0.375, 0.48), face)
    yield "grey", box((0.78, 0.02, 0.14), (0, -0.38, 0.95))
    yield "dark", box((0.2, 0.02, 0.07), (0.1, -0.386, 0.95))
    yield "white", lathe([0.05, 0.05], [0, 0.04]).moved((-0.28, -0.39, 0.95), face)


@shape("doormat")
def _(rng: Generator) -> Build:
    yield "main", box((1.1, 0.7, 0.035), (0, 0, 0.018))
    for x in np.linspace(-0.48, 0.48, 13):
        yield "main", box((0.035, 0.58, 0.02), (x, 0, 0.042))
    for y in (-0.32, 0.32):
        yield "main", box((1.1, 0.04, 0.02), (0, y, 0.042))


@shape("glove")
def _(rng: Generator) -> Build:
    palm = pillow(0.24, 0.22, 0.09, 3.0)
    yield "main", palm
    for k, y in enumerate((-0.165, -0.055, 0.055, 0.165)):
        reach = (0.4, 0.48, 0.46, 0.36)[k]
        bow = rng.uniform(-0.02, 0.06)
        path = curve(
            (0.12, y * 0.95, 0),
            (0.12 + reach * 0.5, y * 1.2, 0.04 + bow),
            (0.14 + reach, y * 1.5, bow),
        )
        yield "main", tube(path, np.r_[np.full(20, 0.062), [0.058, 0.05, 0.036, 0.015]], sides=12)
    thumb = curve((-0.08, -0.14, 0), (0.06, -0.3, 0.03), (0.2, -0.38, 0.02))
    yield "main", tube(thumb, np.r_[np.full(20, 0.062), [0.058, 0.05, 0.036, 0.015]], sides=12)
    cuff = tube(
        curve((-0.48, 0, 0), (-0.3, 0, 0), (-0.12, 0, 0)), np.linspace(0.24, 0.2, 24), sides=20
    )
    cuff.verts[:, 2] *= 0.42
    yield pick(rng, "main", "paint"), cuff
