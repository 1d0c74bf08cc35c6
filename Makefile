# Everything a developer types. The virtual environment is made on first use and follows pyproject.toml and constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv demo test test-all check audit bench up down clean

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "PYTHON=... selects the interpreter (3.11 or later), ARGS='...' is passed on by test, test-all, up and down."

venv: $(DEV)  ## Make .venv with everything that development needs

demo: $(RUNTIME)  ## Tune a real tool on this machine, from start to finish (DEMO_TRIALS=n: shorter or longer)
	@$(BIN)/python examples/compression/demo.py

test: $(DEV)  ## Tests, all but the slow ones (three processes on two cores, as they wait half of their time)
	$(BIN)/python -m pytest -m "not slow" -n 3 --dist loadfile tests/unit tests/integration $(ARGS)
	$(BIN)/python -m pytest -m "not slow" tests/acceptance $(ARGS)

test-all: $(DEV)  ## All tests
	$(BIN)/python -m pytest $(ARGS)

check: $(DEV)  ## Lint, format, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive platform/tunesmith serve_app tuners

audit: $(DEV)  ## Known weaknesses of what constraints.txt pins (asks pypi.org)
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

bench: $(DEV)  ## Measure; prints ratios
	@set -e; for script in tests/bench/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

up: $(RUNTIME)  ## Start the platform on this machine, in the foreground
	@$(BIN)/tunesmith up $(ARGS)

down: $(RUNTIME)  ## Stop it; running jobs go on at the next `make up`
	@$(BIN)/tunesmith down $(ARGS)

clean:  ## Remove .venv and caches (the platform's data stay)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "$(PYTHON) is missing or older than Python 3.11; name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing tunesmith into $(VENV): some 250 MB to download, a minute or two the first time ..."
	@$(INSTALL) .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing tunesmith and its development tools into $(VENV): a few minutes the first time ..."
	@$(INSTALL) '.[dev]'
	@touch $(RUNTIME) $@
