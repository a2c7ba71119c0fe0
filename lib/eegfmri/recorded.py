"""Recorded runs: results of long runs that are kept with the book, and shown on its pages beside the run that made the page.

``eegfmri run CHAPTER --profile standard --record`` writes one into ``data/recorded/<chapter>/``, once and for all: under its key there is
never another one, and a file that was changed afterwards is refused. A page asks for `latest`, says with `label` what it shows, and sets
its own numbers next to the recorded ones with `beside`. What a page shows stands in its key: the front matter names the chapters
whose recorded runs it reads (``eegfmri: recorded: [fusion/graph_fusion]``; the page's own if it names none).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from eegfmri import cache, project, results
from eegfmri.errors import DataError, RequestError

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

#: Environment variable of a kernel that the runner has started: the chapters whose recorded runs the page's key names, each with the
#: digest of its code cells as they are now.
SHOWN = "EEGFMRI_RECORDED"

#: What stands for the preset where recordings are real, and where there are none.
REAL, NOTHING = "real", "none"

#: Folder below that of the recorded runs in which `eegfmri bench --record` keeps what things cost (`eegfmri.bench.kept`).
BENCHMARKS = "bench"

#: What a recorded run states beside its results.
FACTS = frozenset(
    {"profile", "preset", "key", "date", "assigned", "seeds", "simulation", "digests", "modules", "folds"}
    | {"machine", "peak_memory", "digest"}
)


@dataclass(frozen=True)
class Number:
    """One recorded result.

    Attributes
    ----------
    value : float, int or None
        The result.
    low, high : float or None
        Ends of its interval.
    unit : str
        Of all three.
    n : int or None
        Independent observations behind it.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    n: int | None = None


@dataclass(frozen=True)
class RecordedRun:
    """A run that was recorded.

    Attributes
    ----------
    path : pathlib.Path
        Its file.
    document : dict
        As `eegfmri.results.read` returns it: a ``results.json`` with the entry ``recorded``.
    """

    path: Path
    document: dict

    @property
    def chapter(self) -> str:
        """Name of the chapter."""
        return self.document["chapter"]

    @property
    def facts(self) -> dict:
        """What was written down beside the results: `FACTS`."""
        return self.document["recorded"]

    @property
    def profile(self) -> str:
        """Name of the profile."""
        return self.facts["profile"]

    @property
    def preset(self) -> str:
        """Preset of the simulated recordings, ``real`` for real ones, ``none`` where a chapter uses none."""
        return self.facts["preset"]

    @property
    def key(self) -> str:
        """Key of everything that was computed."""
        return self.facts["key"]

    @property
    def date(self) -> date:
        """Day on which it was executed (UTC)."""
        return date.fromisoformat(self.facts["date"])

    @property
    def assigned(self) -> dict[str, object]:
        """Parameters that were set beside the profile's."""
        return self.facts["assigned"]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.document["seconds"]

    @property
    def machine(self) -> dict:
        """``cores``, ``memory`` in bytes, ``cpu``, and whether folds were computed on a ``cluster``."""
        return self.facts["machine"]

    @cached_property
    def results(self) -> Mapping[str, Number]:
        """Results by key."""
        return MappingProxyType(
            {
                entry["key"]: Number(
                    entry["value"],
                    entry.get("low"),
                    entry.get("high"),
                    entry.get("unit") or "",
                    entry.get("n"),
                )
                for entry in self.document["results"]
            }
        )

    @property
    def folds(self) -> dict[str, dict[str, float | None]]:
        """Values of single folds by key, as far as the chapter has left them with `record_folds`."""
        return self.facts["folds"]

    @property
    def changed(self) -> tuple[str, ...]:
        """What has changed since: ``chapter``, ``library``, ``packages``; whether the chapter has, only the runner's kernels know."""
        return self.changes(_shown())

    def changes(self, cells: Mapping[str, str]) -> tuple[str, ...]:
        """Say what has changed since.

        Parameters
        ----------
        cells : mapping of str to str
            Digests of the code cells of chapters as they are now; one that is not there is taken to be unchanged.

        Returns
        -------
        tuple of str
            ``chapter``, ``library``, ``packages``.
        """
        stated = self.facts["digests"]
        lock = project.root() / "requirements.lock"
        now = {
            "chapter": cells.get(self.chapter, stated["chapter"]),
            "library": cache.code_digest(*self.facts["modules"]),
            "packages": cache.digest(lock.read_text(encoding="utf-8")) if lock.is_file() else None,
        }
        return tuple(what for what, digest in now.items() if digest != stated[what])


