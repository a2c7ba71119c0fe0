"""How much of simulated BOLD can be known at all: from what was planted, and from the scalp, by the plainest decoder.

Descriptions, not targets: nothing of the simulator is set by them. Every decoder is a ridge regression from band power, convolved with the
canonical response, to regional BOLD cleaned of drift and tissue signals; its score is the correlation over time, averaged over regions.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from eegfmri.lags import standardise
from eegfmri.preprocessing import eeg
from eegfmri.preprocessing.atlas import load_atlas
from eegfmri.preprocessing.spectra import band_means, spectrogram
from eegfmri.recordings import Recording
from eegfmri.recovery import coupling
from eegfmri.recovery.planted import Truth, nearest_planted
from eegfmri.recovery.responses import blocks
from eegfmri.recovery.simulator import convolved

#: Strengths of the penalty among which each fit chooses by generalised cross-validation on its training volumes.
PENALTIES = np.logspace(0, 5, 11)

#: Blocks of a run for tests within subjects, and seconds left out around a tested block.
N_BLOCKS, GAP_SECONDS = 5, 20.0

#: What is related to BOLD: a region's own planted BOLD, and power where it was planted or at the scalp, within and between subjects.
WAYS = (
    "own planted BOLD",
    "planted power, within",
    "planted power, between",
    "scalp power, within",
    "scalp power, between",
)


def headroom(truth: Truth, recordings: Sequence[Recording]) -> dict[str, np.ndarray]:
    """Return the correlation with measured BOLD that each of `WAYS` reaches, per subject.

    Parameters
    ----------
    truth : Truth
        What was planted in the recordings.
    recordings : sequence of Recording
        Usable runs of at least two subjects of one simulated dataset.

    Returns
    -------
    dict of str to numpy.ndarray
        Shape (n_subjects,); mean over regions with signal, and over runs.

    Notes
    -----
    Between subjects, each subject's features and series have their own mean and deviation taken out: transductive for the one tested.
    """
    nearest = nearest_planted(load_atlas(coupling.BOLD_SETTINGS.atlas).centres)
    runs = [_run(truth, recording, nearest) for recording in recordings]
    subjects = list(dict.fromkeys(run["subject"] for run in runs))
    found = {way: [] for way in WAYS}
    for subject in subjects:
        own = [run for run in runs if run["subject"] == subject]
        others = [run for run in runs if run["subject"] != subject]
        found[WAYS[0]].append(np.mean([_mean_r(run["own"], run["bold"]) for run in own]))
        for kind, within, between in (("planted", WAYS[1], WAYS[2]), ("scalp", WAYS[3], WAYS[4])):
            found[within].append(np.mean([_within(run, kind) for run in own]))
            found[between].append(_between(others, own, kind))
    return {way: np.array(values) for way, values in found.items()}


def _run(truth: Truth, recording: Recording, nearest: np.ndarray) -> Mapping:
    series, moments = coupling.regional_bold(recording)
    planted = truth.of_run(recording)
    own = np.asarray(planted["bold"])[nearest]
    power = np.log(np.maximum(np.asarray(planted["power"]), 1e-6))
    stream = eeg.prepare(recording, coupling.EEG_SETTINGS)
    frequencies, density = spectrogram(np.asarray(stream.load()), stream.sfreq, frame=2.0, overlap=0.5)
    bands = np.log(np.maximum(band_means(frequencies, density, eeg.BANDS, axis=-2), 1e-30))
    bands = bands.reshape(-1, bands.shape[-1])
    scalp = np.stack([np.interp(moments, 1.0 + np.arange(row.size), row) for row in bands])
    n_volumes = min(series.shape[1], own.shape[1])
    t_r = recording.t_r
    return {
        "subject": recording.subject,
        "t_r": t_r,
        "bold": series[:, :n_volumes],
        "own": own[:, :n_volumes],
        "planted": standardise(convolved(power.reshape(-1, power.shape[-1])[:, :n_volumes], t_r)),
        "scalp": standardise(convolved(scalp[:, :n_volumes], t_r)),
    }


def _within(run: Mapping, kind: str) -> float:
    """Correlation within a run: each block predicted from the others, a gap around it left out."""
    features, series = run[kind].T, run["bold"].T
    gap = int(np.ceil(GAP_SECONDS / run["t_r"]))
    predicted = np.full(series.shape, np.nan)
    for train, test in blocks(len(series), N_BLOCKS, gap):
        predicted[test] = _fit(features[train], series[train]).predict(features[test])
    return _mean_r(predicted.T, series.T)


def _between(train: Sequence[Mapping], test: Sequence[Mapping], kind: str) -> float:
    model = _fit(
        np.concatenate([run[kind].T for run in train]), np.concatenate([standardise(run["bold"]).T for run in train])
    )
    return float(np.mean([_mean_r(model.predict(run[kind].T).T, run["bold"]) for run in test]))


def _fit(features: np.ndarray, series: np.ndarray):
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(features, series)


def _mean_r(one: np.ndarray, other: np.ndarray) -> float:
    """Mean over rows of their correlation; rows that do not vary are left out."""
    there = (one.std(axis=1) > 0) & (other.std(axis=1) > 0)
    return float((standardise(one[there]) * standardise(other[there])).mean()) if there.any() else 0.0
