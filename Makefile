# make demo   sets up .venv and runs the demo: about 20 minutes on 2 cores
# make test   sets up .venv with the tools for developers and runs every check
# make lint / make format
# make fuzz   a million mutated inputs through every reader of files, replies and texts: about an hour on one core
# make cases  small inputs that people and hostile files bring, each with what is right

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)
MINUTES ?= 20
INPUTS ?= 1000000
OUT ?= runs/demo

.PHONY: demo test lint format setup dev fuzz cases

demo: .venv/.installed
	@echo "== the demo: $(MINUTES) minutes planned, everything it makes goes to $(OUT)"
	$(BIN)/selfedit demo --minutes $(MINUTES) --out $(OUT)

test: .venv/.installed-dev
	@echo "== style"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo "== types"
	$(BIN)/pyright
	@echo "== imports go down only"
	$(BIN)/lint-imports
	@echo "== tests"
	$(BIN)/pytest

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: .venv/.installed-dev
	$(BIN)/python tests/fuzz/campaign.py $(INPUTS)

cases: .venv/.installed-dev
	$(BIN)/pytest tests/cases

setup: .venv/.installed
dev: .venv/.installed-dev

# torch goes first and alone: its pinned version is one that pip finds a CPU build of; installed together with the rest,
# pip may choose a build with gigabytes of CUDA.
.venv/.torch: constraints.txt
	@echo "== making .venv with $(TORCH)"
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "selfedit needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install -q '$(TORCH)' -c constraints.txt
	touch $@

.venv/.installed: .venv/.torch pyproject.toml constraints.txt
	@echo "== installing selfedit"
	$(PIP) install -q -c constraints.txt -e .
	touch $@

.venv/.installed-dev: .venv/.torch pyproject.toml constraints.txt
	@echo "== installing selfedit and the tools for developers"
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	touch $@ .venv/.installed
