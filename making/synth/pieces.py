"""The library of pieces: impurities rendered alone, with alpha, to be pasted into photographs.

A piece is finished when its file ``<class>/<number>.webp`` exists, which is written atomically: a
kill at any moment neither loses nor repeats a finished piece. What a piece shows follows from the
seed, its class and its number alone.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter
from tqdm import tqdm

from scrapseg.data.classes import CLASSES, IMPURITIES

from .dataset import MARKS, encoded, quiet, write

SEED = 20261127
#: How many pieces of a class: more where real things vary most.
VARIED = ("motor", "cable", "rubber", "wood")
COUNTS = {c.slug: 120 if c.slug in VARIED else 100 for c in IMPURITIES}
#: Motors from this number on have no cooling fins.
FINLESS = COUNTS["motor"]
COUNTS["motor"] += 120
BATCH = 40  # pieces a process: starting Blender costs 2 s, and each render leaks some 5 MB
MEGABYTES = 12  # the library is committed
SHEET = (8, 10)  # rows and columns of the contact sheet, a class a row


class PieceSpec(NamedTuple):
    """Which piece: class slug, number within the class, seed of the library."""

    slug: str
    number: int
    seed: int

    def path(self, out: Path) -> Path:
        """Where the piece lies once it is finished."""
        return out / self.slug / f"{self.number:03d}.webp"

    def rng(self) -> Generator:
        """The piece's own generator."""
        index = next(c.index for c in CLASSES if c.slug == self.slug)
        return np.random.default_rng([self.seed, index, self.number])


def plan(share: float = 1.0, seed: int = SEED) -> list[PieceSpec]:
    """All pieces, the classes in turn, so that a part of the library is of all classes alike.

    Args:
        share: of `COUNTS`, 0..1; the first pieces of each class.
    """
    specs = [
        PieceSpec(slug, number, seed)
        for slug, count in COUNTS.items()
        for number in range(round(share * count))
    ]
    return sorted(specs, key=lambda spec: spec.number)


# --- rendering ------------------------------------------------------------------------------------


def developed(image: Image.Image, rng: Generator) -> Image.Image:
    """What a camera makes of a render: cropped to the piece, a little out of focus, white balance
    and grain. Outside the piece its colours go on, so that resizing draws no dark rim.

    Raises ValueError when there is no piece in the image (RGBA).
    """
    box = image.getchannel("A").getbbox()
    if box is None:
        raise ValueError("nothing was rendered: the piece is outside the picture")
    image = image.crop((box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2))
    pixels = np.asarray(image, np.float32) / 255
    alpha = pixels[..., 3:]
    colour = pixels[..., :3] * (1 + rng.normal(0, 0.03, 3))
    colour = colour + rng.normal(0, rng.uniform(0.002, 0.012), colour.shape)
    sharp = np.concatenate([colour * alpha, alpha], -1).clip(0, 1)  # premultiplied

    def blurred(radius: float) -> np.ndarray:
        bands = Image.fromarray((sharp * 255).round().astype(np.uint8), "RGBa").split()
        blur = ImageFilter.GaussianBlur(radius)
        return np.stack([np.asarray(band.filter(blur), np.float32) for band in bands], -1) / 255

    made = blurred(min(abs(rng.normal(0, 0.6)), 1.5))
    alpha = made[..., 3].copy()
    for radius in (3, 9, 27, 81):  # the farther from the piece, the wider the mean of its colours
        empty = made[..., 3] < 0.1
        made[empty] = blurred(radius)[empty]
    colour = made[..., :3] / np.maximum(made[..., 3:], 1 / 255)
    made = np.concatenate([colour.clip(0, 1), alpha[..., None]], -1)
    return Image.fromarray((made * 255).round().astype(np.uint8), "RGBA")


def render_batch(specs: list[PieceSpec], out: Path) -> int:
    """Make pieces one after the other in this process; returns how many."""
    # Here, not above: finishing needs no Blender, and a worker process must import it itself.
    from .pieces_scene import shoot

    for spec in specs:
        rng = spec.rng()
        with quiet():
            fins = spec.slug != "motor" or spec.number < FINLESS
            image = developed(shoot(spec.slug, rng, fins), rng)
        write(spec.path(out), encoded(image, "WEBP", quality=85, method=6, exact=True))
    return len(specs)


def render_all(out: Path, share: float, jobs: int, seed: int = SEED) -> int:
    """Render the pieces that are not finished yet, `jobs` processes at a time, a core each.
    Returns how many were made."""
    specs = plan(share, seed)
    todo = [spec for spec in specs if not spec.path(out).exists()]
    batches = [todo[i : i + BATCH] for i in range(0, len(todo), BATCH)]
    # spawn: a fork of a process with running threads may hang.
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    )
    with pool, tqdm(total=len(specs), initial=len(specs) - len(todo), unit="piece") as bar:
        try:
            for task in as_completed([pool.submit(render_batch, batch, out) for batch in batches]):
                bar.update(task.result())
        except BaseException:  # an interrupt or a failed piece: do not begin what is queued
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return len(todo)


# --- finishing ------------------------------------------------------------------------------------


def contact_sheet(paths: list[Path], size: int = 120) -> Image.Image:
    """Pieces spread evenly over each class, a class a row, on a grey like that of steel."""
    rows, columns = SHEET
    sheet = Image.new("RGB", (columns * size, rows * size), (118, 116, 112))
    for row, slug in enumerate(COUNTS):
        group = [path for path in paths if path.parent.name == slug]
        even = np.linspace(0, len(group) - 1, min(columns, len(group))).astype(int)
        for column, k in enumerate(dict.fromkeys(even.tolist())):
            tile = Image.open(group[k]).convert("RGBA")
            tile.thumbnail((size - 6, size - 6))
            at = (column * size + (size - tile.width) // 2, row * size + (size - tile.height) // 2)
            sheet.paste(tile, at, tile)
    return sheet


def finish(out: Path) -> str:
    """Draw the contact sheet, fill the generated part of the datasheet (``README.md``) where there
    is one, write the checksums. Returns the table of what is there.

    Raises:
        FileNotFoundError: no piece is finished.
        ValueError: the pieces take more than `MEGABYTES`.
    """
    paths = sorted(out.glob("*/[0-9]*.webp"))
    if not paths:
        raise FileNotFoundError(f"{out}: no finished piece; render first")
    write(out / "contact_sheet.jpg", encoded(contact_sheet(paths), "JPEG", quality=80))
    count, size = Counter(p.parent.name for p in paths), Counter[str]()
    for path in paths:
        size[path.parent.name] += path.stat().st_size
    rows = [f"| {slug} | {count[slug]} | {size[slug] / 1e6:.1f} |" for slug in COUNTS]
    rows += [f"| all | {len(paths)} | {size.total() / 1e6:.1f} |"]
    table = "\n".join(["| class | pieces | MB |", "|---|---:|---:|", *rows])
    sheet = out / "README.md"
    if sheet.exists():
        before, _, rest = sheet.read_text().partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        write(sheet, f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}".encode())
    sums = (f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(out)}\n" for p in paths)
    write(out / "checksums.sha256", "".join(sums).encode())
    if size.total() > MEGABYTES * 1e6:
        raise ValueError(f"{out}: {size.total() / 1e6:.1f} MB, wanted at most {MEGABYTES}")
    return table
