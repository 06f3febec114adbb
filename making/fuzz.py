"""Broken files by the ten thousand: is each of them read, or refused by name, and nothing else?

    python -m making.fuzz [--examples 10000] [--only coco ...] [--bombs no] [--guided]
                          [--keep FOLDER] [--out results/bench]

`making.fuzz_inputs` writes a valid input of each reader and changes it: keys dropped, doubled and
swapped, other types, numbers out of all bounds, strings that are paths, bytes flipped, files cut
short; and first the bombs. A reader may give what it read, or raise one of its named exceptions
with one clear line. Anything else is a fault: another exception, more than `CPU_S` of computing,
more than `MEMORY` beyond what the process had before, a file opened outside the folder, anything
written at all, a process started, a connection, an object unpickled. Each reader is tried in a
process of its own, so a crash is a fault of that one.

With `--guided` atheris draws them, which needs `pip install atheris` (its wheels are for Linux and
some Pythons): it keeps what reaches lines of ours that nothing before reached, and changes that.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import functools
import inspect
import json
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pandas as pd
from hypothesis import strategies as st
from tqdm import tqdm

from making.fuzz_inputs import ODD, READERS, Reader
from scrapseg.experiments.records import provenance
from scrapseg.files import REPOSITORY, atomic_write

try:
    import atheris
except ImportError:  # no requirement of this project
    atheris = None

CPU_S = 10
"""Seconds of computing that one input may take."""
STUCK_S = 300
"""Seconds after which a process that answers no signal is ended."""
MEMORY = 3 << 29
"""Bytes (1.5 GiB) of address space that a reader may take beyond what the process has."""
LONGEST = 2500
"""Characters of a clear line: a path, and what is wrong."""
COLUMNS = ["reader", "examples", "read", "refused", "faults", "slowest_s", "peak_mb", "cpu_s"]

#: Where libraries and the project's own files lie, which may be read.
OURS = (*map(os.path.realpath, (sys.prefix, sys.base_prefix, REPOSITORY)), "/proc", "/sys")
#: What no reader has any business to do, as Python's audit events call it.
FORBIDDEN = (
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.",
    "shutil.",
)
FORBIDDEN += ("pickle.find_class", "urllib.", "os.remove", "os.rename", "os.mkdir", "os.rmdir")
FORBIDDEN += ("os.symlink", "os.link", "os.chmod", "os.truncate")


class Hang(BaseException):
    """An input took too long; no reader's `except Exception` takes it for its own."""


