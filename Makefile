# The only commands a newcomer needs: make demo, make test, make ui.
PYTHON ?= python3
VENV := .venv
# relative, so that no path with a space is a target or a word of a command
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export CODEFT_HOME ?= $(CURDIR)/.codeft
# Dagster's own files need a folder, also where the data root is a URL
export DAGSTER_HOME ?= $(if $(findstring ://,$(CODEFT_HOME)),$(CURDIR)/.codeft,$(CODEFT_HOME))/dagster
export HF_HUB_DISABLE_TELEMETRY ?= 1
export PYTHONWARNINGS ?= ignore
SUPPORTED := 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] < (3, 14) else \
  "codeFT needs Python 3.11, 3.12 or 3.13; %s is %s; name another: make PYTHON=python3.12 setup" \
  % (sys.executable, sys.version.split()[0]))'

ifeq ($(wildcard codeft_assets/definitions.py),)
$(error run make in the folder of codeFT; the current one, $(CURDIR), is another)
endif

.PHONY: help setup demo test ui check bench screenshots docs clean faults lock

help:  ## list these targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/'

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || "$(PYTHON)" -c $(SUPPORTED)
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,eval]' --group dev
	touch $(STAMP)

setup: $(STAMP)  ## virtual environment with the exact versions of constraints.txt
	@$(BIN)/python -m codeft_assets.command.data_root prepare

demo: setup  ## every asset on the embedded sample, ending in what the model can do
	@$(BIN)/python -m codeft_assets.command demo

# a third worker for two cores: the longest tests wait for daemons
test: setup  ## all tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

ui: setup  ## the web UI on http://127.0.0.1:3000, with the daemon that watches upstream
	@$(BIN)/python -m codeft_assets.command ui

check: setup  ## format, lint, types, import directions, definitions, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/dagster definitions validate --workspace workspace.yaml
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -q -m 'not slow'

bench: setup  ## each benchmark that needs no model and no file of yours: ratios, not times; hours
	for file in $$(grep -l __main__ tests/benchmarks/*.py | xargs grep -L required=True); do \
	  echo "$$file"; $(BIN)/python $$file || exit 1; done

$(VENV)/.screenshots: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group screenshots
	touch $@

screenshots: setup $(VENV)/.screenshots  ## the pictures in docs/, from what `make demo` left; needs Chromium
	PYTHONPATH=. $(BIN)/python -m tests.webui.screenshots

docs: setup  ## every command of README and docs, typed in a fresh copy
	PYTHONPATH=. $(BIN)/python -m tests.walk

faults: setup  ## break every process, the disk, the Hub and the clock; every row must end in the undisturbed hashes
	PYTHONPATH=. $(BIN)/python -m tests.faults

lock: setup  ## requirements.lock: constraints.txt with the hash of every file of every package, for all platforms
	grep -v '^torch==' constraints.txt > $(VENV)/pins.txt
	$(BIN)/python -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet uv
	$(VENV)/lock/bin/uv pip compile $(VENV)/pins.txt --no-deps --generate-hashes --universal --python-version 3.11 \
	  --no-annotate --custom-compile-command "make lock" --quiet --output-file requirements.lock

clean:  ## remove what was built here, and, if you say yes or with FORCE=1, what runs left in the data root
	@echo "what was built here, .venv too, is removed whatever you answer; make setup builds it again"
	@"$(PYTHON)" -m codeft_assets.command.data_root remove $(if $(FORCE),--force)
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .grimp_cache build codeft.egg-info
