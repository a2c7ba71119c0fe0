"""Evaluating predicted volumes over the folds of a protocol: `eegfmri.evaluation.evaluate.evaluate` for targets that are images.

What is kept of a fold is small: scores per volume, regional time series, one map of errors. Whole predictions are kept for
the folds that are named. Scaling is fitted on the fold's training windows (`eegfmri.preprocessing.volumes.VolumeScaling`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from eegfmri import cache, metrics
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.evaluation.folds import Task, run_folds
from eegfmri.evaluation.splits import Protocol, folds_of, shares_signal
from eegfmri.metrics import volumes as volume_metrics
from eegfmri.preprocessing.volumes import Space, Targets, VolumeScaling, chunks
from eegfmri.windows import Windows

#: Scores per volume, by the name they bear in results.json. All but the first are computed for every so many volumes only.
SCORES = ("mse", "psnr", "ssim", "ssim_inside")

#: The method that skill is measured against.
REFERENCE = "training_mean"

#: What is added to a method's name where it was given EEG from another time.
OTHER_TIME = "_other_time"


@dataclass(frozen=True, eq=False)
class VolumeEvaluation:
    """What every method predicted, and how far off it was.

    Attributes
    ----------
    protocol : str
        Name of the protocol.
    leaks : bool
        Whether training and test windows of a fold share signal (`eegfmri.evaluation.splits.shares_signal`).
    space : Space
        Where the voxels lie.
    regions : tuple of str
        Names of the regions whose series were kept.
    scores : pandas.DataFrame
        One row per method and test window: ``method``, ``fold``, ``subject``, ``run``, ``volume``, ``window``, then `SCORES`, NaN where
        one was not computed.
    folds : pandas.DataFrame
        One row per method and fold: ``state`` (hash of everything fitted), ``seconds``, ``n_train``, ``n_test``, ``cached``.
    files : mapping of (str, str) to pathlib.Path
        By method and fold: folder of what was kept.
    extras : mapping of (str, str) to mapping
        By method and fold: what the estimator's ``extras`` returned for the test windows.
    """

    protocol: str
    leaks: bool
    space: Space
    regions: tuple[str, ...]
    scores: pd.DataFrame
    folds: pd.DataFrame
    files: Mapping[tuple[str, str], Path]
    extras: Mapping[tuple[str, str], Mapping[str, list]] = field(default_factory=dict)

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods in the order given."""
        return tuple(dict.fromkeys(self.scores["method"]))

    def per_subject(self, score: str = "mse") -> pd.DataFrame:
        """Return the mean score of each subject (rows) and method (columns)."""
        if score not in SCORES:
            raise RequestError(f"There is no score {score!r}: choose one of {', '.join(SCORES)}.")
        table = self.scores.groupby(["subject", "method"], sort=False)[score].mean().unstack()
        return table.loc[list(dict.fromkeys(self.scores["subject"])), list(self.methods)]

    def interval(self, method: str, score: str = "mse", *, less: str | None = None, seed: int = 0) -> metrics.Interval:
        """Mean over subjects of a method's score, or of its difference to another method's, with a 95 % interval.

        Parameters
        ----------
        method : str
            Which method.
        score : str, default="mse"
            One of `SCORES`.
        less : str or None
            A method whose score is subtracted, subject by subject.
        seed : int, default=0
            Of the bootstrap.

        Returns
        -------
        eegfmri.metrics.intervals.Interval
            Estimate and limits.
        """
        table = self.per_subject(score)
        return metrics.bootstrap_mean(table[method] - (table[less] if less else 0.0), seed)

    def skills(self, reference: str = REFERENCE) -> pd.DataFrame:
        """1 − error / error of the reference, for each subject (rows) and method (columns).

        Parameters
        ----------
        reference : str, default="training_mean"
            The method that scores 0.

        Returns
        -------
        pandas.DataFrame
            1 is a perfect prediction; below 0 the reference is better.
        """
        table = self.per_subject("mse")
        if reference not in table:
            raise RequestError(
                f"Skill is measured against {reference!r}, which was not evaluated: add it to the methods."
            )
        return 1 - table.div(table[reference], axis=0)

    def skill(self, method: str, reference: str = REFERENCE, seed: int = 0) -> metrics.Interval:
        """Mean over subjects of `skills`, with a 95 % interval."""
        return metrics.bootstrap_mean(self.skills(reference)[method], seed)

    def compare(self, pairs: Sequence[tuple[str, str]], score: str = "mse", seed: int = 0) -> pd.DataFrame:
        """Compare methods subject by subject: difference a − b, interval, sign-flip p-value, Holm over the pairs.

        Parameters
        ----------
        pairs : sequence of (str, str)
            Methods ``a`` and ``b``.
        score : str, default="mse"
            One of `SCORES`.
        seed : int, default=0
            Of bootstrap and test.

        Returns
        -------
        pandas.DataFrame
            ``a``, ``b``, ``difference``, ``low``, ``high``, ``n``, ``p``, ``p_holm``.
        """
        return metrics.compare_pairs(self.per_subject(score), pairs, seed)

    def series(self, method: str) -> Iterator[tuple[str, str, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield subject, run, numbers of the volumes, true and predicted regional series, run by run and fold by fold.

        Both series have shape (n_volumes, n_regions); under a shuffled protocol the volumes of a run are scattered in time.
        """
        own = self.scores[self.scores["method"] == method]
        for fold, rows in own.groupby("fold", sort=False):
            folder = self.files[method, fold]
            true, predicted = (cache.load_array(folder / f"regions_{which}.npy") for which in ("true", "predicted"))
            place = np.arange(len(rows))
            for (subject, run), part in rows.groupby(["subject", "run"], sort=False):
                at = place[rows.index.get_indexer(part.index)]
                yield subject, run, part["volume"].to_numpy(), np.asarray(true[at]), np.asarray(predicted[at])

    def regional(self, statistic: Callable[[np.ndarray, np.ndarray], np.ndarray], method: str) -> dict[str, np.ndarray]:
        """Apply a statistic of (true, predicted) regional series to each stretch of a run; mean per subject.

        Parameters
        ----------
        statistic : callable
            For example `eegfmri.metrics.volumes.temporal_correlation`.
        method : str
            Which method.

        Returns
        -------
        dict of str to numpy.ndarray
            By subject. NaN where nothing was defined.
        """
        found: dict[str, list] = {}
        for subject, _, _, true, predicted in self.series(method):
            if len(true) >= 10:
                found.setdefault(subject, []).append(statistic(true, predicted))
        return {subject: _mean(np.array(values, dtype=float)) for subject, values in found.items()}

    def error_map(self, method: str) -> np.ndarray:
        """Mean squared error of each voxel over all test windows, shape (n_voxels,); NaN where nobody was measured."""
        total = count = 0.0
        for fold in self._folds_of(method):
            errors, counts = cache.load_array(self.files[method, fold] / "errors.npy")
            total, count = total + errors, count + counts
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(count > 0, total / count, np.nan)

    def skill_map(self, method: str, reference: str = REFERENCE) -> np.ndarray:
        """1 − error / error of the reference, voxel by voxel, shape (n_voxels,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return 1 - self.error_map(method) / self.error_map(reference)

    def prediction(self, method: str, fold: str) -> np.ndarray:
        """Return the whole prediction of a fold that was kept, memory-mapped, shape (n_test, n_voxels), in scaled units.

        Raises
        ------
        RequestError
            If it was not kept.
        """
        path = self.files.get((method, fold), Path()) / "predicted.npy"
        if not path.is_file():
            raise RequestError(
                f"The prediction of {method} in fold {fold} was not kept: name it in evaluate_volumes(keep=…)."
            )
        return cache.load_array(path)

    def target(self, fold: str) -> np.ndarray:
        """Return the true volumes of a fold that was kept, like `prediction`."""
        for method in self.methods:
            path = self.files.get((method, fold), Path()) / "true.npy"
            if path.is_file():
                return cache.load_array(path)
        raise RequestError(f"Nothing of fold {fold} was kept: name it in evaluate_volumes(keep=…).")

    def _folds_of(self, method: str) -> list[str]:
        return [fold for owner, fold in self.files if owner == method]


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis without NaN; NaN where there is nothing else."""
    count = np.isfinite(values).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, np.nansum(values, axis=0) / count, np.nan)


def evaluate_volumes(
    methods: Mapping[str, object],
    windows: Windows,
    protocol: Protocol,
    *,
    scaling: VolumeScaling | None = None,
    atlas=None,
    other_time: Sequence[str] = (),
    structural_every: int = 0,
    keep: Sequence[str] = (),
    kept_methods: Sequence[str] | None = None,
    n_jobs: int = 1,
    folder: str | Path | None = None,
) -> VolumeEvaluation:
    """Fit and test every method in every fold; finished folds are on disk and are not done again.

    Parameters
    ----------
    methods : mapping of str to estimator
        With ``fit(X, targets)`` and ``predict(X)`` (shape (n_windows, n_voxels), in scaled units); each is cloned for each fold. One
        with ``sees_targets = True`` is an oracle: it is called as ``predict(X, targets)``. One with ``extras(X, targets)`` may
        return further outputs.
    windows : Windows
        From `eegfmri.windows.volume_windows`.
    protocol : Protocol
        The splits.
    scaling : VolumeScaling or None
        Fitted in each fold; None: ``normalised``.
    atlas : eegfmri.preprocessing.atlas.Atlas or None
        Regions whose series are kept; None keeps none.
    other_time : sequence of str
        Methods that are scored a second time, under a name that ends in `OTHER_TIME`: same weights, but EEG from half a session
        later in the same subject.
    structural_every : int, default=0
        Compute PSNR and SSIM for every so many test windows; 0: never. Their range is that of the fold's training targets.
    keep : sequence of str
        Folds whose predictions are kept whole.
    kept_methods : sequence of str or None
        The methods whose predictions are kept there; None: all.
    n_jobs : int, default=1
        Folds run in this many processes.
    folder : str, pathlib.Path or None
        Where finished folds are kept; None: the project's cache.

    Returns
    -------
    VolumeEvaluation
        Of all folds.
    """
    scaling = scaling or VolumeScaling()
    if unknown := set(other_time) - set(methods):
        raise RequestError(f"EEG from another time was asked for {', '.join(sorted(unknown))}, which is not evaluated.")
    folds = folds_of(protocol, windows)
    weights = None if atlas is None else windows.bold.streams[0].space.region_weights(atlas)
    kept = {(method, name) for method in (methods if kept_methods is None else kept_methods) for name in keep}
    done = run_folds(
        methods,
        [(windows, fold) for fold in folds],
        partial(
            _measure,
            scaling=scaling,
            weights=weights,
            other_time=frozenset(other_time),
            structural_every=structural_every,
            kept=kept,
        ),
        name=protocol.name,
        settings=lambda method: [
            scaling.kind,
            scaling.calibration_minutes,
            weights,
            structural_every,
            method in other_time,
        ],
        code=__name__,
        finished=lambda task: (
            task.finished and ((task.method, task.fold.name) not in kept or "predicted.npy" in task.read()["arrays"])
        ),
        n_jobs=n_jobs,
        folder=folder,
    )
    scores, summaries, files, extras = [], [], {}, {}
    for task, cached in done:
        fold, written = task.fold, task.read()
        facts = {key: written[key] for key in ("state", "seconds", "n_train", "n_test")}
        table = windows.table.iloc[fold.test]
        for name, variant in written["variants"].items():
            scores.append(
                pd.DataFrame(
                    {
                        "method": name,
                        "fold": fold.name,
                        "subject": table["subject"].to_numpy(),
                        "run": table["run"].to_numpy(),
                        "volume": table["volume"].to_numpy(),
                        "window": fold.test,
                        **{score: np.array(variant["scores"][score], dtype=float) for score in SCORES},
                    }
                )
            )
            files[name, fold.name], extras[name, fold.name] = task.folder / variant["folder"], variant["extras"]
            summaries.append({"method": name, "fold": fold.name, **facts, "cached": cached})
    return VolumeEvaluation(
        protocol.name,
        any(shares_signal(windows, fold) for fold in folds),
        windows.bold.streams[0].space,
        () if atlas is None else atlas.regions,
        pd.concat(scores, ignore_index=True),
        pd.DataFrame(summaries),
        files,
        extras,
    )


def _measure(
    task: Task,
    estimator,
    train: Windows,
    test: Windows,
    *,
    scaling: VolumeScaling,
    weights: np.ndarray | None,
    other_time: frozenset[str],
    structural_every: int,
    kept: set[tuple[str, str]],
) -> tuple[object, dict]:
    """Score predicted volumes; arrays are kept in the task's folder."""
    scaling = VolumeScaling(scaling.kind, scaling.calibration_minutes).fit(train)
    targets, truth = scaling.targets(train), scaling.targets(test)
    fitted = estimator.fit(train, targets)
    given = (truth,) if getattr(fitted, "sees_targets", False) else ()
    predictions = {task.method: fitted.predict(test, *given)}
    extras = {task.method: fitted.extras(test, truth) if hasattr(fitted, "extras") else {}}
    if task.method in other_time:
        predictions[task.method + OTHER_TIME] = fitted.predict(eeg_of_another_time(test), *given)
    data_range, variants = range_of(targets) if structural_every else float("nan"), {}
    for name, predicted in predictions.items():
        predicted = np.asarray(predicted, dtype=np.float32)
        if predicted.shape != truth.shape:
            raise EegFmriError(
                f"{type(fitted).__name__} predicted volumes of shape {predicted.shape}, not {truth.shape}."
            )
        scores, arrays = _score(predicted, truth, weights, structural_every, data_range)
        if (task.method, task.fold.name) in kept:
            arrays |= {"predicted": predicted, "true": truth[:]}
        folder = "" if name == task.method else "other_time"
        for array, values in arrays.items():
            cache.save_array(task.folder / folder / f"{array}.npy", values)
        variants[name] = {"folder": folder, "scores": scores, "extras": extras.get(name, {})}
    return fitted, {"data_range": data_range, "variants": variants}


def range_of(targets: Targets, most: int = 200) -> float:
    """Range of training targets, from at most so many volumes spread evenly over them: 0.1 to 99.9 %."""
    rows = np.unique(np.linspace(0, len(targets) - 1, min(most, len(targets))).astype(int))
    low, high = np.percentile(targets[rows], [0.1, 99.9])
    return float(high - low)


def errors_of(predicted: np.ndarray, targets: Targets) -> np.ndarray:
    """Mean squared error of each predicted volume over the voxels measured in its subject, shape (n_windows,)."""
    found, groups = np.empty(len(targets)), targets.windows.groups
    for subject in targets.windows.subjects:
        for part in chunks(np.flatnonzero(groups == subject)):
            found[part] = volume_metrics.mean_squared_error(targets[part], predicted[part], targets.measured(subject))
    return found


def _score(
    predicted: np.ndarray, truth: Targets, weights: np.ndarray | None, structural_every: int, data_range: float
) -> tuple[dict[str, list], dict[str, np.ndarray]]:
    n_windows, n_voxels = truth.shape
    space, subjects = truth.windows.bold.streams[0].space, truth.windows.groups
    inside = volume_metrics.eroded(space.mask)
    scores = {name: [None] * n_windows for name in SCORES}
    errors, counts = np.zeros(n_voxels), np.zeros(n_voxels)
    regions = [] if weights is None else [np.empty((n_windows, weights.shape[1]), np.float32) for _ in range(2)]
    for subject in dict.fromkeys(subjects):
        measured = truth.measured(subject)
        rows = np.flatnonzero(subjects == subject)
        for some in np.array_split(rows, -(-len(rows) // 128)):  # 128 volumes at a time
            true = truth[some]
            squares = (true - predicted[some]) ** 2
            errors[measured] += squares[:, measured].sum(axis=0)
            counts[measured] += len(some)
            for row, value in zip(some, squares[:, measured].mean(axis=1, dtype=float), strict=True):
                scores["mse"][row] = float(value)
            if weights is not None:
                regions[0][some], regions[1][some] = true @ weights, predicted[some] @ weights
            if structural_every:
                for place in np.flatnonzero(some % structural_every == 0):
                    row = some[place]
                    found = volume_metrics.ssim(space.fill(true[place]), space.fill(predicted[row]), data_range, inside)
                    scores["ssim"][row], scores["ssim_inside"][row] = found.whole, found.inside
                    scores["psnr"][row] = float(volume_metrics.psnr(max(scores["mse"][row], 1e-30), data_range))
    arrays = {"errors": np.stack([errors, counts])}
    if weights is not None:
        arrays |= {"regions_true": regions[0], "regions_predicted": regions[1]}
    return scores, arrays


def eeg_of_another_time(windows: Windows) -> Windows:
    """Give each window the EEG of another window of the same subject, half a session later: what a prediction owes to simultaneity.

    Parameters
    ----------
    windows : Windows
        In order of the session.

    Returns
    -------
    Windows
        EEG and features made of it are exchanged; volumes, table and order stay.
    """
    source = np.arange(len(windows))
    for subject in windows.subjects:
        own = np.flatnonzero(windows.groups == subject)
        source[own] = np.roll(own, len(own) // 2)
    return replace(
        windows,
        eeg=windows.eeg.subset(source),
        features={name: values[source] for name, values in windows.features.items()},
    )
