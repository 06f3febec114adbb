"""One studio image: surfaces, objects on a floor, light and camera, the picture and its labels.

No physics: objects stand on the floor by their bounds, side by side along random directions or
one on the other. Light, camera and the exact labels by ray casting are ScrapSim's own.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from math import cos, pi, radians, sin

import bpy
import numpy as np
from mathutils import Matrix
from numpy.random import Generator
from PIL import Image

from making.synth import Piece, impurities, render
from making.synth.impurity_mesh import Parts, rotation, wobble
from making.synth.scene import Camera, Scene, make_light
from making.synth.shapes import SHAPES
from making.synth.studio_nouns import COLOURS, NOUNS
from making.synth.studio_surfaces import FLOORS, make_floor, surface, trim
from making.synth.studio_words import ImageSpec, ObjectSpec

SIZE = 160  # pixels a side
SAMPLES = 6
COARSE = 40  # rays a side while a camera is sought
CAMERAS = 6
LEAST_PIXELS = 40  # below this an object counts as not seen
IMPURITY_SLUGS = {  # nouns whose shapes and surfaces come from ScrapSim's generators
    "electric motor": "motor",
    "cable": "cable",
    "copper coil": "copper_coil",
    "aluminium profile": "aluminium",
    "plastic container": "plastic",
    "piece of wood": "wood",
}


# --- objects --------------------------------------------------------------------------------------


@dataclass
class Thing:
    """An object in its place: Blender object and its vertices in the world (n, 3), in metres."""

    obj: bpy.types.Object
    points: np.ndarray

    def move(self, by: np.ndarray) -> None:
        """Shift it, in metres."""
        self.points = self.points + by
        self.obj.matrix_world = Matrix.Translation(by.tolist()) @ self.obj.matrix_world


def scale_of(points: np.ndarray, rng: Generator) -> float:
    """Factor to the size of a studio object: some 0.2 m, long things longer."""
    a, b = np.sort(np.ptp(points, axis=0))[:0:-1]
    return 0.2 * np.exp(rng.uniform(-0.32, 0.32)) / (a * a * b) ** (1 / 3)


def build(spec: ObjectSpec, view: float, rng: Generator) -> Thing:
    """Make one object, turn it as the plan says, set it on the floor above the origin. A front
    (built towards -Y) looks about where the camera will be, at azimuth `view`."""
    towards = view + pi / 2 + rng.normal(0, 0.5)
    turn = rotation("z", towards if NOUNS[spec.noun].front else rng.uniform(0, 2 * pi))
    if spec.noun in IMPURITY_SLUGS:
        obj = impurities.build(IMPURITY_SLUGS[spec.noun], rng).obj
        points = np.empty(len(obj.data.vertices) * 3)
        obj.data.vertices.foreach_get("co", points)
        points = points.reshape(-1, 3)
        scale = scale_of(points, rng)
        if spec.noun == "plastic container" and rng.random() < 0.5:  # their long axis is X
            turn = turn @ rotation("y", -pi / 2)
    else:
        main = COLOURS[spec.colour] if spec.colour else None
        parts, slots = Parts(), ["main"]
        for name, piece in SHAPES[spec.noun](rng):
            if name not in slots:
                slots.append(name)
            parts.add(piece, slots.index(name))
        points = parts.points()
        points = points * scale_of(points, rng)
        soft = spec.material not in ("glass", "ceramic", "food", "stone", "concrete", "clay")
        if soft and spec.state != "clean" and rng.random() < 0.5:
            size = np.ptp(points, axis=0).max()
            points = wobble(points, rng, 0.012 * size, 0.6 * size)
        grain = int(np.ptp(points, axis=0).argmax())
        made = [surface(spec.material, main, spec.state, rng, grain)]
        made += [trim(name, main, rng) for name in slots[1:]]
        parts.reshape(points)
        obj = parts.join(spec.noun, made)
        points = np.empty(len(obj.data.vertices) * 3)
        obj.data.vertices.foreach_get("co", points)
        points, scale = points.reshape(-1, 3), 1.0
        if spec.lying:
            turn = turn @ rotation("x", pi / 2) @ rotation("z", rng.uniform(0, 2 * pi))
    placed = points @ turn.T * scale
    at = -np.array([*(placed.min(0) + placed.max(0))[:2] / 2, placed[:, 2].min()])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn * scale, at
    obj.matrix_world = Matrix(matrix.tolist())
    return Thing(obj, placed + at)


def arrange(things: list[Thing], stacked: bool, rng: Generator) -> None:
    """Set the things beside each other without touching, or the second on top of the first."""
    standing = things[0].points[:, :2]
    for k, thing in enumerate(things[1:], start=1):
        if stacked and k == 1:
            base = things[0].points
            room = np.ptp(base[:, :2], axis=0).min() / max(
                np.ptp(thing.points[:, :2], axis=0).max(), 1e-6
            )
            shrink = min(1.0, 0.85 * room)
            thing.points = thing.points * shrink
            thing.obj.matrix_world = Matrix.Scale(shrink, 4) @ thing.obj.matrix_world
            spare = 0.08 * np.ptp(base[:, :2], axis=0)
            thing.move(np.array([*rng.uniform(-spare, spare), base[:, 2].max()]))
            continue
        angle = rng.uniform(0, 2 * pi)
        along = np.array([cos(angle), sin(angle)])
        gap = rng.uniform(0.005, 0.04)
        reach = (standing @ along).max() - (thing.points[:, :2] @ along).min() + gap
        aside = rng.normal(0, 0.03) * np.array([-along[1], along[0]])
        thing.move(np.array([*(along * reach + aside), 0.0]))
        standing = np.concatenate([standing, thing.points[:, :2]])


# --- camera ---------------------------------------------------------------------------------------


def frame(points: np.ndarray, view: float, highest: float, rng: Generator) -> Camera:
    """A random camera about azimuth `view` (radians), at most `highest` degrees above the floor,
    that has all of `points` in the frame, or nearly: the farthest of them at 0.55 to 1.05 of the
    way to the border."""
    elevation = rng.uniform(20, highest)
    azimuth, focal = view + rng.normal(0, 0.35), rng.uniform(35, 80)
    target = (points.min(0) + points.max(0)) / 2 + rng.normal(0, 0.01, 3)
    e = radians(elevation)
    look = np.array([cos(e) * cos(azimuth), cos(e) * sin(azimuth), sin(e)])
    fill, roll, distance = rng.uniform(0.65, 1.1), float(rng.normal(0, 5)), 2.0
    for _ in range(4):
        location = tuple((target + distance * look).tolist())
        camera = Camera(location, tuple(target.tolist()), focal, roll, 0.0, elevation)
        widest = np.abs(camera.project(points, 1) - 0.5).max() * 2
        distance = max(distance * widest / fill, 0.15)
    return camera


def relation(camera: Camera, first: Thing, second: Thing) -> str:
    """How the first thing lies to the second as the camera sees it."""
    a, b = first.points, second.points
    if a[:, 2].min() > b[:, 2].max() - 0.01:
        return "on"
    forward = np.subtract(camera.target, camera.location)[:2]
    forward /= np.linalg.norm(forward)
    apart = ((a.min(0) + a.max(0)) / 2 - (b.min(0) + b.max(0)) / 2)[:2]
    depth, side = apart @ forward, abs(apart @ np.array([-forward[1], forward[0]]))
    if abs(depth) < 1.5 * side:
        return "next to"
    return "behind" if depth > 0 else "in front of"


# --- picture --------------------------------------------------------------------------------------


@dataclass
class Shot:
    """image: (160, 160) RGB. instances: (160, 160) uint8, 0 or 1 + index into the plan's objects.
    visible: indices of the objects that are seen, in the order the caption names them."""

    image: Image.Image
    instances: np.ndarray
    visible: list[int]
    relation: str


def clear() -> None:
    """Empty Blender of what an earlier image left."""
    for store in (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.lights,
                  bpy.data.cameras, bpy.data.worlds):  # fmt: skip
        bpy.data.batch_remove(store)


def photograph(camera: Camera, brightness: float, rng: Generator) -> Image.Image:
    """Render and set the exposure so that the picture's mean is near `brightness` (0..1 as
    displayed); then a sensor's white balance and noise."""
    scene = bpy.context.scene
    data = bpy.data.cameras.new("camera")
    data.lens, data.sensor_width, data.clip_start = camera.focal_mm, 36.0, 0.01
    obj = bpy.data.objects.new("camera", data)
    scene.collection.objects.link(obj)
    obj.matrix_world = Matrix(camera.matrix().tolist())
    scene.camera = obj
    scene.cycles.seed = int(rng.integers(2**31 - 1))
    bpy.ops.render.render()
    scene.view_settings.exposure = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "view.png")
        for _ in range(4):  # tone mapping is a display step: the render itself is not repeated
            bpy.data.images["Render Result"].save_render(path, scene=scene)
            pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
            off = np.log2((brightness / max(pixels.mean(), 1e-3)) ** 1.6)
            if abs(off) < 0.15:
                break
            scene.view_settings.exposure = float(np.clip(scene.view_settings.exposure + off, -6, 8))
    pixels *= 1 + rng.normal(0, 0.012, 3)
    pixels += rng.normal(0, rng.uniform(0.002, 0.010), pixels.shape)
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))


