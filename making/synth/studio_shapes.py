"""Shapes of the studio set: one short builder for each noun of `studio_words.NOUNS`.

A builder takes a random generator and yields (surface, shape) pairs. The surface is ``main`` for
what the caption's material and colour speak of, or a key of `studio_scene.TRIMS` for the rest. Z
points up, sizes are arbitrary (about 1): the scene scales every object to its own size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.random import Generator

from . import steel
from .impurity_mesh import (
    Array,
    Shape,
    bend,
    box,
    extrude,
    grid,
    revolve,
    rotation,
    rounded,
    smooth_curve,
    tube,
    wobble,
)
from .impurity_other import plank as splintered

PI = np.pi
Build = Iterator[tuple[str, Shape]]
SHAPES: dict[str, Callable[[Generator], Build]] = {}


def shape(*nouns: str):
    """Register a builder for nouns."""

    def keep(builder: Callable[[Generator], Build]) -> Callable[[Generator], Build]:
        SHAPES.update(dict.fromkeys(nouns, builder))
        return builder

    return keep


# --- helpers --------------------------------------------------------------------------------------


def lathe(radius, height, sides: int = 28) -> Shape:
    """Outline (radius, height) turned about Z, its ends closed."""
    return revolve(radius, height, sides=sides).moved(turn=rotation("y", -PI / 2))


def circle(radius: float, n: int = 24, squash: float = 1.0) -> Array:
    """Outline (n, 2)."""
    a = np.arange(n) * 2 * PI / n
    return radius * np.stack([np.cos(a), squash * np.sin(a)], -1)


def slab(outline, thick: float, z: float = 0.0) -> Shape:
    """Outline (m, 2) in X, Y made `thick`, its underside at `z`."""
    outline = np.asarray(outline, float)
    points = np.empty((2, len(outline), 3))
    points[..., :2] = outline
    points[..., 2] = np.array([z, z + thick])[:, None]
    return grid(points)


def ring(outer: Array, inner: Array, thick: float, z: float = 0.0) -> Shape:
    """A slab with a hole; both outlines have equally many points."""
    sections = [(outer, z), (outer, z + thick), (inner, z + thick), (inner, z)]
    points = np.stack([np.c_[o, np.full(len(o), h)] for o, h in sections])
    return grid(points, closed=True)


def arc(radius: float, start: float, stop: float, n: int = 16, plane: str = "xy") -> Array:
    """Points (n, 3) on a circle in a plane."""
    a = np.linspace(start, stop, n)
    points = np.zeros((n, 3))
    points[:, "xyz".index(plane[0])] = radius * np.cos(a)
    points[:, "xyz".index(plane[1])] = radius * np.sin(a)
    return points


def curve(*points, n: int = 24) -> Array:
    """A smooth path (n, 3) through points."""
    return smooth_curve(np.array(points, float), n)


def ball(radius: float, at=(0.0, 0.0, 0.0), squash: float = 1.0, sides: int = 20) -> Shape:
    """Sphere, `squash` times as high."""
    t = np.linspace(-PI / 2, PI / 2, 12)
    return lathe(np.cos(t) * radius + 1e-4, np.sin(t) * radius * squash, sides).moved(at)


def rod(a, b, radius: float, sides: int = 10) -> Shape:
    """Straight round bar between two points."""
    return tube(np.array([a, b], float), radius, sides=sides)


def hexagon(radius: float, per_side: int = 1) -> Array:
    """Outline (6 * per_side, 2)."""
    corners = circle(radius, 6)
    t = np.linspace(0, 1, per_side, endpoint=False)[:, None]
    return np.concatenate(
        [a + (b - a) * t for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]
    )


def sheet(points: Array, thick: float) -> Shape:
    """A grid of points (h, w, 3) made solid."""
    return of_steel(steel.sheet(points, thick))


def of_steel(mesh: steel.Mesh) -> Shape:
    """A mesh of ScrapSim's steel pieces as a shape."""
    return Shape(mesh[0], [list(face) for face in mesh[1]])


def pillow(a: float, b: float, h: float, power: float = 4.0) -> Shape:
    """A stuffed flat body, 2a by 2b and 2h high."""
    t = np.linspace(-1, 1, 17)
    x, y = np.meshgrid(t, t, indexing="ij")
    z = h * ((1 - np.abs(x) ** power) * (1 - np.abs(y) ** power)) ** 0.6
    pull = 1 - 0.10 * (1 - np.abs(x) ** 2) * np.abs(y) ** 3, 1 - 0.10 * (1 - y**2) * np.abs(x) ** 3
    top = np.stack([a * x * pull[1], b * y * pull[0], z], -1)
    lower = grid(top * [1, 1, -1], ring=False)
    upper = grid(top, ring=False)
    faces = upper.faces + [[i + 289 for i in f[::-1]] for f in lower.faces]
    return Shape(np.concatenate([upper.verts, lower.verts]), faces)


def hollow(radius, height, wall: float = 0.03, sides: int = 32) -> Shape:
    """A vessel: the outline from the foot's rim up, made `wall` thick, open on top."""
    r, z = np.asarray(radius, float), np.asarray(height, float)
    inner_r = np.maximum(r[::-1] - wall, 1e-3)
    inner_z = np.maximum(z[::-1], z[0] + wall)
    return lathe([1e-3, *r, *inner_r, 1e-3], [z[0], *z, *inner_z, z[0] + wall], sides)


def pick(rng: Generator, *options):
    """One of the options."""
    return options[rng.integers(len(options))]


# --- tools ----------------------------------------------------------------------------------------


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


# --- household ------------------------------------------------------------------------------------


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


# --- industrial -----------------------------------------------------------------------------------


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


# --- building materials ---------------------------------------------------------------------------


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


# --- containers -----------------------------------------------------------------------------------


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


# --- food -----------------------------------------------------------------------------------------


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


# --- electronics ----------------------------------------------------------------------------------


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
