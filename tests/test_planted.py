"""Planted activity as windows: it is what the recordings were made from, and noise grows on it as asked."""

from functools import partial

import numpy as np
import pytest
import torch

from eegfmri import saliency
from eegfmri.datasets import sleep
from eegfmri.datasets.formats import AS_REAL
from eegfmri.errors import RequestError
from eegfmri.estimators.saliency_fusion import SaliencyGcnnClassifier, spectrum_frequencies, with_spectra
from eegfmri.preprocessing import eeg
from eegfmri.preprocessing.bold import clean
from eegfmri.recovery import planted
from eegfmri.recovery import saliency as recovery
from eegfmri.recovery.planted import Truth
from eegfmri.simulation.simulate import simulate

pytestmark = pytest.mark.slow

CLASSES = ("W", "N1", "N2")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return sleep.read(simulate("sleep", tmp_path_factory.mktemp("planted") / "sleep", scale="tiny", n_subjects=4))


@pytest.fixture(scope="module")
def truth(recordings):
    return Truth(recordings)


def cut(truth, recordings, level):
    return recovery.planted_windows(truth, recordings, level, eeg.prepare, CLASSES, bold_volumes=10, lag=5.0)


def test_the_truth_of_real_recordings_is_not_known(recordings, monkeypatch):
    monkeypatch.setenv(AS_REAL, "1")
    with pytest.raises(RequestError, match="simulated"):
        Truth(sleep.read(recordings.root))


def test_noise_on_bold_grows_with_the_level_and_is_the_same_noise(truth, recordings):
    recording = recordings[0]
    none, one, two = (np.asarray(planted.planted_bold(truth, recording, level).load()) for level in (0.0, 1.0, 2.0))
    expected = clean(np.asarray(truth.of_run(recording)["bold"]), recording.t_r, high_pass=0.008, standardise=None)
    np.testing.assert_allclose(none, expected, atol=1e-5)
    np.testing.assert_allclose(two - none, 2 * (one - none), atol=1e-4)
    assert 0.2 < (one - none).std() < 0.8
    assert not np.array_equal(one, planted.planted_bold(truth, recording, 1.0, seed=1).load())


@pytest.mark.parametrize("preset", ["weak", "realistic"])
def test_planted_spectra_are_those_of_the_recordings(preset, truth, recordings, tmp_path):
    """The same heads, the same power, the same background: band by band, over windows and electrodes."""
    if preset != "realistic":
        recordings = sleep.read(simulate("sleep", tmp_path / "sleep", scale="tiny", preset=preset, n_subjects=4))
        truth = Truth(recordings)
    measured = with_spectra(cut(truth, recordings, 1.0)).features["spectrum_electrodes"]
    windows = cut(truth, recordings, 1.0)
    predicted = windows.features["spectrum_electrodes"]
    frequencies = spectrum_frequencies(windows.eeg.sfreq, 2.0, windows.eeg.shape[2])
    for low, high in eeg.BANDS.values():
        inside = (frequencies >= low) & (frequencies < high)
        a, b = (np.log10(s[..., inside].sum(axis=-1)).ravel() for s in (measured, predicted))
        # what corrections leave and loose electrodes are in the recordings only, and weigh most where the brain is weakest
        assert abs(np.median(a - b)) < (0.06 if preset == "weak" else 0.15)
        assert np.corrcoef(a, b)[0, 1] > (0.95 if preset == "weak" else 0.75)


def test_without_noise_a_spectrum_is_smaller_and_does_not_scatter(truth, recordings):
    frequencies = spectrum_frequencies(100.0, 2.0, 3000)
    windows = cut(truth, recordings, 0.0)
    again = planted.planted_spectra(truth, recordings, windows, frequencies, 0.0, seed=5)
    np.testing.assert_array_equal(again, windows.features["spectrum_electrodes"])
    assert again.sum() < cut(truth, recordings, 1.0).features["spectrum_electrodes"].sum()


def test_effects_by_design_have_the_planted_signs_and_places(truth):
    effects = planted.regional_effects(truth, CLASSES)
    occipital = truth.regions.members("occipital")
    assert effects[0, occipital].max() < 0 < effects[1, occipital].min()
    np.testing.assert_allclose(effects.sum(axis=0), 0, atol=1e-12)
    names = sleep.EEG_CHANNELS
    scalp = planted.scalp_effects(truth, names, ("W", "N1"), next(iter(truth.document["subjects"])))
    assert names[scalp[0].argmax()] in ("O1", "O2", "Oz", "Pz", "P3", "P4", "P7", "P8")
    # of two stages each differs from the other as much
    np.testing.assert_allclose(scalp[0], scalp[1])


