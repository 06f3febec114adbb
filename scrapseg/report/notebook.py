"""Run a notebook with a profile's parameters, and save its outputs for readers on the web.

``notebooks/X.py`` is the source. `execute` runs it by papermill to a git-ignored copy below
``results/<profile>/notebooks``; `publish` puts that copy's outputs beside the source's cells into
``notebooks/X.ipynb``, without the cell that papermill injects and without what differs from machine
to machine.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import logging
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapseg.files import REPOSITORY, atomic_write

if TYPE_CHECKING:
    from nbformat import NotebookNode

LARGE_PICTURE = 100_000  # bytes of a PNG in a notebook that are worth a try as JPEG
INJECTED = "injected-parameters"  # papermill's tag of the cell that holds a profile's values
_DEFAULTS = re.compile(r'^# %% .*tags=\[[^]]*"parameters".*\n((?:(?!# %%).*\n?)*)', re.MULTILINE)


class NotebookError(Exception):
    """A notebook cannot be read, run or published; the message is one line for the user."""


def defaults(source: Path) -> dict[str, Any]:
    """Parameters of a notebook's ``.py`` with their defaults: what a profile may set.

    Reads text only, so that nothing heavy is imported to look what is to be done.

    Raises:
        NotebookError: there is no such file, or its parameters cell is not valid Python.
    """
    try:
        cell = _DEFAULTS.search(source.read_text(encoding="utf-8"))
        return {
            line.targets[0].id: ast.literal_eval(line.value)
            for line in ast.parse(cell[1] if cell else "").body
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)
        }
    except OSError as error:
        raise NotebookError(f"{source}: no such notebook ({error.strerror})") from None
    except SyntaxError as error:
        what = f"{error.msg}: {(error.text or '').strip()}"
        raise NotebookError(f"{source}: syntax error in its parameters cell: {what}") from None
    except ValueError:
        raise NotebookError(f"{source}: its parameters must be plain values") from None


def parameters(source: Path, profile: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a profile's values that the notebook takes.

    Raises:
        NotebookError: see `defaults`.
    """
    names = defaults(source)
    return {name: value for name, value in profile.items() if name in names}


def read(source: Path) -> NotebookNode:
    """The notebook of a ``.py`` file in the percent format, without outputs.

    Raises:
        NotebookError: there is no such file.
    """
    import jupytext

    if not source.is_file():
        raise NotebookError(f"{source}: no such notebook")
    return jupytext.read(source, fmt="py:percent")


def cells_of(notebook: NotebookNode) -> list[tuple[str, str, list[str]]]:
    """Type, source and tags of every cell: what a notebook and its ``.py`` have in common."""
    return [
        (cell.cell_type, cell.source, sorted(cell.metadata.get("tags", [])))
        for cell in notebook.cells
    ]


def in_step(source: Path) -> bool:
    """Whether ``X.ipynb`` holds the same cells with the same tags as ``X.py``."""
    import nbformat

    saved = source.with_suffix(".ipynb")
    if not saved.is_file():
        return False
    return cells_of(nbformat.read(saved, as_version=4)) == cells_of(read(source))


class Echo:
    """Keeps a notebook's output in its log and shows a progress bar's last state on a terminal."""

    def __init__(self, log: Any, name: str) -> None:
        self.log, self.name, self.shows = log, name, sys.stderr.isatty()

    def write(self, text: str) -> None:
        """Write ``text`` to the log, a redrawn bar as lines; show its last line that has text."""
        lines = text.replace("\r", "\n")
        self.log.write(lines)
        shown = [line.strip() for line in lines.split("\n") if line.strip()]
        if self.shows and shown:
            sys.stderr.write(f"\r\033[K{self.name}: {shown[-1][:90]}")
            sys.stderr.flush()

    def flush(self) -> None:
        """Flush the log, so that it can be followed."""
        self.log.flush()

    def close(self) -> None:
        """Take the line off the terminal."""
        if self.shows:
            sys.stderr.write("\r\033[K")


