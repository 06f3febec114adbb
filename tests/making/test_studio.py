"""The studio set: reading it, and which texts are true of which thing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fake_studio import write_studio

from making.align.studio import (
    BrokenMetadata,
    Facts,
    Studio,
    StudioObject,
    Text,
    TextBank,
    composition,
    encode_cached,
    material_wordings,
    relation,
    said_of,
    wordings,
)
from scrapseg.data.base import BrokenImage, EmptySplit, MissingFile, SizeMismatch
from scrapseg.models.towers import encode_texts


@pytest.fixture
def root(tmp_path):
    return write_studio(tmp_path / "studio", images=10)


def records_of(root):
    return [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]


def write_records(root, records):
    (root / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))


# --- reading


def test_reads_what_was_drawn(root):
    raw = {r["id"]: r for r in records_of(root)}
    train, heldout = Studio(root, "train"), Studio(root, "heldout")
    assert [r.id for r in heldout.records] == ["000004", "000009"]
    assert len(train) == 8
    for sample in [*train, *heldout]:
        told = raw[sample.record.id]
        assert sample.record.caption == told["caption"]
        assert sample.image.shape == (64, 64, 3)
        for thing, expected in zip(sample.record.objects, told["objects"], strict=True):
            assert thing.facts.noun == expected["noun"]
            assert int((sample.instances == thing.id).sum()) == expected["pixels"]


def test_composition_counts_once(root):
    train, heldout = Studio(root, "train"), Studio(root, "heldout")
    counts = composition(train, heldout)
    objects = [o for r in records_of(root) for o in r["objects"]]
    assert counts["images"] == 10
    assert counts["objects"] == len(objects)
    assert counts["materials"] == len({o["material"] for o in objects})
    assert counts["colours"] == len({o["colour"] for o in objects} - {None})


def test_limit_keeps_the_first(root):
    assert [r.id for r in Studio(root, "train", limit=2).records] == ["000000", "000001"]


def test_unknown_split(root):
    with pytest.raises(ValueError, match="'val'"):
        Studio(root, "val")


def test_missing_metadata(tmp_path):
    with pytest.raises(MissingFile, match=r"metadata\.jsonl: file is missing.*make render-studio"):
        Studio(tmp_path, "train")


def test_empty_split(root):
    write_records(root, [r for r in records_of(root) if r["split"] == "train"])
    with pytest.raises(EmptySplit, match="no image of split 'heldout'"):
        Studio(root, "heldout")


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: r.pop("caption"),
        lambda r: r.update(objects=[]),
        lambda r: r["objects"][0].pop("noun"),
        lambda r: r.update(background=""),
    ],
)
def test_a_broken_record_is_named_by_line(root, damage):
    records = records_of(root)
    damage(records[3])
    write_records(root, records)
    with pytest.raises(BrokenMetadata, match=r"metadata\.jsonl, line 4: not a record"):
        Studio(root, "train")


def test_a_line_that_is_no_json(root):
    with (root / "metadata.jsonl").open("a") as file:
        file.write('{"id": "00')
    with pytest.raises(BrokenMetadata, match="line 11"):
        Studio(root, "train")


def test_missing_and_broken_images(root):
    studio = Studio(root, "train")
    (root / "images/000000.jpg").unlink()
    with pytest.raises(MissingFile, match=r"000000\.jpg: file is missing"):
        studio[0]
    whole = (root / "instances/000001.png").read_bytes()
    (root / "instances/000001.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenImage, match=r"000001\.png: cannot be decoded"):
        studio[1]


def test_instances_must_fit_image_and_record(root):
    from PIL import Image

    studio = Studio(root, "train")
    Image.new("L", (32, 32)).save(root / "instances/000000.png")
    with pytest.raises(SizeMismatch, match=r"000000\.png"):
        studio[0]
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(root / "instances/000001.png")
    with pytest.raises(BrokenMetadata, match=r"000001\.png: holds objects \[9\]"):
        studio[1]


def test_a_motor_is_not_steel_though_its_housing_is(root):
    records = records_of(root)
    thing = {"noun": "electric motor", "material": "painted steel", "colour": None}
    records[0]["objects"][0] |= thing | {"category": "impurities"}
    records[1]["objects"][0] |= thing | {"category": "tools"}
    write_records(root, records)
    motor, tool = (Studio(root, "train").records[i].objects[0].facts for i in (0, 1))
    steel, not_steel = Facts(material="steel"), Facts("electric motor", not_steel=True)
    assert [relation(steel, motor), relation(not_steel, motor)] == [0, 1]
    assert [relation(steel, tool), relation(not_steel, tool)] == [1, -1]


# --- truth

BUCKET = Facts("bucket", "plastic", "red", not_steel=True)
PIPE = Facts("pipe", "rusty steel", None)
FLOOR = Facts(background="a grey concrete floor")


@pytest.mark.parametrize(
    ("text", "thing", "truth"),
    [
        # what subsumes a phrase is true as well
        (Facts("bucket"), BUCKET, 1),
        (Facts("bucket", "plastic"), BUCKET, 1),
        (Facts("bucket", None, "red"), BUCKET, 1),
        (Facts("bucket", "plastic", "red"), BUCKET, 1),
        (Facts(material="plastic"), BUCKET, 1),
        (Facts("bucket", not_steel=True), BUCKET, 1),
        # one wrong word is enough
        (Facts("bottle", "plastic", "red"), BUCKET, -1),
        (Facts("bucket", "wood", "red"), BUCKET, -1),
        (Facts("bucket", "plastic", "blue"), BUCKET, -1),
        (Facts(material="steel"), BUCKET, -1),
        # materials with a state
        (Facts(material="steel"), PIPE, 1),
        (Facts(material="rusty steel"), Facts("pipe", "steel"), -1),
        (Facts("pipe", not_steel=True), PIPE, -1),
        (Facts("steel plate"), Facts("steel plate", "rusty steel"), 1),
        (Facts(material="wood"), Facts("box", "painted wood", "red"), 1),
        # nouns of two words
        (Facts("beam"), Facts("steel beam", "steel"), 1),
        (Facts("tin can"), Facts("can", "steel"), 0),
        (Facts("pipe"), Facts("pipe elbow", "steel"), 0),
        (Facts("can"), Facts("candle", "wax"), -1),
        # what the record does not say
        (Facts("pipe", None, "brown"), PIPE, 0),
        (Facts("motor", "steel"), Facts("motor"), 0),
        (Facts("bolt", None, "brown"), PIPE, -1),
        # a caption's own phrase may say more than is known
        (Facts("bucket", "plastic", "red", loose=True), BUCKET, 0),
        (Facts("bucket", loose=True), BUCKET, 0),
        (Facts("bucket", "wood", loose=True), BUCKET, -1),
        (Facts("bottle", "plastic", "red", loose=True), BUCKET, -1),
        # backgrounds
        (FLOOR, FLOOR, 1),
        (Facts(background="a concrete floor"), FLOOR, 1),
        (Facts(background="a wooden floor"), FLOOR, 0),
        (Facts(background="a blue cloth"), Facts(background="a red cloth"), -1),
        (Facts(background="a wooden table"), FLOOR, -1),
        (Facts(material="concrete"), FLOOR, 1),
        (Facts(material="wood"), Facts(background="a wooden table"), 1),
        (FLOOR, Facts("concrete block", "concrete"), 0),
        (Facts("concrete block", "concrete"), FLOOR, 0),
        (FLOOR, Facts("bucket", "plastic", "grey"), -1),
        (Facts("bucket", "plastic", "grey"), FLOOR, -1),
    ],
)
def test_relation(text, thing, truth):
    assert relation(text, thing) == truth


def thing_of(noun, material, colour, not_steel=True):
    return Facts(noun, material, colour, not_steel=not_steel)


def test_every_wording_is_true_of_its_object():
    things = [
        thing_of("bucket", "plastic", "red"),
        thing_of("steel plate", "rusty steel", None, not_steel=False),
        thing_of("apple", "food", "green"),
        thing_of("box", "painted wood", "blue"),
        thing_of("electric motor", None, None),
    ]
    for thing in things:
        texts = [text for group in wordings(thing) for text in group]
        assert all(relation(text.facts, thing) == 1 for text in texts)
        assert len({t.sentence for t in texts}) == len(texts)


def test_wordings_by_hand():
    groups = wordings(thing_of("bucket", "wood", "red"))
    assert [g[0].sentence for g in groups] == [
        "bucket",
        "wooden bucket",
        "red bucket",
        "red wooden bucket",
    ]
    said = {t.sentence: t.facts for g in groups for t in g}
    assert said["a close-up of a piece of wooden bucket"] == Facts("bucket", "wood")
    assert said["object which is not steel but bucket"] == Facts("bucket", not_steel=True)
    plate = wordings(thing_of("steel plate", "rusty steel", None, not_steel=False))
    assert [g[0].sentence for g in plate] == ["steel plate", "rusty steel plate"]
    assert not [t for g in plate for t in g if "not steel" in t.sentence]
    apple = wordings(thing_of("apple", "food", "green"))
    assert "a photo of an apple" in {t.sentence for t in apple[0]}
    assert [g[0].sentence for g in apple] == ["apple", "green apple"]


def test_what_a_caption_surely_says():
    def said(facts, phrase):
        return said_of(StudioObject(1, facts, "household", phrase, 99))

    bucket = thing_of("bucket", "wood", "red")
    assert said(bucket, "a dirty red wooden pail") == Facts("bucket", "wood", "red", loose=True)
    pipe = thing_of("pipe", "rusty steel", None)
    assert said(pipe, "corroded tube") == Facts("pipe", loose=True)


def test_materials_are_worded_as_the_projects_prompts():
    claim = Facts(material="plastic")
    texts = material_wordings("plastic")
    assert Text("object which is made of plastic", claim) in texts
    assert Text("plastic in a pile of scrap metal", claim) in texts
    denial = Facts(material="plastic", not_steel=True)
    assert Text("object which is not steel but plastic", denial) in texts
    assert not [t for t in material_wordings("rusty steel") if "not steel" in t.sentence]


# --- vectors


def test_the_bank_holds_every_text_with_its_own_vector(root, tmp_path):
    records = records_of(root)
    records[0]["objects"][0]["phrase"] = "thingamajig"
    write_records(root, records)
    train, heldout = Studio(root, "train"), Studio(root, "heldout")
    bank = TextBank(train, heldout, cache_dir=tmp_path)
    assert bank.vectors.shape == (len(bank.texts), 384)
    for record in train.records + heldout.records:
        assert bank.texts[bank.captions[record.caption]].sentence == record.caption
        assert bank.texts[bank.backgrounds[record.background]].facts.background
        for thing in record.objects:
            rows = [row for group in bank.things[thing.facts] for row in group]
            claims = [bank.texts[row].facts for row in rows]
            assert all(relation(claim, thing.facts) == (not claim.loose) for claim in claims)
    rows = bank.things[train.records[0].objects[0].facts][-1]
    assert [bank.texts[row].sentence for row in rows] == ["thingamajig"]
    some = [0, len(bank.texts) // 2, len(bank.texts) - 1]
    direct = encode_texts([bank.texts[i].sentence for i in some])
    torch.testing.assert_close(bank.vectors[some], direct, atol=1e-5, rtol=0)


def test_texts_are_encoded_once(tmp_path, monkeypatch):
    first = encode_cached(["a box", "a ball", "a box"], tmp_path)
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    monkeypatch.setattr("making.align.studio.encode_texts", None)
    assert torch.equal(encode_cached(["a ball", "a box"], tmp_path), first[[1, 0]])
