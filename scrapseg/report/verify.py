"""Check that paper and README follow from the committed runs; nothing is trained or written.

Every table and figure that the paper or the README uses exists; every figure names run records that
are committed; `metrics.csv` is what the records say, the tables are what `metrics.csv` and
`stats.npz` say (or the data, for counts of the data; the furnace's errors and recalls come from
maps that are not committed, see `check_furnace`), README and PDF are what those say, to the byte.
And where runs were made anew, their numbers agree with the committed ones within `TOLERANCES`. One
line per check.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments import records
from scrapseg.files import REPOSITORY, ResultsError, atomic_write
from scrapseg.metrics import mass
from scrapseg.report import paper, readme, scene_tables, tables

#: Metric (fnmatch pattern, the first that fits counts) -> greatest absolute difference between the
#: committed number and that of a fresh run, and why. Seeds are fixed, so the same machine repeats
#: itself; another one adds floating-point numbers in another order, and training carries such
#: differences on.
TOLERANCES: dict[str, tuple[float, str]] = {
    "train_s": (math.inf, "a cost of the machine"),
    "ms_per_image": (math.inf, "a cost of the machine"),
    "params_m": (0.0, "a count"),
    "auroc": (0.01, "ranks over millions of pixels"),
    "image_auroc": (0.04, "ranks over the test images, of which one weighs much"),
    "miou_binary": (0.02, "large regions and the threshold"),
    "ap": (0.03, "as training varies"),
    "f1_max": (0.03, "as training varies"),
    "aupro_30": (0.03, "as training varies"),
    "miou": (0.03, "as training varies"),
    "miou_impurity": (0.03, "as training varies"),
    "object_recall_1fa": (0.05, "counts of objects at one operating point"),
    "object_recall_1fa/*": (0.08, "counts of fewer objects"),
    "iou/steel": (0.01, "nearly all pixels"),
    "iou/*": (0.10, "one class, some of them rare"),
    "class_ap/*": (0.10, "one class, some of them rare"),
    "class_prior/*": (0.0, "a count"),
    "*_lo": (0.04, "an end of an interval moves with the value and with the resampling"),
    "*_hi": (0.04, "an end of an interval moves with the value and with the resampling"),
    "*": (0.05, "any other fraction of 1"),
}


#: Tables that come from maps, which are not committed.
FROM_MAPS = {"mass", "heat", "definitions"}
#: Columns that name a row of a table.
KEYS = ["method", "tag", "split", "class", "source", "target", "shots", "steps"]
KEYS += ["scrapseg minus", "scrapsim minus", "metric"]


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
        return Path(os.path.relpath(path, self.root)).as_posix()

    def git(self, *arguments: str) -> str | None:
        """What a git command prints, or None where it fails or there is no git."""
        try:
            done = subprocess.run(
                ["git", "-C", str(self.root), *arguments], capture_output=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.decode("utf-8")

    def committed(self) -> frozenset[str]:
        """Paths of all committed files; empty outside git or before the first commit."""
        listing = self.git("ls-tree", "-r", "-z", "--name-only", "HEAD")
        return frozenset((listing or "").split("\0")) - {""}


# ------------------------------------------------------------------------------------- checks


def check_metrics(comp: Compendium) -> Iterator[Check]:
    """`metrics.csv` is the join of `runs/*.json`, byte for byte, and each record is committed."""
    path = comp.results / "metrics.csv"
    what = f"{comp.relative(path)} joins its run records"
    if not path.is_file():
        yield Check(what, "file is missing; run `make reproduce`")
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "runs").symlink_to((comp.results / "runs").resolve())
            records.collect(folder)
            same = (Path(folder) / "metrics.csv").read_bytes() == path.read_bytes()
    except ResultsError as error:
        yield Check(what, str(error))
        return
    yield Check(what, "" if same else "it differs; run `make reproduce` to join them anew")
    committed = comp.committed()
    paths = sorted((comp.results / "runs").glob("*.json"))
    lost = [p.name for p in paths if comp.relative(p) not in committed]
    what = f"{comp.relative(comp.results / 'runs')} has {len(paths)} run records, all committed"
    yield Check(what, f"not committed: {', '.join(lost)}; commit or remove them" if lost else "")


def _as_saved(table: pd.DataFrame) -> pd.DataFrame:
    """A table as it comes back from `records.save_table` and `pandas.read_csv`, as text."""
    text = records.table_text(table)
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)


def recompute(comp: Compendium, name: str) -> pd.DataFrame:
    """A table made anew from the results or the data.

    Raises:
        KeyError: nothing makes a table of that name.
    """
    if name in scene_tables.TABLES:
        return scene_tables.TABLES[name](comp.results)
    if name in tables.TABLES:
        return tables.TABLES[name](records.read_metrics(comp.results))
    return tables.data_tables(comp.root / "data/scrapsim")[name]


def check_tables(comp: Compendium, names: list[str]) -> Iterator[Check]:
    """Each table exists and recomputes to the same digits, its rows in any order."""
    for name in names:
        path = comp.results / "tables" / f"{name}.csv"
        what = f"{comp.relative(path)} follows from the runs or the data"
        if not path.is_file():
            yield Check(what, "file is missing; run `make reproduce`")
            continue
        try:
            fresh = _as_saved(recompute(comp, name))
        except KeyError:
            yield Check(what, "no function of scrapseg/report makes this table; add one")
            continue
        except Exception as error:  # whatever is wrong with the input is this check's finding
            yield Check(what, f"cannot be recomputed: {error}")
            continue
        old = pd.read_csv(path, dtype=str, keep_default_na=False)
        keys = [c for c in KEYS if c in fresh and c in old]
        if keys:
            fresh, old = (t.sort_values(keys, ignore_index=True) for t in (fresh, old))
        yield Check(what, _difference(old, fresh))


def _difference(old: pd.DataFrame, fresh: pd.DataFrame) -> str:
    """What is wrong with a table, in words; empty when nothing is."""
    todo = "run `make reproduce`"
    if list(old.columns) != list(fresh.columns):
        return f"its columns are {', '.join(old.columns)}, not {', '.join(fresh.columns)}; {todo}"
    if len(old) != len(fresh):
        return f"it has {len(old)} rows, not {len(fresh)}; {todo}"
    for name in fresh.columns:
        for row, (a, b) in enumerate(zip(old[name], fresh[name], strict=True), start=1):
            if a != b:
                return f"row {row}, column {name} is {a!r}, not {b!r}; {todo}"
    return ""


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
        recalls = saved.drop_duplicates("method")[["method", "recall"]]
        return saved, mass.heat_table(recalls.itertuples(index=False, name=None))

    told = {
        "mass": (masks, "its true masks follow from the data"),
        "heat": (heat, "follows from the recalls it states"),
    }
    for name, (sides, claim) in told.items():
        path = comp.results / "tables" / f"{name}.csv"
        what = f"{comp.relative(path)}: {claim}"
        try:
            # A recall is saved rounded, so what follows from it differs in the last digits.
            pd.testing.assert_frame_equal(*sides(pd.read_csv(path)), rtol=1e-4)
        except FileNotFoundError:
            yield Check(what, "file is missing; run `make reproduce`")
        except AssertionError as error:
            wrong = " ".join(str(error).split())
            yield Check(what, f"{wrong} (left: the file, right: made anew); run `make reproduce`")
        except Exception as error:  # whatever is wrong with the input is this check's finding
            yield Check(what, f"cannot be recomputed: {error}")
        else:
            yield Check(what)


def check_figures(comp: Compendium, names: list[str]) -> Iterator[Check]:
    """Each figure exists and is drawn from run records that exist and are committed."""
    committed = comp.committed()
    for name in names:
        stem = comp.results / "figures" / name
        what = f"{comp.relative(stem)} is drawn from committed runs"
        lost = [s for s in (".pdf", ".png", ".json") if not Path(f"{stem}{s}").is_file()]
        if lost:
            yield Check(what, f"{', '.join(name + s for s in lost)} missing; run `make reproduce`")
            continue
        try:
            runs = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))["runs"]
        except (ValueError, KeyError, TypeError):
            yield Check(what, f"{name}.json names no runs; draw it with records.save_figure")
            continue
        records = {run: comp.results / "runs" / f"{run}.json" for run in runs}
        gone = [run for run, path in records.items() if not path.is_file()]
        loose = [run for run, p in records.items() if comp.relative(p) not in committed]
        if gone:
            yield Check(what, f"no record of {', '.join(gone)}; rerun the notebook that draws it")
        elif loose:
            yield Check(what, f"not committed: {', '.join(loose)}; commit the records")
        else:
            yield Check(what)


def check_readme(comp: Compendium) -> Iterator[Check]:
    """The README's generated blocks are fresh and its pictures are committed."""
    path = comp.root / "README.md"
    try:
        text = path.read_text(encoding="utf-8")
        stale = readme.fresh(text, comp.results) != text
    except (OSError, ResultsError) as error:
        yield Check("README.md shows the results", str(error))
        return
    todo = "its blocks are stale; run `python -m scrapseg readme`"
    yield Check("README.md shows the results", todo if stale else "")
    committed = comp.committed()
    for link in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", text):
        if "://" not in link:
            problem = (
                "" if link in committed else "not a committed file; commit it or mend the link"
            )
            yield Check(f"README.md's picture {link}", problem)


