"""Reading, counting, choosing and augmenting: the small drawn set, bad input, and ScrapSim."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors

from making.align.studio import Studio
from scrapseg import files
from scrapseg.data import base, masks
from scrapseg.data.base import (
    MIN_PIXELS,
    BrokenImage,
    ChecksumMismatch,
    DataError,
    EmptySplit,
    MissingFile,
    NotEnoughShots,
    SegDataset,
    SizeMismatch,
    UnknownLabel,
    verify_checksums,
)
from scrapseg.data.classes import CLASSES, IMPURITIES, SLUGS, palette
from scrapseg.data.folder import open_folder, read_photo
from scrapseg.data.scrapsim import ScrapSim, composition, instances_table
from scrapseg.data.shots import balanced_weights, few_shot_ids
from scrapseg.models.predict import eval_transform
from scrapseg.train.augment import ImpurityCrop, RandomQuarterTurn, train_transform

REAL = Path(__file__).parents[2] / "data" / "scrapsim"


def one_line(error: pytest.ExceptionInfo, *parts: str) -> None:
    """The message is one line and holds all of ``parts``."""
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


# --- reading ----------------------------------------------------------------------------------


def test_reads_what_is_on_disk(tiny_scrapsim):
    train = ScrapSim(tiny_scrapsim, "train")
    assert len(train) == 16 and train.ids == sorted(train.ids)
    sample = train[0]
    assert sample.id == train.ids[0] == "0000_0" and sample.scene == 0
    assert sample.image.shape == (64, 64, 3)
    assert sample.image.dtype == sample.label.dtype == np.uint8
    for k in sample.meta["instances"]:
        here = sample.instances == k["id"]
        assert here.sum() == k["pixels"]
        assert set(np.unique(sample.label[here])) == {SLUGS.index(k["class"])}
        # The photograph, too: the piece has its class's colour, up to noise and JPEG.
        colour = CLASSES[SLUGS.index(k["class"])].colour
        assert np.abs(np.median(sample.image[here], axis=0) - colour).max() < 12
    assert [s.id for s in train] == train.ids
    listing = (tiny_scrapsim / "checksums.sha256").read_bytes()
    assert train.sha256 == hashlib.sha256(listing).hexdigest()


def test_splits_are_disjoint_in_scenes_and_complete(tiny_scrapsim):
    scenes = [
        {m["scene"] for m in ScrapSim(tiny_scrapsim, s).meta.values()}
        for s in ("train", "val", "test")
    ]
    assert sum(map(len, scenes)) == len(set.union(*scenes)) == 16


def test_unknown_split_and_limit(tiny_scrapsim):
    with pytest.raises(ValueError, match="validation"):
        ScrapSim(tiny_scrapsim, "validation")
    with pytest.raises(ValueError, match="limit is 0"):
        ScrapSim(tiny_scrapsim, "train", limit=0)


def test_limit_mixes_classes_and_normal_images(tiny_scrapsim):
    whole = ScrapSim(tiny_scrapsim, "train")
    before: set[str] = set()
    for limit in range(1, 18):
        part = ScrapSim(tiny_scrapsim, "train", limit=limit)
        assert len(part) == min(limit, 16) and before <= set(part.ids)
        assert part.ids == [i for i in whole.ids if i in set(part.ids)]
        normal_share = sum(not s.label.any() for s in whole) / len(whole)
        assert abs(sum(not s.label.any() for s in part) - normal_share * len(part)) < 1
        before = set(part.ids)
    six = ScrapSim(tiny_scrapsim, "train", limit=6)
    assert {k["class"] for m in six.meta.values() for k in m["instances"]} == set(SLUGS[1:])


# --- bad input --------------------------------------------------------------------------------


def open_unverified(root: Path) -> ScrapSim:
    return ScrapSim(root, "train", verify=False)


def test_truncated_jpeg(scrapsim_copy):
    path = scrapsim_copy / "images/0000_0.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BrokenImage) as error:
        open_unverified(scrapsim_copy)[0]
    one_line(error, str(path), "cannot be decoded")


def test_image_that_is_none(scrapsim_copy):
    path = scrapsim_copy / "labels/0000_0.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(BrokenImage) as error:
        open_unverified(scrapsim_copy)[0]
    one_line(error, str(path))


def readers(root: Path) -> dict[str, Callable[[], object]]:
    """Whatever opens an image file, by what it opens; each comes upon one of 64 x 64 pixels."""
    photo = root / "images" / "0000_0.jpg"
    own = root.parent / "own"
    (own / "masks").mkdir(parents=True)
    for number in range(2):
        shutil.copy(photo, own / f"{number}.jpg")
        shutil.copy(root / "labels" / "0000_0.png", own / "masks" / f"{number}.png")
    studio = root.parent / "studio"
    (studio / "images").mkdir(parents=True)
    shutil.copy(photo, studio / "images" / "a.jpg")
    thing = {"id": 1, "noun": "bucket", "material": "plastic", "category": "household"}
    thing |= {"colour": "red", "phrase": "a red plastic bucket", "pixels": 9}
    record = {"id": "a", "split": "train", "caption": "a bucket", "background": "a floor"}
    (studio / "metadata.jsonl").write_text(json.dumps(record | {"objects": [thing]}))
    return {
        "scrapsim": lambda: open_unverified(root)[0],
        "own images": lambda: open_folder(own),
        "own masks": lambda: masks.read_codes(own / "masks/0.png", (), False),
        "size": lambda: composition([open_unverified(root)]),
        "studio": lambda: Studio(studio, "train")[0],
        "model": lambda: read_photo(photo),
        "any": lambda: base.read_image(photo),
    }


@pytest.mark.parametrize(
    "reader", ["scrapsim", "own images", "own masks", "size", "studio", "model", "any"]
)
def test_a_picture_of_too_many_pixels(scrapsim_copy, monkeypatch, reader):
    """Pillow refuses more than twice its bound, with an error that is none of its usual ones."""
    read = readers(scrapsim_copy)[reader]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 // 2 - 1)
    with pytest.raises(BrokenImage) as error:
        read()
    one_line(error, "million pixels; cut it into parts")
    assert ".jpg" in str(error.value) or ".png" in str(error.value)


def test_read_image_turns_and_converts_when_asked(tmp_path):
    """Stored lying on its side, as phones do; a palette image keeps its indices unless asked."""
    pixels = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert (base.read_image(tmp_path / "a.png") == pixels).all()
    assert (base.read_image(tmp_path / "a.png", upright=True) == np.rot90(pixels, -1)).all()
    assert base.image_size(tmp_path / "a.png") == (40, 60)
    index = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    index.putpalette(palette())
    index.save(tmp_path / "p.png")
    assert base.read_image(tmp_path / "p.png").tolist() == [[0, 1, 2]]
    colours = [[list(c.colour) for c in CLASSES[:3]]]
    assert base.read_image(tmp_path / "p.png", as_rgb=True).tolist() == colours


@pytest.mark.parametrize("part", ["labels", "instances"])
def test_mask_of_other_size(scrapsim_copy, part):
    path = scrapsim_copy / part / "0000_0.png"
    Image.open(path).resize((64, 32), Image.Resampling.NEAREST).save(path)
    with pytest.raises(SizeMismatch) as error:
        open_unverified(scrapsim_copy)[0]
    one_line(error, str(path), "64 x 32", "64 x 64")


@pytest.mark.parametrize("bad", [[9], [9, 255]])
def test_label_value_outside_the_classes(scrapsim_copy, bad):
    path = scrapsim_copy / "labels/0000_0.png"
    label = np.array(Image.open(path))
    label[3, : len(bad)] = bad
    Image.fromarray(label).save(path)
    with pytest.raises(UnknownLabel) as error:
        open_unverified(scrapsim_copy)[0]
    one_line(error, str(path), f"label values {bad} are outside 0..8")


def test_label_in_colours(scrapsim_copy):
    path = scrapsim_copy / "labels/0000_0.png"
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(UnknownLabel) as error:
        open_unverified(scrapsim_copy)[0]
    one_line(error, str(path), "3 channels")


@pytest.mark.parametrize("name", ["images/0000_0.jpg", "labels/0000_0.png", "instances/0000_0.png"])
def test_missing_file(scrapsim_copy, name):
    (scrapsim_copy / name).unlink()
    with pytest.raises(MissingFile) as error:
        open_unverified(scrapsim_copy)[0]
    one_line(error, str(scrapsim_copy / name))
    with pytest.raises(MissingFile) as error:
        ScrapSim(scrapsim_copy, "train")
    one_line(error, name)


def test_missing_folder_metadata_and_checksums(scrapsim_copy, tmp_path):
    with pytest.raises(MissingFile, match="no such folder"):
        ScrapSim(tmp_path / "nowhere", "train")
    (scrapsim_copy / "metadata.jsonl").rename(tmp_path / "kept")
    with pytest.raises(MissingFile, match=r"metadata\.jsonl"):
        open_unverified(scrapsim_copy)
    (tmp_path / "kept").rename(scrapsim_copy / "metadata.jsonl")
    (scrapsim_copy / "checksums.sha256").unlink()
    with pytest.raises(MissingFile, match=r"checksums\.sha256"):
        ScrapSim(scrapsim_copy, "train")
    assert open_unverified(scrapsim_copy).sha256 is None


def test_empty_split(scrapsim_copy):
    path = scrapsim_copy / "metadata.jsonl"
    lines = [x for x in path.read_text().splitlines() if json.loads(x)["split"] != "val"]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(EmptySplit) as error:
        ScrapSim(scrapsim_copy, "val", verify=False)
    one_line(error, str(path), "'val'")


def test_damaged_metadata(scrapsim_copy):
    path = scrapsim_copy / "metadata.jsonl"
    good = path.read_text()
    path.write_text(good.replace('"motor"', '"rotor"'))
    with pytest.raises(UnknownLabel) as error:
        open_unverified(scrapsim_copy)
    one_line(error, f"{path}, line 1", "['rotor']")
    path.write_text(good[:-30])
    with pytest.raises(DataError) as error:
        open_unverified(scrapsim_copy)
    one_line(error, f"{path}, line 32")


# --- checksums --------------------------------------------------------------------------------


def test_listing_is_what_sha256sum_reads(tiny_scrapsim):
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "checksums.sha256"],
        cwd=tiny_scrapsim,
        check=False,
    )
    assert done.returncode == 0


def test_wrong_checksum_names_every_file(scrapsim_copy):
    (scrapsim_copy / "README.md").write_text("edited\n")
    image = scrapsim_copy / "images/0003_1.jpg"
    image.write_bytes(image.read_bytes() + b"\0")
    (scrapsim_copy / "labels/0004_0.png").unlink()
    with pytest.raises(ChecksumMismatch) as error:
        ScrapSim(scrapsim_copy, "train")
    one_line(error, str(scrapsim_copy), "README.md", "images/0003_1.jpg", "labels/0004_0.png")
    assert not (scrapsim_copy / ".verified").exists()


def test_checked_in_full_once_and_again_after_an_edit(
    scrapsim_copy, rewrite_checksums, monkeypatch
):
    full_checks = []
    real_bar = base.tqdm
    monkeypatch.setattr(base, "tqdm", lambda *a, **k: full_checks.append(1) or real_bar(*a, **k))
    digest = verify_checksums(scrapsim_copy)
    assert verify_checksums(scrapsim_copy) == digest
    assert full_checks == [1]
    # An edit that keeps the file's size is noticed by its time.
    path = scrapsim_copy / "images/0000_0.jpg"
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    with pytest.raises(ChecksumMismatch, match=r"images/0000_0\.jpg"):
        verify_checksums(scrapsim_copy)
    # An edit that keeps the time is noticed by the size.
    rewrite_checksums(scrapsim_copy)
    assert verify_checksums(scrapsim_copy) != digest
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    with pytest.raises(ChecksumMismatch, match=r"images/0000_0\.jpg"):
        verify_checksums(scrapsim_copy)
    assert len(full_checks) == 4
    assert sorted(p.name for p in scrapsim_copy.iterdir() if "verified" in p.name) == [".verified"]


def test_stamp_of_garbage_or_none_is_no_error(scrapsim_copy, monkeypatch):
    (scrapsim_copy / ".verified").write_text("garbage")
    digest = verify_checksums(scrapsim_copy)
    (scrapsim_copy / ".verified").unlink()

    def refuse(*_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(files.os, "replace", refuse)
    assert verify_checksums(scrapsim_copy) == digest
    assert not (scrapsim_copy / ".verified").exists()


def test_unreadable_listing(scrapsim_copy):
    (scrapsim_copy / "checksums.sha256").write_text("0123 README.md\n")
    with pytest.raises(DataError) as error:
        verify_checksums(scrapsim_copy)
    one_line(error, "checksums.sha256, line 1")


# --- counting ---------------------------------------------------------------------------------


def test_composition_agrees_with_the_pixels(tiny_scrapsim):
    splits = [ScrapSim(tiny_scrapsim, s) for s in ("train", "val", "test")]
    table = composition(splits).set_index(["split", "class"])
    assert len(table) == 3 * 9
    for split in splits:
        labels = [s.label for s in split]
        for c in CLASSES:
            row = table.loc[split.split, c.slug]
            assert row["pixels"] == sum(int((x == c.index).sum()) for x in labels)
            assert row["images"] == sum(bool((x == c.index).any()) for x in labels)
        instances = sum(int(s.instances.max()) for s in split)
        assert table.loc[split.split]["instances"].sum() == instances
        assert table.loc[split.split]["pixel_share"].sum() == pytest.approx(1)
    assert table.loc[("train", "steel"), "scenes"] == 8


def test_instances_table(tiny_scrapsim):
    train = ScrapSim(tiny_scrapsim, "train")
    table = instances_table(train)
    assert len(table) == sum(len(m["instances"]) for m in train.meta.values()) == 48
    row = table.iloc[5]
    sample = train.sample(row["id"])
    assert row["pixels"] == (sample.instances == row["instance"]).sum()
    assert row["setting"] == sample.meta["setting"]
    assert table["visible_fraction"].between(0, 1).all() and (table["visible_fraction"] < 1).any()
    assert list(instances_table(ScrapSim(tiny_scrapsim, "train", limit=1)).columns) == list(table)


# --- choosing ---------------------------------------------------------------------------------


@st.composite
def made_up_datasets(draw):
    """Data sets without files: 9 to 40 scenes of 1 or 2 views, classes and pixels at random."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chance = draw(st.floats(0.15, 0.6))
    meta = {}
    for scene in range(draw(st.integers(9, 40))):
        impure = rng.random() < 0.7
        held = [c.slug for c in IMPURITIES if rng.random() < chance] if impure else []
        for view in range(int(rng.integers(1, 3))):
            rows = [
                {"id": n, "class": c, "pixels": int(rng.integers(1, 300))}
                for n, c in enumerate(held, start=1)
                if rng.random() < 0.9
            ]
            meta[f"{scene:04d}_{view}"] = {"scene": scene, "instances": rows}
    kind = {"classes": CLASSES, "min_pixels": MIN_PIXELS}
    return SimpleNamespace(root=Path("made/up"), split="train", ids=list(meta), meta=meta, **kind)


