"""Belt waste, cables, and what composites are made of, drawn: small pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from making.studies.composite import SPLIT
from scrapseg.data.belt_waste import CLASSES, BeltWaste
from scrapseg.data.cables import Cables

COLOURS = {"wood": (160, 110, 60), "rubber": (15, 15, 15), "brick": (170, 70, 50)}
COLOURS |= {"concrete": (190, 190, 180)}


def draw_belt(root: Path, side: int = 64, as_published: bool = False) -> Path:
    """Frames with a square of each material in another place each time.

    Args:
        as_published: PNG, and Aauto in subfolders, as the archive has it.
    """
    rng = np.random.default_rng(0)
    for record in pd.read_csv(BeltWaste.index).to_dict("records"):
        frame = np.full((side, side, 3), 60, np.uint8)
        frame += rng.integers(0, 9, frame.shape, dtype=np.uint8)
        shapes = []
        for k, c in enumerate(CLASSES[1:]):
            x, y = rng.integers(2, side // 2 - 14, 2) + np.array([k % 2, k // 2]) * side // 2
            frame[y : y + 10, x : x + 10] = COLOURS[c.slug]
            corners = [[x, y], [x + 10, y], [x + 10, y + 10], [x, y + 10]]
            points = [[float(a), float(b)] for a, b in corners]
            shapes.append({"label": c.slug, "points": points, "shape_type": "polygon"})
        content = {"shapes": shapes, "imageHeight": side, "imageWidth": side}
        folder = root / record["folder"]
        apart = as_published and record["folder"] == "Aauto"
        image, label = (folder / "color", folder / "json") if apart else (folder, folder)
        for place in (image, label):
            place.mkdir(parents=True, exist_ok=True)
        ending = "png" if as_published else "jpg"
        Image.fromarray(frame).save(image / f"{record['id']}.{ending}")
        (label / f"{record['id']}.json").write_text(json.dumps(content))
    return root


def draw_cables(root: Path, height: int = 48, as_published: bool = False) -> Path:
    """A bright stripe four pixels wide on grey, in another place each time."""
    rng = np.random.default_rng(0)
    for id in pd.read_csv(Cables.index)["id"]:
        mask = np.zeros((height, height * 4 // 3), np.uint8)
        row = rng.integers(4, height - 8)
        mask[row : row + 4] = 1
        picture = np.where(mask[..., None] > 0, (40, 90, 220), (150, 150, 150)).astype(np.uint8)
        part, number = id.split("_")
        image, label = root / f"images/{id}.jpg", root / f"masks/{id}.png"
        if as_published:
            image = root / f"cable_dataset_{part}/{number}.jpg"
            label, mask = image.with_name(f"{number}_mask_all.png"), 255 * mask
        for path, pixels in ((image, picture), (label, mask)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


#: Of the pieces of composites: each pure, steel is grey.
REAL_COLOURS = {"motor": (255, 0, 0), "cable": (0, 255, 0), "rubber": (0, 0, 255)}
REAL_COLOURS |= {"wood": (255, 255, 0)}


def draw_real(root: Path) -> Path:
    """Flat grey photographs of steel, and photographs of one colour with an outlined square."""

    def save(path: Path, image: np.ndarray) -> None:
        """Without loss, whatever the ending says."""
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, format="png")

    for k, row in enumerate(csv.DictReader(SPLIT.open())):
        save(root / "yard" / row["file"], np.full((360, 480, 3), 60 + k, np.uint8))
    flat = {slug: np.full((100, 100, 3), colour, np.uint8) for slug, colour in REAL_COLOURS.items()}
    square = [[20, 20], [80, 20], [80, 80], [20, 80]]
    for k in range(4):
        save(root / f"motor-outlines/m{k}.jpg", flat["motor"])
        corners = " ".join(str(v / 100) for xy in square for v in xy)
        (root / f"motor-outlines/m{k}.txt").write_text(f"0 {corners}\n")
        save(root / f"cables/images/c{k}.jpg", flat["cable"])
        mask = np.zeros((100, 100), np.uint8)
        mask[45:55, 5:95] = 1
        save(root / f"cables/instances/c{k}_0.png", mask)
        for slug in ("rubber", "wood"):
            path = root / f"belt-waste/Atest/{slug}{k}.jpg"
            save(path, flat[slug])
            shapes = [{"label": slug, "points": square}, {"label": "brick", "points": square}]
            record = {"shapes": shapes, "imageWidth": 100, "imageHeight": 100}
            path.with_suffix(".json").write_text(json.dumps(record))
    return root
