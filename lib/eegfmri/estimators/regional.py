"""From EEG to the BOLD of regions: every method of the benchmark behind one ``fit(X, targets)`` and ``predict(X)``.

Windows come from `eegfmri.windows.volume_windows` over regional BOLD, with the features of `with_spectra` and, for the control that sees
no EEG, of `with_movement`. Targets are arrays of shape (n_windows, n_targets); a method never meets those of its test windows, but for
oracles, which say so (``sees_targets``).

What is fitted (scaling, penalties, ranks, weights) is fitted on training windows; penalty, rank and the number of trees or training
epochs are chosen on subjects held out inside them (`eegfmri.evaluation.splits.InnerValidation`), for all methods alike. Features of a
subject that was not trained on are scaled by its own unlabelled windows: transductive (`eegfmri.estimators.adaptation`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import nn

from eegfmri.errors import RequestError
from eegfmri.estimators.adaptation import AdaptedEstimator
from eegfmri.estimators.training import Batch, TrainedEstimator, answer
from eegfmri.evaluation.splits import InnerValidation
from eegfmri.models import regional as networks
from eegfmri.preprocessing.eeg import BANDS, with_gaps
from eegfmri.preprocessing.sources import electrode_positions
from eegfmri.preprocessing.spectra import band_means, spectrogram
from eegfmri.windows import Windows

#: Features that `with_spectra` attaches: log power (n_windows, C, K, T) and spectrograms of scalp areas (n_windows, A, F, T), T in steps.
POWER, SPECTROGRAM = "log_power", "spectrogram"

#: Feature that `with_movement` attaches.
MOVEMENT = "movement"

#: Middle of the bins of spectrograms in Hz, each 2 Hz wide.
FREQUENCIES = np.arange(1.5, 32.0, 2.0)

#: Seconds of a step, of which power is kept, and steps of a stretch, over which methods that take few numbers average it.
STEP, STRETCH = 2, 2

#: Penalties among which ridge regression chooses.
PENALTIES = tuple(10.0 ** np.arange(1, 7))

#: Numbers of components among which reduced-rank regression chooses.
RANKS = (1, 2, 4, 8, 16)


def scalp_areas(names: Sequence[str]) -> np.ndarray:
    """Weights that average electrodes over five areas of the scalp: left and right in front, left and right behind, midline.

    Parameters
    ----------
    names : sequence of str
        Electrodes; one whose place is not known enters no area.

    Returns
    -------
    numpy.ndarray
        Shape (n_areas, n_channels), rows sum to 1; areas without an electrode are left out.
    """
    places = np.full((len(names), 3), np.nan)
    for row, name in enumerate(names):
        try:
            places[row] = electrode_positions([name])[0]
        except RequestError:
            continue
    if np.isnan(places).all():
        return np.full((1, len(names)), 1 / len(names))
    x, y = places[:, 0], places[:, 1] - np.nanmean(places[:, 1])
    middle = np.abs(x) < 0.2 * np.nanmax(np.abs(x))
    members = np.stack(
        [~middle & (x < 0) & (y >= 0), ~middle & (x > 0) & (y >= 0), ~middle & (x < 0) & (y < 0),
         ~middle & (x > 0) & (y < 0), middle]
    ).astype(float)  # fmt: skip
    members = members[members.sum(axis=1) > 0]
    return members / members.sum(axis=1, keepdims=True)


def with_spectra(windows: Windows, seconds: int = 16) -> Windows:
    """Attach the power of every electrode and band in steps of 2 s, and spectrograms of areas of the scalp.

    Parameters
    ----------
    windows : Windows
        From `eegfmri.windows.volume_windows`, with at least one second of EEG more than ``seconds``: seconds are counted from the run's
        beginning, and only whole ones that lie inside a window are used.
    seconds : int, default=16
        How many, the last ones before the volume; an even number.

    Returns
    -------
    Windows
        With `POWER`, shape (n_windows, n_channels, n_bands, n_steps), and `SPECTROGRAM`, (n_windows, n_areas, n_frequencies, n_steps);
        natural logarithms of V²/Hz, averaged over the seconds of a step, float32.

    Raises
    ------
    RequestError
        If the windows are too short, or the seconds do not fill whole steps.
    """
    if seconds < STEP or seconds % STEP:
        raise RequestError(f"{seconds} s are no whole number of steps of {STEP} s: choose an even number.")
    if windows.eeg.length < round((seconds + 1) * windows.eeg.sfreq):
        raise RequestError(
            f"Windows of {windows.eeg.length / windows.eeg.sfreq:g} s are too short for {seconds} whole seconds: cut them one second "
            "longer."
        )
    areas = scalp_areas(windows.eeg.names)

    def of_run(own: Windows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        stream = own.eeg.streams[own.eeg.run[0]]
        signal = with_gaps(np.asarray(stream.load()), stream.sfreq, stream.gaps)
        frequencies, density = spectrogram(signal, stream.sfreq, frame=1.0, overlap=0.0)
        density = np.maximum(density, 1e-30)
        last = np.floor((own.eeg.first + own.eeg.length) / stream.sfreq + 1e-6).astype(int)
        return frequencies, density, last[:, None] + np.arange(-seconds, 0)

    def power(own: Windows) -> np.ndarray:
        frequencies, density, at = of_run(own)
        bands = np.log(band_means(frequencies, density, BANDS, axis=-2)).astype(np.float32)  # (C, K, n_seconds)
        return _in_groups(np.moveaxis(bands[:, :, at], 2, 0), STEP)

    def picture(own: Windows) -> np.ndarray:
        frequencies, density, at = of_run(own)
        rows = np.searchsorted(frequencies, np.stack([FREQUENCIES - 0.5, FREQUENCIES + 0.5]) - 1e-6)
        logs = np.log(density)
        logs = np.einsum("ac,cft->aft", areas, (logs[:, rows[0]] + logs[:, rows[1]]) / 2).astype(np.float32)
        return _in_groups(np.moveaxis(logs[:, :, at], 2, 0), STEP)

    return windows.with_feature(POWER, power).with_feature(SPECTROGRAM, picture)


def with_movement(windows: Windows, movement: Callable[[str, str], np.ndarray], n_lags: int = 4) -> Windows:
    """Attach the movement of the head at a volume and the volumes before it.

    Parameters
    ----------
    windows : Windows
        One volume each.
    movement : callable
        Takes subject and run, returns the six parameters of rigid motion, shape (n_volumes, 6).
    n_lags : int, default=4
        Volumes back; breathing moves the head, so it is in there as well.

    Returns
    -------
    Windows
        With `MOVEMENT`: parameters and their changes, shape (n_windows, 12, n_lags).
    """

    def moved(own: Windows) -> np.ndarray:
        subject, run = own.table[["subject", "run"]].iloc[0]
        series = np.asarray(movement(subject, run), dtype=float)
        series = np.concatenate([series, np.diff(series, axis=0, prepend=series[:1])], axis=1)
        at = np.maximum(own.bold.first[:, None] - np.arange(n_lags), 0)
        return np.moveaxis(series[at], 2, 1).astype(np.float32)

    return windows.with_feature(MOVEMENT, moved)


def _in_groups(values: np.ndarray, size: int) -> np.ndarray:
    """Average so many neighbours along the last axis, counted from its end."""
    n = values.shape[-1] // size
    return values[..., values.shape[-1] - n * size :].reshape(*values.shape[:-1], n, size).mean(axis=-1)


# --- what methods read ---


def in_stretches(X: Windows) -> np.ndarray:
    """Mean power in stretches of `STRETCH` steps, shape (n_windows, n_channels, n_bands, n_stretches)."""
    return _in_groups(_feature(X, POWER), STRETCH)


def step_by_step(X: Windows) -> np.ndarray:
    """Power of each step, shape (n_windows, n_channels × n_bands, n_steps)."""
    power = _feature(X, POWER)
    return power.reshape(len(X), -1, power.shape[-1])


def _feature(X: Windows, name: str) -> np.ndarray:
    if name not in X.features:
        raise RequestError(
            f"The windows lack {name!r}: call {'with_movement' if name == MOVEMENT else 'with_spectra'} first."
        )
    return X.features[name]


def _through_response(X: Windows, course: np.ndarray) -> np.ndarray:
    """Weigh the steps of a course by the canonical response to what happened so long before the volume's middle, shape (n_windows, 1)."""
    from nilearn.glm.first_level import glover_hrf

    before = STEP * (np.arange(course.shape[-1], 0, -1) - 0.5) + 0.5 / X.bold.sfreq
    kernel = glover_hrf(1.0, oversampling=16, time_length=40.0)
    weights = np.interp(before, np.arange(len(kernel)) / 16, kernel)
    return (course @ (weights / np.abs(weights).sum()))[:, None]


