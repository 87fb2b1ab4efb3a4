# Every target that runs Python makes .venv itself, and installs again when requirements change.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python
RUNTIME := $(VENV)/.requirements-installed
DEV := $(VENV)/.requirements-dev-installed
PIP_INSTALL := $(RUN) -m pip install --disable-pip-version-check --quiet

.DELETE_ON_ERROR:
.PHONY: help demo test test-all test-jax soak probes lint docs clean

help:
	@echo "make demo      sound the example video with the checkpoint that ships: out/demo"
	@echo "make test      the tests"
	@echo "make test-all  the slow ones too"
	@echo "make test-jax  those of them that hang on the versions of JAX and NumPy"
	@echo "make soak      the tests that run for long"
	@echo "make probes    studies: variants, first windows, bfloat16 (three quarters of an hour): docs/probes"
	@echo "make lint      style, types, and who may import whom"
	@echo "make docs      the API's pages: out/api"
	@echo "make clean     remove out/ and caches; .venv, data sets and runs stay"
	@echo "PYTHON=python3.12 chooses the Python that .venv is made with (3.11 or newer),"
	@echo "VENV=.venv-3.12 another place for it, JOBS=2 how many processes test"

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is missing or older than Python 3.11: name a newer one," \
	    "as in: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "error: $(PYTHON) cannot make $(VENV): install its venv module" \
	    "(Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }

$(RUNTIME): requirements.txt | $(RUN)
	@echo "installing what the program needs into $(VENV) (some minutes the first time)"
	$(PIP_INSTALL) -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt requirements.txt | $(RUN)
	@echo "installing what program and tests need into $(VENV) (some minutes the first time)"
	$(PIP_INSTALL) -r requirements-dev.txt
	@touch $(RUNTIME) $@

demo: $(RUNTIME)
	$(RUN) sample.py --video examples/drum.mp4 --out out/demo --overwrite

# The tests of one file stay in one process; what is computed does not depend on how many there are.
PYTEST := $(RUN) -m pytest --numprocesses $(JOBS) --dist loadfile

test: $(DEV)
	$(PYTEST)

test-all: $(DEV)
	$(PYTEST) -m "not soak"

test-jax: $(DEV)
	$(PYTEST) tests/model/test_lowering.py tests/training/test_training.py tests/training/test_training_options.py \
	  tests/training/test_validation.py tests/sampling/test_sampler.py tests/datasets/synthetic/test_synthetic.py \
	  tests/datasets/synthetic/test_golden_clips.py

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

docs: $(DEV)
	$(RUN) -m docs.api out/api

clean:
	rm -rf out build *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find v2s_jax data tests -name __pycache__ -type d -prune -exec rm -rf {} +
