"""How alike two volumes, two regional time series, two correlation matrices are.

A score of volumes means little without four statements: the range of the data, the window, the dimensions and the voxels
counted. Each function here asks for them or fixes them and says so.
"""

from dataclasses import dataclass

import numpy as np

from eegfmri.errors import RequestError

#: Standard deviation in voxels of the Gaussian window of `ssim` :cite:p:`wang2004`, cut at 3.5 deviations: 11 voxels wide.
SSIM_SIGMA = 1.5


def mean_squared_error(true: np.ndarray, predicted: np.ndarray, measured: np.ndarray | None = None) -> np.ndarray:
    """Mean squared error of each volume over its voxels.

    Parameters
    ----------
    true, predicted : numpy.ndarray
        Shape (n_volumes, n_voxels).
    measured : numpy.ndarray of bool or None
        Shape (n_voxels,): count these only.

    Returns
    -------
    numpy.ndarray
        Shape (n_volumes,), in squared units of the volumes.
    """
    difference = np.asarray(true, dtype=np.float32) - np.asarray(predicted, dtype=np.float32)
    if measured is not None:
        difference = difference[:, measured]
    return np.einsum("nv,nv->n", difference, difference, dtype=float) / difference.shape[1]


def psnr(mse, data_range: float) -> np.ndarray:
    """Peak signal-to-noise ratio in dB, 10 log10(range² / mse).

    Parameters
    ----------
    mse : array-like
        Mean squared errors. The ratio of a mean error is not the mean of ratios: give one error per volume and average,
        or the pooled error, and say which.
    data_range : float
        What counts as the peak; of training data, never of the volume that is scored.

    Returns
    -------
    numpy.ndarray
        Shape of ``mse``.
    """
    if not data_range > 0:
        raise RequestError(f"PSNR needs a positive range of the data, not {data_range:g}.")
    with np.errstate(divide="ignore"):
        return 10 * np.log10(data_range**2 / np.asarray(mse, dtype=float))


@dataclass(frozen=True)
class Ssim:
    """Structural similarity of two volumes.

    Attributes
    ----------
    whole : float
        Mean of the map over the whole grid but its outermost five voxels, where the window would reach beyond; background
        included.
    inside : float
        Mean over the voxels asked for; NaN if none were.
    """

    whole: float
    inside: float


def ssim(true: np.ndarray, predicted: np.ndarray, data_range: float, inside: np.ndarray | None = None) -> Ssim:
    """Structural similarity :cite:p:`wang2004` in three dimensions, with a Gaussian window of 1.5 voxels.

    Parameters
    ----------
    true, predicted : numpy.ndarray
        Shape (x, y, z).
    data_range : float
        Of training data.
    inside : numpy.ndarray of bool or None
        Shape (x, y, z): voxels over which the map is averaged as well; erode the mask by the window's reach, else the
        background's perfect similarity reaches in (`eroded`).

    Returns
    -------
    Ssim
        Over the whole grid, and inside.
    """
    from skimage.metrics import structural_similarity

    whole, similarity = structural_similarity(
        true,
        predicted,
        data_range=data_range,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
        full=True,
    )
    return Ssim(float(whole), float(similarity[inside].mean()) if inside is not None and inside.any() else float("nan"))


def eroded(mask: np.ndarray, voxels: int = 2) -> np.ndarray:
    """Voxels that lie at least so many steps inside a mask, holes of the mask filled before.

    Parameters
    ----------
    mask : numpy.ndarray of bool
        Shape (x, y, z).
    voxels : int, default=2
        Steps along the axes; the window of `ssim` has half its weight within one voxel and 99 % within four.

    Returns
    -------
    numpy.ndarray of bool
        Same shape.
    """
    from scipy.ndimage import binary_erosion, binary_fill_holes

    return binary_erosion(binary_fill_holes(mask), iterations=voxels)


