"""The list of methods: one entry is enough, and what is chosen is written back to it."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from making.tune import write_chosen
from scrapseg.experiments import methods
from scrapseg.experiments.build import build
from scrapseg.experiments.methods import METHODS, MethodsError, load
from scrapseg.experiments.run import run
from scrapseg.experiments.splits import Splits
from scrapseg.experiments.studies import RunSpec
from scrapseg.models.predict import Predictions
from scrapseg.report.style import method_style
from scrapseg.report.tables import method_order


class Redness:
    """A method of a user's own: the redder, the less normal."""

    parameters = 1

    def __init__(self, power: float, seed: int) -> None:
        self.power, self.seed = power, seed

    def fit(self, images, labels):
        return self

    def predict(self, images):
        return Predictions((np.stack(images)[..., 0] / 255).astype(np.float32) ** self.power, None)


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Two entries more than there are, in a file of their own."""
    path = tmp_path / "methods.yaml"
    path.write_text(
        "redness:\n  label: Redness\n  family: classical\n  colour: '#ff0000'\n  marker: x\n"
        f"  maker: {__name__}.Redness\n  candidates: [{{power: 2.0}}, {{power: 3.0}}]\n"
        "linknet:\n  label: LinkNet\n  family: supervised\n"
        "  maker: segmentation_models_pytorch.Linknet\n  settings_of: unet\n"
    )
    for slug, method in load(path).items():
        monkeypatch.setitem(METHODS, slug, method)
    return path


def test_an_entry_is_enough_for_a_method_of_ones_own(listed, tiny_scrapsim, tmp_path):
    record = run(RunSpec("redness"), Splits.load(tiny_scrapsim), tmp_path)
    assert (record.family, record.config["power"]) == ("classical", 2.0)
    assert 0 < record.metrics["ap"] < 1 and record.metrics["params_m"] == 1e-6
    assert method_style("redness") == {"label": "Redness", "color": "#ff0000", "marker": "x"}
    assert method_order(["redness", "unet"]) == ["unet", "redness"]


def test_an_entry_is_enough_for_a_decoder(listed):
    model = build("linknet", 0)
    assert type(model.net).__name__ == "Linknet"
    assert METHODS["linknet"].settings() == METHODS["unet"].settings()
    assert method_style("linknet")["label"] == "LinkNet"


def test_chosen_settings_are_written_to_the_entry_and_nothing_else(listed):
    before = methods.PATH.read_text()
    listed.write_text(before)
    kept = {slug: m.chosen for slug, m in load(listed).items() if m.chosen}
    write_chosen(kept, listed)
    assert listed.read_text() == before
    write_chosen({"unet": {"lr": 0.5, "encoder_lr": 1e-05}, "winclip": {"lr": 2}}, listed)
    after = load(listed)
    assert after["unet"].chosen == {"lr": 0.5, "encoder_lr": 1e-05}
    assert after["winclip"].chosen == {"lr": 2}
    rest = {slug: m for slug, m in after.items() if slug not in ("unet", "winclip")}
    assert all(m == METHODS[slug] for slug, m in rest.items())
    write_chosen({"unet": {"lr": 0.1}}, listed, "cables")
    write_chosen({"unet": {"lr": 0.2}, "fpn": {"lr": 3}}, listed, "belt-waste")
    chosen = load(listed)["unet"]
    others = METHODS["unet"].chosen_on
    assert chosen.chosen_on == others | {"cables": {"lr": 0.1}, "belt-waste": {"lr": 0.2}}
    assert chosen.settings("cables") == {"lr": 0.1}
    assert chosen.settings("steelds") == chosen.settings() == chosen.chosen
    comments = [line for line in before.splitlines() if "#" in line]
    assert [line for line in listed.read_text().splitlines() if "#" in line] == comments
    with pytest.raises(MethodsError, match="no entry 'nobody'"):
        write_chosen({"nobody": {}}, listed)


def test_unequal_effort_is_refused(tmp_path):
    path = tmp_path / "methods.yaml"
    entries = {
        slug: {"label": "", "family": "", "maker": "", "candidates": [{"lr": 1}] * count}
        for slug, count in (("a", 1), ("b", 2))
    }
    path.write_text(yaml.safe_dump(entries))
    with pytest.raises(MethodsError, match=r"methods\.yaml: .* not a 1, b 2"):
        load(path)


@pytest.mark.parametrize("text", ["a: {label: A, colr: red}", "a: [", "- a"])
def test_a_list_that_is_none_is_named(tmp_path, text):
    path = tmp_path / "methods.yaml"
    path.write_text(text)
    with pytest.raises(MethodsError, match=r"methods\.yaml: not a list of methods"):
        load(path)


def test_every_method_has_four_candidates_or_takes_anothers():
    own = {slug for slug, m in METHODS.items() if m.candidates}
    assert {len(METHODS[slug].candidates) for slug in own} == {4}
    # WinCLIP waits for weights that do not come along.
    assert {s for s, m in METHODS.items() if not m.settings_of} - own == {"winclip"}
