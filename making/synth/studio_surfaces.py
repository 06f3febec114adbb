"""Surfaces of the studio set: materials of the things, trims of their parts, floors."""

from __future__ import annotations

from math import pi

import bpy
import numpy as np
from numpy.random import Generator

from making.synth.impurities.motor import MOTOR_PAINTS
from making.synth.impurities.surfaces import copper as copper_surface
from making.synth.impurities.surfaces import pick, streaked
from making.synth.impurities.wood import WOODS
from making.synth.materials import principled
from making.synth.scene import add_box
from making.synth.studio_nouns import COLOURS

Colour = tuple[float, float, float]

# --- surfaces -------------------------------------------------------------------------------------

STONES = ((0.28, 0.27, 0.25), (0.42, 0.36, 0.28), (0.16, 0.16, 0.17))
# name of a part that is not the main one: material, and its colours in linear RGB
TRIMS: dict[str, tuple[str, tuple[Colour, ...]]] = {
    "bright": ("steel", ((0.55, 0.55, 0.56),)),
    "brass": ("brass", ()),
    "wood": ("wood", ()),
    "cardboard": ("cardboard", ()),
    "dark": ("plastic", ((0.02, 0.02, 0.022),)),
    "black": ("plastic", (COLOURS["black"],)),
    "hole": ("rubber", ((0.008, 0.008, 0.008),)),
    "grey": ("plastic", ((0.3, 0.3, 0.31), (0.5, 0.5, 0.5))),
    "white": ("plastic", (COLOURS["white"],)),
    "red": ("plastic", (COLOURS["red"],)),
    "handle": ("plastic", (COLOURS["red"], COLOURS["blue"], COLOURS["yellow"], COLOURS["black"])),
    "paint": ("plastic", tuple(COLOURS.values())),
    "cap": ("plastic", tuple(COLOURS.values())),
    "label": ("paper", ((0.75, 0.75, 0.72), (0.7, 0.5, 0.1), (0.1, 0.2, 0.6), (0.6, 0.1, 0.1))),
    "shade": ("fabric", ((0.8, 0.7, 0.5), (0.7, 0.68, 0.62), (0.5, 0.1, 0.08), (0.1, 0.2, 0.35))),
    "pages": ("paper", ((0.78, 0.74, 0.64),)),
    "tape": ("plastic", ((0.55, 0.42, 0.22), (0.6, 0.55, 0.45))),
    "bristle": ("fabric", ((0.5, 0.38, 0.2), (0.04, 0.035, 0.03), (0.7, 0.62, 0.45))),
    "bark": ("stone", ((0.10, 0.065, 0.04), (0.2, 0.15, 0.11))),
    "screen": ("ceramic", ((0.006, 0.007, 0.01), (0.01, 0.05, 0.16))),
    "lcd": ("plastic", ((0.28, 0.34, 0.22),)),
    "blade": ("plastic", ((0.1, 0.2, 0.4), (0.6, 0.6, 0.6), (0.05, 0.05, 0.05))),
    "pane": ("glass", ()),
    "pale": ("ceramic", ((0.85, 0.84, 0.75),)),
    "sky": ("paper", ((0.25, 0.5, 0.8),)),
    "soil": ("stone", ((0.05, 0.03, 0.02),)),
    "leaf": ("food", ((0.05, 0.22, 0.03), (0.10, 0.30, 0.04))),
    "stem": ("food", ((0.10, 0.08, 0.02), (0.06, 0.04, 0.02))),
    "crust": ("food", ((0.48, 0.24, 0.08), (0.35, 0.15, 0.05))),
    "cream": ("food", ((0.82, 0.74, 0.55),)),
    "meat": ("food", ((0.12, 0.04, 0.02),)),
    "yolk": ("food", ((0.85, 0.5, 0.05),)),
    "jam": ("food", ((0.35, 0.02, 0.03), (0.6, 0.3, 0.03), (0.1, 0.2, 0.03))),
    "wine": ("ceramic", ((0.12, 0.005, 0.015), (0.6, 0.5, 0.2))),
    "flame": ("food", ((1.0, 0.55, 0.12),)),
}


