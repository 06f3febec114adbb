"""The one style of paper, notebooks and app, and the ways to lay labels and scores over images.

The style itself is matplotlib's sheet `scrapseg.mplstyle`. Nothing here saves or shows a file;
`records.save_figure` writes a figure beside the names of its runs. Two widths: `COLUMN` (one column
of the paper) and `FULL` (both), in inches, with 7-9 pt type that stays readable at that size.
Methods carry the Okabe-Ito colours, which colour-blind readers can tell apart, and a marker each;
classes those of their `ScrapClass`.

A figure function is decorated with `styled` and begins with `figure(width, height)`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import Name, PdfFile, PdfPages
from matplotlib.figure import Figure as _Figure
from matplotlib.patches import Patch
from PIL import Image
from scipy import ndimage

from scrapseg.data.classes import CLASSES, ScrapClass
from scrapseg.experiments.methods import METHODS

COLUMN = 3.28
FULL = 6.85

SHEET = Path(__file__).with_name("scrapseg.mplstyle")
STYLE = dict(matplotlib.rc_params_from_file(SHEET, use_default_template=False))
#: Decorator: runs a function under `STYLE` and leaves the reader's own settings as they were.
styled = matplotlib.rc_context(STYLE)

# What remains of Okabe-Ito, for methods a user adds.
SPARE_COLOURS = ("#000000", "#F0E442", "#999999")


class _Pdf(PdfFile):
    """A PDF whose photographs are JPEG, a fifth as large, which nobody sees at print size."""

    def _writeImg(self, data, id, smask=None) -> None:
        if data.shape[-1] != 3 or smask or Image.fromarray(data).getcolors(64):
            super()._writeImg(data, id, smask)
            return
        buffer = io.BytesIO()
        Image.fromarray(data).save(buffer, "jpeg", quality=85, subsampling=0)
        entry = {"Type": Name("XObject"), "Subtype": Name("Image"), "BitsPerComponent": 8}
        entry |= {"Height": data.shape[0], "Width": data.shape[1]}
        entry |= {"ColorSpace": Name("DeviceRGB"), "Filter": Name("DCTDecode")}
        with matplotlib.rc_context({"pdf.compression": 0}):  # it is compressed
            self.beginStream(id, self.reserveObject("length of image stream"), entry)
            self.currentstream.write(buffer.getvalue())
            self.endStream()


class _Pages(PdfPages):
    def _ensure_file(self) -> PdfFile:
        if self._file is None:
            self._file = _Pdf(self._filename, metadata=self._metadata)
        return self._file


class Figure(_Figure):
    """A matplotlib figure that keeps our style when it is drawn or saved, and that a notebook shows
    once, as the value of its cell, without pyplot's hidden list of open figures."""

    @styled
    def draw(self, renderer) -> None:
        """Draw under `STYLE`: matplotlib makes tick labels only now."""
        super().draw(renderer)

    @styled
    def savefig(self, target, *, format: str | None = None, metadata=None, **kwargs) -> None:
        """Save under `STYLE`, see `matplotlib.figure.Figure.savefig`; PDF photographs as JPEG."""
        if format != "pdf":
            super().savefig(target, format=format, metadata=metadata, **kwargs)
            return
        with _Pages(target, metadata=metadata) as pages:
            super().savefig(pages, format="pdf", **kwargs)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=130)
        return buffer.getvalue()


def figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained")


def method_style(slug: str) -> dict:
    """Label, colour and marker of a method as keyword arguments of `Axes.plot`."""
    spare = SPARE_COLOURS[sum(map(ord, slug)) % len(SPARE_COLOURS)]
    of = METHODS.get(slug)
    return {
        "label": of.label if of else slug,
        "color": of.colour if of and of.colour else spare,
        "marker": of.marker if of and of.marker else "X",
    }


def class_colours(classes: Sequence[ScrapClass] = CLASSES) -> np.ndarray:
    """Colours of the classes, float (classes, 3) in 0..1, row = label value."""
    return np.array([c.colour for c in classes], dtype=float) / 255


def class_handles(
    labels: Iterable[int], with_steel: bool = False, classes: Sequence[ScrapClass] = CLASSES
) -> list[Patch]:
    """Legend entries of the classes among `labels` (label values), steel if asked for."""
    colours = class_colours(classes)
    wanted = sorted({int(v) for v in labels} - (set() if with_steel else {0}))
    return [
        Patch(facecolor=colours[v], edgecolor="0.3", linewidth=0.4, label=classes[v].name)
        for v in wanted
    ]


