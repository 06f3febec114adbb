"""Run records, the table that joins them, and where tables and figures are written.

``results/<profile>/`` holds ``runs/*.json`` (one per run), ``metrics.csv`` (all runs, one line per
number), ``tables/*.csv`` and ``figures/*.{pdf,png,json}``. A record is read with its fields
checked, written with its keys sorted, so that equal runs give equal bytes.
"""

from __future__ import annotations

import io
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from scrapseg.experiments import stats
from scrapseg.experiments.studies import installed, run_name
from scrapseg.files import REPOSITORY, ResultsError, atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PACKAGES = ("torch", "torchvision", "open_clip_torch", "timm", "anomalib")
PACKAGES += ("segmentation-models-pytorch", "torchmetrics", "numpy")
COLUMNS = ["method", "family", "backbone", "dataset", "shots", "seed", "metric", "value", "run"]
KEYS = ["method", "backbone", "dataset", "shots", "seed", "metric", "run"]
"""What names one number: ``run`` tells apart runs that differ in a tag only."""


class BrokenRecord(ResultsError):
    """A run record or the table is missing, is no valid JSON or CSV, or lacks fields."""


@dataclass
class RunRecord:
    """One method, trained and tested once.

    Attributes:
        method: slug, such as ``scrapseg`` or ``unet``.
        family: ours, vlm-frozen, unsupervised, supervised or classical.
        backbone: ``pocket`` or the name of an open_clip model.
        dataset: scrapsim, magnetic-tile or steelds.
        split: the split the metrics are of.
        shots: labelled scenes per impurity class, or ``"all"``.
        seed: of training and of the choice of shots.
        metrics: name -> value, fractions of 1 (and costs); nan where undefined.
        config: the settings of the run, JSON values only.
        provenance: see `provenance`.
    """

    method: str
    family: str
    backbone: str
    dataset: str
    split: str
    shots: int | str
    seed: int
    metrics: dict[str, float]
    config: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def name(self, tag: str = "") -> str:
        """File name without ending: method_dataset_<shots>shots_s<seed>[_backbone][_tag]."""
        return run_name(self.method, self.dataset, self.shots, self.seed, self.backbone, tag)


# ---------------------------------------------------------------- runs


def plain(value: Any) -> Any:
    """``value`` as JSON knows it: numpy scalars as numbers, nan and infinities as null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def write_run(record: RunRecord, results_dir: Path | str, tag: str = "") -> Path:
    """Write ``runs/<name>.json``: keys sorted, floats at full precision, nan as null.

    Args:
        tag: tells apart runs that differ in something else than the record's own fields, such as
            an ablation. It ends the file name.

    Returns:
        The path of the file; an earlier run of that name is replaced.

    Raises:
        WriteFailed: the file could not be written.
    """
    text = json.dumps(plain(asdict(record)), indent=2, sort_keys=True, allow_nan=False)
    return atomic_write(Path(results_dir) / "runs" / f"{record.name(tag)}.json", text + "\n")


def read_run(path: Path | str) -> RunRecord:
    """Read one run record; null metrics come back as nan.

    Raises:
        BrokenRecord: the file is missing, no JSON, or has missing, unknown or unfit fields.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(content, ensure_ascii=False).encode()  # what cannot be written is not read
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenRecord(f"{path}: not a readable run record ({error})") from error
    names = {f.name for f in fields(RunRecord)}
    found = set(content) if isinstance(content, dict) else set()
    wrong = [f"no {name!r}" for name in sorted(names - found)]
    wrong += [f"unknown {name!r}" for name in sorted(found - names)]
    if wrong:
        raise BrokenRecord(f"{path}: {', '.join(wrong)}; delete the file and repeat the run")
    try:
        # Adding 0 to what is no number is an error.
        numbers = {k: math.nan if v is None else v + 0 for k, v in content["metrics"].items()}
    except (AttributeError, TypeError):
        raise BrokenRecord(f"{path}: 'metrics' must map names to numbers or null") from None
    texts = [content[k] for k in ("method", "family", "backbone", "dataset", "split")]
    shots, dicts = content["shots"], (content["config"], content["provenance"])
    fit = all(isinstance(v, str) for v in texts) and all(isinstance(v, dict) for v in dicts)
    fit = fit and type(content["seed"]) is int and (shots == "all" or type(shots) is int)
    if not fit or any(abs(v) > 1e300 for v in numbers.values()):
        raise BrokenRecord(f"{path}: a field is of the wrong type; repeat the run")
    return RunRecord(**content | {"metrics": numbers})


