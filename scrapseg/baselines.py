"""The two baselines, on the same ImageNet encoder weights as ours.

`UNet` (supervised, names classes) is trained by the same loop as ours; `PatchCore` (unsupervised)
sees normal images only and answers one question: how unlike normal is this patch?
Both libraries' own code does the work: segmentation-models-pytorch and anomalib.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from tqdm import tqdm

from scrapseg.model import SegOutput
from scrapseg.weights import EFFICIENTNET, MEAN, STD, efficientnet_lite0_state_dict

with warnings.catch_warnings():
    # anomalib imports all its models, some by names that it or timm has deprecated.
    warnings.simplefilter("ignore")
    from anomalib.models.components import KCenterGreedy
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

PATCHCORE_GRID: tuple[dict, ...] = (
    {"layers": ("blocks.2", "blocks.4"), "coreset": 1000},
    {"layers": ("blocks.2", "blocks.4"), "coreset": 4000},
    {"layers": ("blocks.4", "blocks.6"), "coreset": 4000},
)
"""Candidates (arguments of `PatchCore`) to choose from on val."""


class UNet(nn.Module):
    """U-Net (Ronneberger et al., arXiv:1505.04597) with the ImageNet EfficientNet-lite0 encoder.

    The decoder is segmentation-models-pytorch's default (five blocks, 256 to 16 channels, skip
    connections at strides 16, 8, 4 and 2). It names classes but has no image-level output.

    Args:
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
        num_classes: int = 9,
        normal_prior: float = 0.97,
        tower: dict[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.net = smp.Unet(f"tu-{EFFICIENTNET}", encoder_weights=None, classes=num_classes)
        _load_encoder(self.net.encoder.model, tower)
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


class PatchCore:
    """PatchCore (Roth et al., arXiv:2106.08265) on the frozen EfficientNet-lite0.

    A memory bank of patch features of normal images, thinned by greedy k-centre selection; the
    score of a patch is its Euclidean distance to the nearest feature in the bank.

    Args:
        layers: stages of the encoder, finest first, whose features are concatenated at the
            finest one's resolution: `blocks.1`, `.2`, `.4`, `.6` at stride 4, 8, 16, 32.
        coreset: size of the memory bank in patches.
        max_patches: greedy selection starts from at most this many patches, drawn at random and
            evenly over the images: its cost is `max_patches` times `coreset`.
        seed: of the draw of patches and of the selection's first centre.
        device: torch device to run on.

    Example:
        >>> maps = PatchCore(coreset=500).fit(normal_images).score_maps(images)  # doctest: +SKIP
    """

    mean, std = MEAN, STD

    def __init__(
        self,
        layers: Sequence[str] = ("blocks.2", "blocks.4"),
        coreset: int = 2000,
        *,
        max_patches: int = 10_000,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.coreset, self.max_patches, self.seed = coreset, max_patches, seed
        self.device = torch.device(device)
        # One neighbour: the image-level reweighting is not used, maps are what we compare.
        self.model = PatchcoreModel(layers, EFFICIENTNET, pre_trained=False, num_neighbors=1)
        extractor = self.model.feature_extractor
        if extractor.layers != list(layers):  # anomalib only warns and drops the others
            raise ValueError(f"layers {tuple(layers)}: {EFFICIENTNET} has only {extractor.layers}")
        _load_encoder(extractor.feature_extractor)
        self.model.to(self.device)

    def fit(self, images: Sequence[np.ndarray], batch_size: int = 8) -> PatchCore:
        """Fill the memory bank.

        Args:
            images: N images without impurities, (H, W, 3) uint8 each, all of one size.
            batch_size: images at a time.

        Raises:
            ValueError: there are no images.
        """
        if not len(images):
            raise ValueError("PatchCore needs at least one normal image to fit")
        per_image = -(-self.max_patches // len(images))
        chosen = []
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.model.train()  # in this mode the model returns patch features
            for batch in self._batches(images, batch_size, "PatchCore fit"):
                for patches in self.model(batch).unflatten(0, (len(batch), -1)):
                    chosen.append(patches[torch.randperm(len(patches))[:per_image]])
                self.model.embedding_store.clear()
            patches = torch.cat(chosen)
            size = min(self.coreset, len(patches))
            # The third dimension keeps anomalib from a random projection to 227 dimensions, made
            # for far longer features than these 152 (or 432): distances stay exact.
            sampler = KCenterGreedy(patches[..., None], (size + 0.5) / len(patches))
            self.model.memory_bank = patches[sampler.select_coreset_idxs()]
        self.model.eval()
        return self

    def score_maps(self, images: Sequence[np.ndarray], batch_size: int = 8) -> np.ndarray:
        """Distance to normal per pixel, upsampled and smoothed (Gaussian, sigma 4 px).

        Args:
            images: N images, (H, W, 3) uint8 each, all of one size.
            batch_size: images at a time.

        Returns:
            (N, H, W) float32, >= 0, unbounded: higher is less normal.

        Raises:
            ValueError: `fit` has not been called.
        """
        batches = self._batches(images, batch_size, "PatchCore score")
        with torch.inference_mode():
            maps = [self.model.eval()(batch).anomaly_map[:, 0].cpu() for batch in batches]
        return torch.cat(maps).numpy()

    def _batches(
        self, images: Sequence[np.ndarray], batch_size: int, what: str
    ) -> Iterator[Tensor]:
        mean, std = (torch.tensor(v, device=self.device).view(3, 1, 1) for v in (MEAN, STD))
        for start in tqdm(range(0, len(images), batch_size), desc=what, mininterval=2, leave=False):
            batch = np.stack(
                [images[i] for i in range(start, min(start + batch_size, len(images)))]
            )
            batch = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2).float() / 255
            yield (batch - mean) / std


def _load_encoder(encoder: nn.Module, weights: dict[str, Tensor] | None = None) -> None:
    """Load a timm `features_only` EfficientNet-lite0 (no classifier), by default ImageNet's."""
    weights = weights or efficientnet_lite0_state_dict()
    encoder.load_state_dict({key: weights[key] for key in encoder.state_dict()})
