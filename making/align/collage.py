"""Training batches for alignment: studio images and collages, with texts that are true or not.

Half of the images are studio pictures as they are. The others are collages: objects cut out of
other pictures by their instance masks and pasted on, small, turned and overlapping (copy-paste,
Ghiasi et al. 2021, arXiv:2012.07177), because the scenes the model is meant for are heaps. Each
batch brings a set of texts and a table of which text is true of which region.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from making.align.studio import (
    Facts,
    Studio,
    StudioObject,
    StudioRecord,
    TextBank,
    relation,
    said_of,
)
from scrapseg.train.paste import cut_out, paste

CELL = 4
"""Side in pixels of a cell: regions are marked at the stride of the model's finest stage."""
MIN_CELLS = 4
"""A region that shows fewer cells is left out."""


@dataclass(frozen=True)
class CollageConfig:
    """How batches are put together.

    Attributes:
        size: side of the images in pixels, a multiple of 32.
        collage_p: share of collages.
        pastes: least and greatest number of objects pasted on a collage.
        paste_scale: least and greatest size of a pasted object, 1 for that of its own picture
            when the picture fills the image.
        turn: greatest rotation of a pasted object, in degrees either way.
        texts: about as many a batch is contrasted with; random ones fill it up.
        captions: captions of other images that the batch's captions are contrasted with.
    """

    size: int = 192
    collage_p: float = 0.5
    pastes: tuple[int, int] = (2, 8)
    paste_scale: tuple[float, float] = (0.3, 1.0)
    turn: float = 180.0
    texts: int = 128
    captions: int = 512


class Batch(NamedTuple):
    """B images with R regions, contrasted with C texts; P of them with M captions.

    Attributes:
        images: float (B, 3, size, size), normalised.
        regions: int64 (B, size / 4, size / 4), number of the region of each cell, 0..R-1; -1 none.
        text: float (C, D), unit vectors.
        truth: int8 (R, C), 1 the text is true of the region, -1 it is not, 0 not to be told. Every
            region has a true text.
        plain: int64 (P,), the images that are no collages.
        captions: float (M, D), unit vectors, those of the plain images first.
        caption_truth: int8 (P, M), as `truth`; 1 at (p, p).
    """

    images: Tensor
    regions: Tensor
    text: Tensor
    truth: Tensor
    plain: Tensor
    captions: Tensor
    caption_truth: Tensor


@dataclass
class View:
    """One training image before batching.

    Attributes:
        image: float (3, size, size) in 0..1.
        marks: uint8 (size, size), 0 the background, k the k-th thing.
        things: objects by their number in `marks`, from 1.
        record: of the studio picture that it is, or that it is pasted on.
        is_collage: whether anything was pasted, so that the caption no longer tells all.
    """

    image: Tensor
    marks: Tensor
    things: list[StudioObject]
    record: StudioRecord
    is_collage: bool = field(default=False)