def check_pdf(comp: Compendium) -> Iterator[Check]:
    """The PDF is committed, and compiling the paper gives its bytes again."""
    path, source = comp.root / "paper/paper.pdf", comp.root / "paper/paper.typ"
    name = comp.relative(path)
    yield Check(f"{name} is committed", "" if name in comp.committed() else "it is not; commit it")
    what = f"{name} follows from {comp.relative(source)} and the results"
    try:
        same = path.is_file() and paper.pdf(source, comp.results) == path.read_bytes()
    except paper.PaperError as error:
        yield Check(what, str(error))
        return
    yield Check(what, "" if same else "it differs; run `make paper`")


def check_repeat(comp: Compendium) -> Iterator[Check]:
    """The numbers of runs that were made anew agree with the committed ones within `TOLERANCES`.

    A checkout holds the committed records themselves: they say nothing about a repetition.
    """
    path = comp.results / "metrics.csv"
    old = comp.git("show", f"HEAD:{comp.relative(path)}")
    if old is None:
        what = f"{comp.relative(path)} agrees with the committed one"
        yield Check(what, "none is committed; commit the results of `make reproduce`")
        return
    runs = comp.relative(comp.results / "runs")
    changed = (comp.git("diff", "--name-only", "HEAD", "--", runs) or "").splitlines()
    changed = [name for name in changed if name.endswith(".json")]
    what = f"{comp.relative(path)}: {len(changed)} runs that differ from the committed ones"
    if not changed:
        why = "no run was made anew here, so nothing was repeated; `make reproduce` does that"
        yield Check(f"{comp.relative(path)}: {why}", untested=True)
        return
    try:
        fresh = records.read_metrics(comp.results)
        with tempfile.TemporaryDirectory() as folder:
            atomic_write(Path(folder) / "metrics.csv", old)
            before = records.read_metrics(folder)
    except ResultsError as error:
        yield Check(what, str(error))
        return
    limits = {pattern: limit for pattern, (limit, _) in TOLERANCES.items()}
    wrong = records.compare(before, fresh, limits)
    if wrong.empty:
        costs = [name for name, limit in limits.items() if limit == math.inf]
        both = before.merge(fresh, on=records.KEYS)
        away = (both["value_x"] - both["value_y"]).abs()[~both["metric"].isin(costs)]
        yield Check(f"{what} agree with them (largest difference {away.max():.4f}, costs apart)")
        return
    lines = []
    for _, row in wrong.head(5).iterrows():
        line = f"{row['metric']} of {row['run']} {row['problem']}"
        if row["problem"] == "differs":
            line += f" by {row['difference']:+.4f} (tolerance {row['tolerance']:g})"
        lines.append(line)
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    yield Check(what, f"{'; '.join(lines)}{more}: find out why before committing these results")


def check_real(comp: Compendium, used: paper.Uses) -> Iterator[Check]:
    """The results on photographs: records, all tables of theirs, the figures that are used."""
    yield from check_metrics(comp)
    tiles = [n for n in (*tables.TABLES, *scene_tables.TABLES) if n.startswith("tile_")]
    yield from check_tables(comp, tiles)
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
    own = {n for n in (*tables.TABLES, *scene_tables.TABLES) if not n.startswith("tile_")}
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
        yield from check_readme(comp)
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
