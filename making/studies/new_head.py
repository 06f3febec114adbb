"""Is ours ahead by its head, or by that head's having been aligned, too?

    python -m making.studies new_head --results results/full

The shipped alignment trains tower, pyramid and projections; a rival's decoder on that tower is
drawn anew. Here ours gets the aligned tower and a head drawn anew, the one that ours *not aligned*
has of the same seed. All else is that of the runs of profile full that it stands beside: ours as it
is, and SegFormer's decoder on our tower, at equal steps and seeds.
The runs lie in the git-ignored `cache/heads`; what is kept is the table and the records, `heads/`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pandas as pd
from safetensors.torch import save

from scrapseg.experiments import stats, studies
from scrapseg.experiments.build import aligned_tower, build
from scrapseg.experiments.methods import METHODS
from scrapseg.experiments.run import run
from scrapseg.experiments.splits import Splits
from scrapseg.files import REPOSITORY, atomic_write
from scrapseg.metrics import ImageStats, mean_interval
from scrapseg.metrics.bootstrap import paired_difference
from scrapseg.models.pocket import checksum_path
from scrapseg.report.scene_tables import corrected

OURS, RIVAL, NEW = "scrapseg", "segformer-aligned", "scrapseg-new-head"
SEEDS = (0, 1, 2)
#: Labelled scenes a class, and the tag of the runs that have as many steps.
CASES = (("4", "even"), ("all", "even"), ("all", "2000-steps"))
TOLD = ("ap", "miou_impurity")


def head_drawn(seed: int, folder: Path) -> Path:
    """Write the aligned tower with a head drawn from `seed` as a file of aligned weights."""
    model = build("scrapseg-imagenet", seed)
    model.encoder.load_state_dict(aligned_tower().state_dict())
    state = {k: v.contiguous() for k, v in model.state_dict().items() if k != "text"}
    path, content = folder / f"head-{seed}.safetensors", save(state)
    atomic_write(path, content)
    atomic_write(checksum_path(path), f"{hashlib.sha256(content).hexdigest()}  {path.name}\n")
    return path


def with_new_head(spec: studies.RunSpec, cache: Path) -> studies.RunSpec:
    """The run of ours, with that head; its method is known from here on in this process."""
    start = head_drawn(spec.seed, cache).resolve()
    METHODS[NEW] = replace(
        METHODS[OURS],
        slug=NEW,
        label="ours, aligned tower, new head",
        settings_of=OURS,
        options={"alignment": str(start.relative_to(REPOSITORY))},
        inputs=("making/studies/new_head.py",),
    )
    return replace(spec, method=NEW)


def make(data_dir: Path, results_dir: Path) -> tuple[pd.DataFrame, dict[str, object]]:
    """The study in full: a row for ours with that head, one for ours as it is less it, and one for
    it less the rival, by labels, steps and metric, over the seeds; value, lo, hi, p, and p_holm by
    metric."""
    splits, cache = Splits.load(data_dir), results_dir / "cache" / "heads"
    rows = []
    for shots, tag in CASES:
        known: dict[str, list[ImageStats]] = {OURS: [], RIVAL: [], NEW: []}
        for seed in SEEDS:
            names = {m: f"{m}_scrapsim_{shots}shots_s{seed}_{tag}" for m in (OURS, RIVAL)}
            made = run(with_new_head(studies.planned("full", names[OURS]), cache), splits, cache)
            path = cache / "runs" / f"{made.name(tag)}.json"
            atomic_write(results_dir / "heads" / path.name, path.read_bytes())
            known[NEW].append(stats.read(cache, made.name(tag)))
            for method, name in names.items():
                known[method].append(stats.read(results_dir, name))
        of = {"shots": shots, "steps": made.config["steps"], "seeds": len(SEEDS)}
        for metric in TOLD:
            value = dict(zip(("value", "lo", "hi"), mean_interval(known[NEW], metric)))
            rows.append(of | {"method": NEW, "minus": "", "metric": metric} | value)
            for one, other in ((OURS, NEW), (NEW, RIVAL)):
                gap = paired_difference(known[one], known[other], metric)
                told = dict(zip(("value", "lo", "hi", "p"), gap))
                rows.append(of | {"method": one, "minus": other, "metric": metric} | told)
    table = pd.DataFrame(rows)
    holm = corrected(table.dropna(subset="p"), ["metric"])["p_holm"]
    return table.assign(p_holm=holm), {"sha256": splits.test.sha256}
