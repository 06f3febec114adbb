"""From masks to tonnes, against sums done by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from slugs import by_slug

from scrapseg.data.scrapsim import ScrapSim
from scrapseg.metrics import mass


@pytest.fixture(scope="module")
def split(tiny_scrapsim) -> ScrapSim:
    """The training split; its pictures are two metres wide."""
    return ScrapSim(tiny_scrapsim, "train")


@pytest.fixture(scope="module")
def labels(split) -> np.ndarray:
    return np.stack([s.label for s in split])


def test_areas_are_square_metres(split, labels):
    area = mass.areas(split, labels)
    np.testing.assert_allclose(area.sum(1), 4.0)
    wood = by_slug("wood").index
    assert area[3, wood] == pytest.approx((labels[3] == wood).sum() * (2 / 64) ** 2)
    with pytest.raises(ValueError, match="1 label images"):
        mass.areas(split, labels[:1])


def test_visible_masses_are_the_pieces_without_buried(split):
    table = mass.visible_masses(split)
    expected = sum(
        k["mass_kg"] * k["visible_fraction"]
        for record in split.meta.values()
        for k in record["instances"]
        if k["class"] == "cable"
    )
    assert table[:, by_slug("cable").index].sum() == pytest.approx(expected)
    assert np.isnan(table[:, 0]).all()


def test_the_fit_makes_the_totals_of_train_right(split, labels):
    model = mass.MassModel.fit(split, labels)
    found = mass.materials(model.masses(split, labels)).sum()
    true = mass.materials(mass.visible_masses(split)).sum()
    pd.testing.assert_series_equal(found, true)
    table = mass.errors(mass.estimates(split, model, labels, labels))
    np.testing.assert_allclose(table.set_index("material")["relative_bias"], 0, atol=0.2)
    assert (table["mae"] > 0).all()


def test_a_method_that_sees_nothing_is_biased_by_all_there_is(split, labels):
    model = mass.MassModel.fit(split, labels)
    table = mass.errors(mass.estimates(split, model, np.zeros_like(labels), labels))
    np.testing.assert_allclose(table["relative_bias"], -1)
    np.testing.assert_allclose(table["mae"], table["mean_truth"])


def test_materials_split_what_is_made_of_two():
    masses = np.zeros((1, 9))
    masses[0, by_slug("cable").index] = 2.0
    masses[0, by_slug("motor").index] = 10.0
    row = mass.materials(masses).iloc[0]
    assert (row["copper"], row["aluminium"], row["non-metal"]) == (2.0, 0.0, 1.0)


def test_material_recall_is_by_mass_not_by_piece():
    objects = pd.DataFrame(
        {
            "class": ["copper_coil", "copper_coil", "wood"],
            "mass_kg": [3.0, 1.0, 9.0],
            "found": [True, False, False],
            "visible_fraction": [0.5, 1.0, 1.0],
        }
    )
    assert mass.material_recall(objects, buried=False)["copper"] == 1.5 / 4
    recall = mass.material_recall(objects)
    assert (recall["copper"], recall["non-metal"]) == (0.75, 0.0)
    assert np.isnan(recall["aluminium"])


def test_the_heat_keeps_what_was_missed():
    assert mass.heat(0.005, 0.5) == pytest.approx(250)  # 0.25 % of 100 t
    needed = mass.recall_needed(0.005)
    assert needed == pytest.approx(0.5) and mass.recall_needed(0.001) == 0
    table = mass.heat_table([("ours", 0.6, 0.5), ("none", 0.0, 0.0)])
    assert list(table["copper_in"]) == 2 * [k * mass.COPPER_LIMIT for k in (1, 2, 4)]
    better, none = table[table["copper_in"] == 0.005].itertuples()
    assert (better.recall, better.without_buried) == (0.6, 0.5)
    assert better.copper_kg == pytest.approx(200) and better.within
    assert none.copper_out == 0.005 and not none.within
