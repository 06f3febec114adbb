"""Where the weights of a finished run lie, if they are those that its record is of."""

from __future__ import annotations

from pathlib import Path

from scrapseg.experiments.records import read_run


def finished(results: Path, run: str) -> Path | None:
    """`cache/<run>` of a results folder; None where there is no such run, or another one's cache.

    A cache is copied, and records come from elsewhere: it is the record's where `done` holds its
    date.

    Raises:
        BrokenRecord: the record cannot be read.
    """
    record, done = results / "runs" / f"{run}.json", results / "cache" / run / "done"
    if not (record.is_file() and done.is_file()):
        return None
    of_record = read_run(record).provenance.get("date") == done.read_text(encoding="utf-8")
    return done.parent if of_record else None


def needed(results: Path, run: str) -> Path:
    """As `finished`, for what cannot do without.

    Raises:
        FileNotFoundError: there is none; the message says what to do.
    """
    if (found := finished(results, run)) is None:
        cache = results / "cache" / run
        raise FileNotFoundError(f"{cache}: not the weights of its record; make the run anew")
    return found
