"""The shipped weights of the pocket model's aligned image side: write them, check them, load them.

What is shipped is the whole of `ScrapSeg` but its class vectors: image tower, pyramid,
projections, stage weights, temperatures. `making.align` makes it; any class vectors of the
frozen text tower work with it, and training may start from it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from scrapseg.files import atomic_write, shipped
from scrapseg.models.prompts import class_embeddings
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.towers import pocket_image_encoder
from scrapseg.models.weights import WeightsChecksum, WeightsError, WeightsMissing

ALIGNED = shipped("pocket-aligned.safetensors")
"""The shipped file; its sha256 is in the file of the same name with ``.sha256`` appended."""
_RESTORE = "restore it with git, or align anew: python -m making.align train"


def save_aligned(model: ScrapSeg, path: str | Path = ALIGNED) -> str:
    """Write the image side of a model and, beside it, the checksum as `sha256sum` writes it.

    Parameters are rounded to half precision. Buffers stay as they are: a batch norm's variance
    may exceed the range of half precision, and buffers are small.

    Returns:
        The file's sha256.
    """
    path = Path(path)
    parameters = {name for name, _ in model.named_parameters()}
    state = {
        name: (value.half() if name in parameters else value).cpu().contiguous()
        for name, value in model.state_dict().items()
        if name != "text"
    }
    content = save(state)
    sha256 = hashlib.sha256(content).hexdigest()
    atomic_write(path, content)
    atomic_write(_checksum_path(path), f"{sha256}  {path.name}\n")
    return sha256


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
        expected = _checksum_path(path).read_text().split()[0]
    except (FileNotFoundError, IndexError) as error:
        missing = getattr(error, "filename", None) or _checksum_path(path)
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


def _checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def pocket_model(seed: int = 0) -> ScrapSeg:
    """The unaligned pocket model: ImageNet tower, all else drawn from `seed`, our class vectors."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ScrapSeg(pocket_image_encoder(seed), class_embeddings()).eval()
