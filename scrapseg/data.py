"""Images and labels: reading ScrapSim, counting it, drawing few shots, feeding a network.

From top to bottom: named errors; the checksum check; ``Sample`` and ``ScrapSim``, which read a
data set from disk; ``composition`` and ``instances_table``, which count it; ``few_shot_ids`` and
``normal_ids``, which choose images; and last the torch side, the weights of class-balanced drawing
and ``SegDataset``.

On disk, a ScrapSim folder holds ``images/<id>.jpg``, ``labels/<id>.png`` (palette image whose
values are the class indices of ``scrapseg.classes``), ``instances/<id>.png`` (0 is no impurity,
``k`` is instance ``k`` of the image), ``metadata.jsonl`` (one JSON object per image) and
``checksums.sha256`` (in the format of ``sha256sum``, over all files but itself). An id is
``<scene>_<view>``; the split goes by scene, so the two views of a scene never part.

    >>> from scrapseg.data import ScrapSim
    >>> train = ScrapSim("data/scrapsim", "train")          # doctest: +SKIP
    >>> train[0].image.shape, train[0].label.max()          # doctest: +SKIP
    ((384, 384, 3), 8)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy import ndimage
from torch.utils.data import Dataset
from torchvision import tv_tensors
from tqdm import tqdm

from scrapseg.classes import CLASSES, SLUGS, STEEL, ScrapClass
from scrapseg.results import WriteFailed, atomic_write

SPLITS = ("train", "val", "test")
MIN_PIXELS = 60
"""A scene of ScrapSim holds a class for few-shot drawing when a view shows this many pixels."""


class DataError(Exception):
    """Something is wrong with a data set; the message is one line: file, fault, remedy."""


class MissingFile(DataError):
    """A file the data set should have is not there."""


class ChecksumMismatch(DataError):
    """A file's content is not what ``checksums.sha256`` says."""


class BrokenImage(DataError):
    """An image file cannot be decoded, for example because it was cut short."""


class SizeMismatch(DataError):
    """A label or instance image has another size than its photograph."""


class UnknownLabel(DataError):
    """A label image, or the metadata, names a class that does not exist."""


class EmptySplit(DataError):
    """No image belongs to the split asked for."""


class NotEnoughShots(DataError):
    """A class has fewer labelled scenes than shots were asked for."""


_RESTORE = "fetch the data set again or restore it with git"


# --- checksums --------------------------------------------------------------------------------


def verify_checksums(root: str | os.PathLike[str]) -> str:
    """Check every file of a data set against ``checksums.sha256``, fully only once.

    A full check reads all files (60 MB take about a second). When it passes, a stamp
    ``<root>/.verified`` keeps the checksum file's own hash and a fingerprint of every file's size
    and time of change; as long as both stay the same, later calls only look at those. A folder
    that cannot be written gets no stamp and is read in full each time.

    Args:
        root: folder of the data set.

    Returns:
        The sha256 of ``checksums.sha256`` as 64 hexadecimal digits: it names the whole data set.

    Raises:
        MissingFile: the checksum file, or files it lists, are missing.
        ChecksumMismatch: files differ from the list. Both name every file concerned.
        DataError: a line of the checksum file cannot be read.
    """
    root = Path(root)
    listing = root / "checksums.sha256"
    text = _read_text(listing)
    digest = hashlib.sha256(text.encode()).hexdigest()
    wanted: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        value, gap, name = line.partition("  ")
        if len(value) != 64 or not gap or not name:
            raise DataError(f"{listing}, line {number}: not a sha256sum line; {_RESTORE}")
        wanted[name] = value

    stamp = root / ".verified"
    mark = {"checksums": digest, "fingerprint": _fingerprint(root, wanted)}
    try:
        if json.loads(stamp.read_text()) == mark:
            return digest
    except (OSError, ValueError):
        pass  # no stamp, or not one of ours: check in full

    missing, wrong = [], []
    # The bar appears only when the check is slow, on a cold disk or a large data set.
    for name, value in tqdm(wanted.items(), desc="checksums", unit="file", delay=2, leave=False):
        try:
            found = hashlib.sha256((root / name).read_bytes()).hexdigest()
        except FileNotFoundError:
            missing.append(name)
        else:
            if found != value:
                wrong.append(name)
    if wrong:
        also = f"; missing too: {', '.join(missing)}" if missing else ""
        raise ChecksumMismatch(
            f"{root}: content differs from checksums.sha256: {', '.join(wrong)}{also}; {_RESTORE}"
        )
    if missing:
        raise MissingFile(f"{root}: files are missing: {', '.join(missing)}; {_RESTORE}")
    with contextlib.suppress(WriteFailed):  # a read-only data set is fine, only slower to open
        atomic_write(stamp, json.dumps(mark))
    return digest


