"""The machine that the work runs on."""

import os
from pathlib import Path

#: Where a container states how much memory it may use and uses, in the second and the first version of control groups.
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def cores() -> int:
    """Return the number of processor cores that this process may use.

    A container, a scheduler or ``taskset`` may leave a process fewer than the machine has; threads beyond them only crowd.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> tuple[float, float]:
    """Return the bytes of memory that are free for this process and that there are, within the limit of a container."""
    import psutil

    state = psutil.virtual_memory()
    available, total = float(state.available), float(state.total)
    for limit, used in _LIMITS:
        try:
            most, taken = (float(Path(path).read_text(encoding="ascii")) for path in (limit, used))
        except (OSError, ValueError):  # no container, or "max"
            continue
        if most < total:
            available, total = min(available, max(0.0, most - taken)), most
    return available, total
