"""Does `scrapseg watch` count what passes? Measured on a film whose objects are known.

    python -m making.belt_film --out results/bench      # about five minutes on two idle cores

The film is made of ScrapSim's test images of belts, laid side by side: a window of one image's
size moves along them. Pieces that an image's edge cuts, the next image's edge cuts too, as if
they lay beside each other. What is counted is compared with the true instances twice: with the
true masks in place of a model, which is the tracker's own error, and with the model that comes
along.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from making.inference import with_peak
from scrapseg.app import track
from scrapseg.app.watch import watch
from scrapseg.data.base import MIN_PIXELS, Sample
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.records import provenance
from scrapseg.files import REPOSITORY, atomic_write
from scrapseg.models.segmenter import Prediction, Segmenter, load

#: Side of a frame in pixels as a multiple of 384, and of how many of them, before they are made
#: larger, the belt moves from one frame to the next; and frames a second of the film.
CASES, FPS = ((1, 24), (1, 96), (1, 192), (2, 96)), 10.0


@dataclass(frozen=True)
class Belt:
    """Images side by side, and a window that moves along them.

    Attributes:
        image: uint8 (H, W, 3). label: uint8 (H, W). instances: int32 (H, W), each object of all
            images with a number of its own. step: pixels from frame to frame.
    """

    image: np.ndarray
    label: np.ndarray
    instances: np.ndarray
    step: int = 24
    enlarged: int = 1

    @classmethod
    def of(cls, samples: Sequence[Sample], step: int = 24, enlarged: int = 1) -> Belt:
        """The belt of some images of one height; step: before they are made larger."""
        parts, highest = [], 0
        for s in samples:
            parts.append(np.where(s.instances > 0, s.instances.astype(np.int32) + highest, 0))
            highest = max(highest, int(parts[-1].max()))
        image, label = (
            np.concatenate([getattr(s, n) for s in samples], 1) for n in ("image", "label")
        )
        maps = (label, np.concatenate(parts, 1))
        if enlarged > 1:
            size = (enlarged * label.shape[1], enlarged * label.shape[0])
            image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
            maps = (m.repeat(enlarged, 0).repeat(enlarged, 1) for m in maps)
        return cls(image, *maps, step * enlarged, enlarged)

    def views(self) -> Iterator[slice]:
        """The columns that each frame shows."""
        height, width = self.label.shape
        for left in range(0, width - height + 1, self.step):
            yield slice(left, left + height)

    def truth(self) -> pd.DataFrame:
        """The objects: number, class index, pixels, box."""
        rows = []
        for number in np.unique(self.instances)[1:]:
            down, right = np.nonzero(self.instances == number)
            box = (right.min(), down.min(), right.max() + 1, down.max() + 1)
            index = int(self.label[down[0], right[0]])
            rows.append((int(number), index, len(down), tuple(int(v) for v in box)))
        return pd.DataFrame(rows, columns=["number", "class", "pixels", "box"])

    def write(self, path: Path) -> Path:
        """Write the film."""
        side = self.label.shape[0]
        code = cv2.VideoWriter_fourcc(*"mp4v")
        film = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, FPS, (side, side))
        for columns in self.views():
            film.write(np.ascontiguousarray(self.image[:, columns, ::-1]))
        film.release()
        return path


class TrueMasks:
    """In a segmenter's place: the true objects of a belt's frames, one call after another."""

    def __init__(self, belt: Belt, segmenter: Segmenter) -> None:
        self.classes, self._segmenter = segmenter.classes, segmenter
        self._belt, self._views = belt, belt.views()

    def predict(self, image: np.ndarray) -> Prediction:
        """The next frame's; each connected part of a class is an object, as of a segmenter."""
        label = self._belt.label[:, next(self._views)]
        score = (label > 0).astype(np.float32)
        label, instances, objects = self._segmenter.objects(label, score)
        whole = (float(score.max()), 0.0, np.zeros(1, np.float32))
        return Prediction(image, label, score, label, instances, objects, *whole)


