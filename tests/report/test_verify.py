"""`make verify` passes on a sound checkout and fails on each planted fault; the paper compiles."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import typst
from fake_results import FIGURES, save_corruptions, save_furnace, write_controls, write_results

from scrapseg.experiments import records
from scrapseg.report import paper, scene_tables, verify
from scrapseg.report.verify import Compendium

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "paper/paper.typ"
README = "# x\n![p](results/laptop/figures/qualitative.png)\n"


def git(root: Path, *arguments: str) -> None:
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a"}
    environment = (
        os.environ | identity | {"GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_GLOBAL": "/dev/null"}
    )
    command = ["git", "-C", str(root), "-c", "core.hooksPath=/dev/null", *arguments]
    subprocess.run(command, check=True, capture_output=True, env=environment)


def write_pdf(root: Path) -> None:
    (root / "paper/paper.pdf").write_bytes(
        paper.pdf(root / "paper/paper.typ", root / "results/laptop")
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory, tiny_scrapsim) -> Path:
    """A small checkout with everything committed."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(tiny_scrapsim, root / "data/scrapsim")
    write_results(root / "results/laptop")
    save_furnace(root / "results/laptop", root / "data/scrapsim")
    scene_tables.build_all(root / "results/laptop", root / "data/scrapsim")
    (root / "paper").mkdir()
    for name in ("paper.typ", "references.bib"):
        shutil.copy(ROOT / "paper" / name, root / "paper" / name)
    write_pdf(root)
    (root / "README.md").write_text(README)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "all")
    return root


@pytest.fixture
def checkout(sound, tmp_path) -> Path:
    """A copy to plant a fault in."""
    root = tmp_path / "checkout"
    shutil.copytree(sound, root, ignore=shutil.ignore_patterns("hooks"))
    return root


def failures(found) -> list[str]:
    return [str(check) for check in found if check.problem]


def test_a_sound_checkout_passes(sound, capsys):
    assert verify.run(root=sound)
    *lines, repeated, last = capsys.readouterr().out.splitlines()
    assert last == "all checks passed"
    assert all(line.startswith("ok    ") for line in lines)
    # The committed records are no repetition of themselves.
    assert repeated.startswith("note  ") and "no run was made anew" in repeated
    text = "\n".join(lines)
    used = paper.uses(SOURCE.read_text())
    assert len(used.tables) > 4 and len(used.figures + used.study_figures) > 3
    for name in used.tables:
        assert f"tables/{name}.csv" in text
    for name in used.figures:
        assert f"figures/{name} " in text


def test_nothing_is_written(sound):
    before = {p: p.stat().st_mtime_ns for p in (sound / "results").rglob("*")}
    list(verify.checks(Compendium(sound)))
    assert {p: p.stat().st_mtime_ns for p in (sound / "results").rglob("*")} == before


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def commit_all(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "fault")


def typed_number(root: Path) -> None:
    edit(root / "results/laptop/tables/methods.csv", "0.9,", "0.95,")


def lost_table(root: Path) -> None:
    (root / "results/laptop/tables/per_class.csv").unlink()


def short_table(root: Path) -> None:
    path = root / "results/laptop/tables/fewshot.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def wrong_count(root: Path) -> None:
    edit(root / "results/laptop/tables/dataset.csv", "train,", "training,")


def wrong_difference(root: Path) -> None:
    edit(root / "results/laptop/tables/paired.csv", "unet,1,miou,", "unet,1,miou,1")


def table_from_nowhere(root: Path) -> None:
    (root / "results/laptop/tables/mine.csv").write_text("a\n1\n")


@pytest.mark.parametrize(
    ("plant", "names", "message"),
    [
        (typed_number, ["methods"], r"methods\.csv.*column \w+ is '0\.95', not '0\.9'"),
        (lost_table, ["per_class"], r"per_class\.csv.*missing; run `make reproduce`"),
        (short_table, ["fewshot"], r"fewshot\.csv.*has \d+ rows, not \d+"),
        (wrong_count, ["composition", "dataset"], r"dataset\.csv.*'training', not 'train'"),
        (wrong_difference, ["paired"], r"paired\.csv.*column value"),
        (table_from_nowhere, ["mine"], r"mine\.csv.*no function of scrapseg/report"),
    ],
)
def test_a_wrong_table_is_named(checkout, plant, names, message):
    plant(checkout)
    [line] = failures(verify.check_tables(Compendium(checkout), names))
    assert re.search(message, line), line


