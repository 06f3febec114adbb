"""One procedural material for everything: a principled surface with wear on top.

Textures use object coordinates, so scales are features per metre and no UV map is needed. Layers,
bottom to top: base colour with noise (or galvanised spangle), chips down to bare steel, rust, dust.
"""

from __future__ import annotations

import bpy
from numpy.random import Generator

Colour = tuple[float, float, float]

BARE_STEEL: Colour = (0.20, 0.20, 0.205)
RUSTS: tuple[Colour, ...] = (
    (0.12, 0.045, 0.020),
    (0.18, 0.065, 0.024),
    (0.08, 0.036, 0.022),
    (0.30, 0.110, 0.040),  # fresh rust, close to the hue of copper
)
DUSTS: tuple[Colour, ...] = ((0.26, 0.22, 0.17), (0.20, 0.18, 0.16), (0.15, 0.12, 0.09))


def principled(
    name: str,
    rng: Generator,
    base: Colour,
    *,
    metallic: float = 0.0,
    roughness: float = 0.5,
    noise: float = 0.1,
    noise_scale: float = 10.0,
    dirt: float = 0.0,
    rust: float = 0.0,
    chips: float = 0.0,
    spangle: float = 0.0,
    bump: float = 0.0,
    bump_scale: float = 120.0,
    coat: float = 0.0,
) -> bpy.types.Material:
    """A new material.

    name: material name (Blender makes it unique).
    rng: where the pattern's offset and the rust and dust colours come from.
    base: linear RGB, 0..1 (not sRGB: 0.2 is a mid grey on screen).
    metallic, roughness, coat: of the principled BSDF, 0..1.
    noise: relative brightness variation of the base, 0..1, with `noise_scale` features per metre.
    dirt, rust, chips: share of the surface that is covered, roughly, 0..1.
    spangle: strength of the zinc flower pattern of galvanised steel, 0..1.
    bump: height of the fine surface relief, in millimetres or so; `bump_scale` per metre.
    """
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    nodes, link = tree.nodes, tree.links.new

    coordinates = nodes.new("ShaderNodeTexCoord")
    mapping = nodes.new("ShaderNodeMapping")
    mapping.inputs["Location"].default_value = rng.uniform(-50, 50, 3)
    link(coordinates.outputs["Object"], mapping.inputs["Vector"])

    def noise_of(scale: float, detail: float = 2.0, grit: float = 0.5):
        """Fractal noise; grit is how loud its fine octaves are, 0..1."""
        node = nodes.new("ShaderNodeTexNoise")
        node.inputs["Scale"].default_value = scale
        node.inputs["Detail"].default_value = detail
        node.inputs["Roughness"].default_value = grit
        link(mapping.outputs["Vector"], node.inputs["Vector"])
        return node.outputs[0]

    def remap(value, low: float, high: float, to_low: float, to_high: float):
        node = nodes.new("ShaderNodeMapRange")
        node.inputs["From Min"].default_value = low
        node.inputs["From Max"].default_value = high
        node.inputs["To Min"].default_value = to_low
        node.inputs["To Max"].default_value = to_high
        link(value, node.inputs["Value"])
        return node.outputs[0]

    def mix(factor, a, b, *, kind: str = "RGBA"):
        """a and b are sockets or constants; the factor a socket in 0..1."""
        node = nodes.new("ShaderNodeMix")
        node.data_type = kind
        first = 6 if kind == "RGBA" else 2
        link(factor, node.inputs[0])
        for slot, value in ((first, a), (first + 1, b)):
            if isinstance(value, bpy.types.NodeSocket):
                link(value, node.inputs[slot])
            else:
                constant = (*value, 1.0) if kind == "RGBA" else value
                node.inputs[slot].default_value = constant
        return node.outputs[2 if kind == "RGBA" else 0]

    def coverage(share: float, scale: float, softness: float):
        """Mask from noise (mean 0.5, most of it in 0.3..0.7) that covers about `share`."""
        edge = 0.70 - 0.40 * min(share, 1.0)
        return remap(noise_of(scale, 6.0, 0.66), edge - softness, edge + softness, 0.0, 1.0)

    dark = tuple(channel * (1.0 - noise) for channel in base)
    light = tuple(min(channel * (1.0 + noise), 1.0) for channel in base)
    if spangle > 0:
        cells = nodes.new("ShaderNodeTexVoronoi")
        cells.inputs["Scale"].default_value = 55.0
        link(mapping.outputs["Vector"], cells.inputs["Vector"])
        grey = nodes.new("ShaderNodeRGBToBW")
        link(cells.outputs["Color"], grey.inputs["Color"])
        dark = tuple(channel * (1.0 - 0.5 * spangle) for channel in base)
        light = tuple(min(channel * (1.0 + 0.5 * spangle), 1.0) for channel in base)
        colour = mix(grey.outputs[0], dark, light)
    else:
        colour = mix(remap(noise_of(noise_scale, 5.0, 0.6), 0.3, 0.7, 0.0, 1.0), dark, light)
    rough: object = roughness
    metal: object = metallic

    # Each layer: share of the surface, features per metre, edge softness, colour, metallic, rough.
    rust_colour = RUSTS[rng.integers(len(RUSTS))]
    dust_colour = DUSTS[rng.integers(len(DUSTS))]
    layers = (
        (chips, 22.0, 0.015, BARE_STEEL, 0.9, 0.45),
        (rust, 14.0, 0.05, rust_colour, 0.0, 0.9),
        (dirt, 11.0, 0.13, dust_colour, 0.0, 0.95),
    )
    for share, scale, softness, tint, layer_metal, layer_rough in layers:
        if share <= 0:
            continue
        mask = coverage(share, scale, softness)
        if tint is rust_colour:  # rust is never one brown
            deep, fresh = tuple(c * 0.25 for c in tint), tuple(min(c * 1.6, 1.0) for c in tint)
            tint = mix(remap(noise_of(28.0, 6.0, 0.7), 0.32, 0.68, 0.0, 1.0), deep, fresh)
        colour = mix(mask, colour, tint)
        rough = mix(mask, rough, layer_rough, kind="FLOAT")
        metal = mix(mask, metal, layer_metal, kind="FLOAT")

    for socket, value in (("Base Color", colour), ("Roughness", rough), ("Metallic", metal)):
        if isinstance(value, bpy.types.NodeSocket):
            link(value, shader.inputs[socket])
        else:
            shader.inputs[socket].default_value = value
    shader.inputs["Coat Weight"].default_value = coat
    shader.inputs["Coat Roughness"].default_value = 0.15
    if bump > 0:
        relief = nodes.new("ShaderNodeBump")
        relief.inputs["Strength"].default_value = 0.6
        relief.inputs["Distance"].default_value = bump * 1e-3
        link(noise_of(bump_scale, 2.0), relief.inputs["Height"])
        link(relief.outputs["Normal"], shader.inputs["Normal"])
    return material
