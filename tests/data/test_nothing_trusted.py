"""What files cannot do, whoever made them: a test for each fault that fuzzing or reading found."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import papermill.translators
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file

from making import fuzz_inputs as inputs
from scrapseg.app.report import write_report
from scrapseg.data import cables, fetch
from scrapseg.data.belt_waste import BeltWaste
from scrapseg.data.cables import Cables
from scrapseg.data.classes import classes_from, read_classes
from scrapseg.data.errors import (
    BrokenImage,
    ChecksumMismatch,
    DataError,
    LabelFileError,
    SizeMismatch,
)
from scrapseg.data.folder import open_folder, read_photo
from scrapseg.data.magnetic_tile import MagneticTile
from scrapseg.experiments import leaderboard, records
from scrapseg.files import REPOSITORY, OneLine
from scrapseg.models.segmenter import SegmenterError, load

EVIL = "<img src=x onerror=alert(1)>"
SOURCES = [
    p for room in ("scrapseg", "making", "notebooks") for p in REPOSITORY.glob(f"{room}/**/*.py")
]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Two photographs and a class list."""
    folder = tmp_path / "mine"
    folder.mkdir()
    inputs.images(folder)
    return folder


# --- pictures ---------------------------------------------------------------------------------


def test_postscript_under_another_ending_is_not_run(tmp_path, monkeypatch):
    """Pillow knows files by their content, and has Ghostscript run what is PostScript."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a process is started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    (tmp_path / "a.jpg").write_bytes(inputs.POSTSCRIPT)
    with pytest.raises(BrokenImage, match=r"a\.jpg: cannot be decoded"):
        read_photo(tmp_path / "a.jpg")


def test_a_mask_is_measured_before_it_is_decoded(mine, monkeypatch):
    """144 million pixels in 420 kB."""
    inputs.a_mask(12_000, 12_000)(mine / "..")
    (mine / "masks").mkdir()
    (mine / "../masks/a.png").rename(mine / "masks/a.png")
    monkeypatch.setattr("scrapseg.data.masks.read_codes", None)
    with pytest.raises(
        SizeMismatch, match=r"masks.a\.png: is 12000 x 12000 pixels, its image 48 x"
    ):
        open_folder(mine)


def test_an_orientation_that_there_is_not_is_none(tmp_path):
    exif = Image.Exif()
    exif[274] = 9
    deep = Image.fromarray(inputs.PHOTO[..., 0].astype(np.uint16) * 9)
    deep.save(tmp_path / "a.png", exif=exif)
    assert read_photo(tmp_path / "a.png").shape == inputs.PHOTO.shape


def test_a_tiff_without_its_size(tmp_path):
    """Pillow's TypeError is not one of those it usually has for damaged files."""
    image = io.BytesIO()
    Image.fromarray(inputs.PHOTO).save(image, "TIFF")
    content = image.getvalue()
    for kind in (3, 4):  # the width's tag, whichever type it is of
        content = content.replace(struct.pack("<HH", 256, kind), struct.pack("<HH", 999, kind))
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(BrokenImage, match=r"a\.tif: cannot be decoded"):
        read_photo(tmp_path / "a.tif")


# --- labels -----------------------------------------------------------------------------------


def test_links_that_lead_back_are_told(mine):
    """Three links to the folder itself are 3**40 paths, for a walk that follows links."""
    for name in ("again", "anew"):
        (mine / name).symlink_to(mine)
    with pytest.raises(DataError, match="again: is the same folder as"):
        open_folder(mine)


def test_a_linked_folder_of_data_is_followed(mine, tmp_path):
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/data").symlink_to(mine)
    assert len(open_folder(tmp_path / "linked").files) == 2


def test_a_pipe_is_not_waited_for(mine):
    os.mkfifo(mine / "a.json")
    with pytest.raises(DataError, match=r"a\.json: is a pipe"):
        open_folder(mine)


