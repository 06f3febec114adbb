"""The vocabulary of the studio set: nouns with their materials and colours, and floors.

Two of the impurity classes, spray can and rubber hose, are held out: they must not be learnt from
this set, so `HELD_OUT_WORDS` occur in no noun and no caption.
"""

from __future__ import annotations

from dataclasses import dataclass

HELD_OUT_WORDS = (
    "spray", "aerosol", "gas cartridge", "pressurised", "hose", "tyre", "tire", "tires", "tyres",
    "rubber tube", "rubber seal",
)  # fmt: skip
COLOURS: dict[str, tuple[float, float, float]] = {  # linear RGB
    "red": (0.60, 0.015, 0.015),
    "orange": (0.85, 0.20, 0.01),
    "yellow": (0.85, 0.55, 0.01),
    "green": (0.03, 0.28, 0.05),
    "turquoise": (0.02, 0.45, 0.42),
    "blue": (0.01, 0.08, 0.50),
    "purple": (0.20, 0.02, 0.38),
    "pink": (0.85, 0.20, 0.38),
    "brown": (0.14, 0.06, 0.025),
    "black": (0.012, 0.012, 0.013),
    "grey": (0.20, 0.20, 0.20),
    "white": (0.82, 0.82, 0.80),
}
ANY = tuple(COLOURS)


@dataclass(frozen=True)
class Material:
    """words: how a caption may call it, the usual one first ("" for nothing to say).
    colours: names it may have; None among them is the material's own colour, not named."""

    words: tuple[str, ...]
    colours: tuple[str | None, ...] = (None,)


MATERIALS: dict[str, Material] = {
    "steel": Material(("steel", "metal", "iron", "bare steel")),
    "rusty steel": Material(("rusty steel", "rusty", "rusted steel", "rusty iron", "corroded")),
    "galvanised steel": Material(("galvanised steel", "galvanised", "zinc-coated steel")),
    "painted steel": Material(("painted steel", "painted metal", "painted"), ANY),
    "cast iron": Material(("cast iron", "dark iron")),
    "copper": Material(("copper",)),
    "brass": Material(("brass",)),
    "aluminium": Material(("aluminium", "aluminum", "light metal")),
    "plastic": Material(("plastic",), ANY),
    "rubber": Material(("rubber",), ("black", "black", "grey", "brown")),
    "wood": Material(("wooden", "wood", "timber")),
    "painted wood": Material(("painted wooden", "painted wood"), ANY),
    "glass": Material(("glass",), (None, None, "green", "brown", "blue")),
    "ceramic": Material(("ceramic", "porcelain", "glazed"), ANY),
    "clay": Material(("clay", "terracotta")),
    "cardboard": Material(("cardboard",)),
    "paper": Material(("paper",), ("white", "yellow", "pink", "brown", "blue", "green")),
    "concrete": Material(("concrete", "cement")),
    "stone": Material(("stone",)),
    "leather": Material(("leather",), ("brown", "black", "red")),
    "fabric": Material(("fabric", "cloth", "textile"), ANY),
    "wax": Material(("wax",), ("white", "red", "yellow", "green", "blue", "pink")),
    "food": Material(("",), ANY),
}


MATERIAL_WORDS = {token for m in MATERIALS.values() for word in m.words for token in word.split()}


@dataclass(frozen=True)
class Noun:
    """One kind of object.

    category: one of `CATEGORIES`. materials: names of `MATERIALS` its main part may be of.
    also: other words for it. colours: limits the colours of coloured materials, () for any.
    article: in place of a/an. lies: chance that it lies on its side. flat: has a top that carries
    another object. front: is known by its front, so the camera looks there and not from above.
    weight: how often it is drawn, against the others.
    """

    category: str
    materials: tuple[str, ...]
    also: tuple[str, ...] = ()
    colours: tuple[str | None, ...] = ()
    article: str = ""
    lies: float = 0.0
    flat: bool = False
    front: bool = False
    weight: float = 1.0


CATEGORIES = (
    "tools", "household", "industrial", "building materials", "containers", "food", "electronics",
    "impurities",
)  # fmt: skip
IRON = ("steel", "rusty steel")
STEEL = ("steel", "rusty steel", "galvanised steel", "painted steel")
METAL = ("steel", "rusty steel", "brass", "copper", "aluminium")
WOOD = ("wood", "painted wood")
EDIBLE = ("food",)
MATTE = ("plastic", "aluminium")

