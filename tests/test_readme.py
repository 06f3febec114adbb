"""The README holds: its tables are fresh, its links lead somewhere, its commands and code exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scrapseg.report import readme

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LAPTOP = ROOT / "results/laptop"


@pytest.mark.skipif(not (LAPTOP / "metrics.csv").is_file(), reason="no laptop results yet")
def test_tables_are_fresh():
    assert readme.fresh(TEXT, LAPTOP) == TEXT, "run `python -m scrapseg readme`"


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)\s]+)\)", TEXT)
    assert len(links) > 10
    made = ("results/laptop", "paper/paper.pdf")  # not there before the first `make reproduce`
    for link in links:
        if "://" in link or (link.startswith(made) and not LAPTOP.is_dir()):
            continue
        assert (ROOT / link).exists(), link


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", TEXT, re.MULTILINE))
    assert {"reproduce", "test", "verify", "lab"} <= named <= targets


def test_the_example_s_new_class_is_scored():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    code = next(block for block in blocks if "ScrapClass(" in block)
    head, tail = code.split("model = ")
    scope: dict = {}
    exec(head, scope)  # imports and the new class
    embeddings = re.search(r"class_embeddings\(.*\]\)", tail)[0]
    vectors = eval(embeddings, scope)
    assert vectors.shape[0] == len(scope["CLASSES"]) + 1
    assert abs(float(vectors[-1].norm()) - 1) < 1e-5
    assert hasattr(scope["ScrapSeg"], "load") and hasattr(scope["ScrapSeg"], "set_classes")
