"""What an image of the studio set shows and how it is said: its plan and its caption.

Plain Python and numpy, no Blender. An image is defined by its seed and its id alone: `plan` draws
what it shows, `caption` says it, and both are the same whatever else is rendered. The words are
those of `studio_nouns`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from making.synth.studio_nouns import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT_WORDS,
    MATERIAL_WORDS,
    MATERIALS,
    NOUNS,
)

SEED = 20260613


@dataclass(frozen=True)
class ObjectSpec:
    """One object to be built: keys of `NOUNS`, `MATERIALS`, `COLOURS` (None: the material's own),
    its state (clean, worn or dirty), and whether it lies on its side."""

    noun: str
    material: str
    colour: str | None
    state: str
    lying: bool


@dataclass(frozen=True)
class ImageSpec:
    """One image to be made. stacked: the second object stands on the first."""

    number: int
    seed: int
    split: str
    background: str
    objects: tuple[ObjectSpec, ...]
    stacked: bool

    @property
    def id(self) -> str:
        """Six digits, the files' stem."""
        return f"{self.number:06d}"

    def rng(self, stream: int) -> Generator:
        """A generator of its own for each stream: 0 plan, 1 scene, 2 picture, 3 caption."""
        return np.random.default_rng([self.seed, self.number, stream])


def _one(rng: Generator, options: Sequence):
    return options[rng.integers(len(options))]


def plan(number: int, seed: int = SEED) -> ImageSpec:
    """What image `number` shows; every tenth image is held out."""
    rng = np.random.default_rng([seed, number, 0])
    names = list(NOUNS)
    weights = np.array([NOUNS[name].weight for name in names])
    count = int(rng.choice([1, 2, 3], p=[0.42, 0.36, 0.22]))
    chosen = [names[i] for i in rng.choice(len(names), count, False, weights / weights.sum())]
    chosen.sort(key=lambda name: not NOUNS[name].flat)  # what can carry comes first
    objects = []
    for name in chosen:
        noun = NOUNS[name]
        material = _one(rng, noun.materials)
        palette = MATERIALS[material].colours
        colour = _one(rng, (noun.colours or palette) if palette != (None,) else palette)
        state = str(rng.choice(["clean", "worn", "dirty"], p=[0.4, 0.38, 0.22]))
        objects.append(ObjectSpec(name, material, colour, state, bool(rng.random() < noun.lies)))
    first = objects[0]
    stacked = count > 1 and NOUNS[first.noun].flat and not first.lying and rng.random() < 0.6
    split = "heldout" if number % 10 == 9 else "train"
    return ImageSpec(number, seed, split, _one(rng, list(BACKGROUNDS)), tuple(objects), stacked)


def _material_word(noun: str, word: str, material: str, rng: Generator) -> str:
    """What to say of the material before `word`; less, or nothing, where the word names one."""
    words = MATERIALS[material].words
    said = words[0] if rng.random() < 0.6 else _one(rng, words)
    tokens = set(word.split())
    if NOUNS[noun].category == "impurities":  # they are of several materials at once
        return ""
    if not tokens & MATERIAL_WORDS:
        return said
    if words[0].endswith("steel") and tokens & {"steel", "metal", "iron"}:
        return words[0].removesuffix("steel").strip()
    return ""


def phrase(thing: ObjectSpec, rng: Generator) -> tuple[str, str]:
    """(phrase, phrase with article) for one object: material, colour and state are said or not."""
    noun = NOUNS[thing.noun]
    word = thing.noun if not noun.also or rng.random() < 0.6 else _one(rng, noun.also)
    material = _material_word(thing.noun, word, thing.material, rng)
    dirty = _one(rng, ("dirty", "old", "grimy")) if rng.random() < 0.35 else ""
    telling = rng.random()
    parts = [
        dirty if thing.state == "dirty" and noun.category != "food" else "",
        thing.colour or "" if telling < 0.55 or telling > 0.85 else "",
        material if telling < 0.70 else "",
        word,
    ]
    text = " ".join(part for part in parts if part)
    article = noun.article or ("an" if text[0].lower() in "aeiou" else "a")
    return text, f"{article} {text}"


def caption(
    spec: ImageSpec, visible: Sequence[int], relation: str, rng: Generator
) -> tuple[str, list[str]]:
    """The caption, and for each visible object its phrase in it.

    Args:
        spec: what was asked for.
        visible: indices into ``spec.objects`` of what can be seen, at least one.
        relation: how the first visible object lies to the second as the camera sees it: ``on``,
            ``under``, ``behind``, ``in front of`` or ``next to``.
    """
    said = [phrase(spec.objects[i], rng) for i in visible]
    names = [whole for _, whole in said]
    place = spec.background
    if rng.random() < 0.35:
        place = _one(rng, BACKGROUNDS[place])
    plain = "background" in place or place in COLOURS
    where = f" {_one(rng, ('on', 'against', 'in front of')) if plain else 'on'} {place}"
    if rng.random() < 0.28:
        where = ""
    if relation == "next to":
        relation = _one(rng, ("next to", "beside", "close to", "near"))
    elif relation == "on":
        relation = _one(rng, ("on", "on top of", "lying on"))
    if len(names) == 1:
        form = _one(rng, (
            "a photo of {0}{w}", "{0}{w}", "a picture of {0}{w}", "a close-up of {0}{w}",
            "a studio photo of {0}{w}", "one object: {0}{w}", "an image of {0}{w}", "{0}{w}",
            "this is {0}{w}", "a single object{w}: {0}",
        ))  # fmt: skip
    elif len(names) == 2:
        form = _one(rng, (
            "{0} {r} {1}{w}", "a photo of {0} {r} {1}{w}", "{0} and {1}{w}",
            "two objects: {0} and {1}{w}", "{0} {r} {1}{w}", "a picture of {0} and {1}{w}",
            "two things{w}: {0} and {1}", "{1} and {0}{w}",
        ))  # fmt: skip
    else:
        form = _one(rng, (
            "{0}, {1} and {2}{w}", "a photo of {0}, {1} and {2}{w}",
            "three objects: {0}, {1} and {2}{w}", "{0} {r} {1}, and {2}{w}",
            "{2}, {0} and {1}{w}", "{0} with {1} and {2}{w}", "three things{w}: {2}, {1} and {0}",
        ))  # fmt: skip
    text = form.format(*names, r=relation, w=where)
    return text, [short for short, _ in said]


def held_out(text: str) -> list[str]:
    """The held-out words in a text, as whole words; [] when there is none."""
    return [w for w in HELD_OUT_WORDS if re.search(rf"\b{re.escape(w)}s?\b", text.lower())]
