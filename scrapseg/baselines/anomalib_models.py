"""anomalib's models of normal images, one class each: built on our encoder, fitted, trained.

Models and losses are anomalib's own. What differs between them stands here; what they have in
common is in `one_class`, and why anomalib's other models are not run in
`experiments/methods.yaml`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from scrapseg.baselines.one_class import ENCODER, OneClass, TrainedOneClass, without_warnings

with without_warnings():
    from anomalib.models.components import KCenterGreedy, TimmFeatureExtractor
    from anomalib.models.image.cfa.anomaly_map import AnomalyMapGenerator as CfaMaps
    from anomalib.models.image.cfa.loss import CfaLoss
    from anomalib.models.image.cfa.torch_model import CfaModel, CoordConv2d, Descriptor
    from anomalib.models.image.fastflow.anomaly_map import AnomalyMapGenerator as FlowMaps
    from anomalib.models.image.fastflow.loss import FastflowLoss
    from anomalib.models.image.fastflow.torch_model import FastflowModel, create_fast_flow_block
    from anomalib.models.image.padim.torch_model import PadimModel
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel
    from anomalib.models.image.stfpm.loss import STFPMLoss
    from anomalib.models.image.stfpm.torch_model import STFPMModel


class PatchCore(OneClass):
    """PatchCore (Roth et al., arXiv:2106.08265).

    A memory bank of patch features of normal images, thinned by greedy k-centre selection; the
    score of a patch is its Euclidean distance to the nearest feature in the bank.

    Args:
        layers: their features are concatenated at the finest one's resolution.
        coreset: size of the memory bank in patches.
        max_patches: greedy selection starts from at most this many patches, drawn at random and
            evenly over the images: its cost is `max_patches` times `coreset`.

    Example:
        >>> maps = PatchCore(coreset=500).fit(normal_images).score_maps(images)  # doctest: +SKIP
    """

    def __init__(
        self,
        layers: Sequence[str] = ("blocks.2", "blocks.4"),
        coreset: int = 2000,
        *,
        max_patches: int = 10_000,
        **common,
    ) -> None:
        super().__init__(layers, **common)
        self.coreset, self.max_patches = coreset, max_patches

    def _build(self, size: tuple[int, int]) -> nn.Module:
        # One neighbour: the image-level reweighting is not used, maps are what we compare.
        return PatchcoreModel(self.layers, ENCODER, pre_trained=True, num_neighbors=1)

    def _learn(self, images: Sequence[np.ndarray]) -> None:
        per_image = -(-self.max_patches // len(images))
        chosen = []
        self.model.train()  # in this mode the model returns patch features
        for batch in self._batches(images, "PatchCore fit"):
            for patches in self.model(batch).unflatten(0, (len(batch), -1)):
                chosen.append(patches[torch.randperm(len(patches))[:per_image]])
            self.model.embedding_store.clear()
        patches = torch.cat(chosen)
        size = min(self.coreset, len(patches))
        # glibc would keep 6 MB for every patch that is chosen, since a small result lies in their
        # place: 24 GB in all. M_MMAP_THRESHOLD (-3): it gives blocks above 1 MB back at once.
        if hasattr(libc := ctypes.CDLL(None), "mallopt"):
            libc.mallopt(-3, 1 << 20)
        # The third dimension keeps anomalib from a random projection to 227 dimensions, made
        # for far longer features than these 152 (or 432): distances stay exact.
        sampler = KCenterGreedy(patches[..., None], (size + 0.5) / len(patches))
        self.model.memory_bank = patches[sampler.select_coreset_idxs()]


class Padim(OneClass):
    """PaDiM (Defard et al., arXiv:2011.08785): a Gaussian per patch position, Mahalanobis distance.

    Args:
        features: how many of the concatenated channels are kept, drawn at random.
    """

    def __init__(
        self, layers: Sequence[str] = ("blocks.2", "blocks.4"), features: int = 100, **common
    ) -> None:
        super().__init__(layers, **common)
        self.features = features

    def _build(self, size: tuple[int, int]) -> nn.Module:
        return PadimModel(ENCODER, self.layers, n_features=self.features)

    def _learn(self, images: Sequence[np.ndarray]) -> None:
        self.model.train()  # in this mode the model keeps the features it sees
        for batch in self._batches(images, "PaDiM fit"):
            self.model(batch)
        self.model.fit()


class Stfpm(TrainedOneClass):
    """Student-teacher feature pyramid matching (Wang et al., arXiv:2103.04257).

    A student of the encoder's own shape learns to give the encoder's features on normal images;
    where it fails to is not normal.
    """

    def _build(self, size: tuple[int, int]) -> nn.Module:
        return STFPMModel(self.layers, ENCODER)

    def _loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        return STFPMLoss()(*model(batch))


class FastFlow(TrainedOneClass):
    """FastFlow (Yu et al., arXiv:2111.07677): normalising flows over feature maps.

    anomalib builds it for four other encoders; its flow blocks, its maps and its forward pass do
    not depend on which it is, so they are put on ours.

    Args:
        flow_steps: coupling blocks per stage. hidden: their inner width over their outer one.
    """

    def __init__(self, *args, flow_steps: int = 8, hidden: float = 1.0, **common) -> None:
        super().__init__(*args, **common)
        self.flow_steps, self.hidden = flow_steps, hidden

    def _build(self, size: tuple[int, int]) -> nn.Module:
        return _FastFlow(self.layers, size, self.flow_steps, self.hidden)

    def _loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        return FastflowLoss()(*model(batch)) / batch[0].numel()


class _FastFlow(FastflowModel):
    def __init__(self, layers: list[str], size: tuple[int, int], steps: int, hidden: float) -> None:
        nn.Module.__init__(self)  # the parent's would refuse the encoder
        self.input_size = size
        self.feature_extractor = TimmFeatureExtractor(ENCODER, layers).requires_grad_(False)
        of = self.feature_extractor
        scales = zip(of.out_dims, of.reductions, strict=True)
        shapes = [(channels, size[0] // s, size[1] // s) for channels, s in scales]
        self.norms = nn.ModuleList(nn.LayerNorm(shape) for shape in shapes)
        self.fast_flow_blocks = nn.ModuleList(
            create_fast_flow_block(shape, False, hidden, steps) for shape in shapes
        )
        self.anomaly_map_generator = FlowMaps(size)

    def _get_cnn_features(self, input_tensor: Tensor) -> list[Tensor]:
        features = self.feature_extractor(input_tensor).values()
        return [norm(f) for norm, f in zip(self.norms, features, strict=True)]


class Cfa(TrainedOneClass):
    """CFA (Lee et al., arXiv:2206.04325): features adapted to lie close to those of normal.

    anomalib builds it for torchvision's ResNets and VGG; on our encoder its descriptor gets as
    many channels as there are. A memory of one mean feature per patch position, as in the paper.

    Args:
        layers: their features are concatenated at the finest one's resolution; memory and time go
            with the square of its number of patches.
        neighbours: nearest memory features that attract a patch, and that score it.
        radius: of the spheres around them.
    """

    weight_decay = 5e-4

    def __init__(
        self,
        layers: Sequence[str] = ("blocks.2", "blocks.4"),
        *,
        neighbours: int = 3,
        radius: float = 1e-5,
        **common,
    ) -> None:
        super().__init__(layers, **common)
        self.neighbours, self.radius = neighbours, radius

    def _build(self, size: tuple[int, int]) -> nn.Module:
        return _Cfa(self.layers, self.neighbours, self.radius)

    def _learn(self, images: Sequence[np.ndarray]) -> None:
        self.model.remember(self._batches(images, "CFA memory"))
        super()._learn(images)

    def _loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        return CfaLoss(self.neighbours, self.neighbours, self.radius)(model(batch))


class _Cfa(CfaModel):
    def __init__(self, layers: list[str], neighbours: int, radius: float) -> None:
        nn.Module.__init__(self)  # the parent's would download another encoder
        self.gamma_c, self.gamma_d = 1, 1
        self.num_nearest_neighbors = self.num_hard_negative_features = neighbours
        self.register_buffer("memory_bank", torch.tensor(0.0))
        self.backbone = ENCODER
        self.feature_extractor = TimmFeatureExtractor(ENCODER, layers).requires_grad_(False)
        channels = sum(self.feature_extractor.out_dims)
        self.descriptor = Descriptor(1, "resnet18")  # for its pooling; the layer is ours
        self.descriptor.layer = CoordConv2d(channels, channels, kernel_size=1)
        # `CoordConv2d` is itself a convolution beside the one it uses.
        self.descriptor.layer.weight.requires_grad_(False)
        self.descriptor.layer.bias.requires_grad_(False)
        self.radius = torch.ones(1) * radius
        self.anomaly_map_generator = CfaMaps(neighbours)

    @torch.no_grad()
    def remember(self, batches: Iterator[Tensor]) -> None:
        """`initialize_centroid`, which asks for anomalib's own data loader: mean features."""
        total, count = 0.0, 0
        for batch in batches:
            features = self.descriptor(self.feature_extractor(batch))
            total, count = total + features.sum(0), count + len(batch)
        self.memory_bank = (total / count).flatten(1)

    def compute_distance(self, target_oriented_features: Tensor) -> Tensor:
        """Squared distances; rounding must not leave one below zero: its root is taken."""
        return super().compute_distance(target_oriented_features).clamp_min(0)
