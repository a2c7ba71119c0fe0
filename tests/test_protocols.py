"""Splits that do not leak, and an evaluation that resumes, repeats and cannot be poisoned."""

import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import SplineTransformer
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from eegfmri import cache
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.estimators import classical
from eegfmri.evaluation import folds, leaks
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.evaluation.splits import (
    BlockedWithinSubject,
    InnerValidation,
    LeaveOneSubjectOut,
    NearestInTime,
    NoInnerSplit,
    ShuffledTogether,
    ShuffledWithinSubject,
    shares_signal,
)
from windows_made import CLASSES, SomeSubjects, cut, evaluate_made_runs, informative, made_recording, stages


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return classical.with_classical_features(cut(informative(tmp_path_factory.mktemp("runs")), bold_volumes=14))


def test_leaving_one_subject_out_tests_everyone_once_and_trains_on_the_others(windows):
    found = list(LeaveOneSubjectOut().split(windows))
    assert [fold.name for fold in found] == [f"sub-{subject}" for subject in windows.subjects]
    assert sorted(np.concatenate([fold.test for fold in found])) == list(range(len(windows)))
    for fold in found:
        assert not set(windows.groups[fold.train]) & set(windows.groups[fold.test])


@given(
    gap=st.floats(0, 90),
    n_blocks=st.integers(2, 8),
    bold_volumes=st.integers(1, 42),
    eeg_epochs=st.sampled_from([1, 3]),
    lag=st.floats(-5, 10),
)
@settings(max_examples=25, deadline=None)
def test_no_training_window_touches_signal_within_the_gap_of_a_test_window(
    tmp_path_factory, gap, n_blocks, bold_volumes, eeg_epochs, lag
):
    folder = tmp_path_factory.mktemp("gap")
    runs = [made_recording(folder, "01", f"task-sleep_run-{k}", stages(16, k)) for k in (1, 2)]
    windows = cut(runs, bold_volumes=bold_volumes, eeg_epochs=eeg_epochs, lag=lag)
    tested = []
    for fold in BlockedWithinSubject(n_blocks, gap).split(windows):
        tested += list(fold.test)
        train, test = windows.table.iloc[fold.train], windows.table.iloc[fold.test]
        for row in test.itertuples():
            near = train[train["run"] == row.run]
            distance = np.maximum(near["start"] - row.stop, row.start - near["stop"])
            assert (distance >= gap - 1e-9).all()
    assert len(tested) == len(set(tested))


def test_shuffling_puts_overlapping_neighbours_on_both_sides(windows):
    fold = next(iter(ShuffledWithinSubject().split(windows)))
    train, test = windows.table.iloc[fold.train], windows.table.iloc[fold.test]
    touching = [
        ((train["run"] == row.run) & (train["start"] < row.stop) & (train["stop"] > row.start)).any()
        for row in test.itertuples()
    ]
    assert np.mean(touching) > 0.5


def test_whether_a_split_leaks_is_found_on_the_windows_and_cannot_be_declared(windows, tmp_path):
    """By hand: does any pair of training and test windows of a run overlap?"""
    table = windows.table
    closer = windows[table["order"] % 2 == 0]  # every other epoch: windows that touch nothing of each other
    for some, protocol in (
        (windows, LeaveOneSubjectOut()),
        (windows, BlockedWithinSubject(3, 0.0)),
        (windows, ShuffledWithinSubject(3)),
        (closer, ShuffledWithinSubject(3)),
        (windows, ShuffledTogether(0.2)),
        (windows, NearestInTime(30.0, n_train=5)),
        (windows, NearestInTime(90.0, n_train=5)),
    ):
        for fold in protocol.split(some):
            train, test = some.table.iloc[fold.train], some.table.iloc[fold.test]
            pairs = train.merge(test, on=["subject", "run"], suffixes=("", "_test"))
            overlap = np.minimum(pairs["stop"], pairs["stop_test"]) - np.maximum(pairs["start"], pairs["start_test"])
            assert shares_signal(some, fold) == bool((overlap > 1e-6).any())
    methods = {"majority": classical.trivial_predictors()["majority"]}
    expected = {
        LeaveOneSubjectOut(): False, ShuffledWithinSubject(): True, BlockedWithinSubject(): False,
        NearestInTime(30.0, n_train=5): True, NearestInTime(90.0, n_train=5): False,
    }  # fmt: skip
    for protocol, leaks_here in expected.items():
        assert evaluate(methods, windows, protocol, folder=tmp_path).leaks == leaks_here, protocol
    with pytest.raises(TypeError, match="leaks"):
        ShuffledWithinSubject(leaks=False)


