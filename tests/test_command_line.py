"""The command line: a mistyped profile is one line and makes nothing."""

from __future__ import annotations

import re
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


def test_what_cannot_be_applied_is_told_in_a_line_before_anything_heavy_is_loaded(tmp_path):
    """A folder, a class list and numbers, in a process of its own."""
    files = {"empty": "notes.txt", "mine": "a.jpg", "listed": "a.jpg", "phone": "a.HEIC"}
    for name, file in files.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("")
    (tmp_path / "listed/classes.yaml").write_text("steel:\ncopper: {colour: bluish}\n")
    bad = {"elsewhere": "no such folder", "mine/a.jpg": "is a file", "empty": "holds no images"}
    bad |= {"phone": "a.HEIC is of a format that is not read here; save images as"}
    bad |= {"listed": "'bluish' is no colour", "mine --classes none.yaml": "no such file"}
    bad |= {"mine --threshold 2": "THRESHOLD is 2", "mine --recall -0.1": "RECALL is -0.1"}
    bad |= {"mine --minutes 0": "MINUTES is 0", "mine --minutes inf": "MINUTES is inf"}
    bad |= {"mine --empty no": "it may be clean or unlabelled"}
    bad |= {"mine --model mine": "holds no model (.safetensors); one made here"}
    bad |= {"mine --model none.safetensors": "no such model"}
    bad |= {"mine --side -5": "SIDE is -5", "mine --threshold nan": "THRESHOLD is nan"}
    bad |= {"mine --out mine/a.jpg/out": "name another folder, as in OUT=results"}
    code = f"""
import sys
from typer.testing import CliRunner
from scrapseg.__main__ import app
for line in {list(bad)}:
    done = CliRunner().invoke(app, ["apply", *line.split()])
    print(done.exit_code, bool({{"torch", "pandas"}} & {{*sys.modules}}), done.output, end="")
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.count("\n") == len(bad), done.stdout + done.stderr
    for line, said in zip(done.stdout.splitlines(), bad.values(), strict=True):
        assert line.startswith("1 False error: ") and said in line


@pytest.mark.parametrize(("adapt", "refused"), [("maybe", True), ("yes", False), ("", False)])
def test_adapt_is_yes_or_no(adapt, refused):
    make = ["make", "-o", ".venv/.ready", "apply", "DATA=elsewhere", f"ADAPT={adapt}"]
    done = subprocess.run(make, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode
    assert refused == ("ADAPT is 'maybe'; it may be yes or no" in done.stderr)
    assert refused != ("elsewhere: no such folder" in done.stderr)


@pytest.mark.parametrize("variable", ["MINUTES", "THRESHOLD", "SIDE"])
def test_a_word_for_a_number_is_told_in_a_line_by_its_name_in_make(variable):
    make = ["make", "-o", ".venv/.ready", "apply", "DATA=elsewhere", f"{variable}=abc"]
    done = subprocess.run(make, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode
    told = [line for line in done.stderr.splitlines() if not re.match(r"make(\[\d+\])?: ", line)]
    assert len(told) == 1 and told[0].startswith(f"error: {variable}: ")


def test_an_argument_that_is_left_out_is_told_in_a_line():
    done = CliRunner().invoke(app, ["apply"])
    assert (done.exit_code, done.output) == (2, "error: DATA: is missing\n")


def test_results_may_go_where_there_are_some(tmp_path, monkeypatch):
    """The folder's name gets a number then."""
    (tmp_path / "a.jpg").write_text("")
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("scrapseg.app.apply.apply", lambda data, out, *_, **options: out)
    done = CliRunner().invoke(app, ["apply", str(tmp_path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and "error" not in done.output


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