def coco(mine: Path, **changes) -> Path:
    content = json.loads(json.dumps(inputs.COCO))
    content["annotations"] = [content["annotations"][0] | changes]
    (mine / "annotations.json").write_text(json.dumps(content))
    return mine


@pytest.mark.parametrize("box", [5, {"a": 1}, True])
def test_a_box_that_is_none(mine, box):
    with pytest.raises(LabelFileError, match=r"annotation 1: its box cannot be read"):
        open_folder(coco(mine, bbox=box, segmentation=None))


def test_run_lengths_without_an_end(mine):
    """Each letter says that the number goes on: a million of them took minutes."""
    rle = {"size": [inputs.H, inputs.W], "counts": "o" * 1_000_000}
    with pytest.raises(LabelFileError, match="a number of them has no end"):
        open_folder(coco(mine, segmentation=rle))


def test_a_polygon_that_runs_to_and_fro_does_not_end_the_process(tmp_path):
    """In 2,000 x 2,000 pixels 100,000 points took 8 GB in pycocotools, or crashed it."""
    inputs.a_polygon(5_000)(tmp_path)
    with pytest.raises(LabelFileError, match=r"shape 1: the polygon is longer than any outline"):
        open_folder(tmp_path)


def test_a_class_number_of_five_thousand_digits(mine):
    (mine / "labels").mkdir()
    (mine / "labels/classes.txt").write_text("cable\n")
    (mine / "labels/a.txt").write_text("9" * 5000 + " 0.1 0.1 0.5 0.1 0.5 0.5\n")
    with pytest.raises(LabelFileError, match=r"line 1: class '999.* is no number from 0 to 0"):
        open_folder(mine)


def test_a_name_in_data_yaml_that_doubles_and_doubles(mine):
    (mine / "a.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (mine / "data.yaml").write_text(inputs.BILLION + "names: [*a11]\n")
    with pytest.raises(LabelFileError, match=r"data\.yaml: has no list of names"):
        open_folder(mine)


def test_an_outline_in_postscript_is_no_mask(mine):
    shape = {"label": "cable", "shape_type": "mask", "points": [[1, 1], [9, 9]]}
    shape["mask"] = inputs.base64.b64encode(inputs.POSTSCRIPT).decode()
    (mine / "a.json").write_text(json.dumps({"imagePath": "a.png", "shapes": [shape]}))
    with pytest.raises(LabelFileError, match="shape 1: broken mask"):
        open_folder(mine)


@pytest.mark.parametrize("prefix", [inputs.LOL, inputs.OUTSIDE])
def test_entities_are_neither_multiplied_nor_fetched(mine, prefix):
    text = f"<image name='&j;' width='{inputs.W}' height='{inputs.H}'/>"
    text = f"{prefix}]><annotations>{text}</annotations>"
    (mine / "annotations.xml").write_text(text)
    with pytest.raises(DataError) as caught:
        open_folder(mine)
    assert "root:" not in str(caught.value) and len(str(caught.value)) < 2500


# --- class lists, messages --------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, said",
    [
        ("steel: {}\ncable: " + "[" * 5000, "not YAML"),
        (inputs.BILLION + "classes: {steel: {}, cable: {name: *a11}}\n", "name no text"),
        ('steel: {}\ncable: {name: "\\ud800"}\n', "name no text"),
        ("steel: {}\ncable: {kind: [1]}\n", "name no text"),
        ("steel: {}\ncable: {words: [a, {}]}\n", "name no text"),
        ("# " + "x" * (1 << 20), "over a megabyte"),
        ("x: !!python/object/apply:os.mkdir [pwned]\n", "classes"),
    ],
)
def test_a_class_list_that_is_a_trick(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    Path("classes.yaml").write_text(text)
    with pytest.raises(DataError, match=said):
        read_classes("classes.yaml")
    assert not Path("pwned").exists()


def test_an_empty_kind_is_none():
    (_, cable) = classes_from({"steel": {}, "cable": {"kind": {}, "why": None}}, "here")
    assert cable.kind is None and cable.why == "" and hash(cable)


def test_a_message_is_one_line_whatever_is_in_it():
    text = str(OneLine("a\nb\x1b[2J\u202e\ud800é" + "x" * 10_000))
    assert text.startswith(r"a\nb\x1b[2J\u202e\ud800éx") and len(text) < 2100
    assert text.isprintable() and text.encode()


# --- models and results -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "vision",
    [
        {"width": 4096, "head_width": 64},  # 0.8 GB a layer
        {"layers": 1_000_000},
        {"timm_model_name": "hf-hub:nobody/model", "timm_model_pretrained": True},
    ],
)
def test_a_model_is_as_large_as_its_file_and_fetches_nothing(tmp_path, monkeypatch, vision):
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    inputs.a_model(**vision)(tmp_path)
    with pytest.raises(SegmenterError, match=r"model\.safetensors: cannot read the saved model"):
        load(tmp_path)


