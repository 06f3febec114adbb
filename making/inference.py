"""How long a start and a prediction take here, how much memory, and what eight bits cost.

    python -m making.inference [--out results/bench]

Each model predicts images of 384 x 384 pixels, one or 16 at a time, and a frame of a 4K camera:
made smaller until its longer side has 768 pixels, as `Segmenter.predict` does by default, or in
tiles, one or at most 16 at a time. All start from pixels and end in class probabilities, PatchCore
in scores; ours is also timed from a frame to the list of its objects. Each case has a process of
its own, so its peak memory is its own; ratios are to U-Net by torch in the same run.

Images are noise, for speed does not depend on what is in them; average precision is the shipped
model's on ScrapSim's test images, and its eight bits are calibrated on val.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import torch
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from making.bench import median_s
from scrapseg import metrics
from scrapseg.baselines.registry import make
from scrapseg.data.base import shrunk
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.build import build
from scrapseg.experiments.methods import method
from scrapseg.experiments.records import provenance
from scrapseg.files import REPOSITORY, atomic_write
from scrapseg.models.export import to_onnx
from scrapseg.models.runtime import options
from scrapseg.models.scrapseg import SegOutput
from scrapseg.models.segmenter import load
from scrapseg.models.tiles import normalised, positions, predict_large

#: Model and what computes it.
CASES = (
    ("unet", "torch"),
    ("unet", "onnxruntime"),
    ("segformer", "torch"),
    ("segformer", "onnxruntime"),
    ("patchcore", "torch"),
    ("scrapseg", "torch"),
    ("scrapseg", "torch.compile"),
    ("scrapseg", "onnxruntime"),
    ("scrapseg", "onnxruntime, int8"),
)
#: What a user waits for first, as Python's arguments.
STARTS = {
    "python alone": ("-c", "pass"),
    "import scrapseg": ("-c", "import scrapseg"),
    "python -m scrapseg --help": ("-m", "scrapseg", "--help"),
    "first prediction": (
        "-c",
        "import numpy, scrapseg; scrapseg.load().predict(numpy.zeros((384, 384, 3), numpy.uint8))",
    ),
}
#: A case that takes longer than this, in seconds, is given up.
LIMIT = 900


class Session(nn.Module):
    """An ONNX file as a network: images as `normalised` by `mean` and `std` to `SegOutput`."""

    def __init__(
        self, path: Path, mean: Sequence[float], std: Sequence[float], text: Tensor | None = None
    ) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.given = {} if text is None else {"text": text.numpy()}
        self.place = nn.Parameter(torch.empty(0))  # says that it is on the CPU
        self.session = onnxruntime.InferenceSession(path, options(), ["CPUExecutionProvider"])

    def forward(self, images: Tensor) -> SegOutput:
        """Images (B, 3, H, W) to logits (B, C, H, W)."""
        feed = {"images": images.contiguous().numpy()} | self.given
        return SegOutput(torch.from_numpy(self.session.run(["logits"], feed)[0]), None)


class Logits(nn.Module):
    """A network's logits alone, for the exporter."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) to logits (B, C, H, W)."""
        return self.net(images).logits


def export_rival(name: str, path: Path, size: int) -> None:
    """A supervised network as ONNX, for any number of images of one size."""
    torch.onnx.export(
        Logits(build(name, seed=0)).eval(), (torch.rand(2, 3, size, size),), path,
        input_names=["images"], output_names=["logits"], external_data=False, dynamo=True,
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False,
    )  # fmt: skip


class Calibration(quantization.CalibrationDataReader):
    """Images and class vectors, one image at a time."""

    def __init__(self, images: Sequence[np.ndarray], text: Tensor) -> None:
        chw = (image.transpose(2, 0, 1)[None].astype(np.float32) / 255 for image in images)
        self.feeds: Iterator[dict] = ({"images": x, "text": text.numpy()} for x in chw)

    def get_next(self) -> dict | None:
        """The next feed, None after the last."""
        return next(self.feeds, None)


