# gimstage: `make` lists what can be made. Everything runs in .venv, which `make setup` builds.

RECIPE ?= demo
RUNS   ?= runs
SEED   ?=
ARGS   ?=

PYTHON   ?= python3
BIN      := .venv/bin
FOLDER   := stages/$(RECIPE)
RUN      := $(RUNS)/$(RECIPE)$(SEED:%=@%)
GIMSTAGE := $(BIN)/gimstage
OPTIONS   = --recipe $(FOLDER) --runs $(RUNS) $(SEED:%=--seed %) $(ARGS)

# The stages of the recipe, in order: 1 2 3 of 1_first.toml 2_second.toml 3_third.toml.
STAGES := $(shell ls $(FOLDER) 2>/dev/null | sed -n 's/^\([0-9][0-9]*\)_.*\.toml$$/\1/p' | sort -n)

.DEFAULT_GOAL := help
.PHONY: help setup all test lint bench clean

help: ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo
	@echo "  make all RECIPE=stl10_small ARGS='--data DIR'    another recipe, on your images"

setup: .venv/ready ## build .venv with everything gimstage needs

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

# Make decides the order, by the manifests; gimstage decides the truth, by their fingerprints, and
# so has the last word: what make takes for fresh although the data changed is run again here.
all: .venv/ready $(STAGES:%=$(RUN)/%/manifest.json) ## train the whole chain of RECIPE, then probe it
	@$(GIMSTAGE) run $(OPTIONS)

define stage_rule
$(RUN)/$(2)/manifest.json: $(1:%=$(RUN)/%/manifest.json) $(wildcard $(FOLDER)/$(2)_*.toml) $(wildcard $(FOLDER)/data.toml) | .venv/ready
	@$(GIMSTAGE) train-stage $(2) $$(OPTIONS)
endef
before :=
$(foreach stage,$(STAGES),$(eval $(call stage_rule,$(before),$(stage)))$(eval before := $(stage)))

test: setup lint ## check style and types, then run every test
	$(BIN)/pytest

lint: setup ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup ## measure speed and memory against the bounds in benchmarks/
	$(BIN)/python benchmarks/run.py

clean: ## remove the runs of RECIPE
	rm -rf $(RUN)
