# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv lint test test-long conformance fuzz demo demo-check showcase libraries bench policy-check clean

help:  ## this list
	@echo "make targets of nativelib:"
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16

venv: $(STAMP)  ## make .venv: the project, editable, and everything that tests and linters need

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "nativelib needs Python 3.11 or newer; say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv; from ensurepip import version' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make environments. On Debian: sudo apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --retries 2 --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -q --disable-pip-version-check --retries 2 --editable . --group dev
	touch $@

lint: $(STAMP)  ## ruff, mypy, import directions
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## lint, then every test that is not long
	$(BIN)/python -m pytest -q -m "not long" -n 2

test-long: $(STAMP)  ## the long tests
	$(BIN)/python -m pytest -q -m "long and not conformance" -n 2

conformance: $(STAMP)  ## published wheels, beside auditwheel: a table [WRITE=1: into docs/conformance.md, too]
	rm -rf build/conformance
	@$(BIN)/python -m pytest -q -m conformance -n 2; status=$$?; \
		$(BIN)/python -m tests.conformance.table $(if $(WRITE),--write docs/conformance.md) && exit $$status

fuzz: $(STAMP)  ## the readers of ELF files and archives against random bytes [FUZZ_SECONDS=N]
	$(BIN)/python -m pip install -q --disable-pip-version-check --retries 2 --group fuzz
	$(BIN)/python -m tests.fuzz.run --seconds $(or $(FUZZ_SECONDS),60)

demo: demo-check $(STAMP)  ## OpenBLAS and OpenMP as wheels, and consumers of them [PREFIX=DIR [LICENSE=FILE]]
	@$(BIN)/python examples/openblas/demo.py $(if $(PREFIX),--prefix "$(PREFIX)") $(if $(LICENSE),--license "$(LICENSE)")

# Before the environment is made: the example says all at once what is missing, and how to install it.
demo-check:
	@test -e $(STAMP) || ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		$(PYTHON) -B examples/openblas/demo.py --check

showcase: $(STAMP)  ## published wheels, untouched and on one OpenMP runtime: about 45 minutes [QUICK=1] [TORCH=WHEEL] [WRITE=1]
	@$(BIN)/python examples/showcase/showcase.py $(if $(QUICK),--quick) $(if $(TORCH),--torch "$(TORCH)") $(if $(WRITE),--write)

libraries: $(STAMP)  ## OpenMP and OpenBLAS as library wheels for published wheels, in build/showcase/libraries
	@$(BIN)/python examples/showcase/showcase.py --libraries

policy-check: $(STAMP)  ## compare the policy data with the newest auditwheel
	$(BIN)/python tools/policy_data.py --check --newest

bench: $(STAMP)  ## speed, as ratios against unzip and auditwheel [MARKDOWN=FILE]
	$(BIN)/python benchmarks/run.py $(if $(MARKDOWN),--markdown "$(MARKDOWN)")

clean:  ## remove .venv and everything that was made
	rm -rf $(VENV) build dist wheelhouse .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
