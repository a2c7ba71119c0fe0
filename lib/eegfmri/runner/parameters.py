"""Parameters: what a chapter's parameters cell declares, which values it takes, and how a value reaches a kernel.

Nothing of a cell is executed to know its parameters. Types are read from the syntax tree and made of a short list of names
(`TYPES`, ``Literal``, ``Optional``, ``Union`` and ``|``); defaults are literals. The comment beside a parameter is its help, and brackets
at its end are its range, part of what is checked::

    n_blocks: int = 3                       # blocks of a session [2 to 20]
    density: float = 0.2                    # share of edges [above 0 to 1]
    eeg_epochs: int = 3                     # epochs in a window [odd, 1 to 21]
    classes: list[str] = ["W", "N1"]        # stages [2 to 4 different]
    noise_levels: list[float] = [0.0, 1.0]  # of planted activity [1 to 12 different, each 0 to 100]

Numbers are finite, texts are printable. So whatever has passed is a plain value that Python, JSON and a terminal can hold.
"""

import ast
import builtins
import io
import math
import re
import tokenize
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from eegfmri.errors import EegFmriError, is_printable

#: The parameter that the runner fills: None for simulated recordings, else the path given to ``--data``.
RESERVED = "data"

#: What a type is made of, beside ``None``, ``Literal``, ``Optional``, ``Union`` and ``|``.
TYPES = ("bool", "int", "float", "str", "list", "tuple", "dict")

#: Characters of a value that a message quotes.
QUOTED = 80


@dataclass(frozen=True)
class Range:
    """Which numbers a parameter takes, or how many values a list has and which.

    Attributes
    ----------
    text : str
        As the comment writes it, without the brackets.
    low, high : float or None
        Ends of the numbers; None where only the length of a list is bounded.
    above, below : bool
        Whether the lower, the upper end is left out.
    parity : str or None
        ``odd`` or ``even`` where only such numbers are taken.
    fewest, most : int or None
        Ends of the number of values of a list; None for a single number.
    different : bool
        Whether no value of the list may occur twice.
    """

    text: str
    low: float | None = None
    high: float | None = None
    above: bool = False
    below: bool = False
    parity: str | None = None
    fewest: int | None = None
    most: int | None = None
    different: bool = False

    @classmethod
    def read(cls, text: str) -> "Range":
        """Read a range; `ValueError` if it is not written as the head of this module says."""
        match = _RANGE.fullmatch(text)
        if match is None or (match["each"] is not None) != (match["items"] is not None and match["span"] is not None):
            raise ValueError(text)
        found = {"text": text}
        if match["items"] is not None:
            found |= {
                "fewest": int(match["fewest"]),
                "most": int(match["most"]),
                "different": match["kind"] == "different",
            }
        if match["span"] is not None:
            found |= {"low": _number(match["low"]), "high": _number(match["high"]), "parity": match["parity"]}
            found |= {"above": match["above"] is not None, "below": match["below"] is not None}
            if found["low"] > found["high"]:
                raise ValueError(text)
        return cls(**found)

    def number(self, value: float) -> float:
        """Return a number that lies in the range; `ValueError` for any other."""
        if self.low is None:
            return value
        inside = (value > self.low if self.above else value >= self.low) and (
            value < self.high if self.below else value <= self.high
        )
        if not inside or (self.parity is not None and value % 2 != (self.parity == "odd")):
            raise ValueError(self.text)
        return value

    def values(self, values: list | tuple) -> list | tuple:
        """Return a list of allowed length; `ValueError` for any other."""
        if self.fewest is not None and not self.fewest <= len(values) <= self.most:
            raise ValueError(self.text)
        if self.different and any(value in values[:position] for position, value in enumerate(values)):
            raise ValueError(self.text)
        return values


_NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
_RANGE = re.compile(
    r"(?P<items>(?P<fewest>\d+) to (?P<most>\d+) (?P<kind>values|different))?"
    r"(?P<each>, each )?"
    rf"(?P<span>(?:(?P<parity>odd|even), )?(?P<above>above )?(?P<low>{_NUMBER}) to (?P<below>below )?(?P<high>{_NUMBER}))?"
)
_BRACKETS = re.compile(r"^(?P<help>.*?)\s*\[(?P<range>[^\[\]]*)\]$")


def _number(text: str) -> float:
    return float(text) if re.search(r"[.e]", text) else int(text)


