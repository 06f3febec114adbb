"""The page of `make app` as a person meets it: pictures in, threshold moved, results out."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from browser import page

ROOT = Path(__file__).resolve().parent.parent
EVIL = "<img src=x onerror=alert(1)>.jpg"
PATIENCE = 240_000  # milliseconds for one step; a twentieth of that is usual


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Address of the page, started by the very command of `make app`, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"PORT={port}", "VOILA=--no-browser"]
    told = ["make", "--no-print-directory", "-n", "-o", ".venv/.ready", "app", *options]
    command = subprocess.run(told, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    settings = {"PYTHONPATH": str(ROOT), "JUPYTER_PREFER_ENV_PATH": "1", "TMPDIR": str(tmp_path)}
    with (tmp_path / "app.log").open("w") as log:
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=ROOT,
            env=os.environ | settings,
            stdout=log,
            stderr=log,
            start_new_session=True,
            # A shell's background jobs, in which the tests may run, are started deaf to interrupts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def visit(tab, address: str) -> None:
    """Begin to open the page, once the server answers."""
    end = time.monotonic() + PATIENCE / 1000
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(address.rsplit(":")[-1])), 1).close()
            break
        except OSError:
            assert time.monotonic() < end, "the page does not answer"
            time.sleep(0.2)
    tab.goto(address, timeout=PATIENCE, wait_until="commit")


def count(tab) -> int:
    """Number of objects in the picture, as the page says it."""
    return int(tab.locator("b", has_text=" object").inner_text().split()[0])


def press(tab, key: str) -> int:
    """Move the threshold by a key; the number of objects in the picture that comes."""
    old = tab.locator("img").first.get_attribute("src")
    tab.locator(".noUi-handle").press(key)
    changed = "old => document.querySelector('img').src !== old"
    tab.wait_for_function(changed, arg=old, timeout=PATIENCE)
    tab.wait_for_timeout(300)  # the table comes after the picture
    return count(tab)


def test_pictures_in_threshold_moved_results_out(request, tmp_path):
    mine, images = tmp_path / "mine", sorted((ROOT / "data/scrapsim/images").iterdir())
    mine.mkdir()
    shutil.copy(images[0], mine / "a.jpg")
    shutil.copy(images[1], mine / EVIL)
    (mine / "broken.png").write_bytes(b"no picture")
    (mine / "notes.txt").write_text("no picture")
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in mine.iterdir()}

    with page(1300, 950) as tab:  # first, so that without a browser no server is started
        address, process = request.getfixturevalue("server")
        requests = []
        tab.on("requestfinished", lambda request: requests.append(request.url))
        other = tab.context.browser.new_page()  # another person
        for each in (tab, other):
            visit(each, address)
        tab.get_by_text("in an example").wait_for(timeout=PATIENCE)
        names = ["a.jpg", EVIL, "broken.png", "notes.txt"]
        tab.locator("input[type=file]").first.set_input_files([str(mine / n) for n in names])
        for name in names[:2]:
            listed = tab.locator("option", has_text=f"{name} · score")
            listed.wait_for(state="attached", timeout=PATIENCE)
        for line in ("broken.png: cannot be decoded", "notes.txt: left out"):
            tab.get_by_text(line).wait_for(timeout=PATIENCE)
        assert tab.locator("option").count() == 2  # the example has gone, and so has what is broken

        first, more, fewer = count(tab), press(tab, "Home"), press(tab, "End")
        assert more > first > fewer
        tab.locator("select").select_option(index=1)
        tab.get_by_text(f"in {EVIL}").wait_for(timeout=PATIENCE)
        assert not tab.locator("img[src=x]").count()
        press(tab, "Home")

        # The other one has the example still; what is said and found there changes nothing here.
        other.get_by_text("in an example").wait_for(timeout=PATIENCE)
        other.locator("textarea").fill("steel")
        other.get_by_role("button", name="Look for these").click()
        other.get_by_text("the words: 1 classes").wait_for(timeout=PATIENCE)
        other.locator("textarea").fill("steel\n<b>blue</b> plastic: blue plastic")
        other.get_by_role("button", name="Look for these").click()
        other.get_by_text("the words: 1 classes").wait_for(state="detached", timeout=PATIENCE)
        press(other, "Home")
        other.locator(".objects td", has_text="<b>blue</b> plastic").first.wait_for(
            timeout=PATIENCE
        )
        assert tab.locator("option").count() == 2 and other.locator("option").count() == 1
        other.locator("input[type=file]").nth(1).set_input_files(str(mine))  # a folder as it is
        other.locator("option", has_text="a.jpg · score").wait_for(
            state="attached", timeout=PATIENCE
        )
        assert other.locator("option").count() == 2

        with tab.expect_download(timeout=PATIENCE) as download:
            tab.get_by_role("button", name="Download the results").click()
        shown = count(tab)
        tab.screenshot(path=tmp_path / "app.png", full_page=True)
        with zipfile.ZipFile(download.value.path()) as results:
            assert results.testzip() is None
            stems = {Path(n).stem for n in results.namelist() if n.startswith("labels/")}
            assert stems == {"a", Path(EVIL).stem}
            objects = pd.read_csv(results.open("objects.csv"))
            assert {"coco.json", "proposals/coco.json"} <= set(results.namelist())
        assert (objects["image"] == EVIL).sum() == shown
        assert requests and all(url.startswith((address, "data:", "blob:")) for url in requests)
        assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in mine.iterdir()} == before

        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
        assert process.wait(PATIENCE / 1000) == 0
    log = (tmp_path / "app.log").read_text()
    assert "Traceback" not in log and "Error" not in log
    kernels = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True)
    assert not kernels.stdout.split(), "kernels are left"
