"""Tables computed from `metrics.csv` alone, for any data set, and those that count the data.

`TABLES` maps a table's name to the function that makes it. Values are fractions of 1 (costs in
their own units), means over seeds. Tables of photographs have names with `photo`; there an
*impurity* in the metrics' names is any class but the normal one, a *shot* a labelled photograph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from scrapseg.data.base import SPLITS
from scrapseg.data.classes import SLUGS, STEEL
from scrapseg.data.scrapsim import ScrapSim, composition
from scrapseg.data.shots import few_shot_ids
from scrapseg.experiments import records
from scrapseg.experiments.methods import METHODS, method_label
from scrapseg.experiments.studies import ABLATIONS, run_name
from scrapseg.metrics.failures import boundary_ceiling

DATASET = "scrapsim"
OURS = "scrapseg"
#: The strongest of the networks from ImageNet, on val and with every number of labels.
RIVAL = "segformer"
#: Ends the names of runs that take the same steps at every number of labels.
EVEN = "even"
#: Likewise, of runs that start from a control of the alignment, and that which is aligned to text.
CONTROL, TO_TEXT = "control", "scrapseg-to-text"
#: Pairs of starts that are compared beside each start with that.
CROSSED = (("scrapseg-to-text-without", "scrapseg-to-numbers-without"),
           ("scrapseg-to-numbers", "scrapseg-to-numbers-without"),
           ("scrapseg-to-numbers", "scrapseg-no-words"),
           ("scrapseg-to-numbers-without", "scrapseg-imagenet"))  # fmt: skip
#: Classes by whether the alignment saw things made after them; rubber it knew as a material.
UNTAUGHT = ("spray_can", "rubber")
TAUGHT = {"taught": tuple(s for s in SLUGS[1:] if s not in UNTAUGHT), "untaught": UNTAUGHT}
#: What ours is on photographs: it begins with the model that was trained on renders.
OURS_THERE = "scrapseg-scrapsim"
REFERENCE = Path(__file__).with_name("reference.yaml")

METRIC_LABELS = {
    "ap": "pixel AP",
    "auroc": "pixel AUROC",
    "f1_max": "F1-max",
    "aupro_30": "AUPRO@0.3",
    "miou_binary": "binary mIoU",
    "miou": "mIoU",
    "miou_impurity": "impurity mIoU",
    "object_recall_1fa": "object recall at 1 FA/image",
    "image_auroc": "image AUROC",
    "train_s": "training time (s)",
    "ms_per_image": "time per image (ms)",
    "params_m": "parameters (millions)",
}
QUALITY = tuple(m for m in METRIC_LABELS if m not in ("train_s", "ms_per_image", "params_m"))
COSTS = ("train_s", "ms_per_image", "params_m")
HEADLINE = ("ap", "miou_binary", "miou", "miou_impurity", "object_recall_1fa")
WITH_INTERVAL = ("ap", "miou_binary", "miou", "miou_impurity")
SIZES = ("small", "medium", "large")

#: Backbone -> its image encoder in words; any other is open_clip's name and speaks for itself.
ENCODERS = {"pocket": "EfficientNet-lite0 at 384 px"}


# ------------------------------------------------------------------------------ choosing rows


def method_order(slugs: Iterable[str]) -> list[str]:
    """The methods in the order of every table and legend: ours first, unknown ones last by name."""
    known = list(METHODS)
    return sorted(set(slugs), key=lambda s: (known.index(s) if s in known else len(known), s))


def shots_order(shots: Iterable) -> list[str]:
    """Shot counts in order, as text, "all" last."""
    return sorted({str(s) for s in shots}, key=lambda s: math.inf if s == "all" else float(s))


def main_runs(metrics: pd.DataFrame, dataset: str = DATASET, tag: str = "") -> pd.DataFrame:
    """Rows of one dataset without ablations, or those with a tag, `shots` as text.

    A run that differs from its method's usual settings carries a tag at the end of its name
    (`RunRecord.name`); it must not be averaged with the others.
    """
    rows = metrics[metrics["dataset"] == dataset].assign(shots=lambda d: d["shots"].astype(str))
    of = zip(*(rows[column] for column in ("method", "dataset", "shots", "seed", "backbone")))
    return rows[rows["run"] == np.array([run_name(*one, tag) for one in of], dtype=object)]


def all_labels(metrics: pd.DataFrame) -> pd.DataFrame:
    """Main runs with all labels; the quality of a method that has several seeds (`EVEN`) is that of
    those, while what it costs stays that of its main run, which had the machine to itself."""
    main, even = (main_runs(metrics, tag=t).query("shots == 'all'") for t in ("", EVEN))
    even = even[even["method"].isin(main["method"]) & ~even["metric"].isin(COSTS)]
    seeded = main["method"].isin(even["method"]) & ~main["metric"].isin(COSTS)
    return pd.concat([main[~seeded], even])


#: Column -> the order of its values.
ORDERS = {"method": method_order, "shots": shots_order, "steps": shots_order}


def means(rows: pd.DataFrame, keys: list[str], names: Sequence[str]) -> pd.DataFrame:
    """Means over seeds: a row for each combination of `keys`, in the order of every table.

    Columns are the keys, as text, the method's label after the first, which is the method, seeds
    (how many) and the metrics in `names`, nan where there is no value.
    """
    kinds = {k: pd.Categorical(rows[k], ORDERS[k](rows[k])) for k in keys if k in ORDERS}
    rows = rows.assign(**kinds)
    table = rows.pivot_table("value", keys, "metric", observed=True).reindex(columns=list(names))
    table.insert(0, "seeds", rows.groupby(keys, observed=True)["seed"].nunique())
    table = table.rename_axis(columns=None).reset_index().astype(dict.fromkeys(keys, str))
    table.insert(1, "label", table["method"].map(method_label))
    return table


def mean_over_seeds(metrics: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """One row per method with all labels (`all_labels`): method, label, family, seeds, metrics."""
    return means(all_labels(metrics), ["method", "family"], names)


# ------------------------------------------------------------------------------------- tables


def methods(metrics: pd.DataFrame) -> pd.DataFrame:
    """All methods trained on everything, all common metrics, and what they cost."""
    return mean_over_seeds(metrics, [*QUALITY, *COSTS])


def intervals(metrics: pd.DataFrame) -> pd.DataFrame:
    """95 % intervals over scenes with all labels; bounds are means over seeds."""
    columns = [f"{m}{end}" for m in WITH_INTERVAL for end in ("", "_lo", "_hi")]
    return mean_over_seeds(metrics, columns)


def fewshot(metrics: pd.DataFrame) -> pd.DataFrame:
    """Quality by labelled scenes per impurity class."""
    names = ("ap", "miou_impurity", "miou")
    return means(main_runs(metrics), ["method", "family", "shots"], names)


def per_class(metrics: pd.DataFrame) -> pd.DataFrame:
    """IoU of every class with all labels, for the methods that name classes."""
    table = mean_over_seeds(metrics, [f"iou/{slug}" for slug in SLUGS])
    table.columns = [c.removeprefix("iou/") for c in table.columns]
    return table[table[list(SLUGS)].notna().any(axis=1)].reset_index(drop=True)


def photo_sets(metrics: pd.DataFrame) -> list[str]:
    """The data sets of photographs that have runs."""
    return sorted(set(metrics["dataset"]) - {DATASET})


def photo_classes(metrics: pd.DataFrame) -> pd.DataFrame:
    """IoU of every class of every data set of photographs, by method and shots.

    Returns:
        Columns dataset, method, label, shots, seeds, class, iou (mean over seeds) and lowest (of
        the seeds): a class that a method gave up on shows there.
    """
    keys, sets = ["dataset", "method", "shots", "class"], photo_sets(metrics)
    rows = pd.concat([metrics[:0], *(main_runs(metrics, name) for name in sets)])
    rows = rows[rows["metric"].str.startswith("iou/")]
    rows = rows.assign(**{"class": rows["metric"].str.removeprefix("iou/")})
    ends = {"seeds": "size", "iou": "mean", "lowest": "min"}
    table = rows.groupby(keys, sort=False)["value"].agg(**ends).reset_index()
    table.insert(2, "label", table["method"].map(label_there))
    for key in ("method", "shots"):
        table[key] = pd.Categorical(table[key], ORDERS[key](table[key]))
    table = table.sort_values(["dataset", "method", "shots"], kind="stable", ignore_index=True)
    order = ["dataset", "method", "label", "shots", "seeds", "class", "iou", "lowest"]
    return table[order].astype({"method": str, "shots": str})


#: Names of ours by what it starts from, where that is compared.
STARTS = {"scrapseg": "ours, from aligned", "scrapseg-imagenet": "ours, from ImageNet"}


def label_there(method: str) -> str:
    """A method's name among those on photographs."""
    return STARTS.get(method, method_label(method))


