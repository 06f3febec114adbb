"""A small studio set on disk, drawn instead of rendered: one to three coloured shapes an image.

Three nouns (a shape each), three materials, and colours that only plastic has: steel is grey and
wood is brown of its own. Captions and records are as the renderer writes them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": (200, 30, 30), "green": (30, 150, 40), "blue": (40, 60, 200)}
OWN_COLOUR = {"steel": (150, 155, 160), "wood": (130, 90, 50)}
BACKGROUNDS = {"a white background": (235, 235, 235), "a black background": (20, 20, 20)}
NOUNS = ("ball", "box", "traffic cone")


def write_studio(root: Path, *, images: int = 40, size: int = 64, seed: int = 0) -> Path:
    """Draw a studio set; every fifth image is held out."""
    rng = np.random.default_rng(seed)
    for folder in ("images", "instances"):
        (root / folder).mkdir(parents=True)
    records = []
    for number in range(images):
        name = f"{number:06d}"
        ground = str(rng.choice(list(BACKGROUNDS)))
        image = Image.new("RGB", (size, size), BACKGROUNDS[ground])
        instances = Image.new("L", (size, size))
        objects = []
        for k, column in enumerate(rng.permutation(3)[: rng.integers(1, 4)], start=1):
            noun = str(rng.choice(NOUNS))
            material = str(rng.choice(["plastic", "plastic", "steel", "wood"]))
            colour = str(rng.choice(list(COLOURS))) if material == "plastic" else None
            top = int(rng.integers(0, size // 2))
            left, side = int(column) * size // 3, size // 3 - 2
            box = (left + 1, top, left + side, top + side)
            for canvas, ink in (
                (image, COLOURS[colour] if colour else OWN_COLOUR[material]),
                (instances, k),
            ):
                draw_shape(ImageDraw.Draw(canvas), noun, box, ink)
            words = [colour or "", {"wood": "wooden"}.get(material, material), noun]
            objects.append(
                {
                    "id": k,
                    "noun": noun,
                    "category": "household",
                    "material": material,
                    "colour": colour,
                    "phrase": " ".join(w for w in words if w),
                    "pixels": int((np.asarray(instances) == k).sum()),
                }
            )
        image.save(root / "images" / f"{name}.jpg", quality=90)
        instances.save(root / "instances" / f"{name}.png")
        said = " and ".join(f"a {o['phrase']}" for o in objects)
        records.append(
            {
                "id": name,
                "seed": seed,
                "split": "heldout" if number % 5 == 4 else "train",
                "caption": f"{said} on {ground}",
                "background": ground,
                "objects": objects,
            }
        )
    (root / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return root


def draw_shape(canvas: ImageDraw.ImageDraw, noun: str, box: tuple[int, ...], ink) -> None:
    """A disc for a ball, a square for a box, a triangle for a traffic cone."""
    left, top, right, bottom = box
    if noun == "ball":
        canvas.ellipse(box, fill=ink)
    elif noun == "box":
        canvas.rectangle(box, fill=ink)
    else:
        canvas.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill=ink)
