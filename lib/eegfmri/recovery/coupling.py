"""How EEG and BOLD of one recording move together: the analyses by which simulated recordings are held against real ones.

They read files through the datasets' readers and the ordinary preprocessing, and know nothing of how a file was made, so that real and
simulated recordings pass through the same steps: the correlation of EEG power with networks of the brain by lag and frequency;
alertness read from either modality; connectivity of subjects, and of EEG against BOLD.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eegfmri.errors import RequestError
from eegfmri.lags import lagged_correlations, standardise
from eegfmri.preprocessing import bold, eeg
from eegfmri.preprocessing.atlas import load_atlas, network_regions
from eegfmri.preprocessing.sources import electrode_positions, inverse_operator, lead_field
from eegfmri.preprocessing.spectra import spectrogram
from eegfmri.recordings import Recording

#: Frequencies of the map in Hz, one bin each.
FREQUENCIES = np.arange(1, 41)

#: So long before a volume the power is taken, s.
LAGS = np.arange(20)

#: Bands of the comparison with real recordings, Hz, both edges inclusive (bins of 1 Hz).
BANDS: Mapping[str, tuple[int, int]] = {
    "delta": (1, 3),
    "theta": (4, 7),
    "alpha": (8, 12),
    "beta": (13, 30),
    "gamma": (31, 40),
}

#: Bands of the alertness ratio, Hz.
ALERTNESS = {"alpha": (8, 12), "theta": (4, 7)}

#: Hz between which alertness is compared.
ALERTNESS_PASS = (0.01, 0.2)

#: How EEG and BOLD are prepared for all of them.
EEG_SETTINGS = eeg.EegSettings()
BOLD_SETTINGS = bold.BoldSettings()

#: Every so many-th sample of an envelope enters the connectivity of EEG power.
_THINNED = 25


@dataclass(frozen=True, eq=False)
class CouplingMaps:
    """Correlation of EEG power with network BOLD, by lag and frequency.

    Attributes
    ----------
    subjects : tuple of str
        Whose.
    networks : tuple of str
        Names of networks.
    lags : numpy.ndarray
        Shape (n_lags,), s: power so long before the volume.
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz.
    r : numpy.ndarray
        Shape (n_subjects, n_networks, n_lags, n_frequencies): Pearson correlations, averaged over a subject's runs.
    """

    subjects: tuple[str, ...]
    networks: tuple[str, ...]
    lags: np.ndarray
    frequencies: np.ndarray
    r: np.ndarray

    def of(self, network: str, band: str | tuple[int, int], lags: Iterable[int]) -> np.ndarray:
        """Return a network's mean correlation over a band and some lags (s), shape (n_subjects,)."""
        low, high = BANDS[band] if isinstance(band, str) else band
        inside = (self.frequencies >= low) & (self.frequencies <= high)
        rows = np.isin(self.lags, list(lags))
        return self.r[:, self.networks.index(network)][:, rows][:, :, inside].mean(axis=(1, 2))


