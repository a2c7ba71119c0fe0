"""Planted activity as windows: it is what the recordings were made from, and noise grows on it as asked."""

from functools import partial

import numpy as np
import pytest

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
    counts = table.groupby(["modality", "level", "map", "definition"]).size()
    subjects = len(recordings.subjects)
    assert (counts.drop("accuracy", level="map") <= 3 * subjects).all()
    assert (counts.xs("accuracy", level="map") == subjects).all()
    assert set(table["definition"]) == {"", "design", "difference"}
    scores = table[table["map"] != "accuracy"]["value"].dropna()
    assert scores.between(0, 1).all()
    own = table.query("modality == 'bold' and level == 0.0 and map == 'linear_model'")
    assert saliency.recovery(np.ones(4), np.array([True, False, False, False])) == 0.25
    assert recovery.per_subject(own).index.tolist() == list(dict.fromkeys(own["subject"]))


def test_by_difference_a_fifth_of_the_nodes_is_marked_whatever_made_them_differ(truth, recordings):
    noise_free = cut(truth, recordings, 0.0)
    for modality, n_nodes in (("eeg", noise_free.eeg.shape[1]), ("bold", noise_free.bold.shape[1])):
        marks = recovery.differing_marks(noise_free, modality)
        values = recovery.node_values(noise_free, modality)
        assert list(marks) == list(noise_free.subjects)
        for subject, own in marks.items():
            assert set(own.sum(axis=1)) <= {0, round(0.2 * n_nodes)}
            there = set(noise_free.y[noise_free.groups == subject])
            for c in there if len(there) > 1 else ():
                inside = (noise_free.groups == subject) & (noise_free.y == c)
                outside = (noise_free.groups == subject) & (noise_free.y != c)
                size = np.abs(values[inside].mean(axis=0) - values[outside].mean(axis=0)).sum(axis=-1)
                assert size[own[c]].min() >= size[~own[c]].max()
    centres = truth.regions.centroids[::-1]
    turned = recovery.differing_marks(noise_free, "bold", centres)
    for subject, own in recovery.differing_marks(noise_free, "bold").items():
        np.testing.assert_array_equal(turned[subject], own[:, ::-1])
