"""What is recorded with the book is computed again: one fold of every recorded run, by the chapter's own cells."""

from itertools import islice

import numpy as np
import pytest

from eegfmri import recorded
from eegfmri.evaluation import evaluate as evaluations
from eegfmri.runner import chapters


class Found(Exception):
    """The evaluation that was looked for."""


def first_fold(run: recorded.RecordedRun, monkeypatch) -> dict[str, float]:
    """Execute a chapter's cells with a run's parameters until its methods are evaluated, and score the first fold of those recorded.

    Returns
    -------
    dict of str to float
        By key of `eegfmri.recorded.record_folds`, the score of the one subject that was tested.
    """
    keys = {key.split("/")[2]: key for key in run.folds}
    evaluate = evaluations.evaluate
    scores = {}

    def only_these(methods, windows, protocol, **settings):
        chosen = {name: method for name, method in methods.items() if name in keys}
        settings["seeds"] = {name: n for name, n in (settings.get("seeds") or {}).items() if name in chosen}
        table = evaluate(chosen, windows, First(protocol), **settings).per_subject()
        scores.update({keys[name]: {str(subject): score for subject, score in table[name].items()} for name in chosen})
        raise Found

    monkeypatch.setattr(evaluations, "evaluate", only_these)
    chapter = chapters.find(run.chapter)
    scope = {"__name__": "__main__"}
    with pytest.raises(Found):
        for number, cell in enumerate(chapter.cells):
            exec(compile(cell.source, f"{chapter.name}, cell {number + 1}", "exec"), scope)
            if "parameters" in cell.tags:
                scope.update(run.document["parameters"])
    return scores


class First:
    """The first fold of a protocol."""

    def __init__(self, protocol):
        self.protocol, self.name = protocol, protocol.name

    def split(self, windows):
        return islice(self.protocol.split(windows), 1)


RUNS = [run for run in recorded.runs() if run.folds]


@pytest.mark.soak
@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.chapter}-{run.profile}-{run.preset}")
def test_one_fold_of_a_recorded_run_is_what_it_was(run, monkeypatch, tmp_path):
    monkeypatch.setenv("EEGFMRI_CACHE", str(tmp_path / "cache"))  # computed, not read
    again = first_fold(run, monkeypatch)
    assert again.keys() == run.folds.keys()
    for key, subjects in again.items():
        for subject, score in subjects.items():
            assert score == pytest.approx(run.folds[key][subject], abs=1e-6), (key, subject)
    assert np.isfinite([score for subjects in again.values() for score in subjects.values()]).all()
