"""Magnetic-Tile on a small drawn set in its format, and on the real one where it is."""

from __future__ import annotations

import zipfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from making.tiles.index import build_index
from scrapseg.data import fetch
from scrapseg.data.base import SPLITS, ChecksumMismatch, DataError, MissingFile, SegDataset
from scrapseg.data.magnetic_tile import CLASSES, MagneticTile
from scrapseg.data.shots import few_shot_ids

FOLDERS = ["MT_Free", "MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Uneven"]


def write_magnetic_tile(root, tiles=8, exposures=3, seed=0):
    """For each class `tiles` tiles of random texture, each photographed `exposures` times."""
    rng = np.random.default_rng(seed)
    frame = 1000
    for folder in FOLDERS:
        place = root / folder / "Imgs"
        place.mkdir(parents=True)
        for _ in range(tiles):
            frame += 500
            size = tuple(rng.integers(60, 120, 2))
            texture = rng.integers(40, 200, size)
            mask = np.zeros(size, np.uint8)
            if folder != "MT_Free":
                mask[10:30, 10:40] = 255
            mask += rng.integers(0, 8, size, dtype=np.uint8) * (mask == 0)  # as in the originals
            for exposure in range(1, exposures + 1):
                stem = f"exp{exposure}_num_{frame + 20 * exposure}"
                lit = (texture * (0.7 + 0.1 * exposure)).astype(np.uint8)
                Image.fromarray(lit).save(place / f"{stem}.jpg", quality=95)
                Image.fromarray(mask).save(place / f"{stem}.png")
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder and index of a small set."""
    root = write_magnetic_tile(tmp_path_factory.mktemp("mt") / "magnetic-tile")
    index = root.parent / "index.csv"
    build_index(root).to_csv(index, index=False)
    return root, index


def splits(made, **options):
    root, index = made
    return {s: MagneticTile(s, root, index=index, **options) for s in SPLITS}


def test_samples_are_of_one_size_with_labels_of_their_folder(made):
    data = splits(made, size=64)["train"]
    for sample in data:
        assert sample.image.shape == (64, 64, 3) and sample.label.shape == (64, 64)
        folder = sample.meta["folder"]
        wanted = {0} if folder == "MT_Free" else {0, FOLDERS.index(folder)}
        assert set(np.unique(sample.label)) == wanted
        rows = sample.meta["instances"]
        assert [r["pixels"] for r in rows] == [(sample.instances == r["id"]).sum() for r in rows]
        with Image.open(data.files(data.root, sample.meta)[0]) as photograph:
            share = 20 * 30 / (photograph.width * photograph.height)
        if rows:  # 20 x 30 pixels of the photograph
            assert (sample.label > 0).mean() == pytest.approx(share, rel=0.15)
    image, mask = SegDataset(data)[0]
    assert image.shape == (3, 64, 64) and mask.shape == (64, 64)


def test_photographs_of_one_tile_stay_together(made):
    index = pd.read_csv(made[1])
    number = index["id"].str.extract(r"num_(\d+)")[0].astype(int) // 500
    assert index.groupby(number)["scene"].nunique().max() == 1
    assert index.groupby("scene")["split"].nunique().max() == 1
    assert index["scene"].nunique() == 8 * len(FOLDERS)
    counts = pd.crosstab(index["folder"], index["split"])
    assert (counts > 0).all(axis=None)
    assert counts["train"].sum() / len(index) == pytest.approx(0.6, abs=0.05)


def test_a_tile_photographed_again_later_joins_its_first_run(tmp_path):
    root = write_magnetic_tile(tmp_path / "mt", tiles=3)
    first = sorted((root / "MT_Crack/Imgs").glob("*.jpg"))[0]
    for ending in ("jpg", "png"):
        copy = first.with_name(f"exp1_num_900000.{ending}")
        copy.write_bytes(first.with_suffix(f".{ending}").read_bytes())
    index = build_index(root).set_index("id")
    assert index.loc["exp1_num_900000", "scene"] == index.loc[first.stem, "scene"]


def test_a_shot_is_one_photograph(made):
    train = splits(made, size=32)["train"]
    ids = few_shot_ids(train, 2, seed=0)
    held = Counter(k for i in ids for k in {r["class"] for r in train.meta[i]["instances"]})
    assert held == {c.slug: 2 for c in CLASSES[1:]}
    assert set(ids) <= set(few_shot_ids(train, 4, seed=0))


def test_limit_keeps_every_class(made):
    few = splits(made, size=32, limit=8)["test"]
    assert few.settings == {"size": 32}
    assert len(few) == 8
    assert len({k["class"] for m in few.meta.values() for k in m["instances"]}) == 5


def test_damage_is_named(made, tmp_path, monkeypatch):
    root = write_magnetic_tile(tmp_path / "mt", tiles=3)
    index = tmp_path / "index.csv"
    build_index(root).to_csv(index, index=False)
    record = MagneticTile("train", root, index=index)[0].meta
    victim, _ = MagneticTile.files(root, record)
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(ChecksumMismatch, match=victim.stem):
        MagneticTile("train", root, index=index)
    victim.unlink()
    with pytest.raises(MissingFile, match=f"{victim.name}.*scrapseg fetch magnetic-tile"):
        MagneticTile("train", root, index=index)
    monkeypatch.setenv(fetch.VARIABLE, str(tmp_path / "elsewhere"))
    with pytest.raises(MissingFile, match=r"elsewhere/magnetic-tile: no magnetic-tile data here"):
        MagneticTile("train")
    Image.new("L", (9, 9)).save(root / "MT_Free/Imgs/photo.jpg")
    with pytest.raises(DataError, match=r"photo\.jpg: not named"):
        build_index(root)


def test_download_unpacks_checks_and_is_not_repeated(made, tmp_path, monkeypatch, capsys):
    root, index = made
    fetched = []

    def archive(url, _, name, folder, unzip, downloader):
        """In the place of pooch.retrieve: the archive is there."""
        fetched.append(url)
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / name, "w") as packed:
            for path in root.rglob("*.*"):
                packed.write(path, f"Repo-master/{path.relative_to(root)}")
            packed.writestr("Repo-master/MT_x/../../../../MT_Free/Imgs/evil.jpg", "outside")
        unzip(str(folder / name), "download", None)

    monkeypatch.setattr(fetch.pooch, "retrieve", archive)
    monkeypatch.setattr(MagneticTile, "index", index)
    monkeypatch.setenv(fetch.VARIABLE, str(tmp_path / "deep" / "sets"))
    where = MagneticTile.download()
    assert where == tmp_path / "deep" / "sets" / "magnetic-tile"
    assert "60.0MB to download" in capsys.readouterr().err
    for path in root.rglob("*.*"):
        assert (where / path.relative_to(root)).read_bytes() == path.read_bytes()
    everything = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert all(p.is_relative_to(where) for p in everything)
    assert MagneticTile.download() == where and fetched == [MagneticTile.url]


def test_what_is_not_the_data_set_is_not_taken_for_it(made, tmp_path, monkeypatch):
    _, index = made

    def other(url, where):
        (where / "x" / "MT_Free").mkdir(parents=True)
        return where

    monkeypatch.setattr(fetch, "unzipped", other)
    monkeypatch.setattr(MagneticTile, "index", index)
    with pytest.raises(MissingFile, match=r"\.jpg: file is missing"):
        MagneticTile.download(tmp_path / "magnetic-tile")
    assert not (tmp_path / "magnetic-tile").exists()


def test_the_shipped_split_covers_every_class_and_parts_no_tile():
    index = pd.read_csv(MagneticTile.index)
    assert len(index) == 1340 and index["id"].is_unique
    assert index.groupby("scene")["split"].nunique().max() == 1
    counts = pd.crosstab(index["folder"], index["split"])
    assert (counts >= 5).all(axis=None) and (counts["train"] >= 16).all()


@pytest.mark.skipif(not fetch.found("magnetic-tile"), reason="Magnetic-Tile is not on this machine")
def test_the_photographs_are_those_of_the_index():
    test = MagneticTile("test")
    assert len(test) == 337
    assert all(m["instances"] for m in test.meta.values() if m["folder"] != "MT_Free")