def scenes_per_class(dataset, ids) -> Counter:
    """Scenes among ``ids`` that show a class with MIN_PIXELS in one view, counted plainly."""
    pairs = set()
    for i in ids:
        pixels = Counter()
        for k in dataset.meta[i]["instances"]:
            pixels[k["class"]] += k["pixels"]
        pairs |= {(dataset.meta[i]["scene"], c) for c, n in pixels.items() if n >= MIN_PIXELS}
    return Counter(c for _, c in pairs)


@settings(deadline=None, max_examples=60)
@given(made_up_datasets(), st.integers(0, 2**31))
def test_few_shots_are_nested_sufficient_and_repeatable(dataset, seed):
    available = scenes_per_class(dataset, dataset.ids)
    most = min(available[c.slug] for c in IMPURITIES)
    views = Counter(m["scene"] for m in dataset.meta.values())
    shown = {m["scene"] for m in dataset.meta.values() if m["instances"]}
    normal = set(views) - shown
    before: set[str] = set()
    for shots in range(1, most + 1):
        ids = few_shot_ids(dataset, shots, seed)
        assert ids == few_shot_ids(dataset, shots, seed)
        assert ids == [i for i in dataset.ids if i in set(ids)], "not in the data set's order"
        assert before <= set(ids), "not nested"
        before = set(ids)
        counts = scenes_per_class(dataset, ids)
        assert min(counts[c.slug] for c in IMPURITIES) >= shots
        chosen = Counter(dataset.meta[i]["scene"] for i in ids)
        assert all(views[s] == n for s, n in chosen.items()), "a view is missing"
        impure = set(chosen) - normal
        assert len(impure) <= shots * len(IMPURITIES), "more scenes than shots call for"
        due = len(normal) * len(impure) / len(shown)
        assert abs(len(set(chosen) & normal) - due) <= 0.5
    with pytest.raises(NotEnoughShots, match=f"{most + 1} shots") as error:
        few_shot_ids(dataset, most + 1, seed)
    scarce = str(error.value).split("that hold '")[1].split("'")[0]
    assert available[scarce] == most
    assert few_shot_ids(dataset, "all", seed) == dataset.ids


