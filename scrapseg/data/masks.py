"""Mask images as labels: one class a pixel, however a tool has coded it.

How the masks of a folder say their classes shows in all of them together: by numbers, by colours,
or by black and white. So all are looked at before the first is read. What cannot be known for sure
is an error that says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from scrapseg.data.base import ANEW, open_image
from scrapseg.data.classes import IGNORED, ScrapClass, class_finder
from scrapseg.data.errors import BrokenImage, LabelFileError, UnknownLabel
from scrapseg.data.labels import Notes, find_all, read_lines, read_text, understood

#: Added to a colour's number, so that it is not taken for a value.
COLOUR = 1 << 24
BLACK, WHITE = COLOUR, COLOUR + 0xFFFFFF
#: Fewer values than this between black and white are no soft edges but mean something.
SOFT_VALUES = 9


def _code(red: int, green: int, blue: int) -> int:
    return COLOUR | red << 16 | green << 8 | blue


def read_table(folders: Sequence[Path]) -> dict[int, str]:
    """Class names by code, as tools write them beside masks: colours in CVAT's `labelmap.txt`,
    values in Roboflow's `_classes.csv`, by line in `class_names.txt` or `classes.txt`.

    Raises:
        LabelFileError: such a file cannot be read.
    """
    names: dict[int, str] = {}
    for path in (f / name for f in folders for name in ("labelmap.txt", "_classes.csv")):
        if path.is_file():
            with understood(path, "is no list of the masks' classes"):
                lines = [s for s in read_text(path).splitlines() if s.strip() and s[0] != "#"]
                if path.suffix == ".txt":
                    rows = [line.split(":")[:2] for line in lines]
                    names |= {_code(*map(int, colour.split(","))): name for name, colour in rows}
                else:
                    names |= {int(line.split(",")[0]): line.split(",")[1] for line in lines[1:]}
    for path in (f / name for f in folders for name in ("class_names.txt", "classes.txt")):
        if path.is_file() and not names:
            names = dict(enumerate(read_lines(path)))
    return names


def read_codes(path: Path, colours: Collection[int], two: bool) -> np.ndarray:
    """What stands at each pixel of a mask, int32 (H, W): a value, or a colour as `COLOUR` + rgb.

    A palette stands for colours where it is of the classes' or of black and white, else for
    numbers. What is transparent is normal; of two classes the other one is what is not.

    Args:
        colours: codes of the classes' colours. two: whether there are two classes.

    Raises:
        BrokenImage, UnknownLabel: naming the file.
    """
    with open_image(path, ANEW) as image:
        deep = ";16" in str(image.tile) and image.mode[0] != "I"
        if deep or image.mode in ("CMYK", "YCbCr", "LAB") or getattr(image, "n_frames", 1) > 1:
            raise BrokenImage(f"{path}: has 16 bits of colour, inks or pages; save it as grey PNG")
        if image.mode == "1" or (image.mode == "P" and _by_colour(path, image, colours)):
            image = image.convert("L" if image.mode == "1" else "RGB")
        values = np.array(image)
    if (values != values.astype(np.int32)).any():
        raise BrokenImage(f"{path}: holds numbers that are not whole; save it as grey PNG")
    values = values.astype(np.int32)
    if values.ndim == 2:
        return values
    coloured = values.shape[2] > 2
    codes = values[..., :3] @ [65536, 256, 1] + COLOUR if coloured else values[..., 0]
    opaque = values[..., -1] >= 128
    if values.shape[2] == 3 or opaque.all():
        return codes
    kinds = set(np.unique(codes[opaque] if opaque.any() else codes).tolist())
    if not opaque.any() and len(kinds) > 1:
        raise BrokenImage(f"{path}: is transparent all over; save it without alpha")
    if two and (len(kinds) == 1 or not kinds <= {0, 255, BLACK, WHITE, *colours}):
        return np.where(opaque, 255, 0)  # cut out along the objects
    return np.where(opaque, codes, BLACK if coloured else 0)


def _by_colour(path: Path, image: Image.Image, colours: Collection[int]) -> bool:
    """Whether a palette image means its colours."""
    palette = np.array(image.getpalette("RGB"), int).reshape(-1, 3)
    used = np.unique(np.array(image)).tolist()
    shown = {_code(*palette[k].tolist()) if k < len(palette) else 0 for k in used}
    known = shown & set(colours) - {BLACK, WHITE}
    if len(shown) < len(used) or shown == {BLACK}:
        return False  # nobody filled this palette
    if known and not shown <= {BLACK, *colours}:
        raise UnknownLabel(
            f"{path}: its palette has colours of classes and others; are its numbers meant? Save a "
            "grey PNG of class numbers"
        )
    return bool(known) or shown <= {BLACK, WHITE}


def read_coding(
    paths: Sequence[Path], classes: Sequence[ScrapClass], table: dict[int, str], notes: Notes
) -> Callable[[Path], np.ndarray]:
    """How a folder's masks are coded, as a function that reads one, uint8 (H, W).

    Colours are the classes', and black is then normal too. Values are class numbers, and 255 is
    `IGNORED`; of two classes, values of 0 and 255 alone are black and white.

    Args:
        table: from `read_table`; it goes before the classes' own colours and numbers.

    Raises:
        BrokenImage, UnknownLabel: naming the first mask that does not fit.
    """
    two, find = len(classes) == 2, class_finder(classes)
    own = {_code(*c.colour): c.index for c in reversed(classes)}
    white = own.get(WHITE)
    own = {BLACK: 1 - white if two and white is not None else 0} | own
    colours = set(own) | {code for code in table if code >= COLOUR}
    pixels: Counter[int] = Counter()
    first: dict[int, Path] = {}
    for path in paths:
        codes, counts = np.unique(read_codes(path, colours, two), return_counts=True)
        pixels.update(dict(zip(codes.tolist(), counts.tolist(), strict=True)))
        first = dict.fromkeys(codes.tolist(), path) | first
    coloured = {code for code in pixels if code >= COLOUR}
    grey = {code for code in coloured if code == _code(*[code & 255] * 3)}
    if strange := sorted(coloured - colours) if coloured != grey else ():
        raise UnknownLabel(
            f"{first[strange[0]]}: colour #{strange[0] - COLOUR:06x} is no class's; save a palette "
            "or grey PNG of class numbers (and not a JPEG, which blurs colours)"
        )
    # Colours that are no class's but grey are numbers in three channels.
    coloured = coloured if coloured <= colours else set()
    told = find_all(find, {c: (table[c], str(first[c])) for c in coloured if c in table})
    coding = {c: own[c] for c in coloured if c not in table} | told
    numbers = {code: code & 255 if code >= COLOUR else code for code in pixels.keys() - coloured}
    numbers = {code: IGNORED if value == 65535 else value for code, value in numbers.items()}
    values: Counter[int] = Counter()
    for code, value in numbers.items():
        values[value] += pixels[code]
    at = {value: first[code] for code, value in numbers.items()}
    by_value = _classes_of(values, at, classes, table, white, notes)
    coding |= {code: by_value[value] for code, value in numbers.items()}
    keys = np.array(sorted(coding))
    index = np.array([coding[key] for key in keys.tolist()], np.uint8)
    return lambda path: index[np.searchsorted(keys, read_codes(path, colours, two))]


def _classes_of(
    values: Counter[int],
    at: dict[int, Path],
    classes: Sequence[ScrapClass],
    table: dict[int, str],
    white: int | None,
    notes: Notes,
) -> dict[int, int]:
    """Class index of each value, from how many pixels have it, and a path where it is.

    Args:
        white: the class of this colour, if one has it.
    """
    n, listed = len(classes), ", ".join(c.slug for c in classes)
    if any(code < COLOUR for code in table):
        find = class_finder(classes)
        told = find_all(find, {v: (table[v], str(at[v])) for v in values if v in table})
        if told.get(0, 0) != 0:
            raise LabelFileError(
                f"{at[0]}: value 0 is {table[0]}, by the list of classes beside the masks, and not "
                "the normal class; put the normal one first there"
            )
        known = {IGNORED: IGNORED} | told
    else:
        known = {k: k for k in (*range(n), IGNORED)}
        between = [v for v in values if v not in (0, 255)]
        if n == 2 and 255 in values and (not between or len(between) >= SOFT_VALUES):
            light = 1 if white is None else white
            known = {v: light if v >= 128 else 1 - light for v in range(256)}
            share = sum(count for v, count in values.items() if v >= 128) / values.total()
            if share > 0.5 and white is None:
                raise UnknownLabel(
                    f"{at[255]}: the masks are white for the most part; if white is right for "
                    f'{listed.partition(", ")[2]}, say so in classes.yaml: colour: "#ffffff", else '
                    f"give this colour to {classes[0].slug}"
                )
            if 2 * sum(values[v] for v in between) > values.total():
                raise UnknownLabel(f"{at[between[0]]}: is grey for the most part; save 0 and 255")
            soft = {str(at[value]) for value in between}
            notes["masks with soft edges, cut at one half"] += sorted(soft)
        elif 255 in values and set(values) <= {0, 255}:
            raise UnknownLabel(
                f"{at[255]}: 0 and 255 tell two classes apart, and the list has {n} ({listed}); "
                "put a classes.yaml of two into the folder, or save class numbers"
            )
    if wrong := sorted(v for v in values if v not in known):
        hint = "; is the normal class missing at its head?" if wrong == [n] else ""
        raise UnknownLabel(
            f"{at[wrong[0]]}: values {wrong[:8]} are outside 0..{n - 1}, the classes {listed}; a "
            f"pixel's value is its class's place there{hint}"
        )
    return known
