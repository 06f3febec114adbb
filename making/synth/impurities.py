"""The eight impurities, by class slug: `build("motor", rng)` gives one new object."""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import Generator

from making.synth import Piece, impurity_metal, impurity_other

BUILDERS: dict[str, Callable[[Generator], Piece]] = {
    slug: (impurity_metal.BUILDERS | impurity_other.BUILDERS)[slug]
    for slug in (
        "motor",
        "cable",
        "copper_coil",
        "spray_can",
        "aluminium",
        "rubber",
        "plastic",
        "wood",
    )
}


def build(slug: str, rng: Generator) -> Piece:
    """A new piece of impurity `slug`, roughly 0.1 to 0.7 m long, linked to the current collection.

    Raises KeyError with the known slugs when `slug` is none of them.
    """
    if slug not in BUILDERS:
        raise KeyError(f"no impurity called {slug!r}; known: {', '.join(BUILDERS)}")
    return BUILDERS[slug](rng)
