"""Finding again what was planted, by means that know nothing of how it was made.

Textbook estimators only: a fit to a spectrum, a cross-correlation, a regression, a general linear model, band power. They read
the files through the datasets' readers; from ``simulated.json`` they take what is compared with, where a brain lies in the
scanner, and, for couplings, the planted power.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from eegfmri.metrics.intervals import bootstrap_mean
from eegfmri.preprocessing.eeg import BANDS as EEG_BANDS
from eegfmri.preprocessing.spectra import band_means, power_spectrum, volume_band_power
from eegfmri.recordings import EPOCH_SECONDS, Recording
from eegfmri.simulation.activity import CANONICAL_PEAK
from eegfmri.simulation.parameters import BANDS, GROUPS
from eegfmri.simulation.simulate import read_truth
from eegfmri.simulation.sources import cortical_regions

#: Hz between which the slope is read: above alpha and spindles, below the mains and the sensors' noise.
SLOPE_RANGE = (16.0, 40.0)

#: Hz between which the alpha peak is sought.
ALPHA_RANGE = (7.0, 14.0)


@dataclass(frozen=True)
class SpectralFit:
    """What a spectrum is made of.

    Attributes
    ----------
    frequencies, density : numpy.ndarray
        Shape (n_frequencies,): Hz and V²/Hz, as measured, from 1 to 45 Hz.
    aperiodic : numpy.ndarray
        Shape (n_frequencies,): the fitted line, density ∝ frequency ** -exponent, drawn on below where it was fitted.
    exponent : float
        Of that line.
    alpha_frequency : float
        Hz at which the density stands highest above the line.
    alpha_height : float
        How high, in dB.
    """

    frequencies: np.ndarray
    density: np.ndarray
    aperiodic: np.ndarray
    exponent: float
    alpha_frequency: float
    alpha_height: float


def fit_spectrum(eeg: np.ndarray, sfreq: float, posterior: Sequence[int] | None = None) -> SpectralFit:
    """Fit a line to a spectrum in logarithmic axes, and find the alpha peak above it.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (n_channels, n_times), V. The slope is that of the median over channels.
    sfreq : float
        Hz.
    posterior : sequence of int or None
        Channels over the back of the head, whose mean spectrum shows the peak; all if None.

    Returns
    -------
    SpectralFit
        Of the posterior channels; exponent of all.
    """
    frequencies, spectra = power_spectrum(eeg, sfreq)
    kept = (frequencies >= 1) & (frequencies <= 45)
    f, spectra = frequencies[kept], spectra[:, kept]
    straight = (f >= SLOPE_RANGE[0]) & (f <= SLOPE_RANGE[1])
    exponent = -np.polyfit(np.log(f[straight]), np.log(np.median(spectra, axis=0)[straight]), 1)[0]
    density = (spectra if posterior is None else spectra[list(posterior)]).mean(axis=0)
    level = np.mean(np.log(density[straight]) + exponent * np.log(f[straight]))
    aperiodic = np.exp(level - exponent * np.log(f))
    above = np.log(density / aperiodic)
    alpha = (f >= ALPHA_RANGE[0]) & (f <= ALPHA_RANGE[1])
    height = 10 / np.log(10) * above[alpha].max()
    return SpectralFit(f, density, aperiodic, float(exponent), _refined(f[alpha], -above[alpha]), float(height))


def wakeful_eeg(recordings: Sequence[Recording]) -> tuple[list[str], np.ndarray]:
    """Join the scalp EEG of a subject's runs while awake.

    Parameters
    ----------
    recordings : sequence of Recording
        Runs of one subject with the same channels.

    Returns
    -------
    ch_names : list of str
        Scalp channels, of the first run.
    eeg : numpy.ndarray
        Shape (n_channels, n_times), V, each run against the mean of its channels: of scored runs the epochs of wakefulness that are
        used, of others everything; empty without a run.
    """
    names, pieces = [], []
    for recording in recordings:
        own = [name for name in recording.ch_names if name in recording.scalp_channels]
        signal = recording.raw().get_data(picks=own)
        if len(recording.epochs):
            n_times = round(EPOCH_SECONDS * recording.sfreq)
            onsets = (recording.epochs.query("used and stage == 'W'")["onset"] * recording.sfreq).round().astype(int)
            signal = np.concatenate([signal[:, :0], *(signal[:, onset : onset + n_times] for onset in onsets)], axis=1)
        names = names or own
        pieces.append(signal - signal.mean(axis=0))
    return names, np.concatenate(pieces, axis=1) if pieces else np.empty((0, 0))


def _refined(grid: np.ndarray, errors: Sequence[float]) -> float:
    """Minimum of the parabola through the smallest error and its neighbours."""
    best = int(np.argmin(errors))
    if best in (0, len(grid) - 1):
        return float(grid[best])
    left, middle, right = np.asarray(errors)[best - 1 : best + 2]
    step = grid[1] - grid[0]
    return float(grid[best] + 0.5 * step * (left - right) / (left - 2 * middle + right))


@dataclass(frozen=True)
class ResponseLag:
    """Cross-correlation of a drive with the response to it.

    Attributes
    ----------
    lags, correlations : numpy.ndarray
        Shape (n_lags,): s, and what they reach there.
    peak : float
        Lag of the largest correlation, s.
    """

    lags: np.ndarray
    correlations: np.ndarray
    peak: float


def response_lag(drive: np.ndarray, response: np.ndarray, t_r: float) -> ResponseLag:
    """Find the lag at which a response resembles its drive most.

    Parameters
    ----------
    drive, response : numpy.ndarray
        Shape (n_places, n_volumes); correlations are averaged over places.
    t_r : float
        s.

    Returns
    -------
    ResponseLag
        At whole volumes from about -4 to 16 s; the peak lies on the parabola through the largest correlation and its
        neighbours. (Interpolating the drive between volumes would smooth it there, and favour lags of half a volume.) Places where
        either does not vary are left out; without any other, all is NaN.
    """
    shifts = np.arange(-round(4.0 / t_r), round(16.0 / t_r) + 1)
    n_volumes, lags = drive.shape[1], shifts * t_r
    drive, response = _varying(drive, response)
    if not len(drive):
        return ResponseLag(lags, np.full(len(lags), np.nan), float("nan"))

    def centred(rows):
        rows = rows - rows.mean(axis=1, keepdims=True)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    late = centred(response[:, shifts[-1] : n_volumes + shifts[0]])
    correlations = np.array(
        [
            (centred(drive[:, shifts[-1] - shift : n_volumes + shifts[0] - shift]) * late).sum(axis=1).mean()
            for shift in shifts
        ]
    )
    return ResponseLag(lags, correlations, _refined(lags, -correlations))


def _varying(drive: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the places, shape (n_places, n_volumes), at which both a drive and the response to it vary."""
    kept = (np.ptp(drive, axis=1) > 0) & (np.ptp(response, axis=1) > 0)
    return drive[kept], response[kept]


