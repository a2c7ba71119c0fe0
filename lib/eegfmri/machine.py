"""The machine that the work runs on: its cores, and processes that end with the one that needs them."""

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Environment variable that holds the marks of all processes that a process ends with; whatever these start inherits it.
TETHERS = "EEGFMRI_TETHERS"

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


# --- nothing that a command has started outlives it ------------------------------------------------------------------

_lock = threading.Lock()
_guard: dict[str, object] = {}


def tether() -> dict[str, str]:
    """Return what must stand in the environment of a child process so that it, and all that it starts, ends with this one.

    A process of its own (`eegfmri.guard`) watches over them, in a session of its own. Neither Ctrl-C, a signal to the group nor
    ``kill -9`` makes a difference, nor does a child that is busy in C code, has lost its parent or has begun a session.

    Returns
    -------
    dict of str to str
        One variable, `TETHERS`.
    """
    with _lock:
        if _guard.get("pid") != os.getpid():
            mark = secrets.token_hex(8)
            reading, writing = os.pipe()
            # Without our own tethers: a guard must outlive those whose children it ends.
            environment = {name: value for name, value in os.environ.items() if name != TETHERS}
            process = subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).with_name("guard.py")), TETHERS, mark],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd=os.sep,
                env=environment,
            )
            os.close(reading)
            _guard.update(pid=os.getpid(), mark=mark, pipe=writing, process=process)
        given = [mark for mark in os.environ.get(TETHERS, "").split(":") if mark and mark != _guard["mark"]]
        return {TETHERS: ":".join([*given, str(_guard["mark"])])}


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for the block and the processes that are started there; afterwards it is what it was."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


@contextmanager
def tethered() -> Iterator[None]:
    """Tether the processes that are started in the block by a library that takes no environment, as joblib's workers are."""
    with variable(TETHERS, tether()[TETHERS]):
        yield


def _in_fork() -> None:
    """Close a forked child's copy of the pipe: as long as it is open, the guard takes this process for alive."""
    if "pipe" in _guard:
        os.close(_guard.pop("pipe"))
    _guard.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_fork)