def _fingerprint(root: Path, names: Iterable[str]) -> str:
    """A hash over the sizes and times of change of the files, or of their absence."""
    seen = hashlib.sha256()
    for name in sorted(names):
        try:
            stat = (root / name).stat()
            seen.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        except FileNotFoundError:
            seen.update(f"{name} missing\n".encode())
    return seen.hexdigest()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFile(f"{path}: file is missing; {_RESTORE}") from None


# --- reading ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes:
        id: in ScrapSim ``<scene>_<view>``.
        image: uint8 (H, W, 3), red, green, blue.
        label: uint8 (H, W), class index of each pixel.
        instances: integer (H, W), 0 where there is no impurity, else the instance's number,
            which is its ``id`` in ``meta["instances"]``.
        scene: number of the scene; views of one scene share it.
        meta: the image's metadata record, in ScrapSim as it stands in ``metadata.jsonl``.
    """

    id: str
    image: np.ndarray
    label: np.ndarray
    instances: np.ndarray
    scene: int
    meta: dict[str, Any]


class LabelledImages(Protocol):
    """What the rest of the package asks of one split of a data set, whatever its classes.

    Attributes:
        name: slug of the data set in run records.
        classes: its classes in the order of their label values, the normal one first.
        templates: names of ``prompts.TEMPLATES`` that suit its pictures.
        min_pixels: a scene holds a class for few-shot drawing when a view shows this many pixels.
        root, split: where it lies, and which part this is.
        sha256: hash that names the data, for run records.
        ids: ids of the images, in the order of the sequence.
        meta: id -> record with at least ``scene`` (int: what must not be parted, and what intervals
            are drawn over) and ``instances``, a list of objects with ``id``, ``class`` (a slug) and
            ``pixels``. A record may have ``shot`` (int): the unit of few-shot drawing, where that
            is not the scene.
    """

    name: str
    classes: Sequence[ScrapClass]
    templates: Sequence[str]
    min_pixels: int
    root: Path
    split: str
    sha256: str | None
    ids: list[str]
    meta: dict[str, dict[str, Any]]

    def sample(self, id: str) -> Sample:
        """Read one image with its label; ``DataError`` says which file is at fault."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class SamplesById(Sequence[Sample]):
    """The samples of ``ids``, in that order, each read by ``sample`` when it is asked for."""

    ids: list[str]

    @abstractmethod
    def sample(self, id: str) -> Sample:
        """Read one image with its label."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return self.sample(self.ids[index])


class ScrapSim(SamplesById):
    """One split of a ScrapSim folder, as a sequence of ``Sample``; images are read when asked for.

    Args:
        root: folder of the data set.
        split: ``train``, ``val`` or ``test``.
        verify: check the folder with ``verify_checksums`` first.
        limit: keep only this many images, for quick runs. The choice is fixed, holds the split's
            share of images without impurities, covers the classes as evenly as it can, and a
            larger limit contains a smaller one.

    Attributes:
        name, classes, templates, min_pixels: see ``LabelledImages``.
        root, split: as given.
        ids: ids of the images, in the order of the sequence (ascending).
        meta: metadata record of each id.
        sha256: hash of the checksum file, the data set's name in run records; ``None`` when
            there is no such file and ``verify`` is off.

    Raises:
        ValueError: no such split, or a limit below 1.
        EmptySplit: no image belongs to the split.
        MissingFile, ChecksumMismatch, UnknownLabel, DataError: the folder is damaged.
    """

    name = "scrapsim"
    classes = CLASSES
    templates = ("word", "photo", "scrap", "close-up")
    min_pixels = MIN_PIXELS

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str,
        *,
        verify: bool = True,
        limit: int | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, must be one of {', '.join(SPLITS)}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit is {limit}, must be at least 1")
        self.root = Path(root)
        self.split = split
        if not self.root.is_dir():
            raise MissingFile(f"{self.root}: no such folder; {_RESTORE}")
        self.sha256: str | None = None
        if verify:
            self.sha256 = verify_checksums(self.root)
        elif (self.root / "checksums.sha256").exists():
            self.sha256 = hashlib.sha256((self.root / "checksums.sha256").read_bytes()).hexdigest()

        path = self.root / "metadata.jsonl"
        records = [r for r in _read_records(path) if r["split"] == split]
        if not records:
            raise EmptySplit(f"{path}: no image of split {split!r}; {_RESTORE}")
        records.sort(key=lambda r: r["id"])
        if limit is not None:
            records = first_mixed(records, limit)
        self.ids: list[str] = [r["id"] for r in records]
        self.meta: dict[str, dict[str, Any]] = {r["id"]: r for r in records}

    def __repr__(self) -> str:
        return f"ScrapSim({str(self.root)!r}, {self.split!r}): {len(self)} images"

    def path(self, id: str, part: Literal["images", "labels", "instances"]) -> Path:
        """The file of an image (``images``), its label or its instances."""
        return self.root / part / f"{id}{'.jpg' if part == 'images' else '.png'}"

    def sample(self, id: str) -> Sample:
        """Read one image with its label and instances.

        Raises:
            KeyError: no such id in this split.
            MissingFile: one of the three files is not there.
            BrokenImage: one of them cannot be decoded.
            SizeMismatch: label or instances differ in size from the image.
            UnknownLabel: the label is no single-channel image, or has a value beyond the classes.
        """
        meta = self.meta[id]
        image = read_image(self.path(id, "images"), as_rgb=True)
        masks = []
        for part in ("labels", "instances"):
            path = self.path(id, part)
            mask = read_image(path)
            if mask.ndim != 2:
                raise UnknownLabel(
                    f"{path}: has {mask.shape[2]} channels, not one; "
                    "save it as a palette or grey PNG"
                )
            if mask.shape != image.shape[:2]:
                raise SizeMismatch(
                    f"{path}: is {mask.shape[1]} x {mask.shape[0]} pixels, its image "
                    f"{image.shape[1]} x {image.shape[0]}; save the mask at the image's size"
                )
            masks.append(mask)
        label, instances = masks
        if label.max() >= len(CLASSES):
            values = sorted(int(v) for v in np.unique(label) if v >= len(CLASSES))
            raise UnknownLabel(
                f"{self.path(id, 'labels')}: label values {values} are outside "
                f"0..{len(CLASSES) - 1}; map them to the classes of scrapseg/classes.py"
            )
        return Sample(id, image, label.astype(np.uint8), instances, int(meta["scene"]), meta)


def read_image(path: Path, as_rgb: bool = False, remedy: str = _RESTORE) -> np.ndarray:
    """Pixels of an image file: (H, W, 3) when ``as_rgb``, else as stored (palette indices stay).

    Raises:
        MissingFile, BrokenImage: the message ends in ``remedy``.
    """
    try:
        with Image.open(path) as opened:
            return np.array(opened.convert("RGB") if as_rgb else opened)
    except FileNotFoundError:
        raise MissingFile(f"{path}: file is missing; {remedy}") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on damaged files
        raise BrokenImage(f"{path}: cannot be decoded ({error}); {remedy}") from None


def _read_records(path: Path) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        try:
            record = json.loads(line)
            record["id"], record["scene"], record["split"]
            slugs = {i["class"] for i in record["instances"]}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}, line {number}: not a record ({error!r}); {_RESTORE}"
            ) from None
        if not slugs <= set(SLUGS):
            raise UnknownLabel(
                f"{path}, line {number}: unknown classes {sorted(slugs - set(SLUGS))}; "
                f"known are {', '.join(SLUGS)}"
            )
        records.append(record)
    return records


def _class_pixels(record: Mapping[str, Any]) -> Counter[str]:
    """Visible pixels of each impurity class in one image, by slug."""
    pixels: Counter[str] = Counter()
    for instance in record["instances"]:
        pixels[instance["class"]] += instance["pixels"]
    return pixels


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
        best = max(impure, key=lambda r: sum(1 / (1 + seen[c]) ** 2 for c in _class_pixels(r)))
        impure.remove(best)
        seen.update(set(_class_pixels(best)))
        chosen.append(best)
    return sorted(chosen, key=lambda r: r["id"])


def components(label: np.ndarray, classes: Sequence[ScrapClass]) -> tuple[np.ndarray, list[dict]]:
    """Instances of a label image that came without: 8-connected regions of one class.

    Args:
        label: integer (H, W), class index of each pixel, 0 normal.
        classes: the data set's, in order of their index.

    Returns:
        int32 (H, W), 0 where normal, else the number of the region; and the regions' records
        (``id``, ``class``, ``pixels``), as in ``meta["instances"]``.
    """
    instances = np.zeros(label.shape, np.int32)
    for c in classes[1:]:
        regions, _ = ndimage.label(label == c.index, np.ones((3, 3)))
        instances[regions > 0] = regions[regions > 0] + instances.max()
    numbers, firsts, pixels = np.unique(instances, return_index=True, return_counts=True)
    slugs = {c.index: c.slug for c in classes}
    rows = [
        {"id": int(n), "class": slugs[int(label.flat[first])], "pixels": int(count)}
        for n, first, count in zip(numbers, firsts, pixels, strict=True)
        if n > 0
    ]
    return instances, rows


# --- counting ---------------------------------------------------------------------------------


def composition(datasets: Iterable[ScrapSim]) -> pd.DataFrame:
    """What each split holds, class by class.

    Args:
        datasets: splits of ScrapSim.

    Returns:
        One row per split and class, with columns ``split``, ``class`` (slug), ``scenes``,
        ``images`` and ``instances`` that show it, ``pixels``, and ``pixel_share`` (of all pixels
        of the split, 0..1). Steel counts every image and no instances.

    Raises:
        MissingFile, BrokenImage: an image's header cannot be read (steel's pixels need its size).
    """
    rows = []
    for data in datasets:
        total = sum(_pixel_count(data.path(i, "images")) for i in data.ids)
        counts = {i: _class_pixels(data.meta[i]) for i in data.ids}
        for c in CLASSES:
            if c is STEEL:
                holding, instances = data.ids, 0
                pixels = total - sum(n.total() for n in counts.values())
            else:
                holding = [i for i in data.ids if counts[i][c.slug] > 0]
                pixels = sum(counts[i][c.slug] for i in data.ids)
                instances = sum(
                    k["class"] == c.slug for i in data.ids for k in data.meta[i]["instances"]
                )
            rows.append(
                {
                    "split": data.split,
                    "class": c.slug,
                    "scenes": len({data.meta[i]["scene"] for i in holding}),
                    "images": len(holding),
                    "instances": instances,
                    "pixels": pixels,
                    "pixel_share": pixels / total,
                }
            )
    return pd.DataFrame(rows)


def _pixel_count(path: Path) -> int:
    """Width times height, from the file's header alone."""
    try:
        with Image.open(path) as opened:
            return opened.width * opened.height
    except FileNotFoundError:
        raise MissingFile(f"{path}: file is missing; {_RESTORE}") from None
    except OSError as error:
        raise BrokenImage(f"{path}: cannot be decoded ({error}); {_RESTORE}") from None


