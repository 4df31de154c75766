# make demo: set everything up, run studies/digits.py and write work_dirs/studies/digits/report.html
# make test: set everything up and run the tests
# make test-onedl: the same on the maintained fork of OpenMMLab, in an environment of its own
# make coverage: run them, and fail below 95 % of lines and branches
# make lint: check style, types, which room imports which, and the oldest Python that will do
# make lock: write the hashes of what constraints.txt and requirements/onedl-pins.txt pin
# make licenses: list the licences of what constraints.txt pins
# make audit: look the pins up in a database of known vulnerabilities
# make docs: build the site, docs/_build/html/index.html, and fail at a warning or a dead link in it
# make docs-links: look whether the addresses outside of it answer
# make notebooks: run the notebooks, in a copy of their folder
# make wheel: build what is published, dist/*, and check it
# make mutation: change the attacks and losses in small ways and see whether the tests notice
PYTHON ?= python3
VENV ?= .venv
# requirements/$(LOCK).txt is installed
LOCK ?= ci
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/pip install --disable-pip-version-check
# nothing but the files whose hashes are locked, and no code of a package runs to install it
INSTALL_LOCKED := $(PIP_INSTALL) --require-hashes --only-binary :all: --no-deps
# but the fork's, of which there are no wheels; built apart from torch they compile no operators
onedl-ci_FROM_SOURCE := --no-binary onedl-mmcv,onedl-mmpretrain
COMPILE := $(BIN)/uv pip compile -q --upgrade --generate-hashes --no-annotate \
	--custom-compile-command 'make lock'
# in constraints.txt, but of the official packages alone
OWN_OF_STACK := torch|mmcv-lite|mmengine|mmpretrain|openmim|openxlab|opendatalab|numpy|setuptools
# long() is a method of tensors here, not the class of Python 2
VERMIN := $(BIN)/vermin --quiet --no-tips --violations --exclude long -t=3.11-

SPHINX := OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -W --keep-going -d docs/_build/doctrees
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 1

.PHONY: demo test test-onedl coverage lint format lock licenses audit wheel mutation docs docs-links notebooks clean

demo: $(VENV)/.installed
	$(BIN)/python tools/compare.py studies/digits.py --jobs 2 --results work_dirs/studies/digits
	OMP_NUM_THREADS=1 $(BIN)/python tools/report.py work_dirs/studies/digits

test: $(VENV)/.installed
	$(PYTEST)

test-onedl:
	$(MAKE) test VENV=.venv-onedl LOCK=onedl-ci

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
	grep -v -E '^($(OWN_OF_STACK))==' constraints.txt | cat - requirements/onedl-pins.txt \
		| $(COMPILE) --no-deps -o requirements/onedl-ci.txt -

licenses: $(VENV)/.maintenance
	$(BIN)/pip-licenses --from=mixed --format=markdown --with-system \
		--packages $$(sed -n 's/==.*//p' constraints.txt) --output-file requirements/LICENSES.md

audit: $(VENV)/.maintenance
	$(BIN)/pip-audit --strict --disable-pip \
		-r requirements/ci.txt -r requirements/torch.txt

wheel: $(VENV)/.maintenance
	rm -rf build dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

mutation: $(VENV)/.maintenance
	OMP_NUM_THREADS=1 $(BIN)/mutmut run
	$(BIN)/mutmut results

docs: $(VENV)/.docs
	$(SPHINX) -b html docs docs/_build/html

docs-links: $(VENV)/.docs
	$(SPHINX) -b linkcheck docs docs/_build/links

notebooks: $(VENV)/.docs
	rm -rf build/notebooks && mkdir -p build && cp -r notebooks build/notebooks
	cd build/notebooks && $(abspath $(BIN))/jupyter-execute --timeout=600 *.ipynb

clean:
	rm -rf $(VENV) .venv-onedl build dist mutants docs/_build docs/files *.egg-info

# Of two builds of torch whose hashes are both allowed, pip may take the CUDA build of several GB
# although it has the CPU build; so the CPU build is asked for first.
$(VENV)/.installed: setup.py pyproject.toml mmbss/version.py requirements/$(LOCK).txt \
		requirements/torch-cpu.txt requirements/torch.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(INSTALL_LOCKED) -r requirements/torch-cpu.txt || $(INSTALL_LOCKED) -r requirements/torch.txt
	$(INSTALL_LOCKED) $($(LOCK)_FROM_SOURCE) -r requirements/$(LOCK).txt
	$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.maintenance: $(VENV)/.installed requirements/maintenance.txt
	$(PIP_INSTALL) -c constraints.txt -r requirements/maintenance.txt
	touch $@

$(VENV)/.docs: $(VENV)/.installed requirements/docs.txt
	$(PIP_INSTALL) -c constraints.txt -r requirements/docs.txt
	touch $@