def test_few_shots_depend_on_the_seed_and_stay_in_their_split(tiny_scrapsim):
    train = ScrapSim(tiny_scrapsim, "train")
    draws = [frozenset(few_shot_ids(train, 1, seed)) for seed in range(8)]
    assert len(set(draws)) > 1
    others = {*ScrapSim(tiny_scrapsim, "val").ids, *ScrapSim(tiny_scrapsim, "test").ids}
    for ids in draws:
        assert ids <= set(train.ids) and not ids & others
    with pytest.raises(NotEnoughShots) as error:
        few_shot_ids(train, 5, 0)
    one_line(error, "'motor'", "3 scenes", str(tiny_scrapsim))


@pytest.mark.parametrize("shots", [0, -1, 1.5, "most", True])
def test_shots_that_make_no_sense(tiny_scrapsim, shots):
    with pytest.raises(ValueError, match="shots is"):
        few_shot_ids(ScrapSim(tiny_scrapsim, "train"), shots, 0)


def test_balanced_drawing_evens_out_a_rare_class():
    """90 images of motors, 9 without anything, 1 of wood: each group fills a third of the draws."""
    held = [["motor"]] * 90 + [[]] * 9 + [["wood"]]
    meta = {
        f"{s:04d}_0": {"scene": s, "instances": [{"id": 1, "class": c, "pixels": 70} for c in cs]}
        for s, cs in enumerate(held)
    }
    dataset = SimpleNamespace(ids=list(meta), meta=meta, classes=CLASSES)
    weights = balanced_weights(dataset, dataset.ids)
    assert weights.sum() == pytest.approx(1)
    for group in (slice(0, 90), slice(90, 99), slice(99, 100)):
        assert weights[group].sum() == pytest.approx(1 / 3)


