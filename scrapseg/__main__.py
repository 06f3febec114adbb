"""The command line: ``python -m scrapseg COMMAND``; ``--help`` lists what there is.

Each command calls one function of the room that does the work. Those are imported inside the
commands, so that ``--help`` and a mistyped name answer at once.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from scrapseg.files import REPOSITORY

SCRAPSIM = REPOSITORY / "data/scrapsim"

# Notebooks run on this environment's own kernel, whatever kernels the user has registered.
os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")


class Commands(TyperGroup):
    """The commands; a value that cannot be is told in a line, by the name that make has for it."""

    def invoke(self, ctx: typer.Context) -> Any:
        """Read the line and run its command."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            name = f"{error.param.name.upper()}: " if error.param else ""
            print(f"error: {name}{error.message or 'is missing'}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Finding impurities in steel scrap with vision-language models.",
)

Profile = Annotated[str, typer.Option(help="laptop, full, real, clip or smoke")]
Log = Annotated[Path | None, typer.Option(help="file for what goes wrong, in place of the screen")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command. What a person can mend is told in a line; else the error is shown.

    Where the command is given a `log`, for the engine, all of it goes there, the line last.
    """

    @app.command()
    @functools.wraps(function)
    def told(**arguments) -> None:
        log = arguments.get("log")
        if int(os.environ.get("WORLD_SIZE", 1)) > 1 and function.__name__ != "run":
            raise typer.BadParameter("torchrun is for the command run alone")
        try:
            function(**arguments)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except typer.Exit:
            raise
        except Exception as error:
            known = isinstance(error, OSError) or type(error).__module__.startswith("scrapseg")
            if not (log or known):
                raise
            text = " ".join(str(error).split())
            line = f"error: {text}" if known else f"error: {type(error).__name__}: {text}"
            if log:
                log.parent.mkdir(parents=True, exist_ok=True)
                with log.open("a", encoding="utf-8") as stream:
                    stream.write(f"\n{traceback.format_exc()}\n{line}\n")
            else:
                print(line, file=sys.stderr)
            raise typer.Exit(1) from None

    return function


def results_of(profile: str) -> Path:
    """Folder of a profile's results; a profile that there is not ends the command with one line."""
    known = sorted(path.stem for path in (REPOSITORY / "notebooks/profiles").glob("*.yaml"))
    if profile not in known:
        raise typer.BadParameter(f"no profile {profile!r}; there is {', '.join(known)}")
    return REPOSITORY / "results" / profile


@command
def run(name: str, profile: Profile = "laptop", log: Log = None) -> None:
    """Train and test one run of a profile's studies; NAME is that of its record in runs/."""
    from scrapseg.experiments import studies
    from scrapseg.report import engine

    results = results_of(profile)
    studies.planned(profile, name)
    engine.follow()
    if not sys.stderr.isatty():  # bars are for a terminal; tqdm reads this when it is imported
        os.environ.setdefault("TQDM_DISABLE", "1")
    first = os.environ.get("RANK", "0") == "0"  # of those that torchrun started
    with engine.lock(results / "cache" / name / ".lock", 20) if first else nullcontext():
        from scrapseg.experiments.run import run_named

        run_named(profile, name, results)


@command
def accept(profile: Profile = "laptop") -> None:
    """Let finished runs stand although files that they were made from changed."""
    from scrapseg.experiments import studies

    for name in studies.accept(profile):
        print(f"accepted {name}")


@command
def notebook(stem: str, profile: Profile = "laptop", log: Log = None) -> None:
    """Run notebooks/STEM.py with a profile's parameters to results/PROFILE/notebooks."""
    from scrapseg.report import engine

    engine.follow()
    results = results_of(profile)
    with engine.lock(results / "cache/locks" / stem, patience=20):
        from scrapseg.experiments import studies
        from scrapseg.report import notebook

        source = REPOSITORY / "notebooks" / f"{stem}.py"
        values = {} if stem.startswith("a") else studies.profile(profile)
        executed = results / "notebooks" / f"{stem}.ipynb"
        logged = log or results / "logs" / f"{stem}.log"
        notebook.execute(source, notebook.parameters(source, values), executed, logged)


@command
def publish(stem: str, profile: Profile = "laptop", log: Log = None) -> None:
    """Put the outputs of results/PROFILE/notebooks/STEM.ipynb into notebooks/STEM.ipynb."""
    from scrapseg.report import notebook

    source = REPOSITORY / "notebooks" / f"{stem}.py"
    notebook.publish(source, results_of(profile) / "notebooks" / f"{stem}.ipynb")


@command
def tables(profile: Profile = "laptop", log: Log = None) -> None:
    """Join a profile's records into metrics.csv and make the tables that follow from it."""
    from scrapseg.report import scene_tables

    scene_tables.make(results_of(profile), SCRAPSIM)


@command
def paper(profile: Profile = "laptop", log: Log = None) -> None:
    """Build the paper's PDF from a profile's results (those on photographs go into laptop's)."""
    from scrapseg.report import paper

    results_of(profile)
    made = paper.build("laptop" if profile == "real" else profile)
    if not log:
        print(os.path.relpath(made))


@command
def verify(profile: Profile = "laptop") -> None:
    """Check that the paper's tables and figures follow from the committed runs."""
    from scrapseg.report import verify

    results_of(profile)
    raise typer.Exit(not verify.run(profile))


@command
def leaderboard(
    folder: Path,
    data: Path = SCRAPSIM,
    collect: Annotated[Path | None, typer.Option(help="first write these results' entries")] = None,
) -> None:
    """Score a folder of predictions, and compare each with ours."""
    from scrapseg.data.scrapsim import ScrapSim
    from scrapseg.experiments import leaderboard

    test = ScrapSim(data, "test")
    if collect:
        for path in leaderboard.collect(collect, folder, test):
            print(f"wrote {path}")
    print(leaderboard.board(folder, test).round(3).to_string(index=False))


@command
def apply(
    data: Path,
    out: Annotated[Path | None, typer.Option(help="folder to make")] = None,
    classes: Annotated[Path | None, typer.Option(help="a classes.yaml")] = None,
    side: Annotated[int | None, typer.Option(help="longer side, in pixels")] = None,
    model: Annotated[Path | None, typer.Option(help="a saved model to go on with")] = None,
    adapt: Annotated[bool | None, typer.Option(help="to images without labels")] = None,
    minutes: Annotated[float, typer.Option(help="for everything")] = 5,
    threshold: Annotated[float | None, typer.Option(help="by hand, 0 to 1")] = None,
    recall: Annotated[float | None, typer.Option(help="or by recall, 0 to 1")] = None,
    empty: Annotated[str, typer.Option(help="images labelled empty: clean, unlabelled")] = "clean",
) -> None:
    """Find what is in a folder of your own images; learn from them first, labelled or not."""
    from scrapseg.app.asked import check, check_place

    options = {"adapt": adapt, "minutes": minutes, "threshold": threshold, "recall": recall}
    check(data, classes, model, empty, side=side, **options)
    check_place(out or REPOSITORY / "results/apply" / data.name, "folder", "OUT=results")
    from scrapseg.app.apply import apply

    made = apply(data, out, classes, side, empty=empty, model=model, **options)
    print(os.path.relpath(made))


@command
def evaluate(
    data: Path,
    model: Annotated[Path | None, typer.Option(help="a saved model, by default ours")] = None,
    classes: Annotated[Path | None, typer.Option(help="a classes.yaml")] = None,
    threshold: Annotated[float | None, typer.Option(help="by hand, 0 to 1")] = None,
    empty: Annotated[str, typer.Option(help="images labelled empty: clean, unlabelled")] = "clean",
    out: Annotated[Path | None, typer.Option(help="json file for the numbers")] = None,
) -> None:
    """Measure a saved model on a folder of labelled images, at the size at which it looks at them.

    Its classes must be the model's, in their order. Nothing is learned. miss_rate is the share of
    labelled objects that are not found; _lo and _hi are 95 % intervals over images.
    """
    from scrapseg.app.asked import check, check_place

    check(data, classes, model, empty, checkout=False, threshold=threshold)
    if out:
        check_place(out, "file", "--out metrics.json")
    from scrapseg.app.evaluate import evaluate
    from scrapseg.data.folder import open_folder
    from scrapseg.files import atomic_write
    from scrapseg.models.segmenter import load

    used = load(model)
    used = used if threshold is None else replace(used, threshold=threshold)
    folder = open_folder(data, classes, used.classes, empty=empty)
    print(folder)
    values = evaluate(folder, used)
    for name, value in values.items():
        print(f"{name:24} {value:.4g}")
    if out:
        said = {k: None if value != value else value for k, value in values.items()}
        atomic_write(out, json.dumps(said, indent=1) + "\n")


@command
def watch(
    source: str,
    out: Annotated[Path | None, typer.Option(help="folder to make")] = None,
    model: Annotated[Path | None, typer.Option(help="a saved model, by default ours")] = None,
    threshold: Annotated[float | None, typer.Option(help="by hand, 0 to 1")] = None,
    max_miss: Annotated[float | None, typer.Option(help="or by a promise, of images alone")] = None,
    every: Annotated[int, typer.Option(min=1, help="only each nth frame of a film")] = 1,
    pixel_mm: Annotated[float | None, typer.Option(min=1e-6, help="side on the belt")] = None,
    overlay: Annotated[bool, typer.Option(help="write the film")] = True,
) -> None:
    """Count what passes on a belt: a film, a folder that fills, a camera's address or number."""
    from scrapseg.app.asked import check_watch

    check_watch(out, model, threshold=threshold, max_miss=max_miss)
    from scrapseg.app.frames import check_source

    check_source(source)  # a model takes seconds to load
    from scrapseg.app.watch import watch
    from scrapseg.models.segmenter import load

    used, stop = load(model), threading.Event()
    used = used if threshold is None else replace(used, threshold=threshold)
    if max_miss is not None:
        used = used.promising(max_miss)
        said = f"threshold {used.threshold:.3g}; promised of single images like those it was"
        print(f"MAX_MISS={max_miss:g}: {said} calibrated on, not of events", file=sys.stderr)
    for number in (signal.SIGINT, signal.SIGTERM):  # the frame in work is finished
        signal.signal(number, lambda *_: stop.set())
    options = {"pixel_mm": pixel_mm, "overlay": overlay, "every": every, "stop": stop}
    print(os.path.relpath(watch(source, out, used, **options)))


@command
def export(model: Path, out: Path) -> None:
    """Write a saved MODEL (a folder or a .safetensors file) as ONNX to OUT."""
    from scrapseg.models import export, segmenter

    loaded = segmenter.load(model)
    export.to_onnx(loaded.model, out, [c.name for c in loaded.classes])
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, checked against torch")


class DataSet(StrEnum):
    """Data sets that are fetched, not shipped."""

    BELT = "belt-waste"
    CABLES = "cables"
    TILES = "magnetic-tile"
    STEELDS = "steelds"


@command
def fetch(dataset: DataSet, where: Path | None = None) -> None:
    """Download a data set to SCRAPSEG_DATA or the user's cache; the size is told first."""
    from scrapseg.data import steelds
    from scrapseg.experiments.splits import PHOTOGRAPHS

    source = steelds if dataset == DataSet.STEELDS else PHOTOGRAPHS[dataset]
    print(source.download(where))


if __name__ == "__main__":
    app()
