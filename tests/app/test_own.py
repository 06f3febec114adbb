"""Own images from folder to report: what is written is what other tools read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

import scrapseg
from scrapseg.app.finetune import deal, miss_rate, tune
from scrapseg.app.outputs import Writer, new_folder
from scrapseg.app.report import write_report
from scrapseg.app.suggest import label_next
from scrapseg.data.classes import CLASSES
from scrapseg.data.folder import open_folder
from scrapseg.models import segmenter
from scrapseg.models.segmenter import Segmenter, SegmenterError, load, starting_model
from scrapseg.models.tiles import predict_large
from scrapseg.report import figures as plots
from scrapseg.train.loop import TrainConfig


@pytest.fixture(scope="module")
def start() -> Segmenter:
    return starting_model(shipped=False)


@pytest.fixture(scope="module")
def own(tiny_scrapsim: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of two sizes with PNG masks, and two without."""
    root = tmp_path_factory.mktemp("own") / "my scrap"
    (root / "masks").mkdir(parents=True)
    for k, path in enumerate(sorted((tiny_scrapsim / "images").iterdir())[:10]):
        side = 64 + 32 * (k % 2)
        Image.open(path).resize((side, 64)).save(root / path.name)
        if k < 8:
            label = Image.open(tiny_scrapsim / "labels" / f"{path.stem}.png")
            label.resize((side, 64), Image.Resampling.NEAREST).save(root / f"masks/{path.stem}.png")
    return root


def test_import_is_light():
    code = "import scrapseg, sys; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_saved_model_predicts_the_same(start, own, tmp_path):
    path = sorted(own.glob("*.jpg"))[1]
    before = start.predict(path)
    start.save(tmp_path / "m" / "model.safetensors")
    again = scrapseg.load(tmp_path / "m").predict(str(path))
    assert np.array_equal(before.score, again.score) and before.objects == again.objects
    half = start.save(tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.6 * (tmp_path / "m/model.safetensors").stat().st_size
    loaded = load(half)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert np.abs(loaded.predict(Image.open(path)).score - before.score).max() < 0.02


def test_the_shipped_model_is_taken_where_there_is_one(start, tmp_path, monkeypatch):
    monkeypatch.setattr(segmenter, "SHIPPED", tmp_path / "none.safetensors")
    assert "zero-shot" in starting_model().origin
    shipped = segmenter.replace(start, origin="the shipped one", threshold=0.3)
    monkeypatch.setattr(segmenter, "SHIPPED", shipped.save(tmp_path / "s.safetensors", half=True))
    assert starting_model().origin == "the shipped one" and starting_model().threshold == 0.3
    two = starting_model(CLASSES[:2])
    assert len(two.model.text) == 2 and len(two.classes) == 2


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda d: shutil.rmtree(d), "no such model"),
        (lambda d: (d / "model.safetensors").unlink(), "holds 0 models"),
        (lambda d: (d / "model.safetensors").write_bytes(b"x"), "cannot read the saved model"),
        (lambda d: (d / "model.yaml").write_text("a: [1"), "model.yaml: cannot be read"),
        (lambda d: (d / "model.yaml").write_text("classes: {a: , b: }"), "9 class vectors for 2"),
    ],
)
def test_a_broken_model_is_named(start, tmp_path, spoil, says):
    start.save(tmp_path / "m" / "model.safetensors")
    spoil(tmp_path / "m")
    with pytest.raises(SegmenterError, match=says):
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
    with pytest.raises(ValueError, match="uint8"):
        start.predict(image / 255)


def test_above_the_whole_side_an_image_is_looked_at_tile_by_tile(start, monkeypatch):
    monkeypatch.setattr(segmenter, "WHOLE_SIDE", 300)
    image = np.random.default_rng(0).integers(0, 255, (200, 480, 3), np.uint8)
    tiled = predict_large(start.model, image)
    threshold = float(np.quantile(tiled.score_map, 0.3))
    p = segmenter.replace(start, threshold=threshold).predict(image)
    np.testing.assert_allclose(p.score, tiled.score_map.astype(np.float32), atol=1e-6)
    inside = p.instances > 0
    assert inside.any() and (p.label[inside] == tiled.impurity[inside]).all()
    assert 0 < p.uncertainty <= 1
    # Looked at with 240 pixels it goes through whole.
    small = segmenter.replace(start, side=240).predict(image)
    assert np.abs(small.score - p.score).max() > 0.01