def test_balanced_weights_of_an_image_with_two_classes():
    """Two motors, one with wood too: motor draws go half to each, wood draws all to the second."""
    rows = (
        [{"id": 1, "class": "motor", "pixels": 9}],
        [
            {"id": 1, "class": "motor", "pixels": 9},
            {"id": 2, "class": "motor", "pixels": 9},
            {"id": 3, "class": "wood", "pixels": 9},
        ],
    )
    meta = {"a": {"scene": 0, "instances": rows[0]}, "b": {"scene": 1, "instances": rows[1]}}
    dataset = SimpleNamespace(meta=meta, classes=CLASSES)
    assert balanced_weights(dataset, ["a", "b"]).tolist() == [0.25, 0.75]


# --- for torch --------------------------------------------------------------------------------

MEAN, STD = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)


def coded_pair(size=(96, 96), seed=0, block=8):
    """A blocky mask, and an image whose channels all say 20 times the class."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 9, (size[0] // block, size[1] // block), dtype=np.uint8)
    mask = torch.from_numpy(blocks.repeat(block, 0).repeat(block, 1))
    return tv_tensors.Image((mask * 20).expand(3, -1, -1).clone()), tv_tensors.Mask(mask)


def test_seg_dataset_hands_out_what_the_files_hold(tiny_scrapsim):
    train = ScrapSim(tiny_scrapsim, "train")
    ids = [train.ids[3], train.ids[0]]
    tensors = SegDataset(train, ids, eval_transform(MEAN, STD))
    assert len(tensors) == 2
    for id, (image, mask) in zip(ids, [tensors[0], tensors[1]], strict=True):
        sample = train.sample(id)
        want = (sample.image / 255 - np.array(MEAN)) / np.array(STD)
        assert image.dtype == torch.float32 and mask.dtype == torch.int64
        assert type(image) is type(mask) is torch.Tensor
        np.testing.assert_allclose(image.permute(1, 2, 0).numpy(), want, atol=1e-5)
        assert (mask.numpy() == sample.label).all()
    with pytest.raises(KeyError, match="9999_0"):
        SegDataset(train, ["9999_0"])


def test_seg_dataset_decodes_once_and_keeps_its_cache_clean(tiny_scrapsim):
    train = ScrapSim(tiny_scrapsim, "train")
    reads = []
    counted = SimpleNamespace(
        **{"root": train.root, "split": "train", "ids": train.ids, "meta": train.meta},
        sample=lambda i: reads.append(i) or train.sample(i),
    )
    tensors = SegDataset(counted)
    image, mask = tensors[0]
    assert isinstance(image, tv_tensors.Image) and isinstance(mask, tv_tensors.Mask)
    assert image.dtype == mask.dtype == torch.uint8
    image.zero_(), mask.fill_(7)
    again, mask_again = tensors[0]
    assert again.any() and (mask_again.numpy() == train[0].label).all()
    assert reads == [train.ids[0]]


@pytest.mark.parametrize("transform", ["crop", "turn", "train"])
def test_image_and_mask_move_together(transform):
    """The image encodes the mask, so after any geometry it must still say the same classes."""
    steps = {
        "crop": ImpurityCrop(64),
        "turn": RandomQuarterTurn(),
        # Without its colour steps, the training transform is geometry and normalisation.
        "train": train_transform(64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    }
    step = steps[transform]
    if transform == "train":
        step.transforms = [
            t for t in step.transforms if type(t).__name__ not in ("ColorJitter", "RandomApply")
        ]
    torch.manual_seed(0)
    windows = set()
    for seed in range(25):
        image, mask = step(*coded_pair(seed=seed, block=16))
        assert mask.shape == image.shape[1:]
        assert set(mask.unique().tolist()) <= set(range(9))
        values = image[0].float() / 20 * (255 if transform == "train" else 1)
        # Away from the borders of blocks and crop, where the image blends and the mask does not.
        inside = torch.nn.functional.max_pool2d(mask[None].float(), 5, 1, 2) == (
            -torch.nn.functional.max_pool2d(-mask[None].float(), 5, 1, 2)
        )
        inside[:, :2] = inside[:, -2:] = inside[:, :, :2] = inside[:, :, -2:] = False
        assert inside.float().mean() > 0.2
        assert (values[None] - mask[None])[inside].abs().max() < 0.06
        windows.add(tuple(mask.flatten()[::17].tolist()))
    assert len(windows) == 25


def test_quarter_turn_is_one_of_four():
    image, mask = coded_pair()
    torch.manual_seed(0)
    seen = Counter()
    for _ in range(60):
        _, turned = RandomQuarterTurn()(image, mask)
        seen[next(k for k in range(4) if (np.rot90(mask, k) == turned.numpy()).all())] += 1
    assert set(seen) == {0, 1, 2, 3}


def test_impurity_crop_looks_at_every_class_alike():
    """Steel but for a large plate of wood and one pixel of motor: half the looks go to each."""
    mask = torch.zeros(384, 384, dtype=torch.uint8)
    mask[40:140, 30:150] = 8
    mask[350, 360] = 1
    pair = tv_tensors.Image(mask.expand(3, -1, -1).clone()), tv_tensors.Mask(mask)
    torch.manual_seed(0)
    native = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
    looked = [ImpurityCrop(96, p=1.0, **native)(*pair)[1] for _ in range(300)]
    motor = sum(bool((m == 1).any()) for m in looked)
    wood = sum(bool((m == 8).any()) for m in looked)
    assert motor + wood >= 300 and abs(motor / 300 - 0.5) < 0.1
    blind = [ImpurityCrop(96, p=0.0, **native)(*pair)[1] for _ in range(300)]
    assert sum(bool((m == 1).any()) for m in blind) / 300 < 0.2


def test_impurity_crop_magnifies_within_its_bounds():
    """A ramp shows the window's size: the difference between the last column and the first."""
    ramp = torch.arange(0, 384, dtype=torch.float32).expand(3, 384, 384).clone()
    mask = tv_tensors.Mask(torch.zeros(384, 384, dtype=torch.uint8))
    torch.manual_seed(0)
    widths = []
    for _ in range(200):
        image, _ = ImpurityCrop(192, ratio=(1.0, 1.0))(tv_tensors.Image(ramp), mask)
        widths.append(float(image[0, 0, -1] - image[0, 0, 0]) * 192 / 191)
    assert 192 / 1.6 - 2 < min(widths) < 130 and 290 < max(widths) < 192 / 0.6 + 2
    assert np.median(widths) == pytest.approx(192, rel=0.1)  # log-uniform: as often in as out


