"""`scrapseg watch`: each object once, whatever the source does. True masks stand for the model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from typer.testing import CliRunner

from making.belt_film import Belt, TrueMasks, matched
from scrapseg.__main__ import app as command
from scrapseg.app import frames, watch
from scrapseg.app.track import Tracker
from scrapseg.data.base import DataError
from scrapseg.data.classes import CLASSES
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.files import REPOSITORY
from scrapseg.models.segmenter import Object, Segmenter

NAMES = [c.name for c in CLASSES]


@pytest.fixture(scope="module")
def belt() -> Belt:
    test = ScrapSim(REPOSITORY / "data/scrapsim", "test", verify=False)
    belts = [i for i in test.ids if test.meta[i]["setting"] == "belt"]
    return Belt.of([test.sample(i) for i in belts[:3]], step=32)


@pytest.fixture(scope="module")
def film(belt, tmp_path_factory) -> Path:
    return belt.write(tmp_path_factory.mktemp("film") / "belt.mp4")


def masks(belt: Belt) -> TrueMasks:
    return TrueMasks(belt, Segmenter(model=None))


def lines(folder: Path) -> list[dict]:
    return [json.loads(x) for x in (folder / "events.jsonl").read_text("utf-8").splitlines()]


def frames_of(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


def test_each_object_is_counted_once_with_its_class(belt, film, tmp_path, capsys):
    made = watch.watch(str(film), tmp_path / "out", masks(belt), pixel_mm=2.0)
    views, events = len(list(belt.views())), lines(made)
    table = matched(belt, events, NAMES)
    # One that lies partly below steel shows itself in two parts, and each of them is an object.
    parts = [ndimage.label(belt.instances == n, np.ones((3, 3)))[1] for n in table["number"]]
    whole = table[np.array(parts) == 1]
    assert len(whole) > 10 and (whole["count"] == 1).all() and (whole["right"] == 1).all()
    assert (table["count"] <= parts).all()
    assert frames_of(made / "overlay-001.mp4") == views
    for e in events:
        assert e["area_cm2"] == pytest.approx(e["area_px"] * 0.04, rel=0.01)
        assert e["mass_kg"] > 0 and 0 <= e["copper_share"] < 1
        assert e["time_s"] == pytest.approx(e["frame"] / 10, abs=0.01)
    said = capsys.readouterr().out
    assert said.startswith(f"{film}: {views} frames at ") and said.count("\n") == 1
    assert f"; {len(events)} objects (" in said
    assert json.loads((made / "summary.json").read_text())["dropped"] == 0


def drawn(left: int, texture: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Object]]:
    """A square on a textured belt seen through a window, its left edge at column `left`."""
    instances = np.zeros((64, 96), np.int32)
    instances[20:40, max(0, left) : max(0, left + 20)] = 1
    across = np.clip((left, left + 20), 0, 96)
    box, area = (int(across[0]), 20, int(across[1]), 40), int((instances > 0).sum())
    image = np.roll(texture, left, 1)[:, :96, None].repeat(3, 2)
    return image, instances, [Object(1, NAMES[1], area, 0.9, box, 1)] if area else []


@pytest.mark.parametrize("step", [3, 40])  # more than the square is long, too
def test_a_gap_is_bridged_and_a_flicker_is_none(step):
    texture = np.random.default_rng(0).integers(0, 255, (64, 400), np.uint8)
    tracker, ended = Tracker(), []
    for number, left in enumerate(range(80, -30, -step)):
        image, instances, objects = drawn(left, texture)
        if step == 3 and number in (8, 9):  # missed twice
            instances, objects = instances * 0, []
        if step == 3 and number == 12:  # and something that is there only once
            instances[50:60, 10:20] = 2
            objects = [*objects, Object(2, NAMES[2], 100, 0.5, (10, 50, 20, 60), 2)]
        ended += tracker.update(image, instances, objects, (number, number / 10, ""))
    assert [t.index for t in ended + tracker.finish() if t.counts] == [1]


def test_unrelated_pictures_share_no_object():
    rng, ended, tracker = np.random.default_rng(0), [], Tracker()
    for number in range(3):
        image, instances, objects = drawn(40, rng.integers(0, 255, (64, 400), np.uint8))
        ended += tracker.update(image, instances, objects, (number, 0.0, ""))
    assert sum(t.counts for t in ended + tracker.finish()) == 3 and tracker.cuts == 2


@pytest.mark.parametrize("kind", ["missing", "text", "cut"])
def test_what_cannot_be_read_is_one_line(kind, film, tmp_path):
    path = tmp_path / "film.mp4"
    if kind == "text":
        path.write_text("no film at all\n" * 100)
    elif kind == "cut":
        path.write_bytes(film.read_bytes()[:5000])
    done = CliRunner().invoke(command, ["watch", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1 and not (tmp_path / "out").exists()
    assert done.output.count("\n") == 1 and f"error: {path}" in done.output


def test_an_empty_folder_waits_and_then_says_so(tmp_path):
    said = []
    source = frames.open_source(str(tmp_path), wait=0.2, say=said.append)
    assert "no picture in it yet" in said[0]
    with pytest.raises(DataError, match=r"no picture came within 0\.2 s"):
        list(source)


def test_a_folder_that_fills(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "POLL_S", 0.05)
    monkeypatch.setattr(frames, "GIVE_UP_S", 0.3)
    noise, said = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), []
    Image.fromarray(noise).save(tmp_path / "z-first.png")
    content = (tmp_path / "z-first.png").read_bytes()
    (tmp_path / "notes.txt").write_text("x")

    def fill() -> None:
        time.sleep(0.15)
        half = tmp_path / "a-slow.png"
        half.write_bytes(content[:2000])
        time.sleep(0.15)  # it stands still for longer than a look, and is not yet a picture
        half.write_bytes(content)
        (tmp_path / "b-broken.png").write_bytes(content[:2000])

    writer = threading.Thread(target=fill)
    writer.start()
    taken = list(frames.open_source(str(tmp_path), wait=0.8, say=said.append))
    writer.join()
    assert [f.name for f in taken] == ["z-first.png", "a-slow.png"]
    assert np.array_equal(taken[1].image, noise)
    assert "notes.txt" in said[0] and "b-broken.png" in said[1] and len(said) == 2


class Stream:
    """A camera that gives so many frames, each of its number, and then breaks."""

    def __init__(self, numbers: range, pause: float = 0.0) -> None:
        self.numbers, self.pause = list(numbers), pause

    def read(self):
        time.sleep(self.pause)
        if not self.numbers:
            return False, None
        return True, np.full((32, 32, 3), self.numbers.pop(0), np.uint8)

    def release(self) -> None:
        self.numbers = []


def test_a_camera_keeps_its_newest_frame_alone():
    camera = frames.Camera("fake", opened=Stream(range(200)), open=None, say=lambda _: None)
    seen = []
    for frame in camera:
        seen.append(int(frame.image[0, 0, 0]))
        time.sleep(0.2)
        if seen[-1] == 199:
            camera.stop.set()
    assert len(seen) <= 3 and camera.dropped == 200 - len(seen)


def test_a_broken_stream_comes_back(monkeypatch):
    monkeypatch.setattr(frames, "RETRY_S", (0.02, 0.05))
    tries, said = [], []

    def reopen() -> Stream:
        tries.append(1)
        if len(tries) < 3:
            raise DataError("not there")
        return Stream(range(100, 102), 0.05)

    camera = frames.Camera("fake", opened=Stream(range(2), 0.05), open=reopen, say=said.append)
    seen = []
    for frame in camera:
        seen.append(int(frame.image[0, 0, 0]))
        if seen[-1] == 101:
            camera.stop.set()
    assert seen == [0, 1, 100, 101]
    assert "broke" in said[0] and any("is back" in line for line in said)


def test_a_password_is_not_shown():
    shown = frames.without_password("rtsp://user:secret@10.0.0.2/stream")
    assert shown == "rtsp://10.0.0.2/stream"


STOPPED = """
import sys, time
from tests.app.test_watch import masks, Belt, ScrapSim, REPOSITORY, watch
test = ScrapSim(REPOSITORY / "data/scrapsim", "test", verify=False)
belts = [i for i in test.ids if test.meta[i]["setting"] == "belt"]
stub = masks(Belt.of([test.sample(i) for i in belts[:3]], step=32))
predict = stub.predict
def slowly(image):
    time.sleep(0.1)
    return predict(image)
stub.predict = slowly
watch.watch(sys.argv[1], sys.argv[2], stub)
"""


def test_ctrl_c_leaves_a_film_and_whole_events(film, belt, tmp_path):
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(film), str(out)], env=environment, cwd=REPOSITORY
    )
    until = time.monotonic() + 60
    while not (out / "overlay-001.mp4").exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert 0 < summary["frames"] < len(list(belt.views()))
    assert frames_of(out / "overlay-001.mp4") == summary["frames"]
    assert len(lines(out)) == sum(summary["objects"].values()) > 0
