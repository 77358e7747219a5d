# Everything from a fresh Debian or Ubuntu with git, make and python3: each target sets up what it needs (octopus/demo/ground.sh).

BIN := .venv/bin

.PHONY: demo test check-style unit real bench lint lock clean ground-demo ground-test
.NOTPARALLEL:

demo: ground-demo  ## a gateway, a small cluster and real containers on this machine; ^C ends it all
	@exec $(BIN)/octopus demo

test: ground-test lint unit real  ## everything that must hold before a change goes in

lint: ground-test  ## form, mistakes, types
	$(BIN)/ruff format --check octopus tests
	$(BIN)/ruff check octopus tests
	$(BIN)/mypy

unit: ground-test  ## pure tests; they alone must reach every branch of the core
	$(BIN)/pytest tests/unit --cov=octopus/core --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100

# What fails is run once more, by itself, and both runs are shown: a fault fails again, another program's burst of work does not.
real: ground-test  ## against real engines, directories and clients
	$(BIN)/pytest tests/integration tests/e2e || $(BIN)/pytest --last-failed --last-failed-no-failures none tests/integration tests/e2e

bench: ground-test  ## figures, not gates
	$(BIN)/pytest tests/benchmarks

lock: ground-test  ## pin what pyproject.toml asks for, with hashes, for every Python from 3.11 on
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra test --generate-hashes --upgrade --no-strip-extras \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml

clean:  ## forget everything that can be made again
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage build dist
	find octopus tests -name __pycache__ -type d -prune -exec rm -rf {} +

ground-demo:
	@sh octopus/demo/ground.sh demo

ground-test:
	@sh octopus/demo/ground.sh test
