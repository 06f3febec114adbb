"""Where the repository's own files lie, and writing of which no reader ever sees a half."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """Where a weight file that comes with the project lies, by its name.

    The wheel holds such files in ``scrapseg/_shipped``; a checkout has them in ``data/pocket``.
    """
    installed = Path(__file__).with_name("_shipped")
    return (installed if installed.is_dir() else REPOSITORY / "data" / "pocket") / name


class OneLine(Exception):
    """An error whose message is one line of bounded length, whatever a file's text brought into it:
    characters that do not print, such as a terminal's control codes, are shown escaped."""

    def __str__(self) -> str:
        text = super().__str__()
        text = text if len(text) <= 2000 else f"{text[:1000]} [...] {text[-500:]}"
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def small_text(path: Path) -> str:
    """Text of a file of settings; `ValueError` where it has over a megabyte, which no such has."""
    if path.stat().st_size > 1 << 20:
        raise ValueError("it has over a megabyte")
    return path.read_text(encoding="utf-8-sig")


class ResultsError(OneLine):
    """A file of results cannot be read or written; the message is one line and names the file."""


class WriteFailed(ResultsError):
    """A file could not be written (disk full, no permission, ...)."""


def atomic_write(path: Path | str, content: bytes | str | Iterator[str]) -> Path:
    """Write a file by way of a temporary neighbour, making its folder; text, which may come in
    pieces, is UTF-8.

    Raises:
        WriteFailed: naming the path and the system's reason; the old file is then untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    parts = [content] if isinstance(content, bytes | str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                stream.writelines(p.encode() if isinstance(p, str) else p for p in parts)
            os.replace(temporary, path)
        except BaseException:  # an interrupt, too, must leave no litter behind
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WriteFailed(f"cannot write {path}: {error.strerror or error}") from error
    return path
