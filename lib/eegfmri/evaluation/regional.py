"""The benchmark of synthesis: what methods predict for regions of the brain, fold by fold, and every score that is taken of it.

Targets are cleaned regional series and the global signal, each with unit variance in its run. Predictions are kept whole, they are small;
scores are functions of true and predicted series, so that every method is scored by the same lines.

Correlations are taken within stretches: the part of a run that one fold tests. Between stretches predictions come from different models
whose means differ, and a correlation over both would score those means.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd

from eegfmri import cache, metrics
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.evaluation.folds import Task, run_folds
from eegfmri.evaluation.splits import Fold, Protocol, folds_of, shares_signal
from eegfmri.evaluation.volumes import OTHER_TIME, eeg_of_another_time
from eegfmri.metrics.volumes import temporal_correlation
from eegfmri.windows import Windows

#: Feature of the windows that holds what is to be predicted; taken away before a method sees them.
TARGETS = "targets"

#: Name of the last target.
GLOBAL = "global signal"

#: A stretch with fewer volumes is not correlated.
LEAST_VOLUMES = 20

#: Bins of frequencies in Hz, by name.
FREQUENCY_BINS = {
    "below 0.02 Hz": (0.0, 0.02),
    "0.02–0.05 Hz": (0.02, 0.05),
    "0.05–0.1 Hz": (0.05, 0.1),
    "above 0.1 Hz": (0.1, 1.0),
}

#: The method that skill is measured against.
REFERENCE = "training_mean"


def with_targets(windows: Windows) -> Windows:
    """Attach what is to be predicted: regions, and their mean, the global signal, all with unit variance in their run.

    Parameters
    ----------
    windows : Windows
        From `eegfmri.windows.volume_windows` over regional BOLD.

    Returns
    -------
    Windows
        With `TARGETS`, shape (n_windows, n_regions + 1), float32. A region without signal in a run is 0 there. The scaling is a
        statistic of the run's own volumes: it makes the target, and no method is given it.
    """

    def targets(own: Windows) -> np.ndarray:
        series = np.asarray(own.bold.streams[own.bold.run[0]].load(), dtype=float)
        whole = np.concatenate([series, series.mean(axis=0, keepdims=True)])
        whole = whole - whole.mean(axis=1, keepdims=True)
        deviation = whole.std(axis=1, keepdims=True)
        whole = np.where(deviation > 0, whole / np.where(deviation > 0, deviation, 1.0), 0.0)
        return whole[:, own.bold.first].T.astype(np.float32)

    return windows.with_feature(TARGETS, targets)


@dataclass(frozen=True)
class AcrossRuns:
    """Each kind of run is tested by a model of the others: one model for all subjects, who are known, of another hour.

    Attributes
    ----------
    name : str
        As for `eegfmri.evaluation.splits.LeaveOneSubjectOut`.
    """

    name: str = "across_runs"

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield one fold per place of a run in a subject's session; subjects with a single run are left out."""
        place = np.full(len(windows), -1)
        for subject in windows.subjects:
            own = np.flatnonzero(windows.groups == subject)
            runs = windows.table["run"].to_numpy()[own]
            order = list(dict.fromkeys(runs))
            if len(order) > 1:
                place[own] = [order.index(run) for run in runs]
        if (place < 0).all():
            raise RequestError("No subject has two runs: one cannot be tested by a model of the other.")
        for number in range(int(place.max()) + 1):
            test, train = np.flatnonzero(place == number), np.flatnonzero((place >= 0) & (place != number))
            yield Fold(f"run-{number + 1}", train, test)


