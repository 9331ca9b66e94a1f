# Two commands: `make quickstart` runs the main job, `make test` passes the tests. Both set up everything they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test lint schema clean help

help:
	@echo "make quickstart   set up .venv, fetch two small models, run pipelines/quickstart.yaml"
	@echo "make test         the same set-up, then the tests"
	@echo "make lint         ruff, mypy and the import contracts"
	@echo "make schema       write docs/irkit.schema.json anew"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,dev]'
	$(BIN)/irkit models pull minilm
	$(BIN)/irkit models pull smollm2
	@touch $(STAMP)

quickstart: $(STAMP)
	$(BIN)/irkit run pipelines/quickstart.yaml

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

schema: $(STAMP)
	$(BIN)/irkit schema --own --output docs/irkit.schema.json

clean:
	rm -rf $(VENV) build dist *.egg-info
