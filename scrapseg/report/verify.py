"""Check that paper and README follow from the committed runs; nothing is trained or written.

Every table and figure that the paper or the README uses exists; every figure names run records that
are committed; `metrics.csv` is what the records say, the tables are what `metrics.csv` and
`stats.npz` say (or the data, for counts of the data; the furnace's errors and recalls come from
maps that are not committed, see `check_furnace`), the PDF is what those say, to the byte. (The
README's tables: `python -m making.readme --check`.)
And where runs were made anew, their numbers agree with the committed ones within `TOLERANCES`. One
line per check.
"""

from __future__ import annotations

import io
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import pandas as pd

from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments import records
from scrapseg.files import REPOSITORY, ResultsError, atomic_write
from scrapseg.metrics import mass
from scrapseg.report import paper, scene_tables, tables

#: Greatest absolute difference between a committed number and that of a fresh run, the metrics it
#: is for (fnmatch patterns; the first that fits counts), and why. Seeds are fixed, so the same
#: machine repeats itself; another one adds floating-point numbers in another order, and training
#: carries such differences on.
TOLERANCES = (
    (math.inf, "train_s ms_per_image", "costs of the machine"),
    (0.0, "params_m class_prior/*", "counts"),
    (0.01, "auroc", "ranks over millions of pixels"),
    (0.04, "image_auroc", "ranks over the test images, of which one weighs much"),
    (0.02, "miou_binary", "large regions and the threshold"),
    (0.03, "ap f1_max aupro_30 miou miou_impurity", "as training varies"),
    (0.05, "object_recall_1fa", "counts of objects at one operating point"),
    (0.08, "object_recall_1fa/*", "counts of fewer objects"),
    (0.01, "iou/steel", "nearly all pixels"),
    (0.10, "iou/* class_ap/*", "one class, some of them rare"),
    (0.04, "*_lo *_hi", "an end of an interval moves with the value and with the resampling"),
    (0.05, "*", "any other fraction of 1"),
)
LIMITS = {metric: limit for limit, names, _ in TOLERANCES for metric in names.split()}

#: All tables that follow from the records.
TABLES = (*tables.TABLES, *scene_tables.TABLES)
#: Tables that come from maps, which are not committed.
FROM_MAPS = {"mass", "heat", "definitions"}
#: Columns that name a row of a table.
KEYS = ["dataset", "method", "tag", "split", "class", "source", "target", "shots", "steps"]
KEYS += ["scrapseg minus", "metric"]
TODO = "run `make reproduce`"


@dataclass(frozen=True)
class Check:
    """Outcome of one check: what was looked at; where it failed, what is wrong and what to do.

    With `untested` there was nothing to look at, which is neither sound nor a failure.
    """

    what: str
    problem: str = ""
    untested: bool = False

    def __str__(self) -> str:
        if self.problem:
            return f"FAIL  {self.what}: {self.problem}"
        return f"{'note' if self.untested else 'ok':6}{self.what}"


def examined(what: str, problem: Callable[[], str]) -> Check:
    """The check whose `problem` says what is wrong, in words or as an error; "" if nothing is."""
    try:
        return Check(what, problem())
    except FileNotFoundError:
        return Check(what, f"file is missing; {TODO}")
    except Exception as error:  # whatever is wrong with the input is this check's finding
        return Check(what, " ".join(str(error).split()) or repr(error))


@dataclass(frozen=True)
class Compendium:
    """A checkout and the results of one of its profiles."""

    root: Path
    profile: str = "laptop"

    @property
    def results(self) -> Path:
        """Folder of the profile's results."""
        return self.root / "results" / self.profile

    def relative(self, path: Path) -> str:
        """A path as git and a reader write it, from the checkout's root."""
        return path.relative_to(self.root).as_posix()

    @cached_property
    def committed(self) -> frozenset[str]:
        """Paths of all committed files; empty outside git or before the first commit."""
        listing = records.git(self.root, "ls-tree", "-r", "-z", "--name-only", "HEAD")
        return frozenset((listing or "").split("\0")) - {""}


# ------------------------------------------------------------------------------------- checks


def check_metrics(comp: Compendium) -> Iterator[Check]:
    """`metrics.csv` is the join of `runs/*.json`, byte for byte, and each record is committed."""
    path, runs = comp.results / "metrics.csv", comp.results / "runs"

    def differs() -> str:
        same = records.joined(comp.results).encode() == path.read_bytes()
        return "" if same else f"it differs; {TODO} to join them anew"

    yield examined(f"{comp.relative(path)} joins its run records", differs)
    paths = sorted(runs.glob("*.json"))
    lost = [p.name for p in paths if comp.relative(p) not in comp.committed]
    what = f"{comp.relative(runs)} has {len(paths)} run records, all committed"
    yield Check(what, f"not committed: {', '.join(lost)}; commit or remove them" if lost else "")


