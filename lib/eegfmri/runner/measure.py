"""What an execution takes: the machine that it runs on, and its memory at its highest."""

import platform
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from eegfmri import machine

#: Seconds between two looks at memory.
LOOK = 1.0


@contextmanager
def repeatedly(look: Callable[[], None], seconds: float) -> Iterator[None]:
    """Look again and again while the block runs, in a thread of its own, and once more when it has ended.

    Parameters
    ----------
    look : callable
        What is done each time.
    seconds : float
        Between two looks.

    Yields
    ------
    None
    """
    over = threading.Event()

    def watch() -> None:
        last = False
        while not last:
            last = over.wait(seconds)
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class PeakMemory:
    """Memory of a process and all that it has started, together, at its highest.

    Attributes
    ----------
    n_bytes : int
        Memory that belongs to no file, in bytes, where the system tells it apart, else the resident sets; 0 before `watched`.
    """

    def __init__(self) -> None:
        self.n_bytes = 0

    @contextmanager
    def watched(self, pid: Callable[[], int | None]) -> Iterator[None]:
        """Look at a process once a second while the block runs.

        Parameters
        ----------
        pid : callable
            Returns the number of the process, None as long as there is none.

        Yields
        ------
        None
        """

        def look() -> None:
            number = pid()
            if number is not None:
                self.n_bytes = max(self.n_bytes, _memory_of(number))

        with repeatedly(look, LOOK):
            yield


def _memory_of(pid: int) -> int:
    total = 0
    # Whatever ends while it is looked at has no memory any more.
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                state = one.memory_info()
                total += state.rss - getattr(state, "shared", 0)
    return total


def describe_machine() -> dict:
    """Describe this machine without naming it: ``cores`` that may be used, ``memory`` in bytes, ``cpu``."""
    return {"cores": machine.cores(), "memory": int(machine.memory()[1]), "cpu": _cpu()}


def _cpu() -> str:
    """Return the processor's name as the system gives it."""
    if sys.platform == "linux":
        with suppress(OSError):
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