#: Shifts of the canonical response among which a latency is sought, s.
_SHIFTS = np.arange(-2.0, 3.01, 0.1)

#: Length of that response, s.
_RESPONSE_SECONDS = 32.0


def fit_latency(drive: np.ndarray, response: np.ndarray, t_r: float) -> float:
    """Find the time to peak of the canonical response whose convolution with a drive resembles the response most.

    Correlations are averaged over places before the best is sought.

    Parameters
    ----------
    drive, response : numpy.ndarray
        Shape (n_places, n_volumes).
    t_r : float
        s.

    Returns
    -------
    float
        s, from 3 to 8; NaN if at no place both vary.
    """
    drive, response = _varying(drive, response)
    if not len(drive):
        return float("nan")
    kernels = _volume_kernels(t_r)
    n_places, n_volumes = drive.shape
    past = int(np.ceil(_RESPONSE_SECONDS / t_r))  # volumes whose haemodynamic past lies before the scan
    late = response[:, past:] - response[:, past:].mean(axis=1, keepdims=True)
    late /= np.linalg.norm(late, axis=1, keepdims=True)
    centred = drive - drive.mean(axis=1, keepdims=True)
    # the drive so many volumes ago, 0 before the scan: all shifts are one product
    before = np.zeros((n_places, n_volumes - past, kernels.shape[1]))
    for lag in range(kernels.shape[1]):
        first = max(past, lag)
        before[:, first - past :, lag] = centred[:, first - lag : n_volumes - lag]
    courses = before @ kernels.T
    courses = courses - courses.mean(axis=1, keepdims=True)
    courses /= np.linalg.norm(courses, axis=1, keepdims=True)
    correlations = (courses * late[:, :, None]).sum(axis=1).mean(axis=0)
    return CANONICAL_PEAK + _refined(_SHIFTS, -correlations)


