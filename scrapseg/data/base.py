"""What all data sets share: a sample, the protocol the rest of the package asks for, image files.

From top to bottom: the check of a folder against its checksums; ``Sample`` and ``LabelledImages``;
reading image files, one reader for all; instances of label images; and last the torch side,
``SegDataset``. What can go wrong has its names in ``scrapseg.data.errors``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from scipy import ndimage
from torch.utils.data import Dataset
from torchvision import tv_tensors
from tqdm import tqdm

from scrapseg.data.classes import IGNORED, ScrapClass

# Whoever reads data finds the errors here, too.
from scrapseg.data.errors import *  # noqa: F403
from scrapseg.data.errors import BrokenImage, ChecksumMismatch, DataError, MissingFile
from scrapseg.files import WriteFailed, atomic_write

SPLITS = ("train", "val", "test")
MIN_PIXELS = 60
"""A scene holds a class for few-shot drawing when a view shows this many pixels of it."""

RESTORE = "fetch the data set again or restore it with git"
#: What to do about a file of the user's own that is broken, and about one that is not there.
ANEW, LOST = "save it anew", "is the name right, or was it moved or deleted meanwhile?"
#: What Pillow may take a file for. Any other way PostScript goes to Ghostscript, which runs it.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
#: What Pillow raises on damaged files.
_OF_PILLOW = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError)


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
    mark = {"checksums": digest, "fingerprint": fingerprint(root, wanted)}
    with contextlib.suppress(OSError, ValueError):  # no stamp, or not one of ours: check in full
        if json.loads(stamp.read_text()) == mark:
            return digest

    missing = [name for name in wanted if not (root / name).is_file()]
    there = [name for name in wanted if name not in missing]
    # The bar appears only when the check is slow, on a cold disk or a large data set.
    bar = tqdm(there, desc="checksums", unit="file", delay=2, leave=False)
    wrong = [n for n in bar if hashlib.sha256((root / n).read_bytes()).hexdigest() != wanted[n]]
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


def fingerprint(root: Path, names: Iterable[str]) -> str:
    """A hash over the sizes and times of change of the files, or of their absence."""
    stats = {name: path.stat() for name in sorted(names) if (path := root / name).exists()}
    seen = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats.items()]
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()


def read_text(path: Path) -> str:
    """Text of a UTF-8 file; ``MissingFile`` where there is none."""
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


def check_choice(split: str, limit: int | None) -> None:
    """``ValueError`` when there is no such split, or a limit is below 1."""
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, must be one of {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}, must be at least 1")


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


@contextlib.contextmanager
def open_image(path: Path | str, remedy: str = RESTORE) -> Iterator[Image.Image]:
    """An image file opened by Pillow; what goes wrong meanwhile gets its name.

    Raises:
        MissingFile, BrokenImage: naming the file; the message ends in ``remedy``, but nobody can
            save `ANEW` what is not there.
    """
    path = Path(path)
    try:
        with Image.open(path, formats=FORMATS) as opened:
            yield opened
    except FileNotFoundError:
        remedy = LOST if remedy == ANEW else remedy
        raise MissingFile(f"{path}: file is missing; {remedy}") from None
    except Image.DecompressionBombError:
        raise BrokenImage(f"{path}: has over 170 million pixels; cut it into parts") from None
    except _OF_PILLOW as error:
        reason = str(error).replace(str(path), path.name)
        remedy = "let it be read" if isinstance(error, PermissionError) else remedy
        raise BrokenImage(f"{path}: cannot be decoded ({reason}); {remedy}") from None


def read_image(
    path: Path | str,
    *,
    as_rgb: bool = False,
    upright: bool = False,
    bits: int | None = None,
    remedy: str = RESTORE,
) -> np.ndarray:
    """Pixels of an image file, as stored: (H, W) or (H, W, channels); palette indices stay.

    Args:
        as_rgb: make it uint8 (H, W, 3) in any case.
        upright: turn it as the camera says (EXIF).
        bits: with ``as_rgb``, of the camera, where the file has more than 8; by default as many as
            this image needs.
        remedy: how messages end.

    Raises:
        MissingFile, BrokenImage: see `open_image`; or ``as_rgb`` of several pages, of floats, or of
            32 bits.
    """
    with open_image(path, remedy) as image:
        if not as_rgb:
            return np.array(ImageOps.exif_transpose(image) if upright else image)
        if (pages := _pages(image)) > 1:
            raise BrokenImage(f"{path}: holds {pages} pages; save each as an image of its own")
        if _is_deep(image):
            values = _deep_values(path)
            if values.dtype != np.uint8:
                values = (values >> (bits or bits_of(values)) - 8).clip(0, 255).astype(np.uint8)
            return turned(values, orientation_of(image)) if upright else values
        return np.array((ImageOps.exif_transpose(image) if upright else image).convert("RGB"))


def _pages(image: Image.Image) -> int:
    """How many pages have the size of the first: a photograph's thumbnails are smaller."""
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    sizes = [(image.seek(k), image.size)[1] for k in reversed(range(count))]
    return sizes.count(image.size)


