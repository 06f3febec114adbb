"""Thousands of images through `make apply`, killed on the way; a thousand megapixels ranked.

    python -m making.scale [--images 500 5000] [--megapixels 10 1000] [--out results/bench]

How long does it take, and in how much memory? The folder holds views of ScrapSim, each cut at
another place, so that no two files are alike. `apply` runs on it as anyone would start it, is
killed (SIGKILL, with all that it started) once it has written half of the images, and is started
anew. Memory is the most that the processes of a start held at once (pages that they share counted
once), looked at twice a second.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image
from tqdm import tqdm

from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.records import provenance
from scrapseg.files import REPOSITORY, atomic_write

#: Seconds between two looks at a process's memory.
PAUSE = 0.5
EVALUATION = """
import sys
import numpy as np
from scrapseg import metrics
draw = np.random.default_rng(0)
def maps():
    for _ in range(int(sys.argv[1])):
        mask = draw.random((1000, 1000), np.float32) < 0.05
        yield draw.random((1000, 1000), np.float32) ** (1 - 0.6 * mask), mask
ranking = metrics.rank_streamed(maps())
assert ranking.positives + ranking.negatives == 1_000_000 * int(sys.argv[1])
print(metrics.average_precision(ranking), metrics.auroc(ranking), metrics.f1_max(ranking))
"""


def make_folder(folder: Path, images: int, side: int = 320, seed: int = 0) -> Path:
    """Fill a folder with so many JPEGs, no two alike: test views cut at random places."""
    data, draw = (
        ScrapSim(REPOSITORY / "data/scrapsim", "test", verify=False),
        np.random.default_rng(seed),
    )
    folder.mkdir(parents=True)
    for number in tqdm(range(images), desc="images", unit="image", delay=5, leave=False):
        view = Image.open(data.path(data.ids[number % len(data.ids)], "images"))
        left, top = (int(v) for v in draw.integers(0, np.array(view.size) - side + 1))
        cut = view.crop((left, top, left + side, top + side))
        cut.save(folder / f"{number:05}.jpg", quality=int(draw.integers(80, 96)))
    return folder


def memory_mb(process: psutil.Process) -> float:
    """What a process and its children hold, in MB; pages that several share count once where the
    system says how many do."""
    held = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            held += one.memory_full_info().pss if psutil.LINUX else one.memory_info().rss
        except psutil.Error:  # it has just ended
            continue
    return held / 1e6


def watched(command: list[str], until: Callable[[], bool] = lambda: False) -> dict[str, float]:
    """Run a command to its end, or kill it and all that it started once `until` says so.

    Returns:
        seconds, peak_mb, and code: how it ended.
    """
    began, peak = time.monotonic(), 0.0
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True
        )
        while process.poll() is None:
            peak = max(peak, memory_mb(psutil.Process(process.pid)))
            if until():
                started = psutil.Process(process.pid).children(recursive=True)
                for one in [psutil.Process(process.pid), *started]:
                    one.kill()
                break
            time.sleep(PAUSE)
        code = process.wait()
        log.seek(0)
        if code not in (0, -signal.SIGKILL):
            raise RuntimeError(f"{' '.join(command)}: ended with {code}\n{log.read()[-2000:]}")
    return {"seconds": time.monotonic() - began, "peak_mb": peak, "code": code}


def applied(folder: Path, out: Path, images: int, options: list[str]) -> dict[str, object]:
    """`apply` on a folder of so many new images, killed half-way and started anew."""
    make_folder(folder, images)
    command = [sys.executable, "-m", "scrapseg", "apply", str(folder), "--out", str(out), *options]

    def records() -> list[Path]:
        return list(out.glob("records/*.json"))

    first = watched(command, lambda: 2 * len(records()) >= images)
    kept = {path: path.stat().st_mtime_ns for path in records()}
    second = watched(command)
    again = sum(path.stat().st_mtime_ns != kept[path] for path in kept)
    written = sorted(path.stat().st_mtime for path in records() if path not in kept)
    return {
        "what": "apply " + " ".join(options), "size": images, "unit": "images",
        "seconds": first["seconds"] + second["seconds"],
        "peak_mb": max(first["peak_mb"], second["peak_mb"]),
        "per_s": (len(written) - 1) / (written[-1] - written[0]),
        "killed_after": len(kept), "done_again": again,
        "to_go_on_s": written[0] - (time.time() - second["seconds"]),
        "report_kb": (out / "report.html").stat().st_size / 1e3,
        "out_mb": sum(p.stat().st_size for p in out.rglob("*") if p.is_file()) / 1e6,
    }  # fmt: skip


def evaluated(megapixels: int) -> dict[str, object]:
    """So many megapixels of maps, made one by one, through the ranking of all their pixels."""
    seen = watched([sys.executable, "-c", EVALUATION, str(megapixels)])
    row = {"what": "evaluation", "size": megapixels, "unit": "megapixels"}
    row |= {"seconds": seen["seconds"], "peak_mb": seen["peak_mb"]}
    return row | {"per_s": megapixels / seen["seconds"]}


def main() -> None:
    """Command line; with ``--out``, writes scale.csv and its provenance there."""
    parser = argparse.ArgumentParser(prog="python -m making.scale", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--images", type=int, nargs="*", default=[500, 5000])
    parser.add_argument("--adapt", type=int, nargs="*", default=[500], help="sizes with adaptation")
    parser.add_argument("--minutes", type=float, default=1.0, help="of the runs with adaptation")
    parser.add_argument("--megapixels", type=int, nargs="*", default=[10, 1000])
    parser.add_argument("--out", type=Path, help="folder for the table and its provenance")
    given = parser.parse_args()
    started, clock, rows = datetime.now(UTC), time.perf_counter(), []
    cases = [(n, ["--no-adapt"]) for n in given.images]
    cases += [(n, ["--adapt", "--minutes", str(given.minutes)]) for n in given.adapt]
    for n in given.megapixels:
        rows.append(evaluated(n))
        print(rows[-1], flush=True)
    for images, options in cases:
        with tempfile.TemporaryDirectory() as name:
            rows.append(applied(Path(name, "images"), Path(name, "out"), images, options))
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    if given.out:
        atomic_write(given.out / "scale.csv", table.to_csv(index=False, float_format="%.4g"))
        beside = provenance(time.perf_counter() - clock, None, "CPU", started)
        text = json.dumps({"provenance": beside}, indent=1) + "\n"
        atomic_write(given.out / "scale.json", text)


if __name__ == "__main__":
    main()
