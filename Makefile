# Everything a developer types. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all check clean

PYTHON ?= python3
# Where torch comes from: empty decides by itself (below); an index of pip, for example
# https://download.pytorch.org/whl/cu130, takes the build that lies there.
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CPU_INDEX := https://download.pytorch.org/whl/cpu

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED)  ## make .venv with everything needed (again only when pyproject.toml changed)

# On Linux the usual build of torch brings gigabytes of CUDA (torchaudio, s3prl and librosa bring none). Without an
# NVIDIA driver, PyTorch's own index of CPU builds is asked as well, unless pip is set up so that it knows a CPU build
# already.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "pip>=22.3"
	@index="$(TORCH_INDEX)"; \
	if [ -z "$$index" ] && [ "$$(uname -s)" = Linux ] && [ ! -e /proc/driver/nvidia ] && ! command -v nvidia-smi >/dev/null \
		&& ! $(BIN)/python -m pip index versions torch 2>/dev/null | grep -q '+cpu'; then index=$(CPU_INDEX); fi; \
	echo "installing ser-toolkit and what it needs (minutes, about 2 GB)$${index:+, torch from $$index}"; \
	$(BIN)/python -m pip install $${index:+--extra-index-url "$$index"} --editable ".[dev]"
	@touch $@

demo: setup  ## train and report on synthetic speech: a minute, no corpus, no download
	$(BIN)/ser-train recipe=demo

# One process a core, each with one thread; a file's tests stay together and in order.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile

test: setup  ## the default tests
	$(PYTEST)

test-all: setup  ## the default tests and those that take minutes
	$(PYTEST) -m ""

check: setup  ## format, lint, types, import direction, examples in docstrings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest --quiet tests/test_architecture.py
	$(BIN)/pytest --quiet --doctest-modules ser_toolkit

clean:  ## remove .venv, caches and build products; runs/ stays
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
