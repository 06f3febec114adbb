"""Is it the words that an alignment is worth, or the classes? Studio sets whose words are wrong.

    python -m making.align control --targets permuted [--without-impurities] --out FOLDER

- *text*: the true words.
- *permuted*: each noun has another noun's name, each material another's, the same throughout: what
  is called a teapot is always a bucket. Things are told apart as before, and no word is right.
- *numbers*: no words. In the place of texts stand orthogonal directions, one for each noun and for
  each background, as a classifier has them; captions teach nothing.

Each also without the pictures that show one of the nouns made after ScrapSim's impurities. The
pictures are the studio set's own, by links. Captions of all three are put together anew from the
objects' phrases, so that text and permuted differ in nothing else; numbers has no captions,
materials and colours to learn from either.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from making.align.studio import Facts, Studio, Text, TextBank, filled, named, words_of
from scrapseg.files import atomic_write

TARGETS = ("text", "permuted", "numbers")
IMPURITIES = "impurities"
"""The category of the nouns that are made after ScrapSim's."""


def write_control(
    studio: Path, out: Path, targets: str, *, impurities: bool = True, seed: int = 0
) -> Path:
    """A studio set as one of `TARGETS` has it, in `out`.

    Args:
        impurities: keep the pictures that show one.
        seed: of the permutation.

    Raises:
        ValueError: no such targets.
        DataError: `studio` is damaged.
    """
    if targets not in TARGETS:
        raise ValueError(f"targets are {targets!r}, must be one of {', '.join(TARGETS)}")
    Studio(studio, "train")  # is it whole?
    lines = (studio / "metadata.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    things = [thing for record in records for thing in record["objects"]]
    nouns, materials = ({t[key]: t[key] for t in things} for key in ("noun", "material"))
    if targets == "permuted":
        draw = np.random.default_rng(seed)
        nouns, materials = cycle(list(nouns), draw), cycle(list(materials), draw)
    if not impurities:
        shows = {r["id"] for r in records if any(t["category"] == IMPURITIES for t in r["objects"])}
        records = [r for r in records if r["id"] not in shows]
    text = "".join(json.dumps(renamed(r, nouns, materials)) + "\n" for r in records)
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / "metadata.jsonl", text)
    for folder in ("images", "instances"):
        if not (out / folder).is_symlink():
            (out / folder).symlink_to((studio / folder).resolve())
    return out


def cycle(names: Sequence[str], draw: np.random.Generator) -> dict[str, str]:
    """Another name for each: one random cycle through all, so that none keeps its own."""
    order = draw.permutation(sorted(names)).tolist()
    return dict(zip(order, [*order[1:], order[0]], strict=True))


def renamed(
    record: dict[str, Any], nouns: dict[str, str], materials: dict[str, str]
) -> dict[str, Any]:
    """A record with other names, in its objects and its caption."""
    objects = []
    for thing in record["objects"]:
        said, noun = words_of(thing["phrase"]), nouns[thing["noun"]]
        material = materials[thing["material"]]
        words = [thing["colour"]] if thing["colour"] in said else []
        words += [named(material if words_of(thing["material"]) <= said else None, noun)]
        objects.append(thing | {"noun": noun, "material": material, "phrase": " ".join(words)})
    shown = " and ".join(filled("a {}", thing["phrase"]) for thing in objects)
    return record | {"objects": objects, "caption": f"{shown} on {record['background']}"}


class Numbers(TextBank):
    """In the place of a bank of texts: a direction for each noun and each background.

    `vectors` are orthonormal as far as there is room; all captions have the first, for they are not
    learned. Materials and colours have none.
    """

    def __init__(self, *parts: Studio, width: int = 384, seed: int = 0) -> None:
        records = [r for part in parts for r in part.records]
        facts = {o.facts for r in records for o in r.objects}
        nouns = sorted({f.noun for f in facts})
        grounds = sorted({r.background for r in records})
        self.texts = [Text(n, Facts(n)) for n in nouns]
        self.texts += [Text(g, Facts(background=g)) for g in grounds]
        self.things = {f: [[nouns.index(f.noun)]] for f in facts}
        self.backgrounds = {g: len(nouns) + k for k, g in enumerate(grounds)}
        self.materials, self.captions = {}, {r.caption: 0 for r in records}
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(len(self.texts), width, generator=generator)
        blocks = [torch.linalg.qr(block.T)[0].T for block in drawn.split(width)]
        self.vectors = torch.cat(blocks)
