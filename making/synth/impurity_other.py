"""Impurities with no metal showing: insulated cable (but for its bare end), rubber, plastic, wood.

Each builder takes a random generator and returns a `Piece`; every draw is a new size, proportion,
colour, state of wear and deformation. Lengths in metres, linear RGB colours.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth import Piece
from making.synth.impurity_mesh import (
    Array,
    Parts,
    Shape,
    bend,
    box,
    dents,
    extrude,
    grid,
    revolve,
    rotation,
    smooth_curve,
    tube,
    wobble,
)
from making.synth.impurity_metal import copper, len_of, pick, streaked
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
PLASTICS = (
    (0.86, 0.86, 0.82),
    (0.80, 0.82, 0.78),
    (0.02, 0.16, 0.72),
    (0.78, 0.02, 0.02),
    (0.92, 0.62, 0.01),
    (0.02, 0.40, 0.08),
    (0.92, 0.26, 0.01),
    (0.02, 0.45, 0.62),
    (0.55, 0.75, 0.86),
    (0.88, 0.87, 0.80),
)
WOODS = (
    (0.52, 0.33, 0.16),
    (0.62, 0.42, 0.22),
    (0.42, 0.25, 0.11),
    (0.70, 0.50, 0.28),
    (0.36, 0.29, 0.21),  # weathered grey-brown
    (0.47, 0.36, 0.24),
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


def rubber(rng: Generator) -> Piece:
    """Rubber: tyre or piece of one, ribbed hose with open ends, ribbed mat or belt strip."""
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


def ovals(x: Array, width: Array, thick: Array, power: float, sides: int = 28) -> Array:
    """Sections (n, sides, 3) along X: superellipses `width` by `thick`, boxier with `power`."""
    a = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    c, s = np.cos(a), np.sin(a)
    y = np.sign(c) * np.abs(c) ** (2 / power)
    z = np.sign(s) * np.abs(s) ** (2 / power)
    return np.stack([np.repeat(x[:, None], sides, 1), width[:, None] * y, thick[:, None] * z], -1)


def plastic(rng: Generator) -> Piece:
    """Plastic: detergent jug, drinks bottle, jerry can, bucket, or a piece of a crate."""
    kind = str(
        rng.choice(["jug", "bottle", "jerry", "bucket", "crate"], p=[0.26, 0.2, 0.2, 0.18, 0.16])
    )
    body_colour = np.asarray(pick(rng, PLASTICS, 0.1))
    pale = body_colour.min() > 0.5
    dirt = float(rng.uniform(0, 0.13))
    body = principled(
        "plastic",
        rng,
        tuple(body_colour.tolist()),
        roughness=float(rng.uniform(0.22, 0.38)),
        noise=0.03,
        noise_scale=8,
        dirt=dirt,
        coat=0.35,
    )
    if pale or kind == "bottle":  # light comes through thin pale walls
        body.node_tree.nodes["Principled BSDF"].inputs["Transmission Weight"].default_value = 0.25
    cap = principled(
        "plastic_cap", rng, pick(rng, PLASTICS[2:], 0.1), roughness=0.3, noise=0.03, coat=0.3
    )
    label = principled(
        "plastic_label", rng, pick(rng, PLASTICS, 0.1), roughness=0.45, noise=0.05, dirt=dirt
    )
    shade = principled("plastic_inside", rng, tuple((body_colour * 0.55).tolist()), roughness=0.5)
    wire = principled("plastic_wire", rng, (0.5, 0.5, 0.5), metallic=1.0, roughness=0.35)
    parts = Parts()
    mass = 0.15
    if kind in ("jug", "jerry"):
        height = float(rng.uniform(0.22, 0.36))
        jerry = kind == "jerry"
        w = height * float(rng.uniform(0.30, 0.38) if jerry else rng.uniform(0.24, 0.32))
        d = w * float(rng.uniform(0.6, 0.8) if jerry else rng.uniform(0.5, 0.75))
        t = np.array([0, 0.0, 0.02, 0.06, 0.25, 0.45, 0.62, 0.72, 0.79, 0.83])
        if jerry:
            s = np.array([0.01, 0.9, 0.98, 1, 1, 1, 1, 1, 0.96, 0.75])
        else:
            s = np.array([0.01, 0.9, 0.98, 1, 1, 0.99, 0.9, 0.72, 0.48, 0.3])
        x = height * (t - 0.45)
        parts.add(grid(ovals(x, w * s, d * s, 5.0 if jerry else 3.2)), 0)
        neck = w * (0.24 if jerry else 0.27)
        ny = -w * 0.55 if jerry else 0.0
        top = x[-1]
        parts.add(revolve([neck, neck], [top - 0.012, top + height * 0.05]).moved((0, ny, 0)), 0)
        if rng.random() < 0.75:
            h = height * (0.07 if jerry else 0.11)
            screw = fluted(neck * 1.22, top + height * 0.025, h)
            parts.add(screw.moved((0, ny, 0)), 1)
        else:
            hole = revolve([neck * 0.8] * 2, [top, top + height * 0.051])
            parts.add(hole.moved((0, ny, 0)), 3)
        if jerry:
            ctrl = [
                [top - 0.01, -w * 0.15, 0],
                [top + height * 0.10, -w * 0.05, 0],
                [top + height * 0.11, w * 0.5, 0],
                [top - 0.01, w * 0.75, 0],
            ]
            for z in (-d * 0.95, d * 0.95):  # moulded panel on each face
                parts.add(
                    box((height * 0.45, w * 1.3, 0.008), (-height * 0.08, 0, z), corner=0.003), 0
                )
        else:
            ctrl = [
                [top - height * 0.02, w * 0.25, 0],
                [top - height * 0.06, w * 0.85, 0],
                [top - height * 0.25, w * 1.25, 0],
                [top - height * 0.42, w * 0.9, 0],
            ]
            for z in (-d * 0.985, d * 0.985):
                parts.add(
                    box((height * 0.36, w * 1.25, 0.004), (-height * 0.2, 0, z), corner=0.001), 2
                )
        parts.add(tube(smooth_curve(np.array(ctrl), 18), height * 0.032, sides=10), 0)
        mass = 2.2 * height * w
    elif kind == "bottle":
        height, r = float(rng.uniform(0.23, 0.36)), float(rng.uniform(0.038, 0.054))
        t = np.array(
            [
                0,
                0.0,
                0.01,
                0.03,
                0.12,
                0.13,
                0.15,
                0.16,
                0.28,
                0.3,
                0.32,
                0.5,
                0.52,
                0.54,
                0.66,
                0.8,
                0.88,
                0.92,
            ]
        )
        s = np.array(
            [
                0.01,
                0.7,
                0.9,
                1,
                1,
                0.93,
                0.93,
                1,
                1,
                0.95,
                0.97,
                0.97,
                0.95,
                1,
                0.98,
                0.62,
                0.36,
                0.33,
            ]
        )
        x = height * (t - 0.5)
        shape = revolve(r * s, x, sides=26)
        rows = np.arange(len(shape.faces)) // 26
        n = len(t)
        # revolve runs from the last section to the first: rows of the label are counted backwards.
        slots = [2 if n - 2 - 11 <= k <= n - 2 - 10 else 0 for k in rows]
        parts.add(shape, slots)
        parts.add(revolve([r * 0.45] * 2, height * np.array([0.385, 0.4])), 0)
        parts.add(revolve([r * 0.33] * 2, height * np.array([0.41, 0.44])), 0)
        if rng.random() < 0.8:
            parts.add(fluted(r * 0.42, height * 0.425, height * 0.065), 1)
        mass = 0.06
    elif kind == "bucket":
        r, height = float(rng.uniform(0.09, 0.14)), float(rng.uniform(0.14, 0.24))
        foot, w = r * float(rng.uniform(0.72, 0.85)), 0.004
        x = np.array([0, 0, 0.3, 0.6, 0.8, 0.82, 0.86, 0.88, 0.96, 0.97, 1.0, 1.0]) * height
        lift = np.array([0, 1, 1, 1, 1, 1.04, 1.04, 1, 1, 1.06, 1.06, 0.99])
        cone = foot + (r - foot) * x / height
        outer = cone * lift
        outer[0] = 0.001
        parts.add(revolve(outer, x, sides=36, caps=False), 0)
        inner_x = np.array([1.0, 0.7, 0.4, 0.03, 0.03]) * height
        inner = foot + (r - foot) * inner_x / height - w
        inner[-1] = 0.001
        parts.add(revolve(inner, inner_x, sides=36, caps=False), 3 if rng.random() < 0.5 else 0)
        band = revolve(
            (foot + (r - foot) * np.array([0.25, 0.65])) + 0.0015,
            np.array([0.25, 0.65]) * height,
            sides=36,
            caps=False,
        )
        if rng.random() < 0.5:
            parts.add(band, [2 if k % 36 < 22 else 0 for k in range(len(band.faces))])
        if rng.random() < 0.7:
            a = np.linspace(0, np.pi, 20)
            fall = rng.uniform(-0.4, 1.2)
            arc = np.stack(
                [
                    height * 0.9 + r * 1.02 * np.sin(a) * np.sin(fall),
                    r * 1.05 * np.cos(a),
                    r * 1.05 * np.sin(a) * np.cos(fall),
                ],
                -1,
            )
            parts.add(tube(arc, 0.003, sides=6), 4)
            parts.add(tube(arc[8:12], 0.009, sides=8), 0)
        mass = 0.5
    else:
        length, height = float(rng.uniform(0.22, 0.38)), float(rng.uniform(0.12, 0.2))
        width = float(rng.uniform(0.1, 0.22))
        bar = 0.012

        def lattice(size_x: float, size_y: float) -> list[Shape]:
            shapes = []
            for y in np.linspace(-size_y / 2, size_y / 2, max(3, round(size_y / 0.045))):
                shapes.append(box((size_x, bar, 0.007), (0, y, 0), sections=8))
            for x in np.linspace(-size_x / 2, size_x / 2, max(4, round(size_x / 0.04))):
                shapes.append(box((bar * 0.8, size_y + bar, 0.006), (x, 0, 0)))
            return shapes

        for shape in lattice(length, height):  # side wall, standing
            parts.add(
                shape.moved((0, 0, 0), rotation("x", np.pi / 2)).moved((0, -width / 2, height / 2)),
                0,
            )
        for shape in lattice(length, width):  # floor
            parts.add(shape, 0)
        parts.add(
            box((length * 1.02, 0.022, 0.02), (0, -width / 2, height), corner=0.004, sections=8), 0
        )
        if rng.random() < 0.6:  # end wall with its panel
            parts.add(box((0.006, width, height), (length / 2, 0, height / 2)), 0)
            parts.add(box((0.02, width * 1.02, 0.02), (length / 2, 0, height)), 0)
        mass = 0.7
    points = parts.points()
    points = points - points.mean(0)
    if kind == "crate":
        points = wobble(points, rng, 0.008, 0.25)
    else:
        points = dents(points, rng, int(rng.integers(1, 5)), 0.05, 0.035)
        points = wobble(points, rng, float(rng.uniform(0.001, 0.008)), 0.12)
        if rng.random() < 0.3:
            points = points * [1, 1, rng.uniform(0.45, 0.8)]
    parts.reshape(points)
    obj = parts.join("plastic", [body, cap, label, shade, wire], sharp=0.75)
    return Piece(obj, "plastic", float(np.clip(mass, 0.05, 2.0)), "CONVEX_HULL")


def fluted(radius: float, start: float, height: float) -> Shape:
    """Screw cap with a fluted edge, from x = `start`."""
    a = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    r = radius * (1 - 0.07 * (np.arange(48) % 2))
    outline = np.stack([r * np.cos(a), r * np.sin(a)], -1)
    return extrude(outline, height).moved((start + height / 2, 0, 0))


def plank(
    rng: Generator, length: float, width: float, thick: float, broken: tuple[bool, bool]
) -> Shape:
    """Board along X on a grid of columns, `broken` ends drawn out into splinters."""
    n_y, n_z, sections = 13, 3, 14
    y = np.linspace(-width / 2, width / 2, n_y)
    z = np.linspace(-thick / 2, thick / 2, n_z)
    lower = [(v, z[0]) for v in y]
    upper = [(v, z[-1]) for v in y[::-1]]
    outline = np.array([*lower, (y[-1], 0.0), *upper, (y[0], 0.0)])
    board = extrude(outline, length, sections=sections, caps=False)
    points = board.verts.reshape(sections, len(outline), 3).copy()
    for end, torn in zip((0, -1), broken, strict=True):
        if not torn:
            continue
        sign = -1 if end == 0 else 1
        tear = (
            rng.uniform(-0.3, 1.0, n_y) * width * 0.55
            + np.linspace(-1, 1, n_y) * rng.normal(0, 0.25) * width
        )
        shift = np.concatenate([tear, tear[-1:], tear[::-1] * rng.uniform(0.4, 1.0), tear[:1]])
        points[end, :, 0] += sign * shift
        points[end, :, 2] *= 0.45
    cap_faces = []
    m = len(outline)
    for row in (0, sections - 1):  # ends filled column by column, so that splinters stay apart
        base = row * m
        for k in range(n_y - 1):
            quad = [base + k, base + k + 1, base + m - 3 - k, base + m - 2 - k]
            cap_faces.append(quad if row == 0 else quad[::-1])
    return Shape(points.reshape(-1, 3), board.faces + cap_faces)


def wood(rng: Generator) -> Piece:
    """Wood: single or nailed boards, broken plank, squared timber, branch or round log."""
    kind = str(
        rng.choice(["plank", "pallet", "timber", "branch", "log"], p=[0.33, 0.28, 0.15, 0.11, 0.13])
    )
    base = np.asarray(pick(rng, WOODS, 0.08))
    wear = {"rng": rng, "metallic": 0.0, "roughness": 0.85, "noise": 0.34, "bump": 0.5}
    dirt = float(rng.uniform(0, 0.16))
    tone = tuple(base.tolist())

    def timber(name: str, along: int, shade: float = 1.0):
        colour = tuple(min(c * shade, 1.0) for c in tone)
        surface = principled(
            name, base=colour, noise_scale=85.0, bump_scale=160.0, dirt=dirt, **wear
        )
        return streaked(surface, along, 18.0)

    lengthwise = timber("wood", 0)
    crosswise = timber("wood_cross", 1, float(rng.uniform(0.85, 1.1)))
    fresh = principled(
        "wood_break", rng, (0.72, 0.52, 0.28), roughness=0.9, noise=0.2, noise_scale=120
    )
    bark_colour = pick(
        rng, ((0.16, 0.11, 0.075), (0.22, 0.16, 0.11), (0.30, 0.26, 0.21), (0.12, 0.075, 0.05))
    )
    bark = principled(
        "wood_bark",
        rng,
        bark_colour,
        roughness=0.95,
        noise=0.5,
        noise_scale=60,
        bump=2.5,
        bump_scale=70,
    )
    streaked(bark, 0, 3.0)
    nail = principled("wood_nail", rng, (0.2, 0.13, 0.1), metallic=0.7, roughness=0.6)
    parts = Parts()
    length = float(rng.uniform(0.24, 0.42 if kind == "pallet" else 0.55))

    def board(
        size: tuple[float, float, float], broken: tuple[bool, bool], slot: int, at, turn=None
    ):
        shape = plank(rng, *size, broken)
        slots = [slot] * len(shape.faces)
        for k in range(1, 25):  # the end faces show fresh wood where they broke
            slots[-k] = 2
        parts.add(shape.moved((0, 0, 0), turn).moved(at), slots)

    def knots(path: Array, radius: float) -> None:
        """Bark-covered round wood with lighter cut or broken ends."""
        sides = 14
        rough = radius * (
            1 + 0.07 * rng.normal(size=(1, sides)) + 0.05 * rng.normal(size=(len(path), sides))
        )
        parts.add(tube(path, rough, sides=sides, caps=False), 3)
        for end in (path[:2], path[-2:]):
            parts.add(tube(end, radius * 0.97, sides=sides), 2)

    if kind == "plank":
        width, thick = float(rng.uniform(0.07, 0.13)), float(rng.uniform(0.015, 0.028))
        broken = (bool(rng.random() < 0.75), bool(rng.random() < 0.75))
        board((length, width, thick), broken, 0, (0, 0, 0))
        volume = length * width * thick
    elif kind == "pallet":
        width, thick = float(rng.uniform(0.07, 0.10)), 0.02
        count = int(rng.integers(2, 4))
        pitch = width * float(rng.uniform(1.15, 1.6))
        for k in range(count):
            y = (k - (count - 1) / 2) * pitch
            board(
                (length * rng.uniform(0.7, 1.0), width, thick),
                (rng.random() < 0.6, rng.random() < 0.4),
                0,
                (rng.normal(0, 0.02), y, 0),
            )
        turn = rotation("z", np.pi / 2)
        for x in rng.choice([-0.32, 0.0, 0.3], rng.integers(1, 3), replace=False) * length:
            block = rng.random() < 0.5
            size = (count * pitch * 1.02, 0.085, 0.075 if block else 0.022)
            board(size, (False, not block), 1, (x, 0, -thick / 2 - size[2] / 2), turn)
            for k in range(count):
                y = (k - (count - 1) / 2) * pitch
                for dx in (-0.02, 0.02):
                    head = revolve([0.004] * 2, [0, 0.003], sides=6).moved(
                        turn=rotation("y", -np.pi / 2)
                    )
                    parts.add(head.moved((x + dx, y, thick / 2)), 4)
        volume = count * length * width * thick * 1.6
    elif kind == "timber":
        width = float(rng.uniform(0.045, 0.085))
        board(
            (length, width, width * rng.uniform(0.6, 1.0)),
            (rng.random() < 0.6, rng.random() < 0.5),
            0,
            (0, 0, 0),
        )
        volume = length * width * width * 0.8
    elif kind == "branch":
        radius = float(rng.uniform(0.014, 0.03))
        x = np.linspace(-0.5, 0.5, 6) * length
        ctrl = np.stack([x, rng.normal(0, 0.03, 6), rng.normal(0, 0.02, 6)], -1)
        path = smooth_curve(ctrl, 26)
        knots(path, radius)
        for _ in range(rng.integers(1, 4)):  # side shoots
            at = path[rng.integers(5, 21)]
            lean = np.array([rng.uniform(0.3, 0.8), *rng.normal(0, 1, 2)])
            lean /= np.linalg.norm(lean)
            shoot = at + lean * np.linspace(0, rng.uniform(0.04, 0.16), 6)[:, None]
            parts.add(tube(shoot, radius * np.linspace(0.55, 0.4, 6), sides=8), 3)
        volume = length * np.pi * radius**2
    else:
        radius, length = float(rng.uniform(0.04, 0.075)), float(rng.uniform(0.16, 0.36))
        x = np.linspace(-0.5, 0.5, 14) * length
        path = np.stack([x, 0.01 * np.sin(x * 9), 0 * x], -1)
        knots(path, radius)
        for side in (-1, 1):  # growth rings on the cut
            for share in (0.85, 0.55, 0.28):
                face = (length / 2 + 0.0006 / share) * side
                disc = revolve(
                    [radius * share, radius * (share - 0.09)],
                    [face, face + 2e-4 * side],
                    sides=14,
                    caps=False,
                )
                parts.add(disc, 0)
        volume = length * np.pi * radius**2
    points = parts.points()
    if kind in ("plank", "pallet", "timber"):
        points = wobble(points, rng, float(rng.uniform(0.001, 0.006)), 0.4)
        points = bend(points, float(rng.uniform(-0.15, 0.15)))
    parts.reshape(points)
    obj = parts.join("wood", [lengthwise, crosswise, fresh, bark, nail], sharp=0.5)
    return Piece(obj, "wood", float(np.clip(volume * 550, 0.1, 6)), "CONVEX_HULL")


BUILDERS = {"cable": cable, "rubber": rubber, "plastic": plastic, "wood": wood}
