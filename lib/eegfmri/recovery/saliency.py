"""How well saliency and lags find what was planted, over levels of noise; of simulated recordings only.

What is scored: a network's maps of a subject it was not trained on, without that subject's labels; a linear model of the training
subjects' labels, node by node; and two controls that know neither network nor label. All of them are made of the same node values
(log power per band, or mean BOLD) and scored against the same truth in the same unit: where a class differs from the others by design
(`eegfmri.recovery.planted`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from eegfmri import metrics, saliency
from eegfmri.estimators.saliency_fusion import SaliencyGcnnClassifier, spectrum_frequencies
from eegfmri.estimators.training import answer
from eegfmri.evaluation.splits import HalvesOfSubjects
from eegfmri.lags import lagged_correlations, peak_lag
from eegfmri.preprocessing.eeg import BANDS
from eegfmri.recordings import Recording, RecordingSet, Stream
from eegfmri.recovery.planted import (
    Truth,
    nearest_planted,
    planted_bold,
    planted_spectra,
    regional_effects,
    scalp_effects,
)
from eegfmri.simulation.bold import region_coupling
from eegfmri.windows import Windows, epoch_windows

#: What is scored, by the name it has in results.
MAPS = {
    "activation": "class activation",
    "contrast": "its contrast",
    "pattern": "forward pattern",
    "linear_model": "linear model",
    "random_outputs": "pattern of random outputs",
    "signal_size": "size of the signal",
}

#: Those that know neither network nor label: what a map must beat before it says anything of a class.
CONTROLS = ("random_outputs", "signal_size")

#: Share of the nodes that count as planted: those that differ most. In logarithms no node differs little, so a share of the largest
#: difference would mark nearly all of them.
SHARE = 0.2

#: How often random outputs are drawn.
N_DRAWS = 5


def planted_windows(
    truth: Truth,
    recordings: RecordingSet,
    level: float,
    eeg: Callable[[Recording], Stream],
    classes: Sequence[str],
    bold_volumes: int,
    lag: float,
    seed: int = 0,
    high_pass: float | None = 0.008,
) -> Windows:
    """Cut windows of planted activity: BOLD of the planted regions, spectra at the electrodes of the planted heads.

    Parameters
    ----------
    truth : Truth
        Of the dataset.
    recordings : RecordingSet
        Sleep.
    level : float
        Of the noise, 1 as the preset has it.
    eeg : callable
        Gives a recording's prepared EEG: its rate and electrodes; its samples are not used.
    classes, bold_volumes, lag
        As for `eegfmri.windows.epoch_windows`.
    seed : int, default=0
        Of the noise.
    high_pass : float or None
        Of BOLD, as for `eegfmri.recovery.planted.planted_bold`.

    Returns
    -------
    Windows
        With the feature ``spectrum_electrodes``.
    """
    windows = epoch_windows(
        recordings,
        eeg,
        lambda recording: planted_bold(truth, recording, level, seed, high_pass),
        classes=classes,
        bold_volumes=bold_volumes,
        lag=lag,
    )
    frequencies = spectrum_frequencies(windows.eeg.sfreq, 2.0, windows.eeg.shape[2])
    spectra = planted_spectra(truth, recordings, windows, frequencies, level, seed)
    return replace(windows, features={"spectrum_electrodes": spectra})


def planted_marks(
    truth: Truth, modality: str, windows: Windows, centres: np.ndarray | None = None, level: float = 1.0
) -> dict[str, np.ndarray]:
    """Mark the nodes at which a class differs most from the others by design, for every subject.

    Parameters
    ----------
    truth : Truth
        Of the dataset.
    modality : {"eeg", "bold"}
        Electrodes, or regions.
    windows : Windows
        Classes, subjects, electrodes.
    centres : numpy.ndarray or None
        Centres of an atlas's regions, mm; a region counts as the planted one nearest to it. None: the planted regions themselves.
    level : float, default=1.0
        Of the noise at electrodes, see `eegfmri.recovery.planted.scalp_effects`.

    Returns
    -------
    dict of str to numpy.ndarray of bool
        By subject, shape (n_classes, n_nodes): a fifth of the nodes (`SHARE`), more where several are equal.
    """
    if modality == "eeg":
        return {
            subject: saliency.largest(scalp_effects(truth, windows.eeg.names, windows.classes, subject, level), SHARE)
            for subject in windows.subjects
        }
    effects = regional_effects(truth, windows.classes)
    effects = effects if centres is None else effects[:, nearest_planted(centres)]
    return dict.fromkeys(windows.subjects, saliency.largest(effects, SHARE))


def node_values(windows: Windows, modality: str) -> np.ndarray:
    """Return what every map but the network's own is made of, shape (n_windows, n_nodes, n_features): mean BOLD, or log power per band."""
    if modality == "bold":
        return windows.bold[:].mean(axis=-1)[..., None].astype(float)
    frequencies = spectrum_frequencies(windows.eeg.sfreq, 2.0, windows.eeg.shape[2])
    spectrum = windows.features["spectrum_electrodes"]
    bins = [(frequencies >= low) & (frequencies < high) for low, high in BANDS.values()]
    power = np.stack([spectrum[..., own].sum(axis=-1, dtype=float) for own in bins], axis=-1)
    return np.log(np.maximum(power, 1e-30))


