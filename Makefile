# make demo: set everything up, run studies/digits.py and write work_dirs/studies/digits/report.html
# make test: set everything up and run the tests
# make coverage: run them, and fail below 95 % of lines and branches
# make lint: check style, types, which room imports which, and the oldest Python that will do
# make lock: write the hashes of what constraints.txt pins
# make audit: look the pins up in a database of known vulnerabilities
# make docs: build the site, docs/_build/html/index.html, and fail at a warning or a dead link in it
# make docs-links: look whether the addresses outside of it answer
# make mutation: change the attacks and losses in small ways and see whether the tests notice
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/pip install --disable-pip-version-check
# nothing but the files whose hashes are locked, and no code of a package runs to install it
INSTALL_LOCKED := $(PIP_INSTALL) --require-hashes --only-binary :all: --no-deps
COMPILE := $(BIN)/uv pip compile -q --upgrade --generate-hashes --no-annotate \
	--custom-compile-command 'make lock'
# long() is a method of tensors here, not the class of Python 2
VERMIN := $(BIN)/vermin --quiet --no-tips --violations --exclude long -t=3.11-

SPHINX := OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -W --keep-going -d docs/_build/doctrees
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test coverage lint format lock audit mutation docs docs-links clean

demo: $(VENV)/.installed
	$(BIN)/python tools/compare.py studies/digits.py --jobs 2 --results work_dirs/studies/digits
	OMP_NUM_THREADS=1 $(BIN)/python tools/report.py work_dirs/studies/digits

test: $(VENV)/.installed
	$(PYTEST)

# apart from the tests, since counting takes time
coverage: $(VENV)/.installed
	$(PYTEST) --cov --cov-report=term

lint: $(VENV)/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(VERMIN) mmbss tools benchmarks tests setup.py

format: $(VENV)/.installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: $(VENV)/.maintenance
	grep -v '^torch==' constraints.txt | $(COMPILE) --no-deps -o requirements/ci.txt -
	grep '^torch==' constraints.txt | $(COMPILE) -c constraints.txt \
		--universal --python-version 3.11 -o requirements/torch.txt -

audit: $(VENV)/.maintenance
	$(BIN)/pip-audit --strict --disable-pip \
		-r requirements/ci.txt -r requirements/torch.txt

mutation: $(VENV)/.maintenance
	OMP_NUM_THREADS=1 $(BIN)/mutmut run
	$(BIN)/mutmut results

docs: $(VENV)/.docs
	$(SPHINX) -b html docs docs/_build/html

docs-links: $(VENV)/.docs
	$(SPHINX) -b linkcheck docs docs/_build/links

clean:
	rm -rf $(VENV) build dist mutants docs/_build docs/files *.egg-info

# Of two builds of torch whose hashes are both allowed, pip may take the CUDA build of several GB
# although it has the CPU build; so the CPU build is asked for first.
$(VENV)/.installed: setup.py requirements/ci.txt requirements/torch-cpu.txt requirements/torch.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(INSTALL_LOCKED) -r requirements/torch-cpu.txt || $(INSTALL_LOCKED) -r requirements/torch.txt
	$(INSTALL_LOCKED) -r requirements/ci.txt
	$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.maintenance: $(VENV)/.installed requirements/maintenance.txt
	$(PIP_INSTALL) -c constraints.txt -r requirements/maintenance.txt
	touch $@

$(VENV)/.docs: $(VENV)/.installed requirements/docs.txt
	$(PIP_INSTALL) -c constraints.txt -r requirements/docs.txt
	touch $@
