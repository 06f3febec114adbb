"""Plastic containers: jugs, bottles, jerry cans, buckets, crates.

Each builder takes a random generator and returns a `Piece`; every draw is a new size, proportion,
colour, state of wear and deformation. Lengths in metres, linear RGB colours.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth import Piece
from making.synth.impurities.surfaces import pick
from making.synth.impurity_mesh import (
    Array,
    Parts,
    Shape,
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
from making.synth.materials import principled

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


def ovals(x: Array, width: Array, thick: Array, power: float, sides: int = 28) -> Array:
    """Sections (n, sides, 3) along X: superellipses `width` by `thick`, boxier with `power`."""
    a = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    c, s = np.cos(a), np.sin(a)
    y = np.sign(c) * np.abs(c) ** (2 / power)
    z = np.sign(s) * np.abs(s) ** (2 / power)
    return np.stack([np.repeat(x[:, None], sides, 1), width[:, None] * y, thick[:, None] * z], -1)


def fluted(radius: float, start: float, height: float) -> Shape:
    """Screw cap with a fluted edge, from x = `start`."""
    a = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    r = radius * (1 - 0.07 * (np.arange(48) % 2))
    outline = np.stack([r * np.cos(a), r * np.sin(a)], -1)
    return extrude(outline, height).moved((start + height / 2, 0, 0))


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
