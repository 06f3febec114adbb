"""What is tried for small objects: a finer stage, a closer look, drawing by size."""

from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torchvision import tv_tensors

from making.studies import small_things
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.data.shots import balanced_weights
from scrapseg.experiments.build import build
from scrapseg.experiments.fit import train
from scrapseg.experiments.methods import rates
from scrapseg.experiments.splits import Splits, label_stack
from scrapseg.files import REPOSITORY
from scrapseg.train.augment import ImpurityCrop
from scrapseg.train.loop import TrainConfig

SIZES = ("small", "medium", "large")


def test_a_finer_stage_has_a_way_of_its_own_and_else_what_was_aligned():
    plain = build("scrapseg", 3).state_dict()
    with small_things.finer_stage():
        model = build("scrapseg", 3)
    after = build("scrapseg", 3).state_dict()
    assert all(torch.equal(v, after[k]) for k, v in plain.items())
    finer = model.state_dict()
    assert model.encoder.channels[0] == 16 and len(model.encoder.channels) == 5
    for k in range(4):
        for part in ("pyramid.lateral.{}.0.weight", "pyramid.smooth.{}.0.weight"):
            assert torch.equal(finer[part.format(k + 1)], plain[part.format(k)])
        assert torch.equal(finer[f"projections.{k + 1}.weight"], plain[f"projections.{k}.weight"])
    assert torch.equal(finer["projections.0.weight"], plain["projections.0.weight"])
    for k, v in plain.items():
        if k.startswith("encoder.") or k in ("text", "normal_bias", "log_scale"):
            assert torch.equal(v, finer[k])
    with torch.inference_mode():
        maps, _ = model.eval().stage_similarities(torch.zeros(1, 3, 64, 64))
    assert [m.shape[-1] for m in maps] == [32, 16, 8, 4, 2]


def test_each_class_and_size_is_drawn_equally_often():
    data = ScrapSim(REPOSITORY / "data/scrapsim", "train", limit=40)
    weights = small_things.weights_by_size(data, data.ids)
    assert weights.sum() == pytest.approx(1) and (weights > 0).all()
    held = []
    for i in data.ids:  # by the masks, not by the records
        of = data.sample(i).instances
        kinds = {x["id"]: x["class"] for x in data.meta[i]["instances"]}
        areas = [(kinds[n], int((of == n).sum())) for n in np.unique(of[of > 0])]
        held.append({(c, SIZES[(n >= 300) + (n > 1500)]) for c, n in areas} or {None})
    count = Counter(g for groups in held for g in groups)
    share = Counter()
    for groups, weight in zip(held, weights.tolist(), strict=True):
        for group in groups:  # what of the image's weight it has by way of this group
            share[group] += weight / sum(1 / count[g] for g in groups) / count[group]
    assert set(share) == set(count)
    assert np.allclose(list(share.values()), 1 / len(count))
    assert not torch.allclose(weights, balanced_weights(data, data.ids))


def test_a_crop_looks_at_small_objects_as_often_as_at_large_ones():
    mask = torch.zeros(200, 200, dtype=torch.uint8)
    mask[:100, :100] = 2  # 10,000 pixels
    mask[150:155, 150:155] = 2  # 25
    mask[150:155, 20:25] = 2
    inputs = [tv_tensors.Image(torch.zeros(3, 200, 200)), tv_tensors.Mask(mask)]
    torch.manual_seed(0)
    at = np.array([small_things.CropBySize(64)._impurity_pixel(inputs) for _ in range(400)])
    assert (mask[at[:, 0], at[:, 1]] == 2).all()
    assert (at[:, 0] >= 150).mean() == pytest.approx(0.5, abs=0.1)
    assert ((at[:, 0] >= 150) & (at[:, 1] < 100)).mean() == pytest.approx(0.25, abs=0.08)
    plain = np.array([ImpurityCrop(64)._impurity_pixel(inputs) for _ in range(400)])
    assert (plain[:, 0] >= 150).mean() < 0.05
    assert small_things.CropBySize(64)._impurity_pixel([tv_tensors.Mask(0 * mask)]) is None


def test_rows_are_of_runs_as_any_other_and_are_made_once(tiny_scrapsim, tmp_path, monkeypatch):
    monkeypatch.setattr(small_things, "SEEDS", (4,))
    config = TrainConfig(steps=1, batch_size=2, crop=64, evals=1, **rates("scrapseg"))
    table, beside = small_things.make(tiny_scrapsim, tmp_path, config)
    assert table["arm"].tolist() == list(small_things.ARMS) and (table["step_s"] > 0).all()
    splits = Splits.load(tiny_scrapsim)
    _, history, scores = train("scrapseg", splits, TrainConfig(**vars(config) | {"seed": 4}))
    truth = label_stack(splits.val) > 0
    plain = table.iloc[0]
    ap = average_precision_score(truth.ravel(), scores.ravel())
    assert plain["ap"] == pytest.approx(ap, abs=1e-4)
    assert plain["miou_impurity"] == history[-1]["val"]
    assert sum(beside["objects"].values()) == sum(
        len(np.unique(s.instances[s.instances > 0])) for s in splits.val
    )
    again, _ = small_things.make(
        tiny_scrapsim, tmp_path, config
    )  # nothing is trained a second time
    assert again["step_s"].tolist() == table["step_s"].tolist()
