"""Rubber: pieces of tyre, hoses, mats.

Each builder takes a random generator and returns a `Piece`; every draw is a new size, proportion,
colour, state of wear and deformation. Lengths in metres, linear RGB colours.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth import Piece
from making.synth.impurity_mesh import Parts, bend, box, grid, smooth_curve, tube, wobble
from making.synth.materials import principled


def tyre(rng: Generator, parts: Parts) -> float:
    """Tyre, whole or a torn piece, tread blocks on the crown; returns the rubber's volume."""
    outer = float(rng.uniform(0.11, 0.18))
    width = outer * float(rng.uniform(0.45, 0.65))
    depth = outer * float(rng.uniform(0.32, 0.42))
    wall = outer * 0.07
    whole = rng.random() < 0.4
    span = 2 * np.pi if whole else float(rng.uniform(1.1, 3.6))
    pitch = int(rng.integers(26, 40))  # tread blocks round the whole tyre
    sides = max(24, int(pitch * 4 * span / (2 * np.pi)))
    # Section, from one bead over the crown to the other and back inside: (x, radius, tread weight).
    u = np.linspace(-1, 1, 13)
    out_x = width / 2 * np.sign(u) * np.abs(u) ** 0.75
    out_r = outer - depth * np.abs(u) ** 4.5
    crown = np.abs(u) < 0.86
    in_x, in_r = out_x[::-1] * 0.86, out_r[::-1] - wall * np.where(crown[::-1], 1.0, 0.1)
    x = np.concatenate([out_x, in_x])
    r = np.concatenate([out_r, in_r])
    weight = np.concatenate([crown * 1.0, 0 * in_x])
    lane = np.concatenate([np.arange(13), np.arange(13)])
    full = np.linspace(0, span, sides, endpoint=not whole)
    phase = full[:, None] * pitch / (2 * np.pi) + np.abs(u[np.minimum(lane, 12)])[
        None
    ] * rng.uniform(0.3, 0.9)
    block = ((phase % 1.0) < 0.6) & (lane % 4 != 0)[None]
    radius = r[None] + weight[None] * outer * 0.055 * block
    points = np.stack(
        [
            np.repeat(x[None], sides, 0),
            radius * np.cos(full)[:, None],
            radius * np.sin(full)[:, None],
        ],
        -1,
    )
    parts.add(grid(points, closed=whole), 0)
    if not whole:  # torn ends, flattened a little
        p = parts.points()
        parts.reshape(wobble(p, rng, 0.008, 0.25))
    else:
        parts.reshape(parts.points() * [1, rng.uniform(0.75, 1.0), 1])
    return span * outer * (width + 1.2 * depth) * wall * 1.5


def rubber(rng: Generator, kind: str | None = None) -> Piece:
    """Rubber of a kind, drawn when None: tyre or piece of one, ribbed hose with open ends, ribbed
    mat or belt strip."""
    if kind is None:
        kind = str(rng.choice(["tyre", "hose", "mat"], p=[0.5, 0.28, 0.22]))
    shade = float(rng.uniform(0.010, 0.028))
    black = principled(
        "rubber",
        rng,
        (shade, shade, shade * 1.03),
        roughness=float(rng.uniform(0.68, 0.9)),
        noise=0.3,
        noise_scale=30,
        dirt=float(rng.uniform(0, 0.16)),
        bump=0.4,
    )
    inside = principled("rubber_inside", rng, (0.006, 0.006, 0.006), roughness=0.95)
    steel = principled("rubber_clamp", rng, (0.6, 0.6, 0.6), metallic=1.0, roughness=0.3)
    parts = Parts()
    if kind == "tyre":
        volume = tyre(rng, parts)
    elif kind == "hose":
        radius = float(rng.uniform(0.018, 0.034))
        length = float(rng.uniform(0.25, 0.42))
        steps = int(length / 0.004)
        ribs = float(rng.uniform(0.012, 0.020))
        knots = int(rng.integers(3, 6))
        ctrl = np.stack(
            [
                np.linspace(-0.5, 0.5, knots) * length,
                rng.normal(0, 0.06, knots),
                rng.normal(0, 0.02, knots),
            ],
            -1,
        )
        path = smooth_curve(ctrl, steps)
        along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
        ring = radius * (1 + 0.16 * (np.sin(2 * np.pi * along / ribs) > 0))
        ring[:8] = ring[-8:] = radius * 1.05  # plain cuffs
        parts.add(tube(path, ring, sides=14, caps=False), 0)
        parts.add(tube(path, ring * 0 + radius * 0.8, sides=14, caps=False), 1)
        for end, inner in ((path[:3], path[10:12]), (path[-3:], path[-12:-10])):
            lip = np.stack([end[0] if end is not path[-3:] else end[-1], inner[0]])
            parts.add(tube(np.linspace(lip[0], lip[1], 4), radius * 0.82, sides=14), 1)
        if rng.random() < 0.4:
            spot = int(rng.integers(3, 6))
            parts.add(tube(path[spot : spot + 4], radius * 1.14, sides=14, caps=False), 2)
        volume = np.pi * radius**2 * 0.4 * length
    else:
        length, width = float(rng.uniform(0.22, 0.42)), float(rng.uniform(0.07, 0.16))
        thick, count = float(rng.uniform(0.006, 0.011)), int(rng.integers(5, 10))
        lengthwise = rng.random() < 0.5
        parts.add(box((length, width, thick), sections=60), 0)
        if lengthwise:
            for y in np.linspace(-width / 2, width / 2, count)[:-1] + width / count / 2:
                parts.add(
                    box(
                        (length, width / count * 0.5, 0.008), (0, y, thick / 2 + 0.002), sections=60
                    ),
                    0,
                )
        else:
            bars = int(length / 0.02)
            for x in np.linspace(-length / 2, length / 2, bars)[1:-1]:
                parts.add(
                    box((0.009, width * 0.96, 0.009), (x, 0, thick / 2 + 0.003), sections=3), 0
                )
        p = parts.points()
        p = bend(p, float(rng.uniform(0.6, 4.2) * rng.choice([-1, 1])))
        parts.reshape(wobble(p, rng, 0.012, 0.2))
        volume = length * width * thick * 1.4
    obj = parts.join("rubber", [black, inside, steel], sharp=0.6)
    return Piece(obj, "rubber", float(np.clip(volume * 1150, 0.15, 8)), "CONVEX_HULL")
