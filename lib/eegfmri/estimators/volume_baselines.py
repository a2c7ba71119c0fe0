"""What a prediction of volumes must beat, and what only looks like a baseline because it has seen the answer.

Fair: `TrainingMean`, `BandPowerRidge`. Oracles, which are given the test subject's own volumes: `SubjectMean`, `PreviousVolume`,
`NoChange`. They are no bar for a model that sees EEG only; they show how much of a score anatomy and slowness are worth.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.base import BaseEstimator

from eegfmri.errors import RequestError
from eegfmri.estimators.adaptation import AdaptedEstimator
from eegfmri.evaluation.splits import InnerValidation
from eegfmri.preprocessing.eeg import BANDS
from eegfmri.preprocessing.spectra import volume_band_power
from eegfmri.preprocessing.volumes import Targets
from eegfmri.windows import Windows


@dataclass(eq=False, repr=False)
class TrainingMean(BaseEstimator):
    """The mean of all training volumes, whatever the EEG.

    Attributes
    ----------
    by_subject : bool, default=False
        A training subject's own mean where the test window is of a training subject (its training volumes only, so no oracle); the
        mean over all for new subjects.
    """

    by_subject: bool = False

    def fit(self, X: Windows, targets: Targets) -> "TrainingMean":
        """Average the training targets."""
        self.mean_ = targets.mean()
        subjects = X.subjects if self.by_subject else ()
        self.of_subject_ = {subject: targets.mean(np.flatnonzero(subject == X.groups)) for subject in subjects}
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return the mean for every window, shape (n_windows, n_voxels)."""
        return np.stack([self.of_subject_.get(subject, self.mean_) for subject in X.groups])


class SubjectMean(BaseEstimator):
    """Oracle: the mean of the test subject's own test volumes."""

    sees_targets = True

    def fit(self, X: Windows, targets: Targets) -> "SubjectMean":
        """Learn nothing."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Nothing is learned."""
        return True

    def predict(self, X: Windows, targets: Targets) -> np.ndarray:
        """Return the subject's mean for each of its windows, shape (n_windows, n_voxels)."""
        out = np.empty(targets.shape, dtype=np.float32)
        for subject in X.subjects:
            rows = np.flatnonzero(X.groups == subject)
            out[rows] = targets[rows].mean(axis=0, dtype=float)
        return out


class PreviousVolume(BaseEstimator):
    """Oracle: the volume before the one to be predicted, of the same run.

    The first volume of a run has none before it; it is given the one after it, so that no volume is its own prediction.
    """

    sees_targets = True

    def fit(self, X: Windows, targets: Targets) -> "PreviousVolume":
        """Learn nothing."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Nothing is learned."""
        return True

    def predict(self, X: Windows, targets: Targets) -> np.ndarray:
        """Return the volume before each window's, shape (n_windows, n_voxels); it need not be a test window itself."""
        out = np.empty(targets.shape, dtype=np.float32)
        streams, runs, firsts = X.bold.streams, X.bold.run, X.bold.first
        for row, (run, first) in enumerate(zip(runs, firsts, strict=True)):
            volume = streams[run].load()[:, first - 1 if first > 0 else first + 1]
            out[row] = targets.scale(volume[None], [X.groups[row]])[0]
        return out


class NoChange(BaseEstimator):
    """Zero everywhere: with the ``normalised`` scaling, the subject's own median volume, hence an oracle for new subjects."""

    sees_targets = True

    def fit(self, X: Windows, targets: Targets) -> "NoChange":
        """Learn nothing."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Nothing is learned."""
        return True

    def predict(self, X: Windows, targets: Targets) -> np.ndarray:
        """Return zeros, shape (n_windows, n_voxels)."""
        return np.zeros(targets.shape, dtype=np.float32)


#: Name under which `with_lagged_power` keeps its feature.
LAGGED_POWER = "lagged_power"


