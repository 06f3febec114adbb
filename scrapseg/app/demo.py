"""A folder of "own images" to try things on, made of ScrapSim's test images."""

from __future__ import annotations

import shutil
from pathlib import Path

from scrapseg.data.scrapsim import ScrapSim


def demo_folder(
    folder: str | Path, data_dir: str | Path, images: int = 12, labels: int = 4
) -> Path:
    """Copy test images, and the masks of some of them, into `images/` and `masks/` of a folder.

    Like a person's first labels, those are of images that show something: as many classes as that
    many images can. The folder is left as it is if it has been made before.
    """
    folder = Path(folder)
    if folder.is_dir():
        return folder
    chosen = ScrapSim(data_dir, "test", limit=images)
    held = {i: {o["class"] for o in chosen.meta[i]["instances"]} for i in chosen.ids}
    seen: dict[str, int] = {}
    labelled: list[str] = []
    for _ in range(min(labels, len(chosen))):
        rest = [i for i in chosen.ids if i not in labelled]
        best = max(rest, key=lambda i: sum(1 / (1 + seen.get(c, 0)) ** 2 for c in held[i]))
        labelled.append(best)
        seen |= {c: seen.get(c, 0) + 1 for c in held[best]}
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of an interrupted run of this very function
    for part, ids in (("images", chosen.ids), ("masks", labelled)):
        (partial / part).mkdir(parents=True)
        for id in ids:
            source = chosen.path(id, "images" if part == "images" else "labels")
            shutil.copyfile(source, partial / part / source.name)
    partial.rename(folder)
    return folder
