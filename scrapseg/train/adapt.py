"""Adaptation without labels: from renders to the photographs of one plant.

What is assumed: the photographs show mostly steel, and what else is in view (walls, ground, sky) is
no impurity either. Then they are labelled images of "no impurity", and impurities that they do not
show can be laid on them: pieces cut out of rendered scenes. Half of the training crops are such
photographs, half are rendered scenes, so that what was learned there is kept.

Three things keep the model from learning what it should not:
- *A cut edge is not the mark of an impurity.* A share of the pieces is out of other photographs,
  cut along the outlines of rendered ones; and each piece is blended in a way of its own (Dwibedi
  et al., arXiv:1708.01642).
- *What may be an impurity is not called steel.* Where the model is sure of one beforehand,
  the photograph has no label.
- *Rendered is not the mark, either.* The whole crop, pieces and all, is blurred, made noisy and
  compressed as cameras do. A piece keeps its own brightness: black rubber lies black on bright
  steel.

What was pasted is known to be found; what was not, may be overlooked. So what looks like nothing in
the photographs counts besides, see `scrapseg.models.novelty`.

What the settings are worth, one by one, is measured by `making.studies adaptation`.
"""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F2
from tqdm import tqdm

from scrapseg.data.base import LabelledImages, SegDataset, shrunk
from scrapseg.data.classes import CLASSES
from scrapseg.data.folder import read_photo
from scrapseg.data.pieces import load_pieces
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.data.shots import balanced_weights
from scrapseg.files import atomic_write
from scrapseg.metrics import best_threshold
from scrapseg.models import novelty
from scrapseg.models.predict import to_float
from scrapseg.models.segmenter import Segmenter
from scrapseg.train.augment import ImpurityCrop, RandomQuarterTurn, train_transform
from scrapseg.train.budget import seconds_a_step
from scrapseg.train.loop import TrainConfig, fit
from scrapseg.train.losses import IGNORED
from scrapseg.train.paste import Cutout, PasteCutouts, cutouts

#: At most so many photographs are learned from; of more, this many are drawn.
MOST_PHOTOS = 200
#: A rendered piece is magnified at most so much: beyond it, its blur would be its mark.
MOST_MAGNIFIED = 2.5
#: Photographs on which the threshold is chosen, and rendered pieces laid on each.
THRESHOLD_PHOTOS = 40
#: The photographs may show so many objects each, on average, before the threshold is raised; but
#: not so far that less than this share of pasted pieces' pixels is found: what they still show is
#: there. (A half let a model of 200 steps show four times as many on photographs of val's steel.)
OBJECTS_A_PHOTO, LEAST_FOUND = 0.5, 0.25
#: Thresholds that are tried, evenly spaced in the log-odds of the score: .047 to .982.
THRESHOLDS = expit(np.arange(-3, 4.01, 0.5))
#: Steps, at least and at most, whatever time there is: fewer teach nothing, more were not tried.
STEPS = 60, 2400


@dataclass(frozen=True)
class AdaptConfig(TrainConfig):
    """What adaptation is made of; `TrainConfig` has the rest.

    Attributes:
        photos: share of the training crops that are photographs, 0..1.
        distractors: share of the pasted pieces that are cut out of photographs, 0..1.
        surer: pixels whose score is above this before adaptation have no label; 1 ignores none.
        sides: bounds of a piece's longer side in pixels of the crop.
        camera: probability of each of blur, noise and compression on a photograph's crop.
        colour: how far brightness, contrast and saturation of a photograph's crop may change.
    """

    steps: int = 300
    lr: float = 2e-3
    encoder_lr: float = 3e-4
    evals: int = 1
    paste: int = 6
    photos: float = 0.5
    distractors: float = 0.25
    surer: float = 0.9
    sides: tuple[float, float] = (24, 320)
    camera: float = 0.3
    colour: float = 0.6


#: What was otherwise at first, when runs on photographs and of bad pictures were made.
FIRST = {"encoder_lr": 1e-3, "sides": (24, 200), "colour": 0.3}


