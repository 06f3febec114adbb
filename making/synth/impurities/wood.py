"""Wood: planks, pallets, timber, branches, logs.

Each builder takes a random generator and returns a `Piece`; every draw is a new size, proportion,
colour, state of wear and deformation. Lengths in metres, linear RGB colours.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth import Piece
from making.synth.impurities.surfaces import pick, streaked
from making.synth.impurity_mesh import (
    Array,
    Parts,
    Shape,
    bend,
    extrude,
    revolve,
    rotation,
    smooth_curve,
    tube,
    wobble,
)
from making.synth.materials import principled

WOODS = (
    (0.52, 0.33, 0.16),
    (0.62, 0.42, 0.22),
    (0.42, 0.25, 0.11),
    (0.70, 0.50, 0.28),
    (0.36, 0.29, 0.21),  # weathered grey-brown
    (0.47, 0.36, 0.24),
)


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
