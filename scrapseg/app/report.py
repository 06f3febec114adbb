"""The report: one HTML page beside the files it shows, to open in any browser, offline too."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import jinja2
import pandas as pd

from scrapseg import __version__
from scrapseg.data.classes import ScrapClass
from scrapseg.files import atomic_write

TEMPLATE = Path(__file__).with_name("report.html")


def write_report(
    folder: Path,
    title: str,
    images: pd.DataFrame,
    classes: Sequence[ScrapClass],
    *,
    origin: str,
    threshold: float,
    to_label: Sequence[str] = (),
    summary: dict[str, float] | None = None,
    curve: bytes | None = None,
) -> Path:
    """Write `report.html` into the folder that an `outputs.Writer` filled.

    Args:
        images: what `Writer.finish` gave, with a column `stem`: the image's id.
        origin, threshold: of the model.
        to_label: ids of the images to label next, the most useful first.
        summary: of `tune.Tuned`. curve: its training curves as PNG.
    """
    hexes = {c.index: "#{:02x}{:02x}{:02x}".format(*c.colour) for c in classes}
    rows = []
    for row in images.sort_values("score", ascending=False, kind="stable").to_dict("records"):
        found = [
            {"name": c.name, "colour": hexes[c.index], "n": row[f"{c.slug}_objects"]}
            for c in classes[1:]
            if row[f"{c.slug}_objects"]
        ]
        rows.append(row | {"classes": found})
    by_stem = {row["stem"]: row for row in rows}
    pixels = float((images["width"] * images["height"]).sum())
    table = [
        {
            "name": c.name,
            "colour": hexes[c.index],
            "objects": int(images[f"{c.slug}_objects"].sum()),
            "images": int((images[f"{c.slug}_objects"] > 0).sum()),
            "share": float(images[f"{c.slug}_pixels"].sum()) / pixels,
        }
        for c in classes[1:]
    ]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        date=date.today().isoformat(),
        version=__version__,
        origin=origin,
        threshold=threshold,
        images=rows,
        with_finds=int((images["objects"] > 0).sum()),
        objects=int(images["objects"].sum()),
        share=sum(row["share"] for row in table),
        classes=table,
        to_label=[by_stem[stem] for stem in to_label],
        summary=summary,
        curve=base64.b64encode(curve).decode() if curve else None,
    )
    return atomic_write(folder / "report.html", page)
