"""One piece of impurity before nothing: built, worn, lit by a sky, rendered with its alpha."""

from __future__ import annotations

import os
import tempfile
from math import cos, pi, radians, sin
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix
from numpy.random import Generator
from PIL import Image

from making.synth import Piece, impurities, render
from making.synth.impurities import yard
from making.synth.impurities.finless import finless
from making.synth.impurities.motor import motor
from making.synth.impurity_mesh import rotation
from making.synth.materials import principled
from making.synth.scene import SENSOR_MM, Camera, add_box
from making.synth.studio_scene import clear

SIZE = 256  # pixels a side of the render; the piece takes three quarters of it or more
SAMPLES = 5  # the denoiser does the rest
SKIES = Path(bpy.utils.system_resource("DATAFILES"), "studiolights", "world")


def build(slug: str, rng: Generator, fins: bool = True) -> Piece:
    """A new piece, ScrapSim's own or one of `yard`, deformed and worn; a motor without `fins` is
    one of `finless`."""
    crushed = False
    if not fins:
        piece = finless(rng)
    elif slug == "motor" and rng.random() < 0.36:
        piece, crushed = yard.stator(rng), rng.random() < 0.25
    elif slug == "motor":
        kind = str(rng.choice(["whole", "open", "gutted", "armature"], p=[0.58, 0.14, 0.12, 0.16]))
        piece = motor(rng, kind)
        crushed = kind == "armature" and rng.random() < 0.5  # lumps out of the shredder
        yard.repaint(piece.obj.data.materials[0], yard.pick(rng, yard.MOTOR_COATS, 0.2))
    elif slug == "cable" and rng.random() < 0.65:
        piece = yard.loose_cable(rng)
    elif slug == "rubber" and rng.random() < 0.6:
        piece = yard.torn_rubber(rng)
    elif slug == "wood" and rng.random() < 0.6:
        piece = yard.board(rng)
    else:
        piece = impurities.build(slug, rng)
    yard.deform(piece, rng, crushed)
    yard.wear(piece, rng)
    return piece


def pose(piece: Piece, rng: Generator) -> np.ndarray:
    """Turn a piece: mostly lying, on whichever side, else in any direction. Returns its vertices
    (n, 3) in metres, the lowest at height 0."""
    mesh = piece.obj.data
    points = np.empty(len(mesh.vertices) * 3)
    mesh.vertices.foreach_get("co", points)
    roll = rng.uniform(0, 2 * pi) if piece.slug in ("motor", "spray_can", "plastic") else (
        rng.choice([0, pi]) + rng.normal(0, 0.15))  # fmt: skip
    turn = rotation("y", rng.normal(0, 0.2)) @ rotation("x", roll)
    if rng.random() < 0.3:
        turn = rotation("x", rng.uniform(0, 2 * pi)) @ rotation("y", rng.uniform(0, 2 * pi)) @ turn
    turn = rotation("z", rng.uniform(0, 2 * pi)) @ turn
    points = points.reshape(-1, 3) @ turn.T
    matrix = np.eye(4)
    matrix[:3, :3], matrix[2, 3] = turn, -points[:, 2].min()
    piece.obj.matrix_world = Matrix(matrix.tolist())
    return points + matrix[:3, 3]


