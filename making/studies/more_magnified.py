"""What does training on magnified images bring? Ours on more scenes, at 1.5 times the size.

    python -m making.studies more_magnified --results results/full  # `more_scenes` comes first

Two runs of 100 steps on val (`size-576` and `size-576-small` of the ablations) gained by it more
than by any other change. Here the run of ours on most scenes is made anew with each crop enlarged
before the tower sees it; of the scene a crop shows less, so that a step takes a quarter more
pixels, and not twice as many.
Scenes, steps, seed and rates are as they were. Both runs are seen plain and at the scales
that val chooses for them, as training left them: without the temperature of the shipped model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from making.finished import needed
from making.studies.more_rivals import LOOKS, alike, looks, made_beside
from making.studies.more_scenes import MoreScenes, corrected, setting
from scrapseg.experiments import records, studies
from scrapseg.experiments.splits import Splits

#: The run on more scenes that it stands beside.
LIKE = "scrapseg_scrapsim_allshots_s0_8000-steps-more"
ABLATION = "size-576-small"


def magnified(spec: studies.RunSpec) -> studies.RunSpec:
    """The same run with the changes of the ablation."""
    changed = studies.ABLATIONS[ABLATION]
    return replace(
        spec,
        variant=replace(spec.variant, **changed.variant),
        changes=spec.changes | changed.changes,
        tag=f"{spec.tag}-576",
    )


def rows(
    record: records.RunRecord, splits: Splits, more: MoreScenes, results_dir: Path, cache: Path
) -> list[dict[str, object]]:
    """Those of `more_rivals.looks` for ours at 1.5, which is trained first, then for ours at 1;
    `trained_at` is that magnification, `images` are those to learn from."""
    plain = alike(record, "scrapseg")
    needed(cache, plain.name)
    larger = magnified(plain)
    made_beside(larger, record, splits, more, results_dir, cache)
    told = looks(larger, plain, splits, cache)
    at = [spec.variant.scale for spec in (larger, plain) for _ in LOOKS]
    return [{"trained_at": s} | row | {"images": len(more)} for s, row in zip(at, told)]


def make(data_dir: Path, results_dir: Path) -> tuple[pd.DataFrame, dict[str, object]]:
    """The study in full: its table, and what stands beside it."""
    splits, more, cache, named = setting(data_dir, results_dir)
    record = records.read_run(results_dir / "more" / f"{LIKE}.json")
    told = rows(record, splits, more, results_dir, cache)
    beside = {"more": named, "run": LIKE, "sha256": splits.test.sha256}
    return corrected(pd.DataFrame(told)), beside
