"""The class list of one's own images: a YAML file of a few lines.

    steel:   {words: [steel scrap, rusty steel]}
    copper:  {words: [copper coil, bare copper wire], colour: "#e69f00"}
    battery: {words: [car battery, lead battery], colour: "#d55e00"}

The first class is the normal one. Words and colour may be left out: the name is then the only
word, and colours come from the benchmark's palette. `name` may give another name to show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from matplotlib.colors import to_rgb

from scrapseg.data.base import DataError, MissingFile, UnknownLabel
from scrapseg.data.classes import CLASSES, ScrapClass

#: A label image holds one byte a pixel, and nobody tells more colours apart.
MOST_CLASSES = 64

_EXAMPLE = 'write lines such as  copper: {words: [copper wire], colour: "#e69f00"}'


def read_classes(path: str | Path) -> list[ScrapClass]:
    """The classes of a YAML file, in its order; index 0 is the normal class.

    Raises:
        MissingFile: no such file.
        DataError: it is no class list; the message says which line or class.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFile(f"{path}: no such file; {_EXAMPLE}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}); save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML ({' '.join(str(error).split())}); {_EXAMPLE}") from None
    if isinstance(content, dict) and isinstance(content.get("classes"), dict):
        content = content["classes"]  # the file beside a saved model
    return classes_from(content, path)


def classes_from(content: Any, path: str | Path) -> list[ScrapClass]:
    """`read_classes` of what YAML made of a file; `path` is for messages."""
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a list of classes; {_EXAMPLE}")
    if not 2 <= len(content) <= MOST_CLASSES:
        raise DataError(
            f"{path}: {len(content)} classes; name the normal class first, then at least one "
            f"impurity, {MOST_CLASSES} in all at most"
        )
    classes: list[ScrapClass] = []
    for index, (name, entry) in enumerate(content.items()):
        name, entry = str(name).strip(), {} if entry is None else entry
        if not isinstance(entry, Mapping) or not set(entry) <= {
            "name",
            "words",
            "colour",
            "color",
            "why",
        }:
            raise DataError(f"{path}, class {name!r}: not of words and colour; {_EXAMPLE}")
        words = entry.get("words", [name.replace("_", " ")])
        words = [words] if isinstance(words, str) else words
        if not isinstance(words, list) or not words or not all(map(str, words)):
            raise DataError(f"{path}, class {name!r}: words is no list of words; {_EXAMPLE}")
        colour = _colour(entry.get("colour", entry.get("color")), index, f"{path}, class {name!r}")
        slug = re.sub(r"\W+", "_", name.casefold()).strip("_")
        if not slug or slug in {c.slug for c in classes}:
            raise DataError(f"{path}, class {name!r}: the name is empty or used twice")
        shown, why = str(entry.get("name", name)), str(entry.get("why", ""))
        classes.append(ScrapClass(index, slug, shown, tuple(map(str, words)), colour, None, why))
    return classes


def _colour(value: Any, index: int, where: str) -> tuple[int, int, int]:
    if value is None:
        return CLASSES[index % len(CLASSES)].colour if index else CLASSES[0].colour
    try:
        parts = [v / 255 for v in value] if isinstance(value, list) else value
        red, green, blue = (round(255 * v) for v in to_rgb(parts))
    except (ValueError, TypeError):
        raise DataError(
            f'{where}: {value!r} is no colour; write "#e69f00" or [230, 159, 0]'
        ) from None
    return red, green, blue


def as_yaml(classes: Sequence[ScrapClass]) -> dict[str, dict]:
    """A class list as `classes_from` reads it."""
    return {
        c.slug: {
            "name": c.name,
            "words": list(c.words),
            "colour": "#{:02x}{:02x}{:02x}".format(*c.colour),
        }
        for c in classes
    }


def class_finder(classes: Sequence[ScrapClass]):
    """A function from the name in a label file to the class's index.

    Case, underscores and hyphens do not count, and a prompt word is as good as the name. The
    function takes the name and where it stands, and raises `UnknownLabel` on a name of no class.
    """

    def plain(name: str) -> str:
        return re.sub(r"[\s_-]+", " ", str(name)).strip().casefold()

    known: dict[str, int] = {}
    for key in ("slug", "name"):  # names win over another class's words
        known |= {plain(getattr(c, key)): c.index for c in classes}
    for c in classes:
        for word in c.words:
            known.setdefault(plain(word), c.index)

    def find(name: str, where: str) -> int:
        if plain(name) not in known:
            raise UnknownLabel(
                f"{where}: class {str(name)!r} is none of {', '.join(c.slug for c in classes)}; "
                "name it in classes.yaml"
            )
        return known[plain(name)]

    return find
