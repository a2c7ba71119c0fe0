# Everything here works from a bare clone: it needs make and Python 3.11 or newer, nothing else.
#   make book    set up and build the book: book/_build/html/index.html
#   make pdf     the same, and every page as PDF: book/_build/pdf (needs Chromium)
#   make test    set up, build the book (what is cached is not executed again) and run every test but the longest
#   make unit    the quick tests only, without the book
#   make test ONLY="book or slow"   all the others
#   make lint    style, import order and docstrings
#   make bench   the benchmarks
#   make soak    damaged inputs for an hour, counted per reader, then the longest tests: make soak MINUTES=5
#   make clean   remove what can be made again; your runs and downloads stay
#   make distclean   the same, and the virtual environment
# Another Python: make PYTHON=/path/to/python book.  More or fewer processes for the tests: make JOBS=4 test.

PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$name"; break; }; done)
JOBS ?= auto
MINUTES ?= 60
BIN := .venv/bin
INSTALLED := .venv/.installed
# Files go to processes as they are ordered in tests/conftest.py, the longest first.
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: book pdf test unit lint bench soak clean distclean
.DELETE_ON_ERROR:

book: $(INSTALLED)
	$(BIN)/eegfmri build

pdf: book
	$(BIN)/python -m eegfmri.runner.pdf

test: book
	$(PYTEST) $(if $(ONLY),-m "$(ONLY)")

unit: $(INSTALLED)
	$(PYTEST) -m "not book and not slow"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	find lib -name '*.py' -exec $(BIN)/python -m numpydoc.hooks.validate_docstrings {} +

bench: $(INSTALLED)
	$(BIN)/eegfmri bench

soak: $(INSTALLED)
	$(BIN)/python tests/soak.py --minutes $(MINUTES)
	$(PYTEST) -m soak

# The stamp is written last, so an interrupted installation is done again; a half-made environment is made anew.
$(INSTALLED): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or newer was not found: install it, or name it with make PYTHON=/path/to/python." >&2; exit 1; fi
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is not Python 3.11 or newer: name one that is with make PYTHON=/path/to/python." >&2; exit 1; }
	@rm -f $@
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf book/_build data/cache data/simulated .pytest_cache .ruff_cache .hypothesis
	find lib tests book -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv lib/*.egg-info
