"""The command line: a mistyped profile is one line and makes nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from scrapseg.__main__ import app
from scrapseg.files import REPOSITORY


@pytest.mark.parametrize(
    "command", ["run x", "notebook 01_data_exploration", "publish x", "tables", "paper", "verify"]
)
def test_a_profile_that_there_is_not(command):
    done = CliRunner().invoke(app, [*command.split(), "--profile", "nowhere"])
    assert done.exit_code == 2
    assert "no profile 'nowhere'; there is clip, full" in done.output
    assert not (REPOSITORY / "results/nowhere").exists()


def test_a_side_that_shows_nothing(tmp_path):
    done = CliRunner().invoke(app, ["apply", str(tmp_path), "--side", "-5"])
    assert done.exit_code == 2 and "--side" in done.output


@pytest.mark.parametrize(("adapt", "refused"), [("maybe", True), ("yes", False), ("", False)])
def test_adapt_is_yes_or_no(adapt, refused):
    make = ["make", "-o", ".venv/.ready", "apply", "DATA=elsewhere", f"ADAPT={adapt}"]
    done = subprocess.run(make, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode
    assert refused == ("ADAPT is 'maybe'; it may be yes or no" in done.stderr)
    assert refused != ("elsewhere: no such folder" in done.stderr)


def test_a_run_that_there_is_not():
    done = CliRunner().invoke(app, ["run", "nosuch"])
    assert done.exit_code == 1 and "profile laptop has no run 'nosuch'" in done.output
    assert not (REPOSITORY / "results/laptop/cache/nosuch").exists()


def test_help_and_a_mistyped_command_wait_for_nothing_heavy():
    """As `python -m scrapseg` runs, in a process of its own."""
    code = """
import runpy, sys
try:
    runpy.run_module("scrapseg", run_name="__main__", alter_sys=True)
except SystemExit as end:
    print(end.code, {"torch", "torchvision", "numpy", "pandas", "onnxruntime"} & {*sys.modules})
"""
    for word, status in (("--help", 0), ("nosuch", 2)):
        done = subprocess.run([sys.executable, "-c", code, word], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == f"{status} set()", done.stderr
