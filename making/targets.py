"""What was aimed at beside what was measured, met or not, from committed tables alone.

    python -m making.targets        # writes results/bench/targets.csv anew

So does `make reproduce` where a table has changed. A row is here because the number was set before
it was measured. The README shows the table.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from making.studies.words_kept import COST
from scrapseg.data.classes import SLUGS
from scrapseg.experiments.methods import method
from scrapseg.experiments.records import read_run
from scrapseg.files import REPOSITORY, atomic_write
from scrapseg.report.tables import METRIC_LABELS

RESULTS = REPOSITORY / "results"
#: What starts from the same ImageNet weights as ours on photographs.
RIVALS = ("unet", "fpn", "segformer")
#: A rival that gives classes up in as few steps as the comparison has, for longer.
LONG_UNET = "full/runs/unet_scrapsim_allshots_s0_2000-steps.json"
#: What `making.inference` times, and how it is called here.
#: U-Net is not exported for frames made smaller.
INPUTS = {("image", 1): "an image", ("image", 16): "16 images at once",
          ("frame, 768 px", 1): "768 x 432 pixels", ("frame, tiles", 1): "a 4K frame in tiles",
          ("frame, tiles", 16): "a 4K frame in tiles, 16 at once"}  # fmt: skip


class Targets(list[tuple[str, str, str, str, str]]):
    """Rows of the table: where it comes from, what, the target, the number, whether it is met."""

    def add(
        self,
        source: str,
        what: str,
        value: float,
        *,
        least: float | None = None,
        most: float | None = None,
        form: str = "{:g}",
    ) -> None:
        """Add what was to be at least or at most a number."""
        aim, words = (most, "at most") if least is None else (least, "at least")
        met = value <= aim if least is None else value >= aim
        cells = (f"{words} {form.format(aim)}", form.format(value), "yes" if met else "no")
        self.append((source, what, *cells))


def speed(rows: Targets, bench: Path) -> None:
    """Predicting and starting, on two CPU cores."""
    source = "bench/inference.csv"
    table = pd.read_csv(bench / "inference.csv")
    ms = table.set_index(["model", "runtime", "input", "batch"])["ms"]
    for case, said in INPUTS.items():
        ours, form = ms["scrapseg", "onnxruntime", *case], {"most": 0.5, "form": "{:.2f}"}
        rows.add(
            source,
            f"{said}: ours by ONNX Runtime, of U-Net's time by torch",
            ours / ms["unet", "torch", *case],
            **form,
        )
        if (unet := ("unet", "onnxruntime", *case)) in ms.index:
            rows.add(
                source, f"{said}: of U-Net's time, both by ONNX Runtime", ours / ms[unet], **form
            )
    rates = {"frame to objects": "made smaller, to a list of objects", "frame, tiles": "in tiles"}
    for case, said in rates.items():
        rate = 1000 / ms["scrapseg", "onnxruntime", case, 1]
        rows.add(source, f"4K frames a second, {said}", rate, least=2.0, form="{:.2g}")
    start = pd.read_csv(bench / "start.csv", index_col="start")["seconds"]
    aims = {"import scrapseg": 0.3, "python -m scrapseg --help": 0.5, "first prediction": 4.0}
    for name, aim in aims.items():
        rows.add("bench/start.csv", f"{name}, seconds", start[name], most=aim, form="{:.2f}")


def times(rows: Targets, laptop: Path) -> None:
    """`make apply` on fifty images, from the command to the report, and `make reproduce`."""
    told = json.loads((laptop / "times.json").read_text())
    for key, said in (("apply_s", "8 with labels"), ("apply_unlabelled_s", "without labels")):
        if key in told:
            what = f"make apply, 50 images, {said}: minutes"
            rows.add("laptop/times.json", what, told[key] / 60, most=5, form="{:.1f}")
    if "reproduce_first_s" in told:
        minutes = told["reproduce_first_s"] / 60
        what = "make reproduce in a fresh clone, after make env: minutes"
        rows.add("laptop/times.json", what, minutes, most=20, form="{:.1f}")


def sturdiness(rows: Targets, bench: Path) -> None:
    """Thousands of images, kills, and files that are not to be trusted."""
    evaluated = pd.read_csv(bench / "evaluate.csv").sort_values("megapixels")
    for of in evaluated.groupby(["what", "side"], sort=False).tail(1).itertuples():
        rows.add("bench/evaluate.csv",
                 f"{of.what}: {of.megapixels:,} megapixels, {of.side} a side, peak in MB",
                 of.peak_mb, most=1000, form="{:.0f}")  # fmt: skip
    scale = pd.read_csv(bench / "scale.csv").set_index(["what", "size"])
    peaks = scale.loc["apply --no-adapt", "peak_mb"]
    rows.add("bench/scale.csv", "make apply, 5,000 images: peak of that with 500",
             peaks[5000] / peaks[500], most=1.1, form="{:.2f}")  # fmt: skip
    fuzz = pd.read_csv(bench / "fuzz.csv")
    rows.add("bench/fuzz.csv", f"changed files given to each of {len(fuzz)} readers",
             fuzz["examples"].min(), least=10_000)  # fmt: skip
    rows.add("bench/fuzz.csv", "of those, faults", fuzz["faults"].sum(), most=0)
    kills = pd.read_csv(bench / "torture.csv")
    lost = kills["half_files"].sum() + (~kills["ends_well"]).sum() + (kills["same"] == False).sum()  # noqa: E712
    compared = int(kills["same"].notna().sum())
    rows.add(
        "bench/torture.csv", f"kills of each of {len(kills)} jobs", kills["kills"].min(), least=20
    )
    rows.add("bench/torture.csv", "of those, that did not go on, left half a file or "
             f"(of {compared} jobs) ended otherwise than undisturbed", lost, most=0)  # fmt: skip
    film = pd.read_csv(bench / "watch.csv").groupby("masks")["once"]
    for masks, by in (("true", "true masks"), ("model", "the model that comes along")):
        rows.add("bench/watch.csv", f"objects of a film counted once, by {by}, in the worst film",
                 film.min()[masks], least=1.0, form="{:.2f}")  # fmt: skip


def promises(rows: Targets, tables: Path) -> None:
    """Shares promised to be missed at most: over halvings of scenes, and of the shipped card."""
    source, table = "full/tables/promise.csv", pd.read_csv(tables / "promise.csv")
    table = table.set_index(["calibrated_on", "used_on", "promise", "alpha"])["missed"]
    for on, used, said in (
        ("all", "all", "mean over halvings"),
        ("val", "test", "the card, once"),
    ):
        for of in ("objects", "copper"):
            what = f"{of} missed where 0.1 is promised, {said}"
            rows.add(source, what, table[on, used, of, 0.1], most=0.1, form="{:.3f}")


def adaptation(rows: Targets, tables: Path) -> None:
    """The model that `make apply` adapts without labels, in its 5 minutes and in more, on test."""
    source, table = "real/tables/adaptation.csv", pd.read_csv(tables / "adaptation.csv")
    table = table[table["split"] == "test"].pivot_table("value", "arm", "metric")
    before = table.loc["renders", "scrapsim/ap"]
    for arm, said in (("shipped-200", "5 minutes"), ("shipped", "8 minutes")):
        ours = table.loc[arm]
        bounds = {"composites, AP": (ours["composite/ap"], 0.5)}
        for name in ("motor", "cable", "rubber", "wood"):
            bounds[f"composites, AP of {name}"] = ours[f"composite/ap/{name}"], 0.35
        bounds["yard, image AUROC"] = ours["yard/auroc/mean"], 0.9
        bounds["yard, motors and copper flagged"] = ours["yard/flagged"], 0.6
        for what, (value, least) in bounds.items():
            rows.add(source, f"adapted in {said}: {what}", value, least=least, form="{:.3f}")
        what = f"adapted in {said}: yard, false objects an image of steel"
        rows.add(source, what, ours["yard/false_objects"], most=1.0, form="{:.2f}")
        lost = 100 * (before - ours["scrapsim/ap"])
        what = f"adapted in {said}: points of AP lost on ScrapSim"
        rows.add(source, what, lost, most=2.0, form="{:.1f}")


def few_labels(rows: Targets, tables: Path) -> None:
    """`make apply` with labels against SegFormer, at the same minutes, and against the model that
    comes along, without labels: means over seeds."""
    table = pd.read_csv(tables / "few_labels.csv")
    mean = table.pivot_table("miou", ["dataset", "labels", "minutes"], "method")
    for (name, labels, minutes), row in mean.iterrows():
        said = f"{name}, {labels} labels, {minutes:g} minutes: points of mIoU over"
        for other, told, least in (("segformer", "SegFormer", 2.0), ("no labels", "no labels", 0)):
            if name == "scrapsim" and other == "segformer":
                continue  # ours learned from its train split: no contest
            ahead = 100 * (row["scrapseg"] - row[other])
            source = "real/tables/few_labels.csv"
            rows.add(source, f"{said} {told}", ahead, least=least, form="{:.1f}")


def labels_on_steel(rows: Targets, tables: Path) -> None:
    """The same on a yard's photographs, most of them without labels, as `make apply` does it."""
    source, table = "real/tables/steel_labels.csv", pd.read_csv(tables / "steel_labels.csv")
    mean, labels = table.groupby("way")[["miou", "false_objects"]].mean(), table["labels"].iloc[0]
    said = f"{labels} labels on steel, {table['minutes'].iloc[0]:g} minutes"
    ahead = 100 * (mean.loc["both", "miou"] - mean.loc["segformer", "miou"])
    what = f"{said}: points of mIoU over SegFormer"
    rows.add(source, what, ahead, least=0, form="{:.1f}")
    what = f"{said}: false objects an image of steel"
    rows.add(source, what, mean.loc["both", "false_objects"], most=1.0, form="{:.2f}")


