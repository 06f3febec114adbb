"""The command line: a mistyped profile is one line and makes nothing."""

from __future__ import annotations

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


def test_a_run_that_there_is_not():
    done = CliRunner().invoke(app, ["run", "nosuch"])
    assert done.exit_code == 1 and "profile laptop has no run 'nosuch'" in done.output
    assert not (REPOSITORY / "results/laptop/cache/nosuch").exists()
