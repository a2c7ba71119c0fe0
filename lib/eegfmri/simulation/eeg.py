"""EEG from planted power: carriers in each band, the lead field, background, eyes, heart, sensors.

Everything the brain does is made at 125 Hz (it ends at 45 Hz) and brought to the file's rate piece by piece, so that a run
at 5000 Hz never lies in memory whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eegfmri.simulation.activity import POWER_RATE, Activity, Traits
from eegfmri.simulation.artefacts import MODEL_RATE, Gradient, motion_voltage, pulse_artefact
from eegfmri.simulation.body import Body
from eegfmri.simulation.parameters import BANDS, GROUPS, Acquisition, Preset
from eegfmri.simulation.sources import Head, Regions

#: Spread of a spindle's spectrum around its frequency in Hz.
SPINDLE_WIDTH = 0.6

_PIECE_SECONDS = 20.0
_MARGIN_SECONDS = 1.0


@dataclass(frozen=True)
class Slow:
    """A run's EEG at `MODEL_RATE`, before sensors and scanner.

    Attributes
    ----------
    start : float
        Time of the first sample in s from the first volume.
    scalp : numpy.ndarray
        Shape (n_channels, n_times), volts against the reference: brain, eyes, heart's field, motion in the magnet.
    pulse : numpy.ndarray
        Shape (n_channels, n_times), volts: pulse artefact, kept apart because exports are corrected for it.
    blinks, gaze : numpy.ndarray
        Shape (n_times,), volts: what a vertical and a horizontal electrooculogram see.
    heart : numpy.ndarray
        Shape (n_times,), volts: electrocardiogram.
    """

    start: float
    scalp: np.ndarray
    pulse: np.ndarray
    blinks: np.ndarray
    gaze: np.ndarray
    heart: np.ndarray


def make_eeg(
    preset: Preset,
    regions: Regions,
    acquisition: Acquisition,
    head: Head,
    traits: Traits,
    activity: Activity,
    body: Body,
    start: float,
    rng: np.random.Generator,
    evoked: np.ndarray | None = None,
    noise: float = 1.0,
) -> Slow:
    """Make a run's EEG from its planted power.

    Parameters
    ----------
    preset : Preset
        Strengths.
    regions, acquisition, head, traits : Regions, Acquisition, Head, Traits
        Sources, whether eyes are open, fields, the subject.
    activity : Activity
        Planted power; it may begin before the EEG does.
    body : Body
        Heart beats, breath and head motion, on the same grid as the power.
    start : float
        First time of the EEG in s from the first volume (negative: the lead-in).
    rng : numpy.random.Generator
        Random number generator.
    evoked : numpy.ndarray or None
        Shape (n_regions, n_times) at `MODEL_RATE` from ``start`` on: dipole moments of evoked responses, nAm.
    noise : float, default=1.0
        The subject's factor on the background.

    Returns
    -------
    Slow
        Signals.
    """
    skipped = round((start - activity.start) * POWER_RATE)
    n_power = activity.stage_weights.shape[1] - skipped
    upsampling = int(MODEL_RATE / POWER_RATE)
    n_times = n_power * upsampling
    scalp = np.zeros((len(head.electrodes), n_times), dtype=np.float32)
    for band in BANDS:
        moment = np.array([preset.at("moment", band, group) for group in regions.groups]) * 1e-9
        moment = moment * np.exp(traits.log_power[band] / 2)
        envelope = np.sqrt(activity.power[band][:, skipped:])
        source = _carriers(preset, regions, traits, band, n_times, rng)
        source *= _upsample_linear(envelope, upsampling)
        scalp += (head.lead_field * moment).astype(np.float32) @ source
    if evoked is not None:
        scalp += (head.lead_field * 1e-9).astype(np.float32) @ evoked[:, :n_times].astype(np.float32)
    scalp += np.float32(noise) * _background(preset, head, traits, n_times, rng)

    times = start + np.arange(n_times) / MODEL_RATE
    blinks, gaze = _eyes(preset, acquisition, activity, times, rng)
    scalp += np.outer(head.eye_field, 0.5 * (blinks + gaze)).astype(np.float32)
    waves = _heart(body.beats, times)
    scalp += np.outer(head.heart_field, preset.cardiac_field * 1e-6 * waves).astype(np.float32)
    scalp += motion_voltage(preset, head, body, times, rng)
    return Slow(
        start,
        scalp,
        pulse_artefact(preset, head, body.beats, times, rng),
        blinks,
        gaze,
        preset.r_peak * 1e-6 * waves,
    )


def _carriers(
    preset: Preset, regions: Regions, traits: Traits, band: str, n_times: int, rng: np.random.Generator
) -> np.ndarray:
    """Noise of unit variance around a band, partly shared inside each group, shape (n_regions, n_times).

    Spectra are bell-shaped: over log frequency with half their peak power at the band's edges, so that neighbouring bands
    join without a step; for alpha and spindles over frequency, around the subject's own.
    """
    from scipy.fft import irfft, next_fast_len, rfftfreq

    n_fft = next_fast_len(n_times, real=True)
    frequencies = rfftfreq(n_fft, 1 / MODEL_RATE)
    low, high = BANDS[band]
    kept = (frequencies > 0.4) & (frequencies < 55)
    f = frequencies[kept]
    if band in ("alpha", "sigma"):
        centre, width = (
            (traits.alpha_frequency, preset.alpha_width)
            if band == "alpha"
            else (traits.spindle_frequency, SPINDLE_WIDTH)
        )
        distance = (f - centre) / width
    else:
        # half power at the edges: exp(-d²/2) = 1/2
        distance = np.log(f / np.sqrt(low * high)) * 2 * np.sqrt(2 * np.log(2)) / np.log(high / low)
    shape = np.exp(-0.25 * distance**2)  # amplitude: the square root of power
    shape[shape < 0.02] = 0
    kept[kept] = shape > 0
    shape = shape[shape > 0]
    shape = shape / np.sqrt((shape**2).sum())
    parts = rng.standard_normal((len(GROUPS) + len(regions.groups), 2, kept.sum()), dtype=np.float32)
    white = parts[:, 0] + 1j * parts[:, 1]
    codes = [GROUPS.index(group) for group in regions.groups]
    mixed = (
        np.sqrt(preset.coherence) * white[: len(GROUPS)][codes] + np.sqrt(1 - preset.coherence) * white[len(GROUPS) :]
    )
    spectrum = np.zeros((len(regions.groups), len(frequencies)), dtype=np.complex64)
    spectrum[:, kept] = mixed * (shape * n_fft / 2).astype(np.float32)
    return irfft(spectrum, n_fft, axis=1)[:, :n_times]


def _upsample_linear(series: np.ndarray, factor: int) -> np.ndarray:
    """Interpolate linearly between samples, holding the last, shape (n_series, n_samples × factor)."""
    following = np.concatenate([series[:, 1:], series[:, -1:]], axis=1)
    share = (np.arange(factor) / factor).astype(np.float32)
    fine = series[:, :, None] + (following - series)[:, :, None] * share
    return fine.reshape(len(series), -1)


def _background(preset: Preset, head: Head, traits: Traits, n_times: int, rng: np.random.Generator) -> np.ndarray:
    """1/f background at the scalp, shape (n_channels, n_times), volts.

    Many independent sources with one spectrum, seen through the lead field L, are Gaussian noise with spatial covariance
    L Lᵀ: it is drawn so directly.
    """
    from scipy.fft import irfft, next_fast_len, rfftfreq

    n_channels = len(head.electrodes)
    covariance = head.lead_field @ head.lead_field.T
    covariance *= preset.background_shared * n_channels / np.trace(covariance)
    covariance += (1 - preset.background_shared) * np.eye(n_channels)
    mixing = np.linalg.cholesky(covariance).astype(np.float32)
    n_fft = next_fast_len(n_times, real=True)
    frequencies = rfftfreq(n_fft, 1 / MODEL_RATE)
    kept = frequencies > 0.2
    shape = frequencies[kept] ** (-traits.background_exponent / 2)
    shape *= preset.background * 1e-6 / np.sqrt((shape**2).sum())
    parts = rng.standard_normal((n_channels, 2, kept.sum()), dtype=np.float32)
    spectrum = np.zeros((n_channels, len(frequencies)), dtype=np.complex64)
    spectrum[:, kept] = mixing @ ((parts[:, 0] + 1j * parts[:, 1]) * (shape * n_fft / 2).astype(np.float32))
    return irfft(spectrum, n_fft, axis=1)[:, :n_times]


def _eyes(
    preset: Preset, acquisition: Acquisition, activity: Activity, times: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blinks and slow rolling movements as electrodes beside the eyes see them, each of shape (n_times,), volts."""
    from scipy.signal import butter, sosfiltfilt

    power_times = activity.times
    slow = sosfiltfilt(
        butter(2, (0.1, 0.5), "bandpass", fs=POWER_RATE, output="sos"), rng.standard_normal(len(power_times))
    )
    slow *= activity.by_stage(preset.slow_eye_movement) / slow.std()
    gaze = np.interp(times, power_times, slow)
    per_minute = dict(preset.blinks_per_minute)
    if acquisition.eyes_open and per_minute["W"]:
        per_minute["W"] = preset.eyes_open_blinks
    rate = np.interp(times, power_times, activity.by_stage(per_minute)) / 60 / MODEL_RATE
    width = int(0.4 * MODEL_RATE)
    shape = np.hanning(width) ** 2
    blinks = np.zeros(len(times))
    for sample in np.flatnonzero(rng.random(len(times)) < rate):
        span = slice(sample, min(sample + width, len(times)))
        blinks[span] += preset.blink * rng.uniform(0.7, 1.3) * shape[: span.stop - span.start]
    return blinks * 1e-6, gaze * 1e-6


