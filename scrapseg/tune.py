"""Choose the learning rates of ours and of U-Net on val, with equal effort.

    python -m scrapseg.tune

Short runs on all training images; the candidate with the best impurity mIoU on val is written to
`notebooks/profiles/tuned.yaml`, every trial to `results/tuning/tuning.csv`. Test is not touched. A
stopped series goes on with the trials that are missing from that file; a trial made by other code
is made again. `--methods` leaves those of the others, and what was chosen by them, as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

from scrapseg.experiment import TUNED, Splits, best_look, train
from scrapseg.results import atomic_write
from scrapseg.sources import hash_code, imported_modules
from scrapseg.train import TrainConfig

#: (rate of the head, rate of the deepest encoder layer)
CANDIDATES = ((0.001, 0.0005), (0.002, 0.001), (0.004, 0.002), (0.008, 0.004))
METHODS = ("scrapseg", "unet")
HEADER = "# Learning rates per method, chosen on val among the same candidates (`make tune`).\n"


def tune(data_dir: Path, out: Path, steps: int, methods: Sequence[str] = METHODS) -> pd.DataFrame:
    """All trials, a row each; val is the impurity mIoU, code a hash of the sources."""
    splits = Splits.load(data_dir)
    root = Path(__file__).parent.parent
    code = hash_code(imported_modules(["import scrapseg.experiment"], root), root)[:12]
    trials = pd.read_csv(out).to_dict("records") if out.is_file() else []
    trials = [t for t in trials if t.get("code") == code or t["method"] not in methods]
    done = {(t["method"], t["lr"], t["steps"]) for t in trials}
    for method in methods:
        for lr, encoder_lr in CANDIDATES:
            if (method, lr, steps) in done:
                continue
            config = TrainConfig(steps=steps, lr=lr, encoder_lr=encoder_lr, evals=1)
            look = best_look(train(method, splits, config)[1])
            trial = {"method": method, "lr": lr, "encoder_lr": encoder_lr, "steps": steps}
            trials.append(trial | {"val": look["val"], "best_step": look["step"], "code": code})
            atomic_write(out, pd.DataFrame(trials).to_csv(index=False))
    return pd.DataFrame(trials)


def choose(trials: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The candidate with the best val score of each method."""
    best = trials.loc[trials.groupby("method")["val"].idxmax()]
    return {
        row.method: {"lr": float(row.lr), "encoder_lr": float(row.encoder_lr)}
        for row in best.itertuples()
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m scrapseg.tune", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/scrapsim"))
    parser.add_argument("--out", type=Path, default=Path("results/tuning/tuning.csv"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    given = parser.parse_args()
    trials = tune(given.data, given.out, given.steps, given.methods)
    atomic_write(TUNED, HEADER + yaml.safe_dump(choose(trials), default_flow_style=None))
    print(trials.to_string(index=False))


if __name__ == "__main__":
    main()
