"""Preparing EEG: from a recorder's file to a clean array at a working rate, and power per band.

Each step is a function on MNE's Raw or on an array; `prepare` strings them together for one recording and keeps the
result on disk.
"""

from dataclasses import asdict, dataclass

import numpy as np

from eegfmri import cache, project
from eegfmri.errors import RequestError
from eegfmri.recordings import Recording, Stream

#: Frequency bands in Hz, lower edge inclusive.
BANDS = {"delta": (1.0, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0), "gamma": (30.0, 45.0)}

#: Recordings sampled at least this fast (Hz) come straight from the scanner, artefacts included.
SCANNER_RATE = 1000.0


@dataclass(frozen=True)
class EegSettings:
    """How EEG is prepared; every field is part of the cache key.

    Attributes
    ----------
    sfreq : float
        Working rate in Hz.
    l_freq, h_freq : float
        Edges of the band-pass in Hz.
    remove_artefacts : bool or None
        Remove gradient and pulse artefacts; None does so for recordings at the scanner's own rate.
    """

    sfreq: float = 100.0
    l_freq: float = 0.5
    h_freq: float = 45.0
    remove_artefacts: bool | None = None


def prepare(recording: Recording, settings: EegSettings | None = None) -> Stream:
    """Prepare one recording's EEG, or find it prepared.

    The steps: open from the first volume on; remove gradient and pulse artefacts where they are; interpolate channels
    the header lacks; resample by a polyphase filter; band-pass by a zero-phase FIR filter; average reference.

    Parameters
    ----------
    recording : Recording
        A usable recording.
    settings : EegSettings or None
        Rate, filter and artefact removal.

    Returns
    -------
    Stream
        Volts, float32, shape (n_channels, n_times).

    Raises
    ------
    DataError
        If the recording is not usable.
    """
    settings = settings or EegSettings()
    recording.require_signals()
    key = cache.digest(
        "eeg",
        [cache.file_stamp(path) for path in recording.files() if path != recording.bold_file],
        recording.first_sample,
        asdict(settings),
        cache.code_digest("eegfmri.eeg"),
        cache.versions("mne", "scipy"),
    )
    path = project.cache_dir() / "eeg" / f"{recording.name}-{key}.npy"
    if not path.is_file():
        raw = recording.raw().load_data(verbose="error")
        scanner = recording.sfreq >= SCANNER_RATE if settings.remove_artefacts is None else settings.remove_artefacts
        if scanner:
            raw = remove_gradient_artefact(raw, recording.t_r, recording.n_volumes)
            raw = remove_pulse_artefact(raw)
        raw = with_channels(raw, recording.scalp_channels)
        data = resample(raw.get_data(), recording.sfreq, settings.sfreq)
        data = band_pass(data, settings.sfreq, settings.l_freq, settings.h_freq)
        cache.save_array(path, average_reference(data).astype(np.float32))
    return Stream(path, settings.sfreq, recording.scalp_channels)


def remove_gradient_artefact(raw, t_r: float, n_volumes: int):
    """Subtract the average gradient artefact around each volume :cite:p:`allen2000`.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Loaded, starting with the first volume.
    t_r : float
        Repetition time in s; must be a whole number of samples.
    n_volumes : int
        Number of volumes.

    Returns
    -------
    mne.io.BaseRaw
        A copy without the artefact.
    """
    from mne.preprocessing import remove_fmri_gradient_artifact

    starts = raw.first_samp + np.round(np.arange(n_volumes) * t_r * raw.info["sfreq"]).astype(int)
    starts = starts[starts < raw.first_samp + raw.n_times]
    return remove_fmri_gradient_artifact(raw, starts, tr_tol=1, picks=["eeg", "eog", "ecg"], verbose="error")


def remove_pulse_artefact(raw, n_components: int = 4):
    """Remove the pulse artefact by optimal basis sets on the heart's beats :cite:p:`niazy2005`.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Loaded; without an ECG channel it is returned as it is.
    n_components : int, default=4
        Number of principal components of the artefact to subtract.

    Returns
    -------
    mne.io.BaseRaw
        A copy without the artefact, or ``raw``.
    """
    from mne.preprocessing import apply_pca_obs, find_ecg_events

    if "ecg" not in raw.get_channel_types():
        return raw
    beats = find_ecg_events(raw, verbose="error")[0][:, 0] - raw.first_samp
    if len(beats) < 2:
        return raw
    return apply_pca_obs(
        raw,
        picks=raw.copy().pick("eeg").ch_names,
        qrs_times=beats / raw.info["sfreq"],
        n_components=n_components,
        verbose="error",
    )