@dataclass(frozen=True)
class Parameter:
    """One public parameter of a chapter, as its parameters cell declares it.

    Attributes
    ----------
    name, annotation : str
        Name and type, as Python writes them.
    default : object
        A plain value.
    help : str
        The comment beside it, without the range.
    range : Range or None
        Which values of the type are taken.
    """

    name: str
    annotation: str
    default: object
    help: str = ""
    range: Range | None = None

    @property
    def expected(self) -> str:
        """Type and range, for messages and tables."""
        return self.annotation if self.range is None else f"{self.annotation}, {self.range.text}"

    def described(self) -> dict[str, object]:
        """Describe the parameter for ``eegfmri chapters`` and the box of its chapter: name, type, range, default, help."""
        text = None if self.range is None else self.range.text
        return {"name": self.name, "type": self.annotation, "range": text, "default": self.default, "help": self.help}

    @cached_property
    def _adapter(self):
        from pydantic import TypeAdapter

        return TypeAdapter(_type_of(ast.parse(self.annotation, mode="eval").body, self.range))

    def validate(self, value: object) -> object:
        """Return ``value`` as the annotation's type holds it.

        Raises
        ------
        ValueError
            If it is not of the type or outside the range; nothing is converted except an integer to a float and between list and tuple.
        """
        from pydantic import ValidationError

        candidates = [value]
        if isinstance(value, (list, tuple)):
            candidates.append(list(value) if isinstance(value, tuple) else tuple(value))
        for candidate in candidates:
            try:
                return self._adapter.validate_python(candidate, strict=True)
            except (ValidationError, OverflowError, RecursionError) as error:
                problem = error
        raise ValueError(str(problem))

    def parse(self, text: str) -> object:
        """Return the value that ``text`` of the command line means: a Python literal, else the text itself."""
        try:
            return self.validate(ast.literal_eval(text))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return self.validate(text)


def quoted(value: object) -> str:
    """Return a value as a message quotes it: escaped, and cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; what holds itself
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}…"


def source_of(value: object) -> str:
    """Write a plain value as Python source, so that it enters a cell as data and never as code.

    Parameters
    ----------
    value : object
        None, a truth value, a number, a text, or a list, tuple or dict of such.

    Returns
    -------
    str
        A literal that evaluates to the value.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if isinstance(value, (list, tuple)):
        items = [source_of(item) for item in value]
        if isinstance(value, list):
            return f"[{', '.join(items)}]"
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{source_of(key)}: {source_of(item)}' for key, item in value.items())}}}"
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return repr(value)
    raise TypeError(
        f"A {type(value).__name__} cannot be passed to a chapter: give None, a number, a text or a list of them."
    )


