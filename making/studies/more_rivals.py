"""Is what more scenes and a magnified look bring ours alone? The strongest rival, given the same.

    python -m making.studies more_rivals --results results/full     # `more_scenes` comes first
    python -m making.studies second_rival --results results/full

The rival is SegFormer's decoder on our aligned tower, at its own learning rates; scenes, steps and
seed are those of a run of ours on more scenes (`making.studies.more_scenes`, which says where the
scenes come from). Each is seen as it is and magnified, at the scales that val chooses for it
(`making.studies.large_scales`), as training left it: without the temperature of the model that is
shipped. Its runs lie where those of ours lie, and go on there if they are interrupted. The second
rival, SegFormer from ImageNet's weights, is set beside the shorter of them alone, which is made
again where its weights are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from making.finished import needed
from making.studies.class_offsets import trained
from making.studies.large_scales import KEPT, SCALES, seen_at
from making.studies.more_scenes import PAIRED, TOLD, MoreScenes, corrected, setting
from scrapseg.experiments import records, studies
from scrapseg.experiments.run import run
from scrapseg.experiments.splits import Splits
from scrapseg.files import atomic_write
from scrapseg.metrics.bootstrap import paired_difference

RIVAL, SECOND = "segformer-aligned", "segformer"
#: As it is, and at the scales that val chooses.
LOOKS = ("plain", "chosen")
#: Runs of ours on more scenes, by steps and seed.
OURS = (
    "scrapseg_scrapsim_allshots_s1_2000-steps-more",
    "scrapseg_scrapsim_allshots_s0_8000-steps-more",
)


def alike(record: records.RunRecord, method: str) -> studies.RunSpec:
    """The run of a method that has the steps and the seed of a record of ours on more scenes."""
    seed, steps = record.seed, record.config["steps"]
    like = studies.planned("full", f"{method}_scrapsim_allshots_s0_2000-steps")
    changes = like.changes | {"steps": steps}
    return replace(like, seed=seed, changes=changes, tag=f"{steps}-steps-more")


def looks(
    first: studies.RunSpec, second: studies.RunSpec, splits: Splits, cache: Path
) -> list[dict[str, object]]:
    """Two rows for each of two finished runs, one for each of `LOOKS`.

    Returns:
        method, seed, steps, look, scales, images (looked at), s_per_image, and what `seen_at`
        measures on test; in the second's rows the first minus it of the `PAIRED` metrics with 95 %
        interval over test scenes and p.

    Raises:
        FileNotFoundError: the weights of one are not in the cache.
    """
    told, seen = [], {}
    for spec in (first, second):
        model = trained(spec, needed(cache, spec.name), splits.test)
        on_val = [seen_at(model, splits.val, some)[0]["miou_impurity"] for some in SCALES]
        for look, scales in zip(LOOKS, (SCALES[0], SCALES[on_val.index(max(on_val))])):
            row, found = seen_at(model, splits.test, scales, (*KEPT, "miou"))
            of = {"method": spec.method, "seed": spec.seed, "steps": spec.changes["steps"]}
            told.append(of | {"look": look} | row)
            seen.setdefault(look, []).append([found])
            for metric in PAIRED if spec is second else ():
                names = [f"{metric}_{end}" for end in ("gap", "lo", "hi", "p")]
                gap = paired_difference(*seen[look], metric)
                told[-1] |= dict(zip(names, gap, strict=True))
    return told


def rows(
    record: records.RunRecord,
    splits: Splits,
    more: MoreScenes,
    results_dir: Path,
    cache: Path,
    rival: str = RIVAL,
) -> list[dict[str, object]]:
    """Those of `looks` for ours, then for the rival, which is trained first; `images` are those to
    learn from.

    Raises:
        FileNotFoundError: the weights of ours are not in the cache. ValueError: it was not trained
            on these scenes.
    """
    ours, theirs = alike(record, "scrapseg"), alike(record, rival)
    needed(cache, ours.name)
    made_beside(theirs, record, splits, more, results_dir, cache)
    return [row | {"images": len(more)} for row in looks(ours, theirs, splits, cache)]


def made_beside(
    spec: studies.RunSpec,
    record: records.RunRecord,
    splits: Splits,
    more: MoreScenes,
    results_dir: Path,
    cache: Path,
) -> None:
    """Train what is set beside the run of a record on more scenes; its own record goes to `more/`.

    Raises:
        ValueError: that run was not trained on these scenes.
    """
    made = run(spec, Splits(more, splits.val, splits.test), cache)
    if made.config["data"] != record.config["data"]:
        raise ValueError(f"{record.name}: it was not trained on the scenes that {spec.name} has")
    path = cache / "runs" / f"{spec.name}.json"
    atomic_write(results_dir / "more" / path.name, path.read_bytes())


def make(
    data_dir: Path, results_dir: Path, only: Sequence[str] = OURS
) -> tuple[pd.DataFrame, dict[str, object]]:
    """The study in full: its table, and what stands beside it. Its p_holm is over all pairs."""
    splits, more, cache, named = setting(data_dir, results_dir)
    ours = [records.read_run(results_dir / "more" / f"{name}.json") for name in only]
    told = [row for record in ours for row in rows(record, splits, more, results_dir, cache)]
    beside = {"more": named, "runs": list(only), "sha256": splits.test.sha256}
    return corrected(pd.DataFrame(told)), beside


def make_second(
    data_dir: Path, results_dir: Path, name: str = OURS[0]
) -> tuple[pd.DataFrame, dict[str, object]]:
    """The second rival beside one run of ours; its p_holm is over the pairs of `make` as well.

    Raises:
        ValueError: ours, made again, is another one than its record says.
    """
    splits, more, cache, named = setting(data_dir, results_dir)
    record = records.read_run(results_dir / "more" / f"{name}.json")
    again = run(alike(record, "scrapseg"), Splits(more, splits.val, splits.test), cache)
    if any(abs(again.metrics[k] - record.metrics[k]) > 1e-6 for k in TOLD):
        raise ValueError(f"{name}: made again it is another one; `more_scenes` makes it anew")
    told = pd.DataFrame(rows(record, splits, more, results_dir, cache, SECOND))
    family = pd.concat([pd.read_csv(results_dir / "tables/more_rivals.csv"), told])
    beside = {"more": named, "runs": [name], "sha256": splits.test.sha256}
    return corrected(family).tail(len(told)), beside
