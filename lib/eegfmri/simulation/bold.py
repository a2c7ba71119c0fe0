"""BOLD from planted power: couplings, the haemodynamic response, and what a scanner adds.

Regional BOLD in percent is the sum over bands of signed couplings times relative power, and of responses to stimuli,
convolved with a response whose latency is the subject's,

    b_r(t) = Σ_b c_rb · (h_r * (p_rb − 1))(t) + (h_r * (d_r + e_r))(t) + spontaneous,

with d_r for drowsiness,

sampled at each slice's own time, and written into the subject's anatomy, which moves as a rigid body.
"""

from dataclasses import dataclass

import numpy as np

from eegfmri.preprocessing.atlas import NETWORKS
from eegfmri.simulation.activity import CANONICAL_PEAK, POWER_RATE, Activity, Traits, mixed_noise, slow_noise
from eegfmri.simulation.body import Body
from eegfmri.simulation.parameters import BANDS, Acquisition, Preset
from eegfmri.simulation.sources import Anatomy, Regions

#: Length of the haemodynamic response in s.
RESPONSE_SECONDS = 32.0

#: Volumes that are moved and stored at once, so that a run never lies in memory twice.
_VOLUMES_AT_ONCE = 64


@dataclass(frozen=True)
class Volumes:
    """A simulated scan.

    Attributes
    ----------
    data : numpy.ndarray
        Shape (x, y, z, n_volumes), int16.
    coupled : numpy.ndarray
        Shape (n_regions, n_volumes), percent: noise-free response to planted power and to stimuli at the middle of each
        volume.
    motion : numpy.ndarray
        Shape (n_volumes, 6): translations (mm) and rotations (radians) along and about scanner x, y, z.
    """

    data: np.ndarray
    coupled: np.ndarray
    motion: np.ndarray


def slice_times(acquisition: Acquisition, n_slices: int) -> np.ndarray:
    """Return the times of the slices (from the lowest up) after the start of a volume in s, rounded as sidecars are."""
    order = np.arange(n_slices)
    if acquisition.slice_order == "descending":
        rank = order[::-1]
    elif acquisition.slice_order == "interleaved":
        rank = np.argsort(np.concatenate([order[::2], order[1::2]]))
    else:
        rank = order
    return np.round(rank * (acquisition.scan_seconds / max(1, n_slices - 1)) / 0.0025) * 0.0025


def response(latency: float) -> np.ndarray:
    """Canonical haemodynamic response that peaks ``latency`` s after a brief event, at `POWER_RATE`, sum 1."""
    from nilearn.glm.first_level import glover_hrf

    return glover_hrf(1 / POWER_RATE, oversampling=1, time_length=RESPONSE_SECONDS, onset=latency - CANONICAL_PEAK)


def region_coupling(preset: Preset, regions: Regions) -> np.ndarray:
    """Return what is planted in everybody: BOLD in percent per unit of power, shape (n_regions, n_bands).

    That of a region's group, and that of the networks whose centres it is near.
    """
    planted = np.array([[preset.at("coupling", band, group) for band in BANDS] for group in regions.groups])
    for number, band in enumerate(BANDS):
        for network, size in preset.network_coupling.get(band, {}).items():
            places = np.array(NETWORKS[network], dtype=float)
            distance = np.linalg.norm(regions.centroids[:, None] - places[None], axis=-1).min(axis=1)
            near = np.exp(-0.5 * (distance / preset.network_width) ** 2)
            planted[:, number] += size * np.where(near > 0.05, near, 0.0)
    return planted


