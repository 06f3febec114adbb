"""A small mesh kit for the impurity objects: sweeps of a section, joined with material slots.

Every shape is a grid of points (rings along a path), so one function makes the faces of tubes,
revolved bottles, extruded profiles and planks alike. Lengths are metres throughout. The long axis
of a shape is local X unless a function says otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

import bpy
import numpy as np

Array = np.ndarray


class Shape(NamedTuple):
    """Points `verts` (n, 3) and polygons `faces`, lists of indices into them."""

    verts: Array
    faces: list[list[int]]

    def moved(self, by=(0.0, 0.0, 0.0), turn: Array | None = None) -> Shape:
        """The shape turned by a 3x3 rotation matrix and then shifted."""
        verts = self.verts if turn is None else self.verts @ turn.T
        return Shape(verts + np.asarray(by, float), self.faces)


def rotation(axis: str, angle: float) -> Array:
    """3x3 matrix of a right-handed turn by `angle` radians about "x", "y" or "z"."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def grid(points: Array, *, closed: bool = False, ring: bool = True, caps: bool = True) -> Shape:
    """Skin over `points` (n, m, 3): n cross-sections of m points each.

    `ring` joins the last point of a section to its first, `closed` the last section to the first;
    `caps` closes both ends of an open ring sweep with a polygon.
    """
    n, m = points.shape[:2]
    rows = np.arange(n if closed else n - 1)[:, None]
    cols = np.arange(m if ring else m - 1)[None, :]
    a, b = rows * m + cols, rows * m + (cols + 1) % m
    c, d = (rows + 1) % n * m + (cols + 1) % m, (rows + 1) % n * m + cols
    faces = np.stack([a, d, c, b], -1).reshape(-1, 4).tolist()
    if caps and ring and not closed:
        faces.append(list(range(m)))
        faces.append(list(range(n * m - 1, (n - 1) * m - 1, -1)))
    return Shape(points.reshape(-1, 3), faces)


def revolve(
    radius, x, *, sides: int = 24, start: float = 0.0, span: float = 2 * np.pi, caps: bool = True
) -> Shape:
    """Turn the outline (x, radius) about the X axis, over `span` radians from `start`.

    A full turn is closed with end polygons when `caps`; a part turn must be given a closed outline,
    and its two cut faces are then filled.
    """
    radius, x = np.asarray(radius, float), np.asarray(x, float)
    full = span > 2 * np.pi - 1e-6
    angle = start + np.linspace(0, span, sides, endpoint=not full)
    if full:  # sections along x
        points = np.stack(
            [
                np.repeat(x[:, None], sides, 1),
                radius[:, None] * np.cos(angle),
                radius[:, None] * np.sin(angle),
            ],
            -1,
        )
        return grid(points[::-1], caps=caps)
    points = np.stack(
        [
            np.repeat(x[None], sides, 0),
            np.cos(angle)[:, None] * radius,
            np.sin(angle)[:, None] * radius,
        ],
        -1,
    )
    return grid(points, caps=True)


def frames(path: Array, closed: bool = False) -> tuple[Array, Array]:
    """Two unit normals (n, 3) along `path` (n, 3), carried without twist (parallel transport)."""
    around = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    tangent = around if closed else np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-12
    normal = np.empty_like(path)
    first = np.cross(tangent[0], np.eye(3)[np.abs(tangent[0]).argmin()])
    for i, t in enumerate(tangent):
        first = first - t * (first @ t)
        first /= np.sqrt(first @ first) + 1e-12
        normal[i] = first
    return normal, np.cross(tangent, normal)


def tube(path: Array, radius, *, sides: int = 8, closed: bool = False, caps: bool = True) -> Shape:
    """Round sweep along `path` (n, 3); `radius` is a number, (n,) or (n, sides)."""
    path = np.asarray(path, float)
    normal, binormal = frames(path, closed)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    radius = np.asarray(radius, float)
    radius = np.broadcast_to(radius[:, None] if radius.ndim == 1 else radius, (len(path), sides))
    points = (
        path[:, None]
        + (radius * np.cos(angle))[..., None] * normal[:, None]
        + (radius * np.sin(angle))[..., None] * binormal[:, None]
    )
    return grid(points, closed=closed, caps=caps)


def extrude(outline: Array, length: float, *, sections: int = 2, caps: bool = True) -> Shape:
    """Section `outline` (m, 2) in Y, Z swept along X over `length`, centred on x = 0."""
    x = np.linspace(-length / 2, length / 2, sections)
    points = np.empty((sections, len(outline), 3))
    points[..., 0] = x[:, None]
    points[..., 1:] = outline
    return grid(points, caps=caps)


