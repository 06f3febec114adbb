"""A trained model with its classes: saved and loaded, and what it says of an image."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import scrapseg
from scrapseg.data.classes import CLASSES
from scrapseg.models import segmenter
from scrapseg.models.segmenter import Segmenter, SegmenterError, load, starting_model
from scrapseg.models.tiles import predict_large


@pytest.fixture(scope="module")
def start() -> Segmenter:
    return starting_model(shipped=False)


def test_a_saved_model_predicts_the_same(start, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 96, 3), np.uint8)).save(path)
    before = start.predict(path)
    start.save(tmp_path / "m" / "model.safetensors")
    again = scrapseg.load(tmp_path / "m").predict(str(path))
    assert np.array_equal(before.score, again.score) and before.objects == again.objects
    half = start.save(tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.6 * (tmp_path / "m/model.safetensors").stat().st_size
    loaded = load(half)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert np.abs(loaded.predict(Image.open(path)).score - before.score).max() < 0.02


def test_a_mirrored_look_says_the_mirror_image_of_the_mirror_image(start, tmp_path):
    image = np.random.default_rng(3).integers(0, 255, (64, 96, 3), np.uint8)
    segmenter.replace(start, mirrored=True).save(tmp_path / "model.safetensors")
    both = load(tmp_path)
    p, q = (both.probabilities(i)[0].numpy() for i in (image, image[:, ::-1]))
    np.testing.assert_allclose(p, q[..., ::-1], atol=1e-5)
    one, other = (start.probabilities(i)[0].numpy() for i in (image, image[:, ::-1]))
    np.testing.assert_allclose(p, (one + other[..., ::-1]) / 2, atol=1e-5)


def test_a_threshold_stays_where_classes_are_added_and_goes_with_them(start):
    own = segmenter.replace(start, threshold=0.8, promises={"objects": {}})
    battery = segmenter.replace(own.classes[1], slug="battery", name="battery", words=("battery",))
    longer = own.with_classes([*own.classes, battery])
    assert longer.threshold == 0.8 and not longer.promises
    for classes in ([*own.classes[:-1], battery], own.classes[:3]):
        assert own.with_classes(classes).threshold == own.threshold_with(classes) == 0.5
    same = own.with_classes(own.classes)
    assert same.threshold == 0.8 and same.promises


def test_another_threshold_needs_no_second_look(start):
    image = np.random.default_rng(2).integers(0, 255, (96, 64, 3), np.uint8)
    first = start.predict(image)
    for threshold in (0.0, float(np.median(first.score)), 1.1):
        other = segmenter.replace(start, threshold=threshold)
        moved, again = other.thresholded(first), other.predict(image)
        assert np.array_equal(moved.label, again.label) and moved.objects == again.objects
        assert np.array_equal(moved.instances, again.instances)
    assert not again.label.any() and not again.objects


def test_the_shipped_model_is_taken_where_there_is_one(start, tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter, "SHIPPED", tmp_path / "none.safetensors")
    assert "zero-shot" in starting_model().origin
    shipped = segmenter.replace(start, origin="the shipped one", threshold=0.3)
    monkeypatch.setattr(segmenter, "SHIPPED", shipped.save(tmp_path / "s.safetensors", half=True))
    assert starting_model().origin == "the shipped one" and starting_model().threshold == 0.3
    two = starting_model(CLASSES[:2])
    assert len(two.model.text) == 2 and len(two.classes) == 2


def reconfigured(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda d: shutil.rmtree(d), "no such model"),
        (lambda d: (d / "model.safetensors").unlink(), "holds no model"),
        (lambda d: (d / "model.safetensors").write_bytes(b"x"), "cannot read the saved model"),
        (lambda d: (d / "model.yaml").write_text("a: [1"), "model.yaml: cannot be read"),
        (lambda d: (d / "model.yaml").write_text("classes: {a: , b: }"), "9 class vectors for 2"),
        (
            lambda d: (d / "model.yaml").write_text('origin: "\\uD83C"'),
            "model.yaml: cannot be read",
        ),
        (lambda d: reconfigured(d / "model.json", stages=2.5), "stages is 2.5"),
    ],
)
def test_a_broken_model_is_named(start, tmp_path, spoil, says):
    start.save(tmp_path / "m" / "model.safetensors")
    spoil(tmp_path / "m")
    with pytest.raises(SegmenterError, match=rf"{says}.*[;:,] (copy it|one made here|name its)"):
        load(tmp_path / "m")


def test_objects_are_connected_parts_of_one_class(start):
    label = np.zeros((50, 60), np.uint8)
    label[5:15, 5:15], label[5:15, 15:25] = 1, 2  # side by side, two classes
    label[30:40, 30:50], label[45:47, 2:4] = 1, 3  # the last is a speck
    score = np.where(label > 0, 0.9, 0.1).astype(np.float32)
    cleaned, instances, objects = start.objects(label, score)
    assert [(o.index, o.area, o.box) for o in objects] == [
        (1, 200, (30, 30, 50, 40)),
        (1, 100, (5, 5, 15, 15)),
        (2, 100, (15, 5, 25, 15)),
    ]
    assert cleaned[46, 3] == 0 and set(np.unique(instances)) == {0, 1, 2, 3}
    assert objects[0].score == pytest.approx(0.9)


def test_large_images_come_back_at_their_own_size(start):
    image = np.random.default_rng(0).integers(0, 255, (130, 210, 3), np.uint8)
    p = segmenter.replace(start, side=64).predict(image)
    assert p.label.shape == p.score.shape == p.instances.shape == (130, 210)
    assert 0 <= p.uncertainty <= 1 and np.linalg.norm(p.embedding) == pytest.approx(1, abs=1e-5)
    for bad in (image / 255, image[:0], image[:, :0], image[..., 0], image[..., :2], image[None]):
        with pytest.raises(ValueError, match=re.escape(f"no 0, not {bad.dtype} {bad.shape}")):
            start.predict(bad)


def test_above_the_whole_side_an_image_is_looked_at_tile_by_tile(start, monkeypatch):
    monkeypatch.setattr(segmenter, "WHOLE_SIDE", 300)
    image = np.random.default_rng(0).integers(0, 255, (200, 480, 3), np.uint8)
    tiled = predict_large(start.runtime, image)
    threshold = float(np.quantile(tiled.score_map, 0.3))
    p = segmenter.replace(start, threshold=threshold).predict(image)
    np.testing.assert_allclose(p.score, tiled.score_map.astype(np.float32), atol=1e-6)
    inside = p.instances > 0
    assert inside.any() and (p.label[inside] == tiled.impurity[inside]).all()
    assert 0 < p.uncertainty <= 1
    # Looked at with 240 pixels it goes through whole.
    small = segmenter.replace(start, side=240).predict(image)
    assert np.abs(small.score - p.score).max() > 0.01
