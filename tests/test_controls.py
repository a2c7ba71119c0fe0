"""Controls beside a page's scores: recorded runs on everything and on nothing."""

from datetime import date

import pytest

from eegfmri import controls, recorded
from eegfmri.errors import RequestError
from eegfmri.recorded import Number

KEYS = {"network": "a/loso/network/r", "ridge": "a/loso/ridge/r"}
PAGE = {"network": Number(0.01, -0.02, 0.04), "ridge": Number(0.11, 0.05, 0.17)}


class Run:
    date = date(2026, 11, 28)

    def __init__(self, **scores):
        self.results = {KEYS[method]: Number(*score) for method, score in scores.items()}


@pytest.fixture
def shelf(monkeypatch):
    """Give a shelf of recorded runs, by profile and preset."""
    runs = {}
    monkeypatch.setattr(recorded, "latest", lambda chapter, profile, preset: runs.get((profile, preset)))
    return runs


def test_without_recorded_runs_the_page_stands_alone_and_names_what_is_lacking(shelf):
    found = controls.beside("a/chapter", PAGE, KEYS)
    assert list(found.table().index) == ["this run"]
    assert found.table().loc["this run", "ridge"] == "0.110 [0.050, 0.170]"
    assert found.lacking() == ["strong", "uncoupled"]
    (sentence,) = found.sentences(0.0, "a correlation")
    assert "strong and uncoupled" in sentence and "eegfmri run a/chapter -p preset=strong" in sentence


def test_what_the_controls_say_follows_from_their_intervals(shelf):
    shelf["quick", "strong"] = Run(network=(0.3, 0.2, 0.4), ridge=(0.5, 0.4, 0.6))
    shelf["quick", "uncoupled"] = Run(network=(0.0, -0.1, 0.1), ridge=(0.01, -0.05, 0.06))
    found = controls.beside("a/chapter", PAGE, KEYS)
    assert list(found.table().index) == ["this run", "strong, quick (2026-11-28)", "uncoupled, quick (2026-11-28)"]
    learned, nothing = found.sentences(0.0, "a correlation")
    assert "network and ridge have a correlation above 0" in learned
    assert "no method" in nothing


def test_a_method_that_cannot_learn_and_one_that_scores_on_nothing_are_named(shelf):
    shelf["quick", "strong"] = Run(network=(0.1, -0.2, 0.4), ridge=(0.5, 0.4, 0.6))
    shelf["quick", "uncoupled"] = Run(network=(0.0, -0.1, 0.1), ridge=(0.1, 0.05, 0.2))
    said = controls.beside("a/chapter", PAGE, KEYS).sentences(0.0, "a correlation")
    assert said[0].count("ridge") == 1 and "network" not in said[0]
    assert said[1].startswith("network has not")
    assert "ridge still does" in said[2]


def test_the_longer_recorded_run_is_the_one_that_is_judged(shelf):
    shelf["quick", "strong"] = Run(network=(0.1, -0.2, 0.4), ridge=(0.1, -0.4, 0.6))
    shelf["standard", "strong"] = Run(network=(0.3, 0.2, 0.4))
    found = controls.beside("a/chapter", PAGE, KEYS)
    assert found.above("strong", 0.0) == ["network"]
    assert found.above("weak", 0.0) is None
    assert found.table().loc["strong, standard (2026-11-28)"].tolist() == ["0.300 [0.200, 0.400]", "–"]


def test_scores_and_keys_of_different_methods_are_refused(shelf):
    with pytest.raises(RequestError, match="ridge is in one of them only"):
        controls.beside("a/chapter", {"network": PAGE["network"]}, KEYS)


def test_methods_that_have_something_to_find_anyway_are_not_judged_on_uncoupled_recordings(shelf):
    shelf["quick", "uncoupled"] = Run(network=(0.0, -0.1, 0.1), ridge=(0.3, 0.2, 0.4))
    found = controls.beside("a/chapter", PAGE, KEYS)
    assert "ridge still does" in found.sentences(0.0, "a score")[0]
    said = found.sentences(0.0, "a score", coupled=["ridge"])[0]
    assert "network has not a score above 0 with the whole interval, as it should be" in said
