"""The whole pipeline in small, in a copy of the project: runs, notebooks, tables, figures, paper.

`make test` runs the notebooks once before, in place (nbval). What they trained is copied, all but
one run, so that it is read back and not trained a second time.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from project_copy import ROOT, copy_project

from scrapseg.experiments.studies import plan_profile

ANEW = "unet_scrapsim_1shots_s0"


def reproduce(project: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["make", "--old-file=.venv/.ready", "--no-print-directory", "reproduce", "PROFILE=smoke"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_project(tmp_path_factory.mktemp("smoke"), data=False)
    for name in ("data", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    for record in (ROOT / "results/smoke/runs").glob("*.json"):
        cache = Path("results/smoke/cache") / record.stem
        if (ROOT / cache / "done").is_file() and record.stem != ANEW:
            shutil.copytree(ROOT / cache, folder / cache)
            for path in record.parent.glob(f"{record.stem}.*"):
                (folder / "results/smoke/runs").mkdir(exist_ok=True)
                shutil.copy(path, folder / "results/smoke/runs")
    done = reproduce(folder)
    assert done.returncode == 0, done.stderr
    counts = re.findall(r"(\d+) of (\d+)  ([\w .-]+?)  ", done.stderr)  # bars may stand before one
    assert [int(n) for n, _, _ in counts] == list(range(1, len(counts) + 1))
    assert {total for _, total, _ in counts} == {str(len(counts))}
    assert counts[-1][2] == "reproduce" and f"run {ANEW}" in {job for _, _, job in counts}
    return folder


@pytest.fixture
def results(project: Path) -> Path:
    return project / "results/smoke"


def test_all_notebooks_ran(results):
    ran = {p.stem for p in (results / "notebooks").glob("*.ipynb")}
    asks = {p.stem for p in (ROOT / "notebooks").glob("[0-9]*.py")} - {"08_app"}  # a page, no story
    assert ran == asks


def test_every_method_has_finite_metrics_and_a_run_record(results):
    with (results / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["method"] for row in rows} >= {"scrapseg", "scrapseg-frozen", "unet", "patchcore"}
    runs = {p.stem for p in (results / "runs").glob("*.json")}
    assert {row["run"] for row in rows} == runs == set(plan_profile("smoke"))
    for row in rows:
        if row["metric"] in ("ap", "auroc", "miou_binary"):
            assert 0 <= float(row["value"]) <= 1, row


def test_figures_tables_and_paper_are_there(results):
    figures = {p.suffix for p in (results / "figures").iterdir()}
    assert {".pdf", ".png"} <= figures
    assert list((results / "tables").glob("*.csv"))
    pdf = (results / "paper.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")


def test_a_second_run_takes_seconds_and_changes_nothing(project):
    def times() -> dict[Path, int]:
        kept = (p for p in (project / "results").rglob("*") if p.is_file())
        return {p: p.stat().st_mtime_ns for p in kept if p.name != "engine.lock"}

    before, start = times(), time.perf_counter()
    done = reproduce(project)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 10
    assert done.stderr == "nothing changed: all of it is up to date\n"
    assert times() == before
