"""WinCLIP, the frozen vision-language model that industrial inspection compares with (anomalib's).

It needs CLIP's weights, a download, so it belongs to the profile `clip`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.v2 import Normalize

from scrapseg.baselines.one_class import OneClass, without_warnings
from scrapseg.models.clip import load_clip

with without_warnings():
    from anomalib.models.image.winclip import torch_model
    from anomalib.models.image.winclip.torch_model import WinClipModel

#: What anomalib's prompt ensemble is about ("a photo of a damaged ... ", "a flawless ...").
OBJECT = "steel scrap"


class WinClip(OneClass):
    """WinCLIP+ (Jeong et al., arXiv:2303.14814): windows against prompts and normal images.

    Nothing is trained. The score is the mean of two: how much nearer a window is to prompts that
    speak of damage than to those that do not, and how far it is from all windows of a few normal
    images.

    Args:
        references: how many normal images are kept, drawn at random; 0 leaves the prompts alone.
        weights_path: local weight file; otherwise open_clip's download must be on this machine.
        tag: whose weights; None for random ones, which only tests want.
    """

    def __init__(
        self,
        references: int = 4,
        *,
        weights_path: str | None = None,
        tag: str | None = torch_model.PRETRAINED,
        **common,
    ) -> None:
        super().__init__(**common)
        self.references, self.weights_path, self.tag = references, weights_path, tag

    def _build(self, size: tuple[int, int]) -> nn.Module:
        """Raises the errors of `clip.load_clip`."""
        clip = load_clip(torch_model.BACKBONE, self.tag, weights_path=self.weights_path).model
        visual = clip.visual
        self.normalise = Normalize(visual.image_mean, visual.image_std)
        return _WinClip(clip)

    def _learn(self, images: Sequence[np.ndarray]) -> None:
        chosen = torch.randperm(len(images))[: self.references].tolist()
        if chosen:
            seen = list(self._batches([images[i] for i in chosen], "WinCLIP references"))
            self.model.eval().setup(reference_images=torch.cat(seen))

    def score_maps(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """As in `OneClass`, brought back from the tower's size to that of the images; in 0..1."""
        maps = torch.from_numpy(super().score_maps(images))[:, None]
        return F.interpolate(maps, size=images[0].shape[:2], mode="bilinear")[:, 0].numpy()

    def _input(self, images: Sequence[np.ndarray]) -> Tensor:
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        size = self.model.clip.visual.image_size
        return self.normalise(F.interpolate(x, size=size, mode="bicubic", antialias=True))


class _WinClip(WinClipModel):
    """anomalib's model around a CLIP that is there already; its own constructor downloads one."""

    def __init__(self, clip: nn.Module, scales: Sequence[int] = (2, 3)) -> None:
        super(WinClipModel, self).__init__()
        self.backbone, self.temperature = torch_model.BACKBONE, torch_model.TEMPERATURE
        self.class_name, self.reference_images = OBJECT, None
        self.scales, self.apply_transform, self.k_shot = scales, False, 0
        self.clip = clip
        self.clip.visual.output_tokens = True
        self.grid_size = self.clip.visual.grid_size
        self.register_buffer_list("masks", self._generate_masks(), persistent=False)
        for name in ("_text_embeddings", "_patch_embeddings"):
            self.register_buffer(name, torch.empty(0))
        self.register_buffer_list("_visual_embeddings", [torch.empty(0) for _ in scales])
        self.setup(OBJECT)
