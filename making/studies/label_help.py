"""Does label help help? From 4 to 8 shots in two rounds on ScrapSim, against random picks.

    python -m making.studies label_help --results results/full

Both arms start from the same labelled scenes (`few_shot_ids`) and the same model. In each round an
arm adds images, half of what there is between the two numbers of shots, either by
`suggest.label_next` or at random, and trains anew on all it has. Test is looked at after each
round and chooses nothing; val chooses nothing either, since the last weights are kept.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from scrapseg import metrics
from scrapseg.app.finetune import train_on
from scrapseg.app.suggest import label_next
from scrapseg.data.classes import CLASSES
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.data.shots import few_shot_ids
from scrapseg.experiments.methods import rates
from scrapseg.models.segmenter import Segmenter, starting_model
from scrapseg.train.loop import TrainConfig

ARMS = ("help", "random")
ROUNDS = 2


def measure(segmenter: Segmenter, test: ScrapSim) -> dict[str, float]:
    """Pixel AP, and mean IoU of the impurity classes of the most likely class, on test."""
    scores, tables = [], []
    for sample in test:
        p = segmenter.probabilities(sample.image)[0].numpy()
        scores.append(1 - p[0])
        tables.append(metrics.confusion(p.argmax(0)[None], sample.label[None], len(CLASSES))[0])
    truth = np.stack([s.label > 0 for s in test])
    ap = metrics.average_precision(metrics.rank(np.stack(scores), truth))
    return {"ap": ap, "miou_impurity": metrics.class_metrics(sum(tables))["miou_impurity"]}


def label_help_study(
    train: ScrapSim,
    test: ScrapSim,
    config: TrainConfig,
    *,
    shots: tuple[int, int] = (4, 8),
    seeds: tuple[int, ...] = (0, 1, 2),
) -> pd.DataFrame:
    """One row per seed, arm and round: images, ap, miou_impurity; round 0 is the common start.

    Args:
        config: of each training. shots: labelled scenes per class at the start and, by number of
            images, at the end. seeds: of the start, the random picks and the training.
    """
    start = starting_model(shipped=False)  # the shipped model has seen all of train
    rows = []
    for seed in seeds:
        setting = replace(config, seed=seed, evals=1)
        first, last = (few_shot_ids(train, k, seed) for k in shots)
        cuts = np.linspace(len(first), len(last), ROUNDS + 1).round().astype(int)

        def trained(ids: list[str], name: str, setting: TrainConfig = setting) -> Segmenter:
            return train_on(start, train, ids, setting, lambda _: 0.0, name)[0]

        common = trained(first, f"seed {seed}, start")
        found = measure(common, test)
        for arm in ARMS:
            known, model = list(first), common
            rows.append({"seed": seed, "arm": arm, "round": 0, "images": len(known)} | found)
            for round_ in range(1, ROUNDS + 1):
                known += pick(arm, model, train, known, int(cuts[round_]) - len(known), seed)
                model = trained(known, f"seed {seed}, {arm}, round {round_}")
                row = {"seed": seed, "arm": arm, "round": round_, "images": len(known)}
                rows.append(row | measure(model, test))
    return pd.DataFrame(rows)


def pick(
    arm: str, model: Segmenter, train: ScrapSim, known: list[str], n: int, seed: int
) -> list[str]:
    """The next `n` images of an arm."""
    if arm == "random":
        rest = [i for i in train.ids if i not in known]
        order = np.random.default_rng([seed, len(known)]).permutation(len(rest))
        return [rest[k] for k in order[:n]]
    seen = [model.predict(train.sample(i).image) for i in train.ids]
    order = label_next(
        np.stack([p.embedding for p in seen]),
        np.array([p.uncertainty for p in seen]),
        [train.ids.index(i) for i in known],
        n,
    )
    return [train.ids[k] for k in order]


def make(data_dir: Path, _: Path) -> tuple[pd.DataFrame, dict]:
    """The study in full: its table, and what stands beside it."""
    train, test = ScrapSim(data_dir, "train"), ScrapSim(data_dir, "test")
    config = TrainConfig(steps=100, **rates("scrapseg"))
    return label_help_study(train, test, config), {"config": asdict(config), "sha256": test.sha256}
