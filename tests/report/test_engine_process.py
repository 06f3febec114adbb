"""The engine's lines, locks and ends, on a Snakefile of three jobs that compute nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mounts import inside, needs_mounts

from scrapseg.report import engine

ROOT = Path(__file__).resolve().parents[2]
SNAKEFILE = """
import sys
from scrapseg.report import engine
engine.begin(workflow, "cache/engine.lock")
rule all:
    input: "one.done", "two.done"
rule job:
    output: "{name}.done"
    log: "{name}.log"
    shell: "{sys.executable} job.py {wildcards.name} {output} {log}"
"""
#: A job does what the file of its name says: nothing, break, or sleep.
JOB = """
import sys, time
from pathlib import Path
from scrapseg.report import engine
name, output, log = sys.argv[1:]
engine.follow(0.2)
with engine.lock(Path("cache") / name, patience=20):
    todo = Path(name).read_text() if Path(name).is_file() else ""
    if todo == "break":
        Path(log).write_text("Traceback\\n  a page of it\\nerror: two: the wheel came off\\n")
        sys.exit(1)
    if todo == "sleep":
        Path("asleep").touch()
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            sys.exit(130)
    Path(output).touch()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "job.py").write_text(JOB)
    return tmp_path


COMMAND = [sys.executable, "-m", "snakemake", "--cores", "1", "--nolock", "--rerun-incomplete"]
COMMAND += ["--scheduler", "greedy", "--quiet", "all"]


def start(project: Path) -> subprocess.Popen:
    return subprocess.Popen(
        COMMAND,
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen) -> tuple[int, list[str]]:
    out, err = process.communicate(timeout=120)
    assert out == ""
    return process.returncode, err.splitlines()


def until(condition, what: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def test_a_line_a_job_and_one_for_what_broke(project):
    (project / "two").write_text("break")
    status, lines = finish(start(project))
    assert status == 1
    assert [line for line in lines if line.startswith("job two")] == [
        "job two failed: two: the wheel came off; see two.log"
    ]
    assert all(line.split("  ")[0] == "1 of 3" or line.startswith("job two") for line in lines)
    (project / "two").unlink()
    status, lines = finish(start(project))
    assert status == 0
    assert lines[-1].startswith(f"{len(lines)} of {len(lines)}  ")
    assert any(line.split("  ")[1] == "job two" for line in lines)
    assert finish(start(project)) == (0, ["nothing changed: all of it is up to date"])


def test_two_at_once_are_refused_and_a_killed_one_is_in_nobody_s_way(project):
    (project / "one").write_text("sleep")
    first = start(project)
    until((project / "asleep").exists, "the job never began")
    status, lines = finish(start(project))
    assert status == 1
    (line,) = lines
    assert f"process {first.pid} " in line and "wait for it" in line
    first.kill()  # Snakemake alone: its job is left behind
    first.communicate()
    (project / "one").unlink()
    began = time.monotonic()
    status, lines = finish(start(project))
    assert status == 0, lines
    assert time.monotonic() - began < 45  # it did not wait for the sleeper
    assert (project / "one.done").exists() and (project / "two.done").exists()


def test_an_interrupt_ends_all_of_it_with_a_line(project):
    (project / "one").write_text("sleep")
    process = start(project)
    until((project / "asleep").exists, "the job never began")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    status, lines = finish(process)
    assert status != 0
    assert lines[-1] == "stopped; what was finished is kept, and the same command goes on"
    assert not any("Traceback" in line for line in lines)
    assert not (project / "one.done").exists()


def test_a_clock_that_was_set_back_does_nothing_anew(project):
    """What goes in and what came out lie in the future; then one changes by its content."""
    text = SNAKEFILE.replace('"cache/', '"made/cache/').replace('output: "', 'output: "made/')
    text = text.replace('"one.done", "two', '"made/one.done", "made/two')
    text = text.replace("    output:", '    input: "in.txt"\n    output:')
    (project / "Snakefile").write_text(text)
    (project / "in.txt").write_text("first")
    assert finish(start(project))[0] == 0
    tomorrow = time.time() + 86400
    for path in (*project.glob("made/*.done"), project / "in.txt"):
        os.utime(path, (tomorrow, tomorrow))
    nothing = (0, ["nothing changed: all of it is up to date"])
    assert finish(start(project)) == nothing
    (project / "in.txt").write_text("other")  # dated before what came of it
    status, lines = finish(start(project))
    assert status == 0 and sum("job " in line for line in lines) == 2, lines
    assert finish(start(project)) == nothing


def test_what_lies_in_the_future_is_dated_back_in_its_order(tmp_path):
    names, now = ["older", "old", "new", "newest"], time.time()
    for name, hours in zip(names, (-5, -1, 30, 40), strict=True):
        path = tmp_path / "a" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (now, now + 3600 * hours))
    dates = {p: p.stat().st_mtime for p in path.parent.iterdir()}
    engine.date_back(tmp_path)
    moved = {p: p.stat().st_mtime for p in dates}
    assert sorted(dates, key=dates.get) == sorted(moved, key=moved.get)
    assert max(moved.values()) < now - 86400
    engine.date_back(tmp_path)  # once is enough
    assert moved == {p: p.stat().st_mtime for p in dates}


@needs_mounts
@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_cannot_be_written_is_named_in_a_line(project, there):
    """Whether the lock of an earlier call lies in it or not."""
    (project / "cache").mkdir()
    if there:
        (project / "cache/engine.lock").touch()
    mount = "mount --bind cache cache && mount -o remount,bind,ro cache"
    done = inside(f"{mount} && exec {' '.join(COMMAND)}", project)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "reproduce: cannot write in cache: Read-only file system\n"
    assert not (project / "one.done").exists()


def test_waiting_threads_sleep_wherever_torch_is_loaded():
    """As OpenMP itself tells it; a kernel inherits it from the command that starts it."""
    clean = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    told = subprocess.run(
        [sys.executable, "-c", "import scrapseg.__main__, torch, os; print(dict(os.environ))"],
        cwd=ROOT,
        env=clean | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    if "GOMP_SPINCOUNT" in told.stderr:  # GNU's OpenMP, which Linux has; it spins 300,000 times
        assert "GOMP_SPINCOUNT = '0'" in told.stderr
    assert "'OMP_WAIT_POLICY': 'PASSIVE'" in told.stdout
    assert "export OMP_WAIT_POLICY ?= PASSIVE" in (ROOT / "Makefile").read_text()
