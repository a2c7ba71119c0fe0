"""Benchmarks run and report what they promise; no time is asserted."""

import gc

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
    import numpy as np

    gc.collect()  # what earlier tests left must not be given back in between
    before = measure.private_memory()
    block = np.ones(40 * 2**20, dtype=np.uint8)
    assert measure.private_memory() - before > 0.9 * block.nbytes


def test_an_unknown_benchmark_names_the_known_ones():
    with pytest.raises(RequestError, match="windows"):
        bench.run("speed")


def test_what_is_measured_is_the_work_and_its_memory():
    import time

    import numpy as np

    seconds, memory = measure.timed(lambda: (np.ones(40 * 2**20, dtype=np.uint8), time.sleep(0.2)))
    assert seconds >= 0.2
    assert memory > 0.03
    with pytest.raises(ZeroDivisionError):
        measure.timed(lambda: 1 / 0)
