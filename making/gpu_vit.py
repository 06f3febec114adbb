"""How fast the paper's encoder runs on a GPU: ViT-L/14 at 336 px, on random weights.

Images a second, peak memory and the share of the measured rate of a large matrix product, by batch
size, precision, memory layout, attention kernel and compilation. Weights and pixels are random, for
speed does not depend on them.
"""

from __future__ import annotations

import itertools
import json
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from scrapseg.data.classes import CLASSES
from scrapseg.experiments.records import provenance
from scrapseg.files import atomic_write
from scrapseg.models.clip import load_clip
from scrapseg.models.prompts import random_embeddings
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.towers import image_encoder
from scrapseg.train.loop import TrainConfig, training_loss

NAME, SIDE, BATCHES = "ViT-L-14-336", 336, (8, 16, 32, 64)
SMALL_NAME, SMALL_SIDE, SMALL_BATCHES = "ViT-S-32-alt", 64, (2,)


@dataclass(frozen=True)
class Setting:
    """How the model is run; `trains` is forward and backward, else forward alone."""

    trains: bool
    bf16: bool = True
    channels_last: bool = False
    math_attention: bool = False
    compiled: bool = False


def settings() -> list[Setting]:
    """bf16 alone, and with one thing changed, each in prediction and in training."""
    changes = [{}, {"compiled": True}, {"channels_last": True}, {"math_attention": True},
               {"bf16": False}]  # fmt: skip
    return [Setting(trains, **change) for change in changes for trains in (False, True)]


def matmul_rate(device: str, side: int, seconds: float = 1.0) -> float:
    """Floating-point operations a second of a square bf16 matrix product on random data."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    timer = Timer("a @ b", globals={"a": a, "b": b}, num_threads=torch.get_num_threads())
    return 2 * side**3 / timer.blocked_autorange(min_run_time=seconds).median


def step(model: nn.Module, batch: tuple[Tensor, Tensor], setting: Setting) -> None:
    """One forward, or one forward and backward."""
    attention = sdpa_kernel(SDPBackend.MATH) if setting.math_attention else nullcontext()
    kind = batch[0].device.type
    with attention, torch.autocast(kind, torch.bfloat16, enabled=setting.bf16):
        if not setting.trains:
            with torch.inference_mode():
                model(batch[0])
            return
        loss = training_loss(model, batch, TrainConfig()).total
    loss.backward()
    model.zero_grad(set_to_none=True)


def measured(
    model: nn.Module, batch: int, side: int, setting: Setting, device: str, seconds: float
) -> dict[str, float]:
    """Images a second (median), peak memory in GB (nan on a CPU), operations of a step."""
    layout = torch.channels_last if setting.channels_last else torch.contiguous_format
    images = torch.randn(batch, 3, side, side, device=device).to(memory_format=layout)
    pair = images, torch.randint(len(CLASSES), (batch, side, side), device=device)
    model = model.to(memory_format=layout).train(setting.trains)
    with FlopCounterMode(display=False) as counter:
        step(model, pair, setting)
    run = torch.compile(model) if setting.compiled else model
    step(run, pair, setting)  # compiles, and warms up
    on_gpu = device == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    names = {"step": step, "run": run, "pair": pair, "setting": setting}
    timer = Timer("step(run, pair, setting)", globals=names, num_threads=torch.get_num_threads())
    each = timer.blocked_autorange(min_run_time=seconds).median
    peak = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else float("nan")
    flops = counter.get_total_flops()
    return {"images_s": batch / each, "peak_gb": peak, "flops_s": flops / each}


def throughput(path: Path, end: float, rehearse: bool) -> int:
    """Measure what is missing in the table at `path` until a time of `time.time`.

    Returns:
        How many rows are still missing.
    """
    device = "cuda" if torch.cuda.is_available() and not rehearse else "cpu"
    name, side, batches, seconds = (
        (SMALL_NAME, SMALL_SIDE, SMALL_BATCHES, 0.01) if rehearse else (NAME, SIDE, BATCHES, 2.0)
    )
    wanted = list(itertools.product(batches, settings()))
    if rehearse:  # compiling takes a minute
        wanted = [(b, s) for b, s in wanted if not s.compiled]
    rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
    known = {tuple(row[k] for k in ("batch", *asdict(Setting(False)))) for row in rows}
    left = [(b, s) for b, s in wanted if (b, *asdict(s).values()) not in known]
    if not left:
        return 0
    started, clock = datetime.now(UTC), time.perf_counter()
    torch.manual_seed(0)
    encoder = image_encoder(load_clip(name))
    model = ScrapSeg(encoder, random_embeddings(len(CLASSES), 0, encoder.width)).to(device)
    rate = matmul_rate(device, 256 if rehearse else 8192, seconds)
    while left and time.time() < end:
        batch, setting = left.pop(0)
        row = {"model": name, "side": side, "batch": batch} | asdict(setting)
        try:
            row |= measured(model, batch, side, setting, device, seconds)
        except torch.OutOfMemoryError:
            row |= {"images_s": 0.0, "peak_gb": float("inf"), "flops_s": 0.0}
        row |= {"matmul_flops_s": rate, "share_of_matmul": row["flops_s"] / rate}
        rows.append(row)
        atomic_write(path, pd.DataFrame(rows).to_csv(index=False, float_format="%.5g"))
    named = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    beside = {"provenance": provenance(time.perf_counter() - clock, None, named, started)}
    atomic_write(path.with_suffix(".json"), json.dumps(beside, indent=1) + "\n")
    return len(left)
