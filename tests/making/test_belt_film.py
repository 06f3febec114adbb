"""The film of a belt, and how events are laid to its true objects."""

from __future__ import annotations

import resource

import numpy as np

from making.belt_film import Belt, TrueMasks, matched, measure
from scrapseg.data.base import Sample
from scrapseg.models.segmenter import Segmenter


def drawn(enlarged: int = 1) -> Belt:
    label = np.zeros((32, 32), np.uint8)
    label[2:12, 2:12], label[20:30, 18:28] = 1, 2
    instances = np.where(label == 1, 1, np.where(label == 2, 2, 0))
    sample = Sample("x", np.zeros((32, 32, 3), np.uint8), label, instances, 0, {})
    return Belt.of([sample, sample], step=8, enlarged=enlarged)


def test_objects_of_two_images_stay_apart_and_the_window_moves():
    belt = drawn()
    assert [(v.start, v.stop) for v in belt.views()][:2] == [(0, 32), (8, 40)]
    truth = belt.truth()
    assert truth["number"].tolist() == [1, 2, 3, 4] and truth["class"].tolist() == [1, 2, 1, 2]
    assert truth["box"][2] == (34, 2, 44, 12) and (truth["pixels"] == 100).all()


def test_a_larger_belt_shows_the_same_objects_from_the_same_places():
    small, large = drawn(), drawn(enlarged=3)
    assert large.image.shape == (96, 192, 3) and large.step == 24
    views = ([(v.start, v.stop) for v in b.views()] for b in (small, large))
    assert [(3 * a, 3 * b) for a, b in next(views)] == next(views)
    one, other = small.truth(), large.truth()
    assert (other["pixels"] == 9 * one["pixels"]).all()
    assert [tuple(3 * v for v in box) for box in one["box"]] == other["box"].tolist()


def test_events_are_laid_to_what_they_lie_on():
    events = [
        {"frame": 0, "box": (2, 2, 12, 12), "class": "a"},
        {"frame": 1, "box": (26, 2, 36, 12), "class": "b"},  # the third object, misnamed
        {"frame": 2, "box": (18, 2, 28, 12), "class": "a"},  # and again
        {"frame": 0, "box": (2, 20, 12, 30), "class": "a"},  # nothing is there
    ]
    table = matched(drawn(), events, ["steel", "a", "b"])
    assert table["count"].tolist() == [1, 0, 2, 0] and table["right"].tolist() == [1, 0, 1, 0]
    assert table.attrs["false"] == 1


def test_a_belt_is_measured_with_the_memory_that_it_takes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    label = np.zeros((64, 64), np.uint8)
    label[20:40, 20:40] = 1
    belt = Belt.of([Sample("x", noise, label, label.astype(int), 0, {})] * 3, step=16)
    found = measure(belt, TrueMasks(belt, Segmenter(model=None)))
    assert found["objects"] == 3 and found["frames"] == len(list(belt.views()))
    here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000  # of the whole process, kB
    assert 0.2 * here < found["peak_mb"] < 1.1 * here
