"""Shapes of containers."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth.impurity_mesh import (
    Shape,
    box,
    extrude,
    grid,
    revolve,
    rotation,
    rounded,
    tube,
    wobble,
)
from making.synth.shapes.base import (
    PI,
    Build,
    arc,
    circle,
    curve,
    hollow,
    lathe,
    pick,
    rod,
    shape,
    slab,
)


@shape("bucket")
def _(rng: Generator) -> Build:
    h, foot = rng.uniform(0.6, 0.8), rng.uniform(0.26, 0.32)
    yield "main", hollow([foot, foot + 0.01, 0.40, 0.43, 0.43, 0.41],
                         [0, 0.02, h - 0.06, h - 0.06, h, h], 0.02)  # fmt: skip
    fall = rng.uniform(-1.3, 1.3)
    path = arc(0.42, 0, PI, 20, "xz") @ rotation("x", fall).T + (0, 0, h - 0.05)
    yield "bright", tube(path, 0.014)
    yield pick(rng, "main", "black", "wood"), tube(path[8:12], 0.03)


@shape("canister")
def _(rng: Generator) -> Build:
    w, d, h = rng.uniform(0.26, 0.36), rng.uniform(0.14, 0.24), rng.uniform(0.6, 0.85)
    z = np.array([0, 0.02, 0.05, h * 0.82, h * 0.9, h * 0.93])
    s = np.array([0.85, 0.97, 1, 1, 0.93, 0.8])
    outline = rounded(2 * w, 2 * d, 0.09, steps=5)
    yield (
        "main",
        grid(
            np.stack(
                [np.c_[outline * f, np.full(len(outline), q)] for f, q in zip(s, z, strict=True)]
            )
        ),
    )
    top = z[-1]
    yield "main", lathe([0.09, 0.09], [top - 0.03, top + 0.06]).moved((w * 0.6, 0, 0))
    yield (
        "cap",
        lathe([0.11, 0.11, 0.09], [top + 0.02, top + 0.13, top + 0.14], 16).moved((w * 0.6, 0, 0)),
    )
    handle = curve(
        (-w * 0.75, 0, top - 0.03),
        (-w * 0.7, 0, top + 0.12),
        (-w * 0.1, 0, top + 0.13),
        (w * 0.15, 0, top - 0.03),
    )
    yield "main", tube(handle, 0.04)
    for y in (-1, 1):
        if rng.random() < 0.5:
            yield "label", box((w * 1.2, 0.006, h * 0.35), (0, y * d, h * 0.42))
        else:  # pressed cross
            for a in (0.9, -0.9):
                rib = box((h * 0.7, 0.02, 0.04)).moved(turn=rotation("y", a))
                yield "main", rib.moved((0, y * d, h * 0.43))


@shape("bottle")
def _(rng: Generator) -> Build:
    r, h = rng.uniform(0.14, 0.2), rng.uniform(0.5, 0.75)
    neck = rng.uniform(0.1, 0.3)
    yield (
        "main",
        lathe(
            [r * 0.85, r, r, r * 0.97, r * 0.97, r, r * 0.9, r * 0.42, r * 0.36, r * 0.36],
            [0, 0.03, h * 0.25, h * 0.28, h * 0.65, h * 0.68, h * 0.8, h * 0.98, h, h + neck],
        ),
    )
    if rng.random() < 0.7:
        yield "label", lathe([r * 0.99] * 2, [h * 0.3, h * 0.63])
    if rng.random() < 0.8:
        yield (
            "cap",
            lathe(
                [r * 0.44, r * 0.44, r * 0.38],
                [h + neck - 0.06, h + neck + 0.03, h + neck + 0.04],
                18,
            ),
        )


@shape("drum")
def _(rng: Generator) -> Build:
    z = [0, 0.03, 0.05, 0.34, 0.36, 0.38, 0.62, 0.64, 0.66, 0.95, 0.97, 1.0, 1.0, 0.97]
    r = [0.33, 0.33, 0.31, 0.31, 0.33, 0.31, 0.31, 0.33, 0.31, 0.31, 0.33, 0.33, 0.31, 0.31]
    yield "main", lathe(r, z, 36)
    yield "dark", lathe([0.05, 0.05], [0.97, 0.99], 14).moved((0.2, 0, 0))


@shape("cask")
def _(rng: Generator) -> Build:
    t = np.linspace(-1, 1, 11)
    yield "main", lathe([*(0.38 - 0.1 * t**2), 0.25], [*(0.5 + 0.5 * t), 0.96], 30)
    for v in (-0.85, -0.4, 0.4, 0.85):
        r = 0.39 - 0.1 * v**2
        yield "dark", lathe([r, r], [0.5 + 0.5 * v - 0.03, 0.5 + 0.5 * v + 0.03], 30)


@shape("box")
def _(rng: Generator) -> Build:
    a, b, h = rng.uniform(0.3, 0.55), rng.uniform(0.25, 0.4), rng.uniform(0.25, 0.6)
    if rng.random() < 0.5:  # closed, taped
        yield "main", box((2 * a, 2 * b, h), (0, 0, h / 2))
        yield "tape", box((2 * a + 0.004, 0.08, 0.01), (0, 0, h - 0.003))
        for s in (-1, 1):
            yield "tape", box((0.004, 0.08, 0.12), (s * a, 0, h - 0.06))
        yield "hole", box((2 * a, 0.006, 0.012), (0, 0, h - 0.002))
        return
    t = 0.015
    yield "main", box((2 * a, 2 * b, t), (0, 0, t / 2))
    for s in (-1, 1):
        yield "main", box((2 * a, t, h), (0, s * b, h / 2))
        yield "main", box((t, 2 * b, h), (s * a, 0, h / 2))
        flap = box((2 * a - 0.02, b * 0.8, t), (0, b * 0.4, 0)).moved(
            turn=rotation("x", rng.uniform(-0.9, 0.5))
        )
        yield "main", flap.moved((0, 0, 0), rotation("z", 0 if s > 0 else PI)).moved((0, s * b, h))


@shape("crate")
def _(rng: Generator) -> Build:
    a, b, h = rng.uniform(0.4, 0.55), rng.uniform(0.28, 0.36), rng.uniform(0.3, 0.45)
    n = 3
    for z in np.linspace(0.07, h - 0.05, n):
        for s in (-1, 1):
            yield "main", box((2 * a, 0.02, h / n * 0.68), (0, s * b, z))
            yield "main", box((0.02, 2 * b, h / n * 0.68), (s * a, 0, z))
    for x in (-1, 0, 1):
        for y in (-1, 1):
            yield "main", box((0.05, 0.05, h), (x * (a - 0.03), y * (b - 0.03), h / 2))
    for y in np.linspace(-b * 0.85, b * 0.85, 5):
        yield "main", box((2 * a, 0.08, 0.02), (0, y, 0.02))


@shape("tin can")
def _(rng: Generator) -> Build:
    r, h = 0.28, rng.uniform(0.45, 0.85)
    z = np.linspace(0, h, 30)
    rib = 1 + 0.025 * np.sin(z / h * PI * 16) * (np.abs(z / h - 0.5) < 0.3)
    rib[[0, -1]] = 1.04
    if rng.random() < 0.5:
        yield "main", hollow(r * rib, z, 0.012)
        if rng.random() < 0.5:
            lid = lathe([r * 0.95, 0.01], [0, 0.01]).moved((r, 0, 0), rotation("y", 0))
            yield "main", lid.moved((0, 0, 0), rotation("y", -1.1)).moved((-r, 0, h))
    else:
        yield (
            "main",
            lathe([*(r * rib), r * 0.97, r * 0.8, r * 0.78], [*z, h - 0.02, h - 0.02, h - 0.03]),
        )
        yield "bright", tube(arc(0.07, 0, 2 * PI, 17)[:-1] + (0.1, 0, h), 0.014, closed=True)
    if rng.random() < 0.4:
        yield "label", lathe([r * 1.03] * 2, [h * 0.2, h * 0.8])


@shape("jar")
def _(rng: Generator) -> Build:
    r, h = rng.uniform(0.25, 0.32), rng.uniform(0.5, 0.75)
    yield "main", lathe([r * 0.9, r, r, r * 0.75, r * 0.75], [0, 0.04, h * 0.8, h * 0.92, h])
    yield "cap", lathe([r * 0.84, r * 0.84, r * 0.78], [h - 0.01, h + 0.11, h + 0.13])
    if rng.random() < 0.7:
        yield "jam", lathe([r * 0.82, r * 0.92, r * 0.92], [0.02, 0.05, h * rng.uniform(0.4, 0.75)])


@shape("watering can")
def _(rng: Generator) -> Build:
    yield "main", lathe([0.32, 0.32, 0.28, 0.2], [0, 0.45, 0.5, 0.52])
    spout = curve((0.28, 0, 0.12), (0.5, 0, 0.3), (0.85, 0, 0.62), n=12)
    yield "main", tube(spout, np.linspace(0.07, 0.04, 12))
    rose = revolve([0.04, 0.13, 0.13], [0, 0.12, 0.14], sides=20)
    yield "main", rose.moved((0, 0, 0), rotation("y", -0.75)).moved((0.83, 0, 0.6))
    yield (
        "main",
        tube(
            curve((0.1, 0, 0.5), (0, 0, 0.75), (-0.35, 0, 0.7), (-0.45, 0, 0.35), (-0.3, 0, 0.15)),
            0.03,
        ),
    )


@shape("bin")
def _(rng: Generator) -> Build:
    h = rng.uniform(0.8, 1.0)
    if rng.random() < 0.5:
        yield "main", hollow([0.26, 0.36, 0.38], [0, h - 0.03, h], 0.015)
        if rng.random() < 0.6:
            yield "main", lathe([0.41, 0.41, 0.3, 0.06], [h, h + 0.05, h + 0.13, h + 0.15])
            yield "main", tube(arc(0.1, 0, PI, 10, "xz") + (0, 0, h + 0.13), 0.025)
        for s in (-1, 1):
            yield "main", tube(arc(0.1, 0, PI, 10, "yz") + (s * 0.37, 0, h * 0.75), 0.02)
        return
    low, high = rounded(0.4, 0.44, 0.05), rounded(0.54, 0.58, 0.06)
    yield "main", grid(np.stack([np.c_[low, np.full(12, 0.08)], np.c_[high, np.full(12, h)]]))
    lid = box((0.6, 0.62, 0.06), (0.02, 0, h + 0.03), corner=0.02)
    yield pick(rng, "main", "paint"), lid
    yield "main", rod((-0.3, -0.28, h), (-0.3, 0.28, h), 0.03)
    for y in (-0.2, 0.2):
        yield "black", rod((-0.2, y - 0.03, 0.09), (-0.2, y + 0.03, 0.09), 0.09, 20)


@shape("suitcase")
def _(rng: Generator) -> Build:
    outline = rounded(0.95, 0.62, 0.07, steps=4)
    yield "main", slab(outline, 0.28)
    yield "bright", slab(outline * 1.008, 0.02, 0.13)
    path = curve((-0.13, -0.31, 0.14), (-0.1, -0.4, 0.14), (0.1, -0.4, 0.14), (0.13, -0.31, 0.14))
    yield "black", tube(path, 0.024)
    for x in (-0.28, 0.28):
        yield "brass", box((0.09, 0.02, 0.09), (x, -0.315, 0.14))
        yield "dark", box((0.05, 0.63, 0.004), (x, 0, 0.281))


@shape("basket")
def _(rng: Generator) -> Build:
    h = rng.uniform(0.35, 0.5)
    n = 9
    for k, z in enumerate(np.linspace(0.02, h, n)):
        r = 0.33 + 0.12 * z / h
        a = np.linspace(0, 2 * PI, 48, endpoint=False)
        weave = r + 0.018 * np.sin(a * 12 + PI * (k % 2))
        path = np.stack([weave * np.cos(a), weave * np.sin(a), np.full(48, z)], -1)
        yield "main", tube(path, h / n * 0.52, sides=6, closed=True)
    yield "main", lathe([0.34, 0.001], [0.01, 0.02])
    if rng.random() < 0.7:
        yield "main", tube(arc(0.45, 0, PI, 18, "xz") * [1, 1, 0.9] + (0, 0, h), 0.026)


@shape("tray")
def _(rng: Generator) -> Build:
    out, inn = rounded(1.2, 0.8, 0.1, steps=4), rounded(1.1, 0.7, 0.06, steps=4)
    yield "main", slab(inn, 0.02)
    points = np.stack([np.c_[inn, np.full(len(inn), 0.0)], np.c_[out, np.full(len(out), 0.09)],
                       np.c_[out * 0.985, np.full(len(out), 0.09)],
                       np.c_[inn * 0.985, np.full(len(inn), 0.02)]])  # fmt: skip
    yield "main", grid(points, closed=True)
    for s in (-1, 1):
        yield "main", tube(arc(0.1, 0, PI, 10, "yz") + (s * 0.59, 0, 0.07), 0.02)


@shape("flower pot")
def _(rng: Generator) -> Build:
    h = rng.uniform(0.5, 0.7)
    yield "main", hollow([0.25, 0.37, 0.37, 0.43, 0.44], [0, h * 0.75, h * 0.75, h * 0.75, h], 0.04)
    if rng.random() < 0.55:
        yield "soil", lathe([0.38, 0.01], [h * 0.9, h * 0.92])
        for k in range(int(rng.integers(5, 10))):
            turn = rotation("z", k * 2.4)
            tip = rng.uniform(0.15, 0.45)
            path = curve(
                (0, 0, h * 0.9), (tip * 0.5, 0, h + 0.25), (tip, 0, h + rng.uniform(0.2, 0.5)), n=10
            )
            leaf = tube(path, 0.07 * np.sin(np.linspace(0.1, PI - 0.05, 10)) + 0.006, sides=6)
            leaf.verts[:, 1] *= 1.5
            yield "leaf", leaf.moved(turn=turn)


@shape("toolbox")
def _(rng: Generator) -> Build:
    yield "main", box((0.95, 0.42, 0.34), (0, 0, 0.17), corner=0.01)
    roof = np.array([(-0.21, 0.34), (0.21, 0.34), (0.13, 0.47), (-0.13, 0.47)])
    yield "main", extrude(roof, 0.95)
    yield "dark", box((0.955, 0.425, 0.012), (0, 0, 0.335))
    path = curve((-0.25, 0, 0.46), (-0.22, 0, 0.56), (0.22, 0, 0.56), (0.25, 0, 0.46))
    yield "black", tube(path, 0.026)
    for x in (-0.28, 0.28):
        yield "bright", box((0.08, 0.02, 0.11), (x, -0.215, 0.33))


@shape("funnel")
def _(rng: Generator) -> Build:
    points = [
        (0.5, 0.75),
        (0.5, 0.7),
        (0.09, 0.32),
        (0.05, 0.0),
        (0.04, 0.0),
        (0.075, 0.33),
        (0.48, 0.72),
        (0.48, 0.75),
    ]
    rings = np.stack([np.c_[circle(r, 32), np.full(32, z)] for r, z in points])
    yield "main", grid(rings, closed=True)
    yield "main", tube(arc(0.06, 0, 2 * PI, 15)[:-1] + (0.55, 0, 0.72), 0.015, closed=True)


@shape("paper cup")
def _(rng: Generator) -> Build:
    h = rng.uniform(0.55, 0.8)
    yield "main", hollow([0.21, 0.3], [0, h], 0.012)
    if rng.random() < 0.6:
        yield (
            pick(rng, "white", "black"),
            lathe([0.31, 0.32, 0.27, 0.26], [h - 0.02, h + 0.03, h + 0.05, h + 0.02]),
        )
    if rng.random() < 0.6:
        yield "cardboard", lathe([0.245, 0.28], [h * 0.3, h * 0.7])


@shape("shopping bag")
def _(rng: Generator) -> Build:
    a, b, h = 0.38, 0.19, rng.uniform(0.7, 0.95)
    low, high = rounded(2 * a, 2 * b, 0.02), rounded(2 * a, 1.6 * b, 0.02)
    points = [(low, 0), (high, h), (high * 0.97, h), (low * 0.97, 0.02)]
    body = grid(np.stack([np.c_[o, np.full(12, z)] for o, z in points]), closed=True)
    yield "main", Shape(wobble(body.verts, rng, 0.02, 0.6), body.faces)
    yield "main", slab(low, 0.02)
    for s in (-1, 1):
        path = curve(
            (-0.15, s * b * 0.78, h - 0.05),
            (-0.13, s * b * 0.7, h + 0.25),
            (0.13, s * b * 0.7, h + 0.25),
            (0.15, s * b * 0.78, h - 0.05),
        )
        yield pick(rng, "dark", "main"), tube(path, 0.018)


@shape("tub")
def _(rng: Generator) -> Build:
    low, high = circle(0.38, 36, 0.7), circle(0.52, 36, 0.72)
    h = rng.uniform(0.28, 0.4)
    points = [
        (low, 0),
        (high, h),
        (high * 1.06, h),
        (high * 1.06, h + 0.02),
        (high * 0.97, h + 0.02),
        (low * 0.96, 0.03),
    ]
    yield "main", grid(np.stack([np.c_[o, np.full(36, z)] for o, z in points]), closed=True)
    yield "main", slab(low, 0.03)
    for s in (-1, 1):
        yield "main", tube(arc(0.1, 0, PI, 10, "yz") * [1, 1, 0.6] + (s * 0.53, 0, h), 0.022)
