"""Which runs a study is made of: `studies.yaml`, filled with the parameters of a profile.

A study is a list of blocks, a block a set of runs: one for every method, source, held-out class,
number of shots and seed that it names. `$name` stands for a parameter of the notebooks, `$name[0]`
for the first of its values; a list may hold lists. To add a study, write its blocks under
`studies`, give its parameters a default in the notebook that shows it and in
`notebooks/profiles/smoke.yaml`, set them in the profiles that run it, name the study beside that
notebook in the Snakefile, and call `run.run_all(plan("name", globals()), results_dir, data_dir)` in
the notebook; the engine plans the same runs from the profile. A block has

    methods, shots (all), seeds (0): what is run; `ablations`, for their tags, in place of methods
    steps: a number, or {all: ..., few: ...} by the number of shots; steps and shots may be given
        by data set, too
    tag: ends the name of runs that are no plain run of their method, so that no table averages
        them with those; {steps}, {source} and {without} are filled in
    sources, without: settings (heap, belt) to learn from; classes without labels
    split (test), datasets (scrapsim), limit ($limit)
    when: a list; if it is empty the block makes no runs

The file also lists the ablations, and the `inputs` and `packages` that can change a run's numbers.
Nothing heavy is imported here, so that planning takes no time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from scrapseg.experiments.methods import method as find_method
from scrapseg.experiments.methods import rates
from scrapseg.files import REPOSITORY, atomic_write, shipped

PATH = Path(__file__).with_name("studies.yaml")
PROFILES = REPOSITORY / "notebooks" / "profiles"
#: The parameters as the notebooks have them, for what a profile does not say.
DEFAULTS = "smoke"
#: File of a run's cache with the hash of inputs that a person let its record stand with.
ACCEPTED = "accepted"


class StudyError(ValueError):
    """A study, profile or run is not what was asked for; the message is one line and names it."""


@dataclass(frozen=True)
class Backbone:
    """Which image and text towers ours and its variants stand on.

    Attributes:
        name: "pocket", or open_clip's name of a model, such as ViT-L-14-336.
        tag: whose weights, such as openai; with neither tag nor file they are random.
        weights_path: a local weight file.
        grad_checkpointing: recompute activations in the backward pass: less memory, more time.
    """

    name: str = "pocket"
    tag: str | None = None
    weights_path: str | None = None
    grad_checkpointing: bool = False


@dataclass(frozen=True)
class Variant:
    """What an ablation changes in ours; the fields are options of `ScrapSeg`."""

    trained: str = "all"
    stages: int | None = None
    fusion: str = "learned"
    top_down: bool = True
    scale: float = 1.0


POCKET, OURS = Backbone(), Variant()


@dataclass(frozen=True)
class Ablation:
    """One change to ours, see `studies.yaml`: what it asks, its name, and what differs."""

    label: str
    question: str = ""
    method: str = "scrapseg"
    variant: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    claim: bool = False


_LISTED = yaml.safe_load(PATH.read_text(encoding="utf-8"))
STUDIES: dict[str, list[dict[str, Any]]] = _LISTED["studies"]
ABLATIONS = {tag: Ablation(**entry) for tag, entry in _LISTED["ablations"].items()}
#: Files (globs below the repository) and packages that can change a run's numbers: those of every
#: run, by data set, of what our loop trains, of ours, and of the networks it trains beside ours.
EVERY, DATA, TRAINED, OURS_ALONE, SUPERVISED = _LISTED["inputs"].values()
PACKAGES, TRAINING_PACKAGES, TEXT_PACKAGES = _LISTED["packages"].values()


# ---------------------------------------------------------------- one run


@dataclass(frozen=True)
class RunSpec:
    """One run, and all that its numbers depend on.

    Attributes:
        method: a slug of `methods.yaml`.
        shots: labelled scenes per impurity class, or "all"; 0 for the model it starts from.
        changes: fields of `TrainConfig` that differ from its defaults, learning rates among them; a
            method with a `fit` of its own takes steps and batch_size.
        split: "test", or "val" where runs are compared to choose among them.
        tag: ends the run's name.
        variant, backbone: of ours.
        source: the one setting (heap or belt) to learn from.
        limit: images per split, for a quick look; None for all.
    """

    method: str = "scrapseg"
    shots: int | str = "all"
    seed: int = 0
    dataset: str = "scrapsim"
    split: str = "test"
    tag: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    variant: Variant = OURS
    source: str | None = None
    backbone: Backbone = POCKET
    limit: int | None = None

    @property
    def name(self) -> str:
        """File name of its record without ending."""
        of = self.method, self.dataset, self.shots, self.seed
        return run_name(*of, self.backbone.name, self.tag)

    @property
    def after(self) -> str:
        """Name of the run whose model it starts from: the adapted one, before any label."""
        adapted = find_method(self.method).options.get("start") == "adapted" and self.shots != 0
        return run_name(self.method, self.dataset, 0, self.seed) if adapted else ""

    def start(self, cache: Path) -> Path | None:
        """A saved model whose weights it begins with, in the `cache` of its results or shipped."""
        if self.after:
            return cache / self.after / "model.safetensors"
        started = "start" in find_method(self.method).options
        return shipped("scrapsim.safetensors") if started else None

    @property
    def asked(self) -> dict[str, Any]:
        """Its training settings, as they stand in its record's config."""
        of = find_method(self.method)
        if of.is_trained:
            return {**self.changes, "seed": self.seed}
        given = {k: v for k, v in self.changes.items() if k in ("steps", "batch_size")}
        return given | of.settings(self.dataset)

    def settings(self) -> dict[str, Any]:
        """All that was chosen for this run, and the pinned packages it needs, as JSON has it."""
        of = find_method(self.method)
        own = {"maker": of.maker, "options": of.options}
        own |= {} if of.is_trained else {"settings": of.settings(self.dataset)}
        given = asdict(self) | {"own": own, "packages": pins(self.packages())}
        return json.loads(json.dumps(given))

    def inputs(self) -> list[Path]:
        """The files that can change its numbers: data checksums, starting weights, sources."""
        of = find_method(self.method)
        names = [*EVERY, *DATA.get(self.dataset, ()), *of.inputs]
        names += TRAINED if of.is_trained else []
        names += OURS_ALONE if of.is_ours else []
        names += SUPERVISED if of.is_trained and not of.is_ours else []
        paths = [path for name in names for path in sorted(REPOSITORY.glob(name))]
        aligned = of.is_ours and of.options.get("tower") != "imagenet" and self.backbone == POCKET
        if aligned or of.options.get("tower") == "aligned":
            paths.append(shipped("pocket-aligned.safetensors"))
        if "start" in of.options:
            paths.append(shipped("scrapsim.safetensors"))
        weights = self.backbone.weights_path
        return [*paths, *([Path(weights)] if weights else [])]

    def packages(self) -> tuple[str, ...]:
        """Distributions whose version can change its numbers."""
        of = find_method(self.method)
        more = TRAINING_PACKAGES if of.is_trained else of.packages
        return (*PACKAGES, *more, *(TEXT_PACKAGES if of.is_ours else ()))


