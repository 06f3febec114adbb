"""The bench of scale: files that differ, a command that is watched and killed."""

from __future__ import annotations

import sys
import time

import pytest

from making import scale


def test_no_two_images_are_alike(tmp_path):
    files = list(scale.make_folder(tmp_path / "many", 200, side=64).iterdir())  # more than views
    assert len({path.read_bytes() for path in files}) == 200


def test_memory_is_that_of_all_processes_and_a_kill_leaves_none():
    child = "import time; held = bytearray(60_000_000); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    began = time.monotonic()
    seen = scale.watched([sys.executable, "-c", parent], lambda: time.monotonic() > began + 4)
    assert 60 < seen["peak_mb"] < 150 and seen["code"] == -9 and 4 <= seen["seconds"] < 30


def test_what_fails_is_said():
    with pytest.raises(RuntimeError, match="no such thing"):
        scale.watched([sys.executable, "-c", "raise SystemExit('no such thing')"])
