"""Scores of classes, from counts of true against predicted ones."""

from collections.abc import Callable, Mapping

import numpy as np


def balanced_accuracy(y_true, y_pred) -> float:
    """Mean recall over the classes that occur in ``y_true``.

    Parameters
    ----------
    y_true, y_pred : array-like, shape (n_windows,)
        Class indices. A predicted class that never occurs counts as an error but adds no recall of its own.

    Returns
    -------
    float
        Between 0 and 1; NaN without windows.
    """
    return float(SCORES["balanced_accuracy"](confusion(y_true, y_pred)))


def confusion(y_true, y_pred, n_classes: int | None = None) -> np.ndarray:
    """Count true (rows) against predicted (columns) classes.

    Parameters
    ----------
    y_true, y_pred : array-like of int, shape (n_windows,)
        Class indices.
    n_classes : int or None
        Number of classes; None: as many as occur.

    Returns
    -------
    numpy.ndarray
        Shape (n_classes, n_classes).
    """
    y_true, y_pred = np.asarray(y_true, dtype=int), np.asarray(y_pred, dtype=int)
    n_classes = n_classes or int(max(y_true.max(initial=0), y_pred.max(initial=0))) + 1
    counts = np.bincount(y_true * n_classes + y_pred, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes)


def _mean_over_present(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(present, values, 0).sum(axis=-1) / present.sum(axis=-1)


def _balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    occurring = counts.sum(axis=-1)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return _mean_over_present(hits / np.maximum(occurring, 1), occurring > 0)


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes that occur: an absent class neither helps nor hurts."""
    occurring, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return _mean_over_present(2 * hits / np.maximum(occurring + predicted, 1), occurring > 0)


def _cohen_kappa(counts: np.ndarray) -> np.ndarray:
    """Agreement beyond chance :cite:p:`cohen1960`; 0 where both sides are one and the same single class."""
    total = counts.sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.trace(counts, axis1=-2, axis2=-1) / total
        expected = (counts.sum(axis=-1) * counts.sum(axis=-2)).sum(axis=-1) / total**2
        return np.where(expected == 1, 0.0, (observed - expected) / (1 - expected))


#: Scores by the name they bear in results.json, as functions of counts of shape (..., n_classes, n_classes): a
#: bootstrap then only adds up subjects' counts.
SCORES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "cohen_kappa": _cohen_kappa,
}
