"""File systems of a test's own: full ones and read-only ones, mounted where nobody else sees them.

Root writes wherever permissions forbid it, so only a mount shows what a user meets.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from scrapseg.files import REPOSITORY

MOUNT = ["unshare", "--user", "--map-root-user", "--mount"]
HERE = subprocess.run([*MOUNT, "true"], capture_output=True).returncode == 0 if shutil.which(
    "unshare") else False  # fmt: skip
needs_mounts = pytest.mark.skipif(not HERE, reason="no file system can be mounted here")


def inside(steps: str, cwd: os.PathLike | str = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """Lines of sh, the first of which may mount."""
    return subprocess.run(
        [*MOUNT, "sh", "-c", steps],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        timeout=300,
    )