def map_recovery(
    network: SaliencyGcnnClassifier,
    training: Windows,
    test: Windows,
    marks: Mapping[str, np.ndarray],
    seed: int = 0,
    noise_free: Windows | None = None,
) -> pd.DataFrame:
    """Score a network's maps of test subjects, a linear model of the training subjects, and controls, against what was planted.

    Parameters
    ----------
    network : SaliencyGcnnClassifier
        Fitted on the training windows, on regions (BOLD) or electrodes (EEG).
    training, test : Windows
        Of one fold.
    marks : mapping of str to numpy.ndarray
        From `planted_marks`.
    seed : int, default=0
        Of random outputs.
    noise_free : Windows or None
        The test windows without noise, of planted BOLD: then regions are silenced one by one (`decision_changes`).

    Returns
    -------
    pandas.DataFrame
        One row per subject, class and map: ``subject``, ``class``, ``map``, ``value`` (average precision against the nodes planted for
        the class), ``others`` (the same against those planted for the other classes, on average), ``chance`` (share of nodes that
        were planted) and ``decision``: rank correlation over nodes with how much silencing each changes the decision, or NaN.
    """
    from scipy.stats import spearmanr

    modality, classes = network.modality, list(network.classes_)
    model = saliency.class_statistic(node_values(training, modality), training.y, len(test.classes))
    rng = np.random.default_rng(seed)
    rows = []
    for subject in test.subjects:
        mine = test.groups == subject
        own, planted = test[mine], marks[subject]
        changes = None if noise_free is None else np.abs(decision_changes(network, own, noise_free[mine]))
        probabilities, logits = network.predict_proba(own), network.decision_function(own)
        activation, values = network.activation(own).sum(axis=2), node_values(own, modality)
        maps = {
            "activation": [saliency.class_maps(activation, probabilities)],
            "contrast": [np.abs(saliency.contrast_maps(activation, probabilities))],
            "pattern": [_pattern(values, logits)],
            "linear_model": [model[classes]],
            "random_outputs": [_pattern(values, rng.standard_normal(logits.shape)) for _ in range(N_DRAWS)],
            "signal_size": [np.repeat(_size(values, modality)[None], len(classes), axis=0)],
        }
        for name, drawn in maps.items():
            # average precision of every class's map against every class's truth, shape (n_classes, n_planted)
            scores = np.mean(
                [[[saliency.recovery(m, mark) for mark in planted] for m in found] for found in drawn], axis=0
            )
            for number, (row, c) in enumerate(zip(scores, classes, strict=True)):
                followed = np.nan
                if changes is not None and np.ptp(changes[number]) > 0:
                    followed = np.mean([spearmanr(found[number], changes[number]).statistic for found in drawn])
                rows.append(
                    (subject, test.classes[c], name, row[c], np.delete(row, c).mean(), planted[c].mean(), followed)
                )
    return pd.DataFrame(rows, columns=["subject", "class", "map", "value", "others", "chance", "decision"])


