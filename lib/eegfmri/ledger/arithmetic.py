"""Arithmetic among published numbers: expressions with names, plus, minus, times, and a few functions; nothing else is evaluated."""

import ast
import math
import operator
from collections.abc import Callable, Mapping

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
    except (SyntaxError, RecursionError, MemoryError):
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
