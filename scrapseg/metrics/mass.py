"""From masks to tonnes: how much copper, aluminium and non-metal a picture shows, and what is left
of the copper once the pieces that were found are picked out.

A camera sees areas. `MassModel` turns the area of a class into kilograms by one number a class,
fitted on train. What a picture cannot show (what lies below, how thick the steel is) is an
assumption here, and each stands in this file under its own name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scrapseg.data.classes import CLASSES, IMPURITIES
from scrapseg.data.scrapsim import ScrapSim

#: Share of a piece's mass that is the material: assumptions, from what such pieces are made of. A
#: small motor is about a tenth copper (windings), an insulated cable about half (the rest jacket).
CONTENT: dict[str, dict[str, float]] = {
    "copper": {"motor": 0.10, "cable": 0.50, "copper_coil": 1.0},
    "aluminium": {"aluminium": 1.0},
    "non-metal": {"rubber": 1.0, "plastic": 1.0, "wood": 1.0, "cable": 0.50},
}
#: Mass of the steel seen per square metre of picture, an assumption: a layer of 5 mm, solid.
#: ScrapSim records no masses of steel, and its label 0 is the ground too.
STEEL_KG_PER_M2 = 40.0
COPPER_LIMIT = 0.0025
"""Greatest share of copper by mass in shredded scrap, grade E40 of the EU-27 steel scrap
specification (EFR, May 2007)."""
HEAT_T = 100.0
"""Steel in one heat of the furnace, in tonnes."""


def areas(split: ScrapSim, labels: NDArray) -> NDArray[np.float64]:
    """Square metres of each class in each picture, at the distance the camera is aimed at.

    Args:
        labels: (N, H, W) class index, in the order of `split.ids`.

    Returns:
        (N, C).

    Raises:
        ValueError: there are not as many label images as ids.
    """
    if len(labels) != len(split.ids):
        raise ValueError(f"{len(labels)} label images for {len(split.ids)} ids")
    pixels = np.stack([np.bincount(x.ravel(), minlength=len(CLASSES)) for x in labels])
    metres = np.array([split.meta[i]["camera"]["framing_m"] for i in split.ids])
    return pixels * (metres / labels.shape[2])[:, None] ** 2


def visible_masses(split: ScrapSim) -> NDArray[np.float64]:
    """Kilograms of each class in view: every piece's mass times its visible fraction.

    A piece that the frame cuts counts whole: its fraction is of what lies within the frame.

    Returns:
        (N, C), in the order of `split.ids`; column 0 (steel) is nan, its masses are not recorded.
    """
    column = {c.slug: c.index for c in CLASSES}
    table = np.zeros((len(split.ids), len(CLASSES)))
    table[:, 0] = np.nan
    for row, i in zip(table, split.ids, strict=True):
        for piece in split.meta[i]["instances"]:
            row[column[piece["class"]]] += piece["mass_kg"] * piece["visible_fraction"]
    return table


@dataclass(frozen=True)
class MassModel:
    """Kilograms per visible square metre of each class.

    Attributes:
        kg_per_m2: (C,); index 0 is `STEEL_KG_PER_M2`.
    """

    kg_per_m2: NDArray[np.float64]

    @classmethod
    def fit(cls, split: ScrapSim, labels: NDArray) -> MassModel:
        """The ratio of all mass to all area of a class, which makes the total right on `split`."""
        area, mass = areas(split, labels).sum(0), visible_masses(split).sum(0)
        density = np.divide(mass, area, out=np.zeros(len(CLASSES)), where=area > 0)
        density[0] = STEEL_KG_PER_M2
        return cls(density)

    def masses(self, split: ScrapSim, labels: NDArray) -> NDArray[np.float64]:
        """Kilograms of each class in each picture, (N, C), from labels true or predicted."""
        return areas(split, labels) * self.kg_per_m2


def materials(masses: NDArray) -> pd.DataFrame:
    """Kilograms of copper, aluminium and non-metal, a row a picture, from (N, C) class masses."""
    column = {c.slug: c.index for c in IMPURITIES}
    return pd.DataFrame(
        {
            material: sum(share * masses[:, column[slug]] for slug, share in parts.items())
            for material, parts in CONTENT.items()
        }
    )


def estimates(
    split: ScrapSim, model: MassModel, predictions: NDArray, labels: NDArray
) -> pd.DataFrame:
    """Estimated and true share of each material in each picture.

    The share is of all that is visible: the material's mass over that of the impurities and of
    the steel, the latter by its true area and `STEEL_KG_PER_M2` on both sides, so that the two
    differ in nothing but the material.

    Args:
        predictions, labels: (N, H, W), in the order of `split.ids`.

    Returns:
        Data frame with id, material, truth and estimate (fractions of mass) and truth_kg and
        estimate_kg.
    """
    true = visible_masses(split)
    steel = areas(split, labels)[:, 0] * STEEL_KG_PER_M2
    whole = steel + true[:, 1:].sum(1)
    found = materials(model.masses(split, predictions))
    parts = []
    for material, kg in materials(true).items():
        of = {"id": split.ids, "material": material, "truth_kg": kg, "estimate_kg": found[material]}
        parts.append(pd.DataFrame(of | {"truth": kg / whole, "estimate": found[material] / whole}))
    return pd.concat(parts, ignore_index=True)


def errors(table: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute error and bias of `estimates`, by material.

    Returns:
        Columns material, mean_truth, mae, mae_constant (of the guess that is always mean_truth),
        bias (fractions of mass; bias is estimate less truth), relative_bias (of the mean truth),
        correlation over the pictures.
    """
    rows = []
    for material, of in table.groupby("material", sort=False):
        gap, mean = of["estimate"] - of["truth"], of["truth"].mean()
        row = {"material": material, "mean_truth": mean, "mae": gap.abs().mean()}
        row["mae_constant"] = (of["truth"] - mean).abs().mean()
        row |= {"bias": gap.mean(), "relative_bias": gap.mean() / mean if mean else np.nan}
        rows.append(row | {"correlation": of["estimate"].corr(of["truth"])})
    return pd.DataFrame(rows)


