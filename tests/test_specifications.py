"""The specification curve: every combination once, shares that add up, and scores as the evaluation gives them."""

import numpy as np
import pandas as pd
import pytest

from eegfmri import metrics
from eegfmri.errors import RequestError
from eegfmri.estimators.classical import EqualPriorLda, shrinkage_lda, with_classical_features
from eegfmri.evaluation import specifications
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.evaluation.splits import LeaveOneSubjectOut, ShuffledWithinSubject
from windows_made import cut, made_recording, stages


@pytest.fixture
def windows(tmp_path):
    rng, runs = np.random.default_rng(0), []
    for number in range(4):
        labels = [*stages(22, number), "N3", "N3"]
        level = np.array([{"W": 0.0, "N1": 1.0, "N2": 2.0, "N3": 2.5}[label] for label in labels])
        bold = np.repeat(level, 15)[None, : int(30 * 24 // 2.1)] + rng.normal(0, 2.0, size=(4, int(30 * 24 // 2.1)))
        runs.append(made_recording(tmp_path, f"0{number}", "task-sleep_run-1", labels, bold=bold))
    return with_classical_features(cut(runs, classes=("W", "N1", "N2", "N3"), bold_volumes=8))


def curve(windows, **settings):
    return specifications.evaluate_readings(
        {("5 s",): windows}, ("lag",), "bold_mean", EqualPriorLda(),
        specifications.draws_of(windows.subjects, 3, 2),
        {"left out": LeaveOneSubjectOut(), "shuffled": ShuffledWithinSubject(3)}, **settings,
    )  # fmt: skip


def test_every_combination_occurs_once_and_shares_add_up(windows):
    table = curve(windows)
    choices = ["lag", "subjects", "N3", "split", "scaling", "averaging"]
    assert len(table) == len(table.drop_duplicates(choices)) == 2 * 2 * 2 * 2 * 2
    explained = specifications.variance_explained(table, choices)
    assert explained["share"].sum() == pytest.approx(1.0)
    assert explained.loc["lag", "share"] == 0.0
    assert list(explained.index)[-1] == "in combination"


def test_a_reading_scores_what_the_evaluation_scores(windows):
    three = windows[np.flatnonzero(windows.y < 3)]
    drawn = specifications.draws_of(windows.subjects, 3, 2)["draw 1"]
    own = three[np.flatnonzero(np.isin(three.groups, drawn))]
    expected = evaluate({"lda": shrinkage_lda("bold_mean")}, own, LeaveOneSubjectOut())
    table = curve(windows).query(
        "subjects == 'draw 1' and N3 == 'left out' and split == 'left out' and scaling == 'training windows'"
    )
    score = table.set_index("averaging")["score"]
    assert score["pooled"] == pytest.approx(expected.interval("lda").value)
    assert score["per subject"] == pytest.approx(expected.per_subject()["lda"].mean())


def test_n3_counts_as_n2_where_it_is_not_left_out(windows):
    table = curve(windows).drop_duplicates(["subjects", "N3"]).set_index(["subjects", "N3"])["n_windows"]
    drawn = specifications.draws_of(windows.subjects, 3, 2)["draw 1"]
    of_n3 = int(((windows.y == 3) & np.isin(windows.groups, drawn)).sum())
    assert table["draw 1", "counts as N2"] - table["draw 1", "left out"] == of_n3 > 0


def test_a_main_effect_has_all_of_the_variance_it_made():
    table = pd.DataFrame(
        [(a, b, 0.1 * a + (0.3 if a == b else 0.0)) for a in (0, 1) for b in (0, 1) for _ in range(2)],
        columns=["a", "b", "score"],
    )
    found = specifications.variance_explained(table, ["a", "b"])
    # 0.1 between levels of a is ± 0.05; 0.3 in combination is ± 0.15, ten parts in all
    assert found.loc["a", "share"] == pytest.approx(0.1)
    assert found.loc["b", "share"] == pytest.approx(0.0)
    assert found.loc["in combination", "share"] == pytest.approx(0.9)
    assert found.loc["a", "shift"] == pytest.approx(0.1)
    with pytest.raises(RequestError, match="combinations"):
        specifications.variance_explained(table.iloc[:-1], ["a", "b"])


def test_scores_that_do_not_vary_are_divided_among_nobody():
    table = pd.DataFrame({"a": [0, 1], "score": [0.4, 0.4]})
    assert (specifications.variance_explained(table, ["a"])["share"] == 0).all()


def test_draws_are_different_and_too_many_are_refused():
    found = specifications.draws_of("abcdefgh", 6, 28)
    assert len(set(found.values())) == 28
    assert found == specifications.draws_of("abcdefgh", 6, 28)
    with pytest.raises(RequestError, match="there are 28"):
        specifications.draws_of("abcdefgh", 6, 29)


def test_own_session_scaling_looks_at_one_subject_only():
    values, groups = np.random.default_rng(0).normal(size=(20, 3)), np.repeat(["a", "b"], 10)
    found = specifications.standardised_by_subject(values, groups)
    changed = values.copy()
    changed[groups == "b"] *= 50
    np.testing.assert_array_equal(
        specifications.standardised_by_subject(changed, groups)[groups == "a"], found[groups == "a"]
    )
    assert np.abs(found[groups == "b"].mean(axis=0)).max() < 1e-12


def test_pooled_scores_are_those_of_the_library():
    y, said, groups = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), np.array(list("aabb"))
    pooled, averaged = specifications._scores(y, said, groups)
    assert pooled == metrics.balanced_accuracy(y, said)
    assert averaged == pytest.approx((1.0 + 0.5) / 2)
