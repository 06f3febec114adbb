"""Metrics against scikit-learn, torchmetrics, anomalib, brute-force loops and hand-worked cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy import stats as scipy_stats
from sklearn import metrics as sk
from torchmetrics.functional.classification import multiclass_jaccard_index

from scrapseg import metrics as M
from scrapseg.data.classes import SLUGS
from scrapseg.metrics import bootstrap


def scene(seed: int = 0, images: int = 6, size: int = 32, levels: int = 0):
    """Scores, predictions, labels and instances of made-up images, a third of them normal.

    ``levels`` > 0 rounds the scores to that many steps, so that most of them tie.
    """
    rng = np.random.default_rng(seed)
    labels = np.zeros((images, size, size), np.uint8)
    instances = np.zeros_like(labels)
    for i in range(images):
        for k in range(1, 4) if i % 3 else ():
            y, x = rng.integers(0, size - 8, 2)
            h, w = rng.integers(2, 9, 2)
            labels[i, y : y + h, x : x + w] = rng.integers(1, 9)
            instances[i, y : y + h, x : x + w] = k
    scores = rng.normal(size=labels.shape) + 1.5 * (labels > 0)
    if levels:
        scores = np.round(scores * levels / 4)
    predictions = np.where(rng.random(labels.shape) < 0.8, labels, rng.integers(0, 9, labels.shape))
    return scores.astype(np.float32), predictions.astype(np.uint8), labels, instances


CASES = [scene(0), scene(1, levels=6), scene(2, levels=1)]
CASE_IDS = ["random", "ties", "heavy ties"]


# ---------------------------------------------------------------- pixels


@pytest.mark.parametrize("case", CASES, ids=CASE_IDS)
def test_ranking_metrics_agree_with_scikit_learn(case):
    scores, _, labels, _ = case
    mask = labels > 0
    y, s = mask.ravel(), scores.ravel()
    ranking = M.rank(scores, mask)
    assert M.average_precision(ranking) == pytest.approx(sk.average_precision_score(y, s), abs=1e-9)
    assert M.auroc(ranking) == pytest.approx(sk.roc_auc_score(y, s), abs=1e-9)
    value, threshold = M.f1_max(ranking)
    assert value == pytest.approx(sk.f1_score(y, s >= threshold), abs=1e-12)
    precision, recall, _ = sk.precision_recall_curve(y, s)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert value == pytest.approx(f1.max(), abs=1e-9)


def brute_aupro(scores, mask, limit):
    """PRO and false-positive rate at every threshold in loops, then the area by trapezoids."""
    regions = []
    for i, image in enumerate(mask):
        numbered, count = ndimage.label(image, np.ones((3, 3)))
        regions += [(i, numbered == k) for k in range(1, count + 1)]
    curve = [(0.0, 0.0)]
    for t in np.unique(scores)[::-1]:
        flagged = scores >= t
        rate = flagged[~mask].mean()
        overlap = np.mean([flagged[i][region].mean() for i, region in regions])
        curve.append((rate, overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if x1 <= limit:
            area += (x1 - x0) * (y0 + y1) / 2
        elif x0 < limit:
            end = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            area += (limit - x0) * (y0 + end) / 2
    return area / limit


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize(
    "case", [scene(3, 4, 16), scene(4, 4, 16, levels=4)], ids=["random", "ties"]
)
def test_aupro_agrees_with_brute_force(case, limit):
    scores, _, labels, _ = case
    mask = labels > 0
    ours = M.aupro(M.rank(scores, mask), mask, limit)
    assert ours == pytest.approx(brute_aupro(scores, mask, limit), abs=1e-9)


def test_aupro_agrees_with_anomalib():
    from anomalib.metrics.aupro import _AUPRO

    scores, _, labels, _ = scene(5)
    mask = labels > 0
    reference = _AUPRO(fpr_limit=0.3)
    reference.update(torch.from_numpy(scores), torch.from_numpy(mask.astype(np.int64)))
    assert M.aupro(M.rank(scores, mask), mask) == pytest.approx(
        float(reference.compute()), abs=1e-5
    )


def test_touching_corners_make_one_region_and_images_never_join():
    mask = np.zeros((2, 4, 4), bool)
    mask[0, 0, 0] = mask[0, 1, 1] = mask[1, 1, 1] = True
    scores = np.zeros(mask.shape, np.float32)
    scores[1, 1, 1] = 1  # one of two regions found at once, the other only with everything else
    # PRO 1/2 at rate 0, then a line to 1 at rate 1: 0.5 + 0.5 * 0.15 on average up to 0.3.
    assert M.aupro(M.rank(scores, mask), mask) == pytest.approx(0.575)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0, 3, 12]))
def test_ranking_metrics_ignore_monotone_transforms(seed, levels):
    scores, _, labels, _ = scene(seed, 3, 12, levels)
    mask = labels > 0
    scores = np.round(scores * 64) / 64  # so that float32 keeps every order and tie below
    before, after = M.rank(scores, mask), M.rank(scores**3 + 2 * scores - 7, mask)
    assert M.average_precision(before) == pytest.approx(M.average_precision(after), nan_ok=True)
    assert M.auroc(before) == pytest.approx(M.auroc(after), nan_ok=True)
    assert M.f1_max(before)[0] == pytest.approx(M.f1_max(after)[0], nan_ok=True)
    assert M.aupro(before, mask) == pytest.approx(M.aupro(after, mask), nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=40))
def test_ties_of_any_kind_agree_with_scikit_learn(pixels):
    scores = np.array([[[s for s, _ in pixels]]], np.float32)
    mask = np.array([[[m for _, m in pixels]]])
    ranking = M.rank(scores, mask)
    if not mask.any():
        assert math.isnan(M.average_precision(ranking)) and math.isnan(M.f1_max(ranking)[0])
    else:
        expected = sk.average_precision_score(mask.ravel(), scores.ravel())
        assert M.average_precision(ranking) == pytest.approx(expected)
    if mask.all() or not mask.any():
        assert math.isnan(M.auroc(ranking)) and math.isnan(M.aupro(ranking, mask))
    else:
        assert M.auroc(ranking) == pytest.approx(sk.roc_auc_score(mask.ravel(), scores.ravel()))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
def test_best_threshold_beats_every_other(pixels):
    scores = np.array([[[s for s, _ in pixels]]], np.float32)
    mask = np.array([[[m for _, m in pixels]]])

    def miou(threshold):
        flagged = scores >= threshold
        unions = [(flagged | mask, flagged & mask), (~flagged | ~mask, ~flagged & ~mask)]
        return np.mean([hit.sum() / union.sum() for union, hit in unions if union.any()])

    best = M.best_threshold(scores, mask)
    assert miou(best) == pytest.approx(max(miou(t) for t in np.arange(-1, 8) - 0.5))


def test_degenerate_images():
    scores = np.random.default_rng(0).random((2, 5, 5)).astype(np.float32)
    for mask in (np.zeros((2, 5, 5), bool), np.ones((2, 5, 5), bool)):
        ranking = M.rank(scores, mask)
        assert math.isnan(M.auroc(ranking)) and math.isnan(M.aupro(ranking, mask))
    assert M.average_precision(ranking) == 1.0  # all pixels are impurities: none can be wrong
    assert (scores < M.best_threshold(scores, np.zeros((2, 5, 5), bool))).all()
    constant = M.rank(np.zeros((1, 2, 5)), np.arange(10).reshape(1, 2, 5) < 3)
    assert M.average_precision(constant) == pytest.approx(0.3) and M.auroc(constant) == 0.5


def test_bad_input_is_refused():
    scores, predictions, labels, instances = scene(0, 2, 12)
    with pytest.raises(ValueError, match="shapes differ"):
        M.evaluate(scores, predictions[:1], labels, instances, threshold=0)
    with pytest.raises(ValueError, match="nan or infinite"):
        M.rank(np.where(labels > 0, np.nan, scores), labels > 0)
    with pytest.raises(ValueError, match=r"class index outside 0\.\.8"):
        M.evaluate(scores, predictions + 7, labels, instances, threshold=0)


# ---------------------------------------------------------------- classes


def test_class_metrics_agree_with_libraries():
    _, predictions, labels, _ = scene(6)
    tables = M.confusion(predictions, labels, 9)
    assert (
        tables[1] == sk.confusion_matrix(labels[1].ravel(), predictions[1].ravel(), labels=range(9))
    ).all()
    ours = M.class_metrics(tables.sum(0))
    y, p = labels.ravel(), predictions.ravel()
    reference = sk.jaccard_score(y, p, labels=range(9), average=None)
    assert [ours[f"iou/{slug}"] for slug in SLUGS] == pytest.approx(reference.tolist())
    torch_miou = multiclass_jaccard_index(
        torch.from_numpy(predictions), torch.from_numpy(labels), 9
    )
    assert ours["miou"] == pytest.approx(float(torch_miou), abs=1e-6)
    assert ours["miou_impurity"] == pytest.approx(reference[1:].mean())


def test_absent_class_is_nan_and_left_out_of_the_mean():
    label = np.array([[[0, 0, 1, 1]]])
    prediction = np.array([[[0, 1, 1, 2]]])
    ours = M.class_metrics(M.confusion(prediction, label, 4)[0], ("steel", "a", "b", "c"))
    assert ours["iou/steel"] == 1 / 2 and ours["iou/a"] == 1 / 3
    assert ours["iou/b"] == 0  # predicted where it is not: counts
    assert math.isnan(ours["iou/c"])  # nowhere: does not
    assert ours["miou"] == pytest.approx(5 / 18) and ours["miou_impurity"] == pytest.approx(1 / 6)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)))
def test_order_of_images_does_not_matter(order):
    scores, predictions, labels, instances = scene(7, 5, 16)
    arrays = (scores, predictions, labels, instances)
    before = M.evaluate(*arrays, threshold=1.0)
    after = M.evaluate(*(a[list(order)] for a in arrays), threshold=1.0)
    assert before == pytest.approx(after, nan_ok=True)


# ---------------------------------------------------------------- objects and images


def test_object_recall_worked_by_hand():
    """Two 60 x 60 images, so two false alarms are allowed.

    Image 0: objects A (16 px, score 9) and B (20 x 20 = 400 px, 200 of them at 5, the others at
    0). Image 1: no object; false alarms of 5 x 5 px at 8, 7 and 4, and a speck of 4 x 6 at 9.
    From the top: at 9 only A (the speck is below 25 px); at 5 A and B with two false alarms.
    Object C (40 x 40 = 1600 px in image 0, score 3) would come with the third: not found.
    """
    scores = np.zeros((2, 60, 60), np.float32)
    instances = np.zeros((2, 60, 60), np.uint8)
    instances[0, 0:4, 0:4], scores[0, 0:4, 0:4] = 1, 9
    instances[0, 0:20, 30:50], scores[0, 0:10, 30:50] = 2, 5
    instances[0, 20:60, 15:55], scores[0, 20:60, 15:55] = 3, 3
    for x, score in ((0, 8), (10, 7), (20, 4)):
        scores[1, 0:5, x : x + 5] = score
    scores[1, 20:24, 0:6] = 9
    recall = M.object_recall(scores, instances > 0, instances)
    assert recall == {
        "object_recall_1fa": pytest.approx(2 / 3),
        "object_recall_1fa/small": 1,
        "object_recall_1fa/medium": 1,
        "object_recall_1fa/large": 0,
    }
    scores[1, 20:25, 0:6] = 9  # the speck grows to a false alarm: the third one comes before B
    assert M.object_recall(scores, instances > 0, instances)["object_recall_1fa/medium"] == 0
    scores[0, 0, 30] = 0  # one pixel less than half of B: its own score is now 0
    assert M.object_recall(scores, instances > 0, instances)["object_recall_1fa"] == 1 / 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.integers(0, 6))
def test_an_object_is_found_when_half_of_its_pixels_are_flagged(scores, threshold):
    pixels = np.array(scores, np.float32)
    flagged = sum(score >= threshold for score in scores)
    assert (M.object_score(pixels) >= threshold) == (2 * flagged >= len(scores))


@pytest.mark.parametrize(
    ("pixels", "size"), [(299, "small"), (300, "medium"), (1500, "medium"), (1501, "large")]
)
def test_sizes_begin_and_end_where_they_say(pixels, size):
    instances = (np.arange(10_000) < pixels).astype(np.uint16).reshape(1, 100, 100)
    recall = M.object_recall(instances.astype(float), instances > 0, instances)
    found = {name for name, value in recall.items() if value == 1}
    assert found == {"object_recall_1fa", f"object_recall_1fa/{size}"}


def test_flagging_everything_finds_nothing():
    """One flagged region per image that touches an impurity must not pass as no false alarm."""
    instances = np.zeros((2, 100, 100), np.uint8)
    instances[:, :10, :10] = 1
    scores = np.zeros(instances.shape, np.float32)
    assert M.object_recall(scores, instances > 0, instances)["object_recall_1fa"] == 0
    none = M.object_recall(scores, instances > 9, np.zeros_like(instances))
    assert all(math.isnan(v) for v in none.values())


def naive_object_recall(scores, masks, instances):
    """The docstring's definition over every threshold, one object and one region at a time."""
    medians = [
        np.sort(scores[i][instances[i] == k])[::-1][(np.sum(instances[i] == k) + 1) // 2 - 1]
        for i in range(len(scores))
        for k in np.unique(instances[i])[1:]
    ]
    recall = 0.0
    for t in np.unique(medians)[::-1]:
        alarms = 0
        for image, mask in zip(scores, masks, strict=True):
            regions, count = ndimage.label(image >= t, np.ones((3, 3)))
            for k in range(1, count + 1):
                normal = np.sum(~mask[regions == k])
                area = np.sum(regions == k)
                alarms += int(area >= 25 and normal == area) + normal // 1500
        if alarms > len(scores):
            break
        recall = np.mean(np.array(medians) >= t)
    return recall


@pytest.mark.parametrize("seed", range(4))
def test_object_recall_agrees_with_a_naive_loop(seed):
    _, _, labels, instances = scene(seed, 6, 64)
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=labels.shape), (0, 3, 3)) * 8
    scores = (noise + rng.uniform(0, 3, (6, 1, 1)) * (labels > 0)).astype(np.float32)
    expected = naive_object_recall(scores, labels > 0, instances)
    assert 0 < expected < 1
    ours = M.object_recall(scores, labels > 0, instances)["object_recall_1fa"]
    assert ours == pytest.approx(expected)


