"""The study on photographs: its runs, tables, and place in the paper, on a drawn set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from making.tiles.drawn import draw_tiles, load_drawn
from scrapseg.data.base import MissingFile
from scrapseg.experiments import records
from scrapseg.experiments.run import run
from scrapseg.experiments.splits import load_splits
from scrapseg.experiments.studies import plan
from scrapseg.report import scene_tables, tables

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "paper/paper.typ"


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """The drawn set's splits."""
    return load_drawn(draw_tiles(tmp_path_factory.mktemp("tiles"), tiles=4), size=64)


def test_the_drawn_set_has_every_class_in_every_split_and_is_drawn_once(tiles, tmp_path):
    for part in (tiles.train, tiles.val, tiles.test):
        assert len({part.meta[i]["folder"] for i in part.ids}) == 6
    again = draw_tiles(tmp_path / "tiles", tiles=4)
    stamp = (again / "index.csv").stat().st_mtime_ns
    assert (again / "index.csv").read_bytes() == (tiles.train.root / "index.csv").read_bytes()
    assert draw_tiles(again) == again
    assert (again / "index.csv").stat().st_mtime_ns == stamp


@pytest.fixture(scope="module")
def study(tiles, tmp_path_factory):
    """Ours, from three starts, two steps each; the start from ScrapSim is a run of this study."""
    folder = tmp_path_factory.mktemp("results") / "real"
    given = {"tile_methods": ["scrapseg"], "tile_shots": [1], "start_shots": [1, "all"]}
    given |= {"tile_seeds": [0], "tile_steps": 2, "tile_few_steps": 1, "tile_limit": None}
    model = folder / "cache/scrapseg_magnetic-tile_allshots_s0/model.safetensors"
    for spec in plan("tiles", given | {"batch_size": 2, "crop": 64}):
        run(replace(spec, start=model) if spec.start else spec, tiles, folder)
    records.collect(folder)
    scene_tables.build_all(folder)
    return folder


def test_each_start_is_a_run_of_its_own(study):
    runs = records.read_runs(study)
    assert {name for name in runs if "_allshots" in name} == {
        "scrapseg_magnetic-tile_allshots_s0",
        "scrapseg-imagenet_magnetic-tile_allshots_s0",
        "scrapseg_magnetic-tile_allshots_s0_from-scrapsim",
    }
    assert {r.dataset for r in runs.values()} == {"magnetic-tile"}
    tagged = runs["scrapseg_magnetic-tile_allshots_s0_from-scrapsim"]
    plain = runs["scrapseg_magnetic-tile_allshots_s0"]
    assert "start" in tagged.config and "start" not in plain.config
    assert tagged.metrics["ap"] != plain.metrics["ap"]


def test_tables_compare_starts_and_leave_tagged_runs_out_of_the_methods(study):
    runs, metrics = records.read_runs(study), records.read_metrics(study)
    ours = tables.TABLES["tile_methods"](metrics).set_index("method")
    plain = runs["scrapseg_magnetic-tile_allshots_s0"].metrics
    assert ours.loc["scrapseg", "ap"] == pytest.approx(plain["ap"])
    starts = tables.starts(metrics).set_index(["shots", "start"])
    assert list(starts.loc["all"].index) == ["imagenet", "aligned", "scrapsim"]
    tagged = runs["scrapseg_magnetic-tile_allshots_s0_from-scrapsim"].metrics
    assert starts.loc[("all", "scrapsim"), "ap"] == pytest.approx(tagged["ap"])
    gaps = scene_tables.tile_starts_paired(study)
    gap = gaps[(gaps["shots"] == "all") & (gaps["metric"] == "ap")].set_index("scrapsim minus")
    assert set(gap.index) == {"imagenet", "aligned"}
    # Statistics per image bin the scores, so that the two agree nearly.
    assert gap.loc["aligned", "value"] == pytest.approx(tagged["ap"] - plain["ap"], abs=0.02)


def test_without_photographs_one_line_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRAPSEG_DATA", str(tmp_path))
    with pytest.raises(MissingFile, match="scrapseg fetch magnetic-tile"):
        load_splits("magnetic-tile", None, tmp_path)
