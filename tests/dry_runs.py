"""What `make reproduce` would do after a change: dry runs in a copy of the project.

    python tests/dry_runs.py COPY changes.json

Snakemake is imported once, and a child process forked for each dry run: most of its time is saved.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

from snakemake.cli import main

OPTIONS = ["--cores", "2", "--nolock", "--rerun-incomplete", "--scheduler", "greedy"]
OPTIONS += ["--max-checksum-file-size", "100000000"]


def snakemake(*options: str, profile: str = "laptop", log: Path = Path("dry.log")) -> str:
    """What Snakemake prints, run in a child process."""
    child = os.fork()
    if not child:
        with log.open("w") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
            try:
                main([*OPTIONS, *options, "--config", f"profile={profile}", "--", "reproduce"])
            except SystemExit as end:
                os._exit(int(end.code or 0))
            finally:
                os._exit(1)
    _, status = os.waitpid(child, 0)
    text = log.read_text()
    if status:
        raise RuntimeError(text[-3000:])
    return text


def prepare(profile: str) -> None:
    """Make everything of a profile look finished: empty outputs, taken as they are."""
    for line in snakemake("--summary", profile=profile).splitlines():
        path = Path(line.split("\t")[0])
        if "\t" in line and path.parts[0] in ("results", "notebooks", "paper"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    snakemake("--touch", "--forceall", "--quiet", "all", profile=profile)


def jobs(profile: str) -> list[str]:
    """Jobs of a dry run: a rule's name, for a run that of its record."""
    text = snakemake("-n", "--quiet", "reason", "host", profile=profile)
    found = []
    for block in re.split(r"^\[", text, flags=re.M):
        rule = re.search(r"^(?:local)?rule (\S+):", block, re.M)
        if rule and rule[1] != "reproduce":
            name = re.search(r"wildcards: (?:name|stem)=(\S+)", block)
            found.append(f"{rule[1]} {name[1]}" if name else rule[1])
    return sorted(found)


def after(change: dict, copy: Path) -> list[str]:
    """Jobs after one change: `old` for `new` (or a line more) in the file `path`."""
    path = copy / change["path"]
    before = path.read_bytes()
    old, new = change.get("old", "").encode(), change.get("new", "").encode()
    assert old in before, f"{path} does not hold {old!r}"
    path.write_bytes(before.replace(old, new, 1) if old else before + b"\n# changed\n")
    try:
        if change.get("accept"):
            snakemake("--touch", "--quiet", "all")
        return jobs(change.get("profile", "laptop"))
    finally:
        path.write_bytes(before)


if __name__ == "__main__":
    copy, changes = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    os.chdir(copy)
    # The laptop's twice: what profile real makes is among what README and paper are made from.
    for profile in ("laptop", "real", "laptop"):
        prepare(profile)
    Path("jobs.json").write_text(json.dumps([after(change, copy) for change in changes]))
