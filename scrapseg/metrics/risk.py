"""Thresholds with a promise: at most a share alpha is missed, in expectation over new scenes.

Conformal risk control (Angelopoulos et al., arXiv:2208.02814). Each labelled scene has a loss in
[0, 1], the share of its objects (or of its copper) that a threshold misses, which can only grow
with the threshold. Where n calibration scenes and a new one are exchangeable, the highest threshold
at which (n * mean loss + 1) / (n + 1) <= alpha misses at most alpha of the new scene, on average
over draws of all n + 1. It says nothing of one calibration's luck, and nothing of other scenes.

The unit is the scene: views of one scene belong together. Scenes that hold none of what is looked
for have no loss and do not count.

Why not MAPIE (1.6 looked at): its controllers for risk control of this kind know one loss, the
unweighted recall over the labels of a sample. Objects could be put so, but not copper, where a
coil's pixel counts for more than a motor's; and where no threshold keeps the promise they warn and
return the end of the grid, where we must refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.special import expit

from scrapseg.data.base import Sample
from scrapseg.data.classes import SLUGS
from scrapseg.metrics.mass import CONTENT
from scrapseg.metrics.objects import object_score

#: Thresholds that are tried, fixed beforehand and evenly spaced in the log-odds; at 0 all is found.
THRESHOLDS = np.concatenate([[0.0], expit(np.arange(-12, 12.1, 0.2))])
#: Shares for which `promise` tabulates thresholds.
ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
#: Those of which a report tells.
SAID = (0.05, 0.1, 0.2)


def scene_losses(
    scene: ArrayLike, score: ArrayLike, weight: ArrayLike = 1.0
) -> tuple[NDArray, NDArray[np.float64]]:
    """Share of each scene's pieces (objects, pixels) that each of `THRESHOLDS` misses.

    Args:
        scene: of each piece, (P,). score: the highest threshold at which it is found, (P,).
        weight: of each piece, (P,) or one for all, above 0.

    Returns:
        The scenes that hold a piece, ascending (S,), and their losses in [0, 1], (S, T), which
        do not fall along the thresholds.
    """
    scenes, row = np.unique(np.asarray(scene), return_inverse=True)
    reached = np.searchsorted(THRESHOLDS, np.asarray(score), side="right")
    table = np.zeros((len(scenes), len(THRESHOLDS) + 1))
    np.add.at(table, (row, reached), weight)
    # A piece that reaches k thresholds is missed at all that follow; the last sum is the whole.
    missed = table.cumsum(1)
    return scenes, missed[:, :-1] / missed[:, -1:]


def controlled_threshold(losses: NDArray, alpha: float) -> float | None:
    """The highest of `THRESHOLDS` whose expected loss is at most `alpha`; None with too few scenes.

    Args:
        losses: (S, T), as from `scene_losses`.

    Raises:
        ValueError: alpha is not between 0 and 1.
    """
    if len(losses) < scenes_needed(alpha):
        return None
    kept = (losses.sum(0) + 1) / (len(losses) + 1) <= alpha
    return float(THRESHOLDS[kept][-1]) if kept.any() else None


def scenes_needed(alpha: float) -> int:
    """The fewest calibration scenes with which `alpha` can be promised at all: 1/(n+1) <= alpha.

    Raises:
        ValueError: alpha is not between 0 and 1.
    """
    if not isinstance(alpha, Real) or not 0 < alpha < 1:
        raise ValueError(f"a share that may be missed lies between 0 and 1, not {alpha!r}")
    return max(1, int(np.ceil(1 / alpha - 1 - 1e-9)))


def object_pieces(sample: Sample, score: NDArray) -> tuple[NDArray, NDArray]:
    """Scores and weights (1) of an image's objects; *found* as in `metrics.objects`."""
    boxes = enumerate(ndimage.find_objects(sample.instances), start=1)
    reached = [
        object_score(score[box][sample.instances[box] == k])
        for k, box in boxes
        if box is not None  # numbers may be missing
    ]
    return np.array(reached), np.ones(len(reached))


def copper_pieces(sample: Sample, score: NDArray) -> tuple[NDArray, NDArray]:
    """Scores and weights of the pixels that hold copper: `mass.CONTENT`, the share of their class.

    Classes are the benchmark's.
    """
    share = np.array([CONTENT["copper"].get(slug, 0.0) for slug in SLUGS])[sample.label]
    return score[share > 0], share[share > 0]


PIECES = {"objects": object_pieces, "copper": copper_pieces}
"""What can be promised: how an image's pieces are scored and weighed."""


def all_losses(scored: Iterable[tuple[Sample, NDArray]]) -> dict[str, tuple[NDArray, NDArray]]:
    """`scene_losses` of each of `PIECES`, from labelled images and their score maps (H, W)."""
    parts = {of: [] for of in PIECES}
    for sample, score in scored:
        for of, pieces in PIECES.items():
            reached, weight = pieces(sample, score)
            parts[of].append((np.full(len(reached), sample.scene), reached, weight))
    return {
        of: scene_losses(*map(np.concatenate, zip(*some, strict=True)))
        for of, some in parts.items()
    }


def promise(losses: NDArray, on: str) -> dict[str, Any]:
    """What a model carries of a calibration: on what it was made, on how many scenes, and the
    threshold of each of `ALPHAS` that it can keep.

    An alpha that only a threshold of 0 keeps, which flags every pixel, is left out.
    """
    kept = {a: controlled_threshold(losses, a) for a in ALPHAS}
    return {"on": on, "scenes": len(losses), "thresholds": {a: t for a, t in kept.items() if t}}


def in_words(made: dict[str, Any] | None) -> str:
    """What a `promise` about objects, whose scenes are single images, says to who labelled them;
    without one, what it takes."""
    if made is None:
        needed = ", ".join(f"{scenes_needed(a)} for {100 * a:g} %" for a in SAID)
        return f"What is missed at most can be promised from labelled images: it takes {needed}."
    kept, n = made["thresholds"], made["scenes"]
    given = [f"{100 * a:g} % from a score of {kept[a]:.2g} on" for a in SAID if a in kept]
    vain = [f"{100 * a:g} %" for a in SAID if scenes_needed(a) <= n and a not in kept]
    more = [f"{scenes_needed(a)} for {100 * a:g} %" for a in SAID if scenes_needed(a) > n]
    text = "Objects missed on average, promised of the folds' models, where the one that is kept "
    text += f"may miss more, from {n} labelled images that hold any: "
    text += f"at most {', '.join(given)} (`max_miss` of `predict`)" if given else "no share"
    text += f"; short of flagging every pixel not {', '.join(vain)}" if vain else ""
    return text + (f"; it takes {', '.join(more)}." if more else ".")
