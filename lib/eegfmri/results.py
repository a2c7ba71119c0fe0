"""Results of a chapter: recorded where they are computed, harvested by the runner, read by the ledger.

`record` does two things with one value. It glues it, so that the chapter's prose can show it through the ``glue:text``
role (``{glue:text}`evaluation/loso/lda_eeg/kappa:.2f` ``), and it leaves it in the notebook for `harvest`, which
makes ``results.json`` of it. The ends of an interval are glued under the same key with ``.low`` and ``.high`` appended:
``{glue:text}`evaluation/loso/lda_eeg/kappa.low:.2f` ``.
"""

import json
import math
import os
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from pathlib import Path

from eegfmri import project
from eegfmri.cache import digest
from eegfmri.errors import DataError, EegFmriError, RequestError
from eegfmri.text import load_yaml, read_text, read_utf8

SCHEMA = 1

#: What a document of this schema states; ``recorded`` only where the run was kept with the book, see `eegfmri.recorded`.
NAMES = frozenset({"schema", "chapter", "parameters", "data", "environment", "seconds", "results", "recorded"})

#: Largest integer that a result may be.
LARGEST = 10**300

#: Outputs under this prefix are kept in the notebook for the prose and shown nowhere.
GLUE_PREFIX = "application/papermill.record/"

#: A key is ``paper/protocol/method/metric[/variant]``: parts of letters, digits, ``_``, ``-``, ``+`` between slashes.
KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)+")


def record(
    key: str,
    value: float | int | None,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    n: int | None = None,
) -> None:
    """Record one result of the chapter, for its prose and for ``results.json``.

    Parameters
    ----------
    key : str
        ``paper/protocol/method/metric[/variant]``; recorded once in a chapter.
    value : float, int or None
        The result; a number that is not finite is recorded as None.
    low, high : float or None
        Ends of its interval, in the unit of ``value``; glued as ``{key}.low`` and ``{key}.high``.
    unit : str
        Unit of ``value``; empty for a ratio.
    n : int or None
        Number of independent observations behind ``value`` (subjects, usually).

    Raises
    ------
    RequestError
        If the key has not the form above, or a value is no single number.
    """
    if not KEY.fullmatch(key):
        raise RequestError(
            f"Result key {key!r} is not of the form paper/protocol/method/metric: letters, digits, _, -, + and /."
        )
    result = {
        "key": key,
        "value": _plain(key, value),
        "low": _plain(key, low),
        "high": _plain(key, high),
        "unit": unit,
        "n": _plain(key, n),
    }
    _recorded[key] = result["value"]
    _glue(key, result["value"], {"result": result})
    for end in ("low", "high"):
        if result[end] is not None:
            _recorded[f"{key}.{end}"] = result[end]
            _glue(f"{key}.{end}", result[end], {})


#: What this process has recorded, by key.
_recorded: dict[str, float | int | None] = {}


def recorded(*keys: str) -> dict[str, float | int | None]:
    """Return what has been recorded so far in this session: in a notebook of one's own, the numbers that a text refers to.

    Parameters
    ----------
    *keys : str
        As given to `record`; ``{key}.low`` and ``{key}.high`` are the ends of an interval.

    Returns
    -------
    dict of str to float, int or None
        By key.

    Raises
    ------
    RequestError
        If one has not been recorded.
    """
    for key in keys:
        if key not in _recorded:
            raise RequestError(f"{key} has not been recorded yet: run the cell that records it first.")
    return {key: _recorded[key] for key in keys}


def declare(*recording_sets) -> None:
    """Show at the head of a page which recordings it is made from, and leave that for ``results.json``.

    Parameters
    ----------
    *recording_sets : RecordingSet
        The recordings of the page, real or simulated; none for a page that uses none.
    """
    data = describe_data(*recording_sets)
    boxes = "".join(_box(recordings) for recordings in recording_sets)
    text = " ".join(recordings.provenance for recordings in recording_sets) or "This page uses no recordings."
    emit({"text/html": boxes or f'<div class="eegfmri-data">{escape(text)}</div>', "text/plain": text}, {"data": data})


def describe_data(*recording_sets) -> dict:
    """Describe recordings as in ``results.json``: names joined by ``+``, whether any is simulated, and a digest.

    Without recordings, name and digest are empty.
    """
    digests = [recordings.digest for recordings in recording_sets]
    return {
        "dataset": "+".join(recordings.dataset for recordings in recording_sets),
        "simulated": any(recordings.simulated for recordings in recording_sets),
        "digest": (digests[0] if len(digests) == 1 else digest(digests)) if digests else "",
    }