@pytest.mark.parametrize("size", [(40, 64), (64, 40), (8, 8)])
def test_train_transform_on_small_and_oblong_images(size):
    torch.manual_seed(0)
    for p in (0.0, 1.0):
        image, mask = train_transform(48, MEAN, STD, impurity_p=p)(*coded_pair(size))
        assert image.shape == (3, 48, 48) and mask.shape == (48, 48)
        assert torch.isfinite(image).all()


def test_train_transform_keeps_labels_whole_and_repeats_with_the_seed(tiny_scrapsim):
    train = ScrapSim(tiny_scrapsim, "train")
    tensors = SegDataset(train, transform=train_transform(48, MEAN, STD))
    torch.manual_seed(3)
    first = [tensors[i] for i in range(len(tensors))]
    torch.manual_seed(3)
    second = [tensors[i] for i in range(len(tensors))]
    lowest = (0 - torch.tensor(MEAN)) / torch.tensor(STD)
    highest = (1 - torch.tensor(MEAN)) / torch.tensor(STD)
    for i, ((image, mask), (image2, mask2)) in enumerate(zip(first, second, strict=True)):
        assert torch.equal(image, image2) and torch.equal(mask, mask2)
        assert image.dtype == torch.float32 and mask.dtype == torch.int64
        assert set(mask.unique().tolist()) <= set(np.unique(train[i].label).tolist())
        assert (image.amin((1, 2)) >= lowest - 1e-5).all()
        assert (image.amax((1, 2)) <= highest + 1e-5).all()


