"""The ledger: what the four papers published, and what our results say about it.

``data/claims.yml`` holds one entry per published statement. `published` gives its value to a chapter, `verify` sets
our results beside it and returns verdicts, `table` shows them. The rules of a verdict are `judge` for a value with
an interval, `judge_expectation` for a direction, and `evaluate` for arithmetic among published numbers; nothing here
runs a model. Words of verdicts:

``consistent``, ``inconsistent``
    Arithmetic: the paper's own numbers or equations fit together, or do not.
``agrees``, ``differs``, ``inconclusive``
    Real recordings: the published value lies in our interval, which is no wider than the margin stated beforehand;
    it lies outside; the interval is too wide to say.
``not comparable``
    Our number comes from simulated recordings, or from another dataset than the claim.
``not run``
    There is no result yet; the verdict says what is missing and which command would make it.
"""

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from eegfmri import project
from eegfmri.cache import read_json
from eegfmri.errors import DataError, RequestError

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["stated", "empirical", "arithmetic", "flag"]
Relation = Literal["==", "<", "<=", ">", ">="]
Verdict = Literal["consistent", "inconsistent", "agrees", "differs", "inconclusive", "not run", "not comparable"]

#: The words of verdicts, in the order in which pages and figures show them.
VERDICTS: tuple[Verdict, ...] = (
    "consistent",
    "inconsistent",
    "agrees",
    "differs",
    "inconclusive",
    "not run",
    "not comparable",
)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
ClaimId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*/[a-z0-9_]+$")]
#: ``paper/protocol/method/metric[/variant]``
ResultKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+(/[a-z0-9_]+){3,4}$")]
Chapter = Annotated[str, StringConstraints(pattern=r"^(recordings|fusion|synthesis|verification)/[a-z0-9_]+$")]

_RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS: dict[str, str] = {"==": "", "<": "below ", "<=": "at most ", ">": "above ", ">=": "at least "}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Published(_Strict):
    """A published value with its unit, as printed or as it follows from other claims' values (``derived``)."""

    value: int | float | str | None = None
    unit: str
    derived: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "Published":
        if (self.value is None) == (self.derived is None):
            raise ValueError("give either value or derived")
        return self


class Margin(_Strict):
    """The widest interval with which we may say that a value agrees, and why this one."""

    value: float = Field(gt=0)
    reason: str = Field(min_length=10)


class Expectation(_Strict):
    """The side of a bound on which our whole interval must lie, and why this bound."""

    relation: Literal["<", ">"]
    than: float
    reason: str = Field(min_length=10)


class Check(_Strict):
    """How a statement is computed now: an expression over other claims, or a test of a printed equation.

    An expression is rounded to ``decimals`` and compared by ``relation`` with ``than``: a number, another claim, or
    by default the published value of the claim itself.
    """

    expression: str | None = None
    routine: Name | None = None
    relation: Relation = "=="
    than: int | float | ClaimId | None = None
    decimals: int | None = Field(default=None, ge=0, le=12)

    @model_validator(mode="after")
    def _one_of_two(self) -> "Check":
        if (self.expression is None) == (self.routine is None):
            raise ValueError("give either expression or routine")
        return self


class Paper(_Strict):
    """One of the four papers: BibTeX key, title, the dataset it used (None: none), the chapter that rebuilds it."""

    cite: str
    title: str
    dataset: Literal["sleep", "oddball", "rest"] | None
    chapter: Chapter


