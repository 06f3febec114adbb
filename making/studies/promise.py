"""Does the promise hold, and what does it cost? Conformal risk control of the shipped model.

    python -m making.studies promise --results results/full

ScrapSim's val and test scenes, none of which it was trained on, are halved a hundred times: one
half chooses the threshold, the other counts what is missed and the false alarms. The promise is of
the expectation, so the mean over halvings is what should keep to alpha; of single halvings some lie
above. Then the threshold goes to scenes of another kind: from belts to heaps and back.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from scrapseg import metrics
from scrapseg.data.base import Sample
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.metrics import risk
from scrapseg.models.segmenter import load

ALPHAS = (0.05, 0.1, 0.2, 0.3)
SPLITS = 100
#: Kinds of scenes to calibrate on, and to use the threshold on.
PAIRS = (("all", "all"), ("belt", "belt"), ("heap", "heap"), ("belt", "heap"), ("heap", "belt"))


class Seen(NamedTuple):
    """All scenes, predicted once; rows follow `scenes`.

    Attributes:
        scenes, settings: number and kind (belt, heap), (S,).
        losses: by what is missed, (S, T); nan where a scene holds none of it.
        alarms, flagged: false alarms and share of flagged pixels, a mean over the images, (S, T).
    """

    scenes: NDArray
    settings: NDArray
    losses: dict[str, NDArray]
    alarms: NDArray
    flagged: NDArray


def look(seen: Iterable[tuple[Sample, NDArray]]) -> Seen:
    """What each of `risk.THRESHOLDS` misses and flags, from samples and their score maps."""
    seen, rows = list(seen), []
    for sample, score in tqdm(seen, desc="thresholds", unit="image"):
        normal, row = (sample.label == 0)[None], []
        for threshold in risk.THRESHOLDS:
            flagged = (score >= threshold)[None]
            row.append((metrics.false_alarms(flagged, normal), flagged.mean()))
        rows.append(row)
    scene = np.array([sample.scene for sample, _ in seen])
    scenes, first = np.unique(scene, return_index=True)
    counted = np.stack([np.mean([r for r, s in zip(rows, scene) if s == n], 0) for n in scenes])
    losses = {}
    for of, (holding, values) in risk.all_losses(seen).items():
        losses[of] = np.full(counted.shape[:2], np.nan)
        losses[of][np.isin(scenes, holding)] = values
    settings = np.array([seen[k][0].meta["setting"] for k in first])
    return Seen(scenes, settings, losses, *np.moveaxis(counted, 2, 0))


def halvings(seen: Seen, splits: int = SPLITS, seed: int = 0) -> pd.DataFrame:
    """A row for each promise, pair of kinds, alpha and halving: scenes (to calibrate on),
    threshold, missed (of the other half's mean scene), false_alarms an image, flagged (share of the
    pixels);
    where there are too few scenes, all but their number are nan."""
    rows, rng = [], np.random.default_rng(seed)
    of_kind = {k: (seen.settings == k) | (k == "all") for pair in PAIRS for k in pair}
    for split in range(splits):
        half = np.zeros(len(seen.scenes), bool)
        half[rng.permutation(len(half))[: len(half) // 2]] = True
        for (of, losses), (a, b), alpha in product(seen.losses.items(), PAIRS, ALPHAS):
            holding = ~np.isnan(losses[:, 0])
            known, new = losses[half & of_kind[a] & holding], ~half & of_kind[b]
            row = {"promise": of, "calibrated_on": a, "used_on": b, "alpha": alpha, "split": split}
            row["scenes"] = len(known)
            threshold = risk.controlled_threshold(known, alpha)
            if threshold is not None:
                k = int(np.searchsorted(risk.THRESHOLDS, threshold))
                row |= {"threshold": threshold, "missed": losses[new & holding, k].mean()}
                row |= {"false_alarms": seen.alarms[new, k].mean()}
                row |= {"flagged": seen.flagged[new, k].mean()}
            rows.append(row)
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each promise, pair of kinds and alpha: given (share of halvings with scenes
    enough), missed and its 5 % and 95 % quantiles over them, over (share of them above alpha)."""
    keys = ["promise", "calibrated_on", "used_on", "alpha"]
    table = []
    for names, some in rows.groupby(keys, sort=False):
        kept = some.dropna()
        row = dict(zip(keys, names, strict=True)) | {"scenes": some["scenes"].mean()}
        row |= {"given": len(kept) / len(some), "missed": kept["missed"].mean()}
        row |= {f"missed_{q}": kept["missed"].quantile(q / 100) for q in (5, 95)}
        row |= {"over": (kept["missed"] > row["alpha"]).mean() if len(kept) else np.nan}
        row |= {"threshold": kept["threshold"].median()}
        row |= kept[["false_alarms", "flagged"]].mean().to_dict()
        table.append(row)
    return pd.DataFrame(table)


def make(data_dir: Path, _: Path) -> tuple[pd.DataFrame, dict]:
    """The study in full: its table, and what stands beside it."""
    splits, segmenter = [ScrapSim(data_dir, name) for name in ("val", "test")], load()
    samples = tqdm([s for images in splits for s in images], desc="predict", unit="image")
    seen = look((s, segmenter.predict(s.image).score) for s in samples)
    k = int(np.searchsorted(risk.THRESHOLDS, segmenter.threshold))
    own = {of: float(np.nanmean(losses[:, k])) for of, losses in seen.losses.items()}
    own |= {"threshold": segmenter.threshold, "false_alarms": float(seen.alarms[:, k].mean())}
    beside = {"model": segmenter.origin, "splits": SPLITS, "at_its_own_threshold": own}
    beside |= {"scenes": len(seen.scenes), "sha256": splits[0].sha256}
    return summary(halvings(seen)), beside
