"""ScrapSeg: finding impurities in steel scrap with vision-language models.

The notebooks tell the story; this package is the small module behind them. Importing it loads
nothing heavy: take what you need from its modules, for example
``from scrapseg.data.scrapsim import ScrapSim`` or ``from scrapseg.data.classes import CLASSES``. To
use a trained model, ``scrapseg.load(path).predict(image)``; without a path it is the one that comes
along.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

# Threads that wait for work sleep. Spinning, which is the default, makes a training step many times
# as long when another process is busy, and gains nothing on an idle machine. torch's OpenMP reads
# this when it is loaded: here every command, notebook and test passes before it comes to torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Torch warns of a CUDA toolkit without a GPU, which nothing here compiles with.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

if TYPE_CHECKING:
    from pathlib import Path

    from scrapseg.models.segmenter import Segmenter

__version__ = "0.1.0"


def load(path: str | Path | None = None) -> Segmenter:
    """A trained model to predict with, see ``scrapseg.models.segmenter.load``."""
    from scrapseg.models import segmenter  # here, since it loads torch

    return segmenter.load(path)
