"""Prompts: class words in sentence templates, and their embeddings.

A class is described by words ("insulated cable", "wire"), a template puts a word into a
sentence, and t_c = norm(mean over the sentences of norm(T(sentence))) is the class's place in the
joint space. Templates named `paper` are the wording of arXiv:2506.13282.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pooch
import torch
from torch import Tensor
from torch.nn import functional as F

from scrapseg.data.classes import CLASSES, ScrapClass
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.files import atomic_write
from scrapseg.models import weights
from scrapseg.models.clip import Clip
from scrapseg.models.towers import encode_texts

#: Template name -> (sentence for the normal class, sentence for an impurity).
TEMPLATES: dict[str, tuple[str, str]] = {
    "word": ("{}", "{}"),
    "photo": ("a photo of {}", "a photo of {}"),
    "scrap": ("{} in a pile of scrap metal", "{} in a pile of scrap metal"),
    "close-up": ("a close-up of a piece of {}", "a close-up of a piece of {}"),
    "paper": ("object which is made of {}", "object which is not steel but {}"),
    "this": ("this is {}", "this is {}"),
    "among": ("{} among scrap metal", "{} among scrap metal"),
    "belt": ("{} on a conveyor belt", "{} on a conveyor belt"),
    "blurry": ("a blurry photo of {}", "a blurry photo of {}"),
    "render": ("a rendered picture of {}", "a rendered picture of {}"),
    "clean": ("clean scrap made of {}", "scrap contaminated with {}"),
}

#: The ensemble used unless a notebook says otherwise. The paper's pair is not in it: its long
#: shared sentence leaves a small sentence encoder little room for the class word (notebook 02).
DEFAULT_TEMPLATES = ScrapSim.templates


def sentences(
    scrap_class: ScrapClass, templates: Sequence[str], words: int | None = None
) -> list[str]:
    """All sentences of a class: each of its first `words` words (all if None) in each template."""
    part = 0 if scrap_class.index == 0 else 1
    return [TEMPLATES[t][part].format(w) for t in templates for w in scrap_class.words[:words]]


def class_embeddings(
    classes: Sequence[ScrapClass] = CLASSES,
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    words: int | None = None,
    cache_dir: str | Path | None = None,
    clip: Clip | None = None,
) -> Tensor:
    """Class vectors t_c, float (len(classes), D), L2-normalised.

    Cached on disk by the hash of the sentences and of the text tower's weights, so that training
    and prediction with the pocket model need not load its text tower. `cache_dir` defaults to the
    user's cache folder. `clip` is the model whose text tower is asked, by default the pocket one.

    Raises:
        weights.WeightsMissing: weights or tokenizer of the text tower are not on this machine.
    """
    groups = [sentences(c, templates, words) for c in classes]
    identity = clip.text_identity if clip else weights.MINILM_SHA256

    def encoded() -> Tensor:
        encode = clip.encode_texts if clip else encode_texts
        parts = encode([s for group in groups for s in group]).split([len(g) for g in groups])
        return F.normalize(torch.stack([p.mean(0) for p in parts]), dim=1)

    return told_apart(cached_vectors([identity, groups], encoded, cache_dir), classes)


def told_apart(vectors: Tensor, classes: Sequence[ScrapClass]) -> Tensor:
    """Class vectors (C, D) in which none is that of an earlier class: random ones in their place.

    To a text tower that does not know a script all words in it are one unknown word. Labels can
    still teach such classes, but only if their vectors differ; a warning says so.
    """
    same = (vectors @ vectors.T > 0.9999).tril(-1).any(1)
    if not same.any():
        return vectors
    named = [c for c, s in zip(classes, same.tolist(), strict=True) if s]
    warnings.warn(
        f"the text tower takes the words of {', '.join(c.name for c in named)} for those of classes"
        " before: only labels can tell these apart; add English words to the class list",
        stacklevel=3,
    )
    seed = hashlib.sha256(json.dumps([c.words for c in named]).encode()).digest()
    vectors = vectors.clone()
    vectors[same] = random_embeddings(len(named), int.from_bytes(seed[:6]), vectors.shape[1])
    return vectors


def cached_vectors(
    made_from: list, encode: Callable[[], Tensor], cache_dir: str | Path | None = None
) -> Tensor:
    """Text vectors kept on disk: what `encode` gives, or has given before for the same key.

    Args:
        made_from: all that the vectors depend on, as JSON-able values: which text tower, and
            which texts.
        cache_dir: by default the user's cache folder.
    """
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:20]
    path = Path(cache_dir or pooch.os_cache("scrapseg")) / f"text-{key}.npy"
    if path.is_file():
        return torch.from_numpy(np.load(path))
    vectors, buffer = encode(), io.BytesIO()
    np.save(buffer, vectors.numpy())
    atomic_write(path, buffer.getvalue())
    return vectors


def random_embeddings(n: int, seed: int, width: int = 384) -> Tensor:
    """Random unit vectors (n, width) in place of text: the control for what language brings."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, width, generator=generator), dim=1)