@dataclass(frozen=True, eq=False)
class RegionalEvaluation:
    """What every method predicted for every window, and what it cost.

    Attributes
    ----------
    protocol : str
        Name of the protocol.
    leaks : bool
        Whether training and test windows of a fold share signal.
    names : tuple of str
        Of the targets; the last is `GLOBAL`.
    table : pandas.DataFrame
        The windows' table with ``fold``, None where a window was not tested.
    true : numpy.ndarray
        Shape (n_windows, n_targets).
    predicted : mapping of str to numpy.ndarray
        By method, like ``true``; NaN where a window was not tested.
    folds : pandas.DataFrame
        One row per method and fold: ``weights``, ``fit_seconds``, ``predict_ms`` (a volume), ``n_train``, ``n_test``, ``state``.
    """

    protocol: str
    leaks: bool
    names: tuple[str, ...]
    table: pd.DataFrame
    true: np.ndarray
    predicted: Mapping[str, np.ndarray]
    folds: pd.DataFrame

    @property
    def methods(self) -> tuple[str, ...]:
        """In the order given."""
        return tuple(self.predicted)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Tested ones, in order."""
        return tuple(dict.fromkeys(self.table["subject"][self.table["fold"].notna()]))

    def stretches(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """Yield subject, run and rows of each stretch of a run that one fold tests, if it is long enough."""
        tested = self.table[self.table["fold"].notna()]
        for (subject, run, _), rows in tested.groupby(["subject", "run", "fold"], sort=False).groups.items():
            if len(rows) >= LEAST_VOLUMES:
                yield subject, run, self.table.index.get_indexer(rows)

    def by_region(
        self, method: str, statistic: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    ) -> pd.DataFrame:
        """Return a statistic of true and predicted series for each subject (rows) and target (columns), mean over stretches.

        Parameters
        ----------
        method : str
            Which method.
        statistic : callable or None
            Of two arrays of shape (n_volumes, n_targets); None: the correlation over time, 0 where the prediction never varies.

        Returns
        -------
        pandas.DataFrame
            NaN where a target has no signal.
        """
        statistic, found = statistic or correlation, {}
        for subject, _, rows in self.stretches():
            found.setdefault(subject, []).append(statistic(self.true[rows], self.predicted[method][rows]))
        return pd.DataFrame({subject: _mean(values) for subject, values in found.items()}, index=self.names).T

    def per_subject(self, score: Callable[["RegionalEvaluation", str], pd.Series]) -> pd.DataFrame:
        """Return a score of each subject (rows) and method (columns)."""
        return pd.DataFrame({method: score(self, method) for method in self.methods})

    def costs(self) -> pd.DataFrame:
        """Return, per method, the mean over folds of ``weights``, ``fit_seconds`` and ``predict_ms``."""
        return self.folds.groupby("method", sort=False)[["weights", "fit_seconds", "predict_ms"]].mean()


def evaluate_regions(
    methods: Mapping[str, object],
    windows: Windows,
    protocol: Protocol | AcrossRuns,
    *,
    other_time: Sequence[str] = (),
    every: int = 1,
    n_jobs: int = 1,
    folder: str | Path | None = None,
) -> RegionalEvaluation:
    """Fit and test every method in every fold; finished folds are on disk and are not done again.

    Parameters
    ----------
    methods : mapping of str to estimator
        With ``fit(X, targets)``, ``predict(X)`` and ``n_weights()``; an oracle says ``sees_targets`` and is called as
        ``predict(X, targets)``.
    windows : Windows
        With `with_targets`.
    protocol : Protocol or AcrossRuns
        The splits.
    other_time : sequence of str
        Methods that are scored a second time with the EEG of another time (`eegfmri.evaluation.volumes.eeg_of_another_time`).
    every : int, default=1
        Learn from every so many training windows; neighbours say nearly the same. All test windows are predicted.
    n_jobs : int, default=1
        Folds run in this many processes.
    folder : str, pathlib.Path or None
        Where finished folds are kept; None: the project's cache.

    Returns
    -------
    RegionalEvaluation
        Of all folds.

    Raises
    ------
    RequestError
        If the windows have no targets, or EEG of another time is asked for an unknown method.
    """
    if TARGETS not in windows.features:
        raise RequestError("The windows lack what is to be predicted: call with_targets first.")
    if unknown := set(other_time) - set(methods):
        raise RequestError(f"EEG of another time was asked for {', '.join(sorted(unknown))}, which is not evaluated.")
    folds = [Fold(fold.name, fold.train[::every], fold.test) for fold in folds_of(protocol, windows)]
    done = run_folds(
        methods,
        [(windows, fold) for fold in folds],
        partial(_measure, other_time=frozenset(other_time)),
        name=f"regions-{protocol.name}",
        settings=lambda method: method in other_time,
        code=__name__,
        n_jobs=n_jobs,
        folder=folder,
    )
    true = windows.features[TARGETS]
    predicted: dict[str, np.ndarray] = {}
    fold_of, rows = np.full(len(windows), None, dtype=object), []
    for task, _ in done:
        written = task.read()
        fold_of[task.fold.test] = task.fold.name
        for name in written["variants"]:
            said = cache.load_array(task.folder / f"{_file_of(name, task.method)}.npy")
            predicted.setdefault(name, np.full(true.shape, np.nan, dtype=np.float32))[task.fold.test] = said
        facts = {key: written[key] for key in ("state", "n_train", "n_test", "weights", "fit_seconds", "predict_ms")}
        rows.append({"method": task.method, "fold": task.fold.name, **facts})
    order = [name for method in methods for name in (method, method + OTHER_TIME) if name in predicted]
    return RegionalEvaluation(
        protocol.name,
        any(shares_signal(windows, fold) for fold in folds),
        (*windows.bold.names, GLOBAL),
        windows.table.assign(fold=fold_of),
        true,
        {name: predicted[name] for name in order},
        pd.DataFrame(rows),
    )


def _file_of(variant: str, method: str) -> str:
    return "predicted" if variant == method else "other_time"


def _measure(
    task: Task, estimator, train: Windows, test: Windows, *, other_time: frozenset[str]
) -> tuple[object, dict]:
    """Fit, predict, keep the prediction and what it cost."""
    targets, truth = train.features[TARGETS], test.features[TARGETS]
    train, test = (replace(w, features={k: v for k, v in w.features.items() if k != TARGETS}) for w in (train, test))
    started = process_time()
    fitted = estimator.fit(train, targets)
    fit_seconds = process_time() - started
    given = (truth,) if getattr(fitted, "sees_targets", False) else ()
    started = process_time()
    predictions = {task.method: fitted.predict(test, *given)}
    predict_ms = 1000 * (process_time() - started) / len(test)
    if task.method in other_time:
        predictions[task.method + OTHER_TIME] = fitted.predict(eeg_of_another_time(test), *given)
    for name, said in predictions.items():
        if said.shape != truth.shape:
            raise EegFmriError(f"{type(fitted).__name__} predicted an array of shape {said.shape}, not {truth.shape}.")
        cache.save_array(task.folder / f"{_file_of(name, task.method)}.npy", np.asarray(said, dtype=np.float32))
    return fitted, {
        "variants": list(predictions), "weights": int(fitted.n_weights()), "fit_seconds": fit_seconds, "predict_ms": predict_ms,
    }  # fmt: skip


# --- scores ---


def correlation(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Correlate each target over time.

    Parameters
    ----------
    true, predicted : numpy.ndarray
        Shape (n_volumes, n_targets), of one stretch.

    Returns
    -------
    numpy.ndarray
        Shape (n_targets,): 0 where the prediction never varies, since it says nothing of time; NaN where the target never does.
    """
    r = temporal_correlation(true, predicted)
    return np.where(np.ptp(true, axis=0) > 0, np.nan_to_num(r), np.nan)


