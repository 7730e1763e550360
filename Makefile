# Every target is one command; there is nothing to activate. GNU make 3.81 (macOS) and POSIX sh suffice.

MODEL  = nmnist_mlp
TARGET = loihi1
RECIPE =
OUT    =
SWEEP  =
SEARCH =
STUDY  =
STORAGE =
CHOOSE =
DRY    =
SHORT  =
WORKERS = 2
EPOCHS = 2
SCHEDULER =
PYTHON ?=
TORCH  ?=
UV     ?= uv

STAMP = .venv/.stamp
# each test process computes with one thread; the tests of a file stay together
PYTEST = OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 .venv/bin/python -m pytest
SLOW = -n auto --dist loadfile

.PHONY: help setup doctor deploy sweep search worker choose train finetune test test-all test-fast lint bench bench-emulator bench-footprint \
	bench-compiler bench-placement bench-counting bench-sweep bench-sbc lock clean distclean

help: ## show this list (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile
	@echo
	@printf '  %-20s %s\n' \
	  'MODEL=$(MODEL)' 'network: a folder of models/' \
	  'TARGET=$(TARGET)' 'chip: a file of hardware_targets/' \
	  'RECIPE=$(RECIPE)' 'what to prune and quantize, a YAML file (none: the defaults)' \
	  'OUT=$(OUT)' 'folder of the products (none: one below netx_exports/)' \
	  'SWEEP=$(SWEEP)' 'sweep: YAML with a base recipe and axes' \
	  'DRY=$(DRY)' 'sweep: 1 to tell how much and how long, and do nothing' \
	  'EPOCHS=$(EPOCHS)' 'finetune: passes over the training split' \
	  'SHORT=$(SHORT)' 'bench-sbc, bench-footprint: 1 for a few cheap cells in a temporary folder' \
	  'WORKERS=$(WORKERS)' 'sweep, bench-sbc, bench-footprint: processes, each of one thread' \
	  'SCHEDULER=$(SCHEDULER)' 'sweep: a dask scheduler, tcp://host:8786 (none: processes here)' \
	  'PYTHON=$(PYTHON)' 'the Python 3.10 to set up with (none: searched for)' \
	  'TORCH=$(TORCH)' 'cpu: leave out CUDA, 3.3 GB less; default: as locked (none: as before)'

setup: $(STAMP) ## make .venv and install the pinned packages (the others do this by themselves)

doctor: ## show interpreter, packages, memory and disk, and what is missing
	@test -x .venv/bin/python || { echo 'doctor: .venv is missing or broken; remedy: make setup'; exit 1; }
	@.venv/bin/python scripts/doctor.py

deploy: $(STAMP) ## prune, quantize, export, verify and price MODEL for TARGET
	.venv/bin/spikefit deploy --model "$(MODEL)" --target "$(TARGET)" $(if $(RECIPE),--recipe "$(RECIPE)") $(if $(OUT),--out "$(OUT)")

sweep: $(STAMP) ## measure the grid of the file SWEEP= on MODEL (run again to continue)
	@test -n "$(SWEEP)" || { echo 'sweep: name a grid, as in make sweep SWEEP=grid.yaml (pipeline/sweep/README.md)'; exit 2; }
	.venv/bin/spikefit sweep --sweep "$(SWEEP)" --model "$(MODEL)" --target "$(TARGET)" --workers $(WORKERS) $(if $(SCHEDULER),--scheduler "$(SCHEDULER)") $(if $(OUT),--out "$(OUT)") $(if $(DRY),--dry-run)

search: $(STAMP) ## search levels per layer as the file SEARCH= says, and deploy the winner
	@test -n "$(SEARCH)" || { echo 'search: name a file, as in make search SEARCH=search.yaml (pipeline/search/README.md)'; exit 2; }
	.venv/bin/spikefit search --search "$(SEARCH)" --model "$(MODEL)" --target "$(TARGET)" --workers $(WORKERS) $(if $(OUT),--out "$(OUT)") $(if $(STORAGE),--storage "$(STORAGE)")

