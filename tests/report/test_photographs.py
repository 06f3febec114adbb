"""The photographs' place in paper, README and verify, with made-up runs of both data sets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_results import FIGURES, record, write_results

from scrapseg.experiments import records
from scrapseg.report import paper, readme, scene_tables, tables, verify

SOURCE = Path(__file__).resolve().parents[2] / "paper/paper.typ"


@pytest.fixture(scope="module")
def committed(tmp_path_factory, tiny_scrapsim) -> Path:
    """A results folder with made-up runs of both data sets."""
    root = tmp_path_factory.mktemp("checkout")
    laptop, folder = root / "results/laptop", root / "results/real"
    write_results(laptop)
    scene_tables.build_all(laptop, tiny_scrapsim)
    write_results(folder, (*FIGURES, *paper.uses(SOURCE.read_text()).real_figures))
    shutil.rmtree(folder / "runs")
    shutil.rmtree(folder / "tables")
    runs = [(m, "", k) for m in ("scrapseg", "unet", "patchcore") for k in (1, 4, "all")]
    runs += [("scrapseg-imagenet", "", "all"), ("scrapseg", "from-scrapsim", "all")]
    for method, tag, shots in runs:
        one = record(method, shots, 0)
        one.dataset = "magnetic-tile"
        records.write_run(one, folder, tag)
    records.collect(folder)
    scene_tables.build_all(folder)
    return root


def test_the_paper_has_its_section_where_there_are_runs(committed, tmp_path):
    laptop = committed / "results/laptop"
    with_it = paper.pdf(SOURCE, laptop)
    alone = tmp_path / "results/laptop"
    shutil.copytree(laptop, alone)
    without = paper.pdf(SOURCE, alone)
    assert len(with_it) > len(without)
    (tmp_path / "results/real").mkdir()  # a folder without runs changes nothing
    assert paper.pdf(SOURCE, alone) == without


def test_a_missing_table_of_the_photographs_is_named(committed, tmp_path):
    shutil.copytree(committed / "results", tmp_path / "results")
    (tmp_path / "results/real/tables/tile_starts.csv").unlink()
    with pytest.raises(paper.PaperError, match=r"tile_starts\.csv"):
        paper.pdf(SOURCE, tmp_path / "results/laptop")


def test_verify_looks_at_the_photographs_tables(committed, tmp_path):
    shutil.copytree(committed / "results", tmp_path / "results")
    comp = verify.Compendium(tmp_path, "real")
    names = [*tables.TABLES, *scene_tables.TABLES]
    found = list(verify.check_tables(comp, [n for n in names if n.startswith("tile_")]))
    assert not [str(c) for c in found if c.problem]
    table = tmp_path / "results/real/tables/tile_methods.csv"
    table.write_text(table.read_text().replace("0.9", "0.8", 1))
    found = list(verify.check_tables(comp, ["tile_methods"]))
    assert [c.what for c in found if c.problem] == [
        "results/real/tables/tile_methods.csv follows from the runs or the data"
    ]


def test_the_readme_says_who_is_best_on_them(committed):
    last = readme.findings(committed / "results/laptop").split("\n")[-1]
    assert "magnetic tiles" in last and "ScrapSeg (ours) has" in last
