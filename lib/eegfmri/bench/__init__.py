"""Benchmarks: what the library costs, measured on this machine and written down as JSON.

Each benchmark is a module with a function of its name that returns rows; nothing here asserts a time.
"""

import os
import platform
from importlib import import_module
from pathlib import Path

from eegfmri import cache
from eegfmri import device as devices
from eegfmri.errors import RequestError
from eegfmri.machine import cores


def names() -> list[str]:
    """Return the names of the benchmarks: each is a module of this package with a function called as the module is."""
    # Read, not imported: importing them all would load every library.
    folder = Path(__file__).parent
    return [
        path.stem for path in sorted(folder.glob("*.py")) if f"\ndef {path.stem}(" in path.read_text(encoding="utf-8")
    ]


def run(name: str | None = None, device: str | None = None) -> list[dict]:
    """Run one benchmark, or all of them.

    Parameters
    ----------
    name : str or None
        One of `names`.
    device : {"auto", "cpu", "cuda", "mps"} or None
        Where networks are computed, see `eegfmri.device.resolve`.

    Returns
    -------
    list of dict
        Rows: ``benchmark``, ``case``, ``measure``, ``value``, ``unit``.

    Raises
    ------
    RequestError
        If there is no such benchmark, or no such device here.
    """
    known, device = names(), devices.resolve(device)
    if name is not None and name not in known:
        raise RequestError(f"There is no benchmark {name!r}: choose one of {', '.join(known)}.")
    rows = []
    with devices.by_default(device):
        for chosen in [name] if name else known:
            benchmark = getattr(import_module(f"{__name__}.{chosen}"), chosen)
            rows += [{"benchmark": chosen, **row} for row in benchmark()]
    return rows


def machine(device: str | None = None) -> dict:
    """Describe the machine that a benchmark ran on, with the device that it was given."""
    from eegfmri.runner.measure import describe_machine

    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cpu": describe_machine()["cpu"],
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "device": devices.described(devices.resolve(device)),
        "python": platform.python_version(),
        **cache.versions("numpy", "scipy", "torch"),
    }
