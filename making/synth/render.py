"""Pictures and labels of a settled scene.

The picture is Cycles with Open Image Denoise; the labels are exact: one ray through each pixel's
centre against the scene's triangles, so no pixel mixes two objects.
"""

from __future__ import annotations

import os
import tempfile

import bpy
import numpy as np
from mathutils import Matrix
from mathutils.bvhtree import BVHTree
from numpy.random import Generator
from PIL import Image

from . import SceneSpec
from .scene import Camera, Scene, draw_camera

SIZE = 384
SAMPLES = 4
BOUNCES = 3
SHARE = (0.01, 0.06)  # of an image's pixels are impurity, where there is any
AIM = (0.013, 0.055)  # the same on the coarse grid, which is off by some tenths
COARSE = 56  # rays a side while searching
TRIES = 70
SEARCHES = 8


def triangles(obj: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    """World vertices (n, 3) and triangles (m, 3) of an object as it is rendered."""
    graph = bpy.context.evaluated_depsgraph_get()
    mesh = obj.evaluated_get(graph).to_mesh()
    mesh.calc_loop_triangles()
    vertices = np.empty(len(mesh.vertices) * 3)
    mesh.vertices.foreach_get("co", vertices)
    corners = np.empty(len(mesh.loop_triangles) * 3, dtype=np.int32)
    mesh.loop_triangles.foreach_get("vertices", corners)
    matrix = np.array(obj.matrix_world)
    return vertices.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3], corners.reshape(-1, 3)


class Tracer:
    """Which piece is seen through which pixel. Pieces are counted from 1; 0 is ground or rail."""

    def __init__(self, scene: Scene) -> None:
        self.pieces = scene.pieces
        self.shapes = [triangles(p.obj) for p in scene.pieces]
        solids = [*self.shapes, *(triangles(o) for o in scene.fixtures)]
        starts = np.cumsum([0, *(len(v) for v, _ in solids)])
        self.owner = np.concatenate(
            [
                np.full(len(f), i + 1 if i < len(self.shapes) else 0)
                for i, (_, f) in enumerate(solids)
            ]
        )
        self.tree = BVHTree.FromPolygons(
            np.concatenate([v for v, _ in solids]).tolist(),
            np.concatenate([f + s for (_, f), s in zip(solids, starts, strict=False)]).tolist(),
            all_triangles=True,
        )
        self.alone: dict[int, BVHTree] = {}

    def index_map(self, camera: Camera, size: int) -> np.ndarray:
        """(size, size) int array: number of the piece in sight, 0 for none."""
        origin, directions = camera.rays(size)
        cast, start = self.tree.ray_cast, tuple(origin)
        hits = [cast(start, d)[2] for d in directions.reshape(-1, 3).tolist()]
        faces = np.array([-1 if h is None else h for h in hits])
        return np.where(faces < 0, 0, self.owner[faces]).reshape(size, size)

    def pixels_alone(self, number: int, camera: Camera, size: int) -> int:
        """Pixels piece `number` would cover in the frame were nothing in front of it."""
        vertices, faces = self.shapes[number - 1]
        if number not in self.alone:
            self.alone[number] = BVHTree.FromPolygons(
                vertices.tolist(), faces.tolist(), all_triangles=True
            )
        spots = camera.project(vertices, size)
        low = np.clip(np.floor(spots.min(axis=0)).astype(int) - 1, 0, size)
        high = np.clip(np.ceil(spots.max(axis=0)).astype(int) + 1, 0, size)
        origin, directions = camera.rays(size)
        window = directions[low[1] : high[1], low[0] : high[0]].reshape(-1, 3).tolist()
        cast, start = self.alone[number].ray_cast, tuple(origin)
        return sum(cast(start, d)[2] is not None for d in window)


def bearing(camera: Camera) -> np.ndarray:
    """Unit vector on the ground from the target to the camera."""
    along = np.subtract(camera.location, camera.target)[:2]
    return along / np.linalg.norm(along)


