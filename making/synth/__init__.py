"""ScrapSim: the Blender scene generator (its own environment, see ``requirements.txt``).

``python -m making.synth --help`` lists the commands. Nothing outside this package imports it,
and it imports nothing of the project but `scrapseg.data.classes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator


@dataclass
class Piece:
    """One thing that can be thrown on the heap.

    obj: Blender object, a single joined mesh in metres, scale applied, origin near the centre of
        mass, linked to the scene's collection, materials set.
    slug: class slug of `scrapseg.data.classes` (``steel`` or an impurity).
    mass_kg: mass in kilograms (> 0), used by the physics and written to the metadata.
    shape: rigid-body collision shape: ``CONVEX_HULL``, ``BOX``, ``CYLINDER`` or ``SPHERE``.
    """

    obj: Any
    slug: str
    mass_kg: float
    shape: str = "CONVEX_HULL"


@dataclass(frozen=True)
class SceneSpec:
    """What is to be made. impurities: one class slug per piece, repeats allowed, () for none.
    steel: number of steel pieces, drawn by the setting when None."""

    scene: int
    seed: int
    split: str
    setting: str  # "heap" | "belt"
    impurities: tuple[str, ...] = ()
    steel: int | None = None

    def rng(self, *stream: int) -> Generator:
        """A generator of its own for each stream: none for the scene, (1, view) for a view."""
        return np.random.default_rng([self.seed, self.scene, *stream])
