"""What was aimed at: in step with what was measured, and met only where it is."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

from making import targets
from scrapseg.files import REPOSITORY

RESULTS = REPOSITORY / "results"


def test_the_committed_table_is_that_of_the_committed_measurements():
    committed = pd.read_csv(RESULTS / "bench/targets.csv", dtype=str)
    pd.testing.assert_frame_equal(committed, targets.table().astype(str), check_dtype=False)


@pytest.mark.parametrize(
    ("options", "said", "met"),
    [
        ({"least": 2.0}, "at least 2", "no"),
        ({"most": 2.0}, "at most 2", "yes"),
        ({"least": 1.9}, "at least 1.9", "yes"),
        ({"most": 1.9}, "at most 1.9", "yes"),
    ],
)
def test_met_is_decided_by_the_number_itself_not_as_it_is_shown(options, said, met):
    rows = targets.Targets()
    rows.add("x.csv", "a thing", 1.9, **options)
    assert rows == [("x.csv", "a thing", said, "1.9", met)]
    rows.add("x.csv", "almost", 0.996, least=1.0, form="{:.2f}")
    assert rows[-1][2:] == ("at least 1.00", "1.00", "no")


def test_a_job_that_lost_something_is_a_miss(tmp_path):
    for name in ("bench", "laptop", "real/tables", "full/tables"):
        shutil.copytree(RESULTS / name, tmp_path / name)
    (tmp_path / targets.LONG_UNET).parent.mkdir()
    shutil.copy(RESULTS / targets.LONG_UNET, tmp_path / targets.LONG_UNET)
    path = tmp_path / "bench/torture.csv"
    kills = pd.read_csv(path)
    kills.loc[0, "same"] = False
    kills.to_csv(path, index=False)
    table = targets.table(tmp_path).set_index("what")
    (what,) = (w for w in table.index if w.startswith("of those, that did not go on"))
    row = table.loc[what]
    assert (row["measured"], row["met"]) == ("1", "no")


@pytest.mark.parametrize(("rival", "said"), [("fpn", "FPN"), ("unet", "U-Net")])
def test_on_photographs_the_rival_is_the_best_of_the_same_weights(tmp_path, rival, said):
    table = pd.read_csv(RESULTS / "real/tables/photo_paired.csv", dtype={"shots": str})
    of = (table["dataset"] == "cables") & (table["shots"] == "4") & (table["metric"] == "miou")
    assert (of & (table["scrapseg minus"] == rival)).sum() == 1
    table.loc[of & (table["scrapseg minus"] == rival), "value"] = -0.05
    table.loc[of & (table["scrapseg minus"] == "segformer-aligned"), "value"] = -0.5  # a control
    table.to_csv(tmp_path / "photo_paired.csv", index=False)
    targets.photographs(rows := targets.Targets(), tmp_path)
    (row,) = (r for r in rows if r[1].startswith("cables, 4 labels"))
    assert row[1].endswith(f"3 seeds: points of mIoU over the best of 3 rivals ({said})") and row[
        3:
    ] == ("-5.0", "no")


def test_a_lead_counts_by_the_lower_end_of_its_interval_and_the_best_is_as_val_chose(tmp_path):
    columns = ["shots", "scrapseg minus", "metric", "value", "lo"]
    pairs = [("segformer-aligned", k) for k in ("4", "16", "all")]
    pairs += [("scrapseg-frozen", k) for k in ("1", "4", "16")]
    leads = pd.DataFrame(
        [(k, name, "miou_impurity", 0.02, 0.01 if k == "16" else -0.001) for name, k in pairs],
        columns=columns,
    )
    leads.to_csv(tmp_path / "labels_paired.csv", index=False)
    longer = {"method": ["scrapseg", "segformer", "scrapseg", "scrapseg"]}
    longer |= {"shots": ["all", "all", "all", "4"], "steps": [800, 900, 500, 1000]}
    longer |= {"miou_impurity": [0.7, 0.9, 0.8, 0.9], "miou": 0.5, "ap": 0.95}
    pd.DataFrame(longer | {"object_recall_1fa": 0.1}).to_csv(tmp_path / "long.csv", index=False)
    looks = {"split": ["val", "test", "test"], "scales": ["2", "1", "3"]}
    looks |= {"miou_impurity": [0.7, 0.8, 0.7], "miou": 0.5, "ap": 0.95, "object_recall_1fa": 0.1}
    pd.DataFrame(looks).to_csv(tmp_path / "magnified.csv", index=False)
    more = leads[leads["scrapseg minus"] == "segformer-aligned"].assign(steps=[5, 6, 7])
    frozen = {"scrapseg minus": "scrapseg-frozen", "shots": "all"}  # of no aim
    more = pd.concat([more, more.tail(1).assign(**frozen)])
    more.to_csv(tmp_path / "long_paired.csv", index=False)
    targets.comparison(rows := targets.Targets(), tmp_path)
    met = {row[1].split(":")[0]: row[4] for row in rows if "lower end" in row[1]}
    later = {what: met.pop(what) for what in list(met) if what.endswith(" steps")}
    assert list(later.values()) == ["no", "yes", "no"]
    assert list(later)[1].endswith(", labels 16, 6 steps")
    assert len(met) == 6 and [what for what, is_met in met.items() if is_met == "yes"] == [
        f"points of impurity mIoU over {label}, labels 16, steps of the comparison"
        for label in ("SegFormer, aligned tower", "ours, frozen encoder")
    ]
    plain = [row for row in rows if row[1].startswith("ours, 800 steps")]
    assert [row[4] for row in plain] == ["yes", "no", "yes", "no"]
    best = [row for row in rows if "more scenes, seen at 3 (one seed):" in row[1]]
    assert [row[4] for row in best] == ["yes", "no", "yes", "no"]
