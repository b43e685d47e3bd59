# make demo    a real search on two cores, its winner and a report      make test    every test
# make check   style, types, import floors, workflows          make bench   figures of notebooks/benchmarks.md
# make floors  a part of the tests with the lowest versions that pyproject.toml declares
# make newest  the same part with the newest ones              make dist    what is published, tried from its wheel
# make docs    the documentation, in build/site, with every warning an error    make pictures  those of the documentation
# make constraints  writes constraints.txt and constraints-floors.txt anew
# Each of them makes its environment when it is missing, and installs again when the dependencies have changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PROCESSES ?= 3  # of the tests, some of which wait while others work
RUN ?= demo-$(shell date +%Y%m%d-%H%M%S)
TABLES ?= ../shared/bench/lcbench_surrogate.parquet

# A launch on Ray, resume, report, W&B, packs, panda, and all that touches Ray's insides.
VERSIONED := tests/test_versions.py tests/test_host.py tests/test_executors.py tests/test_tune.py tests/test_cli.py \
  tests/test_report.py tests/test_wandb.py tests/test_fused_loop.py tests/test_panda_runs.py

.PHONY: demo test check bench floors newest dist docs pictures constraints

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
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github

bench: $(READY)
	$(BIN)/raysearch bench throughput
	$(BIN)/raysearch bench tables $(TABLES)

docs: $(READY)
	$(BIN)/python .ci/site/notebook_pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -f .ci/site/mkdocs.yml

pictures: $(READY)
	$(BIN)/python .ci/site/pictures.py build/pictures

floors: .venv-floors/.ready
	.venv-floors/bin/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(VERSIONED)

newest: .venv-newest/.ready
	.venv-newest/bin/python -m pip list | grep -E '^(numpy|pandas|ray|torch|wandb) '
	.venv-newest/bin/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(VERSIONED)

dist: $(READY)
	test -z "$(TAG)" || test "$(TAG)" = "v$$($(BIN)/python -c 'import raysearch; print(raysearch.__version__)')"
	rm -rf dist .venv-dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt dist/*.whl
	cd dist && ../.venv-dist/bin/raysearch --version && ../.venv-dist/bin/raysearch examples

constraints: $(READY)
	$(BIN)/python -m pip install -qq --disable-pip-version-check uv
	$(BIN)/python .ci/constraints.py

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --report $(VENV)/report.json -c constraints.txt -e '.[dev]'
	$(PYTHON) -I .ci/verify.py $(VENV) $(VENV)/report.json
	touch $@

.venv-floors/.ready: pyproject.toml constraints-floors.txt
	test -x .venv-floors/bin/python || $(PYTHON) -m venv .venv-floors
	.venv-floors/bin/python -m pip install -qq --disable-pip-version-check -c constraints-floors.txt -e '.[test]'
	touch $@

.venv-newest/.ready: pyproject.toml
	test -x .venv-newest/bin/python || $(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install -qq --disable-pip-version-check --upgrade -e '.[test]'
	touch $@