def with_channels(raw, ch_names: tuple[str, ...]):
    """Pick channels in a given order; those that are lacking are interpolated by spherical splines.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Loaded; channels under canonical names of the extended 10–20 system.
    ch_names : tuple of str
        The channels wanted.

    Returns
    -------
    mne.io.BaseRaw
        Exactly these channels, in this order.
    """
    import mne

    raw = raw.copy().pick([name for name in ch_names if name in raw.ch_names])
    lacking = [name for name in ch_names if name not in raw.ch_names]
    if lacking:
        empty = mne.io.RawArray(
            np.zeros((len(lacking), raw.n_times)),
            mne.create_info(lacking, raw.info["sfreq"], "eeg"),
            raw.first_samp,
            verbose="error",
        )
        raw = raw.add_channels([empty], force_update_info=True)
        raw.set_montage("standard_1020", match_case=False, verbose="error")
        raw.info["bads"] = lacking
        raw.interpolate_bads(verbose="error")
    return raw.reorder_channels(list(ch_names))


def resample(data: np.ndarray, sfreq: float, new_sfreq: float) -> np.ndarray:
    """Resample along time by a polyphase filter.

    Parameters
    ----------
    data : numpy.ndarray
        Shape (..., n_times).
    sfreq, new_sfreq : float
        Rates in Hz; their ratio must be rational with a denominator up to 1000.

    Returns
    -------
    numpy.ndarray
        Shape (..., ceil(n_times * new_sfreq / sfreq)).
    """
    from fractions import Fraction

    from scipy.signal import resample_poly

    ratio = Fraction(new_sfreq / sfreq).limit_denominator(1000)
    if ratio == 1:
        return data
    return resample_poly(data, ratio.numerator, ratio.denominator, axis=-1, padtype="line")


def band_pass(data: np.ndarray, sfreq: float, l_freq: float | None, h_freq: float | None) -> np.ndarray:
    """Band-pass with MNE's zero-phase FIR filter; its reach is 1.65 / l_freq seconds to each side."""
    from mne.filter import filter_data

    h_freq = None if h_freq is not None and h_freq >= sfreq / 2 else h_freq
    return filter_data(np.asarray(data, dtype=float), sfreq, l_freq, h_freq, verbose="error")


def average_reference(data: np.ndarray) -> np.ndarray:
    """Subtract the mean over channels, shape (..., n_channels, n_times)."""
    return data - data.mean(axis=-2, keepdims=True)


def band_power(
    eeg: np.ndarray, sfreq: float, bands: dict[str, tuple[float, float]] = BANDS, seconds: float = 4.0
) -> np.ndarray:
    """Mean spectral density per band, by Welch's method.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (..., n_times), in V.
    sfreq : float
        Sampling frequency in Hz.
    bands : dict of str to (float, float)
        Band edges in Hz, upper edge exclusive.
    seconds : float, default=4.0
        Length of Welch's segments in s, half overlapping.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_bands), in dB relative to 1 µV²/Hz.

    Raises
    ------
    RequestError
        If a band lies above half the sampling frequency.
    """
    from scipy.signal import welch

    highest = max(high for _, high in bands.values())
    if highest > sfreq / 2:
        raise RequestError(
            f"Power up to {highest:g} Hz cannot be had from EEG at {sfreq:g} Hz: prepare it at {2 * highest:g} Hz or more."
        )
    frequencies, density = welch(eeg, sfreq, nperseg=min(round(seconds * sfreq), eeg.shape[-1]), axis=-1)
    power = [density[..., (frequencies >= low) & (frequencies < high)].mean(axis=-1) for low, high in bands.values()]
    return 10 * np.log10(np.stack(power, axis=-1) * 1e12 + 1e-12)


def whitening(windows: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
    """Inverse square root of the mean spatial covariance, for Euclidean alignment :cite:p:`he2020`.

    With the windows Xᵢ of one person, R = mean of Xᵢ Xᵢᵀ / n_times; the result is R^(-1/2) on the range of R and 0 outside
    it. An average reference takes one dimension away, so R has no inverse; there is nothing there to whiten either.

    Parameters
    ----------
    windows : numpy.ndarray
        Shape (n_windows, n_channels, n_times); windows that hold a NaN are left out.
    tolerance : float, default=1e-9
        Eigenvalues below this share of the largest count as 0.

    Returns
    -------
    numpy.ndarray
        Shape (n_channels, n_channels), symmetric, in 1/V for windows in V.

    Raises
    ------
    RequestError
        If no window without a gap is left, or all are 0.
    """
    windows = np.asarray(windows)
    whole = ~np.isnan(windows).any(axis=(1, 2))
    if not whole.any():
        raise RequestError(f"None of {len(windows)} windows is free of gaps: alignment needs at least one.")
    covariance = np.zeros((windows.shape[1],) * 2)
    for window in windows[whole]:
        window = window.astype(float)
        covariance += window @ window.T / window.shape[1]
    values, vectors = np.linalg.eigh(covariance / whole.sum())
    kept = values > tolerance * values[-1]
    if values[-1] <= 0:
        raise RequestError("The windows are 0 throughout: alignment needs signals.")
    return (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
