"""A trained model with its classes and its threshold: what one uses it by.

    >>> import scrapseg
    >>> model = scrapseg.load("my-model")                      # doctest: +SKIP
    >>> result = model.predict("photo.jpg")                    # doctest: +SKIP
    >>> result.objects[0].name, result.label.shape             # doctest: +SKIP
    ('copper coil', (3024, 4032))

On disk it is three files of one name: `.safetensors` and `.json` as `ScrapSeg.save` writes them,
and `.yaml` with the classes, the threshold and where the model comes from.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from skimage.measure import label as connected
from skimage.measure import regionprops
from torch import Tensor
from torch.nn import functional as F

from scrapseg.data.base import DataError, shrunk
from scrapseg.data.classes import CLASSES, ScrapClass, as_yaml, classes_from
from scrapseg.data.folder import read_photo
from scrapseg.data.listing import model_file
from scrapseg.files import OneLine, atomic_write, shipped, small_text
from scrapseg.metrics.risk import PIECES, scenes_needed
from scrapseg.models.export import with_embedding
from scrapseg.models.pocket import load_aligned, pocket_model
from scrapseg.models.prompts import class_embeddings
from scrapseg.models.runtime import Runtime
from scrapseg.models.scrapseg import UNREADABLE, ModelFileError, ScrapSeg
from scrapseg.models.tiles import normalised, predict_large

#: The model fine-tuned on ScrapSim that comes with the project.
SHIPPED = shipped("scrapsim.safetensors")
#: Longer side, in pixels, at which images are looked at.
SIDE = 768
#: Up to this one they are looked at whole, above it tile by tile, see `scrapseg.models.tiles`.
WHOLE_SIDE = 1024
#: What to do about a model that cannot be read.
AGAIN = "copy it, with its .json and .yaml, from where it was made, or make it anew"
#: Connected parts smaller than this share of the image (at least 25 pixels) are no objects.
SMALLEST_OBJECT = 1e-4


class SegmenterError(OneLine):
    """A saved model cannot be used; the message is one line."""


@dataclass(frozen=True)
class Object:
    """One found object.

    Attributes:
        index, name: its class. area: pixels. score: mean probability of not being normal, 0..1.
        box: left, top, right, bottom in pixels; the right and bottom edges lie outside.
        number: its value in `Prediction.instances`.
    """

    index: int
    name: str
    area: int
    score: float
    box: tuple[int, int, int, int]
    number: int


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image.

    Attributes:
        image: uint8 (H, W, 3). label: class of each pixel, uint8 (H, W), 0 normal.
        score: probability of not being normal, float32 (H, W).
        impurity: the most likely class but the normal one, uint8 (H, W).
        instances: int32 (H, W), 0 or the number of an object. objects: the largest first.
        image_score: mean score of the highest thousandth of the pixels.
        uncertainty: mean entropy, as a share of the most there can be, of the least certain
            hundredth of the pixels; 0..1.
        embedding: the image's place in the joint space, float32 (D,), of unit length.
    """

    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    impurity: np.ndarray
    instances: np.ndarray
    objects: list[Object]
    image_score: float
    uncertainty: float
    embedding: np.ndarray


