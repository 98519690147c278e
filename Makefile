# Every habit of the house behind one door. `make` alone lists them.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
BIN := .venv/bin
TESTED := 'pytest>=8.3' 'pytest-xdist>=3.7' 'scikit-learn>=1.5' 'statsmodels>=0.14.4'

.DEFAULT_GOAL := help
.PHONY: help demo test lowest faults mutants smoke bench calibrate layers check format clean

help:  ## list these targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

demo: .venv/.ready  ## the degradation problem on small digits: about a minute on two cores, no download
	$(BIN)/degrade sweep study=quickstart
	$(BIN)/degrade plot results

test: .venv/.ready  ## all tests
	$(BIN)/pytest

lowest: .venv/.ready  ## tests beside the lowest versions that pyproject.toml allows: several GB, minutes
	$(UV) venv --quiet --clear --python python3 .venv-lowest
	$(UV) pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct -e . $(TESTED)
	.venv-lowest/bin/python -m pytest -W default tests/nets tests/store tests/data tests/spec tests/promises/test_attacks.py tests/promises/test_gates.py

faults: .venv/.ready  ## harm every file event of a sweep, and every kind of file: minutes; `make test` does a sample
	cd tests && PYTHONPATH=. ../$(BIN)/python -m promises.faults

mutants: .venv/.ready  ## take the guard of each promise out of a copy, and see that its test fails: minutes
	cd tests && PYTHONPATH=. ../$(BIN)/python -m promises.mutants

smoke: .venv/.ready  ## plain and residual nets for a few steps, their figure, and whether all backends compute the same
	$(BIN)/degrade sweep study=smoke results=results/smoke
	$(BIN)/degrade plot results/smoke
	$(BIN)/degrade bench --check

bench: .venv/.ready  ## our training loop beside common practice: tables and JSON into benchmarks/, minutes
	$(BIN)/degrade bench --save benchmarks

calibrate: .venv/.ready  ## how often verdicts are right, on simulated studies of known truth: minutes
	$(BIN)/python benchmarks/calibrate.py --save benchmarks/calibration.md

layers: .venv/.ready  ## rooms, floors and arrows of the house, and whether they keep the table
	$(BIN)/python tests/layers.py

check: .venv/.ready  ## what CI runs: format, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/pytest

format: .venv/.ready  ## put the code in form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove environments and caches; results stay
	rm -rf .venv .venv-lowest .uv .pytest_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv where it is on the PATH, else one inside this folder; the lock file decides every version.
.venv/.ready: pyproject.toml uv.lock
	@test -x "$(UV)" || { python3 -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv; }
	$(UV) sync --frozen --python python3
	@touch $@
