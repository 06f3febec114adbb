"""How fast the trained methods are on this machine, alone and beside another busy process.

    python -m making.bench [--out results/bench]

Images are noise, for speed does not depend on what is in them, so no data set is needed. What a
run of the benchmark itself cost is in its record (`train_s`, `ms_per_image`). Where a training step
of ours spends its time is in profile.csv, part by part, with the whole tower learning and with its
first third held.

OpenMP's threads wait for each other after each loop. As a rule they spin while they wait: where
another process has taken a core, all of them burn their time slices until that one comes back.
With ``OMP_WAIT_POLICY=PASSIVE`` they sleep instead. The variable is read when a process starts, so
each of the four cases runs in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.utils.benchmark import Timer

from scrapseg.data.classes import CLASSES
from scrapseg.experiments.build import build
from scrapseg.experiments.records import provenance
from scrapseg.experiments.studies import OURS, Variant
from scrapseg.files import REPOSITORY, atomic_write
from scrapseg.train.loop import TrainConfig
from scrapseg.train.losses import segmentation_loss

EARLY_HELD = Variant(trained="last two thirds")
METHODS = {
    "scrapseg": ("scrapseg", OURS),
    "scrapseg, early-held": ("scrapseg", EARLY_HELD),
    "scrapseg-frozen": ("scrapseg-frozen", OURS),
    "unet": ("unet", OURS),
}
"""What is measured: a method, and the variant of it if it is ours."""
PARTS = ["tower", "head", "loss", "loss, back", "head, back", "tower, back", "optimiser"]
"""A training step's parts, in their order; the head is what follows the tower."""
SIZE = 384
"""Side in pixels of the single images."""


def median_s(function: Callable[[], None], seconds: float) -> float:
    """Median wall time of a call of `function`, over `seconds` of calls; waits for a GPU."""
    timer = Timer("f()", globals={"f": function}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=seconds).median


