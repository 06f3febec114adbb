"""The engine's lines, locks and ends, on a Snakefile of three jobs that compute nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
with engine.alone(Path("cache") / name):
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


def start(project: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--nolock", "--rerun-incomplete"]
    return subprocess.Popen(
        [*command, "--scheduler", "greedy", "--quiet", "all"],
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