def decision_changes(network: SaliencyGcnnClassifier, windows: Windows, noise_free: Windows) -> np.ndarray:
    """Silence one planted region after the other, and see how much the network's decision changes.

    What was planted is taken out of the region's BOLD and its noise is left: simulated again, without what the brain does there. Since
    preparation is linear, noise is what the windows have more than those without noise.

    Parameters
    ----------
    network : SaliencyGcnnClassifier
        On BOLD, fitted.
    windows, noise_free : Windows
        The same windows of planted BOLD with noise and without, see `planted_windows`.

    Returns
    -------
    numpy.ndarray
        Shape (n_classes, n_regions): by how much the class's logit, less the mean of all logits, falls; mean over windows, each weighing
        as much as the class is likely in it.
    """
    mean, scale = network.bold_mean_[:, None], network.bold_scale_[:, None]
    heard = windows.bold[:]
    quiet = heard - noise_free.bold[:]

    def decide(bold: np.ndarray) -> np.ndarray:
        logits = answer(network.module_, torch.from_numpy(((bold - mean) / scale).astype(np.float32))).numpy()
        return logits - logits.mean(axis=1, keepdims=True)

    before = decide(heard)
    weights = network.predict_proba(windows)
    weights = weights / np.maximum(weights.sum(axis=0), 1e-12)
    changes = np.empty((before.shape[1], heard.shape[1]))
    for region in range(heard.shape[1]):
        silenced = heard.copy()
        silenced[:, region] = quiet[:, region]
        changes[:, region] = (weights * (before - decide(silenced))).sum(axis=0)
    return changes


