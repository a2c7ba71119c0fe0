"""What ``eegfmri bench --record`` keeps with the book: the rows of one benchmark, with the machine, the day, and how much else went on.

A benchmark is written as soon as it is done, to a file of its own that is never overwritten:
``data/recorded/bench/<date>-<name>-<key>.json``. A time that was taken beside other work says little; how many cores
other processes used meanwhile is therefore measured and kept.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import psutil

from eegfmri import bench, cache, recorded
from eegfmri.errors import DataError, RequestError

#: Cores used by other processes, on average, from which on a benchmark counts as measured beside other work.
DISTURBED = 0.15

#: What a file states.
ENTRIES = frozenset(
    {"schema", "benchmark", "date", "machine", "seconds", "others", "code", "modules", "commit", "rows", "digest"}
)


@dataclass(frozen=True)
class Benchmark:
    """One benchmark that was recorded.

    Attributes
    ----------
    path : pathlib.Path
        Its file.
    document : dict
        `ENTRIES`.
    """

    path: Path
    document: dict

    @property
    def name(self) -> str:
        """Name of the benchmark."""
        return self.document["benchmark"]

    @property
    def date(self) -> date:
        """Day on which it ran (UTC)."""
        return date.fromisoformat(self.document["date"])

    @property
    def rows(self) -> list[dict]:
        """Rows: ``case``, ``measure``, ``value``, ``unit``."""
        return self.document["rows"]

    @property
    def disturbed(self) -> bool:
        """Whether other processes took more than `DISTURBED` cores meanwhile."""
        return self.document["others"] > DISTURBED

    @property
    def changed(self) -> bool:
        """Whether the code that was measured has changed since."""
        return cache.code_digest(*self.document["modules"]) != self.document["code"]

    def value(self, case: str, measure: str) -> float | None:
        """Return one value, or None where there is no such row."""
        return next((row["value"] for row in self.rows if (row["case"], row["measure"]) == (case, measure)), None)

    def label(self) -> str:
        """Say in one sentence where and when the numbers were measured."""
        machine, others = self.document["machine"], self.document["others"]
        day = f"{self.date.day} {self.date:%B %Y}"
        beside = (
            f"beside other work, which took {others:.1f} cores on average"
            if self.disturbed
            else f"alone on the machine (other processes: {others:.2f} cores on average)"
        )
        since = "; the code has changed since" if self.changed else ""
        cores = f"{machine['cores']} core{'' if machine['cores'] == 1 else 's'}"
        return (
            f"Measured on {day}, {cores} of {machine['cpu']} with {machine['memory_gib']:g} GiB, device "
            f"{machine['device']}, {beside}{since}."
        )


def folder() -> Path:
    """Return where benchmarks are kept."""
    return recorded.folder(recorded.BENCHMARKS)


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


def read(path: str | Path) -> Benchmark:
    """Read a recorded benchmark.

    Parameters
    ----------
    path : str or pathlib.Path
        As `write` has written it.

    Returns
    -------
    Benchmark
        With everything in it.

    Raises
    ------
    DataError
        If it is no recorded benchmark, or was changed since it was written.
    """
    from eegfmri.results import parse

    document = parse(Path(path))
    if not isinstance(document, dict) or document.keys() != ENTRIES:
        raise DataError(f"{path} is no recorded benchmark: keep there only what `eegfmri bench --record` has written.")
    if document["digest"] != cache.digest({key: value for key, value in document.items() if key != "digest"}):
        raise DataError(f"{path} was changed after it was recorded: restore it, for example with git.")
    return Benchmark(Path(path), document)


def benchmarks(name: str | None = None) -> list[Benchmark]:
    """Return the benchmarks that were recorded, of one name or all, from old to new."""
    found = [read(path) for path in sorted(folder().glob("[!.]*.json"))]
    return sorted(
        (benchmark for benchmark in found if name in (None, benchmark.name)),
        key=lambda benchmark: (benchmark.document["date"], benchmark.path.stat().st_mtime_ns),
    )


def latest(name: str) -> Benchmark | None:
    """Return the newest recorded benchmark of a name; of one day, that with the least work beside it. None if there is none."""
    found = benchmarks(name)
    if not found:
        return None
    day = found[-1].date
    return min((one for one in found if one.date == day), key=lambda one: one.document["others"])


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