def run_name(
    method: str, dataset: str, shots: int | str, seed: int, backbone: str = "pocket", tag: str = ""
) -> str:
    """method_dataset_<shots>shots_s<seed>[_backbone][_tag], as file names may have it."""
    parts = [method, dataset, f"{shots}shots", f"s{seed}"]
    parts += [backbone] if backbone != POCKET.name else []
    parts += [tag] if tag else []
    return "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", part) for part in parts)


def pins(packages: Sequence[str]) -> dict[str, str]:
    """Versions in `requirements.lock`; those installed where there is no such file."""
    lock = REPOSITORY / "requirements.lock"
    lines = lock.read_text().splitlines() if lock.is_file() else []
    pinned = dict(line.split(" ")[0].split("==") for line in lines if "==" in line)
    return {p: pinned.get(p) or installed(p) for p in packages}


def installed(package: str) -> str:
    """Version of an installed package, "" where it is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def inputs_sha256(spec: RunSpec) -> str:
    """Sha256 over the contents of `spec.inputs()` and the installed versions of its packages."""
    found = hashlib.sha256()
    for path in spec.inputs():
        found.update(f"{path.name} {file_sha256(path)}\n".encode())
    for package in spec.packages():
        found.update(f"{package} {installed(package)}\n".encode())
    return found.hexdigest()


def file_sha256(path: Path) -> str:
    """Sha256 of a file, "missing" where there is none; read once as long as it stays as it is."""
    try:
        stat = path.stat()
    except OSError:
        return "missing"
    return _file_sha256(path, stat.st_size, stat.st_mtime_ns)


@cache
def _file_sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# ---------------------------------------------------------------- many runs


def profile(name: str) -> dict[str, Any]:
    """Parameters of `notebooks/profiles/<name>.yaml`, on top of the notebooks' own.

    Raises:
        StudyError: there is no such profile, or it is not a mapping.
    """
    values = {}
    for stem in (DEFAULTS, name):
        path = PROFILES / f"{stem}.yaml"
        try:
            values |= yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml")))
            raise StudyError(f"{path}: no such profile; there is {known}") from None
        except (yaml.YAMLError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise StudyError(f"{path}: a profile is a list of 'name: value' ({reason})") from error
    return values


def plan(study: str, parameters: Mapping[str, Any]) -> list[RunSpec]:
    """The runs of a study, in order.

    Args:
        parameters: name -> value, as from `profile`, or a notebook's `globals()`.

    Raises:
        StudyError: there is no such study, or a parameter that it names.
        MethodsError: it names a method that there is not.
    """
    if study not in STUDIES:
        raise StudyError(f"no study {study!r} in {PATH.name}; there are {', '.join(STUDIES)}")
    sets = [(b, d) for b in STUDIES[study] for d in _axis(b, parameters, "datasets", "scrapsim")]
    return [spec for block, dataset in sets for spec in _runs_on(dataset, block, parameters)]


def plan_profile(name: str) -> dict[str, RunSpec]:
    """All runs of a profile by name: of its `studies`, or of every study if it names none."""
    parameters = profile(name)
    studies = parameters.get("studies", list(STUDIES))
    return {spec.name: spec for study in studies for spec in plan(study, parameters)}


def _values(value: Any, parameters: Mapping[str, Any]) -> Any:
    """`value` with parameters in the place of their names, lists of lists made flat."""
    if isinstance(value, list):
        parts = [_values(v, parameters) for v in value]
        return [v for part in parts for v in (part if isinstance(part, list) else [part])]
    if not (isinstance(value, str) and value.startswith("$")):
        return value
    name, first, _ = value[1:].partition("[0]")
    if name not in parameters:
        raise StudyError(f"{PATH.name}: no parameter {name!r} among those given")
    return parameters[name][0] if first else parameters[name]


def _axis(block: Mapping, parameters: Mapping, name: str, default: Any, dataset: str = "") -> list:
    found = _values(block.get(name, default), parameters)
    found = found[dataset] if isinstance(found, dict) else found
    return list(found) if isinstance(found, list | tuple) else [found]


def _runs_on(
    dataset: str, block: Mapping[str, Any], parameters: Mapping[str, Any]
) -> Iterator[RunSpec]:
    def axis(name: str, default: Any) -> list:
        return _axis(block, parameters, name, default, dataset)

    if not axis("when", [True]):
        return
    seeds, tags = axis("seeds", 0), axis("ablations", [None])
    for tag in filter(None, tags):
        if tag not in ABLATIONS:
            known = ", ".join(ABLATIONS)
            raise StudyError(f"{PATH.name}: no ablation {tag!r}; there are {known}")
    axes = seeds, axis("shots", "all"), axis("sources", [None]), axis("without", [None]), tags
    limit = block.get("limit", parameters.get("limit"))
    for seed, shots, source, without, ablation, slug in product(*axes, axis("methods", [None])):
        of = ABLATIONS[ablation] if ablation else Ablation("", method=slug)
        if ablation and not of.claim and seed != seeds[0]:
            continue
        steps = _values(block["steps"], parameters)
        if isinstance(steps, dict):
            steps = steps[dataset if dataset in steps else "all" if shots == "all" else "few"]
        changes = {k: parameters[k] for k in ("batch_size", "crop", "precision") if k in parameters}
        changes["steps"] = _values(steps, parameters)
        changes |= rates(of.method, parameters.get("lr"), parameters.get("encoder_lr"), dataset)
        changes |= of.changes | ({"without": without} if without else {})
        words = {"steps": changes["steps"], "source": source, "without": without}
        yield RunSpec(
            of.method,
            shots,
            seed,
            dataset,
            block.get("split", "test"),
            ablation or block.get("tag", "").format(**words),
            changes,
            Variant(**of.variant),
            source,
            _backbone(parameters) if find_method(of.method).is_ours else POCKET,
            _values(limit, parameters),
        )


def _backbone(parameters: Mapping[str, Any]) -> Backbone:
    return Backbone(
        parameters.get("backbone", POCKET.name),
        parameters.get("pretrained"),
        parameters.get("weights_path"),
        parameters.get("grad_checkpointing", False),
    )


def accept(profile_name: str, results_dir: Path | str | None = None) -> list[str]:
    """Let finished runs stand although their inputs changed, which a person says cannot matter.

    Today's hash is put beside their maps; a record keeps that of what it was made from.

    Returns:
        The names of the runs that had other inputs or were accepted before.

    Raises:
        StudyError: a finished run was made with other settings, which do matter.
    """
    results = Path(results_dir or REPOSITORY / "results" / profile_name)
    accepted: list[str] = []
    other: list[str] = []
    specs = plan_profile(profile_name)
    for name, spec in specs.items():
        record, cache = results / "runs" / f"{name}.json", results / "cache" / name
        if not (record.is_file() and (cache / "done").is_file()):
            continue
        made = json.loads(record.read_text())
        if any(made["config"].get(key) != value for key, value in spec.asked.items()):
            other.append(name)
        elif made["provenance"].get("inputs_sha256") != inputs_sha256(spec):
            accepted.append(name)
    if other:
        raise StudyError(
            f"made with other settings, and not to be accepted: {', '.join(other)}; "
            f"run `make reproduce PROFILE={profile_name}`"
        )
    for name in accepted:
        atomic_write(results / "cache" / name / ACCEPTED, inputs_sha256(specs[name]))
    return accepted


def planned(profile_name: str, name: str) -> RunSpec:
    """The run of a profile whose record has this name.

    Raises:
        StudyError: the profile has no such run.
    """
    specs = plan_profile(profile_name)
    if name not in specs:
        raise StudyError(f"profile {profile_name} has no run {name!r}; it has {len(specs)}")
    return specs[name]
