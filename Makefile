# Each target does all of its own set-up, in a private virtual environment; Python and pip are all it
# needs. `make clean demo PYTHON=python3.12` picks another interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES := pyproject.toml constraints.txt
# Over the processors there are, but not over very many: some tests compare times.
SPREAD := --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: help demo test coverage test-matrix test-instructor e2e up down soak lint bench bench-memory dashboards clean

help:
	@echo "make demo             hits and misses of a real client, arriving at a real OTLP receiver"
	@echo "make test             lint, types, and every test but soak's and e2e's"
	@echo "make coverage         the same tests, and what of the code they run"
	@echo "make test-matrix      the tests of observing, on every Instructor, Python and OpenTelemetry that we claim"
	@echo "make test-instructor  Instructor's own tests, without us and with us, compared"
	@echo "make e2e              with the real Collector, Jaeger, Prometheus, Alertmanager and Redis, without Docker"
	@echo "make up, make down    the same programs left running, with the demo's calls; and their end"
	@echo "make soak             what takes minutes: 100,000 calls while nobody listens"
	@echo "make lint             ruff, mypy and the rooms of the house"
	@echo "make bench            what watching costs, beside bare Instructor and its peers, and how it scales"
	@echo "make bench-memory     the memory of a million calls: an hour or two"
	@echo "make dashboards       Grafana's dashboards, written anew from collector-config/grafana/panels"
	@echo "make clean            remove the virtual environments and caches, the examples' too"

demo: $(VENV)/.cli
	@$(BIN)/llm-cache-otel demo

test: lint
	$(BIN)/python -m pytest $(SPREAD)

coverage: $(VENV)/.dev
	$(BIN)/python -m pytest $(SPREAD) --cov --cov-report=term

# ROWS=oldest,newest picks some; `.ci/matrix --list` says what there is.
test-matrix: $(BIN)/python
	@$(BIN)/python .ci/matrix $(if $(ROWS),--rows $(ROWS))

test-instructor: $(BIN)/python
	@$(BIN)/python .ci/instructor-tests

# What it needs it installs or builds once; where it can't, it says what is missing, why, and how to get it.
e2e: $(VENV)/.dev
	PYTHONPATH=tests $(BIN)/python -m e2e.stack get
	$(BIN)/python -m pytest tests/e2e -m e2e

up: $(VENV)/.dev
	@PYTHONPATH=tests $(BIN)/python -m e2e.stack up

down: $(VENV)/.dev
	@PYTHONPATH=tests $(BIN)/python -m e2e.stack down

soak: $(VENV)/.dev
	$(BIN)/python -m pytest -m soak

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What importing and a call cost, and how that scales: it is saved, drawn, and put into README.md. QUICK=--quick is rough.
bench: $(VENV)/.bench
	$(BIN)/python -m bench imports cost loop scale --save $(QUICK)
	$(BIN)/python -m bench.reasons

bench-memory: $(VENV)/.bench
	$(BIN)/python -m bench memory --save $(QUICK)

dashboards: $(VENV)/.dev
	$(BIN)/python collector-config/grafana/dashboards.py

clean:
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -rf $(VENV) .venv-matrix .venv-instructor .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .coverage .coverage.*
	rm -rf .llm-cache .instructor_cache .hypothesis

$(BIN)/python:
	@command -v $(PYTHON) > /dev/null || { echo "There is no $(PYTHON) here."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is not Python 3.11 or newer. With one that is: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.cli: $(BIN)/python $(SOURCES)
	@echo "Setting up $(VENV), once …"
	@$(INSTALL) --editable '.[cli]'
	@touch $@

$(VENV)/.dev: $(BIN)/python $(SOURCES)
	@echo "Setting up $(VENV) for development, once …"
	@$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.cli

$(VENV)/.bench: $(BIN)/python $(SOURCES)
	@echo "Setting up $(VENV) for the benchmark, once …"
	@$(INSTALL) --editable '.[bench]'
	@touch $@ $(VENV)/.dev $(VENV)/.cli
