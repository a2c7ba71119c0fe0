"""Classical baselines: features that people have designed for sleep staging, and six classifiers on them.

The features of a window are computed from that window alone, so they may be computed before any split. What is fitted comes
after: scaling, principal components, the choice of a method's settings on validation subjects cut from the training
ones, the classifier. Every method weighs the classes equally, as balanced accuracy does.

"The strongest baseline" can be meant in two ways. `strongest` names the method with the best *test* score; picking it after the
fact favours the baseline, the more so the more methods there are and the fewer subjects. `best_classical` chooses among all
methods *inside* the training subjects and is then tested once, like any other method.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.svm import SVC

from eegfmri import cache, metrics
from eegfmri.errors import RequestError
from eegfmri.estimators.classical import EqualPriorLda, PickFeature
from eegfmri.evaluation.evaluate import Averaging, Evaluation
from eegfmri.evaluation.splits import InnerValidation
from eegfmri.preprocessing.eeg import BANDS
from eegfmri.preprocessing.spectra import power_spectrum
from eegfmri.recordings import EPOCH_SECONDS
from eegfmri.windows import Windows

#: Which engineered features a classifier is given: of one modality, or of both one after the other.
Modality = Literal["eeg", "bold", "both"]

#: Hz; the whole that relative powers and ratios are shares of.
BROAD_BAND = (0.5, 45.0)

#: Hz; the bands of sleep spindles and of slow waves.
SPINDLE_BAND, SLOW_WAVE_BAND = (11.0, 16.0), (0.5, 2.0)

#: Hz; the spectral slope is fitted here, leaving out alpha and spindles, whose peaks would bend the line.
SLOPE_RANGE, SLOPE_WITHOUT = (2.0, 40.0), (7.0, 16.0)

#: What `eeg_features` holds per channel, in order.
EEG_FEATURES = (
    *(f"log power {band}" for band in BANDS),
    *(f"relative power {band}" for band in BANDS),
    "spectral slope",
    "Hjorth activity",
    "Hjorth mobility",
    "Hjorth complexity",
    "spindle ratio",
    "slow-wave ratio",
)

#: Principal components that stand for connectivity.
N_COMPONENTS = 32


def with_engineered_features(windows: Windows) -> Windows:
    """Attach the engineered features of both modalities: ``eeg_engineered`` and ``bold_engineered``.

    Parameters
    ----------
    windows : Windows
        With EEG of three or more scored epochs the middle one, which is scored, is described, and the others by the mean of their
        descriptions, so that a classical method sees the context that a network sees; with other lengths the window as a whole.

    Returns
    -------
    Windows
        With features of shapes (n_windows, n_channels, 32), the scored epoch before its context (16 without any), and
        (n_windows, 2 n_regions + n_regions (n_regions − 1) / 2).
    """
    return windows.with_feature("eeg_engineered", _eeg_of).with_feature("bold_engineered", _bold_of)


def _eeg_of(windows: Windows) -> np.ndarray:
    array, n_times = windows.eeg, round(EPOCH_SECONDS * windows.eeg.sfreq)
    n_epochs, rest = divmod(array.shape[2], n_times)
    if rest or n_epochs < 2:
        return eeg_features(array[:, :, :], array.sfreq).astype(np.float32)
    epochs, place = array.pieces(n_times)
    found = eeg_features(epochs[:, :, :], array.sfreq).astype(np.float32)[
        place
    ]  # (n_windows, n_epochs, n_channels, 16)
    middle = n_epochs // 2
    others = np.delete(found, middle, axis=1).mean(axis=1)
    return np.concatenate([found[:, middle], others], axis=2)


def _bold_of(windows: Windows) -> np.ndarray:
    return bold_features(windows.bold[:]).astype(np.float32)


def eeg_features(eeg: np.ndarray, sfreq: float) -> np.ndarray:
    """Describe each channel of each window by sixteen numbers.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (..., n_channels, n_times), in V; gaps are NaN.
    sfreq : float
        Hz; at least 90, so that the highest band can be told.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_channels, 16), in the order of `EEG_FEATURES`. *Log power*: mean density per band of
        `eegfmri.preprocessing.eeg.BANDS`, in dB relative to 1 µV²/Hz. *Relative power*:
        share of each band in the power from 0.5 to 45 Hz. *Spectral slope*:
        exponent of the density, from a least-squares line through log density over log frequency, 2 to 40 Hz without
        7 to 16 Hz, every octave weighing alike. *Hjorth* :cite:p:`hjorth1970`: activity, the variance, in dB relative to
        1 µV²; mobility, the standard deviation of the derivative over that of the signal, in 1/s; complexity, mobility of
        the derivative over mobility of the signal, 1 for a sine. *Spindle* and *slow-wave ratio*: shares of 11–16 Hz and
        0.5–2 Hz in the power from 0.5 to 45 Hz. A channel that never varies has −120 dB and 0 elsewhere; one without 4 s
        free of gaps is NaN.

    Raises
    ------
    RequestError
        If the sampling frequency is too low.
    """
    if sfreq < 2 * BROAD_BAND[1]:
        raise RequestError(
            f"Engineered features reach up to {BROAD_BAND[1]:g} Hz, which EEG at {sfreq:g} Hz does not hold: prepare it at "
            f"{2 * BROAD_BAND[1]:g} Hz or more."
        )
    signal = np.asarray(eeg, dtype=float) * 1e6
    # Seen from its first sample a constant is exactly 0, which its mean, rounded, would not make it.
    signal = signal - _first_sample(signal)
    frequencies, density = power_spectrum(signal, sfreq)  # µV²/Hz
    width = frequencies[1] - frequencies[0]
    whole = _mean_within(density, frequencies, BROAD_BAND) * _count_within(frequencies, BROAD_BAND) * width

    def share(band: tuple[float, float]) -> np.ndarray:
        power = _mean_within(density, frequencies, band) * _count_within(frequencies, band) * width
        return _ratio(power, whole)

    level = [_decibels(_mean_within(density, frequencies, band)) for band in BANDS.values()]
    return np.stack(
        [
            *level,
            *(share(band) for band in BANDS.values()),
            _slope(frequencies, density),
            *_hjorth(signal, sfreq),
            share(SPINDLE_BAND),
            share(SLOW_WAVE_BAND),
        ],
        axis=-1,
    )


def _first_sample(signal: np.ndarray) -> np.ndarray:
    place = np.isnan(signal).argmin(axis=-1)[..., None]  # the first that is no gap
    return np.take_along_axis(signal, place, axis=-1)


def _inside(frequencies: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    return (frequencies >= band[0]) & (frequencies < band[1])


def _count_within(frequencies: np.ndarray, band: tuple[float, float]) -> int:
    return int(_inside(frequencies, band).sum())


def _mean_within(density: np.ndarray, frequencies: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    return density[..., _inside(frequencies, band)].mean(axis=-1)


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(power + 1e-12)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole == 0, 0.0, part / np.where(whole == 0, 1.0, whole))


def _slope(frequencies: np.ndarray, density: np.ndarray) -> np.ndarray:
    used = _inside(frequencies, SLOPE_RANGE) & ~_inside(frequencies, SLOPE_WITHOUT)
    x = np.log10(frequencies[used])
    weights = 1 / frequencies[used]  # frequencies are evenly spaced, octaves are not
    x = x - np.average(x, weights=weights)
    y = np.log10(np.maximum(density[..., used], np.finfo(float).tiny))
    y = y - y[..., :1]  # a constant has a slope of exactly 0
    return y @ (weights * x) / (weights * x**2).sum()


def _hjorth(signal: np.ndarray, sfreq: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    derivative = np.diff(signal, axis=-1) * sfreq
    second = np.diff(derivative, axis=-1) * sfreq
    activity, first_power, second_power = (_variance(x) for x in (signal, derivative, second))
    mobility = np.sqrt(_ratio(first_power, activity))
    return _decibels(activity), mobility, _ratio(np.sqrt(_ratio(second_power, first_power)), mobility)


def _variance(signal: np.ndarray) -> np.ndarray:
    present = ~np.isnan(signal)
    if present.all():
        return signal.var(axis=-1)
    count = present.sum(axis=-1, keepdims=True)
    mean = np.nansum(signal, axis=-1, keepdims=True) / np.maximum(count, 1)
    squares = np.nansum((signal - mean) ** 2, axis=-1) / np.maximum(count[..., 0], 1)
    return np.where(count[..., 0] > 0, squares, np.nan)


def bold_features(bold: np.ndarray) -> np.ndarray:
    """Describe each window by its regions' means and variances and by their connectivity.

    Parameters
    ----------
    bold : numpy.ndarray
        Shape (n_windows, n_regions, n_volumes), in the unit of the prepared series (percent signal change); volumes that were
        left out are NaN.

    Returns
    -------
    numpy.ndarray
        Shape (n_windows, 2 n_regions + n_regions (n_regions − 1) / 2): means; variances over the window's volumes, in the unit
        squared; Fisher's z of the correlation of every pair of regions, rows of the upper triangle one after the
        other. A region that never varies has variance and z of 0; without any volume everything is 0.
    """
    bold = np.asarray(bold, dtype=float)
    kept = ~np.isnan(bold).any(axis=1, keepdims=True)  # (n_windows, 1, n_volumes)
    count = np.maximum(kept.sum(axis=-1, keepdims=True), 1)
    bold = np.where(kept, bold, 0.0)
    first = np.take_along_axis(bold, np.broadcast_to(kept.argmax(axis=-1)[..., None], (*bold.shape[:2], 1)), axis=-1)
    # As for EEG: measured from its first volume a constant is exactly 0.
    centred = np.where(kept, bold - first, 0.0)
    offset = centred.sum(axis=-1, keepdims=True) / count
    mean = (first + offset)[..., 0]
    centred = np.where(kept, centred - offset, 0.0)
    variance = (centred**2).sum(axis=-1) / count[..., 0]
    norm = np.sqrt((centred**2).sum(axis=-1, keepdims=True))
    unit = centred / np.where(norm == 0, 1.0, norm)
    correlation = unit @ unit.swapaxes(1, 2)
    upper = np.triu_indices(bold.shape[1], 1)
    connectivity = np.arctanh(np.clip(correlation[:, upper[0], upper[1]], -0.999999, 0.999999))
    return np.concatenate([mean, variance, connectivity], axis=1)


@dataclass(frozen=True)
class _Method:
    """A classifier and the settings among which it is tuned, the simplest first.

    With ``staged`` the settings are numbers of boosting steps, all scored in one fit.
    """

    build: Callable[[Any, int], BaseEstimator]
    settings: tuple
    staged: bool = False

    def predictions(self, X: np.ndarray, y: np.ndarray, new: np.ndarray, seed: int) -> Iterator[np.ndarray]:
        """Fit on (X, y) with every setting in turn and yield the classes of ``new``."""
        if self.staged:
            fitted = self.build(self.settings[-1], seed).fit(X, y)
            steps = list(fitted[-1].staged_predict(fitted[:-1].transform(new)))
            yield from (steps[setting - 1] for setting in self.settings)
            return
        for setting in self.settings:
            yield self.build(setting, seed).fit(X, y).predict(new)


def _boosting(n_steps: int, seed: int) -> Pipeline:
    return make_pipeline(
        # Boosting puts values into bins anyway; its own way of doing so with weighted windows takes seconds.
        _QuietBins(),
        HistGradientBoostingClassifier(
            max_iter=n_steps,
            max_leaf_nodes=4,
            max_bins=_QuietBins.N_BINS,  # as many as there are values: the same trees, in half the time
            max_features=0.2,  # neighbouring channels say much the same: a split that looks at some of them costs a fifth
            class_weight="balanced",
            early_stopping=False,
            random_state=seed,
        ),
    )


class _QuietBins(KBinsDiscretizer):
    """Bins of equal counts; values with fewer levels get fewer bins and no warning."""

    N_BINS = 32

    def __init__(self):
        super().__init__(self.N_BINS, encode="ordinal", quantile_method="averaged_inverted_cdf", subsample=None)

    def fit(self, X, y=None, sample_weight=None):
        import warnings

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(bins whose width are too small|is constant)")
            return super().fit(X, y, sample_weight)


#: Penalties of the linear methods: hundreds of standardised features and few subjects ask for strong ones.
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)

_METHODS = {
    "logistic": _Method(lambda c, seed: LogisticRegression(C=c, class_weight="balanced", max_iter=1000), _PENALTIES),
    "linear_svm": _Method(lambda c, seed: SVC(C=c, kernel="linear", class_weight="balanced"), _PENALTIES),
    "rbf_svm": _Method(lambda c, seed: SVC(C=c, class_weight="balanced"), (0.1, 1.0, 10.0)),
    "random_forest": _Method(
        lambda leaf, seed: RandomForestClassifier(
            60, min_samples_leaf=leaf, class_weight="balanced", random_state=seed
        ),
        (5, 1),
    ),
    "gradient_boosting": _Method(_boosting, (10, 20, 40), staged=True),
    "lda": _Method(lambda setting, seed: EqualPriorLda(), ("Ledoit–Wolf",)),
}

#: Inner scores that were found last, by method and training windows.
_SCORES = cache.Recent(1 << 20)

#: Names of the six classifiers.
METHODS = tuple(_METHODS)


@dataclass(eq=False, repr=False)
class BestOf(ClassifierMixin, BaseEstimator):
    """The best of some classifiers and settings on engineered features, chosen inside the training windows.

    Every candidate is fitted and scored on the same inner splits, whose scaling and principal components are fitted on their own
    training part; the one with the highest mean balanced accuracy is fitted again on all training windows. Of equals
    the earlier is taken: the order of ``methods``, simpler settings first.

    Attributes
    ----------
    modality : {"eeg", "bold", "both"}
        Which engineered features; the windows must have them (`with_engineered_features`). Both: early fusion.
    methods : sequence of str
        Candidates, of `METHODS`. With one, this is that method with its settings tuned.
    n_components : int, default=32
        Principal components of the connectivity; as many as the training windows allow, if fewer.
    validation : InnerValidation or None
        How training windows are split to choose.
    seed : int, default=0
        Of the random forest and the principal components.
    """

    modality: Modality
    methods: Sequence[str] = METHODS
    n_components: int = N_COMPONENTS
    validation: InnerValidation | None = None
    seed: int = 0

    def fit(self, X: Windows, y: np.ndarray) -> "BestOf":
        """Choose and fit.

        Parameters
        ----------
        X : Windows
            Training windows.
        y : numpy.ndarray
            Class indices, shape (n_windows,).

        Returns
        -------
        BestOf
            Itself, with ``method_`` and ``setting_`` (what was chosen) and ``inner_scores_`` (mean balanced accuracy by method and
            setting; NaN where no inner split had two classes to train on, and then the first candidate is taken).
        """
        _checked(self.modality)
        unknown = [name for name in self.methods if name not in _METHODS]
        if unknown or not len(self.methods):
            raise RequestError(
                f"There is no method {', '.join(unknown) or '()'} on engineered features: choose of {', '.join(METHODS)}."
            )
        y = np.asarray(y)
        self.classes_ = np.unique(y)
        with _one_thread():
            if len(self.classes_) == 1:
                self.method_, self.setting_, self.inner_scores_ = self.methods[0], None, {}
                self.pipeline_ = DummyClassifier(strategy="most_frequent").fit(np.zeros((len(y), 1)), y)
                return self
            self.inner_scores_ = self._inner_scores(X, y)
            best = max(self.inner_scores_, key=lambda name: np.nan_to_num(self.inner_scores_[name], nan=-1.0))
            self.method_, place = best
            self.setting_ = _METHODS[self.method_].settings[place]
            self.inner_scores_ = {
                (method, _METHODS[method].settings[place]): score
                for (method, place), score in self.inner_scores_.items()
            }
            self.pipeline_ = Pipeline(
                [
                    ("features", self._preparation(X)),
                    ("classifier", _METHODS[self.method_].build(self.setting_, self.seed)),
                ]
            ).fit(X, y)
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return class indices, shape (n_windows,)."""
        with _one_thread():
            return self.pipeline_.predict(np.zeros((len(X), 1)) if len(self.classes_) == 1 else X)

    def predict_proba(self, X: Windows) -> np.ndarray:
        """Return probabilities of ``classes_``, shape (n_windows, n_classes), where the chosen method has them."""
        with _one_thread():
            return self.pipeline_.predict_proba(np.zeros((len(X), 1)) if len(self.classes_) == 1 else X)

    def _inner_scores(self, X: Windows, y: np.ndarray) -> dict[tuple[str, int], float]:
        if sum(len(_METHODS[name].settings) for name in self.methods) == 1:
            return {(self.methods[0], 0): float("nan")}
        scores = {}
        # One method's scores do not depend on which others are candidates: whoever asks next is told what was found.
        features = {name: values for name, values in X.features.items() if name.endswith("_engineered")}
        places = X.table[["subject", "run", "onset"]].to_numpy().tolist()
        asked = cache.digest(features, places, X.eeg.shape, X.bold.shape, y, repr(self.validation), self.modality)
        for name in self.methods:
            key = cache.digest(asked, name, self.n_components, self.seed)
            found = _SCORES.get(key, partial(self._scores_of, name, X, y))
            scores |= {(name, place): float(score) for place, score in enumerate(found)}
        return scores

    def _scores_of(self, name: str, X: Windows, y: np.ndarray) -> np.ndarray:
        """Return the mean balanced accuracy of a method over the inner splits, shape (n_settings,); NaN where none can be learned from."""
        rows = []
        for train, validation in (self.validation or InnerValidation()).split(X):
            if not len(validation) or len(np.unique(y[train])) < 2:
                continue
            preparation = self._preparation(X[train])
            known = preparation.fit_transform(X[train])
            new = preparation.transform(X[validation])
            said = _METHODS[name].predictions(known, y[train], new, self.seed)
            rows.append([metrics.balanced_accuracy(y[validation], predicted) for predicted in said])
        return np.mean(rows, axis=0) if rows else np.full(len(_METHODS[name].settings), np.nan)

    def _preparation(self, X: Windows) -> Pipeline | FeatureUnion:
        if self.modality == "both":
            return FeatureUnion([(name, self._preparation_of(name, X)) for name in ("eeg", "bold")])
        return self._preparation_of(self.modality, X)

    def _preparation_of(self, modality: str, X: Windows) -> Pipeline:
        steps = [
            ("pick", PickFeature(f"{modality}_engineered")),
            ("gaps", SimpleImputer(keep_empty_features=True)),
        ]
        if modality == "eeg":
            return Pipeline([*steps, ("scale", StandardScaler())])
        levels = 2 * X.bold.shape[1]
        blocks = ColumnTransformer(
            [
                ("levels", StandardScaler(), slice(0, levels)),
                ("connectivity", _Components(self.n_components, self.seed), slice(levels, None)),
            ]
        )
        return Pipeline([*steps, ("blocks", blocks)])


