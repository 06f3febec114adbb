"""Half-real composites: real impurities on real photographs of steel, with exact masks.

No public photograph of steel scrap has its impurities outlined. So pieces of other photographs,
motors, cables, rubber and wood cut along outlines drawn by people, are laid on photographs of steel
scrap; and as many pieces of photographs of steel, cut along the same outlines, turned, resized,
lit and blended alike, are laid beside them as distractors, so that an edge says nothing. Steel,
distractors included, is class 0.

The photographs may be measured on but not passed on, so nothing is stored: image i is made when it
is asked for, from its number alone. `data/composite/README.md` is the datasheet.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from scrapseg.data import base, labels
from scrapseg.data.base import MIN_PIXELS, Sample, SamplesById, read_image, shrunk
from scrapseg.data.classes import CLASSES
from scrapseg.data.errors import DataError, MissingFile
from scrapseg.files import REPOSITORY

SPLIT = REPOSITORY / "data" / "composite" / "split.csv"
#: Longer side of a composite, and bounds of a piece's longer side by class, in pixels.
SIDE = 640
PIECE_SIDE = {"motor": (90, 240), "cable": (140, 320), "rubber": (70, 200), "wood": (70, 240)}
#: Impurities of an image, and as many distractors.
PIECES = 2
REMEDY = "restore the photographs, see data/composite/README.md"

Piece = tuple[Path, int]
"""A photograph, and which of its outlined objects."""


def steel_photos(root: str | Path, half: str) -> list[Path]:
    """Photographs of steel scrap of one `half`: `val`, to adapt to and to choose on, or `test`.

    The committed list keeps photographs of the same scene in one half.

    Raises:
        MissingFile: one of them is not there.
    """
    rows = [r for r in csv.DictReader(SPLIT.open(encoding="utf-8")) if r["half"] == half]
    paths = [Path(root) / "yard" / row["file"] for row in rows]
    for path in paths:
        if not path.is_file():
            raise MissingFile(f"{path}: file is missing; {REMEDY}")
    return paths


class Composites(SamplesById):
    """The composites of one split as the package's `LabelledImages`.

    No photograph, of steel or of an impurity, is in both splits.

    Args:
        root: folder with yard/, motor-outlines/, cables/ and belt-waste/.
        split: `val` or `test`.
        number: how many; image i is the same whatever the number.
        seed: of the draws.

    Raises:
        MissingFile: photographs are missing.
    """

    name = "composite"
    classes = CLASSES
    templates = ("word", "photo", "scrap", "close-up")
    min_pixels = MIN_PIXELS

    def __init__(
        self, root: str | Path, split: str = "test", number: int = 80, seed: int = 0
    ) -> None:
        self.root, self.split, self.seed = Path(root), split, seed
        self.steel = steel_photos(root, split)
        self.pieces = {slug: outlined(self.root, slug, split) for slug in PIECE_SIDE}
        names = sorted({str(p.relative_to(root)) for g in self.pieces.values() for p, _ in g})
        self.sha256 = hashlib.sha256("\n".join(names).encode()).hexdigest()
        self.settings: dict[str, Any] = {"number": number, "seed": seed, "side": SIDE}
        self.ids = [f"{i:04d}" for i in range(number)]
        self._samples = {id: self._made(int(id)) for id in self.ids}
        self.meta = {id: s.meta for id, s in self._samples.items()}

    def sample(self, id: str) -> Sample:
        """Image, label, instances; the scene is the photograph of steel."""
        return self._samples[id]

    def _made(self, index: int) -> Sample:
        draw = np.random.default_rng([self.seed, index])
        scene = index % len(self.steel)
        photo = shrunk(read_image(self.steel[scene], as_rgb=True, remedy=REMEDY), SIDE)
        canvas = Image.fromarray(photo)
        label, instances = (Image.new("L", canvas.size) for _ in range(2))
        slugs, sources = list(PIECE_SIDE), []
        for k in range(PIECES):
            slug = slugs[(index * PIECES + k) % len(slugs)]
            number = int(draw.integers(len(self.pieces[slug])))
            piece = cut(*self.pieces[slug][number])
            other = self.steel[int(draw.integers(len(self.steel)))]
            steel = same_outline(piece, other, draw)
            how = Varied.drawn(draw, slug)
            value = next(c.index for c in CLASSES if c.slug == slug)
            # Which of the two lies on top is drawn, too.
            for rgba, impure in sorted([(steel, 0), (piece, 1)], key=lambda _: draw.random()):
                alpha, at = how.lay(canvas, rgba, draw)
                label.paste(value * impure, at, alpha)
                instances.paste((k + 1) * impure, at, alpha)
            sources.append(str(self.pieces[slug][number][0].relative_to(self.root)))
        label, instances = np.array(label), np.array(instances).astype(np.int32)
        rows = base.instance_rows(label, instances, CLASSES)
        meta = {"id": f"{index:04d}", "scene": scene, "instances": rows, "sources": sources}
        meta["background"] = str(self.steel[scene].relative_to(self.root))
        return Sample(meta["id"], np.array(canvas), label, instances, scene, meta)


@dataclass(frozen=True)
class Varied:
    """How a piece and its distractor are varied: both alike, but for the place."""

    side: float
    angle: float
    mirror: bool
    feather: float
    gain: float

    @classmethod
    def drawn(cls, draw: np.random.Generator, slug: str) -> Varied:
        """Longer side log-uniform, any angle, mirrored or not, an edge 0 to 1.5 pixels soft, light
        up to a quarter more or less: black rubber stays black, wherever it lies."""
        side = float(np.exp(draw.uniform(*np.log(PIECE_SIDE[slug]))))
        angle, mirror, feather = draw.uniform(0, 360), draw.random() < 0.5, draw.uniform(0, 1.5)
        return cls(side, angle, mirror, feather, float(np.exp(draw.uniform(-1, 1) * np.log(1.25))))

    def lay(
        self, canvas: Image.Image, rgba: Image.Image, draw: np.random.Generator
    ) -> tuple[Image.Image, tuple[int, int]]:
        """Lay a piece on the canvas, in place, three quarters of each side of it inside at least;
        return its hard outline and where its corner lies."""
        factor = self.side / max(rgba.size)
        size = [max(2, round(factor * n)) for n in rgba.size]
        rgba = rgba.resize(size, Image.Resampling.LANCZOS)
        rgba = rgba.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.mirror else rgba
        rgba = rgba.rotate(self.angle, Image.Resampling.BICUBIC, expand=True)
        w, h = rgba.size
        spare = [(round(-n / 4), max(round(-n / 4) + 1, round(s - 0.75 * n)))
                 for n, s in zip((w, h), canvas.size, strict=True)]  # fmt: skip
        at = tuple(int(draw.integers(*bounds)) for bounds in spare)
        pixels, alpha = np.array(rgba)[..., :3].astype(float), rgba.getchannel("A")
        inside = np.array(alpha) > 127
        shown = Image.fromarray((pixels * self.gain).clip(0, 255).astype(np.uint8))
        soft = alpha.filter(ImageFilter.GaussianBlur(self.feather))
        canvas.paste(shown, at, soft)
        return Image.fromarray(inside.astype(np.uint8) * 255).convert("1"), at


def outlined(root: Path, slug: str, split: str) -> list[Piece]:
    """The outlined objects of a class in every second photograph of it, those cut off by a
    photograph's edge included; test has the first, val the second."""
    if slug == "cable":
        paths = sorted((root / "cables" / "images").glob("*.jpg"))
        found = [(p, k) for p in paths for k in range(len(cable_files(p)))]
    elif slug == "motor":
        paths = sorted((root / "motor-outlines").glob("*.jpg"))
        found = [(p, k) for p in paths for k in range(len(polygons(p)))]
    else:
        paths = sorted((root / "belt-waste").glob("A*/*.jpg"))
        found = [(p, k) for p in paths for k, (s, _) in enumerate(polygons(p)) if s == slug]
    photos = sorted({photo for photo, _ in found})[("test", "val").index(split) :: 2]
    if not photos:
        raise MissingFile(f"{root}: no outlined {slug}; {REMEDY}")
    return [piece for piece in found if piece[0] in photos]


