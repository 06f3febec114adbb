"""Any open_clip model as a list of stages plus a pooled token in the joint image-text space.

The one tower built here offline is `pocket`: a timm EfficientNet-lite0 image tower with ImageNet
weights beside the all-MiniLM-L6-v2 text tower, joined as open_clip's own `CustomTextCLIP`.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import open_clip
import torch
from open_clip.model import CustomTextCLIP
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from scrapseg import weights

#: Stage positions in timm's list of feature levels for EfficientNet: strides 4, 8, 16 and 32.
POCKET_STAGES = (1, 2, 3, 4)
POCKET_WIDTH = 384


class Stages(NamedTuple):
    """What an image tower says about a batch.

    maps: one float tensor (B, C_s, H_s, W_s) per stage, fine to coarse.
    pooled: float (B, D), the image embedding in the joint space (not normalised).
    """

    maps: list[Tensor]
    pooled: Tensor


class ImageEncoder(nn.Module):
    """An open_clip image tower read at several stages.

    Args:
        visual: open_clip image tower with `forward_intermediates`.
        indices: which of the tower's intermediate levels are the stages.
        mean, std: RGB normalisation the tower was trained with, for images in 0..1.
    """

    def __init__(
        self,
        visual: nn.Module,
        indices: tuple[int, ...],
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.visual = visual
        self.indices = list(indices)
        self.mean, self.std = tuple(mean), tuple(std)
        with torch.no_grad(), evaluating(visual):
            stages = self(torch.zeros(1, 3, 64, 64))
        self.channels = [m.shape[1] for m in stages.maps]
        self.width = stages.pooled.shape[1]

    def forward(self, images: Tensor) -> Stages:
        """Images (B, 3, H, W), normalised by `mean` and `std`, to `Stages`."""
        out = self.visual.forward_intermediates(images, indices=self.indices)
        return Stages(out["image_intermediates"], out["image_features"])

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Parameters from the input side to the output side, for layer-wise learning rates.

        One group per timm layer group of the trunk; the joint-space head shares the last one.
        """
        from timm.models import group_parameters

        trunk = self.visual.trunk
        by_depth = group_parameters(trunk, trunk.group_matcher())
        groups = [[trunk.get_parameter(n) for n in by_depth[depth]] for depth in sorted(by_depth)]
        groups[-1] += list(self.visual.head.parameters())
        return groups


@contextmanager
def evaluating(module: nn.Module):
    """Put a module in eval mode for the block, so that a probe leaves batch statistics alone."""
    was_training = module.training
    module.eval()
    try:
        yield module
    finally:
        module.train(was_training)


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
        visual = TimmModel(
            POCKET_VISION["timm_model_name"],
            POCKET_WIDTH,
            image_size=POCKET_VISION["image_size"],
            pool=POCKET_VISION["timm_pool"],
            proj=POCKET_VISION["timm_proj"],
        )
    state = weights.efficientnet_lite0_state_dict()
    visual.trunk.load_state_dict({k: v for k, v in state.items() if "classifier" not in k})
    return ImageEncoder(visual, POCKET_STAGES, weights.MEAN, weights.STD)


@contextmanager
def quiet_transformers():
    """Hold back the loader's progress bar and its report of unused weights."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()


@torch.no_grad()
def encode_texts(texts: list[str]) -> Tensor:
    """Sentences to unit vectors of the joint space (len(texts), 384), by the frozen text tower."""
    tokenizer = open_clip.tokenizer.HFTokenizer(str(weights.minilm_dir()), context_length=32)
    return text_tower().encode_text(tokenizer(texts), normalize=True)


@cache
def text_tower() -> CustomTextCLIP:
    """The pocket model, loaded once per process, for its text side."""
    return pocket_clip()
