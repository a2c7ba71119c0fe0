"""What our results say about the published claims.

`verify` sets our results beside the ledger's entries and returns verdicts, `table` shows them. The rules of a verdict are `judge` for
a value with an interval, `judge_expectation` for a direction, and arithmetic among published numbers; nothing here runs a model. Words
of verdicts:

``consistent``, ``inconsistent``
    Arithmetic: the paper's own numbers or equations fit together, or do not.
``agrees``, ``differs``, ``inconclusive``
    Real recordings: the published value lies in our interval, which is no wider than the margin stated beforehand;
    it lies outside; the interval is too wide to say, or the model has not learned enough for the claim to mean anything.
``not comparable``
    Our number comes from simulated recordings, or from another dataset than the claim.
``not run``
    There is no result yet; the verdict says what is missing and which command would make it.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import ValidationError

from eegfmri import project
from eegfmri.errors import DataError, RequestError
from eegfmri.ledger.claims import (
    _RELATIONS,
    VERDICTS,
    Claim,
    Control,
    Result,
    Verdict,
    _arithmetic,
    _Document,
    _first_error,
    _ledger,
    _number,
    _read,
    _value,
)
from eegfmri.results import parse, renamed

if TYPE_CHECKING:
    import pandas as pd


#: Parameters that do not say how a result is computed: in how many processes and on what, the seed of its random numbers, and what
#: concerns simulated recordings alone. In every other one a run must be as the profile of its claim has it.
NEUTRAL = frozenset({"n_jobs", "device", "data", "seed", "simulation_seed", "scale", "preset"})

#: Ends of names of parameters that say where recordings lie.
NEUTRAL_ENDS = ("_file", "_dir")


class _Found(NamedTuple):
    result: Result
    document: _Document
    file: str | None = None


class _Asked(dict):
    """Parameters that a profile gives a chapter, None for a chapter that the book has not, by chapter and profile."""

    def __missing__(self, place: tuple[str, str]) -> dict | None:
        from eegfmri.runner.chapters import discover, resolve_parameters

        chapter = discover().get(place[0])
        # As JSON has them: a tuple is the list that was written of it.
        self[place] = None if chapter is None else json.loads(json.dumps(resolve_parameters(chapter, place[1])))
        return self[place]


# ----------------------------------------------------------------------------------------------------- verdicts


def judge(value: float, low: float | None, high: float | None, margin: float) -> Verdict:
    """Set a published value beside our interval.

    Parameters
    ----------
    value : float
        The published value.
    low, high : float or None
        Our interval.
    margin : float
        The widest interval with which agreement may be said.

    Returns
    -------
    {"agrees", "differs", "inconclusive"}
        ``differs`` if the value lies outside, however wide the interval; ``agrees`` if it lies inside and the interval
        is no wider than the margin; else, or without a finite interval, ``inconclusive``.
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "inconclusive"
    if not low <= value <= high:
        return "differs"
    return "agrees" if high - low <= margin else "inconclusive"


