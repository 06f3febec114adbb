"""Electric motors: whole, opened, armatures, stators.

Each builder takes a random generator and returns a `Piece`; every draw is a new size, proportion,
colour, state of wear and deformation. Lengths in metres, linear RGB colours.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth import Piece
from making.synth.impurities.surfaces import copper, pick
from making.synth.impurity_mesh import Parts, Shape, box, extrude, revolve, rotation, tube
from making.synth.materials import principled

MOTOR_PAINTS = (
    (0.03, 0.12, 0.42),  # gentian blue
    (0.05, 0.19, 0.48),
    (0.05, 0.20, 0.13),  # machine green
    (0.13, 0.24, 0.19),
    (0.22, 0.24, 0.26),  # grey
    (0.34, 0.36, 0.37),
    (0.05, 0.055, 0.06),
    (0.30, 0.05, 0.03),
)


def winding_end(
    rng: Generator, radius: float, reach: float, thick: float, coils: int
) -> list[Shape]:
    """Overlapping wire bundles of a stator's end: `coils` arcs round the X axis, bulging to +x."""
    shapes = []
    span = 2 * np.pi / coils * rng.uniform(2.2, 3.0)
    for k in range(coils):
        t = np.linspace(0, 1, 9)
        angle = 2 * np.pi * k / coils + t * span
        arch = np.sin(np.pi * t) ** 0.6
        r = radius + thick * 0.55 * np.cos(np.pi * t) * rng.uniform(0.7, 1.2)
        path = np.stack([reach * arch - 0.004, r * np.cos(angle), r * np.sin(angle)], -1)
        shapes.append(tube(path, thick * rng.uniform(0.48, 0.6), sides=6))
    return shapes


def mirror_x(shape: Shape) -> Shape:
    """The shape turned end for end (a half turn about Z, so faces keep their outside)."""
    return shape.moved(turn=rotation("z", np.pi))


def fins(count: int, root: float, tip: float, length: float, share: float = 0.42) -> Shape:
    """Cylinder along X with `count` straight cooling fins from radius `root` to `tip`."""
    step = 2 * np.pi / count
    angle, radius = [], []
    for k in range(count):
        angle += [k * step + step * part for part in (0.0, 0.02, share, share + 0.02)]
        radius += [root, tip, tip, root]
    angle, radius = np.array(angle), np.array(radius)
    outline = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return extrude(outline, length)


