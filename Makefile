# make demo: set everything up, distil on the handwritten digits and write work_dirs/demo/report.html
# make test: set everything up and run the tests
# make lint: check style and types
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format clean

demo: $(VENV)/.runtime
	$(BIN)/python tools/compare.py \
		configs/baseline/resnet8-w2_digits.py \
		configs/kd/kd_resnet14-to-resnet8-w2_digits.py \
		configs/bss/bss_resnet14-to-resnet8-w2_digits.py \
		--teacher configs/baseline/resnet14_digits.py \
		--seeds 0 1 2 --jobs 2 --work-dir work_dirs/demo
	$(BIN)/python tools/report.py work_dirs/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest --cov --cov-report=term

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/.runtime: setup.py constraints.txt requirements.txt requirements/runtime.txt requirements/openmmlab.txt requirements/tensorboard.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -r requirements.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -r requirements/dev.txt
	touch $@
