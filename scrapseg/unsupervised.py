"""Baselines that see normal images only: anomalib's models on our ImageNet encoder weights.

Each asks one question of a patch: how unlike normal is it? None of them is told what an impurity
looks like, so none names classes. Models and losses are anomalib's own; here stands what they
have in common (`OneClass`), which encoder they get and how the trained ones are trained: by the
loop that trains ours (`train.optimise`).
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset
from tqdm import tqdm

from scrapseg.inference import Predictions
from scrapseg.train import Draws, LoopConfig, optimise
from scrapseg.weights import EFFICIENTNET, MEAN, STD, load_encoder


@contextmanager
def without_warnings() -> Iterator[None]:
    """For importing anomalib: it has names in use that it or timm has deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


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
    from anomalib.models.image.supersimplenet.loss import SSNLoss
    from anomalib.models.image.supersimplenet.torch_model import SupersimplenetModel

_DINO = "made for a DINO vision transformer, whose weights are a download"
NOT_RUN = {
    "reverse_distillation": "its decoder mirrors the encoder, and anomalib has it for ResNets only",
    "uninet": "as reverse distillation: teacher, student and decoder are ResNets",
    "csflow": "made for torchvision's EfficientNet-B5, whose weights are a download",
    "uflow": "made for CaiT or ResNets at fixed sizes, whose weights are a download",
    "patchflow": "one flow on fused features: FastFlow stands for the family",
    "cflow": "one flow step per patch position, hours on a CPU: FastFlow stands for the family",
    "mh_patchcore": "PatchCore with another memory: PatchCore stands for the family",
    "draem": "pastes textures of the DTD data set, a download",
    "glass": "pastes textures of the DTD data set, a download",
    "dsr": "its quantised auto-encoder is a download",
    "efficient_ad": "its teacher's weights and the Imagenette images are downloads",
    "anomalyvfm": "its weights are a download",
    "anomaly_dino": _DINO,
    "dinomaly": _DINO,
    "foundad": _DINO,
    "general_ad": _DINO,
    "inp_former": _DINO,
    "l2bt": _DINO,
    "rad": _DINO,
    "super_add": _DINO,
    "winclip": "CLIP's weights are a download: only profile clip runs it (`scrapseg.winclip`)",
    "vlm_ad": "asks a language model over the network, and scores whole images",
    "cfm": "needs point clouds beside the images",
    "dfkde": "scores whole images, gives no map",
    "ganomaly": "scores whole images, gives no map",
    "dfm": "one layer's principal components: a weaker PaDiM",
    "fre": "one layer's auto-encoder: a weaker reverse distillation",
}
"""anomalib's other image models (by module name), and why each is not run here."""


