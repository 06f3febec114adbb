"""What scrap yards and sorting belts hold beside ScrapSim's own impurities, for the library of
pieces: bare stators, single loose cables, torn rubber, plain boards; and the wear of any of them.

Builders as in the modules beside it: a random generator in, a `Piece` out. Lengths in metres,
linear RGB colours.
"""

from __future__ import annotations

import bpy
import numpy as np
from numpy.random import Generator

from making.synth import Piece
from making.synth.impurities.surfaces import pick, streaked
from making.synth.impurities.wood import WOODS, plank
from making.synth.impurity_mesh import (
    Parts,
    Shape,
    bend,
    dents,
    grid,
    revolve,
    rotation,
    smooth_curve,
    tube,
    wobble,
)
from making.synth.materials import DUSTS, RUSTS, Colour, principled

ENAMELS = (  # of winding wire: red, gold, bare copper, varnished brown
    (0.42, 0.06, 0.03),
    (0.55, 0.28, 0.07),
    (0.72, 0.27, 0.12),
    (0.16, 0.07, 0.035),
)
SHEATHS = (
    (0.012, 0.012, 0.014),
    (0.012, 0.012, 0.014),
    (0.25, 0.26, 0.27),
    (0.65, 0.65, 0.62),
    (0.55, 0.015, 0.02),
    (0.02, 0.07, 0.48),
    (0.75, 0.18, 0.01),
    (0.75, 0.50, 0.03),
    (0.12, 0.05, 0.025),
    (0.03, 0.28, 0.06),
)
YELLOW, GREEN = (0.72, 0.62, 0.03), (0.03, 0.22, 0.04)  # protective earth
OLD_WOODS = (*WOODS, (0.24, 0.23, 0.21), (0.17, 0.15, 0.13), (0.11, 0.07, 0.045), (0.66, 0.55, 0.4))
PAINTS = ((0.72, 0.70, 0.65), (0.06, 0.16, 0.34), (0.40, 0.05, 0.03), (0.10, 0.24, 0.12))
MOTOR_COATS = (  # motors as yards have them: blue, teal, green, greys, black, cream, red, yellow
    (0.05, 0.19, 0.48),
    (0.22, 0.40, 0.60),
    (0.02, 0.24, 0.24),
    (0.06, 0.20, 0.13),
    (0.20, 0.21, 0.22),
    (0.40, 0.41, 0.40),
    (0.02, 0.02, 0.022),
    (0.50, 0.45, 0.34),
    (0.34, 0.05, 0.03),
    (0.65, 0.38, 0.04),
)

GIVE = {"motor": 0.12, "aluminium": 0.3, "wood": 0.1, "cable": 0.5}  # how far it lets itself bend

# --- wear -----------------------------------------------------------------------------------------


def repaint(material: bpy.types.Material, colour: Colour, noise: float = 0.15) -> None:
    """Give a material of `principled` (without spangle) another base colour."""
    base = next(n for n in material.node_tree.nodes if n.bl_idname == "ShaderNodeMix")
    for slot, factor in ((6, 1 - noise), (7, 1 + noise)):
        base.inputs[slot].default_value = (*(min(c * factor, 1.0) for c in colour), 1.0)


