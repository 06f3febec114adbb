"""The leaderboard: packing keeps the order of scores, truth comes from the data set alone."""

from __future__ import annotations

import numpy as np
import pytest

from scrapseg import metrics
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments import leaderboard
from scrapseg.experiments.leaderboard import BrokenEntry, Entry
from scrapseg.experiments.run import run
from scrapseg.experiments.splits import Splits
from scrapseg.experiments.studies import RunSpec
from scrapseg.files import REPOSITORY
from scrapseg.models.predict import Predictions


@pytest.fixture(scope="module")
def test_split(tiny_scrapsim) -> ScrapSim:
    return ScrapSim(tiny_scrapsim, "test")


@pytest.fixture(scope="module")
def labels(test_split) -> np.ndarray:
    return np.stack([test_split.sample(i).label for i in leaderboard.chosen_ids(test_split)])


def noisy(labels: np.ndarray, noise: float, seed: int = 0) -> Predictions:
    scores = (labels > 0) + noise * np.random.default_rng(seed).normal(size=labels.shape)
    return Predictions(scores.astype(np.float32), labels)


def test_chosen_images_are_views_of_different_scenes(test_split):
    ids = leaderboard.chosen_ids(test_split)
    assert len({test_split.meta[i]["scene"] for i in ids}) == len(ids) > 3
    assert ids == leaderboard.chosen_ids(test_split)


def test_forty_of_the_shipped_test_images():
    test = ScrapSim(REPOSITORY / "data/scrapsim", "test")
    ids = leaderboard.chosen_ids(test)
    assert len(ids) == 40
    held = {k["class"] for i in ids for k in test.meta[i]["instances"]}
    assert len(held) == 8


def test_an_entry_keeps_the_metrics(test_split, labels):
    maps = noisy(labels, 0.3)
    few = labels[:, 2::4, 2::4]
    exact = metrics.average_precision(metrics.rank(maps.score_maps[:, 2::4, 2::4], few > 0))
    entry = Entry.of(leaderboard.chosen_ids(test_split), maps, threshold=0.7)
    found = leaderboard.score(entry, labels)
    assert found["ap"] == pytest.approx(exact, abs=0.02)
    flagged = maps.score_maps[:, 2::4, 2::4] >= np.float32(0.7)
    np.testing.assert_array_equal(entry.score_maps >= np.float32(0.7), flagged)
    assert found["miou"] == found["miou_impurity"] == 1
    assert (entry.score_maps <= maps.score_maps[:, 2::4, 2::4]).all()


def test_the_board_ranks_and_compares(test_split, labels, tmp_path):
    ids = leaderboard.chosen_ids(test_split)
    for name, noise in (("scrapseg", 0.3), ("newcomer", 0.9)):
        Entry.of(ids, noisy(labels, noise), 0.5).save(tmp_path / f"{name}.npz")
    scores = noisy(labels, 0.5).score_maps
    Entry.of(ids, Predictions(scores, None), 0.5).save(tmp_path / "one-class.npz")
    table = leaderboard.board(tmp_path, test_split)
    assert list(table["method"]) == ["scrapseg", "one-class", "newcomer"]
    assert table["ap_diff"][0] == 0 and table["ap_diff"][2] > 0
    assert np.isnan(table["miou"][1])


def test_what_cannot_be_scored_is_named(test_split, labels, tmp_path):
    ids = leaderboard.chosen_ids(test_split)
    with pytest.raises(BrokenEntry, match="holds no"):
        leaderboard.board(tmp_path, test_split)
    path = Entry.of(ids[::-1], noisy(labels, 0.3), 0.5).save(tmp_path / "mine.npz")
    with pytest.raises(BrokenEntry, match=r"mine\.npz: not of the"):
        leaderboard.board(tmp_path, test_split)
    path.write_bytes(b"PK not really")
    with pytest.raises(BrokenEntry, match=r"mine\.npz: not a file of predictions"):
        leaderboard.board(tmp_path, test_split)
    small = Predictions(labels[:, ::2, ::2].astype(np.float32), None)
    Entry.of(ids, small, 0.5).save(path)
    with pytest.raises(BrokenEntry, match=r"mine\.npz: shapes differ"):
        leaderboard.board(tmp_path, test_split)


def test_entries_come_from_finished_runs(test_split, tiny_scrapsim, tmp_path):
    spec = RunSpec("padim", changes={"steps": 1, "batch_size": 2})
    record = run(spec, Splits.load(tiny_scrapsim), tmp_path)
    (path,) = leaderboard.collect(tmp_path, tmp_path / "board", test_split)
    assert path.name == "padim.npz"
    entry = Entry.load(path, leaderboard.chosen_ids(test_split))
    assert entry.threshold == pytest.approx(record.config["threshold"])
    assert entry.labels is None


def test_the_readme_s_entry_is_scored(tmp_path):
    text = (REPOSITORY / "README.md").read_text()
    code = text.split("**The leaderboard**")[1].split("```python")[1].split("```")[0]
    data = REPOSITORY / "data/scrapsim"
    code = code.replace("data/scrapsim", str(data)).replace("results/laptop", str(tmp_path))

    def redness(images):
        return np.stack(images)[..., 0].astype(np.float32) / 255, None

    scope = {"my_method": redness}
    exec(code, scope)
    table = leaderboard.board(tmp_path / "leaderboard", scope["test"])
    assert list(table["method"]) == ["my-method"] and 0 < table["ap"][0] < 0.5
