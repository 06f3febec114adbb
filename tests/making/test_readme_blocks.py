"""The README's blocks: made of the results, each at its place, and nothing else touched."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from fake_results import write_results

from making import readme
from scrapseg.experiments import records
from scrapseg.report import scene_tables

TEXT = "a\n" + "".join(
    f"<!-- {name}:begin -->\nstale text\n<!-- {name}:end -->\n" for name in readme.BLOCKS
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "laptop"
    write_results(path, figures=())
    scene_tables.build_all(path)
    return path


def test_blocks_are_replaced_and_nothing_else(folder):
    text = readme.fresh(TEXT + "c\n", folder)
    assert text.startswith("a\n<!-- findings:begin -->\n- With all labels") and text.endswith(
        "\nc\n"
    )
    assert "stale text" not in text and "| U-Net | 1 | **91.0** |" in text
    assert readme.fresh(text, folder) == text


def test_bold_is_the_best_of_each_column_and_a_dash_is_never(folder):
    text = readme.results(folder)
    lines = {line.split("|")[1].strip(): line for line in text.split("\n") if "|" in line}
    assert "**66.0**" in lines["ScrapSeg (ours)"] and "**91.0**" not in lines["ScrapSeg (ours)"]
    assert "–" in lines["PatchCore"] and "**–**" not in lines["PatchCore"]
    assert "11.7 min" in lines["U-Net"] and "33 ms" in lines["U-Net"] and "4.2 M" in lines["U-Net"]


def test_findings_name_the_best_rival_and_the_losses(folder):
    paired = pd.read_csv(folder / "tables/paired.csv").set_index(["scrapseg minus", "metric"])
    best, *_ = readme.findings(folder).split("\n")
    assert "U-Net" in best and "aligned" not in best  # a control is no rival
    assert f"{100 * paired.loc[('unet', 'miou_impurity'), 'value']:+.1f} points" in best
    assert "ImageNet" not in best  # not measured at equal steps


def test_findings_say_what_freezing_and_other_words_cost_at_equal_steps(folder):
    names = ["shots", "scrapseg minus", "seeds", "metric", "value", "lo", "hi", "p_holm"]
    rows = [
        ("4", "scrapseg-frozen", 3, "miou_impurity", 0.02, 0.01, 0.03, 0.01),
        ("16", "scrapseg-frozen", 3, "miou_impurity", 0.02, -0.01, 0.03, 0.5),
        ("all", "scrapseg-frozen", 3, "miou_impurity", 0.03, 0.01, 0.05, 0.01),
        ("16", "scrapseg-frozen", 3, "ap", -0.02, -0.03, -0.01, 0.01),
        ("4", "scrapseg-permuted", 2, "miou_binary", 0.9, 0.8, 1.0, 0.01),
        ("4", "scrapseg-permuted", 2, "miou_impurity", 0.026, -0.001, 0.054, 0.4),
        ("all", "scrapseg-random", 2, "ap", 0.014, -0.002, 0.029, 0.4),
    ]
    records.save_table(pd.DataFrame(rows[:4], columns=names), folder, "labels_paired")
    frozen = readme.findings(folder).split("\n- ")[1]
    said = "of *ours, frozen encoder* in pixel AP at 0 of 1, in impurity mIoU at 2 of 3 (3 seeds)."
    assert frozen.endswith(said)
    records.save_table(pd.DataFrame(rows, columns=names), folder, "labels_paired")
    text = readme.findings(folder).split("\n- ")[1]
    assert "of *ours, words permuted* in impurity mIoU at 0 of 1 (2 seeds)" in text
    table = readme.differences(folder).split("\n")
    assert "| in | ours minus | seeds | 4 | 16 | all |" in table
    permuted = "| impurity mIoU | ours, words permuted | 2 | +2.6 (-0.1 to +5.4) | – | – |"
    frozen = r"| +2.0\* (+1.0 to +3.0) | +2.0 (-1.0 to +3.0) | +3.0\* (+1.0 to +5.0) |"
    assert permuted in table and f"| impurity mIoU | ours, frozen encoder | 3 {frozen}" in table
    assert "| pixel AP | ours, random vectors | 2 | – | – | +1.4 (-0.2 to +2.9) |" in table
    assert "90.0" not in "".join(table)  # a metric that is not told


def test_a_row_says_how_many_seeds_each_number_of_labels_has():
    names = ["in", "ours minus", "seeds", "shots", "value", "lo", "hi", "p_holm"]
    rows = [("ap", "x", 3, "1", 0.1, 0, 0.2, 0.01), ("ap", "x", 5, "4", 0.2, 0.1, 0.3, 0.2)]
    rows += [("ap", "y", 5, "4", 0.3, 0.1, 0.5, 0.01)]
    told = readme.by_labels(pd.DataFrame(rows, columns=names), "in", "ours minus", "seeds")
    assert told.split("\n")[2:] == [
        r"| ap | x | 3 / 5 | +10.0\* (+0.0 to +20.0) | +20.0 (+10.0 to +30.0) |",
        r"| ap | y | 5 | – | +30.0\* (+10.0 to +50.0) |",
    ]


def test_the_worth_of_an_alignment_is_told_pair_by_pair(folder):
    names = ["start", "minus", "shots", "seeds", "metric", "value", "lo", "hi", "p_holm"]
    right = ("scrapseg-to-text", "scrapseg-to-permuted")
    without = ("scrapseg-to-numbers-without", "scrapseg-imagenet")
    rows = [
        (*right, "0", 1, "miou_impurity", 0.3, 0.2, 0.4, 0.01),
        (*right, "4", 3, "miou_impurity", -0.011, -0.03, 0.02, 0.4),
        (*right, "4", 3, "ap", 0.8, 0.7, 0.9, 0.01),
        (*without, "all", 3, "miou_impurity", 0.021, 0.01, 0.03, 0.01),
    ]
    records.save_table(pd.DataFrame(rows, columns=names), folder, "alignment_paired")
    told = readme.differences(folder).split("\n")
    head = told.index("| alignment | seeds | 4 | all |")
    assert told[head + 2 :] == [
        "| right words over wrong ones | 3 | -1.1 (-3.0 to +2.0) | – |",
        r"| such class numbers over no alignment | 3 | – | +2.1\* (+1.0 to +3.0) |",
    ]


def test_longer_training_is_told_rival_by_rival(folder):
    names = ["shots", "steps", "scrapseg minus", "seeds", "metric", "value", "lo", "hi", "p_holm"]
    rows = [
        ("16", 2000, "unet", 3, "miou_impurity", 0.02, 0.01, 0.03, 0.01),
        ("16", 2000, "unet", 3, "ap", 0.9, 0.8, 1.0, 0.01),
        ("all", 2000, "segformer", 1, "miou_impurity", -0.01, -0.02, 0.01, 0.6),
    ]
    records.save_table(pd.DataFrame(rows, columns=names), folder, "long_paired")
    names = ["method", "shots", "steps", "seeds", "miou_impurity"]
    rows = [("scrapseg", "16", 2000, 3, 0.3), ("unet", "all", 9, 3, 0.1)]
    rows += [("scrapseg", "all", 2000, 3, 0.4), ("scrapseg", "all", 8000, 1, 0.5)]
    records.save_table(pd.DataFrame(rows, columns=names), folder, "long")
    [told] = [said for said in readme.findings(folder).split("\n- ") if "for longer" in said]
    assert "40.0 % after 2000 steps (seeds: 3), 50.0 % after 8000 steps (seeds: 1)." in told
    table = readme.differences(folder)
    assert r"| U-Net | 2000 | 3 | +2.0\* (+1.0 to +3.0) | – |" in table
    assert "| SegFormer decoder | 2000 | 1 | – | -1.0 (-2.0 to +1.0) |" in table
    assert "90.0" not in table
    ends = {
        f"miou_impurity_{k}": [None, v]
        for k, v in zip(("gap", "lo", "hi", "p_holm"), (0.03, 0.01, 0.05, 0.01))
    }
    rival = {
        "method": ["scrapseg", "unet"],
        "images": 446,
        "steps": 9,
        "scales": "1",
        "miou_impurity": 0.5,
    }
    records.save_table(pd.DataFrame(rival | ends), folder, "more_rivals")
    names = ["shots", "steps", "seeds", "method", "minus", "metric", "value", "lo", "hi", "p_holm"]
    rows = [
        ("4", 7, 3, "x", "", "miou_impurity", 0.2, 0.1, 0.3, None),
        ("4", 7, 3, "x", "segformer-aligned", "miou_impurity", 0.02, 0.01, 0.03, 0.01),
        ("4", 7, 3, "x", "segformer-aligned", "ap", 0.09, 0.08, 0.1, 0.01),
    ]
    records.save_table(pd.DataFrame(rows, columns=names), folder, "new_head")
    table = readme.differences(folder)
    # One run has no star, whatever its p.
    more = "U-Net, both given 446 images, seen at 1 | 9 | 1 | – | – | +3.0 (+1.0 to +5.0) |"
    new = r"SegFormer, aligned tower, the head of ours as new | 7 | 3 | +2.0\* (+1.0 to +3.0) |"
    assert more in table and new in table and "9.0\\*" not in table


def test_ours_without_alignment_is_told_from_the_rivals_side(folder, tmp_path):
    for name in ("methods", "paired"):
        table = pd.read_csv(folder / f"tables/{name}.csv").replace("unet", "segformer")
        records.save_table(table, tmp_path, name)
    names = ["shots", "segformer minus", "seeds", "metric", "value", "lo", "hi"]
    rows = [("all", "scrapseg-imagenet", 2, "miou_impurity", 0.017, 0.002, 0.032)]
    records.save_table(pd.DataFrame(rows, columns=names), tmp_path, "labels_rival")
    best, *_ = readme.findings(tmp_path).split("\n")
    assert "ImageNet as these are, ours is at -1.7 points (-3.2 to -0.2) (2 seeds" in best


def test_definitions_are_shown_as_saved(folder):
    assert readme.definitions(folder) == readme.NOT_YET
    table = pd.DataFrame({"definition": ["mIoU"], "meaning": ["mean"], "value": [0.5494]})
    records.save_table(table, folder, "definitions")
    text = readme.definitions(folder)
    assert "| mIoU | mean | 54.9 |" in text
    assert (
        "28.6 % (abstract of arXiv:2506.13282)" in text and "mIoU 92.3 % (machine-written" in text
    )
    (folder / "tables/definitions.csv").unlink()


def test_targets_are_shown_and_what_is_missed_is_counted(tmp_path):
    (tmp_path / "bench").mkdir()
    assert readme.targets(tmp_path / "laptop") == readme.NOT_YET
    table = pd.DataFrame(
        [["a.csv", "speed", "at most 2", "1.0", "yes"], ["b.csv", "AP", "at least 5", "4", "no"]],
        columns=["source", "what", "target", "measured", "met"],
    )
    table.to_csv(tmp_path / "bench/targets.csv", index=False)
    text = readme.targets(tmp_path / "laptop")
    assert (
        "| speed | at most 2 | 1.0 | yes |" in text and "| AP | at least 5 | 4 | **no** |" in text
    )
    assert "1 of 2 are missed" in text


def test_times_are_shown_as_measured(tmp_path):
    path = tmp_path / "times.json"
    assert readme.times(tmp_path) == readme.NOT_YET
    times = {"reproduce_first_s": 1500, "reproduce_second_s": 4.2, "test_s": 300}
    path.write_text(json.dumps(times | {"machine": "2 cores", "clone_mb": 81.2}))
    text = readme.times(tmp_path)
    assert "25 min" in text and "4 s" in text and "5.0 min" in text and "2 cores" in text
    assert "download of 81 MB" in text and "GB" not in text and "make apply" not in text
    path.write_text(json.dumps(times | {"machine": "2 cores", "apply_s": 301}))
    assert "| `make apply`, 50 images, 8 with labels | 5.0 min |" in readme.times(tmp_path)
    path.write_text(json.dumps(times | {"machine": "2 cores", "apply_unlabelled_s": 270}))
    assert "| `make apply`, 50 images without labels | 4.5 min |" in readme.times(tmp_path)
    path.write_text("{}")
    with pytest.raises(readme.ReadmeError, match=r"times\.json"):
        readme.times(tmp_path)


def test_missing_marks_get_one_line(folder):
    with pytest.raises(readme.ReadmeError, match="times:begin"):
        readme.fresh(TEXT.replace("times:begin", "time:begin"), folder)


def test_a_stale_page_is_told_and_brought_up_to_date(tmp_path, folder, monkeypatch):
    page = tmp_path / "README.md"
    page.write_text(TEXT)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/laptop").symlink_to(folder)
    monkeypatch.setattr("sys.argv", ["readme", "--check"])
    with pytest.raises(SystemExit, match="stale"):
        readme.main(tmp_path)
    assert page.read_text() == TEXT
    monkeypatch.setattr("sys.argv", ["readme"])
    readme.main(tmp_path)
    assert page.read_text() == readme.fresh(TEXT, folder)
    monkeypatch.setattr("sys.argv", ["readme", "--check"])
    readme.main(tmp_path)
    sound = page.read_text()
    page.write_text(sound + "![web](https://a.org/b.png) ![here](results/b.png)")
    with pytest.raises(SystemExit, match=r"results/b\.png is no committed file"):
        readme.main(tmp_path)
    page.write_text("no marks")
    with pytest.raises(SystemExit, match=r"README\.md: needs the marks <!-- findings:begin -->"):
        readme.main(tmp_path)
