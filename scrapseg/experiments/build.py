"""A fresh model of a method that our loop trains: ours, its variants, supervised decoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from scrapseg.baselines.registry import load_maker
from scrapseg.baselines.supervised import SupervisedNet
from scrapseg.data.classes import CLASSES, ScrapClass
from scrapseg.experiments.methods import MethodsError
from scrapseg.experiments.methods import method as find
from scrapseg.experiments.studies import OURS, POCKET, Backbone, Variant
from scrapseg.files import REPOSITORY
from scrapseg.models.clip import load_clip
from scrapseg.models.pocket import ALIGNED, load_aligned
from scrapseg.models.prompts import DEFAULT_TEMPLATES, class_embeddings, random_embeddings
from scrapseg.models.scrapseg import ModelFileError, ScrapSeg
from scrapseg.models.towers import ImageEncoder, image_encoder, pocket_image_encoder


def build(
    method: str,
    seed: int,
    backbone: Backbone = POCKET,
    variant: Variant = OURS,
    *,
    classes: Sequence[ScrapClass] = CLASSES,
    templates: Sequence[str] = DEFAULT_TEMPLATES,
    start: Path | None = None,
) -> nn.Module:
    """A fresh model of a trained method, its new weights drawn from `seed`.

    On the pocket backbone ours starts from the aligned weights. The options of a method in
    `methods.yaml` change that: `tower: imagenet` starts from ImageNet's weights with a head drawn
    anew, `text: random` puts random vectors in the place of the text's, `text: permuted` gives each
    impurity another one's (whose, goes by the seed), `alignment: FILE` starts from weights of
    `python -m making.align control`, `trained: head` freezes the image tower, `value_stages: n`
    reads the last n stages of a ViT by value-value attention; for a decoder `tower: aligned` gives
    it the image tower that ours starts from. `unlearned: named` is for `fit.train`.

    Args:
        backbone, variant: of ours; the baselines have the pocket model's image tower.
        classes, templates: the data set's.
        start: a saved model whose weights ours begins with, whatever classes it was trained on.

    Raises:
        MethodsError: no such method, one with a `fit` of its own, or one that this backbone does
            not have.
        ModelFileError: `start` cannot be read, or is of another architecture.
        weights.WeightsError, clip.ClipError: see `load_clip` and `load_aligned`.
    """
    of = find(method)
    if not of.is_trained:
        raise MethodsError(f"method {method!r} has a fit of its own and is not built to be trained")
    torch.manual_seed(seed)
    if not of.is_ours:
        aligned = of.options.get("tower") == "aligned"
        tower = aligned_tower().visual.trunk.state_dict() if aligned else None
        return SupervisedNet(load_maker(of.maker), len(classes), tower=tower)
    imagenet, value_stages = (
        of.options.get("tower") == "imagenet",
        of.options.get("value_stages", 0),
    )
    if (imagenet or "alignment" in of.options) and backbone != POCKET:
        raise MethodsError(
            f"{method} is the pocket model without its own alignment; backbone "
            f"{backbone.name} has no such control: leave it out of the methods and ablations"
        )
    if value_stages and backbone == POCKET:
        raise MethodsError(f"{method} changes a ViT's attention; the pocket tower has none")
    if backbone == POCKET:
        clip, encoder = None, pocket_image_encoder(seed)
    else:
        clip = load_clip(backbone.name, backbone.tag, weights_path=backbone.weights_path)
        encoder = image_encoder(
            clip, grad_checkpointing=backbone.grad_checkpointing, value_stages=value_stages
        )
    if of.options.get("text") == "random":
        text = random_embeddings(len(classes), seed, encoder.width)
    else:
        text = class_embeddings(classes, templates, clip=clip)
    if of.options.get("text") == "permuted":
        others = text[1:].roll(1 + seed % max(1, len(classes) - 2), 0)
        text = torch.cat([text[:1], others])
    trained = {"trained": of.options["trained"]} if "trained" in of.options else {}
    model = ScrapSeg(encoder, text, **asdict(variant) | trained)
    if backbone == POCKET and not imagenet:
        if variant.top_down:
            load_aligned(model, REPOSITORY / of.options.get("alignment", ALIGNED))
        else:  # The aligned head is that of a top-down pyramid.
            encoder.load_state_dict(aligned_tower().state_dict())
        if variant.fusion == "mean":
            nn.init.zeros_(model.stage_logits)
    if start:
        state = ScrapSeg.load(start).state_dict() | {"text": model.text}
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise ModelFileError(f"{start}: its weights do not fit {method!r} here") from error
    return model


def aligned_tower() -> ImageEncoder:
    """The pocket model's image tower with the aligned weights."""
    encoder = pocket_image_encoder()
    load_aligned(ScrapSeg(encoder, random_embeddings(1, 0)))
    return encoder
