"""Own images: check a folder of them, say what will be done, and run notebook 07 on it.

The folder is only read. What comes out, the executed notebook and its log among it, goes to a
folder that this run alone has made, so that several runs can go on at once, or that a run of the
same settings made which was interrupted: it goes on there. See `scrapseg.data.folder` for what the
folder of images may hold.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import IO

import pandas as pd
import yaml

from scrapseg import __version__
from scrapseg.app.asked import NOTEBOOK, check
from scrapseg.app.finetune import in_words
from scrapseg.app.outputs import new_folder
from scrapseg.app.plan import plan
from scrapseg.data.base import fingerprint
from scrapseg.data.classes import as_yaml
from scrapseg.data.folder import open_folder
from scrapseg.data.listing import list_files
from scrapseg.files import REPOSITORY, WriteFailed, atomic_write
from scrapseg.models.segmenter import load, starting_model
from scrapseg.report import notebook
from scrapseg.report.engine import Busy, lock
from scrapseg.train.loop import SAVE_EVERY

GOES_ON = "Stopped. {} holds what is done; the same command goes on there, adaptation at its last "
GOES_ON += f"{SAVE_EVERY} steps; but learning from labels begins anew."


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
            there is one already, but a run of the same settings that was interrupted goes on.
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
        WriteFailed: the disk is full; the same command goes on when it is not.
    """
    check(data, classes, model, empty, side=side, minutes=minutes, **options)
    start = load(model) if model else starting_model()
    start = replace(start, side=side or start.side)
    folder = open_folder(data, classes, start.classes, empty=empty)
    print(folder)
    values = {"profile": "apply", "images_dir": str(folder.root.resolve()), "side": side}
    values |= {"classes_file": str(Path(classes).resolve()) if classes else None}
    values |= {"model_file": str(Path(model).resolve()) if model else None}
    values |= {"minutes": minutes, "empty": empty, "crop": 256, "next_images": 8, **options}
    files = fingerprint(Path(), map(str, list_files(folder.root.resolve())))
    reads = {"files": files, "classes": as_yaml(folder.classes), "model": start.fingerprint()}
    settings = json.dumps(values | {"version": __version__, "reads": reads}, indent=1)
    wanted = Path(out or REPOSITORY / "results/apply" / folder.root.resolve().name).resolve()
    made, held = interrupted(wanted, settings) or (None, None)
    planned = plan(folder, start, own=bool(model), minutes=minutes, made=made, **options)
    print(*planned.notes, sep="\n")
    made = made or new_folder(wanted)
    if made != wanted and not held:
        print(f"{wanted} is there already; this goes to {made.name}.")
    with held or lock(made / ".lock"):
        atomic_write(made / "settings.json", settings)
        try:
            values |= {"out_dir": str(made)}
            notebook.execute(NOTEBOOK, values, made / "notebook.ipynb", made / "run.log")
        except notebook.NotebookError as error:
            raise notebook.NotebookError(f"{error}; see {made / 'run.log'}") from None
        except OSError as error:  # of a full disk papermill's own names no file
            raise WriteFailed(f"cannot go on in {made}: {error.strerror or error}") from error
        except KeyboardInterrupt:
            done = made / "report.html"  # it is written last
            print(f"Stopped, but all was done: {done}" if done.exists() else GOES_ON.format(made))
            raise
    if (measured := made / "model/measured.json").is_file():
        print(in_words(json.loads(measured.read_text(encoding="utf-8"))["summary"]))
    objects = pd.read_csv(made / "images.csv")["objects"]
    used = yaml.safe_load((made / "model/model.yaml").read_text(encoding="utf-8"))["threshold"]
    shown = f"{(objects > 0).sum()} of {len(objects)} images show something that is not "
    shown += f"{folder.classes[0].name}, {objects.sum()} objects in all"
    print(f"{shown}, at a threshold of {used:.3f}.")
    return made / "report.html"


def interrupted(wanted: Path, settings: str) -> tuple[Path, IO[str]] | None:
    """The folder of an interrupted run of the same settings, and a file that keeps other runs from
    it as long as it is open; None where there is none."""
    own = re.compile(re.escape(wanted.name) + r"(-\d+)?")
    for path in sorted(wanted.parent.glob("*/settings.json")):
        if own.fullmatch(path.parent.name) and path.read_text(encoding="utf-8") == settings:
            with contextlib.suppress(Busy):
                held = lock(path.with_name(".lock"))
                if not path.with_name("report.html").exists():
                    print(f"An interrupted run goes on in {path.parent}.")
                    return path.parent, held
                held.close()
    return None