def harvest(notebook: Mapping) -> dict:
    """Collect what `record` and `declare` left in an executed notebook.

    Parameters
    ----------
    notebook : Mapping
        The notebook as ``nbformat`` reads it, or its JSON.

    Returns
    -------
    dict
        ``results``, a list in the order of recording, and ``data`` as `describe_data` gives it.

    Raises
    ------
    EegFmriError
        If a key was recorded twice, or recordings were declared twice.
    """
    results, data = {}, None
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            payload = output.get("metadata", {}).get("eegfmri", {})
            if "result" in payload:
                result = dict(payload["result"])
                if result["key"] in results:
                    raise EegFmriError(f"Result {result['key']!r} is recorded twice: give one of the two another key.")
                results[result["key"]] = result
            if "data" in payload:
                if data is not None:
                    raise EegFmriError("Recordings are declared twice: pass all sets to one call of declare().")
                data = dict(payload["data"])
    return {"results": list(results.values()), "data": data if data is not None else describe_data()}


def renamed(document: dict) -> dict:
    """Return a ``results.json`` document with its keys under their present names.

    Parameters
    ----------
    document : dict
        As it was written, by this or an earlier version of the book; what has no list of results is returned as it is.

    Returns
    -------
    dict
        The same but for the keys that ``data/renamed_keys.yml`` renames.
    """
    entries = document.get("results") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return document
    kept = [
        {**entry, "key": present_key(entry["key"])}
        if isinstance(entry, dict) and isinstance(entry.get("key"), str)
        else entry
        for entry in entries
    ]
    return {**document, "results": kept}


def present_key(key: str) -> str:
    """Return the present name of a result's key, which may be its old one.

    Parameters
    ----------
    key : str
        As it was written.

    Returns
    -------
    str
        After all renames of ``data/renamed_keys.yml``, in the order of the file.
    """
    path = project.table("renamed_keys.yml")
    for pattern, name in _renames(path, path.stat().st_mtime_ns) if path.is_file() else ():
        match = pattern.fullmatch(key)
        key = match.expand(name) if match else key
    return key


@lru_cache(maxsize=4)
def _renames(path: Path, _mtime: int) -> tuple[tuple[re.Pattern, str], ...]:
    changes = load_yaml(read_text(path), path) or []
    try:
        return tuple((re.compile(rename["from"]), rename["to"]) for change in changes for rename in change["renames"])
    except (TypeError, KeyError, re.error) as error:
        raise DataError(f"{path} is no list of renames, each with from and to ({error!r}): restore it.") from None


def parse(path: str | Path) -> object:
    """Read JSON as it is found in files of results, damaged or not.

    Parameters
    ----------
    path : str or pathlib.Path
        A regular file.

    Returns
    -------
    object
        What it holds; numbers that are not finite, which strict JSON has not, as None.

    Raises
    ------
    DataError
        If it is no JSON, naming the file and the place.
    """
    text = read_utf8(path)
    try:
        return json.loads(text, parse_constant=lambda name: None, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not valid JSON ({str(error)[:200]}): remove it and run its chapter again."
        ) from None


def _finite(text: str) -> float | None:
    return value if math.isfinite(value := float(text)) else None


def read(path: str | Path) -> dict:
    """Read a ``results.json`` document, its keys under their present names.

    Parameters
    ----------
    path : str or pathlib.Path
        As `eegfmri.runner` writes it.

    Returns
    -------
    dict
        With ``schema``, ``chapter`` and ``results``, and of the right types whatever else is in it.

    Raises
    ------
    DataError
        If it is damaged or no such document, naming the file and what is wrong.
    """
    document = parse(path)
    wrong = _fault(document)
    if wrong:
        raise DataError(f"{path} is no results.json of schema {SCHEMA} ({wrong}): remove it and run its chapter again.")
    return renamed(document)


def _fault(document: object) -> str:
    """Say what is wrong with a results document; empty where nothing is."""
    if not isinstance(document, dict):
        return f"it holds a {type(document).__name__}"
    if document.get("schema") != SCHEMA:
        return "its schema is another one" if "schema" in document else "it has no schema"
    if not document.keys() <= NAMES:
        return f"it states {', '.join(map(repr, sorted(document.keys() - NAMES)))[:100]}"
    kinds = {"chapter": str, "results": list, "seconds": (int, float)}
    kinds |= dict.fromkeys(("parameters", "environment", "recorded"), dict)
    for name, kind in kinds.items():
        if name in document and not isinstance(document[name], kind):
            return f"{name} is a {type(document[name]).__name__}"
    for name in ("chapter", "data", "results"):
        if name not in document:
            return f"{name} is missing"
    data = document.get("data")
    if data is not None:
        if not isinstance(data, dict) or not isinstance(data.get("simulated"), bool):
            return "data does not say whether the recordings are simulated"
        named = all(isinstance(data.get(name), (str, type(None))) for name in ("dataset", "digest"))
        if not named or not data.keys() <= {"dataset", "simulated", "digest"}:
            return "data does not name the recordings"
    for entry in document["results"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("key"), str) or "value" not in entry:
            return "an entry of results has no key and value"
        if not KEY.fullmatch(entry["key"]):
            return f"{entry['key'][:100]!r} is no key"
        if not entry.keys() <= {"key", "value", "low", "high", "unit", "n"}:
            return f"{entry['key'][:100]} says more than a result does"
        if not isinstance(entry.get("unit"), (str, type(None))):
            return f"the unit of {entry['key'][:100]} is no text"
        for name in ("value", "low", "high", "n"):
            number = entry.get(name)
            # What is no double has no place on an axis.
            if not isinstance(number, (int, float, type(None))) or (isinstance(number, int) and abs(number) > LARGEST):
                return f"{name} of {entry['key'][:100]} is no number"
    return ""