#: What the table from renders to all labels shows: ours, from two starts, and SegFormer.
CHAIN = (OURS_THERE, "scrapseg-adapted", "segformer")


def chain(photographs: pd.DataFrame, metric: str = "miou") -> pd.DataFrame:
    """From renders to all labels: a row for each of `CHAIN` on each data set.

    Args:
        photographs: `scene_tables.photographs`.

    Returns:
        Texts, indexed by dataset and label: value and interval in per cent, by number of labels; 0
        is what comes before any, renders alone or adapted to photographs without labels.
    """
    rows = photographs[(photographs["metric"] == metric) & photographs["method"].isin(CHAIN)]
    cells = [
        f"{100 * r.value:.1f} ({100 * r.lo:.0f}–{100 * r.hi:.0f})" if r.value == r.value else ""
        for r in rows.itertuples()
    ]
    rows = rows.assign(cell=cells, shots=rows["shots"].replace({"8": "8–16", "16": "8–16"}))
    table = rows.pivot(index=["dataset", "label"], columns="shots", values="cell").fillna("–")
    order = [s for s in ("0", "1", "4", "8–16", "all") if s in table]
    names = [method_label(m) for m in CHAIN]
    return table[order].reindex(
        [(d, n) for d in sorted(set(rows["dataset"])) for n in names if (d, n) in table.index]
    )


