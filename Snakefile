# ScrapSeg's map: what is made from what, and in which order. `make reproduce` follows it.
#
#   data checksums, weights, settings -> run records -> tables -> notebooks -> README blocks -> paper
#
# A job is done again when the content of an input, a parameter or its command changed, or when an
# output is missing. Records, pictures and the published notebooks are committed; what is not (marks
# and weights in results/<profile>/cache, executed notebooks) is what a fresh clone lacks, so there
# everything of the profile runs.
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)

from scrapseg.report import engine

PROFILE = config.get("profile", "laptop")
if not Path(f"notebooks/profiles/{PROFILE}.yaml").is_file():
    known = ", ".join(sorted(path.stem for path in Path("notebooks/profiles").glob("*.yaml")))
    raise SystemExit(f"reproduce: no profile {PROFILE!r} in notebooks/profiles; there is {known}")
engine.begin(workflow, f"results/{PROFILE}/cache/engine.lock")  # first: what is wrong below is told

from scrapseg.experiments import studies
from scrapseg.experiments.methods import METHODS
from scrapseg.report import notebook

JOBS = int(config.get("jobs", 1))
# Threads of a job that has the machine to itself, and of one that shares it.
WHOLE = int(config.get("threads", os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
SHARED = WHOLE if "threads" in config else max(1, WHOLE // JOBS)  # elsewhere a job has its threads, however many there are
RESULTS = f"results/{PROFILE}"
CACHE = f"{RESULTS}/cache"
VALUES = studies.profile(PROFILE)
STUDIES = VALUES.get("studies", list(studies.STUDIES))
RUNS = studies.plan_profile(PROFILE)
# Names, colours and markers that pictures show.
LOOKS = [vars(METHODS[m])[k] for m in sorted({s.method for s in RUNS.values()}) for k in ("label", "colour", "marker")]

# Notebook -> the studies whose runs it shows.
NOTEBOOKS = {
    "01_data_exploration": (),
    "02_prompt_design": ("words",),
    "03_multiscale_finetuning": ("finetuning", "ablations", "long"),
    "04_fewshot_ablations": ("fewshot", "labels", "alignment", "domains", "compared"),  # what labels cost: of all methods
    "05_baseline_comparison": ("compared",),
    "05b_misses_and_furnace": ("compared",),
    "06_real_data": ("photographs",),
    "07_apply_to_your_scrap": (),
}
APPENDICES = ("a1_render_scrapsim", "a2_align_pocket_clip")  # how data and weights were made
PHOTOGRAPHS = "06_real_data"  # what profile `real` runs, and publishes

# Packages of the lock that can change a notebook's numbers or pictures; a run's stand in its settings.
PACKAGES = (
    *studies.PACKAGES,
    *studies.TRAINING_PACKAGES,
    *studies.TEXT_PACKAGES,
    *("matplotlib", "pandas", "scikit-image", "scikit-learn", "seaborn"),
)


# What things are made from --------------------------------------------------------------------


def records(*names):
    """Records and marks of finished runs of the studies of these names."""
    specs = [spec for name in names if name in STUDIES for spec in studies.plan(name, VALUES)]
    kinds = (f"{RESULTS}/runs/{{}}.json", f"{CACHE}/{{}}/done")
    return [kind.format(spec.name) for kind in kinds for spec in {s.name: s for s in specs}.values()]


def needed(spec):
    """What a run is made from; one that starts from another's model waits for that run."""
    return relative(spec.inputs()) + ([f"{CACHE}/{spec.after}/done"] if spec.after else [])


def relative(paths):
    """Paths as seen from here."""
    return [os.path.relpath(path) for path in paths]


def listed(*patterns):
    """Files that are there, sorted."""
    return sorted(str(path) for pattern in patterns for path in Path().glob(pattern) if path.is_file())


def results_of(profile):
    """What another profile has made: its table of metrics stands for its records."""
    kinds = ("metrics.csv", "times.json", "stats.npz", "tables/*", "figures/*", "leaderboard/*")
    return listed(*(f"results/{profile}/{kind}" for kind in kinds))


def sources(stem):
    """Rooms of scrapseg/ and making/ that a notebook imports from; of data/ and experiments/ only
    the files that it names, since most of what is there is for other data and other runs."""
    text = Path(f"notebooks/{stem}.py").read_text(encoding="utf-8")
    imported = re.findall(r"^from ((?:scrapseg|making)[\w.]*) import ([^\n#(]+)", text, re.M)
    modules = {f"{base}.{n.split()[0]}" for base, names in imported for n in names.split(",")}
    found = {"scrapseg/files.py"}
    for parts in (name.split(".") for name in modules | {base for base, _ in imported}):
        room, file = "/".join(parts[:2]), "/".join(parts[:3])
        if room in ("scrapseg/data", "scrapseg/experiments"):
            found |= set(listed(f"{file}.py", f"{file}.yaml"))
        elif len(parts) > 1:
            found |= set(listed(*(f"{room}/*.{end}" for end in ("py", "yaml", "html", "mplstyle"))))
    by_way_of = {"folder": ("labels", "layouts", "listing", "masks"), "belt_waste": ("photographs",)}
    for name, others in by_way_of.items():
        if f"scrapseg/data/{name}.py" in found:
            found |= {f"scrapseg/data/{other}.py" for other in others}
    return sorted(found)


#: Tables of studies apart from the engine that a notebook of the same profile shows.
APART = {
    PHOTOGRAPHS: ("adaptation", "class_offsets", "few_labels", "steel_labels"),
    "03_multiscale_finetuning": ("calibration", "longest", "magnified", "more_magnified", "more_rivals",
                                 "more_scenes", "new_head", "own_rates", "second_rival", "small_things",
                                 "towers"),
}


def notebook_inputs(stem):
    """What a notebook is made from: its text, its runs, what it shows of others, sources."""
    text = Path(f"notebooks/{stem}.py").read_text(encoding="utf-8")
    others = set(re.findall(r"\.\./results/(\w+)", text)) - {PROFILE, "smoke"}
    shown = [path for other in sorted(others) for path in results_of(other)]
    weights = listed("data/pocket/*") if re.search(r"^from scrapseg\.(models|app)", text, re.M) else []
    data = listed("data/scrapsim/checksums.sha256", "data/studio/*.md", "notebooks/pictures/*")
    data += listed(*(f"{RESULTS}/tables/{name}.csv" for name in APART.get(stem, ())))
    return [f"notebooks/{stem}.py", *records(*NOTEBOOKS.get(stem, ())), *sources(stem), *data, *weights, *shown]


def notebook_values(stem):
    """Those of the profile's parameters that a notebook has; an appendix runs at its defaults."""
    values = {} if stem in APPENDICES else VALUES
    return notebook.parameters(Path(f"notebooks/{stem}.py"), values)


def made(stem):
    """Tables and figures that a notebook always writes: those it saves outside any condition."""
    text = Path(f"notebooks/{stem}.py").read_text(encoding="utf-8")
    saved = re.findall(r'^save_(table|figure)\([^"]*?results_dir,\s*"([\w-]+)"', text, re.M)
    endings = {"table": ("csv",), "figure": ("pdf", "png", "json")}
    return [f"{RESULTS}/{kind}s/{name}.{end}" for kind, name in saved for end in endings[kind]]


STEMS = [PHOTOGRAPHS] if PROFILE == "real" else [s for s in NOTEBOOKS if Path(f"notebooks/{s}.py").exists()]
PUBLISHED = {"laptop": [s for s in STEMS if s != PHOTOGRAPHS], "real": STEMS}.get(PROFILE, [])
SHOWN = {"laptop", "real"}  # profiles that README and the committed paper show
TARGETS = "results/bench/targets.csv"
PAPER = "paper/paper.pdf" if PROFILE in SHOWN else f"{RESULTS}/paper.pdf"
OWN = {path for stem in STEMS for path in made(stem)} | {f"{RESULTS}/metrics.csv"}
# Where costs are compared, nothing runs beside these.
ALONE = {Path(path).stem for path in records("compared")} if VALUES.get("costs") else set()
REPORT = listed("scrapseg/report/*.py", "scrapseg/report/*.yaml", "scrapseg/report/*.mplstyle", "scrapseg/metrics/*.py",
                *(f"scrapseg/experiments/{name}.*" for name in ("records", "stats", "methods", "studies")))


def shown_results():
    """All that README and paper may show, but for what this profile's jobs are about to make."""
    profiles = ("laptop", "full", "real") if PROFILE in SHOWN else (PROFILE,)
    return [p for profile in profiles for p in results_of(profile) if p not in OWN and RESULTS not in p]


# Targets --------------------------------------------------------------------------------------


rule reproduce:  # everything of a profile
    input:
        expand(f"{RESULTS}/notebooks/{{stem}}.ipynb", stem=STEMS),
        [f"{CACHE}/published/{stem}" for stem in PUBLISHED],
        f"{CACHE}/paper.done",
        [f"{CACHE}/readme.done"] if PROFILE in SHOWN else [],


rule notebooks:  # the committed notebooks, appendices too
    input:
        [f"{CACHE}/published/{stem}" for stem in [*PUBLISHED, *APPENDICES]],


rule grid:  # a profile's runs, and what shows them
    input:
        f"{CACHE}/tables.done",
        [f"{RESULTS}/notebooks/{stem}.ipynb" for stem in STEMS if NOTEBOOKS[stem]],


# Jobs -----------------------------------------------------------------------------------------


localrules: tables, publish, targets, readme, paper


rule run:
    input:
        lambda wildcards: needed(RUNS[wildcards.name]),
    output:
        update(f"{RESULTS}/runs/{{name}}.json"),
        f"{CACHE}/{{name}}/done",
    params:
        settings=lambda wildcards: RUNS[wildcards.name].settings(),
    log:
        f"{RESULTS}/logs/{{name}}.log",
    threads: lambda wildcards: WHOLE if wildcards.name in ALONE else SHARED
    # These take longest: begun last, one would keep a single core busy while the others wait for it.
    priority: lambda wildcards: METHODS[RUNS[wildcards.name].method].family == "supervised"
    resources:
        place=lambda wildcards: JOBS if wildcards.name in ALONE else 1,  # of JOBS, however many threads there are
    shell:
        "{sys.executable} -m scrapseg run {wildcards.name} --profile {PROFILE} --log {log}"
        " && touch {output[1]}"


rule tables:
    input:
        records(*STUDIES),
        REPORT,
        listed("data/scrapsim/checksums.sha256"),
    output:
        update(f"{RESULTS}/metrics.csv"),
        f"{CACHE}/tables.done",
        update(f"{RESULTS}/stats.npz"),
    log:
        f"{RESULTS}/logs/tables.log",
    shell:
        "{sys.executable} -m scrapseg tables --profile {PROFILE} --log {log} && touch {output[1]}"


for stem in [*STEMS, *APPENDICES]:

    rule:
        name: stem
        input:
            notebook_inputs(stem),
        output:
            f"{RESULTS}/notebooks/{stem}.ipynb",
            [update(path) for path in made(stem)],
        params:
            stem=stem,
            values=notebook_values(stem),
            looks=LOOKS,
            packages=studies.pins(PACKAGES),
        log:
            f"{RESULTS}/logs/{stem}.log",
        threads: SHARED
        resources:
            place=1,
        shell:
            "{sys.executable} -m scrapseg notebook {params.stem} --profile {PROFILE} --log {log}"


rule publish:
    input:
        "notebooks/{stem}.py",
        f"{RESULTS}/notebooks/{{stem}}.ipynb",
    output:
        update("notebooks/{stem}.ipynb"),
        f"{CACHE}/published/{{stem}}",
    log:
        f"{RESULTS}/logs/publish-{{stem}}.log",
    shell:
        "{sys.executable} -m scrapseg publish {wildcards.stem} --profile {PROFILE} --log {log}"
        " && touch {output[1]}"


rule targets:  # what was aimed at, of tables that are measured apart
    input:
        "making/targets.py",
        "making/studies/words_kept.py",
        [path for path in listed("results/bench/*.csv") if path != TARGETS],
        listed(*(f"results/real/tables/{name}.csv" for name in ("adaptation", "few_labels", "photo_paired", "steel_labels"))),
        listed("results/laptop/times.json"),
        listed("results/full/runs/unet_scrapsim_allshots_s0_2000-steps.json"),
        listed(*(f"results/full/tables/{name}.csv" for name in ("ablation", "labels_paired", "long", "long_paired", "magnified", "per_class", "promise", "words_kept"))),
    output:
        f"{CACHE}/targets.done",
    shell:
        "{sys.executable} -m making.targets && touch {output}"


rule readme:
    input:
        "README.md",
        "making/readme.py",
        f"{CACHE}/tables.done",
        sorted(path for path in OWN if path.endswith(".csv")),
        listed("results/laptop/times.json"),
        [path for path in shown_results() if path.endswith(".csv")],
        f"{CACHE}/targets.done",
        TARGETS,
        REPORT,
    output:
        f"{CACHE}/readme.done",
    shell:
        "{sys.executable} -m making.readme && touch {output}"


rule paper:
    input:
        listed("paper/*.typ", "paper/**/*.typ", "paper/*.bib", "paper/**/*.svg"),
        "data/pocket/alignment.json",
        listed("data/scrapsim/checksums.sha256"),
        expand(f"{RESULTS}/notebooks/{{stem}}.ipynb", stem=STEMS),
        f"{CACHE}/tables.done",
        sorted(OWN),
        shown_results(),
        listed(*(f"{RESULTS}/tables/{name}.csv" for names in APART.values() for name in names)),
        [f"{CACHE}/targets.done", TARGETS] if PROFILE in SHOWN else [],
        REPORT,
    output:
        f"{CACHE}/paper.done",
        [] if PROFILE == "real" else update(PAPER),  # one paper for both: the laptop's is the owner
    params:
        packages=studies.pins(["typst"]),
    log:
        f"{RESULTS}/logs/paper.log",
    shell:
        "{sys.executable} -m scrapseg paper --profile {PROFILE} --log {log} && touch {output[0]}"
