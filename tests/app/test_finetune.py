"""What is said of a model fitted to own images: no image is measured by what was chosen on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score

from scrapseg.app import finetune
from scrapseg.app.judge import judge
from scrapseg.data.base import DataError
from scrapseg.data.classes import SLUGS
from scrapseg.data.folder import OwnFolder, open_folder
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.build import build
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
    clock: Callable[[float], None] = lambda _: None

    def predict(self, image):
        self.clock(LOOK_S)
        score = np.full((SIDE, SIDE), 0.05, np.float32)
        score[UPPER], score[LOWER] = self.script[int(np.asarray(image)[0, 0, 0])]
        return type("Prediction", (), {"score": score, "impurity": np.ones_like(score, np.uint8)})


GOOD, BAD = (0.9, 0.9), (0.01, 0.01)
STEP_S, LOOK_S = 2.0, 0.5


@dataclass
class Training:
    """Trainings that go as scripted, and take `STEP_S` a step by a clock of their own.

    Attributes:
        by_step: at each share of a training's steps, the scores of each image, by start if they
            differ. calls: ids, steps, and start of each. beside: the photographs each was given.
        last: scores after a training on all images, if others.
    """

    folder: OwnFolder
    by_step: dict[float, dict]
    calls: list = field(default_factory=list)
    beside: list = field(default_factory=list)
    seconds: float = 0.0
    last: ClassVar[dict | None] = None

    def wait(self, seconds: float) -> None:
        self.seconds += seconds

    def start(self, name: str, script=None) -> Scripted:
        script = script or dict.fromkeys((10, 20, 30, 40), BAD)
        model = torch.nn.Linear(1, 1)
        return Scripted(model, self.folder.classes, origin=name, script=script, clock=self.wait)

    def train_on(self, start, images, ids, config, score, label, normal):
        self.beside.append(normal)
        self.wait(STEP_S * config.steps)
        self.calls.append((list(ids), config.steps, start.origin))
        models, history = [], []
        looks = list(self.by_step.items())
        if self.last and len(ids) == 4:
            looks = [(1.0, self.last)]
        for share, script in looks if config.evals > 1 else looks[-1:]:
            models.append(self.start(start.origin, script.get(start.origin, script)))
            row = {"step": round(share * config.steps), "loss": 1.0, "val": score(models[-1])}
            history.append(row)
        best = max(range(len(history)), key=lambda k: history[k]["val"])
        return models[best], history


def tuned(
    monkeypatch,
    folder,
    by_step,
    starts=("only",),
    minutes=10.0,
    given=None,
    held=lambda start: start,
    **options,
):
    """`tune` with trainings that go as scripted, from starts that find nothing or those given.

    Args:
        held: what a start is before it is trained.
    """
    training = Training(folder, by_step)
    monkeypatch.setattr(finetune, "train_on", training.train_on)
    monkeypatch.setattr(finetune, "held_back", held)
    monkeypatch.setattr(finetune, "deal", lambda *_: [["10", "20"], ["30", "40"]])
    given = given or {name: training.start(name) for name in starts}
    return finetune.tune(
        given, folder, TrainConfig(), minutes=minutes, now=lambda: training.seconds, **options
    ), training


def test_the_threshold_is_not_chosen_on_the_images_that_are_measured(monkeypatch, folder):
    # One fold's objects score 0.9, the other's 0.3: a threshold fit for all finds all, but
    # what the first fold chooses finds nothing in the second.
    low = (0.3, 0.3)
    result, training = tuned(monkeypatch, folder, {1.0: {10: GOOD, 20: GOOD, 30: low, 40: low}})
    found = result.objects.set_index("image")["found"]
    assert found.to_dict() == {"10": True, "20": True, "30": False, "40": False}
    assert result.summary["miss_rate"] == 0.5
    assert result.summary["images"] == 4 and result.summary["folds"] == 2
    # What is kept may use all: it was trained on all, and its threshold suits both folds.
    assert 0.05 < result.segmenter.threshold == result.summary["threshold"] <= 0.3
    ids = [c[0] for c in training.calls if c[1] > 10]
    assert ids == [["30", "40"], ["10", "20"], ["10", "20", "30", "40"]]
    # Four images promise a fifth if none is missed, a half if one is: the low two are told apart
    # by no threshold, so both take one that finds all.
    promise = result.segmenter.promises["objects"]
    assert promise["scenes"] == 4 and min(promise["thresholds"]) == 0.2
    assert all(0.25 < threshold <= 0.3 for threshold in promise["thresholds"].values())


def test_the_stop_is_not_chosen_on_the_images_that_are_measured(monkeypatch, folder):
    # Half-way the first fold's pixels are ranked rightly and the second's wrongly, later the
    # reverse.
    script = {
        0.5: {10: GOOD, 20: GOOD, 30: BAD, 40: BAD},
        1.0: {10: BAD, 20: BAD, 30: GOOD, 40: GOOD},
    }
    result, _ = tuned(monkeypatch, folder, script)
    # Each fold is measured at the stop that suits the other one, where nothing of it is found.
    assert result.summary["found"] == 0
    at_best = result.history.groupby("fold")["val"].max()
    assert at_best.tolist() == [1.0, 1.0]


def test_the_start_is_not_chosen_on_the_images_that_are_measured(monkeypatch, folder):
    # One start does well on the first fold, the other on the second, and there better.
    script = {
        "a": {10: GOOD, 20: (0.9, 0.01), 30: BAD, 40: BAD},
        "b": {10: BAD, 20: BAD, 30: GOOD, 40: GOOD},
    }
    result, training = tuned(monkeypatch, folder, {1.0: script}, starts=("a", "b"))
    *_, first, second, kept = training.calls
    assert (first[0], first[2]) == (["30", "40"], "b") and second[2] == "a" and kept[2] == "b"
    assert result.summary["found"] == 0 and "from b" in result.segmenter.origin


HALF = (0.9, 0.01)


@pytest.mark.parametrize(
    ("starts", "from_", "chosen_on"),
    [
        # One start for both folds; the second's where the folds differ; a third, which none has.
        ({"a": [GOOD, HALF, GOOD, HALF]}, "a", [10, 20, 30, 40]),
        ({"a": [GOOD, HALF, BAD, BAD], "b": [BAD, BAD, GOOD, GOOD]}, "b", [10, 20]),
        (
            {"a": [GOOD, HALF, BAD, BAD], "b": [BAD, BAD, GOOD, HALF], "c": [HALF] * 4},
            "c",
            [10, 20, 30, 40],
        ),
    ],
)
def test_the_kept_threshold_is_chosen_on_predictions_of_the_kept_start(
    monkeypatch, folder, starts, from_, chosen_on
):
    script = {n: dict(zip((10, 20, 30, 40), s, strict=True)) for n, s in starts.items()}
    asked = []

    def threshold_of(images, scores):
        asked.append(sorted(map(int, scores)))
        return 0.5

    _, training = tuned(
        monkeypatch, folder, {1.0: script}, tuple(starts), threshold_of=threshold_of, minutes=30
    )
    assert training.calls[-1][2] == from_
    # Each fold by the other, what is kept, and what that says of all that it was trained on.
    assert asked == [[30, 40], [10, 20], chosen_on, [10, 20, 30, 40]]


def test_a_fold_is_measured_with_what_others_of_its_start_chose(folder):
    maps = [{5: {id: (np.zeros((SIDE, SIDE)), np.ones((SIDE, SIDE), np.uint8))}} for id in "abc"]
    images = folder.images(["10"])
    images.sample = lambda id: folder.images(["10"]).sample("10")
    asked = []
    rule = lambda _, scores: asked.append(sorted(scores)) or 0.5  # noqa: E731
    finetune.Folds(images, maps, ["x", "y", "x"], rule).measured()
    assert asked == [["c"], ["a", "c"], ["a"]]


def test_a_kept_model_that_is_less_sure_than_the_folds_gets_a_lower_threshold(monkeypatch, folder):
    """It finds as much of what it was trained on as the folds' models did of what was new."""

    def kept(*scores, **options):
        """What comes of a last training after which the four objects have these scores."""
        last = dict(zip((10, 20, 30, 40), [(p, p) for p in scores], strict=True))
        monkeypatch.setattr(Training, "last", last)
        return tuned(monkeypatch, folder, {1.0: folds}, **options)[0]

    folds = dict.fromkeys((10, 20, 30, 40), GOOD)
    sound = kept(0.9, 0.9, 0.9, 0.9)
    assert sound.summary["own_found"] == sound.summary["own_objects"] == 4
    assert sound.summary["threshold"] == sound.summary["folds_threshold"] == 0.5
    assert finetune.doubt(sound.summary) == "" and sound.segmenter.promises["objects"]
    lower = kept(0.4, 0.4, 0.35, 0.3)
    assert lower.summary["folds_threshold"] == 0.5 and lower.summary["miss_rate"] == 0
    assert lower.segmenter.threshold == lower.summary["threshold"] == pytest.approx(0.3)
    said = finetune.in_words(lower.summary)
    assert "with its threshold lowered from 0.500, it finds 4 of 4" in said
    assert not lower.segmenter.promises  # the folds' models were surer
    # One odd object does not make everything an impurity.
    odd = kept(0.9, 0.9, 0.9, 0.01)
    assert odd.summary["threshold"] == finetune.THRESHOLDS[0]
    assert "it finds 3 of 4 objects" in finetune.doubt(odd.summary)
    # One that was set by hand stays, and what it misses is told.
    by_hand = kept(0.9, 0.5, 0.5, 0.5, threshold_of=lambda *_: 0.6)
    assert by_hand.summary["threshold"] == 0.6
    assert "new to them: it finds 1 of 4 objects" in finetune.doubt(by_hand.summary)
    # Of four objects the folds find three, and so does it; where they find none, nothing is lower.
    folds = folds | {40: BAD}
    assert kept(0.4, 0.35, 0.3, 0.29).summary["threshold"] == pytest.approx(0.3)
    folds = dict.fromkeys((10, 20, 30, 40), (0.02, 0.02))
    none = kept(0.4, 0.4, 0.4, 0.4)
    assert none.summary["found"] == 0
    assert none.summary["threshold"] == none.summary["folds_threshold"]
    # What an older run left has fewer numbers.
    older = {k: v for k, v in sound.summary.items() if k != "folds_threshold"}
    assert finetune.in_words(older) == finetune.in_words(sound.summary)


