"""Write the model that comes with the project: the one that a run of ours trained on ScrapSim.

Weights, class list and the threshold that val chose go to `data/pocket/scrapsim.*`. Test images
had no part in any of them. Where the model comes from, and what its run measured, is in the .yaml.
"""

from __future__ import annotations

from pathlib import Path

from scrapseg.data.classes import CLASSES
from scrapseg.experiments.records import read_run
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.segmenter import SHIPPED, Segmenter

RUN = "scrapseg_scrapsim_allshots_s0"


def ship(results_dir: Path, target: Path = SHIPPED) -> Segmenter:
    """Save the model of `results_dir`'s run of ours, in half precision, as `target`.

    Raises:
        ResultsError, ModelFileError: the run's record or its weights are missing: run
            `make reproduce` first.
    """
    record = read_run(results_dir / "runs" / f"{RUN}.json")
    model = ScrapSeg.load(results_dir / "cache" / RUN / "model.safetensors")
    origin = (
        f"fine-tuned on ScrapSim's training images ({record.config['steps']} steps, commit "
        f"{record.provenance['commit'][:7]}); on its test images pixel AP "
        f"{record.metrics['ap']:.3f}, impurity mIoU {record.metrics['miou_impurity']:.3f}"
    )
    segmenter = Segmenter(model, CLASSES, threshold=record.config["threshold"], origin=origin)
    segmenter.save(target, half=True)
    return segmenter