def test_image_score_is_the_mean_of_the_highest_pixels():
    scores = np.random.default_rng(0).random((3, 50, 60)).astype(np.float32)
    expected = np.sort(scores.reshape(3, -1))[:, -3:].mean(1)  # 0.1 % of 3000 pixels
    assert M.image_scores(scores) == pytest.approx(expected)


def test_evaluate_names_every_metric():
    scores, predictions, labels, instances = scene(8)
    common = {"ap", "auroc", "f1_max", "aupro_30", "miou_binary", "image_auroc"}
    common |= {"object_recall_1fa" + size for size in ("", "/small", "/medium", "/large")}
    named = {"miou", "miou_impurity"} | {f"iou/{slug}" for slug in SLUGS}
    unnamed = M.evaluate(scores, None, labels, instances, threshold=1.0)
    metrics = M.evaluate(scores, predictions, labels, instances, threshold=1.0)
    assert set(unnamed) == common and set(metrics) == common | named
    assert all(type(value) is float for value in metrics.values())
    assert unnamed == pytest.approx({k: metrics[k] for k in common}, nan_ok=True)
    assert math.isnan(metrics["object_recall_1fa/large"])  # kept, not left out
    y = (labels > 0).any(axis=(1, 2))
    assert metrics["image_auroc"] == sk.roc_auc_score(y, scores.max(axis=(1, 2)))
    binary = sk.jaccard_score(
        (labels > 0).ravel(), (scores >= 1).ravel(), average=None, labels=[0, 1]
    )
    assert metrics["miou_binary"] == pytest.approx(binary.mean())


