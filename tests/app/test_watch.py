"""`scrapseg watch`: each object once, whatever the source does. True masks stand for the model."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from slugs import by_slug
from typer.testing import CliRunner

from making.belt_film import Belt, TrueMasks, matched
from scrapseg.__main__ import app as command
from scrapseg.app import frames
from scrapseg.app import watch as watching
from scrapseg.app.frames import At, Frame
from scrapseg.app.track import Track, Tracker
from scrapseg.app.watch import Tally, watch
from scrapseg.data.base import DataError
from scrapseg.data.classes import CLASSES, SLUGS, ScrapClass
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.files import REPOSITORY, WriteFailed
from scrapseg.models import segmenter
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
    made = watch(str(film), tmp_path / "out", masks(belt), pixel_mm=2.0)
    views, events = len(list(belt.views())), lines(made)
    table = matched(belt, events, NAMES)
    # One that lies partly below steel shows itself in two parts, and each of them is an object.
    parts = [ndimage.label(belt.instances == n, np.ones((3, 3)))[1] for n in table["number"]]
    whole = table[np.array(parts) == 1]
    assert len(whole) > 10 and (whole["count"] == 1).all() and (whole["right"] == 1).all()
    assert (table["count"] <= parts).all()
    assert frames_of(made / "overlay.mkv") == views
    for e in events:
        assert e["area_cm2"] == pytest.approx(e["area_px"] * 0.04, rel=0.01)
        assert e["mass_kg"] > 0 and 0 <= e["copper_share"] < 1
        assert e["time_s"] == pytest.approx(e["frame"] / 10, abs=0.01)
    summary = json.loads(capsys.readouterr().out)
    assert summary == json.loads((made / "summary.json").read_text())
    assert (summary["frames"], summary["dropped"], summary["cuts"]) == (views, 0, 0)
    assert summary["time_s_since"] == "the start of the film"
    assert sum(summary["objects"].values()) == len(events)


def test_a_film_that_does_not_fit_is_said_and_the_rest_goes_on(
    belt, film, tmp_path, monkeypatch, capsys
):
    whole = watch(str(film), tmp_path / "whole", masks(belt), overlay=False)
    monkeypatch.setattr(watching, "SPARE", 1 << 62)  # more than any disk has
    made = watch(str(film), tmp_path / "out", masks(belt))
    said = [s for s in capsys.readouterr().err.splitlines() if "overlay.mkv" in s]
    assert said == [f"{made / 'overlay.mkv'}: cannot be written, full disk? None after frame 1"]
    assert frames_of(made / "overlay.mkv") == 1  # what there is of it plays
    assert lines(made) == lines(whole)
    assert json.loads((made / "summary.json").read_text())["frames"] == len(list(belt.views()))


def test_events_that_do_not_fit_leave_no_half_of_a_line(tmp_path):
    path, (_, most) = tmp_path / "events.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    watching.append(path, [{"object": 1}])
    kept = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) + 20, most))  # as a disk that fills up
    try:
        with pytest.raises(WriteFailed, match=f"^cannot write {path}: the disk is full$"):
            watching.append(path, [{"object": 2, "class": "x" * 50}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert path.read_bytes() == kept == b'{"object": 1}\n'
    watching.append(path, [{"object": 2}])
    assert [e["object"] for e in lines(tmp_path)] == [1, 2]


@pytest.mark.parametrize(
    ("slugs", "share"),
    [(SLUGS, 0.0), (["steel", "cable"], 0.0), (["steel", "wood"], None), (["steel"], None)],
)
def test_without_a_class_that_holds_copper_its_share_is_not_known(slugs, share):
    own = ScrapClass(9, "copper", "copper", ("copper",), (1, 2, 3))  # of no known mass
    tally = Tally([*map(by_slug, slugs), own], 1)
    assert tally.copper_share is None  # nothing has passed
    tally.steel(np.zeros((9, 9), np.uint8), 1.0)
    assert tally.copper_share == share


def test_pictures_of_a_folder_count_as_a_film_does(belt, tmp_path, capsys):
    stop, stub, last = threading.Event(), masks(belt), len(list(belt.views())) - 1
    (tmp_path / "in").mkdir()
    for k, columns in enumerate(belt.views()):
        image = Image.fromarray(belt.image[:, columns])
        image.save(tmp_path / f"in/{k:02d}.jpg", quality=95)
        os.utime(tmp_path / f"in/{k:02d}.jpg", (1e9 + k, 1e9 + k))
    whole, seen = stub.predict, []

    def predict(image: np.ndarray):
        seen.append(1)
        if len(seen) > last:
            stop.set()
        return whole(image)

    stub.predict = predict
    events = lines(watch(str(tmp_path / "in"), tmp_path / "out", stub, stop=stop, overlay=False))
    assert all(e["picture"] == f"{e['frame']:02d}.jpg" for e in events)
    assert all(e["time_s"] == 1e9 + e["frame"] for e in events)
    assert matched(belt, events, NAMES)["count"].mean() > 0.9
    assert f"0 dropped, {last} pictures wait" in capsys.readouterr().err
    assert not (tmp_path / "out/overlay.mkv").exists()


def drawn(left: int, texture: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Object]]:
    """A square on a textured belt seen through a window, its left edge at column `left`."""
    instances = np.zeros((64, 96), np.int32)
    instances[20:40, max(0, left) : max(0, left + 20)] = 1
    across = np.clip((left, left + 20), 0, 96)
    box, area = (int(across[0]), 20, int(across[1]), 40), int((instances > 0).sum())
    image = np.roll(texture, left, 1)[:, :96, None].repeat(3, 2)
    return image, instances, [Object(1, NAMES[1], area, 0.9, box, 1)] if area else []


def followed(views) -> tuple[list[Track], Tracker]:
    """The tracks that count, of images, instances and objects."""
    tracker, ended = Tracker(), []
    for number, (image, instances, objects) in enumerate(views):
        ended += tracker.update(Frame(image, At(number, number / 10)), instances, objects)
    return [t for t in [*ended, *tracker.tracks.values()] if t.counts], tracker


@pytest.mark.parametrize("step", [3, 40])  # more than the square is long, too
def test_a_gap_is_bridged_and_a_flicker_is_none(step):
    texture, views = np.random.default_rng(0).integers(0, 255, (64, 400), np.uint8), []
    for number, left in enumerate(range(80, -30, -step)):
        image, instances, objects = drawn(left, texture)
        if step == 3 and number in (8, 9):  # missed twice
            instances, objects = instances * 0, []
        if step == 3 and number == 12:  # and something that is there only once
            instances[50:60, 10:20] = 2
            objects = [*objects, Object(2, NAMES[2], 100, 0.5, (10, 50, 20, 60), 2)]
        views.append((image, instances, objects))
    tracks, tracker = followed(views)
    assert [set(t.votes) for t in tracks] == [{1}] and tracker.cuts == 0


def test_the_objects_tell_how_a_bare_belt_moves_between_rails_that_stand():
    views = []
    for left in range(60, 0, -25):
        image, instances, objects = drawn(left, np.full((64, 400), 90, np.uint8))
        image[instances > 0], image[:4], image[-4:, ::2] = 160, 255, 30
        views.append((image, instances, objects))
    tracks, tracker = followed(views)
    assert len(tracks) == 1 and tracker.cuts == 0
    assert tracker.fresh == pytest.approx(25 / 96, abs=0.03)


def test_unrelated_pictures_share_no_object():
    rng = np.random.default_rng(0)
    pictures = [drawn(40, rng.integers(0, 255, (64, 400), np.uint8)) for _ in range(3)]
    tracks, tracker = followed(pictures)
    assert len(tracks) == 3 and tracker.cuts == 2 and tracker.fresh == 1


@pytest.mark.parametrize("kind", ["missing", "text", "cut"])
def test_what_cannot_be_read_is_named(kind, film, tmp_path):
    path = tmp_path / "film.mp4"
    if kind != "missing":
        path.write_bytes(b"no film at all\n" * 100 if kind == "text" else film.read_bytes()[:5000])
    with pytest.raises(DataError, match=f"^{path}: no .*; "):
        watch(str(path), tmp_path / "out", masks)
    assert not (tmp_path / "out").exists()


def test_the_command_says_in_a_line_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the tests' own Ctrl-C stays
    done = CliRunner().invoke(command, ["watch", str(tmp_path / "none.mp4")])
    assert done.exit_code == 1
    assert done.output.startswith(f"error: {tmp_path}/none.mp4: ") and done.output.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--max-miss 0", "MAX_MISS is 0; it may be 1e-06 to 0.999999"),
        ("--max-miss 2", "MAX_MISS is 2; it may be 1e-06 to 0.999999"),
        ("--max-miss nan", "MAX_MISS is nan"),
        ("--threshold 2", "THRESHOLD is 2; it may be 0 to 1"),
        (
            "--threshold 0.5 --max-miss 0.1",
            "THRESHOLD and MAX_MISS both set the threshold; give one",
        ),
        ("--model {}/x.pt", "x.pt: is no .safetensors file"),
        ("--model {}/none.safetensors", "none.safetensors: no such model"),
        ("--out {}/x.pt/out", "out: cannot be made in {}/x.pt; name another folder"),
        ("{}/none.mp4", "{}/none.mp4: no such file or folder; name a film, a folder or an address"),
        ("{}/x.mp4", "{}/x.mp4: no film (a playlist is none) or stream here; convert it to mp4"),
    ],
)
def test_what_cannot_be_done_is_told_before_the_model_is_loaded(
    options, says, film, tmp_path, monkeypatch
):
    monkeypatch.setattr(segmenter, "load", lambda path: pytest.fail("it is loaded"))
    (tmp_path / "x.pt").write_bytes(b"x")
    (tmp_path / "x.mp4").write_bytes(b"x")
    words = options.format(tmp_path).split()
    source = [str(film)] if words[0].startswith("--") else []
    done = CliRunner().invoke(command, ["watch", *source, *words])
    assert done.exit_code == 1 and done.output.count("\n") == 1
    assert done.output.startswith("error: ") and says.format(tmp_path) in done.output


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"),
        ("film.mp4", "ffconcat version 1.0\nfile {}\n"),
    ],
)
def test_a_playlist_opens_no_other_film(name, content, belt, tmp_path):
    """Though OpenCV by itself would, which is looked at first."""
    (tmp_path / "in").mkdir()
    other = belt.write(tmp_path / "other.ts")
    os.link(other, tmp_path / "in/other.ts")  # ffmpeg takes an hls list's films from names only
    path = tmp_path / "in" / name
    path.write_text(content.format("other.ts"))
    assert cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).isOpened()
    for source in (str(path), f"file:{path}", f"file://{path}"):
        with pytest.raises(DataError, match=r"no (film|such).*; ") as caught:
            frames.open_source(source)
        assert "\n" not in str(caught.value)
    assert frames.FILMS not in os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"]  # cameras may have lists
    assert frames.open_source(str(other)).total == len(list(belt.views()))


def test_a_camera_that_is_not_there_and_no_source_are_told():
    with pytest.raises(DataError, match=r"^98: no camera of this number$"):
        frames.open_source("98")
    with pytest.raises(DataError, match=r"^SOURCE: no such file or folder"):
        frames.open_source("")


def test_a_folder_that_fills(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "POLL_S", 0.05)
    noise, said = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), []
    Image.fromarray(noise).save(tmp_path / "z-first.png")
    content = (tmp_path / "z-first.png").read_bytes()
    source = frames.open_source(str(tmp_path), say=said.append)
    threading.Timer(20, source.stop.set).start()
    taken = []
    for frame in source:
        taken.append(frame.at.name)
        assert np.array_equal(frame.image, noise)
        if len(taken) == 1:  # a half, that stands still for longer than a look
            (tmp_path / "a-slow.png").write_bytes(content[:2000])
            (tmp_path / "b-broken.png").write_bytes(content[:2000])
            finish = threading.Timer(0.5, (tmp_path / "a-slow.png").write_bytes, [content])
            finish.start()
        source.stop.set() if len(taken) == 2 else None
    assert taken == ["z-first.png", "a-slow.png"]
    assert sum("b-broken.png" in line for line in said) == 1


def test_waiting_for_pictures_is_no_slow_work(belt, tmp_path, monkeypatch):
    """A picture comes, nothing for two seconds, another: frames a second are of the work."""
    stop, stub = threading.Event(), masks(belt)
    monkeypatch.setattr(frames, "POLL_S", 0.05)
    views = [Image.fromarray(belt.image[:, v]) for v in belt.views()][:2]
    views[0].save(tmp_path / "0.png")
    later = threading.Timer(2.0, views[1].save, [tmp_path / "1.png"])
    later.start()
    whole, seen = stub.predict, []

    def predict(image: np.ndarray):
        seen.append(time.monotonic())
        stop.set() if len(seen) == 2 else time.sleep(0.1)
        return whole(image)

    stub.predict = predict
    made = watch(str(tmp_path), tmp_path / "out", stub, stop=stop, overlay=False)
    summary = json.loads((made / "summary.json").read_text())
    assert summary["time_s_since"] == "1970-01-01 UTC" and summary["frames"] == len(seen) == 2
    assert seen[1] - seen[0] > 1 and summary["frames_per_s"] > 2 / (seen[1] - seen[0])


class Stream:
    """A camera that gives so many frames, each of its number, and then breaks."""

    def __init__(self, numbers: range, pause: float = 0.0) -> None:
        self.numbers, self.pause = list(numbers), pause

    def read(self):
        time.sleep(self.pause)
        if not self.numbers:
            return False, None
        return True, np.full((32, 32, 3), self.numbers.pop(0), np.uint8)


def test_a_camera_keeps_its_newest_frame_alone():
    camera = frames.Camera("fake", opened=Stream(range(200)), say=lambda _: None)
    seen = []
    for frame in camera:
        seen.append(int(frame.image[0, 0, 0]))
        time.sleep(0.2)
        if seen[-1] == 199:
            camera.stop.set()
    assert len(seen) <= 3 and camera.dropped == 200 - len(seen)


def test_a_broken_stream_comes_back(monkeypatch):
    monkeypatch.setattr(frames, "RETRY_S", 0.02)
    tries, said = [], []

    def reopen(address: str) -> Stream:
        tries.append(address)
        if len(tries) < 3:
            raise DataError("not there")
        return Stream(range(100, 102), 0.1)

    monkeypatch.setattr(frames, "_open", reopen)
    camera = frames.Camera("fake", opened=Stream(range(2), 0.1), address="x", say=said.append)
    seen = []
    for frame in camera:
        seen.append(int(frame.image[0, 0, 0]))
        if seen[-1] == 101:
            camera.stop.set()
    assert seen == [0, 1, 100, 101] and tries[:3] == ["x"] * 3
    assert "the stream broke" in said[0]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://user:secret@10.0.0.2/stream", "rtsp://10.0.0.2/stream"),
        ("rtsp://user:p@ss@cam:554/live/1", "rtsp://cam:554/live/1"),
        ("rtsp://user:p/s@[fe80::1]:554/1", "rtsp://[fe80::1]:554/1"),
        ("http://cam/video?user=me&pwd=secret", "http://cam/video"),
        ("http://me:s@cam/video?password=secret", "http://cam/video"),
        ("rtsp://cam/user=me&password=secret&channel=1", "rtsp://cam/user"),
        ("http://cam/video?pwd=se@cret", "http://camera"),
        ("films/a@b?c=1.mp4", "films/a@b?c=1.mp4"),
        ("0", "0"),
    ],
)
def test_a_password_is_not_shown(address, shown):
    assert frames.without_password(address) == shown


@given(st.text(), st.text(), st.sampled_from(["{}:x@cam/1", "u:{}@cam/1", "cam/1?p={}"]))
def test_no_password_whatever_it_is_made_of_is_shown(before, after, place):
    rest = place.format(f"{before}seCret{after}")
    shown = frames.without_password(f"rtsp://{rest}")
    assert "seCret" not in shown and shown.startswith("rtsp://cam")


def test_ctrl_c_leaves_a_film_and_whole_events(film, belt, tmp_path, monkeypatch):
    stub, seen, out = masks(belt), [], tmp_path / "out"
    whole = stub.predict

    def predict(image: np.ndarray):
        seen.append(1)
        if len(seen) == 12:
            signal.raise_signal(signal.SIGINT)
        return whole(image)

    stub.predict = predict
    monkeypatch.setattr(segmenter, "load", lambda path: stub)
    before = [(n, signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)]
    try:
        done = CliRunner().invoke(command, ["watch", str(film), "--out", str(out)])
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    assert done.exit_code == 0, done.output
    summary = json.loads((out / "summary.json").read_text())
    assert summary["frames"] == len(seen) == frames_of(out / "overlay.mkv") == 12
    assert len(lines(out)) == sum(summary["objects"].values()) > 0