def test_inner_validation_holds_out_training_subjects_or_blocks(windows):
    for train, test in InnerValidation(3).split(windows):
        assert not set(windows.groups[train]) & set(windows.groups[test])
    alone = windows[windows.groups == "01"]
    splits = list(InnerValidation(3).split(alone))
    assert sorted(np.concatenate([test for _, test in splits])) == list(range(len(alone)))
    assert len(splits) == InnerValidation(3).get_n_splits(alone)


def apart(windows, train, test):
    """Seconds between the signals of every pair of training and test windows of the same run."""
    start, stop, run = (windows.table[name].to_numpy() for name in ("start", "stop", "run"))
    between = np.maximum(start[train, None] - stop[test], start[test] - stop[train, None])
    return between[run[train, None] == run[test]]


@given(
    bouts=st.lists(st.tuples(st.sampled_from(CLASSES), st.integers(1, 9)), min_size=1, max_size=6),
    gap=st.floats(0, 120),
    n_splits=st.integers(2, 5),
    bold_volumes=st.integers(1, 28),
)
@settings(max_examples=40, deadline=None)
def test_within_one_subject_inner_training_and_validation_keep_the_gap_or_are_refused(
    tmp_path_factory, bouts, gap, n_splits, bold_volumes
):
    labels = [stage for stage, length in bouts for _ in range(length)]
    folder = tmp_path_factory.mktemp("inner")
    windows = cut([made_recording(folder, "01", "task-sleep_run-1", [*labels, "W", "W"])], bold_volumes=bold_volumes)
    n_classes = min(2, len(np.unique(windows.y)))
    alone = BlockedWithinSubject(len(windows), gap).split(
        windows
    )  # each window by itself, and what keeps the gap from it
    possible = any(len(np.unique(windows.y[fold.train])) >= n_classes for fold in alone)
    try:
        splits = list(InnerValidation(n_splits, gap).split(windows))
    except NoInnerSplit:
        assert not possible
        return
    assert 0 < len(splits) <= n_splits
    assert len(splits) == InnerValidation(n_splits, gap).get_n_splits(windows)
    for train, validation in splits:
        assert len(train)
        assert len(validation)
        assert (apart(windows, train, validation) >= gap - 1e-9).all()
        assert len(np.unique(windows.y[train])) >= n_classes


def test_a_bout_that_would_be_missing_in_training_is_no_reason_to_give_up_the_gap(tmp_path):
    """The middle third holds all of N1: beside it, with the gap, there is nothing but W to train on."""
    runs = [made_recording(tmp_path, "01", "task-sleep_run-1", ["W"] * 9 + ["N1"] * 3 + ["W"] * 10)]
    windows = cut(runs, bold_volumes=14)
    splits = list(InnerValidation(3).split(windows))
    assert len(splits) == InnerValidation(3).get_n_splits(windows) == 2
    for train, validation in splits:
        assert set(windows.y[validation]) == {0}
        assert (apart(windows, train, validation) >= 20).all()


def test_a_fold_without_inner_validation_falls_back_and_says_so(tmp_path):
    runs = [made_recording(tmp_path, "01", "task-sleep_run-1", ["W", "N1"] * 8)]
    windows = classical.with_classical_features(cut(runs, bold_volumes=4))
    with pytest.raises(NoInnerSplit, match="14 training windows of subject 01 .* 1000 s apart: use a smaller gap"):
        list(InnerValidation(3, 1000.0).split(windows[:14]))
    far = classical.ridge("bold_mean", InnerValidation(3, 1000.0))
    evaluation = evaluate({"ridge": far}, windows, BlockedWithinSubject(2, 10.0), folder=tmp_path / "folds")
    assert evaluation.folds["fallback"].all()


def test_methods_learn_what_is_there_and_trivial_ones_do_not(windows, tmp_path):
    methods = classical.classical_methods() | classical.trivial_predictors()
    scores = evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path).summary()
    assert (scores.loc[["lda_eeg", "ridge_eeg", "lda_bold", "ridge_bold"], "low"] > 0.6).all()
    assert (scores.loc[["majority", "stratified_random"], "value"] < 0.45).all()
    assert scores["n"].eq(6).all()


def test_methods_find_nothing_in_noise(tmp_path):
    runs = informative(tmp_path / "runs", n_subjects=8, strength=0.0, seed=3)
    windows = classical.with_classical_features(cut(runs))
    methods = classical.classical_methods() | classical.trivial_predictors()
    evaluation = evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path / "folds")
    pairs = [(method, "majority") for method in classical.classical_methods()]
    assert (evaluation.compare(pairs)["p_holm"] > 0.05).all()


