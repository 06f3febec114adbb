"""Shapes of industrial parts, scrap among them."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth import steel
from making.synth.impurity_mesh import (
    Shape,
    bend,
    box,
    extrude,
    grid,
    revolve,
    rotation,
    rounded,
    tube,
)
from making.synth.shapes.base import (
    PI,
    Build,
    arc,
    ball,
    circle,
    hexagon,
    lathe,
    of_steel,
    pick,
    ring,
    rod,
    shape,
    sheet,
    slab,
)


@shape("steel plate")
def _(rng: Generator) -> Build:
    a, b, t = rng.uniform(0.4, 0.7), rng.uniform(0.25, 0.5), rng.uniform(0.02, 0.07)
    corners = np.array([(-a, -b), (a, -b), (a, b), (-a, b)])
    if rng.random() < 0.4:  # cut off with a torch
        corners = np.insert(corners, 2, (a, b * rng.uniform(-0.2, 0.5)), 0)
        corners[3] *= (rng.uniform(0.1, 0.7), 1)
    yield "main", slab(corners, t)
    if rng.random() < 0.5:
        for x, y in ((-1, -1), (1, -1), (-1, 1)):
            hole = slab(circle(0.05) + (x * a * 0.8, y * b * 0.75), 0.002, t)
            yield "hole", hole


@shape("steel beam")
def _(rng: Generator) -> Build:
    h, b, t = rng.uniform(0.22, 0.36), rng.uniform(0.16, 0.3), rng.uniform(0.025, 0.05)
    x, y, w = b / 2, h / 2, t / 2
    outline = np.array([(-x, -y), (x, -y), (x, t - y), (w, t - y), (w, y - t), (x, y - t), (x, y),
                        (-x, y), (-x, y - t), (-w, y - t), (-w, t - y), (-x, t - y)])  # fmt: skip
    beam = extrude(outline, rng.uniform(0.8, 1.6), sections=12)
    yield "main", Shape(bend(beam.verts, rng.uniform(-0.15, 0.15), towards=1), beam.faces)


@shape("pipe")
def _(rng: Generator) -> Build:
    r, length = rng.uniform(0.06, 0.2), rng.uniform(0.8, 1.5)
    wall = r * rng.uniform(0.08, 0.22)
    turn = rotation("y", PI / 2)
    pipe = ring(circle(r, 28), circle(r - wall, 28), length).moved((0, 0, 0), turn)
    yield "main", pipe.moved((-length / 2, 0, 0))
    yield "hole", rod((-length * 0.3, 0, 0), (length * 0.3, 0, 0), r - wall)
    if rng.random() < 0.3:
        sleeve = ring(circle(r * 1.2, 28), circle(r * 0.99, 28), r * 1.2).moved((0, 0, 0), turn)
        yield "main", sleeve.moved((length / 2 - r * 1.2, 0, 0))


@shape("pipe elbow")
def _(rng: Generator) -> Build:
    r, bow = rng.uniform(0.1, 0.17), rng.uniform(0.25, 0.45)
    arm = rng.uniform(0.1, 0.5)
    path = np.concatenate([[(bow, -arm, 0)], arc(bow, 0, PI / 2, 14), [(-arm, bow, 0)]])
    yield "main", tube(path, r, sides=20, caps=False)
    yield "hole", tube(path, r * 0.85, sides=20, caps=False)
    for end, turn in (
        ((bow, -arm, 0), rotation("x", PI / 2)),
        ((-arm, bow, 0), rotation("y", -PI / 2)),
    ):
        width = pick(rng, 1.12, 1.6)
        rim = ring(circle(r * width, 24), circle(r * 0.85, 24), 0.07).moved((0, 0, -0.05))
        yield "main", rim.moved((0, 0, 0), turn).moved(end)


@shape("square tube")
def _(rng: Generator) -> Build:
    a, b, length = rng.uniform(0.12, 0.22), rng.uniform(0.12, 0.3), rng.uniform(0.8, 1.5)
    t = 0.018
    tube_ = ring(rounded(a, b, 0.03), rounded(a - 2 * t, b - 2 * t, 0.02), length)
    yield "main", tube_.moved((0, 0, 0), rotation("y", PI / 2))
    inside = box((length * 0.8, b - 3 * t, a - 3 * t), (length / 2, 0, 0))
    yield "hole", inside


@shape("angle iron")
def _(rng: Generator) -> Build:
    b, h, t = rng.uniform(0.2, 0.35), rng.uniform(0.2, 0.35), 0.03
    outline = np.array([(0, 0), (b, 0), (b, t), (t, t), (t, h), (0, h)])
    yield "main", extrude(outline, rng.uniform(0.8, 1.5), sections=8)


@shape("steel bar")
def _(rng: Generator) -> Build:
    r, length = rng.uniform(0.04, 0.08), rng.uniform(1.0, 1.5)
    if rng.random() < 0.6:
        yield "main", rod((-length / 2, 0, 0), (length / 2, 0, 0), r, 20)
    else:
        yield "main", box((length, 1.8 * r, 1.8 * r))


@shape("rebar")
def _(rng: Generator) -> Build:
    yield "main", of_steel(steel.rebar(rng, 1.6))


def _hex_head(r: float, t: float) -> Shape:
    return slab(hexagon(r), t)


@shape("bolt")
def _(rng: Generator) -> Build:
    r, length = 0.13, rng.uniform(0.6, 1.3)
    yield "main", _hex_head(0.27, 0.18)
    n = 2 * int(length * 0.65 / 0.03)
    z = 0.18 + length * np.linspace(0.35, 1, n)
    teeth = np.where(np.arange(n) % 2, r, r * 0.86)
    yield "main", lathe([r, r, *teeth, r * 0.7], [0.17, 0.18 + length * 0.34, *z, z[-1] + 0.04], 18)
    if rng.random() < 0.3:
        nut = ring(hexagon(0.27, 4), circle(r * 0.95, 24), 0.2)
        yield "main", nut.moved((0, 0, 0.18 + length * rng.uniform(0.5, 0.8)))


@shape("nut")
def _(rng: Generator) -> Build:
    r, t = rng.uniform(0.24, 0.3), rng.uniform(0.3, 0.5)
    yield "main", ring(hexagon(0.5, 5), circle(r, 30), t)
    z = np.linspace(0.02, t - 0.02, 15)
    rim = np.where(np.arange(15) % 2, r * 0.9, r)
    points = np.stack([np.c_[circle(q, 30), np.full(30, h)] for q, h in zip(rim, z, strict=True)])
    yield "main", grid(points, caps=False)
    if rng.random() < 0.2:
        yield "main", ring(circle(0.58, 30), circle(r, 30), 0.06, -0.05)


@shape("washer")
def _(rng: Generator) -> Build:
    yield "main", ring(circle(0.5, 40), circle(rng.uniform(0.2, 0.32), 40), rng.uniform(0.04, 0.1))


@shape("screw")
def _(rng: Generator) -> Build:
    length, r = rng.uniform(0.8, 1.2), 0.1
    yield "main", lathe([0.24, 0.24, r, r, r * 0.8, 0.005],
                        [0, 0.03, 0.17, 0.2, length * 0.85, length])  # fmt: skip
    turns = int(length * 11)
    a = np.linspace(0, turns * 2 * PI, turns * 14)
    z = np.linspace(0.3, length * 0.97, len(a))
    q = np.interp(z, [0, length * 0.8, length], [r * 1.15, r * 1.0, 0.02])
    yield "main", tube(np.stack([q * np.cos(a), q * np.sin(a), z], -1), 0.022, sides=4)
    for turn in (0, PI / 2):
        yield "hole", box((0.28, 0.05, 0.01), (0, 0, -0.002)).moved(turn=rotation("z", turn))


@shape("nail")
def _(rng: Generator) -> Build:
    yield "main", lathe([0.16, 0.16, 0.055, 0.055, 0.055, 0.003],
                        [0, 0.03, 0.05, 0.2, 1.1, 1.25], 16)  # fmt: skip


@shape("bracket")
def _(rng: Generator) -> Build:
    w, a, b, t = rng.uniform(0.15, 0.3), rng.uniform(0.4, 0.7), rng.uniform(0.4, 0.7), 0.05
    yield "main", box((a, w, t), (a / 2, 0, t / 2))
    yield "main", box((t, w, b), (t / 2, 0, b / 2))
    if rng.random() < 0.5:
        brace = extrude(np.array([(0, 0), (a * 0.8, 0), (0, b * 0.8)]), 0.04)
        yield "main", brace.moved((0, 0, 0), rotation("z", -PI / 2)).moved((t, 0, t))
    for x in (0.45 * a, 0.8 * a):
        for y in (-0.25 * w, 0.25 * w):
            yield "hole", lathe([0.035, 0.001], [t, t + 0.002], 14).moved((x, y, 0))
            hole = lathe([0.035, 0.001], [t, t + 0.002], 14).moved((0, 0, 0), rotation("y", PI / 2))
            yield "hole", hole.moved((0, y, x * b / a))


@shape("gear")
def _(rng: Generator) -> Build:
    n, t = int(rng.integers(10, 22)), rng.uniform(0.1, 0.28)
    tooth = np.tile([1.0, 1.0, 0.82, 0.82], n)
    outer = circle(0.5, 4 * n) * tooth[:, None]
    bore = rng.uniform(0.08, 0.14)
    if rng.random() < 0.5:  # with spokes
        yield "main", ring(outer, circle(0.33, 4 * n), t)
        for k in range(int(rng.integers(3, 7))):
            spoke = box((0.4, 0.09, t * 0.5), (0.19, 0, t / 2))
            yield "main", spoke.moved(turn=rotation("z", k * 2 * PI / 5))
        yield "main", ring(circle(0.17, 30), circle(bore, 30), t * 1.3, -t * 0.15)
    else:
        yield "main", ring(outer, circle(bore, 4 * n), t)
        yield "main", ring(circle(0.22, 30), circle(bore, 30), t * 1.5, -t * 0.25)


@shape("spring")
def _(rng: Generator) -> Build:
    turns, r = int(rng.integers(5, 10)), rng.uniform(0.18, 0.3)
    h = turns * rng.uniform(0.1, 0.16)
    a = np.linspace(0, turns * 2 * PI, turns * 20)
    z = np.interp(a, [0, 2 * PI, a[-1] - 2 * PI, a[-1]], [0, 0.05, h - 0.05, h])
    path = np.stack([r * np.cos(a), r * np.sin(a), z], -1)
    yield "main", tube(path, rng.uniform(0.03, 0.05), sides=8)


@shape("chain")
def _(rng: Generator) -> Build:
    n, w = int(rng.integers(6, 12)), rng.uniform(0.035, 0.05)
    spine = np.cumsum(np.r_[0, rng.uniform(-0.5, 0.5, n - 1)])
    at = np.zeros(3)
    for k in range(n):
        half, side = 0.10, 0.075
        link = np.concatenate([arc(side, -PI / 2, PI / 2, 8) + (half, 0, 0),
                               arc(side, PI / 2, 1.5 * PI, 8) - (half, 0, 0)])  # fmt: skip
        roll = rotation("x", (k % 2) * PI / 2 + rng.normal(0, 0.15) + 0.3)
        turn = rotation("z", spine[k] * 0.8)
        yield "main", tube(link, w, sides=8, closed=True).moved((0, 0, 0), turn @ roll).moved(at)
        at = at + turn @ np.array([0.24, 0, 0])


@shape("sheet offcut")
def _(rng: Generator) -> Build:
    yield "main", of_steel(steel.bent_sheet(rng, 1.0))


@shape("crumpled sheet")
def _(rng: Generator) -> Build:
    yield "main", of_steel((steel.shred if rng.random() < 0.7 else steel.ball)(rng, 1.0))


@shape("turnings")
def _(rng: Generator) -> Build:
    yield "main", of_steel(steel.turnings(rng, 1.0))


@shape("flange")
def _(rng: Generator) -> Build:
    bore, t, n = rng.uniform(0.17, 0.24), rng.uniform(0.1, 0.16), int(pick(rng, 4, 6, 8))
    yield "main", ring(circle(0.5, 40), circle(bore, 40), t)
    if rng.random() < 0.7:
        yield "main", ring(circle(bore + 0.09, 40), circle(bore, 40), rng.uniform(0.25, 0.4))
    for a in np.arange(n) * 2 * PI / n:
        at = (0.41 * np.cos(a), 0.41 * np.sin(a), 0)
        if n == 6:
            yield "main", slab(hexagon(0.06), 0.06, t).moved(at)
        else:
            yield "hole", lathe([0.05, 0.001], [t, t + 0.003], 16).moved(at)


@shape("valve")
def _(rng: Generator) -> Build:
    yield "main", revolve([0.15, 0.15, 0.11, 0.2, 0.2, 0.11, 0.15, 0.15],
                          [-0.5, -0.36, -0.34, -0.15, 0.15, 0.34, 0.36, 0.5])  # fmt: skip
    for s in (-1, 1):
        face = ring(circle(0.24, 30), circle(0.1, 30), 0.08, -0.04)
        yield "main", face.moved((s * 0.5, 0, 0), rotation("y", PI / 2))
    yield "main", lathe([0.14, 0.14, 0.08, 0.08], [0, 0.25, 0.28, 0.36])
    yield "bright", rod((0, 0, 0.3), (0, 0, 0.6), 0.035)
    wheel = pick(rng, "main", "paint", "red")
    yield wheel, tube(arc(0.28, 0, 2 * PI, 33)[:-1] + (0, 0, 0.55), 0.035, closed=True)
    for a in (0.3, 0.3 + 2 * PI / 3, 0.3 + 4 * PI / 3):
        end = (0.28 * np.cos(a), 0.28 * np.sin(a), 0.55)
        yield wheel, rod((0, 0, 0.55), end, 0.025)


@shape("pulley")
def _(rng: Generator) -> Build:
    w = rng.uniform(0.12, 0.2)
    rim = [0.42, 0.5, 0.5, 0.36, 0.36, 0.5, 0.5, 0.42]
    z = np.array([-1, -1, -0.75, -0.25, 0.25, 0.75, 1, 1]) * w
    yield "main", grid(np.stack([np.c_[circle(r, 40), np.full(40, h)] for r, h in
                       zip([*rim, 0.1], [*z, w], strict=True)]), caps=False)  # fmt: skip
    for s in (-1, 1):
        yield "main", ring(circle(0.43, 40), circle(0.09, 40), 0.03, s * w * 0.6)
        yield "main", ring(circle(0.17, 40), circle(0.09, 40), 0.08, s * w - 0.04)
        for a in np.arange(5) * 2 * PI / 5:
            at = (0.3 * np.cos(a), 0.3 * np.sin(a), s * w * 0.6 + 0.03)
            yield "hole", lathe([0.06, 0.06], [-0.033, 0.002], 16).moved(at)


@shape("propeller")
def _(rng: Generator) -> Build:
    n = int(rng.integers(3, 6))
    yield "main", lathe([0.13, 0.14, 0.1, 0.01], [-0.12, 0.05, 0.15, 0.22])
    for k in range(n):
        u, v = np.meshgrid(np.linspace(0, 1, 10), np.linspace(-1, 1, 7), indexing="ij")
        width = 0.2 * np.sin(PI * (0.2 + 0.75 * u)) ** 0.7
        pitch = 0.9 - 0.5 * u
        x, y, z = 0.08 + 0.5 * u, v * width * np.cos(pitch), v * width * np.sin(pitch)
        blade = sheet(np.stack([x, y + 0.08 * u**2, z], -1), 0.025)
        yield "main", blade.moved(turn=rotation("z", k * 2 * PI / n))


@shape("ball bearing")
def _(rng: Generator) -> Build:
    t = rng.uniform(0.18, 0.3)
    yield "main", ring(circle(0.5, 40), circle(0.42, 40), t)
    yield "main", ring(circle(0.29, 40), circle(0.2, 40), t)
    yield "dark", ring(circle(0.42, 40), circle(0.29, 40), t * 0.3, t * 0.3)
    for a in np.arange(11) * 2 * PI / 11:
        yield "bright", ball(0.075, (0.355 * np.cos(a), 0.355 * np.sin(a), t * 0.72), sides=12)


@shape("hook")
def _(rng: Generator) -> Build:
    path = np.concatenate(
        [[(0, 0.42, 0), (0, 0.3, 0)], arc(0.26, PI / 2, -PI * 0.95, 20) + (0, -0.02, 0)]
    )
    thick = np.interp(np.linspace(0, 1, 22), [0, 0.2, 0.6, 1], [0.06, 0.08, 0.1, 0.015])
    yield "main", tube(path, thick, sides=10)
    eye = tube(arc(0.13, 0, 2 * PI, 25)[:-1] + (0, 0.52, 0), 0.05, closed=True)
    yield "main", eye
    if rng.random() < 0.4:
        yield "bright", rod((0, 0.2, 0), (0.15, -0.2, 0.0), 0.02)


@shape("wire mesh")
def _(rng: Generator) -> Build:
    n, m, r = int(rng.integers(6, 10)), int(rng.integers(5, 9)), rng.uniform(0.010, 0.02)
    bow = rng.uniform(0, 0.35)
    x, y = np.linspace(-0.6, 0.6, n), np.linspace(-0.5, 0.5, m)
    t = np.linspace(-0.64, 0.64, 12)
    for v in x:
        path = np.c_[np.full(12, v), t * 0.85, np.full(12, bow * v**2)]
        yield "main", tube(path, r, sides=6)
    for v in y:
        yield "main", tube(np.c_[t, np.full(12, v), bow * t**2 + 1.6 * r], r, sides=6)


@shape("brake disc")
def _(rng: Generator) -> Build:
    yield "main", ring(circle(0.5, 44), circle(0.26, 44), 0.07)
    yield "main", lathe([0.27, 0.27, 0.25], [0.0, 0.2, 0.21], 40)
    yield "hole", lathe([0.1, 0.001], [0.211, 0.213])
    for a in np.arange(5) * 2 * PI / 5:
        at = (0.18 * np.cos(a), 0.18 * np.sin(a), 0)
        yield "hole", lathe([0.025, 0.001], [0.211, 0.214], 12).moved(at)
    if rng.random() < 0.5:
        for a in np.arange(18) * 2 * PI / 18:
            r = 0.33 + 0.1 * (np.arange(18)[round(a / (2 * PI / 18))] % 3) / 2
            dot = lathe([0.018, 0.001], [0.07, 0.072], 8).moved((r * np.cos(a), r * np.sin(a), 0))
            yield "hole", dot


@shape("anvil")
def _(rng: Generator) -> Build:
    outline = [(-0.22, 0), (0.22, 0), (0.2, 0.08), (0.1, 0.14), (0.09, 0.26), (0.2, 0.36),
               (-0.2, 0.36), (-0.09, 0.26), (-0.1, 0.14), (-0.2, 0.08)]  # fmt: skip
    yield "main", extrude(np.array(outline) * [0.8, 1], 0.45)
    yield "main", box((0.6, 0.26, 0.2), (-0.1, 0, 0.46))
    horn = revolve([0.12, 0.11, 0.07, 0.01], [0.18, 0.32, 0.52, 0.66], sides=20)
    yield "main", horn.moved((0, 0, 0.46))


@shape("horseshoe")
def _(rng: Generator) -> Build:
    a = np.linspace(-0.35, PI + 0.35, 26)
    outer = np.stack([0.5 * np.cos(a), 0.55 * np.sin(a)], -1)
    inner = np.stack([0.34 * np.cos(a), 0.38 * np.sin(a)], -1)[::-1]
    yield "main", slab(np.concatenate([outer, inner]), 0.06)
    for v in np.linspace(0.3, PI - 0.3, 7):
        at = (0.42 * np.cos(v), 0.465 * np.sin(v), 0)
        yield "hole", slab(rounded(0.045, 0.045, 0), 0.003, 0.06).moved(at)


@shape("strap")
def _(rng: Generator) -> Build:
    w = rng.uniform(0.04, 0.07)
    path = np.stack([np.linspace(-0.6, 0.6, 40), np.zeros(40), np.zeros(40)], -1)
    path[:, 2] = (
        0.15 * np.sin(np.linspace(0, rng.uniform(2, 6), 40)) + 0.1 * rng.normal() * path[:, 0]
    )
    path[:, 1] = rng.uniform(-0.5, 0.5) * path[:, 0] ** 2
    points = path[:, None] + np.array([[0, -w, 0], [0, w, 0]])
    yield "main", sheet(points, 0.012)


@shape("drum lid")
def _(rng: Generator) -> Build:
    yield "main", of_steel(steel.lid(rng, 3.0))
