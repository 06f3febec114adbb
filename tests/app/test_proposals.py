"""Proposals: what the tools read is what the model found, and only what a person checked counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from scipy.ndimage import gaussian_filter
from skimage.measure import perimeter

from scrapseg.app.outputs import Writer
from scrapseg.app.proposals import outline
from scrapseg.data.classes import CLASSES
from scrapseg.data.folder import open_folder
from scrapseg.models.segmenter import Prediction, Segmenter

SIZE = (120, 180)


def drawn() -> np.ndarray:
    """Objects that are hard to put into polygons: class indices (H, W)."""
    label = np.zeros(SIZE, np.uint8)
    label[10:60, 10:70] = 1
    label[20:50, 20:60] = 0  # a ring
    label[25:45, 25:45] = 2  # something within it
    label[60:65, 70:75] = 1  # touches the ring at one corner
    label[:30, 150:] = 3  # in the corner of the image
    label[80:85, 90:95] = 4  # 25 pixels
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    swiss = np.hypot(rows - 90, columns - 40) < 25
    for y, x in ((80, 30), (80, 50), (100, 40)):  # three holes
        swiss &= np.hypot(rows - y, columns - x) > 5
    label[swiss] = 5
    return label


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Path, dict[str, Prediction]]:
    """Folder of the outputs, folder of the images, and what the model found in each."""
    images, model = tmp_path / "images", Segmenter(None, CLASSES)
    images.mkdir()
    writer, found = Writer(tmp_path / "out", CLASSES), {}
    for name, label in (("a", drawn()), ("b", np.zeros(SIZE, np.uint8)), ("ö c", drawn()[:, ::-1])):
        image = np.full((*SIZE, 3), 90, np.uint8)
        Image.fromarray(image).save(images / f"{name}.jpg")
        score = np.where(label > 0, 0.9, 0.1).astype(np.float32)
        label, instances, objects = model.objects(label.copy(), score)
        found[name] = Prediction(image, label, score, label, instances, objects, 0.9, 0, np.ones(2))
        writer.add(name, images / f"{name}.jpg", found[name])
    writer.finish()
    return tmp_path / "out", images, found


def ious(folder, id: str, p: Prediction) -> list[float]:
    """IoU of each object of a prediction with the label that was read."""
    label, instances = folder.labelled[id]()
    both = []
    for o in p.objects:
        mask = p.instances == o.number
        (number,) = np.bincount(instances[mask & (label == o.index)]).argsort()[-1:]
        both.append((mask & (instances == number)).sum() / (mask | (instances == number)).sum())
    return both


def copied(out: Path, images: Path, *, checked: dict[str, bool]) -> None:
    """What a person does with labelme: copy, look, tick, save."""
    for name, ticked in checked.items():
        content = json.loads((out / f"proposals/labelme/{name}.json").read_text("utf-8"))
        content["flags"]["checked"] = ticked
        (images / f"{name}.json").write_text(json.dumps(content), "utf-8")


def test_checked_labelme_json_is_labels_of_what_was_found(written):
    out, images, found = written
    copied(out, images, checked={"a": True, "b": True, "ö c": True})
    folder = open_folder(images)
    assert folder.kind == "labelme json" and folder.free == ["b"]
    for id in ("a", "ö c"):
        assert len(found[id].objects) == 5 and min(ious(folder, id, found[id])) >= 0.97
        assert len(np.unique(folder.labelled[id]()[1])) == 1 + 5


def test_checked_proposals_join_the_masks_of_other_images(written):
    out, images, found = written
    (images / "masks").mkdir()
    mask = np.zeros(SIZE, np.uint8)
    mask[5:40, 5:50] = 2
    Image.fromarray(mask).save(images / "masks/b.png")
    before = open_folder(images).labelled["b"]()
    copied(out, images, checked={"a": True, "ö c": False})
    folder = open_folder(images)
    assert {*folder.kind.split(" and ")} == {"PNG masks", "labelme json"}
    assert [*folder.labelled] == ["a", "b"] and min(ious(folder, "a", found["a"])) >= 0.97
    for now, then in zip(folder.labelled["b"](), before, strict=True):
        assert np.array_equal(now, then) and then.any()


def test_a_correction_is_what_counts(written):
    out, images, found = written
    copied(out, images, checked={"a": True})
    content = json.loads((images / "a.json").read_text())
    del content["shapes"][0]
    (images / "a.json").write_text(json.dumps(content))
    label, _ = open_folder(images).labelled["a"]()
    gone = found["a"].instances == 1
    assert (label[gone] == 0).mean() > 0.97 and (label[~gone] > 0).any()


def test_what_nobody_checked_is_neither_label_nor_clean(written):
    out, images, _ = written
    copied(out, images, checked={"a": True, "b": False, "ö c": False})
    folder = open_folder(images)
    assert list(folder.labelled) == ["a"] and not folder.free
    assert "files of proposals that nobody has checked, left out: 2" in str(folder)
    for name in ("a", "b", "ö c"):
        shutil.copy(out / f"proposals/labelme/{name}.json", images)
    assert open_folder(images).kind is None
    for name in ("a", "b", "ö c"):
        (images / f"{name}.json").unlink()
    shutil.copy(out / "proposals/coco.json", images)
    assert open_folder(images).kind is None


def test_coco_json_is_what_was_found(written):
    out, _, found = written
    coco = COCO(str(out / "proposals/coco.json"))
    assert [c["id"] for c in coco.cats.values()] == list(range(1, len(CLASSES)))
    for image in coco.imgs.values():
        p = found[Path(image["file_name"]).stem]
        annotations = coco.imgToAnns[image["id"]]
        assert len(annotations) == len(p.objects) and (image["height"], image["width"]) == SIZE
        for a, o in zip(annotations, p.objects, strict=True):
            mask, shown = p.instances == o.number, coco.annToMask(a).astype(bool)
            assert (mask & shown).sum() / (mask | shown).sum() >= 0.97
            (ring,) = a["segmentation"]
            assert not a["iscrowd"] and a["category_id"] == o.index and len(ring) >= 6
            assert min(ring) >= 0 and max(ring[::2]) <= SIZE[1] and max(ring[1::2]) <= SIZE[0]


def test_cvats_export_of_it_is_labels(written):
    """CVAT keeps names, polygons and categories, and writes an `info` of its own."""
    out, images, found = written
    content = json.loads((out / "proposals/coco.json").read_text("utf-8"))
    assert {x["name"] for x in json.loads((out / "proposals/cvat-labels.json").read_text())} == {
        c["name"] for c in content["categories"]
    }
    content["info"] = {"contributor": "", "description": "", "version": ""}
    (images / "instances_default.json").write_text(json.dumps(content), "utf-8")
    folder = open_folder(images)
    assert min(v for id in ("a", "ö c") for v in ious(folder, id, found[id])) >= 0.97


def test_labelme_opens_its_json(written):
    # Not in the lock, for it brings Qt. Passed with labelme 6.3.1; the next with datumaro 1.13.12.
    labelme = pytest.importorskip("labelme", reason="labelme is not installed (it needs Qt)")
    out, images, found = written
    copied(out, images, checked=dict.fromkeys(found, False))
    for name, p in found.items():
        read = labelme.LabelFile(str(images / f"{name}.json"))
        assert read.flags == {"checked": False} and len(read.image_data) > 100
        assert [s["label"] for s in read.shapes] == [o.name for o in p.objects]
        for s, o in zip(read.shapes, p.objects, strict=True):
            shown = labelme.utils.shape_to_mask(SIZE, s["points"], s["shape_type"])
            mask = p.instances == o.number
            # labelme fills a pixel that the line only touches: a rim of half a pixel.
            assert shown[mask].mean() > 0.97 and (shown & ~mask).sum() < o.area


def test_datumaro_reads_the_coco_json_as_cvat_does(written):
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed")
    out, images, found = written
    path = images.parent / "annotations/instances_default.json"  # as COCO lays out its files
    path.parent.mkdir()
    shutil.copy(out / "proposals/coco.json", path)
    data = datumaro.Dataset.import_from(str(path), "coco_instances")
    names = [c.name for c in data.categories()[datumaro.AnnotationType.label]]
    assert {item.id for item in data} == set(found)
    for item in data:
        polygons = [a for a in item.annotations if a.type == datumaro.AnnotationType.polygon]
        found_here = sorted(o.name for o in found[item.id].objects)
        assert sorted(names[a.label] for a in polygons) == found_here
        rest = [a for a in item.annotations if a not in polygons]
        assert all(a.type == datumaro.AnnotationType.bbox for a in rest)


@pytest.mark.parametrize("roughness", [2, 4, 8])
def test_outlines_are_faithful_and_short(roughness):
    """Against Pillow's polygons, which are not what the outlines are chosen by."""
    noise = gaussian_filter(np.random.default_rng(roughness).random((300, 400)), roughness)
    label = (noise > np.quantile(noise, 0.8)).astype(np.uint8)
    _, instances, objects = Segmenter(None, CLASSES).objects(label, noise)
    assert len(objects) > 3
    for o in objects:
        mask = instances == o.number
        polygon = outline(mask)
        canvas = Image.new("1", (4 * mask.shape[1], 4 * mask.shape[0]))
        ImageDraw.Draw(canvas).polygon([tuple(4 * v) for v in polygon], fill=1)
        shown = np.asarray(canvas).reshape(mask.shape[0], 4, mask.shape[1], 4).mean((1, 3)) >= 0.5
        assert (mask & shown).sum() / (mask | shown).sum() >= 0.95
        assert len(polygon) < perimeter(mask)
