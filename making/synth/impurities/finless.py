"""Motors without cooling fins: of washing machines, fans and cars, as scrap yards get them most.

A stack of laminations or a drawn can between two end bells with holes and slots, a shaft with a
pulley, ears to hold it by; grey, dusty and greasy. Lengths in metres, linear RGB colours.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth import Piece
from making.synth.impurities.surfaces import copper, pick, streaked
from making.synth.impurity_mesh import (
    Parts,
    Shape,
    box,
    grid,
    revolve,
    rotation,
    smooth_curve,
    tube,
)
from making.synth.materials import principled

CASTS = (  # aluminium and iron, bare or in old paint; black and galvanised cans
    (0.26, 0.25, 0.23),
    (0.17, 0.165, 0.15),
    (0.10, 0.10, 0.095),
    (0.40, 0.39, 0.36),
    (0.15, 0.13, 0.09),
    (0.03, 0.03, 0.03),
    (0.08, 0.13, 0.17),
)


def body(radius: list[float], x: list[float], flat: float, corners: int) -> Shape:
    """A hull about X through `radius` at `x`, its `corners` sides pressed flat by 0..0.15."""
    a = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    shape = 1 - flat * np.cos(corners * a / 2) ** 8
    ring = np.stack([np.zeros_like(a), shape * np.cos(a), shape * np.sin(a)], -1)
    return grid(np.stack([r * ring + [at, 0, 0] for r, at in zip(radius, x, strict=True)]))


def slots(
    rng: Generator, count: int, at: float, reach: float, radius: float, *, face: bool
) -> list[Shape]:
    """Dark openings about X: on the face at x, `reach` long, or round the side, centred there."""
    share, shapes = rng.uniform(0.3, 0.62), []
    for angle in np.arange(count) * 2 * np.pi / count:
        across = 2 * np.pi * radius / count * share
        size = (0.003, across, reach) if face else (reach, across, 0.003)
        middle = (at, 0, radius - reach / 2) if face else (at, 0, radius)
        shapes.append(box(size, middle, corner=0.001).moved(turn=rotation("x", angle)))
    return shapes


def finless(rng: Generator) -> Piece:
    """A motor of a kind drawn: laminations between bells, or a can with a lid."""
    r = float(rng.uniform(0.05, 0.09))
    length = r * float(rng.uniform(0.7, 2.4))
    stacked = rng.random() < 0.5
    look = {"noise": 0.25, "noise_scale": 35, "bump": 0.5}
    cast = principled("bell", rng, pick(rng, CASTS, 0.12), metallic=float(rng.choice([0.0, 0.5])),
                      roughness=float(rng.uniform(0.45, 0.8)), dirt=float(rng.uniform(0, 0.4)),
                      **look)  # fmt: skip
    hull = principled("hull", rng, pick(rng, CASTS, 0.12), metallic=0.6 if stacked else 0.2,
                      roughness=float(rng.uniform(0.4, 0.75)), rust=float(rng.uniform(0, 0.2)),
                      **look)  # fmt: skip
    if stacked:
        streaked(hull, 0, 1 / 25)  # rings, a lamination each
    dark = principled("dark", rng, (0.006, 0.006, 0.006), roughness=0.95)
    steel = principled("shaft", rng, pick(rng, ((0.4, 0.4, 0.4), (0.2, 0.13, 0.09)), 0.2),
                       metallic=0.9, roughness=0.4)  # fmt: skip
    plate = principled("plate", rng, pick(rng, ((0.7, 0.7, 0.66), (0.05, 0.05, 0.05)), 0.1))
    wire = copper("winding", rng, patina=float(rng.uniform(0.1, 0.7)))
    parts = Parts()
    flat, corners = float(rng.uniform(0, 0.14)) * (rng.random() < 0.6), int(rng.choice([4, 6, 8]))
    half = length / 2
    parts.add(body([r, r], [-half, half], flat, corners), 1)
    if stacked and rng.random() < 0.5:  # windings show between stack and bell
        rings = r * np.array([0.7, 0.88, 0.88, 0.7])
        ends = half + 0.14 * r * np.array([0, 0, 1, 1])
        for turn in (0.0, np.pi):
            parts.add(revolve(rings, ends).moved(turn=rotation("z", turn)), 5)
    for side in (1, -1):
        turn = rotation("z", 0.0 if side > 0 else np.pi)
        depth = r * float(rng.uniform(0.2, 0.75))
        wide = r * float(rng.uniform(0.92, 1.08))
        rim = [1.0, 1.0, rng.uniform(0.85, 0.97), rng.uniform(0.5, 0.8), 0.35, 0.33]
        steps = [-0.15, 0.55, 0.85, 1.0, 1.0, 1.12]
        gap = 0.14 * r if stacked else 0.0
        bell = body([wide * f for f in rim], [half + gap + depth * s for s in steps], flat, corners)
        parts.add(bell.moved(turn=turn), 0)
        top = half + gap + depth
        if rng.random() < 0.75:  # what lets the air in
            count = int(rng.integers(5, 15))
            reach = wide * float(rng.uniform(0.2, 0.38))
            for shape in slots(rng, count, top, reach, wide * 0.78 * rim[2], face=True):
                parts.add(shape.moved(turn=turn), 2)
        if rng.random() < 0.65:
            count, reach = int(rng.integers(6, 20)), depth * float(rng.uniform(0.3, 0.5))
            at = half + gap + depth * 0.22
            for shape in slots(rng, count, at, reach, wide * (1 - 0.5 * flat), face=False):
                parts.add(shape.moved(turn=turn), 2)
        for b in np.arange(4) * np.pi / 2 + rng.uniform(0, np.pi):  # screws, ears
            at = (top - 0.25 * depth, 0.9 * wide * np.cos(b), 0.9 * wide * np.sin(b))
            parts.add(box((0.5 * depth, 0.13 * r, 0.13 * r), at).moved(turn=turn), 3)
            if rng.random() < 0.3:
                at = (half + gap, 1.12 * wide * np.cos(b), 1.12 * wide * np.sin(b))
                ear = box((0.25 * r, 0.3 * r, 0.3 * r), at, corner=0.06 * r)
                parts.add(ear.moved(turn=turn), 0)
        if side > 0 or rng.random() < 0.3:
            reach, thick = r * float(rng.uniform(0.3, 1.4)), r * float(rng.uniform(0.08, 0.16))
            parts.add(revolve([thick, thick], [top, top + reach], sides=14).moved(turn=turn), 3)
            if rng.random() < 0.55:  # a pulley: grooved, or one deep groove
                grooves = int(rng.integers(1, 8))
                width = r * float(rng.uniform(0.25, 0.6))
                x = top + reach * 0.4 + np.linspace(0, width, 2 * grooves + 1)
                wave = np.where(np.arange(2 * grooves + 1) % 2, 0.82, 1.0)
                rr = r * float(rng.uniform(0.22, 0.65)) * wave
                parts.add(revolve(rr, x, sides=28).moved(turn=turn), 3)
    if rng.random() < 0.5:  # a box on its side: brushes, terminals, a gear
        size = r * rng.uniform([0.5, 0.5, 0.3], [1.3, 1.1, 0.8])
        at = (rng.uniform(-0.5, 0.5) * length, 0, r + size[2] / 4)
        lid = box(tuple(size), at, corner=0.1 * r).moved(turn=rotation("x", rng.uniform(0, 6.3)))
        parts.add(lid, int(rng.integers(0, 2)))
    if rng.random() < 0.6:
        plate_at = box((min(length, r) * 0.7, r * 0.6, 0.004), (0, 0, r))
        parts.add(plate_at.moved(turn=rotation("x", rng.uniform(0, 6.3))), 4)
    for _ in range(rng.integers(0, 4)):  # leads
        path = np.cumsum(rng.normal(0, 0.25 * r, (6, 3)), 0) + [half, 0, 0]
        parts.add(tube(smooth_curve(path, 24), 0.035 * r, sides=6), int(rng.choice([2, 3, 4, 5])))
    obj = parts.join("finless_motor", [cast, hull, dark, steel, plate, wire])
    return Piece(obj, "motor", 4500 * np.pi * r * r * length)
