"""A trained model as ONNX, for programs without torch.

The graph takes `images`, float32 (B, 3, H, W), RGB in 0..1, of any number and size, and `text`,
float32 (C, D), the class vectors, row 0 the normal class: so classes change without exporting
again. It gives `logits`, float32 (B, C, H, W): softmax over C are the classes' probabilities, and
`embedding`, float32 (B, D), the image's place in the joint space, not normalised. The vectors of
the model's own classes and their names are in the file's metadata.
"""

from __future__ import annotations

import copy
import json
import logging
import threading
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from scrapseg.files import atomic_write
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.towers import Stages

#: The newest opset that torch's exporter writes without converting.
OPSET = 20
#: Largest difference from torch, in logits and embedding, that an export may have.
TOLERANCE = 1e-4


class ExportError(Exception):
    """The model cannot be exported, or the export does not compute the same."""


@torch.library.custom_op("scrapseg::conv_same", mutates_args=())
def conv_same(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], groups: int
) -> Tensor:
    """What timm's `Conv2dSame` computes: padding as TensorFlow's SAME, one attribute in ONNX.

    Written out in torch, the padding is arithmetic on sizes that the exporter chokes on.
    """
    pads = []
    for size, kernel, step in zip(x.shape[:1:-1], weight.shape[:1:-1], stride[::-1], strict=True):
        total = max((-(-size // step) - 1) * step + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), weight, bias, stride, groups=groups)


@conv_same.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], groups: int) -> Tensor:
    height, width = ((n + s - 1) // s for n, s in zip(x.shape[2:], stride, strict=True))
    return x.new_empty(x.shape[0], weight.shape[0], height, width)


class Exported(nn.Module):
    """What the graph computes: normalisation, then the model with the class vectors given."""

    def __init__(self, model: ScrapSeg) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval()
        if self.model.encoder.multiple != 1 or self.model.scale != 1:
            raise ExportError(
                f"{self.model.encoder.spec['model']}: its image tower takes sizes in steps, or the "
                "model resizes its images; only convolutional towers at native size are exported"
            )
        self.model.encoder.fitted = lambda images: images  # any size fits, and needs no rounding
        for module in self.model.modules():
            if isinstance(module, Conv2dSame):
                module.forward = lambda x, conv=module: conv_same(
                    x, conv.weight, conv.bias, list(conv.stride), conv.groups
                )
        self.register_buffer("mean", torch.tensor(model.encoder.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(model.encoder.std).view(1, 3, 1, 1))

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) in 0..1, text (C, D) to logits (B, C, H, W), embedding (B, D)."""
        return with_embedding(self.model, (images - self.mean) / self.std, text)


def with_embedding(
    model: ScrapSeg, images: Tensor, text: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Normalised images (B, 3, H, W) to logits (B, C, H, W) and the pooled token (B, D), by torch.

    Args:
        text: class vectors (C, D), in place of the model's own.
    """
    seen: list[Tensor] = []
    mine = threading.get_ident()  # others may run the same model meanwhile

    def keep(_: nn.Module, __: tuple, out: Stages) -> None:
        if threading.get_ident() == mine:
            seen.append(out.pooled)

    with model.encoder.register_forward_hook(keep):
        given = {} if text is None else {"text": text}
        logits = functional_call(model, given, (images,)).logits
    return logits, seen[0]


def to_onnx(model: ScrapSeg, path: str | Path, names: list[str] | None = None) -> Path:
    """Write a model as ONNX and check it against torch at other sizes and with other classes.

    Args:
        path: of the file to write; there must be none yet.
        names: of the classes, for the metadata.

    Raises:
        ExportError: the file exists, the model's tower cannot be exported, or what
            onnxruntime computes differs from torch by more than `TOLERANCE`.
    """
    path = Path(path)
    if path.exists():
        raise ExportError(f"{path}: exists already; name another file, or remove it")
    wrapped = Exported(model).eval()
    program = program_of(wrapped)
    proto = program.model_proto
    for key, value in {
        "classes": json.dumps(names or [str(k) for k in range(len(model.text))]),
        "text": json.dumps(np.round(model.text.cpu().numpy().astype(float), 8).tolist()),
    }.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    content = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    difference = largest_difference(wrapped, session)
    if not difference <= TOLERANCE:
        raise ExportError(f"{path}: onnxruntime differs from torch by {difference:.1e}")
    return atomic_write(path, content)


def program_of(wrapped: Exported, optimize: bool = True):
    """Run torch's exporter, which talks a lot; `optimize` folds what weights alone decide."""
    from onnxscript import opset20 as op  # heavy; nothing else needs it

    def conv_same_onnx(x, weight, bias, stride, groups):
        if bias is None:
            return op.Conv(x, weight, auto_pad="SAME_UPPER", strides=stride, group=groups)
        return op.Conv(x, weight, bias, auto_pad="SAME_UPPER", strides=stride, group=groups)

    dim = torch.export.Dim.DYNAMIC
    images, text = torch.rand(2, 3, 96, 128), wrapped.model.text.clone()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            wrapped,
            (images, text),
            input_names=["images", "text"],
            output_names=["logits", "embedding"],
            dynamic_shapes={"images": {0: dim, 2: dim, 3: dim}, "text": {0: dim}},
            custom_translation_table={torch.ops.scrapseg.conv_same.default: conv_same_onnx},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            optimize=optimize,
        )


def largest_difference(wrapped: Exported, session: onnxruntime.InferenceSession) -> float:
    """Most that an onnxruntime session differs from torch, over sizes and classes unlike those that
    were exported."""
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for shape, classes in (((1, 3, 97, 131), 3), ((3, 3, 160, 64), len(wrapped.model.text))):
        images = torch.rand(shape, generator=generator)
        text = torch.randn(classes, wrapped.model.text.shape[1], generator=generator)
        text = F.normalize(text, dim=1)
        with torch.inference_mode():
            expected = wrapped(images, text)
        found = session.run(None, {"images": images.numpy(), "text": text.numpy()})
        for ours, torchs in zip(found, expected, strict=True):
            worst = max(worst, float(np.abs(ours - torchs.numpy()).max()))
    return worst
