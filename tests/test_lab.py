"""JupyterLab as a person meets it: open a notebook in a browser, run all cells, see pictures."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from browser import page

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = {"01_data_exploration": 3, "07_apply_to_your_scrap": 3}  # pictures at least
PATIENCE = 240  # seconds for one notebook; a third of that is usual

#: Lab's own command behind the menu's "Run All Cells", which ends with the last cell.
RUN_ALL = """async patience => {
    const app = window.jupyterapp;
    await app.restored;
    await app.shell.currentWidget.sessionContext.ready;
    const late = new Promise(resolve => setTimeout(() => resolve(false), patience));
    return Promise.race([app.commands.execute('notebook:run-all-cells'), late]);
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Lab on copies of the notebooks, beside the real data and package."""
    root = tmp_path_factory.mktemp("lab")
    (root / "notebooks").mkdir()
    (root / "data").symlink_to(ROOT / "data")
    for stem in NOTEBOOKS:
        notebook = nbformat.read(ROOT / f"notebooks/{stem}.ipynb", as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":  # so that every picture seen was made here
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, root / f"notebooks/{stem}.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    options += [
        "--expose-app-in-browser",
        "--IdentityProvider.token=",
        "--allow-root",
        f"--ServerApp.root_dir={root}",
    ]
    settings = {
        "PYTHONPATH": str(ROOT),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_CONFIG_DIR": str(root / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(root / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(root / "workspaces"),
    }
    with (root / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            cwd=root,
            env=os.environ | settings,
            stdout=log,
            stderr=log,
        )
        try:
            yield _answering(f"http://127.0.0.1:{port}", root / "lab.log")
        finally:
            server.terminate()
            server.wait(20)


def _answering(address: str, log: Path, patience: float = 90) -> str:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{address}/api", timeout=5).read()
            return address
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"JupyterLab does not answer:\n{log.read_text()[-2000:]}")


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_all_cells_run_and_pictures_are_seen(stem, request, tmp_path):
    with page(1400, 1000) as tab:  # first, so that without a browser no server is started
        address = request.getfixturevalue("lab")
        tab.goto(f"{address}/lab/tree/notebooks/{stem}.ipynb?reset", timeout=90_000)
        tab.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=90_000)
        done = tab.evaluate(RUN_ALL, 1000 * PATIENCE)
        tab.screenshot(path=tmp_path / f"{stem}.png")
        assert done, f"a cell failed, or it still runs after {PATIENCE} s"
        errors = tab.locator("[data-mime-type='application/vnd.jupyter.stderr'] >> text=Traceback")
        assert (
            tab.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count()
            == 0
        )
        assert errors.count() == 0
        # Lab draws what is on the screen; walk down so that every picture has been.
        widths = set()
        box = tab.locator(".jp-WindowedPanel-outer, .jp-Notebook").first
        for _ in range(60):
            found = tab.evaluate(
                """() => [...document.querySelectorAll('.jp-RenderedImage img')]
                   .filter(i => i.complete && i.naturalWidth > 100)
                   .map(i => i.src.length + ':' + i.naturalWidth + ':' + i.src.slice(-40))"""
            )
            widths |= set(found)
            box.evaluate("e => e.scrollBy(0, 700)")
            time.sleep(0.1)
        assert len(widths) >= NOTEBOOKS[stem], widths