def glass(name: str, tint: Colour) -> bpy.types.Material:
    """Thin-walled glass: clear when seen square on, coloured and shiny towards its edges. Real
    refraction would need many more bounces than a studio image may cost."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    new, link = tree.nodes.new, tree.links.new
    clear, shiny, body = new("ShaderNodeBsdfTransparent"), new("ShaderNodeBsdfGlossy"), new(
        "ShaderNodeBsdfDiffuse"
    )  # fmt: skip
    clear.inputs["Color"].default_value = (*(0.35 + 0.62 * c for c in tint), 1)
    shiny.inputs["Roughness"].default_value = 0.05
    body.inputs["Color"].default_value = (*(0.6 * c for c in tint), 1)
    edge, inner, outer = new("ShaderNodeLayerWeight"), new("ShaderNodeMixShader"), new(
        "ShaderNodeMixShader"
    )  # fmt: skip
    edge.inputs["Blend"].default_value = 0.35
    link(edge.outputs["Facing"], inner.inputs[0])
    link(clear.outputs[0], inner.inputs[1])
    link(body.outputs[0], inner.inputs[2])
    link(edge.outputs["Fresnel"], outer.inputs[0])
    link(inner.outputs[0], outer.inputs[1])
    link(shiny.outputs[0], outer.inputs[2])
    link(outer.outputs[0], new("ShaderNodeOutputMaterial").inputs["Surface"])
    return material


def surface(
    material: str, tint: Colour | None, state: str, rng: Generator, grain: int = 0
) -> bpy.types.Material:
    """A new surface of a material of `studio_words.MATERIALS`.

    tint: linear RGB, or None for the material's own colour. state: clean, worn or dirty.
    grain: the object's axis along which wood grows.
    """
    dirt = {"clean": rng.uniform(0, 0.06), "worn": rng.uniform(0.08, 0.3),
            "dirty": rng.uniform(0.35, 0.65)}[state]  # fmt: skip
    wear = {"clean": 0.0, "worn": rng.uniform(0.05, 0.3), "dirty": rng.uniform(0.1, 0.45)}[state]
    grey = lambda low, high: (rng.uniform(low, high),) * 3  # noqa: E731
    if tint is not None:
        tint = tuple(
            np.clip(
                np.array(tint) * rng.uniform(0.75, 1.3) * rng.uniform(0.9, 1.1, 3), 0, 0.9
            ).tolist()
        )
    look: dict[str, float] = {"dirt": dirt}
    match material:
        case "steel":
            base = tint or grey(0.22, 0.5)
            look |= {
                "metallic": 0.95,
                "roughness": rng.uniform(0.22, 0.5),
                "noise": 0.2,
                "rust": 0.6 * wear,
            }
        case "rusty steel":
            base = grey(0.08, 0.16)
            look |= {"metallic": 0.6, "roughness": 0.65, "noise": 0.4, "bump": 1.2,
                     "rust": rng.uniform(0.7, 1.0), "dirt": 0.3 * dirt}  # fmt: skip
        case "galvanised steel":
            base = grey(0.32, 0.45)
            look |= {
                "metallic": 0.8,
                "spangle": 0.7,
                "roughness": rng.uniform(0.36, 0.5),
                "rust": 0.4 * wear,
            }
        case "painted steel":
            base = tint or pick(rng, MOTOR_PAINTS)
            look |= {"roughness": rng.uniform(0.25, 0.5), "chips": wear, "rust": 0.7 * wear,
                     "coat": 0.3}  # fmt: skip
        case "cast iron":
            base = grey(0.015, 0.045)
            look |= {"metallic": 0.6, "roughness": rng.uniform(0.45, 0.65), "noise": 0.3,
                     "bump": 0.8, "rust": 0.4 * wear}  # fmt: skip
        case "copper":
            return copper_surface("copper", rng, patina=0.6 * wear)
        case "brass":
            base = (0.80, 0.52, 0.13)
            look |= {"metallic": 0.93, "roughness": rng.uniform(0.18, 0.38), "dirt": 0.5 * dirt}
        case "aluminium":
            base = tint or (0.80, 0.84, 0.89)
            look |= {"metallic": 0.85, "roughness": rng.uniform(0.24, 0.42), "dirt": 0.5 * dirt}
        case "plastic":
            base = tint or pick(rng, tuple(COLOURS.values()))
            look |= {"roughness": rng.uniform(0.2, 0.5), "coat": rng.uniform(0, 0.5), "noise": 0.05,
                     "dirt": 0.6 * dirt}  # fmt: skip
        case "rubber":
            base = tint or COLOURS["black"]
            look |= {"roughness": rng.uniform(0.6, 0.85), "bump": 0.3, "dirt": 0.7 * dirt}
        case "wood" | "painted wood":
            base = tint or pick(rng, WOODS, 0.1)
            strong = 0.12 if tint else 0.36
            look |= {"roughness": 0.75, "noise": strong, "noise_scale": 70.0, "bump": 0.5,
                     "bump_scale": 150.0, "dirt": 0.6 * dirt}  # fmt: skip
            return streaked(principled(material, rng, base, **look), grain, 16.0)
        case "glass":
            return glass("glass", tint or (0.9, 0.95, 0.94))
        case "ceramic":
            base = tint or COLOURS["white"]
            look |= {"roughness": 0.15, "coat": 0.8, "noise": 0.04, "dirt": 0.4 * dirt}
        case "clay":
            base = pick(rng, ((0.42, 0.14, 0.06), (0.36, 0.10, 0.05), (0.48, 0.22, 0.12)))
            look |= {"roughness": 0.9, "noise": 0.25, "bump": 0.8}
        case "cardboard":
            base = pick(rng, ((0.42, 0.27, 0.14), (0.36, 0.22, 0.11)))
            look |= {"roughness": 0.9, "noise": 0.06, "dirt": 0.5 * dirt}
        case "concrete":
            base = grey(0.26, 0.42)
            look |= {"roughness": 0.95, "noise": 0.3, "bump": 2.0, "bump_scale": 90.0}
        case "stone":
            base = tint or pick(rng, STONES)
            look |= {
                "roughness": 0.9,
                "noise": 0.5,
                "noise_scale": 45.0,
                "bump": 2.0,
                "bump_scale": 60.0,
            }
        case "leather":
            base = tint or COLOURS["brown"]
            look |= {"roughness": 0.45, "bump": 0.8, "bump_scale": 350.0, "noise": 0.2}
        case "paper" | "fabric":
            base = tint or COLOURS["white"]
            woven = material == "fabric"
            look |= {"roughness": 0.95, "noise": 0.08, "bump": 1.0 if woven else 0.1,
                     "bump_scale": 500.0, "dirt": 0.6 * dirt}  # fmt: skip
        case _:  # wax, food
            base = tint or COLOURS["white"]
            look = {"roughness": rng.uniform(0.3, 0.55), "noise": 0.15, "noise_scale": 25.0}
    return principled(material, rng, base, **look)


def trim(name: str, main: Colour | None, rng: Generator) -> bpy.types.Material:
    """Surface of a part that is not the main one; see `TRIMS`, and `grip` and `contrast`."""
    if name == "grip":
        name = ("wood", "wood", "black", "handle")[rng.integers(4)]
    if name == "contrast":
        name = "dark" if main is None or sum(main) > 0.25 else "grey"
    material, colours = TRIMS[name]
    tint = colours[rng.integers(len(colours))] if colours else None
    made = surface(material, tint, "clean", rng)
    if name == "flame" or (name == "screen" and rng.random() < 0.4):
        shader = made.node_tree.nodes["Principled BSDF"]
        light = (1.0, 0.6, 0.2) if name == "flame" else (0.1, 0.35, 0.8)
        shader.inputs["Emission Color"].default_value = (*light, 1)
        shader.inputs["Emission Strength"].default_value = 3.0 if name == "flame" else 0.6
    return made


# --- floor ----------------------------------------------------------------------------------------

# name: linear RGB, and what `principled` should know about it
FLOORS: dict[str, tuple[Colour, dict[str, float]]] = {
    "a grey concrete floor": ((0.25, 0.245, 0.235), {"noise": 0.35, "noise_scale": 6, "bump": 2.0,
                                                     "bump_scale": 60, "dirt": 0.15}),
    "a white table": ((0.75, 0.75, 0.73), {"roughness": 0.3, "noise": 0.02}),
    "a wooden table": ((0.38, 0.20, 0.09), {"noise": 0.35, "noise_scale": 40, "roughness": 0.45}),
    "a wooden floor": ((0.45, 0.27, 0.13), {"noise": 0.3, "noise_scale": 40, "roughness": 0.4}),
    "brown ground": ((0.13, 0.085, 0.05), {"noise": 0.5, "noise_scale": 12, "bump": 12,
                                           "bump_scale": 30, "roughness": 1.0}),
    "dark asphalt": ((0.045, 0.045, 0.047), {"noise": 0.6, "noise_scale": 140, "bump": 4,
                                             "bump_scale": 140, "roughness": 0.85}),
    "yellow sand": ((0.60, 0.42, 0.20), {"noise": 0.2, "noise_scale": 60, "bump": 10,
                                         "bump_scale": 22, "roughness": 1.0}),
    "green grass": ((0.07, 0.20, 0.025), {"noise": 0.75, "noise_scale": 90, "bump": 14,
                                          "bump_scale": 90, "roughness": 1.0}),
    "a blue cloth": ((0.02, 0.09, 0.42), {"bump": 14, "bump_scale": 9, "roughness": 1.0}),
    "a red cloth": ((0.45, 0.02, 0.02), {"bump": 14, "bump_scale": 9, "roughness": 1.0}),
    "a green cloth": ((0.03, 0.22, 0.06), {"bump": 14, "bump_scale": 9, "roughness": 1.0}),
    "a white background": ((0.82, 0.82, 0.82), {"noise": 0.0, "roughness": 0.9}),
    "a grey background": ((0.25, 0.25, 0.25), {"noise": 0.0, "roughness": 0.9}),
    "a black background": ((0.010, 0.010, 0.011), {"noise": 0.0, "roughness": 0.8}),
    "a blue background": ((0.04, 0.16, 0.55), {"noise": 0.0, "roughness": 0.9}),
    "a yellow background": ((0.80, 0.55, 0.04), {"noise": 0.0, "roughness": 0.9}),
    "a pink background": ((0.80, 0.32, 0.42), {"noise": 0.0, "roughness": 0.9}),
    "a tiled floor": ((0.66, 0.65, 0.62), {"noise": 0.05, "roughness": 0.2}),
    "a steel sheet": ((0.32, 0.32, 0.33), {"metallic": 0.9, "roughness": 0.42, "noise": 0.15,
                                           "noise_scale": 20}),
    "a black rubber mat": ((0.016, 0.016, 0.017), {"roughness": 0.7, "bump": 3, "bump_scale": 160}),
    "a cardboard sheet": ((0.40, 0.26, 0.13), {"roughness": 0.95, "noise": 0.06}),
    "grey gravel": ((0.27, 0.26, 0.25), {"noise": 0.8, "noise_scale": 70, "bump": 18,
                                         "bump_scale": 55, "roughness": 1.0}),
}  # fmt: skip


def joints(material: bpy.types.Material, width: float, height: float, shift: float) -> None:
    """Lay the base colour as tiles or boards, `width` by `height` metres, darker in the joints."""
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    new, link = tree.nodes.new, tree.links.new
    brick, mix, coordinates = (
        new("ShaderNodeTexBrick"),
        new("ShaderNodeMix"),
        new("ShaderNodeTexCoord"),
    )
    brick.offset = shift
    for name, value in (("Scale", 1.0), ("Brick Width", width), ("Row Height", height),
                        ("Mortar Size", 0.004)):  # fmt: skip
        brick.inputs[name].default_value = value
    for name, shade in (("Color1", 1.0), ("Color2", 0.8), ("Mortar", 0.25)):
        brick.inputs[name].default_value = (shade, shade, shade, 1)
    link(coordinates.outputs["Object"], brick.inputs["Vector"])
    mix.data_type, mix.blend_type = "RGBA", "MULTIPLY"
    mix.inputs[0].default_value = 1.0
    link(shader.inputs["Base Color"].links[0].from_socket, mix.inputs[6])
    link(brick.outputs["Color"], mix.inputs[7])
    link(mix.outputs[2], shader.inputs["Base Color"])


def make_floor(name: str, rng: Generator) -> bpy.types.Object:
    """The floor named in the caption, 30 m wide, turned at random."""
    base, look = FLOORS[name]
    base = tuple(np.clip(np.array(base) * rng.uniform(0.8, 1.2), 0, 0.9).tolist())
    material = principled("floor", rng, base, **look)
    if "wooden" in name:
        streaked(material, 0, 14.0)
    if name == "a wooden floor":
        joints(material, 0.9, rng.uniform(0.08, 0.14), 0.37)
    elif name == "a tiled floor":
        side = rng.uniform(0.15, 0.3)
        joints(material, side, side, 0.0)
    floor = add_box("floor", (30, 30, 0.1), (0, 0, -0.05), material)
    floor.rotation_euler.z = rng.uniform(0, 2 * pi)
    return floor
