"""How well saliency and lags find what was planted, over levels of noise; of simulated recordings only.

What is scored: a network's class-activation maps of a subject it was not trained on, without that subject's labels; beside them a
linear model of the training subjects' labels, node by node. What it is scored against: `eegfmri.recovery.planted`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from eegfmri import metrics, saliency
from eegfmri.estimators.saliency_fusion import SaliencyGcnnClassifier, spectrum_frequencies
from eegfmri.evaluation.splits import HalvesOfSubjects
from eegfmri.lags import lagged_correlations, peak_lag
from eegfmri.preprocessing.eeg import BANDS
from eegfmri.recordings import Recording, RecordingSet, Stream
from eegfmri.recovery.planted import (
    Truth,
    class_differences,
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
}


def planted_windows(
    truth: Truth,
    recordings: RecordingSet,
    level: float,
    eeg: Callable[[Recording], Stream],
    classes: Sequence[str],
    bold_volumes: int,
    lag: float,
    seed: int = 0,
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

    Returns
    -------
    Windows
        With the feature ``spectrum_electrodes``.
    """
    windows = epoch_windows(
        recordings,
        eeg,
        lambda recording: planted_bold(truth, recording, level, seed),
        classes=classes,
        bold_volumes=bold_volumes,
        lag=lag,
    )
    frequencies = spectrum_frequencies(windows.eeg.sfreq, 2.0, windows.eeg.shape[2])
    spectra = planted_spectra(truth, recordings, windows, frequencies, level, seed)
    return replace(windows, features={"spectrum_electrodes": spectra})


