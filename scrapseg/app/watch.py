"""Watch a belt: one line per object that passes, and a film of what was found.

What comes out lies in a folder of its own: `events.jsonl`, written line by line as objects leave
the view; `overlay.mkv`, which plays up to where it was cut even after a power cut; and at the end
`summary.json`, which says what the events' `time_s` counts from, and how many frames a second were
looked at while there were any. Ctrl-C ends it, with everything written.
"""

from __future__ import annotations

import functools
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from scrapseg.app.frames import open_source
from scrapseg.app.outputs import new_folder, tinted
from scrapseg.app.track import Track, Tracker
from scrapseg.data.base import DataError, read_image
from scrapseg.data.classes import CLASSES, SLUGS, ScrapClass
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.files import REPOSITORY, WriteFailed, atomic_write
from scrapseg.metrics.mass import CONTENT, STEEL_KG_PER_M2, MassModel, materials
from scrapseg.models.segmenter import Prediction, Segmenter, load

#: Longer side of the overlays in pixels, their frames a second where the source has no rate, and
#: bytes of the disk that the film leaves to its own end, to the events and the summary.
OVERLAY_SIDE, RATE, SPARE = 960, 10.0, 1 << 24


def watch(
    source: str,
    out: str | Path | None = None,
    segmenter: Segmenter | None = None,
    *,
    pixel_mm: float | None = None,
    overlay: bool = True,
    **options,
) -> Path:
    """Find what passes, until the source ends or is stopped.

    Args:
        source, options: see `frames.open_source`.
        out: folder to make, by default results/watch/<name of the source>; the name gets a number
            where there is one already.
        segmenter: by default the model that comes along.
        pixel_mm: side of a pixel on the belt, in millimetres: events have cm² and kg with it.
        overlay: write the film; where it cannot be written, that is said, and the rest goes on.

    Returns:
        The folder that was made.

    Raises:
        DataError: the source cannot be read. WriteFailed: the disk is full.
    """
    say = functools.partial(tqdm.write, file=sys.stderr)
    frames = open_source(source, say=say, **options)
    segmenter = segmenter or load()
    named = Path(frames.name.replace(":", "/")).resolve().name
    folder = new_folder(out or Path("results/watch") / named)
    path, tracker, tally = folder / "events.jsonl", Tracker(), Tally(segmenter.classes, pixel_mm)
    film, rate = cv2.VideoWriter(), (frames.fps or RATE) / frames.every
    begun, seen, told = time.monotonic(), 0, 10
    try:
        for frame in tqdm(frames, total=frames.total, mininterval=1 if sys.stderr.isatty() else 60):
            p = segmenter.predict(frame.image)
            ended = tracker.update(frame, p.instances, p.objects)
            tally.steel(p.label, tracker.fresh)
            append(path, tally.events(ended))
            seen += 1
            if overlay:
                image = drawn(p, tracker, tally)
                if seen == 1:
                    code, size = cv2.VideoWriter_fourcc(*"mp4v"), image.shape[1::-1]
                    film.open(str(folder / "overlay.mkv"), cv2.CAP_FFMPEG, code, rate, size)
                film.write(cv2.resize(image, size)[..., ::-1])
                overlay = film.isOpened() and shutil.disk_usage(folder).free > SPARE
                if not overlay:  # OpenCV says nothing of what it cannot write
                    film.release()
                    lost = f"cannot be written, full disk? None after frame {seen}"
                    say(f"{folder / 'overlay.mkv'}: {lost}")
            if (behind := frames.dropped + frames.waiting) >= told:
                lost = f"{frames.dropped} dropped, {frames.waiting} pictures wait"
                say(f"cannot keep up: {seen} frames looked at, {lost}")
                told = 2 * behind
    finally:  # whatever ended it
        frames.stop.set()
        film.release()
        last = tally.events(tracker.tracks.values())
        busy = time.monotonic() - begun - frames.idle_s
        rate = round(seen / max(busy, 1e-9), 2)
        summary = {"source": frames.name, "time_s_since": frames.since, "frames": seen}
        summary |= {"dropped": frames.dropped, "frames_per_s": rate}
        summary |= {"objects": dict(tally.objects), "cuts": tracker.cuts}
        summary |= {"flickers": tally.flickers, "copper_share": tally.copper_share}
        text = json.dumps(summary, ensure_ascii=False)
        print(text)
        atomic_write(folder / "summary.json", f"{text}\n")
        append(path, last)
    return folder


