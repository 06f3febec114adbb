"""The set-up files say the same thing, and the Makefile tells what it can do."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
TARGETS = {
    "help",
    "env",
    "render",
    "grid",
    "reproduce",
    "accept",
    "paper",
    "test",
    "verify",
    "lab",
    "bench",
    "clean",
}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def lock() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in pins}


@pytest.fixture(scope="module")
def conda() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text())


def pinned(requirement: Requirement) -> str:
    (spec,) = requirement.specifier
    assert spec.operator == "==", requirement
    return spec.version


def test_the_three_lists_of_packages_are_in_step(project, lock, conda):
    direct = [
        Requirement(r) for r in project["dependencies"] + project["optional-dependencies"]["dev"]
    ]
    (through_pip,) = [d["pip"] for d in conda["dependencies"] if isinstance(d, dict)]
    in_conda = {
        canonicalize_name(Requirement(line).name): pinned(Requirement(line))
        for line in through_pip
        if not line.startswith("-")
    }
    for requirement in direct:
        name = canonicalize_name(requirement.name)
        assert name in lock, f"{name} is not in requirements.lock: make lock"
        version = pinned(lock[name])
        assert version in requirement.specifier, f"{name}: lock {version}, wanted {requirement}"
        assert in_conda.get(name) == version, f"environment.yml needs {name}=={version}"
    assert set(in_conda) == {canonicalize_name(r.name) for r in direct}
    assert "--constraint requirements.lock" in through_pip
    assert "--editable ." in through_pip


def test_the_lock_serves_every_supported_python(project, lock, conda):
    supported = SpecifierSet(project["requires-python"])
    assert {v for v in ("3.10", "3.11", "3.12", "3.13", "3.14") if v in supported} == {
        "3.11",
        "3.12",
        "3.13",
    }
    (python,) = [d for d in conda["dependencies"] if str(d).startswith("python=")]
    assert python.removeprefix("python=") in supported
    linux = {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"}
    for name in ("torch", "torchvision", "open-clip-torch", "nvidia-cublas"):
        marker = lock[name].marker or Marker("python_version > '3'")
        for version in ("3.11", "3.12", "3.13"):
            python = {"python_version": version, "python_full_version": f"{version}.0"}
            assert marker.evaluate({**linux, **python}), f"{name} on Python {version}"


def test_the_lock_names_no_host_and_no_path_and_no_cpu_build(lock):
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|^-e|^/|file:", text, re.M)
    assert all(pin.url is None for pin in lock.values())
    # A +cpu torch beside the index's torchvision fails on import: torchvision::nms does not exist.
    assert "+" not in pinned(lock["torch"])


def test_make_help_lists_every_target():
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    listed = set(re.findall(r"^  ([a-z-]+) +\S", shown, re.M))
    phony = re.search(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert phony
    assert listed == set(phony[1].split())
    assert listed >= TARGETS


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """What a person's make would do; the tests themselves may run in a recipe of another one."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-n", "-o", ".venv/.ready", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "wrong", "known"),
    [
        ("apply DATA=x MINUTE=1", "MINUTE", "DATA MINUTES ADAPT"),
        ("watch SOURCE=x RECALL=0.5", "RECALL", "SOURCE MODEL THRESHOLD MAX_MISS"),
        ("reproduce PROFIL=full", "PROFIL", "PROFILE JOBS"),
    ],
)
def test_a_mistyped_variable_is_told_in_a_line_and_nothing_is_run(words, wrong, known):
    done = make(*words.split())
    assert done.returncode and not done.stdout
    target = words.split()[0]
    assert f"{wrong}: make {target} takes no such variable but {known}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_mistyped_target_is_what_is_told():
    assert "No rule to make target 'aply'" in make("aply", "DATA=x").stderr
    assert "DATA: make help takes no such variable" in make("DATA=x").stderr


@pytest.mark.parametrize(
    "words",
    [
        ["apply", "DATA=my images = all", "MINUTES=2", "OMP_WAIT_POLICY=ACTIVE", "PYTHON=python3"],
        ["watch", "SOURCE=a film.mp4", "MAX_MISS=0.1", "UV_HTTP_TIMEOUT=9", "OUT=here"],
        ["grid", "EXECUTOR=slurm", "JOBS=4", "THREADS=2", "SNAKEMAKE=-n --config a=b"],
        ["app", "PORT=8877", "MODEL=a model", "VOILA=--no-browser --debug"],
        ["torture", "KILLS=2", 'ONLY=training "make apply"', "OUT=out"],
        ["gpu", "REHEARSE=1", "PROFILE=full"],
        ["PROFILE=laptop"],
    ],
)
def test_what_there_is_may_be_set(words):
    assert make(*words).returncode == 0


@pytest.mark.parametrize("target", ["apply", "watch", "torture"])
def test_make_takes_what_its_help_names(target):
    text = (ROOT / "Makefile").read_text()
    told = re.search(rf"^{target}:.*##(.*)$", text, re.M)
    takes = re.search(rf"^{target}_takes := (.*)$", text, re.M)
    assert told and takes
    assert set(re.findall(r"([A-Z_]+)=", told[1])) == set(takes[1].split())


def test_a_make_within_another_is_given_what_that_one_was():
    """As `make torture KILLS=2` has other targets made."""
    environment = os.environ | {"MAKELEVEL": "1", "MAKEFLAGS": " -- KILLS=2"}
    command = ["make", "-n", "-o", ".venv/.ready", "apply", "DATA=x"]
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)


def test_a_python_that_is_too_old_gets_one_clear_line(tmp_path):
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\necho "a traceback" >&2; exit 1\n')
    old.chmod(0o755)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    done = subprocess.run(
        ["make", "env", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode
    assert "needs Python 3.11" in done.stderr
    assert "traceback" not in done.stdout + done.stderr
    assert not (tmp_path / ".venv").exists()


def test_clean_spares_data_and_committed_results(tmp_path):
    kept = ["data/scrapsim/images/a.jpg", "results/laptop/metrics.csv", "scrapseg/a.py"]
    gone = [
        "results/smoke/metrics.csv",
        "results/laptop/cache/weights.safetensors",
        "results/laptop/logs/01.log",
        "results/laptop/notebooks/01.ipynb",
        ".snakemake/metadata/a",
        "scrapseg/__pycache__/a.pyc",
        "tests/__pycache__/a.pyc",
        "notebooks/.ipynb_checkpoints/a.ipynb",
        ".pytest_cache/a",
    ]
    for name in kept + gone:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    subprocess.run(["make", "-f", ROOT / "Makefile", "clean"], cwd=tmp_path, check=True)
    left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == set(kept)


def test_citation_and_version_agree(project):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    required = {"cff-version", "message", "title", "authors"}  # of the CFF 1.2.0 schema
    assert required <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"] == "MIT"
    version = re.search(r'__version__ = "(.+)"', (ROOT / "scrapseg/__init__.py").read_text())
    assert version
    assert version[1] == project["version"]


def test_profiles_are_named_after_their_files():
    paths = set((ROOT / "notebooks/profiles").glob("*.yaml"))
    assert {p.stem for p in paths} == {"smoke", "laptop", "full", "clip", "real"}
    for path in paths:
        values = yaml.safe_load(path.read_text())
        assert values["profile"] == path.stem
        assert values["results_dir"] == f"../results/{path.stem}"