def test_a_model_that_learning_makes_worse_stays_as_it_is(monkeypatch, folder):
    """One that was good before a step was taken, as the one that comes along is on its own kind."""
    bad = {1.0: dict.fromkeys((10, 20, 30, 40), BAD)}
    training = Training(folder, bad)
    for scores, steps in ((GOOD, 0), ((0.01, 0.01), None)):
        start = training.start("known", dict.fromkeys((10, 20, 30, 40), scores))
        result, _ = tuned(monkeypatch, folder, bad, given={"known": start})
        stayed = result.summary["step"] == 0
        assert stayed == (steps == 0) and result.history["step"].min() == 0
        assert ("stays as it was" in finetune.in_words(result.summary)) == stayed
        assert result.segmenter.origin.startswith("kept as it was with 4") == stayed
        if stayed:
            assert result.segmenter.script == start.script and result.summary["found"] == 4
    # What is kept is what was given, not what is made ready to be trained, which forgets novelty.
    start, ready = (
        training.start("known", dict.fromkeys((10, 20, 30, 40), s)) for s in (GOOD, BAD)
    )
    result, _ = tuned(monkeypatch, folder, bad, given={"known": start}, held=lambda _: ready)
    assert result.segmenter.script == start.script and result.summary["found"] == 4


def test_a_race_is_not_won_by_what_few_steps_have_spoilt_least(monkeypatch, folder):
    """A start counts as it is, too; and of a race of a step or two nothing is concluded."""
    ids = (10, 20, 30, 40)
    script = {1.0: {"first": dict.fromkeys(ids, BAD), "second": dict.fromkeys(ids, HALF)}}
    training = Training(folder, script)
    given = {
        "first": training.start("first", dict.fromkeys(ids, GOOD)),
        "second": training.start("second"),
    }
    result, raced = tuned(monkeypatch, folder, script, given=given)
    assert "from first" in result.segmenter.origin and result.summary["step"] == 0
    given["first"] = training.start("first")
    result, raced = tuned(monkeypatch, folder, script, given=given)
    assert "from second" in result.segmenter.origin
    assert len(raced.calls) == 2 + 2 * 2 + 2 + 1  # two are to time a step
    result, short = tuned(monkeypatch, folder, script, minutes=1.0, given=given)
    assert (
        "from first" in result.segmenter.origin and len(short.calls) == 2 + 2 + 1
    )  # two time a step