@pytest.mark.parametrize("mean", [["a", "b", "c"], [0.5] * 4, [float("nan")] * 3, None])
def test_a_normalisation_or_a_scale_that_is_none(tmp_path, mean):
    inputs.write_model(tmp_path, None)
    config = json.loads((tmp_path / "model.json").read_text())
    if mean:
        config["encoder"]["mean"] = mean
    else:
        config["scale"] = 1e-9
    (tmp_path / "model.json").write_text(json.dumps(config))
    with pytest.raises(SegmenterError, match="cannot read the saved model"):
        load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": float("nan")},
        {"threshold": "high"},
        {"side": 0},
        {"side": 10**9},
        {"origin": [1]},
        {"mirrored": "no"},
        {"promises": {"objects": {"scenes": 3, "thresholds": {"a": 1}}}},
    ],
)
def test_a_card_that_is_unfit(tmp_path, changes):
    inputs.write_model(tmp_path, None)
    load(tmp_path)
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(inputs.CARD | changes))
    with pytest.raises(SegmenterError, match=r"model\.yaml: cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize("card", [b"\xff\xfe", b"a: " + b"[" * 5000, b"- a\n"])
def test_a_card_that_is_none(tmp_path, card):
    inputs.write_model(tmp_path, None)
    (tmp_path / "model.yaml").write_bytes(card)
    with pytest.raises(SegmenterError, match=r"model\.yaml"):
        load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [{"seed": None}, {"shots": "some"}, {"method": ["unet"]}, {"metrics": {"ap": 10**400}}],
)
def test_a_record_whose_fields_are_of_other_types(tmp_path, changes):
    inputs.write_records(tmp_path, None)
    path = next((tmp_path / "runs").iterdir())
    path.write_text(json.dumps(inputs.RECORD | changes))
    with pytest.raises(records.BrokenRecord, match=r"of the wrong type"):
        records.joined(tmp_path)
    for text in ("[" * 100_000, json.dumps(inputs.RECORD | {"split": "\ud800"})):
        path.write_text(text)
        with pytest.raises(records.BrokenRecord, match="not a readable run record"):
            records.joined(tmp_path)


def test_a_table_of_metrics_whose_seed_is_no_number_of_ours(tmp_path):
    row = ["unet", "supervised", "pocket", "scrapsim", "all", "9" * 30, "ap", "0.5", "a"]
    (tmp_path / "metrics.csv").write_text(f"{','.join(records.COLUMNS)}\n{','.join(row)}\n")
    with pytest.raises(records.BrokenRecord, match="not a readable table of metrics"):
        records.read_metrics(tmp_path)


def test_entries_that_are_no_arrays_of_scores(tmp_path):
    for key, array in (
        ("labels", inputs.TRUTH.astype("u8")),
        ("levels", np.zeros(3, np.uint8)),
        ("edges", np.array([{}], object)),
    ):
        np.savez(tmp_path / "other.npz", **inputs.ENTRY | {key: array})
        with pytest.raises(leaderboard.BrokenEntry, match=r"other\.npz: not a file of predictions"):
            inputs.read_board(tmp_path)


def test_an_entry_that_claims_to_be_large(tmp_path):
    inputs.an_entry(10**12, 0)(tmp_path)
    with pytest.raises(leaderboard.BrokenEntry):
        inputs.read_board(tmp_path)
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("levels.npy", b"")
        archive.infolist()[0].file_size = 2 << 30
    with pytest.raises(leaderboard.BrokenEntry, match="unpacks to over a gigabyte"):
        inputs.read_board(tmp_path)


# --- weights, downloads -----------------------------------------------------------------------


def calls(path: Path) -> set[str]:
    """Dotted names of all that a Python file calls."""
    nodes = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
    return {ast.unparse(node.func) for node in nodes}


def test_nothing_is_unpickled_and_yaml_is_safe():
    """torch.load stands where it may: with weights_only, on CLIP weights of others' making."""
    found = {(p.name, c) for p in SOURCES for c in calls(p)}
    bad = (
        r"(c?pickle|joblib|dill|marshal)\.loads?|torch\.(jit\.)?load|eval|exec|os\.system|np\.load"
    )
    bad += r"|yaml\.(load|full_load|unsafe_load)(_all)?|pd\.read_pickle|.*extractall"
    seen = {(name, call) for name, call in found if re.fullmatch(bad, call)}
    assert {s for s in seen if "torch" in s[1]} == {
        ("clip.py", "torch.load"),
        ("clip.py", "torch.jit.load"),
        ("class_offsets.py", "torch.load"),
        ("corruptions.py", "torch.load"),
        ("weights.py", "torch.load"),
    }
    assert {s for s in seen if "yaml" in s[1]} == {
        ("classes.py", "yaml.load"),
        ("labels.py", "yaml.load"),
    }
    assert {c for _, c in seen} <= {
        "torch.load",
        "torch.jit.load",
        "yaml.load",
        "np.load",
        "archive.extractall",
    }
    assert not any("tarfile" in p.read_text() for p in SOURCES)  # zipfile's names stay inside
    for path in (p for p in SOURCES if {"torch.load", "yaml.load", "np.load"} & calls(p)):
        for line in re.findall(r"(?:torch|yaml|np)\.load\(.*", path.read_text()):
            assert re.search("weights_only=True|BaseLoader|^np", line) and "pickle" not in line, (
                path
            )


def test_saved_models_are_safetensors(tmp_path):
    inputs.write_model(tmp_path, None)
    saved = load(tmp_path).save(tmp_path / "again/model.safetensors")
    assert {p.suffix for p in saved.parent.iterdir()} == {".safetensors", ".json", ".yaml"}
    assert load_file(saved)["text"].shape == (3, 16)


def test_downloads_are_over_https_and_checked(tmp_path, monkeypatch):
    for kind in (BeltWaste, Cables, MagneticTile):
        assert kind.url.startswith("https://")
        assert kind.digest or "sha256" in pd.read_csv(kind.index)
    made = {r["data_sha256"] for p in (REPOSITORY / "results/real/runs").glob("*cables*.json")
            for r in [json.loads(p.read_text())["provenance"]]}  # fmt: skip
    assert made == {Cables.digest}

    def other(url: str, where: Path) -> Path:
        (where / Cables.inside).mkdir(parents=True)
        return where

    monkeypatch.setattr(fetch, "unzipped", other)
    monkeypatch.setattr(cables.Cables, "check", lambda *_: "0" * 64)
    with pytest.raises(ChecksumMismatch, match="what came is not what results were measured on"):
        Cables.download(tmp_path / "cables")
    assert not (tmp_path / "cables").exists()


WRITTEN: list[list[Path]] = []  # takes the paths that this process opens to write, while in use


def note_writes(event: str, arguments: tuple) -> None:
    """An audit hook, which stays for as long as the process does."""
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    named = event == "open" and not isinstance(arguments[0], int)
    if named and WRITTEN and arguments[2] & writes:
        WRITTEN[0].append(Path(os.fsdecode(arguments[0])).absolute())


sys.addaudithook(note_writes)


def test_archives_leave_nothing_outside_their_folder(tmp_path, monkeypatch):
    """By pooch, as `scrapseg.data.fetch` has it unpack; wherever in the system it would write."""
    archive, inside, deep = tmp_path / "a.zip", tmp_path / "inside", tmp_path / "1/2/3"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)  # names may be taken as seen from here
    names = ("../out.txt", f"{tmp_path}/out.txt", "in/../../out.txt", "..\\out.txt", "fine.txt")
    with zipfile.ZipFile(archive, "w") as made:
        for name in names:
            made.writestr(name, "x")
    written: list[Path] = []
    monkeypatch.setattr(f"{__name__}.WRITTEN", [written])
    fetch.pooch.Unzip(extract_dir=str(inside))(str(archive), "download", None)
    WRITTEN.clear()
    (inside / "fine.txt").read_text()
    assert len(written) == len(names) and inside / "fine.txt" in written
    assert all(Path(os.path.normpath(p)).is_relative_to(inside) for p in written), written
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {p for p in files if not p.is_relative_to(inside)} == {archive}


