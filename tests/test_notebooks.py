"""Every notebook is paired, short-celled, begins with a question and takes parameters."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from scrapseg.experiments.studies import STUDIES
from scrapseg.report.notebook import cells_of, defaults, in_step, read

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
LONGEST_CELL = 25

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


@each
def test_the_saved_notebook_has_the_cells_of_its_text(path):
    assert in_step(path), f"run: make notebooks, or jupytext --sync notebooks/{path.name}"


@each
def test_first_cell_asks_the_question(path):
    kind, source, _ = cells_of(read(path))[0]
    assert kind == "markdown"
    assert "?" in source


@each
def test_no_cell_is_longer_than_a_screen(path):
    for number, (kind, source, _) in enumerate(cells_of(read(path))):
        if kind == "code":
            assert source.count("\n") < LONGEST_CELL, f"cell {number} of {path.name}"


@each
def test_parameters_have_the_defaults_of_profile_smoke(path):
    assert sum("parameters" in tags for _, _, tags in cells_of(read(path))) == 1
    values = defaults(path)
    assert {"profile", "results_dir", "data_dir"} <= values.keys()
    smoke = yaml.safe_load((ROOT / "notebooks/profiles/smoke.yaml").read_text())
    assert {name: smoke.get(name, "not in smoke.yaml") for name in values} == values


@each
def test_saved_outputs_hold_no_error_and_no_path_of_a_machine(path):
    cells = json.loads(path.with_suffix(".ipynb").read_text())["cells"]
    outputs = [out for cell in cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out["output_type"] == "error"]
    # Pictures are base64, in which anything may occur.
    for output in outputs:
        for picture in ("image/png", "image/jpeg"):
            output.get("data", {}).pop(picture, None)
    assert not re.search(r"/(home|root|Users|tmp)/\w", json.dumps(outputs))


def test_profiles_set_only_what_some_notebook_takes():
    taken = set().union(*(defaults(path) for path in NOTEBOOKS))
    for path in (ROOT / "notebooks/profiles").glob("*.yaml"):
        values = yaml.safe_load(path.read_text())
        assert set(values.pop("studies", ())) <= set(STUDIES)
        assert isinstance(values.pop("costs", False), bool)  # the Snakefile's, as are the studies
        assert set(values) <= taken, path.name
