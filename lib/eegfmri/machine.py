"""The machine that the work runs on."""

import os


def cores() -> int:
    """Return the number of processor cores that this process may use.

    A container, a scheduler or ``taskset`` may leave a process fewer than the machine has; threads beyond them only crowd.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
