"""Frames one after another: of a film, of a folder that fills, of a camera.

A film and a folder wait, so each of their frames is taken (or every nth). A camera does not: a
thread reads it and holds its newest frame alone, and what nobody took in time is dropped, counted.
Films are decoded by OpenCV's ffmpeg, those in `FILMS`; a folder is looked through twice a second,
which works on network drives too, where systems report no changes.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np

from scrapseg.data.errors import BrokenImage, DataError, MissingFile
from scrapseg.data.folder import read_photo
from scrapseg.data.layouts import IMAGE_ENDINGS

# What is wrong with a film is said here, in a line; ffmpeg reads this when the first one is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
#: Whence OpenCV takes options for ffmpeg whenever it opens something, and what it has by itself.
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
os.environ.setdefault(_OPTIONS, "rtsp_flags;prefer_tcp")

#: Seconds between two looks into a folder, and before what broke is opened again.
POLL_S, RETRY_S = 0.5, 5.0
#: Milliseconds that a camera has to answer.
TIMEOUT_MS = 10_000
#: What a file may be, as ffmpeg names formats. Others (hls, concat, dash, sdp) are lists of further
#: files and addresses, which it would open wherever they lie.
FILMS = "format_whitelist;mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,dv,ivf,gif"
FILMS += ",mjpeg,h264,hevc,m4v,yuv4mpegpipe"


class At(NamedTuple):
    """Which frame it is.

    number: its place in the source, from 0; with a camera or `every`, numbers are missing. time_s:
    seconds from the start of a film; else of the epoch, in a folder the file's time of change.
    name: of a picture's file, else empty.
    """

    number: int
    time_s: float
    name: str = ""


class Frame(NamedTuple):
    """One frame: uint8 (H, W, 3), red, green, blue, and which it is."""

    image: np.ndarray
    at: At


@dataclass
class Source:
    """Frames to iterate over, until they end or `stop` is set.

    Attributes:
        name: what it was opened by. stop: set from outside to end it. say: takes lines on what is
            passed over or goes wrong. every: of a film, only every nth frame is given.
        opened: a film or stream, open. dropped: frames that nobody took in time. waiting: pictures
            that are there and not yet taken. idle_s: seconds in which there was none. fps: frames a
            second, total: how many there are, if known.
    """

    name: str
    stop: threading.Event = field(default_factory=threading.Event)
    say: Callable[[str], None] = print
    every: int = 1
    opened: cv2.VideoCapture | None = None
    dropped: int = 0
    waiting: int = 0
    idle_s: float = 0.0
    fps: float | None = None
    total: int | None = None
    #: What the seconds of its frames are counted from.
    since: ClassVar[str] = "1970-01-01 UTC"

    def _idle(self, wait: Callable[..., Any], *arguments: float) -> Any:
        """What `wait` gives; the time that takes is one without frames."""
        clock = time.monotonic()
        try:
            return wait(*arguments)
        finally:
            self.idle_s += time.monotonic() - clock


@dataclass
class Film(Source):
    """The frames of a video file."""

    since: ClassVar[str] = "the start of the film"

    def __post_init__(self) -> None:
        fps, count = (self.opened.get(p) for p in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.fps = fps if 0 < fps < 1000 else None
        self.total = -(-int(count) // self.every) if count > 0 else None

    def __iter__(self) -> Iterator[Frame]:
        for number in itertools.count():
            read, image = self.opened.read()
            if not read or self.stop.is_set():
                break
            if number % self.every == 0:
                seconds = self.opened.get(cv2.CAP_PROP_POS_MSEC) / 1000
                yield Frame(image[..., ::-1].copy(), At(number, seconds))
        if not number and not read:
            raise BrokenImage(f"{self.name}: no frame of it can be decoded; convert it anew")
        # A file's own count is an estimate in some formats.
        if not read and self.total and number / self.every < 0.98 * self.total - 1:
            self.say(f"{self.name}: cut short or damaged, it ends after {number} frames")


@dataclass
class Folder(Source):
    """The pictures of a folder, oldest first, and those that come later; one that is written over
    is another picture. Two numbers are remembered of each that lies there, none of what is gone."""

    def __iter__(self) -> Iterator[Frame]:
        # Of each path the time of change and size, as last seen and as taken.
        last: dict[Path, tuple[int, int]] = {}
        taken: dict[Path, tuple[int, int]] = {}
        number = 0
        self.say(f"{self.name}: its pictures are taken, and those that come; Ctrl-C ends")
        while not self.stop.is_set():
            try:
                there = pictures(self.name)
            except OSError as error:  # a network drive that is away
                self.say(f"{self.name}: cannot be looked through ({error.strerror}); trying again")
                self._idle(self.stop.wait, RETRY_S)
                continue
            # While a picture is still being written, it changes between two looks.
            ready = [p for p, s in there.items() if last.get(p) == s != taken.get(p)]
            taken, last = {p: s for p, s in taken.items() if p in there}, there
            for k, path in enumerate(sorted(ready, key=lambda p: (last[p], p)), start=1):
                if self.stop.is_set():
                    return
                taken[path], self.waiting = last[path], len(ready) - k
                try:
                    image = read_photo(path)
                except DataError as error:
                    self.say(f"passed over unless it changes: {error}")
                    continue
                yield Frame(image, At(number, last[path][0] / 1e9, path.name))
                number += 1
            self._idle(self.stop.wait, POLL_S)


def pictures(folder: str) -> dict[Path, tuple[int, int]]:
    """Time of change and size of each picture in a folder."""
    there = {}
    for path in Path(folder).iterdir():
        if path.suffix.casefold() in IMAGE_ENDINGS and path.name[0] != ".":
            with contextlib.suppress(FileNotFoundError):  # gone since
                there[path] = path.stat().st_mtime_ns, path.stat().st_size
    return there


@dataclass
class Camera(Source):
    """The newest frame of a stream, whenever one is asked for; a stream that breaks is opened
    again and again at its `address`."""

    address: str = ""

    def __iter__(self) -> Iterator[Frame]:
        newest: queue.Queue[Frame] = queue.Queue(maxsize=1)
        reader = threading.Thread(target=self._read, args=(newest,), daemon=True)
        reader.start()
        while not self.stop.is_set():
            with contextlib.suppress(queue.Empty):
                yield self._idle(newest.get, True, POLL_S)
        reader.join(timeout=2)  # a camera that does not answer keeps it for longer

    def _read(self, newest: queue.Queue[Frame]) -> None:
        for number in itertools.count():
            read, image = self.opened.read()
            if not read:
                self.say(f"{self.name}: the stream broke; opened again every {RETRY_S:g} s")
                while not read and not self.stop.wait(RETRY_S):
                    with contextlib.suppress(DataError):
                        self.opened = _open(self.address)
                        read, image = self.opened.read()
            if self.stop.is_set():
                return
            frame = Frame(image[..., ::-1].copy(), At(number, time.time()))
            with contextlib.suppress(queue.Empty):
                newest.get_nowait()
                self.dropped += 1
            newest.put(frame)


def open_source(source: str, **options) -> Source:
    """Open what frames come from.

    Args:
        source: a video file; a folder; a camera's address (rtsp://, http://, ...) or its number on
            this machine.
        options: stop, say, every: see `Source`.

    Raises:
        MissingFile, BrokenImage: there is none, or it cannot be read; in one line.
    """
    path, name = Path(source), without_password(source)
    if not path.is_file():  # a film is opened here, once
        check_source(source)
    if path.is_dir():
        return Folder(name, **options)
    opened = _open(source)
    # A film behind an address ends where a camera does not; its length says so.
    if path.is_file() or opened.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        return Film(name, **options, opened=opened)
    return Camera(name, **options, address=source, opened=opened)


def check_source(source: str) -> None:
    """See, before a model is loaded, whether there is such a folder or film; a camera is not asked.

    Raises:
        MissingFile, BrokenImage: as `open_source`.
    """
    if (path := Path(source)).is_file():
        _open(source).release()
    elif not source or not ("://" in source or source.isdigit() or path.is_dir()):
        raise MissingFile(
            f"{source or 'SOURCE'}: no such file or folder; name a film, a folder or an address"
        )


def without_password(address: str) -> str:
    """An address that may be shown: a camera's often holds a name and a password, before its host
    or among its values. What has no `://` is a file's path, and stays.

    Passwords are often written without escapes. So all up to the last @ is cut, though a path may
    hold one; where it comes after a ? or #, nothing tells what is the host.
    """
    scheme, mark, rest = address.partition("://")
    if re.search("[?#].*@", rest, re.DOTALL):
        return f"{scheme}://camera"
    return scheme + mark + re.split("[?#&;=]", rest.rpartition("@")[2])[0]


def _open(source: str) -> cv2.VideoCapture:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    if source.isdigit() and not Path(source).is_file():
        capture = cv2.VideoCapture(int(source))
    else:
        limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
        limits = [v for limit in limits for v in (limit, TIMEOUT_MS)]
        before = os.environ[_OPTIONS]
        if Path(source).is_file() or source.casefold().startswith("file:"):
            os.environ[_OPTIONS] = f"{before}|{FILMS}"
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        os.environ[_OPTIONS] = before
    if not capture.isOpened():
        what = "film (a playlist is none) or stream here; convert it to mp4"
        what = "camera of this number" if source.isdigit() else what
        raise BrokenImage(f"{without_password(source)}: no {what}")
    return capture