def recompute(comp: Compendium, name: str) -> pd.DataFrame:
    """A table made anew from the results or the data.

    Raises:
        LookupError: nothing makes a table of that name.
    """
    if name in scene_tables.TABLES:
        return scene_tables.TABLES[name](comp.results)
    if name in tables.TABLES:
        return tables.TABLES[name](records.read_metrics(comp.results))
    of_data = tables.data_tables(comp.root / "data/scrapsim")
    if name not in of_data:
        raise LookupError("no function of scrapseg/report makes this table; add one")
    return of_data[name]


def table_problem(comp: Compendium, name: str) -> str:
    """Where a table is not what it is when made anew, its rows in any order."""
    as_text = partial(pd.read_csv, dtype=str, keep_default_na=False)
    old = as_text(comp.results / "tables" / f"{name}.csv")
    fresh = as_text(io.StringIO(records.table_text(recompute(comp, name))))
    if list(old.columns) != list(fresh.columns):
        return f"its columns are {', '.join(old.columns)}, not {', '.join(fresh.columns)}; {TODO}"
    if len(old) != len(fresh):
        return f"it has {len(old)} rows, not {len(fresh)}; {TODO}"
    keys = [c for c in KEYS if c in fresh]
    old, fresh = (t.sort_values(keys, ignore_index=True) for t in (old, fresh))
    for column in fresh:
        for row in fresh.index[old[column] != fresh[column]]:
            was, now = old.at[row, column], fresh.at[row, column]
            return f"row {row + 1}, column {column} is {was!r}, not {now!r}; {TODO}"
    return ""


def check_tables(comp: Compendium, names: list[str]) -> Iterator[Check]:
    """Each table exists and recomputes to the same digits."""
    for name in names:
        path = comp.results / "tables" / f"{name}.csv"
        what = f"{comp.relative(path)} follows from the runs or the data"
        yield examined(what, partial(table_problem, comp, name))


def check_furnace(comp: Compendium) -> Iterator[Check]:
    """What the furnace's tables hold follows from the data, and from the recalls beside it.

    The errors and the recalls of methods come from maps of their runs, which are not committed:
    `make reproduce` makes those anew.
    """

    def masks(saved: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        train, test = (ScrapSim(comp.root / "data/scrapsim", s) for s in ("train", "test"))
        fresh = mass.floor(train, test)
        kept = saved[saved["method"] == "true masks"].reset_index(drop=True)
        return kept[list(fresh.columns)], fresh

    def heat(saved: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        recalls = saved.drop_duplicates("method")[["method", "recall", "without_buried"]]
        return saved, mass.heat_table(recalls.itertuples(index=False, name=None))

    def problem(path: Path, sides: Callable) -> str:
        try:
            # A recall is saved rounded, so what follows from it differs in the last digits.
            pd.testing.assert_frame_equal(*sides(pd.read_csv(path)), rtol=1e-4)
        except AssertionError as error:
            return f"{' '.join(str(error).split())} (left: the file, right: made anew); {TODO}"
        return ""

    for name, sides, claim in (
        ("mass", masks, "its true masks follow from the data"),
        ("heat", heat, "follows from the recalls it states"),
    ):
        path = comp.results / "tables" / f"{name}.csv"
        yield examined(f"{comp.relative(path)}: {claim}", partial(problem, path, sides))


def figure_problem(comp: Compendium, name: str) -> str:
    """What a figure or one of its runs lacks."""
    stem = comp.results / "figures" / name
    lost = [name + s for s in (".pdf", ".png", ".json") if not Path(f"{stem}{s}").is_file()]
    if lost:
        return f"{', '.join(lost)} missing; {TODO}"
    try:
        runs = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))["runs"]
    except (ValueError, KeyError, TypeError):
        return f"{name}.json names no runs; draw it with records.save_figure"
    paths = {run: comp.results / "runs" / f"{run}.json" for run in runs}
    gone = [run for run, path in paths.items() if not path.is_file()]
    if gone:
        return f"no record of {', '.join(gone)}; rerun the notebook that draws it"
    loose = [run for run, path in paths.items() if comp.relative(path) not in comp.committed]
    return f"not committed: {', '.join(loose)}; commit the records" if loose else ""


def check_figures(comp: Compendium, names: list[str]) -> Iterator[Check]:
    """Each figure exists and is drawn from run records that exist and are committed."""
    for name in names:
        what = f"{comp.relative(comp.results / 'figures' / name)} is drawn from committed runs"
        yield examined(what, partial(figure_problem, comp, name))


