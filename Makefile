# Everything runs in .venv, which the first call makes: `make demo`, `make test`.
# Another interpreter: `make PYTHON=/path/to/python3.12`.

DONE := .venv/.done
BIN := .venv/bin

.PHONY: setup demo test test-slow parity docs lint format clean
.DEFAULT_GOAL := setup

setup: $(DONE)

demo: $(DONE)
	$(BIN)/evalkit run experiment=demo

# On busy machines one thread is much faster than several that wait for each other.
# Two files at once; each of the processes needs up to 6 GB.
test: $(DONE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(DONE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "slow or not slow"

# The tests against the original implementations, and docs/parity.md from what they measure.
parity: $(DONE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/parity -m "slow or not slow" --parity-table

# The documentation as a site, in `site`; a broken link is an error.
docs: $(DONE)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lint: $(DONE)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy evalkit benchmarks tests
	$(BIN)/oxlint evalkit

format: $(DONE)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv dist build site .pytest_cache .mypy_cache .ruff_cache

# The stamp is removed first and written last. Without it .venv is made anew: an installation that was
# interrupted can look complete to pip while files are missing.
$(DONE): pyproject.toml constraints.txt
	@python=; for p in $(or $(PYTHON),python3 python3.12 python3.11); do \
	  if "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then \
	    python=$$p; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "evalkit needs Python 3.11 or 3.12 ($(or $(PYTHON),python3) is neither): set PYTHON, as in 'make PYTHON=python3.12'" >&2; \
	  exit 1; fi; \
	if [ -f $@ ]; then rm $@; else rm -rf .venv && "$$python" -m venv .venv; fi
	@echo "Installing into .venv: torch (1 of 2)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt torch
	@echo "Installing into .venv: evalkit and all else (2 of 2, a few minutes)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