def quantise(path: Path, images: Sequence[np.ndarray]) -> None:
    """The shipped model with the convolutions of tower and pyramid in eight bits, by onnxruntime's
    own quantiser; cosines, which small errors spoil, stay as they are."""
    model = load().model
    with tempfile.TemporaryDirectory() as folder:
        whole, folded = Path(folder, "whole.onnx"), Path(folder, "folded.onnx")
        quant_pre_process(to_onnx(model, whole), folded, skip_symbolic_shape=True)
        graph = onnx.load(folded).graph
        weights = {entry.name for entry in graph.initializer if entry.name.startswith("model.")}
        quantization.quantize_static(
            folded, path, Calibration(images, model.text), per_channel=True,
            nodes_to_quantize=[n.name for n in graph.node if {*n.input[1:2]} & weights],
        )  # fmt: skip


def network(name: str, runtime: str, folder: Path) -> nn.Module:
    """A case's network, in eval mode."""
    if name == "scrapseg":
        saved = load()
        if runtime == "onnxruntime, int8":
            return Session(folder / "int8.onnx", (0, 0, 0), (1, 1, 1), saved.model.text)
        compiled = (
            torch.compile(saved.model, dynamic=False) if runtime == "torch.compile" else saved.model
        )
        return saved.runtime if runtime == "onnxruntime" else compiled
    net = build(name, seed=0).eval().to(memory_format=torch.channels_last)
    return net if runtime == "torch" else Session(folder / f"{name}.onnx", net.mean, net.std)


@torch.inference_mode()
def probabilities(net: nn.Module, images: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) to class probabilities (B, C, H, W)."""
    return net(normalised(net, images)).logits.softmax(1)


def works(name: str, runtime: str, folder: Path, frame: np.ndarray, size: int) -> Iterator[tuple]:
    """What is timed: the input, how many at a time, how many in a call, and the call."""
    images = np.random.default_rng(1).integers(0, 256, (16, size, size, 3), np.uint8)
    overlap = size // 6
    if name == "patchcore":
        tops, lefts = (positions(n, size, overlap) for n in frame.shape[:2])
        tiles = [frame[y : y + size, x : x + size] for y in tops for x in lefts]
        of = method(name)
        net = make(of.maker, seed=0, steps=0, batch_size=16, **of.settings("scrapsim"))
        net.fit(list(images))

        def scores(pictures: Sequence[np.ndarray], batch: int) -> None:
            net.batch_size = batch
            net.predict(pictures)

        for n in (1, 16):
            yield "image", n, n, partial(scores, list(images[:n]), n)
            yield "frame, tiles", n, 1, partial(scores, tiles, n)
        return
    net = network(name, runtime, folder)
    for n in (1, 16):
        yield "image", n, n, partial(probabilities, net, images[:n])
        cut = {"tile": size, "overlap": overlap, "batch_size": n}
        yield "frame, tiles", n, 1, partial(predict_large, net, frame, **cut)
    if runtime == "onnxruntime" and name != "scrapseg":
        return  # exported for one size alone
    small = shrunk(frame, 2 * size)
    height, width = small.shape[:2]
    small = np.pad(small, ((0, -height % 32), (0, -width % 32), (0, 0)))  # as the decoders want it
    yield f"frame, {2 * size} px", 1, 1, partial(probabilities, net, small[None])
    if name == "scrapseg" and runtime in ("torch", "onnxruntime"):
        saved = replace(load(), side=2 * size)
        saved = saved if runtime == "onnxruntime" else replace(saved, runtime=None)
        yield "frame to objects", 1, 1, partial(saved.predict, frame)


def with_peak(function: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and the most memory that this process held meanwhile, in MB (NaN where the
    system does not say)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak from now on
    found, peak = function(), np.nan
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))
    return found, peak


def average_precision(net: nn.Module, images: int) -> float:
    """Pixel AP on the first test images of ScrapSim."""
    test = ScrapSim(REPOSITORY / "data/scrapsim", "test")
    samples = [test.sample(id) for id in test.ids[:images]]
    scores = np.stack([1 - probabilities(net, s.image[None])[0, 0].numpy() for s in samples])
    return metrics.average_precision(metrics.rank(scores, np.stack([s.label > 0 for s in samples])))


def measured(
    name: str, runtime: str, folder: Path, *, size: int, height: int, seconds: float, images: int
) -> list[dict]:
    """All rows of one case; see `main` for the arguments."""
    frame = np.random.default_rng(0).integers(0, 256, (height, height * 16 // 9, 3), np.uint8)
    rows = []
    for kind, batch, count, call in works(name, runtime, folder, frame, size):
        time_s, peak = with_peak(partial(median_s, call, seconds))
        row = {"model": name, "runtime": runtime, "input": kind, "batch": batch}
        rows.append(row | {"ms": 1000 * time_s / count, "peak_mb": peak})
    if name == "scrapseg" and runtime != "torch.compile":
        ap = average_precision(network(name, runtime, folder), images)
        rows = [row | {"ap": ap} for row in rows]
    return rows


def in_a_process(name: str, runtime: str, folder: Path, given: dict) -> list[dict]:
    """`measured` in a process of its own.

    Raises:
        subprocess.SubprocessError: it failed, or took longer than `LIMIT`.
    """
    code = (
        "import json; from pathlib import Path; from making.inference import measured; "
        f"print(json.dumps(measured({name!r}, {runtime!r}, Path({str(folder)!r}), **{given!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY, env=os.environ | {"TQDM_DISABLE": "1"}, stdout=subprocess.PIPE,
        text=True, check=True, timeout=LIMIT,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def starts(times: int = 5) -> pd.DataFrame:
    """Wall time in seconds of each of `STARTS`, process and all: the best of some times."""
    rows = []
    for name, arguments in STARTS.items():
        took = []
        for _ in range(times):
            began = time.perf_counter()
            command = [sys.executable, *arguments]
            subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=True)
            took.append(time.perf_counter() - began)
        rows.append({"start": name, "seconds": min(took)})
    return pd.DataFrame(rows)


def compared(rows: list[dict]) -> pd.DataFrame:
    """The rows with `of_unet`: the time as a share of U-Net's by torch, for the same input."""
    table = pd.DataFrame(rows)
    unet = table[(table.model == "unet") & (table.runtime == "torch")].set_index(["input", "batch"])
    keys = list(zip(table.input, table.batch, strict=True))
    table["of_unet"] = table.ms / [unet.ms.get(key, np.nan) for key in keys]
    return table


