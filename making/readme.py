"""The README's generated blocks: findings, tables of differences, results and targets, the times.

    python -m making.readme [--check]    # bring them up to date, or say whether they are

Each stands between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->`` and is made of committed
results alone, so that no number in the README is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

from scrapseg.experiments.methods import method_label
from scrapseg.files import REPOSITORY, ResultsError, WriteFailed, atomic_write
from scrapseg.report import tables
from scrapseg.report.paper import ALIGNMENT
from scrapseg.report.verify import Compendium

NOT_YET = "Not measured yet."
OBJECTS = "yard/false_objects"
#: Pairs of starts, and what the difference is the worth of; the losses, too.
ALIGNMENTS = {
    ("scrapseg-to-text", "scrapseg-imagenet"): "text over no alignment",
    ("scrapseg-to-text", "scrapseg-to-permuted"): "right words over wrong ones",
    ("scrapseg-to-text", "scrapseg-no-words"): "words over none, in alignment or prompts",
    ("scrapseg-to-text", "scrapseg-to-numbers"): "words over class numbers",
    ("scrapseg-to-text-without", "scrapseg-to-numbers-without"): "likewise without six nouns",
    ("scrapseg-to-numbers-without", "scrapseg-imagenet"): "such class numbers over no alignment",
}
#: Metrics whose differences are told.
DIFFERENCES = ("ap", "miou_impurity")
#: What the reference claims to beat, and what its words stand against.
SET_APART = ("scrapseg-frozen", "scrapseg-random", "scrapseg-permuted")
#: Measures of adaptation that are shown, and their heads.
ADAPTED = {"composite/ap": "composites, AP", "yard/auroc/mean": "yard, AUROC",
           OBJECTS: "objects a photograph of steel", "yard/flagged": "motors and copper flagged",
           "scrapsim/ap": "ScrapSim, AP"}  # fmt: skip
#: Arms of adaptation that are shown; the others are in the notebook.
TOLD = ("renders", "paste", "large", "novel", "shipped-200", "shipped", "own")


class ReadmeError(ResultsError):
    """A block cannot be made or placed; the message is one line and names the file."""


def percent(value: float) -> str:
    """A fraction of 1 as per cent with one digit; a dash for nan."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def gap(row: pd.Series, unit: str = " points") -> str:
    """A paired difference in words: points, the ends of its 95 % interval, and a star where its p,
    corrected over its table, is below 0.05 and several seeds are behind it."""
    value, low, high = (f"{100 * getattr(row, k):+.1f}" for k in ("value", "lo", "hi"))
    star = r"\*" if getattr(row, "p_holm", 1) < 0.05 and row.seeds > 1 else ""
    return f"{value}{star}{unit} ({low} to {high})"


def runs(table: pd.DataFrame) -> str:
    """What is behind the values of a table with a column of seeds, and its intervals."""
    seeds = int(table["seeds"].max())
    return "one run each, scenes drawn" if seeds == 1 else f"{seeds} seeds, seeds and scenes drawn"


