"""Choosing images: few shots, a limited number, the normal ones, and how often each is drawn.

All of it works on the records of any ``LabelledImages``, without opening an image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from scrapseg.data.base import LabelledImages
from scrapseg.data.errors import NotEnoughShots


def class_pixels(record: Mapping[str, Any]) -> Counter[str]:
    """Visible pixels of each impurity class in one image, by slug."""
    pixels: Counter[str] = Counter()
    for instance in record["instances"]:
        pixels[instance["class"]] += instance["pixels"]
    return pixels


def few_shot_ids(dataset: LabelledImages, shots: int | Literal["all"], seed: int) -> list[str]:
    """Draw a few-shot training set: ``shots`` labelled scenes per impurity class.

    The draw goes in rounds. Round ``r`` walks the classes in their fixed order and adds random
    scenes until ``r`` of the chosen scenes hold the class, that is, show at least ``min_pixels``
    pixels of it in one view. A set of ``k`` shots is the state after round ``k``, so with one seed
    the sets are nested: 1 shot lies in 2 shots, and so on. Scenes often hold several classes, so a
    class may get more than ``k``; no class gets fewer. Normal scenes, without impurity in any
    view, are added at the rate they have in the data set. A scene comes with all its views. Where
    records have a ``shot``, images that share it stand for the scene.

    Args:
        dataset: a training split.
        shots: scenes per class, at least 1, or ``"all"`` for every image.
        seed: seed of the draw.

    Returns:
        Ids in the data set's order.

    Raises:
        ValueError: ``shots`` is neither ``"all"`` nor a whole number of at least 1.
        NotEnoughShots: a class has fewer scenes than ``shots``.
    """
    if shots == "all":
        return list(dataset.ids)
    if isinstance(shots, bool) or not isinstance(shots, int) or shots < 1:
        raise ValueError(f"shots is {shots!r}, must be 'all' or a whole number of at least 1")

    held: dict[int, set[str]] = {}  # scene -> classes one of its views shows well
    shows_any: dict[int, bool] = {}
    for id in dataset.ids:
        record = dataset.meta[id]
        scene = shot_of(record)
        held.setdefault(scene, set()).update(
            c for c, pixels in class_pixels(record).items() if pixels >= dataset.min_pixels
        )
        shows_any[scene] = shows_any.get(scene, False) or bool(record["instances"])
    normal = [s for s in held if not shows_any[s]]

    impurities = dataset.classes[1:]
    for c in impurities:
        available = sum(c.slug in h for h in held.values())
        if available < shots:
            raise NotEnoughShots(
                f"{dataset.root}: split {dataset.split!r} has {available} scenes that hold "
                f"{c.slug!r}, {shots} shots were asked for; ask for fewer shots or add scenes"
            )

    # One stream of random numbers per purpose: the order of normal scenes must not depend on how
    # many draws the classes took, or the sets would not be nested.
    class_stream, normal_stream = np.random.default_rng(seed).spawn(2)
    queues = {
        c.slug: [int(s) for s in class_stream.permutation([s for s in held if c.slug in held[s]])]
        for c in impurities
    }
    chosen: set[int] = set()
    for round_ in range(1, shots + 1):
        for c in impurities:
            while sum(c.slug in held[s] for s in chosen) < round_:
                chosen.add(next(s for s in queues[c.slug] if s not in chosen))
    normals_wanted = round(len(chosen) * len(normal) / (len(held) - len(normal)))
    chosen.update(int(s) for s in normal_stream.permutation(normal)[:normals_wanted])
    return [i for i in dataset.ids if shot_of(dataset.meta[i]) in chosen]


def first_mixed(records: list[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """The first ``limit`` records of a fixed order that mixes normal images and all classes.

    Normal images come at the rate they have in ``records``; the others so that the classes seen
    least so far come next. The records chosen keep the order they had.
    """
    normal = [r for r in records if not r["instances"]]
    impure = [r for r in records if r["instances"]]
    rate = len(normal) / len(records)
    seen: Counter[str] = Counter()
    chosen: list[dict[str, Any]] = []
    normals_taken = 0
    while len(chosen) < min(limit, len(records)):
        due = rate * (len(chosen) + 1) - normals_taken >= 1
        if normals_taken < len(normal) and (due or not impure):
            chosen.append(normal[normals_taken])
            normals_taken += 1
            continue
        best = max(impure, key=lambda r: sum(1 / (1 + seen[c]) ** 2 for c in class_pixels(r)))
        impure.remove(best)
        seen.update(set(class_pixels(best)))
        chosen.append(best)
    return sorted(chosen, key=lambda r: r["id"])


def shot_of(record: Mapping[str, Any]) -> int:
    """What one shot of an image's data set is: its ``shot``, or else its scene."""
    return record.get("shot", record["scene"])


def balanced_weights(dataset: LabelledImages, ids: Sequence[str]) -> torch.Tensor:
    """How often to draw each image so that every class is drawn equally often.

    Drawing with these weights is the same as first drawing one of the classes present among
    ``ids`` (images without impurity being one more class), all alike, then one of its images, all
    alike. An image with several classes can be drawn by way of each.

    Args:
        dataset: where the images are.
        ids: the images to weigh.

    Returns:
        float64 (len(ids),), all above 0, summing to 1.
    """
    groups = [set(class_pixels(dataset.meta[i])) or {dataset.classes[0].slug} for i in ids]
    sizes = Counter(c for held in groups for c in held)
    weights = [sum(1 / sizes[c] for c in held) / len(sizes) for held in groups]
    return torch.tensor(weights, dtype=torch.float64)
