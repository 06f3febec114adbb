"""The studio set: captioned renders of everyday things, and which texts are true of which thing.

It exists to teach the pocket model's image side the words of its text side (`making.align`) and
holds no scrap scene. On disk: ``images/<id>.jpg``, ``instances/<id>.png`` (0 is the background,
``k`` is object ``k``) and ``metadata.jsonl``, one record per image with its caption, its
background and its objects. `make render-studio` renders it.

Two halves, read from top to bottom: reading the set; then the texts that name its objects, and
`relation`, which says whether a text is true of an object. Alignment contrasts every object with
many texts, and a text that is true of it as well ("bucket" of a red plastic bucket) must not
count as a mistake.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from scrapseg.data.base import DataError, EmptySplit, MissingFile, SizeMismatch, read_image
from scrapseg.models import weights
from scrapseg.models.prompts import cached_vectors
from scrapseg.models.towers import encode_texts

SPLITS = ("train", "heldout")
_RESTORE = "render the studio set again: make render-studio"


class BrokenMetadata(DataError):
    """A line of ``metadata.jsonl`` is no record, or does not fit its instance image."""


# --- reading ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What is so about a thing in a picture, or what a text claims of it; None: nothing is said.

    Attributes:
        noun: such as "bucket". material: such as "plastic". colour: such as "red".
        background: of a background, its description, such as "a grey concrete floor".
        not_steel: it is not, or not only, made of steel.
        loose: the text may say more than these facts, as a caption's own words do.
    """

    noun: str | None = None
    material: str | None = None
    colour: str | None = None
    background: str | None = None
    not_steel: bool = False
    loose: bool = False


@dataclass(frozen=True)
class StudioObject:
    """One object: its number in the instance image, its facts, the caption's phrase for it.

    `category` is the noun's ("tools"), `pixels` the number that is seen.
    """

    id: int
    facts: Facts
    category: str
    phrase: str
    pixels: int


@dataclass(frozen=True)
class StudioRecord:
    """One image without its pixels, as ``metadata.jsonl`` describes it."""

    id: str
    split: str
    caption: str
    background: str
    objects: tuple[StudioObject, ...]


@dataclass(frozen=True)
class StudioSample:
    """One image: uint8 `image` (H, W, 3), uint8 `instances` (H, W; 0 background), its record."""

    image: np.ndarray
    instances: np.ndarray
    record: StudioRecord


