"""Run the notebooks of a profile, one after the other, and only those that something changed for.

    python -m scrapseg.reproduce --profile laptop

Each notebook is executed by papermill into ``results/<profile>/notebooks/``. What it was made from
(its cells, the profile's parameters that it takes, the modules it imports, the pinned packages, the
data's checksums, and the notebooks it builds on) goes into one sha256, its *key*. The keys of
finished notebooks are kept in ``results/<profile>/cache/state.json``, which git ignores: a fresh
clone runs everything once, a second run with nothing changed only compares keys. The tidy table and
the paper are remade by the same rule.

Nothing heavy is imported before there is something to run.
"""

from __future__ import annotations

import argparse
import ast
import base64
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from scrapseg.sources import digest, hash_code, hash_files, imported_modules

ROOT = Path(__file__).resolve().parent.parent

# Notebooks in running order, each with those whose results it builds on. 04 comes after 05, whose
# baselines it compares with at few shots.
DEPENDS: dict[str, tuple[str, ...]] = {
    "01_data_exploration": (),
    "02_prompt_design": (),
    "03_multiscale_finetuning": (),
    "05_baseline_comparison": ("03_multiscale_finetuning",),
    "04_fewshot_ablations": ("03_multiscale_finetuning", "05_baseline_comparison"),
    "06_real_data": (),
    "07_apply_to_your_scrap": (),
}
# Profiles that are of one notebook alone; what it measures goes into the laptop profile's paper.
ONLY = {"real": "06_real_data"}
# What a notebook reads beside ScrapSim and its own results.
SHOWS = {
    "06_real_data": (
        "scrapseg/magnetic_tile.csv",
        "results/real/metrics.csv",
        "results/laptop/cache/scrapseg_scrapsim_allshots_s0/model.safetensors",
    )
}
LARGE_PICTURE = 100_000  # bytes of a PNG in a notebook that are worth a try as JPEG
SMOKE = "smoke"  # the notebooks' own defaults: this profile has no file


class ReproduceError(Exception):
    """Something stopped the run; the message is one line for the user."""


@dataclass(frozen=True)
class Project:
    """Where the runner finds and puts things.

    Attributes:
        root: Checkout with ``notebooks/``, ``scrapseg/``, ``data/`` and ``requirements.lock``.
        results: Folder of this profile's results.
        profile: Name of ``notebooks/profiles/<name>.yaml``, or ``smoke`` for the defaults.
        depends: Notebook stems in running order, each with the stems it builds on.
    """

    root: Path
    results: Path
    profile: str
    depends: dict[str, tuple[str, ...]]

    def notebook(self, stem: str) -> Path:
        """Path of the notebook ``stem``."""
        return self.root / "notebooks" / f"{stem}.ipynb"

    def executed(self, stem: str) -> Path:
        """Path of the executed copy of the notebook ``stem``."""
        return self.results / "notebooks" / f"{stem}.ipynb"

    def log(self, stem: str) -> Path:
        """Path of what the notebook ``stem`` printed while it ran."""
        return self.results / "logs" / f"{stem}.log"

    @property
    def checksums(self) -> Path:
        """Path of the data set's checksums, which stand for the data."""
        return self.root / "data/scrapsim/checksums.sha256"

    @property
    def state_file(self) -> Path:
        """Path of the keys of what is finished."""
        return self.results / "cache" / "state.json"


# Small helpers ------------------------------------------------------------------------------------


