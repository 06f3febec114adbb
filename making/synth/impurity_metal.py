"""Metal impurities: electric motor, bare copper, spray can, aluminium profile.

Each builder takes a random generator and returns a `Piece`; every draw is a new size, proportion,
colour, state of wear and deformation. Lengths in metres, linear RGB colours.
"""

from __future__ import annotations

import bpy
import numpy as np
from numpy.random import Generator

from making.synth import Piece
from making.synth.impurity_mesh import (
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
from making.synth.materials import principled

COPPERS = ((0.92, 0.36, 0.19), (0.86, 0.30, 0.14), (0.95, 0.43, 0.26), (0.72, 0.23, 0.10))
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
PRINTS = (
    (0.75, 0.02, 0.03),
    (0.02, 0.10, 0.65),
    (0.02, 0.42, 0.10),
    (0.90, 0.55, 0.01),
    (0.85, 0.20, 0.01),
    (0.30, 0.03, 0.42),
    (0.01, 0.45, 0.60),
    (0.85, 0.05, 0.30),
    (0.02, 0.02, 0.025),
    (0.86, 0.86, 0.84),
)


def pick(rng: Generator, colours, spread: float = 0.12) -> tuple[float, float, float]:
    """One of `colours`, each channel varied by a factor of 1 +- `spread`."""
    colour = np.asarray(colours[rng.integers(len(colours))])
    return tuple(np.clip(colour * rng.uniform(1 - spread, 1 + spread, 3), 0, 1).tolist())


def streaked(material: bpy.types.Material, along: int = 0, stretch: float = 20.0):
    """The same material with its pattern drawn out `stretch` times along one object axis."""
    scale = [1.0, 1.0, 1.0]
    scale[along] = 1.0 / stretch
    material.node_tree.nodes["Mapping"].inputs["Scale"].default_value = scale
    return material


def copper(name: str, rng: Generator, *, patina: float = 0.0) -> bpy.types.Material:
    """Bare copper; `patina` 0..1 takes it from bright orange-pink to brown."""
    base = np.asarray(pick(rng, COPPERS, 0.06))
    base = base * (1 - patina) + np.asarray((0.30, 0.10, 0.05)) * patina
    return principled(
        name,
        rng,
        tuple(base.tolist()),
        metallic=0.92 - 0.2 * patina,
        roughness=rng.uniform(0.25, 0.42),
        noise=0.25,
        noise_scale=25.0,
        dirt=float(rng.uniform(0, 0.10)),
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


def motor(rng: Generator) -> Piece:
    """Electric motor: whole, opened at one or both ends, bare stator, or wound armature."""
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


def spray_can(rng: Generator) -> Piece:
    """Aerosol can: printed cylinder, domed shoulder, valve cup, plastic cap or bare nozzle."""
    r, height = float(rng.uniform(0.031, 0.042)), float(rng.uniform(0.15, 0.26))
    sides = 36
    ground = pick(rng, PRINTS, 0.08)
    ink = [
        principled(
            f"can_print{k}",
            rng,
            colour,
            roughness=0.28,
            noise=0.04,
            coat=0.5,
            dirt=float(rng.uniform(0, 0.22)),
            chips=float(rng.choice([0, 0.08])),
            rust=float(rng.choice([0, 0.1])),
        )
        for k, colour in enumerate((ground, pick(rng, PRINTS, 0.08), pick(rng, PRINTS[-2:], 0.02)))
    ]
    tin = principled("can_tin", rng, (0.62, 0.62, 0.63), metallic=1.0, roughness=0.25, noise=0.08)
    cap_colour = ground if rng.random() < 0.4 else pick(rng, PRINTS, 0.08)
    cap = principled("can_cap", rng, cap_colour, roughness=0.3, noise=0.03, coat=0.3)
    white = principled("can_nozzle", rng, (0.85, 0.85, 0.83), roughness=0.4)
    parts = Parts()

    # Printed wall: rows of faces take bands, a block of columns a logo panel.
    rows = 18
    wall = revolve([r] * (rows + 1), np.linspace(0, height, rows + 1), sides=sides, caps=False)
    row, col = np.divmod(np.arange(rows * sides), sides)
    row = rows - 1 - row
    slot = np.zeros(rows * sides, int)
    for _ in range(rng.integers(1, 4)):
        low = rng.integers(0, rows - 2)
        slot[(row >= low) & (row < low + rng.integers(1, 5))] = rng.integers(1, 3)
    panel_low, panel_high = np.sort(rng.choice(rows, 2, replace=False))
    start, width = rng.integers(sides), rng.integers(7, 15)
    for shift in (0, sides // 2):
        inside = (col - start - shift) % sides < width
        slot[inside & (row >= panel_low) & (row <= panel_high)] = 1 + int(shift == 0)
        lines = (
            inside
            & ((col - start - shift) % sides > 1)
            & ((col - start - shift) % sides < width - 2)
        )
        slot[lines & (row >= panel_low + 1) & (row <= panel_high) & (row % 3 == 0)] = 0
    parts.add(wall, slot.tolist())
    # Bottom rim, concave bottom.
    parts.add(
        revolve(
            [r * 0.3, r * 0.75, r * 0.93, r * 1.03, r * 1.03, r],
            [0.010, 0.007, 0.0, -0.003, 0.003, 0.004],
            sides=sides,
        ),
        3,
    )
    # Seam, dome, valve cup.
    dome = r * rng.uniform(0.5, 0.75)
    t = np.linspace(0, 1, 6)
    dome_r = r * np.concatenate(
        [[1.0, 1.04, 1.04, 0.97], 0.97 - 0.5 * t**1.6, [0.5, 0.5, 0.42, 0.38]]
    )
    dome_x = np.concatenate(
        [
            [-0.002, 0.0, 0.004, 0.005],
            0.005 + dome * t**0.8,
            dome + np.array([0.006, 0.010, 0.011, 0.007]),
        ]
    )
    top = height + dome + 0.009
    painted_dome = rng.random() < 0.3
    parts.add(revolve(dome_r, height + dome_x, sides=sides), 0 if painted_dome else 3)
    if rng.random() < 0.6:  # cap: either over the whole shoulder or only over the valve
        wide = rng.random() < 0.6
        cr, base = (r * 0.96, height + 0.005) if wide else (r * 0.56, top - 0.008)
        tall = (dome + 0.03) * rng.uniform(0.9, 1.3) if wide else rng.uniform(0.022, 0.034)
        cap_x = base + tall * np.array([0, 0.75, 0.93, 1.0, 1.0])
        parts.add(revolve(cr * np.array([1.0, 0.96, 0.9, 0.72, 0.1]), cap_x, sides=24), 4)
    else:  # bare stem and push button
        parts.add(revolve([r * 0.07] * 2, [top - 0.004, top + 0.007], sides=8), 5)
        if rng.random() < 0.7:
            parts.add(
                revolve(
                    r * np.array([0.2, 0.2, 0.17, 0.05]),
                    top + np.array([0.004, 0.014, 0.017, 0.0175]),
                    sides=12,
                ),
                5,
            )
    points = parts.points()
    points[:, 0] -= height / 2
    state = rng.random()
    if state < 0.55:
        points = dents(points, rng, int(rng.integers(1, 4)), 0.025, r * 0.5)
    elif state < 0.75:  # trodden on
        points = points * [1, rng.uniform(1.0, 1.1), 1]
        mid = np.exp(-((points[:, 0] - rng.uniform(-0.03, 0.03)) ** 2) / 0.045**2)
        points[:, 2] *= 1 - mid * rng.uniform(0.2, 0.5)
        points = bend(points, float(rng.uniform(-0.5, 0.5)))
    parts.reshape(points)
    obj = parts.join("spray_can", [*ink, tin, cap, white], sharp=0.6)
    return Piece(obj, "spray_can", float(rng.uniform(0.08, 0.35)), "CONVEX_HULL")


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


BUILDERS = {
    "motor": motor,
    "copper_coil": copper_coil,
    "spray_can": spray_can,
    "aluminium": aluminium,
}
