"""What comes out, as files other tools read: overlays, label images, COCO json, CSV, proposals.

Everything goes into a folder that `new_folder` made, which did not exist before: nothing is ever
written over.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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

    What was found in an image lies in `records/`, not in memory, and is written after its other
    files: a writer of the same folder goes on where another was interrupted.

    Args:
        folder: from `new_folder`. classes: the class list.
        model: what decides a prediction beside the image, as `Segmenter.fingerprint` says it.

    Attributes:
        embeddings: those of all images, float32 (N, D), once it is finished.
    """

    def __init__(self, folder: Path, classes: Sequence[ScrapClass], model: str = "") -> None:
        self.folder, self.classes, self.model = folder, classes, model
        self.records: list[Path] = []
        self.embeddings = np.zeros((0, 0), np.float32)

    def kept(self, id: str, file: Path, *, propose: bool = True) -> bool:
        """Whether there is all that `add` would write, of this very image and model; it counts as
        added then."""
        path = self.folder / "records" / f"{id}.json"
        there = path.is_file() and json.loads(path.read_text())["key"] == self._key(file, propose)
        self.records += [path] * there
        return there

    def _key(self, file: Path, propose: bool) -> list:
        content = hashlib.sha256(file.read_bytes()).hexdigest() if self.model else None
        return [__version__, file.name, content, self.model, propose]

    def add(self, id: str, file: Path, p: Prediction, *, propose: bool = True) -> None:
        """Write an image's overlay, thumbnail and label image, and what was found.

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
        polygons = None
        if propose:
            content = proposals.labelme(file.name, p)
            path = (self.folder / "proposals/labelme" / id).with_name(f"{file.stem}.json")
            atomic_write(path, json.dumps(content, ensure_ascii=False, indent=1))
            polygons = [shape["points"] for shape in content["shapes"]]
        record = {"key": self._key(file, propose), "row": row, "polygons": polygons}
        record["objects"] = [_coco_annotation(o, p.instances == o.number) for o in p.objects]
        record["embedding"] = p.embedding.tolist()
        path = self.folder / "records" / f"{id}.json"
        self.records.append(atomic_write(path, json.dumps(record)))

    def _numbered(self) -> Iterator[tuple[dict, dict, list[dict]]]:
        """All records, one at a time, with their image and annotations as COCO json has them."""
        seen = 0
        for number, path in enumerate(self.records, start=1):
            record = json.loads(path.read_text())
            row, ids = record["row"], itertools.count(seen + 1)
            image = {"id": number, "file_name": row["image"]}
            image |= {"height": row["height"], "width": row["width"]}
            seen += len(record["objects"])
            of = {"image_id": number}
            yield record, image, [{"id": next(ids)} | of | o for o in record["objects"]]

    def finish(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Write `images.csv`, `objects.csv`, `coco.json`, the proposals; return the two tables."""
        columns = ["image", "object", "class", "area", "score", "left", "top", "right", "bottom"]
        names = {c.index: c.name for c in self.classes}
        coco_images, rows, found, proposed, embeddings = [], [], [], [], []
        for record, image, drawn in self._numbered():
            coco_images.append(image)
            rows.append(record["row"])
            embeddings.append(np.array(record["embedding"], np.float32))
            if record["polygons"] is not None:
                proposed.append(image)
            for number, a in enumerate(drawn, start=1):
                left, top, width, height = a["bbox"]
                row = (image["file_name"], number, names[a["category_id"]], a["area"], a["score"])
                found.append((*row, left, top, left + width, top + height))
        images, objects = pd.DataFrame(rows), pd.DataFrame(found, columns=columns)
        self.embeddings = np.array(embeddings)
        for name, table in (("images", images), ("objects", objects)):
            content = table.to_csv(index=False, float_format="%.5f")
            atomic_write(self.folder / f"{name}.csv", content)
        kind = {"supercategory": "impurity"}
        made = datetime.now(UTC).isoformat(timespec="seconds")
        description = f"impurities found by ScrapSeg {__version__}"
        content = {"info": {"description": description, "date_created": made}, "licenses": []}
        content |= {"images": coco_images}
        content["categories"] = [{"id": c.index, "name": c.name} | kind for c in self.classes[1:]]
        every = (a for _, _, drawn in self._numbered() for a in drawn)
        atomic_write(self.folder / "coco.json", coco_text(content, every))
        content |= {"info": proposals.INFO, "images": proposed}
        every = (
            a | {"segmentation": [[v for point in points for v in point]]}
            for record, _, drawn in self._numbered()
            for a, points in zip(drawn, record["polygons"] or (), strict=False)
        )
        atomic_write(self.folder / "proposals/coco.json", coco_text(content, every))
        labels = json.dumps(proposals.cvat_labels(self.classes), ensure_ascii=False)
        atomic_write(self.folder / "proposals/cvat-labels.json", labels)
        atomic_write(self.folder / "proposals/README.txt", proposals.README)
        return images, objects


def coco_text(content: dict, annotations: Iterable[dict]) -> Iterator[str]:
    """COCO json in pieces: a folder's annotations may be many.

    Args:
        content: all else.
    """
    yield f'{json.dumps(content)[:-1]}, "annotations": ['
    for k, annotation in enumerate(annotations):
        yield ", " * (k > 0) + json.dumps(annotation)
    yield "]}"


def _coco_annotation(o: Object, mask: np.ndarray) -> dict:
    left, top, right, bottom = o.box
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    packed = {"size": rle["size"], "counts": rle["counts"].decode()}
    found = {"category_id": o.index, "segmentation": packed, "area": o.area}
    found |= {"bbox": [left, top, right - left, bottom - top], "iscrowd": 0}
    return found | {"score": round(o.score, 6)}
