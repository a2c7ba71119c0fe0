r"""Subjects as features: band power over areas of the scalp and regional BOLD, drawn without writing a file.

A study of 64 subjects as files takes minutes to write and longer to prepare; a map of many studies would take days. Here what is planted
is drawn by the simulator's own pieces (`eegfmri.simulation.activity.plant`, `eegfmri.simulation.bold.regional_bold`, the head's lead
field), and what measuring does to it is put on as noise whose size was estimated once from simulated files (`Measurement`).

For a share :math:`s` of the preset's coupling, the cleaned BOLD of a region is

.. math:: y(s) = s\,(\text{planted} + \text{wave}) + \text{rest},

where the wave is the brain-wide fluctuation that grows with drowsiness, and the rest spontaneous fluctuations and noise: so that
:math:`s = 0` is the preset ``uncoupled``, :math:`s = 1` ``realistic``. One drawn subject serves all couplings.

What is left out: volumes, voxels, registration and partial volumes (a gain stands for them); blinks, movement, loose electrodes and what
corrections leave, which come in bursts (Gaussian noise with a memory of one volume stands for them); movement that both modalities see;
differences between subjects in how well a brain is registered.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eegfmri.preprocessing.atlas import load_atlas, network_regions
from eegfmri.preprocessing.eeg import BANDS as ANALYSED
from eegfmri.simulation.activity import (
    PRE_ROLL,
    Activity,
    Traits,
    draw_differences,
    draw_traits,
    mixed_noise,
    plant,
    slow_noise,
)
from eegfmri.simulation.bold import regional_bold, volume_means
from eegfmri.simulation.eeg import SPINDLE_WIDTH
from eegfmri.simulation.parameters import ACQUISITIONS, BANDS, GROUPS, Preset
from eegfmri.simulation.quality import draw_quality
from eegfmri.simulation.sources import Head, cortical_regions, make_head

#: Areas of the scalp over whose electrodes the logarithm of power is averaged.
AREAS = ("front", "centre", "left", "right", "back")

#: What the rows of a subject's power are: bands of each area.
FEATURES = tuple(f"{area} {band}" for area in AREAS for band in ANALYSED)

#: Share that partial volumes leave in a region's mean of percentages that refer to grey matter (rest, scale ``small``).
TISSUE_SHARE = 0.51


@dataclass(frozen=True)
class Measurement:
    """What measuring does to features, estimated from simulated files by `eegfmri.recovery.features.estimate_measurement`.

    The defaults were estimated on 28 November 2026 from 16 recordings of ``rest`` (preset ``realistic``, scale ``small``, simulation seeds
    501 and 502), which no page shows.

    Attributes
    ----------
    power_gain : tuple of float
        By band of `eegfmri.preprocessing.eeg.BANDS`: slope of measured log power on the one to be expected.
    power_noise : tuple of float
        By band: standard deviation of what is measured beside it (natural logarithm).
    power_common : tuple of float
        By band: share of that variance which all areas have in common.
    power_memory : tuple of float
        By band: its correlation from volume to volume.
    power_everywhere : float
        Share of the variance in common that all bands have in common, too.
    power_spread : float
        Standard deviation between subjects of the logarithm of its size.
    bold_gain : tuple of float
        What is left of the planted percentages, in the mean of all regions and in deviations from it.
    bold_noise : tuple of float
        Standard deviation of noise, percent, in the mean of all regions and in deviations from it.
    bold_memory : tuple of float
        Correlation of either from volume to volume.
    """

    power_gain: tuple[float, ...] = (0.861, 0.952, 0.968, 0.842, 0.638)
    power_noise: tuple[float, ...] = (0.324, 0.293, 0.307, 0.208, 0.291)
    power_common: tuple[float, ...] = (0.303, 0.336, 0.444, 0.401, 0.566)
    power_memory: tuple[float, ...] = (0.011, 0.01, 0.005, 0.307, 0.76)
    power_everywhere: float = 0.071
    power_spread: float = 0.106
    bold_gain: tuple[float, float] = (0.368, 0.597)
    bold_noise: tuple[float, float] = (0.112, 0.327)
    bold_memory: tuple[float, float] = (0.398, 0.65)


@dataclass(frozen=True, eq=False)
class FeatureSubject:
    """One subject as features.

    Attributes
    ----------
    power : numpy.ndarray
        Shape (n_features, n_volumes): log power as measured, rows as in `FEATURES`.
    planted : numpy.ndarray
        Shape (n_regions, n_volumes): noise-free response to planted power, percent, high-passed as measured BOLD is.
    linked : numpy.ndarray
        The same with the wave of drowsiness: what the coupling scales.
    rest : numpy.ndarray
        What it does not scale.
    """

    power: np.ndarray
    planted: np.ndarray
    linked: np.ndarray
    rest: np.ndarray

    def bold(self, coupling: float) -> np.ndarray:
        """Return cleaned regional BOLD at a share of the preset's coupling, shape (n_regions, n_volumes), percent."""
        return coupling * self.linked + self.rest

    def stacked(self) -> np.ndarray:
        """Return everything as one array, shape (n_rows, n_volumes), float32: power, planted, linked, rest."""
        return np.concatenate([self.power, self.planted, self.linked, self.rest]).astype(np.float32)