def motor(rng: Generator, kind: str | None = None) -> Piece:
    """Electric motor of a kind, drawn when None: whole, open, gutted (opened at both ends), bare
    stator, or wound armature."""
    if kind is None:
        kind = rng.choice(
            ["whole", "open", "gutted", "stator", "armature"], p=[0.16, 0.32, 0.2, 0.16, 0.16]
        )
    parts = Parts()
    r = float(rng.uniform(0.052, 0.095))
    length = r * float(rng.uniform(1.7, 2.7))
    paint = principled(
        "motor_paint",
        rng,
        pick(rng, MOTOR_PAINTS),
        roughness=0.45,
        noise=0.18,
        noise_scale=30,
        dirt=float(rng.uniform(0.05, 0.4)),
        rust=float(rng.uniform(0, 0.15)),
        chips=float(rng.uniform(0, 0.15)),
        bump=0.4,
        coat=0.2,
    )
    steel = principled(
        "motor_shaft", rng, (0.45, 0.45, 0.46), metallic=1.0, roughness=0.3, dirt=0.1
    )
    wire = copper("motor_windings", rng, patina=float(rng.uniform(0, 0.3)))
    dark = principled("motor_dark", rng, (0.012, 0.012, 0.014), roughness=0.7)
    sheet = principled(
        "motor_laminations",
        rng,
        (0.16, 0.16, 0.17),
        metallic=0.8,
        roughness=0.5,
        noise=0.2,
        rust=float(rng.uniform(0, 0.3)),
    )
    tie = principled("motor_plate", rng, (0.75, 0.73, 0.66), roughness=0.5, dirt=0.1)
    coils = int(rng.integers(10, 17))

    def shaft(start: float, stop: float, radius: float) -> None:
        ends = [start, start + np.sign(stop - start) * radius * 0.3]
        xs = np.array([stop, stop - np.sign(stop - start) * radius * 0.3, *ends[::-1]])
        rs = np.array([radius * 0.75, radius, radius, radius])
        order = slice(None, None, -1) if start < stop else slice(None)
        parts.add(revolve(rs[order], xs[order], sides=12), 1)

    def open_end(side: int, rim: float) -> None:
        """Rim, windings and dark bore at the end `side` (+1 or -1)."""
        thick = r * rng.uniform(0.19, 0.25)
        lift = r * rng.uniform(0.26, 0.5)
        for shape in winding_end(rng, rim - thick * 0.9, lift, thick, coils):
            shape = shape.moved((length / 2, 0, 0))
            parts.add(shape if side > 0 else mirror_x(shape), 2)
        ring = revolve(
            [rim - 1.7 * thick, rim - 0.2 * thick, rim - 0.2 * thick, rim - 1.7 * thick],
            [
                length / 2 - 0.01,
                length / 2 - 0.01,
                length / 2 + lift * 0.6,
                length / 2 + lift * 0.6,
            ],
        )
        parts.add(ring if side > 0 else mirror_x(ring), 2)
        bore = rim - 1.75 * thick
        core = revolve(
            [bore, bore, bore * 0.95],
            [0, length / 2 + lift * 0.6 + 0.0005, length / 2 + lift * 0.6 + 0.001],
        )
        parts.add(core if side > 0 else mirror_x(core), 3)

    def bell(side: int, tip: float) -> None:
        """Cast end shield with a bearing boss."""
        depth = r * rng.uniform(0.25, 0.5)
        x = length / 2 + depth * np.array([-0.25, -0.25, 0.25, 0.7, 0.72, 1.0, 1.0, 1.02])
        rr = tip * np.array([0.9, 1.02, 1.02, 0.8, 0.42, 0.36, 0.18, 0.17])
        shape = revolve(rr, x, sides=28)
        parts.add(shape if side > 0 else mirror_x(shape), 0)
        for k in range(4):  # tie bolts
            a = np.pi / 4 + k * np.pi / 2
            bolt = box(
                (depth * 0.5, r * 0.14, r * 0.14),
                (length / 2 + depth * 0.5, 0.86 * tip * np.cos(a), 0.86 * tip * np.sin(a)),
            )
            parts.add(bolt if side > 0 else mirror_x(bolt), 1)

    if kind == "armature":
        r *= 0.75
        length = r * float(rng.uniform(1.8, 2.6))
        slots = int(rng.integers(12, 20))
        core = fins(slots, r * 0.86, r, length, 0.68)
        twist = np.array(
            [rotation("x", a) for a in core.verts[:, 0] / length * rng.uniform(-0.6, 0.6)]
        )
        parts.add(Shape(np.einsum("nij,nj->ni", twist, core.verts), core.faces), 4)
        parts.add(revolve([r * 0.93] * 2, [-length / 2 - 1e-3, length / 2 + 1e-3]), 2)
        for side in (1, -1):
            for shape in winding_end(rng, r * 0.68, r * 0.5, r * 0.26, coils):
                shape = shape.moved((length / 2, 0, 0))
                parts.add(shape if side > 0 else mirror_x(shape), 2)
        com = length / 2 + r * 0.62
        bars = fins(18, r * 0.42, r * 0.46, r * 0.7, 0.8).moved((com + r * 0.35, 0, 0))
        parts.add(bars, 2)
        shaft(-length / 2, -length / 2 - r * rng.uniform(1.1, 1.8), r * 0.17)
        shaft(length / 2, com + r * rng.uniform(1.1, 1.6), r * 0.17)
        mass = 7000 * np.pi * r * r * length
    elif kind == "stator":
        parts.add(fins(int(rng.integers(4, 9)), r * 0.985, r, length, 0.85), 4)
        for side in (1, -1):
            open_end(side, r * 0.9)
        for a in np.linspace(0, 2 * np.pi, coils, endpoint=False):  # lacing cord
            t = np.linspace(-0.4, 1.2, 5)
            path = np.stack(
                [
                    length / 2 + r * 0.36 * np.sin(t),
                    r * (0.9 - 0.25 * t) * np.cos(a),
                    r * (0.9 - 0.25 * t) * np.sin(a),
                ],
                -1,
            )
            parts.add(tube(path, 0.0016, sides=4), 5)
        mass = 5500 * np.pi * r * r * length
    else:
        tip, root = r, r * float(rng.uniform(0.8, 0.87))
        parts.add(fins(int(rng.integers(20, 34)), root, tip, length), 0)
        opened = {"whole": (), "open": (1,), "gutted": (1, -1)}[str(kind)]
        for side in (1, -1):
            if side in opened:
                rim = revolve(
                    [root * 0.86, tip * 1.01, tip * 1.01, root * 0.86],
                    length / 2 + np.array([-0.012, -0.012, 0.003, 0.003]),
                    sides=28,
                )
                parts.add(rim if side > 0 else mirror_x(rim), 0)
                open_end(side, root * 0.97)
            else:
                bell(side, tip)
        if -1 not in opened and rng.random() < 0.6:  # fan cowl over the back
            depth = r * rng.uniform(0.5, 0.8)
            x = -length / 2 - depth * np.array([1.0, 0.9, -0.3])
            parts.add(revolve(tip * np.array([0.85, 1.06, 1.06]), x, sides=28), 0)
            for k in range(3):  # inlet grille
                ring = tip * (0.25 + 0.22 * k)
                shape = revolve(
                    [ring, ring + tip * 0.1], [x[0] - 2e-4, x[0] - 3e-4], sides=20, caps=False
                )
                parts.add(shape, 3)
        if rng.random() < 0.9 or kind == "whole":
            reach = length / 2 + r * (rng.uniform(0.9, 1.5) if kind != "gutted" else 0.8)
            shaft(length * 0.3, reach, r * rng.uniform(0.16, 0.22))
        if rng.random() < 0.75:  # feet
            for x in (-length * 0.3, length * 0.3):
                parts.add(box((r * 0.4, r * 2.1, r * 0.18), (x, 0, -r * 1.15), corner=r * 0.05), 0)
                parts.add(box((r * 0.3, r * 0.9, r * 0.4), (x, 0, -r * 0.95)), 0)
        if rng.random() < 0.8:  # terminal box on top or at the side
            size = (r * rng.uniform(0.8, 1.1), r * rng.uniform(0.7, 0.95), r * 0.5)
            turn = rotation("x", float(rng.choice([0.0, np.pi / 2, -np.pi / 2])))
            parts.add(box(size, (0, 0, r * 1.15), corner=r * 0.08).moved(turn=turn), 0)
            lid = (size[0] * 1.1, size[1] * 1.1, r * 0.09)
            parts.add(box(lid, (0, 0, r * 1.43), corner=r * 0.04).moved(turn=turn), 0)
            gland = revolve([r * 0.15] * 2, [0, r * 0.35], sides=10).moved(
                (size[0] / 2, 0, r * 1.15)
            )
            parts.add(gland.moved(turn=turn), 3)
        if rng.random() < 0.7:  # name plate
            a = rng.uniform(0, 2 * np.pi)
            plate = box((length * 0.4, r * 0.6, 0.004), (0, 0, tip * 1.0))
            parts.add(plate.moved(turn=rotation("x", a)), 5)
        mass = 4800 * np.pi * r * r * length
    obj = parts.join("motor", [paint, steel, wire, dark, sheet, tie])
    return Piece(obj, "motor", float(mass), "CONVEX_HULL")
