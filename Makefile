# ScrapSeg. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PROFILE ?= laptop
PYTHON ?= python3
# At a time; a GPU holds one run of the paper's encoder.
JOBS ?= $(if $(filter clip,$(PROFILE)),1,2)
THREADS ?= 4
PORT ?= 8866

# What may stand on make's line, by target and for all; another name is mistyped, and make itself passes it over.
apply_takes := DATA MINUTES ADAPT MODEL THRESHOLD RECALL EMPTY CLASSES SIDE OUT
watch_takes := SOURCE MODEL THRESHOLD MAX_MISS EVERY PIXEL_MM OUT
app_takes := PORT MODEL VOILA
gpu_takes := REHEARSE
torture_takes := KILLS ONLY OUT
all_take := PROFILE JOBS PYTHON THREADS EXECUTOR SNAKEMAKE
takes := $(foreach goal,$(MAKECMDGOALS),$($(goal)_takes))
# So may these, which come from the environment or are set below.
also := SHELL PATH HOME TMPDIR LANG LC_% SCRAPSEG_% OMP_% MKL_% CUDA_% HF_% UV_% PIP_% PYTHON% PYTEST_% GLIBC_% MALLOC_% \
  JUPYTER_% TOKENIZERS_% SLURM_% XDG_% http_% https_% HTTP_% HTTPS_% NO_PROXY no_proxy ALL_PROXY TERM CI BROWSER TORCH_% KMP_% \
  NVIDIA_% TQDM_% SBATCH_% PY UV RENDER READY QUIET ENGINE
given_here := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
mistyped := $(filter-out $(takes) $(all_take) $(also),$(given_here))
asked := $(or $(MAKECMDGOALS),help)
# A make within another's recipe is given what that one was; of a mistyped target make itself tells.
known_targets = $(shell grep -oE '^[a-z][a-z -]*:' $(firstword $(MAKEFILE_LIST)) | tr -d :)
$(if $(mistyped),$(if $(filter 0,$(MAKELEVEL)),$(if $(filter-out $(known_targets),$(asked)),,$(error $(mistyped): \
  make $(asked) takes no such variable but $(or $(strip $(takes)),$(all_take)); what the environment is to hold goes \
  first, as in NAME=value make))))

PY := .venv/bin/python
UV := $(PY) -m uv
RENDER := .venv-render
READY := .venv/.ready
# A progress bar on a terminal; in a log, nothing but errors.
QUIET := $(shell test -t 2 || echo --quiet)

# Notebooks run on the environment's own kernel, whatever kernels the user has registered.
export JUPYTER_PREFER_ENV_PATH := 1
export TOKENIZERS_PARALLELISM := false
# Threads that wait sleep: with another busy process beside it, a training step took up to fourteen times as long.
export OMP_WAIT_POLICY ?= PASSIVE
# glibc: keep freed memory, in huge pages; blocks above 128 MB, larger than any of a training step, go back.
export GLIBC_TUNABLES := glibc.malloc.hugetlb=1
export MALLOC_MMAP_THRESHOLD_ := 134217728
export MALLOC_TRIM_THRESHOLD_ := 4294967296
export UV_HTTP_TIMEOUT ?= 300

# The map of what is made from what is the Snakefile. EXECUTOR names a plugin of Snakemake's for other machines.
ENGINE = $(PY) -m snakemake --nolock --rerun-incomplete --scheduler greedy --max-checksum-file-size 100000000 \
  --quiet all $(if $(EXECUTOR),--executor $(EXECUTOR) --jobs $(JOBS) --retries 2,--cores all) $(SNAKEMAKE) \
  $(if $(EXECUTOR),,--resources place=$(JOBS)) --config profile=$(PROFILE) jobs=$(JOBS) $(if $(EXECUTOR),threads=$(THREADS))

# An option of a command where its variable is set: $(call given,OUT,out).
given = $(if $($1),--$2 "$($1)")

.PHONY: help env lock render render-studio render-pieces tune grid reproduce accept notebooks apply watch paper test verify lab app bench gpu torture clean

help: ## list the targets
	@echo "make TARGET [PROFILE=laptop] [JOBS=2, at a time] [PYTHON=python3]"
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'
	@echo "Profiles: $(notdir $(basename $(wildcard notebooks/profiles/*.yaml)))"

env: $(READY) ## create .venv with the pinned packages (the other targets do this on first use)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "ScrapSeg needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is none of them: name one, as in make env PYTHON=python3.12" >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	@echo "Setting up .venv from requirements.lock (7 to 8 GB on disk; on first use it is downloaded)"
	@$(PY) -m pip install --quiet uv
	@$(UV) pip sync $(QUIET) --compile-bytecode --python $(PY) requirements.lock
	@$(UV) pip install --quiet --python $(PY) --no-deps --editable .
	@touch $@

lock: $(READY) ## pin the packages anew from pyproject.toml (then bring environment.yml in step)
	@$(UV) pip compile --quiet --upgrade --universal --fork-strategy fewest --python-version 3.11 \
	  --extra dev --no-header --no-annotate --output-file requirements.lock pyproject.toml

# Blender's packages, in an environment of their own.
$(RENDER)/.ready: making/synth/requirements.txt | $(READY)
	@$(UV) venv --quiet --allow-existing --python 3.11 $(RENDER) || { \
	  echo "rendering needs Python 3.11: Blender's bpy wheel exists for no other" >&2; exit 1; }
	@$(UV) pip install $(QUIET) --python $(RENDER)/bin/python -r $<
	@touch $@