def alpha_response(X: Windows) -> np.ndarray:
    """Alpha power, mean over the scalp, through the canonical response, shape (n_windows, 1)."""
    return _through_response(X, _feature(X, POWER)[:, :, list(BANDS).index("alpha")].mean(axis=1))


def vigilance_response(X: Windows) -> np.ndarray:
    """Alpha over theta power, as logarithms, mean over the scalp, through the canonical response, shape (n_windows, 1)."""
    alpha, theta = (_feature(X, POWER)[:, :, list(BANDS).index(band)].mean(axis=1) for band in ("alpha", "theta"))
    return _through_response(X, alpha - theta)


def areas_in_stretches(X: Windows) -> np.ndarray:
    """Band power of areas of the scalp in stretches, shape (n_windows, n_areas, n_bands, n_stretches): few numbers, for trees."""
    picture = _in_groups(_feature(X, SPECTROGRAM), STRETCH)
    inside = {name: (low, high) for name, (low, high) in BANDS.items() if high <= FREQUENCIES[-1] + 1}
    return band_means(FREQUENCIES, picture, inside, axis=2)


#: What estimators can be told to read, as tables or arrays of one row per window.
READINGS: Mapping[str, Callable[[Windows], np.ndarray]] = {
    "stretches": in_stretches,
    "steps": step_by_step,
    "spectrogram": partial(_feature, name=SPECTROGRAM),
    "areas": areas_in_stretches,
    "alpha": alpha_response,
    "vigilance": vigilance_response,
    "movement": partial(_feature, name=MOVEMENT),
}


