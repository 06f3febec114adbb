"""Ours with the aligned tower and a head drawn anew: what is of which."""

import pandas as pd
import pytest
import torch

from making.studies import new_head
from scrapseg.experiments import records
from scrapseg.experiments.build import aligned_tower, build
from scrapseg.experiments.methods import METHODS
from scrapseg.experiments.studies import RunSpec, planned
from scrapseg.files import REPOSITORY


def test_the_tower_is_the_aligned_one_and_the_head_that_of_not_aligned(monkeypatch, tmp_path):
    monkeypatch.setitem(METHODS, new_head.NEW, None)  # as it was before, afterwards
    monkeypatch.setattr(new_head, "REPOSITORY", tmp_path)
    monkeypatch.setattr("scrapseg.experiments.build.REPOSITORY", tmp_path)
    spec = new_head.with_new_head(RunSpec(seed=3), tmp_path / "results/cache")
    made, fresh = build(new_head.NEW, spec.seed), build("scrapseg-imagenet", spec.seed)
    tower = aligned_tower().state_dict()
    assert all(torch.equal(v, tower[k]) for k, v in made.encoder.state_dict().items())
    rest = {k: v for k, v in made.state_dict().items() if not k.startswith("encoder.")}
    assert len(rest) > 10 and all(torch.equal(v, fresh.state_dict()[k]) for k, v in rest.items())
    aligned = build("scrapseg", spec.seed).state_dict()
    assert any(not torch.equal(v, aligned[k]) for k, v in rest.items())
    assert spec.changes == RunSpec().changes and spec.name.startswith(new_head.NEW)


def test_the_committed_rows_are_those_of_the_records():
    full = REPOSITORY / "results/full"
    table = pd.read_csv(full / "tables/new_head.csv", dtype={"shots": str}).fillna({"minus": ""})
    for shots, tag in new_head.CASES:
        steps = planned("full", f"scrapseg_scrapsim_{shots}shots_s0_{tag}").changes["steps"]
        runs = [
            records.read_run(
                full / "heads" / f"{new_head.NEW}_scrapsim_{shots}shots_s{s}_{tag}.json"
            )
            for s in new_head.SEEDS
        ]
        assert {r.config["steps"] for r in runs} == {steps}
        assert len({r.provenance["commit"] for r in runs}) == 1
        rows = table.query("shots == @shots and steps == @steps").set_index(["method", "metric"])
        for metric in new_head.TOLD:
            mean = sum(r.metrics[metric] for r in runs) / len(runs)
            own = rows[rows["minus"] == ""].loc[(new_head.NEW, metric), "value"]
            assert own == pytest.approx(mean, abs=6e-4)  # AP is of bins there
            own = [f"{new_head.OURS}_scrapsim_{shots}shots_s{s}_{tag}" for s in new_head.SEEDS]
            aligned = [records.read_run(full / "runs" / f"{r}.json").metrics[metric] for r in own]
            less = rows[rows["minus"] == new_head.NEW].loc[(new_head.OURS, metric)]
            assert less["value"] == pytest.approx(sum(aligned) / len(aligned) - mean, abs=1.2e-3)
            assert less["lo"] <= less["value"] <= less["hi"] and less["p"] <= less["p_holm"] <= 1
            over = rows[rows["minus"] == new_head.RIVAL].loc[(new_head.NEW, metric), "value"]
            rivals = [f"{new_head.RIVAL}_scrapsim_{shots}shots_s{s}_{tag}" for s in new_head.SEEDS]
            theirs = [records.read_run(full / "runs" / f"{r}.json").metrics[metric] for r in rivals]
            assert over == pytest.approx(mean - sum(theirs) / len(theirs), abs=1.2e-3)
