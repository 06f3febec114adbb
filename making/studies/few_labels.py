"""Few labels on photographs: fine-tuning ours against a plain SegFormer, at equal minutes.

    SCRAPSEG_DATA=... python -m making.studies few_labels --results results/real

Each set becomes a folder of one's own with a few labelled images of its train split (of ScrapSim,
whose train split our model knows, of val, now and then two of one heap): `tune` gets it as a
user's. Beside it stands the model that comes along as it is, without labels. The plain thing starts
from the same ImageNet weights and trains on the same images, with the same augmentation, sampler
and loss, for all of the minutes; it is a SegFormer decoder as segmentation-models-pytorch has it,
takes the most likely class, and looks at an image and at its mirror image, as what `tune` gives
does. Test images are looked at once, at the end of each run. With one thread the minutes are of
processor time, so that they are equal whatever else the machine does.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import segmentation_models_pytorch as smp
import torch
import yaml
from PIL import Image
from torch.nn import functional as F
from tqdm import tqdm

from scrapseg import metrics
from scrapseg.app.finetune import RATES, Clock, train_on, tune
from scrapseg.baselines.supervised import SupervisedNet
from scrapseg.data import base
from scrapseg.data.belt_waste import BeltWaste
from scrapseg.data.cables import Cables
from scrapseg.data.classes import as_yaml
from scrapseg.data.folder import OwnFolder, open_folder
from scrapseg.data.magnetic_tile import MagneticTile
from scrapseg.data.photographs import Photographs
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.records import save_table
from scrapseg.files import REPOSITORY
from scrapseg.models.segmenter import SIDE, Segmenter, starting_model
from scrapseg.models.tiles import normalised
from scrapseg.train.loop import TrainConfig

SEEDS = (0, 1, 2)
MINUTES, CONFIG = 2.5, TrainConfig(evals=3)
#: Rates of the head and of the encoder's deepest layer. SegFormer was tried with ours, too, on
#: another draw of Magnetic-Tile: mIoU .560, with these .563.
METHODS = {"scrapseg": RATES, "segformer": {"lr": 2e-3, "encoder_lr": 1e-3}, "no labels": {}}
KEYS = ["dataset", "method", "labels", "seed", "minutes"]


@dataclass(frozen=True)
class Task:
    """A data set, the number of labelled images, and which impurities, all where none is named."""

    data: Callable[[str], Photographs | ScrapSim]  # by split
    labels: int
    only: tuple[str, ...] = ()

    def export(self, split: str, root: Path, seed: int | None = None) -> Path:
        """A folder of one's own, of `labels` images by a seed, else of all."""
        data = self.data(split)
        slugs = [data.classes[0].slug, *(self.only or (c.slug for c in data.classes[1:]))]
        held = {i: {o["class"] for o in data.meta[i]["instances"]} for i in data.ids}
        ids = [i for i in data.ids if held[i] <= set(slugs) and (held[i] or not self.only)]
        for part in ("images", "masks"):
            (root / part).mkdir(parents=True)
        for id in ids if seed is None else drawn(held, ids, self.labels, seed):
            photo, label = data.files(data.root, data.meta[id])
            (root / "images" / f"{id}{photo.suffix}").write_bytes(photo.read_bytes())
            full = data.full_label(data.meta[id], label)
            index = [slugs.index(c.slug) if c.slug in slugs else 0 for c in data.classes]
            Image.fromarray(np.array(index, np.uint8)[full]).save(root / f"masks/{id}.png")
        classes = as_yaml([c for c in data.classes if c.slug in slugs])
        (root / "classes.yaml").write_text(yaml.safe_dump(classes, sort_keys=False))
        return root


@dataclass(frozen=True)
class RenderedTask(Task):
    """ScrapSim, which our model knows."""

    def export(self, split: str, root: Path, seed: int | None = None) -> Path:
        """As `Task.export`; in place of train, val."""
        data = self.data("val" if split == "train" else split)
        held = {i: {o["class"] for o in data.meta[i]["instances"]} for i in data.ids}
        for id in data.ids if seed is None else drawn(held, data.ids, self.labels, seed):
            for part in ("images", "labels"):
                file = data.path(id, part)
                (root / part).mkdir(parents=True, exist_ok=True)
                (root / part / file.name).write_bytes(file.read_bytes())
        return root


TASKS = {
    "belt-waste": Task(BeltWaste, 8),
    "cables": Task(Cables, 8),
    "magnetic-tile": Task(MagneticTile, 24, ("blowhole", "break", "uneven")),
    "scrapsim": RenderedTask(partial(ScrapSim, REPOSITORY / "data" / "scrapsim"), 8),
}


def drawn(held: dict[str, set[str]], ids: list[str], count: int, seed: int) -> list[str]:
    """Random images, the classes that were drawn least next, as a person would choose them."""
    order = np.random.default_rng(seed).permutation(ids).tolist()
    chosen, times = [], Counter()
    for _ in range(count):
        rest = [i for i in order if i not in chosen]
        chosen.append(max(rest, key=lambda i: sum(1 / (1 + times[c]) ** 2 for c in held[i])))
        times.update(held[chosen[-1]])
    return sorted(chosen)