def append(path: Path, events: Sequence[dict]) -> None:
    """Add a line each to a file: all of them, or none and `WriteFailed`."""
    try:
        with path.open("ab", buffering=0) as file:
            text = "".join(json.dumps(e, ensure_ascii=False) + "\n" for e in events).encode()
            if (written := file.write(text)) < len(text):
                file.truncate(file.tell() - written)
                raise WriteFailed(f"cannot write {path}: the disk is full")
    except OSError as error:
        raise WriteFailed(f"cannot write {path}: {error.strerror}") from error


class Tally:
    """What has passed so far: objects by class, and kilograms of each material.

    Masses are those of `metrics.mass`: an area times a number per class, fitted on ScrapSim, and
    its assumption on steel. The copper share does not depend on the size of a pixel.
    """

    def __init__(self, classes: Sequence[ScrapClass], pixel_mm: float | None) -> None:
        self.classes, self.pixel_mm, self.density = classes, pixel_mm, densities(classes)
        self.objects, self.flickers = Counter[str](), 0
        self._kg = np.zeros(len(CLASSES))  # per (m² / pixel)

    def steel(self, label: np.ndarray, fresh: float) -> None:
        """Add the steel that came into view with a frame of which `fresh` is new."""
        self._kg[0] += fresh * float((label == 0).sum()) * STEEL_KG_PER_M2

    @property
    def copper_share(self) -> float | None:
        """Of the mass of all that passed, 0..1; None where no class is known to hold copper."""
        if CONTENT["copper"].keys().isdisjoint(self.density) or not self._kg.any():
            return None
        return round(float(materials(self._kg[None])["copper"][0] / self._kg.sum()), 6)

    def events(self, ended: Iterable[Track]) -> list[dict]:
        """A line for each object that has passed."""
        self.flickers += sum(not t.counts for t in ended)
        return [self._event(t) for t in ended if t.counts]

    def _event(self, track: Track) -> dict:
        index = track.votes.most_common(1)[0][0]  # the class of most pixels over all frames
        c, at, area = self.classes[index], track.at, track.largest.area
        self.objects[c.name] += 1
        m2 = area * (self.pixel_mm / 1000) ** 2 if self.pixel_mm else None
        kg = None
        if (kg_per_m2 := self.density.get(c.slug)) is not None:
            self._kg[SLUGS.index(c.slug)] += area * kg_per_m2
            kg = m2 and round(m2 * kg_per_m2, 4)
        event = {"object": track.number, "class": c.name, "time_s": round(at.time_s, 3)}
        event |= {"frame": at.number, "picture": at.name or None, "frames": track.found}
        event |= {"box": track.largest.box, "score": round(track.largest.score, 4)}
        event |= {"area_px": area, "area_cm2": m2 and round(m2 * 1e4, 2), "mass_kg": kg}
        return event | {"copper_share": self.copper_share}


def densities(classes: Sequence[ScrapClass]) -> dict[str, float]:
    """Kilograms per visible square metre by slug, of those that are the benchmark's classes; none
    where ScrapSim, on which they are fitted, is not there."""
    try:
        train = ScrapSim(REPOSITORY / "data/scrapsim", "train", verify=False)
        labels = np.stack([read_image(train.path(id, "labels")) for id in train.ids])
    except DataError:
        return {}
    fitted = dict(zip(SLUGS, MassModel.fit(train, labels).kg_per_m2, strict=True))
    return {c.slug: fitted[c.slug] for c in classes[1:] if c.slug in fitted}


def drawn(p: Prediction, tracker: Tracker, tally: Tally) -> np.ndarray:
    """A frame with its objects' outlines, numbers and names, uint8 (h, w, 3)."""
    image = Image.fromarray(tinted(p, tally.classes, OVERLAY_SIDE))
    draw, factor = ImageDraw.Draw(image), image.width / p.image.shape[1]
    style = {"fill": "white", "stroke_width": 2, "stroke_fill": "black", "font_size": 14}
    for track in tracker.tracks.values():
        if track.last == track.age:  # found in this frame
            place = [factor * v for v in track.now.box[:2]]
            draw.text(place, f"{track.number} {track.now.name}", **style)
    line = f"{tally.objects.total()} passed"
    if (share := tally.copper_share) is not None:
        line += f"   copper {100 * share:.2f} %"
    draw.text((6, image.height - 22), line, **style)
    return np.asarray(image)
