# make demo    a real search on two cores, its winner and a report      make test    every test
# make check   style, types, import floors                     make bench   the figures in README.md
# Each of them makes .venv when it is missing, and installs again when the dependencies have changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PROCESSES ?= 3  # of the tests, some of which wait while others work
RUN ?= demo-$(shell date +%Y%m%d-%H%M%S)
TABLES ?= ../shared/bench/lcbench_surrogate.parquet

.PHONY: demo test check bench

demo: $(READY)
	$(BIN)/raysearch launch digits --local --name $(RUN)
	$(BIN)/raysearch best runs/$(RUN)
	$(BIN)/raysearch report runs/$(RUN)

test: $(READY)
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/raysearch bench throughput
	$(BIN)/raysearch bench tables $(TABLES)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
