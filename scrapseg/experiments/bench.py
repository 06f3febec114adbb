"""How fast the trained methods are on this machine: training steps and single images.

    python -m scrapseg.experiments.bench

Images are noise, for speed does not depend on what is in them, so no data set is needed. What a
run of the benchmark itself cost is in its record (`train_s`, `ms_per_image`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.benchmark import Timer

from scrapseg.data.classes import CLASSES
from scrapseg.experiments.build import build
from scrapseg.train.loop import TrainConfig
from scrapseg.train.losses import segmentation_loss

METHODS = ("scrapseg", "scrapseg-frozen", "unet")


@dataclass(frozen=True)
class Speed:
    """Median times of one method.

    Attributes:
        params_m: parameters in millions.
        train_images_s: images per second in training (forward, backward, optimiser step).
        ms_per_image: milliseconds for one image at a time, forward only.
    """

    method: str
    params_m: float
    train_images_s: float
    ms_per_image: float


def median_s(function: Callable[[], None], seconds: float) -> float:
    """Median wall time of a call of `function`, over `seconds` of calls; waits for a GPU."""
    timer = Timer("f()", globals={"f": function}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=seconds).median


def measure(
    method: str,
    *,
    size: int = 384,
    config: TrainConfig | None = None,
    device: str = "cpu",
    seconds: float = 5.0,
) -> Speed:
    """Speed of one trained method on noise.

    Args:
        size: side in pixels of the single images.
        config: gives batch size, crop and learning rates of the training step.
        seconds: how long each of the two measurements runs, at least.
    """
    config = config or TrainConfig()
    model: nn.Module = build(method, seed=0).to(device, memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)

    def noise(batch: int, side: int) -> torch.Tensor:
        images = torch.randn(batch, 3, side, side, generator=generator)
        return images.to(device, memory_format=torch.channels_last)

    batch, image = noise(config.batch_size, config.crop), noise(1, size)
    labels = torch.randint(
        len(CLASSES), (config.batch_size, config.crop, config.crop), generator=generator
    ).to(device)
    groups = model.param_groups(config.lr, config.layer_decay, config.encoder_lr)
    optimizer = torch.optim.AdamW(groups)

    def step() -> None:
        out = model(batch)
        loss = segmentation_loss(out.logits, out.image_logits, labels)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()

    def look() -> None:
        with torch.inference_mode():
            model(image)

    model.train()
    train = config.batch_size / median_s(step, seconds)
    model.eval()
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    return Speed(method, parameters, train, 1000 * median_s(look, seconds))


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m scrapseg.experiments.bench", description="Measure speed."
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="per measurement, at least")
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    config, size = TrainConfig(), 384
    print(f"torch {torch.__version__} on {name}, {torch.get_num_threads()} CPU threads")
    print(f"training: {config.batch_size} x {config.crop} px; one image: {size} px")
    print(f"{'method':<16} {'params (M)':>10} {'train images/s':>15} {'ms/image':>9}")
    for method in METHODS:
        s = measure(method, size=size, config=config, device=device, seconds=options.seconds)
        print(
            f"{s.method:<16} {s.params_m:>10.2f} {s.train_images_s:>15.1f} {s.ms_per_image:>9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