def judge_expectation(relation: Literal["<", ">"], than: float, low: float | None, high: float | None) -> Verdict:
    """Set a published direction beside our interval.

    Parameters
    ----------
    relation : {"<", ">"}
        The side of the bound on which the value must lie.
    than : float
        The bound.
    low, high : float or None
        Our interval.

    Returns
    -------
    {"agrees", "differs", "inconclusive"}
        ``agrees`` if the whole interval lies on the stated side, ``differs`` if none of it does, else ``inconclusive``.
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "inconclusive"
    inner, outer = (low, high) if relation == ">" else (high, low)
    if _RELATIONS[relation](inner, than):
        return "agrees"
    return "inconclusive" if _RELATIONS[relation](outer, than) else "differs"


def verify(
    results: Iterable[Mapping] | None = None,
    paper: str | None = None,
    *,
    imported: Iterable[str | Path] = (),
    path: str | Path | None = None,
) -> dict:
    """Set our results beside the ledger.

    Parameters
    ----------
    results : iterable of mapping or None
        ``results.json`` documents; by default those of the last build and of runs. Of several results under one key those from
        real recordings count, of these the ones made with the parameters of the claim's profile, and of these the last in the list.
    paper : str or None
        Only the claims of this paper.
    imported : iterable of str or pathlib.Path
        Files with one ``results.json`` document, or a list of them, from someone who has the recordings.
    path : str, pathlib.Path or None
        A ledger; by default the project's.

    Returns
    -------
    dict
        The document of ``eegfmri verify --json``: ``schema`` and ``claims``, each with id, paper, kind, statement,
        published, unit, ours, low, high, n, verdict, why, level, quote, cite, source, chapter, command, readings, and provenance: where
        an imported number comes from (``file``, ``executed``, ``commit``, ``data``, ``code``), None for one that was computed here.

    Raises
    ------
    RequestError
        If there is no such paper or file.
    DataError
        If the ledger or a results document is malformed.
    """
    known, ledger = _read(_ledger(path))
    if paper is not None and paper not in known:
        raise RequestError(f"No paper is called {paper!r}: the papers are {', '.join(known)}.")
    if results is None:
        from eegfmri.results import latest

        results = latest()
    documents = [(_document(entry, f"results document number {i}"), None) for i, entry in enumerate(results, start=1)]
    for file in imported:
        documents += [(document, Path(file).name) for document in _import(Path(file))]
    found: dict[str, list[_Found]] = {}
    for document, file in documents:
        for result in document.results:
            found.setdefault(result.key, []).append(_Found(result, document, file))
    asked = _Asked()
    entries = [_entry(claim, ledger, found, asked) for claim in ledger.values() if paper in (None, claim.paper)]
    return {"schema": 1, "claims": entries}


def _document(entry: object, label: str) -> _Document:
    try:
        return _Document.model_validate(entry)
    except ValidationError as error:
        raise DataError(f"{label}: {_first_error(error)}: it must be a results.json of schema 1.") from None


def _import(file: Path) -> list[_Document]:
    try:
        there = file.is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        raise RequestError(f"There is no file {file} to import: give the path of a results.json.")
    try:
        content = parse(file)
    except DataError:
        raise RequestError(f"{file} is not a JSON file: give the path of a results.json.") from None
    entries = content if isinstance(content, list) else [content]
    return [_document(renamed(entry), f"{file}, document {i}") for i, entry in enumerate(entries, start=1)]


def _entry(claim: Claim, ledger: Mapping[str, Claim], found: Mapping[str, list[_Found]], asked: _Asked) -> dict:
    """Return the entry of a claim in the document of `verify`."""
    value = _value(claim, ledger)
    ours: dict[str, float | int | None] = {"ours": None, "low": None, "high": None, "n": None}
    readings, provenance = [], None
    if claim.check and claim.check.expression:
        ours["ours"], verdict, why = _arithmetic(claim, ledger)
    elif claim.check:
        from eegfmri.ledger.printed_equations import ROUTINES

        finding = ROUTINES[claim.check.routine]()
        ours["ours"], verdict = finding.value, "consistent" if finding.holds else "inconsistent"
        why = finding.why[0].upper() + finding.why[1:] + "."
    elif claim.result_key is None:
        verdict, why = "not run", _setting(claim)
    else:
        verdict, why, match = _against_results(claim, value, claim.result_key, found, asked)
        if match:
            ours = _numbers(match.result)
            provenance = _provenance(match)
            if provenance:
                why = f"{why} {_told(provenance)}"
        for key in claim.readings:
            other_verdict, other_why, other = _against_results(claim, value, key, found, asked)
            if other:
                readings.append({"key": key, **_numbers(other.result), "verdict": other_verdict, "why": other_why})
    return {
        "id": claim.id,
        "paper": claim.paper,
        "kind": claim.kind,
        "statement": claim.statement,
        "published": value,
        "unit": claim.published.unit if claim.published else "",
        **ours,
        "verdict": verdict,
        "why": why,
        "level": claim.level,
        "quote": claim.quote,
        "cite": claim.cite,
        "source": claim.source,
        "chapter": claim.chapter,
        "command": claim.command,
        "readings": readings,
        "provenance": provenance,
    }


def _provenance(match: _Found) -> dict[str, str | None] | None:
    """Say where an imported number comes from, and whether its code is that of this clone; None for a number of our own."""
    if match.file is None:
        return None
    document, environment = match.document, match.document.environment
    return {
        "file": match.file,
        "executed": environment.executed if environment else None,
        "commit": environment.commit if environment else None,
        "data": document.data.digest if document.data else None,
        "code": _code_of(document),
    }


def _code_of(document: _Document) -> str:
    """Compare the code that made a document with that of this clone: ``as here``, ``another version`` or ``unknown``."""
    from eegfmri.runner.chapters import discover
    from eegfmri.runner.execution import code_digests

    chapter = discover().get(document.chapter) if project.find_root() else None
    stated = document.environment.code if document.environment else {}
    if chapter is None or not stated:
        return "unknown"
    return "as here" if stated == code_digests(chapter) else "another version"


def _told(provenance: Mapping[str, str | None]) -> str:
    """Say in a sentence where an imported number comes from."""
    day = (provenance["executed"] or "")[:10] or "on a day that the file does not state"
    code = {"as here": "the code of this book", "another version": "another version of the code"}
    by = code.get(provenance["code"], "code that the file does not state")
    commit = f" (commit {provenance['commit']})" if provenance["commit"] else ""
    recordings = provenance["data"] or "not stated"
    return f"Imported from {provenance['file']}: executed {day} by {by}{commit}, recordings {recordings}."


def _numbers(result: Result) -> dict[str, float | int | None]:
    ends = {"low": result.low, "high": result.high}
    finite = {end: value if value is not None and math.isfinite(value) else None for end, value in ends.items()}
    return {"ours": result.number, **finite, "n": result.n}


def _setting(claim: Claim) -> str:
    whose = "the public code" if claim.cite.endswith("code") else "the authors"
    return f"A setting of {whose}, taken over by chapter {claim.chapter}: only their own run could confirm it."


def _against_results(
    claim: Claim, value: float | str | None, key: str, found: Mapping[str, list[_Found]], asked: _Asked
) -> tuple[Verdict, str, _Found | None]:
    """Judge a claim by the result under a key; return verdict, why, and the result that was used."""
    candidates = found.get(key, [])
    usable = [match for match in candidates if _obstacle(claim, match.document) is None]
    if not candidates:
        return "not run", _missing(claim, key), None
    if not usable:
        match = candidates[-1]
        return "not comparable", _obstacle(claim, match.document), match
    departures = [_departures(claim, match.document, asked) for match in usable]
    # A later run of another kind does not hide the run that was asked for.
    last = max((i for i, found in enumerate(departures) if not found), default=len(usable) - 1)
    match = usable[last]
    if departures[last]:
        return "not run", f"A result exists, but {departures[last]}: run `{claim.command}`.", match
    low, high, number = match.result.low, match.result.high, match.result.number
    if number is None:
        return "inconclusive", f"The run gave no number for {key}.", match
    if claim.kind == "stated":
        same = isinstance(value, (int, float)) and math.isclose(number, value, rel_tol=1e-6)
        return ("agrees" if same else "differs"), f"Read from the recordings: {_number(number)}.", match
    interval = f"Our interval {_interval(low, high)}"
    if claim.margin:
        verdict = judge(value, low, high, claim.margin.value)
        why = {
            "agrees": f"{interval} holds the published value and is no wider than {_number(claim.margin.value)}.",
            "differs": f"{interval} does not hold the published value.",
            "inconclusive": f"{interval} is wider than {_number(claim.margin.value)} or missing.",
        }[verdict]
    else:
        verdict = judge_expectation(claim.expect.relation, claim.expect.than, low, high)
        bound = f"{claim.expect.relation} {_number(claim.expect.than)}"
        why = {
            "agrees": f"{interval} lies wholly {bound}.",
            "differs": f"{interval} lies wholly on the other side of {bound}.",
            "inconclusive": f"{interval} lies on both sides of {bound} or is missing.",
        }[verdict]
        why = f"{why} Stated beforehand: {claim.expect.reason}."
    if claim.control and verdict in ("agrees", "differs"):
        lacking = _uncontrolled(claim.control, match.document)
        if lacking:
            return "inconclusive", f"{lacking} (Without it: {verdict}.)", match
    return verdict, why, match


def _uncontrolled(control: Control, document: _Document) -> str:
    """Say that the control of a claim does not hold in the run that would decide it; empty where it does."""
    found = next((result for result in document.results if result.key == control.key), None)
    needed = f"Its control would have to show that {control.shows}"
    if found is None:
        return f"{needed}, and the run has no {control.key}."
    low, high = found.low, found.high
    # What one training set shows has no interval: the number itself is what was seen.
    if low is None and high is None and found.n == 1:
        low = high = found.number
    if judge_expectation(control.relation, control.than, low, high) == "agrees":
        return ""
    bound = f"{control.relation} {_number(control.than)}"
    return f"{needed}, and its interval {_interval(low, high)} does not lie wholly {bound}: nothing follows from its effect."


def _missing(claim: Claim, key: str) -> str:
    """Say what a result waits for: recordings, and a chapter that computes it."""
    root = project.find_root()
    file = (root or Path()) / "book" / f"{claim.chapter}.md"
    method = key.split("/")[2]
    # Without the book's sources at hand, nothing says that the chapter does not compute it.
    if root is None or (file.is_file() and method in file.read_text(encoding="utf-8")):
        return f"Waits for {claim.dataset} recordings: `{claim.command}`."
    waiting = f"{claim.dataset} recordings and for chapter {claim.chapter}, which does not compute it yet"
    return f"Waits for {waiting}; then `{claim.command}`."


def _obstacle(claim: Claim, document: _Document) -> str | None:
    """Say why a document's results cannot be set beside a claim, or return None."""
    if document.data is None or document.data.dataset is None:
        return f"Our number was made without recordings (chapter {document.chapter}); the claim is about them."
    if document.data.simulated:
        return "Our number comes from simulated recordings, which show mechanisms and verify no published number."
    if claim.dataset not in document.data.dataset.split("+"):
        return f"Our number comes from {document.data.dataset} recordings, the claim is about {claim.dataset}."
    return None


