"""The wheel: built, installed into an environment of its own, used far from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scrapseg
from scrapseg.files import REPOSITORY

#: Run by the new environment's Python: where the module lies, and what it makes of an image.
PREDICT = """
import json, sys, scrapseg
model = scrapseg.load()
p = model.predict("image.png")
print(json.dumps([scrapseg.__file__, p.label.tolist(), p.image_score, [*sys.modules]]))
assert model.runtime.session  # the graph for it comes along, too
"""
#: What takes long to load and predicting has no use for.
UNUSED = ("IPython", "anomalib", "lightning", "matplotlib", "onnxscript", "sklearn", "snakemake")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_the_module_and_what_the_module_reads_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"scrapseg"}
    tracked = subprocess.run(
        ["git", "ls-files", "scrapseg"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    assert names >= set(tracked)
    (weights,) = (n for n in names if n.endswith("scrapsim.safetensors"))
    assert weights == "scrapseg/_shipped/scrapsim.safetensors"


def test_installed_alone_it_predicts_as_the_checkout_does(wheel, tmp_path):
    """In a new environment that borrows torch and the like, but not this checkout."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    # A line in a .pth file is a folder; the .pth files in that folder, such as that of an editable
    # install, are not read.
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"])
    install = ["pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run([sys.executable, "-m", *install], check=True)

    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 20, 3), np.uint8).repeat(6, 0).repeat(6, 1)
    Image.fromarray(image).save(tmp_path / "image.png")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-I", "-c", PREDICT], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    where, label, image_score, modules = json.loads(done.stdout.splitlines()[-1])
    assert Path(where).is_relative_to(site)
    assert not {*UNUSED} & {*modules}
    here = scrapseg.load().predict(image)
    assert np.array_equal(here.label, label)
    assert image_score == pytest.approx(here.image_score, abs=1e-4)

    apply = [python, "-I", "-m", "scrapseg", "apply", "."]
    done = subprocess.run(apply, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "run this in a checkout of the repository" in done.stderr
    assert not (site / "results").exists() and not (tmp_path / "results").exists()
