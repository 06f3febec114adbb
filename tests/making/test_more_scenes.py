"""More scenes for training: what they add, and that a run on them changes nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix

from making.studies import more_magnified, more_rivals, more_scenes
from scrapseg.data.errors import MissingFile
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments import records
from scrapseg.experiments.fit import whole_images
from scrapseg.experiments.methods import rates
from scrapseg.experiments.run import CHOSEN, run
from scrapseg.experiments.splits import Splits, label_stack
from scrapseg.experiments.studies import RunSpec
from scrapseg.files import REPOSITORY
from scrapseg.models.predict import predict
from scrapseg.models.scrapseg import ScrapSeg


def test_more_scenes_are_more_of_train_alone(tiny_scrapsim):
    train = ScrapSim(tiny_scrapsim, "train")
    more = more_scenes.MoreScenes(train, tiny_scrapsim)
    whole = sum(len(ScrapSim(tiny_scrapsim, s)) for s in ("train", "val", "test"))
    assert len(more) == len(train) + whole and len(set(more.ids)) == len(more)
    extra = more.sample(f"more-{train.ids[0]}")
    assert (extra.image == train[0].image).all() and (extra.label == train[0].label).all()
    scenes = [{more.meta[i]["scene"] for i in more.ids if i.startswith("more-") is new}
              for new in (False, True)]  # fmt: skip
    assert not scenes[0] & scenes[1]
    assert np.unique(more.sample(more.ids[-1]).scene) >= 100_000


def test_a_run_on_more_scenes_stands_beside_the_same_run_without_them(tiny_scrapsim, tmp_path):
    changes = {"steps": 2, "batch_size": 2, "crop": 64} | rates("scrapseg", None, None, "scrapsim")
    splits, like = Splits.load(tiny_scrapsim), RunSpec(changes=changes, tag="like")
    record = run(like, splits, tmp_path)
    more = more_scenes.MoreScenes(splits.train, tiny_scrapsim)
    own, added = more_scenes.rows(like, splits, more, tmp_path, tmp_path / "more")
    assert (own["images"], added["images"]) == (len(splits.train), len(more))
    assert own["ap"] == record.metrics["ap"] and "ap_gap" not in own
    for metric in more_scenes.PAIRED:
        assert added[f"{metric}_lo"] <= added[f"{metric}_gap"] <= added[f"{metric}_hi"]
    assert added["ap_gap"] == pytest.approx(added["ap"] - own["ap"], abs=0.02)  # of binned ranks
    assert added["steps"] == own["steps"] == 2
    (folder,) = (tmp_path / "more" / "cache").iterdir()
    assert own["train_miou_impurity"] != added["train_miou_impurity"]
    model = ScrapSeg.load(folder / "model.safetensors").eval()
    named = predict(model, whole_images(splits.train, model)).labels
    table = confusion_matrix(label_stack(splits.train).ravel(), named.ravel(), labels=range(9))
    union = table.sum(0) + table.sum(1) - table.diagonal()
    iou = (table.diagonal() / np.where(union, union, np.nan))[1:]
    assert added["train_miou_impurity"] == pytest.approx(np.nanmean(iou), abs=1e-3)
    assert [p.stem for p in (tmp_path / "runs").iterdir()] == [like.name]  # no run of the profile
    before = records.read_run(tmp_path / "more/runs" / f"{folder.name}.json")
    assert more_scenes.rows(like, splits, more, tmp_path, tmp_path / "more")[1] == added
    assert records.read_run(tmp_path / "more/runs" / f"{folder.name}.json") == before


def test_the_content_of_a_folder_goes_by_its_files(tiny_scrapsim, tmp_path):
    copied = tmp_path / "scenes"
    shutil.copytree(tiny_scrapsim, copied)
    assert more_scenes.content(copied) == more_scenes.content(tiny_scrapsim)
    path = next((copied / "labels").iterdir())
    path.write_bytes(path.read_bytes() + b" ")
    assert more_scenes.content(copied) != more_scenes.content(tiny_scrapsim)
    with pytest.raises(MissingFile, match=r"more_scenes\.py says how"):
        more_scenes.content(tmp_path / "none")


def test_a_run_with_other_settings_is_no_pair(tiny_scrapsim, tmp_path):
    changes = {"steps": 1, "batch_size": 1, "crop": 64} | rates("scrapseg", None, None, "scrapsim")
    splits, like = Splits.load(tiny_scrapsim), RunSpec(changes=changes, tag="like")
    run(like, splits, tmp_path)
    other = replace(like, changes=changes | {"crop": 96})
    more = more_scenes.MoreScenes(splits.train, tiny_scrapsim)
    with pytest.raises(ValueError, match="not those"):
        more_scenes.rows(other, splits, more, tmp_path, tmp_path / "more")


def test_the_committed_pairs_are_those_of_the_records():
    full = REPOSITORY / "results/full"
    table = pd.read_csv(full / "tables/more_scenes.csv")
    paths = []
    for name in more_scenes.LIKE:
        own = records.read_run(full / "runs" / f"{name}.json")
        steps = f"_{own.config['steps']}-steps-more"
        paths += [full / "runs" / f"{name}.json"]
        paths += [full / "more" / f"{name.rpartition('_')[0]}{steps}.json"]
    for path, row in zip(paths, table.to_dict("records"), strict=True):
        record = records.read_run(path)
        assert row["images"] == record.config["data"]["images"][0]
        assert row["steps"] == record.config["steps"] and row["seed"] == record.seed
        assert [row[k] for k in more_scenes.TOLD] == pytest.approx(
            [record.metrics[k] for k in more_scenes.TOLD]
        )


def planned(profile: str, name: str) -> RunSpec:
    method = name.partition("_")[0]
    own = {"batch_size": 2, "crop": 64} | rates(method, None, None, "scrapsim")
    return RunSpec(method, changes=own)


@pytest.fixture
def run_on_more(tiny_scrapsim, tmp_path, monkeypatch):
    """Two steps of ours on more scenes: its record, the splits, the scenes, its cache."""
    splits = Splits.load(tiny_scrapsim)
    more, cache = more_scenes.MoreScenes(splits.train, tiny_scrapsim), tmp_path / "more"
    monkeypatch.setattr(more_rivals.studies, "planned", planned)
    monkeypatch.setattr(more_rivals, "SCALES", ((1.0,), (1.0, 1.5)))
    ours = RunSpec(changes=planned("full", "scrapseg_").changes | {"steps": 2}, tag="2-steps-more")
    return run(ours, Splits(more, splits.val, splits.test), cache), splits, more, cache


@pytest.mark.parametrize("method", [more_rivals.RIVAL, more_rivals.SECOND])
def test_a_rival_is_given_what_ours_was_given(run_on_more, tmp_path, method):
    record, splits, more, cache = run_on_more
    told = pd.DataFrame(more_rivals.rows(record, splits, more, tmp_path, cache, method))
    assert list(told["method"]) == ["scrapseg"] * 2 + [method] * 2
    assert list(told["look"]) == [*more_rivals.LOOKS] * 2
    assert set(told["images"]) == {len(more)} != {len(splits.test)}
    (path,) = (tmp_path / "more").glob("*.json")
    theirs = records.read_run(path)
    assert theirs.config["data"] == record.config["data"] and theirs.config["steps"] == 2
    assert theirs.config["data"]["images"][0] == len(more)
    for look, rows in told.set_index("method").groupby("look"):
        ours, rival = rows.loc["scrapseg"], rows.loc[method]
        assert rival["ap_gap"] == pytest.approx(ours["ap"] - rival["ap"], abs=0.02), look
        assert np.isnan(ours["ap_gap"]) and rival["ap_lo"] <= rival["ap_gap"] <= rival["ap_hi"]
    for spec in (more_rivals.alike(record, m) for m in ("scrapseg", method)):
        model = more_rivals.trained(spec, cache / "cache" / spec.name, splits.test)
        found = predict(model, whole_images(splits.test, model)).score_maps
        ap = average_precision_score(label_stack(splits.test).ravel() > 0, found.ravel())
        made = records.read_run(cache / "runs" / f"{spec.name}.json")
        assert ap == pytest.approx(made.metrics["ap"], abs=2e-3)  # its weights are the record's
    (cache / "cache" / more_rivals.alike(record, "scrapseg").name / "done").write_text("then")
    with pytest.raises(FileNotFoundError, match="not the weights of its record"):
        more_rivals.rows(record, splits, more, tmp_path, cache, method)


def test_a_run_on_magnified_images_differs_in_that_alone(run_on_more, tmp_path):
    record, splits, more, cache = run_on_more
    told = pd.DataFrame(more_magnified.rows(record, splits, more, tmp_path, cache))
    assert list(told["trained_at"]) == [1.5, 1.5, 1.0, 1.0]
    (path,) = (tmp_path / "more").glob("*.json")
    made = records.read_run(path)
    larger = made.config
    unlike = {k for k in larger if larger[k] != record.config[k]} - CHOSEN
    assert unlike == {"variant", "crop"} and larger["crop"] == 192
    assert larger["variant"] == record.config["variant"] | {"scale": 1.5}
    for look, (at_large, at_one) in told.groupby("look")["ap"]:
        second = told[told["look"] == look].iloc[-1]
        assert second["ap_gap"] == pytest.approx(at_large - at_one, abs=0.02)
        assert second["ap_lo"] <= second["ap_gap"] <= second["ap_hi"]
    (weights,) = (cache / "cache").glob("*-576/model.safetensors")
    model = ScrapSeg.load(weights).eval()
    found = predict(model, whole_images(splits.test, model)).score_maps
    ap = average_precision_score(label_stack(splits.test).ravel() > 0, found.ravel())
    assert made.metrics["ap"] == pytest.approx(ap, abs=2e-3)


def test_a_rival_is_the_profiles_own_at_its_own_rates():
    like = "scrapseg_scrapsim_allshots_s1_2000-steps-more"
    ours = records.read_run(REPOSITORY / "results/full/more" / f"{like}.json")
    spec = more_rivals.alike(ours, "scrapseg")
    assert spec.name == like
    assert {k: ours.config[k] for k in spec.asked} == spec.asked
    rival = more_rivals.alike(ours, more_rivals.RIVAL)
    same = {"steps", "batch_size", "crop", "evals"}
    assert {k: rival.asked[k] for k in same & {*rival.asked}} == {
        k: spec.asked[k] for k in same & {*spec.asked}
    }
    assert rival.seed == ours.seed and (rival.limit, rival.split) == (None, "test")


def test_the_committed_rival_is_that_of_its_records():
    full = REPOSITORY / "results/full"
    table = pd.read_csv(full / "tables/more_rivals.csv")
    told = [
        records.read_run(full / "more" / f"{spec.name}.json")
        for name in more_rivals.OURS
        for ours in [records.read_run(full / "more" / f"{name}.json")]
        for spec in (more_rivals.alike(ours, m) for m in ("scrapseg", more_rivals.RIVAL))
    ]
    for record, (_, row) in zip(told, table[table["look"] == "plain"].iterrows(), strict=True):
        assert (row["method"], row["seed"]) == (record.method, record.seed)
        assert row["images"] == record.config["data"]["images"][0]
        # Full-size tiles and blended probabilities, in half precision, are nearly the plain look.
        for metric in more_scenes.TOLD:
            assert row[metric] == pytest.approx(record.metrics[metric], abs=0.01)
    assert table.groupby("method")["ap_gap"].count().to_dict() == {
        "scrapseg": 0,
        more_rivals.RIVAL: 2 * len(more_rivals.OURS),
    }


def test_the_committed_magnified_run_is_that_of_its_record():
    full, like = REPOSITORY / "results/full", more_magnified.LIKE
    table = pd.read_csv(full / "tables/more_magnified.csv")
    plain = table[table["look"] == "plain"]
    for name, (_, row) in zip((f"{like}-576", like), plain.iterrows(), strict=True):
        record = records.read_run(full / "more" / f"{name}.json")
        assert row["trained_at"] == record.config["variant"]["scale"]
        assert (row["seed"], row["steps"]) == (record.seed, record.config["steps"])
        for metric in more_scenes.TOLD:
            assert row[metric] == pytest.approx(record.metrics[metric], abs=0.01)


def test_the_committed_second_rival_is_that_of_its_record():
    full, like = REPOSITORY / "results/full", more_rivals.OURS[0]
    table = pd.read_csv(full / "tables/second_rival.csv")
    ours = records.read_run(full / "more" / f"{like}.json")
    theirs = more_rivals.alike(ours, more_rivals.SECOND).name
    told = (ours, records.read_run(full / "more" / f"{theirs}.json"))
    for record, (_, row) in zip(told, table[table["look"] == "plain"].iterrows(), strict=True):
        assert (row["method"], row["seed"]) == (record.method, record.seed)
        assert row["images"] == record.config["data"]["images"][0]
        for metric in more_scenes.TOLD:
            assert row[metric] == pytest.approx(record.metrics[metric], abs=0.01)
    first = pd.read_csv(full / "tables/more_rivals.csv")
    same = first[(first["method"] == "scrapseg") & (first["steps"] == ours.config["steps"])]
    assert np.allclose(same[["ap", "miou"]], table.loc[:1, ["ap", "miou"]], atol=1e-6)
