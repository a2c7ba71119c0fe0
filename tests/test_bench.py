"""Benchmarks run and report what they promise; no time is asserted."""

import gc

import pytest

from eegfmri import bench
from eegfmri.errors import RequestError


def test_the_windows_benchmark_reports_rates_and_memory(monkeypatch):
    monkeypatch.setattr(bench, "N_RUNS", 2)
    monkeypatch.setattr(bench, "N_WINDOWS_PER_RUN", 5)
    monkeypatch.setattr(bench, "RUN_SECONDS", 40)
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
    assert bench.N_RUNS * bench.N_WINDOWS_PER_RUN == 14_880


def test_private_memory_counts_what_belongs_to_no_file():
    import numpy as np

    gc.collect()  # what earlier tests left must not be given back in between
    before = bench.private_memory()
    block = np.ones(40 * 2**20, dtype=np.uint8)
    assert bench.private_memory() - before > 0.9 * block.nbytes


def test_an_unknown_benchmark_names_the_known_ones():
    with pytest.raises(RequestError, match="windows"):
        bench.run("speed")
