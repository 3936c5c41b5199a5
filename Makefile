# Two commands on a fresh machine with Python 3.11 or newer: `make demo` and `make test`; `make help` names the others.
# Each makes its own environment in .venv and installs what it needs, but for gpu-check and trt-check.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# demo: CHECKPOINT=large takes the published weights from the hub; INPUT takes your own pictures.
CHECKPOINT ?= synthetic
INPUT ?=
OUTPUT ?= demo-output
SYNTHETIC := models/synthetic-27

.DEFAULT_GOAL := help
.PHONY: help demo test test-recipes fuzz lint format docs compile-check test-lowest test-newest dist sbom image conda \
    release-notes bench bench-quick bench-track bench-spread bench-scaling bench-others bench-int8 bench-serving fidelity \
    pages screenshots gpu-check trt-check clean

help: ## Name every target.
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name what; do \
	    printf '%-16s%s\n' "$$name" "$$what"; done

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "emonet-fast needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[demo]'
	touch $@

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	touch $@

# PyTorch and matplotlib are pinned: what the tests compare with must not change under them.
$(VENV)/.test: pyproject.toml tests/constraints/test.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c tests/constraints/test.txt -e '.[test]'
	touch $@

$(SYNTHETIC): | $(VENV)/.demo
	@echo "making an untrained checkpoint of full size in $@, once: about two minutes, and 4 GB with its packed copy"
	$(BIN)/emonet-fast synthetic $@

ifeq ($(CHECKPOINT),synthetic)
demo: $(SYNTHETIC)
WEIGHTS = $(SYNTHETIC)
else
WEIGHTS = $(CHECKPOINT)
endif

demo: $(VENV)/.demo ## Score two portraits, whole and cropped, and write a page; CHECKPOINT=large and INPUT=folder for your own.
	@mkdir -p $(OUTPUT)
	$(BIN)/emonet-fast score $(if $(INPUT),$(INPUT),$$($(BIN)/python -m benchmarks.pictures $(OUTPUT)/portraits)) \
	    --checkpoint $(WEIGHTS) --output $(OUTPUT)/scores.parquet --report $(OUTPUT)/report.html
	@echo "look at $(OUTPUT)/report.html"

# Three at a time on two cores: while one waits for a checkpoint that another makes, for a disk or a program, the others go on.
test: $(VENV)/.test ## Run all tests: ten minutes on two cores.
	$(BIN)/python -m pytest -n 3 --dist worksteal -p no:benchmark

# What is not there is skipped, and pytest says so: npm and Chromium; Java; Debian's python3-gi and
# gstreamer1.0-plugins-base, libmpv2 and libegl1; headers of ONNX Runtime (EMONET_FAST_ONNXRUNTIME). Triton wants a Python
# of Debian's, BORIS one of 3.12 or newer.
RECIPES := $(CURDIR)/build/recipes
TRITON_PYTHON ?= /usr/bin/python3
BORIS_PYTHON ?= $(PYTHON)
test-recipes: $(VENV)/.test ## Try docs/recipes.md with other people's programs, each in a place of its own: 4 GB, once.
	mkdir -p $(RECIPES)/node $(RECIPES)/gi
	-cd $(RECIPES)/node && npm install --no-save --ignore-scripts onnxruntime-node onnxruntime-web
	ln -sfn /usr/lib/python3/dist-packages/gi $(RECIPES)/gi/gi
	$(BIN)/python -m pip install --quiet --upgrade --target $(RECIPES)/more pyspark datasets 'ray[serve]'
	$(PYTHON) -m venv $(RECIPES)/kserve
	$(RECIPES)/kserve/bin/python -m pip install --quiet kserve onnxruntime
	$(TRITON_PYTHON) -m venv --without-pip $(RECIPES)/triton
	$(BIN)/python -m pip --python $(RECIPES)/triton/bin/python install --quiet nvidia-pytriton onnxruntime
	-$(BORIS_PYTHON) -m venv $(RECIPES)/boris
	-$(RECIPES)/boris/bin/python -m pip install --quiet 'boris-behav-obs>=9' openpyxl
	EMONET_FAST_BORIS=$$(ls -d $(RECIPES)/boris/lib/python3*/site-packages/boris >&2 && echo $(RECIPES)/boris/bin/python) \
	    EMONET_FAST_NODE=$(RECIPES)/node EMONET_FAST_KSERVE=$(RECIPES)/kserve/bin/python \
	    EMONET_FAST_TRITON=$(RECIPES)/triton/bin/python PYTHONPATH=$(RECIPES)/gi:$(RECIPES)/more \
	    $(BIN)/python -m pytest -p no:benchmark tests/recipes

