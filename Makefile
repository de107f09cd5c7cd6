# The commands of the project. `make` without a target lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell .ci/python)
VENV := .venv
BIN := $(VENV)/bin
WEB_SOURCES := "templates/static/**/*.{js,css}" "tests/client/**/*.js" "tests/support/**/*.mjs" "clients/npm/*.{js,ts,json}"
SOURCES := manage.py sbe_enabler conferences events media tests benchmarks clients/python

# `make test` runs a sample of these tests. `make test-deep` runs them at full length, and the tests that are marked `deep`.
DEEP_TESTS := $(addprefix tests/,events/test_counters.py conferences/refusals conferences/test_sequences.py conferences/test_numbers.py media sbe_enabler/test_races.py)

FLOODS := tests/media/focus/test_floods.py

# Checks load the settings, but use none of their secrets.
CHECK_ENV := SBE_SECRET_KEY=only-for-checks,-which-use-no-secret-of-theirs-at-all SBE_STATE_DIR=$(VENV)/check-state

.PHONY: help run run-lan test test-stages test-deep coverage check check-python check-web client client-npm client-python fmt bench bench-data bench-deadlines bench-join bench-large bench-media bench-neighbour bench-prune bench-quality bench-roaming bench-samples bench-thin outage soak diagram reference lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

run: $(VENV)/.fastpath ## install what is missing, and serve on http://127.0.0.1:$PORT (8000)
	@$(BIN)/python manage.py quickstart --port $(or $(PORT),8000)

run-lan: $(VENV)/.fastpath ## serve over HTTPS on all addresses of this machine, port $PORT (8443), for a phone nearby
	@$(BIN)/python manage.py quickstart --lan --port $(or $(PORT),8443)

# Write bytecode: otherwise each process of a run would compile every module again.
test test-deep: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.dev node_modules/.installed ## run the tests, on SQLite and on PostgreSQL + Redis
	@.ci/need chromium firefox-esr gcc iproute2 libc6-dev nginx redis-server postgresql
	@.ci/need chromium-headless-shell || echo "Without chromium-headless-shell, the journeys run in Chromium itself and take a third longer."
	@$(BIN)/python -m media.forward.fastpath
	@# The stages share one PostgreSQL, one Redis and the migrated databases.
	@$(BIN)/python -m tests.support.services --beside -- $(MAKE) test-stages

