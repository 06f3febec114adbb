"""How much do bad pictures cost, and what does adaptation repair?

    python -m making.studies corruptions --results results/full

Five corruptions at five levels (`making.corrupt`) on ScrapSim's test images: ours and the two
rivals of the highest AP that start as they come, from ImageNet, `RIVALS`, one run each, of
as many steps. They are read from where a build of the profile laptop or full left them; what is not
there is trained first, into `results/full/cache/corruptions`, and the committed records stay.

Then what adaptation repairs, of the model that comes along: `scrapseg.train.adapt` to ScrapSim's
val images, without their labels, under all five corruptions at level `MIDDLE`; one seed. Since it
trains on, and on renders too, the same to the clean val images stands beside it: what the first has
over the second comes of having seen the corruptions.

A cell (model, corruption, level) that is done lies in that cache, too, under a name that holds the
model, the pictures and their corruption: an interrupted study goes on.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from tqdm import tqdm

from making.corrupt import LEVELS, STRENGTHS, UNITS, corrupted
from making.finished import finished
from scrapseg import metrics
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.build import build
from scrapseg.experiments.methods import METHODS
from scrapseg.experiments.records import save_figure
from scrapseg.experiments.run import run_named
from scrapseg.experiments.studies import file_sha256
from scrapseg.files import REPOSITORY, atomic_write
from scrapseg.models.segmenter import SHIPPED, Segmenter, load
from scrapseg.models.tiles import normalised
from scrapseg.report import style
from scrapseg.train.adapt import FIRST, AdaptConfig, adapt_model, photo_labels

CACHE = REPOSITORY / "results" / "full" / "cache" / "corruptions"
RIVALS = ("segformer", "fpn")
MIDDLE = 3
#: Level 0 is clean; the models of `ADAPTED` are measured there and at the middle.
ALL, FEW = (0, *LEVELS), (0, MIDDLE)
#: Models of the second part: what a reader is told, and their look.
_SHIPPED, _ADAPTED = (METHODS[f"scrapseg-{of}"].colour for of in ("scrapsim", "adapted"))
ADAPTED = {
    "shipped": ("the model that comes along", {"marker": "v", "ms": 4, "color": _SHIPPED}),
    "adapted-clean": ("adapted to clean images", {"marker": "s", "ms": 3.5, "color": "black"}),
    "adapted": ("adapted to corrupted images", {"marker": "*", "ms": 7, "color": _ADAPTED}),
}


@dataclass(frozen=True)
class Model:
    """`probabilities` takes an image uint8 (H, W, 3) to class probabilities (C, H, W)."""

    slug: str
    label: str
    sha256: str
    levels: tuple[int, ...]
    probabilities: Callable[[NDArray], NDArray]


def folder(slug: str, name: str) -> Path:
    """Where the trained model of a run lies, see `finished`; it is made where no build left it."""
    for profile in ("laptop", "full"):
        if found := finished(REPOSITORY / "results" / profile, name):
            return found
    print(f"{slug}: no build left its model; training it into {CACHE} (minutes)", file=sys.stderr)
    run_named("full", name, CACHE)
    return CACHE / "cache" / name


def trained(slug: str) -> Model:
    """A method's run with all labels."""
    label, at = style.method_style(slug)["label"], folder(slug, f"{slug}_scrapsim_allshots_s0")
    if (own := at / "model.safetensors").is_file():
        return Model(slug, label, file_sha256(own), ALL, partial(of_segmenter, load(own)))
    network = build(slug, 0)
    network.load_state_dict(torch.load(at / "model.pt", weights_only=True))
    return Model(
        slug, label, file_sha256(at / "model.pt"), ALL, partial(of_network, network.eval())
    )


def of_segmenter(segmenter: Segmenter, image: NDArray) -> NDArray:
    """Class probabilities as `Model` has them, of ours."""
    return segmenter.probabilities(image)[0].numpy()


@torch.inference_mode()
def of_network(network: torch.nn.Module, image: NDArray) -> NDArray:
    """The same of a rival, which has the images as they are."""
    return network(normalised(network, image[None].copy())).logits[0].float().softmax(0).numpy()


def adapting(data_dir: Path, limit: int | None, config: AdaptConfig) -> Iterator[Model]:
    """The model that comes along, and the two adapted ones, made where they are not there yet."""
    start, val = load(SHIPPED), ScrapSim(data_dir, "val", limit=limit)
    rendered = ScrapSim(data_dir, "train", limit=limit)
    of = partial(of_segmenter, start)
    yield Model("shipped", ADAPTED["shipped"][0], file_sha256(SHIPPED), FEW, of)
    images = {
        "adapted-clean": [s.image for s in val],
        "adapted": [corrupted(s.image, c, MIDDLE, s.id) for s in val for c in STRENGTHS],
    }
    for slug, seen in images.items():
        what = [file_sha256(SHIPPED), val.sha256, len(val), repr(config), repr(STRENGTHS)]
        path = CACHE / f"{slug}-{key(*what)}" / "model.safetensors"
        if not path.is_file():
            labels = photo_labels(start, seen, config.surer)
            adapt_model(start, seen, labels, rendered, config).save(path)
        found = partial(of_segmenter, load(path))
        yield Model(slug, ADAPTED[slug][0], file_sha256(path), FEW, found)


