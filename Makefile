# Two commands matter: `make demo` and `make test`. Everything they need lands in .venv.
PYTHON ?= python3
WORKERS ?= 4 # test processes; much of a test is waiting
SEED ?= $(shell date +%s)
BIN := .venv/bin

.PHONY: demo test coverage test-faults test-cluster lint bench lock clean

demo: .venv/ready
	$(BIN)/tml-bot demo

test: .venv/ready
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

# Takes half as long again.
coverage: .venv/ready
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term:skip-covered

# Every fault on every operation, with the table at the end: docs/reliability.md. SEED repeats a run.
test-faults: .venv/ready
	$(BIN)/pytest tests/faults -m "" -n $(WORKERS) --dist worksteal --fault-seed $(SEED) $(ARGS)

# On a real Kubernetes: docs/control-plane.md.
test-cluster: .venv/ready
	$(BIN)/python -m tests.cluster $(ARGS)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready
	$(BIN)/python -m benchmarks

# The environment is made again whenever the locked versions change.
.venv/ready: requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch .venv/ready

lock: .venv/ready
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url pyproject.toml --group dev -o requirements-dev.txt

clean:
	rm -rf .venv var