def check_pdf(comp: Compendium) -> Iterator[Check]:
    """The PDF is committed, and compiling the paper gives its bytes again."""
    path, source = comp.root / "paper/paper.pdf", comp.root / "paper/paper.typ"
    name = comp.relative(path)
    yield Check(f"{name} is committed", "" if name in comp.committed else "it is not; commit it")

    def stale() -> str:
        same = path.read_bytes() == paper.pdf(source, comp.results)
        return "" if same else "it differs; run `make paper`"

    yield examined(f"{name} follows from {comp.relative(source)} and the results", stale)


def check_repeat(comp: Compendium) -> Iterator[Check]:
    """The numbers of runs that were made anew agree with the committed ones within `TOLERANCES`.

    A checkout holds the committed records themselves: they say nothing about a repetition.
    """
    name = comp.relative(comp.results / "metrics.csv")
    old = records.git(comp.root, "show", f"HEAD:{name}")
    if old is None:
        problem = "none is committed; commit the results of `make reproduce`"
        yield Check(f"{name} agrees with the committed one", problem)
        return
    runs = comp.relative(comp.results / "runs")
    changed = records.git(comp.root, "diff", "--name-only", "HEAD", "--", runs) or ""
    changed = [path for path in changed.splitlines() if path.endswith(".json")]
    if not changed:
        why = "no run was made anew here, so nothing was repeated; `make reproduce` does that"
        yield Check(f"{name}: {why}", untested=True)
        return
    what = f"{name}: {len(changed)} runs that differ from the committed ones"
    try:
        fresh = records.read_metrics(comp.results)
        with tempfile.TemporaryDirectory() as folder:
            atomic_write(Path(folder) / "metrics.csv", old)
            before = records.read_metrics(folder)
    except ResultsError as error:
        yield Check(what, str(error))
        return
    wrong = records.compare(before, fresh, LIMITS)
    if wrong.empty:
        costs = [metric for metric, limit in LIMITS.items() if limit == math.inf]
        both = before.merge(fresh, on=records.KEYS)
        away = (both["value_x"] - both["value_y"]).abs()[~both["metric"].isin(costs)]
        yield Check(f"{what} agree with them (largest difference {away.max():.4f}, costs apart)")
        return
    told = [f"{row.metric} of {row.run} {row.problem}" for row in wrong.head(5).itertuples()]
    for k, row in enumerate(wrong.head(5).itertuples()):
        if row.problem == "differs":
            told[k] += f" by {row.difference:+.4f} (tolerance {row.tolerance:g})"
    told += [f"{len(wrong) - 5} more"] if len(wrong) > 5 else []
    yield Check(what, f"{'; '.join(told)}: find out why before committing these results")


def check_real(comp: Compendium, used: paper.Uses) -> Iterator[Check]:
    """The results on photographs: records, all tables of theirs, the figures that are used."""
    yield from check_metrics(comp)
    yield from check_tables(comp, [name for name in TABLES if name.startswith("photo")])
    yield from check_figures(comp, used.real_figures)


def checks(comp: Compendium) -> Iterator[Check]:
    """All checks of a checkout, one after the other.

    README and PDF are made from the laptop profile; for another one they are left out. The runs on
    photographs, where there are any, have tables and figures of their own.
    """
    source = comp.root / "paper/paper.typ"
    if not source.is_file():
        yield Check(comp.relative(source), "file is missing; restore it with git")
        return
    used = paper.uses(source.read_text(encoding="utf-8"))
    if comp.profile == "real":
        yield from check_real(comp, used)
        yield from check_repeat(comp)
        return
    figures = set(used.figures)
    readme = comp.root / "README.md"
    if comp.profile == "laptop" and readme.is_file():
        shown = rf"\((?:\./)?{re.escape(comp.relative(comp.results))}/figures/([\w-]+)\.png\)"
        figures |= set(re.findall(shown, readme.read_text(encoding="utf-8")))
    yield from check_metrics(comp)
    own = {name for name in TABLES if not name.startswith("photo")}
    own |= set(used.tables) - FROM_MAPS
    yield from check_tables(comp, sorted(own))
    yield from check_furnace(comp)
    yield from check_figures(comp, sorted(figures))
    study = Compendium(comp.root, tables.study_of(comp.results).name)
    if study != comp:
        yield from check_metrics(study)
        yield from check_tables(study, used.study_tables)
        drawn = [n for n in used.study_figures if (study.results / f"figures/{n}.pdf").is_file()]
        yield from check_figures(study, drawn)
    if comp.profile == "laptop":
        if tables.real_of(comp.results):
            yield from check_real(Compendium(comp.root, "real"), used)
        yield from check_pdf(comp)
    yield from check_repeat(comp)


def run(profile: str = "laptop", root: Path = REPOSITORY) -> bool:
    """Print a line for each check of ``results/<profile>``; whether all passed."""
    failed = 0
    for check in checks(Compendium(root, profile)):
        print(check, flush=True)
        failed += bool(check.problem)
    print(f"{failed} checks failed" if failed else "all checks passed")
    return not failed
