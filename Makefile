# One command each; every one sets up .venv first, if that is still needed.

# pip leaves compiling to Python, which would compile TensorFlow anew for every kernel where it may not keep the result.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= $(firstword $(foreach name,python3.12 python3.13 python3.11 python3 python,$(shell $(name) -c 'import sys; print("$(name)" if (3, 11) <= sys.version_info < (3, 14) else "")' 2>/dev/null)))
# The lowest versions have wheels for the oldest Python only.
OLDEST ?= $(shell command -v python3.11)
ARGS ?=
RUN := .venv/.run
READY := .venv/.ready
DATA ?= sample
COMPARISONS ?= generators steps prediction training peers series
# What else is measured, in its own time.
FURTHER := calibration labels pages
MANY := sweep bulk
BIN := .venv/bin
# A file's tests stay together, since they share what was trained for them; tests/conftest.py puts the longest first.
ON_ALL_CORES := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
NBVAL = $(BIN)/python -m pytest --nbval --nbval-current-env --nbval-cell-timeout 600 \
    --nbval-sanitize-with tests/nbval_sanitize.cfg -p no:cacheprovider
# An empty folder for the notebooks' runs: what an earlier run cached must not hide a broken training.
FRESH = $(shell mktemp -d)

.PHONY: run test test-min check soak bench bench-full bench-many lab notebooks docs docs-links constraints constraints-min clean help
.DEFAULT_GOAL := help

run: $(RUN)  ## Run the whole series; ARGS="--data FOLDER --recipe accurate"
	@$(BIN)/digitlib run $(ARGS)

test: check  ## Run everything that can be checked, notebooks included
	@root=$(FRESH); trap 'rm -rf "$$root"' EXIT; export DIGITLIB_ROOT="$$root" TQDM_DISABLE=1; \
	echo "Notebooks, outputs compared:"; $(NBVAL) notebooks/0[1-7]*.ipynb && \
	$(NBVAL) $(ON_ALL_CORES) notebooks/1*.ipynb notebooks/0[89]*.ipynb notebooks/solutions
	@echo "Networks and the series with other data and parameters:"
	@$(BIN)/python -m pytest $(ON_ALL_CORES) -m slow

check: $(READY)  ## Lint, types and fast tests, in less than two minutes
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && $(BIN)/vulture && $(BIN)/deptry . 2>/dev/null
	@said=$$($(BIN)/lint-imports --no-logo --no-cache) || { echo "$$said"; exit 1; }
	@$(BIN)/mypy --no-error-summary & types=$$!; \
	$(BIN)/python -m pytest $(ON_ALL_CORES) -m "not slow"; tests=$$?; wait $$types && exit $$tests

soak: $(READY)  ## Inject faults at every moment and many times, without limit of time
	@DIGITLIB_SOAK=1 $(BIN)/python -m pytest tests/test_killed.py tests/test_resume.py tests/test_properties.py tests/test_soak.py tests/test_edited_files.py

bench: $(READY)  ## Compare with other ways, a quarter of an hour; DATA=FOLDER MNIST=mnist.npz
	@$(foreach name,$(COMPARISONS),echo "$(name):" && MNIST="$(MNIST)" $(BIN)/python -m benchmarks.$(name) --data $(DATA) $(FULL) &&) \
	    $(BIN)/python -m benchmarks.table

bench-full:  ## Compare all that is compared, at all sizes and seeds, without limit of time
	@$(MAKE) --no-print-directory bench FULL=--full COMPARISONS="$(COMPARISONS) $(FURTHER) $(MANY)"

bench-many:  ## Of these, many runs and a million images on two workers; hours
	@$(MAKE) --no-print-directory bench FULL=--full COMPARISONS="$(MANY)"

lab: $(RUN)  ## Open the notebooks in JupyterLab
	@$(BIN)/jupyter lab notebooks

notebooks: $(READY)  ## Execute the notebooks again on the sample and keep their outputs
	@$(BIN)/python tools/refresh_notebooks.py

docs: $(READY)  ## Build the site into build/site and look for dead links
	@$(BIN)/python -m sphinx -n -W --keep-going -q -c docs/site -d build/doctrees . build/site
	@$(BIN)/python tools/check_site.py build/site
	@echo "The site: build/site/index.html"

docs-links: $(READY)  ## Ask whether the site's links to elsewhere answer (needs a network)
	@$(BIN)/python -m sphinx -b linkcheck -q -c docs/site -d build/doctrees . build/links

constraints:  ## Pin all versions, UPGRADE=--upgrade the newest ones (needs uv)
	@uv pip compile pyproject.toml --universal --generate-hashes --extra test --extra dev $(UPGRADE) \
	    --no-emit-package digitlib --no-annotate --python-version 3.11 \
	    --custom-compile-command "make constraints" --quiet -o constraints.txt
	@uv pip compile pyproject.toml -c constraints.txt --universal --generate-hashes --extra notebooks --extra build \
	    --no-emit-package digitlib --no-annotate --python-version 3.11 \
	    --custom-compile-command "make constraints" --quiet -o constraints-run.txt

constraints-min:  ## Pin the lowest versions that pyproject.toml allows (needs uv)
	@uv pip compile pyproject.toml --extra test $(UPGRADE) --resolution lowest-direct --python-version 3.11 --no-emit-package digitlib \
	    --no-annotate --custom-compile-command "make constraints-min" --quiet -o constraints-min.txt

test-min: constraints-min.txt  ## Run the fast tests with the lowest versions, in a .venv-min of its own
	@test -n "$(OLDEST)" || { echo "test-min needs Python 3.11." >&2; exit 1; }
	@test -d .venv-min || { echo "Setting up .venv-min with $(OLDEST) (once; some minutes) ..."; $(OLDEST) -m venv .venv-min; }
	@.venv-min/bin/python -m pip install --quiet --disable-pip-version-check -r constraints-min.txt "hatchling>=1.27" "editables>=0.5"
	@.venv-min/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@.venv-min/bin/python -m pytest $(ON_ALL_CORES) -m "not slow" -p no:cacheprovider

clean:  ## Remove what can be made again: .venv and caches; never runs/
	rm -rf .venv .venv-min cache .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
	find digitlib tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## List these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

# What the series needs; a complete list of versions needs no resolver, and Python compiles only what it imports.
$(RUN): constraints-run.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 found: install one, or give it as make PYTHON=/path/to/python." >&2; exit 1; }
	@echo "Setting up .venv with $(PYTHON) (once; some minutes) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r constraints-run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# The rest: all extras, and what tests, checks and builds the site.
$(READY): constraints.txt $(RUN)
	@echo "Adding what the tests need to .venv (once; some minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r constraints.txt
	@touch $@