test-stages:
	@echo "== The JavaScript client, without a browser"
	node --test tests/client/*.test.js
	@# Some of these tests mostly wait for processes, clocks or the database. So a third worker finds idle processors.
	@echo "== SQLite, everything in memory"
	$(BIN)/python -m pytest -n 3 --dist worksteal --ignore tests/journeys $(ARGS)
	@echo "== PostgreSQL and Redis"
	$(BIN)/python -m tests.support.services -- $(BIN)/python -m pytest -n 3 --dist worksteal -m "not once" --ignore tests/journeys $(ARGS)
	@echo "== Journeys in Chromium and Firefox"
	@# Each wait of a journey may take a minute, so a journey may take longer than other tests.
	$(BIN)/python -m pytest -n 2 --dist worksteal --timeout 300 tests/journeys $(ARGS)

test-deep: export SBE_TEST_DEEP := 1
test-deep: $(VENV)/.dev node_modules/.installed ## run also the long and random tests at full length (half an hour)
	@.ci/need chromium firefox-esr gcc iproute2 libc6-dev redis-server postgresql
	@$(BIN)/python -m media.forward.fastpath
	$(BIN)/python -m pytest -n 2 --dist worksteal --deselect $(FLOODS) $(or $(ARGS),$(DEEP_TESTS))
	@# These tests compare the delays of a call. Another worker would increase the delays.
	$(BIN)/python -m pytest $(FLOODS)
	$(BIN)/python -m tests.support.services -- $(BIN)/python -m pytest tests/conferences/test_sequences.py
	$(BIN)/python -m tests.support.services -- $(BIN)/python -m pytest -n 2 --dist worksteal -m any_engine
	$(BIN)/python -m pytest -n 2 --dist worksteal -m deep $(DEEP_TESTS:%=--ignore %) --ignore tests/journeys
	$(BIN)/python -m pytest --timeout 300 -m deep tests/journeys
	$(BIN)/python -m pytest --timeout 300 -m "not deep" -k "looks or glare" tests/journeys

coverage: $(VENV)/.dev ## run the tests of conferences, and require that they take every branch of the machine and the operations
	@.ci/need redis-server postgresql
	$(BIN)/coverage erase
	$(BIN)/coverage run --parallel-mode -m pytest -q tests/conferences $(ARGS)
	$(BIN)/python -m tests.support.services -- $(BIN)/coverage run --parallel-mode -m pytest -q -m "not once" tests/conferences $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

check: ## check style, types, imports, migrations and JavaScript types
	@$(MAKE) --jobs=2 --output-sync=line check-python check-web

check-python: $(VENV)/.dev
	@mkdir -p $(VENV)/check-state
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/lint-imports
	cd clients/python && $(CURDIR)/$(BIN)/lint-imports
	$(CHECK_ENV) $(BIN)/mypy $(SOURCES)
	$(CHECK_ENV) $(BIN)/python -W error::DeprecationWarning manage.py check --fail-level WARNING
	$(CHECK_ENV) $(BIN)/python manage.py makemigrations --check --dry-run

check-web: node_modules/.installed
	node_modules/.bin/prettier --check $(WEB_SOURCES)
	node_modules/.bin/tsc -p tsconfig.json
	node_modules/.bin/tsc -p tests/client
	node clients/npm/build.js --size

client: client-npm client-python ## build the client packages for npm and for Python into dist/

client-npm: node_modules/.installed
	node clients/npm/build.js

client-python: $(VENV)/.runtime ## build the wheel of the Python client into dist/
	@mkdir -p dist
	@rm -f dist/sbe_client-*.whl
	$(BIN)/python -m pip wheel -qq --disable-pip-version-check --no-input --no-deps --wheel-dir dist ./clients/python

fmt: $(VENV)/.dev node_modules/.installed ## format the sources, and sort the imports of Python
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	node_modules/.bin/prettier --write --log-level warn $(WEB_SOURCES)

bench: $(VENV)/.dev $(VENV)/.fastpath ## measure the signalling; OUT=file.json writes the figures, ARGS=--only-idle
	@.ci/need redis-server postgresql
	$(BIN)/python -m benchmarks.signalling $(if $(OUT),--out $(OUT)) $(ARGS)

bench-media: $(VENV)/.dev $(VENV)/.fastpath ## measure the forwarding of the focus, and of Janus if it is installed; OUT=file.json, ARGS=--memory
	$(BIN)/python -m benchmarks.forwarding $(if $(OUT),--out $(OUT)) $(ARGS)

bench-data: $(VENV)/.dev ## measure the cost of data channel messages for a media node; OUT=file.json writes the figures
	$(BIN)/python -m benchmarks.data $(if $(OUT),--out $(OUT)) $(ARGS)

bench-join: $(VENV)/.dev $(VENV)/.fastpath ## measure how long joining a conference takes in Chromium
	@.ci/need chromium
	$(BIN)/python -m benchmarks.joining $(if $(OUT),--out $(OUT)) $(ARGS)

bench-large: $(VENV)/.dev $(VENV)/.fastpath ## measure one join and one leave of a large conference; OUT=file.json writes the figures
	$(BIN)/python -m benchmarks.large $(if $(OUT),--out $(OUT)) $(ARGS)

bench-neighbour: $(VENV)/.dev $(VENV)/.fastpath ## measure how one conference can disturb a call on the same node; OUT=file.json, ARGS="crowd holds sources"
	$(BIN)/python -m benchmarks.neighbour $(if $(OUT),--out $(OUT)) $(ARGS)

bench-deadlines: $(VENV)/.dev ## measure the timekeeper with 100,000 participants in the database; OUT=file.json, ARGS="--engine postgresql"
	@.ci/need postgresql
	$(BIN)/python -m benchmarks.deadlines $(if $(OUT),--out $(OUT)) $(ARGS)

bench-prune: $(VENV)/.dev ## prune 1,000,000 conferences on PostgreSQL while invitations expire; OUT=file.json, ARGS="--conferences 20000"
	@.ci/need postgresql
	$(BIN)/python -m benchmarks.prune $(if $(OUT),--out $(OUT)) $(ARGS)

bench-quality: $(VENV)/.dev $(VENV)/.fastpath ## measure a call of three when one connection becomes narrow; OUT=file.json, ARGS="--kbit 500"
	@.ci/need chromium iproute2
	unshare --net $(if $(filter-out 0,$(shell id -u)),--map-root-user) $(BIN)/python -m benchmarks.quality $(if $(OUT),--out $(OUT)) $(ARGS)

bench-roaming: $(VENV)/.dev $(VENV)/.fastpath ## measure how long a change of one participant's network interrupts a call; OUT=file.json, ARGS="outage blocked"
	@.ci/need chromium iproute2
	unshare --net $(if $(filter-out 0,$(shell id -u)),--map-root-user) $(BIN)/python -m benchmarks.roaming $(if $(OUT),--out $(OUT)) $(ARGS)

bench-samples: $(VENV)/.dev ## store, read and prune 1,000,000 samples of quality on PostgreSQL; OUT=file.json, ARGS="--engine sqlite"
	@.ci/need postgresql
	$(BIN)/python -m benchmarks.samples $(if $(OUT),--out $(OUT)) $(ARGS)

bench-thin: $(VENV)/.dev $(VENV)/.fastpath ## measure a call over a narrow connection (in a separate network namespace)
	@.ci/need chromium iproute2
	unshare --net $(if $(filter-out 0,$(shell id -u)),--map-root-user) $(BIN)/python -m benchmarks.thin $(ARGS)

outage: $(VENV)/.dev $(VENV)/.fastpath ## make PostgreSQL, Redis and a media node fail while calls run; OUT=file.json, ARGS="--scale 0.2"
	@.ci/need redis-server postgresql
	$(BIN)/python -m benchmarks.outage $(if $(OUT),--out $(OUT)) $(ARGS)

soak: $(VENV)/.dev $(VENV)/.fastpath ## run synthetic participants for $SECONDS (1800), and check for leaks
	$(BIN)/python -m benchmarks.soak --seconds $(or $(SECONDS),1800) $(ARGS)

reference: $(VENV)/.runtime ## generate the reference of events in docs/, and the client's types, from the event classes
	$(CHECK_ENV) $(BIN)/python manage.py reference

diagram: $(VENV)/.runtime ## generate the state diagrams in docs/ from the table of the machine
	$(CHECK_ENV) $(BIN)/python manage.py diagram

lock: ## pin the newest versions that pyproject.toml allows
	.ci/lock $(PYTHON)

clean: ## remove everything that can be rebuilt (never var/, which contains your data)
	rm -rf $(VENV) media/forward/_fastpath-* node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage dist

$(VENV)/.runtime: requirements.lock
	@.ci/install $(PYTHON) $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@.ci/install $(PYTHON) $(VENV) requirements-dev.lock
	@touch $@

# Use any compiler that is installed. Without one, the focus forwards in Python alone.
$(VENV)/.fastpath: media/forward/fastpath.c media/forward/fastpath.h media/forward/fastpath.py media/forward/memory.py $(VENV)/.runtime
	@$(BIN)/python -m media.forward.fastpath
	@if ls media/forward/_fastpath-*.so >/dev/null 2>&1; then touch $@; fi

node_modules/.installed: package.json
	@.ci/need nodejs npm
	npm install --no-package-lock --no-audit --no-fund --silent
	@touch $@
