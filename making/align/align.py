"""Align the pocket model's image side with its frozen text side on the studio set.

The text tower stays as it is and the image side learns to land on its vectors: locked tuning (LiT,
Zhai et al., arXiv:2111.07991, where the image tower is the locked one). Two terms: a *caption*
term brings the pooled token of a picture to its caption; a *dense* term brings every cell to the
texts that are true of what it shows (the idea of dino.txt, Jose et al., arXiv:2412.16334). All of
`ScrapSeg` learns: image tower, pyramid, projections, stage weights, temperatures. ScrapSim is never
seen; the weights kept are those with the lowest loss on held-out studio images.

Since texts are locked, they are encoded once before the first step, and contrasting a batch with
hundreds of texts and captions of other images costs next to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from making.align.collage import Batch, Batches, CollageConfig
from making.align.losses import Aligner, AlignLoss, align_loss
from making.align.studio import Studio, TextBank
from scrapseg.models.pocket import pocket_model
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.train.loop import LoopConfig, optimise

HELDOUT_BATCHES = 8
HELDOUT_SEED = 1_000_000
"""Far from any training seed's draws."""


@dataclass(frozen=True)
class AlignConfig(LoopConfig):
    """What an alignment is made of; written whole into its record.

    Attributes:
        caption_weight: of the caption term beside the dense one.
        collage: how batches are put together.
    """

    steps: int = 800
    batch_size: int = 16
    lr: float = 2e-3
    encoder_lr: float = 1e-3
    evals: int = 6
    ema: float = 0.995
    caption_weight: float = 0.5
    collage: CollageConfig = field(default_factory=CollageConfig)


def batches_of(
    studio: Studio, bank: TextBank, model: ScrapSeg, config: AlignConfig, *, n: int, seed: int
) -> Batches:
    """`n` batches of a split for this model."""
    return Batches(
        studio,
        bank,
        config.collage,
        model.mean,
        model.std,
        batch_size=config.batch_size,
        n=n,
        seed=seed,
    )


@torch.inference_mode()
def mean_loss(aligner: nn.Module, batches: Sequence[Batch], caption_weight: float) -> AlignLoss:
    """Mean of both terms over batches; `aligner` is in eval mode."""
    device = next(aligner.parameters()).device
    rows = []
    for batch in batches:
        rows.append(align_loss(aligner, Batch(*(t.to(device) for t in batch)), caption_weight))
    return AlignLoss(*(torch.stack(part).mean() for part in zip(*rows, strict=True)))


def align(
    model: ScrapSeg,
    train: Studio,
    heldout: Studio,
    bank: TextBank,
    config: AlignConfig,
    *,
    state_path: Path | None = None,
) -> list[dict[str, float]]:
    """Align a model in place; it is left with the weights of the lowest held-out loss.

    Args:
        bank: texts of both splits.
        state_path: where to keep the state of an unfinished run; it resumes there, and the file
            is removed when the run is done.

    Returns:
        History: a dict per logged step with step, loss, dense, caption and, where held-out images
        were looked at, heldout (the same loss on them).

    Raises:
        TrainingDiverged: the loss became nan or infinite.
        DataError: an image of the set cannot be read.
    """
    n = config.steps
    training = batches_of(train, bank, model, config, n=n, seed=config.seed)
    looks = batches_of(heldout, bank, model, config, n=HELDOUT_BATCHES, seed=HELDOUT_SEED)
    fixed = [looks[i] for i in range(HELDOUT_BATCHES)]

    def batches(step: int) -> DataLoader:
        rest = Subset(training, range(step, n))
        return DataLoader(rest, batch_size=None, num_workers=config.workers)

    history = optimise(
        Aligner(model),
        batches,
        lambda aligner, batch: align_loss(aligner, batch, config.caption_weight),
        lambda aligner: -float(mean_loss(aligner, fixed, config.caption_weight).total),
        config,
        state_path=state_path,
        label="align",
    )
    return [
        {("heldout" if k == "val" else k): -v if k == "val" else v for k, v in row.items()}
        for row in history
    ]


def steps_in(
    minutes: float, train: Studio, bank: TextBank, config: AlignConfig, probe: int = 4
) -> int:
    """How many steps fit into `minutes` on this machine, looks at held-out images included.

    A throwaway model takes one step to warm up and `probe` steps against the clock.
    """
    aligner = Aligner(pocket_model(config.seed)).train()
    aligner.to(memory_format=torch.channels_last)
    batches = batches_of(train, bank, aligner.model, config, n=probe + 1, seed=config.seed)
    optimizer = torch.optim.AdamW(aligner.parameters())
    start = 0.0
    for i in range(probe + 1):
        if i == 1:
            start = time.perf_counter()
        align_loss(aligner, batches[i], config.caption_weight).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    step_s = (time.perf_counter() - start) / probe
    # A batch without gradients takes about a third of a step.
    looking_s = config.evals * HELDOUT_BATCHES * step_s / 3
    return max(1, int((60 * minutes - looking_s) / step_s))