@dataclass(eq=False, repr=False)
class _Components(TransformerMixin, BaseEstimator):
    """Principal components, scaled to unit variance; never more than the training windows span."""

    n_components: int
    seed: int

    def fit(self, X: np.ndarray, y=None) -> "_Components":
        n_components = min(self.n_components, len(X) - 1, X.shape[1])
        if n_components < 1:
            raise RequestError(
                f"{len(X)} training windows and {X.shape[1]} connections have no principal component: use more."
            )
        pca = PCA(n_components, svd_solver="randomized", random_state=self.seed)
        self.pipeline_ = make_pipeline(pca, StandardScaler()).fit(X)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        return self.pipeline_.transform(X)


@dataclass(eq=False, repr=False)
class LateFusion(ClassifierMixin, BaseEstimator):
    """Two logistic regressions, one on each modality's engineered features, whose probabilities are multiplied.

    The plainest fusion there is: either may be left out at test, and neither knows of the other in training. Each is tuned inside the
    training windows, as `BestOf` does.

    Attributes
    ----------
    seed : int, default=0
        Of whatever is random in them.
    """

    seed: int = 0

    def fit(self, X: Windows, y: np.ndarray) -> "LateFusion":
        """Fit both on the same training windows; classes are balanced in either.

        Parameters
        ----------
        X : Windows
            With `with_engineered_features`.
        y : numpy.ndarray
            Class indices, shape (n_windows,).

        Returns
        -------
        LateFusion
            Itself.
        """
        self.classes_ = np.unique(y)
        self.parts_ = [BestOf(modality, ("logistic",), seed=self.seed).fit(X, y) for modality in ("eeg", "bold")]
        return self

    def predict_proba(self, X: Windows) -> np.ndarray:
        """Return the normalised product, shape (n_windows, n_classes)."""
        logs = sum(np.log(np.maximum(part.predict_proba(X), 1e-12)) for part in self.parts_)
        product = np.exp(logs - logs.max(axis=1, keepdims=True))
        return product / product.sum(axis=1, keepdims=True)

    def predict(self, X: Windows) -> np.ndarray:
        """Return class indices, shape (n_windows,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def classical_fusion(seed: int = 0) -> dict[str, BaseEstimator]:
    """Fusion without a network: ``early_fusion``, one classifier on both modalities' features, and ``late_fusion``, two on one each.

    Parameters
    ----------
    seed : int, default=0
        Of whatever is random.

    Returns
    -------
    dict of str to estimator
        Logistic regressions, tuned inside the training windows.
    """
    return {"early_fusion": BestOf("both", ("logistic",), seed=seed), "late_fusion": LateFusion(seed)}


def engineered_methods(modality: Modality, seed: int = 0) -> dict[str, BaseEstimator]:
    """Six classifiers on the engineered features of a modality, each tuned inside the training windows.

    Parameters
    ----------
    modality : {"eeg", "bold"}
        Which features.
    seed : int, default=0
        Of whatever is random in them.

    Returns
    -------
    dict of str to estimator
        ``logistic``, ``linear_svm``, ``rbf_svm``, ``random_forest``, ``gradient_boosting``, ``lda``, each with the suffix ``_eeg`` or
        ``_bold``. For windows with `with_engineered_features`.
    """
    return {f"{name}_{_checked(modality)}": BestOf(modality, (name,), seed=seed) for name in METHODS}


def best_classical(modality: Modality, seed: int = 0) -> dict[str, BaseEstimator]:
    """The best of the six, chosen inside the training windows: a baseline that has not seen its own test score.

    Parameters
    ----------
    modality : {"eeg", "bold"}
        Which features.
    seed : int, default=0
        Of whatever is random.

    Returns
    -------
    dict of str to estimator
        One, ``best_classical_eeg`` or ``best_classical_bold``.
    """
    return {f"best_classical_{_checked(modality)}": BestOf(modality, seed=seed)}


def strongest(
    evaluation: Evaluation,
    methods: Sequence[str],
    score: str = "balanced_accuracy",
    averaging: Averaging = "per_subject",
) -> str:
    """Name the method with the highest test score.

    It was chosen by the very score it is then quoted with, which favours it: a gain over it is understated.
    `best_classical` is the choice without that favour.

    Parameters
    ----------
    evaluation : Evaluation
        In which the methods were tested.
    methods : sequence of str
        Among which to look.
    score : str, default="balanced_accuracy"
        One of `eegfmri.metrics.scores.SCORES`.
    averaging : {"pooled", "per_subject"}
        How the score is taken over subjects.

    Returns
    -------
    str
        Of equals the first.

    Raises
    ------
    RequestError
        If there is none, or one was not evaluated.
    """
    missing = [name for name in methods if name not in evaluation.methods]
    if missing or not len(methods):
        raise RequestError(
            f"{', '.join(missing) or 'No method'} was not evaluated (there are: {', '.join(evaluation.methods)})."
        )
    return max(methods, key=lambda name: evaluation.interval(name, score, averaging=averaging).value)


def _checked(modality: str) -> str:
    if modality not in ("eeg", "bold", "both"):
        raise RequestError(f"Engineered features are of 'eeg', of 'bold' or of 'both', not of {modality!r}.")
    return modality


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sum in the same order whatever the number of cores and workers."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