def area_of(channel: str) -> str:
    """Return the area of the scalp that an electrode of the extended 10–20 system lies in.

    Parameters
    ----------
    channel : str
        Its name.

    Returns
    -------
    str
        One of `AREAS`.

    Examples
    --------
    >>> [area_of(name) for name in ("Fp1", "Cz", "TP9", "FT8", "POz")]
    ['front', 'centre', 'left', 'right', 'back']
    """
    name = channel.upper()
    letters = name.rstrip("0123456789Z")
    if "T" in letters:
        return "left" if int(name[-1]) % 2 else "right"
    if letters[0] in "PO":
        return "back"
    return "centre" if "C" in letters else "front"


def area_weights(channels: Sequence[str]) -> np.ndarray:
    """Return what takes rows of channels to means over areas, shape (n_areas, n_channels)."""
    of = [area_of(name) for name in channels]
    rows = np.array([[area == own for own in of] for area in AREAS], dtype=float)
    return rows / rows.sum(axis=1, keepdims=True)


def region_targets() -> dict[str, np.ndarray]:
    """Return weights over the atlas's regions of what is predicted beside them: the mean of all, and the dorsal attention network."""
    atlas = load_atlas("offline")
    n_regions = len(atlas.regions)
    dan = np.zeros(n_regions)
    dan[network_regions(atlas)["DAN"]] = 1.0
    return {"global": np.full(n_regions, 1 / n_regions), "dan": dan / dan.sum()}


def draw_subject(
    preset: Preset, seed: int, number: int, n_volumes: int, measurement: Measurement | None = None
) -> FeatureSubject:
    """Draw a subject at rest with open eyes, as features.

    Parameters
    ----------
    preset : Preset
        Model; its coupling is what a share of 1 means.
    seed : int
        Of everything random.
    number : int
        Of the subject; the same whatever others are drawn.
    n_volumes : int
        Volumes of the acquisition ``rest``.
    measurement : Measurement or None
        What measuring does; the default if None.

    Returns
    -------
    FeatureSubject
        Volumes of 2.16 s.
    """
    measurement = measurement or Measurement()
    regions, acquisition = cortical_regions(), ACQUISITIONS["rest"]
    t_r = acquisition.t_r

    def rng(purpose: str) -> np.random.Generator:
        return np.random.default_rng([seed, zlib.crc32(f"features/{number}/{purpose}".encode())])

    traits = draw_traits(preset, len(regions.groups), rng("traits"))
    traits = draw_differences(preset, regions, traits, rng("differences"))
    head = make_head(preset, regions, acquisition, rng("head"))
    noise = draw_quality(preset, rng("eeg traits")).noise
    seconds = n_volumes * t_r
    activity = plant(
        preset,
        regions,
        traits,
        ["W"] * int(np.ceil(seconds / 30)),
        -PRE_ROLL,
        seconds + 1.0,
        rng("power"),
        {"alpha": preset.eyes_open_alpha},
        None,
        rng("drowsiness"),
    )
    means = volume_means(activity, n_volumes, t_r)
    expected = expected_power(preset, traits, head, means, acquisition.channels, noise)
    power = _measured_power(expected, measurement, rng("measured power"))
    planted, linked, rest = _measured_bold(preset, traits, activity, n_volumes, t_r, measurement, rng)
    return FeatureSubject(power, planted, linked, rest)


