"""Many runs: the few-shot grid and the ablations, several at a time, resumable run by run.

    python -m scrapseg.experiments.grid --profile full --workers 2      # or: make grid

A `Job` says how a run differs from the profile's plain one. Jobs go through joblib, so that a Dask
cluster takes them as they are (`joblib.parallel_config("dask")`, see `run_jobs`).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from joblib import Parallel, delayed
from tqdm import tqdm

from scrapseg.data.base import EmptySplit
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments import leaderboard
from scrapseg.experiments.build import OURS, POCKET, Backbone, Variant
from scrapseg.experiments.methods import rates
from scrapseg.experiments.records import RunRecord, collect, read_runs, save_figure, save_table
from scrapseg.experiments.run import Splits, run
from scrapseg.files import REPOSITORY
from scrapseg.report import figures as plots
from scrapseg.report import tables
from scrapseg.train.loop import TrainConfig


@dataclass(frozen=True)
class Job:
    """One run and what is special about it.

    Attributes:
        changes: fields of `TrainConfig` that differ.
        source: the one setting (heap or belt) to learn from, see `only_from`.
        start: a saved model that ours begins with, see `experiment.build`.
        others: see `experiment.run`.
    """

    method: str = "scrapseg"
    shots: int | str = "all"
    seed: int = 0
    tag: str = ""
    variant: Variant = OURS
    changes: dict[str, Any] = field(default_factory=dict)
    split: str = "test"
    source: str | None = None
    start: Path | None = None


def _ablation(tag: str, method: str = "scrapseg", **changes: Any) -> Job:
    """A job on val; `changes` are fields of `Variant` or of `TrainConfig`."""
    names = [name for name in changes if hasattr(OURS, name)]
    variant = Variant(**{name: changes.pop(name) for name in names})
    return Job(method, tag=tag, variant=variant, changes=changes, split="val")


#: One thing changed at a time, against the first; all shots, scored on val. `ABLATION_LABELS` of
#: `scrapseg.report.tables` says what they are.
ABLATIONS: dict[str, Job] = {
    job.tag: job
    for job in (
        _ablation("ours"),
        _ablation("random-vectors", "scrapseg-random"),
        _ablation("imagenet", "scrapseg-imagenet"),
        _ablation("last-stage", trained="last stage"),
        _ablation("frozen", "scrapseg-frozen"),
        _ablation("projections", trained="projections"),
        _ablation("stages-1", stages=1),
        _ablation("stages-2", stages=2),
        _ablation("stages-3", stages=3),
        _ablation("stages-2-mean", stages=2, fusion="mean"),
        _ablation("stages-3-mean", stages=3, fusion="mean"),
        _ablation("stages-4-mean", fusion="mean"),
        _ablation("no-top-down", top_down=False),
        _ablation("binary", binary=True),
        _ablation("no-image-term", image_weight=0.0),
        _ablation("no-dice", dice_weight=0.0),
        _ablation("focal", gamma=2.0),
        _ablation("size-256", scale=256 / 384),
        _ablation("size-320", scale=320 / 384),
    )
}

#: Those that carry a claim of the paper, and so are run with several seeds.
CLAIMS = ("ours", "frozen", "stages-1", "binary")

PARTS = ("compared", "fewshot", "words", "ablations", "domains", "long")
SETTINGS = ("heap", "belt")


def ablation_jobs(tags: Sequence[str], seeds: Sequence[int], steps: int) -> list[Job]:
    """The named ablations; those of `CLAIMS` with every seed, the others with the first.

    Raises:
        KeyError: there is no such ablation.
    """
    return [
        replace(ABLATIONS[tag], seed=seed, changes=ABLATIONS[tag].changes | {"steps": steps})
        for tag in tags
        for seed in (seeds if tag in CLAIMS else seeds[:1])
    ]


def words_jobs(slugs: Sequence[str], steps: int) -> list[Job]:
    """For each class a run that gets no labels of it, and one that has all labels, on test."""
    held = [Job(tag=f"without-{s}", changes={"without": s, "steps": steps}) for s in slugs]
    return [Job(tag="with-all", changes={"steps": steps}), *held] if slugs else []


def few_shot_jobs(
    methods: Sequence[str], shots: Sequence[int], seeds: Sequence[int], steps: int
) -> list[Job]:
    """Every method at every number of shots with every seed, seed by seed."""
    return [
        Job(method, k, seed, changes={"steps": steps})
        for seed in seeds
        for k in shots
        for method in methods
    ]


def domain_jobs(methods: Sequence[str], seeds: Sequence[int], steps: int) -> list[Job]:
    """Every method trained on heaps and on belts, all shots; `tables.domains` parts the test."""
    return [
        Job(method, "all", seed, f"from-{source}", changes={"steps": steps}, source=source)
        for seed in seeds
        for source in SETTINGS
        for method in methods
    ]


def long_jobs(methods: Sequence[str], seeds: Sequence[int], steps: int) -> list[Job]:
    """Every method trained for longer than the comparison's steps, all shots."""
    tag, changes = f"{steps}-steps", {"steps": steps}
    return [Job(m, "all", seed, tag, changes=changes) for seed in seeds for m in methods]


def only_from(splits: Splits, source: str) -> Splits:
    """Train and val images of one setting, and all test images.

    What is chosen on val is chosen on the source: the other setting is new to the method.

    Raises:
        EmptySplit: a split has no image of the setting it needs.
    """

    def only(split: ScrapSim) -> ScrapSim:
        part = copy(split)
        part.ids = [i for i in split.ids if split.meta[i]["setting"] == source]
        part.meta = {i: split.meta[i] for i in part.ids}
        if not part.ids:
            raise EmptySplit(f"{split.root}: no image of a {source!r} in split {split.split!r}")
        return part

    return Splits(only(splits.train), only(splits.val), splits.test)


