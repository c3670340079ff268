# Two commands are enough: `make demo` runs Coffer, `make test` tests it. Each does its own set-up.
PYTHON := /usr/bin/python3
HOME_FOLDER := $(or $(COFFER_HOME),$(CURDIR)/.coffer)
DEPLOY := cd $(CURDIR) && $(HOME_FOLDER)/venv/embedded/bin/python -m deploy
DEV := $(HOME_FOLDER)/venv/dev/bin
# Two processes; tests/conftest.py says which tests run in one
PYTEST := $(DEV)/python -m pytest -n 2 --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo up down status logs clean test test-all redteam lint bench bench-gateway lock setup-demo setup-test setup-lint

help:
	@echo "make demo    set up, start Coffer, order a MariaDB and a PostgreSQL, leave it running"
	@echo "make test    set up, run the tests, leave nothing running"
	@echo "make test-all   the same with every case of the long tables"
	@echo "make up      start Coffer           make down    stop it; databases and state stay"
	@echo "make status  what runs              make logs    follow all logs"
	@echo "make clean   stop and forget all    make lint    formatting, types, arrows"
	@echo "make redteam attack the gateway with a stolen guest, and tell who got what"
	@echo "make bench   measure                make lock    lock the requirements anew"
	@echo "make bench-gateway   measure what the gateway costs, on a stage of its own"

setup-demo:
	@$(PYTHON) deploy/setup.py demo

setup-test:
	@$(PYTHON) deploy/setup.py test

setup-lint:
	@$(PYTHON) deploy/setup.py lint

demo: setup-demo
	@$(DEPLOY) demo

up: setup-demo
	@$(DEPLOY) up

down status logs:
	@if [ -x $(HOME_FOLDER)/venv/embedded/bin/python ]; then $(DEPLOY) $@; else echo "the stack is down"; fi

clean: down
	@$(PYTHON) deploy/setup.py clean

test: setup-test lint
	@$(PYTEST)

test-all: setup-test lint
	@$(PYTEST) --every-case

redteam: setup-test
	@$(DEV)/python -m pytest -q -W ignore tests/redteam

lint: setup-lint
	@$(DEV)/ruff format --check -q . && $(DEV)/ruff check -q . && $(DEV)/mypy . && $(DEV)/lint-imports --no-cache

bench: setup-demo
	@$(DEPLOY) up && $(HOME_FOLDER)/venv/embedded/bin/python -m benchmarks

bench-gateway: setup-demo
	@cd $(CURDIR) && $(HOME_FOLDER)/venv/control/bin/python -m benchmarks.gateway

lock: setup-lint
	@$(PYTHON) deploy/setup.py lock
