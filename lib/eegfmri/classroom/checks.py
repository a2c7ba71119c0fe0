"""Answers that check themselves: right, near, or why not, without the solution in clear.

A student's notebook holds, for each exercise, salted hashes: of the expected number on a grid as fine as the
tolerance asks, of normalised words, or, where many answers are right, the properties that all of them have. Whoever
wants to find the number by trying all of them can; whoever only looks does not see it.
"""

import difflib
import hashlib
import json
import math
import numbers
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eegfmri.errors import RequestError

#: Cells of the grid to each side of an answer that are taken for it: the tolerance is met to within a cell.
CELLS = 4

#: Rounds of hashing: a check takes some ten milliseconds, a search through a million numbers hours.
ROUNDS = 2000

#: Share of the expected number by which an answer may differ to be right, or near, where the exercise says nothing else.
RIGHT, NEAR = 0.02, 0.1

#: Slips that are recognised: what the answer is multiplied by, and what is said.
SLIPS = (
    (-1.0, "the size is right, the sign is not."),
    (0.01, "it is a hundred times too large: a share, or percent?"),
    (100.0, "it is a hundred times too small: a share, or percent?"),
    (0.001, "it is a thousand times too large: which unit was asked for?"),
    (1000.0, "it is a thousand times too small: which unit was asked for?"),
)


@dataclass(frozen=True, repr=False)
class Verdict:
    """What is said of an answer; a notebook shows the sentence.

    Attributes
    ----------
    kind : {"right", "near", "wrong", "open"}
        Open where nothing has been answered, or nothing is known to compare with.
    sentence : str
        For the reader.
    """

    kind: str
    sentence: str

    def __repr__(self) -> str:
        return self.sentence

    def __bool__(self) -> bool:
        return self.kind == "right"


class Checks:
    """The exercises of a notebook, called with the label of one and an answer.

    Parameters
    ----------
    document : str or Mapping
        As `sealed` makes it for each label; JSON or read from it.

    Examples
    --------
    >>> check = Checks({"sum": sealed("sum", {"value": 4})})
    >>> check("sum", 2 + 2)
    Right.
    >>> check("sum", 5)
    Not yet: 5 is not what was expected.
    >>> check("sum", ...)
    Nothing is answered yet: put your own code where the three dots stand.
    """

    def __init__(self, document: str | Mapping):
        self._exercises = json.loads(document) if isinstance(document, str) else dict(document)

    def __call__(self, exercise: str, answer: object) -> Verdict:
        """Judge an answer.

        Parameters
        ----------
        exercise : str
            Label of the exercise.
        answer : object
            A number, a word, a list of words, or an array.

        Returns
        -------
        Verdict
            Its sentence is what a notebook shows.

        Raises
        ------
        RequestError
            If there is no such exercise.
        """
        if exercise not in self._exercises:
            close = difflib.get_close_matches(str(exercise), self._exercises, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(self._exercises)}."
            raise RequestError(f"No exercise {exercise!r} is checked here: {hint}")
        if answer is ...:
            return Verdict("open", "Nothing is answered yet: put your own code where the three dots stand.")
        seal = self._exercises[exercise]
        if answer is None:
            return Verdict("wrong", "Not yet: the answer is None; does the last line of your code give a value?")
        return {"number": _number, "words": _words, "has": _has, "open": _open}[seal["kind"]](seal, answer)


def sealed(label: str, answer: Mapping) -> dict:
    """Return what a student's notebook holds of an expected answer.

    Parameters
    ----------
    label : str
        Of the exercise; part of the salt, so that equal answers of two exercises look different.
    answer : Mapping
        ``value`` (a number; with ``right`` and ``near``, how far an answer may be off, and ``wrong``, pairs of a
        number and what is said of it), or ``words`` (a word or the words any of which will do; a list of lists where
        all of an inner one are needed), or ``has`` (properties: ``shape``, ``range``, ``rising``, ``falling``,
        ``whole``, ``sum``). With none of them the exercise stays open.

    Returns
    -------
    dict
        JSON without the answer in clear, unless it is made of properties.

    Raises
    ------
    RequestError
        If the answer is of no such form.
    """
    salt = hashlib.sha256(f"eegfmri classroom {label}".encode()).hexdigest()[:16]
    if answer.get("value") is not None:
        value = answer["value"]
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise RequestError(f"Exercise {label}: the expected answer is {value!r}, not a finite number.")
        whole = isinstance(value, numbers.Integral)
        right = answer.get("right", 0 if whole else RIGHT * abs(value))
        near = answer.get("near", NEAR * abs(value))
        grids = [_step(right, value), _step(max(near, right), value)]
        said = [
            {"hash": _hash(salt, _cell(float(other), grids[0])), "said": sentence}
            for other, sentence in answer.get("wrong", ())
        ]
        hashes = [_hash(salt, _cell(float(value), step)) for step in grids]
        return {"kind": "number", "salt": salt, "steps": grids, "hashes": hashes, "wrong": said, "zero": value == 0}
    if "words" in answer:
        given = [answer["words"]] if isinstance(answer["words"], str) else list(answer["words"])
        return {"kind": "words", "salt": salt, "hashes": sorted(_hash(salt, _normal(words)) for words in given)}
    if "has" in answer:
        unknown = set(answer["has"]) - set(_PROPERTIES)
        if unknown:
            raise RequestError(
                f"Exercise {label}: no property {', '.join(sorted(unknown))}: choose from {', '.join(_PROPERTIES)}."
            )
        return {"kind": "has", "properties": dict(answer["has"])}
    return {"kind": "open"}


# --- numbers ---------------------------------------------------------------------------------------------------------


