"""A saved model on labelled images, one by one: the numbers of all at once, by other hands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score
from typer.testing import CliRunner

from making.scale import make_folder
from scrapseg.__main__ import app as command
from scrapseg.app.evaluate import FEWEST, evaluate, named
from scrapseg.data.base import DataError, shrunk
from scrapseg.data.classes import SLUGS
from scrapseg.data.folder import open_folder, read_photo
from scrapseg.models import segmenter
from scrapseg.models.segmenter import SegmenterError

IMAGES = 5


@pytest.fixture(scope="module")
def model() -> segmenter.Segmenter:
    return segmenter.load()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """Views of ScrapSim with their masks; of one a strip is to be ignored, one is ignored whole."""
    root = make_folder(tmp_path_factory.mktemp("own") / "x", IMAGES, side=160, labels=True)
    for name, rows in (("00001", 40), ("00002", 160)):
        mask = np.array(Image.open(root / f"masks/{name}.png"))
        mask[:rows] = 255
        Image.fromarray(mask).save(root / f"masks/{name}.png")
    return root


@pytest.mark.parametrize("side", [768, 96])
def test_its_numbers_are_those_of_scikit_learn(model, labelled, side):
    model = replace(model, side=side)
    found = evaluate(open_folder(labelled, None, model.classes), model)
    score, truth, named, tops = [], [], [], []
    for k in range(IMAGES):
        seen = model.predict(shrunk(read_photo(labelled / f"images/{k:05}.jpg"), side))
        mask = shrunk(np.array(Image.open(labelled / f"masks/{k:05}.png")), side)
        told = mask != 255
        if told.any():
            score.append(seen.score[told])
            named.append(seen.label[told])
            truth.append(mask[told])
            highest = np.sort(seen.score[told])[::-1][: max(1, round(told.sum() / 1000))]
            tops.append((highest.mean(), (mask[told] > 0).any()))
    score, truth, named = map(np.concatenate, (score, truth, named))
    impure = truth > 0
    assert found["images"] == IMAGES - 1 and found["megapixels"] == len(score) / 1e6
    assert found["ap"] == pytest.approx(average_precision_score(impure, score), abs=1e-3)
    assert found["auroc"] == pytest.approx(roc_auc_score(impure, score), abs=1e-3)
    best = max(f1_score(impure, score >= t) for t in np.quantile(score, np.linspace(0, 1, 200)))
    assert best - 1e-3 <= found["f1_max"] <= best + 0.02
    flagged = score >= model.threshold
    binary = jaccard_score(impure, flagged, average=None)
    assert found["miou_binary"] == pytest.approx(binary.mean())
    there = np.union1d(truth, named)
    each = jaccard_score(truth, named, average=None, labels=there)
    assert [found[f"iou/{SLUGS[c]}"] for c in there] == pytest.approx(each)
    assert found["miou"] == pytest.approx(each.mean())
    assert ("miou_lo" in found) == (found["images"] >= FEWEST)
    impurity, top = [i for _, i in tops], [s for s, _ in tops]
    expected = roc_auc_score(impurity, top) if len(set(impurity)) > 1 else np.nan
    assert found["image_auroc"] == pytest.approx(expected, nan_ok=True)
    assert found["miss_rate"] == (found["objects"] - found["found"]) / found["objects"]


def test_the_command_prints_and_writes_them(labelled, tmp_path):
    out = tmp_path / "m.json"
    given = ["evaluate", str(labelled), "--threshold", "0.9", "--out", str(out)]
    ran = CliRunner().invoke(command, given)
    assert ran.exit_code == 0 and "miss_rate" in ran.stdout, ran.output
    assert json.loads(out.read_text("utf-8"))["threshold"] == 0.9


def test_intervals_hold_the_value_and_shrink_with_more_images():
    draw, widths = np.random.default_rng(0), []
    for images in (20, 2000):
        hit, miss = draw.integers(50, 100, (2, images))
        binary = np.stack([np.stack([hit, miss], 1), np.stack([miss, hit], 1)], 1)
        found = named(binary, binary, ["a", "b"])
        assert found["miou_lo"] < found["miou"] < found["miou_hi"]
        widths.append(found["miou_hi"] - found["miou_lo"])
    assert widths[1] < widths[0] / 5


def test_where_its_file_cannot_be_is_said_before_it_looks(labelled, tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path, tmp_path / "file" / "m.json"):
        ran = CliRunner().invoke(command, ["evaluate", str(labelled), "--out", str(out)])
        assert ran.exit_code == 1 and "--out metrics.json" in ran.stderr and not ran.stdout


def test_what_cannot_be_measured_is_said(model, labelled, tmp_path):
    bare = make_folder(tmp_path / "bare", 2, side=64)
    with pytest.raises(DataError, match=f"{bare}: no image of it is labelled"):
        evaluate(open_folder(bare, None, model.classes), model)
    whole = tmp_path / "whole"
    whole.mkdir()
    Image.new("RGB", (160, 120)).save(whole / "a.png")
    corners = [[-1, -1], [161, -1], [161, 121], [-1, 121]]
    shape = {"label": "ignore", "points": corners, "shape_type": "polygon", "group_id": None}
    said = {"imagePath": "a.png", "imageHeight": 120, "imageWidth": 160, "shapes": [shape]}
    (whole / "a.json").write_text(json.dumps(said), "utf-8")
    with pytest.raises(DataError, match=f"{whole}: every labelled pixel"):
        evaluate(open_folder(whole, None, model.classes), model)
    (tmp_path / "two.yaml").write_text("steel: {words: [steel]}\nrust: {words: [rust]}\n", "utf-8")
    with pytest.raises(SegmenterError, match="names steel, rust, but the model knows"):
        evaluate(open_folder(whole, tmp_path / "two.yaml"), model)
