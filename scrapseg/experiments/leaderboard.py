"""A leaderboard to enter without retraining anything: predictions on forty fixed test images.

    python -m scrapseg leaderboard results/laptop/leaderboard       # scores its .npz files
    python -m scrapseg leaderboard FOLDER --collect results/full    # makes those of its runs first

One small file a method: the class of every pixel, where the method names classes, and the score of
each fourth pixel in each direction, kept as one of 128 levels. The levels part the highest-scored
half of all pixels, finer towards the top; the rest (impurities cover 6 % of a picture at most)
shares the lowest. Truth is read from the data set, never from a file that is entered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scrapseg import metrics
from scrapseg.data.classes import CLASSES
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments import stats
from scrapseg.experiments.records import read_runs
from scrapseg.experiments.run import load_maps
from scrapseg.files import ResultsError
from scrapseg.models.predict import Predictions

OURS = "scrapseg"
IMAGES = 40
STRIDE = 4
LEVELS = 128
SHARE = 0.5
"""Share of the pixels, the highest-scored, among which levels are told apart."""


class BrokenEntry(ResultsError):
    """A file of predictions cannot be scored; the message names it and says why."""


def chosen_ids(test: ScrapSim) -> list[str]:
    """The forty images: the first view of scenes spread evenly over the test split."""
    first = [i for i in test.ids if test.meta[i]["view"] == 0]
    places = np.linspace(0, len(first) - 1, min(IMAGES, len(first))).round().astype(int)
    return [first[k] for k in places]


def thinned(maps: NDArray) -> NDArray:
    """Each fourth pixel in each direction of maps (N, H, W)."""
    return maps[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]


@dataclass(frozen=True)
class Entry:
    """One method's predictions on the chosen images.

    Attributes:
        ids: N image names.
        edges: float32 (LEVELS,), ascending: the lowest score of each level.
        levels: uint8 (N, H / STRIDE, W / STRIDE).
        threshold: of the score, chosen on val.
        labels: uint8 (N, H, W) class index, or None for a method that names no classes.
    """

    ids: tuple[str, ...]
    edges: NDArray[np.float32]
    levels: NDArray[np.uint8]
    threshold: float
    labels: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, ids: Sequence[str], maps: Predictions, threshold: float) -> Entry:
        """Pack score maps (N, H, W) and labels; no truth is looked at.

        Args:
            threshold: scores at or above it are flagged; it becomes the edge of a level.
        """
        scores = thinned(np.asarray(maps.score_maps, np.float32))
        tail = SHARE * np.geomspace(1, 1 / (SHARE * scores.size), LEVELS - 2)
        edges = np.quantile(scores, 1 - tail, method="higher")
        edges = np.sort(np.concatenate([[scores.min()], edges, [threshold]])).astype(np.float32)
        levels = (np.searchsorted(edges, scores, side="right") - 1).clip(0).astype(np.uint8)
        return cls(tuple(ids), edges, levels, float(np.float32(threshold)), maps.labels)

    @property
    def score_maps(self) -> NDArray[np.float32]:
        """Scores rounded down to the edges of their levels, at each fourth pixel."""
        return self.edges[self.levels]

    def save(self, path: Path | str) -> Path:
        """Write a compressed npz, 100 to 150 kB."""
        return stats.save(path, {k: v for k, v in vars(self).items() if v is not None})

    @classmethod
    def load(cls, path: Path | str, ids: Sequence[str]) -> Entry:
        """Read what `save` wrote and check that it is of these images.

        Raises:
            BrokenEntry: it is no such file, is of other images, or its arrays do not fit.
        """
        try:
            fields = stats.load(path)
            fields["ids"] = tuple(fields["ids"].tolist())
            entry = cls(**fields | {"threshold": float(fields["threshold"])})
            labels = np.zeros((1, 1, 1), np.uint8) if entry.labels is None else entry.labels
            for array, of in ((entry.edges, "f4"), (entry.levels, "u1"), (labels, "u1")):
                if array.dtype != of or array.ndim != (1 if of == "f4" else 3) or not array.size:
                    raise ValueError("an array is of another type or shape, or empty")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BrokenEntry(f"{path}: not a file of predictions ({error})") from error
        if entry.ids != tuple(ids):
            raise BrokenEntry(f"{path}: not of the {len(ids)} images of the leaderboard, in order")
        if len(entry.levels) != len(ids) or entry.levels.max() >= len(entry.edges):
            raise BrokenEntry(f"{path}: scores do not fit the images or the levels")
        if entry.labels is not None and len(entry.labels) != len(ids):
            raise BrokenEntry(f"{path}: {len(entry.labels)} label images for {len(ids)} images")
        return entry


def statistics(entry: Entry, labels: NDArray) -> metrics.ImageStats:
    """What the bootstrap needs of an entry; scores at each fourth pixel, classes at all.

    Args:
        labels: (N, H, W), the truth.

    Raises:
        ValueError: shapes do not fit the truth.
    """
    scored = {"threshold": entry.threshold, "ids": entry.ids}
    of_images = metrics.image_stats(entry.score_maps, None, thinned(labels), **scored)
    if entry.labels is None:
        return of_images
    return replace(of_images, classes=metrics.confusion(entry.labels, labels, len(CLASSES)))


def score(entry: Entry, labels: NDArray) -> dict[str, float]:
    """ap and miou_binary at each fourth pixel; miou and miou_impurity at all, if classes are named.

    Raises:
        ValueError: shapes do not fit the truth.
    """
    of = statistics(entry, labels)
    values = {
        "ap": metrics.average_precision(metrics.rank(entry.score_maps, thinned(labels) > 0)),
        "miou_binary": metrics.class_metrics(of.binary.sum(0), ("normal", "impurity"))["miou"],
    }
    if of.classes is not None:
        named = metrics.class_metrics(of.classes.sum(0))
        values |= {name: named[name] for name in ("miou", "miou_impurity")}
    return values


def board(folder: Path | str, test: ScrapSim) -> pd.DataFrame:
    """Score every file of a folder, best AP first.

    Returns:
        Columns method (the file's name), ap, miou_binary, miou, miou_impurity and, where ours is
        among the files, ap_diff, lo, hi and p: ours minus the method, paired over the images.

    Raises:
        BrokenEntry: a file cannot be scored, or there is none.
    """
    ids = chosen_ids(test)
    labels = np.stack([test.sample(i).label for i in ids])
    rows, known = [], {}
    for path in sorted(Path(folder).glob("*.npz")):
        entry = Entry.load(path, ids)
        try:
            rows.append({"method": path.stem} | score(entry, labels))
            known[path.stem] = statistics(entry, labels)
        except ValueError as error:
            raise BrokenEntry(f"{path}: {error}") from error
    if not rows:
        raise BrokenEntry(f"{folder}: holds no .npz file of predictions")
    names = ["method", "ap", "miou_binary", "miou", "miou_impurity"]
    table = pd.DataFrame(rows, columns=names)
    if OURS in known:
        gaps = [metrics.paired_difference(known[OURS], known[m], "ap") for m in table["method"]]
        gaps = pd.DataFrame(gaps).rename(columns={"value": "ap_diff"})
        table = pd.concat([table, gaps], axis=1)
    return table.sort_values("ap", ascending=False, ignore_index=True)


def collect(results_dir: Path | str, folder: Path | str, test: ScrapSim) -> list[Path]:
    """Write the entries of all finished runs with all labels and seed 0 whose maps are cached."""
    places = [test.ids.index(i) for i in chosen_ids(test)]
    written = []
    for name, record in read_runs(results_dir).items():
        plain = name == record.name() and (record.shots, record.seed) == ("all", 0)
        if not plain or not (Path(results_dir) / "cache" / name / "maps.npz").is_file():
            continue
        maps = load_maps(results_dir, name)
        if len(maps.score_maps) != len(test.ids):
            continue  # a run on fewer images, for a quick look
        labels = None if maps.labels is None else maps.labels[places]
        few = Predictions(maps.score_maps[places], labels)
        entry = Entry.of([test.ids[k] for k in places], few, record.config["threshold"])
        written.append(entry.save(Path(folder) / f"{record.method}.npz"))
    return written
