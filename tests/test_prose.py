"""Sentences are chosen by results, and a guarded one stops the page where it is wrong."""

import doctest

import pytest

from eegfmri import prose
from eegfmri.errors import EegFmriError
from eegfmri.metrics import Interval

SAYS = {"above": "more", "below": "less", "unclear": "unclear"}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.3, "more"),
        (-0.3, -0.1, "less"),
        (-0.1, 0.3, "unclear"),
        (0.0, 0.3, "unclear"),
        (float("nan"), float("nan"), "unclear"),
    ],
)
def test_a_sentence_follows_the_interval_and_says_nothing_of_one_without_ends(low, high, expected):
    assert prose.by_interval(Interval(0.0, low, high, 8), **SAYS) == expected


def test_an_interval_may_be_compared_with_another_value_than_zero():
    interval = Interval(0.4, 0.35, 0.45, 8)
    assert prose.by_interval(interval, at=1 / 3, **SAYS) == "more"
    assert prose.by_interval(interval, at=0.5, **SAYS) == "less"


def test_a_statement_that_does_not_hold_stops_the_chapter_and_is_named():
    prose.require(True, "all methods learned the same")
    with pytest.raises(EegFmriError, match="all methods learned the same"):
        prose.require(False, "all methods learned the same")


def test_sentences_make_one_paragraph_and_nothing_makes_none(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda item: shown.append(item.data))
    prose.state("One.", "", " Two. ")
    prose.state("", " ")
    assert shown == ["One. Two."]


def test_the_examples_are_true():
    assert doctest.testmod(prose).failed == 0
