# `make demo` needs nothing but Python 3.11 or newer; everything is installed into .venv.
PYTHON ?= python3
# Where torch comes from, when not from the usual place; for CPU-only wheels:
# make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
INSTALLED := $(VENV)/.installed
INSTALLED_TEST := $(VENV)/.installed-test
INSTALLED_DOCS := $(VENV)/.installed-docs
INSTALLED_DEV := $(VENV)/.installed-dev
BOARDS := benchmarks/boards
SHEETS := mmcaf_net/table1 mmcaf_net/table2 mmcaf_net/table3 mmcaf_net/readme_tabular iimgf_net/table1 iimgf_net/table2
PLUGINS := $(patsubst %/pyproject.toml,./%,$(wildcard plugins/*/pyproject.toml))

export PIP_NO_INPUT := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# One thread per test worker: more of them would only wait for each other.
# Many tests start processes, and what one has compiled the others needn't, whatever is set outside.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=

.DELETE_ON_ERROR:
.PHONY: help demo test test-gpu check format docs boards clean

help:  ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1  /p' $(MAKEFILE_LIST)

demo: $(INSTALLED)  ## install, then train and evaluate a small model on the data in the package
	$(BIN)/fusionzoo run --encoder penet3d --fusion msca

test: $(INSTALLED_TEST)  ## the quick tests, on up to four processes
	$(TEST_ENV) $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 $(PYTEST_ARGS)

test-gpu: $(INSTALLED_TEST)  ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu $(PYTEST_ARGS)

check: $(INSTALLED_DEV)  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(INSTALLED_DEV)  ## write the format that `make check` asks for
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(INSTALLED_DOCS)  ## the documentation, as HTML in docs/_build/html
	rm -rf docs/api/generated
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -b html docs docs/_build/html

boards: $(INSTALLED)  ## the boards in benchmarks/boards, again from their records
	@for sheet in $(SHEETS); do \
	    $(BIN)/fusionzoo leaderboard $(BOARDS)/store --sheet $$sheet --out $(BOARDS)/$$(echo $$sheet | tr / _).md || exit; \
	done
	$(BIN)/fusionzoo leaderboard $(BOARDS)/store --out $(BOARDS)/boards.html

clean:  ## remove what the targets above built, but not .venv and not runs
	rm -rf docs/_build docs/api/generated dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A stamp is written last, so that an install that failed is tried again.
$(INSTALLED): pyproject.toml
	@command -v "$(PYTHON)" > /dev/null || { \
	    echo "There is no '$(PYTHON)'. Name a Python 3.11 or newer: make PYTHON=python3.12"; exit 1; } >&2
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "fusionzoo needs Python 3.11 or newer; \
	$(PYTHON) is %d.%d. Name a newer one: make PYTHON=python3.12" % v[:2])'
	"$(PYTHON)" -m venv $(VENV)
	$(PIP) install 'torch>=2.6.0' 'torchvision>=0.21.0' $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)")
	$(PIP) install --editable .
	@touch $@

$(INSTALLED_TEST): $(INSTALLED) $(PLUGINS:=/pyproject.toml)
	$(PIP) install --editable '.[test]' $(addprefix --editable ,$(PLUGINS))
	@touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	$(PIP) install --editable '.[docs]'
	@touch $@

$(INSTALLED_DEV): $(INSTALLED_TEST)
	$(PIP) install --editable '.[dev]'
	@touch $@