def training_step(
    model: nn.Module, config: TrainConfig, device: str = "cpu"
) -> Callable[..., None]:
    """A training step on noise: forward, backward, optimiser.

    What it is given, if anything, it calls with the name of each of `PARTS` when that part is done;
    of a model without an `encoder` with those that need none.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (config.batch_size, config.crop, config.crop)
    images = torch.randn(shape[0], 3, *shape[1:], generator=generator)
    batch = images.to(device, memory_format=torch.channels_last)
    labels = torch.randint(len(CLASSES), shape, generator=generator).to(device)
    groups = model.param_groups(config.lr, config.layer_decay, config.encoder_lr)
    optimizer = torch.optim.AdamW(groups, fused=True)
    model.train()

    def step(done: Callable[[str], None] = lambda _: None) -> None:
        hooks = []
        if hasattr(model, "encoder"):

            def seen(_, __, stages) -> None:
                done("tower")
                # The pyramid reads the deepest map first: of the head's gradients this one's is the
                # last, while those of the other maps wait for the tower's own.
                if stages.maps[-1].requires_grad:
                    stages.maps[-1].register_hook(lambda _: done("head, back"))

            hooks.append(model.encoder.register_forward_hook(seen))
        out = model(batch)
        done("head")
        out.logits.register_hook(lambda _: done("loss, back"))
        loss = segmentation_loss(out.logits, out.image_logits, labels)
        done("loss")
        optimizer.zero_grad()
        loss.total.backward()
        done("tower, back")
        optimizer.step()
        done("optimiser")
        for hook in hooks:
            hook.remove()

    return step


def measure(
    method: str,
    config: TrainConfig,
    *,
    variant: Variant = OURS,
    size: int = SIZE,
    device: str = "cpu",
    seconds: float = 5.0,
) -> dict[str, float]:
    """Speed of one trained method on noise.

    Args:
        config: gives batch size, crop and learning rates of the training step.
        variant: of ours.
        size: side in pixels of the single images.
        seconds: how long each of the two measurements runs, at least.

    Returns:
        params_m: parameters in millions. step_s: seconds of a training step (forward, backward,
        optimiser). train_images_s: images a second in training. ms_per_image: milliseconds for one
        image at a time, forward only. All times are medians.
    """
    model = build(method, seed=0, variant=variant).to(device, memory_format=torch.channels_last)
    image = torch.randn(1, 3, size, size).to(device, memory_format=torch.channels_last)

    def predict() -> None:
        with torch.inference_mode():
            model(image)

    step_s = median_s(training_step(model, config, device), seconds)
    model.eval()
    return {
        "params_m": sum(p.numel() for p in model.parameters()) / 1e6,
        "step_s": step_s,
        "train_images_s": config.batch_size / step_s,
        "ms_per_image": 1000 * median_s(predict, seconds),
    }


def profile(config: TrainConfig, steps: int = 10) -> pd.DataFrame:
    """Where the time of a training step of ours on the CPU goes.

    Returns:
        A row a part: part, and for the whole tower learning and its first third held, the median
        seconds (all_s, early_held_s) over `steps` steps.
    """
    columns = {}
    for name, variant in (("all_s", OURS), ("early_held_s", EARLY_HELD)):
        model = build("scrapseg", seed=0, variant=variant).to(memory_format=torch.channels_last)
        step, rows = training_step(model, config), []
        for _ in range(steps + 1):
            times = [("", time.perf_counter())]
            step(lambda part, times=times: times.append((part, time.perf_counter())))
            rows.append({b[0]: b[1] - a[1] for a, b in itertools.pairwise(times)})
        columns[name] = pd.DataFrame(rows[1:]).median()  # the first step is slower
    return pd.DataFrame(columns).loc[PARTS].rename_axis("part").reset_index()


def step_in_a_process(policy: str, busy: bool, config: TrainConfig, seconds: float) -> float:
    """Seconds of a training step of ours on the CPU, in a process of its own.

    Args:
        policy: OMP_WAIT_POLICY there; empty leaves it unset.
        busy: whether another process computes beside it, on one core.
    """
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": policy} if policy else {}
    code = (
        "import json; from making.bench import TrainConfig, measure; "
        f"print(json.dumps(measure('scrapseg', {config!r}, seconds={seconds})))"
    )
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    finally:
        if other:
            other.kill()
            other.wait()
    return json.loads(done.stdout.splitlines()[-1])["step_s"]


def beside_a_busy_process(config: TrainConfig, seconds: float) -> pd.DataFrame:
    """What one other busy process does to a training step, with and without passive waiting.

    Returns:
        A row a policy: wait_policy (default or PASSIVE), alone_s and busy_s (seconds a step), and
        ratio, how many times as long a step takes beside the other process.
    """
    rows = []
    for policy in ("", "PASSIVE"):
        alone, busy = (step_in_a_process(policy, b, config, seconds) for b in (False, True))
        rows.append((policy or "default", alone, busy, busy / alone))
    return pd.DataFrame(rows, columns=["wait_policy", "alone_s", "busy_s", "ratio"])


def main() -> None:
    """Command line; with ``--out``, writes speed.csv, busy.csv, profile.csv and provenance.json."""
    parser = argparse.ArgumentParser(prog="python -m making.bench", description="Measure speed.")
    parser.add_argument("--seconds", type=float, default=5.0, help="per measurement, at least")
    parser.add_argument("--out", type=Path, help="folder for tables and provenance")
    given = parser.parse_args()
    clock, started = time.perf_counter(), datetime.now(UTC)
    on_gpu = torch.cuda.is_available()
    device, name = ("cuda", torch.cuda.get_device_name()) if on_gpu else ("cpu", "CPU")
    config = TrainConfig()
    print(f"torch {torch.__version__} on {name}, {torch.get_num_threads()} CPU threads")
    print(f"training: {config.batch_size} x {config.crop} px; one image: {SIZE} px", flush=True)
    speed = pd.DataFrame(
        {"method": name} | measure(m, config, variant=variant, device=device, seconds=given.seconds)
        for name, (m, variant) in METHODS.items()
    )
    print(speed.round(3).to_string(index=False))
    print("\na training step of ours on the CPU, alone and beside one busy process", flush=True)
    busy = beside_a_busy_process(config, given.seconds)
    print(busy.round(3).to_string(index=False))
    print("\nwhere a training step of ours spends its time", flush=True)
    parts = profile(config)
    print(parts.round(3).to_string(index=False))
    if given.out:
        tables = {"speed.csv": speed, "busy.csv": busy, "profile.csv": parts}
        for file, table in tables.items():
            atomic_write(given.out / file, table.to_csv(index=False, float_format="%.4g"))
        made = provenance(time.perf_counter() - clock, None, name, started)
        atomic_write(given.out / "provenance.json", json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
