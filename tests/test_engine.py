"""The map of what is made from what (Snakefile): what reruns when what changes, and who runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from project_copy import ROOT, copy_project

README = (ROOT / "README.md").read_text(encoding="utf-8")

#: What the README's table names -> a change of that kind.
CHANGES = {
    "nothing": {"path": "README.md", "old": "ScrapSeg", "new": "ScrapSeg"},
    "a word in a label reader's message": {"path": "scrapseg/data/labels.py"},
    "the loss": {"path": "scrapseg/train/losses.py"},
    "the starting weights": {"path": "data/pocket/pocket-aligned.safetensors"},
    "a package of the lock that training uses": {
        "path": "requirements.lock",
        "old": "\ntimm==",
        "new": "\ntimm==9.",
    },
    "a method's settings": {"path": "scrapseg/experiments/methods.yaml"},
    "how images of a data set are read or sized": {
        "path": "scrapseg/data/magnetic_tile.py",
        "profile": "real",
    },
    "a study's table in `results/full`": {"path": "results/full/tables/ablation.csv"},
    "a result on photographs": {"path": "results/real/metrics.csv"},
    "measured times": {"path": "results/laptop/times.json"},
    "code of tables and figures": {"path": "scrapseg/report/tables.py"},
    "a cell of notebook 01": {"path": "notebooks/01_data_exploration.py"},
    "the paper's text": {"path": "paper/paper.typ"},
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Jobs that each of `CHANGES` brings about."""
    copy = copy_project(tmp_path_factory.mktemp("project"))
    (copy / "changes.json").write_text(json.dumps(list(CHANGES.values())))
    done = subprocess.run(
        [sys.executable, ROOT / "tests/dry_runs.py", copy, copy / "changes.json"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(copy)},
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(CHANGES, json.loads((copy / "jobs.json").read_text())))