def test_the_furnace_tables_are_checked_as_far_as_they_can_be(checkout):
    folder = checkout / "results/laptop/tables"
    table = pd.read_csv(folder / "mass.csv")
    table.loc[table["method"] == "true masks", "mae"] *= 0.9
    records.save_table(table, checkout / "results/laptop", "mass")
    table = pd.read_csv(folder / "heat.csv")
    table.loc[1, "copper_kg"] += 1
    records.save_table(table, checkout / "results/laptop", "heat")
    masses, heat = failures(verify.check_furnace(Compendium(checkout)))
    assert re.search(r"mass\.csv: its true masks.*mae", masses), masses
    assert re.search(r"heat\.csv: follows from the recalls.*copper_kg", heat), heat
    (folder / "heat.csv").unlink()
    [_, lost] = failures(verify.check_furnace(Compendium(checkout)))
    assert "file is missing; run `make reproduce`" in lost


def test_a_missing_figure_is_named(checkout):
    (checkout / "results/laptop/figures/fewshot.pdf").unlink()
    [line] = failures(verify.check_figures(Compendium(checkout), ["method", "fewshot"]))
    assert "figures/fewshot" in line and "fewshot.pdf missing" in line


def test_a_figure_from_a_run_without_record_is_named(checkout):
    sidecar = checkout / "results/laptop/figures/fewshot.json"
    sidecar.write_text(json.dumps({"runs": ["scrapseg_scrapsim_2shots_s0"]}))
    [line] = failures(verify.check_figures(Compendium(checkout), ["fewshot"]))
    assert "no record of scrapseg_scrapsim_2shots_s0" in line
    sidecar.write_text("{}")
    [line] = failures(verify.check_figures(Compendium(checkout), ["fewshot"]))
    assert "names no runs" in line


def test_a_record_that_is_not_committed_is_named(checkout):
    run = json.loads((checkout / "results/laptop/figures/fewshot.json").read_text())["runs"][0]
    git(checkout, "rm", "-q", "--cached", f"results/laptop/runs/{run}.json")
    git(checkout, "commit", "-q", "-m", "fault")
    comp = Compendium(checkout)
    [line] = failures(verify.check_figures(comp, ["fewshot"]))
    assert f"not committed: {run}" in line
    [line] = failures(verify.check_metrics(comp))
    assert f"not committed: {run}.json" in line


def test_metrics_that_the_records_do_not_say(checkout):
    edit(checkout / "results/laptop/metrics.csv", "0.9,", "0.91,")
    [line] = failures(verify.check_metrics(Compendium(checkout)))
    assert "metrics.csv joins its run records: it differs" in line
    record = next((checkout / "results/laptop/runs").glob("unet*.json"))
    record.write_text("{")
    [line] = failures(verify.check_metrics(Compendium(checkout)))
    assert record.name in line and "\n" not in line


def test_a_picture_of_the_readme_that_no_run_is_behind(checkout):
    edit(checkout / "README.md", "qualitative.png", "other.png")
    lines = failures(verify.checks(Compendium(checkout)))
    assert any("figures/other is drawn from committed runs" in line for line in lines)


def test_a_pdf_that_is_stale_or_not_committed(checkout):
    edit(checkout / "paper/paper.typ", "= Introduction", "= Beginning")
    [line] = failures(verify.check_pdf(Compendium(checkout)))
    assert "it differs; run `make paper`" in line
    write_pdf(checkout)
    assert not failures(verify.check_pdf(Compendium(checkout)))
    git(checkout, "rm", "-q", "--cached", "paper/paper.pdf")
    git(checkout, "commit", "-q", "-m", "fault")
    [line] = failures(verify.check_pdf(Compendium(checkout)))
    assert "is committed: it is not" in line


def change_ap(root: Path, by: float) -> None:
    """As a fresh `make reproduce` would leave it that found another AP for U-Net."""
    path = root / "results/laptop/runs/unet_scrapsim_allshots_s0.json"
    record = json.loads(path.read_text())
    record["metrics"]["ap"] += by
    record["metrics"]["train_s"] *= 3
    path.write_text(json.dumps(record))
    records.collect(root / "results/laptop")


def test_fresh_numbers_may_move_within_the_tolerance_and_no_further(checkout):
    comp = Compendium(checkout)
    change_ap(checkout, 0.02)
    [check] = verify.check_repeat(comp)
    assert not check.problem and "1 runs that differ" in check.what
    assert "largest difference 0.0200" in check.what
    change_ap(checkout, 0.02)
    [line] = failures(verify.check_repeat(comp))
    assert "ap of unet_scrapsim_allshots_s0 differs by +0.0400 (tolerance 0.03)" in line
    next((checkout / "results/laptop/runs").glob("patchcore*.json")).unlink()
    records.collect(checkout / "results/laptop")
    assert "patchcore_scrapsim_allshots_s0 missing" in failures(verify.check_repeat(comp))[0]


def test_outside_git_everything_counts_as_not_committed(sound, tmp_path):
    root = tmp_path / "bare"
    shutil.copytree(sound, root, ignore=shutil.ignore_patterns(".git"))
    comp = Compendium(root)
    assert "none is committed" in failures(verify.check_repeat(comp))[0]
    assert failures(verify.check_figures(comp, ["fewshot"]))


