"""By how much a mistake raises a score: the same recordings scored as they should be and with the mistake, subject by subject."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eegfmri import metrics
from eegfmri.errors import RequestError
from eegfmri.evaluation.evaluate import Evaluation


@dataclass(frozen=True, eq=False)
class Inflation:
    """A score without a mistake, with it, and the difference, each with its interval over subjects.

    Attributes
    ----------
    honest, leaking, gain : eegfmri.metrics.Interval
        Scores and leaking − honest; subjects are drawn for both alike.
    by_subject : numpy.ndarray
        Each subject's own difference, shape (n_subjects,).
    """

    honest: metrics.Interval
    leaking: metrics.Interval
    gain: metrics.Interval
    by_subject: np.ndarray


def predicted(evaluation: Evaluation, method: str) -> pd.Series:
    """Return what a method predicted, indexed by window; the method's seeds have names of their own, see `Evaluation.members`."""
    own = evaluation.predictions[evaluation.predictions["method"] == method]
    return own.set_index("window")["predicted"].sort_index()


def of_predictions(y, groups, honest: Sequence[np.ndarray], leaking: Sequence[np.ndarray], seed: int = 0) -> Inflation:
    """Compare two sets of predictions of the same windows by pooled balanced accuracy.

    Parameters
    ----------
    y, groups : array-like, shape (n_windows,)
        Class indices and subjects.
    honest, leaking : sequence of array-like, shape (n_windows,)
        Predictions; with several (seeds, methods), the score is their mean.
    seed : int, default=0
        Of the bootstrap.

    Returns
    -------
    Inflation
        With 95 % intervals.
    """
    y, groups = np.asarray(y, dtype=int), np.asarray(groups)
    both = [np.asarray(one, dtype=int) for one in (*honest, *leaking)]
    if any(len(one) != len(y) for one in both):
        raise RequestError("The two sets of predictions are not of the same windows: compare what both have predicted.")
    n_classes = 1 + max(int(y.max()), *(int(one.max()) for one in both))
    subjects = list(dict.fromkeys(groups.tolist()))

    def counts(predictions: Sequence[np.ndarray]) -> np.ndarray:
        return np.array(
            [
                [metrics.confusion(y[groups == s], np.asarray(p)[groups == s], n_classes) for s in subjects]
                for p in predictions
            ]
        )  # (n_predictions, n_subjects, n_classes, n_classes)

    function = metrics.SCORES["balanced_accuracy"]

    def pooled(of: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        return np.mean([function(one[drawn].sum(axis=-3)) for one in of], axis=0)

    without, with_it = counts(honest), counts(leaking)
    n = len(subjects)
    return Inflation(
        metrics.bootstrap(lambda drawn: pooled(without, drawn), n, seed),
        metrics.bootstrap(lambda drawn: pooled(with_it, drawn), n, seed),
        metrics.bootstrap(lambda drawn: pooled(with_it, drawn) - pooled(without, drawn), n, seed),
        function(with_it).mean(axis=0) - function(without).mean(axis=0),
    )


def of_subjects(honest: Sequence[float], leaking: Sequence[float], seed: int = 0) -> Inflation:
    """Compare two scores of each subject, of whatever kind, by their means.

    Parameters
    ----------
    honest, leaking : sequence of float
        One score per subject, in the same order.
    seed : int, default=0
        Of the bootstrap.

    Returns
    -------
    Inflation
        With 95 % intervals.
    """
    honest, leaking = np.asarray(honest, dtype=float), np.asarray(leaking, dtype=float)
    return Inflation(
        metrics.bootstrap_mean(honest, seed),
        metrics.bootstrap_mean(leaking, seed),
        metrics.bootstrap_mean(leaking - honest, seed),
        leaking - honest,
    )


def of_evaluations(
    honest: Evaluation, leaking: Evaluation, methods: Sequence[tuple[str, str]], seed: int = 0
) -> Inflation:
    """Compare methods of two evaluations of the same windows, on the windows that both have tested.

    Parameters
    ----------
    honest, leaking : Evaluation
        The same, or under two protocols.
    methods : sequence of (str, str)
        A method of the one and of the other; with several pairs, the score is their mean.
    seed : int, default=0
        Of the bootstrap.

    Returns
    -------
    Inflation
        With 95 % intervals.
    """
    pairs = [(predicted(honest, a), predicted(leaking, b)) for a, b in methods]
    both = pairs[0][0].index
    for pair in pairs:
        for one in pair:
            both = both.intersection(one.index)
    facts = honest.predictions.drop_duplicates("window").set_index("window").loc[both]
    return of_predictions(
        facts["true"], facts["subject"], [a.loc[both] for a, _ in pairs], [b.loc[both] for _, b in pairs], seed
    )


def chosen_on_the_test_subject(y, groups, by_epoch: np.ndarray) -> np.ndarray:
    """For each subject take the training epoch that scores best on this very subject: what must not be done.

    Parameters
    ----------
    y, groups : array-like, shape (n_windows,)
        Class indices and subjects.
    by_epoch : numpy.ndarray of int
        Shape (n_windows, n_training_epochs): predictions after each.

    Returns
    -------
    numpy.ndarray
        Predictions, shape (n_windows,); of equal training epochs the first.
    """
    y, groups, by_epoch = np.asarray(y), np.asarray(groups), np.asarray(by_epoch, dtype=int)
    out = np.empty(len(y), dtype=int)
    for subject in dict.fromkeys(groups.tolist()):
        own = groups == subject
        scores = [metrics.balanced_accuracy(y[own], said) for said in by_epoch[own].T]
        out[own] = by_epoch[own][:, int(np.argmax(scores))]
    return out


def chosen_on_other_subjects(y, groups, by_seed: np.ndarray) -> np.ndarray:
    """For each subject take the seed that scores best on all the others: a choice that may be made.

    Parameters
    ----------
    y, groups : array-like, shape (n_windows,)
        Class indices and subjects.
    by_seed : numpy.ndarray of int
        Shape (n_seeds, n_windows): predictions for subjects held out.

    Returns
    -------
    numpy.ndarray
        Predictions, shape (n_windows,); of equal seeds the first.
    """
    y, groups, by_seed = np.asarray(y), np.asarray(groups), np.asarray(by_seed, dtype=int)
    out = np.empty(len(y), dtype=int)
    for subject in dict.fromkeys(groups.tolist()):
        own = groups == subject
        scores = [metrics.balanced_accuracy(y[~own], said[~own]) for said in by_seed]
        out[own] = by_seed[int(np.argmax(scores))][own]
    return out
