"""How much of a predicted volume is the subject, and how much the moment.

Brains differ more from each other than one brain does from moment to moment. A model that recognises whose EEG it hears can look up
that subject's anatomy, and scores well without predicting anything that happens. `identity_probe` takes a prediction apart: it asks
whose mean volume is nearest to it, and what is lost when the prediction is exchanged, once for that of another moment of the same
subject, once for that of another subject.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from eegfmri import metrics
from eegfmri.errors import RequestError


@dataclass(frozen=True)
class Identity:
    """What `identity_probe` found.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per subject: ``recognised``, the share of predicted volumes that lie nearest to its own mean of true volumes, and
        ``chance``; mean squared error ``as predicted``, of the predictions for ``another moment`` of the subject and for ``another
        subject``.
    """

    table: pd.DataFrame

    def recognised(self, seed: int = 0) -> metrics.Interval:
        """Share of predicted volumes nearest to the right subject, mean over subjects with its interval."""
        return metrics.bootstrap_mean(self.table["recognised"].to_numpy(), seed)

    def cost(self, exchanged: str, seed: int = 0) -> metrics.Interval:
        """By how much the error rises when the prediction is exchanged.

        Parameters
        ----------
        exchanged : {"another moment", "another subject"}
            For what.
        seed : int, default=0
            Of the bootstrap over subjects.

        Returns
        -------
        metrics.Interval
            Mean over subjects, in the squared unit of the volumes.
        """
        return metrics.bootstrap_mean((self.table[exchanged] - self.table["as predicted"]).to_numpy(), seed)


def identity_probe(predicted: np.ndarray, true: np.ndarray, subjects: np.ndarray) -> Identity:
    """Ask of predicted volumes whose they are, and what it costs to exchange them.

    Parameters
    ----------
    predicted, true : numpy.ndarray
        Shape (n_volumes, n_voxels), volumes of one subject in the order of time.
    subjects : numpy.ndarray
        Whose they are, shape (n_volumes,), at least two subjects of two volumes.

    Returns
    -------
    Identity
        By subject. True volumes are needed, of the test, too: this describes a prediction and is no score that a model could be given.

    Raises
    ------
    RequestError
        If there are fewer than two subjects, or one of a single volume.
    """
    subjects = np.asarray(subjects)
    names, counts = np.unique(subjects, return_counts=True)
    if len(names) < 2 or min(counts) < 2:
        raise RequestError(
            f"{len(names)} subject(s) with at least {min(counts, default=0)} volume(s): whose a volume is can be asked of two "
            "or more subjects, each with two volumes or more."
        )
    own = {name: np.flatnonzero(subjects == name) for name in names}
    means = np.stack([true[own[name]].mean(axis=0, dtype=float) for name in names])
    rows = {}
    for place, name in enumerate(names):
        said, truth = np.asarray(predicted[own[name]], dtype=float), np.asarray(true[own[name]], dtype=float)
        # |x − m|² without |x|², which is the same for all means
        distance = (means**2).sum(axis=1) - 2 * said @ means.T
        others = [
            _error(np.asarray(predicted[_spread(own[other], len(truth))], dtype=float), truth)
            for other in names
            if other != name
        ]
        rows[name] = {
            "recognised": float(np.mean(distance.argmin(axis=1) == place)),
            "chance": 1 / len(names),
            "as predicted": _error(said, truth),
            "another moment": _error(np.roll(said, len(said) // 2, axis=0), truth),
            "another subject": float(np.mean(others)),
        }
    return Identity(pd.DataFrame.from_dict(rows, orient="index"))


def _error(said: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean((said - truth) ** 2))


def _spread(rows: np.ndarray, n: int) -> np.ndarray:
    """``n`` of some rows, evenly from the first to the last."""
    return rows[np.linspace(0, len(rows) - 1, n).round().astype(int)]
