"""What carries over from renders to photographs, without a label of them? One thing at a time.

    python -m making.studies adaptation --results results/real

An arm is a model to start from and what is changed of the first settings, `FIRST`; "shipped" is
what `make apply` does now. Each adapts to the photographs of steel of val, which are without
labels ("own" to those of test), and is measured on val and on test: on composites
(`making.studies.composite`), on yard photographs, and on ScrapSim, which must not be forgotten. Val
chose what is the default; test chose nothing.

A cell (arm, seed) that is done lies in `results/real/cache/adaptation`: an interrupted study goes
on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from making.align.ship import imagenet
from making.studies.composite import PIECE_SIDE, Composites, steel_photos
from making.studies.laid import Dirty, HalfDirty, Matched, Tinted, WithSteel
from scrapseg import metrics
from scrapseg.data.base import shrunk
from scrapseg.data.classes import CLASSES
from scrapseg.data.folder import read_photo
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.records import source_state
from scrapseg.files import REPOSITORY, atomic_write
from scrapseg.models.segmenter import SIDE, Segmenter, load, starting_model
from scrapseg.train import adapt
from scrapseg.train.adapt import (
    AdaptConfig,
    PasteOntoPhotos,
    adapt_model,
    held_back,
    library,
    photo_labels,
    read_photos,
    settled,
)

CELLS = REPOSITORY / "results" / "real" / "cache" / "adaptation"
#: Longer side in pixels at which photographs were adapted to and looked at, at first.
FIRST_SIDE = 448
SURE = 0.95
#: Composites among a plant's own photographs, which are mostly of steel.
SPOILT = 8
#: How often a teacher labels the photographs.
LOOKS = 6
YARD = ("motors", "copper-stators", "meatballs")
COPPER = next(c.index for c in CLASSES if c.slug == "copper_coil")


def aligned() -> Segmenter:
    """The pocket model that knows classes by their words."""
    return starting_model(shipped=False)


def held() -> Segmenter:
    """The model that comes along, its layers of edges and textures held fixed."""
    return held_back(load())


@dataclass(frozen=True)
class Arm:
    """Label for readers; `start` makes the model; `changes` of `FIRST`, None trains nothing;
    `library` pastes the pieces rendered alone, at most `most` of a class; seeds 0 up to `seeds`;
    photographs are adapted to and looked at with their longer side of `side` pixels. The steps are
    taken in `rounds`; from the second on (self-training, as in DAFormer, arXiv:2111.14887) a pixel
    whose score is above `SURE` is labelled with its most likely impurity, one above a half has no
    label. With `own` it adapts, as a plant does, to photographs that it is measured on: those of
    steel of test, and `SPOILT` of its composites beside them."""

    label: str
    start: Callable[[], Segmenter] = load
    changes: dict[str, Any] | None = field(default_factory=dict)
    statistics: bool = False
    library: bool = False
    most: int = 120
    seeds: int = 1
    side: int = FIRST_SIDE
    rounds: int = 1
    teacher: bool = False
    onto: type[PasteOntoPhotos] = PasteOntoPhotos
    novelty: bool = False
    own: bool = False


#: What all arms have where nothing else is said; all of it, should a default change.
FIRST = adapt.FIRST | {"steps": 300, "photos": 0.5, "distractors": 0.25, "surer": 0.9}
FIRST |= {"camera": 0.3}
PLAIN = {"distractors": 0.0, "surer": 1.0, "camera": 0.0}
LARGE = Arm(
    "600 steps, 768 pixels, as make apply did before (large)",
    held,
    {"encoder_lr": 3e-4, "steps": 600, "sides": (24, 320)},
    library=True,
    most=240,
    seeds=3,
    side=SIDE,
)
#: What it was before colours were changed more.
NOVEL = replace(LARGE, label="large, + novelty, as make apply did before (novel)", novelty=True)
#: What `make apply` does.
SHIPPED = replace(
    NOVEL,
    label="make apply in 8 minutes: novel, twice the colours (shipped)",
    changes=LARGE.changes | {"colour": 0.6},
)
#: What it was before photographs were looked at as large, and pieces pasted as large.
HELD = replace(
    LARGE,
    label="600 steps, 448 pixels, as make apply did at first (held)",
    changes=LARGE.changes | {"sides": FIRST["sides"]},
    side=FIRST_SIDE,
)


def changed(label: str, *, side: int = FIRST_SIDE, **changes: Any) -> Arm:
    """`HELD`, but for this, with one seed."""
    return replace(HELD, label=label, changes=HELD.changes | changes, seeds=1, side=side)


ARMS = {
    "renders-448": Arm("renders only, photographs of 448 pixels", changes=None),
    "renders": Arm("renders only", changes=None, side=SIDE),
    "statistics": Arm("batch statistics of the photographs", changes=None, statistics=True),
    "paste": Arm("pieces of ScrapSim pasted", changes=PLAIN, seeds=3),
    "distractors": Arm(
        "pieces pasted, + distractors", changes=PLAIN | {"distractors": 0.25}, seeds=3
    ),
    "ignored": Arm(
        "pieces pasted, + sure regions ignored", changes=PLAIN | {"surer": 0.9}, seeds=3
    ),
    "camera": Arm("pieces pasted, + blur, noise, JPEG", changes=PLAIN | {"camera": 0.3}, seeds=3),
    "scale": Arm("all, pieces at half of the largest size", changes={"sides": (24, 100)}, seeds=3),
    "colour": Arm("all, colours changed twice as much", changes={"colour": 0.6}, seeds=3),
    "steel": Arm("all, + rendered steel pasted", onto=WithSteel),
    "tint": Arm("all, + each piece of another colour", onto=Tinted),
    "photographs": Arm("all, three quarters photographs", changes={"photos": 0.75}),
    "slow": Arm("all, the encoder at a third of the rate (slow)", changes={"encoder_lr": 3e-4}),
    "long": Arm("all, 600 steps", changes={"steps": 600}),
    "pieces": Arm("all, + pieces rendered alone (pieces)", library=True, seeds=3),
    "all": Arm("adapted with the first settings (all)", seeds=3),
    "dirt": Arm("the same, with the photographs' dirt on the pieces", onto=Dirty, seeds=3),
    "slow-pieces": Arm(
        "all, slow, pieces, of other colours",
        changes={"encoder_lr": 3e-4},
        onto=Tinted,
        library=True,
    ),
    "slow-long": Arm(
        "all, 600 steps, slow",
        changes={"encoder_lr": 3e-4, "steps": 600},
    ),
    "slow-long-pieces": Arm(
        "all, 600 steps, slow, pieces",
        changes={"encoder_lr": 3e-4, "steps": 600},
        library=True,
    ),
    "finless": Arm(
        "all, + pieces, finless motors too (finless)",
        library=True,
        most=240,
    ),
    "slow-long-finless": Arm(
        "all, 600 steps, slow, finless",
        changes={"encoder_lr": 3e-4, "steps": 600},
        library=True,
        most=240,
    ),
    "held": HELD,
    "held-2400-finless": changed("held, 2400 steps", steps=2400),
    "held-long-dirt": replace(changed("held, under dirt"), onto=Dirty),
    "held-long-dust": replace(changed("held, under half as much dirt"), onto=HalfDirty),
    "side-704": changed("held, photographs of 704 pixels", side=704),
    "side-704-large": changed("held, 704 pixels, pieces to 320", side=704, sides=(24, 320)),
    "large": LARGE,
    "novelty": Arm("renders only, + novelty", changes=None, side=SIDE, novelty=True),
    "novel": NOVEL,
    "matched": replace(
        NOVEL, label="novel, pieces matched to the photograph", onto=Matched, seeds=1
    ),
    "teacher": replace(NOVEL, label="novel, + a mean teacher's labels", teacher=True, seeds=1),
    "novel-200": replace(NOVEL, label="novel, 200 steps", changes=LARGE.changes | {"steps": 200}),
    "novel-2400": replace(
        NOVEL, label="novel, 2400 steps", changes=LARGE.changes | {"steps": 2400}, seeds=1
    ),
    "novel-own": replace(
        NOVEL, label="novel, adapted to the test's photographs", own=True, seeds=1
    ),
    "shipped-200": replace(
        SHIPPED,
        label="make apply in 5 minutes: shipped, 200 steps",
        changes=SHIPPED.changes | {"steps": 200},
    ),
    "shipped": SHIPPED,
    "own": replace(SHIPPED, label="shipped, adapted to the test's photographs", own=True),
    "rounds": Arm("all, two rounds of self-training", rounds=2, seeds=3),
    "aligned": Arm("all, from the aligned model", aligned, seeds=3),
    "imagenet": Arm("all, from ImageNet", imagenet, seeds=3),
    "imagenet-slow": Arm("all, from ImageNet, slow", imagenet, {"encoder_lr": 3e-4}),
    "imagenet-frozen": Arm("all, from ImageNet, the encoder frozen", imagenet, {"encoder_lr": 0.0}),
    "imagenet-pieces": Arm("all, from ImageNet, pieces", imagenet, library=True),
    "imagenet-long": Arm("all, from ImageNet, 600 steps", imagenet, {"steps": 600}),
}


def adapted(arm: Arm, root: Path, scrapsim: ScrapSim, seed: int) -> tuple[Segmenter, dict]:
    """The segmenter of an arm, and the settings that made it."""
    start = replace(arm.start(), side=arm.side)
    images = read_photos(steel_photos(root, "test" if arm.own else "val"), arm.side, seed)
    if arm.own:
        images = [*(s.image for s in Composites(root, "test", SPOILT)), *images]
    if arm.statistics:
        return with_statistics_of(start, images), {}
    pieces, held_out = library(arm.most)
    if arm.changes is None:
        steel = [torch.zeros(image.shape[:2], dtype=torch.uint8) for image in images]
        return settled(start, images, steel, held_out, seed) if arm.novelty else start, {}
    config = replace(AdaptConfig(seed=seed), **FIRST | arm.changes)
    labels = photo_labels(start, images, config.surer)
    lasting = list(labels)
    pieces, part = pieces * arm.library, replace(config, steps=config.steps // arm.rounds)
    given = {"onto": arm.onto}
    if arm.teacher:
        part, given = replace(part, evals=LOOKS), given | {"look": teacher(start, images, labels)}
    segmenter = adapt_model(start, images, labels, scrapsim, part, pieces, **given)
    for number in range(1, arm.rounds):
        lasting = labels = photo_labels(segmenter, images, 0.5, SURE)
        part = replace(part, seed=seed + 1000 * number)
        segmenter = adapt_model(segmenter, images, labels, scrapsim, part, pieces)
    return settled(segmenter, images, lasting, held_out, seed, arm.novelty), asdict(config)


def teacher(
    start: Segmenter, images: Sequence[np.ndarray], labels: list[Tensor]
) -> Callable[[torch.nn.Module], float]:
    """A look at the weight average that writes what it says of the photographs into `labels`: a
    mean teacher (Tarvainen and Valpola, arXiv:1703.01780), as DAFormer's. Rare classes come as
    often as others with no more ado: scenes are drawn so, and pieces evenly over the classes."""
    looks: list[int] = []

    def look(model: torch.nn.Module) -> float:
        labels[:] = photo_labels(replace(start, model=model, runtime=None), images, 0.5, SURE)
        looks.append(1)
        return float(len(looks))  # the last one is kept

    return look


@torch.no_grad()
def with_statistics_of(start: Segmenter, images: list[np.ndarray]) -> Segmenter:
    """Batch statistics taken anew, in place, on the photographs (AdaBN, arXiv:1603.04779)."""
    norms = [m for m in start.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all photographs
        norm.train()
    for image in tqdm(images, desc="statistics", leave=False):
        start.probabilities(image)
    start.model.eval()
    return start


def ap(scores: list[np.ndarray], truths: list[np.ndarray]) -> float:
    """Pixel AP over images of any sizes."""
    flat = (np.concatenate([m.ravel() for m in maps])[None, None] for maps in (scores, truths))
    return metrics.average_precision(metrics.rank(*flat))


def measure(segmenter: Segmenter, root: Path, scrapsim: ScrapSim, split: str) -> dict[str, float]:
    """Composites, yard and ScrapSim of a split; names are <what>/<metric>."""
    composites = Composites(root, split)
    pairs = [(segmenter.probabilities(s.image)[0].numpy(), s.label) for s in composites]
    truths = [shrunk(label, segmenter.side) for _, label in pairs]
    found = {"composite/ap": ap([1 - p[0] for p, _ in pairs], [t > 0 for t in truths])}
    for c in CLASSES:
        if c.slug in PIECE_SIDE:
            one = ap([p[c.index] for p, _ in pairs], [t == c.index for t in truths])
            found[f"composite/ap/{c.slug}"] = one
    found |= yard(segmenter, root, split)
    rendered = ScrapSim(scrapsim.root, split)
    scores = [1 - segmenter.probabilities(s.image)[0][0].numpy() for s in rendered]
    return found | {"scrapsim/ap": ap(scores, [s.label > 0 for s in rendered])}


def yard(segmenter: Segmenter, root: Path, split: str) -> dict[str, float]:
    """Photographs of motors, stators and copper lumps against photographs of steel."""
    rows = []
    for group, path in photographs(root, split):
        p = segmenter.probabilities(shrunk(read_photo(path), segmenter.side))[0].numpy()
        score = 1 - p[0]
        label = np.where(score >= segmenter.threshold, 1 + p[1:].argmax(0), 0).astype(np.uint8)
        label, _, objects = segmenter.objects(label, score)
        row = {"group": group, "score": metrics.image_scores(score[None])[0]}
        row |= {"mean": score.mean(), "share": (label > 0).mean(), "copper": p[COPPER].mean()}
        rows.append(row | {"objects": len(objects)})
    table = pd.DataFrame(rows)
    impure = (table["group"] != "steel").to_numpy()

    def auroc(column: str, of: np.ndarray) -> float:
        ranking = metrics.rank(table.loc[of, column].to_numpy()[None, None], impure[of][None, None])
        return metrics.auroc(ranking)

    every = np.ones(len(table), bool)
    stators = table["group"].isin(["steel", "copper-stators"]).to_numpy()
    found = {f"yard/auroc/{c}": auroc(c, every) for c in ("score", "mean", "share")}
    for group in YARD:
        found[f"yard/auroc/{group}"] = auroc("mean", ~impure | (table["group"] == group).to_numpy())
    found["yard/auroc/copper"] = auroc("copper", stators)
    found["yard/false_objects"] = float(table.loc[~impure, "objects"].mean())
    found["yard/flagged"] = float((table.loc[impure, "objects"] > 0).mean())
    return found | {"yard/threshold": segmenter.threshold}


def photographs(root: Path, split: str) -> Iterator[tuple[str, Path]]:
    """Group and path of the yard's photographs of a split, as of composites."""
    yield from (("steel", path) for path in steel_photos(root, split))
    for group in YARD:
        paths = sorted((root / "yard" / group).glob("*.jpg"))
        yield from ((group, p) for p in paths[("test", "val").index(split) :: 2])


