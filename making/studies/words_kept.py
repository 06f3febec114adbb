"""Can a model learn scrap and keep the words it had? Weights between before and after.

    python -m making.studies words_kept --results results/full

One class after another loses its labels, as in notebook 02, and ours is trained on the others from
the aligned weights. What is asked of weights on the straight line between those before and those
after training (WiSE-FT, arXiv:2109.01903), with batch statistics taken anew from training images
(as for averaged weights, arXiv:1803.05407): how well the class is then found by its words alone
(its AP), and what the classes that were learned have (their mean IoU, the normal class's offset
chosen on val anew at each point). The share of the trained weights is chosen on val: of those that
cost the learned classes at most `COST`, mean over the classes left out, the one that finds these
best. Test is looked at once at each point, and chooses nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader

from scrapseg import metrics
from scrapseg.data.base import LabelledImages, SegDataset
from scrapseg.data.classes import IMPURITIES, SLUGS
from scrapseg.experiments.build import build
from scrapseg.experiments.fit import train, whole_images
from scrapseg.experiments.methods import rates
from scrapseg.experiments.records import save_table
from scrapseg.experiments.splits import Splits, label_stack, load_splits
from scrapseg.models.calibrate import best_normal_offset
from scrapseg.models.predict import CLASS_STRIDE, eval_transform, predict
from scrapseg.models.runtime import Runtime
from scrapseg.train.loop import TrainConfig

METHOD = "scrapseg"
#: Of the trained weights in the mean: 0 is before any scrap, 1 what training gives.
SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
#: Of so many train images one is looked at for batch statistics.
EVERY = 6
#: Impurity mIoU that the classes with labels may lose.
COST = 0.01
STEPS = 60
KEYS = ["without", "share", "split"]


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


def measured(
    model: nn.Module, split: LabelledImages, kept: list[bool], offset: float | None
) -> tuple[dict[str, float], float]:
    """AP of the class that is not kept and mean IoU of those that are, at every second pixel, and
    the normal class's offset: the one given, else the best."""
    odds = predict(Runtime(model), whole_images(split, model), class_scores=True).class_scores
    labels = label_stack(split)[:, ::CLASS_STRIDE, ::CLASS_STRIDE]
    if offset is None:
        offset = best_normal_offset(odds, labels, kept)
    left_out = 1 + kept.index(False)
    ranking = metrics.rank(odds[left_out].astype(np.float32), labels == left_out)
    log_p = np.log(expit(odds.astype(np.float32)) + 1e-30)
    log_p[0] += offset
    table = metrics.confusion(log_p.argmax(0), labels, len(SLUGS)).sum(0)
    values = metrics.class_metrics(table, SLUGS)
    iou = np.mean([values[f"iou/{s}"] for s, k in zip(SLUGS[1:], kept, strict=True) if k])
    return {"ap": metrics.average_precision(ranking), "miou_others": float(iou)}, offset


def rows_of(config: TrainConfig, splits: Splits) -> list[dict[str, object]]:
    """A row for each share and split, with the class left out that `config` names."""
    before = build(METHOD, config.seed).eval()
    after, _, _ = train(METHOD, splits, config)
    kept, rows = [c.slug != config.without for c in IMPURITIES], []
    some = SegDataset(
        splits.train, splits.train.ids[::EVERY], eval_transform(after.mean, after.std)
    )
    images = DataLoader(some, config.batch_size)
    for share in SHARES:
        model, offset = between(before, after, share, images), None
        for split in ("val", "test"):
            found, offset = measured(model, getattr(splits, split), kept, offset)
            rows.append(dict(zip(KEYS, (config.without, share, split), strict=True)) | found)
    return rows


def chosen_share(table: pd.DataFrame) -> float:
    """The share that val chooses, see above."""
    mean = table[table["split"] == "val"].groupby("share")[["ap", "miou_others"]].mean()
    bearable = mean["miou_others"] >= mean.loc[1.0, "miou_others"] - COST
    return float(mean.loc[bearable, "ap"].idxmax())


def make(data_dir: Path, results: Path) -> tuple[pd.DataFrame, dict]:
    """All that is not in the table yet, written class by class.

    Returns:
        The table: without, share, split, ap, miou_others, chosen (whether val chooses this share).
        And what stands beside it.
    """
    path = results / "tables" / "words_kept.csv"
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=KEYS)
    splits = load_splits("scrapsim", None, data_dir)
    config = TrainConfig(steps=STEPS, **rates(METHOD))
    for c in IMPURITIES:
        if not (table["without"] == c.slug).any():
            rows = pd.DataFrame(rows_of(replace(config, without=c.slug), splits))
            table = pd.concat([table, rows], ignore_index=True)
            table["chosen"] = table["share"] == chosen_share(table)
            save_table(table, results, "words_kept")
    beside = {"config": asdict(config), "cost": COST}
    return table, beside | {"sha256": splits.test.sha256}
