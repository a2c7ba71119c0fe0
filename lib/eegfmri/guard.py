"""A process that ends others: run with the mark of those whose end it waits for (`eegfmri.machine.tether`), and nothing else.

It waits until its input closes, which happens however the process at the other end of the pipe ends, and then ends every process
that has the mark in its environment. First they are asked. One that is in the middle of C code does not answer, and is killed
after a second; loky's trackers, which then remove what their workers had in shared memory, have longer.
"""

import os
import sys
import time
from collections.abc import Iterator

import psutil

#: Seconds until a process that was asked to end is killed, and the same for a tracker.
PATIENCE, PATIENCE_WITH_TRACKERS = 1.0, 5.0

#: Seconds after which nothing more is tried.
ENOUGH = 20.0


def tethered(variable: str, mark: str) -> Iterator[psutil.Process]:
    """Yield the processes of this user that have the mark in their environment."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and mark in process.environ().get(variable, "").split(":"):
                yield process
        except (psutil.Error, OSError):
            continue


def end(variable: str, mark: str) -> None:
    """End every process that has the mark, and those that they start meanwhile."""
    begun = time.monotonic()
    while (found := list(tethered(variable, mark))) and time.monotonic() < begun + ENOUGH:
        for process in found:
            try:
                tracker = any("resource_tracker" in word for word in process.cmdline())
                patience = PATIENCE_WITH_TRACKERS if tracker else PATIENCE
                process.terminate() if time.monotonic() < begun + patience else process.kill()
            except (psutil.Error, OSError):
                continue
        time.sleep(0.1)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end(*sys.argv[1:])