class Watch:
    """What is done to files, processes and the network while a reader reads."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hook)  # stays until the process ends

    def _hook(self, event: str, args: tuple) -> None:
        if self.folder is None:
            return
        if event == "open" and isinstance(args[0], str | bytes):
            path = os.path.realpath(os.fsdecode(args[0]))
            writes = bool((args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            inside = Path(path).is_relative_to(self.folder) or path.startswith(OURS)
            if writes or not inside:
                self.seen.append(f"opens {path}" + (" to write" if writes else ""))
        elif event.startswith(FORBIDDEN):
            self.seen.append(f"{event} {args!r:.200}")

    @contextlib.contextmanager
    def over(self, folder: Path) -> Iterator[None]:
        """Watch what is done while this folder is read."""
        self.folder, self.seen = folder, []
        try:
            yield
        finally:
            self.folder = None


def late(*_: object) -> None:
    """Handler of the timer over computing time."""
    raise Hang(f"more than {CPU_S} s")


def judge(reader: Reader, folder: Path, watch: Watch) -> tuple[str, str]:
    """What a reader makes of a folder: ``read``, ``refused`` or ``fault``, and the line."""
    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    said, kind = "", "read"
    try:
        with watch.over(folder):
            reader.read(folder)
    except reader.named as error:
        kind, said = "refused", str(error)
    except (Exception, Hang) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "/scrapseg/" in f.filename]
        at = "".join(f" <- {Path(f.filename).name}:{f.lineno}" for f in [place, *ours[-1:]])
        kind, said = "fault", f"{type(error).__name__}: {str(error)[:200]!r}{at}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if watch.seen:
        return "fault", watch.seen[0]
    if kind == "refused" and not (said.isprintable() and 0 < len(said) <= LONGEST):
        return "fault", f"no clear line, {len(said)} characters: {said[:200]!r}"
    return kind, said


def fuzz(
    reader: Reader,
    examples: int,
    keep: Path | None = None,
    guided: Callable[[dict], None] | None = None,
) -> dict:
    """Try a reader with its bombs and so many broken inputs, in this process.

    Args:
        guided: atheris draws them; it ends the process, so this takes what was found before.

    Returns:
        `COLUMNS`, and `lines`: each kind of fault with how often it was seen.
    """
    watch, counts, lines = Watch(), Counter(), Counter()
    slowest, began = 0.0, time.process_time()
    bar = tqdm(total=examples, desc=reader.name, unit="input", leave=False, mininterval=1)
    work = Path(tempfile.mkdtemp(prefix="scrapseg-fuzz-")).resolve()

    def one(write) -> None:
        nonlocal slowest
        faulthandler.dump_traceback_later(STUCK_S, exit=True, file=sys.__stderr__)
        folder = work / "mine"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write(folder)
        start = time.process_time()
        kind, said = judge(reader, folder, watch)
        slowest = max(slowest, time.process_time() - start)
        counts[kind] += 1
        if kind == "fault":
            if keep and not lines[said]:
                kept = keep / f"{reader.name}-{len(lines)}"
                shutil.copytree(folder, kept, symlinks=True, dirs_exist_ok=True)
                (kept / "fault.txt").write_text(said + "\n", errors="backslashreplace")
            lines[said] += 1
        bar.update()

    @hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.data())
    def many(data: st.DataObject) -> None:
        one(lambda folder: reader.write(folder, data.draw))
        if guided and counts.total() >= examples + len(reader.bombs):
            guided(found())

    def found() -> dict:
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        row = (reader.name, counts.total(), counts["read"], counts["refused"], counts["fault"])
        row += (slowest, peak, time.process_time() - began)
        return dict(zip(COLUMNS, row, strict=True)) | {"lines": lines}

    try:
        reader.valid(work / "valid")
        reader.read(work / "valid")  # a fault here is one of the strategy; and all is imported
        have = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (have + MEMORY, -1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for bomb in reader.bombs:
            one(bomb)
        if examples and guided:
            follow_coverage(many.hypothesis.fuzz_one_input)
        elif examples:
            many()
    finally:
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(work, ignore_errors=True)
        bar.close()
    return found()


def follow_coverage(one_input: Callable[[bytes], object]) -> None:
    """Give a function inputs without end, by which lines of ours they reach."""
    for name, module in list(sys.modules.items()):
        if name.startswith("scrapseg."):
            for function in vars(module).values():
                if inspect.isfunction(function) and function.__module__ == name:
                    atheris.instrument_func(function)
    with tempfile.TemporaryDirectory(prefix="scrapseg-corpus-") as corpus:
        options = ["-verbosity=0", "-rss_limit_mb=0", "-timeout=600", "-len_control=0"]
        atheris.Setup([sys.argv[0], *options, "-max_len=8192", corpus], one_input)
        atheris.Fuzz()


@functools.cache
def warm() -> None:
    """What hypothesis does once and each process of a reader would do anew."""
    once = hypothesis.settings(max_examples=1, database=None, deadline=None)
    once(hypothesis.given(ODD)(lambda _: None))()


def apart(reader: Reader, examples: int, keep: Path | None, guided: bool = False) -> dict:
    """`fuzz` in a process of its own; one that dies is a fault."""
    ours, theirs = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        warnings.simplefilter("ignore")
        logging.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

        def finish(found: dict) -> None:
            theirs.send(found)
            os._exit(0)

        finish(fuzz(reader, examples, keep, finish if guided else None))

    warm()
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        process.join()
        said = Counter({f"the process ended with {process.exitcode}": 1})
        found = dict.fromkeys(COLUMNS, 0) | {"reader": reader.name, "faults": 1, "lines": said}
    process.join()
    return found


def save_rows(path: Path, table: pd.DataFrame, made: dict) -> None:
    """Write a table and each reader's provenance; rows of other readers stay as they were made."""
    origins = dict.fromkeys(table["reader"], made)
    if path.with_suffix(".csv").is_file():
        before = pd.read_csv(path.with_suffix(".csv"))
        table = pd.concat([before[~before["reader"].isin(origins)], table])
        origins = json.loads(path.with_suffix(".json").read_text()) | origins
    order = table["reader"].map([r.name for r in READERS].index)
    rows = table.iloc[order.argsort()]
    atomic_write(path.with_suffix(".csv"), rows.to_csv(index=False, float_format="%.4g"))
    atomic_write(path.with_suffix(".json"), json.dumps(origins, indent=1) + "\n")


def main() -> None:
    """Command line; ends with 1 where there is a fault. ``--out`` takes fuzz.csv, fuzz.json
    (fuzz_guided.*)."""
    parser = argparse.ArgumentParser(prog="python -m making.fuzz", description="Break the readers.")
    parser.add_argument("--examples", type=int, default=10_000, help="of each reader")
    parser.add_argument("--bombs", choices=["yes", "no"], default="yes", help="try them first")
    parser.add_argument("--guided", action="store_true", help="by atheris, which follows coverage")
    parser.add_argument("--only", nargs="+", choices=[r.name for r in READERS], help="readers")
    parser.add_argument("--keep", type=Path, help="folder for an input of each kind of fault")
    parser.add_argument("--out", type=Path, help="folder for the table and its provenance")
    given = parser.parse_args()
    clock, started = time.perf_counter(), datetime.now(UTC)
    chosen = [r for r in READERS if not given.only or r.name in given.only]
    if given.bombs == "no":
        chosen = [replace(reader, bombs=()) for reader in chosen]
    if given.guided and atheris is None:
        parser.error("--guided takes atheris: pip install atheris")
    found = [apart(reader, given.examples, given.keep, given.guided) for reader in chosen]
    table = pd.DataFrame(found, columns=COLUMNS)
    print(table.round(2).to_string(index=False))
    for row in found:
        for line, count in row["lines"].most_common():
            print(f"{row['reader']}: {count} times: {line}")
    if given.out:
        name = "fuzz_guided" if given.guided else "fuzz"
        made = provenance(time.perf_counter() - clock, None, "CPU", started)
        save_rows(given.out / name, table, made)
    sys.exit(int(table["faults"].sum() > 0))


if __name__ == "__main__":
    main()
