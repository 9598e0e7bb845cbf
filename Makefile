# `make help` lists what there is. Everything runs in a virtual environment of its own, .venv.
SHELL := bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTS ?= tests
PROOFS ?= tests/proof

.DEFAULT_GOAL := help
.PHONY: help setup demo test prove check lint types format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## create .venv and install everything at the versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Flywheel needs Python 3.11 or later: '$(PYTHON)' is not on the PATH; name another with make PYTHON=..."; exit 1; }
	@echo "setting up $(VENV) (once; a few minutes on a slow line)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -c constraints.txt -e '.[dev]' 2>&1 | grep -vE '^(Requirement already|WARNING: Location|  (Preparing|Installing|Getting))'; exit $${PIPESTATUS[0]}
	@touch $(STAMP)

demo: $(STAMP) ## run the whole loop on embedded defaults; ARGS=--exit ends instead of leaving the UI up
	@$(BIN)/flywheel demo $(ARGS)

test: $(STAMP) ## run the tests; TESTS=path and ARGS=... narrow them down
	@$(BIN)/python -m pytest -n 2 $(TESTS) $(ARGS)

prove: $(STAMP) ## test the promises at full size (30 minutes) and write docs/proof.md; ARGS=--soak adds an hour's load
	@$(BIN)/python -m pytest -n 2 --prove --timeout 4500 $(PROOFS) $(ARGS)

lint: $(STAMP) ## ruff: format and lint
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(STAMP) ## mypy, strict
	@$(BIN)/mypy

format: $(STAMP) ## let ruff rewrite the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

check: lint types test ## lint + types + tests, as CI runs it

clean: ## remove what make and the tests created; never data/
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
