"""Check a folder of images and run notebook 07 on it.

    python -m scrapseg.own my-images [--out results/apply/my-images]

The folder is only read. What comes out goes to a new folder, whose name gets a number where there
is one of that name already. See `scrapseg.data.folder` for what the folder may hold.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tqdm import tqdm

from scrapseg.reproduce import ROOT, Plan, Project, ReproduceError, clock, execute

NOTEBOOK = "07_apply_to_your_scrap"


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scrapseg.own", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="folder with images, and labels if there are any")
    parser.add_argument("--out", type=Path, help="folder to make (results/apply/<name>)")
    parser.add_argument("--classes", type=Path, help="class list (classes.yaml in the folder)")
    parser.add_argument("--side", type=int, help="longer side in pixels to look at images with")
    parser.add_argument("--steps", type=int, default=60, help="training steps, at most (60)")
    parser.add_argument("--folds", type=int, default=2, help="folds of the labelled images (2)")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    from scrapseg.data.base import DataError
    from scrapseg.files import ResultsError

    try:
        from scrapseg.app.finetune import deal
        from scrapseg.app.outputs import new_folder
        from scrapseg.data.folder import open_folder

        folder = open_folder(options.folder, options.classes)
        print(folder)
        if folder.kind:
            deal(folder.images(list(folder.labelled)), options.folds)  # too few labels, said early
        runs = ROOT / "results" / "apply"
        out = new_folder(options.out or runs / folder.root.resolve().name)
        out.rmdir()  # it can be made; the notebook does so when there is something to put in
        project = Project(ROOT, runs, "apply", {})
        parameters = {
            "profile": "apply",
            "images_dir": str(folder.root.resolve()),
            "classes_file": str(options.classes.resolve()) if options.classes else None,
            "out_dir": str(out.resolve()),
            "side": options.side,
            "own_steps": options.steps,
            "folds": options.folds,
            "batch_size": 4,
            "crop": 256,
            "next_images": 8,
        }
        with tqdm(total=1, bar_format="{desc}  {elapsed}{postfix}", disable=None) as bar:
            bar.set_description_str("notebook 07")
            execute(project, Plan(NOTEBOOK, parameters, ""), bar)
        project.executed(NOTEBOOK).replace(out / "notebook.ipynb")
    except (DataError, ReproduceError, ResultsError, OSError) as error:
        print(f"apply: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("apply: interrupted; your folder is as it was", file=sys.stderr)
        return 130
    took = clock(time.perf_counter() - start)
    print(f"{os.path.relpath(out / 'report.html')}: open it in a browser ({took})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
