"""What the simulator planted, as windows: noise-free activity with as much noise on it as one likes.

A method's limit shows where noise grows. Simulating, registering and averaging whole runs at every level of noise would cost
hours; so here the planted arrays of `eegfmri.simulation.simulate.read_truth` are taken as they are, on the planted regions and
for the planted heads, and noise of the simulator's own kind is added, ``level`` times as large as its preset says. What
preprocessing loses beside that (registration, artefacts, partial volumes) is not in it: the recordings themselves are the
check on that. Of simulated recordings only.
"""

import zlib
from collections.abc import Mapping

import numpy as np

from eegfmri import cache, project
from eegfmri.errors import RequestError
from eegfmri.preprocessing.bold import clean
from eegfmri.preprocessing.eeg import BANDS as ANALYSED
from eegfmri.recordings import EPOCH_SECONDS, Recording, RecordingSet, Stream
from eegfmri.simulation.activity import POWER_RATE, STAGE_DEPTH, mixed_noise
from eegfmri.simulation.bold import region_coupling, thermal_percent
from eegfmri.simulation.eeg import SPINDLE_WIDTH
from eegfmri.simulation.parameters import ACQUISITIONS, BANDS, Preset, get_preset
from eegfmri.simulation.simulate import read_truth
from eegfmri.simulation.sources import Head, cortical_regions, make_head
from eegfmri.windows import Windows

#: Voxels that a region's mean is taken over: what is left of thermal noise.
VOXELS_PER_REGION = 16

#: Welch segments in an epoch of 30 s, half overlapping 2-s segments: how much a measured spectrum scatters.
SEGMENTS = 29


class Truth:
    """The planted truth of a simulated dataset.

    Parameters
    ----------
    recordings : RecordingSet
        Simulated.

    Raises
    ------
    RequestError
        If the recordings are real.
    """

    def __init__(self, recordings: RecordingSet):
        if not recordings.simulated:
            raise RequestError("What was planted is known of simulated recordings only: leave out --data.")
        self.document = read_truth(recordings.root)
        self.dataset = recordings.dataset
        self.preset: Preset = get_preset(self.document["preset"])
        self.regions = cortical_regions()
        self._heads: dict[str, Head] = {}

    def of_run(self, recording: Recording) -> Mapping:
        """Return what was planted in a run: ``power`` (n_regions, n_bands, n_volumes), ``bold`` (n_regions, n_volumes, percent), …"""
        return self.document["subjects"][recording.subject]["runs"][recording.run]

    def latency(self, subject: str) -> float:
        """Return the planted time to peak of a subject's haemodynamic response, in s."""
        return float(self.document["subjects"][subject]["latency"])

    def head(self, subject: str) -> Head:
        """Return a subject's planted head, drawn again as the simulator drew it."""
        if subject not in self._heads:
            rng = np.random.default_rng([self.document["seed"], zlib.crc32(f"{subject}/head".encode())])
            self._heads[subject] = make_head(self.preset, self.regions, ACQUISITIONS[self.dataset], rng)
        return self._heads[subject]


def planted_bold(
    truth: Truth, recording: Recording, level: float, seed: int = 0, high_pass: float | None = 0.008
) -> Stream:
    """Return the noise-free regional BOLD of a run with noise added, high-passed as measured BOLD is.

    Parameters
    ----------
    truth : Truth
        Of the dataset.
    recording : Recording
        The run.
    level : float
        1 adds slow fluctuations that no EEG explains and thermal noise as the preset has them; 0 adds nothing.
    seed : int, default=0
        Of the noise; the same noise at every level, so that curves over the level are smooth.
    high_pass : float or None
        Cut-off in Hz; None takes out a straight line, as `eegfmri.preprocessing.bold.prepare` does.

    Returns
    -------
    Stream
        Shape (n_regions, n_volumes), percent, rows are the planted regions.
    """
    stem = cache.digest(truth.document["digest"], recording.name, seed, cache.code_digest(__name__))
    folder = project.cache_dir() / "planted"
    path = folder / f"{recording.name}-{cache.digest(stem, level, high_pass)}.npy"
    of_noise = folder / f"{recording.name}-{stem}-noise.npy"

    def make() -> np.ndarray:
        noise = cache.kept_array(of_noise, lambda: _noise(truth, recording, seed).astype(np.float32))
        series = np.asarray(truth.of_run(recording)["bold"]) + level * cache.load_array(noise)
        return clean(series, recording.t_r, high_pass=high_pass, detrend=high_pass is None, standardise=None).astype(
            np.float32
        )

    cache.kept_array(path, make)
    return Stream(path, 1 / recording.t_r, truth.regions.names, start=recording.t_r / 2)


