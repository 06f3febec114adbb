"""Supervised baselines: segmentation-models-pytorch on our ImageNet encoder weights.

They name classes and are trained by the loop that trains ours, with its augmentation, sampler,
loss and number of steps.
"""

from __future__ import annotations

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from scrapseg.models.scrapseg import SegOutput
from scrapseg.models.weights import EFFICIENTNET, MEAN, STD, load_encoder

ARCHITECTURES = {
    "unet": smp.Unet,
    "fpn": smp.FPN,
    "deeplabv3plus": smp.DeepLabV3Plus,
    "segformer": smp.Segformer,
}
"""Method -> decoder, each with its library's default settings: U-Net (arXiv:1505.04597, skip
connections at strides 16 to 2), FPN (1901.02446, strides 32 to 4), DeepLabV3+ (1802.02611, the
encoder's last stage dilated to stride 16) and the all-MLP decoder of SegFormer (2105.15203)."""


class SupervisedNet(nn.Module):
    """A decoder of `ARCHITECTURES` with the ImageNet EfficientNet-lite0 encoder.

    It names classes but has no image-level output.

    Args:
        architecture: key of `ARCHITECTURES`.
        num_classes: number of classes C, class 0 normal.
        normal_prior: share of pixels, in (0, 1), that class 0 is given before any training.
            Starting at the classes' true imbalance keeps the first steps from spending
            themselves on it (Lin et al., arXiv:1708.02002, section 4.1).
        tower: weights of the encoder, a state dict of timm's tf_efficientnet_lite0 without its
            classifier; ImageNet's by default.

    Raises:
        KeyError: there is no such architecture.
    """

    mean, std = MEAN, STD

    def __init__(
        self,
        architecture: str = "unet",
        num_classes: int = 9,
        normal_prior: float = 0.97,
        tower: dict[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        make = ARCHITECTURES[architecture]
        self.net = make(f"tu-{EFFICIENTNET}", encoder_weights=None, classes=num_classes)
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
