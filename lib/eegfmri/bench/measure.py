"""Seconds and memory of a piece of work."""

import threading
import time
from collections.abc import Callable
from pathlib import Path


def timed(action: Callable[[], object], interval: float = 0.02) -> tuple[float, float]:
    """Do something and measure it.

    Parameters
    ----------
    action : callable
        What to do; what it needs is made, and libraries are loaded, beforehand.
    interval : float, default=0.02
        Seconds between two looks at memory.

    Returns
    -------
    tuple of float
        Seconds, and the process's private memory in GiB at its highest, above what it was before.
    """
    before = peak = private_memory()
    running = True

    def watch() -> None:
        nonlocal peak
        while running:
            peak = max(peak, private_memory())
            time.sleep(interval)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        action()
        seconds = time.perf_counter() - started
    finally:
        running = False
        watcher.join()
    return seconds, (peak - before) / 2**30


def private_memory() -> int:
    """Bytes of this process that belong to no file (RssAnon on Linux; elsewhere the largest resident set so far)."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