def read_runs(results_dir: Path | str) -> dict[str, RunRecord]:
    """All records in ``runs/``, by run name (file name without ending), sorted; {} without any.

    Raises:
        BrokenRecord: see `read_run`.
    """
    paths = sorted((Path(results_dir) / "runs").glob("*.json"))
    return {path.stem: read_run(path) for path in paths}


def joined(results_dir: Path | str) -> str:
    """What ``metrics.csv`` says when all runs are joined; equal runs give equal bytes.

    A row per run and metric with `COLUMNS`; sorted by method, dataset, backbone, shots (numbers,
    then ``all``), seed, run and metric.

    Raises:
        BrokenRecord: see `read_run`.
    """
    rows = []
    for run, r in read_runs(results_dir).items():
        shots = math.inf if r.shots == "all" else int(r.shots)
        order = (r.method, r.dataset, r.backbone, shots, r.seed, run)
        for metric, value in r.metrics.items():
            row = (r.method, r.family, r.backbone, r.dataset, r.shots, r.seed, metric, value, run)
            rows.append((*order, metric, row))
    rows = [entry[-1] for entry in sorted(rows, key=lambda entry: entry[:-1])]
    return pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False, lineterminator="\n")


def collect(results_dir: Path | str) -> pd.DataFrame:
    """Join all runs into ``metrics.csv``, and their statistics into ``stats.npz`` (`stats.join`).

    Returns what `read_metrics` would read.

    Raises:
        BrokenRecord: see `read_run`.
        WriteFailed: the table could not be written.
    """
    atomic_write(Path(results_dir) / "metrics.csv", joined(results_dir))
    stats.join(results_dir)
    return read_metrics(results_dir)