# ---------------------------------------------------------------- intervals


def test_binned_ap_is_close_and_tied_ap_exact():
    rng = np.random.default_rng(0)
    mask = np.zeros((8, 128, 128), np.uint8)
    mask[:, 40:60, 30:70] = 1
    scores = rng.normal(size=mask.shape) + 2 * mask
    for values, tolerance in ((scores, 5e-4), (np.round(scores).clip(-1, 3), 1e-12)):
        stats = M.image_stats(values, None, mask, threshold=1)
        binned = bootstrap.resampled(stats, "ap", np.ones((1, 8)))[0]
        exact = sk.average_precision_score(mask.ravel(), values.ravel())
        assert binned == pytest.approx(exact, abs=tolerance)


def test_intervals_hold_the_value_and_narrow_with_more_images():
    widths = []
    for images in (12, 192):
        arrays = scene(9, images)
        metrics = M.evaluate(*arrays, threshold=1.0)
        intervals = M.bootstrap_intervals(M.image_stats(*arrays[:3], threshold=1.0))
        for name in ("ap", "miou", "miou_impurity", "miou_binary"):
            assert intervals[f"{name}_lo"] < metrics[name] < intervals[f"{name}_hi"]
        widths.append(intervals["ap_hi"] - intervals["ap_lo"])
    assert 2 < widths[0] / widths[1] < 8  # 16 times the images: about a quarter of the width


