# Two commands on a fresh machine: `make run`, `make test`. Both need only Python >= 3.11 and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
# What `make run` installs, an extra of pyproject.toml; also EXTRAS=all, EXTRAS=run,s3, ...
EXTRAS ?= run
# docs/installing.md: TORCH_INDEX=ADDRESS takes PyTorch from there, its CPU build; LOCKED=1 takes
# the versions of requirements.lock, by their hashes.
LOCK   := requirements.lock
# Two test processes of one thread each are faster than one of two; a file stays in one process,
# which shares what its tests need, and files are taken in the order of tests/conftest.py.
TESTS  := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder
export KEDRO_DISABLE_TELEMETRY := 1

.PHONY: run test check docs run_base run_apart install lint types duplicates slow bench adversary lock clean

run: $(VENV)/.installed-$(EXTRAS)
	$(BIN)/kedro run --pipeline dual_gating
	@echo "Report: data/08_reporting/dual_gating/report.html"

test: install
	$(TESTS) -m "not slow"

# What continuous integration runs in 25 minutes: format, lint, types, layers, duplicates, the site, the tests of
# `make test`, every pipeline (two of them with fewer epochs than their base runs, which are
# compared by hand when numbers may change), two at a time in rooms of their own, of one thread each.
check: lint docs
	$(TESTS) -m "not slow"
	OMP_NUM_THREADS=1 $(MAKE) --jobs=2 run_base run_apart

run_base:
	$(BIN)/kedro run --pipeline dual_gating --params run=check_base
	$(BIN)/kedro run --pipeline retrieval_eval

run_apart:
	$(BIN)/kedro run --pipeline dynamic_channels --params run=check_apart,dynamic_channels.train.epochs=2
	$(BIN)/kedro run --pipeline saliency360 \
		--params run=check_apart,saliency360.train.epochs=4,saliency360.decoder_train.epochs=8

# The long tests (kills, resumes, several machines, whole runs), 11 minutes: before every merge.
slow: install
	$(TESTS) -m slow

# Attacks on whole runs, and a table of what came of them: docs/adversary.md. A sample by SEED takes a
# quarter of an hour; ALL=1 tries all, CASE="kills 07" those whose name holds this.
adversary: install
	PYTHONPATH=src:tests OMP_NUM_THREADS=1 $(BIN)/python -m adversary --seed $(or $(SEED),0) \
		$(if $(ALL),--all) $(if $(CASE),--case "$(CASE)")

# The site, in half a minute: a warning is an error, and so is anything that pages would load from elsewhere.
docs: install
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet --jobs 2 docs build/site
	@echo "Site: build/site/index.html"

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --jobs=2 duplicates types

types:
	$(BIN)/mypy
	$(BIN)/lint-imports

duplicates:
	$(BIN)/pylint --score=n src/ssl_kedro

bench: install
	$(BIN)/python benchmarks/augmentation.py

install: $(VENV)/.installed-dev

# Re-installs when the dependencies change.
$(VENV)/.installed-%: pyproject.toml $(if $(LOCKED),$(VENV)/.locked)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX)$(HAS_GPU),,@echo "No NVIDIA device: TORCH_INDEX saves 4 GB, see docs/installing.md")
	$(if $(LOCKED),,$(if $(TORCH_INDEX),$(PIP) install --index-url $(TORCH_INDEX) $(TORCH)))
	$(PIP) install $(if $(LOCKED),--no-build-isolation) -e ".[$*]"
	$(BIN)/python -m ssl_kedro.inference.native
	touch $@

# The lock's packages, without the project.
$(VENV)/.locked: $(LOCK)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(PIP) install --index-url $(TORCH_INDEX) $(TORCH))
	awk '$(if $(TORCH_INDEX),$(WITHOUT_TORCH),1)' $(LOCK) > $(VENV)/$(LOCK)
	$(PIP) install --require-hashes -r $(VENV)/$(LOCK)
	touch $@

HAS_GPU := $(wildcard /dev/nvidia0 /dev/dxg)$(filter-out Linux,$(shell uname))
# The lock's hashes are those of PyTorch's build with CUDA, which NVIDIA's packages and Triton are for.
TORCH := $(if $(LOCKED),$(shell awk '/^torch(vision)?==/ {print $$1}' $(LOCK)),torch torchvision)
WITHOUT_TORCH := /^[a-z]/ {kept = /^nvidia-ml-py==/ || !/^(torch|torchvision|triton|cuda-|nvidia-)/} kept

# Newest versions of all that `make run` installs, for every platform, with hashes.
lock: install
	$(BIN)/uv pip compile pyproject.toml --extra run --universal --generate-hashes --upgrade --quiet \
		--no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--output-file $(LOCK)

# Removes environments, caches and run outputs; keeps data/01_raw and conf/local.
clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .viz
	find data -mindepth 1 -maxdepth 1 ! -name 01_raw ! -name .gitkeep -exec rm -rf {} +
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
