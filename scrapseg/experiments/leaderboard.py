"""A leaderboard to enter without retraining anything: predictions on forty fixed test images.

    python -m scrapseg leaderboard results/laptop/leaderboard       # scores its .npz files
    python -m scrapseg leaderboard FOLDER --collect results/full    # makes those of its runs first

One small file a method: the class of every pixel, where the method names classes, and the score of
each fourth pixel in each direction, kept as one of 128 levels. The levels part the highest-scored
half of all pixels, finer towards the top; the rest (impurities cover 6 % of a picture at most)
shares the lowest. Truth is read from the data set, never from a file that is entered.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scrapseg import metrics
from scrapseg.data.classes import CLASSES
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.records import read_runs
from scrapseg.experiments.run import load_maps
from scrapseg.files import ResultsError, atomic_write
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
        scores = np.asarray(maps.score_maps, np.float32)[:, STRIDE // 2 :: STRIDE]
        scores = scores[:, :, STRIDE // 2 :: STRIDE]
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
        arrays = {k: v for k, v in vars(self).items() if v is not None}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return atomic_write(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path | str, ids: Sequence[str]) -> Entry:
        """Read what `save` wrote and check that it is of these images.

        Raises:
            BrokenEntry: it is no such file, is of other images, or its arrays do not fit.
        """
        try:
            with np.load(path) as file:
                fields = {**file}
            fields["ids"] = tuple(fields["ids"].tolist())
            entry = cls(**fields | {"threshold": float(fields["threshold"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
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
    few = labels[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    stats = metrics.image_stats(
        entry.score_maps, None, few, threshold=entry.threshold, ids=entry.ids
    )
    if entry.labels is None:
        return stats
    return replace(stats, classes=metrics.confusion(entry.labels, labels, len(CLASSES)))


def score(entry: Entry, labels: NDArray) -> dict[str, float]:
    """ap and miou_binary at each fourth pixel; miou and miou_impurity at all, if classes are named.

    Raises:
        ValueError: shapes do not fit the truth.
    """
    stats = statistics(entry, labels)
    few = labels[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    values = {
        "ap": metrics.average_precision(metrics.rank(entry.score_maps, few > 0)),
        "miou_binary": metrics.class_metrics(stats.binary.sum(0), ("normal", "impurity"))["miou"],
    }
    if stats.classes is not None:
        named = metrics.class_metrics(stats.classes.sum(0))
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
    rows, stats = [], {}
    for path in sorted(Path(folder).glob("*.npz")):
        entry = Entry.load(path, ids)
        try:
            rows.append({"method": path.stem} | score(entry, labels))
            stats[path.stem] = statistics(entry, labels)
        except ValueError as error:
            raise BrokenEntry(f"{path}: {error}") from error
    if not rows:
        raise BrokenEntry(f"{folder}: holds no .npz file of predictions")
    names = ["method", "ap", "miou_binary", "miou", "miou_impurity"]
    table = pd.DataFrame(rows, columns=names)
    if OURS in stats:
        gaps = [metrics.paired_difference(stats[OURS], stats[m], "ap") for m in table["method"]]
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
