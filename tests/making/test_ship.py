from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import average_precision_score

from making.align import ship
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.files import REPOSITORY
from scrapseg.models.segmenter import SHIPPED, load


def test_what_is_shipped_is_trained_and_measured(tiny_scrapsim, tmp_path):
    config = replace(ship.CONFIG, steps=2, crop=32, batch_size=2)
    made = ship.ship(tiny_scrapsim, tmp_path / "shipped.safetensors", config)
    back = load(tmp_path / "shipped.safetensors")
    assert back.threshold == made.threshold and back.origin == made.origin
    test = ScrapSim(tiny_scrapsim, "test")
    scores = np.concatenate([made.probabilities(s.image)[0][0].numpy().ravel() for s in test])
    truth = np.concatenate([(s.label > 0).ravel() for s in test])
    assert f"pixel AP {average_precision_score(truth, 1 - scores):.3f}" in made.origin
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            back.model(image).logits, made.model(image).logits, atol=0.05, rtol=0.01
        )


def test_the_shipped_model_finds_impurities_it_was_not_trained_on():
    model = load(SHIPPED)
    val = ScrapSim(REPOSITORY / "data" / "scrapsim", "val", limit=6)
    scores = np.concatenate([model.predict(s.image).score.ravel() for s in val])
    truth = np.concatenate([(s.label > 0).ravel() for s in val])
    assert average_precision_score(truth, scores) > 0.5