def test_folds_have_every_class_they_can(own):
    folder = open_folder(own)
    images = folder.images(list(folder.labelled))
    groups = deal(images, 2)
    assert sorted(i for g in groups for i in g) == images.ids and {len(g) for g in groups} == {4}
    held = [{o["class"] for i in g for o in images.meta[i]["instances"]} for g in groups]
    shared = [
        c
        for c in held[0] | held[1]
        if sum(any(o["class"] == c for o in images.meta[i]["instances"]) for i in images.ids) > 1
    ]
    assert all(c in held[0] and c in held[1] for c in shared)


def test_miss_rate_interval_is_wilsons():
    objects = pd.DataFrame({"found": [True] * 8 + [False] * 2})
    found = miss_rate(objects)
    # Wilson's closed form for 2 of 10 at z = 1.96.
    z, n, p = 1.959964, 10, 0.2
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert found["miss_rate"] == 0.2
    assert found["miss_low"] == pytest.approx(centre - half, abs=1e-6)
    assert found["miss_high"] == pytest.approx(centre + half, abs=1e-6)


@pytest.fixture(scope="module")
def applied(start, own, tmp_path_factory):
    """Folder of outputs of a short training; tuned, folder, tables."""
    folder = open_folder(own)
    before = {p: p.stat().st_mtime_ns for p in own.rglob("*")}
    tuned = tune(start, folder, TrainConfig(steps=4, batch_size=2, crop=64, evals=2))
    out = new_folder(tmp_path_factory.mktemp("out") / "mine")
    writer = Writer(out, folder.classes)
    for id, file in folder.files.items():
        writer.add(id, file, segmenter.replace(tuned.segmenter, threshold=0.3).predict(file))
    images, objects = writer.finish()
    images["stem"] = list(folder.files)
    assert {p: p.stat().st_mtime_ns for p in own.rglob("*")} == before
    return out, tuned, folder, images, objects


def test_tuning_says_what_it_measured(applied, start):
    _, tuned, folder, _, _ = applied
    s = tuned.summary
    assert set(tuned.history["fold"]) == {1, 2} and s["step"] in set(tuned.history["step"])
    labelled = folder.images(list(folder.labelled))
    counted = [o for r in labelled.meta.values() for o in r["instances"] if o["pixels"] >= 25]
    assert s["objects"] == len(counted) == len(tuned.objects)
    assert 0 <= s["miss_low"] <= s["miss_rate"] <= s["miss_high"] <= 1
    assert s["images"] == len(folder.labelled) == 8 and s["folds"] == 2
    # The start is left as it was.
    trained = dict(tuned.segmenter.model.named_parameters())
    same = [torch.equal(p, trained[n]) for n, p in start.model.named_parameters()]
    assert not all(same) and torch.equal(start.model.text, tuned.segmenter.model.text)


def test_coco_json_is_what_the_label_images_say(applied):
    out, _, folder, _, objects = applied
    coco = COCO(str(out / "coco.json"))
    assert len(coco.imgs) == len(folder.files) and len(coco.anns) == len(objects) > 0
    for image in coco.imgs.values():
        label = np.array(Image.open(out / "labels" / f"{Path(image['file_name']).stem}.png"))
        painted = np.zeros_like(label)
        for a in coco.imgToAnns[image["id"]]:
            m = coco.annToMask(a).astype(bool)
            painted[m] = a["category_id"]
            left, top, width, height = a["bbox"]
            rows, columns = np.nonzero(m)
            assert a["area"] == m.sum()
            assert (columns.min(), rows.min()) == (left, top)
            assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (width, height)
        assert (painted == label).all() and label.shape == (image["height"], image["width"])