# --- the shipped data set -----------------------------------------------------------------------


def test_scrapsim_as_shipped():
    """Sizes, splits and shares as the datasheet promises; metadata against pixels on a sample."""
    if not (REAL / "checksums.sha256").exists():
        if os.environ.get("CI"):
            pytest.fail(f"{REAL} is not there, but it is part of the repository")
        pytest.skip(f"{REAL} has not been rendered yet (make render)")
    splits = {s: ScrapSim(REAL, s) for s in ("train", "val", "test")}
    assert {s: len(d) for s, d in splits.items()} == {"train": 240, "val": 60, "test": 180}
    scenes = {s: {m["scene"] for m in d.meta.values()} for s, d in splits.items()}
    assert sum(map(len, scenes.values())) == len(set.union(*scenes.values())) == 240
    every = [m for d in splits.values() for m in d.meta.values()]
    assert 0.25 <= sum(not m["instances"] for m in every) / len(every) <= 0.42
    table = composition(splits.values()).set_index(["split", "class"])
    for c in IMPURITIES:
        assert table.loc[("test", c.slug), "images"] >= 40, c.slug
    for seed in (0, 1, 2):
        assert few_shot_ids(splits["train"], 16, seed)
    for split in splits.values():
        for sample in list(split)[:: len(split) // 12]:
            assert sample.image.shape == (384, 384, 3)
            assert ((sample.instances > 0) == (sample.label > 0)).all(), sample.id
            assert sample.instances.max() <= max(
                [k["id"] for k in sample.meta["instances"]], default=0
            )
            for k in sample.meta["instances"]:
                here = sample.instances == k["id"]
                assert here.sum() == k["pixels"], (sample.id, k)
                assert (sample.label[here] == SLUGS.index(k["class"])).all(), (sample.id, k)
                assert 0 < k["visible_fraction"] <= 1 + 1e-6
            fraction = (sample.label > 0).mean()
            assert fraction == pytest.approx(sample.meta["impurity_fraction"], abs=1e-4)
            with Image.open(split.path(sample.id, "labels")) as opened:
                assert opened.mode == "P" and opened.getpalette()[:27] == palette()[:27]
