# The commands of people and CI alike. `make demo` and `make test` need python3 (3.11 or newer) and
# a reachable package registry, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: help demo quick test test-slow docs lint audit types format clean
help:
	@echo "make demo       set everything up, then train and judge a singular value ensemble on real data"
	@echo "make quick      what one runs while writing: lint, golden predictions, the mathematics (under a minute)"
	@echo "make test       set everything up, then lint, type check and run the tests"
	@echo "make test-slow  the long tests as well: real weights, check_estimator of the baselines"
	@echo "make docs       build the documentation site in docs/_build; warnings are errors"
	@echo "make audit      ask the advisory services about the installed packages (part of lint)"
	@echo "make format     let ruff format and fix the code"

# One stamp a set of extras: an environment is only touched when its recipe changed.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e ".[demo]"
	touch $@

# laplace-torch asks for torchvision, never imports it, and torchvision breaks CPU builds of torch.
LAPLACE := laplace-torch asdfghjkl backpack-for-pytorch curvlinops-for-pytorch einconv einops unfoldNd

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e ".[test]"
	$(BIN)/pip install --quiet --no-deps -c constraints.txt $(LAPLACE)
	touch $@

demo: $(VENV)/.demo
	$(BIN)/python examples/1_quickstart.py

# Golden predictions and signatures, who imports whom, and the rooms that hold the mathematics.
QUICK := tests/golden tests/test_architecture.py tests/test_validation.py tests/adapters tests/metrics \
	sksve/adapters sksve/metrics sksve/estimators

quick: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q -n $(JOBS) -k "not cover and not loads" $(QUICK)  # no simulations of coverage, no imports in new processes

test: lint types
	$(BIN)/python -m pytest -n $(JOBS)

test-slow: lint types
	$(BIN)/python -m pytest -n $(JOBS) -m "slow or not slow"

docs: $(VENV)/.test
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build
	@echo "docs/_build/index.html"

lint: $(VENV)/.test audit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/line_budget.py
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml sksve tools

# A vulnerability that is found fails; a service that cannot be reached is told and does not.
audit: $(VENV)/.test
	$(BIN)/python tools/audit.py

types: $(VENV)/.test
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) docs/api docs/_build build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
