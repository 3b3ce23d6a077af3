# make demo: the whole loop for real.  make test: every test.  Everything lands in .venv and .cache.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
BIN := .venv/bin
UV := $(shell command -v uv || echo .cache/uv/bin/uv)
PYTHON ?= python3

.PHONY: help setup demo check test dev lock
help:
	@echo "make demo    generate traces, train, evaluate, compare: a few minutes"
	@echo "make test    every test"
	@echo "make check   style, types, import contracts"
	@echo "make dev     the server on http://127.0.0.1:8000, restarted as the code changes"
	@echo "make setup   only install        make lock    renew requirements.lock"

setup: .venv/.installed

demo: setup
	@$(BIN)/tunix-rt demo $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: .venv/.torch .venv/.reasoning-gym
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

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