def _departures(claim: Claim, document: _Document, asked: _Asked) -> str:
    """Say where a run departs from the parameters that the claim's profile gives its chapter; empty where it does not.

    Every public parameter counts that is not neutral, also those that the profile leaves as the chapter's cell has them.
    """
    wanted = asked[claim.chapter, claim.profile]
    if wanted is None or document.chapter != claim.chapter:
        return f"made by chapter {document.chapter} where the claim asks for {claim.chapter}"
    given, absent = document.parameters, object()
    departures = []
    for name in [*wanted, *(name for name in given if name not in wanted)]:
        value, other = wanted.get(name, absent), given.get(name, absent)
        if name in NEUTRAL or name.endswith(NEUTRAL_ENDS) or value == other:
            continue
        if other is absent:
            departures.append(f"without {name} where profile {claim.profile} has {value!r}")
        elif value is absent:
            departures.append(f"with {name} = {other!r}, which {claim.chapter} does not know")
        else:
            departures.append(f"with {name} = {other!r} where profile {claim.profile} has {value!r}")
    return ", ".join(departures)


# ------------------------------------------------------------------------------------------------------ showing


def _interval(low: float | None, high: float | None) -> str:
    return f"[{_short(low)}, {_short(high)}]"


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def table(document: Mapping) -> "pd.DataFrame":
    """Lay out the document of `verify` for a page or a terminal.

    Parameters
    ----------
    document : mapping
        As `verify` returns it.

    Returns
    -------
    pandas.DataFrame
        One row per claim, all strings: claim (its id), published (with unit), ours (with interval), verdict, why.
    """
    import pandas as pd

    rows = []
    for entry in document["claims"]:
        ours = _number(entry["ours"] if entry["ours"] is None else float(f"{entry['ours']:.4g}"))
        if entry["low"] is not None and entry["high"] is not None:
            ours = f"{ours} {_interval(entry['low'], entry['high'])}"
        value = entry["published"]
        words = isinstance(value, str) and not any(character.isdigit() for character in value)
        rows.append(
            {
                "claim": entry["id"],
                "published": _number(value) if words else f"{_number(value)} {entry['unit']}".strip(),
                "ours": ours,
                "verdict": entry["verdict"],
                "why": entry["why"],
            }
        )
    return pd.DataFrame(rows, columns=["claim", "published", "ours", "verdict", "why"], dtype=str)


