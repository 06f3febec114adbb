"""From objects in frames to objects: each is counted once, however many frames show it.

On a belt all moves alike. So one shift is measured from frame to frame (phase correlation), the map
of the objects in view is moved by it, and an object of the new frame is the one it lies on.

Kept trackers, such as ByteTrack (2110.06864) and BoT-SORT (2206.14651), learn a speed for each box,
and lose boxes that move by more than their own size, as on a fast belt or with few frames a second.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from scrapseg.app.frames import At, Frame
from scrapseg.data.base import shrunk
from scrapseg.models.segmenter import Object

# Objects that share nothing with those before tell no shift, which is no news.
warnings.filterwarnings("ignore", "Could not determine real-space shift")

#: Longer sides, in pixels: of the frames that are compared for the shift, and of the map.
SHIFT_SIDE, MAP_SIDE = 128, 512
#: Frames that have less of their area in common, or correlate less there, show different things.
COMMON, SAME_VIEW = 0.25, 0.3
#: The least share of an object, or of a track where that is smaller, that lies on the other.
SHARED = 0.25
#: An object counts that was found in this share of the frames that its place was in view, from the
#: first of them on. Chosen on val's film with the model that comes along: a share of the frames
#: from the first to the last that it is found in lets many more false ones count, and a higher
#: threshold of the model costs more of the true ones.
LEAST_SHARE = 0.7


@dataclass
class Track:
    """An object while it is in view.

    Attributes:
        number: from 1. now: the object when it was found last. largest, at: the object where it has
            most pixels, and which frame that was. age: frames since it was found first; a part
            that came off an object is as old as that. last: its age at `now`. found: in how many
            it was an object of its own. votes: pixels of each class.
    """

    number: int
    now: Object
    largest: Object
    at: At
    age: int = 1
    last: int = 0
    found: int = 0
    votes: Counter[int] = field(default_factory=Counter)

    def find(self, now: Object, at: At) -> None:
        """Note that it was found as an object of its own."""
        self.now, self.last, self.found = now, self.age, self.found + 1
        self.votes[now.index] += now.area
        if now.area > self.largest.area:
            self.largest, self.at = now, at

    @property
    def counts(self) -> bool:
        """Whether it is an object: no flicker, and no part of another one for long."""
        return self.found >= LEAST_SHARE * self.age


class Tracker:
    """Follows objects from frame to frame.

    Attributes:
        tracks: those in view, by number. canvas: int32 (h, w), the number of the track a pixel
            belongs to, or 0. fresh: share of the last frame that none before it showed, 0..1.
        cuts: how often a frame had nothing in common with the one before it.
    """

    def __init__(self) -> None:
        self.tracks: dict[int, Track] = {}
        self.canvas = np.zeros((0, 0), np.int32)
        self.fresh, self.cuts, self._number = 1.0, 0, 0
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def update(self, frame: Frame, instances: np.ndarray, objects: Sequence[Object]) -> list[Track]:
        """Take in a frame's objects.

        Args:
            instances: (H, W), 0 or the `number` of an object. objects: as of `Prediction`.

        Returns:
            The tracks that left the view; `Track.counts` says which of them are objects.
        """
        numbered = shrunk(instances, MAP_SIDE)
        before = self._moved(frame.image, instances)
        sizes = dict(zip(*np.unique(before, return_counts=True), strict=True))
        ended = [self.tracks.pop(n) for n in list(self.tracks) if n not in sizes]
        for track in self.tracks.values():
            track.age += 1
        self.canvas, taken = np.zeros_like(before), set()
        for now in sorted(objects, key=lambda o: -o.area):
            mask = numbered == now.number
            if not mask.any():  # so thin that the map has nothing of it in this frame
                continue
            numbers, pixels = np.unique(before[mask], return_counts=True)
            least = SHARED * np.minimum([sizes[n] for n in numbers], mask.sum())
            on = [(k, n) for n, k, few in zip(numbers, pixels, least) if n and k >= few]
            number = max(on)[1] if on else None
            if number is None or number in taken:  # new, or a smaller part of one: a track too
                age = self.tracks[number].age if on else 1
                self._number = number = self._number + 1
                self.tracks[number] = Track(number, now, now, frame.at, age)
            taken.add(number)
            self.tracks[number].find(now, frame.at)
            self.canvas[mask] = number
        for number in self.tracks.keys() - taken:  # not found: it stays where the belt took it
            self.canvas[before == number] = number
        return ended

    def _moved(self, image: np.ndarray, instances: np.ndarray) -> np.ndarray:
        """The canvas moved as the frame moved; empty where that cannot be told."""
        grey = cv2.cvtColor(shrunk(image, SHIFT_SIDE), cv2.COLOR_RGB2GRAY).astype(np.float32)
        now = grey, (shrunk(instances, SHIFT_SIDE) > 0).astype(np.float32)
        before, self._before = self._before, now
        empty = np.zeros(shrunk(instances, MAP_SIDE).shape, np.int32)
        alike = self.canvas.shape == empty.shape
        shift, self.fresh = belt_shift(before, now) if alike else (None, 1.0)
        self.cuts += shift is None and self.canvas.size > 0
        return empty if shift is None else moved(self.canvas, shift * empty.shape / grey.shape)


def belt_shift(
    before: Sequence[np.ndarray], now: Sequence[np.ndarray]
) -> tuple[np.ndarray | None, float]:
    """How far the content moved from one frame to the next.

    Args:
        before, now: of each frame the grey image and where objects are, float32 (h, w) each. The
            objects decide where a bare belt runs between rails that stand still.

    Returns:
        The shift, (down, right) in pixels, None where the two show different things; and the share
        of the frame that is new with it.
    """
    rated, pairs = [], list(zip(before, now, strict=True))
    for one, other in pairs:
        if one.any() and other.any():
            shift = phase_cross_correlation(other, one, upsample_factor=4, disambiguate=True)[0]
            there = moved(np.ones_like(one), shift) > 0
            alike = [correlation(moved(a, shift)[there], b[there]) for a, b in pairs]
            if there.mean() >= COMMON and alike[0] >= SAME_VIEW:
                rated.append((sum(alike), shift, 1 - float(there.mean())))
    return max(rated, key=lambda row: row[0])[1:] if rated else (None, 1.0)


def moved(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """An image (h, w) with its content moved by whole pixels; 0 where nothing was."""
    return ndimage.shift(image, shift.round(), order=0, prefilter=False)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, of two images of one shape, -1..1; 0 where one of them is all alike."""
    return float(np.corrcoef(one, other)[0, 1]) if one.std() and other.std() else 0.0
