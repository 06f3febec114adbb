"""Outlines, sheets and bodies that all builders of shapes use, and the registry they enter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.random import Generator

from making.synth import steel
from making.synth.impurity_mesh import Array, Shape, grid, revolve, rotation, smooth_curve, tube

PI = np.pi
Build = Iterator[tuple[str, Shape]]
SHAPES: dict[str, Callable[[Generator], Build]] = {}


def shape(*nouns: str):
    """Register a builder for nouns."""

    def keep(builder: Callable[[Generator], Build]) -> Callable[[Generator], Build]:
        SHAPES.update(dict.fromkeys(nouns, builder))
        return builder

    return keep


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
