"""A copy of the project's small files, to change and run things in."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGE = re.compile(
    r"^data/(scrapsim/(images|labels|instances)|studio)|/runs/|/leaderboard/|\.ipynb$"
)


def copy_project(to: Path, *, data: bool = True) -> Path:
    """Copy what git knows, without images, records and saved notebooks; times stay.

    Args:
        data: with ``data/``; otherwise it is left out.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        wanted = not LARGE.search(name) and (data or not name.startswith("data/"))
        if wanted and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to
