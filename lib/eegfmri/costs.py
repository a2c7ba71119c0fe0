"""What things cost, as measured: the benchmarks that ``eegfmri bench --record`` has kept with the book.

Each stands in a file of its own that is never overwritten, ``data/recorded/bench/<date>-<name>-<key>.json``, with the machine, the day and
how much else the machine did meanwhile: a time that was taken beside other work says little.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from eegfmri import cache, recorded, results
from eegfmri.errors import DataError

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


def read(path: str | Path) -> Benchmark:
    """Read a recorded benchmark.

    Parameters
    ----------
    path : str or pathlib.Path
        As `eegfmri.bench.kept.write` has written it.

    Returns
    -------
    Benchmark
        With everything in it.

    Raises
    ------
    DataError
        If it is no recorded benchmark, or was changed since it was written.
    """
    document = results.parse(Path(path))
    if not isinstance(document, dict) or document.keys() != ENTRIES:
        raise DataError(f"{path} is no recorded benchmark: keep there only what `eegfmri bench --record` has written.")
    if document["digest"] != cache.digest({key: value for key, value in document.items() if key != "digest"}):
        raise DataError(f"{path} was changed after it was recorded: restore it, for example with git.")
    return Benchmark(Path(path), document)


def benchmarks(name: str | None = None) -> list[Benchmark]:
    """Return the benchmarks that were recorded, of one name or all, from old to new."""
    found = [read(path) for path in sorted(folder().glob("[!.]*.json"))]
    return sorted((one for one in found if name in (None, one.name)), key=lambda one: one.date)


def latest(name: str) -> Benchmark | None:
    """Return the newest recorded benchmark of a name; of one day, that with the least work beside it. None if there is none."""
    found = benchmarks(name)
    if not found:
        return None
    day = found[-1].date
    return min((one for one in found if one.date == day), key=lambda one: one.document["others"])
