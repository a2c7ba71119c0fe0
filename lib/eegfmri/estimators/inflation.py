"""Small estimators that make a common mistake measurable: each can be used as it should be, and with its leak open.

None of them is meant to be good. `WatchedNetwork` remembers what it would have said after every training epoch, `GraphModes` learns a
graph of regions or is given one, `AutoregressiveRidge` continues its own prediction or is fed the true past.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from eegfmri import metrics
from eegfmri.errors import RequestError
from eegfmri.estimators.classical import EqualPriorLda, PickFeature
from eegfmri.evaluation.splits import InnerValidation
from eegfmri.lags import spectral_courses
from eegfmri.metrics.volumes import temporal_correlation
from eegfmri.models import graphs
from eegfmri.models.graph_signals import fourier_basis, laplacian
from eegfmri.preprocessing.eeg import BANDS
from eegfmri.recordings import Stream
from eegfmri.windows import Windows


@dataclass(eq=False, repr=False)
class WatchedNetwork(ClassifierMixin, BaseEstimator):
    """A network with one hidden layer that keeps its weights after every training epoch.

    `predict` uses the training epoch that was best on validation subjects, which are cut from the training ones; the extra output
    ``by_epoch`` holds what every training epoch says of the test windows, so that a choice on the *test* subject can be measured.

    Attributes
    ----------
    feature : str
        Of the windows, see `eegfmri.windows.Windows.with_feature`.
    n_hidden : int, default=16
        Hidden units.
    n_training_epochs : int, default=30
        Training epochs.
    learning_rate : float, default=0.003
        Of Adam.
    penalty : float, default=0.01
        On squared weights.
    validation : InnerValidation or None
        Its first split of the training windows is used.
    seed : int, default=0
        Of the weights and of the order of windows.
    """

    feature: str
    n_hidden: int = 16
    n_training_epochs: int = 30
    learning_rate: float = 0.003
    penalty: float = 0.01
    validation: InnerValidation | None = None
    seed: int = 0

    def fit(self, X: Windows, y: np.ndarray) -> "WatchedNetwork":
        """Train on one part of the training windows, score every training epoch on the other.

        Classes are drawn equally often, as balanced accuracy weighs them.
        """
        from sklearn.neural_network import MLPClassifier

        fitted, held_out = next(iter((self.validation or InnerValidation()).split(X)))
        picked = PickFeature(self.feature)
        self.scaler_ = StandardScaler().fit(picked.transform(X[fitted]))
        inputs, of_validation = (self.scaler_.transform(picked.transform(X[rows])) for rows in (fitted, held_out))
        labels, rng = np.asarray(y)[fitted], np.random.default_rng(self.seed)
        self.classes_, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
        chances = 1 / counts[inverse]
        network = MLPClassifier(
            (self.n_hidden,), alpha=self.penalty, learning_rate_init=self.learning_rate, random_state=self.seed
        )
        self.weights_, self.validation_scores_ = [], []
        for _ in range(self.n_training_epochs):
            drawn = rng.choice(len(labels), len(labels), p=chances / chances.sum())
            network.partial_fit(inputs[drawn], labels[drawn], classes=self.classes_)
            self.weights_.append([w.copy() for w in (*network.coefs_, *network.intercepts_)])
            said = self._classes_of(of_validation, self.weights_[-1])
            self.validation_scores_.append(metrics.balanced_accuracy(np.asarray(y)[held_out], said))
        self.best_epoch_ = int(np.argmax(self.validation_scores_))
        return self

    def _classes_of(self, inputs: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
        first, second, bias_first, bias_second = weights
        output = np.maximum(inputs @ first + bias_first, 0) @ second + bias_second
        if output.shape[1] == 1:  # of two classes the network has one output
            return self.classes_[(output[:, 0] > 0).astype(int)]
        return self.classes_[output.argmax(axis=1)]

    def predict(self, X: Windows) -> np.ndarray:
        """Return the classes that the best training epoch on validation subjects gives, shape (n_windows,)."""
        return self._classes_of(self._inputs(X), self.weights_[self.best_epoch_])

    def extras(self, X: Windows) -> dict[str, list]:
        """Return ``by_epoch``: the class after every training epoch, shape (n_windows, n_training_epochs)."""
        inputs = self._inputs(X)
        return {"by_epoch": np.stack([self._classes_of(inputs, w) for w in self.weights_], axis=1).tolist()}

    def _inputs(self, X: Windows) -> np.ndarray:
        return self.scaler_.transform(PickFeature(self.feature).transform(X))


@dataclass(eq=False, repr=False)
class GraphModes(TransformerMixin, BaseEstimator):
    """Describe a window by its regions' mean BOLD along the smoothest modes of their graph.

    Attributes
    ----------
    n_modes : int, default=20
        Eigenvectors of the normalised Laplacian with the smallest eigenvalues.
    density : float, default=0.2
        Share of edges kept in the graph.
    adjacency : numpy.ndarray or None
        The graph, shape (n_regions, n_regions). None: functional connectivity of the training windows, as it should be.
    """

    n_modes: int = 20
    density: float = 0.2
    adjacency: np.ndarray | None = None

    def fit(self, X: Windows, y=None) -> "GraphModes":
        """Learn the graph, unless one is given."""
        adjacency = self.adjacency if self.adjacency is not None else connectivity_graph(X, self.density)
        _, basis = fourier_basis(np.asarray(laplacian(adjacency)))
        self.modes_ = basis[:, : self.n_modes]
        return self

    def transform(self, X: Windows) -> np.ndarray:
        """Return the projections, shape (n_windows, n_modes)."""
        return X.bold[:].mean(axis=-1) @ self.modes_


def connectivity_graph(windows: Windows, density: float = 0.2) -> np.ndarray:
    """Graph of regions: the strongest correlations over the volumes of windows, shape (n_regions, n_regions)."""
    return graphs.sparsify(graphs.functional_connectivity(windows.bold[:]), density=density)


def graph_lda(n_modes: int = 20, density: float = 0.2, adjacency: np.ndarray | None = None) -> Pipeline:
    """Shrinkage LDA on `GraphModes`, whose arguments these are."""
    return make_pipeline(GraphModes(n_modes, density, adjacency), StandardScaler(), EqualPriorLda())


@dataclass(frozen=True, eq=False)
class DrivenRun:
    """One run's regional BOLD and the lagged band power of its EEG, volume by volume.

    Attributes
    ----------
    subject : str
        Whose.
    drive : numpy.ndarray
        Shape (n_volumes, n_bands × n_lags): logarithm of the power, mean over channels.
    series : numpy.ndarray
        Shape (n_volumes, n_regions).
    """

    subject: str
    drive: np.ndarray
    series: np.ndarray


def driven_run(subject: str, eeg: Stream, bold: Stream, n_lags: int = 6) -> DrivenRun:
    """Line up a run's band power with its volumes, from the volume's own moment to ``n_lags`` − 1 repetition times before.

    Parameters
    ----------
    subject : str
        Whose run.
    eeg, bold : Stream
        Prepared, on one clock.
    n_lags : int, default=6
        Lags, one repetition time apart.

    Returns
    -------
    DrivenRun
        Volumes that lack EEG at some lag, or were censored, are left out.
    """
    power, times = spectral_courses(eeg.load(), eeg.sfreq, BANDS, gaps=eeg.gaps)
    power, series = power.mean(axis=0), np.asarray(bold.load(), dtype=float).T
    moments = bold.start + np.arange(len(series)) / bold.sfreq - eeg.start
    at = moments[:, None] - np.arange(n_lags) / bold.sfreq  # (n_volumes, n_lags)
    drive = np.concatenate([np.interp(at, times, band) for band in power], axis=1)
    kept = (at >= times[0]).all(axis=1) & (at <= times[-1]).all(axis=1)
    kept &= np.isfinite(drive).all(axis=1) & np.isfinite(series).all(axis=1)
    return DrivenRun(subject, drive[kept], series[kept])


@dataclass(eq=False, repr=False)
class AutoregressiveRidge(BaseEstimator):
    """Ridge regression of a volume on the volume before it and on band power; linear, so that nothing hides where its score comes from.

    Attributes
    ----------
    past : bool, default=True
        Use the volume before; without it the model sees EEG only.
    penalties : sequence of float
        Among which one is chosen on the training runs, by leaving single volumes out.
    """

    past: bool = True
    penalties: Sequence[float] = (1e1, 1e2, 1e3, 1e4, 1e5)

    def fit(self, runs: Sequence[DrivenRun], y=None) -> "AutoregressiveRidge":
        """Fit on true pasts: teacher forcing in training, as is usual."""
        from sklearn.linear_model import RidgeCV

        if not runs:
            raise RequestError("The regression needs at least one training run.")
        inputs = np.concatenate([self._inputs(run.drive[1:], run.series[:-1]) for run in runs])
        targets = np.concatenate([run.series[1:] for run in runs])
        self.scaler_ = StandardScaler().fit(inputs)
        self.ridge_ = RidgeCV(self.penalties).fit(self.scaler_.transform(inputs), targets)
        return self

    def _inputs(self, drive: np.ndarray, past: np.ndarray) -> np.ndarray:
        return np.concatenate([drive, past], axis=1) if self.past else drive

    def predict(self, run: DrivenRun, forced: bool = False) -> np.ndarray:
        """Predict all volumes of a run but the first.

        Parameters
        ----------
        run : DrivenRun
            Its series is looked at only if ``forced``.
        forced : bool, default=False
            Give the true volume before each; else the model's own prediction of it, from zero on.

        Returns
        -------
        numpy.ndarray
            Shape (n_volumes − 1, n_regions).
        """
        if forced or not self.past:
            return self.ridge_.predict(self.scaler_.transform(self._inputs(run.drive[1:], run.series[:-1])))
        # As one matrix, volume after volume: what scikit-learn would check at every step is checked once.
        weights = self.ridge_.coef_ / self.scaler_.scale_  # (n_regions, n_inputs)
        offset = self.ridge_.intercept_ - weights @ self.scaler_.mean_
        n_drive, past, out = run.drive.shape[1], np.zeros(run.series.shape[1]), []
        for drive in run.drive[1:]:
            past = offset + weights[:, :n_drive] @ drive + weights[:, n_drive:] @ past
            out.append(past)
        return np.array(out)


def course_correlation(true: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over regions of the correlation over time; regions whose prediction or truth never varies count as 0.

    Parameters
    ----------
    true, predicted : numpy.ndarray
        Shape (n_volumes, n_regions), of one run.

    Returns
    -------
    float
        Between −1 and 1.
    """
    return float(np.nan_to_num(temporal_correlation(true, predicted)).mean())


def left_out_courses(
    runs: Sequence[DrivenRun], estimator: AutoregressiveRidge, forced: bool = False
) -> dict[str, float]:
    """Leave each subject out in turn and score its runs by `course_correlation`.

    Parameters
    ----------
    runs : sequence of DrivenRun
        Of at least two subjects.
    estimator : AutoregressiveRidge
        Fitted anew for each subject left out.
    forced : bool, default=False
        As for `AutoregressiveRidge.predict`.

    Returns
    -------
    dict of str to float
        Score of each subject, the mean over its runs.
    """
    from sklearn.base import clone

    scores = {}
    for subject in dict.fromkeys(run.subject for run in runs):
        fitted = clone(estimator).fit([run for run in runs if run.subject != subject])
        own = [run for run in runs if run.subject == subject]
        scores[subject] = float(np.mean([course_correlation(r.series[1:], fitted.predict(r, forced)) for r in own]))
    return scores
