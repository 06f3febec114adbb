"""The study of the promise: its counts against the benchmark's, its halvings on drawn losses."""

import numpy as np
import pandas as pd
import pytest
import yaml

from making.studies import promise
from scrapseg import metrics
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.files import REPOSITORY
from scrapseg.metrics import risk
from scrapseg.models.segmenter import SHIPPED


def test_false_alarms_are_the_benchmarks():
    normal = np.ones((60, 60), bool)
    normal[:10, :10] = False
    flagged = np.zeros_like(normal)
    flagged[20:25, 20:25], flagged[30:34, 30:36] = True, True  # 25 pixels, and too few
    flagged[:11, :11] = True  # touches an impurity
    assert promise.false_alarms(flagged, normal) == 1
    everything = np.ones_like(normal)
    assert promise.false_alarms(everything, normal) == 3500 // metrics.LARGE_AREA


def test_curves_hold_what_the_benchmark_counts(tiny_scrapsim):
    samples, rng = list(ScrapSim(tiny_scrapsim, "test")), np.random.default_rng(0)
    maps = [np.where(s.label > 0, 0.6, 0.3) * rng.random(s.label.shape) for s in samples]
    c = promise.curves(zip(samples, maps, strict=True))
    assert c.scenes.tolist() == sorted({s.scene for s in samples})
    of_scene = [k for k, s in enumerate(samples) if s.scene == c.scenes[0]]
    k = int(np.searchsorted(risk.THRESHOLDS, 0.25))
    flagged = np.mean([(maps[i] >= risk.THRESHOLDS[k]).mean() for i in of_scene])
    assert c.flagged[0, k] == pytest.approx(flagged)
    # At the benchmark's operating point an image has one false alarm at most.
    numbers = np.stack([s.instances for s in samples])
    masks, scores = np.stack([s.label > 0 for s in samples]), np.stack(maps).astype(np.float32)
    found = metrics.objects(scores, masks, numbers).found
    lowest = min(
        metrics.object_score(m[n == i])
        for m, n in zip(scores, numbers, strict=True)
        for i in np.unique(n)[1:]
    )
    alarms = sum(map(promise.false_alarms, scores >= lowest, ~masks))
    assert (alarms <= len(samples)) == found.all()


def test_halvings_keep_the_promise_on_scenes_of_one_kind_alone():
    rng, n = np.random.default_rng(0), 80
    settings = np.repeat(["belt", "heap"], n // 2)
    score = rng.random((n, 3)) - 0.3 * (settings == "heap")[:, None]  # heaps are harder
    losses = risk.scene_losses(np.repeat(np.arange(n), 3), score.ravel().clip(0, 1))[1]
    flat = np.zeros_like(losses)
    c = promise.Curves(np.arange(n), settings, {"objects": losses}, flat, flat)
    table = promise.summary(promise.halvings(c, 30))
    assert len(table) == len(promise.PAIRS) * len(promise.ALPHAS) and (table["splits"] == 30).all()
    rows = table.set_index(["calibrated_on", "used_on", "alpha"]).sort_index()
    for kind in ("all", "belt", "heap"):
        assert rows.loc[(kind, kind, 0.3), "missed"] < 0.31
    assert (
        rows.loc[("belt", "heap", 0.3), "missed"] > 0.4 > rows.loc[("heap", "belt", 0.3), "missed"]
    )
    assert rows.loc[
        ("all", "all", 0.3), ["missed_5", "missed", "missed_95"]
    ].is_monotonic_increasing
    assert (rows["scenes"] < 45).all() and (rows.loc[("belt", "belt"), "given"] > 0).all()
    missed = {line.get_label(): line.get_ydata() for line in promise.draw(table).axes[0].lines}
    assert missed["belts, used on heaps"].tolist() == rows.loc[("belt", "heap"), "missed"].tolist()


def test_the_card_of_what_is_shipped_promises_what_the_study_used():
    card = yaml.safe_load(SHIPPED.with_suffix(".yaml").read_text())["promises"]
    table = pd.read_csv(REPOSITORY / "results/full/tables/promise.csv")
    rows = table[table["calibrated_on"] == "val"]
    assert len(rows) == len(card) * len(promise.ALPHAS)
    for row in rows.itertuples():
        made = card[row.promise]
        expected = made["thresholds"].get(row.alpha, np.nan)
        assert row.threshold == pytest.approx(expected, rel=1e-5, nan_ok=True)
        assert row.scenes == made["scenes"]
