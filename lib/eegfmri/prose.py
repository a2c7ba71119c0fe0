"""Sentences that follow the results: what a page says of an outcome is chosen by the outcome.

A sentence that states what came out of a computation either stands here, chosen by the numbers of the run that made the page, or
is guarded by an assertion in its chapter. So a page made again with other parameters or recordings never says what was true of
another run.
"""

from collections.abc import Iterable
from typing import Protocol

from eegfmri.errors import RequestError


class HasInterval(Protocol):
    """Anything with an estimate and the ends of its interval, such as `eegfmri.metrics.Interval`."""

    value: float
    low: float
    high: float


def state(*sentences: str) -> None:
    """Show sentences as one paragraph of the page; Markdown and formulae are rendered.

    Parameters
    ----------
    *sentences : str
        Empty ones are left out; nothing is shown if all are empty.
    """
    from IPython.display import Markdown, display

    text = " ".join(sentence.strip() for sentence in sentences if sentence.strip())
    if text:
        display(Markdown(text))


def by_interval(interval: HasInterval, *, above: str, below: str, unclear: str, at: float = 0.0) -> str:
    """Choose a sentence by where an interval lies.

    Parameters
    ----------
    interval : HasInterval
        Estimate with its ends.
    above, below : str
        Said if the whole interval lies above, or below, ``at``.
    unclear : str
        Said if the interval includes ``at``, or has no ends (too few subjects).
    at : float, default=0.0
        The value compared with, in the unit of the interval.

    Returns
    -------
    str
        One of the three.

    Examples
    --------
    >>> from eegfmri.metrics import Interval
    >>> by_interval(Interval(0.2, 0.1, 0.3, 8), above="It helps.", below="It harms.", unclear="Nothing is shown.")
    'It helps.'
    >>> by_interval(Interval(0.2, -0.1, 0.5, 8), above="It helps.", below="It harms.", unclear="Nothing is shown.")
    'Nothing is shown.'
    """
    if interval.low > at:
        return above
    return below if interval.high < at else unclear


def enumerate_names(names: Iterable[str], nobody: str = "none") -> str:
    """Write names as prose does: ``a``, ``a and b``, ``a, b and c``.

    Parameters
    ----------
    names : iterable of str
        What to list.
    nobody : str, default="none"
        Said of an empty list.

    Returns
    -------
    str
        The list as a phrase.

    Examples
    --------
    >>> enumerate_names(["delta", "theta", "alpha"])
    'delta, theta and alpha'
    >>> enumerate_names([])
    'none'
    """
    names = list(names)
    if not names:
        return nobody
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def require(holds: bool, statement: str) -> None:
    """Guard a sentence of the page that must hold whatever the parameters: stop the chapter where it does not.

    Parameters
    ----------
    holds : bool
        Whether it does.
    statement : str
        The sentence that the page would have been wrong to print.

    Raises
    ------
    RequestError
        If it does not hold.
    """
    if not holds:
        raise RequestError(
            f"The page would say what this run does not show ({statement}): please report it with the parameters used."
        )