def test_a_fault_ends_the_command_with_status_1(checkout, capsys):
    lost_table(checkout)
    assert not verify.run(root=checkout)
    out = capsys.readouterr().out
    assert "FAIL  results/laptop/tables/per_class.csv" in out and "checks failed" in out


# ------------------------------------------------------------------------- the paper itself


def pages(folder: Path) -> int:
    inputs = {"results": folder.resolve(), "study": folder.resolve(), "alignment": paper.ALIGNMENT}
    inputs = {k: str(path) for k, path in inputs.items()}
    inputs["constants"] = json.dumps(paper.constants())
    out = typst.compile(str(SOURCE), root="/", format="png", ppi=20, sys_inputs=inputs)
    return len(out) if isinstance(out, list) else 1


def test_the_paper_has_four_pages_and_the_same_bytes_twice(sound):
    folder = sound / "results/laptop"
    assert pages(folder) >= 4
    first = paper.pdf(SOURCE, folder)
    assert first.startswith(b"%PDF") and paper.pdf(SOURCE, folder) == first


@pytest.mark.parametrize("without", [[], ["unet"], ["scrapseg-random", "patchcore"]])
def test_the_paper_builds_whatever_was_measured(tmp_path, tiny_scrapsim, without):
    """Ours last, ablated series, nan: the sentences are computed, so they must never break."""
    write_results(tmp_path, (*FIGURES, "labels"))
    save_corruptions(tmp_path, -0.05 if without else 0.05)
    if "unet" in without:
        write_controls(tmp_path)
    for path in (tmp_path / "runs").glob("*.json"):
        record = json.loads(path.read_text())
        values = record["metrics"]
        if record["method"] in without:
            path.unlink()
        elif record["method"] == "scrapseg":
            record["metrics"] = {k: v / 3 for k, v in values.items()} | {"iou/wood": None}
            path.write_text(json.dumps(record))
    records.collect(tmp_path)
    out = paper.build("smoke", tmp_path, tmp_path / "paper.pdf", tiny_scrapsim)
    assert out.read_bytes().startswith(b"%PDF")


def test_a_missing_figure_stops_the_paper_with_one_line(tmp_path, tiny_scrapsim):
    write_results(tmp_path, figures=("method", "data", "fewshot"))
    with pytest.raises(paper.PaperError, match=r"figures/qualitative\.pdf") as caught:
        paper.build("smoke", tmp_path, tmp_path / "p.pdf", tiny_scrapsim)
    assert "\n" not in str(caught.value) and not (tmp_path / "p.pdf").exists()


#: Numbers that stand in the paper's prose as they are, and why.
TYPED = {
    "4": "labels a class in the figure of photographs, a number of the protocol",
    "5": "per cent, the IoU below which a class counts as given up",
    "10": "per cent, the AP below which a class counts as hardly found by its words",
    "95": "per cent of an interval, a convention",
    "0.05": "level of a test, a convention",
    "14": "part of a name: CLIP ViT-L/14",
    "4.0": "part of a licence's name",
    "0": "the index of the normal class, and gamma of plain cross-entropy",
}


def prose(source: str) -> str:
    """A Typst document's text: without comments, code, strings, formulas and references."""
    text = source.split("*Abstract.*", 1)[1]
    text = re.sub(r"^\s*//.*|^\s*#?(?:let|set|show)\b.*", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`|\"[^\"]*\"|\$[^$]*\$|@[\w-]+|<[\w-]+>", "", text)
    call = re.compile(r"(?<=[\w.#)])\([^()\[\]]*\)")
    while call.search(text):
        text = call.sub("", text)
    # What is left of code: conditions, arguments such as `width: 62%`, products such as `* 2`.
    code = (r"\bif [^\[]*\[", r"\w+: \(?[\d.]+\w*%?", r"[*/+] ?\d+", r"\d+ \*", r"\d+fr\b")
    text = re.sub("|".join((*code, r"[A-Za-z_]\w*\.\w+")), " ", text)
    return re.sub(r"[^\n]*(?:=>|\bmap\b|\.\.|==|>=|<=)[^\n]*", "", text)


def test_no_number_is_typed_by_hand():
    """Numbers in the paper's prose are computed, apart from a few that are no results."""
    found = set(re.findall(r"(?<![\w.#-])\d+(?:\.\d+)?", prose(SOURCE.read_text())))
    assert found <= set(TYPED), found - set(TYPED)
    planted = "*Abstract.*\nOurs finds 61.5~% in a heat of 100~t at 0.3 (see @x, $x = 7$)."
    assert re.findall(r"\d+(?:\.\d+)?", prose(planted)) == ["61.5", "100", "0.3"]
