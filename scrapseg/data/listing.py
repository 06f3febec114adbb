"""What lies in a folder of one's own, by the files' names alone.

Nothing heavy is imported here, so that a mistyped folder is told before torch is loaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from scrapseg.data.errors import DataError, MissingFile

IMAGE_ENDINGS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp"}
IMAGE_ENDINGS |= {".jp2", ".ppm", ".pgm", ".pnm"}
#: Pictures and films that are there for a reason but cannot be read.
OTHER_ENDINGS = {".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".svg", ".zip"}
OTHER_ENDINGS |= {".mp4", ".mov", ".avi", ".mkv", *Image.registered_extensions()} - IMAGE_ENDINGS
UNREAD = "of a format that is not read here; save images as JPEG or PNG"
_LABELS = r"(mask|label|annotation|ground[ _-]?truth|gt|seg|segmentation)(s|[ _-]?ids)?"
IMAGE_FOLDER = re.compile(r"(jpeg)?(images?|imgs?)")
LABEL_FOLDER = re.compile(rf"(.*[ _-])?{_LABELS}([ _-].*)?|segmentation(class|object).*|ann")
#: What tools put behind an image's name in the names of its labels.
SUFFIX = re.compile(rf"[ ._-]{_LABELS}$", re.IGNORECASE)
#: Folders that systems leave behind, and those of lists of files.
_LEFT_BEHIND = (".", "__MACOSX", "@eaDir", "ImageSets")


def list_files(root: Path) -> list[Path]:
    """All files of a folder and its subfolders but what systems leave behind, in order of names.

    Raises:
        MissingFile: there is no such folder.
        DataError: it is a file; a link leads to a folder that is there already, or there is a pipe,
            or a device.
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
    return found


def within(path: Path, root: Path, kind: re.Pattern[str]) -> bool:
    """Whether a file lies in a folder, below `root`, whose name is of a kind."""
    return any(kind.fullmatch(part.casefold()) for part in path.relative_to(root).parts[:-1])


def find_images(root: Path, paths: Sequence[Path], notes: dict[str, list[str]]) -> dict[str, Path]:
    """Images among a folder's files, by name without ending.

    Those of a format that cannot be read are noted as `UNREAD`. They are among the images, unless
    one that can be read has the name, so that their labels are known for theirs.

    Raises:
        DataError: none that can be read, or two of one name.
    """
    pictures = [p for p in paths if p.suffix.casefold() in IMAGE_ENDINGS | OTHER_ENDINGS]
    pictures = [p for p in pictures if not within(p, root, LABEL_FOLDER)]
    stems = {p.stem for p in pictures}
    pictures = [p for p in pictures if not is_mask_of(p.stem, stems)]
    if chosen := [p for p in pictures if within(p, root, IMAGE_FOLDER)]:
        apart = [str(p) for p in pictures if p not in set(chosen)]
        notes["pictures outside of images/, passed over"] += apart
    files: dict[str, Path] = {}
    unread = [p for p in chosen or pictures if p.suffix.casefold() in OTHER_ENDINGS]
    for path in (p for p in chosen or pictures if p.suffix.casefold() in IMAGE_ENDINGS):
        if before := files.get(path.stem):
            raise DataError(
                f"{path}: {before.relative_to(root)} has the same name but for folder and ending; "
                "rename one, or do masks lie beside the images? They belong in masks/"
            )
        files[path.stem] = path
    if not files:
        kinds = ", ".join(sorted(e[1:] for e in IMAGE_ENDINGS))
        others = f"; {unread[0]} is {UNREAD}" if unread else ""
        raise DataError(f"{root}: holds no images ({kinds}){others}")
    notes[UNREAD] += map(str, unread)
    return dict(sorted(({p.stem: p for p in unread} | files).items()))


def is_mask_of(stem: str, stems: set[str]) -> bool:
    """Whether a name is another one with what tools put behind it for a mask."""
    return SUFFIX.sub("", stem) in stems - {stem}


def check_empty(empty: str) -> None:
    """See that what labels mention without an object is `clean` or `unlabelled`, else DataError."""
    if empty not in ("clean", "unlabelled"):
        raise DataError(f"EMPTY is {empty!r}; it may be clean or unlabelled")


def model_file(path: str | Path) -> Path:
    """A saved model's `.safetensors` file: the one given, or the only one of a folder.

    Raises:
        MissingFile: there is none. DataError: there are several, or it is another kind of file.
    """
    path = Path(path)
    found = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not found:
        raise MissingFile(f"{path}: holds no model (.safetensors); one made here is in model/")
    if len(found) > 1:
        raise DataError(f"{path}: holds {len(found)} models (.safetensors); name a file")
    if not found[0].is_file():
        raise MissingFile(f"{path}: no such model; name its .safetensors file or folder")
    if found[0].suffix != ".safetensors":
        raise DataError(f"{path}: is no .safetensors file, as models are saved here; name one")
    return found[0]


def class_list(paths: Sequence[Path], given: str | Path | None = None) -> Path | None:
    """The class list: the one given, else that among a folder's files, if there is one.

    Raises:
        DataError: there are two.
    """
    listed = [p for p in paths if p.name.casefold() in ("classes.yaml", "classes.yml")]
    if len(listed) > 1 and not given:
        raise DataError(f"{listed[1]}: a class list beside {listed[0]}; keep one")
    return Path(given) if given else next(iter(listed), None)
