"""Killed without warning, again and again: does the next start go on, and end as if nothing was?

    python -m making.torture [--kills 20] [--only training ...] [--out results/bench]

Without `--out` the table is only shown.

Everything happens in a copy of the project. A job is first done once, undisturbed. Then it is
started anew and killed (SIGKILL), with all that it started, at moments drawn over the time that it
took, as often as asked; if it ends before its moment, what it made is taken away and it starts
over. After each kill every file that stands must be whole. At last it may end, and what it made
must be what was made undisturbed: weights bit by bit, numbers to the digit, costs and times apart.
Where minutes decide how long is learned, two runs differ anyway, and nothing is compared.

The page of `make app` has a visitor (the system's Chromium) who drops pictures on it and waits for
their scores; it is killed while that goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image
from safetensors.numpy import load_file
from tqdm import tqdm

from scrapseg.experiments.records import provenance
from scrapseg.files import REPOSITORY, atomic_write

PROFILE = """profile: torture
results_dir: ../results/torture
studies: [fewshot]
limit: 8
steps: 150
few_steps: 120
crop: 64
batch_size: 2
methods: [scrapseg]
controls: []
shots: [1, 2]
seeds: [0]
"""
RUN = "scrapseg_scrapsim_allshots_s0"
#: Of the environment that renders; `make .venv-render/.ready` sets it up.
BLENDER = REPOSITORY / ".venv-render/bin/python"
#: Of a record, what may differ between two runs of it.
COSTS = ("train_s", "ms_per_image")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
PORT = 8877


@dataclass(frozen=True)
class Job:
    """A command, what it makes (globs below the project), and how two results are compared.

    Attributes:
        fresh: globs of what is taken away before it starts over.
        serves: it has no end of its own: it is well when it predicts what a visitor drops.
        compared: whether what it made must be what was made undisturbed.
    """

    command: Callable[[Path], list[str]]
    makes: tuple[str, ...]
    fresh: tuple[str, ...]
    serves: bool = False
    compared: bool = True


def python(*words: str) -> Callable[[Path], list[str]]:
    """A command of this interpreter; `{project}` is filled in."""
    return lambda project: [sys.executable, *(w.format(project=project) for w in words)]


JOBS = {
    "training": Job(
        python("-m", "scrapseg", "run", RUN, "--profile", "torture"),
        (f"results/torture/runs/{RUN}.json", f"results/torture/cache/{RUN}/model.safetensors"),
        ("results/torture",),
    ),
    "grid under two jobs": Job(
        lambda _: ["make", "--old-file=.venv/.ready", "grid", "PROFILE=torture", "JOBS=2",
                   "SNAKEMAKE=--until run"],
        ("results/torture/runs/*.json", "results/torture/cache/*/model.safetensors"),
        ("results/torture",),
    ),
    "notebook 01 by papermill": Job(
        python("-m", "scrapseg", "notebook", "01_data_exploration", "--profile", "smoke"),
        ("results/smoke/notebooks/01_data_exploration.ipynb",),
        ("results/smoke",),
    ),
    "the paper": Job(
        python("-m", "scrapseg", "paper", "--profile", "laptop"),
        ("paper/paper.pdf",),
        ("paper/paper.pdf",),
    ),
    "make apply": Job(
        python("-m", "scrapseg", "apply", "{project}/own", "--no-adapt", "--out", "{project}/out"),
        ("out*/**/*.png", "out*/**/*.json", "out*/*.csv"),  # each start makes a folder of its own
        ("out", "out-*"),
    ),
    "make apply, adapting and learning from labels": Job(
        python("-m", "scrapseg", "apply", "{project}/learn", "--adapt", "--minutes", "0.4",
               "--out", "{project}/out"),
        ("out*/**/*.png", "out*/**/*.json", "out*/*.csv", "out*/model/*"),
        ("out", "out-*"),
        compared=False,
    ),
    "make app": Job(
        python("-m", "voila", "notebooks/08_app.ipynb", "--no-browser", f"--port={PORT}"),
        (),
        (),
        serves=True,
        compared=False,
    ),
    "rendering": Job(
        lambda project: [str(BLENDER), "-m", "making.synth", "pieces", "--out",
                         str(project / "results/pieces"), "--share", "0.02", "--jobs", "1"],
        ("results/pieces/*/*.webp",),
        ("results/pieces",),
    ),
}  # fmt: skip


def copy_of_project(to: Path) -> Path:
    """What git knows of the project, as a repository of its own, with a few images of one's own."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY,
                            capture_output=True, text=True, check=True).stdout  # fmt: skip
    for name in filter(lambda n: (REPOSITORY / n).is_file(), listed.splitlines()):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, to / name)
    (to / ".venv").symlink_to(Path(sys.prefix))
    (to / "notebooks/profiles/torture.yaml").write_text(PROFILE)
    for folder in ("own", "learn/images", "learn/masks"):
        (to / folder).mkdir(parents=True)
    for k, path in enumerate(sorted((to / "data/scrapsim/images").glob("*.jpg"))[:12]):
        shutil.copy2(path, to / "own")
        shutil.copy2(path, to / "learn/images")
        if k < 8:
            shutil.copy2(to / f"data/scrapsim/labels/{path.stem}.png", to / "learn/masks")
    return to


