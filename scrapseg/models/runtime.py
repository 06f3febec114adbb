"""Prediction by onnxruntime, which takes about two thirds of torch's time on a CPU.

What was exported, once, is the graph of the pocket architecture without weights, 0.2 MB, which
`python -m making.align graph` makes. A model's weights are handed to onnxruntime beside it, so
every fine-tuned model has a session at once. Each is compared with torch before it is used. Torch
computes the rest: other architectures, a GPU, models whose weights have changed since.
"""

from __future__ import annotations

import json
import sys
import threading
import zlib

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from scrapseg.files import shipped
from scrapseg.models.export import (
    TOLERANCE,
    Exported,
    ExportError,
    largest_difference,
    with_embedding,
)
from scrapseg.models.scrapseg import ScrapSeg, SegOutput

GRAPH = shipped("graph.onnx")
#: Of models with a `Novelty`.
GRAPH_NOVELTY = shipped("graph-novelty.onnx")
#: Of a model's config, what its graph does not depend on.
VALUES = ("classes", "temperature", "trained")


class Runtime(nn.Module):
    """A model as it is at the first image; `tiles.predict_large` takes it too.

    Class vectors may change afterwards. Once weights have, torch computes.
    """

    def __init__(self, model: ScrapSeg) -> None:
        super().__init__()
        self.model = model
        self.lock, self.checksum = threading.Lock(), None
        self.session: onnxruntime.InferenceSession | None = None

    def __reduce__(self) -> tuple:
        return Runtime, (self.model,)  # a session can be neither copied nor pickled

    @property
    def mean(self) -> tuple[float, ...]:
        """RGB mean the images must be normalised with."""
        return self.model.mean

    @property
    def std(self) -> tuple[float, ...]:
        """RGB standard deviation the images must be normalised with."""
        return self.model.std

    def forward(self, images: Tensor) -> SegOutput:
        """Normalised images (B, 3, H, W) to logits (B, C, H, W)."""
        return SegOutput(self.run(images)[0], None)

    def run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, 3, H, W) to logits (B, C, H, W) and the pooled token (B, D)."""
        with self.lock:
            if self.checksum is None:
                self.checksum, self.session = checksum(self.model), session_for(self.model)
        if self.session is None or not images.is_cpu or checksum(self.model) != self.checksum:
            return with_embedding(self.model, images)
        feed = {"images": images.contiguous().numpy(), "text": self.model.text.numpy()}
        logits, pooled = map(torch.from_numpy, self.session.run(None, feed))
        return logits, pooled


def checksum(model: ScrapSeg) -> int:
    """Over all weights but the class vectors: 6 ms, and no way of writing to them goes unseen."""
    found = 0
    for name, value in model.state_dict().items():
        if name != "text":
            found = zlib.crc32(value.float().cpu().contiguous().numpy(), found)
    return found


def session_for(model: ScrapSeg) -> onnxruntime.InferenceSession | None:
    """A session that gives a model's logits; None on a GPU or for another architecture, and where
    the graph is of no use, which is said in a line on stderr."""
    if model.text.device.type != "cpu":
        return None
    graph = GRAPH_NOVELTY if model.novelty else GRAPH
    try:
        proto = onnx.load(graph, load_external_data=False)
        if architecture(model) != proto.metadata_props[0].value:
            return None
        wrapped = exported(model)
        session = weighted(proto, wrapped.state_dict())
        if not (difference := largest_difference(wrapped, session)) <= TOLERANCE:
            raise ExportError(f"it differs from torch by {difference:.1e}")
    except Exception as error:  # of a damaged file onnx and onnxruntime raise what they like
        reason = " ".join(str(error).split())[:200]
        print(f"{graph}: onnxruntime cannot use it, torch predicts ({reason})", file=sys.stderr)
        return None
    return session


def architecture(model: ScrapSeg) -> str:
    """What decides a model's graph, as it stands in the graph's metadata."""
    return json.dumps({k: v for k, v in model.config.items() if k not in VALUES}, sort_keys=True)


def exported(model: ScrapSeg) -> Exported:
    """What the graph computes: an export whose images come normalised."""
    wrapped = Exported(model).eval()
    wrapped.mean.zero_()
    wrapped.std.fill_(1)
    return wrapped


def options() -> onnxruntime.SessionOptions:
    """As many threads as torch has, asleep while they wait (see scrapseg/__init__.py); no memory is
    kept for sizes that vary."""
    found = onnxruntime.SessionOptions()
    found.log_severity_level = 4
    found.intra_op_num_threads = torch.get_num_threads()
    found.add_session_config_entry("session.intra_op.allow_spinning", "0")
    found.enable_cpu_mem_arena = found.enable_mem_pattern = False
    return found


def weighted(proto: onnx.ModelProto, weights: dict[str, Tensor]) -> onnxruntime.InferenceSession:
    """A session of the graph with weights, which onnxruntime copies."""
    names = [entry.name for entry in proto.graph.initializer if entry.external_data]
    arrays = [weights[name].contiguous().numpy() for name in names]  # trained: channels last
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays]
    given = options()
    given.add_external_initializers(names, values)
    content = proto.SerializeToString()
    return onnxruntime.InferenceSession(content, given, providers=["CPUExecutionProvider"])