class OneClass(ABC):
    """What learns from normal images alone; see `baselines.Baseline` for the protocol.

    Args:
        layers: stages of the encoder, finest first: `blocks.1`, `.2`, `.4`, `.6` at stride 4, 8,
            16, 32.
        seed: of everything drawn.
        batch_size: images at a time.
        device: torch device to run on.

    Attributes:
        model: anomalib's, once `fit` has made it.
    """

    mean, std = MEAN, STD
    model: nn.Module

    def __init__(
        self,
        layers: Sequence[str] = ("blocks.2", "blocks.4"),
        *,
        seed: int = 0,
        batch_size: int = 4,
        device: str | torch.device = "cpu",
    ) -> None:
        known = [f"blocks.{i}" for i in (0, 1, 2, 4, 6)]
        if not set(layers) <= set(known):  # anomalib only warns and drops those it does not know
            raise ValueError(f"layers {tuple(layers)}: {EFFICIENTNET} has only {known}")
        self.layers, self.seed, self.batch_size = list(layers), seed, batch_size
        self.device = torch.device(device)

    def fit(
        self, images: Sequence[np.ndarray], labels: Sequence[np.ndarray] | None = None
    ) -> OneClass:
        """Learn from the images that hold no impurity; the others are not looked at.

        Args:
            images: N images, (H, W, 3) uint8 each, all of one size.
            labels: class index per pixel, (H, W) each; without them all images are normal.

        Raises:
            ValueError: no image is normal.
        """
        if labels is not None:
            normal = [not np.any(label) for label in labels]
            images = [image for image, keep in zip(images, normal, strict=True) if keep]
        if not len(images):
            raise ValueError(f"{type(self).__name__} needs at least one normal image to fit")
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            with imagenet_weights():
                self.model = self._build(images[0].shape[:2]).to(self.device)
            self._learn(images)
        self.model.eval()
        return self

    @abstractmethod
    def _build(self, size: tuple[int, int]) -> nn.Module:
        """anomalib's model for images of (height, width)."""

    @abstractmethod
    def _learn(self, images: Sequence[np.ndarray]) -> None:
        """Fill or train `model`."""

    def score_maps(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Unlikeness to normal per pixel, upsampled and smoothed by the model's own rule.

        Args:
            images: N images, (H, W, 3) uint8 each, all of the size `fit` saw.

        Returns:
            (N, H, W) float32, unbounded: higher is less normal.

        Raises:
            ValueError: `fit` has not been called.
        """
        if not hasattr(self, "model"):
            raise ValueError(f"{type(self).__name__} is not fitted: call fit(images) first")
        batches = self._batches(images, f"{type(self).__name__} score")
        with torch.inference_mode():
            maps = [self.model.eval()(batch).anomaly_map for batch in batches]
        return torch.cat([m.reshape(-1, *m.shape[-2:]).cpu() for m in maps]).numpy()

    def predict(self, images: Sequence[np.ndarray]) -> Predictions:
        """Score maps without class labels."""
        return Predictions(self.score_maps(images), None)

    @property
    def parameters(self) -> int:
        """Number of the network's weights; a memory bank is not counted."""
        return sum(p.numel() for p in self.model.parameters())

    def _batches(self, images: Sequence[np.ndarray], what: str) -> Iterator[Tensor]:
        starts = range(0, len(images), self.batch_size)
        for start in tqdm(starts, desc=what, mininterval=2, leave=False):
            yield self._input(images[start : start + self.batch_size]).to(self.device)

    def _input(self, images: Sequence[np.ndarray]) -> Tensor:
        """A batch as the model takes it, (B, 3, h, w)."""
        return normalised(images)


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
        return PatchcoreModel(self.layers, EFFICIENTNET, pre_trained=True, num_neighbors=1)

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
        return PadimModel(EFFICIENTNET, self.layers, n_features=self.features)

    def _learn(self, images: Sequence[np.ndarray]) -> None:
        self.model.train()  # in this mode the model keeps the features it sees
        for batch in self._batches(images, "PaDiM fit"):
            self.model(batch)
        self.model.fit()


class Loss(NamedTuple):
    """What `train.optimise` minimises."""

    total: Tensor


class TrainedOneClass(OneClass):
    """One-class models with a network to train, by AdamW, warm-up, cosine and weight average.

    Args:
        steps: optimiser steps. lr, weight_decay: of AdamW.
    """

    weight_decay = 1e-5

    def __init__(
        self,
        layers: Sequence[str] = ("blocks.1", "blocks.2", "blocks.4"),
        *,
        lr: float,
        steps: int = 400,
        **common,
    ) -> None:
        super().__init__(layers, **common)
        self.lr, self.steps = lr, steps

    @abstractmethod
    def _loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """Scalar loss of a batch of normal images (B, 3, H, W), by anomalib's loss."""

    def _learn(self, images: Sequence[np.ndarray]) -> None:
        config = LoopConfig(
            steps=self.steps,
            batch_size=self.batch_size,
            lr=self.lr,
            weight_decay=self.weight_decay,
            evals=1,
            seed=self.seed,
        )
        draws = Draws(
            TensorDataset(normalised(images)),
            torch.ones(len(images)),
            self.steps * self.batch_size,
            self.seed,
        )

        def batches(step: int) -> DataLoader:
            rest = Subset(draws, range(step * self.batch_size, len(draws)))
            return DataLoader(rest, batch_size=self.batch_size)

        # There is no look at val: what is learned is the weight average at the end.
        optimise(
            Trainable(self.model),
            batches,
            lambda model, batch: Loss(self._loss(model, batch[0])),
            lambda model: 0.0,
            config,
            label=type(self).__name__,
        )
        self.model.to(self.device)


class Trainable(nn.Module):
    """A model of anomalib as `train.optimise` wants one: with the groups of its parameters."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args, **named):
        """The model's own."""
        return self.model(*args, **named)

    def param_groups(self, lr: float, layer_decay: float, encoder_lr: float) -> list[dict]:
        """One group, of all that learns: the encoder does not."""
        return [{"params": [p for p in self.parameters() if p.requires_grad], "lr": lr}]


class Stfpm(TrainedOneClass):
    """Student-teacher feature pyramid matching (Wang et al., arXiv:2103.04257).

    A student of the encoder's own shape learns to give the encoder's features on normal images;
    where it fails to is not normal.
    """

    def _build(self, size: tuple[int, int]) -> nn.Module:
        return STFPMModel(self.layers, EFFICIENTNET)

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
        self.feature_extractor = TimmFeatureExtractor(EFFICIENTNET, layers).requires_grad_(False)
        shapes = [
            (channels, size[0] // stride, size[1] // stride)
            for channels, stride in zip(
                self.feature_extractor.out_dims, self.feature_extractor.reductions, strict=True
            )
        ]
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
        self.backbone = EFFICIENTNET
        self.feature_extractor = TimmFeatureExtractor(EFFICIENTNET, layers).requires_grad_(False)
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


class SuperSimpleNet(TrainedOneClass):
    """SuperSimpleNet (Rolih et al., arXiv:2408.03143): noise on features, and a head that sees it.

    Args:
        noise: standard deviation of the noise that stands for anomalies, in the units of the
            features, which is about 4 here. anomalib's 0.015 was chosen for a ResNet's.
    """

    def __init__(
        self,
        layers: Sequence[str] = ("blocks.2", "blocks.4"),
        *,
        noise: float = 0.015,
        **common,
    ) -> None:
        super().__init__(layers, **common)
        self.noise = noise

    def _build(self, size: tuple[int, int]) -> nn.Module:
        model = SupersimplenetModel(backbone=EFFICIENTNET, layers=self.layers)
        model.anomaly_generator.noise_std = self.noise
        model.feature_extractor.requires_grad_(False)
        return model

    def _loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        labels = torch.zeros(len(batch), device=batch.device)
        maps, scores, masks, labels = model(batch, labels=labels)
        return SSNLoss()(maps, scores, masks, labels)


@contextmanager
def imagenet_weights() -> Iterator[None]:
    """Where anomalib asks timm for the encoder with pre-trained weights, give it ours, offline."""
    create = timm.create_model

    def from_package(name: str, pretrained: bool = False, **options) -> nn.Module:
        model = create(name, pretrained=False, **options)
        if pretrained:
            load_encoder(model)
        return model

    with mock.patch.object(timm, "create_model", from_package):
        yield


def normalised(images: Sequence[np.ndarray]) -> Tensor:
    """Images (H, W, 3) uint8 as the encoder takes them: (N, 3, H, W) float32."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    return (batch - mean) / std
