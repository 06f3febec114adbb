"""The study on Magnetic-Tile, photographs: which runs it is made of, and a drawn stand-in.

    python -m scrapseg.experiments.real                       # every run of notebooks/profiles/real.yaml
    python -m scrapseg.experiments.real --shots all           # those with all labels, to begin with

Notebook 06 makes the same runs, or reads back those that are done. See `scrapseg.data.fetch` for where
the photographs are looked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from scipy import ndimage

from scrapseg.data.base import SPLITS, DataError
from scrapseg.data.magnetic_tile import MagneticTile, build_index
from scrapseg.experiments.grid import Job, few_shot_jobs, run_jobs
from scrapseg.experiments.records import collect
from scrapseg.experiments.run import Splits
from scrapseg.files import REPOSITORY, atomic_write
from scrapseg.models.segmenter import SHIPPED
from scrapseg.report import tables_real
from scrapseg.train.loop import TrainConfig


def load(limit: int | None = None) -> Splits:
    """Magnetic-Tile's splits; `limit` keeps the first photographs of each, for a quick look.

    Raises:
        DataError: see `MagneticTile`; where the data is not here, it says how to get it.
    """
    return Splits(*(MagneticTile(split, limit=limit) for split in SPLITS))


def method_jobs(
    methods: Sequence[str], shots: Sequence[int], seeds: Sequence[int], steps: int, few_steps: int
) -> list[Job]:
    """Every method with all labels (`steps`), then at each number of shots (`few_steps`)."""
    full = [Job(m, seed=seed, changes={"steps": steps}) for seed in seeds for m in methods]
    return full + few_shot_jobs(methods, shots, seeds, few_steps)


def start_jobs(
    shots: Sequence[int | str],
    seeds: Sequence[int],
    steps: int,
    few_steps: int,
    scrapsim_model: Path = SHIPPED,
) -> list[Job]:
    """Ours from each of `tables_real.STARTS`.

    Args:
        shots: numbers or "all".
        scrapsim_model: a model of ours trained on ScrapSim.
    """
    return [
        Job(
            method,
            k,
            seed,
            tag,
            changes={"steps": steps if k == "all" else few_steps},
            start=scrapsim_model if tag else None,
        )
        for seed in seeds
        for k in shots
        for method, tag, _ in tables_real.STARTS.values()
    ]


# ---------------------------------------------------------------- a drawn stand-in


def draw_tiles(root: Path, tiles: int = 6, seed: int = 0) -> Path:
    """Draw a small set in Magnetic-Tile's layout, two exposures a tile, and its `index.csv`.

    For a look at the loader where the photographs are not at hand; what is measured on it says
    nothing. A folder that is already there is left as it is.
    """
    if (root / "index.csv").is_file():
        return root
    rng = np.random.default_rng(seed)
    kinds = ["Free", "Blowhole", "Break", "Crack", "Fray", "Uneven"]
    for number in range(len(kinds) * tiles):
        kind = kinds[number % len(kinds)]
        place = root / f"MT_{kind}" / "Imgs"
        place.mkdir(parents=True, exist_ok=True)
        height, width = rng.integers(110, 160, 2)
        ground = 110 + 14 * ndimage.gaussian_filter(rng.normal(0, 3, (height, width)), (0.6, 4))
        mask, change = _defect(kind, height, width, rng)
        for exposure, light in ((1, 0.75), (2, 1.15)):
            noisy = light * (ground + change * mask) + rng.normal(0, 2, mask.shape)
            stem = place / f"exp{exposure}_num_{1000 * number + 20 * exposure}"
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(f"{stem}.jpg", quality=95)
            Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(f"{stem}.png")
    atomic_write(root / "index.csv", build_index(root).to_csv(index=False, lineterminator="\n"))
    return root


def _defect(
    kind: str, height: int, width: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Where a defect is, bool (height, width), and how much brighter it is."""
    y, x = np.mgrid[:height, :width]
    cy, cx = rng.uniform(0.3, 0.7, 2) * (height, width)
    shapes = {
        "Free": (np.zeros((height, width), bool), 0),
        "Blowhole": (np.hypot(y - cy, x - cx) < rng.uniform(4, 8), -70),
        "Break": (x + y < rng.uniform(35, 55), 90),
        "Crack": (np.abs(x - cx - 0.3 * (y - cy) - 4 * np.sin(y / 9)) < 1.6, -60),
        "Fray": ((np.abs(y - cy) < 12) & (np.abs(x - cx) < 30), 40),
        "Uneven": (np.hypot((y - cy) / 1.6, (x - cx)) < rng.uniform(18, 28), -30),
    }
    return shapes[kind]


def load_drawn(root: Path, size: int = 128) -> Splits:
    """The splits of what `draw_tiles` drew."""
    index = root / "index.csv"
    return Splits(*(MagneticTile(split, root, size=size, index=index) for split in SPLITS))


# ---------------------------------------------------------------- command line


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m scrapseg.experiments.real",
        description="The runs on Magnetic-Tile, one by one.",
    )
    parser.add_argument("--methods", nargs="+", help="the profile's otherwise")
    parser.add_argument("--shots", nargs="+", help="numbers or all; the profile's otherwise")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time")
    given = parser.parse_args(arguments)
    folder = REPOSITORY / "notebooks"
    setting = yaml.safe_load((folder / f"profiles/{tables_real.PROFILE}.yaml").read_text())
    lengths = setting["tile_seeds"], setting["tile_steps"], setting["tile_few_steps"]
    jobs = method_jobs(setting["tile_methods"], setting["tile_shots"], *lengths)
    if not given.methods:
        jobs += start_jobs(setting["start_shots"], *lengths)
    jobs = [
        job
        for job in jobs
        if (not given.methods or job.method in given.methods)
        and (not given.shots or str(job.shots) in given.shots)
    ]
    config = TrainConfig(batch_size=setting["batch_size"], crop=setting["crop"])
    results_dir = (folder / setting["results_dir"]).resolve()
    try:
        run_jobs(jobs, load(), config, results_dir, workers=given.workers)
        collect(results_dir)
        tables_real.build_all(results_dir)
    except (DataError, OSError) as error:
        print(f"real: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("real: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
