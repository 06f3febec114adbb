"""Pictures of notebook 07: thumbnails in a grid, with their names and the classes' colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Patch
from PIL import Image

from scrapseg.data.classes import ScrapClass
from scrapseg.report.style import FULL, Figure, figure, legend_below, styled


@styled
def sheet(
    folder: Path, stems: Sequence[str], classes: Sequence[ScrapClass], cols: int = 4
) -> Figure:
    """Thumbnails that an `outputs.Writer` wrote, by image id, with a legend of the classes shown.

    Args:
        folder: of the outputs. stems: ids of the images. cols: pictures per row.
    """
    rows = max(1, math.ceil(len(stems) / cols))
    width = FULL / cols
    fig = figure(FULL, rows * (0.75 * width + 0.18) + 0.45)
    present: set[int] = set()
    for axes in (grid := fig.subplots(rows, cols, squeeze=False)).flat:
        axes.set_axis_off()
    for axes, stem in zip(grid.flat, stems, strict=False):
        axes.imshow(np.asarray(Image.open(folder / "thumbnails" / f"{stem}.jpg")))
        axes.set_title(stem if len(stem) < 24 else f"{stem[:10]}…{stem[-11:]}", pad=2)
        present |= set(
            np.unique(np.asarray(Image.open(folder / "labels" / f"{stem}.png"))).tolist()
        )
    handles = [
        Patch(facecolor=np.array(c.colour) / 255, edgecolor="0.3", linewidth=0.4, label=c.name)
        for c in classes[1:]
        if c.index in present
    ]
    legend_below(fig, handles)
    return fig
