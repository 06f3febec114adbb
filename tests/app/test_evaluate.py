"""A saved model on labelled images, one by one: the numbers of all at once, by other hands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score
from typer.testing import CliRunner

from making.scale import make_folder
from scrapseg.__main__ import app as command
from scrapseg.app.evaluate import evaluate
from scrapseg.data.base import DataError
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


def test_its_numbers_are_those_of_scikit_learn(model, labelled):
    found = evaluate(open_folder(labelled, None, model.classes), model)
    score, truth, named, tops = [], [], [], []
    for k in range(IMAGES):
        seen = model.predict(read_photo(labelled / f"images/{k:05}.jpg"))
        mask = np.array(Image.open(labelled / f"masks/{k:05}.png"))
        told = mask != 255
        if told.any():
            score.append(seen.score[told])
            named.append(seen.label[told])
            truth.append(mask[told])
            tops.append((seen.image_score, (mask[told] > 0).any()))
    score, truth, named = map(np.concatenate, (score, truth, named))
    impure = truth > 0
    assert found["images"] == IMAGES and found["megapixels"] == pytest.approx(IMAGES * 0.0256)
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
    assert found["miou_lo"] <= found["miou"] <= found["miou_hi"]
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
