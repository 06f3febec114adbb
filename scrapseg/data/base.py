"""Images and labels: reading ScrapSim, counting it, drawing few shots, feeding a network.

From top to bottom: named errors; the checksum check; ``Sample`` and ``ScrapSim``, which read a
data set from disk; ``composition`` and ``instances_table``, which count it; ``few_shot_ids`` and
``normal_ids``, which choose images; and last the torch side, the weights of class-balanced drawing
and ``SegDataset``.

On disk, a ScrapSim folder holds ``images/<id>.jpg``, ``labels/<id>.png`` (palette image whose
values are the class indices of ``scrapseg.data.classes``), ``instances/<id>.png`` (0 is no impurity,
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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch.utils.data import Dataset
from torchvision import tv_tensors
from tqdm import tqdm

from scrapseg.data.classes import ScrapClass
from scrapseg.files import WriteFailed, atomic_write

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


RESTORE = "fetch the data set again or restore it with git"


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
    text = read_text(listing)
    digest = hashlib.sha256(text.encode()).hexdigest()
    wanted: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        value, gap, name = line.partition("  ")
        if len(value) != 64 or not gap or not name:
            raise DataError(f"{listing}, line {number}: not a sha256sum line; {RESTORE}")
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
            f"{root}: content differs from checksums.sha256: {', '.join(wrong)}{also}; {RESTORE}"
        )
    if missing:
        raise MissingFile(f"{root}: files are missing: {', '.join(missing)}; {RESTORE}")
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


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFile(f"{path}: file is missing; {RESTORE}") from None


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
        settings: what else decides what is read (size, classes kept apart, ...), ready for json.
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
    settings: dict[str, Any]
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


def read_image(path: Path, as_rgb: bool = False, remedy: str = RESTORE) -> np.ndarray:
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


class SegDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Images and labels of a data set as tensors, decoded once and kept in memory.

    Item ``i`` is ``(image, mask)`` of ``ids[i]``: a uint8 ``tv_tensors.Image`` (3, H, W) and a
    uint8 ``tv_tensors.Mask`` (H, W), passed together through ``transform``. After either
    transform of ``scrapseg.train.augment`` they are a normalised float32 (3, H, W) and an int64
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