def read_parameters(source: str, path: Path | str = "the parameters cell", line: int = 1) -> dict[str, Parameter]:
    """Read the parameters that a cell declares, without running it.

    Parameters
    ----------
    source : str
        Source of the cell: annotated assignments of literals, each with a trailing comment as its help and range.
    path : pathlib.Path or str
        Where it stands, for error messages.
    line : int
        Line of the file at which it begins.

    Returns
    -------
    dict of str to Parameter
        In the order of the cell.

    Raises
    ------
    EegFmriError
        If the cell is not Python, a default is no literal or not of its own type and range, or a type or range is not understood.
    """
    try:
        tokens = tokenize.generate_tokens(io.StringIO(source + "\n").readline)
        comments = {
            token.start[0]: token.string.lstrip("#").strip() for token in tokens if token.type == tokenize.COMMENT
        }
        body = ast.parse(source).body
    except (SyntaxError, ValueError, MemoryError, RecursionError, tokenize.TokenError) as error:
        number = line + (getattr(error, "lineno", None) or 1) - 1
        reason = getattr(error, "msg", None) or "it is nested too deeply, or holds what no text holds"
        raise EegFmriError(f"{path}:{number}: the parameters cell is not valid Python: {reason}.") from None
    imported = {
        alias.asname or alias.name
        for node in body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    parameters = {}
    for node in body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        where = f"{path}:{line + node.lineno - 1}"
        parameter = _read_parameter(node, comments.get(node.end_lineno, ""), where, imported)
        parameters[parameter.name] = parameter
    return parameters


def _read_parameter(node: ast.AnnAssign, comment: str, where: str, imported: set[str]) -> Parameter:
    name = node.target.id
    if name == RESERVED:
        raise EegFmriError(f"{where}: `{RESERVED}` is filled by the runner; leave it without annotation.")
    if node.value is None:
        raise EegFmriError(f"{where}: parameter {name} has no default.")
    try:
        _type_of(node.annotation, None)
    except RecursionError:
        raise EegFmriError(f"{where}: the type of parameter {name} is nested too deeply.") from None
    except ValueError as error:
        raise EegFmriError(
            f"{where}: the type of parameter {name} is not understood: {error}; it may be made of {', '.join(TYPES)}, None, "
            "Literal, Optional, Union and |."
        ) from None
    # Python evaluates these annotations when the cell runs.
    used = {part.id for part in ast.walk(node.annotation) if isinstance(part, ast.Name)}
    for unknown in sorted(used - imported - set(dir(builtins))):
        raise EegFmriError(f"{where}: {unknown} is not known there: import it in the parameters cell.")
    try:
        default = ast.literal_eval(node.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise EegFmriError(f"{where}: the default of parameter {name} must be a literal.") from None
    text, bounds = _split_comment(comment, where, name)
    if bounds is not None and not _has_place_for(bounds, used):
        raise EegFmriError(f"{where}: parameter {name} has the range [{bounds.text}], which does not fit its type.")
    annotation = ast.unparse(node.annotation).replace("'", '"')
    parameter = Parameter(name, annotation, default, text, bounds)
    try:
        return replace(parameter, default=parameter.validate(default))
    except ValueError:
        raise EegFmriError(
            f"{where}: the default of parameter {name} is {quoted(default)}, which is not {parameter.expected}."
        ) from None


def _split_comment(comment: str, where: str, name: str) -> tuple[str, Range | None]:
    """Split a comment into help and range; brackets that hold literals are an example and belong to the help."""
    match = _BRACKETS.match(comment)
    if match is None:
        return comment, None
    try:
        ast.literal_eval(f"[{match['range']}]")
        return comment, None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return match["help"], Range.read(match["range"])
    except ValueError:
        raise EegFmriError(
            f"{where}: the range [{match['range']}] of parameter {name} is not understood: write it as [1 to 9], [above 0 to below 1], "
            "[odd, 1 to 9], [2 to 4 different] or [1 to 3 values, each 1 to 9]."
        ) from None


def _has_place_for(bounds: Range, used: set[str]) -> bool:
    many = bounds.fewest is not None
    numbers = bounds.low is None or bool({"int", "float"} & used)
    return numbers and many == bool({"list", "tuple"} & used)


def _type_of(node: ast.expr, bounds: Range | None) -> object:
    """Make a type of a syntax tree, its numbers and lists within bounds; `ValueError` says what no type is made of."""
    from typing import Annotated, Literal, Union

    from pydantic import AfterValidator, Field

    def checked(kind: object, check: Callable | None) -> object:
        return kind if check is None else Annotated[kind, AfterValidator(check)]

    if isinstance(node, ast.Constant) and node.value is None:
        return None
    if isinstance(node, ast.Name):
        if node.id not in TYPES:
            raise ValueError(f"{node.id!r} is no type")
        if node.id in ("list", "tuple", "dict"):
            raise ValueError(f"{node.id} does not say what it holds, as {node.id}[str] does")
        number = None if bounds is None else bounds.number
        return {
            "bool": bool,
            "int": checked(int, number),
            "float": checked(Annotated[float, Field(allow_inf_nan=False)], number),
            "str": checked(str, _printable),
        }[node.id]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return Union[_type_of(node.left, bounds), _type_of(node.right, bounds)]  # noqa: UP007
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        kind = node.value.id
        if kind == "Literal" and inner:
            return Literal[tuple(_constant(item) for item in inner)]
        if kind == "tuple" and len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is ...:
            return checked(tuple[_type_of(inner[0], bounds), ...], None if bounds is None else bounds.values)
        if kind in ("list", "tuple", "dict", "Optional", "Union") and inner:
            parts = tuple(_type_of(item, bounds) for item in inner)
            if kind == "list" and len(parts) == 1:
                return checked(list[parts[0]], None if bounds is None else bounds.values)
            if kind == "tuple":
                return checked(tuple[parts], None if bounds is None else bounds.values)
            if kind == "Optional" and len(parts) == 1:
                parts = (*parts, None)
            if kind in ("Optional", "Union"):
                return Union[parts]  # noqa: UP007
            if kind == "dict" and len(parts) == 2:
                return dict[parts]
        if kind not in (*TYPES, "Literal", "Optional", "Union"):
            raise ValueError(f"{kind!r} is no type")
    raise ValueError(f"{_described(node)} stands in it")


def _constant(node: ast.expr) -> object:
    """Return the constant that an entry of Literal is."""
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    if not isinstance(node, ast.Constant) or not (node.value is None or type(node.value) in (bool, int, str)):
        raise ValueError(f"{_described(node)} stands in Literal")
    if sign < 0 and type(node.value) is not int:
        raise ValueError("a sign stands before what is no number")
    return sign * node.value if sign < 0 else node.value


def _described(node: ast.AST) -> str:
    """Name the kind of expression that stands where a type should."""
    kinds = {
        ast.Call: "a call",
        ast.Attribute: "an attribute",
        ast.BinOp: "arithmetic",
        ast.Constant: "a constant",
        ast.Lambda: "a function",
        ast.Subscript: "a subscript",
        ast.ListComp: "a comprehension",
        ast.GeneratorExp: "a comprehension",
        ast.List: "a list",
    }
    return kinds.get(type(node), f"{type(node).__name__.lower()}, which is no type,")


def _printable(value: str) -> str:
    if not is_printable(value):
        raise ValueError("control characters")
    return value
