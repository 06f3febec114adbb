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
    for name in ("bench", "real/tables", "full/tables"):
        shutil.copytree(RESULTS / name, tmp_path / name)
    path = tmp_path / "bench/torture.csv"
    kills = pd.read_csv(path)
    kills.loc[0, "same"] = False
    kills.to_csv(path, index=False)
    table = targets.table(tmp_path).set_index("what")
    (what,) = (w for w in table.index if w.startswith("of those, that did not go on"))
    row = table.loc[what]
    assert (row["measured"], row["met"]) == ("1", "no")