class Batches(Dataset[Batch]):
    """`n` batches in a fixed order: batch i is the same wherever a run starts or resumes.

    Args:
        studio: the split to draw from.
        bank: texts of (at least) that split.
        mean, std: normalisation of the image tower.
        seed: batch i depends on `seed` and i alone.

    Raises:
        DataError: on reading a batch, whatever `studio` raises.
    """

    def __init__(
        self,
        studio: Studio,
        bank: TextBank,
        config: CollageConfig,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        batch_size: int,
        n: int,
        seed: int,
    ) -> None:
        self.studio, self.bank, self.config = studio, bank, config
        self.batch_size, self.n, self.seed = batch_size, n, seed
        self.normalise = v2.Normalize(list(mean), list(std))

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, number: int) -> Batch:
        if not 0 <= number < self.n:
            raise IndexError(number)
        seed = self.seed * 1_000_003 + number
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # torchvision's transforms draw from torch's generator
            rng = random.Random(seed)
            views = [draw_view(self.studio, self.config, rng) for _ in range(self.batch_size)]
            return self._batch(views, rng)

    def _batch(self, views: list[View], rng: random.Random) -> Batch:
        bank = self.bank
        things: list[Facts] = []
        own: list[int] = []  # the text drawn for each thing
        rows = [rng.choice(options) for options in bank.materials.values()]
        marks = []
        for view in views:
            cells = view.marks[CELL // 2 :: CELL, CELL // 2 :: CELL].long()
            seen = torch.bincount(cells.flatten(), minlength=len(view.things) + 1)
            numbers = torch.full((len(view.things) + 1,), -1)
            background = Facts(background=view.record.background)
            for k, facts in enumerate([background, *(t.facts for t in view.things)]):
                if seen[k] >= MIN_CELLS:
                    numbers[k] = len(things)
                    things.append(facts)
                    own.append(self._wording(facts, rng))
            marks.append(numbers[cells])
        known = list(bank.things)
        rows += own
        for _ in range(self.config.texts - len(set(rows))):
            rows.append(self._wording(rng.choice(known), rng))
        rows = sorted(set(rows))
        claims = [bank.texts[row].facts for row in rows]
        truth = np.array(
            [[relation(claim, thing) for claim in claims] for thing in things], np.int8
        )
        truth[range(len(things)), [rows.index(row) for row in own]] = 1
        plain = [i for i, view in enumerate(views) if not view.is_collage]
        records = [views[i].record for i in plain]
        others = rng.choices(self.studio.records, k=self.config.captions)
        said = [bank.captions[record.caption] for record in records + others]
        caption_truth = [[caption_relation(b, a) for b in records + others] for a in records]
        return Batch(
            self.normalise(torch.stack([view.image for view in views])),
            torch.stack(marks),
            bank.vectors[rows],
            torch.from_numpy(truth),
            torch.tensor(plain, dtype=torch.int64),
            bank.vectors[said],
            torch.tensor(caption_truth, dtype=torch.int8).reshape(len(plain), len(said)),
        )

    def _wording(self, facts: Facts, rng: random.Random) -> int:
        """A row of the bank that is true of a thing: a form at random, then one of its texts."""
        if facts.background:
            return self.bank.backgrounds[facts.background]
        return rng.choice(rng.choice(self.bank.things[facts]))


def caption_relation(said: StudioRecord, shown: StudioRecord) -> int:
    """Whether one image's caption is true of another, as `relation`: 1 if it is the same sentence.

    It cannot be told when all the things it speaks of may be things that are there.
    """
    if said.caption == shown.caption:
        return 1
    there = [thing.facts for thing in shown.objects]
    claims = [said_of(thing) for thing in said.objects]
    return 0 if all(any(relation(c, t) >= 0 for t in there) for c in claims) else -1


def draw_view(studio: Studio, config: CollageConfig, rng: random.Random) -> View:
    """A random picture of the set, augmented, or a collage on it."""
    is_collage = rng.random() < config.collage_p
    sample = studio[rng.randrange(len(studio))]
    image = tv_tensors.Image(torch.from_numpy(sample.image).permute(2, 0, 1))
    marks = tv_tensors.Mask(torch.from_numpy(sample.instances))
    # A plain picture must still show what its caption says.
    crop = v2.RandomResizedCrop(config.size, scale=(0.5 if is_collage else 0.75, 1.0))
    image, marks = crop(image, marks)
    sides = {"left", "right"} & set(sample.record.caption.split())
    if is_collage or not sides:
        image, marks = v2.RandomHorizontalFlip()(image, marks)
    numbered = torch.zeros_like(marks)
    for k, thing in enumerate(sample.record.objects, start=1):
        numbered[marks == thing.id] = k
    image = image.float() / 255
    view = View(image.as_subclass(Tensor), numbered.as_subclass(Tensor), [], sample.record)
    view.things = list(sample.record.objects)
    if is_collage:
        view.is_collage = True
        for _ in range(rng.randint(*config.pastes)):
            lay(view, *draw_cutout(studio, config, rng), rng)
    view.image = colour(view.image)
    return view


def draw_cutout(
    studio: Studio, config: CollageConfig, rng: random.Random
) -> tuple[Tensor, StudioObject]:
    """A random object cut out, scaled and turned: float (4, h, w), colours and opacity in 0..1."""
    sample = studio[rng.randrange(len(studio))]
    thing = rng.choice(sample.record.objects)
    pixels, outline = cut_out(sample.image, sample.instances == thing.id)
    piece = torch.cat([pixels / 255, outline[None].float()])
    scale = rng.uniform(*config.paste_scale) * config.size / sample.image.shape[0]
    height, width = (max(2, round(side * scale)) for side in piece.shape[1:])
    piece = tvf.resize(piece, [height, width], antialias=True)
    if rng.random() < 0.5:
        piece = piece.flip(2)
    angle = rng.uniform(-config.turn, config.turn)
    piece = tvf.rotate(piece, angle, tvf.InterpolationMode.BILINEAR, expand=True)
    # Each piece in a light of its own; the opacity stays.
    piece[:3] = (piece[:3] * rng.uniform(0.7, 1.2)).clamp(0, 1)
    return piece, thing


def lay(view: View, piece: Tensor, thing: StudioObject, rng: random.Random) -> None:
    """Lay a cut-out on a view, its middle anywhere in the image."""
    size = view.image.shape[-1]
    height, width = piece.shape[1:]
    top, left = rng.randrange(size) - height // 2, rng.randrange(size) - width // 2
    view.things.append(thing)
    paste(view.image, piece[:3], piece[3], top, left)
    paste(view.marks, len(view.things), piece[3], top, left)


#: Hue hardly moves: colours are words here.
colour = v2.Compose(
    [
        v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.02),
        v2.RandomApply([v2.GaussianBlur(5, sigma=(0.3, 1.2))], p=0.2),
        v2.RandomApply([v2.GaussianNoise(sigma=0.03)], p=0.2),
    ]
)


def whole_images(studio: Studio, size: int, mean: Sequence[float], std: Sequence[float]) -> Dataset:
    """Every picture of a split as it is, (3, size, size), normalised, for evaluation."""
    return _Whole(studio, size, v2.Normalize(list(mean), list(std)))


class _Whole(Dataset[Tensor]):
    def __init__(self, studio: Studio, size: int, normalise: v2.Normalize) -> None:
        self.studio, self.size, self.normalise = studio, size, normalise

    def __len__(self) -> int:
        return len(self.studio)

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < len(self):
            raise IndexError(index)
        image = torch.from_numpy(self.studio[index].image).permute(2, 0, 1).float() / 255
        sized = F.interpolate(image[None], size=(self.size, self.size), mode="bilinear")[0]
        return self.normalise(sized)
