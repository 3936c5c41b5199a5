# Two commands on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
# Both make their own environment in .venv and install what they need.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# demo: CHECKPOINT=large takes the published weights from the hub; INPUT takes your own pictures.
CHECKPOINT ?= synthetic
INPUT ?=
OUTPUT ?= demo-output
SYNTHETIC := models/synthetic-27

.PHONY: demo test docs lint test-lowest bench bench-quick bench-track bench-spread bench-scaling bench-others fidelity gpu-check trt-check clean compile-check

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "emonet-fast needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[demo]'
	touch $@

# PyTorch and matplotlib are pinned: what the tests compare with must not change under them.
$(VENV)/.test: pyproject.toml tests/constraints/test.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c tests/constraints/test.txt -e '.[test]'
	touch $@

$(SYNTHETIC): | $(VENV)/.demo
	@echo "making an untrained checkpoint of full size in $@: about two minutes and 2 GB, once"
	$(BIN)/emonet-fast synthetic $@

ifeq ($(CHECKPOINT),synthetic)
demo: $(SYNTHETIC)
WEIGHTS = $(SYNTHETIC)
else
WEIGHTS = $(CHECKPOINT)
endif

demo: $(VENV)/.demo
	@mkdir -p $(OUTPUT)
	$(BIN)/emonet-fast score $(if $(INPUT),$(INPUT),$$($(BIN)/python -m benchmarks.pictures)) \
	    --checkpoint $(WEIGHTS) --output $(OUTPUT)/scores.parquet --report $(OUTPUT)/report.html
	@echo "look at $(OUTPUT)/report.html"

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	touch $@

# The pages of docs/ and the Python reference, in build/docs. The variable silences an advertisement, not a check.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "look at build/docs/index.html"

# Two at a time: most tests keep one core busy, and each process makes its own checkpoints.
test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal -p no:benchmark

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror csrc/*/*.h csrc/*/*.cpp tests/csrc/*.cpp tests/csrc/fake/*.h tests/csrc/fake/*.cpp tests/csrc/fake/include/*.h

# Every Triton kernel compiled for every supported GPU, without one: no spills, no shared memory above the limit.
compile-check: $(VENV)/.test
	$(BIN)/python -m emonet_fast.kernels.aot

# The lowest versions of the direct dependencies: an import and a small scoring test.
test-lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-lowest/bin/python -m pip install --quiet -c tests/constraints/lowest.txt -e '.[reference,eval]' pytest hypothesis
	$(VENV)-lowest/bin/python -m pytest tests/test_lowest.py

# The suites of benchmarks/suites at full depth: within 15 minutes on 2 cores, the two checkpoints (5 minutes and 4 GB,
# once) not counted. BENCH takes options of benchmarks.run, --device cuda for example.
BENCH ?=
bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.run $(BENCH)
	$(BIN)/python -m benchmarks.pages

# A case a room at one layer, to see that they run: at most 2 minutes.
bench-quick: $(VENV)/.test
	$(BIN)/python -m benchmarks.run --quick

# The same cases in rounds enough for benchmarks.compare: four minutes. Not those that start processes.
bench-track: $(VENV)/.test
	$(BIN)/python -m benchmarks.run --track

# How far the ratios that CI compares vary from run to run; and the curves of docs/scaling.md.
bench-spread: $(VENV)/.test
	$(BIN)/python -m benchmarks.spread
	$(BIN)/python -m benchmarks.pages

bench-scaling: $(VENV)/.test
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.pages

# Other people's packages, in an environment of their own.
bench-others: $(VENV)/.test
	$(BIN)/python -m benchmarks.others

# The README's tables of fidelity and start: the reference beside the engine, 64 pictures each: far longer than bench.
fidelity: $(VENV)/.test
	$(BIN)/python -m benchmarks.fidelity
	$(BIN)/python -m benchmarks.pages

# GPU tests and GPU benchmarks in under 8 minutes, on a machine that has PyTorch, Triton, numpy, pytest, transformers
# and safetensors. Uses $(PYTHON) as it is: no environment is made, nothing is fetched, and the package goes to
# build/gpu-check/site. GPU_CHECK=--dry proves the scripts without a GPU.
GPU_CHECK ?=
GPU_SITE := $(CURDIR)/build/gpu-check/site
# The installed package goes before the checkout, whose kernels lie in another folder.
ON_GPU := PYTHONSAFEPATH=1 PYTHONPATH=$(GPU_SITE):$(CURDIR) $(PYTHON)
gpu-check:
	$(PYTHON) benchmarks/gpu/install.py $(GPU_SITE)
	$(ON_GPU) -m benchmarks.gpu.check $(GPU_CHECK)

# TensorRT engines built and measured beside the others, on a machine that has TensorRT, its headers (docs/tensorrt.md),
# pybind11, PyTorch, Triton and transformers beside this package's own dependencies. Like gpu-check it makes no
# environment and fetches nothing. TRT_CHECK=--dry proves the scripts on the fakes, without a GPU and TensorRT (2 min).
TRT_CHECK ?=
trt-check:
	$(PYTHON) benchmarks/gpu/install.py $(GPU_SITE)
	$(ON_GPU) -m benchmarks.trt.check $(TRT_CHECK)

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-others build dist $(OUTPUT)
