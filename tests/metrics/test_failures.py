"""What lies behind the comparison, held against counts done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from scrapseg import metrics
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.metrics import failures


@pytest.fixture(scope="module")
def split(tiny_scrapsim) -> ScrapSim:
    return ScrapSim(tiny_scrapsim, "test")


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
