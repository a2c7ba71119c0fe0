"""BOLD from planted power: couplings, the haemodynamic response, and what a scanner adds.

Regional BOLD in percent is the sum over bands of signed couplings times relative power, convolved with a response whose
latency is the person's,

    b_r(t) = Σ_b c_gb · (h_r * (p_rb − 1))(t) + spontaneous,

sampled at each slice's own time, and written into the person's anatomy.
"""

from dataclasses import dataclass

import numpy as np

from eegfmri.datasets.simulate_activity import CANONICAL_PEAK, POWER_RATE, Activity, Traits, mixed_noise, slow_noise
from eegfmri.datasets.simulate_parameters import BANDS, T_R, Preset
from eegfmri.datasets.simulate_sources import Anatomy, Regions

#: Length of the haemodynamic response in s.
RESPONSE_SECONDS = 32.0


@dataclass(frozen=True)
class Volumes:
    """A simulated scan.

    Attributes
    ----------
    data : numpy.ndarray
        Shape (x, y, z, n_volumes), int16.
    coupled : numpy.ndarray
        Shape (n_regions, n_volumes), percent: noise-free response to planted power at the middle of each volume.
    motion : numpy.ndarray
        Shape (n_volumes, 6): translations (mm) and rotations (radians) along scanner x, y, z.
    """

    data: np.ndarray
    coupled: np.ndarray
    motion: np.ndarray


def slice_times(n_slices: int) -> np.ndarray:
    """Times of the slices after the start of a volume in s: sequential from the top, as in ds003768."""
    return np.round(np.arange(n_slices)[::-1] * (2.02 / max(1, n_slices - 1)) / 0.0025) * 0.0025


def response(latency: float) -> np.ndarray:
    """Canonical haemodynamic response that peaks ``latency`` s after a brief event, at `POWER_RATE`, sum 1."""
    from nilearn.glm.first_level import glover_hrf

    return glover_hrf(1 / POWER_RATE, oversampling=1, time_length=RESPONSE_SECONDS, onset=latency - CANONICAL_PEAK)


def regional_bold(preset: Preset, regions: Regions, traits: Traits, activity: Activity) -> np.ndarray:
    """Noise-free BOLD of each region at `POWER_RATE`.

    Parameters
    ----------
    preset : Preset
        Couplings.
    regions, traits : Regions, Traits
        Groups and latencies of the regions.
    activity : Activity
        Planted power.

    Returns
    -------
    numpy.ndarray
        Shape (n_regions, n_samples), percent of the baseline signal.
    """
    from scipy.signal import fftconvolve

    drive = np.zeros(activity.power["alpha"].shape)
    for band in BANDS:
        coupling = np.array([[preset.at("coupling", band, group)] for group in regions.groups])
        drive += traits.coupling_factor * coupling * (activity.power[band] - 1)
    kernels = np.stack([response(latency) for latency in traits.region_latency])
    start = np.repeat(drive[:, :1], kernels.shape[1], axis=1)
    course = fftconvolve(np.hstack([start, drive]), kernels, axes=1)
    return course[:, kernels.shape[1] : kernels.shape[1] + drive.shape[1]]