def ours(
    folder: OwnFolder, config: TrainConfig, minutes: float, now: Callable[[], float]
) -> tuple[Callable[[np.ndarray], np.ndarray], dict]:
    """`tune`: what labels an image, and what is to be said of it."""
    starts = {
        "scrapsim": starting_model(folder.classes),
        "aligned": starting_model(folder.classes, shipped=False),
    }
    tuned = tune(starts, folder, config, minutes=minutes, now=now)
    chosen = tuned.segmenter.origin.split("from ")[1].split(":")[0]
    told = {"steps": tuned.summary["step"], "start": chosen}
    told |= {"threshold": tuned.summary["threshold"], "miss_rate": tuned.summary["miss_rate"]}
    return lambda image: tuned.segmenter.predict(image).label, told


def plain(
    folder: OwnFolder, config: TrainConfig, minutes: float, now: Callable[[], float]
) -> tuple[Callable[[np.ndarray], np.ndarray], dict]:
    """SegFormer from ImageNet weights, trained on all labelled images in all of the time."""
    clock = Clock(minutes, now)
    torch.manual_seed(config.seed)
    net = SupervisedNet(smp.Segformer, len(folder.classes))
    images = folder.images(list(folder.labelled), "labelled", limit_side=SIDE)
    start = Segmenter(net, folder.classes)
    clock.time_step(start, images, config)
    config = replace(config, steps=clock.steps(1.0)[0], evals=1)
    model = train_on(start, images, images.ids, config, lambda _: 0.0, "SegFormer")[0].model

    @torch.inference_mode()
    def label(image: np.ndarray) -> np.ndarray:
        x = normalised(model, base.shrunk(image, SIDE)[None].copy())
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % 32, 0, -height % 32), mode="replicate")
        p = sum(model(v).logits.softmax(1).flip(k) for v, k in ((x, ()), (x.flip(3), (3,))))
        best = p[..., :height, :width].argmax(1, keepdim=True)
        best = F.interpolate(best.float(), size=image.shape[:2], mode="nearest-exact")
        return best[0, 0].numpy().astype(np.uint8)

    return label, {"steps": config.steps, "start": "imagenet"}


def as_it_is(folder: OwnFolder, *_) -> tuple[Callable[[np.ndarray], np.ndarray], dict]:
    """The model that comes along, with its own threshold."""
    start = starting_model(folder.classes)
    told = {"steps": 0, "start": "scrapsim", "threshold": start.threshold}
    return lambda image: start.predict(image).label, told


def measure(label: Callable[[np.ndarray], np.ndarray], test: OwnFolder) -> dict[str, float]:
    """Mean IoU over the pixels of all test images at their own size."""
    images, table = test.images(), 0
    for id in tqdm(images.ids, desc="test", unit="image", leave=False):
        sample = images.sample(id)
        table += metrics.confusion(label(sample.image)[None], sample.label[None], len(test.classes))
    found = metrics.class_metrics(table[0], [c.slug for c in test.classes])
    return {"miou": found["miou"], "miou_impurity": found["miou_impurity"]}


def make(
    _: Path, results: Path, minutes: float = MINUTES, config: TrainConfig = CONFIG
) -> tuple[pd.DataFrame, dict]:
    """All runs that are not in the table yet, each written when it is done.

    Returns:
        The table: dataset, method, labels, seed, minutes, steps, start, threshold, miss_rate (by
        folds), miou, miou_impurity. And what stands beside it.
    """
    path = results / "tables" / "few_labels.csv"
    rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
    alone = torch.get_num_threads() == 1
    now = time.process_time if alone else time.perf_counter
    makers = {"scrapseg": ours, "segformer": plain, "no labels": as_it_is}
    for method, seed, (name, task) in itertools.product(METHODS, SEEDS, TASKS.items()):
        row = dict(zip(KEYS, (name, method, task.labels, seed, minutes), strict=True))
        if method == "no labels" and seed != SEEDS[0]:  # it is the same one
            continue
        if any(all(r[k] == row[k] for k in KEYS) for r in rows):
            continue
        with tempfile.TemporaryDirectory() as made:
            folder = open_folder(task.export("train", Path(made) / "train", seed))
            test = open_folder(task.export("test", Path(made) / "test"))
            setting = replace(config, seed=seed, **METHODS[method])
            label, told = makers[method](folder, setting, minutes, now)
            rows.append(row | told | measure(label, test))
        save_table(pd.DataFrame(rows).sort_values(KEYS), results, "few_labels")
    hashes = [task.data("test").sha256 for task in TASKS.values()]
    beside = {"config": asdict(config), "rates": METHODS, "clock": now.__name__}
    beside["threads"] = torch.get_num_threads()
    return pd.DataFrame(rows), beside | {"sha256": "+".join(hashes)}