def write_atomic(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


# Notebooks ----------------------------------------------------------------------------------------


def read_cells(notebook: Path) -> list[dict[str, Any]]:
    """Cells of an ``.ipynb`` file as ``{"type", "source", "tags"}``, without their outputs.

    Raises:
        ReproduceError: The file is missing or is no notebook.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except FileNotFoundError:
        raise ReproduceError(f"{notebook}: no such notebook") from None
    except (ValueError, KeyError, TypeError):
        raise ReproduceError(f"{notebook}: not a notebook; restore it with git") from None
    return [
        {
            "type": cell["cell_type"],
            "source": "".join(cell["source"]),
            "tags": sorted(cell["metadata"].get("tags", [])),
        }
        for cell in cells
    ]


def in_step(notebook: Path) -> bool:
    """Whether a notebook and its paired ``.py`` file hold the same cells with the same tags."""
    import jupytext

    text = notebook.with_suffix(".py")
    if not text.is_file():
        return False
    paired = [
        {
            "type": cell.cell_type,
            "source": cell.source,
            "tags": sorted(cell.metadata.get("tags", [])),
        }
        for cell in jupytext.read(text, fmt="py:percent").cells
    ]
    return paired == read_cells(notebook)


def sync(notebook: Path) -> None:
    """Bring a notebook and its ``.py`` file in step; the newer of the two wins.

    Raises:
        ReproduceError: jupytext cannot pair them.
    """
    if notebook.is_file() and in_step(notebook):
        return
    source = notebook if notebook.is_file() else notebook.with_suffix(".py")
    if not source.is_file():
        raise ReproduceError(f"{notebook}: no such notebook")
    done = subprocess.run(
        [sys.executable, "-m", "jupytext", "--quiet", "--sync", source.name],
        cwd=notebook.parent,
        capture_output=True,
        text=True,
    )
    if done.returncode or not notebook.is_file():
        reason = (done.stderr.strip().splitlines() or ["is it paired?"])[-1]
        raise ReproduceError(f"{notebook}: not in step with its .py file, jupytext says: {reason}")
    tqdm.write(f"{notebook.stem}: .ipynb and .py were out of step, the newer one was taken")


def defaults(cells: list[dict[str, Any]]) -> set[str]:
    """Names assigned in the cell tagged ``parameters``: what the notebook lets a profile set."""
    names: set[str] = set()
    for cell in cells:
        if "parameters" in cell["tags"]:
            for node in ast.parse(cell["source"]).body:
                targets = node.targets if isinstance(node, ast.Assign) else []
                if isinstance(node, ast.AnnAssign):
                    targets = [node.target]
                names |= {t.id for t in targets if isinstance(t, ast.Name)}
    return names


# What a notebook is made from ---------------------------------------------------------------------


def load_parameters(project: Project) -> dict[str, Any]:
    """Parameters of the profile; ``results_dir`` is where this run's results go.

    Raises:
        ReproduceError: There is no such profile, or its file is no mapping.
    """
    folder = project.root / "notebooks"
    path = folder / "profiles" / f"{project.profile}.yaml"
    values: Any = {}
    if path.is_file():
        import yaml

        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise ReproduceError(f"{path}: not valid YAML: {reason}") from None
        if not isinstance(values, dict):
            raise ReproduceError(f"{path}: a profile is a list of 'name: value' lines")
    elif project.profile != SMOKE:
        known = {p.stem for p in (folder / "profiles").glob("*.yaml")}
        names = ", ".join([*sorted(known), SMOKE])
        raise ReproduceError(f"{path}: no such profile; there is {names}")
    results = os.path.relpath(project.results, folder)
    return {**values, "profile": project.profile, "results_dir": Path(results).as_posix()}


@dataclass(frozen=True)
class Plan:
    """One notebook's part of a run: the ``parameters`` it takes and its ``key``."""

    stem: str
    parameters: dict[str, Any]
    key: str


def make_plans(project: Project) -> list[Plan]:
    """Parameters and key of every notebook, in running order.

    Raises:
        ReproduceError: A notebook or module cannot be read, or the profile sets a parameter that
            no notebook has.
    """
    values = load_parameters(project)
    unused = set(values) - {"profile", "results_dir"}
    common = {
        "lock": hash_files([project.root / "requirements.lock"], project.root),
        "data": hash_files([project.checksums], project.root),
        "tuned": hash_files([project.root / "scrapseg/experiments/methods.yaml"], project.root),
    }
    plans: dict[str, Plan] = {}
    for stem, parents in project.depends.items():
        cells = read_cells(project.notebook(stem))
        code = [cell["source"] for cell in cells if cell["type"] == "code"]
        try:
            names = defaults(cells)
            modules = imported_modules(code, project.root)
            library = hash_code(modules, project.root)
        except SyntaxError as error:
            where = error.filename if error.filename != "<unknown>" else "or in a module it imports"
            raise ReproduceError(
                f"{project.notebook(stem)}: syntax error in it {where}: {error.msg}: "
                f"{(error.text or '').strip()}"
            ) from None
        unused -= names
        taken = {name: value for name, value in values.items() if name in names}
        shown = [project.root / path for path in SHOWS.get(stem, ())]
        # A run's own results come out of it.
        files = hash_files([p for p in shown if project.results not in p.parents], project.root)
        key = digest(cells, taken, library, common, files, [plans[p].key for p in parents])
        plans[stem] = Plan(stem, taken, key)
    if unused:
        raise ReproduceError(
            f"profile '{project.profile}' sets {', '.join(sorted(unused))}, "
            "which no notebook has in its parameters cell"
        )
    return list(plans.values())


# Running ------------------------------------------------------------------------------------------


class Echo:
    """A file that keeps a notebook's output in its log and shows the last line in a bar."""

    def __init__(self, log: Any, bar: tqdm) -> None:
        self.log, self.bar = log, bar

    def write(self, text: str) -> None:
        """Write ``text`` to the log; show its last line that is not empty."""
        # A progress bar redraws itself after \r; in a log each state is a line.
        self.log.write(text.replace("\r", "\n"))
        lines = [line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()]
        if lines:
            plain = re.sub(r"\|[^|]*\|", " ", lines[-1])  # a progress bar's numbers without its bar
            self.bar.set_postfix_str(plain[:60])

    def flush(self) -> None:
        """Flush the log, so that it can be followed."""
        self.log.flush()


def is_progress(output: dict[str, Any]) -> bool:
    """Whether a cell's output is a progress bar, as text redrawn with \\r or as a widget.

    Their times are noise in a record of results.
    """
    if output["output_type"] == "stream":
        return output["name"] == "stderr" and "\r" in "".join(output["text"])
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


def clean(text: str, root: Path) -> str:
    """Executed notebook (JSON) without what differs from machine to machine or run to run.

    Drops papermill's record of the run, the cells' time stamps, the versions of the kernel, and
    progress bars; shortens paths below ``root``, the environment and the home folder; makes large
    pictures JPEGs.
    """
    notebook = json.loads(text)
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        cell["metadata"] = {"tags": tags} if tags else {}
        if "injected-parameters" in tags:
            cell["id"] = "injected-parameters"  # papermill's is random
        if "outputs" in cell:
            cell["outputs"] = [out for out in cell["outputs"] if not is_progress(out)]
            for out in cell["outputs"]:
                shrink_picture(out.get("data", {}))
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    for path, short in ((root, "."), (Path(sys.prefix), ".venv"), (Path.home(), "~")):
        if len(path.parts) > 1:  # never the file system's root
            text = text.replace(json.dumps(str(path), ensure_ascii=False)[1:-1], short)
    return text


def shrink_picture(data: dict[str, Any]) -> None:
    """Make a large PNG of an output a JPEG, in place, where that is smaller: photographs."""
    from PIL import Image

    png = base64.b64decode("".join(data.get("image/png", "")))
    if len(png) < LARGE_PICTURE:
        return
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(buffer, "JPEG", quality=85, optimize=True)
    if len(buffer.getvalue()) < len(png):
        del data["image/png"]
        data["image/jpeg"] = base64.b64encode(buffer.getvalue()).decode() + "\n"


def failing_cell(notebook: Path) -> tuple[int, str]:
    """Number of the failed code cell, as JupyterLab counts them in a fresh run, and its first line.

    ``notebook`` is an executed copy; papermill's own cells in it do not count.
    """
    number = 0
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] != "code" or "injected-parameters" in tags:
            continue
        number += 1
        if any(out["output_type"] == "error" for out in cell["outputs"]):
            lines = "".join(cell["source"]).strip().splitlines()
            return number, lines[0] if lines else ""
    return number, ""