def make_volumes(
    preset: Preset,
    regions: Regions,
    traits: Traits,
    anatomy: Anatomy,
    activity: Activity,
    beats: np.ndarray,
    n_volumes: int,
    rng: np.random.Generator,
) -> Volumes:
    """Scan a run.

    Parameters
    ----------
    preset, regions, traits, anatomy : Preset, Regions, Traits, Anatomy
        Model, parcellation, person, brain in the scanner.
    activity : Activity
        Planted power.
    beats : numpy.ndarray
        Heart beats in s from the first volume.
    n_volumes : int
        Volumes to acquire.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    Volumes
        Images and truth.
    """
    times = activity.times
    coupled = regional_bold(preset, regions, traits, activity)
    gain = activity.by_stage(preset.bold_fluctuation_gain)
    shares = preset.bold_fluctuation_shares
    spontaneous = preset.bold_fluctuation * gain * mixed_noise(regions, preset, shares, len(times), rng)
    regional = coupled + spontaneous

    volume_starts = T_R * np.arange(n_volumes)
    matrix = anatomy.baseline.shape
    motion = _motion(preset, n_volumes, rng)
    by_motion = _motion_images(anatomy)
    drift = _drift(preset, n_volumes)
    drift_map = 1 + 0.3 * rng.standard_normal(matrix)
    breath_phase = rng.uniform(0, 2 * np.pi)
    data = np.empty((*matrix, n_volumes), dtype=np.int16)
    noise = 0.0 if np.isinf(preset.tsnr) else 1000.0 / preset.tsnr
    for z, delay in enumerate(slice_times(matrix[2])):
        at = volume_starts + delay
        sampled = _interpolate(regional, activity, at)
        percent = anatomy.membership[:, :, z].reshape(-1, regional.shape[0]) @ sampled.astype(np.float32)
        pulse = preset.cardiac_bold * np.sin(2 * np.pi * _cycle(beats, at))
        breath = preset.respiratory_bold * np.sin(2 * np.pi * traits.breathing_rate / 60 * at + breath_phase)
        fluid, brain = anatomy.fluid[:, :, z].reshape(-1, 1), anatomy.brain[:, :, z].reshape(-1, 1)
        percent += ((0.2 * brain + 2 * fluid) * pulse + brain * breath).astype(np.float32)
        percent += (drift_map[:, :, z].reshape(-1, 1) * drift).astype(np.float32)
        signal = anatomy.baseline[:, :, z].reshape(-1, 1).astype(np.float32) * (1 + percent / 100)
        signal += (by_motion[:, :, z].reshape(-1, 6) @ motion.T).astype(np.float32)
        if noise:
            real = signal + noise * rng.standard_normal(signal.shape, dtype=np.float32)
            signal = np.hypot(real, noise * rng.standard_normal(signal.shape, dtype=np.float32))
        data[:, :, z] = np.clip(np.round(signal), 0, 32767).reshape(*matrix[:2], n_volumes)
    middle = _interpolate(coupled, activity, volume_starts + T_R / 2)
    return Volumes(data, middle.astype(np.float32), motion)


def _interpolate(series: np.ndarray, activity: Activity, at: np.ndarray) -> np.ndarray:
    """Linear interpolation of all rows at the given times, shape (n_series, len(at))."""
    position = np.clip((at - activity.start) * POWER_RATE, 0, series.shape[1] - 1.001)
    left = position.astype(int)
    share = position - left
    return series[:, left] * (1 - share) + series[:, left + 1] * share


def volume_means(activity: Activity, n_volumes: int) -> np.ndarray:
    """Mean planted power over each repetition time, shape (n_regions, n_bands, n_volumes), float32."""
    edges = np.clip(np.round((T_R * np.arange(n_volumes + 1) - activity.start) * POWER_RATE).astype(int), 0, None)
    stacked = np.stack([activity.power[band] for band in BANDS], axis=1)
    sums = np.add.reduceat(stacked[:, :, : edges[-1]], edges[:-1], axis=2)
    return (sums / np.diff(edges)).astype(np.float32)


def _cycle(beats: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Cardiac phase (0 to 1 from beat to beat, counting on) at the given times."""
    return np.interp(at, beats, np.arange(len(beats)))


def _drift(preset: Preset, n_volumes: int) -> np.ndarray:
    course = np.linspace(0, 1, n_volumes)
    return preset.drift * (0.7 * course + 0.3 * np.sin(2.2 * np.pi * course))


def _motion(preset: Preset, n_volumes: int, rng: np.random.Generator) -> np.ndarray:
    """Slow random head motion that starts at zero, shape (n_volumes, 6), mm and radians."""
    n_samples = int(np.ceil(n_volumes * T_R * POWER_RATE))
    walk = slow_noise(n_samples, preset, rng, 6)[:, :: int(T_R * POWER_RATE)][:, :n_volumes]
    walk = np.cumsum(walk, axis=1)
    walk = (walk - walk[:, :1]) / walk.std(axis=1, keepdims=True)
    spread = np.array([preset.translation] * 3 + [np.radians(preset.rotation)] * 3)
    return (walk * spread[:, None]).T


def _motion_images(anatomy: Anatomy) -> np.ndarray:
    """How the image changes per mm and radian of head motion, shape (x, y, z, 6).

    To first order I(x − d) = I(x) − ∇I · d with the displacement d(x) of a rigid motion, which is accurate while d is a small
    part of a voxel.
    """
    matrix = anatomy.baseline.shape
    by_index = np.stack(np.gradient(anatomy.baseline), axis=-1)
    gradient = by_index @ np.linalg.inv(anatomy.affine[:3, :3])
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in matrix), indexing="ij"), axis=-1)
    world = grid @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3]
    turning = np.cross(world, gradient)  # ∇I · (ω × x) = ω · (x × ∇I)
    return -np.concatenate([gradient, turning], axis=-1)