def _shown() -> dict[str, str]:
    return json.loads(os.environ.get(SHOWN, "{}"))


def folder(chapter: str | None = None) -> Path:
    """Return where recorded runs lie, all or those of a chapter."""
    top = project.data_dir() / "recorded"
    return top if chapter is None else top / chapter


def read(path: str | Path) -> RecordedRun:
    """Read a recorded run.

    Parameters
    ----------
    path : str or pathlib.Path
        As ``run --record`` has written it.

    Returns
    -------
    RecordedRun
        Keys of its results under their present names.

    Raises
    ------
    DataError
        If it is no recorded run, or was changed since it was written.
    """
    path = Path(path)
    written = results.parse(path)
    facts = written.get("recorded") if isinstance(written, dict) else None
    if not isinstance(facts, dict) or facts.keys() != FACTS:
        raise DataError(f"{path} is no recorded run: keep there only what `eegfmri run --record` has written.")
    if facts["digest"] != seal(written):
        raise DataError(f"{path} was changed after it was recorded: restore it, for example with git.")
    return RecordedRun(path, results.read(path))


def seal(document: Mapping) -> str:
    """Return the digest that a recorded run carries of everything else in it."""
    facts = {name: value for name, value in document["recorded"].items() if name != "digest"}
    return cache.digest({**document, "recorded": facts})


def runs(chapter: str | None = None) -> list[RecordedRun]:
    """Return every recorded run, or those of a chapter.

    Parameters
    ----------
    chapter : str or None
        Name of the chapter; all if None.

    Returns
    -------
    list of RecordedRun
        By chapter, from old to new.

    Raises
    ------
    RequestError
        If a page asks whose front matter does not name the chapter: its key would not know of the runs.
    DataError
        If one of the files is damaged.
    """
    if SHOWN in os.environ and chapter not in _shown():
        raise RequestError(
            f"The page shows recorded runs of {chapter or 'all chapters'}, which its front matter does not name: list the chapters there, "
            "as in eegfmri: recorded: [fusion/graph_fusion]."
        )
    # Below a chapter's folder may lie those of other chapters; benchmarks have a folder of their own, which holds no run.
    paths = folder().rglob("*.json") if chapter is None else folder(chapter).glob("*.json")
    found = [read(path) for path in paths if not path.name.startswith(".") and path.parent != folder(BENCHMARKS)]
    return sorted(found, key=lambda run: (run.chapter, run.document["environment"]["executed"], run.key))


def latest(chapter: str, profile: str = "standard", preset: str = "realistic") -> RecordedRun | None:
    """Return the newest recorded run of a chapter.

    Parameters
    ----------
    chapter : str
        Name of the chapter.
    profile : str, default="standard"
        Name of the profile; runs with other parameters than its own do not count, but for the preset.
    preset : str, default="realistic"
        Of the simulated recordings; ``real`` for a run with real ones.

    Returns
    -------
    RecordedRun or None
        None if there is none.
    """
    found = [run for run in runs(chapter) if (run.profile, run.preset) == (profile, preset)]
    found = [run for run in found if not set(run.assigned) - {"preset"}]
    return found[-1] if found else None


def label(run: RecordedRun | None) -> str:
    """Say in one sentence what a recorded run is.

    Parameters
    ----------
    run : RecordedRun or None
        As `latest` returns it.

    Returns
    -------
    str
        With profile, recordings, date, what it took, and what has changed since.
    """
    if run is None:
        return "No run is recorded."
    simulation, data = run.facts["simulation"], run.document["data"]
    made_from = {
        NOTHING: "no recordings",
        REAL: f"real recordings of {data['dataset']} (digest {data['digest']})",
    }.get(run.preset)
    if made_from is None:
        made_from = f"simulated recordings ({simulation['preset']}, scale {simulation['scale']})"
    others = ", ".join(f"{name} = {value!r}" for name, value in run.assigned.items() if name != "preset")
    cores, memory = run.machine["cores"], run.facts["peak_memory"]
    took = f"{_duration(run.seconds)} on {cores} core{'' if cores == 1 else 's'}"
    took += f" and {memory / 1e9:.1f} GB of memory" if memory else ""
    day = f"{run.date.day} {run.date:%B %Y}"
    since = f"; changed since: {', '.join(run.changed)}" if run.changed else ""
    return f"Recorded on {day}: profile {run.profile}{f', {others}' if others else ''}, {made_from}, {took}{since}."


