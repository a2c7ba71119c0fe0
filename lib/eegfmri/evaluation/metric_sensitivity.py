"""What a score of volumes depends on besides the prediction: the scaling, the voxels counted, the settings of SSIM, and whether it
notices that something is lost.

A prediction in one scaling is rescaled to another through the scanner's intensities, so that one and the same prediction is scored
under all of them. Predictions that are surely bad in one known way (peaks flattened, order of time shuffled) show what a score is
blind to.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from eegfmri.errors import RequestError
from eegfmri.evaluation.splits import Fold
from eegfmri.evaluation.volumes import range_of
from eegfmri.metrics import volumes as volume_metrics
from eegfmri.preprocessing.volumes import Space, Targets, VolumeScaling, chunks
from eegfmri.windows import Windows

#: Makes a prediction for a fold's test windows: takes the fold, its training and test targets in the base scaling.
Predict = Callable[[Fold, Targets, Targets], np.ndarray]

#: Scores of `under_scalings`: error and PSNR over the brain and over the whole grid, SSIM over the whole grid and inside the brain.
SCORES = ("mse", "mse_whole", "psnr", "psnr_whole", "ssim", "ssim_inside")


def under_scalings(
    predictors: Mapping[str, Predict],
    windows: Windows,
    folds: Iterable[Fold],
    base: VolumeScaling,
    kinds: Sequence[str],
    every: int = 10,
    native: Mapping[str, Predict] | None = None,
) -> pd.DataFrame:
    """Score predictions in several scalings, over the brain and over the whole grid.

    Parameters
    ----------
    predictors : mapping of str to callable
        Name and what makes the prediction, in the base scaling.
    windows : Windows
        All windows.
    folds : iterable of Fold
        The splits; scalings are fitted on each fold's training windows.
    base : VolumeScaling
        Scaling that predictions come in.
    kinds : sequence of str
        Scalings to score in.
    every : int, default=10
        Score every so many test windows.
    native : mapping of str to callable or None
        Predictors that are made anew in each scaling, from its own targets.

    Returns
    -------
    pandas.DataFrame
        One row per predictor, scaling and scored window: ``predictor``, ``scaling``, ``fold``, ``subject``, `SCORES`, and ``range``,
        that of the fold's training targets (0.1 to 99.9 %).
    """
    space = windows.bold.streams[0].space
    inside, n_grid = volume_metrics.eroded(space.mask), space.mask.size
    rows = []
    for fold in folds:
        train, test = windows[fold.train], windows[fold.test]
        fitted = VolumeScaling(base.kind, base.calibration_minutes).fit(train)
        of_train, truth = fitted.targets(train), fitted.targets(test)
        chosen = np.arange(0, len(test), every)
        predicted_by = {
            name: np.asarray(predict(fold, of_train, truth))[chosen] for name, predict in predictors.items()
        }
        for kind in kinds:
            other = VolumeScaling(kind, base.calibration_minutes).fit(train)
            training, targets = other.targets(train), other.targets(test)
            data_range = range_of(training)
            own = {name: predict(fold, training, targets) for name, predict in (native or {}).items()}
            for place, row in enumerate(chosen):
                subject = test.groups[row]
                measured = targets.measured(subject)
                true = targets[row][0]
                of_all = {
                    name: rescale(values[place], truth.subjects[subject], targets.subjects[subject])
                    for name, values in predicted_by.items()
                } | {name: values[row] for name, values in own.items()}
                for name, predicted in of_all.items():
                    squares = np.where(measured, (true - predicted) ** 2, 0.0)
                    mse, whole = squares[measured].mean(dtype=float), squares.sum(dtype=float) / n_grid
                    found = volume_metrics.ssim(
                        space.fill(true),
                        space.fill(np.where(measured, predicted, 0.0).astype(np.float32)),
                        data_range,
                        inside,
                    )
                    psnr, psnr_whole = volume_metrics.psnr(np.maximum([mse, whole], 1e-30), data_range)
                    rows.append(
                        (
                            name,
                            kind,
                            fold.name,
                            subject,
                            mse,
                            whole,
                            psnr,
                            psnr_whole,
                            found.whole,
                            found.inside,
                            data_range,
                        )
                    )
    return pd.DataFrame(rows, columns=["predictor", "scaling", "fold", "subject", *SCORES, "range"])


def rescale(values: np.ndarray, of: tuple, to: tuple) -> np.ndarray:
    """Rescale voxels from one scaling to another through intensities.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (..., n_voxels).
    of, to : (offset, scale, measured)
        As in `eegfmri.preprocessing.volumes.Targets.subjects`.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_voxels).
    """
    return (values * of[1] + of[0] - to[0]) / to[1]


def training_mean(fold: Fold, training: Targets, truth: Targets) -> np.ndarray:
    """Predict the mean of the training volumes, shape (n_test, n_voxels)."""
    return np.broadcast_to(training.mean(), truth.shape)


def subject_mean(fold: Fold, training: Targets, truth: Targets) -> np.ndarray:
    """Oracle: the mean of each test subject's own volumes, shape (n_test, n_voxels)."""
    return attenuate(0.0)(fold, training, truth)