def floor(train: ScrapSim, test: ScrapSim) -> pd.DataFrame:
    """`errors` on `test` of the true masks, with the masses fitted on `train`.

    What is left when every pixel is right; a method's own errors come on top.
    """
    model = MassModel.fit(train, np.stack([s.label for s in train]))
    labels = np.stack([s.label for s in test])
    return errors(estimates(test, model, labels, labels))


def material_recall(objects: pd.DataFrame, buried: bool = True) -> dict[str, float]:
    """Share of each material's mass, in pieces that are seen at all, that lies in found pieces.

    Args:
        objects: from `failures.found_objects`.
        buried: a found piece counts as a whole; else what of it is out of view is not found.
    """
    part = 1 if buried else objects["visible_fraction"]
    recall = {}
    for material, parts in CONTENT.items():
        kg = objects["mass_kg"] * objects["class"].map(parts).fillna(0)
        found = (kg * part)[objects["found"]].sum()
        recall[material] = float(found / kg.sum()) if kg.sum() else np.nan
    return recall


def heat(copper_share: NDArray | float, recall: float) -> NDArray:
    """Kilograms of copper in a heat of `HEAT_T` tonnes once the found share of it was picked out.

    Copper does not leave the melt again: what is charged stays.

    Args:
        copper_share: of the scrap before sorting, fraction of mass.
        recall: share of the copper that is picked, by mass.
    """
    return np.asarray(copper_share) * (1 - recall) * HEAT_T * 1000


def heat_table(recalls: Iterable[tuple[str, float, float]]) -> pd.DataFrame:
    """What recall does to the copper of a heat, of scrap with one to four times `COPPER_LIMIT`.

    Args:
        recalls: (method, recall of copper by mass, that without what is buried of found pieces).

    Returns:
        Columns method, recall, without_buried (the second recall), copper_in and copper_out
        (fractions of mass), copper_kg (left in the heat, by the first) and within (it keeps to
        `COPPER_LIMIT`).
    """
    rows = []
    for method, recall, without_buried in recalls:
        for share in (COPPER_LIMIT, 2 * COPPER_LIMIT, 4 * COPPER_LIMIT):
            kg = float(heat(share, recall))
            out = kg / (HEAT_T * 1000)
            rows.append((method, recall, without_buried, share, out, kg, out <= COPPER_LIMIT))
    columns = ["method", "recall", "without_buried", "copper_in", "copper_out"]
    columns += ["copper_kg", "within"]
    return pd.DataFrame(rows, columns=columns)


def recall_needed(copper_share: float) -> float:
    """Share of the copper to be picked for scrap to keep to `COPPER_LIMIT`; 0 if it does now."""
    return max(0.0, 1 - COPPER_LIMIT / copper_share) if copper_share else 0.0
