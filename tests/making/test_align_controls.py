"""Alignments to wrong words, or none: what is called what, and that all else is as it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_studio import write_studio

from making.align.__main__ import main
from making.align.align import AlignConfig, batches_of
from making.align.collage import CollageConfig
from making.align.controls import Numbers, cycle, write_control
from making.align.studio import Facts, Studio, TextBank, relation
from scrapseg.models.pocket import load_aligned, pocket_model


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A drawn set whose traffic cones are made after impurities."""
    root = write_studio(tmp_path_factory.mktemp("controls") / "studio", images=40)
    path = root / "metadata.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for thing in (t for r in records for t in r["objects"] if t["noun"] == "traffic cone"):
        thing["category"] = "impurities"
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return root


def both(root: Path) -> list:
    return [r for split in ("train", "heldout") for r in Studio(root, split).records]


def test_a_cycle_keeps_no_name_and_uses_each_once():
    for n in (2, 3, 17):
        names = [f"{k}" for k in range(n)]
        other = cycle(names, np.random.default_rng(n))
        assert set(other) == set(other.values()) == set(names)
        assert all(a != b for a, b in other.items())
        at, seen = names[0], 0
        while (at := other[at]) != names[0]:
            seen += 1
        assert seen == n - 1


def test_permuted_names_are_wrong_and_the_same_throughout(root, tmp_path):
    lying = both(write_control(root, tmp_path / "lies", "permuted"))
    called: dict[str, set[str]] = {}
    for true, lie in zip(both(root), lying, strict=True):
        assert (true.id, true.split, true.background) == (lie.id, lie.split, lie.background)
        for a, b in zip(true.objects, lie.objects, strict=True):
            assert (a.id, a.pixels, a.facts.colour) == (b.id, b.pixels, b.facts.colour)
            called.setdefault(a.facts.noun, set()).add(b.facts.noun)
            assert b.facts.noun in b.phrase and a.facts.noun not in b.phrase
            assert b.phrase in lie.caption
    assert all(len(names) == 1 for names in called.values())
    assert {n for names in called.values() for n in names} == set(called)
    assert all(name not in names for name, names in called.items())


def test_true_words_stay_and_their_captions_are_put_together_alike(root, tmp_path):
    kept = both(write_control(root, tmp_path / "text", "text"))
    assert [r.objects for r in kept] == [r.objects for r in both(root)]
    said = {r.caption: [o.phrase for o in r.objects] for r in kept}
    for caption, phrases in said.items():
        assert caption.startswith(f"a {phrases[0]}") and caption.count(" and ") == len(phrases) - 1


def test_pictures_with_impurities_can_be_left_out(root, tmp_path):
    kept = both(write_control(root, tmp_path / "w", "text", impurities=False))
    nouns = {o.facts.noun for r in kept for o in r.objects}
    assert nouns == {"ball", "box"} and 0 < len(kept) < 40
    with pytest.raises(ValueError, match="must be one of text, permuted, numbers"):
        write_control(root, tmp_path / "x", "nonsense")


def test_numbers_are_a_direction_for_each_noun_and_background(root):
    parts = Studio(root, "train"), Studio(root, "heldout")
    bank = Numbers(*parts, width=16)
    assert torch.allclose(bank.vectors @ bank.vectors.T, torch.eye(5), atol=1e-5)
    for facts, ((row,),) in bank.things.items():
        assert bank.texts[row].facts == Facts(facts.noun)
        right = [relation(text.facts, facts) for text in bank.texts[:3]]
        assert right.count(1) == 1 and right[row] == 1
    narrow = Numbers(*parts, width=2).vectors  # more of them than there are dimensions
    assert torch.allclose(narrow.norm(dim=1), torch.ones(5))
    small = CollageConfig(size=64, pastes=(1, 2), texts=8, captions=4)
    model, config = pocket_model(), AlignConfig(batch_size=4, collage=small)
    batch = batches_of(parts[0], Numbers(*parts), model, config, n=1, seed=0)[0]
    assert ((batch.truth == 1).sum(1) == 1).all()


@pytest.mark.parametrize("targets", ["permuted", "numbers"])
def test_a_control_is_aligned_from_the_command_line(targets, root, tiny_scrapsim, tmp_path):
    out = tmp_path / targets
    words = ["control", "--studio", root, "--out", out, "--targets", targets, "--steps", 1]
    words += ["--batch-size", 2, "--size", 64, "--scrapsim", tiny_scrapsim]
    assert main([str(w) for w in words]) == 0
    load_aligned(pocket_model(), out / "pocket-aligned.safetensors")
    record = json.loads((out / "alignment.json").read_text())
    assert record["config"]["caption_weight"] == (0 if targets == "numbers" else 0.5)
    assert record["studio"]["texts"] == (5 if targets == "numbers" else texts_of(out / "studio"))
    assert main([str(w) for w in words]) == 0  # the folder is there already


def texts_of(root: Path) -> int:
    return len(TextBank(Studio(root, "train"), Studio(root, "heldout")).texts)
