"""Run records, the tidy table, figures, tables, and what happens when files cannot be written."""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from scrapseg import files
from scrapseg.experiments import records
from scrapseg.files import REPOSITORY


def record(**changes) -> records.RunRecord:
    base = records.RunRecord(
        method="scrapseg",
        family="ours",
        backbone="pocket",
        dataset="scrapsim",
        split="test",
        shots="all",
        seed=0,
        metrics={"ap": 1 / 3, "miou": 0.25, "iou/wood": math.nan},
        config={"steps": 10, "rates": (0.1, 0.2)},
        provenance={"commit": "unknown"},
    )
    return replace(base, **changes)


# ---------------------------------------------------------------- runs


def test_run_round_trip_keeps_every_digit_and_nan(tmp_path):
    path = records.write_run(
        record(metrics={"ap": np.float64(1 / 3), "iou/wood": math.nan}), tmp_path
    )
    assert path == tmp_path / "runs" / "scrapseg_scrapsim_allshots_s0.json"
    content = json.loads(path.read_text())
    assert list(content) == sorted(content) and content["metrics"]["iou/wood"] is None
    again = records.read_runs(tmp_path)["scrapseg_scrapsim_allshots_s0"]
    assert again.metrics["ap"] == 1 / 3 and math.isnan(again.metrics["iou/wood"])
    assert again.config == {"steps": 10, "rates": [0.1, 0.2]}
    before = path.read_bytes()
    assert records.write_run(again, tmp_path).read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "tag", "name"),
    [
        ({"shots": 4, "seed": 2}, "", "scrapseg_scrapsim_4shots_s2"),
        (
            {"backbone": "ViT-L-14-336/openai"},
            "",
            "scrapseg_scrapsim_allshots_s0_ViT-L-14-336-openai",
        ),
        (
            {"dataset": "magnetic-tile"},
            "no pyramid",
            "scrapseg_magnetic-tile_allshots_s0_no-pyramid",
        ),
    ],
)
def test_run_names(changes, tag, name):
    assert record(**changes).name(tag) == name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"method": "scr', "not a readable run record"),
        ("[]", "no 'backbone'"),
        ("WITHOUT_SEED", "no 'seed'"),
        ("TEXT_METRIC", "must map names to numbers"),
    ],
)
def test_broken_record_is_named_in_one_line(tmp_path, content, message):
    path = records.write_run(record(), tmp_path)
    good = json.loads(path.read_text())
    if content == "WITHOUT_SEED":
        del good["seed"]
        content = json.dumps(good)
    elif content == "TEXT_METRIC":
        content = json.dumps({**good, "metrics": {"ap": "high"}})
    path.write_text(content)
    with pytest.raises(records.BrokenRecord, match=message) as error:
        records.read_runs(tmp_path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_collect_is_tidy_sorted_and_repeatable(tmp_path):
    for shots, seed in (("all", 0), (16, 1), (4, 0), (16, 0)):
        records.write_run(record(shots=shots, seed=seed), tmp_path)
    records.write_run(
        record(method="patchcore", family="unsupervised", metrics={"ap": 0.1}), tmp_path
    )
    table = records.collect(tmp_path)
    assert list(table.columns) == records.COLUMNS and len(table) == 4 * 3 + 1
    runs = table["run"].drop_duplicates().tolist()
    assert runs == ["patchcore_scrapsim_allshots_s0"] + [
        f"scrapseg_scrapsim_{end}"
        for end in ("4shots_s0", "16shots_s0", "16shots_s1", "allshots_s0")
    ]
    assert table["value"][1] == 1 / 3 and math.isnan(table["value"][2])  # ap, then iou/wood
    pd.testing.assert_frame_equal(table, records.read_metrics(tmp_path))
    first = (tmp_path / "metrics.csv").read_bytes()
    records.collect(tmp_path)
    assert (tmp_path / "metrics.csv").read_bytes() == first
    saved_by_excel = b"\xef\xbb\xbf" + first.replace(b"\n", b"\r\n")
    (tmp_path / "metrics.csv").write_bytes(saved_by_excel)
    pd.testing.assert_frame_equal(table, records.read_metrics(tmp_path))


def test_no_runs_give_an_empty_table_and_no_table_an_error(tmp_path):
    with pytest.raises(records.BrokenRecord, match=r"metrics\.csv"):
        records.read_metrics(tmp_path)
    assert records.collect(tmp_path).empty
    for broken in ("method,value\nunet,1\n", "", "a,b\n1,2,3\n4,5\n6,7,8,9\n"):
        (tmp_path / "metrics.csv").write_text(broken)
        with pytest.raises(records.BrokenRecord, match=r"metrics\.csv.*") as error:
            records.read_metrics(tmp_path)
        assert "\n" not in str(error.value)


def test_provenance_names_packages_and_gives_the_date_in_utc():
    local = datetime(2025, 6, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    facts = records.provenance(12.3456, "abc", "cpu", local)
    assert facts["date"] == "2025-05-31T23:30:00+00:00" and facts["wall_s"] == 12.35
    assert facts["packages"]["numpy"] == np.__version__ and set(facts["packages"]) == set(
        records.PACKAGES
    )
    assert json.loads(json.dumps(facts)) == facts
    assert datetime.fromisoformat(facts["date"]).tzinfo == UTC


def test_no_committed_run_was_made_from_a_tree_that_was_not_clean():
    paths = [
        *(REPOSITORY / "results").glob("*/runs/*.json"),
        *(REPOSITORY / "results").glob("*/more/*.json"),
        *(REPOSITORY / "results").glob("*/heads/*.json"),
    ]
    said = [records.read_run(path).provenance.get("clean") for path in paths]
    assert False not in said
    assert said.count(None) <= 251  # from before records said so; never more


def test_a_record_says_of_which_commit_it_is_and_whether_the_tree_was_clean(tmp_path):
    unknown = {"commit": "unknown", "clean": False}
    assert records.source_state(tmp_path) == unknown

    def git(*arguments):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, timeout=20)

    git("init", "-q")
    assert records.source_state(tmp_path) == unknown  # no commit yet
    (tmp_path / "scrapseg").mkdir()
    (tmp_path / "results").mkdir()
    code = tmp_path / "scrapseg" / "a.py"
    code.write_text("1\n")
    git("add", ".")
    git("commit", "-qm", "first")
    state = records.source_state(tmp_path)
    assert len(state["commit"]) == 40 and state["clean"]
    for name in ("results/run.json", "notebooks/01.ipynb", "README.md", "paper/paper.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("made while others run\n")
    assert records.source_state(tmp_path) == state
    assert records.source_state(tmp_path / "scrapseg") == unknown  # inside some other repository
    code.write_text("2\n")
    assert records.source_state(tmp_path) == state | {"clean": False}


# ---------------------------------------------------------------- files


def test_atomic_write_replaces_and_leaves_no_litter(tmp_path):
    path = files.atomic_write(tmp_path / "a" / "b.txt", "old")
    files.atomic_write(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_full_disk_is_one_line_and_keeps_the_old_file(tmp_path):
    path = files.atomic_write(tmp_path / "metrics.csv", "old")

    def parts():
        yield "n"
        raise OSError(28, "No space left on device")

    with pytest.raises(files.WriteFailed) as error:
        files.atomic_write(path, parts())
    assert str(error.value) == f"cannot write {path}: No space left on device"
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file where a folder should be")
    with pytest.raises(files.WriteFailed, match=r"scrapseg_scrapsim_allshots_s0\.json"):
        records.write_run(record(), tmp_path)


def test_figures_repeat_byte_for_byte_and_name_their_runs(tmp_path):
    def draw(folder, title):
        fig = Figure(figsize=(2, 1))
        fig.subplots().plot([0, 1], [1, 0])
        fig.suptitle(title)
        runs = ("unet_s0", Path("runs/b_0.5_s0.json"), "unet_s0")
        path = records.save_figure(fig, folder, "curve", runs)
        assert path == folder / "figures" / "curve.pdf"
        return [path.with_suffix(s).read_bytes() for s in (".pdf", ".png", ".json")]

    one, two, other = (
        draw(tmp_path / "1", "a"),
        draw(tmp_path / "2", "a"),
        draw(tmp_path / "3", "b"),
    )
    assert one == two and one[0] != other[0] and one[1] != other[1]
    assert b"CreationDate" not in one[0]
    assert json.loads(one[2]) == {"runs": ["b_0.5_s0", "unet_s0"]}
    assert int.from_bytes(one[1][16:20], "big") == 280  # 2 inches at 140 dpi


def test_table_has_six_digits_and_empty_nan(tmp_path):
    table = pd.DataFrame({"method": ["a", "b"], "ap": [1 / 3, math.nan], "n": [1_000_000, 2]})
    path = records.save_table(table, tmp_path, "main")
    assert path.read_text() == "method,ap,n\na,0.333333,1000000\nb,,2\n"


# ---------------------------------------------------------------- compare


def test_compare_reports_what_differs_and_what_is_missing(tmp_path):
    metrics = {"ap": 0.9, "miou": 0.7, "iou/wood": math.nan, "iou/cable": 0.5, "train_s": 10.0}
    records.write_run(record(metrics=metrics), tmp_path / "old")
    records.write_run(record(seed=1, metrics={"ap": 0.8}), tmp_path / "old")
    fresh = {
        "ap": 0.915,
        "miou": 0.73,
        "iou/wood": math.nan,
        "iou/cable": math.nan,
        "train_s": 99.0,
    }
    records.write_run(record(metrics={**fresh, "f1_max": 0.5}), tmp_path / "new")
    old, new = records.collect(tmp_path / "old"), records.collect(tmp_path / "new")
    rows = records.compare(old, new, {"*_s": math.inf, "iou/*": 0.1, "*": 0.02})
    found = {(row.seed, row.metric): row.problem for row in rows.itertuples()}
    assert found == {
        (0, "miou"): "differs",
        (0, "iou/cable"): "differs",
        (0, "f1_max"): "new",
        (1, "ap"): "missing",
    }
    miou = rows[rows["metric"] == "miou"].iloc[0]
    assert miou["difference"] == pytest.approx(0.03) and miou["tolerance"] == 0.02
    assert records.compare(old, old, {}).empty
    assert set(records.compare(old, new, {})["metric"]) == {*metrics, "f1_max"} - {"iou/wood"}
