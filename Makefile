# The project's verbs. Each sets up what it needs, and touches nothing outside this folder.

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# Tests wait more than they compute: on two cores a third worker saves minutes.
JOBS ?= 3

# The interpreters to try, best tested first. A name may exist and still not run (a shim of a version manager).
CANDIDATES := python3.11 python3.12 python3.13 python3.14 python3
USABLE = import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 11))

# A developer's settings, or an environment switched on in this shell, must not leak into pip.
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help venv lint format test demo bench million soak mutants slow campaign docs constraints clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) | column -t -s @ 2>/dev/null \
		|| sed -n 's/^\([a-z]*\):.*## /  make \1: /p' $(MAKEFILE_LIST)

venv: $(STAMP) ## create .venv with everything pinned (done once, again when the pins change)

$(STAMP): pyproject.toml constraints.txt
	@set -e; \
	if ! [ -x $(PYTHON) ]; then \
		for name in $(CANDIDATES); do \
			if $$name -c '$(USABLE)' >/dev/null 2>&1; then found=$$name; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "crm_sync needs Python 3.11 or newer with venv and pip, and none of these is one: $(CANDIDATES)." >&2; \
			echo "Install it (on Debian: apt-get install python3 python3-venv) and run make again." >&2; \
			exit 1; \
		fi; \
		echo "creating $(VENV) with $$($$found --version)"; \
		$$found -m venv $(VENV); \
	fi
	$(PYTHON) -m pip install --disable-pip-version-check --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $@

lint: $(STAMP) ## style, formatting and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(STAMP) ## put the code into the one format
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

test: lint ## lint, then every test
	$(VENV)/bin/pytest -n $(JOBS) -m 'not slow'

demo: $(STAMP) ## two simulated CRMs kept in sync; EXIT=1 stops after the report
	$(VENV)/bin/crm-sync demo $(if $(EXIT),--exit)

bench: $(STAMP) ## how fast, beside a hand-written floor; SIZES="10000 1000000", PROFILE=1: see benchmarks/run.py
	$(PYTHON) -m benchmarks.run

million: $(STAMP) ## a million contacts, then what a few edits cost
	$(PYTHON) -m benchmarks.million

soak: $(STAMP) ## random histories with faults and kills, one line of figures; SEED=1 STEPS=100000, HTTPS=1, WORKERS=2
	@$(PYTHON) -m tests.machine $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS)) \
		$(if $(WORKERS),--workers $(WORKERS)) $(if $(HTTPS),--https)

mutants: $(STAMP) ## which story finds each fault that is put into the engine, and by which invariant
	@$(PYTHON) -m tests.machine --mutants --steps 2500 --length 25 $(if $(SEED),--seed $(SEED))

slow: $(STAMP) ## the slow tests: sizes, limits, campaigns, every fault of the machine
	$(VENV)/bin/pytest -m slow

campaign: $(STAMP) ## kills (KILLS=100) or, with FAULTS=1, every fault of the simulators; SEED= and RECORDS=
	$(PYTHON) -m tests.campaign $(if $(FAULTS),--faults) $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(RECORDS),--records $(RECORDS))

docs: $(STAMP) ## write the generated pages
	@mkdir -p docs/reference
	$(PYTHON) -c "from crm_sync.settings import reference; print(reference(), end='')" > docs/reference/settings.md
	$(PYTHON) -c "from crm_sync.connectors.catalogue import reference; print(reference(), end='')" > docs/reference/errors.md

constraints: $(STAMP) ## resolve all dependencies anew and pin them
	rm -rf build/pins
	$(PYTHON) -m venv build/pins
	build/pins/bin/python -m pip install --disable-pip-version-check --quiet --editable '.[dev]'
	( sed -n '/^#/p' constraints.txt; build/pins/bin/python -m pip freeze --exclude-editable ) > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/pins

clean: ## remove what make created, except your data in .crm_sync
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis *.egg-info
