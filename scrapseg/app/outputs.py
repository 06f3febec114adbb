"""What comes out, as files other tools read: overlays, label images, COCO json, CSV.

Everything goes into a folder that `new_folder` made, which did not exist before: nothing is ever
written over.
"""

from __future__ import annotations

import io
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
from scrapseg.data.base import DataError, shrunk
from scrapseg.data.classes import ScrapClass
from scrapseg.files import atomic_write
from scrapseg.models.segmenter import Prediction
from scrapseg.report.style import overlay

#: Overlays are to be looked at on a screen: their longer side in pixels, at most.
OVERLAY_SIDE = 1600
THUMBNAIL_SIDE = 320


def new_folder(wanted: str | Path) -> Path:
    """Make a folder of this name, or with -2, -3, ... where there is one already.

    Raises:
        DataError: it cannot be made.
    """
    wanted = Path(wanted)
    for number in range(1, 10_000):
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
    raise DataError(f"{wanted}: ten thousand of them exist; clear some away")


def colours_of(classes: Sequence[ScrapClass]) -> np.ndarray:
    """Colours (classes, 3) in 0..1."""
    return np.array([c.colour for c in classes]) / 255


def tinted(p: Prediction, classes: Sequence[ScrapClass], side: int = OVERLAY_SIDE) -> np.ndarray:
    """A prediction laid over its image, uint8 (h, w, 3)."""
    image, label = shrunk(p.image, side), shrunk(p.label, side)
    return overlay(image, label, 0.35, colours_of(classes), rim=max(1, max(image.shape) // 300))


def jpeg(pixels: np.ndarray, quality: int = 88) -> bytes:
    """An image uint8 (H, W, 3) as the content of a JPEG file."""
    return _encoded(Image.fromarray(pixels), format="jpeg", quality=quality)


def _encoded(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def label_png(label: np.ndarray, classes: Sequence[ScrapClass]) -> bytes:
    """A palette PNG whose values are the class indices."""
    coded = Image.fromarray(label)
    flat = [v for c in classes for v in c.colour]
    coded.putpalette(flat + [0] * (768 - len(flat)))
    return _encoded(coded, format="png", optimize=True)


class Writer:
    """Writes each prediction's files as it comes, and the tables and the COCO json at the end.

    Args:
        folder: from `new_folder`. classes: the class list.
    """

    def __init__(self, folder: Path, classes: Sequence[ScrapClass]) -> None:
        self.folder, self.classes = folder, classes
        self.images: list[dict] = []
        self.objects: list[dict] = []
        self.coco_images: list[dict] = []
        self.annotations: list[dict] = []

    def add(self, id: str, file: Path, p: Prediction) -> None:
        """Write an image's overlay, thumbnail and label image, and note its rows."""
        atomic_write(self.folder / "overlays" / f"{id}.jpg", jpeg(tinted(p, self.classes)))
        small = tinted(p, self.classes, THUMBNAIL_SIDE)
        atomic_write(self.folder / "thumbnails" / f"{id}.jpg", jpeg(small, 82))
        atomic_write(self.folder / "labels" / f"{id}.png", label_png(p.label, self.classes))
        pixels = np.bincount(p.label.ravel(), minlength=len(self.classes))
        counts = Counter(o.index for o in p.objects)
        row = {
            "image": file.name,
            "width": p.label.shape[1],
            "height": p.label.shape[0],
            "score": p.image_score,
            "uncertainty": p.uncertainty,
            "objects": len(p.objects),
            "impurity_share": float((p.label > 0).mean()),
        }
        for c in self.classes[1:]:
            row |= {f"{c.slug}_objects": counts[c.index], f"{c.slug}_pixels": int(pixels[c.index])}
        self.images.append(row)
        number = len(self.coco_images) + 1
        size = dict(zip(("height", "width"), p.label.shape, strict=True))
        self.coco_images.append({"id": number, "file_name": file.name, **size})
        for o in p.objects:
            self._add_object(file.name, number, p.instances == o.number, o)

    def _add_object(self, file: str, image: int, mask: np.ndarray, o) -> None:
        left, top, right, bottom = o.box
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        self.annotations.append(
            {
                "id": len(self.annotations) + 1,
                "image_id": image,
                "category_id": o.index,
                "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                "area": o.area,
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": 0,
                "score": round(o.score, 6),
            }
        )
        box = {"left": left, "top": top, "right": right, "bottom": bottom}
        self.objects.append(
            {"image": file, "object": o.number, "class": o.name, "area": o.area, "score": o.score}
            | box
        )

    def finish(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Write `images.csv`, `objects.csv` and `coco.json`; return the two tables."""
        images = pd.DataFrame(self.images)
        columns = ["image", "object", "class", "area", "score", "left", "top", "right", "bottom"]
        objects = pd.DataFrame(self.objects, columns=columns)
        for name, table in (("images", images), ("objects", objects)):
            atomic_write(
                self.folder / f"{name}.csv", table.to_csv(index=False, float_format="%.5f")
            )
        now = datetime.now(UTC)
        coco = {
            "info": {
                "description": f"impurities found by ScrapSeg {__version__}",
                "year": now.year,
                "date_created": now.isoformat(timespec="seconds"),
            },
            "licenses": [],
            "images": self.coco_images,
            "annotations": self.annotations,
            "categories": [
                {"id": c.index, "name": c.name, "supercategory": "impurity"}
                for c in self.classes[1:]
            ],
        }
        atomic_write(self.folder / "coco.json", json.dumps(coco))
        return images, objects
