"""The score over all readings of what a text leaves open, and which of its choices matter: a specification curve :cite:p:`simonsohn2020`.

Each reading is evaluated in the same way, with an estimator that is cheap and has nothing to tune, so that what varies is the reading.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd
from sklearn import config_context
from sklearn.base import BaseEstimator, clone

from eegfmri import metrics
from eegfmri.errors import RequestError
from eegfmri.evaluation.splits import Protocol, folds_of
from eegfmri.windows import Windows

#: What is done with stage N3: its epochs are left out, or count as N2.
N3_READINGS = ("left out", "counts as N2")

#: Where features are scaled: by the training windows, or each subject by its own session (transductive).
SCALINGS = ("training windows", "own session")

#: How a score is taken over subjects.
AVERAGINGS = ("pooled", "per subject")


def draws_of(subjects: Sequence[str], n_kept: int, n_draws: int, seed: int = 0) -> dict[str, tuple[str, ...]]:
    """Draw different sets of subjects, as a text that names none leaves open.

    Parameters
    ----------
    subjects : sequence of str
        All there are.
    n_kept : int
        Subjects in a set.
    n_draws : int
        Sets, all different.
    seed : int, default=0
        Of the drawing.

    Returns
    -------
    dict of str to tuple of str
        ``draw 1``, ``draw 2`` … to the subjects of each, in their order.

    Raises
    ------
    RequestError
        If there are not so many different sets.
    """
    possible = list(combinations(subjects, n_kept)) if n_kept <= len(subjects) <= 20 else []
    if len(possible) < n_draws:
        raise RequestError(
            f"{n_draws} different sets of {n_kept} of {len(subjects)} subjects were asked for, and there are {len(possible)}."
        )
    chosen = np.random.default_rng(seed).choice(len(possible), n_draws, replace=False)
    return {f"draw {number + 1}": possible[place] for number, place in enumerate(chosen)}


def evaluate_readings(
    sets: Mapping[tuple, Windows],
    names: Sequence[str],
    feature: str,
    estimator: BaseEstimator,
    draws: Mapping[str, Sequence[str]],
    splits: Mapping[str, Protocol],
    *,
    scalings: Sequence[str] = SCALINGS,
    n3: Sequence[str] = N3_READINGS,
) -> pd.DataFrame:
    """Score every combination of readings.

    Parameters
    ----------
    sets : mapping of tuple to Windows
        Windows by the values of the choices that were made when they were cut; classes W, N1, N2 and, last, N3.
    names : sequence of str
        Names of those choices, such as ``lag``.
    feature : str
        Feature of the windows.
    estimator : estimator
        Takes tables of shape (n_windows, n_features) whose columns have unit variance; cloned for each fold. Scaling is a choice, so
        it is done here.
    draws : mapping of str to sequence of str
        Sets of subjects.
    splits : mapping of str to Protocol
        How test windows are held out.
    scalings, n3 : sequence of str
        Of `SCALINGS` and `N3_READINGS`.

    Returns
    -------
    pandas.DataFrame
        One row per reading: a column for each choice (those of ``names``, then ``subjects``, ``N3``, ``split``, ``scaling``,
        ``averaging``), ``score`` (balanced accuracy), ``n_windows``.
    """
    rows = []
    for (values, windows), (drawn, subjects), of_n3 in product(sets.items(), draws.items(), n3):
        last = len(windows.classes) - 1
        kept = np.isin(windows.groups, list(subjects))
        if of_n3 == "left out":
            kept &= windows.y != last
        own = windows[np.flatnonzero(kept)]
        y = np.where(own.y == last, last - 1, own.y)
        measured = np.asarray(own.features[feature], dtype=float).reshape(len(own), -1)
        tables = {SCALINGS[0]: measured, SCALINGS[1]: standardised_by_subject(measured, own.groups)}
        for split, protocol in splits.items():
            folds = folds_of(protocol, own)
            for scaling in scalings:
                said = _predict(estimator, tables[scaling], y, folds)
                tested = said >= 0
                scores = dict(zip(AVERAGINGS, _scores(y[tested], said[tested], own.groups[tested]), strict=True))
                for averaging, score in scores.items():
                    rows.append((*values, drawn, of_n3, split, scaling, averaging, score, int(tested.sum())))
    columns = [*names, "subjects", "N3", "split", "scaling", "averaging", "score", "n_windows"]
    return pd.DataFrame(rows, columns=columns)


def standardised_by_subject(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Bring each subject's columns to mean 0 and variance 1 over its own session; transductive.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (n_windows, n_features).
    groups : numpy.ndarray
        Subject of each window, shape (n_windows,).

    Returns
    -------
    numpy.ndarray
        Shape (n_windows, n_features); a column that never varies in a subject is 0 there.
    """
    out = np.empty(values.shape)
    for subject in np.unique(groups):
        own = groups == subject
        deviation = values[own].std(axis=0)
        out[own] = (values[own] - values[own].mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return out


def _predict(estimator: BaseEstimator, table: np.ndarray, y: np.ndarray, folds) -> np.ndarray:
    """Predict every tested window by a model of its fold's training windows; −1 where none was tested."""
    said = np.full(len(y), -1)
    for fold in folds:
        train, labels = table[fold.train], y[fold.train]
        if len(np.unique(labels)) < 2:  # nothing can be told apart: the only class there is
            said[fold.test] = labels[0]
            continue
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0)
        # Thousands of small fits: what scikit-learn checks of each costs more than the fit.
        with config_context(skip_parameter_validation=True, assume_finite=True):
            fitted = clone(estimator).fit((train - mean) / deviation, labels)
            said[fold.test] = fitted.predict((table[fold.test] - mean) / deviation)
    return said