def test_tables_agree_with_each_other(applied):
    out, _, folder, _, _ = applied
    images, objects = pd.read_csv(out / "images.csv"), pd.read_csv(out / "objects.csv")
    assert list(images["image"]) == [p.name for p in folder.files.values()]
    per_image = objects.groupby("image").size().reindex(images["image"], fill_value=0)
    assert (per_image.to_numpy() == images["objects"].to_numpy()).all()
    slugs = [c.slug for c in CLASSES[1:]]
    assert objects["area"].sum() == images[[f"{s}_pixels" for s in slugs]].to_numpy().sum()
    assert objects["score"].between(0.3, 1).all()


def test_overlays_show_what_was_found(applied):
    out, _, folder, _, _ = applied
    for stem, file in folder.files.items():
        shown = np.array(Image.open(out / "overlays" / f"{stem}.jpg")).astype(int)
        original = np.array(Image.open(file)).astype(int)
        label = np.array(Image.open(out / "labels" / f"{stem}.png"))
        assert shown.shape == original.shape
        if (label > 0).any() and (label == 0).any():
            change = np.abs(shown - original).mean(-1)
            assert change[label > 0].mean() > change[label == 0].mean()


def report_of(applied, tuned: bool = True) -> Path:
    out, result, folder, images, _ = applied
    curve = plots.training_curves(result.history.drop(columns="fold"))
    return write_report(
        out,
        "my <scrap>",
        images,
        folder.classes,
        origin=result.segmenter.origin,
        threshold=0.3,
        to_label=list(images["stem"])[:2],
        summary=result.summary if tuned else None,
        curve=curve._repr_png_() if tuned else None,
    )


def test_report_without_labels_claims_nothing(applied):
    text = report_of(applied, tuned=False).read_text()
    assert "nothing here is measured" in text and "missed" not in text
    assert "my &lt;scrap&gt;" in text


def test_report_opens_in_a_browser(applied, tmp_path):
    from browser import page

    path = report_of(applied)
    with page() as tab:
        failed = []
        tab.on("requestfailed", lambda request: failed.append(request.url))
        tab.goto(path.as_uri())
        tab.wait_for_load_state("networkidle")
        assert tab.locator("h1").inner_text() == "my <scrap>"
        seen = tab.evaluate(
            """async () => { const all = [...document.images];
              all.forEach(i => i.loading = 'eager'); await Promise.all(all.map(i => i.decode()));
              return all.map(i => i.naturalWidth); }"""
        )
        assert len(seen) == 1 + 2 + 10 and min(seen) > 0 and not failed
        wide = tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        tab.screenshot(path=tmp_path / "report.png")
        tab.locator("figure a").first.click()
        assert tab.url.endswith(".jpg") and wide
    pixels = np.array(Image.open(tmp_path / "report.png").convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100  # there is something to see


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 20), st.integers(0, 5), st.integers(1, 25), st.integers(0, 99))
def test_suggestions_are_new_and_distinct(count, labelled, n, seed):
    rng = np.random.default_rng(seed)
    e = rng.normal(size=(count, 4))
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    known = list(range(min(labelled, count)))
    picked = label_next(e, rng.random(count), known, n)
    assert len(picked) == len(set(picked)) == min(n, count - len(known))
    assert not set(picked) & set(known)


def test_suggestions_weigh_doubt_and_avoid_twins():
    e = np.eye(3)[[0, 0, 1, 2]]
    assert label_next(e, [0.9, 0.9, 0.5, 0.1], [], 2) == [0, 2]  # not the twin of the first
    assert label_next(e, [0.9, 0.9, 0.5, 0.1], [0], 2) == [2, 3]


def test_nothing_of_json_is_lost_on_the_way(applied):
    out = applied[0]
    content = json.loads((out / "coco.json").read_text())
    assert [c["name"] for c in content["categories"]] == [c.name for c in CLASSES[1:]]
