"""Spray cans.

Each builder takes a random generator and returns a `Piece`; every draw is a new size, proportion,
colour, state of wear and deformation. Lengths in metres, linear RGB colours.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from making.synth import Piece
from making.synth.impurities.surfaces import pick
from making.synth.impurity_mesh import Parts, bend, dents, revolve
from making.synth.materials import principled

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