def mean_correlation(evaluation: RegionalEvaluation, method: str) -> pd.Series:
    """Correlation over time, averaged over regions, one value per subject."""
    return evaluation.by_region(method)[list(evaluation.names[:-1])].mean(axis=1)


def global_correlation(evaluation: RegionalEvaluation, method: str) -> pd.Series:
    """Correlation over time of the global signal, one value per subject."""
    return evaluation.by_region(method)[GLOBAL]


def skill(evaluation: RegionalEvaluation, method: str) -> pd.Series:
    """1 − squared error / squared error of the training mean, over all regions and tested volumes of a subject."""
    errors = {}
    for name in (method, REFERENCE):
        if name not in evaluation.predicted:
            raise RequestError(
                f"Skill is measured against {REFERENCE!r}, which was not evaluated: add it to the methods."
            )
        square = (evaluation.predicted[name][:, :-1] - evaluation.true[:, :-1]) ** 2
        tested = evaluation.table["fold"].notna().to_numpy()
        errors[name] = (
            pd.Series(square.mean(axis=1)[tested])
            .groupby(evaluation.table["subject"].to_numpy()[tested], sort=False)
            .mean()
        )
    return 1 - errors[method] / errors[REFERENCE]


def partial_correlation(
    evaluation: RegionalEvaluation, method: str, movement: Callable[[np.ndarray], np.ndarray]
) -> pd.Series:
    """Correlation over time after movement was regressed out of truth and prediction, averaged over regions.

    Parameters
    ----------
    evaluation : RegionalEvaluation
        What was predicted.
    method : str
        Which method.
    movement : callable
        Takes rows of windows, returns what is to be regressed out, shape (n_rows, n_regressors).

    Returns
    -------
    pandas.Series
        One value per subject.
    """
    found: dict[str, list] = {}
    n_regions = len(evaluation.names) - 1
    for subject, _, rows in evaluation.stretches():
        regressors = np.column_stack([np.ones(len(rows)), movement(rows)])
        basis, _ = np.linalg.qr(regressors / np.maximum(np.abs(regressors).max(axis=0), 1e-12))
        true, said = (a[rows][:, :n_regions].astype(float) for a in (evaluation.true, evaluation.predicted[method]))
        flat = np.ptp(said, axis=0) <= 1e-6 * max(1.0, float(np.abs(said).max()))
        true, said = (values - basis @ (basis.T @ values) for values in (true, said))
        found.setdefault(subject, []).append(correlation(true, np.where(flat, 0.0, said)))
    return pd.Series({subject: float(np.nanmean(_mean(values))) for subject, values in found.items()})


