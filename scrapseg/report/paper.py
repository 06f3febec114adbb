"""Build the paper: `paper/paper.typ` and a results folder make a PDF.

The document reads its numbers from the results itself; this file brings the tables up to date with
`metrics.csv`, looks that everything the document uses is there, and compiles. The same results give
the same bytes: no dates, and only fonts that come with Typst.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import typst

from scrapseg import files
from scrapseg.data import belt_waste, classes
from scrapseg.experiments.methods import METHODS
from scrapseg.files import REPOSITORY
from scrapseg.metrics.bootstrap import AP_RESAMPLES, RESAMPLES
from scrapseg.metrics.mass import HEAT_T
from scrapseg.metrics.objects import SIZES
from scrapseg.report import scene_tables
from scrapseg.report.tables import real_of, study_of

SOURCE = REPOSITORY / "paper/paper.typ"
ALIGNMENT = REPOSITORY / "data/pocket/alignment.json"


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
    real = real_of(results_dir)
    if real:  # otherwise the document leaves it all out
        needed += [real / "tables" / f"{name}.csv" for name in used.real_tables]
        needed += [real / "figures" / f"{name}.pdf" for name in used.real_figures]
    return [path for path in needed if not path.is_file()]


def constants() -> dict[str, Any]:
    """Numbers and names of the code that the prose names, and the colours of overlays by set."""
    impurities = {"scrapsim": classes.IMPURITIES, "belt-waste": belt_waste.CLASSES[1:]}
    return {
        "colours": {of: {c.name: c.colour for c in some} for of, some in impurities.items()},
        "labels": {slug: method.label for slug, method in METHODS.items()},
        "small": SIZES["medium"][0],
        "large": SIZES["medium"][1],
        "resamples": RESAMPLES,
        "ap_resamples": AP_RESAMPLES,
        "heat_t": int(HEAT_T),
        "candidates": max(len(method.candidates) for method in METHODS.values()),
    }


def pdf(source: Path, results_dir: Path) -> bytes:
    """The document as PDF, from the results as they are; nothing is written.

    Raises:
        PaperError: a table or figure is missing, or Typst cannot compile the document.
    """
    source, results_dir = source.resolve(), results_dir.resolve()
    lacking = missing(source, results_dir)
    if lacking:
        names = ", ".join(os.path.relpath(path, results_dir) for path in lacking)
        raise PaperError(f"{results_dir}: lacks {names}; run the notebooks that write them")
    # Typst reads nothing above its root, and the results may lie outside the checkout.
    root = Path(os.path.commonpath([source.parent, results_dir, ALIGNMENT]))
    study, targets = study_of(results_dir), results_dir.parent / "bench/targets.csv"
    folders = {f"study_{table.stem}": table for table in study.glob("tables/*.csv")}
    folders |= {"results": results_dir, "study": study, "alignment": ALIGNMENT}
    folders |= {"targets": targets if targets.is_file() else None, "real": real_of(results_dir)}
    inputs = {k: f"/{path.relative_to(root).as_posix()}" for k, path in folders.items() if path}
    try:
        return typst.compile(
            str(source),
            root=str(root),
            format="pdf",
            ignore_system_fonts=True,
            sys_inputs=inputs | {"constants": json.dumps(constants())},
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
    results_dir = Path(results_dir or REPOSITORY / "results" / profile).resolve()
    own = SOURCE.parent if results_dir == REPOSITORY / "results/laptop" else results_dir
    scene_tables.build_all(results_dir, data_dir or REPOSITORY / "data/scrapsim")
    real = real_of(results_dir)
    if real:
        scene_tables.build_all(real)
    return files.atomic_write(Path(out or own / "paper.pdf"), pdf(SOURCE, results_dir))