def photographs(rows: Targets, tables: Path) -> None:
    """Ours less the best rival from the same weights at the same steps, on test."""
    table = pd.read_csv(tables / "photo_paired.csv", dtype={"shots": str})
    table = table[(table["metric"] == "miou") & table["scrapseg minus"].isin(RIVALS)]
    few = table[table["shots"].isin(["1", "4"])]
    for (name, shots), of in few.groupby(["dataset", "shots"], sort=False):
        row = of.loc[of["value"].idxmin()]
        labels = "1 label" if shots == "1" else f"{shots} labels"
        rival = method(row["scrapseg minus"]).label
        over = f"the best of {len(of)} rivals ({rival})"
        over = over if len(of) > 1 else f"{rival}, the one rival run"
        said = f"{name}, {labels} a class, {row['seeds']} seeds: points of mIoU over {over}"
        rows.add("real/tables/photo_paired.csv", said, 100 * row["value"], least=0, form="{:.1f}")


def words(rows: Targets, tables: Path) -> None:
    """What is left of a class's words once ours is trained on the others: means over classes."""
    source, table = "full/tables/words_kept.csv", pd.read_csv(tables / "words_kept.csv")
    means = table.groupby(["split", "kind", "share"])[["ap", "miou_others"]].mean()
    table, mean = table[table["split"] == "test"], means.loc["test"]
    before, after = mean.loc[("weights", 0.0)], mean.loc[("weights", 1.0)]
    chosen = table[table["chosen"]][["ap", "miou_others"]].mean()
    lost = 1 - chosen["ap"] / before["ap"]
    kind = table.loc[table["chosen"], "kind"].iloc[0]
    what = f"AP by words alone, share lost, of what val chose ({kind})"
    what += ", by construction" if kind == "each its own" else ""
    rows.add(source, what, lost, most=0.25, form="{:.2f}")
    cost = 100 * (after["miou_others"] - chosen["miou_others"])
    rows.add(source, "points of the other classes' mIoU for it", cost, most=1.0, form="{:.1f}")
    on_val = means.loc["val", "weights"]  # those of one model
    cheap = on_val["miou_others"] >= on_val["miou_others"].loc[1.0] - COST
    share = on_val.loc[cheap, "ap"].idxmax()
    lost = 1 - mean["ap"]["weights", share] / before["ap"]
    what = "AP by words alone, share lost, of one model"
    what += f" ({100 * share:.0f} % of the trained weights, as val chose)"
    rows.add(source, what, lost, most=0.25, form="{:.2f}")
    cost = 100 * (after["miou_others"] - mean["miou_others"]["weights", share])
    what = "points of the other classes' mIoU for that, on test"
    rows.add(source, what, cost, most=1.0, form="{:.1f}")


