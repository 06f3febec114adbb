"""Statistics of runs: what a run left is read back, and joined in one file without loss."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from fake_results import image_stats, record

from scrapseg.experiments import records, stats


def leave(folder, method: str, better: str | None = None) -> str:
    """A record and statistics of a run; those of another method where it is named."""
    one = record(method, "all", 0)
    records.write_run(one, folder)
    stats.write(folder, one.name(), {"": image_stats(better or method)})
    return one.name()


def same(a, b) -> bool:
    return a.ids == b.ids and np.array_equal(a.drawn("ap"), b.drawn("ap"))


def test_joined_statistics_are_those_the_runs_left_and_follow_the_records(tmp_path):
    ours, theirs = leave(tmp_path, "scrapseg"), leave(tmp_path, "patchcore")
    stats.join(tmp_path)
    left = stats.read(tmp_path, ours)
    shutil.rmtree(tmp_path / "cache")  # as in a fresh clone
    assert same(stats.read(tmp_path, ours), left) and not same(stats.read(tmp_path, theirs), left)
    assert stats.read(tmp_path, theirs).classes is None
    assert stats.read(tmp_path, ours, "belt") is None and stats.read(tmp_path, "unet") is None

    leave(tmp_path, "scrapseg", better="patchcore")  # that run again: the newer one counts
    newer = stats.read(tmp_path, ours)
    assert not same(newer, left)
    (tmp_path / "runs" / f"{theirs}.json").unlink()
    stats.join(tmp_path)
    shutil.rmtree(tmp_path / "cache")
    assert same(stats.read(tmp_path, ours), newer) and stats.read(tmp_path, theirs) is None


def test_nothing_is_written_where_nothing_changed(tmp_path):
    leave(tmp_path, "scrapseg")
    path = stats.join(tmp_path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    stats.join(tmp_path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_broken_file_is_named_in_one_line(tmp_path):
    (tmp_path / "stats.npz").write_bytes(b"no archive")
    with pytest.raises(stats.BrokenStats, match=r"stats\.npz: not a readable file"):
        stats.read(tmp_path, "scrapseg_scrapsim_allshots_s0")


def test_a_cache_of_another_run_than_the_record_does_not_count(tmp_path):
    name = leave(tmp_path, "scrapseg")
    stats.join(tmp_path)
    joined = stats.read(tmp_path, name)
    stats.write(tmp_path, name, {"": image_stats("patchcore")})  # an old one, in the cache
    (tmp_path / "cache" / name / "done").write_text("2001-01-01T00:00:00+00:00")
    assert same(stats.read(tmp_path, name), joined)
    stats.join(tmp_path)
    shutil.rmtree(tmp_path / "cache")
    assert same(stats.read(tmp_path, name), joined)