def test_the_watch_over_written_files_sees_an_escape(tmp_path, monkeypatch):
    written: list[Path] = []
    monkeypatch.setattr(f"{__name__}.WRITTEN", [written])
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").read_text()
    os.close(os.open(tmp_path / "b", os.O_CREAT | os.O_WRONLY))
    assert written == [tmp_path / "a", tmp_path / "b"]


# --- what is shown ----------------------------------------------------------------------------


class Elements(HTMLParser):
    """The tags of a page and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_report_shows_names_as_text(tmp_path):
    content = {"steel": {}, "cable": {"name": EVIL, "words": [EVIL]}}
    classes = classes_from(content, "here")
    row = {"image": f"{EVIL}.jpg", "stem": EVIL, "width": 9, "height": 9, "score": 0.5}
    row |= {"uncertainty": 0.1, "objects": 1, "cable_objects": 1, "cable_pixels": 5}
    told = {"origin": EVIL, "notes": [EVIL], "credit": EVIL, "threshold": 0.5}
    listed = {"changed": {EVIL: {"cable_objects": 2}}, "to_label": [EVIL]}
    path = write_report(tmp_path, EVIL, pd.DataFrame([row]), classes, **told, **listed)
    page = Elements(path.read_text())
    assert page.words.count(EVIL) > 8
    images = [attributes for tag, attributes in page.found if tag == "img"]
    assert images and all(a["src"].endswith(".jpg") for a in images)
    assert not any(k.startswith("on") for _, attributes in page.found for k in attributes)
    assert not any(tag == "script" for tag, _ in page.found)


def test_a_parameter_of_a_notebook_is_a_value_and_no_code():
    evil = "a\"\n'''; import os; os.mkdir(\"pwned\") #\\"
    text = papermill.translators.PythonTranslator.translate(evil)
    assert ast.literal_eval(text) == evil


def test_notebook_07_shows_names_as_text():
    """Markdown passes HTML on; what comes from a folder goes through `plain`."""
    source = (REPOSITORY / "notebooks/07_apply_to_your_scrap.py").read_text()
    node = next(n for n in ast.walk(ast.parse(source)) if getattr(n, "name", "") == "plain")
    scope: dict = {}
    exec(f"import html\n{ast.unparse(node)}", scope)
    assert not Elements(scope["plain"](EVIL)).found and "[a](" not in scope["plain"]("[a](b)")
    shown = re.findall(r"Markdown\((.*)", source)
    assert all("plain(" in s or s in ("", 'f"{text} {promise}")') for s in shown), shown
