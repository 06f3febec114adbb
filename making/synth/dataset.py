"""The whole benchmark: what each scene holds, rendering all scenes with resume, the finished files.

A scene is finished when its record ``.scenes/<scene>.json`` exists. It is written last and
atomically, so a kill at any moment neither loses nor repeats a finished scene.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from PIL import Image, ImageDraw
from tqdm import tqdm

from scrapseg.data.classes import CLASSES, IMPURITIES, SLUGS, palette

from . import SceneSpec

SEED = 20260612
VIEWS = 2
SPLITS = ("train", "train", "train", "train", "val", "test", "test", "test")  # by scene % 8
CLASSES_PER_SCENE = 4
EXTRA_PIECES = (0, 0, 1, 2)  # second pieces of a class that is there already
MARKS = ("<!-- generated: start -->", "<!-- generated: end -->")
LIMIT_MB = 60
IMAGES = {"train": 240, "val": 60, "test": 180}
CLASS_IN_TEST = 40


class TargetsMissed(Exception):
    """The rendered dataset is not what was asked for; the message lists every target missed."""


def plan(scenes: int, seed: int = SEED) -> list[SceneSpec]:
    """What each scene holds. Within a split every third scene has no impurity, heap and belt
    alternate, and classes come from shuffled decks of all eight, so counts stay even. The first n
    scenes are the same whatever `scenes` is."""
    specs: list[SceneSpec] = []
    number: Counter[str] = Counter()
    decks: dict[str, list[str]] = {split: [] for split in SPLITS}
    streams = {
        split: np.random.default_rng([seed, i]) for i, split in enumerate(dict.fromkeys(SPLITS))
    }
    for scene in range(scenes):
        split = SPLITS[scene % len(SPLITS)]
        k, rng, deck = number[split], streams[split], decks[split]
        number[split] += 1
        setting = ("heap", "belt")[(k // 3 + k % 3) % 2]
        pieces: tuple[str, ...] = ()
        if k % 3 != 2:
            if not deck:
                deck.extend(rng.permutation([c.slug for c in IMPURITIES]).tolist())
            drawn = [deck.pop() for _ in range(CLASSES_PER_SCENE)]
            extra = rng.choice(EXTRA_PIECES)
            pieces = (*drawn, *rng.permutation(drawn)[:extra].tolist())
        specs.append(SceneSpec(scene, seed, split, setting, pieces))
    return specs


# --- rendering ------------------------------------------------------------------------------------


def write(path: Path, data: bytes) -> None:
    """All or nothing: the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        scratch.write_bytes(data)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The image as the bytes of a file."""
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def as_label(label: np.ndarray) -> Image.Image:
    """Labels (h, w) uint8 as a palette image in the class colours."""
    image = Image.frombytes("P", (label.shape[1], label.shape[0]), label.tobytes())
    image.putpalette(palette())
    return image


def record_of(out: Path, scene: int) -> Path:
    """Where a scene's record lies once the scene is finished."""
    return out / ".scenes" / f"{scene:04d}.json"


