"""A whole alignment: weights, checksum, record and model card; an interrupted one goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from making.align import AlignError
from making.align.align import AlignConfig, align, steps_in
from making.align.card import refresh_card
from making.align.evaluate import retrieval, zero_shot
from making.align.studio import Studio, TextBank, composition
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.experiments.records import provenance
from scrapseg.files import atomic_write
from scrapseg.models.pocket import ALIGNED, checksum_path, load_aligned, pocket_model
from scrapseg.models.scrapseg import ScrapSeg

WEIGHTS_NAME = ALIGNED.name


def run(
    studio_root: str | Path,
    out: str | Path,
    config: AlignConfig,
    *,
    minutes: float | None = None,
    scrapsim_root: str | Path | None = None,
    bank_of: Callable[..., TextBank] = TextBank,
) -> dict[str, Any]:
    """Align, write weights and record, and refresh the model card in `out` if there is one.

    Writes ``pocket-aligned.safetensors`` with its checksum and ``alignment.json``. An unfinished
    run, kept in ``out/.align``, goes on where it stopped.

    Args:
        minutes: in place of `config.steps`: as many steps as fit.
        scrapsim_root: also score zero-shot segmentation on ScrapSim's val split, before and
            after, when the alignment is done.
        bank_of: makes the bank of texts of both splits.

    Returns:
        The content of ``alignment.json``.

    Raises:
        AlignError: an unfinished run with other settings or data is in the way.
        DataError, TrainingDiverged: see `align`.
    """
    out = Path(out)
    work = out / ".align"
    train, heldout = Studio(studio_root, "train"), Studio(studio_root, "heldout")
    started, clock = datetime.now(UTC), time.perf_counter()
    bank = bank_of(train, heldout)
    config = _plan(work / "plan.json", config, minutes, train, bank)
    done = work / "history.json"  # trained, but not yet judged
    if not done.is_file():
        model = pocket_model(config.seed)
        history = align(model, train, heldout, bank, config, state_path=work / "run.state")
        save_aligned(model, out / WEIGHTS_NAME)
        atomic_write(done, json.dumps(history))
    history = json.loads(done.read_text())
    # Judged as shipped: in half precision.
    model = load_aligned(pocket_model(config.seed), out / WEIGHTS_NAME)
    size = config.collage.size
    record: dict[str, Any] = {
        "weights": {
            "file": WEIGHTS_NAME,
            "bytes": (out / WEIGHTS_NAME).stat().st_size,
            "sha256": hashlib.sha256((out / WEIGHTS_NAME).read_bytes()).hexdigest(),
            "parameters": sum(p.numel() for p in model.parameters()),
        },
        "studio": {
            "train": composition(train),
            "heldout": composition(heldout),
            "texts": len(bank.texts),
        },
        "retrieval": retrieval(model, heldout, bank, size=size),
    }
    if scrapsim_root is not None:
        val = ScrapSim(scrapsim_root, "val")
        record["zero_shot_val"] = {
            "unaligned": zero_shot(pocket_model(config.seed), val),
            "aligned": zero_shot(model, val),
        }
    record |= {"config": asdict(config), "history": history}
    wall_s = time.perf_counter() - clock
    device = "cuda" if torch.cuda.is_available() else "cpu"
    record["provenance"] = provenance(wall_s, train.sha256, device, started)
    atomic_write(out / "alignment.json", json.dumps(record, indent=1) + "\n")
    shutil.rmtree(work, ignore_errors=True)
    if (out / "README.md").is_file():
        refresh_card(out)
    return record


def _plan(
    path: Path, config: AlignConfig, minutes: float | None, train: Studio, bank: TextBank
) -> AlignConfig:
    """The configuration with its number of steps, which an unfinished run has already settled."""
    wanted = asdict(config) | {"studio_sha256": train.sha256}
    if path.is_file():
        plan = json.loads(path.read_text())
        steps = plan["steps"] if minutes is not None else config.steps
        if plan != json.loads(json.dumps(wanted | {"steps": steps})):
            raise AlignError(
                f"{path.parent}: holds an unfinished run with other settings or another set; "
                "finish it with its own, or delete the folder"
            )
        return replace(config, steps=steps)
    if minutes is not None:
        config = replace(config, steps=steps_in(minutes, train, bank, config))
    atomic_write(path, json.dumps(wanted | {"steps": config.steps}))
    return config


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
    atomic_write(checksum_path(path), f"{sha256}  {path.name}\n")
    return sha256