def _is_deep(image: Image.Image) -> bool:
    """Whether there may be more than 8 bits a channel; of colours Pillow keeps the upper 8."""
    depth = getattr(image, "tag_v2", {}).get(258, 8)
    coded = str([tile.args for tile in image.tile])
    of_format = {"TIFF": np.max(depth) > 8, "JPEG2000": True, "PPM": "65535" in coded}
    return image.mode.startswith(("I", "F")) or ";16" in coded or of_format.get(image.format, False)


def _deep_values(path: Path | str) -> np.ndarray:
    """Pixels (H, W, 3) of 8 to 16 bits, as the file holds them."""
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype not in (np.uint8, np.uint16):
        kind = "that cannot be decoded" if values is None else str(values.dtype)
        raise BrokenImage(f"{path}: has more than 8 bits a channel, {kind}; save it with 8 or 16")
    values = values.reshape(*values.shape[:2], -1)
    return values[..., 2::-1] if values.shape[2] > 2 else values[..., :1].repeat(3, axis=2)


def bits_of(values: np.ndarray) -> int:
    """The least of 8, 10, 12, 14 and 16 bits, as cameras have, that hold some values."""
    return min(b for b in (8, 10, 12, 14, 16) if int(values.max()) < 1 << b)


def camera_bits(path: Path | str) -> int:
    """How many bits the values of a user's image need: 8 to 16; errors as of `read_image`."""
    with open_image(path, ANEW) as image:
        return bits_of(_deep_values(path)) if _is_deep(image) else 8


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8: 1 is upright, from 5 on width and height change places."""
    found = image.getexif().get(274)
    return found if found in range(1, 9) else 1


def photo_turn(path: Path | str) -> int:
    """`orientation_of` an image file of a user's."""
    with open_image(path, ANEW) as image:
        return orientation_of(image)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, ...) of the sensor turned to what is shown, by the EXIF orientation."""
    pixels = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    pixels = pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels


def image_size(path: Path | str, remedy: str = RESTORE) -> tuple[int, int]:
    """Height and width, from the file's header alone; errors as of `open_image`."""
    with open_image(path, remedy) as image:
        return image.height, image.width


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """An image (H, W, 3) or a map of numbers (H, W) with its longer side at most `side` pixels."""
    factor = side / max(image.shape[:2])
    if factor >= 1:
        return image
    size = [max(1, round(factor * n)) for n in image.shape[1::-1]]
    if image.ndim == 3:
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    rows = ((np.arange(size[1]) + 0.5) * image.shape[0] / size[1]).astype(int)
    columns = ((np.arange(size[0]) + 0.5) * image.shape[1] / size[0]).astype(int)
    return image[rows[:, None], columns]


def components(label: np.ndarray, classes: Sequence[ScrapClass]) -> np.ndarray:
    """Instances of a label image that came without: 8-connected regions of one class.

    Args:
        label: integer (H, W), class index of each pixel, 0 normal.

    Returns:
        int32 (H, W), 0 where normal, else the number of the region, counted class by class.
    """
    instances = np.zeros(label.shape, np.int32)
    for c in classes[1:]:
        regions, _ = ndimage.label(label == c.index, np.ones((3, 3)))
        instances[regions > 0] = regions[regions > 0] + instances.max()
    return instances


def instance_rows(
    label: np.ndarray, instances: np.ndarray, classes: Sequence[ScrapClass]
) -> list[dict[str, Any]]:
    """Records (``id``, ``class``, ``pixels``) of instances (H, W), as in ``meta["instances"]``."""
    numbers, firsts, pixels = np.unique(instances, return_index=True, return_counts=True)
    return [
        {"id": int(n), "class": classes[label.flat[first]].slug, "pixels": int(count)}
        for n, first, count in zip(numbers, firsts, pixels, strict=True)
        if n
    ]


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
            pixels = np.require(sample.image, requirements="W")  # else torch warns
            image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
            self._decoded[id] = image, torch.from_numpy(sample.label)
        image, mask = self._decoded[id]
        # Clones, so that nobody can write into the cache.
        pair = tv_tensors.Image(image.clone()), tv_tensors.Mask(mask.clone())
        return self.transform(*pair) if self.transform else pair


class Renumbered(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Items (image, mask int64 (H, W)) with a label `k` as `numbers[k]`, or ignored without one."""

    def __init__(self, items: Dataset, numbers: Mapping[int, int]) -> None:
        self.items, self.number = items, torch.full((IGNORED + 1,), IGNORED)
        self.number[list(numbers)] = torch.tensor(list(numbers.values()))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = self.items[index]
        return image, self.number[mask]
