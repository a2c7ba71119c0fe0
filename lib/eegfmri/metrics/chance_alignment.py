"""What centred kernel alignment shows of embeddings that have nothing to do with each other.

`eegfmri.metrics.linear_cka` measures; this module says what it measures by chance, so that a published value can be read.
"""

import numpy as np

from eegfmri.metrics.similarity import linear_cka


def expected_cka(n_windows, features_x, features_y=None):
    r"""Expect the biased linear CKA of two independent embeddings.

    For independent rows with covariances :math:`\Sigma_x`, :math:`\Sigma_y`, and :math:`\nu = n - 1`,
    :math:`E\,\mathrm{tr}(KHLH) = \nu\,\mathrm{tr}\Sigma_x \mathrm{tr}\Sigma_y` and
    :math:`E\,\mathrm{tr}(KHKH) = \nu(\nu + 1)\,\mathrm{tr}\Sigma_x^2 + \nu\,(\mathrm{tr}\Sigma_x)^2` (moments of a Wishart matrix), so that
    the ratio of expectations is

    .. math:: \left[\left(1 + \frac{\nu + 1}{d_x}\right)\left(1 + \frac{\nu + 1}{d_y}\right)\right]^{-1/2},
       \qquad d = \frac{(\mathrm{tr}\Sigma)^2}{\mathrm{tr}\Sigma^2}.

    Parameters
    ----------
    n_windows : array-like
        Independent windows; of windows that resemble their neighbours, `effective_number`.
    features_x, features_y : array-like
        Features, if they are uncorrelated and equally large; else `effective_dimension`. One for both if ``features_y`` is None.

    Returns
    -------
    numpy.ndarray or float
        Between 0 and 1; an approximation, since the ratio of expectations is not the expected ratio.

    Examples
    --------
    >>> print(f"{expected_cka(200, 64):.2f} {expected_cka(1000, 64):.2f}")
    0.24 0.06
    """
    features_y = features_x if features_y is None else features_y
    n_windows, x, y = (np.asarray(values, dtype=float) for values in (n_windows, features_x, features_y))
    found = 1 / np.sqrt((1 + n_windows / x) * (1 + n_windows / y))
    return float(found) if found.ndim == 0 else found


def windows_for(cka: float, features) -> np.ndarray:
    """Give the number of windows at which independent embeddings show a given biased CKA: the inverse of `expected_cka`."""
    return np.asarray(features, dtype=float) * (1 / cka - 1)


def effective_dimension(embedding) -> float:
    """Participation ratio of an embedding's covariance: as many features, if uncorrelated and equal, would vary as much.

    Parameters
    ----------
    embedding : array-like, shape (n_windows, n_features)
        Of more windows than features, else it is underestimated.

    Returns
    -------
    float
        Between 1 and the number of features.
    """
    covariance = np.atleast_2d(np.cov(np.asarray(embedding, dtype=float), rowvar=False))
    return float(np.trace(covariance) ** 2 / (covariance**2).sum())


def effective_number(n_windows, autocorrelation):
    r"""Count the independent windows that correlate by chance as much as windows which resemble their neighbours.

    For a first-order autoregression in both embeddings, :math:`n_\mathrm{eff} \approx n (1 - \varphi^2) / (1 + \varphi^2)`, after
    Bartlett :cite:p:`bartlett1946`.

    Parameters
    ----------
    n_windows : array-like
        Windows in order of time.
    autocorrelation : array-like
        Correlation of neighbours, between 0 and 1.

    Returns
    -------
    numpy.ndarray or float
        At most ``n_windows``.
    """
    squared = np.asarray(autocorrelation, dtype=float) ** 2
    found = np.asarray(n_windows, dtype=float) * (1 - squared) / (1 + squared)
    return float(found) if found.ndim == 0 else found


def chance_cka(
    n_windows: int,
    n_features: int,
    *,
    autocorrelation: float = 0.0,
    debiased: bool = True,
    n_draws: int = 20,
    seed: int = 0,
) -> np.ndarray:
    """Draw pairs of independent Gaussian embeddings and measure their linear CKA.

    Parameters
    ----------
    n_windows, n_features : int
        Size of both embeddings.
    autocorrelation : float, default=0.0
        Correlation of a feature in neighbouring windows.
    debiased : bool, default=True
        As for `eegfmri.metrics.linear_cka`.
    n_draws : int, default=20
        Pairs.
    seed : int, default=0
        Of the drawing; the same pairs whether debiased or not.

    Returns
    -------
    numpy.ndarray
        Shape (n_draws,).
    """
    from scipy.signal import lfilter

    rng = np.random.default_rng([seed, n_windows, n_features])
    found = []
    for _ in range(n_draws):
        pair = rng.normal(size=(2, n_windows, n_features))
        if autocorrelation:
            pair[:, 1:] *= np.sqrt(1 - autocorrelation**2)  # so that every window has variance 1
            pair = lfilter([1.0], [1.0, -autocorrelation], pair, axis=1)
        found.append(linear_cka(*pair, debiased=debiased))
    return np.array(found)
