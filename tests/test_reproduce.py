"""The notebook runner, on small notebooks of its own."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scrapseg import reproduce as rp

ROOT = Path(__file__).resolve().parent.parent


def write_notebook(root: Path, stem: str, *code: str) -> Path:
    """Write a paired notebook: a question, a parameters cell, then one cell for each ``code``."""
    parameters = "profile = 'smoke'\nresults_dir = '../results/smoke'\nsteps = 1"
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "Does it run?"},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": parameters},
        *({"cell_type": "code", "metadata": {}, "source": source} for source in code),
    ]
    text = ["# %% [markdown]\n# Does it run?\n", f'# %% tags=["parameters"]\n{parameters}\n']
    text += [f"# %%\n{source}\n" for source in code]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    path = root / f"notebooks/{stem}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook))
    path.with_suffix(".py").write_text("\n".join(text))
    return path


@pytest.fixture
def project(tmp_path: Path) -> rp.Project:
    """01 stands alone, 03 imports a module, 04 builds on 03."""
    write_notebook(tmp_path, "01_a", "print('one')")
    write_notebook(tmp_path, "03_b", "if False:\n    import scrapseg.used\nprint('three', steps)")
    write_notebook(tmp_path, "04_c", "print('four')")
    package = tmp_path / "scrapseg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "used.py").write_text("from . import deeper\n")
    (package / "deeper.py").write_text("X = 1\n")
    (package / "unused.py").write_text("Y = 1\n")
    (tmp_path / "notebooks/profiles").mkdir()
    (tmp_path / "notebooks/profiles/quick.yaml").write_text("steps: 2\n")
    depends = {"01_a": (), "03_b": (), "04_c": ("03_b",)}
    return rp.Project(tmp_path, tmp_path / "results/quick", "quick", depends)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put a stand-in for the kernel: what would run is listed, and its copy written."""
    stems: list[str] = []

    def execute(project: rp.Project, plan: rp.Plan, bar: object) -> None:
        stems.append(plan.stem)
        rp.write_atomic(project.executed(plan.stem), "{}")

    monkeypatch.setattr(rp, "execute", execute)
    return stems


def again(project: rp.Project, ran: list[str], **options) -> list[str]:
    ran.clear()
    rp.run_notebooks(project, **options)
    return list(ran)


def test_a_second_run_runs_nothing(project, ran):
    assert again(project, ran) == ["01_a", "03_b", "04_c"]
    assert again(project, ran) == []
    assert again(project, ran, force=True) == ["01_a", "03_b", "04_c"]


def test_a_changed_notebook_reruns_itself_and_what_builds_on_it(project, ran):
    again(project, ran)
    write_notebook(project.root, "03_b", "print('three, but other')")
    assert again(project, ran) == ["03_b", "04_c"]
    write_notebook(project.root, "01_a", "print('one, but other')")
    assert again(project, ran) == ["01_a"]


def test_outputs_saved_in_a_notebook_do_not_count_as_a_change(project, ran):
    again(project, ran)
    path = project.notebook("01_a")
    notebook = json.loads(path.read_text())
    notebook["cells"][2]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "one"}]
    path.write_text(json.dumps(notebook))
    assert again(project, ran) == []


def test_a_changed_module_reruns_who_imports_it_even_through_another(project, ran):
    again(project, ran)
    (project.root / "scrapseg/deeper.py").write_text("# a comment is no change\nX = 1\n")
    (project.root / "scrapseg/unused.py").write_text("Y = 2\n")
    assert again(project, ran) == []
    (project.root / "scrapseg/deeper.py").write_text("X = 2\n")
    assert again(project, ran) == ["03_b", "04_c"]


def test_a_changed_profile_or_lock_or_data_set_reruns(project, ran):
    again(project, ran)
    (project.root / "notebooks/profiles/quick.yaml").write_text("steps: 3\n")
    assert again(project, ran) == ["01_a", "03_b", "04_c"]
    (project.root / "data/scrapsim").mkdir(parents=True)
    for name in (
        "requirements.lock",
        "data/scrapsim/checksums.sha256",
        "scrapseg/experiments/methods.yaml",
    ):
        (project.root / name).write_text("other\n")
        assert again(project, ran) == ["01_a", "03_b", "04_c"], name


def test_a_lost_copy_or_state_reruns(project, ran):
    again(project, ran)
    project.executed("01_a").unlink()
    assert again(project, ran) == ["01_a"]
    project.state_file.write_text("{broken")
    assert again(project, ran) == ["01_a", "03_b", "04_c"]


def test_only_brings_one_notebook_up_to_date_with_what_it_builds_on(project, ran):
    assert again(project, ran, only="04") == ["03_b", "04_c"]
    assert again(project, ran) == ["01_a"]
    with pytest.raises(rp.ReproduceError, match="no notebook starts with '09'"):
        again(project, ran, only="09")


def test_the_newer_of_a_pair_wins(project, ran):
    path = project.notebook("01_a")
    text = path.with_suffix(".py")
    text.write_text(text.read_text().replace("'one'", "'uno'"))
    os.utime(text, (time.time() + 5,) * 2)
    assert not rp.in_step(path)
    (project.root / "notebooks/jupytext.toml").write_text('formats = "ipynb,py:percent"\n')
    again(project, ran)
    assert rp.in_step(path)
    assert "'uno'" in path.read_text()


