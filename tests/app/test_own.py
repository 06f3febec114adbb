"""Own images from folder to report: what is written is what other tools read."""

from __future__ import annotations

import json
import re
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

from scrapseg.app.finetune import deal, tune
from scrapseg.app.judge import miss_rate
from scrapseg.app.outputs import Writer, new_folder
from scrapseg.app.report import write_report
from scrapseg.app.suggest import label_next
from scrapseg.data.classes import CLASSES
from scrapseg.data.folder import open_folder
from scrapseg.models import segmenter
from scrapseg.models.segmenter import Segmenter, starting_model
from scrapseg.report import figures
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
    tuned = tune(start, folder, TrainConfig(batch_size=2, crop=64, evals=2), minutes=0.1)
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
    assert set(tuned.history["fold"]) == {1, 2} and s["step"] >= 1
    labelled = folder.images(list(folder.labelled))
    counted = [o for r in labelled.meta.values() for o in r["instances"] if o["pixels"] >= 25]
    assert s["objects"] == len(counted) == len(tuned.objects)
    assert 0 <= s["miss_low"] <= s["miss_rate"] <= s["miss_high"] <= 1
    assert s["images"] == len(folder.labelled) == 8 and s["folds"] == 2
    # The start is left as it was.
    trained = dict(tuned.segmenter.model.named_parameters())
    same = {n: torch.equal(p, trained[n]) for n, p in start.model.named_parameters()}
    assert not all(same.values()) and torch.equal(start.model.text, tuned.segmenter.model.text)
    held = [same[n] for n in same if "conv_stem" in n]
    assert held and all(held) and all(p.requires_grad for p in start.model.parameters())


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


def report_of(applied, tuned: bool = True, **summary) -> Path:
    out, result, folder, images, _ = applied
    curve = figures.training_curves(result.history.drop(columns="fold"))
    return write_report(
        out,
        "my <scrap>",
        images,
        folder.classes,
        origin=result.segmenter.origin,
        threshold=0.3,
        to_label=list(images["stem"])[:2],
        summary=result.summary | summary if tuned else None,
        curve=curve._repr_png_() if tuned else None,
    )


def test_report_without_labels_claims_nothing(applied):
    text = report_of(applied, tuned=False).read_text()
    assert "nothing here is measured" in text and "missed" not in text
    assert "false alarms" not in text
    assert "my &lt;scrap&gt;" in text


@pytest.mark.parametrize(("step", "said"), [(0, "none of them"), (7, "all of them")])
def test_report_says_whether_anything_was_learned(applied, step, said):
    assert f"has learned from {said}" in report_of(applied, step=step).read_text()


def test_report_says_what_there_was_before_and_shows_what_is_found_first(tmp_path):
    classes = CLASSES[:3]
    slug = classes[1].slug
    rows = pd.DataFrame({"stem": ["a", "b"], "score": [0.83, 0.73], "objects": [0, 2]})
    rows = rows.assign(image=rows["stem"] + ".jpg", width=9, height=9, uncertainty=0.1)
    for c in classes[1:]:
        many = rows["objects"] * (c.slug == slug)
        rows[f"{c.slug}_objects"], rows[f"{c.slug}_pixels"] = many, 9 * many
    before = {f"{c.slug}_objects": 7 * (c.slug == slug) for c in classes[1:]}
    told = {"origin": "here", "threshold": 0.9712, "changed": {"a": before}}
    page = write_report(tmp_path, "mine", rows, classes, **told).read_text()
    words = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert f"above, before: 7 {classes[1].name} below, after: nothing found" in words
    assert "from a score of 0.971 on" in words
    listed = words[words.index("the most suspicious first") :]
    assert listed.index("b.jpg") < listed.index("a.jpg")  # though its score is lower


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
        tiles = tab.locator(".tile").all_inner_texts()
        missed = next(k for k, text in enumerate(tiles) if "missed" in text)
        alarms = f"{applied[1].summary['false_alarms']:.1f}"
        assert tiles[missed + 1].split()[:3] == [alarms, "false", "alarms"]
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