class MeanOfTraining(ClassifierMixin, BaseEstimator):
    """Remembers the mean of its training windows: anything that leaks shows in its state."""

    def fit(self, X, y):
        self.mean_ = X.bold[:].mean(axis=(0, 2))
        self.spread_ = X.features["eeg_band_power"].std(axis=0)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def poisoned(windows, subject, tmp_path):
    """The same windows with one subject's signals and labels replaced by nonsense."""
    runs = informative(tmp_path / "poison", strength=0.0, seed=99)
    clean = informative(tmp_path / "clean")
    replaced = [bad if bad.subject == subject else good for bad, good in zip(runs, clean, strict=True)]
    return classical.with_classical_features(cut(replaced, bold_volumes=14))


def test_poisoning_the_test_subject_changes_nothing_that_was_learned(windows, tmp_path):
    methods = {**classical.classical_methods(), **classical.trivial_predictors(), "mean": MeanOfTraining()}
    protocol = SomeSubjects(subjects=("01", "03"))
    clean = evaluate(methods, windows, protocol, folder=tmp_path / "a").folds
    other = evaluate(methods, poisoned(windows, "03", tmp_path), protocol, folder=tmp_path / "b").folds
    both = clean.merge(other, on=["method", "fold"], suffixes=("", "_poisoned"))
    tested = both["fold"] == "sub-03"
    assert tested.sum() == (~tested).sum() == len(methods)
    assert (both["state"] == both["state_poisoned"])[tested].all()
    # The same poison must show wherever that subject is trained on, or the test could not fail.
    learning = ~both["method"].isin(["majority", "stratified_random"])
    assert (both["state"] != both["state_poisoned"])[~tested & learning].all()


def single_precision(windows):
    """Windows as the book makes them: signals and features of four bytes."""
    return replace(windows, features={name: values.astype(np.float32) for name, values in windows.features.items()})


def test_poison_leaves_types_as_they_were_so_that_a_hash_sees_leaks_alone(windows, tmp_path):
    clean = single_precision(windows)
    spoilt = leaks.poisoned(clean, "01", tmp_path)
    for name, values in clean.features.items():
        assert spoilt.features[name].dtype == values.dtype
    fold = next(iter(LeaveOneSubjectOut().split(clean)))
    for name, method in classical.classical_methods().items():
        learned, after = (
            leaks.fitted_digest(method.fit(some[fold.train], some.y[fold.train])) for some in (clean, spoilt)
        )
        assert learned == after, name
        assert leaks.fitted_digest(method.fit(spoilt, spoilt.y)) != learned, name


