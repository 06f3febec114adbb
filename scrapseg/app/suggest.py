"""Which images to label next: those the model is unsure of, and unlike one another.

Greedy: each pick has the largest product of uncertainty and distance to what is labelled or
picked already. The distance is in the model's joint space, so that two views of one heap count as
one. It is the core-set idea (Sener and Savarese, arXiv:1708.00489) weighted by uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def label_next(
    embeddings: np.ndarray, uncertainty: np.ndarray, labelled: Sequence[int], n: int
) -> list[int]:
    """Indices of the next `n` images to label, the most useful first.

    Args:
        embeddings: (N, D) of unit length. uncertainty: (N,), at least 0.
        labelled: indices that have labels.
    """
    embeddings, taken = np.asarray(embeddings, float), list(labelled)
    picked: list[int] = []
    # Without any labels all are equally far from them.
    nearest = (1 - embeddings @ embeddings[taken].T).min(1, initial=1.0)
    for _ in range(min(n, len(embeddings) - len(set(taken)))):
        worth = (np.asarray(uncertainty, float) + 1e-9) * (np.maximum(nearest, 0) + 1e-9)
        worth[taken] = -1
        best = int(np.argmax(worth))
        taken.append(best)
        picked.append(best)
        nearest = np.minimum(nearest, 1 - embeddings @ embeddings[best])
    return picked
