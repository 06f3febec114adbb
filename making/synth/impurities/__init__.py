"""The eight impurities, by class slug: `build("motor", rng)` gives one new object."""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import Generator

from making.synth import Piece
from making.synth.impurities.aluminium import aluminium
from making.synth.impurities.cable import cable
from making.synth.impurities.copper_coil import copper_coil
from making.synth.impurities.motor import motor
from making.synth.impurities.plastic import plastic
from making.synth.impurities.rubber import rubber
from making.synth.impurities.spray_can import spray_can
from making.synth.impurities.wood import wood

BUILDERS: dict[str, Callable[[Generator], Piece]] = {
    "motor": motor,
    "cable": cable,
    "copper_coil": copper_coil,
    "spray_can": spray_can,
    "aluminium": aluminium,
    "rubber": rubber,
    "plastic": plastic,
    "wood": wood,
}


def build(slug: str, rng: Generator) -> Piece:
    """A new piece of impurity `slug`, roughly 0.1 to 0.7 m long, linked to the current collection.

    Raises KeyError with the known slugs when `slug` is none of them.
    """
    if slug not in BUILDERS:
        raise KeyError(f"no impurity called {slug!r}; known: {', '.join(BUILDERS)}")
    return BUILDERS[slug](rng)