class Claim(_Strict):
    """One statement of a paper, with its source and the way it is put to the test.

    Attributes
    ----------
    id : str
        ``paper/slug``.
    kind : {"stated", "empirical", "arithmetic", "flag"}
        A fact about data or method; a finding; a relation among published numbers; a doubtful statement or equation.
    statement : str
        Plain English; a verdict speaks about this sentence.
    published : Published or None
        The value, where one is printed.
    quote : str
        Words of the paper, verbatim; empty only where the source is not the paper's text.
    cite, source : str
        BibTeX key, and section, table, figure or equation.
    protocol, dataset : str or None
        How subjects or volumes were held out, and the recordings a result must come from.
    margin, expect : Margin, Expectation or None
        The rule of an empirical verdict, stated before there is a result.
    result_key, readings : str or None, list of str
        The result that decides, and the results for other readings of the paper, shown beside it.
    uses, check : dict of str to str, Check or None
        Names in an expression and the claims they stand for; what is computed.
    chapter, profile : str
        Where the result is made.
    """

    id: ClaimId
    kind: Kind
    statement: str = Field(min_length=10, pattern=r"\.$")
    published: Published | None = None
    quote: str = ""
    cite: str
    source: str
    protocol: Name | None = None
    dataset: Literal["sleep", "oddball", "rest"] | None = None
    margin: Margin | None = None
    expect: Expectation | None = None
    result_key: ResultKey | None = None
    readings: list[ResultKey] = []
    uses: dict[Name, ClaimId] = {}
    check: Check | None = None
    chapter: Chapter
    profile: Literal["quick", "full"] = "full"

    @model_validator(mode="after")
    def _complete(self) -> "Claim":
        problems = {
            "published is missing": self.published is None and self.kind in ("stated", "empirical"),
            "result_key is missing": self.result_key is None and self.kind == "empirical",
            "give either margin or expect": self.kind == "empirical" and bool(self.margin) == bool(self.expect),
            "check is missing": self.check is None and self.kind == "arithmetic",
            "check does not belong to this kind": self.check is not None and self.kind in ("stated", "empirical"),
            "give either check, or result_key with expect": self.kind == "flag"
            and bool(self.check) == bool(self.result_key and self.expect),
            "dataset is missing": self.result_key is not None and self.dataset is None,
            "readings without a result_key": bool(self.readings) and self.result_key is None,
        }
        for problem, found in problems.items():
            if found:
                raise ValueError(problem)
        return self

    @property
    def paper(self) -> str:
        """Name of the paper."""
        return self.id.partition("/")[0]

    @property
    def level(self) -> str:
        """Best level a verdict can reach: a new implementation replicates; arithmetic and settings reach none."""
        return "replicate" if self.result_key else "n/a"

    @property
    def command(self) -> str | None:
        """Command that makes the result, or None where there is nothing to run."""
        return f"eegfmri run {self.chapter} --profile {self.profile} --data DIR" if self.result_key else None


class Result(_Strict):
    """One result of a results document: a number in most cases, None where there was none."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    key: str
    value: int | float | bool | str | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    n: int | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Result":
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"the interval of {self.key} is turned round: low {self.low} is above high {self.high}")
        return self

    @property
    def number(self) -> float | None:
        """The value where it is a finite number, else None."""
        plain = isinstance(self.value, (int, float)) and not isinstance(self.value, bool)
        return self.value if plain and math.isfinite(self.value) else None


class _Origin(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    dataset: str | None
    simulated: bool
    digest: str | None = None


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    version: Literal[1] = Field(alias="schema")
    chapter: str
    parameters: dict[str, object] = {}
    data: _Origin | None = None
    results: list[Result]


class _Found(NamedTuple):
    result: Result
    document: _Document


def _first_error(error: ValidationError, skip: int = 0) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][skip:]) or "entry"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"


# ---------------------------------------------------------------------------------------------- reading the ledger


def load(path: str | Path | None = None) -> list[Claim]:
    """Read the ledger.

    Parameters
    ----------
    path : str, pathlib.Path or None
        A ledger; by default the project's ``data/claims.yml``.

    Returns
    -------
    list of Claim
        In the ledger's order.

    Raises
    ------
    DataError
        If an entry is malformed or refers to a claim that does not exist, with the claim and the field.
    """
    return list(_read(_ledger(path))[1].values())


def papers(path: str | Path | None = None) -> dict[str, Paper]:
    """Return the four papers by the names they go by, in the ledger's order."""
    return dict(_read(_ledger(path))[0])


def published(claim_id: str, path: str | Path | None = None) -> int | float | str:
    """Return a published value, for the prose and the figures of a chapter.

    Parameters
    ----------
    claim_id : str
        ``paper/slug``.
    path : str, pathlib.Path or None
        A ledger; by default the project's.

    Returns
    -------
    int, float or str
        The value as printed, or as it follows from other published values.

    Raises
    ------
    RequestError
        If there is no such claim, or no value was printed for it.
    """
    ledger = _read(_ledger(path))[1]
    if claim_id not in ledger:
        raise RequestError(f"No claim {claim_id!r} stands in the ledger; {_nearest(claim_id, ledger)}")
    value = _value(ledger[claim_id], ledger)
    if value is None:
        raise RequestError(f"Claim {claim_id!r} has no published value: it is a {ledger[claim_id].kind}.")
    return value


def _nearest(name: str, known: Iterable[str]) -> str:
    import difflib

    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}."


