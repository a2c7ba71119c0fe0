"""The rooms of the library, and that arrows between them point downwards only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from eegfmri import cache

#: From the ground up; a module may import from its own room, from rooms of its row, and from rows above it in this list.
ROOMS = (
    ("errors",),
    ("machine", "guard", "device"),
    ("project",),
    ("cache",),
    ("executors",),
    ("forgiven",),
    ("text", "examined"),
    ("images",),
    ("recordings",),
    ("results", "prose"),
    ("recorded",),
    ("controls", "costs"),
    ("metrics",),
    ("models",),
    ("datasets",),
    ("preprocessing",),
    ("windows",),
    ("simulation",),
    ("opening",),
    ("saliency", "lags"),
    ("evaluation",),
    ("runner",),
    ("classroom",),
    ("estimators",),
    ("recovery",),
    ("ledger",),
    ("figures",),
    ("bench",),
    ("cli", "__main__"),
)


def height(module: str) -> int:
    room = module.split(".")[1]
    for level, rooms in enumerate(ROOMS):
        if room in rooms:
            return level
    raise AssertionError(f"{module} lies in no room: add it to ROOMS where it belongs")


MODULES = sorted(set(cache._modules()) - {"eegfmri"})


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_downwards_only(module):
    path = cache._modules()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imported = cache.imported_modules(path.read_text(encoding="utf-8"), package) - {"eegfmri"}
    above = {name for name in imported if height(name) > height(module)}
    assert not above, f"{module} imports {above}, which stand above it"


def test_the_closure_of_a_module_is_what_it_reaches(tmp_path):
    assert "eegfmri.errors" in cache.import_closure(["eegfmri.windows"])
    assert "eegfmri.cli" not in cache.import_closure(["eegfmri.windows"])
    assert "eegfmri.figures" not in cache.import_closure(["eegfmri.evaluation.splits"])
    assert "eegfmri.datasets.sleep" in cache.import_closure(["eegfmri.datasets.roots"]), "readers are imported by name"
    source = "def f():\n    from eegfmri.datasets import sleep\n    import eegfmri.metrics as m\n"
    assert cache.imported_modules(source) == {
        "eegfmri",
        "eegfmri.datasets",
        "eegfmri.datasets.sleep",
        "eegfmri.metrics",
    }


def test_no_two_rooms_import_each_other():
    reached = {}
    for module, path in cache._modules().items():
        if module == "eegfmri":
            continue
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for name in cache.imported_modules(path.read_text(encoding="utf-8"), package) - {"eegfmri"}:
            reached.setdefault(module.split(".")[1], set()).add(name.split(".")[1])
    circles = {(a, b) for a, others in reached.items() for b in others - {a} if a in reached.get(b, ())}
    assert not circles


def test_the_readers_know_nothing_of_the_simulator():
    closure = cache.import_closure(name for name in MODULES if name.startswith("eegfmri.datasets"))
    assert not {name for name in closure if name.split(".")[1:2] in (["simulation"], ["opening"])}


def test_models_import_torch_and_nothing_heavier():
    code = "import sys, torch; before = set(sys.modules)\n"
    models = [name for name in MODULES if name.startswith("eegfmri.models")]
    code += "".join(f"import {name}\n" for name in models)
    code += f"print([name for name in {HEAVY} if name in set(sys.modules) - before])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    sources = [cache._modules()[name].read_text(encoding="utf-8") for name in models]
    imported = {name.split(".")[0] for source in sources for name in imported_names(source)}
    assert imported <= set(sys.stdlib_module_names) | {
        "torch",
        "torch_geometric",
        "numpy",
        "scipy",
        "networkx",
        "eegfmri",
    }


def imported_names(source):
    """Name every module that a source imports, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


HEAVY = ("torch", "torch_geometric", "mne", "nilearn", "dipy", "seaborn", "plotly", "sklearn", "pandas", "jupyter_book")


@pytest.mark.parametrize("module", ["eegfmri", "eegfmri.cli", "eegfmri.errors", "eegfmri.cache", "eegfmri.project"])
def test_light_modules_stay_light(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_pickles():
    for path in Path(cache.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import pickle" not in text, path
        assert "joblib.dump" not in text, path
        assert "allow_pickle=True" not in text, path
