"""Learned context: the words in front of a class's name as vectors that labels teach.

CoOp (Zhou et al., "Learning to Prompt for Vision-Language Models", arXiv:2109.01134): a prompt is
[v_1] .. [v_M] [class words], the v are vectors in the space of the text tower's token embeddings
and shared by all classes, and they are all that learns. The classes keep their words, so what was
learned can be put in front of a class that nobody has labelled.

With the image side frozen, the pixels' vectors (`wording.pixel_vectors`) are computed once, and
a step costs no more than the text tower on the class words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scrapseg.models import weights
from scrapseg.models.towers import text_tower
from scrapseg.models.wording import PixelVectors


class LearnedContext(nn.Module):
    """Class vectors from shared learned token vectors in front of the words of each class.

    The text tower is the pocket model's, frozen and not part of this module: `context`, float
    (M, width of the tower), is the only parameter.

    Args:
        groups: the words of each class, the normal class first; a class vector is the mean over
            its words at unit length.
        init: a phrase whose token embeddings the context starts from, which also sets M.
    """

    def __init__(self, groups: Sequence[Sequence[str]], init: str = "a photo of") -> None:
        super().__init__()
        self.sizes = [len(group) for group in groups]
        self.ids = token_ids([word for group in groups for word in group])
        with torch.no_grad():
            # Without the marks of start and end.
            self.context = nn.Parameter(_embedding()(token_ids([init])[0, 1:-1]).clone())

    def sentences(self) -> Tensor:
        """Unit vectors (words of all classes, D) of context and word."""
        text = text_tower().text
        words = _embedding()(self.ids)
        context = self.context.expand(len(words), -1, -1)
        tokens = torch.cat([words[:, :1], context, words[:, 1:]], 1)
        mask = self.ids != text.config.pad_token_id
        mask = torch.cat([mask.new_ones(context.shape[:2]), mask], 1).long()
        out = text.transformer(inputs_embeds=tokens, attention_mask=mask)
        return F.normalize(text.proj(text.pooler(out, mask)), dim=1)

    def forward(self) -> Tensor:
        """Class vectors (C, D) of unit length."""
        parts = self.sentences().split(self.sizes)
        return F.normalize(torch.stack([part.mean(0) for part in parts]), dim=1)


def token_ids(texts: Sequence[str]) -> Tensor:
    """Token numbers (texts, L) with the marks of start and end, padded to the longest text."""
    tokenizer = open_clip.tokenizer.HFTokenizer(str(weights.minilm_dir()), context_length=32)
    ids = tokenizer(list(texts))
    used = (ids != text_tower().text.config.pad_token_id).sum(1).max()
    return ids[:, :used]


def _embedding() -> nn.Embedding:
    return text_tower().text.transformer.embeddings.word_embeddings


@dataclass(frozen=True)
class ContextConfig:
    """How a context, or anything else that gives class vectors, is learned from pixels.

    Attributes:
        steps: of Adam at learning rate `lr`, which falls to 0 along a half cosine.
        batch_size: pixels per step, as many of each class that the images show.
        seed: of the draws.
    """

    steps: int = 60
    lr: float = 3e-3
    batch_size: int = 1152
    seed: int = 0


def learn(module: nn.Module, pixels: PixelVectors, config: ContextConfig) -> list[float]:
    """Train a module that gives class vectors (C, D) to name the pixels of labelled images.

    Cross-entropy over classes on pixels drawn evenly from each. The normal class's offset stands
    for how much more common it is; where classes are drawn evenly it is left out.

    Args:
        pixels: of the labelled images, whose model stays as it is.

    Returns:
        The loss of each step.
    """
    generator = torch.Generator().manual_seed(config.seed)
    vectors, labels = pixels.vectors.flatten(0, 2), torch.from_numpy(pixels.labels).flatten()
    where = [torch.nonzero(labels == c)[:, 0] for c in labels.unique()]
    each = max(1, config.batch_size // len(where))
    optimizer = torch.optim.Adam(module.parameters(), lr=config.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    losses = []
    for _ in range(config.steps):
        drawn = torch.cat([w[torch.randint(len(w), (each,), generator=generator)] for w in where])
        loss = F.cross_entropy(vectors[drawn].float() @ module().T, labels[drawn].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


class FreeVectors(nn.Module):
    """Class vectors that learn without a text tower: the control for what a context's words bring.

    Args:
        text: where they start, (C, D).
    """

    def __init__(self, text: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(text.clone())

    def forward(self) -> Tensor:
        """Class vectors (C, D) of unit length."""
        return F.normalize(self.vectors, dim=1)


def nearest_words(context: Tensor, k: int = 3) -> list[list[str]]:
    """The `k` vocabulary words nearest to each context vector (M, width), by Euclidean distance."""
    tokenizer = open_clip.tokenizer.HFTokenizer(str(weights.minilm_dir())).tokenizer
    distance = torch.cdist(context.detach(), _embedding().weight)
    found = distance.topk(k, largest=False).indices
    return [tokenizer.convert_ids_to_tokens(np.asarray(row).tolist()) for row in found]