NOUNS: dict[str, Noun] = {}


def _t(*materials: str, **more) -> Noun:
    return Noun("tools", materials, **more)


NOUNS |= {
    "hammer": _t(*IRON, "painted steel", also=("claw hammer",)),
    "wrench": _t(*STEEL, also=("spanner",)),
    "screwdriver": _t("plastic", "wood"),
    "saw": _t(*IRON, also=("handsaw", "hand saw")),
    "pliers": _t(*IRON, article="a pair of", also=("tongs",)),
    "axe": _t(*IRON, "painted steel", also=("hatchet",)),
    "shovel": _t(*STEEL, also=("spade",)),
    "paintbrush": _t("wood", "painted wood", "plastic", also=("paint brush", "brush")),
    "ladder": _t("wood", "aluminium", "painted wood", "painted steel"),
    "trowel": _t(*IRON),
    "scissors": _t("plastic", "steel", article="a pair of"),
    "pickaxe": _t(*IRON, "painted steel", also=("pick",)),
    "power drill": _t("plastic", also=("drill", "electric drill", "cordless drill")),
    "clamp": _t("cast iron", "painted steel", "rusty steel", also=("screw clamp",)),
    "broom": _t("wood", "painted wood", "plastic"),
    "rake": _t(*STEEL, "plastic"),
}  # fmt: skip


def _h(*materials: str, **more) -> Noun:
    return Noun("household", materials, **more)


NOUNS |= {
    "mug": _h("ceramic", "plastic", "painted steel", also=("cup", "coffee mug"), lies=0.2),
    "bowl": _h("ceramic", "wood", "steel", "plastic", "copper", "glass"),
    "dinner plate": _h("ceramic", "plastic", "paper", also=("dish",), flat=True),
    "spoon": _h("steel", "wood", "plastic", "brass"),
    "fork": _h("steel", "plastic", "brass"),
    "knife": _h("steel", "rusty steel", also=("kitchen knife",)),
    "teapot": _h("ceramic", "steel", "copper", "cast iron", also=("tea pot",)),
    "saucepan": _h("steel", "copper", "aluminium", "painted steel", also=("cooking pot", "pot")),
    "frying pan": _h("cast iron", "aluminium", "copper", "steel", also=("pan", "skillet")),
    "vase": _h("ceramic", "glass", "clay", "brass", lies=0.15),
    "chair": _h("wood", "painted wood", "plastic", "painted steel", lies=0.12),
    "table": _h("wood", "painted wood", "plastic", "steel", lies=0.06, flat=True),
    "stool": _h("wood", "painted wood", "plastic", "steel", lies=0.15, flat=True),
    "lamp": _h("brass", "ceramic", "wood", "painted steel", also=("table lamp", "desk lamp")),
    "candle": _h("wax", lies=0.1),
    "book": _h("paper", "leather", "fabric", colours=tuple(c for c in ANY if c != "white"),
               flat=True),
    "key": _h("brass", "steel", "rusty steel", "copper"),
    "clock": _h("plastic", "wood", "brass", "painted steel", also=("wall clock",), front=True),
    "ball": _h("rubber", "plastic", "leather", "wood", colours=ANY),
    "boot": _h("rubber", "leather", colours=("black", "green", "yellow", "brown", "red"),
               also=("shoe",), lies=0.15),
    "coat hanger": _h("plastic", "wood", "steel", also=("clothes hanger", "hanger")),
    "picture frame": _h("wood", "painted wood", "brass", "plastic", also=("framed picture",),
                        front=True),
    "padlock": _h("brass", "steel", "rusty steel", also=("lock",)),
    "wine glass": _h("glass", also=("goblet", "drinking glass"), lies=0.2),
    "hat": _h("fabric", "leather"),
    "cushion": _h("fabric", "leather", also=("pillow",)),
    "umbrella": _h("fabric", lies=0.5, also=("open umbrella",)),
    "bell": _h("brass", "copper", "cast iron", lies=0.15),
    "dice": _h("plastic", "wood", also=("die",), colours=("white", "red", "blue", "green",
               "yellow", "black")),
    "chess piece": _h("wood", "plastic", "stone", colours=("black", "white", "red", "brown"),
                      also=("pawn",), lies=0.2),
    "paper roll": _h("paper", also=("roll of paper", "toilet roll"), lies=0.4),
    "washing machine": _h("painted steel", colours=("white", "white", "grey", "black"), flat=True,
                          front=True),
    "doormat": _h("rubber", "fabric", also=("mat",), flat=True),
    "glove": _h("fabric", "leather", "rubber", colours=("yellow", "brown", "black", "blue",
                "orange", "red"), also=("work glove",)),
}  # fmt: skip


