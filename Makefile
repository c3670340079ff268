# Two commands are enough: `make demo` runs Coffer, `make test` tests it. Each does its own set-up.
PYTHON := /usr/bin/python3
HOME_FOLDER := $(or $(COFFER_HOME),$(CURDIR)/.coffer)
DEPLOY := cd $(CURDIR) && $(HOME_FOLDER)/venv/embedded/bin/python -m deploy
DEV := $(HOME_FOLDER)/venv/dev/bin
# Four processes; tests/conftest.py says which tests run in one
PYTEST := pytest -n 4 --no-loadscope-reorder --max-worker-restart 0
COVERAGE := $(DEV)/coverage

.DEFAULT_GOAL := help
.PHONY: help demo mysql newer up down status logs clean test test-all test-newer redteam openstack lint bench bench-gateway lock setup-demo setup-test setup-lint

help:
	@echo "make demo    set up, start Coffer, order a MariaDB and a PostgreSQL, leave it running"
	@echo "make mysql   offer MySQL, too, and bring the stack up"
	@echo "make newer   offer newer series of the engines, too, to upgrade to, and bring the stack up"
	@echo "make test    set up, run the tests, leave nothing running"
	@echo "make test-all   the same with every case of the long tables"
	@echo "make test-newer   the engines' own tests, on their newer series"
	@echo "make up      start Coffer           make down    stop it; databases and state stay"
	@echo "make status  what runs              make logs    follow all logs"
	@echo "make clean   stop and forget all    make lint    formatting, types, arrows"
	@echo "make redteam attack the gateway with a stolen guest, and tell who got what"
	@echo "make openstack   on a real OpenStack, deploy Coffer and live through all operations: SITE=FILE, see docs/operators.md"
	@echo "make bench   measure                make lock    lock the requirements"
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

mysql:
	@$(PYTHON) deploy/setup.py mysql && $(DEPLOY) up

newer:
	@$(PYTHON) deploy/setup.py newer && $(DEPLOY) up

down status logs:
	@if [ -x $(HOME_FOLDER)/venv/embedded/bin/python ]; then $(DEPLOY) $@; else echo "the stack is down"; fi

clean: down
	@$(PYTHON) deploy/setup.py clean

test: setup-test lint
	@folder=$$(mktemp -d) && export COVERAGE_FILE=$$folder/data && trap "rm -rf $$folder" EXIT && \
	$(COVERAGE) run -m $(PYTEST) && $(COVERAGE) combine -q && $(COVERAGE) report

test-all: setup-test lint
	@$(DEV)/python -m $(PYTEST) --every-case

test-newer: setup-test
	@TEST_NEWER_SERIES=1 $(DEV)/python -m $(PYTEST) tests/contracts tests/tls tests/logs tests/backups

redteam: setup-test
	@$(DEV)/python -m pytest -q -W ignore tests/redteam

openstack: setup-test
	@$(DEV)/python -m tests.openstack $(or $(SITE),$(error say SITE=FILE, as docs/operators.md explains it)) $(LANE)

lint: setup-lint
	@$(DEV)/ruff format --check -q . && $(DEV)/ruff check -q . && $(DEV)/mypy . && $(DEV)/lint-imports --no-cache

bench: setup-demo
	@$(DEPLOY) up && $(HOME_FOLDER)/venv/embedded/bin/python -m benchmarks

bench-gateway: setup-demo
	@cd $(CURDIR) && $(HOME_FOLDER)/venv/control/bin/python -m benchmarks.gateway

lock: setup-lint
	@$(PYTHON) deploy/setup.py lock
