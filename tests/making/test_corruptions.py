"""Corrupted pictures, level by level, and their study on a few small images."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score

from making.corrupt import LEVELS, STRENGTHS, corrupted
from making.studies import corruptions
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.fit import whole_images
from scrapseg.files import REPOSITORY
from scrapseg.models.predict import predict
from scrapseg.models.scrapseg import SegOutput
from scrapseg.train.adapt import AdaptConfig


@pytest.fixture(scope="module")
def scrap() -> np.ndarray:
    return ScrapSim(REPOSITORY / "data/scrapsim", "test", limit=1)[0].image


@pytest.mark.parametrize("corruption", STRENGTHS)
def test_each_level_is_further_from_the_picture(scrap, corruption):
    assert len(STRENGTHS[corruption]) == len(LEVELS)
    before = scrap.copy()
    assert (corrupted(scrap, corruption, 0, "a") == scrap).all()
    made = [corrupted(scrap, corruption, level, "a") for level in LEVELS]
    for level, image in zip(LEVELS, made, strict=True):
        assert image.shape == scrap.shape and image.dtype == np.uint8
        assert (corrupted(scrap, corruption, level, "a") == image).all()
    assert (scrap == before).all()
    away = [np.sqrt(np.mean((image / 255 - scrap / 255) ** 2)) for image in made]
    assert away[0] > 0.005 and (np.diff(away) > 0).all()
    # Drawn by the image's name, where there is anything to draw.
    drawn = (corrupted(scrap, corruption, 3, "b") != made[2]).any()
    assert drawn == (corruption in ("dust", "glare", "low light"))
    with pytest.raises(ValueError, match="0 to 5, not 6"):
        corrupted(scrap, corruption, 6, "a")


def test_corruptions_do_what_they_say(scrap):
    flat = np.full((64, 128, 3), 140, np.uint8)
    assert (corrupted(flat, "motion blur", 5, "a") == flat).all()  # nothing to smear
    line = np.zeros_like(flat)
    line[:, 64] = 255
    smeared = corrupted(line, "motion blur", 5, "a")[0, :, 0] > 0
    assert smeared.sum() == round(0.08 * 128) and smeared[64]
    # A stop halves the light: of linear 1/2, level 1 leaves 1/4.
    half = np.full_like(flat, round(255 * 0.5 ** (1 / 2.2)))
    dark = (corrupted(half, "low light", 1, "a") / 255) ** 2.2
    assert dark.mean() == pytest.approx(0.25, rel=0.02) and dark.std() > 0.003
    assert (corrupted(flat, "glare", 1, "a") > flat).all()
    grains = corrupted(np.full_like(scrap, 200), "dust", 1, "a")
    assert (grains == 200).mean() > 0.5 and grains.min() < 150


class Stub:
    """Its score is how far a pixel's redness is from `steel`; adapting moves that."""

    def __init__(self, steel: float):
        self.steel = steel

    def probabilities(self, image: np.ndarray) -> tuple[torch.Tensor, None]:
        score = torch.from_numpy(np.abs(image[..., 0] / 255 - self.steel))
        return torch.stack([1 - score, *[score / 8] * 8]), None

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True)
        path.write_text(str(self.steel))


def test_the_study_in_small(tiny_scrapsim, tmp_path, monkeypatch):
    seen = []

    def adapt_model(start, images, labels, rendered, config):
        seen.append(images)
        assert len(labels) == len(images) and rendered.split == "train"
        return Stub(start.steel + 0.01 * len(seen))

    stubs = {"CACHE": tmp_path / "cache", "adapt_model": adapt_model}
    stubs["load"] = lambda path: Stub(
        0.4 if path == corruptions.SHIPPED else float(path.read_text())
    )
    for name, stub in stubs.items():
        monkeypatch.setattr(corruptions, name, stub)
    made = [tiny_scrapsim, tmp_path, 2, AdaptConfig(), ()]
    table, beside = corruptions.make(*made)
    few = len(corruptions.FEW)
    assert len(table) == len(corruptions.ADAPTED) * len(STRENGTHS) * few
    assert set(beside["models"]) == set(corruptions.ADAPTED)
    clean = table[table["level"] == 0].groupby("method")["ap"]
    assert (clean.nunique() == 1).all() and table["strength"].isna().sum() == len(table) / few
    assert (tmp_path / "figures/corruptions.pdf").is_file()
    # Adapted to the clean images of val, then to each under each corruption.
    val, test = (ScrapSim(tiny_scrapsim, split, limit=2) for split in ("val", "test"))
    assert (np.stack(seen[0]) == np.stack([s.image for s in val])).all()
    assert len(seen[1]) == 2 * len(STRENGTHS)
    # A number by hand.
    row = table[(table["method"] == "adapted") & (table["corruption"] == "JPEG")].iloc[-1]
    red = [corrupted(s.image, "JPEG", row["level"], s.id)[..., 0] / 255 for s in test]
    truth = np.stack([s.label > 0 for s in test]).ravel()
    scores = np.abs(np.stack(red) - 0.42).ravel().astype(np.float32)
    assert row["ap"] == pytest.approx(average_precision_score(truth, scores), abs=1e-4)
    # What is done is not done again, but what is of other pictures is.
    monkeypatch.setattr(corruptions, "adapt_model", None)
    with monkeypatch.context() as patch:
        patch.setattr(corruptions, "measured", None)
        again, _ = corruptions.make(*made)
    assert again.equals(table)
    with pytest.raises(TypeError):
        corruptions.make(tiny_scrapsim, tmp_path, 1, AdaptConfig(), ())


def test_a_rival_is_asked_as_the_benchmark_asks_it(tiny_scrapsim):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 9, 3, padding=1))
    net.forward = lambda x: SegOutput(net[0](x), None)
    net.mean, net.std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    test = ScrapSim(tiny_scrapsim, "test", limit=1)
    expected = predict(net, whole_images(test, net))
    p = corruptions.of_network(net, test[0].image)
    assert np.allclose(1 - p[0], expected.score_maps[0], atol=1e-5)
    assert (p.argmax(0) == expected.labels[0]).mean() > 0.999


def test_the_rivals_are_the_two_with_the_highest_ap():
    table = pd.read_csv(REPOSITORY / "results/full/tables/methods.csv")
    known = table[table["family"].isin(["supervised", "classical", "unsupervised"])]
    known = known[~known["method"].str.endswith("-aligned")]  # controls, on our tower
    assert tuple(known.nlargest(2, "ap")["method"]) == corruptions.RIVALS


def test_a_model_is_taken_from_the_build_that_its_record_is_of(tmp_path, monkeypatch):
    monkeypatch.setattr(corruptions, "REPOSITORY", tmp_path)
    monkeypatch.setattr(corruptions, "CACHE", tmp_path / "own")
    trained = []
    monkeypatch.setattr(corruptions, "run_named", lambda *given: trained.append(given))
    name = "fpn_scrapsim_allshots_s0"
    runs, cache = tmp_path / "results/full/runs", tmp_path / "results/full/cache" / name
    runs.mkdir(parents=True), cache.mkdir(parents=True)
    record = (REPOSITORY / f"results/full/runs/{name}.json").read_text()
    (runs / f"{name}.json").write_text(record)
    (cache / "done").write_text("another day")
    assert corruptions.folder("fpn", name) == tmp_path / "own/cache" / name
    assert trained == [("full", name, tmp_path / "own")]
    date = json.loads(record)["provenance"]["date"]
    (cache / "done").write_text(date)
    assert corruptions.folder("fpn", name) == cache and len(trained) == 1
