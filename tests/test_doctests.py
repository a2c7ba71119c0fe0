"""Examples in docstrings give what they show."""

import doctest
from importlib import import_module

import pytest

from eegfmri import cache

MODULES = sorted(name for name, path in cache._modules().items() if ">>> " in path.read_text(encoding="utf-8"))


def test_functions_that_an_example_explains_best_have_one():
    rooms = {name.split(".")[1] for name in MODULES}
    assert {"preprocessing", "models", "datasets", "saliency", "lags"} <= rooms


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_show(module):
    found = doctest.testmod(import_module(module))
    assert found.attempted > 0
    assert found.failed == 0, f"{found.failed} of {found.attempted} examples of {module} give something else"