worker: $(STAMP) ## work on the shared search in the folder STUDY=, whose trials are in STORAGE=
	@test -n "$(STUDY)" || { echo 'worker: name a study folder, as in make worker STUDY=... STORAGE=postgresql://... (pipeline/search/README.md)'; exit 2; }
	.venv/bin/spikefit worker --study "$(STUDY)" --storage "$(STORAGE)"

choose: $(STAMP) ## pick a configuration of the folder STUDY= (CHOOSE='--max-loss 1 --min energy')
	@test -n "$(STUDY)" || { echo 'choose: name the folder of a sweep or a search, as in make choose STUDY=...'; exit 2; }
	.venv/bin/spikefit choose "$(STUDY)" $(CHOOSE)

train: $(STAMP) ## train MODEL again (minutes to hours)
	.venv/bin/python -m "models.$(MODEL).train"

finetune: $(STAMP) ## compress MODEL by RECIPE=, then train its weights with the mask held (EPOCHS=)
	.venv/bin/python -m models.finetune --model "$(MODEL)" --target "$(TARGET)" --epochs $(EPOCHS) $(if $(RECIPE),--recipe "$(RECIPE)") $(if $(OUT),--out "$(OUT)")

test: test-fast ## run all tests
	$(PYTEST) -m slow $(SLOW)

test-all: test-fast ## run all tests, with 300 generated networks and 10,000 damaged files of a kind
	$(PYTEST) -m slow $(SLOW) --generated 300 --mutated 10000

test-fast: $(STAMP) ## run the tests but for the slow ones (Lava, SLAYER, whole deployments)
	$(PYTEST) -m "not slow" -n auto

lint: $(STAMP) ## check style and types
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy

bench: $(STAMP) ## run every benchmark in turn
	@for file in $(sort $(wildcard benchmarks/bench_*.py)); do \
	  echo "$$file"; .venv/bin/python "$$file" || exit 1; \
	done

bench-emulator: $(STAMP) ## time the emulator against Lava's steady state and SLAYER
	.venv/bin/python -W ignore benchmarks/bench_emulator.py

bench-footprint: $(STAMP) ## table and plot of memory, cores, synops, energy by sparsity, bits, format (minutes)
	.venv/bin/python benchmarks/footprint --workers $(WORKERS) $(if $(SHORT),--short)

bench-compiler: $(STAMP) ## hold cores per layer against logs of Intel's Loihi 2 compiler
	.venv/bin/python benchmarks/bench_compiler_logs.py

bench-placement: $(STAMP) ## place a million neurons: seconds, memory, cores
	.venv/bin/python benchmarks/bench_placement.py

bench-counting: $(STAMP) ## time counting against the emulator
	.venv/bin/python benchmarks/bench_counting.py

bench-sweep: $(STAMP) ## time 200 configurations against deployments one by one (an hour)
	.venv/bin/python benchmarks/bench_sweep.py --workers $(WORKERS)

bench-sbc: $(STAMP) ## measure SBC against its baselines (hours; run again to continue)
	.venv/bin/python benchmarks/sbc --workers $(WORKERS) $(if $(SHORT),--short)

# uv keeps the versions already in the lock; delete the file first to move all of them.
lock: ## (maintainers, needs uv) write requirements.lock anew from pyproject.toml
	python=$$(sh scripts/find_python.sh) && $(UV) pip compile --quiet --python "$$python" \
	  --universal --python-version 3.10 --extra dev --generate-hashes \
	  --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  pyproject.toml -o requirements.lock

clean: ## remove products and caches
	find netx_exports -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
	find . -path ./.venv -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info

distclean: clean ## remove .venv as well
	rm -rf .venv

# A TORCH= unlike the one installed is a reason to set up again, however new the stamp is.
ifneq ($(TORCH),)
ifneq ($(TORCH),$(shell cat .venv/.torch 2>/dev/null))
.PHONY: $(STAMP)
endif
endif

$(STAMP): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" TORCH="$(TORCH)" sh scripts/setup.sh
	@touch $@