def key(*parts: object) -> str:
    """A short name of what a thing is made of."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def measured(model: Model, test: ScrapSim, corruption: str, level: int) -> dict[str, float]:
    """AP and impurity mIoU of a model on the corrupted images of a split."""
    scores, labels, tables = [], [], 0
    for sample in tqdm(test, desc=f"{model.slug}, {corruption} {level}", leave=False):
        p = model.probabilities(corrupted(sample.image, corruption, level, sample.id))
        scores.append(1 - p[0])
        labels.append(sample.label)
        tables += metrics.confusion(p.argmax(0)[None], sample.label[None], len(p)).sum(0)
    ap = metrics.average_precision(metrics.rank(np.stack(scores), np.stack(labels) > 0))
    return {"ap": ap, "miou_impurity": metrics.class_metrics(tables)["miou_impurity"]}


def cells(models: list[Model], test: ScrapSim) -> pd.DataFrame:
    """A row for each model, corruption and level: strength, images, ap, miou_impurity.

    The clean images are measured once and stand as level 0 of every corruption.
    """
    plan = [(m, c, level) for m in models for c in STRENGTHS for level in m.levels]
    rows = []
    for model, corruption, level in tqdm(plan, desc="cells", unit="cell"):
        strength = STRENGTHS[corruption][level - 1] if level else 0
        made_of = [model.sha256, test.sha256, len(test), corruption if level else "", strength]
        path = CACHE / "cells" / f"{model.slug}-{key(*made_of)}.json"
        if not path.is_file():
            atomic_write(path, json.dumps(measured(model, test, corruption, level)))
        row = {"method": model.slug, "label": model.label, "corruption": corruption}
        row |= {"level": level, "strength": strength if level else np.nan}
        row |= {"unit": UNITS[corruption], "images": len(test)}
        rows.append(row | json.loads(path.read_text(encoding="utf-8")))
    return pd.DataFrame(rows)


@style.styled
def draw(table: pd.DataFrame) -> style.Figure:
    """AP by level, a panel for each corruption; what adaptation repairs as points at its level."""
    fig = style.figure(style.COLUMN, 2.6)
    grid = fig.subplots(2, 3, sharex=True, sharey=True)
    for axes, (corruption, some) in zip(
        grid.flat, table.groupby("corruption", sort=False), strict=False
    ):
        for slug, rows in some.groupby("method", sort=False):
            if slug in ADAPTED:
                rows, look = rows[rows["level"] > 0], {"ls": "none", "mew": 0} | ADAPTED[slug][1]
            else:
                look = style.method_style(slug) | {"lw": 1.1, "ms": 3}
            look |= {"label": rows["label"].iloc[0]}
            beside = 0.25 * (list(ADAPTED).index(slug) - 1) if slug in ADAPTED else 0
            axes.plot(rows["level"] + beside, rows["ap"], **look)
        axes.set_title(corruption)
        axes.set(ylim=(0, None), xticks=ALL)
        axes.yaxis.set_major_formatter(PercentFormatter(1, 0, symbol=""))
        axes.grid(axis="y")
    for axes in grid[:, 0]:
        axes.set_ylabel("pixel AP, %")
    spare, handles = grid.flat[-1], grid.flat[0].get_legend_handles_labels()[0]
    spare.set_visible(False)
    grid[0, 2].tick_params(labelbottom=True)
    for axes in (grid[0, 2], *grid[1, :2]):
        axes.set_xlabel("level (0: clean)")
    style.legend_below(fig, handles, cols=2)
    return fig


def make(
    data_dir: Path,
    results_dir: Path,
    limit: int | None = None,
    config: AdaptConfig | None = None,
    methods: tuple[str, ...] = ("scrapseg", *RIVALS),
) -> tuple[pd.DataFrame, dict]:
    """The study's table, and what stands beside it; its figure is saved.

    Args:
        limit: images of each split, for a quick look. methods: slugs of the first part.
    """
    config, test = config or AdaptConfig(**FIRST), ScrapSim(data_dir, "test", limit=limit)
    models = [*map(trained, methods), *adapting(data_dir, limit, config)]
    table = cells(models, test)
    save_figure(draw(table), results_dir, "corruptions")
    beside = {"models": {m.slug: m.sha256 for m in models}, "strengths": STRENGTHS}
    beside |= {"adapted": {"level": MIDDLE, "steps": config.steps, "seed": config.seed}}
    return table, beside | {"sha256": test.sha256}