def recall_by_size(metrics: pd.DataFrame) -> pd.DataFrame:
    """Object recall at one false alarm per image, for small, medium and large objects."""
    table = mean_over_seeds(
        metrics, ["object_recall_1fa", *(f"object_recall_1fa/{s}" for s in SIZES)]
    )
    table.columns = [c.removeprefix("object_recall_1fa/") for c in table.columns]
    return table.rename(columns={"object_recall_1fa": "all"})


def ablation(metrics: pd.DataFrame) -> pd.DataFrame:
    """One thing changed at a time, scored on val: means over seeds, and less those of ours.

    The difference is the mean over the seeds that both have; lo and hi are the worst and the best
    seed. No rows where no ablation was run.
    """
    names = ("ap", "miou_impurity", "miou", "object_recall_1fa")
    out, ours = [], None
    for tag, change in ABLATIONS.items():  # ours is the first
        rows = metrics[metrics["run"].str.endswith(f"_{tag}")]
        if rows.empty:
            continue
        of_tag = rows.pivot(index="seed", columns="metric", values="value")[list(names)]
        ours = of_tag if tag == "ours" else ours
        row = {"group": change.question, "label": change.label, "tag": tag, "seeds": len(of_tag)}
        row |= of_tag.mean()
        if ours is not None:
            gap = (of_tag - ours).dropna()[["ap", "miou_impurity"]]
            for name in gap:
                row |= {f"{name}_diff": gap[name].mean()}
                row |= {f"{name}_diff_lo": gap[name].min(), f"{name}_diff_hi": gap[name].max()}
        out.append(row)
    ends = [f"{m}_diff{end}" for m in names[:2] for end in ("", "_lo", "_hi")]
    return pd.DataFrame(out, columns=["group", "label", "tag", "seeds", *names, *ends])


def class_by_words(metrics: pd.DataFrame) -> pd.DataFrame:
    """AP of a class that had no labels in training, found by its prompt alone.

    Columns: class, prior (its share of the pixels: a random score), before (any scrap), words
    (trained without the class), named (likewise, the class named among the others), supervised
    (trained with it, the same steps). Rows are the classes for which these runs exist; means over
    seeds.
    """
    tag = metrics["run"].str.extract(r"_(without-.+|with-all|zero-shot)$")[0]
    mean = metrics.groupby([metrics["method"], tag, "metric"])["value"].mean()
    out = []
    for slug in SLUGS[1:]:
        # Run names have no underscore within a part, see `RunRecord.name`.
        without, ap = f"without-{slug.replace('_', '-')}", f"class_ap/{slug}"
        keys = [(OURS, without, f"class_prior/{slug}"), (OURS, "zero-shot", ap)]
        keys += [(m, without, ap) for m in (OURS, "scrapseg-named")] + [(OURS, "with-all", ap)]
        if all(key in mean.index for key in keys):
            out.append((slug, *mean.loc[keys]))
    return pd.DataFrame(out, columns=["class", "prior", "before", "words", "named", "supervised"])