@dataclass(eq=False, repr=False)
class RegionalEstimator(AdaptedEstimator):
    """What the methods share: what they read of the windows, scaled subject by subject.

    Attributes
    ----------
    adaptation, calibration_minutes
        See `eegfmri.estimators.adaptation.AdaptedEstimator`: mean and deviation of each feature over a subject's windows.
    """

    def _values(self, X: Windows) -> np.ndarray:
        """Read the windows; an estimator either names its reading or has one by its nature."""
        return READINGS[self.reading](X)

    def _learn(self, X: Windows) -> np.ndarray:
        """Learn the scaling of training subjects and return their scaled features, shape (n_windows, …)."""
        self.check_adaptation()
        values = self._values(X)
        self.scaling_ = {subject: _moments(values[subject == X.groups]) for subject in X.subjects}
        return _scaled(X, values, self.scaling_)

    def _read(self, X: Windows) -> np.ndarray:
        """Return scaled features of any windows."""
        return _scaled(X, self._values(X), self.adapted(X, self.scaling_, lambda own: _moments(self._values(own))))


def _moments(values: np.ndarray) -> np.ndarray:
    """Mean and deviation, shape (2, …); of features over time one for all times."""
    over = (0,) if values.ndim < 3 else (0, values.ndim - 1)
    mean, deviation = values.mean(axis=over, keepdims=True)[0], values.std(axis=over, keepdims=True)[0]
    return np.stack([mean, np.where(deviation > 0, deviation, 1.0)])


def _scaled(X: Windows, values: np.ndarray, scaling: Mapping[str, np.ndarray]) -> np.ndarray:
    out = np.empty(values.shape, dtype=np.float32)
    for subject in X.subjects:
        rows = subject == X.groups
        mean, deviation = scaling[subject]
        out[rows] = (values[rows] - mean) / deviation
    return out


class TrainingMean(BaseEstimator):
    """The training windows' mean of each region, whatever the EEG."""

    def fit(self, X: Windows, targets: np.ndarray) -> "TrainingMean":
        """Average."""
        self.mean_ = targets.mean(axis=0)
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return the mean for every window, shape (n_windows, n_targets)."""
        return np.repeat(self.mean_[None], len(X), axis=0)

    def n_weights(self) -> int:
        """Count what was learned."""
        return len(self.mean_)


class _SeesTargets(BaseEstimator):
    """An oracle: it learns nothing and is given the test windows' targets."""

    sees_targets = True

    def fit(self, X: Windows, targets: np.ndarray) -> "_SeesTargets":
        """Learn nothing."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Nothing is learned."""
        return True

    def n_weights(self) -> int:
        """Nothing is learned."""
        return 0


