"""Belt waste: construction waste on a dark conveyor belt, four materials outlined in labelme.

Github: Bazenr/Dataset-of-stacked-construction-solid-waste (CC BY-NC-SA 4.0: name the source beside
each picture), with doi.org/10.1371/journal.pone.0296666. Of it the three folders of belt A whose
labels are drawn or checked by hand: ``Amanual`` and ``Aauto`` to learn from, ``Atest``, of another
year, to test on. Line-scan frames, about 1,000 pixels a side.

    python -m scrapseg fetch belt-waste

*The split.* Frames follow one another on the belt: they share no pixel, but what lies across a
border goes on in the next. So val is two stretches, Amanual 167 to 173 and Aauto 0082 to 0086, and
not frames at random. A scene is a frame. Concrete and rubber are in nine frames of train each.

*What was tried.* Copies of these 75 frames with at most 1,024 pixels a side (JPEG beside a json of
its name) are what the results are from. The archive is pinned by its commit; it has not been
downloaded here, so there are no checksums of its files, and its size is a guess.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scrapseg.data.classes import read_classes
from scrapseg.data.labels import polygon_mask, read_json
from scrapseg.data.photographs import Photographs

CLASSES = tuple(read_classes(Path(__file__).with_suffix(".yaml")))


class BeltWaste(Photographs):
    """One split of the belt's frames."""

    name = "belt-waste"
    classes = CLASSES
    index = Path(__file__).with_suffix(".csv")
    height = 384
    url = (
        "https://github.com/Bazenr/Dataset-of-stacked-construction-solid-waste/archive/"
        "bae529abfb66cd03dd3a1350fddfa5c6a3c726af.zip"
    )
    inside = "Atest"
    bytes = 1_000_000_000
    digest = "59dece2a5e71f767ae1566319e92db40476ce6a91713284bb1a1bf2369b3bb83"

    @classmethod
    def files(cls, root: Path, record: dict[str, Any]) -> tuple[Path, Path]:
        """Frame and labelme file, which Aauto has in subfolders as they come."""
        folder, id = root / record["folder"], record["id"]
        frames = [folder / f"{id}.jpg", folder / f"{id}.png", folder / "color" / f"{id}.png"]
        labels = [folder / f"{id}.json", folder / "json" / f"{id}.json"]
        return _first(frames), _first(labels)

    def full_label(self, record: dict[str, Any], path: Path) -> np.ndarray:
        """Its polygons, later ones on top."""
        content = read_json(path)
        label = np.zeros((content["imageHeight"], content["imageWidth"]), np.uint8)
        known = {c.slug: c.index for c in self.classes}
        for shape in content["shapes"]:
            label[polygon_mask([np.array(shape["points"])], label.shape)] = known[shape["label"]]
        return label


def _first(paths: list[Path]) -> Path:
    """The first that is there; the last where none is."""
    return next(filter(Path.is_file, paths), paths[-1])