def _pattern(values: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Forward pattern of outputs in absolute values, added up over features, shape (n_outputs, n_nodes)."""
    # softmax knows logits up to a constant per window
    found = saliency.forward_patterns(values, outputs - outputs.mean(axis=1, keepdims=True))
    return np.abs(found).sum(axis=-1)


def _size(values: np.ndarray, modality: str) -> np.ndarray:
    """Mean log power, added up over bands, or the spread of BOLD, whose mean is nought: shape (n_nodes,)."""
    return values.mean(axis=0).sum(axis=-1) if modality == "eeg" else values.std(axis=0).sum(axis=-1)


def recovery_over_noise(
    truth: Truth,
    networks: Mapping[str, SaliencyGcnnClassifier],
    cut: Callable[[float], Windows],
    levels: Sequence[float],
    silenced_at: float | None = None,
) -> pd.DataFrame:
    """Train networks on planted windows at each level of noise, half of the subjects at a time, and score their maps.

    Parameters
    ----------
    truth : Truth
        Of the dataset.
    networks : mapping of str to SaliencyGcnnClassifier
        By modality, ``eeg`` and ``bold``.
    cut : callable
        Gives the windows at a level, see `planted_windows`.
    levels : sequence of float
        Of the noise.
    silenced_at : float or None
        The level at which planted regions are silenced one by one; None: nowhere.

    Returns
    -------
    pandas.DataFrame
        As `map_recovery`, with ``modality`` and ``level``; and rows whose ``map`` is ``accuracy``: each subject's balanced accuracy.
    """
    from sklearn.base import clone

    tables = []
    for level in levels:
        windows = cut(level)
        noise_free = cut(0.0) if level == silenced_at else None
        for modality, network in networks.items():
            marks = planted_marks(truth, modality, windows, level=level)
            for fold in HalvesOfSubjects().split(windows):
                training, test = windows[fold.train], windows[fold.test]
                fitted = clone(network).fit(training, training.y)
                quiet = noise_free[fold.test] if noise_free is not None and modality == "bold" else None
                found = map_recovery(fitted, training, test, marks, network.seed, quiet)
                accuracy = [
                    {"subject": s, "map": "accuracy", "value": metrics.balanced_accuracy(own.y, fitted.predict(own))}
                    for s in test.subjects
                    for own in [test[test.groups == s]]
                ]
                found = pd.concat([found, pd.DataFrame(accuracy)], ignore_index=True)
                tables.append(found.assign(modality=modality, level=level))
    return pd.concat(tables, ignore_index=True)


def per_subject(table: pd.DataFrame, column: str = "value") -> pd.Series:
    """Average a recovery table over classes (and seeds, if there are several), subject by subject."""
    return table.groupby("subject", sort=False)[column].mean()


def against_controls(table: pd.DataFrame, seed: int = 0) -> dict[str, dict[str, metrics.Interval]]:
    """Compare every map of a recovery table with the controls and with itself for other classes, subject by subject.

    Parameters
    ----------
    table : pandas.DataFrame
        From `map_recovery`, of one modality; of several seeds the mean is taken first.
    seed : int, default=0
        Of the bootstrap.

    Returns
    -------
    dict of str to dict
        By map, in the order of `MAPS`: ``score``; ``own_class``, by how much it finds the nodes of its class better than those of the
        others, which a map that is the same for all classes cannot; and, but of the controls, ``less_random_outputs`` and
        ``less_signal_size``, the differences to both. With 95 % intervals over subjects.
    """
    scores = {name: per_subject(own) for name, own in table.groupby("map") if name in MAPS}
    others = {name: per_subject(own, "others") for name, own in table.groupby("map") if name in MAPS}
    return {
        name: {
            "score": metrics.bootstrap_mean(scores[name], seed),
            "own_class": metrics.bootstrap_mean(scores[name] - others[name], seed),
        }
        | {
            f"less_{control}": metrics.bootstrap_mean(scores[name] - scores[control], seed)
            for control in CONTROLS
            if name not in CONTROLS
        }
        for name in MAPS
    }


def lag_runs(truth: Truth, recordings: RecordingSet, level: float, band: str = "alpha", seed: int = 0) -> list[dict]:
    """Pair each region's planted power with its planted BOLD, in the group of regions where the band's coupling is strongest.

    Parameters
    ----------
    truth : Truth
        Of the dataset.
    recordings : RecordingSet
        Its runs.
    level : float
        Of the noise on BOLD; power is free of noise.
    band : str, default="alpha"
        One of the planted bands.
    seed : int, default=0
        Of the noise.

    Returns
    -------
    list of dict
        One per run, as `eegfmri.lags.lag_analysis` takes them.
    """
    from eegfmri.simulation.parameters import BANDS as PLANTED

    nodes = coupled_regions(truth, band)
    runs = []
    for recording in recordings:
        if not recording.usable:
            continue
        stream = planted_bold(truth, recording, level, seed)
        bold = np.asarray(stream.load())[nodes]
        power = np.asarray(truth.of_run(recording)["power"])[nodes, list(PLANTED).index(band)]
        n_volumes = min(bold.shape[1], power.shape[1])
        times = (np.arange(n_volumes) + 0.5) * recording.t_r
        runs.append(
            {
                "subject": recording.subject,
                "power": np.log(np.maximum(power[:, None, :n_volumes], 1e-12)),
                "power_times": times,
                "bold": bold[:, :n_volumes],
                "bold_times": times,
            }
        )
    return runs


def coupled_regions(truth: Truth, band: str = "alpha") -> np.ndarray:
    """Return the planted regions in which the coupling of a band to BOLD is largest, by absolute value."""
    from eegfmri.simulation.parameters import BANDS as PLANTED

    coupling = np.abs(region_coupling(truth.preset, truth.regions)[:, list(PLANTED).index(band)])
    return np.flatnonzero(coupling >= 0.8 * coupling.max())


def subject_peaks(runs: Sequence[Mapping], lags: Sequence[float]) -> pd.Series:
    """Return the lag at which each subject's mean correlation over all pairs and bands given is furthest from zero.

    Parameters
    ----------
    runs : sequence of mapping
        As `eegfmri.lags.lag_analysis` takes them.
    lags : sequence of float
        In s.

    Returns
    -------
    pandas.Series
        Seconds, by subject; runs of a subject are averaged first.
    """
    curves: dict[str, list] = {}
    for run in runs:
        found, _ = lagged_correlations(run["power"], run["power_times"], run["bold"], run["bold_times"], lags)
        curves.setdefault(run["subject"], []).append(np.arctanh(np.clip(found, -0.999999, 0.999999)).mean(axis=(0, 1)))
    return pd.Series({s: float(peak_lag(np.mean(found, axis=0), lags)) for s, found in curves.items()})


def median_error(peaks: pd.Series, truth: Truth, seed: int = 0) -> metrics.Interval:
    """Median over subjects of the absolute error of their lag, in s, with its interval.

    Parameters
    ----------
    peaks : pandas.Series
        From `subject_peaks`.
    truth : Truth
        Knows the planted latencies.
    seed : int, default=0
        Of the bootstrap.

    Returns
    -------
    eegfmri.metrics.intervals.Interval
        95 %.
    """
    errors = np.abs(peaks.to_numpy() - np.array([truth.latency(subject) for subject in peaks.index]))
    return metrics.bootstrap(lambda drawn: np.median(errors[drawn], axis=-1), len(errors), seed)
