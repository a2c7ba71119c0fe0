"""Engineered features against formulas and signals with known answers; classifiers that are tuned without the test subject."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eegfmri import cache, metrics
from eegfmri.errors import RequestError
from eegfmri.estimators import engineered
from eegfmri.estimators.classical import PickFeature
from eegfmri.estimators.engineered import (
    EEG_FEATURES,
    METHODS,
    BestOf,
    best_classical,
    bold_features,
    eeg_features,
    engineered_methods,
    strongest,
    with_engineered_features,
)
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.evaluation.leaks import fitted_digest
from eegfmri.evaluation.splits import InnerValidation, LeaveOneSubjectOut
from eegfmri.preprocessing.spectra import band_power
from windows_made import SomeSubjects, cut, informative, made_recording, stages

SFREQ = 100.0
TIME = np.arange(3000) / SFREQ


def described(signal, sfreq=SFREQ) -> dict[str, float]:
    """The features of one channel, by name."""
    return dict(zip(EEG_FEATURES, eeg_features(np.asarray(signal)[None], sfreq)[0], strict=True))


def noise(exponent: float, seed: int, n: int = 30000) -> np.ndarray:
    """Noise of 20 µV whose density falls as 1 / f**exponent, exactly."""
    rng = np.random.default_rng(seed)
    frequencies = np.fft.rfftfreq(n, 1 / SFREQ)
    amplitude = np.r_[0, frequencies[1:] ** (-exponent / 2)]
    signal = np.fft.irfft(amplitude * np.exp(2j * np.pi * rng.random(len(frequencies))), n)
    return 20e-6 * signal / signal.std()


@pytest.mark.parametrize("frequency", [2.0, 10.0, 13.0, 30.0])
def test_hjorths_parameters_of_a_sine(frequency):
    found = described(20e-6 * np.sin(2 * np.pi * frequency * TIME + 0.3))
    assert found["Hjorth activity"] == pytest.approx(10 * np.log10(20**2 / 2), abs=0.01)
    # A difference of samples multiplies a sine by 2 sin(pi f / sfreq); 3000 samples end within 1 % of a whole period.
    assert found["Hjorth mobility"] == pytest.approx(2 * SFREQ * np.sin(np.pi * frequency / SFREQ), rel=0.01)
    assert found["Hjorth complexity"] == pytest.approx(1, rel=0.01)


def test_hjorths_parameters_are_the_written_formulas():
    signal = np.random.default_rng(0).normal(0, 1e-5, 500).cumsum()
    derivative = [(b - a) * SFREQ for a, b in itertools.pairwise(signal)]
    second = [(b - a) * SFREQ for a, b in itertools.pairwise(derivative)]
    mobility = np.std(derivative) / np.std(signal)
    found = described(signal)
    assert found["Hjorth activity"] == pytest.approx(10 * np.log10(np.var(signal) * 1e12))
    assert found["Hjorth mobility"] == pytest.approx(mobility)
    assert found["Hjorth complexity"] == pytest.approx(np.std(second) / np.std(derivative) / mobility)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0])
def test_the_slope_is_the_exponent_of_the_noise(exponent):
    found = np.mean([described(noise(exponent, seed))["spectral slope"] for seed in range(4)])
    # Each of 140 frequencies averages 150 segments: the standard error of the exponent is below 0.02.
    assert found == pytest.approx(-exponent, abs=0.06)


def test_peaks_of_alpha_and_spindles_do_not_bend_the_slope():
    signal = noise(1.0, 0)
    with_peaks = signal.copy()
    seconds = np.arange(len(signal)) / SFREQ
    for frequency in (10.0, 13.0):
        with_peaks += 3 * signal.std() * np.sin(2 * np.pi * frequency * seconds)
    assert described(with_peaks)["spectral slope"] == pytest.approx(described(signal)["spectral slope"], abs=0.02)


def test_log_power_is_the_density_of_white_noise_and_that_of_the_eeg_room():
    sd = 5.0
    signal = np.random.default_rng(1).normal(0, sd * 1e-6, (2, 60000))
    found = eeg_features(signal, SFREQ)
    np.testing.assert_allclose(found[:, :5], 10 * np.log10(sd**2 / (SFREQ / 2)), atol=0.2)
    np.testing.assert_allclose(found[:, :5], band_power(signal, SFREQ), atol=1e-6)


def test_shares_of_power_are_those_of_the_sines_it_is_made_of():
    slow, spindle, beta = 3.0, 2.0, 1.0
    found = described(
        1e-5 * sum(a * np.sin(2 * np.pi * f * TIME) for a, f in ((slow, 1.25), (spindle, 13.5), (beta, 21.0)))
    )
    whole = slow**2 + spindle**2 + beta**2
    # 4-s segments hold whole periods of all three; Hann's window spreads each over 0.75 Hz, within its band.
    assert found["slow-wave ratio"] == pytest.approx(slow**2 / whole, abs=0.01)
    assert found["spindle ratio"] == pytest.approx(spindle**2 / whole, abs=0.01)
    assert found["relative power beta"] == pytest.approx((spindle**2 + beta**2) / whole, abs=0.01)
    assert found["relative power gamma"] == pytest.approx(0, abs=0.01)


SCALE_FREE = [
    i for i, name in enumerate(EEG_FEATURES) if not name.startswith("log power") and name != "Hjorth activity"
]
LEVELS = [i for i in range(len(EEG_FEATURES)) if i not in SCALE_FREE]


@given(gain=st.floats(0.01, 100), offset=st.floats(-1e-2, 1e-2), seed=st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_a_gain_moves_levels_by_its_decibels_and_nothing_else_and_an_offset_moves_nothing(gain, offset, seed):
    signal = noise(1.0, seed, 3000)[None]
    before, after = eeg_features(signal, SFREQ)[0], eeg_features(gain * signal + offset, SFREQ)[0]
    # An offset of 10 mV under a signal of 0.2 µV costs five of sixteen digits; the floor of decibels lies far below.
    np.testing.assert_allclose(after[SCALE_FREE], before[SCALE_FREE], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(after[LEVELS] - before[LEVELS], 20 * np.log10(gain), atol=1e-6)
    relative = [name.startswith("relative power") for name in EEG_FEATURES]
    assert (before[relative] > 0).all()
    assert before[relative].sum() < 1  # 0.5 to 1 Hz belongs to the whole and to no band


def test_a_channel_that_never_varies_has_finite_features():
    signal = np.stack([np.full(3000, 0.1), np.zeros(3000), noise(1.0, 0, 3000)])
    for dtype in (float, np.float32):
        found = eeg_features(signal.astype(dtype), SFREQ)
        assert np.isfinite(found).all()
        assert (found[:2][:, LEVELS] == -120).all()
        assert (found[:2][:, SCALE_FREE] == 0).all()


def test_a_gap_leaves_the_features_of_what_is_left():
    signal = np.random.default_rng(2).normal(0, 1e-5, (2, 6000))
    gap = signal.copy()
    gap[0, 1200:1700] = np.nan
    found = eeg_features(gap, SFREQ)
    np.testing.assert_allclose(found[1], eeg_features(signal, SFREQ)[1], rtol=1e-9)
    np.testing.assert_allclose(found[0], eeg_features(signal, SFREQ)[0], rtol=0.2, atol=0.2)
    assert np.isnan(eeg_features(np.full((1, 3000), np.nan), SFREQ)).all()
    with pytest.raises(RequestError, match="90 Hz or more"):
        eeg_features(signal, 80.0)


def test_bold_features_are_numpys_mean_variance_and_correlation():
    rng = np.random.default_rng(3)
    bold = rng.normal(size=(6, 5, 42)) + rng.normal(size=(6, 1, 42))
    found = bold_features(bold)
    for window, row in zip(bold, found, strict=True):
        np.testing.assert_allclose(row[:5], window.mean(axis=1))
        np.testing.assert_allclose(row[5:10], window.var(axis=1))
        np.testing.assert_allclose(row[10:], np.arctanh(np.corrcoef(window)[np.triu_indices(5, 1)]))


@given(scale=st.floats(0.1, 10), shift=st.floats(-10, 10), seed=st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_connectivity_ignores_scale_and_shift_of_a_region(scale, shift, seed):
    bold = np.random.default_rng(seed).normal(size=(2, 4, 30))
    changed = bold.copy()
    changed[:, 1] = scale * bold[:, 1] + shift
    before, after = bold_features(bold), bold_features(changed)
    np.testing.assert_allclose(after[:, 8:], before[:, 8:], atol=1e-9)
    np.testing.assert_allclose(after[:, 5], scale**2 * before[:, 5], rtol=1e-9)
    np.testing.assert_allclose(after[:, 1], scale * before[:, 1] + shift, atol=1e-9)


def test_a_region_that_never_varies_is_connected_to_nothing():
    bold = np.random.default_rng(4).normal(size=(3, 4, 20))
    bold[:, 2] = 0.1
    bold[:, 3] = bold[:, 0]
    found = bold_features(bold)
    assert np.isfinite(found).all()
    assert (found[:, 6] == 0).all()
    pairs = list(zip(*np.triu_indices(4, 1), strict=True))
    silent = [2 in pair for pair in pairs]
    assert (found[:, 8:][:, silent] == 0).all()
    np.testing.assert_allclose(found[:, 8 + pairs.index((0, 3))], np.arctanh(0.999999))


def test_volumes_that_were_left_out_are_as_if_never_recorded():
    bold = np.random.default_rng(5).normal(size=(3, 4, 20))
    censored = bold.copy()
    censored[:, :, [0, 7]] = np.nan
    np.testing.assert_allclose(bold_features(censored), bold_features(np.delete(bold, [0, 7], axis=2)), atol=1e-9)
    assert (bold_features(np.full((1, 3, 5), np.nan)) == 0).all()


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    runs = informative(tmp_path_factory.mktemp("runs"), n_subjects=4, n_epochs=30)
    return with_engineered_features(cut(runs, eeg_epochs=3, bold_volumes=14))


@pytest.fixture(scope="module")
def fold(windows):
    return next(iter(LeaveOneSubjectOut().split(windows)))


def test_every_epoch_of_the_context_is_described(windows):
    found = windows.features["eeg_engineered"]
    assert found.shape == (len(windows), 3, 2 * len(EEG_FEATURES))
    for row in (0, 7):
        before, scored, after = (
            eeg_features(epoch, 100.0) for epoch in np.split(np.asarray(windows.eeg[row]), 3, axis=1)
        )
        np.testing.assert_allclose(found[row][:, : len(EEG_FEATURES)], scored, rtol=1e-5)
        np.testing.assert_allclose(found[row][:, len(EEG_FEATURES) :], (before + after) / 2, rtol=1e-4, atol=1e-5)
    again = with_engineered_features(windows[[3, 50]])
    np.testing.assert_array_equal(again.features["eeg_engineered"], found[[3, 50]])
    np.testing.assert_array_equal(again.features["bold_engineered"], windows.features["bold_engineered"][[3, 50]])


def test_a_window_without_context_is_described_whole(tmp_path):
    windows = with_engineered_features(cut(informative(tmp_path, n_subjects=1, n_epochs=6), bold_volumes=4))
    expected = eeg_features(windows.eeg[:], 100.0)
    np.testing.assert_allclose(windows.features["eeg_engineered"], expected, rtol=1e-5)


def test_features_lie_in_the_columns_of_their_channel_and_region(tmp_path):
    alpha = 1e-5 * np.sin(2 * np.pi * 10 * np.arange(18000) / 100)
    eeg_array = np.stack([0 * alpha, alpha, 0 * alpha])  # Oz alone
    bold = np.random.default_rng(6).normal(size=(4, 80))
    bold[3] = bold[1]
    runs = [made_recording(tmp_path, "01", "task-rest_run-1", stages(6, 0), eeg_array, bold)]
    windows = with_engineered_features(cut(runs, bold_volumes=10))
    of_channel = windows.features["eeg_engineered"][0]  # a row per channel: Cz, Oz, Fz
    assert of_channel[1, EEG_FEATURES.index("relative power alpha")] == pytest.approx(1, abs=0.01)
    assert of_channel[0, EEG_FEATURES.index("relative power alpha")] == 0
    assert of_channel[1, EEG_FEATURES.index("relative power theta")].round(2) == 0
    mean, variance, connectivity = np.split(windows.features["bold_engineered"][0], [4, 8])
    pairs = list(zip(*np.triu_indices(4, 1), strict=True))
    assert pairs[connectivity.argmax()] == (1, 3)
    assert mean[1] == mean[3] == pytest.approx(windows.bold[0][1].mean(), rel=1e-5)
    assert variance[1] == pytest.approx(windows.bold[0][1].var(), rel=1e-5)


EVERY = engineered_methods("eeg") | engineered_methods("bold")


def test_there_are_six_methods_per_modality():
    assert set(EVERY) == {f"{name}_{modality}" for name in METHODS for modality in ("eeg", "bold")}
    assert len(METHODS) == 6


@pytest.fixture(scope="module")
def evaluation(windows, tmp_path_factory):
    methods = EVERY | best_classical("eeg") | best_classical("bold")
    return evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path_factory.mktemp("folds"))


def test_every_method_learns_what_is_there(evaluation):
    scores = evaluation.summary()
    assert (scores["low"] > 0.5).all()
    assert (scores["n"] == 4).all()


def test_the_strongest_is_named_by_its_test_score(evaluation):
    names = list(engineered_methods("bold"))
    means = evaluation.per_subject()[names].mean()
    assert means[strongest(evaluation, names)] == means.max()
    with pytest.raises(RequestError, match="ridge_eeg was not evaluated"):
        strongest(evaluation, ["ridge_eeg"])


def test_two_workers_and_one_give_the_same_bits(evaluation, windows, tmp_path):
    methods = {name: EVERY[name] for name in ("logistic_bold", "random_forest_eeg", "gradient_boosting_bold")}
    other = evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path, n_jobs=2)
    first = evaluation.folds[evaluation.folds["method"].isin(methods)].set_index(["method", "fold"])["state"]
    second = other.folds.set_index(["method", "fold"])["state"]
    assert (first.loc[second.index] == second).all()


def test_nothing_that_is_fitted_knows_the_test_subject(evaluation, windows, tmp_path):
    rng = np.random.default_rng(7)
    own = windows.groups == "03"
    features = {
        name: np.where(own.reshape(-1, *[1] * (values.ndim - 1)), rng.normal(size=values.shape), values).astype("f4")
        for name, values in windows.features.items()
    }
    poisoned = replace(windows, features=features, y=np.where(own, rng.permutation(windows.y), windows.y))
    other = evaluate(EVERY, poisoned, SomeSubjects(subjects=("01", "03")), folder=tmp_path).folds
    both = evaluation.folds.merge(other, on=["method", "fold"], suffixes=("", "_poisoned"))
    tested = both["fold"] == "sub-03"
    assert tested.sum() == len(EVERY)
    assert (both["state"] == both["state_poisoned"])[tested].all()
    assert (both["state"] != both["state_poisoned"])[~tested].all()


def test_tuning_is_a_grid_search_over_the_inner_splits(windows, fold):
    train = windows[fold.train]
    ours = BestOf("eeg", ("logistic",)).fit(train, train.y)
    pipeline = make_pipeline(
        PickFeature("eeg_engineered"),
        StandardScaler(),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    )
    grid = {"logisticregression__C": [setting for _, setting in ours.inner_scores_]}
    theirs = GridSearchCV(pipeline, grid, scoring=make_scorer(metrics.balanced_accuracy), cv=InnerValidation())
    theirs.fit(train, train.y)
    np.testing.assert_allclose(list(ours.inner_scores_.values()), theirs.cv_results_["mean_test_score"])
    assert ours.setting_ == theirs.best_params_["logisticregression__C"]
    np.testing.assert_array_equal(ours.predict(windows[fold.test]), theirs.predict(windows[fold.test]))


def test_steps_of_boosting_scored_in_one_fit_are_those_of_separate_fits(windows, fold):
    method = engineered._METHODS["gradient_boosting"]
    X = windows.features["eeg_engineered"].reshape(len(windows), -1)
    known, new = X[fold.train], X[fold.test]
    together = list(method.predictions(known, windows.y[fold.train], new, 0))
    assert len(together) == len(method.settings)
    for setting, predicted in zip(method.settings, together, strict=True):
        alone = method.build(setting, 0).fit(known, windows.y[fold.train]).predict(new)
        np.testing.assert_array_equal(predicted, alone)


def test_the_best_is_chosen_by_inner_scores_and_can_differ_from_the_first(windows):
    """Classes that no straight line tells apart: the curved machine must be taken, whatever its place in the list."""
    X = np.random.default_rng(8).normal(size=windows.features["eeg_engineered"].shape)
    y = (X[:, 0, 0] * X[:, 0, 1] > 0).astype(int)
    X[:, :, 2:], X[:, 1:] = 0, 0
    crossed = replace(windows, features={"eeg_engineered": X}, y=y)
    for methods in (("linear_svm", "rbf_svm"), ("rbf_svm", "linear_svm")):
        fitted = BestOf("eeg", methods).fit(crossed, y)
        assert fitted.method_ == "rbf_svm"
        assert fitted.inner_scores_[fitted.method_, fitted.setting_] == max(fitted.inner_scores_.values())
        assert np.mean(fitted.predict(crossed) == y) > 0.9


@pytest.mark.parametrize("name", [*EVERY, "best_classical_eeg", "best_classical_bold"])
def test_lacking_classes_stop_no_method(windows, name):
    method = (EVERY | best_classical("eeg") | best_classical("bold"))[name]
    alone = windows[windows.y == 1]
    assert (method.fit(alone, alone.y).predict(windows) == 1).all()
    # Each subject has one class: no inner split has two to train on, and the first candidate is taken.
    split = windows[((windows.groups == "01") & (windows.y == 0)) | ((windows.groups == "02") & (windows.y == 2))]
    fitted = method.fit(split, split.y)
    assert fitted.method_ == method.methods[0]
    assert set(fitted.predict(windows)) <= {0, 2}
    # One window of a class, so that most inner splits lack it.
    rare = windows[np.r_[np.flatnonzero(windows.y != 2), np.flatnonzero(windows.y == 2)[:1]]]
    assert len(method.fit(rare, rare.y).predict(windows)) == len(windows)
    # One subject, few windows: inner splits are blocks of time.
    one = windows[windows.groups == "04"][:9]
    assert len(method.fit(one, one.y).predict(windows)) == len(windows)


def test_windows_with_gaps_are_still_classified(windows, fold):
    features = {name: values.copy() for name, values in windows.features.items()}
    features["eeg_engineered"][::5, 1] = np.nan
    gappy = replace(windows, features=features)
    fitted = BestOf("eeg", ("lda",)).fit(gappy[fold.train], gappy.y[fold.train])
    assert np.mean(fitted.predict(gappy[fold.test]) == gappy.y[fold.test]) > 0.6


def test_a_seed_repeats_and_another_does_not(windows, fold):
    train = windows[fold.train]
    one, same, other = (BestOf("eeg", ("random_forest",), seed=seed).fit(train, train.y) for seed in (0, 0, 1))
    assert fitted_digest(one) == fitted_digest(same) != fitted_digest(other)


def test_wrong_names_are_refused_with_the_right_ones(windows):
    with pytest.raises(RequestError, match=r"no method perceptron.*logistic"):
        BestOf("eeg", ("perceptron",)).fit(windows, windows.y)
    with pytest.raises(RequestError, match="'eeg', of 'bold' or of 'both'"):
        engineered_methods("meg")


def test_classical_fusion_sees_both_modalities(windows, fold):
    train, test = windows[fold.train], windows[fold.test]
    methods = engineered.classical_fusion()
    for name, method in methods.items():
        fitted = method.fit(train, train.y)
        said = fitted.predict_proba(test)
        np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(fitted.predict(test), fitted.classes_[said.argmax(axis=1)])
        for modality in ("eeg", "bold"):
            features = dict(test.features)
            rows = np.random.default_rng(0).permutation(len(test))
            features[f"{modality}_engineered"] = features[f"{modality}_engineered"][rows]
            assert not np.allclose(fitted.predict_proba(replace(test, features=features)), said), (name, modality)


def test_scores_found_before_are_not_found_again(windows, fold, monkeypatch):
    train = windows[fold.train]
    monkeypatch.setattr(engineered, "_SCORES", cache.Recent(1 << 20))
    first = BestOf("eeg", ("lda", "logistic"), seed=3).fit(train, train.y)
    monkeypatch.setattr(BestOf, "_scores_of", lambda *args: pytest.fail("it was known"))
    again = BestOf("eeg", ("logistic",), seed=3).fit(train, train.y)
    assert again.inner_scores_.items() <= first.inner_scores_.items()
    with pytest.raises(pytest.fail.Exception):
        BestOf("eeg", ("logistic",), seed=3).fit(train, np.roll(train.y, 1))


def test_late_fusion_multiplies_two_opinions(windows, fold):
    train, test = windows[fold.train], windows[fold.test]
    fitted = engineered.LateFusion().fit(train, train.y)
    alone = [engineered.BestOf(m, ("logistic",)).fit(train, train.y).predict_proba(test) for m in ("eeg", "bold")]
    product = alone[0] * alone[1]
    np.testing.assert_allclose(fitted.predict_proba(test), product / product.sum(axis=1, keepdims=True), rtol=1e-6)
