"""Pictures: labels laid over images rightly, drawn values equal to the numbers, no clipped text."""

from __future__ import annotations

import matplotlib
import pandas as pd
import pytest
from fake_results import write_results
from matplotlib.collections import FillBetweenPolyCollection, LineCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text

from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.methods import METHODS
from scrapseg.report import figures, style, tables

#: Ours with several seeds, U-Net with one and not at every number of labels.
BANDS = pd.DataFrame(
    [
        (method, shots, seeds, metric, value, value - 0.1, value + 0.1)
        for metric in ("ap", "miou_impurity")
        for method, seeds, values in (
            ("scrapseg", 3, {"1": 0.4, "4": 0.6, "all": 0.9}),
            ("unet", 1, {"1": 0.3, "all": 0.5}),
        )
        for shots, value in values.items()
    ],
    columns=["method", "shots", "seeds", "metric", "value", "lo", "hi"],
)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results"), figures=())


@pytest.fixture(scope="module")
def samples(tiny_scrapsim):
    return list(ScrapSim(tiny_scrapsim, "test"))


# --------------------------------------------------------------------------- figures


def every_figure(frame, samples):
    images, labels = [s.image for s in samples[:4]], [s.label for s in samples[:4]]
    scores = [(lab > 0) * 0.9 for lab in labels]
    history = pd.DataFrame({"step": [1, 2, 3], "loss": 1.0, "dice": 0.4, "val": [None, 0.2, 0.3]})
    yield "panel", style.panel(images, {"truth": labels, "score": scores})
    yield "quality_curve", figures.quality_curve(BANDS)
    yield "ablation_dots", figures.ablation_dots(tables.ablation(frame))
    yield "training_curves", figures.training_curves(history)


def hidden_ticks(fig) -> set[int]:
    """Ids of the labels of ticks outside the view, which matplotlib keeps but does not draw."""
    hidden = set()
    for axes in fig.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-6 * (high - low)
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low - slack <= tick.get_loc() <= high + slack:
                    hidden |= {id(tick.label1), id(tick.label2)}
    return hidden


def test_no_text_is_clipped_or_too_small_or_on_other_text(frame, samples):
    """At the printed size, every letter lies on the page and none lies on another text."""
    for name, fig in every_figure(frame, samples):
        fig.draw_without_rendering()
        page = fig.bbox.padded(1)
        boxes, hidden = [], hidden_ticks(fig)
        for text in fig.findobj(Text):
            if id(text) in hidden or not text.get_visible() or not text.get_text().strip():
                continue
            box = text.get_window_extent()
            if text.get_rotation() % 90 == 0:
                boxes.append((text.get_text(), box.padded(-1)))
            inside = box.x0 >= page.x0 and box.x1 <= page.x1
            inside &= box.y0 >= page.y0 and box.y1 <= page.y1
            assert inside, f"{name}: {text.get_text()!r} leaves the page"
            assert text.get_fontsize() >= 6, f"{name}: {text.get_text()!r} is too small"
        for i, (a, box) in enumerate(boxes):
            for b, other in boxes[i + 1 :]:
                assert not box.overlaps(other) or a == b, f"{name}: {a!r} lies on {b!r}"
        assert fig.get_figwidth() <= style.FULL + 1e-9, name


def test_the_reader_s_own_style_is_left_alone():
    before = dict(matplotlib.rcParams)
    fig = figures.quality_curve(BANDS)
    fig.savefig("/dev/null", format="png")
    assert dict(matplotlib.rcParams) == before


def test_a_figure_shows_itself_in_a_notebook():
    assert figures.quality_curve(BANDS)._repr_png_().startswith(b"\x89PNG")


def test_a_curve_has_its_values_bands_of_seeds_and_bars_of_one():
    fig = figures.quality_curve(BANDS.sample(frac=1, random_state=0))  # rows in any order
    axes = fig.axes[0]
    ours, unet = (
        next(a for a in axes.lines if a.get_label() == METHODS[m].label)
        for m in ("scrapseg", "unet")
    )
    assert ours.get_ydata() == pytest.approx([0.4, 0.6, 0.9])
    assert list(unet.get_ydata()) == [0.3, 0.5]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "4", "all"]
    assert unet.get_xdata() == pytest.approx([0, 2], abs=0.1)  # it has no run with four
    filled = (c for c in axes.collections if isinstance(c, FillBetweenPolyCollection))
    (band,) = (path for c in filled for path in c.get_paths())
    corners = band.vertices
    assert corners[:, 1].min() == pytest.approx(0.3) and corners[:, 1].max() == pytest.approx(1.0)
    bars = (c for c in axes.collections if isinstance(c, LineCollection))
    ends = [segment[:, 1].tolist() for c in bars for segment in c.get_segments()]
    assert ends == [pytest.approx([0.2, 0.4]), pytest.approx([0.4, 0.6])]  # of U-Net's one seed


def test_of_more_lines_than_two_those_without_a_band_have_bars():
    table = pd.concat([BANDS.replace({"unet": m}) for m in ("unet", "fpn", "segformer")])
    table = table.drop_duplicates(["method", "shots", "metric"]).assign(seeds=3)
    axes = figures.quality_curve(table).axes[0]
    filled = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
    bars = [c for c in axes.collections if isinstance(c, LineCollection) and c.get_segments()]
    of = {m: METHODS[m].colour.upper() for m in ("scrapseg", "segformer", "unet", "fpn")}
    assert {to_hex(c.get_facecolor()[0]).upper() for c in filled} == {
        of["scrapseg"],
        of["segformer"],
    }
    assert {to_hex(c.get_edgecolor()[0]).upper() for c in bars} == {of["unet"], of["fpn"]}


def test_a_point_without_a_neighbour_to_band_with_has_a_bar():
    table = BANDS.assign(seeds=BANDS["method"].eq("scrapseg") & BANDS["shots"].eq("1"))
    table["seeds"] = 1 + 2 * table["seeds"]  # three at one place, one at the others
    axes = figures.quality_curve(table, ["scrapseg"]).axes[0]
    bars = (c for c in axes.collections if isinstance(c, LineCollection))
    assert sum(len(c.get_segments()) for c in bars) == 3


def test_a_curve_along_steps_shows_what_is_asked_for():
    steps = {"1": "400", "4": "2000", "all": "8000"}
    table = BANDS.rename(columns={"shots": "steps"}).replace({"steps": steps})
    axes = figures.quality_curve(table, ["unet"], "steps").axes[1]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["400", "2000", "8000"]
    assert [line.get_label() for line in axes.lines if not line.get_label().startswith("_")] == [
        METHODS["unet"].label
    ]


def test_panel_names_a_row_that_does_not_fit(samples):
    with pytest.raises(ValueError, match="'truth' has 1 arrays for 2 images"):
        style.panel([s.image for s in samples[:2]], {"truth": [samples[0].label]})


def test_unknown_methods_get_a_style_and_come_last():
    order = tables.method_order(["mine", "unet", "scrapseg"])
    assert order == ["scrapseg", "unet", "mine"]
    assert style.method_style("mine")["color"] not in {m.colour for m in METHODS.values()}


def test_losses_of_a_training_run_are_told_apart():
    parts = {"focal": 0.5, "dice": 0.4, "image": 0.1}
    fig = figures.training_curves(pd.DataFrame({"step": [1, 2], "loss": 1.0, **parts, "val": 0.3}))
    assert len({line.get_color() for line in fig.axes[0].lines}) == 4