@pytest.mark.parametrize(
    ("profile", "text", "message"),
    [
        ("nowhere", None, "no such profile; there is bad, quick, smoke"),
        ("bad", "stepz: 2\n", "sets stepz, which no notebook has"),
        ("bad", "- 1\n", "bad.yaml: a profile is a list"),
        ("bad", "a: [1\n", "bad.yaml: not valid YAML"),
    ],
)
def test_a_bad_profile_gets_one_line(project, profile, text, message):
    path = project.root / "notebooks/profiles/bad.yaml"
    path.write_text(text or "steps: 1\n")
    with pytest.raises(rp.ReproduceError, match=message) as caught:
        rp.make_plans(replace(project, profile=profile))
    assert "\n" not in str(caught.value)


def test_bad_notebooks_get_one_line(project):
    project.notebook("01_a").write_text("{")
    with pytest.raises(rp.ReproduceError, match=r"01_a\.ipynb: not a notebook"):
        rp.make_plans(project)
    write_notebook(project.root, "01_a", "print(")
    with pytest.raises(rp.ReproduceError, match=r"01_a\.ipynb: .*print\("):
        rp.make_plans(project)
    project.notebook("01_a").unlink()
    with pytest.raises(rp.ReproduceError, match=r"01_a\.ipynb: no such notebook"):
        rp.make_plans(project)


# With a kernel ------------------------------------------------------------------------------------


def test_a_run_leaves_a_clean_copy_with_the_profile_s_values(project):
    noisy = "import os, sys\nprint(f'\\r{50}%', file=sys.stderr)"
    widget = "from tqdm.notebook import tqdm\nfor _ in tqdm(range(2)): pass"
    write_notebook(project.root, "01_a", noisy, widget, "print(steps, results_dir, os.getcwd())")
    project = replace(project, depends={"01_a": ()})
    assert rp.run_notebooks(project) == ["01_a"]
    text = project.executed("01_a").read_text()
    assert "2 ../results/quick ./notebooks" in text
    for noise in (str(project.root), "papermill", "50%", "widget", "iopub", sys.version.split()[0]):
        assert noise not in text, noise
    assert "50%" in project.log("01_a").read_text()
    assert rp.run_notebooks(project, force=True) == ["01_a"]
    assert project.executed("01_a").read_text() == text
    assert sorted(p.name for p in project.results.rglob("*") if p.is_file()) == [
        "01_a.ipynb",
        "01_a.log",
        "state.json",
    ]


def test_a_failure_names_notebook_and_cell_and_keeps_what_was_finished(project):
    write_notebook(project.root, "03_b", "print('fine')", "values = []\nvalues[3]")
    with pytest.raises(rp.ReproduceError) as caught:
        rp.run_notebooks(project)
    message = str(caught.value)
    assert message.startswith("03_b: cell 3 (values = []) failed with IndexError: list index")
    assert message.endswith("03_b.log")
    assert "\n" not in message
    assert "list index out of range" in project.log("03_b").read_text()
    assert project.executed("01_a").is_file()
    assert not project.executed("03_b").exists()
    assert list(rp.read_state(project)) == ["01_a"]


def test_an_interrupt_leaves_no_half_written_copy(project):
    write_notebook(project.root, "01_a", "import time\nprint('begun', flush=True)\ntime.sleep(60)")
    code = (
        "import sys; from pathlib import Path; from scrapseg import reproduce as rp\n"
        "root = Path(sys.argv[1])\n"
        "p = rp.Project(root, root / 'results/quick', 'quick', {'01_a': ()})\n"
        "rp.run_notebooks(p)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(project.root)],
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs, in which the tests may run, are started deaf to interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    log = project.log("01_a")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.is_file() and "begun" in log.read_text()):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode
    assert [p.name for p in project.results.rglob("*") if p.is_file()] == ["01_a.log"]


# The real ones ------------------------------------------------------------------------------------


def test_every_notebook_runs_after_those_it_builds_on():
    order = list(rp.DEPENDS)
    for stem, parents in rp.DEPENDS.items():
        assert all(order.index(parent) < order.index(stem) for parent in parents)


def test_nothing_heavy_is_imported_to_find_that_nothing_changed():
    code = "import sys, scrapseg.reproduce as r; print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "papermill", "pandas", "numpy", "jupytext"} & set(shown)


def test_photographs_become_jpegs_and_drawings_stay(tmp_path):
    def png(pixels: np.ndarray) -> str:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return base64.b64encode(buffer.getvalue()).decode()

    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8))
    noise = rng.integers(0, 9, (400, 400, 3), np.uint8)
    photograph = np.asarray(coarse.resize((400, 400), Image.Resampling.BICUBIC)) // 2 + noise
    drawing = np.full((400, 400, 3), 255, np.uint8)
    kept, shrunk = {"image/png": png(drawing)}, {"image/png": png(photograph)}
    before = len(shrunk["image/png"])
    rp.shrink_picture(kept)
    rp.shrink_picture(shrunk)
    assert list(kept) == ["image/png"] and list(shrunk) == ["image/jpeg"]
    assert len(shrunk["image/jpeg"]) < before / 2
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(shrunk["image/jpeg"]))))
    assert np.abs(found.astype(int) - photograph).mean() < 6