def _i(*materials: str, weight: float = 1.5, **more) -> Noun:
    return Noun("industrial", materials, weight=weight, **more)


NOUNS |= {
    "steel plate": _i(*STEEL, also=("metal plate", "plate of steel"), flat=True, weight=2.0),
    "steel beam": _i("steel", "rusty steel", "painted steel", also=("I-beam", "girder"),
                     weight=2.0),
    "pipe": _i(*STEEL, "copper", "brass", "aluminium", "plastic", also=("tube",), lies=0.6,
               weight=2.5),
    "pipe elbow": _i(*STEEL, "copper", "brass", "plastic", also=("bent pipe", "pipe bend")),
    "square tube": _i(*STEEL, also=("box section", "hollow section")),
    "angle iron": _i(*STEEL, also=("steel angle", "angle bar")),
    "steel bar": _i("steel", "rusty steel", also=("steel rod", "metal rod", "iron bar")),
    "rebar": _i("steel", "rusty steel", also=("reinforcing bar",)),
    "bolt": _i(*IRON, "galvanised steel", "brass", also=("hex bolt",), lies=0.8, weight=2.0),
    "nut": _i(*IRON, "galvanised steel", "brass", also=("hex nut",), weight=2.0),
    "washer": _i(*METAL, "galvanised steel", also=("flat washer", "metal ring")),
    "screw": _i(*IRON, "brass", lies=0.85),
    "nail": _i(*IRON, lies=1.0),
    "bracket": _i(*STEEL, "aluminium", also=("angle bracket", "shelf bracket")),
    "gear": _i(*IRON, "brass", "cast iron", "plastic", also=("cogwheel", "gear wheel"), lies=0.4,
               weight=2.0),
    "spring": _i(*STEEL, also=("coil spring", "metal spring"), lies=0.6, weight=2.0),
    "chain": _i(*IRON, "galvanised steel", also=("metal chain", "link chain"), weight=2.0),
    "sheet offcut": _i(*STEEL, "aluminium", also=("bent sheet", "piece of sheet metal"),
                       weight=2.0),
    "crumpled sheet": _i(*STEEL, also=("piece of shredded metal",
                           "piece of scrap metal"), weight=2.0),
    "turnings": _i(*IRON, article="some", also=("metal shavings", "swarf")),
    "flange": _i(*IRON, "painted steel", "brass", also=("pipe flange",)),
    "valve": _i("brass", "painted steel", "cast iron", "rusty steel", also=("gate valve",)),
    "pulley": _i(*IRON, "cast iron", "plastic", "aluminium", lies=0.5, also=("belt pulley",)),
    "propeller": _i("brass", "aluminium", "rusty steel", "plastic"),
    "ball bearing": _i("steel", "rusty steel", also=("bearing",), lies=0.4),
    "hook": _i(*IRON, "painted steel", "brass", also=("crane hook", "lifting hook")),
    "wire mesh": _i(*STEEL, also=("metal grid", "steel mesh", "wire grid")),
    "brake disc": _i(*IRON, also=("brake rotor",)),
    "anvil": _i("cast iron", "rusty steel", "steel"),
    "horseshoe": _i(*IRON, "galvanised steel"),
    "strap": _i(*STEEL, also=("metal strip", "steel band", "bent strip")),
    "drum lid": _i(*STEEL, also=("round lid", "barrel lid")),
}  # fmt: skip


def _b(*materials: str, **more) -> Noun:
    return Noun("building materials", materials, **more)


