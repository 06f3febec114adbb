"""Does the promise hold, and what does it cost? Conformal risk control of the shipped model.

    python -m making.studies promise --results results/full

ScrapSim's val and test scenes, none of which it was trained on, are halved a hundred times: one
half chooses the threshold, the other counts what is missed and the false alarms. The promise is of
the expectation, so the mean over halvings is what should keep to alpha; of single halvings some lie
above. Then the threshold goes to scenes of another kind: from belts to heaps and back. Last, what
the model's card promises: chosen on val, once, and used on test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from scipy import ndimage
from tqdm import tqdm

from scrapseg.data.base import Sample
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.records import save_figure
from scrapseg.metrics import risk
from scrapseg.metrics.objects import ALARM_AREA, LARGE_AREA
from scrapseg.metrics.pixels import EIGHT_CONNECTED
from scrapseg.models.segmenter import load
from scrapseg.report import style

ALPHAS = (0.05, 0.1, 0.2, 0.3)
SPLITS = 100
#: Kinds of scenes to calibrate on, and to use the threshold on.
PAIRS = (("all", "all"), ("belt", "belt"), ("heap", "heap"), ("belt", "heap"), ("heap", "belt"))

LOOKS = {
    ("all", "all"): {"label": "belts and heaps", "color": "#0072B2", "marker": "o"},
    ("belt", "heap"): {"label": "belts, used on heaps", "color": "#D55E00", "marker": "s"},
    ("heap", "belt"): {"label": "heaps, used on belts", "color": "#009E73", "marker": "^"},
}
"""Pairs that the figure shows."""


class Curves(NamedTuple):
    """What each of `risk.THRESHOLDS` does to each scene; rows are scenes.

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