def test_the_power_to_be_expected_of_a_stage_is_that_of_its_windows(truth, recordings):
    """Over windows of a stage, spontaneous fluctuations aside: the same electrodes and bands are strong, and a stage changes them alike."""
    windows = cut(truth, recordings, 1.0)
    measured = recovery.node_values(windows, "eeg")
    for subject in windows.subjects:
        expected = planted.log_power(truth, windows.eeg.names, CLASSES, subject)
        for c in range(len(CLASSES)):
            own = measured[(windows.groups == subject) & (windows.y == c)]
            if len(own) > 5:
                # a label may be wrong, a wake subject drowsy, and power fluctuates by half a unit
                assert np.abs(own.mean(axis=0) - expected[c]).mean() < 0.5
                assert np.corrcoef(own.mean(axis=0).ravel(), expected[c].ravel())[0, 1] > 0.9


def test_without_background_a_stage_changes_log_power_almost_alike_everywhere(truth):
    """But for spindles and K-complexes, and where bands overlap: in logarithms there is no place to be found."""
    subject = next(iter(truth.document["subjects"]))
    flat, real = (
        np.ptp(planted.scalp_effects(truth, sleep.EEG_CHANNELS, CLASSES, subject, level)[0]) for level in (0.0, 1.0)
    )
    assert flat < real


def test_an_atlas_of_planted_centres_is_the_planted_parcellation(truth):
    centres = truth.regions.centroids
    np.testing.assert_array_equal(planted.nearest_planted(centres), np.arange(len(centres)))


def test_planted_lags_are_found_without_noise_and_lost_in_it(truth, recordings):
    lags = np.arange(-10.0, 20.1)
    found = {
        level: recovery.median_error(recovery.subject_peaks(recovery.lag_runs(truth, recordings, level), lags), truth)
        for level in (0.0, 30.0)
    }
    assert found[0.0].value < 1.5
    assert found[30.0].value > found[0.0].value


def test_recovery_has_a_row_per_subject_class_and_map(truth, recordings):
    small = {"n_training_epochs": 1, "features": 4, "n_filters": 2}
    networks = {"eeg": SaliencyGcnnClassifier("eeg", **small), "bold": SaliencyGcnnClassifier("bold", **small)}
    table = recovery.recovery_over_noise(truth, networks, partial(cut, truth, recordings), (0.0, 1.0))
    counts = table.groupby(["modality", "level", "map"]).size()
    subjects = len(recordings.subjects)
    assert (counts.drop("accuracy", level="map") <= 3 * subjects).all()
    assert (counts.xs("accuracy", level="map") == subjects).all()
    assert set(table["map"]) == {*recovery.MAPS, "accuracy"}
    scores = table[table["map"] != "accuracy"][["value", "others"]].stack().dropna()
    assert scores.between(0, 1).all()
    own = table.query("modality == 'bold' and level == 0.0 and map == 'linear_model'")
    assert recovery.per_subject(own).index.tolist() == list(dict.fromkeys(own["subject"]))
    compared = recovery.against_controls(table.query("modality == 'eeg' and level == 1.0"))
    assert list(compared) == list(recovery.MAPS)
    # a map that is the same for all classes cannot know one from the other
    assert compared["signal_size"]["own_class"].value == pytest.approx(0, abs=1e-9)
    assert set(compared["activation"]) == {"score", "own_class", "less_random_outputs", "less_signal_size"}


def test_everything_is_scored_in_one_unit_against_one_truth(truth, recordings):
    """The planted contrast itself, given as the signal, finds all planted nodes; so everything is in the unit of the truth."""
    windows = cut(truth, recordings, 1.0)
    marks = recovery.planted_marks(truth, "eeg", windows)
    n_nodes = windows.eeg.shape[1]
    for subject, own in marks.items():
        assert set(own.sum(axis=1)) == {round(recovery.SHARE * n_nodes)}
        effects = planted.scalp_effects(truth, windows.eeg.names, CLASSES, subject)
        assert [saliency.recovery(e, mark) for e, mark in zip(effects, own, strict=True)] == [1.0] * len(CLASSES)
    of_regions = recovery.planted_marks(truth, "bold", windows)
    assert all((mark.sum(axis=1) >= round(recovery.SHARE * mark.shape[1])).all() for mark in of_regions.values())


def test_a_silenced_region_keeps_its_noise_and_loses_what_was_planted(truth, recordings):
    """By hand for one region: its series replaced by what the noisy windows have more than those without noise."""
    windows, noise_free = cut(truth, recordings, 1.0), cut(truth, recordings, 0.0)
    network = SaliencyGcnnClassifier("bold", n_training_epochs=1, features=4, n_filters=2).fit(windows, windows.y)
    own = np.flatnonzero(windows.groups == windows.subjects[0])
    changes = recovery.decision_changes(network, windows[own], noise_free[own])
    heard = network.inputs(windows[own])
    silenced = heard.clone()
    less = noise_free[own].bold[:][:, 7] / network.bold_scale_[7]
    silenced[:, 7] -= torch.from_numpy(less.astype(np.float32))
    with torch.no_grad():
        before, after = (
            logits - logits.mean(dim=1, keepdim=True) for logits in map(network.module_, (heard, silenced))
        )
    likely = network.predict_proba(windows[own])
    expected = ((before - after).numpy() * likely / likely.sum(axis=0)).sum(axis=0)
    np.testing.assert_allclose(changes[:, 7], expected, atol=1e-5)
