"""ONNX against torch, at sizes, numbers and classes other than those it was exported with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from scrapseg.models import export
from scrapseg.models.segmenter import load, starting_model


@pytest.fixture(scope="module")
def segmenter():
    return starting_model(shipped=False)


@pytest.fixture(scope="module")
def exported(segmenter, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    segmenter.save(folder / "model" / "model.safetensors")
    out = folder / "scrap.onnx"
    saved = load(folder / "model")
    return export.to_onnx(saved.model, out, [c.name for c in saved.classes])


@pytest.fixture(scope="module")
def session(exported):
    return onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])


def test_the_file_is_valid_and_says_what_it_takes(exported, session, segmenter):
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert {o.version for o in model.opset_import if not o.domain} == {export.OPSET}
    images, text = session.get_inputs()
    assert [d if isinstance(d, int) else None for d in images.shape] == [None, 3, None, None]
    assert [d if isinstance(d, int) else None for d in text.shape] == [None, 384]
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["classes"]) == [c.name for c in segmenter.classes]
    assert np.allclose(json.loads(meta["text"]), segmenter.model.text, atol=1e-7)


@pytest.mark.parametrize(("batch", "height", "width", "classes"), [(1, 64, 64, 9), (2, 75, 118, 4)])
def test_same_as_torch(session, segmenter, batch, height, width, classes):
    generator = torch.Generator().manual_seed(batch)
    images = torch.rand(batch, 3, height, width, generator=generator)
    text = F.normalize(torch.randn(classes, 384, generator=generator), dim=1)
    model = segmenter.model
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.mean, model.std))
    own = model.text
    with torch.inference_mode():
        model.set_classes(text)
        expected = model((images - mean) / std).logits.numpy()
        model.set_classes(own)
    found = session.run(None, {"images": images.numpy(), "text": text.numpy()})[0]
    assert found.shape == (batch, classes, height, width)
    assert np.abs(found - expected).max() < 1e-4


def test_a_picture_gives_the_same_classes(session, segmenter, tiny_scrapsim):
    image = np.array(Image.open(sorted((tiny_scrapsim / "images").iterdir())[0]).convert("RGB"))
    feed = np.moveaxis(image, 2, 0)[None].astype(np.float32) / 255
    text = segmenter.model.text.numpy()
    logits = session.run(None, {"images": feed, "text": text})[0][0]
    p = np.exp(logits - logits.max(0))
    assert np.abs(1 - (p / p.sum(0))[0] - segmenter.predict(image).score).max() < 1e-4


def test_nothing_is_overwritten(exported, segmenter):
    before = exported.read_bytes()
    with pytest.raises(export.ExportError, match="exists already"):
        export.to_onnx(segmenter.model, exported)
    assert exported.read_bytes() == before


def test_an_export_that_differs_is_not_written(segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "largest_difference", lambda *_: 3e-4)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: None)
    monkeypatch.setattr(
        export, "program_of", lambda _: type("P", (), {"model_proto": onnx.ModelProto()})
    )
    with pytest.raises(export.ExportError, match=r"differs from torch by 3\.0e-04"):
        export.to_onnx(segmenter.model, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
