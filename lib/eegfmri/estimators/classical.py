"""Classical classifiers on features of windows, predictors that see no signal, and probes for leaks.

A pipeline starts by picking a feature that was computed window by window (`Windows.with_feature`); whatever is fitted
comes after it and is fitted inside the fold.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

from eegfmri import metrics
from eegfmri.errors import RequestError
from eegfmri.evaluation.splits import InnerValidation
from eegfmri.preprocessing import spectra
from eegfmri.windows import Windows

#: Penalties among which ridge regression chooses inside the training windows.
RIDGE_PENALTIES = tuple(10.0 ** np.arange(-1, 6))


@dataclass(eq=False, repr=False)
class PickFeature(TransformerMixin, BaseEstimator):
    """Pick one feature of the windows as a table.

    Attributes
    ----------
    name : str
        Name given to `Windows.with_feature`.
    """

    name: str

    def fit(self, X: Windows, y=None) -> "PickFeature":
        """Check that the feature is there."""
        self._feature(X)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Nothing is learned."""
        return True

    def transform(self, X: Windows) -> np.ndarray:
        """Return the feature as a table, shape (n_windows, n_features)."""
        return self._feature(X).reshape(len(X), -1)

    def _feature(self, windows: Windows) -> np.ndarray:
        if self.name not in windows.features:
            known = ", ".join(windows.features) or "none"
            raise RequestError(
                f"The windows have no feature {self.name!r} (they have: {known}): add it with Windows.with_feature."
            )
        return np.asarray(windows.features[self.name])


class _Stateless(TransformerMixin, BaseEstimator):
    """A transformer that learns nothing."""

    def fit(self, X: Windows, y=None) -> "_Stateless":
        """Learn nothing."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Nothing is learned."""
        return True


class TimeInRun(_Stateless):
    """Describe a window by when it was recorded, and nothing else: rest or sleep run, and minutes into it."""

    def transform(self, X: Windows) -> np.ndarray:
        """Return kind of run (0 rest, 1 sleep), time in it for rest and for sleep runs, shape (n_windows, 3)."""
        asleep = X.table["run"].str.startswith("task-sleep").to_numpy(dtype=float)
        minutes = X.table["onset"].to_numpy() / 60
        return np.column_stack([asleep, minutes * (1 - asleep), minutes * asleep])


class OrderInSession(_Stateless):
    """Describe a window by its rank among the scored epochs of its subject's session, and nothing else."""

    def transform(self, X: Windows) -> np.ndarray:
        """Return the rank, shape (n_windows, 1)."""
        return X.table[["order"]].to_numpy(dtype=float)


def eeg_band_power(windows: Windows) -> np.ndarray:
    """Power per channel and band of each window's EEG in dB, shape (n_windows, n_channels, n_bands)."""
    return spectra.band_power(windows.eeg[:], windows.eeg.sfreq)


def bold_mean(windows: Windows) -> np.ndarray:
    """Mean over each window's volumes, shape (n_windows, n_regions)."""
    return windows.bold[:].mean(axis=-1)


def with_classical_features(windows: Windows) -> Windows:
    """Attach what the classical methods use: ``eeg_band_power`` and ``bold_mean``."""
    return windows.with_feature("eeg_band_power", eeg_band_power).with_feature("bold_mean", bold_mean)


def shrinkage_lda(feature: str) -> Pipeline:
    """Linear discriminant analysis with the Ledoit–Wolf covariance :cite:p:`ledoit2004` on one feature.

    Parameters
    ----------
    feature : str
        Name given to `Windows.with_feature`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Classes are weighted equally, as balanced accuracy weighs them.
    """
    return make_pipeline(PickFeature(feature), StandardScaler(), EqualPriorLda())


class EqualPriorLda(LinearDiscriminantAnalysis):
    """Shrinkage LDA whose classes are equally likely beforehand, however many of them the fold holds."""

    def __init__(self):
        super().__init__(solver="lsqr", shrinkage="auto")

    def fit(self, X: np.ndarray, y: np.ndarray) -> "EqualPriorLda":
        """Fit with equal priors for the classes that occur."""
        self.priors = np.full(len(np.unique(y)), 1 / len(np.unique(y)))
        try:
            with warnings.catch_warnings():
                # Within one subject a fold may hold a single window of a stage; it adds nothing to the covariance.
                warnings.filterwarnings("ignore", message="Only one sample available")
                return super().fit(X, y)
        finally:
            self.priors = None


def ridge(feature: str, validation: InnerValidation | None = None) -> GridSearchCV:
    """Ridge classification on one feature, its penalty chosen inside the training windows.

    Parameters
    ----------
    feature : str
        Name given to `Windows.with_feature`.
    validation : InnerValidation or None
        How training windows are split to choose the penalty.

    Returns
    -------
    sklearn.model_selection.GridSearchCV
        Classes are weighted equally.
    """
    pipeline = Pipeline(
        [
            ("feature", PickFeature(feature)),
            ("scale", StandardScaler()),
            ("ridge", RidgeClassifier(class_weight="balanced")),
        ]
    )
    return GridSearchCV(
        pipeline,
        {"ridge__alpha": list(RIDGE_PENALTIES)},
        scoring=make_scorer(metrics.balanced_accuracy),
        cv=validation or InnerValidation(),
    )


def trivial_predictors(seed: int = 0) -> dict[str, BaseEstimator]:
    """Predictors that look at no signal: what any method must beat.

    Parameters
    ----------
    seed : int, default=0
        Of the random predictor.

    Returns
    -------
    dict of str to estimator
        ``majority`` (the training windows' most frequent stage), ``stratified_random`` (drawn with the training
        windows' frequencies), ``time_in_run`` (logistic regression on when a window was recorded).
    """
    return {
        "majority": DummyClassifier(strategy="most_frequent"),
        "stratified_random": DummyClassifier(strategy="stratified", random_state=seed),
        "time_in_run": make_pipeline(
            TimeInRun(),
            SplineTransformer(n_knots=4, degree=3, extrapolation="constant"),
            StandardScaler(),
            LogisticRegression(class_weight="balanced", max_iter=1000),
        ),
    }


def nearest_in_time() -> Pipeline:
    """Repeat the stage of the training window that lies nearest in the session: a probe for leaks.

    It looks at no signal. Where it scores above the predictors of `trivial_predictors`, the split itself gives the
    labels away.

    Returns
    -------
    sklearn.pipeline.Pipeline
        One nearest neighbour on `OrderInSession`.
    """
    return make_pipeline(OrderInSession(), KNeighborsClassifier(1))


def one_nearest_neighbour(feature: str) -> Pipeline:
    """Repeat the stage of the training window with the most similar feature: a method that generalises by nothing but memory.

    Parameters
    ----------
    feature : str
        Name given to `Windows.with_feature`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        One nearest neighbour on the standardised feature.
    """
    return make_pipeline(PickFeature(feature), StandardScaler(), KNeighborsClassifier(1))


def classical_methods() -> dict[str, BaseEstimator]:
    """Shrinkage LDA and ridge on each modality, for windows with `with_classical_features`."""
    return {
        "lda_eeg": shrinkage_lda("eeg_band_power"),
        "ridge_eeg": ridge("eeg_band_power"),
        "lda_bold": shrinkage_lda("bold_mean"),
        "ridge_bold": ridge("bold_mean"),
    }