render: $(RENDER)/.ready ## render ScrapSim with Blender anew, to data/scrapsim-anew (hours; nobody needs it to use the data)
	@PYTHONPATH=. $(RENDER)/bin/python -m making.synth render --out data/scrapsim-anew

render-studio: $(RENDER)/.ready ## render the 6,000 captioned images of data/studio, likewise (an hour; needed only to align the model anew)
	@PYTHONPATH=. $(RENDER)/bin/python -m making.synth studio --out data/studio

render-pieces: $(RENDER)/.ready ## render the pieces of data/pieces that are not there, likewise (half an hour)
	@PYTHONPATH=. $(RENDER)/bin/python -m making.synth pieces --out data/pieces

tune: $(READY) ## choose every method's settings on val, four candidates each (hours; resumable)
	@$(PY) -m making.tune

grid: PROFILE = full
grid: $(READY) ## the runs of profile full and their tables; EXECUTOR=slurm elsewhere (hours, resumable; it needs the weights of data/controls)
	@$(ENGINE) --keep-going -- grid

reproduce: $(READY) ## a profile's runs, notebooks, tables, README and paper: what something changed for
	@$(ENGINE) -- reproduce

accept: $(READY) ## take what is there as up to date, after a change that cannot matter
	@$(PY) -m scrapseg accept --profile $(PROFILE)
	@$(ENGINE) --touch -- reproduce

notebooks: $(READY) ## the notebooks with a profile's outputs, to be read on the web, appendices too
	@$(ENGINE) -- notebooks

apply: $(READY) ## what is in your own images: make apply DATA=folder [MINUTES=5 ADAPT=no|yes MODEL= THRESHOLD= RECALL= EMPTY= CLASSES= SIDE= OUT=]
	@test -n "$(DATA)" || { echo "name the folder with your images, as in make apply DATA=my-images" >&2; exit 1; }
	@test -z "$(filter-out yes no,$(ADAPT))" || { echo "ADAPT is '$(ADAPT)'; it may be yes or no" >&2; exit 1; }
	@$(PY) -m scrapseg apply "$(DATA)" $(call given,OUT,out) $(call given,CLASSES,classes) $(call given,SIDE,side) $(call given,MODEL,model) \
	  $(patsubst yes,--adapt,$(patsubst no,--no-adapt,$(ADAPT))) $(call given,MINUTES,minutes) $(call given,THRESHOLD,threshold) $(call given,RECALL,recall) $(call given,EMPTY,empty)

paper: $(READY) ## build the paper's PDF from results/PROFILE as they are
	@$(PY) -m scrapseg paper --profile $(PROFILE)

test: $(READY) ## lint, unit tests, every notebook, the whole pipeline in small
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@PYTHONPATH=. .venv/bin/lint-imports --no-cache
	@OMP_NUM_THREADS=1 $(PY) -m pytest tests notebooks -n 2 --no-loadscope-reorder \
	  --nbval-lax --nbval-current-env --nbval-cell-timeout=600

verify: $(READY) ## check that the paper's tables and figures follow from the committed runs
	@$(PY) -m scrapseg verify --profile $(PROFILE); verified=$$?; $(PY) -m making.readme --check && exit $$verified

lab: $(READY) ## open the notebooks in JupyterLab
	@$(PY) -m jupyterlab

app: $(READY) ## a page in the browser to drop pictures on, on this machine alone: make app [PORT=8866] [MODEL=file]
	@echo "http://127.0.0.1:$(PORT) is the page; Ctrl-C ends it"
	@$(if $(MODEL),export SCRAPSEG_MODEL="$$(realpath "$(MODEL)")";) \
	  cd notebooks && exec ../$(PY) -m voila 08_app.ipynb --port=$(PORT) $(VOILA)

watch: $(READY) ## count what passes: make watch SOURCE=film, folder or rtsp://... [MODEL= THRESHOLD= MAX_MISS= EVERY= PIXEL_MM= OUT=]
	@test -n "$(SOURCE)" || { echo "name a film, a folder or a camera's address, as in make watch SOURCE=belt.mp4" >&2; exit 1; }
	@$(PY) -m scrapseg watch "$(SOURCE)" $(call given,OUT,out) $(call given,MODEL,model) $(call given,THRESHOLD,threshold) \
	  $(call given,MAX_MISS,max-miss) $(call given,EVERY,every) $(call given,PIXEL_MM,pixel-mm)

bench: $(READY) ## measure training, inference and `make watch` on this machine, alone and beside a busy process
	@$(PY) -m making.bench
	@$(PY) -m making.inference
	@$(PY) -m making.belt_film

gpu: $(READY) ## what wants a GPU, most valuable first, resumable; REHEARSE=1: all of it in small, on a CPU
	@$(PY) -m making.gpu $(if $(REHEARSE),--rehearse --out results/smoke/gpu)

torture: $(READY) $(RENDER)/.ready ## kill everything at random moments, see that it goes on: make torture [KILLS=20 ONLY='training "make apply"' OUT=results/bench] (two hours; needs Chromium)
	@$(PY) -m making.torture $(if $(KILLS),--kills $(KILLS)) $(if $(ONLY),--only $(ONLY)) $(call given,OUT,out)

clean: ## remove caches (trained weights too), logs and smoke results; data and committed results stay
	@rm -rf results/smoke results/*/cache results/*/logs results/*/notebooks .snakemake .pytest_cache .ruff_cache .hypothesis dist
	@find scrapseg tests notebooks -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