def _ledger(path: str | Path | None) -> tuple[Path, int]:
    path = project.data_dir() / "claims.yml" if path is None else Path(path)
    try:
        return path, path.stat().st_mtime_ns
    except FileNotFoundError:
        raise RequestError(f"There is no ledger at {path}: give the path of a claims.yml.") from None


@lru_cache(maxsize=4)
def _read_file(path: Path, _mtime: int) -> tuple[dict[str, Paper], dict[str, Claim]]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{path.name} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(document, dict) or document.get("schema") != 1 or set(document) != {"schema", "papers", "claims"}:
        raise DataError(f"{path.name} must hold schema: 1, papers and claims, and nothing else.")
    known = {}
    for name, entry in document["papers"].items():
        try:
            known[name] = Paper.model_validate(entry)
        except ValidationError as error:
            raise DataError(f"{path.name}: paper {name!r}: {_first_error(error)}.") from None
    ledger: dict[str, Claim] = {}
    for number, entry in enumerate(document["claims"], start=1):
        label = f"claim {entry['id']!r}" if isinstance(entry, dict) and "id" in entry else f"claim number {number}"
        if not isinstance(entry, dict):
            raise DataError(f"{path.name}: {label}: a claim is a mapping of fields.")
        paper = known.get(str(entry.get("id", "")).partition("/")[0])
        if paper is None:
            raise DataError(f"{path.name}: {label}: id: it must begin with one of {', '.join(known)}.")
        try:
            claim = Claim.model_validate(_defaults(entry, paper) | entry)
        except ValidationError as error:
            raise DataError(f"{path.name}: {label}: {_first_error(error)}.") from None
        if claim.id in ledger:
            raise DataError(f"{path.name}: {label}: id: it stands twice.")
        if not claim.quote and claim.cite == paper.cite:
            raise DataError(f"{path.name}: {label}: quote: a claim from the paper's text quotes it.")
        ledger[claim.id] = claim
    for claim in ledger.values():
        try:
            _cross_check(claim, ledger)
        except ValueError as error:
            raise DataError(f"{path.name}: claim {claim.id!r}: {error}.") from None
    return known, ledger


def _read(ledger: tuple[Path, int]) -> tuple[dict[str, Paper], dict[str, Claim]]:
    return _read_file(*ledger)


def _defaults(entry: dict, paper: Paper) -> dict:
    """Return what an entry leaves to its paper; results of recordings chapters are made there, not in the paper's."""
    place = str(entry.get("result_key") or "").partition("/")[0]
    own = not place or place == str(entry["id"]).partition("/")[0]
    return {
        "cite": paper.cite,
        "dataset": paper.dataset,
        "chapter": paper.chapter if own else f"recordings/{place}",
    }


def _cross_check(claim: Claim, ledger: Mapping[str, Claim]) -> None:
    """Raise ValueError where a claim refers to what is not there or cannot be computed."""
    for name, other in claim.uses.items():
        if other not in ledger:
            raise ValueError(f"uses.{name}: there is no claim {other!r}")
    expressions = [
        claim.check.expression if claim.check else None,
        claim.published.derived if claim.published else None,
    ]
    names = set().union(*(names_in(expression) for expression in expressions if expression))
    if names != set(claim.uses):
        missing, spare = sorted(names - set(claim.uses)), sorted(set(claim.uses) - names)
        raise ValueError(f"uses: {'missing ' + ', '.join(missing) if missing else 'not used: ' + ', '.join(spare)}")
    if claim.check and claim.check.routine:
        from eegfmri.printed_equations import ROUTINES

        if claim.check.routine not in ROUTINES:
            raise ValueError(f"check.routine: there is no {claim.check.routine!r}; there are {', '.join(ROUTINES)}")
    if claim.check and claim.check.expression:
        _arithmetic(claim, ledger)
    if claim.margin and not isinstance(_value(claim, ledger), (int, float)):
        raise ValueError("margin: the published value is not a number: give expect instead")


# --------------------------------------------------------------------------------------------------- arithmetic

_BINARY: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable] = {"sqrt": math.sqrt, "log10": math.log10, "abs": abs, "min": min, "max": max}
_LARGEST_EXPONENT = 100


def names_in(expression: str) -> set[str]:
    """Return the names an expression needs values for, functions excluded.

    Parameters
    ----------
    expression : str
        As for `evaluate`.

    Returns
    -------
    set of str
        The names.

    Raises
    ------
    ValueError
        If it is not an expression.
    """
    try:
        tree = ast.parse(expression, mode="eval")
    except SyntaxError:
        raise ValueError(f"expression: {expression!r} cannot be read") from None
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in called}