def instances_table(dataset: ScrapSim) -> pd.DataFrame:
    """Every impurity instance of a split, one row each.

    Returns:
        Columns ``id`` (of the image), ``scene``, ``setting`` (``heap`` or ``belt``), ``instance``
        (its number in the instance image), ``class`` (slug), ``pixels`` (visible),
        ``visible_fraction`` (visible pixels over those it would show with nothing in front of
        it, 0..1) and ``mass_kg``.
    """
    columns = ["id", "scene", "setting", "instance", "class", "pixels", "visible_fraction"]
    rows = [
        {
            "id": id,
            "scene": record["scene"],
            "setting": record["setting"],
            "instance": k["id"],
            **{key: k[key] for key in ("class", "pixels", "visible_fraction", "mass_kg")},
        }
        for id, record in dataset.meta.items()
        for k in record["instances"]
    ]
    return pd.DataFrame(rows, columns=[*columns, "mass_kg"])


# --- choosing ---------------------------------------------------------------------------------


def normal_ids(dataset: LabelledImages) -> list[str]:
    """Ids of the images that show no impurity at all, in the data set's order."""
    return [i for i in dataset.ids if not dataset.meta[i]["instances"]]


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
            c for c, pixels in _class_pixels(record).items() if pixels >= dataset.min_pixels
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
    groups = [set(_class_pixels(dataset.meta[i])) or {dataset.classes[0].slug} for i in ids]
    sizes = Counter(c for held in groups for c in held)
    weights = [sum(1 / sizes[c] for c in held) / len(sizes) for held in groups]
    return torch.tensor(weights, dtype=torch.float64)