class PasteOntoPhotos(PasteCutouts):
    """Paste rendered impurities, and as distractors pieces of photographs with like outlines.

    Args:
        pieces: rendered, from `paste.cutouts`; those of steel are left out.
        photos: uint8 (3, H, W) each, what distractors are cut out of.
    """

    def __init__(self, pieces: Sequence[Cutout], photos: Sequence[Tensor], config: AdaptConfig):
        self.outlines = [p for p in pieces if p.label]
        super().__init__(self.outlines, config.paste, steel=0.0)
        self.photos, self.config = photos, config

    def _magnification(self, piece: Cutout) -> float:
        """To a longer side that is log-uniform, but no more than a rendered piece can bear."""
        low, high = (math.log(s) for s in self.config.sides)
        side = math.exp(low + (high - low) * float(torch.rand(())))
        return min(side / max(piece.outline.shape), MOST_MAGNIFIED)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the pieces; some become distractors. Each is blended in its own way."""
        params = super().make_params(flat_inputs)
        placed = []
        for pixels, alpha, label, top, left in params["placed"]:
            if float(torch.rand(())) < self.config.distractors:
                pixels, alpha, top, left = self._distractor(flat_inputs[0].shape[-2:])
                label = 0
            placed.append((pixels, _blended(alpha), label, top, left))
        return {"placed": placed}

    def _part(self, size: Sequence[int]) -> Tensor:
        """A part (3, h, w) of a photograph, of this size or what there is of it."""
        photo = self.photos[int(torch.randint(len(self.photos), ()))]
        whole = photo.shape[1:]
        h, w = (min(n, m) for n, m in zip(size, whole, strict=True))
        y, x = (int(torch.randint(m - n + 1, ())) for n, m in zip((h, w), whole, strict=True))
        return photo[:, y : y + h, x : x + w]

    def _distractor(self, size: Sequence[int]) -> tuple[Tensor, Tensor, int, int]:
        outline = self.outlines[int(torch.randint(len(self.outlines), ()))]
        _, alpha = self._varied(outline)
        part = self._part(alpha.shape)
        alpha = alpha[: part.shape[1], : part.shape[2]]
        h, w = alpha.shape
        top = int(torch.randint(-h // 2, size[0] - h // 2, ()))
        left = int(torch.randint(-w // 2, size[1] - w // 2, ()))
        gain = 0.8 + 0.4 * torch.rand(())
        return (part * gain).clamp(0, 255), alpha, top, left


def _blended(alpha: Tensor) -> Tensor:
    """An outline (h, w) blended hard, softly, or softly inwards: one of three, drawn."""
    kind = int(torch.randint(3, ()))
    if kind == 0:
        return (alpha > 0.5).float()
    sigma = 0.5 + 1.5 * float(torch.rand(()))
    around = F2.pad(alpha[None, None], [3])  # nothing, where a piece is cut off
    soft = F2.gaussian_blur(around, [7, 7], [sigma, sigma])[0, 0, 3:-3, 3:-3]
    return soft if kind == 1 else (2 * soft - 1).clamp_min(0) * 0.999 + 0.001 * (alpha > 0.5)


class Photos(Dataset[tuple[Tensor, Tensor]]):
    """Photographs as labelled images.

    Args:
        images: uint8 (3, H, W). labels: uint8 (H, W) each, see `photo_labels`.
        transform: see `SegDataset`.
    """

    def __init__(self, images: Sequence[Tensor], labels: Sequence[Tensor], transform: Any) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = tv_tensors.Image(self.images[index].clone())
        return self.transform(image, tv_tensors.Mask(self.labels[index].clone()))


def photo_transform(
    mean: Sequence[float],
    std: Sequence[float],
    pieces: Sequence[Cutout],
    photos: Sequence[Tensor],
    config: AdaptConfig,
    onto: type[PasteOntoPhotos] = PasteOntoPhotos,
) -> v2.Compose:
    """What a photograph goes through: a crop, pieces, turns, colour, what cameras do."""
    some, jitter = config.camera, 3 * (config.colour,)
    return v2.Compose(
        [
            ImpurityCrop(config.crop, scale=(0.5, 1.6), p=0.0),
            *([onto(pieces, photos, config)] if any(p.label for p in pieces) else []),
            v2.RandomHorizontalFlip(),
            RandomQuarterTurn(),
            v2.ColorJitter(*jitter),
            v2.RandomApply([v2.ColorJitter(hue=0.02)], p=0.25),
            v2.RandomApply([v2.GaussianBlur(7, sigma=(0.3, 2.0))], p=some),
            v2.RandomApply([v2.JPEG((40, 95))], p=some),
            to_float(),
            v2.RandomApply([v2.GaussianNoise(sigma=0.04)], p=some),
            v2.Normalize(list(mean), list(std)),
            v2.ToPureTensor(),
        ]
    )


def read_photos(
    paths: Sequence[Path],
    side: int,
    seed: int = 0,
    bits: int | None = None,
    most: int = MOST_PHOTOS,
) -> list[np.ndarray]:
    """Photographs, drawn where there are more than `most`, the longer side at most `side`.

    Args:
        bits: of the camera, see `folder.read_photo`.

    Returns:
        uint8 (H, W, 3) each.
    """
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(seed))
    return [shrunk(read_photo(paths[int(i)], bits), side) for i in order[:most]]


def adapt(
    start: Segmenter,
    photos: Sequence[Path],
    scrapsim: ScrapSim,
    *,
    minutes: float = 3.0,
    seed: int = 0,
    side: int | None = None,
    bits: int | None = None,
    state: Path | None = None,
) -> Segmenter:
    """A segmenter adapted to photographs of mostly steel; `start` itself stays as it is.

    Args:
        start: what to adapt; its classes may be other ones than ScrapSim's, they are set again in
            the end. photos: image files. scrapsim: its train split, scenes and pieces.
        minutes: of wall time on this machine, in all: a few steps are timed first.
        side: longer side in pixels to look at the photographs with; `start`'s by default.
        bits: of the camera, see `folder.read_photo`.
        state: file to keep the state of unfinished training in, with its number of steps beside
            it: after an interrupt the same call goes on there.

    Returns:
        The adapted segmenter, with a threshold chosen on the photographs with rendered pieces
        laid on them that were held out.

    Raises:
        DataError: a photograph cannot be read. ValueError: there are none.
    """
    if not photos:
        raise ValueError("no photographs to adapt to")
    clock = time.perf_counter()
    start = replace(start, side=side or start.side)
    images = read_photos(photos, start.side, seed, bits)
    base, (pieces, held_out) = start.with_classes(CLASSES), library()
    config = AdaptConfig(seed=seed)
    began = time.perf_counter()
    labels = photo_labels(base, images, config.surer)
    labelling, base = time.perf_counter() - began, held_back(base)
    given = base, images, labels, scrapsim
    if not (state and state.is_file()):
        step_s = seconds_a_step(lambda n: adapt_model(*given, replace(config, steps=n), pieces))
        # To learn what is novel and to choose the threshold takes three times what `labels` did.
        left = 60 * minutes - 3 * labelling - (time.perf_counter() - clock)
        config = replace(config, steps=min(max(int(left / (1.1 * step_s)), STEPS[0]), STEPS[1]))
        if state:
            atomic_write(state.with_suffix(".steps"), str(config.steps))
    else:
        config = replace(config, steps=int(state.with_suffix(".steps").read_text()))
    adapted = adapt_model(*given, config, pieces, state)
    return settled(adapted.with_classes(start.classes), images, labels, held_out, seed)


def settled(
    adapted: Segmenter,
    images: Sequence[np.ndarray],
    labels: Sequence[Tensor],
    held_out: Sequence[Cutout],
    seed: int = 0,
    novel: bool = True,
) -> Segmenter:
    """What was trained, with what is novel in these photographs, and a threshold.

    Args:
        images, labels, held_out: see `adapt_model` and `choose_threshold`.
    """
    adapted = replace(adapted, model=copy.deepcopy(adapted.model)).compiled()
    steel = [label == 0 for label in labels]
    given = adapted.model, images, steel, seed
    adapted.model.set_novelty(novelty.learned(*given) if novel else None)
    ends = choose_threshold(adapted, images, labels, held_out, seed)
    return replace(adapted, threshold=quiet_threshold(adapted, images, *ends))


def held_back(start: Segmenter) -> Segmenter:
    """`start` with the first third of the image tower's layers, edges and textures, held fixed.

    A step takes a quarter less time, and neither few labels nor other pieces have anything to
    teach them. What was novel to it is not told any more: labels say what is an impurity.
    """
    start = replace(start, model=copy.deepcopy(start.model))
    start.model.set_novelty(None)
    start.model.hold_back("last two thirds")
    return start


def library(most: int | None = None) -> tuple[list[Cutout], list[Cutout]]:
    """The rendered pieces that come along: some to train with, and every fifth, held out.

    Args:
        most: pieces of each class, the first ones; all by default.
    """
    number, pieces = Counter[int](), []
    for piece in load_pieces():
        if most is None or number[piece.label] < most:
            pieces.append(Cutout(*piece))
        number[piece.label] += 1
    return [p for k, p in enumerate(pieces) if k % 5], pieces[::5]


def photo_labels(
    segmenter: Segmenter, images: Sequence[np.ndarray], ignored: float, labelled: float = 1.0
) -> list[Tensor]:
    """Labels uint8 (H, W) of photographs of mostly steel, by what a model says of them.

    A pixel whose score is above `labelled` is of its most likely impurity, one above `ignored` is
    `IGNORED`, all others are steel, 0.
    """
    labels = []
    for image in tqdm(images, desc="where impurities may be", unit="photograph", leave=False):
        p = segmenter.probabilities(image)[0]
        label = torch.where(1 - p[0] > ignored, IGNORED, 0)
        label = torch.where(1 - p[0] > labelled, 1 + p[1:].argmax(0), label)
        labels.append(label.to(torch.uint8))
    return labels


def adapt_model(
    start: Segmenter,
    images: Sequence[np.ndarray],
    labels: Sequence[Tensor],
    scrapsim: LabelledImages,
    config: AdaptConfig,
    rendered: Sequence[Cutout] = (),
    state: Path | None = None,
    onto: type[PasteOntoPhotos] = PasteOntoPhotos,
    look: Callable[[nn.Module], float] = lambda _: 0.0,
) -> Segmenter:
    """`start`, which has ScrapSim's classes, trained on photographs and rendered scenes.

    Args:
        images: uint8 (H, W, 3), as large as they are looked at; without any, it is trained on
            rendered scenes alone. labels: see `photo_labels`.
        rendered: pieces to paste into the photographs beside those of the scenes.
        state: file to keep the state of unfinished training in.
        onto: how pieces are laid on photographs. look: what is done `config.evals` times with
            the weight average, see `loop.fit`; it may change `labels`.
    """
    adapted = replace(start, model=copy.deepcopy(start.model), promises={})
    model = adapted.model
    torch.manual_seed(config.seed)
    pieces = cutouts(scrapsim, scrapsim.ids)
    transform = train_transform(config.crop, model.mean, model.std, pieces, config.paste)
    data = SegDataset(scrapsim, transform=transform)
    weights = balanced_weights(scrapsim, scrapsim.ids)
    if images:
        laid = [*pieces, *rendered]
        data, weights = with_photos(data, weights, images, labels, laid, model, config, onto)
    fit(model, data, weights, look, config, state_path=state, label="adapt")
    origin = f"adapted to {len(images)} photographs without labels, from: {start.origin}"
    return replace(adapted, origin=origin)


def with_photos(
    data: Dataset,
    weights: Tensor,
    images: Sequence[np.ndarray],
    labels: Sequence[Tensor],
    pieces: Sequence[Cutout],
    model: nn.Module,
    config: AdaptConfig,
    onto: type[PasteOntoPhotos] = PasteOntoPhotos,
) -> tuple[Dataset, Tensor]:
    """Training data, how often its images are drawn, and photographs beside it.

    Args:
        weights: of the images of `data`, of sum 1. pieces: what is laid on the photographs.
        images, labels: of photographs, at least one, see `adapt_model`. model: of what mean and
            standard deviation.
    """
    photos = [as_tensor(image) for image in images]
    transform = photo_transform(model.mean, model.std, pieces, photos, config, onto)
    share = torch.full((len(photos),), config.photos / len(photos), dtype=torch.float64)
    both = ConcatDataset([data, Photos(photos, labels, transform)])
    return both, torch.cat([(1 - config.photos) * weights, share])


def as_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) to (3, H, W)."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1).contiguous()


def choose_threshold(
    segmenter: Segmenter,
    images: Sequence[np.ndarray],
    labels: Sequence[Tensor],
    held_out: Sequence[Cutout],
    seed: int = 0,
) -> tuple[float, float]:
    """On photographs with rendered pieces laid on them, the threshold with the highest binary mIoU,
    and the one at which `LEAST_FOUND` of what was laid on them is still found.

    Args:
        images, labels: as of `adapt_model`; pixels without a label do not count.
        held_out: pieces that are laid on them; none that was trained with.
    """
    shown = list(zip(images, labels, strict=True))[:THRESHOLD_PHOTOS]
    photos = [as_tensor(image) for image, _ in shown]
    lay = PasteOntoPhotos(held_out, photos, AdaptConfig())
    scores, truths = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for photo, (_, label) in zip(photos, shown, strict=True):
            image, mask = lay(tv_tensors.Image(photo), tv_tensors.Mask(label))
            p = segmenter.probabilities(image.permute(1, 2, 0).numpy())[0]
            scores.append((1 - p[0])[mask != IGNORED].numpy())
            truths.append((mask[mask != IGNORED] > 0).numpy())
    score, truth = np.concatenate(scores), np.concatenate(truths)
    best = best_threshold(score[None, None], truth[None, None])
    return best, float(np.quantile(score[truth], 1 - LEAST_FOUND)) if truth.any() else best


def quiet_threshold(
    segmenter: Segmenter, images: Sequence[np.ndarray], lowest: float, highest: float
) -> float:
    """`lowest`, or the least of `THRESHOLDS` above it at which photographs of mostly steel show at
    most `OBJECTS_A_PHOTO` objects on average; if there is none, the last one below `highest`.

    Pasted pieces say what is found, not how often a wall or a rail looks like an impurity. Where
    photographs are not of mostly steel, what they show would silence the model: `highest` forbids.
    """
    tried = [lowest, *(t for t in THRESHOLDS if lowest < t <= highest)]
    counts = np.zeros(len(tried))
    for image in images[:THRESHOLD_PHOTOS]:
        said = segmenter.predict(image)
        counts += [len(replace(segmenter, threshold=t).thresholded(said).objects) for t in tried]
    quiet = counts / len(images[:THRESHOLD_PHOTOS]) <= OBJECTS_A_PHOTO
    return float([*np.array(tried)[quiet], tried[-1]][0])