def planted_marks(
    truth: Truth, modality: str, windows: Windows, centres: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Mark the nodes that were planted, for every subject.

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

    Returns
    -------
    dict of str to numpy.ndarray of bool
        By subject, shape (n_classes, n_nodes): at least half the largest effect of the class.
    """
    if modality == "eeg":
        return {
            subject: saliency.marked(scalp_effects(truth, windows.eeg.names, windows.classes, subject))
            for subject in windows.subjects
        }
    effects = regional_effects(truth, windows.classes)
    effects = effects if centres is None else effects[:, nearest_planted(centres)]
    return dict.fromkeys(windows.subjects, saliency.marked(effects))


def differing_marks(
    noise_free: Windows, modality: str, centres: np.ndarray | None = None, share: float = 0.2
) -> dict[str, np.ndarray]:
    """Mark the nodes whose noise-free signal differs most between windows of a class and all others, whatever made it differ.

    Beside the design, that is spontaneous fluctuations which happened to be stronger in some windows than in others.

    Parameters
    ----------
    noise_free : Windows
        From `planted_windows` at level 0.
    modality : {"eeg", "bold"}
        Electrodes, or regions.
    centres : numpy.ndarray or None
        As for `planted_marks`.
    share : float, default=0.2
        Of the nodes.

    Returns
    -------
    dict of str to numpy.ndarray of bool
        By subject, shape (n_classes, n_nodes); all False where a subject lacks the class.
    """
    values = node_values(noise_free, modality)
    found = np.abs(class_differences(values[..., 0] if modality == "bold" else values, noise_free))
    if centres is not None:
        found = found[..., nearest_planted(centres)]
    least = np.sort(found, axis=-1)[..., -max(1, round(share * found.shape[-1]))]
    return dict(zip(noise_free.subjects, (found >= least[..., None]) & (found > 0), strict=True))


def node_values(windows: Windows, modality: str) -> np.ndarray:
    """Return what a linear model is given of each node: mean BOLD, or power per band; shape (n_windows, n_nodes, n_features)."""
    if modality == "bold":
        return windows.bold[:].mean(axis=-1)[..., None].astype(float)
    frequencies = spectrum_frequencies(windows.eeg.sfreq, 2.0, windows.eeg.shape[2])
    spectrum = windows.features["spectrum_electrodes"]
    bins = [(frequencies >= low) & (frequencies < high) for low, high in BANDS.values()]
    return np.stack([spectrum[..., own].sum(axis=-1) for own in bins], axis=-1).astype(float)


def map_recovery(
    network: SaliencyGcnnClassifier,
    training: Windows,
    test: Windows,
    marks: Mapping[str, Mapping[str, np.ndarray]],
) -> pd.DataFrame:
    """Score a network's maps of test subjects, and a linear model of the training subjects, against what was planted.

    Parameters
    ----------
    network : SaliencyGcnnClassifier
        Fitted on the training windows, on regions (BOLD) or electrodes (EEG).
    training, test : Windows
        Of one fold.
    marks : mapping of str to mapping
        By definition of what was planted: ``design`` (`planted_marks`), ``difference`` (`differing_marks`).

    Returns
    -------
    pandas.DataFrame
        One row per subject, class, map and definition: ``subject``, ``class``, ``map``, ``definition``, ``value`` (average precision)
        and ``chance`` (share of nodes that were planted).
    """
    modality = network.modality
    values = node_values(training, modality)
    model = saliency.class_statistic(np.log(values) if modality == "eeg" else values, training.y, len(test.classes))
    rows = []
    for subject in test.subjects:
        own = test[test.groups == subject]
        probabilities, logits = network.predict_proba(own), network.decision_function(own)
        activation = network.activation(own).sum(axis=2)
        features = node_values(own, modality)
        # softmax knows logits up to a constant per window
        pattern = saliency.forward_patterns(features / features.std(), logits - logits.mean(axis=1, keepdims=True))
        found = {
            "activation": saliency.class_maps(activation, probabilities),
            "contrast": np.abs(saliency.contrast_maps(activation, probabilities)),
            "pattern": np.abs(pattern).sum(axis=-1),
        }
        for name in MAPS:
            for c, title in enumerate(test.classes):
                if name == "linear_model":
                    scores = model[c]
                elif c in network.classes_:
                    scores = found[name][list(network.classes_).index(c)]
                else:
                    continue
                for definition, of_subjects in marks.items():
                    planted = of_subjects[subject][c]
                    rows.append((subject, title, name, definition, saliency.recovery(scores, planted), planted.mean()))
    return pd.DataFrame(rows, columns=["subject", "class", "map", "definition", "value", "chance"])


def recovery_over_noise(
    truth: Truth,
    networks: Mapping[str, SaliencyGcnnClassifier],
    cut: Callable[[float], Windows],
    levels: Sequence[float],
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

    Returns
    -------
    pandas.DataFrame
        As `map_recovery`, under both definitions, with ``modality`` and ``level``; and rows whose ``map`` is ``accuracy``: each subject's
        balanced accuracy.
    """
    from sklearn.base import clone

    tables, noise_free = [], cut(0.0)
    marks_of = {
        modality: {
            "design": planted_marks(truth, modality, noise_free),
            "difference": differing_marks(noise_free, modality),
        }
        for modality in networks
    }
    for level in levels:
        windows = cut(level) if level else noise_free
        for modality, network in networks.items():
            for fold in HalvesOfSubjects().split(windows):
                training, test = windows[fold.train], windows[fold.test]
                fitted = clone(network).fit(training, training.y)
                scored = [
                    (
                        s,
                        "",
                        "accuracy",
                        "",
                        metrics.balanced_accuracy(own.y, fitted.predict(own)),
                        1 / len(windows.classes),
                    )
                    for s in test.subjects
                    for own in [test[test.groups == s]]
                ]
                found = map_recovery(fitted, training, test, marks_of[modality])
                found = pd.concat([found, pd.DataFrame(scored, columns=found.columns)])
                tables.append(found.assign(modality=modality, level=level))
    return pd.concat(tables, ignore_index=True)


def per_subject(table: pd.DataFrame, column: str = "value") -> pd.Series:
    """Average a recovery table over classes, subject by subject."""
    return table.groupby("subject", sort=False)[column].mean()


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
