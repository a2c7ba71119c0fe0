"""Fixtures shared by all tests, and the rule that where real files are required none of their tests is skipped."""

import os
import signal
from pathlib import Path

import pytest

from eegfmri.machine import cores

# Processes that test side by side share the cores: numpy and torch, not imported yet, take no more threads than their part.
_THREADS = max(1, cores() // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, str(_THREADS))

# A job in the background of a script ignores Ctrl-C, and so would the commands that tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Files that take minutes, the longest first: begun last, one of them would keep one process busy while the others wait.
LONGEST = (
    "test_synthesis_strong",
    "test_synthesis_by_heart",
    "test_verify",
    "test_graph_evaluation",
    "test_chapters",
    "test_simulate_layouts",
    "test_bold",
    "test_registration",
    "test_planted",
    "test_simulate",
    "test_engineered",
    "test_protocols",
    "test_simulate_quality",
    "test_fuzz",
    "test_executors",
    "test_synthesis_estimator",
)


def pytest_collection_modifyitems(config, items):
    """Leave out what only ``make soak`` runs unless ``-m`` names it; begin with the files that take longest.

    The order inside a file stays.
    """
    if "soak" not in config.getoption("markexpr"):
        left_out = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def _folder(variable: str) -> Path:
    """Return the folder that an environment variable names, or skip the test with the reason."""
    named = os.environ.get(variable)
    if not named:
        pytest.skip(f"{variable} is not set: it names the folder of the real files")
    folder = Path(named)
    if not folder.is_absolute() or not folder.is_dir():
        pytest.fail(f"{variable} is {named!r}: it must be the absolute path of a folder")
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real files (``EEGFMRI_REAL_DATA``); mark the tests that use it ``real_data``."""
    return _folder("EEGFMRI_REAL_DATA")


@pytest.fixture(scope="session")
def nilearn_data() -> Path:
    """Folder where nilearn keeps its atlases (``NILEARN_DATA``); mark the tests that use it ``real_data``."""
    return _folder("NILEARN_DATA")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory) -> Path:
    """Keep the cached preprocessing of tests out of the project: ``EEGFMRI_CACHE`` points to a temporary folder."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EEGFMRI_CACHE", str(folder))
        yield folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Fail a skipped ``real_data`` test when ``EEGFMRI_REQUIRE_REAL_DATA`` is 1."""
    report = yield
    required = os.environ.get("EEGFMRI_REQUIRE_REAL_DATA") == "1"
    if required and report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("real_data"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} needs the real files and was skipped, which EEGFMRI_REQUIRE_REAL_DATA=1 forbids: {reason}"
        )
    return report
