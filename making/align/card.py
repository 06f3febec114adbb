"""The numbers of the model card, written between its marks from the record of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from making.align import AlignError
from scrapseg.data.classes import IMPURITIES
from scrapseg.files import atomic_write

MARKS = ("<!-- generated: start -->", "<!-- generated: end -->")


def card_tables(record: dict[str, Any]) -> str:
    """The numbers of a model card as Markdown, from the content of ``alignment.json``."""
    weights, studio, config = record["weights"], record["studio"], record["config"]
    found, made = record["retrieval"], record["provenance"]
    looks = [row for row in record["history"] if "heldout" in row]
    best = min(looks, key=lambda row: row["heldout"])
    lines = [
        "| | |",
        "|---|---|",
        f"| file | `{weights['file']}`, {weights['bytes'] / 1e6:.1f} MB, half precision |",
        f"| sha256 | `{weights['sha256']}` |",
        f"| parameters | {weights['parameters'] / 1e6:.2f} M |",
        f"| steps | {config['steps']} of {config['batch_size']} images at "
        f"{config['collage']['size']} px; kept: step {best['step']} |",
        f"| learning rate | {config['lr']:g} (head), {config['encoder_lr']:g} (tower) |",
        f"| held-out loss | {best['heldout']:.3f} |",
        f"| made | {made['date'][:10]}, {made['wall_s'] / 60:.0f} min on {made['device']}, "
        f"commit {made['commit'][:7]}, torch {made['packages']['torch']} |",
        "",
        "| studio set | train | held out |",
        "|---|---:|---:|",
    ]
    for name, count in studio["train"].items():
        lines.append(f"| {name} | {count} | {studio['heldout'][name]} |")
    lines += [
        "",
        f"| retrieval among {found['images']} held-out studio images | R@1 | R@5 |",
        "|---|---:|---:|",
    ]
    for way in ("text_to_image", "image_to_text"):
        pair = " | ".join(f"{100 * found[f'r{k}_{way}']:.1f} %" for k in (1, 5))
        lines.append(f"| {way.replace('_', ' ')} | {pair} |")
    chance = " | ".join(f"{100 * found[f'chance_r{k}']:.1f} %" for k in (1, 5))
    lines.append(f"| chance | {chance} |")
    if "zero_shot_val" in record:
        scores = record["zero_shot_val"]
        lines += [
            "",
            "| zero-shot pixel AP on ScrapSim val | share of pixels | unaligned | aligned |",
            "|---|---:|---:|---:|",
        ]
        for title, key, prior in [("any impurity", "ap", "prior")] + [
            (c.name, f"ap/{c.slug}", f"prior/{c.slug}") for c in IMPURITIES
        ]:
            values = [scores["aligned"][prior], scores["unaligned"][key], scores["aligned"][key]]
            cells = " | ".join(f"{100 * v:.2f} %" for v in values)
            lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def refresh_card(out: str | Path) -> None:
    """Write the numbers of ``alignment.json`` between the marks of ``README.md``, both in `out`.

    Raises:
        AlignError: a file is missing, or the card has no marks.
    """
    card, record = Path(out) / "README.md", Path(out) / "alignment.json"
    try:
        text, numbers = card.read_text(), json.loads(record.read_text())
        head, rest = text.split(MARKS[0])
        tail = rest.split(MARKS[1])[1]
    except (OSError, ValueError, IndexError) as error:
        raise AlignError(f"{card}: cannot refresh the card from {record.name} ({error})") from None
    atomic_write(card, f"{head}{MARKS[0]}\n{card_tables(numbers)}\n{MARKS[1]}{tail}")
