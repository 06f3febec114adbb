"""`make apply`: what it makes and says; several runs on one folder at once."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import scrapseg
from scrapseg.__main__ import app as command
from scrapseg.app import apply as app
from scrapseg.app.finetune import Tuned
from scrapseg.app.outputs import Writer
from scrapseg.data.base import MissingFile
from scrapseg.models.segmenter import Segmenter, replace, starting_model
from scrapseg.report import notebook


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.jpg")
    Image.fromarray(255 - noise).save(folder / "b.jpg")
    return folder


def finish(out: Path, objects: Sequence[int] = (0, 3)) -> None:
    """What the notebook leaves of a run, as far as the command line tells it."""
    (out / "model").mkdir(exist_ok=True)
    (out / "model/model.yaml").write_text("threshold: 0.9714\n")
    pd.DataFrame({"objects": objects}).to_csv(out / "images.csv")


def test_runs_at_the_same_time_do_not_meet(images, tmp_path, monkeypatch):
    together = threading.Barrier(3, timeout=60)

    def execute(source, values, out, log):
        assert source.is_file()
        for path in (out, log):
            path.write_text(json.dumps(values))
        finish(out.parent)
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


def test_the_notebook_takes_every_option(images, tmp_path, monkeypatch):
    seen = {}

    def execute(source, values, out, log):
        seen.update(values)
        finish(out.parent)

    monkeypatch.setattr(app.notebook, "execute", execute)
    arguments = [str(images), "--out", str(tmp_path / "out"), "--no-adapt", "--empty", "unlabelled"]
    done = CliRunner().invoke(
        command, ["apply", *arguments, "--threshold", "0.3", "--minutes", "2"]
    )
    assert done.exit_code == 0, done.output
    assert "nothing is measured" in done.output and "0.3, set by hand" in done.output
    told = "1 of 2 images show something that is not steel scrap, 3 objects in all"
    assert f"{told}, at a threshold of 0.971." in done.output
    assert seen["adapt"] is False and seen["minutes"] == 2 and seen["threshold"] == 0.3
    assert seen["empty"] == "unlabelled"
    assert set(seen) <= set(notebook.defaults(app.NOTEBOOK))


def test_a_full_disk_names_the_folder(images, tmp_path, monkeypatch):
    """Papermill, which writes its copy after each cell, names none."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr("papermill.execute_notebook", Mock(side_effect=full))
    done = CliRunner().invoke(command, ["apply", str(images), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1 and not list(tmp_path.glob("out/*.ipynb"))  # nor a half of one
    error = [line for line in done.output.splitlines() if line.startswith("error: ")]
    assert error == [f"error: cannot go on in {tmp_path / 'out'}: No space left on device"]


def test_nothing_is_made_outside_a_checkout_or_without_the_model(images, tmp_path, monkeypatch):
    with pytest.raises(MissingFile, match="no such model"):
        app.apply(images, tmp_path / "out", model=tmp_path / "none.safetensors")
    monkeypatch.setattr("scrapseg.app.asked.NOTEBOOK", tmp_path / "notebooks/07.py")
    with pytest.raises(MissingFile, match="checkout of the repository"):
        app.apply(images, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# The notebook itself, in this process -------------------------------------------------------------


@pytest.fixture
def run(tiny_scrapsim, tmp_path, monkeypatch):
    """Runs notebook 07's cells with parameters and gives its variables."""
    cells = notebook.cells_of(notebook.read(app.NOTEBOOK))
    monkeypatch.chdir(app.NOTEBOOK.parent)

    def run(folder: Path, **parameters) -> dict:
        values = {"images_dir": str(folder), "out_dir": str(tmp_path / "out"), "minutes": 0.1}
        values |= {"data_dir": str(tiny_scrapsim), "side": 64} | parameters
        space: dict = {}
        for kind, source, tags in cells:
            if kind == "code":
                exec(source, space)
                space |= values if "parameters" in tags else {}
        return space

    return run


@pytest.fixture
def adapted(monkeypatch):
    """Adaptation that takes no time: a model with another origin; and what it was called with."""
    calls = []

    def adapt(start: Segmenter, photos, scrapsim, *, minutes, **_):
        calls.append((len(photos), scrapsim.split, minutes))
        return replace(start, origin="adapted", threshold=0.2)

    monkeypatch.setattr("scrapseg.train.adapt.adapt", adapt)
    return calls


def test_without_labels_the_model_is_adapted_and_the_report_says_what_was_assumed(
    images, run, monkeypatch
):
    monkeypatch.setattr("scrapseg.train.adapt.STEPS", (2, 2))
    space = run(images)
    out, shipped = space["out"], starting_model().model.state_dict()
    kept = scrapseg.load(out / "model").model.state_dict()
    assert any(not torch.equal(kept[name], shipped[name]) for name in kept)
    text = (out / "report.html").read_text()
    assert "2 images to show mostly steel" in text and "nothing here is measured" in text
    assert "Before and after" in text and {p.stem for p in (out / "before").iterdir()} == {"a", "b"}


def test_a_saved_model_goes_over_a_new_folder_as_it_is(images, run, adapted, tmp_path):
    saved = replace(starting_model(shipped=False), threshold=0.13)
    saved.save(tmp_path / "model/m.safetensors")
    out = run(images, model_file=str(tmp_path / "model"))["out"]
    assert not adapted and not (out / "before").exists()
    expected = replace(saved, side=64).predict(images / "a.jpg").label
    assert np.array_equal(np.array(Image.open(out / "labels/a.png")), expected)
    assert "Before and after" not in (out / "report.html").read_text()


def test_images_without_labels_stand_beside_the_labels_and_what_is_not_counted_is_said(
    images, run, adapted, monkeypatch
):
    (images / "masks").mkdir()
    label = np.zeros((60, 80), np.uint8)
    label[10:30, 10:40] = 1
    for k in range(4):
        Image.fromarray(np.full((60, 80, 3), 50 * k, np.uint8)).save(images / f"{k}.png")
        Image.fromarray(label).save(images / f"masks/{k}.png")
    calls = {}

    def tune(starts, folder, config, *, minutes, threshold_of, steel):
        calls.update(starts=starts, minutes=minutes, steel=steel)
        history = pd.DataFrame({"fold": [1, 2], "step": [5, 5], "loss": [1.0, 1.0], "val": [1, 1]})
        objects = pd.DataFrame({"class": ["motor"] * 4, "found": [True, True, True, False]})
        summary = {"objects": 4, "found": 3, "miss_rate": 0.25, "miss_low": 0.05, "miss_high": 0.7}
        summary |= {"false_alarms": 0.5, "images": 4, "folds": 2, "small": 3, "step": 5}
        summary |= {"threshold": 0.4, "folds_threshold": 0.4}
        promises = {"objects": {"on": "folds", "scenes": 4, "thresholds": {0.2: 0.25}}}
        kept = replace(starts["scrapsim"], threshold=threshold_of(None, None), promises=promises)
        return Tuned(kept, history, objects, summary)

    monkeypatch.setattr("scrapseg.app.finetune.tune", tune)
    space = run(images, threshold=0.4)
    # No label shows a cable: how well another start would find one cannot be judged.
    assert not adapted and calls["minutes"] > 0 and list(calls["starts"]) == ["scrapsim"]
    assert [photo.shape for photo in calls["steel"]] == [(48, 64, 3)] * 2  # a and b, of side 64
    assert scrapseg.load(space["out"] / "model").threshold == 0.4
    text = " ".join((space["out"] / "report.html").read_text().split())
    assert "3 labelled objects smaller than 25 pixels" in text and "0.4, set by hand" in text
    assert "at most 20 % from a score of 0.25 on" in text and "19 for 5 %, 9 for 10 %" in text
    assert scrapseg.load(space["out"] / "model").promises["objects"]["scenes"] == 4
    assert "3 of 4 labelled objects are found" in space["text"] and "counted: 3 of" in space["text"]
    (images / "classes.yaml").write_text("steel scrap: {}\nmotor: {}\n電線: {}\n")
    run(images, threshold=0.4, out_dir=str(space["out"].with_name("other")))
    assert list(calls["starts"]) == ["scrapsim", "aligned"]  # the last is found by labels alone


# An interrupted run -------------------------------------------------------------------------------


def set_clock_back(folder: Path) -> None:
    """What lies there seems to have been made tomorrow."""
    tomorrow = time.time() + 86400
    for path in folder.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))


def test_an_interrupted_run_goes_on_in_its_folder_and_no_other_does(
    images, tmp_path, monkeypatch, capsys
):
    ends = {"well": False}

    def execute(source, values, out, log):
        if not ends["well"]:
            raise notebook.NotebookError("no space left")
        (out.parent / "report.html").write_text("")
        finish(out.parent)

    monkeypatch.setattr(app.notebook, "execute", execute)
    gone_on = []

    def plan(*_, made, **__):
        gone_on.append(made)
        return SimpleNamespace(notes=[])

    monkeypatch.setattr(app, "plan", plan)
    start = starting_model()
    monkeypatch.setattr(app, "starting_model", lambda: start)

    def folder(**options) -> str:
        return app.apply(images, tmp_path / "out", **options).parent.name

    with pytest.raises(notebook.NotebookError):
        folder()
    set_clock_back(tmp_path / "out")
    ends["well"] = True
    with app.lock(tmp_path / "out/.lock"):  # it runs still
        assert folder() == "out-2"
    assert folder(threshold=0.4) == "out-3"  # with other settings
    assert folder() == "out" and folder() == "out-4"  # has its report now
    assert f"{tmp_path / 'out'} is there already; this goes to out-4." in capsys.readouterr().out
    assert gone_on[-2:] == [tmp_path / "out", None]
    ends["well"] = False
    with pytest.raises(notebook.NotebookError):
        folder()  # in out-5
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(app.notebook, "execute", Mock(side_effect=KeyboardInterrupt))
        folder()
    assert f"Stopped. {tmp_path / 'out-5'} holds what is done" in capsys.readouterr().out

    def interrupted_late(*_):
        (tmp_path / "out-5/report.html").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(app.notebook, "execute", interrupted_late)
        folder()
    told = f"Stopped, but all was done: {tmp_path / 'out-5/report.html'}\n"
    assert capsys.readouterr().out.endswith(told)
    (tmp_path / "out-5/report.html").unlink()
    ends["well"] = True
    (images / "c.jpg").write_bytes((images / "a.jpg").read_bytes())
    assert folder() == "out-6"


def test_what_was_written_before_an_interrupt_is_neither_done_again_nor_different(
    images, run, adapted, tmp_path, monkeypatch
):
    for k in range(4):
        Image.fromarray(np.full((60, 80, 3), 50 * k, np.uint8)).save(images / f"{k}.png")
    monkeypatch.setattr("scrapseg.app.plan.COMPARED", 2)
    expected, out = run(images, out_dir=str(tmp_path / "whole"))["out"], tmp_path / "out"
    add, added = Writer.add, []

    def killed(writer, id, *arguments, **options):
        if len(added) == 4:
            raise KeyboardInterrupt
        added.append(id)
        add(writer, id, *arguments, **options)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Writer, "add", killed)
        run(images)
    assert len(list((out / "records").iterdir())) == 4 and not (out / "images.csv").exists()
    (out / "records" / f"{added[1]}.json").write_text('{"key": "of another model"}')
    set_clock_back(out)
    learned = len(adapted)

    def adding(writer, id, *arguments, **options):
        added.append(id)
        add(writer, id, *arguments, **options)

    monkeypatch.setattr(Writer, "add", adding)
    monkeypatch.setattr("scrapseg.app.report.SHOWN", 2)
    text = run(images)["out"].joinpath("report.html").read_text()
    assert "The 2 most suspicious of 6 images" in text
    assert len(adapted) == learned  # the adapted model was kept
    compared = added[:4:3]  # every third image is looked at twice
    assert added[4:] == [added[0], added[1], added[3], *sorted(set(added[4:]) - set(added[:4]))]
    assert compared == [added[0], added[3]]
    for path in (p for p in expected.rglob("*") if p.is_file() and p.name != "report.html"):
        twin = out / path.relative_to(expected)
        if path.name == "coco.json" and path.parent == expected:
            whole, resumed = (json.loads(p.read_text()) for p in (path, twin))
            del whole["info"]["date_created"], resumed["info"]["date_created"]
            assert whole == resumed
        else:
            assert path.read_bytes() == twin.read_bytes(), path
