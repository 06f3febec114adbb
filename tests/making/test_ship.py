import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from making.align import __main__ as command
from making.align import ship
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.records import RunRecord, write_run
from scrapseg.files import REPOSITORY, ResultsError
from scrapseg.models.prompts import random_embeddings
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.segmenter import SHIPPED, load
from scrapseg.models.towers import pocket_image_encoder


def test_without_a_run_there_is_nothing_to_ship(tmp_path, monkeypatch, capsys):
    with pytest.raises(ResultsError, match=f"{ship.RUN}.json"):
        ship.ship(tmp_path, tmp_path / "m.safetensors")
    monkeypatch.setattr(command, "REPOSITORY", tmp_path)
    assert command.main(["ship", "--profile", "laptop"]) == 1
    assert "make reproduce PROFILE=laptop" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.safetensors"))


def test_what_is_shipped_is_the_runs_model_with_its_threshold(tmp_path):
    model = ScrapSeg(pocket_image_encoder(), random_embeddings(9, 0)).eval()
    model.save(tmp_path / "cache" / ship.RUN / "model.safetensors")
    record = RunRecord("scrapseg", "ours", "pocket", "scrapsim", "test", "all", 0, {})
    record.metrics = {"ap": 0.5, "miou_impurity": 0.25}
    record.config = {"steps": 7, "threshold": 0.375}
    record.provenance = {"commit": "0123456789"}
    write_run(record, tmp_path)
    ship.ship(tmp_path, tmp_path / "shipped.safetensors")
    back = load(tmp_path / "shipped.safetensors")
    assert back.threshold == 0.375
    assert "7 steps, commit 0123456" in back.origin and "0.500" in back.origin
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            back.model(image).logits, model(image).logits, atol=0.05, rtol=0.01
        )


def test_the_shipped_model_finds_impurities_it_was_not_trained_on():
    model = load(SHIPPED)
    val = ScrapSim(REPOSITORY / "data" / "scrapsim", "val", limit=6)
    scores = np.concatenate([model.predict(s.image).score.ravel() for s in val])
    truth = np.concatenate([(s.label > 0).ravel() for s in val])
    assert average_precision_score(truth, scores) > 0.5
