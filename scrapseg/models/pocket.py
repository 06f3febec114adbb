"""The shipped weights of the pocket model's aligned image side: check them, load them.

What is shipped is the whole of `ScrapSeg` but its class vectors: image tower, pyramid,
projections, stage weights, temperatures. `making.align` makes it; any class vectors of the
frozen text tower work with it, and training may start from it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from scrapseg.files import shipped
from scrapseg.models.prompts import class_embeddings
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.towers import pocket_image_encoder
from scrapseg.models.weights import WeightsChecksum, WeightsError, WeightsMissing

ALIGNED = shipped("pocket-aligned.safetensors")
"""The shipped file; its sha256 is in the file of the same name with ``.sha256`` appended."""
_RESTORE = "restore it with git, or align anew: python -m making.align --help"


def load_aligned(model: ScrapSeg, path: str | Path = ALIGNED) -> ScrapSeg:
    """Give a pocket model the aligned weights, in place; its class vectors stay.

    Returns:
        The same model.

    Raises:
        WeightsMissing: the file or its checksum file is not there.
        WeightsChecksum: the file is not what its checksum file says.
        WeightsError: it does not fit the model, for example another pyramid width.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        expected = checksum_path(path).read_text().split()[0]
    except (FileNotFoundError, IndexError) as error:
        missing = getattr(error, "filename", None) or checksum_path(path)
        raise WeightsMissing(f"{missing}: file is missing or empty; {_RESTORE}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise WeightsChecksum(f"{path}: sha256 is {found}, expected {expected}; {_RESTORE}")
    try:
        state: dict[str, Tensor] = load(content)
        # Half precision is for the disk alone.
        state = {k: v.float() if v.dtype is torch.float16 else v for k, v in state.items()}
        model.load_state_dict(state | {"text": model.text})
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise WeightsError(f"{path}: does not fit this model ({reason})") from None
    return model


def checksum_path(path: Path) -> Path:
    """Where the checksum of a weight file lies."""
    return path.with_name(f"{path.name}.sha256")


def pocket_model(seed: int = 0) -> ScrapSeg:
    """The unaligned pocket model: ImageNet tower, all else drawn from `seed`, our class vectors."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ScrapSeg(pocket_image_encoder(seed), class_embeddings()).eval()
