"""The report: one HTML page beside the files it shows, to open in any browser, offline too."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import jinja2
import pandas as pd

from scrapseg import __version__
from scrapseg.data.classes import ScrapClass
from scrapseg.files import atomic_write

TEMPLATE = Path(__file__).with_name("report.html")
#: Images on the page; a browser takes long over thousands.
SHOWN = 500


def write_report(
    folder: Path,
    title: str,
    images: pd.DataFrame,
    classes: Sequence[ScrapClass],
    *,
    origin: str,
    threshold: float,
    notes: Sequence[str] = (),
    credit: str = "",
    changed: Mapping[str, Mapping[str, int]] | None = None,
    to_label: Sequence[str] = (),
    summary: dict[str, float] | None = None,
    curve: bytes | None = None,
) -> Path:
    """Write `report.html` into the folder that an `outputs.Writer` filled.

    Args:
        images: what `Writer.finish` gave, with a column `stem`: the image's id.
        origin, threshold: of the model.
        notes: of `plan.Plan`. credit: of whoever took the photographs, put beside each.
        changed: ids of images to show before and after learning, of which there are thumbnails in
            `before/`, with what stood before in their columns <slug>_objects.
        to_label: ids of the images to label next, the most useful first.
        summary: of `tune.Tuned`. curve: its training curves as PNG.
    """
    images = images.sort_values("score", ascending=False, kind="stable")
    rows = sorted(images.to_dict("records"), key=lambda row: not row["objects"])
    by_stem = {row["stem"]: row for row in rows}
    pixels = (images["width"] * images["height"]).sum()
    table = []
    for c in classes[1:]:
        found, share = images[f"{c.slug}_objects"], images[f"{c.slug}_pixels"].sum() / pixels
        row = {"slug": c.slug, "name": c.name, "colour": c.colour, "share": share}
        table.append(row | {"objects": found.sum(), "images": (found > 0).sum()})
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    said = {"title": title, "date": date.today().isoformat(), "version": __version__}
    said |= {"origin": origin, "threshold": threshold, "notes": notes, "credit": credit}
    said |= {"changed": [(by_stem[stem], before) for stem, before in (changed or {}).items()]}
    said |= {"images": rows, "classes": table}
    said |= {"to_label": [by_stem[stem] for stem in to_label], "shown": SHOWN, "summary": summary}
    said["curve"] = base64.b64encode(curve).decode() if curve else None
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(said)
    return atomic_write(folder / "report.html", page)
