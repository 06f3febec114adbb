"""A grid of four small runs elsewhere: Snakemake's own executor, a job killed on the way."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project_copy import ROOT, copy_project

PROFILE = """profile: tiny
results_dir: ../results/tiny
studies: [fewshot]
limit: null
steps: 2
few_steps: 2
crop: 64
batch_size: 2
methods: [scrapseg, unet]
controls: []
shots: [1]
seeds: [0]
"""
#: Stands in for a cluster's submit command: starts the job script elsewhere, names it, returns.
SUBMIT = """
import subprocess, sys
job = subprocess.Popen(["sh", sys.argv[1]], start_new_session=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(job.pid)
"""
SERIAL = """
from scrapseg.experiments.run import run_all
from scrapseg.experiments.studies import plan_profile
run_all(list(plan_profile("tiny").values()), "results/serial")
"""


@pytest.fixture
def project(tmp_path: Path, tiny_scrapsim: Path) -> Path:
    """A copy with a small data set in the place of ScrapSim."""
    copy = copy_project(tmp_path / "project")
    shutil.rmtree(copy / "data/scrapsim")
    shutil.copytree(tiny_scrapsim, copy / "data/scrapsim")
    (copy / ".venv").symlink_to(ROOT / ".venv")
    (copy / "notebooks/profiles/tiny.yaml").write_text(PROFILE)
    (copy / "submit.py").write_text(SUBMIT)
    return copy


def start(project: Path, *command: str) -> subprocess.Popen:
    settings = {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    environment, own = os.environ | settings, {"start_new_session": True}
    return subprocess.Popen(
        command, cwd=project, env=environment, stderr=subprocess.PIPE, text=True, **own
    )


#: Stands in for SLURM's programs: takes note of what it is told, and gives a job a number.
SLURM = """#!/bin/sh
[ $(basename "$0") = sbatch ] && { echo "$*" >> "$(dirname "$0")/submitted"; echo 4711; }
exit 0
"""


def test_slurm_is_told_what_the_readme_says(project, monkeypatch):
    readme = (ROOT / "README.md").read_text()
    (line,) = re.findall(r"^make (grid EXECUTOR=slurm .*default-resources.*)$", readme, re.M)
    (says,) = re.findall(r"every job `sbatch (.*?)`", readme)
    programs = project / "slurm"
    programs.mkdir()
    for name in ("sbatch", "sacct", "sacctmgr", "scontrol", "sinfo", "squeue"):
        (programs / name).write_text(SLURM)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    asked = shlex.split(line)
    asked[-1] += " --until run"
    grid = start(project, "make", "--old-file=.venv/.ready", "PROFILE=tiny", *asked)
    end, submitted = time.monotonic() + 90, programs / "submitted"
    while time.monotonic() < end and grid.poll() is None and not submitted.exists():
        time.sleep(0.1)
    os.killpg(grid.pid, signal.SIGKILL)
    _, told = grid.communicate(timeout=60)
    assert submitted.exists(), told
    given = submitted.read_text().splitlines()[0]
    assert all(f" {option} " in given for option in re.split(r" (?=-)", says)), given
    assert "run:name=" in given


def kill_one(project: Path) -> str:
    """End the first run that begins, as a cluster does that wants its machine back; its name."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for lock in project.glob("results/tiny/cache/*/.lock"):
            held = re.match(r"process (\d+) ", lock.read_text())
            if held:
                os.kill(int(held[1]), signal.SIGKILL)
                return lock.parent.name
        time.sleep(0.05)
    raise AssertionError("no run began")


def numbers(path: Path) -> dict:
    """A record's settings and metrics, costs apart."""
    record = json.loads(path.read_text())
    costs = ("train_s", "ms_per_image")
    metrics = {k: v for k, v in record["metrics"].items() if k not in costs}
    return {"metrics": metrics, "config": record["config"]}


def test_a_grid_on_other_machines_gives_the_serial_numbers_though_a_job_is_killed(project):
    plugin = f"--cluster-generic-submit-cmd '{sys.executable} submit.py'"
    grid = start(
        project,
        *("make", "--old-file=.venv/.ready", "grid", "PROFILE=tiny"),
        *("EXECUTOR=cluster-generic", "JOBS=2", "THREADS=1"),
        f"SNAKEMAKE={plugin} --seconds-between-status-checks 1 --until run",
    )
    killed = kill_one(project)
    _, told = grid.communicate(timeout=240)
    assert grid.returncode == 0, told
    assert f"run {killed} failed: it was killed" in told
    serial = start(project, sys.executable, "-c", SERIAL)
    assert serial.wait(240) == 0
    records = sorted(p.name for p in (project / "results/serial/runs").glob("*.json"))
    assert len(records) == 4
    for name in records:
        one, other = (
            numbers(project / f"results/{folder}/runs/{name}") for folder in ("serial", "tiny")
        )
        assert one == other, name