def light(rng: Generator) -> None:
    """One of the skies, turned, as bright as makes a white card that lies there 0.45 to 1.6."""
    paths = sorted(SKIES.glob("*.exr"))
    image = bpy.data.images.load(str(paths[rng.integers(len(paths))]), check_existing=True)
    width, height = image.size
    pixels = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    rows = pixels.reshape(height, width, -1)[..., :3].mean(1)  # (height, 3), from the bottom up
    up = (np.arange(height) + 0.5) / height * pi - pi / 2
    weight = 2 * np.maximum(np.sin(up), 0) * np.cos(up) * (pi / height)
    card = (rows * weight[:, None]).sum(0)  # what a white card sends back, by channel
    world = bpy.data.worlds.new("sky")
    bpy.context.scene.world = world
    world.use_nodes = True
    nodes, link = world.node_tree.nodes, world.node_tree.links.new
    sky, place = nodes.new("ShaderNodeTexEnvironment"), nodes.new("ShaderNodeMapping")
    balance = nodes.new("ShaderNodeMix")
    balance.data_type, balance.blend_type = "RGBA", "MULTIPLY"
    balance.inputs[0].default_value = 1.0
    white = (card.mean() / card) ** rng.uniform(0.5, 1.0)  # as well as a camera's own does it
    balance.inputs[7].default_value = (*white, 1.0)
    sky.image = image
    place.inputs["Rotation"].default_value = (0, 0, rng.uniform(0, 2 * pi))
    link(nodes.new("ShaderNodeTexCoord").outputs["Generated"], place.inputs["Vector"])
    link(place.outputs["Vector"], sky.inputs["Vector"])
    link(sky.outputs["Color"], balance.inputs[6])
    link(balance.outputs[2], nodes["Background"].inputs["Color"])
    strength = np.exp(rng.uniform(np.log(0.45), np.log(1.6))) / card.mean()
    nodes["Background"].inputs["Strength"].default_value = float(strength)
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 256


def frame(points: np.ndarray, rng: Generator) -> Camera:
    """A camera from above that has all of a piece in the frame, at least 0.75 of it across."""
    e, azimuth = radians(rng.uniform(15, 88)), rng.uniform(0, 2 * pi)
    target = (points.min(0) + points.max(0)) / 2
    look = np.array([cos(e) * cos(azimuth), cos(e) * sin(azimuth), sin(e)])
    focal, fill, roll = rng.uniform(35, 90), rng.uniform(0.78, 0.95), rng.normal(0, 8)
    size = float(np.linalg.norm(np.ptp(points, axis=0)))
    distance = 2 * size * focal / SENSOR_MM
    for _ in range(20):  # until it sits in the middle and fills the frame
        at = tuple((target + distance * look).tolist())
        camera = Camera(at, tuple(target.tolist()), focal, roll, 0.0, 0.0)
        spots = camera.project(points, 1)
        low, high = spots.min(0), spots.max(0)
        right, up = camera.matrix()[:3, :2].T
        aside, below = ((low + high) / 2 - 0.5) * distance * SENSOR_MM / focal
        target = target + 0.5 * (aside * right - below * up)
        distance = max(distance * ((high - low).max() / fill) ** 0.6, 0.7 * size)
    return camera


def shoot(slug: str, rng: Generator, fins: bool = True) -> Image.Image:
    """Make one piece (see `build`) and render it: RGBA, `SIZE` a side, the piece in the middle."""
    clear()
    render.setup(1)
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.render.use_persistent_data = False
    scene.render.film_transparent = True
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.image_settings.compression = 0
    scene.cycles.samples, scene.cycles.denoising_quality = SAMPLES, "BALANCED"
    scene.cycles.seed = int(rng.integers(2**31 - 1))
    points = pose(build(slug, rng, fins), rng)
    light(rng)
    if rng.random() < 0.6:  # ground that shades and reflects, and is not seen itself
        soil = principled("ground", rng, (float(rng.uniform(0.04, 0.25)),) * 3, roughness=0.9)
        add_box("ground", (3, 3, 0.1), (0, 0, -0.051), soil).visible_camera = False
    camera = frame(points, rng)
    data = bpy.data.cameras.new("camera")
    data.lens, data.sensor_width, data.clip_start = camera.focal_mm, 36.0, 0.01
    scene.camera = bpy.data.objects.new("camera", data)
    scene.collection.objects.link(scene.camera)
    scene.camera.matrix_world = Matrix(camera.matrix().tolist())
    bpy.ops.render.render()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "piece.png")
        bpy.data.images["Render Result"].save_render(path, scene=scene)
        return Image.open(path).convert("RGBA")