def longer(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rows of runs that were trained for longer than the comparison's, and how many `steps`."""
    steps = metrics["run"].str.extract(r"_(\d+)-steps$")[0]
    return metrics.assign(steps=steps).dropna(subset=["steps"]).astype({"shots": str})


def long(metrics: pd.DataFrame) -> pd.DataFrame:
    """Runs that were trained for longer than the comparison's: means over seeds.

    Columns: method, label, shots, steps, seeds, the headline metrics, recall by size, IoU by class,
    and train_s. No rows where no such run was made.
    """
    names = [*HEADLINE, *(f"object_recall_1fa/{s}" for s in SIZES)]
    names += [*(f"iou/{s}" for s in SLUGS), "train_s"]
    return means(longer(metrics), ["method", "shots", "steps"], names).astype({"steps": int})


def reference(metrics: pd.DataFrame) -> pd.DataFrame:
    """What the reference paper is said to report (`REFERENCE`), the same of ours, what differs."""
    mean = mean_over_seeds(metrics, QUALITY).set_index("method")
    by_seed = all_labels(metrics).pivot_table("value", ["metric", "seed"], "method")
    untrained = metrics[metrics["run"].str.endswith("_zero-shot")]
    untrained = untrained.pivot_table("value", "method", "metric")
    runs = main_runs(metrics)
    names = sorted(set(runs[runs["method"] == OURS]["backbone"]))
    encoder = " or ".join(ENCODERS.get(name, name) for name in names) or "none yet"
    rows = []
    for entry in yaml.safe_load(REFERENCE.read_text(encoding="utf-8")):
        of = (untrained if entry.get("labels") == 0 else mean).get(entry["metric"], {})
        ours = of.get(entry["method"], math.nan)
        if "minus" in entry:
            pair = by_seed.reindex(columns=[entry["method"], entry["minus"]]).dropna()
            ours = pair.diff(axis=1, periods=-1).iloc[:, 0].groupby("metric").mean()
            ours = ours.get(entry["metric"], math.nan)  # over the seeds that both have
        told = [entry[k] for k in ("quantity", "source", "bound", "value", "metric")]
        rows.append((*told, ours, entry["differs"].format(encoder=encoder)))
    columns = ["quantity", "source", "bound", "theirs", "metric", "ours", "differs"]
    return pd.DataFrame(rows, columns=columns)


MAKERS = (methods, intervals, fewshot, per_class, recall_by_size, reference, ablation)
MAKERS += (class_by_words, long, photo_classes)
TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {m.__name__: m for m in MAKERS}


def has_photographs(results_dir: Path | str) -> bool:
    """Whether a results folder holds a run of ours on photographs with all labels."""
    if not (Path(results_dir) / "metrics.csv").is_file():
        return False
    rows = records.read_metrics(results_dir)
    rows = rows[(rows["dataset"] != DATASET) & (rows["method"] == OURS_THERE)]
    return bool((rows["shots"] == "all").any())


def study_of(results_dir: Path) -> Path:
    """Where the larger study lies that goes with a results folder.

    For the laptop profile that is profile `full`, if it has results; another one has its own.
    """
    full = results_dir.parent / "full"
    found = results_dir.name == "laptop" and (full / "metrics.csv").is_file()
    return full if found else results_dir


def real_of(results_dir: Path) -> Path | None:
    """The results on photographs beside a results folder, if there are any."""
    folder = results_dir.parent / "real"
    return folder if has_photographs(folder) else None


def of_data_sets(names: Iterable[str], metrics: pd.DataFrame) -> list[str]:
    """Those of some tables whose data set has rows."""
    there = set(metrics["dataset"]) == set(photo_sets(metrics)) != set()
    return [name for name in names if name.startswith("photo") == there]


def dataset_counts(datasets: Iterable) -> pd.DataFrame:
    """Per split: scenes, images, images that hold an impurity, instances, share of their pixels.

    Args:
        datasets: splits of `data.ScrapSim`.
    """
    rows = []
    for data in datasets:
        table = composition([data]).set_index("class")
        mixed = sum(any(k["pixels"] > 0 for k in data.meta[i]["instances"]) for i in data.ids)
        rows.append(
            {
                "split": data.split,
                "scenes": len({data.meta[i]["scene"] for i in data.ids}),
                "images": len(data.ids),
                "images_with_impurities": mixed,
                "images_without": len(data.ids) - mixed,
                "instances": int(table["instances"].sum()),
                "impurity_pixel_share": 1 - table.loc[STEEL.slug, "pixel_share"],
            }
        )
    return pd.DataFrame(rows)


def with_images(bands: pd.DataFrame, runs: pd.DataFrame, data_dir: Path | str) -> pd.DataFrame:
    """With images, how many of ScrapSim's have labels, val's too: means over the runs' seeds, which
    draw other scenes."""
    train, val = (ScrapSim(data_dir, split, verify=False) for split in ("train", "val"))
    of = runs[["shots", "seed"]].drop_duplicates()
    kept = [few_shot_ids(train, k if k == "all" else int(k), seed) for k, seed in of.to_numpy()]
    count = of.assign(n=[len(val) + len(ids) for ids in kept]).groupby("shots")["n"].mean()
    return bands.assign(images=bands["shots"].map(count))


def data_tables(data_dir: Path | str) -> dict[str, pd.DataFrame]:
    """The tables of the dataset itself: `composition` (by class), `dataset` (by split), `outlines`.

    The last is what the true test masks score when their outlines are a pixel off, see
    `failures.boundary_ceiling`.

    Raises:
        DataError: see `data.ScrapSim`.
    """
    splits = [ScrapSim(data_dir, split) for split in SPLITS]
    masks = np.stack([sample.label for sample in splits[SPLITS.index("test")]])
    return {
        "composition": composition(splits),
        "dataset": dataset_counts(splits),
        "outlines": boundary_ceiling(masks)[["outline", "miou", "miou_impurity"]],
    }
