"""Thousands of images through `make apply`, killed on the way; a thousand megapixels evaluated.

    python -m making.scale [--images 500 5000] [--megapixels 10 100] [--out results/bench]

How long does it take, and in how much memory? The folder holds views of ScrapSim, each cut at
another place, so that no two files are alike. `apply` runs on it as anyone would start it, is
killed (SIGKILL, with all that it started) once it has written half of the images, and is started
anew. Memory is the most that the processes of a start held at once (see `memory_mb`), looked at
twice a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
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
#: The evaluation with an image's own brightness for scores: what it takes beside the model.
GIVEN = """
import sys
import numpy as np
from scrapseg.app.evaluate import evaluate
from scrapseg.data.folder import open_folder
from scrapseg.models.segmenter import Prediction, Segmenter
class Brightness(Segmenter):
    def predict(self, image):
        score = image.mean(2, dtype=np.float32) / 255
        one, top = np.ones(score.shape, np.uint8), float(score.max())
        return self.thresholded(Prediction(image, one, score, one, one, [], top, 0.0, score[0]))
model = Brightness(None, threshold=0.9)
print(evaluate(open_folder(sys.argv[1], None, model.classes), model))
"""


def make_folder(
    folder: Path, images: int, side: int = 320, seed: int = 0, labels: bool = False, times: int = 1
) -> Path:
    """Fill a folder with so many JPEGs, no two alike: test views cut at random places, enlarged
    `times`; with `labels` each has its class indices beside it, in masks/."""
    data, draw = (
        ScrapSim(REPOSITORY / "data/scrapsim", "test", verify=False),
        np.random.default_rng(seed),
    )
    pictures, masks = (folder / "images", folder / "masks") if labels else (folder, None)
    for made in filter(None, (pictures, masks)):
        made.mkdir(parents=True)
    for number in tqdm(range(images), desc="images", unit="image", delay=5, leave=False):
        id = data.ids[number % len(data.ids)]
        view = Image.open(data.path(id, "images"))
        left, top = (int(v) for v in draw.integers(0, np.array(view.size) - side + 1))
        box = (left, top, left + side, top + side)
        quality = int(draw.integers(80, 96))
        size = (side * times, side * times)
        view.crop(box).resize(size).save(pictures / f"{number:05}.jpg", quality=quality)
        if masks:
            mask = (
                Image.open(data.path(id, "labels")).crop(box).resize(size, Image.Resampling.NEAREST)
            )
            mask.save(masks / f"{number:05}.png")
    return folder


def memory_mb(process: psutil.Process) -> float:
    """What a process and its children hold, in MB. Of one alone the most so far, shared libraries
    whole (VmHWM); of several, pages that they or others share are parted where the system says."""
    processes = [process, *process.children(recursive=True)]
    if psutil.LINUX and len(processes) == 1:
        with contextlib.suppress(OSError, StopIteration):  # it has just ended
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            return next(int(x.split()[1]) * 1024 for x in lines if x.startswith("VmHWM")) / 1e6
        return 0.0
    held = 0.0
    for one in processes:
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


def afresh(images: int, options: list[str]) -> dict[str, object]:
    """`applied` in folders that are gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        return applied(Path(name, "images"), Path(name, "out"), images, options)


def evaluated(megapixels: int, given: bool = False, times: int = 1) -> dict[str, object]:
    """`python -m scrapseg evaluate` on a labelled folder of so many megapixels; with `given` what
    it calls, with scores that take no model's time; photographs of 320 pixels a side, `times` as
    many."""
    side = 320
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "images")
        images = -(-megapixels * 1_000_000 // (side * times) ** 2)
        make_folder(folder, images, side, labels=True, times=times)
        command = [sys.executable, "-m", "scrapseg", "evaluate", str(folder)]
        if given:
            command = [sys.executable, "-c", GIVEN, str(folder)]
        seen = watched(command)
    row = {"what": "evaluate" + given * ", scores given", "side": side * times, "images": images}
    row |= {"megapixels": megapixels, "seconds": seen["seconds"], "peak_mb": seen["peak_mb"]}
    return row | {"images_per_s": images / seen["seconds"]}


def main() -> None:
    """Command line; with ``--out``, writes scale.csv, evaluate.csv and their provenance."""
    parser = argparse.ArgumentParser(prog="python -m making.scale", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--images", type=int, nargs="*", default=[500, 5000])
    parser.add_argument("--adapt", type=int, nargs="*", default=[500], help="sizes with adaptation")
    parser.add_argument("--minutes", type=float, default=1.0, help="of the runs with adaptation")
    parser.add_argument("--megapixels", type=int, nargs="*", default=[10, 100])
    parser.add_argument("--given", type=int, nargs="*", default=[10, 1000], help="without a model")
    parser.add_argument("--large", type=int, nargs="*", default=[100], help="of large photographs")
    parser.add_argument("--out", type=Path, help="folder for the table and its provenance")
    given = parser.parse_args()
    cases = [(n, ["--no-adapt"]) for n in given.images]
    cases += [(n, ["--adapt", "--minutes", str(given.minutes)]) for n in given.adapt]
    sizes = [(n, False) for n in given.megapixels] + [(n, True) for n in given.given]
    sizes += [(n, False, 12) for n in given.large]
    report("evaluate", (evaluated(*size) for size in sizes), given.out)
    report("scale", (afresh(*case) for case in cases), given.out)


def report(name: str, measured: Iterable[dict[str, object]], out: Path | None) -> None:
    """Show rows as they come, then the table; in a folder `out` write it and its provenance."""
    started, clock, rows = datetime.now(UTC), time.perf_counter(), []
    for row in measured:
        rows.append(row)
        print(row, flush=True)
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    if out and rows:
        atomic_write(out / f"{name}.csv", table.to_csv(index=False, float_format="%.4g"))
        beside = provenance(time.perf_counter() - clock, None, "CPU", started)
        text = json.dumps({"provenance": beside}, indent=1) + "\n"
        atomic_write(out / f"{name}.json", text)


if __name__ == "__main__":
    main()
