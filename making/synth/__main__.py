"""``python -m making.synth``: render ScrapSim, the studio set or single pieces, finish them, look
at them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import dataset, pieces, stages, studio


def main() -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m making.synth", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("render", "render the scenes that are not finished yet, then finish"),
        ("finish", "gather metadata, checksums, contact sheet; check the targets"),
        ("crops", "sheets of 60 crops per class, beside the dataset's folder"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--out", type=Path, default=Path("data/scrapsim"))
        if name == "render":
            command.add_argument("--scenes", type=int, default=240)
            command.add_argument(
                "--jobs", type=int, default=2, help="scenes at a time, a core each"
            )
            command.add_argument("--seed", type=int, default=dataset.SEED)
    for name, text in (
        ("studio", "render the studio images that are not finished yet, then finish"),
        ("studio-finish", "gather the studio set's metadata and contact sheet"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--out", type=Path, default=Path("data/studio"))
        if name == "studio":
            command.add_argument("--images", type=int, default=6000)
            command.add_argument(
                "--jobs", type=int, default=2, help="processes at a time, a core each"
            )
            command.add_argument("--seed", type=int, default=studio.SEED)
    command = commands.add_parser("pieces", help="render the pieces not finished yet, then finish")
    command.add_argument("--out", type=Path, default=Path("data/pieces"))
    command.add_argument("--share", type=float, default=1.0, help="of each class's number, 0 to 1")
    command.add_argument("--jobs", type=int, default=2, help="processes at a time, a core each")
    command.add_argument("--seed", type=int, default=pieces.SEED)
    command = commands.add_parser("stages", help="one scene at the stages of its making, a JPEG")
    command.add_argument("--out", type=Path, default=Path("notebooks/pictures/a1_stages.jpg"))
    command.add_argument("--scene", type=int, default=stages.SCENE)
    given = parser.parse_args()
    try:
        if given.command == "render":
            dataset.render_all(given.out, given.scenes, given.jobs, given.seed)
        if given.command == "studio":
            studio.render_all(given.out, given.images, given.jobs, given.seed)
        if given.command == "pieces":
            pieces.render_all(given.out, given.share, given.jobs, given.seed)
            print(pieces.finish(given.out))
        elif given.command == "crops":
            dataset.crops(given.out)
        elif given.command == "stages":
            stages.save(given.out, given.scene)
        elif given.command.startswith("studio"):
            print(studio.finish(given.out))
        else:
            print(dataset.finish(given.out))
    except KeyboardInterrupt:
        print("stopped; what is finished is kept, run again to go on", file=sys.stderr)
        return 130
    except (dataset.TargetsMissed, FileExistsError, FileNotFoundError, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