def _heart(beats: np.ndarray, times: np.ndarray) -> np.ndarray:
    """An electrocardiogram with R peaks of 1, shape (n_times,)."""
    t = np.arange(-0.3, 0.5, 1 / MODEL_RATE)
    wave = sum(
        height * np.exp(-0.5 * ((t - at) / width) ** 2)
        for at, height, width in (
            (-0.17, 0.12, 0.025),
            (-0.03, -0.12, 0.010),
            (0.0, 1.0, 0.012),
            (0.03, -0.2, 0.012),
            (0.26, 0.25, 0.05),
        )
    )
    centre = round(0.3 * MODEL_RATE)
    course = np.convolve(_impulses(beats, times, np.ones(len(beats))), wave)
    return course[centre : centre + len(times)]


def _impulses(at: np.ndarray, times: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """One impulse per event inside the span of ``times``."""
    samples = np.round((at - times[0]) * MODEL_RATE).astype(int)
    inside = (samples >= 0) & (samples < len(times))
    impulses = np.zeros(len(times))
    np.add.at(impulses, samples[inside], heights[inside])
    return impulses


def pieces(
    preset: Preset,
    acquisition: Acquisition,
    slow: np.ndarray,
    sfreq: float,
    rng: np.random.Generator,
    gradient: Gradient | None = None,
    spare: int = 0,
    noise: float = 1.0,
) -> Iterator[np.ndarray]:
    """Bring a run to the file's rate and add the sensors and the scanner, piece by piece.

    Parameters
    ----------
    preset : Preset
        Sensor noise and mains.
    acquisition : Acquisition
        Frequency of the mains.
    slow : numpy.ndarray
        Shape (n_channels, n_times): the run at `MODEL_RATE`, volts.
    sfreq : float
        Rate of the file in Hz, a multiple of `MODEL_RATE`.
    rng : numpy.random.Generator
        Random number generator.
    gradient : Gradient or None
        Gradient artefact at the file's rate, for as many channels.
    spare : int, default=0
        Channels at the end without sensor noise and mains (levels of markers).
    noise : float, default=1.0
        The subject's factor on the sensor noise.

    Yields
    ------
    numpy.ndarray
        Shape (n_channels, n_times of the piece), float32, volts; together the whole run.
    """
    from scipy.signal import resample_poly

    factor = round(sfreq / MODEL_RATE)
    n_channels, n_slow = slow.shape
    size, margin = int(_PIECE_SECONDS * MODEL_RATE), int(_MARGIN_SECONDS * MODEL_RATE)
    noisy = n_channels - spare
    phases = rng.uniform(0, 2 * np.pi, (noisy, 1))
    hum = preset.mains * 1e-6 * rng.uniform(0.5, 1.5, (noisy, 1))
    for begin in range(0, n_slow, size):
        end = min(begin + size, n_slow)
        low, high = max(0, begin - margin), min(n_slow, end + margin)
        fine = resample_poly(slow[:, low:high], factor, 1, axis=1, padtype="line") if factor > 1 else slow[:, low:high]
        piece = fine[:, (begin - low) * factor : (end - low) * factor].astype(np.float32)
        # white noise of a fixed density: a file with a higher rate holds more of it
        white = np.float32(noise * preset.sensor_noise * 1e-6 * np.sqrt(sfreq / 250.0))
        if white:
            piece[:noisy] += white * rng.standard_normal((noisy, piece.shape[1]), dtype=np.float32)
        if preset.mains:
            times = (begin * factor + np.arange(piece.shape[1])) / sfreq
            angle = 2 * np.pi * acquisition.mains * times
            # sin(a + b) from two rows instead of one sine per sample and channel
            waves = np.stack([np.sin(angle), np.cos(angle)]).astype(np.float32)
            piece[:noisy] += np.hstack([hum * np.cos(phases), hum * np.sin(phases)]).astype(np.float32) @ waves
        if gradient is not None:
            gradient.add_to(piece, begin * factor)
        yield piece