def test_resampling_is_the_metric_of_the_drawn_images():
    scores, predictions, labels, instances = scene(10, levels=8)
    stats = M.image_stats(scores, predictions, labels, threshold=1.0)
    drawn = [0, 1, 1, 1, 4, 5]
    weights = np.bincount(drawn, minlength=6)[None].astype(float)
    direct = M.evaluate(
        *(a[drawn] for a in (scores, predictions, labels, instances)), threshold=1.0
    )
    for name in ("ap", "miou", "miou_impurity", "miou_binary"):
        assert bootstrap.resampled(stats, name, weights)[0] == pytest.approx(direct[name])
    some = bootstrap.resampled(stats, "miou/motor+wood", weights)[0]
    of = sk.jaccard_score(
        labels[drawn].ravel(),
        predictions[drawn].ravel(),
        labels=[SLUGS.index(slug) for slug in ("motor", "wood")],
        average="macro",
    )
    assert some == pytest.approx(of)
    assert M.paired_difference(stats, stats, "miou/motor+wood") == (0, 0, 0, 1)


def test_paired_difference_sees_what_separate_intervals_hide():
    scores, predictions, labels, _ = scene(11, 60)
    rng = np.random.default_rng(0)
    worse = scores + 0.2 * rng.normal(size=scores.shape)
    a = M.image_stats(scores, predictions, labels, threshold=1.0)
    b = M.image_stats(worse, predictions, labels, threshold=1.0)
    assert M.paired_difference(a, a, "ap") == (0, 0, 0, 1)
    value, lo, hi, p = M.paired_difference(a, b, "ap")
    y = (labels > 0).ravel()
    exact = sk.average_precision_score(y, scores.ravel()) - sk.average_precision_score(
        y, worse.ravel()
    )
    assert value == pytest.approx(exact, abs=5e-4)
    assert 0 < lo < value < hi
    assert p == pytest.approx(2 / 1001)  # no resample was on the other side
    assert M.paired_difference(b, a, "ap").p == p
    intervals = M.bootstrap_intervals(a)
    assert hi - lo < (intervals["ap_hi"] - intervals["ap_lo"]) / 3


