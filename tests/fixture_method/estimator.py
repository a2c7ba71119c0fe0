"""Ridge regression on band power as an estimator :cite:p:`fifth2026`."""

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin

from eegfmri.models.band_ridge import ridge_weights
from eegfmri.windows import Windows


class BandRidge(ClassifierMixin, BaseEstimator):
    """Tell stages apart by the band power of the EEG.

    Parameters
    ----------
    penalty : float, default=10.0
        Weight of the squared weights.
    """

    def __init__(self, penalty: float = 10.0):
        self.penalty = penalty

    def fit(self, X: Windows, y=None) -> "BandRidge":
        """Learn scale and weights from training windows."""
        features, stages = self._features(X), X.y
        self.classes_ = np.unique(stages)
        self.mean_, self.scale_ = features.mean(axis=0), features.std(axis=0)
        scaled = torch.from_numpy((features - self.mean_) / self.scale_)
        targets = torch.from_numpy((stages[:, None] == self.classes_).astype(float))
        self.weights_ = ridge_weights(scaled, targets - targets.mean(dim=0), self.penalty).numpy()
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return the class of each window."""
        scaled = (self._features(X) - self.mean_) / self.scale_
        return self.classes_[(scaled @ self.weights_).argmax(axis=1)]

    def _features(self, windows: Windows) -> np.ndarray:
        return windows.features["eeg_band_power"].reshape(len(windows), -1).astype(float)
