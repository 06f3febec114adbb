"""A few labels on photographs of steel: what are the photographs without labels worth beside them?

    SCRAPSEG_DATA=... python -m making.studies steel_labels --results results/real

A plant's folder, of val's half: its photographs of steel without labels, and `LABELS` composites
(`making.studies.composite`) with labels; so nothing without a label shows an impurity. The same
minutes are spent in each of `WAYS`, on the same folder with the same seed. What came of them is
measured once, on test's composites and on test's photographs of the yard: other
photographs of steel, pieces cut out of others. With one thread the minutes are of processor time.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image

from making.studies.adaptation import photographs
from making.studies.composite import PIECE_SIDE, Composites, steel_photos
from making.studies.few_labels import METHODS, drawn, measure, plain
from scrapseg.app.finetune import MOST_STEEL, tune
from scrapseg.data.base import shrunk
from scrapseg.data.classes import CLASSES, as_yaml
from scrapseg.data.folder import OwnFolder, open_folder, read_photo
from scrapseg.experiments.records import save_table
from scrapseg.models.segmenter import SIDE, starting_model
from scrapseg.train.adapt import read_photos
from scrapseg.train.loop import TrainConfig

SEEDS = (0, 1, 2)
LABELS, MINUTES, CONFIG = 8, 5.0, TrainConfig(evals=3)
#: The labelled images alone; and, as `make apply` does, photographs of steel beside them.
WAYS = ("labels", "both")
KEYS = ["way", "labels", "seed", "minutes"]
#: Steel and what composites have of impurities.
SHOWN = [c for c in CLASSES if c.index == 0 or c.slug in PIECE_SIDE]


def export(composites: Composites, ids: list[str], folder: Path) -> Path:
    """A folder of one's own with these composites and their masks."""
    value = np.zeros(len(CLASSES), np.uint8)
    value[[c.index for c in SHOWN]] = range(len(SHOWN))
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for id in ids:
        sample = composites.sample(id)
        Image.fromarray(sample.image).save(folder / f"images/{id}.png")
        Image.fromarray(value[sample.label]).save(folder / f"masks/{id}.png")
    (folder / "classes.yaml").write_text(yaml.safe_dump(as_yaml(SHOWN), sort_keys=False))
    return folder


def plant(root: Path, folder: Path, seed: int) -> OwnFolder:
    """The folder that is learned from: `LABELS` composites, drawn, with labels; all photographs."""
    composites = Composites(root, "val")
    held = {id: {o["class"] for o in m["instances"]} for id, m in composites.meta.items()}
    export(composites, drawn(held, composites.ids, LABELS, seed), folder)
    for path in steel_photos(root, "val"):
        name = f"images/{path.parent.name}-{path.name}"  # numbers begin anew in each of its folders
        (folder / name).write_bytes(path.read_bytes())
    return open_folder(folder)


def ours(
    way: str, folder: OwnFolder, config: TrainConfig, minutes: float, now: Callable[[], float]
) -> tuple[Callable[[np.ndarray], np.ndarray], dict]:
    """What `tune` makes of a folder in one of `WAYS`: what labels an image, and what is to be said
    of it."""
    starts = {
        "scrapsim": starting_model(folder.classes),
        "aligned": starting_model(folder.classes, shipped=False),
    }
    bare = [path for id, path in folder.files.items() if id not in folder.labelled]
    steel = read_photos(bare, SIDE, config.seed, most=MOST_STEEL) if way == "both" else []
    tuned = tune(starts, folder, config, minutes=minutes, steel=steel, now=now)
    told = {k: tuned.summary[k] for k in ("threshold", "miss_rate")}
    told |= {"steps": tuned.summary["step"]}
    told |= {"start": tuned.segmenter.origin.split("from ")[1].split(":")[0]}
    return lambda image: tuned.segmenter.predict(image).label, told


def on_yard(label: Callable[[np.ndarray], np.ndarray], root: Path) -> dict[str, float]:
    """Objects on a photograph of test's steel, on average, and the share of its photographs of
    motors, stators and copper lumps that show one."""
    rows, counting = [], starting_model()
    for group, path in photographs(root, "test"):
        said = label(shrunk(read_photo(path), SIDE))
        objects = counting.objects(said, (said > 0).astype(np.float32))[2]
        rows.append((group == "steel", len(objects)))
    steel, objects = np.array(rows).T
    found = {"false_objects": float(objects[steel == 1].mean())}
    return found | {"flagged": float((objects[steel == 0] > 0).mean())}


def make(
    _: Path, results: Path, minutes: float = MINUTES, config: TrainConfig = CONFIG
) -> tuple[pd.DataFrame, dict]:
    """All runs that are not in the table yet, each written when it is done.

    Returns:
        The table: way (one of `WAYS`, or "segformer": labels, the plain thing), labels, seed,
        minutes, threshold, start, miss_rate (by folds), steps, miou, miou_impurity,
        false_objects, flagged. And what stands beside it.
    """
    path, root = results / "tables" / "steel_labels.csv", Path(os.environ["SCRAPSEG_DATA"]) / "real"
    composites = Composites(root, "test")
    rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
    alone = torch.get_num_threads() == 1
    now = time.process_time if alone else time.perf_counter
    for seed, way in itertools.product(SEEDS, [*WAYS, "segformer"]):
        row = dict(zip(KEYS, (way, LABELS, seed, minutes), strict=True))
        if any(all(r[k] == row[k] for k in KEYS) for r in rows):
            continue
        with tempfile.TemporaryDirectory() as made:
            folder = plant(root, Path(made) / "train", seed)
            test = open_folder(export(composites, composites.ids, Path(made) / "test"))
            setting = replace(config, seed=seed, **METHODS.get(way, METHODS["scrapseg"]))
            if way in WAYS:
                label, told = ours(way, folder, setting, minutes, now)
            else:
                label, told = plain(folder, setting, minutes, now)
            rows.append(row | told | measure(label, test) | on_yard(label, root))
        save_table(pd.DataFrame(rows).sort_values(KEYS), results, "steel_labels")
    beside = {"config": asdict(config), "clock": now.__name__, "threads": torch.get_num_threads()}
    return pd.DataFrame(rows), beside | {"sha256": composites.sha256}