def is_setting(entry: Mapping) -> bool:
    """Say whether an entry of the document of `verify` is a setting, which no recording could confirm."""
    return entry["kind"] == "stated" and entry["command"] is None


#: Verdicts that only real recordings can give an empirical claim.
TESTED = ("agrees", "differs", "inconclusive")


def coverage(document: Mapping, by: Literal["paper", "chapter"] = "paper") -> "pd.DataFrame":
    """Count how many empirical claims have been tested on real recordings, and what became of the others.

    Parameters
    ----------
    document : mapping
        As `verify` returns it.
    by : {"paper", "chapter"}, default="paper"
        What a row stands for.

    Returns
    -------
    pandas.DataFrame
        One row per paper or chapter, those without an empirical claim included: ``empirical``, ``tested``, each of `TESTED`,
        ``not comparable``, ``not run``.
    """
    import pandas as pd

    order = list(dict.fromkeys(entry[by] for entry in document["claims"]))
    columns = ["empirical", "tested", *TESTED, "not comparable", "not run"]
    totals = pd.DataFrame(0, index=pd.Index(order, name=by), columns=columns)
    for entry in document["claims"]:
        if entry["kind"] == "empirical":
            totals.loc[entry[by], ["empirical", entry["verdict"]]] += 1
            totals.loc[entry[by], "tested"] += entry["verdict"] in TESTED
    return totals


def counts(document: Mapping) -> "pd.DataFrame":
    """Count verdicts per paper.

    Parameters
    ----------
    document : mapping
        As `verify` returns it.

    Returns
    -------
    pandas.DataFrame
        One row per paper, one column per verdict in the order of `VERDICTS`, zeros included.
    """
    import pandas as pd

    order = list(dict.fromkeys(entry["paper"] for entry in document["claims"]))
    totals = pd.DataFrame(0, index=pd.Index(order, name="paper"), columns=list(VERDICTS))
    for entry in document["claims"]:
        totals.loc[entry["paper"], entry["verdict"]] += 1
    return totals
