"""Where the repository's own files lie, and writing of which no reader ever sees a half."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """Where a weight file that comes with the project lies, by its name.

    The wheel holds such files in ``scrapseg/_shipped``; a checkout has them in ``data/pocket``.
    """
    installed = Path(__file__).with_name("_shipped")
    return (installed if installed.is_dir() else REPOSITORY / "data" / "pocket") / name


class ResultsError(Exception):
    """A file of results cannot be read or written; the message is one line and names the file."""


class WriteFailed(ResultsError):
    """A file could not be written (disk full, no permission, ...)."""


def atomic_write(path: Path | str, content: bytes | str) -> Path:
    """Write a file by way of a temporary neighbour, making its folder; text is UTF-8.

    Raises:
        WriteFailed: naming the path and the system's reason; the old file is then untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except BaseException:  # an interrupt, too, must leave no litter behind
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WriteFailed(f"cannot write {path}: {error.strerror or error}") from error
    return path
