# gimstage: `make` lists what can be made. Everything runs in .venv, which `make setup` builds.

RECIPE ?= demo demo_audio
RUNS   ?= runs
SEED   ?=
ARGS   ?=

# Of `make tables`: the data, the seeds, and the recipes where they are not all of the small ones.
DATA    ?=
SEEDS   ?= 2 3
RECIPES ?=

PYTHON   ?= python3
BIN      := .venv/bin
GIMSTAGE := $(BIN)/gimstage

# What becomes a name of a target or a word of a command is one word that make and the shell leave
# as it is; it is refused before anything is done, and by no target that does not read it.
hash     := \#
special  := ' " ` ; & | < > ( ) * ? [ ] { } ! : % = ~ ^ , \ $(hash) $$
odd       = $(strip $(foreach each,$(special),$(findstring $(each),$(1))))
one       = $(if $(filter 1,$(words $(2)))$(call odd,$(2)),$(if $(call odd,$(2)),$(call no,$(1),$(2))),$(call no,$(1),$(2)))
no        = $(error $(1)='$(2)': expected one word without white space or signs such as $$ and *; choose another, or call gimstage itself)
names     = $(foreach each,$(2),$(if $(call odd,$(each))$(findstring /,$(each))$(filter .%,$(each)),$(call no,$(1),$(each))))
quoted    = '$(subst ','\'',$(1))'

ifneq ($(filter-out help setup test trust lint bench bench-memory,$(or $(MAKECMDGOALS),help)),)
$(call one,RUNS,$(RUNS))
$(if $(SEED),$(call one,SEED,$(SEED)))
$(call names,RECIPE,$(RECIPE))
$(call names,RECIPES,$(RECIPES))
endif

# Of the recipe $(1): its folder of runs, the options that name it, and its stages in order, which
# are 1 2 3 of 1_first.toml 2_second.toml 3_third.toml.
run      = $(RUNS)/$(1)$(SEED:%=@%)
options  = --recipe stages/$(1) --runs $(RUNS) $(SEED:%=--seed %) $(ARGS)
stages   = $(shell ls stages/$(1) 2>/dev/null | sed -n 's/^\([0-9][0-9]*\)_.*\.toml$$/\1/p' | sort -n)

.DEFAULT_GOAL := help
.PHONY: help setup all tables test trust lint bench bench-memory clean

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
	@echo
	@echo "  make all RECIPE=stl10_small ARGS='--data DIR'    another recipe, on your images"
	@echo "  make tables DATA=DIR SEEDS='2 3'                 RECIPES='NAME …' runs these only"

setup: .venv/ready ## build .venv with everything gimstage needs

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

# Make decides the order, by the manifests; gimstage decides the truth, by their fingerprints, and
# so has the last word: what make takes for fresh although the data changed is run again here.
all: $(RECIPE:%=all-%) ## train the whole chain of RECIPE (both demos), then probe it

define stage_rule
$(call run,$(1))/$(3)/manifest.json: $(2:%=$(call run,$(1))/%/manifest.json) $(wildcard stages/$(1)/$(3)_*.toml) $(wildcard stages/$(1)/data.toml) | .venv/ready
	@$(GIMSTAGE) train-stage $(3) $$(call options,$(1))
endef
define recipe_rules
.PHONY: all-$(1)
all-$(1): .venv/ready $(foreach stage,$(call stages,$(1)),$(call run,$(1))/$(stage)/manifest.json)
	@$(GIMSTAGE) run $$(call options,$(1))
$(eval before :=)
$(foreach stage,$(call stages,$(1)),$(eval $(call stage_rule,$(1),$(before),$(stage)))$(eval before := $(stage)))
endef
$(foreach recipe,$(RECIPE),$(eval $(call recipe_rules,$(recipe))))

tables: setup ## run the small recipes that suit DATA with all SEEDS, report them beside the paper's
	@$(GIMSTAGE) tables $(RECIPES:%=stages/%) --seeds $(call quoted,$(SEEDS)) --runs $(RUNS) \
	    $(if $(DATA),--data $(call quoted,$(DATA))) $(ARGS)

test: setup lint ## check style and types, then run every test
	$(BIN)/pytest

trust: setup ## kill, flip, fill up, forge: a thousand faults of each kind; ARGS='--only flips'
	PYTHONPATH=tests OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m trust $(ARGS)

lint: setup ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup ## measure speed and memory against the bounds in benchmarks/
	$(BIN)/python benchmarks/run.py

bench-memory: setup ## make the tables of docs/memory.md anew
	$(BIN)/python benchmarks/memory_table.py

clean: ## remove the runs of RECIPE
	rm -rf -- $(foreach recipe,$(RECIPE),$(call run,$(recipe)))
