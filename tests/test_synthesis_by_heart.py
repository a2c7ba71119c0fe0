"""Every network of synthesis can learn ten windows of noise-free, strongly coupled recordings by heart: ``make soak`` runs it."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from eegfmri.models import synthesis as models
from eegfmri.opening import open_recordings
from eegfmri.preprocessing import eeg
from eegfmri.preprocessing.volumes import VolumeScaling, VolumeSettings, prepare_together
from eegfmri.simulation.simulate import simulate
from eegfmri.windows import volume_windows

pytestmark = pytest.mark.soak

#: Of the EEG in Hz: enough for every band, and half of what a network has to learn at 250.
RATE = 125.0


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """Two subjects and coarse voxels: whether ten volumes can be learned does not depend on either, what it costs does."""
    folder = tmp_path_factory.mktemp("strong") / "oddball"
    recordings = open_recordings(simulate("oddball", folder, scale="small", preset="strong", n_subjects=2), "oddball")
    return volume_windows(
        recordings,
        partial(eeg.prepare, settings=eeg.EegSettings(sfreq=RATE, reference="recorded")),
        prepare_together(recordings, VolumeSettings(grid="mni_32x32x15")),
        step=3,
    )


@pytest.fixture(scope="module")
def ten(windows):
    """Samples and volumes of ten windows, the volumes in units of their own size: zero change has an error of 1."""
    chosen = windows[np.linspace(0, len(windows) - 1, 10).astype(int)]
    true = torch.from_numpy(VolumeScaling("normalised").fit(windows).targets(chosen)[:])
    samples = torch.from_numpy(chosen.eeg[:]).float()
    samples = (samples - samples.mean(dim=-1, keepdim=True)) / samples.std(dim=-1, keepdim=True)
    return samples, true / true.square().mean().sqrt(), torch.from_numpy(windows.bold.streams[0].space.mask)


def by_heart(name, config, ten, n_steps, rate):
    samples, goal, mask = ten
    torch.manual_seed(0)
    module = models.build(name, *samples.shape[1:], RATE, mask, config).train()
    given = (samples, goal) if name.startswith("transformer") else (samples,)
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, n_steps)
    for _ in range(n_steps):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(module(*given), goal).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return module.eval()


def error_of(predicted, ten):
    return float((predicted - ten[1]).square().mean())


@pytest.mark.parametrize("name", ["fully_connected", "siamese", "convolutional", "convolutional_all"])
def test_ten_windows_are_learned_by_heart_from_samples(name, ten):
    module = by_heart(name, replace(models.default_config(name), dropout=0.0), ten, 600, 3e-3)
    with torch.no_grad():
        assert error_of(module(ten[0]), ten) <= 0.01


@pytest.mark.parametrize("name", ["transformer", "transformer_sinusoidal"])
@pytest.mark.parametrize("hidden", [0.0, 1.0])
def test_a_transformer_learns_ten_windows_by_heart_and_what_teacher_forcing_leaves_of_it(name, hidden, ten):
    """All slices of ten volumes are read from one matrix, so that the width must be of their order before an error can be small."""
    config = replace(
        models.default_config(name), dropout=0.0, width=256, feedforward=256, n_layers=1, slice_dropout=hidden
    )
    module = by_heart(name, config, ten, 500, 2e-3)
    with torch.no_grad():
        free, forced = error_of(module(ten[0]), ten), error_of(module.teacher_forced(*ten[:2]), ten)
    assert forced <= 0.01
    if hidden:  # trained without slices, it needs none
        assert free <= 0.01
    else:  # trained as published it has learned to read the answer; left alone, small errors feed on each other
        assert forced < free < 0.5