def _scores(y: np.ndarray, said: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Balanced accuracy of all windows together, and its mean over subjects."""
    each = [metrics.balanced_accuracy(y[groups == s], said[groups == s]) for s in np.unique(groups)]
    return metrics.balanced_accuracy(y, said), float(np.mean(each))


def variance_explained(table: pd.DataFrame, choices: Sequence[str], score: str = "score") -> pd.DataFrame:
    r"""Divide the variance of scores over readings among the choices, where every combination occurs equally often.

    A choice's share is its main effect, :math:`\eta^2 = \sum_l n_l (\bar x_l - \bar x)^2 / \sum (x - \bar x)^2` over its levels; with all
    combinations present main effects are orthogonal, and what they leave is that choices depend on one another.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per reading.
    choices : sequence of str
        Its columns with choices.
    score : str, default="score"
        Its column with scores.

    Returns
    -------
    pandas.DataFrame
        Indexed by choice, largest share first, ``in combination`` last: ``share``, ``lowest`` and ``highest`` (levels by their mean
        score), and ``shift``, the difference of these means. Shares are 0 where scores do not vary at all.

    Raises
    ------
    RequestError
        If the combinations are not complete and equally frequent.
    """
    levels = [table[choice].nunique() for choice in choices]
    counted = table.groupby(list(choices), sort=False).size()
    if len(counted) != np.prod(levels) or counted.nunique() != 1:
        raise RequestError(
            f"{len(counted)} of {int(np.prod(levels))} combinations occur, not all of them equally often: score every combination."
        )
    values, rows = table[score], {}
    total = float(((values - values.mean()) ** 2).sum())
    # scores that are equal but for rounding have no variance to divide
    total = total if total > 1e-12 * max(float((values**2).sum()), 1e-300) else 0.0
    for choice in choices:
        means = table.groupby(choice, sort=False)[score].mean()
        between = float(((means - values.mean()) ** 2).mean()) * len(table)
        rows[choice] = {
            "share": between / total if total else 0.0,
            "lowest": means.idxmin(),
            "highest": means.idxmax(),
            "shift": float(means.max() - means.min()),
        }
    rows = dict(sorted(rows.items(), key=lambda row: -row[1]["share"]))
    left = max(0.0, 1 - sum(row["share"] for row in rows.values())) if total else 0.0
    rows["in combination"] = {"share": left, "lowest": "", "highest": "", "shift": float("nan")}
    return pd.DataFrame.from_dict(rows, orient="index")
