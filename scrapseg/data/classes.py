"""Classes are data: names, words, colours in a YAML file, ScrapSim's nine as well as a user's own.

    steel:   {words: [steel scrap, rusty steel]}
    copper:  {words: [copper coil, bare copper wire], colour: "#e69f00"}
    battery: {words: [car battery, lead battery], colour: "#d55e00"}

A class's position in the list is its value in label images; the first one is the normal class.
Words and colour may be left out: the name is then the only word, and colours come from ScrapSim's,
or are such as none that is there looks like.
`name` may give another name to show, `kind` and `why` say what it does in the melt shop. ScrapSim's
list is `classes.yaml` beside this file. The scene generator reads it from Blender's environment, so
nothing heavy is imported here.

Why impurities matter, in one paragraph. Scrap is remelted in electric arc furnaces. A *hazard*
endangers people and plant before or during melting. A *tramp element* such as copper is nobler
than iron: it is not oxidised into the slag with the other impurities, stays in the melt, and
gathers with every round of recycling; it makes steel crack at the surface when it is rolled hot
(hot shortness). The EU-27 steel scrap specification (EFR, May 2007) therefore caps residuals by
grade, for shredded scrap (E40) at 0.25 % copper and 0.02 % tin. Aluminium is counted with the
tramp metals for short, though it does oxidise into the slag. A *non-metal* brings no iron at all:
it leaves as slag, dust and flue gas.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from PIL import ImageColor

from scrapseg.data.errors import DataError, MissingFile, UnknownLabel
from scrapseg.files import small_text

Kind = Literal["steel", "hazard", "tramp", "non-metal"]
Colour = tuple[int, int, int]
"""Red, green, blue, each 0..255."""

#: A label image holds one byte a pixel, and nobody tells more colours apart.
MOST_CLASSES = 64
BLACK = (0, 0, 0)
#: Difference (CIEDE2000) of two colours that are told apart at a glance; ScrapSim's least is 21.7.
APART = 20
#: Label of pixels that no loss and no figure looks at.
IGNORED = 255
#: What tools call the pixels that no loss should look at, and those of the normal class.
IGNORE_NAMES = ("ignore", "ignored", "void", "unlabeled", "unlabelled", "don't care", "dontcare")
BACKGROUND_NAMES = ("background", "bg")
#: Words by which a class is known as a normal one; any other may be, if nothing is labelled by it.
NORMAL_WORDS = {"steel", "iron", "ferrous", "scrap", "background", "normal", "ok", "good", "clean"}
NORMAL_WORDS |= {"nothing", "none", "empty", "belt", "conveyor", "ground", "floor", "stahl"}
NORMAL_WORDS |= {"eisen", "schrott", "acier", "fer", "acero", "hierro", "acciaio", "ferro"}
NORMAL_WORDS |= {"废钢", "钢"}
#: Code points that no encoding writes, and the end of a string in C.
_NO_TEXT = re.compile("[\ud800-\udfff\0]")
_KEYS = {"name", "words", "colour", "color", "kind", "why"}
_EXAMPLE = 'write lines such as  copper: {words: [copper wire], colour: "#e69f00"}'


@dataclass(frozen=True)
class ScrapClass:
    """One class of a data set.

    Attributes:
        index: value of the class in label images, 0 the normal class.
        slug: short name for files, columns and metric names (``iou/<slug>``).
        name: the name as it is written in prose and in prompts, without an article.
        words: synonyms a sorter might use, the name first; prompts average them.
        colour: in label images and pictures.
        kind: ``steel``, ``hazard``, ``tramp`` (a foreign metal) or ``non-metal``; none for classes
            that are not of scrap.
        why: one sentence on why it matters in the melt shop.
    """

    index: int
    slug: str
    name: str
    words: tuple[str, ...]
    colour: Colour
    kind: Kind | None = None
    why: str = ""


def read_classes(path: str | Path) -> list[ScrapClass]:
    """The classes of a YAML file, in its order; index 0 is the normal class.

    Raises:
        MissingFile: no such file.
        DataError: it is no class list; the message says which line or class.
    """
    path = Path(path)
    try:
        # Plain strings throughout: a class may well be called no, which YAML takes for false.
        text = small_text(path)
        node, content = yaml.compose(text), yaml.load(text, yaml.BaseLoader)
    except FileNotFoundError:
        raise MissingFile(f"{path}: no such file; {_EXAMPLE}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}); save it as UTF-8") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path}: not YAML ({' '.join(str(error).split())}); {_EXAMPLE}") from None
    for part in [node, *([v for _, v in node.value] if isinstance(node, yaml.MappingNode) else [])]:
        if isinstance(part, yaml.MappingNode):  # of two equal keys YAML keeps one
            names = Counter(str(key.value) for key, _ in part.value)
            if twice := [name for name, n in names.items() if n > 1]:
                raise DataError(f"{path}, {twice[0]!r}: stands there twice; rename or drop one")
    if isinstance(content, dict) and isinstance(content.get("classes"), dict | list):
        content = content["classes"]  # the file beside a saved model
    return classes_from(content, path)


def classes_from(content: Any, path: str | Path) -> list[ScrapClass]:
    """`read_classes` of what YAML made of a file; `path` is for messages."""
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a list of classes; {_EXAMPLE}")
    if not 2 <= len(content) <= MOST_CLASSES:
        raise DataError(
            f"{path}: {len(content)} classes; name the normal class first, then at least one "
            f"impurity, {MOST_CLASSES} in all at most; {_EXAMPLE}"
        )
    classes: list[ScrapClass] = []
    colours: list[Colour | None] = []
    for index, (name, entry) in enumerate(content.items()):
        name, entry = str(name).strip(), entry or {}
        where = f"{path}, class {name!r}"
        if not isinstance(entry, Mapping):
            raise DataError(f"{where}: not of words and colour; {_EXAMPLE}")
        if odd := [str(key) for key in entry if key not in _KEYS]:
            near = "".join(f", is {key} meant?" for key in get_close_matches(odd[0], _KEYS, 1))
            raise DataError(f"{where}: has an unknown key {odd[0]!r}{near}; {_EXAMPLE}")
        words = entry.get("words", [name.replace("_", " ")])
        words = [words] if isinstance(words, str) else words
        shown, why = entry.get("name") or name, entry.get("why") or ""
        kind = entry.get("kind") or None
        texts = [*words, shown, kind or "", why] if isinstance(words, list) and words else [None]
        if not all(isinstance(v, str) and not _NO_TEXT.search(v) for v in texts):
            raise DataError(f"{where}: words is no list of words, or name no text; {_EXAMPLE}")
        slug = re.sub(r"\W+", "_", name.casefold()).strip("_")
        if not slug:
            raise DataError(f"{where}: the name has no letter or digit; give it one")
        if slug in {c.slug for c in classes}:
            raise DataError(f"{where}: is {slug!r} for files, as one before it is; rename one")
        given = entry.get("colour", entry.get("color"))
        colours.append(given if given is None else _colour(given, where))
        if given is not None and (first := colours.index(colours[-1])) < index:
            other = classes[first].slug
            raise DataError(f"{where}: its colour is that of {other!r}; masks and images need two")
        classes.append(ScrapClass(index, slug, shown, tuple(map(str, words)), BLACK, kind, why))
    for k, own in enumerate(colours):
        colours[k] = own or _default(k, [c for c in colours if c])
    return [replace(c, colour=colours[c.index]) for c in classes]


def _default(index: int, taken: list[Colour]) -> Colour:
    """ScrapSim's colour of this number where it is `APART` from those that are taken, else the
    one of ninety that is least like any of them and of ScrapSim's."""
    theirs = [c.colour for c in CLASSES]
    own, others = theirs[index : index + 1], [c for c in taken if c not in theirs]
    if own and own[0] not in taken and not (others and _differences(own, others)[0] < APART):
        return own[0]
    hues = [f"hsl({hue}, 60%, {light}%)" for light in (50, 30, 70) for hue in range(0, 360, 12)]
    tried = [ImageColor.getrgb(hue)[:3] for hue in hues]
    return tried[int(_differences(tried, [*taken, *theirs]).argmax())]


