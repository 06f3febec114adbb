"""What `make apply` and `make watch` are asked for, checked before what takes seconds is loaded."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from scrapseg.data.classes import read_classes
from scrapseg.data.errors import DataError, MissingFile
from scrapseg.data.listing import check_empty, class_list, find_images, list_files, model_file
from scrapseg.files import REPOSITORY

NOTEBOOK = REPOSITORY / "notebooks" / "07_apply_to_your_scrap.py"
#: Least and most of the options that are numbers: a score, shares, minutes and pixels.
NUMBERS = {"threshold": (0, 1), "recall": (0, 1), "minutes": (0.1, 1e4), "side": (32, 1e5)}
NUMBERS |= {"max_miss": (1e-6, 1 - 1e-6)}


def check(
    data: str | Path,
    classes: str | Path | None = None,
    model: str | Path | None = None,
    empty: str = "clean",
    checkout: bool = True,
    **options: float | None,
) -> None:
    """See whether there are a folder with images, a class list, a model, and numbers that can be.

    Args:
        checkout: whether a checkout of the repository is needed, for its notebook.

    Raises:
        MissingFile: this is not a checkout, or there is no such folder or class list.
        DataError: something else is wrong; one line says what and where.
    """
    if checkout and not NOTEBOOK.is_file():
        raise MissingFile(
            f"{NOTEBOOK}: not in an installed scrapseg; run this in a checkout of the repository, "
            'or use scrapseg.load().predict("photo.jpg")'
        )
    check_numbers(options)
    check_empty(empty)
    paths = list_files(root := Path(data))
    find_images(root, paths, defaultdict(list))
    if listed := class_list(paths, classes):
        read_classes(listed)
    if model:
        model_file(model)


def check_numbers(options: dict[str, float | None]) -> None:
    """See that those of `NUMBERS` that are given lie within their bounds, else DataError."""
    for name, (least, most) in NUMBERS.items():
        if (value := options.get(name)) is not None and not least <= value <= most:
            raise DataError(f"{name.upper()} is {value:g}; it may be {least:g} to {most:,g}")


def check_watch(out: Path | None, model: Path | None, **options: float | None) -> None:
    """See whether there are a model and a place for a folder, and one way to a threshold.

    Raises:
        MissingFile, DataError: something is wrong; one line says what and where.
    """
    check_numbers(options)
    if None not in options.values():
        raise DataError(f"{' and '.join(map(str.upper, options))} both set the threshold; give one")
    if model:
        model_file(model)
    check_place(Path(out or "results/watch/_"), "folder", "OUT=results")


def check_place(out: Path, kind: str, example: str) -> None:
    """See whether a file or folder (`kind`) can be made there, else DataError with an example."""
    above = next(p for p in out.absolute().parents if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise DataError(f"{out}: cannot be made in {above}; name another {kind}, as in {example}")
    if kind == "file" and out.is_dir():
        raise DataError(f"{out}: is a folder; name a file, as in {example}")
