"""From objects in frames to objects: each is counted once, however many frames show it.

On a belt all moves alike. So one shift is measured between two frames (phase correlation), the map
of the objects seen so far is moved by it, and an object of the new frame is the one whose pixels
it lies on. That holds from the second frame on, for any speed of up to three quarters of a frame,
where trackers of boxes with a motion model each (SORT, 1602.00763; ByteTrack, 2110.06864) must
first learn a speed per object, and boxes of long thin pieces overlap their neighbours'.

Parts of one piece are one object: those that come together while it enters the view, and those
that it falls into while it leaves. What decides is where a part was longer, on its own or within
the other object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from scrapseg.data.base import shrunk
from scrapseg.models.segmenter import Object

#: Longer sides of the maps that are compared: of the frames, for the shift, and of the objects.
SHIFT_SIDE, MAP_SIDE = 256, 768
#: Two frames whose common part correlates less than this show different things.
SAME_VIEW = 0.3
#: The least share of the frame that two frames have in common, for a shift to be believed.
COMMON = 0.25
#: The least share of an object, or of a track where that is smaller, that lies on the other.
SHARED = 0.25
#: Frames that an object may be missed before it is taken to be gone, and the frames it must be
#: found in to count. One that was in view for a single frame counts with that.
PATIENCE, LEAST_FRAMES = 5, 2


At = tuple[int, float, str]
"""Number, seconds and name of a frame, see `frames.Frame`."""


@dataclass
class Track:
    """An object while it is in view.

    Attributes:
        number: from 1. first, last: the frames it was found in first and last. age: how many
            frames there were from the first on. alone, within: in how many it was an object of its
            own, and a part of another one. missed: frames since it was last found.
        votes: pixels per class, over all frames. largest: the object where it has most pixels.
        largest_at: as `first`, of that. now: the object it is in the last frame it was found in.
    """

    number: int
    first: At
    last: At
    largest: Object
    largest_at: At
    now: Object
    within: int = 0
    alone: int = 0
    age: int = 0
    missed: int = 0
    votes: dict[int, int] = field(default_factory=dict)

    def find(self, found: Object, at: At) -> None:
        """Note that it was found as an object of its own."""
        self.alone, self.missed, self.last, self.now = self.alone + 1, 0, at, found
        self.votes[found.index] = self.votes.get(found.index, 0) + found.area
        if found.area > self.largest.area:
            self.largest, self.largest_at = found, at

    @property
    def index(self) -> int:
        """Its class: that of most of its pixels over all frames."""
        return max(self.votes, key=self.votes.get)

    @property
    def counts(self) -> bool:
        """Whether it is an object: not a part of one, and no flicker of a single frame."""
        return self.alone > self.within and self.alone >= min(LEAST_FRAMES, self.age)


class Tracker:
    """Follows objects from frame to frame.

    Attributes:
        tracks: those in view, by number. canvas: int32 (h, w), whose pixel it is, 0 nobody's.
        shift: how far the content moved to the last frame that shows what the one before it shows,
            (down, right) in pixels of the map; None before there was one.
        fresh: share of the last frame that no frame before it showed, 0..1.
        cuts: how often a frame had nothing in common with the one before it.
    """

    def __init__(self) -> None:
        self.tracks: dict[int, Track] = {}
        self.canvas: np.ndarray | None = None
        self.shift: np.ndarray | None = None
        self.fresh, self.cuts, self._count, self._number = 1.0, 0, 0, 0
        self._grey: np.ndarray | None = None
        self._speed: np.ndarray | None = None  # of the grey frames' content, a frame of the source

    def update(
        self,
        image: np.ndarray,
        instances: np.ndarray,
        objects: Sequence[Object],
        at: At,
    ) -> list[Track]:
        """Take in a frame's objects.

        Args:
            image: uint8 (H, W, 3). instances: (H, W), 0 or the `number` of an object.
            objects: as of `Prediction`. at: number, time and name of the frame, see `frames.Frame`.

        Returns:
            The tracks that ended; `Track.counts` says which of them are objects.
        """
        numbered = shrunk(instances, MAP_SIDE)
        ended = self._move(image, numbered, at[0])
        self._match(numbered, objects, at)
        for number in [n for n, t in self.tracks.items() if t.missed > PATIENCE]:
            ended.append(self.tracks.pop(number))
        return ended

    def finish(self) -> list[Track]:
        """The tracks still in view, which end with the film."""
        ended, self.tracks = list(self.tracks.values()), {}
        return ended

    def _move(self, image: np.ndarray, numbered: np.ndarray, number: int) -> list[Track]:
        """Move the canvas as the frame moved; return the tracks that left the view."""
        grey = cv2.cvtColor(shrunk(image, SHIFT_SIDE), cv2.COLOR_RGB2GRAY).astype(np.float32)
        before, self._grey = self._grey, grey
        steps, self._number = number - self._number, number
        shift = None
        if before is not None and before.shape == grey.shape:
            shift = self._best_shift(before, numbered, steps)
            self.cuts += shift is None
        if shift is None:
            self.canvas, self._speed, self.fresh = np.zeros(numbered.shape, np.int32), None, 1.0
            return self.finish()
        self._speed = shift / steps
        size = np.array(numbered.shape)
        self.shift = (shift * size / grey.shape).round().astype(int)
        self.fresh = float(1 - np.prod(1 - np.abs(self.shift) / size))
        self.canvas = moved(self.canvas, *self.shift)
        there = set(np.unique(self.canvas).tolist())
        return [self.tracks.pop(n) for n in list(self.tracks) if n not in there]

    def _best_shift(
        self, before: np.ndarray, numbered: np.ndarray, steps: int
    ) -> np.ndarray | None:
        """Shift in pixels of the grey frames, (down, right); None where they show different things.

        The frames' own shift is one candidate, the objects' another (for a belt without texture
        between rails that stand still), the last shift and none at all are two more.
        """
        held, now = (
            (shrunk(m, SHIFT_SIDE) > 0).astype(np.float32) for m in (self.canvas, numbered)
        )
        candidates = [np.zeros(2)] + ([] if self._speed is None else [self._speed * steps])
        window = cv2.createHanningWindow(before.shape[::-1], cv2.CV_32F)
        height, width = before.shape
        for one, other in [(before, self._grey)] + [(held, now)] * bool(held.any() and now.any()):
            # Given the window, OpenCV 5 multiplies its arguments by it, in place.
            right, down = cv2.phaseCorrelate(one * window, other * window)[0]
            # The shift is known up to the frame's sides alone.
            for d in (down, down - np.copysign(height, down)):
                candidates += [np.array((d, r)) for r in (right, right - np.copysign(width, right))]
        shared = max(1.0, min(held.sum(), now.sum()))
        rated = []
        for candidate in candidates:
            if np.prod(np.clip(1 - np.abs(candidate) / before.shape, 0, 1)) >= COMMON:
                whole = candidate.round().astype(int)
                alike = correlation(before, self._grey, *whole)
                overlap = (moved(held, *whole) * now).sum() / shared
                rated.append((alike + overlap, alike, candidate))
        if max(alike for _, alike, _ in rated) < SAME_VIEW:
            return None
        return max(rated, key=lambda row: row[0])[2]

    def _match(self, numbered: np.ndarray, objects: Sequence[Object], at: At) -> None:
        """Give each object its track, a new one where it lies on none, and paint the canvas."""
        tracks = list(self.tracks.values())
        rows = np.searchsorted([0] + [t.number for t in tracks], self.canvas)
        shape = len(tracks) + 1, len(objects) + 1
        both = np.bincount((rows * shape[1] + numbered).ravel(), minlength=shape[0] * shape[1])
        both = both.reshape(shape)
        pixels = both.sum(0)
        held = both.sum(1)
        share = both / np.maximum(1, np.minimum(held[:, None], pixels[None]))
        share[0] = share[:, 0] = 0
        owner: dict[int, Track] = {}  # by number of the object
        for track in tracks:
            track.age += 1
        for found in objects:  # the largest first
            if not pixels[found.number]:  # so thin that the map has nothing of it
                continue
            over = np.where(share[:, found.number] >= SHARED, both[:, found.number], 0)
            track, parent = tracks[over.argmax() - 1] if over.any() else None, None
            if track is not None and track.last == at:
                track, parent = None, track  # a part of it: the larger part goes on as the track
            if track is None:
                self._count += 1
                track = Track(self._count, at, at, found, at, found, age=1)
                track.within = parent.alone - 1 if parent else 0
                self.tracks[track.number] = track
            track.find(found, at)
            owner[found.number] = track
        numbers = np.zeros(len(objects) + 1, np.int32)
        numbers[list(owner)] = [t.number for t in owner.values()]
        canvas = numbers[numbered]
        for row, track in enumerate(tracks, start=1):
            if track.last == at:
                continue
            covered = both[row, 1:].sum() >= held[row] / 2
            track.within, track.missed = track.within + covered, 0 if covered else track.missed + 1
            if track.missed <= PATIENCE:
                canvas[rows == row] = track.number
        self.canvas = canvas


def moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """An image (H, W) with its content moved; 0 where nothing was."""
    made = np.zeros_like(image)
    to, source = _common(image.shape, down, right)
    made[to] = image[source]
    return made


def correlation(before: np.ndarray, now: np.ndarray, down: int, right: int) -> float:
    """Correlation of two images (H, W) over what they share once the first is moved, -1..1."""
    to, source = _common(now.shape, down, right)
    one, other = now[to] - now[to].mean(), before[source] - before[source].mean()
    return float((one * other).sum() / max(1e-9, np.sqrt((one**2).sum() * (other**2).sum())))


def _common(shape: tuple[int, ...], down: int, right: int) -> tuple[tuple, tuple]:
    """Where the content lies after a move, and where it lay before."""
    to = tuple(slice(max(0, s), min(n, n + s)) for n, s in zip(shape, (down, right)))
    source = tuple(slice(max(0, -s), min(n, n - s)) for n, s in zip(shape, (down, right)))
    return to, source
