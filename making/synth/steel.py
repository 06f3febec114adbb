"""Steel pieces: sixteen kinds, five finishes. Painted, galvanised and rusty steel and round steel
cans are the hard negatives of the benchmark, and are there on purpose.

Shapes are built as numpy vertices and faces (metres) from three generators: a section swept along
a path, a profile turned on a lathe, a sheet given thickness; then bent, dented and folded.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import bmesh
import bpy
import numpy as np
from numpy.random import Generator

from . import Piece
from .materials import principled

Mesh = tuple[np.ndarray, list[tuple[int, ...]]]  # vertices (n, 3) in metres, faces
Finishes = dict[str, list[bpy.types.Material]]

STEEL_DENSITY = 7850.0  # kg/m3
PAINTS = (  # linear RGB of what machines, cars and plant are painted with
    (0.45, 0.02, 0.02),
    (0.03, 0.10, 0.35),
    (0.60, 0.33, 0.02),
    (0.02, 0.17, 0.06),
    (0.62, 0.61, 0.58),
    (0.62, 0.13, 0.02),
    (0.025, 0.025, 0.028),
    (0.17, 0.27, 0.32),
    (0.42, 0.40, 0.33),
    (0.02, 0.25, 0.30),
)


# --- finishes -----------------------------------------------------------------------------------


def make_finishes(rng: Generator) -> Finishes:
    """The scene's own store of steel surfaces, shared by its pieces (a scene compiles ~20, not
    ~100 shaders). Wear and dirt vary from scene to scene."""
    wear, dust = rng.uniform(0.1, 0.9), rng.uniform(0.0, 0.45)
    grey = lambda low, high: (g := rng.uniform(low, high), g, g * rng.uniform(0.97, 1.04))  # noqa: E731
    paints = rng.permutation(len(PAINTS))[:6]
    return {
        "bare": [
            principled("bare", rng, grey(0.09, 0.20), metallic=0.95, noise=0.45,
                       roughness=rng.uniform(0.32, 0.55), rust=wear * rng.uniform(0.1, 0.5),
                       dirt=dust * rng.uniform(0.2, 1.0), bump=0.4)
            for _ in range(4)
        ],
        "rusted": [
            principled("rusted", rng, grey(0.07, 0.14), metallic=0.6, noise=0.4, roughness=0.65,
                       rust=rng.uniform(0.6, 1.0), dirt=dust * rng.uniform(0.0, 0.7), bump=1.2)
            for _ in range(5)
        ],
        "painted": [
            principled("painted", rng, PAINTS[i], noise=0.12, roughness=rng.uniform(0.3, 0.6),
                       chips=rng.uniform(0.1, 0.5), rust=wear * rng.uniform(0.0, 0.45),
                       dirt=dust * rng.uniform(0.2, 1.0), coat=rng.uniform(0.0, 0.4), bump=0.2)
            for i in paints
        ],
        "galvanised": [
            principled("galvanised", rng, grey(0.22, 0.31), metallic=0.8, spangle=0.7,
                       roughness=rng.uniform(0.36, 0.5), rust=wear * rng.uniform(0.0, 0.3),
                       dirt=dust * rng.uniform(0.2, 0.8))
            for _ in range(2)
        ],
        "oily": [
            principled("oily", rng, grey(0.025, 0.06), metallic=0.7, noise=0.5, bump=0.3,
                       roughness=rng.uniform(0.15, 0.3), rust=wear * 0.25,
                       dirt=dust * 0.5, coat=0.6)
            for _ in range(2)
        ],
    }  # fmt: skip


# --- shape generators ---------------------------------------------------------------------------


def join(*meshes: Mesh) -> Mesh:
    """Several meshes as one."""
    vertices, faces, start = [], [], 0
    for v, f in meshes:
        vertices.append(v)
        faces += [tuple(i + start for i in face) for face in f]
        start += len(v)
    return np.concatenate(vertices), faces


def circle(radius: float, n: int) -> np.ndarray:
    """(n, 2) points, counter-clockwise."""
    a = np.arange(n) * (2 * pi / n)
    return radius * np.stack([np.cos(a), np.sin(a)], axis=1)


def frames(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit normals at each point of a path (n, 3), carried along without twist."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-12
    up = np.eye(3)[np.argmin(np.abs(tangent[0]))]
    first = []
    for t in tangent:
        up = up - t * (up @ t)
        up = up / (np.linalg.norm(up) + 1e-12)
        first.append(up)
    first = np.array(first)
    return first, np.cross(tangent, first)


def place(path: np.ndarray, sections: np.ndarray) -> np.ndarray:
    """Sections (n, m, 2) or (m, 2) set along a path (n, 3): vertices (n * m, 3)."""
    a, b = frames(path)
    sections = np.broadcast_to(sections, (len(path), *sections.shape[-2:]))
    rings = path[:, None] + sections[..., :1] * a[:, None] + sections[..., 1:] * b[:, None]
    return rings.reshape(-1, 3)


def walls(n: int, m: int, flip: bool = False) -> list[tuple[int, ...]]:
    """Quads between n rings of m vertices."""
    faces = []
    for i in range(n - 1):
        for j in range(m):
            k = (j + 1) % m
            quad = (i * m + j, i * m + k, (i + 1) * m + k, (i + 1) * m + j)
            faces.append(quad[::-1] if flip else quad)
    return faces


def bar(path: np.ndarray, sections: np.ndarray) -> Mesh:
    """Solid bar: a closed section swept along a path, capped."""
    n, m = len(path), sections.shape[-2]
    caps = [tuple(range(m))[::-1], tuple(range((n - 1) * m, n * m))]
    return place(path, sections), walls(n, m) + caps


def tube(path: np.ndarray, outer: np.ndarray, inner: np.ndarray) -> Mesh:
    """Hollow bar; outer and inner sections have equally many points."""
    n, m = len(path), len(outer)
    faces = walls(n, m) + [tuple(i + n * m for i in f) for f in walls(n, m, flip=True)]
    for end, flip in ((0, True), ((n - 1) * m, False)):
        for j in range(m):
            k = (j + 1) % m
            quad = (end + j, end + k, end + k + n * m, end + j + n * m)
            faces.append(quad[::-1] if flip else quad)
    return np.concatenate([place(path, outer), place(path, inner)]), faces


def lathe(profile: np.ndarray, segments: int = 32) -> Mesh:
    """Profile (n, 2) of radius and height, turned about z."""
    a = np.arange(segments) * (2 * pi / segments)
    ring = np.stack([np.cos(a), np.sin(a), np.zeros_like(a)], axis=1)
    vertices = profile[:, None, :1] * ring + profile[:, None, 1:] * np.array([0.0, 0.0, 1.0])
    return vertices.reshape(-1, 3), walls(len(profile), segments)


def sheet(grid: np.ndarray, thickness: float) -> Mesh:
    """A surface given as a grid of points (h, w, 3), made solid."""
    h, w, _ = grid.shape
    normal = np.cross(np.gradient(grid, axis=0), np.gradient(grid, axis=1))
    normal /= np.linalg.norm(normal, axis=2, keepdims=True) + 1e-12
    front, back = grid + normal * thickness / 2, grid - normal * thickness / 2
    index = np.arange(h * w).reshape(h, w)
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], axis=-1)
    faces = [tuple(q) for q in quads.reshape(-1, 4).tolist()]
    faces += [tuple(i + h * w for i in f[::-1]) for f in faces]
    rim = np.concatenate([index[0, :-1], index[:-1, -1], index[-1, :0:-1], index[:0:-1, 0]])
    for a, b in zip(rim.tolist(), np.roll(rim, -1).tolist(), strict=True):
        faces.append((a, b, b + h * w, a + h * w))
    return np.concatenate([front.reshape(-1, 3), back.reshape(-1, 3)]), faces


def line(length: float, n: int = 2) -> np.ndarray:
    """A straight path (n, 3) along x, centred."""
    path = np.zeros((n, 3))
    path[:, 0] = np.linspace(-length / 2, length / 2, n)
    return path


def bent(length: float, n: int, rng: Generator, sag: float) -> np.ndarray:
    """A path along x that bows out by about sag * length, in a few random waves."""
    path = line(length, n)
    t = np.linspace(-1, 1, n)
    for axis in (1, 2):
        path[:, axis] = sag * length * rng.normal() * (t**2 - 0.5)
        path[:, axis] += 0.3 * sag * length * rng.normal() * np.sin(pi * t * rng.uniform(0.5, 1.5))
    return path


def dent(vertices: np.ndarray, rng: Generator, amount: float) -> np.ndarray:
    """Smooth random displacement of about `amount` of the size, the same for near points."""
    size = np.ptp(vertices, axis=0).max()
    moved = vertices.copy()
    for _ in range(4):
        direction, wave = rng.normal(size=3), rng.normal(size=3) * rng.uniform(2, 7) / size
        phase = rng.uniform(0, 2 * pi)
        moved += direction * (amount * size / 4) * np.sin(vertices @ wave + phase)[:, None]
    return moved


def fold(points: np.ndarray, flat: np.ndarray, rng: Generator, angle: float) -> np.ndarray:
    """Fold a sheet (n, 3) once along a random line of its flat pattern (n, 2), by `angle` rad."""
    theta = rng.uniform(0, pi)
    normal = np.array([np.cos(theta), np.sin(theta)])
    distance = (flat - flat[rng.integers(len(flat))] * 0.6) @ normal
    near = np.abs(distance) < np.quantile(np.abs(distance), 0.15)
    seam = points[near]
    centre = seam.mean(axis=0)
    axis = np.linalg.svd(seam - centre, full_matrices=False)[2][0]
    radius = rng.uniform(0.01, 0.06) * np.ptp(flat, axis=0).max()
    turn = angle * np.clip(distance / radius, 0, 1)[:, None]
    r = points - centre
    along = (r @ axis)[:, None] * axis
    turned = along + (r - along) * np.cos(turn) + np.cross(axis, r) * np.sin(turn)
    return centre + turned


def offcut(rng: Generator, length: float, width: float, n: int, ragged: float) -> np.ndarray:
    """Flat grid (n, n, 3) of a cut sheet with uneven, ragged edges."""
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, n), np.linspace(-0.5, 0.5, n))
    edge = lambda: 1 + ragged * np.convolve(rng.normal(size=n + 2), [0.3, 0.5, 0.3], "valid")  # noqa: E731
    x = u * length * edge()[:, None] + v * length * rng.normal() * 0.2
    y = v * width * edge()[None, :] + u * width * rng.normal() * 0.2
    return np.stack([x, y, np.zeros_like(x)], axis=-1)


# --- kinds of piece: each takes the generator and a size factor -----------------------------------


def plate(rng: Generator, s: float) -> Mesh:
    """Thick plate cut off with a torch: four to seven corners."""
    corners = rng.integers(4, 8)
    angles = np.sort(
        np.linspace(0, 2 * pi, corners, endpoint=False) + rng.uniform(-0.3, 0.3, corners)
    )
    radius = s * rng.uniform(0.09, 0.24) * rng.uniform(0.75, 1.2, corners)
    outline = radius[:, None] * np.stack([np.cos(angles), rng.uniform(0.5, 1) * np.sin(angles)], 1)
    return bar(line(s * rng.uniform(0.004, 0.014)), outline)


def bent_sheet(rng: Generator, s: float) -> Mesh:
    """Sheet offcut with one or two bends."""
    length, width = s * rng.uniform(0.2, 0.55), s * rng.uniform(0.1, 0.3)
    grid = offcut(rng, length, width, 18, 0.03)
    bow = rng.uniform(-1, 1) * 4
    grid[..., 2] = bow * (grid[..., 0] ** 2) / max(length, 0.1) * 0.5
    flat, points = grid[..., :2].reshape(-1, 2), grid.reshape(-1, 3)
    for _ in range(rng.integers(1, 3)):
        points = fold(points, flat, rng, rng.choice([-1, 1]) * rng.uniform(0.3, 1.6))
    return sheet(dent(points, rng, 0.02).reshape(grid.shape), s * rng.uniform(0.0015, 0.004))


def shred(rng: Generator, s: float) -> Mesh:
    """A crumpled piece out of the shredder: the typical sight in shredded scrap."""
    length, width = s * rng.uniform(0.16, 0.42), s * rng.uniform(0.1, 0.28)
    grid = offcut(rng, length, width, 26, 0.10)
    flat, points = grid[..., :2].reshape(-1, 2), grid.reshape(-1, 3)
    for _ in range(rng.integers(3, 7)):
        points = fold(points, flat, rng, rng.choice([-1, 1]) * rng.uniform(0.5, 2.6))
    points = dent(dent(points, rng, 0.06), rng, 0.03)
    return sheet(points.reshape(grid.shape), s * rng.uniform(0.001, 0.003))


def ball(rng: Generator, s: float) -> Mesh:
    """Sheet beaten into a lump by the hammers of the mill."""
    length = s * rng.uniform(0.2, 0.4)
    grid = offcut(rng, length, length * rng.uniform(0.6, 1), 30, 0.06)
    flat, points = grid[..., :2].reshape(-1, 2), grid.reshape(-1, 3)
    for _ in range(9):
        points = fold(points, flat, rng, rng.choice([-1, 1]) * rng.uniform(1.0, 2.4))
    return sheet(dent(points, rng, 0.08).reshape(grid.shape), s * rng.uniform(0.001, 0.002))


def i_beam(rng: Generator, s: float) -> Mesh:
    """I-beam, a little bent."""
    h, b = s * rng.uniform(0.05, 0.11), s * rng.uniform(0.04, 0.09)
    t = s * rng.uniform(0.005, 0.009)
    x, y, w = b / 2, h / 2, t / 2
    outline = np.array([(-x, -y), (x, -y), (x, t - y), (w, t - y), (w, y - t), (x, y - t), (x, y),
                        (-x, y), (-x, y - t), (-w, y - t), (-w, t - y), (-x, t - y)])  # fmt: skip
    return bar(bent(s * rng.uniform(0.2, 0.65), 12, rng, 0.03), outline)


def channel(rng: Generator, s: float) -> Mesh:
    """U channel or angle iron."""
    h, b, t = (
        s * rng.uniform(0.03, 0.08),
        s * rng.uniform(0.03, 0.07),
        s * rng.uniform(0.003, 0.007),
    )
    if rng.random() < 0.5:
        outline = [(0, 0), (b, 0), (b, t), (t, t), (t, h - t), (b, h - t), (b, h), (0, h)]
    else:
        outline = [(0, 0), (b, 0), (b, t), (t, t), (t, h), (0, h)]
    return bar(bent(s * rng.uniform(0.2, 0.7), 12, rng, 0.05), np.array(outline) - (b / 3, h / 2))


def round_tube(rng: Generator, s: float) -> Mesh:
    """Round tube, half of them squeezed at one end."""
    r = s * rng.uniform(0.012, 0.045)
    path = bent(s * rng.uniform(0.18, 0.7), 16, rng, 0.05)
    v, f = tube(path, circle(r, 24), circle(r * rng.uniform(0.8, 0.92), 24))
    if rng.random() < 0.5:  # squeezed flat at one end
        squeeze = np.clip((v[:, 0] - v[:, 0].min()) / np.ptp(v[:, 0]) * 2, 0.25, 1)
        v[:, 1] *= squeeze
    return v, f


def square_tube(rng: Generator, s: float) -> Mesh:
    """Rectangular hollow section."""
    a, b, t = s * rng.uniform(0.012, 0.03), s * rng.uniform(0.012, 0.03), s * 0.003
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    return tube(
        bent(s * rng.uniform(0.2, 0.7), 12, rng, 0.03), corners * (a, b), corners * (a - t, b - t)
    )


def rebar(rng: Generator, s: float) -> Mesh:
    """Ribbed reinforcing bar, bent."""
    n, r = 120, s * rng.uniform(0.005, 0.011)
    swell = 1 + 0.12 * (np.arange(n) % 3 == 0)
    sections = circle(r, 10)[None] * swell[:, None, None]
    return bar(bent(s * rng.uniform(0.3, 0.8), n, rng, 0.10), sections)


def bolt(rng: Generator, s: float) -> Mesh:
    """Bolt with thread and hexagon head, or a nut."""
    r = s * rng.uniform(0.008, 0.016)
    if rng.random() < 0.3:
        around = circle(r, 24)
        hexagon = circle(2 * r, 6)
        outer = np.concatenate([np.linspace(a, b, 4, endpoint=False) for a, b in
                                zip(hexagon, np.roll(hexagon, -1, 0), strict=True)])  # fmt: skip
        return tube(line(1.7 * r), outer, around)
    length = r * rng.uniform(6, 14)
    n = 60
    thread = r * (1 - 0.12 * (np.arange(n) % 2) * (np.arange(n) < 36))
    shank = bar(line(length, n), circle(1.0, 14)[None] * thread[:, None, None])
    head_path = line(1.3 * r) + (length / 2 + 0.6 * r, 0, 0)
    return join(shank, bar(head_path, circle(1.9 * r, 6)))


def gear(rng: Generator, s: float) -> Mesh:
    """Toothed wheel with a hub."""
    r, teeth = s * rng.uniform(0.04, 0.10), int(rng.integers(12, 28))
    crown = np.tile([1.0, 1.0, 0.86, 0.86], teeth)
    outer = circle(r, 4 * teeth) * crown[:, None]
    hole = circle(r * rng.uniform(0.2, 0.4), 4 * teeth)
    hub = tube(line(r * 0.6), circle(0.5 * r, 4 * teeth), hole)
    return join(tube(line(r * rng.uniform(0.2, 0.4)), outer, hole), hub)


def disc(rng: Generator, s: float) -> Mesh:
    """Brake disc, flange or a large washer."""
    r, t, hole = s * rng.uniform(0.06, 0.15), s * rng.uniform(0.008, 0.02), rng.uniform(0.2, 0.35)
    face = tube(line(t), circle(r, 40), circle(r * hole, 40))
    if rng.random() < 0.5:
        return face
    hat = tube(line(3.5 * t) + (1.5 * t, 0, 0), circle(0.55 * r, 40), circle(0.5 * r, 40))
    lid = tube(line(0.5 * t) + (3 * t, 0, 0), circle(0.55 * r, 40), circle(r * hole, 40))
    return join(face, hat, lid)


def can(rng: Generator, s: float) -> Mesh:
    """Food or paint tin: ribbed, open on one side, dented; round like a spray can, but steel,
    squat and without dome or valve."""
    r = rng.uniform(0.035, 0.075)
    h = r * rng.uniform(1.2, 2.6)
    z = np.linspace(0, h, 34)
    rib = 1 + 0.022 * np.sin(z / h * pi * rng.integers(10, 20)) * (np.abs(z / h - 0.5) < 0.32)
    rib[[0, -1]] = 1.04
    outside = np.stack([r * rib, z], 1)
    inside = outside[::-1] * (0.965, 1) + (0, 0)
    inside[-1] = (0.9 * r, 0.003)
    profile = np.concatenate([[(1e-4, 0)], [(0.9 * r, 0)], outside, inside, [(1e-4, 0.003)]])
    v, f = lathe(profile)
    v = dent(v, rng, rng.uniform(0.01, 0.09))
    if rng.random() < 0.4:
        v[:, 0] *= rng.uniform(0.35, 0.7)  # trodden flat
    return v, f


def lid(rng: Generator, s: float) -> Mesh:
    """Drum lid or can end, with rings and a rolled rim."""
    r = s * rng.uniform(0.06, 0.20)
    radius = np.array([1e-3, 0.3, 0.55, 0.58, 0.8, 0.83, 0.93, 0.95, 1.0, 1.0, 0.96])
    height = np.array([0, 0, 0, 0.02, 0.02, 0, 0, 0.07, 0.07, 0.03, 0.03])
    profile = np.stack([radius, height], 1) * r
    profile = np.concatenate([profile, profile[-2:0:-1] * (0.995, 1) - (0, 0.012 * r)])
    v, f = lathe(profile, 40)
    return dent(v, rng, rng.uniform(0.0, 0.08)), f


def turnings(rng: Generator, s: float) -> Mesh:
    """Swarf: a knot of curled ribbons off the lathe."""
    parts = []
    for _ in range(rng.integers(3, 8)):
        n, r = 150, s * rng.uniform(0.008, 0.022)
        turns = rng.uniform(5, 11)
        a = np.linspace(0, turns * 2 * pi, n)
        wobble = r * (1 + 0.3 * np.sin(a * rng.uniform(0.05, 0.2) + rng.uniform(0, 6)))
        curl = np.stack([wobble * np.cos(a), wobble * np.sin(a), np.zeros(n)], 1)
        spine = bent(s * rng.uniform(0.08, 0.26), n, rng, 0.35)[:, [1, 2, 0]]
        ribbon = np.stack([curl + spine, curl * 0.9 + spine + (0, 0, r * 0.8)], axis=1)
        v, f = sheet(ribbon, s * 0.0008)
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        parts.append((v @ turn + rng.normal(size=3) * s * 0.025, f))
    return join(*parts)


def strap(rng: Generator, s: float) -> Mesh:
    """Bent strip or strapping band."""
    n = 60
    path = bent(s * rng.uniform(0.3, 0.7), n, rng, 0.3)
    w = s * rng.uniform(0.006, 0.02)
    return bar(path, np.array([(-w, -0.0012), (w, -0.0012), (w, 0.0012), (-w, 0.0012)]))


# name: (maker, weight in a heap, weight on a belt, collision shape, finishes and their weights)
Maker = Callable[[Generator, float], Mesh]
ANY = {"bare": 0.30, "rusted": 0.32, "painted": 0.20, "galvanised": 0.08, "oily": 0.10}
HEAVY = {"bare": 0.30, "rusted": 0.45, "painted": 0.15, "oily": 0.10}
THIN = {"bare": 0.25, "rusted": 0.22, "painted": 0.33, "galvanised": 0.20}
KINDS: dict[str, tuple[Maker, float, float, str, dict[str, float]]] = {
    "plate": (plate, 10, 4, "CONVEX_HULL", HEAVY),
    "bent_sheet": (bent_sheet, 12, 8, "CONVEX_HULL", THIN),
    "shred": (shred, 14, 28, "CONVEX_HULL", THIN),
    "ball": (ball, 6, 14, "CONVEX_HULL", THIN),
    "i_beam": (i_beam, 6, 1, "CONVEX_HULL", HEAVY),
    "channel": (channel, 9, 4, "CONVEX_HULL", ANY),
    "round_tube": (round_tube, 8, 4, "CONVEX_HULL", ANY),
    "square_tube": (square_tube, 7, 3, "CONVEX_HULL", ANY),
    "rebar": (rebar, 6, 2, "CONVEX_HULL", HEAVY),
    "bolt": (bolt, 5, 5, "CONVEX_HULL", HEAVY),
    "gear": (gear, 5, 3, "CONVEX_HULL", {"bare": 0.4, "rusted": 0.3, "oily": 0.3}),
    "disc": (disc, 5, 3, "CONVEX_HULL", {"bare": 0.4, "rusted": 0.5, "oily": 0.1}),
    "can": (can, 5, 5, "CONVEX_HULL", THIN),
    "lid": (lid, 4, 3, "CONVEX_HULL", THIN),
    "turnings": (turnings, 6, 5, "CONVEX_HULL", {"bare": 0.6, "rusted": 0.2, "oily": 0.2}),
    "strap": (strap, 4, 2, "CONVEX_HULL", ANY),
}


def to_object(name: str, mesh: Mesh, material: bpy.types.Material) -> bpy.types.Object:
    """Blender object of a mesh, origin at the centre of its bounds, smooth but for real edges."""
    vertices, faces = mesh
    vertices = vertices - (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    data = bpy.data.meshes.new(name)
    data.from_pydata(vertices.tolist(), [], faces)
    data.shade_smooth()
    data.set_sharp_from_angle(angle=0.6)
    data.materials.append(material)
    obj = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(obj)
    return obj


def steel_mass(data: bpy.types.Mesh) -> float:
    """Mass in kg, from the volume the faces enclose."""
    work = bmesh.new()
    work.from_mesh(data)
    volume = abs(work.calc_volume(signed=True))
    work.free()
    return max(volume * STEEL_DENSITY, 0.02)


def build(rng: Generator, finishes: Finishes, *, setting: str) -> Piece:
    """One random piece of steel for a ``heap`` or a ``belt`` (shredded: smaller, more crumpled)."""
    names = list(KINDS)
    weights = np.array([KINDS[name][2 if setting == "belt" else 1] for name in names], float)
    name = names[rng.choice(len(names), p=weights / weights.sum())]
    maker, _, _, shape, coats = KINDS[name]
    size = rng.uniform(0.45, 0.85) if setting == "belt" else rng.uniform(0.7, 1.3)
    coat = rng.choice(list(coats), p=np.array(list(coats.values())) / sum(coats.values()))
    material = finishes[coat][rng.integers(len(finishes[coat]))]
    obj = to_object(name, maker(rng, size), material)
    return Piece(obj, "steel", steel_mass(obj.data), shape)
