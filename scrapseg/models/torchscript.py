"""Tensors out of a TorchScript archive, the format of OpenAI's CLIP files, with no code run.

`torch.load(weights_only=True)` refuses such archives, and `torch.jit.load` may run code from the
file (and is deprecated). This reads the archive's pickle as `weights_only` would: every class of
the file becomes a bag of attributes, and only what rebuilds a tensor may be called.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive: a zip file with constants, which no other has."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def torchscript_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a TorchScript archive under their dotted names, on the CPU.

    These are the entries of its state dict and tensors that modules hold as plain attributes.

    Raises:
        pickle.UnpicklingError: the file names something other than tensors and modules.
    """
    with zipfile.ZipFile(path) as archive:
        constants = next(n for n in archive.namelist() if n.endswith("/constants.pkl"))
        root = _TensorUnpickler(archive, constants.removesuffix("constants.pkl")).load()
    found: dict[str, Tensor] = {}

    def walk(prefix: str, module: _Module) -> None:
        for key, value in vars(module).items():
            if isinstance(value, Tensor):
                found[prefix + key] = value
            elif isinstance(value, _Module):
                walk(f"{prefix}{key}.", value)

    walk("", root)
    return found


class _Module:
    """Stands for any scripted module: attributes, no behaviour."""


class _TensorUnpickler(pickle.Unpickler):
    """Reads `data.pkl` in a folder of the archive, and the storages beside it."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(archive.open(f"{folder}data.pkl"))
        self.archive, self.folder = archive, folder

    def find_class(self, module: str, name: str) -> object:
        """Everything a file may name; anything else ends the reading."""
        if module.startswith("__torch__"):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name.endswith("Storage"):
            return name.removesuffix("Storage").lower()
        if module == "torch.jit._pickle":  # lists that say of which type they are
            return _same
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no tensor")

    def persistent_load(self, pid: tuple) -> Tensor:
        """A storage, as a flat tensor: ("storage", type, file, device, number of elements)."""
        _, kind, key, _, _ = pid
        dtype = getattr(torch, {"byte": "uint8", "char": "int8"}.get(kind, kind))
        data = bytearray(self.archive.read(f"{self.folder}data/{key}"))
        return torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _view(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: object) -> Tensor:
    """What torch's own `_rebuild_tensor_v2` does, without gradients and hooks."""
    return storage.as_strided(size, stride, offset)


def _same(value: object, *_: object) -> object:
    return value
