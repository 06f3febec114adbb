"""What wants a GPU, rehearsed on a CPU with only what such a machine has or is brought."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pandas as pd
import pytest

from making import gpu, gpu_vit
from scrapseg.experiments import records
from scrapseg.experiments.methods import rates
from scrapseg.experiments.studies import RunSpec
from scrapseg.files import REPOSITORY

REHEARSE = """
import sys
from dataclasses import replace
from pathlib import Path
sys.modules.update(dict.fromkeys({refused!r}))  # as good as not installed
from making import gpu
gpu.REHEARSAL = replace(gpu.REHEARSAL, shots=("all",))
assert gpu.everything(Path({out!r}), 5, True)
"""


def needed(names: tuple[str, ...]) -> set[str]:
    """Distributions and all that they require, in the packaging world's spelling."""
    found, left = set(), list(names)
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        if name not in found:
            found.add(name)
            try:
                lines = requires(name) or []
            except PackageNotFoundError:
                continue
            left += [re.split(r"[^\w.-]", r)[0] for r in lines if "extra ==" not in r]
    return found


def test_all_of_it_runs_with_what_is_there_or_brought_and_is_made_once(tmp_path):
    allowed = needed(gpu.THERE) | needed(gpu.WHEELS)
    refused = {
        module
        for module, names in packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", n).lower() for n in names} & allowed
        and module not in ("scrapseg", "making")
    }
    assert {"snakemake", "anomalib", "papermill"} <= refused
    code = REHEARSE.format(refused=refused, out=str(tmp_path / "out"))
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, timeout=500)
    left = json.loads((tmp_path / "out/left.json").read_text())
    assert left == dict.fromkeys(gpu.STEPS, 0)
    kept = [p for p in (tmp_path / "out").iterdir() if p.is_file()]
    assert len(kept) <= 8 and all(p.stat().st_size < 16 * 2**20 for p in kept)

    gpu.take(tmp_path / "out", tmp_path / "results")
    runs = records.read_metrics(tmp_path / "results")["run"].unique()
    assert any("2-steps" in name for name in runs) and len(runs) == 2
    table = pd.read_csv(tmp_path / "results/tables/vit.csv")
    # No upper bound: on a busy machine the rate that is shared may be measured low.
    assert (table["images_s"] > 0).all() and (table["share_of_matmul"] > 0).all()
    assert gpu_vit.throughput(tmp_path / "out/vit.csv", time.time() + 60, True) == 0


def test_what_travels_and_what_comes_back_is_small(tmp_path, monkeypatch, capsys):
    for name in ("here", "there"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep/file").write_bytes(bytes(2_000_000))
    gpu.travels({name: tmp_path.glob(f"{name}/**/*") for name in ("here", "there")})
    assert capsys.readouterr().out.startswith("4.0 MB travel (")
    monkeypatch.setattr(gpu, "MOST_TRAVELS", 3_999_999)
    with pytest.raises(gpu.TooLarge, match=r"4\.0 MB travel .*, over 4\.0"):
        gpu.travels({"all": tmp_path.rglob("*")})
    with pytest.raises(gpu.TooLarge, match=r"a\.zip: 16\.8 MB, over 16\.8"):
        gpu.come_back(tmp_path / "a.zip", bytes((16 << 20) + 1))
    assert not (tmp_path / "a.zip").exists()


def test_what_time_cuts_off_is_said_and_goes_on(tmp_path, tiny_scrapsim):
    changes = {"steps": 1, "batch_size": 1, "crop": 64} | rates("scrapseg", None, None, "scrapsim")
    spec = RunSpec(changes=changes)
    assert gpu.make_runs([spec], tmp_path, tiny_scrapsim, 0, 1) == 1
    assert not list(tmp_path.glob("runs/*"))
    assert gpu.make_runs([spec], tmp_path, tiny_scrapsim, 5, 1) == 0
    assert gpu.make_runs([spec], tmp_path, tiny_scrapsim, 0, 1) == 0  # it is done
    gpu.pack_runs([spec], tmp_path, tmp_path / "a.zip")
    assert [p.stem for p in tmp_path.glob("runs/*")] == [spec.name]


def test_a_tree_that_is_sent_says_its_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "REPOSITORY", tmp_path)
    monkeypatch.setattr(records, "SENT", tmp_path / "source.json")
    assert records.source_state(tmp_path) == {"commit": "unknown", "clean": False}
    Path(records.SENT).write_text('{"commit": "abc", "clean": true}')
    assert records.source_state(tmp_path) == {"commit": "abc", "clean": True}


@pytest.mark.parametrize("setting", gpu_vit.settings())
def test_one_thing_is_changed_at_a_time(setting):
    plain = gpu_vit.Setting(setting.trains)
    assert sum(vars(setting)[k] != v for k, v in vars(plain).items()) <= 1
