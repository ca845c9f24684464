# Every verb that people, CI and pre-commit use. `make` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
UV_VERSION := 0.13.9
RUN := .venv/bin/python
COMPOSE := docker compose
LOCK := uv pip compile -q pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url --no-emit-find-links -o requirements.lock
HAVE_UV := command -v uv >/dev/null || { $(PYTHON) -m venv .tools && .tools/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION); }

export UV_PYTHON_DOWNLOADS := never
# One found on the PATH wins; otherwise the one that `make setup` fetches into .tools/.
export PATH := $(PATH):$(CURDIR)/.tools/bin

.PHONY: help
help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' Makefile

##@ Running
.PHONY: run demo
run: setup ## the whole product on this machine: no containers, no root, no keys
	@exec $(RUN) -m deploy.embedded

demo: setup ## send realistic traffic to the running gateway and print what was saved
	@exec $(RUN) -m scripts.demo

##@ Developing
.PHONY: setup fmt check test test-unit test-integration test-e2e e2e proto lock env-example
setup: .venv/.stamp ## create .venv with everything pinned; instant when up to date

.venv/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "setup needs Python 3.11 or newer with venv; $(PYTHON) is not: set PYTHON=python3.x" >&2; exit 1; }
	@$(HAVE_UV)
	@.venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || uv venv -q --clear --python "$$(command -v $(PYTHON))" .venv
	@echo "setting up .venv"
	@uv pip sync -q --python .venv/bin/python --require-hashes requirements.lock
	@uv pip install -q --python .venv/bin/python --no-deps -e .
	@touch .venv/.stamp

fmt: setup ## format the code and apply the safe fixes
	@.venv/bin/ruff format -q
	@.venv/bin/ruff check -q --fix

check: setup ## formatting, lint, types, and nothing generated is stale
	@.venv/bin/ruff format --check
	@.venv/bin/ruff check
	@$(RUN) -m mypy
	@$(RUN) -m scripts.stale

test: setup ## unit, integration and the embedded stack from outside
	@$(RUN) -m pytest -q -n 2 tests/unit tests/integration
	@$(RUN) -m pytest -q tests/e2e -m "not compose"

test-unit: setup ## pure code only: seconds
	@$(RUN) -m pytest -q tests/unit

test-integration: setup ## stores and servicers against a real Postgres and Redis
	@$(RUN) -m pytest -q -n 2 tests/integration

test-e2e: setup ## the embedded stack from outside
	@$(RUN) -m pytest -q tests/e2e -m "not compose"

e2e: setup ## the same scenarios against the containers (needs an engine with compose)
	@$(RUN) -m pytest -q tests/e2e -m compose

proto: setup ## regenerate protos/gen from the contracts
	@$(RUN) -m scripts.protos

lock: setup ## pin every dependency anew, with hashes
	@$(HAVE_UV)
	@$(LOCK) $(LOCK_FLAGS)

env-example: setup ## write .env.example from the settings classes
	@$(RUN) -m scripts.env_example

##@ Containers
.PHONY: env up down logs psql
env: ## make .env with fresh secrets, if there is none
	@$(PYTHON) scripts/fill_env.py

up: env ## build and start the containers; back when all are healthy
	@$(COMPOSE) up --build --detach --wait

down: ## stop the containers; the data stays in its volumes
	@$(COMPOSE) down --remove-orphans

logs: ## follow the containers' logs
	@$(COMPOSE) logs --follow --tail 100

psql: ## a SQL prompt: the containers' database if they run, else the one of `make run`
	@if [ -n "$$($(COMPOSE) ps -q postgres 2>/dev/null)" ]; then exec $(COMPOSE) exec postgres psql -U postgres optimizer; \
	else exec $(RUN) -m deploy.embedded psql; fi

##@ Measuring and releasing
.PHONY: bench bench-routing bench-router-latency release clean
bench: setup ## measure the promises and write docs/reference/performance.md
	@exec $(RUN) -m scripts.bench

bench-routing: setup ## measure routing on ROUTING_DATA=<folder>; write docs/reference/routing-quality.md
	@exec $(RUN) -W ignore -m scripts.bench_routing "$(ROUTING_DATA)"

bench-router-latency: setup ## processor time of a decision at 25, 60 and 250 words, and its memory
	@exec $(RUN) -m scripts.bench_router_latency

release: setup ## build the wheel and the source archive into dist/
	@uv build -q --out-dir dist

clean: ## remove caches and builds; never data
	@rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
