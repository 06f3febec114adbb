"""The whole pipeline in small, to a folder of its own: notebooks, tables, figures, paper.

`make test` runs the notebooks once before, in place (nbval). What they trained is copied into the
pipeline's folder, so that a run with the same key (settings, data, code) is read back and not
trained a second time. Without such runs, or with others, the pipeline trains its own.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scrapseg.reproduce import DEPENDS

ROOT = Path(__file__).resolve().parent.parent


def reproduce(results: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "scrapseg.reproduce", "--profile", "smoke"]
        + ["--results", str(results)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smoke")
    trained = ROOT / "results/smoke"
    for record in trained.glob("runs/*.json"):
        cache = trained / "cache" / record.stem
        if (cache / "key").is_file():  # the run was finished
            shutil.copytree(cache, folder / "cache" / record.stem)
            for path in trained.glob(f"runs/{record.stem}.*"):
                (folder / "runs").mkdir(exist_ok=True)
                shutil.copy(path, folder / "runs")
    done = reproduce(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_all_notebooks_ran(results):
    assert {p.stem for p in (results / "notebooks").glob("*.ipynb")} == set(DEPENDS)


def test_every_method_has_finite_metrics_and_a_run_record(results):
    with (results / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["method"] for row in rows} >= {"scrapseg", "scrapseg-frozen", "unet", "patchcore"}
    runs = {p.stem for p in (results / "runs").glob("*.json")}
    assert {Path(row["run"]).stem for row in rows} == runs
    for row in rows:
        if row["metric"] in ("ap", "auroc", "miou_binary"):
            assert 0 <= float(row["value"]) <= 1, row


def test_figures_tables_and_paper_are_there(results):
    figures = {p.suffix for p in (results / "figures").iterdir()}
    assert {".pdf", ".png"} <= figures
    assert list((results / "tables").glob("*.csv"))
    pdf = (results / "paper.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")


def test_a_second_run_takes_seconds_and_changes_nothing(results):
    before = {p: p.stat().st_mtime_ns for p in results.rglob("*") if p.is_file()}
    start = time.perf_counter()
    done = reproduce(results)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 10
    assert done.stdout.count("unchanged") == len(DEPENDS) + 1  # the notebooks and the paper
    assert {p: p.stat().st_mtime_ns for p in results.rglob("*") if p.is_file()} == before