class SubjectMean(_SeesTargets):
    """Oracle: the mean of the test subject's own test volumes, run by run."""

    def predict(self, X: Windows, targets: np.ndarray) -> np.ndarray:
        """Return it for each window, shape (n_windows, n_targets)."""
        out = np.empty_like(targets)
        for rows in X.table.groupby(["subject", "run"], sort=False).indices.values():
            out[rows] = targets[rows].mean(axis=0)
        return out


class PreviousVolume(_SeesTargets):
    """Oracle: the volume before, of the same run; the first tested one of a run is given the one after it."""

    def predict(self, X: Windows, targets: np.ndarray) -> np.ndarray:
        """Return it for each window, shape (n_windows, n_targets)."""
        out = np.empty_like(targets)
        for rows in X.table.groupby(["subject", "run"], sort=False).indices.values():
            out[rows[1:]] = targets[rows[:-1]]
            out[rows[0]] = targets[rows[min(1, len(rows) - 1)]]
        return out


@dataclass(eq=False, repr=False)
class GivenSeries(BaseEstimator):
    """Oracle: a feature that already has the targets' shape, such as the BOLD that was planted; its size is fitted, one factor a region.

    Attributes
    ----------
    feature : str
        Its name.
    """

    feature: str = "planted"

    def fit(self, X: Windows, targets: np.ndarray) -> "GivenSeries":
        """Learn by how much each series is to be multiplied."""
        given = np.asarray(X.features[self.feature], dtype=float)
        self.offset_, self.mean_ = given.mean(axis=0), targets.mean(axis=0)
        centred = given - self.offset_
        power = (centred**2).sum(axis=0)
        self.factor_ = (centred * (targets - self.mean_)).sum(axis=0) / np.where(power > 0, power, 1.0)
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return it, shape (n_windows, n_targets)."""
        return (X.features[self.feature] - self.offset_) * self.factor_ + self.mean_

    def n_weights(self) -> int:
        """Count the factors and means."""
        return 2 * len(self.factor_)


@dataclass(eq=False, repr=False)
class LaggedRidge(RegionalEstimator):
    """Ridge regression of all regions on one reading, its penalty chosen on subjects held out inside the training windows.

    With ``reduced`` the fitted values are projected on their leading components: reduced-rank regression :cite:p:`izenman1975`, its rank
    chosen together with the penalty.

    Attributes
    ----------
    reading : str, default="stretches"
        A key of `READINGS`.
    reduced : bool, default=False
        Whether to reduce the rank.
    penalties, ranks : sequence
        To choose from.
    validation_splits : int, default=4
        One of so many parts of the training subjects is held out.
    adaptation, calibration_minutes
        See `RegionalEstimator`.
    """

    reading: str = "stretches"
    _: KW_ONLY
    reduced: bool = False
    penalties: Sequence[float] = PENALTIES
    ranks: Sequence[int] = RANKS
    validation_splits: int = 4

    def fit(self, X: Windows, targets: np.ndarray) -> "LaggedRidge":
        """Choose penalty (and rank), then fit all training windows."""
        features = self._learn(X).reshape(len(X), -1).astype(float)
        train, validation = next(iter(InnerValidation(self.validation_splits).split(X)))
        path = _RidgePath(features[train], targets[train])
        best = np.inf
        for penalty in self.penalties:
            weights = path.weights(penalty)
            guess = (features[validation] - path.offset) @ weights
            for rank, projection in self._projections(features[train] - path.offset, weights):
                error = np.mean((guess @ projection + path.mean - targets[validation]) ** 2)
                if error < best:
                    best, self.penalty_, self.rank_ = error, float(penalty), rank
        path = _RidgePath(features, targets)
        weights = path.weights(self.penalty_)
        for rank, projection in self._projections(features - path.offset, weights):
            if rank == self.rank_:
                self.weights_ = weights @ projection
        self.offset_, self.mean_ = path.offset, path.mean
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return regions, shape (n_windows, n_targets)."""
        return (self._read(X).reshape(len(X), -1) - self.offset_) @ self.weights_ + self.mean_

    def n_weights(self) -> int:
        """Count what was learned; of a product of two thin matrices, their sizes."""
        n_in, n_out = self.weights_.shape
        return n_in * n_out + n_out if self.rank_ is None else self.rank_ * (n_in + n_out) + n_out

    def _projections(self, features: np.ndarray, weights: np.ndarray):
        """Yield rank and projection of fitted values on their leading components; None and no projection where none is reduced."""
        if not self.reduced:
            yield None, np.eye(weights.shape[1])
            return
        fitted = features @ weights
        _, vectors = np.linalg.eigh(fitted.T @ fitted)
        for rank in self.ranks:
            if rank <= weights.shape[1]:
                leading = vectors[:, -rank:]
                yield rank, leading @ leading.T