@dataclass(frozen=True)
class Segmenter:
    """A model with what is needed to use it.

    Attributes:
        model: in eval mode. classes: one per row of its class vectors, the normal one first.
        threshold: pixels whose score reaches it are impurities, of their most likely class.
        side: images are looked at with their longer side at most this long; above `WHOLE_SIDE`
            tile by tile, in bounded memory.
        origin: a sentence on where the model comes from.
        mirrored: probabilities are the mean over an image and its mirror image: twice the time, and
            a little better. Not where it goes tile by tile.
        promises: by what may be missed (objects, copper), see `scrapseg.metrics.risk.promise`; they
            are of these weights, and of images like those they were made on.
        runtime: predicts in torch's place as long as it stands for `model`, see `compiled`.
    """

    model: ScrapSeg
    classes: Sequence[ScrapClass] = CLASSES
    threshold: float = 0.5
    side: int = SIDE
    origin: str = ""
    mirrored: bool = False
    promises: dict[str, dict[str, Any]] = field(default_factory=dict)
    runtime: Runtime | None = field(default=None, repr=False, compare=False)

    def compiled(self) -> Segmenter:
        """The same, predicting by onnxruntime where that can be; what is loaded is so."""
        return replace(self, runtime=Runtime(self.model))

    @property
    def _network(self) -> ScrapSeg | Runtime:
        stands = self.runtime is not None and self.runtime.model is self.model
        return self.runtime if stands else self.model

    def _see(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, 3, H, W) to logits and the pooled token."""
        if isinstance(network := self._network, Runtime):
            return network.run(images)
        return with_embedding(network, images)

    @torch.inference_mode()
    def probabilities(self, image: np.ndarray) -> tuple[Tensor, Tensor]:
        """Class probabilities (C, h, w) of an image (H, W, 3) at working size, and its embedding
        (D,)."""
        x = normalised(self.model, shrunk(image, self.side)[None].copy())
        logits, pooled = self._see(x)
        p = logits[0].float().softmax(0)
        if self.mirrored:
            p = (p + self._see(x.flip(3))[0][0].float().softmax(0).flip(2)) / 2
        return p.cpu(), F.normalize(pooled[0].float(), dim=0).cpu()

    def _scores(self, image: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Score (h, w), most likely impurity (h, w) and entropy (h w) at working size, and the
        embedding, which is that of the whole image in any case."""
        small = shrunk(image, self.side)
        if max(small.shape) > WHOLE_SIDE:
            tiled = predict_large(self._network, small)
            embedding = self.probabilities(shrunk(image, SIDE))[1]
            score, entropy = (torch.from_numpy(m).float() for m in (tiled.score_map, tiled.entropy))
            return score, torch.from_numpy(tiled.impurity), entropy.flatten(), embedding
        p, embedding = self.probabilities(image)
        entropy = -torch.xlogy(p, p).sum(0).flatten() / np.log(len(p))
        return 1 - p[0], p[1:].argmax(0).to(torch.uint8) + 1, entropy, embedding

    def predict(
        self,
        image: str | Path | Image.Image | np.ndarray,
        *,
        max_miss: float | None = None,
        of: str = "objects",
    ) -> Prediction:
        """Find the impurities of an image: a path, a PIL image, or uint8 (H, W, 3).

        Args:
            max_miss: in place of the model's threshold, the share `of` objects or copper that may
                be missed, in expectation over images like those that the promise was made on: of
                the model that comes along ScrapSim's, of one's own the labelled images.

        Raises:
            DataError: the file cannot be read. ValueError: the array is no such image.
            SegmenterError: this model cannot promise so much.
        """
        if max_miss is not None:
            return self.promising(max_miss, of).predict(image)
        if isinstance(image, str | Path):
            image = read_photo(image)
        elif isinstance(image, Image.Image):
            image = np.array(image.convert("RGB"))
        image = np.asarray(image)
        if image.shape[2:] != (3,) or not image.size or image.dtype != np.uint8:
            raise ValueError(f"an image is uint8 (H, W, 3), no 0, not {image.dtype} {image.shape}")
        score, best, entropy, embedding = self._scores(image)
        unsure = float(entropy.topk(max(1, len(entropy) // 100)).values.mean())
        # Back to the image's own size: scores by interpolation, classes by the nearest pixel.
        size = image.shape[:2]
        score = F.interpolate(score[None, None], size=size, mode="bilinear")[0, 0].numpy()
        best = F.interpolate(best[None, None], size=size, mode="nearest-exact")[0, 0].numpy()
        top = max(1, round(score.size / 1000))
        image_score = float(np.partition(score.ravel(), -top)[-top:].mean())
        whole = (image_score, unsure, embedding.numpy())
        return self.thresholded(Prediction(image, best, score, best, best, [], *whole))

    def promising(self, max_miss: float, of: str = "objects") -> Segmenter:
        """This model at the threshold that keeps a promise, see `predict`.

        Raises:
            SegmenterError: it cannot be given. ValueError: `max_miss` is not between 0 and 1, or
                `of` is something else.
        """
        if of not in PIECES:
            raise ValueError(f"of is {of!r}; it may be {' or '.join(PIECES)}")
        needed, made = scenes_needed(max_miss), self.promises.get(of)
        kept = [t for alpha, t in made["thresholds"].items() if alpha <= max_miss] if made else []
        if kept:
            return replace(self, threshold=max(kept))
        why = "none of its thresholds keeps it short of flagging every pixel"
        if not made:
            known = " and ".join(self.promises) or "nothing"
            why = f"this model has promises of {known}; those of objects take {needed} labelled "
            why += "images at least, those of copper come with the model that comes along, as it is"
        elif made["scenes"] < needed:
            why = f"it takes {needed} labelled scenes, and there were {made['scenes']}"
        raise SegmenterError(f"at most {100 * max_miss:g} % of {of} missed: {why}")

    def thresholded(self, p: Prediction) -> Prediction:
        """A prediction with its label and objects anew, at this model's threshold."""
        label = np.where(p.score >= self.threshold, p.impurity, 0).astype(np.uint8)
        label, instances, objects = self.objects(label, p.score)
        return replace(p, label=label, instances=instances, objects=objects)

    def objects(
        self, label: np.ndarray, score: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, list[Object]]:
        """Connected parts of one class as objects; specks become normal.

        Returns:
            The label without specks, the instances, the objects.
        """
        smallest = max(25, round(SMALLEST_OBJECT * label.size))
        parts = connected(label, background=0, connectivity=2)
        regions = [r for r in regionprops(parts, score) if r.area >= smallest]
        regions.sort(key=lambda r: -r.area)
        instances = np.zeros(label.shape, np.int32)
        found = []
        for number, region in enumerate(regions, start=1):
            instances[tuple(region.coords.T)] = number
            index = int(label[tuple(region.coords[0])])
            top, left, bottom, right = (int(v) for v in region.bbox)
            box, mean = (left, top, right, bottom), float(region.intensity_mean)
            name = self.classes[index].name
            found.append(Object(index, name, int(region.area), mean, box, number))
        return np.where(instances > 0, label, 0).astype(np.uint8), instances, found

    def threshold_with(self, classes: Sequence[ScrapClass]) -> float:
        """Its threshold where other classes are its own and more at their end, else 0.5: of scores
        of others it was not chosen."""
        old, new = ([(c.slug, c.words) for c in of] for of in (self.classes, classes))
        return self.threshold if new[: len(old)] == old else 0.5

    def with_classes(self, classes: Sequence[ScrapClass]) -> Segmenter:
        """The same weights with other classes, found by their words alone, and `threshold_with`.

        Raises:
            SegmenterError: the model has another text tower than the pocket one.
        """
        if [(c.slug, c.words) for c in classes] == [(c.slug, c.words) for c in self.classes]:
            return replace(self, classes=classes)
        if (name := self.model.encoder.spec["model"]) != "pocket":
            raise SegmenterError(f"new classes need {name}'s text tower: set them by set_classes")
        model = copy.deepcopy(self.model)
        model.set_classes(class_embeddings(classes))
        told = {"threshold": self.threshold_with(classes), "promises": {}}
        changed = replace(self, model=model, classes=classes, **told)
        return changed.compiled() if self.runtime else changed

    def fingerprint(self) -> str:
        """A hash of all that decides what it says of an image."""
        settings = (self.threshold, self.side, self.mirrored, as_yaml(self.classes))
        found = hashlib.sha256(repr((self.model.config, settings)).encode())
        for value in self.model.state_dict().values():
            found.update(value.float().cpu().contiguous().numpy())
        return found.hexdigest()

    def save(self, path: str | Path, *, half: bool = False) -> Path:
        """Write the three files; `path` ends in .safetensors.

        Args:
            half: parameters in half precision, half the size; class vectors and batch statistics
                stay as they are.
        """
        path = Path(path)
        model = copy.deepcopy(self.model)
        if half:
            for parameter in model.parameters():
                parameter.data = parameter.data.half()
        model.save(path)
        self.save_card(path)
        return path

    def save_card(self, path: Path) -> None:
        """Write the `.yaml` of `save` alone."""
        card = {"classes": as_yaml(self.classes), "threshold": float(self.threshold)}
        card |= {"side": self.side, "origin": self.origin, "mirrored": self.mirrored}
        card |= {"promises": self.promises} if self.promises else {}
        atomic_write(path.with_suffix(".yaml"), yaml.safe_dump(card, sort_keys=False))


def load(path: str | Path | None = None) -> Segmenter:
    """A saved model, from its `.safetensors` file or the folder that holds it.

    Without a path it is the one that comes along, fine-tuned on ScrapSim.

    A model without a `.yaml` beside it, as experiments save them, has the benchmark's classes and
    the threshold 0.5.

    Raises:
        SegmenterError: there is none, or it cannot be read; the message names the file.
    """
    card, classes = {}, list(CLASSES)
    try:
        listed = (path := model_file(path or SHIPPED)).with_suffix(".yaml")
        model = ScrapSeg.load(path).float()  # half precision is for the disk alone
        if listed.is_file():
            card = yaml.safe_load(small_text(listed))
            classes = classes_from(card["classes"], listed)
        settings = _settings(card)
    except ModelFileError as error:
        raise SegmenterError(f"{error}; {AGAIN}") from error
    except DataError as error:
        raise SegmenterError(str(error)) from error
    except (yaml.YAMLError, RecursionError, *UNREADABLE) as error:
        raise SegmenterError(f"{listed}: cannot be read ({error!r}); {AGAIN}") from error
    if (rows := len(model.text)) != len(classes):
        lists = f"{rows} class vectors for {len(classes)} classes"
        raise SegmenterError(f"{path}: has {lists}; {AGAIN}")
    return Segmenter(model, classes, **settings).compiled()


def _settings(card: dict[str, Any]) -> dict[str, Any]:
    """What a card says beside the classes; one of `UNREADABLE` where that is unfit."""
    threshold, side = float(card.get("threshold", 0.5)), int(card.get("side", SIDE))
    origin, mirrored = card.get("origin", ""), card.get("mirrored", False)
    if not isinstance(origin, str) or not isinstance(mirrored, bool):
        raise TypeError("origin is text, mirrored true or false")
    origin.encode()  # half a character cannot be written again
    if not np.isfinite(threshold) or not 1 <= side <= 1 << 16:
        raise ValueError(f"threshold {threshold} or side {side} is out of bounds")
    promises = {
        str(of): {**made, "thresholds": {float(a): float(t) for a, t in made["thresholds"].items()}}
        for of, made in card.get("promises", {}).items()
    }
    of_card = {"threshold": threshold, "side": side, "origin": origin, "mirrored": mirrored}
    return of_card | {"promises": promises}


def starting_model(classes: Sequence[ScrapClass] = CLASSES, *, shipped: bool = True) -> Segmenter:
    """What there is before anything of one's own is labelled: the model that comes along.

    That is the one fine-tuned on ScrapSim if it is there and `shipped`, else the aligned pocket
    model, which finds classes by their words alone (zero-shot).
    """
    if shipped and SHIPPED.is_file():
        return load(SHIPPED).with_classes(classes)
    model = load_aligned(pocket_model()).eval()
    model.set_classes(class_embeddings(classes))
    origin = "the aligned pocket model, which knows classes by their words alone (zero-shot)"
    return Segmenter(model, classes, origin=origin).compiled()
