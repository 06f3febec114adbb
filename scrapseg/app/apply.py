"""Own images: check a folder of them, say what will be done, and run notebook 07 on it.

The folder is only read. What comes out, the executed notebook and its log among it, goes to a
folder that this run alone has made, so that several runs can go on at once. See
`scrapseg.data.folder` for what the folder of images may hold.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scrapseg.app.outputs import new_folder
from scrapseg.app.plan import plan
from scrapseg.data.base import MissingFile
from scrapseg.data.folder import open_folder
from scrapseg.files import REPOSITORY
from scrapseg.models.segmenter import load, starting_model
from scrapseg.report import notebook

NOTEBOOK = REPOSITORY / "notebooks" / "07_apply_to_your_scrap.py"


def apply(
    data: str | Path,
    out: str | Path | None = None,
    classes: str | Path | None = None,
    side: int | None = None,
    *,
    model: str | Path | None = None,
    minutes: float = 5.0,
    empty: str = "clean",
    **options: float | bool | None,
) -> Path:
    """Find what is in a folder of images; first learn from them as `plan.plan` says.

    Args:
        data: folder with images, and labels if there are any.
        out: folder to make, by default results/apply/<name of data>; the name gets a number where
            there is one already.
        classes: class list, by default classes.yaml of the folder, else the model's.
        side: longer side in pixels at which images are looked at, by default the model's.
        model: a saved one to begin with, by default the one that comes along.
        empty: of `open_folder`, clean or unlabelled.
        minutes, options: of `plan.plan`; these are adapt, threshold and recall.

    Returns:
        The report, an HTML page in the folder that was made.

    Raises:
        DataError, SegmenterError: folder, model and options do not go together; nothing was made.
        MissingFile: this is not a checkout.
        NotebookError: the notebook failed; its log is named.
    """
    if not NOTEBOOK.is_file():
        raise MissingFile(
            f"{NOTEBOOK}: not in an installed scrapseg; run this in a checkout of the repository, "
            'or use scrapseg.load().predict("photo.jpg")'
        )
    start = load(model) if model else starting_model()
    start = replace(start, side=side or start.side)
    folder = open_folder(data, classes, start.classes, empty=empty)
    print(folder)
    planned = plan(folder, start, own=bool(model), minutes=minutes, **options)
    print(*planned.notes, sep="\n")
    name = folder.root.resolve().name
    made = new_folder(out or REPOSITORY / "results" / "apply" / name).resolve()
    values = {
        "profile": "apply",
        "images_dir": str(folder.root.resolve()),
        "classes_file": str(Path(classes).resolve()) if classes else None,
        "out_dir": str(made),
        "side": side,
        "model_file": str(Path(model).resolve()) if model else None,
        "minutes": minutes,
        "empty": empty,
        "crop": 256,
        "next_images": 8,
        **options,
    }
    log = made / "run.log"
    try:
        notebook.execute(NOTEBOOK, values, made / "notebook.ipynb", log)
    except notebook.NotebookError as error:
        raise notebook.NotebookError(f"{error}; see {log}") from None
    return made / "report.html"
