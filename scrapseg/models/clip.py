"""An open_clip model from a weight file: both towers, the tokenizer, and which weights they are.

open_clip and torch read the files, pickles with `weights_only`: no Python code in them is run. And
nothing is fetched unless asked for.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import is_zipfile

import open_clip
import torch
from open_clip.model import CLIP, CustomTextCLIP, resize_pos_embed
from torch import Tensor
from tqdm import tqdm

from scrapseg.models import weights


class ClipError(Exception):
    """An open_clip model cannot be built or read this way; the message is one line."""


@dataclass
class Clip:
    """An open_clip model, its text side frozen, and what it was made from.

    Attributes:
        name: open_clip's name of the architecture.
        model: the model in eval mode; `model.visual` is the image tower.
        config: open_clip's configuration of it: embed_dim, vision_cfg, text_cfg, ...
        image_size: where it is not the tower's own, else None.
        download: whether files that are missing (a tokenizer's) may be fetched.
    """

    name: str
    model: CLIP | CustomTextCLIP
    config: dict
    image_size: int | None = None
    download: bool = False

    @property
    def width(self) -> int:
        """Dimensions of the joint space."""
        return self.config["embed_dim"]

    @cached_property
    def tokenizer(self) -> open_clip.tokenizer.SimpleTokenizer:
        """The text tower's tokenizer.

        Raises:
            weights.WeightsMissing: its files are not on this machine.
        """
        with nullcontext() if self.download else weights.offline():
            try:
                return open_clip.get_tokenizer(self.name)
            except OSError as error:
                source = self.config["text_cfg"].get("hf_tokenizer_name")
                raise weights.WeightsMissing(
                    f"{self.name}: tokenizer https://huggingface.co/{source} is not on this "
                    "machine; let open_clip fetch it with download=True, or put model and "
                    "tokenizer in a folder and give the model's name as local-dir:FOLDER"
                ) from error

    @torch.no_grad()
    def encode_texts(self, texts: list[str]) -> Tensor:
        """Sentences to unit vectors of the joint space, (len(texts), width)."""
        tokens = self.tokenizer(texts).split(32)
        parts = [self.model.encode_text(t, normalize=True) for t in tqdm(tokens, "texts", delay=5)]
        return torch.cat(parts)

    @cached_property
    def text_identity(self) -> str:
        """Sha256 of all that the text side's answers depend on: configuration and weights."""
        made_from = [self.name, self.config["text_cfg"], self.config.get("quick_gelu", False)]
        found = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode())
        for key, value in sorted(self.model.state_dict().items()):
            if not key.startswith(("visual.", "logit_")):
                found.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
                found.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return found.hexdigest()


def load_clip(
    name: str,
    tag: str | None = None,
    *,
    weights_path: str | Path | None = None,
    image_size: int | None = None,
    download: bool = False,
) -> Clip:
    """An open_clip model with pre-trained weights, on the CPU in float32.

    Args:
        name: as in `open_clip.list_models()`, such as ViT-L-14-336; or local-dir:FOLDER, a folder
            in the hub's layout with configuration, weights and tokenizer.
        tag: whose weights, as in `open_clip.list_pretrained()`, such as openai. It also says how
            images are normalised and which activation the weights need, so give it with a local
            file too. Without tag and file the weights are random.
        weights_path: local weight file: .safetensors, a state dict as .bin or .pt, or OpenAI's own
            TorchScript archive, which is loaded only where its sha256 is the published one.
        image_size: side in pixels for which position embeddings are interpolated on loading
            (the towers take other sizes as well).
        download: let open_clip fetch what is not on this machine. Without it no network is touched.

    Raises:
        ClipError: open_clip has no such model.
        weights.WeightsMissing, weights.WeightsChecksum: see `weights.clip_file`.
        weights.WeightsError: the file cannot be read, or holds other tensors.
    """
    network = nullcontext if download else weights.offline
    try:
        with network():
            config = open_clip.get_model_config(name)
    except OSError as error:
        raise weights.WeightsMissing(f"{name}: no configuration ({first_line(error)})") from error
    if config is None:
        raise ClipError(f"open_clip has no model named {name!r}; see open_clip.list_models()")
    published = weights.published(name, tag) if tag else {}
    path = Path(weights_path) if weights_path else None
    if path and not path.is_file():
        raise weights.WeightsMissing(f"{path}: no such weight file")
    if tag and not path:
        path = weights.clip_file(name, tag, download=download)
    # open_clip cannot interpolate ModifiedResNet's positions on loading; its reader does later.
    if image_size and not isinstance(config["vision_cfg"].get("layers"), list):
        config["vision_cfg"]["image_size"] = image_size
    try:
        openai = openai_state(path) if path else None
        # OpenAI trained with QuickGELU; its models' configurations do not say so (open_clip warns).
        config["quick_gelu"] = bool(
            config.get("quick_gelu") or published.get("quick_gelu") or openai
        )
        with network():
            model = open_clip.create_model(
                name,
                pretrained=None if openai or path is None else str(path),
                force_quick_gelu=config["quick_gelu"],
                force_image_size=config["vision_cfg"]["image_size"] if image_size else None,
                force_preprocess_cfg={k: published[k] for k in ("mean", "std") if k in published},
                pretrained_text=False,
                require_pretrained=":" in name,  # local-dir:FOLDER finds the weights itself
            )
        if openai:
            load_openai(model, openai)
    except OSError as error:
        raise weights.WeightsMissing(f"{name}: {first_line(error)}") from error
    except Exception as error:  # whatever a damaged file, or one of another model, leads to
        raise weights.WeightsError(
            f"{path or name}: cannot be used ({first_line(error)})"
        ) from error
    for key, parameter in model.named_parameters():
        parameter.requires_grad_(key.startswith("visual."))
    return Clip(name, model.eval(), config, image_size, download)


def openai_state(path: Path) -> dict[str, Tensor] | None:
    """Tensors of a file in OpenAI's own format, None where it is another.

    That is a TorchScript archive, or the state dict of one: beside weights it holds three numbers.
    """
    if path.suffix not in (".pt", ".pth", ".bin"):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TorchScript being deprecated
        try:
            lazily = is_zipfile(path)
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
        except RuntimeError as error:
            if "TorchScript" not in str(error):
                raise
            if not weights.is_published(path):  # loading one can run what it says
                raise ValueError(
                    "a TorchScript archive, and none that open_clip knows by its sha256; save its "
                    "state dict as .safetensors"
                ) from None
            state = torch.jit.load(path, map_location="cpu").state_dict()
    return state if "input_resolution" in state else None


def load_openai(model: CLIP, state: dict[str, Tensor]) -> None:
    """Put the tensors of an OpenAI archive into an open_clip model of the same architecture.

    Raises:
        RuntimeError: tensors are missing or of other shapes.
    """
    # Beside weights the archive holds three numbers, and masks, which the model has already.
    state = {key: state[key] for key in model.state_dict() if key in state}
    resize_pos_embed(state, model)
    model.load_state_dict(state)


def first_line(error: Exception) -> str:
    """The first line of an error that says something: torch puts a heading before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.endswith(":")), type(error).__name__)
