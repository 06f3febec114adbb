"""Align the pocket model's image side with its frozen text side on the studio set.

    python -m making.align.align --studio DIR --out data/pocket --minutes 35

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

import argparse
import hashlib
import json
import math
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from making.align.collage import Batch, Batches, CollageConfig, whole_images
from making.align.studio import Studio, TextBank, composition
from scrapseg import metrics
from scrapseg.data.base import DataError, SegDataset
from scrapseg.data.classes import IMPURITIES
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.records import provenance
from scrapseg.files import REPOSITORY, ResultsError, atomic_write
from scrapseg.models.pocket import ALIGNED, load_aligned, pocket_model, save_aligned
from scrapseg.models.predict import eval_transform, log_odds
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.weights import WeightsError
from scrapseg.train.loop import LoopConfig, TrainingDiverged, optimise

HELDOUT_BATCHES = 8
HELDOUT_SEED = 1_000_000
"""Far from any training seed's draws."""
WEIGHTS_NAME = ALIGNED.name
MARKS = ("<!-- generated: start -->", "<!-- generated: end -->")


class AlignError(Exception):
    """An alignment cannot start; the message is one line."""


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


# --- losses -----------------------------------------------------------------------------------


class AlignLoss(NamedTuple):
    """Scalar tensors; `total` is what is minimised."""

    total: Tensor
    dense: Tensor
    caption: Tensor


def multi_positive_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Softmax cross-entropy with several right answers: -log of the right ones' common share.

    Candidates of which it cannot be told are left out. A row without a right answer gives inf.

    Args:
        logits: (N, C). truth: (N, C), 1 right, -1 wrong, 0 not to be told.

    Returns:
        (N,), non-negative.
    """
    right = logits.masked_fill(truth <= 0, -torch.inf).logsumexp(1)
    known = logits.masked_fill(truth == 0, -torch.inf).logsumexp(1)
    return known - right


def dense_loss(logits: Tensor, regions: Tensor, truth: Tensor) -> Tensor:
    """`multi_positive_loss` of every cell, mean over a region's cells, then over regions.

    So a bolt counts as much as a table, and an object as much as a background.

    Args:
        logits: (B, C, h, w). regions: int64 (B, h, w), 0..R-1, -1 for none. truth: (R, C).
    """
    inside = regions >= 0
    cells, owner = logits.permute(0, 2, 3, 1)[inside], regions[inside]
    losses = multi_positive_loss(cells, truth[owner])
    sums = losses.new_zeros(len(truth)).index_add(0, owner, losses)
    counts = torch.bincount(owner, minlength=len(truth))
    return (sums / counts.clamp_min(1))[counts > 0].mean()


def caption_loss(images: Tensor, captions: Tensor, truth: Tensor, scale: Tensor) -> Tensor:
    """Contrast images with captions, and captions with images (CLIP, arXiv:2103.00020, fig. 3).

    Args:
        images: (P, D) unit vectors. captions: (M, D) unit vectors, the images' own first.
        truth: (P, M). scale: one over the temperature.
    """
    if not len(images):
        return images.sum()  # 0, and still part of the graph
    logits = scale * images @ captions.T
    own = len(images)
    to_text = multi_positive_loss(logits, truth)
    to_image = multi_positive_loss(logits[:, :own].T, truth[:, :own].T)
    return (to_text.mean() + to_image.mean()) / 2


class Aligner(nn.Module):
    """`ScrapSeg` as alignment uses it: texts come with each batch, not with the model."""

    def __init__(self, model: ScrapSeg) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W), text (C, D) -> logits (B, C, H/4, W/4), unit vectors (B, D)."""
        model = self.model
        stages = model.encoder(images)
        maps = [
            project(h, text)
            for project, h in zip(model.projections, model.pyramid(stages.maps), strict=True)
        ]
        return model.fuse(maps), F.normalize(stages.pooled, dim=1)

    def param_groups(self, lr: float, layer_decay: float, encoder_lr: float) -> list[dict]:
        """As `ScrapSeg.param_groups`."""
        return self.model.param_groups(lr, layer_decay, encoder_lr)