@contextmanager
def quiet() -> Iterator[None]:
    """Send the process's standard output to nowhere: Blender reports every frame and tile."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


@quiet()
def render_scene(spec: SceneSpec, out: Path, threads: int = 1) -> list[dict]:
    """Make one scene and write its views and its record. Returns the metadata lines."""
    # Here, not above: finishing needs no Blender, and worker processes inherit the module path of
    # the parent, on which bpy, once imported, cannot be imported again.
    from . import render
    from .scene import make_scene

    scene = make_scene(spec)
    render.setup(threads)
    tracer = render.Tracer(scene)
    index_of = {c.slug: c.index for c in CLASSES}
    lines, camera = [], None
    for view in range(VIEWS):
        rng = spec.rng(1, view)
        camera, index = render.choose_camera(spec, tracer, rng, camera)
        label, instances, found = render.label_view(tracer, camera, index, index_of)
        image = render.photograph(camera, rng)
        name = f"{spec.scene:04d}_{view}"
        write(out / "images" / f"{name}.jpg", encoded(image, "JPEG", quality=92))
        write(out / "labels" / f"{name}.png", encoded(as_label(label), "PNG", optimize=True))
        write(out / "instances" / f"{name}.png",
              encoded(Image.fromarray(instances), "PNG", optimize=True))  # fmt: skip
        lines.append(
            {
                "id": name,
                "scene": spec.scene,
                "view": view,
                "split": spec.split,
                "seed": spec.seed,
                "setting": spec.setting,
                "ground": scene.ground,
                "camera": camera.to_json(),
                "light": scene.light,
                "impurity_fraction": round(float((label > 0).mean()), 6),
                "instances": found,
            }
        )
    write(record_of(out, spec.scene), json.dumps(lines).encode())
    return lines


def render_all(out: Path, scenes: int, jobs: int, seed: int = SEED) -> int:
    """Render the scenes that are not finished yet, `jobs` at a time. Returns how many were made.

    Raises:
        FileExistsError: the folder holds a finished data set that was not rendered here.
    """
    if (out / "checksums.sha256").exists() and not record_of(out, 0).parent.exists():
        raise FileExistsError(
            f"{out}: holds a finished data set, which rendering would overwrite; "
            "name another folder with --out"
        )
    todo = [spec for spec in plan(scenes, seed) if not record_of(out, spec.scene).exists()]
    work = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(render_scene)(spec, out) for spec in todo
    )
    done = scenes - len(todo)
    for _ in tqdm(work, total=scenes, initial=done, unit="scene", desc="rendering"):
        pass
    return len(todo)


# --- finishing ------------------------------------------------------------------------------------


def read_records(out: Path) -> list[dict]:
    """Metadata lines of all finished scenes, in order. Raises FileNotFoundError when none is."""
    paths = sorted((out / ".scenes").glob("[0-9]*.json"))
    if not paths:
        raise FileNotFoundError(f"{out / '.scenes'}: no finished scene; render first")
    return [line for path in paths for line in json.loads(path.read_text())]


def overlay(out: Path, name: str) -> Image.Image:
    """The picture with impurities tinted in their class colours."""
    image = np.asarray(Image.open(out / "images" / f"{name}.jpg").convert("RGB"), dtype=float)
    label = np.asarray(Image.open(out / "labels" / f"{name}.png"))
    colours = np.array([c.colour for c in CLASSES], dtype=float)[label]
    tinted = np.where(label[..., None] > 0, 0.4 * image + 0.6 * colours, image)
    return Image.fromarray(tinted.astype(np.uint8))


def contact_sheet(
    out: Path, lines: list[dict], rows: int = 6, columns: int = 4, size: int = 256
) -> Image.Image:
    """Scenes spread over the dataset, picture and overlay side by side, with a legend."""
    first = [line for line in lines if line["view"] == 0]
    even = np.linspace(0, len(first) - 1, min(rows * columns, len(first))).astype(int)
    chosen = [first[i] for i in dict.fromkeys(even.tolist())]
    bar = 28
    sheet = Image.new("RGB", (columns * 2 * size, rows * size + bar), "white")
    for i, line in enumerate(chosen):
        x, y = i % columns * 2 * size, i // columns * size
        picture = Image.open(out / "images" / f"{line['id']}.jpg").convert("RGB")
        for shift, tile in ((0, picture), (size, overlay(out, line["id"]))):
            sheet.paste(tile.resize((size, size), Image.Resampling.LANCZOS), (x + shift, y))
    draw = ImageDraw.Draw(sheet)
    step = columns * 2 * size // len(IMPURITIES)
    for i, kind in enumerate(IMPURITIES):
        x, y = i * step + 8, rows * size + 6
        draw.rectangle((x, y, x + 16, y + 16), fill=kind.colour)
        draw.text((x + 24, y + 2), kind.name, fill="black", font_size=14)
    return sheet


def crops(out: Path, per_class: int = 60, columns: int = 12, size: int = 128) -> None:
    """Write ``crops/<class>.jpg`` beside the dataset's folder: the largest views of a class, to
    look at whether a person can tell it."""
    lines = read_records(out)
    folder = out.parent / f"{out.name}-crops"
    folder.mkdir(parents=True, exist_ok=True)
    for kind in IMPURITIES:
        found = [(i["pixels"], line["id"], i["id"]) for line in lines for i in line["instances"]
                 if i["class"] == kind.slug]  # fmt: skip
        keep = np.linspace(0, len(found) - 1, min(per_class, len(found))).astype(int)
        found = [sorted(found, reverse=True)[i] for i in keep]
        rows = -(-max(len(found), 1) // columns)
        sheet = Image.new("RGB", (columns * size, rows * size))
        for i, (_, name, number) in enumerate(found):
            mask = np.asarray(Image.open(out / "instances" / f"{name}.png")) == number
            r, c = np.nonzero(mask)
            half = int(max(np.ptp(r), np.ptp(c), 32) * 0.75)
            y, x = int(r.min() + np.ptp(r) / 2), int(c.min() + np.ptp(c) / 2)
            picture = Image.open(out / "images" / f"{name}.jpg").convert("RGB")
            tile = picture.crop((x - half, y - half, x + half, y + half))
            tile = tile.resize((size, size), Image.Resampling.LANCZOS)
            sheet.paste(tile, (i % columns * size, i // columns * size))
        sheet.save(folder / f"{kind.slug}.jpg", quality=90)


def composition(lines: list[dict]) -> str:
    """Markdown: images per class and split, and the quantiles of the impurity share."""
    splits = list(dict.fromkeys(SPLITS))
    of = {split: [line for line in lines if line["split"] == split] for split in splits}
    rows = [f"| | {' | '.join(splits)} |", "|---|" + "---:|" * len(splits)]

    def row(name: str, count) -> None:
        rows.append(f"| {name} | " + " | ".join(str(count(of[s])) for s in splits) + " |")

    row("scenes", lambda g: len({line["scene"] for line in g}))
    row("images", len)
    row("images without impurity", lambda g: sum(not line["instances"] for line in g))
    for setting in ("heap", "belt"):
        row(f"images of a {setting}", lambda g, s=setting: sum(line["setting"] == s for line in g))
    for kind in IMPURITIES:
        row(f"images with {kind.name}", lambda g, k=kind: sum(k.slug in classes_in(x) for x in g))
    row("impurity pieces in view", lambda g: sum(len(line["instances"]) for line in g))
    shares = [line["impurity_fraction"] for line in lines if line["instances"]]
    visible = [i["visible_fraction"] for line in lines for i in line["instances"]]
    pixels = [i["pixels"] for line in lines for i in line["instances"]]
    quantiles = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    rows += ["", "| quantile | " + " | ".join(f"{q:.0%}" for q in quantiles) + " |",
             "|---|" + "---:|" * len(quantiles)]  # fmt: skip
    for name, values, form in (
        ("impurity share of the image, where there is any", shares, "{:.3f}"),
        ("visible fraction of a piece", visible, "{:.2f}"),
        ("pixels of a piece", pixels, "{:.0f}"),
    ):
        if values:
            cells = " | ".join(form.format(v) for v in np.quantile(values, quantiles))
            rows.append(f"| {name} | {cells} |")
    return "\n".join(rows)


def classes_in(line: dict) -> set[str]:
    """Slugs of the impurity classes in view in an image, given its metadata line."""
    return {instance["class"] for instance in line["instances"]}


def missed(lines: list[dict], megabytes: float) -> list[str]:
    """Targets of ScrapSim v1 that a dataset misses, in words; [] when it meets them all."""
    problems = []
    for split, wanted in IMAGES.items():
        have = sum(line["split"] == split for line in lines)
        if have < wanted:
            problems.append(f"{split} has {have} images, wanted {wanted}")
        group = [line for line in lines if line["split"] == split]
        clean = sum(not line["instances"] for line in group) / max(len(group), 1)
        if not 0.30 <= clean <= 0.37:
            problems.append(f"{clean:.0%} of {split} without impurities, wanted a third")
    for slug in SLUGS[1:]:
        have = sum(line["split"] == "test" and slug in classes_in(line) for line in lines)
        if have < CLASS_IN_TEST:
            problems.append(f"{slug} in {have} test images, wanted {CLASS_IN_TEST}")
    off = [f"{line['id']} ({line['impurity_fraction']:.2%})" for line in lines
           if line["instances"] and not 0.01 <= line["impurity_fraction"] <= 0.06]  # fmt: skip
    if off:
        problems.append(f"impurity share outside 1-6 % in {len(off)} images: {', '.join(off)}")
    if megabytes > LIMIT_MB:
        problems.append(f"{megabytes:.0f} MB, limit {LIMIT_MB}")
    return problems


def finish(out: Path) -> str:
    """Gather the metadata, draw the contact sheet, fill the datasheet's generated part, write the
    checksums. Returns the composition table. Raises TargetsMissed after writing everything."""
    lines = read_records(out)
    known = {line["id"] for line in lines}
    for folder, suffix in (("images", "jpg"), ("labels", "png"), ("instances", "png")):
        for path in (out / folder).glob(f"*.{suffix}"):
            if path.stem not in known:  # left by a scene that was cut off
                path.unlink()
    write(out / "metadata.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    write(out / "contact_sheet.jpg", encoded(contact_sheet(out, lines), "JPEG", quality=85))
    table = composition(lines)
    sheet = out / "README.md"
    if sheet.exists():
        before, _, rest = sheet.read_text().partition(MARKS[0])
        _, _, after = rest.partition(MARKS[1])
        write(sheet, f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}".encode())
    paths = sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(out).parts)
    )
    paths = [path for path in paths if path != "checksums.sha256"]
    sums = [f"{hashlib.sha256((out / path).read_bytes()).hexdigest()}  {path}\n" for path in paths]
    write(out / "checksums.sha256", "".join(sums).encode())
    problems = missed(lines, sum((out / path).stat().st_size for path in paths) / 1e6)
    if problems:
        raise TargetsMissed(f"{out}: " + "; ".join(problems))
    return table
