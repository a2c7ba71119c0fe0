"""From electrodes to regions: the lead field's physics, and that the inverse finds single sources."""

import numpy as np
import pytest

from eegfmri.datasets.sleep import EEG_CHANNELS
from eegfmri.errors import RequestError
from eegfmri.preprocessing import sources
from eegfmri.preprocessing.atlas import load_atlas


@pytest.fixture(scope="module")
def field():
    return sources.lead_field(EEG_CHANNELS, load_atlas().centres)


def test_a_source_is_seen_best_above_it_and_on_its_own_side(field):
    centres = load_atlas().centres
    names = list(EEG_CHANNELS)
    np.testing.assert_allclose(field.sum(axis=0), 0, atol=1e-9)
    back = int(np.argmin(centres[:, 1]))
    assert names[np.abs(field[:, back]).argmax()] in ("O1", "O2", "Oz", "P7", "P8")
    lateral = np.abs(centres[:, 0]) > 45
    seen = np.abs(field[:, lateral]).argmax(axis=0)
    left = np.array([name[-1] in "13579" for name in names])
    assert (left[seen] == (centres[lateral, 0] < 0)).all()
    assert names[sources.nearest_electrodes(field)[back]] == names[np.abs(field[:, back]).argmax()]


def test_deep_sources_are_seen_less():
    column = np.array([[5.0, -18.0, z] for z in range(15, 71, 5)])
    strength = np.linalg.norm(sources.lead_field(EEG_CHANNELS, column), axis=0)
    assert (np.diff(strength) > 0).all()


def test_names_count_in_any_case_and_unknown_ones_are_refused():
    points = np.array([[30.0, -60.0, 30.0]])
    np.testing.assert_allclose(
        sources.lead_field(["FP1", "OZ", "CZ"], points), sources.lead_field(["Fp1", "Oz", "Cz"], points)
    )
    with pytest.raises(RequestError, match="ECG"):
        sources.lead_field(["Cz", "ECG"], points)


def test_sloreta_finds_every_single_source_where_it_is(field):
    inverse = sources.inverse_operator(field)
    found = np.abs(sources.resolution(field, inverse)).argmax(axis=0)
    np.testing.assert_array_equal(found, np.arange(field.shape[1]))


def test_the_minimum_norm_does_not_and_both_ignore_the_reference(field):
    plain = sources.inverse_operator(field, "minimum_norm")
    found = np.abs(sources.resolution(field, plain)).argmax(axis=0)
    assert (found != np.arange(field.shape[1])).any()
    shifted = field + np.random.default_rng(0).normal(size=field.shape[1]) * np.abs(field).max()
    np.testing.assert_allclose(sources.inverse_operator(shifted), sources.inverse_operator(field), rtol=1e-6, atol=1e-6)
    with pytest.raises(RequestError, match="sloreta"):
        sources.inverse_operator(field, "beamformer")


def test_the_standardisation_is_the_root_of_the_resolution(field):
    plain, standardised = (sources.inverse_operator(field, method) for method in ("minimum_norm", "sloreta"))
    own = np.diag(sources.resolution(field, plain))
    np.testing.assert_allclose(standardised, plain / np.sqrt(own)[:, None], rtol=1e-9)
