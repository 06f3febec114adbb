"""The fuzzing of the readers: a few broken inputs of each, and faults that it has to see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from making import fuzz
from making.fuzz_inputs import READERS

COCO = next(r for r in READERS if r.name == "coco")


def test_no_reader_does_anything_but_read_or_refuse(tmp_path, monkeypatch, capsys):
    quick = ["fuzz", "--bombs", "no", "--examples", "12", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", quick)
    with pytest.raises(SystemExit) as ended:
        fuzz.main()
    assert ended.value.code == 0, capsys.readouterr().out
    table = pd.read_csv(tmp_path / "fuzz.csv").set_index("reader")
    assert list(table.index) == [r.name for r in READERS]
    assert (table["examples"] == 12).all() and (table["read"] + table["refused"] == 12).all()
    assert table["read"].sum() > 10 and (tmp_path / "fuzz.json").is_file()


def test_rows_of_other_readers_stay_with_their_origin(tmp_path):
    row = dict.fromkeys(fuzz.COLUMNS, 1)
    for names, made in ((["coco", "models"], {"commit": "a"}), (["models"], {"commit": "b"})):
        table = pd.DataFrame([row | {"reader": name, "faults": len(names)} for name in names])
        fuzz.save_rows(tmp_path / "fuzz", table, made)
    found = pd.read_csv(tmp_path / "fuzz.csv")
    assert found[["reader", "faults"]].values.tolist() == [["coco", 2], ["models", 1]]
    origins = json.loads((tmp_path / "fuzz.json").read_text())
    assert origins == {"coco": {"commit": "a"}, "models": {"commit": "b"}}


class Atheris:
    """Bytes in no order, in the place of those that follow coverage."""

    instrument_func = staticmethod(lambda function: function)

    def Setup(self, _, one_input):
        self.one_input = one_input

    def Fuzz(self):
        draw = np.random.default_rng(0)
        while True:  # what has seen enough ends the process
            self.one_input(draw.bytes(4000))


def test_inputs_that_follow_coverage_are_counted_and_their_faults_seen(monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "atheris", Atheris())
    found = fuzz.apart(replace(COCO, bombs=COCO.bombs[:1]), 8, None, guided=True)
    assert (found["examples"], found["read"] + found["refused"]) == (9, 9)
    found = fuzz.apart(replace(COCO, bombs=(), named=()), 8, None, guided=True)
    assert found["faults"] == sum(found["lines"].values()) > 0
    monkeypatch.setattr(fuzz, "atheris", None)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--guided"])
    with pytest.raises(SystemExit):
        fuzz.main()
    assert "pip install atheris" in capsys.readouterr().err


def allocate(folder: Path) -> None:
    bytearray(8 * fuzz.MEMORY)


def compute(folder: Path) -> None:
    while True:
        pass


def outside(folder: Path) -> None:
    (folder.parent / "out.txt").write_text("x")


def die(folder: Path) -> None:
    os._exit(7)


@pytest.mark.parametrize(
    "does, said",
    [
        (allocate, "MemoryError"),
        (compute, "Hang"),
        (outside, "out.txt to write"),
        (lambda folder: {}["a"], "KeyError"),
        (lambda folder: subprocess.run(["true"], check=True), "subprocess.Popen"),
        (die, "the process ended with 7"),
    ],
)
def test_a_fault_is_seen(monkeypatch, does, said):
    monkeypatch.setattr(fuzz, "CPU_S", 0.2)
    calls = []

    def read(folder: Path) -> None:
        calls.append(folder)
        if len(calls) > 1:  # the first is the valid one
            does(folder)

    found = fuzz.apart(replace(COCO, read=read, bombs=()), 1, None)
    assert found["faults"] == 1 and any(said in line for line in found["lines"]), found
