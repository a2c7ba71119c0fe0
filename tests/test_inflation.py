"""Mistakes made on purpose: what they gain is measured as it is, and without the leak nothing of the test subject is learned."""

from dataclasses import replace

import numpy as np
import pytest

from eegfmri import metrics
from eegfmri.errors import RequestError
from eegfmri.estimators import inflation as small
from eegfmri.estimators.classical import with_classical_features
from eegfmri.evaluation import inflation
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.evaluation.leaks import fitted_digest, poisoned
from eegfmri.evaluation.splits import InnerValidation, LeaveOneSubjectOut
from windows_made import cut, made_recording, stages

N_VOLUMES = int(30 * 20 // 2.1)


@pytest.fixture
def windows(tmp_path):
    rng, runs = np.random.default_rng(0), []
    for number in range(4):
        labels = stages(20, number)
        level = np.array([{"W": 0.0, "N1": 1.0, "N2": 2.0}[label] for label in labels])
        bold = np.repeat(level, 15)[None, :N_VOLUMES] * np.array([[1], [-1], [0], [0]]) + rng.normal(
            size=(4, N_VOLUMES)
        )
        runs.append(made_recording(tmp_path, f"0{number}", "task-sleep_run-1", labels, bold=bold))
    return with_classical_features(cut(runs, bold_volumes=8))


def network(n_training_epochs=6, **settings):
    return small.WatchedNetwork("bold_mean", 4, n_training_epochs, learning_rate=0.05, **settings)


# --- gains ---------------------------------------------------------------------------------------------------------------


def test_the_gain_is_the_difference_of_pooled_scores():
    rng = np.random.default_rng(0)
    y, groups = rng.integers(3, size=60), np.repeat(["a", "b", "c"], 20)
    honest, leaking = rng.integers(3, size=60), np.where(rng.random(60) < 0.5, y, rng.integers(3, size=60))
    found = inflation.of_predictions(y, groups, [honest], [leaking, y])
    assert found.honest.value == pytest.approx(metrics.balanced_accuracy(y, honest))
    assert found.leaking.value == pytest.approx((metrics.balanced_accuracy(y, leaking) + 1) / 2)
    assert found.gain.value == pytest.approx(found.leaking.value - found.honest.value)
    assert found.gain.low < found.gain.value < found.gain.high
    assert len(found.by_subject) == found.gain.n == 3
    same = inflation.of_predictions(y, groups, [honest], [honest])
    assert (same.gain.value, same.gain.low, same.gain.high) == (0, 0, 0)
    with pytest.raises(RequestError, match="not of the same windows"):
        inflation.of_predictions(y, groups, [honest], [leaking[:-1]])


def test_two_evaluations_are_compared_where_both_have_tested(windows):
    first = evaluate({"a": network(), "b": network(seed=1)}, windows, LeaveOneSubjectOut())
    part = replace(first, predictions=first.predictions[first.predictions["window"] % 2 == 0])
    found = inflation.of_evaluations(first, part, [("a", "b")])
    own = [inflation.predicted(first, name) for name in "ab"]
    even = own[0].index[own[0].index % 2 == 0]
    expected = [metrics.balanced_accuracy(windows.y[even], one.loc[even]) for one in own]
    assert (found.honest.value, found.leaking.value) == pytest.approx(expected)


def test_choosing_on_the_test_subject_never_loses_and_gains_on_pure_noise():
    rng = np.random.default_rng(1)
    y, groups = np.tile([0, 1, 2], 40), np.repeat(list("abcd"), 30)
    by_epoch = rng.integers(3, size=(120, 25))
    chosen = inflation.chosen_on_the_test_subject(y, groups, by_epoch)
    for subject in "abcd":
        own = groups == subject
        best = max(metrics.balanced_accuracy(y[own], said) for said in by_epoch[own].T)
        assert metrics.balanced_accuracy(y[own], chosen[own]) == best > 1 / 3 + 0.05


def test_choosing_on_other_subjects_looks_at_the_others_only():
    y, groups = np.tile([0, 1], 30), np.repeat(list("abc"), 20)
    good, bad = y, 1 - y
    # right for a and b only, or for c only: who chooses by the others takes the first for c, and for a and b, too
    by_seed = np.stack([np.where(groups == "c", bad, good), np.where(groups == "c", good, bad)])
    chosen = inflation.chosen_on_other_subjects(y, groups, by_seed)
    assert metrics.balanced_accuracy(y[groups == "c"], chosen[groups == "c"]) == 0
    changed = y.copy()
    changed[groups == "a"] = 1 - y[groups == "a"]
    np.testing.assert_array_equal(
        inflation.chosen_on_other_subjects(changed, groups, by_seed)[groups == "a"], chosen[groups == "a"]
    )


# --- estimators ------------------------------------------------------------------------------------------------------------


def test_the_network_predicts_with_the_epoch_that_validation_subjects_chose(windows):
    fitted = network().fit(windows, windows.y)
    by_epoch = np.array(fitted.extras(windows)["by_epoch"])
    assert by_epoch.shape == (len(windows), 6)
    np.testing.assert_array_equal(fitted.predict(windows), by_epoch[:, fitted.best_epoch_])
    _, held_out = next(iter(InnerValidation().split(windows)))
    scores = [metrics.balanced_accuracy(windows.y[held_out], said[held_out]) for said in by_epoch.T]
    assert scores == pytest.approx(fitted.validation_scores_)
    assert fitted.best_epoch_ == int(np.argmax(scores))


def test_the_network_tells_stages_and_two_classes(windows):
    assert metrics.balanced_accuracy(windows.y, network(60).fit(windows, windows.y).predict(windows)) > 0.6
    two = windows[np.flatnonzero(windows.y < 2)]
    assert set(network().fit(two, two.y).predict(two)) <= {0, 1}


@pytest.mark.parametrize("estimator", [network(), small.graph_lda(n_modes=3, density=0.5)])
def test_without_the_leak_nothing_of_the_test_subject_is_learned(windows, tmp_path, estimator):
    train = np.flatnonzero(windows.groups != "00")
    spoilt = poisoned(windows, "00", tmp_path / "noise")
    states = [fitted_digest(estimator.fit(w[train], w.y[train])) for w in (windows, spoilt)]
    assert states[0] == states[1]


def test_a_graph_of_all_subjects_changes_with_the_test_subject(windows, tmp_path):
    spoilt = poisoned(windows, "00", tmp_path / "noise")
    assert not np.allclose(small.connectivity_graph(windows, 0.5), small.connectivity_graph(spoilt, 0.5))
    given = small.connectivity_graph(windows, 0.5)
    honest = small.GraphModes(3, 0.5).fit(windows)
    np.testing.assert_allclose(
        small.GraphModes(3, adjacency=given).fit(windows).transform(windows), honest.transform(windows)
    )


def driven(subject, seed, n=300, weight=0.8):
    """A run whose first region follows its drive and its own past, and whose second is noise."""
    rng = np.random.default_rng(seed)
    drive, series = rng.normal(size=(n, 2)), np.zeros((n, 2))
    for t in range(1, n):
        series[t, 0] = weight * series[t - 1, 0] + drive[t, 0] + 0.3 * rng.normal()
        series[t, 1] = rng.normal()
    return small.DrivenRun(subject, drive, series)


def test_own_predictions_are_fed_back_as_the_obvious_loop_does():
    runs = [driven("a", 0), driven("b", 1)]
    fitted = small.AutoregressiveRidge().fit(runs)
    test, past, expected = driven("c", 2, n=20), np.zeros(2), []
    for t in range(1, 20):
        inputs = np.concatenate([test.drive[t], past])[None]
        past = fitted.ridge_.predict(fitted.scaler_.transform(inputs))[0]
        expected.append(past)
    np.testing.assert_allclose(fitted.predict(test), expected)
    # the true series is not looked at unless it is asked for
    other = small.DrivenRun("c", test.drive, test.series + 100)
    np.testing.assert_array_equal(fitted.predict(other), fitted.predict(test))
    assert not np.allclose(fitted.predict(other, forced=True), fitted.predict(test, forced=True))


def test_true_pasts_help_where_the_eeg_tells_nothing_and_no_past_means_none():
    rng = np.random.default_rng(5)
    slow = np.cumsum(rng.normal(size=(6, 300, 3)), axis=1)
    runs = [small.DrivenRun("abc"[n // 2], rng.normal(size=(300, 2)), slow[n]) for n in range(6)]
    forced = small.left_out_courses(runs, small.AutoregressiveRidge(), forced=True)
    own = small.left_out_courses(runs, small.AutoregressiveRidge())
    alone = small.left_out_courses(runs, small.AutoregressiveRidge(past=False))
    assert set(forced) == set("abc")
    assert min(forced.values()) > 0.9
    assert max(map(abs, [*own.values(), *alone.values()])) < 0.4
    with pytest.raises(RequestError, match="at least one"):
        small.AutoregressiveRidge().fit([])


def test_courses_that_do_not_vary_correlate_with_nothing():
    true = np.random.default_rng(0).normal(size=(50, 2))
    assert small.course_correlation(true, np.column_stack([true[:, 0], np.ones(50)])) == pytest.approx(0.5)


def test_a_run_is_lined_up_by_its_clocks(tmp_path):
    recording = made_recording(tmp_path, "01", "task-sleep_run-1", ["W"] * 8)
    rng = np.random.default_rng(0)
    times = np.arange(8 * 30 * 100) / 100
    # alpha grows and falls with a period of 60 s: its power, and so the drive without lag, peaks with it
    envelope = 2 + np.sin(2 * np.pi * times / 60)
    signal = envelope * np.sin(2 * np.pi * 10 * times) + 0.01 * rng.normal(size=len(times))
    made = made_recording(tmp_path / "b", "01", "task-sleep_run-1", ["W"] * 8, eeg=np.tile(signal, (3, 1)))
    run = small.driven_run("01", made.streams["eeg"], made.streams["bold"], n_lags=3)
    moments = made.streams["bold"].start + np.arange(made.n_volumes) * 2.1
    kept = (moments - 2 * 2.1 >= 1.0) & (moments <= times[-1] - 1.0)
    assert abs(int(kept.sum()) - len(run.series)) <= 1
    at = run.series[:, 0]  # the made BOLD holds the time of each volume
    alpha = run.drive[:, 2 * 3 : 3 * 3]  # the third band, lags 0, 1 and 2
    for number in range(3):
        expected = np.log(2 + np.sin(2 * np.pi * (at - 2.1 * number) / 60))
        assert np.corrcoef(alpha[:, number], expected)[0, 1] > 0.98
    assert recording.n_volumes == made.n_volumes
