"""The networks of synthesis as estimators: what they read, what they are fitted on, what they can learn."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import decimate

from eegfmri import cache
from eegfmri.errors import RequestError
from eegfmri.estimators import synthesis as estimators
from eegfmri.estimators.synthesis import VolumeSynthesiser, _Batches
from eegfmri.estimators.volume_baselines import TrainingMean, with_lagged_power
from eegfmri.evaluation.leaks import fitted_digest, poisoned
from eegfmri.evaluation.splits import LeaveOneSubjectOut, NearestInTime
from eegfmri.evaluation.volumes import evaluate_volumes
from eegfmri.metrics.volumes import mean_squared_error
from eegfmri.models.synthesis import MODELS
from eegfmri.preprocessing.volumes import VolumeScaling
from eegfmri.recordings import Stream
from eegfmri.windows import LazyArray
from volumes_made import SFREQ, T_R, cut_volumes, made_runs

#: Samples of a volume's time after pooling four into one.
PER_VOLUME = round(SFREQ * T_R) // 4


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    runs = made_runs(tmp_path_factory.mktemp("runs"), n_subjects=3, n_runs=2, n_volumes=60)
    return with_lagged_power(cut_volumes(runs, eeg_seconds=12.0))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EEGFMRI_CACHE", str(tmp_path / "cache"))


def targets_of(windows, kind="normalised"):
    return VolumeScaling(kind).fit(windows).targets(windows)


def quick(model, **settings):
    return VolumeSynthesiser(model, **{"n_training_epochs": 2, "batch_size": 16, **settings})


def test_windows_cut_from_pooled_runs_are_pooled_windows(windows):
    estimator = quick("siamese", eeg_scaling="minmax")
    odd = replace(
        windows, eeg=LazyArray(windows.eeg.streams, windows.eeg.run, windows.eeg.first + 3, windows.eeg.length - 3)
    )
    for used in (windows, odd):
        estimator.eeg_scaling_ = {}
        rows = np.array([0, 7, 50, 101])
        read = _Batches(estimator, used).inputs(rows)["eeg"]
        offset, unit = np.stack([estimator.scaling_for(used)[s] for s in used.groups[rows]]).transpose(1, 0, 2)[
            ..., None
        ]
        slower = []
        for row in rows:
            first, run = int(used.eeg.first[row]), np.asarray(used.eeg.streams[used.eeg.run[row]].load(), dtype=float)
            whole = decimate(
                run[:, first % 4 : first % 4 + (run.shape[1] - first % 4) // 4 * 4], 4, ftype="fir", axis=1
            )
            slower.append(whole[:, first // 4 : first // 4 + used.eeg.length // 4])
        np.testing.assert_allclose(read.numpy(), (np.stack(slower) - offset) / unit, atol=1e-4)
        assert read.shape == (4, 3, used.eeg.length // 4)


@pytest.mark.parametrize(("hertz", "left"), [(5.0, 1.0), (21.0, 0.0), (30.0, 0.0), (37.0, 0.0), (45.0, 0.0)])
def test_what_a_lower_rate_cannot_show_does_not_come_back_as_something_else(tmp_path, hertz, left):
    """At 100 Hz, every fourth sample shows up to 12.5 Hz; a mean of four would leave a third of 21 Hz, as 4 Hz."""
    times = np.arange(4000) / SFREQ
    path = cache.save_array(tmp_path / "sine.npy", np.sin(2 * np.pi * hertz * times)[None].astype(np.float32))
    array = LazyArray((Stream(path, SFREQ, ("Cz",)),), np.array([0]), np.array([0]), 4000)
    slower = estimators._pooled_run(array, 0, 4, 0)[0, 100:-100]
    assert slower.std() == pytest.approx(left / np.sqrt(2), abs=0.02)


def without_tables(monkeypatch):
    monkeypatch.setattr(_Batches, "_tabulate", lambda self: None)


@pytest.mark.parametrize("shifted", [0, 3], ids=["whole bins", "odd starts"])
def test_convolutions_learn_from_covariances_what_they_learn_from_samples(windows, monkeypatch, shifted):
    used = replace(
        windows,
        eeg=LazyArray(
            windows.eeg.streams, windows.eeg.run, windows.eeg.first + shifted, windows.eeg.length - 4 * (shifted > 0)
        ),
    )
    train, test = used[:60], used[60:]
    network = quick("convolutional", n_training_epochs=3, patience=None, adaptation="transductive")
    of_tables = network.fit(train, targets_of(train))
    table = _Batches(of_tables, train)
    assert "covariances" in table.inputs(np.arange(2))
    # windows overlap: a stretch of time stands in the table once
    assert len(table.table) < table.bins.numel()
    predicted = of_tables.predict(test)
    without_tables(monkeypatch)
    of_samples = quick("convolutional", n_training_epochs=3, patience=None, adaptation="transductive").fit(
        train, targets_of(train)
    )
    assert "eeg" in _Batches(of_samples, train).inputs(np.arange(2))
    np.testing.assert_allclose(of_tables.history_, of_samples.history_, rtol=1e-4)
    varied = np.abs(predicted - of_samples.mean_).max()
    assert varied > 0
    np.testing.assert_allclose(predicted, of_samples.predict(test), atol=1e-2 * varied)


def test_augmented_eeg_is_read_as_samples(windows):
    network = quick("convolutional", n_training_epochs=1, noise=0.1).fit(windows, targets_of(windows))
    assert "eeg" in _Batches(network, windows).inputs(np.arange(2))


def test_what_does_not_fit_into_memory_is_read_batch_by_batch_alike(windows, monkeypatch):
    network = quick("siamese").fit(windows, targets_of(windows))
    rows = np.array([3, 40, 99])
    held = _Batches(network, windows).inputs(rows)["eeg"]
    monkeypatch.setattr("eegfmri.estimators.synthesis.HELD", 0)
    read = _Batches(network, windows)
    np.testing.assert_array_equal(read.inputs(rows)["eeg"].numpy(), held.numpy())
    assert not read._held


def test_eeg_is_scaled_by_what_the_windows_cover(windows):
    estimator = quick("siamese")
    own = windows[(windows.groups == "01") & (windows.table["volume"] < 20).to_numpy()]
    offset, unit = estimator._learn_scaling(own)
    # the EEG of volumes 6 to 19 runs from the start to the 19th volume
    covered = [
        decimate(np.array(own.eeg.streams[r].load()), 4, ftype="fir", axis=1)[:, : 19 * PER_VOLUME]
        for r in np.unique(own.eeg.run)
    ]
    samples = np.concatenate(covered, axis=1)
    np.testing.assert_allclose(offset, samples.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(unit, samples.std(axis=1), rtol=1e-4)
    low, span = quick("siamese", eeg_scaling="minmax")._learn_scaling(own)
    np.testing.assert_allclose(low, samples.min(axis=1), rtol=1e-6)
    np.testing.assert_allclose(low + span, samples.max(axis=1), rtol=1e-5)


def test_a_new_subject_is_scaled_as_declared(windows):
    training, test = (windows[windows.groups != "03"], windows[windows.groups == "03"])
    fitted = quick("siamese", n_training_epochs=1).fit(training, targets_of(training))
    found = {}
    for adaptation in ("transductive", "calibration", "none"):
        fitted.set_params(adaptation=adaptation, calibration_minutes=0.5)
        found[adaptation] = fitted.scaling_for(test)["03"]
    np.testing.assert_array_equal(found["none"], np.mean(list(fitted.eeg_scaling_.values()), axis=0))
    np.testing.assert_array_equal(found["transductive"], fitted._learn_scaling(test))
    first = test[(test.table["run"] == "run-1").to_numpy() & (test.table["volume"] < 6 + 15).to_numpy()]
    np.testing.assert_allclose(found["calibration"], fitted._learn_scaling(first))
    assert not np.allclose(found["calibration"], found["transductive"])


@pytest.mark.parametrize("name", MODELS)
def test_every_network_is_fitted_and_predicts_the_same_twice(name, windows):
    few = windows[::4]
    targets = targets_of(few)
    first, second = (quick(name).fit(few, targets) for _ in range(2))
    assert fitted_digest(first) == fitted_digest(second)
    predicted = first.predict(few)
    assert predicted.shape == targets.shape
    assert predicted.dtype == np.float32
    np.testing.assert_array_equal(predicted, second.predict(few))
    assert fitted_digest(quick(name, seed=1).fit(few, targets)) != fitted_digest(first)


@pytest.mark.parametrize(
    "settings", [{"model": "convolutional"}, {"model": "transformer"}, {"model": "siamese", "eeg_input": "power"}]
)
def test_poisoning_the_test_subject_changes_nothing_that_is_learned(settings, windows, tmp_path):
    fold = next(LeaveOneSubjectOut().split(windows))
    spoilt = poisoned(windows, windows.subjects[0], tmp_path)
    states = []
    for used in (windows, spoilt):
        training = used[fold.train][::3]
        states.append(fitted_digest(quick(**settings, n_training_epochs=1).fit(training, targets_of(training))))
    assert states[0] == states[1]
    seen = spoilt[::3]  # the test above must be able to fail
    assert fitted_digest(quick(**settings, n_training_epochs=1).fit(seen, targets_of(seen))) != states[0]


def test_a_prediction_does_not_depend_on_the_volumes_it_is_compared_with(windows, tmp_path):
    training, test = windows[windows.groups != "03"], windows[windows.groups == "03"]
    fitted = quick("transformer").fit(training[::2], targets_of(training[::2]))
    spoilt = poisoned(windows, "03", tmp_path)
    other = replace(test, bold=spoilt[windows.groups == "03"].bold)
    assert not np.array_equal(other.bold[0], test.bold[0])
    np.testing.assert_array_equal(fitted.predict(other), fitted.predict(test))
    forced = [fitted.predict_teacher_forced(w, targets_of(w)) for w in (test, other)]
    assert not np.allclose(*forced)


def test_the_teacher_forced_error_is_kept_apart_under_its_own_name(windows):
    few = windows[::4]
    targets = targets_of(few)
    fitted = quick("transformer").fit(few, targets)
    said = fitted.extras(few, targets)
    expected = mean_squared_error(targets[:], fitted.predict_teacher_forced(few, targets))
    np.testing.assert_allclose(said["mse_teacher_forced"], expected, rtol=1e-6)
    assert np.shape(said["channel_positions"]) == (3, 32)
    assert len(said["train_loss"]) == len(said["valid_loss"]) == 2
    sinusoidal = quick("transformer_sinusoidal").fit(few, targets).extras(few, targets)
    assert "channel_positions" not in sinusoidal
    with pytest.raises(RequestError, match="Only a transformer"):
        quick("siamese").fit(few, targets).predict_teacher_forced(few, targets)


def test_what_cannot_be_is_refused(windows):
    targets = targets_of(windows)
    for settings, message in (
        ({"model": "transformers"}, "no network"),
        ({"adaptation": "all"}, "adaptation is"),
        ({"eeg_scaling": "rank"}, "eeg_scaling is"),
        ({"eeg_input": "phase"}, "eeg_input is"),
        ({"eeg_input": "power", "model": "convolutional"}, "need the EEG's samples"),
        ({"validation": "none"}, "validation is cut"),
        ({"changes": {"widht": 4}}, "has no widht"),
    ):
        with pytest.raises(RequestError, match=message):
            VolumeSynthesiser(**{"model": "siamese", **settings}).fit(windows, targets)
    with pytest.raises(RequestError, match="with_lagged_power"):
        quick("siamese", eeg_input="power").fit(replace(windows, features={}), targets)


@pytest.mark.parametrize("validation", ["subjects", "blocks", "shuffled"])
def test_validation_is_cut_as_the_test_is(validation, windows):
    training, held_out = quick("siamese", validation=validation, validation_gap=2.0)._cut(windows)
    assert not set(training) & set(held_out)
    shared = set(windows.groups[training]) & set(windows.groups[held_out])
    assert bool(shared) == (validation != "subjects")
    if validation == "blocks":
        start, stop = windows.table["start"].to_numpy(), windows.table["stop"].to_numpy()
        same = (windows.groups[training, None] == windows.groups[held_out]) & (
            windows.table["run"].to_numpy()[training, None] == windows.table["run"].to_numpy()[held_out]
        )
        apart = np.maximum(start[training, None] - stop[held_out], start[held_out] - stop[training, None])
        assert apart[same].min() >= 2.0


@pytest.mark.slow
def test_what_is_planted_in_power_is_learned_across_subjects_from_samples_or_from_power(tmp_path):
    runs = made_runs(tmp_path, n_subjects=4, n_runs=2, n_volumes=90)
    windows = with_lagged_power(cut_volumes(runs, eeg_seconds=12.0))
    settings = {"n_training_epochs": 12, "batch_size": 8, "learning_rate": 3e-3, "patience": 12}
    methods = {
        "training_mean": TrainingMean(),
        "convolutional": VolumeSynthesiser("convolutional", **settings),
        "siamese": VolumeSynthesiser("siamese", eeg_input="power", **settings),
    }
    found = evaluate_volumes(
        methods, windows, LeaveOneSubjectOut(), other_time=["convolutional", "siamese"], folder=tmp_path / "folds"
    )
    skills = found.skills()
    for name in ("convolutional", "siamese"):
        assert (skills[name] > 0.2).all(), skills[name]
        assert (skills[f"{name}_other_time"] < 0.02).all()


# ---------------------------------------------------------------- a split at a chosen distance


@pytest.mark.parametrize("gap", [2.0, 6.0, 13.0, 22.0])
def test_training_windows_keep_the_gap_and_are_equally_many(gap, windows):
    for fold in NearestInTime(gap, n_train=10, n_test=2, n_folds=2).split(windows):
        table = windows.table
        for _, rows in table.groupby(["subject", "run"]).indices.items():
            onset = table["onset"].to_numpy()
            train, test = np.intersect1d(rows, fold.train), np.intersect1d(rows, fold.test)
            distance = np.abs(onset[train, None] - onset[test]).min(axis=1)
            assert len(train) == 10
            assert len(test) == 2
            assert distance.min() >= gap
            # nothing nearer that keeps the gap was passed over
            others = np.setdiff1d(rows, np.concatenate([train, test]))
            left = np.abs(onset[others, None] - onset[test]).min(axis=1)
            assert (left[left >= gap] >= distance.max()).all()


def test_the_folds_test_different_windows(windows):
    folds = list(NearestInTime(4.0, n_train=10, n_test=3, n_folds=2).split(windows))
    assert not set(folds[0].test) & set(folds[1].test)
    with pytest.raises(RequestError, match="fewer than the 200"):
        list(NearestInTime(4.0, n_train=200).split(windows))


def test_pooled_runs_are_kept_on_disk_and_mapped(windows, tmp_path):
    estimator = quick("siamese")
    estimator.eeg_scaling_ = {}
    _Batches(estimator, windows).inputs(np.arange(3))
    kept = list((tmp_path / "cache" / "eeg").glob("*-decimated-*.npy"))
    assert kept
    assert cache.load_array(kept[0]).shape == (3, 60 * PER_VOLUME)
