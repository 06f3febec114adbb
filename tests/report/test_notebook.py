"""Running and publishing notebooks, on small ones."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scrapseg.report import notebook as nb

ROOT = Path(__file__).resolve().parents[2]


def write_source(folder: Path, stem: str, *code: str) -> Path:
    """A notebook's ``.py``: a question, a parameters cell, then one cell for each ``code``."""
    parameters = "profile = 'smoke'\nresults_dir = '../results/smoke'\nsteps = 1"
    text = ["# %% [markdown]\n# Does it run?\n", f'# %% tags=["parameters"]\n{parameters}\n']
    text += [f"# %%\n{source}\n" for source in code]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.py"
    path.write_text("\n".join(text))
    return path


def execute(source: Path, results: Path, **values) -> Path:
    stem = source.stem
    return nb.execute(
        source, values, results / f"notebooks/{stem}.ipynb", results / f"logs/{stem}.log"
    )


def sources_of(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]


def test_a_profile_s_values_reach_those_parameters_that_a_notebook_has(tmp_path):
    source = write_source(tmp_path, "01_a", "steps = 7")
    assert nb.defaults(source) == {
        "profile": "smoke",
        "results_dir": "../results/smoke",
        "steps": 1,
    }
    assert nb.parameters(source, {"steps": 3, "shots": [1]}) == {"steps": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"01_a\.py: no such notebook"),
        ('# %% tags=["parameters"]\nsteps = (\n', r"01_a\.py: syntax error .*steps = \("),
        ('# %% tags=["parameters"]\nsteps = len(x)\n', r"01_a\.py: its parameters must be plain"),
    ],
)
def test_bad_notebooks_get_one_line(tmp_path, text, message):
    source = tmp_path / "01_a.py"
    if text:
        source.write_text(text)
    with pytest.raises(nb.NotebookError, match=message) as caught:
        nb.defaults(source)
    assert "\n" not in str(caught.value)


def test_a_run_leaves_a_clean_copy_that_is_published_without_the_injected_cell(tmp_path):
    noisy = "import os, sys\nprint(f'\\r{50}%', file=sys.stderr)"
    widget = "from tqdm.notebook import tqdm\nfor _ in tqdm(range(2)): pass"
    where = "import scrapseg\nprint(steps, results_dir, scrapseg.__file__, sys.prefix)"
    source = write_source(tmp_path / "notebooks", "01_a", noisy, widget, where)
    results = tmp_path / "results"
    executed = execute(source, results, steps=2)
    text = executed.read_text()
    assert "2 ../results/smoke ./scrapseg/__init__.py .venv" in text
    for noise in ("papermill", "50%", "widget-view", "iopub", sys.version.split()[0]):
        assert noise not in text, noise
    assert "50%" in (results / "logs/01_a.log").read_text()
    assert sorted(p.name for p in results.rglob("*") if p.is_file()) == ["01_a.ipynb", "01_a.log"]

    published = nb.publish(source, executed)
    assert nb.in_step(source)
    assert "steps = 2" not in "".join(sources_of(published))
    assert "2 ../results/smoke" in published.read_text()
    again = published.read_text()
    assert nb.publish(source, executed).read_text() == again

    # What a person changed in the .ipynb alone is not written over.
    published.write_text(again.replace("Does it run?", "Does it walk?"))
    os.utime(published, (time.time() + 5,) * 2)
    with pytest.raises(nb.NotebookError, match=r"jupytext --sync 01_a\.ipynb"):
        nb.publish(source, executed)
    assert "walk" in published.read_text()
    write_source(tmp_path / "notebooks", "01_a", "print('other')")
    with pytest.raises(nb.NotebookError, match="made from other cells"):
        nb.publish(source, executed)
    with pytest.raises(nb.NotebookError, match="run it first: python -m scrapseg notebook 01_a"):
        nb.publish(source, executed.with_name("none.ipynb"))


def test_a_failure_names_notebook_and_cell(tmp_path):
    source = write_source(tmp_path, "03_b", "print('fine')", "values = []\nvalues[3]")
    with pytest.raises(nb.NotebookError) as caught:
        execute(source, tmp_path, steps=2)
    message = str(caught.value)
    assert message.startswith("03_b: cell 3 (values = []) failed with IndexError: list index")
    assert "\n" not in message
    assert "list index out of range" in (tmp_path / "logs/03_b.log").read_text()
    assert not (tmp_path / "notebooks/03_b.ipynb").exists()


def test_an_interrupt_leaves_no_half_written_copy(tmp_path):
    source = write_source(
        tmp_path, "01_a", "import time\nprint('begun', flush=True)\ntime.sleep(60)"
    )
    log = tmp_path / "logs/01_a.log"
    code = (
        "import sys; from pathlib import Path; from scrapseg.report import notebook as nb\n"
        "source, out, log = map(Path, sys.argv[1:])\n"
        "nb.execute(source, {}, out, log)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, source, tmp_path / "out/01_a.ipynb", log],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        # A shell's background jobs, in which the tests may run, are started deaf to interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.is_file() and "begun" in log.read_text()):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["01_a.log", "01_a.py"]


def test_photographs_become_jpegs_and_drawings_stay():
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
    nb.shrink_picture(kept)
    nb.shrink_picture(shrunk)
    assert list(kept) == ["image/png"] and list(shrunk) == ["image/jpeg"]
    assert len(shrunk["image/jpeg"]) < before / 2
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(shrunk["image/jpeg"]))))
    assert np.abs(found.astype(int) - photograph).mean() < 6