# --- for torch --------------------------------------------------------------------------------


class SegDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Images and labels of a data set as tensors, decoded once and kept in memory.

    Item ``i`` is ``(image, mask)`` of ``ids[i]``: a uint8 ``tv_tensors.Image`` (3, H, W) and a
    uint8 ``tv_tensors.Mask`` (H, W), passed together through ``transform``. After either
    transform of ``scrapseg.augment`` they are a normalised float32 (3, H, W) and an int64
    (H, W). Memory: 0.6 MB per image of 384 x 384.

    Args:
        dataset: where the images are.
        ids: which of them, in this order; all by default.
        transform: called as ``transform(image, mask)``; none by default.

    Raises:
        KeyError: an id is not in the data set.
        DataError: on reading an item, whatever ``dataset.sample`` raises.
    """

    def __init__(
        self,
        dataset: LabelledImages,
        ids: Sequence[str] | None = None,
        transform: Callable[[torch.Tensor, torch.Tensor], Any] | None = None,
    ) -> None:
        self.dataset = dataset
        self.ids = list(dataset.ids if ids is None else ids)
        unknown = [i for i in self.ids if i not in dataset.meta]
        if unknown:
            raise KeyError(f"not in split {dataset.split!r} of {dataset.root}: {unknown}")
        self.transform = transform
        self._decoded: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        id = self.ids[index]
        if id not in self._decoded:
            sample = self.dataset.sample(id)
            image = torch.from_numpy(sample.image).permute(2, 0, 1).contiguous()
            self._decoded[id] = image, torch.from_numpy(sample.label)
        image, mask = self._decoded[id]
        # Clones, so that nobody can write into the cache.
        pair = tv_tensors.Image(image.clone()), tv_tensors.Mask(mask.clone())
        return self.transform(*pair) if self.transform else pair
