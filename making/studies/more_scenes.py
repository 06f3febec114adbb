"""Do more scenes bring what longer training does not? Ours, trained on ScrapSim's scenes and more.

    make .venv-render/.ready
    PYTHONPATH=. .venv-render/bin/python -m making.synth render --seed 20261126 --scenes 103 \\
        --out $SCRAPSEG_DATA/scrapsim-more      # an hour of a core
    python -m making.studies more_scenes --results results/full

The further scenes are ScrapSim's generator's, from another seed, and are for training only: val and
test stay as they are, and so do all settings of the run that each is set beside. Rendering ends
with a list of targets missed, which are those of the benchmark's own scenes; on another machine the
labels are the same and grey values differ a little (by 0.2 of 255 in the mean, of one scene). They
are not shipped: a run on them lies in the git-ignored `cache/more`, by what the scenes hold, where
it goes on if it is interrupted, and what is kept is the table and the runs' records, `more/`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from making.align.benchmark import quality_on
from making.finished import finished
from scrapseg.data import fetch
from scrapseg.data.base import Sample, SamplesById
from scrapseg.data.classes import CLASSES
from scrapseg.data.errors import MissingFile
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments import records, stats, studies
from scrapseg.experiments.run import CHOSEN, run
from scrapseg.experiments.splits import Splits
from scrapseg.files import atomic_write
from scrapseg.metrics.bootstrap import holm, paired_difference
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.segmenter import Segmenter

NAME = "scrapsim-more"
#: Runs of profile full on ScrapSim's own scenes, that the runs on more are set beside.
LIKE = (
    "scrapseg_scrapsim_allshots_s0_even",
    "scrapseg_scrapsim_allshots_s1_2000-steps",
    "scrapseg_scrapsim_allshots_s0_8000-steps",
)
TOLD = ("ap", "miou_impurity", "miou", "object_recall_1fa")
PAIRED = ("ap", "miou_impurity")


class MoreScenes(SamplesById):
    """ScrapSim's train split and more scenes of the same generator, as one; for training only.

    Args:
        root: folder of the further scenes, laid out as `data/scrapsim`; its splits mean nothing.
    """

    def __init__(self, train: ScrapSim, root: Path) -> None:
        parts = [ScrapSim(root, split, verify=False) for split in ("train", "val", "test")]
        self.__dict__ |= {k: v for k, v in vars(train).items() if k not in ("ids", "meta")}
        self.name, self.classes, self.templates = train.name, train.classes, train.templates
        self.min_pixels, self.ids, self.meta = train.min_pixels, list(train.ids), dict(train.meta)
        self.of = {id: (train, id) for id in train.ids}
        for part, id in ((p, i) for p in parts for i in p.ids):
            name, scene = f"more-{id}", 100_000 + int(part.meta[id]["scene"])
            self.of[name] = part, id
            self.ids.append(name)
            self.meta[name] = part.meta[id] | {"id": name, "scene": scene}

    def sample(self, id: str) -> Sample:
        """One image with its label, see `ScrapSim.sample`."""
        part, name = self.of[id]
        given = part.sample(name)
        meta = self.meta[id]
        return Sample(id, given.image, given.label, given.instances, meta["scene"], meta)


def content(root: Path) -> str:
    """A hash of all images, labels, instances and metadata of a folder of scenes.

    Raises:
        MissingFile: there is no such folder.
    """
    if not root.is_dir():
        raise MissingFile(
            f"{root}: no further scenes here; the head of making/studies/more_scenes.py says how "
            f"they are rendered into the folder that {fetch.VARIABLE} names"
        )
    found = hashlib.sha256()
    for part in ("images", "labels", "instances", "metadata.jsonl"):
        for path in sorted([root / part] if (root / part).is_file() else (root / part).iterdir()):
            found.update(f"{path.relative_to(root)} {studies.file_sha256(path)}\n".encode())
    return found.hexdigest()


def setting(data_dir: Path, results_dir: Path) -> tuple[Splits, MoreScenes, Path, str]:
    """ScrapSim's splits, its training scenes and more, where runs on these lie, their `content`.

    Raises:
        MissingFile: see `content`.
    """
    root = fetch.folder(NAME)
    named, splits = content(root), Splits.load(data_dir)
    return splits, MoreScenes(splits.train, root), results_dir / "cache/more" / named[:8], named


def rows(
    like: studies.RunSpec, splits: Splits, more: MoreScenes, results_dir: Path, cache: Path
) -> list[dict[str, object]]:
    """A row for the run `like`, which is done, and one for the same run on more scenes.

    Args:
        cache: where the run on more scenes lies, and goes on.

    Returns:
        images, steps, seed, best_step, val (what its weights were chosen by), `TOLD` on test,
        commit, and, where its weights are, `train_miou_impurity`, on ScrapSim's own training
        images; in the second row differences to the first of the `PAIRED` metrics with 95 %
        interval over test scenes and p.

    Raises:
        ValueError: the two runs differ in more than their scenes.
    """
    spec = replace(like, tag=f"{like.changes['steps']}-steps-more")
    longer = run(spec, Splits(more, splits.val, splits.test), cache)
    record = cache / "runs" / f"{spec.name}.json"
    atomic_write(results_dir / "more" / record.name, record.read_bytes())
    own = records.read_run(results_dir / "runs" / f"{like.name}.json")
    configs = [{k: v for k, v in r.config.items() if k not in CHOSEN} for r in (own, longer)]
    data = [config.pop("data") for config in configs]
    if configs[0] != configs[1] or data[0]["images"] != [len(s) for s in vars(splits).values()]:
        raise ValueError(f"{like.name}: its settings are not those of the run on more scenes")
    told = []
    for record, images in ((own, len(splits.train)), (longer, len(more))):
        of = {"images": images, "seed": record.seed}
        of |= {k: record.config[k] for k in ("steps", "best_step", "val")}
        of |= {k: record.metrics[k] for k in TOLD}
        told.append(of | {"commit": record.provenance["commit"][:7]})
    for row, folder in zip(told, (finished(results_dir, like.name), finished(cache, spec.name))):
        if folder and (weights := folder / "model.safetensors").is_file():
            model = Segmenter(ScrapSeg.load(weights).eval(), CLASSES)
            row["train_miou_impurity"] = quality_on(model, splits.train)["miou_impurity"]
    sides = [stats.read(cache, spec.name)], [stats.read(results_dir, like.name)]
    for metric in PAIRED:
        names = [f"{metric}_{end}" for end in ("gap", "lo", "hi", "p")]
        told[1] |= dict(zip(names, paired_difference(*sides, metric), strict=True))
    return told


def corrected(table: pd.DataFrame) -> pd.DataFrame:
    """With p_holm of the `PAIRED` metrics, over all rows that have a p."""
    return table.assign(**{f"{metric}_p_holm": holm(table[f"{metric}_p"]) for metric in PAIRED})


def make(
    data_dir: Path, results_dir: Path, only: Sequence[str] = LIKE
) -> tuple[pd.DataFrame, dict[str, object]]:
    """The study in full: its table, and what stands beside it. Its p_holm is over all pairs."""
    splits, more, cache, named = setting(data_dir, results_dir)
    told = [rows(studies.planned("full", n), splits, more, results_dir, cache) for n in only]
    table = corrected(pd.DataFrame([row for pair in told for row in pair]))
    return table, {"more": named, "runs": list(only), "sha256": splits.test.sha256}