def make(data_dir: Path, _: Path, only: Sequence[str] = ()) -> tuple[pd.DataFrame, dict]:
    """The study's table, one row per arm, seed, split and metric, and what stands beside it.

    Args:
        only: slugs of arms; all by default.
    """
    root, scrapsim = Path(os.environ["SCRAPSEG_DATA"]) / "real", ScrapSim(data_dir, "train")
    cells = [(slug, k) for slug in only or ARMS for k in range(ARMS[slug].seeds)]
    rows, made = [], {}
    for slug, seed in tqdm(cells, desc="arms"):
        path = CELLS / f"{slug}-{seed}.json"
        if not path.is_file():
            state, clock = source_state(), time.perf_counter()
            segmenter, config = adapted(ARMS[slug], root, scrapsim, seed)
            adapt_s = time.perf_counter() - clock
            found = {s: measure(segmenter, root, scrapsim, s) for s in ("val", "test")}
            cell = {"found": found, "config": config, "adapt_s": adapt_s, "source": state}
            atomic_write(path, json.dumps(cell))
        cell = json.loads(path.read_text(encoding="utf-8"))
        made[f"{slug}, seed {seed}"] = {k: cell[k] for k in ("config", "adapt_s", "source")}
        label = ARMS[slug].label
        for split, found in cell["found"].items():
            rows += [(slug, label, seed, split, m, round(v, 5)) for m, v in found.items()]
    columns = ["arm", "label", "seed", "split", "metric", "value"]
    return pd.DataFrame(rows, columns=columns), {"cells": made, "sha256": scrapsim.sha256}
