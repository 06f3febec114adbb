"""A model's proposals, to be corrected rather than drawn: labelme json, COCO json that CVAT takes.

They are no labels. They lie in a folder that `data.folder` does not look into, and each file says
`checked: false`, in the `flags` that labelme shows as boxes to tick and in the `info` of COCO json,
which CVAT's own exports do not carry on; what says so counts as not looked at, wherever it lies.

An object is one polygon. Its holes are cut open to the outside, there and back along one line: the
polygons of neither format have holes, and drawing programs and pycocotools fill such a one rightly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask
from scipy.spatial.distance import cdist
from skimage.measure import approximate_polygon, find_contours

from scrapseg.data.classes import ScrapClass
from scrapseg.models.segmenter import Prediction

#: Polygons have as few points as give this IoU with what the model found.
LEAST_IOU = 0.985
#: Of COCO json.
INFO = {"description": "proposals of ScrapSeg that nobody has checked", "checked": False}
README = """Proposals of a model: look at each, correct what is wrong, and they are labels.
Nothing here counts as a label before that, not even "nothing found".

labelme   Copy the contents of labelme/ to your images, each file beside its image (the command
          labelme opens that folder then), correct, tick "checked" in the list of flags, save.
          An image without objects that is ticked and saved counts as clean.
CVAT      Make a task of your images with the labels of cvat-labels.json ("Raw"), upload coco.json
          as annotations in format COCO 1.0, correct, export as COCO 1.0, and put the export's json
          beside your images. CVAT exports all images of a task or job, so those without objects
          count as clean: split off what you have not looked at.

Then run make apply on the folder again. Images that have labels already are not among these.
"""


def outline(mask: np.ndarray) -> np.ndarray:
    """One polygon (N, 2) of x, y around a connected mask (H, W), with corners as in COCO.

    The coarsest of some simplifications whose IoU with the mask is `LEAST_IOU` or more; holes that
    do not matter for that are filled.
    """
    # At half the height between 0 and 1: lines between pixels' centres, which corners lie 1/2 off.
    contours = find_contours(np.pad(mask, 1), 0.5, fully_connected="high")
    rings = sorted((c[:, ::-1] - 0.5 for c in contours), key=lambda ring: -abs(_area(ring)))
    true = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    tolerance = np.sqrt(mask.sum()) / 16
    while True:
        tolerance = tolerance / 2 if tolerance > 0.25 else 0
        shown = [approximate_polygon(r, tolerance) for r in rings]
        shown = [r[:-1] for r in shown if len(r) > 3 and abs(_area(r)) > tolerance**2]
        polygon = _joined(shown) if shown else rings[0][:-1]
        drawn = coco_mask.frPyObjects([polygon.ravel().tolist()], *mask.shape)
        if not tolerance or coco_mask.iou(drawn, [true], [0])[0, 0] >= LEAST_IOU:
            return polygon


def _area(ring: np.ndarray) -> float:
    """Signed area of a polygon (N, 2)."""
    x, y = ring.T
    return float(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """The first polygon with the others cut into it where they come nearest to what is there."""
    polygon = rings[0]
    for hole in rings[1:]:
        here, there = np.unravel_index(cdist(polygon, hole).argmin(), (len(polygon), len(hole)))
        hole = np.roll(hole, -there, axis=0)
        polygon = np.concatenate((polygon[: here + 1], hole, hole[:1], polygon[here:]))
    return polygon


def labelme(name: str, p: Prediction) -> dict:
    """What a labelme file holds of an image of this name."""
    shapes = []
    for o in p.objects:
        left, top, right, bottom = o.box
        polygon = outline(p.instances[top:bottom, left:right] == o.number) + (left, top)
        shape = {"label": o.name, "points": polygon.round(2).tolist(), "shape_type": "polygon"}
        shape |= {"group_id": None, "description": f"score {o.score:.2f}", "flags": {}}
        shapes.append(shape | {"mask": None})
    height, width = p.label.shape
    content = {"version": "6.3.1", "flags": {"checked": False}, "shapes": shapes}  # of labelme
    content |= {"imagePath": name, "imageData": None}
    return content | {"imageHeight": height, "imageWidth": width}


def cvat_labels(classes: Sequence[ScrapClass]) -> list[dict]:
    """What CVAT's constructor of labels takes, which it needs before it takes COCO json."""
    return [
        {"name": c.name, "color": "#{:02x}{:02x}{:02x}".format(*c.colour), "attributes": []}
        for c in classes[1:]
    ]
