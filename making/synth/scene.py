"""One scene from a seed: ground, light, pieces dropped by rigid-body physics, possible cameras.

Everything random comes from numpy generators seeded with (dataset seed, scene number), so a scene
is the same whenever and in whatever order it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import atan, cos, degrees, pi, radians, sin, tan

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.random import Generator

from . import Piece, SceneSpec, impurities, steel
from .materials import DUSTS, principled

SETTLE_FRAMES = 100  # at 24 frames/s; the slowest piece lands after ~60
SENSOR_MM = 36.0
BELT_HALF_WIDTH = 0.55  # m


@dataclass
class Scene:
    """What was made: the settled pieces, other solid objects (rails, crumbs), and descriptions."""

    pieces: list[Piece]
    fixtures: list[bpy.types.Object]
    ground: str
    light: dict


@dataclass(frozen=True)
class Camera:
    """location and target in metres, focal length in mm on a 36 mm sensor, roll in degrees,
    framing = width in metres of what is seen at the target's distance."""

    location: tuple[float, float, float]
    target: tuple[float, float, float]
    focal_mm: float
    roll_deg: float
    framing_m: float
    elevation_deg: float

    def matrix(self) -> np.ndarray:
        """(4, 4) camera to world; the camera looks along -z, y is up."""
        forward = np.subtract(self.target, self.location)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        up = np.cross(right, forward)
        c, s = cos(radians(self.roll_deg)), sin(radians(self.roll_deg))
        right, up = c * right + s * up, c * up - s * right
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, up, -forward], axis=1)
        matrix[:3, 3] = self.location
        return matrix

    def rays(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Origin (3,) and unit directions (size, size, 3) through pixel centres, row 0 on top."""
        half = SENSOR_MM / 2 / self.focal_mm
        steps = ((np.arange(size) + 0.5) / size * 2 - 1) * half
        local = np.stack(np.broadcast_arrays(steps[None], -steps[:, None], -1.0), axis=-1)
        directions = local @ self.matrix()[:3, :3].T
        return np.array(self.location), directions / np.linalg.norm(
            directions, axis=2, keepdims=True
        )

    def project(self, points: np.ndarray, size: int) -> np.ndarray:
        """World points (n, 3) to pixel coordinates (n, 2) as (column, row)."""
        matrix = self.matrix()
        local = (points - matrix[:3, 3]) @ matrix[:3, :3]
        depth = np.maximum(-local[:, 2:], 1e-6)
        plane = local[:, :2] / depth * (self.focal_mm / SENSOR_MM)
        return (plane * (1, -1) + 0.5) * size

    def to_json(self) -> dict:
        """For the metadata, rounded to a tenth of a millimetre and a thousandth."""

        def rounded(v: float | tuple) -> float | list[float]:
            return [round(x, 4) for x in v] if isinstance(v, tuple) else round(v, 3)

        return {key: rounded(value) for key, value in asdict(self).items()}


def draw_camera(rng: Generator, setting: str, pieces: list[Piece]) -> Camera:
    """A random camera, aimed between the middle of the pieces given and one of them."""
    belt = setting == "belt"
    middle = np.mean([p.obj.matrix_world.translation for p in pieces], axis=0)
    pick = np.array(pieces[rng.integers(len(pieces))].obj.matrix_world.translation)
    target = middle + (pick - middle) * rng.uniform(0.1, 0.9) + rng.normal(0, 0.05, 3)
    target[2] = max(target[2], 0.0)
    framing = 0.8 * (1.8 if belt else 2.8) ** rng.beta(1.2, 1.6)
    focal = rng.uniform(28, 75)
    elevation = rng.uniform(48, 86) if belt else rng.uniform(32, 80)
    azimuth = rng.uniform(0, 2 * pi)
    distance = framing / (2 * tan(atan(SENSOR_MM / 2 / focal)))
    e = radians(elevation)
    offset = distance * np.array([cos(e) * cos(azimuth), cos(e) * sin(azimuth), sin(e)])
    location = target + offset
    return Camera(
        tuple(location.tolist()),
        tuple(target.tolist()),
        focal,
        float(rng.normal(0, 4)),
        framing,
        elevation,
    )


# --- ground and light -----------------------------------------------------------------------------


def add_box(
    name: str, size: tuple, location: tuple, material: bpy.types.Material
) -> bpy.types.Object:
    """A box, size and centre in metres."""
    x, y, z = np.array(size) / 2
    corners = np.array(
        [(a, b, c) for c in (-z, z) for a, b in ((-x, -y), (x, -y), (x, y), (-x, y))]
    )
    faces = [(3, 2, 1, 0), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    data = bpy.data.meshes.new(name)
    data.from_pydata(corners.tolist(), [], faces)
    data.materials.append(material)
    obj = bpy.data.objects.new(name, data)
    obj.location = location
    bpy.context.scene.collection.objects.link(obj)
    return obj


def wet(material: bpy.types.Material, rng: Generator, amount: float) -> None:
    """Puddles: where a slow noise is low the surface is dark and smooth as water."""
    tree = material.node_tree
    nodes, link = tree.nodes, tree.links.new
    shader = nodes["Principled BSDF"]
    noise, ramp = nodes.new("ShaderNodeTexNoise"), nodes.new("ShaderNodeMapRange")
    noise.inputs["Scale"].default_value = rng.uniform(1.2, 2.5)
    noise.inputs["Detail"].default_value = 3.0
    coordinates = nodes.new("ShaderNodeTexCoord")
    link(coordinates.outputs["Object"], noise.inputs["Vector"])
    edge = 0.35 + 0.3 * amount
    ramp.inputs["From Min"].default_value, ramp.inputs["From Max"].default_value = edge, edge - 0.06
    link(noise.outputs[0], ramp.inputs["Value"])
    for name, factor in (("Base Color", 0.4), ("Roughness", 0.06)):
        colour = name == "Base Color"
        mix = nodes.new("ShaderNodeMix")
        mix.data_type = "RGBA" if colour else "FLOAT"
        a, b, out = (6, 7, 2) if colour else (2, 3, 0)
        if colour:
            mix.blend_type = "MULTIPLY"
            mix.inputs[b].default_value = (factor, factor, factor, 1)
        else:
            mix.inputs[b].default_value = factor
        source = shader.inputs[name]
        if source.links:
            link(source.links[0].from_socket, mix.inputs[a])
        else:
            mix.inputs[a].default_value = source.default_value
        link(ramp.outputs[0], mix.inputs[0])
        link(mix.outputs[out], source)


def make_ground(rng: Generator, setting: str) -> tuple[list[bpy.types.Object], str]:
    """Ground or belt with rails. The first object is the floor; all are passive solids."""
    state = ("dry", "wet", "dusty")[rng.integers(3)]
    dust = {"dry": 0.2, "wet": 0.15, "dusty": 0.65}[state]
    if setting == "belt":
        g = rng.uniform(0.012, 0.035)
        material = principled(
            "belt",
            rng,
            (g, g, g * 1.05),
            roughness=0.55,
            noise=0.4,
            noise_scale=30,
            dirt=dust * 0.3,
            bump=0.5,
            bump_scale=260,
        )
        if state == "wet":
            wet(material, rng, 0.4)
        floor = add_box("belt", (8, 2 * BELT_HALF_WIDTH, 0.4), (0, 0, -0.2), material)
        paint = steel.PAINTS[rng.integers(len(steel.PAINTS))]
        rail = principled(
            "rail", rng, paint, roughness=0.5, chips=0.35, rust=rng.uniform(0.1, 0.5), dirt=dust
        )
        y = BELT_HALF_WIDTH + 0.02
        rails = [add_box("rail", (8, 0.05, 0.36), (0, side * y, -0.02), rail) for side in (-1, 1)]
        apron = principled("hall", rng, (0.12, 0.12, 0.12), roughness=0.8, noise=0.3, dirt=dust)
        hall = add_box("hall", (40, 40, 0.1), (0, 0, -1.2), apron)
        return [floor, *rails, hall], f"{state} rubber belt"
    kind = ("concrete", "soil", "asphalt")[rng.choice(3, p=[0.5, 0.3, 0.2])]
    if kind == "concrete":
        g = rng.uniform(0.16, 0.34)
        base, bump, scale = (g, g * 0.97, g * 0.92), 2.0, 40.0
    elif kind == "soil":
        base, bump, scale = DUSTS[rng.integers(3)], 14.0, 18.0
        base = tuple(0.7 * c for c in base)
    else:
        g = rng.uniform(0.03, 0.07)
        base, bump, scale = (g, g, g), 5.0, 150.0
    material = principled(
        "ground",
        rng,
        base,
        roughness=0.85,
        noise=0.45,
        noise_scale=2.5,
        dirt=dust,
        rust=rng.uniform(0.0, 0.35),
        bump=bump,
        bump_scale=scale,
    )
    if state == "wet":
        wet(material, rng, rng.uniform(0.3, 0.7))
    return [add_box("ground", (40, 40, 1), (0, 0, -0.5), material)], f"{state} {kind}"


def make_crumbs(rng: Generator, setting: str, finishes: steel.Finishes) -> bpy.types.Object:
    """Fines: flakes of scale and stones lying about, one mesh, no physics."""
    n = int(rng.integers(150, 500))
    spread = (1.6, 0.25) if setting == "belt" else (0.9, 0.9)
    parts = []
    for _ in range(n):
        size = 0.003 * np.exp(rng.normal(0.3, 0.6))
        corners = rng.normal(size=(4, 3)) * (size, size, size * 0.5)
        x, y = rng.normal(0, spread, 2)
        if setting == "belt":
            y = np.clip(y, -BELT_HALF_WIDTH + 0.02, BELT_HALF_WIDTH - 0.02)
        parts.append((corners + (x, y, size * 0.4), [(0, 1, 2), (0, 2, 3), (0, 3, 1), (1, 3, 2)]))
    vertices, faces = steel.join(*parts)
    data = bpy.data.meshes.new("crumbs")
    data.from_pydata(vertices.tolist(), [], faces)
    data.materials.append(finishes["rusted"][0])
    data.materials.append(principled("grit", rng, DUSTS[rng.integers(3)], roughness=0.9, noise=0.5))
    data.polygons.foreach_set("material_index", np.repeat(rng.integers(0, 2, n), 4).astype("int32"))
    obj = bpy.data.objects.new("crumbs", data)
    bpy.context.scene.collection.objects.link(obj)
    return obj


def add_light(kind: str, **settings: object) -> bpy.types.Object:
    """A lamp of Blender's kind (SUN, AREA) with its settings."""
    data = bpy.data.lights.new(kind.lower(), kind)
    for key, value in settings.items():
        setattr(data, key, value)
    obj = bpy.data.objects.new(kind.lower(), data)
    bpy.context.scene.collection.objects.link(obj)
    return obj


def aim(obj: bpy.types.Object, location: tuple) -> None:
    """Put a lamp at a place, shining at the origin."""
    obj.location = location
    obj.rotation_euler = (-Vector(location)).to_track_quat("-Z", "Y").to_euler()


def make_light(rng: Generator, setting: str) -> dict:
    """Sun, overcast sky or lamps. Returns a description; exposure is set after the render."""
    odds = (0.15, 0.30, 0.55) if setting == "belt" else (0.42, 0.36, 0.22)
    kind = ("sun", "overcast", "lamp")[rng.choice(3, p=odds)]
    warm = rng.uniform(-1, 1)
    tint = (1 + 0.06 * warm, 1.0, 1 - 0.10 * warm)
    if kind == "sun":
        elevation, azimuth = radians(rng.uniform(22, 65)), rng.uniform(0, 2 * pi)
        sun = add_light(
            "SUN",
            energy=rng.uniform(2.5, 4.5),
            angle=radians(0.8),
            color=(1, 0.95 - 0.08 * max(warm, 0), 0.88 - 0.18 * max(warm, 0)),
        )
        aim(sun, (cos(elevation) * cos(azimuth), cos(elevation) * sin(azimuth), sin(elevation)))
        top, rim, low = (0.25, 0.42, 0.80), (0.75, 0.82, 0.90), (0.10, 0.09, 0.08)
        strength, extra = 0.6, {"elevation_deg": round(degrees(elevation), 1)}
    elif kind == "overcast":
        top, rim, low = (0.85, 0.90, 0.98), (0.55, 0.58, 0.62), (0.09, 0.085, 0.08)
        strength, extra = 1.0, {}
        sun = add_light("SUN", energy=rng.uniform(0.2, 0.7), angle=radians(40), color=(1, 1, 1))
        aim(sun, (rng.normal(0, 0.7), rng.normal(0, 0.7), 1.0))
    else:
        count = int(rng.integers(1, 4))
        for _ in range(count):
            lamp = add_light(
                "AREA", energy=rng.uniform(60, 160), size=rng.uniform(0.3, 1.2), color=tint
            )
            aim(lamp, (*rng.normal(0, 1.3, 2), rng.uniform(1.8, 3.2)))
        g = rng.uniform(0.10, 0.30)
        top, rim, low = (g, g, g * 1.03), (0.5 * g, 0.5 * g, 0.5 * g), (0.2 * g,) * 3
        strength, extra = 1.0, {"lamps": count}
    world = bpy.data.worlds.new("sky")
    bpy.context.scene.world = world
    world.use_nodes = True
    nodes, link = world.node_tree.nodes, world.node_tree.links.new
    coordinates, split = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeSeparateXYZ")
    ramp, clouds = nodes.new("ShaderNodeValToRGB"), nodes.new("ShaderNodeTexNoise")
    mix, shift = nodes.new("ShaderNodeMix"), nodes.new("ShaderNodeMapRange")
    link(coordinates.outputs["Generated"], split.inputs[0])
    shift.inputs["From Min"].default_value = -1.0
    link(split.outputs["Z"], shift.inputs["Value"])
    link(shift.outputs[0], ramp.inputs[0])
    stops = ramp.color_ramp.elements
    stops[0].position, stops[0].color = 0.49, (*low, 1)
    stops[1].position, stops[1].color = 1.0, (*top, 1)
    middle = stops.new(0.53)
    middle.color = (*rim, 1)
    clouds.inputs["Scale"].default_value = 2.5
    clouds.inputs["Detail"].default_value = 3.0
    link(coordinates.outputs["Generated"], clouds.inputs["Vector"])
    mix.data_type, mix.blend_type = "RGBA", "OVERLAY"  # clouds and walls: something to reflect
    mix.inputs[0].default_value = 0.6
    link(ramp.outputs[0], mix.inputs[6])
    link(clouds.outputs[0], mix.inputs[7])
    link(mix.outputs[2], nodes["Background"].inputs["Color"])
    nodes["Background"].inputs["Strength"].default_value = strength
    return {"kind": kind, "warmth": round(warm, 2), **extra}


# --- dropping -------------------------------------------------------------------------------------


def stack(pieces: list[Piece], rng: Generator, setting: str) -> None:
    """Hang the pieces over the ground, first ones lowest, in layers that do not overlap."""
    per_layer = 18 if setting == "belt" else 4
    height = 0.12
    for start in range(0, len(pieces), per_layer):
        layer = pieces[start : start + per_layer]
        tallest = 0.0
        places = rng.permutation(per_layer)
        turn = rng.uniform(0, 2 * pi)
        for piece, slot in zip(layer, places, strict=False):
            size = np.array(piece.obj.dimensions)
            if setting == "belt":
                x = (slot % 6 - 2.5) * 0.26 + rng.normal(0, 0.06)
                y = (slot // 6 - 1) * 0.30 + rng.normal(0, 0.06)
                limit = BELT_HALF_WIDTH - size.max() / 2
                y = float(np.clip(y, -limit, limit)) if limit > 0 else 0.0
            else:
                radius = rng.uniform(0.06, 0.38)
                angle = turn + slot * pi / 2 + rng.normal(0, 0.2)
                x, y = radius * cos(angle), radius * sin(angle)
            piece.obj.rotation_euler = rng.uniform(0, 2 * pi, 3)
            if size.max() > 4 * np.sort(size)[1] or setting == "belt":
                tilt = rng.normal(0, 0.25, 2)  # long things do not stand on end
                flat = (0, pi / 2, 0) if np.argmax(size) == 2 else (0, 0, 0)
                piece.obj.rotation_euler = (
                    flat[0] + tilt[0],
                    flat[1] + tilt[1],
                    rng.uniform(0, 6.28),
                )
            piece.obj.location = (x, y, height + size.max() / 2)
            tallest = max(tallest, min(size.max(), 0.30))
        height += 0.7 * tallest + 0.02


def drop(
    pieces: list[Piece],
    fixtures: list[bpy.types.Object],
    watch: Callable[[int, list[Piece]], None] | None = None,
) -> None:
    """Let everything fall and freeze it where it lies (Bullet through Blender).

    `watch` is called with the number of each frame and the pieces, to look at the fall.
    """
    scene = bpy.context.scene
    bpy.ops.rigidbody.world_add()
    world = scene.rigidbody_world
    world.substeps_per_frame, world.solver_iterations = 5, 10
    world.point_cache.frame_end = SETTLE_FRAMES
    scene.frame_end = SETTLE_FRAMES
    for kind, objects in (("PASSIVE", fixtures), ("ACTIVE", [p.obj for p in pieces])):
        bpy.ops.object.select_all(action="DESELECT")
        for obj in objects:
            obj.select_set(True)
        bpy.context.view_layer.objects.active = objects[0]
        bpy.ops.rigidbody.objects_add(type=kind)
        for obj in objects:
            body = obj.rigid_body
            body.collision_shape = "BOX" if kind == "PASSIVE" else "CONVEX_HULL"
            body.friction, body.restitution = 0.75, 0.0
            body.use_margin, body.collision_margin = True, 0.0015
    for piece in pieces:
        body = piece.obj.rigid_body
        body.collision_shape = piece.shape
        body.mass = min(max(piece.mass_kg, 0.3), 15.0)  # far ratios shake the solver
        body.linear_damping, body.angular_damping = 0.85, 0.6  # slow fall: a pile, not a splash
    for frame in range(1, SETTLE_FRAMES + 1):
        scene.frame_set(frame)
        if watch is not None:
            watch(frame, pieces)
    graph = bpy.context.evaluated_depsgraph_get()
    rest = [p.obj.evaluated_get(graph).matrix_world.copy() for p in pieces]
    bpy.ops.rigidbody.world_remove()
    for piece, matrix in zip(pieces, rest, strict=True):
        piece.obj.matrix_world = matrix
    bpy.context.view_layer.update()


def shrink(piece: Piece, factor: float) -> None:
    """Scale a piece in place: the same thing comes in many sizes."""
    piece.obj.data.transform(Matrix.Scale(factor, 4))
    piece.mass_kg *= factor**3


def make_scene(spec: SceneSpec, watch: Callable[[int, list[Piece]], None] | None = None) -> Scene:
    """Build and settle a scene in a fresh Blender state; `watch` sees the fall, see `drop`."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    rng = spec.rng()
    fixtures, ground = make_ground(rng, spec.setting)
    light = make_light(rng, spec.setting)
    finishes = steel.make_finishes(rng)
    count = spec.steel
    if count is None:
        count = int(rng.integers(34, 58) if spec.setting == "belt" else rng.integers(80, 125))
    pieces = [steel.build(rng, finishes, setting=spec.setting) for _ in range(count)]
    for slug in spec.impurities:
        # Most are released among the last and stay in sight; the rest get buried in part.
        at = int(
            len(pieces) * (rng.uniform(0.75, 1.0) if rng.random() < 0.6 else rng.uniform(0.4, 0.75))
        )
        piece = impurities.build(slug, rng)
        shrink(piece, rng.uniform(0.55, 1.0))
        pieces.insert(at, piece)
    bpy.context.view_layer.update()
    stack(pieces, rng, spec.setting)
    drop(pieces, fixtures, watch)
    lost = [p for p in pieces if p.obj.matrix_world.translation.z < -0.05]
    for piece in lost:  # over the rail or through the floor
        bpy.data.objects.remove(piece.obj, do_unlink=True)
    kept = [p for p in pieces if p not in lost]
    crumbs = make_crumbs(rng, spec.setting, finishes)
    return Scene(kept, [*fixtures, crumbs], ground, light)
