# Two commands matter to a newcomer: `make demo` and `make test`. Each sets up what it needs, once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: assets demo test lint format bench lock clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
# Without isolation a package that is built here is built with the setuptools that is locked.
LOCKED := $(PIP) --require-hashes --no-build-isolation
SOURCES := archiver manifests storage examples tests $(wildcard benchmarks)
WORKERS := 2
# `make demo STORE=s3` runs on an S3 server of this machine instead of in a folder.
STORE ?= folder

demo: .make/demo .make/browser .make/assets $(if $(filter s3,$(STORE)),.make/dev)
	$(BIN)/python -m examples.demo $(STORE)

test: .make/dev .make/browser .make/assets .make/tools
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

lint: .make/dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

format: .make/dev
	$(BIN)/ruff check --fix-only $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: .make/demo .make/browser
	$(BIN)/python -m benchmarks.overhead

# The locks name no index: whoever installs uses their own.
lock: .make/dev
	CUSTOM_COMPILE_COMMAND="make lock" scripts/lock.sh

clean:
	rm -rf .make .venv build

.make/venv:
	scripts/venv.sh $(PYTHON)
	mkdir -p .make && touch $@

.make/demo: .make/venv requirements-build.txt requirements.txt requirements-demo.txt pyproject.toml
	$(LOCKED) -r requirements-build.txt
	$(LOCKED) -r requirements.txt -r requirements-demo.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

.make/dev: .make/demo requirements-dev.txt
	$(LOCKED) -r requirements-dev.txt
	touch $@

.make/browser: .make/demo scripts/browser.sh
	scripts/browser.sh
	touch $@

assets: .make/assets

.make/assets: .make/venv scripts/assets.sh archiver/assets/npm.lock
	scripts/assets.sh
	mkdir -p .make && touch $@

.make/tools: scripts/tools.sh
	scripts/tools.sh
	mkdir -p .make && touch $@
