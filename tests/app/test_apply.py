"""Several runs on one folder at once: each has its own folder, notebook and log."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scrapseg.app import apply as app


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.jpg")
    return folder


def test_runs_at_the_same_time_do_not_meet(images, tmp_path, monkeypatch):
    together = threading.Barrier(3, timeout=30)

    def execute(source, values, out, log):
        assert source.is_file()
        for path in (out, log):
            path.write_text(json.dumps(values))
        together.wait()  # every run has written before any goes on

    monkeypatch.setattr(app.notebook, "execute", execute)
    with ThreadPoolExecutor(3) as pool:
        sides = (100, 200, 300)
        runs = [pool.submit(app.apply, images, tmp_path / "out", None, s) for s in sides]
        folders = [run.result().parent for run in runs]
    assert {f.name for f in folders} == {"out", "out-2", "out-3"}
    for folder, side in zip(folders, sides, strict=True):
        for path in (folder / "notebook.ipynb", folder / "run.log"):
            parameters = json.loads(path.read_text())
            assert parameters["side"] == side and parameters["out_dir"] == str(folder)
