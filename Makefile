# Kubeloop. `make help` lists what there is. Every target sets up .venv when it has to; nothing else need be typed.
PYTHON ?= python3
VENV := .venv
UV_VERSION := 0.13.8
STAMP := $(VENV)/.set-up
PY := $(VENV)/bin/python
BAD ?=

# A python that was named is taken at its word; otherwise the versioned commands are tried too.
CANDIDATES = $(if $(filter file,$(origin PYTHON)),python3 python3.12 python3.11,"$(PYTHON)")

unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup demo test slow network check lint type type-of-code type-of-tests imports compile readme golden bench bench-serving soak images cluster cluster-test cluster-down ci clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## Make .venv from uv.lock (every other target does so by itself)
	@:

demo: $(STAMP) ## Train, judge, serve and ask the heart example; BAD=data or BAD=model for a refusal
	@$(PY) -m kubeloop.cli.demo $(BAD)

test: $(STAMP) ## The tests that need no network, on two processes
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not network and not bench and not slow and not cluster"

slow: $(STAMP) ## The long tests: README's commands, the large examples, hundreds of races
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "slow and not bench and not cluster"

network: $(STAMP) ## The tests that need the package index
	@$(PY) -m pytest -m network

check: lint type imports golden ## Everything that is judged without running the tests

lint: $(STAMP) ## Style and likely mistakes (ruff)
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check

type: type-of-code type-of-tests ## Strict types (mypy)

type-of-code: $(STAMP)
	@$(VENV)/bin/mypy
	@$(VENV)/bin/mypy .ci/set_up.py .ci/readme.py
	@$(VENV)/bin/mypy images/build.py images/sbom.py

type-of-tests: $(STAMP)
	@$(VENV)/bin/mypy --config-file .ci/mypy-tests.ini tests

imports: $(STAMP) ## Which room may import which (import-linter)
	@$(VENV)/bin/lint-imports --no-logo

compile: $(STAMP) ## Compile the pipelines into their golden files; write the components' READMEs and docs/contract.md
	@$(PY) -m kubeloop.pipelines.compile
	@$(PY) -m kubeloop.components.readme
	@$(PY) -m kubeloop.contract.reference

readme: $(STAMP) ## Run README's commands and write what they print into it
	@$(PY) .ci/readme.py --write

golden: $(STAMP) ## Compile twice, under two hash seeds; both must equal the committed files
	@PYTHONHASHSEED=1 $(PY) -m kubeloop.pipelines.compile --check
	@PYTHONHASHSEED=2 $(PY) -m kubeloop.pipelines.compile --check
	@$(PY) -m kubeloop.components.readme --check

bench: $(STAMP) ## Measure and print
	@$(PY) -m pytest -m bench -q -s

images: $(STAMP) ## Build the container images of images/ (BASE=... where there is no registry)
	@$(PY) images/build.py $(if $(BASE),--base $(BASE))

cluster: $(STAMP) ## Bring up a Kubernetes with KServe on this machine, without Docker (root; the first time it is built)
	@$(PY) -m tests.cluster.bed up

cluster-test: $(STAMP) ## The tests on the Kubernetes of KUBECONFIG, else on the one of `make cluster`
	@KUBECONFIG="$${KUBECONFIG:-$$($(PY) -m tests.cluster.bed kubeconfig)}" $(PY) -m pytest -q -m cluster tests/cluster

cluster-down: $(STAMP) ## Take it down; show that no process, mount, namespace, route or rule is left
	@$(PY) -m tests.cluster.bed down

bench-serving: $(STAMP) ## The predictor against a stock KServe one: STOCK=<kserve v0.20.0 tree>; FULL=1 for every combination
	@$(PY) -u -m tests.bench.serving.harness $(if $(STOCK),--stock "$(STOCK)") $(if $(FULL),--full)

soak: $(STAMP) ## Half of the measured capacity through `kubeloop serve`, with reloads; MINUTES=10
	@$(PY) -u -m tests.bench.serving.soak --minutes $(or $(MINUTES),10)

ci: check test slow network ## All of it

clean: ## Remove what was built or cached; .venv and .kubeloop stay
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# The stamp is written last: a set-up that was interrupted starts again.
$(STAMP): uv.lock pyproject.toml $(wildcard kubeloop/*/*.[ch]) Makefile
	$(eval FOUND := $(shell sh .ci/find-python $(CANDIDATES)))
	$(if $(findstring Kubeloop needs,$(FOUND)),$(error $(FOUND)))
	@"$(FOUND)" .ci/set_up.py $(VENV) $(UV_VERSION) $(STAMP)