def with_lagged_power(windows: Windows, seconds: float = 2.0, bands: dict[str, tuple[float, float]] = BANDS) -> Windows:
    """Attach the band power of every stretch of each window's EEG in dB, as ``lagged_power``.

    Parameters
    ----------
    windows : Windows
        From `eegfmri.windows.volume_windows`.
    seconds : float, default=2.0
        Length of a stretch; a whole number of samples. What does not fill a stretch at the start of the window is left out.
    bands : dict of str to (float, float)
        Edges in Hz.

    Returns
    -------
    Windows
        With a feature of shape (n_windows, n_channels, n_bands, n_stretches), the last stretch nearest to the volume.
    """
    n_stretches = int(windows.eeg.length / windows.eeg.sfreq / seconds + 1e-9)
    if n_stretches < 1:
        raise RequestError(
            f"Windows of {windows.eeg.length / windows.eeg.sfreq:g} s hold no stretch of {seconds:g} s: make it shorter."
        )
    used = round(n_stretches * seconds * windows.eeg.sfreq)

    def power(own: Windows) -> np.ndarray:
        rows = [
            volume_band_power(own.eeg[i][:, -used:].astype(float), own.eeg.sfreq, seconds, n_stretches, bands)
            for i in range(len(own))
        ]
        return (10 * np.log10(np.maximum(np.stack(rows), 1e-30))).astype(np.float32)

    return windows.with_feature(LAGGED_POWER, power)


@dataclass(eq=False, repr=False)
class BandPowerRidge(AdaptedEstimator):
    """Ridge regression of the volume's principal components on band power at all lags within the window.

    Attributes
    ----------
    n_components : int, default=32
        Spatial components of the training volumes that are predicted; the rest is their mean.
    penalties : sequence of float
        The one with the smallest error on validation windows inside the training windows is taken.
    seed : int, default=0
        Of the decomposition.
    adaptation, calibration_minutes
        See `eegfmri.estimators.adaptation.AdaptedEstimator`: each subject's mean power per feature is subtracted. Without adaptation
        the training subjects' mean is subtracted from all, training subjects included.
    """

    _: KW_ONLY
    n_components: int = 32
    penalties: Sequence[float] = tuple(10.0 ** np.arange(1, 8))
    seed: int = 0

    def fit(self, X: Windows, targets: Targets) -> "BandPowerRidge":
        """Learn means, components, penalty and weights from the training windows."""
        from sklearn.decomposition import PCA
        from sklearn.linear_model import Ridge

        self.check_adaptation()
        self.power_means_ = {subject: self._mean_power(X[subject == X.groups]) for subject in X.subjects}
        features = self._features(X)
        self.scale_ = features.std(axis=0)
        self.scale_[self.scale_ == 0] = 1.0
        features /= self.scale_
        # components of at most 1500 training volumes, spread evenly; all volumes are projected
        chosen = np.unique(np.linspace(0, len(X) - 1, min(len(X), 1500)).astype(int))
        n_components = min(self.n_components, len(chosen) - 1)
        self.pca_ = PCA(n_components, svd_solver="randomized", random_state=self.seed).fit(targets[chosen])
        scores = np.concatenate(
            [self.pca_.transform(targets[part]) for part in np.array_split(np.arange(len(X)), -(-len(X) // 256))]
        )
        train, validation = next(iter(InnerValidation().split(X)))
        errors = []
        for penalty in self.penalties:
            guess = Ridge(penalty).fit(features[train], scores[train]).predict(features[validation])
            errors.append(((guess - scores[validation]) ** 2).sum())
        self.penalty_ = self.penalties[int(np.argmin(errors))]
        self.ridge_ = Ridge(self.penalty_).fit(features, scores)
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return volumes, shape (n_windows, n_voxels)."""
        scores = self.ridge_.predict(self._features(X) / self.scale_)
        return self.pca_.inverse_transform(scores).astype(np.float32)

    def _power(self, X: Windows) -> np.ndarray:
        if LAGGED_POWER not in X.features:
            raise RequestError("The windows lack their lagged band power: call with_lagged_power first.")
        return X.features[LAGGED_POWER].reshape(len(X), -1).astype(float)

    def _features(self, X: Windows) -> np.ndarray:
        power, overall = self._power(X), np.mean(list(self.power_means_.values()), axis=0)
        known = {} if self.adaptation == "none" else self.power_means_
        for subject, mean in self.adapted(X, known, self._mean_power, unadapted=overall).items():
            power[X.groups == subject] -= mean
        return np.nan_to_num(power)  # what a gap hides is taken as average

    def _mean_power(self, own: Windows) -> np.ndarray:
        """Mean over windows without those whose stretch holds a gap (NaN); 0 dB where there is none left."""
        power = self._power(own)
        known = np.isfinite(power)
        return np.where(known, power, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
