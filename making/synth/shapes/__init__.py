"""Shapes of the studio set: one short builder for each noun of `studio_nouns.NOUNS`.

A builder takes a random generator and yields (surface, shape) pairs. The surface is ``main`` for
what the caption's material and colour speak of, or a key of `studio_surfaces.TRIMS` for the rest.
Z points up, sizes are arbitrary (about 1): the scene scales every object to its own size.
"""

# ruff: noqa: I001 (in the order in which the nouns enter the registry)
from making.synth.shapes import tools
from making.synth.shapes import household
from making.synth.shapes import industrial
from making.synth.shapes import building
from making.synth.shapes import containers
from making.synth.shapes import food
from making.synth.shapes import electronics
from making.synth.shapes.base import SHAPES
