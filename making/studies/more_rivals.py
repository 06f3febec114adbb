"""Is what more scenes and a magnified look bring ours alone? The strongest rival, given the same.

    python -m making.studies more_rivals --results results/full     # `more_scenes` comes first

The rival is SegFormer's decoder on our aligned tower, at its own learning rates; scenes, steps and
seed are those of a run of ours on more scenes (`making.studies.more_scenes`, which says where the
scenes come from). Each is seen as it is and magnified, at the scales that val chooses for it
(`making.studies.large_scales`), as training left it: without the temperature of the model that is
shipped. Its runs lie where those of ours lie, and go on there if they are interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from making.finished import needed
from making.studies.class_offsets import trained
from making.studies.large_scales import KEPT, SCALES, seen_at
from making.studies.more_scenes import NAME, PAIRED, MoreScenes, content, corrected
from scrapseg.data import fetch
from scrapseg.experiments import records, studies
from scrapseg.experiments.run import run
from scrapseg.experiments.splits import Splits
from scrapseg.files import atomic_write
from scrapseg.metrics.bootstrap import paired_difference

RIVAL = "segformer-aligned"
#: As it is, and at the scales that val chooses.
LOOKS = ("plain", "chosen")
#: Runs of ours on more scenes, by steps and seed.
OURS = ("scrapseg_scrapsim_allshots_s1_2000-steps-more",)


def alike(record: records.RunRecord, method: str) -> studies.RunSpec:
    """The run of a method that has the steps and the seed of a record of ours on more scenes."""
    seed, steps = record.seed, record.config["steps"]
    like = studies.planned("full", f"{method}_scrapsim_allshots_s{seed}_2000-steps")
    return replace(like, changes=like.changes | {"steps": steps}, tag=f"{steps}-steps-more")


def rows(
    record: records.RunRecord, splits: Splits, more: MoreScenes, results_dir: Path, cache: Path
) -> list[dict[str, object]]:
    """A row for ours and one for the rival at each way to look, as they are first.

    Returns:
        method, seed, steps, look, images (to learn from), scales, s_per_image, and what `seen_at`
        measures on test; in the rival's rows ours minus it of the `PAIRED` metrics with 95 %
        interval over test scenes and p.

    Raises:
        FileNotFoundError: the weights of ours are not in the cache. ValueError: it was not trained
            on these scenes.
    """
    ours, theirs = alike(record, "scrapseg"), alike(record, RIVAL)
    needed(cache, ours.name)
    made = run(theirs, Splits(more, splits.val, splits.test), cache)
    if made.config["data"] != record.config["data"]:
        raise ValueError(f"{ours.name}: it was not trained on the scenes that its rival has")
    path = cache / "runs" / f"{theirs.name}.json"
    atomic_write(results_dir / "more" / path.name, path.read_bytes())
    told, seen = [], {}
    for spec in (ours, theirs):
        model = trained(spec, needed(cache, spec.name), splits.test)
        on_val = [seen_at(model, splits.val, some)[0]["miou_impurity"] for some in SCALES]
        for look, scales in zip(LOOKS, (SCALES[0], SCALES[on_val.index(max(on_val))])):
            row, seen[spec.method, look] = seen_at(model, splits.test, scales, (*KEPT, "miou"))
            of = {"method": spec.method, "seed": spec.seed, "steps": record.config["steps"]}
            told.append(of | {"look": look} | row | {"images": len(more)})
    for row in told:
        if row["method"] == RIVAL:
            sides = [[seen[method, row["look"]]] for method in ("scrapseg", RIVAL)]
            for metric in PAIRED:
                names = [f"{metric}_{end}" for end in ("gap", "lo", "hi", "p")]
                row |= dict(zip(names, paired_difference(*sides, metric), strict=True))
    return told


def make(
    data_dir: Path, results_dir: Path, only: Sequence[str] = OURS
) -> tuple[pd.DataFrame, dict[str, object]]:
    """The study in full: its table, and what stands beside it. Its p_holm is over all pairs."""
    root = fetch.folder(NAME)
    beside = {"more": content(root), "runs": list(only)}
    splits, cache = Splits.load(data_dir), results_dir / "cache" / "more" / beside["more"][:8]
    more, of = MoreScenes(splits.train, root), results_dir / "more"
    ours = [records.read_run(of / f"{name}.json") for name in only]
    told = [row for record in ours for row in rows(record, splits, more, results_dir, cache)]
    return corrected(pd.DataFrame(told)), beside | {"sha256": splits.test.sha256}
