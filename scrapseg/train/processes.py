"""Training in several processes, as torchrun starts them, that computes what one process would.

Each takes its share of every batch through its copy of the network. What is of the whole batch
stays so: batch norms take their statistics over all shares, and the loss (Dice is a ratio of sums)
is that of the logits and labels of all. Only dropout, which DeepLabV3+ has, draws in each process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import TorchElasticEnvironment
from lightning.fabric.strategies import DDPStrategy
from torch import Tensor, distributed
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

#: Processes that torchrun started on this machine and in all, and which of them this is.
HERE, COUNT, RANK = 1, 1, 0
if TorchElasticEnvironment.detect():
    HERE, COUNT, RANK = (int(os.environ[k]) for k in ("LOCAL_WORLD_SIZE", "WORLD_SIZE", "RANK"))


class ProcessesError(Exception):
    """What was asked for cannot be done in several processes; the message is one line."""


def start(precision: str) -> Fabric:
    """Fabric with a device for each process that torchrun started; without it, with one."""
    # Static: what is never used, such as stages that are not read, is found in the first step.
    several = {"num_nodes": COUNT // HERE, "strategy": DDPStrategy(static_graph=True)}
    options = several if COUNT > 1 else {}
    return Fabric(accelerator="auto", devices=HERE, precision=precision, **options)


def finish() -> None:
    """End this process unless it is the first: what follows training is for one alone."""
    if COUNT > 1:
        distributed.destroy_process_group()
    if RANK:
        raise SystemExit


def share(batch_size: int) -> int:
    """How many images of a batch each process takes.

    Raises:
        ProcessesError: they cannot take the same number.
    """
    if batch_size % COUNT:
        raise ProcessesError(f"{COUNT} processes cannot share a batch of {batch_size} evenly")
    return batch_size // COUNT


def of_all_shares(loss_of: Callable) -> Callable:
    """A loss of (model, (images, labels)) as one of whole batches, given this process's share."""

    def loss(model: Callable, batch: tuple[Tensor, Tensor]) -> Any:
        def whole(images: Tensor) -> Any:
            with WholeBatchNorm():
                out = model(images)
            return type(out)(*(part if part is None else joined(part) for part in out))

        return loss_of(whole, (batch[0], joined(batch[1])))

    return loss


class Joined(torch.autograd.Function):
    """The (B, ...) of all processes, one after the other, as (processes * B, ...)."""

    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        """All of them, in each process."""
        parts = [torch.empty_like(share) for _ in range(COUNT)]
        distributed.all_gather(parts, share)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """What the losses of all processes, each of the whole, say of this one's part."""
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.chunk(COUNT)[RANK]


def joined(share: Tensor) -> Tensor:
    """See `Joined`."""
    return Joined.apply(share.contiguous())


class WholeBatchNorm(TorchFunctionMode):
    """While active, batch norms in training take mean and variance over all shares.

    As torch's SyncBatchNorm, which works on GPUs alone; the model stays as it is.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Any function of torch but `F.batch_norm` as ever."""
        return (batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


def batch_norm(x, mean, var, weight, bias, training=False, momentum=0.1, eps=1e-5) -> Tensor:
    """`F.batch_norm` of the whole batch, given this process's share x, (B, C, ...)."""
    if not training:
        return F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
    dims = [d for d in range(x.ndim) if d != 1]
    own = torch.stack(torch.var_mean(x.to(mean.dtype), dims, correction=0))
    variances, means = joined(own[None]).unbind(1)
    # Shares are of one size: the variance is their mean variance and the variance of their means.
    now_mean, now_var = means.mean(0), variances.mean(0) + means.var(0, correction=0)
    n = COUNT * x.numel() // x.shape[1]
    with torch.no_grad():
        mean.lerp_(now_mean, momentum)
        var.lerp_(now_var * (n / (n - 1)), momentum)
    scale = weight * torch.rsqrt(now_var + eps)
    shape = [-1 if d == 1 else 1 for d in range(x.ndim)]
    return (x * scale.view(shape) + (bias - now_mean * scale).view(shape)).to(x.dtype)