def comparison(rows: Targets, tables: Path) -> None:
    """Ours trained for longest, as it is and with more scenes and a closer look; lower ends of
    leads at equal steps."""
    longer = pd.read_csv(tables / "long.csv", dtype={"shots": str})
    ours = longer[(longer["method"] == "scrapseg") & (longer["shots"] == "all")]
    plain = ours.sort_values("steps").iloc[-1]
    looks = pd.read_csv(tables / "magnified.csv")
    best = looks[looks["split"] == "test"].iloc[-1]
    aims = {"miou_impurity": 0.7, "miou": 0.73, "ap": 0.9, "object_recall_1fa": 0.75}
    for metric, aim in aims.items():
        what = f"ours, {plain['steps']} steps: {METRIC_LABELS[metric]}"
        rows.add("full/tables/long.csv", what, plain[metric], least=aim, form="{:.3f}")
    for metric, aim in aims.items():
        what = f"ours, the same with more scenes, seen at {best['scales']} (one seed): "
        what += METRIC_LABELS[metric]
        rows.add("full/tables/magnified.csv", what, best[metric], least=aim, form="{:.3f}")
    table = pd.read_csv(tables / "labels_paired.csv", dtype={"shots": str})
    table = table[table["metric"] == "miou_impurity"].set_index(["scrapseg minus", "shots"])["lo"]
    leads = {"segformer-aligned": ("4", "16", "all"), "scrapseg-frozen": ("1", "4", "16")}
    for name, labels in leads.items():
        for shots in labels:
            what = f"points of impurity mIoU over {method(name).label}, labels {shots}, steps of "
            what += "the comparison: lower end of the 95 % interval, before any correction"
            low = 100 * table[name, shots]
            rows.add("full/tables/labels_paired.csv", what, low, least=0, form="{:.2f}")
    table = pd.read_csv(tables / "long_paired.csv", dtype={"shots": str})
    aimed = [k in leads.get(m, ()) for m, k in zip(table["scrapseg minus"], table["shots"])]
    table = table[aimed].query("metric == 'miou_impurity'")
    for row in table.itertuples():
        label = method(table.loc[row.Index, "scrapseg minus"]).label
        what = f"points of impurity mIoU over {label}, labels {row.shots}, {row.steps} steps: "
        what += "lower end of the 95 % interval, before any correction"
        rows.add("full/tables/long_paired.csv", what, 100 * row.lo, least=0, form="{:.2f}")