def _noise(truth: Truth, recording: Recording, seed: int) -> np.ndarray:
    """Slow fluctuations that no EEG explains and what averaging leaves of thermal noise, shape (n_regions, n_volumes), percent."""
    preset, t_r = truth.preset, recording.t_r
    n_volumes = truth.of_run(recording)["bold"].shape[1]
    rng = np.random.default_rng([seed, zlib.crc32(recording.name.encode())])
    n_samples = int(np.ceil(n_volumes * t_r * POWER_RATE)) + 1
    slow = mixed_noise(truth.regions, preset, preset.bold_fluctuation_shares, n_samples, rng)
    at = ((np.arange(n_volumes) + 0.5) * t_r * POWER_RATE).astype(int)
    volume = float(abs(np.linalg.det(recording.image().affine[:3, :3])))
    thermal = thermal_percent(preset, volume) / np.sqrt(VOXELS_PER_REGION)
    # smooth over some voxels, so averaging takes less of it than of what is a voxel's own
    local = preset.physiological_noise / np.sqrt(VOXELS_PER_REGION / 4)
    return preset.bold_fluctuation * slow[:, at] + np.hypot(thermal, local) * rng.standard_normal(
        (len(slow), n_volumes)
    )


def _carrier(preset: Preset, subject: Mapping, band: str, frequencies: np.ndarray) -> np.ndarray:
    """Power per bin of a band's oscillation of unit variance, as `eegfmri.simulation.eeg` shapes it."""
    low, high = BANDS[band]
    if band in ("alpha", "sigma"):
        centre, width = (
            (subject["alpha_frequency"], preset.alpha_width)
            if band == "alpha"
            else (subject["spindle_frequency"], SPINDLE_WIDTH)
        )
        distance = (frequencies - centre) / width
    else:
        distance = np.log(frequencies / np.sqrt(low * high)) * 2 * np.sqrt(2 * np.log(2)) / np.log(high / low)
    power = np.exp(-0.5 * distance**2)
    return power / power.sum()


def planted_spectra(
    truth: Truth,
    recordings: RecordingSet,
    windows: Windows,
    frequencies: np.ndarray,
    level: float,
    seed: int = 0,
) -> np.ndarray:
    """Return the spectra that windows' planted power gives at the electrodes, with noise added.

    Parameters
    ----------
    truth : Truth
        Of the dataset.
    recordings : RecordingSet
        The runs that the windows are cut from.
    windows : Windows
        Scored epochs: run and onset say which planted power.
    frequencies : numpy.ndarray
        Bins in Hz, evenly spaced, shape (n_bins,).
    level : float
        1 adds background activity and sensor noise as the subject has them, and lets estimates scatter as those of an epoch do;
        0 gives expected spectra of the planted oscillations alone.
    seed : int, default=0
        Of the scatter.

    Returns
    -------
    numpy.ndarray
        Shape (n_windows, n_channels, n_bins), V² per bin, average reference.
    """
    acquisition, preset, regions = ACQUISITIONS[truth.dataset], truth.preset, truth.regions
    order = [acquisition.channels.index(name) for name in windows.eeg.names]
    n_channels = len(order)
    reference = np.eye(n_channels) - 1 / n_channels
    coherence = _coherence(truth)
    by_name = {(r.subject, r.run): r for r in recordings}
    spectra = np.zeros((len(windows), n_channels, len(frequencies)))
    step = frequencies[1] - frequencies[0]
    for (subject, run), rows in windows.table.groupby(["subject", "run"], sort=False).indices.items():
        recording, traits = by_name[subject, run], truth.document["subjects"][subject]
        field = reference @ truth.head(subject).lead_field[order]
        power = truth.of_run(recording)["power"]
        for row in rows:
            first = int(windows.table["onset"].iloc[row] / recording.t_r)
            last = min(int((windows.table["onset"].iloc[row] + EPOCH_SECONDS) / recording.t_r), power.shape[2])
            mean = np.asarray(power[:, :, first:last]).mean(axis=2)
            for number, band in enumerate(BANDS):
                moment = np.array([preset.at("moment", band, group) for group in regions.groups]) * 1e-9
                moment = moment * np.exp(traits["log_power"][band] / 2) * np.sqrt(mean[:, number])
                mixed = field * moment
                variance = np.einsum("cr,rs,cs->c", mixed, coherence, mixed)
                spectra[row] += variance[:, None] * _carrier(preset, traits, band, frequencies)
        if level:
            spectra[rows] += level**2 * _background(truth, subject, order, reference, frequencies, step)
    if level:
        rng = np.random.default_rng(seed)
        spectra *= rng.gamma(SEGMENTS, 1 / SEGMENTS, spectra.shape)
    return spectra.astype(np.float32)


