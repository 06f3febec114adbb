"""Make the weights in `data/pocket` anew.

python -m making.align train --studio data/studio --steps 2000    # pocket-aligned.safetensors
python -m making.align control --targets permuted --out FOLDER    # aligned to wrong words
python -m making.align ship                                       # scrapsim.safetensors
python -m making.align promise                                    # what its card promises
python -m making.align benchmark --run NAME                       # benchmark.safetensors
python -m making.align graph                                      # graph.onnx, graph-novelty.onnx
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from making.align import AlignError
from making.align.align import AlignConfig
from making.align.benchmark import ship_run
from making.align.collage import CollageConfig
from making.align.controls import TARGETS, Numbers, write_control
from making.align.graph import make_graph
from making.align.run import run
from making.align.ship import calibrate, ship
from scrapseg.data.base import DataError
from scrapseg.experiments.records import ResultsError
from scrapseg.files import REPOSITORY
from scrapseg.models.novelty import Novelty
from scrapseg.models.pocket import ALIGNED
from scrapseg.models.runtime import GRAPH_NOVELTY
from scrapseg.models.scrapseg import ModelFileError
from scrapseg.models.segmenter import SHIPPED, SegmenterError, load
from scrapseg.models.weights import WeightsError
from scrapseg.train.loop import TrainingDiverged

#: Errors that say what is wrong.
NAMED = (AlignError, DataError, ModelFileError, ResultsError, SegmenterError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 when done, 1 on an error that was named, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m making.align", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="align the pocket model on the studio set")
    control = commands.add_parser("control", help="the same, to words that are wrong, or none")
    train.add_argument("--out", type=Path, default=ALIGNED.parent, help="where the weights go")
    control.add_argument("--out", type=Path, required=True, help="where weights and set go")
    control.add_argument("--targets", choices=TARGETS, required=True)
    control.add_argument("--without-impurities", action="store_true", help="of the studio set")
    for of in (train, control):
        of.add_argument("--studio", type=Path, required=True, help="folder of the studio set")
        length = of.add_mutually_exclusive_group()
        length.add_argument("--minutes", type=float, help="as many steps as fit")
        length.add_argument("--steps", type=int, default=AlignConfig.steps)
        of.add_argument("--batch-size", type=int, default=AlignConfig.batch_size)
        of.add_argument("--size", type=int, default=CollageConfig.size, help="image side in pixels")
        of.add_argument("--seed", type=int, default=AlignConfig.seed)
        of.add_argument(
            "--scrapsim",
            type=Path,
            default=REPOSITORY / "data" / "scrapsim",
            help="score the result zero-shot on the val split of this set",
        )
    commands.add_parser("ship", help="make the model that comes along, ready to be adapted")
    commands.add_parser("promise", help="calibrate that model anew, its weights as they are")
    full = REPOSITORY / "results" / "full"
    longest = commands.add_parser("benchmark", help="ship a run, calibrated")
    longest.add_argument("--run", required=True, help="its name; its weights lie in the cache")
    longest.add_argument("--results", type=Path, default=full, help="folder of its record")
    commands.add_parser("graph", help="export the graphs that predictions on a CPU go by")
    given = parser.parse_args(arguments)
    try:
        if given.command == "ship":
            print(ship(REPOSITORY / "data" / "scrapsim").origin)
            return 0
        if given.command == "promise":
            print(calibrate(REPOSITORY / "data" / "scrapsim").promises)
            return 0
        if given.command == "benchmark":
            data = REPOSITORY / "data" / "scrapsim"
            segmenter, table = ship_run(given.run, given.results, data, full)
            print(table.round(3).to_string(index=False), segmenter.origin, sep="\n")
            return 0
        if given.command == "graph":
            model = load(SHIPPED).model
            print(make_graph(model))
            model.set_novelty(Novelty().eval())
            print(make_graph(model, GRAPH_NOVELTY))
            return 0
        collage = CollageConfig(size=given.size)
        config = AlignConfig(
            steps=given.steps, batch_size=given.batch_size, seed=given.seed, collage=collage
        )
        options = {"minutes": given.minutes, "scrapsim_root": given.scrapsim}
        if given.command == "control":
            without = {"impurities": not given.without_impurities}
            given.studio = write_control(
                given.studio, given.out / "studio", given.targets, **without
            )
            if given.targets == "numbers":
                config, options["bank_of"] = replace(config, caption_weight=0.0), Numbers
        run(given.studio, given.out, config, **options)
        print(f"weights, record and card in {given.out}")
        return 0
    except (*NAMED, TrainingDiverged, WeightsError) as error:
        print(f"{given.command}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last save", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
