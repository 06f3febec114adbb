"""What lies behind the comparison, held against counts done by hand or by another library."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from torchmetrics.classification import BinaryCalibrationError

from scrapseg import metrics
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.metrics import failures


@pytest.fixture(scope="module")
def split(tiny_scrapsim) -> ScrapSim:
    return ScrapSim(tiny_scrapsim, "test")


def test_few_shot_sizes_count_what_the_labels_show(split):
    table = failures.few_shot_sizes(split, ["all"], 0).iloc[0]
    labels = [s.label for s in split]
    assert table["images"] == len(labels)
    assert table["without impurity"] == sum(not label.any() for label in labels)
    for c in failures.IMPURITIES:
        assert table[c.slug] == sum((label == c.index).any() for label in labels)
    assert table["pieces"] == sum(len(split.meta[i]["instances"]) for i in split.ids)


def test_all_objects_are_found_by_the_truth_and_some_without_a_class(split):
    labels = np.stack([s.label for s in split])
    found = failures.found_objects(split, (labels > 0).astype(np.float32))
    assert found["found"].all() and len(found) == sum(
        len(split.meta[i]["instances"]) for i in split.ids
    )
    held = found["class"].iloc[0]
    index = next(c.index for c in failures.CLASSES if c.slug == held)
    blind = failures.found_objects(split, ((labels > 0) & (labels != index)).astype(np.float32))
    assert (blind["found"] == (blind["class"] != held)).all()


def test_found_objects_agree_with_object_recall(split):
    rng = np.random.default_rng(0)
    labels = np.stack([s.label for s in split])
    instances = np.stack([s.instances for s in split])
    scores = (labels > 0) + 0.6 * rng.normal(size=labels.shape)
    for image, objects in zip(scores, instances, strict=True):
        for k in range(1, objects.max() + 1):
            image[objects == k] += rng.normal()
    objects = failures.found_objects(split, scores)
    recall = metrics.object_recall(scores, labels > 0, instances)
    assert 0 < objects["found"].mean() < 1
    assert objects["found"].mean() == pytest.approx(recall["object_recall_1fa"])


def test_recall_by_counts_each_object_once_with_wilsons_interval():
    objects = pd.DataFrame({"pixels": [1, 99, 100, 250, 300], "found": [0, 1, 1, 0, 1]})
    table = failures.recall_by(objects.astype({"found": bool}), "pixels", (1, 100, 300, 400))
    assert list(table["objects"]) == [2, 2, 1]
    assert list(table["recall"]) == [0.5, 0.5, 1.0]
    interval = binomtest(1, 2).proportion_ci(method="wilson")
    assert (table["lo"][0], table["hi"][0]) == (interval.low, interval.high)
    whole = pd.DataFrame({"visible_fraction": [0.0, 1.0], "found": [True, False]})
    table = failures.recall_by(whole, "visible_fraction", failures.BURIAL)
    assert table["objects"].sum() == 2 and np.isnan(table["recall"][1])


def test_steel_confusion_adds_up():
    table = np.zeros((9, 9), int)
    table[1] = [30, 60, 10, 0, 0, 0, 0, 0, 0]
    table[0, 1], table[2, 1] = 20, 20
    motor = failures.steel_confusion(table).iloc[0]
    assert tuple(motor[["right", "as_steel", "as_other"]]) == (0.6, 0.3, 0.1)
    assert tuple(motor[["from_steel", "from_other"]]) == (0.2, 0.2)
    assert failures.steel_confusion(table).iloc[3, 1:].isna().all()


def test_boundary_ceiling_of_a_square():
    """10 x 10 pixels: eroded 8 x 8; dilated by a cross, four rows of ten more."""
    label = np.zeros((1, 30, 30), np.uint8)
    label[0, 10:20, 10:20] = 4
    eroded, dilated = failures.boundary_ceiling(label).itertuples()
    assert eroded.miou_impurity == pytest.approx(64 / 100)
    assert dilated.miou_impurity == pytest.approx(100 / 140)


def test_boundaries_between_impurities_stay():
    label = np.zeros((1, 8, 8), np.uint8)
    label[0, :, :4], label[0, :, 4:] = 1, 2
    assert (failures.boundary_ceiling(label)["miou"] == 1).all()


def test_reliability_is_torchmetrics_calibration_error():
    rng = np.random.default_rng(1)
    p = rng.beta(0.3, 2, (3, 20, 20)).astype(np.float32)
    masks = rng.random(p.shape) < p**1.5
    table = failures.reliability(p, masks)
    theirs = BinaryCalibrationError(n_bins=15, norm="l1")
    expected = theirs(torch.tensor(p).flatten(), torch.tensor(masks).flatten().int()).item()
    assert failures.calibration_error(table) == pytest.approx(expected, abs=1e-6)
    assert table["pixels"].sum() == p.size
    some = table[table["from"] >= 0.2 - 1e-9]
    by_hand = (some["pixels"] * (some["probability"] - some["frequency"]).abs()).sum()
    found = failures.calibration_error(table, over=0.2)
    assert found == pytest.approx(by_hand / some["pixels"].sum())


def test_a_distance_is_no_probability():
    with pytest.raises(ValueError, match="not probabilities"):
        failures.reliability(np.array([[[0.1, 3.0]]]), np.zeros((1, 1, 2), bool))


def test_worst_images_come_first_and_say_why():
    labels = np.zeros((4, 10, 10), np.uint8)
    labels[1, :5], labels[2, 0] = 2, 2
    predictions = np.zeros_like(labels)
    predictions[2, 0], predictions[3, 0, 0] = 3, 1
    table = failures.worst_images(predictions, labels, 3)
    assert list(table["index"]) == [1, 2, 3]
    np.testing.assert_allclose(
        table[["wrong", "missed", "invented", "misnamed"]],
        [[0.5, 0.5, 0, 0], [0.1, 0, 0, 0.1], [0.01, 0, 0.01, 0]],
        atol=1e-12,
    )
