"""Scores of volumes, of regional series, of correlation matrices."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from eegfmri.errors import RequestError
from eegfmri.metrics import volumes as vm
from volumes_made import made_space


def test_mean_squared_error_counts_measured_voxels_only():
    true, predicted = np.zeros((2, 4)), np.array([[1.0, 2, 3, 100], [0, 0, 3, 100]])
    np.testing.assert_allclose(vm.mean_squared_error(true, predicted, np.array([1, 1, 1, 0], bool)), [14 / 3, 3])


def test_psnr_is_scikit_images():
    rng = np.random.default_rng(0)
    true, predicted = rng.normal(size=(2, 8, 8, 8))
    mse = ((true - predicted) ** 2).mean()
    assert vm.psnr(mse, 9.04) == pytest.approx(peak_signal_noise_ratio(true, predicted, data_range=9.04))
    with pytest.raises(RequestError):
        vm.psnr(mse, 0)


def test_the_published_psnr_and_loss_imply_a_range():
    # 10^(25.92 / 20) · sqrt(0.20899): the range under which both of transformer_cnn's numbers hold
    assert vm.psnr(0.20899, 9.04) == pytest.approx(25.92, abs=0.005)


def test_background_raises_ssim_of_the_whole_but_not_of_the_inside():
    rng = np.random.default_rng(1)
    mask = made_space(24).mask
    true, predicted = (np.where(mask, rng.normal(size=mask.shape), 0.0) for _ in range(2))
    inside = vm.eroded(mask, 4)
    found, wider = (
        vm.ssim(np.pad(true, width), np.pad(predicted, width), 6.0, np.pad(inside, width)) for width in (8, 16)
    )
    assert found.whole > found.inside + 0.2
    assert wider.whole > found.whole + 0.1, "more background, more similarity"
    assert wider.inside == pytest.approx(found.inside, abs=1e-6)


def test_a_volume_is_like_itself():
    true = np.random.default_rng(2).normal(size=(12, 12, 12))
    assert vm.ssim(true, true, 6.0).whole == pytest.approx(1)


def test_temporal_correlation_is_numpys_and_undefined_for_a_constant():
    rng = np.random.default_rng(3)
    true = rng.normal(size=(40, 3))
    predicted = np.column_stack([true[:, 0] + rng.normal(size=40), -true[:, 1], np.full(40, 0.3)])
    r = vm.temporal_correlation(true, predicted)
    assert r[0] == pytest.approx(np.corrcoef(true[:, 0], predicted[:, 0])[0, 1])
    assert r[1] == pytest.approx(-1)
    assert np.isnan(r[2])


def test_slow_series_that_have_nothing_to_do_with_each_other_are_rarely_significant():
    rng = np.random.default_rng(4)
    kernel = np.exp(-np.arange(30) / 8)

    def slow():
        noise = rng.normal(size=(330, 20))
        return np.apply_along_axis(lambda x: np.convolve(x, kernel, "valid"), 0, noise)

    p = np.concatenate([vm.correlation_p_value(slow(), slow(), 99, seed)[1] for seed in range(10)])
    # 200 tests at 0.05; regions of one draw share their shifts, so the spread is wider than binomial: 0.05 ± 4 × 0.02
    assert (p <= 0.05).mean() < 0.13
    true = slow()
    assert np.all(vm.correlation_p_value(true, true + slow(), 99)[1] <= 0.05)


def test_connectivity_similarity_ignores_amplitude():
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(6, 12))
    true = rng.normal(size=(300, 6)) @ mixing
    other = rng.normal(size=(300, 6)) @ mixing
    assert vm.connectivity_similarity(true, 0.1 * true) == pytest.approx(1)
    assert vm.connectivity_similarity(true, other) > 0.8
    assert abs(vm.connectivity_similarity(true, rng.normal(size=(300, 12)))) < 0.5
    assert np.isnan(vm.connectivity_similarity(true, np.zeros_like(true)))
