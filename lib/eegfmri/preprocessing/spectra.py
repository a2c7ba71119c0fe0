"""Spectrograms volume by volume: EEG cut at the scanner's triggers, time and frequency, and the mean over time per band.

A segment is one repetition time of EEG. Inside it a short Fourier transform moves along; what it gives, channel × frequency × time,
is averaged over time, and over the frequencies of a band: channel × band, one such table per volume.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from eegfmri import cache, project
from eegfmri.errors import RequestError
from eegfmri.preprocessing.eeg import BANDS, EegSettings, band_pass, prepare, samples_per_volume, spectral_density
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
    pieces: np.ndarray, sfreq: float, frame: float = 1.08, overlap: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Short Fourier transform inside each segment: Hann frames, mean removed, power spectral density.

    Parameters
    ----------
    pieces : numpy.ndarray
        Shape (..., n_samples), in V.
    sfreq : float
        Hz.
    frame : float, default=1.08
        Length of a frame in s.
    overlap : float, default=0.5
        Share of a frame that the next one repeats, from 0 to below 1.

    Returns
    -------
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz, 1 / frame apart.
    density : numpy.ndarray
        Shape (..., n_frequencies, n_frames), V²/Hz, one-sided. Its mean over frames is Welch's estimate.

    Raises
    ------
    RequestError
        If frame or overlap is out of range.
    """
    pieces = np.asarray(pieces)
    length = round(frame * sfreq)
    if not 2 <= length <= pieces.shape[-1] or not 0 <= overlap < 1:
        raise RequestError(
            f"Frames of {frame:g} s that overlap by {overlap:g} do not fit into {pieces.shape[-1] / sfreq:g} s: make them shorter, "
            "and the overlap at least 0 and below 1."
        )
    step = max(1, length - round(overlap * length))
    frames = np.lib.stride_tricks.sliding_window_view(pieces, length, axis=-1)[..., ::step, :]
    frequencies, density = spectral_density(frames, sfreq)
    return frequencies, np.swapaxes(density, -1, -2)


def band_means(
    frequencies: np.ndarray, density: np.ndarray, bands: Mapping[str, tuple[float, float]] = FOUR_BANDS
) -> np.ndarray:
    """Mean density over the frequencies of each band.

    Parameters
    ----------
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz.
    density : numpy.ndarray
        Shape (..., n_frequencies).
    bands : mapping of str to (float, float)
        Edges in Hz, the upper one exclusive.

    Returns
    -------
    numpy.ndarray
        Shape (..., n_bands).

    Raises
    ------
    RequestError
        If a band holds no frequency.
    """
    means = []
    for name, (low, high) in bands.items():
        inside = (frequencies >= low) & (frequencies < high)
        if not inside.any() or high > frequencies[-1] + (frequencies[1] - frequencies[0]):
            raise RequestError(
                f"The band {name} ({low:g}–{high:g} Hz) cannot be told from frequencies {frequencies[1]:.2g} Hz apart up to "
                f"{frequencies[-1]:g} Hz: choose longer frames or another rate."
            )
        means.append(density[..., inside].mean(axis=-1))
    return np.stack(means, axis=-1)


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
        volume. Volumes whose segment would begin before the EEG does are left out at the start.

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
    if not path.is_file():
        cache.save_array(path, band_table(stream.load(), stream.sfreq, recording.t_r, recording.n_volumes, settings))
    names = tuple(f"{channel} {band}" for channel in stream.names for band, _ in settings.bands)
    return Stream(path, 1 / recording.t_r, names, start=first * recording.t_r, notes=stream.notes)


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
