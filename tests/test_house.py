"""The rooms: who imports whom, how large they are, and what is imported late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from scrapseg.files import REPOSITORY

MODULES = sorted((REPOSITORY / "scrapseg").rglob("*.py"))
#: Where functions import modules of ours: all because what they load is heavy, and why it can wait.
LATE = {
    "scrapseg/__init__.py": "`import scrapseg` does not load torch",
    "scrapseg/__main__.py": "a command loads only what it needs; `--help` answers at once",
}

#: Code lines of the whole module; to be lowered when it gets smaller.
MOST_LINES = 9700


def inner_imports(path: Path) -> set[str]:
    """Modules of this project that are imported inside a function."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    inner = [
        node
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, functions)
        for node in ast.walk(function)
    ]
    names = {n.module or "." for n in inner if isinstance(n, ast.ImportFrom)}
    names |= {a.name for n in inner if isinstance(n, ast.Import) for a in n.names}
    return {name for name in names if name.split(".")[0] in ("scrapseg", "making", "")}


def test_imports_go_only_downwards():
    """The contract in pyproject.toml."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_import_is_hidden_in_a_function_without_a_reason():
    late = {path.relative_to(REPOSITORY).as_posix(): inner_imports(path) for path in MODULES}
    assert {path for path, names in late.items() if names} == set(LATE)


def test_bars_are_for_a_terminal():
    """In a notebook `tqdm.auto` draws a widget, of which the terminal that runs it sees nothing."""
    texts = [path.read_text() for path in (*MODULES, *REPOSITORY.glob("notebooks/*.py"))]
    assert any("from tqdm import" in text for text in texts)
    assert not any("tqdm.auto" in text or "tqdm.notebook" in text for text in texts)


def code_lines(path: Path) -> int:
    """Lines of a Python file that are neither empty nor comment nor docstring."""
    text = path.read_text()
    docstrings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in docstrings
        for number, line in enumerate(text.splitlines(), start=1)
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(REPOSITORY).as_posix())
def test_a_file_is_one_idea(path):
    assert code_lines(path) <= 400


def test_rooms_and_lines_stay_few():
    rooms = [p for p in (REPOSITORY / "scrapseg").iterdir() if p.is_dir() and p.name[0] not in "_."]
    assert len(rooms) <= 9
    assert sum(map(code_lines, MODULES)) <= MOST_LINES