def false_alarms(flagged: NDArray, normal: NDArray) -> int:
    """False alarms, as `scrapseg.metrics.objects.objects` counts them, of an image's flagged
    pixels, both bool (H, W)."""
    regions, count = ndimage.label(flagged, EIGHT_CONNECTED[1])
    area = np.bincount(regions[flagged], minlength=count + 1)
    wrong = np.bincount(regions[flagged & normal], minlength=count + 1)
    return int((((wrong == area) & (area >= ALARM_AREA)) + wrong // LARGE_AREA)[1:].sum())


def curves(scored: Iterable[tuple[Sample, NDArray]]) -> Curves:
    """What thresholds do, from samples and their score maps."""
    scored, rows = list(scored), []
    for sample, score in tqdm(scored, desc="thresholds", unit="image"):
        flagged = (score >= threshold for threshold in risk.THRESHOLDS)
        rows.append([(false_alarms(f, sample.label == 0), f.mean()) for f in flagged])
    scene = np.array([sample.scene for sample, _ in scored])
    scenes, first, row = np.unique(scene, return_index=True, return_inverse=True)
    counted = np.stack([np.array(rows)[row == k].mean(0) for k in range(len(scenes))])
    losses = {}
    for of, (holding, values) in risk.all_losses(scored).items():
        losses[of] = np.full(counted.shape[:2], np.nan)
        losses[of][np.isin(scenes, holding)] = values
    settings = np.array([scored[k][0].meta["setting"] for k in first])
    return Curves(scenes, settings, losses, *np.moveaxis(counted, 2, 0))


def rows_of(c: Curves, known: NDArray, pairs: Sequence[tuple[str, str]]) -> Iterator[dict]:
    """A row for each promise, pair of kinds and alpha, chosen on the `known` scenes (bool) of one
    kind and used on the other scenes of the other: scenes (to calibrate on), threshold, missed (of
    the mean scene), false_alarms an image, flagged (share of the pixels); without the last four
    where there are too few scenes."""
    for (of, losses), (a, b), alpha in product(c.losses.items(), pairs, ALPHAS):
        holding = ~np.isnan(losses[:, 0])
        of_a, of_b = ((c.settings == kind) | (kind == "all") for kind in (a, b))
        some, new = losses[known & of_a & holding], ~known & of_b
        threshold = risk.controlled_threshold(some, alpha)
        row = {"promise": of, "calibrated_on": a, "used_on": b, "alpha": alpha, "scenes": len(some)}
        if threshold is not None:
            k = int(np.searchsorted(risk.THRESHOLDS, threshold))
            row |= {"threshold": threshold, "missed": losses[new & holding, k].mean()}
            row |= {"false_alarms": c.alarms[new, k].mean(), "flagged": c.flagged[new, k].mean()}
        yield row


def halvings(c: Curves, splits: int = SPLITS, seed: int = 0) -> pd.DataFrame:
    """`rows_of` of halves of the scenes, drawn `splits` times."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(splits):
        rows += rows_of(c, rng.permutation(len(c.scenes)) < len(c.scenes) // 2, PAIRS)
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each promise, pair of kinds and alpha: given (share of the splits with scenes
    enough), missed and its 5 % and 95 % quantiles over them, over (share of them above alpha)."""
    keys, table = ["promise", "calibrated_on", "used_on", "alpha"], []
    for names, some in rows.groupby(keys, sort=False):
        kept = some.dropna()
        row = dict(zip(keys, names, strict=True)) | {"splits": len(some)}
        row |= {"scenes": some["scenes"].mean(), "given": len(kept) / len(some)}
        row |= {"threshold": kept["threshold"].median(), "missed": kept["missed"].mean()}
        row |= {f"missed_{q}": kept["missed"].quantile(q / 100) for q in (5, 95)}
        row |= {"over": (kept["missed"] > row["alpha"]).mean()}
        table.append(row | kept[["false_alarms", "flagged"]].mean().to_dict())
    return pd.DataFrame(table)


@style.styled
def draw(table: pd.DataFrame) -> style.Figure:
    """Missed share promised against missed share counted, and below it what that costs."""
    fig = style.figure(style.COLUMN, 2.5)
    grid = fig.subplots(2, table["promise"].nunique(), sharex=True, sharey="row", squeeze=False)
    for (of, some), (above, below) in zip(
        table.groupby("promise", sort=False), grid.T, strict=True
    ):
        above.plot([0, 0.35], [0, 0.35], color="0.5", lw=0.8, ls=":", label="as promised")
        for k, (pair, look) in enumerate(LOOKS.items()):
            rows = some[(some["calibrated_on"] == pair[0]) & (some["used_on"] == pair[1])].dropna()
            look = {"lw": 1.2, "ms": 4} | look
            x, ends = rows["alpha"] + 0.008 * (k - 1), rows[["missed_5", "missed_95"]].to_numpy().T
            above.vlines(x, *ends, color=look["color"], lw=0.7)
            above.plot(x, rows["missed"], **look)
            below.plot(x, rows["false_alarms"], **look)
        above.set_title(of)
        below.set(xlabel="promised, % at most", xticks=ALPHAS, xlim=(0, 0.35))
        below.xaxis.set_major_formatter(PercentFormatter(1, 0, symbol=""))
    grid[0, 0].set(ylabel="missed on\nother scenes, %", ylim=(0, None))
    grid[0, 0].yaxis.set_major_formatter(PercentFormatter(1, 0, symbol=""))
    grid[1, 0].set(ylabel="false alarms\nper image", ylim=(0, None))
    for axes in grid.flat:
        axes.grid(axis="y")
    style.legend_below(fig, grid[0, 0].get_legend_handles_labels()[0], cols=2)
    return fig


def make(data_dir: Path, results_dir: Path) -> tuple[pd.DataFrame, dict]:
    """The study in full: its table, and what stands beside it; its figure is saved."""
    (val, test), segmenter = (ScrapSim(data_dir, name) for name in ("val", "test")), load()
    samples = tqdm([*val, *test], desc="predict", unit="image")
    c = curves((s, segmenter.predict(s.image).score) for s in samples)
    of_val = np.isin(c.scenes, [m["scene"] for m in val.meta.values()])
    card = pd.DataFrame(rows_of(c, of_val, PAIRS[:1])).assign(calibrated_on="val", used_on="test")
    table = summary(pd.concat([halvings(c), card]))
    save_figure(draw(table), results_dir, "promise")
    k = int(np.searchsorted(risk.THRESHOLDS, segmenter.threshold))
    # On test: val chose that threshold.
    own = {of: float(np.nanmean(losses[~of_val, k])) for of, losses in c.losses.items()}
    alarms = float(c.alarms[~of_val, k].mean())
    own |= {"threshold": float(risk.THRESHOLDS[k]), "false_alarms": alarms}
    beside = {"model": segmenter.origin, "scenes": len(c.scenes), "at_its_own_threshold": own}
    return table, beside | {"sha256": val.sha256}
