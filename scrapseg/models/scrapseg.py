"""ScrapSeg: image stages against class prompts, summed over scales (DESIGN of the method).

For stage s a feature map F_s becomes a joint-space map P_s(F_s): by a pyramid and projections for
convolutional towers, by the tower's own head for transformers. Its cosine with a class vector t_c,
over a learned temperature, is the class's logit at that scale, and a softmax-weighted sum over the
stages gives the logit of every pixel; the normal class has one learned offset, since most of the
world is steel. Classes are data, not weights: `set_classes` swaps them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from scrapseg.files import OneLine, atomic_write
from scrapseg.models.clip import ClipError, first_line
from scrapseg.models.novelty import Novelty
from scrapseg.models.towers import ImageEncoder, Stages, TokenEncoder, encoder_from_spec

#: What may learn, the most first: everything; the last two thirds of the image tower, or its last
#: quarter, and what follows; what follows the tower; the projections to the joint space and the
#: scalars alone.
TRAINED = ("all", "last two thirds", "last stage", "head", "projections")

#: Start value of the normal class's offset: about the log-odds of steel among pixels. Without it
#: the first steps are spent on the imbalance alone (Lin et al. 2017, section 4.1).
NORMAL_LOG_ODDS = 3.0

#: What a damaged file, or one of another architecture, leads to.
UNREADABLE = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)
UNREADABLE += (ArithmeticError, SafetensorError, ClipError)


class SegOutput(NamedTuple):
    """logits: (B, C, H, W) per pixel, class 0 normal. image_logits: (B, C) or None."""

    logits: Tensor
    image_logits: Tensor | None


class ModelFileError(OneLine):
    """A saved model is missing, incomplete or of another architecture."""


def conv_bn(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    """Convolution of the same size, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class Pyramid(nn.Module):
    """Top-down pyramid (Lin et al. 2017, FPN): coarse stages lend context to fine ones.

    Stage maps (B, C_s, H_s, W_s), fine to coarse, to as many maps (B, width, H_s, W_s).

    Args:
        channels: of the stages. width: of the result.
        top_down: without it every stage goes its own way, by a 1x1 convolution alone.
    """

    def __init__(self, channels: Sequence[int], width: int, top_down: bool = True) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(conv_bn(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(conv_bn(width, width, 3) for _ in channels if top_down)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Stage maps to pyramid maps, both fine to coarse; the last ones if there are fewer."""
        laterals, smooths = self.lateral[-len(maps) :], self.smooth[-len(maps) :]
        if not smooths:
            return [lateral(features) for lateral, features in zip(laterals, maps, strict=True)]
        out: list[Tensor] = []
        above = None
        for lateral, smooth, features in zip(
            reversed(laterals), reversed(smooths), reversed(maps), strict=True
        ):
            x = lateral(features)
            if above is not None:
                x = x + F.interpolate(above, size=x.shape[-2:], mode="bilinear")
            above = smooth(x)
            out.append(above)
        return out[::-1]


class StageProjection(nn.Module):
    """P_s, a 1x1 projection W to the joint space, and the cosine with class vectors.

    The projected map is never formed: <W h, t> = (t W) h is a 1x1 convolution with C outputs,
    and |W h|^2 = h' (W'W) h needs only the small Gram matrix W'W. At stride 4 this is a third
    of the arithmetic and none of the memory of a 384-channel map.
    """

    def __init__(self, width: int, joint_width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(joint_width, width) / width**0.5)

    def forward(self, features: Tensor, text: Tensor) -> Tensor:
        """features (B, width, H, W), text (C, joint) of unit length -> cosines (B, C, H, W)."""
        folded = text @ self.weight
        gram = self.weight.T @ self.weight
        dots = F.conv2d(features, folded[:, :, None, None])
        squared = (features * F.conv2d(features, gram[:, :, None, None])).sum(1, keepdim=True)
        return dots * torch.rsqrt(squared.clamp_min(1e-8))


class TokenNeck(nn.Module):
    """P_s of a ViT: the tower's own projection plus a linear residual per stage, zero at first.

    So an untrained model gives CLIP's own zero-shot maps, and training lets each stage, which the
    tower's head was not made for but at the last, find its own way to the joint space (a learned
    linear layer per stage: APRIL-GAN, Chen et al., arXiv:2305.17382).
    """

    def __init__(self, channels: Sequence[int], joint_width: int) -> None:
        super().__init__()
        self.residuals = nn.ModuleList(nn.Conv2d(c, joint_width, 1, bias=False) for c in channels)
        for residual in self.residuals:
            nn.init.zeros_(residual.weight)

    def forward(self, stages: Stages, text: Tensor) -> list[Tensor]:
        """Stages with `joint`, text (C, joint) of unit length -> cosines (B, C, H_s, W_s) each."""
        return [
            F.conv2d(F.normalize(joint + residual(tokens), dim=1), text[:, :, None, None])
            for residual, tokens, joint in zip(
                self.residuals, stages.maps, stages.joint, strict=True
            )
        ]


class ScrapSeg(nn.Module):
    """Multi-scale open-vocabulary segmenter.

    Args:
        encoder: image tower as stages; its kind chooses the way to the joint space.
        text: class vectors (C, D) of unit length, row 0 the normal class.
        width: channels of the pyramid (of convolutional towers; a `TokenNeck` has none).
        temperature: start value of tau; the logits are cosines / tau. By default the encoder's.
        trained: which of `TRAINED` learns. What does not gets no gradients, and its batch
            statistics stay as they are.
        stages: how many of the encoder's stages are read, from the coarsest; None for all.
        fusion: "learned" stage weights, or their "mean".
        top_down: see `Pyramid` (convolutional towers).
        scale: images are resized by this factor before the encoder sees them.
        novelty: rank of the `Novelty` that is added to the log-odds of an impurity, 0 for none.

    Raises:
        ValueError: an option has none of its values.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        text: Tensor,
        *,
        width: int = 128,
        temperature: float | None = None,
        trained: str = "all",
        stages: int | None = None,
        fusion: str = "learned",
        top_down: bool = True,
        scale: float = 1.0,
        novelty: int = 0,
    ) -> None:
        super().__init__()
        temperature = temperature or encoder.temperature
        stages = stages or len(encoder.channels)
        if trained not in TRAINED or fusion not in ("learned", "mean"):
            raise ValueError(f"trained is {trained!r}, fusion {fusion!r}: see ScrapSeg")
        if stages not in range(1, len(encoder.channels) + 1) or not 1 / 8 <= scale <= 8:
            raise ValueError(f"stages is {stages}, scale {scale}: see ScrapSeg")
        self.encoder = encoder
        self.stages, self.scale = int(stages), scale
        if isinstance(encoder, TokenEncoder):
            self.neck = TokenNeck(encoder.channels, encoder.width)
        else:
            self.pyramid = Pyramid(encoder.channels, width, top_down)
            self.projections = nn.ModuleList(
                StageProjection(width, encoder.width) for _ in encoder.channels
            )
        self.stage_logits = nn.Parameter(torch.zeros(len(encoder.channels)))
        self.log_scale = nn.Parameter(-torch.tensor(temperature).log())
        self.image_log_scale = nn.Parameter(-torch.tensor(temperature).log())
        self.normal_bias = nn.Parameter(torch.tensor(NORMAL_LOG_ODDS))
        self.register_buffer("text", text.clone())
        self.hold_back(trained)
        if fusion == "mean":
            self.stage_logits.requires_grad_(False)
        self.config = {
            "width": width,
            "temperature": temperature,
            "trained": trained,
            "stages": stages,
            "fusion": fusion,
            "top_down": top_down,
            "scale": scale,
            "classes": text.shape[0],
            "encoder": encoder.spec,
        }
        self.set_novelty(Novelty(novelty) if novelty else None)

    @property
    def mean(self) -> tuple[float, ...]:
        """RGB mean the images must be normalised with."""
        return self.encoder.mean

    @property
    def std(self) -> tuple[float, ...]:
        """RGB standard deviation the images must be normalised with."""
        return self.encoder.std

    def hold_back(self, trained: str) -> None:
        """Leave gradients to the parts that `trained` names alone, see `TRAINED`."""
        groups = self.encoder.depth_groups()
        n = len(groups)
        held = {"all": 0, "last two thirds": -(-n // 3), "last stage": n - n // 4}.get(trained, n)
        for parameter in (p for group in groups[:held] for p in group):
            parameter.requires_grad_(False)
        if self.encoder.new_head:
            # The joint-space projection of the pooled token is new, so it is trained even frozen.
            self.encoder.visual.head.requires_grad_(True)
        if trained == "projections" and hasattr(self, "pyramid"):
            self.pyramid.requires_grad_(False)

    def train(self, mode: bool = True) -> ScrapSeg:
        """As `nn.Module.train`; what is not trained stays in eval mode."""
        super().train(mode)
        for module in self.modules():
            own = list(module.parameters())
            if own and not any(p.requires_grad for p in own):
                module.eval()
        return self

    def set_classes(self, text: Tensor) -> None:
        """Score other classes from now on: unit vectors (C', D), row 0 the normal class."""
        self.text = text.to(self.text)
        self.config["classes"] = text.shape[0]

    def set_novelty(self, novelty: Novelty | None) -> None:
        """Add this to the log-odds of an impurity from now on, or nothing."""
        self.novelty = novelty
        self.config.pop("novelty", None)
        self.config |= {"novelty": novelty.basis.shape[1]} if novelty else {}

    @torch.no_grad()
    def shift_normal(self, offset: float) -> None:
        """Add `offset` to the normal class's logit of every pixel from now on."""
        self.normal_bias += offset

    def stage_weights(self) -> Tensor:
        """w_s of the stages that are read, non-negative, sum 1, fine to coarse."""
        return self.stage_logits[-self.stages :].softmax(0)

    def stage_similarities(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Cosines per stage, each (B, C, H_s, W_s), and of the pooled token, (B, C)."""
        if self.scale != 1:
            images = F.interpolate(images, scale_factor=self.scale, mode="bilinear", antialias=True)
        stages, n = self.encoder(images), self.stages
        if isinstance(self.encoder, TokenEncoder):
            maps = self.neck(stages, self.text)[-n:]
        else:
            maps = [
                project(h, self.text)
                for project, h in zip(
                    self.projections[-n:], self.pyramid(stages.maps[-n:]), strict=True
                )
            ]
        return maps, F.normalize(stages.pooled, dim=1) @ self.text.T

    def fuse(self, maps: list[Tensor]) -> Tensor:
        """Cosines per stage, fine to coarse, to logits (B, C, H_1, W_1) at the finest stage."""
        size = maps[0].shape[-2:]
        total = sum(
            w * (m if m.shape[-2:] == size else F.interpolate(m, size=size, mode="bilinear"))
            for w, m in zip(self.stage_weights(), maps, strict=True)
        )
        return total * self.log_scale.exp()

    def forward(self, images: Tensor) -> SegOutput:
        """Images (B, 3, H, W), normalised by `mean` and `std`, to `SegOutput` at the same size.

        The stages are summed at the finest stage's size and upsampled once: bilinear
        upsampling is linear, so this differs from upsampling each only by interpolation twice.
        """
        maps, pooled = self.stage_similarities(images)
        total = self.fuse(maps)
        normal = total[:, :1] + self.normal_bias
        if self.novelty is not None:
            unlike = self.novelty(images)
            normal = normal - F.interpolate(unlike, size=normal.shape[-2:], mode="bilinear")
        total = torch.cat([normal, total[:, 1:]], dim=1)
        logits = F.interpolate(total, size=images.shape[-2:], mode="bilinear")
        return SegOutput(logits, pooled * self.image_log_scale.exp())

    def param_groups(self, lr: float, layer_decay: float, encoder_lr: float) -> list[dict]:
        """Optimiser groups: the tower with layer-wise decay, the head, the few scalars.

        The deepest tower group learns at `encoder_lr`, each earlier one `layer_decay` times the
        next. Stage weights and temperatures get ten times `lr`: at the head's rate they stay put.
        """
        groups = []
        depth_groups = self.encoder.depth_groups()
        for depth, parameters in enumerate(reversed(depth_groups)):
            parameters = [p for p in parameters if p.requires_grad]
            if parameters:
                groups.append({"params": parameters, "lr": encoder_lr * layer_decay**depth})
        scalars = [self.stage_logits, self.log_scale, self.image_log_scale, self.normal_bias]
        others = {id(p) for p in [*self.encoder.parameters(), *scalars]}
        head = [p for p in self.parameters() if id(p) not in others and p.requires_grad]
        scalars = [p for p in scalars if p.requires_grad]
        groups.append({"params": head, "lr": lr})
        groups.append({"params": scalars, "lr": 10 * lr, "weight_decay": 0.0})
        return groups

    def save(self, path: str | Path) -> None:
        """Write `path` (safetensors: every weight and the class vectors) and `path`.json."""
        path = Path(path)
        atomic_write(path, save({k: v.contiguous() for k, v in self.state_dict().items()}))
        atomic_write(path.with_suffix(".json"), json.dumps(self.config, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> ScrapSeg:
        """A saved model on any encoder, bit-equal to the one saved, in eval mode.

        Raises:
            ModelFileError: the file or its .json is missing, or does not fit this architecture.
        """
        path = Path(path)
        try:
            config = json.loads(path.with_suffix(".json").read_text())
            state = load_file(path)
            # Files of before there was a choice hold a pocket model and do not say so.
            spec = config.pop("encoder", {"model": "pocket"})
            del config["classes"]  # for the reader: the vectors themselves say how many
            encoder = encoder_from_spec(spec) if spec["model"] == "pocket" else None
            with torch.device("meta"):  # without memory: is it as large as the file?
                shell = cls(encoder or encoder_from_spec(spec), state["text"], **config)
            made, held = ({k: v.shape for k, v in m.items()} for m in (shell.state_dict(), state))
            if made != held:
                raise ValueError("its .json is of another architecture than its tensors")
            model = cls(encoder or encoder_from_spec(spec), state["text"], **config)
            model.load_state_dict(state)
        except UNREADABLE as error:
            reason = first_line(error)
            raise ModelFileError(f"{path}: cannot read the saved model ({reason})") from error
        return model.eval()