def _duration(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 5400
        else f"{seconds / 60:.0f} min"
        if seconds >= 90
        else f"{seconds:.0f} s"
    )


def beside(current: Mapping[str, object], run: RecordedRun | None, names: Mapping[str, str] | None = None) -> "Styler":
    """Set results of this page beside those of a recorded run.

    Parameters
    ----------
    current : mapping
        By key of a result: its value; or anything with ``value``, ``low`` and ``high``, or a tuple of these three.
    run : RecordedRun or None
        As `latest` returns it; its column is empty where there is none, or no result of that key.
    names : mapping of str to str, or None
        How rows are called, by key; the key itself for those that are not named.

    Returns
    -------
    pandas.io.formats.style.Styler
        One row per key, in the order of ``current``: this run, the recorded run, each with its interval, and the unit where there is one;
        the caption says which run was recorded when.
    """
    import pandas as pd

    recorded = {} if run is None else run.results
    rows = {}
    for key, value in current.items():
        other = recorded.get(key)
        rows[(names or {}).get(key, key)] = {
            "this page": _written(*_triple(value)),
            "recorded": "" if other is None else _written(other.value, other.low, other.high),
            "unit": "" if other is None else other.unit,
        }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["this page", "recorded", "unit"])
    if not any(table["unit"]):
        table = table.drop(columns="unit")
    # Pandas draws a name at random; equal tables shall be equal outputs.
    styled = table.style.set_uuid(cache.digest(list(rows), length=8)).set_caption(label(run))
    # One line for a number with its interval; the table scrolls inside itself where a screen is narrow.
    styled = styled.set_properties(**{"white-space": "nowrap", "text-align": "right"})
    return styled.set_table_styles(
        [
            {"selector": "caption", "props": "caption-side: bottom; text-align: left; font-size: 0.85rem;"},
            {"selector": "th.row_heading", "props": "text-align: left; font-weight: 400;"},
        ]
    )


def _triple(value: object) -> tuple[float | None, float | None, float | None]:
    if isinstance(value, tuple) and not hasattr(value, "low"):
        return value
    if hasattr(value, "low"):
        return (value.value, value.low, value.high)
    return (value, None, None)


def _written(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or value != value:
        return "–"
    interval = "" if low is None or high is None else f" [{_digits(low)}, {_digits(high)}]"
    return f"{_digits(value)}{interval}"


def _digits(value: float) -> str:
    """Write three digits that count, with a minus that is one."""
    return f"{value:.3g}".replace("-", "−", 1) if value < 0 else f"{value:.3g}"


def record_folds(key: str, values: Mapping[str, float | None]) -> None:
    """Leave the values of single folds behind a result for ``run --record``, so that its table can be derived again.

    Parameters
    ----------
    key : str
        Of the result, as in `eegfmri.results.record`.
    values : mapping of str to float or None
        Value by name of the fold, which is a subject in most protocols.

    Raises
    ------
    RequestError
        If the key has not the form of one.
    """
    if not results.KEY.fullmatch(key):
        raise RequestError(f"Folds are recorded under {key!r}, which is no key of a result: give them that of theirs.")
    plain = {str(name): None if value is None or value != value else float(value) for name, value in values.items()}
    results.emit(
        {f"{results.GLUE_PREFIX}text/plain": repr(len(plain))},
        {"folds": {key: plain}},
        {"scrapbook": {"name": f"{key}.folds", "mime_prefix": results.GLUE_PREFIX}},
    )


def listing(cells: Mapping[str, str]) -> list[dict]:
    """Describe every recorded run for tables.

    Parameters
    ----------
    cells : mapping of str to str
        Digests of the code cells of chapters as they are now.

    Returns
    -------
    list of dict
        ``chapter``, ``profile``, ``preset``, ``key``, ``date``, ``assigned``, ``data``, ``seconds``, ``peak_memory``, ``machine``,
        ``n_results``, ``commit``, ``changed`` and ``file`` (below ``data/recorded``).
    """
    return [
        {
            "chapter": run.chapter,
            "profile": run.profile,
            "preset": run.preset,
            "key": run.key,
            "date": run.facts["date"],
            "assigned": run.assigned,
            "data": run.document["data"],
            "seconds": run.seconds,
            "peak_memory": run.facts["peak_memory"],
            "machine": run.machine,
            "n_results": len(run.results),
            "commit": run.document["environment"].get("commit"),
            "changed": list(run.changes(cells)),
            "file": run.path.relative_to(folder()).as_posix(),
        }
        for run in runs()
    ]
