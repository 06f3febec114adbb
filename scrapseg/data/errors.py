"""What can be wrong with a data set. Every message is one line: file, fault, remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scrapseg.files import OneLine


class DataError(OneLine):
    """Something is wrong with a data set; base of the errors below."""


class MissingFile(DataError):
    """A file the data set should have is not there."""


class ChecksumMismatch(DataError):
    """A file's content is not what its checksum says."""


class BrokenImage(DataError):
    """An image file cannot be decoded, for example because it was cut short."""


class SizeMismatch(DataError):
    """A label or instance image has another size than its photograph."""


class UnknownLabel(DataError):
    """A label image, a label file or the metadata names a class that does not exist."""


class LabelFileError(DataError):
    """A label file cannot be understood; the message says where and what to do."""


class EmptySplit(DataError):
    """No image belongs to the split asked for."""


class NotEnoughShots(DataError):
    """A class has fewer labelled scenes than shots were asked for."""


def several(faults: Sequence[str]) -> str:
    """Faults in one line, the first three in full."""
    more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
    return ", ".join(faults[:3]) + more


def check_sizes(
    found: Mapping[str, tuple[Sequence[int], Sequence[int]]], remedy: str = "export it anew"
) -> None:
    """`SizeMismatch` where labels are not as large as their images.

    Args:
        found: size (H, W) of a label and that of its image, by what messages call the label.
    """
    if wrong := [
        f"{what} {size[1]} x {size[0]} pixels, its image {image[1]} x {image[0]}"
        for what, (size, image) in found.items()
        if tuple(size) != tuple(image)
    ]:
        raise SizeMismatch(f"{several(wrong)}; {remedy}")
