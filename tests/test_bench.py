"""Benchmarks run and report what they promise; no time is asserted."""

import subprocess
import sys

import pytest

from eegfmri import bench
from eegfmri.bench import measure, windows
from eegfmri.errors import RequestError


def test_the_windows_benchmark_reports_rates_and_memory(monkeypatch):
    monkeypatch.setattr(windows, "N_RUNS", 2)
    monkeypatch.setattr(windows, "N_WINDOWS_PER_RUN", 5)
    monkeypatch.setattr(windows, "RUN_SECONDS", 40)
    rows = bench.run("windows")
    assert {row["case"] for row in rows} >= {
        "memory-mapped",
        "MATLAB file re-read per window",
        "npy file re-read per window",
    }
    assert all(row["value"] >= 0 for row in rows)
    size = next(row["value"] for row in rows if row["case"] == "if materialised")
    assert size == pytest.approx(2 * 5 * 34 * 30_000 * 4 / 1e9)


def test_the_full_benchmark_has_the_published_number_of_windows():
    assert windows.N_RUNS * windows.N_WINDOWS_PER_RUN == 14_880


def test_private_memory_counts_what_belongs_to_no_file():
    # In a process of its own: what other tests free in between would be counted, too.
    code = (
        "import numpy as np; from eegfmri.bench.measure import private_memory; before = private_memory();"
        "block = np.ones(40 * 2**20, dtype=np.uint8); print((private_memory() - before) / block.nbytes)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 0.9


def test_an_unknown_benchmark_names_the_known_ones():
    with pytest.raises(RequestError, match="windows"):
        bench.run("speed")


def test_what_is_measured_is_the_work_and_its_memory():
    code = (
        "import time, numpy as np; from eegfmri.bench.measure import timed;"
        "print(*timed(lambda: (np.ones(40 * 2**20, dtype=np.uint8), time.sleep(0.2))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, memory = map(float, done.stdout.split())
    assert seconds >= 0.2
    assert 0.03 < memory < 0.2
    with pytest.raises(ZeroDivisionError):
        measure.timed(lambda: 1 / 0)