class TimeEmbedding(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.time_embedding = torch.nn.Parameter(torch.full((3,), value))


def test_the_hash_sees_weights_whatever_their_name_and_no_durations(windows):
    one, same, other = (TimeEmbedding(value) for value in (1.0, 1.0, 2.0))
    assert leaks.fitted_digest(one) == leaks.fitted_digest(same)
    assert leaks.fitted_digest(one) != leaks.fitted_digest(other)
    slow, quick = (classical.ridge("bold_mean").fit(windows, windows.y) for _ in range(2))
    slow.cv_results_["mean_fit_time"] = slow.cv_results_["mean_fit_time"] + 1
    slow.refit_time_ += 1
    assert leaks.fitted_digest(slow) == leaks.fitted_digest(quick)


def test_the_hash_of_fitted_state_sees_every_kind_of_learning(windows):
    one = SplineTransformer(n_knots=4).fit(np.arange(10.0)[:, None])
    two = SplineTransformer(n_knots=4).fit(np.arange(11.0)[:, None])
    assert leaks.fitted_digest(one) != leaks.fitted_digest(two)
    same = SplineTransformer(n_knots=4).fit(np.arange(10.0)[:, None])
    assert leaks.fitted_digest(one) == leaks.fitted_digest(same)


@pytest.mark.parametrize(
    "method",
    [
        DecisionTreeClassifier(random_state=0),
        RandomForestClassifier(3, random_state=0),
        HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5, random_state=0),
        KNeighborsClassifier(1),
        SVC(),
        SVC(kernel="linear"),
    ],
    ids=lambda method: type(method).__name__,
)
def test_the_hash_sees_what_trees_machines_and_neighbours_keep_to_themselves(method):
    """Both are fitted on as many windows of the same classes and features, so that only what was learned can differ."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.arange(60) % 3
    one, same, other = (clone(method).fit(*data) for data in ((X, y), (X.copy(), y.copy()), (X, np.roll(y, 1))))
    assert leaks.fitted_digest(one) == leaks.fitted_digest(same)
    assert leaks.fitted_digest(one) != leaks.fitted_digest(other)


def test_a_second_evaluation_computes_nothing_and_says_the_same(windows, tmp_path):
    methods = {"lda_eeg": classical.shrinkage_lda("eeg_band_power")}
    first = evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path)
    again = evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path)
    assert not first.folds["cached"].any()
    assert again.folds["cached"].all()
    assert first.predictions.equals(again.predictions)


def test_two_workers_and_one_give_the_same_bits(windows, tmp_path):
    methods, protocol = classical.classical_methods(), SomeSubjects(subjects=("01", "02"))
    one = evaluate(methods, windows, protocol, folder=tmp_path / "one", n_jobs=1)
    two = evaluate(methods, windows, protocol, folder=tmp_path / "two", n_jobs=2)
    assert one.predictions.equals(two.predictions)
    assert list(one.folds["state"]) == list(two.folds["state"])


def test_changed_parameters_or_windows_are_computed_anew(windows, tmp_path):
    protocol = SomeSubjects(subjects=("01", "02"))
    first = evaluate({"ridge": classical.ridge("eeg_band_power")}, windows, protocol, folder=tmp_path)
    other = classical.ridge("eeg_band_power", InnerValidation(2))
    assert not evaluate({"ridge": other}, windows, protocol, folder=tmp_path).folds["cached"].any()
    fewer = windows[windows.table["onset"] > 60]
    again = evaluate({"ridge": classical.ridge("eeg_band_power")}, fewer, protocol, folder=tmp_path)
    assert not again.folds["cached"].any()
    assert len(first.folds) == len(again.folds) == 2


def same_epochs(folder, **context):
    """Windows of the same epochs, whatever they hold of BOLD: the EEG of three epochs covers it."""
    runs = [made_recording(folder, f"{number:02d}", "task-sleep_run-1", stages(20, number)) for number in (1, 2)]
    windows = cut(runs, eeg_epochs=3, **context)
    return windows[(windows.table["onset"] > 100) & (windows.table["onset"] < 450)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"lag": 0.0, "bold_volumes": 14}, {"lag": 5.0, "bold_volumes": 14}),
        ({"lag": 5.0, "bold_volumes": 14}, {"lag": 10.0, "bold_volumes": 14}),
        ({"lag": 5.0, "bold_volumes": 14}, {"lag": 5.0, "bold_volumes": 20}),
    ],
)
def test_windows_that_hold_other_volumes_are_computed_anew(tmp_path, one, other, monkeypatch):
    write = cache.save_array
    monkeypatch.setattr(cache, "save_array", lambda path, array: path if path.exists() else write(path, array))
    first, second = (same_epochs(tmp_path, **context) for context in (one, other))
    assert first.table.equals(second.table)
    assert first.digest != second.digest
    methods = {"majority": classical.trivial_predictors()["majority"]}
    for windows in (first, second):
        assert not evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path / "f").folds["cached"].any()


@pytest.mark.parametrize("distribution", ["numpy", "scipy", "scikit-learn", "torch", "skorch"])
def test_folds_are_computed_anew_under_another_version_of_what_computes_them(
    windows, tmp_path, monkeypatch, distribution
):
    methods = {"majority": classical.trivial_predictors()["majority"]}
    evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path)
    installed = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.0" if name == distribution else installed(name))
    assert not evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path).folds["cached"].any()


def test_the_key_of_a_fold_follows_the_code_of_its_method():
    assert "eegfmri.estimators.classical" in folds.modules_of(classical.ridge("bold_mean"))
    assert "eegfmri.evaluation.splits" in folds.modules_of(classical.ridge("bold_mean")), "its inner validation"
    assert "eegfmri.estimators.classical" in folds.modules_of(classical.nearest_in_time())


def test_training_windows_of_one_class_fall_back_and_say_so(tmp_path):
    runs = [made_recording(tmp_path, "01", "task-sleep_run-1", ["W"] * 10 + ["N1"] * 10)]
    windows = classical.with_classical_features(cut(runs, bold_volumes=4))
    evaluation = evaluate(
        {"lda": classical.shrinkage_lda("bold_mean")},
        windows,
        BlockedWithinSubject(2, 10.0),
        folder=tmp_path / "folds",
    )
    assert evaluation.folds["fallback"].all()


def test_a_failing_fold_is_named(windows, tmp_path):
    with pytest.raises(EegFmriError, match=r"Fold sub-01 of loso-lda.*no feature 'absent'"):
        evaluate({"lda": classical.shrinkage_lda("absent")}, windows, LeaveOneSubjectOut(), folder=tmp_path)


def test_impossible_protocols_are_refused(windows):
    alone = windows[windows.groups == "01"]
    with pytest.raises(RequestError, match="at least two subjects"):
        list(LeaveOneSubjectOut().split(alone))
    with pytest.raises(RequestError, match="leaves no fold"):
        evaluate({"m": classical.shrinkage_lda("bold_mean")}, alone, BlockedWithinSubject(2, 10_000.0))


INTERRUPTED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from eegfmri.evaluation import folds
from windows_made import evaluate_made_runs

run = folds._run
def slowly(*task):
    run(*task)
    time.sleep(0.5)
folds._run = slowly
evaluate_made_runs(Path(sys.argv[1]))
"""


