"""The small studies behind one table each, on a handful of images."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from drawn_sets import draw_belt, draw_cables, draw_real
from PIL import Image
from sklearn.metrics import average_precision_score, jaccard_score
from torch import nn

from making.studies import __main__ as studies_main
from making.studies import (
    adaptation,
    class_offsets,
    few_labels,
    large_scales,
    steel_labels,
    words_kept,
)
from making.studies.composite import Composites, steel_photos
from making.studies.label_help import label_help_study, pick
from making.studies.large_scales import by_scales
from scrapseg.data.cables import Cables
from scrapseg.data.classes import CLASSES, SLUGS
from scrapseg.data.folder import open_folder
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.build import build
from scrapseg.experiments.fit import whole_images
from scrapseg.experiments.splits import Splits
from scrapseg.files import REPOSITORY
from scrapseg.models.scrapseg import SegOutput
from scrapseg.models.segmenter import Segmenter
from scrapseg.models.tiles import predict_large
from scrapseg.train.loop import TrainConfig


class Conv(nn.Module):
    """Nine classes from one convolution."""

    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Conv2d(3, 9, 3, padding=1)

    def forward(self, x):
        return SegOutput(3 * self.net(x), None)


def test_label_help_study_in_small(tiny_scrapsim):
    train, test = (ScrapSim(tiny_scrapsim, s) for s in ("train", "test"))
    config = TrainConfig(steps=1, batch_size=2, crop=64)
    table = label_help_study(train, test, config, shots=(1, 2), seeds=(0,))
    pairs = table.pivot(index="round", columns="arm", values="images")
    assert (pairs["help"] == pairs["random"]).all() and pairs["help"].is_monotonic_increasing
    assert table["ap"].between(0, 1).all() and len(table) == 6
    start = table[table["round"] == 0]
    assert start["ap"].nunique() == 1  # both arms start alike
    known = train.ids[:2]
    for arm in ("help", "random"):
        picked = pick(arm, Segmenter(build("scrapseg", 0).eval(), CLASSES), train, known, 3, 0)
        assert len({*picked}) == 3 and not {*picked} & {*known}  # new ones, each once


def test_study_of_scales_in_small(tiny_scrapsim):
    val = ScrapSim(tiny_scrapsim, "val")
    table = by_scales(Conv(), val, ((1.0,), (1.0, 2.0))).set_index("scales")
    assert list(table.index) == ["1", "1 + 2"] and (table["images"] == len(val)).all()
    scores = np.stack([predict_large(Conv(), s.image).score_map for s in val])
    truth = np.stack([s.label > 0 for s in val])
    expected = average_precision_score(truth.ravel(), scores.astype(np.float32).ravel())
    assert table.loc["1", "ap"] == pytest.approx(expected)
    assert {"object_recall_1fa/small", "miou_impurity", "s_per_image"} <= set(table.columns)


def test_val_chooses_the_scales_and_test_says_what_they_are_worth(tiny_scrapsim, monkeypatch):
    monkeypatch.setattr(large_scales, "SCALES", ((1.0,), (1.0, 2.0)))
    monkeypatch.setattr(large_scales, "load", lambda _: SimpleNamespace(model=Conv(), origin="c"))
    table, beside = large_scales.of_benchmark(tiny_scrapsim, Path())
    val, test = (table[table["split"] == s].set_index("scales") for s in ("val", "test"))
    best = val["miou_impurity"].idxmax()
    assert best == " + ".join(f"{s:g}" for s in beside["chosen"])
    assert set(test.index) == {"1", best} and set(val.index) == {"1", "1 + 2"}
    assert (test["images"] == len(ScrapSim(tiny_scrapsim, "test"))).all()
    chosen, plain = table.iloc[-1], table.iloc[-2]
    assert (plain["scales"], chosen["scales"]) == ("1", best) and np.isnan(plain["ap_gap"])
    assert chosen["miou_impurity_gap"] == pytest.approx(
        chosen["miou_impurity"] - plain["miou_impurity"]
    )
    assert chosen["ap_lo"] <= chosen["ap_gap"] <= chosen["ap_hi"]


def test_a_folder_of_few_labels_says_what_the_data_set_says(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRAPSEG_DATA", str(tmp_path))
    draw_belt(tmp_path / "belt-waste")
    task = few_labels.Task(few_labels.BeltWaste, 5)
    folders = [
        open_folder(task.export("train", tmp_path / name, seed))
        for name, seed in (("a", 0), ("again", 0), ("b", 1))
    ]
    assert [c.slug for c in folders[0].classes] == ["belt", "wood", "rubber", "brick", "concrete"]
    ids = [list(f.labelled) for f in folders]
    assert len(ids[0]) == 5 and ids[0] == ids[1] != ids[2]


def test_labels_on_renders_are_of_val_and_measured_on_test(tiny_scrapsim, tmp_path):
    task = replace(few_labels.TASKS["scrapsim"], data=partial(ScrapSim, tiny_scrapsim))
    val, test = ScrapSim(tiny_scrapsim, "val"), ScrapSim(tiny_scrapsim, "test")
    folder = open_folder(replace(task, labels=2).export("train", tmp_path / "a", 0))
    assert set(folder.labelled) < set(val.ids) and len(folder.labelled) == 2
    whole = open_folder(task.export("test", tmp_path / "b")).images()
    assert whole.ids == sorted(test.ids)
    assert np.array_equal(whole.sample(test.ids[0]).label, test.sample(test.ids[0]).label)


def test_few_labels_study_in_small(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRAPSEG_DATA", str(tmp_path))
    draw_cables(tmp_path / "cables")
    monkeypatch.setattr(few_labels, "TASKS", {"cables": few_labels.Task(Cables, 4)})
    monkeypatch.setattr(few_labels, "SEEDS", (0,))
    config = TrainConfig(batch_size=2, crop=32, evals=1)
    table, _ = few_labels.make(tmp_path, tmp_path, 0.02, config)
    assert table["method"].tolist() == list(few_labels.METHODS)
    assert table[["miou", "miou_impurity"]].stack().between(0, 1).all()
    learned = table.set_index("method")["steps"]
    assert learned["no labels"] == 0 < learned["segformer"]
    # What is in the table is not run again.
    monkeypatch.setattr(few_labels, "tune", None)
    again, _ = few_labels.make(tmp_path, tmp_path, 0.02, config)
    again, table = (t.set_index("method")["miou"].to_dict() for t in (again, table))
    assert again == pytest.approx(table, rel=1e-5)


def test_study_of_labels_on_steel_in_small(tmp_path, monkeypatch):
    """All ways learn from the same labels, one of them from all of the plant's photographs."""
    monkeypatch.setenv("SCRAPSEG_DATA", str(tmp_path))
    root, tuned = draw_real(tmp_path / "real"), []

    def tune(starts, folder, config, minutes, steel, now):
        tuned.append((list(starts), list(folder.labelled), len(steel)))
        start = replace(next(iter(starts.values())), origin="from scrapsim: x")
        summary = {"threshold": 0.5, "miss_rate": 0.1, "step": 3}
        return SimpleNamespace(segmenter=start, summary=summary)

    monkeypatch.setattr(steel_labels, "tune", tune)
    monkeypatch.setattr(steel_labels, "measure", lambda label, test: {"miou": len(test.files)})
    monkeypatch.setattr(steel_labels, "Composites", partial(Composites, number=12))
    monkeypatch.setattr(steel_labels, "SEEDS", (0,))
    config = TrainConfig(batch_size=2, crop=32, evals=1)
    table, _ = steel_labels.make(REPOSITORY / "data" / "scrapsim", tmp_path, 0.02, config)
    assert set(table["way"]) == {*steel_labels.WAYS, "segformer"} and (table["miou"] == 12).all()
    (_, labels, alone), (starts, again, beside) = tuned
    assert starts == ["scrapsim", "aligned"] and labels == again and len(labels) == 8
    assert alone == 0 and beside == len(steel_photos(root, "val"))


