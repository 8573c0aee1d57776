# Each target makes .venv and installs what it needs. PYTHON names the interpreter to make it with (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BANK := demo/mnist.safetensors

.PHONY: help demo test test-fast faults compatibility check format bench bench-full results clean

help:
	@echo "make demo    fit MNIST, write a bank, a contact sheet, a report and 5,000 PNGs into demo/"
	@echo "make test    run the tests, and print how many lines and branches they cover"
	@echo "make test-fast   the quick tests, under a minute while you develop"
	@echo "make check   ruff format, ruff check, mypy --strict"
	@echo "make faults  break fit and generate in every way, kill -9 at 100 instants of each; writes docs/reliability.md (40 min)"
	@echo "make compatibility   run the tests with other libraries and write docs/compatibility.md"
	@echo "make bench   quality of a fit on the bundled sample, memory, and speed in short"
	@echo "make bench-full   quality on all of MNIST, memory, and speed; writes docs/performance.md (two hours) and docs/compression.md"
	@echo "make results   run the usefulness benchmark (hours) and write docs/results.md, what_helps.md, kinds.md and unlabelled.md"

.venv/base: pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) install --editable .
	@touch $@

.venv/report: .venv/base
	$(PIP) install --editable ".[report]"
	@touch $@

.venv/test: .venv/base
	$(PIP) install --editable ".[test,compat]"
	@touch $@

.venv/check: .venv/report
	$(PIP) install --editable ".[check]"
	@touch $@

.venv/bench: .venv/test
	$(PIP) install --editable ".[bench]"
	@touch $@

demo: .venv/report
	rm -rf demo/generated
	mkdir -p demo
	$(BIN)/vae-augment fit --data mnist --out $(BANK)
	$(BIN)/vae-augment generate $(BANK) --out demo/generated --per-class 500
	$(BIN)/vae-augment report $(BANK) --data mnist
	@echo "Open demo/mnist.html, and look at demo/mnist.png and demo/generated."

# As many at once as there are processors, each on one thread: more threads than processors would wait for each other.
test: .venv/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --cov

test-fast: .venv/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 -m "not slow"

# Needs VAE_AUGMENT_DATA, a folder with MNIST; a failed test is a row too.
faults: .venv/test
	rm -f .venv/faults.xml
	-FAULT_TRIALS=5 FAULT_INTERLEAVINGS=100 $(BIN)/python -m pytest --junitxml=.venv/faults.xml tests/faults
	$(BIN)/python -m tests.faults.killing --count 100 --report .venv/faults.xml --page docs/reliability.md

# A failed test is a verdict too: the page says so, and then make fails.
compatibility: .venv/test
	rm -f .venv/compatibility.xml
	-$(BIN)/python -m pytest --junitxml=.venv/compatibility.xml \
	    $$(grep -rl tests.recording tests --include="test_*.py")
	$(BIN)/python -m tests.compatibility .venv/compatibility.xml docs/compatibility.md

check: .venv/check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/bench
	$(BIN)/python -m tests.benchmarks.quality --sample
	$(BIN)/python -m tests.benchmarks.memory
	$(BIN)/python -m tests.benchmarks.speed --short

# These need VAE_AUGMENT_DATA, a folder with MNIST and sign-digits.
bench-full: .venv/bench
	$(BIN)/python -m tests.benchmarks.quality
	$(BIN)/python -m tests.benchmarks.memory
	$(BIN)/python -m tests.benchmarks.speed
	$(BIN)/python -m tests.benchmarks.codec

# The peers' packages are installed into .venv-peers. What docs/results holds already is not run again.
results: .venv/bench
	$(BIN)/python -m tests.benchmarks.usefulness
	$(BIN)/python -m tests.benchmarks.ideas
	$(BIN)/python -m tests.benchmarks.kinds
	$(BIN)/python -m tests.benchmarks.families
	$(BIN)/python -m tests.benchmarks.unlabelled
	$(BIN)/python -m tests.benchmarks.starts
	$(BIN)/python -m tests.benchmarks.backbones
	$(BIN)/python -m tests.benchmarks.predictions
	$(BIN)/python -m tests.benchmarks.affinity --cell blobs-10 --trainings 3
	$(BIN)/python -m tests.benchmarks.policy_cost

clean:
	rm -rf .venv demo build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache
