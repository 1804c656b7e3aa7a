# Everything works from a fresh clone: the environment is made on first use, in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test slow lint format types clean

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[train,hub,trl,peft,ctranslate2,dev]"
	touch $@

demo: install
	$(BIN)/understudy demo

# A process for each core, which torch must not fill with threads of its own.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

slow: install
	$(BIN)/python -m pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install
	$(BIN)/mypy

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