def overlay(
    material: bpy.types.Material,
    rng: Generator,
    colour: Colour,
    share: float,
    *,
    scale: float = 12.0,
    soft: float = 0.06,
    metallic: float = 0.0,
    roughness: float = 0.9,
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> None:
    """Cover about `share` (0..1) of a surface with patches, `scale` a metre, of another colour."""
    tree = material.node_tree
    new, link, shader = tree.nodes.new, tree.links.new, tree.nodes["Principled BSDF"]
    place, noise, edge = (
        new("ShaderNodeMapping"),
        new("ShaderNodeTexNoise"),
        new("ShaderNodeMapRange"),
    )
    link(new("ShaderNodeTexCoord").outputs["Object"], place.inputs["Vector"])
    place.inputs["Location"].default_value = rng.uniform(-50, 50, 3)
    place.inputs["Scale"].default_value = stretch
    link(place.outputs["Vector"], noise.inputs["Vector"])
    for name, value in (("Scale", scale), ("Detail", 6.0), ("Roughness", 0.66)):
        noise.inputs[name].default_value = value
    middle = 0.72 - 0.44 * share
    edge.inputs["From Min"].default_value = middle - soft
    edge.inputs["From Max"].default_value = middle + soft
    link(noise.outputs[0], edge.inputs["Value"])
    for name, value in (("Base Color", (*colour, 1.0)), ("Metallic", metallic),
                        ("Roughness", roughness)):  # fmt: skip
        mix, socket = new("ShaderNodeMix"), shader.inputs[name]
        mix.data_type = "RGBA" if name == "Base Color" else "FLOAT"
        a, b, out = (6, 7, 2) if name == "Base Color" else (2, 3, 0)
        if socket.is_linked:
            link(socket.links[0].from_socket, mix.inputs[a])
        else:
            mix.inputs[a].default_value = socket.default_value
        mix.inputs[b].default_value = value
        link(edge.outputs[0], mix.inputs[0])
        link(mix.outputs[out], socket)


def wear(piece: Piece, rng: Generator) -> None:
    """Dust, rust, grease and scratches over all surfaces of a piece, from none to thick."""
    rust = rng.beta(0.6, 1.2) if piece.slug == "motor" else 0.0
    rust = rng.uniform(0, 0.35) if piece.slug == "spray_can" and rng.random() < 0.4 else rust
    clean = {"aluminium": 0.3, "wood": 0.5, "copper_coil": 0.6}.get(piece.slug, 0.9)
    dust, grease = rng.beta(0.8, 2.0) * clean, rng.uniform(0.1, 0.4) * (rng.random() < 0.3)
    dusty, scratched = pick(rng, DUSTS, 0.15), rng.random() < 0.4
    brown = np.array(pick(rng, RUSTS, 0.1))
    around = rng.permutation([1.0, 1.0, 0.06])
    for material in piece.obj.data.materials:
        wound = "winding" in material.name
        if rust > 0.05 and not wound:
            overlay(material, rng, tuple((brown * 1.3).clip(0, 1)), rust, scale=16)
            overlay(material, rng, tuple(brown * 0.45), 0.6 * rust, scale=40)
        if scratched:
            pale = tuple(np.full(3, rng.uniform(0.1, 0.6)))
            overlay(material, rng, pale, 0.12, scale=60, soft=0.02, stretch=tuple(around))
        if grease:
            overlay(material, rng, (0.012, 0.011, 0.010), grease, scale=9, roughness=0.4)
        overlay(material, rng, dusty, dust * (0.6 if wound else 1.0), scale=rng.uniform(8, 30),
                soft=0.16)  # fmt: skip


def deform(piece: Piece, rng: Generator, strong: bool = False) -> None:
    """Bend, dent, squeeze and wobble a piece's mesh, as much as its material lets itself."""
    mesh = piece.obj.data
    points = np.empty(len(mesh.vertices) * 3)
    mesh.vertices.foreach_get("co", points)
    points = points.reshape(-1, 3)
    size = np.ptp(points, axis=0).max()
    give = GIVE.get(piece.slug, 1.0) * rng.random()
    give = rng.uniform(0.7, 1.2) if strong else give
    points = wobble(points, rng, 0.03 * give * size, rng.uniform(0.4, 0.9) * size)
    if rng.random() < give:
        points = bend(points, float(rng.uniform(-1.2, 1.2) * give), towards=int(rng.integers(1, 3)))
    if rng.random() < give and piece.slug not in ("cable", "rubber"):
        points = dents(points, rng, int(rng.integers(1, 5)), 0.14 * size, 0.10 * size * give)
    if rng.random() < give:  # squeezed flat by the shear or a wheel
        points[:, 1 + rng.integers(2)] *= 1 - rng.uniform(0.1, 0.6) * min(give, 1)
    mesh.vertices.foreach_set("co", points.ravel())
    mesh.update()


# --- builders -------------------------------------------------------------------------------------


def stator(rng: Generator) -> Piece:
    """A stator taken out of its motor: a hollow stack of laminations, wound ends on both sides."""
    r = float(rng.uniform(0.05, 0.1))
    length, bore = r * float(rng.uniform(0.4, 2.0)), r * float(rng.uniform(0.48, 0.66))
    grey = float(rng.uniform(0.03, 0.3))
    stack = principled("laminations", rng, (grey, grey, grey * 1.02), metallic=0.8, noise=0.3,
                       roughness=float(rng.uniform(0.35, 0.6)), noise_scale=40)  # fmt: skip
    streaked(stack, 0, 1 / 25)  # rings, a lamination each
    enamel = np.array(pick(rng, ENAMELS, 0.15))
    wires = [principled(f"winding{k}", rng, tuple((enamel * f).clip(0, 1)), metallic=0.55,
                        roughness=0.35, noise=0.3, noise_scale=90)
             for k, f in enumerate((1.0, 0.65, 1.35))]  # fmt: skip
    cord = principled("lacing", rng, pick(rng, ((0.7, 0.68, 0.6), (0.3, 0.22, 0.1)), 0.1))
    parts, around, slots = Parts(), 96, int(rng.choice([24, 32]))
    a = np.arange(around) * 2 * np.pi / around
    flats = rng.choice([0, 4, 6]) * (rng.random() < 0.7)
    outer = r * (np.maximum(0.93, 1 - 0.1 * np.cos(flats * a) ** 8) if flats else np.ones(around))
    inner = bore * (1 + 0.14 * (np.arange(around) * slots // around % 2))
    half, round_ = length / 2, np.stack([np.zeros(around), np.cos(a), np.sin(a)], -1)
    sections = [
        radius[:, None] * round_ + [x, 0, 0]
        for radius, x in ((inner, -half), (inner, half), (outer, half), (outer, -half))
    ]
    parts.add(grid(np.stack(sections), closed=True), 0)
    lift, flare = r * float(rng.uniform(0.18, 0.55)), float(rng.uniform(-0.05, 0.15))
    middle, thick = (bore * 1.1 + r * 0.93) / 2, (r * 0.93 - bore * 1.05) / 2
    coils = int(rng.integers(12, 25))
    for side in (1, -1):
        turn = rotation("z", 0.0 if side > 0 else np.pi)
        for k in range(coils):  # bundles of wire that leave one slot and go into another
            t, span = np.linspace(0, 1, 11), rng.uniform(0.6, 1.6)
            for _ in range(4):
                arch = np.sin(np.pi * t) ** 0.5 * lift * rng.uniform(0.55, 1.1)
                out = middle + thick * rng.uniform(-0.75, 0.75) * np.sin(np.pi * t) + flare * arch
                turned = 2 * np.pi * k / coils + t * span + rng.normal(0, 0.05)
                path = np.c_[half - 0.004 + arch, out * np.cos(turned), out * np.sin(turned)]
                path[1:-1] += rng.normal(0, 0.012 * r, (9, 3))
                wire = tube(smooth_curve(path, 16), thick * rng.uniform(0.13, 0.3), sides=5)
                parts.add(wire.moved(turn=turn), int(rng.integers(1, 4)))
        body_r = middle + thick * np.array([-0.6, -0.75, 0.75, 0.6, -0.6])
        body_x = half + lift * np.array([0.75, -0.1, -0.1, 0.75, 0.75])
        body = revolve(body_r, body_x, caps=False)
        parts.add(body.moved(turn=turn), 2)
        if rng.random() < 0.5:
            for b in np.arange(coils) * 2 * np.pi / coils:
                loop = np.stack([half + lift * np.array([0.1, 0.8, 1.05, 0.8, 0.1]),
                                 middle + thick * np.array([1.1, 1.05, 0, -1.05, -1.1]),
                                 np.zeros(5)], -1)  # fmt: skip
                parts.add(tube(loop @ rotation("x", b).T, 0.012 * r, sides=4).moved(turn=turn), 4)
    for _ in range(rng.integers(0, 6)):  # leads
        steps = np.cumsum(rng.normal(0, 0.22 * r, (6, 3)) + [0.2 * r, 0, 0], 0)
        b = rng.uniform(0, 2 * np.pi)
        start = np.array([half + lift * 0.7, middle * np.cos(b), middle * np.sin(b)])
        lead = tube(smooth_curve(start + steps, 24), 0.025 * r, sides=5)
        parts.add(lead, int(rng.integers(1, 5)))
    obj = parts.join("stator", [stack, *wires, cord])
    return Piece(obj, "motor", 4000 * np.pi * r * r * length)


def loose_cable(rng: Generator) -> Piece:
    """One to three single cables in open curves, thin to thick, the ends bare, capped or cut."""
    parts, materials = Parts(), []
    length = 0.5
    radius = length / np.exp(rng.uniform(np.log(35), np.log(160)))
    strands = int(rng.choice([1, 2, 3], p=[0.72, 0.18, 0.10]))
    bare = (0.75, 0.30, 0.13) if rng.random() < 0.6 else (0.62, 0.62, 0.62)
    knots, steps = int(rng.integers(2, 6)), 90
    for strand in range(strands):
        turning = np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, knots),
                            rng.normal(0, 1, knots))  # fmt: skip
        heading = np.cumsum(turning / steps) * rng.uniform(1, 6) + 0.3 * rng.normal() * strand
        flat = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], -1), 0) * length / steps
        lift = np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, 5), rng.normal(0, 0.012, 5))
        path = np.c_[flat - flat.mean(0) + rng.normal(0, 0.02, 2) * strand, lift]
        first, sides = len(materials), 12
        striped = rng.random() < 0.16
        colours = (YELLOW, GREEN) if striped else (pick(rng, SHEATHS, 0.15),) * 2
        shine = float(rng.uniform(0.3, 0.75))
        materials += [principled(f"sheath{k}", rng, c, roughness=shine, noise=0.08, coat=0.1)
                      for k, c in enumerate(colours)]  # fmt: skip
        collar = pick(rng, ((0.02, 0.05, 0.4), (0.01, 0.01, 0.01), (0.5, 0.02, 0.02)))
        materials += [principled("conductor", rng, bare, metallic=0.9, roughness=0.35),
                      principled("collar", rng, collar, roughness=0.4)]  # fmt: skip
        skin = tube(path, radius, sides=sides)
        row, column = np.divmod(np.arange((steps - 1) * sides), sides)
        slots = first + ((column + row // 6) % sides < 4).astype(int)
        parts.add(skin, [*slots.tolist(), first + 2, first + 2])
        ends = rng.choice(["ferrule", "bare", "cut"], 2, p=[0.4, 0.3, 0.3])
        for end, (at, back) in zip(ends, ((0, 3), (-1, -4)), strict=True):
            out = (path[at] - path[back]) / np.linalg.norm(path[at] - path[back])
            reach = radius * rng.uniform(2.5, 7)
            line = path[at] + out * np.linspace(-0.1, 1, 4)[:, None] * reach
            if end == "ferrule":
                parts.add(tube(line, radius * np.array([1.15, 1.15, 0.5, 0.5]), sides=10),
                          [first + 3] * 20 + [first + 2] * 12)  # fmt: skip
            elif end == "bare":
                for _ in range(6):
                    spread = rng.normal(0, 0.5, 3) * radius * np.linspace(0.5, 1.6, 4)[:, None]
                    parts.add(tube(line + spread, radius * 0.25, sides=5), first + 2)
    obj = parts.join("loose_cable", materials)
    return Piece(obj, "cable", 0.2)


def torn_rubber(rng: Generator) -> Piece:
    """Flat rubber: a ring's sector off a tyre, a torn sheet, or a smooth length of hose."""
    shade = float(np.exp(rng.uniform(np.log(0.008), np.log(0.05))))
    tone = (shade, shade, shade * float(rng.uniform(0.95, 1.08)))
    matt = float(rng.uniform(0.55, 0.95))
    black = principled("rubber", rng, tone, roughness=matt, noise=0.35, noise_scale=40, bump=0.6)
    inside = principled("canvas", rng, pick(rng, ((0.006,) * 3, (0.03, 0.03, 0.03))), roughness=1.0)
    parts, kind = Parts(), str(rng.choice(["sector", "sheet", "hose"], p=[0.5, 0.25, 0.25]))
    if kind == "hose":
        radius, knots = float(rng.uniform(0.012, 0.035)), int(rng.integers(3, 6))
        ctrl = np.c_[np.linspace(-0.2, 0.2, knots), rng.normal(0, 0.09, knots), np.zeros(knots)]
        path = smooth_curve(ctrl, 70)
        parts.add(tube(path, radius, sides=16, caps=False), 0)
        parts.add(tube(path, radius * 0.75, sides=16, caps=False), 1)
        for end in (path[:2], path[-2:]):
            parts.add(tube(end, radius * 0.76, sides=16), 1)
    else:
        n, m = 70, 21
        u, v = np.meshgrid(np.linspace(0, 1, n), np.linspace(-1, 1, m), indexing="ij")
        torn = np.interp(v, np.linspace(-1, 1, 9), rng.normal(0, 0.035, 9))
        u = u + np.where(u < 0.05, torn, 0) + np.where(u > 0.95, torn[:, ::-1], 0)
        if kind == "sector":
            span, radius = float(rng.uniform(0.5, 2.6)), 0.16
            width = radius * float(rng.uniform(0.12, 0.32))
            angle = (u - 0.5) * span
            flat = (radius + width * v)[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
            phase = u * span * rng.uniform(4, 12) + 0.4 * np.abs(v)
            blocks = (np.abs(v) > 0.2) & (phase % 1 < 0.6)
            height = 0.004 * blocks * (rng.random() < 0.7) + 0.010 * (1 - np.abs(v) ** 3)
        else:
            width = float(rng.uniform(0.05, 0.16))
            edge = np.interp(u, np.linspace(0, 1, 12), rng.normal(1, 0.18, 12))
            flat = np.stack([(u - 0.5) * 0.36, v * width * edge], -1)
            height = 0.003 * ((v * rng.integers(4, 14)) % 1 < 0.5) * (rng.random() < 0.5)
        top = np.concatenate([flat, np.broadcast_to(height, u.shape)[..., None] + 0.003], -1)
        below = np.concatenate([flat, np.full((n, m, 1), -0.004)], -1)[:, ::-1]
        parts.add(grid(np.concatenate([top, below], 1)), 0)
        points = bend(parts.points(), float(rng.normal(0, 0.8)))
        parts.reshape(wobble(points, rng, 0.012, 0.25))
    obj = parts.join("torn_rubber", [black, inside], sharp=0.6)
    return Piece(obj, "rubber", 0.5)


def board(rng: Generator) -> Piece:
    """A sawn or broken board, stubby to long: fresh, stained, grey with age, or with old paint."""
    tone = np.array(pick(rng, OLD_WOODS, 0.12))
    look = {"roughness": 0.9, "noise": float(rng.uniform(0.2, 0.5)), "noise_scale": 85.0,
            "bump": 0.6, "bump_scale": 160.0}  # fmt: skip
    face = streaked(principled("board", rng, tuple(tone), **look), 0, float(rng.uniform(8, 25)))
    fresh = (tone * 0.5 + np.array([0.36, 0.26, 0.14])).clip(0, 1)
    end = principled("end_grain", rng, tuple(fresh), roughness=0.95, noise=0.3, noise_scale=120)
    stains = (0.35 * tone, 0.5 * tone + 0.15)
    overlay(face, rng, tuple(stains[rng.integers(2)]), rng.uniform(0.1, 0.6), soft=0.15,
            stretch=(0.25, 1, 1))  # fmt: skip
    if rng.random() < 0.3:
        overlay(face, rng, pick(rng, PAINTS, 0.15), rng.uniform(0.3, 1.0), scale=20, soft=0.02,
                roughness=0.6, stretch=(0.3, 1, 1))  # fmt: skip
    width = float(rng.uniform(0.05, 0.13))
    size = (width * float(np.exp(rng.uniform(0.3, 2.1))), width, width * rng.uniform(0.1, 0.5))
    shape: Shape = plank(rng, *size, (bool(rng.random() < 0.35), bool(rng.random() < 0.35)))
    parts = Parts()
    parts.add(shape, [0] * (len(shape.faces) - 24) + [1] * 24)
    nail = principled("nail", rng, (0.15, 0.09, 0.06), metallic=0.6, roughness=0.6)
    for _ in range(rng.integers(0, 5)):
        at = np.array(size) * [rng.uniform(-0.42, 0.42), rng.uniform(-0.4, 0.4), 0.5]
        head = revolve([0.003] * 2, [0, 0.002], sides=8).moved(turn=rotation("y", -np.pi / 2))
        parts.add(head.moved(at), 2)
    obj = parts.join("board", [face, end, nail], sharp=0.5)
    return Piece(obj, "wood", 0.5)
