"""What a scanner and a magnet do to the EEG: gradient switching, the pulse, and a head that moves in a strong field.

The gradient artefact is the same in every volume, because scanner and recorder share a clock, but for what a moving head
changes: its wires then enclose another flux. So subtracting the mean over volumes removes most of it, and leaves more where
subjects moved.
"""

from dataclasses import dataclass

import numpy as np

from eegfmri.simulation.body import Body
from eegfmri.simulation.parameters import Acquisition, Preset
from eegfmri.simulation.sources import Head

#: Rate in Hz at which brain, eyes and heart are simulated; files have a multiple of it.
MODEL_RATE = 125.0

#: Volumes whose mean is the template of a correction, and over how many of them what it leaves waxes and wanes (standard deviation).
TEMPLATE_VOLUMES = 25
WAXING_VOLUMES = 4

#: Upper edge of the recorder's band in Hz: nothing of the gradient artefact above it reaches a file.
RECORDER_BAND = 250.0


@dataclass(frozen=True)
class Gradient:
    """Gradient artefact of a run at a file's rate.

    Attributes
    ----------
    axes : numpy.ndarray
        Shape (3, n_period): what each of three gradient axes induces over one repetition time, unit peak.
    weights : numpy.ndarray
        Shape (n_channels, 3): volts at rest.
    changes : numpy.ndarray
        Shape (n_channels, 3, 6): volts per mm and degree of motion.
    motion : numpy.ndarray
        Shape (n_volumes, 6): motion in mm and degrees, or whatever else changes it.
    first : int
        Sample at which the first volume starts.
    """

    axes: np.ndarray
    weights: np.ndarray
    changes: np.ndarray
    motion: np.ndarray
    first: int

    def template(self, volume: int) -> np.ndarray:
        """Return the artefact of one volume, shape (n_channels, n_period), volts."""
        mixing = self.weights + self.changes @ self.motion[volume]
        return (mixing @ self.axes).astype(np.float32)

    def add_to(self, piece: np.ndarray, begin: int) -> None:
        """Add the artefact in place to samples ``begin`` and on of the run, shape (n_channels or more, n_times)."""
        n_period, n_channels = self.axes.shape[1], len(self.weights)
        end = begin + piece.shape[1]
        low = max(0, (begin - self.first) // n_period)
        high = min(len(self.motion), -(-(end - self.first) // n_period))
        for volume in range(low, high):
            start = self.first + volume * n_period
            a, b = max(start, begin), min(start + n_period, end)
            if a < b:
                piece[:n_channels, a - begin : b - begin] += self.template(volume)[:, a - start : b - start]

    def without_mean(self) -> "Gradient":
        """Return what subtracting the mean over volumes leaves."""
        return Gradient(
            self.axes, np.zeros_like(self.weights), self.changes, self.motion - self.motion.mean(axis=0), self.first
        )

    def mixed(self, matrix: np.ndarray) -> "Gradient":
        """Return the artefact of linear combinations of channels, by a matrix of shape (n_new, n_channels)."""
        changes = np.einsum("nc,cas->nas", matrix, self.changes)
        return Gradient(self.axes, matrix @ self.weights, changes, self.motion, self.first)


def make_gradient(
    preset: Preset,
    acquisition: Acquisition,
    positions: np.ndarray,
    peak: float,
    n_slices: int,
    body: Body,
    n_volumes: int,
    sfreq: float,
    first: int,
    rng: np.random.Generator,
) -> Gradient:
    """Draw a run's gradient artefact.

    Parameters
    ----------
    preset : Preset
        How it changes with motion.
    acquisition : Acquisition
        Repetition time.
    positions : numpy.ndarray
        Shape (n_channels, 3): where each channel's wires are, m.
    peak : float
        Median over channels of its peak in uV.
    n_slices : int
        Slices per volume: the artefact repeats with each, stepping slowly from the first to the last.
    body : Body
        Head motion.
    n_volumes : int
        Volumes.
    sfreq : float
        Rate of the file in Hz.
    first : int
        Sample at which the first volume starts.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    Gradient
        The artefact, locked to volumes and slices.
    """
    axes = _gradient_axes(acquisition, n_slices, sfreq, rng)
    weights = _loops(positions, rng)
    weights *= peak * 1e-6 / np.median(np.abs(weights @ axes).max(axis=1)) if peak else 0.0
    size = np.sqrt((weights**2).mean())
    changes = preset.gradient_change * size * rng.standard_normal((len(positions), 3, 6))
    return Gradient(axes, weights, changes, _motion_of_volumes(acquisition, body, n_volumes), first)


def _gradient_axes(acquisition: Acquisition, n_slices: int, sfreq: float, rng: np.random.Generator) -> np.ndarray:
    """What each gradient axis induces over one repetition time, unit peak, shape (3, n_period)."""
    from scipy.fft import irfft

    n_period = round(acquisition.t_r * sfreq)
    # A line at each multiple of the slice rate, falling with frequency as read-out trains do, and weak neighbours one
    # volume rate away, because slice selection changes from slice to slice. A periodic signal is made exactly so.
    edge = min(RECORDER_BAND, 0.45 * sfreq)
    spectrum = np.zeros((3, n_period // 2 + 1), dtype=complex)
    bins = np.arange(n_slices, int(edge * acquisition.t_r) + 1, n_slices)
    frequency = bins / acquisition.t_r
    size = np.sqrt(frequency) * np.exp(-0.5 * (frequency / 120.0) ** 2)
    for offset, share in ((0, 1.0), (-2, 0.04), (-1, 0.10), (1, 0.10), (2, 0.04)):
        phases = rng.uniform(0, 2 * np.pi, (3, len(bins)))
        spectrum[:, bins + offset] += share * size * np.exp(1j * phases)
    axes = irfft(spectrum, n_period, axis=1)
    return axes / np.abs(axes).max(axis=1, keepdims=True)


def _loops(positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How much of each gradient axis a channel sees, shape (n_channels, 3)."""
    # the voltage of a gradient grows with the distance from the centre along its axis; wires add their own loops
    unit = positions / np.linalg.norm(positions, axis=1).mean()
    return unit @ rng.normal(0.0, 1.0, (3, 3)) + 0.5 * rng.standard_normal((len(positions), 3))


def _motion_of_volumes(acquisition: Acquisition, body: Body, n_volumes: int) -> np.ndarray:
    """Motion at the middle of each volume in mm and degrees, shape (n_volumes, 6)."""
    motion = body.motion_at(acquisition.t_r * (np.arange(n_volumes) + 0.5))
    motion[:, 3:] = np.degrees(motion[:, 3:])
    return motion


def residual_gradient(
    preset: Preset,
    acquisition: Acquisition,
    positions: np.ndarray,
    n_slices: int,
    body: Body,
    n_volumes: int,
    sfreq: float,
    first: int,
    rng: np.random.Generator,
    factor: float = 1.0,
) -> Gradient | None:
    """Draw what a correction leaves of a run's gradient artefact.

    The template that was subtracted is a mean over neighbouring volumes. So what stays is zero on average, waxes and wanes over some
    volumes in each channel's own way, and stands out where the head is not where it was in the neighbouring volumes.

    Parameters
    ----------
    preset : Preset
        Sizes.
    acquisition, positions, n_slices, body, n_volumes, sfreq, first, rng
        As for `make_gradient`.
    factor : float, default=1.0
        The subject's factor on it.

    Returns
    -------
    Gradient or None
        Lines at multiples of the slice rate; ``motion`` holds what drives them, volume by volume, beside the head's own motion. None
        where the preset leaves nothing.
    """
    from scipy.ndimage import gaussian_filter1d, uniform_filter1d

    if not (preset.gradient_left or preset.gradient_left_moving):
        return None
    axes = _gradient_axes(acquisition, n_slices, sfreq, rng)
    # so many courses, each with a map of its own, that no channel's size is another's
    n_courses = 3
    courses = gaussian_filter1d(rng.standard_normal((n_volumes, n_courses)), WAXING_VOLUMES, axis=0, mode="wrap")
    courses /= np.sqrt((courses**2).mean(axis=0))
    motion = _motion_of_volumes(acquisition, body, n_volumes)
    motion -= uniform_filter1d(motion, TEMPLATE_VOLUMES, axis=0, mode="nearest")
    sizes = [preset.gradient_left / np.sqrt(n_courses)] * n_courses + [preset.gradient_left_moving] * motion.shape[1]
    changes = np.stack([_loops(positions, rng) for _ in sizes], axis=-1)
    power = np.einsum("cak,at->ckt", changes, axes) ** 2
    changes *= factor * 1e-6 * np.array(sizes) / np.sqrt(power.mean(axis=(0, 2)))
    return Gradient(axes, np.zeros((len(positions), 3)), changes, np.hstack([courses, motion]), first)


def pulse_artefact(
    preset: Preset, head: Head, beats: np.ndarray, times: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Voltages of the pulsating head in the magnet.

    Each beat nods the head and widens vessels: a rotation seen with opposite signs on both sides of the head, and a later
    component with another map. Both follow the R peak by a fifth of a second.

    Parameters
    ----------
    preset : Preset
        Size, delay and spread.
    head : Head
        Electrodes.
    beats : numpy.ndarray
        Times of heart beats in s.
    times : numpy.ndarray
        Shape (n_times,): times in s at `MODEL_RATE`.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    numpy.ndarray
        Shape (n_channels, n_times), volts, float32.
    """
    n_channels = len(head.electrodes)
    if not preset.pulse_peak:
        return np.zeros((n_channels, len(times)), dtype=np.float32)
    t = np.arange(0, 0.7, 1 / MODEL_RATE)
    delay = preset.pulse_delay + rng.normal(0, 0.01)
    waves = np.stack(
        [
            np.exp(-0.5 * ((t - delay) / 0.055) ** 2) - 0.7 * np.exp(-0.5 * ((t - delay - 0.11) / 0.06) ** 2),
            np.exp(-0.5 * ((t - delay - 0.06) / 0.08) ** 2) - 0.5 * np.exp(-0.5 * ((t - delay - 0.22) / 0.07) ** 2),
        ]
    )
    unit = head.electrodes / head.radius
    # left against right above all, front against back less
    main = unit @ np.array([1.0, 0.35, 0.15]) + 0.2 * rng.standard_normal(n_channels)
    second = unit @ rng.normal(0.0, 0.5, 3) + 0.2 * rng.standard_normal(n_channels)
    maps = np.stack([main, 0.5 * second], axis=1)
    heights = 1 + preset.pulse_spread * rng.standard_normal((len(beats), 2))
    samples = np.round((beats - times[0]) * MODEL_RATE).astype(int)
    inside = (samples >= 0) & (samples < len(times))
    courses = np.zeros((2, len(times)))
    for row in range(2):
        impulses = np.zeros(len(times))
        np.add.at(impulses, samples[inside], heights[inside, row])
        courses[row] = np.convolve(impulses, waves[row])[: len(times)]
    maps *= preset.pulse_peak * 1e-6 / np.abs(maps @ waves).max()
    return (maps @ courses).astype(np.float32)


def motion_voltage(preset: Preset, head: Head, body: Body, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Voltages of a head that turns in the magnet, and of its sway with the breath.

    A loop that turns sees its flux change: the voltage follows the angular velocity, not the angle.

    Parameters
    ----------
    preset : Preset
        Sizes.
    head : Head
        Electrodes.
    body : Body
        Motion and breath, shared with the images.
    times : numpy.ndarray
        Shape (n_times,): times in s at `MODEL_RATE`.
    rng : numpy.random.Generator
        Random number generator.

    Returns
    -------
    numpy.ndarray
        Shape (n_channels, n_times), volts, float32.
    """
    unit = head.electrodes / head.radius
    # rotation about x and y turns loops through the field along z; about z it does not
    maps = unit @ rng.normal(0.0, 1.0, (3, 2)) / np.sqrt(3)
    velocity = np.gradient(body.motion[:, 3:5], axis=0) * (1 / np.diff(body.times[:2])[0])
    turning = np.stack([np.interp(times, body.times, column) for column in velocity.T])
    sway = unit @ rng.normal(0.0, 1.0, 3) / np.sqrt(3)
    breath = np.interp(times, body.times, body.breath)
    voltage = preset.motion_field * maps @ turning + preset.breath_field * np.outer(sway, breath)
    return (1e-6 * voltage).astype(np.float32)


def contact_noise(n_times: int, sfreq: float, rng: np.random.Generator, edge: float = 2.0) -> np.ndarray:
    """Slow noise of unit variance that falls off above ``edge`` Hz, as of an electrode that touches badly, shape (n_times,), float32."""
    from scipy.signal import lfilter

    keep = np.exp(-2 * np.pi * edge / sfreq)
    return (lfilter([np.sqrt(1 - keep**2)], [1, -keep], rng.standard_normal(n_times))).astype(np.float32)
