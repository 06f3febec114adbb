"""What the Snakefile needs beside the map itself: one line a job, and one process a results folder.

Snakemake says a page for every job; here a finished job is a line with its time and how many there
are, and a failed one the last line of its log. Jobs that outlive a killed Snakemake end themselves,
so that the next call finds nothing in its way.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from scrapseg.files import ResultsError, WriteFailed

_HELD: list[IO[str]] = []  # locks of this process, freed at its end
PARENT = "SCRAPSEG_ENGINE"  # environment: "host:pid" of the Snakemake that a job belongs to


class Busy(ResultsError):
    """Another process writes there."""


def lock(path: Path, patience: float = 0) -> IO[str]:
    """Take the file ``path`` for this process until it ends or closes what is returned.

    The system frees it when the process dies, however it dies: no lock is ever stale.

    Args:
        patience: seconds to wait for another process to let go; a killed Snakemake's job may still
            be there for a moment.

    Raises:
        Busy: another process has it.
        WriteFailed: nothing can be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held, end = path.open("a+", encoding="utf-8"), time.monotonic() + patience
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < end:
                    time.sleep(0.2)
                    continue
                held.close()
                owner = path.read_text(encoding="utf-8").strip() or "another process"
                raise Busy(f"{path.parent}: {owner} writes there; wait for it, or end it") from None
            except OSError:  # a file system without locks
                return held
            held.truncate(0)
            print(f"process {os.getpid()} on {socket.gethostname()}", file=held, flush=True)
            return held
    except OSError as error:
        raise WriteFailed(f"cannot write in {path.parent}: {error.strerror}") from error


def begin(workflow: Any, path: Path | str) -> None:
    """What the Snakefile does first: one Snakemake a results folder, its messages as `Lines`.

    A dry run and the Snakemake inside a cluster's job only read, and change nothing here.
    """
    from snakemake.logging import logger
    from snakemake.settings.enums import Quietness

    if not workflow.is_main_process or workflow.dryrun:
        return
    if Quietness.ALL in (workflow.output_settings.quiet or ()):
        logger.handlers[:] = [Lines()]
    try:
        _HELD.append(lock(Path(path)))
        date_back(Path(path).parents[1])
    except (ResultsError, OSError) as error:
        raise SystemExit(f"reproduce: {error}") from None
    os.environ[PARENT] = f"{socket.gethostname()}:{os.getpid()}"


def date_back(folder: Path) -> None:
    """Where results lie in the future, since the clock was set back, date all of them ten years
    earlier, their order kept.

    Snakemake compares the content of an input only if it is newer than what was made of it: one
    that changes now would be passed over for as long as the results are of tomorrow.
    """
    dates = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    if max(dates.values(), default=0) > time.time_ns() + 60 * 10**9:
        for path, date in dates.items():
            os.utime(path, ns=(date, date - 3650 * 86400 * 10**9))


def follow(every: float = 1.0) -> None:
    """End this process when the Snakemake that started it is gone, killed by ``kill -9``.

    What a run saved stays, and the next call goes on from there. Does nothing on another machine
    than Snakemake's, or without one.
    """
    host, _, pid = os.environ.get(PARENT, "").partition(":")
    if host != socket.gethostname() or not pid:
        return

    def watch() -> None:
        while True:
            try:
                os.kill(int(pid), 0)
            except OSError:  # it is gone, or its number is somebody else's by now
                os._exit(1)
            time.sleep(every)

    threading.Thread(target=watch, daemon=True).start()


class Lines(logging.Handler):
    """Snakemake's log events, a line each where a person wants one.

    They go to stderr, so that a job's progress bar and the lines share the terminal.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, tuple[str, float]] = {}
        self.ended: list[str] = []  # jobs whose line waits for the count
        self.failed: set[str] = set()

    def say(self, text: str) -> None:
        """Write a line, over what a progress bar left."""
        with suppress(BrokenPipeError):
            print("\r\033[K" * sys.stderr.isatty() + text, file=sys.stderr, flush=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one event."""
        event = getattr(getattr(record, "event", None), "value", None)
        if event == "job_info":
            words = [record.rule_name, *dict(record.wildcards or {}).values()]
            self.jobs[record.jobid] = " ".join(map(str, words)), time.monotonic()
        elif event == "job_finished":
            name, start = self.jobs.get(record.job_id, ("job", time.monotonic()))
            minutes, seconds = divmod(int(time.monotonic() - start), 60)
            self.ended.append(f"{name}  {minutes}:{seconds:02d}")
        elif event == "progress":
            for line in self.ended:
                self.say(f"{record.done} of {record.total}  {line}")
            self.ended.clear()
        elif event == "job_error" and "all" not in self.failed:
            self.say(self.reason(record))
        elif event in ("error", None):
            self.other(" ".join(record.getMessage().split()), record.levelno)

    def other(self, text: str, level: int) -> None:
        """The few of Snakemake's plain messages that a person waits for."""
        if text.startswith("Nothing to be done"):
            self.say("nothing changed: all of it is up to date")
        elif text.startswith("Terminating processes on user request"):
            self.failed.add("all")  # what ends now did not fail by itself
            self.say("stopped; what was finished is kept, and the same command goes on")
        elif level >= logging.ERROR and text and not self.failed and "CalledProcess" not in text:
            self.say(f"snakemake: {text[:600]}")

    def reason(self, record: logging.LogRecord) -> str:
        """Last line of a failed job's log, which is its error, and where the log is."""
        name, _ = self.jobs.get(record.jobid, (record.rule_name, 0.0))
        self.failed.add(name)
        for path in map(Path, record.log or ()):
            with suppress(OSError):
                lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                if lines and lines[-1].startswith("error: "):
                    return f"{name} failed: {lines[-1].removeprefix('error: ')}; see {path}"
                return f"{name} failed: it was killed (out of memory?); see {path}"
        return f"{name} failed: it was killed before it wrote a log (out of memory?)"
