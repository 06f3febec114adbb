"""Every notebook is paired, short-celled, begins with a question and takes parameters."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

from scrapseg.reproduce import DEPENDS, defaults, in_step, read_cells

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONGEST_CELL = 25

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def test_every_notebook_is_known_to_the_runner_and_the_other_way_round():
    numbered = {p.stem for p in NOTEBOOKS if p.stem[0].isdigit()}
    assert numbered == set(DEPENDS)


@each
def test_notebook_and_text_are_in_step(path):
    assert in_step(path), f"run: jupytext --sync notebooks/{path.name}"


@each
def test_first_cell_asks_the_question(path):
    first = read_cells(path)[0]
    assert first["type"] == "markdown"
    assert "?" in first["source"]


@each
def test_no_cell_is_longer_than_a_screen(path):
    for number, cell in enumerate(read_cells(path)):
        if cell["type"] == "code":
            assert cell["source"].count("\n") < LONGEST_CELL, f"cell {number} of {path.name}"


@each
def test_parameters_have_smoke_defaults(path):
    cells = [cell for cell in read_cells(path) if "parameters" in cell["tags"]]
    assert len(cells) == 1
    assert {"profile", "results_dir", "data_dir"} <= defaults(cells)
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(cells[0]["source"]).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert values["profile"] == "smoke"
    assert values["results_dir"] == "../results/smoke"


@each
def test_saved_outputs_hold_no_error_and_no_path_of_a_machine(path):
    cells = json.loads(path.read_text())["cells"]
    outputs = [out for cell in cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out["output_type"] == "error"]
    # Pictures are base64, in which anything may occur.
    for output in outputs:
        for picture in ("image/png", "image/jpeg"):
            output.get("data", {}).pop(picture, None)
    assert not re.search(r"/(home|root|Users|tmp)/\w", json.dumps(outputs))


def test_profiles_set_only_what_some_notebook_takes():
    taken = set().union(*(defaults(read_cells(path)) for path in NOTEBOOKS))
    for path in (ROOT / "notebooks/profiles").glob("*.yaml"):
        if path.stem != "tuned":
            assert set(yaml.safe_load(path.read_text())) <= taken, path.name