def expected_power(
    preset: Preset, traits: Traits, head: Head, means: np.ndarray, channels: Sequence[str], noise: float = 1.0
) -> np.ndarray:
    r"""Return the logarithm of power to be expected at areas of the scalp, from planted power.

    With dipole moments :math:`m_r`, lead field :math:`f_{cr}` (average reference) and a share :math:`\kappa` of a carrier common to a
    group of regions, the power of a band at electrode :math:`c` is

    .. math:: (1-\kappa)\sum_r f_{cr}^2 m_r^2 p_r + \kappa \sum_g \Bigl(\sum_{r\in g} f_{cr} m_r \sqrt{p_r}\Bigr)^2,

    spread over the analysed bands as the carrier's spectrum is, with background and sensor noise added.

    Parameters
    ----------
    preset, traits, head : Preset, Traits, Head
        Strengths, rhythms, fields.
    means : numpy.ndarray
        Shape (n_regions, n_bands, n_volumes): planted power over each volume.
    channels : sequence of str
        Electrodes, in the order of the head's lead field.
    noise : float, default=1.0
        The subject's factor on the amplitude of background and sensor noise.

    Returns
    -------
    numpy.ndarray
        Natural logarithm, shape (n_features, n_volumes), rows as in `FEATURES`: means over an area's electrodes.
    """
    groups = cortical_regions().groups
    n_channels = len(channels)
    reference = np.eye(n_channels) - 1 / n_channels
    field = reference @ head.lead_field
    members = np.array([[group == own for own in groups] for group in GROUPS])
    frequencies, inside = _bins()
    power = noise**2 * _background(preset, traits, head, reference, frequencies, inside)
    power = np.repeat(power[..., None], means.shape[2], axis=2)  # (n_channels, n_analysed, n_volumes)
    for number, band in enumerate(BANDS):
        moment = np.array([preset.at("moment", band, group) for group in groups]) * 1e-9
        mixed = field * (moment * np.exp(traits.log_power[band] / 2))
        planted = np.asarray(means[:, number], dtype=float)
        root = np.sqrt(planted)
        at_scalp = (1 - preset.coherence) * (mixed**2) @ planted
        for own in members:
            at_scalp += preset.coherence * (mixed[:, own] @ root[own]) ** 2
        power += inside[None, :, :] @ _carrier(preset, traits, band, frequencies)[None, :, None] * at_scalp[:, None, :]
    weights = area_weights(channels)
    return np.einsum("ac,cbt->abt", weights, np.log(power)).reshape(len(FEATURES), -1)


@lru_cache(maxsize=1)
def _bins() -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz, and which of them lie in each analysed band, shape (n_analysed, n_bins)."""
    frequencies = np.arange(0.5, 62.5, 0.25)
    inside = np.stack([(frequencies >= low) & (frequencies < high) for low, high in ANALYSED.values()]).astype(float)
    return frequencies, inside


def _carrier(preset: Preset, traits: Traits, band: str, frequencies: np.ndarray) -> np.ndarray:
    """Power per bin of a band's oscillation of unit variance, as `eegfmri.simulation.eeg` shapes it."""
    low, high = BANDS[band]
    if band == "alpha":
        distance = (frequencies - traits.alpha_frequency) / preset.alpha_width
    elif band == "sigma":
        distance = (frequencies - traits.spindle_frequency) / SPINDLE_WIDTH
    else:
        distance = np.log(frequencies / np.sqrt(low * high)) * 2 * np.sqrt(2 * np.log(2)) / np.log(high / low)
    power = np.exp(-0.5 * distance**2)
    return power / power.sum()