def matched(belt: Belt, events: Sequence[dict], classes: Sequence[str]) -> pd.DataFrame:
    """How often each true object was counted.

    An event belongs to the true object that its box overlaps most (IoU of boxes, 0.1 at least), of
    its own class where there is one.

    Returns:
        `Belt.truth`, of at least `MIN_PIXELS` of the images before they were made larger, with
        count and right, how many events it has and how many of those name its class; the number of
        events that belong to none is in `attrs["false"]`.
    """
    table = belt.truth()
    boxes = np.array(table["box"].tolist(), float).reshape(-1, 4)
    counts, right, false = Counter(), Counter(), 0
    for event in events:
        left = event["frame"] * belt.step
        box = np.array(event["box"], float) + (left, 0, left, 0)
        low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
        both = np.prod(np.clip(high - low, 0, None), 1)
        sizes = [np.prod(b[..., 2:] - b[..., :2], -1) for b in (boxes, box)]
        iou = both / (sizes[0] + sizes[1] - both)
        alike = (table["class"] == classes.index(event["class"])).to_numpy()
        of = int((np.where(iou >= 0.1, iou + alike, 0)).argmax())
        if iou[of] < 0.1:
            false += 1
            continue
        counts[of] += 1
        right[of] += bool(alike[of])
    table["count"], table["right"] = ([c[k] for k in table.index] for c in (counts, right))
    smallest = MIN_PIXELS * belt.enlarged**2
    table = table[table["pixels"] >= smallest].reset_index(drop=True)
    table.attrs["false"] = false
    return table


def measure(belt: Belt, segmenter: Segmenter | TrueMasks) -> dict[str, float]:
    """Watch a belt's film and compare.

    Returns:
        frames, frames_per_s (overlay film included), peak_mb (see `with_peak`), objects (true ones
        of `MIN_PIXELS` at least), events, and shares of the objects: found (counted at all), once,
        twice (or more often) and right_class (of those found); false_events: of no true object.
    """
    with tempfile.TemporaryDirectory() as folder:
        film = belt.write(Path(folder) / "belt.mp4")
        made, peak = with_peak(lambda: watch(str(film), Path(folder) / "out", segmenter))
        summary = json.loads((made / "summary.json").read_text(encoding="utf-8"))
        lines = (made / "events.jsonl").read_text(encoding="utf-8").splitlines()
    table = matched(belt, [json.loads(line) for line in lines], [c.name for c in segmenter.classes])
    found = table[table["count"] > 0]
    return {
        "frames": summary["frames"],
        "frames_per_s": summary["frames_per_s"],
        "peak_mb": peak,
        "objects": len(table),
        "events": len(lines),
        "found": float((table["count"] > 0).mean()),
        "once": float((table["count"] == 1).mean()),
        "twice": float((table["count"] > 1).mean()),
        "right_class": float((found["right"] > 0).mean()) if len(found) else np.nan,
        "false_events": table.attrs["false"],
    }


def main() -> None:
    """Command line; writes watch.csv and watch.json."""
    parser = argparse.ArgumentParser(prog="python -m making.belt_film", description="Count a belt.")
    parser.add_argument("--out", type=Path, help="folder for the table and its provenance")
    parser.add_argument("--split", default="test", help="val to choose by")
    parser.add_argument("--images", type=int, default=40, help="of the split's belts")
    given = parser.parse_args()
    clock, started = time.perf_counter(), datetime.now(UTC)
    split, model = ScrapSim(REPOSITORY / "data/scrapsim", given.split), load()
    ids = [i for i in split.ids if split.meta[i]["setting"] == "belt"][: given.images]
    rows = []
    for enlarged, step in CASES:
        belt = Belt.of([split.sample(i) for i in ids], step, enlarged)
        case = {"side": len(belt.label), "step": belt.step}
        for masks, used in (("true", TrueMasks(belt, model)), ("model", model)):
            rows.append({"masks": masks} | case | measure(belt, used))
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    if given.out:
        atomic_write(given.out / "watch.csv", table.to_csv(index=False, float_format="%.4g"))
        made = {"images": ids, "model": model.origin, "threshold": model.threshold}
        made |= {"least_share": track.LEAST_SHARE}
        made["threads"] = torch.get_num_threads()
        made["provenance"] = provenance(time.perf_counter() - clock, split.sha256, "CPU", started)
        atomic_write(given.out / "watch.json", json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
