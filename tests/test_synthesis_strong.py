"""On noise-free, strongly coupled recordings every network of synthesis can learn, and on noise none does.

Twelve trainings of six networks at the book's resolution take long: ``make soak`` runs them. That each network can learn at all is
tested in `test_synthesis_by_heart`, that nothing of the test subject is learned in `test_synthesis_estimator`.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from eegfmri import cache
from eegfmri.estimators.synthesis import VolumeSynthesiser
from eegfmri.estimators.volume_baselines import TrainingMean, with_lagged_power
from eegfmri.evaluation.splits import BlockedTogether
from eegfmri.evaluation.volumes import evaluate_volumes
from eegfmri.models import synthesis as models
from eegfmri.opening import open_recordings
from eegfmri.preprocessing import eeg
from eegfmri.preprocessing.volumes import VolumeScaling, VolumeSettings, prepare_together
from eegfmri.windows import LazyArray, volume_windows

pytestmark = pytest.mark.soak

BLOCKS = BlockedTogether(4, 20.0)

#: What lets each network learn within subjects. Dense layers and transformers do not find power in samples, and a transformer that is
#: always fed true slices does not learn to do without: the chapter shows both, and these settings take both away.
ABLE = {
    "fully_connected": {"eeg_input": "power"},
    "siamese": {"eeg_input": "power"},
    "convolutional": {},
    "convolutional_all": {},
    "transformer": {"eeg_input": "power", "changes": {"slice_dropout": 1.0}},
    "transformer_sinusoidal": {"eeg_input": "power", "changes": {"slice_dropout": 1.0, "positions": "sinusoidal"}},
}


@pytest.fixture(scope="module")
def windows():
    recordings = open_recordings(None, "oddball", preset="strong")
    cut = volume_windows(
        recordings,
        partial(eeg.prepare, settings=eeg.EegSettings(sfreq=250.0, reference="recorded")),
        prepare_together(recordings, VolumeSettings()),
        step=3,
    )
    return with_lagged_power(cut)


def settings_of(name):
    return ABLE[name] | {
        "n_training_epochs": 8,
        "patience": 8,
        "batch_size": 16,
        "learning_rate": 3e-3,
        "validation": "blocks",
    }


@pytest.fixture(scope="module")
def within(windows, tmp_path_factory):
    methods = {"training_mean": TrainingMean()} | networks()
    return evaluate_volumes(
        methods,
        windows,
        BLOCKS,
        scaling=VolumeScaling("normalised"),
        other_time=list(models.MODELS),
        folder=tmp_path_factory.mktemp("strong"),
    )


def networks():
    return {name: VolumeSynthesiser(_base(name), **settings_of(name)) for name in models.MODELS}


def _base(name):
    # positions are a field of the configuration, which `changes` may set
    return "transformer" if name == "transformer_sinusoidal" else name


@pytest.mark.parametrize("name", models.MODELS)
def test_each_network_beats_the_training_mean_within_subjects(name, within):
    skill = within.skill(name)
    assert skill.low > 0, f"{name}: {skill}"
    # and because of this EEG, not of any
    assert within.interval(name, less=f"{name}_other_time").high < 0


def test_on_noise_no_network_is_favoured(windows, tmp_path):
    rng = np.random.default_rng(0)
    streams = [
        replace(s, path=cache.save_array(tmp_path / f"{i}.npy", rng.standard_normal(s.load().shape).astype(np.float32)))
        for i, s in enumerate(windows.eeg.streams)
    ]
    noise = replace(windows, eeg=LazyArray(streams, windows.eeg.run, windows.eeg.first, windows.eeg.length))
    noise = with_lagged_power(noise)
    methods = {"training_mean": TrainingMean()} | networks()
    found = evaluate_volumes(
        methods,
        noise,
        BLOCKS,
        scaling=VolumeScaling("normalised"),
        other_time=list(models.MODELS),
        folder=tmp_path / "folds",
    )
    # An output that is all but the mean volume may lie a few millionths beside it, in everybody alike: a thousandth is the margin.
    margin = 1e-3 * found.per_subject("mse")["training_mean"].mean()
    for name in models.MODELS:
        assert found.interval(name, less="training_mean").high > -margin, name
        assert found.interval(name, less=f"{name}_other_time").high > -margin, name
