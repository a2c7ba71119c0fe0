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


def sign_flip_max_t(differences, seed: int = 0) -> np.ndarray:
    """Two-sided p-values of several paired comparisons at once, adjusted by the largest t under flipped signs :cite:p:`nichols2002`.

    The signs of a subject are flipped in all comparisons together, so that their correlation enters: with few subjects, where Holm's
    correction of many comparisons can reach nothing, the largest of correlated statistics still may.

    Parameters
    ----------
    differences : array-like, shape (n_subjects, n_comparisons)
        One difference per subject and comparison; NaN is left out of its comparison.
    seed : int, default=0
        Of the resampling; up to 13 subjects every combination of signs is tried and nothing is random.

    Returns
    -------
    numpy.ndarray
        Shape (n_comparisons,), at least 2 / 2**n_subjects.
    """
    differences = np.asarray(differences, dtype=float)
    n_subjects, _ = differences.shape
    present = np.isfinite(differences)
    filled, count = np.where(present, differences, 0.0), present.sum(axis=0)
    squares = (filled**2).sum(axis=0)
    if n_subjects <= 13:
        signs = 1.0 - 2.0 * (np.arange(2**n_subjects)[:, None] >> np.arange(n_subjects) & 1)
    else:
        drawn = np.random.default_rng(seed).choice((-1.0, 1.0), size=(N_RESAMPLES, n_subjects))
        signs = np.concatenate([np.ones((1, n_subjects)), drawn])  # what was observed is one of the possible

    # Flips leave the sum of squares: so |t| grows with the share of it that the mean explains, and orders as t does.
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = np.nan_to_num((signs @ filled) ** 2 / (count * squares))
        size = np.sqrt(explained * np.maximum(count - 1, 0) / np.maximum(1 - explained, 1e-15))
    return (size.max(axis=1)[:, None] >= size[0] - 1e-9).mean(axis=0)


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
        ``a``, ``b``, ``difference``, ``low``, ``high``, ``n``, ``p``, ``p_holm``, and ``p_max_t`` (see `sign_flip_max_t`).
    """
    import pandas as pd

    rows, differences = [], []
    for a, b in pairs:
        difference = (by_subject[a] - by_subject[b]).to_numpy()
        differences.append(difference)
        found = bootstrap_mean(difference, seed)
        p = sign_flip_test(difference, seed)
        rows.append(
            {"a": a, "b": b, "difference": found.value, "low": found.low, "high": found.high, "n": found.n, "p": p}
        )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"]), p_max_t=sign_flip_max_t(np.stack(differences, axis=1), seed))


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