@lru_cache(maxsize=64)
def power_by_frequency(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Return power per second and Hz, averaged over scalp channels.

    Parameters
    ----------
    recording : Recording
        A usable recording.

    Returns
    -------
    power : numpy.ndarray
        Shape (40, n_seconds), V²/Hz; NaN for seconds that touch a gap of the EEG.
    times : numpy.ndarray
        Shape (n_seconds,): middle of each second, s from the first volume.
    """
    stream = eeg.prepare(recording, EEG_SETTINGS)
    signal = eeg.with_gaps(stream.load(), stream.sfreq, stream.gaps)
    frequencies, density = spectrogram(signal, stream.sfreq, frame=1.0, overlap=0.0)
    rows = np.searchsorted(frequencies, FREQUENCIES - 1e-6)
    power = density[:, rows].mean(axis=0)
    power.flags.writeable = False  # two analyses of a page ask for it
    return power, 0.5 + np.arange(power.shape[1])


def regional_bold(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Return cleaned regional BOLD in percent, shape (n_regions, n_volumes), and the volumes' times in s."""
    stream = bold.prepare(recording, BOLD_SETTINGS)
    series = np.asarray(stream.load(), dtype=float)
    return series, stream.start + np.arange(series.shape[1]) / stream.sfreq


def coupling_maps(recordings: Iterable[Recording], networks: Sequence[str] = ("DAN", "DMN", "sensory")) -> CouplingMaps:
    """Correlate EEG power with the mean BOLD of networks, by lag and frequency.

    Parameters
    ----------
    recordings : iterable of Recording
        Usable runs of one dataset.
    networks : sequence of str
        Keys of `eegfmri.preprocessing.atlas.NETWORKS`.

    Returns
    -------
    CouplingMaps
        One map per subject and network.

    Raises
    ------
    RequestError
        If there is no run, or one is too short for the lags.
    """
    regions, found = network_regions(load_atlas(BOLD_SETTINGS.atlas)), {}
    for recording in recordings:
        power, times = power_by_frequency(recording)
        series, moments = regional_bold(recording)
        courses = np.stack([_mean(series[regions[name]]) for name in networks])
        pairs = np.broadcast_to(power, (len(courses), *power.shape))
        curves, _ = lagged_correlations(pairs, times, courses, moments, LAGS)
        found.setdefault(recording.subject, []).append(curves.transpose(0, 2, 1))
    if not found:
        raise RequestError("There is no recording with EEG and BOLD to correlate: name a dataset that has some.")
    maps = np.stack([np.mean(runs, axis=0) for runs in found.values()])
    return CouplingMaps(tuple(found), tuple(networks), LAGS, FREQUENCIES, maps)


def _mean(rows: np.ndarray) -> np.ndarray:
    """Mean of the rows that are there: a region without signal is 0 throughout."""
    there = rows[rows.std(axis=1) > 0]
    return there.mean(axis=0) if len(there) else rows.mean(axis=0)


def _mean_of_known(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over arrays of one shape, entry by entry of those that are not NaN there; NaN where all are."""
    return np.ma.masked_invalid(arrays).mean(axis=0).filled(np.nan)


def alertness_ratio(recording: Recording, moments: np.ndarray) -> np.ndarray:
    """Return alertness as EEG shows it: alpha over theta power, convolved with the canonical response, at the volumes.

    Parameters
    ----------
    recording : Recording
        A usable recording.
    moments : numpy.ndarray
        Shape (n_volumes,): times of the volumes, s.

    Returns
    -------
    numpy.ndarray
        Shape (n_volumes,), band-passed to `ALERTNESS_PASS`, unit variance; NaN throughout if the EEG has gaps, since response and filter
        carry what lies in a gap through the run.
    """
    from nilearn.glm.first_level import glover_hrf

    power, times = power_by_frequency(recording)
    if np.isnan(power).any():
        return np.full(len(moments), np.nan)
    bands = {
        name: power[(low <= FREQUENCIES) & (high >= FREQUENCIES)].mean(axis=0)
        for name, (low, high) in ALERTNESS.items()
    }
    ratio = bands["alpha"] / bands["theta"]
    kernel = glover_hrf(1.0, oversampling=1, time_length=32.0)
    course = np.convolve(np.concatenate([np.full(len(kernel), ratio.mean()), ratio]), kernel)
    return _passed(np.interp(moments, times, course[len(kernel) :][: len(ratio)])[None], recording.t_r)[0]


def _passed(rows: np.ndarray, t_r: float) -> np.ndarray:
    from nilearn import signal

    low, high = ALERTNESS_PASS
    return signal.clean(rows.T, detrend=True, standardize="zscore_sample", high_pass=low, low_pass=high, t_r=t_r).T


def alertness_series(recordings: Iterable[Recording]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return alertness of each subject as EEG and as BOLD show it.

    BOLD alertness of a volume is its resemblance, over regions, to a template: the mean over the *other* subjects of each region's
    correlation with their EEG ratio. A subject's own EEG never enters its BOLD alertness.

    Parameters
    ----------
    recordings : iterable of Recording
        Usable runs of at least two subjects of one dataset; those whose EEG has gaps are left out.

    Returns
    -------
    dict of str to (numpy.ndarray, numpy.ndarray)
        Per subject, runs one after the other: EEG ratio and BOLD alertness, each of shape (n_volumes,).

    Raises
    ------
    RequestError
        If there are fewer than two subjects with a run without gaps.
    """
    runs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for recording in recordings:
        series, moments = regional_bold(recording)
        ratio = alertness_ratio(recording, moments)
        if np.isnan(ratio).any():
            continue
        series = np.where(series.std(axis=1, keepdims=True) > 0, series, np.nan)
        passed = np.full(series.shape, np.nan)
        there = np.isfinite(series[:, 0])
        passed[there] = _passed(series[there], recording.t_r)
        runs.setdefault(recording.subject, []).append((ratio, passed))
    if len(runs) < 2:
        raise RequestError(
            "Alertness is read from BOLD by a template of other subjects: give two subjects or more whose EEG has no gaps."
        )
    maps = {
        subject: _mean_of_known([passed @ ratio / len(ratio) for ratio, passed in own]) for subject, own in runs.items()
    }
    found = {}
    for subject, own in runs.items():
        template = _mean_of_known([values for other, values in maps.items() if other != subject])
        ratios, read = [], []
        for ratio, passed in own:
            used = np.isfinite(passed[:, 0]) & np.isfinite(template)
            centred = passed[used] - passed[used].mean(axis=0)
            weights = template[used] - template[used].mean()
            read.append(weights @ centred / (np.linalg.norm(weights) * np.linalg.norm(centred, axis=0)))
            ratios.append(ratio)
        found[subject] = (np.concatenate(ratios), np.concatenate(read))
    return found


def connectivity(recordings: Iterable[Recording]) -> dict[str, np.ndarray]:
    """Return each subject's correlation matrix of regional BOLD, mean over runs, shape (n_regions, n_regions); NaN without signal."""
    found: dict[str, list[np.ndarray]] = {}
    for recording in recordings:
        series, _ = regional_bold(recording)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.setdefault(recording.subject, []).append(np.corrcoef(series))
    return {subject: _mean_of_known(matrices) for subject, matrices in found.items()}


def power_connectivity(recording: Recording) -> dict[str, np.ndarray]:
    """Return the correlation of EEG band power between regions of the head, what two regions share at once taken out.

    Regions' currents are estimated by sLORETA from a template head and the electrodes that it has. Since one source reaches many
    estimates at the same instant, each is made orthogonal to the other before their envelopes are correlated :cite:p:`hipp2012`.

    Parameters
    ----------
    recording : Recording
        A usable recording.

    Returns
    -------
    dict of str to numpy.ndarray
        Per band of `eegfmri.preprocessing.eeg.BANDS`, shape (n_regions, n_regions).
    """
    from scipy.signal import hilbert

    stream = eeg.prepare(recording, EEG_SETTINGS)
    names = [name for name in stream.names if _has_position(name)]
    signal = np.asarray(stream.load(), dtype=np.float32)[[stream.names.index(name) for name in names]]
    field = lead_field(names, load_atlas(BOLD_SETTINGS.atlas).centres)
    inverse = inverse_operator(field)
    measured = np.isfinite(eeg.with_gaps(np.zeros(signal.shape[1]), stream.sfreq, stream.gaps))
    kept = np.flatnonzero(measured[::_THINNED]) * _THINNED
    found = {}
    for band, limits in eeg.BANDS.items():
        analytic = hilbert(eeg.band_pass(signal, stream.sfreq, *limits), axis=1)[:, kept]
        sources = (inverse @ analytic).astype(np.complex64)
        size = np.abs(sources)
        unit = np.conj(sources / np.maximum(size, 1e-30))
        logs = standardise(np.log(np.maximum(size, 1e-30)))
        matrix = np.empty((len(sources), len(sources)))
        for seed in range(len(sources)):
            other = np.abs((sources * unit[seed]).imag)
            matrix[seed] = standardise(np.log(np.maximum(other, 1e-30))) @ logs[seed] / logs.shape[1]
        np.fill_diagonal(matrix, 0.0)
        found[band] = (matrix + matrix.T) / 2
    return found


@lru_cache(maxsize=512)
def _has_position(name: str) -> bool:
    """Say whether MNE's template knows an electrode."""
    try:
        electrode_positions([name])
    except RequestError:
        return False
    return True


def resemblance(one: np.ndarray, other: np.ndarray) -> float:
    """Correlate two connectivity matrices over the pairs of regions that both have."""
    upper = np.triu_indices(len(one), 1)
    a, b = one[upper], other[upper]
    there = np.isfinite(a) & np.isfinite(b)
    return float(np.corrcoef(a[there], b[there])[0, 1])


def resemblance_to_others(matrices: Mapping[str, np.ndarray]) -> np.ndarray:
    """Correlate each subject's connectivity with the mean of the others, shape (n_subjects,)."""
    return np.array(
        [
            resemblance(own, _mean_of_known([m for other, m in matrices.items() if other != subject]))
            for subject, own in matrices.items()
        ]
    )
