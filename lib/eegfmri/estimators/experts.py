"""Late fusion of any two classifiers: each learns by itself, and their probabilities are multiplied."""

from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from eegfmri.windows import Windows


@dataclass(eq=False, repr=False)
class ProductOfExperts(ClassifierMixin, BaseEstimator):
    """Two classifiers on the same windows, whose probabilities are multiplied and normalised.

    With equal priors in each, as `eegfmri.estimators.classical.EqualPriorLda` has them, that is Bayes' rule for experts whose errors are
    independent. A modality that is absent can be left out of the product.

    Attributes
    ----------
    one, other : estimator
        With ``predict_proba``.
    """

    one: BaseEstimator
    other: BaseEstimator

    def fit(self, X: Windows, y: np.ndarray) -> "ProductOfExperts":
        """Fit a fresh copy of either on all training windows."""
        self.experts_ = [clone(expert).fit(X, y) for expert in (self.one, self.other)]
        self.classes_ = self.experts_[0].classes_
        return self

    def predict_proba(self, X: Windows) -> np.ndarray:
        """Return the normalised product, shape (n_windows, n_classes)."""
        logs = sum(np.log(np.maximum(expert.predict_proba(X), 1e-12)) for expert in self.experts_)
        product = np.exp(logs - logs.max(axis=1, keepdims=True))
        return product / product.sum(axis=1, keepdims=True)

    def predict(self, X: Windows) -> np.ndarray:
        """Return class indices, shape (n_windows,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