def test_objects_on_the_yard_are_counted_apart_on_steel_and_on_others(tmp_path):
    root = draw_real(tmp_path / "real")
    for group in adaptation.YARD:
        (root / "yard" / group).mkdir()
        for k in range(3):  # test has the first of them and the third
            Image.new("RGB", (60, 50)).save(root / "yard" / group / f"{k}.jpg")
    shown = iter([group for group, _ in adaptation.photographs(root, "test")])

    def label(image):
        """One object on each photograph of steel, none on motors, two on all others."""
        said = np.zeros(image.shape[:2], np.uint8)
        group = next(shown)
        said[:20, :20] = group != "motors"
        said[30:50, 30:50] = group not in ("steel", "motors")
        return said

    found = steel_labels.on_yard(label, root)
    assert found["false_objects"] == 1
    assert found["flagged"] == pytest.approx(4 / 6)


def test_a_round_of_self_training_labels_what_the_last_model_is_sure_of(
    tiny_scrapsim, tmp_path, monkeypatch
):
    asked, trained = [], []

    def labels(segmenter, images, *levels):
        asked.append((segmenter.origin, *levels))
        return ["labels"]

    def adapt_model(start, images, labels, scrapsim, config, pieces, **_):
        trained.append((config.steps, config.seed))
        return replace(start, origin=f"round {len(trained)}")

    monkeypatch.setattr(adaptation, "photo_labels", labels)
    monkeypatch.setattr(adaptation, "adapt_model", adapt_model)
    for name in ("read_photos", "steel_photos"):
        monkeypatch.setattr(adaptation, name, lambda *_: [])
    monkeypatch.setattr(adaptation, "settled", lambda s, *_: replace(s, threshold=0.3))
    arm = adaptation.Arm("two rounds", changes={"steps": 8}, rounds=2)
    found, _ = adaptation.adapted(arm, tmp_path, ScrapSim(tiny_scrapsim, "train"), 5)
    assert (found.origin, found.threshold) == ("round 2", 0.3)
    assert trained == [(4, 5), (4, 1005)] and asked[1] == ("round 1", 0.5, adaptation.SURE)


