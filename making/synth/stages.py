"""One scene at the stages of its making, as a strip of pictures: what notebook a1 shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .dataset import as_label, encoded, plan, quiet, write

SCENE = 3
"""A belt, whose few layers of pieces fit into one picture before they fall."""
FRAMES = (1, 6, 11)
"""Frames of the fall that are shown, at 24 a second."""


@quiet()
def strip(number: int = SCENE, size: int = 300, gap: int = 6) -> Image.Image:
    """Six square tiles: three moments of the fall, the scene at rest, the first view, its labels.

    The last two are what `dataset.render_scene` makes on the same machine.

    Args:
        number: the scene's.
        size: side of a tile in pixels. gap: white pixels between tiles.
    """
    # Here, not above: the command line names this module where there is no Blender.
    import bpy

    from scrapseg.data.classes import CLASSES

    from . import render
    from .scene import Camera, make_scene

    poses: dict[int, dict] = {}

    def watch(frame: int, pieces: list) -> None:
        if frame in FRAMES:
            graph = bpy.context.evaluated_depsgraph_get()
            poses[frame] = {
                p.obj.name: p.obj.evaluated_get(graph).matrix_world.copy() for p in pieces
            }

    spec = plan(number + 1)[number]
    scene = make_scene(spec, watch)
    poses[0] = {p.obj.name: p.obj.matrix_world.copy() for p in scene.pieces}  # at rest
    render.setup(threads=2)
    tracer, rng = render.Tracer(scene), spec.rng(1, 0)
    camera, index = render.choose_camera(spec, tracer, rng, None)
    label, _, _ = render.label_view(tracer, camera, index, {c.slug: c.index for c in CLASSES})
    view = render.photograph(camera, rng)
    beside = Camera((1.5, -2.1, 1.5), (0.0, 0.0, 0.22), 58.0, 0.0, 1.8, 27.0)
    tiles = []
    for frame in (*FRAMES, 0):
        for piece in scene.pieces:
            piece.obj.matrix_world = poses[frame][piece.obj.name]
        bpy.context.view_layer.update()
        tiles.append(render.photograph(beside, np.random.default_rng(0)))
    colours = as_label(label).convert("RGB")
    shown = Image.composite(colours, view.convert("L").convert("RGB"), as_mask(label))
    sheet = Image.new("RGB", (6 * size + 5 * gap, size), "white")
    for i, tile in enumerate([*tiles, view, shown]):
        sheet.paste(tile.resize((size, size), Image.Resampling.LANCZOS), (i * (size + gap), 0))
    return sheet


def as_mask(label: np.ndarray) -> Image.Image:
    """White where there is an impurity: labels (h, w) as an image to composite with."""
    return Image.fromarray(np.where(label > 0, 255, 0).astype(np.uint8))


def save(out: Path, number: int = SCENE) -> None:
    """Write the strip as a JPEG."""
    write(out, encoded(strip(number), "JPEG", quality=85, optimize=True))
