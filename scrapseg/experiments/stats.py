"""The per-scene statistics of runs, from which intervals and paired differences are drawn.

A run leaves its own in the git-ignored ``cache/<run>/stats.npz``; `join` puts those of all runs
with a record into one committed file, ``results/<profile>/stats.npz``. A member of either is named
``<run>/<part>/<array>``: part is empty for all test scenes, or the one setting (such as ``belt``)
whose scenes it covers; arrays are those of `ImageStats.arrays`.
"""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scrapseg.data.base import LabelledImages
from scrapseg.files import ResultsError, atomic_write
from scrapseg.metrics.bootstrap import ImageStats


class BrokenStats(ResultsError):
    """A file of statistics cannot be read."""


def by_setting(stats: ImageStats, scored: LabelledImages) -> dict[str, ImageStats]:
    """The statistics of the scenes of each setting of a ScrapSim split, by its name."""
    of = {str(m["scene"]): m["setting"] for m in (scored.meta[i] for i in scored.ids)}
    settings = np.array([of[i] for i in stats.ids])
    return {name: stats.only(settings == name) for name in sorted({*of.values()})}


def write(results_dir: Path | str, run: str, parts: Mapping[str, ImageStats]) -> Path:
    """Write what a run leaves, ``cache/<run>/stats.npz``.

    Args:
        parts: statistics by part; "" for all scenes.

    Raises:
        WriteFailed: the file could not be written.
    """
    members = {f"{run}/{p}/{k}": a for p, stats in parts.items() for k, a in stats.arrays().items()}
    return save(_of_run(results_dir, run), members)


def read(results_dir: Path | str, run: str, part: str = "") -> ImageStats | None:
    """A run's statistics, a scene each; None where it left none.

    What the run left last counts, then the joined file; of a cache that is of another run than its
    record, the latter alone.

    Raises:
        BrokenStats: a file cannot be read.
    """
    head = f"{run}/{part}/"
    for members in (_left(results_dir, run), _load(Path(results_dir) / "stats.npz")):
        arrays = {k.removeprefix(head): a for k, a in members.items() if k.startswith(head)}
        if arrays:
            return ImageStats.of(arrays)
    return None


def join(results_dir: Path | str) -> Path:
    """Bring ``stats.npz`` up to date: what runs left last, of runs that have a record.

    The file is written anew only where something in it changes.

    Raises:
        BrokenStats, WriteFailed: a file cannot be read or written.
    """
    path = Path(results_dir) / "stats.npz"
    old = _load(path)
    new: dict[str, NDArray] = {}
    for record in sorted((Path(results_dir) / "runs").glob("*.json")):
        left = _left(results_dir, record.stem)
        head = f"{record.stem}/"
        new |= left or {k: a for k, a in old.items() if k.startswith(head)}
    same = list(old) == list(new) and all(np.array_equal(old[k], a) for k, a in new.items())
    return path if same else save(path, new)


def _of_run(results_dir: Path | str, run: str) -> Path:
    return Path(results_dir) / "cache" / run / "stats.npz"


def _left(results_dir: Path | str, run: str) -> dict[str, NDArray]:
    path = _of_run(results_dir, run)
    record, done = Path(results_dir) / "runs" / f"{run}.json", path.parent / "done"
    both = record.is_file() and done.is_file()  # `done` holds the date of the run
    return {} if both and done.read_text() not in record.read_text() else _load(path)


def save(path: Path | str, members: Mapping[str, NDArray]) -> Path:
    """Write arrays as a compressed npz.

    Raises:
        WriteFailed: the file could not be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **members)
    return atomic_write(path, buffer.getvalue())


def load(path: Path | str) -> dict[str, NDArray]:
    """All arrays of an npz file; nothing pickled is read.

    Raises:
        ValueError: it is none, or unpacks to over a gigabyte; ours have some megabytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > 1 << 30:
                raise ValueError("it unpacks to over a gigabyte")
        with np.load(path) as file:
            return dict(file)
    except Exception as error:  # zip, deflate and numpy have many names for a damaged file
        raise ValueError(f"{error or repr(error)}") from None


def _load(path: Path) -> dict[str, NDArray]:
    """All members of a file; none where there is no file."""
    try:
        seen = path.stat()
    except OSError:
        return {}
    return _loaded(path, seen.st_size, seen.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _loaded(path: Path, size: int, mtime_ns: int) -> dict[str, NDArray]:
    try:
        return load(path)
    except ValueError as error:
        raise BrokenStats(f"{path}: not a readable file of statistics ({error})") from error