def regional_bold(
    preset: Preset, regions: Regions, traits: Traits, activity: Activity, stimulated: np.ndarray | None = None
) -> np.ndarray:
    """Noise-free BOLD of each region at `POWER_RATE`.

    Parameters
    ----------
    preset : Preset
        Couplings.
    regions, traits : Regions, Traits
        Groups and latencies of the regions.
    activity : Activity
        Planted power.
    stimulated : numpy.ndarray or None
        Shape (n_regions, n_samples): impulses at stimuli, each as high as its response is at its peak, percent.

    Returns
    -------
    numpy.ndarray
        Shape (n_regions, n_samples), percent of the baseline signal.
    """
    from scipy.signal import fftconvolve

    drive = np.zeros(activity.power["alpha"].shape)
    planted = region_coupling(preset, regions)
    for number, band in enumerate(BANDS):
        factor = traits.coupling_factor * traits.band_coupling[band]
        drive += factor * planted[:, number, None] * (activity.power[band] - 1)
    if activity.drowsiness is not None:
        level = np.array([preset.drowsy_bold.get(group, 0.0) for group in regions.groups])
        drive += traits.coupling_factor * level[:, None] * activity.drowsiness
    kernels = np.stack([response(latency) for latency in traits.region_latency])
    if stimulated is not None:
        drive += stimulated / kernels.max(axis=1, keepdims=True)
    start = np.repeat(drive[:, :1], kernels.shape[1], axis=1)
    course = fftconvolve(np.hstack([start, drive]), kernels, axes=1)
    return course[:, kernels.shape[1] : kernels.shape[1] + drive.shape[1]]


def make_volumes(
    preset: Preset,
    regions: Regions,
    acquisition: Acquisition,
    traits: Traits,
    anatomy: Anatomy,
    activity: Activity,
    body: Body,
    n_volumes: int,
    rng: np.random.Generator,
    stimulated: np.ndarray | None = None,
    noise_rng: np.random.Generator | None = None,
) -> Volumes:
    """Scan a run.

    The head moves between volumes, not inside them. What moves is the resting image, by cubic spline interpolation; the
    percent changes written onto it stay where they are in the grid, which for motion of a small part of a voxel is the
    same to second order.

    Parameters
    ----------
    preset, regions, acquisition, traits, anatomy : Preset, Regions, Acquisition, Traits, Anatomy
        Model, parcellation, repetition and slice times, subject, brain in the scanner.
    activity : Activity
        Planted power.
    body : Body
        Heart, breath and head motion.
    n_volumes : int
        Volumes to acquire.
    rng : numpy.random.Generator
        Random number generator.
    stimulated : numpy.ndarray or None
        As in `regional_bold`.
    noise_rng : numpy.random.Generator or None
        Of the subject's own networks, brain-wide fluctuations of drowsiness and local physiological noise; without it there is none.

    Returns
    -------
    Volumes
        Images and truth.
    """
    times = activity.times
    coupled = regional_bold(preset, regions, traits, activity, stimulated)
    gain = activity.by_stage(preset.bold_fluctuation_gain)
    shares = preset.bold_fluctuation_shares
    spontaneous = mixed_noise(regions, preset, shares, len(times), rng)
    if noise_rng is not None:
        spontaneous = _with_own_networks(preset, traits, spontaneous, noise_rng)
    spontaneous = preset.bold_fluctuation * gain * spontaneous
    if noise_rng is not None and activity.drowsiness is not None:
        sign = np.where(np.array(regions.groups) == "thalamus", -0.5, 1.0)
        wave = preset.drowsy_global * activity.drowsiness * slow_noise(len(times), preset, noise_rng, 1)[0]
        spontaneous += sign[:, None] * wave
    regional = (coupled + spontaneous).astype(np.float32)
    if preset.percent_of == "region":
        regional /= _shares(anatomy)[:, None]

    t_r = acquisition.t_r
    starts = t_r * np.arange(n_volumes)
    matrix = anatomy.baseline.shape
    motion = body.motion_at(starts + t_r / 2)
    drift = _drift(preset, n_volumes)
    drift_map = 1 + 0.3 * rng.standard_normal(matrix)
    delays = slice_times(acquisition, matrix[2])
    noise = 10.0 * thermal_percent(preset, voxel_volume(anatomy))
    local = _LocalNoise(preset, anatomy, t_r, noise_rng)
    data = np.empty((*matrix, n_volumes), dtype=np.int16)
    rows = np.arange(matrix[0] * matrix[1]) * matrix[2]
    slabs = [anatomy.membership[rows + z] for z in range(matrix[2])]
    for begin in range(0, n_volumes, _VOLUMES_AT_ONCE):
        now = slice(begin, min(begin + _VOLUMES_AT_ONCE, n_volumes))
        moved = _moved(anatomy, motion[now])
        fields = local.next(moved.shape[3])
        for z, delay in enumerate(delays):
            at = starts[now] + delay
            percent = slabs[z] @ _interpolate(regional, activity, at)
            pulse = preset.cardiac_bold * np.sin(2 * np.pi * _cycle(body.beats, at))
            breath = preset.respiratory_bold * np.interp(at, body.times, body.breath)
            breath += (
                preset.breath_depth_bold * (np.interp(at, body.times, body.depth) - 1) / preset.breath_depth_spread
            )
            csf, brain = anatomy.csf[:, :, z].reshape(-1, 1), anatomy.brain[:, :, z].reshape(-1, 1)
            percent += ((0.2 * brain + 2 * csf) * pulse + brain * breath).astype(np.float32)
            percent += (drift_map[:, :, z].reshape(-1, 1) * drift[now]).astype(np.float32)
            if fields is not None:
                percent += brain * fields[:, :, z].reshape(percent.shape)
            signal = moved[:, :, z].reshape(percent.shape) * (1 + percent / 100)
            if noise:
                real = signal + noise * rng.standard_normal(signal.shape, dtype=np.float32)
                signal = np.hypot(real, noise * rng.standard_normal(signal.shape, dtype=np.float32))
            data[:, :, z, now] = np.clip(np.round(signal), 0, 32767).reshape(*matrix[:2], -1)
    middle = _interpolate(coupled, activity, starts + t_r / 2)
    return Volumes(data, middle.astype(np.float32), motion)