def _background(
    preset: Preset, traits: Traits, head: Head, reference: np.ndarray, frequencies: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """Power of background and sensor noise in the analysed bands, average reference, shape (n_channels, n_analysed)."""
    n_channels = len(reference)
    covariance = head.lead_field @ head.lead_field.T
    covariance *= preset.background_shared * n_channels / np.trace(covariance)
    covariance += (1 - preset.background_shared) * np.eye(n_channels)
    spectrum = frequencies**-traits.background_exponent
    # the background reaches down to 0.2 Hz; what lies below the first bin is not analysed
    below = np.arange(0.2, 0.5, 0.25 / 10) ** -traits.background_exponent
    spectrum = spectrum / (spectrum.sum() + below.sum() / 10)
    own = np.diag(reference @ covariance @ reference.T) * (preset.background * 1e-6) ** 2
    # white noise of this size fills 125 Hz
    sensors = np.diag(reference @ reference.T) * (preset.sensor_noise * 1e-6) ** 2 * 0.25 / 125.0
    return np.outer(own, inside @ spectrum) + np.outer(sensors, inside.sum(axis=1))


def _measured_power(expected: np.ndarray, measurement: Measurement, rng: np.random.Generator) -> np.ndarray:
    """Put on expected log power what estimating it from a few seconds and artefacts add."""
    n_areas, n_bands, n_volumes = len(AREAS), len(ANALYSED), expected.shape[1]
    memory = np.array(measurement.power_memory)
    shared, everywhere = np.array(measurement.power_common), measurement.power_everywhere
    of_all = _remembering(rng, (1, 1, n_volumes), np.full((1, 1), memory.mean()))
    of_band = _remembering(rng, (1, n_bands, n_volumes), memory[None])
    own = _remembering(rng, (n_areas, n_bands, n_volumes), np.broadcast_to(memory, (n_areas, n_bands)))
    common = np.sqrt(everywhere) * of_all + np.sqrt(1 - everywhere) * of_band
    noise = np.sqrt(shared)[None, :, None] * common + np.sqrt(1 - shared)[None, :, None] * own
    size = np.array(measurement.power_noise) * np.exp(measurement.power_spread * rng.standard_normal())
    gain = np.array(measurement.power_gain)[None, :, None]
    level = expected.reshape(n_areas, n_bands, n_volumes)
    mean = level.mean(axis=2, keepdims=True)
    return (mean + gain * (level - mean) + size[None, :, None] * noise).reshape(expected.shape)


def _remembering(rng: np.random.Generator, shape: tuple[int, ...], memory: np.ndarray) -> np.ndarray:
    """Gaussian series of unit variance along the last axis, whose correlation from one value to the next is ``memory``."""
    from scipy.signal import lfilter

    white = rng.standard_normal(shape)
    out = np.empty(shape)
    for place in np.ndindex(*shape[:-1]):
        keep = float(memory[place])
        driven = np.sqrt(1 - keep**2) * white[place]
        driven[0] = white[place][0]
        out[place] = lfilter([1.0], [1.0, -keep], driven)
    return out


@lru_cache(maxsize=1)
def nearest_regions() -> np.ndarray:
    """Return which planted region lies nearest to each of the offline atlas's regions, shape (n_regions,)."""
    centres = load_atlas("offline").centres
    return np.linalg.norm(centres[:, None] - cortical_regions().centroids[None], axis=-1).argmin(axis=1)


def spontaneous_bold(
    preset: Preset, traits: Traits, activity: Activity, rng: np.random.Generator, noise_rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the BOLD that no planted power explains, at the rate of planted power, percent.

    Parameters
    ----------
    preset, traits, activity : Preset, Traits, Activity
        The subject and its run.
    rng, noise_rng : numpy.random.Generator
        Of fluctuations that everybody's networks share, and of the subject's own and the wave.

    Returns
    -------
    spontaneous : numpy.ndarray
        Shape (n_planted_regions, n_samples).
    wave : numpy.ndarray
        The brain-wide fluctuation that grows with drowsiness, of the same shape.
    """
    regions, n_samples = cortical_regions(), len(activity.times)
    spontaneous = mixed_noise(regions, preset, preset.bold_fluctuation_shares, n_samples, rng)
    if traits.networks is not None:
        own = traits.networks @ slow_noise(n_samples, preset, noise_rng, traits.networks.shape[1])
        share = preset.connectivity_spread
        spontaneous = np.sqrt(1 - share) * spontaneous + np.sqrt(share) * own
    spontaneous = preset.bold_fluctuation * activity.by_stage(preset.bold_fluctuation_gain) * spontaneous
    if activity.drowsiness is None:
        return spontaneous, np.zeros_like(spontaneous)
    sign = np.where(np.array(regions.groups) == "thalamus", -0.5, 1.0)
    wave = preset.drowsy_global * activity.drowsiness * slow_noise(n_samples, preset, noise_rng, 1)[0]
    return spontaneous, sign[:, None] * wave


def high_passed(series: np.ndarray, t_r: float, cut_off: float = 0.008) -> np.ndarray:
    """Take slow drift out of series as `eegfmri.preprocessing.bold.clean` does by default, all rows at once.

    Parameters
    ----------
    series : numpy.ndarray
        Shape (..., n_volumes).
    t_r : float
        Repetition time in s.
    cut_off : float, default=0.008
        Hz.

    Returns
    -------
    numpy.ndarray
        Of the same shape, by a zero-phase Butterworth filter of order 5.
    """
    from scipy.signal import butter, sosfiltfilt

    return sosfiltfilt(butter(5, cut_off, "highpass", fs=1 / t_r, output="sos"), series, axis=-1)


def _measured_bold(preset, traits, activity, n_volumes, t_r, measurement, rng) -> tuple[np.ndarray, ...]:
    """Planted, linked and remaining BOLD of the atlas's regions, high-passed, with the gains of measuring and its noise."""
    planted = regional_bold(preset, cortical_regions(), traits, activity)
    spontaneous, wave = spontaneous_bold(preset, traits, activity, rng("bold"), rng("bold noise"))
    if preset.percent_of != "region":
        planted, spontaneous, wave = (TISSUE_SHARE * part for part in (planted, spontaneous, wave))
    at = np.clip(
        np.round((t_r * (np.arange(n_volumes) + 0.5) - activity.start) * 12.5).astype(int), 0, planted.shape[1] - 1
    )
    nearest = nearest_regions()
    parts = np.stack([part[:, at][nearest] for part in (planted, planted + wave, spontaneous)])
    cleaned = high_passed(parts, t_r)
    common, own = measurement.bold_gain
    mean = cleaned.mean(axis=1, keepdims=True)
    cleaned = common * mean + own * (cleaned - mean)
    drawn = rng("measured bold")
    noise = _remembering(drawn, (parts.shape[1], n_volumes), np.full(parts.shape[1], measurement.bold_memory[1]))
    noise = measurement.bold_noise[1] * (noise - noise.mean(axis=0))
    noise += measurement.bold_noise[0] * _remembering(drawn, (1, n_volumes), np.full(1, measurement.bold_memory[0]))
    cleaned[2] += noise - noise.mean(axis=1, keepdims=True)
    return cleaned[0], cleaned[1], cleaned[2]
