# make demo   sets up .venv and runs the demo: about 20 minutes on 2 cores
# make test   sets up .venv with the tools for developers and runs every check
# make test-fast   tests without the model and without servers, under five minutes
# make fuzz   a million mutated inputs through every reader of files, replies and texts: about an hour on one core
# make kills  200 kills of small runs, at any moment: they go on and end in equal bytes; ten minutes
# make kills-nodes  20 nodes of a small Ray cluster are killed while a run trains on it; five minutes
# make sweep  small random models of every kind transformers has: computed alike, or refused; ten minutes
# make docs   the documentation as a site, strictly, into build/site
# make versions  the quick tests with the lowest versions that pyproject.toml states, then with the newest
# make cases  small inputs that people and hostile files bring, each with what is right
# make lint / make format   every check that runs nothing: style, types, imports, the house

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)
MINUTES ?= 20
INPUTS ?= 1000000
KILLS ?= 200
TEST := $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 25
OUT ?= runs/demo

.PHONY: demo test test-fast lint format setup dev fuzz kills kills-nodes cases sweep docs versions

demo: .venv/.installed
	@echo "== the demo: $(MINUTES) minutes planned, everything it makes goes to $(OUT)"
	$(BIN)/selfedit demo --minutes $(MINUTES) --out $(OUT)

test: lint
	@echo "== tests"
	$(TEST)

# Without the real model, without servers and whole runs: what to run between two edits.
test-fast: .venv/.installed-dev
	$(TEST) -m "not model and not slow and not server"

# Only where there is a CUDA device: the kernels and graphs themselves.
test-gpu: .venv/.installed-dev
	SELFEDIT_TEST_GPU=1 $(BIN)/pytest -m gpu tests

lint: .venv/.installed-dev
	@echo "== style"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo "== types"
	$(BIN)/pyright
	@echo "== who imports whom"
	$(BIN)/lint-imports
	@echo "== the house"
	$(BIN)/python tools/house.py

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: .venv/.installed-dev
	PYTHONPATH=src:tests $(BIN)/python tests/fuzz/campaign.py $(INPUTS)

kills: .venv/.installed-dev
	PYTHONPATH=src:tests $(BIN)/python tests/kills/campaign.py $(KILLS)

kills-nodes: .venv/.installed-dev
	PYTHONPATH=src:tests $(BIN)/python tests/kills/nodes.py

sweep: .venv/.installed-dev
	PYTHONPATH=src:. $(BIN)/python tools/sweep_models.py

cases: .venv/.installed-dev
	$(BIN)/pytest tests/cases

docs: .venv/.installed-dev
	$(BIN)/mkdocs build --strict

versions: .venv/.installed-dev
	$(BIN)/python tools/versions.py lowest
	$(BIN)/python tools/versions.py newest

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