def align_loss(aligner: nn.Module, batch: Batch, caption_weight: float) -> AlignLoss:
    """Both terms on one batch; `aligner` is an `Aligner`, perhaps wrapped by Fabric."""
    images = batch.images.contiguous(memory_format=torch.channels_last)
    logits, pooled = aligner(images, batch.text)
    dense = dense_loss(logits.float(), batch.regions, batch.truth)
    scale = aligner.model.image_log_scale.exp()
    plain = pooled.float()[batch.plain]
    caption = caption_loss(plain, batch.captions, batch.caption_truth, scale)
    return AlignLoss(dense + caption_weight * caption, dense, caption)


# --- the loop ---------------------------------------------------------------------------------


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


# --- what it brings ---------------------------------------------------------------------------


@torch.inference_mode()
def retrieval(
    model: ScrapSeg, studio: Studio, bank: TextBank, *, size: int = 192, batch_size: int = 16
) -> dict[str, float]:
    """Find each caption's image among a split's images, and each image's caption.

    Images with the same sentence are right for each other. Every result is a fraction of 1.

    Args:
        bank: texts of (at least) this split. size: side in pixels at which images are shown.

    Returns:
        r1_text_to_image, r5_text_to_image, r1_image_to_text, r5_image_to_text, what a random
        order reaches (chance_r1, chance_r5), and images, their number.
    """
    device = next(model.parameters()).device
    model.eval()
    loader = DataLoader(whole_images(studio, size, model.mean, model.std), batch_size=batch_size)
    pooled = torch.cat([model.encoder(images.to(device)).pooled.cpu() for images in loader])
    sentences = [record.caption for record in studio.records]
    text = bank.vectors[[bank.captions[s] for s in sentences]]
    number = {s: i for i, s in enumerate(dict.fromkeys(sentences))}
    same = torch.tensor([number[s] for s in sentences])
    right = same[:, None] == same[None, :]
    cosines = F.normalize(pooled, dim=1) @ text.T
    found = {"text_to_image": _ranks(cosines.T, right), "image_to_text": _ranks(cosines, right)}
    result = {
        f"r{k}_{way}": float((ranks < k).double().mean())
        for way, ranks in found.items()
        for k in (1, 5)
    }
    n, counts = len(sentences), right.sum(1).tolist()
    for k in (1, 5):
        misses = [math.comb(n - m, k) / math.comb(n, k) if n >= k else 0.0 for m in counts]
        result[f"chance_r{k}"] = 1 - sum(misses) / n
    return result | {"images": n}


def _ranks(scores: Tensor, right: Tensor) -> Tensor:
    """Wrong candidates ahead of the best right one, per row; a tie counts as ahead."""
    best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    return ((scores >= best) & ~right).sum(1)


@torch.inference_mode()
def class_log_odds(model: ScrapSeg, split: ScrapSim, *, batch_size: int = 4) -> np.ndarray:
    """log p_c / (1 - p_c) of every class at every pixel, float16 (classes, N, H, W)."""
    device = next(model.parameters()).device
    model.eval()
    images = SegDataset(split, split.ids, eval_transform(model.mean, model.std))
    parts = []
    for batch, _ in tqdm(DataLoader(images, batch_size), desc="zero-shot", mininterval=2):
        parts.append(log_odds(model(batch.to(device)).logits.float()).half().cpu().numpy())
    return np.concatenate(parts).swapaxes(0, 1)


def zero_shot(model: ScrapSeg, split: ScrapSim) -> dict[str, float]:
    """How well the class prompts alone find impurities in a split of ScrapSim.

    The model's class vectors are those of `CLASSES`, in that order.

    Returns:
        ap, auroc: of the anomaly score 1 - p[normal], over pixels. prior: the share of impurity
        pixels, which is a random score's AP. For each impurity ap/<slug>: of the class's own
        probability for the class's own pixels; and prior/<slug>.
    """
    labels = np.stack([sample.label for sample in split])
    odds = class_log_odds(model, split)
    ranking = metrics.rank(-odds[0], labels > 0)
    result = {
        "ap": metrics.average_precision(ranking),
        "auroc": metrics.auroc(ranking),
        "prior": float((labels > 0).mean()),
    }
    for c in IMPURITIES:
        result[f"ap/{c.slug}"] = metrics.average_precision(
            metrics.rank(odds[c.index], labels == c.index)
        )
        result[f"prior/{c.slug}"] = float((labels == c.index).mean())
    return result