def training(rows: Targets, results: Path) -> None:
    """A step's cost with the tower's first blocks held, at no loss, and a rival that collapses."""
    step_s = pd.read_csv(results / "bench/speed.csv", index_col="method")["step_s"]
    what = "a training step with the tower's first third held, of its time without"
    ratio = step_s["scrapseg, early-held"] / step_s["scrapseg"]
    rows.add("bench/speed.csv", what, ratio, most=0.75, form="{:.2f}")
    tables = results / "full/tables"
    change = pd.read_csv(tables / "ablation.csv", index_col="tag")["miou_impurity_diff"]
    what = "points of impurity mIoU on val that this changes"
    source = "full/tables/ablation.csv"
    rows.add(source, what, 100 * change["early-held"], least=0, form="{:.1f}")
    classes = pd.read_csv(tables / "per_class.csv", index_col="method").loc["unet", list(SLUGS[1:])]
    what = "classes that U-Net gives up (IoU below 5 %)"
    rows.add("full/tables/per_class.csv", what, int((classes.astype(float) < 0.05).sum()), most=0)
    longer = read_run(results / LONG_UNET)
    given_up = sum(longer.metrics[f"iou/{slug}"] < 0.05 for slug in SLUGS[1:])
    rows.add(LONG_UNET, f"{what}, {longer.config['steps']} steps", given_up, most=0)


def table(results: Path = RESULTS) -> pd.DataFrame:
    """All of them; columns source (below results/), what, target, measured, met (yes, no)."""
    rows = Targets()
    adaptation(rows, results / "real/tables")
    few_labels(rows, results / "real/tables")
    labels_on_steel(rows, results / "real/tables")
    photographs(rows, results / "real/tables")
    speed(rows, results / "bench")
    times(rows, results / "laptop")
    promises(rows, results / "full/tables")
    comparison(rows, results / "full/tables")
    words(rows, results / "full/tables")
    training(rows, results)
    sturdiness(rows, results / "bench")
    return pd.DataFrame(rows, columns=["source", "what", "target", "measured", "met"])


if __name__ == "__main__":
    atomic_write(RESULTS / "bench/targets.csv", table().to_csv(index=False))