def evaluate(expression: str, values: Mapping[str, float]) -> float:
    """Compute an arithmetic expression over named numbers; nothing else is possible in it.

    Parameters
    ----------
    expression : str
        Numbers, names, ``+ - * / // % **``, brackets, and sqrt, log10, abs, min, max.
    values : mapping of str to float
        Numbers by name.

    Returns
    -------
    float
        The result.

    Raises
    ------
    ValueError
        If the expression holds anything else, lacks a name, or has no finite result.
    """
    names_in(expression)
    try:
        result = _evaluated(ast.parse(expression, mode="eval").body, values)
    except (ArithmeticError, TypeError) as error:
        raise ValueError(f"expression: {expression!r} has no value: {error}") from None
    if isinstance(result, complex) or not math.isfinite(result):
        raise ValueError(f"expression: {expression!r} has no finite value")
    return result


def _evaluated(node: ast.expr, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluated(operand, values)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            first, second = _evaluated(left, values), _evaluated(right, values)
            if isinstance(op, ast.Pow) and (abs(second) > _LARGEST_EXPONENT or abs(first) > 1e9):
                raise ValueError(f"expression: a power of {first:g} to the {second:g} is too large")
            return _BINARY[type(op)](first, second)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            arguments = [_evaluated(arg, values) for arg in args]
            try:
                return _FUNCTIONS[name](*arguments)
            except ValueError as error:
                raise ValueError(f"expression: {ast.unparse(node)!r} has no value: {error}") from None
    raise ValueError(f"expression: {ast.unparse(node)!r} is not allowed")


def _value(claim: Claim, ledger: Mapping[str, Claim], asked: tuple[str, ...] = ()) -> int | float | str | None:
    """Return a claim's published value, derived ones computed."""
    if claim.published is None:
        return None
    if claim.published.derived is None:
        return claim.published.value
    if claim.id in asked:
        raise ValueError(f"published.derived: it depends on itself through {' and '.join(asked)}")
    return evaluate(claim.published.derived, _named_values(claim, ledger, (*asked, claim.id)))


def _named_values(claim: Claim, ledger: Mapping[str, Claim], asked: tuple[str, ...] = ()) -> dict[str, float]:
    values = {}
    for name, other in claim.uses.items():
        value = _value(ledger[other], ledger, asked)
        if not isinstance(value, (int, float)):
            raise ValueError(f"uses.{name}: claim {other!r} has no number")
        values[name] = value
    return values


def _arithmetic(claim: Claim, ledger: Mapping[str, Claim]) -> tuple[float, Verdict, str]:
    """Return what the expression of a claim gives, its verdict and why."""
    check = claim.check
    value = evaluate(check.expression, _named_values(claim, ledger))
    if isinstance(check.than, str):
        if check.than not in ledger:
            raise ValueError(f"check.than: there is no claim {check.than!r}")
        bound = _value(ledger[check.than], ledger)
    else:
        bound = check.than if check.than is not None else _value(claim, ledger)
    if not isinstance(bound, (int, float)):
        raise ValueError("check.than: there is no number to compare with")
    # binary fractions: 0.5 * 4720 is exact, 0.485 + 0.1 is not, so rounding comes before comparing
    rounded = round(value, 12 if check.decimals is None else check.decimals)
    holds = _RELATIONS[check.relation](rounded, bound)
    numbers = ", ".join(f"{name} = {_number(number)}" for name, number in _named_values(claim, ledger).items())
    outcome = _number(rounded)
    if check.decimals is not None and rounded != round(value, 12):
        outcome += f" to {check.decimals} decimal{'s' if check.decimals != 1 else ''}"
    words = f"{'' if holds else 'not '}{_WORDS[check.relation]}{_number(bound)}"
    why = f"`{check.expression}` with {numbers} is {outcome}, {words}{'' if check.than is not None else ' as printed'}."
    return rounded, "consistent" if holds else "inconsistent", why


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
        ``results.json`` documents; by default those of the last build and of later runs. Of two results under one key
        the one from real recordings counts, and of two of those the later in the list.
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
        published, unit, ours, low, high, n, verdict, why, level, quote, cite, source, chapter, command, readings.

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
    documents = [_document(entry, f"results document number {i}") for i, entry in enumerate(results, start=1)]
    for file in imported:
        documents += _import(Path(file))
    found: dict[str, list[_Found]] = {}
    for document in documents:
        for result in document.results:
            found.setdefault(result.key, []).append(_Found(result, document))
    entries = [_entry(claim, ledger, found) for claim in ledger.values() if paper in (None, claim.paper)]
    return {"schema": 1, "claims": entries}


def _document(entry: object, label: str) -> _Document:
    try:
        return _Document.model_validate(entry)
    except ValidationError as error:
        raise DataError(f"{label}: {_first_error(error)}: it must be a results.json of schema 1.") from None


def _import(file: Path) -> list[_Document]:
    try:
        content = read_json(file)
    except FileNotFoundError:
        raise RequestError(f"There is no file {file} to import: give the path of a results.json.") from None
    except (ValueError, IsADirectoryError):
        raise RequestError(f"{file} is not a JSON file: give the path of a results.json.") from None
    entries = content if isinstance(content, list) else [content]
    return [_document(entry, f"{file}, document {i}") for i, entry in enumerate(entries, start=1)]


def _entry(claim: Claim, ledger: Mapping[str, Claim], found: Mapping[str, list[_Found]]) -> dict:
    """Return the entry of a claim in the document of `verify`."""
    value = _value(claim, ledger)
    ours: dict[str, float | int | None] = {"ours": None, "low": None, "high": None, "n": None}
    readings = []
    if claim.check and claim.check.expression:
        ours["ours"], verdict, why = _arithmetic(claim, ledger)
    elif claim.check:
        from eegfmri.printed_equations import ROUTINES

        finding = ROUTINES[claim.check.routine]()
        ours["ours"], verdict = finding.value, "consistent" if finding.holds else "inconsistent"
        why = finding.why[0].upper() + finding.why[1:] + "."
    elif claim.result_key is None:
        verdict, why = "not run", _setting(claim)
    else:
        verdict, why, match = _against_results(claim, value, claim.result_key, found)
        if match:
            ours = _numbers(match.result)
        for key in claim.readings:
            other_verdict, other_why, other = _against_results(claim, value, key, found)
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
    }