def temporal_correlation(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Pearson correlation over time of each region.

    Parameters
    ----------
    true, predicted : numpy.ndarray
        Shape (n_volumes, n_regions), of one run.

    Returns
    -------
    numpy.ndarray
        Shape (n_regions,); NaN where one of the two never varies.
    """
    true, predicted = (_centred(series) for series in (true, predicted))
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (true * predicted).sum(axis=0) / np.sqrt((true**2).sum(axis=0) * (predicted**2).sum(axis=0))
    flat = (predicted**2).sum(axis=0) <= 1e-12 * np.maximum((true**2).sum(axis=0), 1e-30)
    return np.where(flat, np.nan, r)


def correlation_p_value(
    true: np.ndarray, predicted: np.ndarray, n_surrogates: int = 199, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Temporal correlation of each region with the p-value of a circular-shift test.

    Surrogates move the prediction along its own circle, all regions together, so that slowness and the relation between
    regions stay and simultaneity goes.

    Parameters
    ----------
    true, predicted : numpy.ndarray
        Shape (n_volumes, n_regions), of one run.
    n_surrogates : int, default=199
        Number of shifts, by at least a tenth of the run.
    seed : int, default=0
        Of the shifts.

    Returns
    -------
    r, p : numpy.ndarray
        Shape (n_regions,) each; p is one-sided (larger correlation than shifted), (1 + as large) / (1 + n_surrogates).
    """
    r = temporal_correlation(true, predicted)
    n_volumes = len(true)
    margin = max(1, n_volumes // 10)
    moves = np.random.default_rng(seed).integers(margin, n_volumes - margin + 1, n_surrogates)
    null = np.stack([temporal_correlation(true, np.roll(predicted, move, axis=0)) for move in moves])
    p = (1 + (null >= r).sum(axis=0)) / (1 + n_surrogates)
    return r, np.where(np.isnan(r), np.nan, p)


def connectivity_similarity(true: np.ndarray, predicted: np.ndarray) -> float:
    """Correlation of two correlation matrices over their pairs of regions, after Fisher's z.

    Parameters
    ----------
    true, predicted : numpy.ndarray
        Shape (n_volumes, n_regions), of one run; regions that never vary in either are left out.

    Returns
    -------
    float
        NaN with fewer than three regions left.
    """
    varies = (np.ptp(true, axis=0) > 0) & (np.ptp(predicted, axis=0) > 1e-9)
    if varies.sum() < 3:
        return float("nan")
    pairs = np.triu_indices(int(varies.sum()), 1)
    z = [
        np.arctanh(np.clip(np.corrcoef(series[:, varies], rowvar=False)[pairs], -0.999999, 0.999999))
        for series in (true, predicted)
    ]
    return float(np.corrcoef(*z)[0, 1])


def _centred(series: np.ndarray) -> np.ndarray:
    series = np.asarray(series, dtype=float)
    return series - series.mean(axis=0)


def peak_ratio(true: np.ndarray, predicted: np.ndarray, share: float = 0.05) -> np.ndarray:
    """How much of the highest peaks a prediction has: its mean deviation where the truth is highest, by the truth's.

    Parameters
    ----------
    true, predicted : numpy.ndarray
        Shape (n_volumes, n_regions), of one run. Deviations are from each series' own mean over the run.
    share : float, default=0.05
        Of the volumes, those with the highest true values, at least one.

    Returns
    -------
    numpy.ndarray
        Shape (n_regions,): 1 if peaks are as high as the true ones, 0 if nothing happens there; NaN where the truth never varies.
    """
    true, predicted = _centred(true), _centred(predicted)
    n_highest = max(1, round(share * len(true)))
    at = np.argsort(-true, axis=0, kind="stable")[:n_highest]
    height, reached = (np.take_along_axis(series, at, axis=0).mean(axis=0) for series in (true, predicted))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(height > 0, reached / height, np.nan)


def amplitude_ratio(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Standard deviation over time of each predicted region by that of the true one, whatever their correlation.

    Parameters
    ----------
    true, predicted : numpy.ndarray
        Shape (n_volumes, n_regions), of one run.

    Returns
    -------
    numpy.ndarray
        Shape (n_regions,); NaN where the truth never varies.
    """
    true, predicted = _centred(true).std(axis=0), _centred(predicted).std(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(true > 0, predicted / true, np.nan)


def amplitude_by_frequency(
    true: np.ndarray, predicted: np.ndarray, t_r: float, segment: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Amplitude of predicted regions by that of the true ones, frequency by frequency: the root of the ratio of Welch spectra.

    Parameters
    ----------
    true, predicted : numpy.ndarray
        Shape (n_volumes, n_regions), of one run without gaps.
    t_r : float
        Repetition time in s.
    segment : int, default=64
        Volumes in one of Welch's segments, at most.

    Returns
    -------
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz, without 0.
    ratio : numpy.ndarray
        Shape (n_frequencies, n_regions); NaN where the truth has no power.
    """
    from scipy.signal import welch

    length = min(segment, len(true))
    frequencies, power = welch(np.stack([_centred(true), _centred(predicted)]), 1 / t_r, nperseg=length, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(power[0] > 0, np.sqrt(power[1] / power[0]), np.nan)
    return frequencies[1:], ratio[1:]
