"""The README holds: its tables are fresh, its links lead somewhere, its commands and code exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import scrapseg
from making import readme
from scrapseg.data.classes import CLASSES, ScrapClass
from scrapseg.models.prompts import class_embeddings

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LAPTOP = ROOT / "results/laptop"


@pytest.mark.skipif(not (LAPTOP / "metrics.csv").is_file(), reason="no laptop results yet")
def test_tables_are_fresh():
    assert readme.fresh(TEXT, LAPTOP) == TEXT, "run `python -m making.readme`"


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)\s]+)\)", TEXT)
    assert len(links) > 10
    made = ("results/laptop", "paper/paper.pdf")  # not there before the first `make reproduce`
    for link in links:
        if "://" in link or (link.startswith(made) and not LAPTOP.is_dir()):
            continue
        if link.startswith("#"):  # a heading of the page
            assert re.search(rf"^#+ {link[1:].replace('-', ' ')}$", TEXT, re.M | re.I), link
            continue
        assert (ROOT / link).exists(), link


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", TEXT, re.MULTILINE))
    assert {"reproduce", "test", "verify", "lab"} <= named <= targets


def test_a_new_class_is_scored_as_the_readme_says():
    call = re.search(r"model\.set_classes\(class_embeddings\(.*?\]\)\)", TEXT)[0]
    battery = ScrapClass(
        len(CLASSES), "battery", "battery", ("battery", "car battery"), (0, 0, 0), "hazard", "Acid."
    )
    model = scrapseg.load().model
    before = model.text.clone()
    exec(
        call,
        {"model": model, "class_embeddings": class_embeddings} | globals() | {"battery": battery},
    )
    assert len(model.text) == len(CLASSES) + 1
    assert torch.allclose(model.text[: len(CLASSES)], before, atol=1e-5)
