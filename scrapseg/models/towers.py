"""Any open_clip model as a list of stages plus a pooled token in the joint image-text space.

A vision transformer is read after blocks at quarter depths; its own final norm and projection take
every patch token to the joint space. A convolutional tower is read at its feature levels, which
have no way of their own there. Both say the same to the rest of the code: `Stages`.

The model built here offline is `pocket`: a timm EfficientNet-lite0 image tower with ImageNet
weights beside the all-MiniLM-L6-v2 text tower, joined as open_clip's own `CustomTextCLIP`. Every
other comes from `clip.load_clip`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import open_clip
import torch

# Private, since open_clip's public ways build a text tower too, which may be large or the hub's.
from open_clip.model import CustomTextCLIP, _build_vision_tower
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers import Format
from timm.models import group_parameters
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from scrapseg.models import weights
from scrapseg.models.clip import Clip, ClipError, first_line
from scrapseg.models.vit import is_vit, positions_for, value_stream

#: Stage positions in timm's list of feature levels for EfficientNet: strides 4, 8, 16 and 32.
POCKET_STAGES = (1, 2, 3, 4)
POCKET_WIDTH = 384
POCKET_TEMPERATURE = 0.07


class Stages(NamedTuple):
    """What an image tower says about a batch.

    maps: one float tensor (B, C_s, H_s, W_s) per stage, fine to coarse (a ViT's: early to late,
        after its final norm).
    pooled: float (B, D), the image embedding in the joint space (not normalised).
    joint: `maps` in the joint space, (B, D, H_s, W_s) each, by the tower's own projection, not
        normalised; None for convolutional towers.
    """

    maps: list[Tensor]
    pooled: Tensor
    joint: list[Tensor] | None = None


class ImageEncoder(nn.Module):
    """An open_clip image tower read at several stages.

    Images may have any size. Position embeddings, where there are any, are interpolated to it;
    towers that need whole patches get the image resized to the nearest number of them.

    Args:
        visual: open_clip image tower with `forward_intermediates`.
        indices: which of the tower's intermediate levels are the stages.
        mean, std: RGB normalisation the tower was trained with, for images in 0..1.
        spec: what `encoder_from_spec` builds the same encoder from.
        temperature: of the model's contrastive training; logits are cosines / temperature.
        new_head: the projection to the joint space is new, so it is trained even when the tower
            is frozen.
    """

    def __init__(
        self,
        visual: nn.Module,
        indices: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        *,
        spec: dict,
        temperature: float = POCKET_TEMPERATURE,
        new_head: bool = False,
    ) -> None:
        super().__init__()
        self.visual = visual
        self.indices = list(indices)
        self.mean, self.std = tuple(mean), tuple(std)
        self.temperature, self.new_head = temperature, new_head
        self.spec = spec
        size = spec.get("image_size") or visual.image_size
        self.image_size: int = size if isinstance(size, int) else min(size)
        self.multiple, self.one_size = stride_of(visual), takes_one_size(visual)
        stages = self._probe()
        self.channels = [m.shape[1] for m in stages.maps]
        self.width = stages.pooled.shape[1]

    def forward(self, images: Tensor) -> Stages:
        """Images (B, 3, H, W), normalised by `mean` and `std`, to `Stages`."""
        images = self.fitted(images)
        # Asked for some levels, open_clip's ResNet leaves out those after them, the pooling's too.
        every = isinstance(self.visual, ModifiedResNet)
        with positions_for(self.visual, images.shape[-2:]):
            out = self.visual.forward_intermediates(images, None if every else self.indices)
        maps = out["image_intermediates"]
        return Stages([maps[i] for i in self.indices] if every else maps, out["image_features"])

    def fitted(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) resized to the nearest size that the tower takes, if need be."""
        size = [max(1, round(s / self.multiple)) * self.multiple for s in images.shape[-2:]]
        size = [self.image_size] * 2 if self.one_size else size
        if list(images.shape[-2:]) == size:
            return images
        return F.interpolate(images, size=size, mode="bilinear", antialias=True)

    @torch.no_grad()
    def _probe(self) -> Stages:
        """Shapes for one image of the tower's own size, without computing anything."""
        meta = {k: v.to("meta") for k, v in [*self.named_parameters(), *self.named_buffers()]}
        image = torch.empty(1, 3, self.image_size, self.image_size, device="meta")
        was_training = self.training
        stages = functional_call(self.eval(), meta, (image,))  # leaves batch statistics alone
        self.train(was_training)
        return stages

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Parameters from the input side to the output side, for layer-wise learning rates.

        One group per block of the tower (timm: per layer group); what comes before the blocks is
        the first, and the joint-space head shares the last one.
        """
        if isinstance(self.visual, TimmModel):
            trunk = self.visual.trunk
            by_depth = group_parameters(trunk, trunk.group_matcher())
            groups = [
                [trunk.get_parameter(n) for n in by_depth[depth]] for depth in sorted(by_depth)
            ]
            groups[-1] += list(self.visual.head.parameters())
            return groups
        if isinstance(self.visual, ModifiedResNet):
            layers = [getattr(self.visual, f"layer{i}") for i in (1, 2, 3, 4)]
            blocks = [block for layer in layers for block in layer]
            head = list(self.visual.attnpool.parameters())
        else:
            blocks = self.visual.transformer.resblocks
            head = [*self.visual.ln_post.parameters(), self.visual.proj]
        groups = [list(block.parameters()) for block in blocks]
        groups[-1] += head
        grouped = {id(p) for group in groups for p in group}
        return [[p for p in self.visual.parameters() if id(p) not in grouped], *groups]


class TokenEncoder(ImageEncoder):
    """A vision transformer read at several depths, each stage also in the joint space.

    A patch token goes to the joint space by the way of the pooled one: final norm, then the tower's
    head with that token alone to pool (for attention pooling this is MaskCLIP, Zhou et al.,
    arXiv:2112.01071, since attention over one token returns its value).

    Args:
        value_stages: in the blocks of this many last stages the maps are read by value-value
            attention, see `value_stream`; 0 turns it off. The pooled token is never changed.
        others: as in `ImageEncoder`.
    """

    def __init__(self, *args: object, value_stages: int = 0, **others: object) -> None:
        self.value_stages = value_stages  # first, since the base class probes by a forward pass
        super().__init__(*args, **others)

    def forward(self, images: Tensor) -> Stages:
        """Images (B, 3, H, W), normalised by `mean` and `std`, to `Stages`."""
        images = self.fitted(images)
        read = self._read_by_value if self.value_stages else self._read
        with positions_for(self.visual, images.shape[-2:]):
            maps, pooled = read(images)
        return Stages(maps, pooled, [self.to_joint(m) for m in maps])

    def _read(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        out = self.visual.forward_intermediates(
            images, indices=self.indices, normalize_intermediates=True
        )
        return out["image_intermediates"], out["image_features"]

    def _read_by_value(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        first = self.indices[-self.value_stages - 1] + 1
        wanted = sorted({*self.indices, *range(first - 1, self.indices[-1] + 1)})
        out = self.visual.forward_intermediates(
            images, indices=wanted, output_extra_tokens=True, normalize_intermediates=False
        )
        maps = out["image_intermediates"]
        grid = maps[0].shape[-2:]
        tokens = [m.flatten(2).mT for m in maps]
        prefix = out.get("image_intermediates_prefix", [t[:, :0] for t in tokens])
        states = {i: torch.cat(pair, 1) for i, *pair in zip(wanted, prefix, tokens, strict=True)}
        states |= value_stream(self.blocks, states, first, self.indices[-1])
        n = prefix[0].shape[1]
        stages = [self.final_norm(states[i])[:, n:].mT for i in self.indices]
        return [s.unflatten(2, grid).contiguous() for s in stages], out["image_features"]

    @property
    def blocks(self) -> nn.Module:
        """The tower's attention blocks in order."""
        native = isinstance(self.visual, VisionTransformer)
        return self.visual.transformer.resblocks if native else self.visual.trunk.blocks

    @property
    def final_norm(self) -> nn.Module:
        """The norm after the last block."""
        native = isinstance(self.visual, VisionTransformer)
        return self.visual.ln_post if native else self.visual.trunk.norm

    def to_joint(self, features: Tensor) -> Tensor:
        """Normed tokens (B, C, H, W) to the joint space, (B, D, H, W), each pooled alone."""
        tokens = features.flatten(2).mT
        if isinstance(self.visual, VisionTransformer):
            joint = tokens @ self.visual.proj
        else:
            trunk = self.visual.trunk
            # Where timm pools over patch tokens only, class tokens stand before them.
            alone = tokens.flatten(0, 1)[:, None].expand(-1, trunk.num_prefix_tokens + 1, -1)
            joint = self.visual.head(trunk.forward_head(alone)).unflatten(0, tokens.shape[:2])
        return joint.mT.unflatten(2, features.shape[-2:])