def _background(truth: Truth, subject: str, order, reference, frequencies: np.ndarray, step: float) -> np.ndarray:
    """Power per bin of background and sensor noise after the average reference, shape (n_channels, n_bins)."""
    preset, field = truth.preset, truth.head(subject).lead_field
    n_all = len(field)
    covariance = field @ field.T
    covariance *= preset.background_shared * n_all / np.trace(covariance)
    covariance += (1 - preset.background_shared) * np.eye(n_all)
    variance = np.diag(reference @ covariance[np.ix_(order, order)] @ reference)
    exponent = truth.document["subjects"][subject]["background_exponent"]
    everywhere = np.arange(step, 62.5, step)  # the model's background runs from 0.2 Hz to half of 125 Hz
    everywhere = everywhere[everywhere > 0.2]
    shape = frequencies**-exponent / (everywhere**-exponent).sum()
    sensor = (preset.sensor_noise * 1e-6) ** 2 * step / 125.0
    noise = truth.document["subjects"][subject].get("quality", {}).get("noise", 1.0)  # the first edition had none
    return noise**2 * ((preset.background * 1e-6) ** 2 * variance[:, None] * shape + sensor)


def regional_effects(truth: Truth, classes: tuple[str, ...]) -> np.ndarray:
    """Return the BOLD effect of a class by design, before the haemodynamic response, the same for everybody up to a factor.

    Of a stage: couplings times the change of band power that the stage brings, against the mean of the other stages. Of a
    stimulus: the evoked response to a target against that to a standard.

    Parameters
    ----------
    truth : Truth
        Of the dataset.
    classes : tuple of str
        Stages, or ``standard`` and ``target``.

    Returns
    -------
    numpy.ndarray
        Percent, shape (n_classes, n_regions).
    """
    preset, groups = truth.preset, truth.regions.groups
    if truth.dataset == "oddball":
        target = np.array([preset.evoked_bold["target"].get(group, 0.0) for group in groups])
        return np.stack([target if name == "target" else -target for name in classes])
    planted = region_coupling(preset, truth.regions)
    levels = np.array(
        [
            [
                sum(row[number] * preset.stage_gain[band][name] for number, band in enumerate(BANDS))
                + preset.drowsy_bold.get(group, 0.0) * STAGE_DEPTH[name]
                for group, row in zip(groups, planted, strict=True)
            ]
            for name in classes
        ]
    )
    return _against_others(levels)


def scalp_effects(
    truth: Truth, ch_names: tuple[str, ...], classes: tuple[str, ...], subject: str, level: float = 1.0
) -> np.ndarray:
    """Return how a stage differs from the others at a subject's electrodes by design.

    Parameters
    ----------
    truth : Truth
        Of sleep.
    ch_names : tuple of str
        Electrodes, average reference.
    classes : tuple of str
        Stages.
    subject : str
        Whose head, rhythms and background.
    level : float, default=1.0
        Of background and noise, out of which the rhythms of a stage stand; 1 as the subject has them.

    Returns
    -------
    numpy.ndarray
        Shape (n_classes, n_channels): by how much the natural logarithm of each band's expected power (`log_power`) differs from its
        mean over the other stages, absolute and added up over bands.
    """
    return np.abs(_against_others(log_power(truth, ch_names, classes, subject, level))).sum(axis=-1)