def _numbers(result: Result) -> dict[str, float | int | None]:
    ends = {"low": result.low, "high": result.high}
    finite = {end: value if value is not None and math.isfinite(value) else None for end, value in ends.items()}
    return {"ours": result.number, **finite, "n": result.n}


def _setting(claim: Claim) -> str:
    whose = "the public code" if claim.cite.endswith("code") else "the authors"
    return f"A setting of {whose}, taken over by chapter {claim.chapter}: only their own run could confirm it."


def _against_results(
    claim: Claim, value: float | str | None, key: str, found: Mapping[str, list[_Found]]
) -> tuple[Verdict, str, _Found | None]:
    """Judge a claim by the result under a key; return verdict, why, and the result that was used."""
    candidates = found.get(key, [])
    usable = [match for match in candidates if _obstacle(claim, match.document) is None]
    if not candidates:
        return "not run", _missing(claim, key), None
    if not usable:
        match = candidates[-1]
        return "not comparable", _obstacle(claim, match.document), match
    match = usable[-1]
    departures = _departures(claim, match.document)
    if departures:
        return "not run", f"A result exists, but with {departures}: run `{claim.command}`.", match
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
    return verdict, why, match


def _missing(claim: Claim, key: str) -> str:
    """Say what a result waits for: recordings, and a chapter that computes it."""
    file = project.book_dir() / f"{claim.chapter}.md"
    method = key.split("/")[2]
    if file.is_file() and method in file.read_text(encoding="utf-8"):
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


def _departures(claim: Claim, document: _Document) -> str:
    """Say where a run departs from the profile that the claim asks for; empty where it does not.

    Only what the profile sets for this chapter counts: its values for every chapter concern simulated recordings.
    """
    import yaml

    file = project.book_dir() / "profiles.yml"
    if not file.is_file():
        return ""
    profiles = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    wanted = (profiles.get(claim.profile) or {}).get(document.chapter) or {}
    given = document.parameters
    return ", ".join(
        f"{name} = {given.get(name)!r} where profile {claim.profile} has {value!r}"
        for name, value in wanted.items()
        if given.get(name) != value
    )


# ------------------------------------------------------------------------------------------------------ showing


def _number(value: float | str | None) -> str:
    """Write a number with up to six significant digits; texts as they are; nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if value and abs(value) >= 1e4:
        return f"{value:.0f}"
    return f"{value:.6g}".replace("-", "−", 1) if value < 0 else f"{value:.6g}"


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
