"""Watch a belt: one line per object that passes, and a film of what was found.

What comes out lies in a folder of its own: `events.jsonl`, written line by line as objects leave
the view; `overlay-001.mp4`, -002, ... for a film or camera, `overlays/` for a folder of pictures;
and at the end `summary.json`. Ctrl-C ends it, with everything written.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from scrapseg.app.frames import Film, Folder, Frame, Source, open_source
from scrapseg.app.outputs import new_folder, save_image, tinted
from scrapseg.app.track import Track, Tracker
from scrapseg.data.base import DataError, read_image
from scrapseg.data.classes import CLASSES, SLUGS, ScrapClass
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.files import REPOSITORY, WriteFailed, atomic_write
from scrapseg.metrics.mass import STEEL_KG_PER_M2, MassModel, materials
from scrapseg.models.segmenter import Prediction, Segmenter, starting_model

#: Longer side of the overlays in pixels, frames a second where the source has no rate of its own,
#: and frames in a part of the film: what a power cut can cost.
OVERLAY_SIDE, RATE, PART = 960, 10.0, 3000
#: Seconds between two looks at whether it keeps up.
PACE_S = 10.0


def watch(
    source: str,
    out: str | Path | None = None,
    segmenter: Segmenter | None = None,
    *,
    every: int = 1,
    wait: float | None = None,
    pixel_mm: float | None = None,
    overlay: bool = True,
) -> Path:
    """Find what passes, until the source ends or Ctrl-C.

    Args:
        source, every, wait: see `frames.open_source`.
        out: folder to make, by default results/watch/<name of the source>; the name gets a number
            where there is one already.
        segmenter: by default the model that comes along.
        pixel_mm: side of a pixel on the belt, in millimetres: events have cm² and kg with it.
        overlay: write the overlays.

    Returns:
        The folder that was made.

    Raises:
        DataError: the source cannot be read. WriteFailed: the disk is full.
    """

    def say(line: str) -> None:
        tqdm.write(line, file=sys.stderr)

    with stopped_by_signals() as stop:
        opened = open_source(source, every=every, wait=wait, stop=stop, say=say)
        segmenter = segmenter or starting_model()
        name = "-".join(Path(opened.name.rstrip("/").replace(":", "/")).parts[-2:]).strip("/-")
        folder = new_folder(out or Path("results/watch") / (name or "camera"))
        summary = follow(opened, segmenter, folder, pixel_mm=pixel_mm, overlay=overlay)
    print(line_of(opened.name, summary))
    return folder


def follow(
    source: Source,
    segmenter: Segmenter,
    folder: Path,
    *,
    pixel_mm: float | None = None,
    overlay: bool = True,
) -> dict:
    """Look at each frame and write what passes; return (and write) the summary.

    Whatever ends it, the objects in view become events and the film is closed.
    """
    tracker, tally = Tracker(), Tally(segmenter.classes, pixel_mm)
    film = Overlay(folder, segmenter.classes, source)
    pace, taken, begun = Pace(source), 0, time.monotonic()
    path = folder / "events.jsonl"
    quiet = 1 if sys.stderr.isatty() else 60
    bar = tqdm(source, total=source.total, unit="frame", mininterval=quiet)
    with path.open("a", encoding="utf-8") as events, contextlib.closing(film):

        def put(tracks: Sequence[Track]) -> None:
            for track in tracks:
                if event := tally.event(track, source.began):
                    try:
                        events.write(json.dumps(event, ensure_ascii=False) + "\n")
                        events.flush()
                    except OSError as error:
                        raise WriteFailed(f"cannot write {path}: {error.strerror}") from error

        try:
            for frame in bar:
                p = segmenter.predict(frame.image)
                at = (frame.number, frame.time_s, frame.name)
                put(tracker.update(frame.image, p.instances, p.objects, at))
                tally.pass_by(p.label, tracker.fresh)
                taken += 1
                if overlay:
                    film.add(frame, p, tracker, tally)
                bar.set_postfix(
                    objects=tally.objects.total(), dropped=source.dropped, refresh=False
                )
                pace.look(taken)
        finally:
            put(tracker.finish())
    seconds = time.monotonic() - begun
    summary = {"source": source.name, "frames": taken, "dropped": source.dropped}
    summary |= {"seconds": round(seconds, 1), "frames_per_s": round(taken / seconds, 2)}
    summary |= {"objects": dict(tally.objects), "copper_share": tally.copper_share}
    summary |= {"flickers": tally.flickers, "breaks": tracker.cuts}
    atomic_write(folder / "summary.json", json.dumps(summary, ensure_ascii=False, indent=1) + "\n")
    return summary


def line_of(name: str, summary: dict) -> str:
    """A summary in a line."""
    counts = sorted(summary["objects"].items(), key=lambda item: -item[1])
    listed = f" ({', '.join(f'{n} {c}' for c, n in counts)})" if counts else ""
    line = f"{name}: {summary['frames']} frames at {summary['frames_per_s']:.1f} a second"
    line += f", {summary['dropped']} dropped" * bool(summary["dropped"])
    line += f"; {sum(summary['objects'].values())} objects{listed}"
    if summary["copper_share"] is not None:
        line += f"; copper {100 * summary['copper_share']:.2f} % of the mass seen, estimated"
    if summary["flickers"]:
        line += (
            f"; {summary['flickers']} seen in one frame alone or as part of another, not counted"
        )
    if summary["breaks"]:
        line += f"; {summary['breaks']} frames had nothing in common with the one before"
    return line


class Tally:
    """What has passed so far: objects by class, and kilograms of each material.

    Masses are those of `metrics.mass`: an area times a number per class, fitted on ScrapSim, and
    its assumption on steel. The copper share does not depend on the size of a pixel.
    """

    def __init__(self, classes: Sequence[ScrapClass], pixel_mm: float | None) -> None:
        self.classes, self.pixel_mm = classes, pixel_mm
        self.objects: Counter[str] = Counter()
        self.flickers = 0
        self.density = densities()
        self._kg = np.zeros(len(CLASSES))  # per (m² / pixel)

    def pass_by(self, label: np.ndarray, fresh: float) -> None:
        """Add the steel that came into view with a frame of which `fresh` is new."""
        self._kg[0] += fresh * float((label == 0).sum()) * STEEL_KG_PER_M2

    @property
    def copper_share(self) -> float | None:
        """Of the mass of all that passed, 0..1; None where masses are unknown."""
        if self.density is None or not self._kg.any():
            return None
        return float(materials(self._kg[None])["copper"][0] / self._kg.sum())

    def event(self, track: Track, began: float | None) -> dict | None:
        """The line of an object that has passed; None where it is none."""
        if not track.counts:
            self.flickers += 1
            return None
        c, area = self.classes[track.index], track.largest.area
        self.objects[c.name] += 1
        kg_per_m2 = None
        if self.density is not None and c.slug in SLUGS:
            kg_per_m2 = self.density[SLUGS.index(c.slug)]
            self._kg[SLUGS.index(c.slug)] += area * kg_per_m2
        m2 = area * (self.pixel_mm / 1000) ** 2 if self.pixel_mm else None
        number, time_s, name = track.largest_at
        event = {"object": track.number, "class": c.name, "time_s": round(time_s, 3)}
        if began is not None:
            at = datetime.fromtimestamp(began + time_s, UTC)
            event["at"] = at.isoformat(timespec="milliseconds")
        event |= {"frame": number} | ({"picture": name} if name else {})
        event |= {"first_s": round(track.first[1], 3), "last_s": round(track.last[1], 3)}
        event |= {"frames": track.alone, "box": track.largest.box, "area_px": area}
        event |= {"area_cm2": m2 and round(m2 * 1e4, 2)}
        event |= {"mass_kg": round(m2 * kg_per_m2, 4) if m2 and kg_per_m2 is not None else None}
        event |= {"score": round(track.largest.score, 4)}
        share = self.copper_share
        return event | {"copper_share": None if share is None else round(share, 6)}


def densities() -> np.ndarray | None:
    """Kilograms per visible square metre of each of the benchmark's classes, (C,); None where
    ScrapSim, on which they are fitted, is not there."""
    try:
        train = ScrapSim(REPOSITORY / "data/scrapsim", "train", verify=False)
        labels = np.stack([read_image(train.path(id, "labels")) for id in train.ids])
    except DataError:
        return None
    return MassModel.fit(train, labels).kg_per_m2


class Overlay:
    """The film, or the pictures, of what was found."""

    def __init__(self, folder: Path, classes: Sequence[ScrapClass], source: Source) -> None:
        self.folder, self.classes = folder, classes
        self.pictures = isinstance(source, Folder)
        self.rate = source.fps / source.every if isinstance(source, Film) and source.fps else RATE
        self.film: cv2.VideoWriter | None = None
        self.size, self.part, self.frames = (0, 0), 0, 0

    def add(self, frame: Frame, p: Prediction, tracker: Tracker, tally: Tally) -> None:
        """Write a frame with its objects' outlines, numbers and names."""
        image = Image.fromarray(tinted(p, self.classes, OVERLAY_SIDE))
        draw, factor = ImageDraw.Draw(image), image.width / p.image.shape[1]
        style = {"fill": "white", "stroke_width": 2, "stroke_fill": "black", "font_size": 14}
        for track in tracker.tracks.values():
            if track.last[0] == frame.number:
                box = [factor * v for v in track.now.box]
                draw.rectangle(box, outline="white")
                text = f"{track.number} {self.classes[track.now.index].name}"
                draw.text((box[0] + 3, box[1] + 1), text, **style)
        share = tally.copper_share
        line = f"{frame.time_s:.1f} s   {tally.objects.total()} passed"
        line += "" if share is None else f"   copper {100 * share:.2f} %"
        draw.text((6, image.height - 22), line, **style)
        if self.pictures:
            name = f"{frame.number:06d}-{Path(frame.name).stem}.jpg"
            save_image(self.folder / "overlays" / name, image, format="jpeg", quality=88)
            return
        if self.film is None or self.size != image.size or self.frames == PART:
            self.close()
            self.size, self.part, self.frames = image.size, self.part + 1, 0
            path = self.folder / f"overlay-{self.part:03d}.mp4"
            code = cv2.VideoWriter_fourcc(*"mp4v")
            self.film = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, self.rate, self.size)
            if not self.film.isOpened():
                raise WriteFailed(f"cannot write {path}; see whether the disk is full")
        self.film.write(np.asarray(image)[..., ::-1])
        self.frames += 1

    def close(self) -> None:
        """Finish the part that is being written, which makes it playable."""
        if self.film is not None:
            self.film.release()
            self.film = None


class Pace:
    """Says where frames come faster than they are looked at: once, and when it is twice as bad."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.since, self.taken, self.dropped, self.told = time.monotonic(), 0, 0, 0.0

    def look(self, taken: int) -> None:
        """Compare with the last look, `PACE_S` ago or more."""
        if (seconds := time.monotonic() - self.since) < PACE_S:
            return
        new, lost = taken - self.taken, self.source.dropped - self.dropped
        self.since, self.taken, self.dropped = time.monotonic(), taken, self.source.dropped
        waiting = self.source.waiting
        behind = lost / new if lost else waiting / 10
        if behind > max(0.1, 2 * self.told):
            line = f"cannot keep up: {new / seconds:.1f} frames a second are looked at"
            came = f" of {(new + lost) / seconds:.1f}, each time the newest; the rest is dropped"
            self.source.say(line + (came if lost else f", {waiting} pictures wait"))
            self.told = behind


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C (or SIGTERM) sets: the frame in work is finished. A second one breaks
    off at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(*_) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before: dict[signal.Signals, Callable | int | None] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
