"""Own images: check a folder of them and run notebook 07 on it.

The folder is only read. What comes out, the executed notebook and its log among it, goes to a
folder that this run alone has made, so that several runs can go on at once. See
`scrapseg.data.folder` for what the folder of images may hold.
"""

from __future__ import annotations

from pathlib import Path

from scrapseg.app.finetune import deal
from scrapseg.app.outputs import new_folder
from scrapseg.data.folder import open_folder
from scrapseg.files import REPOSITORY
from scrapseg.report import notebook

NOTEBOOK = REPOSITORY / "notebooks" / "07_apply_to_your_scrap.py"


def apply(
    data: str | Path,
    out: str | Path | None = None,
    classes: str | Path | None = None,
    side: int | None = None,
    *,
    steps: int = 60,
    folds: int = 2,
) -> Path:
    """Find what is in a folder of images; train on its labels first if it has any.

    Args:
        data: folder with images, and labels if there are any.
        out: folder to make, by default results/apply/<name of data>; the name gets a number where
            there is one already.
        classes: class list, by default classes.yaml of the folder, else ScrapSim's nine.
        side: longer side in pixels at which images are looked at, by default the model's.
        steps: of training, at most. folds: of the labelled images.

    Returns:
        The report, an HTML page in the folder that was made.

    Raises:
        DataError: the folder cannot be used, or has labels but too few; nothing was made then.
        NotebookError: the notebook failed; its log is named.
    """
    folder = open_folder(data, classes)
    print(folder)
    if folder.kind:
        deal(folder.images(list(folder.labelled)), folds)  # too few labels, said early
    name = folder.root.resolve().name
    made = new_folder(out or REPOSITORY / "results" / "apply" / name).resolve()
    values = {
        "profile": "apply",
        "images_dir": str(folder.root.resolve()),
        "classes_file": str(Path(classes).resolve()) if classes else None,
        "out_dir": str(made),
        "side": side,
        "own_steps": steps,
        "folds": folds,
        "crop": 256,
        "next_images": 8,
    }
    log = made / "run.log"
    try:
        notebook.execute(NOTEBOOK, values, made / "notebook.ipynb", log)
    except notebook.NotebookError as error:
        raise notebook.NotebookError(f"{error}; see {log}") from None
    return made / "report.html"
