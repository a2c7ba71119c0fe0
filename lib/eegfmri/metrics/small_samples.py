"""Intervals and tests of a mean over few subjects: which of them hold what they promise, and when "no difference" may be said.

`eegfmri.metrics.intervals` gives the percentile bootstrap of every score of the book; here it is held against others, on populations
whose mean is known.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eegfmri.errors import RequestError

#: Ways to an interval of a mean, by the names that figures and results give them.
IntervalMethod = Literal["percentile", "bca", "bootstrap_t", "student_t"]

INTERVAL_METHODS: Mapping[IntervalMethod, str] = {
    "percentile": "percentile bootstrap",
    "bca": "BCa bootstrap",
    "bootstrap_t": "bootstrap-t",
    "student_t": "Student's t",
}


def mean_intervals(
    samples: np.ndarray,
    method: IntervalMethod,
    *,
    confidence: float = 0.95,
    n_resamples: int = 999,
    seed: int = 0,
) -> np.ndarray:
    r"""Interval of the mean of each of several samples.

    Parameters
    ----------
    samples : numpy.ndarray
        Shape (..., n_subjects): one value per subject, at least two.
    method : {"percentile", "bca", "bootstrap_t", "student_t"}
        Middle share of the resampled means :cite:p:`efron1979`; the same, corrected for bias and acceleration :cite:p:`efron1987`;
        quantiles of the resampled :math:`t^* = (\bar x^* - \bar x) / s^*` in the place of Student's :cite:p:`hall1988`; Student's.
    confidence : float, default=0.95
        Share of samples whose interval should hold the population's mean.
    n_resamples : int, default=999
        Of a bootstrap.
    seed : int, default=0
        Of the resampling.

    Returns
    -------
    numpy.ndarray
        Shape (..., 2): lower and upper end, in the unit of the samples.

    Raises
    ------
    RequestError
        If there are fewer than two subjects, or no such method.
    """
    from scipy import stats

    samples = np.asarray(samples, dtype=float)
    n_subjects = samples.shape[-1]
    if method not in INTERVAL_METHODS:
        raise RequestError(f"There is no interval {method!r}: choose one of {', '.join(INTERVAL_METHODS)}.")
    if n_subjects < 2:
        raise RequestError(f"An interval over subjects needs at least two of them, not {n_subjects}.")
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    mean, error = samples.mean(axis=-1), samples.std(axis=-1, ddof=1) / np.sqrt(n_subjects)
    if method == "student_t":
        return mean[..., None] + error[..., None] * stats.t.ppf(tails, n_subjects - 1)
    rng = np.random.default_rng(seed)
    if method in ("percentile", "bca"):
        ends = stats.bootstrap(
            (samples,),
            np.mean,
            axis=-1,
            confidence_level=confidence,
            n_resamples=n_resamples,
            method={"percentile": "percentile", "bca": "BCa"}[method],
            vectorized=True,
            batch=100,
            rng=rng,
        ).confidence_interval
        return np.stack([ends.low, ends.high], axis=-1)
    flat, found = samples.reshape(-1, n_subjects), np.empty((mean.size, 2))
    for row, values in enumerate(flat):
        drawn = values[rng.integers(n_subjects, size=(n_resamples, n_subjects))]
        deviation = drawn.std(axis=1, ddof=1)
        usable = deviation > 0  # a resample of one and the same subject has no t
        t = (drawn.mean(axis=1)[usable] - values.mean()) / (deviation[usable] / np.sqrt(n_subjects))
        # the upper quantile of t belongs to the lower end
        found[row] = values.mean() - error.reshape(-1)[row] * np.quantile(t, tails[::-1]) if len(t) else values.mean()
    return found.reshape(*mean.shape, 2)


@dataclass(frozen=True)
class Coverage:
    """How often an interval held the truth.

    Attributes
    ----------
    value : float
        Share of samples.
    low, high : float
        Its 95 % Monte-Carlo limits after Wilson :cite:p:`wilson1927`.
    width : float
        Mean width of the intervals, in the unit of the samples.
    n : int
        Number of samples.
    """

    value: float
    low: float
    high: float
    width: float
    n: int


def coverage(
    draw: Callable[[np.random.Generator, tuple[int, int]], np.ndarray],
    truth: float,
    n_subjects: int,
    method: IntervalMethod,
    *,
    n_samples: int = 1000,
    n_resamples: int = 999,
    seed: int = 0,
) -> Coverage:
    """Count how often the 95 % interval of a mean holds the mean of the population.

    Parameters
    ----------
    draw : callable
        Takes a generator and a shape, (n_samples, n_subjects), and returns values of subjects drawn from the population.
    truth : float
        The population's mean.
    n_subjects : int
        In a sample.
    method : {"percentile", "bca", "bootstrap_t", "student_t"}
        As for `mean_intervals`; with the same seed all methods are given the same samples.
    n_samples, n_resamples : int
        Samples drawn, and resamples of each.
    seed : int, default=0
        Of both.

    Returns
    -------
    Coverage
        With its Monte-Carlo limits.
    """
    from scipy.stats import binomtest

    samples = draw(np.random.default_rng([seed, n_subjects]), (n_samples, n_subjects))
    ends = mean_intervals(samples, method, n_resamples=n_resamples, seed=seed)
    held = int(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).sum())
    limits = binomtest(held, n_samples).proportion_ci(method="wilson")
    width = float((ends[:, 1] - ends[:, 0]).mean())
    return Coverage(held / n_samples, float(limits.low), float(limits.high), width, n_samples)


def equivalence_test(differences, margin: float) -> float:
    r"""Give the p-value that paired differences are smaller than a margin: two one-sided t tests :cite:p:`schuirmann1987`.

    A test that finds no difference shows none; this one can show that a difference, if there is one, does not matter. At 5 % it agrees
    with asking whether the 90 % interval of the mean lies between :math:`-m` and :math:`+m`.

    Parameters
    ----------
    differences : array-like, shape (n_subjects,)
        One difference per subject; NaN is left out.
    margin : float
        The largest mean difference that does not matter, stated before looking, in the unit of the differences.

    Returns
    -------
    float
        The larger of the two p-values; small if the mean lies inside the margin for sure. NaN with fewer than two subjects.

    Raises
    ------
    RequestError
        If the margin is not positive.

    Examples
    --------
    >>> small = [0.01, -0.01, 0.00, 0.02, -0.02, 0.01, 0.00, -0.01]
    >>> equivalence_test(small, 0.05) < 0.001, equivalence_test(small, 0.005) > 0.05
    (True, True)
    """
    from scipy import stats

    if not margin > 0:
        raise RequestError(f"A margin of equivalence is positive, not {margin:g}.")
    differences = np.asarray(differences, dtype=float)
    differences = differences[np.isfinite(differences)]
    if len(differences) < 2:
        return float("nan")
    if np.ptp(differences) == 0:
        return 0.0 if abs(differences[0]) < margin else 1.0
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    return float(max(above, below))


def equivalence_power(deviation, n_subjects, margin: float, alpha: float = 0.05) -> np.ndarray:
    """Give the probability that `equivalence_test` succeeds where the mean difference is exactly zero and differences are normal.

    Parameters
    ----------
    deviation : array-like
        Standard deviation of a subject's difference, in the unit of ``margin``.
    n_subjects : array-like of int
        Broadcast against ``deviation``; at least two.
    margin : float
        As for `equivalence_test`.
    alpha : float, default=0.05
        Level of the test.

    Returns
    -------
    numpy.ndarray
        By Gauss-Legendre integration over the sample's standard deviation: given it, the test succeeds if the mean lies within
        margin less t times the standard error of zero.
    """
    from scipy import stats

    deviation, n_subjects = np.broadcast_arrays(np.asarray(deviation, float), np.asarray(n_subjects, float))
    nodes, weights = np.polynomial.legendre.leggauss(200)
    share = (nodes + 1) / 2  # of the distribution of the sample variance
    freedom = n_subjects[..., None] - 1
    ratio = np.sqrt(stats.chi2.ppf(share, freedom) / freedom)  # sample deviation by the true one
    reach = margin * np.sqrt(n_subjects[..., None]) / deviation[..., None] - stats.t.ppf(1 - alpha, freedom) * ratio
    inside = np.where(reach > 0, 2 * stats.norm.cdf(reach) - 1, 0.0)
    return (inside * weights / 2).sum(axis=-1)