def test_mean_interval_covers_scenes_and_seeds():
    scores, predictions, labels, _ = scene(11, 60)
    rng = np.random.default_rng(0)
    runs = [
        M.image_stats(scores + k * noise, predictions, labels, threshold=1.0)
        for k, noise in enumerate(rng.normal(size=(3, *scores.shape)))
    ]
    alone = M.bootstrap_intervals(runs[0])
    one = M.mean_interval(runs[:1], "ap")  # no other seed to draw: the interval of the images
    assert (one.lo, one.hi) == pytest.approx((alone["ap_lo"], alone["ap_hi"]))
    assert M.mean_interval([runs[0]] * 3, "ap") == pytest.approx(one)  # seeds that agree add none
    all_three = M.mean_interval(runs, "ap")
    each = [M.mean_interval([run], "ap") for run in runs]
    assert all_three.value == pytest.approx(np.mean([e.value for e in each]))
    assert all_three.hi - all_three.lo > max(e.hi - e.lo for e in each)
    other = M.image_stats(
        scores, None, labels, threshold=1.0, ids=[str(i) for i in range(60)][::-1]
    )
    with pytest.raises(ValueError, match="same images"):
        M.mean_interval([runs[0], other], "ap")
    with pytest.raises(ValueError, match="names no classes"):
        M.mean_interval([other], "miou")


