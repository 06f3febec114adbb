"""What a training run will need, said before it starts: memory and time, as an estimate.

Memory and arithmetic are counted on a step with tensors that have shapes but no content, so this
works without a GPU and without the memory in question. Where there is a GPU, a few real steps
replace the counting of what a step holds, and give the time.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakIdKeyDictionary

from scrapseg.models.scrapseg import SegOutput
from scrapseg.train.loop import TrainConfig, training_loss

#: Rate for the time of a run on a GPU that is not there to be measured, in operations a second.
ASSUMED_RATE = 50e12


class BudgetError(Exception):
    """The run cannot start on this machine; the message is one line."""


@dataclass(frozen=True)
class Budget:
    """What a run of `train.fit` is expected to need.

    Attributes:
        state_bytes: kept throughout: weights, AdamW's two moments, the weight average, the best
            weights so far.
        step_bytes: most that a step holds beside: activations, gradients, temporaries.
        step_flops: floating-point operations of a step, forward and backward.
        steps: optimiser steps of the run.
        step_s: measured wall time of a step, None where it was not measured.
    """

    state_bytes: int
    step_bytes: int
    step_flops: int
    steps: int
    step_s: float | None = None

    @property
    def total_bytes(self) -> int:
        """Most memory in use at a time."""
        return self.state_bytes + self.step_bytes

    def __str__(self) -> str:
        if self.step_s:
            seconds, how = self.steps * self.step_s, f"measured {self.step_s:.2f} s a step"
        else:
            seconds = self.steps * self.step_flops / ASSUMED_RATE
            how = f"at {ASSUMED_RATE / 1e12:.0f} TFLOP/s; no GPU here to measure"
        return (
            f"expected, as an estimate: {self.total_bytes / 1e9:.1f} GB of GPU memory "
            f"({self.state_bytes / 1e9:.1f} GB weights and optimiser, "
            f"{self.step_bytes / 1e9:.1f} GB activations and gradients) and "
            f"{seconds / 60:.0f} min for {self.steps} steps of {self.step_flops / 1e12:.1f} TFLOP "
            f"({how}); loading and evaluation come on top"
        )


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors made while it is active: `live` now, `peak` at most.

    Args:
        before: tensors that are there already; views of them cost nothing.
    """

    def __init__(self, before: list[Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known = WeakIdKeyDictionary({t.untyped_storage(): True for t in before})

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run an operation and count the storages that it made."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.untyped_storage() not in self._known:
                storage = tensor.untyped_storage()
                self._known[storage] = True
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._freed, storage.nbytes())
        return out

    def _freed(self, count: int) -> None:
        self.live -= count


def counted(model: nn.Module, config: TrainConfig) -> Budget:
    """Budget of `train.fit(model, ..., config)`, counted without computing anything.

    What runs in bf16 is decided as on a CPU; a GPU keeps the inputs of layer norms in 32 bit
    besides, which makes a ViT's step hold about a tenth more.

    Args:
        model: images -> `SegOutput`, in the mode it will be trained in; it is not changed.
    """
    held = [*model.parameters(), *model.buffers()]
    weights = sum(t.nbytes for t in held)
    moments = 2 * sum(p.nbytes for p in model.parameters() if p.requires_grad)
    fake = FakeTensorMode()
    with FakeCopyMode(fake):
        shadow = copy.deepcopy(model)
    with fake:
        images, labels = noise(config, "cpu")
        memory = LiveBytes([*shadow.parameters(), *shadow.buffers(), images, labels])
        with memory:
            training_step(shadow, images, labels, config)
        # Apart from the above: together with gradient checkpointing it would keep tensors alive.
        with FlopCounterMode(display=False) as flops:
            training_step(shadow, images, labels, config)
    return Budget(3 * weights + moments, memory.peak, flops.get_total_flops(), config.steps)


def measured(budget: Budget, model: nn.Module, config: TrainConfig, device: str) -> Budget:
    """`budget` with a step's time on `device`, and on a GPU its memory, from a few real steps.

    They are taken by a copy; the model is not changed.

    Raises:
        BudgetError: the steps do not fit into the device's memory.
    """
    gpu = torch.device(device).type == "cuda"
    try:
        with torch.random.fork_rng():
            shadow = copy.deepcopy(model).to(device)
            images, labels = noise(config, device)
            held = torch.cuda.memory_allocated() if gpu else 0
            if gpu:
                torch.cuda.reset_peak_memory_stats()

            def step() -> None:
                shadow.zero_grad()
                training_step(shadow, images, labels, config)

            timer = Timer("f()", globals={"f": step}, num_threads=torch.get_num_threads())
            step_s = timer.timeit(3).median  # after a warm-up
            peak = torch.cuda.max_memory_allocated() - held if gpu else budget.step_bytes
    except torch.OutOfMemoryError as error:
        raise BudgetError(
            f"a step of {config.batch_size} images of {config.crop} px does not fit on {device}: "
            "set a smaller batch_size, or grad_checkpointing"
        ) from error
    return replace(budget, step_s=step_s, step_bytes=peak)


def seconds_a_step(train: Callable[[int], Any], now: Callable[[], float] = perf_counter) -> float:
    """How long a step takes of `train`, which is told how many to take.

    The first step of all is slower, and so is what comes before it.
    """
    clock = [now()]
    for steps in (1, 4):
        train(steps)
        clock.append(now())
    once, four = clock[1] - clock[0], clock[2] - clock[1]
    return max((four - once) / 3, four / 8, 1e-3)


def announce(model: nn.Module, config: TrainConfig) -> Budget:
    """Print what a run on this machine's GPU will need, and stop it where it cannot be.

    Raises:
        BudgetError: there is no GPU, or it is too small.
    """
    budget = counted(model, config)
    if not torch.cuda.is_available():
        print(budget)
        raise BudgetError(
            f"this profile needs a GPU of {budget.total_bytes / 1e9:.0f} GB or more, and torch "
            "finds none; the profiles laptop and full run without"
        )
    budget = measured(budget, model, config, "cuda")
    card = torch.cuda.get_device_properties(0)
    print(f"{card.name}: {budget}")
    if budget.total_bytes > card.total_memory:
        raise BudgetError(
            f"{card.name} has {card.total_memory / 1e9:.0f} GB: set a smaller batch_size, or "
            "grad_checkpointing"
        )
    return budget


def noise(config: TrainConfig, device: str) -> tuple[Tensor, Tensor]:
    """A batch of `config`'s size without content: images and labels."""
    images = torch.zeros(config.batch_size, 3, config.crop, config.crop, device=device)
    labels = torch.zeros(config.batch_size, config.crop, config.crop, dtype=torch.int64)
    return images, labels.to(device)


def training_step(model, images: Tensor, labels: Tensor, config: TrainConfig) -> None:
    """Forward and backward as in `train.fit`, in its precision."""
    mixed = config.precision.endswith("-mixed")

    def forward(batch: Tensor) -> SegOutput:
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=mixed):
            return model(batch)

    training_loss(forward, (images, labels), config).total.backward()
