"""Whether a score differs from another, or from chance: paired tests over subjects, and nulls that keep autocorrelation."""

from collections.abc import Callable, Sequence

import numpy as np

from eegfmri.metrics.intervals import N_RESAMPLES, bootstrap_mean


def sign_flip_test(differences, seed: int = 0) -> float:
    """Two-sided p-value that paired differences are centred on zero, by flipping the signs of subjects.

    Parameters
    ----------
    differences : array-like, shape (n_subjects,)
        One difference per subject; NaN is left out.
    seed : int, default=0
        Of the resampling; up to 13 subjects every combination of signs is tried and nothing is random.

    Returns
    -------
    float
        At least 2 / 2**n_subjects, so fewer than 6 subjects can never reach 0.05.
    """
    from scipy import stats

    differences = np.asarray(differences, dtype=float)
    differences = differences[np.isfinite(differences)]
    if not len(differences) or not differences.any():
        return 1.0
    result = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        n_resamples=N_RESAMPLES,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def holm(p_values) -> np.ndarray:
    """Adjust p-values for several comparisons :cite:p:`holm1979`, keeping their order.

    Parameters
    ----------
    p_values : array-like, shape (n_comparisons,)
        Unadjusted.

    Returns
    -------
    numpy.ndarray
        Adjusted, at most 1, shape (n_comparisons,).
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    out = np.empty_like(p_values)
    out[order] = np.minimum(adjusted, 1.0)
    return out


def compare_pairs(by_subject, pairs: Sequence[tuple[str, str]], seed: int = 0):
    """Compare methods subject by subject: difference a − b, interval, sign-flip p-value, Holm over the pairs.

    Parameters
    ----------
    by_subject : pandas.DataFrame
        A score of each subject (rows) and method (columns).
    pairs : sequence of (str, str)
        Methods ``a`` and ``b``.
    seed : int, default=0
        Of bootstrap and test.

    Returns
    -------
    pandas.DataFrame
        ``a``, ``b``, ``difference``, ``low``, ``high``, ``n``, ``p``, ``p_holm``.
    """
    import pandas as pd

    rows = []
    for a, b in pairs:
        difference = (by_subject[a] - by_subject[b]).to_numpy()
        found = bootstrap_mean(difference, seed)
        p = sign_flip_test(difference, seed)
        rows.append(
            {"a": a, "b": b, "difference": found.value, "low": found.low, "high": found.high, "n": found.n, "p": p}
        )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"]))


def circular_shift_null(statistic: Callable, x, y, n_shifts: int = 199, seed: int = 0, margin: int = 5) -> np.ndarray:
    """Recompute a statistic with one side moved along its own circle: slowness stays, simultaneity goes.

    Parameters
    ----------
    statistic : callable
        Takes ``x`` and ``y``.
    x, y : array-like
        Same length, in order of time.
    n_shifts : int, default=199
        How many shifts to draw; every possible one is taken if there are fewer.
    seed : int, default=0
        Of the shifts.
    margin : int, default=5
        Shifts nearer to zero than this are not drawn.

    Returns
    -------
    numpy.ndarray
        One value per shift.
    """
    x, y = np.asarray(x), np.asarray(y)
    possible = np.arange(margin, len(y) - margin + 1)
    if len(possible) > n_shifts:
        possible = np.random.default_rng(seed).choice(possible, n_shifts, replace=False)
    return np.array([statistic(x, np.roll(y, shift, axis=0)) for shift in possible])
