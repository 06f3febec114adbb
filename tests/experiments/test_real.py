"""The study on photographs: its runs and tables, on drawn sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_sets import draw_cables

from making.tiles.drawn import draw_tiles, load_drawn
from scrapseg.data.base import SPLITS, MissingFile, Sample
from scrapseg.data.cables import Cables
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments import fit, records
from scrapseg.experiments.run import run
from scrapseg.experiments.splits import Splits, load_splits
from scrapseg.experiments.studies import RunSpec, plan, profile
from scrapseg.report import scene_tables, tables

GIVEN = {"photo_methods": ["scrapseg-scrapsim"], "photo_shots": [1], "photo_seeds": [0, 1]}
GIVEN |= {"photo_steps": {"cables": 1, "magnetic-tile": 3}, "photo_sets": ["cables"]}
GIVEN |= {"rival_methods": ["scrapseg-scrapsim"], "rival_shots": {"cables": ["all"]}}
GIVEN |= {"start_methods": ["scrapseg-adapted"], "start_shots": ["all"]}
GIVEN |= {"long_photo_sets": [], "long_photo_steps": 6, "batch_size": 2, "crop": 64}


def test_the_drawn_set_has_every_class_in_every_split_and_is_drawn_once(tmp_path):
    tiles = load_drawn(draw_tiles(tmp_path / "tiles", tiles=4), size=64)
    for part in (tiles.train, tiles.val, tiles.test):
        assert len({part.meta[i]["folder"] for i in part.ids}) == 6
    again = draw_tiles(tmp_path / "again", tiles=4)
    stamp = (again / "index.csv").stat().st_mtime_ns
    assert (again / "index.csv").read_bytes() == (tiles.train.root / "index.csv").read_bytes()
    assert draw_tiles(again) == again
    assert (again / "index.csv").stat().st_mtime_ns == stamp


def test_steps_are_the_same_at_every_number_of_labels():
    planned = plan(
        "photographs",
        GIVEN
        | {"photo_sets": ["cables", "magnetic-tile"]}
        | {"rival_shots": {"cables": [16], "magnetic-tile": ["all"]}},
    )
    for name, steps in GIVEN["photo_steps"].items():
        of = [spec for spec in planned if spec.dataset == name]
        assert {spec.changes["steps"] for spec in of} == {steps}
        assert {spec.shots for spec in of} == {0, 1, "all", {"cables": 16}.get(name, "all")}
    longer = [s for s in plan("photographs", GIVEN | {"long_photo_sets": ["cables"]}) if s.tag]
    names = [f"scrapseg-scrapsim_cables_4shots_s{k}_6-steps" for k in GIVEN["photo_seeds"]]
    assert [s.name for s in longer] == names
    assert {s.changes["steps"] for s in longer} == {6}
    real = profile("real")
    assert set(real["photo_steps"]) == set(real["photo_sets"])
    if real["rival_methods"]:
        assert set(real["rival_shots"]) == set(real["photo_sets"])


def test_an_adapted_start_is_a_run_before_and_its_shots_wait_for_it(tmp_path):
    first = RunSpec("scrapseg-adapted", 0, 2, "cables")
    then = RunSpec("scrapseg-adapted", 4, 2, "cables")
    assert (first.after, then.after) == ("", first.name)
    assert then.start(tmp_path) == tmp_path / first.name / "model.safetensors"
    shipped = RunSpec("scrapseg-scrapsim").start(tmp_path)
    assert first.start(tmp_path) == shipped and shipped.name == "scrapsim.safetensors"
    assert RunSpec("scrapseg").start(tmp_path) is None


@pytest.fixture(scope="module")
def study(tiny_scrapsim, tmp_path_factory):
    """Ours from renders and adapted, a step each, before any label, with one and with all."""
    folder = tmp_path_factory.mktemp("results") / "real"
    root = draw_cables(tmp_path_factory.mktemp("cables"))
    cables = Splits(*(Cables(split, root, size=48, limit=6) for split in SPLITS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "ScrapSim", lambda _, split: ScrapSim(tiny_scrapsim, split))
        planned = plan("photographs", GIVEN)
        for spec in sorted(planned, key=lambda spec: bool(spec.after)):
            run(spec, cables, folder)
    records.collect(folder)
    scene_tables.build_all(folder)
    return folder


def test_before_any_label_nothing_is_chosen(study):
    runs = records.read_runs(study)
    before = runs["scrapseg-scrapsim_cables_0shots_s0"]
    assert (before.config["best_step"], before.config["normal_offset"]) == (0, 0.0)
    assert before.shots == 0
    adapted = runs["scrapseg-adapted_cables_0shots_s0"]
    assert adapted.metrics["ap"] != before.metrics["ap"]
    started = runs["scrapseg-adapted_cables_allshots_s0"].config["start"]
    assert started != adapted.config["start"] == before.config["start"]


def test_tables_tell_renders_adaptation_and_labels_apart(study):
    runs, quality = records.read_runs(study), scene_tables.photographs(study)
    keys = ["dataset", "method", "shots", "metric"]
    of = quality.set_index(keys)
    two = [runs[f"scrapseg-scrapsim_cables_1shots_s{s}"].metrics["miou"] for s in (0, 1)]
    one = of.loc[("cables", "scrapseg-scrapsim", "1", "miou")]
    assert one["seeds"] == 2 and one["value"] == pytest.approx(sum(two) / 2)
    assert one["lo"] <= one["value"] <= one["hi"]
    wide = tables.chain(quality)
    assert list(wide.columns) == ["0", "1", "all"]
    assert wide.loc[("cables", "ours, adapted"), "1"] == "–"
    assert wide.loc[("cables", "ours, from ScrapSim"), "1"].startswith(f"{50 * sum(two):.1f} (")
    gaps = scene_tables.photo_paired(study).set_index(["dataset", "shots", "metric"])
    gap = gaps.loc[("cables", "all", "miou")]
    ends = [
        runs[f"scrapseg-{m}_cables_allshots_s{s}"].metrics["miou"]
        for m in ("scrapsim", "adapted")
        for s in (0, 1)
    ]
    assert gap["value"] == pytest.approx((ends[0] + ends[1] - ends[2] - ends[3]) / 2)
    classes = tables.photo_classes(records.read_metrics(study))
    assert set(classes["class"]) == {"background", "cable"}
    assert (classes["lowest"] <= classes["iou"] + 1e-12).all()


def test_without_photographs_one_line_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRAPSEG_DATA", str(tmp_path))
    with pytest.raises(MissingFile, match="scrapseg fetch magnetic-tile"):
        load_splits("magnetic-tile", None, Path(tmp_path))


def test_where_no_photograph_is_normal_one_class_methods_get_windows_that_are():
    class Kept:
        def fit(self, images, labels):
            self.images, self.labels = images, labels

    image = np.arange(16 * 8 * 3, dtype=np.uint8).reshape(16, 8, 3)
    marked = np.zeros((16, 8), np.uint8)
    marked[5, 3] = 2  # in the second of four rows of windows, in the second column
    impure, normal = (Sample("", image, label, label, 0, {}) for label in (marked, 0 * marked))
    model = Kept()
    fit.learn(model, [impure], "unsupervised")
    assert len(model.images) == 15 and not np.any(model.labels)
    assert {i.shape for i in model.images} == {(4, 2, 3)}
    assert not any((w == image[5, 3]).all(-1).any() for w in model.images)
    for samples, family in (([impure, normal], "unsupervised"), ([impure], "classical")):
        fit.learn(model, samples, family)
        assert len(model.images) == len(samples) and model.labels[0] is marked