def search_camera(
    spec: SceneSpec, tracer: Tracer, slug_of: np.ndarray, rng: Generator, other: Camera | None
) -> Camera:
    """First random camera that, on a coarse grid, has the wanted share of impurity, sees every
    impurity class of the scene and enough scrap; the nearest to that if there is none."""
    wanted = set(spec.impurities)
    targets = [p for p in tracer.pieces if p.slug != "steel"] or tracer.pieces
    enough = 0.15 if spec.setting == "belt" else 0.45
    best, least = None, np.inf
    for attempt in range(TRIES):
        camera = draw_camera(rng, spec.setting, targets)
        if other is not None and bearing(camera) @ bearing(other) > 0.6:
            continue
        index = tracer.index_map(camera, COARSE)
        penalty = 0.0
        if wanted:
            share = (slug_of[index] != "steel").mean()
            missing = len(wanted - set(slug_of[index].flat))
            penalty = 4 * abs(np.log(np.clip(share, *AIM) / max(share, 1e-4)))
            penalty += max(missing - attempt // 25, 0)  # a hidden class is given up after a while
        penalty += max(enough - (index > 0).mean(), 0)  # scrap, not empty ground
        if penalty < least:
            best, least = camera, penalty
        if penalty == 0:
            break
    assert best is not None
    return best


def choose_camera(
    spec: SceneSpec, tracer: Tracer, rng: Generator, other: Camera | None
) -> tuple[Camera, np.ndarray]:
    """A camera and its full-size index map (SIZE, SIZE), searched again while the exact share of
    impurity is outside 1-6 %. `other` is the scene's first camera: the second looks from another
    side."""
    slug_of = np.array(["steel", *(p.slug for p in tracer.pieces)])
    for _ in range(SEARCHES):
        camera = search_camera(spec, tracer, slug_of, rng, other)
        index = tracer.index_map(camera, SIZE)
        if not spec.impurities or SHARE[0] <= (slug_of[index] != "steel").mean() <= SHARE[1]:
            break
    return camera, index


def setup(threads: int) -> None:
    """Cycles settings of the current scene; few samples, since the denoiser does the rest."""
    scene = bpy.context.scene
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    render.resolution_x = render.resolution_y = SIZE
    render.resolution_percentage = 100
    render.threads_mode, render.threads = "FIXED", threads
    render.use_persistent_data = True
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGB"
    cycles.device = "CPU"
    cycles.samples, cycles.use_adaptive_sampling = SAMPLES, False
    cycles.max_bounces = cycles.transmission_bounces = BOUNCES
    cycles.diffuse_bounces = cycles.glossy_bounces = 2
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4.0
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.denoising_prefilter = "FAST"
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"


def photograph(camera: Camera, rng: Generator) -> Image.Image:
    """Render, set the exposure as a camera would, add the sensor's noise and white balance."""
    scene = bpy.context.scene
    data = bpy.data.cameras.new("camera")
    data.lens, data.sensor_width, data.clip_start = camera.focal_mm, 36.0, 0.01
    obj = bpy.data.objects.new("camera", data)
    scene.collection.objects.link(obj)
    obj.matrix_world = Matrix(camera.matrix().tolist())
    scene.camera = obj
    scene.cycles.seed = int(rng.integers(2**31 - 1))
    bpy.ops.render.render()
    target = rng.uniform(0.29, 0.42)  # mean of the picture, 0..1 as displayed
    scene.view_settings.exposure = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "view.png")
        for _ in range(4):  # tone mapping is a display step: the render itself is not repeated
            bpy.data.images["Render Result"].save_render(path, scene=scene)
            pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
            off = np.log2((target / max(pixels.mean(), 1e-3)) ** 1.6)
            if abs(off) < 0.08:
                break
            scene.view_settings.exposure = float(np.clip(scene.view_settings.exposure + off, -6, 8))
    pixels *= 1 + rng.normal(0, 0.015, 3)
    grain = rng.uniform(0.004, 0.016)
    pixels += rng.normal(0, grain, pixels.shape) * (0.5 + pixels)
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))


def label_view(
    tracer: Tracer, camera: Camera, index: np.ndarray, index_of: dict[str, int]
) -> tuple[np.ndarray, np.ndarray, list[dict]]:
    """From a full-size index map: class labels (SIZE, SIZE) uint8, instance numbers (SIZE, SIZE)
    uint8 (0 = no impurity), and the list of instances as the metadata has it."""
    label = np.zeros((SIZE, SIZE), np.uint8)
    numbers = np.zeros((SIZE, SIZE), np.uint8)
    found: list[dict] = []
    for i, piece in enumerate(tracer.pieces, start=1):
        mask = index == i
        if piece.slug == "steel" or not mask.any():
            continue
        label[mask] = index_of[piece.slug]
        numbers[mask] = len(found) + 1
        pixels = int(mask.sum())
        whole = max(tracer.pixels_alone(i, camera, SIZE), pixels)
        found.append(
            {
                "id": len(found) + 1,
                "class": piece.slug,
                "pixels": pixels,
                "visible_fraction": round(pixels / whole, 4),
                "mass_kg": round(float(piece.mass_kg), 3),
            }
        )
    return label, numbers, found