def setup(threads: int = 1) -> None:
    """Cycles as for ScrapSim, at the studio's size."""
    render.setup(threads)
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.render.use_persistent_data = False  # every image is a scene of its own
    scene.render.image_settings.compression = 0
    scene.cycles.samples = SAMPLES
    scene.cycles.denoising_quality = "BALANCED"


def shoot(spec: ImageSpec) -> Shot:
    """Make and photograph what the plan says. Same plan, same labels."""
    clear()
    setup()
    rng = spec.rng(1)
    floor = make_floor(spec.background, rng)
    view = rng.uniform(0, 2 * pi)
    things = [build(thing, view, rng) for thing in spec.objects]
    arrange(things, spec.stacked, rng)
    make_light(rng, ("heap", "belt")[rng.integers(2)])
    sky = bpy.context.scene.world.cycles  # its map for sampling is else most of the render's time
    sky.sampling_method, sky.sample_map_resolution = "MANUAL", 64
    bpy.context.view_layer.update()
    pieces = [Piece(t.obj, s.noun, 0.0) for t, s in zip(things, spec.objects, strict=True)]
    tracer = render.Tracer(Scene(pieces, [floor], spec.background, {}))
    everything = np.concatenate([thing.points for thing in things])
    highest = 50 if any(NOUNS[thing.noun].front for thing in spec.objects) else 80
    best, most = None, -1.0
    for _ in range(CAMERAS):  # the first that shows every object well, or else the best
        camera = frame(everything, view, highest, rng)
        index = tracer.index_map(camera, COARSE)
        least = min((index == k + 1).mean() for k in range(len(things)))
        if least > most:
            best, most = camera, least
        if least > 0.012:
            break
    index = tracer.index_map(best, SIZE)
    visible = [k for k in range(len(things)) if (index == k + 1).sum() >= LEAST_PIXELS]
    instances = np.where(np.isin(index, np.array(visible) + 1), index, 0).astype(np.uint8)
    if spec.stacked and visible[:2] == [0, 1]:
        visible[:2] = [1, 0]
    words = relation(best, *(things[k] for k in visible[:2])) if len(visible) > 1 else ""
    luminance = float(np.dot(FLOORS[spec.background][0], (0.21, 0.72, 0.07)))
    rng = spec.rng(2)
    brightness = (0.24 + 0.42 * luminance**0.5) * rng.uniform(0.85, 1.15)
    return Shot(photograph(best, brightness, rng), instances, visible, words)
