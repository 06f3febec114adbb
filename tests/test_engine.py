"""The map of what is made from what (Snakefile): what reruns when what changes, and who runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from project_copy import ROOT, copy_project

from scrapseg.experiments import studies
from scrapseg.experiments.methods import METHODS
from scrapseg.experiments.studies import plan_profile

README = (ROOT / "README.md").read_text(encoding="utf-8")

ACCEPTED = "the loss, but accepted"
#: What the README's table names -> a change of that kind.
CHANGES = {
    "nothing, though files have new dates": {"path": "README.md", "old": "S", "new": "S"},
    "a word in a label reader's message": {"path": "scrapseg/data/labels.py"},
    "the loss": {"path": "scrapseg/train/losses.py"},
    "the starting weights": {"path": "data/pocket/pocket-aligned.safetensors"},
    "a package of the lock that training uses": {
        "path": "requirements.lock",
        "old": "\ntimm==",
        "new": "\ntimm==9.",
    },
    "a method's settings": {
        "path": "scrapseg/experiments/methods.yaml",
        "old": "  maker: segmentation_models_pytorch.Unet\n  candidates: *rates\n  chosen: {",
        "new": "  maker: segmentation_models_pytorch.Unet\n  candidates: *rates\n  chosen: {x: 1, ",
    },
    "how images of a data set are read or sized": {
        "path": "scrapseg/data/cables.py",
        "profile": "real",
    },
    "a study's table in `results/full`": {"path": "results/full/tables/ablation.csv"},
    "a result on photographs": {"path": "results/real/tables/adaptation.csv"},
    "a measured speed": {"path": "results/bench/start.csv"},
    "measured times": {"path": "results/laptop/times.json"},
    "code of tables and figures": {"path": "scrapseg/report/tables.py"},
    "a cell of notebook 01": {"path": "notebooks/01_data_exploration.py"},
    "the paper's text": {"path": "paper/paper.typ"},
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Jobs that each of `CHANGES` brings about."""
    copy = copy_project(tmp_path_factory.mktemp("project"))
    changes = {**CHANGES, ACCEPTED: CHANGES["the loss"] | {"accept": True}}
    (copy / "changes.json").write_text(json.dumps(list(changes.values())))
    done = subprocess.run(
        [sys.executable, ROOT / "tests/dry_runs.py", copy, copy / "changes.json"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(copy)},
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(changes, json.loads((copy / "jobs.json").read_text())))


def table() -> dict[str, list[str]]:
    """The README's table: what changes -> runs, notebooks and the rest that is made anew."""
    section = README.split("## What reruns when what changes")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows[2:]}


def runs(words: str, profile: str) -> set[str]:
    """The runs of a profile that the README's words mean."""
    means = {
        "none": lambda of: False,
        "all": lambda of: True,
        "all that are trained by our loop": lambda of: of.is_trained,
        "ours, and what else starts from them": lambda of: (
            of.options.get("tower") == "aligned"
            if not of.is_ours
            else of.options.get("tower") != "imagenet"
        ),
        "those of that method": lambda of: (of.settings_of or of.slug) == "unet",
        "all on that data set": lambda of: True,
    }[words]
    plan = plan_profile(profile).items()
    plan = [(n, s) for n, s in plan if "set" not in words or s.dataset == "cables"]
    return {name for name, spec in plan if means(METHODS[spec.method])}


@pytest.mark.parametrize("change", CHANGES)
def test_what_reruns_is_what_the_readme_says(change, jobs):
    done = jobs[change]
    profile = CHANGES[change].get("profile", "laptop")
    started = {job.removeprefix("run ") for job in done if job.startswith("run ")}
    notebooks = [job.partition("_")[0] for job in done if job[0].isdigit()]
    rest = [name for name in ("tables", "readme", "paper") if name in done]
    said = table()[change]
    assert started == runs(said[0], profile)
    shown = ", ".join(notebooks) or "none", ", ".join(rest).replace("readme", "README") or "none"
    assert [said[1], said[2]] == list(shown), f"in the README's table: {' | '.join(shown)}"
    for job in done:
        if job.startswith("publish "):
            assert job.removeprefix("publish ") in done


def test_an_accepted_change_makes_nothing_anew(jobs):
    assert jobs[ACCEPTED] == []


def test_every_study_that_a_notebook_plans_is_on_the_map():
    text = (ROOT / "Snakefile").read_text()
    for path in (ROOT / "notebooks").glob("[0-9]*.py"):
        studies = " ".join(re.findall(rf'"{path.stem}": \((.*?)\),', text))
        planned = re.findall(r'\bplan\("(\w+)"', path.read_text())
        assert set(planned) <= set(re.findall(r'"(\w+)"', studies)), path.stem


def test_at_most_jobs_at_a_time_and_those_whose_costs_are_compared_alone():
    options = ["-o", ".venv/.ready", "grid", "JOBS=3", "SNAKEMAKE=-n --forceall"]
    made = subprocess.run(
        ["make", "--no-print-directory", "-n", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    words = made.stdout.split()
    assert words[words.index("--resources") + 1] == "place=3"  # Snakemake's own limit
    words[words.index("--quiet") + 1] = "host"  # in place of all: each job with what it takes
    seen = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    told = seen.stdout + seen.stderr
    takes = r"name=(\S+)\n(?:    (?:threads|priority): .*\n)*    resources:.*place=(\d+)"
    alone = {spec.name for spec in studies.plan("compared", studies.profile("full"))}
    expected = {name: "3" if name in alone else "1" for name in plan_profile("full")}
    assert dict(re.findall(takes, told)) == expected
    # What takes longest begins first.
    first = set(re.findall(r"name=(\S+)\n    priority:", told))
    assert first == {name for name in expected if re.match("unet|fpn|deeplab|segformer", name)}


def test_the_readme_draws_the_rules_as_they_are(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js", "--cores", "1", "--quiet"]
        + ["all", "--nolock", "--config", "profile=laptop", "--", "reproduce"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    (drawn,) = re.findall(r"```mermaid\n(.*?)```", README, re.S)
    assert arrows(drawn) == arrows(done.stdout)


def arrows(mermaid: str) -> set[tuple[str, str]]:
    """Pairs of rules; the notebooks are drawn as one."""
    names = dict(re.findall(r"(\w+)\[([^\]]+)\]", mermaid))
    names = {node: "notebooks" if name[0].isdigit() else name for node, name in names.items()}
    pairs = re.findall(r"(\w+) --> (\w+)", mermaid)
    named = {(names.get(a, a), names.get(b, b)) for a, b in pairs}
    return {pair for pair in named if pair[1] != "reproduce"}
