"""Benchmarks: what the library costs, measured on this machine and written down as JSON.

Each benchmark is a function that returns rows; nothing here asserts a time.
"""

import os
import platform
from importlib import import_module

from eegfmri import cache
from eegfmri.errors import RequestError

#: Benchmarks by name, and where they lie: importing them all would load every library.
BENCHMARKS = {
    "windows": "eegfmri.bench.windows:windows",
    "preprocessing": "eegfmri.bench.preprocessing:preprocessing",
    "graph_fusion": "eegfmri.bench.graph_fusion:graph_fusion",
    "synthesis": "eegfmri.bench.synthesis:synthesis",
    "transformer_cnn": "eegfmri.bench.transformer_cnn:transformer_cnn",
    "graphs": "eegfmri.bench.graphs:graphs",
}


def run(name: str | None = None) -> list[dict]:
    """Run one benchmark, or all of them.

    Parameters
    ----------
    name : str or None
        A key of `BENCHMARKS`.

    Returns
    -------
    list of dict
        Rows: ``benchmark``, ``case``, ``measure``, ``value``, ``unit``.

    Raises
    ------
    RequestError
        If there is no such benchmark.
    """
    if name is not None and name not in BENCHMARKS:
        raise RequestError(f"There is no benchmark {name!r}: choose one of {', '.join(BENCHMARKS)}.")
    rows = []
    for chosen in [name] if name else BENCHMARKS:
        module, _, function = BENCHMARKS[chosen].partition(":")
        rows += [{"benchmark": chosen, **row} for row in getattr(import_module(module), function)()]
    return rows


def machine() -> dict:
    """Describe the machine that a benchmark ran on."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        **cache.versions("numpy", "scipy", "torch"),
    }
