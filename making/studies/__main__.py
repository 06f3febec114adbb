"""Make the committed table of a study anew, with its provenance beside it.

python -m making.studies label_help --results results/full
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path

from making.studies import (
    adaptation,
    class_offsets,
    corruptions,
    few_labels,
    label_help,
    large_scales,
    more_magnified,
    more_rivals,
    more_scenes,
    new_head,
    own_rates,
    promise,
    small_things,
    steel_labels,
    towers,
    words_kept,
)
from scrapseg.experiments.records import provenance, save_table, source_state
from scrapseg.experiments.run import device_name
from scrapseg.files import atomic_write

STUDIES = {
    "adaptation": adaptation.make,
    "class_offsets": class_offsets.make,
    "corruptions": corruptions.make,
    "few_labels": few_labels.make,
    "label_help": label_help.make,
    "large_scales": large_scales.make,
    "magnified": large_scales.of_benchmark,
    "more_magnified": more_magnified.make,
    "more_rivals": more_rivals.make,
    "more_scenes": more_scenes.make,
    "new_head": new_head.make,
    "own_rates": own_rates.make,
    "promise": promise.make,
    "second_rival": more_rivals.make_second,
    "small_things": small_things.make,
    "steel_labels": steel_labels.make,
    "towers": towers.make,
    "words_kept": words_kept.make,
}


def main() -> None:
    """Command line; writes `tables/<study>.csv` and `.json` of a study that is made whole."""
    parser = argparse.ArgumentParser(prog="python -m making.studies", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--results", type=Path, required=True, help="results folder")
    parser.add_argument("--data", type=Path, default=Path("data/scrapsim"))
    some = "make a part: arms of adaptation, runs of more_scenes or more_rivals; its rows are "
    some += "printed, and the study's table stays as it is"
    parser.add_argument("--only", nargs="+", default=[], help=some)
    given = parser.parse_args()
    if given.only and given.study not in ("adaptation", "more_scenes", "more_rivals"):
        parser.error(f"{given.study} takes no --only")
    clock, started, source = time.perf_counter(), datetime.now(UTC), source_state()
    table, beside = STUDIES[given.study](
        given.data, given.results, **({"only": given.only} if given.only else {})
    )
    print(table.round(3).to_string(index=False))
    if given.only:
        return
    save_table(table, given.results, given.study)
    sha256, wall_s = beside.pop("sha256"), time.perf_counter() - clock
    beside["provenance"] = provenance(wall_s, sha256, device_name("scrapseg"), started, source)
    path = given.results / "tables" / f"{given.study}.json"
    atomic_write(path, json.dumps(beside, indent=1) + "\n")


if __name__ == "__main__":
    main()