def test_photographs_of_steel_are_learned_from_and_raise_the_threshold(monkeypatch, folder):
    """Folds are measured with the threshold that the photographs ask for, one by hand stands."""
    steel = [np.full((SIDE, SIDE, 3), 50 + k, np.uint8) for k in range(50)]
    labels = [torch.zeros(SIDE, SIDE)] * len(steel)
    asked = []

    def quiet(kept, photos, lowest, highest):
        asked.append((kept.mirrored, len(photos), lowest, highest))
        return 0.8

    monkeypatch.setattr(finetune, "photo_labels", lambda *_: labels)
    monkeypatch.setattr(finetune, "quiet_threshold", quiet)
    script = {1.0: {10: GOOD, 20: GOOD, 30: (0.7, 0.7), 40: GOOD}}
    result, training = tuned(monkeypatch, folder, script, steel=steel)
    assert asked == [(True, 40, 0.5, 1.0)]
    assert result.segmenter.threshold == result.summary["threshold"] == 0.8
    found = result.objects.set_index("image")["found"]
    assert found.to_dict() == {"10": True, "20": True, "30": False, "40": True}
    assert all(len(photos) == 50 and given is labels for photos, given in training.beside)
    # Where they are quiet at once, each fold keeps the threshold that the other one chose.
    low = {1.0: {10: GOOD, 20: GOOD, 30: (0.3, 0.3), 40: (0.3, 0.3)}}
    monkeypatch.setattr(finetune, "quiet_threshold", lambda _, __, lowest, ___: lowest)
    still, _ = tuned(monkeypatch, folder, low, steel=steel)
    without, _ = tuned(monkeypatch, folder, low)
    assert still.objects.equals(without.objects) and still.summary["miss_rate"] == 0.5
    # And it does not rise so far that fewer than half of the labelled objects would be found.
    monkeypatch.setattr(finetune, "quiet_threshold", lambda *_: 0.99)
    unlike = {1.0: {10: (0.95, 0.95), 20: GOOD, 30: (0.7, 0.7), 40: (0.6, 0.6)}}
    loud, _ = tuned(monkeypatch, folder, unlike, steel=steel)
    assert loud.summary["threshold"] == pytest.approx(0.9)
    monkeypatch.setattr(finetune, "quiet_threshold", quiet)
    by_hand = {"threshold_of": lambda *_: 0.6}
    result, _ = tuned(monkeypatch, folder, script, steel=steel, **by_hand)
    assert result.summary["threshold"] == 0.6 and len(asked) == 1


