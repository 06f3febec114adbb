"""The classes: consistent, readable in colour, and usable where the scene generator runs."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from scrapseg.data import classes
from scrapseg.data.classes import CLASSES, IMPURITIES, SLUGS, STEEL, palette
from scrapseg.data.errors import DataError

# Linear-RGB simulation of full colour-vision deficiencies: Machado, Oliveira and Fernandes (2009),
# "A Physiologically-based Model for Simulation of Color Vision Deficiency", severity 1.0.
VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def test_order_slugs_and_kinds():
    slugs = "steel motor cable copper_coil spray_can aluminium rubber plastic wood"
    assert list(SLUGS) == slugs.split()
    assert [c.index for c in CLASSES] == list(range(9))
    assert CLASSES[0] is STEEL and (STEEL, *IMPURITIES) == CLASSES
    assert [c.slug for c in CLASSES if c.kind == "steel"] == ["steel"]
    assert [c.slug for c in CLASSES if c.kind == "hazard"] == ["spray_can"]


def test_every_class_has_words_and_a_reason():
    every_word = [w for c in CLASSES for w in c.words]
    assert len(every_word) == len(set(every_word)), "a word stands for two classes"
    for c in CLASSES:
        assert len(c.words) >= 5 and c.words[0] == c.name
        assert c.why.endswith(".") and "\n" not in c.why
        for w in c.words:
            assert w == w.strip().lower() and not w.startswith(("a ", "an ", "the ")), w


def test_palette_colours_a_label_image():
    label = Image.fromarray(np.arange(9, dtype=np.uint8)[None])
    label.putpalette(palette())
    assert [tuple(p) for p in np.array(label.convert("RGB"))[0]] == [c.colour for c in CLASSES]
    assert len(palette()) == 768


@pytest.mark.parametrize("vision", VISION)
def test_colours_differ_for_every_eye(vision):
    """CIE 1976 difference of at least 15 between any two classes; 2.3 is just noticeable."""
    srgb = np.array([c.colour for c in CLASSES]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(VISION[vision]).T, 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    t = seen @ to_xyz.T / [0.9505, 1.0, 1.089]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    lab = np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )
    for a, b in itertools.combinations(range(len(CLASSES)), 2):
        assert np.linalg.norm(lab[a] - lab[b]) >= 15, (SLUGS[a], SLUGS[b])


def test_the_scene_generator_can_import_it():
    """Of other packages only what Blender's environment has; nothing heavy, whoever imports it."""
    repository = Path(__file__).parents[2]
    code = (
        "import sys, scrapseg.data.classes\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.split()
    needed = (repository / "making" / "synth" / "requirements.txt").read_text()
    for module, package in {"yaml": "pyyaml", "PIL": "pillow"}.items():
        assert module in loaded and f"\n{package}==" in needed
    assert not {"torch", "numpy", "pandas", "matplotlib", "scipy"} & set(loaded)


def test_scrapsims_list_is_read_as_a_list_of_ones_own_is(tmp_path):
    """One reader: the shipped file, copied as a user's, gives the same classes."""
    copy = tmp_path / "classes.yaml"
    shutil.copy(Path(classes.__file__).with_suffix(".yaml"), copy)
    assert tuple(classes.read_classes(copy)) == CLASSES
    raw = yaml.safe_load(copy.read_text())
    assert list(raw) == list(SLUGS)
    for c in CLASSES:
        entry = raw[c.slug]
        assert "#{:02x}{:02x}{:02x}".format(*c.colour) == entry["colour"]
        assert list(c.words) == entry["words"] and c.kind == entry["kind"]


def test_a_class_may_be_called_no(tmp_path):
    """YAML takes a bare yes or no for a truth value."""
    (tmp_path / "c.yaml").write_text("yes:\nno: {words: [off, 1], colour: [1, 2, 3]}\n")
    first, second = classes.read_classes(tmp_path / "c.yaml")
    assert (first.slug, second.slug, second.words) == ("yes", "no", ("off", "1"))
    assert first.words == ("yes",) and second.colour == (1, 2, 3)


def test_no_two_classes_without_colours_look_alike(tmp_path):
    """A mask in colours tells classes by them."""
    (tmp_path / "c.yaml").write_text("".join(f"class {k}:\n" for k in range(64)))
    found = classes.read_classes(tmp_path / "c.yaml")
    assert len({c.colour for c in found}) == 64
    assert [c.colour for c in found[:9]] == [c.colour for c in CLASSES]


@pytest.mark.parametrize(
    "text",
    [
        'steel:\ncopper: {colour: "#e69f00"}\ncable:\nwood:\n',  # ScrapSim's fourth is that orange
        'steel:\ncopper: {colour: "#b87333"}\ncable:\nwood:\nrubber:\nmotor:\n',
        'steel: {colour: "#c0c0c0"}\nwood:\nglass: {colour: "#50b0f0"}\na:\nb:\nc:\n',
        "".join(f"class {k}:\n" for k in range(16)),
    ],
)
def test_colours_by_default_are_told_apart_from_all_others(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    found = classes.read_classes(tmp_path / "c.yaml")
    assert found == classes.read_classes(tmp_path / "c.yaml")
    lab = [rgb2lab(np.array([[c.colour]]) / 255) for c in found]
    for a, b in itertools.combinations(range(len(found)), 2):
        assert deltaE_ciede2000(lab[a], lab[b]) >= 20, (found[a], found[b])


def test_a_class_more_leaves_the_colours_before_it(tmp_path):
    lines = [f"class {k}:\n" for k in range(14)]
    lines[2] = 'class 2: {colour: "#e09000"}\n'
    colours = []
    for n in (13, 14):
        (tmp_path / "c.yaml").write_text("".join(lines[:n]))
        colours.append([c.colour for c in classes.read_classes(tmp_path / "c.yaml")])
    assert colours[0] == colours[1][:13]


@pytest.mark.parametrize("text", ["steel:\nwood:\nwood:\n", "classes: {a: , b: , a: }\n"])
def test_a_class_twice_does_not_shift_the_others(tmp_path, text):
    """YAML takes the last of two equal keys."""
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(DataError, match=r"stands there twice|as one before it"):
        classes.read_classes(tmp_path / "c.yaml")


def test_one_colour_for_two_classes_is_refused(tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text('steel:\ncopper: {colour: "#e69f00"}\nbattery: {color: [230, 159, 0]}\n')
    with pytest.raises(DataError, match="class 'battery': its colour is that of 'copper'"):
        classes.read_classes(path)
    theirs = "#{:02x}{:02x}{:02x}".format(*CLASSES[2].colour)  # of the third class, by default
    path.write_text(f'steel:\ncopper: {{colour: "{theirs}"}}\nbattery:\n')
    read = classes.read_classes(path)
    assert len({c.colour for c in read}) == 3
    assert classes.classes_from(classes.as_yaml(read), path) == read
