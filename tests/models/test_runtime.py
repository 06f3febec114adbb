"""onnxruntime in torch's place: the same numbers, and torch wherever it cannot be."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional as F

from scrapseg.data.classes import classes_from
from scrapseg.models import runtime
from scrapseg.models.predict import predict
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.segmenter import Segmenter, load

#: No classes of the benchmark, as a user's list has them.
OWN = classes_from({"steel": {}, "rubber hose": {"words": ["hose"]}, "battery": {}}, "a test")


@pytest.fixture(scope="module")
def shipped() -> Segmenter:
    return load()


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def by_torch(segmenter: Segmenter) -> Segmenter:
    return replace(segmenter, runtime=None)


@pytest.mark.parametrize("own", [False, True])
def test_same_as_torch(shipped, own):
    fast = shipped.with_classes(OWN) if own else shipped
    for size in ((384, 384), (33, 200), (131, 97), (25, 40)):
        found, expected = (s.predict(picture(*size)) for s in (fast, by_torch(fast)))
        assert np.abs(found.score - expected.score).max() < 1e-4
        assert np.abs(found.embedding - expected.embedding).max() < 1e-4
        assert (found.impurity == expected.impurity).mean() > 0.999
    assert fast.runtime.session is not None


def test_a_trained_model_whose_weights_lie_channels_last_is_the_same(shipped):
    model = copy.deepcopy(shipped.model).to(memory_format=torch.channels_last)
    fast = replace(shipped, model=model).compiled()
    found, expected = (s.predict(picture(64, 96)).score for s in (fast, shipped))
    assert np.abs(found - expected).max() < 1e-4
    assert fast.runtime.session is not None


def test_a_data_set_is_evaluated_alike(shipped):
    """As finished runs are."""
    items = [(torch.randn(3, 64, 96), torch.zeros(64, 96)) for _ in range(3)]
    fast = runtime.Runtime(shipped.model)
    found, expected = (
        predict(m, items, batch_size=2, class_scores=True) for m in (fast, shipped.model)
    )
    assert np.abs(found.score_maps - expected.score_maps).max() < 1e-4
    assert (found.labels == expected.labels).mean() > 0.999
    assert np.abs(found.class_scores - expected.class_scores).max() < 2e-2  # in half precision
    assert fast.session is not None


def test_tile_by_tile_and_mirrored_it_is_the_same(shipped):
    for changes, size in (({"mirrored": True}, (64, 96)), ({"side": 1100}, (90, 1100))):
        fast = replace(shipped, **changes)
        found, expected = (s.predict(picture(*size)) for s in (fast, by_torch(fast)))
        assert np.abs(found.score - expected.score).max() < 1e-3  # tiles come in half precision


def test_the_graph_that_comes_along_is_this_architectures(shipped, capfd):
    """Else make it anew: python -m making.align graph."""
    assert runtime.session_for(shipped.model)
    assert capfd.readouterr() == ("", "")


def another(content: bytes) -> bytes:
    """A sound graph that computes something else."""
    proto = onnx.load_model_from_string(content)
    next(n for n in proto.graph.node if n.op_type == "Relu").op_type = "Sigmoid"
    return proto.SerializeToString()


def unweighted(content: bytes) -> bytes:
    """A graph that wants a weight which no model has."""
    proto = onnx.load_model_from_string(content)
    proto.graph.initializer[0].name = "another"
    return proto.SerializeToString()


@pytest.mark.parametrize(
    "damage",
    [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"junk", another, unweighted, None],
    ids=["cut", "empty", "junk", "another", "unweighted", "missing"],
)
def test_a_broken_graph_is_told_in_a_line_and_torch_predicts(
    shipped, tmp_path, damage, monkeypatch, capfd
):
    path = tmp_path / "graph.onnx"
    if damage:
        path.write_bytes(damage(runtime.GRAPH.read_bytes()))
    monkeypatch.setattr(runtime, "GRAPH", path)
    fallen = shipped.compiled()
    for _ in range(2):
        found = fallen.predict(picture(40, 60))
    assert np.array_equal(found.score, by_torch(shipped).predict(picture(40, 60)).score)
    out, told = capfd.readouterr()
    assert told.count("\n") == 1 and str(path) in told and "torch predicts" in told
    assert out == ""


def test_another_architecture_is_torchs(shipped, capfd):
    model = shipped.model
    for changes in ({"scale": 0.5}, {"stages": 3}):
        other = ScrapSeg(copy.deepcopy(model.encoder), model.text, **changes).eval()
        assert runtime.session_for(other) is None
    assert capfd.readouterr() == ("", "")


def by_load_state_dict(model):
    state = model.state_dict()
    model.load_state_dict(state | {"log_scale": state["log_scale"] - 0.5})


def by_data(model):
    model.log_scale.data -= 0.5


def by_numpy(model):
    model.log_scale.detach().numpy()[...] -= 0.5


def in_inference_mode(model):
    with torch.inference_mode():
        model.log_scale.sub_(0.5)


def by_another_parameter(model):
    model.log_scale = torch.nn.Parameter(model.log_scale.detach() - 0.5)


@pytest.mark.parametrize(
    "change", [by_load_state_dict, by_data, by_numpy, in_inference_mode, by_another_parameter]
)
def test_old_weights_never_predict(shipped, change):
    own, image = copy.deepcopy(shipped), picture(64, 64)
    assert own.runtime.model is own.model is not shipped.model
    before = own.predict(image)
    assert own.runtime.session is not None
    change(own.model)
    after, expected = own.predict(image), by_torch(own).predict(image)
    assert np.array_equal(after.score, expected.score)
    assert np.abs(after.score - before.score).max() > 0.01


def test_another_model_in_its_place_is_torchs(shipped):
    """As training puts candidates there."""
    other = copy.deepcopy(shipped.model)
    other.shift_normal(-2)
    found = replace(shipped, model=other).predict(picture(64, 64))
    expected = replace(by_torch(shipped), model=other).predict(picture(64, 64))
    assert np.array_equal(found.score, expected.score)


def test_class_vectors_may_change(shipped):
    own = copy.deepcopy(shipped)
    own.predict(picture(64, 64))
    own.model.set_classes(F.normalize(torch.randn(9, 384), dim=1))
    found, expected = (s.predict(picture(64, 64)) for s in (own, by_torch(own)))
    assert 0 < np.abs(found.score - expected.score).max() < 1e-4  # by onnxruntime, that is


@pytest.mark.parametrize("fast", [True, False])
def test_threads_share_one(shipped, fast, monkeypatch):
    made, of = [], runtime.session_for
    monkeypatch.setattr(runtime, "session_for", lambda model: (made.append(1), of(model))[1])
    shared = shipped.compiled() if fast else by_torch(shipped)
    images = [picture(48, 64 + 8 * k, seed=k) for k in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(shared.predict, images))
    assert len(made) == fast
    for image, p in zip(images, found, strict=True):
        expected = shared.predict(image)
        assert np.array_equal(p.score, expected.score)
        assert np.array_equal(p.embedding, expected.embedding)


def test_it_takes_as_many_cores_as_torch(shipped):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        session = runtime.session_for(shipped.model)
    finally:
        torch.set_num_threads(before)
    assert session.get_session_options().intra_op_num_threads == 1