def markdown(rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A table whose first row is its head: columns of text on the left, numbers on the right."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    rule = "|" + "---|" * texts + "---:|" * (len(rows[0]) - texts)
    return "\n".join([lines[0], rule, *lines[1:]])


def saved(folder: Path, name: str) -> pd.DataFrame:
    """A committed table; empty where it was not made."""
    path = folder / "tables" / f"{name}.csv"
    return pd.read_csv(path, dtype={"shots": str}) if path.is_file() else pd.DataFrame()


# ------------------------------------------------------------------------------------- blocks


def findings(results_dir: Path) -> str:
    """What was found, a sentence each, the losses among them."""
    study, real = tables.study_of(results_dir), tables.real_of(results_dir)
    known, paired = saved(study, "methods"), saved(study, "paired")
    if known.empty or paired.empty or tables.OURS not in set(known["method"]):
        return NOT_YET
    known = known.set_index("method")
    named = paired[paired["metric"] == "miou_impurity"].set_index("scrapseg minus")
    ours = known.loc[tables.OURS]
    rivals = known[(known["family"] == "supervised") & ~known.index.str.endswith("-aligned")]
    best = rivals["miou_impurity"].idxmax()
    lines = [
        f"With all labels ({runs(named.loc[[best]])}) ours has {percent(ours['ap'])} % AP, finds "
        f"{percent(ours['object_recall_1fa'])} % of the objects at one false alarm per image, and "
        f"has {percent(ours['miou_impurity'])} % impurity mIoU: {gap(named.loc[best])} of it "
        f"against the best of {len(rivals)} supervised networks, {method_label(best)}"
    ]
    if len(away := saved(study, "labels_rival")):
        away = away[(away["metric"] == "miou_impurity") & (away["shots"] == "all")]
        away = away[away[f"{tables.RIVAL} minus"] == "scrapseg-imagenet"]
    if len(away) and best == tables.RIVAL:
        turned = away.assign(value=-away["value"], lo=-away["hi"], hi=-away["lo"]).iloc[0]
        lines[0] += f"; started from ImageNet as these are, ours is at {gap(turned)} ({runs(away)})"
    if len(row := named[named.index == f"{best}-aligned"]):
        told = f"{gap(row.iloc[0])} ({runs(row)})"
        lines[0] += f"; against {method_label(best)} on our tower, {told}"
    few, told = saved(study, "labels_paired"), []
    for other in SET_APART if len(few) else ():
        rows = few[(few["scrapseg minus"] == other) & few["metric"].isin(DIFFERENCES)]
        rows = rows.dropna(subset="p_holm")  # those that are tested
        shown = ((rows["value"] > 0) & (rows["p_holm"] < 0.05)).groupby(rows["metric"])
        of = (f"in {tables.METRIC_LABELS[m]} at {x.sum()} of {len(x)}" for m, x in shown)
        behind = " or ".join(dict.fromkeys(rows["seeds"].astype(str)))
        if len(rows):
            told += [f"of *{method_label(other)}* {', '.join(of)} ({behind} seeds)"]
    if told:
        lines += [
            "By number of labels, at equal steps, ours is shown ahead (p below 0.05 after Holm's "
            f"correction) {'; '.join(told)}"
        ]
    if len(reached := saved(study, "long")):
        reached = reached.query("method == @tables.OURS and shots == 'all'")
        has = [
            f"{percent(r.miou_impurity)} % after {r.steps} steps (seeds: {r.seeds})"
            for r in reached.itertuples()
        ]
        for best in saved(study, "magnified").tail(1).get("miou_impurity", ()):
            has += [f"{percent(best)} % with more scenes and a magnified look (one run)"]
        lines += [f"Trained for longer, with all labels, it reaches {', '.join(has)}"]
    if len(words := saved(study, "class_by_words")):
        mean = [percent(words[k].mean()) for k in ("words", "before", "named")]
        said = "A class left out of training is found by its prompt with a mean AP of {} %, before "
        said += "any scrap with {} %, and with {} % where it was named among the classes (one seed)"
        lines += [said.format(*mean)]
    if real and len(gaps := saved(real, "photo_paired")):
        few = gaps.query("shots == '4' and metric == 'miou' and `scrapseg minus` == 'segformer'")
        told = "; ".join(f"{row['dataset']} {gap(row)}" for _, row in few.iterrows())
        lines += [
            "On photographs, with 4 labels a class, ours from ScrapSim against SegFormer from "
            f"ImageNet, in mIoU ({runs(few)}): {told}"
        ]
    return "\n".join(f"- {line}." for line in lines)


def differences(results_dir: Path) -> str:
    """Paired differences, a table for each question: equal steps, longer training, alignment."""
    study, parts = tables.study_of(results_dir), []
    if len(even := saved(study, "labels_paired")):
        even = even[even["metric"].isin(DIFFERENCES)].sort_values("metric", kind="stable")
        even["ours minus"] = even["scrapseg minus"].map(method_label)
        even["in"] = even["metric"].map(tables.METRIC_LABELS)
        parts += ["Equal steps at every number of labelled scenes a class:"]
        parts += [by_labels(even, "in", "ours minus", "seeds")]
    if len(long := longer(study)):
        parts += [
            "Trained for longer, in impurity mIoU (of one seed intervals are over scenes alone):"
        ]
        parts += [by_labels(long, "ours minus", "steps", "seeds")]
    if len(worth := saved(study, "alignment_paired")):
        worth = worth[(worth["metric"] == "miou_impurity") & (worth["shots"] != "0")]
        pairs = pd.DataFrame([*ALIGNMENTS], columns=["start", "minus"])
        told = pairs.assign(alignment=ALIGNMENTS.values()).merge(worth)
        parts += ["What an alignment is worth, once trained, in impurity mIoU (one of each):"]
        parts += [by_labels(told, "alignment", "seeds")]
    return "\n\n".join(parts) or NOT_YET


def longer(study: Path) -> pd.DataFrame:
    """Impurity mIoU of ours minus others after longer training, from three tables: ours as it is,
    with its head drawn anew, and given more scenes."""
    rows = [(r["scrapseg minus"], "", r) for _, r in saved(study, "long_paired").iterrows()]
    new = saved(study, "new_head")
    new = new[new["minus"] == "segformer-aligned"] if len(new) else new
    rows += [(r["minus"], ", the head of ours as new", r) for _, r in new.iterrows()]
    more = pd.concat([saved(study, "more_rivals"), saved(study, "second_rival")])
    more = more.dropna(subset="miou_impurity_gap") if len(more) else more  # the rival's have gaps
    # Where val chooses no magnification, that look is the plain one.
    more = more.drop_duplicates(["steps", "scales", "miou_impurity_gap"]) if len(more) else more
    for _, row in more.iterrows():
        row = row.rename(lambda c: c.removeprefix("miou_impurity_")).rename({"gap": "value"})
        how = f", both given {row['images']} images, seen at {row['scales']}"
        rows += [(row["method"], how, row)]
    alike = {"metric": "miou_impurity", "shots": "all", "seeds": 1, "p_holm": 1}
    told = [
        {"ours minus": f"{method_label(of)}{how}"} | alike | row.to_dict() for of, how, row in rows
    ]
    table = pd.DataFrame(told, columns=["ours minus", "steps", "value", "lo", "hi", *alike])
    return table[table["metric"] == "miou_impurity"]


def by_labels(rows: pd.DataFrame, *of: str) -> str:
    """Paired differences as a table, the numbers of labels side by side."""
    cells = rows.assign(cell=[gap(row, "") for row in rows.itertuples()])
    alike = cells["seeds"].astype(str).groupby([cells[k] for k in of if k != "seeds"])
    cells["seeds"] = alike.transform(lambda some: " / ".join(dict.fromkeys(some)))
    wide = cells.set_index([*of, "shots"])["cell"].unstack(sort=False).fillna("–")
    wide = wide[tables.shots_order(wide)].reset_index().astype(str)
    return markdown([list(wide), *wide.to_numpy().tolist()], texts=len(of))


def definitions(results_dir: Path) -> str:
    """What the reference reports, and the same maps of ours under six definitions of quality."""
    of_theirs = yaml.safe_load(tables.REFERENCE.read_text(encoding="utf-8"))
    told = "; ".join(
        f"{entry['quantity']} {'below ' if entry['bound'] == '<' else ''}"
        f"{percent(entry['value'])} % ({entry['source']})"
        for entry in of_theirs
        if "minus" not in entry
    )
    table = saved(results_dir, "definitions")
    if table.empty:
        return NOT_YET
    rows = [["the same maps, scored by", "which is", "%"]]
    rows += [[*row[:2], percent(row[2])] for row in table.itertuples(index=False, name=None)]
    told = f"Theirs, on images of real scrap that are not public: {told}."
    return f"{told}\n\n{markdown(rows, texts=2)}"


def results(results_dir: Path) -> str:
    """Every method with all labels: per cent, the best of each column in bold, and the costs."""
    table = saved(tables.study_of(results_dir), "methods")  # the digits that the paper rounds, too
    if table.empty:
        return NOT_YET
    once = json.loads(ALIGNMENT.read_text())["provenance"]["wall_s"] / 60
    units = {"train_s": (60, "{:.1f} min"), "ms_per_image": (1, "{:.0f} ms")}
    units["params_m"] = (1, "{:.1f} M")
    heads = [tables.METRIC_LABELS[m] for m in tables.HEADLINE]
    rows = [["method", "seeds", *heads, "training", "per image", "parameters"]]
    for _, row in table.iterrows():
        cells = [row["label"], str(row["seeds"])]
        for name in tables.HEADLINE:
            text = percent(row[name])
            best = text != "–" and text == percent(table[name].max())
            cells.append(f"**{text}**" if best else text)
        for name, (scale, form) in units.items():
            cells.append("–" if math.isnan(row[name]) else form.format(row[name] / scale))
        of_ours = row["method"].startswith("scrapseg") and row["method"] != "scrapseg-imagenet"
        if of_ours or row["method"].endswith("-aligned"):
            cells[-3] = cells[-3].replace(" min", f" + {once:.0f} min")
        rows.append(cells)
    note = "In per cent but for the last three columns; means over seeds; bold: best. Times are of "
    note += "one run; after the + those of the alignment that a method starts from, once. An image "
    note += "at a time, by torch."
    return f"{markdown(rows)}\n\n{note}"


def photographs(results_dir: Path) -> str:
    """From renders to all labels on the photographs: ours, adapted, and SegFormer."""
    real = tables.real_of(results_dir)
    table = saved(real, "photographs") if real else pd.DataFrame()
    if table.empty:
        return NOT_YET
    rows = tables.chain(table).reset_index()
    heads = ["photographs", "mIoU by labels a class", *rows.columns[2:]]
    scenes = table.drop_duplicates("dataset").set_index("dataset")["scenes"]
    small = ", ".join(f"{n} ({name})" for name, n in scenes.items())
    note = f"In per cent with 95 % intervals ({runs(table)}); 0 labels: before any, and from "
    note += "renders one model alone, its intervals over scenes. 8–16: as many as there are of "
    note += "each class; –: not run. Scenes of the test (belt frames, arrangements of cables, "
    note += f"tiles): {small}."
    return f"{markdown([heads, *rows.astype(str).to_numpy().tolist()], texts=2)}\n\n{note}"


def adaptation(results_dir: Path) -> str:
    """What adapting to photographs without labels brings: means over seeds, on test, of the arms
    `TOLD`. What hangs on a threshold is missing where that was chosen in another way then."""
    table = saved(results_dir.parent / "real", "adaptation")
    if table.empty:
        return NOT_YET
    table = table[(table["split"] == "test") & table["arm"].isin(TOLD)]
    mean = table.pivot_table("value", "label", "metric").loc[table["label"].unique(), list(ADAPTED)]
    seeds = table.groupby("label")["seed"].nunique()
    rows = [["model", "seeds", *ADAPTED.values()]]
    for label, values in mean.iterrows():
        cells = [f"{v:.2f}" if name == OBJECTS else percent(v) for name, v in values.items()]
        rows.append([label, str(seeds[label]), *(c.replace("nan", "–") for c in cells)])
    note = "In per cent but for the objects; means over seeds; –: thresholds of an earlier rule."
    return f"{markdown(rows)}\n\n{note}"


#: What ``times.json`` holds, in seconds.
TIMED = {
    "reproduce_first_s": "`make reproduce`, first time, after set-up",
    "reproduce_second_s": "`make reproduce`, nothing changed",
    "test_s": "`make test`, after set-up",
    "apply_s": "`make apply`, 50 images, 8 with labels",
    "apply_unlabelled_s": "`make apply`, 50 images without labels",
}


def times(results_dir: Path) -> str:
    """Measured times and sizes, of ``times.json``.

    It holds reproduce_first_s, reproduce_second_s, test_s (seconds), machine (text), and, where
    measured, those of make apply, environment_gb and clone_mb.

    Raises:
        ReadmeError: the file is there but cannot be read.
    """
    path = results_dir / "times.json"
    if not path.is_file():
        return NOT_YET
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        rows = [["command", f"time on {told['machine']}"]]
        rows += [[t, _clock(told[k])] for k, t in TIMED.items() if k in told or "apply" not in k]
    except (ValueError, KeyError, TypeError) as error:
        raise ReadmeError(f"{path}: not a readable table of times ({error!r})") from error
    sizes = {"clone_mb": "the clone is a download of {:.0f} MB"}
    sizes |= {"environment_gb": "the environment takes {:.1f} GB in `.venv`"}
    note = ", ".join(text.format(told[key]) for key, text in sizes.items() if key in told)
    return markdown(rows) + (f"\n\n{note[0].upper()}{note[1:]}." if note else "")


def targets(results_dir: Path) -> str:
    """What was aimed at and what was measured, of the table that `making.targets` makes."""
    path = results_dir.parent / "bench/targets.csv"
    if not path.is_file():
        return NOT_YET
    table = pd.read_csv(path, dtype=str).replace({"met": {"no": "**no**"}})
    shown = table[["what", "target", "measured", "met"]]
    note = f"{(table['met'] != 'yes').sum()} of {len(table)} are missed."
    return f"{markdown([list(shown), *shown.to_numpy().tolist()])}\n\n{note}"


def _clock(seconds: float) -> str:
    minutes = f"{seconds / 60:.1f} min" if seconds < 600 else f"{seconds / 60:.0f} min"
    return minutes if seconds >= 90 else f"{seconds:.0f} s"


MADE = (findings, differences, definitions, results, adaptation, photographs, targets, times)
BLOCKS = {block.__name__: block for block in MADE}


def fresh(text: str, results_dir: Path) -> str:
    """README text with its blocks made anew.

    Raises:
        ReadmeError: a block's marks are missing, or what it needs cannot be read.
        BrokenRecord: no readable `metrics.csv`.
    """
    for name, make in BLOCKS.items():
        block = make(results_dir)
        pattern = rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)"
        parts = re.split(pattern, text, flags=re.DOTALL)
        if len(parts) != 4:
            raise ReadmeError(f"README.md: needs the marks <!-- {name}:begin --> and :end once")
        before, begin, end, after = parts
        text = f"{before}{begin}{block}\n{end}{after}"
    return text


def main(root: Path = REPOSITORY) -> None:
    """Command line; exits with one line on what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m making.readme")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it is stale")
    check, path = parser.parse_args().check, root / "README.md"
    text = path.read_text(encoding="utf-8")
    try:
        new = fresh(text, root / "results/laptop")
        if not check:
            atomic_write(path, new)
    except (ResultsError, WriteFailed) as error:
        raise SystemExit(str(error)) from error
    if check and new != text:
        raise SystemExit("README.md: its blocks are stale; run `python -m making.readme`")
    pictures = set(re.findall(r"!\[[^\]]*\]\((?!\w+://)([^)\s]+)\)", new))
    if check and (lost := sorted(pictures - Compendium(root).committed)):
        raise SystemExit(f"README.md: {lost[0]} is no committed file; commit it or mend the link")


if __name__ == "__main__":
    main()
