"""The nine classes of ScrapSeg: their names, words, colours, and why a steelworks cares.

A class's position in ``CLASSES`` is its value in the label images: 0 is steel (and everything
else that is no impurity, such as the ground), 1 to 8 are the impurities. This file is plain
Python without imports from outside the standard library, so that the scene generator can use it
from Blender's own environment.

Why impurities matter, in one paragraph. Scrap is remelted in electric arc furnaces. A *hazard*
endangers people and plant before or during melting. A *tramp element* such as copper is nobler
than iron: it is not oxidised into the slag with the other impurities, stays in the melt, and
gathers with every round of recycling; it makes steel crack at the surface when it is rolled hot
(hot shortness). The EU-27 steel scrap specification (EFR, May 2007) therefore caps residuals by
grade, for shredded scrap (E40) at 0.25 % copper and 0.02 % tin. Aluminium is counted with the
tramp metals for short, though it does oxidise into the slag. A *non-metal* brings no iron at all:
it leaves as slag, dust and flue gas.

Colours are the seven hues of Okabe and Ito (2008), "Color Universal Design", and a dark wine red
from Paul Tol's "muted" scheme; steel is a light grey. A test holds them apart for readers with
full protanopia, deuteranopia or tritanopia.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["steel", "hazard", "tramp", "non-metal"]


@dataclass(frozen=True)
class ScrapClass:
    """One class of a data set: of ScrapSim below, of others in their own files.

    Attributes:
        index: value of the class in label images, 0 the normal class.
        slug: short name for files, columns and metric names (``iou/<slug>``).
        name: the name as it is written in prose and in prompts, without an article.
        words: synonyms a sorter might use, the name first; prompts average them.
        colour: red, green, blue, each 0..255.
        kind: ``steel``, ``hazard``, ``tramp`` (a foreign metal) or ``non-metal``; none for classes
            that are not of scrap.
        why: one sentence on why it matters in the melt shop.
    """

    index: int
    slug: str
    name: str
    words: tuple[str, ...]
    colour: tuple[int, int, int]
    kind: Kind | None = None
    why: str = ""


CLASSES: tuple[ScrapClass, ...] = (
    ScrapClass(
        0,
        "steel",
        "steel scrap",
        ("steel scrap", "steel", "scrap iron", "steel plate", "rusty steel", "ferrous scrap"),
        (200, 200, 200),
        "steel",
        "The product: rusted, painted, galvanised or bare, it goes into the furnace.",
    ),
    ScrapClass(
        1,
        "motor",
        "electric motor",
        (
            "electric motor",
            "motor",
            "stator with copper windings",
            "engine",
            "pump motor",
            "starter motor",
            "armature",
        ),
        (213, 94, 0),
        "tramp",
        "Its copper windings hide in an iron housing that a lifting magnet picks up with the "
        "steel, which makes it one of the main ways copper gets into the melt.",
    ),
    ScrapClass(
        2,
        "cable",
        "cable",
        (
            "cable",
            "electric cable",
            "insulated wire",
            "power cord",
            "wiring harness",
            "copper wire",
        ),
        (0, 114, 178),
        "tramp",
        "Copper in a plastic jacket: the copper stays in the steel, and a PVC jacket gives off "
        "hydrogen chloride when it burns.",
    ),
    ScrapClass(
        3,
        "copper_coil",
        "copper coil",
        (
            "copper coil",
            "bare copper",
            "copper winding",
            "copper pipe",
            "copper tube",
            "coil of copper wire",
        ),
        (230, 159, 0),
        "tramp",
        "Copper cannot be oxidised out of the melt and causes hot shortness; shredded scrap of "
        "grade E40 may hold no more than 0.25 %.",
    ),
    ScrapClass(
        4,
        "spray_can",
        "spray can",
        ("spray can", "aerosol can", "spray paint can", "pressurised can", "gas cartridge"),
        (204, 121, 167),
        "hazard",
        "A closed container bursts in the heat of the shredder or the furnace, which is why the "
        "EU-27 specification bans pressurised and closed containers from every grade.",
    ),
    ScrapClass(
        5,
        "aluminium",
        "aluminium",
        (
            "aluminium",
            "aluminum",
            "aluminium profile",
            "extruded aluminium",
            "aluminium extrusion",
            "light alloy profile",
        ),
        (86, 180, 233),
        "tramp",
        "It oxidises into the slag instead of the steel: the metal is lost to recycling and the "
        "slag's chemistry is upset.",
    ),
    ScrapClass(
        6,
        "rubber",
        "rubber",
        ("rubber", "tyre", "tire", "rubber hose", "rubber tube", "rubber seal"),
        (136, 34, 85),
        "non-metal",
        "It burns to soot and sulphur oxides and carries sulphur, which embrittles steel, into "
        "the furnace.",
    ),
    ScrapClass(
        7,
        "plastic",
        "plastic",
        ("plastic", "plastic container", "plastic bottle", "canister", "plastic bucket", "polymer"),
        (240, 228, 66),
        "non-metal",
        "It burns instead of melting: smoke and organic pollutants in the flue gas, and no iron.",
    ),
    ScrapClass(
        8,
        "wood",
        "wood",
        ("wood", "piece of wood", "timber", "wooden board", "plank", "pallet wood"),
        (0, 158, 115),
        "non-metal",
        "It brings moisture, ash and smoke in place of iron and makes the weight paid for untrue.",
    ),
)

STEEL: ScrapClass = CLASSES[0]
IMPURITIES: tuple[ScrapClass, ...] = CLASSES[1:]
SLUGS: tuple[str, ...] = tuple(c.slug for c in CLASSES)


def by_slug(slug: str) -> ScrapClass:
    """The class with this slug; ``KeyError`` naming the known slugs when there is none."""
    for c in CLASSES:
        if c.slug == slug:
            return c
    raise KeyError(f"no class {slug!r}; known classes: {', '.join(SLUGS)}")


def palette() -> list[int]:
    """The palette of a label image: 768 numbers (256 times red, green, blue, each 0..255).

    Entry ``k`` is the colour of class ``k``; entries beyond the classes are black. It is what
    ``PIL.Image.Image.putpalette`` takes.
    """
    flat = [channel for c in CLASSES for channel in c.colour]
    return flat + [0] * (768 - len(flat))
