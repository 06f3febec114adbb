"""ScrapSim's generator: the plan, resuming and finishing need no Blender; rendering does."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from making.synth import dataset
from making.synth.__main__ import main
from scrapseg.data.classes import CLASSES, IMPURITIES

ROOT = Path(__file__).parents[2]


def test_plan_keeps_the_promises_of_the_datasheet():
    specs = dataset.plan(240)
    assert Counter(s.split for s in specs) == {"train": 120, "val": 30, "test": 90}
    for split in ("train", "val", "test"):
        group = [s for s in specs if s.split == split]
        clean = [s for s in group if not s.impurities]
        assert len(clean) * 3 == len(group)
        for part in (group, clean):  # heaps and belts even, also among scenes without impurity
            heaps = sum(s.setting == "heap" for s in part)
            assert abs(2 * heaps - len(part)) <= 2
    in_test = Counter(slug for s in specs if s.split == "test" for slug in set(s.impurities))
    assert set(in_test) == {c.slug for c in IMPURITIES}
    assert min(in_test.values()) * dataset.VIEWS >= 40
    assert dataset.plan(16) == specs[:16]
    assert dataset.plan(16, seed=1) != specs[:16]
    draws = [s.rng().random() for s in specs]
    assert len(set(draws)) == len(draws)  # no two scenes share a random stream


def fake_scene(spec, out):
    """Stands in for Blender: writes what render_scene writes, with squares for impurities."""
    lines = []
    for view in range(dataset.VIEWS):
        label = np.zeros((384, 384), np.uint8)
        found = []
        for k, slug in enumerate(dict.fromkeys(spec.impurities), start=1):
            index = next(c.index for c in CLASSES if c.slug == slug)
            label[40 * k : 40 * k + 30, 50:80] = index
            found.append(
                {"id": k, "class": slug, "pixels": 900, "visible_fraction": 1.0, "mass_kg": 1.0}
            )
        name = f"{spec.scene:04d}_{view}"
        instances = np.where(label > 0, 1, 0).astype(np.uint8)
        for folder, suffix, image in (
            ("images", "jpg", Image.fromarray(np.full((384, 384, 3), 90, np.uint8))),
            ("labels", "png", dataset.as_label(label)),
            ("instances", "png", Image.fromarray(instances)),
        ):
            kind = {"jpg": "JPEG", "png": "PNG"}[suffix]
            dataset.write(out / folder / f"{name}.{suffix}", dataset.encoded(image, kind))
        lines.append(
            {"id": name, "scene": spec.scene, "view": view, "split": spec.split,
             "setting": spec.setting, "impurity_fraction": float((label > 0).mean()),
             "instances": found}
        )  # fmt: skip
    dataset.write(dataset.record_of(out, spec.scene), json.dumps(lines).encode())


def test_a_finished_set_from_elsewhere_is_not_overwritten(tmp_path, capsys, monkeypatch):
    (tmp_path / "checksums.sha256").write_text("")
    monkeypatch.setattr(sys, "argv", ["synth", "render", "--scenes", "1", "--out", str(tmp_path)])
    assert main() == 1
    assert f"{tmp_path}: holds a finished data set" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["checksums.sha256"]


def test_finish_gathers_checks_and_complains(tmp_path):
    for spec in dataset.plan(24):
        fake_scene(spec, tmp_path)
    (tmp_path / "images" / "0099_0.jpg").write_bytes(b"left by a killed scene")
    (tmp_path / "README.md").write_text(f"a\n{dataset.MARKS[0]}\nold\n{dataset.MARKS[1]}\nb\n")
    with pytest.raises(dataset.TargetsMissed, match="train has 24 images, wanted 240"):
        dataset.finish(tmp_path)
    lines = [json.loads(x) for x in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    assert [x["id"] for x in lines] == sorted(p.stem for p in (tmp_path / "images").iterdir())
    sheet = (tmp_path / "README.md").read_text()
    assert "old" not in sheet
    assert sheet.startswith("a\n") and sheet.endswith("\nb\n")
    assert "| images | 24 | 6 | 18 |" in sheet
    sums = (tmp_path / "checksums.sha256").read_text().splitlines()
    assert len(sums) == 48 * 3 + 3
    for line in sums:
        digest, path = line.split("  ")
        assert hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() == digest
    label = Image.open(tmp_path / "labels" / "0000_0.png")
    assert label.mode == "P"
    assert label.getpalette()[3:6] == list(CLASSES[1].colour)


def test_missed_names_every_target():
    line = {"split": "test", "id": "0007_1", "impurity_fraction": 0.08,
            "instances": [{"class": "wood"}]}  # fmt: skip
    text = "; ".join(dataset.missed([line], megabytes=61.0))
    for words in ("train has 0 images", "0007_1 (8.00%)", "wood in 1 test images", "61 MB"):
        assert words in text


def test_finished_scenes_are_not_made_again(tmp_path, monkeypatch):
    made = []

    def stand_in(spec, out):
        made.append(spec.scene)
        fake_scene(spec, out)

    monkeypatch.setattr(dataset, "render_scene", stand_in)
    monkeypatch.setattr(dataset, "Parallel", lambda **_: lambda jobs: (f(*a) for f, a, _ in jobs))
    for spec in dataset.plan(4)[1:3]:
        fake_scene(spec, tmp_path)
    half = tmp_path / "images" / "0003_0.jpg"  # scene 3 was killed before its record was written
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b"")
    assert dataset.render_all(tmp_path, scenes=4, jobs=1) == 2
    assert sorted(made) == [0, 3]
    assert dataset.render_all(tmp_path, scenes=4, jobs=1) == 0


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        dataset.write(tmp_path / "x.json", b"{}")
    assert list(tmp_path.iterdir()) == []


# --- with Blender ---------------------------------------------------------------------------------

PYTHON = os.environ.get("SCRAPSEG_BPY_PYTHON") or (
    sys.executable if importlib.util.find_spec("bpy") else None
)
needs_blender = pytest.mark.skipif(
    PYTHON is None,
    reason="no bpy here; set SCRAPSEG_BPY_PYTHON to the Blender environment's python",
)
ONE_SCENE = """
import sys
from pathlib import Path
from making.synth import SceneSpec, dataset
out = Path(sys.argv[1])
dataset.render_scene(SceneSpec(3, 11, "val", "belt", ("motor", "cable", "wood"), steel=8), out)
"""
AGAINST_CYCLES = """
import sys, numpy as np, bpy
from making.synth import SceneSpec, render
from making.synth.scene import make_scene
from mathutils import Matrix
spec = SceneSpec(5, 11, "val", "belt", ("aluminium", "rubber", "spray_can"), steel=8)
scene = make_scene(spec)
render.setup(1)
tracer = render.Tracer(scene)
camera, ours = render.choose_camera(spec, tracer, spec.rng(1, 0), None)
for i, piece in enumerate(scene.pieces, start=1):
    piece.obj.pass_index = i
