# make demo   the main job on the bundled generator; leaves build/demo/report.html
# make test   the tests (15 minutes at the most on 2 cores); make test-all runs the long ones too
# make check  ruff, pyright, import contracts; make style rewrites the format
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# A process per core, four at the most; a file's tests stay together, files begin in the order of tests/conftest.py.
PYTEST = $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-all check style clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	# torch first and alone: where an index offers a small CPU build, this takes it
	$(BIN)/pip install --quiet 'torch>=2.13,<2.14'
	$(BIN)/pip install --quiet --editable '.[all]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/edgestep ship emoji --target x86 --target intel --target mac --out build/demo; \
	status=$$?; \
	if [ $$status -eq 1 ]; then echo "A parity gate failed: the report says which."; status=0; fi; \
	exit $$status

test: $(VENV)/installed
	$(PYTEST) -m "not slow"

test-all: $(VENV)/installed
	$(PYTEST)

check: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

style: $(VENV)/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf build $(VENV)