def cable_files(photo: Path) -> list[Path]:
    """One mask a cable: values 0 and 1, or 0 and 255."""
    return sorted((photo.parents[1] / "instances").glob(f"{photo.stem}_*.png"))


@cache
def polygons(photo: Path) -> list[tuple[str, list[tuple[float, float]]]]:
    """Class and corners in pixels of each outline: labelme json, or YOLO text (all motors)."""
    height, width = base.image_size(photo, REMEDY)
    if (listed := photo.with_suffix(".json")).is_file():
        record = labels.read_json(listed)
        across = width / record["imageWidth"], height / record["imageHeight"]
        return [
            (s["label"], [(x * across[0], y * across[1]) for x, y in s["points"]])
            for s in record["shapes"]
        ]
    rows = [line.split()[1:] for line in base.read_text(photo.with_suffix(".txt")).splitlines()]
    corners = [np.reshape(np.float64(row), (-1, 2)) * (width, height) for row in rows if row]
    return [("motor", [tuple(c) for c in corner]) for corner in corners]


@cache
def cut(photo: Path, number: int) -> Image.Image:
    """An outlined object as RGBA, cut to its box."""
    image = Image.fromarray(read_image(photo, as_rgb=True, remedy=REMEDY))
    if photo.parent.parent.name == "cables":
        mask = Image.fromarray((read_image(cable_files(photo)[number]) > 0).astype(np.uint8) * 255)
    else:
        mask = Image.new("L", image.size)
        ImageDraw.Draw(mask).polygon(polygons(photo)[number][1], fill=255)
    if mask.size != image.size or not mask.getbbox():
        raise DataError(f"{photo}: outline {number} does not fit the photograph; {REMEDY}")
    image.putalpha(mask)
    return image.crop(mask.getbbox())


def same_outline(piece: Image.Image, photo: Path, draw: np.random.Generator) -> Image.Image:
    """Steel out of a photograph, at a drawn place, along a piece's outline."""
    steel = Image.fromarray(read_image(photo, as_rgb=True, remedy=REMEDY))
    factor = max(1.0, *(p / s for p, s in zip(piece.size, steel.size, strict=True)))
    steel = steel.resize([round(factor * n + 0.5) for n in steel.size])
    spare = [s - p for p, s in zip(piece.size, steel.size, strict=True)]
    left, top = (int(draw.integers(n + 1)) for n in spare)
    found = steel.crop((left, top, left + piece.width, top + piece.height))
    found.putalpha(piece.getchannel("A"))
    return found
