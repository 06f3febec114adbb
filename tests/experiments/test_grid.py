"""Grids: the right jobs, and the same records whether they run one by one or side by side."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from scrapseg.data.base import EmptySplit
from scrapseg.experiments import grid
from scrapseg.experiments.records import collect
from scrapseg.experiments.run import Splits, label_stack, load_maps
from scrapseg.report import figures as plots
from scrapseg.report import tables
from scrapseg.train.loop import TrainConfig

CONFIG = TrainConfig(steps=2, batch_size=2, crop=64, evals=1)


@pytest.fixture(scope="module")
def splits(tiny_scrapsim):
    return Splits.load(tiny_scrapsim)


def test_every_ablation_changes_something_and_has_a_label():
    assert list(grid.ABLATIONS) == list(tables.ABLATION_LABELS)
    settings = [(j.method, j.variant, tuple(j.changes.items())) for j in grid.ABLATIONS.values()]
    assert len(set(settings)) == len(settings)
    assert {job.split for job in grid.ABLATIONS.values()} == {"val"}
    for job in grid.ABLATIONS.values():
        TrainConfig(**job.changes)


def test_claims_get_every_seed_and_the_rest_one():
    jobs = grid.ablation_jobs(["ours", "focal"], [0, 1, 2], steps=7)
    assert [(j.tag, j.seed) for j in jobs] == [("ours", 0), ("ours", 1), ("ours", 2), ("focal", 0)]
    assert jobs[-1].changes == {"gamma": 2.0, "steps": 7}
    with pytest.raises(KeyError):
        grid.ablation_jobs(["no such"], [0], 1)


def test_words_jobs_have_one_run_with_all_labels():
    jobs = grid.words_jobs(["cable", "wood"], 5)
    assert [j.tag for j in jobs] == ["with-all", "without-cable", "without-wood"]
    assert grid.words_jobs([], 5) == []


def test_side_by_side_gives_what_one_by_one_gives(splits, tmp_path):
    jobs = grid.ablation_jobs(["ours", "stages-1"], [0], steps=2)
    one, two = (
        grid.run_jobs(jobs, splits, CONFIG, tmp_path / str(workers), workers=workers)
        for workers in (1, 2)
    )
    for a, b in zip(one, two, strict=True):
        assert a.config["variant"] == b.config["variant"] and a.split == "val"
        assert a.metrics["ap"] == pytest.approx(b.metrics["ap"], abs=0.02)
    study = tables.ablation(collect(tmp_path / "2"))
    assert list(study["tag"]) == ["ours", "stages-1"]
    plots.ablation_dots(study)


def test_own_rates_are_for_ours_alone(splits, tmp_path):
    jobs = [grid.Job("scrapseg", changes={"steps": 1}), grid.Job("unet", changes={"steps": 1})]
    own = {"lr": 3e-4, "encoder_lr": 1e-5}
    ours, unet = grid.run_jobs(jobs, splits, CONFIG, tmp_path, own=own)
    assert (ours.config["lr"], ours.config["encoder_lr"]) == (3e-4, 1e-5)
    assert unet.config["lr"] != 3e-4


def test_what_is_learned_is_of_one_setting_and_the_test_of_both(splits):
    parts = grid.only_from(splits, "belt")
    for part in (parts.train, parts.val):
        assert {record["setting"] for record in part.meta.values()} == {"belt"}
        assert list(part.meta) == part.ids and len(list(part)) == len(part.ids) > 0
    assert len(splits.train.ids) > len(parts.train.ids)  # the whole is left as it was
    assert parts.test is splits.test
    with pytest.raises(EmptySplit, match="'ship'"):
        grid.only_from(splits, "ship")


def test_domain_runs_have_their_table_and_stay_out_of_the_others(splits, tiny_scrapsim, tmp_path):
    jobs = grid.domain_jobs(["padim", "scrapseg"], [0], steps=1)
    assert [job.tag for job in jobs] == ["from-heap"] * 2 + ["from-belt"] * 2
    grid.run_jobs(jobs[2:], splits, CONFIG, tmp_path)  # val is all belts here
    assert len(tables.main_runs(collect(tmp_path))) == 0
    table = tables.domains(tmp_path, tiny_scrapsim).set_index(["method", "target", "metric"])
    assert set(table["source"]) == {"belt"}
    of_heaps = [splits.test.meta[i]["setting"] == "heap" for i in splits.test.ids]
    truth = label_stack(splits.test) > 0
    for method in ("padim", "scrapseg"):
        maps = load_maps(tmp_path, f"{method}_scrapsim_allshots_s0_from-belt").score_maps
        for target, keep in (("heap", np.array(of_heaps)), ("belt", ~np.array(of_heaps))):
            exact = average_precision_score(truth[keep].ravel(), maps[keep].ravel())
            assert table.loc[(method, target, "ap"), "value"] == pytest.approx(exact, abs=0.02)
    gap = (
        table.loc[("scrapseg", "heap", "ap"), "value"] - table.loc[("padim", "heap", "ap"), "value"]
    )
    assert table.loc[("padim", "heap", "ap"), "gap"] == pytest.approx(gap)
    assert ("padim", "heap", "miou_impurity") not in table.index


def test_long_runs_have_their_table_and_stay_out_of_the_others(splits, tmp_path):
    jobs = grid.long_jobs(["padim"], [0, 1], 3)
    assert [(j.seed, j.tag, j.changes) for j in jobs] == [
        (seed, "3-steps", {"steps": 3}) for seed in (0, 1)
    ]
    records = grid.run_jobs(jobs, splits, CONFIG, tmp_path)
    frame = collect(tmp_path)
    table = tables.long(frame)
    assert list(table["steps"]) == [3] and list(table["seeds"]) == [2]
    assert table["ap"][0] == pytest.approx(sum(r.metrics["ap"] for r in records) / 2)
    assert len(tables.main_runs(frame)) == 0