def read_metrics(results_dir: Path | str) -> pd.DataFrame:
    """Read ``metrics.csv``: value as float (empty = nan), seed as int, all else as text.

    Raises:
        BrokenRecord: the table is missing or has other columns.
    """
    path = Path(results_dir) / "metrics.csv"
    try:
        # Values are read as text first: Python parses a float exactly, older pandas may not.
        table = pd.read_csv(path, dtype=str)
        table = table.astype({"seed": "int64", "value": "float64"})
    except (OSError, ValueError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise BrokenRecord(f"{path}: not a readable table of metrics ({reason})") from error
    if list(table.columns) != COLUMNS:
        raise BrokenRecord(f"{path}: its columns are not {','.join(COLUMNS)}")
    return table


def provenance(
    wall_s: float,
    data_sha256: str | None,
    device: str,
    started: datetime,
    source: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Where a run's numbers come from.

    Args:
        wall_s: seconds the run took.
        data_sha256: of the data set's checksum file.
        device: such as ``cpu`` or the name of the GPU.
        started: time zone aware, or in local time.
        source: `source_state` at the start; by default as it is now.

    Returns:
        commit, clean, packages (name -> version), python, device, cpus, wall_s, date (start, UTC,
        ISO 8601), data_sha256.
    """
    return {
        **(source or source_state()),
        "packages": {name: installed(name) or None for name in PACKAGES},
        "python": platform.python_version(),
        "device": str(device),
        "cpus": os.cpu_count(),
        "wall_s": round(float(wall_s), 2),
        "date": started.astimezone(UTC).isoformat(timespec="seconds"),
        "data_sha256": data_sha256,
    }


def git(root: Path, *arguments: str) -> str | None:
    """What a git command prints, or None where it fails or there is no git."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.decode("utf-8")


#: What `source_state` was of a tree that is sent to a machine without its history.
SENT = REPOSITORY / ".gpu" / "source.json"


def source_state(root: Path = REPOSITORY) -> dict[str, Any]:
    """The commit of a checkout, and whether its files are those of it, results and the like aside.

    Returns:
        commit and clean; ``unknown`` and False outside git, unless the tree was `SENT`.
    """
    top, commit = git(root, "rev-parse", "--show-toplevel"), git(root, "rev-parse", "HEAD")
    # An installed copy may lie inside some other repository: that one's commit says nothing.
    if not top or not commit or Path(top.strip()).resolve() != root.resolve():
        sent = root == REPOSITORY and SENT.is_file()
        return json.loads(SENT.read_text()) if sent else {"commit": "unknown", "clean": False}
    # What `make reproduce` writes while runs are still to come is no source of theirs.
    made = ("results", "notebooks/*.ipynb", "README.md", "paper/paper.pdf")
    changed = git(root, "status", "--porcelain", "--", ".", *(f":(exclude){p}" for p in made))
    return {"commit": commit.strip(), "clean": changed == ""}


# ---------------------------------------------------------------- figures and tables


def save_figure(
    fig: Figure, results_dir: Path | str, name: str, runs: Iterable[str | Path] = ()
) -> Path:
    """Write ``figures/<name>.pdf``, ``.png`` and ``.json``, which lists its runs.

    The same figure gives the same bytes: no dates are written.

    Args:
        runs: names or paths of the run records the picture is drawn from; empty for a picture of
            data or method only.

    Returns:
        The path of the PDF.

    Raises:
        WriteFailed: a file could not be written.
    """
    folder = Path(results_dir) / "figures"
    kinds = {
        "pdf": (200, {"CreationDate": None, "ModDate": None}),
        "png": (140, {"Software": None}),
    }
    for kind, (dpi, data) in kinds.items():
        buffer = io.BytesIO()
        fig.savefig(buffer, format=kind, dpi=dpi, metadata=data)
        atomic_write(folder / f"{name}.{kind}", buffer.getvalue())
    names = sorted({Path(run).name.removesuffix(".json") for run in runs})
    atomic_write(folder / f"{name}.json", json.dumps({"runs": names}, indent=2) + "\n")
    return folder / f"{name}.pdf"


def save_table(table: pd.DataFrame, results_dir: Path | str, name: str) -> Path:
    """Write ``tables/<name>.csv`` without index, floats to 6 significant digits, nan empty.

    Raises:
        WriteFailed: the file could not be written.
    """
    return atomic_write(Path(results_dir) / "tables" / f"{name}.csv", table_text(table))


def table_text(table: pd.DataFrame) -> str:
    """What `save_table` writes."""
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def compare(
    committed: pd.DataFrame, fresh: pd.DataFrame, tolerances: Mapping[str, float]
) -> pd.DataFrame:
    """The numbers of two tables of metrics that do not agree.

    Args:
        committed, fresh: as from `read_metrics`, joined on `KEYS`.
        tolerances: pattern of metric name (``fnmatch``: ``iou/*``, ``*_s``, ``*``) -> greatest
            absolute difference; the first pattern that fits counts, no pattern means 0, infinity
            means that the number only has to be there.

    Returns:
        `KEYS`, value_committed, value_fresh, difference (fresh - committed), tolerance and problem:
        ``differs``, ``missing`` (not in fresh) or ``new`` (not in committed). Empty when all agree.
        Two nan agree, nan and a number do not.
    """
    columns = [*KEYS, "value"]
    both = committed[columns].merge(
        fresh[columns], on=KEYS, how="outer", suffixes=("_committed", "_fresh"), indicator=True
    )
    both["difference"] = both["value_fresh"] - both["value_committed"]
    both["tolerance"] = [
        next((t for pattern, t in tolerances.items() if fnmatchcase(metric, pattern)), 0.0)
        for metric in both["metric"]
    ]
    close = both["difference"].abs() <= both["tolerance"]
    close |= both["value_committed"].isna() & both["value_fresh"].isna()
    close |= both["tolerance"] == math.inf
    problem = both["_merge"].map({"left_only": "missing", "right_only": "new", "both": "differs"})
    both["problem"] = problem.astype(str)
    return both[~close | (both["_merge"] != "both")].drop(columns="_merge").reset_index(drop=True)