def start(job: Job, project: Path) -> subprocess.Popen:
    """The job in a process group of its own."""
    settings = {"PYTHONPATH": str(project), "OMP_WAIT_POLICY": "PASSIVE"}
    with (project / "torture.log").open("a") as log:
        return subprocess.Popen(
            job.command(project),
            cwd=project,
            env=os.environ | settings,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def broken(project: Path) -> list[str]:
    """Files of the results that cannot be read whole."""
    readers: dict[str, Callable[[Path], object]] = {
        ".json": lambda p: json.loads(p.read_text(encoding="utf-8")),
        ".ipynb": lambda p: json.loads(p.read_text(encoding="utf-8")),
        ".csv": pd.read_csv,
        ".png": lambda p: np.asarray(Image.open(p)),
        ".webp": lambda p: np.asarray(Image.open(p)),
        ".safetensors": load_file,
        ".pdf": lambda p: p.read_bytes().rstrip().endswith(b"%%EOF") or 1 / 0,
    }
    found = []
    roots = [project / "results" / name for name in ("torture", "smoke", "pieces")]
    roots += project.glob("out*")
    paths = [p for root in roots for p in root.rglob("*") if p.suffix in readers and p.is_file()]
    for path in [*paths, *(project / "paper").glob("paper.pdf")]:
        try:
            readers[path.suffix](path)
        except Exception as error:  # whatever a reader makes of half a file
            found.append(f"{path.relative_to(project)}: {type(error).__name__}")
    return found


def made(job: Job, project: Path) -> dict[str, str]:
    """What a job made: a hash by file, costs, times and places apart."""
    found = {}
    paths = {p for glob in job.makes for p in project.glob(glob)}
    for path in sorted(paths, key=lambda p: (p.stat().st_mtime_ns, p)):
        content = path.read_bytes()
        if path.suffix == ".json" and path.parent.name == "runs":
            record = json.loads(content)
            metrics = {k: v for k, v in record["metrics"].items() if k not in COSTS}
            content = json.dumps([metrics, record["config"]], sort_keys=True).encode()
        elif path.suffix == ".ipynb":
            cells = json.loads(content)["cells"]
            texts = [o.get("text", o.get("data", {}).get("text/plain")) for c in cells
                     for o in c.get("outputs", [])]  # fmt: skip
            content = re.sub(r"0x[0-9a-f]+|\d+[:.]\d+ ?(s|it/s)?", "", json.dumps(texts)).encode()
        else:
            content = re.sub(rb"\d{4}-\d\d-\d\dT[\d:.+]+", b"", content)  # when it was made
        name = re.sub(r"^out(-\d+)?/", "out/", str(path.relative_to(project)))
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def away(job: Job, project: Path) -> None:
    """Take away what the job made."""
    for glob in job.fresh:
        for path in project.glob(glob):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def predicts(process: subprocess.Popen, pictures: Sequence[Path], seconds: float = 240) -> bool:
    """Whether the page shows scores of the pictures that a visitor drops on it, before its server
    ends or so many seconds are over."""
    from playwright.sync_api import Error, sync_playwright

    stop = time.monotonic() + seconds
    options = {"executable_path": BROWSER, "args": ["--no-sandbox", "--disable-gpu"]}
    with sync_playwright() as playwright, playwright.chromium.launch(**options) as browser:
        tab, dropped = browser.new_page(), False
        while process.poll() is None and time.monotonic() < stop:
            try:
                if tab.url == "about:blank":
                    tab.goto(f"http://127.0.0.1:{PORT}", wait_until="commit")
                if not dropped and (field := tab.locator("input[type=file]")).count():
                    field.first.set_input_files(list(map(str, pictures)))
                    dropped = True
                shown = [tab.locator("option", has_text=f"{p.name} · score") for p in pictures]
                if all(line.count() for line in shown):
                    return True
            except Error:  # not there yet, or not any more
                pass
            time.sleep(0.3)
    return False


def end(process: subprocess.Popen) -> None:
    """Kill the process and all that it started, kernels in sessions of their own, too."""
    with contextlib.suppress(psutil.NoSuchProcess):
        one = psutil.Process(process.pid)
        for each in [one, *one.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()


def tortured(job: Job, project: Path, kills: int, draw: np.random.Generator) -> dict[str, object]:
    """Do a job undisturbed, then kill it so many times, then let it end; what was seen.

    `same` is nan where nothing is compared.
    """
    away(job, project)
    clock = time.monotonic()
    process, pictures = start(job, project), sorted((project / "own").glob("*.jpg"))[:3]
    if job.serves:
        well, whole_s = predicts(process, pictures), time.monotonic() - clock
        end(process)
    else:
        well, whole_s = process.wait() == 0, time.monotonic() - clock
    expected = made(job, project)
    away(job, project)
    halves: list[str] = []
    done = over = 0
    bar = tqdm(total=kills)
    while done < kills:
        process = start(job, project)
        visitor = threading.Thread(target=predicts, args=(process, pictures))
        visitor.start() if job.serves else None
        try:
            process.wait(draw.uniform(0, whole_s))
            over += 1
            away(job, project)
        except subprocess.TimeoutExpired:
            end(process)
            visitor.join() if job.serves else None
            done += 1
            bar.update()
        halves += broken(project)
    process = start(job, project)
    if job.serves:
        well &= predicts(process, pictures)
        end(process)
    else:
        well &= process.wait() == 0
    same = made(job, project) == expected != {} if job.compared else np.nan
    return {"kills": done, "ended_before": over, "undisturbed_s": round(whole_s, 1),
            "half_files": len(halves), "ends_well": well, "same": same,
            "files": len(expected)}  # fmt: skip


def main() -> None:
    """Command line; with `--out` writes `torture.csv` and `.json` after each job, which keep what
    other calls wrote of other jobs; ends with 1 where something was lost."""
    parser = argparse.ArgumentParser(prog="python -m making.torture", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", nargs="*", choices=JOBS, default=list(JOBS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of torture.csv and .json")
    given = parser.parse_args()
    if "rendering" in given.only and not BLENDER.is_file():
        parser.error(f"rendering takes {BLENDER}: make {BLENDER.parents[1].name}/.ready sets it up")
    if "make app" in given.only and not BROWSER:
        parser.error(
            "make app takes Chromium, for its visitor; install it, or name others by --only"
        )
    with tempfile.TemporaryDirectory() as folder:
        out = given.out or Path(folder)
        table_file, beside_file = (out / f"torture.{kind}" for kind in ("csv", "json"))
        table = pd.read_csv(table_file) if table_file.is_file() else pd.DataFrame({"job": []})
        beside = json.loads(beside_file.read_text()) if beside_file.is_file() else {}
        project = copy_of_project(Path(folder) / "project")
        for name in given.only:
            started, clock = datetime.now(UTC), time.perf_counter()
            print(f"{name}: done once, then killed {given.kills} times", flush=True)
            draw = np.random.default_rng(given.seed)
            row = {"job": name} | tortured(JOBS[name], project, given.kills, draw)
            print(row, flush=True)
            others = table[table["job"].isin(JOBS) & (table["job"] != name)]
            table = pd.concat([others, pd.DataFrame([row])])
            table = table.sort_values("job", key=lambda jobs: jobs.map(list(JOBS).index))
            beside = {k: v for k, v in beside.items() if k in JOBS}
            beside[name] = provenance(time.perf_counter() - clock, None, "cpu", started)
            atomic_write(table_file, table.to_csv(index=False))
            atomic_write(beside_file, json.dumps(beside, indent=1) + "\n")
    table = table[table["job"].isin(given.only)]
    bad = table[["ends_well", "same"]].isin([False]).any(axis=1)  # an empty cell is not False
    lost = table[(table["half_files"] > 0) | bad]
    sys.exit(f"not as if undisturbed: {', '.join(lost['job'])}" if len(lost) else 0)


if __name__ == "__main__":
    main()
