"""What code a result depends on: the modules it imports, and a hash of what they do.

The standard library only: the runner uses this before anything heavy is imported.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path


def digest(*parts: object) -> str:
    """Sha256 of ``parts`` as JSON: equal for equal values, whatever the order of dict keys."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def hash_files(paths: Iterable[Path], root: Path) -> str:
    """Sha256 over the names (relative to ``root``) and bytes of those ``paths`` that are files."""
    return digest(
        {
            os.path.relpath(p, root): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in paths
            if p.is_file()
        }
    )


def imported_names(code: str, package: str) -> set[str]:
    """Dotted names that ``code`` imports, relative imports resolved against ``package``.

    ``from a import b`` gives both ``a`` and ``a.b``, since ``b`` may be a module. Lines starting
    with ``%`` or ``!`` (IPython's) are left out.
    """
    plain = "\n".join("" if line.lstrip()[:1] in ("%", "!") else line for line in code.split("\n"))
    names: set[str] = set()
    for node in ast.walk(ast.parse(plain)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def module_file(name: str, root: Path) -> Path | None:
    """File of the module ``name`` below ``root``, or None where there is none."""
    base = root.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def imported_modules(codes: Iterable[str], root: Path) -> list[Path]:
    """Files of this project's package that ``codes`` import, directly or through one another."""
    found: set[Path] = set()
    waiting = {name for code in codes for name in imported_names(code, "")}
    while waiting:
        name = waiting.pop()
        if name.split(".")[0] != "scrapseg":
            continue
        parts = name.split(".")
        for end in range(1, len(parts) + 1):  # importing a.b.c runs a and a.b too
            dotted = ".".join(parts[:end])
            path = module_file(dotted, root)
            if path is None or path in found:
                continue
            found.add(path)
            package = dotted if path.name == "__init__.py" else dotted.rpartition(".")[0]
            waiting |= imported_names(path.read_text(encoding="utf-8"), package)
    return sorted(found)


def hash_code(paths: Iterable[Path], root: Path) -> str:
    """Sha256 over what modules do: comments and layout do not count."""
    return digest(
        {
            os.path.relpath(p, root): ast.dump(ast.parse(p.read_text(encoding="utf-8")))
            for p in paths
        }
    )
