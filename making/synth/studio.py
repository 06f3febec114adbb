"""The studio set: captioned renders that align the pocket model's image tower to its text tower.

An image is finished when it, its mask and its record ``.records/<id>.json`` exist. The record is
written last and atomically, so a kill at any moment neither loses nor repeats a finished image.
What an image shows follows from the seed and its number alone.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from textwrap import wrap

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from .dataset import MARKS, encoded, quiet, write
from .studio_nouns import CATEGORIES, COLOURS, MATERIALS, NOUNS
from .studio_words import SEED, ImageSpec, caption, plan

BATCH = 50  # images a process: starting Blender costs 2 s, and each render leaks some 5 MB
SHEET = (8, 12)  # rows and columns of the contact sheet


def record_of(out: Path, spec: ImageSpec) -> Path:
    """Where an image's record lies once the image is finished."""
    return out / ".records" / f"{spec.id}.json"


def render_image(spec: ImageSpec, out: Path) -> dict:
    """Make one image; write it, its instances and its record, which is returned."""
    # Here, not above: finishing needs no Blender, and a worker process must import it itself.
    from .studio_scene import shoot

    with quiet():
        shot = shoot(spec)
    text, phrases = caption(spec, shot.visible, shot.relation, spec.rng(3))
    said = dict(zip(shot.visible, phrases, strict=True))
    record = {
        "id": spec.id,
        "seed": spec.seed,
        "split": spec.split,
        "caption": text,
        "background": spec.background,
        "objects": [
            {
                "id": k + 1,
                "noun": thing.noun,
                "category": NOUNS[thing.noun].category,
                "material": thing.material,
                "colour": thing.colour,
                "phrase": said[k],
                "pixels": int((shot.instances == k + 1).sum()),
            }
            for k, thing in enumerate(spec.objects)
            if k in said
        ],
    }
    write(out / "images" / f"{spec.id}.jpg", encoded(shot.image, "JPEG", quality=90))
    mask = Image.fromarray(shot.instances)
    write(out / "instances" / f"{spec.id}.png", encoded(mask, "PNG", optimize=True))
    write(record_of(out, spec), json.dumps(record).encode())
    return record


def is_finished(out: Path, spec: ImageSpec) -> bool:
    """Whether all that an image is made of is there: what was cleared away is made anew."""
    made = (out / "images" / f"{spec.id}.jpg", out / "instances" / f"{spec.id}.png")
    return all(path.exists() for path in (*made, record_of(out, spec)))


def render_batch(specs: list[ImageSpec], out: Path) -> int:
    """Make images one after the other in this process; returns how many."""
    for spec in specs:
        render_image(spec, out)
    return len(specs)


def render_all(out: Path, images: int, jobs: int, seed: int = SEED) -> int:
    """Render the images that are not finished yet, `jobs` processes at a time, a core each.
    Returns how many were made."""
    specs = [plan(number, seed) for number in range(images)]
    todo = [spec for spec in specs if not is_finished(out, spec)]
    batches = [todo[i : i + BATCH] for i in range(0, len(todo), BATCH)]
    # spawn: a fork of a process with running threads may hang.
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    )
    with pool, tqdm(total=images, initial=images - len(todo), unit="image", desc="studio") as bar:
        try:
            for task in as_completed([pool.submit(render_batch, batch, out) for batch in batches]):
                bar.update(task.result())
        except BaseException:  # an interrupt or a failed image: do not begin what is queued
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return len(todo)


# --- finishing ------------------------------------------------------------------------------------


def read_records(out: Path) -> list[dict]:
    """Records of all finished images, in order. Raises FileNotFoundError when there is none."""
    paths = sorted((out / ".records").glob("[0-9]*.json"))
    if not paths:
        raise FileNotFoundError(f"{out / '.records'}: no finished image; render first")
    return [json.loads(path.read_text()) for path in paths]


def contact_sheet(out: Path, records: list[dict], size: int = 96) -> Image.Image:
    """Images spread evenly over the set, each with the beginning of its caption."""
    rows, columns = SHEET
    even = np.linspace(0, len(records) - 1, min(rows * columns, len(records))).astype(int)
    chosen = [records[i] for i in dict.fromkeys(even.tolist())]
    bar = 26
    sheet = Image.new("RGB", (columns * (size + 4), rows * (size + bar)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, record in enumerate(chosen):
        x, y = i % columns * (size + 4), i // columns * (size + bar)
        tile = Image.open(out / "images" / f"{record['id']}.jpg")
        sheet.paste(tile.resize((size, size), Image.Resampling.LANCZOS), (x, y))
        lines = wrap(record["caption"], 20, max_lines=2, placeholder=" …")
        draw.text((x, y + size), "\n".join(lines), fill="black", font_size=9, spacing=1)
    return sheet


def composition(records: list[dict]) -> str:
    """Markdown tables: images by split and number of objects, nouns by category with how often
    each is seen, materials, colours."""
    splits = ("train", "heldout")
    rows = ["| images | " + " | ".join(splits) + " |", "|---|---:|---:|"]
    of = {split: [r for r in records if r["split"] == split] for split in splits}
    rows.append("| all | " + " | ".join(str(len(of[s])) for s in splits) + " |")
    for count in (1, 2, 3):
        cells = (str(sum(len(r["objects"]) == count for r in of[s])) for s in splits)
        rows.append(f"| with {count} object{'s' * (count > 1)} | " + " | ".join(cells) + " |")
    things = [thing for record in records for thing in record["objects"]]
    seen = Counter(thing["noun"] for thing in things)
    rows += ["", "| category | nouns (times seen) |", "|---|---|"]
    for category in CATEGORIES:
        names = [f"{n} ({seen[n]})" for n, row in NOUNS.items() if row.category == category]
        rows.append(f"| {category} | {', '.join(names)} |")
    for title, field, keys in (("material", "material", MATERIALS), ("colour", "colour", COLOURS)):
        seen = Counter(thing[field] for thing in things)
        rows += ["", f"| {title} | objects |", "|---|---:|"]
        rows += [f"| {key} | {seen[key]} |" for key in keys]
    return "\n".join(rows)


def finish(out: Path) -> str:
    """Gather ``metadata.jsonl``, remove what a kill left half done, draw the contact sheet, fill
    the generated part of the datasheet (``README.md``) where there is one. Returns the tables.

    Raises:
        FileNotFoundError: no image is finished.
    """
    records = read_records(out)
    known = {record["id"] for record in records}
    for path in [*(out / "images").iterdir(), *(out / "instances").iterdir()]:
        if path.stem not in known:
            path.unlink()
    lines = "".join(json.dumps(record) + "\n" for record in records)
    write(out / "metadata.jsonl", lines.encode())
    picture = encoded(contact_sheet(out, records), "JPEG", quality=80)
    write(out / "contact_sheet.jpg", picture)
    table = composition(records)
    sheet = out / "README.md"
    if sheet.exists():
        before, _, rest = sheet.read_text().partition(MARKS[0])
        _, _, after = rest.partition(MARKS[1])
        write(sheet, f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}".encode())
    return table
