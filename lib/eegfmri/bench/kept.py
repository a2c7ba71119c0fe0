"""What ``eegfmri bench --record`` does: a benchmark kept with the book as soon as it is done; `eegfmri.costs` reads it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psutil

from eegfmri import bench, cache
from eegfmri.costs import Benchmark, folder
from eegfmri.errors import RequestError


def write(name: str, device: str | None = None) -> Benchmark:
    """Run a benchmark and keep it.

    Parameters
    ----------
    name : str
        One of `eegfmri.bench.names`.
    device : {"auto", "cpu", "cuda", "mps"} or None
        Where networks are computed.

    Returns
    -------
    Benchmark
        As it was written.

    Raises
    ------
    RequestError
        If there is no such benchmark.
    """
    if name not in bench.names():
        raise RequestError(f"There is no benchmark {name!r}: choose one of {', '.join(bench.names())}.")
    from eegfmri.runner.execution import commit

    with _watched() as watch:
        rows = bench.run(name, device)
    modules = sorted(cache.import_closure([f"eegfmri.bench.{name}"]))
    document = {
        "schema": 1,
        "benchmark": name,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": bench.machine(device),
        "seconds": round(watch["seconds"], 1),
        "others": round(watch["others"], 3),
        "code": cache.code_digest(*modules),
        "modules": modules,
        "commit": commit(),
        "rows": [{key: value for key, value in row.items() if key != "benchmark"} for row in rows],
    }
    document["digest"] = cache.digest(document)
    path = folder() / f"{document['date']}-{name}-{document['digest']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    cache.write_json(path, document)
    return Benchmark(path, document)


@contextmanager
def _watched() -> Iterator[dict]:
    """Measure the seconds of a block, and how many cores processes that are not of this one used meanwhile."""
    watch: dict[str, float] = {}
    busy, own, started = _busy(), _own(), time.perf_counter()
    yield watch
    watch["seconds"] = time.perf_counter() - started
    watch["others"] = max(0.0, (_busy() - busy) - (_own() - own)) / watch["seconds"]


def _busy() -> float:
    """Seconds that all cores have been at work since the machine started."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "steal", 0.0)
    # A guest's time stands in the user's already.
    return sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)


def _own() -> float:
    """Seconds of processor time of this process and of the children that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
