"""The ledger of what the papers published: ``data/claims.yml``, one entry per statement.

`published` gives its value to a chapter; what our results say about it is in `eegfmri.ledger.verdicts`.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from eegfmri import project
from eegfmri.errors import DataError, RequestError
from eegfmri.ledger.arithmetic import evaluate, names_in
from eegfmri.text import load_yaml, read_text

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
Chapter = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+/[a-z0-9_]+$")]

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


class Control(_Strict):
    """A result that shows whether the model of a claim has learned anything; without it a verdict on the model's effect is vacuous.

    Attributes
    ----------
    key : str
        Of a result of the same run.
    relation : {"<", ">"}
        The side of the bound on which its whole interval must lie.
    than : float
        The bound.
    shows : str
        What it shows, as the end of "Its control would have to show that …".
    """

    key: ResultKey
    relation: Literal["<", ">"]
    than: float
    shows: str = Field(min_length=5)


class Paper(_Strict):
    """One of the papers.

    Attributes
    ----------
    cite, title : str
        BibTeX key and title.
    dataset : {"sleep", "oddball", "rest"} or None
        The dataset it used.
    chapter : str
        The chapter that rebuilds it.
    headlines : dict of str to str
        Names of the numbers that its readers remember, and the slugs of their claims.
    subjects : list of str or None
        Subjects of the dataset whom its published results need; None for all.
    """

    cite: str
    title: str
    dataset: Literal["sleep", "oddball", "rest"] | None
    chapter: Chapter
    headlines: dict[str, str] = {}
    subjects: list[str] | None = None


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
    control : Control or None
        What must hold of the same run before any other verdict than ``inconclusive`` is given.
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
    control: Control | None = None
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
            "control without a result_key": self.control is not None and self.result_key is None,
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


class _Environment(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    commit: str | None = None
    executed: str | None = None
    code: dict[str, str] = {}


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    version: Literal[1] = Field(alias="schema")
    chapter: str
    parameters: dict[str, object] = {}
    data: _Origin | None = None
    environment: _Environment | None = None
    results: list[Result]


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
    """Return the papers by the names they go by, in the ledger's order."""
    return dict(_read(_ledger(path))[0])


def subjects_needed(dataset: str) -> dict[str, list[str] | None]:
    """Return by paper the subjects of a dataset whom its published results need, None for all; nothing without a ledger."""
    if not (project.table("claims.yml")).is_file():
        return {}
    return {name: paper.subjects for name, paper in papers().items() if paper.dataset == dataset}


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
    path = project.table("claims.yml") if path is None else Path(path)
    try:
        return path, path.stat().st_mtime_ns
    except (OSError, ValueError):
        raise RequestError(f"There is no ledger at {path}: give the path of a claims.yml.") from None


@lru_cache(maxsize=4)
def _read_file(path: Path, _mtime: int) -> tuple[dict[str, Paper], dict[str, Claim]]:
    document = load_yaml(read_text(path), path.name)
    if not isinstance(document, dict) or document.get("schema") != 1 or set(document) != {"schema", "papers", "claims"}:
        raise DataError(f"{path.name} must hold schema: 1, papers and claims, and nothing else.")
    if not isinstance(document["papers"], dict) or not isinstance(document["claims"], list):
        raise DataError(f"{path.name}: papers are a mapping of names, claims a list: correct it.")
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
    for name, paper in known.items():
        for slug in paper.headlines.values():
            claim = ledger.get(f"{name}/{slug}")
            if claim is None or _value(claim, ledger) is None:
                raise DataError(
                    f"{path.name}: paper {name!r}: headlines: no claim {name}/{slug} has a published value."
                )
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
        from eegfmri.ledger.printed_equations import ROUTINES

        if claim.check.routine not in ROUTINES:
            raise ValueError(f"check.routine: there is no {claim.check.routine!r}; there are {', '.join(ROUTINES)}")
    if claim.check and claim.check.expression:
        _arithmetic(claim, ledger)
    if claim.margin and not isinstance(_value(claim, ledger), (int, float)):
        raise ValueError("margin: the published value is not a number: give expect instead")


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


def _number(value: float | str | None) -> str:
    """Write a number with up to six significant digits; texts as they are; nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if value and abs(value) >= 1e4:
        return f"{value:.0f}"
    return f"{value:.6g}".replace("-", "−", 1) if value < 0 else f"{value:.6g}"
