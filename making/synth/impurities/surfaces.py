"""Colours and surfaces that several impurities share."""

from __future__ import annotations

import bpy
import numpy as np
from numpy.random import Generator

from making.synth.materials import principled

COPPERS = ((0.92, 0.36, 0.19), (0.86, 0.30, 0.14), (0.95, 0.43, 0.26), (0.72, 0.23, 0.10))


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
