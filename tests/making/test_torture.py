"""`making.torture`, in short: jobs of the tests' own that survive kills, and that do not.

And a training and `make apply`, in small, with one kill each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import numpy as np
import pandas as pd
import pytest

from making import torture
from making.torture import JOBS, Job, copy_of_project, python, tortured
from scrapseg.files import REPOSITORY

#: Each writes three files, one after another, into results/torture.
BEGIN = f"""
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, {str(REPOSITORY)!r})
from scrapseg.files import atomic_write
out = Path("results/torture")
out.mkdir(parents=True, exist_ok=True)
for k in range(3):
    path = out / f"{{k}}.json"
    text = json.dumps({{"values": [k] * 1000}})
"""
#: What each does with a file, the well-behaved first.
KINDS = {
    "goes on": """
    if not path.exists():
        time.sleep(0.15)
        atomic_write(path, text)
""",
    "writes by halves": """
    with path.open("w") as file:
        file.write(text[:500])
        file.flush()
        time.sleep(0.15)
        file.write(text[500:])
""",
    "counts its starts": """
    starts = json.loads(path.read_text()) if path.exists() else []
    atomic_write(path, json.dumps([*starts, k]))
    time.sleep(0.15)
""",
    "fails after a kill": """
    if k == 0 and path.exists():
        sys.exit(1)
    atomic_write(path, text)
    time.sleep(0.15)
""",
    "makes nothing": """
    time.sleep(0.15)
""",
}


class Moments:
    """Stands for a random generator: kills at these shares of a job's time, in turn."""

    def __init__(self, *shares: float) -> None:
        self.shares: Iterator[float] = cycle(shares)

    def uniform(self, low: float, high: float) -> float:
        return low + next(self.shares) * (high - low)


def job(kind: str, **options: bool) -> Job:
    text = (BEGIN + KINDS[kind]).replace("{", "{{").replace("}", "}}")
    command = python("-S", "-c", text)
    return Job(command, ("results/torture/*.json",), ("results/torture",), **options)


def test_a_training_and_an_apply_that_are_killed_end_as_if_undisturbed(tmp_path):
    project = copy_of_project(tmp_path / "project")
    profile = project / "notebooks/profiles/torture.yaml"
    profile.write_text(profile.read_text().replace("steps: 150", "steps: 40"))
    for path in sorted((project / "own").iterdir())[4:]:
        path.unlink()
    for name, moment in (("training", 0.8), ("make apply", 0.9)):
        seen = tortured(JOBS[name], project, 1, Moments(moment))
        log = (project / "torture.log").read_text()
        assert seen["same"] is True and seen["ends_well"] and not seen["half_files"], log


@pytest.mark.parametrize(
    ("kind", "halves", "well", "same"),
    [
        ("goes on", False, True, True),
        ("writes by halves", True, True, True),
        ("counts its starts", False, True, False),
        ("fails after a kill", False, False, None),
        ("makes nothing", False, True, False),
    ],
)
def test_what_a_kill_does_is_seen(kind, halves, well, same, tmp_path):
    seen = tortured(job(kind), tmp_path, 2, Moments(0.7, 0.4))
    assert (seen["kills"], seen["half_files"] > 0, seen["ends_well"]) == (2, halves, well)
    assert same is None or seen["same"] is same
    assert seen["files"] == 3 * (kind != "makes nothing")


def test_what_is_not_compared_is_not_the_same(tmp_path):
    """The cell is empty, in what is written and in what is committed; and that is no loss."""
    seen = tortured(job("counts its starts", compared=False), tmp_path, 1, Moments(0.3))
    assert np.isnan(seen["same"]) and seen["ends_well"] and seen["kills"] == 1
    table = pd.read_csv(REPOSITORY / "results/bench/torture.csv").set_index("job")
    assert set(table.index) == set(JOBS)
    assert {n for n, j in JOBS.items() if not j.compared} == set(table.index[table["same"].isna()])


@pytest.mark.parametrize(("same", "lost"), [(True, False), (np.nan, False), (False, True)])
def test_the_command_ends_with_what_was_lost(same, lost, tmp_path, monkeypatch):
    row = {"kills": 2, "ended_before": 0, "undisturbed_s": 1.0, "half_files": 0}
    row |= {"ends_well": True, "same": same, "files": 1}
    monkeypatch.setattr(torture, "copy_of_project", lambda to: to)
    monkeypatch.setattr(torture, "tortured", lambda *_: row)
    monkeypatch.setattr("sys.argv", ["torture", "--only", "make app", "--out", str(tmp_path)])
    for _ in range(2):  # a table that is there is read again
        with pytest.raises(SystemExit) as end:
            torture.main()
        assert bool(end.value.code) == lost
    assert pd.read_csv(tmp_path / "torture.csv")["same"].isna().all() == (same is np.nan)
