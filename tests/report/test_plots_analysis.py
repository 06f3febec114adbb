"""The pictures of notebook 05: what is drawn are the numbers, and every letter can be read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fake_results import write_results
from matplotlib.text import Text
from test_figures import hidden_ticks

from scrapseg.experiments.methods import METHODS
from scrapseg.metrics import failures, mass
from scrapseg.report import figures as plots
from scrapseg.report import figures_analysis as P
from scrapseg.report import tables


@pytest.fixture(scope="module")
def frame(tmp_path_factory) -> pd.DataFrame:
    """Results of all methods: those that have none take a relative's."""
    frame = write_results(tmp_path_factory.mktemp("results"), figures=())
    missing = [m for m in METHODS if m not in set(frame["method"])]
    parts = [frame]
    for method in missing:
        rows = frame[frame["method"] == "patchcore"].copy()
        rows["method"] = method
        rows["run"] = rows["run"].str.replace("patchcore", method)
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def paired() -> pd.DataFrame:
    """The first difference is sure, the others are not."""
    others = list(METHODS)[1:]
    rows = [(m, k, 0.1, -0.05, 0.2, 0.2) for m in others for k in ("ap", "miou_binary")]
    rows[0] = (others[0], "ap", 0.12, 0.05, 0.2, 0.03)
    return pd.DataFrame(rows, columns=["scrapseg minus", "metric", "value", "lo", "hi", "p_holm"])


@pytest.fixture(scope="module")
def objects() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "pixels": rng.integers(1, 3000, 80),
            "visible_fraction": rng.random(80),
            "found": rng.random(80) < 0.5,
        }
    )


@pytest.fixture(scope="module")
def estimates() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    truth = rng.random(30) * 0.05
    frame = pd.DataFrame({"truth": truth, "estimate": truth * 1.2})
    return pd.concat([frame.assign(material=m) for m in mass.CONTENT])


FOUR = ("scrapseg", "scrapseg-frozen", "deeplabv3plus", "random-forest", "supersimplenet")


def every_figure(frame, paired, objects, estimates):
    rng = np.random.default_rng(2)
    p = rng.random((2, 60, 60))
    table = failures.reliability(p, rng.random(p.shape) < p)
    subsets = pd.DataFrame(
        {"shots": [1, 4, 16, "all"], "images": [20, 60, 160, 240], "pieces": [50, 150, 420, 690]}
    )
    bins = failures.recall_by(objects, "pixels", failures.PIXELS)
    buried = failures.recall_by(objects, "visible_fraction", failures.BURIAL)
    yield "methods_dots", plots.methods_dots(frame)
    yield "differences", P.differences(paired)
    yield "reliability", P.reliability(dict.fromkeys(FOUR, table), dict.fromkeys(FOUR, 0.12))
    yield "size", P.recall_curves(dict.fromkeys(FOUR, bins), "visible pixels of the piece")
    yield "burial", P.recall_curves(dict.fromkeys(FOUR, buried), "visible share, %", per_cent=True)
    yield "mass", P.mass_scatter(estimates)
    yield "heat", P.heat_lines(dict(zip(FOUR, np.linspace(0.2, 0.9, 5), strict=True)))
    yield "label_cost", P.label_cost(tables.label_cost(frame, subsets))


def test_every_letter_is_on_the_page_and_on_no_other(frame, paired, objects, estimates):
    for name, fig in every_figure(frame, paired, objects, estimates):
        fig.draw_without_rendering()
        page, hidden, boxes = fig.bbox.padded(1), hidden_ticks(fig), []
        for text in fig.findobj(Text):
            if id(text) in hidden or not text.get_visible() or not text.get_text().strip():
                continue
            box = text.get_window_extent()
            boxes.append((text.get_text(), box.padded(-1)))
            inside = box.x0 >= page.x0 and box.x1 <= page.x1
            assert inside and box.y0 >= page.y0 and box.y1 <= page.y1, (
                f"{name}: {text.get_text()!r}"
            )
            assert text.get_fontsize() >= 6
        for i, (a, box) in enumerate(boxes):
            for b, other in boxes[i + 1 :]:
                assert not box.overlaps(other) or a == b, f"{name}: {a!r} lies on {b!r}"
        assert fig.get_figwidth() <= plots.FULL + 1e-9


def test_methods_dots_show_the_values_and_leave_out_what_is_not_there(frame):
    axes = plots.methods_dots(frame, ["ap", "miou_impurity"]).axes
    drawn = {
        line.get_label(): line.get_xdata()[0]
        for line in axes[0].lines
        if len(line.get_xdata()) == 1
    }
    assert drawn["U-Net"] == pytest.approx(0.91) and len(drawn) == len(METHODS)
    assert "PaDiM" not in {line.get_label() for line in axes[1].lines}


def test_only_sure_differences_are_filled(paired):
    axes = P.differences(paired, ["ap"]).axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    filled = [d for d in dots if d.get_markerfacecolor() != "white"]
    assert [d.get_xdata()[0] for d in filled] == [12]
    assert len(dots) == len(METHODS) - 1


def test_heat_lines_are_what_is_missed(frame):
    axes = P.heat_lines({"scrapseg": 0.75}, most=0.01).axes[0]
    ours = next(a for a in axes.lines if a.get_label().startswith(METHODS["scrapseg"].label))
    assert ours.get_ydata()[-1] == pytest.approx(250)  # a quarter of 1 % of 100 t


def test_every_method_has_its_own_look():
    looks = [tuple(plots.method_style(m)[k] for k in ("color", "marker")) for m in METHODS]
    assert len(set(looks)) == len(METHODS)
    assert {look[0] for look in looks} == {m.colour for m in METHODS.values()}
