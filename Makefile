# Every target works from a bare clone: what it needs is installed into .venv first.
.PHONY: demo test test-integration test-rest nightly soak slurm check bench bench-cohort picture clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

demo: $(VENV)/runtime
	$(BIN)/myoscope demo -o out/demo

# In parts, two at a time, the long ones first: one on each core to the end. What a part says comes when it has ended.
PARTS := integration unit-p-z unit-d-l unit-a-c unit-m-o rest
test: $(VENV)/dev
	$(MAKE) --jobs 2 --keep-going --output-sync $(PARTS:%=test-%)

test-integration:
	$(BIN)/python -m pytest tests/integration

test-unit-%:
	$(BIN)/python -m pytest tests/unit/test_[$*]*.py

test-rest:
	$(BIN)/python -m pytest src tests/realdata docs/python.md --doctest-glob="*.md"

# Thousands of damaged NIfTI files, new ones every time, and 20,000 combinations of faults; the tests have a sample.
nightly: $(VENV)/dev
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest tests/unit/test_nifti_fuzz.py -rP
	$(BIN)/python benchmarks/inputs.py --count 20000 --clean 500 --page out/inputs-nightly.md

# Clients of a cohort killed with -9, so many times over so many studies; the test suite has a few of them.
SOAK ?= 20/60
soak: $(VENV)/dev
	MYOSCOPE_SOAK=$(SOAK) $(BIN)/python -m pytest tests/integration/test_cohort_killed.py

# On a real SLURM of one node, started on loopback: needs Debian's slurm-wlm, and root.
slurm: $(VENV)/dev
	$(BIN)/python -m pytest tests/slurm

check: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# OLD: a clone of an earlier commit, after `make demo` there; this one should have nothing installed but its own demo.
bench: $(VENV)/runtime
	$(BIN)/python -P benchmarks/study.py $(if $(OLD),--old $(OLD)) --page docs/results/benchmark.md

# Wants a machine that does nothing else, for half an hour; DATA: roots of data sets to run too.
bench-cohort: $(VENV)/dev
	$(BIN)/python -P benchmarks/cohort.py --data $(DATA) --page docs/results/cohort.md

# The README's picture: of the synthetic study only, never of a patient. Needs chromium and pdftoppm.
picture: demo
	$(BIN)/python docs/images/picture.py out/demo/report.html

clean:
	rm -rf $(VENV) out dist .mypy_cache .ruff_cache .hypothesis

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing myoscope and what it needs into $(VENV): a minute or two, some 500 MB."
	$(PIP) -e .
	touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo "Installing myoscope, the laboratory and the tests' tools into $(VENV): some minutes, several GB."
	$(PIP) -e ".[lab,search,pacs,cohort,review,dev]"
	touch $@ $(VENV)/runtime
