"""One run of one method: fit it, measure it, keep a record; or read the record back.

`results_dir`/runs/<name>.json is the record, beside it on test the per-scene statistics;
`results_dir`/cache/<name> holds weights, history, maps and, while it trains, the state to go on
from.
A record is read back when it was made with the settings asked for, from the same data, weights,
sources and packages (`provenance.inputs_sha256`), and its maps are there; otherwise the run is made
anew. So a killed series goes on where it stopped, and a fresh clone, which has no cache, runs all.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scrapseg.experiments import fit, records, stats, studies
from scrapseg.experiments.methods import method as find
from scrapseg.experiments.records import RunRecord, plain
from scrapseg.experiments.splits import Splits, load_splits, only_from
from scrapseg.experiments.studies import POCKET, Backbone, RunSpec
from scrapseg.files import REPOSITORY, atomic_write
from scrapseg.models.predict import Predictions
from scrapseg.models.weights import WeightsMissing
from scrapseg.train.loop import TrainConfig

#: What a run adds to the settings it was asked for.
CHOSEN = {"best_step", "val", "normal_offset", "threshold"}


def run(spec: RunSpec, splits: Splits, results_dir: str | Path) -> RunRecord:
    """Fit and measure one method, or return the record if that very run is already done.

    Raises:
        fit.NothingToChooseBy: val shows no impurity.
        BudgetError: another backbone than the pocket one, and no GPU that is large enough.
        WeightsMissing: a weight file that is named is not there.
    """
    if spec.source:
        splits = only_from(splits, spec.source)
    config = TrainConfig(**spec.changes, seed=spec.seed)
    start = spec.start(Path(results_dir) / "cache")
    wanted, made_from = settings(spec, splits, config, start), studies.inputs_sha256(spec)
    path = Path(results_dir) / "runs" / f"{spec.name}.json"
    cache = Path(results_dir) / "cache" / spec.name
    if is_current(path, cache, wanted, splits.test.sha256, made_from):
        return records.read_run(path)

    fit.check_val(splits, config.without)
    started, clock, source = datetime.now(UTC), time.perf_counter(), records.source_state()
    cache.mkdir(parents=True, exist_ok=True)
    identity = json.dumps([wanted, splits.test.sha256, made_from], sort_keys=True)
    state = cache / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.state"
    for old in set(cache.glob("*.state")) - {state}:
        old.unlink(missing_ok=True)  # of a run with other settings
    (cache / studies.ACCEPTED).unlink(missing_ok=True)
    found = fit.outcome(spec, splits, config, cache, state, start)
    scored = getattr(splits, spec.split)
    values, threshold, of_scenes = fit.measure(found, splits, scored)
    record = RunRecord(
        spec.method,
        find(spec.method).family,
        spec.backbone.name,
        scored.name,
        spec.split,
        spec.shots,
        spec.seed,
        values,
        wanted | found.chosen | {"threshold": threshold},
    )
    wall_s, device = time.perf_counter() - clock, device_name(spec.method)
    record.provenance = records.provenance(wall_s, scored.sha256, device, started, source)
    record.provenance["inputs_sha256"] = made_from
    save_maps(cache / "maps.npz", found.maps)
    records.write_run(record, results_dir, spec.tag)
    if spec.split == "test":  # differences between ablations are too many to keep all of this for
        parts = stats.by_setting(of_scenes, scored) if spec.source else {}
        stats.write(results_dir, spec.name, {"": of_scenes} | parts)
    atomic_write(cache / "done", record.provenance["date"])
    return record


def run_all(
    specs: Sequence[RunSpec],
    results_dir: Path | str,
    data_dir: Path | str = REPOSITORY / "data" / "scrapsim",
) -> list[RunRecord]:
    """Read back the finished runs, run the others one after the other; records in that order.

    Args:
        data_dir: of ScrapSim; other data sets are found where `scrapseg.data.fetch` looks.

    Raises:
        The errors of `run`.
    """
    wanted = {(spec.dataset, spec.limit) for spec in specs}
    splits = {key: load_splits(*key, data_dir) for key in sorted(wanted, key=str)}
    return [run(spec, splits[spec.dataset, spec.limit], results_dir) for spec in specs]


def run_named(
    profile_name: str,
    name: str,
    results_dir: Path | str | None = None,
    data_dir: Path | str | None = None,
) -> RunRecord:
    """Make (or read back) one run of a profile, by the name of its record.

    Results go to `results/<profile>` and data comes from where the profile says, unless given.

    Raises:
        StudyError: the profile has no such run.
        The errors of `run`.
    """
    spec = studies.planned(profile_name, name)
    data = data_dir or studies.PROFILES.parent / studies.profile(profile_name)["data_dir"]
    results = results_dir or REPOSITORY / "results" / profile_name
    return run_all([spec], results, data)[0]


def settings(
    spec: RunSpec, splits: Splits, config: TrainConfig, start: Path | None = None
) -> dict[str, Any]:
    """What the record's config says of a run before it is made, as JSON has it.

    Raises:
        WeightsMissing: a weight file that the backbone names is not there.
    """
    of = find(spec.method)
    found: dict[str, Any] = asdict(config)
    if not of.is_trained:
        own = of.settings(spec.dataset)
        found = {"steps": config.steps, "batch_size": config.batch_size, **own}
    if spec.backbone != POCKET:
        found["backbone"] = asdict(spec.backbone) | weights_identity(spec.backbone)
    if of.is_ours:
        found["variant"] = asdict(spec.variant)
    if of.options:
        found["options"] = of.options
    if start:
        found["start"] = studies.file_sha256(start)
    parts = (splits.train, splits.val, splits.test)
    found["data"] = splits.test.settings | {"images": [len(part) for part in parts]}
    if spec.source:
        found["data"]["source"] = spec.source
    return json.loads(json.dumps(plain(found)))


def is_current(
    path: Path, cache: Path, wanted: dict[str, Any], data_sha256: str | None, made_from: str
) -> bool:
    """Whether a finished record is of the very run asked for, and its cache of that record."""
    if not all(p.is_file() for p in (path, cache / "done", cache / "maps.npz")):
        return False
    record = records.read_run(path)
    asked = {k: v for k, v in plain(record.config).items() if k not in CHOSEN}
    origin, accepted = record.provenance, cache / studies.ACCEPTED
    stands = {origin.get("inputs_sha256"), accepted.read_text() if accepted.is_file() else None}
    return (
        asked == wanted
        and origin.get("data_sha256") == data_sha256
        and made_from in stands
        and origin.get("date") == (cache / "done").read_text()
    )


def weights_identity(backbone: Backbone) -> dict[str, str]:
    """`{"weights_sha256": ...}` of a local weight file, which may change behind its path.

    Raises:
        WeightsMissing: there is no such file.
    """
    if backbone.weights_path is None:
        return {}
    path = Path(backbone.weights_path).resolve()
    if not path.is_file():
        raise WeightsMissing(f"{backbone.weights_path}: no such weight file")
    return {"weights_sha256": studies.file_sha256(path)}


def device_name(method: str) -> str:
    """Where a run computes: on the GPU when there is one; a forest stays on the CPU."""
    on_gpu = torch.cuda.is_available() and find(method).family != "classical"
    return torch.cuda.get_device_name() if on_gpu else "cpu"


def save_maps(path: Path, maps: Predictions) -> None:
    """Test maps for pictures: scores as float16 (N, H, W), labels as uint8 or absent."""
    arrays = {"score_maps": maps.score_maps.astype(np.float16)}
    if maps.labels is not None:
        arrays["labels"] = maps.labels
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    atomic_write(path, buffer.getvalue())


def load_maps(results_dir: str | Path, name: str) -> Predictions:
    """Test maps of a finished run, as `save_maps` wrote them."""
    with np.load(Path(results_dir) / "cache" / name / "maps.npz") as arrays:
        return Predictions(arrays["score_maps"], arrays.get("labels"))
