"""Fixtures shared by all tests: a small data set on disk in ScrapSim's exact format.

The small set is drawn, not rendered: grey noise for steel, one flat rectangle in the class's
colour for each impurity. It is easy on purpose, so that a few training steps can learn it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scrapseg.data.classes import CLASSES, IMPURITIES, palette

SPLIT_OF = ("train", "train", "train", "train", "val", "test", "test", "test")
NORMAL_SCENES = {2, 5, 9, 12, 13}


def write_checksums(root: Path) -> None:
    """Write ``checksums.sha256`` over every file below ``root`` but itself and the stamp."""
    skip = {"checksums.sha256", ".verified"}
    files = sorted(
        p.relative_to(root).as_posix()
        for p in root.rglob("*")
        if p.is_file() and p.name not in skip
    )
    lines = [f"{hashlib.sha256((root / f).read_bytes()).hexdigest()}  {f}\n" for f in files]
    (root / "checksums.sha256").write_text("".join(lines))


def write_scrapsim(root: Path, *, scenes: int = 16, size: int = 64, seed: int = 0) -> Path:
    """Draw a small ScrapSim of ``scenes`` scenes with two views each, ``size`` pixels square.

    Scenes 2, 5, 9, 12 and 13 hold no impurity. Training and test scenes with impurities hold four
    classes each, the first validation scene all eight, so that every split has every class and
    every class has at least three scenes in train. Some pieces are half covered by steel.
    """
    rng = np.random.default_rng(seed)
    for folder in ("images", "labels", "instances"):
        (root / folder).mkdir(parents=True)
    cell = size // 4
    turn = dict.fromkeys(SPLIT_OF, 0)
    records = []
    for scene in range(scenes):
        split = SPLIT_OF[scene % 8]
        if scene in NORMAL_SCENES:
            held = []
        elif split == "val":
            held = list(IMPURITIES)
        else:
            held = [IMPURITIES[(4 * turn[split] + i) % 8] for i in range(4)]
            turn[split] += 1
        setting = "heap" if scene % 2 else "belt"
        for view in range(2):
            name = f"{scene:04d}_{view}"
            image = rng.normal(118, 12, (size, size, 1)).repeat(3, axis=2)
            label = np.zeros((size, size), np.uint8)
            instances = np.zeros((size, size), np.uint8)
            rows = []
            for number, (c, place) in enumerate(
                zip(held, rng.permutation(16)[: len(held)], strict=True), start=1
            ):
                h, w = rng.integers(cell * 5 // 8, cell, 2)
                top, left = place // 4 * cell, place % 4 * cell
                whole = np.zeros((size, size), bool)
                whole[top : top + h, left : left + w] = True
                seen = whole.copy()
                if rng.random() < 0.2:
                    seen[top + h - 2 : top + h] = False
                image[seen] = np.array(c.colour) + rng.normal(0, 8, (int(seen.sum()), 3))
                label[seen] = c.index
                instances[seen] = number
                rows.append(
                    {
                        "id": number,
                        "class": c.slug,
                        "pixels": int(seen.sum()),
                        "visible_fraction": float(seen.sum() / whole.sum()),
                        "mass_kg": round(float(rng.uniform(0.1, 5)), 3),
                    }
                )
            pixels = Image.fromarray(image.clip(0, 255).astype(np.uint8))
            pixels.save(root / f"images/{name}.jpg", quality=92)
            coded = Image.fromarray(label)
            coded.putpalette(palette())  # turns the grey image into a palette image
            coded.save(root / f"labels/{name}.png")
            Image.fromarray(instances).save(root / f"instances/{name}.png")
            records.append(
                {
                    "id": name,
                    "scene": scene,
                    "view": view,
                    "split": split,
                    "seed": seed + scene,
                    "setting": setting,
                    "ground": "concrete",
                    "camera": {"height_m": 2.0, "framing_m": 2.0},
                    "light": {"kind": "overcast"},
                    "impurity_fraction": float((label > 0).mean()),
                    "instances": rows,
                }
            )
    (root / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (root / "README.md").write_text(f"A drawn stand-in for ScrapSim with {len(CLASSES)} classes.\n")
    write_checksums(root)
    return root


@pytest.fixture(scope="session")
def tiny_scrapsim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small drawn ScrapSim: 16 scenes of two 64 x 64 views. Never write to it."""
    return write_scrapsim(tmp_path_factory.mktemp("data") / "scrapsim")


@pytest.fixture
def scrapsim_copy(tiny_scrapsim: Path, tmp_path: Path) -> Path:
    """A copy of the small ScrapSim of one's own, to break."""
    root = tmp_path / "scrapsim"
    shutil.copytree(tiny_scrapsim, root, ignore=shutil.ignore_patterns(".verified"))
    return root


@pytest.fixture
def rewrite_checksums() -> Callable[[Path], None]:
    """The function that writes ``checksums.sha256`` anew, for a data set changed on purpose."""
    return write_checksums