@lru_cache(maxsize=8)
def _volume_kernels(t_r: float) -> np.ndarray:
    """Return weights of the drive so many volumes ago, shape (n_shifts, n_lags), for each of the shifted responses.

    A drive that is constant during each volume is convolved with the response in steps of about 0.1 s and read in the middle of every
    volume: each weight is the sum of the response over the steps that fall into one volume.
    """
    from nilearn.glm.first_level import glover_hrf

    fine = round(t_r / 0.1)
    fines = np.stack(
        [glover_hrf(t_r / fine, oversampling=1, time_length=_RESPONSE_SECONDS, onset=shift) for shift in _SHIFTS]
    )
    lags = -((fine // 2 - np.arange(fines.shape[1])) // fine)
    kernels = np.zeros((len(fines), lags[-1] + 1))
    np.add.at(kernels.T, lags, fines.T)
    kernels.flags.writeable = False
    return kernels


@dataclass(frozen=True, eq=False)
class MeasuredRun:
    """A simulated run's BOLD as its image shows it, and what was planted.

    Attributes
    ----------
    series : numpy.ndarray
        Shape (n_groups, n_volumes): percent, from the image.
    power : numpy.ndarray
        Shape (n_regions, n_bands, n_volumes): planted, relative to wakefulness.
    bold : numpy.ndarray
        Shape (n_groups, n_volumes): planted, percent, before noise.
    """

    series: np.ndarray
    power: np.ndarray
    bold: np.ndarray


def measure_run(recording: Recording, subject: Mapping) -> MeasuredRun:
    """Average a run's image over the groups, and read what was planted in it.

    Parameters
    ----------
    recording : Recording
        A run of a simulated dataset.
    subject : mapping
        What `eegfmri.simulation.simulate.read_truth` says of its subject.

    Returns
    -------
    MeasuredRun
        All volumes of either.
    """
    planted = subject["runs"][recording.run]
    series = place_series(recording.image(), subject["mni_to_scanner"])
    return MeasuredRun(series, np.asarray(planted["power"]), group_means(planted["bold"]))


#: Ways to find the delay of BOLD: a response fitted to noise-free BOLD; its cross-correlation with planted power; a response fitted to
#: the image; the cross-correlation of the files' own alpha power, sign reversed, with occipital BOLD.
DELAY_WAYS = ("truth", "peak", "images", "files")


def run_delays(
    recording: Recording, measured: MeasuredRun, coupling: np.ndarray
) -> tuple[tuple[float, ...], ResponseLag]:
    """Find in four ways how long BOLD comes after power in one run.

    Parameters
    ----------
    recording : Recording
        Gives the EEG.
    measured : MeasuredRun
        From `measure_run`.
    coupling : numpy.ndarray
        Planted, shape (n_groups, n_bands): percent per unit of power.

    Returns
    -------
    delays : tuple of float
        s, in the order of `DELAY_WAYS`.
    curve : ResponseLag
        Of the last way: nothing in it is planted.
    """
    t_r, n_volumes = recording.t_r, min(measured.series.shape[1], measured.power.shape[2])
    drive = np.einsum("gb,gbv->gv", coupling, group_means(measured.power) - 1)[:, :n_volumes]
    series, bold = measured.series[:, :n_volumes], measured.bold[:, :n_volumes]
    channels = [
        name for name in recording.ch_names if name in recording.scalp_channels and name.upper().startswith("O")
    ]
    power = volume_band_power(recording.raw().get_data(picks=channels), recording.sfreq, t_r, n_volumes)
    alpha = np.log(power[:, list(EEG_BANDS).index("alpha")].mean(axis=0))
    curve = response_lag(-alpha[None], series[[GROUPS.index("occipital")]], t_r)
    fitted, seen = fit_latency(drive, bold, t_r), fit_latency(drive, series, t_r)
    return (fitted, response_lag(drive, bold, t_r).peak, seen, curve.peak), curve


def place_series(image, mni_to_scanner, by: str = "group") -> np.ndarray:
    """Mean BOLD of the voxels that places in MNI space fall into.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        Volumes of a run.
    mni_to_scanner : array-like
        Shape (4, 4): where a brain lies in the scanner, mm.
    by : {"group", "region"}
        Which voxels are averaged: those of each of the eight groups, or of each of the hundred regions.

    Returns
    -------
    numpy.ndarray
        Shape (n_places, n_volumes): percent of the mean, straight line removed.
    """
    from scipy.signal import detrend

    regions = cortical_regions()
    to_voxel = np.linalg.inv(image.affine) @ np.asarray(mni_to_scanner)
    index = np.round(regions.voxels @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)
    data = np.asarray(image.dataobj, dtype=np.float32)
    inside = ((index >= 0) & (index < data.shape[:3])).all(axis=1)
    places = regions.labels if by == "region" else _group_codes()[regions.labels]
    series = np.empty((places.max() + 1, data.shape[3]))
    for number in range(len(series)):
        voxels = np.unique(index[inside & (places == number)], axis=0)
        mean = data[tuple(voxels.T)].mean(axis=0)
        series[number] = detrend(100 * (mean / mean.mean() - 1))
    return series


def _group_codes() -> np.ndarray:
    """Index into `GROUPS` of each region."""
    return np.array([GROUPS.index(group) for group in cortical_regions().groups])


def group_means(values: np.ndarray) -> np.ndarray:
    """Average over the regions of each group: shape (n_regions, ...) becomes (n_groups, ...)."""
    codes = _group_codes()
    return np.stack([np.asarray(values)[codes == number].mean(axis=0) for number in range(len(GROUPS))])


def coupling_of_groups(power: np.ndarray, series: np.ndarray, t_r: float) -> np.ndarray:
    """Regress each group's BOLD on its own planted power in all bands at once, convolved with the canonical response.

    Parameters
    ----------
    power : numpy.ndarray
        Shape (n_regions, n_bands, n_volumes), relative to wakefulness.
    series : numpy.ndarray
        Shape (n_groups, n_volumes), percent.
    t_r : float
        s.

    Returns
    -------
    numpy.ndarray
        Shape (n_groups, n_bands): percent per unit of power.
    """
    n_volumes = min(power.shape[2], series.shape[1])
    own = convolved(group_means(power[:, :, :n_volumes]), t_r)
    return np.stack([regress(y[None], x, t_r)[0] for x, y in zip(own, series[:, :n_volumes], strict=True)])


def bootstrap_limits(values: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over subjects of each entry of an array, and the ends of its 95 % bootstrap interval.

    Parameters
    ----------
    values : numpy.ndarray
        Shape (n_subjects, …).
    seed : int, default=0
        Of the resampling.

    Returns
    -------
    mean, low, high : numpy.ndarray
        Shape (…).
    """
    values = np.asarray(values)
    rows = [bootstrap_mean(column, seed) for column in values.reshape(len(values), -1).T]
    found = np.array([(row.value, row.low, row.high) for row in rows]).T
    return tuple(one.reshape(values.shape[1:]) for one in found)


def judge_signs(planted: np.ndarray, mean: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, np.ndarray]:
    """Tell which planted effects were found with their sign.

    Parameters
    ----------
    planted, mean, low, high : numpy.ndarray
        Effects, 0 where none was planted; estimates, and the ends of their intervals. One shape.

    Returns
    -------
    dict of str to numpy.ndarray of bool
        Where an effect was ``planted``; of these, whose intervals exclude zero with the ``right`` sign or the ``wrong`` one, and which were
        ``missed``; where it was ``absent``; of these, whose intervals exclude zero (``invented``).
    """
    sure, there = (low > 0) | (high < 0), planted != 0
    right = sure & there & (np.sign(mean) == np.sign(planted))
    return {
        "planted": there,
        "right": right,
        "wrong": sure & there & ~right,
        "missed": there & ~sure,
        "absent": ~there,
        "invented": ~there & sure,
    }


def convolved(signal: np.ndarray, t_r: float) -> np.ndarray:
    """Convolve rows sampled once per volume with the canonical response; shape as given."""
    from nilearn.glm.first_level import glover_hrf

    kernel = glover_hrf(t_r, oversampling=1, time_length=32.0)
    start = np.repeat(signal[..., :1], len(kernel), axis=-1)
    padded = np.concatenate([start, signal], axis=-1)
    course = np.apply_along_axis(lambda row: np.convolve(row, kernel)[: padded.shape[-1]], -1, padded)
    return course[..., len(kernel) :]


def regress(series: np.ndarray, regressors: np.ndarray, t_r: float, high_pass: float = 0.008) -> np.ndarray:
    """Ordinary least squares with a constant and slow cosines.

    Parameters
    ----------
    series : numpy.ndarray
        Shape (n_series, n_volumes).
    regressors : numpy.ndarray
        Shape (n_regressors, n_volumes).
    t_r : float
        s.
    high_pass : float, default=0.008
        Cosines up to this frequency in Hz are fitted beside the regressors.

    Returns
    -------
    numpy.ndarray
        Shape (n_series, n_regressors): coefficients.
    """
    n_volumes = series.shape[-1]
    orders = np.arange(int(2 * high_pass * n_volumes * t_r) + 1)
    slow = np.cos(np.pi * np.outer(np.arange(n_volumes) + 0.5, orders) / n_volumes)
    design = np.column_stack([*regressors, slow])
    return np.linalg.lstsq(design, series.T, rcond=None)[0][: len(regressors)].T


def planted_response(root: str | Path, subject: str, run: str, t_r: float) -> np.ndarray:
    """Power planted in a simulated run, convolved with the canonical response: what an ideal decoder would know.

    Parameters
    ----------
    root : str or pathlib.Path
        The simulated dataset.
    subject, run : str
        As its recordings name them.
    t_r : float
        s.

    Returns
    -------
    numpy.ndarray
        Shape (n_regions, n_bands, n_volumes), relative to wakefulness.
    """
    return convolved(read_truth(root)["subjects"][subject]["runs"][run]["power"], t_r)


def planted_share(
    volumes: np.ndarray, points: np.ndarray, root: str | Path, subject: str, run: str, reach: float = 6.0
) -> float:
    """Share of the variance over time of a run's voxels that the BOLD planted in their region explains, at best.

    Each voxel is regressed on the noise-free series of the region it lies in; what a series of the same slowness explains by chance
    (the planted one, moved along its circle) is subtracted.

    Parameters
    ----------
    volumes : numpy.ndarray
        Shape (n_voxels, n_volumes), all volumes of the run.
    points : numpy.ndarray
        Where the voxels lie, shape (n_voxels, 3), mm of MNI152.
    root, subject, run
        As for `planted_response`.
    reach : float, default=6.0
        Voxels farther than this from all regions, in mm, are explained by nothing.

    Returns
    -------
    float
        What the planted BOLD of a voxel's own region explains. Movement and breath, which reach both modalities, are not in it, so a
        prediction can explain more.
    """
    from scipy.spatial import cKDTree

    planted = read_truth(root)["subjects"][subject]["runs"][run]["bold"]
    regions = cortical_regions()
    distance, nearest = cKDTree(regions.voxels).query(points)
    series = volumes - volumes.mean(axis=1, keepdims=True)
    total, near = float((series**2).sum()), distance < reach

    def explained(of_regions: np.ndarray) -> float:
        of_regions = of_regions - of_regions.mean(axis=1, keepdims=True)
        x, y = of_regions[regions.labels[nearest[near]]], series[near]
        return float(((x * y).sum(axis=1) ** 2 / np.maximum((x**2).sum(axis=1), 1e-30)).sum()) / total

    shifts = np.linspace(0.2, 0.8, 7) * planted.shape[1]
    expected = np.mean([explained(np.roll(planted, round(shift), axis=1)) for shift in shifts])
    return explained(planted) - float(expected)


def event_regressors(onsets: Mapping[str, np.ndarray], n_volumes: int, t_r: float) -> np.ndarray:
    """Canonical responses to events, each as high as 1 after a single event.

    Parameters
    ----------
    onsets : mapping of str to numpy.ndarray
        Condition → onsets in s from the first volume.
    n_volumes : int
        Volumes.
    t_r : float
        s.

    Returns
    -------
    numpy.ndarray
        Shape (n_conditions, n_volumes), at the middle of each volume.
    """
    from nilearn.glm.first_level import glover_hrf

    step = 0.1
    kernel = glover_hrf(step, oversampling=1, time_length=32.0)
    n_fine = int(np.ceil(n_volumes * t_r / step)) + 1
    rows = []
    for times in onsets.values():
        impulses = np.zeros(n_fine)
        np.add.at(impulses, np.round(np.asarray(times) / step).astype(int), 1.0)
        course = np.convolve(impulses, kernel / kernel.max())[:n_fine]
        rows.append(np.interp(t_r * (np.arange(n_volumes) + 0.5), step * np.arange(n_fine), course))
    return np.array(rows)


def event_responses(
    recording: Recording, series: np.ndarray, mni_to_scanner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a run's responses to its stimuli: one regressor for every stimulus, one for targets in addition.

    Parameters
    ----------
    recording : Recording
        A run of the oddball task.
    series : numpy.ndarray
        Shape (n_groups, n_volumes), percent.
    mni_to_scanner : array-like
        Shape (4, 4), see `place_series`.

    Returns
    -------
    of_groups : numpy.ndarray
        Shape (n_groups, 2): peak of the response to every stimulus, and to targets in addition, percent.
    to_targets : numpy.ndarray
        Shape (n_regions,): the latter in each region.
    """
    events = recording.events
    targets = events["onset"][events["trial_type"].fillna("").str.endswith("target")].to_numpy()
    onsets = {"stimulus": events["onset"].to_numpy(), "target": targets}
    design = event_regressors(onsets, recording.n_volumes, recording.t_r)
    of_regions = place_series(recording.image(), mni_to_scanner, "region")
    of_groups, of_regions = (
        regress(own[:, : recording.n_volumes], design, recording.t_r) for own in (series, of_regions)
    )
    return of_groups, of_regions[:, 1]


def stage_power(
    eeg: np.ndarray, sfreq: float, stages: Sequence[str | None], seconds: float = 30.0
) -> dict[str, dict[str, float]]:
    """Mean power of each band in each stage, in decibels.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (n_channels, n_times), V, starting with the first epoch.
    sfreq : float
        Hz.
    stages : sequence of str or None
        Stage of each epoch; None is left out.
    seconds : float, default=30.0
        Length of an epoch.

    Returns
    -------
    dict
        Band → stage → dB relative to 1 V²/Hz, averaged over channels and epochs.
    """
    n_times = round(seconds * sfreq)
    n_epochs = min(len(stages), eeg.shape[1] // n_times)
    epochs = eeg[:, : n_epochs * n_times].reshape(len(eeg), n_epochs, n_times)
    power = 10 * np.log10(band_means(*power_spectrum(epochs, sfreq), BANDS)).mean(axis=0)  # (n_epochs, n_bands)
    stages = np.array(stages[:n_epochs], dtype=object)
    known = dict.fromkeys(stage for stage in stages if stage)
    return {
        band: {stage: float(own[stages == stage].mean()) for stage in known}
        for band, own in zip(BANDS, power.T, strict=True)
    }
