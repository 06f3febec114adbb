"""A disk that fills up under a run, in a small file system of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mounts import inside, needs_mounts

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


@needs_mounts
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
    done = inside(steps)
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and str(disk) in told[0] and "Traceback" not in done.stderr, done.stderr
    assert done.stdout.split() == [
        "ended",
        "1",
        "ended",
        "0",
        f"{method}_scrapsim_allshots_s0.json",
    ]


#: A film watched with true masks on a disk that has a single page left.
WATCH = """
import sys
from pathlib import Path
from making.belt_film import Belt, TrueMasks
from scrapseg import __main__ as line
from scrapseg.app import watch
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.files import REPOSITORY
from scrapseg.models.segmenter import Segmenter

test = ScrapSim(REPOSITORY / "data/scrapsim", "test", verify=False)
belts = [i for i in test.ids if test.meta[i]["setting"] == "belt"]
belt, disk = Belt.of([test.sample(i) for i in belts[:6]], step=96), sys.argv[1]
film = str(belt.write(Path(disk).with_name("belt.mp4")))
open(f"{disk}/other", "wb").write(bytes((1 << 20) - 4096))  # of somebody else

@line.command
def full() -> None:
    watch.watch(film, f"{disk}/out", TrueMasks(belt, Segmenter(model=None)), overlay=False)

sys.argv = ["scrapseg", "full"]
line.app()
"""


@needs_mounts
def test_a_belt_is_watched_onto_a_full_disk(tmp_path: Path):
    disk, script = tmp_path / "disk", tmp_path / "script.py"
    disk.mkdir()
    script.write_text(WATCH)
    done = inside(f"""
mount -t tmpfs -o size=1m none {disk}
{sys.executable} {script} {disk}; echo "ended $?"
ls -A {disk}/out; wc -l < {disk}/out/events.jsonl; tail -c 2 {disk}/out/events.jsonl
""")
    (error,) = (s for s in done.stderr.splitlines() if s.startswith("error: "))
    assert error.startswith(f"error: cannot write {disk}/out/") and "Traceback" not in done.stderr
    summary, *rest = done.stdout.splitlines()  # what could not be written is told
    assert json.loads(summary)["frames"] > 0
    assert rest[0] == "ended 1" and rest[1:-2] == ["events.jsonl"]
    assert int(rest[-2]) > 0 and rest[-1] == "}"  # events that fitted, whole ones
