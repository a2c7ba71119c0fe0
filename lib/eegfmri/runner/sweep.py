"""What ``eegfmri sweep`` does: one chapter over every combination of some parameters' values, and how far its results spread.

Seeds are repetitions, and results are averaged over them; every other parameter is a setting, whose values stand side by side.

Each combination is a run like any other, under its own key, so that what was executed before is not executed again and an
interrupted sweep goes on where it stopped.
"""

import csv
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eegfmri import cache, project
from eegfmri.errors import RequestError
from eegfmri.executors import Dask
from eegfmri.machine import cores
from eegfmri.runner.chapters import Chapter, discover, find, resolve_parameters
from eegfmri.runner.execution import (
    DataPlan,
    Listener,
    Outcome,
    Request,
    default_jobs,
    ensure_data,
    execute_all,
    folder_of,
    keep,
    prepare,
    silent,
)
from eegfmri.runner.parameters import quoted

#: Parameters whose values are repetitions of the same thing: only over them is a mean taken.
REPETITIONS = ("seed", "simulation_seed")

#: More combinations than this are asked for by mistake.
MOST = 1000


@dataclass(frozen=True)
class Sweep:
    """What a sweep has found.

    Attributes
    ----------
    chapter : str
        Name.
    swept : tuple of str
        Parameters that were given several values.
    outcomes : list of Outcome
        One per combination, in the order of the values.
    settings : tuple of str
        Those of them that are settings, and no repetitions (`REPETITIONS`).
    headline : tuple of str
        Keys of the results that the chapter is about, as far as it says so and there are such results.
    spread : list of dict
        One per result and combination of settings: the settings, ``key``, ``unit``, ``n`` repetitions, ``mean``, ``sd``, ``min``, ``max``.
    folder : pathlib.Path
        Where ``sweep.csv``, ``spread.csv`` and each combination's results.json lie.
    """

    chapter: str
    swept: tuple[str, ...]
    outcomes: list[Outcome]
    spread: list[dict]
    folder: Path
    settings: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()