NOUNS |= {
    "brick": _b("clay", "stone", also=("building brick",), flat=True),
    "concrete block": _b("concrete", also=("cinder block", "breeze block"), flat=True, lies=0.3),
    "roof tile": _b("clay", "concrete", "ceramic", also=("roofing tile",)),
    "floor tile": _b("ceramic", "stone", "clay", also=("tile",), flat=True),
    "plank": _b("wood", "painted wood", also=("board", "plank of wood"), weight=2.5, flat=True),
    "pallet": _b("wood", "plastic", also=("shipping pallet",), weight=2.5,
                 flat=True, lies=0.1),
    "beam": _b("wood", also=("timber beam", "squared timber"), weight=1.5),
    "log": _b("wood", also=("tree log", "piece of firewood"), weight=1.5),
    "window": _b("wood", "painted wood", "plastic", "aluminium", also=("window frame",),
                 front=True),
    "door": _b("wood", "painted wood", "painted steel", also=("panel door",), front=True),
    "traffic cone": _b("plastic", "rubber", colours=("orange", "red", "yellow", "green"),
                       also=("road cone", "safety cone"), lies=0.2),
    "fence": _b("wood", "painted wood", "painted steel", also=("picket fence",), front=True),
    "stairs": _b("concrete", "wood", "stone", article="some", also=("steps",), front=True),
    "sack": _b("paper", "fabric", colours=("brown", "white", "grey"), also=("cement bag", "bag")),
    "manhole cover": _b("cast iron", "rusty steel", also=("drain cover",)),
    "paving stone": _b("concrete", "stone", also=("stone slab", "paving slab"), flat=True),
}  # fmt: skip


def _c(*materials: str, **more) -> Noun:
    return Noun("containers", materials, **more)


NOUNS |= {
    "bucket": _c("plastic", "plastic", "galvanised steel", "painted steel", "wood",
                 also=("pail",), lies=0.25, weight=2.0),
    "canister": _c("plastic", "plastic", "painted steel", weight=2.5, lies=0.3,
                   also=("jerrycan", "jerry can", "fuel canister")),
    "bottle": _c("plastic", "plastic", "glass", weight=2.0, lies=0.4),
    "drum": _c("painted steel", "rusty steel", "plastic", also=("oil drum", "barrel"), lies=0.3,
               weight=1.5),
    "cask": _c("wood", also=("barrel", "keg"), lies=0.4),
    "box": _c("cardboard", "cardboard", "wood", "plastic", also=("carton",), flat=True),
    "crate": _c("plastic", "wood", weight=1.5, also=("transport crate",)),
    "tin can": _c("steel", "rusty steel", "painted steel", "aluminium", also=("food tin", "tin"),
                  lies=0.35, weight=1.5),
    "jar": _c("glass", "ceramic", lies=0.15, also=("storage jar",)),
    "watering can": _c("plastic", "galvanised steel", "painted steel", "copper"),
    "bin": _c("plastic", "galvanised steel", "painted steel", also=("waste bin", "trash bin"),
              lies=0.15),
    "suitcase": _c("leather", "plastic", "aluminium", "fabric", flat=True, lies=0.3,
                   also=("travel case",)),
    "basket": _c("wood", "plastic", also=("woven basket",)),
    "tray": _c("plastic", "wood", "steel", "aluminium", flat=True),
    "flower pot": _c("clay", "plastic", "ceramic", also=("plant pot",), lies=0.2),
    "toolbox": _c("painted steel", "plastic", also=("tool box",), flat=True),
    "funnel": _c("plastic", "steel", "copper", "galvanised steel"),
    "paper cup": _c("paper", also=("takeaway cup", "coffee cup"), lies=0.25),
    "shopping bag": _c("paper", "plastic", "fabric", also=("carrier bag",)),
    "tub": _c("plastic", "galvanised steel", also=("wash tub", "basin")),
}  # fmt: skip


def _f(*colours: str | None, **more) -> Noun:
    return Noun("food", EDIBLE, colours=colours, **more)


NOUNS |= {
    "apple": _f("red", "green", "yellow"),
    "banana": _f("yellow", "yellow", "green"),
    "loaf of bread": _f("brown", also=("bread loaf",)),
    "cheese": _f("yellow", "orange", article="a piece of", also=("Swiss cheese",)),
    "egg": _f("white", "brown"),
    "carrot": _f("orange"),
    "pear": _f("green", "yellow"),
    "pumpkin": _f("orange", "green"),
    "mushroom": _f("white", "brown", "red", lies=0.2),
    "doughnut": _f("pink", "brown", "white", "turquoise", also=("donut",)),
    "ice cream cone": _f("pink", "white", "brown", "green", lies=0.3, also=("ice cream",)),
    "watermelon slice": _f("red", also=("slice of watermelon",)),
    "pizza": _f(None),
    "cake": _f("pink", "white", "brown", "yellow", also=("birthday cake",)),
    "pineapple": _f("yellow", "orange", lies=0.25),
    "grapes": _f("purple", "green", article="a bunch of"),
    "hamburger": _f("brown", also=("burger", "cheeseburger")),
}  # fmt: skip


