"""Scores against scikit-learn, intervals and tests against what they promise."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score, recall_score

from eegfmri import metrics
from eegfmri.evaluation.evaluate import Evaluation

labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


def macro_f1(y_true, y_pred):
    return float(metrics.SCORES["macro_f1"](metrics.confusion(y_true, y_pred)))


def cohen_kappa(y_true, y_pred):
    return float(metrics.SCORES["cohen_kappa"](metrics.confusion(y_true, y_pred)))


@given(labels)
@settings(max_examples=60, deadline=None)
def test_scores_equal_scikit_learns(pairs):
    y_true, y_pred = map(np.array, zip(*pairs, strict=True))
    recalls = [np.mean(y_pred[y_true == label] == label) for label in set(y_true)]
    assert metrics.balanced_accuracy(y_true, y_pred) == pytest.approx(np.mean(recalls))
    if set(y_pred) <= set(y_true):
        assert metrics.balanced_accuracy(y_true, y_pred) == pytest.approx(balanced_accuracy_score(y_true, y_pred))
    expected = f1_score(y_true, y_pred, labels=sorted(set(y_true)), average="macro", zero_division=0)
    assert macro_f1(y_true, y_pred) == pytest.approx(expected)
    if len(set(y_true) | set(y_pred)) > 1:
        assert cohen_kappa(y_true, y_pred) == pytest.approx(cohen_kappa_score(y_true, y_pred))


def test_a_pooled_interval_is_that_of_resampled_windows():
    """Adding up subjects' counts is the same as scoring their windows again."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(5), [10, 30, 20, 40, 15])
    y_true, y_pred = rng.integers(0, 3, (2, len(groups)))
    drawn = np.array([4, 4, 1, 0, 2])
    rows = np.concatenate([np.flatnonzero(groups == subject) for subject in drawn])
    for name, by_hand in (
        ("balanced_accuracy", metrics.balanced_accuracy),
        ("macro_f1", macro_f1),
        ("cohen_kappa", cohen_kappa),
    ):
        counts = sum(metrics.confusion(y_true[groups == s], y_pred[groups == s], 3) for s in drawn)
        assert metrics.SCORES[name](counts) == pytest.approx(by_hand(y_true[rows], y_pred[rows]))
        interval = metrics.bootstrap_pooled(name, y_true, y_pred, groups)
        assert interval.low < interval.value < interval.high


def test_a_class_the_subject_lacks_neither_helps_nor_hurts():
    assert metrics.balanced_accuracy([0, 0, 1, 1], [0, 0, 1, 2]) == 0.75
    assert macro_f1([0, 0], [0, 0]) == 1.0


def test_a_class_predicted_but_never_true_costs_a_hit_and_nothing_more():
    """scikit-learn's default would average in an F1 of 0 for it: stated here, since published scores rarely say which."""
    y_true, y_pred = [0, 0, 1, 1], [0, 2, 1, 1]
    assert macro_f1(y_true, y_pred) == pytest.approx((2 / 3 + 1) / 2)
    assert f1_score(y_true, y_pred, average="macro", zero_division=0) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metrics.balanced_accuracy(y_true, y_pred) == 0.75
    assert metrics.balanced_accuracy([], []) != metrics.balanced_accuracy([], []), "nothing to score is NaN"


def test_kappa_without_disagreement_or_choice():
    assert cohen_kappa([2, 2, 2], [2, 2, 2]) == 0, "chance alone explains it; scikit-learn says NaN"
    assert cohen_kappa([2, 2, 2], [1, 1, 1]) == 0
    assert cohen_kappa([0, 1, 0, 1], [1, 0, 1, 0]) == -1
    assert cohen_kappa([0, 3, 0, 3], [0, 3, 0, 3]) == 1


@given(labels, st.permutations(range(7)))
@settings(max_examples=60, deadline=None)
def test_names_of_classes_and_classes_that_never_occur_change_no_score(pairs, names):
    y_true, y_pred = map(np.array, zip(*pairs, strict=True))
    renamed_true, renamed_pred = (np.array(names)[labels] for labels in (y_true, y_pred))
    for score, function in metrics.SCORES.items():
        among_seven = function(metrics.confusion(renamed_true, renamed_pred, 7))
        assert float(among_seven) == pytest.approx(float(function(metrics.confusion(y_true, y_pred)))), score
    if len(set(y_true) | set(y_pred)) > 1:
        theirs = cohen_kappa_score(renamed_true, renamed_pred, labels=range(7))
        assert cohen_kappa(renamed_true, renamed_pred) == pytest.approx(theirs)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=80))