# FUZZ names kinds of damage (python -m tests.fuzz --help); a fault is printed with its seed.
MINUTES ?= 60
FUZZ ?=
fuzz: $(VENV)/.test ## Try damaged pictures, archives, tables, checkpoints and videos: MINUTES at most.
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(FUZZ)

CSRC := csrc/*/*.h csrc/*/*.cpp tests/csrc/*.cpp tests/csrc/fake/*.h tests/csrc/fake/*.cpp tests/csrc/fake/include/*.h

lint: $(VENV)/.test ## Check style, format and types of Python and C++.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CSRC)

format: $(VENV)/.test ## Format Python and C++, and mend what the linter can mend.
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CSRC)

# The variable silences an advertisement, not a check.
docs: $(VENV)/.docs ## Build the pages of docs/ and the Python reference into build/docs.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "look at build/docs/index.html"

# No kernel may spill registers, or take more shared memory than a GPU has.
compile-check: $(VENV)/.test ## Compile every Triton kernel for every supported GPU, without a GPU.
	$(BIN)/python -m emonet_fast.kernels.aot

test-lowest: ## Try the lowest versions of the dependencies in an environment of their own.
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-lowest/bin/python -m pip install --quiet -c tests/constraints/lowest.txt -e '.[reference,eval]' pytest hypothesis
	$(VENV)-lowest/bin/python -m pytest tests/test_lowest.py

# NEWEST takes options of pytest, such as names of files; PYTHON the newest interpreter there is.
NEWEST ?=
test-newest: ## Run the tests with the newest version of everything, in an environment of their own.
	$(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager -e '.[test,remote]'
	$(VENV)-newest/bin/python -m pip list
	$(VENV)-newest/bin/python -m pytest -n 3 --dist worksteal -p no:benchmark $(NEWEST)

$(VENV)/.release: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[release]'
	touch $@

# DIST takes options of release.dist: --python COMMAND, several times; --only-build.
DIST ?=
dist: $(VENV)/.release ## Build source archive and wheels twice, compare, check and try them with every Python there is.
	$(BIN)/python -m release.dist $(DIST)

# The environment of the tests has the extras whose licences are looked at.
sbom: $(VENV)/.test $(VENV)/.release ## List the dependencies (CycloneDX) and their licences; fail if one conflicts.
	$(BIN)/python -m release.licences

# As root, with buildah and debootstrap; BASE=pull takes the base image from its registry.
image: $(VENV)/.release ## Build docs/serving/Dockerfile.cpu without a daemon, measure it, and score with it offline.
	HADOLINT=$(BIN)/hadolint release/image.sh

# CONDA takes options of release.channel: --python COMMAND, --output FOLDER.
CONDA ?=
conda: $(VENV)/.release ## Build the conda package, and try it, with packages of this machine instead of conda-forge's.
	$(BIN)/python -m release.channel $(CONDA)

VERSION ?=
release-notes: ## Print the CHANGELOG's section of this version, or of VERSION.
	@$(PYTHON) -m release.notes $(VERSION)

# The two checkpoints (5 minutes and 4 GB, once) are not counted. BENCH takes options of benchmarks.run: --device cuda.
BENCH ?=
bench: $(VENV)/.test ## Measure all suites at full depth and write the tables: 15 minutes on two cores.
	$(BIN)/python -m benchmarks.run $(BENCH)
	$(BIN)/python -m benchmarks.pages

bench-quick: $(VENV)/.test ## Show that the suites run, with one layer: two minutes.
	$(BIN)/python -m benchmarks.run --quick

# Not the cases that start processes: each round of these takes seconds.
bench-track: $(VENV)/.test ## Measure the quick cases in rounds enough for benchmarks.compare: four minutes.
	$(BIN)/python -m benchmarks.run --track

bench-spread: $(VENV)/.test ## Measure how far the tracked ratios vary from run to run: half an hour.
	$(BIN)/python -m benchmarks.spread
	$(BIN)/python -m benchmarks.pages

bench-scaling: $(VENV)/.test ## Measure the curves of docs/scaling.md, and the streams of this machine: ten minutes.
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.streams
	$(BIN)/python -m benchmarks.pages

bench-others: $(VENV)/.test ## Measure other people's packages, each in an environment of its own.
	$(BIN)/python -m benchmarks.others
	$(BIN)/python -m benchmarks.pages

# INT8 takes options of benchmarks.int8: --recipe F, --nncf PYTHON, --proof 64, --without-bf16.
INT8 ?=
bench-int8: $(VENV)/.test ## Measure int8 on the CPU beside the published pipeline, side by side: five minutes.
	$(BIN)/python -m benchmarks.int8 --keep $(INT8)
	$(BIN)/python -m benchmarks.pages

# The load generator, locust, gets an environment of its own. SERVING takes options of benchmarks.serving.
SERVING ?=
bench-serving: $(VENV)/.test ## Measure what the server costs beside its scorer, and what it bears: ten minutes.
	$(BIN)/python -m benchmarks.serving $(SERVING)
	$(BIN)/python -m benchmarks.pages

fidelity: $(VENV)/.test ## Compare 64 pictures at full depth with the published pipeline: longer than bench.
	$(BIN)/python -m benchmarks.fidelity
	$(BIN)/python -m benchmarks.pages

pages: $(VENV)/.test ## Write the measured tables and plots of the documents again, from the stored results.
	$(BIN)/python -m benchmarks.pages

# Needs Chromium. `make docs` shows what is drawn, and leaves out what is not.
screenshots: $(VENV)/.test ## Draw the pages that the documents show, by a browser, from untrained weights.
	$(BIN)/python -m benchmarks.screenshots

# Both use $(PYTHON) as it is: no environment is made and nothing is fetched. They run in a copy of the sources in which
# the kernels' folder is in the package. Results go to $(OUT) where that is set: a lent machine may bring back no more.
GPU_TREE := $(CURDIR)/build/gpu-check/tree
GPU_RESULTS := $(if $(OUT),--results $(OUT))

# Needs PyTorch, Triton, numpy, Pillow, pytest, transformers and safetensors. GPU_CHECK=--dry proves the scripts without
# a GPU; GPU_CHECK="--until 240" ends after four minutes, and the next run goes on (docs/gpu-notes.md).
GPU_CHECK ?=
gpu-check: ## Run the GPU's tests and benchmarks on a machine that has one: under 14 minutes.
	$(PYTHON) -m benchmarks.gpu.check $(GPU_RESULTS) $(GPU_CHECK)

# Needs TensorRT, its headers (docs/tensorrt.md), pybind11, PyTorch, Triton and transformers beside this package's own
# dependencies. TRT_CHECK=--dry proves the scripts on the fakes, without a GPU and TensorRT (2 minutes).
TRT_CHECK ?=
TRT_RESULTS = $(or $(OUT),$(CURDIR)/$(if $(findstring --dry,$(TRT_CHECK)),build/trt-check,benchmarks/results))
trt-check: ## Build TensorRT engines and measure them beside the others, on a machine with a GPU.
	$(PYTHON) benchmarks/gpu/install.py $(GPU_TREE)
	-$(PYTHON) benchmarks/gpu/install.py $(GPU_TREE) setup.py --quiet build_ext --inplace
	$(PYTHON) benchmarks/gpu/install.py $(GPU_TREE) -m benchmarks.trt.check --results $(TRT_RESULTS) $(TRT_CHECK)

clean: ## Delete the environments, build/, dist/ and the demo's output.
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest $(VENV)-others build dist $(OUTPUT)
