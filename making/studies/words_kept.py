"""Can a model learn scrap and keep the words it had?

    python -m making.studies words_kept --results results/full

One class after another loses its labels, in the runs of notebook 02 (profile full), where ours is
trained on the others from the aligned weights. How well is the class then found by its words alone
(its AP), and what do the classes that were learned have (their mean IoU)? Asked of the model before
and after training, whose weights are those of these runs, and of what may be made of the two:

- *weights*, of one model: on the straight line between theirs (WiSE-FT, arXiv:2109.01903), with
  batch statistics taken anew from training images (as for averaged weights, arXiv:1803.05407);
- *outputs*: the mean of their log-probabilities, weighted, which takes two models at test time;
- *each its own*: the class without labels as before training, the others as after, likewise.

Beside them, not to be chosen, *named*: the control that was trained with the class among the
others. The normal class's offset is chosen on val anew for each, and so is one of them all: of
those that cost the learned classes at most `COST`, mean over the classes left out, the one that
finds these best. Test is looked at once for each, and chooses nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader
from tqdm import tqdm

from making.finished import needed
from making.studies.class_offsets import trained
from scrapseg import metrics
from scrapseg.data.base import LabelledImages, SegDataset
from scrapseg.data.classes import IMPURITIES, SLUGS
from scrapseg.experiments.build import build
from scrapseg.experiments.fit import whole_images
from scrapseg.experiments.splits import Splits, label_stack, load_splits
from scrapseg.experiments.studies import plan_profile
from scrapseg.models.calibrate import best_normal_offset
from scrapseg.models.predict import CLASS_STRIDE, eval_transform, log_odds, predict
from scrapseg.models.runtime import Runtime

METHOD, CONTROL = "scrapseg", "scrapseg-named"
#: What is made of the two models, and the share of the trained one; 0 and 1 are themselves.
KINDS = (("weights", 0.0), ("weights", 0.5), ("weights", 0.75), ("weights", 0.9), ("weights", 1.0),
         ("outputs", 0.25), ("outputs", 0.5), ("outputs", 0.75), ("outputs", 0.9),
         ("each its own", 1.0))  # fmt: skip
#: A control, see above, that is no choice.
NAMED = "named"
#: Of so many train images one is looked at for batch statistics.
EVERY, BATCH = 6, 4
#: Impurity mIoU that the classes with labels may lose.
COST = 0.01
KEYS = ["without", "kind", "share", "split"]


def between(
    before: nn.Module, after: nn.Module, share: float, images: Iterable[Sequence[Tensor]]
) -> nn.Module:
    """A copy of `after` whose weights are `share` of its own and the rest those of `before`.

    Inside the line its batch statistics are those of `images`, batches that begin with images.
    """
    mixed, first, last = copy.deepcopy(after), before.state_dict(), after.state_dict()
    mixed.load_state_dict(
        {
            k: first[k].lerp(v, share) if v.is_floating_point() else v.clone()
            for k, v in last.items()
        }
    )
    if 0 < share < 1:
        update_bn(images, mixed)
    return mixed.eval()


def odds_of(model: nn.Module, split: LabelledImages) -> Tensor:
    """Log-odds of the classes at every second pixel of a split, float32 (C, N, h, w)."""
    found = predict(Runtime(model), whole_images(split, model), class_scores=True)
    return torch.from_numpy(found.class_scores).float()


def of_both(before: Tensor, after: Tensor, share: float) -> Tensor:
    """Log-odds of the weighted mean of two models' log-probabilities, `share` that of the second.

    Args:
        before, after: log-odds (C, N, h, w).
    """
    log_p = (1 - share) * F.logsigmoid(before) + share * F.logsigmoid(after)
    return log_odds(log_p.transpose(0, 1)).transpose(0, 1)


def measured(
    odds: Tensor, split: LabelledImages, kept: list[bool], offset: float | None
) -> tuple[dict[str, float], float]:
    """AP of the class that is not kept and mean IoU of those that are, and the normal class's
    offset: the one given, else the best."""
    labels = label_stack(split)[:, ::CLASS_STRIDE, ::CLASS_STRIDE]
    if offset is None:
        offset = best_normal_offset(odds.numpy(), labels, kept)
    left_out = 1 + kept.index(False)
    ranking = metrics.rank(odds[left_out].numpy(), labels == left_out)
    log_p = F.logsigmoid(odds)
    log_p[0] += offset
    table = metrics.confusion(log_p.argmax(0).numpy(), labels, len(SLUGS)).sum(0)
    values = metrics.class_metrics(table, SLUGS)
    iou = np.mean([values[f"iou/{s}"] for s, k in zip(SLUGS[1:], kept, strict=True) if k])
    return {"ap": metrics.average_precision(ranking), "miou_others": float(iou)}, offset


def rows_of(
    without: str, before: nn.Module, after: nn.Module, named: nn.Module, splits: Splits
) -> list[dict[str, object]]:
    """A row for each of `KINDS`, and `NAMED`, and split; `after` and `named` were trained without
    the labels of a class."""
    kept = [c.slug != without for c in IMPURITIES]
    shape = eval_transform(after.mean, after.std)
    some = SegDataset(splits.train, splits.train.ids[::EVERY], shape)
    images, own = DataLoader(some, BATCH), 1 + kept.index(False)
    parts = {"val": splits.val, "test": splits.test}
    ends = {name: [odds_of(m, part) for m in (before, after)] for name, part in parts.items()}
    rows = []
    for kind, share in (*KINDS, (NAMED, 1.0)):
        offset, model = None, None
        for name, part in parts.items():
            if kind == NAMED:
                odds = odds_of(named, part)
            elif kind == "weights" and 0 < share < 1:
                model = model or between(before, after, share, images)
                odds = odds_of(model, part)
            elif kind == "each its own":
                odds = ends[name][1].clone()
                odds[own] = ends[name][0][own]
            else:
                odds = of_both(*ends[name], share)
            found, offset = measured(odds, part, kept, offset)
            rows.append(dict(zip(KEYS, (without, kind, share, name), strict=True)) | found)
    return rows


def choose(table: pd.DataFrame) -> pd.Series:
    """Whether a row is of the kind and share that val chooses, see above."""
    keys = ["kind", "share"]
    choices = table[(table["split"] == "val") & (table["kind"] != NAMED)]
    mean = choices.groupby(keys)[["ap", "miou_others"]].mean()
    bearable = mean["miou_others"] >= mean.loc[("weights", 1.0), "miou_others"] - COST
    kind, share = mean.loc[bearable, "ap"].idxmax()
    return (table["kind"] == kind) & (table["share"] == share)


def make(data_dir: Path, results: Path) -> tuple[pd.DataFrame, dict]:
    """The study in full.

    Returns:
        The table: without, kind, share, split, ap, miou_others, chosen. And what stands beside it.

    Raises:
        FileNotFoundError: the weights of a run are not in the cache.
    """
    plan, splits, rows = plan_profile("full"), load_splits("scrapsim", None, data_dir), []
    runs = {(s.method, s.changes["without"]): s for s in plan.values() if "without" in s.changes}
    before = build(METHOD, 0).eval()
    for c in tqdm(IMPURITIES, desc="classes left out"):
        specs = [runs[method, c.slug] for method in (METHOD, CONTROL)]
        models = [trained(s, needed(results, s.name), splits.train) for s in specs]
        rows += rows_of(c.slug, before, *models, splits)
    table = pd.DataFrame(rows)
    table["chosen"] = choose(table)
    return table, {"steps": specs[0].changes["steps"], "cost": COST, "sha256": splits.test.sha256}