@settings(max_examples=30, deadline=None)
def test_scores_per_subject_and_pooled_are_scikit_learns_of_the_same_windows(rows):
    """A subject may lack a stage, and a stage may be predicted that it never had."""
    table = pd.DataFrame(rows, columns=["subject", "true", "predicted"]).assign(method="m", fold="f", window=0)
    evaluation = Evaluation("loso", False, ("W", "N1", "N2"), table, pd.DataFrame())

    def recall(own):
        return recall_score(own["true"], own["predicted"], labels=sorted(set(own["true"])), average="macro")

    def f1(own):
        labels = sorted(set(own["true"]))
        return f1_score(own["true"], own["predicted"], labels=labels, average="macro", zero_division=0)

    def kappa(own):
        one_class = len(set(own["true"]) | set(own["predicted"])) == 1
        return 0.0 if one_class else cohen_kappa_score(own["true"], own["predicted"])

    for name, theirs in (("balanced_accuracy", recall), ("macro_f1", f1), ("cohen_kappa", kappa)):
        per_subject = evaluation.per_subject(name)["m"]
        assert set(per_subject.index) == set(table["subject"])
        for subject, value in per_subject.items():
            assert value == pytest.approx(theirs(table[table["subject"] == subject]), abs=1e-12)
        pooled = metrics.SCORES[name](metrics.confusion(table["true"], table["predicted"]))
        assert float(pooled) == pytest.approx(theirs(table), abs=1e-12)


def test_the_mean_over_subjects_and_the_pooled_score_are_different_questions():
    table = pd.DataFrame(
        {
            "method": "m",
            "fold": "f",
            "window": 0,
            "subject": ["a"] * 2 + ["b"] * 8,
            "true": [0, 1, *[0, 1] * 4],
            "predicted": [1, 0, *[0, 1] * 4],
        }
    )
    row = Evaluation("loso", False, ("W", "N1"), table, pd.DataFrame()).summary().loc["m"]
    assert row["value"] == 0.5
    assert row["pooled"] == 0.8


def test_bootstrap_intervals_cover_the_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        interval = metrics.bootstrap_mean(rng.normal(0.6, 0.1, 20), trial)
        covered += interval.low <= 0.6 <= interval.high
    # Percentile intervals of 20 subjects cover a little less than 95 %; 200 trials have a standard error of 1.6 %.
    assert 0.87 <= covered / 200 <= 0.99


def test_an_interval_over_subjects_is_wider_than_one_over_windows():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(8), 100)
    y_true = rng.integers(0, 2, 800)
    skill = np.linspace(0.35, 0.95, 8)[groups]  # subjects differ, as subjects do
    y_pred = np.where(rng.random(800) < skill, y_true, 1 - y_true)
    by_subject = metrics.bootstrap_pooled("balanced_accuracy", y_true, y_pred, groups)
    by_window = metrics.bootstrap_pooled("balanced_accuracy", y_true, y_pred, np.arange(800))
    assert by_subject.value == by_window.value
    assert by_subject.high - by_subject.low > 2 * (by_window.high - by_window.low)


def test_few_subjects_have_no_interval():
    assert np.isnan(metrics.bootstrap_mean([0.5]).low)
    assert metrics.bootstrap_mean([0.5, np.nan, 0.7]).n == 2
    assert metrics.bootstrap_mean([]).n == 0


def test_sign_flips_are_exact_for_few_subjects():
    differences = np.array([0.1, 0.2, 0.05, 0.3, 0.15, 0.02])
    assert metrics.sign_flip_test(differences) == pytest.approx(2 / 2**6)
    assert metrics.sign_flip_test(differences[:5]) > 0.05
    mixed = np.array([0.3, -0.1, 0.2, -0.4, 0.1, 0.05, 0.6])
    every = [np.mean(mixed * signs) for signs in itertools.product([1, -1], repeat=7)]
    # SciPy doubles the smaller tail; the distribution is symmetric.
    expected = 2 * np.mean(np.array(every) >= mixed.mean() - 1e-12)
    assert metrics.sign_flip_test(mixed) == pytest.approx(min(expected, 1.0))
    assert metrics.sign_flip_test(np.zeros(8)) == 1.0


def test_sign_flip_p_values_are_not_too_small_under_the_null():
    rng = np.random.default_rng(2)
    p = np.array([metrics.sign_flip_test(rng.normal(size=8)) for _ in range(300)])
    assert np.mean(p < 0.05) < 0.09


def test_max_t_of_one_comparison_is_the_sign_flip_test():
    differences = np.random.default_rng(3).normal(0.5, 1, size=9)
    [p] = metrics.sign_flip_max_t(differences[:, None])
    # t grows with the mean where the sum of squares stays, which is what flips leave.
    assert p == pytest.approx(metrics.sign_flip_test(differences))


