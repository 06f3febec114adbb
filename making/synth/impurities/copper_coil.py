"""Bare copper: coils, tangles, pipes, bundles of wire.

Each builder takes a random generator and returns a `Piece`; every draw is a new size, proportion,
colour, state of wear and deformation. Lengths in metres, linear RGB colours.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth import Piece
from making.synth.impurities.surfaces import copper
from making.synth.impurity_mesh import Parts, bend, rotation, smooth_curve, tube, wobble
from making.synth.materials import principled


def ring_path(
    rng: Generator, radius: float, thick: float, turns: int, per_turn: int, flat: float = 1.0
) -> np.ndarray:
    """Wire wound `turns` times round Z in a bundle about `thick` in radius, (n, 3)."""
    angle = np.linspace(0, 2 * np.pi * turns, turns * per_turn)
    knots = turns * 3 + 1
    stations = np.linspace(0, angle[-1], knots)
    drift = [np.interp(angle, stations, rng.normal(0, 0.55, knots)) for _ in range(2)]
    r = radius + thick * drift[0]
    return np.stack([r * np.cos(angle), r * np.sin(angle) * flat, thick * drift[1]], -1)


def len_of(path: np.ndarray) -> float:
    """Length in metres of the polyline `path` (n, 3)."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def copper_coil(rng: Generator) -> Piece:
    """Bare copper: wound coil, tangled wire, bent pipe, or a bundle of strands."""
    kind = rng.choice(
        ["coil", "tangle", "pipe", "bundle", "spiral"], p=[0.34, 0.22, 0.18, 0.14, 0.12]
    )
    patina = float(rng.choice([0.0, 0.15, 0.4, 0.75], p=[0.4, 0.25, 0.2, 0.15]))
    if kind == "pipe":  # a dull brown pipe cannot be told from a rusty steel tube
        patina = min(patina, 0.2)
    metal = copper("copper", rng, patina=patina)
    darker = copper("copper_dark", rng, patina=min(1.0, patina + 0.35))
    green = principled(
        "copper_verdigris", rng, (0.15, 0.25, 0.17), roughness=0.85, noise=0.35, noise_scale=40
    )
    parts = Parts()
    if kind == "coil":
        radius, thick = float(rng.uniform(0.06, 0.13)), float(rng.uniform(0.010, 0.026))
        wire = float(rng.uniform(0.0026, 0.0045))
        turns = int(np.clip((thick / wire) ** 2 * 1.2, 18, 40))
        parts.add(tube(ring_path(rng, radius, thick, turns, 22), wire, sides=5), 0)
        for _ in range(2):  # loose tails
            a = rng.uniform(0, 2 * np.pi)
            start = np.array([radius * np.cos(a), radius * np.sin(a), 0])
            steps = rng.normal(0, 0.04, (4, 3)) * [1, 1, 0.4]
            parts.add(tube(smooth_curve(start + np.cumsum(steps, 0), 24), wire, sides=5), 0)
        for a in rng.uniform(0, 2 * np.pi, rng.integers(0, 4)):  # bindings of the same wire
            t = np.linspace(0, 2 * np.pi, 10, endpoint=False)
            hoop = np.stack(
                [radius + 1.35 * thick * np.cos(t), 0 * t, 1.35 * thick * np.sin(t)], -1
            )
            parts.add(tube(hoop @ rotation("z", a).T, wire * 1.3, sides=5, closed=True), 1)
        mass = turns * 2 * np.pi * radius * np.pi * wire**2 * 8900
    elif kind == "tangle":
        size, wire = float(rng.uniform(0.07, 0.13)), float(rng.uniform(0.002, 0.004))
        for slot in (0, 0, 0, 1):
            points = rng.normal(0, 1, (34, 3))
            points /= np.linalg.norm(points, axis=1, keepdims=True) / rng.uniform(0.45, 1, (34, 1))
            path = smooth_curve(points * size * [1, 0.85, 0.42], 170)
            parts.add(tube(path, wire * rng.uniform(0.8, 1.3), sides=5), slot)
        mass = 4 * len_of(path) * np.pi * wire**2 * 8900
    elif kind == "pipe":
        radius = float(rng.uniform(0.009, 0.018))
        bends = int(rng.integers(2, 6))
        points = [np.zeros(3)]
        heading = 0.0
        for _ in range(bends):
            step = rng.uniform(0.07, 0.16)
            points.append(
                points[-1] + step * np.array([np.cos(heading), np.sin(heading), rng.normal(0, 0.1)])
            )
            heading += rng.choice([-1, 1]) * rng.uniform(0.6, 1.7)
        path = smooth_curve(np.array(points), 16 * bends)
        squash = np.clip(rng.normal(1, 0.06, (len(path), 1)), 0.8, 1.1)
        wall = tube(path, (radius * squash).ravel(), sides=12, caps=False)
        band = np.arange(len(wall.faces)) // 12 // 5
        parts.add(wall, [int(k) for k in (rng.random(band.max() + 1) < 0.2)[band]])
        parts.add(tube(path, (radius * squash * 0.82).ravel(), sides=12), 1)
        for end in (path[:3], path[-3:]):  # a fitting or a cut rim at each end
            parts.add(tube(end, radius * rng.choice([1.04, 1.25]), sides=12, caps=False), 0)
        mass = len_of(path) * 2 * np.pi * radius * 0.0012 * 8900
    elif kind == "bundle":
        length, strands = float(rng.uniform(0.2, 0.4)), int(rng.integers(14, 28))
        wire = float(rng.uniform(0.003, 0.005))
        for k in range(strands):
            x = np.linspace(-0.5, 0.5, 9) * length * rng.uniform(0.8, 1.05)
            spread = 0.016 + 0.03 * np.abs(x / length) ** 2 * 4
            offset = rng.normal(0, 1, 2)
            path = np.stack([x, spread * offset[0], spread * offset[1] * 0.7], -1)
            path += rng.normal(0, 0.004, path.shape)
            parts.add(tube(smooth_curve(path, 26), wire, sides=5), int(k % 5 == 0))
        parts.reshape(bend(parts.points(), float(rng.uniform(-2.4, 2.4)), towards=1))
        mass = strands * length * np.pi * wire**2 * 8900
    else:  # flat spiral of soft pipe or strip
        turns = int(rng.integers(4, 8))
        radius = float(rng.uniform(0.006, 0.010))
        angle = np.linspace(0, 2 * np.pi * turns, turns * 26)
        r = 0.03 + angle / (2 * np.pi) * radius * 2.2
        lift = wobble(np.stack([angle, r, r], -1), rng, 0.006, 9.0)[:, 2] - r
        path = np.stack([r * np.cos(angle), r * np.sin(angle), lift], -1)
        parts.add(tube(path, radius, sides=8), 0)
        mass = len_of(path) * 2 * np.pi * radius * 0.001 * 8900
    parts.reshape(wobble(parts.points(), rng, float(rng.uniform(0.004, 0.02)), 0.25))
    if kind in ("coil", "spiral") and rng.random() < 0.5:  # trodden flat
        parts.reshape(bend(parts.points() * [1, rng.uniform(0.5, 0.9), 1], rng.uniform(-0.9, 0.9)))
    if rng.random() < 0.18:
        points, slots = parts.points(), np.array(parts.slots)
        centre = points[rng.integers(len(points))]
        first = np.array([face[0] for face in parts.faces])
        slots[np.linalg.norm(points[first] - centre, axis=1) < 0.05] = 2
        parts.slots = slots.tolist()
    obj = parts.join("copper_coil", [metal, darker, green])
    return Piece(obj, "copper_coil", float(np.clip(mass, 0.2, 8.0)), "CONVEX_HULL")
