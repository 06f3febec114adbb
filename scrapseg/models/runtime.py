"""Prediction by onnxruntime, which takes about two thirds of torch's time on a CPU.

What is exported is the graph of an architecture, 0.2 MB without weights; a model's weights are
handed to onnxruntime beside it. So models of one architecture, fine-tuned ones too, share a graph:
the pocket model's comes along, another's is exported once (about 20 s) into the user's cache. Each
session is checked against torch on two small images before it is used. Torch computes what cannot
be exported (transformers), models on a GPU, and models that changed since.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import onnx
import onnxruntime
import pooch
import torch
from torch import Tensor, nn

from scrapseg.files import WriteFailed, atomic_write, shipped
from scrapseg.models.export import (
    TOLERANCE,
    Exported,
    ExportError,
    largest_difference,
    program_of,
    with_embedding,
)
from scrapseg.models.scrapseg import ScrapSeg, SegOutput

#: The pocket model's graph, made anew by `write_graph`.
GRAPH = shipped("graph.onnx")
#: Of a model's config, what its graph does not depend on.
VALUES = ("classes", "temperature", "trained")


class Runtime(nn.Module):
    """A model as it is now, on normalised images (B, 3, H, W); `tiles.predict_large` takes it too.

    Made at the first image. Class vectors may change, weights may not: then torch takes over.
    """

    def __init__(self, model: ScrapSeg) -> None:
        super().__init__()
        self.model, self.mean, self.std = model, model.mean, model.std
        self.session: onnxruntime.InferenceSession | None = None
        self.made_of: tuple | None = None

    def __reduce__(self) -> tuple:
        return Runtime, (self.model,)  # a session can be neither copied nor pickled

    def forward(self, images: Tensor) -> SegOutput:
        """Images (B, 3, H, W) to logits (B, C, H, W)."""
        return SegOutput(self.run(images)[0], None)

    def run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) to logits (B, C, H, W) and the pooled token (B, D)."""
        if self.made_of is None:
            self.made_of, self.session = state_of(self.model), session_for(self.model)
        if self.session is None or state_of(self.model) != self.made_of:
            return with_embedding(self.model, images, self.model.text)
        feed = {"images": images.contiguous().numpy(), "text": self.model.text.numpy()}
        logits, pooled = map(torch.from_numpy, self.session.run(None, feed))
        return logits, pooled


def state_of(model: ScrapSeg) -> tuple:
    """What differs after any change of weights: where they lie, how often they were written to."""
    named = [*model.named_parameters(), *model.named_buffers()]
    kept = [t for name, t in named if name != "text"]
    return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in kept)


def session_for(model: ScrapSeg, cache_dir: Path | None = None) -> onnxruntime.InferenceSession:
    """A session with a model's weights that gives torch's logits, or None where there is none."""
    if model.normal_bias.device.type != "cpu":
        return None
    try:
        wrapped = Exported(model, normalise=False).eval()
    except ExportError:
        return None
    key = graph_key(model)
    cached = Path(cache_dir or pooch.os_cache("scrapseg")) / f"graph-{key}.onnx"
    for path in (GRAPH, cached):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        try:
            session = checked(wrapped, content, key)
        except Exception as error:  # of a damaged file, onnxruntime raises what it likes
            tell(f"{path}: no graph of this model, made anew ({error})")
            continue
        if session:
            return session
    try:
        tell("preparing onnxruntime for this kind of model, once: about 20 s")
        content = graph_of(wrapped, key)
        session = checked(wrapped, content, key)
    except Exception as error:  # the exporter has no one kind of error either
        tell(f"onnxruntime cannot be used, torch is ({error})")
        return None
    try:
        atomic_write(cached, content)
    except WriteFailed as error:
        tell(f"{error}: onnxruntime is prepared anew at each start")
    return session


def graph_key(model: ScrapSeg) -> str:
    """Names the architecture of a model."""
    config = {k: v for k, v in model.config.items() if k not in VALUES}
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def tell(line: str) -> None:
    """One line on stderr."""
    print(" ".join(line.split())[:300], file=sys.stderr)


def checked(wrapped: Exported, content: bytes, key: str) -> onnxruntime.InferenceSession | None:
    """A session of a graph with a model's weights; None for another architecture's graph.

    Raises:
        ExportError: it does not give torch's logits. onnxruntime's own: it is no graph.
    """
    proto = onnx.load_model_from_string(content)
    if key not in [entry.value for entry in proto.metadata_props]:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait sleep, see scrapseg/__init__.py; nothing is kept for sizes that vary.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    weights = wrapped.state_dict()
    names = [i.name for i in proto.graph.initializer if i.name in weights and i.external_data]
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(weights[n].numpy()) for n in names]
    options.add_external_initializers(names, values)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    difference = largest_difference(wrapped, session)
    if not difference <= TOLERANCE:
        raise ExportError(f"it differs from torch by {difference:.1e} in logits")
    return session


def graph_of(wrapped: Exported, key: str) -> bytes:
    """The graph of an architecture, its weights named as in `wrapped` and left out."""
    import onnx_ir
    from onnxscript import optimizer  # heavy, and only an export needs them

    model = program_of(wrapped, optimize=False).model
    graph, names = model.graph, wrapped.state_dict()
    for node in graph.all_nodes():
        node.metadata_props.clear()  # where in the sources each came from: more than all the rest
    held = [value for name, value in graph.initializers.items() if name in names]
    for value in held:  # as inputs they are not folded into constants
        value.const_value = None
        del graph.initializers[value.name]
        graph.inputs.append(value)
    optimizer.optimize_ir(model)
    for value in held:
        graph.inputs.remove(value)
        facts = {"dtype": value.dtype, "shape": value.shape, "name": value.name}
        value.const_value = onnx_ir.ExternalTensor("weights", None, None, **facts)
        graph.initializers[value.name] = value
    model.metadata_props.clear()
    model.metadata_props["key"] = key
    return onnx_ir.to_proto(model).SerializeToString()


def write_graph(model: ScrapSeg, path: Path = GRAPH) -> Path:
    """Export the graph that comes along anew, after a change of the model's architecture."""
    wrapped, key = Exported(model, normalise=False).eval(), graph_key(model)
    return atomic_write(path, graph_of(wrapped, key))
