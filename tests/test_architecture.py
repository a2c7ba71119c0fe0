"""The rooms of the library, and that arrows between them point downwards only."""

import subprocess
import sys
from pathlib import Path

import pytest

from eegfmri import cache

#: From the ground up; a module may import from its own row's folder and from rows above it in this list.
ROOMS = (
    ("errors",),
    ("project",),
    ("cache",),
    ("recordings",),
    ("atlas", "datasets"),
    ("registration",),
    ("eeg", "bold", "sources", "spectrograms"),
    ("volumes",),
    ("windows",),
    ("graphs", "graph_signals", "metrics", "planted", "saliency", "volume_metrics"),
    ("models",),
    ("protocols",),
    ("volume_evaluation",),
    ("score_choices",),
    ("estimators",),
    ("results",),
    ("printed_equations",),
    ("claims",),
    ("figures",),
    ("kernels", "chapters", "execution", "runner", "sweep", "render", "bench"),
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
    assert "eegfmri.figures" not in cache.import_closure(["eegfmri.protocols"])
    assert "eegfmri.datasets.sleep" in cache.import_closure(["eegfmri.datasets"]), "readers are imported by name"
    source = "def f():\n    from eegfmri.datasets import sleep\n    import eegfmri.metrics as m\n"
    assert cache.imported_modules(source) == {
        "eegfmri",
        "eegfmri.datasets",
        "eegfmri.datasets.sleep",
        "eegfmri.metrics",
    }


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
