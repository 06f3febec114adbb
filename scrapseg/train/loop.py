"""One training loop on Lightning Fabric, shared by our model, its alignment and the baselines."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.fabric import Fabric
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from scrapseg.files import WriteFailed
from scrapseg.models.scrapseg import SegOutput
from scrapseg.train import processes
from scrapseg.train.losses import LossParts, segmentation_loss


class TrainingDiverged(Exception):
    """The loss is no longer a finite number."""


#: Steps between two saves of an unfinished run.
SAVE_EVERY = 100


@dataclass(frozen=True)
class LoopConfig:
    """What the training loop itself needs to know.

    Attributes:
        steps: optimiser steps. batch_size: images a step, over all devices.
        lr: peak learning rate of the head. encoder_lr: of the deepest encoder layer.
        layer_decay: factor from one encoder layer group to the one before it.
        warmup: share of the steps with a rising rate; the rest falls along a cosine to zero.
        evals: how often to score the model, evenly over the last two thirds of the run.
        ema: decay of the weight average that is evaluated and kept.
        workers: processes that load images. precision: of Fabric, such as "bf16-mixed".
    """

    steps: int = 600
    batch_size: int = 4
    lr: float = 4e-3
    encoder_lr: float = 2e-3
    layer_decay: float = 0.9
    weight_decay: float = 0.02
    warmup: float = 0.05
    evals: int = 2
    ema: float = 0.998
    seed: int = 0
    workers: int = 0
    precision: str = "32-true"


@dataclass(frozen=True)
class TrainConfig(LoopConfig):
    """What a training run is made of; written whole into its run record.

    Attributes:
        crop: side in pixels of the square training crops.
        paste: at most how many pieces of other images are pasted into a crop.
        gamma, dice_weight, image_weight, binary: see `losses.segmentation_loss`.
        without: slug of an impurity class whose pixels carry no label in training.
    """

    crop: int = 256
    paste: int = 4
    gamma: float = 0.0
    dice_weight: float = 1.0
    image_weight: float = 0.1
    binary: bool = False
    without: str | None = None


class Draws(Dataset):
    """The whole run's training samples in a fixed order, each with its own augmentation seed.

    Draw i is the same image with the same augmentation whatever the number of workers or
    devices and wherever a run resumes.
    """

    def __init__(self, dataset: Dataset, weights: Tensor, n: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.order = torch.multinomial(weights, n, replacement=True, generator=generator)
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, draw: int) -> tuple[Tensor, Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + draw)
            return self.dataset[int(self.order[draw])]


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up from 0 to 1 over `warmup * steps` steps, then a cosine down to 0."""
    ramp = max(1, round(warmup * steps))
    if step < ramp:
        return (step + 1) / ramp
    progress = torch.tensor((step - ramp) / max(1, steps - ramp))
    return float(0.5 * (1 + torch.cos(torch.pi * progress)))


def eval_steps(steps: int, evals: int) -> set[int]:
    """Step counts after which val is looked at: `evals` of them, the last one at the end."""
    return {round(steps * (1 - k * 2 / (3 * max(1, evals)))) for k in range(evals)} | {steps}


def training_loss(
    model: Callable[[Tensor], SegOutput], batch: tuple[Tensor, Tensor], config: TrainConfig
) -> LossParts:
    """The loss of a model on a batch of images and labels, weighted as `config` says."""
    images, labels = batch
    out = model(images.contiguous(memory_format=torch.channels_last))
    return segmentation_loss(
        out.logits.to(torch.promote_types(out.logits.dtype, torch.float32)),
        out.image_logits,
        labels,
        gamma=config.gamma,
        dice_weight=config.dice_weight,
        image_weight=config.image_weight,
        binary=config.binary,
    )


def fit(
    model: nn.Module,
    train_set: Dataset,
    weights: Tensor,
    score: Callable[[nn.Module], float],
    config: TrainConfig,
    *,
    state_path: Path | None = None,
    label: str = "train",
) -> list[dict[str, float]]:
    """Train a segmenter in place and leave it with the weights that scored best on val.

    Under torchrun its processes share each batch, see `processes`; the first one scores and saves.

    Args:
        model: images -> `SegOutput`, with `param_groups(lr, layer_decay, encoder_lr)`.
        train_set: items (image float (3, H, W) normalised, mask int64 (H, W)).
        weights: chance of each item, (len(train_set),).
        score: the val metric of a model in eval mode; higher is better.
        state_path, label: see `optimise`.

    Returns:
        History, see `optimise`, with the parts focal, dice and image.

    Raises:
        TrainingDiverged: the loss became nan or infinite.
        ProcessesError: see `processes.share`.
    """
    batch_size, fabric = processes.share(config.batch_size), processes.start(config.precision)
    draws = Draws(train_set, weights, config.steps * config.batch_size, config.seed)

    def batches(step: int) -> DataLoader:
        rest = torch.utils.data.Subset(draws, range(step * config.batch_size, len(draws)))
        return DataLoader(
            rest,
            batch_size=batch_size,
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
        )

    loss = partial(training_loss, config=config)
    if processes.COUNT > 1:
        loss = processes.of_all_shares(loss)
    return optimise(
        model, batches, loss, score, config, state_path=state_path, fabric=fabric, label=label
    )