def test_one_level_is_the_percentile_bootstrap_of_scipy():
    """Pixels all of one class: the mean IoU of two images' sums is a plain ratio of means."""
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 40, (25, 2, 2))
    stats = M.ImageStats(ids=tuple(map(str, range(25))), binary=counts)

    def miou(right_no, wrong, missed, right, axis=-1):
        sums = (part.sum(axis) for part in (right_no, wrong, missed, right))
        a, b, c, d = sums
        return (a / (a + b + c) + d / (b + c + d)) / 2

    parts = tuple(counts[:, i, j].astype(float) for i in (0, 1) for j in (0, 1))
    ways = {"paired": True, "vectorized": True, "method": "percentile", "n_resamples": 10_000}
    theirs = scipy_stats.bootstrap(parts, miou, rng=rng, **ways).confidence_interval
    ours = M.mean_interval([stats], "miou_binary")
    assert ours.value == pytest.approx(miou(*parts))
    width = theirs.high - theirs.low
    assert (ours.lo, ours.hi) == pytest.approx((theirs.low, theirs.high), abs=0.05 * width)


def test_two_levels_are_a_loop_that_draws_seeds_and_scenes():
    rng = np.random.default_rng(4)
    counts = rng.integers(1, 40, (2, 4, 20, 2, 2))  # methods, seeds, scenes
    counts[0, :, :, 1, 1] += 60 * np.arange(4)[:, None]  # seeds differ, of one method alone
    names = tuple(map(str, range(20)))
    a, b = ([M.ImageStats(ids=names, binary=one) for one in side] for side in counts)

    def miou(table):
        hit = np.diag(table)
        return np.mean(hit / (table.sum(0) + table.sum(1) - hit))

    gaps = []
    for _ in range(4000):
        scenes, seeds = rng.integers(20, size=20), rng.integers(4, size=4)
        drawn = counts[:, :, scenes].sum(2)
        each = np.array([miou(x) - miou(y) for x, y in zip(*drawn)])
        gaps.append(each.mean() + np.sqrt(4 / 3) * (each[seeds].mean() - each.mean()))
    low, high = np.percentile(gaps, [2.5, 97.5])
    found = M.paired_difference(a, b, "miou_binary")
    assert (found.lo, found.hi) == pytest.approx((low, high), abs=0.05 * (high - low))
    fixed = M.paired_difference(a[3], b[3], "miou_binary")
    assert found.hi - found.lo > 1.5 * (fixed.hi - fixed.lo)  # the luck of the seed is in it


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_drawing_runs_gives_their_mean_the_variance_of_a_mean(runs):
    rng = np.random.default_rng(runs)
    one = rng.integers(5, 40, (runs, 2, 2))  # images of a run are alike: drawing them changes none
    names = tuple(map(str, range(4)))
    stats = [M.ImageStats(ids=names, binary=np.repeat(table[None], 4, 0)) for table in one]
    each = [M.mean_interval([s], "miou_binary").value for s in stats]
    drawn = bootstrap._over_runs([s.drawn("miou_binary") for s in stats], 0)
    assert drawn[0] == pytest.approx(np.mean(each))
    assert drawn[1:].var() == pytest.approx(np.var(each, ddof=1) / runs, rel=0.05)


def test_p_says_how_far_the_interval_is_from_zero():
    """5 % of normal differences lie beyond 0 when their mean is 1.645 deviations above it."""
    draws = np.random.default_rng(0).normal(1.645, 1, 200_000)
    assert bootstrap.p_value(draws) == pytest.approx(0.1, abs=0.003)
    assert bootstrap.p_value(-draws) == bootstrap.p_value(draws)
    assert np.isnan(bootstrap.p_value(np.array([np.nan])))