def bare(axes: Axes) -> None:
    """An axes that holds a picture: no ticks, no frame."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


# ---------------------------------------------------------------------------- images and labels


def overlay(
    image: np.ndarray,
    label: np.ndarray,
    alpha: float = 0.45,
    colours: np.ndarray | None = None,
    rim: int = 1,
) -> np.ndarray:
    """Lay the class colours of a label map over an image.

    Impurities are tinted and get an opaque rim, so that small pieces stay visible; steel (label 0)
    is left as it is.

    Args:
        image: uint8 (H, W, 3).
        label: integers (H, W), 0 .. classes-1.
        alpha: opacity of the tint, 0..1.
        colours: of the classes, (classes, 3) in 0..1; by default the benchmark's.
        rim: width of the rim in pixels.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: image and label differ in size, or a label value has no class.
    """
    image, label = np.asarray(image), np.asarray(label)
    if image.shape[:2] != label.shape:
        raise ValueError(f"image is {image.shape[:2]} but label is {label.shape}")
    colours = class_colours() if colours is None else np.asarray(colours)
    if label.size and (label.min() < 0 or label.max() >= len(colours)):
        raise ValueError(
            f"label values must lie in 0..{len(colours) - 1}, found {label.min()}..{label.max()}"
        )
    label = label.astype(int)
    colour = colours[label] * 255
    padded = np.pad(label, 1, mode="edge")
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edge = np.any([n != label for n in neighbours], axis=0)
    if rim > 1:
        edge = ndimage.binary_dilation(edge, iterations=rim - 1)
    weight = np.where(edge & (label > 0), 1.0, np.where(label > 0, alpha, 0.0))[..., None]
    return np.clip(image * (1 - weight) + colour * weight + 0.5, 0, 255).astype(np.uint8)


def faded(image: np.ndarray) -> np.ndarray:
    """An image as light grey, uint8 (H, W, 3): scrap is colourful, and so are the classes."""
    luma = np.asarray(image) @ np.array([0.299, 0.587, 0.114])
    return np.repeat((255 - 0.65 * (255 - luma) + 0.5).astype(np.uint8)[..., None], 3, axis=2)


def heat(scores: np.ndarray) -> np.ndarray:
    """Scores (H, W) in 0..1 as magma colours, uint8 (H, W, 3); NaN becomes the lowest colour."""
    scores = np.clip(np.nan_to_num(np.asarray(scores, float)), 0, 1)
    return (matplotlib.colormaps["magma"](scores)[..., :3] * 255 + 0.5).astype(np.uint8)


def legend_below(fig: Figure, handles: list, cols: int | None = None) -> None:
    """A legend of `handles` under the whole figure, if there are any, in `cols` columns."""
    if handles:
        wide = fig.get_figwidth() > 5
        if cols is None:
            long = max(len(handle.get_label()) for handle in handles) > 16
            cols = min(len(handles), 4 if not wide or long else 8)
        spacing = {"columnspacing": 1.0, "handletextpad": 0.4}
        fig.legend(handles=handles, loc="outside lower center", ncols=cols, **spacing)


@styled
def panel(
    images: Sequence[np.ndarray],
    rows: Mapping[str, Sequence[np.ndarray]],
    titles: Sequence[str] | None = None,
    classes: Sequence[ScrapClass] = CLASSES,
) -> Figure:
    """The qualitative panel: one column per image, the images on top, one row per entry of `rows`.

    Args:
        images: uint8 (H, W, 3) each.
        rows: name -> one array per image. Integer (H, W) arrays are label maps, drawn in
            class colours over the faded image; floating (H, W) arrays are anomaly scores in 0..1,
            drawn as a heat map; (H, W, 3) arrays are drawn as they are.
        titles: over the columns, optional.
        classes: of the label maps.

    Raises:
        ValueError: a row has another number of arrays than there are images.
    """
    everything = {"image": list(images), **{name: list(arrays) for name, arrays in rows.items()}}
    for name, arrays in everything.items():
        if len(arrays) != len(images):
            raise ValueError(f"row {name!r} has {len(arrays)} arrays for {len(images)} images")
    present, scored = set(), False
    height, width = images[0].shape[:2]
    cell = (FULL - 0.35) / len(images)
    count = len(everything)
    fig = figure(FULL, count * cell * height / width + 0.4)
    fig.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    grid = fig.subplots(count, len(images), squeeze=False)
    for axes_row, (name, arrays) in zip(grid, everything.items(), strict=True):
        axes_row[0].set_ylabel(name, size=14)  # 7 pt where the paper gives it one column
        for axes, image, array in zip(axes_row, images, arrays, strict=True):
            array = np.asarray(array)
            bare(axes)
            if array.ndim == 3:
                axes.imshow(array)
            elif np.issubdtype(array.dtype, np.floating):
                scored = True
                axes.imshow(heat(array))
            else:
                present |= set(np.unique(array).tolist())
                axes.imshow(overlay(faded(image), array, 0.75, class_colours(classes)))
    for axes, title in zip(grid[0], titles or ()):
        axes.set_title(title)
    handles = class_handles(present, classes=classes)
    if scored:
        magma = matplotlib.colormaps["magma"]
        handles += [
            Patch(facecolor=magma(0.0), label="score 0"),
            Patch(facecolor=magma(0.99), edgecolor="0.3", linewidth=0.4, label="score 1"),
        ]
    legend_below(fig, handles, cols=min(len(handles), 6) if len(handles) > 8 else None)
    return fig


@styled
def strip(image: np.ndarray, labels: Mapping[str, np.ndarray]) -> Figure:
    """An image and label maps over it side by side, with names: a picture to look at first.

    Args:
        image: uint8 (H, W, 3).
        labels: name -> integers (H, W).
    """
    tinted = [overlay(faded(image), label, 0.75) for label in labels.values()]
    fig = panel([image, *tinted], {}, titles=["image", *labels])
    fig.axes[0].set_ylabel("")
    legend_below(fig, class_handles(np.unique([*labels.values()])))
    return fig


def as_jpeg(fig: _Figure, dpi: int = 100, quality: int = 82):
    """A figure full of photographs as a JPEG to show in a notebook, a fifth of the PNG's size.

    Returns:
        `IPython.display.Image`.
    """
    from IPython.display import Image as Shown  # a notebook has it; nothing else needs it

    buffer = io.BytesIO()
    fig.savefig(buffer, format="jpeg", dpi=dpi, pil_kwargs={"quality": quality, "optimize": True})
    return Shown(data=buffer.getvalue(), format="jpeg")
