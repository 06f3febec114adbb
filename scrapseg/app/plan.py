"""What is done with a folder of one's own images, and how the minutes are shared: decided here.

Without labels the model that comes along is adapted to the images. With labels it is trained on
them, and where the normal class is steel on the images without labels beside them. A model of one's
own is trained where there are labels, else used as it is, and adapted only when asked to. What was
decided, and what that assumes, is said in sentences that notebook 07 and the report show.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from scrapseg.app.finetune import MOST_STEEL, ThresholdRule, TooFewLabels, at_recall, deal
from scrapseg.data.base import DataError
from scrapseg.data.classes import ScrapClass
from scrapseg.data.folder import OwnFolder
from scrapseg.models.segmenter import WHOLE_SIDE, Segmenter, SegmenterError

#: Minutes that neither learning nor looking at the images takes, without labels and with: start,
#: report, and what labels say.
REST = 0.6, 1.0
#: What `Novelty` adds to the time of looking at an image, as a share of it.
NOVEL = 0.5
#: Images that are looked at before learning as well, to be compared.
COMPARED = 12


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        adapt, train: minutes of adaptation or of training on labels; 0 leaves it out.
        steel: ids of images without labels that are taken to show mostly the normal class, and
            trained on beside the labelled ones.
        threshold_of: chooses the threshold on labelled images; None where nobody asked for another.
        compared: ids of the images to look at with the model as it was before, too.
        notes: what was decided, what that assumes and how long it takes, in sentences.
    """

    adapt: float
    train: float
    steel: list[str]
    threshold_of: ThresholdRule | None
    compared: list[str]
    notes: list[str]


def plan(
    folder: OwnFolder,
    start: Segmenter,
    *,
    own: bool = False,
    adapt: bool | None = None,
    minutes: float = 5.0,
    threshold: float | None = None,
    recall: float | None = None,
    made: str | Path | None = None,
) -> Plan:
    """Decide what is done with a folder.

    Args:
        start: the model that it begins with. own: it is the user's, not the one that comes along.
        adapt: whether to adapt it; by default where the class list says that steel is normal.
        minutes: for everything. Where looking at the images takes more than half of them, learning
            keeps the other half and all takes longer.
        threshold: set by hand. recall: share of labelled objects that is to be found.
        made: folder that an interrupted run may have made, which is gone on with.

    Raises:
        DataError, SegmenterError: the options do not go together.
    """
    if own:
        check_fit(start.classes, folder.classes)
    trains, notes = True, [f"{len(folder.labelled)} labelled images, to learn from if it helps."]
    try:
        deal(folder.images(list(folder.labelled), limit_side=start.side), folds=2)
    except TooFewLabels as error:
        why = error if folder.labelled else "No labels"
        trains, notes = False, [f"{why}: nothing is learned from labels, and nothing is measured."]
    if recall is not None and threshold is not None:
        raise DataError(f"RECALL={recall:g} takes no THRESHOLD beside it; leave one out")
    if recall is not None and not trains:
        raise DataError(f"RECALL={recall:g} takes labels. {notes[0]}")

    normal = folder.classes[0]
    said = " ".join([normal.name, *normal.words]).casefold()
    steel = re.search(r"\b(steel|iron|ferrous)\b", said)
    adapts = adapt if adapt is not None else bool(steel) and (trains or not own)
    because = f"the normal class, {normal.name}, is not steel"
    because = "the model is one of your own" if own and not trains else because
    because = "ADAPT=no" if adapt is False else f"{because}; ADAPT=yes does it all the same"
    ids = list(folder.files)
    # Larger images are looked at in tiles, at another scale than these would be learned from.
    alike = trains and adapts and start.side <= WHOLE_SIDE
    bare = [i for i in ids if i not in folder.labelled] if alike else []
    assumed = f"to show mostly {normal.name}, and what else is in view (ground, walls, sky) to be "
    assumed += "no impurity; if that is wrong, ADAPT=no."
    if bare:
        notes.append(
            f"Images without labels, up to {min(len(bare), MOST_STEEL)} of {len(bare)}, are taken "
            f"{assumed} Pieces of the labelled ones are laid on them. What impurities they show "
            "may be overlooked: the miss rate is of labelled images."
        )
    elif adapts and not trains:
        more = "What is unlike everything else in them is suspicious, whatever it is."
        notes.append(f"Adaptation takes these {len(ids)} images {assumed} {more}")
    elif not adapts:
        notes.append(f"No adaptation to the images: {because}.")
    if not (adapts or trains or own):
        notes.append(
            "The model has seen rendered scrap alone: on photographs most of what it marks is "
            "nothing. Adapt it, or label a few images, before you believe it."
        )

    rule, said = None, f"the model's own, {start.threshold:.3f}"
    if (kept := start.threshold_with(folder.classes)) != start.threshold:
        said = f"{kept:g}, since the model's own, {start.threshold:.3f}, is of other classes"
    if adapts or trains:
        said = f"to be chosen on {'the labelled images' if trains else 'these images'}"
    if bare:
        said += ", and raised until those without are quiet, half of the labelled objects found"
    if threshold is not None:
        rule, said = (lambda _, __: threshold), f"{threshold:g}, set by hand"
    elif recall is not None:
        rule = partial(at_recall, recall=recall)
        said = f"finds {100 * recall:g} % of labelled objects"
    notes.append(f"Threshold: {said}.")

    learns = adapts or trains
    compared = ids[:: -(-len(ids) // COMPARED)] if learns else []
    learned = made is not None and (Path(made) / "model/model.yaml").is_file()
    left = [i for i in ids if not (learned and (Path(made) / f"records/{i}.json").is_file())]
    each = 1.5 * seconds(start, folder) / 60  # what was found is written down as well
    # What was trained looks at the mirror image, too; what is novel takes half as long again.
    novel = NOVEL * (adapts and not trains)
    looking = each * ((1 + trains + novel) * len({*left, *compared}) + len(compared)) + REST[trains]
    learning = max(minutes - looking, minutes / 2) if learns else 0.0
    parts = {"labels" if trains else "adaptation": learning, "all images": looking}
    if learned:
        done = "learning is done already, " if learns else ""
        notes.append(f"An interrupted run goes on: {done}{len(left)} of {len(ids)} images left.")
        parts = {"images": looking}
    shares = ", ".join(f"{name} {value:.1f}" for name, value in parts.items() if value)
    notes.append(f"About {sum(parts.values()):.1f} minutes: {shares}.")
    return Plan(learning * (not trains), learning * trains, bare, rule, compared, notes)


def seconds(start: Segmenter, folder: OwnFolder) -> float:
    """How long a model looks at an image: the median of three, since one may be held up, but no
    more of them than ten seconds allow."""
    ids, clock = list(folder.files), [time.perf_counter()]
    for k in range(4):
        if k < 2 or clock[-1] - clock[0] < 10:
            start.predict(folder.photo(ids[k * len(ids) // 4]))
            clock.append(time.perf_counter())
    return float(np.median(np.diff(clock[1:])))  # the first of all takes longer


def check_fit(known: Sequence[ScrapClass], wanted: Sequence[ScrapClass]) -> None:
    """Whether a model of one's own can go on with a class list: the model's, or more at its end.

    Raises:
        SegmenterError: it cannot.
    """
    old, new = ([c.slug for c in classes] for classes in (known, wanted))
    if new[: len(old)] != old:
        raise SegmenterError(
            f"the model knows {', '.join(old)}, the class list names {', '.join(new)}; begin it "
            "with the model's classes in their order, or leave MODEL out"
        )