def execute(source: Path, values: Mapping[str, Any], out: Path, log: Path) -> Path:
    """Run a notebook with ``values`` for its parameters; write the executed copy to ``out``.

    Until it has finished, the copy lies beside the log; after a failure it stays there to be looked
    at, after an interrupt it is removed.

    Args:
        source: the ``.py``, which runs in its own folder.
        log: gets what the notebook prints, progress bars too.

    Raises:
        NotebookError: a cell raised an error (the message names the cell), or the kernel died.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    # After Ctrl-C they tell of a kernel that died.
    for name in ("asyncio", "traitlets", "papermill"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    log.parent.mkdir(parents=True, exist_ok=True)
    working = log.with_suffix(".ipynb")
    notebook = read(source)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "name": "python3"}
    notebook.metadata.setdefault("language_info", {"name": "python"})
    atomic_write(working, nbformat.writes(notebook))
    with log.open("w", encoding="utf-8") as stream:
        echo = Echo(stream, source.stem)
        try:
            papermill.execute_notebook(
                str(working),
                str(working),
                parameters=dict(values),
                kernel_name="python3",
                language="python",
                cwd=str(source.parent),
                progress_bar=False,
                extra_arguments=["--log-level=CRITICAL"],  # the kernel's, for a quiet terminal
                stdout_file=echo,
                stderr_file=echo,
            )
        except PapermillExecutionError as error:
            stream.write(str(error))
            # As JupyterLab counts code cells in a fresh run, where there is no injected one.
            number, line = error.exec_count - bool(values), error.source.strip().split("\n")[0]
            reason = f"{error.ename}: {' '.join(str(error.evalue).split())}"
            raise NotebookError(
                f"{source.stem}: cell {number} ({line}) failed with {reason}"
            ) from None
        except DeadKernelError:
            raise NotebookError(f"{source.stem}: its process died (out of memory?)") from None
        except BaseException:
            working.unlink(missing_ok=True)
            raise
        finally:
            echo.close()
    atomic_write(out, clean(working.read_text(encoding="utf-8")))
    working.unlink()
    return out


def publish(source: Path, executed: Path) -> Path:
    """Write ``X.ipynb`` beside ``X.py``: its cells, with the outputs of an executed copy.

    Raises:
        NotebookError: there is no such copy, it was made from other cells, or ``X.ipynb`` was
            changed after its ``X.py`` and would be lost.
    """
    import nbformat

    if not executed.is_file():
        raise NotebookError(
            f"{executed}: not there; run it first: python -m scrapseg notebook {source.stem}"
        )
    notebook, done = read(source), nbformat.read(executed, as_version=4)
    done.cells = [cell for cell in done.cells if INJECTED not in cell.metadata.get("tags", [])]
    target = source.with_suffix(".ipynb")
    if cells_of(notebook) != cells_of(done):
        raise NotebookError(f"{executed}: made from other cells than {source.name}; run it anew")
    if target.is_file():
        edited = target.stat().st_mtime > source.stat().st_mtime
        if edited and not in_step(source):
            raise NotebookError(
                f"{target}: was changed after {source.name}; keep the change with "
                f"`jupytext --sync {target.name}`, or delete the file"
            )
    for cell, other in zip(notebook.cells, done.cells):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = other.outputs, other.execution_count
    return atomic_write(target, clean(nbformat.writes(notebook)))


# What a reader need not see ----------------------------------------------------------------------


def clean(text: str, root: Path = REPOSITORY) -> str:
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
    for number, cell in enumerate(notebook["cells"]):
        tags = cell["metadata"].get("tags", [])
        cell["metadata"] = {"tags": tags} if tags else {}
        cell["id"] = INJECTED if INJECTED in tags else f"cell-{number}"
        if "outputs" in cell:
            cell["outputs"] = [out for out in cell["outputs"] if not is_progress(out)]
            for out in cell["outputs"]:
                shrink_picture(out.get("data", {}))
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    for path, short in ((Path(sys.prefix), ".venv"), (root, "."), (Path.home(), "~")):
        if len(path.parts) > 1:  # never the file system's root
            text = text.replace(json.dumps(str(path), ensure_ascii=False)[1:-1], short)
    return text


def is_progress(output: dict[str, Any]) -> bool:
    """Whether a cell's output is a progress bar, as text redrawn with \\r or as a widget, or what
    torch says of a machine with CUDA's compiler and no GPU.

    Their times are noise in a record of results.
    """
    if output["output_type"] == "stream":
        text = "".join(output["text"])
        noise = "\r" in text or not text.strip() or "No CUDA runtime is found" in text
        return output["name"] == "stderr" and noise
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


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
