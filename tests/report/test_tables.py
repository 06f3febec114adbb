"""Tables: the right rows, the right means, and a README that follows them."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fake_results import METHODS, image_stats, record, write_controls, write_results
from PIL import Image

from scrapseg import metrics
from scrapseg.data.base import SPLITS
from scrapseg.data.classes import SLUGS
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.data.shots import few_shot_ids
from scrapseg.experiments import records, stats
from scrapseg.files import REPOSITORY
from scrapseg.metrics.bootstrap import AP_RESAMPLES
from scrapseg.report import scene_tables, tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("results")
    write_results(path, figures=())
    return path


@pytest.fixture(scope="module")
def frame(folder):
    return records.read_metrics(folder)


def row(table: pd.DataFrame, **wanted) -> pd.Series:
    for column, value in wanted.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_methods_has_one_row_per_method_ours_first(frame):
    table = tables.methods(frame)
    assert list(table["method"]) == list(METHODS)
    for name, (family, ap, miou_impurity) in METHODS.items():
        one = row(table, method=name)
        assert one["family"] == family and one["ap"] == pytest.approx(ap)
        if miou_impurity is None:
            assert math.isnan(one["miou_impurity"]) and math.isnan(one["miou"])
        else:
            assert one["miou_impurity"] == pytest.approx(miou_impurity)
    assert {*tables.QUALITY, *tables.COSTS} <= set(table.columns)


def test_means_are_over_seeds(frame):
    one = row(tables.fewshot(frame), method="unet", shots="1")
    values = [0.91 * 0.45, 0.91 * 0.45 + 0.01]
    assert one["seeds"] == 2 and one["ap"] == pytest.approx(np.mean(values))
    assert list(tables.fewshot(frame)["shots"][:4]) == ["1", "4", "16", "all"]


def test_ablations_and_other_datasets_stay_out(frame):
    ours = frame[(frame["method"] == "scrapseg") & (frame["shots"] == "all")]
    tagged = ours.assign(run=ours["run"] + "_one-stage", value=0.0)
    other = ours.assign(dataset="steelds", run="scrapseg_steelds_allshots_s0", value=0.0)
    clip = ours.assign(backbone="ViT-L-14-336", run=ours["run"] + "_ViT-L-14-336")
    both = pd.concat([frame, tagged, other])
    assert tables.methods(both).equals(tables.methods(frame))
    # A backbone's name is not a tag.
    assert len(tables.main_runs(clip)) == len(tables.main_runs(ours)) > 0


def test_per_class_and_sizes(frame):
    classes = tables.per_class(frame)
    assert "patchcore" not in set(classes["method"])  # it names no classes
    assert row(classes, method="scrapseg")["wood"] == pytest.approx(0.66 * 1.4)
    assert set(SLUGS) <= set(classes.columns)
    sizes = row(tables.recall_by_size(frame), method="patchcore")
    assert [sizes[c] for c in ("small", "medium", "large")] == pytest.approx([0.09, 0.18, 0.27])


def test_reference_keeps_their_numbers_apart_and_says_where_they_come_from(frame):
    table = tables.reference(frame)
    assert list(table["theirs"]) == [0.286, 0.01, 0.923, 0.117]
    assert list(table["bound"]) == ["=", "<", "=", "="]
    assert [("abstract" in s, "machine-written" in s) for s in table["source"]] == [
        (True, False),
        (True, False),
        (False, True),
        (False, True),
    ]
    assert table["ours"][0] == pytest.approx(0.9)
    assert table["ours"][3] == pytest.approx(0.4 * (0.9 - 0.3))  # binary mIoU over PatchCore


def test_reference_says_what_differs_with_the_encoder_of_the_runs(frame):
    differs = tables.reference(frame)["differs"]
    assert "ViT-L/14 at 336 px against EfficientNet-lite0 at 384 px" in differs[0]
    assert "private" in differs[0] and "rendered" in differs[0]
    assert all(words and "{" not in words for words in differs)
    # A run of another backbone carries its name, as `RunRecord.name` has it.
    other = frame.assign(backbone="ViT-B-16", run=frame["run"] + "_ViT-B-16")
    assert "against ViT-B-16." in tables.reference(other)["differs"][0]


def test_tables_come_out_of_an_empty_or_partial_frame(frame):
    few = frame[frame["method"] == "unet"]
    for name, make in tables.TABLES.items():
        empty, partial = make(frame.iloc[:0]), make(few)
        assert list(empty.columns) == list(make(frame).columns) == list(partial.columns), name


def test_build_all_writes_what_the_functions_make(folder, frame, tiny_scrapsim, tmp_path):
    (tmp_path / "metrics.csv").write_bytes((folder / "metrics.csv").read_bytes())
    paths = scene_tables.build_all(tmp_path, tiny_scrapsim)
    counted = {"composition", "dataset", "outlines"}
    of_scrapsim = {n for n in {*tables.TABLES, *scene_tables.TABLES} if not n.startswith("photo")}
    assert {p.stem for p in paths} == of_scrapsim | counted
    written = pd.read_csv(tmp_path / "tables/methods.csv")
    assert written["ap"].to_numpy() == pytest.approx(tables.methods(frame)["ap"].to_numpy(), 1e-5)


def test_dataset_counts_agree_with_the_label_images(tiny_scrapsim):
    table = tables.dataset_counts([ScrapSim(tiny_scrapsim, s) for s in SPLITS])
    meta = [
        json.loads(line) for line in (tiny_scrapsim / "metadata.jsonl").read_text().splitlines()
    ]
    for split in SPLITS:
        labels = [
            np.asarray(Image.open(tiny_scrapsim / f"labels/{m['id']}.png"))
            for m in meta
            if m["split"] == split
        ]
        one = row(table, split=split)
        assert one["images"] == len(labels)
        assert one["images_with_impurities"] == sum((a > 0).any() for a in labels)
        assert one["images_without"] == sum((a == 0).all() for a in labels)
        assert one["impurity_pixel_share"] == pytest.approx(np.mean([a > 0 for a in labels]))


def test_paired_differences_are_those_a_notebook_computes_by_scene(folder):
    saved = pd.read_csv(folder / "tables/paired.csv")  # written by fake_results.save_paired
    keys = ["scrapseg minus", "metric"]
    fresh = scene_tables.paired(folder).sort_values(keys, ignore_index=True)
    saved = saved.sort_values(keys, ignore_index=True)
    assert fresh[keys].equals(saved[keys]) and len(fresh) == 5 * 4 + 2
    for column in ("value", "lo", "hi", "p", "p_holm"):
        assert fresh[column].to_numpy() == pytest.approx(saved[column].to_numpy(), abs=1e-5)


def test_a_pair_of_the_wider_table_has_the_p_of_that(tmp_path):
    write_results(tmp_path, figures=())
    narrow = scene_tables.paired(tmp_path).set_index(["scrapseg minus", "metric"])["p_holm"]
    for method in ("scrapseg", "unet", "scrapseg-frozen"):
        for shots in (4, 16, "all") if method != "scrapseg-frozen" else (4, 16):
            one = record(method, shots, 0)
            records.write_run(one, tmp_path, "even")
            stats.write(tmp_path, one.name("even"), {"": image_stats(method)})
    records.collect(tmp_path)
    both = scene_tables.paired(tmp_path).set_index(["scrapseg minus", "metric"])["p_holm"]
    wider = scene_tables.labels_paired(tmp_path)
    wider = wider[wider["shots"] == "all"].set_index(["scrapseg minus", "metric"])["p_holm"]
    assert wider["unet"].isna().to_dict() == {m: m == "ap" for m in wider["unet"].index}
    pd.testing.assert_series_equal(both["unet"], wider["unet"], check_names=False)
    assert set(both["unet"].dropna()) != set(narrow["unet"])
    # Frozen has such runs with few labels, not with all: its p stays that of the narrow table.
    assert both["scrapseg-frozen"].to_dict() == narrow["scrapseg-frozen"].to_dict()


def test_controls_with_one_label_and_the_weakest_network_have_no_p_of_ap(tmp_path):
    write_results(tmp_path, figures=())
    for method, shots in itertools.product(
        ("scrapseg", "scrapseg-frozen", "scrapseg-random", "unet"), (1, 4)
    ):
        one = record(method, shots, 0)
        records.write_run(one, tmp_path, "even")
        stats.write(tmp_path, one.name("even"), {"": image_stats(method)})
    records.collect(tmp_path)
    table = scene_tables.labels_paired(tmp_path)
    assert table.loc[table["metric"] != "ap", "p"].notna().all()
    table = table.query("metric == 'ap'")
    control = table["shots"].eq("1") & table["scrapseg minus"].eq("scrapseg-random")
    untested = control | table["scrapseg minus"].eq("unet")
    assert len(table) == 6 and untested.sum() == 3 and table["lo"].notna().all()
    assert table["p"].isna().equals(untested) and table["p_holm"].isna().equals(untested)
    # And it is no comparison of the family.
    assert table["p_holm"].min() == pytest.approx(min(1, 3 * table["p"].min()))
    turned = scene_tables.labels_paired(tmp_path, "scrapseg-frozen").query(
        "metric == 'ap' and shots == '1'"
    )
    untested = turned.set_index("scrapseg minus")["p"].isna()
    assert untested.to_dict() == {"scrapseg": False, "scrapseg-random": True, "unet": True}


def test_ablations_differ_from_ours_with_the_same_seeds(frame):
    table = tables.ablation(frame)
    assert list(table["tag"]) == ["ours", "frozen", "stages-1"]
    frozen = row(table, tag="frozen")
    ap = [0.9, 0.91]  # of ours, by seed; see fake_results
    gaps = [0.8 * ap[0] - ap[0], 0.7 * ap[1] - ap[1]]
    assert frozen["seeds"] == 2 and frozen["ap_diff"] == pytest.approx(np.mean(gaps))
    assert (frozen["ap_diff_lo"], frozen["ap_diff_hi"]) == pytest.approx((min(gaps), max(gaps)))
    one = row(table, tag="stages-1")  # has the first seed only, so only that one of ours counts
    assert one["ap_diff"] == pytest.approx(-0.1 * ap[0]) and one["seeds"] == 1
    assert row(table, tag="ours")["miou_impurity_diff"] == 0


def test_a_class_by_words_stands_between_chance_and_labels(frame):
    table = tables.class_by_words(frame)
    coil = row(table, **{"class": "copper_coil"})  # its runs' names say copper-coil
    assert len(table) == 1
    assert 0 < coil["words"] == pytest.approx(0.5 * coil["supervised"])
    assert coil["before"] == pytest.approx(0.6 * coil["supervised"])
    assert coil["named"] == pytest.approx(0.1 * coil["supervised"])


def test_few_shot_differences_are_means_over_common_seeds(folder):
    table = scene_tables.paired_fewshot(folder)
    one = row(table, shots="1", metric="ap", **{"scrapseg minus": "unet"})
    assert one["seeds"] == 2 and one["lo"] <= one["value"] <= one["hi"]
    assert set(table["shots"]) == {"1", "4", "16"} and set(table["scrapseg minus"]) == {"unet"}


def test_alignments_are_compared_at_the_same_labels_and_seeds(tmp_path):
    write_controls(tmp_path)
    table = scene_tables.alignment(tmp_path)
    known = {"scrapseg", "scrapseg-to-text", "scrapseg-to-numbers", "scrapseg-no-words"}
    assert set(table["method"]) == known  # nothing that starts elsewhere
    assert set(table["metric"]) == {"ap", "miou_impurity", "miou_taught", "miou_untaught"}
    at = {"shots": "all", "metric": "miou_untaught"}
    numbers = row(table, method="scrapseg-to-numbers", **at)
    names = ("scrapseg", "scrapseg-frozen")
    counts = [image_stats(m).classes.sum(0).astype(float) for m in names]
    iou = [[c[k, k] / (c[k].sum() + c[:, k].sum() - c[k, k]) for k in (4, 6)] for c in counts]
    assert [SLUGS[k] for k in (4, 6)] == list(tables.UNTAUGHT)
    better, worse = np.mean(iou, axis=1)
    assert numbers["seeds"] == 2 and numbers["value"] == pytest.approx((better + worse) / 2)
    assert row(table, method="scrapseg-to-text", **at)["value"] == pytest.approx(better)

    gaps = scene_tables.alignment_paired(tmp_path)
    text, to_numbers, nothing = (f"scrapseg-{k}" for k in ("to-text", "to-numbers", "no-words"))
    pairs = {(text, m) for m in known - {text}} | {(to_numbers, nothing)}
    assert set(zip(gaps["start"], gaps["minus"], strict=True)) == pairs
    for start, minus in ((text, to_numbers), (to_numbers, nothing)):
        gap = row(gaps, start=start, minus=minus, **at)
        assert gap["seeds"] == 2 and gap["value"] == pytest.approx((better - worse) / 2)
    once = gaps[(gaps["shots"] == "all") & (gaps["metric"] == "miou_impurity")].sort_values("p")
    steps = once["p"].to_numpy(float) * np.arange(len(once), 0, -1)
    by_hand = np.minimum(1, np.maximum.accumulate(steps))
    assert len(once) == 4 and np.allclose(once["p_holm"], by_hand)  # all pairs are one family


def test_several_seeds_take_the_place_of_one_where_there_are_any(tmp_path):
    write_results(tmp_path, figures=())
    for method, seed in (("unet", 0), ("unet", 1), ("unet", 2), ("fpn", 0)):
        one = replace(record("unet", "all", seed), method=method)
        one.metrics |= {"miou_impurity": 0.1 * seed, "train_s": 9e9}
        records.write_run(one, tmp_path, tables.EVEN)
        stats.write(tmp_path, one.name(tables.EVEN), {"": image_stats("scrapseg-frozen")})
    frame = records.collect(tmp_path)
    unet, ours = (row(tables.methods(frame), method=m) for m in ("unet", "scrapseg"))
    assert (unet["seeds"], ours["seeds"]) == (3, 1)
    assert unet["miou_impurity"] == pytest.approx(0.1)  # not the one run's .63
    assert unet["train_s"] == pytest.approx(700)  # of the one run: others may have shared a core
    assert "fpn" not in set(tables.methods(frame)["method"])  # not among the main runs
    assert row(tables.fewshot(frame), method="unet", shots="all")["seeds"] == 1
    both = scene_tables.paired(tmp_path)
    one = row(both, metric="miou_impurity", **{"scrapseg minus": "unet"})
    a, b = image_stats("scrapseg"), image_stats("scrapseg-frozen")
    assert one["seeds"] == 1 and one["value"] == metrics.paired_difference(a, b, "miou_impurity")[0]


def test_longer_runs_stand_beside_the_comparison_s_of_their_methods(tmp_path):
    write_results(tmp_path, figures=())
    better, worse = image_stats("scrapseg"), image_stats("scrapseg-frozen")
    made = [("scrapseg", "", 0, 400, worse), ("unet", "", 0, 400, worse)]
    made += [("scrapseg", "2000-steps", k, 2000, better) for k in (0, 1)]
    made += [("unet", "2000-steps", k, 2000, worse) for k in (1, 2)]
    made += [("fpn", "", 0, 400, better)] + [("scrapseg", "", k, 400, worse) for k in (1, 2)]
    made = [("all", *run) for run in made]
    made += [
        (4, "scrapseg", "2000-steps", 0, 2000, worse),
        (4, "unet", "2000-steps", 0, 2000, better),
    ]
    made += [(4, "scrapseg", "", 0, 400, better)]
    made += [(16, name, "", 0, 400, better) for name in ("scrapseg", "unet")]  # no longer ones
    made += [(16, "fpn", "2000-steps", 0, 2000, better)]
    for shots, method, tag, seed, steps, of_scenes in made:
        one = replace(record("unet", shots, seed), method=method, config={"steps": steps})
        records.write_run(one, tmp_path, tag or tables.EVEN)
        stats.write(tmp_path, one.name(tag or tables.EVEN), {"": of_scenes})
    records.collect(tmp_path)
    table = scene_tables.long_bands(tmp_path)
    counted = table[table["metric"] == "ap"].set_index(["shots", "method", "steps"])["seeds"]
    # Without FPN, which has no longer run, and the seeds that have none.
    assert counted.to_dict() == {
        ("all", "scrapseg", "400"): 2, ("all", "scrapseg", "2000"): 2, ("all", "unet", "2000"): 2,
        ("4", "scrapseg", "400"): 1, ("4", "scrapseg", "2000"): 1, ("4", "unet", "2000"): 1,
        ("16", "fpn", "2000"): 1,
    }  # fmt: skip
    gaps = scene_tables.long_paired(tmp_path)
    of = {"steps": "2000", "metric": "miou_impurity", "scrapseg minus": "unet"}
    gap, few = (row(gaps, shots=shots, **of) for shots in ("all", "4"))
    assert few["value"] == -gap["value"] != 0
    assert few["p_holm"] == pytest.approx(min(1, 2 * min(few["p"], gap["p"])))  # one family of two
    by_hand = metrics.paired_difference([better], [worse], "miou_impurity")
    assert gap["seeds"] == 1 and gap["value"] == by_hand[0]  # of the one seed that both have
    assert set(gaps["steps"]) == {"2000"}  # the comparison's are compared among themselves


def test_without_a_study_its_tables_are_empty(frame):
    plain = tables.main_runs(frame)
    assert len(tables.ablation(plain)) == len(tables.class_by_words(plain)) == 0
    assert "miou_impurity_diff" in tables.ablation(plain)


def test_wrong_pixels_are_counted_by_kind(folder):
    table = scene_tables.wrong_pixels(folder)
    assert "patchcore" not in set(table["method"])  # names no classes
    unet, counts = row(table, method="unet"), image_stats("unet").classes.sum(0)
    kinds = {"missed": 0, "invented": 0, "misnamed": 0}
    for truth, said in itertools.product(range(len(counts)), repeat=2):
        if truth != said:
            kind = "invented" if truth == 0 else "missed" if said == 0 else "misnamed"
            kinds[kind] += counts[truth, said]
    wrong = sum(kinds.values())
    assert unet["wrong"] == pytest.approx(wrong / counts.sum())
    assert unet[list(kinds)].to_dict() == pytest.approx({k: n / wrong for k, n in kinds.items()})


def test_labelled_images_are_those_of_the_drawn_scenes_and_of_val(tiny_scrapsim):
    train, val = (ScrapSim(tiny_scrapsim, split) for split in ("train", "val"))
    runs = pd.DataFrame({"shots": ["1", "1", "all", "1"], "seed": [0, 1, 0, 1]})
    bands = pd.DataFrame({"shots": ["all", "1"], "value": 0.5})
    told = tables.with_images(bands, runs, tiny_scrapsim).set_index("shots")["images"]
    drawn = [len(few_shot_ids(train, 1, seed)) for seed in (0, 1)]
    assert told.to_dict() == {"all": len(train) + len(val), "1": len(val) + sum(drawn) / 2}


def test_no_family_of_the_paper_is_too_large_for_anything_to_be_shown_in_ap():
    least = 2 / (AP_RESAMPLES + 1)  # the smallest p that so many draws can give
    for name in ("labels_paired", "paired", "long_paired", "alignment_paired"):
        table = pd.read_csv(REPOSITORY / f"results/full/tables/{name}.csv")
        table = table[table["metric"] == "ap"]
        smallest = table.loc[table["p"] < 1.01 * least, "p_holm"]
        assert (smallest < 0.05).all(), name


def test_a_difference_of_ours_has_one_p_in_both_of_its_tables():
    paired, even = (
        pd.read_csv(REPOSITORY / f"results/full/tables/{name}.csv")
        for name in ("paired", "labels_paired")
    )
    both = paired.merge(even[even["shots"] == "all"], on=["scrapseg minus", "metric"])
    assert set(both["scrapseg minus"]) >= {"scrapseg-frozen", "segformer", "scrapseg-random"}
    for column in ("value", "lo", "hi", "p_holm"):
        same = pytest.approx(both[f"{column}_y"].tolist(), nan_ok=True)
        assert both[f"{column}_x"].tolist() == same


def test_curves_are_of_the_seeds_that_all_methods_have():
    rows = [
        ("a", "1", 0),
        ("a", "1", 1),
        ("b", "1", 0),
        ("a", "4", 0),
        ("b", "4", 0),
        ("c", "4", 0),
    ]
    rows += [("a", "4", 1), ("b", "4", 1)]  # c lacks the second there, and is not at one at all
    runs = pd.DataFrame(rows, columns=["method", "shots", "seed"])
    kept = scene_tables.shared_seeds(runs)
    assert sorted(kept.itertuples(index=False, name=None)) == [
        ("a", "1", 0), ("a", "4", 0), ("b", "1", 0), ("b", "4", 0), ("c", "4", 0)
    ]  # fmt: skip


def test_a_curve_of_few_methods_has_them_all(tmp_path, tiny_scrapsim):
    """U-Net is not drawn among profile full's many; the laptop's curve is of ours and it alone."""
    write_results(tmp_path, figures=())
    scene_tables.make(tmp_path, tiny_scrapsim)
    drawn = json.loads((tmp_path / "figures/fewshot.json").read_text())["runs"]
    assert {run.split("_")[0] for run in drawn} == {"scrapseg", "unet"}
