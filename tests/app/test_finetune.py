"""What is said of a model fitted to own images: no image is measured by what was chosen on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scrapseg.app import finetune
from scrapseg.data.base import DataError
from scrapseg.data.folder import open_folder
from scrapseg.models.segmenter import Segmenter
from scrapseg.train.loop import TrainConfig

SIDE = 40
#: The two halves of each image's object.
UPPER, LOWER = np.s_[:10, 10:30], np.s_[10:20, 10:30]


@pytest.fixture
def folder(tmp_path: Path):
    """Four images of one grey level each, named by it, with one object each."""
    (tmp_path / "masks").mkdir()
    label = np.zeros((SIDE, SIDE), np.uint8)
    label[UPPER] = label[LOWER] = 1
    for level in (10, 20, 30, 40):
        Image.fromarray(np.full((SIDE, SIDE, 3), level, np.uint8)).save(tmp_path / f"{level}.png")
        Image.fromarray(label).save(tmp_path / "masks" / f"{level}.png")
    return open_folder(tmp_path)


@dataclass(frozen=True)
class Scripted(Segmenter):
    """A model whose scores of an object's two halves are given by the image's grey level."""

    script: dict[int, tuple[float, float]] | None = None

    def predict(self, image):
        score = np.full((SIDE, SIDE), 0.05, np.float32)
        score[UPPER], score[LOWER] = self.script[int(np.asarray(image)[0, 0, 0])]
        return type("Prediction", (), {"score": score})


def tuned(monkeypatch, folder, by_step: dict[int, dict[int, tuple[float, float]]]):
    """`tune` with trainings that go as scripted: at each step, the scores of each image."""
    trained_on = []

    def train_on(start, images, ids, config, score, label):
        trained_on.append(list(ids))
        models = {n: Scripted(None, folder.classes, script=s) for n, s in by_step.items()}
        history = [{"step": n, "loss": 1.0, "val": score(m)} for n, m in models.items()]
        best = max(history, key=lambda row: row["val"])["step"]
        return models[best], history

    monkeypatch.setattr(finetune, "train_on", train_on)
    monkeypatch.setattr(finetune, "deal", lambda *_: [["10", "20"], ["30", "40"]])
    start = Scripted(None, folder.classes, script={})
    return finetune.tune(start, folder, TrainConfig(steps=2)), trained_on


def test_the_threshold_is_not_chosen_on_the_images_that_are_measured(monkeypatch, folder):
    # One fold's objects score 0.9, the other's 0.5: a threshold fit for all finds all, but
    # what the first fold chooses finds nothing in the second.
    script = {1: {10: (0.9, 0.9), 20: (0.9, 0.9), 30: (0.5, 0.5), 40: (0.5, 0.5)}}
    result, trained_on = tuned(monkeypatch, folder, script)
    found = result.objects.set_index("image")["found"]
    assert found.to_dict() == {"10": True, "20": True, "30": False, "40": False}
    assert result.summary["miss_rate"] == 0.5
    assert result.summary["images"] == 4 and result.summary["folds"] == 2
    # What is kept may use all: it was trained on all, and its threshold suits both folds.
    assert result.segmenter.threshold == result.summary["threshold"] == 0.5
    assert trained_on == [["30", "40"], ["10", "20"], ["10", "20", "30", "40"]]


def test_the_steps_are_not_chosen_on_the_images_that_are_measured(monkeypatch, folder):
    # Step 1 ranks the first fold's pixels rightly and the second's wrongly, step 2 the reverse.
    good, bad = (0.9, 0.9), (0.01, 0.01)
    script = {
        1: {10: good, 20: good, 30: bad, 40: bad},
        2: {10: bad, 20: bad, 30: good, 40: good},
    }
    result, _ = tuned(monkeypatch, folder, script)
    # Each fold is measured at the step that suits the other one, where it ranks last.
    assert result.summary["ap"] < 0.5
    at_best = result.history.groupby("fold")["val"].max()
    assert at_best.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("missing", "found"), [(0, True), (1, False)])
def test_an_object_is_found_from_half_of_its_pixels_on(folder, missing, found):
    score = np.full((SIDE, SIDE), 0.05, np.float32)
    score[UPPER] = 0.9  # exactly half of the object
    score[0, 10 : 10 + missing] = 0.1
    start = Scripted(None, folder.classes, script={})
    objects, alarms = finetune.judge(start, folder.images(["40"]), {"40": score}, {"40": 0.9})
    assert objects["found"].tolist() == [found] and alarms == 0


def test_one_fold_is_refused(folder):
    with pytest.raises(DataError, match="folds is 1"):
        finetune.deal(folder.images(list(folder.labelled)), 1)