def sweep(
    name: str,
    assignments: Iterable[str],
    profile: str | None = None,
    data: str | Path | None = None,
    workers: int | None = None,
    out: str | Path | None = None,
    listen: Listener = silent,
    scheduler: str | None = None,
) -> Sweep:
    """Execute a chapter for every combination of values.

    Parameters
    ----------
    name : str
        Name of the chapter.
    assignments : iterable of str
        ``key=a,b,c`` each; commas inside brackets or quotes do not separate.
    profile : str or None
        Profile that the assignments override.
    data : str, pathlib.Path or None
        Folder of real recordings; simulated ones if None.
    workers : int or None
        Combinations executed at once, each in a process of its own; as many as cores if None.
    out : str, pathlib.Path or None
        Folder to write into; ``runs/sweep-<chapter>-<key>/`` if None.
    listen : callable
        Told what happens: ``combination`` when one is done, with its values and outcome.
    scheduler : str or None
        Address of a Dask cluster, each of whose workers executes one combination at a time, with its folds; None for this machine.

    Returns
    -------
    Sweep
        Outcomes and the spread of every result.

    Raises
    ------
    RequestError
        If the request is wrong, or the cluster could not do the work; nothing has run then.
    EegFmriError
        If the cluster is lost on the way; what it has finished is kept.
    """
    from eegfmri.runner import preflight

    chapters = discover()
    chapter = find(name, chapters)
    if workers is not None and scheduler is not None:
        raise RequestError("--workers counts processes of this machine, --scheduler names a cluster: give one of them.")
    if workers is not None and workers < 1:
        raise RequestError(f"--workers must be 1 or more, not {workers}.")
    values = swept_values(assignments)
    swept = tuple(key for key, texts in values.items() if len(texts) > 1)
    if not swept:
        raise RequestError("A sweep needs a parameter with several values: -p seed=0,1,2.")
    plan = DataPlan.of(data, simulate_missing=False)
    requests = list(_requests(chapter, values, profile, plan))
    stem = chapter.name.replace("/", "-")
    key = cache.digest([request.key for request in requests])
    folder = folder_of(out) if out is not None else project.root() / "runs" / f"sweep-{stem}-{key}"
    problem = preflight.unwritable(folder)
    if problem:
        raise RequestError(f"--out: {problem}")
    known = preflight.Known(plan)
    fresh = [request for request in requests if not request.cached]
    if scheduler is not None and fresh:
        Dask(scheduler).check()
    preflight.require(fresh, known, folder)
    folder.mkdir(parents=True, exist_ok=True)
    keep(folder, requests)
    ensure_data(fresh, plan, listen)
    preflight.require([request for request in fresh if request.simulated], known, folder)
    finished = itertools.count(1)

    def hear(event: str, **about: object) -> None:
        if event == "end":
            request = about["outcome"].request
            chosen = {parameter: request.parameters[parameter] for parameter in swept}
            listen("combination", values=chosen, outcome=about["outcome"], done=next(finished), total=len(requests))

    at_once = Dask(scheduler) if scheduler is not None else workers or default_jobs(requests)
    # The same thread count as in a build, for the order of floating-point sums depends on it.
    threads = max(1, cores() // default_jobs(chapters.values()))
    outcomes = execute_all(requests, at_once, threads, False, hear)
    rows = [_row(outcome, swept) for outcome in outcomes]
    settings = tuple(name for name in swept if name not in REPETITIONS)
    spread = spread_of(outcomes, settings)
    for outcome in outcomes:
        if outcome.status != "failed":
            label = "_".join(f"{parameter}-{outcome.request.parameters[parameter]}" for parameter in swept)
            safe = "".join(character if character.isalnum() or character in "-_." else "-" for character in label)
            cache.write_json(folder / f"{safe[:100]}-{outcome.request.key}.json", outcome.request.results)
    _write_csv(folder / "sweep.csv", rows)
    _write_csv(folder / "spread.csv", spread)
    found = {row["key"] for row in spread}
    headline = tuple(key for key in chapter.headline if key in found)
    return Sweep(chapter.name, swept, outcomes, spread, folder, settings, headline)


def swept_values(assignments: Iterable[str]) -> dict[str, list[str]]:
    """Split ``key=a,b,c`` into values, at commas outside brackets and quotes.

    Parameters
    ----------
    assignments : iterable of str
        One per parameter.

    Returns
    -------
    dict of str to list of str
        Values as written, each once, in order.

    Raises
    ------
    RequestError
        If one is not of that form, a key comes twice, or brackets or quotes do not close.
    """
    found: dict[str, list[str]] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        key = key.strip()
        if not separator or not key.isidentifier():
            raise RequestError(f"Parameter {quoted(assignment)} is not of the form key=a,b,c.")
        if key in found:
            raise RequestError(f"Parameter {key} is given twice: write its values as {key}=a,b,c.")
        found[key] = list(dict.fromkeys(_split(key, text)))
    return found


def _split(key: str, text: str) -> list[str]:
    parts, depth, quote = [""], 0, None
    for character in text:
        if quote is not None:
            quote = None if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[({":
            depth += 1
        elif character in "])}":
            depth -= 1
        if character == "," and depth == 0 and quote is None:
            parts.append("")
        else:
            parts[-1] += character
    if depth or quote is not None:
        raise RequestError(f"Parameter {key}: brackets or quotes of {quoted(text)} do not close.")
    parts = [part.strip() for part in parts]
    if not all(parts):
        raise RequestError(f"Parameter {key}: {quoted(text)} has an empty value between its commas.")
    return parts


def _requests(chapter: Chapter, values: dict[str, list[str]], profile: str | None, plan: DataPlan) -> Iterator[Request]:
    number = math.prod(len(texts) for texts in values.values())
    if number > MOST:
        raise RequestError(f"That is {number} combinations; a sweep takes at most {MOST}: give fewer values.")
    digests: dict[str, str] = {}
    for combination in itertools.product(*values.values()):
        assigned = [f"{key}={text}" for key, text in zip(values, combination, strict=True)]
        yield prepare(chapter, resolve_parameters(chapter, profile, assigned), plan, digests)


def _row(outcome: Outcome, swept: tuple[str, ...]) -> dict:
    """One combination: its values, what became of it, then every result under its key."""
    row = {name: outcome.request.parameters[name] for name in swept}
    row |= {"status": outcome.status, "seconds": round(outcome.seconds, 1)}
    if outcome.status != "failed":
        row |= {result["key"]: result["value"] for result in outcome.request.results["results"]}
    return row


def spread_of(outcomes: Iterable[Outcome], settings: Sequence[str] = ()) -> list[dict]:
    """Describe each numeric result over repetitions; nothing is averaged over different settings.

    Parameters
    ----------
    outcomes : iterable of Outcome
        Failed ones are left out.
    settings : sequence of str
        Parameters that were given several values and are no repetitions.

    Returns
    -------
    list of dict
        The settings by name, ``key``, ``unit``, ``n``, ``mean``, ``sd`` (of a sample; empty for one value), ``min``, ``max``; results in
        the order of the page, of each the settings in theirs.
    """
    import statistics

    # Values of settings may be lists: what they are told apart by is how they are written.
    values: dict[str, dict[str, list[float]]] = {}
    chosen: dict[str, dict] = {}
    units: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.status == "failed":
            continue
        setting = {name: outcome.request.parameters[name] for name in settings}
        chosen.setdefault(repr(setting), setting)
        for result in outcome.request.results["results"]:
            value = result["value"]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                continue
            values.setdefault(result["key"], {}).setdefault(repr(setting), []).append(value)
            units[result["key"]] = result.get("unit", "")
    return [
        {
            **chosen[setting],
            "key": key,
            "unit": units[key],
            "n": len(found),
            "mean": statistics.fmean(found),
            "sd": statistics.stdev(found) if len(found) > 1 else None,
            "min": min(found),
            "max": max(found),
        }
        for key, by_setting in values.items()
        for setting, found in by_setting.items()
    ]


def _write_csv(path: Path, rows: list[dict]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with cache.written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
