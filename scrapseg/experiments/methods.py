"""The methods of the benchmark, as `methods.yaml` lists them: one entry there is one method.

The file's head says what an entry holds and how a method is added. Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).with_name("methods.yaml")
SCRAPSEG = "scrapseg.models.scrapseg.ScrapSeg"
DECODERS = "segmentation_models_pytorch."


class MethodsError(ValueError):
    """The list of methods cannot be used; the message is one line and names the file."""


@dataclass(frozen=True)
class Method:
    """One method; see the head of `methods.yaml` for what the fields say.

    `colour` and `marker` are empty for a method that leaves its looks to the figures.
    """

    slug: str
    label: str
    family: str
    maker: str
    colour: str = ""
    marker: str = ""
    candidates: Sequence[dict[str, Any]] = ()
    chosen: dict[str, Any] | None = None
    chosen_on: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings_of: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    inputs: Sequence[str] = ()
    packages: Sequence[str] = ()

    @property
    def is_ours(self) -> bool:
        """It is ScrapSeg or a variant of it."""
        return self.maker == SCRAPSEG

    @property
    def is_trained(self) -> bool:
        """It is trained by our loop; a method that is not has `fit` and `predict` of its own."""
        return self.is_ours or self.maker.startswith(DECODERS)

    @property
    def tried(self) -> Sequence[dict[str, Any]]:
        """Its candidates, or those of the method whose settings it takes."""
        return self.candidates or (METHODS[self.settings_of].tried if self.settings_of else ())

    def settings(self, dataset: str = "scrapsim") -> dict[str, Any]:
        """Settings chosen on val of a data set, else on ScrapSim's; the first candidate before any
        choice; {} without candidates."""
        if dataset in self.chosen_on:
            return dict(self.chosen_on[dataset])
        if self.settings_of:
            return METHODS[self.settings_of].settings(dataset)
        return dict(self.chosen or (self.candidates or ({},))[0])


def load(path: Path = PATH) -> dict[str, Method]:
    """Read a list of methods: slug -> method, in the file's order.

    Raises:
        MethodsError: it is no YAML mapping of entries, an entry has an unknown key or lacks one, or
            methods have unequal numbers of candidates.
    """
    try:
        entries = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        methods = {slug: Method(slug, **entry) for slug, entry in entries.items()}
    except (OSError, yaml.YAMLError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise MethodsError(f"{path}: not a list of methods ({reason})") from error
    counts = {slug: len(m.candidates) for slug, m in methods.items() if m.candidates}
    if len(set(counts.values())) > 1:
        unequal = ", ".join(f"{slug} {count}" for slug, count in counts.items())
        raise MethodsError(f"{path}: methods must have equally many candidates, not {unequal}")
    return methods


#: Slug -> method, in the order of tables and legends.
METHODS = load()
#: Models of anomalib that are not run -> why.
NOT_RUN: dict[str, str] = [*yaml.safe_load_all(PATH.read_text(encoding="utf-8"))][1]


def method(slug: str) -> Method:
    """The method of that name.

    Raises:
        MethodsError: there is none.
    """
    if slug not in METHODS:
        raise MethodsError(f"no method {slug!r} in {PATH.name}; there are {', '.join(METHODS)}")
    return METHODS[slug]


def method_label(slug: str) -> str:
    """A method's name for a reader; its slug where the list does not have it."""
    return METHODS[slug].label if slug in METHODS else slug


def rates(
    slug: str, lr: float | None = None, encoder_lr: float | None = None, dataset: str = "scrapsim"
) -> dict[str, Any]:
    """Learning rates of a method that our loop trains: its own, or those given if it is ours.

    Another backbone than the pocket one has other rates. {} for a method with a `fit` of its own,
    which takes all its settings itself.
    """
    of = method(slug)
    if not of.is_trained:
        return {}
    return {"lr": lr, "encoder_lr": encoder_lr} if lr and of.is_ours else of.settings(dataset)
