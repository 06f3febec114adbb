"""What comes out, as files other tools read: overlays, label images, COCO json, CSV, proposals.

Everything goes into a folder that `new_folder` made, which did not exist before: nothing is ever
written over.
"""

from __future__ import annotations

import io
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from pycocotools import mask as coco_mask

from scrapseg import __version__
from scrapseg.app import proposals
from scrapseg.data.base import DataError, shrunk
from scrapseg.data.classes import ScrapClass
from scrapseg.files import atomic_write
from scrapseg.models.segmenter import Object, Prediction
from scrapseg.report.style import overlay

#: Overlays are to be looked at on a screen: their longer side in pixels, at most.
OVERLAY_SIDE = 1600


def new_folder(wanted: str | Path) -> Path:
    """Make a folder of this name, or with -2, -3, ... where there is one already.

    Raises:
        DataError: it cannot be made.
    """
    wanted = Path(wanted)
    for number in itertools.count(1):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue
        except OSError as error:
            raise DataError(
                f"{path}: cannot be made ({error.strerror}); name another folder, as in OUT=results"
            ) from None


def tinted(p: Prediction, classes: Sequence[ScrapClass], side: int) -> np.ndarray:
    """A prediction laid over its image, uint8 (h, w, 3), its longer side at most `side` pixels."""
    image, label = shrunk(p.image, side), shrunk(p.label, side)
    colours = np.array([c.colour for c in classes]) / 255
    return overlay(image, label, 0.35, colours, rim=max(1, max(image.shape) // 300))


def save_image(path: Path, image: Image.Image, **options) -> None:
    """Write an image file; `options` are those of `PIL.Image.save`."""
    buffer = io.BytesIO()
    image.save(buffer, **options)
    atomic_write(path, buffer.getvalue())


class Writer:
    """Writes each prediction's files as it comes, and the tables and the COCO json at the end.

    Args:
        folder: from `new_folder`. classes: the class list.
    """

    def __init__(self, folder: Path, classes: Sequence[ScrapClass]) -> None:
        self.folder, self.classes = folder, classes
        self.images: list[dict] = []
        self.objects: list[dict] = []
        self.proposed: set[int] = set()
        self.polygons: dict[int, list] = {}
        kind = {"supercategory": "impurity"}
        self.coco = {
            "info": {"description": f"impurities found by ScrapSeg {__version__}"},
            "licenses": [],
            "images": [],
            "annotations": [],
            "categories": [{"id": c.index, "name": c.name} | kind for c in classes[1:]],
        }

    def add(self, id: str, file: Path, p: Prediction, *, propose: bool = True) -> None:
        """Write an image's overlay, thumbnail and label image, and note its rows.

        Args:
            propose: its objects as labels to be corrected, too; not for one that has labels.
        """
        for folder, side, quality in (("overlays", OVERLAY_SIDE, 88), ("thumbnails", 320, 82)):
            shown = Image.fromarray(tinted(p, self.classes, side))
            path = self.folder / folder / f"{id}.jpg"
            save_image(path, shown, format="jpeg", quality=quality)
        label = Image.fromarray(p.label)
        label.putpalette([v for c in self.classes for v in c.colour])
        save_image(self.folder / "labels" / f"{id}.png", label, format="png", optimize=True)
        height, width = p.label.shape
        pixels = np.bincount(p.label.ravel(), minlength=len(self.classes))
        counts = Counter(o.index for o in p.objects)
        row = {"image": file.name, "width": width, "height": height, "score": p.image_score}
        row |= {"uncertainty": p.uncertainty, "objects": len(p.objects)}
        row["impurity_share"] = float((p.label > 0).mean())
        for c in self.classes[1:]:
            row |= {f"{c.slug}_objects": counts[c.index], f"{c.slug}_pixels": int(pixels[c.index])}
        self.images.append(row)
        image = {"id": len(self.images), "file_name": file.name, "height": height, "width": width}
        self.coco["images"].append(image)
        if propose:
            content = proposals.labelme(file.name, p)
            path = (self.folder / "proposals/labelme" / id).with_name(f"{file.stem}.json")
            atomic_write(path, json.dumps(content, ensure_ascii=False, indent=1))
            self.proposed.add(image["id"])
            numbered = enumerate(content["shapes"], start=len(self.objects) + 1)
            self.polygons |= {number: shape["points"] for number, shape in numbered}
        for o in p.objects:
            self._add_object(image, o, p.instances == o.number)

    def _add_object(self, image: dict, o: Object, mask: np.ndarray) -> None:
        left, top, right, bottom = o.box
        row = {"image": image["file_name"], "object": o.number, "class": o.name, "area": o.area}
        row |= {"score": o.score, "left": left, "top": top, "right": right, "bottom": bottom}
        self.objects.append(row)
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        annotation = {
            "id": len(self.objects),
            "image_id": image["id"],
            "category_id": o.index,
            "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
            "area": o.area,
            "bbox": [left, top, right - left, bottom - top],
            "iscrowd": 0,
            "score": round(o.score, 6),
        }
        self.coco["annotations"].append(annotation)

    def finish(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Write `images.csv`, `objects.csv`, `coco.json`, the proposals; return the two tables."""
        columns = ["image", "object", "class", "area", "score", "left", "top", "right", "bottom"]
        images, objects = pd.DataFrame(self.images), pd.DataFrame(self.objects, columns=columns)
        for name, table in (("images", images), ("objects", objects)):
            content = table.to_csv(index=False, float_format="%.5f")
            atomic_write(self.folder / f"{name}.csv", content)
        self.coco["info"]["date_created"] = datetime.now(UTC).isoformat(timespec="seconds")
        atomic_write(self.folder / "coco.json", json.dumps(self.coco))
        proposed = proposals.coco(self.coco, self.proposed, self.polygons)
        labels = proposals.cvat_labels(self.classes)
        for name, content in (("coco", proposed), ("cvat-labels", labels)):
            path = self.folder / "proposals" / f"{name}.json"
            atomic_write(path, json.dumps(content, ensure_ascii=False))
        atomic_write(self.folder / "proposals/README.txt", proposals.README)
        return images, objects
