"""Power of EEG over frequency and time.

Two estimates, both scipy's, serve everything: `spectrogram`, the density in each of many short frames, and `power_spectrum`, its
mean over frames after Welch. `band_means` averages either over the frequencies of bands; `band_power` describes a window by the one,
`volume_band_power` each volume by the other.

`prepare_spectrograms` makes one table of channel × band per volume: a segment is one repetition time of EEG, cut at the scanner's
triggers; short frames move along inside it, and their density is averaged over time and over the frequencies of a band.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from scipy import fft

from eegfmri import cache, project
from eegfmri.errors import RequestError
from eegfmri.preprocessing.eeg import BANDS, EegSettings, band_pass, prepare, with_gaps
from eegfmri.recordings import Recording, Stream

#: The four bands of Bruno et al. 2025, in Hz.
FOUR_BANDS = {name: BANDS[name] for name in ("delta", "theta", "alpha", "beta")}

#: dB relative to 1 µV²/Hz at which power ends: a thousandth of an amplifier's noise, and what a dead channel has.
SILENCE = -60.0


#: The EEG's own preparation: 1 to 30 Hz, at the rate of the export.
PASS_BAND = EegSettings(sfreq=250.0, l_freq=1.0, h_freq=30.0)


@dataclass(frozen=True)
class SpectrogramSettings:
    """How spectrograms are made; every field is part of the cache key.

    Attributes
    ----------
    eeg : EegSettings
        Rate, pass-band, artefact removal and reference of the continuous EEG.
    filtered : {"before", "after"}
        Band-pass before the EEG is cut, as is meant, or each segment by itself afterwards, as is printed: a filter from 1 Hz on is longer
        than a segment, so that most of what it sees is the segment mirrored at its ends.
    lag : float
        A volume's segment begins this much before the volume, in s.
    frame : float
        Length of a short Fourier transform in s; frequencies are its inverse apart.
    overlap : float
        Share of a frame that the next one repeats.
    bands : tuple of (str, (float, float))
        Names and edges in Hz, the upper one exclusive.
    decibels : bool
        Power in dB relative to 1 µV²/Hz; else in µV²/Hz.
    """

    eeg: EegSettings = PASS_BAND
    filtered: Literal["before", "after"] = "before"
    lag: float = 0.0
    frame: float = 1.08
    overlap: float = 0.5
    bands: tuple[tuple[str, tuple[float, float]], ...] = tuple(FOUR_BANDS.items())
    decibels: bool = True


def single_frequencies(
    l_freq: float, h_freq: float, frame: float = 1.08
) -> tuple[tuple[str, tuple[float, float]], ...]:
    """Bands of one frequency each: all that a short Fourier transform tells apart within a pass-band.

    Parameters
    ----------
    l_freq, h_freq : float
        The pass-band in Hz.
    frame : float, default=1.08
        Length of the transform in s, see `SpectrogramSettings`.

    Returns
    -------
    tuple of (str, (float, float))
        For `SpectrogramSettings`, a name such as ``"9.26 Hz"`` and edges in Hz.

    Raises
    ------
    RequestError
        If no frequency lies inside.
    """
    first, last = math.ceil(l_freq * frame - 1e-9), math.floor(h_freq * frame + 1e-9)
    if last < max(first, 1):
        raise RequestError(
            f"A transform of {frame:g} s has no frequency from {l_freq:g} to {h_freq:g} Hz: they are {1 / frame:.3g} Hz apart."
        )
    return tuple(
        (f"{number / frame:.2f} Hz", ((number - 0.5) / frame, (number + 0.5) / frame))
        for number in range(max(first, 1), last + 1)
    )


def samples_per_volume(t_r: float, sfreq: float) -> int:
    """Return how many samples a volume lasts.

    Parameters
    ----------
    t_r, sfreq : float
        s and Hz.

    Returns
    -------
    int
        At least 2.

    Raises
    ------
    RequestError
        If it is not a whole number.
    """
    length = round(t_r * sfreq)
    if length < 2 or abs(t_r * sfreq - length) > 1e-6 * length:
        raise RequestError(
            f"A volume of {t_r:g} s is {t_r * sfreq:g} samples at {sfreq:g} Hz: resample to a rate at which it is a whole number."
        )
    return length


def segments(eeg: np.ndarray, sfreq: float, t_r: float, n_volumes: int, lag: float = 0.0) -> tuple[int, np.ndarray]:
    """Cut EEG into one segment per volume.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (..., n_times), starting with the first volume.
    sfreq : float
        Hz.
    t_r : float
        Repetition time in s, a whole number of samples.
    n_volumes : int
        Number of volumes.
    lag : float, default=0.0
        Segments begin this much before their volumes, in s.

    Returns
    -------
    first : int
        Number of the first volume whose segment the EEG covers.
    segments : numpy.ndarray
        Shape (..., n_segments, n_samples), for this volume and those that follow as far as the EEG goes; a view where possible.

    Raises
    ------
    RequestError
        If a volume is not a whole number of samples, or no segment is covered.
    """
    length = samples_per_volume(t_r, sfreq)
    shift, n_times = round(lag * sfreq), np.shape(eeg)[-1]
    first = max(0, -(-shift // length))  # segments of earlier volumes begin before the EEG does
    count = min(n_volumes - first, (n_times + shift) // length - first)
    if count < 1:
        raise RequestError(
            f"{n_times} samples at {sfreq:g} Hz cover no segment of {t_r:g} s that begins {lag:g} s before its volume: change the lag."
        )
    start = first * length - shift
    cut = np.asarray(eeg)[..., start : start + count * length]
    return first, cut.reshape(*cut.shape[:-1], count, length)


def spectrogram(
    eeg: np.ndarray, sfreq: float, frame: float = 1.08, overlap: float = 0.5, taper: str | np.ndarray = "hann"
) -> tuple[np.ndarray, np.ndarray]:
    """Power spectral density in short frames, one after the other.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (..., n_times), in V; gaps are NaN.
    sfreq : float
        Hz.
    frame : float, default=1.08
        Length of a frame in s.
    overlap : float, default=0.5
        Share of a frame that the next one repeats, from 0 to below 1.
    taper : str or numpy.ndarray, default="hann"
        Window function, as scipy.signal names it, or its samples.

    Returns
    -------
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz, 1 / frame apart.
    density : numpy.ndarray
        Shape (..., n_frequencies, n_frames), V²/Hz, one-sided, each frame's mean removed; NaN for frames that hold a gap. Its mean over
        frames is Welch's estimate.

    Raises
    ------
    RequestError
        If frame or overlap is out of range.
    """
    from scipy import signal

    eeg = np.asarray(eeg)
    length = round(frame * sfreq)
    if not 2 <= length <= eeg.shape[-1] or not 0 <= overlap < 1:
        raise RequestError(
            f"Frames of {frame:g} s that overlap by {overlap:g} do not fit into {eeg.shape[-1] / sfreq:g} s: make them shorter, "
            "and the overlap at least 0 and below 1."
        )
    n_overlap = min(round(overlap * length), length - 1)
    frequencies, _, density = signal.spectrogram(eeg, sfreq, taper, length, n_overlap, detrend="constant")
    return frequencies, density


def power_spectrum(eeg: np.ndarray, sfreq: float, seconds: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Power spectral density by Welch's method: the mean over Hann frames that overlap by half.

    MNE's ``psd_array_welch`` would lay frames anew after every gap, and shorter ones into what is shorter than a frame. Here frames
    that hold a gap are left out and the others stay where they are, so that all of a row's frequencies come from like frames.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (..., n_times), in V; gaps are NaN.
    sfreq : float
        Hz.
    seconds : float, default=4.0
        Length of a frame; that of the signal if it is shorter.

    Returns
    -------
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz, 1 / ``seconds`` apart.
    density : numpy.ndarray
        Shape (..., n_frequencies), V²/Hz, one-sided; NaN where gaps leave no frame.

    Examples
    --------
    White noise of 10 µV has its power spread evenly from 0 Hz to half the rate, (10 µV)² / 50 Hz:

    >>> import numpy as np
    >>> noise = 10 * np.random.default_rng(0).standard_normal(60_000)
    >>> frequencies, density = power_spectrum(noise, 100.0)
    >>> print(frequencies[1], round(float(density[1:-1].mean()), 1))
    0.25 2.0
    """
    from scipy import signal

    eeg = np.asarray(eeg)
    length = min(round(seconds * sfreq), eeg.shape[-1])
    if not np.isnan(eeg).any():
        return signal.welch(eeg, sfreq, nperseg=length)
    frequencies, pieces = spectrogram(eeg, sfreq, length / sfreq, (length // 2) / length)
    count = (~np.isnan(pieces)).sum(axis=-1)
    return frequencies, np.where(count > 0, np.nansum(pieces, axis=-1) / np.maximum(count, 1), np.nan)


def autocorrelation(signal: np.ndarray, n_lags: int) -> np.ndarray:
    """Return the autocorrelation of signals that are zero before and after.

    The energy that any filter of ``n_lags`` samples lets through follows from it alone (Wiener and Khinchin).

    Parameters
    ----------
    signal : numpy.ndarray
        Shape (…, n_times); the mean is not taken off.
    n_lags : int
        Lags 0 to ``n_lags`` − 1, in samples.

    Returns
    -------
    numpy.ndarray
        Shape (…, n_lags), in the signal's unit squared: sums of products divided by ``n_times``, so that lag 0 holds the mean square.
    """
    n_times = signal.shape[-1]
    n_fast = fft.next_fast_len(n_times + n_lags - 1, real=True)
    spectrum = fft.rfft(signal, n_fast, axis=-1)
    return fft.irfft(spectrum.real**2 + spectrum.imag**2, n_fast, axis=-1)[..., :n_lags] / n_times


def band_means(
    frequencies: np.ndarray, density: np.ndarray, bands: Mapping[str, tuple[float, float]] = FOUR_BANDS, axis: int = -1
) -> np.ndarray:
    """Mean density over the frequencies of each band.

    Parameters
    ----------
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz.
    density : numpy.ndarray
        Shape (..., n_frequencies), or with frequencies along another axis.
    bands : mapping of str to (float, float)
        Edges in Hz, the upper one exclusive.
    axis : int, default=-1
        Of the frequencies.

    Returns
    -------
    numpy.ndarray
        Bands in place of frequencies.

    Raises
    ------
    RequestError
        If a band holds no frequency, or ends above the highest.

    Examples
    --------
    >>> import numpy as np
    >>> frequencies = np.arange(0.0, 31.0)
    >>> band_means(frequencies, frequencies, {"alpha": (8.0, 13.0), "beta": (13.0, 30.0)}).tolist()
    [10.0, 21.0]
    """
    density, means = np.moveaxis(density, axis, -1), []
    for name, (low, high) in bands.items():
        inside = (frequencies >= low) & (frequencies < high)
        if not inside.any() or high > frequencies[-1] + (frequencies[1] - frequencies[0]) / 2:
            raise RequestError(
                f"The band {name} ({low:g}–{high:g} Hz) cannot be told from frequencies {frequencies[1]:.2g} Hz apart up to "
                f"{frequencies[-1]:g} Hz: choose longer frames or another rate."
            )
        means.append(density[..., inside].mean(axis=-1))
    return np.stack(means, axis=axis)


def band_power(
    eeg: np.ndarray, sfreq: float, bands: Mapping[str, tuple[float, float]] = BANDS, seconds: float = 4.0
) -> np.ndarray:
    """Mean spectral density per band, by `power_spectrum`.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (..., n_times), in V; gaps are NaN.
    sfreq : float
        Hz.
    bands : mapping of str to (float, float)
        Edges in Hz, the upper one exclusive.
    seconds : float, default=4.0
        Length of Welch's frames.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_bands), in dB relative to 1 µV²/Hz; NaN where gaps leave no frame.

    Raises
    ------
    RequestError
        If a band holds no frequency of the spectrum, or lies above half the rate.
    """
    return 10 * np.log10(band_means(*power_spectrum(eeg, sfreq, seconds), bands) * 1e12 + 1e-12)


def volume_spectra(
    eeg: np.ndarray, sfreq: float, t_r: float, n_volumes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Power spectral density during each volume: the spectrogram whose frames are the volumes.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (..., n_times), in V, starting with the first volume; gaps are NaN.
    sfreq : float
        Hz.
    t_r : float
        Repetition time in s, a whole number of samples.
    n_volumes : int or None
        Number of volumes; all that the signal covers whole if None.

    Returns
    -------
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz, 1 / t_r apart.
    density : numpy.ndarray
        Shape (..., n_frequencies, n_volumes), V²/Hz, one-sided; NaN for volumes that hold a gap.

    Raises
    ------
    RequestError
        If a volume is not a whole number of samples, or the signal is shorter than the volumes.
    """
    eeg = np.asarray(eeg)
    length = samples_per_volume(t_r, sfreq)
    n_volumes = eeg.shape[-1] // length if n_volumes is None else n_volumes
    if n_volumes * length > eeg.shape[-1] or n_volumes < 1:
        raise RequestError(
            f"{eeg.shape[-1]} samples at {sfreq:g} Hz do not cover {n_volumes} volumes of {t_r:g} s: give fewer."
        )
    return spectrogram(eeg[..., : n_volumes * length], sfreq, t_r, overlap=0.0)


def volume_band_power(
    eeg: np.ndarray,
    sfreq: float,
    t_r: float,
    n_volumes: int | None = None,
    bands: Mapping[str, tuple[float, float]] = BANDS,
) -> np.ndarray:
    """Mean spectral density per band during each volume.

    Parameters
    ----------
    eeg, sfreq, t_r, n_volumes
        As for `volume_spectra`.
    bands : mapping of str to (float, float)
        Edges in Hz, the upper one exclusive; each must hold a frequency, which are 1 / t_r apart.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_bands, n_volumes), V²/Hz; NaN for volumes that hold a gap.

    Raises
    ------
    RequestError
        As `volume_spectra` and `band_means`.
    """
    frequencies, density = volume_spectra(eeg, sfreq, t_r, n_volumes)
    return band_means(frequencies, density, bands, axis=-2)


def prepare_spectrograms(recording: Recording, settings: SpectrogramSettings | None = None) -> Stream:
    """Make one recording's table of channel × band for every volume, or find it made.

    Parameters
    ----------
    recording : Recording
        A usable recording.
    settings : SpectrogramSettings or None
        Preparation of the EEG, cut and transform.

    Returns
    -------
    Stream
        Rows are channels and bands (``"Oz alpha"``), band after band within a channel; one sample per volume, which starts with the
        volume. Volumes whose segment would begin before the EEG does are left out at the start; those whose segment touches a gap are NaN.

    Raises
    ------
    DataError
        If the recording is not usable.
    RequestError
        If the settings do not fit the EEG.
    """
    settings = settings or SpectrogramSettings()
    if settings.filtered not in ("before", "after"):
        raise RequestError(f"EEG is filtered 'before' it is cut or 'after', not {settings.filtered!r}.")
    recording.require_signals()
    continuous = settings.eeg
    if settings.filtered == "after":
        continuous = replace(continuous, l_freq=None, h_freq=None)
    stream = prepare(recording, continuous)
    key = cache.digest(
        "spectrograms",
        cache.file_stamp(stream.path)[1:],
        stream.path.name,
        recording.t_r,
        recording.n_volumes,
        asdict(settings),
        cache.code_digest(__name__),
        cache.versions("mne", "scipy"),
    )
    path = project.cache_dir() / "spectrograms" / f"{recording.name}-{key}.npy"
    first, _ = segments(stream.load(), stream.sfreq, recording.t_r, recording.n_volumes, settings.lag)

    def make() -> np.ndarray:
        signal = with_gaps(stream.load(), stream.sfreq, stream.gaps) if stream.gaps else stream.load()
        return band_table(signal, stream.sfreq, recording.t_r, recording.n_volumes, settings)

    cache.kept_array(path, make)
    names = tuple(f"{channel} {band}" for channel in stream.names for band, _ in settings.bands)
    # a segment lies this much before its volume, whose time the stream keeps
    gaps = tuple((onset + settings.lag, duration) for onset, duration in stream.gaps)
    return Stream(path, 1 / recording.t_r, names, start=first * recording.t_r, notes=stream.notes, gaps=gaps)


def band_table(eeg: np.ndarray, sfreq: float, t_r: float, n_volumes: int, settings: SpectrogramSettings) -> np.ndarray:
    """Go from continuous EEG to channel × band for every volume.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (n_channels, n_times), in V, starting with the first volume.
    sfreq, t_r : float
        Hz and s.
    n_volumes : int
        Number of volumes.
    settings : SpectrogramSettings
        Cut and transform; the EEG's own settings matter only if it is filtered after the cut.

    Returns
    -------
    numpy.ndarray
        Shape (n_channels × n_bands, n_segments), float32.
    """
    bands, rows = dict(settings.bands), []
    for channel in np.asarray(eeg):  # one channel at a time: overlapping frames of all of them would fill the memory
        _, pieces = segments(channel, sfreq, t_r, n_volumes, settings.lag)
        if settings.filtered == "after":
            pieces = band_pass(pieces, sfreq, settings.eeg.l_freq, settings.eeg.h_freq)
        frequencies, density = spectrogram(pieces, sfreq, settings.frame, settings.overlap)
        rows.append(band_means(frequencies, density.mean(axis=-1), bands).T)  # (n_bands, n_segments)
    power = 1e12 * np.concatenate(rows)
    if settings.decibels:
        power = 10 * np.log10(np.maximum(power.astype(float), 10 ** (SILENCE / 10)))
    return power.astype(np.float32)
