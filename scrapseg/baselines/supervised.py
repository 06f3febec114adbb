"""Supervised baselines: decoders of segmentation-models-pytorch on our ImageNet encoder weights.

They name classes and are trained by the loop that trains ours, with its augmentation, sampler,
loss and number of steps.
"""

from __future__ import annotations

from collections.abc import Callable

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from scrapseg.models.scrapseg import SegOutput
from scrapseg.models.weights import EFFICIENTNET, MEAN, STD, load_encoder


class SupervisedNet(nn.Module):
    """A decoder with its library's default settings on the ImageNet EfficientNet-lite0 encoder.

    It names classes but has no image-level output.

    Args:
        decoder: a model class of segmentation-models-pytorch.
        num_classes: number of classes C, class 0 normal.
        normal_prior: share of pixels, in (0, 1), that class 0 is given before any training.
            Starting at the classes' true imbalance keeps the first steps from spending
            themselves on it (Lin et al., arXiv:1708.02002, section 4.1).
        tower: weights of the encoder, a state dict of timm's tf_efficientnet_lite0 without its
            classifier; ImageNet's by default.
    """

    mean, std = MEAN, STD

    def __init__(
        self,
        decoder: Callable[..., nn.Module] = smp.Unet,
        num_classes: int = 9,
        normal_prior: float = 0.97,
        tower: dict[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.net = decoder(f"tu-{EFFICIENTNET}", encoder_weights=None, classes=num_classes)
        load_encoder(self.net.encoder.model, tower)
        prior = torch.full((num_classes,), (1 - normal_prior) / (num_classes - 1))
        prior[0] = normal_prior
        self.net.segmentation_head[0].bias.data = prior.log()

    def forward(self, images: Tensor) -> SegOutput:
        """Class logits per pixel.

        Args:
            images: (B, 3, H, W) float, normalised with `mean` and `std`; H and W multiples of 32.

        Returns:
            SegOutput with logits (B, C, H, W) and no image logits.
        """
        return SegOutput(self.net(images), None)

    @torch.no_grad()
    def shift_normal(self, offset: float) -> None:
        """Add `offset` to the normal class's logit of every pixel from now on."""
        self.net.segmentation_head[0].bias[0] += offset

    def param_groups(self, lr: float, layer_decay: float, encoder_lr: float) -> list[dict]:
        """Optimiser groups: decoder and head at `lr`, the encoder with layer-wise decay.

        Args:
            lr: learning rate of the decoder and the head.
            layer_decay: factor in (0, 1] from one of the encoder's 16 blocks to the one before.
            encoder_lr: learning rate of the deepest block; the stem's is
                encoder_lr * layer_decay ** 16.
        """
        encoder = self.net.encoder.model
        blocks = [block for stage in encoder.blocks for block in stage]
        stem = nn.ModuleList([encoder.conv_stem, encoder.bn1])
        groups = [
            {"params": list(block.parameters()), "lr": encoder_lr * layer_decay**depth}
            for depth, block in enumerate([*reversed(blocks), stem])
        ]
        head = [*self.net.decoder.parameters(), *self.net.segmentation_head.parameters()]
        return [*groups, {"params": head, "lr": lr}]