def test_max_t_adjusts_less_where_comparisons_agree_and_never_below_the_single_p():
    rng = np.random.default_rng(4)
    base = rng.normal(0.8, 1, size=(10, 1))
    alike, apart = base + 1e-6 * rng.normal(size=(10, 8)), rng.normal(size=(10, 8))
    apart[:, 0] = base[:, 0]
    single = metrics.sign_flip_test(base[:, 0])
    assert metrics.sign_flip_max_t(alike)[0] == pytest.approx(single, abs=2 / 2**10)
    assert metrics.sign_flip_max_t(apart)[0] > single
    gaps = apart.copy()
    gaps[2, 3] = np.nan
    assert np.isfinite(metrics.sign_flip_max_t(gaps)).all()
    assert metrics.sign_flip_max_t(np.zeros((6, 2))).tolist() == [1.0, 1.0]


def test_max_t_keeps_the_rate_of_any_false_finding():
    rng = np.random.default_rng(5)
    smallest = [metrics.sign_flip_max_t(rng.normal(size=(8, 6))).min() for _ in range(400)]
    assert np.mean(np.array(smallest) <= 0.05) < 0.08


def test_holm_is_the_textbook_step_down():
    np.testing.assert_allclose(metrics.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(metrics.holm([0.9, 0.8]), [1.0, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p):
    adjusted = metrics.holm(p)
    assert (adjusted >= np.array(p) - 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= -1e-12).all()


def naive_unbiased_hsic(k, m):
    """Sums over all distinct indices, as the estimator is defined."""
    n = len(k)
    pairs = sum(k[i, j] * m[i, j] for i, j in itertools.permutations(range(n), 2)) / (n * (n - 1))
    triples = sum(k[i, j] * m[i, q] for i, j, q in itertools.permutations(range(n), 3)) / (n * (n - 1) * (n - 2))
    quads = sum(k[i, j] * m[q, r] for i, j, q, r in itertools.permutations(range(n), 4)) / (
        n * (n - 1) * (n - 2) * (n - 3)
    )
    return pairs + quads - 2 * triples


def test_debiased_alignment_is_the_sum_over_distinct_indices():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 5))
    k, m = x @ x.T, y @ y.T
    expected = naive_unbiased_hsic(k, m) / np.sqrt(naive_unbiased_hsic(k, k) * naive_unbiased_hsic(m, m))
    assert metrics.linear_cka(x, y) == pytest.approx(expected, rel=1e-9)


def test_biased_alignment_is_kornbliths_formula():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 6))
    a, b = x - x.mean(0), y - y.mean(0)
    expected = np.linalg.norm(b.T @ a) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert metrics.linear_cka(x, y, debiased=False) == pytest.approx(expected)


def test_alignment_ignores_rotation_and_scale_and_is_zero_for_strangers():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(200, 64))
    rotation = np.linalg.qr(rng.normal(size=(64, 64)))[0]
    assert metrics.linear_cka(x, 3 * x @ rotation + 1) == pytest.approx(1)
    strangers = [metrics.linear_cka(rng.normal(size=(200, 64)), rng.normal(size=(200, 64))) for _ in range(20)]
    assert abs(np.mean(strangers)) < 0.02
    # The biased estimate is about 0.24 for independent embeddings of this size.
    assert metrics.linear_cka(x, rng.normal(size=(200, 64)), debiased=False) > 0.2
    assert np.isnan(metrics.linear_cka(x[:3], x[:3]))


def test_circular_shifts_keep_slowness_and_break_simultaneity():
    rng = np.random.default_rng(7)
    slow = np.cumsum(rng.normal(size=(300, 2)), axis=0)
    null = metrics.circular_shift_null(metrics.linear_cka, slow, slow + rng.normal(size=(300, 2)))
    assert len(null) == 199
    assert (null < metrics.linear_cka(slow, slow + rng.normal(size=(300, 2)))).all()
    assert len(metrics.circular_shift_null(metrics.linear_cka, slow[:20], slow[:20])) == 11


def test_two_geometries_match_if_they_differ_by_size_place_and_orientation_only():
    rng = np.random.default_rng(0)
    places = rng.normal(size=(12, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    match = metrics.distance_match(2 * places @ turn + 5, places)
    assert match.correlation == pytest.approx(1)
    assert match.p == pytest.approx(1 / 1000)
    assert match.null_low < match.null < match.null_high < match.correlation
    assert abs(match.null) < 0.1
    apart = [
        metrics.distance_match(np.random.default_rng(seed).normal(size=(12, 6)), places, 99).p for seed in range(40)
    ]
    # uniform under the null: the standard error of the share below 0.2 is 6 % of 40 draws
    assert 0.05 <= np.mean(np.array(apart) <= 0.2) <= 0.4