def attenuate(amplitude: float) -> Predict:
    """Oracle: the true volumes with every fluctuation about the subject's mean attenuated by one factor.

    Parameters
    ----------
    amplitude : float
        1 leaves the truth, 0 leaves the subject's mean.

    Returns
    -------
    callable
        A predictor.
    """

    def predict(fold: Fold, training: Targets, truth: Targets) -> np.ndarray:
        out, groups = np.empty(truth.shape, dtype=np.float32), truth.windows.groups
        for subject in truth.windows.subjects:
            own = np.flatnonzero(groups == subject)
            mean = truth.mean(own)
            for part in chunks(own):
                out[part] = mean + amplitude * (truth[part] - mean)
        return out

    return predict


def shuffled(predict: Predict, seed: int = 0) -> Predict:
    """The same volumes in another order of time, within each subject's run.

    Parameters
    ----------
    predict : callable
        A predictor.
    seed : int, default=0
        Of the order.

    Returns
    -------
    callable
        A predictor.
    """

    def other(fold: Fold, training: Targets, truth: Targets) -> np.ndarray:
        predicted = np.array(predict(fold, training, truth))
        rng, runs = np.random.default_rng(seed), truth.windows.bold.run
        for run in np.unique(runs):
            own = np.flatnonzero(runs == run)
            predicted[own] = predicted[rng.permutation(own)]
        return predicted

    return other


def oracle(fold: Fold, training: Targets, truth: Targets) -> np.ndarray:
    """Oracle: the true volumes, shape (n_test, n_voxels)."""
    return truth[np.arange(len(truth))]


#: Windows that SSIM is computed with: the Gaussian of its authors, and the plain squares that its programs default to.
WINDOWS = {"Gaussian, 1.5": {"gaussian_weights": True, "sigma": 1.5}, "uniform, 7": {"win_size": 7}}


def ssim_settings(
    true: np.ndarray, predicted: np.ndarray, space: Space, ranges: Mapping[str, Callable[[np.ndarray], float]]
) -> pd.DataFrame:
    """SSIM of the same volumes under all combinations of what is usually left unsaid.

    Parameters
    ----------
    true, predicted : numpy.ndarray
        Shape (n_volumes, n_voxels).
    space : Space
        Where the voxels lie.
    ranges : mapping of str to callable
        Name of a range of the data, and what computes it from a true volume.

    Returns
    -------
    pandas.DataFrame
        One row per combination: ``range``, ``window`` (`WINDOWS`), ``dimensions`` (3, or 2 for the mean over axial slices), ``counted``
        (the whole grid; without its border of half a window, as scikit-image and `eegfmri.metrics.volumes.ssim` do; inside the eroded
        brain), ``ssim``, the mean over volumes.

    Raises
    ------
    RequestError
        If the volumes do not match.
    """
    from skimage.metrics import structural_similarity

    if true.shape != predicted.shape:
        raise RequestError(f"Volumes of shapes {true.shape} and {predicted.shape} cannot be compared.")
    inside, rows = volume_metrics.eroded(space.mask), []
    for a, b in zip(true, predicted, strict=True):
        first, second = space.fill(a.astype(np.float32)), space.fill(b.astype(np.float32))
        for named, of_volume in ranges.items():
            for window, options in WINDOWS.items():
                common = {"data_range": of_volume(a), "use_sample_covariance": False, "full": True, **options}
                deep, deep_map = structural_similarity(first, second, **common)
                flat = [structural_similarity(first[:, :, z], second[:, :, z], **common) for z in range(first.shape[2])]
                flat_map = np.stack([of_slice for _, of_slice in flat], axis=2)
                for dimensions, mean, similarity in (
                    (3, deep, deep_map),
                    (2, np.mean([of_slice for of_slice, _ in flat]), flat_map),
                ):
                    rows.append((named, window, dimensions, "whole grid", similarity.mean()))
                    rows.append((named, window, dimensions, "without its border", mean))
                    rows.append((named, window, dimensions, "inside the brain", similarity[inside].mean()))
    table = pd.DataFrame(rows, columns=["range", "window", "dimensions", "counted", "ssim"])
    return table.groupby(["range", "window", "dimensions", "counted"], sort=False)["ssim"].mean().reset_index()