def _differences(colours: Sequence[Colour], others: Sequence[Colour]) -> Any:
    """How much each of N colours differs from the one that it is most like, CIEDE2000, (N,)."""
    from skimage.color import deltaE_ciede2000, rgb2lab  # takes a second, and is seldom needed

    of, to = (rgb2lab([[[v / 255 for v in c] for c in some]]) for some in (colours, others))
    return deltaE_ciede2000(of.swapaxes(0, 1), to).min(1)


def _colour(value: Any, where: str) -> Colour:
    try:
        red, green, blue = map(int, value) if isinstance(value, list) else ImageColor.getrgb(value)
        if not all(0 <= v <= 255 for v in (red, green, blue)):
            raise ValueError
    except (ValueError, TypeError, AttributeError):
        remedy = 'write "#e69f00" or [230, 159, 0]'
        raise DataError(f"{where}: {value!r} is no colour; {remedy}") from None
    return red, green, blue


def as_yaml(classes: Sequence[ScrapClass]) -> dict[str, dict]:
    """A class list as `classes_from` reads it."""
    coded = "#{:02x}{:02x}{:02x}".format
    return {
        c.slug: {"name": c.name, "words": list(c.words), "colour": coded(*c.colour)}
        for c in classes
    }


def looks_normal(c: ScrapClass) -> bool:
    """Whether a class's kind or words say that it is a normal one."""
    words = re.split(r"[\W_]+", " ".join((c.slug, c.name, *c.words)).casefold())
    return c.kind == "steel" or not NORMAL_WORDS.isdisjoint(words)


