"""What a number of subjects can tell: the closed form against simulated studies, and the real label tables."""

import numpy as np
import pytest
from scipy import stats

from eegfmri.datasets.sleep import SELECTIONS, subjects_by_rule
from eegfmri.errors import RequestError
from eegfmri.evaluation import resolution
from eegfmri.simulation.stage_sequences import published_stage_table


@pytest.fixture(scope="module")
def bouts():
    return resolution.published_bouts(subjects_by_rule(published_stage_table(), "six_of_each"))


@pytest.mark.parametrize("rule", SELECTIONS)
def test_bouts_hold_every_certain_epoch_of_the_label_tables(rule):
    table = published_stage_table()
    subjects = subjects_by_rule(table, rule)
    found = resolution.published_bouts(subjects)
    expected = table[table["subject"].isin(subjects)].groupby("subject")[["W", "N1", "N2"]].sum()
    np.testing.assert_array_equal(found.n_epochs, expected.loc[list(subjects)])
    assert len(subjects) == 23


def test_a_subject_without_labels_is_refused():
    with pytest.raises(RequestError, match="no label tables of 99"):
        resolution.published_bouts(["01", "99"])


@pytest.mark.parametrize(("accuracy", "spread"), [(0.58, 0.1), (0.58, 0.25), (0.9, 0.05), (0.5, 0.0)])
def test_latent_subjects_have_the_mean_and_the_spread_asked_for(accuracy, spread):
    of = resolution.latent(accuracy, spread)
    true = stats.norm.cdf(of.mean + of.deviation * np.random.default_rng(0).normal(size=400_000))
    assert true.mean() == pytest.approx(accuracy, abs=0.002)
    assert true.std() == pytest.approx(spread, abs=0.002)


def test_impossible_subjects_are_refused():
    with pytest.raises(RequestError, match="No subjects have"):
        resolution.latent(0.9, 0.4)
    with pytest.raises(RequestError, match="no possible assumption"):
        resolution.Assumptions(pairing=1.2)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
def test_the_bivariate_normal_is_scipy_s(correlation):
    expected = stats.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]]).cdf([0.4, 0.4])
    assert resolution._both(0.4, correlation) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "assumed",
    [resolution.Assumptions(), resolution.Assumptions(0.05, 0.3, 0.8), resolution.Assumptions(0.2, 0.9, 0.0)],
)
def test_the_closed_form_is_what_simulated_studies_show(bouts, assumed):
    studies = resolution.simulate_studies((0.58, 0.58), bouts, assumed, n_studies=1500, seed=1)
    first, _ = studies.scores("per_subject")
    # of 1500 studies a standard deviation is known to within 2 %; three of these
    assert studies.standard_error("per_subject") == pytest.approx(
        resolution.standard_error(0.58, bouts, assumed), rel=0.06
    )
    assert studies.standard_error("per_subject", difference=False) == pytest.approx(
        resolution.standard_error(0.58, bouts, assumed, difference=False), rel=0.06
    )
    assert first.mean() == pytest.approx(0.58, abs=0.005)
    assert studies.scores("pooled")[0].mean() == pytest.approx(0.58, abs=0.005)


def test_half_widths_grow_with_the_spread_and_shrink_with_the_pairing(bouts):
    table = resolution.half_width_table(0.58, bouts, [0.02, 0.1, 0.2], [0.0, 0.5, 0.9])
    assert all((np.diff(values) > 0).all() for values in table.values())
    assert (table[0.0] > table[0.5]).all()
    assert (table[0.5] > table[0.9]).all()


def test_the_largest_spread_is_where_the_half_width_equals_the_gap(bouts):
    found = resolution.largest_spread(0.06, 0.58, bouts, 0.7)
    error = resolution.standard_error(0.58, bouts, resolution.Assumptions(found, 0.7))
    assert resolution.half_width(error, 23) == pytest.approx(0.06, abs=1e-6)
    assert resolution.largest_spread(-0.06, 0.58, bouts, 0.7) == pytest.approx(found)
    assert resolution.largest_spread(0.0005, 0.58, bouts, 0.7) == 0.0
    assert resolution.largest_spread(0.5, 0.58, bouts, 0.7) == float("inf")


def test_a_true_difference_of_the_detectable_size_is_found_as_often_as_promised():
    error, n = 0.5, 23
    true = resolution.detectable(error, n)
    samples = np.random.default_rng(0).normal(true, error * np.sqrt(n), size=(4000, n))
    assert np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.025)


def test_a_subject_without_a_stage_is_averaged_over_the_others():
    bouts = resolution.StageBouts(
        np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([50, 50, 50]), ("a", "b", "c"), ("W", "N1")
    )
    studies = resolution.simulate_studies((0.7, 0.7), bouts, resolution.Assumptions(0.0, 0.0, 0.0), 400)
    assert np.isnan(studies.per_subject[..., 2]).all(), "no epochs, no score"
    assert np.nanmean(studies.per_subject[..., :2], axis=(0, 1)) == pytest.approx([0.7, 0.7], abs=0.02)