def stride_of(visual: nn.Module) -> int:
    """Sides of images must be a multiple of this many pixels."""
    if isinstance(visual, VisionTransformer):
        return visual.patch_size[0]
    if isinstance(visual, ModifiedResNet):
        return 32
    return visual.trunk.feature_info[-1]["reduction"] if is_vit(visual) else 1


def takes_one_size(visual: nn.Module) -> bool:
    """Whether a tower refuses all image sizes but the one it was built for.

    Such are timm's Swin, its ViTs with relative or rotary positions; `load_clip(image_size=)` still
    builds them for another size.
    """
    patches = getattr(getattr(visual, "trunk", None), "patch_embed", None)
    return getattr(patches, "strict_img_size", False)


# ---------------------------------------------------------------- any open_clip model


def image_encoder(
    clip: Clip,
    *,
    indices: Sequence[int] | None = None,
    value_stages: int = 0,
    grad_checkpointing: bool = False,
) -> ImageEncoder:
    """The image side of an open_clip model as stages.

    Args:
        indices: blocks (of a ViT, from 0) or feature levels that are the stages; by default four:
            at quarter depths of a ViT, the four deepest levels of a convolutional tower.
        value_stages: see `TokenEncoder`.
        grad_checkpointing: recompute activations in the backward pass: less memory, more time.

    Raises:
        ClipError: the tower has no such stages, or cannot do what is asked.
    """
    spec = {
        "model": clip.name,
        "embed_dim": clip.width,
        "vision_cfg": clip.config["vision_cfg"] | {"timm_model_pretrained": False},
        "quick_gelu": clip.config["quick_gelu"],
        "image_size": clip.image_size,
        "mean": list(clip.model.visual.image_mean),
        "std": list(clip.model.visual.image_std),
        "temperature": float(1 / clip.model.logit_scale.exp()),
        "indices": list(indices or default_indices(clip.model.visual)),
        "value_stages": value_stages,
    }
    if grad_checkpointing:
        if isinstance(clip.model.visual, ModifiedResNet):
            raise ClipError(f"{clip.name}: open_clip has no gradient checkpointing for it")
        clip.model.visual.set_grad_checkpointing(True)
    return read_tower(clip.model.visual, spec)