class WithWords(torch.nn.Module):
    """Nothing but class vectors."""

    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, classes):
        super().__init__()
        self.set_classes(torch.eye(classes))

    def set_classes(self, text):
        self.text = text


def test_words_of_a_class_that_no_image_shows_take_no_part(monkeypatch, tiny_scrapsim):
    images, cable = ScrapSim(tiny_scrapsim, "train"), SLUGS.index("cable")
    images.ids = ids = [i for i in images.ids if not (images.sample(i).label == cable).any()]
    shown = np.unique([images.sample(i).label for i in ids]).astype(int)
    assert cable not in shown and shown.max() > cable
    whole, masks = torch.eye(len(SLUGS)), []

    def fit(model, data, weights, val, config, **_):
        assert torch.equal(model.text, whole[shown])
        assert val(model) == 1.0 and torch.equal(model.text, whole[shown])
        masks.extend(data[k][1] for k in range(len(data)))
        return []

    def score(segmenter):  # what is looked at has all classes
        return float(torch.equal(segmenter.model.text, whole))

    monkeypatch.setattr(finetune, "fit", fit)
    plain = lambda image, mask: (image, torch.as_tensor(mask).long())  # noqa: E731
    monkeypatch.setattr(finetune, "train_transform", lambda *_: plain)
    start, config = Segmenter(WithWords(len(SLUGS))), TrainConfig(paste=0)
    kept, _ = finetune.train_on(start, images, ids, config, score, "")
    assert torch.equal(kept.model.text, whole)
    for mask, id in zip(masks, ids, strict=True):
        assert np.array_equal(shown[mask.numpy()], images.sample(id).label)
    # Words in another script mean nothing to the text tower: that class is learned to be absent.
    foreign = [replace(c, words=("кабель",)) if c.slug == "cable" else c for c in images.classes]
    monkeypatch.setattr(finetune, "fit", lambda model, *_, **__: masks.append(model.text) or [])
    images.classes = foreign
    finetune.train_on(start, images, ids, config, score, "")
    assert torch.equal(masks[-1], whole[sorted({*shown, cable})])