class Studio(Sequence[StudioSample]):
    """One split of a studio set; images are read when asked for.

    Args:
        root: folder of the set.
        split: ``train`` or ``heldout``.
        limit: keep only the first so many images.

    Attributes:
        records: `StudioRecord` of each image, by ascending id.
        sha256: hash of ``metadata.jsonl``, the set's name in run records.

    Raises:
        ValueError: no such split.
        MissingFile, BrokenMetadata, EmptySplit: the folder is damaged or holds no such image.
    """

    def __init__(
        self, root: str | os.PathLike[str], split: str, *, limit: int | None = None
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, must be one of {', '.join(SPLITS)}")
        self.root, self.split = Path(root), split
        path = self.root / "metadata.jsonl"
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise MissingFile(f"{path}: file is missing; {_RESTORE}") from None
        self.sha256 = hashlib.sha256(content).hexdigest()
        lines = enumerate(content.decode(errors="replace").splitlines(), start=1)
        records = [_record(line, f"{path}, line {number}") for number, line in lines]
        chosen = sorted((r for r in records if r.split == split), key=lambda r: r.id)[:limit]
        if not chosen:
            raise EmptySplit(f"{path}: no image of split {split!r}; {_RESTORE}")
        self.records: list[StudioRecord] = chosen

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> StudioSample:  # type: ignore[override]
        """Read one image.

        Raises:
            MissingFile, BrokenImage: a file is not there or cannot be decoded.
            SizeMismatch: the instances are no grey image of the image's size.
            BrokenMetadata: instance image and record do not hold the same objects.
        """
        record = self.records[index]
        image = read_image(self.root / "images" / f"{record.id}.jpg", as_rgb=True, remedy=_RESTORE)
        path = self.root / "instances" / f"{record.id}.png"
        instances = read_image(path, remedy=_RESTORE)
        if instances.shape != image.shape[:2]:
            raise SizeMismatch(f"{path}: shape {instances.shape}, its image {image.shape}")
        seen, told = set(np.unique(instances).tolist()) - {0}, {o.id for o in record.objects}
        if seen != told:
            raise BrokenMetadata(
                f"{path}: holds objects {sorted(seen)}, the metadata {sorted(told)}; {_RESTORE}"
            )
        return StudioSample(image, instances, record)


def _record(line: str, where: str) -> StudioRecord:
    try:
        raw = json.loads(line)
        objects = tuple(_object(o) for o in raw["objects"])
        fields = [raw[key] for key in ("id", "split", "caption", "background")]
        if not objects or not all(isinstance(f, str) and f for f in fields):
            raise ValueError("empty field")
        return StudioRecord(*fields, objects)
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenMetadata(f"{where}: not a record ({error!r}); {_RESTORE}") from None


def _object(raw: dict[str, Any]) -> StudioObject:
    noun, material, category = raw["noun"], raw["material"], raw["category"]
    ferrous = bool((words_of(material) | words_of(noun)) & _FERROUS)
    impurity = category == "impurities"
    # An electric motor has a steel housing, and yet it is not what a sorter calls steel.
    facts = Facts(
        noun,
        None if impurity and ferrous else material,
        raw["colour"],
        not_steel=impurity or not ferrous,
    )
    return StudioObject(int(raw["id"]), facts, category, raw["phrase"], int(raw["pixels"]))


def composition(*parts: Studio) -> dict[str, int]:
    """What is in the given splits: images, objects, and distinct nouns, materials and so on."""
    records = [r for part in parts for r in part.records]
    facts = [o.facts for r in records for o in r.objects]
    return {
        "images": len(records),
        "objects": len(facts),
        "nouns": len({f.noun for f in facts}),
        "materials": len({f.material for f in facts if f.material}),
        "colours": len({f.colour for f in facts if f.colour}),
        "backgrounds": len({r.background for r in records}),
        "captions": len({r.caption for r in records}),
    }


# --- texts ------------------------------------------------------------------------------------

#: Sentences around words for a thing; those of `scrapseg.models.prompts` are among them, so that
#: the prompts of the project look familiar to the aligned model.
THING_TEMPLATES = (
    "{}",
    "a photo of {}",
    "a photo of a {}",
    "a close-up of a piece of {}",
    "{} in a pile of scrap metal",
)
#: Colours multiply the phrases, so these get fewer sentences each.
COLOUR_TEMPLATES = ("{}", "a photo of a {}")
MATERIAL_TEMPLATES = (
    "{}",
    "a photo of {}",
    "a piece of {}",
    "a close-up of a piece of {}",
    "{} scrap",
    "{} in a pile of scrap metal",
    "object which is made of {}",
)
NOT_STEEL_TEMPLATE = "object which is not steel but {}"
#: Other words for a material as a substance.
MATERIAL_SYNONYMS = {"aluminium": ("aluminum",), "wood": ("timber",)}
#: How a material is put before a noun, where not by its own name.
ADJECTIVES = {"wood": "wooden", "painted wood": "painted wooden", "food": ""}

_COLOURS = frozenset(
    {"red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "brown", "black"}
    | {"grey", "white", "dark", "light"}
)
_FERROUS = frozenset({"steel", "iron"})
_FILLERS = frozenset({"a", "an", "the", "of", "on", "in", "with", "and", "plain"})
#: A wooden table is of wood.
_STEMS = {"wooden": "wood", "tiled": "tile", "tiles": "tile"}


@dataclass(frozen=True)
class Text:
    """A sentence and what it claims."""

    sentence: str
    facts: Facts


@lru_cache(maxsize=1 << 16)
def words_of(phrase: str | None) -> frozenset[str]:
    """The words of a phrase that carry meaning; an adjective of material counts as the material."""
    words = (phrase or "").lower().replace("-", " ").replace(",", " ").split()
    return frozenset(_STEMS.get(w, w) for w in words) - _FILLERS


@lru_cache(maxsize=1 << 20)
def relation(text: Facts, thing: Facts) -> int:
    """Whether a text is true of a thing: 1 yes, -1 no, 0 the records cannot tell.

    A text is true when all it says is so: its noun is the thing's, or that noun's last part ("can"
    of a tin can); its material's words are among the thing's ("steel" of a rusty steel pipe); its
    colour is the thing's. Not to be told are a narrower noun (the can may be a tin can), a colour
    where the material shows its own, a loose text without a fault, and a background of the same
    stuff as the thing.
    """
    if text.background or thing.background:
        return _background_relation(text, thing)
    verdicts = [1]
    if text.noun:
        verdicts.append(_noun_relation(text.noun, thing.noun or ""))
    if text.material:
        among = words_of(text.material) <= words_of(thing.material) | words_of(thing.noun)
        verdicts.append(1 if among else -1 if thing.material else 0)
    if text.colour:
        verdicts.append(0 if thing.colour is None else 1 if text.colour == thing.colour else -1)
    if text.not_steel:
        verdicts.append(1 if thing.not_steel else -1)
    if text.loose:
        verdicts.append(0)
    return min(verdicts)


def _noun_relation(said: str, noun: str) -> int:
    if said == noun or noun.endswith(f" {said}"):
        return 1
    narrower = said.endswith(f" {noun}")
    part = said.startswith(f"{noun} ") or noun.startswith(f"{said} ")  # pipe, pipe elbow
    return 0 if narrower or part else -1


def _background_relation(text: Facts, thing: Facts) -> int:
    said, seen = (
        words_of(f.background) | words_of(f.noun) | words_of(f.material) for f in (text, thing)
    )
    if thing.background and not text.noun and said <= seen:
        return 1
    if text.background and thing.background and _other_colour(said, seen):
        return -1
    return 0 if (said & seen) - _COLOURS else -1


def _other_colour(said: frozenset[str], seen: frozenset[str]) -> bool:
    """Both name colours, and none of them is the same."""
    return bool(said & _COLOURS and seen & _COLOURS) and not said & seen & _COLOURS


def wordings(facts: Facts) -> list[list[Text]]:
    """Texts that are true of an object, grouped by how much they say.

    The groups: noun; material and noun; colour and noun; all three. Those with a colour are
    missing where the material shows its own, those with a material where the noun names it.
    """
    noun, material, colour = facts.noun, facts.material, facts.colour
    full = named(material, noun)
    groups = [_texts(noun, Facts(noun), THING_TEMPLATES, facts.not_steel)]
    if full != noun:
        claim = Facts(noun, material)
        groups.append(_texts(full, claim, THING_TEMPLATES, facts.not_steel))
    if colour:
        forms = {f"{colour} {noun}": Facts(noun, None, colour)}
        forms.setdefault(f"{colour} {full}", Facts(noun, material, colour))
        groups += [_texts(words, claim, COLOUR_TEMPLATES) for words, claim in forms.items()]
    return groups


@lru_cache(maxsize=1 << 16)
def said_of(thing: StudioObject) -> Facts:
    """What the caption's phrase for an object surely says, beside words that are not known here."""
    words, facts = words_of(thing.phrase), thing.facts
    material = facts.material if words_of(facts.material) <= words else None
    colour = facts.colour if facts.colour in words else None
    return Facts(facts.noun, material, colour, loose=True)


def named(material: str | None, noun: str) -> str:
    """Material and noun in words; "rusty steel" and "steel plate" share their steel."""
    before = ADJECTIVES.get(material, material or "").split()
    after = noun.split()
    overlap = bool(before) and before[-1] == after[0]
    return " ".join(before[:-1] + after if overlap else before + after)


def material_wordings(material: str) -> list[Text]:
    """All texts that name a material and nothing else."""
    not_steel = not words_of(material) & _FERROUS
    names = (material, *MATERIAL_SYNONYMS.get(material, ()))
    claim = Facts(material=material)
    return [t for name in names for t in _texts(name, claim, MATERIAL_TEMPLATES, not_steel)]


def _texts(
    words: str, claim: Facts, templates: Iterable[str], not_steel: bool = False
) -> list[Text]:
    texts = [Text(filled(template, words), claim) for template in templates]
    if not_steel:
        texts.append(Text(NOT_STEEL_TEMPLATE.format(words), replace(claim, not_steel=True)))
    return texts


def filled(template: str, words: str) -> str:
    """A template around words, "an" before a vowel."""
    article = "an" if words[0].lower() in "aeiou" else "a"
    return template.replace("a {}", f"{article} {{}}").format(words)


# --- texts as vectors -------------------------------------------------------------------------


class TextBank:
    """Every text of some splits of a studio set, encoded once by the frozen text tower.

    Attributes:
        texts: list of `Text`; captions have empty facts.
        vectors: float (len(texts), 384), unit length, row i for text i.
        things: facts of an object -> rows of its texts: the groups of `wordings`, then, as one
            more group, phrases of captions.
        materials: material -> rows. backgrounds, captions: sentence -> row.
    """

    def __init__(self, *parts: Studio, cache_dir: str | Path | None = None) -> None:
        self.texts: list[Text] = []
        rows: dict[Text, int] = {}

        def row(text: Text) -> int:
            if text not in rows:
                rows[text] = len(self.texts)
                self.texts.append(text)
            return rows[text]

        records = [r for part in parts for r in part.records]
        objects: dict[Facts, dict[str, StudioObject]] = {}
        for thing in (o for r in records for o in r.objects):
            objects.setdefault(thing.facts, {})[thing.phrase] = thing
        self.things: dict[Facts, list[list[int]]] = {}
        for facts, phrases in objects.items():
            groups = wordings(facts)
            known = {text.sentence for group in groups for text in group}
            loose = [Text(p, said_of(o)) for p, o in phrases.items() if p not in known]
            groups += [loose] if loose else []
            self.things[facts] = [[row(text) for text in group] for group in groups]
        names = sorted({f.material for f in objects if f.material})
        self.materials = {name: [row(t) for t in material_wordings(name)] for name in names}
        grounds = sorted({r.background for r in records})
        self.backgrounds = {g: row(Text(g, Facts(background=g))) for g in grounds}
        self.captions = {r.caption: row(Text(r.caption, Facts())) for r in records}
        self.vectors = encode_cached([t.sentence for t in self.texts], cache_dir)


def encode_cached(sentences: list[str], cache_dir: str | Path | None = None) -> Tensor:
    """`encode_texts` in parts, kept on disk by the hash of the sentences and of the text tower.

    `cache_dir` defaults to the user's cache folder.
    """
    distinct = sorted(set(sentences))

    def encoded() -> Tensor:
        starts = range(0, len(distinct), 256)
        bar = tqdm(starts, desc="encode texts", mininterval=2, disable=len(starts) < 4)
        return torch.cat([encode_texts(distinct[i : i + 256]) for i in bar])

    vectors = cached_vectors([weights.MINILM_SHA256, distinct], encoded, cache_dir)
    where = {sentence: i for i, sentence in enumerate(distinct)}
    return vectors[[where[s] for s in sentences]]