def main() -> None:
    """Command line; with ``--out``, writes inference.csv, start.csv and their provenance there."""
    parser = argparse.ArgumentParser(
        prog="python -m making.inference", description="Measure speed."
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="per measurement, at least")
    parser.add_argument("--size", type=int, default=384, help="side of images and tiles in pixels")
    parser.add_argument("--height", type=int, default=2160, help="of the frame, of 16 by 9")
    parser.add_argument("--images", type=int, default=180, help="of test for AP; a third of val")
    parser.add_argument("--out", type=Path, help="folder for the table and its provenance")
    given = parser.parse_args()
    clock, started, failed = time.perf_counter(), datetime.now(UTC), {}
    settings = {name: vars(given)[name] for name in ("size", "height", "seconds", "images")}
    rows: list[dict] = []
    start = starts()
    print(start.round(3).to_string(index=False), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("\nexporting: U-Net, SegFormer, ours in eight bits", flush=True)
        for rival in ("unet", "segformer"):
            export_rival(rival, folder / f"{rival}.onnx", given.size)
        val = ScrapSim(REPOSITORY / "data/scrapsim", "val")
        quantise(folder / "int8.onnx", [val.sample(i).image for i in val.ids[: given.images // 3]])
        for number, case in enumerate(CASES, start=1):
            print(f"\n{number} of {len(CASES)}: {', '.join(case)}", flush=True)
            try:
                new = in_a_process(*case, folder, settings)
            except subprocess.SubprocessError as error:  # what it printed stands above
                failed[", ".join(case)] = type(error).__name__
                print(f"left out: {type(error).__name__}")
                continue
            rows += new
            print(pd.DataFrame(new).round(3).to_string(index=False), flush=True)
    table = compared(rows)
    print(f"\n{table.round(3).to_string(index=False)}")
    if given.out:
        for rows_of, file in ((table, "inference.csv"), (start, "start.csv")):
            atomic_write(given.out / file, rows_of.to_csv(index=False, float_format="%.4g"))
        made = provenance(time.perf_counter() - clock, None, "CPU", started)
        made |= {"settings": settings, "failed": failed, "threads": torch.get_num_threads()}
        made["packages"]["onnxruntime"] = onnxruntime.__version__
        text = json.dumps(made, indent=1) + "\n"
        atomic_write(given.out / "inference-provenance.json", text)


if __name__ == "__main__":
    main()
