"""What lies in a folder of one's own, by the files' names alone.

Nothing heavy is imported here, so that a mistyped folder is told before torch is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from scrapseg.data.errors import DataError, MissingFile

IMAGE_ENDINGS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp"}
IMAGE_ENDINGS |= {".jp2", ".ppm", ".pgm", ".pnm"}
#: Pictures and films that are there for a reason but cannot be read.
OTHER_ENDINGS = {".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".svg", ".zip"}
OTHER_ENDINGS |= {".mp4", ".mov", ".avi", ".mkv", *Image.registered_extensions()} - IMAGE_ENDINGS
#: Folders that systems leave behind, and those of lists of files.
_LEFT_BEHIND = (".", "__MACOSX", "@eaDir", "ImageSets")


def list_files(root: Path) -> list[Path]:
    """All files of a folder and its subfolders but what systems leave behind, in order of names.

    Raises:
        MissingFile: there is no such folder.
        DataError: it is a file; a link leads to a folder that is there already, or there is a pipe,
            or a device; or no file has the ending of a picture.
    """
    if root.is_file():
        raise DataError(f"{root}: is a file; name the folder that holds the images")
    if not root.is_dir():
        raise MissingFile(f"{root}: no such folder; name one that holds images")
    found, seen = [], {}
    for folder, inside, names in os.walk(root, followlinks=True):
        inside[:] = sorted(d for d in inside if not d.startswith(_LEFT_BEHIND))
        if (first := seen.setdefault(os.path.realpath(folder), folder)) != folder:
            raise DataError(f"{folder}: is the same folder as {first}; take the link away")
        found += [Path(folder) / name for name in sorted(names) if not name.startswith(".")]
    if odd := [path for path in found if path.exists() and not path.is_file()]:
        raise DataError(f"{odd[0]}: is a pipe, a socket or a device; move it away")
    if not any(path.suffix.casefold() in IMAGE_ENDINGS | OTHER_ENDINGS for path in found):
        raise no_images(root)
    return found


def no_images(root: Path) -> DataError:
    """The error that a folder holds none."""
    kinds = ", ".join(sorted(ending[1:] for ending in IMAGE_ENDINGS))
    return DataError(f"{root}: holds no images ({kinds})")


def class_list(paths: Sequence[Path], given: str | Path | None = None) -> Path | None:
    """The class list: the one given, else that among a folder's files, if there is one.

    Raises:
        DataError: there are two.
    """
    listed = [p for p in paths if p.name.casefold() in ("classes.yaml", "classes.yml")]
    if len(listed) > 1 and not given:
        raise DataError(f"{listed[1]}: a class list beside {listed[0]}; keep one")
    return Path(given) if given else next(iter(listed), None)
