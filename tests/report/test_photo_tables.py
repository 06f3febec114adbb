"""The photographs' place in paper, README and verify, with made-up runs of both data sets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from fake_results import FIGURES, image_stats, record, write_results

from making import readme
from scrapseg.experiments import records, stats
from scrapseg.report import paper, scene_tables, tables, verify

PARTS = [f"composite/ap/{c}" for c in ("motor", "cable", "rubber", "wood")]
PARTS += [f"yard/auroc/{c}" for c in ("motors", "copper-stators", "meatballs")]
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
    known = {"scrapseg-scrapsim": "scrapseg", "segformer": "unet", "patchcore": "patchcore"}
    known |= {"scrapseg-adapted": "scrapseg-imagenet"}
    for method, like in known.items():
        for dataset, shots in (("cables", 4), ("magnetic-tile", 4), ("magnetic-tile", "all")):
            one = record(like, shots, 0)
            one.dataset, one.method = dataset, method
            records.write_run(one, folder)
            stats.write(folder, one.name(), {"": image_stats(like)})
    records.collect(folder)
    scene_tables.build_all(folder)
    arms = {"arm": ["renders", "paste", "shipped"], "label": ["renders only", "first", "adapted"]}
    arms = pd.DataFrame(arms)
    measures = pd.DataFrame({"metric": [*readme.ADAPTED, *PARTS], "value": 0.25})
    arms = arms.merge(measures, how="cross").assign(seed=0, split="test")
    arms = arms[(arms["arm"] != "paste") | (arms["metric"] != readme.OBJECTS)]
    records.save_table(arms, folder, "adaptation")
    few = {"dataset": "cables", "labels": 8, "seed": 0, "minutes": 2.5, "miou": [0.7, 0.6]}
    few = pd.DataFrame(few | {"method": ["scrapseg", "segformer"]})
    records.save_table(few, folder, "few_labels")
    moved = {"method": "segformer", "shots": 4, "seed": 0, "miou": [0.4, 0.5]}
    moved = pd.DataFrame(moved | {"offsets": ["normal", "each class"]})
    records.save_table(moved, folder, "class_offsets")
    longer = {"dataset": "magnetic-tile", "method": "segformer", "miou": [30.0, 40.0]}
    longer = pd.DataFrame(longer | {"steps": ["as the others", "720"]})
    records.save_table(longer, folder, "photo_lengths")
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
    (tmp_path / "results/real/tables/photo_paired.csv").unlink()
    with pytest.raises(paper.PaperError, match=r"photo_paired\.csv"):
        paper.pdf(SOURCE, tmp_path / "results/laptop")


def test_verify_looks_at_the_photographs_tables(committed, tmp_path):
    shutil.copytree(committed / "results", tmp_path / "results")
    comp = verify.Compendium(tmp_path, "real")
    names = [*tables.TABLES, *scene_tables.TABLES]
    found = list(verify.check_tables(comp, [n for n in names if n.startswith("photo")]))
    assert not [str(c) for c in found if c.problem]
    table = tmp_path / "results/real/tables/photo_classes.csv"
    table.write_text(table.read_text().replace("0.3", "0.2", 1))
    found = list(verify.check_tables(comp, ["photo_classes"]))
    assert [c.what for c in found if c.problem] == [
        "results/real/tables/photo_classes.csv follows from the runs or the data"
    ]


def test_the_readme_says_who_is_best_on_them(committed):
    last = readme.findings(committed / "results/laptop").split("\n")[-1]
    assert "cables" in last and "magnetic-tile" in last and "against SegFormer" in last
    block = readme.photographs(committed / "results/laptop")
    lines = [line for line in block.splitlines() if line.startswith("| ")]
    assert lines[0] == "| photographs | mIoU by labels a class | 4 | all |"
    assert [line.split(" | ")[:2] for line in lines[1:]] == [
        [f"| {name}", label]
        for name in ("cables", "magnetic-tile")
        for label in ("ours, from ScrapSim", "ours, adapted", "SegFormer decoder")
    ]
    assert lines[1].endswith(" – |") and "no labels" not in block


def test_adaptation_is_shown_as_measured(committed):
    text = readme.adaptation(committed / "results/laptop")
    assert "| adapted | 1 | 25.0 | 25.0 | 0.25 | 25.0 | 25.0 |" in text
    assert "| first | 1 | 25.0 | 25.0 | – | 25.0 | 25.0 |" in text
    assert readme.adaptation(committed) == readme.NOT_YET