def encoder_from_spec(spec: dict) -> ImageEncoder:
    """The encoder that `spec` was taken from, its weights not yet those.

    Raises:
        ClipError: the installed open_clip and timm cannot build it.
    """
    if spec["model"] == "pocket":
        return pocket_image_encoder()
    try:
        tower = dict(spec["vision_cfg"]) | {"timm_model_pretrained": False}
        if ":" in (tower.get("timm_model_name") or ""):  # an address, which timm would fetch
            raise ValueError("a saved model brings its own weights")
        large = any(isinstance(v, int) and v > 4096 for v in tower.values())  # layers, say
        mean, std = spec["mean"], spec["std"]
        if large or not len(mean) == len(std) == 3 or not 0 < min(std) <= sum(std + mean) < 100:
            raise ValueError("a number above 4096, or mean and std not of three colours")
        visual = _build_vision_tower(spec["embed_dim"], tower, spec["quick_gelu"])
        if spec["image_size"] and isinstance(visual, TimmModel):
            visual.set_input_size(spec["image_size"])
        return read_tower(visual, spec)
    except Exception as error:  # open_clip and timm stumble over what is odd in many ways
        raise ClipError(f"{spec['model']}: {first_line(error)}") from error


def read_tower(visual: nn.Module, spec: dict) -> ImageEncoder:
    """An image tower as stages, read as `spec` says.

    Raises:
        ClipError: there is no such stage, or the tower cannot be read so.
    """
    name, value_stages, indices = spec["model"], spec["value_stages"], spec["indices"]
    depth = depth_of(visual)
    if indices != sorted(set(indices)) or not all(0 <= i < depth for i in indices):
        raise ClipError(f"{name}: stages {indices} are not rising numbers from 0 to {depth - 1}")
    options = {"temperature": spec["temperature"], "spec": spec}
    if not is_vit(visual):
        if value_stages:
            raise ClipError(f"{name} is no ViT: it has no value-value attention")
        return ImageEncoder(visual, indices, spec["mean"], spec["std"], **options)
    if getattr(visual, "attn_pool", None) is not None:
        raise ClipError(f"{name}: an attention pool of many queries cannot be read per patch")
    if not 0 <= value_stages < len(indices):
        raise ClipError(f"{name}: value_stages is {value_stages}, not 0 to {len(indices) - 1}")
    trunk = getattr(visual, "trunk", None)
    if hasattr(trunk, "dynamic_img_size") and getattr(trunk, "rope", None) is None:
        # What timm's own `dynamic_img_size=True` sets up; open_clip cannot pass it on.
        trunk.dynamic_img_size = True
        trunk.patch_embed.strict_img_size = False
        trunk.patch_embed.flatten = False
        trunk.patch_embed.output_fmt = Format.NHWC
    return TokenEncoder(
        visual, indices, spec["mean"], spec["std"], value_stages=value_stages, **options
    )