s = bpy.context.scene
data = bpy.data.cameras.new("c"); data.lens = camera.focal_mm; data.sensor_width = 36
data.clip_start = 0.01
obj = bpy.data.objects.new("c", data); s.collection.objects.link(obj); s.camera = obj
obj.matrix_world = Matrix(camera.matrix().tolist())
s.cycles.samples = 1; s.cycles.use_denoising = False; s.cycles.filter_width = 0.01
s.cycles.pixel_filter_type = "BOX"
s.view_layers[0].use_pass_object_index = True
s.use_nodes = True
tree = s.node_tree
layers = tree.nodes.new("CompositorNodeRLayers")
save = tree.nodes.new("CompositorNodeOutputFile")
save.base_path = sys.argv[1]
save.format.file_format = "OPEN_EXR"; save.format.color_depth = "32"
tree.links.new(layers.outputs["IndexOB"], save.inputs[0])
tree.links.new(layers.outputs["Image"], tree.nodes.new("CompositorNodeComposite").inputs[0])
bpy.ops.render.render()
from pathlib import Path
path = next(Path(sys.argv[1]).glob("*.exr"))
image = bpy.data.images.load(str(path)); image.colorspace_settings.name = "Non-Color"
size = render.SIZE
theirs = np.array(image.pixels[:]).reshape(size, size, -1)[::-1, :, 0].round().astype(int)
np.savez(Path(sys.argv[1]) / "both.npz", ours=ours, theirs=theirs)
"""


def blender(code: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([PYTHON, "-c", code, str(out)], check=True, env=environment, timeout=300,
                   stdout=subprocess.DEVNULL)  # fmt: skip


@needs_blender
def test_same_seed_same_labels(tmp_path):
    blender(ONE_SCENE, tmp_path / "a")
    blender(ONE_SCENE, tmp_path / "b")
    names = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.png"))
    assert len(names) == 4
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    record = Path(".scenes") / "0003.json"
    assert (tmp_path / "a" / record).read_text() == (tmp_path / "b" / record).read_text()
    first, second = json.loads((tmp_path / "a" / record).read_text())
    assert first["camera"] != second["camera"]
    for line in (first, second):
        label = np.asarray(Image.open(tmp_path / "a" / "labels" / f"{line['id']}.png"))
        numbers = np.asarray(Image.open(tmp_path / "a" / "instances" / f"{line['id']}.png"))
        index = {c.slug: c.index for c in CLASSES}
        assert np.array_equal(label > 0, numbers > 0)
        for instance in line["instances"]:
            mask = numbers == instance["id"]
            assert mask.sum() == instance["pixels"]
            assert set(label[mask]) == {index[instance["class"]]}
            assert 0 < instance["visible_fraction"] <= 1


@needs_blender
def test_labels_are_what_the_renderer_sees(tmp_path):
    """Our rays against Cycles' own object-index pass at pixel centres."""
    blender(AGAINST_CYCLES, tmp_path)
    both = np.load(tmp_path / "both.npz")
    ours, theirs = both["ours"], both["theirs"]
    assert len(np.unique(theirs)) > 4
    assert (ours != theirs).mean() < 0.002