def test_holm_is_the_textbook_example():
    """Four tests; by hand: 0.005 x 4, 0.01 x 3, 0.03 x 2, then no less than the one before."""
    corrected = M.holm([0.01, 0.04, 0.03, 0.005])
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert M.holm([0.6, np.nan, 0.9]) == pytest.approx([1, np.nan, 1], nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_raw_and_bonferroni(p):
    corrected = M.holm(p)
    order = np.argsort(p, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()
    raw = np.array(p)
    assert (corrected >= raw).all() and (corrected <= np.minimum(1, raw * len(p)) + 1e-12).all()


def test_paired_difference_of_seeds_is_the_mean_over_pairs():
    scores, predictions, labels, _ = scene(15)
    rng = np.random.default_rng(15)
    runs = [
        M.image_stats(scores + rng.normal(size=scores.shape), predictions, labels, threshold=1.0)
        for _ in range(4)
    ]
    one, two = (M.paired_difference(runs[i], runs[i + 2], "ap") for i in (0, 1))
    both = M.paired_difference(runs[:2], runs[2:], "ap")
    assert both.value == pytest.approx((one.value + two.value) / 2)
    assert min(one.lo, two.lo) <= both.lo <= both.value <= both.hi <= max(one.hi, two.hi)
    with pytest.raises(ValueError):
        M.paired_difference(runs[:2], runs[2:3], "ap")


def test_paired_difference_refuses_other_images_and_missing_classes():
    scores, predictions, labels, _ = scene(12)
    a = M.image_stats(scores, predictions, labels, threshold=1.0, ids=list("abcdef"))
    b = M.image_stats(scores, None, labels, threshold=1.0, ids=list("abcdfe"))
    with pytest.raises(ValueError, match="same images"):
        M.paired_difference(a, b, "ap")
    b = M.image_stats(scores, None, labels, threshold=1.0, ids=list("abcdef"))
    with pytest.raises(ValueError, match="names no classes"):
        M.paired_difference(a, b, "miou")
    assert set(M.bootstrap_intervals(b)) == {"ap_lo", "ap_hi", "miou_binary_lo", "miou_binary_hi"}


def test_stats_are_kept_without_histograms_and_group_by_scene():
    scores, predictions, labels, _ = scene(13)
    stats = M.image_stats(scores, predictions, labels, threshold=1.0, ids=list("abcdef"))
    kept = M.ImageStats.of(stats.arrays())
    assert kept.ids == tuple("abcdef") and kept.positives is None
    assert (kept.classes == stats.classes).all() and (kept.binary == stats.binary).all()
    assert M.bootstrap_intervals(kept) == pytest.approx(M.bootstrap_intervals(stats), abs=1e-4)
    assert kept.drawn("miou").tolist() == stats.drawn("miou").tolist()
    with pytest.raises(ValueError, match="seed 0 only"):
        kept.drawn("ap", seed=1)
    with pytest.raises(ValueError, match="cannot be parted"):
        kept.only(np.ones(6, bool))
    part = stats.only(np.array([True, False, True, False, False, False]))
    few = M.image_stats(
        scores[[0, 2]], predictions[[0, 2]], labels[[0, 2]], threshold=1.0, ids=["a", "c"]
    )
    assert part.ids == few.ids and (part.classes == few.classes).all()
    assert part.drawn("ap")[0] == pytest.approx(few.drawn("ap")[0], abs=0.01)
    grouped = stats.grouped([0, 0, 1, 1, 2, 2])
    assert grouped.ids == ("0", "1", "2")
    assert (grouped.classes[1] == M.confusion(predictions[2:4], labels[2:4], 9).sum(0)).all()
    for name in ("ap", "miou"):
        whole = bootstrap.resampled(stats, name, np.ones((1, 6)))
        assert bootstrap.resampled(grouped, name, np.ones((1, 3))) == pytest.approx(whole)


def test_intervals_without_impurities_are_nan():
    scores, _, labels, _ = scene(14, 3, 12)
    stats = M.image_stats(scores, np.zeros_like(labels), labels * 0, threshold=9.0)
    intervals = M.bootstrap_intervals(stats)
    assert math.isnan(intervals["ap_lo"]) and math.isnan(intervals["miou_impurity_hi"])
    assert intervals["miou_lo"] == 1.0


def test_maps_that_come_one_by_one_are_ranked_as_all_at_once():
    draw = np.random.default_rng(0)
    masks = draw.random((6, 30, 40)) < 0.1
    scores = (draw.normal(size=masks.shape) + masks).astype(np.float16).astype(np.float32)
    scores[0, :5], scores[1, :5] = 0.0, -0.0
    whole = M.rank(scores, masks)
    streamed = M.rank_streamed(zip(scores, masks, strict=True))
    for name in ("true", "false", "false_above", "positives", "negatives"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(streamed, name), name)
    np.testing.assert_allclose(streamed.scores, whole.scores, rtol=2e-4)  # lower ends of bins
    assert (streamed.scores <= whole.scores).all()
    assert streamed.highest == pytest.approx(whole.highest, rel=2e-4)
    fine = draw.random(masks.shape, np.float32)
    streamed = M.rank_streamed(zip(fine, masks, strict=True))
    exact = sk.average_precision_score(masks.ravel(), fine.ravel())
    assert M.average_precision(streamed) == pytest.approx(exact, abs=1e-4)
