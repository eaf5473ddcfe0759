# `make` lists what there is. GNU make 3.81, which macOS ships, is enough.
PYTHON ?= python3
PRESET ?=
DATA ?=
PORT ?= 8000
N ?= 200
ARGS ?=

VENV := .venv
SNAKEMAKE := .venv-snakemake
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
BEGUN := $(VENV)/.installing
STRIP_KEYS := metadata.papermill cell.metadata.papermill

.PHONY: help venv snakemake book serve test test-all fuzz lint links audit lab clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@echo "Usage: make TARGET [VARIABLE=value ...]"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON=python3.12   the Python that makes .venv, 3.11 or newer (now: $(PYTHON))"
	@echo "  PRESET=demo         a preset in book/presets for all chapters of make book (now: $(if $(PRESET),$(PRESET),that of each chapter))"
	@echo "  DATA=path           scenes of your own, for make book"
	@echo "  PORT=8000           for make serve (now: $(PORT))"
	@echo "  ARGS='...'          more arguments: of hsisr book (-p scale=3), pytest (-k metrics) or jupyter lab"

book: venv  ## train what the chapters show, execute them, build the pages in _build/html
	@$(PY) -m hsisr_core book $(if $(PRESET),--preset "$(PRESET)") $(if $(DATA),--data "$(DATA)") $(ARGS)

serve:  ## open the built book on this machine only: prints its address; Ctrl-C ends it
	@if [ ! -f _build/html/index.html ]; then echo "There is no built book in _build/html: make book first." >&2; exit 2; fi
	@$(PYTHON) -u -m http.server "$(PORT)" --bind 127.0.0.1 --directory _build/html

# A process a core, each with one thread: more threads than cores make PyTorch slower, not faster.
TEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist loadfile

test: venv  ## run the fast tests: minutes
	@$(TEST) -m "not slow and not fuzz" $(ARGS)

test-all: venv  ## run every test: also whole trainings, books and browsers
	@$(TEST) -m "not fuzz" $(ARGS)

fuzz: venv  ## read N damaged files of each kind (now: $(N)); what fails is kept in _build/fuzz
	@N="$(N)" OMP_NUM_THREADS=1 $(PY) -m pytest -m fuzz tests/fuzz $(ARGS)

lint: venv  ## check style, types, the floors of the core, and that the notebooks hold no outputs
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports
	@$(PY) -m nbstripout --verify --extra-keys "$(STRIP_KEYS)" colab.ipynb book/*.ipynb

links: venv  ## list the external links of README and book; ARGS=--check asks each (needs a network)
	@$(PY) data_scripts/links.py $(ARGS)

audit:  ## look up known weaknesses of the packages in the locks with hashes (needs pipx and a network)
	@pipx run pip-audit --no-deps --disable-pip -r requirements-hashes.lock -r requirements-cuda.lock

lab: venv  ## open the chapters in JupyterLab
	@$(PY) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/book $(ARGS)

clean:  ## remove _build and caches; keeps runs/ (your trained networks) and .venv
	@rm -rf _build build .pytest_cache .mypy_cache .ruff_cache *.egg-info
	@find . -path "./.venv*" -prune -o -name __pycache__ -prune -exec rm -rf {} +

# Snakemake cannot share .venv: its docutils is too new for Sphinx. workflow/Snakefile calls hsisr in .venv.
snakemake: venv  ## make .venv-snakemake, to spread a plan over a cluster (see workflow/Snakefile)
	@want="$(CURDIR) $$(cksum < requirements-snakemake.lock)"; \
	if [ "$$(cat $(SNAKEMAKE)/.installed 2>/dev/null)" = "$$want" ] && $(SNAKEMAKE)/bin/python -c '' 2>/dev/null; then \
		exit 0; \
	fi; \
	rm -rf $(SNAKEMAKE); \
	echo "Installing requirements-snakemake.lock into $(SNAKEMAKE): a minute, once" >&2; \
	$(PY) -m venv $(SNAKEMAKE) && \
	$(SNAKEMAKE)/bin/python -m pip install -qq --disable-pip-version-check -r requirements-snakemake.lock && \
	echo "$$want" > $(SNAKEMAKE)/.installed || \
	{ echo "The installation failed, see above; the same command starts it again." >&2; exit 1; }

# The stamp holds this folder's path, because a moved .venv points to the old place, and a checksum of the files
# that decide what is in it. A mark stands while pip works: what an interrupted one left is thrown away.
# Files whose SHA-256 is not in requirements-hashes.lock are refused; only torch is left to the second command.
venv:  ## make or update .venv from requirements.lock (the others do it when needed)
	@want="$(CURDIR) $$(cat requirements.lock requirements-hashes.lock pyproject.toml | cksum)"; \
	if [ "$$(cat $(STAMP) 2>/dev/null)" = "$$want" ] && $(PY) -c '' 2>/dev/null; then exit 0; fi; \
	new='import sys; sys.exit(sys.version_info < (3, 11))'; \
	if [ -e $(BEGUN) ] || ! $(PY) -c "$$new" 2>/dev/null; then \
		if ! $(PYTHON) -c "$$new" 2>/dev/null; then \
			found=$$($(PYTHON) -c 'import sys; print("is Python %d.%d" % sys.version_info[:2])' 2>/dev/null); \
			echo "hsisr needs Python 3.11 or newer, but $(PYTHON) $${found:-was not found}." \
				"Name another one, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
			exit 2; \
		fi; \
		rm -rf $(VENV); \
		$(PYTHON) -m venv $(VENV) || { \
			rm -rf $(VENV); \
			echo "$(PYTHON) cannot make $(VENV); on Debian and Ubuntu: sudo apt install python3-venv" >&2; \
			exit 2; \
		}; \
	fi; \
	rm -f $(STAMP); \
	touch $(BEGUN); \
	echo "Installing requirements.lock into $(VENV): a few minutes, once" >&2; \
	$(PY) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-hashes.lock && \
	$(PY) -m pip install -qq --disable-pip-version-check -r requirements.lock && \
	$(PY) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e . && \
	rm -f $(BEGUN) && echo "$$want" > $(STAMP) || \
	{ echo "The installation failed, see above; the same command starts it again." >&2; exit 1; }