def test_a_model_trained_on_few_classes_has_the_words_of_all(tiny_scrapsim):
    images, scores = ScrapSim(tiny_scrapsim, "train"), []
    images.ids = ids = [i for i in images.ids if not (images.sample(i).label == 2).any()]
    start, config = Segmenter(build("scrapseg", 0)), TrainConfig(steps=2, batch_size=2, crop=64)

    def score(segmenter):
        scores.append(segmenter.predict(images.sample(ids[0]).image).score)
        return float(len(scores))

    kept, history = finetune.train_on(start, images, ids, config, score, "few")
    assert len(scores) == 2 and history[-1]["val"] == 2.0
    assert torch.equal(kept.model.text, start.model.text)
    again = kept.predict(images.sample(ids[0]).image).score
    assert np.allclose(again, scores[-1], atol=1e-5)  # of the look that is kept, all classes there


def test_half_of_what_is_learned_from_are_photographs_with_labelled_pieces_on_them(
    monkeypatch, folder
):
    seen = []
    monkeypatch.setattr(finetune, "fit", lambda _, *given, **__: seen.extend(given[:2]) or [])
    images = folder.images(list(folder.labelled))
    start, config = Segmenter(WithWords(2), folder.classes), TrainConfig(crop=32)
    steel = [np.full((SIDE, SIDE, 3), 100, np.uint8)] * 6
    normal = steel, [torch.zeros(SIDE, SIDE, dtype=torch.uint8)] * 6
    finetune.train_on(start, images, ["10", "20"], config, lambda _: 0.0, "", normal)
    data, weights = seen
    assert len(data) == len(weights) == 8
    assert weights[:2].sum() == pytest.approx(0.5) and weights[2:].sum() == pytest.approx(0.5)
    torch.manual_seed(0)
    laid = [set(data[2 + k % 6][1].unique().tolist()) for k in range(30)]
    assert {0, 1} in laid and {0} in laid
    # Of impurities too small to be cut out nothing is laid on them.
    monkeypatch.setattr(finetune, "cutouts", lambda *_: [])
    finetune.train_on(start, images, ["10", "20"], config, lambda _: 0.0, "", normal)
    assert (seen[2][5][1] == 0).all()