def run_jobs(
    jobs: Sequence[Job],
    splits: Splits,
    config: TrainConfig,
    results_dir: str | Path,
    *,
    workers: int = 1,
    backbone: Backbone = POCKET,
    own: dict[str, float | None] | None = None,
) -> list[RunRecord]:
    """Run all jobs, or read back those that are done; records in the order of the jobs.

    Runs beside each other share the cores, so their costs (`train_s`, `ms_per_image`) are only
    comparable with `workers=1`. With more, joblib's own choice of backend applies: inside
    `joblib.parallel_config("dask")`, with a `dask.distributed.Client`, runs go to a cluster.

    Args:
        config: what all jobs share; learning rates and a job's changes go on top.
        own: lr and encoder_lr of ours, in place of those tuned for the pocket backbone.
        workers: runs at a time, on one GPU or on the CPU's cores divided evenly.
    """
    if workers == 1:
        return [_run(job, splits, config, results_dir, backbone, own, None) for job in jobs]
    threads = max(1, (os.cpu_count() or 1) // workers)
    calls = (
        delayed(_run)(job, splits, config, results_dir, backbone, own, threads) for job in jobs
    )
    done = Parallel(n_jobs=workers, return_as="generator")(calls)
    return list(tqdm(done, total=len(jobs), desc="runs"))


def _run(
    job: Job,
    splits: Splits,
    config: TrainConfig,
    results_dir: str | Path,
    backbone: Backbone,
    own: dict[str, float | None] | None,
    threads: int | None,
) -> RunRecord:
    if threads:
        torch.set_num_threads(threads)
    config = replace(config, **(rates(job.method, **(own or {})) | job.changes))
    if job.source:
        splits = only_from(splits, job.source)
    return run(
        job.method,
        splits,
        config,
        results_dir,
        shots=job.shots,
        seed=job.seed,
        backbone=backbone,
        variant=job.variant,
        split=job.split,
        tag=job.tag,
        start=job.start,
    )


def main() -> None:
    """Command line: the grids of a profile, for a night or a large machine."""
    parser = argparse.ArgumentParser(
        prog="python -m scrapseg.experiments.grid",
        description="The studies of a profile, run by run.",
    )
    parser.add_argument("--profile", default="full", help="notebooks/profiles/<profile>.yaml")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time")
    parser.add_argument("--part", choices=PARTS, nargs="+", default=PARTS, help="which grids")
    parser.add_argument(
        "--methods", nargs="+", help="of the few-shot grid; the profile's otherwise"
    )
    given = parser.parse_args()
    folder = REPOSITORY / "notebooks"
    setting = yaml.safe_load((folder / "profiles" / f"{given.profile}.yaml").read_text())
    results_dir = (folder / setting["results_dir"]).resolve()
    splits = Splits.load(REPOSITORY / "data" / "scrapsim", setting["limit"])
    config = TrainConfig(batch_size=setting["batch_size"], crop=setting["crop"])
    jobs = []
    if "compared" in given.part:
        # Costs are compared too, so a run has the machine to itself.
        once = [Job(m, changes={"steps": setting["steps"]}) for m in setting["compared"]]
        run_jobs(once, splits, config, results_dir)
        leaderboard.collect(results_dir, results_dir / "leaderboard", splits.test)
    if "fewshot" in given.part:
        shots, steps = setting["shots"], setting["few_steps"]
        jobs += few_shot_jobs(given.methods or setting["methods"], shots, setting["seeds"], steps)
        if not given.methods and "controls" in setting:
            jobs += few_shot_jobs(setting["controls"], shots, setting["control_seeds"], steps)
    if "words" in given.part:
        jobs += words_jobs(setting["held_out"], setting["words_steps"])
    if "ablations" in given.part:
        of_val = setting["ablations"], setting["ablation_seeds"], setting["ablation_steps"]
        jobs += ablation_jobs(*of_val)
    if "domains" in given.part:
        across = setting["domain_methods"], setting["domain_seeds"], setting["domain_steps"]
        jobs += domain_jobs(*across)
    if "long" in given.part:
        jobs += long_jobs(setting["long_methods"], setting["long_seeds"], setting["long_steps"])
    run_jobs(jobs, splits, config, results_dir, workers=given.workers)
    show(results_dir, REPOSITORY / "data" / "scrapsim")


def show(results_dir: Path, data_dir: Path) -> None:
    """Join all runs; write the tables and figures of the studies."""
    frame = collect(results_dir)
    tables.build_all(results_dir, data_dir)
    save_table(tables.paired(results_dir), results_dir, "paired")
    study = tables.ablation(frame)
    if len(study) > 1:
        drawn = [r for r in read_runs(results_dir) if r.endswith(tuple(study["tag"]))]
        save_figure(plots.ablation_dots(study), results_dir, "ablation", drawn)
    few = tables.main_runs(frame)
    names = set(few.loc[few["shots"] != "all", "method"])
    if names:
        figure = plots.fewshot_curve(
            frame, methods=sorted(names), bands=tables.fewshot_bands(results_dir)
        )
        save_figure(figure, results_dir, "fewshot", few.loc[few["method"].isin(names), "run"])


if __name__ == "__main__":
    main()