def class_finder(classes: Sequence[ScrapClass]) -> Callable[[str, str], int]:
    """A function from the name in a label file to the class's index.

    Case, underscores and hyphens do not count, and a prompt word is as good as the name; tools'
    names for the background and for what is to be ignored (index `IGNORED`) are known, too. The
    function takes the name and where it stands, and raises `UnknownLabel` on a name of no class.
    """

    def plain(name: str) -> str:
        composed = unicodedata.normalize("NFC", str(name))
        return re.sub(r"[\s_-]+", " ", composed).strip().casefold()

    known: dict[str, int] = {}
    for key in ("slug", "name"):  # names win over another class's words
        known |= {plain(getattr(c, key)): c.index for c in classes}
    for c in classes:
        for word in c.words:
            known.setdefault(plain(word), c.index)
    known = dict.fromkeys(BACKGROUND_NAMES, 0) | dict.fromkeys(IGNORE_NAMES, IGNORED) | known

    def find(name: str, where: str) -> int:
        if plain(name) not in known:
            raise UnknownLabel(
                f"{where}: class {str(name)!r} is none of {', '.join(c.slug for c in classes)}; "
                "name it in classes.yaml"
            )
        return known[plain(name)]

    return find


# --- ScrapSim's -------------------------------------------------------------------------------

CLASSES: tuple[ScrapClass, ...] = tuple(read_classes(Path(__file__).with_suffix(".yaml")))
STEEL: ScrapClass = CLASSES[0]
IMPURITIES: tuple[ScrapClass, ...] = CLASSES[1:]
SLUGS: tuple[str, ...] = tuple(c.slug for c in CLASSES)


def palette() -> list[int]:
    """The palette of a label image: 768 numbers (256 times red, green, blue, each 0..255).

    Entry ``k`` is the colour of class ``k``; entries beyond the classes are black. It is what
    ``PIL.Image.Image.putpalette`` takes.
    """
    flat = [channel for c in CLASSES for channel in c.colour]
    return flat + [0] * (768 - len(flat))
