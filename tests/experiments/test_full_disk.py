"""A disk that fills up under a run, in a small file system of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scrapseg.files import REPOSITORY

#: A run as the command line makes it.
RUN = """
import sys
from scrapseg import __main__ as line
from scrapseg.experiments.methods import rates
from scrapseg.experiments.run import run_all
from scrapseg.experiments.studies import RunSpec
from scrapseg.train import loop

loop.SAVE_EVERY = 1
changes = {{"steps": 3, "batch_size": 1, "crop": 64}} | rates({method!r}, None, None, "scrapsim")

@line.command
def tiny() -> None:
    run_all([RunSpec({method!r}, changes=changes)], {results!r}, {data!r})

sys.argv = ["scrapseg", "tiny"]
line.app()
"""
MOUNT = ["unshare", "--user", "--map-root-user", "--mount"]
HERE = subprocess.run([*MOUNT, "true"], capture_output=True).returncode == 0 if shutil.which(
    "unshare") else False  # fmt: skip


@pytest.mark.skipif(not HERE, reason="no file system can be mounted here")
def test_a_full_disk_is_said_in_a_line_and_the_run_goes_on(tmp_path: Path, tiny_scrapsim: Path):
    method = "scrapseg"
    disk, script = tmp_path / "disk", tmp_path / "run.py"
    disk.mkdir()
    script.write_text(RUN.format(method=method, results=str(disk), data=str(tiny_scrapsim)))
    steps = f"""
mount -t tmpfs -o size=2m none {disk}
{sys.executable} {script}; echo "ended $?"
find {disk} -name '*.partial' -o -name '*.tmp'
mount -o remount,size=400m {disk}
{sys.executable} {script}; echo "ended $?"
ls {disk}/runs
"""
    done = subprocess.run(
        [*MOUNT, "sh", "-c", steps],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and str(disk) in told[0] and "Traceback" not in done.stderr, done.stderr
    assert done.stdout.split() == [
        "ended",
        "1",
        "ended",
        "0",
        f"{method}_scrapsim_allshots_s0.json",
    ]
