"""Insulated cable, but for its bare end.

Each builder takes a random generator and returns a `Piece`; every draw is a new size, proportion,
colour, state of wear and deformation. Lengths in metres, linear RGB colours.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth import Piece
from making.synth.impurities.copper_coil import len_of
from making.synth.impurities.surfaces import copper, pick
from making.synth.impurity_mesh import Array, Parts, Shape, smooth_curve, tube
from making.synth.materials import principled

JACKETS = (
    (0.80, 0.02, 0.02),
    (0.02, 0.08, 0.60),
    (0.90, 0.60, 0.02),
    (0.02, 0.35, 0.06),
    (0.90, 0.22, 0.01),
    (0.80, 0.80, 0.78),
    (0.40, 0.42, 0.44),
    (0.015, 0.015, 0.018),
    (0.35, 0.05, 0.45),
    (0.02, 0.40, 0.60),
)


def cable_path(rng: Generator, size: float, kind: str) -> Array:
    """Centre line (n, 3) of a cable lying loosely in a patch about `size` across."""
    if kind == "coil":
        turns = int(rng.integers(2, 5))
        angle = np.linspace(0, 2 * np.pi * turns, 36 * turns)
        knots = turns * 5
        r = size * 0.4 + size * 0.05 * np.interp(
            angle, np.linspace(0, angle[-1], knots), rng.normal(0, 1, knots)
        )
        z = (
            size
            * 0.045
            * np.interp(angle, np.linspace(0, angle[-1], knots), rng.normal(0, 1, knots))
        )
        path = np.stack([r * np.cos(angle), r * np.sin(angle) * rng.uniform(0.6, 1), z], -1)
        out = (path[-1] - path[-4]) / np.linalg.norm(path[-1] - path[-4])
        tail = path[-1] + out * np.linspace(0.02, size * rng.uniform(0.2, 0.5), 8)[:, None]
        return smooth_curve(np.concatenate([path[::4], tail[::3]]), 40 * turns)
    if kind == "tangle":  # a few slow harmonics: loops that cross each other
        t = np.linspace(0, 2 * np.pi * rng.uniform(0.75, 0.95), 130)
        path = np.zeros((len(t), 3))
        for harmonic, weight in ((1, 1.0), (2, 0.75), (3, 0.6), (4, 0.3)):
            wave = harmonic * t[:, None] + rng.uniform(0, 2 * np.pi, 3)
            path += weight * rng.uniform(0.6, 1.2, 3) * np.sin(wave)
        path /= np.ptp(path[:, :2], axis=0).max()
        return path * size * [1, 1, 0.28]
    steps = int(rng.integers(4, 7))  # S-curve
    x = np.linspace(-0.5, 0.5, steps) * size * 1.35
    y = size * 0.22 * rng.choice([-1, 1]) * (-1.0) ** np.arange(steps) * rng.uniform(0.2, 1, steps)
    return smooth_curve(np.stack([x, y, rng.normal(0, 0.012, steps)], -1), 16 * steps)


def bare_end(rng: Generator, at: Array, heading: Array, radius: float, reach: float) -> list[Shape]:
    """Strands of a stripped conductor fanning out from `at` along the unit vector `heading`."""
    shapes = []
    for _ in range(7):
        spread = rng.normal(0, 1, 3) * radius * 0.55
        t = np.linspace(-0.15, 1, 5)[:, None]
        path = at + heading * reach * t * rng.uniform(0.8, 1.1) + spread * (0.5 + t)
        shapes.append(tube(path, radius * 0.3, sides=5))
    return shapes


def cable(rng: Generator) -> Piece:
    """Insulated cable: coil, tangle or loose curve, single, bundled or multi-core, copper bare."""
    kind = str(rng.choice(["coil", "tangle", "curve"], p=[0.36, 0.34, 0.30]))
    size = float(rng.uniform(0.2, 0.36))
    radius = float(rng.uniform(0.0085, 0.0165))
    # Black and grey sheaths are real but few: a bare black cable is a hose to any eye.
    odds = np.array([1, 1, 1, 0.9, 1.1, 0.7, 0.45, 0.55, 0.5, 0.8])
    colours = rng.choice(len(JACKETS), 4, replace=False, p=odds / odds.sum())
    dirt = float(rng.uniform(0, 0.28))
    skins = [
        principled(
            f"cable_jacket{k}",
            rng,
            pick(rng, [JACKETS[c]]),
            roughness=0.42,
            noise=0.06,
            noise_scale=20,
            dirt=dirt,
            coat=0.15,
        )
        for k, c in enumerate(colours)
    ]
    metal = copper("cable_core", rng, patina=float(rng.uniform(0, 0.25)))
    parts = Parts()
    path = cable_path(rng, size, kind)
    strands = int(rng.choice([1, 2, 3, 4], p=[0.5, 0.24, 0.16, 0.1])) if kind != "tangle" else 1
    if kind == "tangle" and rng.random() < 0.65:
        radius *= 0.8
        other = cable_path(rng, size, "tangle")
        parts.add(tube(other, radius, sides=9), 1)
        for end, back in ((-1, -3), (0, 2)):
            heading = other[end] - other[back]
            heading /= np.linalg.norm(heading)
            for shape in bare_end(rng, other[end], heading, radius * 0.75, 0.045):
                parts.add(shape, 4)
    radius *= {1: 1.0, 2: 0.8, 3: 0.7, 4: 0.62}[strands]
    multicore = strands == 1 and rng.random() < 0.5
    offsets = (
        np.zeros((1, 2))
        if strands == 1
        else 1.1 * radius * np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]])[:strands]
    )
    for k, (u, v) in enumerate(offsets):
        line = path + np.array([0, 0, v])
        flat = np.gradient(path, axis=0)[:, [1, 0, 2]] * [-1, 1, 0]
        flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9
        line = line + u * flat + (rng.normal(0, 0.004, 3) if strands > 1 else 0)
        parts.add(tube(line, radius, sides=10), k)
        for end, back in ((-1, -3), (0, 2)):
            heading = line[end] - line[back]
            heading /= np.linalg.norm(heading)
            if multicore:
                for core in range(1, 4):
                    lean = rng.normal(0, 1, 3) * 0.6
                    t = np.linspace(-0.1, 1, 6)[:, None]
                    reach = rng.uniform(0.05, 0.09)
                    wire = line[end] + reach * t * (heading + lean * t * 0.7) + lean * radius * 0.4
                    parts.add(tube(wire, radius * 0.45, sides=7), core)
                    tip = wire[-1] - wire[-2]
                    tip /= np.linalg.norm(tip)
                    parts.add(
                        tube(
                            np.array([wire[-1], wire[-1] + tip * 0.015, wire[-1] + tip * 0.03]),
                            radius * 0.3,
                            sides=6,
                        ),
                        4,
                    )
            else:
                reach = rng.uniform(0.035, 0.07)
                for shape in bare_end(rng, line[end], heading, radius * 0.8, reach):
                    parts.add(shape, 4)
    obj = parts.join("cable", [*skins, metal])
    return Piece(
        obj, "cable", float(strands * len_of(path) * np.pi * radius**2 * 3500), "CONVEX_HULL"
    )
