"""What ``eegfmri compare`` does: two runs side by side, and where parameters, environment and results differ.

Whether a run reproduces another is judged on its results, never on when and how fast it ran.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

from eegfmri import recorded, results
from eegfmri.errors import DataError, RequestError, looking_up
from eegfmri.results import SCHEMA
from eegfmri.runner.execution import build_dir

#: What of an environment belongs to one run and says nothing about another.
PASSING = ("executed",)

#: What of two environments is compared by itself: digests of the chapter's cells and of the library that it uses.
CODE = "code"

#: Metrics of which more is better, and of which less is, as the fourth part of a key has them. Not every metric is one or the other.
HIGHER = re.compile(
    r"(balanced_)?accuracy|macro_f1|cohen_kappa|psnr|ssim(_inside)?|skill|recovery|dice|tsnr|((mse|learned_graph)_)?gain"
    r"|(regional|temporal)_correlation|correlation_with_truth|connectivity_similarity|r_mean"
)
LOWER = re.compile(r"mse|rmse|mae|([a-z_]+_)?error")


def compare(first: str | Path, second: str | Path) -> dict:
    """Compare two runs, or the runs of two books chapter by chapter.

    Parameters
    ----------
    first, second : str or pathlib.Path
        A ``results.json``, the folder of a run, a folder of such documents, or a word: ``book`` for the results of the last build,
        ``recorded`` for the recorded runs, of each chapter the newest of profile ``standard`` as it is, else the newest.

    Returns
    -------
    dict
        ``schema``, ``first``, ``second``, ``identical``, ``chapters`` and ``only_first``, ``only_second`` (chapters that one of two books
        lacks). Each entry of ``chapters`` is what `compare_documents` returns.

    Raises
    ------
    RequestError
        If one of the two is no run, or they have no chapter in common.
    """
    ours, theirs = documents(first), documents(second)
    common = [chapter for chapter in ours if chapter in theirs]
    if not common:
        raise RequestError(
            f"{first} holds {', '.join(ours)} and {second} holds {', '.join(theirs)}: name two runs of the same chapter."
        )
    # A single run is compared with its own chapter of a book; what else the book holds is no difference.
    books = len(ours) > 1 and len(theirs) > 1
    only_first = [chapter for chapter in ours if chapter not in theirs] if books else []
    only_second = [chapter for chapter in theirs if chapter not in ours] if books else []
    chapters = [compare_documents(ours[chapter], theirs[chapter]) for chapter in common]
    return {
        "schema": SCHEMA,
        "first": str(first),
        "second": str(second),
        "identical": all(entry["identical"] for entry in chapters) and not only_first and not only_second,
        "chapters": chapters,
        "only_first": only_first,
        "only_second": only_second,
    }


def documents(source: str | Path) -> dict[str, dict]:
    """Read the ``results.json`` documents that a name stands for, by chapter.

    Parameters
    ----------
    source : str or pathlib.Path
        As for `compare`.

    Returns
    -------
    dict of str to dict
        The newest document of each chapter, in the order of their names.

    Raises
    ------
    RequestError
        If there is none, or a file named itself is none.
    """
    if str(source) == "recorded":
        return _recorded()
    words = {"book": build_dir() / "results"}
    with looking_up(source, "name a results.json or the folder of a run"):
        path = words.get(str(source)) or Path(source).expanduser()
        is_file = path.is_file()
    if is_file:
        try:
            document = results.read(path)
        except DataError:
            raise RequestError(f"{path} is not a results.json of schema {SCHEMA}: name that of a run.") from None
        return {document["chapter"]: document}
    if not path.is_dir():
        hint = {"book": "run `eegfmri build` first"}
        raise RequestError(
            f"There is no run {path}: {hint.get(str(source), 'name a results.json, the folder of a run, `book` or `recorded`')}."
        )
    files = [path / "results.json"] if (path / "results.json").is_file() else sorted(path.rglob("*.json"))
    found = [document for document in (_read(file) for file in files if not file.name.startswith(".")) if document]
    if not found:
        raise RequestError(f"{path} holds no results.json of schema {SCHEMA}: name the folder of a run.")
    found.sort(key=lambda document: (document["chapter"], str(document.get("environment", {}).get("executed", ""))))
    return {document["chapter"]: document for document in found}


def _recorded() -> dict[str, dict]:
    """Return of each chapter the newest recorded run of the standard profile, else the newest."""
    runs = recorded.runs()
    if not runs:
        raise RequestError("No run is recorded yet: `eegfmri run CHAPTER --profile standard --record` records one.")
    chosen = {run.chapter: run for run in runs}
    chosen |= {name: run for name in chosen if (run := recorded.latest(name)) is not None}
    return {name: run.document for name, run in chosen.items()}


def _read(path: Path) -> dict | None:
    """Read a file if it is a results document, else return None."""
    try:
        return results.read(path)
    except DataError:
        return None


def compare_documents(first: Mapping, second: Mapping) -> dict:
    """Compare two runs of one chapter.

    Parameters
    ----------
    first, second : mapping
        Documents as ``results.json`` has them.

    Returns
    -------
    dict
        ``chapter``, ``identical`` (parameters, data and results are); ``parameters``, ``data``, ``environment`` and ``code`` (name, first,
        second; what differs; ``code`` only where both state it); ``results`` (key, unit, first, second, difference, beyond, better,
        favours; what differs); ``only_first``, ``only_second`` (keys of results). ``beyond`` says whether each value lies outside the
        other's interval, and is None where no result has an interval; ``better`` is ``higher``, ``lower`` or None, see `direction`,
        and ``favours`` the side that is better.
    """
    ours, theirs = ({result["key"]: result for result in document["results"]} for document in (first, second))
    entry = {
        "chapter": first["chapter"],
        "parameters": _differences(first.get("parameters", {}), second.get("parameters", {})),
        "data": _differences(first.get("data") or {}, second.get("data") or {}),
        "environment": _differences(_flat(first.get("environment", {})), _flat(second.get("environment", {}))),
        "code": _compare_code(first.get("environment", {}).get(CODE), second.get("environment", {}).get(CODE)),
        "results": [
            _compare_result(ours[key], theirs[key]) for key in ours if key in theirs and ours[key] != theirs[key]
        ],
        "only_first": [key for key in ours if key not in theirs],
        "only_second": [key for key in theirs if key not in ours],
    }
    same = not any(entry[part] for part in ("parameters", "data", "results", "only_first", "only_second"))
    return {"identical": same, **entry}


def _flat(environment: Mapping) -> dict:
    """Return an environment with its packages as entries of their own, without what belongs to one run."""
    flat = {name: value for name, value in environment.items() if name not in (*PASSING, CODE, "packages")}
    packages = environment.get("packages")
    return flat | (packages if isinstance(packages, Mapping) else {})


def _compare_code(first: object, second: object) -> list[dict]:
    return _differences(first, second) if isinstance(first, Mapping) and isinstance(second, Mapping) else []


def _differences(first: Mapping, second: Mapping) -> list[dict]:
    names = list(dict.fromkeys([*first, *second]))
    return [
        {"name": name, "first": first.get(name), "second": second.get(name)}
        for name in names
        if first.get(name) != second.get(name) or (name in first) != (name in second)
    ]


def _compare_result(first: Mapping, second: Mapping) -> dict:
    values = [result["value"] for result in (first, second)]
    numbers = all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)
    better = direction(first["key"])
    difference = values[1] - values[0] if numbers else None
    favours = None
    if better is not None and difference:
        favours = "second" if (difference > 0) == (better == "higher") else "first"
    return {
        "key": first["key"],
        "unit": first.get("unit", ""),
        "first": {name: first.get(name) for name in ("value", "low", "high", "n")},
        "second": {name: second.get(name) for name in ("value", "low", "high", "n")},
        "difference": difference,
        "beyond": _beyond(first, second) if numbers else None,
        "better": better,
        "favours": favours,
    }


def direction(key: str) -> str | None:
    """Say whether more or less of a result is better.

    Parameters
    ----------
    key : str
        ``paper/protocol/method/metric[/variant]``; the metric decides.

    Returns
    -------
    {"higher", "lower"} or None
        None where neither is better, or nobody has said so.

    Examples
    --------
    >>> direction("graph_fusion/loso/fusion/balanced_accuracy"), direction("synthesis/loso/siamese/mse/raw"), direction("a/b/c/count")
    ('higher', 'lower', None)
    """
    parts = key.split("/")
    metric = parts[3] if len(parts) > 3 else ""
    return "higher" if HIGHER.fullmatch(metric) else "lower" if LOWER.fullmatch(metric) else None


def _beyond(first: Mapping, second: Mapping) -> bool | None:
    """Say whether each value lies outside the other's interval; None where neither has one."""
    outside = [
        not one["low"] <= other["value"] <= one["high"]
        for one, other in ((first, second), (second, first))
        if one.get("low") is not None and one.get("high") is not None
    ]
    return all(outside) if outside else None