# --- a whole run ------------------------------------------------------------------------------


def run(
    studio_root: str | Path,
    out: str | Path,
    config: AlignConfig,
    *,
    minutes: float | None = None,
    scrapsim_root: str | Path | None = None,
) -> dict[str, Any]:
    """Align, write weights and record, and refresh the model card in `out` if there is one.

    Writes ``pocket-aligned.safetensors`` with its checksum and ``alignment.json``. An unfinished
    run, kept in ``out/.align``, goes on where it stopped.

    Args:
        minutes: in place of `config.steps`: as many steps as fit.
        scrapsim_root: also score zero-shot segmentation on ScrapSim's val split, before and
            after, when the alignment is done.

    Returns:
        The content of ``alignment.json``.

    Raises:
        AlignError: an unfinished run with other settings or data is in the way.
        DataError, TrainingDiverged: see `align`.
    """
    out = Path(out)
    work = out / ".align"
    train, heldout = Studio(studio_root, "train"), Studio(studio_root, "heldout")
    started, clock = datetime.now(UTC), time.perf_counter()
    bank = TextBank(train, heldout)
    config = _plan(work / "plan.json", config, minutes, train, bank)
    done = work / "history.json"  # trained, but not yet judged
    if not done.is_file():
        model = pocket_model(config.seed)
        history = align(model, train, heldout, bank, config, state_path=work / "run.state")
        save_aligned(model, out / WEIGHTS_NAME)
        atomic_write(done, json.dumps(history))
    history = json.loads(done.read_text())
    # Judged as shipped: in half precision.
    model = load_aligned(pocket_model(config.seed), out / WEIGHTS_NAME)
    size = config.collage.size
    record: dict[str, Any] = {
        "weights": {
            "file": WEIGHTS_NAME,
            "bytes": (out / WEIGHTS_NAME).stat().st_size,
            "sha256": hashlib.sha256((out / WEIGHTS_NAME).read_bytes()).hexdigest(),
            "parameters": sum(p.numel() for p in model.parameters()),
        },
        "studio": {
            "train": composition(train),
            "heldout": composition(heldout),
            "texts": len(bank.texts),
        },
        "retrieval": retrieval(model, heldout, bank, size=size),
    }
    if scrapsim_root is not None:
        val = ScrapSim(scrapsim_root, "val")
        record["zero_shot_val"] = {
            "unaligned": zero_shot(pocket_model(config.seed), val),
            "aligned": zero_shot(model, val),
        }
    record |= {"config": asdict(config), "history": history}
    wall_s = time.perf_counter() - clock
    device = "cuda" if torch.cuda.is_available() else "cpu"
    record["provenance"] = provenance(wall_s, train.sha256, device, started)
    atomic_write(out / "alignment.json", json.dumps(record, indent=1) + "\n")
    shutil.rmtree(work, ignore_errors=True)
    if (out / "README.md").is_file():
        refresh_card(out)
    return record


def _plan(
    path: Path, config: AlignConfig, minutes: float | None, train: Studio, bank: TextBank
) -> AlignConfig:
    """The configuration with its number of steps, which an unfinished run has already settled."""
    wanted = asdict(config) | {"studio_sha256": train.sha256}
    if path.is_file():
        plan = json.loads(path.read_text())
        steps = plan["steps"] if minutes is not None else config.steps
        if plan != json.loads(json.dumps(wanted | {"steps": steps})):
            raise AlignError(
                f"{path.parent}: holds an unfinished run with other settings or another set; "
                "finish it with its own, or delete the folder"
            )
        return replace(config, steps=steps)
    if minutes is not None:
        config = replace(config, steps=steps_in(minutes, train, bank, config))
    atomic_write(path, json.dumps(wanted | {"steps": config.steps}))
    return config