def rounded(width: float, height: float, corner: float, *, steps: int = 2) -> Array:
    """Outline (m, 2) of a rectangle with rounded corners, counter-clockwise."""
    corner = min(corner, 0.499 * min(width, height))
    turn = np.linspace(0, np.pi / 2, steps + 1)
    out = []
    for k, (sy, sz) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        a = turn + k * np.pi / 2
        centre = np.array([sy * (width / 2 - corner), sz * (height / 2 - corner)])
        out.append(centre + corner * np.stack([np.cos(a), np.sin(a)], -1))
    return np.concatenate(out)


def box(size, at=(0.0, 0.0, 0.0), *, corner: float = 0.0, sections: int = 2) -> Shape:
    """Box of `size` (x, y, z) at `at`, long edges along X rounded by `corner`."""
    outline = rounded(size[1], size[2], corner) if corner else rounded(size[1], size[2], 0, steps=0)
    return extrude(outline, size[0], sections=sections).moved(at)


def smooth_curve(points: Array, samples: int, *, closed: bool = False) -> Array:
    """Catmull-Rom curve (samples, 3) through control `points` (k, 3)."""
    p = np.asarray(points, float)
    if closed:
        p = np.concatenate([p[-1:], p, p[:2]])
    else:
        p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    spans = len(p) - 3
    t = np.linspace(0, spans, samples, endpoint=not closed)
    i = np.minimum(t.astype(int), spans - 1)
    t = (t - i)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    return 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )


def bend(verts: Array, angle: float, *, towards: int = 2) -> Array:
    """Bend points along X into an arc of `angle` radians towards axis 1 (Y) or 2 (Z)."""
    if abs(angle) < 1e-3:
        return verts
    out = verts.copy()
    curve = angle / max(np.ptp(verts[:, 0]), 1e-6)
    theta = curve * (verts[:, 0] - verts[:, 0].mean())
    arm = 1 / curve - verts[:, towards]
    out[:, 0] = arm * np.sin(theta)
    out[:, towards] = 1 / curve - arm * np.cos(theta)
    return out


def wobble(verts: Array, rng: np.random.Generator, size: float, wavelength: float) -> Array:
    """Shift points smoothly by about `size`, with bumps about `wavelength` long."""
    out = verts.copy()
    for _ in range(4):
        wave = rng.normal(size=3) * 2 * np.pi / wavelength / 1.7
        out += rng.normal(size=3) * size / 2 * np.sin(verts @ wave + rng.uniform(0, 7))[:, None]
    return out


def dents(verts: Array, rng: np.random.Generator, count: int, reach: float, depth: float) -> Array:
    """Push `count` soft dents of radius `reach` and up to `depth` towards the X axis."""
    out = verts.copy()
    for _ in range(count):
        centre = out[rng.integers(len(out))]
        inward = -centre * [0, 1, 1] / (np.linalg.norm(centre[1:]) + 1e-9)
        near = np.exp(-((out - centre) ** 2).sum(1) / (reach * rng.uniform(0.6, 1.2)) ** 2)
        out += near[:, None] * inward * depth * rng.uniform(0.4, 1)
    return out


class Parts:
    """Shapes being joined into one object; `add` says which material slot each one gets."""

    def __init__(self) -> None:
        self.verts: list[Array] = []
        self.faces: list[list[int]] = []
        self.slots: list[int] = []
        self.size = 0

    def add(self, shape: Shape, slot: int | list[int]) -> None:
        """Append a shape; `slot` is one number, or one for each face."""
        self.faces += [[i + self.size for i in face] for face in shape.faces]
        self.slots += [slot] * len(shape.faces) if isinstance(slot, int) else list(slot)
        self.verts.append(shape.verts)
        self.size += len(shape.verts)

    def points(self) -> Array:
        """All points so far, (n, 3)."""
        return np.concatenate(self.verts)

    def reshape(self, points: Array) -> None:
        """Put deformed points (n, 3) in place of the ones so far."""
        self.verts = [points]

    def join(
        self, name: str, materials: list[bpy.types.Material], *, sharp: float = 0.7
    ) -> bpy.types.Object:
        """Link one mesh object, centred on its points, edges over `sharp` radians left hard."""
        points = self.points()
        points = points - 0.5 * (points.mean(0) + (points.min(0) + points.max(0)) / 2)
        mesh = bpy.data.meshes.new(name)
        mesh.from_pydata(points.tolist(), [], self.faces)
        for material in materials:
            mesh.materials.append(material)
        mesh.polygons.foreach_set("material_index", np.asarray(self.slots, np.int32))
        mesh.polygons.foreach_set("use_smooth", np.ones(len(self.faces), bool))
        mesh.set_sharp_from_angle(angle=sharp)
        mesh.update()
        obj = bpy.data.objects.new(name, mesh)
        bpy.context.collection.objects.link(obj)
        return obj