def optimise(
    model: nn.Module,
    batches: Callable[[int], DataLoader],
    loss_of: Callable[[nn.Module, Any], NamedTuple],
    score: Callable[[nn.Module], float],
    config: LoopConfig,
    *,
    state_path: Path | None = None,
    fabric: Fabric | None = None,
    label: str = "train",
) -> list[dict[str, float]]:
    """The loop: AdamW, warm-up and cosine, weight average, looks, state to resume from.

    Args:
        model: a module with `param_groups(lr, layer_decay, encoder_lr)`; it is left with the
            weights that scored best, in eval mode.
        batches: step -> loader of the batches from that step to the end.
        loss_of: (model, batch) -> named tuple of scalar tensors; its `total` is minimised.
        score: of a model in eval mode; higher is better.
        state_path: where to keep the state of an unfinished run; it resumes there, and the file
            is removed when the run is done.
        label: of the progress bar.

    Returns:
        History: a dict per logged step, with step, loss, the loss's other parts and, where the
        model was scored, val.

    Raises:
        TrainingDiverged: the loss became nan or infinite.
    """
    fabric = fabric or Fabric(accelerator="auto", devices=1, precision=config.precision)
    fabric.launch()
    groups = model.param_groups(config.lr, config.layer_decay, config.encoder_lr)
    for group in groups:
        group["peak"] = group["lr"]
    optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
    model.to(memory_format=torch.channels_last)
    wrapped, optimizer = fabric.setup(model, optimizer)
    ema = ModelEmaV3(model, decay=config.ema, use_warmup=True)
    state = {"model": model, "ema": ema, "optimizer": optimizer}
    state |= {"step": 0, "best": -math.inf, "best_weights": {}, "history": []}
    if state_path and state_path.is_file():
        fabric.load(state_path, state)

    loader = fabric.setup_dataloaders(batches(state["step"]))
    checks = eval_steps(config.steps, config.evals)
    bar = tqdm(
        loader,
        total=config.steps,
        initial=state["step"],
        desc=label,
        mininterval=2,
        disable=not fabric.is_global_zero,
    )
    model.train()
    for step, batch in enumerate(bar, start=state["step"]):
        factor = learning_rate_factor(step, config.steps, config.warmup)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        loss = loss_of(wrapped, batch)
        if not torch.isfinite(loss.total):
            raise TrainingDiverged(f"{label}: loss is {loss.total.item()} at step {step}; lower lr")
        optimizer.zero_grad()
        fabric.backward(loss.total)
        fabric.clip_gradients(wrapped, optimizer, max_norm=5.0)
        optimizer.step()
        ema.update(model, step=step)
        done = step + 1
        if done in checks or done % 20 == 0:
            parts = {k: float(v.detach()) for k, v in loss._asdict().items()}
            row = {"step": done, "loss": parts.pop("total")} | parts
            state["history"].append(row)
            bar.set_postfix(loss=f"{row['loss']:.3f}")
        if done in checks:
            value = score(ema.module.eval()) if fabric.is_global_zero else math.nan
            row["val"] = fabric.broadcast(value)
            if row["val"] > state["best"]:
                weights_now = {k: v.clone() for k, v in ema.module.state_dict().items()}
                state |= {"best": row["val"], "best_weights": weights_now}
        if state_path and (done in checks or done % SAVE_EVERY == 0) and done < config.steps:
            state["step"] = done
            _save(fabric, state_path, state)
    model.load_state_dict(state["best_weights"])
    model.eval()
    if state_path and fabric.is_global_zero:
        state_path.unlink(missing_ok=True)
    return state["history"]


def _save(fabric: Fabric, path: Path, state: dict[str, Any]) -> None:
    """Put a state where the last one was, whole or not at all."""
    partial_path = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fabric.save(partial_path, state)
        if fabric.is_global_zero:
            partial_path.replace(path)
    except (OSError, RuntimeError) as error:  # of a full disk torch raises the second
        partial_path.unlink(missing_ok=True)
        reason = " ".join(str(error).split())
        raise WriteFailed(f"cannot write {path}: {reason}; is the disk full?") from error