def damaged() -> list[str]:
    """Return a sentence for each document that `latest` would have read and could not."""
    sentences = []
    for path in _paths():
        try:
            read(path)
        except DataError as error:
            if not _is_of_another_schema(path):
                sentences.append(str(error))
    return sentences


def _paths() -> list[Path]:
    root = project.find_root()
    if root is None:
        return []
    paths = [*(root / "book" / "_build" / "results").rglob("*.json"), *_of_runs(root / "runs")]
    # What an interrupted copy left is no result.
    return [path for path in paths if not path.name.startswith(".")]


def _of_runs(runs: Path) -> list[Path]:
    """Return the results of each run; a link that leads nowhere is one, and damaged."""
    return [path for folder in runs.glob("*") if os.path.lexists(path := folder / "results.json")]


def _is_of_another_schema(path: Path) -> bool:
    try:
        document = parse(path)
    except DataError:
        return False
    return isinstance(document, dict) and document.get("schema", SCHEMA) != SCHEMA


def latest() -> list[dict]:
    """Read the ``results.json`` documents of the last build and of the runs, as far as no later one takes their place.

    Simulated recordings can be made again at any time: of a chapter's documents from them the newest counts. Recordings that cannot are
    another matter: the newest document counts of each set of parameters, so that neither a simulated build nor a quick look
    at the same recordings hides a long run.

    Returns
    -------
    list of dict
        Documents in the order of chapter names, of each chapter from old to new; empty if nothing has been built or run. Those that
        cannot be read are left out, and `damaged` names them.
    """
    newest: dict[tuple, tuple[int, Path, dict]] = {}
    for path in _paths():
        try:
            document = read(path)
        except DataError:
            continue  # one damaged file ends nothing; `damaged` names it
        data = document.get("data") or {}
        lasting = digest(document.get("parameters"), data["dataset"]) if is_real(data) else None
        candidate = (path.stat().st_mtime_ns, path, document)
        place = (document["chapter"], lasting)
        if place not in newest or candidate[:2] > newest[place][:2]:
            newest[place] = candidate
    return [document for _, _, document in sorted(newest.values(), key=lambda found: (found[2]["chapter"], *found[:2]))]


def is_real(data: Mapping) -> bool:
    """Say whether what `describe_data` describes are recordings, and none of them simulated."""
    return bool(data.get("dataset")) and not data["simulated"]


def _plain(key: str, value: object) -> object:
    """Return a value that JSON can hold: numpy scalars unpacked, numbers that are not finite as None."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise RequestError(f"Result {key!r} is a {type(value).__name__}: record one number, or None.")


def _glue(name: str, value: object, payload: dict) -> None:
    # A missing number must still pass through a format such as .3f in the prose: "nan" does, None would not.
    text = "nan" if value is None else repr(value)
    emit(
        {f"{GLUE_PREFIX}text/plain": text},
        payload,
        {"scrapbook": {"name": name, "mime_prefix": GLUE_PREFIX}},
    )


def emit(bundle: dict, payload: dict, metadata: dict | None = None) -> None:
    """Display a bundle of media types in a notebook, the payload in the output's metadata; do nothing outside one."""
    # Only a running kernel or shell has imported IPython already.
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        return
    metadata = dict(metadata or {})
    if payload:
        metadata["eegfmri"] = payload
    display(bundle, raw=True, metadata=metadata)


def _box(recordings) -> str:
    if recordings.simulated:
        unknown = dict.fromkeys(("preset", "scale", "seed"), "unknown") | {"digest": recordings.digest}
        simulation = recordings.simulation or unknown
        return (
            '<div class="eegfmri-data eegfmri-simulated" role="note"><strong>Simulated recordings.</strong> '
            f"The {escape(recordings.dataset)} recordings of this page were written by the simulator "
            f"(preset <code>{escape(str(simulation['preset']))}</code>, scale <code>{escape(str(simulation['scale']))}"
            f"</code>, seed <code>{escape(str(simulation['seed']))}</code>, digest "
            f"<code>{escape(str(simulation['digest']))}</code>) in the layout of the real dataset. "
            "They show how a method behaves when the truth is known; they confirm no published number.</div>"
        )
    count = len(recordings)
    return (
        '<div class="eegfmri-data eegfmri-real" role="note"><strong>Real recordings.</strong> '
        f"Dataset {escape(recordings.dataset)}, folder <code>{escape(recordings.root.name)}</code>, "
        f"{count} recording{'' if count == 1 else 's'}, digest <code>{escape(recordings.digest)}</code>.</div>"
    )