def log_power(
    truth: Truth, ch_names: tuple[str, ...], classes: tuple[str, ...], subject: str, level: float = 1.0
) -> np.ndarray:
    """Return the logarithm of the power to be expected in each stage and band at a subject's electrodes.

    A stage multiplies a band by one factor wherever the band is; in logarithms that is the same everywhere. What makes electrodes
    differ is how far a rhythm stands out of the background, and spindles and K-complexes, which have their places. What no stage
    decides is left out: spontaneous fluctuations, drowsiness while awake, artefacts.

    Parameters
    ----------
    truth : Truth
        Of sleep.
    ch_names : tuple of str
        Electrodes, average reference.
    classes : tuple of str
        Stages.
    subject : str
        Whose head, rhythms and background.
    level : float, default=1.0
        Of background and noise.

    Returns
    -------
    numpy.ndarray
        Natural logarithm of V², shape (n_classes, n_channels, n_bands): the bands of `eegfmri.preprocessing.eeg`.
    """
    preset, regions, traits = truth.preset, truth.regions, truth.document["subjects"][subject]
    order = [ACQUISITIONS[truth.dataset].channels.index(name) for name in ch_names]
    reference = np.eye(len(order)) - 1 / len(order)
    field, coherence = reference @ truth.head(subject).lead_field[order], _coherence(truth)
    step = 0.5
    frequencies = np.arange(min(low for low, _ in ANALYSED.values()), max(high for _, high in ANALYSED.values()), step)
    bins = np.stack([(frequencies >= low) & (frequencies < high) for low, high in ANALYSED.values()]).astype(float)
    background = level**2 * _background(truth, subject, order, reference, frequencies, step) @ bins.T
    power = np.repeat(background[None], len(classes), axis=0)
    for band in BANDS:
        moment = np.array([preset.at("moment", band, group) for group in regions.groups]) * 1e-9
        moment *= np.exp(traits["log_power"][band] / 2)
        share = bins @ _carrier(preset, traits, band, frequencies)
        for c, stage in enumerate(classes):
            own = np.exp(traits.get("stage_log_gain", {}).get(band, {}).get(stage, 0.0))  # the first edition had none
            gain = own * preset.stage_gain[band][stage] ** traits["stage_exponent"] + _of_events(truth, band, stage)
            mixed = field * (moment * np.sqrt(gain))
            power[c] += np.einsum("cr,rs,cs->c", mixed, coherence, mixed)[:, None] * share
    return np.log(power)


def _of_events(truth: Truth, band: str, stage: str) -> np.ndarray:
    """Mean power that spindles or K-complexes add to a band in a stage, relative to wakefulness, shape (n_regions,)."""
    preset = truth.preset
    # where, how long and how high: as `eegfmri.simulation.activity.plant` has them
    rate, seconds, gain, places, elsewhere = {
        "sigma": (
            preset.spindles_per_minute, preset.spindle_seconds, preset.spindle_gain,
            {"sensorimotor": 1.0, "frontal": 0.8, "parietal": 0.8, "thalamus": 1.0}, 0.3,
        ),
        "delta": (
            preset.k_complexes_per_minute, (0.8, 1.4), preset.k_complex_gain,
            {"frontal": 1.0, "sensorimotor": 0.9, "default": 0.7}, 0.3,
        ),
    }.get(band, ({}, (0.0, 0.0), 0.0, {}, 0.0))  # fmt: skip
    bell = np.mean(seconds) / 4 * np.sqrt(2 * np.pi)
    spread = np.array([places.get(group, elsewhere) for group in truth.regions.groups])
    return rate.get(stage, 0.0) / 60 * bell * gain * spread


def _against_others(levels: np.ndarray) -> np.ndarray:
    """Each row less the mean of the others."""
    return (levels - levels.mean(axis=0)) * len(levels) / (len(levels) - 1)


def _coherence(truth: Truth) -> np.ndarray:
    groups = truth.regions.groups
    same = np.array([[a == b for b in groups] for a in groups], dtype=float)
    return truth.preset.coherence * same + (1 - truth.preset.coherence) * np.eye(len(same))


def nearest_planted(centres: np.ndarray) -> np.ndarray:
    """Return which planted region lies nearest to each of an atlas's regions (mm in MNI152 space), shape (n_regions,)."""
    distance = np.linalg.norm(centres[:, None] - cortical_regions().centroids[None], axis=-1)
    return distance.argmin(axis=1)