def test_an_evaluation_killed_midway_finishes_what_was_unfinished(tmp_path):
    def finished():
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("folds/*/sub-*/fold.json")}

    script = INTERRUPTED.format(tests=str(Path(__file__).parent))
    killed = subprocess.Popen([sys.executable, "-c", script, tmp_path / "killed"], env=dict(os.environ))
    while len(finished()) < 3:
        assert killed.poll() is None, "the evaluation ended before it could be killed"
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = finished()
    assert 3 <= len(before) < 12
    resumed = evaluate_made_runs(tmp_path / "killed")  # in another process than the one that was killed: in this
    assert int(resumed.folds["cached"].sum()) == len(before)
    after = finished()
    assert {path: after[path] for path in before} == before
    undisturbed = evaluate_made_runs(tmp_path / "whole")
    assert not undisturbed.folds["cached"].any()
    assert resumed.summary().to_csv() == undisturbed.summary().to_csv()
    assert resumed.predictions.equals(undisturbed.predictions)


def test_joined_evaluations_compare_as_one_and_refuse_what_does_not_fit(windows, tmp_path):
    lda, trivial = {"lda_eeg": classical.shrinkage_lda("eeg_band_power")}, classical.trivial_predictors()
    apart = [evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path) for methods in (lda, trivial)]
    together = evaluate(lda | trivial, windows, LeaveOneSubjectOut(), folder=tmp_path)
    joined = apart[0].joined(apart[1])
    pairs = [("lda_eeg", "majority"), ("lda_eeg", "time_in_run")]
    assert joined.methods == together.methods
    assert joined.compare(pairs).equals(together.compare(pairs))
    with pytest.raises(RequestError, match="lda_eeg"):
        apart[0].joined(together)
    fewer = evaluate(trivial, windows[windows.groups != "01"], LeaveOneSubjectOut(), folder=tmp_path)
    with pytest.raises(RequestError, match="same windows"):
        apart[0].joined(fewer)


@pytest.mark.parametrize("averaging", ["pooled", "per_subject"])
def test_an_interval_of_a_method_or_a_difference_is_what_the_summary_says(windows, tmp_path, averaging):
    methods = {
        "lda_eeg": classical.shrinkage_lda("eeg_band_power"),
        "time_in_run": classical.trivial_predictors()["time_in_run"],
    }
    evaluation = evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path)
    column = {"pooled": "pooled", "per_subject": "value"}[averaging]
    summary = evaluation.summary()[column]
    single = {name: evaluation.interval(name, averaging=averaging).value for name in methods}
    assert single == pytest.approx(summary.to_dict())
    difference = evaluation.interval("lda_eeg", less="time_in_run", averaging=averaging)
    assert difference.value == pytest.approx(summary["lda_eeg"] - summary["time_in_run"])
    assert difference.low < difference.value < difference.high
    nothing = evaluation.interval("lda_eeg", less="lda_eeg", averaging=averaging)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)


class Contrary(ClassifierMixin, BaseEstimator):
    """Says one class and, beside it, another."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)

    def extras(self, X):
        return {"second": np.asarray(X.y).tolist()}

    def learned(self, X):
        return {"n_test": len(X)}


def test_what_a_method_says_beside_its_classes_can_stand_as_a_method(windows, tmp_path):
    evaluation = evaluate({"contrary": Contrary()}, windows, LeaveOneSubjectOut(), folder=tmp_path)
    both = evaluation.add_method_from_extra("second", "contrary", "second")
    assert both.methods == ("contrary", "second")
    assert both.interval("second").value == 1
    assert both.interval("contrary").value == evaluation.interval("contrary").value == pytest.approx(1 / 3)
    assert evaluation.learned("contrary", "n_test").sum() == len(windows)
