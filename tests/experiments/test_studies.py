"""Studies: the right runs from a profile, their names, and what can change their numbers."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import average_precision_score

from scrapseg.data.base import EmptySplit
from scrapseg.experiments import run, studies
from scrapseg.experiments.methods import METHODS, MethodsError
from scrapseg.experiments.records import collect
from scrapseg.experiments.run import load_maps, run_all
from scrapseg.experiments.splits import Splits, label_stack, only_from
from scrapseg.experiments.studies import (
    ABLATIONS,
    RunSpec,
    StudyError,
    Variant,
    plan,
    plan_profile,
    profile,
)
from scrapseg.files import REPOSITORY
from scrapseg.report import scene_tables, tables
from scrapseg.train.loop import TrainConfig

TINY = {"batch_size": 2, "crop": 64, "seed": 0}


@pytest.fixture(scope="module")
def splits(tiny_scrapsim):
    return Splits.load(tiny_scrapsim)


@pytest.mark.parametrize("name", ["laptop", "full", "real"])
def test_a_profile_plans_exactly_the_committed_runs(name):
    runs = {p.stem: p for p in (REPOSITORY / "results" / name / "runs").glob("*.json")}
    planned = plan_profile(name)
    assert planned.keys() == runs.keys()
    for stem, spec in planned.items():
        record = json.loads(runs[stem].read_text())
        config, asked = record["config"], TrainConfig(**spec.changes, seed=spec.seed)
        assert record["split"] == spec.split and record["dataset"] == spec.dataset
        if METHODS[spec.method].is_trained:
            made = {f.name: config[f.name] for f in fields(TrainConfig)}
            assert TrainConfig(**made) == asked
        else:
            assert METHODS[spec.method].settings(spec.dataset).items() <= config.items()
            assert (config["steps"], config["batch_size"]) == (asked.steps, asked.batch_size)
        if "variant" in config:
            assert Variant(**config["variant"]) == spec.variant
        assert ("start" in config) == ("start" in METHODS[spec.method].options)


@pytest.mark.parametrize("name", ["smoke", "laptop", "full", "real", "clip"])
def test_studies_agree_on_what_a_run_is(name):
    planned: dict[str, RunSpec] = {}
    for study in studies.STUDIES:
        for spec in plan(study, profile(name)):
            assert planned.setdefault(spec.name, spec) == spec


def test_the_smoke_profile_is_what_the_notebooks_have_as_they_stand():
    values = yaml.safe_load((studies.PROFILES / "smoke.yaml").read_text())
    seen = set()
    for path in sorted((REPOSITORY / "notebooks").glob("*.py")):
        cell = path.read_text().split('tags=["parameters"]\n')[1].split("\n# %%")[0]
        for line in ast.parse(cell).body:
            name, value = line.targets[0].id, ast.literal_eval(line.value)
            seen.add(name)
            if (path.stem[:2], name) != ("01", "limit"):  # there of pictures that are counted
                assert values[name] == value, f"{name} of {path.name}"
    assert values.keys() == seen


def test_planning_imports_nothing_heavy():
    code = "import sys, scrapseg.experiments.studies as s; s.plan_profile('full');"
    code += "print({'torch', 'pandas', 'numpy', 'open_clip'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_what_cannot_be_planned_is_named():
    with pytest.raises(StudyError, match=r"no study 'none' .* finetuning"):
        plan("none", {})
    with pytest.raises(StudyError, match="no parameter 'compared'"):
        plan("compared", {"seed": 0, "steps": 1})
    with pytest.raises(StudyError, match="no ablation 'no such'"):
        plan("ablations", profile("full") | {"ablations": ["no such"]})
    with pytest.raises(MethodsError, match="no method 'resnet'"):
        plan("compared", {"compared": ["resnet"], "seed": 0, "steps": 1})
    with pytest.raises(StudyError, match=r"nowhere\.yaml: no such profile; there is clip, full"):
        profile("nowhere")
    with pytest.raises(StudyError, match="profile laptop has no run 'that'"):
        run.run_named("laptop", "that")


def test_every_ablation_changes_something():
    settings = [(a.method, str(a.variant), str(a.changes)) for a in ABLATIONS.values()]
    assert len(set(settings)) == len(settings)
    planned = plan("ablations", profile("full") | {"ablations": list(ABLATIONS)})
    assert {spec.split for spec in planned} == {"val"}
    assert {spec.tag for spec in planned} == set(ABLATIONS)
    for spec in planned:
        TrainConfig(**spec.changes)


def test_claims_get_every_seed_and_the_rest_one():
    given = TINY | {"ablations": ["ours", "focal"], "ablation_seeds": [0, 1], "ablation_steps": 7}
    planned = plan("ablations", given)
    assert sorted((s.tag, s.seed) for s in planned) == [("focal", 0), ("ours", 0), ("ours", 1)]
    (focal,) = (s for s in planned if s.tag == "focal")
    assert focal.changes["gamma"] == 2.0 and focal.changes["steps"] == 7


def test_words_have_one_run_with_all_labels():
    planned = plan("words", TINY | {"held_out": ["cable", "copper_coil"], "words_steps": 5})
    both = ("scrapseg", "scrapseg-named")
    assert [(s.tag, s.method, s.changes.get("without")) for s in planned] == [
        ("with-all", "scrapseg", None),
        *(("without-cable", m, "cable") for m in both),
        *(("without-copper_coil", m, "copper_coil") for m in both),
        *(("zero-shot", m, None) for m in ("scrapseg", "scrapseg-imagenet")),
    ]
    assert [s.shots for s in planned] == 5 * ["all"] + 2 * [0]
    assert planned[3].name == "scrapseg_scrapsim_allshots_s0_without-copper-coil"
    assert plan("words", TINY | {"held_out": [], "words_steps": 5}) == []


def test_own_rates_are_for_ours_alone():
    given = TINY | {"compared": ["scrapseg", "unet"], "steps": 1, "lr": 3e-4, "encoder_lr": 1e-5}
    ours, unet = plan("compared", given)
    assert (ours.changes["lr"], ours.changes["encoder_lr"]) == (3e-4, 1e-5)
    assert unet.changes["lr"] != 3e-4


# ---------------------------------------------------------------- what can change a run's numbers


def names(spec: RunSpec) -> set[str]:
    return {path.relative_to(REPOSITORY).as_posix() for path in spec.inputs()}


def test_inputs_are_those_that_can_change_numbers():
    aligned, loss = "data/pocket/pocket-aligned.safetensors", "scrapseg/train/losses.py"
    checksums = "data/scrapsim/checksums.sha256"
    for method, of in METHODS.items():
        found = names(RunSpec(method))
        assert (loss in found) == of.is_trained, method
        assert checksums in found and "scrapseg/metrics/pixels.py" in found
        assert not {f for f in found if f.startswith(("scrapseg/data/labels", "scrapseg/report"))}
        assert {name for name in of.inputs if "*" not in name} <= found
    with_aligned = {m for m in METHODS if aligned in names(RunSpec(m))}
    ours = {m for m, of in METHODS.items() if of.is_ours} - {"scrapseg-imagenet"}
    assert with_aligned == ours | {"unet-aligned", "segformer-aligned"}
    tiles = names(RunSpec(dataset="magnetic-tile"))
    assert "scrapseg/data/magnetic_tile.csv" in tiles and checksums not in tiles
    assert "data/pocket/scrapsim.safetensors" in names(RunSpec("scrapseg-scrapsim"))
    adapted = RunSpec("scrapseg-adapted", dataset="cables")
    assert "scrapseg/train/adapt.py" in names(adapted) and checksums in names(adapted)


def test_every_listed_input_exists():
    groups = [studies.EVERY, studies.TRAINED, studies.OURS_ALONE, studies.SUPERVISED]
    listed = [name for group in (*groups, *studies.DATA.values()) for name in group]
    listed += [name for method in METHODS.values() for name in method.inputs]
    for name in [n for n in listed if "*" not in n]:
        assert (REPOSITORY / name).is_file(), name


def test_settings_are_json_and_tell_runs_apart():
    planned = plan_profile("full")
    texts = {json.dumps(s.settings(), sort_keys=True) for s in planned.values()}
    assert len(texts) == len(planned)
    assert all(v for s in planned.values() for v in s.settings()["packages"].values())


def test_a_changed_choice_of_settings_shows_in_that_method_alone(monkeypatch):
    before = {m: RunSpec(m).settings() for m in METHODS}
    other = METHODS["patchcore"].__class__(
        **vars(METHODS["patchcore"]) | {"chosen": {"coreset": 7}}
    )
    monkeypatch.setitem(METHODS, "patchcore", other)
    assert {m for m in METHODS if RunSpec(m).settings() != before[m]} == {"patchcore"}


# ---------------------------------------------------------------- runs


def test_what_is_learned_is_of_one_setting_and_the_test_of_both(splits):
    parts = only_from(splits, "belt")
    for part in (parts.train, parts.val):
        assert {record["setting"] for record in part.meta.values()} == {"belt"}
        assert list(part.meta) == part.ids and len(list(part)) == len(part.ids) > 0
    assert len(splits.train.ids) > len(parts.train.ids)  # the whole is left as it was
    assert parts.test is splits.test
    with pytest.raises(EmptySplit, match="'ship'"):
        only_from(splits, "ship")


def test_domain_runs_have_their_table_and_stay_out_of_the_others(splits, tiny_scrapsim, tmp_path):
    given = TINY | {"domain_methods": ["padim", "scrapseg"], "domain_steps": 1}
    planned = plan("domains", given)
    assert [spec.tag for spec in planned] == ["from-heap"] * 2 + ["from-belt"] * 2
    run_all(planned[2:], tmp_path, tiny_scrapsim)  # val is all belts here
    assert len(tables.main_runs(collect(tmp_path))) == 0
    table = scene_tables.domains(tmp_path).set_index(["method", "target", "metric"])
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


def test_long_runs_have_their_table_and_stay_out_of_the_others(tiny_scrapsim, tmp_path):
    given = TINY | {"long_methods": ["padim"], "long_seeds": [0, 1], "long_steps": 3}
    given |= {"long_once": [], "longest_methods": [], "longest_steps": 5}
    planned = [spec for spec in plan("long", given) if spec.shots == "all"]
    assert [(s.seed, s.tag, s.changes["steps"]) for s in planned] == [
        (seed, "3-steps", 3) for seed in (0, 1)
    ]
    records = run_all(planned, tmp_path, tiny_scrapsim)
    frame = collect(tmp_path)
    table = tables.long(frame)
    assert list(table["steps"]) == [3] and list(table["seeds"]) == [2]
    assert table["ap"][0] == pytest.approx(sum(r.metrics["ap"] for r in records) / 2)
    assert len(tables.main_runs(frame)) == 0


def test_a_run_is_made_by_its_name(tiny_scrapsim, tmp_path, monkeypatch):
    quick = {"compared": ["random-forest"], "steps": 1, "limit": 4, "studies": ["compared"]}
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(quick))
    (tmp_path / "smoke.yaml").write_text((studies.PROFILES / "smoke.yaml").read_text())
    monkeypatch.setattr(studies, "PROFILES", tmp_path)
    (name,) = plan_profile("quick")
    record = run.run_named("quick", name, tmp_path / "results", tiny_scrapsim)
    assert record.config["data"]["images"] == [4, 4, 4]
    assert Path(tmp_path / "results/runs" / f"{name}.json").is_file()