def test_offsets_of_the_classes_are_those_of_a_plain_search():
    """Two classes are outbid by a third; each offset is found as trying them one by one would."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 400)
    log_p = draw.normal(size=(3, 400)) + 1.5 * np.eye(3)[:, labels] - np.array([[0], [3], [1.5]])

    def miou(offsets):
        named = (log_p + np.asarray(offsets)[:, None]).argmax(0)
        return np.mean([((named == c) & (labels == c)).sum() / ((named == c) | (labels == c)).sum()
                        for c in (1, 2)])  # fmt: skip

    slow = [0.0, 0.0, 0.0]
    for c in [0, 1, 2] * class_offsets.ROUNDS:
        tried = {o: miou([*slow[:c], o, *slow[c + 1 :]]) for o in class_offsets.OFFSETS}
        slow[c] = max(sorted(tried, key=lambda o: abs(o - slow[c])), key=tried.get)
    found = class_offsets.best_offsets(log_p, labels)
    assert list(found) == slow and miou(found) > miou([0, 0, 0]) + 0.1


def test_study_of_class_offsets_in_small(tiny_scrapsim):
    val, test = (ScrapSim(tiny_scrapsim, s) for s in ("val", "test"))
    before, after = class_offsets.rows_of(Conv(), val, test)
    assert (before["offsets"], after["offsets"]) == ("normal", "each class")
    scaled = [(s.image / 255 - np.array(Conv.mean)) / np.array(Conv.std) for s in test]
    x = [torch.tensor(image, dtype=torch.float32).permute(2, 0, 1)[None] for image in scaled]
    named = np.concatenate([Conv()(i).logits.argmax(1)[0, ::2, ::2].ravel().numpy() for i in x])
    truth = np.concatenate([s.label[::2, ::2].ravel() for s in test])
    expected = jaccard_score(truth, named, average=None, labels=range(9))
    there = [c for c in range(9) if (truth == c).any() or (named == c).any()]
    found = np.array(list(before.values())[3:])
    assert found[there] == pytest.approx(expected[there], abs=5e-3)


def test_weights_between_two_models_are_theirs_at_the_ends():
    before, after = build("scrapseg", 0), build("scrapseg-imagenet", 1)
    images = [[torch.randn(2, 3, 64, 64)]]
    for share, end in ((0.0, before), (1.0, after)):
        mixed = words_kept.between(before, after, share, images).state_dict()
        floating = [k for k, v in mixed.items() if v.is_floating_point()]
        assert all(torch.equal(mixed[k], end.state_dict()[k]) for k in floating)
    half = words_kept.between(before, after, 0.5, images)
    mean = (before.stage_logits + after.stage_logits) / 2
    assert torch.allclose(half.stage_logits, mean) and not half.training
    # Its batch statistics are those of the images.
    stem = half.encoder.visual.trunk.conv_stem(images[0][0])
    assert torch.allclose(
        half.encoder.visual.trunk.bn1.running_mean, stem.mean((0, 2, 3)), atol=1e-5
    )


def test_outputs_are_mixed_as_probabilities_are():
    logits = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))  # of two models
    p = logits.softmax(2)
    before, after = torch.log(p / (1 - p)).transpose(1, 2)
    mean = p[0] ** 0.25 * p[1] ** 0.75
    mean /= mean.sum(1, keepdim=True)
    found = words_kept.of_both(before, after, 0.75).sigmoid().transpose(0, 1)
    assert torch.allclose(found, mean, atol=1e-5)


def test_what_costs_little_on_val_and_finds_most_is_chosen():
    kinds = [("weights", 0.0), ("weights", 1.0), ("outputs", 0.5)]
    rows = [(w, *kind, split) for w in ("motor", "wood") for kind in kinds
            for split in ("val", "test")]  # fmt: skip
    table = pd.DataFrame(rows, columns=["without", "kind", "share", "split"])
    table["ap"] = 1 - table["share"]  # the words fade as training goes on
    table["miou_others"] = table["share"].map({0.0: 0.1, 0.5: 0.495, 1.0: 0.5})
    named = table[table["kind"] == "weights"].assign(kind=words_kept.NAMED, ap=2.0, miou_others=1.0)
    table = pd.concat([table, named], ignore_index=True)  # is never chosen
    assert set(table.loc[words_kept.choose(table), "kind"]) == {"outputs"}
    table.loc[table["split"] == "test", "miou_others"] = 0.0  # test has no say
    table.loc[(table["share"] == 0.5) & (table["without"] == "wood"), "miou_others"] = 0.47
    chosen = table[words_kept.choose(table)]
    assert set(chosen["share"]) == {1.0} and len(chosen) == 4


def test_study_of_kept_words_in_small(tiny_scrapsim):
    splits = Splits.load(tiny_scrapsim)
    model, after = build("scrapseg", 0).eval(), build("scrapseg-imagenet", 0).eval()
    rows = words_kept.rows_of("cable", model, after, model, splits)
    kinds = [*words_kept.KINDS, (words_kept.NAMED, 1.0)]
    assert [(r["kind"], r["share"]) for r in rows[::2]] == kinds
    by = {(r["kind"], r["share"], r["split"]): r for r in rows}
    own = by["each its own", 1.0, "test"]
    assert own["ap"] == pytest.approx(by["weights", 0.0, "test"]["ap"], abs=2e-3)
    assert own["ap"] != pytest.approx(by["weights", 1.0, "test"]["ap"], abs=1e-2)
    named = by[words_kept.NAMED, 1.0, "test"]  # here the model before, once more
    assert named["ap"] == pytest.approx(by["weights", 0.0, "test"]["ap"], abs=2e-3)
    # Before any scrap its AP is that of the aligned model, by scikit-learn.
    found = by["weights", 0.0, "test"]
    truth, scores = [], []
    for image, label in whole_images(splits.test, model):
        with torch.inference_mode():
            p = model(image[None]).logits[0].softmax(0)[SLUGS.index("cable")]
        scores.append(p[::2, ::2].ravel())
        truth.append((label[::2, ::2] == SLUGS.index("cable")).ravel())
    expected = average_precision_score(torch.cat(truth), torch.cat(scores))
    assert found["ap"] == pytest.approx(expected, abs=5e-3)


def test_a_part_of_a_study_is_told_and_leaves_its_table_alone(tmp_path, monkeypatch, capsys):
    asked = []

    def make(data_dir, results_dir, only=("a", "b")):
        asked.append(tuple(only))
        return pd.DataFrame({"run": only}), {"sha256": "0" * 64}

    monkeypatch.setitem(studies_main.STUDIES, "more_scenes", make)
    argv = ["studies", "more_scenes", "--results", str(tmp_path)]
    monkeypatch.setattr("sys.argv", argv)
    studies_main.main()
    path = tmp_path / "tables/more_scenes.csv"
    whole = path.read_bytes()
    monkeypatch.setattr("sys.argv", [*argv, "--only", "b"])
    studies_main.main()
    assert asked == [("a", "b"), ("b",)] and path.read_bytes() == whole
    assert capsys.readouterr().out.split() == ["run", "a", "b", "run", "b"]