def test_the_stop_that_the_folds_choose_is_kept_to(monkeypatch, folder):
    good, bad = (dict.fromkeys((10, 20, 30, 40), s) for s in (GOOD, BAD))
    whole, _ = tuned(monkeypatch, folder, {0.5: bad, 1.0: good})
    half, _ = tuned(monkeypatch, folder, {0.5: good, 1.0: bad})
    assert half.summary["step"] == pytest.approx(whole.summary["step"] / 2, rel=0.05)


@pytest.mark.parametrize("starts", [("a",), ("a", "b", "c", "d")])
@pytest.mark.parametrize("minutes", [5.0, 20.0])
def test_it_takes_the_minutes_given_and_most_of_them_for_what_is_kept(
    monkeypatch, folder, starts, minutes
):
    script = {0.5: dict.fromkeys((10, 20, 30, 40), GOOD)}
    script[1.0] = script[0.5]
    result, training = tuned(monkeypatch, folder, {1.0: script[0.5]}, starts, minutes)
    assert 0.9 * 60 * minutes < training.seconds <= 60 * minutes
    assert training.calls[-1][1] == result.summary["step"] > 0.5 * 60 * minutes / STEP_S


def test_of_many_labelled_images_as_many_are_looked_at_as_there_is_time_for(folder):
    images = folder.images(list(folder.labelled))
    clean = [f"clean {k}" for k in range(30)]
    images.meta |= {id: {"instances": []} for id in clean}
    few = finetune.spread(images, [*clean, *images.ids], 8)
    assert len(few) <= 8 and few[0] in images.ids and sum(i in clean for i in few) >= 5
    assert sorted(finetune.spread(images, images.ids, 4)) == sorted(images.ids)
    clock = finetune.Clock(1.0, lambda: 0.0)
    clock.step_s, clock.image_s = 1.0, 1.0
    assert clock.steps(0.5, images=100) == (15, 15)  # half a minute: half of it for the images
    assert clock.steps(0.5, images=5) == (25, 15)


def test_class_iou_is_that_of_the_label_at_each_threshold(folder):
    rng = np.random.default_rng(0)
    images = folder.images(list(folder.labelled))
    truth = {id: rng.choice([0, 1, 2, 3, 255], (SIDE, SIDE)).astype(np.uint8) for id in images.ids}
    images.sample = lambda id: type("Sample", (), {"label": truth[id]})
    maps = {
        id: (rng.random((SIDE, SIDE), np.float32), rng.integers(1, 4, (SIDE, SIDE), np.uint8))
        for id in images.ids
    }
    got = finetune.class_iou(images, maps)
    known = np.stack(list(truth.values())) != 255
    y = np.stack(list(truth.values()))[known]
    for threshold, value in zip(finetune.THRESHOLDS, got, strict=True):
        said = np.stack([np.where(s >= threshold, c, 0) for s, c in maps.values()])[known]
        assert value == pytest.approx(jaccard_score(y, said, average="macro"))


@pytest.mark.parametrize(("missing", "found"), [(0, True), (1, False)])
def test_an_object_is_found_from_half_of_its_pixels_on(folder, missing, found):
    score = np.full((SIDE, SIDE), 0.05, np.float32)
    score[UPPER] = 0.9  # exactly half of the object
    score[0, 10 : 10 + missing] = 0.1
    start = Scripted(None, folder.classes, script={})
    objects, alarms = judge(start, folder.images(["40"]), {"40": score}, {"40": 0.9})
    assert objects["found"].tolist() == [found] and alarms == 0


def test_one_fold_is_refused(folder):
    with pytest.raises(DataError, match="folds is 1"):
        finetune.deal(folder.images(list(folder.labelled)), 1)