def depth_of(visual: nn.Module) -> int:
    """Number of blocks of a ViT, of feature levels of a convolutional tower."""
    if isinstance(visual, VisionTransformer):
        return len(visual.transformer.resblocks)
    if isinstance(visual, ModifiedResNet):
        return 5
    return len(visual.trunk.blocks if is_vit(visual) else visual.trunk.feature_info)


def default_indices(visual: nn.Module) -> list[int]:
    """Four stages: after each quarter of a ViT's blocks, or the four deepest feature levels."""
    depth = depth_of(visual)
    if is_vit(visual):
        return [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
    return list(range(max(0, depth - 4), depth))


# ---------------------------------------------------------------- the pocket model

#: The pocket model's image tower, in open_clip's own vocabulary.
POCKET_VISION = {
    "timm_model_name": "tf_efficientnet_lite0",
    "timm_model_pretrained": False,
    "timm_pool": "avg",
    "timm_proj": "linear",
    "image_size": 384,
}


def pocket_clip(seed: int = 0) -> CustomTextCLIP:
    """The pocket model as one open_clip model: image tower, text tower, joint width 384.

    The image tower is `pocket_image_encoder`'s. The text tower is all-MiniLM-L6-v2 with mean
    pooling, frozen.

    Raises:
        weights.WeightsMissing, weights.WeightsChecksum: a weight file is absent or altered.
    """
    minilm = str(weights.minilm_dir())
    with quiet_transformers():
        clip = CustomTextCLIP(
            embed_dim=POCKET_WIDTH,
            vision_cfg=POCKET_VISION,
            text_cfg={
                "hf_model_name": minilm,
                "hf_tokenizer_name": minilm,
                "hf_pooler_type": "mean_pooler",
                "hf_proj_type": None,  # open_clip's default is a new, random MLP
            },
        )
    clip.visual.load_state_dict(pocket_image_encoder(seed).visual.state_dict())
    clip.text.requires_grad_(False)
    return clip.eval()


def pocket_image_encoder(seed: int = 0) -> ImageEncoder:
    """The pocket model's image tower as stages of stride 4, 8, 16 and 32.

    It carries ImageNet weights; its 1280 -> 384 projection to the joint space is new and drawn
    from `seed`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        visual = _build_vision_tower(POCKET_WIDTH, POCKET_VISION)
    weights.load_encoder(visual.trunk)
    spec = {"model": "pocket"}
    return ImageEncoder(visual, POCKET_STAGES, weights.MEAN, weights.STD, new_head=True, spec=spec)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back the loader's progress bar and its report of unused weights."""
    from transformers.utils import logging  # heavy, and only a text tower needs it

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()


MINILM_TOKENS = 256
"""The longest text, in tokens with its two marks, that the sentence encoder was trained on."""


@torch.no_grad()
def encode_texts(texts: list[str]) -> Tensor:
    """Sentences to unit vectors of the joint space (len(texts), 384), by the frozen text tower.

    Raises:
        ValueError: a text is longer than `MINILM_TOKENS`.
    """
    folder = str(weights.minilm_dir())
    tokenizer = open_clip.tokenizer.HFTokenizer(folder, context_length=MINILM_TOKENS + 1)
    tokens = tokenizer(texts)
    lengths = (tokens != tokenizer.tokenizer.pad_token_id).sum(1)
    longest = int(lengths.max())
    if longest > MINILM_TOKENS:
        text = texts[int(lengths.argmax())]
        raise ValueError(f"a text has more than {MINILM_TOKENS} tokens: {text[:60]!r} ...")
    # Padding is masked, but its length moves the last bit: short texts are padded to 32 as ever.
    return text_tower().encode_text(tokens[:, : max(32, longest)], normalize=True)


@cache
def text_tower() -> CustomTextCLIP:
    """The pocket model, loaded once per process, for its text side."""
    return pocket_clip()