def voxel_volume(anatomy: Anatomy) -> float:
    """Volume of a voxel in mm³."""
    return float(abs(np.linalg.det(anatomy.affine[:3, :3])))


def thermal_percent(preset: Preset, voxel_mm3: float) -> float:
    """Thermal noise of a grey-matter voxel in percent of its signal: it falls as the voxel's volume grows."""
    if preset.thermal_snr:
        return 100.0 / (preset.thermal_snr * voxel_mm3 / 27.0)
    return 0.0 if np.isinf(preset.tsnr) else 100.0 / preset.tsnr


def _shares(anatomy: Anatomy) -> np.ndarray:
    """What share of a region's percentage its mean over voxels shows: they are only partly its grey matter; shape (n_regions,)."""
    membership = anatomy.membership
    whole = np.asarray(membership.sum(axis=0)).ravel()
    shown = np.asarray(membership.multiply(membership).sum(axis=0)).ravel() / np.maximum(whole, 1e-9)
    return np.clip(shown, 0.2, 1.0).astype(np.float32)


def _with_own_networks(preset: Preset, traits: Traits, spontaneous: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace a share of the variance of spontaneous BOLD by networks of the subject's own."""
    if traits.networks is None:
        return spontaneous
    own = traits.networks @ slow_noise(spontaneous.shape[1], preset, rng, traits.networks.shape[1])
    return np.sqrt(1 - preset.connectivity_spread) * spontaneous + np.sqrt(preset.connectivity_spread) * own


class _LocalNoise:
    """Local physiological noise: in percent, alike in neighbouring voxels, with a short memory."""

    def __init__(self, preset: Preset, anatomy: Anatomy, t_r: float, rng: np.random.Generator | None):
        self.rng = rng if preset.physiological_noise else None
        self.size = np.float32(preset.physiological_noise)
        self.shape = anatomy.baseline.shape
        zooms = np.linalg.norm(anatomy.affine[:3, :3], axis=0)
        self.sigma = preset.physiological_width / np.sqrt(8 * np.log(2)) / zooms
        self.memory = np.float32(np.exp(-t_r / preset.physiological_seconds))
        self.state = None

    def next(self, n_volumes: int) -> np.ndarray | None:
        """Return the next volumes, shape (x, y, z, n_volumes), or None where there is no such noise."""
        from scipy.ndimage import gaussian_filter

        if self.rng is None:
            return None
        if self.state is None:
            impulse = np.zeros(self.shape)
            impulse[tuple(n // 2 for n in self.shape)] = 1.0
            self.scale = np.float32(1 / np.sqrt((gaussian_filter(impulse, self.sigma, mode="wrap") ** 2).sum()))
        fields = np.empty((*self.shape, n_volumes), dtype=np.float32)
        for k in range(n_volumes):
            white = self.rng.standard_normal(self.shape, dtype=np.float32)
            fresh = self.scale * gaussian_filter(white, self.sigma, mode="wrap")
            if self.state is None:
                self.state = fresh
            else:
                self.state = self.memory * self.state + np.sqrt(1 - self.memory**2) * fresh
            fields[..., k] = self.size * self.state
        return fields


def _interpolate(series: np.ndarray, activity: Activity, at: np.ndarray) -> np.ndarray:
    """Linear interpolation of all rows at the given times, shape (n_series, len(at))."""
    position = np.clip((at - activity.start) * POWER_RATE, 0, series.shape[1] - 1.001)
    left = position.astype(int)
    share = position - left
    return series[:, left] * (1 - share) + series[:, left + 1] * share


def volume_means(activity: Activity, n_volumes: int, t_r: float) -> np.ndarray:
    """Mean planted power over each repetition time, shape (n_regions, n_bands, n_volumes), float32."""
    edges = np.clip(np.round((t_r * np.arange(n_volumes + 1) - activity.start) * POWER_RATE).astype(int), 0, None)
    stacked = np.stack([activity.power[band] for band in BANDS], axis=1)
    sums = np.add.reduceat(stacked[:, :, : edges[-1]], edges[:-1], axis=2)
    return (sums / np.diff(edges)).astype(np.float32)


def _cycle(beats: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Cardiac phase (0 to 1 from beat to beat, counting on) at the given times."""
    return np.interp(at, beats, np.arange(len(beats)))


def _drift(preset: Preset, n_volumes: int) -> np.ndarray:
    course = np.linspace(0, 1, n_volumes)
    return preset.drift * (0.7 * course + 0.3 * np.sin(2.2 * np.pi * course))


def _moved(anatomy: Anatomy, motion: np.ndarray) -> np.ndarray:
    """The resting image after each rigid motion (mm, radians), shape (x, y, z, n_volumes), float32.

    A point p of the head lies at R p + t in scanner coordinates, with R = Rz Ry Rx about the scanner's centre: so the voxel
    at q shows what lies at R⁻¹ (q − t) in the head.
    """
    from scipy.ndimage import affine_transform, spline_filter
    from scipy.spatial.transform import Rotation

    baseline = anatomy.baseline.astype(np.float32)
    moved = np.empty((*baseline.shape, len(motion)), dtype=np.float32)
    if not motion.any():
        moved[:] = baseline[..., None]
        return moved
    coefficients = spline_filter(baseline, order=3, output=np.float32)
    to_world, to_voxel = anatomy.affine, np.linalg.inv(anatomy.affine)
    # what lies further from the head than it moves stays empty
    filled = np.argwhere(baseline > 1e-3 * baseline.max())
    low = np.maximum(filled.min(axis=0) - 2, 0)
    shape = np.minimum(filled.max(axis=0) + 3, baseline.shape) - low
    box = tuple(slice(a, a + n) for a, n in zip(low, shape, strict=True))
    moved[:] = 0
    for k, six in enumerate(motion):
        back = np.eye(4)
        back[:3, :3] = Rotation.from_euler("xyz", six[3:]).as_matrix().T
        back[:3, 3] = -back[:3, :3] @ six[:3]
        index = to_voxel @ back @ to_world
        moved[(*box, k)] = affine_transform(
            coefficients,
            index[:3, :3],
            index[:3, 3] + index[:3, :3] @ low,
            output_shape=tuple(shape),
            order=3,
            prefilter=False,
            mode="nearest",
            output=np.float32,
        )
    return np.maximum(moved, 0, out=moved)