def region_p_values(evaluation: RegionalEvaluation, method: str, n_surrogates: int = 999, seed: int = 0) -> np.ndarray:
    """One-sided p-values of each target's correlation, mean over subjects, against predictions shifted along their stretches.

    Each surrogate moves the prediction of each stretch along its own circle by at least a tenth of it, all targets together: slowness and
    the relation between regions stay, simultaneity goes.

    Parameters
    ----------
    evaluation : RegionalEvaluation
        What was predicted.
    method : str
        Which method.
    n_surrogates : int, default=999
        How many.
    seed : int, default=0
        Of the shifts.

    Returns
    -------
    numpy.ndarray
        Shape (n_targets,), (1 + as large) / (1 + n_surrogates); NaN where a target has no signal in anybody.
    """
    rng, observed, null, weight = np.random.default_rng(seed), [], [], []
    count = evaluation.table.groupby("subject", sort=False)["run"].nunique()
    for subject, _, rows in evaluation.stretches():
        true, said = (_unit(a[rows].astype(float)) for a in (evaluation.true, evaluation.predicted[method]))
        n = len(rows)
        around = np.fft.irfft(
            np.fft.rfft(true, axis=0) * np.conj(np.fft.rfft(said, axis=0)), n, axis=0
        )  # (n shifts, targets)
        margin = max(1, n // 10)
        moves = rng.integers(margin, n - margin + 1, n_surrogates)
        observed.append(around[0])
        null.append(around[moves])
        weight.append(np.where(np.ptp(evaluation.true[rows], axis=0) > 0, 1.0, np.nan) / count[subject])
    weight = np.array(weight)
    total = np.nansum(weight, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.nansum(np.array(observed) * weight, axis=0) / total
        drawn = np.nansum(np.array(null) * weight[:, None], axis=0) / total
    p = (1 + (drawn >= value - 1e-12).sum(axis=0)) / (1 + n_surrogates)
    return np.where(total > 0, p, np.nan)


def found_regions(p_values: np.ndarray, rate: float = 0.05) -> int:
    """Count regions, the global signal left out, that a false discovery rate leaves :cite:p:`benjamini1995`."""
    from scipy.stats import false_discovery_control

    p = p_values[:-1][np.isfinite(p_values[:-1])]
    return int((false_discovery_control(p) <= rate).sum()) if len(p) else 0


def connectivity(evaluation: RegionalEvaluation, method: str | None = None) -> dict[str, np.ndarray]:
    """Correlation matrices of each subject's regions after Fisher's z, mean over stretches: true ones, or a method's.

    Returns
    -------
    dict of str to numpy.ndarray
        Pairs of regions, shape (n_pairs,); NaN where one never varies.
    """
    found: dict[str, list] = {}
    series = evaluation.true if method is None else evaluation.predicted[method]
    n_regions = len(evaluation.names) - 1
    upper = np.triu_indices(n_regions, 1)
    for subject, _, rows in evaluation.stretches():
        values = series[rows][:, :n_regions].astype(float)
        flat = np.ptp(values, axis=0) <= 1e-6
        unit = _unit(values)
        matrix = unit.T @ unit
        matrix[flat], matrix[:, flat] = np.nan, np.nan
        found.setdefault(subject, []).append(np.arctanh(np.clip(matrix[upper], -0.999999, 0.999999)))
    return {subject: _mean(values) for subject, values in found.items()}


def connectivity_beyond_group(evaluation: RegionalEvaluation, method: str) -> pd.DataFrame:
    """How well predicted connectivity matches the subject's own, as it is and beyond what everybody's has in common.

    Parameters
    ----------
    evaluation : RegionalEvaluation
        What was predicted.
    method : str
        Which method.

    Returns
    -------
    pandas.DataFrame
        A row per subject: ``similarity`` of predicted and true connectivity over pairs of regions; ``group``, that of the mean over the
        *other* subjects' true connectivity, which needs no EEG; ``beyond``, the correlation that is left when that mean is regressed out of
        both. NaN where the prediction never varies.
    """
    true, said = connectivity(evaluation), connectivity(evaluation, method)
    rows = {}
    for subject, own in true.items():
        group = _mean([values for other, values in true.items() if other != subject])
        there = np.isfinite(own) & np.isfinite(group) & np.isfinite(said[subject])
        if there.sum() < 10 or np.ptp(said[subject][there]) < 1e-9:
            bar = np.isfinite(own) & np.isfinite(group)
            rows[subject] = {"similarity": np.nan, "group": np.corrcoef(own[bar], group[bar])[0, 1], "beyond": np.nan}
            continue
        a, b, g = own[there], said[subject][there], group[there]
        rows[subject] = {
            "similarity": np.corrcoef(a, b)[0, 1],
            "group": np.corrcoef(a, g)[0, 1],
            "beyond": np.corrcoef(_residual(a, g), _residual(b, g))[0, 1],
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def recognised_by_connectivity(evaluation: RegionalEvaluation, method: str) -> pd.Series:
    """Say of each subject whether its predicted connectivity is nearest to its own measured one, of all subjects'.

    Parameters
    ----------
    evaluation : RegionalEvaluation
        What was predicted.
    method : str
        Which method.

    Returns
    -------
    pandas.Series
        True or False per subject. Means over subjects are taken out of predicted and of measured connectivity before they are correlated;
        by chance one subject in all is recognised. A prediction that never varies recognises nobody.
    """
    true, said = connectivity(evaluation), connectivity(evaluation, method)
    names = list(true)
    matrices = []
    for values in (true, said):
        stacked = np.array([values[name] for name in names])
        matrices.append(stacked - _mean(stacked))
    there = np.isfinite(matrices[0]).all(axis=0) & np.isfinite(matrices[1]).all(axis=0)
    if there.sum() < 10:
        return pd.Series(False, index=names)
    resemblance = _unit(matrices[1][:, there].T).T @ _unit(matrices[0][:, there].T)
    return pd.Series(resemblance.argmax(axis=1) == np.arange(len(names)), index=names)


def coherence_by_frequency(
    evaluation: RegionalEvaluation, method: str, t_r: float, segment: int = 64
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Magnitude-squared coherence of true and predicted regions, mean over regions, in bins of frequency.

    Parameters
    ----------
    evaluation : RegionalEvaluation
        What was predicted.
    method : str
        Which method.
    t_r : float
        Repetition time in s.
    segment : int, default=64
        Volumes in one of Welch's segments, at most a third of a stretch.

    Returns
    -------
    found, chance : pandas.DataFrame
        Subjects (rows) by `FREQUENCY_BINS`: as predicted, and with the prediction moved by half its stretch, which shows what few segments
        give by themselves. NaN where the prediction never varies.
    """
    from scipy.signal import coherence

    n_regions, found = len(evaluation.names) - 1, {True: {}, False: {}}
    for subject, _, rows in evaluation.stretches():
        true, said = (a[rows][:, :n_regions].astype(float) for a in (evaluation.true, evaluation.predicted[method]))
        there = (np.ptp(true, axis=0) > 0) & (np.ptp(said, axis=0) > 1e-6)
        for moved in (False, True):
            values = np.full(len(FREQUENCY_BINS), np.nan)
            if there.any():
                other = np.roll(said, len(said) // 2, axis=0) if moved else said
                frequencies, c = coherence(
                    true[:, there], other[:, there], 1 / t_r, nperseg=min(segment, len(rows) // 3), axis=0
                )
                mean = c.mean(axis=1)
                for place, (low, high) in enumerate(FREQUENCY_BINS.values()):
                    inside = (frequencies > 0) & (frequencies >= low) & (frequencies < high)
                    values[place] = mean[inside].mean() if inside.any() else np.nan
            found[moved].setdefault(subject, []).append(values)
    tables = [
        pd.DataFrame({s: _mean(v) for s, v in found[moved].items()}, index=list(FREQUENCY_BINS)).T
        for moved in (False, True)
    ]
    return tables[0], tables[1]


def ratio_to(values: pd.Series, of: pd.Series, seed: int = 0) -> metrics.Interval:
    """Ratio of two means over subjects, such as a score to its known ceiling, with an interval from drawing subjects for both.

    Parameters
    ----------
    values, of : pandas.Series
        One value per subject each.
    seed : int, default=0
        Of the bootstrap.

    Returns
    -------
    eegfmri.metrics.Interval
        95 %.
    """
    a, b = values.to_numpy(dtype=float), of.reindex(values.index).to_numpy(dtype=float)
    return metrics.bootstrap(lambda drawn: a[drawn].mean(axis=-1) / b[drawn].mean(axis=-1), len(a), seed)


def _unit(values: np.ndarray) -> np.ndarray:
    """Centre columns and bring them to unit length; columns that do not vary become 0."""
    centred = values - values.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    varies = length > 1e-6 * np.sqrt(len(values))
    return np.where(varies, centred / np.where(varies, length, 1.0), 0.0)


def _residual(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    centred, common = values - values.mean(), of - of.mean()
    return centred - common * (common @ centred) / (common @ common)


def _mean(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of what is not NaN, entry by entry; NaN where there is nothing else."""
    values = np.array(list(arrays), dtype=float)
    count = np.isfinite(values).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, np.nansum(values, axis=0) / count, np.nan)