def _e(*materials: str, **more) -> Noun:
    return Noun("electronics", materials, **more)


NOUNS |= {
    "laptop": _e("aluminium", "plastic", colours=("black", "grey", "white", "blue", "red"),
                 also=("notebook computer", "laptop computer"), front=True),
    "keyboard": _e("plastic", colours=("black", "white", "grey"), also=("computer keyboard",)),
    "computer mouse": _e("plastic", also=("mouse",)),
    "monitor": _e("plastic", "aluminium", colours=("black", "white", "grey"),
                  also=("computer screen", "television"), front=True),
    "mobile phone": _e("plastic", "aluminium", also=("smartphone", "phone")),
    "light bulb": _e("glass", colours=(None,), also=("bulb", "lamp bulb"), lies=0.6),
    "battery": _e("painted steel", "plastic", also=("AA battery", "cell"), lies=0.5),
    "circuit board": _e("plastic", colours=("green", "green", "blue", "red"),
                        also=("printed circuit board", "electronics board")),
    "headphones": _e("plastic", article="a pair of", also=("earphones",)),
    "loudspeaker": _e("wood", "plastic", also=("speaker",), flat=True, front=True),
    "camera": _e("plastic", "leather", colours=("black", "black", "red", "brown", "white"),
                 also=("photo camera",), front=True),
    "radio": _e("plastic", "wood", also=("portable radio",), front=True),
    "fan": _e("plastic", "painted steel", also=("electric fan", "desk fan"), front=True),
    "remote control": _e("plastic", colours=("black", "grey", "white"), also=("TV remote",)),
    "torch": _e("plastic", "aluminium", also=("flashlight",), lies=1.0),
    "calculator": _e("plastic", colours=("black", "white", "grey", "blue", "pink")),
    "power plug": _e("plastic", colours=("black", "white", "grey"), also=("electric plug",)),
    "microwave oven": _e("plastic", "steel", colours=("white", "black", "red"), flat=True,
                         also=("microwave",), front=True),
}  # fmt: skip


def _m(*materials: str, **more) -> Noun:
    return Noun("impurities", materials, weight=4.0, **more)


# Shapes shared with ScrapSim's generators; their surfaces are drawn there.
NOUNS |= {
    "electric motor": _m("steel", also=("motor", "engine", "pump motor")),
    "cable": _m("plastic", colours=(None,), also=("electric cable", "power cord",
                "insulated wire")),
    "copper coil": _m("copper", also=("copper winding", "piece of bare copper",
                      "piece of scrap copper")),
    "aluminium profile": _m("aluminium", also=("extruded profile", "aluminium extrusion")),
    "plastic container": _m("plastic", colours=(None,), also=("plastic vessel",
                            "piece of plastic packaging")),
    "piece of wood": _m("wood", also=("piece of timber", "scrap of wood")),
}  # fmt: skip


BACKGROUNDS: dict[str, tuple[str, ...]] = {  # name: shorter ways to say it
    "a grey concrete floor": ("a grey floor", "a concrete floor", "concrete"),
    "a white table": ("a white surface",),
    "a wooden table": ("a table", "a wooden surface"),
    "a wooden floor": ("floorboards", "a parquet floor"),
    "brown ground": ("bare soil", "the ground", "earth"),
    "dark asphalt": ("asphalt", "a road", "black asphalt"),
    "yellow sand": ("sand",),
    "green grass": ("grass", "a lawn"),
    "a blue cloth": ("blue fabric", "a blue blanket"),
    "a red cloth": ("red fabric", "a red blanket"),
    "a green cloth": ("green fabric", "a green blanket"),
    "a white background": ("a plain white background", "white paper"),
    "a grey background": ("a plain grey background", "grey paper"),
    "a black background": ("a plain dark background", "black paper"),
    "a blue background": ("a plain blue background", "blue paper"),
    "a yellow background": ("a plain yellow background", "yellow paper"),
    "a pink background": ("a plain pink background", "pink paper"),
    "a tiled floor": ("white tiles", "a white tiled floor"),
    "a steel sheet": ("a metal surface", "a steel table"),
    "a black rubber mat": ("a rubber mat", "a black mat"),
    "a cardboard sheet": ("cardboard", "brown cardboard"),
    "grey gravel": ("gravel", "small stones"),
}
