"""Frames one after another: of a film, of a folder that fills, of a camera.

A film and a folder wait, so each of their frames is taken (or every nth). A camera does not: a
thread reads it and holds its newest frame alone, and what nobody took in time is dropped, counted.
Memory stays that of two frames. Films are decoded by OpenCV's ffmpeg; a folder is looked through
twice a second, which works on network drives too, where systems report no changes.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from scrapseg.data.errors import BrokenImage, DataError, MissingFile
from scrapseg.data.folder import SMALLEST_SIDE, read_photo
from scrapseg.data.layouts import IMAGE_ENDINGS

# What is wrong with a film is said here, in a line; ffmpeg reads this when the first one is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

#: Seconds between two looks into a folder, and after which a picture there that cannot be read and
#: does not grow any more is passed over.
POLL_S, GIVE_UP_S = 0.5, 10.0
#: Seconds before a broken stream is opened again: twice as many each time, up to the second number.
RETRY_S = (1.0, 30.0)
#: Milliseconds that a camera has to answer.
TIMEOUT_MS = 10_000


class Frame(NamedTuple):
    """One frame.

    image: uint8 (H, W, 3), red, green, blue. number: its place in the source, from 0; with a
    camera or `every`, numbers are missing. time_s: seconds since the first; in a folder by the
    files' time of change. name: of a picture's file, else empty.
    """

    image: np.ndarray
    number: int
    time_s: float
    name: str = ""


class Capture(Protocol):
    """What is asked of a `cv2.VideoCapture`."""

    def read(self) -> tuple[bool, np.ndarray | None]:
        """Whether there is a frame, and the frame (H, W, 3): blue, green, red."""

    def release(self) -> None:
        """Close it."""


@dataclass
class Source:
    """Frames to iterate over, until they end or `stop` is set.

    Attributes:
        name: what it was opened by. stop: set from outside to end it. say: takes lines on what is
            passed over or goes wrong. dropped: frames that nobody took in time.
        waiting: pictures that are there and not yet taken. total: how many there are, if known.
        fps: frames a second of the source, if known. began: the clock's time at `time_s` 0, in
            seconds of the epoch, if known.
    """

    name: str
    stop: threading.Event = field(default_factory=threading.Event)
    say: Callable[[str], None] = print
    dropped: int = 0
    waiting: int = 0
    total: int | None = None
    fps: float | None = None
    began: float | None = None

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError


@dataclass
class Film(Source):
    """Every frame of a video file, or every nth; `opened` is it."""

    opened: cv2.VideoCapture | None = None
    every: int = 1

    def __post_init__(self) -> None:
        self.fps = self.opened.get(cv2.CAP_PROP_FPS) or None
        if self.fps and not 0 < self.fps < 1000:
            self.fps = None
        count = int(self.opened.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total = -(-count // self.every) if count > 0 else None

    def __iter__(self) -> Iterator[Frame]:
        number = taken = 0
        try:
            while not self.stop.is_set() and self.opened.grab():
                if number % self.every == 0:
                    decoded, image = self.opened.retrieve()
                    if not decoded:
                        break
                    seconds = self.opened.get(cv2.CAP_PROP_POS_MSEC) / 1000
                    time_s = seconds if seconds > 0 or not self.fps else number / self.fps
                    taken += 1
                    yield Frame(image[..., ::-1].copy(), number, time_s)
                number += 1
        finally:
            self.opened.release()
        if not taken and not self.stop.is_set():
            raise BrokenImage(f"{self.name}: no frame of it can be decoded; convert it anew")
        # A file's own count is an estimate in some formats.
        if self.total and taken < 0.98 * self.total and not self.stop.is_set():
            self.say(f"{self.name}: cut short or damaged, {taken} of {self.total} frames were read")


@dataclass
class Folder(Source):
    """The pictures of a folder, oldest first, those that come later too, each once; one that is
    written over is another picture. It ends when none came for `wait` seconds."""

    wait: float | None = None
    every: int = 1
    told: bool = False

    def __iter__(self) -> Iterator[Frame]:
        # Of each path the size and time of change, as last seen and as taken.
        last: dict[Path, tuple[int, int]] = {}
        taken: dict[Path, tuple[int, int]] = {}
        failed: dict[Path, float] = {}  # since when, for those that cannot be decoded
        number, idle = 0, time.monotonic()
        while not self.stop.is_set():
            there = self._pictures()
            taken, failed = ({p: d[p] for p in d if p in there} for d in (taken, failed))
            # While a picture is still being written, it changes between two looks.
            ready = [p for p, s in there.items() if last.get(p) == s and taken.get(p) != s]
            failed = {p: since for p, since in failed.items() if p in ready}
            last = there
            for k, path in enumerate(sorted(ready, key=lambda p: (there[p][0], p))):
                if self.stop.is_set():
                    return
                self.waiting, image = len(ready) - k - 1, None
                try:
                    if number % self.every == 0:
                        image = read_photo(path)
                except DataError as error:  # or it stood still while more of it was to come
                    if time.monotonic() - failed.setdefault(path, time.monotonic()) >= GIVE_UP_S:
                        self.say(f"passed over: {error}")
                        taken[path] = there[path]
                    continue
                taken[path], stamp = there[path], there[path][0] / 1e9
                self.began = stamp if self.began is None else self.began
                if image is not None:
                    yield Frame(image, number, stamp - self.began, path.name)
                number, idle = number + 1, time.monotonic()
            if self.wait is not None and time.monotonic() - idle >= self.wait:
                if not number:
                    raise DataError(f"{self.name}: no picture came within {self.wait:g} s")
                return
            self.stop.wait(POLL_S)

    def _pictures(self) -> dict[Path, tuple[int, int]]:
        """Time of change and size of each picture that is there now."""
        there = {}
        try:
            for entry in os.scandir(self.name):
                path = Path(entry.path)
                if path.suffix.casefold() in IMAGE_ENDINGS and entry.name[0] != ".":
                    with contextlib.suppress(FileNotFoundError):  # gone since
                        there[path] = entry.stat().st_mtime_ns, entry.stat().st_size
                elif entry.name[0] != "." and not self.told:
                    self.say(f"{path}: no picture, passed over, as others like it will be")
                    self.told = True
        except OSError as error:  # a network drive that is away
            self.say(f"{self.name}: cannot be looked through ({error.strerror}); trying again")
            self.stop.wait(RETRY_S[0])
        return there


@dataclass
class Camera(Source):
    """The newest frame of a stream, whenever one is asked for; a stream that breaks is opened
    again and again. It ends when no frame came for `wait` seconds.

    Attributes:
        open: opens the stream, or raises `DataError`. opened: it, opened once.
    """

    open: Callable[[], Capture] | None = None
    opened: Capture | None = None
    wait: float | None = None

    def __iter__(self) -> Iterator[Frame]:
        newest: list[Frame] = []
        self.began = time.time()
        came, begun = threading.Condition(), time.monotonic()
        reader = threading.Thread(target=self._read, args=(newest, came, begun), daemon=True)
        reader.start()
        idle = time.monotonic()
        try:
            while not self.stop.is_set():
                with came:
                    if not came.wait_for(lambda: newest, timeout=0.2):
                        if self.wait is not None and time.monotonic() - idle >= self.wait:
                            self.say(f"{self.name}: no frame for {self.wait:g} s, ended")
                            return
                        continue
                    frame = newest.pop()
                yield frame
                idle = time.monotonic()
        finally:
            self.stop.set()  # the thread ends by itself, at the latest when the camera times out
            reader.join(timeout=2)

    def _read(self, newest: list[Frame], came: threading.Condition, begun: float) -> None:
        capture, number, pause = self.opened, 0, RETRY_S[0]
        while not self.stop.is_set():
            if capture is not None:
                try:
                    read, image = capture.read()
                except cv2.error:
                    read = False
                if read:
                    frame = Frame(image[..., ::-1].copy(), number, time.monotonic() - begun)
                    with came:
                        self.dropped += len(newest)
                        newest[:] = [frame]
                        came.notify()
                    number, pause = number + 1, RETRY_S[0]
                    continue
                capture.release()
                capture = None
            self.say(f"{self.name}: the stream broke; opened again in {pause:g} s")
            if self.stop.wait(pause):
                return
            pause = min(2 * pause, RETRY_S[1])
            try:
                capture = self.open()
                self.say(f"{self.name}: the stream is back")
            except DataError:
                continue
        if capture is not None:
            capture.release()


def open_source(
    source: str,
    *,
    every: int = 1,
    wait: float | None = None,
    stop: threading.Event | None = None,
    say: Callable[[str], None] = print,
) -> Source:
    """Open what frames come from.

    Args:
        source: a video file; a folder; a camera's address (rtsp://, http://, ...) or its number on
            this machine.
        every: only every nth frame of a film or picture of a folder.
        wait: after how many seconds without a frame a folder or camera ends; by default never.
        stop, say: see `Source`.

    Raises:
        MissingFile, BrokenImage: there is none, or it cannot be read; in one line.
    """
    common = {"name": without_password(source), "stop": stop or threading.Event(), "say": say}
    path = Path(source)
    if path.is_dir():
        if not any(p.suffix.casefold() in IMAGE_ENDINGS for p in path.iterdir()):
            say(f"{source}: no picture in it yet; waiting, Ctrl-C ends")
        return Folder(**common, wait=wait, every=every)
    if "://" not in source and not source.isdigit() and not path.is_file():
        raise MissingFile(f"{source}: no such file or folder; name a film, a folder or an address")
    opened = _open(source)
    # A film behind an address ends where a camera does not; its length says so.
    if path.is_file() or opened.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        return Film(**common, opened=opened, every=every)
    if every > 1:
        say("every: a camera's newest frame is taken, whichever that is")
    return Camera(**common, open=lambda: _open(source), opened=opened, wait=wait)


def without_password(address: str) -> str:
    """An address that may be shown: a camera's often holds a name and a password."""
    return re.sub(r"//[^/@]*@", "//", address)


def _open(source: str) -> cv2.VideoCapture:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    if source.isdigit() and not Path(source).is_file():
        capture = cv2.VideoCapture(int(source))
    else:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS]
        limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        capture.release()
        kind = "not a film that can be read" if Path(source).is_file() else "no stream answers"
        raise BrokenImage(
            f"{without_password(source)}: {kind}; try it in a player, or convert it to mp4"
        )
    size = [int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    if 0 < min(size) < SMALLEST_SIDE:
        raise BrokenImage(
            f"{without_password(source)}: frames of {size[0]} x {size[1]} pixels are too few to see"
        )
    return capture
