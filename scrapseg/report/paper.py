"""Build the paper: `paper/paper.typ` and a results folder make a PDF.

    python -m scrapseg.report.paper --profile laptop

The document reads its numbers from the results itself; this file brings the tables up to date with
`metrics.csv`, looks that everything the document uses is there, and compiles. The same results give
the same bytes: no dates, and only fonts that come with Typst.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import typst

from scrapseg import files
from scrapseg.report import tables, tables_real

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "paper/paper.typ"
ALIGNMENT = ROOT / "data/pocket/alignment.json"


class PaperError(Exception):
    """The paper cannot be built; the message is one line."""


class Uses(NamedTuple):
    """Names of the tables and figures that a document uses, sorted.

    Those of `study_tables` and `study_figures` come from the larger study's folder, those of
    `real_tables` and `real_figures` from that of the photographs.
    """

    tables: list[str]
    figures: list[str]
    study_tables: list[str]
    study_figures: list[str]
    real_tables: list[str]
    real_figures: list[str]


def uses(source: str) -> Uses:
    """What a Typst document takes: `rows`, `picture`, `study`, ... `real-picture` of a name."""
    calls = (r"(?<!-)\brows", r"(?<!-)\bpicture", r"\bstudy", r"\bstudy-picture")
    calls += (r"\breal-rows", r"\breal-picture")
    return Uses(*(sorted(set(re.findall(rf'{call}\("([^"]+)"', source))) for call in calls))


def study_of(results_dir: Path) -> Path:
    """Where the larger study lies that goes with a results folder.

    For the laptop profile that is profile `full`, if it has results; another one has its own.
    """
    full = results_dir.parent / "full"
    found = results_dir.name == "laptop" and (full / "metrics.csv").is_file()
    return full if found else results_dir


def missing(source: Path, results_dir: Path) -> list[Path]:
    """Files that the document needs and the results folders lack.

    A figure of the study may lack where its table has no rows: the document then leaves it out.
    """
    used = uses(source.read_text(encoding="utf-8"))
    study = study_of(results_dir)
    needed = [results_dir / "metrics.csv"]
    needed += [results_dir / "tables" / f"{name}.csv" for name in used.tables]
    needed += [results_dir / "figures" / f"{name}.pdf" for name in used.figures]
    needed += [study / "tables" / f"{name}.csv" for name in used.study_tables]
    real = tables_real.real_of(results_dir)
    if real:  # otherwise the document leaves it all out
        needed += [real / "tables" / f"{name}.csv" for name in used.real_tables]
        needed += [real / "figures" / f"{name}.pdf" for name in used.real_figures]
    return [path for path in needed if not path.is_file()]


def pdf(source: Path, results_dir: Path) -> bytes:
    """The document as PDF, from the results as they are; nothing is written.

    Raises:
        PaperError: a table or figure is missing, or Typst cannot compile the document.
    """
    source, results_dir = source.resolve(), results_dir.resolve()
    study = study_of(results_dir)
    lacking = missing(source, results_dir)
    if lacking:
        names = ", ".join(os.path.relpath(path, results_dir) for path in lacking)
        raise PaperError(f"{results_dir}: lacks {names}; run the notebooks that write them")
    # Typst reads nothing above its root, and the results may lie outside the checkout.
    root = Path(os.path.commonpath([source.parent, results_dir, ALIGNMENT]))
    inputs = {"results": results_dir, "study": study, "alignment": ALIGNMENT}
    real = tables_real.real_of(results_dir)
    if real:
        inputs["real"] = real
    try:
        return typst.compile(
            str(source),
            root=str(root),
            format="pdf",
            ignore_system_fonts=True,
            sys_inputs={k: f"/{path.relative_to(root).as_posix()}" for k, path in inputs.items()},
        )
    except typst.TypstError as error:
        raise PaperError(f"{source}: {' '.join(str(error).split())}") from error


def build(
    profile: str = "laptop",
    results_dir: Path | str | None = None,
    out: Path | str | None = None,
    data_dir: Path | str | None = None,
) -> Path:
    """Write the tables anew from `metrics.csv` and compile the paper; return the PDF's path.

    Args:
        profile: name of the results folder below `results/`, unless `results_dir` is given.
        results_dir: holds `metrics.csv`, `runs/` and `figures/`.
        out: the PDF; `paper/paper.pdf` for the laptop profile's own results, otherwise `paper.pdf`
            in the results folder.
        data_dir: ScrapSim, counted for the data tables; `data/scrapsim` by default.

    Raises:
        PaperError: a table or figure is missing, or Typst cannot compile the document.
        ResultsError, DataError: the results or the data cannot be read or written.
    """
    results_dir = Path(results_dir or ROOT / "results" / profile).resolve()
    own = SOURCE.parent if results_dir == ROOT / "results/laptop" else results_dir
    tables.build_all(results_dir, data_dir or ROOT / "data/scrapsim")
    real = tables_real.real_of(results_dir)
    if real:
        tables_real.build_all(real)
    return files.atomic_write(Path(out or own / "paper.pdf"), pdf(SOURCE, results_dir))


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m scrapseg.report.paper", description="Build the PDF."
    )
    parser.add_argument("--profile", default="laptop", help="laptop, full, clip or smoke")
    parser.add_argument("--results", type=Path, help="results folder (results/<profile>)")
    parser.add_argument("--data", type=Path, help="ScrapSim's folder (data/scrapsim)")
    parser.add_argument("--output", type=Path, help="the PDF (paper/paper.pdf for laptop)")
    options = parser.parse_args(arguments)
    from scrapseg.data.base import DataError

    try:
        path = build(options.profile, options.results, options.output, options.data)
    except (PaperError, files.ResultsError, DataError) as error:
        print(f"paper: {error}", file=sys.stderr)
        return 1
    print(os.path.relpath(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
