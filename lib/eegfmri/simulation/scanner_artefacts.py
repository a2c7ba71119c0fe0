"""What a scanner does to the EEG inside it, as arrays to be added to a clean recording: gradients and the pulse.

Both models are deliberately plain, so that what was added is known exactly. Sizes follow :cite:t:`allen2000` and
:cite:t:`debener2008`.
"""

import numpy as np


def gradient_artefact(
    n_channels: int,
    sfreq: float,
    t_r: float,
    n_slices: int,
    n_volumes: int,
    rng: np.random.Generator,
    amplitude: float = 2e-3,
    drift: float = 0.01,
) -> np.ndarray:
    """Voltage induced by switching gradients: one waveform per slice, the same in every volume but for the head's motion.

    Parameters
    ----------
    n_channels : int
        Channels, each with its own loop and so its own weight, of either sign.
    sfreq : float
        Hz.
    t_r : float
        Repetition time in s, a whole number of samples.
    n_slices, n_volumes : int
        Slices of a volume, evenly spaced in time; volumes.
    rng : numpy.random.Generator
        Random number generator.
    amplitude : float, default=2e-3
        Typical peak in V.
    drift : float, default=0.01
        Standard deviation of a channel's slow relative change over the run: the head moves, the loop with it. With 0 every
        volume is the same.

    Returns
    -------
    numpy.ndarray
        Shape (n_channels, n_volumes × samples per volume), volts.
    """
    per_volume = round(t_r * sfreq)
    # one slice: excitation, phase encoding, then the read-out's train of alternating edges
    at = np.arange(per_volume) / sfreq
    phase = (at * n_slices / t_r) % 1.0
    seconds = phase * t_r / n_slices
    readout = (phase > 0.35) & (phase < 0.85)
    shape = np.exp(-(((phase - 0.05) / 0.015) ** 2)) - np.exp(-(((phase - 0.12) / 0.015) ** 2))
    shape += 0.7 * np.exp(-(((phase - 0.25) / 0.02) ** 2))
    shape += 0.6 * readout * np.sin(2 * np.pi * min(500.0, sfreq / 5) * seconds)
    # the spectrum of a volume also holds what is done once per volume
    shape += 0.3 * np.exp(-((at / 0.01) ** 2))
    weight = amplitude * rng.uniform(0.4, 1.0, n_channels) * rng.choice([-1.0, 1.0], n_channels)
    slow = np.cumsum(rng.standard_normal((n_channels, n_volumes)), axis=1) / np.sqrt(n_volumes)
    gain = 1 + drift * slow
    return (weight[:, None, None] * gain[:, :, None] * shape).reshape(n_channels, -1)


def pulse_artefact(
    beats: np.ndarray,
    n_channels: int,
    sfreq: float,
    n_times: int,
    rng: np.random.Generator,
    amplitude: float = 60e-6,
    variation: float = 0.15,
) -> np.ndarray:
    """Voltage of a head that nods with each beat inside the field (the ballistocardiogram).

    Parameters
    ----------
    beats : numpy.ndarray
        R peaks in s from the first sample.
    n_channels : int
        Channels; the artefact is the sum of two topographies with a time course each.
    sfreq : float
        Hz.
    n_times : int
        Samples.
    rng : numpy.random.Generator
        Random number generator.
    amplitude : float, default=60e-6
        Typical peak in V, about 0.2 s after the R peak.
    variation : float, default=0.15
        Relative standard deviation of its size from beat to beat.

    Returns
    -------
    numpy.ndarray
        Shape (n_channels, n_times), volts.
    """
    times = np.arange(n_times) / sfreq
    courses = np.zeros((2, n_times))
    sizes = 1 + variation * rng.standard_normal((2, len(beats)))
    for number, beat in enumerate(beats):
        span = slice(*np.searchsorted(times, [beat - 0.1, beat + 0.9]))
        after = times[span] - beat
        courses[0, span] += sizes[0, number] * np.exp(-0.5 * ((after - 0.21) / 0.045) ** 2)
        courses[0, span] -= 0.6 * sizes[0, number] * np.exp(-0.5 * ((after - 0.33) / 0.06) ** 2)
        courses[1, span] += (
            0.5 * sizes[1, number] * np.sin(2 * np.pi * 4 * after) * np.exp(-0.5 * ((after - 0.3) / 0.1) ** 2)
        )
    return amplitude * rng.standard_normal((n_channels, 2)) @ courses
