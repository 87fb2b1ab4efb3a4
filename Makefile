# Every target installs what it needs into .venv, again when the requirements change.

SHELL := bash
.SHELLFLAGS := -eo pipefail -c
PYTHON ?= python3
JOBS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python
CORE := $(VENV)/.core-installed
DEV := $(VENV)/.dev-installed
# The C++ engine, so that the first sound need not wait; without a compiler others run.
BUILD_ENGINE = $(VENV)/bin/v2s build 2>&1 | sed 's/^error:/note:/' || true
PIP_INSTALL := $(RUN) -m pip install --disable-pip-version-check

.DELETE_ON_ERROR:
.PHONY: install demo test test-all test-jax soak probes lint docs clean help

install: $(DEV)
	@$(BUILD_ENGINE)
	@echo "installed: $(VENV)/bin/v2s --help"

help:
	@echo "make           install the checkout with all extras into .venv: .venv/bin/v2s"
	@echo "make demo      install the core only, and generate audio for the example video: out/demo"
	@echo "make test      fast tests"
	@echo "make test-all  all tests except soak tests"
	@echo "make test-jax  tests that depend on the versions of JAX and NumPy"
	@echo "make soak      tests that run for long"
	@echo "make probes    experiments of docs/probes (45 minutes)"
	@echo "make lint      style, types, import layers"
	@echo "make docs      API pages: out/api"
	@echo "make clean     remove out/ and caches; .venv, datasets and runs stay"
	@echo "PYTHON=python3.12 chooses the Python of .venv (3.11 or newer), VENV=.venv-3.12 its"
	@echo "folder, JOBS=2 the number of test processes"

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is missing or older than Python 3.11: name a newer one," \
	    "as in: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "error: $(PYTHON) cannot create $(VENV): install its venv module" \
	    "(Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }

$(CORE): requirements.txt pyproject.toml | $(RUN)
	@echo "installing the core into $(VENV): about 400 MB to download"
	@$(PIP_INSTALL) --progress-bar on -e . | sed -u -n -E 's/^ *(Downloading|Using cached) ([^ ]+).*/  \2/p; s/^Installing .*/  unpacking/p'
	@$(RUN) -c 'import v2s_jax'
	@touch $@

$(DEV): requirements.txt pyproject.toml | $(RUN)
	@echo "installing all extras into $(VENV): some minutes the first time"
	@$(PIP_INSTALL) --quiet -e '.[all,dev]'
	@touch $(CORE) $@

demo: $(CORE)
	@$(BUILD_ENGINE)
	$(VENV)/bin/v2s sample --checkpoint aligned --video v2s_jax/examples/drum.mp4 --out out/demo --overwrite
	$(VENV)/bin/v2s sample --category rain --seconds 4 --out out/demo --overwrite

# One process for each test file; results do not depend on the number of processes.
PYTEST := $(RUN) -m pytest --numprocesses $(JOBS) --dist loadfile

# The fast tests compile much and compute little; the slow ones compile as users do.
test: $(DEV)
	XLA_FLAGS="--xla_backend_optimization_level=0 $$XLA_FLAGS" $(PYTEST)

test-all: test
	$(PYTEST) -m "slow and not soak"

test-jax: $(DEV)
	$(PYTEST) tests/model tests/training/test_training.py tests/sampling/test_sampler.py

soak: $(DEV)
	$(RUN) -m pytest -m soak

probes: $(DEV)
	$(RUN) -m tests.probes starvation
	$(RUN) -m tests.probes variants
	$(RUN) -m tests.probes precision --seeds 1 --steps 400

lint: $(DEV)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(RUN) docs/generate_tables.py --check

docs: $(DEV)
	$(RUN) -m docs.api out/api

clean:
	rm -rf out build *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find v2s_jax benchmarks tools data tests -name __pycache__ -type d -prune -exec rm -rf {} +
