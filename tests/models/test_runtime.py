"""onnxruntime in torch's place: the same numbers, and torch wherever it cannot be."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from scrapseg.data.classes import classes_from
from scrapseg.models import runtime
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.segmenter import load

#: No classes of the benchmark, as a user's list has them.
OWN = classes_from({"steel": {}, "rubber hose": {"words": ["hose"]}, "battery": {}}, "a test")


@pytest.fixture(scope="module")
def shipped():
    return load()


def picture(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [(384, 384), (33, 200), (131, 97), (25, 40)])
@pytest.mark.parametrize("own", [False, True])
def test_same_as_torch(shipped, size, own):
    fast = shipped.with_classes(OWN) if own else shipped
    image = picture(*size)
    found, expected = fast.predict(image), replace(fast, runtime=None).predict(image)
    assert fast.runtime.session is not None
    assert np.abs(found.score - expected.score).max() < 1e-4
    assert np.abs(found.embedding - expected.embedding).max() < 1e-4
    assert (found.impurity == expected.impurity).mean() > 0.999


def test_tile_by_tile_and_mirrored_it_is_the_same(shipped):
    for changes, size in (({"mirrored": True}, (64, 96)), ({"side": 1100}, (90, 1100))):
        fast = replace(shipped, **changes)
        found, expected = (s.predict(picture(*size)) for s in (fast, replace(fast, runtime=None)))
        assert np.abs(found.score - expected.score).max() < 1e-3  # tiles come in half precision


def test_the_graph_that_comes_along_is_this_architectures(shipped, tmp_path, capsys):
    """Else make it anew: runtime.write_graph(scrapseg.load().model)."""
    assert runtime.session_for(shipped.model, tmp_path)
    assert not capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.fixture
def made(monkeypatch):
    """Without the graph that comes along; how often one was exported, which takes no time here."""
    content, times = runtime.GRAPH.read_bytes(), []
    monkeypatch.setattr(runtime, "GRAPH", runtime.GRAPH.with_name("none.onnx"))
    monkeypatch.setattr(runtime, "graph_of", lambda *_: times.append(1) or content)
    return times


def test_a_graph_is_exported_once_and_a_damaged_one_anew(shipped, tmp_path, made, capsys):
    for _ in range(2):
        assert runtime.session_for(shipped.model, tmp_path)
    (file,) = tmp_path.iterdir()
    assert len(made) == 1 and "once: about 20 s" in capsys.readouterr().err
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"junk"):
        file.write_bytes(damaged)
        assert runtime.session_for(shipped.model, tmp_path)
        assert file.read_bytes() == whole
    assert len(made) == 4 and str(file) in capsys.readouterr().err


def test_a_graph_that_computes_something_else_is_made_anew(shipped, tmp_path, made, capsys):
    """As after a change of the sources."""
    runtime.session_for(shipped.model, tmp_path)
    (file,) = tmp_path.iterdir()
    proto = onnx.load_model_from_string(file.read_bytes())
    next(n for n in proto.graph.node if n.op_type == "Relu").op_type = "Sigmoid"
    file.write_bytes(proto.SerializeToString())
    capsys.readouterr()
    assert runtime.session_for(shipped.model, tmp_path)
    assert len(made) == 2 and "differs from torch" in capsys.readouterr().err


def test_where_the_cache_cannot_be_written_it_is_said_and_predicts(shipped, tmp_path, made, capsys):
    (tmp_path / "file").touch()
    assert runtime.session_for(shipped.model, tmp_path / "file")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and "cannot write" in told[1] and "anew at each start" in told[1]


def test_an_export_that_fails_leaves_torch(shipped, tmp_path, made, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "graph_of", lambda *_: 1 / 0)
    assert runtime.session_for(shipped.model, tmp_path) is None
    assert "torch is (division by zero)" in capsys.readouterr().err


def test_what_cannot_be_exported_or_has_changed_is_torchs(shipped):
    model = shipped.model
    scaled = ScrapSeg(copy.deepcopy(model.encoder), model.text, scale=0.5).eval()
    assert runtime.session_for(scaled) is None
    changed = copy.deepcopy(shipped)
    assert changed.runtime.model is changed.model is not model
    image = picture(64, 64)
    before = changed.predict(image)
    changed.model.shift_normal(-2)
    after, plain = changed.predict(image), replace(changed, runtime=None).predict(image)
    assert np.array_equal(after.score, plain.score) and (after.score > before.score).all()
    other = replace(shipped, model=changed.model)  # as training puts another in its place
    assert np.array_equal(other.predict(image).score, after.score)


IMPORTS = """
import sys, scrapseg
heavy = {"torch", "numpy", "pandas"} & set(sys.modules)
import numpy as np
scrapseg.load().predict(np.zeros((64, 64, 3), np.uint8))
unused = ("lightning", "anomalib", "matplotlib", "onnxscript", "segmentation_models_pytorch",
          "sklearn", "IPython", "snakemake")
print(sorted(heavy), [name for name in unused if name in sys.modules])
"""


def test_nothing_is_imported_that_predicting_does_not_need():
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True)
    assert done.stdout == "[] []\n", done.stderr


def test_threads_are_torchs(shipped):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        session = runtime.session_for(shipped.model)
    finally:
        torch.set_num_threads(before)
    assert session.get_session_options().intra_op_num_threads == 1
