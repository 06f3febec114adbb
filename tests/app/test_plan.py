"""What is decided for a folder of own images, before anything is made."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scrapseg.app.finetune import at_recall
from scrapseg.app.plan import plan, seconds
from scrapseg.data.base import DataError
from scrapseg.data.classes import CLASSES
from scrapseg.data.folder import OwnFolder, open_folder
from scrapseg.models.segmenter import Segmenter, SegmenterError

SIDE = 64


@dataclass(frozen=True)
class Quick(Segmenter):
    """A model that looks at an image in no time."""

    def predict(self, image):
        return None


START = Quick(None, list(CLASSES))


def folder_of(
    root: Path, images: int = 6, labels: int = 0, object_side: int = 20, classes: str = ""
) -> OwnFolder:
    """Images of which some have a mask with one object."""
    (root / "masks").mkdir(parents=True)
    label = np.zeros((SIDE, SIDE), np.uint8)
    label[10 : 10 + object_side, 10 : 10 + object_side] = 1
    for k in range(images):
        Image.fromarray(np.full((SIDE, SIDE, 3), 40 * k, np.uint8)).save(root / f"{k}.png")
        if k < labels:
            Image.fromarray(label).save(root / "masks" / f"{k}.png")
    if classes:
        (root / "classes.yaml").write_text(classes)
    return open_folder(root, default=START.classes)


def test_without_labels_all_minutes_of_learning_are_adaptation(tmp_path):
    planned = plan(folder_of(tmp_path), START, minutes=5)
    assert planned.train == 0 and 4 < planned.adapt <= 4.4
    text = " ".join(planned.notes)
    assert "6 images to show mostly steel" in text and "ADAPT=no" in text
    assert "nothing is measured" in text and "About 5.0 minutes" in text


def test_with_labels_the_others_are_learned_from_beside_them(tmp_path):
    planned = plan(folder_of(tmp_path, labels=4), START, minutes=5)
    alone = plan(folder_of(tmp_path / "b", labels=4), START, minutes=5, adapt=False)
    assert planned.adapt == alone.adapt == 0
    assert planned.train == pytest.approx(alone.train, abs=0.1) and 3 < alone.train < 5
    assert planned.steel == ["4", "5"] and alone.steel == []
    assert "without labels, up to 2 of 2, are taken to show mostly steel" in " ".join(planned.notes)
    assert "raised until those without are quiet" in " ".join(planned.notes)
    by_hand = plan(folder_of(tmp_path / "d", labels=4), START, threshold=0.7)
    assert by_hand.steel and "quiet" not in " ".join(by_hand.notes)
    large = plan(folder_of(tmp_path / "e", labels=4), replace(START, side=4000))
    assert large.steel == [] and large.train > 0
    assert "mostly" not in " ".join(alone.notes)
    assert "No adaptation to the images: ADAPT=no." in alone.notes
    everything = plan(folder_of(tmp_path / "c", labels=6), START, minutes=5)
    assert everything.steel == [] and "mostly" not in " ".join(everything.notes)


def test_many_images_leave_learning_its_half_and_the_time_says_so(tmp_path, monkeypatch):
    clock = itertools.count(0.0, 40.0)  # a minute an image, with what is written
    monkeypatch.setattr("scrapseg.app.plan.time.perf_counter", lambda: next(clock))
    planned = plan(folder_of(tmp_path), START, minutes=4)
    assert planned.adapt == 2
    assert "About 17.6 minutes" in planned.notes[-1]  # 6 images, all compared, 2 and the rest
    alone = plan(folder_of(tmp_path / "b"), START, minutes=4, adapt=False)
    assert "About 6.6 minutes" in alone.notes[-1] and not alone.compared


def test_an_image_that_is_held_up_does_not_spoil_the_estimate(tmp_path, monkeypatch):
    clock = iter([0.0, 3.0, 3.4, 9.4, 9.8])  # 0.4 seconds an image but for the first and the third
    monkeypatch.setattr("scrapseg.app.plan.time.perf_counter", lambda: next(clock))
    assert seconds(START, folder_of(tmp_path)) == pytest.approx(0.4)


def test_what_an_interrupted_run_has_done_is_not_planned_again(tmp_path):
    folder, made = folder_of(tmp_path / "mine", images=6), tmp_path / "out"
    (made / "model").mkdir(parents=True)
    (made / "records").mkdir()
    whole = plan(folder, START, made=made)
    assert "left" not in " ".join(whole.notes) and "About 5.0 minutes" in whole.notes[-1]
    (made / "model/model.yaml").touch()  # it is written when all is learned
    for k in range(4):
        (made / f"records/{k}.json").touch()
    resumed = plan(folder, START, made=made)
    assert "learning is done" in resumed.notes[-2] and "2 of 6 images" in resumed.notes[-2]
    assert "About 0.6 minutes" in resumed.notes[-1] and resumed.adapt > 0
    unlearned = plan(folder, START, made=made, adapt=False)
    assert "learning" not in unlearned.notes[-2] and "2 of 6 images" in unlearned.notes[-2]


@pytest.mark.parametrize(
    ("labels", "side", "said"),
    [(2, 20, "2 labelled images, 2 of them with an impurity"), (6, 4, "6 labelled images, 0 of")],
)
def test_too_few_labels_are_said_and_the_images_taken_as_without(tmp_path, labels, side, said):
    planned = plan(folder_of(tmp_path, labels=labels, object_side=side), START)
    assert said in planned.notes[0] and "at least 4" in planned.notes[0]
    assert planned.train == 0 and planned.adapt > 0


def test_what_is_not_mostly_steel_is_not_taken_for_it(tmp_path):
    belt = folder_of(tmp_path, classes="belt: {words: [environment, conveyor belt]}\ncopper:\n")
    planned = plan(belt, START)
    assert planned.adapt == 0 and "the normal class, belt, is not steel" in planned.notes[1]
    assert plan(belt, START, adapt=True).adapt > 0
    told = plan(folder_of(tmp_path / "b", labels=4, classes="belt:\ncopper:\n"), START)
    assert told.train > 0 and told.steel == []


def test_a_model_of_ones_own_is_used_as_it_is(tmp_path):
    folder = folder_of(tmp_path)
    planned = plan(folder, START, own=True)
    assert planned.adapt == planned.train == 0
    assert plan(folder, START, own=True, adapt=True).adapt > 0
    told = plan(folder_of(tmp_path / "b", labels=4), START, own=True)
    assert told.train > 0 and told.steel == ["4", "5"]


def test_class_lists_that_do_not_fit(tmp_path):
    own = replace(START, classes=CLASSES[:3])
    with pytest.raises(SegmenterError, match="knows steel, motor, cable, the class list names"):
        plan(folder_of(tmp_path, classes="steel:\ncable:\nmotor:\n"), own, own=True)
    longer = folder_of(tmp_path / "b", classes="steel:\nmotor:\ncable:\nbattery:\n", labels=4)
    assert plan(longer, own, own=True).train > 0


def test_a_threshold_that_was_chosen_for_other_classes_is_not_announced(tmp_path):
    own = replace(START, threshold=0.866)
    more = [*own.classes, replace(own.classes[1], slug="battery", name="battery")]
    alone = {"adapt": False, "own": True}
    known, added = (replace(folder_of(tmp_path / k), classes=c) for k, c in
                    (("a", own.classes), ("b", more)))  # fmt: skip
    for folder in (known, added):
        assert "Threshold: the model's own, 0.866." in plan(folder, own, **alone).notes
    others = folder_of(tmp_path / "c", classes="tile:\nblowhole:\n")
    said = "Threshold: 0.5, since the model's own, 0.866, is of other classes."
    assert said in plan(others, own).notes


def test_a_model_brings_its_classes_where_the_folder_names_none(tmp_path):
    folder_of(tmp_path, labels=1)
    assert len(open_folder(tmp_path, default=CLASSES[:3]).classes) == 3


def test_recall_takes_labels_and_no_threshold_beside_it(tmp_path):
    with pytest.raises(DataError, match=r"RECALL=0.9 takes labels\. No labels"):
        plan(folder_of(tmp_path), START, recall=0.9)
    without = plan(folder_of(tmp_path / "a"), START, adapt=False).notes
    assert any("rendered scrap alone" in note for note in without)
    assert not any(
        "rendered scrap alone" in n for n in plan(folder_of(tmp_path / "c"), START).notes
    )
    labelled = folder_of(tmp_path / "b", labels=4)
    with pytest.raises(DataError, match="takes no THRESHOLD beside it"):
        plan(labelled, START, recall=0.9, threshold=0.5)
    assert "finds 90 % of labelled objects" in " ".join(plan(labelled, START, recall=0.9).notes)
    by_hand = plan(labelled, START, threshold=0.25)
    assert by_hand.threshold_of(None, None) == 0.25 and "0.25, set by hand" in by_hand.notes[2]


@pytest.mark.parametrize("recall", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_the_threshold_of_a_recall_is_the_highest_that_reaches_it(tmp_path, recall):
    folder = folder_of(tmp_path, labels=6)
    images = folder.images(list(folder.labelled))
    rng = np.random.default_rng(0)
    scores = {id: rng.random((SIDE, SIDE), np.float32) * rng.random() for id in images.ids}
    inside = np.s_[10:30, 10:30]

    def share(threshold: float) -> float:
        return np.mean([(s[inside] >= threshold).mean() >= 0.5 for s in scores.values()])

    threshold = at_recall(images, scores, recall)
    assert share(threshold) >= recall
    assert share(np.nextafter(np.float32(threshold), np.float32(1))) < max(recall, 1 / 6)