def card_tables(record: dict[str, Any]) -> str:
    """The numbers of a model card as Markdown, from the content of ``alignment.json``."""
    weights, studio, config = record["weights"], record["studio"], record["config"]
    found, made = record["retrieval"], record["provenance"]
    looks = [row for row in record["history"] if "heldout" in row]
    best = min(looks, key=lambda row: row["heldout"])
    lines = [
        "| | |",
        "|---|---|",
        f"| file | `{weights['file']}`, {weights['bytes'] / 1e6:.1f} MB, half precision |",
        f"| sha256 | `{weights['sha256']}` |",
        f"| parameters | {weights['parameters'] / 1e6:.2f} M |",
        f"| steps | {config['steps']} of {config['batch_size']} images at "
        f"{config['collage']['size']} px; kept: step {best['step']} |",
        f"| learning rate | {config['lr']:g} (head), {config['encoder_lr']:g} (tower) |",
        f"| held-out loss | {best['heldout']:.3f} |",
        f"| made | {made['date'][:10]}, {made['wall_s'] / 60:.0f} min on {made['device']}, "
        f"commit {made['commit'][:7]}, torch {made['packages']['torch']} |",
        "",
        "| studio set | train | held out |",
        "|---|---:|---:|",
    ]
    for name, count in studio["train"].items():
        lines.append(f"| {name} | {count} | {studio['heldout'][name]} |")
    lines += [
        "",
        f"| retrieval among {found['images']} held-out studio images | R@1 | R@5 |",
        "|---|---:|---:|",
    ]
    for way in ("text_to_image", "image_to_text"):
        pair = " | ".join(f"{100 * found[f'r{k}_{way}']:.1f} %" for k in (1, 5))
        lines.append(f"| {way.replace('_', ' ')} | {pair} |")
    chance = " | ".join(f"{100 * found[f'chance_r{k}']:.1f} %" for k in (1, 5))
    lines.append(f"| chance | {chance} |")
    if "zero_shot_val" in record:
        scores = record["zero_shot_val"]
        lines += [
            "",
            "| zero-shot pixel AP on ScrapSim val | share of pixels | unaligned | aligned |",
            "|---|---:|---:|---:|",
        ]
        for title, key, prior in [("any impurity", "ap", "prior")] + [
            (c.name, f"ap/{c.slug}", f"prior/{c.slug}") for c in IMPURITIES
        ]:
            values = [scores["aligned"][prior], scores["unaligned"][key], scores["aligned"][key]]
            cells = " | ".join(f"{100 * v:.2f} %" for v in values)
            lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def refresh_card(out: str | Path) -> None:
    """Write the numbers of ``alignment.json`` between the marks of ``README.md``, both in `out`.

    Raises:
        AlignError: a file is missing, or the card has no marks.
    """
    card, record = Path(out) / "README.md", Path(out) / "alignment.json"
    try:
        text, numbers = card.read_text(), json.loads(record.read_text())
        head, rest = text.split(MARKS[0])
        tail = rest.split(MARKS[1])[1]
    except (OSError, ValueError, IndexError) as error:
        raise AlignError(f"{card}: cannot refresh the card from {record.name} ({error})") from None
    atomic_write(card, f"{head}{MARKS[0]}\n{card_tables(numbers)}\n{MARKS[1]}{tail}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when done, 1 on an error that was named, 130 when interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m making.align.align", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--studio", type=Path, required=True, help="folder of the studio set")
    parser.add_argument("--out", type=Path, default=ALIGNED.parent, help="where the weights go")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="as many steps as fit")
    length.add_argument("--steps", type=int, default=AlignConfig.steps)
    parser.add_argument("--batch-size", type=int, default=AlignConfig.batch_size)
    parser.add_argument("--size", type=int, default=CollageConfig.size, help="image side in pixels")
    parser.add_argument("--seed", type=int, default=AlignConfig.seed)
    parser.add_argument(
        "--scrapsim",
        type=Path,
        default=REPOSITORY / "data" / "scrapsim",
        help="score the result zero-shot on the val split of this set",
    )
    options = parser.parse_args(arguments)
    config = AlignConfig(
        steps=options.steps,
        batch_size=options.batch_size,
        seed=options.seed,
        collage=CollageConfig(size=options.size),
    )
    try:
        run(
            options.studio,
            options.out,
            config,
            minutes=options.minutes,
            scrapsim_root=options.scrapsim,
        )
    except (AlignError, DataError, ResultsError, WeightsError, TrainingDiverged) as error:
        print(f"align: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("align: interrupted; the same command goes on from the last save", file=sys.stderr)
        return 130
    print(f"weights, record and card in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
