"""What `make apply` is asked for, checked before anything is loaded that takes seconds."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from scrapseg.data.classes import read_classes
from scrapseg.data.errors import DataError, MissingFile
from scrapseg.data.listing import check_empty, class_list, find_images, list_files, model_file
from scrapseg.files import REPOSITORY

NOTEBOOK = REPOSITORY / "notebooks" / "07_apply_to_your_scrap.py"
#: Least and most of the options that are numbers: a score, a share, minutes and pixels.
NUMBERS = {"threshold": (0, 1), "recall": (0, 1), "minutes": (0.1, 1e4), "side": (32, 1e5)}


def check(
    data: str | Path,
    classes: str | Path | None = None,
    model: str | Path | None = None,
    empty: str = "clean",
    **options: float | None,
) -> None:
    """See whether there are a folder with images, a class list, a model, and numbers that can be.

    Raises:
        MissingFile: this is not a checkout, or there is no such folder or class list.
        DataError: something else is wrong; one line says what and where.
    """
    if not NOTEBOOK.is_file():
        raise MissingFile(
            f"{NOTEBOOK}: not in an installed scrapseg; run this in a checkout of the repository, "
            'or use scrapseg.load().predict("photo.jpg")'
        )
    for name, (least, most) in NUMBERS.items():
        if (value := options.get(name)) is not None and not least <= value <= most:
            raise DataError(f"{name.upper()} is {value:g}; it may be {least:g} to {most:,.0f}")
    check_empty(empty)
    paths = list_files(root := Path(data))
    find_images(root, paths, defaultdict(list))
    if listed := class_list(paths, classes):
        read_classes(listed)
    if model:
        model_file(model)