def execute(project: Project, plan: Plan, bar: tqdm) -> None:
    """Execute one notebook into its place below ``results``.

    Until it has finished, the executed copy lies beside the log; after a failure it stays there to
    be looked at, after an interrupt it is removed.

    Raises:
        ReproduceError: A cell raised an error, or the kernel died.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    log, final = project.log(plan.stem), project.executed(plan.stem)
    log.parent.mkdir(parents=True, exist_ok=True)
    working = log.with_suffix(".ipynb")
    shown = os.path.relpath(log)
    with log.open("w", encoding="utf-8") as stream:
        echo = Echo(stream, bar)
        try:
            papermill.execute_notebook(
                str(project.notebook(plan.stem)),
                str(working),
                parameters=plan.parameters,
                kernel_name="python3",
                language="python",
                cwd=str(project.root / "notebooks"),
                progress_bar=False,
                extra_arguments=["--log-level=CRITICAL"],  # the kernel's, for a quiet terminal
                stdout_file=echo,
                stderr_file=echo,
            )
        except PapermillExecutionError as error:
            stream.write(str(error))
            number, line = failing_cell(working)
            raise ReproduceError(
                f"{plan.stem}: cell {number} ({line}) failed with {error.ename}: "
                f"{' '.join(str(error.evalue).split())}; see {shown}"
            ) from None
        except DeadKernelError:
            raise ReproduceError(
                f"{plan.stem}: its Python process died (out of memory?); see {shown}"
            ) from None
        except BaseException:
            working.unlink(missing_ok=True)
            raise
    write_atomic(final, clean(working.read_text(encoding="utf-8"), project.root))
    working.unlink()


def refresh(project: Project) -> None:
    """Run every notebook in place at its smoke defaults, so that it can be read with its pictures.

    The appendices (a1, a2, ...), which belong to no profile's run, are among them. What is saved is
    cleaned like an executed copy. The results go to ``results/smoke``.
    """
    import nbformat
    from nbclient import NotebookClient

    folder = project.root / "notebooks"
    appendices = sorted(path.stem for path in folder.glob("a[0-9]*.ipynb"))
    for stem in tqdm([*project.depends, *appendices], unit="notebook"):
        sync(project.notebook(stem))
        notebook = nbformat.read(project.notebook(stem), as_version=4)
        NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}).execute()
        write_atomic(project.notebook(stem), clean(nbformat.writes(notebook), project.root))


def clock(seconds: float) -> str:
    """Minutes and seconds, as in ``3:07``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def read_state(project: Project) -> dict[str, str]:
    """Keys of what is finished; empty where there is none yet or the file is broken."""
    try:
        state = json.loads(project.state_file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def record(project: Project, name: str, key: str) -> None:
    """Note that ``name`` is finished, made from what ``key`` stands for."""
    state = json.dumps({**read_state(project), name: key}, indent=1, sort_keys=True)
    write_atomic(project.state_file, state + "\n")


def select(project: Project, only: str | None) -> list[str]:
    """Stems to bring up to date: all, or the one that starts with ``only`` and what it builds on.

    Raises:
        ReproduceError: No notebook starts with ``only``.
    """
    if only is None:
        return list(project.depends)
    waiting = [stem for stem in project.depends if stem.startswith(only)]
    if not waiting:
        raise ReproduceError(f"no notebook starts with '{only}': {', '.join(project.depends)}")
    wanted: set[str] = set()
    while waiting:
        stem = waiting.pop()
        wanted.add(stem)
        waiting += project.depends[stem]
    return [stem for stem in project.depends if stem in wanted]


def run_notebooks(project: Project, *, only: str | None = None, force: bool = False) -> list[str]:
    """Run the notebooks that something changed for; return the stems of those that ran.

    Args:
        project: What to run.
        only: Start of a stem, such as ``"03"``: bring this one up to date and no other but those
            it builds on.
        force: Run them though nothing changed.

    Raises:
        ReproduceError: A notebook failed (those finished before it are kept), or ``only`` names
            no notebook.
    """
    stems = select(project, only)
    for stem in project.depends:
        sync(project.notebook(stem))
    plans = [plan for plan in make_plans(project) if plan.stem in stems]
    state = read_state(project)
    ran = []
    width = max(map(len, project.depends))
    layout = "{desc}  {n_fmt}/{total_fmt} notebooks, {elapsed}{postfix}"
    with tqdm(total=len(plans), bar_format=layout, disable=None, leave=False) as bar:
        for plan in plans:
            bar.set_description_str(plan.stem)
            fresh = state.get(plan.stem) == plan.key and project.executed(plan.stem).is_file()
            if fresh and not force:
                tqdm.write(f"{plan.stem:<{width}}  unchanged")
            else:
                start = time.perf_counter()
                execute(project, plan, bar)
                record(project, plan.stem, plan.key)
                tqdm.write(f"{plan.stem:<{width}}  ran {clock(time.perf_counter() - start):>6}")
                ran.append(plan.stem)
            bar.update()
    return ran


def remake(
    project: Project,
    name: str,
    target: Path,
    sources: Callable[[], Iterable[Path]],
    make: Callable[[Project], None],
) -> bool:
    """Call ``make`` where ``target`` is missing or one of the ``sources`` changed; tell whether."""
    known = read_state(project).get(name)
    if target.is_file() and known == hash_files(sources(), project.root):
        return False
    make(project)
    record(project, name, hash_files(sources(), project.root))
    return True


def make_table(project: Project) -> None:
    """Join the run records into ``metrics.csv``; laptop's are the README's results table too."""
    from scrapseg.experiments.records import collect
    from scrapseg.files import atomic_write
    from scrapseg.report import readme as blocks

    collect(project.results)
    shown = project.root / "results/laptop"  # the profile that the README shows
    if paper_results(project) == shown:
        readme = project.root / "README.md"
        atomic_write(readme, blocks.fresh(readme.read_text("utf-8"), shown))


def paper_results(project: Project) -> Path:
    """The results that the paper is of: those of the profile, or laptop's, see `ONLY`."""
    return project.root / "results/laptop" if project.profile in ONLY else project.results


def paper_path(project: Project) -> Path:
    """Where the paper goes: laptop's is the committed one, any other lies beside its results."""
    if paper_results(project) == project.root / "results/laptop":
        return project.root / "paper/paper.pdf"
    return project.results / "paper.pdf"


def make_paper(project: Project) -> None:
    """Build the PDF from the results.

    Raises:
        ReproduceError: The paper does not compile.
    """
    options = ["--results", str(paper_results(project)), "--output", str(paper_path(project))]
    done = subprocess.run(
        [sys.executable, "-m", "scrapseg.report.paper", *options],
        cwd=project.root,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ReproduceError(f"no paper: {lines[-1].removeprefix('paper: ')}")


def reproduce(project: Project, *, only: str | None = None, force: bool = False) -> None:
    """Notebooks, tidy table, paper: everything of a profile that is not up to date.

    Raises:
        ReproduceError: A notebook failed, or the paper does not compile.
    """
    run_notebooks(project, only=only, force=force)
    results = project.results

    def table_sources() -> list[Path]:
        return [*results.glob("runs/*.json"), project.root / "scrapseg/results.py"]

    def paper_sources() -> list[Path]:
        folders = dict.fromkeys([results, paper_results(project), project.root / "results/real"])
        kinds = ("metrics.csv", "runs/*", "tables/*", "figures/*")
        made = [p for folder in folders for kind in kinds for p in folder.glob(kind)]
        text = [p for p in (project.root / "paper").rglob("*") if p.suffix != ".pdf"]
        modules = imported_modules(["import scrapseg.report.paper"], project.root)
        return [project.checksums, *made, *text, *modules]

    remake(project, "metrics.csv", results / "metrics.csv", table_sources, make_table)
    pdf = paper_path(project)
    built = remake(project, "paper", pdf, paper_sources, make_paper)
    print(f"{os.path.relpath(pdf)}  {'built' if built else 'unchanged'}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scrapseg.reproduce", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--profile", default="laptop", help="laptop, full, real or smoke")
    parser.add_argument("--results", type=Path, help="results folder (results/<profile>)")
    parser.add_argument("--only", metavar="NN", help="bring this notebook alone up to date")
    parser.add_argument("--force", action="store_true", help="run though nothing changed")
    parser.add_argument(
        "--refresh", action="store_true", help="save the notebooks themselves with smoke outputs"
    )
    options = parser.parse_args(arguments)
    results = (options.results or ROOT / "results" / options.profile).resolve()
    one = ONLY.get(options.profile)
    project = Project(ROOT, results, options.profile, {one: ()} if one else DEPENDS)
    start = time.perf_counter()
    try:
        if options.refresh:
            refresh(project)
            return 0
        reproduce(project, only=options.only, force=options.force)
    except (ReproduceError, OSError) as error:  # OSError: a full disk, a folder without permission
        print(f"reproduce: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("reproduce: interrupted; what was finished is kept", file=sys.stderr)
        return 130
    print(f"results in {os.path.relpath(results)} ({clock(time.perf_counter() - start)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
