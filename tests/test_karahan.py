"""Real simultaneous EEG power and BOLD through lead-field graph, correlations and lag analysis, in samples.

One subject, 38 points in time whose step is not stated, 31 channels without names, 51 frequencies without an axis (Karahan et
al. 2015; GPL data, used in tests only). What it can say: the functions run on real numbers of real sizes, the lead field's inverse
finds its own sources, the surrogates are as wide as independence makes them. What it cannot: anything in seconds, anything about
bands, anything about subjects other than this one; and with 38 points only a very strong relation could leave the family-wise
threshold.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from eegfmri.lags import lag_analysis, phase_randomised
from eegfmri.models import graph_signals, graphs
from eegfmri.preprocessing import sources

pytestmark = pytest.mark.real_data

N_PATCHES = 60


@pytest.fixture(scope="module")
def karahan():
    if "EEGFMRI_REAL_DATA" not in os.environ:
        pytest.skip("EEGFMRI_REAL_DATA does not name the folder of real files")
    from scipy.io import loadmat

    folder = Path(os.environ["EEGFMRI_REAL_DATA"]) / "karahan_eegfmri"
    power = loadmat(folder / "eeg.mat")["S"]  # channels × frequencies × time
    bold = loadmat(folder / "fmri.mat")["B"]  # vertices × time
    lead = loadmat(folder / "LeadField.mat", squeeze_me=True, struct_as_record=False)
    return power, bold, np.asarray(lead["K"], dtype=float), np.asarray(lead["Mesh"].vertices, dtype=float)


@pytest.fixture(scope="module")
def patches(karahan):
    """Cut the mesh into patches: mean BOLD, mean lead field and centre of each."""
    from scipy.cluster.vq import kmeans2

    _, bold, field, vertices = karahan
    _, label = kmeans2(vertices, N_PATCHES, seed=0, minit="++")
    members = [label == patch for patch in range(N_PATCHES)]
    return (
        np.stack([bold[own].mean(axis=0) for own in members]),
        np.stack([field[:, own].mean(axis=1) for own in members], axis=1),
        np.stack([vertices[own].mean(axis=0) for own in members]),
    )


def test_the_files_are_what_their_readme_says(karahan):
    power, bold, field, vertices = karahan
    assert power.shape == (31, 51, 38)
    assert (power >= 0).all()
    assert bold.shape == (5124, 38)
    assert field.shape == (31, 5124)
    assert vertices.shape == (5124, 3)


def test_the_inverse_of_a_real_lead_field_finds_its_own_sources(patches):
    _, field, _ = patches
    inverse = sources.inverse_operator(field)
    found = np.abs(sources.resolution(field - field.mean(axis=0), inverse)).argmax(axis=0)
    np.testing.assert_array_equal(found, np.arange(N_PATCHES))


def test_graphs_of_patches_are_connected_and_smooth_modes_are_smooth_in_space(patches):
    bold, _, centres = patches
    graph = graphs.nearest_neighbours(graphs.functional_connectivity([bold]), 8)
    assert graphs.is_connected(graph)
    _, basis = graph_signals.fourier_basis(graph_signals.laplacian(np.abs(graph)))
    near = graphs.nearest_neighbours(-np.linalg.norm(centres[:, None] - centres[None], axis=-1) + 1e3, 5) != 0

    def roughness(mode):
        return (near * (basis[:, mode][:, None] - basis[:, mode][None]) ** 2).sum()

    # Patches whose BOLD goes together lie together in a real brain, so a mode that is smooth over one is over the other.
    low, high = (np.mean([roughness(m) for m in modes]) for modes in (range(1, 6), range(-6, -1)))
    assert low < high


def electrode_pairs(field):
    """Each patch with the electrode that sees it best."""
    return sources.nearest_electrodes(field - field.mean(axis=0))


def in_samples(power, bold, field):
    groups = np.array_split(np.arange(power.shape[1]), 5)  # the axis has no unit: five fifths of it, no bands
    courses = np.stack([np.log(power[:, own].mean(axis=1) + 1e-12) for own in groups], axis=1)
    times = np.arange(power.shape[2], dtype=float)
    return {
        "subject": "one",
        "power": courses[electrode_pairs(field)],
        "power_times": times,
        "bold": bold,
        "bold_times": times,
    }


def test_the_lag_analysis_runs_in_samples_and_says_how_little_38_points_tell(karahan, patches):
    power, _, _, _ = karahan
    bold, field, _ = patches
    lags = np.arange(-4.0, 8.1)
    found = lag_analysis([in_samples(power, bold, field)], lags, n_surrogates=199, seed=0)
    assert found.mean.shape == (N_PATCHES, 5, len(lags))
    assert np.isfinite(found.mean).all()
    assert np.abs(found.mean).max() <= 1
    # 26 points of one subject among 3900 correlations: the threshold lies far out, at about four standard deviations
    assert found.threshold > 3
    # one subject has no interval over subjects
    assert np.isnan(found.peak(0, 0).low)
    shuffled = in_samples(power, bold, field)
    shuffled["bold"] = phase_randomised(bold, 1, 5)[0]
    none = lag_analysis([shuffled], lags, n_surrogates=199, seed=0)
    assert none.p_surrogates.min() > 0.005
    # and one subject says nothing of others
    assert (found.p == 1).all()


def test_correlations_of_real_nodes_are_cosines(patches):
    import torch

    from eegfmri.models.saliency_fusion import node_correlations

    bold, _, _ = patches
    centred = bold - bold.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(node_correlations(torch.from_numpy(centred)).numpy(), np.corrcoef(bold), atol=1e-6)
