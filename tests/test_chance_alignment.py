"""Alignment by chance: the closed form against simulation, and the debiased estimate around zero."""

import numpy as np
import pytest

from eegfmri import metrics
from eegfmri.metrics import chance_alignment


@pytest.mark.parametrize(("n_windows", "n_features"), [(60, 8), (60, 64), (300, 16)])
def test_the_closed_form_is_what_independent_embeddings_show(n_windows, n_features):
    drawn = chance_alignment.chance_cka(n_windows, n_features, debiased=False, n_draws=30)
    assert drawn.mean() == pytest.approx(chance_alignment.expected_cka(n_windows, n_features), rel=0.05)
    unbiased = chance_alignment.chance_cka(n_windows, n_features, n_draws=30)
    assert abs(unbiased.mean()) < 4 * unbiased.std(ddof=1) / np.sqrt(30)


def test_unequal_features_count_by_their_effective_dimension():
    rng, n = np.random.default_rng(0), 400
    scales = np.array([5.0, 3.0, 2.0, *[0.3] * 20])
    found = [
        metrics.linear_cka(rng.normal(size=(n, 23)) * scales, rng.normal(size=(n, 10)), debiased=False)
        for _ in range(40)
    ]
    d_x = (scales**2).sum() ** 2 / (scales**4).sum()
    assert np.mean(found) == pytest.approx(chance_alignment.expected_cka(n, d_x, 10), rel=0.1)
    assert chance_alignment.effective_dimension(rng.normal(size=(20000, 23)) * scales) == pytest.approx(d_x, rel=0.05)


def test_windows_that_resemble_their_neighbours_count_for_fewer():
    drawn = chance_alignment.chance_cka(500, 16, autocorrelation=0.8, debiased=False, n_draws=30)
    n_effective = chance_alignment.effective_number(500, 0.8)
    assert n_effective == pytest.approx(500 * 0.36 / 1.64)
    assert drawn.mean() == pytest.approx(chance_alignment.expected_cka(n_effective, 16), rel=0.1)
    assert drawn.mean() > 2 * chance_alignment.expected_cka(500, 16)


def test_the_inverse_gives_the_number_of_windows():
    windows = chance_alignment.windows_for(0.05, np.array([8, 64]))
    np.testing.assert_allclose(chance_alignment.expected_cka(windows, np.array([8, 64])), 0.05)