def _step(tolerance: float, value: float) -> float:
    """Return the width of the grid's cells, to two digits, so that it does not tell the number that it was taken from."""
    least = 1e-9 * max(abs(value), 1.0)
    return float(f"{max(tolerance / CELLS, least):.1e}")


def _cell(value: float, step: float) -> str:
    return str(round(value / step))


def _hash(salt: str, text: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", text.encode(), salt.encode(), ROUNDS).hex()[:24]


def _number(seal: Mapping, answer: object) -> Verdict:
    value = _as_number(answer)
    if value is None:
        return Verdict("wrong", f"Not yet: one number is expected, and this is {_described(answer)}.")
    if not math.isfinite(value):
        return Verdict("wrong", f"Not yet: the answer is {value}, which no measurement is: where does it arise?")
    right, near = (_on_grid(seal, value, level) for level in (0, 1))
    if right:
        return Verdict("right", "Right.")
    for other in seal["wrong"]:
        if _matches(seal["salt"], [other["hash"]], value, seal["steps"][0]):
            return Verdict("wrong", f"Not yet: {other['said']}")
    if near:
        return Verdict("near", f"Near: {value:.4g} is about right; look at rounding, units and what is counted.")
    if not seal["zero"] and value:
        for factor, said in SLIPS:
            if _on_grid(seal, value * factor, 0):
                return Verdict("wrong", f"Not yet: {said}")
    return Verdict("wrong", f"Not yet: {value:.4g} is not what was expected.")


def _on_grid(seal: Mapping, value: float, level: int) -> bool:
    return _matches(seal["salt"], [seal["hashes"][level]], value, seal["steps"][level])


def _matches(salt: str, hashes: Iterable[str], value: float, step: float) -> bool:
    cell = round(value / step)
    return any(_hash(salt, str(cell + off)) in hashes for off in range(-CELLS, CELLS + 1))


def _as_number(answer: object) -> float | None:
    """Return a single number, also out of an array or a series of one; a text that spells one counts."""
    if hasattr(answer, "item") and getattr(answer, "size", 0) == 1:
        answer = answer.item()
    if isinstance(answer, str):
        try:
            return float(answer.strip().rstrip("%").replace(",", "."))
        except ValueError:
            return None
    return float(answer) if isinstance(answer, numbers.Real) else None


def _described(answer: object) -> str:
    shape = getattr(answer, "shape", None)
    if shape:
        return f"a {type(answer).__name__} of shape {tuple(shape)}"
    if isinstance(answer, str):
        return f"the text {answer[:40]!r}"
    if isinstance(answer, (list, tuple, set, dict)):
        return f"a {type(answer).__name__} of {len(answer)}"
    return f"a {type(answer).__name__}"


# --- words -----------------------------------------------------------------------------------------------------------


def _normal(words: object) -> str:
    """Return words in one spelling: lower case, no accents, no punctuation; several in alphabetical order."""
    if isinstance(words, bool) or type(words).__name__ == "bool":
        words = "yes" if words else "no"
    if not isinstance(words, str) and isinstance(words, Iterable):
        return "|".join(sorted(_normal(word) for word in words))
    text = unicodedata.normalize("NFKD", str(words)).casefold()
    text = "".join(letter if letter.isalnum() else " " for letter in text if not unicodedata.combining(letter))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def _words(seal: Mapping, answer: object) -> Verdict:
    if _hash(seal["salt"], _normal(answer)) in seal["hashes"]:
        return Verdict("right", "Right.")
    shown = answer if isinstance(answer, (str, bool)) else _described(answer)
    return Verdict("wrong", f"Not yet: {str(shown)[:80]} is not what was expected.")


# --- properties ------------------------------------------------------------------------------------------------------


def _has(seal: Mapping, answer: object) -> Verdict:
    import numpy as np

    try:
        values = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        return Verdict("wrong", f"Not yet: numbers are expected, and this is {_described(answer)}.")
    for name, wanted in seal["properties"].items():
        problem = _PROPERTIES[name](values, wanted)
        if problem:
            return Verdict("wrong", f"Not yet: {problem}")
    return Verdict("right", "Right, as far as this can be checked.")


def _shape(values, wanted) -> str:
    fits = len(values.shape) == len(wanted) and all(
        b is None or a == b for a, b in zip(values.shape, wanted, strict=True)
    )
    shown = " × ".join("any" if n is None else str(n) for n in wanted) or "a single number"
    return "" if fits else f"the shape is {values.shape}, expected is {shown}."


def _range(values, wanted) -> str:
    low, high = wanted
    if not values.size or not math.isfinite(values.min()) or not math.isfinite(values.max()):
        return "some values are no finite numbers."
    outside = values[(values < low) | (values > high)]
    return f"{outside[0]:.4g} lies outside {low:g} to {high:g}." if outside.size else ""


def _rising(values, _wanted) -> str:
    import numpy as np

    return "" if (np.diff(values.ravel()) >= 0).all() else "the values should never fall, and somewhere they do."


def _falling(values, wanted) -> str:
    return "the values should never rise, and somewhere they do." if _rising(-values, wanted) else ""


def _whole(values, _wanted) -> str:
    return "" if (values == values.round()).all() else "whole numbers are expected."


def _sum(values, wanted) -> str:
    total = float(values.sum())
    near = math.isclose(total, wanted, rel_tol=1e-6, abs_tol=1e-9)
    return "" if near else f"the values should add up to {wanted:g}, and add up to {total:.4g}."


_PROPERTIES = {"shape": _shape, "range": _range, "rising": _rising, "falling": _falling, "whole": _whole, "sum": _sum}


def _open(_seal: Mapping, _answer: object) -> Verdict:
    return Verdict("open", "No expected answer was at hand when this notebook was made: compare with your neighbour.")
