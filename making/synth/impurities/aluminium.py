"""Aluminium: extruded profiles, frames, heat sinks, corrugated sheet.

Each builder takes a random generator and returns a `Piece`; every draw is a new size, proportion,
colour, state of wear and deformation. Lengths in metres, linear RGB colours.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth import Piece
from making.synth.impurities.surfaces import streaked
from making.synth.impurity_mesh import Parts, Shape, bend, box, extrude, grid, rotation, wobble
from making.synth.materials import principled


def walls(
    lines: list[tuple[float, float, float, float]], thick: float, length: float
) -> list[Shape]:
    """Extruded walls: each line (y0, z0, y1, z1) of the section becomes a strip `thick` wide."""
    shapes = []
    for y0, z0, y1, z1 in lines:
        a, b = np.array([y0, z0]), np.array([y1, z1])
        along = (b - a) / (np.linalg.norm(b - a) + 1e-9) * thick / 2
        across = np.array([-along[1], along[0]])
        outline = np.array(
            [a - along - across, b + along - across, b + along + across, a - along + across]
        )
        shapes.append(extrude(outline, length, sections=12))
    return shapes


def aluminium(rng: Generator) -> Piece:
    """Aluminium: T-slot, multi-chamber or channel extrusion, window frame corner, heat sink."""
    kind = rng.choice(
        ["tslot", "chamber", "channel", "heatsink", "frame", "sheet"],
        p=[0.22, 0.22, 0.12, 0.22, 0.14, 0.08],
    )
    tint = np.array([0.84, 0.90, 0.98]) * rng.uniform(0.92, 1.03)
    bright = streaked(
        principled(
            "aluminium",
            rng,
            tuple(np.clip(tint, 0, 1).tolist()),
            metallic=float(rng.uniform(0.72, 0.88)),
            roughness=float(rng.uniform(0.26, 0.4)),
            noise=0.06,
            noise_scale=160.0,
            bump=0.05,
            bump_scale=500.0,
            dirt=float(rng.uniform(0, 0.08)),
        )
    )
    inner = streaked(
        principled("aluminium_cut", rng, (0.80, 0.83, 0.88), metallic=0.8, roughness=0.3)
    )
    seal = principled("aluminium_gasket", rng, (0.015, 0.015, 0.017), roughness=0.8)
    parts = Parts()
    length = float(rng.uniform(0.18, 0.42))
    if kind == "tslot":
        s = float(rng.choice([0.03, 0.04, 0.045, 0.06])) * rng.uniform(1.0, 1.25)
        gap, lip, hub = 0.2 * s, 0.11 * s, 0.19 * s
        # Half of a quarter, from the slot's bottom on +Y to the corner; the rest by symmetry.
        half = np.array(
            [
                [hub, 0.0],
                [hub, 0.5 * hub],
                [s / 2 - lip, 0.3 * s],
                [s / 2 - lip, gap / 2],
                [s / 2, gap / 2],
                [s / 2, s / 2],
            ]
        )
        other = half[:-1, ::-1][::-1][:-1]
        one = np.concatenate([half, other])
        outline = []
        for k in range(4):
            c, n = np.cos(k * np.pi / 2), np.sin(k * np.pi / 2)
            outline.append(one @ np.array([[c, n], [-n, c]]))
        outline = np.concatenate(outline)
        units = int(rng.choice([1, 2], p=[0.65, 0.35]))
        for k in range(units):
            parts.add(
                extrude(outline, length, sections=12).moved((0, (k - (units - 1) / 2) * s, 0)), 0
            )
        mass = units * s * s * 0.42 * length * 2700
    elif kind == "chamber":
        w, h = float(rng.uniform(0.06, 0.12)), float(rng.uniform(0.035, 0.07))
        t = float(rng.uniform(0.0025, 0.004))
        y = np.linspace(-w / 2, w / 2, int(rng.integers(3, 5)))
        lines = [(-w / 2, -h / 2, w / 2, -h / 2), (-w / 2, h / 2, w / 2, h / 2)]
        lines += [(v, -h / 2, v, h / 2) for v in y]
        lines += [(-w / 2, 0.1 * h, y[1], 0.1 * h)] if rng.random() < 0.5 else []
        if rng.random() < 0.6:  # glazing flange
            f = 0.35 * w
            lines += [
                (w / 2, h / 2, w / 2 + f, h / 2),
                (w / 2 + f, h / 2, w / 2 + f, h / 2 - 0.12 * w),
            ]
        for shape in walls(lines, t, length):
            parts.add(shape, 0)
        for v in rng.uniform(-w * 0.42, w * 0.42, rng.integers(2, 5)):  # raised ribs
            for z in (-h / 2 - t * 0.6, h / 2 + t * 0.6):
                parts.add(box((length, 0.005, 0.006), (0, v, z), sections=12), 0)
        mass = sum(np.hypot(a - c, b - d) for a, b, c, d in lines) * t * length * 2700
    elif kind == "channel":
        w, h = float(rng.uniform(0.05, 0.1)), float(rng.uniform(0.04, 0.08))
        t, q = 0.0035, 0.012
        lines = [
            (-w / 2, 0, w / 2, 0),
            (-w / 2, 0, -w / 2, h),
            (w / 2, 0, w / 2, h),
            (-w / 2, h, -w / 2 + q, h),
            (w / 2, h, w / 2 - q, h),
        ]
        lines += [(v, 0, v, q) for v in np.linspace(-w / 2, w / 2, 6)[1:-1]]
        for shape in walls(lines, t, length):
            parts.add(shape, 0)
        mass = (w + 2 * h) * t * length * 2700 * 1.3
    elif kind == "heatsink":
        w, h = float(rng.uniform(0.08, 0.15)), float(rng.uniform(0.03, 0.06))
        length = float(rng.uniform(0.1, 0.2))
        parts.add(box((length, w, 0.009), sections=6), 0)
        count = int(rng.integers(6, 11))
        for v in np.linspace(-w / 2 + 0.003, w / 2 - 0.003, count):
            parts.add(box((length, 0.004, h), (0, v, h / 2), sections=6), 0)
        if rng.random() < 0.4:  # double-sided
            for v in np.linspace(-w / 2 + 0.003, w / 2 - 0.003, count):
                parts.add(box((length, 0.0032, h * 0.5), (0, v, -h / 4), sections=6), 0)
        mass = w * length * (0.009 + 0.35 * h) * 2700
    elif kind == "frame":
        w, h, t = float(rng.uniform(0.045, 0.07)), float(rng.uniform(0.03, 0.045)), 0.003
        lines = [
            (-w / 2, -h / 2, w / 2, -h / 2),
            (-w / 2, h / 2, w / 2, h / 2),
            (-w / 2, -h / 2, -w / 2, h / 2),
            (w / 2, -h / 2, w / 2, h / 2),
            (0, -h / 2, 0, h / 2),
            (-w / 2, h / 2, -w / 2, h * 0.95),
        ]
        arm = length * rng.uniform(0.5, 0.9)
        for k, size in enumerate((length, arm)):
            shift = (size / 2 - w / 2, 0, 0)
            turn = rotation("z", k * np.pi / 2)
            for shape in walls(lines, t, size):
                parts.add(shape.moved(shift).moved(turn=turn), 0)
            if rng.random() < 0.7:
                strip = box((size * 0.95, 0.006, 0.006), (0, w * 0.22, h / 2 + 0.003), sections=8)
                parts.add(strip.moved(shift).moved(turn=turn), 2)
        mass = (length + arm) * (2 * w + 3 * h) * t * 2700
    else:
        n, m = 26, 20
        x, y = np.linspace(-0.5, 0.5, n) * length, np.linspace(-0.5, 0.5, m) * length * 0.6
        z = 0.012 * np.abs(((x * 28) % 2) - 1)  # corrugated
        top = np.stack(
            [np.repeat(x[:, None], m, 1), np.repeat(y[None], n, 0), np.repeat(z[:, None], m, 1)], -1
        )
        for offset in (0.0, -0.0015):
            parts.add(grid(top + [0, 0, offset], ring=False), 0)
        mass = 0.4
    points = parts.points()
    if kind == "heatsink":
        points = wobble(points, rng, 0.002, 0.08)
    elif rng.random() < 0.7:
        points = wobble(points, rng, float(rng.uniform(0.001, 0.005)), 0.1)
        points = bend(points, float(rng.uniform(-1.0, 1.0)), towards=int(rng.integers(1, 3)))
        if rng.random() < 0.45:  # pinched by the shear
            where = rng.uniform(-0.45, 0.45) * length
            pinch = np.exp(-((points[:, 0] - where) ** 2) / 0.05**2) * rng.uniform(0.3, 0.75)
            points[:, 2] *= 1 - pinch
            points[:, 1] *= 1 + 0.25 * pinch
    parts.reshape(points)
    obj = parts.join("aluminium", [bright, inner, seal], sharp=0.5)
    return Piece(obj, "aluminium", float(np.clip(mass, 0.1, 6.0)), "CONVEX_HULL")