class _RidgePath:
    """Ridge regression for any penalty from one decomposition, of the smaller of both products; means are not penalised."""

    def __init__(self, features: np.ndarray, targets: np.ndarray):
        self.offset, self.mean = features.mean(axis=0), targets.mean(axis=0)
        centred, deviations = features - self.offset, targets - self.mean
        n, p = centred.shape
        self.values, vectors = np.linalg.eigh(centred.T @ centred if p <= n else centred @ centred.T)
        # (XᵀX + λ)⁻¹ Xᵀ Y = Xᵀ (XXᵀ + λ)⁻¹ Y
        self.back = vectors if p <= n else centred.T @ vectors
        self.projected = vectors.T @ (centred.T @ deviations if p <= n else deviations)

    def weights(self, penalty: float) -> np.ndarray:
        """Return weights, shape (n_features, n_targets)."""
        return self.back @ (self.projected / (np.maximum(self.values, 0) + penalty)[:, None])


@dataclass(eq=False, repr=False)
class BoostedTrees(RegionalEstimator):
    """Gradient boosting of the leading components of the targets on band power of areas of the scalp.

    Attributes
    ----------
    reading : str, default="areas"
        A key of `READINGS`.
    n_components : int, default=3
        Components that are predicted; the rest is their mean.
    n_trees : int, default=20
        At most; as many as serve the subjects held out inside the training windows.
    learning_rate : float, default=0.1
        Of boosting.
    n_leaves : int, default=8
        Of a tree.
    validation_splits : int, default=4
        As for `LaggedRidge`.
    seed : int, default=0
        Of the decomposition.
    """

    reading: str = "areas"
    _: KW_ONLY
    n_components: int = 3
    n_trees: int = 20
    learning_rate: float = 0.1
    n_leaves: int = 8
    validation_splits: int = 4
    seed: int = 0

    def fit(self, X: Windows, targets: np.ndarray) -> "BoostedTrees":
        """Learn components, choose the number of trees for each, and fit."""
        from sklearn.decomposition import PCA
        from sklearn.ensemble import HistGradientBoostingRegressor

        features = self._learn(X).reshape(len(X), -1)
        self.pca_ = PCA(self.n_components, svd_solver="randomized", random_state=self.seed).fit(targets)
        scores = self.pca_.transform(targets)
        train, validation = next(iter(InnerValidation(self.validation_splits).split(X)))
        settings = {
            "learning_rate": self.learning_rate, "max_leaf_nodes": self.n_leaves, "early_stopping": False, "random_state": self.seed,
        }  # fmt: skip
        self.trees_ = []
        for score in scores.T:
            tried = HistGradientBoostingRegressor(max_iter=self.n_trees, **settings).fit(features[train], score[train])
            errors = [np.mean((guess - score[validation]) ** 2) for guess in tried.staged_predict(features[validation])]
            nothing = np.mean((score[train].mean() - score[validation]) ** 2)
            best = int(np.argmin(errors)) + 1
            if nothing <= min(errors):
                self.trees_.append(float(score.mean()))
            else:
                self.trees_.append(HistGradientBoostingRegressor(max_iter=best, **settings).fit(features, score))
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return regions, shape (n_windows, n_targets)."""
        features = self._read(X).reshape(len(X), -1)
        scores = [np.full(len(X), t) if isinstance(t, float) else t.predict(features) for t in self.trees_]
        return self.pca_.inverse_transform(np.stack(scores, axis=1))

    def n_weights(self) -> int:
        """Count the leaves of all trees, and the components."""
        leaves = sum(0 if isinstance(t, float) else t.n_iter_ * self.n_leaves for t in self.trees_)
        return int(leaves + self.pca_.components_.size)


@dataclass(eq=False, repr=False)
class RegionalNetwork(RegionalEstimator, TrainedEstimator):
    """One of the networks of `eegfmri.models.regional`, trained until subjects held out inside the training windows say stop.

    Attributes
    ----------
    model : str, default="convolutional"
        A key of `eegfmri.models.regional.INPUTS`; the reading follows from it.
    width : int, default=16
        See `eegfmri.models.regional.Sizes`.
    adaptation, calibration_minutes
        See `RegionalEstimator`.
    n_training_epochs, patience, batch_size, learning_rate, weight_decay, schedule, validation_splits, seed, device
        See `eegfmri.estimators.training.TrainedEstimator`.
    """

    _: KW_ONLY
    model: str = "convolutional"
    width: int = 16
    n_training_epochs: int = 12
    patience: int | None = 4
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2

    def fit(self, X: Windows, targets: np.ndarray) -> "RegionalNetwork":
        """Learn scaling, mean and weights."""
        if self.model not in networks.INPUTS:
            raise RequestError(f"There is no network {self.model!r}: choose one of {', '.join(networks.INPUTS)}.")
        inputs = self._shaped(self._learn(X))
        self.mean_ = targets.mean(axis=0)
        deviations = (targets - self.mean_).astype(np.float32)
        train, validation = next(iter(InnerValidation(self.validation_splits).split(X)))

        def read(batch: list[tuple[int, int]]) -> tuple[Batch, torch.Tensor]:
            rows = np.array([row for row, _ in batch])
            given = {_argument(self.model): torch.from_numpy(inputs[rows])}
            return Batch(given, len(rows)), torch.from_numpy(deviations[rows])

        def build() -> nn.Module:
            return networks.build(self.model, inputs.shape[1:], targets.shape[1], networks.Sizes(width=self.width))

        self._train(build, read, train, validation, criterion=nn.MSELoss, validation_batch_size=4096)
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return regions, shape (n_windows, n_targets)."""
        inputs = self._shaped(self._read(X))
        parts = [
            answer(self.module_, torch.from_numpy(part)).numpy() for part in np.array_split(inputs, -(-len(X) // 1024))
        ]
        return np.concatenate(parts) + self.mean_

    def n_weights(self) -> int:
        """Count the weights."""
        return sum(p.numel() for p in self.module_.parameters())

    def _values(self, X: Windows) -> np.ndarray:
        """Read what the network reads."""
        return READINGS[networks.INPUTS[self.model]](X)

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        """Put bands and stretches of an electrode in one row, as the dense networks read them."""
        return values.reshape(*values.shape[:2], -1) if self.model in ("fully_connected", "siamese") else values


def _argument(model: str) -> str:
    """Name of the first argument of a network's ``forward``."""
    return "eeg" if model in ("fully_connected", "siamese") else "x"


@dataclass(eq=False, repr=False)
class RenderedComponents(BaseEstimator):
    """Predict the leading components of volumes by a method for regions, and render them to voxels.

    Attributes
    ----------
    method : estimator
        With ``fit(X, targets)`` and ``predict(X)``.
    n_components : int, default=16
        Spatial components of the training volumes; the rest is their mean.
    seed : int, default=0
        Of the decomposition.
    """

    method: BaseEstimator
    _: KW_ONLY
    n_components: int = 16
    seed: int = 0

    def fit(self, X: Windows, targets) -> "RenderedComponents":
        """Learn components, then the method.

        Parameters
        ----------
        X : Windows
            Training windows.
        targets : eegfmri.preprocessing.volumes.Targets
            Their volumes.

        Returns
        -------
        RenderedComponents
            Itself.
        """
        from sklearn.base import clone
        from sklearn.decomposition import PCA

        volumes = targets[np.arange(len(targets))]
        self.pca_ = PCA(min(self.n_components, len(volumes) - 1), svd_solver="randomized", random_state=self.seed)
        self.method_ = clone(self.method).fit(X, self.pca_.fit_transform(volumes))
        return self

    def predict(self, X: Windows) -> np.ndarray:
        """Return volumes, shape (n_windows, n_voxels), float32."""
        return self.pca_.inverse_transform(self.method_.predict(X)).astype(np.float32)
